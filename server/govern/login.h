/* SPDX-License-Identifier: Apache-2.0
 *
 * Login: PIN verifiers, tickets, and one attempt at a time (design D13). A verifier is an HMAC of the PIN under a key
 * that only back ends hold, so neither log nor snapshot helps to guess it. A ticket says that somebody knew the PIN; no
 * server stores it, each checks it against the store on every use, so it ends with the PIN's generation or the token's
 * instance.
 *
 * Threads: all functions on any thread.
 */
#ifndef KM_GOVERN_LOGIN_H
#define KM_GOVERN_LOGIN_H

#include "../hsm/backend.h"
#include "../raft/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_PIN_LEN_MIN 4
#define KM_PIN_LEN_MAX 255
#define KM_TICKET_MAX 512 /* bytes of a ticket at most */
#define KM_ATTEMPT_LEN 16

/* Whose PIN of which token: what its verifier is bound to. */
struct km_pin_of {
    const uint8_t *token;
    uint64_t instance, user_type, generation;
};

/* The verifier of `pin`. Errors: KM_ERR_TOO_LARGE (longer than KM_PIN_LEN_MAX: no PIN is), KM_ERR_CLOSED (the back end
 * is away). */
enum km_err km_pin_verifier(struct km_backend *backend, const struct km_pin_of *of, const uint8_t *pin, size_t pin_len,
                            uint8_t ret[32]) KM_CHECKED;

/* The id under which a failed attempt is counted: of the client's `attempt` and of the wrong PIN, so that a retry of
 * the same request counts once, but the same id with another PIN counts again. Errors: as km_pin_verifier. */
enum km_err km_pin_attempt_id(struct km_backend *backend, const uint8_t *attempt, size_t attempt_len,
                              const uint8_t verifier[32], uint8_t ret[KM_ATTEMPT_LEN]) KM_CHECKED;

struct km_ticket {
    uint8_t token[KM_ID_LEN];
    uint64_t instance, generation, user_type;
    uint64_t issued_ms, expires_ms; /* UTC */
    uint64_t epoch;                 /* random, names the login; stays the same when the ticket is renewed */
    char identity[224];
};

/* Packs and signs `ticket` into `ret` (KM_TICKET_MAX bytes). Errors: KM_ERR_CLOSED (the back end is away). */
enum km_err km_ticket_mint(struct km_backend *backend, const struct km_ticket *ticket, uint8_t *ret,
                           size_t *ret_len) KM_CHECKED;

/* Reads a ticket and proves that a server of this cluster minted it. Says nothing of whether it still holds.
 * Errors: KM_ERR_DENIED (not one of ours), KM_ERR_CLOSED. */
enum km_err km_ticket_open(struct km_backend *backend, const uint8_t *data, size_t len,
                           struct km_ticket *ret) KM_CHECKED;

/* NULL if `ticket` holds for `identity` at `token` as the store has it; otherwise why not (static text). `ret_is_ahead`
 * tells that the ticket knows of a newer token or PIN than this store. */
const char *km_ticket_check(const struct km_ticket *ticket, const struct km_token *token, const char *identity,
                            uint64_t utc_ms, bool *ret_is_ahead);

/* One unanswered attempt per (identity, token) at a time. */
struct km_gate;
struct km_gate *km_gate_new(void);
void km_gate_free(struct km_gate *gate);
/* Waits for its turn until `deadline_ms` (CLOCK_MONOTONIC). Errors: KM_ERR_BUSY (its time is over, or too many wait
 * already), KM_ERR_NOMEM. */
enum km_err km_gate_enter(struct km_gate *gate, const char *identity, const uint8_t token[KM_ID_LEN],
                          uint64_t deadline_ms) KM_CHECKED;
void km_gate_leave(struct km_gate *gate, const char *identity, const uint8_t token[KM_ID_LEN]);

#endif
