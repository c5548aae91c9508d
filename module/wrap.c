/* SPDX-License-Identifier: Apache-2.0
 *
 * C_WrapKey, C_UnwrapKey and their authenticated twins (PKCS#11 v3.2 5.18.4 to 5.18.7). How long a wrapped secret key
 * is follows from its attributes, so the usual size query costs no round trip; for a private key a server has to look.
 */
#include "guard.h"
#include "make.h"
#include "remote.h"

#include "../common/attr.h"
#include "../common/secret.h"
#include "mechanism.h"

#include <string.h>

#define BLOCK 16
#define SEMIBLOCK 8
#define AAD_MAX (1024u * 1024)

/* An authenticated mechanism's parameter, in the form for wrapping. */
struct wrap_param {
    Kmw__Mechanism *param;
    CK_BYTE *iv; /* where an IV that a server made goes; NULL: it is the program's own */
};

static CK_RV set_aad(Kmw__Mechanism *param, const void *aad, CK_ULONG len)
{
    KM_REQUIRE(aad != NULL || len == 0, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(len <= AAD_MAX, CKR_DATA_LEN_RANGE);
    if (len == 0)
        return CKR_OK;
    free(param->aad.data);
    param->aad = (ProtobufCBinaryData){0, NULL};
    return km_param_bytes(&param->aad, aad, len) ? CKR_OK : CKR_HOST_MEMORY;
}

/* The program's IV, or a wish for one: random, and wholly so. */
static CK_RV set_iv(struct wrap_param *w, CK_BYTE *iv, CK_ULONG len, CK_ULONG fixed_bits,
                    CK_GENERATOR_FUNCTION generator, bool is_wrap)
{
    KM_REQUIRE(iv != NULL && len >= 1 && len <= 128, CKR_MECHANISM_PARAM_INVALID);
    if (is_wrap && generator != CKG_NO_GENERATE) {
        KM_REQUIRE((generator == CKG_GENERATE || generator == CKG_GENERATE_RANDOM) && fixed_bits == 0 &&
                       (len == 12 || len == 13),
                   CKR_MECHANISM_PARAM_INVALID);
        w->param->makes_iv = true;
        w->iv = iv;
    }
    return km_param_bytes(&w->param->iv, iv, len) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV read_gcm(const CK_GCM_WRAP_PARAMS *p, bool is_wrap, struct wrap_param *w)
{
    KM_REQUIRE(p->ulTagBits >= 32 && p->ulTagBits <= 128 && p->ulTagBits % 8 == 0, CKR_MECHANISM_PARAM_INVALID);
    w->param->tag_bits = p->ulTagBits;
    KM_TRY(set_iv(w, p->pIv, p->ulIvLen, p->ulIvFixedBits, p->ivGenerator, is_wrap));
    return set_aad(w->param, p->pAAD, p->ulAADLen);
}

static CK_RV read_ccm(const CK_CCM_WRAP_PARAMS *p, bool is_wrap, struct wrap_param *w)
{
    KM_REQUIRE(p->ulMACLen >= 4 && p->ulMACLen <= 16 && p->ulMACLen % 2 == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_REQUIRE(p->ulNonceLen >= 7 && p->ulNonceLen <= 13, CKR_MECHANISM_PARAM_INVALID);
    w->param->tag_bits = 8 * p->ulMACLen;
    KM_TRY(set_iv(w, p->pNonce, p->ulNonceLen, p->ulNonceFixedBits, p->nonceGenerator, is_wrap));
    return set_aad(w->param, p->pAAD, p->ulAADLen);
}

/* A parameter is told by its size: the one for encrypting is as good. */
static CK_RV read_param(const struct km_mech *mech, const CK_MECHANISM *mechanism, bool is_wrap, struct wrap_param *w)
{
    bool is_gcm = mech->param == KM_MP_GCM && mechanism->ulParameterLen == sizeof(CK_GCM_WRAP_PARAMS);
    bool is_ccm = mech->param == KM_MP_CCM && mechanism->ulParameterLen == sizeof(CK_CCM_WRAP_PARAMS);

    if (!is_gcm && !is_ccm)
        return km_mechanism_read(mech, mechanism, &w->param);
    KM_REQUIRE(mechanism->pParameter != NULL, CKR_MECHANISM_PARAM_INVALID);
    w->param = malloc(sizeof(*w->param));
    KM_REQUIRE(w->param != NULL, CKR_HOST_MEMORY);
    kmw__mechanism__init(w->param);
    w->param->type = mech->type;
    return is_gcm ? read_gcm(mechanism->pParameter, is_wrap, w) : read_ccm(mechanism->pParameter, is_wrap, w);
}

static bool is_authenticating(const struct km_mech *mech)
{
    return mech->param == KM_MP_GCM || mech->param == KM_MP_CCM;
}

/* --- wrapping --- */

/* Bytes of the wrapped key, or 0: a server has to say. */
static size_t wrapped_len(const struct km_mech *mech, const Kmw__Mechanism *param, const struct km_view *with,
                          const struct km_view *key)
{
    size_t len = km_attr_ulong(key->object->attrs, key->object->n_attrs, CKA_VALUE_LEN, 0);
    const Kmw__Attr *modulus = km_attr_find(with->object->attrs, with->object->n_attrs, CKA_MODULUS);

    if (key->class != CKO_SECRET_KEY || len == 0)
        return 0;
    switch (mech->scheme) {
    case KM_MS_PKCS1:
    case KM_MS_OAEP:
        return modulus != NULL ? modulus->value.len : 0;
    case KM_MS_ECB:
    case KM_MS_CBC:
        return (len + BLOCK - 1) / BLOCK * BLOCK;
    case KM_MS_CBC_PAD:
        return (len / BLOCK + 1) * BLOCK;
    case KM_MS_GCM:
    case KM_MS_CCM:
        return len + param->tag_bits / 8;
    case KM_MS_KW:
        return len + SEMIBLOCK;
    case KM_MS_KW_PKCS7:
        return (len / SEMIBLOCK + 1) * SEMIBLOCK + SEMIBLOCK;
    case KM_MS_KWP:
        return (len + SEMIBLOCK - 1) / SEMIBLOCK * SEMIBLOCK + SEMIBLOCK;
    default:
        return 0;
    }
}

static CK_RV wrap_remote(struct km_session *session, const struct km_make_key *with, const struct km_make_key *key,
                         struct wrap_param *w, CK_BYTE *out, CK_ULONG *out_len)
{
    Kmw__KeyWrap op = KMW__KEY_WRAP__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    size_t iv_len = w->param->makes_iv ? w->param->iv.len : 0;
    const ProtobufCBinaryData *data;
    CK_RV rv = CKR_DEVICE_ERROR;

    op.wrapping_key = (Kmw__Key *)&with->key;
    op.key = (Kmw__Key *)&key->key;
    op.mechanism = w->param;
    request.op_case = KMW__REQUEST__OP_KEY_WRAP;
    request.key_wrap = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_READ, KMW__REPLY__RESULT_USE, &reply));
    data = &reply->use->data;
    if (data->len > iv_len)
        rv = km_hand_out(data->data + iv_len, data->len - iv_len, out, out_len);
    if (rv == CKR_OK && out != NULL && w->iv != NULL)
        memcpy(w->iv, data->data, iv_len);
    km_reply_free(reply);
    return rv;
}

static CK_RV wrap(CK_SESSION_HANDLE hSession, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping_handle,
                  CK_OBJECT_HANDLE handle, bool is_authenticated, const CK_BYTE *aad, CK_ULONG aad_len, CK_BYTE *out,
                  CK_ULONG *out_len)
{
    KM_SESSION(session, hSession);
    struct km_make_key with = {0}, key = {0};
    struct wrap_param w = {0};
    const struct km_mech *mech = NULL;
    size_t len = 0;
    CK_RV rv;

    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(km_maker_mech(mechanism, CKF_WRAP, &mech));
    KM_REQUIRE(!is_authenticated || is_authenticating(mech), CKR_MECHANISM_INVALID);
    rv = read_param(mech, mechanism, true /* wrap */, &w);
    if (rv == CKR_OK)
        rv = set_aad(w.param, aad, aad_len);
    if (rv == CKR_OK)
        rv = km_make_key_init(session, wrapping_handle, CKR_WRAPPING_KEY_HANDLE_INVALID, CKA_WRAP, &with);
    if (rv == CKR_OK)
        rv = km_make_key_init(session, handle, CKR_KEY_HANDLE_INVALID, CKA_EXTRACTABLE, &key);
    if (rv == CKR_OK)
        len = wrapped_len(mech, w.param, with.view, key.view);
    if (rv == CKR_OK && len > 0 && (out == NULL || *out_len < len))
        rv = km_hand_out(NULL, len, out, out_len);
    else if (rv == CKR_OK)
        rv = wrap_remote(session, &with, &key, &w, out, out_len);
    km_make_key_fini(&key);
    km_make_key_fini(&with);
    if (w.param != NULL)
        kmw__mechanism__free_unpacked(w.param, NULL);
    return rv;
}

CK_RV C_WrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hWrappingKey,
                CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
    return wrap(hSession, pMechanism, hWrappingKey, hKey, false, NULL, 0, pWrappedKey, pulWrappedKeyLen);
}

CK_RV C_WrapKeyAuthenticated(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hWrappingKey,
                             CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                             CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
    return wrap(hSession, pMechanism, hWrappingKey, hKey, true, pAssociatedData, ulAssociatedDataLen, pWrappedKey,
                pulWrappedKeyLen);
}

/* --- unwrapping --- */

static CK_RV unwrap(CK_SESSION_HANDLE hSession, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping_handle,
                    const CK_BYTE *wrapped, CK_ULONG wrapped_size, const CK_ATTRIBUTE *template, CK_ULONG n,
                    bool is_authenticated, const CK_BYTE *aad, CK_ULONG aad_len, CK_OBJECT_HANDLE *ret)
{
    KM_SESSION(session, hSession);
    struct km_make_key with = {0};
    struct wrap_param w = {0};
    Kmw__KeyUnwrap op = KMW__KEY_UNWRAP__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    const struct km_mech *mech = NULL;
    bool is_on_token = false;
    CK_RV rv;

    KM_REQUIRE(ret != NULL && wrapped != NULL && (template != NULL || n == 0), CKR_ARGUMENTS_BAD);
    KM_TRY(km_maker_mech(mechanism, CKF_UNWRAP, &mech));
    KM_REQUIRE(!is_authenticated || is_authenticating(mech), CKR_MECHANISM_INVALID);
    KM_REQUIRE(wrapped_size > 0 && wrapped_size <= KM_ATTR_VALUE_MAX, CKR_WRAPPED_KEY_LEN_RANGE);
    rv = read_param(mech, mechanism, false /* wrap */, &w);
    if (rv == CKR_OK)
        rv = set_aad(w.param, aad, aad_len);
    if (rv == CKR_OK)
        op.template_ = km_template_from_ck(template, n, &rv);
    if (rv == CKR_OK)
        rv = km_make_place(session, op.template_, &is_on_token);
    if (rv == CKR_OK)
        rv = km_make_key_init(session, unwrapping_handle, CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKA_UNWRAP, &with);
    if (rv == CKR_OK) {
        op.unwrapping_key = &with.key;
        op.mechanism = w.param;
        op.wrapped = km_bytes(wrapped, wrapped_size);
        request.op_case = KMW__REQUEST__OP_KEY_UNWRAP;
        request.key_unwrap = &op;
        rv = km_make_call(session, &request, is_on_token, CKR_UNWRAPPING_KEY_HANDLE_INVALID, 1, &ret);
    }
    km_make_key_fini(&with);
    if (op.template_ != NULL)
        kmw__template__free_unpacked(op.template_, NULL);
    if (w.param != NULL)
        kmw__mechanism__free_unpacked(w.param, NULL);
    return rv;
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hUnwrappingKey,
                  CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount,
                  CK_OBJECT_HANDLE_PTR phKey)
{
    return unwrap(hSession, pMechanism, hUnwrappingKey, pWrappedKey, ulWrappedKeyLen, pTemplate, ulAttributeCount,
                  false, NULL, 0, phKey);
}

CK_RV C_UnwrapKeyAuthenticated(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hUnwrappingKey,
                               CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE *pTemplate,
                               CK_ULONG ulAttributeCount, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                               CK_OBJECT_HANDLE_PTR phKey)
{
    return unwrap(hSession, pMechanism, hUnwrappingKey, pWrappedKey, ulWrappedKeyLen, pTemplate, ulAttributeCount, true,
                  pAssociatedData, ulAssociatedDataLen, phKey);
}
