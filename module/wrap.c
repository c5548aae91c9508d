/* SPDX-License-Identifier: Apache-2.0
 *
 * Wrapping and unwrapping of keys (PKCS#11 v3.2 5.18). No mechanism of the table does that yet, which is what each
 * function answers after the checks that all make.
 */
#include "guard.h"

/* What is asked of every call, and the mechanism. */
static CK_RV refuse(CK_SESSION_HANDLE handle, const CK_MECHANISM *mechanism, const void *needed)
{
    KM_SESSION(session, handle);
    (void)session;
    KM_REQUIRE(mechanism != NULL && needed != NULL, CKR_ARGUMENTS_BAD);
    return CKR_MECHANISM_INVALID;
}

CK_RV C_WrapKeyAuthenticated(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hWrappingKey,
                             CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                             CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
    (void)hWrappingKey;
    (void)hKey;
    (void)pWrappedKey;
    KM_REQUIRE_BYTES(pAssociatedData, ulAssociatedDataLen);
    return refuse(hSession, pMechanism, pulWrappedKeyLen);
}

CK_RV C_WrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hWrappingKey,
                CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
    return C_WrapKeyAuthenticated(hSession, pMechanism, hWrappingKey, hKey, NULL, 0, pWrappedKey, pulWrappedKeyLen);
}

CK_RV C_UnwrapKeyAuthenticated(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hUnwrappingKey,
                               CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE *pTemplate,
                               CK_ULONG ulAttributeCount, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                               CK_OBJECT_HANDLE_PTR phKey)
{
    (void)hUnwrappingKey;
    KM_REQUIRE_BYTES(pWrappedKey, ulWrappedKeyLen);
    KM_REQUIRE_BYTES(pAssociatedData, ulAssociatedDataLen);
    KM_REQUIRE(pTemplate != NULL || ulAttributeCount == 0, CKR_ARGUMENTS_BAD);
    return refuse(hSession, pMechanism, phKey);
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hUnwrappingKey,
                  CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount,
                  CK_OBJECT_HANDLE_PTR phKey)
{
    return C_UnwrapKeyAuthenticated(hSession, pMechanism, hUnwrappingKey, pWrappedKey, ulWrappedKeyLen, pTemplate,
                                    ulAttributeCount, NULL, 0, phKey);
}
