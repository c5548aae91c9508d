/* SPDX-License-Identifier: Apache-2.0
 *
 * The envelope of every message between servers: what is checked before anything inside is believed, what the leases need, and the
 * small requests that are not raft's. PROTOCOL.md, "Between servers", has the layout.
 */
#ifndef KM_RAFT_PEER_H
#define KM_RAFT_PEER_H

#include "../../common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_PEER_VERSION 1
#define KM_PEER_HEAD_LEN 112u
#define KM_PEER_LIVES 4 /* of a peer that are remembered */

enum km_peer_kind {
    KM_PEER_RAFT = 1,       /* body: a raft message (codec.h) */
    KM_PEER_READ_ASK,       /* note: id */
    KM_PEER_READ_ANSWER,    /* note: id, err, index: the leader's commit index */
    KM_PEER_PROPOSE,        /* note: id, code: 1 to wait for older grants in any case, bytes: packed kml.Command */
    KM_PEER_PROPOSE_ANSWER, /* note: id, err, index, bytes: packed kml.Result */
    KM_PEER_MEMBER,         /* note: id, code: enum km_member_operation, index: the member's id, bytes: its packed address, deadline */
    KM_PEER_MEMBER_ANSWER,  /* note: id, err */
    KM_PEER_MEMBERS,        /* note: index, bytes: a committed configuration that is newer than the receiver's */
    KM_PEER_GOODBYE,        /* note: index of the configuration that no longer has the receiver */
};

/* All times are microseconds of a CLOCK_BOOTTIME: the sender's own, or the receiver's own echoed back to it. */
struct km_peer_head {
    enum km_peer_kind kind;
    uint32_t election_ms, heartbeat_ms; /* must be the receiver's, else leases mean nothing */
    uint64_t epoch;                     /* random for each start of a server */
    uint64_t sequence;                  /* grows with each message to this receiver */
    uint64_t stamp_us;                  /* when the sender made this message */
    uint64_t utc_ms;                    /* the sender's wall clock, for the cluster's time */
    uint64_t term;                      /* the sender's current term */
    uint64_t applied;                   /* the sender's applied index */
    uint64_t configuration;             /* index of the newest configuration that it knows to be committed */
    uint64_t echo_us;                   /* acknowledgement: newest stamp accepted from the receiver as leader of `term`; 0: none */
    uint64_t grant_commit;              /* grant: counts once this index is applied; */
    uint64_t grant_echo_us;             /* runs from this stamp of the receiver; 0: no grant */
    uint64_t grant_us;                  /* for this long; */
    uint64_t grant_epoch;               /* and is for the start of the receiver that made that stamp: clocks begin anew at boot */
};

/* Writes KM_PEER_HEAD_LEN bytes. */
void km_peer_head_encode(const struct km_peer_head *head, uint8_t *ret);
/* Errors: KM_ERR_PROTO, KM_ERR_VERSION. The body is what follows KM_PEER_HEAD_LEN. */
enum km_err km_peer_head_decode(const uint8_t *data, size_t len, struct km_peer_head *ret) KM_CHECKED;

/* What was received from one peer: libraft needs FIFO links, so that anything older than what was seen is dropped. Of the peer's lives (epochs)
 * one is current; another takes over only when that one has been silent for a while, as a server that starts is (boot wait). So a late message of an
 * earlier life neither gets in while the present one talks, nor shuts that out for good. */
struct km_peer_order {
    struct {
        uint64_t epoch, sequence, heard_us;
    } lives[KM_PEER_LIVES];
    unsigned current;
};
/* True if the message is newer than all before it. `silence_us` is how long the current life must have been silent for another to take over. */
bool km_peer_order_accept(struct km_peer_order *order, const struct km_peer_head *head, uint64_t now_us, uint64_t silence_us);
/* Of the current life; 0: none yet. */
uint64_t km_peer_order_epoch(const struct km_peer_order *order);

/* The body of every kind but KM_PEER_RAFT. `bytes` is borrowed from the message on decode. */
struct km_peer_note {
    uint64_t id; /* the asker's own number for the question */
    enum km_err err;
    uint32_t code;
    uint64_t index;
    const uint8_t *bytes;
    size_t len;
};
/* A malloc'ed message with room for the head in front; NULL when out of memory. */
uint8_t *km_peer_note_encode(const struct km_peer_note *note, size_t *ret_len);
/* `data` is what follows the head. Errors: KM_ERR_PROTO. */
enum km_err km_peer_note_decode(const uint8_t *data, size_t len, struct km_peer_note *ret) KM_CHECKED;

#endif
