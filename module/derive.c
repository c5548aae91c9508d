/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that are made of other keys (PKCS#11 v3.2 5.18). No mechanism of the table does that yet, which is what each
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

CK_RV C_DeriveKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hBaseKey,
                  CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey)
{
    (void)hBaseKey;
    KM_REQUIRE(pTemplate != NULL || ulAttributeCount == 0, CKR_ARGUMENTS_BAD);
    return refuse(hSession, pMechanism, phKey);
}

CK_RV C_EncapsulateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hPublicKey,
                       CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount, CK_BYTE_PTR pCiphertext,
                       CK_ULONG_PTR pulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey)
{
    (void)hPublicKey;
    (void)pCiphertext;
    (void)phKey;
    KM_REQUIRE(pTemplate != NULL || ulAttributeCount == 0, CKR_ARGUMENTS_BAD);
    return refuse(hSession, pMechanism, pulCiphertextLen);
}

CK_RV C_DecapsulateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hPrivateKey,
                       CK_ATTRIBUTE *pTemplate, CK_ULONG ulAttributeCount, CK_BYTE_PTR pCiphertext,
                       CK_ULONG ulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey)
{
    (void)hPrivateKey;
    KM_REQUIRE(pTemplate != NULL || ulAttributeCount == 0, CKR_ARGUMENTS_BAD);
    KM_REQUIRE_BYTES(pCiphertext, ulCiphertextLen);
    return refuse(hSession, pMechanism, phKey);
}
