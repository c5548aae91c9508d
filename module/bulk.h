/* SPDX-License-Identifier: Apache-2.0
 *
 * Encryption in the program's process, with session keys that the program may read anyway. Under the session's lock.
 */
#ifndef KM_MODULE_BULK_H
#define KM_MODULE_BULK_H

#include "handle.h"

#define KM_BULK_MIN 4096      /* bytes of a message that are worth fetching the key's value for */
#define KM_BULK_FRESH_MS 1000 /* how long a server's word counts that the key can still be used */

/* The value of the operation's key, if `len` bytes are to be worked on here; NULL in `*ret`: a server does it. Lives as long as
 * op->key. Errors: those of C_GetAttributeValue, CKR_KEY_HANDLE_INVALID. */
CK_RV km_bulk_key(struct km_session *session, struct km_operation *op, size_t len, const struct km_secret **ret);

/* Works on `len` bytes. `out` is as km_symmetric_job says. A failure leaves nothing there. Errors: the CKR_ of C_Encrypt and C_Decrypt. */
CK_RV km_bulk_crypt(const struct km_operation *op, const struct km_secret *key, const uint8_t *in, size_t len,
                    bool is_part, uint8_t *out, size_t *ret_len);

#endif
