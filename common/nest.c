/* SPDX-License-Identifier: Apache-2.0
 *
 * Fork. Host programs fork at any moment, with other threads inside our calls; the child must not touch the parent's
 * TLS connections (one nonce used twice gives the key away), nor wait for a lock whose holder does not exist there.
 * So everything that a lock protects lives in a nest that names its process. A child makes its own, and of the inherited one uses only what
 * is sound without the lock: the list of descriptors (atomics), and the rest if nobody held the lock at the fork.
 */
#include "nest.h"

#include <stdlib.h>
#include <unistd.h>

static void init_block(struct km_fd_block *block)
{
    for (int i = 0; i < KM_FDS_PER_BLOCK; i++)
        atomic_init(&block->fd[i], -1);
    atomic_init(&block->next, NULL);
}

struct km_nest *km_nest_new(void)
{
    struct km_nest *nest = calloc(1, sizeof(*nest));
    if (nest == NULL)
        return NULL;
    nest->pid = getpid();
    pthread_mutex_init(&nest->lock, NULL);
    init_block(&nest->fds);
    return nest;
}

void km_conn_free(struct km_conn *conn)
{
    if (conn == NULL)
        return;
    if (conn->slot != NULL)
        atomic_store(conn->slot, -1);
    km_sp_close(&conn->sp);
    km_channel_free(conn->channel);
    free(conn);
}

void km_nest_free(struct km_nest *nest)
{
    if (nest == NULL)
        return;
    for (int i = 0; i < KM_SERVERS_MAX; i++) {
        for (struct km_conn *conn = nest->idle[i], *next; conn != NULL; conn = next) {
            next = conn->next;
            km_conn_free(conn);
        }
        SSL_SESSION_free(nest->ticket[i]);
    }
    for (struct km_fd_block *block = nest->fds.next, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    pthread_mutex_destroy(&nest->lock);
    free(nest);
}

atomic_int *km_nest_add_fd(struct km_nest *nest, int fd)
{
    for (struct km_fd_block *block = &nest->fds;; block = atomic_load(&block->next)) {
        for (int i = 0; i < KM_FDS_PER_BLOCK; i++) {
            int empty = -1;
            if (atomic_load(&block->fd[i]) < 0 && atomic_compare_exchange_strong(&block->fd[i], &empty, fd))
                return &block->fd[i];
        }
        if (atomic_load(&block->next) != NULL)
            continue;
        struct km_fd_block *more = malloc(sizeof(*more)), *none = NULL;
        if (more == NULL)
            return NULL;
        init_block(more);
        if (!atomic_compare_exchange_strong(&block->next, &none, more))
            free(more);
    }
}

/* Closes what `old` had open in the parent, and takes over its tickets if they are sound. */
static void inherit(struct km_nest *nest, struct km_nest *old)
{
    bool is_sound = pthread_mutex_trylock(&old->lock) == 0;
    if (is_sound) {
        pthread_mutex_lock(&nest->lock);
        for (int i = 0; i < KM_SERVERS_MAX; i++) {
            if (nest->ticket[i] == NULL) {
                nest->ticket[i] = old->ticket[i];
                old->ticket[i] = NULL;
            }
        }
        pthread_mutex_unlock(&nest->lock);
    }
    for (struct km_fd_block *block = &old->fds; block != NULL; block = atomic_load(&block->next)) {
        for (int i = 0; i < KM_FDS_PER_BLOCK; i++) {
            int fd = atomic_exchange(&block->fd[i], -1);
            if (fd >= 0)
                close(fd);
        }
    }
    if (!is_sound)
        return; /* torn at the fork: left where it is */
    for (int i = 0; i < KM_SERVERS_MAX; i++) {
        for (struct km_conn *conn = old->idle[i]; conn != NULL; conn = conn->next)
            conn->sp.fd = -1; /* closed above */
    }
    pthread_mutex_unlock(&old->lock);
    km_nest_free(old);
}

struct km_nest *km_nest_enter(_Atomic(struct km_nest *) *at)
{
    struct km_nest *nest = atomic_load(at);
    pid_t pid = getpid();
    if (nest->pid == pid)
        return nest;
    struct km_nest *fresh = km_nest_new();
    if (fresh == NULL)
        return NULL;
    if (!atomic_compare_exchange_strong(at, &nest, fresh)) {
        km_nest_free(fresh);
        return nest; /* another thread of this child was faster */
    }
    inherit(fresh, nest);
    return fresh;
}
