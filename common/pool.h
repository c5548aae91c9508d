/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to the configured servers: idle ones kept, new ones opened (two servers raced), resumption tickets, what
 * is known about dead servers, and the fork rule. client.c decides who is asked; this file gets it a connection.
 *
 * Thread-safe. Each function notices a new pid first: a child gets a nest of its own (lock, idle connections) and closes the inherited sockets without
 * writing; addresses, tickets and what is known about servers pass on.
 */
#ifndef KM_COMMON_POOL_H
#define KM_COMMON_POOL_H

#include "client.h"
#include "sp.h"

#include <stdatomic.h>

#define KM_RACE_MS 30 /* a server that has not greeted by then is raced by the next one */

/* Why each server was of no use to one call, for its one line in the log. */
struct km_tries {
    unsigned n[KM_SERVERS_MAX];
    enum km_err err[KM_SERVERS_MAX];
    char why[KM_SERVERS_MAX][160];
};

struct km_conn {
    struct km_conn *next;
    unsigned server;
    struct km_sp sp;
    struct km_channel *channel;
    int64_t born_ms;
    unsigned generation;
    atomic_int *slot; /* where a forked child finds the descriptor */
};

struct km_pool;

/* Resolves the addresses in `conf` (borrowed; what cannot be resolved now is tried again when it is needed). `tls` is referenced. */
enum km_err km_pool_new(const struct km_client_conf *conf, struct km_tls *tls, struct km_pool **ret) KM_CHECKED;
void km_pool_free(struct km_pool *pool);

/* New connections use `tls` from now on; tickets made with the old certificate are forgotten. */
void km_pool_set_tls(struct km_pool *pool, struct km_tls *tls);

/* Notes in `tries` that `server` was of no use, and why. */
void km_tries_note(struct km_tries *tries, unsigned server, enum km_err err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The order in which to ask: own zone first, servers to be avoided last. `ret` has room for all servers. */
void km_pool_order(struct km_pool *pool, unsigned *ret);
/* `server` was no good: avoid it for `ms`, or (0) for a time that doubles with each failure in a row. */
void km_pool_avoid(struct km_pool *pool, unsigned server, unsigned ms);
void km_pool_praise(struct km_pool *pool, unsigned server);

/* An idle connection to `server`, the caller's now, or NULL. */
struct km_conn *km_pool_take(struct km_pool *pool, unsigned server);

/* Opens a connection to `first`, or to `second` (-1: nobody) if that one greets while `first` is late, with TLS done. Failures are noted in
 * `tries` and avoided. Errors: KM_ERR_NET, KM_ERR_TIMEOUT, KM_ERR_TLS, KM_ERR_IDENTITY, KM_ERR_PROTO, KM_ERR_NOMEM. */
enum km_err km_pool_dial(struct km_pool *pool, unsigned first, int second, int64_t deadline, struct km_tries *tries,
                         struct km_conn **ret) KM_CHECKED;

/* Gives a connection back for others to use, or closes it. Both end the caller's ownership. */
void km_pool_put(struct km_pool *pool, struct km_conn *conn);
void km_pool_drop(struct km_pool *pool, struct km_conn *conn);

/* Closes the idle connections to `server` (it was restarted), or to all of them (-1), and those in use when they come back. */
void km_pool_clear(struct km_pool *pool, int server);

#endif
