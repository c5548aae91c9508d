/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes that end while they write: kill -9 at random moments under load, a full file system, a write error. What
 * was acknowledged is there afterwards, and a failed write ends the process by name. (kill -9 is not a power cut: that
 * is not tested here.)
 */
#define _GNU_SOURCE /* unshare, F_SETPIPE_SZ */
#include "unit.h"

#include "../../server/raft/disk_writer.h"
#include "disk_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_MAX 200000
#define TRAILING 100

/* What a child tells its parent, in the order of events. 'A': entries up to index are durable, in this term. 'T':
 * entries from index on will be truncated. 'V': term (index) and vote (term) are durable. 'S': a snapshot of index is
 * durable. */
struct event {
    uint64_t what, index, term;
};

static void tell(struct kit *kit, char what, uint64_t index, uint64_t term)
{
    struct event event = {(uint64_t)what, index, term};
    if (write(kit->ack_fd, &event, sizeof(event)) != (ssize_t)sizeof(event))
        _exit(2);
}

/* Load until killed: 16 appends outstanding, now and then a vote, a truncation with a new term, a snapshot. */
static void child(const char *dir, int ack_fd, uint64_t seed)
{
    struct kit kit;
    if (kit_open(&kit, dir) != KM_OK) {
        fprintf(stderr, "%s\n", kit.message);
        _exit(1);
    }
    kit.on_ack = tell;
    kit.ack_fd = ack_fd;
    srand((unsigned)seed);
    uint64_t durable = kit.last;
    for (unsigned i = 0;; i++) {
        if (rand() % 50 == 0) {
            kit.disk->ops->set_term(kit.disk, ++kit.term);
            tell(&kit, 'V', kit.term, 0);
            uint64_t vote = 1 + (uint64_t)rand() % 3;
            kit.disk->ops->set_vote(kit.disk, vote);
            tell(&kit, 'V', kit.term, vote);
            if (kit.acked > durable + 20) {
                uint64_t from = kit.acked - (uint64_t)rand() % 10;
                tell(&kit, 'T', from, kit.term);
                kit_truncate(&kit, from);
            }
        }
        kit_append(&kit, 1 + (unsigned)rand() % 4, (size_t)rand() % 300);
        if (rand() % 20 == 0 && kit.acked > durable + TRAILING) {
            kit_wait(&kit, 0);
            durable = kit.acked;
            /* Its last entry was appended above, in this term. Truncations stay above it, as libraft's do. */
            kit_put(&kit, durable, kit.term, (size_t)rand() % 2000000, TRAILING);
        }
        kit_wait(&kit, 16);
    }
}

/* The child's story: the term that each durable entry must have (0: none known). */
struct story {
    uint64_t term_of[LOG_MAX], acked, cut_term, term, vote, snapshot;
    uint64_t n_acked;
};

static void listen_to(int fd, struct story *story)
{
    struct event event;
    while (read(fd, &event, sizeof(event)) == (ssize_t)sizeof(event)) {
        assert_true(event.index < LOG_MAX);
        switch (event.what) {
        case 'A':
            if (event.term < story->cut_term)
                break; /* a callback for entries that were truncated meanwhile */
            if (event.index > story->acked)
                story->acked = event.index;
            story->term_of[event.index] = event.term;
            story->n_acked++;
            break;
        case 'T':
            for (uint64_t i = event.index; i < LOG_MAX; i++)
                story->term_of[i] = 0;
            story->acked = event.index - 1;
            story->cut_term = event.term;
            break;
        case 'V':
            story->term = event.index;
            story->vote = event.term;
            break;
        case 'S':
            story->snapshot = event.index;
            break;
        }
    }
}

static void every_acknowledged_entry_survives_kill_9(void **state)
{
    (void)state;
    static struct story story;
    const char *dir = kit_folder(), *given = getenv("KM_TEST_ROUNDS");
    int rounds = given ? atoi(given) : 24;
    uint64_t total = 0, snapshots = 0;
    kit_make(dir);
    for (int round = 0; round < rounds; round++) {
        int fds[2], status;
        memset(&story, 0, sizeof(story));
        assert_int_equal(pipe(fds), 0);
        uint64_t seed = kit_random();
        fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
        pid_t pid = fork();
        if (pid == 0) {
            close(fds[0]);
            child(dir, fds[1], seed);
        }
        close(fds[1]);
        struct pollfd first_ack = {.fd = fds[0], .events = POLLIN};
        assert_int_equal(poll(&first_ack, 1, 20000), 1);
        usleep((useconds_t)(kit_random() % 100000)); /* the random moment, not a wait for anything */
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        listen_to(fds[0], &story);
        close(fds[0]);

        struct kit kit;
        if (kit_open(&kit, dir) != KM_OK)
            fail_msg("round %d: %s", round, kit.message);
        uint64_t first = kit.state.start_index;
        if (kit.last < story.acked)
            fail_msg("round %d: acknowledged up to %llu, found %llu", round, (unsigned long long)story.acked,
                     (unsigned long long)kit.last);
        for (uint64_t i = first; i <= story.acked; i++)
            if (story.term_of[i] && kit.state.entries[i - first].term != story.term_of[i])
                fail_msg("round %d: entry %llu has another term", round, (unsigned long long)i);
        for (size_t i = 0; i < kit.state.n_entries; i++)
            assert_true(kit_entry_is_right(first + i, &kit.state.entries[i]));
        assert_true(kit.state.term >= story.term);
        if (kit.state.term == story.term && story.vote)
            assert_int_equal(kit.state.voted_for, story.vote);
        if (story.snapshot) {
            assert_non_null(kit.state.snapshot);
            assert_true(kit.state.snapshot->index >= story.snapshot);
            snapshots++;
        }
        if (kit.state.snapshot)
            assert_true(kit_snapshot_is_right(kit.state.snapshot));
        total += story.n_acked;
        /* Start small again, so that rounds stay short. */
        if (kit.last > LOG_MAX / 2)
            round = rounds;
        kit_close(&kit);
    }
    printf("kill -9: %d rounds, %llu acknowledgements, %llu rounds with a snapshot finished\n", rounds,
           (unsigned long long)total, (unsigned long long)snapshots);
    assert_true(total > (uint64_t)rounds * 20);
}

/* Ends between a transaction and the mark that follows it: entries gone, the mark must have been lowered before. */
static void truncate_and_vanish(const char *dir)
{
    struct km_disk_writer writer;
    struct km_disk_state loaded;
    char message[KM_DISK_MESSAGE_MAX];
    if (km_disk_writer_open(dir, KIT_CLUSTER, KIT_ID, KIT_NAME, &writer, message, sizeof(message)) != KM_OK ||
        km_disk_writer_load(&writer, &loaded, message, sizeof(message)) != KM_OK || writer.mark.state.last != 120)
        _exit(1);
    km_disk_writer_begin(&writer);
    km_disk_writer_truncate(&writer, 100);
    _exit(km_sql_commit(&writer.sql) == KM_OK ? 0 : 2);
}

static void a_crash_between_truncation_and_mark_is_no_false_alarm(void **state)
{
    (void)state;
    struct kit kit;
    int status;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    kit_append(&kit, 119, 50);
    kit_close(&kit);
    pid_t pid = fork();
    if (pid == 0)
        truncate_and_vanish(dir);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    if (kit_open(&kit, dir) != KM_OK)
        fail_msg("%s", kit.message);
    assert_int_equal(kit.last, 99);
    kit_close(&kit);
}

/* --- failed writes --- */

static void append_for_ever(const char *dir, int ack_fd, const char *error_file)
{
    struct kit kit;
    if (!freopen(error_file, "w", stderr))
        _exit(3);
    if (kit_open(&kit, dir) != KM_OK)
        _exit(1);
    kit.on_ack = tell;
    kit.ack_fd = ack_fd;
    for (;;) {
        kit_append(&kit, 2, 32 * 1024);
        kit_wait(&kit, 4);
    }
}

static void limit_file_size(void)
{
    struct rlimit limit = {6 * 1024 * 1024, 6 * 1024 * 1024};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

/* Appends in `dir` until a write fails; returns 0 if the process said so and ended as it should, with the last
 * acknowledged entry. */
static int append_until_it_fails(const char *dir, void (*prepare)(void), const char *expected, uint64_t *ret_acked)
{
    static struct story story;
    int fds[2], status;
    char text[2048] = "", error_file[256];
    snprintf(error_file, sizeof(error_file), "%s.stderr", kit_folder());
    memset(&story, 0, sizeof(story));
    if (pipe(fds) != 0)
        return __LINE__;
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        if (prepare)
            prepare();
        append_for_ever(dir, fds[1], error_file);
    }
    close(fds[1]);
    listen_to(fds[0], &story);
    close(fds[0]);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return __LINE__;
    FILE *stream = fopen(error_file, "r");
    if (!stream || fread(text, 1, sizeof(text) - 1, stream) == 0)
        return __LINE__;
    fclose(stream);
    printf("exit %d, %llu acknowledged: %s", WEXITSTATUS(status), (unsigned long long)story.acked, text);
    *ret_acked = story.acked;
    return WEXITSTATUS(status) == KM_DISK_EXIT && strstr(text, "/raft.db: ") && strstr(text, expected) ? 0 : __LINE__;
}

static int check_acked(const char *dir, uint64_t acked)
{
    struct kit kit;
    if (kit_open(&kit, dir) != KM_OK) {
        printf("%s\n", kit.message);
        return __LINE__;
    }
    int ret = kit.last >= acked && acked > 1 ? 0 : __LINE__;
    for (size_t i = 0; i < kit.state.n_entries; i++)
        ret = kit_entry_is_right(kit.state.start_index + i, &kit.state.entries[i]) ? ret : __LINE__;
    kit_close(&kit);
    return ret;
}

static void a_write_error_ends_the_process_by_name(void **state)
{
    (void)state;
    uint64_t acked = 0;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(append_until_it_fails(dir, limit_file_size, "disk I/O error", &acked), 0);
    assert_int_equal(check_acked(dir, acked), 0);
}

/* In a process with a mount namespace of its own, so that nothing stays mounted. */
static int on_a_full_file_system(const char *mount_point)
{
    char dir[200];
    uint64_t acked = 0, again = 0;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("keymoot-test", mount_point, "tmpfs", 0, "size=12m") != 0)
        return 77;
    snprintf(dir, sizeof(dir), "%s/data", mount_point);
    kit_make(dir);
    int ret = append_until_it_fails(dir, NULL, "full", &acked);
    if (ret)
        return ret;
    /* Still full: it may start, and fails in the same way; nothing is lost by trying. */
    append_until_it_fails(dir, NULL, "full", &again);
    acked = again > acked ? again : acked;
    if (mount("keymoot-test", mount_point, "tmpfs", MS_REMOUNT, "size=64m") != 0)
        return __LINE__;
    return check_acked(dir, acked);
}

static void a_full_file_system_ends_the_process_and_loses_nothing(void **state)
{
    (void)state;
    const char *mount_point = kit_folder();
    int status;
    if (geteuid() != 0) {
        printf("SKIPPED: a full file system: needs root to mount a small one\n");
        skip();
    }
    assert_int_equal(mkdir(mount_point, 0700), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int ret = on_a_full_file_system(mount_point);
        if (ret != 0 && ret != 77)
            printf("%s:%d\n", __FILE__, ret);
        fflush(stdout);
        _exit(ret == 0 || ret == 77 ? ret : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        printf("SKIPPED: a full file system: this machine forbids mounting one\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_acknowledged_entry_survives_kill_9),
        cmocka_unit_test(a_crash_between_truncation_and_mark_is_no_false_alarm),
        cmocka_unit_test(a_write_error_ends_the_process_by_name),
        cmocka_unit_test(a_full_file_system_ends_the_process_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
