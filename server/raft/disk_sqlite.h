/* SPDX-License-Identifier: Apache-2.0
 *
 * struct km_disk over one SQLite database (raft.db) and the mark file, in a data folder of its own (design D7). The
 * formats are in PROTOCOL.md, "Disk".
 *
 * Fail-stop: when a write fails (no space, I/O error, memory), the process logs one line that names the file and the
 * error and ends with _exit(KM_DISK_EXIT). Nothing that was not durable has been acknowledged; a restart continues from
 * what is on disk.
 *
 * A folder is made once, by km_disk_provision (keymootd --init). From then on a file that is missing, cut, damaged,
 * older than what the mark remembers, or another server's, is a refusal and never a fresh start: a server that forgot
 * its votes or acknowledged entries must not take part.
 */
#ifndef KM_RAFT_DISK_SQLITE_H
#define KM_RAFT_DISK_SQLITE_H

#include "disk.h"

#include <uv.h>

#define KM_DISK_EXIT 70 /* exit status after a failed write: EX_SOFTWARE; the supervisor may restart, with a pause */
#define KM_DISK_MESSAGE_MAX 512 /* bytes of a message that never lacks its end */

/* Makes the data folder `dir` (0700): an empty database, the mark and, last, the identity file, all synced. `dir` may
 * exist if it is empty; its parent must exist. `cluster` and `name` are printable, without spaces, at most 64 bytes;
 * server_id is not 0. Errors, each with its reason in `ret_message`: KM_ERR_ARG, KM_ERR_EXISTS (not empty; an
 * interrupted call leaves such a folder too), KM_ERR_IO. */
enum km_err km_disk_provision(const char *dir, const char *cluster, uint64_t server_id, const char *name,
                              char *ret_message, size_t message_len) KM_CHECKED;

/* Opens a provisioned folder, locks it against other processes and starts the storage thread. Callbacks run on `loop`'s
 * thread, which must be the caller's. The disk is freed by its close method. load() must come before anything but
 * bootstrap() and close(). Errors, each with its reason in `ret_message`: KM_ERR_NOT_FOUND (no folder, or not
 * provisioned), KM_ERR_CONF (another server's or cluster's), KM_ERR_BUSY (in use by a process), KM_ERR_VERSION (a newer
 * keymoot wrote it), KM_ERR_CORRUPT (damaged or files missing), KM_ERR_IO, KM_ERR_NOMEM. */
enum km_err km_disk_sqlite_open(const char *dir, const char *cluster, uint64_t server_id, const char *name,
                                uv_loop_t *loop, struct km_disk **ret, char *ret_message,
                                size_t message_len) KM_CHECKED;

#endif
