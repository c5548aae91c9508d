/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a data folder, once. The identity file comes last: with it the folder is complete, without it it is not a data
 * folder. On the caller's thread.
 */
#include "disk_sqlite.h"

#include "folder.h"
#include "sql.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAIL(error, ...) (snprintf(ret_message, message_len, __VA_ARGS__), (error))

static enum km_err expect_empty(int dir_fd, const char *dir, char *ret_message, size_t message_len)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (!stream) {
        if (fd >= 0)
            close(fd);
        return FAIL(KM_ERR_IO, "%s: %s", dir, strerror(errno));
    }
    enum km_err err = KM_OK;
    struct dirent *entry;
    while (!err && (entry = readdir(stream)))
        if (strcmp(entry->d_name, KM_FOLDER_IDENTITY) == 0)
            err = FAIL(KM_ERR_EXISTS, "%s: is a server's data folder already", dir);
        else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                 strcmp(entry->d_name, "lost+found") != 0)
            err = FAIL(KM_ERR_EXISTS,
                       "%s: not empty (%s), and not a data folder: choose another one, or remove what is in it", dir,
                       entry->d_name);
    closedir(stream);
    return err;
}

/* The entry `dir` in its parent is durable too. */
static bool sync_parent(const char *dir)
{
    char *copy = strdup(dir);
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool is_ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(copy);
    return is_ok;
}

enum km_err km_disk_provision(const char *dir, const char *cluster, uint64_t server_id, const char *name,
                              char *ret_message, size_t message_len)
{
    struct km_folder_identity identity;
    int dir_fd = -1;
    enum km_err err = km_folder_new_identity(cluster, server_id, name, &identity, ret_message, message_len);
    if (err)
        return err;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return FAIL(KM_ERR_IO, "%s: making it: %s", dir, strerror(errno));
    err = km_folder_open(dir, &dir_fd, ret_message, message_len);
    if (err)
        return err;
    err = expect_empty(dir_fd, dir, ret_message, message_len);
    if (err)
        goto out;
    if (fchmod(dir_fd, 0700) != 0) {
        err = FAIL(KM_ERR_IO, "%s: mode 0700: %s", dir, strerror(errno));
        goto out;
    }
    struct km_sql_meta meta = {.first = 1};
    struct km_mark_state mark = {0};
    memcpy(meta.instance, identity.instance, sizeof(meta.instance));
    memcpy(mark.instance, identity.instance, sizeof(mark.instance));
    err = km_sql_create(dir, &meta, ret_message, message_len);
    if (err)
        goto out;
    if (km_mark_create(dir_fd, &mark) != KM_OK || fsync(dir_fd) != 0 || !sync_parent(dir)) {
        err = FAIL(KM_ERR_IO, "%s: %s", dir, strerror(errno));
        goto out;
    }
    err = km_folder_write_identity(dir_fd, &identity, ret_message, message_len);
out:
    close(dir_fd);
    return err;
}
