/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log: chained, bounded against denials, continued after a torn end, and out of service when it cannot be
 * written.
 */
#define _GNU_SOURCE /* nftw */
#include "unit.h"

#include "../../server/govern/audit_file.h"
#include "../../common/log.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[64], file[128], message[512];

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/keymoot-audit.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    km_audit_file_name(dir, 1, file, sizeof(file));
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct km_audit *open_log(enum km_audit_class class)
{
    struct km_audit *audit;
    if (km_audit_open(dir, 1, class, &audit, message, sizeof(message)))
        fail_msg("%s", message);
    return audit;
}

static void put(struct km_audit *audit, unsigned n, uint64_t rv)
{
    const struct km_audit_event event = {.who = "spiffe://c/client/app",
                                         .program = "te\"st\n\xff",
                                         .operation = "use.sign",
                                         .outcome = "answer",
                                         .rv = rv};
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(km_audit_write(audit, &event), KM_OK);
}

static uint64_t verified(void)
{
    uint64_t sequence;
    uint8_t hash[KM_AUDIT_HASH_LEN];
    if (km_audit_verify(dir, &sequence, hash, message, sizeof(message)))
        fail_msg("%s", message);
    return sequence;
}

static void what_was_written_verifies_and_goes_on(void **state)
{
    (void)state;
    struct km_audit *audit = open_log(KM_AUDIT_BATCHED);
    put(audit, 100, 0);
    km_audit_close(audit);
    assert_int_equal(verified(), 100);
    audit = open_log(KM_AUDIT_EACH);
    put(audit, 3, 0);
    uint64_t sequence, again;
    uint8_t head[KM_AUDIT_HASH_LEN], hash[KM_AUDIT_HASH_LEN];
    km_audit_head(audit, &sequence, head); /* each: durable when the call returns */
    assert_int_equal(sequence, 103);
    assert_int_equal(km_audit_verify(dir, &again, hash, message, sizeof(message)), KM_OK);
    assert_int_equal(again, 103);
    assert_memory_equal(head, hash, sizeof(hash));
    km_audit_close(audit);
}

static void a_changed_dropped_or_cut_record_is_found(void **state)
{
    (void)state;
    struct stat st;
    uint64_t sequence;
    uint8_t hash[KM_AUDIT_HASH_LEN], byte;
    struct km_audit *audit = open_log(KM_AUDIT_BATCHED);
    put(audit, 20, 0);
    km_audit_close(audit);
    assert_int_equal(stat(file, &st), 0);
    int fd = open(file, O_RDWR);
    for (off_t at = 0; at < st.st_size; at += 37) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        uint8_t flipped = byte ^ 1;
        assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
        if (km_audit_verify(dir, &sequence, hash, message, sizeof(message)) == KM_OK)
            fail_msg("a flipped bit at %ld was not found", (long)at);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    assert_int_equal(verified(), 20);
    assert_int_equal(truncate(file, st.st_size - 5), 0);
    assert_int_equal(km_audit_verify(dir, &sequence, hash, message, sizeof(message)), KM_ERR_CORRUPT);
}

static void a_torn_end_is_moved_aside_and_noted(void **state)
{
    (void)state;
    struct stat st;
    char torn[160];
    struct km_audit *audit = open_log(KM_AUDIT_BATCHED);
    put(audit, 5, 0);
    km_audit_close(audit);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(truncate(file, st.st_size - 20), 0);
    assert_int_equal(km_log_open("test", "none", KM_LOG_ERROR), KM_OK);
    audit = open_log(KM_AUDIT_BATCHED);
    put(audit, 1, 0);
    km_audit_close(audit);
    assert_int_equal(verified(), 6); /* four, the note, one more */
    snprintf(torn, sizeof(torn), "%s.torn", file);
    assert_int_equal(stat(torn, &st), 0);
}

static void refusals_are_counted_not_written_one_by_one(void **state)
{
    (void)state;
    struct km_audit *audit = open_log(KM_AUDIT_BATCHED);
    put(audit, 10000, 5);
    km_audit_close(audit);
    uint64_t n = verified();
    assert_true(n >= KM_AUDIT_DENIALS_PER_S + 1 && n < 200);
}

static void a_log_that_cannot_be_written_goes_out_of_service_and_comes_back(void **state)
{
    (void)state;
    struct rlimit old, tiny = {512, RLIM_INFINITY};
    assert_int_equal(km_log_open("test", "none", KM_LOG_ERROR), KM_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct km_audit *audit = open_log(KM_AUDIT_BATCHED);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tiny.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
    put(audit, 10, 0);
    for (unsigned i = 0; i < 200 && km_audit_is_ok(audit); i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_false(km_audit_is_ok(audit));
    const struct km_audit_event event = {.operation = "use.sign", .outcome = "answer"};
    assert_int_equal(km_audit_write(audit, &event), KM_ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    for (unsigned i = 0; i < 200 && !km_audit_is_ok(audit); i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_true(km_audit_is_ok(audit));
    put(audit, 1, 0);
    km_audit_close(audit);
    assert_int_equal(verified(), 11);
}

static void lines_are_JSON_whatever_a_client_says(void **state)
{
    (void)state;
    char line[KM_AUDIT_LINE_MAX];
    struct km_audit *audit = open_log(KM_AUDIT_BATCHED);
    put(audit, 1, 0);
    km_audit_close(audit);
    FILE *f = fopen(file, "r");
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    assert_non_null(strstr(line, "\"program\":\"te\\u0022st\\u000a\\u00ff\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_verifies_and_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_dropped_or_cut_record_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_end_is_moved_aside_and_noted, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_are_counted_not_written_one_by_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_cannot_be_written_goes_out_of_service_and_comes_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lines_are_JSON_whatever_a_client_says, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
