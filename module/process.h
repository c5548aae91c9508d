/* SPDX-License-Identifier: Apache-2.0
 *
 * What one process knows: whether it is initialised, its tokens, who is logged in, its client. One lock (km_lock)
 * guards this and the tables of handle.h; it is held for moments only, never during a round trip. The order is: a
 * session's lock, then this one.
 *
 * Fork: the child goes on with what it inherited (CKF_INTERFACE_FORK_SAFE). The first call with a new pid makes the
 * locks anew, forgets operations that another thread was in the middle of, and forgets the registration under which
 * changes are numbered (remote.h).
 */
#ifndef KM_MODULE_PROCESS_H
#define KM_MODULE_PROCESS_H

#include "../common/client.h"
#include "../common/cryptoki.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_ID_LEN 16
#define KM_LOGIN_NONE (~0UL) /* beside CKU_SO and CKU_USER */

/* Proof of a login, minted by a server (design D13). */
struct km_login {
    CK_USER_TYPE user; /* CKU_SO, CKU_USER or KM_LOGIN_NONE */
    uint8_t *ticket;
    size_t ticket_len;
    int64_t issued_ms, expires_ms; /* km_boot_ms */
};

/* One slot with the token in it. Lives until the process ends; guarded by km_lock, except `slot` and `id` once an
 * initialised token has them. */
struct km_token {
    CK_SLOT_ID slot;
    uint8_t id[KM_ID_LEN];
    bool is_free;   /* the slot for a new token: present, not initialised */
    bool is_listed; /* in the newest list that a server gave */
    bool was_there; /* initialised, in the list before */
    bool has_event; /* it came or went, and no program was told */
    Kmw__TokenInfo *info;
    struct km_login login;
    unsigned n_sessions, n_read_write;
    uint64_t version;   /* newest Reply.token_version */
    int64_t version_ms; /* when a server confirmed it */
};

struct km_process {
    struct km_client *client;
    struct km_token **tokens; /* ordered by slot, the free one last */
    size_t n_tokens;
    int64_t listed_ms; /* when the list was fetched; INT64_MIN: it must be fetched */
    uint64_t listed_by; /* km_process_started() then */
};
extern struct km_process km_process;

void km_lock(void);
void km_unlock(void);

/* Milliseconds of a clock that goes on while the machine sleeps. */
int64_t km_boot_ms(void);

/* Locks a mutex that may be held during a round trip, without keeping a fork waiting for it. */
void km_lock_outside(pthread_mutex_t *mutex);

/* Every C_ function's first step: notices a fork, and steps inside (forks.h). CKR_CRYPTOKI_NOT_INITIALIZED. */
CK_RV km_process_enter(bool *ret_is_inside);
/* And its last. */
void km_process_leave(bool *is_inside);

/* C_Initialize and C_Finalize after their arguments were checked. */
CK_RV km_process_start(void);
CK_RV km_process_stop(void);

/* A number for each C_Initialize that took effect; 0 while the library is not initialised. Any thread. */
uint64_t km_process_started(void);
/* Waits outside until `start` is over or `ms` have passed. */
void km_process_wait(uint64_t start, unsigned ms);

/* Fetches the list of tokens when it is older than `age_ms`, one round trip. Without locks. */
CK_RV km_token_refresh(int64_t age_ms);

/* The token in slot `slot`, fetching the list if the slot is not known; without locks. CKR_SLOT_ID_INVALID. */
CK_RV km_token_get(CK_SLOT_ID slot, struct km_token **ret);

/* Remembers a new ticket (copied) or, with KM_LOGIN_NONE, forgets the login. Under km_lock. CKR_HOST_MEMORY leaves it
 * as it was. */
CK_RV km_login_set(struct km_token *token, CK_USER_TYPE user, const Kmw__LoginReply *reply);
void km_login_drop(struct km_token *token);
/* The login ended by itself: its sealed session objects are dead with it (design D5). Handles of objects on the token stay. Under km_lock. */
void km_login_died(struct km_token *token);

/* Counts a session that ended; the last one takes the login along. Under km_lock. */
void km_token_session_ended(struct km_token *token, bool is_read_write);

#endif
