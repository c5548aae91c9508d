/* SPDX-License-Identifier: Apache-2.0
 *
 * Encryption and decryption functions (PKCS#11 v3.2 5.8, 5.10). With public keys it happens here, with secret keys at a
 * server: cipher.c.
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
    KM_OPERATION(session, op, hSession, KM_OP_ENCRYPT);
    return km_cipher_once(session, op, pData, ulDataLen, pEncryptedData, pulEncryptedDataLen);
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart,
                      CK_ULONG_PTR pulEncryptedPartLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_ENCRYPT);
    return km_cipher_update(session, op, pPart, ulPartLen, pEncryptedPart, pulEncryptedPartLen);
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastEncryptedPart, CK_ULONG_PTR pulLastEncryptedPartLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_ENCRYPT);
    return km_cipher_final(session, op, pLastEncryptedPart, pulLastEncryptedPartLen);
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM *pMechanism, CK_OBJECT_HANDLE hKey)
{
    KM_SESSION(session, hSession);
    return km_operation_begin(session, KM_OP_DECRYPT, pMechanism, hKey);
}

CK_RV C_Decrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData, CK_ULONG ulEncryptedDataLen, CK_BYTE_PTR pData,
                CK_ULONG_PTR pulDataLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_DECRYPT);
    return km_cipher_once(session, op, pEncryptedData, ulEncryptedDataLen, pData, pulDataLen);
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart, CK_ULONG ulEncryptedPartLen,
                      CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_DECRYPT);
    return km_cipher_update(session, op, pEncryptedPart, ulEncryptedPartLen, pPart, pulPartLen);
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastPart, CK_ULONG_PTR pulLastPartLen)
{
    KM_OPERATION(session, op, hSession, KM_OP_DECRYPT);
    return km_cipher_final(session, op, pLastPart, pulLastPartLen);
}
