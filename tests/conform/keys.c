/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys for the rows. Symmetric keys are session objects, made at each request; key pairs are token objects, made once
 * in a run since that takes time, found again by label, and destroyed at its end.
 */
#include "keys.h"

#define PAIR_LABEL "conform pair"

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

bool has(CK_MECHANISM_TYPE type, CK_FLAGS flags)
{
    CK_MECHANISM_INFO info;

    return F->C_GetMechanismInfo(the_slot, type, &info) == CKR_OK && (info.flags & flags) == flags;
}

void need(const char *name, CK_MECHANISM_TYPE type, CK_FLAGS flags)
{
    static char why[64] = "no ";

    if (has(type, flags))
        return;
    strncpy(why + 3, name, sizeof(why) - 4);
    row_skip(why);
}

/* --- symmetric --- */

CK_OBJECT_HANDLE aes(CK_SESSION_HANDLE s, CK_ULONG usages)
{
    static CK_BYTE value[32] = "0123456789abcde"; /* SoftHSM wants an HMAC key as long as the hash */
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = usages & OF_GENERIC ? CKK_GENERIC_SECRET : CKK_AES;
    CK_BBOOL is_sensitive = (usages & IS_SENSITIVE) != 0, is_extractable = !(usages & IS_KEPT);
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ATTRIBUTE template[16] = {{CKA_CLASS, &class, sizeof(class)},
                                 {CKA_KEY_TYPE, &type, sizeof(type)},
                                 {CKA_VALUE, value, sizeof(value)},
                                 {CKA_TOKEN, usages & ON_TOKEN ? &yes : &no, 1},
                                 {CKA_PRIVATE, usages & IS_PUBLIC ? &no : &yes, 1},
                                 {CKA_SENSITIVE, &is_sensitive, 1},
                                 {CKA_EXTRACTABLE, &is_extractable, 1},
                                 {CKA_LABEL, "conform", 7}};
    static const struct {
        CK_ULONG usage;
        CK_ATTRIBUTE_TYPE type;
    } map[] = {{MAY_ENCRYPT, CKA_ENCRYPT}, {MAY_ENCRYPT, CKA_DECRYPT}, {MAY_SIGN, CKA_SIGN},    {MAY_SIGN, CKA_VERIFY},
               {MAY_WRAP, CKA_WRAP},       {MAY_WRAP, CKA_UNWRAP},     {MAY_DERIVE, CKA_DERIVE}};
    CK_ULONG n = 8;

    for (size_t i = 0; i < LEN(map); i++)
        template[n++] = (CK_ATTRIBUTE){map[i].type, usages & map[i].usage ? &yes : &no, 1};
    MUST(F->C_CreateObject(s, template, n, &key));
    return key;
}

/* --- key pairs --- */

static CK_OBJECT_HANDLE find_pair(CK_SESSION_HANDLE s, CK_KEY_TYPE type, CK_OBJECT_CLASS class)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_LABEL, PAIR_LABEL, strlen(PAIR_LABEL)}};
    CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
    CK_ULONG n = 0;

    MUST(F->C_FindObjectsInit(s, template, 3));
    MUST(F->C_FindObjects(s, &found, 1, &n));
    MUST(F->C_FindObjectsFinal(s));
    return n == 1 ? found : CK_INVALID_HANDLE;
}

static void make_pair(CK_SESSION_HANDLE s, CK_KEY_TYPE type)
{
    bool is_rsa = type == CKK_RSA;
    CK_MECHANISM mech = {is_rsa ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ULONG bits = 2048;
    CK_BYTE f4[] = {1, 0, 1};
    CK_OBJECT_HANDLE public, private;
    CK_ATTRIBUTE of_public[] = {{CKA_TOKEN, &yes, 1},
                                {CKA_VERIFY, &yes, 1},
                                {CKA_LABEL, PAIR_LABEL, strlen(PAIR_LABEL)},
                                is_rsa ? (CK_ATTRIBUTE){CKA_MODULUS_BITS, &bits, sizeof(bits)}
                                       : (CK_ATTRIBUTE){CKA_EC_PARAMS, p256, sizeof(p256)},
                                {CKA_ENCRYPT, &yes, 1},
                                {CKA_PUBLIC_EXPONENT, f4, sizeof(f4)}};
    CK_ATTRIBUTE of_private[] = {{CKA_TOKEN, &yes, 1},
                                 {CKA_PRIVATE, &yes, 1},
                                 {CKA_SENSITIVE, &yes, 1},
                                 {CKA_SIGN, &yes, 1},
                                 {CKA_LABEL, PAIR_LABEL, strlen(PAIR_LABEL)},
                                 {is_rsa ? CKA_DECRYPT : CKA_DERIVE, &yes, 1}};

    MUST(F->C_GenerateKeyPair(s, &mech, of_public, is_rsa ? 6 : 4, of_private, 6, &public, &private));
}

CK_OBJECT_HANDLE pair(CK_SESSION_HANDLE s, CK_KEY_TYPE type, CK_OBJECT_CLASS class)
{
    CK_OBJECT_HANDLE found = find_pair(s, type, class);

    if (found != CK_INVALID_HANDLE)
        return found;
    make_pair(s, type);
    found = find_pair(s, type, class);
    CHECK(found != CK_INVALID_HANDLE);
    return found;
}

void keys_destroy(CK_SESSION_HANDLE s)
{
    static const char *const labels[] = {PAIR_LABEL, "conform"};
    CK_OBJECT_HANDLE found[64];
    CK_ULONG n = 0;

    for (size_t i = 0; i < LEN(labels); i++) {
        CK_ATTRIBUTE template[] = {{CKA_LABEL, (char *)labels[i], strlen(labels[i])}};

        if (F->C_FindObjectsInit(s, template, 1) != CKR_OK || F->C_FindObjects(s, found, 64, &n) != CKR_OK)
            return;
        (void)F->C_FindObjectsFinal(s);
        while (n > 0)
            (void)F->C_DestroyObject(s, found[--n]);
    }
}

CK_OBJECT_HANDLE data_object(CK_SESSION_HANDLE s, bool is_on_token, bool is_private)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_TOKEN, is_on_token ? &yes : &no, 1},
                               {CKA_PRIVATE, is_private ? &yes : &no, 1},
                               {CKA_LABEL, "conform", 7},
                               {CKA_VALUE, "value", 5}};

    MUST(F->C_CreateObject(s, template, 5, &object));
    return object;
}
