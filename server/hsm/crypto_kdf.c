/* SPDX-License-Identifier: Apache-2.0
 *
 * Derivation functions: X9.63, HKDF (RFC 5869), SP 800-108 in its three modes, PBKDF2. The SP 800-108 ones are written
 * out, since PKCS#11 lets the program say where counter, length and data stand, which OpenSSL's KBKDF does not.
 */
#include "crypto_make.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include <string.h>

#define PRF_MAX EVP_MAX_MD_SIZE
#define ITERATIONS_MAX 10000000u

static const struct {
    CK_ULONG kdf, hmac, digest, derivation, prf;
    const char *md;
} hashes[] = {
    {CKD_SHA1_KDF, CKM_SHA_1_HMAC, CKM_SHA_1, CKM_SHA1_KEY_DERIVATION, CKP_PKCS5_PBKD2_HMAC_SHA1, "SHA1"},
    {CKD_SHA224_KDF, CKM_SHA224_HMAC, CKM_SHA224, CKM_SHA224_KEY_DERIVATION, CKP_PKCS5_PBKD2_HMAC_SHA224, "SHA224"},
    {CKD_SHA256_KDF, CKM_SHA256_HMAC, CKM_SHA256, CKM_SHA256_KEY_DERIVATION, CKP_PKCS5_PBKD2_HMAC_SHA256, "SHA256"},
    {CKD_SHA384_KDF, CKM_SHA384_HMAC, CKM_SHA384, CKM_SHA384_KEY_DERIVATION, CKP_PKCS5_PBKD2_HMAC_SHA384, "SHA384"},
    {CKD_SHA512_KDF, CKM_SHA512_HMAC, CKM_SHA512, CKM_SHA512_KEY_DERIVATION, CKP_PKCS5_PBKD2_HMAC_SHA512, "SHA512"},
    {CKD_SHA3_224_KDF, CKM_SHA3_224_HMAC, CKM_SHA3_224, CKM_SHA3_224_KEY_DERIVATION, 0, "SHA3-224"},
    {CKD_SHA3_256_KDF, CKM_SHA3_256_HMAC, CKM_SHA3_256, CKM_SHA3_256_KEY_DERIVATION, 0, "SHA3-256"},
    {CKD_SHA3_384_KDF, CKM_SHA3_384_HMAC, CKM_SHA3_384, CKM_SHA3_384_KEY_DERIVATION, 0, "SHA3-384"},
    {CKD_SHA3_512_KDF, CKM_SHA3_512_HMAC, CKM_SHA3_512, CKM_SHA3_512_KEY_DERIVATION, 0, "SHA3-512"},
    {CK_UNAVAILABLE_INFORMATION, 0, 0, 0, CKP_PKCS5_PBKD2_HMAC_SHA512_224, "SHA512-224"},
    {CK_UNAVAILABLE_INFORMATION, 0, 0, 0, CKP_PKCS5_PBKD2_HMAC_SHA512_256, "SHA512-256"},
};

const char *km_kdf_md(enum km_mech_scheme scheme, CK_ULONG id)
{
    if (scheme == KM_MS_ECDH && id == CKD_NULL)
        return "";
    for (size_t i = 0; id != 0 && i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        CK_ULONG mine = scheme == KM_MS_ECDH     ? hashes[i].kdf
                        : scheme == KM_MS_HKDF   ? hashes[i].digest
                        : scheme == KM_MS_HASH   ? hashes[i].derivation
                        : scheme == KM_MS_PBKDF2 ? hashes[i].prf
                                                 : hashes[i].hmac;
        if (mine == id)
            return hashes[i].md;
    }
    return NULL;
}

static CK_RV run(const char *kdf, OSSL_PARAM *params, struct km_secret *ret)
{
    EVP_KDF *fetched = EVP_KDF_fetch(NULL, kdf, NULL);
    EVP_KDF_CTX *ctx = fetched != NULL ? EVP_KDF_CTX_new(fetched) : NULL;
    bool is_done = ctx != NULL && EVP_KDF_derive(ctx, ret->data, ret->len, params) == 1;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(fetched);
    ERR_clear_error();
    return is_done ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* OpenSSL takes no NULL for an empty string of bytes. */
static OSSL_PARAM bytes(const char *name, const void *data, size_t len)
{
    return OSSL_PARAM_construct_octet_string(name, len > 0 ? (void *)(uintptr_t)data : (void *)(uintptr_t) "", len);
}

static OSSL_PARAM text(const char *name, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)value, 0);
}

CK_RV km_kdf_x963(const char *md, const struct km_secret *z, const ProtobufCBinaryData *shared, struct km_secret *ret)
{
    OSSL_PARAM params[] = {text(OSSL_KDF_PARAM_DIGEST, md), bytes(OSSL_KDF_PARAM_SECRET, z->data, z->len),
                           bytes(OSSL_KDF_PARAM_INFO, shared->data, shared->len), OSSL_PARAM_construct_end()};

    return run("X963KDF", params, ret);
}

CK_RV km_kdf_hkdf(const Kmw__Mechanism *param, const struct km_secret *key, const ProtobufCBinaryData *salt,
                  struct km_secret *ret)
{
    const char *md = km_kdf_md(KM_MS_HKDF, param->hash);
    int mode = !param->expands    ? EVP_KDF_HKDF_MODE_EXTRACT_ONLY
               : !param->extracts ? EVP_KDF_HKDF_MODE_EXPAND_ONLY
                                  : EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
    OSSL_PARAM params[6], *p = params;

    if (md == NULL || (!param->extracts && !param->expands))
        return CKR_MECHANISM_PARAM_INVALID;
    *p++ = text(OSSL_KDF_PARAM_DIGEST, md);
    *p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *p++ = bytes(OSSL_KDF_PARAM_KEY, key->data, key->len);
    if (param->extracts && salt->len > 0) /* without one: zeros, RFC 5869 2.2 */
        *p++ = bytes(OSSL_KDF_PARAM_SALT, salt->data, salt->len);
    if (param->expands)
        *p++ = bytes(OSSL_KDF_PARAM_INFO, param->shared_data.data, param->shared_data.len);
    *p = OSSL_PARAM_construct_end();
    return run("HKDF", params, ret);
}

CK_RV km_kdf_pbkdf2(const Kmw__Mechanism *param, struct km_secret *ret)
{
    const char *md = km_kdf_md(KM_MS_PBKDF2, param->kdf);
    uint64_t iterations = param->iterations;
    int lenient = 1; /* short salts and few iterations are the program's decision */
    OSSL_PARAM params[] = {text(OSSL_KDF_PARAM_DIGEST, md != NULL ? md : ""),
                           bytes(OSSL_KDF_PARAM_PASSWORD, param->password.data, param->password.len),
                           bytes(OSSL_KDF_PARAM_SALT, param->salt.data, param->salt.len),
                           OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_ITER, &iterations),
                           OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS5, &lenient),
                           OSSL_PARAM_construct_end()};

    if (md == NULL || iterations == 0 || iterations > ITERATIONS_MAX)
        return CKR_MECHANISM_PARAM_INVALID;
    return run("PBKDF2", params, ret);
}

/* --- SP 800-108 ----------------------------------------------------------------------------------------------------
 */

/* The length of what is asked for, as [L] of the input. */
static uint64_t asked_bits(const Kmw__KdfPart *part, const size_t *lens, size_t n, size_t prf_len)
{
    uint64_t bytes_asked = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t segments = (lens[i] + prf_len - 1) / prf_len;
        bytes_asked += part->method == CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS ? segments * prf_len : lens[i];
    }
    return bytes_asked * 8;
}

static bool feed_number(EVP_MAC_CTX *ctx, uint64_t value, unsigned bits, bool is_little_endian)
{
    uint8_t out[8];
    unsigned len = bits / 8;

    for (unsigned i = 0; i < len; i++)
        out[is_little_endian ? i : len - 1 - i] = (uint8_t)(value >> (8 * i));
    return EVP_MAC_update(ctx, out, len) == 1;
}

static bool is_part_good(const Kmw__KdfPart *part)
{
    if (part->type == CK_SP800_108_BYTE_ARRAY)
        return true;
    if (part->type == CK_SP800_108_ITERATION_VARIABLE && part->bits == 0)
        return true;
    return part->bits >= 8 && part->bits <= 64 && part->bits % 8 == 0;
}

struct sp800 {
    const struct km_mech *mech;
    const Kmw__Mechanism *param;
    const size_t *lens;
    size_t n, prf_len;
    EVP_MAC_CTX *keyed;
};

/* One application of the PRF: every part in the program's order. `before`: K(i-1) or A(i); NULL: fixed data only, for
 * A(1). */
static bool apply(const struct sp800 *s, uint64_t i, const uint8_t *before, size_t before_len, uint8_t *out)
{
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(s->keyed);
    bool is_counter = s->mech->scheme == KM_MS_SP800_COUNTER, is_good = ctx != NULL;
    size_t len = 0;

    for (size_t k = 0; k < s->param->n_parts && is_good; k++) {
        const Kmw__KdfPart *part = s->param->parts[k];
        if (part->type == CK_SP800_108_BYTE_ARRAY)
            is_good = part->data.len == 0 || EVP_MAC_update(ctx, part->data.data, part->data.len) == 1;
        else if (part->type == CK_SP800_108_DKM_LENGTH)
            is_good = feed_number(ctx, asked_bits(part, s->lens, s->n, s->prf_len), part->bits, part->is_little_endian);
        else if (before == NULL && !is_counter)
            continue;
        else if (part->type == CK_SP800_108_COUNTER || is_counter)
            is_good = feed_number(ctx, i, part->bits, part->is_little_endian);
        else
            is_good = before_len == 0 || EVP_MAC_update(ctx, before, before_len) == 1;
    }
    is_good = is_good && EVP_MAC_final(ctx, out, &len, PRF_MAX) == 1 && len == s->prf_len;
    EVP_MAC_CTX_free(ctx);
    return is_good;
}

static bool mac_of(const struct sp800 *s, const uint8_t *data, size_t len, uint8_t *out)
{
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(s->keyed);
    size_t n = 0;
    bool is_good = ctx != NULL && EVP_MAC_update(ctx, data, len) == 1 && EVP_MAC_final(ctx, out, &n, PRF_MAX) == 1;

    EVP_MAC_CTX_free(ctx);
    return is_good;
}

static EVP_MAC_CTX *prf_keyed(CK_ULONG type, const struct km_secret *key)
{
    static const char *const ciphers[] = {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"};
    bool is_cmac = type == CKM_AES_CMAC;
    const char *md = km_kdf_md(KM_MS_SP800_COUNTER, type);
    EVP_MAC *mac = md != NULL || is_cmac ? EVP_MAC_fetch(NULL, is_cmac ? "CMAC" : "HMAC", NULL) : NULL;
    EVP_MAC_CTX *ctx = NULL;
    OSSL_PARAM params[2] = {OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end()};

    if (mac == NULL || (is_cmac && key->len != 16 && key->len != 24 && key->len != 32))
        goto out;
    params[0] = is_cmac ? text(OSSL_MAC_PARAM_CIPHER, ciphers[key->len / 8 - 2]) : text(OSSL_MAC_PARAM_DIGEST, md);
    ctx = EVP_MAC_CTX_new(mac);
    if (ctx != NULL && EVP_MAC_init(ctx, key->data, key->len, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
out:
    EVP_MAC_free(mac);
    return ctx;
}

/* A counter that is too narrow would come again. */
static CK_RV check_parts(const struct sp800 *s, size_t blocks)
{
    bool is_counter = s->mech->scheme == KM_MS_SP800_COUNTER;
    unsigned variables = 0;

    for (size_t k = 0; k < s->param->n_parts; k++) {
        const Kmw__KdfPart *part = s->param->parts[k];
        bool counts =
            part->type == CK_SP800_108_COUNTER || (part->type == CK_SP800_108_ITERATION_VARIABLE && is_counter);
        if (part->type < CK_SP800_108_ITERATION_VARIABLE || part->type > CK_SP800_108_BYTE_ARRAY || !is_part_good(part))
            return CKR_MECHANISM_PARAM_INVALID;
        if (counts && (part->bits == 0 || (part->bits < 32 && blocks >= (size_t)1 << part->bits)))
            return CKR_MECHANISM_PARAM_INVALID;
        if (part->type == CK_SP800_108_COUNTER && is_counter)
            return CKR_MECHANISM_PARAM_INVALID;
        variables += part->type == CK_SP800_108_ITERATION_VARIABLE;
    }
    return variables == 1 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

static bool fill(const struct sp800 *s, struct km_secret *ret)
{
    bool is_double = s->mech->scheme == KM_MS_SP800_DOUBLE;
    uint8_t block[PRF_MAX], before[PRF_MAX];
    const uint8_t *fed = s->param->salt.data; /* feedback: K(0) is the IV */
    size_t fed_len = s->param->salt.len, done = 0;
    bool is_good = true;

    for (uint64_t i = 1; done < ret->len && is_good; i++) {
        size_t part = ret->len - done < s->prf_len ? ret->len - done : s->prf_len;
        if (is_double) { /* A(1) is the PRF of the fixed data, A(i) that of A(i-1) */
            is_good = i == 1 ? apply(s, i, NULL, 0, before) : mac_of(s, before, s->prf_len, before);
            fed = before;
            fed_len = s->prf_len;
        }
        is_good = is_good && apply(s, i, fed != NULL ? fed : (const uint8_t *)"", fed_len, block);
        if (is_good)
            memcpy(ret->data + done, block, part);
        done += part;
        if (s->mech->scheme == KM_MS_SP800_FEEDBACK) {
            memcpy(before, block, s->prf_len);
            fed = before;
            fed_len = s->prf_len;
        }
    }
    km_wipe(block, sizeof(block));
    km_wipe(before, sizeof(before));
    return is_good;
}

CK_RV km_kdf_sp800_108(const struct km_mech *mech, const Kmw__Mechanism *param, const struct km_secret *key,
                       const size_t *lens, size_t n, struct km_secret *ret)
{
    struct sp800 s = {.mech = mech, .param = param, .lens = lens, .n = n, .keyed = prf_keyed(param->kdf, key)};
    CK_RV rv = CKR_MECHANISM_PARAM_INVALID;

    if (s.keyed != NULL) {
        s.prf_len = EVP_MAC_CTX_get_mac_size(s.keyed);
        rv = check_parts(&s, ret->len / s.prf_len + 1);
    }
    if (rv == CKR_OK)
        rv = fill(&s, ret) ? CKR_OK : CKR_FUNCTION_FAILED;
    EVP_MAC_CTX_free(s.keyed);
    ERR_clear_error();
    return rv;
}
