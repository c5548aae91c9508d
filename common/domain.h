/* SPDX-License-Identifier: Apache-2.0
 *
 * Domain parameters: the elliptic curves and the parameter sets of lattice and hash based keys, one row of domain.def
 * each. An object names its own by CKA_EC_PARAMS or CKA_PARAMETER_SET. Constant; any thread.
 */
#ifndef KM_COMMON_DOMAIN_H
#define KM_COMMON_DOMAIN_H

#include "cryptoki.h"
#include "wire.pb-c.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_domain {
    CK_KEY_TYPE key_type;
    const char *name; /* OpenSSL's: of the group where the key type is CKK_EC, else of the key type */
    CK_ULONG set;     /* CKP_..., 0: a curve */
    unsigned bits;
    size_t secret_len, public_len, signature_len, seed_len; /* bytes; 0: there is none */
    const uint8_t *oid;                                     /* DER, as CKA_EC_PARAMS */
    size_t oid_len;
    const uint8_t *other; /* another CKA_EC_PARAMS that is taken */
    size_t other_len;
    const char *curve_names; /* with spaces between */
};

/* Reads an attribute of an object in whatever form that is kept; NULL: it has none. */
struct km_attr_source {
    const ProtobufCBinaryData *(*get)(const void *object, CK_ATTRIBUTE_TYPE type);
    const void *object;
};

/* True for RSA and the key types of the table: those whose keys come in pairs. */
bool km_key_type_is_pair(CK_KEY_TYPE key_type);
/* The attribute that names the domain of such keys: CKA_EC_PARAMS, CKA_PARAMETER_SET; CK_UNAVAILABLE_INFORMATION for
 * RSA. */
CK_ATTRIBUTE_TYPE km_domain_attr(CK_KEY_TYPE key_type);
/* The attribute with the public value: CKA_EC_POINT, CKA_VALUE; CKA_MODULUS for RSA. */
CK_ATTRIBUTE_TYPE km_public_attr(CK_KEY_TYPE key_type);

/* The domain that the object names, or NULL. An OID or a curveName (PKCS#11 v3.2 6.3.3), no explicit parameters. */
const struct km_domain *km_domain_of(CK_KEY_TYPE key_type, const struct km_attr_source *from);
/* The same of a value of km_domain_attr. */
const struct km_domain *km_domain_by(CK_KEY_TYPE key_type, const uint8_t *value, size_t len);
/* The domain of an OpenSSL key, or NULL. */
const struct km_domain *km_domain_of_pkey(const EVP_PKEY *pkey);
/* Whether CKA_EC_PARAMS is an OID or a curveName in DER. */
bool km_domain_is_named(const uint8_t *value, size_t len);
/* CKR_OK if km_domain_by finds it; CKR_CURVE_NOT_SUPPORTED, CKR_DOMAIN_PARAMS_INVALID (neither OID nor curveName:
 * PKCS#11 v3.2 6.3) or CKR_ATTRIBUTE_VALUE_INVALID (a parameter set that there is not). */
CK_RV km_domain_check(CK_KEY_TYPE key_type, const uint8_t *value, size_t len);

#endif
