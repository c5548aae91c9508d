/* SPDX-License-Identifier: Apache-2.0
 *
 * Public keys between attributes and OpenSSL: which curves there are, what attributes follow from a key, which key attributes describe.
 * Nothing secret here. No state; any thread.
 */
#ifndef KM_HSM_PUBKEY_H
#define KM_HSM_PUBKEY_H

#include "../../common/cryptoki.h"
#include "../../common/err.h"
#include "../raft/log.pb-c.h"

#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <stddef.h>

struct km_curve {
    const char *name;     /* OpenSSL's group name */
    int nid;
    unsigned bits;
    size_t len;           /* bytes of a coordinate and of the order */
    const uint8_t *oid;   /* DER, as CKA_EC_PARAMS */
    size_t oid_len;
};

/* The curve that CKA_EC_PARAMS `params` names, or NULL. */
const struct km_curve *km_curve_by_params(const uint8_t *params, size_t len);
/* The curve of the head's CKA_EC_PARAMS, or NULL. */
const struct km_curve *km_curve_of(const Kml__Head *head);
/* The curve of an OpenSSL key, or NULL. */
const struct km_curve *km_curve_of_pkey(const EVP_PKEY *pkey);

/* A key ("RSA", "EC") of the parts in `bld`; `selection` is EVP_PKEY_PUBLIC_KEY or EVP_PKEY_KEYPAIR. NULL when OpenSSL does not take them. */
EVP_PKEY *km_pkey_from(const char *type, int selection, OSSL_PARAM_BLD *bld);

/* The public key that the head of a public (or private) key describes, checked to be valid. The caller frees. Errors: CKR_TEMPLATE_INCOMPLETE,
 * CKR_CURVE_NOT_SUPPORTED, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT, CKR_FUNCTION_FAILED. */
CK_RV km_pubkey_load(const Kml__Head *head, EVP_PKEY **ret);
/* Writes what follows from the public part of `pkey` into the head: CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_MODULUS_BITS (public keys), CKA_EC_PARAMS,
 * CKA_EC_POINT (DER OCTET STRING) and CKA_PUBLIC_KEY_INFO. Values that are there and disagree are an error: CKR_TEMPLATE_INCONSISTENT, CKR_HOST_MEMORY. */
CK_RV km_pubkey_describe(const EVP_PKEY *pkey, Kml__Head *head);
/* For a public key that a program created: load, then describe. */
CK_RV km_pubkey_complete(Kml__Head *head);

#endif
