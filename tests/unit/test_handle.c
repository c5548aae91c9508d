/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_client.h"

#include "../../module/handle.h"

#include <stdlib.h>

static int setup(void **state)
{
    (void)state;
    fake_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

static CK_OBJECT_HANDLE create_data(CK_SESSION_HANDLE session, const char *label)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_OBJECT_HANDLE handle = 0;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, (void *)label, strlen(label)}, {CKA_VALUE, (void *)"v", 1}};

    assert_int_equal(C_CreateObject(session, template, 3, &handle), CKR_OK);
    return handle;
}

static void handles_are_never_given_twice(void **state)
{
    CK_SESSION_HANDLE a = fake_open(false), b;
    CK_OBJECT_HANDLE x = create_data(a, "x"), y, stored = fake_find(a, CKO_PUBLIC_KEY);
    CK_ULONG size;
    (void)state;

    assert_int_equal(C_Finalize(NULL), CKR_OK);
    assert_int_equal(C_Initialize(NULL), CKR_OK);
    b = fake_open(false);
    y = create_data(b, "y");
    assert_true(b != a);
    assert_true(y != x);
    assert_int_equal(C_GetObjectSize(a, y, &size), CKR_SESSION_HANDLE_INVALID);
    assert_int_equal(C_GetObjectSize(b, x, &size), CKR_OBJECT_HANDLE_INVALID);
    assert_int_equal(C_GetObjectSize(b, y, &size), CKR_OK);
    assert_int_equal(C_GetObjectSize(b, stored, &size), CKR_OBJECT_HANDLE_INVALID);
    assert_int_equal(C_GetObjectSize(b, 0, &size), CKR_OBJECT_HANDLE_INVALID);
}

static void an_object_that_is_found_twice_keeps_its_handle(void **state)
{
    CK_SESSION_HANDLE s = fake_open(false), t = fake_open(true);
    (void)state;

    assert_int_equal(fake_find(s, CKO_PUBLIC_KEY), fake_find(t, CKO_PUBLIC_KEY));
}

static void session_objects_end_with_their_session(void **state)
{
    CK_SESSION_HANDLE s = fake_open(false), t = fake_open(false);
    CK_OBJECT_HANDLE x = create_data(s, "mine");
    CK_ULONG size;
    (void)state;

    assert_int_equal(C_GetObjectSize(t, x, &size), CKR_OK); /* the application's other sessions see it */
    assert_int_equal(fake_find(t, CKO_DATA), x);
    assert_int_equal(C_CloseSession(s), CKR_OK);
    assert_int_equal(C_GetObjectSize(t, x, &size), CKR_OBJECT_HANDLE_INVALID);
}

static void thousands_of_handles_stay_apart(void **state)
{
    CK_SESSION_HANDLE s = fake_open(false);
    CK_OBJECT_HANDLE *handles = calloc(3000, sizeof(CK_OBJECT_HANDLE));
    char label[16], got[16];
    CK_ATTRIBUTE attr;
    (void)state;

    for (int i = 0; i < 3000; i++) {
        snprintf(label, sizeof(label), "%d", i);
        handles[i] = create_data(s, label);
    }
    for (int i = 0; i < 3000; i += 3)
        assert_int_equal(C_DestroyObject(s, handles[i]), CKR_OK);
    for (int i = 0; i < 3000; i++) {
        snprintf(label, sizeof(label), "%d", i);
        attr = (CK_ATTRIBUTE){CKA_LABEL, got, sizeof(got)};
        assert_int_equal(C_GetAttributeValue(s, handles[i], &attr, 1), i % 3 == 0 ? CKR_OBJECT_HANDLE_INVALID : CKR_OK);
        if (i % 3 != 0)
            assert_memory_equal(got, label, strlen(label));
    }
    free(handles);
}

static void sessions_follow_the_standard(void **state)
{
    CK_SESSION_HANDLE ro, rw, s = 0;
    CK_UTF8CHAR *pin = (CK_UTF8CHAR *)FAKE_PIN;
    CK_SESSION_INFO info;
    (void)state;

    assert_int_equal(C_OpenSession(FAKE_SLOT, 0, NULL, NULL, &s), CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    assert_int_equal(C_OpenSession(4711, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_SLOT_ID_INVALID);
    assert_int_equal(C_OpenSession(FAKE_FREE_SLOT, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_TOKEN_NOT_RECOGNIZED);
    assert_int_equal(C_OpenSession(FAKE_SLOT, CKF_SERIAL_SESSION, NULL, NULL, NULL), CKR_ARGUMENTS_BAD);
    ro = fake_open(false);
    assert_int_equal(C_Login(ro, CKU_SO, pin, 4), CKR_SESSION_READ_ONLY_EXISTS);
    assert_int_equal(C_Login(ro, CKU_CONTEXT_SPECIFIC, pin, 4), CKR_OPERATION_NOT_INITIALIZED);
    assert_int_equal(C_Login(ro, 3, pin, 4), CKR_USER_TYPE_INVALID);
    assert_int_equal(C_Login(ro, CKU_USER, (CK_UTF8CHAR *)"4321", 4), CKR_PIN_INCORRECT);
    assert_int_equal(C_Login(ro, CKU_USER, pin, 4), CKR_OK);
    assert_int_equal(C_Login(ro, CKU_USER, pin, 4), CKR_USER_ALREADY_LOGGED_IN);
    assert_int_equal(C_Login(ro, CKU_SO, pin, 4), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
    rw = fake_open(true);
    assert_int_equal(C_GetSessionInfo(rw, &info), CKR_OK);
    assert_int_equal(info.state, CKS_RW_USER_FUNCTIONS);
    assert_int_equal(info.slotID, FAKE_SLOT);
    assert_int_equal(C_CloseSession(ro), CKR_OK);
    assert_int_equal(C_CloseSession(ro), CKR_SESSION_HANDLE_INVALID);
    assert_int_equal(C_CloseSession(rw), CKR_OK); /* the last one: logged out */
    rw = fake_open(true);
    assert_int_equal(C_Logout(rw), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(C_Login(rw, CKU_SO, pin, 4), CKR_OK);
    assert_int_equal(C_OpenSession(FAKE_SLOT, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_SESSION_READ_WRITE_SO_EXISTS);
    assert_int_equal(C_InitToken(FAKE_SLOT, pin, 4, (CK_UTF8CHAR *)"label                           "),
                     CKR_SESSION_EXISTS);
    assert_int_equal(C_CloseAllSessions(FAKE_SLOT), CKR_OK);
    assert_int_equal(C_GetSessionInfo(rw, &info), CKR_SESSION_HANDLE_INVALID);
}

static void initialising_takes_any_sane_arguments(void **state)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_CREATEMUTEX create = (CK_CREATEMUTEX)(uintptr_t)1;
    (void)state;

    assert_int_equal(C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    assert_int_equal(C_Finalize(&args), CKR_ARGUMENTS_BAD);
    assert_int_equal(C_Finalize(NULL), CKR_OK);
    assert_int_equal(C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    args.pReserved = &args;
    assert_int_equal(C_Initialize(&args), CKR_ARGUMENTS_BAD);
    args.pReserved = NULL;
    args.CreateMutex = create;
    assert_int_equal(C_Initialize(&args), CKR_ARGUMENTS_BAD);
    args.DestroyMutex = args.LockMutex = args.UnlockMutex = (CK_LOCKMUTEX)(uintptr_t)1;
    args.flags = 0;
    assert_int_equal(C_Initialize(&args), CKR_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(C_Finalize(NULL), CKR_OK);
        assert_int_equal(C_Initialize(NULL), CKR_OK);
    }
}

static void public_session_keys_are_kept_and_used_here(void **state)
{
    static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_EC;
    CK_BBOOL yes = 1, no = 0;
    uint8_t point[67], signature[64];
    CK_SESSION_HANDLE s = fake_open(false);
    CK_OBJECT_HANDLE key = 0, copy = 0, private, stored = fake_find(s, CKO_PUBLIC_KEY);
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
    CK_ULONG n = sizeof(signature);
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_DERIVE, &yes, 1},
        {CKA_VERIFY, &yes, 1},
        {CKA_EC_PARAMS, (void *)p256, sizeof(p256)},
        {CKA_TOKEN, &no, 1},
        {CKA_EC_POINT, point, sizeof(point)},
    };
    (void)state;

    assert_int_equal(C_GetAttributeValue(s, stored, &template[6], 1), CKR_OK);
    assert_int_equal(C_CreateObject(s, template, 6, &key), CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(C_CreateObject(s, template, 7, &key), CKR_OK);
    fake_login(s);
    private = fake_find(s, CKO_PRIVATE_KEY);
    assert_int_equal(C_SignInit(s, &ecdsa, private), CKR_OK);
    assert_int_equal(C_Sign(s, point, 32, signature, &n), CKR_OK);
    assert_int_equal(C_CopyObject(s, key, NULL, 0, &copy), CKR_OK);
    assert_int_equal(C_DestroyObject(s, key), CKR_OK);
    assert_int_equal(C_VerifyInit(s, &ecdsa, key), CKR_KEY_HANDLE_INVALID);
    assert_int_equal(C_VerifyInit(s, &ecdsa, copy), CKR_OK);
    assert_int_equal(C_Verify(s, point, 32, signature, 64), CKR_OK);
    assert_int_equal(C_CopyObject(s, private, &template[5], 1, &copy), CKR_OK); /* the provider's key cache */
    assert_int_equal(C_DestroyObject(s, copy), CKR_OK);
    assert_int_equal(C_CopyObject(s, 0, &template[5], 1, &copy), CKR_OBJECT_HANDLE_INVALID);
    point[40] ^= 1;
    assert_int_equal(C_CreateObject(s, template, 7, &key), CKR_ATTRIBUTE_VALUE_INVALID); /* not on the curve */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(handles_are_never_given_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(an_object_that_is_found_twice_keeps_its_handle, setup, teardown),
        cmocka_unit_test_setup_teardown(session_objects_end_with_their_session, setup, teardown),
        cmocka_unit_test_setup_teardown(thousands_of_handles_stay_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_follow_the_standard, setup, teardown),
        cmocka_unit_test_setup_teardown(initialising_takes_any_sane_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(public_session_keys_are_kept_and_used_here, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
