/* SPDX-License-Identifier: Apache-2.0
 *
 * RSA: signing, checking, encrypting, decrypting. For PKCS#1 v1.5 signatures the DigestInfo is built here and compared
 * whole (design D4), never parsed: parsing it is how signatures get forged. A failed decryption says one thing,
 * whatever was wrong, and on either way the error queue is emptied; OpenSSL from 3.2 on answers bad v1.5 padding with a
 * random text instead.
 */
#include "crypto.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

#include <stdlib.h>
#include <string.h>

#define INFO_MAX 1024 /* bytes of the longest modulus; longer than any DigestInfo */
#define PKCS1_OVERHEAD 11
#define LABEL_MAX 65536

/* The DigestInfo of a hash (RFC 8017 9.2, note 1) but for the hash itself; returns its length. */
static size_t put_digest_info(const struct km_hash *hash, uint8_t info[INFO_MAX])
{
    static const uint8_t sha1[] = {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e,
                                   0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14};
    uint8_t nist[] = {0x30, 0, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0, 0x05, 0, 0x04, 0};

    if (hash->oid == 0) {
        memcpy(info, sha1, sizeof(sha1));
        return sizeof(sha1);
    }
    nist[1] = (uint8_t)(17 + hash->len);
    nist[14] = hash->oid;
    nist[18] = (uint8_t)hash->len;
    memcpy(info, nist, sizeof(nist));
    return sizeof(nist);
}

/* The parameters of one operation, and with them the kind of context that it needs. */
struct setup {
    Kmw__Use__Operation op;
    enum km_mech_scheme scheme;
    int hash, mgf; /* PSS, OAEP: places in km_crypto's arrays */
    unsigned salt_len;
};

static uint64_t kind_of(const struct setup *s)
{
    return (uint64_t)s->op << 56 | (uint64_t)s->scheme << 48 | (uint64_t)s->hash << 40 | (uint64_t)s->mgf << 32 |
           s->salt_len;
}

static int mgf_hash(CK_RSA_PKCS_MGF_TYPE mgf)
{
    for (int i = 0; i < KM_HASHES; i++)
        if (mgf != 0 && km_hashes[i].mgf == mgf)
            return i;
    return -1;
}

static CK_RV read_setup(const struct km_loaded *key, const struct km_mech *mech, const Kmw__Use *use, struct setup *s)
{
    const Kmw__Mechanism *m = use->mechanism;
    size_t digest_len = 0;

    *s = (struct setup){.op = use->operation, .scheme = mech->scheme};
    if (mech->scheme == KM_MS_PKCS1 || mech->scheme == KM_MS_RAW)
        return CKR_OK;
    s->hash = km_crypto_hash(m->hash);
    s->mgf = mgf_hash(m->mgf);
    if (s->hash < 0 || s->mgf < 0)
        return CKR_MECHANISM_PARAM_INVALID;
    if (mech->scheme == KM_MS_OAEP)
        return m->label.len <= LABEL_MAX ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
    if (mech->digest != CK_UNAVAILABLE_INFORMATION && mech->digest != m->hash)
        return CKR_MECHANISM_PARAM_INVALID;
    if (use->operation == KMW__USE__OPERATION__SIGN && m->hash == CKM_SHA_1) /* checked, not made: mech.def */
        return CKR_MECHANISM_PARAM_INVALID;
    km_mech_md(m->hash, &digest_len);
    if (m->salt_len > key->len || digest_len + m->salt_len + 2 > key->len)
        return CKR_MECHANISM_PARAM_INVALID;
    s->salt_len = m->salt_len;
    return CKR_OK;
}

static bool init_operation(EVP_PKEY_CTX *ctx, Kmw__Use__Operation op)
{
    switch (op) {
    case KMW__USE__OPERATION__SIGN:
        return EVP_PKEY_sign_init(ctx) == 1;
    case KMW__USE__OPERATION__VERIFY:
        return EVP_PKEY_verify_init(ctx) == 1;
    case KMW__USE__OPERATION__ENCRYPT:
        return EVP_PKEY_encrypt_init(ctx) == 1;
    case KMW__USE__OPERATION__DECRYPT:
        return EVP_PKEY_decrypt_init(ctx) == 1;
    default:
        return false;
    }
}

static bool set_up(const struct km_crypto *crypto, EVP_PKEY_CTX *ctx, const struct setup *s)
{
    if (!init_operation(ctx, s->op))
        return false;
    switch (s->scheme) {
    case KM_MS_PKCS1:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    case KM_MS_RAW:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1;
    case KM_MS_PSS:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_signature_md(ctx, crypto->md[s->hash]) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, crypto->md[s->mgf]) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)s->salt_len) == 1;
    case KM_MS_OAEP:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_oaep_md(ctx, crypto->md[s->hash]) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, crypto->md[s->mgf]) == 1;
    default:
        return false;
    }
}

static EVP_PKEY_CTX *get_ctx(const struct km_crypto *crypto, struct km_loaded *key, const struct setup *s)
{
    EVP_PKEY_CTX *ctx = km_loaded_take_ctx(key, kind_of(s));

    if (ctx != NULL)
        return ctx;
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (ctx != NULL && set_up(crypto, ctx, s))
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* Contexts with a label are not kept. */
static CK_RV set_label(EVP_PKEY_CTX *ctx, const ProtobufCBinaryData *label)
{
    uint8_t *copy;

    copy = OPENSSL_memdup(label->data, label->len);
    if (copy == NULL)
        return CKR_HOST_MEMORY;
    if (EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, copy, (int)label->len) == 1)
        return CKR_OK;
    OPENSSL_free(copy);
    return CKR_FUNCTION_FAILED;
}

/* A number as long as the modulus, zeros in front (PKCS#11 v3.2 6.1.8). */
static CK_RV stretch(const struct km_loaded *key, const uint8_t *data, size_t len, uint8_t number[INFO_MAX])
{
    if (len > key->len || key->len > INFO_MAX)
        return CKR_DATA_LEN_RANGE;
    memset(number, 0, key->len - len);
    if (len > 0)
        memcpy(number + key->len - len, data, len);
    return CKR_OK;
}

/* The first error is the cause; the queue was empty before. */
static bool was_too_large(void)
{
    return ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_RSA &&
           ERR_GET_REASON(ERR_peek_error()) == RSA_R_DATA_TOO_LARGE_FOR_MODULUS;
}

/* What RSASSA signs: for v1.5 with a hash, the DigestInfo. */
static CK_RV signed_message(const struct km_crypto *crypto, const struct km_loaded *key, const struct km_mech *mech,
                            const Kmw__Use *use, const struct setup *s, uint8_t info[INFO_MAX], const uint8_t **ret,
                            size_t *ret_len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t want = 0;
    CK_RV rv = km_crypto_message(crypto, mech, use, digest, ret, ret_len);

    if (rv != CKR_OK)
        return rv;
    if (s->scheme == KM_MS_PKCS1 && mech->digest != CK_UNAVAILABLE_INFORMATION) {
        size_t len = put_digest_info(&km_hashes[km_crypto_hash(mech->digest)], info);
        memcpy(info + len, *ret, *ret_len);
        *ret = info;
        *ret_len += len;
        return CKR_OK;
    }
    if (s->scheme == KM_MS_RAW) {
        rv = stretch(key, *ret, *ret_len, info);
        *ret = info;
        *ret_len = key->len;
        return rv;
    }
    if (s->scheme == KM_MS_PKCS1)
        return *ret_len <= key->len - PKCS1_OVERHEAD ? CKR_OK : CKR_DATA_LEN_RANGE;
    km_mech_md(use->mechanism->hash, &want);
    if (*ret_len != want)
        return CKR_DATA_LEN_RANGE;
    if (*ret == digest) { /* it must outlive this function */
        memcpy(info, digest, want);
        *ret = info;
    }
    return CKR_OK;
}

static CK_RV sign(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech,
                  const Kmw__Use *use, const struct setup *s, uint8_t **ret, size_t *ret_len)
{
    static const uint8_t nothing[1];
    uint8_t info[INFO_MAX], *out = NULL;
    const uint8_t *data;
    size_t len, out_len = key->len;
    EVP_PKEY_CTX *ctx = NULL;
    CK_RV rv = signed_message(crypto, key, mech, use, s, info, &data, &len);

    if (rv != CKR_OK)
        return rv;
    out = malloc(key->len);
    ctx = get_ctx(crypto, key, s);
    if (out == NULL || ctx == NULL || EVP_PKEY_sign(ctx, out, &out_len, data != NULL ? data : nothing, len) != 1) {
        EVP_PKEY_CTX_free(ctx);
        free(out);
        return was_too_large() ? CKR_DATA_INVALID : CKR_FUNCTION_FAILED;
    }
    km_loaded_give_ctx(key, kind_of(s), ctx);
    *ret = out;
    *ret_len = out_len;
    return CKR_OK;
}

static CK_RV verify(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech,
                    const Kmw__Use *use, const struct setup *s)
{
    static const uint8_t nothing[1];
    uint8_t info[INFO_MAX];
    const uint8_t *data;
    size_t len;
    EVP_PKEY_CTX *ctx = NULL;
    bool is_good;
    CK_RV rv = signed_message(crypto, key, mech, use, s, info, &data, &len);

    if (rv != CKR_OK)
        return rv;
    if (use->signature.len != key->len)
        return CKR_SIGNATURE_LEN_RANGE;
    ctx = get_ctx(crypto, key, s);
    if (ctx == NULL)
        return CKR_FUNCTION_FAILED;
    is_good = EVP_PKEY_verify(ctx, use->signature.data, use->signature.len, data != NULL ? data : nothing, len) == 1;
    km_loaded_give_ctx(key, kind_of(s), ctx);
    return is_good ? CKR_OK : CKR_SIGNATURE_INVALID;
}

static size_t text_max(const struct km_loaded *key, const struct setup *s)
{
    size_t overhead = s->scheme == KM_MS_RAW    ? 0
                      : s->scheme == KM_MS_OAEP ? 2 * km_hashes[s->hash].len + 2
                                                : PKCS1_OVERHEAD;

    return key->len > overhead ? key->len - overhead : 0;
}

static CK_RV crypt(const struct km_crypto *crypto, struct km_loaded *key, const Kmw__Use *use, const struct setup *s,
                   uint8_t **ret, size_t *ret_len)
{
    static const uint8_t nothing[1];
    const ProtobufCBinaryData *data = &use->data, *label = &use->mechanism->label;
    const uint8_t *in = data->data != NULL ? data->data : nothing;
    uint8_t number[INFO_MAX];
    size_t in_len = data->len;
    bool is_encrypt = s->op == KMW__USE__OPERATION__ENCRYPT, has_label = s->scheme == KM_MS_OAEP && label->len > 0;
    size_t out_len = key->len;
    uint8_t *out = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    CK_RV rv;
    int is_done;

    if (is_encrypt && data->len > text_max(key, s))
        return CKR_DATA_LEN_RANGE;
    if (!is_encrypt && data->len != key->len)
        return CKR_ENCRYPTED_DATA_LEN_RANGE;
    if (is_encrypt && s->scheme == KM_MS_RAW) {
        rv = stretch(key, in, in_len, number);
        if (rv != CKR_OK)
            return rv;
        in = number;
        in_len = key->len;
    }
    out = malloc(key->len);
    ctx = get_ctx(crypto, key, s);
    rv = out != NULL && ctx != NULL ? CKR_OK : CKR_FUNCTION_FAILED;
    if (rv == CKR_OK && has_label)
        rv = set_label(ctx, label);
    if (rv != CKR_OK)
        goto out;
    if (is_encrypt)
        is_done = EVP_PKEY_encrypt(ctx, out, &out_len, in, in_len);
    else
        is_done = EVP_PKEY_decrypt(ctx, out, &out_len, in, in_len);
    if (is_done != 1) {
        rv = is_encrypt ? was_too_large() ? CKR_DATA_INVALID : CKR_FUNCTION_FAILED : CKR_ENCRYPTED_DATA_INVALID;
        goto out;
    }
    *ret = out;
    *ret_len = out_len;
    out = NULL;
out:
    if (in == number)
        km_wipe(number, sizeof(number));
    if (out != NULL)
        km_wipe(out, key->len);
    free(out);
    if (ctx != NULL && !has_label)
        km_loaded_give_ctx(key, kind_of(s), ctx);
    else
        EVP_PKEY_CTX_free(ctx);
    return rv;
}

CK_RV km_rsa_use(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech, const Kmw__Use *use,
                 uint8_t **ret, size_t *ret_len)
{
    struct setup s;
    CK_RV rv = read_setup(key, mech, use, &s);

    if (rv != CKR_OK)
        return rv;
    switch (use->operation) {
    case KMW__USE__OPERATION__SIGN:
        rv = sign(crypto, key, mech, use, &s, ret, ret_len);
        break;
    case KMW__USE__OPERATION__VERIFY:
        rv = verify(crypto, key, mech, use, &s);
        break;
    default:
        rv = crypt(crypto, key, use, &s, ret, ret_len);
        break;
    }
    ERR_clear_error();
    return rv;
}
