/* SPDX-License-Identifier: Apache-2.0
 *
 * Key streams that are counted: AES-CTR and ChaCha20. Invariant: no part of a key stream is given twice in one message;
 * where the counter would pass its end the message is refused, unless the standard says that it wraps.
 */
#include "symmetric.h"

#include <string.h>

#define CHACHA_BLOCK 64
#define CHACHA_IV 16 /* OpenSSL's: counter, little endian, and nonce */

/* Blocks until the counter's low `bits` are all zero again, at most `most`. */
static size_t blocks_to_wrap(const uint8_t counter[KM_BLOCK], unsigned bits, size_t most)
{
    uint64_t low = 0, range;

    if (bits >= 64) {
        /* Wraps within reach only if all bits above the low 32 are set. */
        for (unsigned i = 0; i < bits - 32; i++) {
            unsigned bit = 32 + i;
            if ((counter[KM_BLOCK - 1 - bit / 8] >> bit % 8 & 1) == 0)
                return most;
        }
        bits = 32;
    }
    for (unsigned i = 0; i < 8; i++)
        low = low << 8 | counter[KM_BLOCK - 8 + i];
    range = UINT64_C(1) << bits;
    low &= range - 1;
    return range - low < most ? (size_t)(range - low) : most;
}

static void zero_counter(uint8_t counter[KM_BLOCK], unsigned bits)
{
    for (unsigned bit = 0; bit < bits; bit++)
        counter[KM_BLOCK - 1 - bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

/* PKCS#11's counter is the block's last bits only and wraps within them; OpenSSL's is the whole block. */
CK_RV km_symmetric_ctr(struct km_symmetric_job *job)
{
    const EVP_CIPHER *cipher = km_symmetric_aes(job, KM_AES_CTR);
    unsigned bits = job->m->counter_bits;
    size_t blocks = (job->len + KM_BLOCK - 1) / KM_BLOCK, done = 0;
    uint8_t counter[KM_BLOCK];

    if (job->m->iv.len != KM_BLOCK || bits == 0 || bits > 128)
        return CKR_MECHANISM_PARAM_INVALID;
    if (cipher == NULL)
        return CKR_KEY_SIZE_RANGE;
    if (bits < 32 && blocks > (size_t)1 << bits)
        return km_symmetric_bad_length(job);
    memcpy(counter, job->m->iv.data, KM_BLOCK);
    while (done < job->len) {
        size_t left = job->len - done, n = blocks_to_wrap(counter, bits, (left + KM_BLOCK - 1) / KM_BLOCK) * KM_BLOCK;
        if (n > left)
            n = left;
        if (EVP_CipherInit_ex2(job->ctx, cipher, job->key, counter, 1, NULL) != 1 ||
            !km_symmetric_update(job, job->in + done, n))
            return CKR_FUNCTION_FAILED;
        done += n;
        zero_counter(counter, bits);
    }
    return CKR_OK;
}

static uint64_t little_endian(const uint8_t *p, unsigned len)
{
    uint64_t n = 0;

    for (unsigned i = len; i > 0; i--)
        n = n << 8 | p[i - 1];
    return n;
}

/* The counter is the IV's first 32 (RFC 8439) or 64 bits (as ChaCha20 was published). */
CK_RV km_symmetric_chacha20(struct km_symmetric_job *job)
{
    const ProtobufCBinaryData *iv = &job->m->iv;
    unsigned bits = job->m->counter_bits;
    uint64_t blocks = (job->len + CHACHA_BLOCK - 1) / CHACHA_BLOCK, first;

    if (job->key_len != 32)
        return CKR_KEY_SIZE_RANGE;
    if (iv->len != CHACHA_IV || (bits != 32 && bits != 64))
        return CKR_MECHANISM_PARAM_INVALID;
    first = little_endian(iv->data, bits / 8);
    if (blocks > 0 && blocks - 1 > (bits == 32 ? UINT32_MAX : UINT64_MAX) - first)
        return km_symmetric_bad_length(job);
    if (EVP_CipherInit_ex2(job->ctx, job->algorithms->chacha20, job->key, iv->data, 1, NULL) != 1 ||
        !km_symmetric_update(job, job->in, job->len))
        return CKR_FUNCTION_FAILED;
    return CKR_OK;
}
