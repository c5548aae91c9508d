/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the master key comes from, and what is refused.
 */
#include "unit.h"

#include "../../server/hsm/backend.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static char folder[64];
static char message[256];

static const char *file(const char *name, const char *content, mode_t mode)
{
    static char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    return path;
}

static enum km_err read_from(const char *prefix, const char *rest, struct km_secret *ret)
{
    char source[PATH_MAX + 32];

    message[0] = '\0';
    snprintf(source, sizeof(source), "%s%s", prefix, rest);
    return km_master_key_read(source, "c1", ret, message, sizeof(message));
}

static void a_hex_file_of_ones_own_is_read(void **state)
{
    struct km_secret key = KM_SECRET_EMPTY;
    (void)state;

    assert_int_equal(read_from("file:", file("k", HEX "\n", 0600), &key), KM_OK);
    assert_int_equal(key.len, 32);
    for (int i = 0; i < 32; i++)
        assert_int_equal(key.data[i], i);
    km_secret_free(&key);
}

static void files_that_others_read_or_that_are_no_key_are_refused(void **state)
{
    struct km_secret key = KM_SECRET_EMPTY;
    (void)state;

    assert_int_equal(read_from("file:", file("k", HEX, 0640), &key), KM_ERR_CONF);
    assert_non_null(strstr(message, "640"));
    assert_int_equal(read_from("file:", file("k", HEX "0", 0600), &key), KM_ERR_CONF);
    assert_int_equal(read_from("file:", file("k", "", 0600), &key), KM_ERR_CONF);
    assert_int_equal(
        read_from("file:", file("k", "xx0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0600), &key),
        KM_ERR_CONF);
    assert_null(strstr(message, "xx01"));
    assert_int_equal(read_from("file:", "/nonexistent/key", &key), KM_ERR_IO);
    assert_int_equal(read_from("file:", folder, &key), KM_ERR_CONF);
    assert_int_equal(read_from("", "hsm:/k", &key), KM_ERR_CONF);
    assert_non_null(strstr(message, "file:/path"));
}

static void a_credential_is_found_by_name(void **state)
{
    struct km_secret key = KM_SECRET_EMPTY;
    (void)state;

    file("master", HEX, 0440);
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_int_equal(read_from("credential:", "master", &key), KM_ERR_CONF);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    assert_int_equal(read_from("credential:", "master", &key), KM_OK);
    assert_int_equal(key.data[31], 31);
    km_secret_free(&key);
    assert_int_equal(read_from("credential:", "../master", &key), KM_ERR_CONF);
    file("master", HEX, 0644);
    assert_int_equal(read_from("credential:", "master", &key), KM_ERR_CONF);
}

static void a_passphrase_gives_each_cluster_its_own_key(void **state)
{
    struct km_secret a = KM_SECRET_EMPTY, b = KM_SECRET_EMPTY, c = KM_SECRET_EMPTY;
    char source[PATH_MAX + 32];
    (void)state;

    assert_int_equal(read_from("passphrase-file:", file("p", "correct horse\n", 0600), &a), KM_OK);
    assert_int_equal(a.len, 32);
    assert_int_equal(read_from("passphrase-file:", file("p", "correct horse", 0600), &b), KM_OK);
    assert_memory_equal(a.data, b.data, 32);
    snprintf(source, sizeof(source), "passphrase-file:%s", file("p", "correct horse", 0600));
    assert_int_equal(km_master_key_read(source, "c2", &c, message, sizeof(message)), KM_OK);
    assert_memory_not_equal(a.data, c.data, 32);
    km_secret_free(&a);
    km_secret_free(&b);
    km_secret_free(&c);
    assert_int_equal(read_from("passphrase-file:", file("p", "short\n", 0600), &a), KM_ERR_CONF);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "master_key.XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"k", "p", "master"};
    char path[PATH_MAX];
    (void)state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hex_file_of_ones_own_is_read),
        cmocka_unit_test(files_that_others_read_or_that_are_no_key_are_refused),
        cmocka_unit_test(a_credential_is_found_by_name),
        cmocka_unit_test(a_passphrase_gives_each_cluster_its_own_key),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
