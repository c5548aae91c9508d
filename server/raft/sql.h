/* SPDX-License-Identifier: Apache-2.0
 *
 * raft.db: the tables, the statements and the checksums of their rows. Tables in PROTOCOL.md, "Disk". One connection in
 * WAL mode, synchronous=FULL: a commit that returned is durable.
 *
 * Thread: one at a time. Errors are KM_ERR_IO (SQLite or the file system: km_sql_error says what) or KM_ERR_CORRUPT (a
 * row that is not what was written: km_sql_error says which).
 */
#ifndef KM_RAFT_SQL_H
#define KM_RAFT_SQL_H

#include "../../common/err.h"
#include "mark.h"

#include <raft.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define KM_SQL_FORMAT 1
#define KM_SQL_CHUNK_LEN (256u * 1024)
#define KM_SQL_CHUNKS_MAX (1u << 20) /* per snapshot: 256 GiB */
#define KM_SQL_ERROR_MAX 400

enum km_sql_statement {
#define KM_SQL_ROW(name, text) KM_SQL_##name,
#include "sql.def"
#undef KM_SQL_ROW
    KM_SQL_STATEMENTS
};

struct km_sql {
    sqlite3 *db;
    sqlite3_stmt *statement[KM_SQL_STATEMENTS];
    uint32_t seed; /* every row's checksum starts with the instance's: rows of another folder don't pass */
    int wal_pages; /* in the write-ahead log after the last commit */
    char error[KM_SQL_ERROR_MAX];
};

struct km_sql_meta {
    uint8_t instance[KM_MARK_INSTANCE_LEN];
    uint64_t term, vote;
    uint64_t first;    /* rows of `log` below are left over from before a snapshot */
    uint64_t snapshot; /* id of the newest complete snapshot; 0: none. Other ids are left over */
};

struct km_sql_snapshot {
    uint64_t id, index, term, configuration_index;
    uint64_t len, n_chunks;
    uint32_t data_crc; /* of the whole content */
    struct raft_buffer
        configuration; /* as raft_configuration_encode made it; what was read is the caller's to raft_free */
};

/* Makes the file in the folder `dir`, which must not have one. */
enum km_err km_sql_create(const char *dir, const struct km_sql_meta *meta, char *ret_message,
                          size_t message_len) KM_CHECKED;
/* Opens it, never makes it, checks SQLite's own structure and that `instance` wrote it. Errors also: KM_ERR_VERSION. */
enum km_err km_sql_open(const char *dir, const uint8_t instance[KM_MARK_INSTANCE_LEN], struct km_sql *ret,
                        struct km_sql_meta *ret_meta, char *ret_message, size_t message_len) KM_CHECKED;
/* Until this is called, closing leaves the write-ahead log as it was found: what a refused start saw stays to be looked
 * at. What a killed process wrote may not be durable yet; this makes it so. */
enum km_err km_sql_accept(struct km_sql *sql) KM_CHECKED;
void km_sql_close(struct km_sql *sql);
/* Tells SQLite the struct's new place after it was copied. */
void km_sql_moved(struct km_sql *sql);
/* What the last failure was, in words. */
const char *km_sql_error(const struct km_sql *sql);

enum km_err km_sql_begin(struct km_sql *sql) KM_CHECKED;
enum km_err km_sql_commit(struct km_sql *sql) KM_CHECKED;
/* Copies the write-ahead log into the file if it has grown enough. Not within a transaction. */
enum km_err km_sql_checkpoint(struct km_sql *sql) KM_CHECKED;

enum km_err km_sql_put_meta(struct km_sql *sql, const struct km_sql_meta *meta) KM_CHECKED;

enum km_err km_sql_put_entry(struct km_sql *sql, uint64_t index, const struct raft_entry *entry) KM_CHECKED;
/* Reads the rows from `first` on, in order, each verified, and calls `each` (data is borrowed; its error ends the
 * reading). */
typedef enum km_err (*km_sql_entry_fn)(void *arg, uint64_t index, uint64_t term, int type, const void *data,
                                       size_t len);
enum km_err km_sql_each_entry(struct km_sql *sql, uint64_t first, km_sql_entry_fn each, void *arg) KM_CHECKED;
/* The term of one row. KM_ERR_NOT_FOUND: no such row. */
enum km_err km_sql_entry_term(struct km_sql *sql, uint64_t index, uint64_t *ret_term) KM_CHECKED;
/* How many rows from `first` on. */
enum km_err km_sql_count_entries(struct km_sql *sql, uint64_t first, uint64_t *ret) KM_CHECKED;
enum km_err km_sql_delete_entries_from(struct km_sql *sql, uint64_t index) KM_CHECKED;

enum km_err km_sql_put_chunk(struct km_sql *sql, uint64_t snapshot, uint64_t n, const void *data,
                             size_t len) KM_CHECKED;
/* Reads and verifies one chunk into `ret`, which must want exactly `len` bytes. */
enum km_err km_sql_get_chunk(struct km_sql *sql, uint64_t snapshot, uint64_t n, void *ret, size_t len) KM_CHECKED;
enum km_err km_sql_put_snapshot(struct km_sql *sql, const struct km_sql_snapshot *snapshot) KM_CHECKED;
/* KM_ERR_NOT_FOUND: no such row. */
enum km_err km_sql_get_snapshot(struct km_sql *sql, uint64_t id, struct km_sql_snapshot *ret) KM_CHECKED;

/* Deletes what a crash left of snapshots newer than `snapshot`. */
enum km_err km_sql_delete_unfinished(struct km_sql *sql, uint64_t snapshot) KM_CHECKED;
/* One step of deleting entries below `first` and snapshots below `snapshot`; `*ret_done` when nothing is left. In a
 * transaction. */
enum km_err km_sql_collect(struct km_sql *sql, uint64_t first, uint64_t snapshot, bool *ret_done) KM_CHECKED;

#endif
