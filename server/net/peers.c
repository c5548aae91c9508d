/* SPDX-License-Identifier: Apache-2.0
 *
 * The link to the other servers (raft/link.h) over nng and TLS. Each server dials each other one and sends on that
 * connection only; what comes back on it are handshake frames and answers to pings. What the others send arrives at the
 * listener. Both are raw-mode REQ/REP sockets, whose messages need not alternate. Inside the TLS channel flows a stream
 * of messages, each behind its length (32 bits, little endian), cut into frames as they come: small messages that wait
 * together leave together. An empty frame that says "more" is a ping; it and the hello are answered by an empty frame.
 *
 * Threads: link functions run on the loop thread; nng's callbacks only decrypt, queue and wake the loop. Each outgoing
 * peer has a lock, the listener's connections share one. Nothing waits for the loop while holding a lock.
 */
#include "peers_impl.h"

#include "../../common/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t km_peers_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

bool km_peers_post_locked(struct peers *p, int kind, uint64_t id, const uint8_t *data, size_t len)
{
    if (p->is_closing || p->inbox + len > INBOX_MAX)
        return false;
    struct event *e = malloc(sizeof(*e) + len);
    if (!e)
        return false;
    *e = (struct event){.id = id, .kind = kind, .len = len};
    if (len)
        memcpy(e->data, data, len);
    *p->events_tail = e;
    p->events_tail = &e->next;
    p->inbox += len;
    uv_async_send(&p->async); /* under the lock, so that the handle cannot be closed in between */
    return true;
}

bool km_peers_post(struct peers *p, int kind, uint64_t id, const uint8_t *data, size_t len)
{
    pthread_mutex_lock(&p->lock);
    bool ok = km_peers_post_locked(p, kind, id, data, len);
    pthread_mutex_unlock(&p->lock);
    return ok;
}

static void on_async(uv_async_t *async)
{
    struct peers *p = async->data;
    pthread_mutex_lock(&p->lock);
    struct event *e = p->events_head;
    p->events_head = NULL;
    p->events_tail = &p->events_head;
    p->inbox = 0;
    pthread_mutex_unlock(&p->lock);
    for (struct event *next; e; e = next) {
        next = e->next;
        if (p->events && !p->is_closing) {
            if (e->kind == EVENT_MESSAGE)
                p->events->on_message(p->arg, e->id, e->data, e->len);
            else
                p->events->on_state(p->arg, e->id, e->kind == EVENT_UP);
        }
        free(e);
    }
}

nng_msg *km_peers_message(const uint8_t *frame, size_t len)
{
    nng_msg *msg;
    if (nng_msg_alloc(&msg, 0) != 0)
        return NULL;
    if (nng_msg_append(msg, frame, len) != 0) {
        nng_msg_free(msg);
        return NULL;
    }
    return msg;
}

static void link_listen(struct km_link *link, const struct km_link_events *events, void *arg)
{
    struct peers *p = (struct peers *)link;
    p->events = events;
    p->arg = arg;
}

static void link_set_members(struct km_link *link, const struct km_link_member *members, size_t n)
{
    struct peers *p = (struct peers *)link;
    struct member *copy = calloc(n + 1, sizeof(*copy));
    if (!copy) {
        km_log(KM_LOG_ERROR, "peers: out of memory for %zu members", n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        copy[i].id = members[i].id;
        snprintf(copy[i].name, sizeof(copy[i].name), "%s", members[i].name);
    }
    pthread_mutex_lock(&p->lock);
    free(p->members);
    p->members = copy;
    p->n_members = n;
    pthread_mutex_unlock(&p->lock);
    km_guests_check(p);

    for (struct peer **at = &p->peers; *at;) {
        struct peer *peer = *at;
        bool stays = false;
        for (size_t i = 0; i < n; i++)
            stays |= members[i].id == peer->id && !strcmp(members[i].name, peer->name) &&
                     !strcmp(members[i].address, peer->address);
        if (stays) {
            at = &peer->next;
            continue;
        }
        *at = peer->next;
        km_peer_free(peer);
    }
    for (size_t i = 0; i < n; i++) {
        struct peer *peer = p->peers;
        while (peer && peer->id != members[i].id)
            peer = peer->next;
        if (peer || members[i].id == p->self || !(peer = km_peer_new(p, &members[i])))
            continue;
        peer->next = p->peers;
        p->peers = peer;
    }
}

static void link_send(struct km_link *link, uint64_t id, uint8_t *data, size_t len)
{
    struct peers *p = (struct peers *)link;
    struct peer *peer = p->peers;
    while (peer && peer->id != id)
        peer = peer->next;
    if (peer && len > 0 && len <= KM_LINK_MESSAGE_MAX)
        km_peer_send(peer, data, len);
    free(data);
}

static const struct km_link_ops ops = {link_listen, link_set_members, link_send};

static void on_timer(uv_timer_t *timer)
{
    struct peers *p = timer->data;
    uint64_t now = km_peers_now_ms();
    for (struct peer *peer = p->peers; peer; peer = peer->next)
        km_peer_tick(peer, now);
    km_guests_tick(p, now);
    km_quiet_flush(&p->quiet);
}

enum km_err km_peers_open(uv_loop_t *loop, uint64_t self_id, const char *address, struct km_tls *server_tls,
                          struct km_tls *client_tls, struct km_link **ret, char *ret_message, size_t message_len)
{
    int rv;
    struct peers *p = calloc(1, sizeof(*p));
    if (!p) {
        snprintf(ret_message, message_len, "peers: out of memory");
        return KM_ERR_NOMEM;
    }
    p->link.ops = &ops;
    p->loop = loop;
    p->self = self_id;
    p->events_tail = &p->events_head;
    p->server_tls = km_tls_ref(server_tls);
    p->client_tls = km_tls_ref(client_tls);
    pthread_mutex_init(&p->lock, NULL);
    km_quiet_init(&p->quiet);
    if ((rv = km_guests_open(p, address)) != 0) {
        snprintf(ret_message, message_len, "peer_address %s: %s", address, nng_strerror(rv));
        km_tls_unref(p->server_tls);
        km_tls_unref(p->client_tls);
        km_quiet_fini(&p->quiet);
        pthread_mutex_destroy(&p->lock);
        free(p);
        return KM_ERR_NET;
    }
    rv = uv_async_init(loop, &p->async, on_async);
    assert(rv == 0);
    rv = uv_timer_init(loop, &p->timer);
    assert(rv == 0);
    p->async.data = p->timer.data = p;
    p->handles_open = 2;
    rv = uv_timer_start(&p->timer, on_timer, TICK_MS, TICK_MS);
    assert(rv == 0);
    *ret = &p->link;
    return KM_OK;
}

void km_peers_set_tls(struct km_link *link, struct km_tls *server_tls, struct km_tls *client_tls)
{
    struct peers *p = (struct peers *)link;
    pthread_mutex_lock(&p->lock);
    km_tls_unref(p->server_tls);
    km_tls_unref(p->client_tls);
    p->server_tls = km_tls_ref(server_tls);
    p->client_tls = km_tls_ref(client_tls);
    pthread_mutex_unlock(&p->lock);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct peers *p = handle->data;
    if (--p->handles_open > 0)
        return;
    if (km_hangup_is_stuck()) { /* nng's callbacks may still come */
        p->on_close(p->close_arg);
        return;
    }
    for (struct event *e = p->events_head, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    free(p->members);
    km_tls_unref(p->server_tls);
    km_tls_unref(p->client_tls);
    km_quiet_fini(&p->quiet);
    pthread_mutex_destroy(&p->lock);
    void (*cb)(void *) = p->on_close;
    void *arg = p->close_arg;
    free(p);
    cb(arg);
}

void km_peers_close(struct km_link *link, void (*cb)(void *arg), void *arg)
{
    struct peers *p = (struct peers *)link;
    pthread_mutex_lock(&p->lock);
    p->is_closing = true;
    pthread_mutex_unlock(&p->lock);
    p->on_close = cb;
    p->close_arg = arg;
    for (struct peer *peer = p->peers, *next; peer; peer = next) {
        next = peer->next;
        km_peer_free(peer);
    }
    p->peers = NULL;
    km_guests_close(p);
    uv_close((uv_handle_t *)&p->async, on_handle_closed);
    uv_close((uv_handle_t *)&p->timer, on_handle_closed);
}
