/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifying functions (PKCS#11 v2.40 5.12): here with public keys, at a server where the key is secret (HMAC).
 */
#include "guard.h"
#include "local.h"
#include "remote.h"

CK_RV C_VerifyInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_VERIFY, pMechanism, hKey);
}

/* Checks `signature` over what was added. */
static CK_RV finish(struct km_session *session, struct km_operation *op, const CK_BYTE *signature,
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

static CK_RV verify(struct km_session *session, struct km_operation *op, const CK_BYTE *data, CK_ULONG len,
                    const CK_BYTE *signature, CK_ULONG signature_len)
{
    KM_REQUIRE(!op->is_multipart, CKR_OPERATION_NOT_INITIALIZED);
    KM_REQUIRE_BYTES(data, len);
    KM_TRY(km_message_add(op, data, len));
    return finish(session, op, signature, signature_len);
}

CK_RV C_Verify(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
               CK_ULONG ulSignatureLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_VERIFY];

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_operation_settle(op, verify(session, op, pData, ulDataLen, pSignature, ulSignatureLen), false);
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_VERIFY];
    CK_RV rv = CKR_ARGUMENTS_BAD;

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    op->is_multipart = true;
    if (pPart != NULL || ulPartLen == 0)
        rv = km_message_add(op, pPart, ulPartLen);
    return km_operation_settle(op, rv, true);
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_VERIFY];

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_operation_settle(op, finish(session, op, pSignature, ulSignatureLen), false);
}

CK_RV C_VerifyRecoverInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    (void)session;
    (void)hKey;
    KM_REQUIRE(pMechanism != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_VerifyRecover(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen, CK_BYTE_PTR pData,
                      CK_ULONG_PTR pulDataLen)
{
    KM_SESSION(session, hSession);
    (void)session;
    (void)pSignature;
    (void)ulSignatureLen;
    (void)pData;
    (void)pulDataLen;
    return CKR_FUNCTION_NOT_SUPPORTED;
}
