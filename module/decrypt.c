/* SPDX-License-Identifier: Apache-2.0
 *
 * Decryption functions (PKCS#11 v2.40 5.9). Always at a server; GCM text comes only after the tag was checked there:
 * cipher.c.
 */
#include "cipher.h"
#include "guard.h"

CK_RV C_DecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_DECRYPT, pMechanism, hKey);
}

CK_RV C_Decrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData, CK_ULONG ulEncryptedDataLen, CK_BYTE_PTR pData,
                CK_ULONG_PTR pulDataLen)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(session->operations[KM_OP_DECRYPT].is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_cipher_once(session, &session->operations[KM_OP_DECRYPT], pEncryptedData, ulEncryptedDataLen, pData,
                          pulDataLen);
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,
                      CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(session->operations[KM_OP_DECRYPT].is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_cipher_update(session, &session->operations[KM_OP_DECRYPT], pEncryptedPart, ulEncryptedPartLen, pPart,
                            pulPartLen);
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastPart, CK_ULONG_PTR pulLastPartLen)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(session->operations[KM_OP_DECRYPT].is_active, CKR_OPERATION_NOT_INITIALIZED);
    return km_cipher_final(session, &session->operations[KM_OP_DECRYPT], pLastPart, pulLastPartLen);
}
