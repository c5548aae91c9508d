/* SPDX-License-Identifier: Apache-2.0
 *
 * Logins: shared by C_Login and the functions that change PINs.
 */
#ifndef KM_MODULE_LOGIN_H
#define KM_MODULE_LOGIN_H

#include "handle.h"

#define KM_ATTEMPT_LEN 16
#define KM_PIN_SENT_MAX 4096 /* bytes of a PIN that is read and sent at all; what servers take is less */

/* Who is logged in to `token`. Takes km_lock. */
CK_USER_TYPE km_login_user(const struct km_token *token);

/* A name for one attempt at a PIN, so that its retry is not counted as a second one. */
CK_RV km_login_attempt(uint8_t ret[KM_ATTEMPT_LEN]);

/* Logs in and keeps the ticket, replacing the one there is; without locks. */
CK_RV km_login_again(struct km_token *token, CK_USER_TYPE user, const CK_UTF8CHAR *pin, CK_ULONG pin_len);

#endif
