/* SPDX-License-Identifier: Apache-2.0
 *
 * Public keys between attributes and OpenSSL. Every key that enters comes through here, so a point that is not on its
 * curve or an even modulus is found before anything uses it. No state; any thread.
 */
#include "pubkey.h"

#include "head.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <stdlib.h>
#include <string.h>

#define POINT_LEN_MAX (1 + 2 * 66)
#define PUBLIC_BITS_MIN 1024 /* programs bring old certificates' keys to have signatures checked */
#define PUBLIC_BITS_MAX 8192
#define EXPONENT_BITS_MAX 64 /* longer ones make checking a signature a way to burn our processor */

static const uint8_t oid_p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t oid_p384[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t oid_p521[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};

static const struct km_curve curves[] = {
    {"prime256v1", NID_X9_62_prime256v1, 256, 32, oid_p256, sizeof(oid_p256)},
    {"secp384r1", NID_secp384r1, 384, 48, oid_p384, sizeof(oid_p384)},
    {"secp521r1", NID_secp521r1, 521, 66, oid_p521, sizeof(oid_p521)},
};
#define CURVES (sizeof(curves) / sizeof(curves[0]))

const struct km_curve *km_curve_by_params(const uint8_t *params, size_t len)
{
    for (size_t i = 0; i < CURVES; i++)
        if (curves[i].oid_len == len && memcmp(curves[i].oid, params, len) == 0)
            return &curves[i];
    return NULL;
}

const struct km_curve *km_curve_of(const Kml__Head *head)
{
    const Kml__Attr *params = km_head_find(head, CKA_EC_PARAMS);

    return params != NULL ? km_curve_by_params(params->value.data, params->value.len) : NULL;
}

const struct km_curve *km_curve_of_pkey(const EVP_PKEY *pkey)
{
    char name[64] = "";
    size_t len;

    if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof(name), &len) != 1)
        return NULL;
    for (size_t i = 0; i < CURVES; i++)
        if (strcmp(curves[i].name, name) == 0)
            return &curves[i];
    return NULL;
}

EVP_PKEY *km_pkey_from(const char *type, int selection, OSSL_PARAM_BLD *bld)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

/* --- attributes to a key -------------------------------------------------------------------------------------------
 */

static CK_RV load_rsa(const Kml__Head *head, EVP_PKEY **ret)
{
    const Kml__Attr *modulus = km_head_find(head, CKA_MODULUS), *exponent = km_head_find(head, CKA_PUBLIC_EXPONENT);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *n = NULL, *e = NULL;
    CK_RV rv = CKR_OK;

    if (modulus == NULL || exponent == NULL) {
        rv = CKR_TEMPLATE_INCOMPLETE;
        goto out;
    }
    n = BN_bin2bn(modulus->value.data, (int)modulus->value.len, NULL);
    e = BN_bin2bn(exponent->value.data, (int)exponent->value.len, NULL);
    if (bld == NULL || n == NULL || e == NULL) {
        rv = CKR_HOST_MEMORY;
        goto out;
    }
    if (BN_num_bits(n) < PUBLIC_BITS_MIN || BN_num_bits(n) > PUBLIC_BITS_MAX) {
        rv = CKR_KEY_SIZE_RANGE;
        goto out;
    }
    if (!BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > EXPONENT_BITS_MAX) {
        rv = CKR_ATTRIBUTE_VALUE_INVALID;
        goto out;
    }
    if (!OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) ||
        !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e)) {
        rv = CKR_HOST_MEMORY;
        goto out;
    }
    *ret = km_pkey_from("RSA", EVP_PKEY_PUBLIC_KEY, bld);
    if (*ret == NULL)
        rv = CKR_FUNCTION_FAILED;
out:
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);
    return rv;
}

/* The point in `value`, with or without the DER OCTET STRING around it: the standard wants it, some programs leave it
 * off. A bare point starts with 04 too, but then its length says that it is one. */
static bool point_in(const ProtobufCBinaryData *value, size_t point_len, const uint8_t **ret)
{
    const uint8_t *p = value->data;
    size_t len = value->len;

    if (len == point_len && p[0] == 0x04) {
        *ret = p;
        return true;
    }
    if (len == point_len + 2 && p[0] == 0x04 && p[1] == point_len && point_len < 0x80) {
        *ret = p + 2;
        return p[2] == 0x04;
    }
    if (len == point_len + 3 && p[0] == 0x04 && p[1] == 0x81 && p[2] == point_len) {
        *ret = p + 3;
        return p[3] == 0x04;
    }
    return false;
}

static CK_RV load_ec(const Kml__Head *head, EVP_PKEY **ret)
{
    const Kml__Attr *point = km_head_find(head, CKA_EC_POINT);
    const struct km_curve *curve = km_curve_of(head);
    OSSL_PARAM_BLD *bld = NULL;
    EVP_PKEY_CTX *check = NULL;
    EVP_PKEY *pkey = NULL;
    const uint8_t *bytes;
    CK_RV rv = CKR_OK;

    if (point == NULL || km_head_find(head, CKA_EC_PARAMS) == NULL)
        return CKR_TEMPLATE_INCOMPLETE;
    if (curve == NULL)
        return CKR_CURVE_NOT_SUPPORTED;
    if (!point_in(&point->value, 1 + 2 * curve->len, &bytes))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    bld = OSSL_PARAM_BLD_new();
    if (bld == NULL || !OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, curve->name, 0) ||
        !OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, bytes, 1 + 2 * curve->len)) {
        rv = CKR_HOST_MEMORY;
        goto out;
    }
    pkey = km_pkey_from("EC", EVP_PKEY_PUBLIC_KEY, bld);
    check = pkey != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL) : NULL;
    if (check == NULL || EVP_PKEY_public_check(check) != 1) {
        rv = CKR_ATTRIBUTE_VALUE_INVALID;
        goto out;
    }
    *ret = pkey;
    pkey = NULL;
out:
    EVP_PKEY_CTX_free(check);
    EVP_PKEY_free(pkey);
    OSSL_PARAM_BLD_free(bld);
    return rv;
}

CK_RV km_pubkey_load(const Kml__Head *head, EVP_PKEY **ret)
{
    CK_RV rv;

    if (head->class_ != CKO_PUBLIC_KEY && head->class_ != CKO_PRIVATE_KEY)
        return CKR_KEY_TYPE_INCONSISTENT;
    if (head->key_type != CKK_RSA && head->key_type != CKK_EC)
        return CKR_KEY_TYPE_INCONSISTENT;
    rv = head->key_type == CKK_RSA ? load_rsa(head, ret) : load_ec(head, ret);
    ERR_clear_error();
    return rv;
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
    uint8_t bytes[PUBLIC_BITS_MAX / 8];
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

static CK_RV describe_ec(const EVP_PKEY *pkey, Kml__Head *head)
{
    const struct km_curve *curve = km_curve_of_pkey(pkey);
    const Kml__Attr *there = km_head_find(head, CKA_EC_POINT);
    uint8_t point[POINT_LEN_MAX], der[3 + POINT_LEN_MAX];
    const uint8_t *given;
    size_t len = 0, prefix = 2;
    CK_RV rv;

    if (curve == NULL)
        return CKR_CURVE_NOT_SUPPORTED;
    if (EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len) != 1 ||
        len != 1 + 2 * curve->len || point[0] != 0x04)
        return CKR_FUNCTION_FAILED;
    if (there != NULL && there->value.len > 0 &&
        (!point_in(&there->value, len, &given) || memcmp(given, point, len) != 0))
        return CKR_TEMPLATE_INCONSISTENT;
    der[0] = 0x04;
    der[1] = (uint8_t)len;
    if (len >= 0x80) {
        der[1] = 0x81;
        der[2] = (uint8_t)len;
        prefix = 3;
    }
    memcpy(der + prefix, point, len);
    rv = put_same(head, CKA_EC_PARAMS, curve->oid, curve->oid_len);
    if (rv == CKR_OK && km_head_put(head, CKA_EC_POINT, der, prefix + len) != KM_OK)
        rv = CKR_HOST_MEMORY;
    return rv;
}

CK_RV km_pubkey_describe(const EVP_PKEY *pkey, Kml__Head *head)
{
    uint8_t *spki = NULL;
    int len;
    CK_RV rv = EVP_PKEY_is_a(pkey, "RSA") ? describe_rsa(pkey, head) : describe_ec(pkey, head);

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
