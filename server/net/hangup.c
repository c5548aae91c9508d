/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds the socket beneath a pipe by its two addresses, which are unique among connections. Descriptors that are known to be
 * another pipe's are skipped, so a search looks at the few that are not: a table with the owning nng socket of each, under one lock.
 */
#include "hangup.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define STUCK_MS 50

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t forgotten;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int *owners; /* by descriptor: the nng socket of the pipe on it, 0: none that we know of */
static size_t n_owners;
static atomic_bool is_stuck;

static bool is_needed(void)
{
    unsigned major = 0, minor = 0;
    return sscanf(nng_version(), "%u.%u", &major, &minor) == 2 && major == 1 && minor < 6;
}

/* Descriptors of this process are below this number. */
static size_t fd_limit(void)
{
    char line[128];
    size_t size = 0;
    FILE *status = fopen("/proc/self/status", "re");
    if (status == NULL)
        return 0;
    while (fgets(line, sizeof(line), status) != NULL && sscanf(line, "FDSize: %zu", &size) != 1)
        continue;
    fclose(status);
    return size;
}

static bool to_socket_address(const nng_sockaddr *from, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (from->s_family == NNG_AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret;
        in->sin_family = AF_INET;
        in->sin_port = from->s_in.sa_port;
        memcpy(&in->sin_addr, &from->s_in.sa_addr, sizeof(in->sin_addr));
    } else if (from->s_family == NNG_AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = from->s_in6.sa_port;
        memcpy(&in6->sin6_addr, from->s_in6.sa_addr, sizeof(in6->sin6_addr));
    } else {
        return false;
    }
    return true;
}

/* The same address and port; whatever else an IPv6 address carries. */
static bool is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const struct sockaddr_in *)a, *b4 = (const struct sockaddr_in *)b;
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a, *b6 = (const struct sockaddr_in6 *)b;
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a->ss_family == AF_INET6 && a6->sin6_port == b6->sin6_port &&
           memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static bool is_socket_of(int fd, const struct sockaddr_storage *local, const struct sockaddr_storage *remote)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    memset(&at, 0, sizeof(at));
    if (getpeername(fd, (struct sockaddr *)&at, &len) != 0 || !is_same(&at, remote))
        return false;
    len = sizeof(at);
    return getsockname(fd, (struct sockaddr *)&at, &len) == 0 && is_same(&at, local);
}

/* With the lock. */
static int search(const struct sockaddr_storage *local, const struct sockaddr_storage *remote)
{
    for (size_t fd = 3; fd < n_owners; fd++)
        if (owners[fd] == 0 && is_socket_of((int)fd, local, remote))
            return (int)fd;
    return -1;
}

/* With the lock; true if the table has grown. */
static bool grow(void)
{
    size_t n = fd_limit();
    int *grown = n > n_owners ? realloc(owners, n * sizeof(*grown)) : NULL;
    if (grown == NULL)
        return false;
    memset(grown + n_owners, 0, (n - n_owners) * sizeof(*grown));
    owners = grown;
    n_owners = n;
    return true;
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attr);
    pthread_condattr_destroy(&attr);
}

static void init(void)
{
    init_condition(&forgotten);
}

int km_hangup_find(nng_pipe pipe)
{
    pthread_once(&once, init);
    nng_sockaddr local = {0}, remote = {0};
    struct sockaddr_storage here, there;
    if (!is_needed() || nng_pipe_get_addr(pipe, NNG_OPT_LOCADDR, &local) != 0 ||
        nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &remote) != 0 || !to_socket_address(&local, &here) ||
        !to_socket_address(&remote, &there))
        return -1;
    pthread_mutex_lock(&lock);
    int fd = search(&here, &there);
    if (fd < 0 && grow())
        fd = search(&here, &there);
    if (fd >= 0)
        owners[fd] = nng_socket_id(nng_pipe_socket(pipe));
    pthread_mutex_unlock(&lock);
    return fd;
}

void km_hangup_forget(int fd)
{
    if (fd < 0)
        return;
    pthread_mutex_lock(&lock);
    owners[fd] = 0;
    pthread_cond_broadcast(&forgotten);
    pthread_mutex_unlock(&lock);
}

bool km_hangup(int fd, bool is_hard)
{
    if (fd < 0)
        return false;
    /* Not for writing at first: nng closes the pipe when a write fails, and a message's head may be arriving then too. */
    (void)shutdown(fd, is_hard ? SHUT_RDWR : SHUT_RD); /* gone already: as good */
    return true;
}

/* --- sockets */

struct closing {
    pthread_mutex_t lock;
    pthread_cond_t done;
    nng_socket socket;
    bool is_done, is_left; /* the last of the two frees */
};

static void *close_socket(void *arg)
{
    struct closing *c = arg;
    (void)nng_close(c->socket);
    pthread_mutex_lock(&c->lock);
    bool is_left = c->is_left;
    c->is_done = true;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
    if (is_left)
        free(c);
    return NULL;
}

static struct timespec after(unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

/* Shuts the connections of `socket` and waits for nng to end them. True when none is left. */
static bool hangup_all(nng_socket socket, bool is_hard, unsigned ms)
{
    struct timespec until = after(ms);
    size_t n;
    pthread_once(&once, init);
    pthread_mutex_lock(&lock);
    for (size_t fd = 0; fd < n_owners; fd++)
        if (owners[fd] == nng_socket_id(socket))
            km_hangup((int)fd, is_hard);
    do {
        n = 0;
        for (size_t fd = 0; fd < n_owners; fd++)
            n += owners[fd] == nng_socket_id(socket);
    } while (n > 0 && pthread_cond_timedwait(&forgotten, &lock, &until) == 0);
    pthread_mutex_unlock(&lock);
    return n == 0;
}

bool km_hangup_socket(nng_socket socket, unsigned ms)
{
    pthread_t thread;
    struct closing *c = calloc(1, sizeof(*c));
    if (km_hangup_is_stuck()) /* and so will this one be */
        ms = ms < STUCK_MS ? ms : STUCK_MS;
    if (!is_needed() || c == NULL || pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        (void)nng_close(socket);
        return true;
    }
    if (!hangup_all(socket, false, ms)) /* or nng_close would trip over them */
        hangup_all(socket, true /* is_hard */, ms);
    c->socket = socket;
    init_condition(&c->done);
    if (pthread_create(&thread, NULL, close_socket, c) != 0) {
        free(c);
        (void)nng_close(socket);
        return true;
    }
    struct timespec until = after(ms);
    pthread_mutex_lock(&c->lock);
    while (!c->is_done && pthread_cond_timedwait(&c->done, &c->lock, &until) == 0)
        continue;
    bool is_done = c->is_done;
    c->is_left = !is_done;
    pthread_mutex_unlock(&c->lock);
    if (is_done) {
        pthread_join(thread, NULL);
        free(c);
    } else {
        pthread_detach(thread);
        atomic_store(&is_stuck, true);
    }
    return is_done;
}

bool km_hangup_is_stuck(void)
{
    return atomic_load(&is_stuck);
}
