/* SPDX-License-Identifier: Apache-2.0
 *
 * General-purpose functions (PKCS#11 v3.2 5.4) and the interfaces 2.40, 3.0 and 3.2. The lists are constant: they can
 * be asked for before C_Initialize, after C_Finalize and in a child. All of their functions are exported by name too.
 */
#include "config.h"
#include "guard.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* C_GetInfo tells the version of the interface that it is called through. */
static CK_RV get_info(CK_INFO *info, CK_VERSION version);

static CK_RV get_info_2_40(CK_INFO *info)
{
    return get_info(info, (CK_VERSION){2, 40});
}

static CK_RV get_info_3_0(CK_INFO *info)
{
    return get_info(info, (CK_VERSION){3, 0});
}

/* The lists have the order of the table, so they can be filled by position, which lets C_GetInfo have another name. */
#define C_GetInfo get_info_2_40
static const CK_FUNCTION_LIST functions = {
    {2, 40},
#define KM_FUNC(name, args) name,
#include "../common/cryptoki_funcs.def"
};
#undef C_GetInfo

#define C_GetInfo get_info_3_0
static const CK_FUNCTION_LIST_3_0 functions_3_0 = {
    {3, 0},
#define KM_FUNC(name, args) name,
#define KM_FUNC_3_0 KM_FUNC
#include "../common/cryptoki_funcs.def"
};
#undef C_GetInfo

static const CK_FUNCTION_LIST_3_2 functions_3_2 = {
    {3, 2},
#define KM_FUNC(name, args) name,
#define KM_FUNC_3_0 KM_FUNC
#define KM_FUNC_3_2 KM_FUNC
#include "../common/cryptoki_funcs.def"
};

/* The first one that fits is the answer to C_GetInterface, so the default is the newest: its list begins with the
 * older ones. */
static CK_INTERFACE interfaces[] = {
    {(CK_UTF8CHAR *)"PKCS 11", (CK_VOID_PTR)&functions_3_2, CKF_INTERFACE_FORK_SAFE},
    {(CK_UTF8CHAR *)"PKCS 11", (CK_VOID_PTR)&functions_3_0, CKF_INTERFACE_FORK_SAFE},
    {(CK_UTF8CHAR *)"PKCS 11", (CK_VOID_PTR)&functions, CKF_INTERFACE_FORK_SAFE},
};
#define N_INTERFACES (sizeof(interfaces) / sizeof(interfaces[0]))

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
    KM_REQUIRE(ppFunctionList != NULL, CKR_ARGUMENTS_BAD);
    *ppFunctionList = (CK_FUNCTION_LIST_PTR)&functions;
    return CKR_OK;
}

CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
    KM_REQUIRE(pulCount != NULL, CKR_ARGUMENTS_BAD);
    if (pInterfacesList != NULL) {
        KM_REQUIRE(*pulCount >= N_INTERFACES, (*pulCount = N_INTERFACES, CKR_BUFFER_TOO_SMALL));
        memcpy(pInterfacesList, interfaces, sizeof(interfaces));
    }
    *pulCount = N_INTERFACES;
    return CKR_OK;
}

static bool is_asked_for(const CK_INTERFACE *interface, const CK_UTF8CHAR *name, const CK_VERSION *version,
                         CK_FLAGS flags)
{
    const CK_VERSION *own = interface->pFunctionList;

    return (name == NULL || strcmp((const char *)name, (const char *)interface->pInterfaceName) == 0) &&
           (version == NULL || (version->major == own->major && version->minor == own->minor)) &&
           (flags & interface->flags) == flags;
}

CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION *pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                     CK_FLAGS flags)
{
    KM_REQUIRE(ppInterface != NULL, CKR_ARGUMENTS_BAD);
    for (size_t i = 0; i < N_INTERFACES; i++) {
        if (is_asked_for(&interfaces[i], pInterfaceName, pVersion, flags)) {
            *ppInterface = &interfaces[i];
            return CKR_OK;
        }
    }
    return CKR_FUNCTION_FAILED;
}

/* Locking is the operating system's in any case: a program that passes callbacks and does not allow that is a threaded
 * program of this system all the same, and refusing it (CKR_CANT_LOCK) would only shut it out. */
CK_RV C_Initialize(CK_VOID_PTR pInitArgs)
{
    const CK_C_INITIALIZE_ARGS *args = pInitArgs;
    int n;

    if (args != NULL) {
        n = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) + (args->LockMutex != NULL) +
            (args->UnlockMutex != NULL);
        KM_REQUIRE(args->pReserved == NULL, CKR_ARGUMENTS_BAD);
        KM_REQUIRE(n == 0 || n == 4, CKR_ARGUMENTS_BAD);
    }
    return km_process_start();
}

CK_RV C_Finalize(CK_VOID_PTR pReserved)
{
    KM_REQUIRE(pReserved == NULL, CKR_ARGUMENTS_BAD);
    return km_process_stop();
}

/* "0.1.0" to {0, 1} */
static CK_VERSION library_version(void)
{
    char *end;
    CK_VERSION version;

    version.major = (CK_BYTE)strtoul(PACKAGE_VERSION, &end, 10);
    version.minor = (CK_BYTE)strtoul(end + 1, NULL, 10);
    return version;
}

static CK_RV get_info(CK_INFO *info, CK_VERSION version)
{
    KM_ENTER();
    KM_REQUIRE(info != NULL, CKR_ARGUMENTS_BAD);
    memset(info, 0, sizeof(*info));
    info->cryptokiVersion = version;
    km_text_pad(info->manufacturerID, sizeof(info->manufacturerID), "keymoot");
    km_text_pad(info->libraryDescription, sizeof(info->libraryDescription), "keymoot PKCS#11 module");
    info->libraryVersion = library_version();
    return CKR_OK;
}

CK_RV C_GetInfo(CK_INFO *pInfo)
{
    return get_info(pInfo, (CK_VERSION){3, 2});
}
