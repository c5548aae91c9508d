/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys from keys, inside the built-in back end: derivation functions, agreed secrets, what a key is as bytes. Values
 * are in km_secret from end to end; OpenSSL's own intermediate values are on its heap. No state; any thread.
 */
#ifndef KM_HSM_CRYPTO_MAKE_H
#define KM_HSM_CRYPTO_MAKE_H

#include "crypto.h"

#define KM_DERIVED_MAX 8192 /* bytes that one call derives, over all its keys */

/* Derives the bytes of `n` keys, one behind the other, which are `lens` long; 0: as many as come by themselves. More
 * than one key is for SP 800-108. `other`: the second key (CONCATENATE), the salt (HKDF), or NULL. `is_whole`: every
 * byte of the base must go into the result. Errors: CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_SIZE_RANGE,
 * CKR_MECHANISM_PARAM_INVALID, CKR_TEMPLATE_INCOMPLETE (a length is needed), CKR_DEVICE_MEMORY, CKR_FUNCTION_FAILED. */
CK_RV km_derive(const struct km_loaded *base, const struct km_loaded *other, const struct km_mech *mech,
                const Kmw__Mechanism *param, bool is_whole, const size_t *lens, size_t n, struct km_secret *ret);

/* crypto_kdf.c: all of them fill `ret`, whose length is the caller's wish. Names of hashes are OpenSSL's. Errors as
 * above. */
CK_RV km_kdf_x963(const char *md, const struct km_secret *z, const ProtobufCBinaryData *shared, struct km_secret *ret);
CK_RV km_kdf_hkdf(const Kmw__Mechanism *param, const struct km_secret *key, const ProtobufCBinaryData *salt,
                  struct km_secret *ret);
CK_RV km_kdf_sp800_108(const struct km_mech *mech, const Kmw__Mechanism *param, const struct km_secret *key,
                       const size_t *lens, size_t n, struct km_secret *ret);
CK_RV km_kdf_pbkdf2(const Kmw__Mechanism *param, struct km_secret *ret);
/* OpenSSL's name of the hash behind CKD_..., CKM_SHA..._HMAC, CKM_SHA..._KEY_DERIVATION or a digest mechanism, or NULL.
 * CKD_NULL: "". */
const char *km_kdf_md(enum km_mech_scheme scheme, CK_ULONG id);

/* What a wrapping mechanism is applied to: the value of a secret key, PKCS#8 of a private one. Errors:
 * CKR_KEY_NOT_WRAPPABLE, CKR_DEVICE_MEMORY. */
CK_RV km_key_export(const struct km_loaded *key, struct km_secret *ret);
/* And back: checks that the bytes are a key such as `head` says, completes the head, and makes what goes into the seal.
 * `is_padded`: the mechanism may have put bytes behind the value, which CKA_VALUE_LEN cuts off. Errors:
 * CKR_WRAPPED_KEY_INVALID, CKR_TEMPLATE_INCONSISTENT and those of C_CreateObject. */
CK_RV km_key_take(const struct km_crypto *crypto, Kml__Head *head, const struct km_secret *bytes, bool is_padded,
                  struct km_secret *ret_secret);

#endif
