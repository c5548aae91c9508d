/* SPDX-License-Identifier: Apache-2.0
 *
 * The back end as a hostile client meets it: parameters that no module sends are refused by name, whatever the scheme;
 * and known answers, so that a module's mistake cannot hide one of the back end's.
 */
#include "builtin_kit.h"

#include <stdio.h>

static size_t from_hex(const char *hex, uint8_t *ret)
{
    size_t len = strlen(hex) / 2;

    for (size_t i = 0; i < len; i++)
        assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &ret[i]), 1);
    return len;
}

static void make_secret(CK_KEY_TYPE type, const uint8_t *value, size_t len, Kml__Object *ret)
{
    assert_int_equal(import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, type),
                                 A_BYTES(CKA_VALUE, value, len), A_BOOL(CKA_TOKEN, 1)),
                            ret),
                     CKR_OK);
}

static void known_answers_there_and_back(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        CK_KEY_TYPE key_type;
        const char *key, *iv, *aad, *text, *result;
        unsigned tag_bits, counter_bits;
    } rows[] = {
        /* RFC 3610, vector 1 */
        {CKM_AES_CCM, CKK_AES, "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf", "00000003020100a0a1a2a3a4a5", "0001020304050607",
         "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
         "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0", 64, 0},
        /* RFC 3394 4.1, RFC 5649 6 */
        {CKM_AES_KEY_WRAP, CKK_AES, "000102030405060708090a0b0c0d0e0f", "", "", "00112233445566778899aabbccddeeff",
         "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5", 0, 0},
        {CKM_AES_KEY_WRAP_KWP, CKK_AES, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "", "",
         "c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
         0, 0},
        /* IEEE 1619 B, vector 2 */
        {CKM_AES_XTS, CKK_AES_XTS, "1111111111111111111111111111111122222222222222222222222222222222",
         "33333333330000000000000000000000", "", "4444444444444444444444444444444444444444444444444444444444444444",
         "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0", 0, 0},
        /* RFC 8439 A.1, vector 1: counter and nonce 0 */
        {CKM_CHACHA20, CKK_CHACHA20, "0000000000000000000000000000000000000000000000000000000000000000",
         "00000000000000000000000000000000", "", "00000000000000000000000000000000", "76b8e0ada0f13d90405d6ae55386bd28",
         0, 32},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t key[64], iv[64], aad[64], text[64], result[64];
        Kml__Object object = KML__OBJECT__INIT;
        struct call c = {.type = rows[i].type, .op = ENCRYPT};
        size_t text_len = from_hex(rows[i].text, text), result_len = from_hex(rows[i].result, result);
        make_secret(rows[i].key_type, key, from_hex(rows[i].key, key), &object);
        c.mechanism.iv = BYTES(iv, from_hex(rows[i].iv, iv));
        c.mechanism.aad = BYTES(aad, from_hex(rows[i].aad, aad));
        c.mechanism.tag_bits = rows[i].tag_bits;
        c.mechanism.counter_bits = rows[i].counter_bits;
        c.mechanism.data_len = text_len;
        c.data = BYTES(text, text_len);
        assert_int_equal(use_key(&object, &c), CKR_OK);
        assert_int_equal(c.out_len, result_len);
        assert_memory_equal(c.out, result, result_len);
        free(c.out);
        c.op = DECRYPT;
        c.data = BYTES(result, result_len);
        assert_int_equal(use_key(&object, &c), CKR_OK);
        assert_int_equal(c.out_len, text_len);
        assert_memory_equal(c.out, text, text_len);
        free(c.out);
        object_free(&object);
    }
}

static void parameters_from_a_hostile_client_are_refused(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        CK_KEY_TYPE key_type;
        Kmw__Use__Operation op;
        size_t iv_len, data_len;
        unsigned tag_bits, counter_bits, mac_len, announced;
        CK_RV rv;
    } rows[] = {
        {CKM_AES_CBC, CKK_AES, ENCRYPT, 15, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CBC_PAD, CKK_AES, DECRYPT, 0, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CTS, CKK_AES, ENCRYPT, 17, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CTS, CKK_AES, DECRYPT, 16, 15, 0, 0, 0, 0, CKR_ENCRYPTED_DATA_LEN_RANGE},
        {CKM_AES_OFB, CKK_AES, ENCRYPT, 8, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CFB8, CKK_AES, ENCRYPT, 0, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_XTS, CKK_AES_XTS, ENCRYPT, 8, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_XTS, CKK_AES_XTS, ENCRYPT, 16, 15, 0, 0, 0, 0, CKR_DATA_LEN_RANGE},
        {CKM_AES_ECB, CKK_AES, ENCRYPT, 0, 15, 0, 0, 0, 0, CKR_DATA_LEN_RANGE},
        {CKM_AES_CTR, CKK_AES, ENCRYPT, 16, 16, 0, 129, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CTR, CKK_AES, ENCRYPT, 12, 16, 0, 128, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_CHACHA20, CKK_CHACHA20, ENCRYPT, 16, 16, 0, 40, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_CHACHA20, CKK_CHACHA20, ENCRYPT, 12, 16, 0, 32, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_CHACHA20_POLY1305, CKK_CHACHA20, ENCRYPT, 13, 16, 128, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_CHACHA20_POLY1305, CKK_CHACHA20, DECRYPT, 12, 15, 128, 0, 0, 0, CKR_ENCRYPTED_DATA_LEN_RANGE},
        {CKM_AES_GCM, CKK_AES, ENCRYPT, 0, 16, 128, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_GCM, CKK_AES, ENCRYPT, 129, 16, 128, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_GCM, CKK_AES, DECRYPT, 12, 16, 88, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_GCM, CKK_AES, DECRYPT, 12, 16, 136, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_GCM, CKK_AES, DECRYPT, 12, 16, UINT32_MAX, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_GCM, CKK_AES, DECRYPT, 12, 11, 96, 0, 0, 0, CKR_ENCRYPTED_DATA_LEN_RANGE},
        {CKM_AES_CCM, CKK_AES, ENCRYPT, 6, 16, 128, 0, 0, 16, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CCM, CKK_AES, ENCRYPT, 14, 16, 128, 0, 0, 16, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CCM, CKK_AES, ENCRYPT, 12, 16, 24, 0, 0, 16, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CCM, CKK_AES, ENCRYPT, 12, 16, 144, 0, 0, 16, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CCM, CKK_AES, ENCRYPT, 12, 16, 128, 0, 0, 15, CKR_DATA_LEN_RANGE},
        {CKM_AES_CCM, CKK_AES, DECRYPT, 12, 16, 128, 0, 0, 16, CKR_ENCRYPTED_DATA_LEN_RANGE},
        {CKM_AES_KEY_WRAP, CKK_AES, ENCRYPT, 4, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_KEY_WRAP_KWP, CKK_AES, ENCRYPT, 8, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_KEY_WRAP_KWP, CKK_AES, DECRYPT, 0, 8, 0, 0, 0, 0, CKR_ENCRYPTED_DATA_LEN_RANGE},
        {CKM_AES_KEY_WRAP_PKCS7, CKK_AES, ENCRYPT, 0, 7, 0, 0, 0, 0, CKR_DATA_LEN_RANGE},
        {CKM_AES_GMAC, CKK_AES, SIGN, 0, 16, 128, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_GMAC, CKK_AES, SIGN, 12, 16, 32, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CMAC_GENERAL, CKK_AES, SIGN, 0, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_AES_CMAC_GENERAL, CKK_AES, SIGN, 0, 16, 0, 0, 17, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_SHA256_HMAC_GENERAL, CKK_GENERIC_SECRET, SIGN, 0, 16, 0, 0, 33, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_SHA256_HMAC_GENERAL, CKK_SHA256_HMAC, VERIFY, 0, 16, 0, 0, 0, 0, CKR_MECHANISM_PARAM_INVALID},
        {CKM_SHA256_HMAC, CKK_SHA384_HMAC, SIGN, 0, 16, 0, 0, 0, 0, CKR_KEY_TYPE_INCONSISTENT},
        {CKM_AES_CBC, CKK_AES_XTS, ENCRYPT, 16, 16, 0, 0, 0, 0, CKR_KEY_TYPE_INCONSISTENT},
        {CKM_AES_CMAC, CKK_AES, ENCRYPT, 0, 16, 0, 0, 0, 0, CKR_MECHANISM_INVALID},
        {CKM_AES_ECB, CKK_AES, SIGN, 0, 16, 0, 0, 0, 0, CKR_MECHANISM_INVALID},
        {CKM_AES_KEY_GEN, CKK_AES, ENCRYPT, 0, 16, 0, 0, 0, 0, CKR_MECHANISM_INVALID},
    };
    uint8_t key[32], bytes[160] = {0};
    (void)state;

    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Kml__Object object = KML__OBJECT__INIT;
        struct call c = {.type = rows[i].type, .op = rows[i].op, .data = BYTES(bytes, rows[i].data_len)};
        make_secret(rows[i].key_type, key, 32, &object);
        c.mechanism.iv = BYTES(bytes, rows[i].iv_len);
        c.mechanism.tag_bits = rows[i].tag_bits;
        c.mechanism.counter_bits = rows[i].counter_bits;
        c.mechanism.mac_len = rows[i].mac_len;
        c.mechanism.data_len = rows[i].announced;
        if (use_key(&object, &c) != rows[i].rv)
            fail_msg("row %zu (%s): not 0x%lx", i, km_mech(rows[i].type)->name, rows[i].rv);
        assert_null(c.out);
        object_free(&object);
    }
}

static void a_mac_is_cut_and_compared_in_its_length(void **state)
{
    uint8_t key[16] = {1}, changed[16];
    Kml__Object object = KML__OBJECT__INIT;
    struct call full = {.type = CKM_AES_CMAC, .op = SIGN, .data = TEXT("bytes")}, cut = full;
    (void)state;

    make_secret(CKK_AES, key, 16, &object);
    assert_int_equal(use_key(&object, &full), CKR_OK);
    assert_int_equal(full.out_len, 16);
    cut.type = CKM_AES_CMAC_GENERAL;
    cut.mechanism.mac_len = 5;
    assert_int_equal(use_key(&object, &cut), CKR_OK);
    assert_int_equal(cut.out_len, 5);
    assert_memory_equal(cut.out, full.out, 5);
    free(cut.out);
    cut.op = VERIFY;
    memcpy(changed, full.out, 16);
    cut.signature = BYTES(changed, 5);
    assert_int_equal(use_key(&object, &cut), CKR_OK);
    cut.signature.len = 6; /* more of it than the parameter says */
    assert_int_equal(use_key(&object, &cut), CKR_SIGNATURE_LEN_RANGE);
    cut.signature.len = 5;
    changed[4] ^= 1;
    assert_int_equal(use_key(&object, &cut), CKR_SIGNATURE_INVALID);
    full.op = VERIFY;
    full.signature = BYTES(full.out, 16);
    full.data_is_digest = true;
    assert_int_equal(use_key(&object, &full), CKR_ARGUMENTS_BAD);
    free((void *)full.signature.data);
    object_free(&object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_there_and_back),
        cmocka_unit_test(parameters_from_a_hostile_client_are_refused),
        cmocka_unit_test(a_mac_is_cut_and_compared_in_its_length),
    };

    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
