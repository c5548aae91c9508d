/* SPDX-License-Identifier: Apache-2.0
 *
 * Session management (PKCS#11 v3.2 5.6). Sessions live here alone: opening and closing one costs no round trip.
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
    KM_REQUIRE(!(flags & CKF_ASYNC_SESSION), CKR_SESSION_ASYNC_NOT_SUPPORTED);
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

CK_RV C_SessionCancel(CK_SESSION_HANDLE hSession, CK_FLAGS flags)
{
    KM_SESSION(session, hSession);
    if (flags & CKF_FIND_OBJECTS)
        km_find_end(&session->find);
    km_operation_cancel(session, flags);
    return CKR_OK;
}

/* No token here has validation objects, so no validation holds for what the session did last. */
CK_RV C_GetSessionValidationFlags(CK_SESSION_HANDLE hSession, CK_SESSION_VALIDATION_FLAGS_TYPE type, CK_FLAGS *pFlags)
{
    KM_SESSION(session, hSession);
    (void)session;
    KM_REQUIRE(type == CKS_LAST_VALIDATION_OK && pFlags != NULL, CKR_ARGUMENTS_BAD);
    *pFlags = 0;
    return CKR_OK;
}
