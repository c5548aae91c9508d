/* SPDX-License-Identifier: Apache-2.0
 *
 * Encryption with secret keys: one row for each scheme. What is made on the way is wiped unless it is handed out, so
 * that no text leaves whose tag or padding was wrong.
 */
#include "crypto_cipher.h"

#include <openssl/err.h>

#include <stdlib.h>

static km_cipher_fn *const schemes[KM_MS_COUNT] = {
    [KM_MS_ECB] = km_cipher_ecb,
    [KM_MS_CBC] = km_cipher_cbc,
    [KM_MS_CBC_PAD] = km_cipher_cbc,
    [KM_MS_CTS] = km_cipher_cts,
    [KM_MS_OFB] = km_cipher_feedback,
    [KM_MS_CFB8] = km_cipher_feedback,
    [KM_MS_CFB128] = km_cipher_feedback,
    [KM_MS_XTS] = km_cipher_xts,
    [KM_MS_CTR] = km_cipher_ctr,
    [KM_MS_CHACHA20] = km_cipher_chacha20,
    [KM_MS_GCM] = km_cipher_gcm,
    [KM_MS_CCM] = km_cipher_ccm,
    [KM_MS_CHACHA20_POLY1305] = km_cipher_chacha20_poly1305,
    [KM_MS_KW] = km_cipher_wrap,
    [KM_MS_KWP] = km_cipher_wrap,
    [KM_MS_KW_PKCS7] = km_cipher_wrap,
};

CK_RV km_cipher_bad_length(const struct km_cipher_job *job)
{
    return job->is_encrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
}

CK_RV km_cipher_room(struct km_cipher_job *job, size_t len)
{
    job->room = len > 0 ? len : 1;
    job->out = malloc(job->room);
    return job->out != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

const EVP_CIPHER *km_cipher_aes(const struct km_cipher_job *job, enum km_aes_mode mode)
{
    size_t len = mode == KM_AES_XTS ? job->key->len / 2 : job->key->len;

    return len == 16 || len == 24 || len == 32 ? job->crypto->aes[mode][len / 8 - 2] : NULL;
}

bool km_cipher_update(struct km_cipher_job *job, const uint8_t *in, size_t len)
{
    int n = 0;

    if (len == 0)
        return true;
    if (EVP_CipherUpdate(job->ctx, job->out + job->out_len, &n, in, (int)len) != 1)
        return false;
    job->out_len += (size_t)n;
    return true;
}

CK_RV km_cipher_use(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech,
                    const Kmw__Use *use, uint8_t **ret, size_t *ret_len)
{
    struct km_cipher_job job = {.crypto = crypto,
                                .key = key,
                                .mech = mech,
                                .m = use->mechanism,
                                .in = use->data,
                                .is_encrypt = use->operation == KMW__USE__OPERATION__ENCRYPT,
                                .is_part = use->is_part};
    CK_RV rv;

    if (!job.is_encrypt && use->operation != KMW__USE__OPERATION__DECRYPT)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (schemes[mech->scheme] == NULL)
        return CKR_MECHANISM_INVALID;
    if (job.in.len > KM_CIPHER_LEN_MAX)
        return km_cipher_bad_length(&job);
    job.ctx = EVP_CIPHER_CTX_new();
    if (job.ctx == NULL)
        return CKR_HOST_MEMORY;
    rv = schemes[mech->scheme](&job);
    EVP_CIPHER_CTX_free(job.ctx);
    ERR_clear_error();
    if (rv == CKR_OK) {
        *ret = job.out;
        *ret_len = job.out_len;
        return CKR_OK;
    }
    if (job.out != NULL)
        km_wipe(job.out, job.room);
    free(job.out);
    return rv;
}
