/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot: the operator's hand. Finds the command in the table and runs it; each command is one file. OpenSSL starts
 * without the machine's configuration, which may well load this project's own module.
 */
#include "config.h"

#include "cli.h"

#include "../common/log.h"

#include <locale.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command commands[] = {
#define COMMAND(group, name, run, summary) {group, name, run, summary},
#include "commands.def"
#undef COMMAND
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))
#define SECURE_HEAP (64 * 1024) /* OpenSSL's locked memory for private keys */

static void help(FILE *out, const char *group)
{
    fprintf(out, "Usage: keymoot %s COMMAND [OPTIONS]\n\n", group != NULL ? group : "GROUP");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (group != NULL && strcmp(commands[i].group, group) != 0)
            continue;
        if (group == NULL && i > 0 && strcmp(commands[i].group, commands[i - 1].group) != 0)
            fputc('\n', out);
        fprintf(out, "  keymoot %-7s %-11s %s\n", commands[i].group, commands[i].name, commands[i].summary);
    }
    fputs("\nEvery command explains itself with --help; `keymoot --version` prints the version.\n\nExit codes:\n", out);
#define CLI_EXIT_ROW(name, number, text) fprintf(out, "  %d  %s\n", number, text);
    CLI_EXITS(CLI_EXIT_ROW)
#undef CLI_EXIT_ROW
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/* Output that was lost (a full disk, a closed pipe) is a failure. */
static enum cli_exit finish(enum cli_exit code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    km_log(KM_LOG_ERROR, "output could not be written");
    return code == CLI_OK ? CLI_FAILED : code;
}

static enum cli_exit run(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr, NULL);
        return CLI_USAGE;
    }
    if (is_help(argv[1])) {
        help(stdout, NULL);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("keymoot " PACKAGE_VERSION);
        return CLI_OK;
    }

    bool is_group = false;
    for (size_t i = 0; i < N_COMMANDS; i++)
        is_group |= strcmp(commands[i].group, argv[1]) == 0;
    if (!is_group) {
        km_log(KM_LOG_ERROR, "unknown command '%s'; `keymoot --help` lists them all", argv[1]);
        return CLI_USAGE;
    }
    if (argc < 3) {
        help(stderr, argv[1]);
        return CLI_USAGE;
    }
    if (is_help(argv[2])) {
        help(stdout, argv[1]);
        return CLI_OK;
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].group, argv[1]) == 0 && strcmp(commands[i].name, argv[2]) == 0)
            return commands[i].run(&commands[i], argc - 3, argv + 3);
    }
    km_log(KM_LOG_ERROR, "unknown command '%s %s'; `keymoot %s --help` lists what there is", argv[1], argv[2], argv[1]);
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); /* or the tables would escape what is not ASCII */
    if (km_log_open("keymoot", "stderr", KM_LOG_WARN) != KM_OK)
        return CLI_FAILED;
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1 ||
        CRYPTO_secure_malloc_init(SECURE_HEAP, 32) == 0) {
        km_log(KM_LOG_ERROR, "OpenSSL does not start: is there locked memory left (ulimit -l)?");
        return CLI_FAILED;
    }
    return finish(run(argc, argv));
}
