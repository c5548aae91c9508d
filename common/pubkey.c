/* SPDX-License-Identifier: Apache-2.0
 *
 * Public keys from attributes. A point that is not on its curve or an even modulus is found here, before anything uses
 * it. No state; any thread.
 */
#include "pubkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <string.h>

#define RSA_BITS_MIN 1024    /* programs bring old certificates' keys to have signatures checked */
#define EXPONENT_BITS_MAX 64 /* longer ones make checking a signature a way to burn our processor */
#define TAG_OCTETS 0x04

EVP_PKEY *km_pkey_from(OSSL_LIB_CTX *libctx, const char *type, int selection, OSSL_PARAM_BLD *bld)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static CK_RV build_rsa(OSSL_LIB_CTX *libctx, const struct km_attr_source *from, EVP_PKEY **ret)
{
    const ProtobufCBinaryData *modulus = from->get(from->object, CKA_MODULUS),
                              *exponent = from->get(from->object, CKA_PUBLIC_EXPONENT);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *n = NULL, *e = NULL;
    CK_RV rv = CKR_TEMPLATE_INCOMPLETE;

    if (modulus == NULL || exponent == NULL)
        goto out;
    rv = CKR_HOST_MEMORY;
    n = BN_bin2bn(modulus->data, (int)modulus->len, NULL);
    e = BN_bin2bn(exponent->data, (int)exponent->len, NULL);
    if (bld == NULL || n == NULL || e == NULL)
        goto out;
    rv = CKR_KEY_SIZE_RANGE;
    if (BN_num_bits(n) < RSA_BITS_MIN || BN_num_bits(n) > KM_RSA_PUBLIC_BITS_MAX)
        goto out;
    rv = CKR_ATTRIBUTE_VALUE_INVALID;
    if (!BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > EXPONENT_BITS_MAX)
        goto out;
    rv = CKR_HOST_MEMORY;
    if (!OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) ||
        !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e))
        goto out;
    *ret = km_pkey_from(libctx, "RSA", EVP_PKEY_PUBLIC_KEY, bld);
    rv = *ret != NULL ? CKR_OK : CKR_FUNCTION_FAILED;
out:
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);
    return rv;
}

const uint8_t *km_public_value(const struct km_domain *domain, const uint8_t *value, size_t len)
{
    const uint8_t *bare = NULL;
    size_t n = domain->public_len;

    if (len == n)
        bare = value;
    else if (domain->set == 0 && n < 0x80 && len == n + 2 && value[0] == TAG_OCTETS && value[1] == n)
        bare = value + 2;
    else if (domain->set == 0 && n >= 0x80 && len == n + 3 && value[0] == TAG_OCTETS && value[1] == 0x81 &&
             value[2] == n)
        bare = value + 3;
    if (bare != NULL && domain->key_type == CKK_EC && bare[0] != POINT_CONVERSION_UNCOMPRESSED)
        return NULL;
    return bare;
}

static EVP_PKEY *build_ec(OSSL_LIB_CTX *libctx, const struct km_domain *domain, const uint8_t *point)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *check = NULL;
    EVP_PKEY *pkey = NULL;

    if (bld != NULL && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, domain->name, 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, domain->public_len))
        pkey = km_pkey_from(libctx, "EC", EVP_PKEY_PUBLIC_KEY, bld);
    check = pkey != NULL ? EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL) : NULL;
    if (check == NULL || EVP_PKEY_public_check(check) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(check);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

CK_RV km_pubkey_build(OSSL_LIB_CTX *libctx, CK_KEY_TYPE key_type, const struct km_attr_source *from, EVP_PKEY **ret)
{
    const ProtobufCBinaryData *params, *value;
    const struct km_domain *domain;
    const uint8_t *bare;
    EVP_PKEY *pkey = NULL;
    CK_RV rv;

    if (!km_key_type_is_pair(key_type))
        return CKR_KEY_TYPE_INCONSISTENT;
    if (key_type == CKK_RSA) {
        rv = build_rsa(libctx, from, ret);
        ERR_clear_error();
        return rv;
    }
    params = from->get(from->object, km_domain_attr(key_type));
    value = from->get(from->object, km_public_attr(key_type));
    if (params == NULL || value == NULL)
        return CKR_TEMPLATE_INCOMPLETE;
    rv = km_domain_check(key_type, params->data, params->len);
    if (rv != CKR_OK)
        return rv;
    domain = km_domain_by(key_type, params->data, params->len);
    bare = km_public_value(domain, value->data, value->len);
    if (bare == NULL)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (key_type == CKK_EC)
        pkey = build_ec(libctx, domain, bare);
    else
        pkey = EVP_PKEY_new_raw_public_key_ex(libctx, domain->name, NULL, bare, domain->public_len);
    ERR_clear_error();
    if (pkey == NULL)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    *ret = pkey;
    return CKR_OK;
}

size_t km_pubkey_block_len(CK_KEY_TYPE key_type, const struct km_attr_source *from)
{
    const struct km_domain *domain = km_domain_of(key_type, from);
    const ProtobufCBinaryData *modulus;
    size_t zeros = 0;

    if (key_type != CKK_RSA)
        return domain != NULL ? domain->signature_len : 0;
    modulus = from->get(from->object, CKA_MODULUS);
    while (modulus != NULL && zeros < modulus->len && modulus->data[zeros] == 0)
        zeros++;
    return modulus != NULL ? modulus->len - zeros : 0;
}
