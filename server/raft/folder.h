/* SPDX-License-Identifier: Apache-2.0
 *
 * The data folder: who it belongs to (the identity file) and that one process uses it (a lock on the folder itself).
 * A folder with an identity file was provisioned completely, so whatever else is missing in it was lost.
 */
#ifndef KM_RAFT_FOLDER_H
#define KM_RAFT_FOLDER_H

#include "mark.h"

#define KM_FOLDER_NAME_MAX 64
#define KM_FOLDER_IDENTITY "identity"
#define KM_FOLDER_DATABASE "raft.db"

struct km_folder_identity {
    char cluster[KM_FOLDER_NAME_MAX + 1], name[KM_FOLDER_NAME_MAX + 1];
    uint64_t server_id;
    uint8_t instance[KM_MARK_INSTANCE_LEN]; /* random, made with the folder; the database and the mark carry it too */
};

/* Opens `dir` and locks it for this process as long as `*ret_fd` is open. Errors: KM_ERR_NOT_FOUND, KM_ERR_BUSY,
 * KM_ERR_IO. */
enum km_err km_folder_open(const char *dir, int *ret_fd, char *ret_message, size_t message_len) KM_CHECKED;

/* Reads and checks the identity file. Errors: KM_ERR_NOT_FOUND, KM_ERR_CORRUPT, KM_ERR_VERSION, KM_ERR_IO. */
enum km_err km_folder_read_identity(int dir_fd, const char *dir, struct km_folder_identity *ret, char *ret_message,
                                    size_t message_len) KM_CHECKED;

/* Writes it, atomically and synced; it must not exist. Errors: KM_ERR_IO. */
enum km_err km_folder_write_identity(int dir_fd, const struct km_folder_identity *identity, char *ret_message,
                                     size_t message_len) KM_CHECKED;

/* Fills `ret` with a fresh instance. Errors: KM_ERR_ARG (a name that would not survive the file), KM_ERR_IO. */
enum km_err km_folder_new_identity(const char *cluster, uint64_t server_id, const char *name,
                                   struct km_folder_identity *ret, char *ret_message, size_t message_len) KM_CHECKED;

#endif
