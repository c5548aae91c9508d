/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables and JSON, both by libsmartcols from the same rows. Running out of memory ends the program: nothing is half
 * done by then.
 */
#include "config.h"

#include "cli.h"

#include "../common/log.h"

#include <libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct cli_table {
    struct libscols_table *table;
    struct libscols_line *line;
    size_t n_columns, n_filled;
};

static void need(bool is_there)
{
    if (is_there)
        return;
    km_log(KM_LOG_ERROR, "%s", km_err_text(KM_ERR_NOMEM));
    exit(CLI_FAILED);
}

struct cli_table *cli_table_new(const char *name, const struct cli_column *columns, size_t n, bool is_json)
{
    struct cli_table *t = calloc(1, sizeof(*t));
    need(t != NULL && (t->table = scols_new_table()) != NULL);
    t->n_columns = t->n_filled = n;
    need(scols_table_set_name(t->table, name) == 0 && scols_table_enable_json(t->table, is_json) == 0);
    for (size_t i = 0; i < n; i++) {
        struct libscols_column *column = scols_table_new_column(
            t->table, is_json ? columns[i].json : columns[i].heading, 0, columns[i].is_right ? SCOLS_FL_RIGHT : 0);
        need(column != NULL && scols_column_set_json_type(column, columns[i].json_type) == 0);
    }
    return t;
}

void cli_table_cell(struct cli_table *t, const char *format, ...)
{
    if (t->n_filled == t->n_columns) {
        t->n_filled = 0;
        need((t->line = scols_table_new_line(t->table, NULL)) != NULL);
    }
    char *text = NULL;
    va_list args;
    va_start(args, format);
    need(vasprintf(&text, format, args) >= 0);
    va_end(args);
    need(scols_line_refer_data(t->line, t->n_filled++, text) == 0);
}

void cli_table_print(struct cli_table *t, bool is_bare)
{
    scols_table_enable_noheadings(t->table, is_bare);
    need(scols_print_table(t->table) == 0);
}

void cli_table_print_member(struct cli_table *t)
{
    char *text = NULL;
    need(scols_print_table_to_string(t->table, &text) == 0);
    char *start = text != NULL ? strchr(text, '{') : NULL, *end = text != NULL ? strrchr(text, '}') : NULL;
    if (start != NULL && end != NULL) {
        for (start++; *start == '\n'; start++)
            ;
        while (end > start && end[-1] == '\n')
            end--;
        printf("%.*s", (int)(end - start), start);
    }
    free(text);
}

void cli_table_free(struct cli_table *t)
{
    if (t == NULL)
        return;
    scols_unref_table(t->table);
    free(t);
}

void cli_json_text(const char *text)
{
    putchar('"');
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            printf("\\%c", *p);
        else if (*p < 0x20)
            printf("\\u%04x", *p);
        else
            putchar(*p);
    }
    putchar('"');
}
