/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk for tests: a data folder, a loop, and requests that can be waited for. Entries and snapshots are made from
 * their index and term alone, so that whoever reads them back knows what they must be.
 */
#ifndef KM_TESTS_DISK_KIT_H
#define KM_TESTS_DISK_KIT_H

#include "../../server/raft/disk_sqlite.h"

#define KIT_CLUSTER "moot"
#define KIT_ID 3
#define KIT_NAME "a3"

struct kit {
    uv_loop_t loop;
    struct km_disk *disk;
    struct km_disk_state state; /* as loaded */
    char message[KM_DISK_MESSAGE_MAX];
    uint64_t last, term; /* of the log as submitted */
    unsigned pending;    /* callbacks to come */
    uint64_t acked;      /* last entry whose callback came and that was not truncated */
    uint64_t cut_term;   /* callbacks of entries of earlier terms are for truncated ones */
    void (*on_ack)(struct kit *kit, char what, uint64_t index, uint64_t term);
    int ack_fd;
};

/* A fresh folder name below the test's own temporary folder, which is removed at exit. Static storage; at most 64. */
const char *kit_folder(void);
/* Makes the folder `to` with a copy of all files of `from`. */
void kit_copy_to(const char *from, const char *to);
/* The same with a name of its own; it goes with the eighth copy after it. */
const char *kit_copy(const char *from);
/* Provisions and bootstraps `dir` with three voters. */
void kit_make(const char *dir);
/* Opens and loads; the reason is in kit->message. After an error nothing is open. */
enum km_err kit_open(struct kit *kit, const char *dir);
void kit_close(struct kit *kit);
/* Runs the loop until at most `pending` callbacks are missing. */
void kit_wait(struct kit *kit, unsigned pending);
/* Submits n entries after kit->last in kit->term, each of about `len` bytes. */
void kit_append(struct kit *kit, unsigned n, size_t len);
void kit_truncate(struct kit *kit, uint64_t index);
/* Submits a snapshot of `len` bytes in two buffers; trailing 0 installs it. */
void kit_put(struct kit *kit, uint64_t index, uint64_t term, size_t len, unsigned trailing);
/* Reads the newest snapshot and waits. The caller frees it with kit_snapshot_free. */
struct raft_snapshot *kit_get(struct kit *kit);
void kit_snapshot_free(struct raft_snapshot *snapshot);
/* Is this what kit_append / kit_put wrote? */
bool kit_entry_is_right(uint64_t index, const struct raft_entry *entry);
bool kit_snapshot_is_right(const struct raft_snapshot *snapshot);
/* SHA-256 over everything that was loaded, in hex. */
void kit_digest(const struct km_disk_state *state, char ret[65]);
uint64_t kit_random(void);
/* The seed of kit_random: KM_TEST_SEED or the time; printed by the first call. */

#endif
