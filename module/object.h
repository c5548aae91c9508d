/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks that the functions which make or change objects share.
 */
#ifndef KM_MODULE_OBJECT_H
#define KM_MODULE_OBJECT_H

#include "handle.h"

/* CKR_SESSION_READ_ONLY where a token object would be written in a read-only session. */
CK_RV km_object_may_write(const struct km_session *session, bool is_on_token);

#endif
