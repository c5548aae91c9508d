/* SPDX-License-Identifier: Apache-2.0
 *
 * Who stands at the front door: every pipe by its id, and those that have a deadline (strangers, and messages that arrive in
 * parts) in one list. Knows limits, no TLS.
 */
#ifndef KM_NET_GATE_H
#define KM_NET_GATE_H

#include "front.h"
#include "pipe.h"
#include "quiet.h"

#include <stdatomic.h>

struct km_gate_conn {
    struct km_gate_conn *next;               /* in the table */
    struct km_gate_conn *watch_prev, *watch_next;
    bool is_watched, is_stranger, has_spoken; /* under the gate's lock */
    bool is_gone;                             /* its pipe is, while others still hold references; the same */
    int64_t born_ms, deadline;
    uint32_t id; /* given by the gate */
    struct km_pipe *pipe;
    struct km_source source;
    char text[KM_SOURCE_TEXT_MAX];
    atomic_int refs;

    /* Belong to whoever has the pipe's message in work: one at a time. */
    bool is_closing, is_known;
    unsigned n_handshakes;
    struct km_channel *channel;
    uint8_t *whole; /* the parts of a request so far */
    size_t whole_len, whole_cap;
    uint8_t *rest; /* what is left of a reply */
    size_t rest_len, rest_at;
    void *owner;
};

#define KM_GATE_BUCKETS 4096

struct km_gate {
    pthread_mutex_t lock;
    struct km_gate_conn *table[KM_GATE_BUCKETS];
    struct km_gate_conn *oldest, *newest; /* watched, in order of coming */
    unsigned n_strangers, n_open, strangers_max, strangers_per_source;
    uint32_t last_id;
    pthread_cond_t empty; /* n_open is 0 */
};

void km_gate_init(struct km_gate *gate, unsigned strangers_max, unsigned strangers_per_source);
void km_gate_fini(struct km_gate *gate);

/* A stranger comes. If there are too many, the longest waiting one that has said nothing goes: its id in `*ret_victim`
 * (0: none), for km_gate_close; with nobody to go, the newcomer does: false. On success the gate holds the conn's first reference. */
bool km_gate_admit(struct km_gate *gate, struct km_gate_conn *conn, uint32_t *ret_victim);

/* Takes the conn out, together with the gate's reference, which is the caller's now; NULL if it is gone. */
struct km_gate_conn *km_gate_remove(struct km_gate *gate, uint32_t id);

/* A stranger has said something that makes sense. */
void km_gate_hear(struct km_gate *gate, struct km_gate_conn *conn);
/* No stranger any more. */
void km_gate_know(struct km_gate *gate, struct km_gate_conn *conn);
/* Expects something of `conn` until `deadline` (0: no more). */
void km_gate_watch(struct km_gate *gate, struct km_gate_conn *conn, int64_t deadline);

/* Up to `max` conns whose deadline has passed, by id; they are not reported again. */
size_t km_gate_expired(struct km_gate *gate, int64_t now, uint32_t *ret, size_t max, size_t *ret_strangers);

/* Closes the pipe of conn `id`, if it is still there. */
void km_gate_close(struct km_gate *gate, uint32_t id);
/* Closes all, and waits until each of them was taken out. Nobody may be admitted any more. */
void km_gate_close_all(struct km_gate *gate);

unsigned km_gate_strangers(struct km_gate *gate, unsigned *ret_open);

#endif
