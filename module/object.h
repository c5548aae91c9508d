/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks that the functions which make or change objects share.
 */
#ifndef KM_MODULE_OBJECT_H
#define KM_MODULE_OBJECT_H

#include "handle.h"

/* CKR_SESSION_READ_ONLY where a token object would be written in a read-only session. */
CK_RV km_object_may_write(const struct km_session *session, bool is_on_token);

/* CKA_VALUE of a secret key that anybody who sees it may read, added to `ret`. CKR_KEY_HANDLE_INVALID,
 * CKR_KEY_INDIGESTIBLE. */
CK_RV km_object_secret_value(struct km_session *session, CK_OBJECT_HANDLE handle, struct km_buffer *ret);

#endif
