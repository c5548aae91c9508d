/* SPDX-License-Identifier: Apache-2.0
 *
 * Public keys from attributes, checked: what a program brings as a public key comes through here, in the module and in
 * the server. Nothing secret. No state; any thread.
 */
#ifndef KM_COMMON_PUBKEY_H
#define KM_COMMON_PUBKEY_H

#include "domain.h"

#include <openssl/param_build.h>

#define KM_RSA_PUBLIC_BITS_MAX 8192

/* A key of OpenSSL's type `type` ("RSA", "EC") of the parts in `bld`; `selection` is EVP_PKEY_PUBLIC_KEY or
 * EVP_PKEY_KEYPAIR. NULL when OpenSSL does not take them. `libctx` NULL: the default. */
EVP_PKEY *km_pkey_from(OSSL_LIB_CTX *libctx, const char *type, int selection, OSSL_PARAM_BLD *bld);

/* The public key of type `key_type` that the attributes describe. The caller frees. Errors: CKR_TEMPLATE_INCOMPLETE,
 * CKR_CURVE_NOT_SUPPORTED, CKR_DOMAIN_PARAMS_INVALID, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE,
 * CKR_KEY_TYPE_INCONSISTENT, CKR_HOST_MEMORY, CKR_FUNCTION_FAILED. */
CK_RV km_pubkey_build(OSSL_LIB_CTX *libctx, CK_KEY_TYPE key_type, const struct km_attr_source *from, EVP_PKEY **ret);

/* The bare value in a CKA_EC_POINT or public CKA_VALUE of this domain: taken with or without the DER OCTET STRING
 * around it, since the standard wants it for CKK_EC, leaves it off for other curves, and programs do either. NULL: not
 * of this form. */
const uint8_t *km_public_value(const struct km_domain *domain, const uint8_t *value, size_t len);

/* Bytes of a signature or of an RSA block by the public attributes of a key; 0: they do not tell. */
size_t km_pubkey_block_len(CK_KEY_TYPE key_type, const struct km_attr_source *from);

#endif
