/* SPDX-License-Identifier: Apache-2.0
 *
 * A digest in parts, as more than C_DigestUpdate needs it. Under the session's lock.
 */
#ifndef KM_MODULE_DIGEST_H
#define KM_MODULE_DIGEST_H

#include "handle.h"

#define KM_DIGEST_STATE_MAX (64u * 1024) /* bytes of a message after which its state can no longer be saved */

/* C_DigestUpdate with an active operation, which it settles. */
CK_RV km_digest_update(struct km_operation *op, const CK_BYTE *part, CK_ULONG len);

#endif
