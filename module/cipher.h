/* SPDX-License-Identifier: Apache-2.0
 *
 * Encryption and decryption of a message in parts, the same for both directions: what can be worked on goes to a server
 * in chunks that are chained by their IV, the rest waits in the operation (design D4). Under the session's lock.
 */
#ifndef KM_MODULE_CIPHER_H
#define KM_MODULE_CIPHER_H

#include "handle.h"

/* C_Encrypt and C_Decrypt after the session's checks. Settles the operation. */
CK_RV km_cipher_once(struct km_session *session, struct km_operation *op, const CK_BYTE *in, CK_ULONG in_len,
                     CK_BYTE *out, CK_ULONG *out_len);
/* C_EncryptUpdate and C_DecryptUpdate. */
CK_RV km_cipher_update(struct km_session *session, struct km_operation *op, const CK_BYTE *in, CK_ULONG in_len,
                       CK_BYTE *out, CK_ULONG *out_len);
/* C_EncryptFinal and C_DecryptFinal. */
CK_RV km_cipher_final(struct km_session *session, struct km_operation *op, CK_BYTE *out, CK_ULONG *out_len);

/* How many of `len` waiting bytes can be worked on before the last part is known. */
size_t km_cipher_usable(const struct km_operation *op, size_t len);
/* Bytes that the last `len` bytes give; an upper bound where `*ret_is_exact` is false. CKR_DATA_LEN_RANGE,
 * CKR_ENCRYPTED_DATA_LEN_RANGE. */
CK_RV km_cipher_last_len(const struct km_operation *op, size_t len, size_t *ret, bool *ret_is_exact);
/* Moves a counter block on by `blocks`, in its low `bits`. */
void km_cipher_count(uint8_t block[16], unsigned bits, uint64_t blocks);

#endif
