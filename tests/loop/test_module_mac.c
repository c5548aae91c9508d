/* SPDX-License-Identifier: Apache-2.0
 *
 * Every message authentication code and every hash, against known answers and the program's own OpenSSL: whole and cut,
 * in one call and in parts, with generic secrets and with keys of the code's own type.
 */
#include "loop.h"

#include <openssl/evp.h>
#include <stdio.h>

static CK_SESSION_HANDLE s;

static int setup(void **state)
{
    int rv = loop_setup(state);

    s = loop_login();
    return rv;
}

static const struct hash {
    CK_MECHANISM_TYPE digest, hmac, general, gen;
    CK_KEY_TYPE key_type;
    const char *md;
} hashes[] = {
#define HASH(h, md)                                                                                                    \
    {                                                                                                                  \
        CKM_##h, CKM_##h##_HMAC, CKM_##h##_HMAC_GENERAL, CKM_##h##_KEY_GEN, CKK_##h##_HMAC, md                         \
    }
    HASH(SHA_1, "SHA1"),
    HASH(SHA224, "SHA224"),
    HASH(SHA256, "SHA256"),
    HASH(SHA384, "SHA384"),
    HASH(SHA512, "SHA512"),
    HASH(SHA512_224, "SHA512-224"),
    HASH(SHA512_256, "SHA512-256"),
    HASH(SHA3_224, "SHA3-224"),
    HASH(SHA3_256, "SHA3-256"),
    HASH(SHA3_384, "SHA3-384"),
    HASH(SHA3_512, "SHA3-512"),
#undef HASH
};
#define N_HASHES (sizeof(hashes) / sizeof(hashes[0]))

static size_t from_hex(const char *hex, CK_BYTE *ret)
{
    size_t len = strlen(hex) / 2;

    for (size_t i = 0; i < len; i++)
        assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &ret[i]), 1);
    return len;
}

/* A key that signs and verifies. */
static CK_OBJECT_HANDLE import(CK_KEY_TYPE type, CK_BYTE *value, size_t len)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_VALUE, value, len},
                               {CKA_SIGN, &yes, 1},
                               {CKA_VERIFY, &yes, 1}};
    CK_OBJECT_HANDLE key = 0;

    OK(C_CreateObject(s, template, 5, &key));
    return key;
}

/* `mac` is what signing must give and verifying must take, in one call and in parts; nothing else is taken. */
static void check(CK_MECHANISM *m, CK_OBJECT_HANDLE key, CK_BYTE *data, size_t len, const CK_BYTE *mac, size_t mac_len)
{
    CK_BYTE out[80], changed[80];
    CK_ULONG n = 0;
    size_t half = len / 3;

    OK(C_SignInit(s, m, key));
    OK(C_Sign(s, data, len, NULL, &n));
    assert_int_equal(n, mac_len);
    n--;
    RV(C_Sign(s, data, len, out, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(n, mac_len);
    OK(C_Sign(s, data, len, out, &n));
    assert_int_equal(n, mac_len);
    assert_memory_equal(out, mac, mac_len);

    memset(out, 0, sizeof(out));
    n = sizeof(out);
    OK(C_SignInit(s, m, key));
    OK(C_SignUpdate(s, data, half));
    OK(C_SignUpdate(s, NULL, 0));
    OK(C_SignUpdate(s, data + half, len - half));
    OK(C_SignFinal(s, out, &n));
    assert_int_equal(n, mac_len);
    assert_memory_equal(out, mac, mac_len);

    OK(C_VerifyInit(s, m, key));
    OK(C_Verify(s, data, len, out, mac_len));
    OK(C_VerifyInit(s, m, key));
    OK(C_VerifyUpdate(s, data, half));
    OK(C_VerifyUpdate(s, data + half, len - half));
    OK(C_VerifyFinal(s, out, mac_len));
    memcpy(changed, mac, mac_len);
    changed[mac_len - 1] ^= 1;
    OK(C_VerifyInit(s, m, key));
    RV(C_Verify(s, data, len, changed, mac_len), CKR_SIGNATURE_INVALID);
    OK(C_VerifyInit(s, m, key));
    RV(C_Verify(s, data, len, out, mac_len + 1), CKR_SIGNATURE_LEN_RANGE);
    OK(C_VerifyInit(s, m, key));
    RV(C_Verify(s, data, len, out, mac_len - 1), CKR_SIGNATURE_LEN_RANGE);
}

static void hmacs_are_openssls(void **state)
{
    CK_BYTE value[200], data[150], expected[EVP_MAX_MD_SIZE];
    static const size_t key_lens[] = {1, 20,
                                      200}; /* shorter than a block, and longer than every block but SHA3-224's */
    (void)state;

    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (CK_BYTE)(3 * i + 1);
    memset(data, 0xcd, sizeof(data));
    for (size_t i = 0; i < N_HASHES; i++) {
        for (size_t k = 0; k < 3; k++) {
            CK_MECHANISM m = {hashes[i].hmac, NULL, 0};
            CK_OBJECT_HANDLE key = import(k == 1 ? hashes[i].key_type : CKK_GENERIC_SECRET, value, key_lens[k]);
            CK_MAC_GENERAL_PARAMS cut;
            size_t len = 0;
            assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, hashes[i].md, NULL, value, key_lens[k], data, sizeof(data),
                                      expected, sizeof(expected), &len));
            check(&m, key, data, sizeof(data), expected, len);
            for (cut = 1; cut <= len; cut = cut == 1 ? 10 : cut == 10 ? len : len + 1) {
                m = (CK_MECHANISM){hashes[i].general, &cut, sizeof(cut)};
                check(&m, key, data, sizeof(data), expected, cut);
            }
            m = (CK_MECHANISM){hashes[i].general, &cut, sizeof(cut)};
            RV(C_SignInit(s, &m, key), CKR_MECHANISM_PARAM_INVALID); /* one byte too many */
            cut = 0;
            RV(C_SignInit(s, &m, key), CKR_MECHANISM_PARAM_INVALID);
            m.ulParameterLen = 4;
            RV(C_SignInit(s, &m, key), CKR_MECHANISM_PARAM_INVALID);
            OK(C_DestroyObject(s, key));
        }
    }
}

/* The hash's result, known answers of the RFCs. */
static void known_answers(void **state)
{
    static const struct {
        const char *source;
        CK_MECHANISM_TYPE type;
        CK_KEY_TYPE key_type;
        const char *key, *iv, *data, *mac;
    } rows[] = {
        {"RFC 4493, example 1", CKM_AES_CMAC, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c", "", "",
         "bb1d6929e95937287fa37d129b756746"},
        {"RFC 4493, example 2", CKM_AES_CMAC, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c", "",
         "6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"},
        {"RFC 4493, example 3", CKM_AES_CMAC, CKK_AES, "2b7e151628aed2a6abf7158809cf4f3c", "",
         "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
         "dfa66747de9ae63030ca32611497c827"},
        {"SP 800-38B D.2", CKM_AES_CMAC, CKK_AES, "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "",
         "6bc1bee22e409f96e93d7e117393172a", "9e99a7bf31e710900662f65e617c5184"},
        {"SP 800-38B D.3", CKM_AES_CMAC, CKK_AES, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
         "", "6bc1bee22e409f96e93d7e117393172a", "28a7023f452e8f82bd4bf28d8c37c35c"},
        {"GCM specification, case 1", CKM_AES_GMAC, CKK_AES, "00000000000000000000000000000000",
         "000000000000000000000000", "", "58e2fccefa7e3061367f1d57a4e7455a"},
        {"gcmEncryptExtIV128, no text", CKM_AES_GMAC, CKK_AES, "77be63708971c4e240d1cb79e8d77feb",
         "e0e00f19fed7ba0136a797f3", "7a43ec1d9c0a5a78a0b16533a6213cab", "209fcc8d3675ed938e9c7166709dd946"},
        {"RFC 4231 4.2", CKM_SHA256_HMAC, CKK_GENERIC_SECRET, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "",
         "4869205468657265", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"RFC 2202 3, case 1", CKM_SHA_1_HMAC, CKK_SHA_1_HMAC, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "",
         "4869205468657265", "b617318655057264e28bc0b6fb378c8ef146be00"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CK_BYTE value[64], iv[16], data[64], mac[64];
        size_t len = from_hex(rows[i].key, value), data_len = from_hex(rows[i].data, data),
               mac_len = from_hex(rows[i].mac, mac);
        CK_GCM_PARAMS gcm = {iv, from_hex(rows[i].iv, iv), 0, NULL, 0, 128};
        CK_MECHANISM m = {rows[i].type, NULL, 0};
        CK_OBJECT_HANDLE key = import(rows[i].key_type, value, len);
        print_message("  %s\n", rows[i].source);
        if (rows[i].type == CKM_AES_GMAC)
            m = (CK_MECHANISM){rows[i].type, &gcm, sizeof(gcm)};
        check(&m, key, data, data_len, mac, mac_len);
        OK(C_DestroyObject(s, key));
    }
}

static void cmac_and_gmac_are_cut_as_asked(void **state)
{
    CK_BYTE value[16] = {1}, iv[12] = {2}, data[] = "some bytes", full[16], aad[1] = {0};
    CK_MAC_GENERAL_PARAMS cut = 4;
    CK_GCM_PARAMS gcm = {iv, 12, 0, NULL, 0, 96};
    CK_MECHANISM cmac = {CKM_AES_CMAC, NULL, 0}, general = {CKM_AES_CMAC_GENERAL, &cut, sizeof(cut)},
                 gmac = {CKM_AES_GMAC, &gcm, sizeof(gcm)};
    CK_OBJECT_HANDLE key = import(CKK_AES, value, 16);
    CK_ULONG n = sizeof(full);
    (void)state;

    OK(C_SignInit(s, &cmac, key));
    OK(C_Sign(s, data, 10, full, &n));
    check(&general, key, data, 10, full, 4);
    cut = 17;
    RV(C_SignInit(s, &general, key), CKR_MECHANISM_PARAM_INVALID);
    RV(C_VerifyInit(s, &general, key), CKR_MECHANISM_PARAM_INVALID);
    gcm.ulTagBits = 128;
    n = sizeof(full);
    OK(C_SignInit(s, &gmac, key));
    OK(C_Sign(s, data, 10, full, &n));
    gcm.ulTagBits = 96;
    check(&gmac, key, data, 10, full, 12);
    gcm.ulTagBits = 64;
    RV(C_SignInit(s, &gmac, key), CKR_MECHANISM_PARAM_INVALID);
    gcm = (CK_GCM_PARAMS){iv, 12, 0, aad, 1, 128}; /* the message is the associated data */
    RV(C_SignInit(s, &gmac, key), CKR_MECHANISM_PARAM_INVALID);
    OK(C_DestroyObject(s, key));
}

static void hmac_keys_are_generated_for_their_hash(void **state)
{
    CK_ULONG len = 40, got = 0;
    CK_ATTRIBUTE ask = {CKA_VALUE_LEN, &len, sizeof(len)};
    CK_BBOOL signs = CK_FALSE;
    CK_KEY_TYPE type = 0;
    CK_ATTRIBUTE get[] = {
        {CKA_VALUE_LEN, &got, sizeof(got)}, {CKA_SIGN, &signs, 1}, {CKA_KEY_TYPE, &type, sizeof(type)}};
    (void)state;

    for (size_t i = 0; i < N_HASHES; i++) {
        CK_MECHANISM gen = {hashes[i].gen, NULL, 0}, other = {hashes[(i + 1) % N_HASHES].hmac, NULL, 0},
                     own = {hashes[i].hmac, NULL, 0};
        CK_MECHANISM_INFO info;
        CK_OBJECT_HANDLE key = 0;
        CK_BYTE mac[64];
        CK_ULONG n = sizeof(mac);
        OK(C_GetMechanismInfo(loop_slot, hashes[i].gen, &info));
        assert_int_equal(info.flags, CKF_GENERATE);
        OK(C_GenerateKey(s, &gen, &ask, 1, &key));
        OK(C_GetAttributeValue(s, key, get, 3));
        assert_int_equal(got, 40);
        assert_int_equal(signs, CK_TRUE);
        assert_int_equal(type, hashes[i].key_type);
        RV(C_SignInit(s, &other, key), CKR_KEY_TYPE_INCONSISTENT);
        OK(C_SignInit(s, &own, key));
        OK(C_Sign(s, BYTES("x"), mac, &n));
        RV(C_GenerateKey(s, &gen, NULL, 0, &key), CKR_TEMPLATE_INCOMPLETE);
        OK(C_DestroyObject(s, key));
    }
}

static void digests_are_openssls(void **state)
{
    CK_BYTE data[500], out[64], expected[EVP_MAX_MD_SIZE];
    (void)state;

    memset(data, 0x31, sizeof(data));
    for (size_t i = 0; i < N_HASHES; i++) {
        CK_MECHANISM m = {hashes[i].digest, NULL, 0};
        CK_ULONG n = 0;
        size_t len = 0;
        assert_int_equal(EVP_Q_digest(NULL, hashes[i].md, NULL, data, sizeof(data), expected, &len), 1);
        OK(C_DigestInit(s, &m));
        OK(C_Digest(s, data, sizeof(data), NULL, &n));
        assert_int_equal(n, len);
        OK(C_Digest(s, data, sizeof(data), out, &n));
        assert_memory_equal(out, expected, len);
        n = sizeof(out);
        OK(C_DigestInit(s, &m));
        OK(C_DigestUpdate(s, data, 137));
        OK(C_DigestUpdate(s, data + 137, sizeof(data) - 137));
        OK(C_DigestFinal(s, out, &n));
        assert_int_equal(n, len);
        assert_memory_equal(out, expected, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmacs_are_openssls),
        cmocka_unit_test(known_answers),
        cmocka_unit_test(cmac_and_gmac_are_cut_as_asked),
        cmocka_unit_test(hmac_keys_are_generated_for_their_hash),
        cmocka_unit_test(digests_are_openssls),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
