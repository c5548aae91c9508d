/* SPDX-License-Identifier: Apache-2.0
 *
 * State of active operations: begun here for all kinds by one set of checks, ended here by one rule. What is done with
 * a message in between is in sign.c, verify.c, cipher.c and digest.c. Under the session's lock.
 */
#include "operation.h"

#include "../common/attr.h"
#include "guard.h"
#include "local.h"
#include "remote.h"

#include <stdlib.h>
#include <string.h>

/* What each kind of operation asks of a mechanism and a key. */
static const struct kind {
    CK_FLAGS flag;
    CK_ATTRIBUTE_TYPE usage;
    CK_OBJECT_CLASS half; /* of a key pair */
} kinds[KM_OPERATIONS] = {
    [KM_OP_ENCRYPT] = {CKF_ENCRYPT, CKA_ENCRYPT, CKO_PUBLIC_KEY},
    [KM_OP_DECRYPT] = {CKF_DECRYPT, CKA_DECRYPT, CKO_PRIVATE_KEY},
    [KM_OP_DIGEST] = {CKF_DIGEST, CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION},
    [KM_OP_SIGN] = {CKF_SIGN, CKA_SIGN, CKO_PRIVATE_KEY},
    [KM_OP_VERIFY] = {CKF_VERIFY, CKA_VERIFY, CKO_PUBLIC_KEY},
};

CK_RV km_buffer_add(struct km_buffer *buffer, const void *data, size_t len, size_t max)
{
    size_t cap = buffer->cap;
    uint8_t *grown;

    if (len == 0)
        return CKR_OK;
    if (len > max || buffer->len > max - len)
        return CKR_DATA_LEN_RANGE;
    if (buffer->len + len > cap) {
        cap = cap < 64 ? 64 : cap;
        while (cap < buffer->len + len)
            cap *= 2;
        grown = malloc(cap); /* no realloc: it may leave plaintext behind */
        if (grown == NULL)
            return CKR_HOST_MEMORY;
        if (buffer->data != NULL) {
            memcpy(grown, buffer->data, buffer->len);
            km_wipe(buffer->data, buffer->len);
            free(buffer->data);
        }
        buffer->data = grown;
        buffer->cap = cap;
    }
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
    return CKR_OK;
}

void km_buffer_drop_front(struct km_buffer *buffer, size_t len)
{
    if (len == 0)
        return;
    memmove(buffer->data, buffer->data + len, buffer->len - len);
    km_wipe(buffer->data + buffer->len - len, len);
    buffer->len -= len;
}

void km_buffer_free(struct km_buffer *buffer)
{
    if (buffer->data != NULL)
        km_wipe(buffer->data, buffer->len);
    free(buffer->data);
    *buffer = (struct km_buffer){0};
}

void km_operation_end(struct km_operation *op)
{
    enum km_operation_kind kind = op->kind;

    if (op->param != NULL)
        kmw__mechanism__free_unpacked(op->param, NULL);
    km_view_unref(op->key);
    EVP_PKEY_free(op->public_key);
    EVP_MD_CTX_free(op->digest);
    km_buffer_free(&op->text);
    km_buffer_free(&op->result);
    km_secret_free(&op->pin);
    *op = (struct km_operation){.kind = kind};
}

CK_RV km_operation_settle(struct km_operation *op, CK_RV rv, bool goes_on)
{
    if (rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && goes_on))
        return rv;
    km_operation_end(op);
    return rv;
}

CK_RV km_hand_out(const uint8_t *data, size_t len, CK_BYTE *out, CK_ULONG *out_len)
{
    CK_ULONG room = *out_len;

    *out_len = len;
    if (out == NULL)
        return CKR_OK;
    if (room < len)
        return CKR_BUFFER_TOO_SMALL;
    if (len > 0)
        memcpy(out, data, len);
    return CKR_OK;
}

/* --- mechanisms --- */

static bool copy_bytes(ProtobufCBinaryData *to, const void *data, size_t len)
{
    if (len == 0)
        return true;
    to->data = malloc(len);
    if (to->data == NULL)
        return false;
    memcpy(to->data, data, len);
    to->len = len;
    return true;
}

static CK_RV read_gcm(const CK_GCM_PARAMS *gcm, Kmw__Mechanism *param)
{
    KM_REQUIRE(gcm->pIv != NULL && gcm->ulIvLen >= 1 && gcm->ulIvLen <= 256, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(gcm->pAAD != NULL || gcm->ulAADLen == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(gcm->ulAADLen <= KM_BUFFERED_MAX / 64, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(gcm->ulTagBits >= 32 && gcm->ulTagBits <= 128 && gcm->ulTagBits % 8 == 0, CKR_MECHANISM_PARAM_INVALID);
    param->tag_bits = gcm->ulTagBits;
    if (!copy_bytes(&param->iv, gcm->pIv, gcm->ulIvLen) || !copy_bytes(&param->aad, gcm->pAAD, gcm->ulAADLen))
        return CKR_HOST_MEMORY;
    return CKR_OK;
}

static CK_RV read_ctr(const CK_AES_CTR_PARAMS *ctr, Kmw__Mechanism *param)
{
    KM_REQUIRE(ctr->ulCounterBits >= 1 && ctr->ulCounterBits <= 128, CKR_MECHANISM_PARAM_INVALID);
    param->counter_bits = ctr->ulCounterBits;
    return copy_bytes(&param->iv, ctr->cb, sizeof(ctr->cb)) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_pss(const struct km_mech *mech, const CK_RSA_PKCS_PSS_PARAMS *pss, Kmw__Mechanism *param)
{
    KM_REQUIRE(km_mech_md(pss->hashAlg, NULL) != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(km_mech_mgf_md(pss->mgf, NULL) != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(mech->md == NULL || mech->digest == pss->hashAlg, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(pss->sLen <= 512, CKR_MECHANISM_PARAM_INVALID);
    param->hash = pss->hashAlg;
    param->mgf = pss->mgf;
    param->salt_len = pss->sLen;
    return CKR_OK;
}

static CK_RV read_oaep(const CK_RSA_PKCS_OAEP_PARAMS *oaep, Kmw__Mechanism *param)
{
    /* pkcs11-provider 1.0 leaves both 0 when its user names no hash, meaning the defaults of RFC 8017 A.2.1. */
    bool is_default = oaep->hashAlg == 0 && oaep->mgf == 0;
    CK_MECHANISM_TYPE hash = is_default ? CKM_SHA_1 : oaep->hashAlg;
    CK_RSA_PKCS_MGF_TYPE mgf = is_default ? CKG_MGF1_SHA1 : oaep->mgf;
    KM_REQUIRE(km_mech_md(hash, NULL) != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(km_mech_mgf_md(mgf, NULL) != NULL, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(oaep->source == CKZ_DATA_SPECIFIED || (oaep->source == 0 && oaep->ulSourceDataLen == 0),
               CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(oaep->pSourceData != NULL || oaep->ulSourceDataLen == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(oaep->ulSourceDataLen <= 65536, CKR_MECHANISM_PARAM_INVALID);
    param->hash = hash;
    param->mgf = mgf;
    return copy_bytes(&param->label, oaep->pSourceData, oaep->ulSourceDataLen) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_param(const struct km_mech *mech, const CK_MECHANISM *mechanism, Kmw__Mechanism *param)
{
    static const size_t lens[] = {
        [KM_MP_NONE] = 0,
        [KM_MP_IV16] = 16,
        [KM_MP_CTR] = sizeof(CK_AES_CTR_PARAMS),
        [KM_MP_GCM] = sizeof(CK_GCM_PARAMS),
        [KM_MP_PSS] = sizeof(CK_RSA_PKCS_PSS_PARAMS),
        [KM_MP_OAEP] = sizeof(CK_RSA_PKCS_OAEP_PARAMS),
    };
    const void *p = mechanism->pParameter;

    KM_REQUIRE(mechanism->ulParameterLen == lens[mech->param], CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(p != NULL || mech->param == KM_MP_NONE, CKR_MECHANISM_PARAM_INVALID);
    switch (mech->param) {
    case KM_MP_NONE:
        return CKR_OK;
    case KM_MP_IV16:
        return copy_bytes(&param->iv, p, 16) ? CKR_OK : CKR_HOST_MEMORY;
    case KM_MP_CTR:
        return read_ctr(p, param);
    case KM_MP_GCM:
        return read_gcm(p, param);
    case KM_MP_PSS:
        return read_pss(mech, p, param);
    case KM_MP_OAEP:
        return read_oaep(p, param);
    }
    return CKR_MECHANISM_PARAM_INVALID;
}

CK_RV km_mechanism_read(const struct km_mech *mech, const CK_MECHANISM *mechanism, Kmw__Mechanism **ret)
{
    Kmw__Mechanism *param = malloc(sizeof(*param));
    CK_RV rv;

    if (param == NULL)
        return CKR_HOST_MEMORY;
    kmw__mechanism__init(param);
    param->type = mech->type;
    rv = read_param(mech, mechanism, param);
    if (rv == CKR_OK)
        *ret = param;
    else
        kmw__mechanism__free_unpacked(param, NULL);
    return rv;
}

/* --- beginning --- */

static bool is_mechanism_allowed(const struct km_view *key, CK_MECHANISM_TYPE type)
{
    const Kmw__Attr *allowed = km_attr_find(key->object->attrs, key->object->n_attrs, CKA_ALLOWED_MECHANISMS);

    if (allowed == NULL || allowed->value.len == 0)
        return true;
    for (size_t i = 0; i + 8 <= allowed->value.len; i += 8)
        if (km_attr_get_u64(allowed->value.data + i) == type)
            return true;
    return false;
}

static CK_RV check_key(const struct kind *kind, const struct km_mech *mech, const struct km_view *key)
{
    Kmw__Attr **attrs = key->object->attrs;
    size_t n = key->object->n_attrs;
    bool is_pair = mech->key_type == CKK_RSA || mech->key_type == CKK_EC;

    KM_REQUIRE(key->class == CKO_PUBLIC_KEY || key->class == CKO_PRIVATE_KEY || key->class == CKO_SECRET_KEY,
               CKR_KEY_HANDLE_INVALID);
    KM_REQUIRE(key->key_type == mech->key_type, CKR_KEY_TYPE_INCONSISTENT);
    KM_REQUIRE(!is_pair || key->class == kind->half, CKR_KEY_TYPE_INCONSISTENT);
    KM_REQUIRE(km_attr_bool(attrs, n, kind->usage, false), CKR_KEY_FUNCTION_NOT_PERMITTED);
    KM_REQUIRE(is_mechanism_allowed(key, mech->type), CKR_MECHANISM_INVALID);
    return CKR_OK;
}

static CK_RV prepare(struct km_session *session, struct km_operation *op, const CK_MECHANISM *mechanism,
                     CK_OBJECT_HANDLE handle)
{
    const struct kind *kind = &kinds[op->kind];
    bool is_local;
    CK_RV rv;

    op->mech = km_mech(mechanism->mechanism);
    KM_REQUIRE(op->mech != NULL && (op->mech->flags & kind->flag), CKR_MECHANISM_INVALID);
    is_local = km_local_computes(op->mech, op->kind);
    rv = km_remote_view(session, handle, !is_local, &op->key);
    KM_REQUIRE(rv != CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID);
    KM_TRY(rv);
    KM_TRY(check_key(kind, op->mech, op->key));
    KM_TRY(km_mechanism_read(op->mech, mechanism, &op->param));
    op->needs_pin = km_attr_bool(op->key->object->attrs, op->key->object->n_attrs, CKA_ALWAYS_AUTHENTICATE, false);
    if (is_local)
        KM_TRY(km_local_public_key(op->key, &op->public_key));
    if ((op->kind == KM_OP_SIGN || op->kind == KM_OP_VERIFY) && op->mech->md != NULL && op->mech->scheme != KM_MS_HMAC)
        KM_TRY(km_local_digest(op->mech->md, &op->digest));
    return CKR_OK;
}

CK_RV km_operation_begin(struct km_session *session, enum km_operation_kind kind, const CK_MECHANISM *mechanism,
                         CK_OBJECT_HANDLE key)
{
    struct km_operation *op = &session->operations[kind];
    CK_RV rv;

    KM_REQUIRE(mechanism != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(!op->is_active, CKR_OPERATION_ACTIVE);
    rv = prepare(session, op, mechanism, key);
    if (rv == CKR_OK)
        op->is_active = true;
    else
        km_operation_end(op);
    return rv;
}

/* --- messages --- */

static size_t curve_len(const struct km_view *key)
{
    const Kmw__Attr *params = km_attr_find(key->object->attrs, key->object->n_attrs, CKA_EC_PARAMS);

    return params == NULL ? 0 : km_local_curve_len(params->value.data, params->value.len);
}

size_t km_operation_block_len(const struct km_operation *op)
{
    const Kmw__Attr *modulus;
    size_t len = 0;

    switch (op->mech->key_type) {
    case CKK_EC:
        return 2 * curve_len(op->key);
    case CKK_RSA:
        modulus = km_attr_find(op->key->object->attrs, op->key->object->n_attrs, CKA_MODULUS);
        while (modulus != NULL && len < modulus->value.len && modulus->value.data[len] == 0)
            len++;
        return modulus == NULL ? 0 : modulus->value.len - len;
    default:
        return op->mech->md != NULL ? km_local_digest_len(op->mech->md) : 16;
    }
}

CK_RV km_message_add(struct km_operation *op, const uint8_t *data, size_t len)
{
    if (op->digest == NULL)
        return km_buffer_add(&op->text, data, len, KM_BUFFERED_MAX);
    if (len > 0 && EVP_DigestUpdate(op->digest, data, len) != 1)
        return CKR_FUNCTION_FAILED;
    return CKR_OK;
}

CK_RV km_message_finish(struct km_operation *op, uint8_t *hash, const uint8_t **ret, size_t *ret_len)
{
    unsigned len = 0;

    if (op->digest == NULL) {
        *ret = op->text.data;
        *ret_len = op->text.len;
        return CKR_OK;
    }
    if (EVP_DigestFinal_ex(op->digest, hash, &len) != 1)
        return CKR_FUNCTION_FAILED;
    *ret = hash;
    *ret_len = len;
    return CKR_OK;
}
