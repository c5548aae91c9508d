/* SPDX-License-Identifier: Apache-2.0
 *
 * Making and checking signatures and MACs over what an operation has gathered; for the functions of both styles: one
 * message for each C_SignInit, or many for each C_MessageSignInit. Under the session's lock; they settle nothing.
 */
#ifndef KM_MODULE_SIGN_H
#define KM_MODULE_SIGN_H

#include "handle.h"

/* Adds `data` and signs everything. Where `out` has no room, or is NULL, nothing is added and `*out_len` tells the
 * length. */
CK_RV km_sign_finish(struct km_session *session, struct km_operation *op, const CK_BYTE *data, CK_ULONG len,
                     CK_BYTE *out, CK_ULONG *out_len);

/* Checks `signature` over what was added. CKR_OK, CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE. */
CK_RV km_verify_finish(struct km_session *session, struct km_operation *op, const CK_BYTE *signature,
                       CK_ULONG signature_len);

#endif
