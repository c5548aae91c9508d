/* SPDX-License-Identifier: Apache-2.0
 *
 * What a start accepts: the rows in raft.db are each whole (sql.c), together they are a snapshot and an unbroken log
 * that continues it (here), and they contain what the mark remembers (here). Anything else is a refusal with its
 * reason; nothing is repaired, since a repaired server would have forgotten what it promised. Runs on the storage
 * thread while the loop thread waits.
 */
#include "disk_load.h"

#include "crc32c.h"

#include <stdio.h>
#include <string.h>

#define REBUILD "rebuild this server under a new id"
#define FAIL(error, ...) (snprintf(ret_message, message_len, __VA_ARGS__), (error))
typedef unsigned long long ull;

void km_disk_snapshot_free(struct raft_snapshot *snapshot)
{
    if (!snapshot)
        return;
    raft_configuration_close(&snapshot->configuration);
    if (snapshot->bufs)
        raft_free(snapshot->bufs[0].base);
    raft_free(snapshot->bufs);
    raft_free(snapshot);
}

void km_disk_state_free(struct km_disk_state *state)
{
    for (size_t i = 0; i < state->n_entries; i++)
        raft_free(state->entries[i].buf.base);
    raft_free(state->entries);
    km_disk_snapshot_free(state->snapshot);
    memset(state, 0, sizeof(*state));
}

size_t km_disk_chunk_len(uint64_t len, uint64_t n)
{
    uint64_t left = len - n * KM_SQL_CHUNK_LEN;
    return left < KM_SQL_CHUNK_LEN ? (size_t)left : KM_SQL_CHUNK_LEN;
}

enum km_err km_disk_snapshot_new(struct km_sql_snapshot *row, struct raft_snapshot **ret)
{
    enum km_err err = KM_ERR_NOMEM;
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof(*snapshot));
    if (!snapshot)
        goto out;
    raft_configuration_init(&snapshot->configuration);
    snapshot->index = row->index;
    snapshot->term = row->term;
    snapshot->configuration_index = row->configuration_index;
    snapshot->n_bufs = 1;
    if (!(snapshot->bufs = raft_calloc(1, sizeof(*snapshot->bufs))))
        goto out;
    if (!(snapshot->bufs[0].base = raft_malloc(row->len + 1)))
        goto out;
    snapshot->bufs[0].len = row->len;
    if (raft_configuration_decode(&row->configuration, &snapshot->configuration) != 0) {
        err = KM_ERR_CORRUPT;
        goto out;
    }
    *ret = snapshot;
    snapshot = NULL;
    err = KM_OK;
out:
    raft_free(row->configuration.base);
    row->configuration.base = NULL;
    km_disk_snapshot_free(snapshot);
    return err;
}

static enum km_err load_snapshot(struct km_sql *sql, uint64_t id, struct raft_snapshot **ret, char *ret_message,
                                 size_t message_len)
{
    struct km_sql_snapshot row = {0};
    struct raft_snapshot *snapshot = NULL;
    enum km_err err = km_sql_get_snapshot(sql, id, &row);
    if (err == KM_ERR_NOT_FOUND)
        return FAIL(KM_ERR_CORRUPT, "raft.db: the snapshot's row is missing: the snapshot is damaged; " REBUILD);
    if (err)
        return FAIL(err, "raft.db: %s", km_sql_error(sql));
    uint64_t len = row.len, n_chunks = row.n_chunks;
    uint32_t expected = row.data_crc, crc = 0;
    err = km_disk_snapshot_new(&row, &snapshot);
    if (err == KM_ERR_CORRUPT)
        return FAIL(err, "raft.db: the snapshot's configuration is not decodable; " REBUILD);
    if (err)
        return FAIL(err, "raft.db: snapshot of %llu bytes: out of memory", (ull)len);
    if (n_chunks != (len + KM_SQL_CHUNK_LEN - 1) / KM_SQL_CHUNK_LEN)
        err = FAIL(KM_ERR_CORRUPT, "raft.db: the snapshot of %llu bytes has %llu chunks; " REBUILD, (ull)len,
                   (ull)n_chunks);
    for (uint64_t n = 0; !err && n < n_chunks; n++) {
        uint8_t *chunk = (uint8_t *)snapshot->bufs[0].base + n * KM_SQL_CHUNK_LEN;
        size_t chunk_len = km_disk_chunk_len(len, n);
        err = km_sql_get_chunk(sql, id, n, chunk, chunk_len);
        if (err)
            err = FAIL(err, "raft.db: %s", km_sql_error(sql));
        else
            crc = km_crc32c(crc, chunk, chunk_len);
    }
    if (!err && crc != expected)
        err = FAIL(KM_ERR_CORRUPT, "raft.db: the snapshot's checksum differs; " REBUILD);
    if (err) {
        km_disk_snapshot_free(snapshot);
        return err;
    }
    *ret = snapshot;
    return KM_OK;
}

struct reading {
    struct km_disk_state *state;
    size_t room;
    uint64_t term;    /* of the row before */
    bool has_message; /* take_entry refused and said why */
    char *ret_message;
    size_t message_len;
};

/* Takes one row if it continues the log. */
static enum km_err take_entry(void *arg, uint64_t index, uint64_t term, int type, const void *data, size_t len)
{
    struct reading *reading = arg;
    struct km_disk_state *state = reading->state;
    char *ret_message = reading->ret_message;
    size_t message_len = reading->message_len;
    reading->has_message = true;
    uint64_t expected = state->start_index + state->n_entries;
    if (index != expected || state->n_entries == reading->room)
        return FAIL(KM_ERR_CORRUPT, "raft.db: entry %llu is missing: the log is damaged; " REBUILD, (ull)expected);
    if (term < reading->term || term > state->term)
        return FAIL(KM_ERR_CORRUPT,
                    "raft.db: entry %llu: term %llu, but the one before has %llu and the server %llu; " REBUILD,
                    (ull)index, (ull)term, (ull)reading->term, (ull)state->term);
    struct raft_entry entry = {.term = term, .type = (enum raft_entry_type)type, .buf = {.len = len}};
    if (len > 0 && !(entry.buf.base = raft_malloc(len)))
        return FAIL(KM_ERR_NOMEM, "raft.db: entry %llu: out of memory", (ull)index);
    if (len > 0)
        memcpy(entry.buf.base, data, len);
    if (type == RAFT_CHANGE) {
        struct raft_configuration configuration;
        raft_configuration_init(&configuration);
        if (raft_configuration_decode(&entry.buf, &configuration) != 0) {
            raft_configuration_close(&configuration);
            raft_free(entry.buf.base);
            return FAIL(KM_ERR_CORRUPT, "raft.db: entry %llu: its configuration is not decodable; " REBUILD,
                        (ull)index);
        }
        raft_configuration_close(&configuration);
    }
    reading->term = term;
    state->entries[state->n_entries++] = entry;
    reading->has_message = false;
    return KM_OK;
}

static enum km_err load_entries(struct km_sql *sql, struct km_disk_state *state, char *ret_message, size_t message_len)
{
    uint64_t n_rows = 0;
    enum km_err err = km_sql_count_entries(sql, state->start_index, &n_rows);
    if (err)
        return FAIL(err, "raft.db: %s", km_sql_error(sql));
    if (n_rows == 0)
        return KM_OK;
    if (!(state->entries = raft_calloc(n_rows, sizeof(*state->entries))))
        return FAIL(KM_ERR_NOMEM, "raft.db: %llu entries: out of memory", (ull)n_rows);
    struct reading reading = {.state = state, .room = n_rows, .ret_message = ret_message, .message_len = message_len};
    err = km_sql_each_entry(sql, state->start_index, take_entry, &reading);
    if (err && !reading.has_message)
        err = FAIL(err, "raft.db: %s", km_sql_error(sql));
    return err;
}

/* Snapshot and log fit each other in the way libraft takes for granted. */
static enum km_err check_shape(const struct km_disk_state *state, char *ret_message, size_t message_len)
{
    const struct raft_snapshot *snapshot = state->snapshot;
    uint64_t first = state->start_index, last = first + state->n_entries - 1;
    uint64_t index = snapshot ? snapshot->index : 0, term = snapshot ? snapshot->term : 0;
    if (first == 0 || first > index + 1)
        return FAIL(KM_ERR_CORRUPT, "raft.db: entry %llu is missing: the log begins at %llu; " REBUILD, (ull)index + 1,
                    (ull)first);
    if (last < index)
        return FAIL(KM_ERR_CORRUPT, "raft.db: entry %llu is missing: the log ends before the snapshot's %llu; " REBUILD,
                    (ull)last + 1, (ull)index);
    if (term > state->term || (snapshot && (index == 0 || term == 0 || snapshot->configuration_index > index)))
        return FAIL(KM_ERR_CORRUPT, "raft.db: snapshot of entry %llu, term %llu, in term %llu; " REBUILD, (ull)index,
                    (ull)term, (ull)state->term);
    if (!snapshot && state->n_entries > 0 && state->entries[0].type != RAFT_CHANGE)
        return FAIL(KM_ERR_CORRUPT, "raft.db: entry 1 is no configuration; " REBUILD);
    if (snapshot && index >= first && state->entries[index - first].term != term)
        return FAIL(KM_ERR_CORRUPT, "raft.db: entry %llu has term %llu, the snapshot %llu; " REBUILD, (ull)index,
                    (ull)state->entries[index - first].term, (ull)term);
    if (snapshot && index + 1 == first && state->n_entries > 0 && state->entries[0].term < term)
        return FAIL(KM_ERR_CORRUPT, "raft.db: entry %llu has term %llu, the snapshot before it %llu; " REBUILD,
                    (ull)first, (ull)state->entries[0].term, (ull)term);
    if (state->term == 0 && (state->n_entries > 0 || state->voted_for != 0))
        return FAIL(KM_ERR_CORRUPT, "raft.db: entries or a vote in term 0; " REBUILD);
    return KM_OK;
}

/* The log reaches as far as the mark remembers, and what is there is what was there. */
static enum km_err check_mark(const struct km_disk_state *state, const struct km_mark *mark, char *ret_message,
                              size_t message_len)
{
    uint64_t first = state->start_index, last = first + state->n_entries - 1;
    uint64_t index = mark->state.last, term = mark->state.last_term, found = term;
    if (index > last)
        return FAIL(
            KM_ERR_CORRUPT,
            "raft.db: the log ends at entry %llu, the mark says %llu: its end is lost or the file is old; " REBUILD,
            (ull)last, (ull)index);
    if (index == 0)
        return KM_OK;
    if (index >= first)
        found = state->entries[index - first].term;
    else if (state->snapshot && index == state->snapshot->index)
        found = state->snapshot->term;
    if (found != term)
        return FAIL(
            KM_ERR_CORRUPT,
            "raft.db: entry %llu has term %llu, the mark says %llu: the log's end is lost or the file is old; " REBUILD,
            (ull)index, (ull)found, (ull)term);
    return KM_OK;
}

enum km_err km_disk_load(struct km_sql *sql, const struct km_sql_meta *meta, const struct km_mark *mark,
                         struct km_disk_state *ret, char *ret_message, size_t message_len)
{
    struct km_disk_state state = {.term = meta->term, .voted_for = meta->vote, .start_index = meta->first};
    enum km_err err = KM_OK;
    if (meta->snapshot != 0)
        err = load_snapshot(sql, meta->snapshot, &state.snapshot, ret_message, message_len);
    err = err ? err : load_entries(sql, &state, ret_message, message_len);
    err = err ? err : check_shape(&state, ret_message, message_len);
    err = err ? err : check_mark(&state, mark, ret_message, message_len);
    if (err) {
        km_disk_state_free(&state);
        return err;
    }
    *ret = state;
    return KM_OK;
}
