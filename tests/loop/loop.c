/* SPDX-License-Identifier: Apache-2.0
 *
 * What the loop tests share.
 */
#include "loop.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

CK_FUNCTION_LIST *F;
CK_SLOT_ID loop_slot;
static void *library;

static const char *env(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL) {
        fprintf(stderr, "%s is not set: run tests/loop/run, or eval \"$(contrib/quickstart env)\"\n", name);
        exit(77); /* skipped */
    }
    return value;
}

static void find_slot(void)
{
    const char *label = env("KEYMOOT_TOKEN");
    CK_SLOT_ID slots[64];
    CK_ULONG n = 64;
    CK_TOKEN_INFO info;

    OK(C_GetSlotList(CK_TRUE, slots, &n));
    for (CK_ULONG i = 0; i < n; i++) {
        OK(C_GetTokenInfo(slots[i], &info));
        if (strncmp((char *)info.label, label, strlen(label)) == 0 && info.label[strlen(label)] == ' ') {
            loop_slot = slots[i];
            return;
        }
    }
    fail_msg("no token %s", label);
}

int loop_setup(void **state)
{
    CK_RV (*get)(CK_FUNCTION_LIST **);
    (void)state;

    library = dlopen(env("KEYMOOT_MODULE"), RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        fail_msg("%s", dlerror());
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    assert_non_null(get);
    assert_int_equal(get(&F), CKR_OK);
    OK(C_Initialize(NULL));
    find_slot();
    return 0;
}

int loop_teardown(void **state)
{
    (void)state;
    OK(C_Finalize(NULL));
    return dlclose(library);
}

CK_SESSION_HANDLE loop_open(CK_FLAGS more)
{
    CK_SESSION_HANDLE s = 0;

    OK(C_OpenSession(loop_slot, CKF_SERIAL_SESSION | more, NULL, NULL, &s));
    return s;
}

CK_UTF8CHAR *loop_pin(void)
{
    return (CK_UTF8CHAR *)env("KEYMOOT_PIN");
}

CK_ULONG loop_pin_len(void)
{
    return strlen(env("KEYMOOT_PIN"));
}

CK_SESSION_HANDLE loop_login(void)
{
    CK_SESSION_HANDLE s = loop_open(CKF_RW_SESSION);

    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    return s;
}

void loop_ec_pair(CK_SESSION_HANDLE s, const char *label, bool on_token, CK_OBJECT_HANDLE *ret_public,
                  CK_OBJECT_HANDLE *ret_private)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_BBOOL token = on_token, yes = CK_TRUE;
    CK_MECHANISM m = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_EC_PARAMS, p256, sizeof(p256)},
                             {CKA_TOKEN, &token, 1},
                             {CKA_VERIFY, &yes, 1},
                             {CKA_LABEL, (void *)label, strlen(label)}};
    CK_ATTRIBUTE private[] = {{CKA_TOKEN, &token, 1},
                              {CKA_PRIVATE, &yes, 1},
                              {CKA_SENSITIVE, &yes, 1},
                              {CKA_SIGN, &yes, 1},
                              {CKA_LABEL, (void *)label, strlen(label)}};

    OK(C_GenerateKeyPair(s, &m, public, 4, private, 5, ret_public, ret_private));
}

void loop_rsa_pair(CK_SESSION_HANDLE s, const char *label, bool on_token, CK_OBJECT_HANDLE *ret_public,
                   CK_OBJECT_HANDLE *ret_private)
{
    CK_ULONG bits = 2048;
    CK_BBOOL token = on_token, yes = CK_TRUE;
    CK_MECHANISM m = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)},
                             {CKA_TOKEN, &token, 1},
                             {CKA_VERIFY, &yes, 1},
                             {CKA_ENCRYPT, &yes, 1},
                             {CKA_LABEL, (void *)label, strlen(label)}};
    CK_ATTRIBUTE private[] = {{CKA_TOKEN, &token, 1},   {CKA_PRIVATE, &yes, 1},
                              {CKA_SENSITIVE, &yes, 1}, {CKA_SIGN, &yes, 1},
                              {CKA_DECRYPT, &yes, 1},   {CKA_LABEL, (void *)label, strlen(label)}};

    OK(C_GenerateKeyPair(s, &m, public, 5, private, 6, ret_public, ret_private));
}

CK_OBJECT_HANDLE loop_aes(CK_SESSION_HANDLE s, const char *label, bool on_token)
{
    CK_ULONG len = 32;
    CK_BBOOL token = on_token, yes = CK_TRUE;
    CK_MECHANISM m = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE key = 0;
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len, sizeof(len)},
                               {CKA_TOKEN, &token, 1},
                               {CKA_SENSITIVE, &yes, 1},
                               {CKA_ENCRYPT, &yes, 1},
                               {CKA_DECRYPT, &yes, 1},
                               {CKA_LABEL, (void *)label, strlen(label)}};

    OK(C_GenerateKey(s, &m, template, 6, &key));
    return key;
}

CK_ULONG loop_count(CK_SESSION_HANDLE s, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *)label, strlen(label)};
    CK_OBJECT_HANDLE found[64];
    CK_ULONG n = 0;

    OK(C_FindObjectsInit(s, &template, 1));
    OK(C_FindObjects(s, found, 64, &n));
    OK(C_FindObjectsFinal(s));
    return n;
}
