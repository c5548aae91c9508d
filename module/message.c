/* SPDX-License-Identifier: Apache-2.0
 *
 * Message-based encryption and decryption (PKCS#11 v3.2 5.9, 5.11): many messages under one key, each with an IV, a tag
 * and associated data of its own. A message is one request; its parts wait until the last one, so that no text is given
 * out before its tag was checked. An error ends the message, never the process that C_Message...Init began.
 */
#include "message.h"

#include "guard.h"
#include "remote.h"

static bool is_encrypting(const struct km_operation *op)
{
    return km_operation_deed(op) == KM_OP_ENCRYPT;
}

/* CCM's text is as long as was announced. */
static CK_RV check_len(const struct km_operation *op, size_t announced, size_t len)
{
    bool is_good = len <= KM_BUFFERED_MAX && (op->mech->scheme != KM_MS_CCM || len == announced);

    return is_good ? CKR_OK : is_encrypting(op) ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
}

/* One message. `in` without tag; op->param has the IV. The program has room for as many bytes. */
static CK_RV work(struct km_session *session, struct km_operation *op, const struct km_message_param *param,
                  const CK_BYTE *in, size_t len, CK_BYTE *out, CK_ULONG *out_len)
{
    struct km_buffer text = {0};
    Kmw__Reply *reply = NULL;
    size_t reply_len = is_encrypting(op) ? len + param->tag_len : len;
    CK_RV rv = km_buffer_add(&text, in, len, KM_BUFFERED_MAX);

    if (rv == CKR_OK && !is_encrypting(op))
        rv = km_buffer_add(&text, param->tag, param->tag_len, SIZE_MAX);
    if (rv == CKR_OK)
        rv = km_remote_use(session, op, text.data, text.len, false /* digest */, false /* part */, NULL, 0, &reply);
    if (rv == CKR_OK && reply->use->data.len != reply_len)
        rv = CKR_DEVICE_ERROR;
    if (rv == CKR_OK && is_encrypting(op))
        memcpy(param->tag, reply->use->data.data + len, param->tag_len);
    if (rv == CKR_OK)
        rv = km_hand_out(reply->use->data.data, len, out, out_len);
    if (reply != NULL && reply->use != NULL && reply->use->data.data != NULL)
        km_wipe(reply->use->data.data, reply->use->data.len);
    km_buffer_free(&text);
    km_reply_free(reply);
    return rv == CKR_ENCRYPTED_DATA_INVALID ? CKR_AEAD_DECRYPT_FAILED : rv;
}

/* The message is over, whatever came of it. */
static CK_RV leave_message(struct km_operation *op, CK_RV rv)
{
    CK_RV reset_rv = km_message_reset(op);

    if (op->param != NULL)
        kmw__mechanism__free_unpacked(op->param, NULL);
    op->param = NULL;
    return rv == CKR_OK ? reset_rv : rv;
}

static CK_RV begin_message(struct km_operation *op, const struct km_message_param *param, const CK_BYTE *aad,
                           CK_ULONG aad_len)
{
    KM_TRY(km_message_param_use(op, param, is_encrypting(op), aad, aad_len, &op->param));
    if (is_encrypting(op))
        memcpy(param->iv, op->param->iv.data, param->iv_len);
    return CKR_OK;
}

static CK_RV whole(struct km_session *session, struct km_operation *op, void *param, CK_ULONG param_len,
                   const CK_BYTE *aad, CK_ULONG aad_len, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
                   CK_ULONG *out_len)
{
    struct km_message_param given;
    CK_RV rv;

    KM_REQUIRE(!op->is_in_message, CKR_OPERATION_ACTIVE);
    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(in, in_len);
    KM_REQUIRE_BYTES(aad, aad_len);
    KM_TRY(km_message_param_read(op, param, param_len, &given));
    KM_TRY(check_len(op, given.data_len, in_len));
    if (out == NULL || *out_len < in_len)
        return km_hand_out(NULL, in_len, out, out_len);
    rv = begin_message(op, &given, aad, aad_len);
    if (rv == CKR_OK)
        rv = work(session, op, &given, in, in_len, out, out_len);
    return leave_message(op, rv);
}

static CK_RV begin(struct km_operation *op, void *param, CK_ULONG param_len, const CK_BYTE *aad, CK_ULONG aad_len)
{
    struct km_message_param given;

    KM_REQUIRE(!op->is_in_message, CKR_OPERATION_ACTIVE);
    KM_REQUIRE_BYTES(aad, aad_len);
    KM_TRY(km_message_param_read(op, param, param_len, &given));
    KM_TRY(begin_message(op, &given, aad, aad_len));
    op->is_in_message = true;
    return CKR_OK;
}

/* The last part. Where there is no room, nothing has happened. */
static CK_RV finish(struct km_session *session, struct km_operation *op, const struct km_message_param *param,
                    const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    size_t len = op->text.len + in_len;

    KM_REQUIRE(param->tag_len * 8 == op->param->tag_bits, CKR_MECHANISM_PARAM_INVALID);
    KM_TRY(km_buffer_add(&op->text, in, in_len, KM_BUFFERED_MAX));
    return work(session, op, param, op->text.data, len, out, out_len);
}

static CK_RV next(struct km_session *session, struct km_operation *op, void *param, CK_ULONG param_len,
                  const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len, CK_FLAGS flags)
{
    struct km_message_param given;
    bool is_last = flags & CKF_END_OF_MESSAGE;
    CK_RV rv = CKR_ARGUMENTS_BAD;

    KM_REQUIRE(op->is_in_message, CKR_OPERATION_NOT_INITIALIZED);
    if (out_len == NULL || (in == NULL && in_len > 0))
        return leave_message(op, rv);
    if (!is_last) {
        rv = out == NULL ? CKR_OK : km_buffer_add(&op->text, in, in_len, KM_BUFFERED_MAX);
        *out_len = 0; /* it all comes with the last part */
        return rv == CKR_OK ? rv : leave_message(op, rv);
    }
    rv = km_message_param_read(op, param, param_len, &given);
    if (rv == CKR_OK && in_len > KM_BUFFERED_MAX) /* the sum must not wrap */
        rv = CKR_DATA_LEN_RANGE;
    if (rv == CKR_OK)
        rv = check_len(op, op->param->data_len, op->text.len + in_len);
    if (rv == CKR_OK && (out == NULL || *out_len < op->text.len + in_len))
        return km_hand_out(NULL, op->text.len + in_len, out, out_len);
    if (rv == CKR_OK)
        rv = finish(session, op, &given, in, in_len, out, out_len);
    return leave_message(op, rv);
}

static CK_RV end(struct km_operation *op)
{
    KM_REQUIRE(!op->is_in_message, CKR_OPERATION_ACTIVE);
    km_operation_end(op);
    return CKR_OK;
}

/* --- encryption --- */

CK_RV C_MessageEncryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_MESSAGE_ENCRYPT, pMechanism, hKey);
}

CK_RV C_EncryptMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                       CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen, CK_BYTE_PTR pPlaintext,
                       CK_ULONG ulPlaintextLen, CK_BYTE_PTR pCiphertext, CK_ULONG_PTR pulCiphertextLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_ENCRYPT);
    return whole(session, op, pParameter, ulParameterLen, pAssociatedData, ulAssociatedDataLen, pPlaintext,
                 ulPlaintextLen, pCiphertext, pulCiphertextLen);
}

CK_RV C_EncryptMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                            CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_ENCRYPT);
    return begin(op, pParameter, ulParameterLen, pAssociatedData, ulAssociatedDataLen);
}

CK_RV C_EncryptMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                           CK_BYTE_PTR pPlaintextPart, CK_ULONG ulPlaintextPartLen, CK_BYTE_PTR pCiphertextPart,
                           CK_ULONG_PTR pulCiphertextPartLen, CK_FLAGS flags)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_ENCRYPT);
    return next(session, op, pParameter, ulParameterLen, pPlaintextPart, ulPlaintextPartLen, pCiphertextPart,
                pulCiphertextPartLen, flags);
}

CK_RV C_MessageEncryptFinal(CK_SESSION_HANDLE hSession)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_ENCRYPT);
    return end(op);
}

/* --- decryption --- */

CK_RV C_MessageDecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_MESSAGE_DECRYPT, pMechanism, hKey);
}

CK_RV C_DecryptMessage(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                       CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen, CK_BYTE_PTR pCiphertext,
                       CK_ULONG ulCiphertextLen, CK_BYTE_PTR pPlaintext, CK_ULONG_PTR pulPlaintextLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_DECRYPT);
    return whole(session, op, pParameter, ulParameterLen, pAssociatedData, ulAssociatedDataLen, pCiphertext,
                 ulCiphertextLen, pPlaintext, pulPlaintextLen);
}

CK_RV C_DecryptMessageBegin(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                            CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_DECRYPT);
    return begin(op, pParameter, ulParameterLen, pAssociatedData, ulAssociatedDataLen);
}

CK_RV C_DecryptMessageNext(CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter, CK_ULONG ulParameterLen,
                           CK_BYTE_PTR pCiphertextPart, CK_ULONG ulCiphertextPartLen, CK_BYTE_PTR pPlaintextPart,
                           CK_ULONG_PTR pulPlaintextPartLen, CK_FLAGS flags)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_DECRYPT);
    return next(session, op, pParameter, ulParameterLen, pCiphertextPart, ulCiphertextPartLen, pPlaintextPart,
                pulPlaintextPartLen, flags);
}

CK_RV C_MessageDecryptFinal(CK_SESSION_HANDLE hSession)
{
    KM_OPERATION(session, op, hSession, KM_OP_MESSAGE_DECRYPT);
    return end(op);
}
