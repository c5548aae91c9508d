/* SPDX-License-Identifier: Apache-2.0
 *
 * SP pipes on nng's streams. There is always one receive operation under way, except while its callback works or a message waits for
 * our own sending to end; where it cannot be started the pipe ends, and there alone that is told. Sending tries at
 * once and, where the socket takes no more, goes on in a callback. Threads: nng's callbacks, and whoever sends.
 */
#include "pipe.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREETING_LEN 8
#define LENGTH_LEN 8
#define SMALL 2048 /* bytes of buffer that a pipe keeps: most requests, and a client's first TLS flight */
#define RETRY_MS 100

static const uint8_t our_greeting[GREETING_LEN] = {0, 'S', 'P', 0, 0, 0x31 /* REP */, 0, 0};
static const uint8_t their_greeting[GREETING_LEN] = {0, 'S', 'P', 0, 0, 0x30 /* REQ */, 0, 0};

struct km_listener {
    nng_stream_listener *listener;
    nng_aio *accept_aio, *pause_aio;
    size_t body_max;
    struct km_pipe_events events;
    void *arg;
    atomic_bool is_closing;
};

struct km_pipe {
    atomic_int refs; /* the user's, the receive operation's, and one while sending goes on in a callback */
    nng_stream *stream;
    nng_aio *recv_aio, *send_aio, *slow_aio; /* send_aio has no callback; slow_aio is there when it was needed */
    struct km_pipe_events events;
    void *arg;
    size_t body_max;
    const char *malformed;

    bool is_greeted;
    uint8_t *in;
    size_t in_len, in_cap;
    struct km_pipe_header header;

    uint8_t head[LENGTH_LEN + KM_PIPE_HEADER_MAX]; /* of what is being sent */
    nng_iov iov[2];

    /*   on_message        km_pipe_send          is out
     *   IDLE ------> TAKEN ------------> SENDING ------> IDLE     a message that comes meanwhile: ends the pipe; waits */
    pthread_mutex_t lock; /* the three below */
    enum { IDLE, TAKEN, SENDING } state;
    bool is_waiting; /* a message waits until that is out */
    bool is_closed;  /* nng 1.5 never ends an operation that starts on a closed stream */
};

static void advance(struct km_pipe *pipe);
static void receive_cb(void *arg);

/* --- lifetimes */

void km_pipe_unref(struct km_pipe *pipe)
{
    if (pipe == NULL || atomic_fetch_sub(&pipe->refs, 1) != 1)
        return;
    /* Perhaps in a callback of one of them. */
    if (pipe->recv_aio != NULL)
        nng_aio_reap(pipe->recv_aio);
    if (pipe->send_aio != NULL)
        nng_aio_reap(pipe->send_aio);
    if (pipe->slow_aio != NULL)
        nng_aio_reap(pipe->slow_aio);
    nng_stream_free(pipe->stream);
    pthread_mutex_destroy(&pipe->lock);
    free(pipe->in);
    free(pipe);
}

void km_pipe_close(struct km_pipe *pipe)
{
    pthread_mutex_lock(&pipe->lock);
    pipe->is_closed = true;
    nng_stream_close(pipe->stream);
    pthread_mutex_unlock(&pipe->lock);
}

/* Starts a stream's operation; false, with nothing started, when the pipe is closed. */
static bool start(struct km_pipe *pipe, void (*operation)(nng_stream *, nng_aio *), nng_aio *aio)
{
    pthread_mutex_lock(&pipe->lock);
    bool is_open = !pipe->is_closed;
    if (is_open)
        operation(pipe->stream, aio); /* its callback comes on a thread of nng's */
    pthread_mutex_unlock(&pipe->lock);
    return is_open;
}

static void shut_malformed(struct km_pipe *pipe, const char *why)
{
    pipe->malformed = why;
    km_pipe_close(pipe);
}

/* Takes the stream, also on failure. */
static struct km_pipe *pipe_new(const struct km_listener *listener, nng_stream *stream)
{
    struct km_pipe *pipe = calloc(1, sizeof(*pipe));
    if (pipe == NULL) {
        nng_stream_free(stream);
        return NULL;
    }
    atomic_init(&pipe->refs, 1);
    pipe->stream = stream;
    pipe->events = listener->events;
    pipe->body_max = listener->body_max;
    pthread_mutex_init(&pipe->lock, NULL);
    pipe->in = malloc(SMALL);
    pipe->in_cap = SMALL;
    if (pipe->in == NULL || nng_aio_alloc(&pipe->recv_aio, receive_cb, pipe) != 0 || nng_aio_alloc(&pipe->send_aio, NULL, NULL) != 0) {
        km_pipe_unref(pipe);
        return NULL;
    }
    return pipe;
}

/* --- sending */

/* What is left to send moves on by `n` bytes; true when nothing is. */
static bool consume(struct km_pipe *pipe, size_t n)
{
    for (int i = 0; i < 2; i++) {
        size_t taken = n < pipe->iov[i].iov_len ? n : pipe->iov[i].iov_len;
        pipe->iov[i].iov_buf = (uint8_t *)pipe->iov[i].iov_buf + taken;
        pipe->iov[i].iov_len -= taken;
        n -= taken;
    }
    return pipe->iov[0].iov_len + pipe->iov[1].iov_len == 0;
}

static bool send_rest(struct km_pipe *pipe, nng_aio *aio)
{
    nng_iov left[2];
    unsigned n = 0;
    for (int i = 0; i < 2; i++)
        if (pipe->iov[i].iov_len > 0)
            left[n++] = pipe->iov[i];
    (void)nng_aio_set_iov(aio, n, left); /* fails for more than 16 */
    return start(pipe, nng_stream_send, aio);
}

static void sent(struct km_pipe *pipe)
{
    pthread_mutex_lock(&pipe->lock);
    bool is_waiting = pipe->is_waiting;
    pipe->state = IDLE;
    pipe->is_waiting = false;
    pthread_mutex_unlock(&pipe->lock);
    if (is_waiting)
        advance(pipe);
}

static void slow_cb(void *arg)
{
    struct km_pipe *pipe = arg;
    if (nng_aio_result(pipe->slow_aio) != 0)
        km_pipe_close(pipe);
    else if (!consume(pipe, nng_aio_count(pipe->slow_aio)) && send_rest(pipe, pipe->slow_aio))
        return;
    sent(pipe);
    km_pipe_unref(pipe);
}

/* Sends what the socket takes at once: most answers whole, without a thread waking up for it. True if all is out or the pipe ends. */
static bool send_now(struct km_pipe *pipe)
{
    int rv;
    do {
        if (!send_rest(pipe, pipe->send_aio))
            return true;
        nng_aio_cancel(pipe->send_aio); /* does nothing to one that is done */
        nng_aio_wait(pipe->send_aio);
        rv = nng_aio_result(pipe->send_aio);
    } while (rv == 0 && !consume(pipe, nng_aio_count(pipe->send_aio)));
    if (rv != 0 && rv != NNG_ECANCELED)
        km_pipe_close(pipe);
    return rv != NNG_ECANCELED;
}

void km_pipe_send(struct km_pipe *pipe, const struct km_pipe_header *header, const uint8_t *frame, size_t len)
{
    uint64_t total = header->len + len;
    atomic_fetch_add(&pipe->refs, 1); /* the answer may end the request that held the pipe */
    pthread_mutex_lock(&pipe->lock);
    pipe->state = SENDING;
    pthread_mutex_unlock(&pipe->lock);
    for (int i = 0; i < LENGTH_LEN; i++)
        pipe->head[i] = (uint8_t)(total >> (56 - 8 * i));
    memcpy(pipe->head + LENGTH_LEN, header->bytes, header->len);
    pipe->iov[0] = (nng_iov){pipe->head, LENGTH_LEN + header->len};
    pipe->iov[1] = (nng_iov){(void *)(uintptr_t)frame, len};
    if (!send_now(pipe)) {
        bool is_ready = pipe->slow_aio != NULL || nng_aio_alloc(&pipe->slow_aio, slow_cb, pipe) == 0;
        if (is_ready && send_rest(pipe, pipe->slow_aio))
            return; /* with our reference */
        km_pipe_close(pipe);
    }
    sent(pipe);
    km_pipe_unref(pipe);
}

/* --- receiving */

static void receive(struct km_pipe *pipe)
{
    nng_iov iov = {pipe->in + pipe->in_len, pipe->in_cap - pipe->in_len};
    (void)nng_aio_set_iov(pipe->recv_aio, 1, &iov);
    if (start(pipe, nng_stream_recv, pipe->recv_aio))
        return;
    pipe->events.on_end(pipe->arg, pipe->malformed);
    km_pipe_unref(pipe);
}

static void drop_front(struct km_pipe *pipe, size_t n)
{
    memmove(pipe->in, pipe->in + n, pipe->in_len - n);
    pipe->in_len -= n;
    uint8_t *small = pipe->in_cap > SMALL && pipe->in_len <= SMALL ? malloc(SMALL) : NULL;
    if (small == NULL)
        return;
    memcpy(small, pipe->in, pipe->in_len);
    free(pipe->in);
    pipe->in = small;
    pipe->in_cap = SMALL;
}

static bool make_room(struct km_pipe *pipe, size_t size)
{
    if (size <= pipe->in_cap)
        return true;
    uint8_t *grown = realloc(pipe->in, size);
    if (grown == NULL)
        return false;
    pipe->in = grown;
    pipe->in_cap = size;
    return true;
}

/* The request ids: 32 bits each, the last one's top bit set (sp-request-reply-01). */
static bool read_header(struct km_pipe_header *header, const uint8_t *message, size_t len)
{
    for (size_t n = 4; n <= len && n <= KM_PIPE_HEADER_MAX; n += 4) {
        if (!(message[n - 4] & 0x80))
            continue;
        memcpy(header->bytes, message, n);
        header->len = n;
        return true;
    }
    return false;
}

enum claim { CLAIMED, WAITS, CROWDED };

static enum claim claim_turn(struct km_pipe *pipe)
{
    static const enum claim by_state[] = {[IDLE] = CLAIMED, [TAKEN] = CROWDED, [SENDING] = WAITS};
    pthread_mutex_lock(&pipe->lock);
    enum claim claim = by_state[pipe->state];
    if (claim == CLAIMED)
        pipe->state = TAKEN;
    pipe->is_waiting = claim == WAITS;
    pthread_mutex_unlock(&pipe->lock);
    return claim;
}

/* Gives the message at the front of the buffer if it is there and may go; false: it has to wait for our sending. */
static bool give(struct km_pipe *pipe)
{
    uint64_t len = 0;
    if (!pipe->is_greeted) {
        if (memcmp(pipe->in, their_greeting, pipe->in_len < GREETING_LEN ? pipe->in_len : GREETING_LEN) != 0)
            shut_malformed(pipe, "no greeting of an SP REQ socket");
        if (pipe->in_len < GREETING_LEN || pipe->malformed != NULL)
            return true;
        pipe->is_greeted = true;
        drop_front(pipe, GREETING_LEN);
    }
    if (pipe->in_len < LENGTH_LEN)
        return true;
    for (int i = 0; i < LENGTH_LEN; i++)
        len = len << 8 | pipe->in[i];
    if (len > pipe->body_max + KM_PIPE_HEADER_MAX || !make_room(pipe, LENGTH_LEN + (size_t)len)) {
        shut_malformed(pipe, "a message over the size limit");
        return true;
    }
    if (pipe->in_len < LENGTH_LEN + len)
        return true;
    if (!read_header(&pipe->header, pipe->in + LENGTH_LEN, (size_t)len) || len - pipe->header.len > pipe->body_max) {
        shut_malformed(pipe, "a message without a request id");
        return true;
    }
    enum claim claim = pipe->in_len > LENGTH_LEN + len ? CROWDED : claim_turn(pipe);
    if (claim == WAITS)
        return false;
    if (claim == CROWDED) {
        shut_malformed(pipe, "a second message before the first was answered");
        return true;
    }
    pipe->events.on_message(pipe->arg, &pipe->header, pipe->in + LENGTH_LEN + pipe->header.len, (size_t)len - pipe->header.len);
    drop_front(pipe, LENGTH_LEN + (size_t)len);
    return true;
}

/* Goes on after bytes came, or after what a message waited for. */
static void advance(struct km_pipe *pipe)
{
    if (give(pipe))
        receive(pipe);
}

static void receive_cb(void *arg)
{
    struct km_pipe *pipe = arg;
    if (nng_aio_result(pipe->recv_aio) != 0) {
        km_pipe_close(pipe);
        receive(pipe); /* which ends it */
        return;
    }
    pipe->in_len += nng_aio_count(pipe->recv_aio);
    advance(pipe);
}

/* --- listening */

static void on_stream(struct km_listener *listener, nng_stream *stream)
{
    nng_sockaddr from = {0};
    struct km_pipe *pipe = pipe_new(listener, stream);
    if (pipe == NULL)
        return;
    (void)nng_stream_get_addr(stream, NNG_OPT_REMADDR, &from); /* unknown: all of them are one source */
    atomic_fetch_add(&pipe->refs, 1); /* the receive operation's */
    pipe->iov[0] = (nng_iov){(void *)(uintptr_t)our_greeting, GREETING_LEN};
    pipe->iov[1] = (nng_iov){NULL, 0};
    pipe->arg = listener->events.on_open(listener->arg, pipe, &from);
    if (pipe->arg == NULL) {
        km_pipe_close(pipe);
        km_pipe_unref(pipe);
        km_pipe_unref(pipe);
        return;
    }
    if (!send_now(pipe)) /* a fresh connection that takes no 8 bytes */
        km_pipe_close(pipe);
    receive(pipe);
}

static void accept_cb(void *arg)
{
    struct km_listener *listener = arg;
    int rv = nng_aio_result(listener->accept_aio);
    if (rv == 0 && atomic_load(&listener->is_closing))
        nng_stream_free(nng_aio_get_output(listener->accept_aio, 0));
    else if (rv == 0)
        on_stream(listener, nng_aio_get_output(listener->accept_aio, 0));
    if (rv == NNG_ECLOSED || rv == NNG_ECANCELED || atomic_load(&listener->is_closing))
        return;
    if (rv == 0 || rv == NNG_ECONNABORTED || rv == NNG_ECONNRESET)
        nng_stream_listener_accept(listener->listener, listener->accept_aio);
    else /* no more descriptors: not at once */
        nng_sleep_aio(RETRY_MS, listener->pause_aio);
}

static void pause_cb(void *arg)
{
    struct km_listener *listener = arg;
    if (nng_aio_result(listener->pause_aio) == 0 && !atomic_load(&listener->is_closing))
        nng_stream_listener_accept(listener->listener, listener->accept_aio);
}

enum km_err km_listener_open(const char *address, size_t body_max, const struct km_pipe_events *events, void *arg,
                             struct km_listener **ret, char *ret_message, size_t message_len)
{
    char url[300];
    int rv;
    struct km_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL) {
        snprintf(ret_message, message_len, "out of memory");
        return KM_ERR_NOMEM;
    }
    listener->body_max = body_max;
    listener->events = *events;
    listener->arg = arg;
    snprintf(url, sizeof(url), "tcp://%s", address);
    if ((rv = nng_aio_alloc(&listener->accept_aio, accept_cb, listener)) != 0 ||
        (rv = nng_aio_alloc(&listener->pause_aio, pause_cb, listener)) != 0 ||
        (rv = nng_stream_listener_alloc(&listener->listener, url)) != 0 || (rv = nng_stream_listener_listen(listener->listener)) != 0) {
        snprintf(ret_message, message_len, "%s: %s", address, nng_strerror(rv));
        km_listener_close(listener);
        return KM_ERR_NET;
    }
    nng_stream_listener_accept(listener->listener, listener->accept_aio);
    *ret = listener;
    return KM_OK;
}

void km_listener_close(struct km_listener *listener)
{
    if (listener == NULL)
        return;
    atomic_store(&listener->is_closing, true);
    if (listener->listener != NULL)
        nng_stream_listener_close(listener->listener);
    if (listener->pause_aio != NULL)
        nng_aio_stop(listener->pause_aio);
    if (listener->accept_aio != NULL)
        nng_aio_stop(listener->accept_aio);
    nng_aio_free(listener->pause_aio);
    nng_aio_free(listener->accept_aio);
    if (listener->listener != NULL)
        nng_stream_listener_free(listener->listener);
    free(listener);
}
