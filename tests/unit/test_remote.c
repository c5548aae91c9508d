/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_client.h"

#include "../../module/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static CK_SESSION_HANDLE session;
static CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};

static int setup(void **state)
{
    (void)state;
    fake_start();
    session = fake_open(true);
    fake_login(session);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

static CK_RV sign(CK_OBJECT_HANDLE key)
{
    uint8_t out[64];
    CK_ULONG n = sizeof(out);
    CK_RV rv = C_SignInit(session, &ecdsa, key);

    return rv != CKR_OK ? rv : C_Sign(session, (CK_BYTE *)"12345678901234567890123456789012", 32, out, &n);
}

static CK_STATE state_of(CK_SESSION_HANDLE s)
{
    CK_SESSION_INFO info;

    assert_int_equal(C_GetSessionInfo(s, &info), CKR_OK);
    return info.state;
}

static void a_ticket_is_renewed_past_half_of_its_life(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_PRIVATE_KEY);
    (void)state;

    assert_int_equal(sign(key), CKR_OK);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_TICKET_RENEW], 0);
    fake.expires_ms = 0; /* the next one is old at once */
    assert_int_equal(C_Logout(session), CKR_OK);
    fake_login(session);
    fake.expires_ms = 3600000; /* of the renewed one, whichever call renews it */
    usleep(2000);
    key = fake_find(session, CKO_PRIVATE_KEY);
    assert_int_equal(sign(key), CKR_OK);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_TICKET_RENEW], 1);
    assert_int_equal(sign(key), CKR_OK);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_TICKET_RENEW], 1);
}

static void a_dead_ticket_makes_sessions_public_and_keeps_handles(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_PRIVATE_KEY);
    (void)state;

    fake.ticket++; /* as after a change of the PIN */
    fake.is_renewable = false;
    assert_int_equal(sign(key), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(state_of(session), CKS_RW_PUBLIC_SESSION);
    assert_int_equal(sign(key), CKR_USER_NOT_LOGGED_IN);
    fake_login(session);
    assert_int_equal(sign(key), CKR_OK);
}

static void a_refusal_with_a_live_ticket_is_no_logout(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_PRIVATE_KEY);
    (void)state;

    fake.refusal = CKR_USER_NOT_LOGGED_IN;
    assert_int_equal(sign(key), CKR_OK); /* asked again with a fresh ticket */
    assert_int_equal(state_of(session), CKS_RW_USER_FUNCTIONS);
}

static void an_outage_loses_nothing(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_PRIVATE_KEY);
    (void)state;

    fake.is_down = true;
    assert_int_equal(sign(key), CKR_DEVICE_ERROR);
    assert_int_equal(state_of(session), CKS_RW_USER_FUNCTIONS);
    fake.is_down = false;
    assert_int_equal(sign(key), CKR_OK);
}

static void changes_are_numbered_and_acknowledged(void **state)
{
    uint64_t first;
    (void)state;

    /* the fake does not really destroy: a find brings the object back */
    for (uint64_t i = 1; i <= 9; i++) {
        assert_int_equal(C_DestroyObject(session, fake_find(session, CKO_PUBLIC_KEY)), CKR_OK);
        if (i == 1)
            first = fake.last_change.number;
        assert_int_equal(fake.last_change.number, first + i - 1);
        assert_int_equal(fake.last_change.acked, first + i - 2);
    }
}

static void an_unknown_registration_is_made_anew(void **state)
{
    unsigned registered;
    (void)state;

    assert_int_equal(C_DestroyObject(session, fake_find(session, CKO_PUBLIC_KEY)), CKR_OK);
    registered = fake.calls[KMW__REQUEST__OP_CLIENT_REGISTER];
    fake.session++; /* the cluster forgot ours */
    assert_int_equal(C_DestroyObject(session, fake_find(session, CKO_PUBLIC_KEY)), CKR_OK);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_CLIENT_REGISTER], registered + 1);
    assert_int_equal(fake.last_change.number, 1);
}

static CK_RV read_type(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, void *to, CK_ULONG *len)
{
    CK_ATTRIBUTE attr = {type, to, *len};
    CK_RV rv = C_GetAttributeValue(session, key, &attr, 1);

    *len = attr.ulValueLen;
    return rv;
}

static void what_can_change_is_asked_for_once_a_reading(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_SECRET_KEY);
    unsigned *gets = &fake.calls[KMW__REQUEST__OP_OBJECT_GET];
    char label[8];
    CK_ULONG len = 0;
    (void)state;

    assert_int_equal(read_type(key, CKA_LABEL, NULL, &len), CKR_OK); /* length, then value: one reading */
    assert_int_equal(*gets, 1);
    assert_int_equal(read_type(key, CKA_LABEL, label, &len), CKR_OK);
    assert_memory_equal(label, "aes", 3);
    assert_int_equal(*gets, 1);
    assert_int_equal(read_type(key, CKA_LABEL, label, &len), CKR_OK); /* that one is over */
    assert_int_equal(*gets, 2);
    len = 0;
    assert_int_equal(read_type(key, CKA_LABEL, NULL, &len), CKR_OK);
    fake.token_version++; /* another program changed something; a search tells us */
    fake_find(session, CKO_PUBLIC_KEY);
    assert_int_equal(read_type(key, CKA_LABEL, label, &len), CKR_OK);
    assert_int_equal(*gets, 4);
}

static void what_stays_is_read_once(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_SECRET_KEY);
    CK_ULONG value, len = sizeof(value);
    CK_BBOOL yes;
    (void)state;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_type(key, CKA_KEY_TYPE, &value, &len), CKR_OK);
        assert_int_equal(value, CKK_AES);
        assert_int_equal(read_type(key, CKA_TOKEN, &yes, &(CK_ULONG){1}), CKR_OK);
    }
    assert_int_equal(fake.calls[KMW__REQUEST__OP_OBJECT_GET], 0);
    fake.token_version++;
    fake_find(session, CKO_PUBLIC_KEY);
    assert_int_equal(read_type(key, CKA_KEY_TYPE, &value, &len), CKR_OK);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_OBJECT_GET], 0);
}

static void a_search_is_one_reading_of_what_it_finds(void **state)
{
    CK_OBJECT_HANDLE key;
    CK_ULONG n = 0, len;
    char label[8];
    (void)state;

    assert_int_equal(C_FindObjectsInit(session, &(CK_ATTRIBUTE){CKA_LABEL, "aes", 3}, 1), CKR_OK);
    assert_int_equal(C_FindObjects(session, &key, 1, &n), CKR_OK);
    assert_int_equal(n, 1);
    for (int i = 0; i < 3; i++) {
        len = sizeof(label);
        assert_int_equal(read_type(key, CKA_LABEL, label, &len), CKR_OK);
    }
    assert_int_equal(fake.calls[KMW__REQUEST__OP_OBJECT_GET], 0);
    assert_int_equal(C_FindObjectsFinal(session), CKR_OK);
    len = sizeof(label);
    assert_int_equal(read_type(key, CKA_LABEL, label, &len), CKR_OK);
    assert_int_equal(fake.calls[KMW__REQUEST__OP_OBJECT_GET], 1);
}

static void a_template_may_lie_under_its_buffers(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_SECRET_KEY);
    CK_ATTRIBUTE attrs[3], many[KM_ATTRS_MAX + 1];
    char label[8];
    (void)state;

    attrs[0] = (CK_ATTRIBUTE){CKA_LABEL, &attrs[1], sizeof(attrs[1])};
    attrs[1] = (CK_ATTRIBUTE){CKA_LABEL, label, sizeof(label)};
    attrs[2] = (CK_ATTRIBUTE){CKA_LABEL, attrs, sizeof(attrs)};
    assert_int_equal(C_GetAttributeValue(session, key, attrs, 3), CKR_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(attrs[i].ulValueLen, 3);
    assert_memory_equal(label, "aes", 3);
    for (int i = 0; i <= KM_ATTRS_MAX; i++)
        many[i] = (CK_ATTRIBUTE){CKA_LABEL, NULL, 0};
    assert_int_equal(C_GetAttributeValue(session, key, many, KM_ATTRS_MAX), CKR_OK);
    assert_int_equal(many[KM_ATTRS_MAX - 1].ulValueLen, 3);
    assert_int_equal(C_GetAttributeValue(session, key, many, KM_ATTRS_MAX + 1), CKR_ARGUMENTS_BAD);
    assert_int_equal(C_GetAttributeValue(session, key, many, ~0UL), CKR_ARGUMENTS_BAD);
}

static void good_attributes_come_beside_bad_ones(void **state)
{
    CK_OBJECT_HANDLE key = fake_find(session, CKO_SECRET_KEY);
    char label[8], small[1];
    uint8_t value[64];
    CK_ATTRIBUTE attrs[] = {{CKA_VALUE, value, sizeof(value)},
                            {CKA_LABEL, label, sizeof(label)},
                            {0x80001234, value, sizeof(value)},
                            {CKA_LABEL, small, 1},
                            {CKA_MODULUS, NULL, 0}};
    (void)state;

    assert_int_equal(C_GetAttributeValue(session, key, attrs, 5), CKR_ATTRIBUTE_SENSITIVE);
    assert_true(attrs[0].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(attrs[1].ulValueLen, 3);
    assert_memory_equal(label, "aes", 3);
    for (int i = 2; i < 5; i++)
        assert_true(attrs[i].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(C_GetAttributeValue(session, key, attrs + 2, 1), CKR_ATTRIBUTE_TYPE_INVALID);
    attrs[3].ulValueLen = 1;
    assert_int_equal(C_GetAttributeValue(session, key, attrs + 3, 1), CKR_BUFFER_TOO_SMALL);
}

/* --- fork --- */

static int in_child(CK_RV (*run)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(run() == CKR_OK ? 0 : 1);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static CK_OBJECT_HANDLE inherited;

static CK_RV goes_straight_on(void)
{
    unsigned registered = fake.calls[KMW__REQUEST__OP_CLIENT_REGISTER];
    CK_RV rv = sign(inherited);

    if (rv == CKR_OK)
        rv = C_DestroyObject(session, fake_find(session, CKO_PUBLIC_KEY));
    return rv == CKR_OK && fake.calls[KMW__REQUEST__OP_CLIENT_REGISTER] != registered + 1 ? CKR_GENERAL_ERROR : rv;
}

static CK_RV initialises(void)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_RV rv = C_Initialize(&args);

    if (rv != CKR_OK || sign(inherited) != CKR_SESSION_HANDLE_INVALID ||
        C_Initialize(NULL) != CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return CKR_GENERAL_ERROR;
    session = fake_open(false);
    fake_login(session);
    return sign(fake_find(session, CKO_PRIVATE_KEY));
}

static CK_RV finalises(void)
{
    CK_RV rv = C_Finalize(NULL);

    if (rv != CKR_OK || C_GetInfo(&(CK_INFO){{0}, {0}, 0, {0}, {0}}) != CKR_CRYPTOKI_NOT_INITIALIZED)
        return CKR_GENERAL_ERROR;
    rv = C_Initialize(NULL);
    session = fake_open(false);
    fake_login(session);
    return rv != CKR_OK ? rv : sign(fake_find(session, CKO_PRIVATE_KEY));
}

static CK_RV forks_again(void)
{
    return in_child(goes_straight_on) == 0 && in_child(initialises) == 0 ? sign(inherited) : CKR_GENERAL_ERROR;
}

static void a_child_goes_on_as_it_likes(void **state)
{
    (void)state;
    inherited = fake_find(session, CKO_PRIVATE_KEY);
    assert_int_equal(C_DestroyObject(session, fake_find(session, CKO_PUBLIC_KEY)), CKR_OK); /* registered */
    assert_int_equal(in_child(goes_straight_on), 0);
    assert_int_equal(in_child(initialises), 0);
    assert_int_equal(in_child(finalises), 0);
    assert_int_equal(in_child(forks_again), 0);
    assert_int_equal(sign(inherited), CKR_OK);
    assert_int_equal(state_of(session), CKS_RW_USER_FUNCTIONS);
}

static atomic_bool stop_hammering;

static void *hammer(void *arg)
{
    CK_SESSION_HANDLE s;
    uint8_t out[64];
    CK_ULONG n;
    (void)arg;

    while (!stop_hammering) {
        s = fake_open(false);
        C_SignInit(s, &ecdsa, inherited);
        n = sizeof(out);
        C_Sign(s, (CK_BYTE *)"12345678901234567890123456789012", 32, out, &n);
        C_CloseSession(s);
    }
    return NULL;
}

static CK_RV opens_and_lists(void)
{
    CK_SESSION_HANDLE s = 0;
    CK_RV rv = C_OpenSession(FAKE_SLOT, CKF_SERIAL_SESSION, NULL, NULL, &s);

    alarm(10);
    for (CK_SESSION_HANDLE h = 1; h < s; h++)
        C_CloseSession(h);
    return rv != CKR_OK ? rv : C_CloseAllSessions(FAKE_SLOT);
}

/* The parent's other threads hold locks and sessions at the moment of the fork. */
static void a_child_of_a_busy_parent_does_not_hang(void **state)
{
    pthread_t threads[2];
    (void)state;

    inherited = fake_find(session, CKO_PRIVATE_KEY);
    stop_hammering = false;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, hammer, NULL);
    for (int i = 0; i < 50; i++)
        assert_int_equal(in_child(opens_and_lists), 0);
    stop_hammering = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(sign(inherited), CKR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_ticket_is_renewed_past_half_of_its_life, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_ticket_makes_sessions_public_and_keeps_handles, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refusal_with_a_live_ticket_is_no_logout, setup, teardown),
        cmocka_unit_test_setup_teardown(an_outage_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_are_numbered_and_acknowledged, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unknown_registration_is_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(what_can_change_is_asked_for_once_a_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(what_stays_is_read_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_search_is_one_reading_of_what_it_finds, setup, teardown),
        cmocka_unit_test_setup_teardown(a_template_may_lie_under_its_buffers, setup, teardown),
        cmocka_unit_test_setup_teardown(good_attributes_come_beside_bad_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_goes_on_as_it_likes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_of_a_busy_parent_does_not_hang, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
