/* SPDX-License-Identifier: Apache-2.0
 *
 * What every function answers alike: before C_Initialize, and with a session handle that is none. The order of checks
 * is part of it: these come before any other mistake in the arguments (v2.40 5.1).
 */
#include "every.h"

static CK_BYTE in[16], out[64];
static CK_ULONG len = sizeof(out);
static CK_OBJECT_HANDLE key = 1, made, made_too;
static CK_MECHANISM mech = {CKM_SHA256, NULL, 0};
static CK_ATTRIBUTE attr = {CKA_LABEL, "x", 1};
static CK_SLOT_INFO slot_info;
static CK_TOKEN_INFO token_info;
static CK_INFO info;
static CK_SESSION_INFO session_info;
static CK_MECHANISM_INFO mechanism_info;
static CK_MECHANISM_TYPE types[8];
static CK_UTF8CHAR label[32];

#define EVERY(function, args) EVERY_IN(F, function, args)
#define EVERY_SESSION(function, args) EVERY_SESSION_IN(F, function, args)

/* clang-format off */
EVERY(C_Finalize, (NULL))
EVERY(C_GetInfo, (&info))
EVERY(C_GetSlotList, (CK_FALSE, NULL, &len))
EVERY(C_GetSlotInfo, (slot, &slot_info))
EVERY(C_GetTokenInfo, (slot, &token_info))
EVERY(C_GetMechanismList, (slot, types, &len))
EVERY(C_GetMechanismInfo, (slot, CKM_SHA256, &mechanism_info))
EVERY(C_InitToken, (slot, in, sizeof(in), label))
EVERY(C_OpenSession, (slot, CKF_SERIAL_SESSION, NULL, NULL, &made))
EVERY(C_CloseAllSessions, (slot))
EVERY(C_WaitForSlotEvent, (CKF_DONT_BLOCK, &slot, NULL))
EVERY_SESSION(C_InitPIN, (s, in, 8))
EVERY_SESSION(C_SetPIN, (s, in, 8, in, 8))
EVERY_SESSION(C_CloseSession, (s))
EVERY_SESSION(C_GetSessionInfo, (s, &session_info))
EVERY_SESSION(C_GetOperationState, (s, out, &len))
EVERY_SESSION(C_SetOperationState, (s, in, sizeof(in), 0, 0))
EVERY_SESSION(C_Login, (s, CKU_USER, in, 8))
EVERY_SESSION(C_Logout, (s))
EVERY_SESSION(C_CreateObject, (s, &attr, 1, &made))
EVERY_SESSION(C_CopyObject, (s, key, &attr, 1, &made))
EVERY_SESSION(C_DestroyObject, (s, key))
EVERY_SESSION(C_GetObjectSize, (s, key, &len))
EVERY_SESSION(C_GetAttributeValue, (s, key, &attr, 1))
EVERY_SESSION(C_SetAttributeValue, (s, key, &attr, 1))
EVERY_SESSION(C_FindObjectsInit, (s, &attr, 1))
EVERY_SESSION(C_FindObjects, (s, &made, 1, &len))
EVERY_SESSION(C_FindObjectsFinal, (s))
EVERY_SESSION(C_EncryptInit, (s, &mech, key))
EVERY_SESSION(C_Encrypt, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_EncryptUpdate, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_EncryptFinal, (s, out, &len))
EVERY_SESSION(C_DecryptInit, (s, &mech, key))
EVERY_SESSION(C_Decrypt, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_DecryptUpdate, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_DecryptFinal, (s, out, &len))
EVERY_SESSION(C_DigestInit, (s, &mech))
EVERY_SESSION(C_Digest, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_DigestUpdate, (s, in, sizeof(in)))
EVERY_SESSION(C_DigestKey, (s, key))
EVERY_SESSION(C_DigestFinal, (s, out, &len))
EVERY_SESSION(C_SignInit, (s, &mech, key))
EVERY_SESSION(C_Sign, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_SignUpdate, (s, in, sizeof(in)))
EVERY_SESSION(C_SignFinal, (s, out, &len))
EVERY_SESSION(C_SignRecoverInit, (s, &mech, key))
EVERY_SESSION(C_SignRecover, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_VerifyInit, (s, &mech, key))
EVERY_SESSION(C_Verify, (s, in, sizeof(in), in, sizeof(in)))
EVERY_SESSION(C_VerifyUpdate, (s, in, sizeof(in)))
EVERY_SESSION(C_VerifyFinal, (s, in, sizeof(in)))
EVERY_SESSION(C_VerifyRecoverInit, (s, &mech, key))
EVERY_SESSION(C_VerifyRecover, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_DigestEncryptUpdate, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_DecryptDigestUpdate, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_SignEncryptUpdate, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_DecryptVerifyUpdate, (s, in, sizeof(in), out, &len))
EVERY_SESSION(C_GenerateKey, (s, &mech, &attr, 1, &made))
EVERY_SESSION(C_GenerateKeyPair, (s, &mech, &attr, 1, &attr, 1, &made, &made_too))
EVERY_SESSION(C_WrapKey, (s, &mech, key, key, out, &len))
EVERY_SESSION(C_UnwrapKey, (s, &mech, key, in, sizeof(in), &attr, 1, &made))
EVERY_SESSION(C_DeriveKey, (s, &mech, key, &attr, 1, &made))
EVERY_SESSION(C_SeedRandom, (s, in, sizeof(in)))
EVERY_SESSION(C_GenerateRandom, (s, out, sizeof(out)))
/* clang-format on */

/* The two that only say that nothing runs in parallel: whatever the session (v2.40 5.16). */
ROW(C_GetFunctionStatus, CKR_FUNCTION_NOT_PARALLEL, "a session")
{
    return F->C_GetFunctionStatus(open_ro());
}
ROW_OR(C_GetFunctionStatus, CKR_FUNCTION_NOT_PARALLEL, CKR_SESSION_HANDLE_INVALID, "session handle 0")
{
    return F->C_GetFunctionStatus(0);
}
ROW_OR(C_GetFunctionStatus, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_PARALLEL, "the library is not initialised")
{
    MUST(F->C_Finalize(NULL));
    return F->C_GetFunctionStatus(1);
}
ROW(C_CancelFunction, CKR_FUNCTION_NOT_PARALLEL, "a session")
{
    return F->C_CancelFunction(open_ro());
}
ROW_OR(C_CancelFunction, CKR_FUNCTION_NOT_PARALLEL, CKR_SESSION_HANDLE_INVALID, "session handle 0")
{
    return F->C_CancelFunction(0);
}
ROW_OR(C_CancelFunction, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_PARALLEL, "the library is not initialised")
{
    MUST(F->C_Finalize(NULL));
    return F->C_CancelFunction(1);
}
