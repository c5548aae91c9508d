/* SPDX-License-Identifier: Apache-2.0
 *
 * AES key wrap (SP 800-38F) over any bytes, in three forms: whole semiblocks (RFC 3394), zero padding with the length
 * (KWP, RFC 5649), and PKCS#7 padding to a semiblock. For C_Encrypt and C_Decrypt, and for keys that are wrapped.
 */
#include "secret.h"
#include "symmetric.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SEMIBLOCK 8

/* The padding's length if it is right, else 0; in the same time for any content. `end` has a semiblock before it. */
static size_t padding_before(const uint8_t *end)
{
    size_t pad = end[-1];
    unsigned bad = pad == 0 || pad > SEMIBLOCK;

    for (size_t i = 1; i <= SEMIBLOCK; i++)
        bad |= (unsigned)(i <= pad) & (unsigned)(end[-(ptrdiff_t)i] != pad);
    return bad ? 0 : pad;
}

/* OpenSSL's one call; what it makes is at most 15 bytes longer than what it gets. */
static CK_RV run(struct km_symmetric_job *job, enum km_aes_mode mode, const uint8_t *in, size_t len)
{
    const EVP_CIPHER *cipher = km_symmetric_aes(job, mode);
    const uint8_t *iv = job->m->iv.len > 0 ? job->m->iv.data : NULL;

    if (cipher == NULL)
        return CKR_KEY_SIZE_RANGE;
    if (job->m->iv.len != 0 && job->m->iv.len != (mode == KM_AES_KWP ? 4 : 8))
        return CKR_MECHANISM_PARAM_INVALID;
    EVP_CIPHER_CTX_set_flags(job->ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex2(job->ctx, cipher, job->key, iv, job->is_encrypt, NULL) != 1)
        return CKR_FUNCTION_FAILED;
    if (!km_symmetric_update(job, in, len))
        return job->is_encrypt ? CKR_FUNCTION_FAILED : CKR_ENCRYPTED_DATA_INVALID;
    return CKR_OK;
}

static CK_RV wrap_pkcs7(struct km_symmetric_job *job)
{
    size_t pad = SEMIBLOCK - job->len % SEMIBLOCK, len = job->len + pad;
    uint8_t *padded = malloc(len);
    CK_RV rv;

    if (padded == NULL)
        return CKR_HOST_MEMORY;
    memcpy(padded, job->in, job->len);
    memset(padded + job->len, (int)pad, pad);
    rv = run(job, KM_AES_KW, padded, len);
    km_wipe(padded, len);
    free(padded);
    return rv;
}

CK_RV km_symmetric_wrap(struct km_symmetric_job *job)
{
    enum km_mech_scheme scheme = job->mech->scheme;
    size_t least = scheme == KM_MS_KWP ? 1 : scheme == KM_MS_KW ? 2 * SEMIBLOCK : SEMIBLOCK;
    size_t pad;
    CK_RV rv;

    if (!job->is_encrypt)
        least = scheme == KM_MS_KWP ? 2 * SEMIBLOCK : 3 * SEMIBLOCK;
    if (job->len < least || ((!job->is_encrypt || scheme == KM_MS_KW) && job->len % SEMIBLOCK != 0))
        return km_symmetric_bad_length(job);
    if (job->is_encrypt && scheme == KM_MS_KW_PKCS7)
        return wrap_pkcs7(job);
    rv = run(job, scheme == KM_MS_KWP ? KM_AES_KWP : KM_AES_KW, job->in, job->len);
    if (rv != CKR_OK || scheme != KM_MS_KW_PKCS7)
        return rv;
    pad = padding_before(job->out + job->out_len);
    job->out_len -= pad;
    return pad > 0 ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}
