/* SPDX-License-Identifier: Apache-2.0
 *
 * Forks, threads, and a library that is loaded and unloaded again and again, with real sockets.
 */
#include "loop.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8

static CK_SESSION_HANDLE s;
static CK_OBJECT_HANDLE public, private;
static CK_MECHANISM ecdsa = {CKM_ECDSA_SHA256, NULL, 0};

static int setup(void **state)
{
    int rv = loop_setup(state);

    s = loop_login();
    loop_ec_pair(s, "forks", true, &public, &private);
    return rv;
}

static int teardown(void **state)
{
    OK(C_DestroyObject(s, public));
    OK(C_DestroyObject(s, private));
    return loop_teardown(state);
}

static CK_RV sign_in(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    CK_BYTE out[64];
    CK_ULONG n = sizeof(out);
    CK_RV rv = F->C_SignInit(session, &ecdsa, key);

    return rv != CKR_OK ? rv : F->C_Sign(session, BYTES("text"), out, &n);
}

static CK_RV begin_anew(void)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, "forks", 5}};
    CK_OBJECT_HANDLE key = 0;
    CK_SESSION_HANDLE t = 0;
    CK_ULONG n = 0;
    CK_RV rv =
        F->C_OpenSession(loop_slot, CKF_SERIAL_SESSION, NULL, NULL, &t); /* the slot is remembered, nobody lists */

    if (rv == CKR_OK)
        rv = F->C_Login(t, CKU_USER, loop_pin(), loop_pin_len());
    if (rv == CKR_OK)
        rv = F->C_FindObjectsInit(t, template, 2);
    if (rv == CKR_OK)
        rv = F->C_FindObjects(t, &key, 1, &n);
    if (rv == CKR_OK)
        rv = F->C_FindObjectsFinal(t);
    return rv == CKR_OK ? sign_in(t, key) : rv;
}

/* --- what a child does first --- */

static CK_RV straight_on(void)
{
    CK_OBJECT_HANDLE a, b;
    CK_RV rv = sign_in(s, private);

    if (rv != CKR_OK)
        return rv;
    loop_ec_pair(s, "by a child", true, &a, &b); /* a change, numbered under the child's own registration */
    rv = F->C_DestroyObject(s, a);
    return rv == CKR_OK ? F->C_DestroyObject(s, b) : rv;
}

static CK_RV initialize_first(void)
{
    CK_RV rv = F->C_Initialize(NULL);

    return rv == CKR_OK ? begin_anew() : rv;
}

static CK_RV finalize_first(void)
{
    CK_RV rv = F->C_Finalize(NULL);

    if (rv == CKR_OK)
        rv = F->C_Initialize(&(CK_C_INITIALIZE_ARGS){.flags = CKF_OS_LOCKING_OK});
    return rv == CKR_OK ? begin_anew() : rv;
}

static CK_RV finalize_only(void)
{
    return F->C_Finalize(NULL);
}

static void (*leave)(int) = exit; /* with all exit handlers */

static CK_RV in_child(CK_RV (*run)(void))
{
    CK_RV rv = CKR_GENERAL_ERROR;
    int ends[2], status = 0;
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        alarm(60);
        rv = run();
        if (write(ends[1], &rv, sizeof(rv)) != sizeof(rv))
            _exit(1);
        leave(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &rv, sizeof(rv)), sizeof(rv));
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return rv;
}

static CK_RV second_generation(void)
{
    CK_RV rv = in_child(straight_on);

    if (rv == CKR_OK)
        rv = in_child(finalize_first);
    return rv == CKR_OK ? sign_in(s, private) : rv;
}

static void a_child_may_begin_as_it_likes(void **state)
{
    (void)state;
    assert_int_equal(in_child(straight_on), CKR_OK);
    assert_int_equal(in_child(initialize_first), CKR_OK);
    assert_int_equal(in_child(finalize_first), CKR_OK);
    assert_int_equal(in_child(finalize_only), CKR_OK);
    assert_int_equal(in_child(second_generation), CKR_OK);
    for (int i = 0; i < 20; i++) /* nobody has touched the parent's connection */
        assert_int_equal(sign_in(s, private), CKR_OK);
}

/* A parent that stands in the middle of an operation. */
static CK_RV finish_inherited(void)
{
    CK_BYTE out[64];
    CK_ULONG n = sizeof(out);

    return F->C_SignFinal(s, out, &n);
}

static void each_process_has_its_own_operation(void **state)
{
    (void)state;
    OK(C_SignInit(s, &ecdsa, private));
    OK(C_SignUpdate(s, BYTES("te")));
    assert_int_equal(in_child(finish_inherited), CKR_OK);
    OK(C_SignUpdate(s, BYTES("xt")));
    assert_int_equal(finish_inherited(), CKR_OK);
}

/* --- threads --- */

static atomic_int n_begun;

static void *sign_often(void *arg)
{
    CK_SESSION_HANDLE t = 0;
    CK_RV rv = CKR_OK;

    n_begun++;
    for (int i = 0; i < 10 && rv == CKR_OK; i++) {
        rv = F->C_OpenSession(loop_slot, CKF_SERIAL_SESSION, NULL, NULL, &t);
        if (rv == CKR_OK)
            rv = sign_in(t, private);
        if (rv == CKR_OK)
            rv = F->C_CloseSession(t);
    }
    *(CK_RV *)arg = rv;
    return NULL;
}

static CK_RV sign_once(void)
{
    return sign_in(s, private);
}

static void find_again(void)
{
    CK_OBJECT_CLASS classes[] = {CKO_PUBLIC_KEY, CKO_PRIVATE_KEY};
    CK_OBJECT_HANDLE *found[] = {&public, &private};
    CK_ULONG n = 0;

    for (int i = 0; i < 2; i++) {
        CK_ATTRIBUTE template[] = {{CKA_CLASS, &classes[i], sizeof(classes[i])}, {CKA_LABEL, "forks", 5}};
        OK(C_FindObjectsInit(s, template, 2));
        OK(C_FindObjects(s, found[i], 1, &n));
        assert_int_equal(n, 1);
        OK(C_FindObjectsFinal(s));
    }
}

/* The parent's threads are in their handshakes when it forks, and the child needs one too: whatever lock of OpenSSL's
 * they held would stop it there. Without common/forks.c some of these children hang, in the random generator. */
static void children_of_a_busy_parent_work(void **state)
{
    pthread_t threads[THREADS];
    CK_RV rvs[THREADS];
    (void)state;

#ifdef __SANITIZE_ADDRESS__
    skip(); /* its allocator does not survive a fork beside threads */
#endif
    leave = _exit; /* what the parent's threads held is lost to the child, which is no leak */
    for (int round = 0; round < 30; round++) {
        OK(C_Finalize(NULL)); /* no connection is left */
        OK(C_Initialize(NULL));
        s = loop_login();
        find_again();
        n_begun = 0;
        for (int i = 0; i < THREADS; i++)
            pthread_create(&threads[i], NULL, sign_often, &rvs[i]);
        while (n_begun < THREADS / 2)
            usleep(10);
        usleep(round * 50);
        assert_int_equal(in_child(sign_once), CKR_OK);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(rvs[i], CKR_OK);
    }
    leave = exit;
}

/* --- loading --- */

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    int n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

struct leaving {
    CK_RV rv; /* CKR_CANCEL: not used yet */
    pthread_barrier_t closed;
};

static void *use_and_leave(void *arg)
{
    struct leaving *leaving = arg;
    CK_SESSION_HANDLE t = 0;
    CK_BYTE bytes[8];
    CK_RV rv = F->C_OpenSession(loop_slot, CKF_SERIAL_SESSION, NULL, NULL, &t);

    if (rv == CKR_OK)
        rv = F->C_GenerateRandom(t, bytes, sizeof(bytes));
    __atomic_store_n(&leaving->rv, rv, __ATOMIC_RELEASE);
    pthread_barrier_wait(&leaving->closed);
    return NULL; /* after the library was closed: its thread-local data must not bring the thread down */
}

/* In a child, so that the parent's library stays. */
static CK_RV load_and_unload(void)
{
    CK_RV (*get)(CK_FUNCTION_LIST **);
    struct leaving leaving;
    int fds = 0, tasks = count_threads();

    pthread_barrier_init(&leaving.closed, NULL, 2);
    OK(C_Finalize(NULL));
    for (int i = 0; i < 20; i++) {
        void *library = dlopen(getenv("KEYMOOT_MODULE"), RTLD_NOW | RTLD_LOCAL);
        pthread_t thread;
        *(void **)&get = dlsym(library, "C_GetFunctionList");
        if (get(&F) != CKR_OK || F->C_Initialize(NULL) != CKR_OK)
            return CKR_GENERAL_ERROR;
        leaving.rv = CKR_CANCEL;
        pthread_create(&thread, NULL, use_and_leave, &leaving);
        while (__atomic_load_n(&leaving.rv, __ATOMIC_ACQUIRE) == CKR_CANCEL)
            usleep(100);
        if (leaving.rv != CKR_OK)
            return leaving.rv;
        if (i % 2 == 0 && F->C_Finalize(NULL) != CKR_OK)
            return CKR_GENERAL_ERROR;
        dlclose(library);
        pthread_barrier_wait(&leaving.closed);
        pthread_join(thread, NULL);
        if (i % 2 == 1 && F->C_Finalize(NULL) != CKR_OK) /* nodelete: still there */
            return CKR_GENERAL_ERROR;
        if (i == 0)
            fds = count_fds();
    }
    return count_fds() <= fds && count_threads() == tasks ? CKR_OK : CKR_GENERAL_ERROR;
}

static void twenty_rounds_of_loading_leave_nothing_behind(void **state)
{
    (void)state;
    assert_int_equal(in_child(load_and_unload), CKR_OK);
}

static CK_RV storms(void)
{
    CK_RV rv = CKR_OK;

    for (int i = 0; i < 100 && rv == CKR_OK; i++) {
        rv = F->C_Finalize(NULL);
        if (rv == CKR_OK)
            rv = F->C_Initialize(NULL);
    }
    return rv == CKR_OK ? begin_anew() : rv;
}

static void initialising_a_hundred_times_is_fine(void **state)
{
    (void)state;
    assert_int_equal(in_child(storms), CKR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_may_begin_as_it_likes),
        cmocka_unit_test(each_process_has_its_own_operation),
        cmocka_unit_test(children_of_a_busy_parent_work),
        cmocka_unit_test(twenty_rounds_of_loading_leave_nothing_behind),
        cmocka_unit_test(initialising_a_hundred_times_is_fine),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
