/* SPDX-License-Identifier: Apache-2.0
 *
 * What the functions that make keys from keys share: derive.c, wrap.c, encapsulate.c.
 */
#ifndef KM_MODULE_MAKE_H
#define KM_MODULE_MAKE_H

#include "handle.h"

/* The mechanism's row, if it does what `flag` (CKF_...) says. CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID. */
CK_RV km_maker_mech(const CK_MECHANISM *mechanism, CK_FLAGS flag, const struct km_mech **ret);

/* A key that a request names. Freed with km_make_key_fini, also when it failed. `needs`: CKA_WRAP ..., what the key
 * must allow. `invalid`: the answer for a handle that is none. */
struct km_make_key {
    struct km_view *view;
    Kmw__Template *attributes; /* of a public session object, which only the module has */
    Kmw__Key key;
};
CK_RV km_make_key_init(struct km_session *session, CK_OBJECT_HANDLE handle, CK_RV invalid, CK_ATTRIBUTE_TYPE needs,
                       struct km_make_key *ret);
void km_make_key_fini(struct km_make_key *key);

/* Whether the template asks for an object on the token, and whether this session may make one (CKR_SESSION_READ_ONLY).
 */
CK_RV km_make_place(const struct km_session *session, const Kmw__Template *template, bool *ret_is_on_token);

/* Sends a request that makes `n` objects and gives them handles. On failure those of several are CK_INVALID_HANDLE. */
CK_RV km_make_call(struct km_session *session, Kmw__Request *request, bool is_on_token, CK_RV invalid, size_t n,
                   CK_OBJECT_HANDLE *const *ret);

#endif
