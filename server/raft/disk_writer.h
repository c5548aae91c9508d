/* SPDX-License-Identifier: Apache-2.0
 *
 * The storage thread's hands: database, mark and what they contain now. disk_sqlite.c decides what is done when; here
 * each deed is durable when it returns or the process has ended (km_disk_stop_process).
 *
 * Thread: the storage thread; open and close on the thread that starts and joins it.
 */
#ifndef KM_RAFT_DISK_WRITER_H
#define KM_RAFT_DISK_WRITER_H

#include "disk.h"
#include "sql.h"

struct km_disk_put {
    const struct raft_snapshot *snapshot; /* borrowed; NULL: none is being written */
    unsigned trailing;
    uint64_t id, n_chunks, len;
    unsigned buf; /* where the next chunk begins */
    size_t offset;
    uint32_t crc;
    uint8_t *chunk;
};

struct km_disk_get {
    struct raft_snapshot *snapshot; /* NULL: none is being read */
    uint64_t id, n, n_chunks;
    uint32_t crc, expected;
};

struct km_disk_writer {
    char *dir;
    int dir_fd;
    struct km_sql sql;
    struct km_mark mark;
    struct km_sql_meta meta;
    uint64_t last, last_term; /* as of the last commit or, within a transaction, as written so far */
    uint64_t snapshot_index, snapshot_term, snapshot_len;
    uint64_t next_snapshot; /* id */
    bool is_meta_changed, is_collecting;
    uint64_t synced_ms; /* when the mark was, CLOCK_MONOTONIC */
    struct km_disk_put put;
    struct km_disk_get get;
};

/* Ends the process: "<dir>/<what>: <why>: stopping". */
_Noreturn void km_disk_stop_process(const char *dir, const char *what, const char *why);

enum km_err km_disk_writer_open(const char *dir, const char *cluster, uint64_t server_id, const char *name,
                                struct km_disk_writer *ret, char *ret_message, size_t message_len) KM_CHECKED;
void km_disk_writer_close(struct km_disk_writer *writer);

/* disk.h's load and bootstrap. */
enum km_err km_disk_writer_load(struct km_disk_writer *writer, struct km_disk_state *ret, char *ret_message,
                                size_t message_len) KM_CHECKED;
enum km_err km_disk_writer_bootstrap(struct km_disk_writer *writer,
                                     const struct raft_configuration *configuration) KM_CHECKED;

/* One transaction: begin, deeds, commit. */
void km_disk_writer_begin(struct km_disk_writer *writer);
void km_disk_writer_set_vote(struct km_disk_writer *writer, uint64_t term, uint64_t vote);
void km_disk_writer_append(struct km_disk_writer *writer, uint64_t first, const struct raft_entry *entries, unsigned n);
void km_disk_writer_truncate(struct km_disk_writer *writer, uint64_t index);
/* `is_vote`: the mark is synced too. */
void km_disk_writer_commit(struct km_disk_writer *writer, bool is_vote);

/* Writing a snapshot: start, then steps of some chunks, each with its own transaction, until one returns true: the
 * snapshot counts. */
void km_disk_writer_put_start(struct km_disk_writer *writer, const struct raft_snapshot *snapshot, unsigned trailing);
bool km_disk_writer_put_step(struct km_disk_writer *writer);

/* Reading the newest: start, then steps until one returns it. */
void km_disk_writer_get_start(struct km_disk_writer *writer);
struct raft_snapshot *km_disk_writer_get_step(struct km_disk_writer *writer);

/* One step of deleting what snapshots made superfluous; is_collecting says whether there is more. */
void km_disk_writer_collect(struct km_disk_writer *writer);

/* After each turn: checkpoint when due, the mark's sync once a second. */
void km_disk_writer_rest(struct km_disk_writer *writer);

/* Free space less what the next snapshot takes; KiB, at most 65535. */
unsigned short km_disk_writer_capacity(const struct km_disk_writer *writer);

#endif
