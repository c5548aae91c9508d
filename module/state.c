/* SPDX-License-Identifier: Apache-2.0
 *
 * C_GetOperationState and C_SetOperationState (PKCS#11 v3.2 5.6), for digests. OpenSSL gives no hash's inner state, so
 * a saved state is the message so far, up to KM_DIGEST_STATE_MAX bytes: it runs everywhere, and tells a program nothing
 * that it did not say itself (a digest with a key in it is not saved). The checksum finds damage; it need not stop
 * forgery, since who can hand in another state could have hashed another message.
 *
 *   "KMD1", the mechanism in 8 bytes (little endian), the token's id, the message, SHA-256 of all that
 */
#include "digest.h"
#include "guard.h"
#include "local.h"

#include "../common/attr.h"

#define MAGIC "KMD1"
#define HEAD_LEN (4 + 8 + KM_ID_LEN)
#define SUM_LEN 32

static CK_RV check_saveable(const struct km_session *session)
{
    bool is_other_active = false;

    for (int i = 0; i < KM_OPERATIONS; i++)
        is_other_active |= i != KM_OP_DIGEST && session->operations[i].is_active;
    KM_REQUIRE(!is_other_active, CKR_STATE_UNSAVEABLE);
    KM_REQUIRE(session->operations[KM_OP_DIGEST].is_active, CKR_OPERATION_NOT_INITIALIZED);
    KM_REQUIRE(!session->operations[KM_OP_DIGEST].is_unsaveable, CKR_STATE_UNSAVEABLE);
    return CKR_OK;
}

static CK_RV save(const struct km_session *session, const struct km_operation *op, struct km_buffer *ret)
{
    uint8_t type[8], sum[EVP_MAX_MD_SIZE];

    km_attr_put_u64(type, op->mech->type);
    KM_TRY(km_buffer_add(ret, MAGIC, 4, SIZE_MAX));
    KM_TRY(km_buffer_add(ret, type, sizeof(type), SIZE_MAX));
    KM_TRY(km_buffer_add(ret, session->token->id, KM_ID_LEN, SIZE_MAX));
    KM_TRY(km_buffer_add(ret, op->text.data, op->text.len, SIZE_MAX));
    KM_TRY(km_local_hash("SHA256", ret->data, ret->len, sum));
    return km_buffer_add(ret, sum, SUM_LEN, SIZE_MAX);
}

CK_RV C_GetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState, CK_ULONG_PTR pulOperationStateLen)
{
    KM_SESSION(session, hSession);
    const struct km_operation *op = &session->operations[KM_OP_DIGEST];
    struct km_buffer state = {0};
    CK_RV rv;

    KM_REQUIRE(pulOperationStateLen != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(check_saveable(session));
    if (pOperationState == NULL)
        return km_hand_out(NULL, HEAD_LEN + op->text.len + SUM_LEN, NULL, pulOperationStateLen);
    rv = save(session, op, &state);
    if (rv == CKR_OK)
        rv = km_hand_out(state.data, state.len, pOperationState, pulOperationStateLen);
    km_buffer_free(&state);
    return rv;
}

static CK_RV check_state(const struct km_session *session, const CK_BYTE *state, CK_ULONG len)
{
    uint8_t sum[EVP_MAX_MD_SIZE];

    KM_REQUIRE(len >= HEAD_LEN + SUM_LEN && len <= HEAD_LEN + KM_DIGEST_STATE_MAX + SUM_LEN, CKR_SAVED_STATE_INVALID);
    KM_TRY(km_local_hash("SHA256", state, len - SUM_LEN, sum));
    KM_REQUIRE(memcmp(state + len - SUM_LEN, sum, SUM_LEN) == 0, CKR_SAVED_STATE_INVALID);
    KM_REQUIRE(memcmp(state, MAGIC, 4) == 0, CKR_SAVED_STATE_INVALID);
    KM_REQUIRE(memcmp(state + 12, session->token->id, KM_ID_LEN) == 0, CKR_SAVED_STATE_INVALID);
    return CKR_OK;
}

CK_RV C_SetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState, CK_ULONG ulOperationStateLen,
                          CK_OBJECT_HANDLE hEncryptionKey, CK_OBJECT_HANDLE hAuthenticationKey)
{
    KM_SESSION(session, hSession);
    struct km_operation *op = &session->operations[KM_OP_DIGEST];
    CK_MECHANISM mechanism = {0};
    CK_RV rv;

    KM_REQUIRE(pOperationState != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(check_state(session, pOperationState, ulOperationStateLen));
    KM_REQUIRE(hEncryptionKey == CK_INVALID_HANDLE && hAuthenticationKey == CK_INVALID_HANDLE, CKR_KEY_NOT_NEEDED);
    for (int i = 0; i < KM_OPERATIONS; i++) /* the state is the whole session's */
        km_operation_end(&session->operations[i]);
    mechanism.mechanism = km_attr_get_u64(pOperationState + 4);
    rv = km_operation_begin(session, KM_OP_DIGEST, &mechanism, CK_INVALID_HANDLE);
    KM_REQUIRE(rv != CKR_MECHANISM_INVALID, CKR_SAVED_STATE_INVALID);
    KM_TRY(rv);
    if (ulOperationStateLen == HEAD_LEN + SUM_LEN) /* C_Digest may still follow */
        return CKR_OK;
    return km_digest_update(op, pOperationState + HEAD_LEN, ulOperationStateLen - HEAD_LEN - SUM_LEN);
}
