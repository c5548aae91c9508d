/* SPDX-License-Identifier: Apache-2.0
 *
 * Who stands at the front door: every pipe by its id, and those that have a deadline (strangers, and messages that arrive in
 * parts) in one list. Knows limits, no TLS.
 */
#ifndef KM_NET_GATE_H
#define KM_NET_GATE_H

#include "front.h"
#include "quiet.h"

#include <stdatomic.h>

struct km_gate_conn {
    struct km_gate_conn *next;               /* in the table */
    struct km_gate_conn *watch_prev, *watch_next;
    bool is_watched, is_stranger, has_spoken, is_shut; /* under the gate's lock */
    bool is_gone;                                      /* its pipe is, while others still hold references; the same */
    int fd;                                            /* see hangup.h; the same */
    int64_t born_ms, deadline;
    uint32_t id; /* nng's pipe */
    struct km_source source;
    char text[KM_SOURCE_TEXT_MAX];
    atomic_int refs;

    /* Belong to whoever set is_busy: one message at a time. */
    atomic_bool is_busy;
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
};

void km_gate_init(struct km_gate *gate, unsigned strangers_max, unsigned strangers_per_source);
void km_gate_fini(struct km_gate *gate);

/* A stranger comes. If there are too many, the longest waiting one that has said nothing goes: its pipe id in `*ret_victim`
 * (0: none); with nobody to go, the newcomer does: false. On success the gate holds the conn's first reference. */
bool km_gate_admit(struct km_gate *gate, struct km_gate_conn *conn, uint32_t *ret_victim);

/* The conn of a pipe with a reference for the caller, or NULL. */
struct km_gate_conn *km_gate_find(struct km_gate *gate, uint32_t id);
/* Takes the conn out, together with the gate's reference, which is the caller's now; NULL if it is gone. */
struct km_gate_conn *km_gate_remove(struct km_gate *gate, uint32_t id);

/* A stranger has said something that makes sense. */
void km_gate_hear(struct km_gate *gate, struct km_gate_conn *conn);
/* No stranger any more. */
void km_gate_know(struct km_gate *gate, struct km_gate_conn *conn);
/* Expects something of `conn` until `deadline` (0: no more). */
void km_gate_watch(struct km_gate *gate, struct km_gate_conn *conn, int64_t deadline);

/* Up to `max` pipes whose deadline has passed; they are not reported again. */
size_t km_gate_expired(struct km_gate *gate, int64_t now, uint32_t *ret, size_t max, size_t *ret_strangers);

/* Ends the connection beneath pipe `id`, gently; if it is still there 200 ms later, its deadline has passed, and the next call
 * ends it for good. False if there is nothing beneath it that we could end: close the pipe. */
bool km_gate_hangup(struct km_gate *gate, uint32_t id, int64_t now);

unsigned km_gate_strangers(struct km_gate *gate, unsigned *ret_open);

#endif
