/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions around the operations: interfaces, cancelling, saved states, two operations at once, many messages,
 * slot events.
 */
#include "fake_client.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

static CK_SESSION_HANDLE s;
static CK_OBJECT_HANDLE aes, public, private;
static uint8_t iv[16] = "initial  vector";
static CK_MECHANISM cbc = {CKM_AES_CBC, iv, 16}, sha256 = {CKM_SHA256, NULL, 0}, ecdsa = {CKM_ECDSA_SHA256, NULL, 0};

#define RV(call, rv) assert_int_equal(call, rv)
#define OK(call) RV(call, CKR_OK)
#define BYTES(text) (CK_BYTE *)(text), strlen(text)
#define PKCS11 (CK_UTF8CHAR *)"PKCS 11"

static int setup(void **state)
{
    (void)state;
    fake_start();
    s = fake_open(true);
    fake_login(s);
    aes = fake_find(s, CKO_SECRET_KEY);
    public = fake_find(s, CKO_PUBLIC_KEY);
    private = fake_find(s, CKO_PRIVATE_KEY);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

static void check_list(const void *list, size_t n)
{
    void *const *functions = (void *const *)list + 1;

    for (size_t i = 0; i < n; i++)
        assert_non_null(functions[i]);
}

static void three_interfaces_are_complete(void **state)
{
    const struct {
        CK_VERSION version;
        size_t n;
    } expected[] = {{{3, 2}, 104}, {{3, 0}, 92}, {{2, 40}, 68}};
    CK_INTERFACE list[3], *one = NULL;
    CK_FUNCTION_LIST *old = NULL;
    CK_FUNCTION_LIST_3_2 *new;
    CK_INFO info;
    CK_ULONG n = 2;
    (void)state;

    RV(C_GetInterfaceList(list, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(n, 3);
    OK(C_GetInterfaceList(list, &n));
    OK(C_GetFunctionList(&old));
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal((char *)list[i].pInterfaceName, "PKCS 11");
        assert_int_equal(list[i].flags, CKF_INTERFACE_FORK_SAFE);
        OK(C_GetInterface(PKCS11, (CK_VERSION *)&expected[i].version, &one, CKF_INTERFACE_FORK_SAFE));
        assert_ptr_equal(one->pFunctionList, list[i].pFunctionList);
        check_list(one->pFunctionList, expected[i].n);
        OK(((CK_FUNCTION_LIST *)one->pFunctionList)->C_GetInfo(&info));
        assert_memory_equal(&info.cryptokiVersion, &expected[i].version, sizeof(CK_VERSION));
        assert_memory_equal(one->pFunctionList, &expected[i].version, sizeof(CK_VERSION));
    }
    assert_ptr_equal(old, list[2].pFunctionList);
    OK(C_GetInterface(NULL, NULL, &one, 0));
    new = one->pFunctionList;
    assert_int_equal(new->version.minor, 2);
    assert_ptr_equal(new->C_UnwrapKeyAuthenticated, C_UnwrapKeyAuthenticated);
    assert_ptr_equal(new->C_LoginUser, C_LoginUser);
    RV(C_GetInterface((CK_UTF8CHAR *)"Vendor", NULL, &one, 0), CKR_FUNCTION_FAILED);
    RV(C_GetInterface(PKCS11, &(CK_VERSION){3, 7}, &one, 0), CKR_FUNCTION_FAILED);
    RV(C_GetInterface(PKCS11, NULL, &one, 0x80), CKR_FUNCTION_FAILED);
}

static void what_is_not_offered_says_so(void **state)
{
    CK_SESSION_HANDLE other;
    CK_FLAGS flags = 77;
    CK_ULONG id;
    (void)state;

    RV(C_GetFunctionStatus(0), CKR_FUNCTION_NOT_PARALLEL);
    RV(C_CancelFunction(0), CKR_FUNCTION_NOT_PARALLEL);
    RV(C_SeedRandom(s, BYTES("x")), CKR_RANDOM_SEED_NOT_SUPPORTED);
    RV(C_OpenSession(FAKE_SLOT, CKF_SERIAL_SESSION | CKF_ASYNC_SESSION, NULL, NULL, &other),
       CKR_SESSION_ASYNC_NOT_SUPPORTED);
    RV(C_AsyncComplete(s, (CK_UTF8CHAR *)"C_Sign", NULL), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_AsyncComplete(4711, (CK_UTF8CHAR *)"C_Sign", NULL), CKR_SESSION_HANDLE_INVALID);
    RV(C_AsyncGetID(s, (CK_UTF8CHAR *)"C_Sign", &id), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_AsyncGetID(s, NULL, &id), CKR_ARGUMENTS_BAD);
    RV(C_AsyncJoin(s, (CK_UTF8CHAR *)"C_Sign", 1, NULL, 0), CKR_SAVED_STATE_INVALID);
    OK(C_GetSessionValidationFlags(s, CKS_LAST_VALIDATION_OK, &flags));
    assert_int_equal(flags, 0);
    RV(C_GetSessionValidationFlags(s, 9, &flags), CKR_ARGUMENTS_BAD);
    RV(C_GetSessionValidationFlags(s, CKS_LAST_VALIDATION_OK, NULL), CKR_ARGUMENTS_BAD);
}

static void a_user_without_a_name_logs_in(void **state)
{
    (void)state;
    OK(C_Logout(s));
    RV(C_LoginUser(s, CKU_USER, BYTES(FAKE_PIN), BYTES("somebody")), CKR_ARGUMENTS_BAD);
    RV(C_LoginUser(4711, CKU_USER, BYTES(FAKE_PIN), BYTES("somebody")), CKR_SESSION_HANDLE_INVALID);
    OK(C_LoginUser(s, CKU_USER, BYTES(FAKE_PIN), NULL, 0));
    RV(C_LoginUser(s, CKU_USER, BYTES(FAKE_PIN), NULL, 0), CKR_USER_ALREADY_LOGGED_IN);
}

/* Each Init, and the first call after it that needs it. */
static void operations_are_cancelled(void **state)
{
    uint8_t out[64];
    CK_ULONG n = sizeof(out);
    (void)state;

    OK(C_EncryptInit(s, &cbc, aes));
    RV(C_EncryptInit(s, &cbc, aes), CKR_OPERATION_ACTIVE);
    OK(C_EncryptInit(s, NULL, 0));
    RV(C_EncryptUpdate(s, BYTES("x"), out, &n), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_EncryptInit(s, NULL, 0), CKR_ARGUMENTS_BAD); /* there is none */

    OK(C_SignInit(s, &ecdsa, private));
    OK(C_DigestInit(s, &sha256));
    OK(C_VerifyInit(s, &ecdsa, public));
    OK(C_FindObjectsInit(s, NULL, 0));
    OK(C_SessionCancel(s, 0));
    OK(C_SignUpdate(s, BYTES("x")));
    OK(C_SessionCancel(s, CKF_SIGN | CKF_FIND_OBJECTS | CKF_DECRYPT | CKF_WRAP));
    RV(C_SignUpdate(s, BYTES("x")), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_FindObjectsFinal(s), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DigestUpdate(s, BYTES("x"))); /* the others go on */
    OK(C_VerifyUpdate(s, BYTES("x")));
    OK(C_SessionCancel(s, ~0UL));
    RV(C_DigestUpdate(s, BYTES("x")), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_VerifyUpdate(s, BYTES("x")), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_SessionCancel(4711, 0), CKR_SESSION_HANDLE_INVALID);
}

/* --- saved states --- */

static void digest_of(const char *text, uint8_t ret[32])
{
    EVP_Digest(text, strlen(text), ret, NULL, EVP_sha256(), NULL);
}

static void a_digest_goes_on_in_another_session(void **state)
{
    CK_SESSION_HANDLE other = fake_open(false);
    uint8_t saved[512], out[32], expected[32];
    CK_ULONG n = 0, out_len = 32;
    (void)state;

    digest_of("one two three", expected);
    RV(C_GetOperationState(s, NULL, &n), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DigestInit(s, &sha256));
    OK(C_DigestUpdate(s, BYTES("one ")));
    OK(C_DigestUpdate(s, BYTES("two ")));
    OK(C_GetOperationState(s, NULL, &n));
    assert_int_equal(n, 4 + 8 + 16 + 8 + 32);
    n--;
    RV(C_GetOperationState(s, saved, &n), CKR_BUFFER_TOO_SMALL);
    OK(C_GetOperationState(s, saved, &n));
    OK(C_DigestUpdate(s, BYTES("three"))); /* saving changed nothing */
    OK(C_DigestFinal(s, out, &out_len));
    assert_memory_equal(out, expected, 32);

    OK(C_DigestInit(other, &sha256));
    OK(C_DigestUpdate(other, BYTES("gone")));
    OK(C_SetOperationState(other, saved, n, 0, 0));
    OK(C_DigestUpdate(other, BYTES("three")));
    OK(C_DigestFinal(other, out, &out_len));
    assert_memory_equal(out, expected, 32);
    OK(C_SetOperationState(s, saved, n, 0, 0)); /* again */
    RV(C_Digest(s, BYTES("three"), out, &out_len), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_SetOperationState(s, saved, n, aes, 0), CKR_KEY_NOT_NEEDED);
    RV(C_SetOperationState(s, NULL, n, 0, 0), CKR_ARGUMENTS_BAD);
}

static void a_damaged_state_is_refused(void **state)
{
    uint8_t saved[512];
    CK_ULONG n = sizeof(saved);
    (void)state;

    OK(C_DigestInit(s, &sha256));
    OK(C_DigestUpdate(s, BYTES("something")));
    OK(C_GetOperationState(s, saved, &n));
    for (CK_ULONG i = 0; i < n; i++) {
        saved[i] ^= 1;
        RV(C_SetOperationState(s, saved, n, 0, 0), CKR_SAVED_STATE_INVALID);
        saved[i] ^= 1;
        RV(C_SetOperationState(s, saved, i, 0, 0), CKR_SAVED_STATE_INVALID);
    }
    OK(C_DigestUpdate(s, BYTES("more"))); /* it was not touched */
    OK(C_SetOperationState(s, saved, n, 0, 0));
}

static void some_states_cannot_be_saved(void **state)
{
    static uint8_t part[1024];
    CK_ULONG n = 0;
    (void)state;

    OK(C_DigestInit(s, &sha256));
    for (int i = 0; i < 64; i++)
        OK(C_DigestUpdate(s, part, sizeof(part)));
    OK(C_GetOperationState(s, NULL, &n));
    OK(C_DigestUpdate(s, part, 1));
    RV(C_GetOperationState(s, NULL, &n), CKR_STATE_UNSAVEABLE);
    OK(C_SessionCancel(s, CKF_DIGEST));
    OK(C_DigestInit(s, &sha256));
    OK(C_GetOperationState(s, NULL, &n));
    OK(C_SignInit(s, &ecdsa, private));
    RV(C_GetOperationState(s, NULL, &n), CKR_STATE_UNSAVEABLE);
    OK(C_SessionCancel(s, CKF_DIGEST));
    RV(C_GetOperationState(s, NULL, &n), CKR_STATE_UNSAVEABLE);
    RV(C_GetOperationState(s, NULL, NULL), CKR_ARGUMENTS_BAD);
}

static void a_sensitive_key_is_not_digested(void **state)
{
    (void)state;
    RV(C_DigestKey(s, aes), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DigestInit(s, &sha256));
    RV(C_DigestKey(s, aes), CKR_KEY_INDIGESTIBLE);
    OK(C_DigestInit(s, &sha256));
    RV(C_DigestKey(s, public), CKR_KEY_INDIGESTIBLE);
    OK(C_DigestInit(s, &sha256));
    RV(C_DigestKey(s, 4711), CKR_KEY_HANDLE_INVALID);
}

/* --- two at once --- */

static void one_pass_encrypts_and_digests(void **state)
{
    char text[] = "forty bytes of plaintext, more or less..";
    uint8_t out[64], hash[32], expected[32], cipher[64];
    CK_ULONG n = sizeof(out), m, hash_len = 32;
    (void)state;

    digest_of(text, expected);
    RV(C_DigestEncryptUpdate(s, BYTES("x"), out, &n), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DigestInit(s, &sha256));
    RV(C_DigestEncryptUpdate(s, BYTES("x"), out, &n), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_EncryptInit(s, &(CK_MECHANISM){CKM_AES_CBC_PAD, iv, 16}, aes));
    OK(C_DigestEncryptUpdate(s, BYTES(text), NULL, &n)); /* how long? */
    assert_int_equal(n, 32);
    n = 31;
    RV(C_DigestEncryptUpdate(s, BYTES(text), out, &n), CKR_BUFFER_TOO_SMALL);
    memcpy(out, text, 40);
    n = sizeof(out);
    OK(C_DigestEncryptUpdate(s, out, 40, out, &n)); /* in place: the digest is the plaintext's */
    m = sizeof(out) - n;
    OK(C_EncryptFinal(s, out + n, &m));
    OK(C_DigestFinal(s, hash, &hash_len));
    assert_memory_equal(hash, expected, 32);
    assert_int_equal(fake_aes("AES-256-CBC", true, true, iv, (uint8_t *)text, 40, cipher), n + m);
    assert_memory_equal(out, cipher, n + m);

    OK(C_DigestInit(s, &sha256));
    OK(C_DecryptInit(s, &(CK_MECHANISM){CKM_AES_CBC_PAD, iv, 16}, aes));
    n = sizeof(out);
    OK(C_DecryptDigestUpdate(s, cipher, 48, out, &n));
    assert_int_equal(n, 32);
    m = sizeof(out) - n;
    OK(C_DecryptFinal(s, out + n, &m));
    OK(C_DigestUpdate(s, out + n, m));
    OK(C_DigestFinal(s, hash, &hash_len));
    assert_memory_equal(hash, expected, 32);
    assert_memory_equal(out, text, 40);
}

static void one_pass_signs_and_verifies(void **state)
{
    uint8_t text[32] = "two blocks of text, all in all.", out[32], plain[32], signature[64];
    CK_ULONG n = sizeof(out), signature_len = 64;
    (void)state;

    OK(C_EncryptInit(s, &cbc, aes));
    OK(C_SignInit(s, &ecdsa, private));
    OK(C_SignEncryptUpdate(s, text, 32, out, &n));
    OK(C_SignFinal(s, signature, &signature_len));
    OK(C_EncryptFinal(s, NULL, &n));
    OK(C_SessionCancel(s, CKF_ENCRYPT));

    OK(C_DecryptInit(s, &cbc, aes));
    OK(C_VerifyInit(s, &ecdsa, public));
    n = sizeof(plain);
    OK(C_DecryptVerifyUpdate(s, out, 32, plain, &n));
    assert_memory_equal(plain, text, 32);
    OK(C_VerifyFinal(s, signature, 64));

    /* A failing cipher ends, and the other operation has seen nothing. */
    OK(C_SessionCancel(s, CKF_DECRYPT));
    OK(C_EncryptInit(s, &cbc, aes));
    OK(C_SignInit(s, &ecdsa, private));
    fake.refusal = CKR_DEVICE_ERROR;
    n = sizeof(out);
    RV(C_SignEncryptUpdate(s, text, 32, out, &n), CKR_DEVICE_ERROR);
    RV(C_EncryptFinal(s, out, &n), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_SignFinal(s, signature, &signature_len));
    OK(C_VerifyInit(s, &ecdsa, public));
    OK(C_Verify(s, NULL, 0, signature, 64));
}

/* --- signatures --- */

static void sign(const char *text, uint8_t ret[64])
{
    CK_ULONG n = 64;

    OK(C_SignInit(s, &ecdsa, private));
    OK(C_Sign(s, BYTES(text), ret, &n));
}

static void a_signature_may_come_first(void **state)
{
    uint8_t signature[64];
    (void)state;

    sign("text in parts", signature);
    OK(C_VerifySignatureInit(s, &ecdsa, public, signature, 64));
    RV(C_VerifyUpdate(s, BYTES("text")), CKR_OPERATION_NOT_INITIALIZED); /* that is the other kind */
    RV(C_VerifyInit(s, &ecdsa, public), CKR_OPERATION_ACTIVE);
    OK(C_VerifySignature(s, BYTES("text in parts")));
    RV(C_VerifySignature(s, BYTES("text in parts")), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_VerifySignatureInit(s, &ecdsa, public, signature, 64));
    OK(C_VerifySignatureUpdate(s, BYTES("text ")));
    OK(C_VerifySignatureUpdate(s, NULL, 0));
    OK(C_VerifySignatureUpdate(s, BYTES("in parts")));
    OK(C_VerifySignatureFinal(s));
    OK(C_VerifySignatureInit(s, &ecdsa, public, signature, 64));
    OK(C_VerifySignatureUpdate(s, BYTES("text ")));
    RV(C_VerifySignature(s, BYTES("in parts")), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_VerifySignatureFinal(s), CKR_OPERATION_NOT_INITIALIZED); /* the mistake has ended it */

    signature[5] ^= 1;
    OK(C_VerifySignatureInit(s, &ecdsa, public, signature, 64));
    RV(C_VerifySignature(s, BYTES("text in parts")), CKR_SIGNATURE_INVALID);
    OK(C_VerifySignatureInit(s, &ecdsa, public, signature, 63));
    RV(C_VerifySignature(s, BYTES("text in parts")), CKR_SIGNATURE_LEN_RANGE);
    RV(C_VerifySignatureInit(s, &ecdsa, public, NULL, 64), CKR_ARGUMENTS_BAD);
    OK(C_VerifySignatureInit(s, &ecdsa, public, signature, 64));
    OK(C_VerifySignatureInit(s, NULL, 0, NULL, 0));
    OK(C_VerifyInit(s, &ecdsa, public));
    RV(C_VerifySignature(s, BYTES("x")), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_Verify(s, BYTES("text in parts"), signature, 64), CKR_SIGNATURE_INVALID);
}

static void many_messages_are_signed_under_one_key(void **state)
{
    uint8_t one[64], two[64];
    CK_ULONG n = 0;
    (void)state;

    RV(C_SignMessage(s, NULL, 0, BYTES("one"), one, &n), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_MessageSignFinal(s), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_MessageSignInit(s, &ecdsa, private));
    RV(C_MessageSignInit(s, &ecdsa, private), CKR_OPERATION_ACTIVE);
    OK(C_SignMessage(s, NULL, 0, BYTES("one"), NULL, &n));
    assert_int_equal(n, 64);
    n = 63;
    RV(C_SignMessage(s, NULL, 0, BYTES("one"), one, &n), CKR_BUFFER_TOO_SMALL);
    OK(C_SignMessage(s, NULL, 0, BYTES("one"), one, &n));
    RV(C_SignMessageNext(s, NULL, 0, BYTES("two"), two, &n), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_SignMessageBegin(s, NULL, 0));
    RV(C_SignMessageBegin(s, NULL, 0), CKR_OPERATION_ACTIVE);
    RV(C_SignMessage(s, NULL, 0, BYTES("one"), one, &n), CKR_OPERATION_ACTIVE);
    OK(C_SignMessageNext(s, NULL, 0, BYTES("tw"), NULL, NULL));
    RV(C_MessageSignFinal(s), CKR_OPERATION_ACTIVE);
    OK(C_SignMessageNext(s, NULL, 0, BYTES("o"), NULL, &n)); /* how long? */
    OK(C_SignMessageNext(s, NULL, 0, BYTES("o"), two, &n));
    RV(C_SignMessage(s, "parameter", 9, BYTES("one"), one, &n), CKR_MECHANISM_PARAM_INVALID);
    fake.refusal = CKR_DEVICE_ERROR;
    RV(C_SignMessage(s, NULL, 0, BYTES("lost"), one + 0, &n), CKR_DEVICE_ERROR); /* ends the message, not the process */
    OK(C_SignMessage(s, NULL, 0, BYTES("one"), one, &n));
    OK(C_MessageSignFinal(s));

    OK(C_MessageVerifyInit(s, &ecdsa, public));
    OK(C_VerifyMessage(s, NULL, 0, BYTES("one"), one, 64));
    RV(C_VerifyMessage(s, NULL, 0, BYTES("two"), one, 64), CKR_SIGNATURE_INVALID);
    OK(C_VerifyMessageBegin(s, NULL, 0));
    OK(C_VerifyMessageNext(s, NULL, 0, BYTES("t"), NULL, 0));
    RV(C_VerifyMessage(s, NULL, 0, BYTES("one"), one, 64), CKR_OPERATION_ACTIVE);
    OK(C_VerifyMessageNext(s, NULL, 0, BYTES("wo"), two, 64));
    OK(C_VerifyMessage(s, NULL, 0, BYTES("two"), two, 64));
    OK(C_MessageVerifyFinal(s));
    OK(C_MessageVerifyInit(s, &ecdsa, public));
    OK(C_MessageVerifyInit(s, NULL, 0));
    RV(C_MessageVerifyFinal(s), CKR_OPERATION_NOT_INITIALIZED);
    RV(C_MessageEncryptInit(s, &cbc, aes), CKR_MECHANISM_INVALID);
}

/* --- slot events --- */

static void tokens_that_come_and_go_are_told_once(void **state)
{
    CK_SLOT_ID slot = 0;
    (void)state;

    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, NULL, NULL), CKR_ARGUMENTS_BAD);
    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, &slot), CKR_ARGUMENTS_BAD);
    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), CKR_NO_EVENT);
    fake.n_tokens = 2;
    OK(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    assert_int_equal(slot, FAKE_SLOT + 10);
    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), CKR_NO_EVENT);
    fake.n_tokens = 0;
    OK(C_WaitForSlotEvent(0, &slot, NULL)); /* it need not wait */
    OK(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), CKR_NO_EVENT);
    fake.n_tokens = 1;
    fake.is_down = true;
    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), CKR_FUNCTION_FAILED);
    fake.is_down = false;
    OK(C_Finalize(NULL)); /* events are forgotten */
    OK(C_Initialize(NULL));
    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), CKR_NO_EVENT);
}

struct waiter {
    pthread_t thread;
    CK_SLOT_ID slot;
    CK_RV rv;
};

static void *wait_for_event(void *arg)
{
    struct waiter *waiter = arg;

    waiter->rv = C_WaitForSlotEvent(0, &waiter->slot, NULL);
    return NULL;
}

static void who_waits_hears_of_tokens_and_of_the_end(void **state)
{
    struct waiter waiter = {.rv = 4711};
    struct timespec before, after;
    CK_SLOT_ID slot;
    unsigned calls;
    (void)state;

    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), CKR_NO_EVENT);
    calls = fake.n_calls;
    assert_int_equal(pthread_create(&waiter.thread, NULL, wait_for_event, &waiter), 0);
    while (__atomic_load_n(&fake.n_calls, __ATOMIC_RELAXED) == calls) /* it has looked, and waits */
        usleep(1000);
    fake.n_tokens = 2;
    assert_int_equal(pthread_join(waiter.thread, NULL), 0);
    RV(waiter.rv, CKR_OK);
    assert_int_equal(waiter.slot, FAKE_SLOT + 10);

    calls = fake.n_calls;
    assert_int_equal(pthread_create(&waiter.thread, NULL, wait_for_event, &waiter), 0);
    while (__atomic_load_n(&fake.n_calls, __ATOMIC_RELAXED) == calls)
        usleep(1000);
    usleep(100000);
    assert_in_range(fake.n_calls - calls, 1, 3); /* it asks now and then */
    clock_gettime(CLOCK_MONOTONIC, &before);
    OK(C_Finalize(NULL));
    assert_int_equal(pthread_join(waiter.thread, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    RV(waiter.rv, CKR_CRYPTOKI_NOT_INITIALIZED);
    assert_in_range(after.tv_sec - before.tv_sec, 0, 1); /* and is woken */
    OK(C_Initialize(NULL));
}

/* --- mechanisms --- */

static void offer(CK_MECHANISM_TYPE type, CK_FLAGS flags, CK_ULONG min, CK_ULONG max)
{
    Kmw__MechanismInfo *info = &fake.offers[fake.n_offers++];

    kmw__mechanism_info__init(info);
    info->type = type;
    info->flags = flags;
    info->min = min;
    info->max = max;
}

static void only_what_both_know_is_listed(void **state)
{
    CK_MECHANISM_TYPE types[300];
    CK_MECHANISM_INFO info, all;
    CK_MECHANISM gcm = {CKM_AES_GCM, NULL, 0};
    CK_ULONG n = 0, n_all, n_others = 0;
    (void)state;

    OK(C_GetMechanismList(FAKE_SLOT, NULL, &n_all)); /* a server that tells nothing has everything */
    OK(C_GetMechanismInfo(FAKE_SLOT, CKM_AES_GCM, &all));
    OK(C_MessageEncryptInit(s, &gcm, aes));
    OK(C_MessageEncryptInit(s, NULL, 0));

    offer(CKM_AES_CBC, CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP, 24, 64);
    offer(CKM_AES_GCM, CKF_DECRYPT, 16, 32);
    offer(CKM_ECDSA_SHA256, CKF_SIGN | CKF_VERIFY, 600, 700); /* of another size altogether */
    offer(CKM_VENDOR_DEFINED | 5, CKF_SIGN, 1, 2);
    RV(C_WaitForSlotEvent(CKF_DONT_BLOCK, types, NULL), CKR_NO_EVENT); /* fetches the list */
    OK(C_GetMechanismList(FAKE_SLOT, NULL, &n));
    assert_true(n < n_all);
    n--;
    RV(C_GetMechanismList(FAKE_SLOT, types, &n), CKR_BUFFER_TOO_SMALL);
    OK(C_GetMechanismList(FAKE_SLOT, types, &n));
    for (CK_ULONG i = 0; i < n; i++) {
        OK(C_GetMechanismInfo(FAKE_SLOT, types[i], &info));
        n_others += !(info.flags & CKF_DIGEST);
    }
    assert_int_equal(n_others, 2);
    OK(C_GetMechanismInfo(FAKE_SLOT, CKM_AES_CBC, &info));
    assert_int_equal(info.ulMinKeySize, 24);
    assert_int_equal(info.ulMaxKeySize, 32);
    assert_int_equal(info.flags & (CKF_ENCRYPT | CKF_DECRYPT | CKF_SIGN), CKF_ENCRYPT | CKF_DECRYPT);
    OK(C_GetMechanismInfo(FAKE_SLOT, CKM_AES_GCM, &info));
    assert_int_equal(info.flags, all.flags & ~(CKF_ENCRYPT | CKF_MESSAGE_ENCRYPT | CKF_WRAP | CKF_UNWRAP));
    RV(C_GetMechanismInfo(FAKE_SLOT, CKM_ECDSA_SHA256, &info), CKR_MECHANISM_INVALID);
    RV(C_MessageEncryptInit(s, &gcm, aes), CKR_MECHANISM_INVALID);
    RV(C_SignInit(s, &ecdsa, private), CKR_MECHANISM_INVALID);
    OK(C_VerifyInit(s, &ecdsa, public)); /* computed here */
    OK(C_EncryptInit(s, &cbc, aes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(three_interfaces_are_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_offered_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_user_without_a_name_logs_in, setup, teardown),
        cmocka_unit_test_setup_teardown(operations_are_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_digest_goes_on_in_another_session, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_state_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(some_states_cannot_be_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sensitive_key_is_not_digested, setup, teardown),
        cmocka_unit_test_setup_teardown(one_pass_encrypts_and_digests, setup, teardown),
        cmocka_unit_test_setup_teardown(one_pass_signs_and_verifies, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signature_may_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(many_messages_are_signed_under_one_key, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_both_know_is_listed, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_that_come_and_go_are_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_hears_of_tokens_and_of_the_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
