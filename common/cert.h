/* SPDX-License-Identifier: Apache-2.0
 *
 * What the attributes of a certificate object must be to each other, and what follows from the certificate itself (PKCS#11 v3.2 4.6). For
 * the servers' objects and for those that the module keeps.
 */
#ifndef KM_COMMON_CERT_H
#define KM_COMMON_CERT_H

#include "cryptoki.h"

#include <openssl/types.h>
#include <protobuf-c/protobuf-c.h>

#include <stddef.h>
#include <stdint.h>

#define KM_CHECK_VALUE_LEN 3

/* Values of the attributes; NULL: not given. */
struct km_cert {
    CK_CERTIFICATE_TYPE type;
    CK_ULONG category;
    const ProtobufCBinaryData *value, *url, *hash_of_subject, *hash_of_issuer, *check_value, *public_key_info;
};

/* What follows. */
struct km_cert_facts {
    uint8_t check_value[KM_CHECK_VALUE_LEN];
    size_t check_value_len;   /* 0: none is wanted, or there is no value */
    uint8_t *public_key_info; /* malloc'ed; NULL: as given */
    size_t public_key_info_len;
};

/* Computes in `libctx` (NULL: OpenSSL's default one). Checks `cert`, and fills `ret` when it is good. Otherwise `*ret_type` is the attribute that is not, and `*ret_why` says in static
 * text why. CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_HOST_MEMORY. */
CK_RV km_cert_check(OSSL_LIB_CTX *libctx, const struct km_cert *cert, struct km_cert_facts *ret, CK_ATTRIBUTE_TYPE *ret_type,
                    const char **ret_why);

#endif
