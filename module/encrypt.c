/* SPDX-License-Identifier: Apache-2.0
 *
 * Encryption functions (PKCS#11 v2.40 5.8). With public keys it happens here, with secret keys at a server: cipher.c.
 */
#include "cipher.h"
#include "guard.h"

CK_RV C_EncryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_ENCRYPT, pMechanism, hKey);
}

CK_RV C_Encrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pEncryptedData,
                CK_ULONG_PTR pulEncryptedDataLen)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(session->operations[KM_OP_ENCRYPT].is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_cipher_once(session, &session->operations[KM_OP_ENCRYPT], pData, ulDataLen, pEncryptedData,
                          pulEncryptedDataLen);
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart,
                      CK_ULONG_PTR pulEncryptedPartLen)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(session->operations[KM_OP_ENCRYPT].is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_cipher_update(session, &session->operations[KM_OP_ENCRYPT], pPart, ulPartLen, pEncryptedPart,
                            pulEncryptedPartLen);
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastEncryptedPart, CK_ULONG_PTR pulLastEncryptedPartLen)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(session->operations[KM_OP_ENCRYPT].is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_cipher_final(session, &session->operations[KM_OP_ENCRYPT], pLastEncryptedPart, pulLastEncryptedPartLen);
}
