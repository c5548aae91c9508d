/* SPDX-License-Identifier: Apache-2.0
 *
 * Message digesting functions (PKCS#11 v2.40 5.10), in the module altogether.
 */
#include "guard.h"
#include "local.h"

CK_RV C_DigestInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_DIGEST];
    const struct km_mech *mech;

    KM_REQUIRE(pMechanism != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(!op->is_active, CKR_OPERATION_ACTIVE);
    mech = km_mech(pMechanism->mechanism);
    KM_REQUIRE(mech != NULL && (mech->flags & CKF_DIGEST), CKR_MECHANISM_INVALID);
    KM_REQUIRE(pMechanism->ulParameterLen == 0, CKR_MECHANISM_PARAM_INVALID);
    KM_TRY(km_local_digest(mech->md, &op->digest));
    op->mech = mech;
    op->is_active = true;
    return CKR_OK;
}

/* Hands out the hash; asks for room before it finishes it. */
static CK_RV finish(struct km_operation *op, CK_BYTE *out, CK_ULONG *out_len)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    const uint8_t *ret;
    size_t len = km_local_digest_len(op->mech->md);

    if (out == NULL || *out_len < len)
        return km_hand_out(NULL, len, out, out_len);
    KM_TRY(km_message_finish(op, hash, &ret, &len));
    return km_hand_out(ret, len, out, out_len);
}

static CK_RV digest(struct km_operation *op, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    KM_REQUIRE(!op->is_multipart, CKR_OPERATION_NOT_INITIALIZED);
    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(data, len);
    if (out != NULL && *out_len >= km_local_digest_len(op->mech->md))
        KM_TRY(km_message_add(op, data, len));
    return finish(op, out, out_len);
}

CK_RV C_Digest(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pDigest,
               CK_ULONG_PTR pulDigestLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_DIGEST];

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_operation_settle(op, digest(op, pData, ulDataLen, pDigest, pulDigestLen), pDigest == NULL);
}

CK_RV C_DigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_DIGEST];
    CK_RV rv = CKR_ARGUMENTS_BAD;

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    op->is_multipart = true;
    if (pPart != NULL || ulPartLen == 0)
        rv = km_message_add(op, pPart, ulPartLen);
    return km_operation_settle(op, rv, true);
}

CK_RV C_DigestKey(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    (void)hKey; /* the key's bytes are not here, and an intermediate keyed state never leaves a server */
    KM_REQUIRE(session->operations[KM_OP_DIGEST].is_active, CKR_OPERATION_NOT_INITIALIZED);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_DIGEST];
    CK_RV rv = CKR_ARGUMENTS_BAD;

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    if (pulDigestLen != NULL)
        rv = finish(op, pDigest, pulDigestLen);
    return km_operation_settle(op, rv, pDigest == NULL);
}
