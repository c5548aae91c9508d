/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration files: what is read, and for each mistake the line, the key, what was found and what was expected.
 */
#include "../../common/conf.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sample {
    char *cluster, *log, *key;
    unsigned deadline_ms;
    bool is_strict;
    int level;
    char servers[256];
};

static const char *add_server(void *target, const char *name, const char *value)
{
    struct sample *s = target;
    if (strchr(value, ':') == NULL)
        return "HOST:PORT";
    size_t used = strlen(s->servers);
    snprintf(s->servers + used, sizeof(s->servers) - used, "%s=%s;", name, value);
    return NULL;
}

static const struct km_conf_row rows[] = {
    {"default", "cluster", KM_CONF_STRING, .offset = offsetof(struct sample, cluster), .is_required = true},
    {"default", "key", KM_CONF_PATH, .offset = offsetof(struct sample, key)},
    {"default", "log", KM_CONF_STRING, .offset = offsetof(struct sample, log), .init = "stderr"},
    {"default", "deadline_ms", KM_CONF_UINT, .offset = offsetof(struct sample, deadline_ms), .min = 10, .max = 60000,
     .init = "5000"},
    {"default", "strict", KM_CONF_BOOL, .offset = offsetof(struct sample, is_strict)},
    {"default", "level", KM_CONF_CHOICE, .offset = offsetof(struct sample, level), .choices = "error|warn|info",
     .init = "info"},
    {"servers", NULL, KM_CONF_SECTION, 0, .is_required = true, .each = add_server},
    {0},
};

static char folder[] = "/tmp/km-test-conf-XXXXXX";
static char path[sizeof(folder) + 8];
static char message[512];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/t.conf", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static enum km_err read_bytes(const char *text, size_t len, struct sample *ret)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    memset(ret, 0, sizeof(*ret));
    return km_conf_read(path, rows, ret, message, sizeof(message));
}

static void expect(const char *text, const char *wanted)
{
    struct sample s;
    enum km_err err = read_bytes(text, strlen(text), &s);
    assert_int_equal(err, KM_ERR_CONF);
    assert_memory_equal(message, path, strlen(path));
    assert_string_equal(message + strlen(path), wanted);
    assert_null(s.cluster);
    assert_null(s.log);
    assert_null(s.key);
}

static void a_good_file_is_read(void **state)
{
    (void)state;
    static const char text[] = "# a comment\n"
                               "cluster = prod   # the name\n"
                               "key = tls/me.key\n"
                               "deadline_ms=200\n"
                               "\tstrict = yes\r\n"
                               "level = warn\n"
                               "log = '/var/log/a b # c'\n"
                               "\n"
                               "[ servers ]\n"
                               "zulu = one host:1\n"
                               "alpha = two \\\n"
                               "   host:2\n";
    struct sample s;
    assert_int_equal(read_bytes(text, strlen(text), &s), KM_OK);
    char key[64];
    snprintf(key, sizeof(key), "%s/tls/me.key", folder);
    assert_string_equal(s.cluster, "prod");
    assert_string_equal(s.key, key);
    assert_int_equal(s.deadline_ms, 200);
    assert_true(s.is_strict);
    assert_int_equal(s.level, 1);
    assert_string_equal(s.log, "/var/log/a b # c");
    assert_string_equal(s.servers, "zulu=one host:1;alpha=two    host:2;");
    km_conf_fini(rows, &s);
    assert_null(s.cluster);
}

static void defaults_fill_what_is_absent(void **state)
{
    (void)state;
    static const char text[] = "cluster = c\n[servers]\na = h:1\n";
    struct sample s;
    assert_int_equal(read_bytes(text, strlen(text), &s), KM_OK);
    assert_string_equal(s.log, "stderr");
    assert_int_equal(s.deadline_ms, 5000);
    assert_int_equal(s.level, 2);
    assert_false(s.is_strict);
    assert_null(s.key);
    km_conf_fini(rows, &s);
}

static void mistakes_name_line_key_and_what_was_expected(void **state)
{
    (void)state;
    expect("cluster = c\n\ncluser = d\n[servers]\na = h:1\n",
           ":3: [default] cluser: found an unknown key, expected one of cluster, key, log, deadline_ms, strict, level");
    expect("cluster = c\n[servers]\na = h:1\n[server]\n",
           ":4: [server]: found an unknown section, expected one of [servers]");
    expect("cluster = c\n[server]\na = h:1\n", ":2: [server]: found an unknown section, expected one of [servers]");
    expect("cluster = c\nlog = none\ncluster = d\n",
           ":3: [default] cluster: found the key a second time, expected it once: it stands in line 1 already");
    expect("log = none\n[servers]\na = h:1\n",
           ":1: [default] cluster: found nothing, expected this key: it is required");
    expect("cluster = c\n", ":1: [servers]: found nothing, expected at least one name = value in this section");
    expect("cluster = c\n\n[servers]\n",
           ":3: [servers]: found nothing, expected at least one name = value in this section");
    expect("cluster =\n", ":1: [default] cluster: found nothing, expected a text");
    expect("cluster = c\nkey = \n", ":2: [default] key: found nothing, expected a file name");
    expect("cluster = c\n[servers]\na = h1\n", ":3: [servers] a: found \"h1\", expected HOST:PORT");
}

static void values_are_checked(void **state)
{
    (void)state;
    static const char *const numbers[] = {"9",         "60001", "-10", "1e3", "10ms", "0x10", "99999999999999999999",
                                          "4294967306"};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[128], wanted[128];
        snprintf(text, sizeof(text), "cluster = c\ndeadline_ms = %s\n", numbers[i]);
        snprintf(wanted, sizeof(wanted), ":2: [default] deadline_ms: found \"%s\", expected a number from 10 to 60000",
                 numbers[i]);
        expect(text, wanted);
    }
    expect("strict = maybe\n", ":1: [default] strict: found \"maybe\", expected yes or no");
    expect("level = warning\n", ":1: [default] level: found \"warning\", expected one of error, warn, info");
    expect("level = warn|info\n", ":1: [default] level: found \"warn|info\", expected one of error, warn, info");
}

static void what_surprises_is_refused(void **state)
{
    (void)state;
    expect("cluster = $ENV::HOME\n",
           ":1: [default] cluster: found a variable, expected the value itself ($ as a plain sign is written \\$)");
    expect("cluster = a\\\n ${cluster}\n",
           ":1: [default] cluster: found a variable, expected the value itself ($ as a plain sign is written \\$)");
    expect(".include /etc/passwd\n", ":1: [default]: found .include /etc/passwd, expected name = value (directives "
                                     "such as .include have no place here)");
    expect(".pragma = dollarid:on\n", ":1: [default]: found .pragma = dollarid:on, expected name = value (directives "
                                      "such as .include have no place here)");
    expect("servers::a = h:1\n", ":1: [default]: found servers::a = h:1, expected name = value");
    expect("just words\n", ":1: [default]: found just words, expected name = value");
    expect("cluster = c\n[servers\n", ":2: [default]: found [servers, expected a section's name in brackets: [name]");
    expect("[servers] a = h:1\n",
           ":1: [default]: found [servers] a = h:1, expected a section's name in brackets: [name]");
    expect("= c\n", ":1: [default]: found = c, expected name = value");
    expect("\x1b[2J\n", ":1: [default]: found ?[2J, expected name = value");
}

static void a_plain_dollar_can_be_written(void **state)
{
    (void)state;
    static const char text[] = "cluster = a\\$b'$c'\n[servers]\na = h:1\n";
    struct sample s;
    assert_int_equal(read_bytes(text, strlen(text), &s), KM_OK);
    assert_string_equal(s.cluster, "a$b$c");
    km_conf_fini(rows, &s);
}

static void what_is_no_text_is_refused(void **state)
{
    (void)state;
    struct sample s;
    assert_int_equal(read_bytes("cluster = a\0b\n", 14, &s), KM_ERR_CONF);
    assert_non_null(strstr(message, "NUL"));
    size_t len = (1u << 20) + 1;
    char *large = malloc(len);
    memset(large, '\n', len);
    assert_int_equal(read_bytes(large, len, &s), KM_ERR_CONF);
    assert_non_null(strstr(message, "larger than"));
    free(large);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    struct sample s;
    assert_int_equal(km_conf_read("/nonexistent/x.conf", rows, &s, message, sizeof(message)), KM_ERR_IO);
    assert_string_equal(message, "/nonexistent/x.conf: cannot be read: No such file or directory");
    assert_int_equal(km_conf_read("/tmp", rows, &s, message, sizeof(message)), KM_ERR_IO);
    assert_string_equal(message, "/tmp: cannot be read: Is a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_read),
        cmocka_unit_test(defaults_fill_what_is_absent),
        cmocka_unit_test(mistakes_name_line_key_and_what_was_expected),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(what_surprises_is_refused),
        cmocka_unit_test(a_plain_dollar_can_be_written),
        cmocka_unit_test(what_is_no_text_is_refused),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
