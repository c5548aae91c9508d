/* SPDX-License-Identifier: Apache-2.0
 *
 * One SP connection at a listener of ours, the REP side of nng's wire format (sp-tcp-mapping-01, sp-request-reply-01), on nng's byte
 * streams. nng's own REP socket hands a message through five of its threads and keeps whoever does not greet for ten seconds; here
 * one callback reads, and who stands at the port is known from the first moment.
 *
 * A pipe has one message in work at a time: whoever was given it answers it with km_pipe_send or closes the pipe. One that comes before
 * the answer ends the pipe: no client of ours does that.
 */
#ifndef KM_NET_PIPE_H
#define KM_NET_PIPE_H

#include "../../common/err.h"

#include <nng/nng.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_PIPE_HEADER_MAX 32 /* bytes of request ids: ours, and those of up to 7 devices in between */

struct km_pipe;
struct km_listener;

/* What went before a request's body and comes before its answer's. */
struct km_pipe_header {
    uint8_t bytes[KM_PIPE_HEADER_MAX];
    size_t len;
};

struct km_pipe_events {
    /* A connection came. Returns the `pipe_arg` of the others, or NULL: it is closed, and nothing more is heard of it. The pipe has
     * one reference, the callee's. */
    void *(*on_open)(void *arg, struct km_pipe *pipe, const nng_sockaddr *from);
    /* One whole message, borrowed for the call. */
    void (*on_message)(void *pipe_arg, const struct km_pipe_header *header, const uint8_t *body, size_t len);
    /* The last event; a message may still be in work. `malformed` says what was wrong with the bytes that came, NULL: nothing was. */
    void (*on_end)(void *pipe_arg, const char *malformed);
};

/* Listens on `address` (host:port) for messages whose bodies have at most `body_max` bytes. Events come in nng's callbacks, or in the
 * thread that sent. Errors: KM_ERR_NET with `ret_message`, KM_ERR_NOMEM. */
enum km_err km_listener_open(const char *address, size_t body_max, const struct km_pipe_events *events, void *arg,
                             struct km_listener **ret, char *ret_message, size_t message_len) KM_CHECKED;
/* Takes no more connections, waits for on_open, frees. Pipes stay. NULL is fine. */
void km_listener_close(struct km_listener *listener);

/* Answers the message in work. `frame` stays borrowed until the pipe's next event. Never blocks. [any thread] */
void km_pipe_send(struct km_pipe *pipe, const struct km_pipe_header *header, const uint8_t *frame, size_t len);
/* Ends the connection; on_end follows. [any thread] */
void km_pipe_close(struct km_pipe *pipe);
/* Gives the reference back. [any thread] */
void km_pipe_unref(struct km_pipe *pipe);

#endif
