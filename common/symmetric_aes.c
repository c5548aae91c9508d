/* SPDX-License-Identifier: Apache-2.0
 *
 * AES in its block and feedback modes: ECB, CBC with and without padding, CTS, OFB, CFB, XTS. A message comes whole, or
 * in parts that the client chains by their IV.
 */
#include "symmetric.h"

#define XTS_LEN_MAX (KM_BLOCK << 20) /* SP 800-38E 4: bytes of a data unit */

/* Everything through the mode's cipher; `iv` is NULL or a block. */
static CK_RV run(struct km_symmetric_job *job, enum km_aes_mode mode, const uint8_t *iv, bool is_padded)
{
    const EVP_CIPHER *cipher = km_symmetric_aes(job, mode);
    int last = 0;

    if (cipher == NULL)
        return CKR_KEY_SIZE_RANGE;
    if (EVP_CipherInit_ex2(job->ctx, cipher, job->key, iv, job->is_encrypt, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(job->ctx, is_padded) != 1 || !km_symmetric_update(job, job->in, job->len))
        return CKR_FUNCTION_FAILED;
    if (EVP_CipherFinal_ex(job->ctx, job->out + job->out_len, &last) != 1)
        return is_padded && !job->is_encrypt ? CKR_ENCRYPTED_DATA_INVALID : CKR_FUNCTION_FAILED;
    job->out_len += (size_t)last;
    return CKR_OK;
}

CK_RV km_symmetric_ecb(struct km_symmetric_job *job)
{
    if (job->len % KM_BLOCK != 0)
        return km_symmetric_bad_length(job);
    return run(job, KM_AES_ECB, NULL, false);
}

CK_RV km_symmetric_cbc(struct km_symmetric_job *job)
{
    bool is_padded = job->mech->scheme == KM_MS_CBC_PAD && !job->is_part;

    if (job->m->iv.len != KM_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    if ((!is_padded || !job->is_encrypt) && job->len % KM_BLOCK != 0)
        return km_symmetric_bad_length(job);
    if (is_padded && !job->is_encrypt && job->len == 0)
        return km_symmetric_bad_length(job);
    return run(job, KM_AES_CBC, job->m->iv.data, is_padded);
}

/* SP 800-38A, addendum: CS1, where the short block is the last but one. The standard does not say which variant it
 * means; this is NSS's and OpenSSL's. */
CK_RV km_symmetric_cts(struct km_symmetric_job *job)
{
    if (job->m->iv.len != KM_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    if (job->len < KM_BLOCK)
        return km_symmetric_bad_length(job);
    return run(job, KM_AES_CTS, job->m->iv.data, false);
}

CK_RV km_symmetric_feedback(struct km_symmetric_job *job)
{
    enum km_aes_mode mode = job->mech->scheme == KM_MS_OFB    ? KM_AES_OFB
                            : job->mech->scheme == KM_MS_CFB8 ? KM_AES_CFB8
                                                              : KM_AES_CFB128;

    if (job->m->iv.len != KM_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    return run(job, mode, job->m->iv.data, false);
}

CK_RV km_symmetric_xts(struct km_symmetric_job *job)
{
    if (job->m->iv.len != KM_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    if (job->len < KM_BLOCK || job->len > XTS_LEN_MAX)
        return km_symmetric_bad_length(job);
    return run(job, KM_AES_XTS, job->m->iv.data, false);
}
