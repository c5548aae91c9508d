/* SPDX-License-Identifier: Apache-2.0
 *
 * C_DeriveKey: from a loaded key to the bytes of a new one. Each mechanism is a row: how much comes out by itself, and
 * the function that makes it. Which of its bytes a shorter key takes is the mechanism's: the last ones of an agreed
 * secret, the first ones of all else.
 */
#include "crypto_make.h"

#include "pubkey.h"

#include <openssl/err.h>

#include <string.h>

#define BLOCK 16
#define POINT_MAX 256

struct job {
    const struct km_loaded *base, *other;
    const struct km_mech *mech;
    const Kmw__Mechanism *param;
    const size_t *lens;
    size_t n;
    bool is_whole;
};

/* --- one function for each scheme: fills `ret`, which has the length that was asked for or that comes by itself -----
 */

static EVP_PKEY *peer_of(const struct km_loaded *base, const ProtobufCBinaryData *point)
{
    const uint8_t *data = point->data;
    size_t len = point->len, coordinate = ((size_t)EVP_PKEY_get_bits(base->pkey) + 7) / 8;
    EVP_PKEY *peer = EVP_PKEY_new();
    bool is_good;

    /* A DER OCTET STRING around the point is as good (PKCS#11 v3.2 6.3.8). Both begin with 0x04, so the length decides.
     */
    if (len != 1 + 2 * coordinate && len > 2 && len < POINT_MAX && data[0] == 0x04) {
        if (data[1] < 0x80 && (size_t)data[1] + 2 == len)
            data += 2, len -= 2;
        else if (data[1] == 0x81 && (size_t)data[2] + 3 == len)
            data += 3, len -= 3;
    }
    if (EVP_PKEY_is_a(base->pkey, "EC")) {
        is_good = peer != NULL && EVP_PKEY_copy_parameters(peer, base->pkey) == 1 &&
                  EVP_PKEY_set1_encoded_public_key(peer, data, len) == 1;
    } else {
        EVP_PKEY_free(peer);
        peer = EVP_PKEY_new_raw_public_key_ex(NULL, EVP_PKEY_get0_type_name(base->pkey), NULL, data, len);
        is_good = peer != NULL;
    }
    if (is_good)
        return peer;
    EVP_PKEY_free(peer);
    return NULL;
}

/* The shared secret, as long as a coordinate. The peer's point is checked to be on the curve. */
static CK_RV agree(const struct job *job, struct km_secret *ret)
{
    EVP_PKEY *peer = peer_of(job->base, &job->param->public_data);
    EVP_PKEY_CTX *ctx = NULL;
    size_t len = 0;
    CK_RV rv = CKR_MECHANISM_PARAM_INVALID;

    if (peer == NULL)
        goto out;
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, job->base->pkey, NULL);
    if (ctx == NULL || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, peer) != 1 ||
        EVP_PKEY_derive(ctx, NULL, &len) != 1)
        goto out;
    rv = km_secret_new(ret, len) == KM_OK ? CKR_OK : CKR_DEVICE_MEMORY;
    if (rv == CKR_OK && EVP_PKEY_derive(ctx, ret->data, &len) != 1) {
        km_secret_free(ret);
        rv = CKR_MECHANISM_PARAM_INVALID; /* a point of small order */
    }
out:
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    ERR_clear_error();
    return rv;
}

static CK_RV ecdh(const struct job *job, struct km_secret *ret)
{
    const char *md = km_kdf_md(KM_MS_ECDH, job->param->kdf);
    struct km_secret z = KM_SECRET_EMPTY;
    CK_RV rv = agree(job, &z);

    if (rv == CKR_OK && md[0] == '\0') {
        if (ret->len > z.len)
            rv = CKR_KEY_SIZE_RANGE;
        else
            memcpy(ret->data, z.data + z.len - ret->len, ret->len);
    } else if (rv == CKR_OK) {
        rv = km_kdf_x963(md, &z, &job->param->shared_data, ret);
    }
    km_secret_free(&z);
    return rv;
}

static CK_RV hkdf(const struct job *job, struct km_secret *ret)
{
    ProtobufCBinaryData salt = job->param->salt;
    struct km_secret whole = KM_SECRET_EMPTY;
    const char *md = km_kdf_md(KM_MS_HKDF, job->param->hash);
    int size = md != NULL ? EVP_MD_get_size(EVP_get_digestbyname(md)) : 0;
    CK_RV rv;

    if (job->other != NULL)
        salt = (ProtobufCBinaryData){job->other->raw.len, job->other->raw.data};
    if (job->param->expands || size <= 0 || ret->len == (size_t)size)
        return km_kdf_hkdf(job->param, &job->base->raw, &salt, ret);
    if (ret->len > (size_t)size)
        return CKR_KEY_SIZE_RANGE;
    if (km_secret_new(&whole, (size_t)size) != KM_OK)
        return CKR_DEVICE_MEMORY;
    rv = km_kdf_hkdf(job->param, &job->base->raw, &salt, &whole);
    if (rv == CKR_OK)
        memcpy(ret->data, whole.data, ret->len);
    km_secret_free(&whole);
    return rv;
}

static CK_RV sp800_108(const struct job *job, struct km_secret *ret)
{
    return km_kdf_sp800_108(job->mech, job->param, &job->base->raw, job->lens, job->n, ret);
}

/* As many bytes of `from` as still fit. */
static size_t append(struct km_secret *ret, size_t at, const uint8_t *from, size_t len)
{
    size_t n = len < ret->len - at ? len : ret->len - at;

    if (n > 0)
        memcpy(ret->data + at, from, n);
    return at + n;
}

static CK_RV concatenate(const struct job *job, struct km_secret *ret)
{
    const struct km_secret *base = &job->base->raw;
    const ProtobufCBinaryData *data = &job->param->shared_data;
    size_t at = 0;

    if (job->mech->scheme == KM_MS_DATA_CONCAT)
        at = append(ret, at, data->data, data->len);
    at = append(ret, at, base->data, base->len);
    if (job->mech->scheme == KM_MS_CONCAT_DATA)
        at = append(ret, at, data->data, data->len);
    if (job->mech->scheme == KM_MS_CONCAT_KEY)
        at = append(ret, at, job->other->raw.data, job->other->raw.len);
    return at == ret->len ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

static CK_RV xor_data(const struct job *job, struct km_secret *ret)
{
    const ProtobufCBinaryData *data = &job->param->shared_data;

    if (ret->len > job->base->raw.len || ret->len > data->len)
        return CKR_KEY_SIZE_RANGE;
    for (size_t i = 0; i < ret->len; i++)
        ret->data[i] = job->base->raw.data[i] ^ data->data[i];
    return CKR_OK;
}

/* Bit 0 is the first byte's highest; behind the last bit comes the first. */
static CK_RV extract(const struct job *job, struct km_secret *ret)
{
    const struct km_secret *base = &job->base->raw;
    uint64_t bits = base->len * 8, start = job->param->bits;

    if (start >= bits)
        return CKR_MECHANISM_PARAM_INVALID;
    if (ret->len > base->len)
        return CKR_KEY_SIZE_RANGE;
    memset(ret->data, 0, ret->len);
    for (uint64_t i = 0; i < ret->len * 8; i++) {
        uint64_t from = (start + i) % bits;
        ret->data[i / 8] |= (uint8_t)((base->data[from / 8] >> (7 - from % 8) & 1) << (7 - i % 8));
    }
    return CKR_OK;
}

static CK_RV encrypt_data(const struct job *job, struct km_secret *ret)
{
    static const char *const names[2][3] = {{"AES-128-ECB", "AES-192-ECB", "AES-256-ECB"},
                                            {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"}};
    const ProtobufCBinaryData *data = &job->param->shared_data;
    bool has_iv = job->param->iv.len > 0;
    struct km_secret text = KM_SECRET_EMPTY;
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctx;
    int n = 0;
    CK_RV rv = CKR_FUNCTION_FAILED;

    if (job->base->key_type != CKK_AES)
        return CKR_KEY_TYPE_INCONSISTENT;
    if (data->len % BLOCK != 0 || data->len == 0 || data->len > KM_DERIVED_MAX ||
        (has_iv && job->param->iv.len != BLOCK))
        return CKR_MECHANISM_PARAM_INVALID;
    if (ret->len > data->len)
        return CKR_KEY_SIZE_RANGE;
    if (km_secret_new(&text, data->len) != KM_OK)
        return CKR_DEVICE_MEMORY;
    cipher = EVP_CIPHER_fetch(NULL, names[has_iv][job->base->len / 8 - 2], NULL);
    ctx = EVP_CIPHER_CTX_new();
    if (ctx != NULL && cipher != NULL &&
        EVP_EncryptInit_ex2(ctx, cipher, job->base->raw.data, has_iv ? job->param->iv.data : NULL, NULL) == 1 &&
        EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
        EVP_EncryptUpdate(ctx, text.data, &n, data->data, (int)data->len) == 1 && (size_t)n == data->len)
        rv = CKR_OK;
    if (rv == CKR_OK)
        memcpy(ret->data, text.data, ret->len);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    ERR_clear_error();
    km_secret_free(&text);
    return rv;
}

static CK_RV hash(const struct job *job, struct km_secret *ret)
{
    const char *md = km_kdf_md(KM_MS_HASH, job->mech->type);
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t len = 0;
    bool is_done = EVP_Q_digest(NULL, md, NULL, job->base->raw.data, job->base->raw.len, digest, &len) == 1;

    if (is_done && ret->len <= len)
        memcpy(ret->data, digest, ret->len);
    km_wipe(digest, sizeof(digest));
    ERR_clear_error();
    return !is_done ? CKR_FUNCTION_FAILED : ret->len <= len ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

static CK_RV shake(const struct job *job, struct km_secret *ret)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = job->mech->type == CKM_SHAKE_128_KEY_DERIVATION ? EVP_shake128() : EVP_shake256();
    bool is_done = ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
                   EVP_DigestUpdate(ctx, job->base->raw.data, job->base->raw.len) == 1 &&
                   EVP_DigestFinalXOF(ctx, ret->data, ret->len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return is_done ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* --- how much comes out by itself; 0: the program has to say -------------------------------------------------------
 */

static size_t md_len(const struct job *job, CK_ULONG id)
{
    const char *md = km_kdf_md(job->mech->scheme, id);
    const EVP_MD *found = md != NULL && md[0] != '\0' ? EVP_get_digestbyname(md) : NULL;

    return found != NULL ? (size_t)EVP_MD_get_size(found) : 0;
}

static size_t natural_ecdh(const struct job *job)
{
    size_t len = md_len(job, job->param->kdf);

    if (job->param->kdf != CKD_NULL)
        return len;
    return EVP_PKEY_is_a(job->base->pkey, "EC")     ? (size_t)(EVP_PKEY_get_bits(job->base->pkey) + 7) / 8
           : EVP_PKEY_is_a(job->base->pkey, "X448") ? 56
                                                    : 32;
}

static size_t natural_hkdf(const struct job *job)
{
    return md_len(job, job->param->hash);
}

static size_t natural_concatenation(const struct job *job)
{
    return job->base->raw.len + (job->other != NULL ? job->other->raw.len : job->param->shared_data.len);
}

static size_t natural_xor(const struct job *job)
{
    size_t len = job->param->shared_data.len;

    return len < job->base->raw.len ? len : job->base->raw.len;
}

static size_t natural_data(const struct job *job)
{
    return job->param->shared_data.len;
}

static size_t natural_hash(const struct job *job)
{
    return md_len(job, job->mech->type);
}

static size_t natural_none(const struct job *job)
{
    (void)job;
    return 0;
}

/* The base's length, where all of it must be in the result. */
static size_t whole_xor(const struct job *job)
{
    return job->base->raw.len;
}

static const struct scheme {
    enum km_mech_scheme scheme;
    bool takes_pair;  /* a private key and not a secret one */
    bool takes_other; /* must have a second key */
    size_t (*natural)(const struct job *job);
    size_t (*whole)(const struct job *job); /* NULL: a one-way function */
    CK_RV (*run)(const struct job *job, struct km_secret *ret);
} schemes[] = {
    {KM_MS_ECDH, true, false, natural_ecdh, NULL, ecdh},
    {KM_MS_HKDF, false, false, natural_hkdf, NULL, hkdf},
    {KM_MS_SP800_COUNTER, false, false, natural_none, NULL, sp800_108},
    {KM_MS_SP800_FEEDBACK, false, false, natural_none, NULL, sp800_108},
    {KM_MS_SP800_DOUBLE, false, false, natural_none, NULL, sp800_108},
    {KM_MS_CONCAT_KEY, false, true, natural_concatenation, natural_concatenation, concatenate},
    {KM_MS_CONCAT_DATA, false, false, natural_concatenation, natural_concatenation, concatenate},
    {KM_MS_DATA_CONCAT, false, false, natural_concatenation, natural_concatenation, concatenate},
    {KM_MS_XOR, false, false, natural_xor, whole_xor, xor_data},
    {KM_MS_EXTRACT, false, false, natural_none, natural_concatenation, extract},
    {KM_MS_ENCRYPT_DATA, false, false, natural_data, NULL, encrypt_data},
    {KM_MS_HASH, false, false, natural_hash, NULL, hash},
    {KM_MS_SHAKE, false, false, natural_none, NULL, shake},
};

static bool is_agreement_key(const EVP_PKEY *pkey)
{
    return pkey != NULL && (EVP_PKEY_is_a(pkey, "EC") || EVP_PKEY_is_a(pkey, "X25519") || EVP_PKEY_is_a(pkey, "X448"));
}

CK_RV km_derive(const struct km_loaded *base, const struct km_loaded *other, const struct km_mech *mech,
                const Kmw__Mechanism *param, bool is_whole, const size_t *lens, size_t n, struct km_secret *ret)
{
    struct job job = {base, other, mech, param, lens, n, is_whole};
    const struct scheme *scheme = NULL;
    struct km_secret out = KM_SECRET_EMPTY;
    size_t len = 0;
    CK_RV rv;

    for (size_t i = 0; i < n; i++)
        len += lens[i];
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]) && scheme == NULL; i++)
        if (schemes[i].scheme == mech->scheme)
            scheme = &schemes[i];
    if (scheme == NULL)
        return CKR_MECHANISM_INVALID;
    if (scheme->takes_pair ? !is_agreement_key(base->pkey) : base->raw.len == 0)
        return CKR_KEY_TYPE_INCONSISTENT;
    if ((other != NULL && other->raw.len == 0) || (scheme->takes_other && other == NULL))
        return CKR_KEY_TYPE_INCONSISTENT;
    if (mech->scheme == KM_MS_ECDH && km_kdf_md(KM_MS_ECDH, param->kdf) == NULL)
        return CKR_MECHANISM_PARAM_INVALID;
    if (len == 0)
        len = scheme->natural(&job);
    if (len == 0)
        return CKR_TEMPLATE_INCOMPLETE;
    if (len > KM_DERIVED_MAX || (is_whole && scheme->whole != NULL && len != scheme->whole(&job)))
        return CKR_KEY_SIZE_RANGE;
    if (km_secret_new(&out, len) != KM_OK)
        return CKR_DEVICE_MEMORY;
    rv = scheme->run(&job, &out);
    if (rv == CKR_OK)
        *ret = km_secret_take(&out);
    km_secret_free(&out);
    return rv;
}
