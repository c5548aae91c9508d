/* SPDX-License-Identifier: Apache-2.0
 *
 * EdDSA (RFC 8032), ML-DSA (FIPS 204) and SLH-DSA (FIPS 205). With no parameter or an empty one Ed25519 is the pure
 * scheme: Ed25519ctx without a context, which PKCS#11 v3.2 6.3.14 would read an empty one as, is what RFC 8032 8.3
 * advises against and OpenSSL does not make. OpenSSL has no HashML-DSA and HashSLH-DSA, but signs the message that
 * these make of a hash. No state; any thread.
 */
#include "signature.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX 6
#define HAS_VARIANTS (OPENSSL_VERSION_NUMBER >= 0x30200000L) /* of EdDSA */
#define HAS_PQC (OPENSSL_VERSION_NUMBER >= 0x30500000L)
#define OID_LEN 11
#define MARKED_MAX (2 + KM_CONTEXT_MAX + OID_LEN + EVP_MAX_MD_SIZE)

/* What is signed, and OpenSSL's parameters for it. */
struct setup {
    const uint8_t *data;
    size_t len;
    OSSL_PARAM params[PARAMS_MAX];
    int is_deterministic, encoding;
    uint8_t marked[MARKED_MAX];
};

/* The hashes that have no mechanism but in these signatures: FIPS 204 5.4.1 says how long they are. */
static const struct shake {
    const char *md;
    size_t len;
    uint8_t oid;
} shakes[] = {{"SHAKE128", 32, 11}, {"SHAKE256", 64, 12}};

static const struct shake *shake_of(const struct km_mech *mech)
{
    for (size_t i = 0; i < sizeof(shakes) / sizeof(shakes[0]); i++)
        if (mech->md != NULL && strcmp(shakes[i].md, mech->md) == 0)
            return &shakes[i];
    return NULL;
}

static const struct km_hash *hash_of(const struct km_mech *mech, const Kmw__Mechanism *param)
{
    CK_MECHANISM_TYPE digest = mech->param == KM_MP_HASH_CONTEXT ? param->hash : mech->digest;

    for (size_t i = 0; i < KM_HASHES; i++)
        if (km_hashes[i].digest == digest && km_hashes[i].oid != 0)
            return &km_hashes[i];
    return NULL;
}

CK_RV km_signature_check_param(const struct km_domain *domain, const struct km_mech *mech, const Kmw__Mechanism *param)
{
    bool is_eddsa = domain->key_type == CKK_EC_EDWARDS;

    if (param->context.len > KM_CONTEXT_MAX || param->hedge > CKH_DETERMINISTIC_REQUIRED)
        return CKR_MECHANISM_PARAM_INVALID;
    if (is_eddsa && !HAS_VARIANTS && (param->is_prehashed || param->context.len > 0))
        return CKR_MECHANISM_PARAM_INVALID;
    if (mech->scheme == KM_MS_PREHASH && shake_of(mech) == NULL && hash_of(mech, param) == NULL)
        return CKR_MECHANISM_PARAM_INVALID;
    return CKR_OK;
}

static bool shake(OSSL_LIB_CTX *libctx, const struct shake *how, const uint8_t *data, size_t len, uint8_t *ret)
{
    EVP_MD *md = EVP_MD_fetch(libctx, how->md, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool is_done = md != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
                   EVP_DigestUpdate(ctx, data, len) == 1 && EVP_DigestFinalXOF(ctx, ret, how->len) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return is_done;
}

/* FIPS 204 algorithm 4, FIPS 205 algorithm 23: 1, the context with its length, the hash with its OID. */
static CK_RV mark_hash(OSSL_LIB_CTX *libctx, const struct km_mech *mech, const Kmw__Mechanism *param, struct setup *s)
{
    static const uint8_t oid[OID_LEN - 1] = {0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02};
    const struct shake *xof = shake_of(mech);
    const struct km_hash *hash = xof == NULL ? hash_of(mech, param) : NULL;
    uint8_t *at = s->marked;

    *at++ = 1;
    *at++ = (uint8_t)param->context.len;
    if (param->context.len > 0)
        memcpy(at, param->context.data, param->context.len);
    at += param->context.len;
    memcpy(at, oid, sizeof(oid));
    at += sizeof(oid);
    *at++ = xof != NULL ? xof->oid : hash->oid;
    if (xof != NULL) {
        if (!shake(libctx, xof, s->data, s->len, at))
            return CKR_FUNCTION_FAILED;
        at += xof->len;
    } else {
        if (s->len != hash->len)
            return CKR_DATA_LEN_RANGE;
        memcpy(at, s->data, hash->len);
        at += hash->len;
    }
    s->data = s->marked;
    s->len = (size_t)(at - s->marked);
    return CKR_OK;
}

#if HAS_VARIANTS
static const char *instance_of(const struct km_domain *domain, const Kmw__Mechanism *param)
{
    if (domain->bits == 448)
        return param->is_prehashed ? "Ed448ph" : "Ed448";
    if (param->is_prehashed)
        return "Ed25519ph";
    return param->context.len > 0 ? "Ed25519ctx" : "Ed25519";
}
#endif

static void set_params(const struct km_domain *domain, const struct km_mech *mech, const Kmw__Mechanism *param,
                       struct setup *s)
{
    size_t n = 0;

    (void)mech;
    (void)param;
    (void)domain;
#if HAS_VARIANTS
    if (domain->key_type == CKK_EC_EDWARDS)
        s->params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_INSTANCE,
                                                          (char *)(uintptr_t)instance_of(domain, param), 0);
    if (param->context.len > 0 && mech->scheme == KM_MS_MESSAGE)
        s->params[n++] = OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, param->context.data,
                                                           param->context.len);
#endif
#if HAS_PQC
    s->is_deterministic = param->hedge == CKH_DETERMINISTIC_REQUIRED;
    s->encoding = mech->scheme == KM_MS_PREHASH ? 0 /* as it is */ : 1 /* FIPS 204 algorithm 2 */;
    if (domain->set != 0) {
        s->params[n++] = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_DETERMINISTIC, &s->is_deterministic);
        s->params[n++] = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_MESSAGE_ENCODING, &s->encoding);
    }
#endif
    s->params[n] = OSSL_PARAM_construct_end();
}

static CK_RV set_up(OSSL_LIB_CTX *libctx, const struct km_domain *domain, const struct km_mech *mech,
                    const Kmw__Mechanism *param, const uint8_t *data, size_t len, struct setup *s)
{
    static const uint8_t nothing[1];
    CK_RV rv = km_signature_check_param(domain, mech, param);

    if (rv != CKR_OK)
        return rv;
    s->data = data != NULL ? data : nothing;
    s->len = len;
    set_params(domain, mech, param, s);
    return mech->scheme == KM_MS_PREHASH ? mark_hash(libctx, mech, param, s) : CKR_OK;
}

CK_RV km_signature_make(EVP_PKEY *pkey, const struct km_domain *domain, const struct km_mech *mech,
                        const Kmw__Mechanism *param, const uint8_t *data, size_t len, uint8_t **ret, size_t *ret_len)
{
    struct setup s;
    EVP_MD_CTX *ctx = NULL;
    uint8_t *out = NULL;
    size_t out_len = domain->signature_len;
    CK_RV rv = set_up(NULL, domain, mech, param, data, len, &s);

    if (rv != CKR_OK)
        return rv;
    rv = CKR_HOST_MEMORY;
    out = malloc(out_len);
    ctx = EVP_MD_CTX_new();
    if (out == NULL || ctx == NULL)
        goto out;
    rv = CKR_FUNCTION_FAILED;
    if (EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, pkey, s.params) != 1 ||
        EVP_DigestSign(ctx, out, &out_len, s.data, s.len) != 1)
        goto out;
    *ret = out;
    *ret_len = out_len;
    out = NULL;
    rv = CKR_OK;
out:
    free(out);
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return rv;
}

CK_RV km_signature_check(OSSL_LIB_CTX *libctx, EVP_PKEY *pkey, const struct km_domain *domain,
                         const struct km_mech *mech, const Kmw__Mechanism *param, const uint8_t *data, size_t len,
                         const uint8_t *signature, size_t signature_len)
{
    struct setup s;
    EVP_MD_CTX *ctx = NULL;
    CK_RV rv = set_up(libctx, domain, mech, param, data, len, &s);

    if (rv != CKR_OK)
        return rv;
    if (signature_len != domain->signature_len)
        return CKR_SIGNATURE_LEN_RANGE;
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        return CKR_HOST_MEMORY;
    rv = CKR_FUNCTION_FAILED;
    if (EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, pkey, s.params) == 1)
        rv = EVP_DigestVerify(ctx, signature, signature_len, s.data, s.len) == 1 ? CKR_OK : CKR_SIGNATURE_INVALID;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return rv;
}
