/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot cluster add: a server that was prepared with `cluster init --join` becomes a voter once it has caught up.
 * The cluster's status decides what is reported, so the command can be repeated.
 */
#include "cluster.h"

#include "../common/identity.h"
#include "../common/log.h"

#include <limits.h>
#include <string.h>

#define DEADLINE_S 60

static enum cluster_standing standing(const Kmw__ClusterStatusReply *status, const void *arg)
{
    const Kmw__Server *wanted = arg, *s = cluster_find(status, wanted->id);
    if (s == NULL)
        return CLUSTER_NOT_BEGUN;
    if (strcmp(s->name, wanted->name) != 0 || strcmp(s->zone, wanted->zone) != 0 ||
        strcmp(s->address, wanted->address) != 0 || strcmp(s->peer_address, wanted->peer_address) != 0)
        return CLUSTER_IMPOSSIBLE;
    return strcmp(s->role, "voter") == 0 ? CLUSTER_DONE : CLUSTER_PENDING;
}

static bool is_name(const char *name)
{
    char uri[KM_IDENTITY_MAX];
    struct km_identity id;
    return snprintf(uri, sizeof(uri), "spiffe://c/server/%s", name) < (int)sizeof(uri) &&
           km_identity_parse(uri, &id) == KM_OK;
}

static bool is_address(const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t digits = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
    return colon != NULL && colon > address && digits > 0 && digits <= 5 && colon[1 + digits] == '\0' &&
           strpbrk(address, " ;/") == NULL && strlen(address) < sizeof(((struct km_client_server *)0)->address);
}

static bool are_values_good(const char *name, const char *zone, const char *address, const char *peer)
{
    const char *const names[] = {name, zone}, *const addresses[] = {address, peer};
    for (size_t i = 0; i < 2; i++) {
        if (is_name(names[i]))
            continue;
        km_log(KM_LOG_ERROR, "'%s' cannot be a name: expected 1 to %d of a-z 0-9 . - _", names[i], KM_NAME_MAX);
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        if (is_address(addresses[i]))
            continue;
        km_log(KM_LOG_ERROR, "'%s' is no address: expected HOST:PORT", addresses[i]);
        return false;
    }
    return true;
}

enum cli_exit cli_cluster_add(const struct cli_command *self, int argc, char **argv)
{
    const char *config = NULL, *name = NULL, *zone = NULL, *address = NULL, *peer = NULL;
    unsigned id = 0, deadline_s = DEADLINE_S;
    const struct cli_option options[] = {
        {"id", CLI_NUMBER, &id, "ID", .help = "its number, never used before in this cluster", .is_required = true,
         .min = 1, .max = UINT_MAX},
        {"name", CLI_TEXT, &name, "NAME", .help = "its name, as in its certificate", .is_required = true},
        {"zone", CLI_TEXT, &zone, "ZONE", .help = "where it stands", .is_required = true},
        {"address", CLI_TEXT, &address, "HOST:PORT", .help = "where programs reach it", .is_required = true},
        {"peer", CLI_TEXT, &peer, "HOST:PORT", .help = "where the other servers reach it", .is_required = true},
        {"timeout", CLI_NUMBER, &deadline_s, "SECONDS",
         .help = "how long to wait until it has caught up: 60 unless told", .min = 1, .max = 86400},
        {"config", CLI_TEXT, &config, "FILE", .help = CLUSTER_CONFIG_HELP},
        {0},
    };
    const struct cli_usage usage = {options,
                                    "First, on the new server's machine: `keymoot cluster init --join`, then start "
                                    "keymootd. It needs an operator's certificate.\n"
                                    "Repeating it does no harm.",
                                    "--id 4 --name d --zone d --address 10.0.4.1:7000 --peer 10.0.4.1:7001"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;
    if (!are_values_good(name, zone, address, peer))
        return CLI_USAGE;

    Kmw__Server server = KMW__SERVER__INIT;
    Kmw__ClusterAdd add = KMW__CLUSTER_ADD__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    server.id = id;
    server.name = (char *)name;
    server.zone = (char *)zone;
    server.address = (char *)address;
    server.peer_address = (char *)peer;
    add.server = &server;
    request.op_case = KMW__REQUEST__OP_CLUSTER_ADD;
    request.cluster_add = &add;

    struct km_client *client = NULL;
    if ((code = cluster_open(config, deadline_s < CLUSTER_STEP_S ? deadline_s : CLUSTER_STEP_S, &client)) != CLI_OK)
        return code;
    if ((code = cluster_settle(client, config, &request, deadline_s, standing, &server)) == CLI_OK)
        printf("server %s (%u) is a voter\n", name, id);
    km_client_free(client);
    return code;
}
