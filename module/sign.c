/* SPDX-License-Identifier: Apache-2.0
 *
 * Signing and MACing functions (PKCS#11 v2.40 5.11). The message is hashed here where the mechanism hashes, and one
 * request carries the hash (or the message: raw mechanisms, HMAC) to the key. A signature's length follows from the
 * key, so that it is asked for room before it is made.
 */
#include "guard.h"
#include "remote.h"

CK_RV C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_SIGN, pMechanism, hKey);
}

static bool has_room(const struct km_operation *op, const CK_BYTE *out, const CK_ULONG *out_len)
{
    return out != NULL && *out_len >= km_operation_block_len(op);
}

/* Signs what was added. The program has room. */
static CK_RV finish(struct km_session *session, struct km_operation *op, CK_BYTE *out, CK_ULONG *out_len)
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

static CK_RV sign(struct km_session *session, struct km_operation *op, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out,
                  CK_ULONG *out_len)
{
    KM_REQUIRE(!op->is_multipart, CKR_OPERATION_NOT_INITIALIZED);
    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(data, len);
    if (!has_room(op, out, out_len))
        return km_hand_out(NULL, km_operation_block_len(op), out, out_len);
    KM_TRY(km_message_add(op, data, len));
    return finish(session, op, out, out_len);
}

CK_RV C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
             CK_ULONG_PTR pulSignatureLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_SIGN];

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_operation_settle(op, sign(session, op, pData, ulDataLen, pSignature, pulSignatureLen),
                               pSignature == NULL);
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_SIGN];
    CK_RV rv = CKR_ARGUMENTS_BAD;

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    op->is_multipart = true;
    if (pPart != NULL || ulPartLen == 0)
        rv = km_message_add(op, pPart, ulPartLen);
    return km_operation_settle(op, rv, true);
}

CK_RV C_SignFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_SIGN];
    CK_RV rv = CKR_ARGUMENTS_BAD;

    KM_REQUIRE(op->is_active, CKR_OPERATION_NOT_INITIALIZED);
    if (pulSignatureLen != NULL)
        rv = has_room(op, pSignature, pulSignatureLen)
                 ? finish(session, op, pSignature, pulSignatureLen)
                 : km_hand_out(NULL, km_operation_block_len(op), pSignature, pulSignatureLen);
    return km_operation_settle(op, rv, pSignature == NULL);
}

CK_RV C_SignRecoverInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    (void)session;
    (void)hKey;
    KM_REQUIRE(pMechanism != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_SignRecover(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                    CK_ULONG_PTR pulSignatureLen)
{
    KM_SESSION(session, hSession);
    (void)session;
    (void)pData;
    (void)ulDataLen;
    (void)pSignature;
    (void)pulSignatureLen;
    return CKR_FUNCTION_NOT_SUPPORTED;
}
