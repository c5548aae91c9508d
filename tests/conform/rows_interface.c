/* SPDX-License-Identifier: Apache-2.0
 *
 * Interfaces, and what every function of 3.0 and 3.2 answers alike (v3.2 5.4, 5.1).
 */
#include "every.h"

static CK_BYTE in[16], out[64];
static CK_ULONG len = sizeof(out);
static CK_OBJECT_HANDLE key = 1, made;
static CK_MECHANISM mech = {CKM_SHA256, NULL, 0};
static CK_ATTRIBUTE attr = {CKA_LABEL, "x", 1};
static CK_FLAGS flags;
static CK_ASYNC_DATA async;

#define EVERY_30(function, args) EVERY_SESSION_IN(F30, function, args)
#define EVERY_32(function, args) EVERY_SESSION_IN(F32, function, args)

/* clang-format off */
EVERY_30(C_LoginUser, (s, CKU_USER, in, 8, NULL, 0))
EVERY_30(C_SessionCancel, (s, CKF_ENCRYPT))
EVERY_30(C_MessageEncryptInit, (s, &mech, key))
EVERY_30(C_EncryptMessage, (s, in, 16, in, 16, in, 16, out, &len))
EVERY_30(C_EncryptMessageBegin, (s, in, 16, in, 16))
EVERY_30(C_EncryptMessageNext, (s, in, 16, in, 16, out, &len, 0))
EVERY_30(C_MessageEncryptFinal, (s))
EVERY_30(C_MessageDecryptInit, (s, &mech, key))
EVERY_30(C_DecryptMessage, (s, in, 16, in, 16, in, 16, out, &len))
EVERY_30(C_DecryptMessageBegin, (s, in, 16, in, 16))
EVERY_30(C_DecryptMessageNext, (s, in, 16, in, 16, out, &len, 0))
EVERY_30(C_MessageDecryptFinal, (s))
EVERY_30(C_MessageSignInit, (s, &mech, key))
EVERY_30(C_SignMessage, (s, NULL, 0, in, 16, out, &len))
EVERY_30(C_SignMessageBegin, (s, NULL, 0))
EVERY_30(C_SignMessageNext, (s, NULL, 0, in, 16, out, &len))
EVERY_30(C_MessageSignFinal, (s))
EVERY_30(C_MessageVerifyInit, (s, &mech, key))
EVERY_30(C_VerifyMessage, (s, NULL, 0, in, 16, in, 16))
EVERY_30(C_VerifyMessageBegin, (s, NULL, 0))
EVERY_30(C_VerifyMessageNext, (s, NULL, 0, in, 16, in, 16))
EVERY_30(C_MessageVerifyFinal, (s))
EVERY_32(C_EncapsulateKey, (s, &mech, key, &attr, 1, out, &len, &made))
EVERY_32(C_DecapsulateKey, (s, &mech, key, &attr, 1, in, 16, &made))
EVERY_32(C_VerifySignatureInit, (s, &mech, key, in, 16))
EVERY_32(C_VerifySignature, (s, in, 16))
EVERY_32(C_VerifySignatureUpdate, (s, in, 16))
EVERY_32(C_VerifySignatureFinal, (s))
EVERY_32(C_GetSessionValidationFlags, (s, CKS_LAST_VALIDATION_OK, &flags))
EVERY_32(C_AsyncComplete, (s, TEXT_ONLY("C_Sign"), &async))
EVERY_32(C_AsyncGetID, (s, TEXT_ONLY("C_Sign"), &len))
EVERY_32(C_AsyncJoin, (s, TEXT_ONLY("C_Sign"), 1, out, sizeof(out)))
EVERY_32(C_WrapKeyAuthenticated, (s, &mech, key, key, in, 16, out, &len))
EVERY_32(C_UnwrapKeyAuthenticated, (s, &mech, key, in, 16, &attr, 1, in, 16, &made))
/* clang-format on */

/* --- C_GetInterface, C_GetInterfaceList --- */

static CK_RV interface(const char *name, CK_VERSION version, CK_FLAGS wanted)
{
    CK_INTERFACE *found = NULL;
    CK_RV rv = get_interface(TEXT_ONLY(name), version.major == 0 ? NULL : &version, &found, wanted);

    if (rv != CKR_OK)
        return rv;
    CHECK(found != NULL && found->pFunctionList != NULL && strcmp((char *)found->pInterfaceName, "PKCS 11") == 0);
    CK_VERSION got = *(CK_VERSION *)found->pFunctionList;
    CHECK(version.major == 0 || (got.major == version.major && got.minor == version.minor));
    return rv;
}
ROW(C_GetInterface, CKR_OK, "the default one; needs no C_Initialize")
{
    MUST(F->C_Finalize(NULL));
    return interface(NULL, (CK_VERSION){0, 0}, 0);
}
ROW(C_GetInterface, CKR_OK, "by name")
{
    return interface("PKCS 11", (CK_VERSION){0, 0}, 0);
}
ROW(C_GetInterface, CKR_OK, "2.40")
{
    return interface("PKCS 11", (CK_VERSION){2, 40}, 0);
}
ROW(C_GetInterface, CKR_OK, "3.0; no entry is NULL")
{
    CK_FUNCTION_LIST_3_0 *list = F30;

#define KM_FUNC(name, args) CHECK(list->name != NULL);
#define KM_FUNC_3_0(name, args) CHECK(list->name != NULL);
#include "../../common/cryptoki_funcs.def"
    return interface("PKCS 11", (CK_VERSION){3, 0}, 0);
}
ROW(C_GetInterface, CKR_OK, "3.2; no entry is NULL")
{
    CK_FUNCTION_LIST_3_2 *list = F32;

#define KM_FUNC(name, args) CHECK(list->name != NULL);
#define KM_FUNC_3_0(name, args) CHECK(list->name != NULL);
#define KM_FUNC_3_2(name, args) CHECK(list->name != NULL);
#include "../../common/cryptoki_funcs.def"
    return interface("PKCS 11", (CK_VERSION){3, 2}, 0);
}
ROW(C_GetInterface, CKR_FUNCTION_FAILED, "a name that nobody has")
{
    return interface("Conform", (CK_VERSION){0, 0}, 0);
}
ROW(C_GetInterface, CKR_FUNCTION_FAILED, "a version that there is not")
{
    return interface("PKCS 11", (CK_VERSION){9, 9}, 0);
}
ROW(C_GetInterface, CKR_FUNCTION_FAILED, "a flag that there is not")
{
    return interface("PKCS 11", (CK_VERSION){0, 0}, 1UL << 30);
}
ROW(C_GetInterface, CKR_ARGUMENTS_BAD, "ppInterface is NULL")
{
    return get_interface(NULL, NULL, NULL, 0);
}
ROW(C_GetInterfaceList, CKR_OK, "the number, then as many; each has a name and a list")
{
    CK_INTERFACE list[16];
    CK_ULONG n = 0, room = LEN(list);
    CK_RV rv;

    MUST(F30->C_GetInterfaceList(NULL, &n));
    CHECK(n >= 1 && n <= room);
    rv = F30->C_GetInterfaceList(list, &room);
    CHECK(room == n);
    for (CK_ULONG i = 0; i < n; i++)
        CHECK(list[i].pInterfaceName != NULL && list[i].pFunctionList != NULL);
    return rv;
}
ROW(C_GetInterfaceList, CKR_BUFFER_TOO_SMALL, "room for none; the number comes back")
{
    CK_INTERFACE list[1];
    CK_ULONG n = 0;
    CK_RV rv = F30->C_GetInterfaceList(list, &n);

    CHECK(n >= 1);
    return rv;
}
ROW(C_GetInterfaceList, CKR_ARGUMENTS_BAD, "pulCount is NULL")
{
    return F30->C_GetInterfaceList(NULL, NULL);
}
