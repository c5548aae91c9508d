/* SPDX-License-Identifier: Apache-2.0
 *
 * Message digesting functions (PKCS#11 v3.2 5.12), in the module altogether.
 */
#include "digest.h"

#include "guard.h"
#include "local.h"
#include "object.h"

CK_RV C_DigestInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_DIGEST, pMechanism, CK_INVALID_HANDLE);
}

/* Adds `data` and hands out the hash; asks for room before it does either. */
static CK_RV finish(struct km_operation *op, const CK_BYTE *data, CK_ULONG data_len, CK_BYTE *out, CK_ULONG *out_len)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    const uint8_t *ret;
    size_t len = km_local_digest_len(op->mech->md);

    KM_REQUIRE(out_len != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(data, data_len);
    if (out == NULL || *out_len < len)
        return km_hand_out(NULL, len, out, out_len);
    KM_TRY(km_message_add(op, data, data_len));
    KM_TRY(km_message_finish(op, hash, &ret, &len));
    return km_hand_out(ret, len, out, out_len);
}

CK_RV C_Digest(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pDigest,
               CK_ULONG_PTR pulDigestLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_DIGEST);
    CK_RV rv = CKR_OPERATION_NOT_INITIALIZED;

    if (!op->is_multipart)
        rv = finish(op, pData, ulDataLen, pDigest, pulDigestLen);
    return km_operation_settle(op, rv, pDigest == NULL);
}

/* Into the hash, and kept beside it for C_GetOperationState as long as it is little. */
CK_RV km_digest_update(struct km_operation *op, const CK_BYTE *part, CK_ULONG len)
{
    if (part != NULL && !op->is_unsaveable && km_buffer_add(&op->text, part, len, KM_DIGEST_STATE_MAX) != CKR_OK) {
        km_buffer_free(&op->text);
        op->is_unsaveable = true;
    }
    return km_message_update(op, part, len);
}

CK_RV C_DigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_DIGEST);
    return km_digest_update(op, pPart, ulPartLen);
}

/* Only keys whose value a program may read anyway: an intermediate keyed state never leaves a server, and a hash over a
 * sensitive key could be compared with guesses. */
static CK_RV digest_key(struct km_session *session, struct km_operation *op, CK_OBJECT_HANDLE handle)
{
    struct km_buffer value = {0};
    CK_RV rv = km_object_secret_value(session, handle, &value);

    if (rv == CKR_OK) {
        km_buffer_free(&op->text);
        op->is_unsaveable = true; /* the state would hold the key */
        rv = km_message_update(op, value.data != NULL ? value.data : (const uint8_t *)"", value.len);
    } else {
        rv = km_operation_settle(op, rv, false);
    }
    km_buffer_free(&value);
    return rv;
}

CK_RV C_DigestKey(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hKey)
{
    KM_OPERATION(session, op, hSession, KM_OP_DIGEST);
    return digest_key(session, op, hKey);
}

CK_RV C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_DIGEST);
    return km_operation_settle(op, finish(op, NULL, 0, pDigest, pulDigestLen), pDigest == NULL);
}
