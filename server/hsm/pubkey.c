/* SPDX-License-Identifier: Apache-2.0
 *
 * Public keys between heads and OpenSSL. Every key that enters comes through here, so a point that is not on its curve
 * or an even modulus is found before anything uses it. No state; any thread.
 */
#include "pubkey.h"

#include "head.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <stdlib.h>
#include <string.h>

#define PUBLIC_LEN_MAX 2592 /* ML-DSA-87 */
#define PREFIX_MAX 3

static const ProtobufCBinaryData *get_attr(const void *object, CK_ATTRIBUTE_TYPE type)
{
    const Kml__Attr *attr = km_head_find(object, type);

    return attr != NULL ? &attr->value : NULL;
}

const struct km_domain *km_head_domain(const Kml__Head *head)
{
    return km_domain_of(head->key_type, &(struct km_attr_source){get_attr, head});
}

CK_RV km_pubkey_load(const Kml__Head *head, EVP_PKEY **ret)
{
    if (head->class_ != CKO_PUBLIC_KEY && head->class_ != CKO_PRIVATE_KEY)
        return CKR_KEY_TYPE_INCONSISTENT;
    return km_pubkey_build(NULL, head->key_type, &(struct km_attr_source){get_attr, head}, ret);
}

/* --- a key to attributes -------------------------------------------------------------------------------------------
 */

static CK_RV put_same(Kml__Head *head, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    const Kml__Attr *there = km_head_find(head, type);

    if (there != NULL && there->value.len > 0 &&
        (there->value.len != len || memcmp(there->value.data, value, len) != 0))
        return CKR_TEMPLATE_INCONSISTENT;
    return km_head_put(head, type, value, len) == KM_OK ? CKR_OK : CKR_HOST_MEMORY;
}

/* Big-endian numbers are the same number with zeros in front; without them is how they are kept. */
static CK_RV put_number(Kml__Head *head, CK_ATTRIBUTE_TYPE type, const EVP_PKEY *pkey, const char *param)
{
    const Kml__Attr *there = km_head_find(head, type);
    BIGNUM *number = NULL, *given = NULL;
    uint8_t bytes[KM_RSA_PUBLIC_BITS_MAX / 8];
    CK_RV rv = CKR_OK;

    if (EVP_PKEY_get_bn_param(pkey, param, &number) != 1 || BN_num_bytes(number) > (int)sizeof(bytes)) {
        BN_free(number);
        return CKR_FUNCTION_FAILED;
    }
    if (there != NULL && there->value.len > 0) {
        given = BN_bin2bn(there->value.data, (int)there->value.len, NULL);
        if (given == NULL || BN_cmp(given, number) != 0)
            rv = given == NULL ? CKR_HOST_MEMORY : CKR_TEMPLATE_INCONSISTENT;
    }
    if (rv == CKR_OK && km_head_put(head, type, bytes, (size_t)BN_bn2bin(number, bytes)) != KM_OK)
        rv = CKR_HOST_MEMORY;
    BN_free(given);
    BN_free(number);
    return rv;
}

static CK_RV describe_rsa(const EVP_PKEY *pkey, Kml__Head *head)
{
    CK_ULONG bits = (CK_ULONG)EVP_PKEY_get_bits(pkey);
    CK_RV rv = put_number(head, CKA_MODULUS, pkey, OSSL_PKEY_PARAM_RSA_N);

    if (rv == CKR_OK)
        rv = put_number(head, CKA_PUBLIC_EXPONENT, pkey, OSSL_PKEY_PARAM_RSA_E);
    if (rv != CKR_OK || head->class_ != CKO_PUBLIC_KEY)
        return rv;
    if (km_head_ulong(head, CKA_MODULUS_BITS, bits) != bits)
        return CKR_TEMPLATE_INCONSISTENT;
    return km_head_put_ulong(head, CKA_MODULUS_BITS, bits) == KM_OK ? CKR_OK : CKR_HOST_MEMORY;
}

/* The DER header of an OCTET STRING. */
static size_t put_prefix(uint8_t *to, size_t len)
{
    to[0] = 0x04;
    to[1] = (uint8_t)len;
    if (len < 0x80)
        return 2;
    to[1] = 0x81;
    to[2] = (uint8_t)len;
    return 3;
}

static bool get_public_value(const EVP_PKEY *pkey, const struct km_domain *domain, uint8_t *ret)
{
    size_t len = domain->public_len;

    if (domain->key_type == CKK_EC)
        return EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, ret, len, &len) == 1 &&
               len == domain->public_len;
    return EVP_PKEY_get_raw_public_key(pkey, ret, &len) == 1 && len == domain->public_len;
}

static CK_RV put_domain(Kml__Head *head, const struct km_domain *domain)
{
    CK_ATTRIBUTE_TYPE type = km_domain_attr(domain->key_type);
    const Kml__Attr *there = km_head_find(head, type);
    enum km_err err;

    if (there != NULL && there->value.len > 0 && km_head_domain(head) != domain)
        return CKR_TEMPLATE_INCONSISTENT;
    if (there != NULL && (domain->set != 0 || km_domain_is_named(there->value.data, there->value.len)))
        return CKR_OK; /* another name for the same curve stays */
    err = domain->set != 0 ? km_head_put_ulong(head, type, domain->set)
                           : km_head_put(head, type, domain->oid, domain->oid_len);
    return err == KM_OK ? CKR_OK : CKR_HOST_MEMORY;
}

/* Private keys of curves have their point too: programs ask for it. */
static CK_RV describe_by_domain(const EVP_PKEY *pkey, Kml__Head *head)
{
    const struct km_domain *domain = km_domain_of_pkey(pkey);
    CK_ATTRIBUTE_TYPE type = km_public_attr(head->key_type);
    const Kml__Attr *there = type == CKA_VALUE && head->class_ != CKO_PUBLIC_KEY ? NULL : km_head_find(head, type);
    uint8_t value[PREFIX_MAX + PUBLIC_LEN_MAX], *bare;
    const uint8_t *given;
    size_t prefix;
    CK_RV rv;

    if (domain == NULL || domain->key_type != head->key_type || domain->public_len > PUBLIC_LEN_MAX)
        return CKR_CURVE_NOT_SUPPORTED;
    prefix = domain->set == 0 ? put_prefix(value, domain->public_len) : 0;
    bare = value + prefix;
    if (!get_public_value(pkey, domain, bare))
        return CKR_FUNCTION_FAILED;
    if (there != NULL && there->value.len > 0) {
        given = km_public_value(domain, there->value.data, there->value.len);
        if (given == NULL || memcmp(given, bare, domain->public_len) != 0)
            return CKR_TEMPLATE_INCONSISTENT;
    }
    rv = put_domain(head, domain);
    if (rv != CKR_OK || (type == CKA_VALUE && head->class_ != CKO_PUBLIC_KEY))
        return rv;
    return km_head_put(head, type, value, prefix + domain->public_len) == KM_OK ? CKR_OK : CKR_HOST_MEMORY;
}

CK_RV km_pubkey_describe(const EVP_PKEY *pkey, Kml__Head *head)
{
    uint8_t *spki = NULL;
    int len;
    CK_RV rv = EVP_PKEY_is_a(pkey, "RSA") ? describe_rsa(pkey, head) : describe_by_domain(pkey, head);

    if (rv != CKR_OK)
        return rv;
    len = i2d_PUBKEY(pkey, &spki);
    if (len <= 0)
        return CKR_FUNCTION_FAILED;
    rv = put_same(head, CKA_PUBLIC_KEY_INFO, spki, (size_t)len);
    OPENSSL_free(spki);
    return rv;
}

CK_RV km_pubkey_complete(Kml__Head *head)
{
    EVP_PKEY *pkey = NULL;
    CK_RV rv = km_pubkey_load(head, &pkey);

    if (rv == CKR_OK)
        rv = km_pubkey_describe(pkey, head);
    EVP_PKEY_free(pkey);
    return rv;
}
