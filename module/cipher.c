/* SPDX-License-Identifier: Apache-2.0
 *
 * Streaming ciphers over self-contained requests. Invariant: op->param carries the IV for op->text's first byte, so
 * each chunk can be answered by any server. How a scheme chains is a row of a table; those that must see the whole
 * message (AEADs, whose text is not given out before the tag was checked, key wrap, RSA) wait until the end.
 * Lengths are known before anything is computed, except where padding hides them: such a result is kept when it does
 * not fit.
 */
#include "cipher.h"

#include "../common/symmetric.h"
#include "bulk.h"
#include "guard.h"
#include "local.h"
#include "remote.h"

#include <string.h>

#define BLOCK 16
#define SEMIBLOCK 8            /* of AES key wrap */
#define CHUNK (1024u * 1024)   /* bytes in one request; a multiple of every unit */
#define ONCE_MAX (1024u << 20) /* bytes of a message that goes in chunks, in one call */

/* What hangs the parts of a message together. */
enum chain {
    WHOLE,      /* it cannot be cut */
    NOTHING,    /* each block stands alone */
    CIPHERTEXT, /* the IV is the last block of ciphertext */
    KEY_STREAM, /* ... of key stream */
    COUNTER,
};

/* What the result's length follows from. */
enum growth {
    KEY, /* an RSA key's block */
    SAME,
    PADDED, /* to a whole block */
    TAGGED,
    WRAPPED,
    WRAPPED_ZERO,
    WRAPPED_PKCS7, /* a semiblock more, after padding */
};

static const struct rule {
    enum chain chain;
    unsigned unit; /* bytes that are worked on together */
    enum growth growth;
    unsigned least, multiple; /* SAME: bytes of the message */
} rules[KM_MS_COUNT] = {
    [KM_MS_ECB] = {NOTHING, BLOCK, SAME, 0, BLOCK},
    [KM_MS_CBC] = {CIPHERTEXT, BLOCK, SAME, 0, BLOCK},
    [KM_MS_CBC_PAD] = {CIPHERTEXT, BLOCK, PADDED, 0, 0},
    [KM_MS_CFB8] = {CIPHERTEXT, 1, SAME, 0, 1},
    [KM_MS_CFB128] = {CIPHERTEXT, BLOCK, SAME, 0, 1},
    [KM_MS_OFB] = {KEY_STREAM, BLOCK, SAME, 0, 1},
    [KM_MS_CTR] = {COUNTER, 1, SAME, 0, 1},
    [KM_MS_CHACHA20] = {COUNTER, 1, SAME, 0, 1},
    [KM_MS_CTS] = {WHOLE, 0, SAME, BLOCK, 1},
    [KM_MS_XTS] = {WHOLE, 0, SAME, BLOCK, 1},
    [KM_MS_GCM] = {WHOLE, 0, TAGGED, 0, 0},
    [KM_MS_CCM] = {WHOLE, 0, TAGGED, 0, 0},
    [KM_MS_CHACHA20_POLY1305] = {WHOLE, 0, TAGGED, 0, 0},
    [KM_MS_KW] = {WHOLE, 0, WRAPPED, 0, 0},
    [KM_MS_KWP] = {WHOLE, 0, WRAPPED_ZERO, 0, 0},
    [KM_MS_KW_PKCS7] = {WHOLE, 0, WRAPPED_PKCS7, 0, 0},
};

static const struct rule *rule_of(const struct km_operation *op)
{
    return &rules[op->mech->scheme];
}

static bool is_whole(const struct km_operation *op)
{
    return rule_of(op)->chain == WHOLE;
}

static bool is_encrypting(const struct km_operation *op)
{
    return op->kind == KM_OP_ENCRYPT;
}

size_t km_cipher_usable(const struct km_operation *op, size_t len)
{
    const struct rule *rule = rule_of(op);

    if (rule->chain == WHOLE || len == 0)
        return 0;
    if (rule->growth == PADDED && !is_encrypting(op)) /* the last block may be the padded one */
        len--;
    return len / rule->unit * rule->unit;
}

static size_t round_up(size_t len, size_t unit)
{
    return (len + unit - 1) / unit * unit;
}

/* Bytes of key wrap's results. CKR_OK: `len` can be. */
static bool wrapped_len(const struct km_operation *op, size_t len, size_t *ret, bool *ret_is_exact)
{
    enum growth growth = rule_of(op)->growth;

    if (!is_encrypting(op)) {
        *ret_is_exact = growth == WRAPPED;
        *ret = len - SEMIBLOCK;
        return len % SEMIBLOCK == 0 && len >= (growth == WRAPPED_ZERO ? 2 : 3) * SEMIBLOCK;
    }
    switch (growth) {
    case WRAPPED:
        *ret = len + SEMIBLOCK;
        return len % SEMIBLOCK == 0 && len >= 2 * SEMIBLOCK;
    case WRAPPED_ZERO:
        *ret = round_up(len, SEMIBLOCK) + SEMIBLOCK;
        return len >= 1;
    default:
        *ret = round_up(len + 1, SEMIBLOCK) + SEMIBLOCK;
        return len >= SEMIBLOCK;
    }
}

/* AEADs: the tag is behind the text; CCM's text is as long as was announced. */
static bool tagged_len(const struct km_operation *op, size_t len, size_t *ret)
{
    size_t tag = op->param->tag_bits / 8, text = is_encrypting(op) ? len : len - tag;

    *ret = is_encrypting(op) ? len + tag : text;
    if (!is_encrypting(op) && len < tag)
        return false;
    return op->mech->scheme != KM_MS_CCM || text == op->param->data_len;
}

CK_RV km_cipher_last_len(const struct km_operation *op, size_t len, size_t *ret, bool *ret_is_exact)
{
    const struct rule *rule = rule_of(op);
    bool is_good = false;

    *ret_is_exact = true;
    switch (rule->growth) {
    case SAME:
        *ret = len;
        is_good = len % rule->multiple == 0 && len >= rule->least;
        break;
    case PADDED:
        *ret = is_encrypting(op) ? (len / BLOCK + 1) * BLOCK : len;
        *ret_is_exact = is_encrypting(op);
        is_good = is_encrypting(op) || (len > 0 && len % BLOCK == 0);
        break;
    case TAGGED:
        is_good = tagged_len(op, len, ret);
        break;
    case WRAPPED:
    case WRAPPED_ZERO:
    case WRAPPED_PKCS7:
        is_good = wrapped_len(op, len, ret, ret_is_exact);
        break;
    case KEY:
        *ret = km_operation_block_len(op);
        *ret_is_exact = is_encrypting(op);
        is_good = is_encrypting(op) || len == *ret;
        break;
    }
    return is_good ? CKR_OK : is_encrypting(op) ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
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

/* --- key streams --- */

/* Bytes of key stream that one step of the counter gives. */
static size_t stream_block(const struct km_operation *op)
{
    return op->mech->scheme == KM_MS_CHACHA20 ? 64 : BLOCK;
}

/* ChaCha20's counter: the IV's first bytes, little endian. */
static uint64_t chacha_counter(const struct km_operation *op)
{
    uint64_t n = 0;

    for (unsigned i = op->param->counter_bits / 8; i > 0; i--)
        n = n << 8 | op->param->iv.data[i - 1];
    return n;
}

/* Whether `len` more bytes can be had without giving key stream twice: AES-CTR's counter may wrap but not come around,
 * ChaCha20's must not wrap (RFC 8439 2.4). */
static bool has_key_stream(const struct km_operation *op, size_t len)
{
    unsigned bits = op->param->counter_bits;
    uint64_t blocks = round_up(op->skip + len, stream_block(op)) / stream_block(op), limit;

    if (rule_of(op)->chain != COUNTER || len == 0)
        return true;
    limit = bits >= 64 ? UINT64_MAX : UINT64_C(1) << bits;
    if (op->mech->scheme == KM_MS_CHACHA20) /* from the counter that the message began with */
        limit -= (chacha_counter(op) - op->blocks) & (bits >= 64 ? UINT64_MAX : limit - 1);
    return op->blocks <= limit && blocks <= limit - op->blocks;
}

static void count_key_stream(struct km_operation *op, size_t len)
{
    size_t used = op->skip + len, block = stream_block(op), blocks = used / block;
    uint64_t n;

    op->skip = used % block;
    op->blocks += blocks;
    if (op->mech->scheme == KM_MS_CTR) {
        km_cipher_count(op->param->iv.data, op->param->counter_bits, blocks);
        return;
    }
    n = chacha_counter(op) + blocks;
    for (unsigned i = 0; i < op->param->counter_bits / 8; i++, n >>= 8)
        op->param->iv.data[i] = (uint8_t)n;
}

/* The IV of what follows `in`, whose other side is `out`. */
static void move_iv(struct km_operation *op, const uint8_t *in, const uint8_t *out, size_t len)
{
    const uint8_t *ciphertext = is_encrypting(op) ? out : in;
    uint8_t *iv = op->param->iv.data;
    size_t n = len < BLOCK ? len : BLOCK;

    switch (rule_of(op)->chain) {
    case CIPHERTEXT:
        memmove(iv, iv + n, BLOCK - n);
        memcpy(iv + BLOCK - n, ciphertext + len - n, n);
        break;
    case KEY_STREAM:
        for (size_t i = 0; n == BLOCK && i < BLOCK; i++)
            iv[i] = in[len - BLOCK + i] ^ out[len - BLOCK + i];
        break;
    case COUNTER:
        count_key_stream(op, len);
        break;
    default:
        break;
    }
}

/* What a server, or the key's value if it is here, makes of `len` bytes; into the empty `ret`. */
static CK_RV ask(struct km_session *session, struct km_operation *op, const uint8_t *in, size_t len, bool is_part,
                 struct km_buffer *ret)
{
    const struct km_secret *key = NULL;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    KM_TRY(km_bulk_key(session, op, len, &key));
    if (key != NULL) {
        KM_TRY(km_buffer_room(ret, len + KM_SYMMETRIC_GROWTH));
        rv = km_bulk_crypt(op, key, in, len, is_part, ret->data, &ret->len);
        if (rv != CKR_OK)
            ret->len = 0;
        return rv;
    }
    KM_TRY(km_remote_use(session, op, in, len, false /* digest */, is_part, NULL, 0, &reply));
    rv = km_buffer_add(ret, reply->use->data.data, reply->use->data.len, SIZE_MAX);
    km_wipe(reply->use->data.data, reply->use->data.len);
    km_reply_free(reply);
    return rv;
}

/* One request. A part that begins inside a block of key stream is sent behind as many zero bytes, and what they give is
 * dropped. */
static CK_RV work_chunk(struct km_session *session, struct km_operation *op, const uint8_t *in, size_t len,
                        bool is_part, struct km_buffer *out)
{
    struct km_buffer shifted = {0}, got = {0};
    size_t skip = op->skip;
    CK_RV rv = CKR_OK;

    KM_REQUIRE(has_key_stream(op, len), is_encrypting(op) ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE);
    if (skip > 0) {
        rv = km_buffer_add(&shifted, (uint8_t[64]){0}, skip, SIZE_MAX);
        if (rv == CKR_OK)
            rv = km_buffer_add(&shifted, in, len, SIZE_MAX);
    }
    if (rv == CKR_OK)
        rv = ask(session, op, skip > 0 ? shifted.data : in, skip + len, is_part, &got);
    if (rv != CKR_OK)
        goto out;
    /* A part gives as many bytes as it has; what a server says otherwise must not be trusted with the chain. */
    rv = CKR_DEVICE_ERROR;
    if (got.len < skip || (is_part && got.len != skip + len))
        goto out;
    if (is_part)
        move_iv(op, in, got.data + skip, len);
    km_buffer_drop_front(&got, skip);
    rv = CKR_OK;
    if (out->len == 0) {
        km_buffer_free(out);
        *out = got;
        got = (struct km_buffer){0};
    } else {
        rv = km_buffer_add(out, got.data, got.len, SIZE_MAX);
    }
out:
    km_buffer_free(&shifted);
    km_buffer_free(&got);
    return rv;
}

static bool are_apart(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    return (uintptr_t)a + a_len <= (uintptr_t)b || (uintptr_t)b + b_len <= (uintptr_t)a;
}

/* From the program's memory into the program's memory, where the key's value is here and the result's length is exact:
 * `room`. `*ret_done` false: not this way. */
static CK_RV work_straight(struct km_session *session, struct km_operation *op, const uint8_t *in, size_t len,
                           bool is_last, uint8_t *out, size_t room, bool *ret_done)
{
    enum growth growth = rule_of(op)->growth;
    const struct km_secret *key = NULL;
    size_t n = 0;

    *ret_done = false;
    if (len == 0 || op->skip > 0 || !are_apart(in, len, out, room) ||
        (growth != SAME && growth != TAGGED && (growth != PADDED || is_last)))
        return CKR_OK;
    KM_REQUIRE(has_key_stream(op, len), is_encrypting(op) ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE);
    KM_TRY(km_bulk_key(session, op, len, &key));
    if (key == NULL)
        return CKR_OK;
    KM_TRY(km_bulk_crypt(op, key, in, len, !is_last, out, &n));
    if (!is_last)
        move_iv(op, in, out, len);
    *ret_done = true;
    return CKR_OK;
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
    if (len == 0 && rule_of(op)->growth == SAME)
        return CKR_OK;
    return work_chunk(session, op, in, len, !is_last, out);
}

/* Everything that waits is the end of the message. Keeps the result in the operation until it fits. */
static CK_RV finish(struct km_session *session, struct km_operation *op, const uint8_t *in, size_t len, CK_BYTE *out,
                    CK_ULONG *out_len)
{
    size_t bound = 0;
    bool is_exact, is_done;

    if (!op->has_result) {
        KM_TRY(km_cipher_last_len(op, len, &bound, &is_exact));
        if (out == NULL || (is_exact && *out_len < bound))
            return km_hand_out(NULL, bound, out, out_len);
        KM_TRY(work_straight(session, op, in, len, true /* last */, out, bound, &is_done));
        if (is_done) {
            *out_len = bound;
            return CKR_OK;
        }
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
        rv = in_len <= (is_whole(op) ? KM_BUFFERED_MAX : ONCE_MAX) ? finish(session, op, in, in_len, out, out_len)
                                                                   : CKR_DATA_LEN_RANGE;
    return km_operation_settle(op, rv, out == NULL);
}

static CK_RV update(struct km_session *session, struct km_operation *op, const CK_BYTE *in, CK_ULONG in_len,
                    CK_BYTE *out, CK_ULONG *out_len)
{
    struct km_buffer result = {0};
    bool is_done = false;
    size_t usable;
    CK_RV rv;

    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(in, in_len);
    KM_REQUIRE(in_len <= KM_BUFFERED_MAX, CKR_DATA_LEN_RANGE);
    usable = km_cipher_usable(op, op->text.len + in_len);
    if (out == NULL || *out_len < usable)
        return km_hand_out(NULL, usable, out, out_len);
    op->is_multipart = true;
    if (op->text.len == 0 && are_apart(in, in_len, out, usable))
        KM_TRY(work_straight(session, op, in, usable, false /* last */, out, usable, &is_done));
    if (is_done) {
        *out_len = usable;
        return km_buffer_add(&op->text, in + usable, in_len - usable, BLOCK);
    }
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
