/* SPDX-License-Identifier: Apache-2.0
 *
 * AES in its block and feedback modes: ECB, CBC with and without padding, CTS, OFB, CFB, XTS. A message comes whole, or
 * in parts that the client chains by their IV.
 */
#include "crypto_cipher.h"

#define XTS_LEN_MAX (KM_BLOCK << 20) /* SP 800-38E 4: bytes of a data unit */

/* Everything through the mode's cipher; `iv` is NULL or a block. */
static CK_RV run(struct km_cipher_job *job, enum km_aes_mode mode, const uint8_t *iv, bool is_padded)
{
    const EVP_CIPHER *cipher = km_cipher_aes(job, mode);
    int last = 0;
    CK_RV rv;

    if (cipher == NULL)
        return CKR_KEY_SIZE_RANGE;
    rv = km_cipher_room(job, job->in.len + KM_BLOCK);
    if (rv != CKR_OK)
        return rv;
    if (EVP_CipherInit_ex2(job->ctx, cipher, job->key->raw.data, iv, job->is_encrypt, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(job->ctx, is_padded) != 1 || !km_cipher_update(job, job->in.data, job->in.len))
        return CKR_FUNCTION_FAILED;
    if (EVP_CipherFinal_ex(job->ctx, job->out + job->out_len, &last) != 1)
        return is_padded && !job->is_encrypt ? CKR_ENCRYPTED_DATA_INVALID : CKR_FUNCTION_FAILED;
    job->out_len += (size_t)last;
    return CKR_OK;
}

CK_RV km_cipher_ecb(struct km_cipher_job *job)
{
    if (job->in.len % KM_BLOCK != 0)
        return km_cipher_bad_length(job);
    return run(job, KM_AES_ECB, NULL, false);
}

CK_RV km_cipher_cbc(struct km_cipher_job *job)
{
    bool is_padded = job->mech->scheme == KM_MS_CBC_PAD && !job->is_part;

    if (job->m->iv.len != KM_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    if ((!is_padded || !job->is_encrypt) && job->in.len % KM_BLOCK != 0)
        return km_cipher_bad_length(job);
    if (is_padded && !job->is_encrypt && job->in.len == 0)
        return km_cipher_bad_length(job);
    return run(job, KM_AES_CBC, job->m->iv.data, is_padded);
}

/* SP 800-38A, addendum: CS1, where the short block is the last but one. The standard does not say which variant it
 * means; this is NSS's and OpenSSL's. */
CK_RV km_cipher_cts(struct km_cipher_job *job)
{
    if (job->m->iv.len != KM_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    if (job->in.len < KM_BLOCK)
        return km_cipher_bad_length(job);
    return run(job, KM_AES_CTS, job->m->iv.data, false);
}

CK_RV km_cipher_feedback(struct km_cipher_job *job)
{
    enum km_aes_mode mode = job->mech->scheme == KM_MS_OFB    ? KM_AES_OFB
                            : job->mech->scheme == KM_MS_CFB8 ? KM_AES_CFB8
                                                              : KM_AES_CFB128;

    if (job->m->iv.len != KM_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    return run(job, mode, job->m->iv.data, false);
}

CK_RV km_cipher_xts(struct km_cipher_job *job)
{
    if (job->m->iv.len != KM_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    if (job->in.len < KM_BLOCK || job->in.len > XTS_LEN_MAX)
        return km_cipher_bad_length(job);
    return run(job, KM_AES_XTS, job->m->iv.data, false);
}
