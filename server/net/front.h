/* SPDX-License-Identifier: Apache-2.0
 *
 * The front door: the REP side of nng's wire format, one TLS channel per pipe, limits against strangers (design D2). Whole authenticated messages
 * go to `on_request`; the handler answers once, at once or later, on any thread.
 */
#ifndef KM_NET_FRONT_H
#define KM_NET_FRONT_H

#include "../../common/channel.h"

struct km_front;
struct km_front_request; /* one message in work; holds its pipe */

struct km_front_conf {
    const char *address;            /* host:port */
    unsigned handshake_ms;          /* 5000 */
    unsigned strangers_max;         /* unauthenticated connections in all: 256 */
    unsigned strangers_per_source;  /* and per source address: 32 */
    unsigned connections_max;       /* authenticated ones: 65536 */
};

/* Called in an nng callback, or in the thread that sent the answer before: must not block. `data` is borrowed until km_front_reply. `identity` lives as long as the request. */
typedef void (*km_front_handler)(void *arg, struct km_front_request *request, const struct km_identity *identity,
                                 const uint8_t *data, size_t len);

/* Listens. `tls` is referenced. Errors: KM_ERR_NET with `ret_message` ("127.0.0.1:7101: address in use"). */
enum km_err km_front_open(const struct km_front_conf *conf, struct km_tls *tls, km_front_handler on_request, void *arg,
                          struct km_front **ret, char *ret_message, size_t message_len) KM_CHECKED;

/* Answers and frees `request`. `data` is borrowed. The client may be gone; that is not an error. [any thread] */
void km_front_reply(struct km_front_request *request, const uint8_t *data, size_t len);

/* New connections use `tls` from now on (SIGHUP). [any thread] */
void km_front_set_tls(struct km_front *front, struct km_tls *tls);

/* Stops accepting, closes all pipes, waits for callbacks. Requests in work may still be answered (into the void). */
void km_front_close(struct km_front *front);

/* Counters, for status and tests. [any thread] */
struct km_front_counts {
    uint64_t accepted, authenticated, refused_tls, refused_limit, timed_out, malformed, requests;
    uint64_t open_now, strangers_now;
};
void km_front_counts(const struct km_front *front, struct km_front_counts *ret);

#endif
