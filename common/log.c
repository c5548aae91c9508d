/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages to a person. The module logs from inside other people's processes, also in a child that was forked while
 * another thread was logging: so there is no lock here, nor any function of libc that takes one (syslog(), gmtime_r()).
 * A line is made on the stack and leaves in one write. The target is an immutable record behind an atomic pointer;
 * replaced ones stay in a list, since another thread may still be reading them. Any thread.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 2048 /* bytes of one line, with the newline */

enum sink { SINK_STDERR, SINK_SYSLOG, SINK_NONE, SINK_FILE };

struct target {
    const struct target *replaced;
    char *program;
    char *name; /* as given to km_log_open */
    enum sink sink;
};

static const struct {
    const char *text;
    int priority;
} levels[] = {
    [KM_LOG_ERROR] = {"error", LOG_DAEMON | LOG_ERR},
    [KM_LOG_WARN] = {"warn", LOG_DAEMON | LOG_WARNING},
    [KM_LOG_INFO] = {"info", LOG_DAEMON | LOG_INFO},
    [KM_LOG_DEBUG] = {"debug", LOG_DAEMON | LOG_DEBUG},
};
#define N_LEVELS (sizeof(levels) / sizeof(levels[0]))

static struct target initial = {NULL, (char[]){"keymoot"}, (char[]){"stderr"}, SINK_STDERR};
static _Atomic(const struct target *) current = &initial;
static atomic_int current_level = KM_LOG_INFO;

static bool sink_parse(const char *target, enum sink *ret)
{
    static const char *const words[] = {[SINK_STDERR] = "stderr", [SINK_SYSLOG] = "syslog", [SINK_NONE] = "none"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(target, words[i]) == 0) {
            *ret = (enum sink)i;
            return true;
        }
    }
    *ret = SINK_FILE;
    return target[0] == '/';
}

enum km_err km_log_open(const char *program, const char *target, enum km_log_level level)
{
    enum sink sink;
    if ((unsigned)level >= N_LEVELS || !sink_parse(target, &sink))
        return KM_ERR_ARG;

    const struct target *old = atomic_load(&current);
    if (strcmp(old->program, program) != 0 || strcmp(old->name, target) != 0) {
        struct target *new = malloc(sizeof(*new));
        char *program_copy = strdup(program), *name_copy = strdup(target);
        if (new == NULL || program_copy == NULL || name_copy == NULL) {
            free(new);
            free(program_copy);
            free(name_copy);
            return KM_ERR_NOMEM;
        }
        *new = (struct target){old, program_copy, name_copy, sink};
        while (!atomic_compare_exchange_weak(&current, &new->replaced, new))
            ;
    }
    km_log_set_level(level);
    return KM_OK;
}

void km_log_set_level(enum km_log_level level)
{
    atomic_store(&current_level, (int)level);
}

enum km_err km_log_level_parse(const char *text, enum km_log_level *ret_level)
{
    for (size_t i = 0; i < N_LEVELS; i++) {
        if (strcmp(text, levels[i].text) == 0) {
            *ret_level = (enum km_log_level)i;
            return KM_OK;
        }
    }
    return KM_ERR_ARG;
}

/* UTC, from the days since 1970 by hand: gmtime_r() takes libc's time zone lock. */
static int put_time(char *out, size_t len)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long days = now.tv_sec / 86400, second = now.tv_sec % 86400;
    long z = days + 719468, era = z / 146097, day_of_era = z % 146097;
    long year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    long day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    long shifted = (5 * day_of_year + 2) / 153, month = shifted < 10 ? shifted + 3 : shifted - 9;
    long day = day_of_year - (153 * shifted + 2) / 5 + 1, year = year_of_era + era * 400 + (month <= 2);
    return snprintf(out, len, "%04ld-%02ld-%02ldT%02ld:%02ld:%02ld.%03ldZ ", year, month, day, second / 3600,
                    second / 60 % 60, second % 60, now.tv_nsec / 1000000);
}

/* Control characters (those of ISO 6429's upper half too, in UTF-8) could move a terminal's cursor or forge a line. */
static void tame(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p != 0; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
            p[0] = p[1] = '?';
    }
}

/* Logging never fails its caller: what cannot be written is lost. */
static void write_whole(int fd, const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line += n;
        len -= (size_t)n;
    }
}

static void write_file(const char *path, const char *line, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd < 0)
        return;
    write_whole(fd, line, len);
    close(fd);
}

/* Straight to the daemon's socket: libc's syslog() has a lock, and one identifier that belongs to the host program. */
static void write_syslog(const char *line, size_t len)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    ssize_t sent = sendto(fd, line, len, MSG_NOSIGNAL, (const struct sockaddr *)&address, sizeof(address));
    (void)sent;
    close(fd);
}

void km_log(enum km_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&current_level, memory_order_relaxed))
        return;
    const struct target *target = atomic_load(&current);
    if (target->sink == SINK_NONE)
        return;

    int saved_errno = errno;
    char line[LINE_MAX_LEN], *p = line, *end = line + sizeof(line) - 1 /* newline */;
    if (target->sink == SINK_SYSLOG)
        p +=
            snprintf(p, (size_t)(end - p), "<%d>%.64s[%ld]: ", levels[level].priority, target->program, (long)getpid());
    if (target->sink == SINK_FILE) {
        p += put_time(p, (size_t)(end - p));
        p += snprintf(p, (size_t)(end - p), "%.64s[%ld] %s: ", target->program, (long)getpid(), levels[level].text);
    }
    if (target->sink == SINK_STDERR)
        p += snprintf(p, (size_t)(end - p), "%.64s: %s: ", target->program, levels[level].text);

    va_list args;
    va_start(args, format);
    int n = vsnprintf(p, (size_t)(end - p), format, args);
    va_end(args);
    if (n < 0)
        goto out;
    tame(p);
    if (n >= end - p)
        memcpy(end - 4, "...", 4);
    p += strlen(p);

    if (target->sink == SINK_SYSLOG)
        write_syslog(line, (size_t)(p - line));
    else {
        *p++ = '\n';
        if (target->sink == SINK_FILE)
            write_file(target->name, line, (size_t)(p - line));
        else
            write_whole(STDERR_FILENO, line, (size_t)(p - line));
    }
out:
    errno = saved_errno;
}
