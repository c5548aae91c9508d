/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions about calls that go on by themselves (PKCS#11 v3.2 5.20, 5.21). None does here: C_OpenSession refuses
 * CKF_ASYNC_SESSION, so no function ever answers CKR_PENDING, and there is never one to complete, to name or to join.
 */
#include "guard.h"

CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE hSession)
{
    (void)hSession;
    return CKR_FUNCTION_NOT_PARALLEL;
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE hSession)
{
    (void)hSession;
    return CKR_FUNCTION_NOT_PARALLEL;
}

CK_RV C_AsyncComplete(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName, CK_ASYNC_DATA *pResult)
{
    KM_SESSION(session, hSession);
    (void)session;
    (void)pResult; /* may be NULL for functions without output */
    KM_REQUIRE(pFunctionName != NULL, CKR_ARGUMENTS_BAD);
    return CKR_OPERATION_NOT_INITIALIZED;
}

CK_RV C_AsyncGetID(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName, CK_ULONG_PTR pulID)
{
    KM_SESSION(session, hSession);
    (void)session;
    KM_REQUIRE(pFunctionName != NULL && pulID != NULL, CKR_ARGUMENTS_BAD);
    return CKR_OPERATION_NOT_INITIALIZED;
}

CK_RV C_AsyncJoin(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pFunctionName, CK_ULONG ulID, CK_BYTE_PTR pData,
                  CK_ULONG ulData)
{
    KM_SESSION(session, hSession);
    (void)session;
    (void)ulID;
    KM_REQUIRE(pFunctionName != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(pData, ulData);
    return CKR_SAVED_STATE_INVALID;
}
