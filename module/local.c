/* SPDX-License-Identifier: Apache-2.0
 *
 * Computations with public data. The library context is the module's own even where OpenSSL is shared with the host, so
 * that a host whose OpenSSL loads this module as a provider cannot recurse into it. Algorithms are fetched once. No
 * state after km_local_init.
 */
#include "local.h"

#include "../common/attr.h"
#include "guard.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

static OSSL_LIB_CTX *libctx;
static EVP_MD *hashes[KM_HASHES];
static const struct {
    int nid;
    size_t len;
} curves[] = {{NID_X9_62_prime256v1, 32}, {NID_secp384r1, 48}, {NID_secp521r1, 66}};
#define N_CURVES (sizeof(curves) / sizeof(curves[0]))

bool km_local_init(void)
{
    if (libctx == NULL)
        libctx = OSSL_LIB_CTX_new();
    if (libctx == NULL)
        return false;
    for (size_t i = 0; i < KM_HASHES; i++) {
        if (hashes[i] == NULL)
            hashes[i] = EVP_MD_fetch(libctx, km_hashes[i].md, NULL);
        if (hashes[i] == NULL)
            return false;
    }
    return true;
}

OSSL_LIB_CTX *km_local_context(void)
{
    return libctx;
}

bool km_local_computes(const struct km_mech *mech, enum km_operation_kind kind)
{
    return (kind == KM_OP_VERIFY || kind == KM_OP_ENCRYPT) && (mech->key_type == CKK_RSA || mech->key_type == CKK_EC);
}

static const EVP_MD *find_md(const char *name)
{
    for (size_t i = 0; i < KM_HASHES; i++)
        if (name != NULL && strcmp(km_hashes[i].md, name) == 0)
            return hashes[i];
    return NULL;
}

CK_RV km_local_digest(const char *md, EVP_MD_CTX **ret)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    KM_REQUIRE(ctx != NULL, CKR_HOST_MEMORY);
    if (EVP_DigestInit_ex2(ctx, find_md(md), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        return CKR_FUNCTION_FAILED;
    }
    *ret = ctx;
    return CKR_OK;
}

CK_RV km_local_hash(const char *md, const uint8_t *data, size_t len, uint8_t *ret)
{
    return EVP_Digest(data, len, ret, NULL, find_md(md), NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

size_t km_local_digest_len(const char *md)
{
    return (size_t)EVP_MD_get_size(find_md(md));
}

static int curve_of(const uint8_t *params, size_t len)
{
    ASN1_OBJECT *oid = d2i_ASN1_OBJECT(NULL, &(const unsigned char *){params}, (long)len);
    int nid = oid == NULL ? NID_undef : OBJ_obj2nid(oid);

    ASN1_OBJECT_free(oid);
    return nid;
}

size_t km_local_curve_len(const uint8_t *params, size_t len)
{
    int nid = curve_of(params, len);

    for (size_t i = 0; i < N_CURVES; i++)
        if (curves[i].nid == nid)
            return curves[i].len;
    return 0;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY *key = NULL;

    if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *rsa_key(const Kmw__Attr *modulus, const Kmw__Attr *exponent)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *n = NULL, *e = NULL;
    EVP_PKEY *key = NULL;

    if (builder == NULL || modulus->value.len > 2048 || exponent->value.len > 2048)
        goto out;
    n = BN_bin2bn(modulus->value.data, (int)modulus->value.len, NULL);
    e = BN_bin2bn(exponent->value.data, (int)exponent->value.len, NULL);
    if (n != NULL && e != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e))
        key = from_params("RSA", builder);
out:
    BN_free(n);
    BN_free(e);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

/* CKA_EC_POINT is a DER OCTET STRING; the bare point is taken too, since programs pass it. */
static EVP_PKEY *ec_key(const Kmw__Attr *params, const Kmw__Attr *point)
{
    size_t len = km_local_curve_len(params->value.data, params->value.len);
    ASN1_OCTET_STRING *octets = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    const uint8_t *data = point->value.data;
    size_t data_len = point->value.len;
    EVP_PKEY *key = NULL;

    if (builder == NULL || len == 0)
        goto out;
    if (data_len != 2 * len + 1) {
        octets = d2i_ASN1_OCTET_STRING(NULL, &(const unsigned char *){data}, (long)data_len);
        if (octets == NULL)
            goto out;
        data = ASN1_STRING_get0_data(octets);
        data_len = (size_t)ASN1_STRING_length(octets);
    }
    if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME,
                                        OBJ_nid2sn(curve_of(params->value.data, params->value.len)), 0) &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, data, data_len))
        key = from_params("EC", builder);
out:
    ASN1_OCTET_STRING_free(octets);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

CK_RV km_local_public_key_of(Kmw__Attr *const *attrs, size_t n, EVP_PKEY **ret)
{
    CK_KEY_TYPE type = km_attr_ulong(attrs, n, CKA_KEY_TYPE, KM_KEY_TYPE_ANY);
    bool is_rsa = type == CKK_RSA;
    const Kmw__Attr *a = km_attr_find(attrs, n, is_rsa ? CKA_MODULUS : CKA_EC_PARAMS);
    const Kmw__Attr *b = km_attr_find(attrs, n, is_rsa ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT);

    KM_REQUIRE(is_rsa || type == CKK_EC, CKR_ATTRIBUTE_VALUE_INVALID);
    KM_REQUIRE(a != NULL && b != NULL, CKR_ATTRIBUTE_VALUE_INVALID);
    *ret = is_rsa ? rsa_key(a, b) : ec_key(a, b);
    ERR_clear_error();
    return *ret != NULL ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

CK_RV km_local_public_key(const struct km_view *view, EVP_PKEY **ret)
{
    CK_RV rv = km_local_public_key_of(view->object->attrs, view->object->n_attrs, ret);

    return rv == CKR_OK ? CKR_OK : CKR_KEY_TYPE_INCONSISTENT;
}

CK_RV km_local_public_key_info(EVP_PKEY *key, uint8_t **ret, size_t *ret_len)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);

    KM_REQUIRE(len > 0, CKR_FUNCTION_FAILED);
    *ret = malloc((size_t)len);
    if (*ret != NULL)
        memcpy(*ret, der, (size_t)len);
    OPENSSL_free(der);
    *ret_len = (size_t)len;
    return *ret != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

/* --- operations --- */

static bool set_padding(EVP_PKEY_CTX *ctx, const struct km_operation *op)
{
    const Kmw__Mechanism *param = op->param;

    switch (op->mech->scheme) {
    case KM_MS_PKCS1:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
               (op->mech->md == NULL || EVP_PKEY_CTX_set_signature_md(ctx, find_md(op->mech->md)) == 1);
    case KM_MS_PSS:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_signature_md(ctx, find_md(km_mech_md(param->hash, NULL))) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, find_md(km_mech_mgf_md(param->mgf, NULL))) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)param->salt_len) == 1;
    case KM_MS_OAEP:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_oaep_md(ctx, find_md(km_mech_md(param->hash, NULL))) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, find_md(km_mech_mgf_md(param->mgf, NULL))) == 1;
    case KM_MS_ECDSA:
        return true;
    default:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1;
    }
}

/* r || s to the DER that OpenSSL wants; malloc'ed by OpenSSL. */
static int ecdsa_to_der(const uint8_t *signature, size_t len, unsigned char **ret)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, (int)(len / 2), NULL);
    BIGNUM *s = BN_bin2bn(signature + len / 2, (int)(len / 2), NULL);
    int der_len = -1;

    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL;
        der_len = i2d_ECDSA_SIG(sig, ret);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return der_len;
}

static CK_RV check_verify_lens(const struct km_operation *op, size_t len, size_t signature_len)
{
    size_t hash_len = 0;

    KM_REQUIRE(signature_len == km_operation_block_len(op), CKR_SIGNATURE_LEN_RANGE);
    if (op->mech->scheme == KM_MS_PSS)
        KM_REQUIRE(km_mech_md(op->param->hash, &hash_len) != NULL && len == hash_len, CKR_DATA_LEN_RANGE);
    return CKR_OK;
}

CK_RV km_local_verify(const struct km_operation *op, const uint8_t *data, size_t len, const uint8_t *signature,
                      size_t signature_len)
{
    EVP_PKEY_CTX *ctx = NULL;
    unsigned char *der = NULL;
    int der_len = 0, good = -1;

    KM_TRY(check_verify_lens(op, len, signature_len));
    if (op->mech->scheme == KM_MS_ECDSA)
        der_len = ecdsa_to_der(signature, signature_len, &der);
    ctx = EVP_PKEY_CTX_new_from_pkey(libctx, op->public_key, NULL);
    if (ctx != NULL && der_len >= 0 && EVP_PKEY_verify_init(ctx) == 1 && set_padding(ctx, op))
        good = EVP_PKEY_verify(ctx, der != NULL ? der : signature, der != NULL ? (size_t)der_len : signature_len,
                               data != NULL ? data : (const uint8_t *)"", len);
    OPENSSL_free(der);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return good == 1 ? CKR_OK : CKR_SIGNATURE_INVALID;
}

CK_RV km_local_encrypt(const struct km_operation *op, const uint8_t *data, size_t len, struct km_buffer *ret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, op->public_key, NULL);
    size_t out_len = km_operation_block_len(op);
    uint8_t *out = malloc(out_len + 1), *label = NULL;
    CK_RV rv = CKR_HOST_MEMORY;

    if (ctx == NULL || out == NULL)
        goto out;
    rv = CKR_FUNCTION_FAILED;
    if (EVP_PKEY_encrypt_init(ctx) != 1 || !set_padding(ctx, op))
        goto out;
    if (op->param->label.len > 0) {
        label = OPENSSL_memdup(op->param->label.data, op->param->label.len);
        if (label == NULL || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, (int)op->param->label.len) != 1)
            goto out;
        label = NULL; /* the context's now */
    }
    rv = CKR_DATA_LEN_RANGE;
    if (EVP_PKEY_encrypt(ctx, out, &out_len, data != NULL ? data : (const uint8_t *)"", len) != 1)
        goto out;
    rv = km_buffer_add(ret, out, out_len, SIZE_MAX);
out:
    OPENSSL_free(label);
    free(out);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return rv;
}

bool km_local_random(uint8_t *ret, size_t len)
{
    return RAND_bytes_ex(libctx, ret, len, 0) == 1;
}
