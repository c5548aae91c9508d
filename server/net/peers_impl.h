/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the link to the other servers: what peers.c (the link, the loop's side), peer_out.c (the servers that we
 * dial) and peer_in.c (our listener) share. Nobody else includes it.
 */
#ifndef KM_NET_PEERS_IMPL_H
#define KM_NET_PEERS_IMPL_H

#include "peers.h"

#include "hangup.h"
#include "quiet.h"

#include <nng/nng.h>
#include <pthread.h>

enum {
    HELLO_LEN = 9, /* format version, server id */
    HELLO_VERSION = 1,
    LEN_LEN = 4, /* before each message */
    SEND_QUEUE = 256, /* answers; without it nng drops the second of two that come at the same moment */
    TICK_MS = 250,
    HANDSHAKE_MS = 5000,
    SILENCE_MS = 2000,         /* no answer to pings: the connection is dead, whatever TCP thinks */
    SILENCE_LOADED_MS = 10000, /* the same with more under way than LOADED: the answer waits behind all that */
    LOADED = 128 * 1024,
    STRANGERS_MAX = 64,
    BUFFER_KEPT = 1024 * 1024, /* bytes that a connection keeps between messages */
    INBOX_MAX = 512 * 1024 * 1024, /* bytes that wait for the loop */
    RECONNECT_MIN_MS = 20,
    RECONNECT_MAX_MS = 200,
    CLOSE_MS = 500,
    REFUSED_MIN_MS = 50, /* the same after the other end would not have us; doubles */
    REFUSED_MAX_MS = 1000,
};

/* What an nng callback hands to the loop. */
struct event {
    struct event *next;
    uint64_t id;
    enum { EVENT_MESSAGE, EVENT_UP, EVENT_DOWN } kind;
    size_t len;
    uint8_t data[];
};

struct out {
    struct out *next;
    size_t len, at; /* length prefix included; sent so far */
    uint8_t data[];
};

/* One other server, as the one we dial. */
struct peer {
    struct peer *next;
    struct peers *owner;
    uint64_t id;
    char name[KM_NAME_MAX + 1];
    char address[256];
    nng_socket socket;
    nng_aio *send_aio, *recv_aio;
    pthread_mutex_t lock; /* before the owner's */
    nng_msg *held; /* a frame that waits until send_aio is free: answers can be faster than nng's word that we have asked */
    nng_pipe pipe; /* id <= 0: none */
    int fd;        /* see hangup.h */
    struct km_channel *channel;
    /* GREETING: authenticated, the hello is on its way; UP: it was answered, so both ends take the other for a member. */
    enum { DIALLING, HANDSHAKING, GREETING, UP } state;
    bool is_sending, wants_ping, is_leaving, is_shut;
    size_t unheard; /* bytes sent since we last heard */
    uint64_t up_since_ms, refused_until_ms;
    uint64_t asked_ms; /* since when an answer is owed; 0: none is. Not when we last heard: this loop may have slept itself */
    unsigned refused_pause_ms;
    char last_reason[160];
    uint32_t request;
    struct out *head, **tail;
    size_t queued;
};

/* One connection at our listener. */
struct guest {
    struct guest *next;
    uint32_t pipe_id;
    nng_pipe pipe;
    struct km_channel *channel;
    bool is_authenticated, is_known; /* known: its hello named the member that its certificate names */
    int fd;                          /* see hangup.h */
    bool is_shut;
    bool is_refused;                 /* nothing more is taken; closed at the next tick, when the alert is out */
    uint64_t id, since_ms;
    char name[KM_NAME_MAX + 1];
    uint8_t *buffer;
    size_t len, cap;
};

struct member {
    uint64_t id;
    char name[KM_NAME_MAX + 1];
};

struct peers {
    struct km_link link;
    uv_loop_t *loop;
    uint64_t self;
    const struct km_link_events *events;
    void *arg;
    uv_async_t async;
    uv_timer_t timer;
    int handles_open;
    void (*on_close)(void *arg);
    void *close_arg;
    bool is_closing;
    struct peer *peers; /* loop thread */

    pthread_mutex_t lock; /* all below */
    struct km_tls *server_tls, *client_tls;
    struct event *events_head, **events_tail;
    size_t inbox;
    nng_socket listener;
    nng_aio *recv_aio;
    struct guest *guests;
    struct km_quiet quiet;
    struct member *members;
    size_t n_members;
};

/* Milliseconds of CLOCK_BOOTTIME. */
uint64_t km_peers_now_ms(void);

/* Queues an event for the loop; false when the loop is too far behind or is closing: the connection must go. [any
 * thread, takes p->lock] */
bool km_peers_post(struct peers *p, int kind, uint64_t id, const uint8_t *data, size_t len);
/* The same with p->lock held. */
bool km_peers_post_locked(struct peers *p, int kind, uint64_t id, const uint8_t *data, size_t len);

/* A raw REQ or REP message with `frame` as its body; NULL when out of memory. */
nng_msg *km_peers_message(const uint8_t *frame, size_t len);

/* Dials the member `m` for as long as the peer lives; NULL when that cannot be started (logged). Loop thread. */
struct peer *km_peer_new(struct peers *p, const struct km_link_member *m);
/* Stops callbacks, then frees. Loop thread. */
void km_peer_free(struct peer *peer);
/* Queues a message if the peer is up, or drops it; `data` stays the caller's. Loop thread. */
void km_peer_send(struct peer *peer, const uint8_t *data, size_t len);
/* Each TICK_MS: pings; closes a connection that is dead or too old. Loop thread. */
void km_peer_tick(struct peer *peer, uint64_t now_ms);

/* Opens the listener on `address`; returns nng's error, 0 for success. */
int km_guests_open(struct peers *p, const char *address);
/* Closes connections of those who are no members any more; after a change of p->members. */
void km_guests_check(struct peers *p);
/* Each TICK_MS: closes who is too old, too slow to say who it is, or whose certificate has expired. */
void km_guests_tick(struct peers *p, uint64_t now_ms);
/* Stops callbacks and closes the listener; then frees the guests. */
void km_guests_close(struct peers *p);

#endif
