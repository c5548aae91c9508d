/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log's one writer. Callers put events as JSON into a buffer; the thread takes the buffer, chains the
 * records, writes and syncs them in one go, and only then moves the head on. Invariant: what is in the file up to
 * `good_bytes` is whole and chained; a failed write is cut back to that and tried again, and until it succeeds the log
 * is out of service.
 */
#include "audit_event.h"
#include "audit_file.h"
#include "../../common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_MAX (4u * 1024 * 1024) /* bytes of events that may wait */
#define GATHER_MS 4 /* class batched: how long a group gathers, well below the 10 ms that it may lose */
#define RETRY_MS 200
#define WAIT_MAX_MS 2000

struct buffer {
    uint8_t *data; /* records: 32-bit length, then the JSON */
    size_t len, cap;
    uint64_t n;
};

struct km_audit {
    char dir[3800];
    uint64_t server_id;
    enum km_audit_class class;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t has_work, is_durable;
    bool is_closing;
    struct buffer waiting, work;
    uint64_t taken, durable; /* records that were put in, and that are on the disk, since the start */
    struct km_audit_refusals refusals;
    uint64_t refusals_ms;
    struct km_audit_chain head; /* durable */
    atomic_bool is_failed;
    atomic_uint_fast64_t since_ms; /* when the oldest record that is not durable came in; 0: there is none */
    /* the thread's own */
    int fd;
    long good_bytes;
    char *lines;
    size_t lines_cap;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t utc_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void wait_until(struct km_audit *audit, pthread_cond_t *cond, uint64_t until_ms)
{
    struct timespec t = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};
    pthread_cond_timedwait(cond, &audit->lock, &t);
}

/* Under the lock. */
static bool put_record(struct km_audit *audit, const struct km_audit_event *event, uint64_t count)
{
    struct buffer *b = &audit->waiting;
    if (b->len + sizeof(uint32_t) + KM_AUDIT_BODY_MAX > b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 64 * 1024;
        uint8_t *data = cap <= QUEUE_MAX ? realloc(b->data, cap) : NULL;
        if (!data)
            return false;
        b->data = data;
        b->cap = cap;
    }
    uint32_t len =
        (uint32_t)km_audit_event_json(audit->server_id, event, count, (char *)b->data + b->len + sizeof(uint32_t));
    memcpy(b->data + b->len, &len, sizeof(len));
    b->len += sizeof(len) + len;
    b->n++;
    audit->taken++;
    if (audit->since_ms == 0)
        audit->since_ms = now_ms();
    return true;
}

/* Under the lock. Once a second: what was only counted. */
static void put_refusals(struct km_audit *audit)
{
    size_t i = 0;
    uint64_t count;
    struct km_audit_event event;
    if (now_ms() < audit->refusals_ms + 1000 && !audit->is_closing)
        return;
    while (km_audit_refusals_next(&audit->refusals, &i, &event, &count)) {
        event.utc_ms = utc_ms();
        event.reason = "counted, not written one by one";
        if (!put_record(audit, &event, count))
            break;
    }
    audit->refusals.n = 0;
    audit->refusals_ms = now_ms();
}

/* A new file, and the folder synced so that it stays. */
static bool open_file(struct km_audit *audit, uint64_t first)
{
    char path[4096];
    km_audit_file_name(audit->dir, first, path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int dir = open(audit->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    bool is_ok = fd >= 0 && dir >= 0 && fsync(dir) == 0 && fstat(fd, &st) == 0;
    if (dir >= 0)
        close(dir);
    if (!is_ok) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (audit->fd >= 0)
        close(audit->fd);
    audit->fd = fd;
    audit->good_bytes = st.st_size;
    return true;
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* One group to the disk. On failure nothing of it counts. */
static bool write_group(struct km_audit *audit, size_t len, uint64_t first)
{
    if (audit->good_bytes > (long)KM_AUDIT_FILE_MAX && !open_file(audit, first))
        return false;
    if (write_all(audit->fd, audit->lines, len) && fdatasync(audit->fd) == 0) {
        audit->good_bytes += (long)len;
        return true;
    }
    int error = errno;
    if (ftruncate(audit->fd, audit->good_bytes)) /* O_APPEND: the next try begins there; it fails again if this did */
        km_log(KM_LOG_ERROR, "audit: cannot cut back a failed write in %s: %s", audit->dir, strerror(errno));
    errno = error;
    return false;
}

/* Chains the records of `work` into lines; returns their length, 0 when out of memory. */
static size_t chain_work(struct km_audit *audit, struct km_audit_chain *chain)
{
    const struct buffer *b = &audit->work;
    size_t need = b->len + b->n * 256; /* a line adds its number, two hashes and names */
    if (need > audit->lines_cap) {
        char *lines = realloc(audit->lines, need + KM_AUDIT_LINE_MAX);
        if (!lines)
            return 0;
        audit->lines = lines;
        audit->lines_cap = need;
    }
    size_t len = 0;
    for (size_t at = 0; at < b->len;) {
        uint32_t body_len;
        memcpy(&body_len, b->data + at, sizeof(body_len));
        len += km_audit_line(chain, (const char *)b->data + at + sizeof(body_len), body_len, audit->lines + len);
        at += sizeof(body_len) + body_len;
    }
    return len;
}

/* Writes `work` until that succeeds; false when the log is closing and it does not. Without the lock. */
static bool commit_work(struct km_audit *audit, struct km_audit_chain *chain)
{
    for (uint64_t first = chain->sequence + 1;;) {
        *chain = audit->head;
        size_t len = chain_work(audit, chain);
        if (len > 0 && write_group(audit, len, first)) {
            if (atomic_exchange(&audit->is_failed, false))
                km_log(KM_LOG_WARN, "audit: %s can be written again", audit->dir);
            return true;
        }
        if (!atomic_exchange(&audit->is_failed, true))
            km_log(KM_LOG_ERROR, "audit: cannot write %s: %s; this server refuses key use until it can", audit->dir,
                   len > 0 ? strerror(errno) : "out of memory");
        usleep(RETRY_MS * 1000);
        pthread_mutex_lock(&audit->lock);
        bool is_closing = audit->is_closing;
        pthread_mutex_unlock(&audit->lock);
        if (is_closing)
            return false;
    }
}

static void *run(void *arg)
{
    struct km_audit *audit = arg;
    pthread_mutex_lock(&audit->lock);
    for (;;) {
        put_refusals(audit);
        if (audit->waiting.n == 0) {
            if (audit->is_closing)
                break;
            wait_until(audit, &audit->has_work, now_ms() + 1000);
            continue;
        }
        if (audit->class == KM_AUDIT_BATCHED && !audit->is_closing) {
            for (uint64_t end = now_ms() + GATHER_MS; now_ms() < end && !audit->is_closing;)
                wait_until(audit, &audit->is_durable, end);
        }
        struct buffer empty = audit->work;
        uint64_t begun_ms = now_ms();
        audit->work = audit->waiting;
        audit->waiting = empty;
        pthread_mutex_unlock(&audit->lock);
        struct km_audit_chain chain = audit->head;
        bool is_ok = commit_work(audit, &chain);
        pthread_mutex_lock(&audit->lock);
        if (!is_ok)
            break;
        audit->head = chain;
        audit->durable += audit->work.n;
        audit->work.len = audit->work.n = 0;
        audit->since_ms = audit->waiting.n > 0 ? begun_ms : 0;
        pthread_cond_broadcast(&audit->is_durable);
    }
    pthread_mutex_unlock(&audit->lock);
    return NULL;
}

/* Moves what follows the good part of `path` to path.torn. */
static bool cut_torn(const char *path, long good, long *ret_torn)
{
    char torn[4200], block[65536];
    bool is_ok = false;
    snprintf(torn, sizeof(torn), "%s.torn", path);
    int from = open(path, O_RDWR | O_CLOEXEC), to = open(torn, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    *ret_torn = 0;
    if (from < 0 || to < 0 || lseek(from, good, SEEK_SET) < 0)
        goto out;
    for (ssize_t n; (n = read(from, block, sizeof(block))) != 0; *ret_torn += n)
        if (n < 0 || !write_all(to, block, (size_t)n))
            goto out;
    is_ok = fsync(to) == 0 && ftruncate(from, good) == 0 && fsync(from) == 0;
out:
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return is_ok;
}

/* Finds the end of the chain in the newest files and opens the newest for appending. */
static enum km_err resume(struct km_audit *audit, long *ret_torn, char *ret_message, size_t message_len)
{
    uint64_t *files = NULL;
    size_t n = 0;
    char path[4096], why[256];
    enum km_err err = km_audit_files(audit->dir, &files, &n);
    if (err) {
        snprintf(ret_message, message_len, "%s: %s", audit->dir, strerror(errno));
        return err;
    }
    for (size_t i = n; i-- > 0 && audit->head.sequence == 0;) {
        long good;
        km_audit_file_name(audit->dir, files[i], path, sizeof(path));
        FILE *file = fopen(path, "re");
        bool is_ok = file && km_audit_follow(file, &audit->head, false /* first known */, &good, why, sizeof(why));
        if (file)
            fclose(file);
        if (!file || (!is_ok && (i + 1 < n || !cut_torn(path, good, ret_torn)))) {
            snprintf(ret_message, message_len, "%s: %s", path, file ? why : strerror(errno));
            err = file ? KM_ERR_CORRUPT : KM_ERR_IO;
            goto out;
        }
    }
    if (!open_file(audit, n > 0 ? files[n - 1] : 1)) {
        snprintf(ret_message, message_len, "%s: %s", audit->dir, strerror(errno));
        err = KM_ERR_IO;
    }
out:
    free(files);
    return err;
}

enum km_err km_audit_open(const char *dir, uint64_t server_id, enum km_audit_class class, struct km_audit **ret,
                          char *ret_message, size_t message_len)
{
    enum km_err err;
    long torn = 0;
    pthread_condattr_t attr;
    struct km_audit *audit = calloc(1, sizeof(*audit));
    if (!audit) {
        snprintf(ret_message, message_len, "%s", km_err_text(KM_ERR_NOMEM));
        return KM_ERR_NOMEM;
    }
    audit->fd = -1;
    audit->server_id = server_id;
    audit->class = class;
    if (strlen(dir) >= sizeof(audit->dir)) {
        snprintf(ret_message, message_len, "the audit folder's path is too long");
        err = KM_ERR_IO;
        goto out;
    }
    strcpy(audit->dir, dir);
    if (mkdir(dir, 0700) && errno != EEXIST) {
        snprintf(ret_message, message_len, "%s: %s", dir, strerror(errno));
        err = KM_ERR_IO;
        goto out;
    }
    err = resume(audit, &torn, ret_message, message_len);
    if (err)
        goto out;
    pthread_mutex_init(&audit->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&audit->has_work, &attr);
    pthread_cond_init(&audit->is_durable, &attr);
    pthread_condattr_destroy(&attr);
    if (torn > 0) {
        char reason[120];
        snprintf(reason, sizeof(reason), "%ld bytes at the end were not whole records and were moved aside", torn);
        struct km_audit_event event = {
            .utc_ms = utc_ms(), .operation = "audit.open", .outcome = "answer", .reason = reason};
        put_record(audit, &event, 1);
        km_log(KM_LOG_WARN, "audit: %s: %s", dir, reason);
    }
    if (pthread_create(&audit->thread, NULL, run, audit)) {
        snprintf(ret_message, message_len, "cannot start a thread");
        err = KM_ERR_NOMEM;
        goto out;
    }
    *ret = audit;
    audit = NULL;
out:
    if (audit) {
        if (audit->fd >= 0)
            close(audit->fd);
        free(audit->waiting.data);
        free(audit);
    }
    return err;
}

void km_audit_close(struct km_audit *audit)
{
    if (!audit)
        return;
    pthread_mutex_lock(&audit->lock);
    audit->is_closing = true;
    pthread_cond_signal(&audit->has_work);
    pthread_cond_broadcast(&audit->is_durable);
    pthread_mutex_unlock(&audit->lock);
    pthread_join(audit->thread, NULL);
    close(audit->fd);
    pthread_cond_destroy(&audit->has_work);
    pthread_cond_destroy(&audit->is_durable);
    pthread_mutex_destroy(&audit->lock);
    free(audit->waiting.data);
    free(audit->work.data);
    free(audit->lines);
    free(audit);
}

bool km_audit_is_each(const struct km_audit *audit)
{
    return audit->class == KM_AUDIT_EACH;
}

bool km_audit_is_ok(const struct km_audit *audit)
{
    uint64_t since = audit->since_ms;
    return !audit->is_failed && (since == 0 || now_ms() < since + KM_AUDIT_STUCK_MS);
}

static bool is_refusal(const struct km_audit_event *event)
{
    return event->rv != 0 || (event->outcome && strcmp(event->outcome, "answer"));
}

enum km_err km_audit_write(struct km_audit *audit, const struct km_audit_event *event)
{
    enum km_err err = KM_OK;
    if (!km_audit_is_ok(audit))
        return KM_ERR_IO;
    pthread_mutex_lock(&audit->lock);
    if (is_refusal(event) && !km_audit_refusals_note(&audit->refusals, event))
        goto out;
    bool was_empty = audit->waiting.n == 0;
    if (!put_record(audit, event, 1)) {
        err = KM_ERR_BUSY;
        goto out;
    }
    uint64_t mine = audit->taken, until = now_ms() + WAIT_MAX_MS;
    if (was_empty)
        pthread_cond_signal(&audit->has_work);
    if (audit->class == KM_AUDIT_BATCHED)
        goto out;
    while (audit->durable < mine && now_ms() < until && !audit->is_failed)
        wait_until(audit, &audit->is_durable, until);
    if (audit->durable < mine)
        err = KM_ERR_IO;
out:
    pthread_mutex_unlock(&audit->lock);
    return err;
}

void km_audit_head(struct km_audit *audit, uint64_t *ret_sequence, uint8_t ret_hash[KM_AUDIT_HASH_LEN])
{
    pthread_mutex_lock(&audit->lock);
    *ret_sequence = audit->head.sequence;
    memcpy(ret_hash, audit->head.hash, KM_AUDIT_HASH_LEN);
    pthread_mutex_unlock(&audit->lock);
}
