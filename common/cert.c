/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificate objects. A token keeps what it is given, so a value that OpenSSL cannot read is stored all the same; only
 * where it can, the public key in it is told, and a wrong one refused. No state; any thread.
 */
#include "cert.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CATEGORY_MAX 3

static bool is_empty(const ProtobufCBinaryData *value)
{
    return value == NULL || value->len == 0;
}

static CK_RV refuse(CK_RV rv, CK_ATTRIBUTE_TYPE type, const char *why, CK_ATTRIBUTE_TYPE *ret_type,
                    const char **ret_why)
{
    *ret_type = type;
    *ret_why = why;
    return rv;
}

/* Tables 20 to 22 of the standard: a value, or where to find it and hashes by which to know it. */
static CK_RV check_form(const struct km_cert *cert, CK_ATTRIBUTE_TYPE *ret_type, const char **ret_why)
{
    if (cert->type > CKC_WTLS)
        return refuse(CKR_ATTRIBUTE_VALUE_INVALID, CKA_CERTIFICATE_TYPE, "is none that can be kept", ret_type, ret_why);
    if (cert->category > CATEGORY_MAX)
        return refuse(CKR_ATTRIBUTE_VALUE_INVALID, CKA_CERTIFICATE_CATEGORY, "is not 0 to 3", ret_type, ret_why);
    if (!is_empty(cert->value))
        return CKR_OK;
    if (is_empty(cert->url))
        return refuse(CKR_ATTRIBUTE_VALUE_INVALID, CKA_VALUE, "is empty, and there is no CKA_URL", ret_type, ret_why);
    if (is_empty(cert->hash_of_subject))
        return refuse(CKR_TEMPLATE_INCOMPLETE, CKA_HASH_OF_SUBJECT_PUBLIC_KEY, "is missing beside a CKA_URL", ret_type,
                      ret_why);
    if (is_empty(cert->hash_of_issuer))
        return refuse(CKR_TEMPLATE_INCOMPLETE, CKA_HASH_OF_ISSUER_PUBLIC_KEY, "is missing beside a CKA_URL", ret_type,
                      ret_why);
    return CKR_OK;
}

/* First three bytes of SHA-1 (PKCS#11 v3.2 4.6.2). */
static CK_RV check_check_value(OSSL_LIB_CTX *libctx, const struct km_cert *cert, struct km_cert_facts *ret,
                               CK_ATTRIBUTE_TYPE *ret_type, const char **ret_why)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    bool is_unwanted = cert->check_value != NULL && cert->check_value->len == 0;

    if (is_empty(cert->value) || is_unwanted)
        return CKR_OK;
    if (EVP_Q_digest(libctx, "SHA1", NULL, cert->value->data, cert->value->len, hash, NULL) != 1)
        return refuse(CKR_HOST_MEMORY, CKA_CHECK_VALUE, "cannot be computed", ret_type, ret_why);
    if (cert->check_value != NULL && (cert->check_value->len != KM_CHECK_VALUE_LEN ||
                                      memcmp(cert->check_value->data, hash, KM_CHECK_VALUE_LEN) != 0))
        return refuse(CKR_ATTRIBUTE_VALUE_INVALID, CKA_CHECK_VALUE, "does not fit the certificate", ret_type, ret_why);
    memcpy(ret->check_value, hash, KM_CHECK_VALUE_LEN);
    ret->check_value_len = KM_CHECK_VALUE_LEN;
    return CKR_OK;
}

/* DER of the public key in an X.509 certificate, malloc'ed; 0: it cannot be read. */
static size_t read_public_key_info(OSSL_LIB_CTX *libctx, const ProtobufCBinaryData *value, uint8_t **ret)
{
    const unsigned char *at = value->data;
    X509 *x509 = X509_new_ex(libctx, NULL);
    unsigned char *der = NULL;
    int len = x509 != NULL && d2i_X509(&x509, &at, (long)value->len) != NULL && at == value->data + value->len
                  ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der)
                  : 0;

    if (len > 0) {
        *ret = malloc((size_t)len);
        if (*ret != NULL)
            memcpy(*ret, der, (size_t)len);
        else
            len = 0;
    }
    OPENSSL_free(der);
    X509_free(x509);
    ERR_clear_error();
    return len > 0 ? (size_t)len : 0;
}

static CK_RV check_public_key_info(OSSL_LIB_CTX *libctx, const struct km_cert *cert, struct km_cert_facts *ret,
                                   CK_ATTRIBUTE_TYPE *ret_type, const char **ret_why)
{
    const ProtobufCBinaryData *given = cert->public_key_info;
    uint8_t *info = NULL;
    size_t len =
        cert->type == CKC_X_509 && !is_empty(cert->value) ? read_public_key_info(libctx, cert->value, &info) : 0;

    if (len == 0)
        return CKR_OK;
    if (!is_empty(given) && (given->len != len || memcmp(given->data, info, len) != 0)) {
        free(info);
        return refuse(CKR_TEMPLATE_INCONSISTENT, CKA_PUBLIC_KEY_INFO, "is not the certificate's", ret_type, ret_why);
    }
    ret->public_key_info = info;
    ret->public_key_info_len = len;
    return CKR_OK;
}

CK_RV km_cert_check(OSSL_LIB_CTX *libctx, const struct km_cert *cert, struct km_cert_facts *ret,
                    CK_ATTRIBUTE_TYPE *ret_type, const char **ret_why)
{
    struct km_cert_facts facts = {.check_value_len = 0};
    CK_RV rv = check_form(cert, ret_type, ret_why);

    if (rv == CKR_OK)
        rv = check_check_value(libctx, cert, &facts, ret_type, ret_why);
    if (rv == CKR_OK)
        rv = check_public_key_info(libctx, cert, &facts, ret_type, ret_why);
    if (rv == CKR_OK)
        *ret = facts;
    return rv;
}
