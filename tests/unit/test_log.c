/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages to a person: levels, targets, one line each, nothing in them that could move a cursor.
 */
#include "../../common/log.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/km-test-log-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

/* What the log file holds now; it is empty again afterwards. */
static const char *take_text(void)
{
    static char text[8192];
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    assert_int_equal(ftruncate(fileno(file), 0), 0);
    fclose(file);
    return text;
}

static void levels_have_words(void **state)
{
    (void)state;
    enum km_log_level level = KM_LOG_ERROR;
    assert_int_equal(km_log_level_parse("debug", &level), KM_OK);
    assert_int_equal(level, KM_LOG_DEBUG);
    assert_int_equal(km_log_level_parse("warn", &level), KM_OK);
    assert_int_equal(level, KM_LOG_WARN);
    assert_int_equal(km_log_level_parse("loud", &level), KM_ERR_ARG);
    assert_int_equal(km_log_level_parse("", &level), KM_ERR_ARG);
}

static void unknown_targets_and_levels_are_refused(void **state)
{
    (void)state;
    assert_int_equal(km_log_open("t", "relative/file", KM_LOG_INFO), KM_ERR_ARG);
    assert_int_equal(km_log_open("t", "", KM_LOG_INFO), KM_ERR_ARG);
    assert_int_equal(km_log_open("t", "stderr", (enum km_log_level)9), KM_ERR_ARG);
    assert_int_equal(km_log_open("t", "syslog", KM_LOG_ERROR), KM_OK);
    assert_int_equal(km_log_open("t", "none", KM_LOG_ERROR), KM_OK);
    km_log(KM_LOG_ERROR, "into nothing");
}

static void a_line_has_time_program_pid_level_and_text(void **state)
{
    (void)state;
    assert_int_equal(km_log_open("tester", path, KM_LOG_INFO), KM_OK);
    km_log(KM_LOG_WARN, "hello %d", 42);
    char rest[128];
    int year, month, day, hour, minute, second, ms;
    long pid;
    assert_int_equal(sscanf(take_text(), "%d-%d-%dT%d:%d:%d.%dZ tester[%ld] %127[^\n]", &year, &month, &day, &hour,
                            &minute, &second, &ms, &pid, rest),
                     9);
    assert_in_range(year, 2024, 2200);
    assert_in_range(month, 1, 12);
    assert_in_range(day, 1, 31);
    assert_int_equal(pid, getpid());
    assert_string_equal(rest, "warn: hello 42");
}

static void messages_above_the_level_are_not_written(void **state)
{
    (void)state;
    assert_int_equal(km_log_open("tester", path, KM_LOG_WARN), KM_OK);
    km_log(KM_LOG_INFO, "quiet");
    assert_string_equal(take_text(), "");
    km_log_set_level(KM_LOG_DEBUG);
    km_log(KM_LOG_DEBUG, "loud");
    assert_non_null(strstr(take_text(), "debug: loud\n"));
}

static void control_characters_are_replaced(void **state)
{
    (void)state;
    assert_int_equal(km_log_open("tester", path, KM_LOG_INFO), KM_OK);
    km_log(KM_LOG_INFO, "%s",
           "a\nb\x1b[2Jc\x7f\xc2\x9b"
           "d\xc3\xa4");
    assert_non_null(strstr(take_text(), "info: a?b?[2Jc???d\xc3\xa4\n"));
}

static void a_long_message_is_cut_and_stays_one_line(void **state)
{
    (void)state;
    char longest[5000];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(km_log_open("tester", path, KM_LOG_INFO), KM_OK);
    km_log(KM_LOG_INFO, "%s", longest);
    const char *text = take_text();
    assert_int_equal(strlen(text), 2047);
    assert_string_equal(text + strlen(text) - 5, "x...\n");
}

static void errno_survives(void **state)
{
    (void)state;
    assert_int_equal(km_log_open("tester", "/nonexistent/folder/file", KM_LOG_INFO), KM_OK);
    errno = EXDEV;
    km_log(KM_LOG_ERROR, "lost");
    assert_int_equal(errno, EXDEV);
}

static void a_forked_child_logs_as_itself(void **state)
{
    (void)state;
    assert_int_equal(km_log_open("tester", path, KM_LOG_INFO), KM_OK);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        km_log(KM_LOG_INFO, "from the child");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "tester[%ld] info: from the child\n", (long)pid);
    assert_non_null(strstr(take_text(), wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_have_words),
        cmocka_unit_test(unknown_targets_and_levels_are_refused),
        cmocka_unit_test(a_line_has_time_program_pid_level_and_text),
        cmocka_unit_test(messages_above_the_level_are_not_written),
        cmocka_unit_test(control_characters_are_replaced),
        cmocka_unit_test(a_long_message_is_cut_and_stays_one_line),
        cmocka_unit_test(errno_survives),
        cmocka_unit_test(a_forked_child_logs_as_itself),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
