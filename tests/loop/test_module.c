/* SPDX-License-Identifier: Apache-2.0
 *
 * General, slot, token, session, login and object functions: each success and each refusal.
 */
#include "loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int end_session(void **state)
{
    (void)state;
    F->C_CloseAllSessions(loop_slot);
    return 0;
}

static void a_library_speaks_before_its_token(void **state)
{
    CK_INFO info;
    (void)state;

    OK(C_GetInfo(&info));
    assert_int_equal(info.cryptokiVersion.major, 2);
    assert_int_equal(info.cryptokiVersion.minor, 40);
    assert_memory_equal(info.manufacturerID, "keymoot                         ", 32);
    RV(C_GetInfo(NULL), CKR_ARGUMENTS_BAD);
    RV(C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    OK(C_Finalize(NULL));
    RV(C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
    RV(C_OpenSession(loop_slot, CKF_SERIAL_SESSION, NULL, NULL, NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    RV(C_Sign(1, NULL, 0, NULL, NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    OK(C_Initialize(NULL));
}

static void slots_and_mechanisms_are_listed(void **state)
{
    CK_SLOT_ID slots[64];
    CK_MECHANISM_TYPE types[512];
    CK_MECHANISM_INFO mech;
    CK_TOKEN_INFO token;
    CK_SLOT_INFO slot;
    CK_ULONG n = 0, small;
    (void)state;

    OK(C_GetSlotList(CK_FALSE, NULL, &n));
    assert_true(n >= 1);
    small = 0;
    RV(C_GetSlotList(CK_FALSE, slots, &small), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(small, n);
    OK(C_GetSlotList(CK_TRUE, slots, &n));
    OK(C_GetSlotInfo(loop_slot, &slot));
    assert_true(slot.flags & CKF_TOKEN_PRESENT);
    RV(C_GetSlotInfo(0x7fffffff, &slot), CKR_SLOT_ID_INVALID);
    OK(C_GetTokenInfo(loop_slot, &token));
    assert_true(token.flags & CKF_TOKEN_INITIALIZED);
    assert_true(token.flags & CKF_USER_PIN_INITIALIZED);
    assert_memory_equal(token.manufacturerID, "keymoot ", 8);
    RV(C_GetTokenInfo(loop_slot, NULL), CKR_ARGUMENTS_BAD);
    n = 512;
    OK(C_GetMechanismList(loop_slot, types, &n));
    for (CK_ULONG i = 0; i < n; i++)
        OK(C_GetMechanismInfo(loop_slot, types[i], &mech));
    RV(C_GetMechanismInfo(loop_slot, 0x7fff0000, &mech), CKR_MECHANISM_INVALID);
    n = 1;
    RV(C_GetMechanismList(loop_slot, types, &n), CKR_BUFFER_TOO_SMALL);
}

static CK_SLOT_ID free_slot(void)
{
    CK_SLOT_ID slots[64];
    CK_ULONG n = 64;
    CK_TOKEN_INFO info;

    OK(C_GetSlotList(CK_TRUE, slots, &n));
    OK(C_GetTokenInfo(slots[n - 1], &info));
    return info.flags & CKF_TOKEN_INITIALIZED ? 0 : slots[n - 1];
}

static CK_TOKEN_INFO info_of(CK_SLOT_ID slot)
{
    CK_TOKEN_INFO info;

    OK(C_GetTokenInfo(slot, &info));
    return info;
}

static void a_token_is_made_given_pins_and_made_again(void **state)
{
    CK_UTF8CHAR label[33], serial[16];
    CK_SLOT_ID slot = free_slot();
    CK_SESSION_HANDLE s = 0;
    CK_OBJECT_HANDLE public, private;
    (void)state;

    if (slot == 0)
        skip(); /* this identity may not create tokens */
    snprintf((char *)label, sizeof(label), "%-32.31s", "made by the loop test");
    RV(C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_TOKEN_NOT_RECOGNIZED);
    RV(C_InitToken(slot, BYTES("123"), label), CKR_PIN_LEN_RANGE);
    OK(C_InitToken(slot, BYTES("so pin"), label));
    assert_memory_equal(info_of(slot).label, label, 32);
    memcpy(serial, info_of(slot).serialNumber, 16);
    assert_false(info_of(slot).flags & CKF_USER_PIN_INITIALIZED);
    assert_true(free_slot() != slot);

    OK(C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s));
    RV(C_InitToken(slot, BYTES("so pin"), label), CKR_SESSION_EXISTS);
    RV(C_InitPIN(s, BYTES("user pin")), CKR_USER_NOT_LOGGED_IN);
    RV(C_Login(s, CKU_USER, BYTES("user pin")), CKR_USER_PIN_NOT_INITIALIZED);
    RV(C_Login(s, CKU_SO, BYTES("wrong")), CKR_PIN_INCORRECT);
    OK(C_Login(s, CKU_SO, BYTES("so pin")));
    RV(C_InitPIN(s, BYTES("usr")), CKR_PIN_LEN_RANGE);
    OK(C_InitPIN(s, BYTES("user pin")));
    OK(C_SetPIN(s, BYTES("so pin"), BYTES("so pin 2")));
    OK(C_InitPIN(s, BYTES("user pin"))); /* still the SO */
    OK(C_Logout(s));
    assert_true(info_of(slot).flags & CKF_USER_PIN_INITIALIZED);

    OK(C_Login(s, CKU_USER, BYTES("user pin")));
    RV(C_SetPIN(s, BYTES("wrong"), BYTES("user pin 2")), CKR_PIN_INCORRECT);
    OK(C_SetPIN(s, BYTES("user pin"), BYTES("user pin 2")));
    OK(C_CloseSession(s));
    OK(C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s));
    RV(C_Login(s, CKU_USER, BYTES("user pin")), CKR_PIN_INCORRECT);
    OK(C_Login(s, CKU_USER, BYTES("user pin 2")));
    loop_ec_pair(s, "wiped", true, &public, &private);
    assert_int_equal(loop_count(s, "wiped"), 2);
    OK(C_CloseAllSessions(slot));

    RV(C_InitToken(slot, BYTES("so pin"), label), CKR_PIN_INCORRECT);
    OK(C_InitToken(slot, BYTES("so pin 2"), label));
    assert_memory_equal(info_of(slot).serialNumber, serial, 16);
    OK(C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s));
    OK(C_Login(s, CKU_SO, BYTES("so pin 2")));
    OK(C_InitPIN(s, BYTES("user pin")));
    OK(C_Logout(s));
    OK(C_Login(s, CKU_USER, BYTES("user pin")));
    assert_int_equal(loop_count(s, "wiped"), 0);
    RV(C_GetObjectSize(s, private, &(CK_ULONG){0}), CKR_OBJECT_HANDLE_INVALID);
    OK(C_CloseSession(s));
}

static void objects_are_created_read_changed_copied_and_destroyed(void **state)
{
    CK_SESSION_HANDLE s = loop_login(), ro = loop_open(0);
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_BBOOL yes = CK_TRUE;
    CK_OBJECT_HANDLE object = 0, copy = 0;
    char value[16], label[32];
    CK_ULONG size = 0;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_TOKEN, &yes, 1},
                               {CKA_LABEL, "loop data", 9},
                               {CKA_VALUE, "some value", 10}};
    CK_ATTRIBUTE get[] = {{CKA_VALUE, value, sizeof(value)}, {CKA_LABEL, label, sizeof(label)}};
    CK_ATTRIBUTE set = {CKA_LABEL, "changed", 7}, wrong = {CKA_CLASS, &class, sizeof(class)},
                 not_there = {CKA_MODULUS, "x", 1};
    (void)state;

    RV(C_CreateObject(ro, template, 4, &object), CKR_SESSION_READ_ONLY);
    RV(C_CreateObject(s, template + 1, 3, &object), CKR_TEMPLATE_INCOMPLETE);
    RV(C_CreateObject(s, NULL, 1, &object), CKR_ARGUMENTS_BAD);
    OK(C_CreateObject(s, template, 4, &object));
    OK(C_GetObjectSize(s, object, &size));
    assert_true(size > 10);
    OK(C_GetAttributeValue(ro, object, get, 2));
    assert_int_equal(get[0].ulValueLen, 10);
    assert_memory_equal(value, "some value", 10);
    RV(C_SetAttributeValue(ro, object, &set, 1), CKR_SESSION_READ_ONLY);
    RV(C_SetAttributeValue(s, object, &wrong, 1), CKR_ATTRIBUTE_READ_ONLY);
    RV(C_SetAttributeValue(s, object, &not_there, 1), CKR_ATTRIBUTE_TYPE_INVALID);
    OK(C_SetAttributeValue(s, object, &set, 1));
    get[1].ulValueLen = sizeof(label);
    OK(C_GetAttributeValue(ro, object, get + 1, 1));
    assert_memory_equal(label, "changed", 7);
    OK(C_CopyObject(s, object, NULL, 0, &copy));
    assert_true(copy != object);
    assert_int_equal(loop_count(s, "changed"), 2);
    RV(C_DestroyObject(ro, object), CKR_SESSION_READ_ONLY);
    OK(C_DestroyObject(s, object));
    RV(C_DestroyObject(s, object), CKR_OBJECT_HANDLE_INVALID);
    OK(C_DestroyObject(s, copy));
    assert_int_equal(loop_count(s, "changed"), 0);
}

static void private_objects_need_a_login(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_HANDLE public, private, key;
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0}, gen = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG len = 16;
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len, sizeof(len)}};
    (void)state;

    loop_ec_pair(s, "needs login", true, &public, &private);
    OK(C_Logout(s));
    RV(C_Logout(s), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(loop_count(s, "needs login"), 1);
    RV(C_SignInit(s, &ecdsa, private), CKR_KEY_HANDLE_INVALID);
    RV(C_GenerateKey(s, &gen, template, 1, &key), CKR_USER_NOT_LOGGED_IN);
    RV(C_Login(s, CKU_USER, BYTES("not the PIN")), CKR_PIN_INCORRECT);
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    RV(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()), CKR_USER_ALREADY_LOGGED_IN);
    assert_int_equal(loop_count(s, "needs login"), 2);
    for (int i = 0; i < 2; i++) {
        CK_ULONG n = 0;
        OK(C_FindObjectsInit(s, &(CK_ATTRIBUTE){CKA_LABEL, "needs login", 11}, 1));
        OK(C_FindObjects(s, &key, 1, &n));
        assert_int_equal(n, 1);
        OK(C_FindObjectsFinal(s));
        OK(C_DestroyObject(s, key));
    }
}

static void a_search_pages_and_is_read_in_between(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_BBOOL yes = CK_TRUE;
    CK_OBJECT_HANDLE object;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, 1}, {CKA_APPLICATION, "paging", 6}};
    CK_ULONG n, total = 0;
    (void)state;

    for (int i = 0; i < 40; i++)
        OK(C_CreateObject(s, template, 3, &object));
    template[1] = template[2];
    OK(C_FindObjectsInit(s, template, 2));
    RV(C_FindObjectsInit(s, template, 2), CKR_OPERATION_ACTIVE);
    for (;; total++) {
        char application[16];
        CK_ATTRIBUTE get = {CKA_APPLICATION, application, sizeof(application)};
        OK(C_FindObjects(s, &object, 1, &n));
        if (n == 0)
            break;
        OK(C_GetAttributeValue(s, object, &get, 1));
        assert_memory_equal(application, "paging", 6);
        OK(C_DestroyObject(s, object)); /* even this does not disturb the search */
    }
    assert_int_equal(total, 40);
    OK(C_FindObjectsFinal(s));
    RV(C_FindObjectsFinal(s), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_FindObjects(s, &object, 1, &n), CKR_OPERATION_NOT_INITIALIZED);
}

static void keys_show_what_they_may_and_no_more(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_HANDLE public, private, copy;
    CK_BYTE buffer[512];
    CK_BBOOL no = CK_FALSE, sensitive = 0, local = 0;
    CK_ATTRIBUTE get[] = {{CKA_VALUE, buffer, sizeof(buffer)},
                          {CKA_SENSITIVE, &sensitive, 1},
                          {CKA_MODULUS, buffer, sizeof(buffer)},
                          {CKA_LOCAL, &local, 1}};
    CK_ATTRIBUTE session_copy = {CKA_TOKEN, &no, 1}, widen = {CKA_SENSITIVE, &no, 1};
    (void)state;

    loop_ec_pair(s, "shows", true, &public, &private);
    RV(C_GetAttributeValue(s, private, get, 4), CKR_ATTRIBUTE_SENSITIVE);
    assert_true(get[0].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    assert_true(get[2].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    assert_true(sensitive && local);
    RV(C_SetAttributeValue(s, private, &widen, 1), CKR_ATTRIBUTE_READ_ONLY);
    OK(C_CopyObject(s, public, &session_copy, 1, &copy));
    OK(C_DestroyObject(s, public));
    OK(C_GetAttributeValue(s, copy, &(CK_ATTRIBUTE){CKA_EC_POINT, buffer, sizeof(buffer)}, 1));
    OK(C_DestroyObject(s, private));
    OK(C_DestroyObject(s, copy));
}

/* OpenSSL's provider makes a session copy of its key in each process. */
static void a_session_copy_of_a_sensitive_key_is_the_key_and_dies_with_it(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_HANDLE public, private, copy = 0, second = 0, found[4];
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_BBOOL no = CK_FALSE, token = CK_TRUE;
    CK_BYTE signature[64], digest[32] = {1};
    CK_ULONG n = sizeof(signature), count = 0;
    CK_MECHANISM m = {CKM_ECDSA, NULL, 0};
    CK_ATTRIBUTE to_session[] = {{CKA_TOKEN, &no, 1}, {CKA_LABEL, "alias", 5}, {CKA_SIGN, &no, 1}};
    CK_ATTRIBUTE mine[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, "copied", 6}};
    (void)state;

    loop_ec_pair(s, "copied", true, &public, &private);
    RV(C_CopyObject(s, private, to_session, 3, &copy), CKR_ACTION_PROHIBITED); /* not the key any more */
    OK(C_CopyObject(s, private, to_session, 1, &copy));
    assert_true(copy != private);
    OK(C_GetAttributeValue(s, copy, &(CK_ATTRIBUTE){CKA_TOKEN, &token, 1}, 1));
    assert_false(token);
    OK(C_CopyObject(s, copy, NULL, 0, &second)); /* a copy of a copy */
    OK(C_SetAttributeValue(s, second, &to_session[1], 1));
    OK(C_SignInit(s, &m, second));
    OK(C_Sign(s, digest, sizeof(digest), signature, &n));
    OK(C_VerifyInit(s, &m, public));
    OK(C_Verify(s, digest, sizeof(digest), signature, n));
    OK(C_DestroyObject(s, second));

    OK(C_FindObjectsInit(s, mine, 2));
    OK(C_FindObjects(s, found, 4, &count));
    OK(C_FindObjectsFinal(s));
    assert_int_equal(count, 2);
    assert_true(found[0] == private && found[1] == copy); /* the key before its alias */

    OK(C_DestroyObject(s, private));
    n = sizeof(signature);
    OK(C_SignInit(s, &m, copy));
    RV(C_Sign(s, digest, sizeof(digest), signature, &n), CKR_KEY_HANDLE_INVALID);
    RV(C_DestroyObject(s, copy), CKR_OBJECT_HANDLE_INVALID);
    OK(C_DestroyObject(s, public));
}

/* Java's keytool: a pair in the session, then a copy on the token. */
static void session_keys_can_be_copied_to_the_token(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_HANDLE public, private, stored = 0, stored_public = 0;
    CK_BBOOL yes = CK_TRUE;
    CK_BYTE signature[64];
    CK_ULONG n = sizeof(signature);
    CK_MECHANISM m = {CKM_ECDSA_SHA256, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_TOKEN, &yes, 1}, {CKA_ID, "java", 4}};
    (void)state;

    loop_ec_pair(s, "moves", false, &public, &private);
    OK(C_CopyObject(s, private, template, 2, &stored));
    OK(C_CopyObject(s, public, template, 2, &stored_public));
    OK(C_DestroyObject(s, private));
    OK(C_DestroyObject(s, public));
    OK(C_SignInit(s, &m, stored));
    OK(C_Sign(s, BYTES("text"), signature, &n));
    OK(C_VerifyInit(s, &m, stored_public));
    OK(C_Verify(s, BYTES("text"), signature, n));
    OK(C_DestroyObject(s, stored));
    OK(C_DestroyObject(s, stored_public));
}

static void random_bytes_come_in_any_number(void **state)
{
    CK_SESSION_HANDLE s = loop_open(0);
    CK_BYTE *a = calloc(1, 100000), *b = calloc(1, 100000);
    (void)state;

    OK(C_GenerateRandom(s, a, 100000));
    OK(C_GenerateRandom(s, b, 100000));
    assert_memory_not_equal(a + 99000, b + 99000, 1000);
    OK(C_GenerateRandom(s, NULL, 0));
    RV(C_GenerateRandom(s, NULL, 1), CKR_ARGUMENTS_BAD);
    RV(C_SeedRandom(s, a, 1), CKR_RANDOM_SEED_NOT_SUPPORTED);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_library_speaks_before_its_token, end_session),
        cmocka_unit_test_teardown(slots_and_mechanisms_are_listed, end_session),
        cmocka_unit_test_teardown(a_token_is_made_given_pins_and_made_again, end_session),
        cmocka_unit_test_teardown(objects_are_created_read_changed_copied_and_destroyed, end_session),
        cmocka_unit_test_teardown(private_objects_need_a_login, end_session),
        cmocka_unit_test_teardown(a_search_pages_and_is_read_in_between, end_session),
        cmocka_unit_test_teardown(keys_show_what_they_may_and_no_more, end_session),
        cmocka_unit_test_teardown(a_session_copy_of_a_sensitive_key_is_the_key_and_dies_with_it, end_session),
        cmocka_unit_test_teardown(session_keys_can_be_copied_to_the_token, end_session),
        cmocka_unit_test_teardown(random_bytes_come_in_any_number, end_session),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
