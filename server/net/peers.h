/* SPDX-License-Identifier: Apache-2.0
 *
 * The way to the other servers over nng and TLS: implements struct km_link. Each server dials each other one for what it
 * sends, and listens (one raw REP socket on the peer address) for what it receives. Only certificates of role server whose name is a member's are
 * let in, and only as that member.
 */
#ifndef KM_NET_PEERS_H
#define KM_NET_PEERS_H

#include "../../common/channel.h"
#include "../raft/link.h"

#include <uv.h>

/* Listens on `address` (host:port). Events run on `loop`'s thread (uv_async). Errors: KM_ERR_NET with `ret_message`. */
enum km_err km_peers_open(uv_loop_t *loop, uint64_t self_id, const char *address, struct km_tls *server_tls, struct km_tls *client_tls,
                          struct km_link **ret, char *ret_message, size_t message_len) KM_CHECKED;
/* Takes renewed certificates for new connections. Loop thread. */
void km_peers_set_tls(struct km_link *link, struct km_tls *server_tls, struct km_tls *client_tls);
/* Loop thread; `cb` runs there when everything is closed and freed. */
void km_peers_close(struct km_link *link, void (*cb)(void *arg), void *arg);

#endif
