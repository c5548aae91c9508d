/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot cluster remove: a server leaves for good; its number is never used again. Like add, it goes on until the
 * cluster says so.
 */
#include "cluster.h"

#include "../common/log.h"

#include <limits.h>

#define DEADLINE_S 30

static enum cluster_standing standing(const Kmw__ClusterStatusReply *status, const void *arg)
{
    return cluster_find(status, *(const unsigned *)arg) == NULL ? CLUSTER_DONE : CLUSTER_NOT_BEGUN;
}

enum cli_exit cli_cluster_remove(const struct cli_command *self, int argc, char **argv)
{
    const char *config = NULL;
    unsigned id = 0, deadline_s = DEADLINE_S;
    const struct cli_option options[] = {
        {"id", CLI_NUMBER, &id, "ID", .help = "its number (`keymoot cluster status`)", .is_required = true, .min = 1,
         .max = UINT_MAX},
        {"timeout", CLI_NUMBER, &deadline_s, "SECONDS", .help = "how long to wait: 30 unless told", .min = 1,
         .max = 86400},
        {"config", CLI_TEXT, &config, "FILE", .help = CLUSTER_CONFIG_HELP},
        {0},
    };
    const struct cli_usage usage = {options,
                                    "The server stops once it knows. It cannot come back: a new one joins under a new "
                                    "number. It needs an operator's certificate.",
                                    "--id 4"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;

    Kmw__ClusterRemove remove = KMW__CLUSTER_REMOVE__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    remove.id = id;
    request.op_case = KMW__REQUEST__OP_CLUSTER_REMOVE;
    request.cluster_remove = &remove;

    struct km_client *client = NULL;
    Kmw__Reply *reply = NULL;
    if ((code = cluster_open(config, deadline_s < CLUSTER_STEP_S ? deadline_s : CLUSTER_STEP_S, &client)) != CLI_OK)
        return code;
    if ((code = cluster_ask_status(client, config, &reply)) != CLI_OK)
        goto out;
    if (cluster_find(reply->cluster_status, id) == NULL) {
        km_log(KM_LOG_ERROR, "the cluster has no server %u; `keymoot cluster status` shows what it has", id);
        code = CLI_REFUSED;
        goto out;
    }
    if ((code = cluster_settle(client, config, &request, deadline_s, standing, &id)) == CLI_OK)
        printf("server %u is no member any more\n", id);
out:
    if (reply != NULL)
        kmw__reply__free_unpacked(reply, NULL);
    km_client_free(client);
    return code;
}
