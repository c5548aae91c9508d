/* SPDX-License-Identifier: Apache-2.0
 *
 * The front door. nng hands every message of every pipe to one of a few receive operations; the pipe's conn (gate.h) is taken by
 * setting is_busy, used by that one thread until the answer is sealed, and given back just before the answer leaves. A pipe
 * that sends again before it was answered is closed: no client of ours does that. Threads: nng's callbacks, and whoever answers.
 */
#include "front.h"

#include "../../common/secret.h"
#include "../../common/sp.h"
#include "gate.h"
#include "hangup.h"

#include <assert.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MEMORY_MAX (256u * 1024 * 1024) /* bytes of all requests and replies that travel in parts */
#define HANDSHAKE_FRAMES_MAX 4u         /* two, or three after a HelloRetryRequest */
#define REFUSAL_MS 300                  /* time for an alert to reach the one refused */
#define PART_MS 30000                   /* between two parts of one message */
#define TICK_MS 100
#define CLOSE_MS 500
#define SEND_QUEUE 4096
#define CALLBACKS_MAX 256u

struct receiver {
    struct km_front *front;
    nng_aio *aio;
};

struct km_front {
    atomic_int refs; /* the owner, and each conn */
    struct km_front_conf conf;
    nng_socket socket;
    km_front_handler on_request;
    void *arg;
    pthread_mutex_t tls_lock;
    struct km_tls *tls;
    struct km_gate gate;
    struct km_quiet quiet;
    struct receiver *receivers;
    unsigned n_receivers;
    nng_aio *tick;
    atomic_bool is_closing;
    atomic_size_t memory; /* held by whole and rest of all conns */
    atomic_uint n_known;
    atomic_ullong accepted, authenticated, refused_tls, refused_limit, timed_out, malformed, requests;
};

struct km_front_request {
    struct km_gate_conn *conn;
    nng_msg *msg; /* the request's; its header leads the answer back */
};

/* --- lifetimes */

static void unref_front(struct km_front *front)
{
    if (front == NULL || atomic_fetch_sub(&front->refs, 1) != 1)
        return;
    km_gate_fini(&front->gate);
    km_quiet_fini(&front->quiet);
    km_tls_unref(front->tls);
    pthread_mutex_destroy(&front->tls_lock);
    free(front->receivers);
    free((char *)(uintptr_t)front->conf.address);
    free(front);
}

static void drop_buffer(struct km_front *front, uint8_t **buffer, size_t used, size_t cap)
{
    if (*buffer == NULL)
        return;
    km_wipe(*buffer, used);
    free(*buffer);
    *buffer = NULL;
    atomic_fetch_sub(&front->memory, cap);
}

static void drop_whole(struct km_front *front, struct km_gate_conn *conn)
{
    drop_buffer(front, &conn->whole, conn->whole_len, conn->whole_cap);
    conn->whole_len = conn->whole_cap = 0;
}

static void drop_rest(struct km_front *front, struct km_gate_conn *conn)
{
    drop_buffer(front, &conn->rest, conn->rest_len, conn->rest_len);
    conn->rest_len = conn->rest_at = 0;
}

static void unref_conn(struct km_gate_conn *conn)
{
    struct km_front *front = conn->owner;
    if (atomic_fetch_sub(&conn->refs, 1) != 1)
        return;
    if (conn->is_known)
        atomic_fetch_sub(&front->n_known, 1);
    km_channel_free(conn->channel);
    drop_whole(front, conn);
    drop_rest(front, conn);
    free(conn);
    unref_front(front);
}

static void close_pipe(struct km_front *front, uint32_t id)
{
    nng_pipe pipe = {.id = id};
    if (km_gate_hangup(&front->gate, id, km_monotonic_ms()))
        return;
    (void)nng_pipe_close(pipe); /* gone already: as good */
}

/* Ends a connection whose message this thread has in work. */
static void shut(struct km_gate_conn *conn)
{
    conn->is_closing = true;
    close_pipe(conn->owner, conn->id);
}

static bool reserve_memory(struct km_front *front, size_t size)
{
    if (atomic_fetch_add(&front->memory, size) + size <= MEMORY_MAX)
        return true;
    atomic_fetch_sub(&front->memory, size);
    return false;
}

/* --- answers */

/* Gives the conn back and sends `frame` as the answer to `msg`, which is used up. */
static void answer(struct km_gate_conn *conn, nng_msg *msg, const uint8_t *frame, size_t len)
{
    struct km_front *front = conn->owner;
    nng_msg_clear(msg);
    bool is_ready = nng_msg_append(msg, frame, len) == 0;
    if (!is_ready)
        shut(conn);
    atomic_store(&conn->is_busy, false); /* before the answer leaves: the next request may come at once */
    if (is_ready && nng_sendmsg(front->socket, msg, NNG_FLAG_NONBLOCK) == 0)
        return;
    nng_msg_free(msg);
    close_pipe(front, conn->id);
}

/* Seals and sends the next part of `data`; `has_more` when more follows. */
static void answer_part(struct km_gate_conn *conn, nng_msg *msg, const uint8_t *data, size_t len, bool has_more)
{
    const uint8_t *frame;
    size_t frame_len;
    if (km_channel_seal(conn->channel, data, len, has_more, &frame, &frame_len) != KM_OK) {
        shut(conn);
        nng_msg_free(msg);
        atomic_store(&conn->is_busy, false);
        return;
    }
    answer(conn, msg, frame, frame_len);
}

static void answer_rest(struct km_gate_conn *conn, nng_msg *msg)
{
    struct km_front *front = conn->owner;
    const uint8_t *part = conn->rest + conn->rest_at;
    size_t left = conn->rest_len - conn->rest_at, len = left < KM_PART_MAX ? left : KM_PART_MAX;
    conn->rest_at += len;
    if (len < left) {
        km_gate_watch(&front->gate, conn, km_monotonic_ms() + PART_MS);
        answer_part(conn, msg, part, len, true /* has_more */);
        return;
    }
    km_gate_watch(&front->gate, conn, 0);
    const uint8_t *frame;
    size_t frame_len;
    enum km_err err = km_channel_seal(conn->channel, part, len, false /* has_more */, &frame, &frame_len);
    drop_rest(front, conn); /* before the conn is given back */
    if (err == KM_OK) {
        answer(conn, msg, frame, frame_len);
        return;
    }
    shut(conn);
    nng_msg_free(msg);
    atomic_store(&conn->is_busy, false);
}

void km_front_reply(struct km_front_request *request, const uint8_t *data, size_t len)
{
    struct km_gate_conn *conn = request->conn;
    struct km_front *front = conn->owner;
    if (len <= KM_PART_MAX) {
        const uint8_t *frame;
        size_t frame_len;
        enum km_err err = km_channel_seal(conn->channel, data, len, false /* has_more */, &frame, &frame_len);
        drop_whole(front, conn); /* only now: `data` may lie in it */
        if (err == KM_OK) {
            answer(conn, request->msg, frame, frame_len);
            goto out;
        }
    } else if (len <= KM_MESSAGE_MAX && reserve_memory(front, len)) {
        conn->rest = malloc(len);
        if (conn->rest != NULL) {
            memcpy(conn->rest, data, len);
            conn->rest_len = len;
            conn->rest_at = 0;
            drop_whole(front, conn);
            answer_rest(conn, request->msg);
            goto out;
        }
        atomic_fetch_sub(&front->memory, len);
    }
    km_quiet_log(&front->quiet, KM_LOG_WARN, "reply of %zu bytes to %s dropped: over the memory limit", len, conn->text);
    shut(conn);
    nng_msg_free(request->msg);
    drop_whole(front, conn);
    atomic_store(&conn->is_busy, false);
out:
    unref_conn(conn);
    free(request);
}

/* --- messages. Each of these has the conn (is_busy) and `msg`, and gives both back or passes them on. */

static void refuse(struct km_gate_conn *conn, nng_msg *msg)
{
    shut(conn);
    nng_msg_free(msg);
    atomic_store(&conn->is_busy, false);
}

static void refuse_malformed(struct km_gate_conn *conn, nng_msg *msg, const char *why)
{
    struct km_front *front = conn->owner;
    const struct km_identity *peer = conn->channel == NULL ? NULL : km_channel_peer(conn->channel);
    atomic_fetch_add(&front->malformed, 1);
    km_quiet_log(&front->quiet, KM_LOG_WARN, "closed %s %s: %s", conn->text, peer != NULL ? peer->uri : "(unknown)", why);
    refuse(conn, msg);
}

/* Lets go of a stranger whose handshake failed; with an alert to send, a little later. */
static void refuse_stranger(struct km_gate_conn *conn, nng_msg *msg, enum km_err err, const uint8_t *frame, size_t len)
{
    struct km_front *front = conn->owner;
    if (err == KM_ERR_PROTO || err == KM_ERR_VERSION) {
        refuse_malformed(conn, msg, km_channel_reason(conn->channel));
        return;
    }
    atomic_fetch_add(&front->refused_tls, 1);
    km_quiet_log(&front->quiet, KM_LOG_WARN, "refused %s: %s", conn->text, km_channel_reason(conn->channel));
    if (len == 0) {
        refuse(conn, msg);
        return;
    }
    conn->is_closing = true;
    km_gate_know(&front->gate, conn); /* counted as refused, not as timed out */
    km_gate_watch(&front->gate, conn, km_monotonic_ms() + REFUSAL_MS);
    answer(conn, msg, frame, len);
}

static enum km_err new_channel(struct km_front *front, struct km_channel **ret)
{
    pthread_mutex_lock(&front->tls_lock);
    struct km_tls *tls = km_tls_ref(front->tls);
    pthread_mutex_unlock(&front->tls_lock);
    enum km_err err = km_channel_new(tls, NULL, NULL, ret);
    km_tls_unref(tls);
    return err;
}

static void on_handshake(struct km_gate_conn *conn, nng_msg *msg)
{
    struct km_front *front = conn->owner;
    const uint8_t *frame = NULL;
    size_t len = 0;
    bool is_done = false;
    if (conn->channel == NULL && new_channel(front, &conn->channel) != KM_OK) {
        refuse(conn, msg);
        return;
    }
    if (++conn->n_handshakes > HANDSHAKE_FRAMES_MAX) {
        refuse_malformed(conn, msg, "endless handshake");
        return;
    }
    enum km_err err = km_channel_handshake(conn->channel, nng_msg_body(msg), nng_msg_len(msg), &frame, &len, &is_done);
    if (err != KM_OK) {
        refuse_stranger(conn, msg, err, frame, len);
        return;
    }
    if (conn->n_handshakes == 1)
        km_gate_hear(&front->gate, conn);
    if (is_done) {
        conn->is_known = true;
        if (atomic_fetch_add(&front->n_known, 1) >= front->conf.connections_max) {
            atomic_fetch_add(&front->refused_limit, 1);
            km_quiet_log(&front->quiet, KM_LOG_WARN, "refused %s: %s: more than %u connections", conn->text,
                         km_channel_peer(conn->channel)->uri, front->conf.connections_max);
            refuse(conn, msg);
            return;
        }
        atomic_fetch_add(&front->authenticated, 1);
        km_gate_know(&front->gate, conn);
    }
    answer(conn, msg, frame, len);
}

/* Adds a part to conn->whole. */
static bool collect(struct km_gate_conn *conn, const uint8_t *data, size_t len)
{
    struct km_front *front = conn->owner;
    if (conn->whole_len + len > KM_MESSAGE_MAX)
        return false;
    if (conn->whole_len + len > conn->whole_cap) { /* no realloc: it would leave a copy that nobody wipes */
        size_t cap = 2 * conn->whole_len + KM_PART_MAX;
        uint8_t *whole;
        if (!reserve_memory(front, cap))
            return false;
        whole = malloc(cap);
        if (whole == NULL) {
            atomic_fetch_sub(&front->memory, cap);
            return false;
        }
        size_t have = conn->whole_len;
        if (have > 0)
            memcpy(whole, conn->whole, have);
        drop_whole(front, conn);
        conn->whole = whole;
        conn->whole_len = have;
        conn->whole_cap = cap;
    }
    memcpy(conn->whole + conn->whole_len, data, len);
    conn->whole_len += len;
    return true;
}

static void hand_over(struct km_gate_conn *conn, nng_msg *msg, const uint8_t *data, size_t len)
{
    struct km_front *front = conn->owner;
    struct km_front_request *request = malloc(sizeof(*request));
    if (request == NULL) {
        refuse(conn, msg);
        return;
    }
    *request = (struct km_front_request){conn, msg};
    atomic_fetch_add(&conn->refs, 1);
    atomic_fetch_add_explicit(&front->requests, 1, memory_order_relaxed);
    front->on_request(front->arg, request, km_channel_peer(conn->channel), data, len);
}

static void on_data(struct km_gate_conn *conn, nng_msg *msg)
{
    struct km_front *front = conn->owner;
    const struct km_identity *peer = km_channel_peer(conn->channel);
    const uint8_t *data;
    size_t len;
    bool has_more;
    if (km_monotonic_ms() - conn->born_ms > KM_CHANNEL_AGE_MAX_S * 1000LL || peer->not_after < (long long)time(NULL)) {
        refuse(conn, msg); /* the client opens a new one, and is looked at anew */
        return;
    }
    if (km_channel_open(conn->channel, nng_msg_body(msg), nng_msg_len(msg), &data, &len, &has_more) != KM_OK)
        refuse_malformed(conn, msg, km_channel_reason(conn->channel));
    else if (conn->rest != NULL && (len > 0 || has_more))
        refuse_malformed(conn, msg, "a request before the last reply was fetched");
    else if (conn->rest != NULL)
        answer_rest(conn, msg);
    else if (len == 0)
        refuse_malformed(conn, msg, "an empty message");
    else if ((has_more || conn->whole != NULL) && !collect(conn, data, len))
        refuse_malformed(conn, msg, "a message over the size limit");
    else if (has_more) {
        km_gate_watch(&front->gate, conn, km_monotonic_ms() + PART_MS);
        answer_part(conn, msg, NULL, 0, false /* has_more */);
    } else if (conn->whole != NULL) {
        km_gate_watch(&front->gate, conn, 0);
        hand_over(conn, msg, conn->whole, conn->whole_len);
    } else {
        hand_over(conn, msg, data, len);
    }
}

static void on_message(struct km_front *front, nng_msg *msg)
{
    struct km_gate_conn *conn = km_gate_find(&front->gate, (uint32_t)nng_msg_get_pipe(msg).id);
    if (conn == NULL) {
        nng_msg_free(msg);
        return;
    }
    if (atomic_exchange(&conn->is_busy, true)) {
        atomic_fetch_add(&front->malformed, 1);
        km_quiet_log(&front->quiet, KM_LOG_WARN, "closed %s: a second message before the first was answered", conn->text);
        close_pipe(front, conn->id);
        nng_msg_free(msg);
    } else if (conn->is_closing) {
        refuse(conn, msg);
    } else if (conn->channel == NULL || km_channel_peer(conn->channel) == NULL) {
        on_handshake(conn, msg);
    } else {
        on_data(conn, msg);
    }
    unref_conn(conn);
}

static void receive_cb(void *arg)
{
    struct receiver *receiver = arg;
    int rv = nng_aio_result(receiver->aio);
    if (rv == 0) {
        nng_msg *msg = nng_aio_get_msg(receiver->aio);
        nng_aio_set_msg(receiver->aio, NULL);
        on_message(receiver->front, msg);
    }
    if (rv == NNG_ECLOSED || rv == NNG_ECANCELED || atomic_load(&receiver->front->is_closing))
        return;
    nng_recv_aio(receiver->front->socket, receiver->aio);
}

/* --- pipes come and go */

static void pipe_cb(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct km_front *front = arg;
    uint32_t id = (uint32_t)nng_pipe_id(pipe), victim;
    if (event == NNG_PIPE_EV_REM_POST) {
        struct km_gate_conn *gone = km_gate_remove(&front->gate, id);
        if (gone != NULL) {
            km_hangup_forget(gone->fd);
            unref_conn(gone);
        }
        return;
    }
    struct km_gate_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        nng_pipe_close(pipe);
        return;
    }
    atomic_fetch_add(&front->accepted, 1);
    atomic_fetch_add(&front->refs, 1);
    atomic_init(&conn->refs, 1);
    conn->id = id;
    conn->owner = front;
    conn->born_ms = km_monotonic_ms();
    conn->deadline = conn->born_ms + front->conf.handshake_ms;
    conn->fd = km_hangup_find(pipe);
    km_source_of(pipe, &conn->source, conn->text);
    bool is_admitted = km_gate_admit(&front->gate, conn, &victim);
    if (victim != 0 || !is_admitted) {
        atomic_fetch_add(&front->refused_limit, 1);
        km_quiet_log(&front->quiet, KM_LOG_WARN, "too many unauthenticated connections (from %s)", conn->text);
    }
    if (victim != 0)
        close_pipe(front, victim);
    if (!is_admitted) {
        km_hangup_forget(conn->fd);
        unref_conn(conn);
        nng_pipe_close(pipe); /* nothing is received from it yet */
    }
}

static void tick_cb(void *arg)
{
    struct km_front *front = arg;
    uint32_t late[64];
    size_t n, n_strangers;
    if (nng_aio_result(front->tick) != 0 || atomic_load(&front->is_closing))
        return;
    do {
        n = km_gate_expired(&front->gate, km_monotonic_ms(), late, sizeof(late) / sizeof(late[0]), &n_strangers);
        atomic_fetch_add(&front->timed_out, n_strangers);
        if (n_strangers > 0)
            km_quiet_log(&front->quiet, KM_LOG_WARN, "closed %zu connections: no handshake within %u ms", n_strangers, front->conf.handshake_ms);
        for (size_t i = 0; i < n; i++)
            close_pipe(front, late[i]);
    } while (n == sizeof(late) / sizeof(late[0]));
    km_quiet_flush(&front->quiet);
    nng_sleep_aio(TICK_MS, front->tick);
}

/* --- open, close */

static enum km_err open_socket(struct km_front *front, char *ret_message, size_t message_len)
{
    char url[300];
    int rv = nng_rep0_open_raw(&front->socket);
    if (rv != 0) {
        snprintf(ret_message, message_len, "%s: %s", front->conf.address, nng_strerror(rv));
        return KM_ERR_NET;
    }
    snprintf(url, sizeof(url), "tcp://%s", front->conf.address);
    /* The request id travels in the body until nng has taken it off. */
    if ((rv = nng_socket_set_size(front->socket, NNG_OPT_RECVMAXSZ, KM_FRAME_MAX + 4)) != 0 ||
        (rv = nng_socket_set_int(front->socket, NNG_OPT_SENDBUF, SEND_QUEUE)) != 0 ||
        (rv = nng_pipe_notify(front->socket, NNG_PIPE_EV_ADD_PRE, pipe_cb, front)) != 0 ||
        (rv = nng_pipe_notify(front->socket, NNG_PIPE_EV_REM_POST, pipe_cb, front)) != 0 ||
        (rv = nng_listen(front->socket, url, NULL, 0)) != 0) {
        snprintf(ret_message, message_len, "%s: %s", front->conf.address, nng_strerror(rv));
        nng_close(front->socket);
        return KM_ERR_NET;
    }
    return KM_OK;
}

static bool start_receivers(struct km_front *front)
{
    unsigned n = front->conf.callbacks < 1 ? 1 : front->conf.callbacks > CALLBACKS_MAX ? CALLBACKS_MAX : front->conf.callbacks;
    front->receivers = calloc(n, sizeof(front->receivers[0]));
    if (front->receivers == NULL || nng_aio_alloc(&front->tick, tick_cb, front) != 0)
        return false;
    for (; front->n_receivers < n; front->n_receivers++) {
        struct receiver *receiver = &front->receivers[front->n_receivers];
        receiver->front = front;
        if (nng_aio_alloc(&receiver->aio, receive_cb, receiver) != 0)
            return false;
    }
    for (unsigned i = 0; i < n; i++)
        nng_recv_aio(front->socket, front->receivers[i].aio);
    nng_sleep_aio(TICK_MS, front->tick);
    return true;
}

enum km_err km_front_open(const struct km_front_conf *conf, struct km_tls *tls, km_front_handler on_request, void *arg,
                          struct km_front **ret, char *ret_message, size_t message_len)
{
    struct km_front *front = calloc(1, sizeof(*front));
    if (front == NULL) {
        snprintf(ret_message, message_len, "out of memory");
        return KM_ERR_NOMEM;
    }
    atomic_init(&front->refs, 1);
    front->conf = *conf;
    front->conf.address = strdup(conf->address);
    front->on_request = on_request;
    front->arg = arg;
    front->tls = km_tls_ref(tls);
    pthread_mutex_init(&front->tls_lock, NULL);
    km_gate_init(&front->gate, conf->strangers_max, conf->strangers_per_source);
    km_quiet_init(&front->quiet);
    enum km_err err = front->conf.address == NULL ? KM_ERR_NOMEM : open_socket(front, ret_message, message_len);
    if (err != KM_OK) {
        unref_front(front);
        return err;
    }
    if (!start_receivers(front)) {
        snprintf(ret_message, message_len, "out of memory");
        km_front_close(front);
        return KM_ERR_NOMEM;
    }
    *ret = front;
    return KM_OK;
}

void km_front_set_tls(struct km_front *front, struct km_tls *tls)
{
    km_tls_ref(tls);
    pthread_mutex_lock(&front->tls_lock);
    struct km_tls *old = front->tls;
    front->tls = tls;
    pthread_mutex_unlock(&front->tls_lock);
    km_tls_unref(old);
}

void km_front_close(struct km_front *front)
{
    if (front == NULL)
        return;
    atomic_store(&front->is_closing, true);
    /* Before the socket closes: what asks a closing raw socket for a message may wait in memory that is gone (nng 1.5). */
    if (front->tick != NULL)
        nng_aio_stop(front->tick);
    for (unsigned i = 0; i < front->n_receivers; i++)
        nng_aio_stop(front->receivers[i].aio);
    bool is_closed = km_hangup_socket(front->socket, CLOSE_MS);
    if (front->tick != NULL)
        nng_aio_free(front->tick);
    for (unsigned i = 0; i < front->n_receivers; i++)
        nng_aio_free(front->receivers[i].aio);
    if (is_closed)
        unref_front(front);
}

void km_front_counts(const struct km_front *front, struct km_front_counts *ret)
{
    unsigned open_now;
    struct km_gate *gate = (struct km_gate *)(uintptr_t)&front->gate; /* its lock, not its content */
    *ret = (struct km_front_counts){
        .accepted = front->accepted,
        .authenticated = front->authenticated,
        .refused_tls = front->refused_tls,
        .refused_limit = front->refused_limit,
        .timed_out = front->timed_out,
        .malformed = front->malformed,
        .requests = front->requests,
    };
    ret->strangers_now = km_gate_strangers(gate, &open_now);
    ret->open_now = open_now;
}
