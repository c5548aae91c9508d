/* SPDX-License-Identifier: Apache-2.0
 *
 * Key generation (PKCS#11 v2.40 5.15). The servers make the keys; a session key comes back as a sealed blob (design
 * D5).
 */
#include "guard.h"
#include "object.h"
#include "remote.h"

#include "../common/attr.h"
#include "../common/secret.h"

#define SLOW_BITS 3072

/* The mechanism's row, if it generates what `flag` says. */
static CK_RV check_mechanism(const CK_MECHANISM *mechanism, CK_FLAGS flag, const struct km_mech **ret)
{
    const struct km_mech *mech;

    KM_REQUIRE(mechanism != NULL, CKR_ARGUMENTS_BAD);
    mech = km_mech(mechanism->mechanism);
    KM_REQUIRE(mech != NULL && (mech->flags & flag), CKR_MECHANISM_INVALID);
    *ret = mech;
    return CKR_OK;
}

static bool is_on_token(const Kmw__Template *template)
{
    return km_attr_bool(template->attrs, template->n_attrs, CKA_TOKEN, false);
}

CK_RV C_GenerateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_ATTRIBUTE *pTemplate, CK_ULONG ulCount,
                    CK_OBJECT_HANDLE_PTR phKey)
{
    KM_SESSION(session, hSession);
    const struct km_mech *mech = NULL;
    Kmw__KeyGenerate op = KMW__KEY_GENERATE__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    KM_REQUIRE(phKey != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(check_mechanism(pMechanism, CKF_GENERATE, &mech));
    KM_TRY(km_mechanism_read(mech, pMechanism, &op.mechanism));
    op.template_ = km_template_from_ck(pTemplate, ulCount, &rv);
    if (op.template_ == NULL)
        goto out;
    rv = km_object_may_write(session, is_on_token(op.template_));
    if (rv != CKR_OK)
        goto out;
    request.op_case = KMW__REQUEST__OP_KEY_GENERATE;
    request.key_generate = &op;
    rv = km_remote_call(session->token, &request, is_on_token(op.template_) ? KM_CALL_CHANGE : KM_CALL_READ,
                        KMW__REPLY__RESULT_OBJECTS, &reply);
    if (rv == CKR_OK)
        rv = km_remote_objects(session, reply, 1, (CK_OBJECT_HANDLE *[]){phKey});
    km_reply_free(reply);
out:
    km_wipe(op.mechanism->password.data, op.mechanism->password.len);
    kmw__mechanism__free_unpacked(op.mechanism, NULL);
    if (op.template_ != NULL)
        kmw__template__free_unpacked(op.template_, NULL);
    return rv;
}

/* Primes of long keys are searched for seconds. */
static bool is_slow(const Kmw__KeyPairGenerate *op)
{
    const Kmw__Template *t = op->public_template;

    return op->mechanism->type == CKM_SLH_DSA_KEY_PAIR_GEN ||
           (op->mechanism->type == CKM_RSA_PKCS_KEY_PAIR_GEN &&
            km_attr_ulong(t->attrs, t->n_attrs, CKA_MODULUS_BITS, 0) > SLOW_BITS);
}

static CK_RV generate_pair(struct km_session *session, Kmw__KeyPairGenerate *op, CK_OBJECT_HANDLE *ret_public,
                           CK_OBJECT_HANDLE *ret_private)
{
    bool is_change = is_on_token(op->public_template) || is_on_token(op->private_template);
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    KM_TRY(km_object_may_write(session, is_change));
    request.op_case = KMW__REQUEST__OP_KEY_PAIR_GENERATE;
    request.key_pair_generate = op;
    request.deadline_ms = is_slow(op) ? KM_SLOW_MS : 0;
    KM_TRY(km_remote_call(session->token, &request, is_change ? KM_CALL_CHANGE : KM_CALL_READ,
                          KMW__REPLY__RESULT_OBJECTS, &reply));
    rv = km_remote_objects(session, reply, 2, (CK_OBJECT_HANDLE *[]){ret_public, ret_private});
    km_reply_free(reply);
    return rv;
}

CK_RV C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_ATTRIBUTE *pPublicKeyTemplate,
                        CK_ULONG ulPublicKeyAttributeCount, CK_ATTRIBUTE *pPrivateKeyTemplate,
                        CK_ULONG ulPrivateKeyAttributeCount, CK_OBJECT_HANDLE_PTR phPublicKey,
                        CK_OBJECT_HANDLE_PTR phPrivateKey)
{
    KM_SESSION(session, hSession);
    const struct km_mech *mech = NULL;
    Kmw__KeyPairGenerate op = KMW__KEY_PAIR_GENERATE__INIT;
    CK_RV rv = CKR_OK;

    KM_REQUIRE(phPublicKey != NULL && phPrivateKey != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(check_mechanism(pMechanism, CKF_GENERATE_KEY_PAIR, &mech));
    KM_TRY(km_mechanism_read(mech, pMechanism, &op.mechanism));
    op.public_template = km_template_from_ck(pPublicKeyTemplate, ulPublicKeyAttributeCount, &rv);
    if (op.public_template != NULL)
        op.private_template = km_template_from_ck(pPrivateKeyTemplate, ulPrivateKeyAttributeCount, &rv);
    if (op.private_template != NULL)
        rv = generate_pair(session, &op, phPublicKey, phPrivateKey);
    kmw__mechanism__free_unpacked(op.mechanism, NULL);
    if (op.public_template != NULL)
        kmw__template__free_unpacked(op.public_template, NULL);
    if (op.private_template != NULL)
        kmw__template__free_unpacked(op.private_template, NULL);
    return rv;
}
