/* SPDX-License-Identifier: Apache-2.0
 *
 * Authenticated encryption: GCM, CCM, ChaCha20-Poly1305. The tag follows the text, as PKCS#11 has it. A text whose tag
 * was wrong is the caller's to discard.
 */
#include "symmetric.h"

#define GCM_IV_MAX 128 /* OpenSSL's limit */
#define GCM_TAG_MIN 12 /* SP 800-38D 5.2.1.2: shorter tags let forgers find the authentication key */
#define CHACHA_NONCE 12
#define TAG 16

struct aead {
    const EVP_CIPHER *cipher;
    size_t tag_len;
    bool is_ccm; /* wants the text's length before the associated data */
};

static bool begin(struct km_symmetric_job *job, const struct aead *a, size_t text_len)
{
    const ProtobufCBinaryData *iv = &job->m->iv, *aad = &job->m->aad;
    uint8_t *tag = job->is_encrypt ? NULL : (uint8_t *)job->in + text_len; /* only read */
    int n = 0;

    if (EVP_CipherInit_ex2(job->ctx, a->cipher, NULL, NULL, job->is_encrypt, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(job->ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)iv->len, NULL) != 1)
        return false;
    if ((tag != NULL || a->is_ccm) && EVP_CIPHER_CTX_ctrl(job->ctx, EVP_CTRL_AEAD_SET_TAG, (int)a->tag_len, tag) != 1)
        return false;
    if (EVP_CipherInit_ex2(job->ctx, NULL, job->key, iv->data, job->is_encrypt, NULL) != 1)
        return false;
    if (a->is_ccm && EVP_CipherUpdate(job->ctx, NULL, &n, NULL, (int)text_len) != 1)
        return false;
    return aad->len == 0 || EVP_CipherUpdate(job->ctx, NULL, &n, aad->data, (int)aad->len) == 1;
}

/* CCM checks its tag with the text, the others at the end. OpenSSL wants to be asked for an empty CCM text too. */
static bool finish(struct km_symmetric_job *job, const struct aead *a, size_t text_len)
{
    static const uint8_t nothing[1];
    const uint8_t *in = text_len > 0 ? job->in : nothing;
    int n = 0, last = 0;

    job->out_len = text_len; /* also of a failure: what must be wiped */
    if ((text_len > 0 || a->is_ccm) && EVP_CipherUpdate(job->ctx, job->out, &n, in, (int)text_len) != 1)
        return false;
    return (a->is_ccm && !job->is_encrypt) || EVP_CipherFinal_ex(job->ctx, job->out + text_len, &last) == 1;
}

static CK_RV run(struct km_symmetric_job *job, const struct aead *a)
{
    size_t text_len = job->is_encrypt ? job->len : job->len - a->tag_len;

    if (!job->is_encrypt && job->len < a->tag_len)
        return km_symmetric_bad_length(job);
    if (!begin(job, a, text_len))
        return CKR_FUNCTION_FAILED;
    if (!finish(job, a, text_len))
        return job->is_encrypt ? CKR_FUNCTION_FAILED : CKR_ENCRYPTED_DATA_INVALID;
    if (!job->is_encrypt)
        return CKR_OK;
    if (EVP_CIPHER_CTX_ctrl(job->ctx, EVP_CTRL_AEAD_GET_TAG, (int)a->tag_len, job->out + text_len) != 1)
        return CKR_FUNCTION_FAILED;
    job->out_len += a->tag_len;
    return CKR_OK;
}

CK_RV km_symmetric_gcm(struct km_symmetric_job *job)
{
    struct aead a = {.cipher = km_symmetric_aes(job, KM_AES_GCM), .tag_len = job->m->tag_bits / 8};

    if (job->m->iv.len == 0 || job->m->iv.len > GCM_IV_MAX || job->m->tag_bits % 8 != 0 || a.tag_len < GCM_TAG_MIN ||
        a.tag_len > TAG)
        return CKR_MECHANISM_PARAM_INVALID;
    if (a.cipher == NULL)
        return CKR_KEY_SIZE_RANGE;
    return run(job, &a);
}

/* The text's length that was announced is part of what CCM authenticates; here it must be the one that came. */
CK_RV km_symmetric_ccm(struct km_symmetric_job *job)
{
    struct aead a = {.cipher = km_symmetric_aes(job, KM_AES_CCM), .tag_len = job->m->tag_bits / 8, .is_ccm = true};
    size_t nonce_len = job->m->iv.len, len_len = 15 - nonce_len;

    if (nonce_len < 7 || nonce_len > 13 || job->m->tag_bits % 16 != 0 || a.tag_len < 4 || a.tag_len > TAG)
        return CKR_MECHANISM_PARAM_INVALID;
    if (a.cipher == NULL)
        return CKR_KEY_SIZE_RANGE;
    if (job->len != job->m->data_len + (job->is_encrypt ? 0 : a.tag_len) ||
        (len_len < 4 && job->m->data_len >> (8 * len_len) != 0))
        return km_symmetric_bad_length(job);
    return run(job, &a);
}

CK_RV km_symmetric_chacha20_poly1305(struct km_symmetric_job *job)
{
    struct aead a = {.cipher = job->algorithms->chacha20_poly1305, .tag_len = TAG};

    if (job->key_len != 32)
        return CKR_KEY_SIZE_RANGE;
    if (job->m->iv.len != CHACHA_NONCE)
        return CKR_MECHANISM_PARAM_INVALID;
    return run(job, &a);
}
