/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes to the servers: the ticket, the number of a change, and what an answer means. No lock of the module is held
 * by these functions while they wait, except the caller's session's.
 */
#ifndef KM_MODULE_REMOTE_H
#define KM_MODULE_REMOTE_H

#include "handle.h"

/* deadline_ms of a request that one server computes for seconds: another one would only begin again. At most the whole
 * call's. */
#define KM_SLOW_MS UINT32_MAX

enum km_call_kind {
    KM_CALL_READ,   /* uses and reads */
    KM_CALL_CHANGE, /* written to the log: executed exactly once, however often it is sent (design D9) */
    KM_CALL_BARE,   /* without ticket */
};

/* Sends `request` for `token` (NULL: for none) and returns the answer with the result `expected` (NOT_SET: any); freed
 * with km_reply_free. The caller's request is borrowed; token, ticket and change are filled in here. Renews a ticket
 * that is past half of its life; a ticket that a server calls dead makes the token's sessions public. CK_RV of the
 * answer, or by km_err_rv when there is none. */
CK_RV km_remote_call(struct km_token *token, Kmw__Request *request, enum km_call_kind kind,
                     Kmw__Reply__ResultCase expected, Kmw__Reply **ret);
void km_reply_free(Kmw__Reply *reply);

/* One Use with the operation's key. `data` is borrowed. */
CK_RV km_remote_use(struct km_session *session, struct km_operation *op, const uint8_t *data, size_t len,
                    bool is_digest, bool is_part, const uint8_t *signature, size_t signature_len, Kmw__Reply **ret);

/* The Key that names what `view` shows; borrows from it. */
Kmw__Key km_remote_key(const struct km_view *view);

/* The object's attributes: what is kept, or one ObjectGet. `may_be_stale`: for what never changes in an object. The
 * caller unrefs. CKR_OBJECT_HANDLE_INVALID. */
CK_RV km_remote_view(struct km_session *session, CK_OBJECT_HANDLE handle, bool may_be_stale, struct km_view **ret);

/* The same for reading attributes. Those that never change are answered from what is kept while the object was known to
 * be there KM_VIEW_FRESH_MS ago; `is_exact`: as they are now, which costs a round trip for objects on the token. */
CK_RV km_remote_read(struct km_session *session, CK_OBJECT_HANDLE handle, bool is_exact, struct km_view **ret);

/* The object with the secret attributes that may be seen, in `reply->objects->objects[0]`; the caller frees with
 * km_reply_free_secret. */
CK_RV km_remote_reveal(struct km_session *session, const struct km_view *view, Kmw__Reply **ret);
void km_reply_free_secret(Kmw__Reply *reply);

/* Handles for the objects of an answer, in order; `n` must be what came. */
CK_RV km_remote_objects(struct km_session *session, Kmw__Reply *reply, size_t n, CK_OBJECT_HANDLE *const *ret);

/* The token's list; into km_process. */
CK_RV km_remote_token_list(Kmw__Reply **ret);

/* In a child: changes are numbered under a registration of its own. */
void km_remote_after_fork(void);

/* A wire value of `len` bytes: borrowed, for requests. */
ProtobufCBinaryData km_bytes(const void *data, size_t len);

#endif
