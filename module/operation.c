/* SPDX-License-Identifier: Apache-2.0
 *
 * State of active operations: begun here for all kinds by one set of checks, ended here by one rule. What is done with
 * a message in between is in sign.c, verify.c, cipher.c and digest.c. Under the session's lock.
 */
#include "operation.h"

#include "../common/attr.h"
#include "../common/domain.h"
#include "guard.h"
#include "local.h"
#include "offer.h"
#include "remote.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What each kind of operation asks of a mechanism and a key, and what it comes to. */
static const struct kind {
    CK_FLAGS flag;
    CK_ATTRIBUTE_TYPE usage;
    CK_OBJECT_CLASS half; /* of a key pair */
    enum km_operation_kind deed;
} kinds[KM_OPERATIONS] = {
    [KM_OP_ENCRYPT] = {CKF_ENCRYPT, CKA_ENCRYPT, CKO_PUBLIC_KEY, KM_OP_ENCRYPT},
    [KM_OP_DECRYPT] = {CKF_DECRYPT, CKA_DECRYPT, CKO_PRIVATE_KEY, KM_OP_DECRYPT},
    [KM_OP_DIGEST] = {CKF_DIGEST, CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, KM_OP_DIGEST},
    [KM_OP_SIGN] = {CKF_SIGN, CKA_SIGN, CKO_PRIVATE_KEY, KM_OP_SIGN},
    [KM_OP_VERIFY] = {CKF_VERIFY, CKA_VERIFY, CKO_PUBLIC_KEY, KM_OP_VERIFY},
    [KM_OP_SIGN_RECOVER] = {CKF_SIGN_RECOVER, CKA_SIGN_RECOVER, CKO_PRIVATE_KEY, KM_OP_SIGN_RECOVER},
    [KM_OP_VERIFY_RECOVER] = {CKF_VERIFY_RECOVER, CKA_VERIFY_RECOVER, CKO_PUBLIC_KEY, KM_OP_VERIFY_RECOVER},
    [KM_OP_MESSAGE_ENCRYPT] = {CKF_MESSAGE_ENCRYPT, CKA_ENCRYPT, CKO_PUBLIC_KEY, KM_OP_ENCRYPT},
    [KM_OP_MESSAGE_DECRYPT] = {CKF_MESSAGE_DECRYPT, CKA_DECRYPT, CKO_PRIVATE_KEY, KM_OP_DECRYPT},
    [KM_OP_MESSAGE_SIGN] = {CKF_MESSAGE_SIGN, CKA_SIGN, CKO_PRIVATE_KEY, KM_OP_SIGN},
    [KM_OP_MESSAGE_VERIFY] = {CKF_MESSAGE_VERIFY, CKA_VERIFY, CKO_PUBLIC_KEY, KM_OP_VERIFY},
};

enum km_operation_kind km_operation_deed(const struct km_operation *op)
{
    return kinds[op->kind].deed;
}

CK_RV km_buffer_room(struct km_buffer *buffer, size_t len)
{
    size_t cap = buffer->cap < 64 ? 64 : buffer->cap;
    uint8_t *grown;

    if (len <= buffer->cap - buffer->len)
        return CKR_OK;
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
    return CKR_OK;
}

CK_RV km_buffer_add(struct km_buffer *buffer, const void *data, size_t len, size_t max)
{
    if (len == 0)
        return CKR_OK;
    if (len > max || buffer->len > max - len)
        return CKR_DATA_LEN_RANGE;
    if (km_buffer_room(buffer, len) != CKR_OK)
        return CKR_HOST_MEMORY;
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
    km_buffer_free(&op->signature);
    km_buffer_free(&op->base);
    km_secret_free(&op->pin);
    *op = (struct km_operation){.kind = kind};
}

void km_operation_cancel(struct km_session *session, CK_FLAGS flags)
{
    for (int i = 0; i < KM_OPERATIONS; i++)
        if (flags & kinds[i].flag)
            km_operation_end(&session->operations[i]);
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
    bool is_pair = km_key_type_is_pair(mech->key_type);

    KM_REQUIRE(key->class == CKO_PUBLIC_KEY || key->class == CKO_PRIVATE_KEY || key->class == CKO_SECRET_KEY,
               CKR_KEY_HANDLE_INVALID);
    KM_REQUIRE(km_mech_takes(mech, key->key_type), CKR_KEY_TYPE_INCONSISTENT);
    KM_REQUIRE(!is_pair || key->class == kind->half, CKR_KEY_TYPE_INCONSISTENT);
    KM_REQUIRE(km_attr_bool(attrs, n, kind->usage, false), CKR_KEY_FUNCTION_NOT_PERMITTED);
    KM_REQUIRE(is_mechanism_allowed(key, mech->type), CKR_MECHANISM_INVALID);
    return CKR_OK;
}

static const ProtobufCBinaryData *date_of(const struct km_view *key, CK_ATTRIBUTE_TYPE type)
{
    const Kmw__Attr *attr = km_attr_find(key->object->attrs, key->object->n_attrs, type);

    return attr != NULL ? &attr->value : NULL;
}

/* CKA_START_DATE and CKA_END_DATE, where no server looks at them. */
static bool is_in_time(const struct km_view *key, enum km_operation_kind kind)
{
    bool makes_new = kind == KM_OP_ENCRYPT || kind == KM_OP_SIGN;

    return km_attr_is_within(date_of(key, CKA_START_DATE), date_of(key, CKA_END_DATE), (uint64_t)time(NULL) * 1000,
                             makes_new);
}

static CK_RV prepare_digest(struct km_operation *op, const CK_MECHANISM *mechanism)
{
    KM_REQUIRE(mechanism->ulParameterLen == 0, CKR_MECHANISM_PARAM_INVALID);
    return km_local_digest(op->mech->md, &op->digest);
}

/* An AEAD's parameter comes with each message; here there may be one of the right size, or none. */
static CK_RV prepare_param(struct km_operation *op, const CK_MECHANISM *mechanism)
{
    if (op->kind == KM_OP_MESSAGE_ENCRYPT || op->kind == KM_OP_MESSAGE_DECRYPT)
        return km_message_param_check(mechanism);
    return km_mechanism_read(op->mech, mechanism, &op->param);
}

static CK_RV prepare(struct km_session *session, struct km_operation *op, const CK_MECHANISM *mechanism,
                     CK_OBJECT_HANDLE handle)
{
    const struct kind *kind = &kinds[op->kind];
    CK_MECHANISM_INFO info;
    bool is_local, is_signature = kind->deed == KM_OP_SIGN || kind->deed == KM_OP_VERIFY;
    CK_RV rv;

    op->mech = km_mech(mechanism->mechanism);
    KM_REQUIRE(op->mech != NULL && (op->mech->flags & kind->flag), CKR_MECHANISM_INVALID);
    if (op->kind == KM_OP_DIGEST)
        return prepare_digest(op, mechanism);
    is_local = km_local_computes(op->mech, kind->deed);
    KM_REQUIRE(is_local || (km_offer_info(op->mech, &info) == CKR_OK && (info.flags & kind->flag)),
               CKR_MECHANISM_INVALID);
    rv = km_remote_view(session, handle, !is_local, &op->key);
    KM_REQUIRE(rv != CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID);
    KM_TRY(rv);
    KM_TRY(check_key(kind, op->mech, op->key));
    KM_TRY(prepare_param(op, mechanism));
    op->needs_pin = km_attr_bool(op->key->object->attrs, op->key->object->n_attrs, CKA_ALWAYS_AUTHENTICATE, false);
    KM_REQUIRE(!is_local || is_in_time(op->key, kind->deed), CKR_KEY_FUNCTION_NOT_PERMITTED);
    if (is_local)
        KM_TRY(km_local_public_key(op->key, &op->public_key));
    if (op->mech->scheme == KM_MS_MESSAGE || op->mech->scheme == KM_MS_PREHASH)
        KM_TRY(km_local_check_param(op));
    if (is_signature && op->mech->digest != CK_UNAVAILABLE_INFORMATION)
        KM_TRY(km_local_digest(op->mech->md, &op->digest));
    return CKR_OK;
}

CK_RV km_operation_begin(struct km_session *session, enum km_operation_kind kind, const CK_MECHANISM *mechanism,
                         CK_OBJECT_HANDLE key)
{
    struct km_operation *op = &session->operations[kind];
    CK_RV rv;

    if (mechanism == NULL) {
        KM_REQUIRE(op->is_active, CKR_ARGUMENTS_BAD); /* as before v3.0, where it never meant anything */
        km_operation_end(op);
        return CKR_OK;
    }
    KM_REQUIRE(!op->is_active, CKR_OPERATION_ACTIVE);
    rv = prepare(session, op, mechanism, key);
    if (rv == CKR_OK)
        op->is_active = true;
    else
        km_operation_end(op);
    return rv;
}

/* --- messages --- */

size_t km_operation_block_len(const struct km_operation *op)
{
    if (km_key_type_is_pair(op->mech->key_type))
        return km_local_block_len(op->key);
    if (op->mech->param == KM_MP_MAC_LEN)
        return op->param->mac_len;
    if (op->mech->scheme == KM_MS_GMAC)
        return op->param->tag_bits / 8;
    return op->mech->md != NULL ? km_local_digest_len(op->mech->md) : 16;
}

CK_RV km_message_add(struct km_operation *op, const uint8_t *data, size_t len)
{
    if (op->digest == NULL)
        return km_buffer_add(&op->text, data, len, KM_BUFFERED_MAX);
    if (len > 0 && EVP_DigestUpdate(op->digest, data, len) != 1)
        return CKR_FUNCTION_FAILED;
    return CKR_OK;
}

CK_RV km_message_update(struct km_operation *op, const uint8_t *part, CK_ULONG len)
{
    CK_RV rv = CKR_ARGUMENTS_BAD;

    op->is_multipart = true;
    if (part != NULL || len == 0)
        rv = km_message_add(op, part, len);
    return km_operation_settle(op, rv, true);
}

CK_RV km_message_reset(struct km_operation *op)
{
    km_buffer_free(&op->text);
    km_secret_free(&op->pin);
    op->has_pin = op->is_multipart = op->is_in_message = false;
    if (op->digest != NULL && EVP_DigestInit_ex2(op->digest, NULL, NULL) != 1)
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
