/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifying functions (PKCS#11 v3.2 5.15): here with public keys, at a server where the key is secret (HMAC).
 * C_VerifySignature... is the same operation with the signature known from the beginning; a session has one of both.
 */
#include "guard.h"
#include "local.h"
#include "remote.h"
#include "sign.h"

CK_RV km_verify_finish(struct km_session *session, struct km_operation *op, const CK_BYTE *signature,
                       CK_ULONG signature_len)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    const uint8_t *data = NULL;
    size_t len = 0;
    Kmw__Reply *reply = NULL;

    KM_REQUIRE(signature != NULL, signature_len == 0 ? CKR_SIGNATURE_LEN_RANGE : CKR_ARGUMENTS_BAD);
    KM_TRY(km_message_finish(op, hash, &data, &len));
    if (op->public_key != NULL)
        return km_local_verify(op, data, len, signature, signature_len);
    KM_REQUIRE(signature_len == km_operation_block_len(op), CKR_SIGNATURE_LEN_RANGE);
    KM_TRY(
        km_remote_use(session, op, data, len, op->digest != NULL, false /* part */, signature, signature_len, &reply));
    km_reply_free(reply);
    return CKR_OK;
}

static CK_RV verify_once(struct km_session *session, struct km_operation *op, const CK_BYTE *data, CK_ULONG len,
                         const CK_BYTE *signature, CK_ULONG signature_len)
{
    KM_REQUIRE(!op->is_multipart, CKR_OPERATION_NOT_INITIALIZED);
    KM_REQUIRE_BYTES(data, len);
    KM_TRY(km_message_add(op, data, len));
    return km_verify_finish(session, op, signature, signature_len);
}

/* --- the signature comes last --- */

/* KM_OPERATION for one of the two styles. */
#define VERIFICATION(session, op, handle, has_it)                                                                      \
    KM_OPERATION(session, op, handle, KM_OP_VERIFY);                                                                   \
    KM_REQUIRE(op->has_signature == (has_it), CKR_OPERATION_NOT_INITIALIZED)

CK_RV C_VerifyInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_VERIFY, pMechanism, hKey);
}

CK_RV C_Verify(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
               CK_ULONG ulSignatureLen)
{
    VERIFICATION(session, op, hSession, false);
    return km_operation_settle(op, verify_once(session, op, pData, ulDataLen, pSignature, ulSignatureLen), false);
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    VERIFICATION(session, op, hSession, false);
    return km_message_update(op, pPart, ulPartLen);
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    VERIFICATION(session, op, hSession, false);
    return km_operation_settle(op, km_verify_finish(session, op, pSignature, ulSignatureLen), false);
}

/* --- the signature comes first --- */

CK_RV C_VerifySignatureInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey,
                            CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_VERIFY];
    CK_RV rv;

    KM_REQUIRE(pMechanism == NULL || pSignature != NULL || ulSignatureLen == 0, CKR_ARGUMENTS_BAD);
    KM_TRY(km_operation_begin(session, KM_OP_VERIFY, pMechanism, hKey));
    if (pMechanism == NULL)
        return CKR_OK;
    op->has_signature = true;
    rv = km_buffer_add(&op->signature, pSignature, ulSignatureLen, KM_SIGNATURE_MAX);
    return km_operation_settle(op, rv == CKR_DATA_LEN_RANGE ? CKR_SIGNATURE_LEN_RANGE : rv, true);
}

CK_RV C_VerifySignature(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen)
{
    VERIFICATION(session, op, hSession, true);
    return km_operation_settle(op, verify_once(session, op, pData, ulDataLen, op->signature.data, op->signature.len),
                               false);
}

CK_RV C_VerifySignatureUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    VERIFICATION(session, op, hSession, true);
    return km_message_update(op, pPart, ulPartLen);
}

CK_RV C_VerifySignatureFinal(CK_SESSION_HANDLE hSession)
{
    VERIFICATION(session, op, hSession, true);
    return km_operation_settle(op, km_verify_finish(session, op, op->signature.data, op->signature.len), false);
}

/* --- the signature brings its data --- */

CK_RV C_VerifyRecoverInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_VERIFY_RECOVER, pMechanism, hKey);
}

/* A bad signature comes before a small buffer, so the data is recovered for a size query too. */
static CK_RV recover(struct km_operation *op, const CK_BYTE *signature, CK_ULONG signature_len, CK_BYTE *out,
                     CK_ULONG *out_len)
{
    struct km_buffer data = {0};
    CK_RV rv;

    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(signature, signature_len);
    KM_REQUIRE(signature_len == km_operation_block_len(op), CKR_SIGNATURE_LEN_RANGE);
    rv = km_local_recover(op, signature, signature_len, &data);
    if (rv == CKR_OK)
        rv = km_hand_out(data.data, data.len, out, out_len);
    km_buffer_free(&data);
    return rv;
}

CK_RV C_VerifyRecover(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen, CK_BYTE_PTR pData,
                      CK_ULONG_PTR pulDataLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_VERIFY_RECOVER);
    return km_operation_settle(op, recover(op, pSignature, ulSignatureLen, pData, pulDataLen), pData == NULL);
}
