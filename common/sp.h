/* SPDX-License-Identifier: Apache-2.0
 *
 * nng's wire format over one TCP socket, the REQ side, without nng (design D1): the 8-byte greeting, then
 * messages of a 64-bit big-endian length and a payload that starts with the 32-bit request id (top bit set). Written
 * from the public description of the SP protocols (sp-tcp-mapping-01, sp-request-reply-01).
 *
 * Connecting never blocks, so that two servers can be raced; an open connection blocks, but never past its deadline. No
 * signal is raised, no descriptor survives exec. One thread at a time.
 */
#ifndef KM_COMMON_SP_H
#define KM_COMMON_SP_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define KM_SP_PROTO_REQ 0x30
#define KM_SP_PROTO_REP 0x31
#define KM_SP_GREETING_LEN 8

/* Milliseconds of CLOCK_MONOTONIC, the unit of every deadline here. */
int64_t km_monotonic_ms(void);

/*   km_sp_dial        connected          greeted
 *   ----------> DIALING -----> GREETING ---------> OPEN     any failure: closed by the caller, fd = -1 */
enum km_sp_state { KM_SP_DIALING, KM_SP_GREETING, KM_SP_OPEN };

struct km_sp {
    int fd;
    enum km_sp_state state;
    uint32_t request_id;
    unsigned timeout_ms; /* what SO_RCVTIMEO and SO_SNDTIMEO are set to */
    uint8_t greeting[KM_SP_GREETING_LEN];
    size_t n_greeting;
    uint8_t *buf; /* the last message received, with its headers */
    size_t cap;
    int sys_errno; /* of the last KM_ERR_NET; 0: the other end closed or is no SP REP socket */
};
#define KM_SP_CLOSED ((struct km_sp){.fd = -1})

/* Starts to connect to `addr`. Errors: KM_ERR_NET (sys_errno says why), with `sp` closed. */
enum km_err km_sp_dial(struct km_sp *sp, const struct sockaddr *addr, socklen_t addr_len) KM_CHECKED;

/* What to poll for until the state is KM_SP_OPEN. */
short km_sp_events(const struct km_sp *sp);

/* Goes on after poll reported something; may or may not change the state. Errors: KM_ERR_NET, KM_ERR_PROTO (no REP socket there). */
enum km_err km_sp_advance(struct km_sp *sp) KM_CHECKED;

/* Sends `len` bytes as one request and waits until `deadline` for its reply, which is borrowed until the next call and never longer
 * than `reply_max`. `*ret_is_sent` is set as soon as the other end may have the whole request, also on failure.
 * Errors: KM_ERR_NET, KM_ERR_TIMEOUT, KM_ERR_PROTO, KM_ERR_NOMEM; after any of them the connection is good for closing only. */
enum km_err km_sp_exchange(struct km_sp *sp, const uint8_t *data, size_t len, size_t reply_max, int64_t deadline,
                           const uint8_t **ret, size_t *ret_len, bool *ret_is_sent) KM_CHECKED;

/* True if the connection is open and the other end has said nothing: for requests that must not be sent into a dead one. */
bool km_sp_is_quiet(const struct km_sp *sp);

/* Closes the socket and frees the buffer. Nothing is written to the socket. Fine on a closed one. */
void km_sp_close(struct km_sp *sp);

#endif
