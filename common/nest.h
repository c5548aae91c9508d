/* SPDX-License-Identifier: Apache-2.0
 *
 * The half of a pool that belongs to one process: lock, idle connections, tickets and the list of open descriptors.
 */
#ifndef KM_COMMON_NEST_H
#define KM_COMMON_NEST_H

#include "pool.h"

#include <pthread.h>
#include <sys/types.h>

#define KM_FDS_PER_BLOCK 64
#define KM_IDLE_MAX 64 /* idle connections kept per server */

struct km_fd_block {
    atomic_int fd[KM_FDS_PER_BLOCK]; /* -1: free */
    _Atomic(struct km_fd_block *) next;
};

struct km_nest {
    pid_t pid;
    pthread_mutex_t lock; /* idle, n_idle, ticket, generation */
    struct km_conn *idle[KM_SERVERS_MAX];
    unsigned n_idle[KM_SERVERS_MAX];
    SSL_SESSION *ticket[KM_SERVERS_MAX];
    unsigned generation[KM_SERVERS_MAX];
    struct km_fd_block fds; /* written without the lock, so that it can be trusted in a child */
};

/* A nest for this process; NULL: out of memory. */
struct km_nest *km_nest_new(void);
void km_nest_free(struct km_nest *nest);

/* This process's nest in `*at`, made anew if what is there was inherited through fork. NULL: out of memory. */
struct km_nest *km_nest_enter(_Atomic(struct km_nest *) *at);

/* Remembers an open descriptor; NULL: out of memory. */
atomic_int *km_nest_add_fd(struct km_nest *nest, int fd);

/* Frees a connection: forgets the descriptor first and closes it then, so that a child never closes a number that is somebody else's by now. */
void km_conn_free(struct km_conn *conn);

#endif
