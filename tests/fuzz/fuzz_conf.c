/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration files: any bytes either are read, or refused with a message that names the file, leaving nothing
 * behind.
 */
#include "config.h"

#include "fuzz.h"

#include "../../common/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct target {
    char *text, *path;
    unsigned number;
    bool is_on;
    int choice;
    unsigned servers;
};

static const char *each(void *target, const char *name, const char *value)
{
    struct target *t = target;
    assert(name[0] != '\0' && value != NULL);
    t->servers++;
    return strchr(value, ':') != NULL ? NULL : "HOST:PORT";
}

static const struct km_conf_row rows[] = {
    {.section = "default",
     .key = "text",
     .kind = KM_CONF_STRING,
     .offset = offsetof(struct target, text),
     .is_required = true},
    {.section = "default", .key = "path", .kind = KM_CONF_PATH, .offset = offsetof(struct target, path), .init = "a/b"},
    {.section = "default",
     .key = "number",
     .kind = KM_CONF_UINT,
     .offset = offsetof(struct target, number),
     .min = 1,
     .max = 99,
     .init = "7"},
    {.section = "default", .key = "on", .kind = KM_CONF_BOOL, .offset = offsetof(struct target, is_on)},
    {.section = "more",
     .key = "choice",
     .kind = KM_CONF_CHOICE,
     .offset = offsetof(struct target, choice),
     .choices = "one|two"},
    {.section = "servers", .kind = KM_CONF_SECTION, .each = each},
    {0},
};

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
    static const char *const texts[] = {
        "text = a\n",
        "# comment\ntext = 'a # b' \\\n  more\npath = /x/y\nnumber = 42\non = yes\n[more]\nchoice = two\n[servers]\na "
        "= h:1\nb = h:2\n",
        "text = \"quoted \\\" text\" # comment\r\n\r\n[ servers ]\r\na=h:1\r\n",
        "text = a\\$b\n[default]\nnumber = 1\n",
        "text = $ENV::HOME\n",
        ".include /etc/passwd\n",
        "text = a\ntext = b\n",
        "[more\n",
        "text",
        "=",
        "[]",
        "text = `a",
        "\\\n\\\n\\",
        "text = ${more::choice}\n[more]\nchoice = one\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        add(texts[i], strlen(texts[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static int fd = -1;
    static char path[64];
    char message[512] = "";
    struct target t;
    if (fd < 0) {
        fd = memfd_create("fuzz_conf", MFD_CLOEXEC);
        assert(fd >= 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    assert(ftruncate(fd, 0) == 0 && pwrite(fd, data, len, 0) == (ssize_t)len);

    enum km_err err = km_conf_read(path, rows, &t, message, sizeof(message));
    if (err == KM_OK) {
        assert(t.text != NULL && t.text[0] != '\0' && t.path[0] == '/' && t.number >= 1 && t.number <= 99);
        assert(message[0] == '\0');
        km_conf_fini(rows, &t);
    } else
        assert(strncmp(message, path, strlen(path)) == 0 && strchr(message, '\n') == NULL);
    assert(t.text == NULL && t.path == NULL);
    return 0;
}
