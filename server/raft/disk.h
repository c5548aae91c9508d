/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk that raft_io stands on: term, vote, entries and snapshots, durable. Two implementations: disk_sqlite.c
 * (SQLite in a storage thread, with the mark file, design D7) and the simulator's. raft_io (io.c) decides what is written in
 * which order; a disk writes it.
 *
 * Thread: every function is called on the loop thread, and every callback runs there, never inside the request. Requests take effect and
 * complete in the order in which they were issued (FIFO), with two exceptions that keep appends from waiting for megabytes: an own
 * snapshot (trailing > 0) and snapshot_get may complete after appends that were issued later. A disk never reports a failed write: it ends the process by name (fail-stop), since
 * libraft cannot survive one (facts: raft_io).
 */
#ifndef KM_RAFT_DISK_H
#define KM_RAFT_DISK_H

#include "../../common/err.h"

#include <raft.h>
#include <stdbool.h>
#include <stdint.h>

typedef void (*km_disk_cb)(void *arg);
typedef void (*km_disk_snapshot_cb)(void *arg, struct raft_snapshot *snapshot);

/* What a start finds. Memory is raft_malloc'ed in the form that raft_io->load must return. */
struct km_disk_state {
    raft_term term;
    raft_id voted_for;
    struct raft_snapshot *snapshot; /* NULL: none */
    raft_index start_index;
    struct raft_entry *entries;     /* batch NULL, each buf.base raft_malloc'ed */
    size_t n_entries;
};

struct km_disk;
struct km_disk_ops {
    /* Reads and verifies everything. Errors: KM_ERR_CORRUPT with the reason in `ret_message` (the server must not vote, lead or serve). */
    enum km_err (*load)(struct km_disk *disk, struct km_disk_state *ret, char *ret_message, size_t message_len);
    /* Writes term 1, vote 0 and entry 1 (the configuration) in one transaction. Errors: KM_ERR_EXISTS unless pristine. */
    enum km_err (*bootstrap)(struct km_disk *disk, const struct raft_configuration *configuration);
    /* Durable before they return. A new term clears the vote; the same term again is a no-op. */
    void (*set_term)(struct km_disk *disk, raft_term term);
    void (*set_vote)(struct km_disk *disk, raft_id server_id);
    /* Writes `n` entries from `first` on; the array and payloads stay valid until `cb`. */
    void (*append)(struct km_disk *disk, raft_index first, const struct raft_entry *entries, unsigned n, km_disk_cb cb, void *arg);
    /* Deletes entries >= index; returns at once, takes effect in the order of the queue. */
    void (*truncate)(struct km_disk *disk, raft_index index);
    /* Stores a snapshot. trailing > 0: own; entries > snapshot->index - trailing stay. trailing 0: installed; the whole log goes. */
    void (*snapshot_put)(struct km_disk *disk, unsigned trailing, const struct raft_snapshot *snapshot, km_disk_cb cb, void *arg);
    /* Hands over the newest snapshot: struct, bufs[1] and base raft_malloc'ed. Never fails. */
    void (*snapshot_get)(struct km_disk *disk, km_disk_snapshot_cb cb, void *arg);
    /* Free space as libraft's `capacity` wants it: KiB, at most 65535. */
    unsigned short (*capacity)(struct km_disk *disk);
    /* Completes what is queued, fires its callbacks, then `cb`; the disk is freed afterwards. */
    void (*close)(struct km_disk *disk, km_disk_cb cb, void *arg);
};
struct km_disk {
    const struct km_disk_ops *ops;
};

#endif
