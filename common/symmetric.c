/* SPDX-License-Identifier: Apache-2.0
 *
 * The schemes in a table, the algorithms fetched once, and what the schemes share. No state; any thread.
 */
#include "symmetric.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

static km_symmetric_fn *const schemes[KM_MS_COUNT] = {
    [KM_MS_ECB] = km_symmetric_ecb,
    [KM_MS_CBC] = km_symmetric_cbc,
    [KM_MS_CBC_PAD] = km_symmetric_cbc,
    [KM_MS_CTS] = km_symmetric_cts,
    [KM_MS_OFB] = km_symmetric_feedback,
    [KM_MS_CFB8] = km_symmetric_feedback,
    [KM_MS_CFB128] = km_symmetric_feedback,
    [KM_MS_XTS] = km_symmetric_xts,
    [KM_MS_CTR] = km_symmetric_ctr,
    [KM_MS_CHACHA20] = km_symmetric_chacha20,
    [KM_MS_GCM] = km_symmetric_gcm,
    [KM_MS_CCM] = km_symmetric_ccm,
    [KM_MS_CHACHA20_POLY1305] = km_symmetric_chacha20_poly1305,
    [KM_MS_KW] = km_symmetric_wrap,
    [KM_MS_KWP] = km_symmetric_wrap,
    [KM_MS_KW_PKCS7] = km_symmetric_wrap,
};

bool km_symmetric_open(OSSL_LIB_CTX *libctx, struct km_symmetric *ret)
{
    static const char *const modes[KM_AES_MODES] = {"ECB", "CBC", "CBC-CTS", "CTR", "OFB",  "CFB8",
                                                    "CFB", "XTS", "GCM",     "CCM", "WRAP", "WRAP-PAD"};
    char name[32];

    ret->chacha20 = EVP_CIPHER_fetch(libctx, "ChaCha20", NULL);
    ret->chacha20_poly1305 = EVP_CIPHER_fetch(libctx, "ChaCha20-Poly1305", NULL);
    if (ret->chacha20 == NULL || ret->chacha20_poly1305 == NULL)
        return false;
    for (int mode = 0; mode < KM_AES_MODES; mode++) {
        for (int size = 0; size < KM_AES_SIZES; size++) {
            if (mode == KM_AES_XTS && size == 1)
                continue;
            snprintf(name, sizeof(name), "AES-%d-%s", 128 + 64 * size, modes[mode]);
            ret->aes[mode][size] = EVP_CIPHER_fetch(libctx, name, NULL);
            if (ret->aes[mode][size] == NULL)
                return false;
        }
    }
    return true;
}

void km_symmetric_close(struct km_symmetric *algorithms)
{
    for (int mode = 0; mode < KM_AES_MODES; mode++)
        for (int size = 0; size < KM_AES_SIZES; size++)
            EVP_CIPHER_free(algorithms->aes[mode][size]);
    EVP_CIPHER_free(algorithms->chacha20);
    EVP_CIPHER_free(algorithms->chacha20_poly1305);
    memset(algorithms, 0, sizeof(*algorithms));
}

CK_RV km_symmetric_bad_length(const struct km_symmetric_job *job)
{
    return job->is_encrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
}

const EVP_CIPHER *km_symmetric_aes(const struct km_symmetric_job *job, enum km_aes_mode mode)
{
    size_t len = mode == KM_AES_XTS ? job->key_len / 2 : job->key_len;

    return len == 16 || len == 24 || len == 32 ? job->algorithms->aes[mode][len / 8 - 2] : NULL;
}

bool km_symmetric_update(struct km_symmetric_job *job, const uint8_t *in, size_t len)
{
    int n = 0;

    if (len == 0)
        return true;
    if (EVP_CipherUpdate(job->ctx, job->out + job->out_len, &n, in, (int)len) != 1)
        return false;
    job->out_len += (size_t)n;
    return true;
}

CK_RV km_symmetric_run(struct km_symmetric_job *job)
{
    CK_RV rv;

    if (schemes[job->mech->scheme] == NULL)
        return CKR_MECHANISM_INVALID;
    if (job->len > KM_SYMMETRIC_LEN_MAX || job->m->aad.len > KM_SYMMETRIC_LEN_MAX)
        return km_symmetric_bad_length(job);
    job->out_len = 0;
    job->ctx = EVP_CIPHER_CTX_new();
    if (job->ctx == NULL)
        return CKR_HOST_MEMORY;
    rv = schemes[job->mech->scheme](job);
    EVP_CIPHER_CTX_free(job->ctx);
    job->ctx = NULL;
    ERR_clear_error();
    return rv;
}
