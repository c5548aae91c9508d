/* SPDX-License-Identifier: Apache-2.0
 *
 * What a search begins with: the token, the key that must not become known, and keys of every kind that a user can
 * make.
 */
#include "world.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
const uint8_t my_key[16] = "known to anybody";
EVP_PKEY *my_pair;

static CK_KEY_TYPE aes = CKK_AES, rsa = CKK_RSA;

/* --- templates -----------------------------------------------------------------------------------------------------
 */

CK_ULONG write_template(const struct wish *w, CK_ATTRIBUTE *t, CK_ULONG *len)
{
    static CK_ATTRIBUTE evil[] = {
        {CKA_SENSITIVE, &no, 1}, {CKA_DECRYPT, &yes, 1}, {CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}};
    static const CK_ATTRIBUTE_TYPE types[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE, CKA_SIGN};
    CK_ULONG n = 0;

    for (unsigned i = 0; i < COUNT(types); i++)
        t[n++] = (CK_ATTRIBUTE){types[i], w->roles & 1u << i ? &yes : &no, 1};
    t[n++] = (CK_ATTRIBUTE){CKA_TOKEN, &no, 1};
    t[n++] = (CK_ATTRIBUTE){CKA_EXTRACTABLE, &yes, 1};
    if (w->sensitive != UNSAID)
        t[n++] = (CK_ATTRIBUTE){CKA_SENSITIVE, w->sensitive == SENSITIVE ? &yes : &no, 1};
    *len = w->len;
    if (w->len > 0)
        t[n++] = (CK_ATTRIBUTE){CKA_VALUE_LEN, len, sizeof(*len)};
    if (w->is_evil)
        t[n++] = (CK_ATTRIBUTE){CKA_UNWRAP_TEMPLATE, evil, sizeof(evil)};
    return n;
}

/* --- what begins a route -------------------------------------------------------------------------------------------
 */

static const struct wish births[] = {
    {CKK_AES, W | D, SENSITIVE, 32, false},     {CKK_AES, W | U, SENSITIVE, 32, false},
    {CKK_AES, W | U, SENSITIVE, 16, false},     {CKK_AES, W | U, OPEN, 32, false},
    {CKK_AES, W, SENSITIVE, 32, false},         {CKK_AES, U, SENSITIVE, 32, false},
    {CKK_AES, ALL, SENSITIVE, 32, false},       {CKK_AES, W | U, SENSITIVE, 32, true},
    {CKK_AES, U | D, SENSITIVE, 32, false},     {CKK_AES, W | V, SENSITIVE, 32, false},
    {CKK_AES, W | U | E, SENSITIVE, 32, false}, {CKK_AES, DATA, SENSITIVE, 16, false},
    {CKK_AES, W | U | S, SENSITIVE, 32, false},
};

static void generate(void)
{
    CK_MECHANISM m = {CKM_AES_KEY_GEN, NULL, 0};

    for (size_t i = 0; i < COUNT(births); i++) {
        CK_ATTRIBUTE t[16];
        CK_ULONG len, n = write_template(&births[i], t, &len);
        CK_OBJECT_HANDLE key;
        n_calls++;
        if (F->C_GenerateKey(session, &m, t, n, &key) != CKR_OK)
            continue;
        object_add(key, value_get("generated %zu", i), 'G',
                   step_add(-1, -1, "generate an AES-%lu key %zu: %s%s%s", births[i].len * 8, i,
                            roles_name(births[i].roles), births[i].sensitive == SENSITIVE ? ", sensitive" : "",
                            births[i].is_evil ? ", generous CKA_UNWRAP_TEMPLATE" : ""));
    }
}

/* A key that the attacker knows. */
static void create(void)
{
    static const unsigned roles[] = {W | U, ALL, V};
    int value = value_get("my key");

    values[value].is_known = true;
    values[value].len = sizeof(my_key);
    memcpy(values[value].bytes, my_key, sizeof(my_key));
    for (size_t i = 0; i < COUNT(roles); i++)
        for (int sensitive = OPEN; sensitive <= SENSITIVE; sensitive++) {
            CK_ATTRIBUTE t[16];
            CK_ULONG len, n = write_template(&(struct wish){CKK_AES, roles[i], sensitive, 0, false}, t, &len);
            CK_OBJECT_HANDLE key;
            t[n++] = (CK_ATTRIBUTE){CKA_CLASS, &secret_class, sizeof(secret_class)};
            t[n++] = (CK_ATTRIBUTE){CKA_KEY_TYPE, &aes, sizeof(aes)};
            t[n++] = (CK_ATTRIBUTE){CKA_VALUE, (void *)my_key, sizeof(my_key)};
            n_calls++;
            if (F->C_CreateObject(session, t, n, &key) == CKR_OK)
                object_add(key, value, 'C', step_add(-1, -1, "import a known AES key: %s", roles_name(roles[i])));
        }
}

static void generate_pairs(void)
{
    static const unsigned roles[] = {U, U | D};
    CK_MECHANISM m = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ULONG bits;
    CK_BYTE e[] = {1, 0, 1};

    for (size_t i = 0; i < COUNT(roles); i++) {
        bits = roles[i] & D ? 2048 : 3072; /* as strong as the secret key, where that is looked at */
        CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)},
                                 {CKA_PUBLIC_EXPONENT, e, 3},
                                 {CKA_WRAP, &yes, 1},
                                 {CKA_ENCRYPT, &yes, 1},
                                 {CKA_VERIFY, &no, 1},
                                 {CKA_TOKEN, i == 0 ? &yes : &no, 1}};
        CK_ATTRIBUTE private[] = {{CKA_UNWRAP, &yes, 1},
                                  {CKA_DECRYPT, roles[i] & D ? &yes : &no, 1},
                                  {CKA_SIGN, &no, 1},
                                  {CKA_SENSITIVE, &yes, 1},
                                  {CKA_TOKEN, i == 0 ? &yes : &no, 1}};
        CK_OBJECT_HANDLE pub, key;
        int step, value = value_get("pair %zu", i);
        n_calls++;
        if (F->C_GenerateKeyPair(session, &m, public, 6, private, 5, &pub, &key) != CKR_OK)
            continue;
        step = step_add(-1, -1, "generate an RSA pair %zu: WRAP, %s", i, roles_name(roles[i]));
        object_add(pub, value, 'G', step);
        object_add(key, value, 'G', step);
    }
}

/* A public key whose private key the attacker has at home. */
static void import_public(void)
{
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_BYTE n[384], e[] = {1, 0, 1};
    BIGNUM *modulus = NULL;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof(class)},
                        {CKA_KEY_TYPE, &rsa, sizeof(rsa)},
                        {CKA_MODULUS, n, sizeof(n)},
                        {CKA_PUBLIC_EXPONENT, e, sizeof(e)},
                        {CKA_WRAP, &yes, 1},
                        {CKA_TOKEN, &no, 1}};
    CK_OBJECT_HANDLE key;

    my_pair = EVP_RSA_gen(3072);
    EVP_PKEY_get_bn_param(my_pair, OSSL_PKEY_PARAM_RSA_N, &modulus);
    BN_bn2binpad(modulus, n, sizeof(n));
    BN_free(modulus);
    for (int on_token = 0; on_token < 2; on_token++) {
        t[5].pValue = on_token ? &yes : &no;
        n_calls++;
        if (F->C_CreateObject(session, t, COUNT(t), &key) == CKR_OK)
            object_add(key, value_get("my pair"), 'C', step_add(-1, -1, "import a known RSA public key: WRAP"));
    }
}

void make_keys(void)
{
    generate();
    create();
    generate_pairs();
    import_public();
}

bool crypt_with(const struct object *o, CK_MECHANISM_TYPE type, bool encrypts, const uint8_t *in, size_t len,
                uint8_t *out, CK_ULONG *out_len)
{
    CK_MECHANISM *m = mechanism(type);

    n_calls += 2;
    if ((encrypts ? F->C_EncryptInit : F->C_DecryptInit)(session, m, o->handle) != CKR_OK)
        return false;
    return (encrypts ? F->C_Encrypt : F->C_Decrypt)(session, (CK_BYTE *)in, len, out, out_len) == CKR_OK;
}

/* --- setting the stage ---------------------------------------------------------------------------------------------
 */

static void need(CK_RV rv, const char *what)
{
    if (rv == CKR_OK)
        return;
    fprintf(stderr, "explore: %s: 0x%lx\n", what, rv);
    exit(2);
}

void log_in(const char *path, const char *label, char *pin)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
    CK_SLOT_ID slots[64];
    CK_ULONG n = 64;
    CK_TOKEN_INFO info;

    if (library != NULL)
        *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (get == NULL) {
        fprintf(stderr, "explore: %s\n", dlerror());
        exit(2);
    }
    need(get(&F), "C_GetFunctionList");
    need(F->C_Initialize(NULL), "C_Initialize");
    need(F->C_GetSlotList(CK_TRUE, slots, &n), "C_GetSlotList");
    for (CK_ULONG i = 0; i < n; i++) {
        if (F->C_GetTokenInfo(slots[i], &info) != CKR_OK || strncmp((char *)info.label, label, strlen(label)) != 0 ||
            info.label[strlen(label)] != ' ')
            continue;
        need(F->C_OpenSession(slots[i], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), "C_OpenSession");
        need(F->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)), "C_Login");
        return;
    }
    fprintf(stderr, "explore: no token %s\n", label);
    exit(2);
}

/* The key that must not become known: AES-128, sensitive, extractable. */
void make_secret(void)
{
    static const unsigned roles[] = {E | D | V, E | D};
    CK_MECHANISM m = {CKM_AES_KEY_GEN, NULL, 0};
    CK_BYTE zeros[16] = {0}, out[16];
    CK_RV rv = CKR_OK;

    for (size_t i = 0; i < COUNT(roles); i++) {
        CK_ATTRIBUTE t[16];
        CK_ULONG len, n = write_template(&(struct wish){CKK_AES, roles[i], SENSITIVE, 16, false}, t, &len), n_out = 16;
        CK_OBJECT_HANDLE key;
        struct object *o;
        for (CK_ULONG k = 0; k < n; k++)
            if (t[k].type == CKA_TOKEN)
                t[k].pValue = &yes;
        rv = F->C_GenerateKey(session, &m, t, n, &key);
        if (rv != CKR_OK)
            continue;
        o = object_add(key, value_get("the secret key"), 'G', step_add(-1, -1, "there is the secret key"));
        steps[0].depth = 0;
        values[o->value].is_secret = true;
        if (!crypt_with(o, CKM_AES_ECB, true, zeros, 16, out, &n_out))
            need(CKR_FUNCTION_FAILED, "encrypting with the secret key");
        secret_set(out);
        return;
    }
    need(rv, "making the secret key");
}
