/* SPDX-License-Identifier: Apache-2.0
 *
 * Session management (PKCS#11 v2.40 5.6). Sessions live here alone: opening and closing one costs no round trip.
 */
#include "guard.h"

static CK_RV open_session(struct km_token *token, CK_FLAGS flags, CK_SESSION_HANDLE *ret)
{
    struct km_session *session;

    KM_REQUIRE(!token->is_free, CKR_TOKEN_NOT_RECOGNIZED);
    KM_REQUIRE((flags & CKF_RW_SESSION) || token->login.user != CKU_SO, CKR_SESSION_READ_WRITE_SO_EXISTS);
    session = km_session_new(token, flags & (CKF_RW_SESSION | CKF_SERIAL_SESSION));
    KM_REQUIRE(session != NULL, CKR_HOST_MEMORY);
    *ret = session->handle;
    return CKR_OK;
}

CK_RV C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                    CK_SESSION_HANDLE_PTR phSession)
{
    struct km_token *token = NULL;
    CK_RV rv;

    KM_ENTER();
    (void)pApplication; /* nothing is ever notified: no function can be cancelled, no token removed */
    (void)Notify;
    KM_REQUIRE(phSession != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(flags & CKF_SERIAL_SESSION, CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    KM_TRY(km_token_get(slotID, &token));
    if (token->is_free) /* it may have become a token meanwhile */
        KM_TRY(km_token_refresh(0));
    km_lock();
    rv = open_session(token, flags, phSession);
    km_unlock();
    return rv;
}

CK_RV C_CloseSession(CK_SESSION_HANDLE hSession)
{
    struct km_session *session;

    KM_ENTER();
    km_lock();
    session = km_session_get(hSession);
    if (session != NULL)
        km_session_close(session);
    km_unlock();
    return session != NULL ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slotID)
{
    struct km_token *token = NULL;

    KM_ENTER();
    KM_TRY(km_token_get(slotID, &token));
    km_lock();
    km_session_close_all(token);
    km_unlock();
    return CKR_OK;
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO *pInfo)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(pInfo != NULL, CKR_ARGUMENTS_BAD);
    km_lock();
    *pInfo = (CK_SESSION_INFO){
        .slotID = session->token->slot,
        .state = km_session_state(session),
        .flags = session->flags,
    };
    km_unlock();
    return CKR_OK;
}

CK_RV C_GetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState, CK_ULONG_PTR pulOperationStateLen)
{
    KM_SESSION(session, hSession);
    (void)session;
    (void)pOperationState;
    KM_REQUIRE(pulOperationStateLen != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_SetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState, CK_ULONG ulOperationStateLen,
                          CK_OBJECT_HANDLE hEncryptionKey, CK_OBJECT_HANDLE hAuthenticationKey)
{
    KM_SESSION(session, hSession);
    (void)session;
    (void)ulOperationStateLen;
    (void)hEncryptionKey;
    (void)hAuthenticationKey;
    KM_REQUIRE(pOperationState != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}
