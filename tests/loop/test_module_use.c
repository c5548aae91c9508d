/* SPDX-License-Identifier: Apache-2.0
 *
 * Every mechanism, in one call and in parts; signatures are checked by the program's own OpenSSL too.
 */
#include "loop.h"

#include <openssl/evp.h>
#include <stdlib.h>

static CK_SESSION_HANDLE s;

static int setup(void **state)
{
    int rv = loop_setup(state);

    s = loop_login();
    return rv;
}

static void ecdsa_signs(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        const char *md;
    } rows[] = {{CKM_ECDSA_SHA224, "SHA224"},
                {CKM_ECDSA_SHA256, "SHA256"},
                {CKM_ECDSA_SHA384, "SHA384"},
                {CKM_ECDSA_SHA512, "SHA512"}};
    static CK_BYTE p384[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22},
                   p521[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};
    CK_MECHANISM gen = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE params[] = {
        {CKA_EC_PARAMS, p384, sizeof(p384)}, {CKA_EC_PARAMS, p521, sizeof(p521)}, {CKA_EC_PARAMS, p384, 3}};
    CK_OBJECT_HANDLE public, private;
    (void)state;

    loop_ec_pair(s, "loop ec", true, &public, &private);
    for (size_t i = 0; i < 4; i++)
        loop_sign_both_ways(s, &(CK_MECHANISM){rows[i].type, NULL, 0}, public, private, rows[i].md, -1, 64);
    OK(C_DestroyObject(s, public));
    OK(C_DestroyObject(s, private));
    OK(C_GenerateKeyPair(s, &gen, &params[0], 1, NULL, 0, &public, &private));
    loop_sign_both_ways(s, &(CK_MECHANISM){CKM_ECDSA_SHA384, NULL, 0}, public, private, "SHA384", -1, 96);
    OK(C_GenerateKeyPair(s, &gen, &params[1], 1, NULL, 0, &public, &private));
    loop_sign_both_ways(s, &(CK_MECHANISM){CKM_ECDSA_SHA512, NULL, 0}, public, private, "SHA512", -1, 132);
    RV(C_GenerateKeyPair(s, &gen, &params[2], 1, NULL, 0, &public, &private), CKR_DOMAIN_PARAMS_INVALID);
    RV(C_GenerateKeyPair(s, &gen, NULL, 0, NULL, 0, &public, &private), CKR_TEMPLATE_INCOMPLETE);
    RV(C_GenerateKeyPair(s, NULL, NULL, 0, NULL, 0, &public, &private), CKR_ARGUMENTS_BAD);
    RV(C_GenerateKey(s, &gen, NULL, 0, &public), CKR_MECHANISM_INVALID);
}

static void raw_mechanisms_take_what_the_program_made(void **state)
{
    static const CK_BYTE sha256_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                          0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, 32};
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0}, rsa = {CKM_RSA_PKCS, NULL, 0},
                 rsa_pss = {CKM_RSA_PKCS_PSS, &pss, sizeof(pss)}, sha256 = {CKM_SHA256, NULL, 0};
    CK_BYTE hash[32], info[51], signature[512];
    CK_ULONG n = 32;
    CK_OBJECT_HANDLE public, private, rsa_public, rsa_private;
    EVP_PKEY *key;
    (void)state;

    loop_ec_pair(s, "loop raw", false, &public, &private);
    loop_rsa_pair(s, "loop raw", false, &rsa_public, &rsa_private);
    OK(C_DigestInit(s, &sha256));
    OK(C_Digest(s, BYTES("message"), hash, &n));
    key = loop_exported(s, public);
    n = sizeof(signature);
    OK(C_SignInit(s, &ecdsa, private));
    OK(C_Sign(s, hash, 32, signature, &n));
    assert_true(loop_is_good(key, "SHA256", -1, BYTES("message"), signature, n));
    OK(C_VerifyInit(s, &ecdsa, public));
    OK(C_Verify(s, hash, 32, signature, n));
    EVP_PKEY_free(key);

    key = loop_exported(s, rsa_public);
    memcpy(info, sha256_info, 19);
    memcpy(info + 19, hash, 32);
    n = sizeof(signature);
    OK(C_SignInit(s, &rsa, rsa_private));
    OK(C_Sign(s, info, 51, signature, &n));
    assert_true(loop_is_good(key, "SHA256", -1, BYTES("message"), signature, n));
    OK(C_VerifyInit(s, &rsa, rsa_public));
    OK(C_Verify(s, info, 51, signature, n));
    n = sizeof(signature);
    OK(C_SignInit(s, &rsa_pss, rsa_private));
    OK(C_Sign(s, hash, 32, signature, &n));
    assert_true(loop_is_good(key, "SHA256", 32, BYTES("message"), signature, n));
    OK(C_VerifyInit(s, &rsa_pss, rsa_public));
    OK(C_Verify(s, hash, 32, signature, n));
    n = sizeof(signature);
    OK(C_SignInit(s, &rsa_pss, rsa_private));
    RV(C_Sign(s, hash, 31, signature, &n), CKR_DATA_LEN_RANGE);
    n = sizeof(signature);
    OK(C_SignInit(s, &rsa, rsa_private));
    RV(C_Sign(s, signature, 246, signature, &n), CKR_DATA_LEN_RANGE);
    RV(C_SignInit(s, &ecdsa, rsa_private), CKR_KEY_TYPE_INCONSISTENT);
    EVP_PKEY_free(key);
}

static void rsa_signs(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE pkcs1, pss, hash, mgf;
        const char *md;
        unsigned len;
    } rows[] = {{CKM_SHA224_RSA_PKCS, CKM_SHA224_RSA_PKCS_PSS, CKM_SHA224, CKG_MGF1_SHA224, "SHA224", 28},
                {CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, "SHA256", 32},
                {CKM_SHA384_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384, CKG_MGF1_SHA384, "SHA384", 48},
                {CKM_SHA512_RSA_PKCS, CKM_SHA512_RSA_PKCS_PSS, CKM_SHA512, CKG_MGF1_SHA512, "SHA512", 64}};
    CK_OBJECT_HANDLE public, private;
    CK_RSA_PKCS_PSS_PARAMS wrong = {CKM_SHA384, CKG_MGF1_SHA256, 32};
    (void)state;

    loop_rsa_pair(s, "loop rsa", true, &public, &private);
    for (size_t i = 0; i < 4; i++) {
        CK_RSA_PKCS_PSS_PARAMS pss = {rows[i].hash, rows[i].mgf, rows[i].len};
        loop_sign_both_ways(s, &(CK_MECHANISM){rows[i].pkcs1, NULL, 0}, public, private, rows[i].md, -1, 256);
        loop_sign_both_ways(s, &(CK_MECHANISM){rows[i].pss, &pss, sizeof(pss)}, public, private, rows[i].md,
                            (int)rows[i].len, 256);
    }
    RV(C_SignInit(s, &(CK_MECHANISM){CKM_SHA256_RSA_PKCS_PSS, &wrong, sizeof(wrong)}, private),
       CKR_MECHANISM_PARAM_INVALID);
    RV(C_SignInit(s, &(CK_MECHANISM){CKM_SHA256_RSA_PKCS_PSS, NULL, 0}, private), CKR_MECHANISM_PARAM_INVALID);
    OK(C_DestroyObject(s, public));
    OK(C_DestroyObject(s, private));
}

static void rsa_encrypts_and_decrypts(void **state)
{
    static CK_BYTE label[] = "oaep label";
    CK_RSA_PKCS_OAEP_PARAMS params[] = {{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0},
                                        {CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, label, 10},
                                        {CKM_SHA256, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0}};
    CK_MECHANISM ms[] = {{CKM_RSA_PKCS, NULL, 0},
                         {CKM_RSA_PKCS_OAEP, &params[0], sizeof(params[0])},
                         {CKM_RSA_PKCS_OAEP, &params[1], sizeof(params[1])},
                         {CKM_RSA_PKCS_OAEP, &params[2], sizeof(params[2])}};
    CK_OBJECT_HANDLE public, private;
    CK_BYTE text[256], back[256];
    CK_ULONG n, back_len;
    (void)state;

    loop_rsa_pair(s, "loop crypt", false, &public, &private);
    for (size_t i = 0; i < 4; i++) {
        n = sizeof(text);
        OK(C_EncryptInit(s, &ms[i], public));
        OK(C_Encrypt(s, BYTES("a small secret"), text, &n));
        assert_int_equal(n, 256);
        OK(C_DecryptInit(s, &ms[i], private));
        OK(C_Decrypt(s, text, n, NULL, &back_len));
        assert_int_equal(back_len, 256);
        back_len = 3;
        RV(C_Decrypt(s, text, n, back, &back_len), CKR_BUFFER_TOO_SMALL);
        assert_int_equal(back_len, 14);
        OK(C_Decrypt(s, text, n, back, &back_len));
        assert_memory_equal(back, "a small secret", 14);
        OK(C_DecryptInit(s, &ms[i], private));
        RV(C_Decrypt(s, text, n - 1, back, &back_len), CKR_ENCRYPTED_DATA_LEN_RANGE);
        if (ms[i].mechanism == CKM_RSA_PKCS)
            continue; /* a broken PKCS#1 text may come out as random bytes (implicit rejection) */
        text[100] ^= 1;
        back_len = sizeof(back);
        OK(C_DecryptInit(s, &ms[i], private));
        RV(C_Decrypt(s, text, n, back, &back_len), CKR_ENCRYPTED_DATA_INVALID);
    }
    OK(C_EncryptInit(s, &ms[1], public));
    n = sizeof(text);
    RV(C_Encrypt(s, text, 250, text, &n), CKR_DATA_LEN_RANGE);
}

static void aes_encrypts_and_decrypts(void **state)
{
    static CK_BYTE iv[16] = "sixteen bytes iv", aad[] = "header";
    CK_AES_CTR_PARAMS ctr = {128, "counter block..."};
    CK_GCM_PARAMS gcm = {iv, 12, 96, aad, 6, 128};
    CK_MECHANISM ms[] = {{CKM_AES_CBC, iv, 16},
                         {CKM_AES_CBC_PAD, iv, 16},
                         {CKM_AES_CTR, &ctr, sizeof(ctr)},
                         {CKM_AES_GCM, &gcm, sizeof(gcm)}};
    static const CK_ULONG expected[] = {992, 1008, 992, 1008};
    CK_BYTE data[992], text[1100], in_parts[1100], back[1100];
    CK_ULONG n, m, total;
    (void)state;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (CK_BYTE)i;
    for (int on_token = 0; on_token < 2; on_token++) {
        CK_OBJECT_HANDLE key = loop_aes(s, "loop aes", on_token);
        for (size_t i = 0; i < 4; i++) {
            OK(C_EncryptInit(s, &ms[i], key));
            OK(C_Encrypt(s, data, sizeof(data), NULL, &n));
            assert_int_equal(n, expected[i]);
            OK(C_Encrypt(s, data, sizeof(data), text, &n));
            assert_int_equal(n, expected[i]);

            OK(C_EncryptInit(s, &ms[i], key));
            total = 0;
            for (size_t at = 0; at < sizeof(data); at += 31) {
                m = sizeof(in_parts) - total;
                OK(C_EncryptUpdate(s, data + at, 31, in_parts + total, &m));
                total += m;
            }
            m = sizeof(in_parts) - total;
            OK(C_EncryptFinal(s, in_parts + total, &m));
            assert_int_equal(total + m, n);
            assert_memory_equal(in_parts, text, n);

            m = sizeof(back);
            OK(C_DecryptInit(s, &ms[i], key));
            OK(C_Decrypt(s, text, n, back, &m));
            assert_int_equal(m, sizeof(data));
            assert_memory_equal(back, data, m);
            OK(C_DecryptInit(s, &ms[i], key));
            total = 0;
            for (size_t at = 0; at < n; at += 16) {
                m = sizeof(back) - total;
                OK(C_DecryptUpdate(s, text + at, 16, back + total, &m));
                total += m;
            }
            m = sizeof(back) - total;
            OK(C_DecryptFinal(s, back + total, &m));
            assert_int_equal(total + m, sizeof(data));
            assert_memory_equal(back, data, sizeof(data));
        }
        text[3] ^= 1; /* GCM */
        m = sizeof(back);
        OK(C_DecryptInit(s, &ms[3], key));
        RV(C_Decrypt(s, text, n, back, &m), CKR_ENCRYPTED_DATA_INVALID);
        OK(C_EncryptInit(s, &ms[0], key));
        m = sizeof(back);
        RV(C_Encrypt(s, data, 15, back, &m), CKR_DATA_LEN_RANGE);
        OK(C_DestroyObject(s, key));
    }
}

static void a_long_message_goes_through(void **state)
{
    static CK_BYTE iv[16];
    CK_GCM_PARAMS gcm = {iv, 12, 96, NULL, 0, 128};
    CK_MECHANISM ms[] = {{CKM_AES_CBC_PAD, iv, 16}, {CKM_AES_GCM, &gcm, sizeof(gcm)}};
    CK_ULONG len = 5u * 1024 * 1024 + 3, n, m;
    CK_BYTE *data = malloc(len), *text = malloc(len + 64), *back = malloc(len + 64);
    CK_OBJECT_HANDLE key = loop_aes(s, "long", false);
    (void)state;

    memset(data, 0x5a, len);
    for (int i = 0; i < 2; i++) {
        n = m = len + 64;
        OK(C_EncryptInit(s, &ms[i], key));
        OK(C_Encrypt(s, data, len, text, &n));
        OK(C_DecryptInit(s, &ms[i], key));
        OK(C_Decrypt(s, text, n, back, &m));
        assert_int_equal(m, len);
        assert_memory_equal(back, data, len);
    }
    free(data);
    free(text);
    free(back);
}

static void hmac_signs_and_verifies(void **state)
{
    CK_ULONG len = 32, n;
    CK_MECHANISM gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0}, m = {CKM_SHA256_HMAC, NULL, 0};
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len, sizeof(len)},
                               {CKA_SIGN, &yes, 1},
                               {CKA_VERIFY, &yes, 1},
                               {CKA_SENSITIVE, &no, 1},
                               {CKA_EXTRACTABLE, &yes, 1}};
    CK_OBJECT_HANDLE key = 0;
    CK_BYTE value[64], mac[32], expected[EVP_MAX_MD_SIZE];
    CK_ATTRIBUTE get = {CKA_VALUE, value, sizeof(value)};
    size_t expected_len = 0;
    (void)state;

    OK(C_GenerateKey(s, &gen, template, 5, &key));
    OK(C_GetAttributeValue(s, key, &get, 1)); /* neither sensitive nor unextractable */
    assert_int_equal(get.ulValueLen, 32);
    n = sizeof(mac);
    OK(C_SignInit(s, &m, key));
    OK(C_SignUpdate(s, BYTES("some ")));
    OK(C_SignUpdate(s, BYTES("text")));
    OK(C_SignFinal(s, mac, &n));
    assert_int_equal(n, 32);
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, value, 32, (const unsigned char *)"some text", 9,
                              expected, sizeof(expected), &expected_len));
    assert_memory_equal(mac, expected, 32);
    OK(C_VerifyInit(s, &m, key));
    OK(C_Verify(s, BYTES("some text"), mac, n));
    OK(C_VerifyInit(s, &m, key));
    RV(C_Verify(s, BYTES("other text"), mac, n), CKR_SIGNATURE_INVALID);
    OK(C_VerifyInit(s, &m, key));
    RV(C_Verify(s, BYTES("some text"), mac, 31), CKR_SIGNATURE_LEN_RANGE);
}

static void a_key_may_want_its_pin_each_time(void **state)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_BBOOL yes = CK_TRUE;
    CK_MECHANISM gen = {CKM_EC_KEY_PAIR_GEN, NULL, 0}, m = {CKM_ECDSA_SHA256, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_EC_PARAMS, p256, sizeof(p256)}},
                 private[] = {{CKA_ALWAYS_AUTHENTICATE, &yes, 1}, {CKA_PRIVATE, &yes, 1}};
    CK_OBJECT_HANDLE pub, key;
    CK_BYTE signature[64];
    CK_ULONG n = sizeof(signature);
    (void)state;

    OK(C_GenerateKeyPair(s, &gen, public, 1, private, 2, &pub, &key));
    RV(C_Login(s, CKU_CONTEXT_SPECIFIC, loop_pin(), loop_pin_len()), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_SignInit(s, &m, key));
    RV(C_Sign(s, BYTES("x"), signature, &n), CKR_USER_NOT_LOGGED_IN);
    n = sizeof(signature);
    OK(C_SignInit(s, &m, key));
    OK(C_Login(s, CKU_CONTEXT_SPECIFIC, loop_pin(), loop_pin_len()));
    OK(C_Sign(s, BYTES("x"), signature, &n));
    OK(C_SignInit(s, &m, key));
    RV(C_Login(s, CKU_CONTEXT_SPECIFIC, BYTES("wrong PIN")), CKR_PIN_INCORRECT);
    OK(C_Login(s, CKU_CONTEXT_SPECIFIC, loop_pin(), loop_pin_len())); /* the operation still waits for it */
    RV(C_Login(s, CKU_CONTEXT_SPECIFIC, loop_pin(), loop_pin_len()), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_SignUpdate(s, BYTES("x")));
    OK(C_SignFinal(s, signature, &n));
    OK(C_VerifyInit(s, &m, pub));
    OK(C_Verify(s, BYTES("x"), signature, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ecdsa_signs),
        cmocka_unit_test(rsa_signs),
        cmocka_unit_test(raw_mechanisms_take_what_the_program_made),
        cmocka_unit_test(rsa_encrypts_and_decrypts),
        cmocka_unit_test(aes_encrypts_and_decrypts),
        cmocka_unit_test(a_long_message_goes_through),
        cmocka_unit_test(hmac_signs_and_verifies),
        cmocka_unit_test(a_key_may_want_its_pin_each_time),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
