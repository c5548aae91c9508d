/* SPDX-License-Identifier: Apache-2.0
 *
 * The data folder's identity file and lock. The file is text, so that a person can see whose folder it is; its last
 * line is a checksum of the lines before. Format in PROTOCOL.md, "Disk". Used while a server starts, on the thread that
 * starts it.
 */
#include "folder.h"

#include "crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define FIRST_LINE "keymoot data folder"
#define FORMAT_VERSION 1
#define FILE_MAX 1024

#define FAIL(error, ...) (snprintf(ret_message, message_len, __VA_ARGS__), (error))

enum km_err km_folder_open(const char *dir, int *ret_fd, char *ret_message, size_t message_len)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return FAIL(KM_ERR_NOT_FOUND,
                    "%s: %s: is its file system mounted? A new server's folder is made by keymootd --init", dir,
                    strerror(errno));
    if (fd < 0)
        return FAIL(KM_ERR_IO, "%s: %s", dir, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int saved = errno;
        close(fd);
        if (saved == EWOULDBLOCK)
            return FAIL(KM_ERR_BUSY, "%s: in use by another process", dir);
        return FAIL(KM_ERR_IO, "%s: locking: %s", dir, strerror(saved));
    }
    *ret_fd = fd;
    return KM_OK;
}

static bool name_is_good(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > KM_FOLDER_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] > '~')
            return false;
    return true;
}

enum km_err km_folder_new_identity(const char *cluster, uint64_t server_id, const char *name,
                                   struct km_folder_identity *ret, char *ret_message, size_t message_len)
{
    if (!name_is_good(cluster))
        return FAIL(KM_ERR_ARG, "cluster name: expected 1 to %d printable characters without spaces",
                    KM_FOLDER_NAME_MAX);
    if (!name_is_good(name))
        return FAIL(KM_ERR_ARG, "server name: expected 1 to %d printable characters without spaces",
                    KM_FOLDER_NAME_MAX);
    if (server_id == 0)
        return FAIL(KM_ERR_ARG, "server id: expected a number from 1 on");
    struct km_folder_identity identity = {.server_id = server_id};
    strcpy(identity.cluster, cluster);
    strcpy(identity.name, name);
    if (getrandom(identity.instance, sizeof(identity.instance), 0) != (ssize_t)sizeof(identity.instance))
        return FAIL(KM_ERR_IO, "getrandom: %s", strerror(errno));
    *ret = identity;
    return KM_OK;
}

/* The whole file; returns its length. */
static size_t print_file(const struct km_folder_identity *identity, char text[FILE_MAX])
{
    char instance[2 * KM_MARK_INSTANCE_LEN + 1];
    for (int i = 0; i < KM_MARK_INSTANCE_LEN; i++)
        snprintf(instance + 2 * i, 3, "%02x", identity->instance[i]);
    int len =
        snprintf(text, FILE_MAX, FIRST_LINE " %d\ncluster %s\nserver %llu\nname %s\ninstance %s\nstate initialised\n",
                 FORMAT_VERSION, identity->cluster, (unsigned long long)identity->server_id, identity->name, instance);
    return (size_t)(len +
                    snprintf(text + len, (size_t)(FILE_MAX - len), "crc %08x\n", km_crc32c(0, text, (size_t)len)));
}

enum km_err km_folder_write_identity(int dir_fd, const struct km_folder_identity *identity, char *ret_message,
                                     size_t message_len)
{
    char text[FILE_MAX];
    size_t len = print_file(identity, text);

    int fd = openat(dir_fd, KM_FOLDER_IDENTITY ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return FAIL(KM_ERR_IO, KM_FOLDER_IDENTITY ".new: %s", strerror(errno));
    bool is_ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    close(fd);
    if (!is_ok || renameat(dir_fd, KM_FOLDER_IDENTITY ".new", dir_fd, KM_FOLDER_IDENTITY) != 0 || fsync(dir_fd) != 0)
        return FAIL(KM_ERR_IO, KM_FOLDER_IDENTITY ": writing: %s", strerror(errno));
    return KM_OK;
}

enum km_err km_folder_read_identity(int dir_fd, const char *dir, struct km_folder_identity *ret, char *ret_message,
                                    size_t message_len)
{
    char text[FILE_MAX + 1], again[FILE_MAX];
    int fd = openat(dir_fd, KM_FOLDER_IDENTITY, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return FAIL(KM_ERR_NOT_FOUND,
                    "%s: no identity file: not the data folder of a server, or lost. A new server's folder is made by "
                    "keymootd --init",
                    dir);
    if (fd < 0)
        return FAIL(KM_ERR_IO, KM_FOLDER_IDENTITY ": %s", strerror(errno));
    ssize_t n = read(fd, text, FILE_MAX);
    int saved = errno;
    close(fd);
    if (n < 0)
        return FAIL(KM_ERR_IO, KM_FOLDER_IDENTITY ": %s", strerror(saved));
    text[n] = 0;

    int version = 0;
    unsigned crc; /* compared as text below */
    unsigned long long id = 0;
    char instance[2 * KM_MARK_INSTANCE_LEN + 1] = "";
    struct km_folder_identity identity = {0};
    if (sscanf(text, FIRST_LINE " %d", &version) == 1 && version > FORMAT_VERSION)
        return FAIL(KM_ERR_VERSION, KM_FOLDER_IDENTITY ": format %d: written by a newer keymoot", version);
    int fields =
        sscanf(text, FIRST_LINE " %d cluster %64s server %llu name %64s instance %32s state initialised crc %8x",
               &version, identity.cluster, &id, identity.name, instance, &crc);
    identity.server_id = id;
    bool is_ok = fields == 6 && strlen(instance) == 2 * KM_MARK_INSTANCE_LEN;
    for (int i = 0; is_ok && i < KM_MARK_INSTANCE_LEN; i++) {
        unsigned byte;
        is_ok = sscanf(instance + 2 * i, "%2x", &byte) == 1;
        identity.instance[i] = is_ok ? (uint8_t)byte : 0;
    }
    /* Printed again it must be the same bytes, every one. */
    is_ok = is_ok && print_file(&identity, again) == (size_t)n && memcmp(text, again, (size_t)n) == 0;
    if (!is_ok)
        return FAIL(KM_ERR_CORRUPT, KM_FOLDER_IDENTITY
                    ": the file is damaged; restore it from a backup or rebuild this server under a new id");
    *ret = identity;
    return KM_OK;
}
