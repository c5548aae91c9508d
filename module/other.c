/* SPDX-License-Identifier: Apache-2.0
 *
 * The rest of the 2.40 list: functions of no effect, and those that keymoot does not offer yet, which say so after the
 * checks that every function makes.
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

CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
    KM_ENTER();
    KM_REQUIRE(pSlot != NULL && pReserved == NULL, CKR_ARGUMENTS_BAD);
    return flags & CKF_DONT_BLOCK ? CKR_NO_EVENT : CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV check_session(CK_SESSION_HANDLE handle)
{
    KM_SESSION(session, handle);
    (void)session;
    return CKR_OK;
}

CK_RV C_DigestEncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen,
                            CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)
{
    (void)pEncryptedPart;
    KM_TRY(check_session(hSession));
    KM_REQUIRE_BYTES(pPart, ulPartLen);
    KM_REQUIRE(pulEncryptedPartLen != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_DecryptDigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,
                            CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    (void)pPart;
    KM_TRY(check_session(hSession));
    KM_REQUIRE_BYTES(pEncryptedPart, ulEncryptedPartLen);
    KM_REQUIRE(pulPartLen != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_SignEncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart,
                          CK_ULONG_PTR pulEncryptedPartLen)
{
    (void)pEncryptedPart;
    KM_TRY(check_session(hSession));
    KM_REQUIRE_BYTES(pPart, ulPartLen);
    KM_REQUIRE(pulEncryptedPartLen != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_DecryptVerifyUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,
                            CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    (void)pPart;
    KM_TRY(check_session(hSession));
    KM_REQUIRE_BYTES(pEncryptedPart, ulEncryptedPartLen);
    KM_REQUIRE(pulPartLen != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_WrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hWrappingKey,
                CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
    (void)hWrappingKey;
    (void)hKey;
    (void)pWrappedKey;
    KM_TRY(check_session(hSession));
    KM_REQUIRE(pMechanism != NULL && pulWrappedKeyLen != NULL, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hUnwrappingKey,
                  CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount,
                  CK_OBJECT_HANDLE_PTR phKey)
{
    (void)hUnwrappingKey;
    KM_TRY(check_session(hSession));
    KM_REQUIRE(pMechanism != NULL && phKey != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(pWrappedKey, ulWrappedKeyLen);
    KM_REQUIRE(pTemplate != NULL || ulAttributeCount == 0, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hBaseKey,
                  CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey)
{
    (void)hBaseKey;
    KM_TRY(check_session(hSession));
    KM_REQUIRE(pMechanism != NULL && phKey != NULL, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(pTemplate != NULL || ulAttributeCount == 0, CKR_ARGUMENTS_BAD);
    return CKR_FUNCTION_NOT_SUPPORTED;
}
