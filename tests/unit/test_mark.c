/* SPDX-License-Identifier: Apache-2.0
 *
 * The mark file and the checksum under it.
 */
#include "unit.h"

#include "../../server/raft/crc32c.h"
#include "../../server/raft/mark.h"
#include "disk_kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct km_mark_state first = {.instance = "instance-of-test", .term = 1, .last = 1, .last_term = 1};

static int new_folder(void)
{
    const char *dir = kit_folder();
    assert_int_equal(mkdir(dir, 0700), 0);
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    return fd;
}

static void flip(int dir_fd, off_t at)
{
    uint8_t byte;
    int fd = openat(dir_fd, KM_MARK_FILE, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void what_was_written_last_is_read(void **state)
{
    (void)state;
    char message[256];
    struct km_mark mark;
    int dir_fd = new_folder();
    assert_int_equal(km_mark_create(dir_fd, &first), KM_OK);
    assert_int_equal(km_mark_create(dir_fd, &first), KM_ERR_IO);
    for (uint64_t i = 2; i < 12; i++) {
        assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_OK);
        struct km_mark_state next = mark.state;
        next.vote = i;
        next.last = i * 10;
        assert_int_equal(km_mark_write(&mark, &next, i % 2), KM_OK);
        assert_int_equal(mark.is_dirty, i % 2 == 0);
        km_mark_close(&mark);
        assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_OK);
        assert_memory_equal(&mark.state, &next, sizeof(next));
        assert_false(mark.is_damaged);
        km_mark_close(&mark);
    }
    close(dir_fd);
}

static void one_damaged_slot_falls_back_and_is_mended(void **state)
{
    (void)state;
    char message[256];
    struct km_mark mark;
    for (int slot = 0; slot < 2; slot++) {
        int dir_fd = new_folder();
        assert_int_equal(km_mark_create(dir_fd, &first), KM_OK);
        flip(dir_fd, slot * 4096 + 40);
        assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_OK);
        assert_true(mark.is_damaged);
        struct km_mark_state next = mark.state;
        next.last = 77;
        assert_int_equal(km_mark_write(&mark, &next, true), KM_OK);
        km_mark_close(&mark);
        assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_OK);
        assert_false(mark.is_damaged);
        assert_int_equal(mark.state.last, 77);
        km_mark_close(&mark);
        close(dir_fd);
    }
}

static void a_mark_without_a_readable_slot_is_refused(void **state)
{
    (void)state;
    char message[256];
    struct km_mark mark;
    int dir_fd = new_folder();
    assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_ERR_CORRUPT);
    assert_non_null(strstr(message, "missing"));
    assert_int_equal(km_mark_create(dir_fd, &first), KM_OK);
    flip(dir_fd, 20);
    flip(dir_fd, 4096 + 60);
    assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_ERR_CORRUPT);
    assert_non_null(strstr(message, "damaged"));
    int fd = openat(dir_fd, KM_MARK_FILE, O_RDWR | O_TRUNC);
    close(fd);
    assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_ERR_CORRUPT);
    close(dir_fd);
}

static void a_lowered_mark_remembers_no_more_in_either_slot(void **state)
{
    (void)state;
    char message[256];
    for (int slot = 0; slot < 2; slot++) {
        struct km_mark mark;
        int dir_fd = new_folder();
        assert_int_equal(km_mark_create(dir_fd, &first), KM_OK);
        assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_OK);
        struct km_mark_state high = mark.state;
        high.last = 500;
        assert_int_equal(km_mark_write(&mark, &high, false), KM_OK);
        assert_int_equal(km_mark_lower(&mark, 300, 1), KM_OK);
        km_mark_close(&mark);
        flip(dir_fd, slot * 4096 + 3);
        assert_int_equal(km_mark_open(dir_fd, &mark, message, sizeof(message)), KM_OK);
        assert_int_equal(mark.state.last, 300);
        km_mark_close(&mark);
        close(dir_fd);
    }
}

static void votes_and_terms_that_went_back_are_refused(void **state)
{
    (void)state;
    char message[256];
    const struct km_mark mark = {.state = {.instance = "instance-of-test", .term = 7, .vote = 2}};
    const struct {
        const char *instance;
        uint64_t term, vote;
        enum km_err expected;
    } cases[] = {
        {"instance-of-test", 7, 2, KM_OK},          {"instance-of-test", 8, 0, KM_OK},
        {"instance-of-test", 8, 3, KM_OK},          {"instance-of-test", 7, 0, KM_ERR_CORRUPT},
        {"instance-of-test", 7, 3, KM_ERR_CORRUPT}, {"instance-of-test", 6, 2, KM_ERR_CORRUPT},
        {"instance-of-else", 7, 2, KM_ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(km_mark_check_vote(&mark, (const uint8_t *)cases[i].instance, cases[i].term, cases[i].vote,
                                            message, sizeof(message)),
                         cases[i].expected);
}

static void the_checksum_is_crc32c_by_either_way(void **state)
{
    (void)state;
    uint8_t data[300];
    assert_int_equal(km_crc32c(0, "123456789", 9), 0xe3069283); /* RFC 3720 B.4's polynomial, the usual check value */
    memset(data, 0, 32);
    assert_int_equal(km_crc32c(0, data, 32), 0x8a9136aa); /* RFC 3720 B.4 */
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 37);
    for (size_t len = 0; len < sizeof(data); len++) {
        uint32_t by_bytes = 0, by_eights = 0;
        for (size_t i = 0; i < len; i++)
            by_bytes = km_crc32c(by_bytes, data + i, 1);
        for (size_t i = 0; i < len; i += 8)
            by_eights = km_crc32c(by_eights, data + i, len - i < 8 ? len - i : 8);
        assert_int_equal(km_crc32c(0, data, len), by_bytes);
        assert_int_equal(by_eights, by_bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_last_is_read),
        cmocka_unit_test(one_damaged_slot_falls_back_and_is_mended),
        cmocka_unit_test(a_mark_without_a_readable_slot_is_refused),
        cmocka_unit_test(a_lowered_mark_remembers_no_more_in_either_slot),
        cmocka_unit_test(votes_and_terms_that_went_back_are_refused),
        cmocka_unit_test(the_checksum_is_crc32c_by_either_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
