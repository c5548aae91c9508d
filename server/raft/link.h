/* SPDX-License-Identifier: Apache-2.0
 *
 * The way to the other servers: whole messages of bytes, authenticated, in order per direction and connection, but lost whenever it
 * suits the network. Two implementations: net/peers.c (nng and TLS) and the simulator's. What is inside (raft messages,
 * lease stamps, forwarded proposals) is the replica's business (peer.c).
 *
 * Thread: send and the callbacks on the loop thread.
 */
#ifndef KM_RAFT_LINK_H
#define KM_RAFT_LINK_H

#include "../../common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_LINK_QUEUE_MAX (32u * 1024 * 1024) /* bytes queued per peer at most; more is dropped */
#define KM_LINK_MESSAGE_MAX (1024u * 1024 * 1024)

struct km_link;
struct km_link_member {
    uint64_t id;
    const char *name;    /* spiffe://<cluster>/server/<name> */
    const char *address; /* host:port of its peer listener */
};
struct km_link_events {
    /* A message from server `id`, who proved to be that server; `data` is borrowed. */
    void (*on_message)(void *arg, uint64_t id, const uint8_t *data, size_t len);
    /* The outgoing connection to `id` came up or went down. Messages in flight at a change may be lost. */
    void (*on_state)(void *arg, uint64_t id, bool is_up);
};
struct km_link_ops {
    /* Names who receives events. Called once before anything else. */
    void (*listen)(struct km_link *link, const struct km_link_events *events, void *arg);
    /* The servers there are: `n` times id, certificate name and peer address. Connections to others are closed and refused. */
    void (*set_members)(struct km_link *link, const struct km_link_member *members, size_t n);
    /* Sends or drops; never blocks, never fails. `data` (malloc'ed) is taken. */
    void (*send)(struct km_link *link, uint64_t id, uint8_t *data, size_t len);
};
struct km_link {
    const struct km_link_ops *ops;
};

#endif
