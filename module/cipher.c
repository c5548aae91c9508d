/* SPDX-License-Identifier: Apache-2.0
 *
 * Streaming ciphers over self-contained requests. Invariant: op->param carries the IV for op->text's first byte, so
 * each chunk can be answered by any server. Schemes that must see the whole message (GCM, RSA) wait until the end.
 * Lengths are known before anything is computed, except where padding hides them: such a result is kept when it does
 * not fit.
 */
#include "cipher.h"

#include "guard.h"
#include "local.h"
#include "remote.h"

#include <string.h>

#define BLOCK 16
#define CHUNK (1024u * 1024) /* bytes in one request; a multiple of BLOCK */

static bool is_whole(const struct km_operation *op)
{
    enum km_mech_scheme scheme = op->mech->scheme;

    return scheme != KM_MS_CBC && scheme != KM_MS_CBC_PAD && scheme != KM_MS_ECB && scheme != KM_MS_CTR;
}

static bool is_encrypting(const struct km_operation *op)
{
    return op->kind == KM_OP_ENCRYPT;
}

size_t km_cipher_usable(const struct km_operation *op, size_t len)
{
    switch (op->mech->scheme) {
    case KM_MS_CTR:
        return len;
    case KM_MS_CBC_PAD:
        if (!is_encrypting(op)) /* the last block may be the padded one */
            return len == 0 ? 0 : (len - 1) / BLOCK * BLOCK;
        return len / BLOCK * BLOCK;
    case KM_MS_CBC:
    case KM_MS_ECB:
        return len / BLOCK * BLOCK;
    default:
        return 0;
    }
}

CK_RV km_cipher_last_len(const struct km_operation *op, size_t len, size_t *ret, bool *ret_is_exact)
{
    CK_RV bad = is_encrypting(op) ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
    size_t tag = op->param->tag_bits / 8;

    *ret_is_exact = true;
    switch (op->mech->scheme) {
    case KM_MS_CTR:
        *ret = len;
        return CKR_OK;
    case KM_MS_CBC:
    case KM_MS_ECB:
        *ret = len;
        return len % BLOCK == 0 ? CKR_OK : bad;
    case KM_MS_CBC_PAD:
        *ret = is_encrypting(op) ? (len / BLOCK + 1) * BLOCK : len;
        *ret_is_exact = is_encrypting(op);
        return is_encrypting(op) || (len > 0 && len % BLOCK == 0) ? CKR_OK : bad;
    case KM_MS_GCM:
        *ret = is_encrypting(op) ? len + tag : len - tag;
        return is_encrypting(op) || len >= tag ? CKR_OK : bad;
    default:
        *ret = km_operation_block_len(op);
        *ret_is_exact = is_encrypting(op);
        return is_encrypting(op) || len == *ret ? CKR_OK : bad;
    }
}

void km_cipher_count(uint8_t block[BLOCK], unsigned bits, uint64_t blocks)
{
    for (unsigned i = 0; i < BLOCK && bits > 0 && blocks > 0; i++) {
        uint8_t *byte = &block[BLOCK - 1 - i];
        uint8_t mask = bits >= 8 ? 0xff : (uint8_t)((1u << bits) - 1);
        uint64_t sum = (*byte & mask) + (blocks & 0xff);
        *byte = (uint8_t)((*byte & ~mask) | (sum & mask));
        blocks = (blocks >> 8) + (sum >> 8);
        bits = bits >= 8 ? bits - 8 : 0;
    }
}

/* The IV of what follows `in`, whose other side is `out`. */
static void move_iv(struct km_operation *op, const uint8_t *in, const uint8_t *out, size_t len)
{
    size_t used = op->skip + len;

    switch (op->mech->scheme) {
    case KM_MS_CBC:
    case KM_MS_CBC_PAD:
        if (len >= BLOCK)
            memcpy(op->param->iv.data, (is_encrypting(op) ? out : in) + len - BLOCK, BLOCK);
        break;
    case KM_MS_CTR:
        km_cipher_count(op->param->iv.data, op->param->counter_bits, used / BLOCK);
        op->skip = used % BLOCK;
        break;
    default:
        break;
    }
}

/* One request. A CTR part that begins inside a block is sent behind as many zero bytes, and their key stream is
 * dropped. */
static CK_RV work_chunk(struct km_session *session, struct km_operation *op, const uint8_t *in, size_t len,
                        bool is_part, struct km_buffer *out)
{
    struct km_buffer shifted = {0};
    Kmw__Reply *reply = NULL;
    size_t skip = op->skip;
    CK_RV rv = CKR_OK;

    if (skip > 0) {
        rv = km_buffer_add(&shifted, (uint8_t[BLOCK]){0}, skip, SIZE_MAX);
        if (rv == CKR_OK)
            rv = km_buffer_add(&shifted, in, len, SIZE_MAX);
    }
    if (rv == CKR_OK)
        rv = km_remote_use(session, op, skip > 0 ? shifted.data : in, skip + len, false /* digest */, is_part, NULL, 0,
                           &reply);
    if (rv != CKR_OK)
        goto out;
    /* A part gives as many bytes as it has; what a server says otherwise must not be trusted with the chain. */
    rv = CKR_DEVICE_ERROR;
    if (reply->use->data.len < skip || (is_part && reply->use->data.len != skip + len))
        goto out;
    rv = km_buffer_add(out, reply->use->data.data + skip, reply->use->data.len - skip, SIZE_MAX);
    if (is_part && rv == CKR_OK)
        move_iv(op, in, reply->use->data.data + skip, len);
    km_wipe(reply->use->data.data, reply->use->data.len);
out:
    km_buffer_free(&shifted);
    km_reply_free(reply);
    return rv;
}

/* Works on `len` bytes; `is_last`: nothing follows. */
static CK_RV work(struct km_session *session, struct km_operation *op, const uint8_t *in, size_t len, bool is_last,
                  struct km_buffer *out)
{
    if (op->public_key != NULL)
        return km_local_encrypt(op, in, len, out);
    while (!is_whole(op) && len > CHUNK) {
        KM_TRY(work_chunk(session, op, in, CHUNK, true /* part */, out));
        in += CHUNK;
        len -= CHUNK;
    }
    if (len == 0 && op->mech->scheme != KM_MS_CBC_PAD && !is_whole(op))
        return CKR_OK;
    return work_chunk(session, op, in, len, !is_last, out);
}

/* Everything that waits is the end of the message. Keeps the result in the operation until it fits. */
static CK_RV finish(struct km_session *session, struct km_operation *op, const uint8_t *in, size_t len, CK_BYTE *out,
                    CK_ULONG *out_len)
{
    size_t bound = 0;
    bool is_exact;

    if (!op->has_result) {
        KM_TRY(km_cipher_last_len(op, len, &bound, &is_exact));
        if (out == NULL || (is_exact && *out_len < bound))
            return km_hand_out(NULL, bound, out, out_len);
        KM_TRY(work(session, op, in, len, true /* last */, &op->result));
        op->has_result = true;
    }
    return km_hand_out(op->result.data, op->result.len, out, out_len);
}

CK_RV km_cipher_once(struct km_session *session, struct km_operation *op, const CK_BYTE *in, CK_ULONG in_len,
                     CK_BYTE *out, CK_ULONG *out_len)
{
    CK_RV rv = CKR_OPERATION_NOT_INITIALIZED;

    if (op->is_multipart)
        return km_operation_settle(op, rv, false);
    rv = CKR_ARGUMENTS_BAD;
    if (out_len != NULL && (in != NULL || in_len == 0))
        rv = in_len <= KM_BUFFERED_MAX ? finish(session, op, in, in_len, out, out_len) : CKR_DATA_LEN_RANGE;
    return km_operation_settle(op, rv, out == NULL);
}

static CK_RV update(struct km_session *session, struct km_operation *op, const CK_BYTE *in, CK_ULONG in_len,
                    CK_BYTE *out, CK_ULONG *out_len)
{
    struct km_buffer result = {0};
    size_t usable;
    CK_RV rv;

    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(in, in_len);
    KM_REQUIRE(in_len <= KM_BUFFERED_MAX, CKR_DATA_LEN_RANGE);
    usable = km_cipher_usable(op, op->text.len + in_len);
    if (out == NULL || *out_len < usable)
        return km_hand_out(NULL, usable, out, out_len);
    op->is_multipart = true;
    KM_TRY(km_buffer_add(&op->text, in, in_len, KM_BUFFERED_MAX + BLOCK));
    rv = usable > 0 ? work(session, op, op->text.data, usable, false /* last */, &result) : CKR_OK;
    if (rv == CKR_OK) {
        km_buffer_drop_front(&op->text, usable);
        rv = km_hand_out(result.data, result.len, out, out_len);
    }
    km_buffer_free(&result);
    return rv;
}

CK_RV km_cipher_update(struct km_session *session, struct km_operation *op, const CK_BYTE *in, CK_ULONG in_len,
                       CK_BYTE *out, CK_ULONG *out_len)
{
    return km_operation_settle(op, update(session, op, in, in_len, out, out_len), true);
}

CK_RV km_cipher_final(struct km_session *session, struct km_operation *op, CK_BYTE *out, CK_ULONG *out_len)
{
    CK_RV rv = CKR_ARGUMENTS_BAD;

    if (out_len != NULL)
        rv = finish(session, op, op->text.data, op->text.len, out, out_len);
    return km_operation_settle(op, rv, out == NULL);
}
