/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration files. NCONF turns text into values (quotes, escapes, continued lines) but keeps no line numbers, lets
 * a later value replace an earlier one in silence, includes other files and expands environment variables. So the text
 * is scanned first: that gives each key its line and refuses what would surprise; then the table decides, in file
 * order, and NCONF is asked for the values. OpenSSL's own configuration is not touched. Any thread.
 */
#include "conf.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20) /* bytes of a configuration file */
#define NAME_LEN_MAX 128    /* bytes of a key or section name */
#define FOUND_MAX 80        /* bytes of what was found that an error repeats */

struct entry {
    char section[NAME_LEN_MAX + 1];
    char name[NAME_LEN_MAX + 1]; /* "" for the section's header */
    unsigned line;
};

struct reader {
    const char *path;
    const struct km_conf_row *rows;
    void *target;
    char *message;
    size_t message_len;
    char *text;
    struct entry *entries; /* in file order */
    size_t n_entries;
    CONF *conf;
};

static const char default_section[] = "default";

/* --- errors ---------------------------------------------------------------------------------------------------- */

static enum km_err fail(struct reader *r, unsigned line, const char *section, const char *key, const char *found,
                        const char *expected)
{
    char shown[FOUND_MAX + 4];
    snprintf(shown, sizeof(shown), "%.*s%s", FOUND_MAX, found, strlen(found) > FOUND_MAX ? "..." : "");
    for (char *p = shown; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    }
    snprintf(r->message, r->message_len, "%s:%u: [%s]%s%s: found %s, expected %s", r->path, line, section,
             key[0] != '\0' ? " " : "", key, shown, expected);
    return KM_ERR_CONF;
}

static enum km_err fail_value(struct reader *r, const struct entry *e, const char *value, const char *expected)
{
    char found[FOUND_MAX + 16];
    snprintf(found, sizeof(found), "\"%.*s\"%s", FOUND_MAX - 8, value, strlen(value) > FOUND_MAX - 8 ? "..." : "");
    return fail(r, e->line, e->section, e->name, value[0] != '\0' ? found : "nothing", expected);
}

/* Appends `word` to a list "a, b, c" as far as there is room. */
static void list_add(char *list, size_t len, const char *word, size_t word_len)
{
    size_t used = strlen(list);
    snprintf(list + used, len - used, "%s%.*s", used > 0 && list[used - 1] != ' ' ? ", " : "", (int)word_len, word);
}

/* --- the text: lines, sections and names ----------------------------------------------------------------------- */

static enum km_err read_text(struct reader *r)
{
    FILE *file = fopen(r->path, "re");
    r->text = malloc(FILE_MAX + 1);
    size_t n = 0;
    enum km_err err = KM_ERR_IO;
    if (r->text == NULL) {
        err = KM_ERR_NOMEM;
        snprintf(r->message, r->message_len, "%s: %s", r->path, km_err_text(err));
        goto out;
    }
    if (file != NULL)
        n = fread(r->text, 1, FILE_MAX + 1, file);
    if (file == NULL || ferror(file)) {
        snprintf(r->message, r->message_len, "%s: cannot be read: %s", r->path, strerror(errno));
        goto out;
    }
    if (n > FILE_MAX) {
        snprintf(r->message, r->message_len, "%s: is larger than %u bytes, so no configuration", r->path, FILE_MAX);
        err = KM_ERR_CONF;
        goto out;
    }
    r->text[n] = '\0';
    if (strlen(r->text) != n) {
        snprintf(r->message, r->message_len, "%s: holds a NUL byte, so it is no text", r->path);
        err = KM_ERR_CONF;
        goto out;
    }
    err = KM_OK;
out:
    if (file != NULL)
        fclose(file);
    return err;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static size_t name_length(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
}

/* Ends `line` where NCONF would see a comment; false when it holds a variable outside quotes. */
static bool cut_comment(char *line)
{
    for (char *p = line; *p != '\0'; p++) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        else if (*p == '\'' || *p == '"' || *p == '`') {
            char quote = *p++;
            while (*p != '\0' && *p != quote)
                p += p[0] == '\\' && p[1] != '\0' ? 2 : 1;
            if (*p == '\0')
                return true;
        } else if (*p == '#') {
            *p = '\0';
            return true;
        } else if (*p == '$')
            return false;
    }
    return true;
}

static enum km_err add_entry(struct reader *r, const char *section, const char *name, size_t name_len, unsigned line)
{
    struct entry *grown = realloc(r->entries, (r->n_entries + 1) * sizeof(*grown));
    if (grown == NULL)
        return KM_ERR_NOMEM;
    r->entries = grown;
    struct entry *e = &r->entries[r->n_entries++];
    snprintf(e->section, sizeof(e->section), "%s", section);
    snprintf(e->name, sizeof(e->name), "%.*s", (int)name_len, name);
    e->line = line;
    return KM_OK;
}

/* One logical line: blank, [section] or name = value. `section` is the current one and may change. */
static enum km_err scan_line(struct reader *r, char *line, unsigned number, char section[NAME_LEN_MAX + 1])
{
    char *p = line;
    while (is_space(*p))
        p++;
    bool is_plain = cut_comment(p);
    if (*p == '\0')
        return KM_OK;

    if (*p == '[') {
        for (p++; is_space(*p); p++)
            ;
        size_t len = name_length(p);
        char *end = p + len;
        while (is_space(*end))
            end++;
        if (len == 0 || len > NAME_LEN_MAX || *end != ']' || end[1 + strspn(end + 1, " \t\r\v\f")] != '\0')
            return fail(r, number, section, "", line, "a section's name in brackets: [name]");
        memcpy(section, p, len);
        section[len] = '\0';
        return add_entry(r, section, "", 0, number);
    }

    size_t len = name_length(p);
    char *equals = p + len;
    while (is_space(*equals))
        equals++;
    if (*p == '.')
        return fail(r, number, section, "", line, "name = value (directives such as .include have no place here)");
    if (len == 0 || len > NAME_LEN_MAX || *equals != '=')
        return fail(r, number, section, "", line, "name = value");
    if (!is_plain) {
        *equals = '\0';
        p[len] = '\0';
        return fail(r, number, section, p, "a variable", "the value itself ($ as a plain sign is written \\$)");
    }
    for (size_t i = 0; i < r->n_entries; i++) {
        const struct entry *e = &r->entries[i];
        if (strcmp(e->section, section) == 0 && strlen(e->name) == len && strncmp(e->name, p, len) == 0) {
            char expected[64];
            snprintf(expected, sizeof(expected), "it once: it stands in line %u already", e->line);
            p[len] = '\0';
            return fail(r, number, section, p, "the key a second time", expected);
        }
    }
    return add_entry(r, section, p, len, number);
}

/* A line that ends in one backslash goes on in the next one; the rule is NCONF's. */
static bool goes_on(const char *line, size_t len)
{
    return len > 0 && line[len - 1] == '\\' && (len == 1 || line[len - 2] != '\\');
}

static enum km_err scan_text(struct reader *r)
{
    enum km_err err = KM_OK;
    char section[NAME_LEN_MAX + 1];
    strcpy(section, default_section);
    char *logical = malloc(strlen(r->text) + 1);
    if (logical == NULL)
        return KM_ERR_NOMEM;

    size_t used = 0;
    unsigned number = 0, first = 0;
    for (const char *p = r->text; *p != '\0' && err == KM_OK;) {
        size_t len = strcspn(p, "\n");
        const char *next = p + len + (p[len] == '\n');
        while (len > 0 && p[len - 1] == '\r')
            len--;
        number++;
        if (used == 0)
            first = number;
        memcpy(logical + used, p, len);
        used += len;
        p = next;
        if (goes_on(logical, used) && *next != '\0') {
            used--;
            continue;
        }
        logical[used] = '\0';
        used = 0;
        err = scan_line(r, logical, first, section);
    }
    free(logical);
    return err;
}

/* --- values ---------------------------------------------------------------------------------------------------- */

static enum km_err load(struct reader *r)
{
    enum km_err err = KM_ERR_NOMEM;
    long line = 0;
    ERR_set_mark();
    BIO *bio = BIO_new_mem_buf(r->text, -1);
    r->conf = NCONF_new(NULL);
    if (bio == NULL || r->conf == NULL)
        goto out;
    if (NCONF_load_bio(r->conf, bio, &line) != 1) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        err = fail(r, (unsigned)line, default_section, "", reason != NULL ? reason : "an error",
                   "OpenSSL's .conf format");
        goto out;
    }
    err = KM_OK;
out:
    BIO_free(bio);
    ERR_pop_to_mark();
    return err;
}

static enum km_err set_string(void *field, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL)
        return KM_ERR_NOMEM;
    *(char **)field = copy;
    return KM_OK;
}

static enum km_err set_path(struct reader *r, void *field, const char *value)
{
    if (value[0] == '/')
        return set_string(field, value);
    char copy[PATH_MAX], folder[PATH_MAX], whole[2 * PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", r->path);
    if (realpath(dirname(copy), folder) == NULL) {
        snprintf(r->message, r->message_len, "%s: its folder cannot be read: %s", r->path, strerror(errno));
        return KM_ERR_IO;
    }
    snprintf(whole, sizeof(whole), "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, value);
    return set_string(field, whole);
}

static bool uint_parse(const char *value, unsigned min, unsigned max, unsigned *ret)
{
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 10 || value[digits] != '\0')
        return false;
    unsigned long long n = strtoull(value, NULL, 10);
    if (n < min || n > max)
        return false;
    *ret = (unsigned)n;
    return true;
}

static bool bool_parse(const char *value, bool *ret)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(value, words[i]) == 0) {
            *ret = i % 2 == 1;
            return true;
        }
    }
    return false;
}

/* The number of the choice that `value` is, or -1 with all of them listed in `ret_expected`. */
static int choice_parse(const char *value, const char *choices, char *ret_expected, size_t len)
{
    snprintf(ret_expected, len, "one of ");
    int i = 0;
    for (const char *p = choices; *p != '\0'; i++) {
        size_t word = strcspn(p, "|");
        if (strlen(value) == word && strncmp(value, p, word) == 0)
            return i;
        list_add(ret_expected, len, p, word);
        p += word + (p[word] == '|');
    }
    return -1;
}

static enum km_err set_value(struct reader *r, const struct km_conf_row *row, const struct entry *e, const char *value)
{
    void *field = (char *)r->target + row->offset;
    char expected[512];
    switch (row->kind) {
    case KM_CONF_STRING:
        return value[0] == '\0' ? fail_value(r, e, value, "a text") : set_string(field, value);
    case KM_CONF_PATH:
        return value[0] == '\0' ? fail_value(r, e, value, "a file name") : set_path(r, field, value);
    case KM_CONF_UINT:
        snprintf(expected, sizeof(expected), "a number from %u to %u", row->min, row->max);
        return uint_parse(value, row->min, row->max, field) ? KM_OK : fail_value(r, e, value, expected);
    case KM_CONF_BOOL:
        return bool_parse(value, field) ? KM_OK : fail_value(r, e, value, "yes or no");
    case KM_CONF_CHOICE:
        *(int *)field = choice_parse(value, row->choices, expected, sizeof(expected));
        return *(int *)field >= 0 ? KM_OK : fail_value(r, e, value, expected);
    case KM_CONF_SECTION: {
        const char *wanted = row->each(r->target, e->name, value);
        return wanted == NULL ? KM_OK : fail_value(r, e, value, wanted);
    }
    }
    assert(!"a kind of value that conf.h does not name");
    return KM_ERR_CONF;
}

/* --- the table ------------------------------------------------------------------------------------------------- */

static const struct km_conf_row *find_row(const struct km_conf_row *rows, const char *section, const char *name)
{
    for (; rows->section != NULL; rows++) {
        if (strcmp(rows->section, section) == 0 && (rows->key == NULL || strcmp(rows->key, name) == 0))
            return rows;
    }
    return NULL;
}

static enum km_err fail_unknown(struct reader *r, const struct entry *e)
{
    char known[1024] = "one of ";
    bool is_section_known = false;
    for (const struct km_conf_row *row = r->rows; row->section != NULL; row++)
        is_section_known |= strcmp(row->section, e->section) == 0;
    for (const struct km_conf_row *row = r->rows; row->section != NULL; row++) {
        bool is_new = row == r->rows || strcmp(row->section, row[-1].section) != 0;
        if (is_section_known && strcmp(row->section, e->section) == 0)
            list_add(known, sizeof(known), row->key, strlen(row->key));
        if (!is_section_known && is_new && strcmp(row->section, default_section) != 0) {
            char shown[NAME_LEN_MAX + 3];
            snprintf(shown, sizeof(shown), "[%.*s]", NAME_LEN_MAX, row->section);
            list_add(known, sizeof(known), shown, strlen(shown));
        }
    }
    if (strcmp(known, "one of ") == 0)
        strcpy(known, is_section_known ? "no key here" : "no section");
    return fail(r, e->line, e->section, e->name, is_section_known ? "an unknown key" : "an unknown section", known);
}

static bool is_given(const struct reader *r, const struct km_conf_row *row, unsigned *ret_header_line)
{
    *ret_header_line = 1;
    for (size_t i = 0; i < r->n_entries; i++) {
        const struct entry *e = &r->entries[i];
        if (strcmp(e->section, row->section) != 0)
            continue;
        if (e->name[0] == '\0')
            *ret_header_line = e->line;
        else if (row->key == NULL || strcmp(row->key, e->name) == 0)
            return true;
    }
    return false;
}

/* Defaults, and what is missing. */
static enum km_err set_absent(struct reader *r)
{
    for (const struct km_conf_row *row = r->rows; row->section != NULL; row++) {
        unsigned line;
        if (is_given(r, row, &line))
            continue;
        if (row->is_required)
            return fail(r, line, row->section, row->key != NULL ? row->key : "", "nothing",
                        row->key != NULL ? "this key: it is required" : "at least one name = value in this section");
        if (row->init == NULL || row->kind == KM_CONF_SECTION)
            continue;
        struct entry e = {.line = 0};
        snprintf(e.section, sizeof(e.section), "%s", row->section);
        snprintf(e.name, sizeof(e.name), "%s", row->key);
        enum km_err err = set_value(r, row, &e, row->init);
        assert(err != KM_ERR_CONF); /* the table's own default */
        if (err != KM_OK)
            return err;
    }
    return KM_OK;
}

static enum km_err set_given(struct reader *r)
{
    for (size_t i = 0; i < r->n_entries; i++) {
        const struct entry *e = &r->entries[i];
        bool is_header = e->name[0] == '\0';
        if (is_header && strcmp(e->section, default_section) == 0)
            continue;
        const struct km_conf_row *row = r->rows;
        for (; is_header && row->section != NULL && strcmp(row->section, e->section) != 0; row++)
            ;
        if (!is_header)
            row = find_row(r->rows, e->section, e->name);
        if (row == NULL || row->section == NULL)
            return fail_unknown(r, e);
        if (is_header)
            continue;
        const char *value = NCONF_get_string(r->conf, e->section, e->name);
        if (value == NULL)
            return fail(r, e->line, e->section, e->name, "a line that OpenSSL reads otherwise", "name = value");
        enum km_err err = set_value(r, row, e, value);
        if (err != KM_OK)
            return err;
    }
    return KM_OK;
}

static size_t field_size(enum km_conf_kind kind)
{
    static const size_t sizes[] = {
        [KM_CONF_STRING] = sizeof(char *), [KM_CONF_PATH] = sizeof(char *), [KM_CONF_UINT] = sizeof(unsigned),
        [KM_CONF_BOOL] = sizeof(bool),     [KM_CONF_CHOICE] = sizeof(int),  [KM_CONF_SECTION] = 0,
    };
    return sizes[kind];
}

static void clear(const struct km_conf_row *rows, void *target)
{
    for (; rows->section != NULL; rows++)
        memset((char *)target + rows->offset, 0, field_size(rows->kind));
}

enum km_err km_conf_read(const char *path, const struct km_conf_row *rows, void *target, char *ret_message,
                         size_t message_len)
{
    struct reader r = {
        .path = path, .rows = rows, .target = target, .message = ret_message, .message_len = message_len};
    enum km_err err;
    clear(rows, target);
    snprintf(ret_message, message_len, "%s: %s", path, km_err_text(KM_ERR_NOMEM));
    if ((err = read_text(&r)) != KM_OK)
        goto out;
    if ((err = scan_text(&r)) != KM_OK)
        goto out;
    if ((err = load(&r)) != KM_OK)
        goto out;
    if ((err = set_given(&r)) != KM_OK)
        goto out;
    if ((err = set_absent(&r)) != KM_OK)
        goto out;
    ret_message[0] = '\0';
out:
    if (err != KM_OK)
        km_conf_fini(rows, target);
    NCONF_free(r.conf);
    free(r.entries);
    free(r.text);
    return err;
}

void km_conf_fini(const struct km_conf_row *rows, void *target)
{
    for (const struct km_conf_row *row = rows; row->section != NULL; row++) {
        if (row->kind == KM_CONF_STRING || row->kind == KM_CONF_PATH)
            free(*(char **)((char *)target + row->offset));
    }
    clear(rows, target);
}
