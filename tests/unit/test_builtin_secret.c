/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in back end: secret keys: known answers, modes, check values.
 */
#include "builtin_kit.h"

static void import_secret(CK_KEY_TYPE type, const void *value, size_t len, Kml__Object *ret)
{
    assert_int_equal(
        import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, type), A_BYTES(CKA_VALUE, value, len),
                    A_BOOL(CKA_TOKEN, 1), A_BOOL(CKA_SENSITIVE, 0), A_BOOL(CKA_EXTRACTABLE, 1)),
               ret),
        CKR_OK);
}

/* SP 800-38A F.2.1, F.5.1 */
static const uint8_t sp_key[] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
static const uint8_t sp_text[] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e,
                                  0x11, 0x73, 0x93, 0x17, 0x2a, 0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03,
                                  0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51};
static const uint8_t sp_iv[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const uint8_t sp_cbc[] = {0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2, 0x46, 0xce, 0xe9, 0x8e,
                                 0x9b, 0x12, 0xe9, 0x19, 0x7d, 0x50, 0x86, 0xcb, 0x9b, 0x50, 0x72,
                                 0x19, 0xee, 0x95, 0xdb, 0x11, 0x3a, 0x91, 0x76, 0x78, 0xb2};
static const uint8_t sp_counter[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7,
                                     0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff};
static const uint8_t sp_ctr[] = {0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3, 0x26, 0x1b, 0xef, 0x68,
                                 0x64, 0x99, 0x0d, 0xb6, 0xce, 0x98, 0x06, 0xf6, 0x6b, 0x79, 0x70,
                                 0xfd, 0xff, 0x86, 0x17, 0x18, 0x7b, 0xb9, 0xff, 0xfd, 0xff};

static void aes_gives_the_known_answers(void **state)
{
    Kml__Object key = KML__OBJECT__INIT;
    struct call c;
    (void)state;

    import_secret(CKK_AES, sp_key, sizeof(sp_key), &key);
    c = (struct call){.type = CKM_AES_CBC, .op = ENCRYPT, .data = BYTES(sp_text, 32), .mechanism.iv = BYTES(sp_iv, 16)};
    assert_int_equal(use_key(&key, &c), CKR_OK);
    assert_int_equal(c.out_len, 32);
    assert_memory_equal(c.out, sp_cbc, 32);
    free(c.out);
    c.op = DECRYPT;
    c.data = BYTES(sp_cbc, 32);
    assert_int_equal(use_key(&key, &c), CKR_OK);
    assert_int_equal(c.out_len, 32);
    assert_memory_equal(c.out, sp_text, 32);
    free(c.out);
    c.data.len = 31;
    assert_int_equal(use_key(&key, &c), CKR_ENCRYPTED_DATA_LEN_RANGE);
    c = (struct call){
        .type = CKM_AES_CTR, .op = ENCRYPT, .data = BYTES(sp_text, 31), .mechanism.iv = BYTES(sp_counter, 16)};
    c.mechanism.counter_bits = 128;
    assert_int_equal(use_key(&key, &c), CKR_OK);
    assert_int_equal(c.out_len, 31);
    assert_memory_equal(c.out, sp_ctr, 31);
    free(c.out);
    c.mechanism.counter_bits = 0;
    assert_int_equal(use_key(&key, &c), CKR_MECHANISM_PARAM_INVALID);
    object_free(&key);
}

/* The second block's counter is not the first's plus one in all 128 bits, but in the low ones. */
static void a_counter_wraps_in_its_own_bits(void **state)
{
    static const unsigned widths[] = {8, 16, 32, 64, 127, 128};
    Kml__Object key = KML__OBJECT__INIT;
    uint8_t zeros[48] = {0};
    (void)state;

    import_secret(CKK_AES, sp_key, sizeof(sp_key), &key);
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        uint8_t counter[16], wrapped[16];
        struct call c = {.type = CKM_AES_CTR, .op = ENCRYPT, .data = BYTES(zeros, 48)}, b;
        memset(counter, 0xff, 16);
        memset(wrapped, 0xff, 16);
        for (unsigned bit = 0; bit < widths[i]; bit++)
            wrapped[15 - bit / 8] &= (uint8_t) ~(1u << bit % 8);
        c.mechanism.iv = BYTES(counter, 16);
        c.mechanism.counter_bits = widths[i];
        assert_int_equal(use_key(&key, &c), CKR_OK);
        b = (struct call){
            .type = CKM_AES_CBC, .op = ENCRYPT, .data = BYTES(wrapped, 16), .mechanism.iv = BYTES(zeros, 16)};
        assert_int_equal(use_key(&key, &b), CKR_OK);
        assert_memory_equal(c.out + 16, b.out, 16);
        free(b.out);
        wrapped[15] |= 1;
        assert_int_equal(use_key(&key, &b), CKR_OK);
        assert_memory_equal(c.out + 32, b.out, 16);
        free(b.out);
        free(c.out);
    }
    object_free(&key);
}

static void cbc_pad_takes_and_gives_any_length(void **state)
{
    Kml__Object key = KML__OBJECT__INIT;
    uint8_t text[40];
    (void)state;

    memset(text, 3, sizeof(text));
    import_secret(CKK_AES, "0123456789abcdef01234567", 24, &key);
    for (size_t len = 0; len <= sizeof(text); len++) {
        struct call e = {.type = CKM_AES_CBC_PAD,
                         .op = ENCRYPT,
                         .data = BYTES(text, len),
                         .mechanism.iv = BYTES(sp_iv, 16)},
                    d;
        assert_int_equal(use_key(&key, &e), CKR_OK);
        assert_int_equal(e.out_len, len / 16 * 16 + 16);
        d = e;
        d.op = DECRYPT;
        d.data = BYTES(e.out, e.out_len);
        assert_int_equal(use_key(&key, &d), CKR_OK);
        assert_int_equal(d.out_len, len);
        assert_memory_equal(d.out, text, len);
        free(d.out);
        free(e.out);
    }
    /* parts that chain by their IV are the whole */
    struct call whole = {.type = CKM_AES_CBC_PAD,
                         .op = ENCRYPT,
                         .data = BYTES(text, 40),
                         .mechanism.iv = BYTES(sp_iv, 16)},
                part, last;
    assert_int_equal(use_key(&key, &whole), CKR_OK);
    part = whole;
    part.data.len = 32;
    part.is_part = true;
    assert_int_equal(use_key(&key, &part), CKR_OK);
    assert_int_equal(part.out_len, 32);
    assert_memory_equal(part.out, whole.out, 32);
    last = whole;
    last.data = BYTES(text + 32, 8);
    last.mechanism.iv = BYTES(part.out + 16, 16);
    assert_int_equal(use_key(&key, &last), CKR_OK);
    assert_memory_equal(last.out, whole.out + 32, 16);
    part.data.len = 31;
    free(part.out);
    assert_int_equal(use_key(&key, &part), CKR_DATA_LEN_RANGE);
    free(whole.out);
    free(last.out);
    whole = (struct call){
        .type = CKM_AES_CBC_PAD, .op = DECRYPT, .data = BYTES(text, 32), .mechanism.iv = BYTES(sp_iv, 16)};
    assert_int_equal(use_key(&key, &whole), CKR_ENCRYPTED_DATA_INVALID);
    object_free(&key);
}

static void gcm_gives_the_known_answer_and_no_text_with_a_wrong_tag(void **state)
{
    /* McGrew and Viega, test case 4 */
    static const uint8_t k[] = {0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c,
                                0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08};
    static const uint8_t iv[] = {0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88};
    static const uint8_t aad[] = {0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed,
                                  0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab, 0xad, 0xda, 0xd2};
    static const uint8_t p[] = {0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5,
                                0xaf, 0xf5, 0x26, 0x9a, 0x86, 0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda,
                                0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95,
                                0x95, 0x68, 0x09, 0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25,
                                0xb1, 0x6a, 0xed, 0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39};
    static const uint8_t tag[] = {0x5b, 0xc9, 0x4f, 0xbc, 0x32, 0x21, 0xa5, 0xdb,
                                  0x94, 0xfa, 0xe9, 0x5a, 0xe7, 0x12, 0x1a, 0x47};
    Kml__Object key = KML__OBJECT__INIT;
    struct call e = {.type = CKM_AES_GCM, .op = ENCRYPT, .data = BYTES(p, sizeof(p))}, d;
    (void)state;

    import_secret(CKK_AES, k, sizeof(k), &key);
    e.mechanism.iv = BYTES(iv, sizeof(iv));
    e.mechanism.aad = BYTES(aad, sizeof(aad));
    e.mechanism.tag_bits = 128;
    assert_int_equal(use_key(&key, &e), CKR_OK);
    assert_int_equal(e.out_len, sizeof(p) + 16);
    assert_memory_equal(e.out + sizeof(p), tag, 16);
    d = e;
    d.op = DECRYPT;
    d.data = BYTES(e.out, e.out_len);
    assert_int_equal(use_key(&key, &d), CKR_OK);
    assert_int_equal(d.out_len, sizeof(p));
    assert_memory_equal(d.out, p, sizeof(p));
    free(d.out);
    for (size_t i = 0; i < e.out_len; i += 7) {
        e.out[i] ^= 1;
        assert_int_equal(use_key(&key, &d), CKR_ENCRYPTED_DATA_INVALID);
        assert_null(d.out);
        e.out[i] ^= 1;
    }
    d.data.len = 15;
    assert_int_equal(use_key(&key, &d), CKR_ENCRYPTED_DATA_LEN_RANGE);
    d.mechanism.tag_bits = 64;
    assert_int_equal(use_key(&key, &d), CKR_MECHANISM_PARAM_INVALID);
    free(e.out);
    e.data = BYTES(NULL, 0);
    assert_int_equal(use_key(&key, &e), CKR_OK);
    assert_int_equal(e.out_len, 16);
    free(e.out);
    object_free(&key);
}

static void hmac_gives_the_known_answer(void **state)
{
    /* RFC 4231, test case 2 */
    static const uint8_t expected[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                       0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                       0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const CK_MECHANISM_TYPE all[] = {CKM_SHA_1_HMAC, CKM_SHA224_HMAC, CKM_SHA256_HMAC, CKM_SHA384_HMAC,
                                            CKM_SHA512_HMAC};
    static const size_t lens[] = {20, 28, 32, 48, 64};
    Kml__Object key = KML__OBJECT__INIT;
    struct call c;
    (void)state;

    import_secret(CKK_GENERIC_SECRET, "Jefe", 4, &key);
    for (int i = 0; i < 5; i++) {
        c = (struct call){.type = all[i], .op = SIGN, .data = TEXT("what do ya want for nothing?")};
        assert_int_equal(use_key(&key, &c), CKR_OK);
        assert_int_equal(c.out_len, lens[i]);
        if (all[i] == CKM_SHA256_HMAC)
            assert_memory_equal(c.out, expected, 32);
        c.signature = BYTES(c.out, c.out_len);
        c.op = VERIFY;
        assert_int_equal(use_key(&key, &c), CKR_OK);
        c.signature.data[3] ^= 1;
        assert_int_equal(use_key(&key, &c), CKR_SIGNATURE_INVALID);
        c.signature.len = 16;
        assert_int_equal(use_key(&key, &c), CKR_SIGNATURE_LEN_RANGE);
        free(c.signature.data);
    }
    object_free(&key);
}

static void secret_keys_are_generated_with_their_check_value(void **state)
{
    Kml__Head *head = NULL, *made;
    Kml__Object object = KML__OBJECT__INIT;
    struct km_secret secret = KM_SECRET_EMPTY;
    uint8_t zeros[16] = {0};
    struct call c = {.type = CKM_AES_CBC, .op = ENCRYPT, .data = BYTES(zeros, 16), .mechanism.iv = BYTES(zeros, 16)};
    CK_RV rv;
    (void)state;

    assert_int_equal(generate(TMPL(A_ULONG(CKA_VALUE_LEN, 32)), CKM_AES_KEY_GEN, CKO_SECRET_KEY, &head), CKR_OK);
    assert_int_equal(backend->ops->generate(backend, km_mech(CKM_AES_KEY_GEN), NULL, head, NULL, &object, &rv),
                     KM_BE_OK);
    kml__head__free_unpacked(head, NULL);
    assert_int_equal(use_key(&object, &c), CKR_OK);
    made = head_of(&object);
    assert_string_equal(made->backend, "builtin");
    assert_int_equal(km_head_find(made, CKA_CHECK_VALUE)->value.len, 3);
    assert_memory_equal(km_head_find(made, CKA_CHECK_VALUE)->value.data, c.out, 3);
    free(c.out);
    assert_int_equal(backend->ops->reveal(backend, &object, &secret), KM_BE_OK);
    assert_true(secret.len > 32);
    km_secret_free(&secret);
    kml__head__free_unpacked(made, NULL);
    object_free(&object);
    /* what a program says of its key must be so */
    assert_int_equal(import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES),
                                 A_STR(CKA_VALUE, "0123456789abcdef"), A_ULONG(CKA_VALUE_LEN, 32)),
                            &object),
                     CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES),
                                 A_STR(CKA_VALUE, "0123456789abcdef"), A_STR(CKA_CHECK_VALUE, "abc")),
                            &object),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(
        import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES), A_STR(CKA_VALUE, "0123456789")),
               &object),
        CKR_ATTRIBUTE_VALUE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aes_gives_the_known_answers),
        cmocka_unit_test(a_counter_wraps_in_its_own_bits),
        cmocka_unit_test(cbc_pad_takes_and_gives_any_length),
        cmocka_unit_test(gcm_gives_the_known_answer_and_no_text_with_a_wrong_tag),
        cmocka_unit_test(hmac_gives_the_known_answer),
        cmocka_unit_test(secret_keys_are_generated_with_their_check_value),
    };

    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
