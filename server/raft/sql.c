/* SPDX-License-Identifier: Apache-2.0
 *
 * raft.db through SQLite. Every row that is read is checked against its checksum here, so nobody above meets a row that
 * was not written. Used by the thread that starts the server, then by the storage thread only.
 */
#include "sql.h"

#include "crc32c.h"
#include "folder.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHECKPOINT_PAGES 1000     /* of 4 KiB */
#define APPLICATION_ID 0x4b4d5246 /* "KMRF" */
#define CHUNK_ID(snapshot, n) ((snapshot)*KM_SQL_CHUNKS_MAX + (n))

static const char schema[] =
    "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, instance BLOB NOT NULL,"
    " term INTEGER NOT NULL, vote INTEGER NOT NULL, first INTEGER NOT NULL, snapshot INTEGER NOT NULL, crc INTEGER NOT "
    "NULL);"
    "CREATE TABLE log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, type INTEGER NOT NULL, data BLOB NOT NULL,"
    " crc INTEGER NOT NULL);"
    "CREATE TABLE snapshot (id INTEGER PRIMARY KEY, idx INTEGER NOT NULL, term INTEGER NOT NULL, conf_idx INTEGER NOT "
    "NULL,"
    " conf BLOB NOT NULL, len INTEGER NOT NULL, chunks INTEGER NOT NULL, data_crc INTEGER NOT NULL, crc INTEGER NOT "
    "NULL);"
    "CREATE TABLE chunk (id INTEGER PRIMARY KEY, data BLOB NOT NULL, crc INTEGER NOT NULL);";

static const char *const statement_text[KM_SQL_STATEMENTS] = {
#define KM_SQL_ROW(name, text) [KM_SQL_##name] = (text),
#include "sql.def"
#undef KM_SQL_ROW
};

const char *km_sql_error(const struct km_sql *sql)
{
    return sql->error;
}

__attribute__((format(printf, 2, 3))) static enum km_err corrupt(struct km_sql *sql, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(sql->error, sizeof(sql->error), format, args);
    va_end(args);
    return KM_ERR_CORRUPT;
}

/* Notes SQLite's words for the failure; damage that SQLite itself noticed is ours to call damage. */
static enum km_err failed(struct km_sql *sql)
{
    int rc = sqlite3_errcode(sql->db) & 0xff, os = sqlite3_system_errno(sql->db);
    snprintf(sql->error, sizeof(sql->error), "%s%s%s", sqlite3_errmsg(sql->db), os ? ": " : "", os ? strerror(os) : "");
    return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB ? KM_ERR_CORRUPT : KM_ERR_IO;
}

/* --- running statements: bind numbers and at most one blob, step, read, reset --- */

static void bind_u64(sqlite3_stmt *stmt, int column, uint64_t value)
{
    int rc = sqlite3_bind_int64(stmt, column, (int64_t)value);
    assert(rc == SQLITE_OK);
    (void)rc;
}

static void bind_blob(sqlite3_stmt *stmt, int column, const void *data, size_t len)
{
    /* NULL would bind SQL's NULL, which the tables refuse; len is bounded far below 2 GiB by whoever made the row. */
    int rc = sqlite3_bind_blob64(stmt, column, len > 0 ? data : "", len, SQLITE_STATIC);
    assert(rc == SQLITE_OK);
    (void)rc;
}

static enum km_err run(struct km_sql *sql, enum km_sql_statement which)
{
    sqlite3_stmt *stmt = sql->statement[which];
    enum km_err err = sqlite3_step(stmt) == SQLITE_DONE ? KM_OK : failed(sql);
    sqlite3_reset(stmt);
    return err;
}

static enum km_err run_u64(struct km_sql *sql, enum km_sql_statement which, uint64_t value)
{
    bind_u64(sql->statement[which], 1, value);
    return run(sql, which);
}

/* Steps to the first row; reset is the caller's after KM_OK. KM_ERR_NOT_FOUND: none. */
static enum km_err first_row(struct km_sql *sql, sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return KM_OK;
    enum km_err err = rc == SQLITE_DONE ? KM_ERR_NOT_FOUND : failed(sql);
    sqlite3_reset(stmt);
    return err;
}

static uint64_t column_u64(sqlite3_stmt *stmt, int column)
{
    return (uint64_t)sqlite3_column_int64(stmt, column);
}

/* A value that changed its type could still read as the right number; it was not what was written. */
static bool columns_are(sqlite3_stmt *stmt, const char *types)
{
    for (int i = 0; types[i] != 0; i++)
        if (sqlite3_column_type(stmt, i) != (types[i] == 'b' ? SQLITE_BLOB : SQLITE_INTEGER))
            return false;
    return true;
}

/* --- checksums: the fields of a row in the order of the table, numbers as 8 bytes --- */

static uint32_t meta_crc(const struct km_sql *sql, const struct km_sql_meta *meta)
{
    uint32_t crc = km_crc32c_u64(sql->seed, KM_SQL_FORMAT);
    crc = km_crc32c(crc, meta->instance, sizeof(meta->instance));
    crc = km_crc32c_u64(crc, meta->term);
    crc = km_crc32c_u64(crc, meta->vote);
    crc = km_crc32c_u64(crc, meta->first);
    return km_crc32c_u64(crc, meta->snapshot);
}

static uint32_t entry_crc(const struct km_sql *sql, uint64_t index, uint64_t term, uint64_t type, const void *data,
                          size_t len)
{
    uint32_t crc = km_crc32c_u64(sql->seed, index);
    crc = km_crc32c_u64(crc, term);
    crc = km_crc32c_u64(crc, type);
    crc = km_crc32c_u64(crc, len);
    return km_crc32c(crc, data, len);
}

static uint32_t chunk_crc(const struct km_sql *sql, uint64_t id, const void *data, size_t len)
{
    uint32_t crc = km_crc32c_u64(sql->seed, id);
    crc = km_crc32c_u64(crc, len);
    return km_crc32c(crc, data, len);
}

static uint32_t snapshot_crc(const struct km_sql *sql, const struct km_sql_snapshot *snapshot)
{
    uint32_t crc = km_crc32c_u64(sql->seed, snapshot->id);
    crc = km_crc32c_u64(crc, snapshot->index);
    crc = km_crc32c_u64(crc, snapshot->term);
    crc = km_crc32c_u64(crc, snapshot->configuration_index);
    crc = km_crc32c_u64(crc, snapshot->configuration.len);
    crc = km_crc32c(crc, snapshot->configuration.base, snapshot->configuration.len);
    crc = km_crc32c_u64(crc, snapshot->len);
    crc = km_crc32c_u64(crc, snapshot->n_chunks);
    return km_crc32c_u64(crc, snapshot->data_crc);
}

/* --- open and close --- */

static int note_wal_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db, (void)name;
    ((struct km_sql *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

static enum km_err execute(struct km_sql *sql, const char *text)
{
    return sqlite3_exec(sql->db, text, NULL, NULL, NULL) == SQLITE_OK ? KM_OK : failed(sql);
}

/* Fails unless the first row of `pragma` is `expected`. */
static enum km_err expect(struct km_sql *sql, const char *pragma, const char *expected)
{
    sqlite3_stmt *stmt = NULL;
    enum km_err err = sqlite3_prepare_v2(sql->db, pragma, -1, &stmt, NULL) == SQLITE_OK ? KM_OK : failed(sql);
    err = err ? err : first_row(sql, stmt);
    const char *found = err ? NULL : (const char *)sqlite3_column_text(stmt, 0);
    if (!err && (!found || strcmp(found, expected) != 0))
        err = corrupt(sql, "%s: %s", pragma, found ? found : "no answer");
    sqlite3_finalize(stmt);
    return err;
}

static enum km_err connect_to(struct km_sql *sql, const char *dir, int flags)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof(path), "%s/" KM_FOLDER_DATABASE, dir) >= sizeof(path)) {
        snprintf(sql->error, sizeof(sql->error), "path too long");
        return KM_ERR_ARG;
    }
    if (sqlite3_open_v2(path, &sql->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | flags, NULL) != SQLITE_OK)
        return sql->db ? failed(sql) : KM_ERR_NOMEM;
    sqlite3_extended_result_codes(sql->db, 1);
    sqlite3_db_config(sql->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    /* EXCLUSIVE before the first access: then there is no shared-memory file. */
    enum km_err err = execute(sql, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA cell_size_check=ON; PRAGMA page_size=4096;"
                                   "PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY;");
    err = err ? err : expect(sql, "PRAGMA journal_mode=WAL", "wal");
    err = err ? err : execute(sql, "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864;");
    err = err ? err : expect(sql, "PRAGMA synchronous", "2");
    km_sql_moved(sql);
    return err;
}

void km_sql_moved(struct km_sql *sql)
{
    sqlite3_wal_hook(sql->db, note_wal_pages, sql); /* instead of SQLite's own checkpoints, whose errors are lost */
}

static enum km_err prepare(struct km_sql *sql)
{
    for (int i = 0; i < KM_SQL_STATEMENTS; i++) {
        sqlite3_stmt **stmt = &sql->statement[i];
        if (sqlite3_prepare_v3(sql->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) == SQLITE_OK)
            continue;
        enum km_err err = failed(sql);
        /* "no such table" is the caller's mistake to SQLite, damage to us. */
        return sqlite3_errcode(sql->db) == SQLITE_ERROR ? KM_ERR_CORRUPT : err;
    }
    return KM_OK;
}

enum km_err km_sql_accept(struct km_sql *sql)
{
    if (sqlite3_wal_checkpoint_v2(sql->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
        return failed(sql);
    sqlite3_db_config(sql->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return KM_OK;
}

void km_sql_close(struct km_sql *sql)
{
    for (int i = 0; i < KM_SQL_STATEMENTS; i++)
        sqlite3_finalize(sql->statement[i]);
    sqlite3_close(sql->db);
    memset(sql, 0, sizeof(*sql));
}

enum km_err km_sql_create(const char *dir, const struct km_sql_meta *meta, char *ret_message, size_t message_len)
{
    struct km_sql sql = {.seed = km_crc32c(0, meta->instance, sizeof(meta->instance))};
    char pragma[64];
    snprintf(pragma, sizeof(pragma), "PRAGMA application_id=%d", APPLICATION_ID);
    enum km_err err = connect_to(&sql, dir, SQLITE_OPEN_CREATE);
    err = err ? err : execute(&sql, pragma);
    err = err ? err : execute(&sql, schema);
    err = err ? err : prepare(&sql);
    err = err ? err : km_sql_put_meta(&sql, meta);
    err = err ? err : km_sql_accept(&sql);
    if (err)
        snprintf(ret_message, message_len, KM_FOLDER_DATABASE ": making it: %s", sql.error);
    km_sql_close(&sql);
    return err;
}

static enum km_err get_meta(struct km_sql *sql, const uint8_t instance[KM_MARK_INSTANCE_LEN], struct km_sql_meta *ret)
{
    sqlite3_stmt *stmt = sql->statement[KM_SQL_META_GET];
    enum km_err err = first_row(sql, stmt);
    if (err == KM_ERR_NOT_FOUND)
        return corrupt(sql, "meta row missing");
    if (err)
        return err;
    uint64_t format = column_u64(stmt, 0);
    struct km_sql_meta meta = {.term = column_u64(stmt, 2),
                               .vote = column_u64(stmt, 3),
                               .first = column_u64(stmt, 4),
                               .snapshot = column_u64(stmt, 5)};
    bool is_same = sqlite3_column_bytes(stmt, 1) == KM_MARK_INSTANCE_LEN &&
                   memcmp(sqlite3_column_blob(stmt, 1), instance, KM_MARK_INSTANCE_LEN) == 0;
    memcpy(meta.instance, instance, sizeof(meta.instance));
    bool is_whole = columns_are(stmt, "ibiiiii") && column_u64(stmt, 6) == meta_crc(sql, &meta);
    sqlite3_reset(stmt);
    if (format > KM_SQL_FORMAT && format < 1000)
        return corrupt(sql, "format %llu: written by a newer keymoot", (unsigned long long)format), KM_ERR_VERSION;
    if (!is_same)
        return corrupt(sql, "belongs to another data folder than identity does");
    if (!is_whole || format != KM_SQL_FORMAT)
        return corrupt(sql,
                       "meta row: checksum differs: term and vote are damaged; rebuild this server under a new id");
    *ret = meta;
    return KM_OK;
}

enum km_err km_sql_open(const char *dir, const uint8_t instance[KM_MARK_INSTANCE_LEN], struct km_sql *ret,
                        struct km_sql_meta *ret_meta, char *ret_message, size_t message_len)
{
    memset(ret, 0, sizeof(*ret));
    ret->seed = km_crc32c(0, instance, KM_MARK_INSTANCE_LEN);
    enum km_err err = connect_to(ret, dir, 0);
    err = err ? err : expect(ret, "PRAGMA quick_check(1)", "ok");
    err = err ? err : prepare(ret);
    err = err ? err : get_meta(ret, instance, ret_meta);
    if (err) {
        /* What SQLite itself finds wrong with the file says nothing of what to do. */
        bool is_damaged = err == KM_ERR_CORRUPT && !strstr(ret->error, "folder") && !strstr(ret->error, "rebuild");
        snprintf(ret_message, message_len, KM_FOLDER_DATABASE ": %s%s", ret->error,
                 is_damaged ? ": the file is damaged; rebuild this server under a new id" : "");
        km_sql_close(ret);
    }
    return err;
}

/* --- transactions --- */

enum km_err km_sql_begin(struct km_sql *sql)
{
    return run(sql, KM_SQL_BEGIN);
}

enum km_err km_sql_commit(struct km_sql *sql)
{
    return run(sql, KM_SQL_COMMIT);
}

enum km_err km_sql_checkpoint(struct km_sql *sql)
{
    if (sql->wal_pages < CHECKPOINT_PAGES)
        return KM_OK;
    sql->wal_pages = 0;
    return sqlite3_wal_checkpoint_v2(sql->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK ? KM_OK
                                                                                                        : failed(sql);
}

/* --- rows --- */

enum km_err km_sql_put_meta(struct km_sql *sql, const struct km_sql_meta *meta)
{
    sqlite3_stmt *stmt = sql->statement[KM_SQL_META_PUT];
    bind_u64(stmt, 1, KM_SQL_FORMAT);
    bind_blob(stmt, 2, meta->instance, sizeof(meta->instance));
    bind_u64(stmt, 3, meta->term);
    bind_u64(stmt, 4, meta->vote);
    bind_u64(stmt, 5, meta->first);
    bind_u64(stmt, 6, meta->snapshot);
    bind_u64(stmt, 7, meta_crc(sql, meta));
    return run(sql, KM_SQL_META_PUT);
}

enum km_err km_sql_put_entry(struct km_sql *sql, uint64_t index, const struct raft_entry *entry)
{
    sqlite3_stmt *stmt = sql->statement[KM_SQL_ENTRY_PUT];
    bind_u64(stmt, 1, index);
    bind_u64(stmt, 2, entry->term);
    bind_u64(stmt, 3, (uint64_t)entry->type);
    bind_blob(stmt, 4, entry->buf.base, entry->buf.len);
    bind_u64(stmt, 5, entry_crc(sql, index, entry->term, (uint64_t)entry->type, entry->buf.base, entry->buf.len));
    return run(sql, KM_SQL_ENTRY_PUT);
}

enum km_err km_sql_each_entry(struct km_sql *sql, uint64_t first, km_sql_entry_fn each, void *arg)
{
    sqlite3_stmt *stmt = sql->statement[KM_SQL_ENTRY_EACH];
    bind_u64(stmt, 1, first);
    enum km_err err = first_row(sql, stmt);
    if (err)
        return err == KM_ERR_NOT_FOUND ? KM_OK : err;
    for (;;) {
        uint64_t index = column_u64(stmt, 0), term = column_u64(stmt, 1), type = column_u64(stmt, 2);
        const void *data = sqlite3_column_blob(stmt, 3);
        size_t len = (size_t)sqlite3_column_bytes(stmt, 3);
        if (!columns_are(stmt, "iiibi") || column_u64(stmt, 4) != entry_crc(sql, index, term, type, data, len))
            err = corrupt(sql, "entry %llu: checksum differs: the log is damaged; rebuild this server under a new id",
                          (unsigned long long)index);
        else if (type != RAFT_COMMAND && type != RAFT_BARRIER && type != RAFT_CHANGE)
            err = corrupt(sql, "entry %llu: unknown type %llu", (unsigned long long)index, (unsigned long long)type);
        else
            err = each(arg, index, term, (int)type, data, len);
        if (err)
            break;
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_DONE)
            break;
        if (rc != SQLITE_ROW) {
            err = failed(sql);
            break;
        }
    }
    sqlite3_reset(stmt);
    return err;
}

/* The one number that `which` selects for `key`. */
static enum km_err select_u64(struct km_sql *sql, enum km_sql_statement which, uint64_t key, uint64_t *ret)
{
    sqlite3_stmt *stmt = sql->statement[which];
    bind_u64(stmt, 1, key);
    enum km_err err = first_row(sql, stmt);
    if (err)
        return err;
    *ret = column_u64(stmt, 0);
    sqlite3_reset(stmt);
    return KM_OK;
}

enum km_err km_sql_entry_term(struct km_sql *sql, uint64_t index, uint64_t *ret_term)
{
    return select_u64(sql, KM_SQL_ENTRY_TERM, index, ret_term);
}

enum km_err km_sql_count_entries(struct km_sql *sql, uint64_t first, uint64_t *ret)
{
    return select_u64(sql, KM_SQL_ENTRY_COUNT, first, ret);
}

enum km_err km_sql_delete_entries_from(struct km_sql *sql, uint64_t index)
{
    return run_u64(sql, KM_SQL_ENTRY_CUT, index);
}

enum km_err km_sql_put_chunk(struct km_sql *sql, uint64_t snapshot, uint64_t n, const void *data, size_t len)
{
    assert(n < KM_SQL_CHUNKS_MAX && len <= KM_SQL_CHUNK_LEN);
    sqlite3_stmt *stmt = sql->statement[KM_SQL_CHUNK_PUT];
    bind_u64(stmt, 1, CHUNK_ID(snapshot, n));
    bind_blob(stmt, 2, data, len);
    bind_u64(stmt, 3, chunk_crc(sql, CHUNK_ID(snapshot, n), data, len));
    return run(sql, KM_SQL_CHUNK_PUT);
}

enum km_err km_sql_get_chunk(struct km_sql *sql, uint64_t snapshot, uint64_t n, void *ret, size_t len)
{
    sqlite3_stmt *stmt = sql->statement[KM_SQL_CHUNK_GET];
    bind_u64(stmt, 1, CHUNK_ID(snapshot, n));
    enum km_err err = first_row(sql, stmt);
    if (err == KM_ERR_NOT_FOUND)
        return corrupt(sql,
                       "snapshot chunk %llu is missing: the snapshot is damaged; rebuild this server under a new id",
                       (unsigned long long)n);
    if (err)
        return err;
    const void *data = sqlite3_column_blob(stmt, 0);
    size_t found = (size_t)sqlite3_column_bytes(stmt, 0);
    if (!columns_are(stmt, "bi") || found != len ||
        column_u64(stmt, 1) != chunk_crc(sql, CHUNK_ID(snapshot, n), data, found))
        err = corrupt(
            sql, "snapshot chunk %llu: checksum differs: the snapshot is damaged; rebuild this server under a new id",
            (unsigned long long)n);
    else
        memcpy(ret, data, len);
    sqlite3_reset(stmt);
    return err;
}

enum km_err km_sql_put_snapshot(struct km_sql *sql, const struct km_sql_snapshot *snapshot)
{
    sqlite3_stmt *stmt = sql->statement[KM_SQL_SNAPSHOT_PUT];
    bind_u64(stmt, 1, snapshot->id);
    bind_u64(stmt, 2, snapshot->index);
    bind_u64(stmt, 3, snapshot->term);
    bind_u64(stmt, 4, snapshot->configuration_index);
    bind_blob(stmt, 5, snapshot->configuration.base, snapshot->configuration.len);
    bind_u64(stmt, 6, snapshot->len);
    bind_u64(stmt, 7, snapshot->n_chunks);
    bind_u64(stmt, 8, snapshot->data_crc);
    bind_u64(stmt, 9, snapshot_crc(sql, snapshot));
    return run(sql, KM_SQL_SNAPSHOT_PUT);
}

enum km_err km_sql_get_snapshot(struct km_sql *sql, uint64_t id, struct km_sql_snapshot *ret)
{
    sqlite3_stmt *stmt = sql->statement[KM_SQL_SNAPSHOT_GET];
    bind_u64(stmt, 1, id);
    enum km_err err = first_row(sql, stmt);
    if (err)
        return err;
    struct km_sql_snapshot snapshot = {
        .id = id,
        .index = column_u64(stmt, 0),
        .term = column_u64(stmt, 1),
        .configuration_index = column_u64(stmt, 2),
        .configuration = {(void *)sqlite3_column_blob(stmt, 3), (size_t)sqlite3_column_bytes(stmt, 3)},
        .len = column_u64(stmt, 4),
        .n_chunks = column_u64(stmt, 5),
        .data_crc = (uint32_t)column_u64(stmt, 6),
    };
    void *copy = NULL;
    if (!columns_are(stmt, "iiibiiii") || column_u64(stmt, 6) > UINT32_MAX ||
        column_u64(stmt, 7) != snapshot_crc(sql, &snapshot))
        err =
            corrupt(sql, "snapshot row: checksum differs: the snapshot is damaged; rebuild this server under a new id");
    else if (!(copy = raft_malloc(snapshot.configuration.len + 1)))
        err = KM_ERR_NOMEM;
    else
        memcpy(copy, snapshot.configuration.base, snapshot.configuration.len);
    sqlite3_reset(stmt);
    if (err)
        return err;
    snapshot.configuration.base = copy;
    *ret = snapshot;
    return KM_OK;
}

enum km_err km_sql_delete_unfinished(struct km_sql *sql, uint64_t snapshot)
{
    enum km_err err = run_u64(sql, KM_SQL_CHUNK_CUT, CHUNK_ID(snapshot + 1, 0));
    return err ? err : run_u64(sql, KM_SQL_SNAPSHOT_CUT, snapshot);
}

enum km_err km_sql_collect(struct km_sql *sql, uint64_t first, uint64_t snapshot, bool *ret_done)
{
    int before = sqlite3_total_changes(sql->db);
    enum km_err err = run_u64(sql, KM_SQL_ENTRY_COLLECT, first);
    err = err ? err : run_u64(sql, KM_SQL_CHUNK_COLLECT, CHUNK_ID(snapshot, 0));
    err = err ? err : run_u64(sql, KM_SQL_SNAPSHOT_COLLECT, snapshot);
    if (!err)
        *ret_done = sqlite3_total_changes(sql->db) == before;
    return err;
}
