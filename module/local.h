/* SPDX-License-Identifier: Apache-2.0
 *
 * What is computed in the program's process, with OpenSSL in a library context of the module's own: hashes, and
 * everything that needs public keys only. Never touches a secret key. Any thread.
 */
#ifndef KM_MODULE_LOCAL_H
#define KM_MODULE_LOCAL_H

#include "../common/symmetric.h"
#include "handle.h"

/* Once per process image. False: out of memory. */
bool km_local_init(void);
/* The library context, for what common/ computes. */
OSSL_LIB_CTX *km_local_context(void);

/* Whether an operation of `kind` by `mech` is done here: verifying and encrypting with public keys. */
bool km_local_computes(const struct km_mech *mech, enum km_operation_kind kind);

/* The ciphers, for session keys whose value is here (bulk.c). NULL: out of memory. Takes km_lock. */
const struct km_symmetric *km_local_symmetric(void);

/* A started hash. `md` is the mechanism table's name. */
CK_RV km_local_digest(const char *md, EVP_MD_CTX **ret);

/* The hash of `data` into `ret`, EVP_MAX_MD_SIZE bytes. */
CK_RV km_local_hash(const char *md, const uint8_t *data, size_t len, uint8_t *ret);

/* Bytes of the hash of that name. */
size_t km_local_digest_len(const char *md);

/* Bytes of a signature or of an RSA block by the attributes of a key; 0: they do not tell. */
size_t km_local_block_len(const struct km_view *view);

/* Whether the operation's key signs with its parameter (common/signature.h): CKR_MECHANISM_PARAM_INVALID. */
CK_RV km_local_check_param(const struct km_operation *op);

/* The public key in attributes of class CKO_PUBLIC_KEY: CKR_KEY_TYPE_INCONSISTENT when they are none, and what is wrong
 * with them by km_pubkey_build. */
CK_RV km_local_public_key(const struct km_view *view, EVP_PKEY **ret);
CK_RV km_local_public_key_of(Kmw__Attr *const *attrs, size_t n, EVP_PKEY **ret);

/* DER SubjectPublicKeyInfo, malloc'ed. */
CK_RV km_local_public_key_info(EVP_PKEY *key, uint8_t **ret, size_t *ret_len);

/* Checks `signature` over `data` (a finished hash if the mechanism has one). CKR_OK, CKR_SIGNATURE_INVALID,
 * CKR_SIGNATURE_LEN_RANGE, CKR_DATA_LEN_RANGE. */
CK_RV km_local_verify(const struct km_operation *op, const uint8_t *data, size_t len, const uint8_t *signature,
                      size_t signature_len);

/* The data inside an RSA signature, added to `ret`. CKR_SIGNATURE_INVALID. */
CK_RV km_local_recover(const struct km_operation *op, const uint8_t *signature, size_t len, struct km_buffer *ret);

/* RSA encryption into `ret`. CKR_DATA_LEN_RANGE. */
CK_RV km_local_encrypt(const struct km_operation *op, const uint8_t *data, size_t len, struct km_buffer *ret);

/* Random bytes for names of requests and session objects. False: no randomness. */
bool km_local_random(uint8_t *ret, size_t len);

#endif
