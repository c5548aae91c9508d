/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed records of the built-in back end (design D11):
 *
 *     byte 0       format, 1
 *     byte 1..32   salt, fresh for each seal
 *     ...          AES-256-GCM of the secret: a packed kmw.Template of the secret attributes
 *     last 16      tag
 *
 * Key and IV are HKDF-SHA-256(master key, salt, "keymoot seal v1"); associated data are the format byte and the packed head. A fresh salt
 * gives each seal a key of its own, so no IV can come twice, however many seals there are. Any thread.
 */
#ifndef KM_HSM_SEAL_H
#define KM_HSM_SEAL_H

#include "crypto.h"

#define KM_SEAL_SALT_LEN 32
#define KM_SEAL_OVERHEAD (1 + KM_SEAL_SALT_LEN + 16)

/* Seals `secret` under `head`; `ret` is malloc'ed. Errors: KM_ERR_NOMEM, KM_ERR_CRYPTO. */
enum km_err km_seal(const struct km_crypto *crypto, const struct km_secret *master_key, const ProtobufCBinaryData *head,
                    const struct km_secret *secret, ProtobufCBinaryData *ret) KM_CHECKED;
/* Errors: KM_ERR_CORRUPT (a byte of seal or head is not what was sealed), KM_ERR_NOMEM, KM_ERR_CRYPTO. */
enum km_err km_unseal(const struct km_crypto *crypto, const struct km_secret *master_key, const ProtobufCBinaryData *head,
                      const ProtobufCBinaryData *seal, struct km_secret *ret) KM_CHECKED;
/* HKDF-SHA-256 of the master key. Errors: KM_ERR_CRYPTO. */
enum km_err km_seal_derive(const struct km_crypto *crypto, const struct km_secret *master_key, const void *salt,
                           size_t salt_len, const char *info, uint8_t *ret, size_t len) KM_CHECKED;

#endif
