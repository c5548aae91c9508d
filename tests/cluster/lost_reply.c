/* SPDX-License-Identifier: Apache-2.0
 *
 * lost_reply MODULE CUT_FILE...: for every change that a program can make, loses the server's reply exactly after the
 * commit (relay.c watches CUT_FILE) and checks that the call succeeds all the same and that the change was made once.
 * One relay stands before each server, each with its own file, so the cut hits whichever server is asked.
 */
#include "../../common/cryptoki.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST *p11;
static char **cut_files;
static int n_cut_files;
static int checks, failures;
static CK_BBOOL yes = CK_TRUE;

static void arm(void)
{
    for (int i = 0; i < n_cut_files; i++)
        close(open(cut_files[i], O_CREAT | O_WRONLY, 0600));
}

/* Exactly one of the files must be gone: the reply of this very call was lost. */
static bool bit(void)
{
    int left = 0;
    for (int i = 0; i < n_cut_files; i++)
        left += unlink(cut_files[i]) == 0;
    return left < n_cut_files;
}

static void check(const char *what, CK_RV rv, bool once)
{
    bool was_cut = bit();
    checks++;
    if (rv == CKR_OK && once && was_cut) {
        printf("ok   %s: reply lost, done once\n", what);
        return;
    }
    failures++;
    printf("FAIL %s: rv 0x%lx, %s, %s\n", what, rv, once ? "done once" : "not done exactly once", was_cut ? "reply was lost" : "no reply was lost");
}

static CK_ULONG count(CK_SESSION_HANDLE s, const char *label)
{
    CK_ATTRIBUTE t = {CKA_LABEL, (void *)label, strlen(label)};
    CK_OBJECT_HANDLE h[16];
    CK_ULONG n = 0;
    if (p11->C_FindObjectsInit(s, &t, 1) != CKR_OK || p11->C_FindObjects(s, h, 16, &n) != CKR_OK)
        n = 999;
    p11->C_FindObjectsFinal(s);
    return n;
}

static CK_SLOT_ID find_token(const char *label, bool want_free)
{
    CK_SLOT_ID slots[64];
    CK_ULONG n = 64;
    CK_TOKEN_INFO info;
    if (p11->C_GetSlotList(CK_TRUE, slots, &n) != CKR_OK)
        n = 0;
    for (CK_ULONG i = 0; i < n; i++) {
        if (p11->C_GetTokenInfo(slots[i], &info) != CKR_OK)
            continue;
        bool is_free = !(info.flags & CKF_TOKEN_INITIALIZED);
        if (want_free ? is_free : !is_free && !memcmp(info.label, label, strlen(label)) && info.label[strlen(label)] == ' ')
            return slots[i];
    }
    printf("FAIL no slot for %s\n", want_free ? "a new token" : label);
    exit(1);
}

static CK_ULONG count_tokens(void)
{
    CK_ULONG n = 0;
    p11->C_GetSlotList(CK_TRUE, NULL, &n);
    return n;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    cut_files = argv + 2;
    n_cut_files = argc - 2;
    void *so = dlopen(argv[1], RTLD_NOW);
    CK_RV (*get)(CK_FUNCTION_LIST_PTR_PTR) = NULL;
    if (so)
        *(void **)&get = dlsym(so, "C_GetFunctionList");
    if (!get || get(&p11) != CKR_OK || p11->C_Initialize(NULL) != CKR_OK) {
        fprintf(stderr, "lost_reply: %s: %s\n", argv[1], dlerror());
        return 1;
    }
    CK_UTF8CHAR so_pin[] = "so-pin-1", pin[] = "user-pin-1", pin2[] = "user-pin-2", label[32];
    CK_SESSION_HANDLE s;
    CK_RV rv;

    /* A first token without a cut, so that the process is registered for changes and its connections are warm. */
    memset(label, ' ', sizeof(label));
    memcpy(label, "warm", 4);
    if ((rv = p11->C_InitToken(find_token("", true), so_pin, 8, label)) != CKR_OK) {
        printf("FAIL first C_InitToken: 0x%lx\n", rv);
        return 1;
    }
    CK_ULONG tokens = count_tokens();
    CK_SLOT_ID slot = find_token("", true);
    memcpy(label, "lost", 4);
    arm();
    rv = p11->C_InitToken(slot, so_pin, 8, label);
    check("C_InitToken", rv, count_tokens() == tokens + 1);
    slot = find_token("lost", false);

    if (p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s) != CKR_OK || p11->C_Login(s, CKU_SO, so_pin, 8) != CKR_OK)
        return 1;
    arm();
    rv = p11->C_InitPIN(s, pin, 10);
    p11->C_Logout(s);
    check("C_InitPIN", rv, p11->C_Login(s, CKU_USER, pin, 10) == CKR_OK);
    arm();
    rv = p11->C_SetPIN(s, pin, 10, pin2, 10);
    p11->C_Logout(s);
    check("C_SetPIN", rv, p11->C_Login(s, CKU_USER, pin2, 10) == CKR_OK);

    CK_OBJECT_CLASS data_class = CKO_DATA;
    CK_ATTRIBUTE data[] = {{CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_TOKEN, &yes, 1}, {CKA_LABEL, "data", 4}, {CKA_VALUE, "v", 1}};
    CK_OBJECT_HANDLE h, copy, key, pub, priv;
    arm();
    rv = p11->C_CreateObject(s, data, 4, &h);
    check("C_CreateObject", rv, count(s, "data") == 1);

    CK_ATTRIBUTE other = {CKA_LABEL, "copy", 4};
    arm();
    rv = p11->C_CopyObject(s, h, &other, 1, &copy);
    check("C_CopyObject", rv, count(s, "copy") == 1 && count(s, "data") == 1);

    CK_ATTRIBUTE renamed = {CKA_LABEL, "renamed", 7};
    arm();
    rv = p11->C_SetAttributeValue(s, copy, &renamed, 1);
    check("C_SetAttributeValue", rv, count(s, "renamed") == 1 && count(s, "copy") == 0);

    arm();
    rv = p11->C_DestroyObject(s, copy);
    check("C_DestroyObject", rv, count(s, "renamed") == 0);

    CK_ULONG len = 32;
    CK_MECHANISM aes = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE aes_t[] = {{CKA_TOKEN, &yes, 1}, {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_LABEL, "aes", 3}};
    arm();
    rv = p11->C_GenerateKey(s, &aes, aes_t, 3, &key);
    check("C_GenerateKey", rv, count(s, "aes") == 1);

    CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_MECHANISM ec = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE pub_t[] = {{CKA_TOKEN, &yes, 1}, {CKA_EC_PARAMS, p256, sizeof(p256)}, {CKA_LABEL, "pair", 4}};
    CK_ATTRIBUTE priv_t[] = {{CKA_TOKEN, &yes, 1}, {CKA_SIGN, &yes, 1}, {CKA_LABEL, "pair", 4}};
    arm();
    rv = p11->C_GenerateKeyPair(s, &ec, pub_t, 3, priv_t, 3, &pub, &priv);
    check("C_GenerateKeyPair", rv, count(s, "pair") == 2);

    p11->C_Logout(s);
    CK_UTF8CHAR wrong[] = "wrong-pin";
    arm();
    rv = p11->C_Login(s, CKU_USER, wrong, 9);
    check("a wrong PIN", rv == CKR_PIN_INCORRECT ? CKR_OK : rv, p11->C_Login(s, CKU_USER, pin2, 10) == CKR_OK);
    p11->C_Finalize(NULL);
    printf("%d passed, %d failed\n", checks - failures, failures);
    return failures != 0;
}
