/* SPDX-License-Identifier: Apache-2.0
 *
 * What the loop tests share.
 */
#include "loop.h"

#include <dlfcn.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
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

/* --- signatures, with the program's own OpenSSL as the judge --- */

EVP_PKEY *loop_exported(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE public)
{
    CK_BYTE info[4096];
    CK_ATTRIBUTE get = {CKA_PUBLIC_KEY_INFO, info, sizeof(info)};
    EVP_PKEY *key;

    OK(C_GetAttributeValue(s, public, &get, 1));
    key = d2i_PUBKEY(NULL, &(const unsigned char *){info}, (long)get.ulValueLen);
    assert_non_null(key);
    return key;
}

bool loop_is_good(EVP_PKEY *key, const char *md, int salt_len, const CK_BYTE *data, size_t len,
                  const CK_BYTE *signature, size_t signature_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    unsigned char *der = NULL;
    int good;

    if (EVP_PKEY_is_a(key, "EC")) {
        ECDSA_SIG *sig = ECDSA_SIG_new();
        ECDSA_SIG_set0(sig, BN_bin2bn(signature, (int)signature_len / 2, NULL),
                       BN_bin2bn(signature + signature_len / 2, (int)signature_len / 2, NULL));
        signature_len = (size_t)i2d_ECDSA_SIG(sig, &der);
        ECDSA_SIG_free(sig);
    }
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, &pctx, md, NULL, NULL, key, NULL), 1);
    if (salt_len >= 0) {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salt_len);
    }
    good = EVP_DigestVerify(ctx, der != NULL ? der : signature, signature_len, data, len);
    OPENSSL_free(der);
    EVP_MD_CTX_free(ctx);
    return good == 1;
}

void loop_sign_both_ways(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE public, CK_OBJECT_HANDLE private,
                         const char *md, int salt_len, size_t expected_len)
{
    CK_BYTE data[300], *signature = malloc(expected_len + 1), *in_parts = malloc(expected_len + 1);
    CK_ULONG n = 0, m_len = expected_len;
    EVP_PKEY *key = loop_exported(s, public);

    assert_true(signature != NULL && in_parts != NULL);
    memset(data, 0x42, sizeof(data));
    OK(C_SignInit(s, m, private));
    OK(C_Sign(s, data, sizeof(data), NULL, &n));
    assert_int_equal(n, expected_len);
    n--;
    RV(C_Sign(s, data, sizeof(data), signature, &n), CKR_BUFFER_TOO_SMALL);
    OK(C_Sign(s, data, sizeof(data), signature, &n));
    assert_int_equal(n, expected_len);
    assert_true(loop_is_good(key, md, salt_len, data, sizeof(data), signature, n));

    OK(C_SignInit(s, m, private));
    OK(C_SignUpdate(s, data, 100));
    OK(C_SignUpdate(s, NULL, 0));
    OK(C_SignUpdate(s, data + 100, 200));
    OK(C_SignFinal(s, in_parts, &m_len));
    OK(C_VerifyInit(s, m, public));
    OK(C_Verify(s, data, sizeof(data), in_parts, m_len));
    OK(C_VerifyInit(s, m, public));
    OK(C_VerifyUpdate(s, data, 1));
    OK(C_VerifyUpdate(s, data + 1, 299));
    OK(C_VerifyFinal(s, signature, n));
    data[5] ^= 1;
    OK(C_VerifyInit(s, m, public));
    RV(C_Verify(s, data, sizeof(data), signature, n), CKR_SIGNATURE_INVALID);

    n = expected_len; /* the empty message */
    OK(C_SignInit(s, m, private));
    OK(C_Sign(s, NULL, 0, signature, &n));
    assert_true(loop_is_good(key, md, salt_len, (const CK_BYTE *)"", 0, signature, n));
    free(signature);
    free(in_parts);
    EVP_PKEY_free(key);
}
