/* SPDX-License-Identifier: Apache-2.0
 *
 * What every subcommand uses: its description, options from a table, exit codes, and tables or JSON as output.
 * Single-threaded. Errors go to stderr as one line that says what to do; output that is data goes to stdout.
 */
#ifndef KM_CLI_CLI_H
#define KM_CLI_CLI_H

#include "../common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What the program's exit tells a script; printed by --help. */
#define CLI_EXITS(X)                                                                                                   \
    X(OK, 0, "done")                                                                                                   \
    X(FAILED, 1, "failed; the message says why")                                                                       \
    X(USAGE, 2, "the command line is wrong")                                                                           \
    X(UNREACHABLE, 3, "no server of the cluster could answer in time")                                                 \
    X(REFUSED, 4, "the cluster answered and refused")                                                                  \
    X(CONF, 5, "the configuration is wrong or cannot be read")
enum cli_exit {
#define CLI_EXIT_ROW(name, number, text) CLI_##name = number,
    CLI_EXITS(CLI_EXIT_ROW)
#undef CLI_EXIT_ROW
        CLI_GO = -1, /* cli_parse only: the command may begin */
};

struct cli_command {
    const char *group, *name; /* keymoot GROUP NAME */
    enum cli_exit (*run)(const struct cli_command *self, int argc, char **argv);
    const char *summary;
};

#define COMMAND(group, name, run, summary) enum cli_exit run(const struct cli_command *self, int argc, char **argv);
#include "commands.def"
#undef COMMAND

enum cli_kind {
    CLI_FLAG,   /* bool */
    CLI_TEXT,   /* const char *, borrowed from argv */
    CLI_NUMBER, /* unsigned, within [min, max] */
};
struct cli_option {
    const char *name; /* without "--"; NULL: the operand */
    enum cli_kind kind;
    void *target;
    const char *placeholder; /* NULL for flags */
    const char *help;
    bool is_required;
    unsigned min, max;
};
struct cli_usage {
    const struct cli_option *options; /* ended by one with target NULL */
    const char *text;                 /* what the summary leaves out; may be NULL */
    const char *example;              /* arguments only */
};

/* Reads `argv` (without the command's own words) into the options' targets. Prints --help itself. Returns CLI_GO, or
 * the code to exit with. */
enum cli_exit cli_parse(const struct cli_command *self, const struct cli_usage *usage, int argc, char **argv);

/* --- output -------------------------------------------------------------------------------------------------- */

struct cli_column {
    const char *heading; /* for people */
    const char *json;    /* name of the member */
    int json_type;       /* SCOLS_JSON_STRING, ... */
    bool is_right;       /* numbers */
};
struct cli_table;

/* A table called `name`, printed for people or as JSON. Ends the program when out of memory. Freed by cli_table_free.
 */
struct cli_table *cli_table_new(const char *name, const struct cli_column *columns, size_t n, bool is_json);
/* The next cell; rows fill from left to right. */
void cli_table_cell(struct cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints it: a JSON object with the member `name`, or rows under headings; without headings if `is_bare`. */
void cli_table_print(struct cli_table *table, bool is_bare);
/* JSON only: the member "name": [...] without the object around it, for a larger object. */
void cli_table_print_member(struct cli_table *table);
void cli_table_free(struct cli_table *table);
/* `text` as a JSON string with its quotes. */
void cli_json_text(const char *text);

#endif
