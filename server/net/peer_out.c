/* SPDX-License-Identifier: Apache-2.0
 *
 * The servers that we dial: one raw REQ socket for each, which nng reconnects. What is queued goes out as a stream of
 * messages behind their lengths, one frame in flight; a queue is bounded in bytes and dropped with its connection.
 *
 * Threads: nng's callbacks and the loop share a peer under its lock.
 */
#include "peers_impl.h"

#include "../../common/log.h"

#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static void drop_queue(struct peer *peer)
{
    for (struct out *o = peer->head, *next; o; o = next) {
        next = o->next;
        free(o);
    }
    peer->head = NULL;
    peer->tail = &peer->head;
    peer->queued = 0;
    if (peer->held)
        nng_msg_free(peer->held);
    peer->held = NULL;
}

/* Ends the connection, for good at the second call; what follows comes with NNG_PIPE_EV_REM_POST. With the lock. */
static void shut(struct peer *peer)
{
    if (!km_hangup(peer->fd, peer->is_shut))
        nng_pipe_close(peer->pipe);
    peer->is_shut = true;
}

static void start_sending(struct peer *peer, nng_msg *msg)
{
    nng_aio_set_msg(peer->send_aio, msg);
    peer->is_sending = true;
    nng_send_aio(peer->socket, peer->send_aio);
}

/* Hands one frame to nng, or holds it until the last one is gone. With the lock; false when the connection must be closed. */
static bool send_frame(struct peer *peer, const uint8_t *frame, size_t len)
{
    nng_msg *msg = peer->is_leaving ? NULL : km_peers_message(frame, len);
    if (!msg)
        return false;
    if (nng_msg_header_append_u32(msg, 0x80000000u | ++peer->request) != 0) {
        nng_msg_free(msg);
        return false;
    }
    if (!peer->is_sending) {
        start_sending(peer, msg);
    } else if (!peer->held) {
        peer->held = msg;
    } else { /* handshakes alternate: the other end answered what it cannot have seen */
        nng_msg_free(msg);
        return false;
    }
    return true;
}

/* Sends the next piece of the queue if there is one and nothing is under way. With the lock; false: close. */
static bool pump(struct peer *peer)
{
    static __thread uint8_t plain[KM_PART_MAX];
    size_t len = 0;
    const uint8_t *frame;
    size_t frame_len;
    if ((peer->state != UP && peer->state != GREETING) || peer->is_sending)
        return true;
    if (peer->wants_ping) { /* not in the stream: it must not wait for a long message's end */
        peer->wants_ping = false;
        return km_channel_seal(peer->channel, NULL, 0, true /* has_more: go on, please */, &frame, &frame_len) == KM_OK &&
               send_frame(peer, frame, frame_len);
    }
    if (!peer->head)
        return true;
    while (peer->head && len < sizeof(plain)) {
        struct out *o = peer->head;
        size_t n = o->len - o->at < sizeof(plain) - len ? o->len - o->at : sizeof(plain) - len;
        memcpy(plain + len, o->data + o->at, n);
        len += n;
        o->at += n;
        if (o->at < o->len)
            break;
        peer->head = o->next;
        if (!peer->head)
            peer->tail = &peer->head;
        peer->queued -= o->len;
        free(o);
    }
    peer->unheard += len;
    if (km_channel_seal(peer->channel, plain, len, false /* whole */, &frame, &frame_len) != KM_OK)
        return false;
    return send_frame(peer, frame, frame_len);
}

/* Queues `len` bytes behind their length. With the lock. Errors: KM_ERR_NOMEM, KM_ERR_FULL. */
static enum km_err enqueue(struct peer *peer, const uint8_t *data, size_t len)
{
    struct out *o;
    if (peer->queued && peer->queued + len > KM_LINK_QUEUE_MAX)
        return KM_ERR_FULL;
    o = malloc(sizeof(*o) + LEN_LEN + len);
    if (!o)
        return KM_ERR_NOMEM;
    *o = (struct out){.len = LEN_LEN + len};
    put_u32(o->data, (uint32_t)len);
    if (len)
        memcpy(o->data + LEN_LEN, data, len);
    *peer->tail = o;
    peer->tail = &o->next;
    peer->queued += o->len;
    return KM_OK;
}

/* The first thing on an authenticated connection: who speaks. */
static void enqueue_hello(struct peer *peer)
{
    uint8_t hello[HELLO_LEN] = {HELLO_VERSION};
    for (int i = 0; i < 8; i++)
        hello[1 + i] = (uint8_t)(peer->owner->self >> (8 * i));
    drop_queue(peer);
    if (enqueue(peer, hello, sizeof(hello)) != KM_OK)
        shut(peer);
}

/* One line for each reason, not one for each attempt. With the lock. */
static void log_refusal(struct peer *peer, const char *reason)
{
    if (!strcmp(reason, peer->last_reason))
        return;
    snprintf(peer->last_reason, sizeof(peer->last_reason), "%s", reason);
    km_log(KM_LOG_WARN, "peer %s at %s: %s", peer->name, peer->address, reason);
}

/* A frame from the server that we dialled. With the lock; false: close. `*ret_is_up` tells that the connection came up.
 */
static bool peer_frame(struct peer *peer, const uint8_t *in, size_t in_len, bool *ret_is_up)
{
    const uint8_t *frame;
    size_t len;
    bool is_done = false, has_more;
    peer->asked_ms = 0;
    peer->unheard = 0;
    if (peer->state == UP || peer->state == GREETING) { /* the answer to a ping, or to our hello */
        *ret_is_up = peer->state == GREETING;
        peer->state = UP;
        peer->refused_pause_ms = 0;
        return km_channel_open(peer->channel, in, in_len, &frame, &len, &has_more) == KM_OK;
    }
    if (km_channel_handshake(peer->channel, in, in_len, &frame, &len, &is_done) != KM_OK) {
        log_refusal(peer, km_channel_reason(peer->channel));
        return false;
    }
    peer->asked_ms = km_peers_now_ms();
    if (!is_done)
        return send_frame(peer, frame, len);
    peer->state = GREETING;
    peer->up_since_ms = km_peers_now_ms();
    enqueue_hello(peer);
    return pump(peer);
}

static void on_peer_recv(void *arg)
{
    struct peer *peer = arg;
    bool is_up = false;
    if (nng_aio_result(peer->recv_aio) != 0)
        return; /* the socket is closed */
    nng_msg *msg = nng_aio_get_msg(peer->recv_aio);
    pthread_mutex_lock(&peer->lock);
    if (peer->channel && nng_pipe_id(nng_msg_get_pipe(msg)) == nng_pipe_id(peer->pipe) &&
        !peer_frame(peer, nng_msg_body(msg), nng_msg_len(msg), &is_up))
        shut(peer);
    if (is_up) { /* posted under the lock, or the end of this connection might overtake it */
        peer->last_reason[0] = '\0';
        km_log(KM_LOG_INFO, "peer %s at %s: connected", peer->name, peer->address);
        if (!km_peers_post(peer->owner, EVENT_UP, peer->id, NULL, 0))
            shut(peer);
    }
    pthread_mutex_unlock(&peer->lock);
    nng_msg_free(msg);
    nng_recv_aio(peer->socket, peer->recv_aio);
}

static void on_peer_sent(void *arg)
{
    struct peer *peer = arg;
    pthread_mutex_lock(&peer->lock);
    if (nng_aio_result(peer->send_aio) != 0)
        nng_msg_free(nng_aio_get_msg(peer->send_aio));
    peer->is_sending = false;
    if (peer->held && !peer->is_leaving) {
        nng_msg *msg = peer->held;
        peer->held = NULL;
        start_sending(peer, msg);
    } else if (!pump(peer)) {
        shut(peer);
    }
    pthread_mutex_unlock(&peer->lock);
}

static void on_peer_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct peer *peer = arg;
    const uint8_t *frame;
    size_t len;
    bool is_done, was_up = false;
    pthread_mutex_lock(&peer->lock);
    if (event == NNG_PIPE_EV_ADD_POST) {
        pthread_mutex_lock(&peer->owner->lock);
        struct km_tls *tls = km_tls_ref(peer->owner->client_tls);
        pthread_mutex_unlock(&peer->owner->lock);
        km_channel_free(peer->channel);
        peer->channel = NULL;
        peer->pipe = pipe;
        peer->fd = km_hangup_find(pipe);
        peer->is_shut = false;
        peer->state = HANDSHAKING;
        peer->asked_ms = km_peers_now_ms();
        peer->unheard = 0;
        peer->wants_ping = false;
        if (peer->asked_ms < peer->refused_until_ms || km_channel_new(tls, peer->name, NULL, &peer->channel) != KM_OK ||
            km_channel_handshake(peer->channel, NULL, 0, &frame, &len, &is_done) != KM_OK || peer->is_sending ||
            !send_frame(peer, frame, len))
            shut(peer);
        km_tls_unref(tls);
    } else if (nng_pipe_id(peer->pipe) == nng_pipe_id(pipe)) {
        was_up = peer->state == UP;
        if (peer->state == GREETING)
            log_refusal(peer, "closed the connection at our hello: are we a member there?");
        if (!was_up && km_peers_now_ms() >= peer->refused_until_ms) {
            unsigned pause = peer->refused_pause_ms * 2;
            peer->refused_pause_ms = pause < REFUSED_MIN_MS ? REFUSED_MIN_MS : pause > REFUSED_MAX_MS ? REFUSED_MAX_MS : pause;
            peer->refused_until_ms = km_peers_now_ms() + peer->refused_pause_ms;
        }
        peer->state = DIALLING;
        peer->pipe = (nng_pipe)NNG_PIPE_INITIALIZER;
        km_hangup_forget(peer->fd);
        peer->fd = -1;
        km_channel_free(peer->channel);
        peer->channel = NULL;
        drop_queue(peer);
    }
    if (was_up) {
        km_log(KM_LOG_INFO, "peer %s at %s: connection lost", peer->name, peer->address);
        (void)!km_peers_post(peer->owner, EVENT_DOWN, peer->id, NULL, 0);
    }
    pthread_mutex_unlock(&peer->lock);
    if (event == NNG_PIPE_EV_REM_POST)
        nng_aio_cancel(peer->send_aio); /* or its frame would wait for the next connection */
}

void km_peer_free(struct peer *peer)
{
    if (!peer)
        return;
    pthread_mutex_lock(&peer->lock);
    peer->is_leaving = true; /* a stopped operation would swallow a frame */
    pthread_mutex_unlock(&peer->lock);
    /* Before the socket closes: what asks a closing raw socket for a message may wait in memory that is gone (nng 1.5). */
    if (peer->recv_aio)
        nng_aio_stop(peer->recv_aio);
    if (peer->send_aio)
        nng_aio_stop(peer->send_aio);
    if (nng_socket_id(peer->socket) > 0 && !km_hangup_socket(peer->socket, CLOSE_MS))
        return; /* nng still uses all this */
    if (peer->send_aio)
        nng_aio_free(peer->send_aio);
    if (peer->recv_aio)
        nng_aio_free(peer->recv_aio);
    km_channel_free(peer->channel);
    drop_queue(peer);
    pthread_mutex_destroy(&peer->lock);
    free(peer);
}

struct peer *km_peer_new(struct peers *p, const struct km_link_member *m)
{
    char url[300];
    int rv;
    struct peer *peer = calloc(1, sizeof(*peer));
    if (!peer)
        return NULL;
    pthread_mutex_init(&peer->lock, NULL);
    peer->owner = p;
    peer->id = m->id;
    peer->tail = &peer->head;
    peer->fd = -1;
    snprintf(peer->name, sizeof(peer->name), "%s", m->name);
    snprintf(peer->address, sizeof(peer->address), "%s", m->address);
    snprintf(url, sizeof(url), "tcp://%s", m->address);
    if ((rv = nng_req0_open_raw(&peer->socket)) != 0 ||
        (rv = nng_aio_alloc(&peer->send_aio, on_peer_sent, peer)) != 0 ||
        (rv = nng_aio_alloc(&peer->recv_aio, on_peer_recv, peer)) != 0 ||
        (rv = nng_socket_set_size(peer->socket, NNG_OPT_RECVMAXSZ, KM_FRAME_MAX + 64)) != 0 ||
        (rv = nng_socket_set_ms(peer->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS)) != 0 ||
        (rv = nng_socket_set_ms(peer->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS)) != 0 ||
        (rv = nng_pipe_notify(peer->socket, NNG_PIPE_EV_ADD_POST, on_peer_pipe, peer)) != 0 ||
        (rv = nng_pipe_notify(peer->socket, NNG_PIPE_EV_REM_POST, on_peer_pipe, peer)) != 0)
        goto fail;
    nng_recv_aio(peer->socket, peer->recv_aio);
    if ((rv = nng_dial(peer->socket, url, NULL, NNG_FLAG_NONBLOCK)) != 0)
        goto fail;
    return peer;
fail:
    km_log(KM_LOG_ERROR, "peer %s at %s: %s", m->name, m->address, nng_strerror(rv));
    km_peer_free(peer);
    return NULL;
}

void km_peer_send(struct peer *peer, const uint8_t *data, size_t len)
{
    pthread_mutex_lock(&peer->lock);
    if (peer->state == UP && enqueue(peer, data, len) == KM_OK && !pump(peer))
        shut(peer);
    pthread_mutex_unlock(&peer->lock);
}

void km_peer_tick(struct peer *peer, uint64_t now)
{
    pthread_mutex_lock(&peer->lock);
    bool is_up = peer->state == UP;
    bool is_loaded = peer->queued > 0 || peer->unheard > LOADED;
    unsigned patience = !is_up ? HANDSHAKE_MS : is_loaded ? SILENCE_LOADED_MS : SILENCE_MS;
    bool is_dead = peer->channel && peer->asked_ms && now > peer->asked_ms + patience;
    bool is_old = is_up && now - peer->up_since_ms > (KM_CHANNEL_AGE_MAX_S - 300) * 1000ull;
    if (is_up && !peer->asked_ms) {
        peer->wants_ping = true;
        peer->asked_ms = now;
    }
    bool is_broken = !pump(peer);
    if (is_dead || is_old || is_broken || peer->is_shut)
        shut(peer);
    pthread_mutex_unlock(&peer->lock);
}
