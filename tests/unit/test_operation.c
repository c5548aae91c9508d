/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_client.h"

#include "../../module/cipher.h"

#include <stdlib.h>

static CK_SESSION_HANDLE session;
static uint8_t iv[16] = "initial  vector";

static int setup(void **state)
{
    (void)state;
    fake_start();
    session = fake_open(false);
    fake_login(session);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

static CK_MECHANISM cbc = {CKM_AES_CBC, iv, 16}, pad = {CKM_AES_CBC_PAD, iv, 16};

static void *filled(size_t len)
{
    uint8_t *data = malloc(len + 64);

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    return data;
}

/* Encrypts or decrypts `in` in parts of `part` bytes. */
static size_t in_parts(bool encrypt, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, uint8_t *in, size_t len,
                       size_t part, uint8_t *out)
{
    size_t done = 0, total = 0;
    CK_ULONG n;

    assert_int_equal(encrypt ? C_EncryptInit(session, mechanism, key) : C_DecryptInit(session, mechanism, key), CKR_OK);
    while (done < len) {
        size_t step = len - done < part ? len - done : part;
        n = len + 64 - total;
        assert_int_equal((encrypt ? C_EncryptUpdate : C_DecryptUpdate)(session, in + done, step, out + total, &n),
                         CKR_OK);
        done += step;
        total += n;
    }
    n = len + 64 - total;
    assert_int_equal((encrypt ? C_EncryptFinal : C_DecryptFinal)(session, out + total, &n), CKR_OK);
    return total + n;
}

static void parts_of_any_size_give_what_one_call_gives(void **state)
{
    static const size_t parts[] = {1, 5, 16, 17, 31, 1000};
    CK_OBJECT_HANDLE key = fake_find(session, CKO_SECRET_KEY);
    CK_AES_CTR_PARAMS ctr_params = {.ulCounterBits = 128};
    CK_MECHANISM ctr = {CKM_AES_CTR, &ctr_params, sizeof(ctr_params)};
    uint8_t *in = filled(1040), out[1200], back[1200], expected[1200];
    size_t len;
    (void)state;

    memcpy(ctr_params.cb, iv, 16);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        len = fake_aes("AES-256-CBC", true, true, iv, in, 1037, expected);
        assert_int_equal(in_parts(true, &pad, key, in, 1037, parts[i], out), len);
        assert_memory_equal(out, expected, len);
        assert_int_equal(in_parts(false, &pad, key, out, len, parts[i], back), 1037);
        assert_memory_equal(back, in, 1037);

        len = fake_aes("AES-256-CBC", true, false, iv, in, 1040, expected);
        assert_int_equal(in_parts(true, &cbc, key, in, 1040, parts[i], out), len);
        assert_memory_equal(out, expected, len);
        assert_int_equal(in_parts(false, &cbc, key, out, len, parts[i], back), 1040);
        assert_memory_equal(back, in, 1040);

        len = fake_aes("AES-256-CTR", true, false, iv, in, 1037, expected);
        assert_int_equal(in_parts(true, &ctr, key, in, 1037, parts[i], out), len);
        assert_memory_equal(out, expected, len);
    }
    free(in);
}

static void a_long_message_travels_in_chunks(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_SECRET_KEY);
    size_t len = 3u * 1024 * 1024 + 5, expected_len;
    uint8_t *in = filled(len), *out = malloc(len + 64), *expected = malloc(len + 64);
    CK_ULONG n = len + 64;
    (void)state;

    expected_len = fake_aes("AES-256-CBC", true, true, iv, in, len, expected);
    assert_int_equal(C_EncryptInit(session, &pad, key), CKR_OK);
    assert_int_equal(C_Encrypt(session, in, len, out, &n), CKR_OK);
    assert_int_equal(n, expected_len);
    assert_memory_equal(out, expected, n);
    assert_true(fake.use_len_max <= 1024u * 1024);
    free(in);
    free(out);
    free(expected);
}

static void lengths_that_padding_hides_are_kept_until_they_fit(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_SECRET_KEY);
    uint8_t text[48], back[48];
    size_t len = fake_aes("AES-256-CBC", true, true, iv, (const uint8_t *)"twenty-one characters", 21, text);
    CK_ULONG n = 0;
    unsigned uses;
    (void)state;

    assert_int_equal(C_DecryptInit(session, &pad, key), CKR_OK);
    assert_int_equal(C_Decrypt(session, text, len, NULL, &n), CKR_OK);
    assert_int_equal(n, len);
    uses = fake.calls[KMW__REQUEST__OP_USE];
    n = 5;
    assert_int_equal(C_Decrypt(session, text, len, back, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(n, 21);
    assert_int_equal(C_Decrypt(session, text, len, back, &n), CKR_OK);
    assert_memory_equal(back, "twenty-one characters", 21);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_USE], uses + 1); /* computed once */
    assert_int_equal(C_Decrypt(session, text, len, back, &n), CKR_OPERATION_NOT_INITIALIZED);
}

static void a_signature_asks_for_room_before_it_is_made(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_PRIVATE_KEY), public = fake_find(session, CKO_PUBLIC_KEY);
    CK_MECHANISM mechanism = {CKM_ECDSA_SHA256, NULL, 0};
    uint8_t signature[64];
    CK_ULONG n = 0;
    (void)state;

    assert_int_equal(C_SignInit(session, &mechanism, key), CKR_OK);
    assert_int_equal(C_Sign(session, (CK_BYTE *)"hello", 5, NULL, &n), CKR_OK);
    assert_int_equal(n, 64);
    n = 63;
    assert_int_equal(C_Sign(session, (CK_BYTE *)"hello", 5, signature, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_USE], 0);
    assert_int_equal(C_SignInit(session, &mechanism, key), CKR_OPERATION_ACTIVE);
    assert_int_equal(C_Sign(session, (CK_BYTE *)"hello", 5, signature, &n), CKR_OK);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_USE], 1);

    assert_int_equal(C_VerifyInit(session, &mechanism, public), CKR_OK);
    assert_int_equal(C_VerifyUpdate(session, (CK_BYTE *)"he", 2), CKR_OK);
    assert_int_equal(C_VerifyUpdate(session, NULL, 0), CKR_OK);
    assert_int_equal(C_VerifyUpdate(session, (CK_BYTE *)"llo", 3), CKR_OK);
    assert_int_equal(C_VerifyFinal(session, signature, 64), CKR_OK);
    signature[3] ^= 1;
    assert_int_equal(C_VerifyInit(session, &mechanism, public), CKR_OK);
    assert_int_equal(C_Verify(session, (CK_BYTE *)"hello", 5, signature, 64), CKR_SIGNATURE_INVALID);
    assert_int_equal(C_VerifyInit(session, &mechanism, public), CKR_OK);
    assert_int_equal(C_Verify(session, (CK_BYTE *)"hello", 5, signature, 63), CKR_SIGNATURE_LEN_RANGE);
    assert_int_equal(C_Verify(session, (CK_BYTE *)"hello", 5, signature, 64), CKR_OPERATION_NOT_INITIALIZED);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_USE], 1); /* verified here */
}

static void every_error_but_a_small_buffer_ends_the_operation(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_PRIVATE_KEY), aes = fake_find(session, CKO_SECRET_KEY);
    CK_MECHANISM mechanism = {CKM_ECDSA_SHA256, NULL, 0};
    uint8_t out[64], in[64] = {0};
    CK_ULONG n = sizeof(out);
    (void)state;

    assert_int_equal(C_SignInit(session, &mechanism, key), CKR_OK);
    fake.failure = KM_ERR_TIMEOUT;
    assert_int_equal(C_Sign(session, in, 5, out, &n), CKR_DEVICE_ERROR);
    assert_int_equal(C_Sign(session, in, 5, out, &n), CKR_OPERATION_NOT_INITIALIZED);
    assert_int_equal(C_SignInit(session, &mechanism, key), CKR_OK);
    assert_int_equal(C_Sign(session, NULL, 5, out, &n), CKR_ARGUMENTS_BAD);
    assert_int_equal(C_SignInit(session, &mechanism, key), CKR_OK);
    assert_int_equal(C_SignUpdate(session, in, 5), CKR_OK);
    assert_int_equal(C_Sign(session, in, 5, out, &n), CKR_OPERATION_NOT_INITIALIZED); /* no single-part end of parts */
    assert_int_equal(C_SignInit(session, &mechanism, key), CKR_OK);
    assert_int_equal(C_SignFinal(session, out, &n), CKR_OK); /* the empty message */

    assert_int_equal(C_EncryptInit(session, &cbc, aes), CKR_OK);
    assert_int_equal(C_Encrypt(session, in, 17, out, &n), CKR_DATA_LEN_RANGE);
    assert_int_equal(C_EncryptInit(session, &cbc, aes), CKR_OK);
    n = 15;
    assert_int_equal(C_EncryptUpdate(session, in, 16, out, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(n, 16);
    assert_int_equal(C_EncryptUpdate(session, in, 16, out, &n), CKR_OK);
    n = 0;
    assert_int_equal(C_EncryptFinal(session, out, &n), CKR_OK);
    assert_int_equal(n, 0);
}

static void keys_refuse_what_they_are_not_for(void **state)
{
    CK_OBJECT_HANDLE private = fake_find(session, CKO_PRIVATE_KEY), aes = fake_find(session, CKO_SECRET_KEY);
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0}, rsa = {CKM_RSA_PKCS, NULL, 0}, none = {0x7fffffff, NULL, 0},
                 short_iv = {CKM_AES_CBC, iv, 15};
    (void)state;

    assert_int_equal(C_SignInit(session, NULL, private), CKR_ARGUMENTS_BAD);
    assert_int_equal(C_SignInit(session, &none, private), CKR_MECHANISM_INVALID);
    assert_int_equal(C_SignInit(session, &rsa, private), CKR_KEY_TYPE_INCONSISTENT);
    assert_int_equal(C_SignInit(session, &ecdsa, aes), CKR_KEY_TYPE_INCONSISTENT);
    assert_int_equal(C_SignInit(session, &ecdsa, 4711), CKR_KEY_HANDLE_INVALID);
    assert_int_equal(C_VerifyInit(session, &ecdsa, private), CKR_KEY_TYPE_INCONSISTENT);
    assert_int_equal(C_EncryptInit(session, &short_iv, aes), CKR_MECHANISM_PARAM_INVALID);
    assert_int_equal(C_SignInit(4711, &ecdsa, private), CKR_SESSION_HANDLE_INVALID);
    assert_int_equal(C_Logout(session), CKR_OK);
    assert_int_equal(C_SignInit(session, &ecdsa, private), CKR_KEY_HANDLE_INVALID);
}

static void a_counter_wraps_in_its_own_bits(void **state)
{
    uint8_t block[16] = {0};
    (void)state;

    memset(block, 0xff, 16);
    km_cipher_count(block, 4, 1);
    assert_int_equal(block[15], 0xf0);
    assert_int_equal(block[14], 0xff);
    memset(block, 0xff, 16);
    km_cipher_count(block, 12, 2);
    assert_int_equal(block[15], 0x01);
    assert_int_equal(block[14], 0xf0);
    memset(block, 0xff, 16);
    km_cipher_count(block, 128, 1);
    assert_int_equal(block[0], 0);
    km_cipher_count(block, 128, 0x10203);
    assert_int_equal(block[13], 1);
    assert_int_equal(block[15], 3);
}

static void digests_come_in_parts_or_at_once(void **state)
{
    CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
    uint8_t a[32], b[32];
    CK_ULONG n = 31;
    (void)state;

    assert_int_equal(C_DigestInit(session, &sha256), CKR_OK);
    assert_int_equal(C_Digest(session, (CK_BYTE *)"abc", 3, a, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(C_Digest(session, (CK_BYTE *)"abc", 3, a, &n), CKR_OK);
    assert_int_equal(C_DigestInit(session, &sha256), CKR_OK);
    assert_int_equal(C_DigestUpdate(session, (CK_BYTE *)"ab", 2), CKR_OK);
    assert_int_equal(C_DigestUpdate(session, (CK_BYTE *)"c", 1), CKR_OK);
    assert_int_equal(C_DigestFinal(session, b, &n), CKR_OK);
    assert_memory_equal(a, b, 32);
    assert_int_equal(a[0], 0xba);
    assert_int_equal(C_DigestFinal(session, b, &n), CKR_OPERATION_NOT_INITIALIZED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_of_any_size_give_what_one_call_gives, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_message_travels_in_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(lengths_that_padding_hides_are_kept_until_they_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signature_asks_for_room_before_it_is_made, setup, teardown),
        cmocka_unit_test_setup_teardown(every_error_but_a_small_buffer_ends_the_operation, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_refuse_what_they_are_not_for, setup, teardown),
        cmocka_unit_test_setup_teardown(digests_come_in_parts_or_at_once, setup, teardown),
        cmocka_unit_test(a_counter_wraps_in_its_own_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
