/* SPDX-License-Identifier: Apache-2.0
 *
 * What interface 3.2 has beyond 2.40's list, against a server: messages with IVs of their own, data in signatures, keys
 * in digests.
 */
#include "loop.h"

#include <dlfcn.h>
#include <stdlib.h>

static CK_FUNCTION_LIST_3_2 *N;

static int setup(void **state)
{
    CK_RV (*get)(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS);
    CK_INTERFACE *interface = NULL;
    int failed = loop_setup(state);

    *(void **)&get = dlsym(dlopen(getenv("KEYMOOT_MODULE"), RTLD_NOW | RTLD_NOLOAD), "C_GetInterface");
    assert_non_null(get);
    assert_int_equal(get((CK_UTF8CHAR *)"PKCS 11", &(CK_VERSION){3, 2}, &interface, 0), CKR_OK);
    N = interface->pFunctionList;
    return failed;
}

#define NRV(call, rv) assert_int_equal(N->call, rv)
#define NOK(call) NRV(call, CKR_OK)

/* --- AES-GCM --- */

static uint8_t iv[12], tag[16];
static CK_GCM_MESSAGE_PARAMS gcm = {iv, sizeof(iv), 0, CKG_NO_GENERATE, tag, 128};
#define GCM &gcm, sizeof(gcm)

static void fresh_params(CK_GENERATOR_FUNCTION generator, CK_ULONG fixed_bits)
{
    memset(iv, 0x17, sizeof(iv));
    memset(tag, 0, sizeof(tag));
    gcm.ulIvFixedBits = fixed_bits;
    gcm.ivGenerator = generator;
    gcm.ulTagBits = 128;
}

static void messages_are_what_one_shot_gives(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_HANDLE key = loop_aes(s, "message", false);
    CK_GCM_PARAMS old = {iv, sizeof(iv), sizeof(iv) * 8, (CK_BYTE *)"header", 6, 128};
    CK_MECHANISM once = {CKM_AES_GCM, &old, sizeof(old)}, many = {CKM_AES_GCM, NULL, 0};
    uint8_t out[64], expected[64], back[64];
    CK_ULONG n = sizeof(expected);
    (void)state;

    fresh_params(CKG_NO_GENERATE, 0);
    OK(C_EncryptInit(s, &once, key));
    OK(C_Encrypt(s, BYTES("some plaintext"), expected, &n));
    assert_int_equal(n, 14 + 16);

    NOK(C_MessageEncryptInit(s, &many, key));
    n = 13;
    NRV(C_EncryptMessage(s, GCM, BYTES("header"), BYTES("some plaintext"), out, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(n, 14);
    for (int i = 0; i < 2; i++) { /* many messages in one process; this one is the same twice */
        NOK(C_EncryptMessage(s, GCM, BYTES("header"), BYTES("some plaintext"), out, &n));
        assert_memory_equal(out, expected, 14);
        assert_memory_equal(tag, expected + 14, 16);
    }
    NOK(C_EncryptMessageBegin(s, GCM, BYTES("header")));
    NRV(C_EncryptMessage(s, GCM, NULL, 0, BYTES("x"), out, &n), CKR_OPERATION_ACTIVE);
    n = sizeof(out);
    NOK(C_EncryptMessageNext(s, GCM, BYTES("some "), out, &n, 0));
    assert_int_equal(n, 0);
    NOK(C_EncryptMessageNext(s, GCM, BYTES("plaintext"), NULL, &n, CKF_END_OF_MESSAGE));
    assert_int_equal(n, 14);
    memset(tag, 0, sizeof(tag));
    NOK(C_EncryptMessageNext(s, GCM, BYTES("plaintext"), out, &n, CKF_END_OF_MESSAGE));
    assert_memory_equal(out, expected, 14);
    assert_memory_equal(tag, expected + 14, 16);
    NOK(C_MessageEncryptFinal(s));
    NRV(C_MessageEncryptFinal(s), CKR_OPERATION_NOT_INITIALIZED);

    NOK(C_MessageDecryptInit(s, &many, key));
    NOK(C_DecryptMessage(s, GCM, BYTES("header"), out, 14, back, &n));
    assert_memory_equal(back, "some plaintext", 14);
    NRV(C_DecryptMessage(s, GCM, BYTES("another header"), out, 14, back, &n), CKR_AEAD_DECRYPT_FAILED);
    tag[3] ^= 1;
    NRV(C_DecryptMessage(s, GCM, BYTES("header"), out, 14, back, &n), CKR_AEAD_DECRYPT_FAILED);
    tag[3] ^= 1;
    NOK(C_DecryptMessageBegin(s, GCM, BYTES("header")));
    n = sizeof(back);
    NOK(C_DecryptMessageNext(s, GCM, out, 5, back, &n, 0));
    assert_int_equal(n, 0); /* nothing before the tag is checked */
    n = sizeof(back);
    NOK(C_DecryptMessageNext(s, GCM, out + 5, 9, back, &n, CKF_END_OF_MESSAGE));
    assert_int_equal(n, 14);
    assert_memory_equal(back, "some plaintext", 14);
    NOK(C_MessageDecryptFinal(s));
    OK(C_CloseSession(s));
}

/* The same message by C_Encrypt and by C_EncryptMessage, and back. */
static void compare(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE key, CK_MECHANISM *once, void *param, CK_ULONG param_len,
                    CK_ULONG wrong_len)
{
    CK_MECHANISM many = {once->mechanism, NULL, 0};
    uint8_t expected[64], out[64], back[64];
    CK_ULONG n = sizeof(expected);

    OK(C_EncryptInit(s, once, key));
    OK(C_Encrypt(s, BYTES("some plaintext"), expected, &n));
    assert_int_equal(n, 14 + 16);
    NOK(C_MessageEncryptInit(s, &many, key));
    n = sizeof(out);
    NOK(C_EncryptMessage(s, param, param_len, BYTES("header"), BYTES("some plaintext"), out, &n));
    assert_int_equal(n, 14);
    assert_memory_equal(out, expected, 14);
    assert_memory_equal(tag, expected + 14, 16);
    if (wrong_len != 0) {
        n = sizeof(back);
        NRV(C_EncryptMessage(s, param, param_len, BYTES("header"), out, wrong_len, back, &n), CKR_DATA_LEN_RANGE);
        NOK(C_EncryptMessageBegin(s, param, param_len, BYTES("header")));
        NRV(C_EncryptMessageNext(s, param, param_len, out, wrong_len, back, &n, CKF_END_OF_MESSAGE),
            CKR_DATA_LEN_RANGE);
    }
    NOK(C_MessageEncryptFinal(s));
    memcpy(tag, expected + 14, 16);
    NOK(C_MessageDecryptInit(s, &many, key));
    n = sizeof(back);
    NOK(C_DecryptMessage(s, param, param_len, BYTES("header"), out, 14, back, &n));
    assert_memory_equal(back, "some plaintext", 14);
    NRV(C_DecryptMessage(s, param, param_len, BYTES("Header"), out, 14, back, &n), CKR_AEAD_DECRYPT_FAILED);
    NOK(C_MessageDecryptFinal(s));
}

static void ccm_and_chacha20_have_messages_too(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_CCM_PARAMS ccm_once = {14, iv, 12, (CK_BYTE *)"header", 6, 16};
    CK_CCM_MESSAGE_PARAMS ccm = {14, iv, 12, 0, CKG_NO_GENERATE, tag, 16};
    CK_SALSA20_CHACHA20_POLY1305_PARAMS chacha_once = {iv, 96, (CK_BYTE *)"header", 6};
    CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS chacha = {iv, 96, tag};
    CK_MECHANISM gen = {CKM_CHACHA20_KEY_GEN, NULL, 0};
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE t[] = {{CKA_ENCRYPT, &yes, 1}, {CKA_DECRYPT, &yes, 1}};
    CK_OBJECT_HANDLE key;
    (void)state;

    memset(iv, 0x17, sizeof(iv));
    compare(s, loop_aes(s, "message ccm", false), &(CK_MECHANISM){CKM_AES_CCM, &ccm_once, sizeof(ccm_once)}, &ccm,
            sizeof(ccm), 13);
    OK(C_GenerateKey(s, &gen, t, 2, &key));
    compare(s, key, &(CK_MECHANISM){CKM_CHACHA20_POLY1305, &chacha_once, sizeof(chacha_once)}, &chacha, sizeof(chacha),
            0);
    OK(C_CloseSession(s));
}

static void ivs_are_generated_as_asked(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_HANDLE key = loop_aes(s, "message iv", false);
    CK_MECHANISM many = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    static const uint8_t head[4] = {0x17, 0x17, 0x17, 0x17};
    uint8_t out[16], last[12] = {0};
    CK_ULONG n = sizeof(out);
    (void)state;

    fresh_params(CKG_GENERATE, 32);
    NOK(C_MessageEncryptInit(s, &many, key));
    for (int i = 0; i < 3; i++) {
        NOK(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n));
        assert_memory_equal(iv, head, 4);
        assert_memory_not_equal(iv, last, 12);
        memcpy(last, iv, 12);
    }
    fresh_params(CKG_GENERATE_RANDOM, 40);
    NRV(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n), CKR_MECHANISM_PARAM_INVALID); /* too few are left */
    fresh_params(CKG_GENERATE_COUNTER, 95);
    for (uint8_t i = 0; i < 2; i++) {
        NOK(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n));
        assert_int_equal(iv[11], 0x16 | i); /* one bit counts */
    }
    NRV(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n), CKR_KEY_EXHAUSTED);
    fresh_params(99, 0);
    NRV(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n), CKR_MECHANISM_PARAM_INVALID);
    NOK(C_MessageEncryptInit(s, NULL, 0));

    fresh_params(CKG_GENERATE_COUNTER_XOR, 32);
    NOK(C_MessageEncryptInit(s, &many, key));
    for (uint8_t i = 0; i < 5; i++) {
        NOK(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n));
        assert_int_equal(iv[11], 0x17 ^ i);
        assert_int_equal(iv[10], 0x17);
    }
    NOK(C_MessageEncryptFinal(s));
    OK(C_CloseSession(s));
}

static void bad_message_parameters_are_refused(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_HANDLE key = loop_aes(s, "message bad", false);
    CK_MECHANISM many = {CKM_AES_GCM, NULL, 0};
    uint8_t out[16];
    CK_ULONG n = sizeof(out);
    (void)state;

    fresh_params(CKG_NO_GENERATE, 0);
    many.pParameter = &gcm;
    many.ulParameterLen = 5;
    NRV(C_MessageEncryptInit(s, &many, key), CKR_MECHANISM_PARAM_INVALID);
    many.ulParameterLen = 0;
    NOK(C_MessageEncryptInit(s, &many, key));
    NRV(C_EncryptMessage(s, NULL, 0, NULL, 0, BYTES("text"), out, &n), CKR_MECHANISM_PARAM_INVALID);
    NRV(C_EncryptMessage(s, &gcm, 7, NULL, 0, BYTES("text"), out, &n), CKR_MECHANISM_PARAM_INVALID);
    gcm.pIv = NULL;
    NRV(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n), CKR_MECHANISM_PARAM_INVALID);
    gcm.pIv = iv;
    gcm.pTag = NULL;
    NRV(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n), CKR_MECHANISM_PARAM_INVALID);
    gcm.pTag = tag;
    gcm.ulTagBits = 129;
    NRV(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, &n), CKR_MECHANISM_PARAM_INVALID);
    gcm.ulTagBits = 128;
    NRV(C_EncryptMessage(s, GCM, NULL, 3, BYTES("text"), out, &n), CKR_ARGUMENTS_BAD);
    NRV(C_EncryptMessage(s, GCM, NULL, 0, NULL, 4, out, &n), CKR_ARGUMENTS_BAD);
    NRV(C_EncryptMessage(s, GCM, NULL, 0, BYTES("text"), out, NULL), CKR_ARGUMENTS_BAD);
    NOK(C_EncryptMessage(s, GCM, NULL, 0, NULL, 0, out, &n)); /* nothing is something */
    assert_int_equal(n, 0);
    NOK(C_MessageEncryptFinal(s));
    OK(C_CloseSession(s));
}

/* --- data in signatures --- */

static void rsa_signatures_bring_their_data(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_MECHANISM gen = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0}, rsa = {CKM_RSA_PKCS, NULL, 0};
    CK_ULONG bits = 2048;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE pub[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)},
                          {CKA_PUBLIC_EXPONENT, (CK_BYTE[]){1, 0, 1}, 3},
                          {CKA_VERIFY_RECOVER, &yes, 1}};
    CK_ATTRIBUTE priv[] = {{CKA_SIGN_RECOVER, &yes, 1}, {CKA_SIGN, &no, 1}};
    CK_OBJECT_HANDLE public, private;
    uint8_t signature[256], data[256];
    CK_ULONG n = 0;
    (void)state;

    OK(C_GenerateKeyPair(s, &gen, pub, 3, priv, 2, &public, &private));
    RV(C_SignInit(s, &rsa, private), CKR_KEY_FUNCTION_NOT_PERMITTED); /* another permission */
    OK(C_SignRecoverInit(s, &rsa, private));
    OK(C_SignRecover(s, BYTES("the data itself"), NULL, &n));
    assert_int_equal(n, 256);
    OK(C_SignRecover(s, BYTES("the data itself"), signature, &n));
    RV(C_SignRecover(s, BYTES("x"), signature, &n), CKR_OPERATION_NOT_INITIALIZED);

    OK(C_VerifyRecoverInit(s, &rsa, public));
    OK(C_VerifyRecover(s, signature, 256, NULL, &n));
    assert_int_equal(n, 15);
    n = 14;
    RV(C_VerifyRecover(s, signature, 256, data, &n), CKR_BUFFER_TOO_SMALL);
    OK(C_VerifyRecover(s, signature, 256, data, &n));
    assert_memory_equal(data, "the data itself", 15);
    OK(C_VerifyRecoverInit(s, &rsa, public));
    RV(C_VerifyRecover(s, signature, 255, data, &n), CKR_SIGNATURE_LEN_RANGE);
    signature[100] ^= 1;
    OK(C_VerifyRecoverInit(s, &rsa, public));
    n = 0;
    RV(C_VerifyRecover(s, signature, 256, data, &n), CKR_SIGNATURE_INVALID); /* not: too small */
    OK(C_CloseSession(s));
}

/* --- keys in digests --- */

static void a_readable_key_is_digested(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof(class)},
                        {CKA_KEY_TYPE, &type, sizeof(type)},
                        {CKA_VALUE, (void *)"sixteen byte key", 16},
                        {CKA_SENSITIVE, &no, 1},
                        {CKA_EXTRACTABLE, &yes, 1}};
    CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
    CK_OBJECT_HANDLE key, hidden = loop_aes(s, "hidden", false);
    uint8_t one[32], two[32];
    CK_ULONG n = 32;
    (void)state;

    OK(C_CreateObject(s, t, 5, &key));
    OK(C_DigestInit(s, &sha256));
    OK(C_DigestUpdate(s, BYTES("before ")));
    OK(C_DigestKey(s, key));
    RV(C_GetOperationState(s, NULL, &n), CKR_STATE_UNSAVEABLE); /* it would hold the key */
    OK(C_DigestFinal(s, one, &n));
    OK(C_DigestInit(s, &sha256));
    OK(C_Digest(s, BYTES("before sixteen byte key"), two, &n));
    assert_memory_equal(one, two, 32);
    OK(C_DigestInit(s, &sha256));
    RV(C_DigestKey(s, hidden), CKR_KEY_INDIGESTIBLE);
    OK(C_CloseSession(s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_what_one_shot_gives),   cmocka_unit_test(ivs_are_generated_as_asked),
        cmocka_unit_test(bad_message_parameters_are_refused), cmocka_unit_test(rsa_signatures_bring_their_data),
        cmocka_unit_test(a_readable_key_is_digested),         cmocka_unit_test(ccm_and_chacha20_have_messages_too),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
