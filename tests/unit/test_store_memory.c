/* SPDX-License-Identifier: Apache-2.0
 *
 * No memory: applying stops the process with a clear message, since going on would make this server differ from the
 * others for good; a snapshot is given up and can be tried again. Linked with --wrap for calloc and realloc.
 */
#include "store_fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long calloc_left = -1, realloc_left = -1; /* allocations until one fails; -1: none does */

void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
    return calloc_left >= 0 && calloc_left-- == 0 ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return realloc_left >= 0 && realloc_left-- == 0 ? NULL : __real_realloc(old, size);
}

static const uint8_t registration[] = {0x08, 0x01, 0x82, 0x01, 0x03, 0x0a, 0x01, 'x'};

/* In a child: applies a registration whose allocation number `left` fails. Returns how it ended, and its last words. */
static int apply_in_child(struct km_store *store, long left, char *ret_words, size_t size)
{
    int words[2], status;
    assert_int_equal(pipe(words), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        Kml__Result *result = NULL;
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL); /* cmocka's would report and exit */
        dup2(words[1], STDERR_FILENO);
        calloc_left = left;
        _exit(km_store_apply(store, 1, registration, sizeof(registration), &result) ? 1 : 0);
    }
    close(words[1]);
    ssize_t n = read(words[0], ret_words, size - 1);
    ret_words[n > 0 ? n : 0] = 0;
    close(words[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void a_command_that_cannot_be_applied_stops_the_process(void **state)
{
    (void)state;
    struct fixture f;
    char words[256];
    long left = 0;
    fixture_init(&f);
    for (;; left++) {
        int status = apply_in_child(f.store, left, words, sizeof(words));
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            break; /* it needs no more than that */
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        assert_non_null(strstr(words, "out of memory while applying the log"));
    }
    assert_true(left >= 3); /* client, its identity, result */
    fixture_fini(&f);
}

static void a_snapshot_without_memory_can_be_tried_again(void **state)
{
    (void)state;
    struct fixture f;
    struct thing thing = {.id = 7, .token = 1, .instance = 1, .version = 1, .class = CKO_DATA, .label = "label"};
    uint8_t *data = NULL, before[32];
    size_t len = 0;
    enum km_err err = KM_ERR_NOMEM;
    fixture_init(&f);
    rv_of(token_init(&f, 1, 1, 0, (struct asker){0}));
    rv_of(object_create(&f, &thing, 1, (struct asker){0}));
    memcpy(before, digest_of(&f), 32);
    for (long left = 0; err; left++) {
        realloc_left = left;
        err = km_store_snapshot(f.store, &data, &len);
        realloc_left = -1;
        assert_true(err == KM_OK || err == KM_ERR_NOMEM);
        assert_true((err == KM_OK) == (data != NULL));
        assert_true(left > 0 || err);
    }
    for (long left = 0; left < 2; left++) {
        uint8_t *other = NULL;
        calloc_left = left;
        assert_int_equal(km_store_snapshot(f.store, &other, &len), KM_ERR_NOMEM);
        calloc_left = -1;
        assert_null(other);
    }
    assert_memory_equal(before, digest_of(&f), 32);
    free(data);
    assert_int_equal(km_store_snapshot(f.store, &data, &len), KM_OK);
    assert_int_equal(km_store_restore(f.store, data, len), KM_OK);
    free(data);
    fixture_fini(&f);
}

static void no_store_without_memory(void **state)
{
    (void)state;
    for (long left = 0; left < 2; left++) {
        calloc_left = left;
        assert_null(km_store_new());
        calloc_left = -1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_that_cannot_be_applied_stops_the_process),
        cmocka_unit_test(a_snapshot_without_memory_can_be_tried_again),
        cmocka_unit_test(no_store_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
