/* SPDX-License-Identifier: Apache-2.0
 *
 * AES: CBC with and without padding, CTR, GCM; whole messages, or parts that chain by their IV. No text leaves before
 * its tag was checked.
 */
#include "crypto.h"

#include <openssl/err.h>

#include <stdlib.h>
#include <string.h>

#define BLOCK 16
#define GCM_IV_MAX 256
#define TAG_BITS_MIN 96 /* SP 800-38D 5.2.1.2: shorter tags let forgers find the authentication key */
#define LEN_MAX (1u << 30)

struct job {
    EVP_CIPHER_CTX *ctx;
    const struct km_loaded *key;
    const Kmw__Use *use;
    const Kmw__Mechanism *m;
    bool is_encrypt;
    int size; /* 0, 1, 2: 128, 192, 256 bits */
    uint8_t *out;
    size_t out_len;
};

static CK_RV bad_length(const struct job *job)
{
    return job->is_encrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
}

static bool make_room(struct job *job, size_t len)
{
    job->out = malloc(len > 0 ? len : 1);
    return job->out != NULL;
}

static bool update(struct job *job, uint8_t *out, const uint8_t *in, size_t len)
{
    int n = 0;

    if (len == 0)
        return true;
    if (EVP_CipherUpdate(job->ctx, out, &n, in, (int)len) != 1)
        return false;
    if (out != NULL)
        job->out_len += (size_t)n;
    return true;
}

static CK_RV cbc(const struct km_crypto *crypto, struct job *job, bool has_padding)
{
    const ProtobufCBinaryData *in = &job->use->data;
    bool is_padded = has_padding && !job->use->is_part;
    int last = 0;

    if (job->m->iv.len != BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    if ((!is_padded || !job->is_encrypt) && in->len % BLOCK != 0)
        return bad_length(job);
    if (is_padded && !job->is_encrypt && in->len == 0)
        return bad_length(job);
    if (!make_room(job, in->len + BLOCK))
        return CKR_HOST_MEMORY;
    if (EVP_CipherInit_ex2(job->ctx, crypto->cbc[job->size], job->key->raw.data, job->m->iv.data, job->is_encrypt,
                           NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(job->ctx, is_padded) != 1 || !update(job, job->out, in->data, in->len))
        return CKR_FUNCTION_FAILED;
    if (EVP_CipherFinal_ex(job->ctx, job->out + job->out_len, &last) != 1)
        return job->is_encrypt ? CKR_FUNCTION_FAILED : CKR_ENCRYPTED_DATA_INVALID;
    job->out_len += (size_t)last;
    return CKR_OK;
}

/* Blocks until the counter's low `bits` are all zero again, at most `most`. */
static size_t blocks_to_wrap(const uint8_t counter[BLOCK], unsigned bits, size_t most)
{
    uint64_t low = 0, range;

    if (bits >= 64) {
        /* Wraps within reach only if all bits above the low 32 are set. */
        for (unsigned i = 0; i < bits - 32; i++) {
            unsigned bit = 32 + i;
            if ((counter[BLOCK - 1 - bit / 8] >> bit % 8 & 1) == 0)
                return most;
        }
        bits = 32;
    }
    for (unsigned i = 0; i < 8; i++)
        low = low << 8 | counter[BLOCK - 8 + i];
    range = UINT64_C(1) << bits;
    low &= range - 1;
    return range - low < most ? (size_t)(range - low) : most;
}

static void zero_counter(uint8_t counter[BLOCK], unsigned bits)
{
    for (unsigned bit = 0; bit < bits; bit++)
        counter[BLOCK - 1 - bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

/* PKCS#11's counter is the block's last bits only and wraps within them; OpenSSL's is the whole block. */
static CK_RV ctr(const struct km_crypto *crypto, struct job *job)
{
    const ProtobufCBinaryData *in = &job->use->data;
    unsigned bits = job->m->counter_bits;
    size_t blocks = (in->len + BLOCK - 1) / BLOCK, done = 0;
    uint8_t counter[BLOCK];

    if (job->m->iv.len != BLOCK || bits == 0 || bits > 128)
        return CKR_MECHANISM_PARAM_INVALID;
    if (bits < 32 && blocks > (size_t)1 << bits) /* the key stream would come again */
        return bad_length(job);
    memcpy(counter, job->m->iv.data, BLOCK);
    if (!make_room(job, in->len))
        return CKR_HOST_MEMORY;
    while (done < in->len) {
        size_t left = in->len - done, n = blocks_to_wrap(counter, bits, (left + BLOCK - 1) / BLOCK) * BLOCK;
        if (n > left)
            n = left;
        if (EVP_CipherInit_ex2(job->ctx, crypto->ctr[job->size], job->key->raw.data, counter, 1, NULL) != 1 ||
            !update(job, job->out + done, in->data + done, n))
            return CKR_FUNCTION_FAILED;
        done += n;
        zero_counter(counter, bits);
    }
    return CKR_OK;
}

static CK_RV gcm(const struct km_crypto *crypto, struct job *job)
{
    const ProtobufCBinaryData *in = &job->use->data, *iv = &job->m->iv;
    unsigned bits = job->m->tag_bits;
    size_t tag_len = bits / 8, text_len;
    int last = 0;

    if (iv->len == 0 || iv->len > GCM_IV_MAX || bits < TAG_BITS_MIN || bits > 128 || bits % 8 != 0 ||
        job->m->aad.len > LEN_MAX)
        return CKR_MECHANISM_PARAM_INVALID;
    if (!job->is_encrypt && in->len < tag_len)
        return bad_length(job);
    text_len = job->is_encrypt ? in->len : in->len - tag_len;
    if (!make_room(job, text_len + BLOCK))
        return CKR_HOST_MEMORY;
    if (EVP_CipherInit_ex2(job->ctx, crypto->gcm[job->size], NULL, NULL, job->is_encrypt, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(job->ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)iv->len, NULL) != 1 ||
        EVP_CipherInit_ex2(job->ctx, NULL, job->key->raw.data, iv->data, job->is_encrypt, NULL) != 1)
        return CKR_FUNCTION_FAILED;
    if (!job->is_encrypt &&
        EVP_CIPHER_CTX_ctrl(job->ctx, EVP_CTRL_AEAD_SET_TAG, (int)tag_len, in->data + text_len) != 1)
        return CKR_FUNCTION_FAILED;
    if (!update(job, NULL, job->m->aad.data, job->m->aad.len) || !update(job, job->out, in->data, text_len))
        return CKR_FUNCTION_FAILED;
    if (EVP_CipherFinal_ex(job->ctx, job->out + job->out_len, &last) != 1)
        return job->is_encrypt ? CKR_FUNCTION_FAILED : CKR_ENCRYPTED_DATA_INVALID;
    if (!job->is_encrypt)
        return CKR_OK;
    if (EVP_CIPHER_CTX_ctrl(job->ctx, EVP_CTRL_AEAD_GET_TAG, (int)tag_len, job->out + text_len) != 1)
        return CKR_FUNCTION_FAILED;
    job->out_len += tag_len;
    return CKR_OK;
}

CK_RV km_aes_use(const struct km_crypto *crypto, struct km_loaded *key, const struct km_mech *mech, const Kmw__Use *use,
                 uint8_t **ret, size_t *ret_len)
{
    struct job job = {.key = key, .use = use, .m = use->mechanism, .size = (int)(key->len / 8) - 2};
    CK_RV rv;

    job.is_encrypt = use->operation == KMW__USE__OPERATION__ENCRYPT;
    if (!job.is_encrypt && use->operation != KMW__USE__OPERATION__DECRYPT)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (use->data.len > LEN_MAX)
        return bad_length(&job);
    job.ctx = EVP_CIPHER_CTX_new();
    if (job.ctx == NULL)
        return CKR_HOST_MEMORY;
    switch (mech->scheme) {
    case KM_MS_CBC:
    case KM_MS_CBC_PAD:
        rv = cbc(crypto, &job, mech->scheme == KM_MS_CBC_PAD);
        break;
    case KM_MS_CTR:
        rv = ctr(crypto, &job);
        break;
    case KM_MS_GCM:
        rv = gcm(crypto, &job);
        break;
    default:
        rv = CKR_MECHANISM_INVALID;
        break;
    }
    EVP_CIPHER_CTX_free(job.ctx);
    ERR_clear_error();
    if (rv == CKR_OK) {
        *ret = job.out;
        *ret_len = job.out_len;
        return CKR_OK;
    }
    if (job.out != NULL)
        km_wipe(job.out, use->data.len); /* text whose tag was wrong */
    free(job.out);
    return rv;
}
