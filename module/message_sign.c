/* SPDX-License-Identifier: Apache-2.0
 *
 * Message-based signing and verifying (PKCS#11 v3.2 5.14, 5.16): many messages under one key. No mechanism here takes a
 * parameter with each message. An error ends the message, never the process that C_Message...Init began.
 */
#include "guard.h"
#include "sign.h"

/* A call for a message: begun before, or not. */
static CK_RV check(const struct km_operation *op, bool wants_begun, CK_ULONG param_len)
{
    KM_REQUIRE(op->is_in_message == wants_begun, wants_begun ? CKR_OPERATION_NOT_INITIALIZED : CKR_OPERATION_ACTIVE);
    KM_REQUIRE(param_len == 0, CKR_MECHANISM_PARAM_INVALID);
    return CKR_OK;
}

/* The message is over, whatever came of it. */
static CK_RV leave_message(struct km_operation *op, CK_RV rv)
{
    CK_RV reset_rv = km_message_reset(op);

    return rv == CKR_OK ? reset_rv : rv;
}

static CK_RV begin(struct km_operation *op, CK_ULONG param_len)
{
    KM_TRY(check(op, false, param_len));
    op->is_in_message = true;
    return CKR_OK;
}

/* A part that is not the last. */
static CK_RV take_part(struct km_operation *op, const CK_BYTE *part, CK_ULONG len)
{
    CK_RV rv = part != NULL || len == 0 ? km_message_add(op, part, len) : CKR_ARGUMENTS_BAD;

    return rv == CKR_OK ? CKR_OK : leave_message(op, rv);
}

static CK_RV end(struct km_operation *op)
{
    KM_REQUIRE(!op->is_in_message, CKR_OPERATION_ACTIVE);
    km_operation_end(op);
    return CKR_OK;
}

/* --- signing --- */

/* The message's end; a size query and too little room leave everything as it was. */
static CK_RV sign(struct km_session *session, struct km_operation *op, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out,
                  CK_ULONG *out_len)
{
    CK_RV rv = km_sign_finish(session, op, data, len, out, out_len);

    if (rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && out == NULL))
        return rv;
    return leave_message(op, rv);
}

CK_RV C_MessageSignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_MESSAGE_SIGN, pMechanism, hKey);
}

CK_RV C_SignMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen, CK_BYTE_PTR pData,
                    CK_ULONG ulDataLen, CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_SIGN);
    (void)pParameter;
    KM_TRY(check(op, false, ulParameterLen));
    return sign(session, op, pData, ulDataLen, pSignature, pulSignatureLen);
}

CK_RV C_SignMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_SIGN);
    (void)pParameter;
    return begin(op, ulParameterLen);
}

CK_RV C_SignMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen, CK_BYTE_PTR pData,
                        CK_ULONG ulDataLen, CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_SIGN);
    (void)pParameter;
    KM_TRY(check(op, true, ulParameterLen));
    if (pulSignatureLen == NULL)
        return take_part(op, pData, ulDataLen);
    return sign(session, op, pData, ulDataLen, pSignature, pulSignatureLen);
}

CK_RV C_MessageSignFinal(CK_SESSION_HANDLE hSession)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_SIGN);
    return end(op);
}

/* --- verifying --- */

static CK_RV verify(struct km_session *session, struct km_operation *op, const CK_BYTE *data, CK_ULONG len,
                    const CK_BYTE *signature, CK_ULONG signature_len)
{
    CK_RV rv = data != NULL || len == 0 ? km_message_add(op, data, len) : CKR_ARGUMENTS_BAD;

    if (rv == CKR_OK)
        rv = km_verify_finish(session, op, signature, signature_len);
    return leave_message(op, rv);
}

CK_RV C_MessageVerifyInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_MESSAGE_VERIFY, pMechanism, hKey);
}

CK_RV C_VerifyMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen, CK_BYTE_PTR pData,
                      CK_ULONG ulDataLen, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_VERIFY);
    (void)pParameter;
    KM_TRY(check(op, false, ulParameterLen));
    return verify(session, op, pData, ulDataLen, pSignature, ulSignatureLen);
}

CK_RV C_VerifyMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_VERIFY);
    (void)pParameter;
    return begin(op, ulParameterLen);
}

CK_RV C_VerifyMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                          CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_VERIFY);
    (void)pParameter;
    KM_TRY(check(op, true, ulParameterLen));
    if (pSignature == NULL)
        return take_part(op, pData, ulDataLen);
    return verify(session, op, pData, ulDataLen, pSignature, ulSignatureLen);
}

CK_RV C_MessageVerifyFinal(CK_SESSION_HANDLE hSession)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_VERIFY);
    return end(op);
}
