/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the master key of the built-in back end comes from. Runs once at start; messages name the source and what was
 * expected, never a byte of what was read.
 */
#include "backend.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_LEN 32
#define SOURCE_MAX 1024 /* bytes of a file */
#define PASSPHRASE_MIN 8
#define OTHERS (S_IRWXG | S_IRWXO)
/* RFC 7914: N, r, p; 64 MiB and about a quarter of a second */
#define SCRYPT_N 65536
#define SCRYPT_R 8
#define SCRYPT_P 1
#define SCRYPT_MEMORY_MAX (UINT64_C(128) << 20)

struct source {
    const char *prefix;
    enum km_err (*read)(const char *rest, const char *cluster, struct km_secret *ret, char *message, size_t len);
};

static enum km_err fail(enum km_err err, char *message, size_t len, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static enum km_err fail(enum km_err err, char *message, size_t len, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(message, len, format, args);
    va_end(args);
    return err;
}

/* Reads a whole file that others must not be able to read. */
static enum km_err read_private(const char *path, mode_t forbidden, struct km_secret *ret, char *message, size_t len)
{
    struct km_secret content = KM_SECRET_EMPTY;
    struct stat st;
    size_t n = 0;
    ssize_t got;
    enum km_err err;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return fail(KM_ERR_IO, message, len, "%s: %s", path, strerror(errno));
    err = km_secret_new(&content, SOURCE_MAX + 1);
    if (err != KM_OK) {
        fail(err, message, len, "%s: no locked memory for the key (see the memlock limit)", path);
        goto out;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        err = fail(KM_ERR_CONF, message, len, "%s: is not a regular file", path);
        goto out;
    }
    if ((st.st_mode & forbidden) != 0) {
        err = fail(KM_ERR_CONF, message, len, "%s: can be read by others than its owner (mode %03o, expected 600)",
                   path, (unsigned)st.st_mode & 0777);
        goto out;
    }
    while (n <= SOURCE_MAX && (got = read(fd, content.data + n, SOURCE_MAX + 1 - n)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            err = fail(KM_ERR_IO, message, len, "%s: %s", path, strerror(errno));
            goto out;
        }
        n += (size_t)got;
    }
    if (n > SOURCE_MAX) {
        err = fail(KM_ERR_CONF, message, len, "%s: is over %d bytes long", path, SOURCE_MAX);
        goto out;
    }
    if (n > 0 && content.data[n - 1] == '\n')
        n--;
    km_secret_shrink(&content, n);
    *ret = km_secret_take(&content);
out:
    close(fd);
    km_secret_free(&content);
    return err;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static enum km_err read_hex(const char *path, mode_t forbidden, struct km_secret *ret, char *message, size_t len)
{
    struct km_secret text = KM_SECRET_EMPTY, key = KM_SECRET_EMPTY;
    enum km_err err = read_private(path, forbidden, &text, message, len);

    if (err == KM_OK) {
        err = km_secret_new(&key, KEY_LEN);
        if (err != KM_OK)
            fail(err, message, len, "%s: no locked memory for the key (see the memlock limit)", path);
    }
    for (size_t i = 0; i < KEY_LEN && err == KM_OK; i++) {
        int high = text.len == 2 * KEY_LEN ? hex_digit(text.data[2 * i]) : -1;
        int low = high >= 0 ? hex_digit(text.data[2 * i + 1]) : -1;
        if (low < 0)
            err = fail(KM_ERR_CONF, message, len, "%s: is not a master key: %d hexadecimal digits expected", path,
                       2 * KEY_LEN);
        else
            key.data[i] = (uint8_t)(high << 4 | low);
    }
    if (err == KM_OK)
        *ret = km_secret_take(&key);
    km_secret_free(&text);
    km_secret_free(&key);
    return err;
}

static enum km_err read_file(const char *path, const char *cluster, struct km_secret *ret, char *message, size_t len)
{
    (void)cluster;
    return read_hex(path, OTHERS, ret, message, len);
}

static enum km_err read_credential(const char *name, const char *cluster, struct km_secret *ret, char *message,
                                   size_t len)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];

    (void)cluster;
    if (directory == NULL || directory[0] == '\0')
        return fail(KM_ERR_CONF, message, len,
                    "credential:%s: CREDENTIALS_DIRECTORY is not set (the unit needs LoadCredentialEncrypted=%s:...)",
                    name, name);
    if (strchr(name, '/') != NULL || name[0] == '.' ||
        snprintf(path, sizeof(path), "%s/%s", directory, name) >= PATH_MAX)
        return fail(KM_ERR_CONF, message, len, "credential:%s: is not a credential's name", name);
    return read_hex(path, S_IRWXO, ret, message, len); /* systemd grants by ACL, whose mask shows as group bits */
}

/* The salt need not be secret or random, only the cluster's own: all its servers must come to the same key. */
static enum km_err read_passphrase(const char *path, const char *cluster, struct km_secret *ret, char *message,
                                   size_t len)
{
    struct km_secret phrase = KM_SECRET_EMPTY, key = KM_SECRET_EMPTY;
    char salt[512];
    int salt_len = snprintf(salt, sizeof(salt), "keymoot master key v1 %s", cluster);
    enum km_err err = read_private(path, OTHERS, &phrase, message, len);

    if (err == KM_OK && (salt_len < 0 || (size_t)salt_len >= sizeof(salt)))
        err = fail(KM_ERR_CONF, message, len, "the cluster's name is too long");
    if (err == KM_OK && phrase.len < PASSPHRASE_MIN)
        err = fail(KM_ERR_CONF, message, len, "%s: the passphrase is shorter than %d bytes", path, PASSPHRASE_MIN);
    if (err == KM_OK) {
        err = km_secret_new(&key, KEY_LEN);
        if (err != KM_OK)
            fail(err, message, len, "%s: no locked memory for the key (see the memlock limit)", path);
    }
    if (err == KM_OK &&
        EVP_PBE_scrypt((const char *)phrase.data, phrase.len, (const unsigned char *)salt, (size_t)salt_len, SCRYPT_N,
                       SCRYPT_R, SCRYPT_P, SCRYPT_MEMORY_MAX, key.data, KEY_LEN) != 1) {
        ERR_clear_error();
        err = fail(KM_ERR_CRYPTO, message, len, "%s: scrypt failed (it needs 64 MiB of memory)", path);
    }
    if (err == KM_OK)
        *ret = km_secret_take(&key);
    km_secret_free(&phrase);
    km_secret_free(&key);
    return err;
}

enum km_err km_master_key_read(const char *source, const char *cluster, struct km_secret *ret, char *ret_message,
                               size_t message_len)
{
    static const struct source sources[] = {
        {"file:", read_file},
        {"credential:", read_credential},
        {"passphrase-file:", read_passphrase},
    };

    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        size_t n = strlen(sources[i].prefix);
        if (strncmp(source, sources[i].prefix, n) == 0)
            return sources[i].read(source + n, cluster, ret, ret_message, message_len);
    }
    return fail(KM_ERR_CONF, ret_message, message_len,
                "master key source \"%s\": expected file:/path, credential:NAME or passphrase-file:/path", source);
}
