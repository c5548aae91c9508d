/* SPDX-License-Identifier: Apache-2.0
 *
 * Signing and MACing functions (PKCS#11 v3.2 5.13). The message is hashed here where the mechanism hashes, and one
 * request carries the hash (or the message: raw mechanisms, HMAC) to the key. A signature's length follows from the
 * key, so that it is asked for room before it is made.
 */
#include "sign.h"

#include "guard.h"
#include "remote.h"

/* Signs what was added. The program has room. */
static CK_RV make(struct km_session *session, struct km_operation *op, CK_BYTE *out, CK_ULONG *out_len)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    const uint8_t *data = NULL;
    size_t len = 0;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    KM_TRY(km_message_finish(op, hash, &data, &len));
    KM_TRY(km_remote_use(session, op, data, len, op->digest != NULL, false /* part */, NULL, 0, &reply));
    rv = reply->use->data.len == km_operation_block_len(op)
             ? km_hand_out(reply->use->data.data, reply->use->data.len, out, out_len)
             : CKR_DEVICE_ERROR;
    km_reply_free(reply);
    return rv;
}

CK_RV km_sign_finish(struct km_session *session, struct km_operation *op, const CK_BYTE *data, CK_ULONG len,
                     CK_BYTE *out, CK_ULONG *out_len)
{
    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(data, len);
    if (out == NULL || *out_len < km_operation_block_len(op))
        return km_hand_out(NULL, km_operation_block_len(op), out, out_len);
    KM_TRY(km_message_add(op, data, len));
    return make(session, op, out, out_len);
}

static CK_RV sign_once(struct km_session *session, struct km_operation *op, const CK_BYTE *data, CK_ULONG len,
                       CK_BYTE *out, CK_ULONG *out_len)
{
    CK_RV rv = CKR_OPERATION_NOT_INITIALIZED;

    if (!op->is_multipart)
        rv = km_sign_finish(session, op, data, len, out, out_len);
    return km_operation_settle(op, rv, out == NULL);
}

CK_RV C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_SIGN, pMechanism, hKey);
}

CK_RV C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
             CK_ULONG_PTR pulSignatureLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_SIGN);
    return sign_once(session, op, pData, ulDataLen, pSignature, pulSignatureLen);
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_SIGN);
    return km_message_update(op, pPart, ulPartLen);
}

CK_RV C_SignFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_SIGN);
    return km_operation_settle(op, km_sign_finish(session, op, NULL, 0, pSignature, pulSignatureLen),
                               pSignature == NULL);
}

CK_RV C_SignRecoverInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_SIGN_RECOVER, pMechanism, hKey);
}

CK_RV C_SignRecover(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                    CK_ULONG_PTR pulSignatureLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_SIGN_RECOVER);
    return sign_once(session, op, pData, ulDataLen, pSignature, pulSignatureLen);
}
