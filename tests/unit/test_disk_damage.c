/* SPDX-License-Identifier: Apache-2.0
 *
 * Damaged, missing, cut, old and foreign files: a start either refuses by name or loads exactly what was there before.
 * Bits are flipped at random places (KM_TEST_SEED repeats a run, KM_TEST_FLIPS multiplies the flips).
 */
#include "unit.h"

#include "disk_kit.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Folders as servers left them: closed; killed with a live write-ahead log; killed after the log had been reused
 * several times. */
static char closed[96], live[96], reused[96];
static char last_digest[65];

static const char *path_in(const char *dir, const char *file)
{
    static char path[4][300];
    static unsigned n;
    char *ret = path[n++ % 4];
    snprintf(ret, sizeof(path[0]), "%s/%s", dir, file);
    return ret;
}

static void must_open(struct kit *kit, const char *dir)
{
    if (kit_open(kit, dir) != KM_OK)
        fail_msg("%s", kit->message);
}

/* Runs `work` on `dir` in a process that then vanishes without closing anything. */
static void in_a_killed_process(const char *dir, void (*work)(struct kit *kit))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct kit kit;
        if (kit_open(&kit, dir) != KM_OK)
            _exit(1);
        work(&kit);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void append_groups(struct kit *kit, int groups, unsigned n, size_t len)
{
    for (int i = 0; i < groups; i++) {
        kit_append(kit, n, len);
        kit_wait(kit, 0);
    }
}

static void live_work(struct kit *kit)
{
    kit->disk->ops->set_term(kit->disk, kit->term = 5);
    append_groups(kit, 20, 5, 300);
    kit->disk->ops->set_vote(kit->disk, 1);
    append_groups(kit, 20, 5, 300);
}

static void reused_work(struct kit *kit)
{
    kit->disk->ops->set_term(kit->disk, kit->term = 6);
    kit->disk->ops->set_vote(kit->disk, 3);
    append_groups(kit, 60, 32, 3000);
    kit_put(kit, 900, 6, 900000, 100);
    append_groups(kit, 30, 4, 300);
}

static int make_bases(void **state)
{
    (void)state;
    struct kit kit;
    strcpy(closed, kit_folder());
    kit_make(closed);
    must_open(&kit, closed);
    kit.disk->ops->set_term(kit.disk, kit.term = 3);
    append_groups(&kit, 60, 10, 300);
    kit_put(&kit, 400, 3, 700000, 100);
    kit_wait(&kit, 0);
    append_groups(&kit, 10, 10, 300);
    kit.disk->ops->set_term(kit.disk, kit.term = 4);
    kit.disk->ops->set_vote(kit.disk, 2);
    kit_truncate(&kit, 650);
    append_groups(&kit, 10, 5, 300);
    kit_close(&kit);

    strcpy(live, kit_folder());
    kit_copy_to(closed, live);
    in_a_killed_process(live, live_work);
    strcpy(reused, kit_folder());
    kit_copy_to(live, reused);
    in_a_killed_process(reused, reused_work);
    return 0;
}

/* Loads `dir`; the digest of what was loaded is in last_digest. */
static enum km_err try_load(const char *dir, char *ret_message)
{
    struct kit kit;
    enum km_err err = kit_open(&kit, dir);
    strcpy(ret_message, kit.message);
    if (err)
        return err;
    kit_digest(&kit.state, last_digest);
    kit_close(&kit);
    return KM_OK;
}

static void digest_of(const char *base, char ret[65])
{
    char message[KM_DISK_MESSAGE_MAX];
    if (try_load(kit_copy(base), message) != KM_OK)
        fail_msg("%s", message);
    strcpy(ret, last_digest);
}

/* --- flipped bits --- */

/* A server that started with the damage goes on: writes, snapshots, restarts. 0: with everything that there was;
 * KM_DISK_EXIT: it noticed the damage now and stopped; else something was lost. */
static int go_on(const char *dir)
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct kit kit;
        if (kit_open(&kit, dir) != KM_OK)
            _exit(1);
        uint64_t last = kit.last, term = kit.state.term;
        append_groups(&kit, 3, 10, 500);
        kit_put(&kit, last, kit.term, 600000, 1000);
        kit_wait(&kit, 0);
        append_groups(&kit, 3, 10, 500);
        kit_close(&kit);
        if (kit_open(&kit, dir) != KM_OK || kit.last != last + 60 || kit.state.term != term || !kit.state.snapshot ||
            kit.state.snapshot->index != last || !kit_snapshot_is_right(kit.state.snapshot))
            _exit(2);
        for (size_t i = 0; i < kit.state.n_entries; i++)
            if (!kit_entry_is_right(kit.state.start_index + i, &kit.state.entries[i]))
                _exit(3);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int flip_bits(const char *what, const char *base, const char *file, int count, off_t within)
{
    int detected = 0, later = 0, harmless = 0, silent = 0, went_on;
    char expected[65], message[KM_DISK_MESSAGE_MAX];
    const char *scale = getenv("KM_TEST_FLIPS");
    count *= scale ? atoi(scale) : 1;
    digest_of(base, expected);
    for (int i = 0; i < count; i++) {
        const char *dir = kit_copy(base);
        struct stat info;
        uint8_t byte;
        int fd = open(path_in(dir, file), O_RDWR);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &info), 0);
        off_t size = within && within < info.st_size ? within : info.st_size;
        uint64_t bit = kit_random() % ((uint64_t)size * 8);
        assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
        byte ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
        close(fd);
        enum km_err err = try_load(dir, message);
        if (err != KM_OK && err != KM_ERR_NOMEM && message[0] != 0) {
            detected++;
        } else if (err == KM_OK && strcmp(last_digest, expected) == 0) {
            went_on = go_on(dir);
            harmless += went_on == 0;
            later += went_on == KM_DISK_EXIT;
            silent += went_on != 0 && went_on != KM_DISK_EXIT;
        } else {
            silent++;
            printf("SILENT: %s: bit %llu of %s\n", what, (unsigned long long)bit, file);
        }
    }
    printf("flips %-34s %3d refused %3d stopped later %3d harmless %3d silent\n", what, detected, later, harmless,
           silent);
    return silent;
}

static void no_flipped_bit_is_silent(void **state)
{
    (void)state;
    int silent = 0;
    silent += flip_bits("raft.db, closed", closed, "raft.db", 60, 0);
    silent += flip_bits("raft.db, closed, first page", closed, "raft.db", 20, 4096);
    silent += flip_bits("raft.db, live log", live, "raft.db", 40, 0);
    silent += flip_bits("raft.db-wal, live log", live, "raft.db-wal", 60, 0);
    silent += flip_bits("raft.db, log reused", reused, "raft.db", 40, 0);
    silent += flip_bits("raft.db-wal, log reused", reused, "raft.db-wal", 60, 0);
    silent += flip_bits("raft.db-wal, log reused, beginning", reused, "raft.db-wal", 40, 300 * 1024);
    silent += flip_bits("mark, first slot", live, "mark", 20, 80);
    silent += flip_bits("mark", live, "mark", 20, 0);
    silent += flip_bits("identity", live, "identity", 20, 0);
    assert_int_equal(silent, 0);
}

/* --- rows changed behind our back --- */

static void refuses(const char *dir, const char *why)
{
    char message[KM_DISK_MESSAGE_MAX];
    enum km_err err = try_load(dir, message);
    if (err == KM_OK)
        fail_msg("loaded, expected \"%s\"", why);
    printf("refused: %s\n", message);
    if (!strstr(message, why))
        fail_msg("expected \"%s\"", why);
}

static void changed_rows_are_refused_by_name(void **state)
{
    (void)state;
    const struct {
        const char *sql, *why;
    } cases[] = {
        {"UPDATE log SET data = zeroblob(length(data)) WHERE idx = 517", "raft.db: entry 517: checksum differs"},
        {"UPDATE log SET data = (SELECT data FROM log WHERE idx = 510), crc = (SELECT crc FROM log WHERE idx = 510) "
         "WHERE idx = 517",
         "entry 517: checksum differs"},
        {"UPDATE log SET term = 4 WHERE idx = 517", "entry 517: checksum differs"},
        {"UPDATE log SET type = 2 WHERE idx = 517", "entry 517: checksum differs"},
        {"UPDATE log SET data = CAST(data AS TEXT) WHERE idx = 517", "entry 517: checksum differs"},
        {"DELETE FROM log WHERE idx = 517", "entry 517 is missing"},
        {"DELETE FROM log WHERE idx <= 450", "entry 301 is missing"},
        {"DELETE FROM log WHERE idx = 699", "the log ends at entry 698, the mark says 699"},
        {"DELETE FROM log", "entry 301 is missing: the log ends before the snapshot"},
        {"UPDATE meta SET term = 9", "meta row: checksum differs"},
        {"UPDATE meta SET vote = 3", "meta row: checksum differs"},
        {"UPDATE meta SET first = 302", "meta row: checksum differs"},
        {"UPDATE meta SET snapshot = 0", "meta row: checksum differs"},
        {"UPDATE meta SET instance = zeroblob(16)", "belongs to another data folder"},
        {"UPDATE meta SET format = 2", "written by a newer keymoot"},
        {"DELETE FROM meta", "meta row missing"},
        {"DROP TABLE log", "no such table"},
        {"DELETE FROM snapshot", "snapshot's row is missing"},
        {"UPDATE snapshot SET idx = 401", "snapshot row: checksum differs"},
        {"UPDATE snapshot SET len = len - 1", "snapshot row: checksum differs"},
        {"UPDATE snapshot SET conf = zeroblob(length(conf))", "snapshot row: checksum differs"},
        {"DELETE FROM chunk WHERE id % 1048576 = 1", "snapshot chunk 1 is missing"},
        {"UPDATE chunk SET data = zeroblob(length(data)) WHERE id % 1048576 = 2", "snapshot chunk 2: checksum differs"},
        {"UPDATE chunk SET data = (SELECT data FROM chunk WHERE id % 1048576 = 0), crc = (SELECT crc FROM chunk WHERE "
         "id % 1048576 = 0) WHERE id % 1048576 = 1",
         "snapshot chunk 1: checksum differs"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *dir = kit_copy(closed);
        sqlite3 *db = NULL;
        char *error = NULL;
        assert_int_equal(sqlite3_open(path_in(dir, "raft.db"), &db), SQLITE_OK);
        if (sqlite3_exec(db, cases[i].sql, NULL, NULL, &error) != SQLITE_OK)
            fail_msg("%s: %s", cases[i].sql, error);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        refuses(dir, cases[i].why);
    }
}

/* --- files --- */

static void cut(const char *dir, const char *file, int percent)
{
    struct stat info;
    assert_int_equal(stat(path_in(dir, file), &info), 0);
    assert_int_equal(truncate(path_in(dir, file), info.st_size * percent / 100), 0);
}

static void replace(const char *dir, const char *file, const char *other)
{
    const char *copy = kit_copy(other);
    assert_int_equal(rename(path_in(copy, file), path_in(dir, file)), 0);
}

static void missing_and_cut_files_are_refused_by_name(void **state)
{
    (void)state;
    const struct {
        const char *base, *remove, *remove2, *cut;
        int percent;
        const char *why;
    } cases[] = {
        {closed, "raft.db", NULL, NULL, 0, "raft.db: file missing"},
        {live, "raft.db", NULL, NULL, 0, "raft.db: file missing"},
        {live, "raft.db", "raft.db-wal", NULL, 0, "raft.db: file missing"},
        {closed, NULL, NULL, "raft.db", 0, "raft.db: "},
        {closed, NULL, NULL, "raft.db", 50, "raft.db: "},
        {closed, NULL, NULL, "raft.db", 99, "raft.db: "},
        {live, "raft.db-wal", NULL, NULL, 0, "raft.db: term went back"},
        {live, NULL, NULL, "raft.db-wal", 0, "raft.db: term went back"},
        {live, NULL, NULL, "raft.db-wal", 50, "raft.db: "},
        {live, NULL, NULL, "raft.db-wal", 98, "raft.db: the log ends at entry"},
        {reused, "raft.db-wal", NULL, NULL, 0, "raft.db: "},
        {live, "mark", NULL, NULL, 0, "mark: file missing"},
        {live, NULL, NULL, "mark", 0, "mark: "},
        {live, "raft.db", "mark", NULL, 0, "raft.db: file missing"},
        {live, "identity", NULL, NULL, 0, "no identity file"},
        {live, NULL, NULL, "identity", 0, "identity: "},
        {live, NULL, NULL, "identity", 90, "identity: "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *dir = kit_copy(cases[i].base);
        if (cases[i].remove)
            assert_int_equal(unlink(path_in(dir, cases[i].remove)), 0);
        if (cases[i].remove2)
            assert_int_equal(unlink(path_in(dir, cases[i].remove2)), 0);
        if (cases[i].cut)
            cut(dir, cases[i].cut, cases[i].percent);
        refuses(dir, cases[i].why);
    }
    /* All that a server ever wrote, gone; the folder remembers that it was initialised. */
    const char *dir = kit_copy(live);
    assert_int_equal(
        unlink(path_in(dir, "raft.db")) | unlink(path_in(dir, "raft.db-wal")) | unlink(path_in(dir, "mark")), 0);
    refuses(dir, "but the folder was initialised");
}

static void old_and_foreign_files_are_refused_by_name(void **state)
{
    (void)state;
    char other[96], expected[65], message[KM_DISK_MESSAGE_MAX];
    strcpy(other, kit_folder());
    kit_make(other);

    const char *dir = kit_copy(live);
    replace(dir, "raft.db", closed);
    assert_int_equal(unlink(path_in(dir, "raft.db-wal")), 0);
    refuses(dir, "term went back from 5 (mark) to 4");

    dir = kit_copy(reused);
    replace(dir, "raft.db", live);
    replace(dir, "raft.db-wal", live);
    refuses(dir, "term went back from 6 (mark) to 5");

    dir = kit_copy(reused);
    replace(dir, "raft.db-wal", live);
    refuses(dir, "raft.db: ");

    const char *const files[] = {"raft.db", "mark", "identity"};
    for (int i = 0; i < 3; i++) {
        dir = kit_copy(closed);
        replace(dir, files[i], other);
        refuses(dir, i == 1 ? "mark: belongs to another data folder" : "raft.db: belongs to another data folder");
    }
    /* An older mark only claims less. */
    digest_of(live, expected);
    dir = kit_copy(live);
    replace(dir, "mark", closed);
    assert_int_equal(try_load(dir, message), KM_OK);
    assert_string_equal(last_digest, expected);
}

/* A refused start leaves everything as it found it. */
static void a_refused_start_changes_nothing(void **state)
{
    (void)state;
    struct stat before, after;
    const char *dir = kit_copy(live);
    cut(dir, "raft.db-wal", 60);
    assert_int_equal(stat(path_in(dir, "raft.db-wal"), &before), 0);
    refuses(dir, "raft.db: ");
    refuses(dir, "raft.db: ");
    assert_int_equal(stat(path_in(dir, "raft.db-wal"), &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

/* --- truncated entries come back --- */

static void replace_the_tail(struct kit *kit)
{
    kit->term = 9;
    kit_truncate(kit, 100);
    kit_append(kit, 6, 50);
    kit_wait(kit, 0);
}

/* The log's end lost, the truncated entries that it had replaced are longer than what was acknowledged. */
static void truncated_entries_do_not_pass_for_their_successors(void **state)
{
    (void)state;
    struct kit kit;
    const char *dir = kit_folder();
    kit_make(dir);
    must_open(&kit, dir);
    kit_append(&kit, 120, 50);
    kit_wait(&kit, 0);
    kit.disk->ops->set_term(kit.disk, 9);
    kit_close(&kit);
    in_a_killed_process(dir, replace_the_tail);
    assert_int_equal(unlink(path_in(dir, "raft.db-wal")), 0);
    refuses(dir, "entry 105 has term 1, the mark says 9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_flipped_bit_is_silent),
        cmocka_unit_test(changed_rows_are_refused_by_name),
        cmocka_unit_test(missing_and_cut_files_are_refused_by_name),
        cmocka_unit_test(old_and_foreign_files_are_refused_by_name),
        cmocka_unit_test(a_refused_start_changes_nothing),
        cmocka_unit_test(truncated_entries_do_not_pass_for_their_successors),
    };
    return cmocka_run_group_tests(tests, make_bases, NULL);
}
