/* SPDX-License-Identifier: Apache-2.0
 *
 * Our listener: the connections of the servers that dial us. One receive operation at a time, so that TLS records and
 * messages stay in order. Only certificates of role server whose name is a member's are let in, and only as that
 * member.
 *
 * Threads: nng's callbacks and the loop share the guests under p->lock.
 */
#include "peers_impl.h"

#include "../../common/log.h"

#include <nng/protocol/reqrep0/rep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void guest_free(struct guest *g)
{
    km_channel_free(g->channel);
    free(g->buffer);
    free(g);
}

/* Gently at first, for good at the next call. With the lock. */
static void guest_shut(struct guest *g)
{
    if (!km_hangup(g->fd, g->is_shut))
        nng_pipe_close(g->pipe);
    g->is_shut = true;
}

static struct guest *guest_find(struct peers *p, nng_pipe pipe)
{
    for (struct guest *g = p->guests; g; g = g->next)
        if (g->pipe_id == (uint32_t)nng_pipe_id(pipe))
            return g;
    return NULL;
}

/* Whether `id` is a member that goes by `name`. With the lock. */
static bool is_member(const struct peers *p, uint64_t id, const char *name)
{
    for (size_t i = 0; i < p->n_members; i++)
        if (p->members[i].id == id && !strcmp(p->members[i].name, name))
            return true;
    return false;
}

static void on_guest_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct peers *p = arg;
    struct guest *g = NULL, *oldest = NULL;
    size_t strangers = 0;
    pthread_mutex_lock(&p->lock);
    if (event == NNG_PIPE_EV_ADD_PRE) {
        for (struct guest *i = p->guests; i; i = i->next) {
            if (i->is_known || i->is_refused)
                continue;
            strangers++;
            oldest = i; /* new ones are put in front */
        }
        if (strangers >= STRANGERS_MAX) { /* not the newcomer goes: it may be a member that was cut off */
            km_quiet_log(&p->quiet, KM_LOG_WARN, "peer listener: more than %d strangers", STRANGERS_MAX);
            oldest->is_refused = true;
            guest_shut(oldest);
        }
        if (!guest_find(p, pipe))
            g = calloc(1, sizeof(*g));
        if (g) {
            *g = (struct guest){
                .next = p->guests, .pipe_id = (uint32_t)nng_pipe_id(pipe), .pipe = pipe, .fd = -1, .since_ms = km_peers_now_ms()};
            if (km_channel_new(p->server_tls, NULL, NULL, &g->channel) == KM_OK) {
                g->fd = km_hangup_find(pipe);
                p->guests = g;
            } else {
                guest_free(g);
                g = NULL;
            }
        }
        if (!g)
            nng_pipe_close(pipe);
    } else {
        for (struct guest **at = &p->guests; *at; at = &(*at)->next) {
            if ((*at)->pipe_id != (uint32_t)nng_pipe_id(pipe))
                continue;
            g = *at;
            *at = g->next;
            km_hangup_forget(g->fd);
            guest_free(g);
            break;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

static void guest_answer(struct peers *p, const nng_msg *question, const uint8_t *frame, size_t len)
{
    nng_msg *msg = km_peers_message(frame, len);
    if (!msg)
        return;
    /* Raw REP keeps pipe and request id in the header; a full send queue drops, which is the reader's own fault. */
    if (nng_msg_header_append(msg, nng_msg_header((nng_msg *)question), nng_msg_header_len((nng_msg *)question)) != 0 ||
        nng_sendmsg(p->listener, msg, NNG_FLAG_NONBLOCK) != 0)
        nng_msg_free(msg);
}

/* The first message: who speaks, which must be the member that the certificate names. */
static bool guest_hello(struct peers *p, struct guest *g, const uint8_t *data, size_t len)
{
    if (len != HELLO_LEN || data[0] != HELLO_VERSION) {
        km_quiet_log(&p->quiet, KM_LOG_WARN, "peer listener: %s: hello of an unknown form", g->name);
        return false;
    }
    g->id = 0;
    for (int i = 0; i < 8; i++)
        g->id |= (uint64_t)data[1 + i] << (8 * i);
    if (!is_member(p, g->id, g->name)) {
        km_quiet_log(&p->quiet, KM_LOG_WARN, "peer listener: server %s as id %llu is not a member of this cluster: refused",
                     g->name, (unsigned long long)g->id);
        return false;
    }
    for (struct guest *other = p->guests; other; other = other->next) {
        if (other == g || !other->is_known || other->id != g->id)
            continue;
        other->is_known = false; /* what is still under way on its last connection would come out of order */
        other->is_refused = true;
        guest_shut(other);
    }
    g->is_known = true;
    return true;
}

/* An empty frame: "I am here". */
static bool acknowledge(struct peers *p, struct guest *g, const nng_msg *msg)
{
    const uint8_t *frame;
    size_t len;
    if (km_channel_seal(g->channel, NULL, 0, false /* whole */, &frame, &len) != KM_OK)
        return false;
    guest_answer(p, msg, frame, len);
    return true;
}

/* Takes whole messages out of the stream. With the lock; false: close. */
static bool guest_stream(struct peers *p, struct guest *g, const nng_msg *msg, const uint8_t *data, size_t len)
{
    size_t at = 0;
    if (g->len + len > g->cap) {
        size_t cap = (g->len + len) * 2;
        uint8_t *grown = realloc(g->buffer, cap);
        if (!grown)
            return false;
        g->buffer = grown;
        g->cap = cap;
    }
    memcpy(g->buffer + g->len, data, len);
    g->len += len;
    while (g->len - at >= LEN_LEN) {
        size_t n = get_u32(g->buffer + at);
        if (n == 0 || n > (g->is_known ? (size_t)KM_LINK_MESSAGE_MAX : (size_t)HELLO_LEN))
            return false;
        if (g->len - at - LEN_LEN < n)
            break;
        const uint8_t *body = g->buffer + at + LEN_LEN;
        at += LEN_LEN + n;
        if (!g->is_known) {
            if (!guest_hello(p, g, body, n) || !acknowledge(p, g, msg))
                return false;
        } else if (!km_peers_post_locked(p, EVENT_MESSAGE, g->id, body, n)) {
            return false;
        }
    }
    if (at > 0) /* not while a long message grows: it would be copied with each frame */
        memmove(g->buffer, g->buffer + at, g->len - at);
    g->len -= at;
    if (g->len == 0 && g->cap > BUFFER_KEPT) {
        free(g->buffer);
        g->buffer = NULL;
        g->cap = 0;
    }
    return true;
}

/* With the lock; false: close. */
static bool guest_frame(struct peers *p, struct guest *g, const nng_msg *msg)
{
    const uint8_t *in = nng_msg_body((nng_msg *)msg), *out;
    size_t in_len = nng_msg_len((nng_msg *)msg), len;
    bool is_done = false, has_more;
    if (g->is_refused)
        return true; /* the next tick closes it */
    if (g->is_authenticated) {
        if (km_channel_open(g->channel, in, in_len, &out, &len, &has_more) != KM_OK) {
            km_quiet_log(&p->quiet, KM_LOG_WARN, "peer listener: closed: %s", km_channel_reason(g->channel));
            return false;
        }
        if (len == 0)
            return has_more && acknowledge(p, g, msg);
        return guest_stream(p, g, msg, out, len);
    }
    enum km_err err = km_channel_handshake(g->channel, in, in_len, &out, &len, &is_done);
    if (len > 0)
        guest_answer(p, msg, out, len); /* also the alert of a refusal */
    if (err != KM_OK) {
        char text[KM_SOURCE_TEXT_MAX];
        struct km_source source;
        km_source_of(g->pipe, &source, text);
        km_quiet_log(&p->quiet, KM_LOG_WARN, "peer listener: refused %s: %s", text, km_channel_reason(g->channel));
        g->is_refused = len > 0;
        return g->is_refused;
    }
    if (is_done) {
        const struct km_identity *who = km_channel_peer(g->channel);
        if (!who || who->role != KM_ROLE_SERVER) {
            km_quiet_log(&p->quiet, KM_LOG_WARN, "peer listener: %s is no server: refused", who ? who->uri : "unknown");
            g->is_refused = true;
            return false;
        }
        snprintf(g->name, sizeof(g->name), "%s", who->name);
        g->is_authenticated = true;
    }
    return true;
}

static void on_guest_recv(void *arg)
{
    struct peers *p = arg;
    if (nng_aio_result(p->recv_aio) != 0)
        return; /* the socket is closed */
    nng_msg *msg = nng_aio_get_msg(p->recv_aio);
    nng_pipe pipe = nng_msg_get_pipe(msg);
    pthread_mutex_lock(&p->lock);
    struct guest *g = guest_find(p, pipe);
    if (g && !guest_frame(p, g, msg)) {
        g->is_refused = true;
        guest_shut(g);
    }
    pthread_mutex_unlock(&p->lock);
    nng_msg_free(msg);
    if (!g)
        nng_pipe_close(pipe);
    nng_recv_aio(p->listener, p->recv_aio);
}

void km_guests_check(struct peers *p)
{
    pthread_mutex_lock(&p->lock);
    for (struct guest *g = p->guests; g; g = g->next)
        if (g->is_known && !is_member(p, g->id, g->name))
            guest_shut(g);
    pthread_mutex_unlock(&p->lock);
}

void km_guests_tick(struct peers *p, uint64_t now)
{
    pthread_mutex_lock(&p->lock);
    for (struct guest **at = &p->guests; *at;) {
        struct guest *g = *at;
        const struct km_identity *who = km_channel_peer(g->channel);
        uint64_t age = now - g->since_ms;
        if (g->is_refused || (!g->is_known && age > HANDSHAKE_MS) || age > KM_CHANNEL_AGE_MAX_S * 1000ull ||
            (who && who->not_after && who->not_after < (long long)time(NULL)))
            guest_shut(g);
        if (!g->is_known && age > 2 * HANDSHAKE_MS) { /* nng tells of no end where the start failed */
            *at = g->next;
            km_hangup_forget(g->fd);
            guest_free(g);
            continue;
        }
        at = &g->next;
    }
    pthread_mutex_unlock(&p->lock);
}

int km_guests_open(struct peers *p, const char *address)
{
    char url[300];
    int rv;
    snprintf(url, sizeof(url), "tcp://%s", address);
    /* ADD_PRE, since a message can arrive before ADD_POST. */
    if ((rv = nng_rep0_open_raw(&p->listener)) != 0 || (rv = nng_aio_alloc(&p->recv_aio, on_guest_recv, p)) != 0 ||
        (rv = nng_socket_set_size(p->listener, NNG_OPT_RECVMAXSZ, KM_FRAME_MAX + 64)) != 0 ||
        (rv = nng_socket_set_int(p->listener, NNG_OPT_SENDBUF, SEND_QUEUE)) != 0 ||
        (rv = nng_pipe_notify(p->listener, NNG_PIPE_EV_ADD_PRE, on_guest_pipe, p)) != 0 ||
        (rv = nng_pipe_notify(p->listener, NNG_PIPE_EV_REM_POST, on_guest_pipe, p)) != 0 ||
        (rv = nng_listen(p->listener, url, NULL, 0)) != 0) {
        km_guests_close(p);
        return rv;
    }
    nng_recv_aio(p->listener, p->recv_aio);
    return 0;
}

void km_guests_close(struct peers *p)
{
    if (p->recv_aio)
        nng_aio_stop(p->recv_aio);
    bool is_closed = nng_socket_id(p->listener) <= 0 || km_hangup_socket(p->listener, CLOSE_MS);
    if (p->recv_aio)
        nng_aio_free(p->recv_aio);
    if (!is_closed)
        return;
    for (struct guest *g = p->guests, *next; g; g = next) {
        next = g->next;
        guest_free(g);
    }
    p->guests = NULL;
}
