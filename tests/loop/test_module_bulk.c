/* SPDX-License-Identifier: Apache-2.0
 *
 * Bulk data under session keys that the program may read is computed in its own process: shown by a server that is
 * stopped. Everything else needs the server, and a key that is dead there is dead here within a second.
 */
#include "loop.h"

#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEN 40000

static CK_SESSION_HANDLE s;
static CK_BYTE value[32] = "a value that everybody may read.", iv[16] = {1, 2, 3}, text[LEN], out[LEN + 32],
               back[LEN + 32];
static CK_GCM_PARAMS gcm = {iv, 12, 96, iv, 16, 128};
static CK_MECHANISM by_gcm = {CKM_AES_GCM, &gcm, sizeof(gcm)}, by_cbc = {CKM_AES_CBC, iv, 16};

static int setup(void **state)
{
    int rv = loop_setup(state);

    s = loop_login();
    for (size_t i = 0; i < LEN; i++)
        text[i] = (CK_BYTE)(i * 31 >> 3);
    return rv;
}

static CK_OBJECT_HANDLE make(CK_SESSION_HANDLE in, bool is_sensitive, bool is_private, const char *start)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL sensitive = is_sensitive, private = is_private;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_VALUE, value, 32},
                               {CKA_SENSITIVE, &sensitive, 1},
                               {CKA_PRIVATE, &private, 1},
                               {CKA_START_DATE, (void *)start, strlen(start)}};
    CK_OBJECT_HANDLE key = 0;

    OK(C_CreateObject(in, template, 6, &key));
    return key;
}

static CK_RV encrypt(CK_SESSION_HANDLE in, CK_MECHANISM *m, CK_OBJECT_HANDLE key, size_t len)
{
    CK_ULONG n = sizeof(out);
    CK_RV rv = F->C_EncryptInit(in, m, key);

    return rv != CKR_OK ? rv : F->C_Encrypt(in, text, len, out, &n);
}

static void server(int signal)
{
    const char *pid = getenv("KEYMOOT_SERVER_PID");

    assert_non_null(pid);
    assert_int_equal(kill(atoi(pid), signal), 0);
}

/* What plain OpenSSL makes of the text. */
static void check_gcm(void)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CK_BYTE expected[LEN], tag[16];
    int n = 0;

    assert_int_equal(EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), value, iv, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, iv, 16), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, expected, &n, text, LEN), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, tag, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
    EVP_CIPHER_CTX_free(ctx);
    assert_memory_equal(out, expected, LEN);
    assert_memory_equal(out + LEN, tag, 16);
}

static void a_readable_session_key_needs_no_server_for_bulk(void **state)
{
    CK_OBJECT_HANDLE key = make(s, false, true, "");
    CK_ULONG n = sizeof(back);
    (void)state;

    OK(C_EncryptInit(s, &by_gcm, key)); /* fetches the value once */
    n = sizeof(out);
    OK(C_Encrypt(s, text, LEN, out, &n));
    check_gcm();
    server(SIGSTOP);
    memset(out, 0, sizeof(out));
    assert_int_equal(encrypt(s, &by_gcm, key, LEN), CKR_OK);
    check_gcm();
    n = sizeof(back);
    OK(C_DecryptInit(s, &by_gcm, key));
    OK(C_Decrypt(s, out, LEN + 16, back, &n));
    assert_int_equal(n, LEN);
    assert_memory_equal(back, text, LEN);
    out[5] ^= 1;
    memset(back, 0xee, sizeof(back));
    n = sizeof(back);
    OK(C_DecryptInit(s, &by_gcm, key));
    RV(C_Decrypt(s, out, LEN + 16, back, &n), CKR_ENCRYPTED_DATA_INVALID);
    for (size_t i = 0; i < LEN; i++)
        assert_true(back[i] == 0 || back[i] == 0xee); /* no text whose tag was wrong */
    server(SIGCONT);
    OK(C_DestroyObject(s, key));
}

static void overlapping_buffers_and_parts_give_the_same(void **state)
{
    CK_OBJECT_HANDLE key = make(s, false, true, "");
    CK_BYTE *memory = malloc(LEN + 128);
    CK_ULONG n;
    size_t total = 0;
    (void)state;

    for (size_t shift = 0; shift < 40; shift += 13) { /* the result over its own text, in place and moved */
        memcpy(memory, text, LEN);
        n = LEN + 24;
        OK(C_EncryptInit(s, &by_gcm, key));
        OK(C_Encrypt(s, memory, LEN, memory + shift, &n));
        memcpy(out, memory + shift, LEN + 16);
        check_gcm();
        memcpy(memory + shift, text, LEN);
        n = LEN + 24;
        OK(C_EncryptInit(s, &by_gcm, key));
        OK(C_Encrypt(s, memory + shift, LEN, memory, &n));
        memcpy(out, memory, LEN + 16);
        check_gcm();
        n = LEN;
        OK(C_DecryptInit(s, &by_gcm, key));
        OK(C_Decrypt(s, memory, LEN + 16, memory, &n));
        assert_memory_equal(memory, text, LEN);
    }
    assert_int_equal(encrypt(s, &by_cbc, key, LEN), CKR_OK);
    OK(C_EncryptInit(s, &by_cbc, key));
    for (size_t at = 0, step = 5000; at < LEN; at += step, step = step * 7 % 9001 + 1) {
        step = step > LEN - at ? LEN - at : step;
        n = sizeof(back) - total;
        OK(C_EncryptUpdate(s, text + at, step, back + total, &n));
        total += n;
    }
    n = sizeof(back) - total;
    OK(C_EncryptFinal(s, back + total, &n));
    assert_int_equal(total + n, LEN);
    assert_memory_equal(back, out, LEN);
    free(memory);
    OK(C_DestroyObject(s, key));
}

static void a_destroyed_key_and_a_logout_end_it(void **state)
{
    CK_SESSION_HANDLE other = loop_open(CKF_RW_SESSION);
    CK_OBJECT_HANDLE key = make(other, false, true, ""), public = make(other, false, false, ""),
                     gone = make(other, false, true, "");
    CK_ULONG n = sizeof(out);
    (void)state;

    assert_int_equal(encrypt(other, &by_gcm, gone, LEN), CKR_OK);
    OK(C_DestroyObject(other, gone));
    assert_int_equal(encrypt(other, &by_gcm, gone, LEN), CKR_KEY_HANDLE_INVALID);
    assert_int_equal(encrypt(other, &by_gcm, public, LEN), CKR_OK);
    assert_int_equal(encrypt(other, &by_gcm, key, LEN), CKR_OK);
    OK(C_EncryptInit(other, &by_gcm, key));
    OK(C_Logout(s));
    assert_int_not_equal(F->C_Encrypt(other, text, LEN, out, &n), CKR_OK); /* within the second */
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    key = make(other, false, true, "");
    assert_int_equal(encrypt(other, &by_gcm, key, LEN), CKR_OK);
    OK(C_EncryptInit(other, &by_gcm, key));
    OK(C_Logout(s));
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    assert_int_not_equal(F->C_Encrypt(other, text, LEN, out, &n), CKR_OK); /* another login is not the key's */
    OK(C_Logout(s));
    assert_int_equal(encrypt(other, &by_gcm, key, LEN), CKR_KEY_HANDLE_INVALID);
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    assert_int_equal(encrypt(other, &by_gcm, key, LEN), CKR_KEY_HANDLE_INVALID);
    OK(C_CloseSession(other));
    assert_int_equal(encrypt(s, &by_gcm, public, LEN), CKR_KEY_HANDLE_INVALID);
}

/* Another process of the same user changes the PIN, and back. */
static void change_pin_elsewhere(void)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        CK_SESSION_HANDLE mine = 0;
        bool is_done = F->C_Initialize(NULL) == CKR_OK &&
                       F->C_OpenSession(loop_slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &mine) == CKR_OK &&
                       F->C_Login(mine, CKU_USER, loop_pin(), loop_pin_len()) == CKR_OK &&
                       F->C_SetPIN(mine, loop_pin(), loop_pin_len(), BYTES("another PIN")) == CKR_OK &&
                       F->C_SetPIN(mine, BYTES("another PIN"), loop_pin(), loop_pin_len()) == CKR_OK;
        _exit(is_done ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* The seal dies with the PIN that it was made under (design D5). */
static void a_dead_seal_ends_it_within_a_second(void **state)
{
    CK_OBJECT_HANDLE key = make(s, false, true, "");
    (void)state;

    assert_int_equal(encrypt(s, &by_gcm, key, LEN), CKR_OK);
    change_pin_elsewhere();
    usleep(1100 * 1000);
    assert_int_not_equal(encrypt(s, &by_gcm, key, LEN), CKR_OK);
    assert_int_not_equal(encrypt(s, &by_gcm, key, 16), CKR_OK);
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    assert_int_not_equal(encrypt(s, &by_gcm, key, LEN), CKR_OK);
}

static void a_key_that_becomes_sensitive_leaves_the_process(void **state)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE set = {CKA_SENSITIVE, &yes, 1};
    CK_OBJECT_HANDLE key = make(s, false, true, ""), dated = make(s, false, true, "29990101");
    (void)state;

    assert_int_equal(encrypt(s, &by_gcm, dated, LEN), CKR_KEY_FUNCTION_NOT_PERMITTED); /* the server looks at dates */
    assert_int_equal(encrypt(s, &by_gcm, key, LEN), CKR_OK);
    OK(C_SetAttributeValue(s, key, &set, 1));
    server(SIGSTOP);
    assert_int_equal(encrypt(s, &by_gcm, key, LEN), CKR_DEVICE_ERROR);
    server(SIGCONT);
    assert_int_equal(encrypt(s, &by_gcm, key, LEN), CKR_OK);
    check_gcm();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_readable_session_key_needs_no_server_for_bulk),
        cmocka_unit_test(overlapping_buffers_and_parts_give_the_same),
        cmocka_unit_test(a_destroyed_key_and_a_logout_end_it),
        cmocka_unit_test(a_key_that_becomes_sensitive_leaves_the_process),
        cmocka_unit_test(a_dead_seal_ends_it_within_a_second),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
