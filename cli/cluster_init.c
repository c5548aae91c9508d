/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot cluster init: the data folder of a server is the server program's own affair, so this becomes `keymootd
 * --init`, whose messages and exit code are this command's.
 */
#include "cli.h"

#include "../common/log.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where keymootd may be, seen from the folder of this program: built or installed together, or installed as bin and
 * sbin. */
static const char *const places[] = {"keymootd", "../sbin/keymootd"};

/* Returns only if there is no such program. */
static void become(char **arguments)
{
    const char *named = getenv("KEYMOOTD");
    if (named != NULL && named[0] != '\0') {
        execv(named, arguments);
        km_log(KM_LOG_ERROR, "the server program %s (from KEYMOOTD) cannot be run: %s", named, strerror(errno));
        return;
    }
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    const char *folder = dirname(self);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[2 * PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", folder, places[i]);
        if (access(path, X_OK) == 0)
            execv(path, arguments);
    }
    execvp("keymootd", arguments);
    km_log(KM_LOG_ERROR, "the server program keymootd was not found beside this one, nor in PATH; name it in the "
                         "environment: KEYMOOTD=/path/keymootd");
}

enum cli_exit cli_cluster_init(const struct cli_command *self, int argc, char **argv)
{
    const char *config = NULL;
    bool is_join = false;
    const struct cli_option options[] = {
        {"config", CLI_TEXT, &config, "FILE", .help = "the server's server.conf", .is_required = true},
        {"join", CLI_FLAG, &is_join, NULL,
         .help = "it will join a running cluster (`keymoot cluster add`), not found a new one"},
        {0},
    };
    const struct cli_usage usage = {
        options,
        "Run it once for each server, on its machine. The first servers, all named under [members] in server.conf, "
        "found the\n"
        "cluster together; every later one joins. The program is $KEYMOOTD, or keymootd beside this one or in PATH.",
        "--config /etc/keymoot/server.conf"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;
    char *arguments[] = {"keymootd", "--init", "--config", (char *)config, is_join ? "--join" : NULL, NULL};
    become(arguments);
    return CLI_FAILED;
}
