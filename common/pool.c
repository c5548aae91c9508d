/* SPDX-License-Identifier: Apache-2.0
 *
 * Gets a call its connection. A server counts as reached when it has greeted: a stopped process still accepts TCP
 * connections, its kernel does that. Thread: any; locks are held for a few instructions, never during I/O.
 */
#include "nest.h"

#include "forks.h"
#include "log.h"

#include <assert.h>
#include <netdb.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ADDRESSES_MAX 4
#define RESOLVE_AGAIN_MS 10000
#define AVOID_FIRST_MS 100
#define AVOID_MAX_MS 2000
#define AGE_MARGIN_S 60 /* given up that much before the server would */

struct server {
    atomic_llong avoid_until;
    atomic_uint failures; /* in a row */
    /* Written once under `is_resolving`, replaced by a newer answer the same way. */
    struct sockaddr_storage addr[ADDRESSES_MAX];
    socklen_t addr_len[ADDRESSES_MAX];
    atomic_uint n_addrs;
    atomic_llong resolved_at;
    bool is_numeric;
};

struct km_pool {
    const struct km_client_conf *conf;
    _Atomic(struct km_tls *) tls; /* swapped under the nest's lock */
    _Atomic(struct km_nest *) nest;
    struct server servers[KM_SERVERS_MAX];
};

/* --- addresses */

/* Splits "host:port" or "[v6]:port". */
static bool split_address(const char *address, char *host, size_t host_len, const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || colon[1] == '\0')
        return false;
    size_t len = (size_t)(colon - address);
    if (address[0] == '[' && colon[-1] == ']')
        address++, len -= 2;
    if (len == 0 || len >= host_len)
        return false;
    memcpy(host, address, len);
    host[len] = '\0';
    *ret_port = colon + 1;
    return true;
}

static void resolve(struct server *server, const char *address)
{
    char host[256];
    const char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST}, *found = NULL;
    if (!split_address(address, host, sizeof(host), &port))
        return;
    server->is_numeric = getaddrinfo(host, port, &hints, &found) == 0;
    hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
    km_forks_wait();
    if (!server->is_numeric && getaddrinfo(host, port, &hints, &found) != 0)
        found = NULL;
    km_forks_resume();
    unsigned n = 0;
    for (const struct addrinfo *ai = found; ai != NULL && n < ADDRESSES_MAX; ai = ai->ai_next) {
        memcpy(&server->addr[n], ai->ai_addr, ai->ai_addrlen);
        server->addr_len[n++] = ai->ai_addrlen;
    }
    if (found != NULL)
        freeaddrinfo(found);
    if (n > 0)
        atomic_store(&server->n_addrs, n);
    atomic_store(&server->resolved_at, km_monotonic_ms());
}

/* An address of `server` to try, the next one after each failure. Names are looked up again while nothing answers there. */
static bool pick_address(struct km_pool *pool, unsigned i, struct sockaddr_storage *ret, socklen_t *ret_len)
{
    struct server *server = &pool->servers[i];
    unsigned failures = atomic_load(&server->failures);
    bool is_stale = atomic_load(&server->n_addrs) == 0 || (failures > ADDRESSES_MAX && !server->is_numeric);
    struct km_nest *nest = km_nest_enter(&pool->nest);
    if (nest == NULL)
        return false;
    if (is_stale && km_monotonic_ms() - atomic_load(&server->resolved_at) > RESOLVE_AGAIN_MS) {
        struct server fresh = {.is_numeric = false};
        resolve(&fresh, pool->conf->servers[i].address);
        pthread_mutex_lock(&nest->lock);
        if (atomic_load(&fresh.n_addrs) > 0) {
            memcpy(server->addr, fresh.addr, sizeof(server->addr));
            memcpy(server->addr_len, fresh.addr_len, sizeof(server->addr_len));
            atomic_store(&server->n_addrs, atomic_load(&fresh.n_addrs));
        }
        atomic_store(&server->resolved_at, km_monotonic_ms());
        pthread_mutex_unlock(&nest->lock);
    }
    pthread_mutex_lock(&nest->lock);
    unsigned n = atomic_load(&server->n_addrs);
    if (n > 0) {
        *ret = server->addr[failures % n];
        *ret_len = server->addr_len[failures % n];
    }
    pthread_mutex_unlock(&nest->lock);
    return n > 0;
}

/* --- life */

enum km_err km_pool_new(const struct km_client_conf *conf, struct km_tls *tls, struct km_pool **ret)
{
    struct km_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return KM_ERR_NOMEM;
    struct km_nest *nest = km_nest_new();
    if (nest == NULL) {
        free(pool);
        return KM_ERR_NOMEM;
    }
    pool->conf = conf;
    atomic_init(&pool->tls, km_tls_ref(tls));
    atomic_init(&pool->nest, nest);
    for (size_t i = 0; i < conf->n_servers; i++)
        resolve(&pool->servers[i], conf->servers[i].address);
    *ret = pool;
    return KM_OK;
}

void km_pool_free(struct km_pool *pool)
{
    if (pool == NULL)
        return;
    (void)km_nest_enter(&pool->nest); /* in a child: the parent's connections are not ours to end */
    km_nest_free(pool->nest);
    km_tls_unref(pool->tls);
    free(pool);
}

void km_pool_set_tls(struct km_pool *pool, struct km_tls *tls)
{
    struct km_nest *nest = km_nest_enter(&pool->nest);
    if (nest == NULL)
        return;
    km_tls_ref(tls);
    pthread_mutex_lock(&nest->lock);
    struct km_tls *old = atomic_exchange(&pool->tls, tls);
    for (int i = 0; i < KM_SERVERS_MAX; i++) {
        SSL_SESSION_free(nest->ticket[i]);
        nest->ticket[i] = NULL;
    }
    pthread_mutex_unlock(&nest->lock);
    km_tls_unref(old);
}

/* --- what is known about servers */

void km_tries_note(struct km_tries *tries, unsigned server, enum km_err err, const char *format, ...)
{
    va_list args;
    /* The last attempt of a call is often cut short by the call's own deadline: what was wrong before says more. */
    if (err != KM_ERR_TIMEOUT || tries->n[server] == 0) {
        va_start(args, format);
        vsnprintf(tries->why[server], sizeof(tries->why[server]), format, args);
        va_end(args);
    }
    tries->err[server] = err;
    tries->n[server]++;
}

void km_pool_avoid(struct km_pool *pool, unsigned server, unsigned ms)
{
    struct server *s = &pool->servers[server];
    unsigned failures = ms > 0 ? 0 : atomic_fetch_add(&s->failures, 1);
    unsigned backoff = failures >= 5 ? AVOID_MAX_MS : AVOID_FIRST_MS << failures;
    atomic_store(&s->avoid_until, km_monotonic_ms() + (ms > 0 ? ms : backoff < AVOID_MAX_MS ? backoff : AVOID_MAX_MS));
}

void km_pool_praise(struct km_pool *pool, unsigned server)
{
    struct server *s = &pool->servers[server];
    if (atomic_load_explicit(&s->failures, memory_order_relaxed) != 0)
        atomic_store(&s->failures, 0);
    if (atomic_load_explicit(&s->avoid_until, memory_order_relaxed) != 0)
        atomic_store(&s->avoid_until, 0);
}

void km_pool_order(struct km_pool *pool, unsigned *ret)
{
    enum { NEAR, FAR, AVOIDED, N_CLASSES };
    const struct km_client_conf *conf = pool->conf;
    unsigned n = (unsigned)conf->n_servers, at = 0, turn = (unsigned)getpid(); /* processes start at different servers */
    unsigned char class[KM_SERVERS_MAX];
    int64_t now = km_monotonic_ms();
    for (unsigned i = 0; i < n; i++) { /* once: other threads change avoid_until meanwhile */
        bool is_near = conf->zone != NULL && strcmp(conf->zone, conf->servers[i].zone) == 0;
        bool is_avoided = atomic_load_explicit(&pool->servers[i].avoid_until, memory_order_relaxed) > now;
        class[i] = is_avoided ? AVOIDED : is_near ? NEAR : FAR;
    }
    for (unsigned char c = 0; c < N_CLASSES; c++) {
        for (unsigned k = 0; k < n; k++) {
            unsigned i = (k + turn) % n;
            if (class[i] == c)
                ret[at++] = i;
        }
    }
    assert(at == n);
}

/* --- connections */

static bool is_aged(const struct km_conn *conn, int64_t now)
{
    const struct km_identity *peer = km_channel_peer(conn->channel);
    return now - conn->born_ms > (KM_CHANNEL_AGE_MAX_S - AGE_MARGIN_S) * 1000LL || peer == NULL ||
           peer->not_after < (long long)time(NULL);
}

struct km_conn *km_pool_take(struct km_pool *pool, unsigned server)
{
    struct km_nest *nest = km_nest_enter(&pool->nest);
    int64_t now = km_monotonic_ms();
    while (nest != NULL) {
        pthread_mutex_lock(&nest->lock);
        struct km_conn *conn = nest->idle[server];
        if (conn != NULL) {
            nest->idle[server] = conn->next;
            nest->n_idle[server]--;
        }
        pthread_mutex_unlock(&nest->lock);
        if (conn == NULL || !is_aged(conn, now))
            return conn;
        km_conn_free(conn);
    }
    return NULL;
}

void km_pool_put(struct km_pool *pool, struct km_conn *conn)
{
    struct km_nest *nest = km_nest_enter(&pool->nest);
    if (nest != NULL) {
        unsigned i = conn->server;
        pthread_mutex_lock(&nest->lock);
        if (conn->generation == nest->generation[i] && nest->n_idle[i] < KM_IDLE_MAX) {
            conn->next = nest->idle[i];
            nest->idle[i] = conn;
            nest->n_idle[i]++;
            conn = NULL;
        }
        pthread_mutex_unlock(&nest->lock);
    }
    km_conn_free(conn);
}

void km_pool_drop(struct km_pool *pool, struct km_conn *conn)
{
    (void)pool;
    km_conn_free(conn);
}

void km_pool_clear(struct km_pool *pool, int server)
{
    struct km_nest *nest = km_nest_enter(&pool->nest);
    for (int i = 0; nest != NULL && i < KM_SERVERS_MAX; i++) {
        if (server >= 0 && server != i)
            continue;
        pthread_mutex_lock(&nest->lock);
        struct km_conn *conn = nest->idle[i];
        nest->idle[i] = NULL;
        nest->n_idle[i] = 0;
        nest->generation[i]++;
        pthread_mutex_unlock(&nest->lock);
        for (struct km_conn *next; conn != NULL; conn = next) {
            next = conn->next;
            km_conn_free(conn);
        }
    }
}

/* --- opening */

/* A connection under way to one server. */
struct lane {
    unsigned server;
    struct km_conn *conn;
};

static void fall(struct km_pool *pool, struct lane *lane, enum km_err err, struct km_tries *tries)
{
    int sys_errno = lane->conn == NULL ? 0 : lane->conn->sp.sys_errno;
    const char *why = err == KM_ERR_NET && sys_errno != 0 ? strerror(sys_errno)
                      : err == KM_ERR_NET                 ? "closed at once"
                      : err == KM_ERR_PROTO               ? "no keymoot server there"
                                                          : km_err_text(err);
    km_tries_note(tries, lane->server, err, "%s", why);
    km_pool_avoid(pool, lane->server, 0);
    km_conn_free(lane->conn);
    lane->conn = NULL;
}

static enum km_err start(struct km_pool *pool, struct lane *lane)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    struct km_nest *nest = km_nest_enter(&pool->nest);
    lane->conn = calloc(1, sizeof(*lane->conn));
    if (lane->conn == NULL || nest == NULL)
        return KM_ERR_NOMEM;
    lane->conn->sp = KM_SP_CLOSED;
    lane->conn->server = lane->server;
    lane->conn->born_ms = km_monotonic_ms();
    pthread_mutex_lock(&nest->lock);
    lane->conn->generation = nest->generation[lane->server];
    pthread_mutex_unlock(&nest->lock);
    if (!pick_address(pool, lane->server, &addr, &addr_len)) {
        lane->conn->sp.sys_errno = EADDRNOTAVAIL;
        return KM_ERR_NET;
    }
    enum km_err err = km_sp_dial(&lane->conn->sp, (const struct sockaddr *)&addr, addr_len);
    if (err != KM_OK)
        return err;
    lane->conn->slot = km_nest_add_fd(nest, lane->conn->sp.fd);
    return lane->conn->slot != NULL ? KM_OK : KM_ERR_NOMEM;
}

static enum km_err advance(struct lane *lane, short revents)
{
    if (lane->conn == NULL || revents == 0)
        return KM_OK;
    return km_sp_advance(&lane->conn->sp);
}

/* Runs one or two lanes until one is greeted. */
static enum km_err race(struct km_pool *pool, struct lane lanes[2], bool has_second, int64_t deadline,
                        struct km_tries *tries, struct km_conn **ret)
{
    int64_t race_at = km_monotonic_ms() + KM_RACE_MS;
    enum km_err err = start(pool, &lanes[0]);
    if (err != KM_OK)
        fall(pool, &lanes[0], err, tries);
    while (lanes[0].conn != NULL || lanes[1].conn != NULL) {
        int64_t now = km_monotonic_ms();
        if (now >= deadline) {
            for (int i = 0; i < 2; i++)
                if (lanes[i].conn != NULL)
                    fall(pool, &lanes[i], err = KM_ERR_TIMEOUT, tries);
            break;
        }
        if (has_second && lanes[1].conn == NULL && now >= race_at) {
            has_second = false;
            err = start(pool, &lanes[1]);
            if (err != KM_OK)
                fall(pool, &lanes[1], err, tries);
        }
        struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};
        for (int i = 0; i < 2; i++) {
            if (lanes[i].conn != NULL)
                fds[i] = (struct pollfd){lanes[i].conn->sp.fd, km_sp_events(&lanes[i].conn->sp), 0};
        }
        int64_t until = has_second && race_at < deadline ? race_at : deadline;
        km_forks_wait();
        (void)poll(fds, 2, until > now ? (int)(until - now) : 0); /* EINTR: looked at again */
        km_forks_resume();
        for (int i = 0; i < 2; i++) {
            enum km_err failure = advance(&lanes[i], fds[i].revents);
            if (failure != KM_OK)
                fall(pool, &lanes[i], err = failure, tries);
            else if (lanes[i].conn != NULL && lanes[i].conn->sp.state == KM_SP_OPEN) {
                *ret = lanes[i].conn;
                lanes[i].conn = NULL;
                return KM_OK;
            }
        }
    }
    return err;
}

/* The TLS handshake on a greeted connection. */
static enum km_err secure(struct km_pool *pool, struct km_conn *conn, int64_t deadline, struct km_tries *tries)
{
    struct km_nest *nest = km_nest_enter(&pool->nest);
    const uint8_t *in = NULL, *out;
    size_t in_len = 0, out_len;
    bool is_done, is_sent;
    if (nest == NULL)
        return KM_ERR_NOMEM;
    pthread_mutex_lock(&nest->lock);
    struct km_tls *tls = km_tls_ref(pool->tls);
    SSL_SESSION *ticket = nest->ticket[conn->server];
    if (ticket != NULL)
        SSL_SESSION_up_ref(ticket);
    pthread_mutex_unlock(&nest->lock);
    enum km_err err = km_channel_new(tls, pool->conf->servers[conn->server].name, ticket, &conn->channel);
    km_tls_unref(tls);
    while (err == KM_OK) {
        err = km_channel_handshake(conn->channel, in, in_len, &out, &out_len, &is_done);
        if (err != KM_OK) {
            km_tries_note(tries, conn->server, err, "%s", km_channel_reason(conn->channel));
            if (out_len > 0) /* so that the server can log what we found wrong; its answer does not matter */
                (void)!km_sp_exchange(&conn->sp, out, out_len, KM_FRAME_MAX, km_monotonic_ms() + 1, &in, &in_len, &is_sent);
            goto out;
        }
        if (is_done)
            break;
        err = km_sp_exchange(&conn->sp, out, out_len, KM_FRAME_MAX, deadline, &in, &in_len, &is_sent);
    }
    if (err != KM_OK) {
        int sys_errno = conn->sp.sys_errno;
        km_tries_note(tries, conn->server, err, "TLS handshake: %s",
                      err == KM_ERR_NET ? (sys_errno != 0 ? strerror(sys_errno) : "closed by the server") : km_err_text(err));
        goto out;
    }
    SSL_SESSION *newest = km_channel_take_session(conn->channel);
    if (newest != NULL) {
        pthread_mutex_lock(&nest->lock);
        SSL_SESSION *old = nest->ticket[conn->server];
        nest->ticket[conn->server] = newest;
        pthread_mutex_unlock(&nest->lock);
        SSL_SESSION_free(old);
    }
out:
    SSL_SESSION_free(ticket);
    return err;
}

enum km_err km_pool_dial(struct km_pool *pool, unsigned first, int second, int64_t deadline, struct km_tries *tries,
                         struct km_conn **ret)
{
    struct lane lanes[2] = {{.server = first}, {.server = second >= 0 ? (unsigned)second : 0}};
    struct km_conn *conn = NULL;
    enum km_err err = race(pool, lanes, second >= 0, deadline, tries, &conn);
    for (int i = 0; i < 2; i++) {
        if (lanes[i].conn == NULL)
            continue;
        km_tries_note(tries, lanes[i].server, KM_ERR_TIMEOUT, "slow to greet, another was faster");
        km_pool_avoid(pool, lanes[i].server, 0);
        km_conn_free(lanes[i].conn);
    }
    if (err != KM_OK && conn == NULL)
        return err;
    err = secure(pool, conn, deadline, tries);
    if (err != KM_OK) {
        km_pool_avoid(pool, conn->server, 0);
        km_conn_free(conn);
        return err;
    }
    *ret = conn;
    return KM_OK;
}
