/* SPDX-License-Identifier: Apache-2.0
 *
 * The mark: what the database must at least contain. SQLite takes a damaged frame of its write-ahead log for the log's
 * end and opens cleanly without what followed; a start that finds less than the mark remembers is refused (design D7).
 *
 * Invariant: the mark never claims what is not durable. So it is written after a commit, and lowered before a
 * transaction that takes something away.
 *
 * Thread: one at a time. Functions that write set errno; the caller stops the process.
 */
#ifndef KM_RAFT_MARK_H
#define KM_RAFT_MARK_H

#include "../../common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_MARK_FILE "mark"
#define KM_MARK_INSTANCE_LEN 16

struct km_mark_state {
    uint8_t instance[KM_MARK_INSTANCE_LEN];
    uint64_t term, vote;
    uint64_t last,
        last_term; /* the last entry that is durable, or the last that the snapshot stands for; 0: no claim */
};

struct km_mark {
    int fd;
    uint64_t sequence;
    struct km_mark_state state;
    bool is_dirty;   /* written since the last sync */
    bool is_damaged; /* found one slot unreadable at the start; harmless, the other one is used */
};

/* Makes the file in `dir_fd` (it must not exist) with both slots, synced. Errors: KM_ERR_IO with errno. */
enum km_err km_mark_create(int dir_fd, const struct km_mark_state *state) KM_CHECKED;

/* Reads the newest readable slot. Errors, with the reason in `ret_message`: KM_ERR_CORRUPT (missing, cut, no slot
 * readable), KM_ERR_VERSION, KM_ERR_IO. */
enum km_err km_mark_open(int dir_fd, struct km_mark *ret, char *ret_message, size_t message_len) KM_CHECKED;

/* Writes `state` to the slot that does not hold the newest one; with `is_synced` it is durable afterwards. Errors:
 * KM_ERR_IO. */
enum km_err km_mark_write(struct km_mark *mark, const struct km_mark_state *state, bool is_synced) KM_CHECKED;

/* Takes back a claim: both slots are written and durable, so that neither remembers more. Errors: KM_ERR_IO. */
enum km_err km_mark_lower(struct km_mark *mark, uint64_t last, uint64_t last_term) KM_CHECKED;

/* Makes what was written durable. Errors: KM_ERR_IO. */
enum km_err km_mark_sync(struct km_mark *mark) KM_CHECKED;

/* Compares what the database says with the mark. Errors: KM_ERR_CORRUPT with the reason. Entries are compared by the
 * caller. */
enum km_err km_mark_check_vote(const struct km_mark *mark, const uint8_t instance[KM_MARK_INSTANCE_LEN], uint64_t term,
                               uint64_t vote, char *ret_message, size_t message_len) KM_CHECKED;

void km_mark_close(struct km_mark *mark);

#endif
