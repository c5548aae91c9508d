/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a data folder back, and refusing what cannot be what was written.
 */
#ifndef KM_RAFT_DISK_LOAD_H
#define KM_RAFT_DISK_LOAD_H

#include "disk.h"
#include "sql.h"

/* Verifies snapshot and log against each other, against `meta` and against `mark`; writes nothing. On success `*ret` is
 * the caller's (km_disk_state_free). Errors, with the reason in `ret_message`: KM_ERR_CORRUPT, KM_ERR_IO, KM_ERR_NOMEM.
 */
enum km_err km_disk_load(struct km_sql *sql, const struct km_sql_meta *meta, const struct km_mark *mark,
                         struct km_disk_state *ret, char *ret_message, size_t message_len) KM_CHECKED;

/* Frees what libraft did not take over; the struct itself stays. */
void km_disk_state_free(struct km_disk_state *state);

/* Frees struct, buffer, content and configuration. NULL is fine. */
void km_disk_snapshot_free(struct raft_snapshot *snapshot);

/* A snapshot with room for its content (bufs[0]) from its row, whose configuration it frees. Errors: KM_ERR_CORRUPT
 * (undecodable), KM_ERR_NOMEM. */
enum km_err km_disk_snapshot_new(struct km_sql_snapshot *row, struct raft_snapshot **ret) KM_CHECKED;

/* The length of chunk `n` of a content of `len` bytes. */
size_t km_disk_chunk_len(uint64_t len, uint64_t n);

#endif
