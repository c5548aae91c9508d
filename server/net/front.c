/* SPDX-License-Identifier: Apache-2.0
 *
 * The front door: what the messages of a pipe mean. A pipe has one message in work at a time (pipe.h), and its conn (gate.h) belongs to
 * whoever has that until the answer is sent. Threads: nng's callbacks, and whoever answers.
 */
#include "front.h"

#include "../../common/secret.h"
#include "../../common/sp.h"
#include "gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MEMORY_MAX (256u * 1024 * 1024) /* bytes of all requests and replies that travel in parts */
#define HANDSHAKE_FRAMES_MAX 4u         /* two, or three after a HelloRetryRequest */
#define REFUSAL_MS 300                  /* time for an alert to reach the one refused */
#define PART_MS 30000                   /* between two parts of one message */
#define TICK_MS 100

struct km_front {
    atomic_int refs; /* the owner, and each conn */
    struct km_front_conf conf;
    struct km_listener *listener;
    km_front_handler on_request;
    void *arg;
    pthread_mutex_t tls_lock;
    struct km_tls *tls;
    struct km_gate gate;
    struct km_quiet quiet;
    nng_aio *tick;
    atomic_size_t memory; /* held by whole and rest of all conns */
    atomic_uint n_known;
    atomic_ullong accepted, authenticated, refused_tls, refused_limit, timed_out, malformed, requests;
};

struct km_front_request {
    struct km_gate_conn *conn;
    struct km_pipe_header header; /* leads the answer back */
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
    km_pipe_unref(conn->pipe);
    free(conn);
    unref_front(front);
}

/* Ends a connection whose message this thread has in work. */
static void shut(struct km_gate_conn *conn)
{
    conn->is_closing = true;
    km_pipe_close(conn->pipe);
}

static bool reserve_memory(struct km_front *front, size_t size)
{
    if (atomic_fetch_add(&front->memory, size) + size <= MEMORY_MAX)
        return true;
    atomic_fetch_sub(&front->memory, size);
    return false;
}

/* --- answers */

/* False: the connection ends. */
static bool seal(struct km_gate_conn *conn, const uint8_t *data, size_t len, bool has_more, const uint8_t **ret, size_t *ret_len)
{
    if (km_channel_seal(conn->channel, data, len, has_more, ret, ret_len) == KM_OK)
        return true;
    shut(conn);
    return false;
}

static void answer_rest(struct km_gate_conn *conn, const struct km_pipe_header *header)
{
    struct km_front *front = conn->owner;
    const uint8_t *part = conn->rest + conn->rest_at, *frame;
    size_t left = conn->rest_len - conn->rest_at, len = left < KM_PART_MAX ? left : KM_PART_MAX, frame_len;
    bool has_more = len < left, is_sealed = seal(conn, part, len, has_more, &frame, &frame_len);
    conn->rest_at += len;
    km_gate_watch(&front->gate, conn, has_more ? km_monotonic_ms() + PART_MS : 0);
    if (!has_more)
        drop_rest(front, conn); /* before the conn is another's */
    if (is_sealed)
        km_pipe_send(conn->pipe, header, frame, frame_len);
}

void km_front_reply(struct km_front_request *request, const uint8_t *data, size_t len)
{
    struct km_gate_conn *conn = request->conn;
    struct km_front *front = conn->owner;
    if (len <= KM_PART_MAX) {
        const uint8_t *frame;
        size_t frame_len;
        bool is_sealed = seal(conn, data, len, false /* has_more */, &frame, &frame_len);
        drop_whole(front, conn); /* only now: `data` may lie in it */
        if (is_sealed)
            km_pipe_send(conn->pipe, &request->header, frame, frame_len);
        goto out;
    }
    conn->rest = len <= KM_MESSAGE_MAX && reserve_memory(front, len) ? malloc(len) : NULL;
    if (conn->rest == NULL) {
        if (len <= KM_MESSAGE_MAX)
            atomic_fetch_sub(&front->memory, len);
        km_quiet_log(&front->quiet, KM_LOG_WARN, "reply of %zu bytes to %s dropped: over the memory limit", len, conn->text);
        shut(conn);
        goto out;
    }
    memcpy(conn->rest, data, len);
    conn->rest_len = len;
    conn->rest_at = 0;
    drop_whole(front, conn);
    answer_rest(conn, &request->header);
out:
    unref_conn(conn);
    free(request);
}

/* --- messages. Each of these has the pipe's message in work, and answers it or closes the pipe. */

static void count_malformed(struct km_gate_conn *conn, const char *why)
{
    struct km_front *front = conn->owner;
    const struct km_identity *peer = conn->is_known ? km_channel_peer(conn->channel) : NULL;
    atomic_fetch_add(&front->malformed, 1);
    km_quiet_log(&front->quiet, KM_LOG_WARN, "closed %s %s: %s", conn->text, peer != NULL ? peer->uri : "(unknown)", why);
}

static void refuse_malformed(struct km_gate_conn *conn, const char *why)
{
    count_malformed(conn, why);
    shut(conn);
}

/* Lets go of a stranger whose handshake failed; with an alert to send, a little later. */
static void refuse_stranger(struct km_gate_conn *conn, const struct km_pipe_header *header, enum km_err err, const uint8_t *frame,
                            size_t len)
{
    struct km_front *front = conn->owner;
    if (err == KM_ERR_PROTO || err == KM_ERR_VERSION) {
        refuse_malformed(conn, km_channel_reason(conn->channel));
        return;
    }
    atomic_fetch_add(&front->refused_tls, 1);
    km_quiet_log(&front->quiet, KM_LOG_WARN, "refused %s: %s", conn->text, km_channel_reason(conn->channel));
    if (len == 0) {
        shut(conn);
        return;
    }
    conn->is_closing = true;
    km_gate_know(&front->gate, conn); /* counted as refused, not as timed out */
    km_gate_watch(&front->gate, conn, km_monotonic_ms() + REFUSAL_MS);
    km_pipe_send(conn->pipe, header, frame, len);
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

static void on_handshake(struct km_gate_conn *conn, const struct km_pipe_header *header, const uint8_t *body, size_t body_len)
{
    struct km_front *front = conn->owner;
    const uint8_t *frame = NULL;
    size_t len = 0;
    bool is_done = false;
    if (conn->channel == NULL && new_channel(front, &conn->channel) != KM_OK) {
        shut(conn);
        return;
    }
    if (++conn->n_handshakes > HANDSHAKE_FRAMES_MAX) {
        refuse_malformed(conn, "endless handshake");
        return;
    }
    enum km_err err = km_channel_handshake(conn->channel, body, body_len, &frame, &len, &is_done);
    if (err != KM_OK) {
        refuse_stranger(conn, header, err, frame, len);
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
            shut(conn);
            return;
        }
        atomic_fetch_add(&front->authenticated, 1);
        km_gate_know(&front->gate, conn);
    }
    km_pipe_send(conn->pipe, header, frame, len);
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

static void hand_over(struct km_gate_conn *conn, const struct km_pipe_header *header, const uint8_t *data, size_t len)
{
    struct km_front *front = conn->owner;
    struct km_front_request *request = malloc(sizeof(*request));
    if (request == NULL) {
        shut(conn);
        return;
    }
    *request = (struct km_front_request){conn, *header};
    atomic_fetch_add(&conn->refs, 1);
    atomic_fetch_add_explicit(&front->requests, 1, memory_order_relaxed);
    front->on_request(front->arg, request, km_channel_peer(conn->channel), data, len);
}

static void on_data(struct km_gate_conn *conn, const struct km_pipe_header *header, const uint8_t *body, size_t body_len)
{
    struct km_front *front = conn->owner;
    const struct km_identity *peer = km_channel_peer(conn->channel);
    const uint8_t *data;
    size_t len;
    bool has_more;
    if (km_monotonic_ms() - conn->born_ms > KM_CHANNEL_AGE_MAX_S * 1000LL || peer->not_after < (long long)time(NULL)) {
        shut(conn); /* the client opens a new one, and is looked at anew */
        return;
    }
    if (km_channel_open(conn->channel, body, body_len, &data, &len, &has_more) != KM_OK)
        refuse_malformed(conn, km_channel_reason(conn->channel));
    else if (conn->rest != NULL && (len > 0 || has_more))
        refuse_malformed(conn, "a request before the last reply was fetched");
    else if (conn->rest != NULL)
        answer_rest(conn, header);
    else if (len == 0)
        refuse_malformed(conn, "an empty message");
    else if ((has_more || conn->whole != NULL) && !collect(conn, data, len))
        refuse_malformed(conn, "a message over the size limit");
    else if (has_more) {
        km_gate_watch(&front->gate, conn, km_monotonic_ms() + PART_MS);
        if (seal(conn, NULL, 0, false /* has_more */, &data, &len))
            km_pipe_send(conn->pipe, header, data, len);
    } else if (conn->whole != NULL) {
        km_gate_watch(&front->gate, conn, 0);
        hand_over(conn, header, conn->whole, conn->whole_len);
    } else {
        hand_over(conn, header, data, len);
    }
}

static void on_message(void *arg, const struct km_pipe_header *header, const uint8_t *body, size_t len)
{
    struct km_gate_conn *conn = arg;
    if (conn->is_closing)
        shut(conn);
    else if (!conn->is_known)
        on_handshake(conn, header, body, len);
    else
        on_data(conn, header, body, len);
}

/* --- pipes come and go */

static void on_end(void *arg, const char *malformed)
{
    struct km_gate_conn *conn = arg;
    struct km_front *front = conn->owner;
    if (malformed != NULL)
        count_malformed(conn, malformed);
    (void)km_gate_remove(&front->gate, conn->id);
    unref_conn(conn);
}

static void *on_open(void *arg, struct km_pipe *pipe, const nng_sockaddr *from)
{
    struct km_front *front = arg;
    uint32_t victim;
    struct km_gate_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    atomic_fetch_add(&front->accepted, 1);
    atomic_fetch_add(&front->refs, 1);
    atomic_init(&conn->refs, 1);
    conn->owner = front;
    conn->pipe = pipe;
    conn->born_ms = km_monotonic_ms();
    conn->deadline = conn->born_ms + front->conf.handshake_ms;
    km_source_of_address(from, &conn->source, conn->text);
    bool is_admitted = km_gate_admit(&front->gate, conn, &victim);
    if (victim != 0 || !is_admitted) {
        atomic_fetch_add(&front->refused_limit, 1);
        km_quiet_log(&front->quiet, KM_LOG_WARN, "too many unauthenticated connections (from %s)", conn->text);
    }
    if (victim != 0)
        km_gate_close(&front->gate, victim);
    if (is_admitted)
        return conn;
    conn->pipe = NULL; /* stays the caller's */
    unref_conn(conn);
    return NULL;
}

static void tick_cb(void *arg)
{
    struct km_front *front = arg;
    uint32_t late[64];
    size_t n, n_strangers;
    if (nng_aio_result(front->tick) != 0)
        return; /* stopped */
    do {
        n = km_gate_expired(&front->gate, km_monotonic_ms(), late, sizeof(late) / sizeof(late[0]), &n_strangers);
        atomic_fetch_add(&front->timed_out, n_strangers);
        if (n_strangers > 0)
            km_quiet_log(&front->quiet, KM_LOG_WARN, "closed %zu connections: no handshake within %u ms", n_strangers, front->conf.handshake_ms);
        for (size_t i = 0; i < n; i++)
            km_gate_close(&front->gate, late[i]);
    } while (n == sizeof(late) / sizeof(late[0]));
    km_quiet_flush(&front->quiet);
    nng_sleep_aio(TICK_MS, front->tick);
}

/* --- open, close */

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
    static const struct km_pipe_events events = {on_open, on_message, on_end};
    enum km_err err = KM_ERR_NOMEM;
    if (front->conf.address == NULL || nng_aio_alloc(&front->tick, tick_cb, front) != 0)
        snprintf(ret_message, message_len, "out of memory");
    else
        err = km_listener_open(conf->address, KM_FRAME_MAX, &events, front, &front->listener, ret_message, message_len);
    if (err != KM_OK) {
        km_front_close(front);
        return err;
    }
    nng_sleep_aio(TICK_MS, front->tick);
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
    km_listener_close(front->listener);
    if (front->tick != NULL) {
        nng_aio_stop(front->tick);
        nng_aio_free(front->tick);
    }
    km_gate_close_all(&front->gate);
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
