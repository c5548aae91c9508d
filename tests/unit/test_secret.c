/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets: locked, left out of dumps, fenced by pages that nobody may touch, moved, wiped, alive in a forked child.
 */
#include "../../common/secret.h"

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The VmFlags of the mapping that begins at `data`; false when there is none. */
static bool flags_of(const void *data, char *ret, size_t len)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    char line[512];
    bool is_in = false, is_found = false;
    while (!is_found && fgets(line, sizeof(line), maps) != NULL) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            is_in = start == (unsigned long)data;
        else if (is_in && strncmp(line, "VmFlags:", 8) == 0) {
            snprintf(ret, len, "%s", line);
            is_found = true;
        }
    }
    fclose(maps);
    return is_found;
}

static void a_secret_is_locked_and_left_out_of_dumps(void **state)
{
    (void)state;
    struct km_secret s;
    char flags[512];
    assert_int_equal(km_secret_new(&s, 32), KM_OK);
    assert_int_equal(s.len, 32);
    for (size_t i = 0; i < s.len; i++)
        assert_int_equal(s.data[i], 0);
    assert_true(flags_of(s.data, flags, sizeof(flags)));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their runtimes make mlock() do nothing */
    assert_non_null(strstr(flags, " lo"));                          /* locked */
#endif
    assert_non_null(strstr(flags, " dd")); /* do not dump */
    km_secret_free(&s);
    assert_null(s.data);
    km_secret_free(&s);
}

static void an_empty_secret_has_memory_too(void **state)
{
    (void)state;
    struct km_secret s;
    assert_int_equal(km_secret_new(&s, 0), KM_OK);
    assert_non_null(s.data);
    assert_int_equal(s.len, 0);
    km_secret_free(&s);
}

static void a_secret_moves_and_is_never_in_two_places(void **state)
{
    (void)state;
    struct km_secret a, b;
    assert_int_equal(km_secret_new(&a, 5), KM_OK);
    memcpy(a.data, "12345", 5);
    b = km_secret_take(&a);
    assert_null(a.data);
    assert_int_equal(a.len, 0);
    assert_memory_equal(b.data, "12345", 5);
    km_secret_free(&b);
}

static void shrinking_wipes_the_rest(void **state)
{
    (void)state;
    struct km_secret s;
    assert_int_equal(km_secret_new(&s, 8), KM_OK);
    memcpy(s.data, "abcdefgh", 8);
    km_secret_shrink(&s, 3);
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.data, "abc\0\0\0\0\0", 8);
    km_secret_free(&s);
}

/* What a child does with a byte beside its secret ends the child. */
static int child_touches(struct km_secret *s, long offset)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        signal(SIGSEGV, SIG_DFL);
        (void)!setrlimit(RLIMIT_CORE, &none);
        *(volatile uint8_t *)(s->data + offset) = 1;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void the_pages_around_a_secret_cannot_be_touched(void **state)
{
    (void)state;
    struct km_secret s;
    assert_int_equal(km_secret_new(&s, 16), KM_OK);
    assert_int_equal(child_touches(&s, 0), 0);
    assert_int_not_equal(child_touches(&s, -1), 0);
    assert_int_not_equal(child_touches(&s, sysconf(_SC_PAGESIZE)), 0);
    km_secret_free(&s);
}

static void a_forked_child_still_has_the_secret(void **state)
{
    (void)state;
    struct km_secret s;
    assert_int_equal(km_secret_new(&s, 4), KM_OK);
    memcpy(s.data, "kept", 4);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(memcmp(s.data, "kept", 4) == 0 ? 0 : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    km_secret_free(&s);
}

static void a_secret_beyond_every_limit_is_refused(void **state)
{
    (void)state;
    struct km_secret s = KM_SECRET_EMPTY;
    assert_int_equal(km_secret_new(&s, (size_t)-1), KM_ERR_NOMEM);
    assert_null(s.data);
}

static void wiping_leaves_zeros(void **state)
{
    (void)state;
    char text[8] = "secret!";
    km_wipe(text, sizeof(text));
    assert_memory_equal(text, "\0\0\0\0\0\0\0", sizeof(text));
    km_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_locked_and_left_out_of_dumps),
        cmocka_unit_test(an_empty_secret_has_memory_too),
        cmocka_unit_test(a_secret_moves_and_is_never_in_two_places),
        cmocka_unit_test(shrinking_wipes_the_rest),
        cmocka_unit_test(the_pages_around_a_secret_cannot_be_touched),
        cmocka_unit_test(a_forked_child_still_has_the_secret),
        cmocka_unit_test(a_secret_beyond_every_limit_is_refused),
        cmocka_unit_test(wiping_leaves_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
