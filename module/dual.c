/* SPDX-License-Identifier: Apache-2.0
 *
 * Dual-function cryptographic functions (PKCS#11 v3.2 5.17): two active operations share one pass over the data. The
 * cipher goes first, and where it gives nothing (a size query, no room, an error) the other operation sees nothing.
 */
#include "cipher.h"
#include "digest.h"
#include "guard.h"

static CK_RV feed(struct km_operation *op, const CK_BYTE *data, CK_ULONG len)
{
    return op->kind == KM_OP_DIGEST ? km_digest_update(op, data, len) : km_message_update(op, data, len);
}

static bool do_overlap(const CK_BYTE *a, size_t a_len, const CK_BYTE *b, size_t b_len)
{
    return a != NULL && b != NULL && (uintptr_t)a < (uintptr_t)b + b_len && (uintptr_t)b < (uintptr_t)a + a_len;
}

/* Both must be there before one of them is touched. */
static CK_RV find_both(struct km_session *session, enum km_operation_kind cipher_kind, enum km_operation_kind kind,
                       struct km_operation **ret_cipher, struct km_operation **ret_op)
{
    *ret_cipher = &session->operations[cipher_kind];
    *ret_op = &session->operations[kind];
    KM_REQUIRE((*ret_cipher)->is_active && (*ret_op)->is_active, CKR_OPERATION_NOT_INITIALIZED);
    KM_REQUIRE(!(*ret_op)->has_signature, CKR_OPERATION_NOT_INITIALIZED);
    return CKR_OK;
}

static CK_RV take_and_encrypt(CK_SESSION_HANDLE handle, enum km_operation_kind kind, const CK_BYTE *in, CK_ULONG in_len,
                              CK_BYTE *out, CK_ULONG *out_len)
{
    KM_SESSION(session, handle);
    struct km_operation *cipher = NULL, *op = NULL;
    struct km_buffer copy = {0};
    const CK_BYTE *text = in;
    CK_RV rv = CKR_OK;

    KM_TRY(find_both(session, KM_OP_ENCRYPT, kind, &cipher, &op));
    if (in_len <= KM_BUFFERED_MAX && do_overlap(in, in_len, out, cipher->text.len + in_len)) {
        rv = km_buffer_add(&copy, in, in_len, KM_BUFFERED_MAX); /* the ciphertext may be written over it */
        text = copy.data != NULL ? copy.data : in;
    }
    if (rv == CKR_OK)
        rv = km_cipher_update(session, cipher, in, in_len, out, out_len);
    if (rv == CKR_OK && out != NULL)
        rv = feed(op, text, in_len);
    km_buffer_free(&copy);
    return rv;
}

static CK_RV decrypt_and_take(CK_SESSION_HANDLE handle, enum km_operation_kind kind, const CK_BYTE *in, CK_ULONG in_len,
                              CK_BYTE *out, CK_ULONG *out_len)
{
    KM_SESSION(session, handle);
    struct km_operation *cipher = NULL, *op = NULL;

    KM_TRY(find_both(session, KM_OP_DECRYPT, kind, &cipher, &op));
    KM_TRY(km_cipher_update(session, cipher, in, in_len, out, out_len));
    return out != NULL ? feed(op, out, *out_len) : CKR_OK;
}

CK_RV C_DigestEncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
                            CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)
{
    return take_and_encrypt(hSession, KM_OP_DIGEST, pPart, ulPartLen, pEncryptedPart, pulEncryptedPartLen);
}

CK_RV C_SignEncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart,
                          CK_ULONG_PTR pulEncryptedPartLen)
{
    return take_and_encrypt(hSession, KM_OP_SIGN, pPart, ulPartLen, pEncryptedPart, pulEncryptedPartLen);
}

CK_RV C_DecryptDigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,
                            CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    return decrypt_and_take(hSession, KM_OP_DIGEST, pEncryptedPart, ulEncryptedPartLen, pPart, pulPartLen);
}

CK_RV C_DecryptVerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,
                            CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    return decrypt_and_take(hSession, KM_OP_VERIFY, pEncryptedPart, ulEncryptedPartLen, pPart, pulPartLen);
}
