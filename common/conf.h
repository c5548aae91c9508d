/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration: OpenSSL's .conf format read with NCONF, against a table that names every key that may stand there.
 * A mistake is reported as file, line, section, key and what was expected, and nothing is half read.
 */
#ifndef KM_COMMON_CONF_H
#define KM_COMMON_CONF_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>

enum km_conf_kind {
    KM_CONF_STRING,  /* char *, freed by km_conf_fini */
    KM_CONF_PATH,    /* char *, an absolute path, or one relative to the file's folder (stored absolute) */
    KM_CONF_UINT,    /* unsigned, within [min, max] */
    KM_CONF_BOOL,    /* bool: yes/no, true/false, on/off */
    KM_CONF_CHOICE,  /* int: index into `choices`, a "|"-separated list */
    KM_CONF_SECTION, /* every key of the section: handed to `each` in file order */
};

struct km_conf_row {
    const char *section; /* "default" for the keys before the first section */
    const char *key;     /* NULL for KM_CONF_SECTION */
    enum km_conf_kind kind;
    size_t offset;       /* into the caller's struct */
    bool is_required;
    unsigned min, max;   /* KM_CONF_UINT */
    const char *choices; /* KM_CONF_CHOICE */
    const char *init;    /* text of the default, parsed like a value; NULL: 0 / NULL */
    /* KM_CONF_SECTION: called for each name = value; returns NULL, or what was expected instead (static text). */
    const char *(*each)(void *target, const char *name, const char *value);
};

/* Reads `path` into `target` by the table `rows` (ended by a row with section NULL). On failure `target` holds nothing to free and
 * `ret_message` (of `message_len` bytes) says "FILE:LINE: [section] key: found ..., expected ...".
 * Unknown sections and keys and doubled keys are errors. Errors: KM_ERR_CONF, KM_ERR_IO (cannot be read), KM_ERR_NOMEM. */
enum km_err km_conf_read(const char *path, const struct km_conf_row *rows, void *target, char *ret_message,
                         size_t message_len) KM_CHECKED;

/* Frees the strings that the table's rows put into `target` and zeroes them. Sections are the caller's. */
void km_conf_fini(const struct km_conf_row *rows, void *target);

#endif
