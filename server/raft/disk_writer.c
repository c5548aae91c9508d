/* SPDX-License-Identifier: Apache-2.0
 *
 * What the storage thread does to raft.db and the mark, and in which order: a transaction, then the mark (the mark
 * never claims more than is durable); before a transaction that takes entries away, the lowered mark. A failure ends
 * the process.
 */
#include "disk_writer.h"

#include "../../common/log.h"
#include "crc32c.h"
#include "disk_load.h"
#include "disk_sqlite.h"
#include "folder.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define CHUNKS_PER_STEP 4
#define MARK_SYNC_MS 1000

_Noreturn void km_disk_stop_process(const char *dir, const char *what, const char *why)
{
    km_log(KM_LOG_ERROR, "%s/%s: %s: stopping, since nothing may be acknowledged that is not on disk", dir, what, why);
    _exit(KM_DISK_EXIT);
}

/* Everything that writes goes through one of these two. */
static void must(struct km_disk_writer *writer, enum km_err err)
{
    if (err == KM_ERR_IO || (err == KM_ERR_CORRUPT && km_sql_error(&writer->sql)[0] != 0))
        km_disk_stop_process(writer->dir, KM_FOLDER_DATABASE, km_sql_error(&writer->sql));
    if (err)
        km_disk_stop_process(writer->dir, KM_FOLDER_DATABASE,
                             err == KM_ERR_NOT_FOUND ? "a row is missing" : km_err_text(err));
}

static void must_mark(struct km_disk_writer *writer, enum km_err err)
{
    if (err)
        km_disk_stop_process(writer->dir, KM_MARK_FILE, strerror(errno));
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- start and end --- */

#define FAIL(error, ...) (snprintf(ret_message, message_len, __VA_ARGS__), (error))

static enum km_err check_files(const struct km_disk_writer *writer, char *ret_message, size_t message_len)
{
    if (faccessat(writer->dir_fd, KM_FOLDER_DATABASE, F_OK, 0) != 0)
        return FAIL(
            errno == ENOENT ? KM_ERR_CORRUPT : KM_ERR_IO,
            KM_FOLDER_DATABASE
            ": %s, but the folder was initialised: votes and entries are lost; rebuild this server under a new id",
            errno == ENOENT ? "file missing" : strerror(errno));
    return KM_OK;
}

enum km_err km_disk_writer_open(const char *dir, const char *cluster, uint64_t server_id, const char *name,
                                struct km_disk_writer *ret, char *ret_message, size_t message_len)
{
    struct km_folder_identity identity = {0};
    struct km_disk_writer writer = {.dir_fd = -1, .mark = {.fd = -1}, .dir = strdup(dir)};
    enum km_err err = writer.dir ? KM_OK : FAIL(KM_ERR_NOMEM, "out of memory");
    err = err ? err : km_folder_open(dir, &writer.dir_fd, ret_message, message_len);
    err = err ? err : km_folder_read_identity(writer.dir_fd, dir, &identity, ret_message, message_len);
    if (!err &&
        (strcmp(identity.cluster, cluster) != 0 || identity.server_id != server_id || strcmp(identity.name, name) != 0))
        err = FAIL(KM_ERR_CONF,
                   "%s: belongs to server %llu (%s) of cluster %s, but this is server %llu (%s) of cluster %s", dir,
                   (unsigned long long)identity.server_id, identity.name, identity.cluster,
                   (unsigned long long)server_id, name, cluster);
    err = err ? err : check_files(&writer, ret_message, message_len);
    err = err ? err : km_mark_open(writer.dir_fd, &writer.mark, ret_message, message_len);
    err = err ? err : km_sql_open(dir, identity.instance, &writer.sql, &writer.meta, ret_message, message_len);
    err = err ? err
              : km_mark_check_vote(&writer.mark, identity.instance, writer.meta.term, writer.meta.vote, ret_message,
                                   message_len);
    if (err) {
        km_disk_writer_close(&writer);
        return err;
    }
    *ret = writer;
    /* SQLite keeps a pointer to the struct for its hook. */
    km_sql_moved(&ret->sql);
    return KM_OK;
}

void km_disk_writer_close(struct km_disk_writer *writer)
{
    free(writer->put.chunk);
    km_sql_close(&writer->sql);
    km_mark_close(&writer->mark);
    if (writer->dir_fd >= 0)
        close(writer->dir_fd);
    free(writer->dir);
    memset(writer, 0, sizeof(*writer));
    writer->dir_fd = writer->mark.fd = -1;
}

static void write_mark(struct km_disk_writer *writer, bool is_synced)
{
    struct km_mark_state state = {
        .term = writer->meta.term, .vote = writer->meta.vote, .last = writer->last, .last_term = writer->last_term};
    memcpy(state.instance, writer->meta.instance, sizeof(state.instance));
    if (memcmp(&state, &writer->mark.state, sizeof(state)) == 0 && !(is_synced && writer->mark.is_dirty) &&
        !writer->mark.is_damaged)
        return;
    writer->mark.is_damaged = false; /* the slot that was unreadable is the one that is written next */
    must_mark(writer, km_mark_write(&writer->mark, &state, is_synced));
    if (is_synced)
        writer->synced_ms = now_ms();
}

enum km_err km_disk_writer_load(struct km_disk_writer *writer, struct km_disk_state *ret, char *ret_message,
                                size_t message_len)
{
    struct km_disk_state state = {0};
    enum km_err err = km_disk_load(&writer->sql, &writer->meta, &writer->mark, &state, ret_message, message_len);
    if (err)
        return err;
    if (writer->mark.is_damaged)
        km_log(KM_LOG_WARN, "%s/" KM_MARK_FILE ": one of its two slots is damaged; using the other one", writer->dir);
    writer->last = state.start_index + state.n_entries - 1;
    writer->last_term = 0;
    if (state.snapshot) {
        writer->snapshot_index = state.snapshot->index;
        writer->last_term = writer->snapshot_term = state.snapshot->term;
        writer->snapshot_len = state.snapshot->bufs[0].len;
    }
    if (state.n_entries > 0)
        writer->last_term = state.entries[state.n_entries - 1].term;
    writer->next_snapshot = writer->meta.snapshot + 1;
    writer->is_collecting = true;
    /* What a killed process wrote but did not sync may be read back here and still be gone after a power cut. libraft
     * takes it for durable. */
    must(writer, km_sql_accept(&writer->sql));
    must(writer, km_sql_begin(&writer->sql));
    must(writer, km_sql_delete_unfinished(&writer->sql, writer->meta.snapshot));
    must(writer, km_sql_commit(&writer->sql));
    write_mark(writer, true);
    *ret = state;
    return KM_OK;
}

enum km_err km_disk_writer_bootstrap(struct km_disk_writer *writer, const struct raft_configuration *configuration)
{
    uint64_t n = 0;
    must(writer, km_sql_count_entries(&writer->sql, 0, &n));
    if (writer->meta.term != 0 || writer->meta.vote != 0 || writer->meta.snapshot != 0 || n != 0 ||
        writer->mark.state.term != 0)
        return KM_ERR_EXISTS;
    struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE};
    if (raft_configuration_encode(configuration, &entry.buf) != 0)
        return KM_ERR_NOMEM;
    must(writer, km_sql_accept(&writer->sql));
    km_disk_writer_begin(writer);
    km_disk_writer_set_vote(writer, 1, 0);
    writer->last = 0;
    km_disk_writer_append(writer, 1, &entry, 1);
    km_disk_writer_commit(writer, true);
    raft_free(entry.buf.base);
    return KM_OK;
}

/* --- transactions --- */

void km_disk_writer_begin(struct km_disk_writer *writer)
{
    must(writer, km_sql_begin(&writer->sql));
}

void km_disk_writer_set_vote(struct km_disk_writer *writer, uint64_t term, uint64_t vote)
{
    writer->meta.term = term;
    writer->meta.vote = vote;
    writer->is_meta_changed = true;
}

void km_disk_writer_append(struct km_disk_writer *writer, uint64_t first, const struct raft_entry *entries, unsigned n)
{
    assert(first == writer->last + 1);
    for (unsigned i = 0; i < n; i++)
        must(writer, km_sql_put_entry(&writer->sql, first + i, &entries[i]));
    if (n == 0)
        return;
    writer->last = first + n - 1;
    writer->last_term = entries[n - 1].term;
}

void km_disk_writer_truncate(struct km_disk_writer *writer, uint64_t index)
{
    if (index > writer->last)
        return; /* the usual case: libraft truncates before every append */
    assert(index > writer->snapshot_index && index >= writer->meta.first);
    uint64_t before = index - 1, term = 0;
    if (before >= writer->meta.first)
        must(writer, km_sql_entry_term(&writer->sql, before, &term));
    else if (before == writer->snapshot_index)
        term = writer->snapshot_term;
    if (index <= writer->mark.state.last)
        must_mark(writer, km_mark_lower(&writer->mark, before, term));
    must(writer, km_sql_delete_entries_from(&writer->sql, index));
    writer->last = before;
    writer->last_term = term;
}

void km_disk_writer_commit(struct km_disk_writer *writer, bool is_vote)
{
    if (writer->is_meta_changed)
        must(writer, km_sql_put_meta(&writer->sql, &writer->meta));
    writer->is_meta_changed = false;
    must(writer, km_sql_commit(&writer->sql));
    write_mark(writer, is_vote);
}

/* --- snapshots --- */

void km_disk_writer_put_start(struct km_disk_writer *writer, const struct raft_snapshot *snapshot, unsigned trailing)
{
    struct km_disk_put put = {
        .snapshot = snapshot, .trailing = trailing, .id = writer->next_snapshot++, .chunk = writer->put.chunk};
    assert(!writer->put.snapshot);
    assert(trailing == 0 || snapshot->index <= writer->last);
    for (unsigned i = 0; i < snapshot->n_bufs; i++)
        put.len += snapshot->bufs[i].len;
    if (!put.chunk && !(put.chunk = malloc(KM_SQL_CHUNK_LEN)))
        must(writer, KM_ERR_NOMEM);
    writer->put = put;
}

/* Fills the chunk from as many buffers as it takes; returns its length. */
static size_t next_chunk(struct km_disk_put *put)
{
    size_t len = 0;
    while (len < KM_SQL_CHUNK_LEN && put->buf < put->snapshot->n_bufs) {
        const struct raft_buffer *buf = &put->snapshot->bufs[put->buf];
        size_t n = buf->len - put->offset < KM_SQL_CHUNK_LEN - len ? buf->len - put->offset : KM_SQL_CHUNK_LEN - len;
        if (n > 0)
            memcpy(put->chunk + len, (const uint8_t *)buf->base + put->offset, n);
        len += n;
        put->offset += n;
        if (put->offset == buf->len) {
            put->buf++;
            put->offset = 0;
        }
    }
    return len;
}

/* The transaction that makes the written chunks the snapshot. */
static void finish_put(struct km_disk_writer *writer)
{
    struct km_disk_put *put = &writer->put;
    const struct raft_snapshot *snapshot = put->snapshot;
    struct km_sql_snapshot row = {.id = put->id,
                                  .index = snapshot->index,
                                  .term = snapshot->term,
                                  .configuration_index = snapshot->configuration_index,
                                  .len = put->len,
                                  .n_chunks = put->n_chunks,
                                  .data_crc = put->crc};
    if (raft_configuration_encode(&snapshot->configuration, &row.configuration) != 0)
        must(writer, KM_ERR_NOMEM);
    must(writer, km_sql_put_snapshot(&writer->sql, &row));
    raft_free(row.configuration.base);
    if (put->trailing == 0) {
        /* Installed. The log below is collected in steps; what lies above it must go at once. */
        const struct km_mark_state *mark = &writer->mark.state;
        if (mark->last > row.index || (mark->last == row.index && mark->last_term != row.term))
            must_mark(writer, km_mark_lower(&writer->mark, 0, 0));
        must(writer, km_sql_delete_entries_from(&writer->sql, row.index + 1));
        writer->meta.first = row.index + 1;
        writer->last = row.index;
        writer->last_term = row.term;
    } else if (row.index >= put->trailing && row.index - put->trailing + 1 > writer->meta.first) {
        writer->meta.first = row.index - put->trailing + 1;
    }
    writer->meta.snapshot = row.id;
    writer->is_meta_changed = true;
    writer->snapshot_index = row.index;
    writer->snapshot_term = row.term;
    writer->snapshot_len = row.len;
    writer->is_collecting = true;
}

bool km_disk_writer_put_step(struct km_disk_writer *writer)
{
    struct km_disk_put *put = &writer->put;
    km_disk_writer_begin(writer);
    for (int i = 0; i < CHUNKS_PER_STEP; i++) {
        size_t len = next_chunk(put);
        if (len == 0)
            break;
        must(writer, km_sql_put_chunk(&writer->sql, put->id, put->n_chunks++, put->chunk, len));
        put->crc = km_crc32c(put->crc, put->chunk, len);
    }
    bool is_done = put->buf == put->snapshot->n_bufs;
    if (is_done) {
        finish_put(writer);
        put->snapshot = NULL;
    }
    km_disk_writer_commit(writer, false);
    return is_done;
}

void km_disk_writer_get_start(struct km_disk_writer *writer)
{
    struct km_sql_snapshot row = {0};
    assert(!writer->get.snapshot && writer->meta.snapshot != 0);
    must(writer, km_sql_get_snapshot(&writer->sql, writer->meta.snapshot, &row));
    struct km_disk_get get = {.id = row.id, .n_chunks = row.n_chunks, .expected = row.data_crc};
    must(writer, km_disk_snapshot_new(&row, &get.snapshot));
    writer->get = get;
}

struct raft_snapshot *km_disk_writer_get_step(struct km_disk_writer *writer)
{
    struct km_disk_get *get = &writer->get;
    const struct raft_buffer *buf = &get->snapshot->bufs[0];
    for (int i = 0; i < CHUNKS_PER_STEP && get->n < get->n_chunks; i++, get->n++) {
        uint8_t *chunk = (uint8_t *)buf->base + get->n * KM_SQL_CHUNK_LEN;
        size_t len = km_disk_chunk_len(buf->len, get->n);
        must(writer, km_sql_get_chunk(&writer->sql, get->id, get->n, chunk, len));
        get->crc = km_crc32c(get->crc, chunk, len);
    }
    if (get->n < get->n_chunks)
        return NULL;
    if (get->crc != get->expected)
        km_disk_stop_process(writer->dir, KM_FOLDER_DATABASE, "the snapshot's checksum differs");
    struct raft_snapshot *snapshot = get->snapshot;
    get->snapshot = NULL;
    return snapshot;
}

/* --- in between --- */

void km_disk_writer_collect(struct km_disk_writer *writer)
{
    bool is_done = false;
    /* A snapshot that is being read stays until it is. */
    uint64_t snapshot = writer->get.snapshot ? writer->get.id : writer->meta.snapshot;
    must(writer, km_sql_begin(&writer->sql));
    must(writer, km_sql_collect(&writer->sql, writer->meta.first, snapshot, &is_done));
    must(writer, km_sql_commit(&writer->sql));
    writer->is_collecting = !is_done || snapshot != writer->meta.snapshot;
}

void km_disk_writer_rest(struct km_disk_writer *writer)
{
    must(writer, km_sql_checkpoint(&writer->sql));
    if (!writer->mark.is_dirty)
        return;
    uint64_t now = now_ms();
    if (now - writer->synced_ms < MARK_SYNC_MS)
        return;
    must_mark(writer, km_mark_sync(&writer->mark));
    writer->synced_ms = now;
}

unsigned short km_disk_writer_capacity(const struct km_disk_writer *writer)
{
    struct statvfs fs;
    if (fstatvfs(writer->dir_fd, &fs) != 0)
        return 0;
    uint64_t kib = (uint64_t)fs.f_bavail * fs.f_frsize / 1024, reserved = writer->snapshot_len / 1024;
    kib = kib > reserved ? kib - reserved : 0;
    return kib < UINT16_MAX ? (unsigned short)kib : UINT16_MAX;
}
