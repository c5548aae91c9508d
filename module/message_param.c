/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of messages: one reader for each AEAD, and the generators of IVs (PKCS#11 v3.2 6.13.3). A random part has
 * at least RANDOM_BITS_MIN bits, so that it does not come twice within one key's life; a counter starts at 0 with each
 * C_MessageEncryptInit, as the standard says, and never comes around.
 */
#include "message.h"

#include "guard.h"
#include "local.h"

#include <stdlib.h>

#define IV_MAX 256
#define RANDOM_BITS_MIN 64

static CK_RV read_gcm(const void *p, struct km_message_param *ret)
{
    const CK_GCM_MESSAGE_PARAMS *gcm = p;

    KM_REQUIRE(gcm->ulTagBits >= 32 && gcm->ulTagBits <= 128 && gcm->ulTagBits % 8 == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(gcm->ulIvLen >= 1 && gcm->ulIvLen <= IV_MAX, CKR_MECHANISM_PARAM_INVALID);
    *ret = (struct km_message_param){.iv = gcm->pIv,
                                     .iv_len = gcm->ulIvLen,
                                     .fixed_bits = gcm->ulIvFixedBits,
                                     .generator = gcm->ivGenerator,
                                     .tag = gcm->pTag,
                                     .tag_len = gcm->ulTagBits / 8};
    return CKR_OK;
}

static CK_RV read_ccm(const void *p, struct km_message_param *ret)
{
    const CK_CCM_MESSAGE_PARAMS *ccm = p;

    KM_REQUIRE(ccm->ulMACLen >= 4 && ccm->ulMACLen <= 16 && ccm->ulMACLen % 2 == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(ccm->ulNonceLen >= 7 && ccm->ulNonceLen <= 13, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(ccm->ulDataLen <= KM_BUFFERED_MAX, CKR_MECHANISM_PARAM_INVALID);
    /* RFC 3610 2.1: the length is told in 15 - nonce bytes */
    KM_REQUIRE(ccm->ulDataLen >> (8 * (15 - ccm->ulNonceLen) - 1) >> 1 == 0, CKR_MECHANISM_PARAM_INVALID);
    *ret = (struct km_message_param){.iv = ccm->pNonce,
                                     .iv_len = ccm->ulNonceLen,
                                     .fixed_bits = ccm->ulNonceFixedBits,
                                     .generator = ccm->nonceGenerator,
                                     .tag = ccm->pMAC,
                                     .tag_len = ccm->ulMACLen,
                                     .data_len = ccm->ulDataLen};
    return CKR_OK;
}

static CK_RV read_chacha20_poly1305(const void *p, struct km_message_param *ret)
{
    const CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS *chacha = p;

    /* The standard counts this nonce in bits, programs in bytes. */
    KM_REQUIRE(chacha->ulNonceLen == 12 || chacha->ulNonceLen == 96, CKR_MECHANISM_PARAM_INVALID);
    *ret = (struct km_message_param){
        .iv = chacha->pNonce, .iv_len = 12, .generator = CKG_NO_GENERATE, .tag = chacha->pTag, .tag_len = 16};
    return CKR_OK;
}

static const struct reader {
    CK_MECHANISM_TYPE type;
    size_t len;
    CK_RV (*read)(const void *p, struct km_message_param *ret);
} readers[] = {
    {CKM_AES_GCM, sizeof(CK_GCM_MESSAGE_PARAMS), read_gcm},
    {CKM_AES_CCM, sizeof(CK_CCM_MESSAGE_PARAMS), read_ccm},
    {CKM_CHACHA20_POLY1305, sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS), read_chacha20_poly1305},
};

static const struct reader *find_reader(CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
        if (readers[i].type == type)
            return &readers[i];
    return NULL;
}

CK_RV km_message_param_check(const CK_MECHANISM *mechanism)
{
    const struct reader *reader = find_reader(mechanism->mechanism);

    KM_REQUIRE(reader != NULL, CKR_MECHANISM_INVALID);
    KM_REQUIRE(mechanism->ulParameterLen == 0 ||
                   (mechanism->ulParameterLen == reader->len && mechanism->pParameter != NULL),
               CKR_MECHANISM_PARAM_INVALID);
    return CKR_OK;
}

CK_RV km_message_param_read(const struct km_operation *op, const void *param, CK_ULONG param_len,
                            struct km_message_param *ret)
{
    const struct reader *reader = find_reader(op->mech->type);

    KM_REQUIRE(reader != NULL && param != NULL && param_len == reader->len, CKR_MECHANISM_PARAM_INVALID);
    KM_TRY(reader->read(param, ret));
    KM_REQUIRE(ret->iv != NULL && ret->tag != NULL, CKR_MECHANISM_PARAM_INVALID);
    return CKR_OK;
}

/* --- generators --- */

/* The last `bits` bits of the IV from `source`. */
static void put_tail(uint8_t *iv, const uint8_t *source, size_t len, size_t bits)
{
    for (size_t i = 0; i < len && bits > 0; i++) {
        size_t at = len - 1 - i;
        uint8_t mask = bits >= 8 ? 0xff : (uint8_t)((1u << bits) - 1);
        iv[at] = (uint8_t)((iv[at] & ~mask) | (source[at] & mask));
        bits -= bits >= 8 ? 8 : bits;
    }
}

/* The counter's value as the last bytes of an IV, and the counter moved on. */
static CK_RV next_count(struct km_operation *op, uint8_t *ret, size_t len, size_t bits)
{
    uint64_t count = op->messages;

    KM_REQUIRE(bits >= 64 || count < UINT64_C(1) << bits, CKR_KEY_EXHAUSTED);
    memset(ret, 0, len);
    for (size_t i = 0; i < len && i < 8; i++)
        ret[len - 1 - i] = (uint8_t)(count >> 8 * i);
    op->messages++;
    return CKR_OK;
}

/* The counter xored with what the program passed with the first message. It must not pass anything else later; but the
 * last IV, which was given back in the same place, is as good. */
static CK_RV xor_count(struct km_operation *op, uint8_t *iv, size_t len, size_t bits)
{
    uint8_t count[IV_MAX];

    if (op->messages == 0)
        KM_TRY(km_buffer_add(&op->base, iv, len, IV_MAX));
    KM_REQUIRE(op->base.len == len, CKR_MECHANISM_PARAM_INVALID);
    memcpy(iv, op->base.data, len);
    KM_TRY(next_count(op, count, len, bits));
    for (size_t i = 0; i < len; i++)
        count[i] ^= iv[i];
    put_tail(iv, count, len, bits);
    return CKR_OK;
}

static CK_RV generate(struct km_operation *op, const struct km_message_param *param, uint8_t *iv)
{
    size_t len = param->iv_len, bits = len * 8 - param->fixed_bits;
    uint8_t fresh[IV_MAX];

    switch (param->generator) {
    case CKG_GENERATE:
    case CKG_GENERATE_RANDOM:
        KM_REQUIRE(bits >= RANDOM_BITS_MIN, CKR_MECHANISM_PARAM_INVALID);
        KM_REQUIRE(km_local_random(fresh, len), CKR_FUNCTION_FAILED);
        break;
    case CKG_GENERATE_COUNTER:
        KM_TRY(next_count(op, fresh, len, bits));
        break;
    case CKG_GENERATE_COUNTER_XOR:
        return xor_count(op, iv, len, bits);
    default:
        return CKR_MECHANISM_PARAM_INVALID;
    }
    put_tail(iv, fresh, len, bits);
    return CKR_OK;
}

static bool copy_bytes(ProtobufCBinaryData *to, const void *data, size_t len)
{
    to->data = len > 0 ? malloc(len) : NULL;
    if (to->data == NULL)
        return len == 0;
    memcpy(to->data, data, len);
    to->len = len;
    return true;
}

CK_RV km_message_param_use(struct km_operation *op, const struct km_message_param *param, bool is_encrypting,
                           const CK_BYTE *aad, CK_ULONG aad_len, Kmw__Mechanism **ret)
{
    Kmw__Mechanism *made;
    uint8_t iv[IV_MAX];

    KM_REQUIRE_BYTES(aad, aad_len);
    KM_REQUIRE(aad_len <= KM_BUFFERED_MAX / 64, CKR_MECHANISM_PARAM_INVALID);
    memcpy(iv, param->iv, param->iv_len);
    if (is_encrypting && param->generator != CKG_NO_GENERATE) {
        KM_REQUIRE(param->fixed_bits <= param->iv_len * 8, CKR_MECHANISM_PARAM_INVALID);
        KM_TRY(generate(op, param, iv));
    }
    made = malloc(sizeof(*made));
    KM_REQUIRE(made != NULL, CKR_HOST_MEMORY);
    kmw__mechanism__init(made);
    made->type = op->mech->type;
    made->tag_bits = (uint32_t)param->tag_len * 8;
    made->data_len = param->data_len;
    if (!copy_bytes(&made->iv, iv, param->iv_len) || !copy_bytes(&made->aad, aad, aad_len)) {
        kmw__mechanism__free_unpacked(made, NULL);
        return CKR_HOST_MEMORY;
    }
    *ret = made;
    return CKR_OK;
}
