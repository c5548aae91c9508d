/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of a subcommand, read by its table of options, which is also what --help prints.
 */
#include "cli.h"

#include "../common/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void help(const struct cli_command *self, const struct cli_usage *usage)
{
    printf("Usage: keymoot %s %s", self->group, self->name);
    for (const struct cli_option *o = usage->options; o->target != NULL; o++) {
        const char *open = o->is_required ? "" : "[", *close = o->is_required ? "" : "]";
        if (o->name == NULL)
            printf(" %s%s%s", open, o->placeholder, close);
        else
            printf(" %s--%s%s%s%s", open, o->name, o->placeholder != NULL ? " " : "",
                   o->placeholder != NULL ? o->placeholder : "", close);
    }
    printf("\n\nThis command %s.\n", self->summary);
    if (usage->text != NULL)
        printf("%s\n", usage->text);
    printf("\nOptions:\n");
    for (const struct cli_option *o = usage->options; o->target != NULL; o++) {
        char left[64];
        snprintf(left, sizeof(left), "%s%s%s%s", o->name != NULL ? "--" : "", o->name != NULL ? o->name : "",
                 o->name != NULL && o->placeholder != NULL ? " " : "", o->placeholder != NULL ? o->placeholder : "");
        printf("  %-24s %s\n", left, o->help);
    }
    printf("  %-24s %s\n", "--help", "prints this");
    printf("\nExample:\n  keymoot %s %s %s\n", self->group, self->name, usage->example);
}

__attribute__((format(printf, 2, 3))) static enum cli_exit wrong(const struct cli_command *self, const char *format,
                                                                 ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    km_log(KM_LOG_ERROR, "%s %s: %s; see `keymoot %s %s --help`", self->group, self->name, what, self->group,
           self->name);
    return CLI_USAGE;
}

/* An option as a person writes it. */
static const char *dashes(const struct cli_option *option)
{
    return option->name != NULL ? "--" : "";
}
static const char *word(const struct cli_option *option)
{
    return option->name != NULL ? option->name : option->placeholder;
}

static const struct cli_option *find(const struct cli_usage *usage, const char *name, size_t len)
{
    for (const struct cli_option *o = usage->options; o->target != NULL; o++) {
        if (name == NULL ? o->name == NULL
                         : o->name != NULL && strlen(o->name) == len && strncmp(o->name, name, len) == 0)
            return o;
    }
    return NULL;
}

static bool set_number(const struct cli_option *option, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 10 || value[digits] != '\0')
        return false;
    unsigned long long n = strtoull(value, NULL, 10);
    if (n < option->min || n > option->max)
        return false;
    *(unsigned *)option->target = (unsigned)n;
    return true;
}

static enum cli_exit set(const struct cli_command *self, const struct cli_option *option, const char *value)
{
    if (option->kind == CLI_NUMBER && !set_number(option, value))
        return wrong(self, "--%s takes a number from %u to %u, not '%s'", option->name, option->min, option->max,
                     value);
    if (option->kind == CLI_TEXT && value[0] == '\0')
        return wrong(self, "%s%s is empty", dashes(option), word(option));
    if (option->kind == CLI_TEXT)
        *(const char **)option->target = value;
    return CLI_GO;
}

enum cli_exit cli_parse(const struct cli_command *self, const struct cli_usage *usage, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help(self, usage);
            return CLI_OK;
        }
    }
    unsigned given = 0; /* a bit for each option */
    for (int i = 0; i < argc; i++) {
        bool is_operand = strncmp(argv[i], "--", 2) != 0;
        const char *name = is_operand ? NULL : argv[i] + 2;
        size_t len = is_operand ? 0 : strcspn(name, "=");
        const struct cli_option *option = find(usage, name, len);
        if (option == NULL)
            return wrong(self, "%s '%s'", is_operand ? "unexpected word" : "unknown option", argv[i]);
        unsigned bit = 1u << (option - usage->options);
        if (given & bit)
            return wrong(self, "%s%s is given twice", dashes(option), word(option));
        given |= bit;

        const char *value = is_operand ? argv[i] : name[len] == '=' ? name + len + 1 : NULL;
        if (option->kind == CLI_FLAG) {
            if (value != NULL)
                return wrong(self, "--%s takes no value", option->name);
            *(bool *)option->target = true;
            continue;
        }
        if (value == NULL && i + 1 < argc)
            value = argv[++i];
        if (value == NULL)
            return wrong(self, "--%s needs a value: %s", option->name, option->placeholder);
        enum cli_exit code = set(self, option, value);
        if (code != CLI_GO)
            return code;
    }
    for (const struct cli_option *o = usage->options; o->target != NULL; o++) {
        if (o->is_required && !(given & 1u << (o - usage->options)))
            return wrong(self, "%s%s is missing", dashes(o), word(o));
    }
    return CLI_GO;
}
