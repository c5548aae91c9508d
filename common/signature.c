/* SPDX-License-Identifier: Apache-2.0
 *
 * EdDSA (RFC 8032). With no parameter or an empty one Ed25519 is the pure scheme: Ed25519ctx without a context, which
 * PKCS#11 v3.2 6.3.14 would read an empty one as, is what RFC 8032 8.3 advises against and OpenSSL does not make. No
 * state; any thread.
 */
#include "signature.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX 6
#define HAS_VARIANTS (OPENSSL_VERSION_NUMBER >= 0x30200000L) /* of EdDSA */

CK_RV km_signature_check_param(const struct km_domain *domain, const Kmw__Mechanism *param)
{
    if (param->context.len > KM_CONTEXT_MAX)
        return CKR_MECHANISM_PARAM_INVALID;
    if (domain->key_type == CKK_EC_EDWARDS && !HAS_VARIANTS && (param->is_prehashed || param->context.len > 0))
        return CKR_MECHANISM_PARAM_INVALID;
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

static void set_params(const struct km_domain *domain, const Kmw__Mechanism *param, OSSL_PARAM params[PARAMS_MAX])
{
    size_t n = 0;

    if (domain->key_type == CKK_EC_EDWARDS)
        params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_INSTANCE,
                                                       (char *)(uintptr_t)instance_of(domain, param), 0);
    if (param->context.len > 0)
        params[n++] = OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, param->context.data,
                                                        param->context.len);
    params[n] = OSSL_PARAM_construct_end();
}
#else
static void set_params(const struct km_domain *domain, const Kmw__Mechanism *param, OSSL_PARAM params[PARAMS_MAX])
{
    (void)domain;
    (void)param;
    params[0] = OSSL_PARAM_construct_end();
}
#endif

CK_RV km_signature_make(EVP_PKEY *pkey, const struct km_domain *domain, const struct km_mech *mech,
                        const Kmw__Mechanism *param, const uint8_t *data, size_t len, uint8_t **ret, size_t *ret_len)
{
    static const uint8_t nothing[1];
    OSSL_PARAM params[PARAMS_MAX];
    EVP_MD_CTX *ctx = NULL;
    uint8_t *out = NULL;
    size_t out_len = domain->signature_len;
    CK_RV rv = km_signature_check_param(domain, param);

    (void)mech;
    if (rv != CKR_OK)
        return rv;
    rv = CKR_HOST_MEMORY;
    out = malloc(out_len);
    ctx = EVP_MD_CTX_new();
    if (out == NULL || ctx == NULL)
        goto out;
    set_params(domain, param, params);
    rv = CKR_FUNCTION_FAILED;
    if (EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, pkey, params) != 1 ||
        EVP_DigestSign(ctx, out, &out_len, data != NULL ? data : nothing, len) != 1)
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
    static const uint8_t nothing[1];
    OSSL_PARAM params[PARAMS_MAX];
    EVP_MD_CTX *ctx = NULL;
    CK_RV rv = km_signature_check_param(domain, param);

    (void)mech;
    if (rv != CKR_OK)
        return rv;
    if (signature_len != domain->signature_len)
        return CKR_SIGNATURE_LEN_RANGE;
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        return CKR_HOST_MEMORY;
    set_params(domain, param, params);
    rv = CKR_FUNCTION_FAILED;
    if (EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, pkey, params) == 1)
        rv = EVP_DigestVerify(ctx, signature, signature_len, data != NULL ? data : nothing, len) == 1
                 ? CKR_OK
                 : CKR_SIGNATURE_INVALID;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return rv;
}
