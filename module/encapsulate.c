/* SPDX-License-Identifier: Apache-2.0
 *
 * C_EncapsulateKey and C_DecapsulateKey (PKCS#11 v3.2 5.18.8, 5.18.9). A key that is to be on the token is a session
 * object first and then copied there: the ciphertext of a change whose answer was lost could not be had again.
 */
#include "guard.h"
#include "make.h"
#include "object.h"
#include "remote.h"

#include "../common/attr.h"

#include <stdlib.h>

/* Bytes of ML-KEM's ciphertext by CKA_PARAMETER_SET (FIPS 203, table 3), or 0. */
static size_t ciphertext_len(const struct km_view *key)
{
    switch (km_attr_ulong(key->object->attrs, key->object->n_attrs, CKA_PARAMETER_SET, 0)) {
    case CKP_ML_KEM_512:
        return 768;
    case CKP_ML_KEM_768:
        return 1088;
    case CKP_ML_KEM_1024:
        return 1568;
    default:
        return 0;
    }
}

static bool set_bool(Kmw__Template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
    Kmw__Attr *attr = (Kmw__Attr *)km_attr_find(t->attrs, t->n_attrs, type), **grown;

    if (attr == NULL) {
        grown = reallocarray(t->attrs, t->n_attrs + 1, sizeof(*grown));
        if (grown == NULL)
            return false;
        t->attrs = grown;
        attr = malloc(sizeof(*attr));
        if (attr == NULL)
            return false;
        kmw__attr__init(attr);
        attr->type = type;
        attr->value.data = malloc(1);
        attr->value.len = 1;
        t->attrs[t->n_attrs++] = attr;
    }
    if (attr->value.data == NULL)
        return false;
    attr->value.data[0] = value;
    return true;
}

/* The session key's copy on the token, which has the defaults of token keys. */
static CK_RV move_to_token(struct km_session *session, Kmw__Object *made, bool is_sensitive, bool is_extractable,
                           CK_OBJECT_HANDLE *ret)
{
    Kmw__Template changes = KMW__TEMPLATE__INIT;
    Kmw__Key key = KMW__KEY__INIT;
    Kmw__ObjectCopy op = KMW__OBJECT_COPY__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    CK_RV rv = CKR_HOST_MEMORY;

    key.sealed = made->sealed;
    op.source = &key;
    op.template_ = &changes;
    request.op_case = KMW__REQUEST__OP_OBJECT_COPY;
    request.object_copy = &op;
    if (set_bool(&changes, CKA_TOKEN, true) && (!is_sensitive || set_bool(&changes, CKA_SENSITIVE, true)) &&
        (is_extractable || set_bool(&changes, CKA_EXTRACTABLE, false)))
        rv = km_make_call(session, &request, true /* on token */, CKR_KEY_HANDLE_INVALID, 1, &ret);
    for (size_t i = 0; i < changes.n_attrs; i++)
        kmw__attr__free_unpacked(changes.attrs[i], NULL);
    free(changes.attrs);
    return rv;
}

static CK_RV encapsulate(struct km_session *session, const struct km_make_key *with, Kmw__Mechanism *param,
                         Kmw__Template *template, bool is_on_token, CK_BYTE *out, CK_ULONG *out_len,
                         CK_OBJECT_HANDLE *ret)
{
    bool is_sensitive = km_attr_bool(template->attrs, template->n_attrs, CKA_SENSITIVE, true);
    bool is_extractable = km_attr_bool(template->attrs, template->n_attrs, CKA_EXTRACTABLE, false);
    Kmw__KeyEncapsulate op = KMW__KEY_ENCAPSULATE__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv = CKR_DEVICE_ERROR;

    KM_REQUIRE(!is_on_token || set_bool(template, CKA_TOKEN, false), CKR_HOST_MEMORY);
    op.public_key = (Kmw__Key *)&with->key;
    op.mechanism = param;
    op.template_ = template;
    request.op_case = KMW__REQUEST__OP_KEY_ENCAPSULATE;
    request.key_encapsulate = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_READ, KMW__REPLY__RESULT_OBJECTS, &reply));
    if (reply->objects->n_objects == 1)
        rv = km_hand_out(reply->objects->ciphertext.data, reply->objects->ciphertext.len, out, out_len);
    if (rv == CKR_OK && is_on_token)
        rv = move_to_token(session, reply->objects->objects[0], is_sensitive, is_extractable, ret);
    else if (rv == CKR_OK)
        rv = km_remote_objects(session, reply, 1, &ret);
    km_reply_free(reply);
    return rv;
}

CK_RV C_EncapsulateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hPublicKey,
                       CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount, CK_BYTE_PTR pCiphertext,
                       CK_ULONG_PTR pulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey)
{
    KM_SESSION(session, hSession);
    struct km_make_key with = {0};
    const struct km_mech *mech = NULL;
    Kmw__Mechanism *param = NULL;
    Kmw__Template *template = NULL;
    bool is_on_token = false;
    CK_RV rv;

    KM_REQUIRE(pulCiphertextLen != NULL && (pTemplate != NULL || ulAttributeCount == 0), CKR_ARGUMENTS_BAD);
    KM_TRY(km_maker_mech(pMechanism, CKF_ENCAPSULATE, &mech));
    KM_TRY(km_mechanism_read(mech, pMechanism, &param));
    rv = km_make_key_init(session, hPublicKey, CKR_KEY_HANDLE_INVALID, CKA_ENCAPSULATE, &with);
    if (rv == CKR_OK && (pCiphertext == NULL || *pulCiphertextLen < ciphertext_len(with.view))) {
        rv = km_hand_out(NULL, ciphertext_len(with.view), pCiphertext, pulCiphertextLen);
        goto out;
    }
    if (rv == CKR_OK && phKey == NULL)
        rv = CKR_ARGUMENTS_BAD;
    if (rv == CKR_OK)
        template = km_template_from_ck(pTemplate, ulAttributeCount, &rv);
    if (rv == CKR_OK)
        rv = km_make_place(session, template, &is_on_token);
    if (rv == CKR_OK)
        rv = encapsulate(session, &with, param, template, is_on_token, pCiphertext, pulCiphertextLen, phKey);
out:
    if (template != NULL)
        kmw__template__free_unpacked(template, NULL);
    km_make_key_fini(&with);
    kmw__mechanism__free_unpacked(param, NULL);
    return rv;
}

CK_RV C_DecapsulateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hPrivateKey,
                       CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount, CK_BYTE_PTR pCiphertext,
                       CK_ULONG ulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey)
{
    KM_SESSION(session, hSession);
    struct km_make_key with = {0};
    Kmw__KeyDecapsulate op = KMW__KEY_DECAPSULATE__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    const struct km_mech *mech = NULL;
    bool is_on_token = false;
    CK_RV rv;

    KM_REQUIRE(phKey != NULL && pCiphertext != NULL && (pTemplate != NULL || ulAttributeCount == 0), CKR_ARGUMENTS_BAD);
    KM_TRY(km_maker_mech(pMechanism, CKF_DECAPSULATE, &mech));
    KM_REQUIRE(ulCiphertextLen <= KM_ATTR_VALUE_MAX, CKR_WRAPPED_KEY_LEN_RANGE);
    KM_TRY(km_mechanism_read(mech, pMechanism, &op.mechanism));
    rv = km_make_key_init(session, hPrivateKey, CKR_KEY_HANDLE_INVALID, CKA_DECAPSULATE, &with);
    if (rv == CKR_OK)
        op.template_ = km_template_from_ck(pTemplate, ulAttributeCount, &rv);
    if (rv == CKR_OK)
        rv = km_make_place(session, op.template_, &is_on_token);
    if (rv == CKR_OK) {
        op.private_key = &with.key;
        op.ciphertext = km_bytes(pCiphertext, ulCiphertextLen);
        request.op_case = KMW__REQUEST__OP_KEY_DECAPSULATE;
        request.key_decapsulate = &op;
        rv = km_make_call(session, &request, is_on_token, CKR_KEY_HANDLE_INVALID, 1, &phKey);
    }
    km_make_key_fini(&with);
    if (op.template_ != NULL)
        kmw__template__free_unpacked(op.template_, NULL);
    kmw__mechanism__free_unpacked(op.mechanism, NULL);
    return rv;
}
