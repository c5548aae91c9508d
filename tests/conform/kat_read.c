/* SPDX-License-Identifier: Apache-2.0
 *
 * The formats of vector files. A block without the field that ends a vector holds for the vectors below it, as a
 * section does.
 */
#include "kat.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static struct vector now;
static CK_BYTE *given[64];
static size_t n_given;

CK_BYTE *kat_alloc(size_t len)
{
    CK_BYTE *p = calloc(1, len + 1);

    if (p == NULL || n_given == LEN(given))
        abort();
    return given[n_given++] = p;
}

void kat_forget(void)
{
    while (n_given > 0)
        free(given[--n_given]);
}

/* --- fields --- */

static size_t find(const struct vector *v, const char *name)
{
    size_t i = 0;

    while (i < v->n && strcasecmp(v->fields[i].name, name) != 0)
        i++;
    return i;
}

static void set(const char *name, const char *value, bool is_kept)
{
    size_t at = find(&now, name);

    if (at == KAT_FIELDS_MAX)
        abort();
    if (at == now.n)
        now.n++;
    free(now.fields[at].value);
    snprintf(now.fields[at].name, sizeof(now.fields[at].name), "%.47s", name);
    now.fields[at].value = value == NULL ? NULL : strdup(value);
    now.fields[at].is_kept = is_kept;
}

static void drop(bool is_all)
{
    size_t kept = 0;

    for (size_t i = 0; i < now.n; i++) {
        if (now.fields[i].is_kept && !is_all) {
            now.fields[kept++] = now.fields[i];
            continue;
        }
        free(now.fields[i].value);
    }
    now.n = kept;
    memset(&now.fields[kept], 0, sizeof(now.fields) - kept * sizeof(now.fields[0]));
}

const char *kat_text(const struct vector *v, const char *name)
{
    size_t at = find(v, name);

    return at == v->n ? NULL : v->fields[at].value;
}

bool kat_has(const struct vector *v, const char *name)
{
    return find(v, name) < v->n;
}

CK_ULONG kat_number(const struct vector *v, const char *name)
{
    const char *text = kat_text(v, name);

    return text == NULL ? 0 : strtoul(text, NULL, 10);
}

static unsigned digit(char c)
{
    return isdigit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)(tolower((unsigned char)c) - 'a' + 10);
}

struct bytes kat_bytes_or_none(const struct vector *v, const char *name)
{
    const char *text = kat_text(v, name);
    struct bytes b = {NULL, 0};
    size_t len;

    if (text == NULL)
        return b;
    len = strlen(text);
    b.p = kat_alloc(len);
    if (text[0] == '"') {
        b.n = len - 2;
        memcpy(b.p, text + 1, b.n);
        return b;
    }
    if (len % 2 == 1) { /* a number without its leading 0 */
        b.p[b.n++] = (CK_BYTE)digit(*text);
        text++;
    }
    for (; isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]); text += 2)
        b.p[b.n++] = (CK_BYTE)(digit(text[0]) << 4 | digit(text[1]));
    return b;
}

struct bytes kat_bytes(const struct vector *v, const char *name)
{
    if (kat_text(v, name) == NULL)
        row_fail(name, CKR_OK);
    return kat_bytes_or_none(v, name);
}

/* --- lines --- */

struct reading {
    const struct kat_file *file;
    void (*found)(const struct vector *v, void *context);
    void *context;
};

static void end_vector(struct reading *r)
{
    r->found(&now, r->context);
    now.index++;
}

/* A block is over. */
static void end_block(struct reading *r)
{
    if (kat_has(&now, r->file->last)) {
        end_vector(r);
        /* An RSA exponent is given once for all vectors of a modulus. */
        for (size_t i = 0; i < now.n; i++)
            now.fields[i].is_kept |= strcmp(now.fields[i].name, "e") == 0;
        drop(false);
        return;
    }
    for (size_t i = 0; i < now.n; i++)
        now.fields[i].is_kept = true;
}

static char *trim(char *text)
{
    char *end = text + strlen(text);

    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* "name = value" or a name alone. */
static void take_pair(char *text, bool is_kept)
{
    char *value = strchr(text, '=');

    if (value != NULL)
        *value++ = '\0';
    set(trim(text), value == NULL ? NULL : trim(value), is_kept);
}

static void nist_line(struct reading *r, char *line)
{
    char *state = NULL;

    if (line[0] == '\t' || line[0] == '#') /* how an answer comes about; a comment */
        return;
    line = trim(line);
    if (line[0] == '\0') {
        end_block(r);
    } else if (line[0] == '[') {
        end_block(r);
        line[strcspn(line, "]")] = '\0';
        if (strchr(line, '=') == NULL && strchr(line, ',') != NULL)
            set("curve", line + 1, true); /* [P-256,SHA-1] */
        else
            for (char *part = strtok_r(line + 1, ",", &state); part != NULL; part = strtok_r(NULL, ",", &state))
                take_pair(part, true);
    } else {
        take_pair(line, false);
    }
}

static void pkcs_line(struct reading *r, char *line)
{
    static char name[48], value[8192];

    line = trim(line);
    if (isxdigit((unsigned char)line[0]) && name[0] != '\0') {
        for (; *line != '\0'; line++)
            if (isxdigit((unsigned char)*line) && strlen(value) < sizeof(value) - 1)
                strncat(value, line, 1);
        return;
    }
    if (name[0] != '\0' && value[0] != '\0') {
        set(name, value, true);
        if (strcmp(name, r->file->last) == 0)
            end_vector(r);
        name[0] = value[0] = '\0';
    }
    if (line[0] != '#')
        return;
    line = trim(line + 1);
    if (strlen(line) > 1 && line[strlen(line) - 1] == ':') {
        line[strlen(line) - 1] = '\0';
        snprintf(name, sizeof(name), "%.47s", strcmp(line, "Message to be signed") == 0 ? "Message" : line);
        value[0] = '\0';
    }
}

static void colon_line(struct reading *r, char *line)
{
    char name[2] = "0", *state = NULL;

    if (line[0] == '\n' || line[0] == '#')
        return;
    for (char *part; (part = strsep(&line, ":")) != NULL && *name < '4'; (*name)++)
        set(name, part, false);
    (void)state;
    end_vector(r);
    drop(true);
}

bool kat_read(const char *path, const struct kat_file *file, void (*found)(const struct vector *v, void *context),
              void *context)
{
    static void (*const lines[])(struct reading *,
                                 char *) = {[NIST] = nist_line, [PKCS] = pkcs_line, [COLON] = colon_line};
    struct reading r = {file, found, context};
    FILE *in = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;

    if (in == NULL)
        return false;
    now.index = 0;
    while (getline(&line, &room, in) > 0)
        lines[file->format](&r, line);
    if (file->format == NIST)
        end_block(&r);
    if (file->format == PKCS)
        pkcs_line(&r, (char[]){"#"});
    drop(true);
    free(line);
    fclose(in);
    return true;
}
