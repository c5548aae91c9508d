/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that a command makes: whole or not at all, never over an old one unless told to, and durable before the command
 * says done.
 */
#include "config.h"

#include "file.h"

#include "../common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum km_err cli_file_absent(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0 && errno == ENOENT)
        return KM_OK;
    km_log(KM_LOG_ERROR, "%s exists already; choose another name, or --force replaces it", path);
    return KM_ERR_EXISTS;
}

static enum km_err sync_folder(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return KM_ERR_IO;
    int rc = fsync(fd);
    close(fd);
    return rc == 0 ? KM_OK : KM_ERR_IO;
}

enum km_err cli_file_write(const char *path, mode_t mode, const void *data, size_t len, bool is_forced)
{
    char temporary[PATH_MAX];
    int fd = -1;
    enum km_err err = KM_ERR_IO;
    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
        errno = ENAMETOOLONG;
    else
        fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        km_log(KM_LOG_ERROR, "%s cannot be made: %s", path, strerror(errno));
        return KM_ERR_IO;
    }
    if (fchmod(fd, mode) != 0 || write(fd, data, len) != (ssize_t)len || fsync(fd) != 0)
        goto out;
    /* link() never replaces a file, rename() always does */
    if (is_forced ? rename(temporary, path) != 0 : link(temporary, path) != 0) {
        err = errno == EEXIST ? KM_ERR_EXISTS : KM_ERR_IO;
        goto out;
    }
    err = sync_folder(path);
out:
    if (err == KM_ERR_EXISTS)
        km_log(KM_LOG_ERROR, "%s exists already and was left as it is; choose another name", path);
    else if (err != KM_OK)
        km_log(KM_LOG_ERROR, "%s cannot be written: %s", path, strerror(errno));
    close(fd);
    if (err != KM_OK || !is_forced)
        unlink(temporary);
    return err;
}

enum km_err cli_folder_make(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) == 0)
        return KM_OK;
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return KM_OK;
    km_log(KM_LOG_ERROR, "folder %s cannot be made: %s", path, strerror(errno));
    return KM_ERR_IO;
}
