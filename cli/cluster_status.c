/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot cluster status: what one server knows of the cluster.
 */
#include "cluster.h"

#include "../common/log.h"

#include <inttypes.h>
#include <libsmartcols.h>
#include <string.h>

static const struct cli_column columns[] = {
    {"ID", "id", SCOLS_JSON_NUMBER, true},
    {"NAME", "name", SCOLS_JSON_STRING, false},
    {"ZONE", "zone", SCOLS_JSON_STRING, false},
    {"ROLE", "role", SCOLS_JSON_STRING, false},
    {"LEADER", "leader", SCOLS_JSON_BOOLEAN, false},
    {"UP", "up", SCOLS_JSON_BOOLEAN, false},
    {"APPLIED", "applied", SCOLS_JSON_NUMBER, true},
    {"ADDRESS", "address", SCOLS_JSON_STRING, false},
    {"PEER ADDRESS", "peer_address", SCOLS_JSON_STRING, false},
};

static void fill(struct cli_table *table, const Kmw__ClusterStatusReply *status)
{
    for (size_t i = 0; i < status->n_servers; i++) {
        const Kmw__Server *s = status->servers[i];
        cli_table_cell(table, "%" PRIu64, s->id);
        cli_table_cell(table, "%s", s->name);
        cli_table_cell(table, "%s", s->zone);
        cli_table_cell(table, "%s", s->role);
        cli_table_cell(table, "%s", s->is_leader ? "yes" : "no");
        cli_table_cell(table, "%s", s->is_up ? "yes" : "no");
        cli_table_cell(table, "%" PRIu64, s->applied);
        cli_table_cell(table, "%s", s->address);
        cli_table_cell(table, "%s", s->peer_address);
    }
}

static void print_json(const Kmw__ClusterStatusReply *status, struct cli_table *table)
{
    printf("{\n   \"cluster\": ");
    cli_json_text(status->cluster);
    printf(",\n   \"term\": %" PRIu64 ",\n   \"commit_index\": %" PRIu64 ",\n   \"leader_id\": ", status->term,
           status->commit_index);
    if (status->leader != 0)
        printf("%" PRIu64, status->leader);
    else
        printf("null");
    printf(",\n   \"answered_by\": %" PRIu64 ",\n   \"fresh\": %s,\n   \"feature_level\": %u,\n   \"digest\": \"",
           status->answered_by, status->is_fresh ? "true" : "false", status->feature_level);
    for (size_t i = 0; i < status->digest.len; i++)
        printf("%02x", status->digest.data[i]);
    printf("\",\n");
    cli_table_print_member(table);
    printf("\n}\n");
}

static const char *name_of(const Kmw__ClusterStatusReply *status, uint64_t id)
{
    const Kmw__Server *server = cluster_find(status, id);
    return server != NULL ? server->name : id == 0 ? "none" : "a server outside the configuration";
}

static void print_people(const Kmw__ClusterStatusReply *status, struct cli_table *table)
{
    printf("cluster %s, leader %s, term %" PRIu64 ", commit index %" PRIu64 ", feature level %u\n", status->cluster,
           name_of(status, status->leader), status->term, status->commit_index, status->feature_level);
    printf("answered by %s, which is %s\n\n", name_of(status, status->answered_by),
           status->is_fresh ? "fresh" : "NOT fresh: this may be out of date, and it serves no keys now");
    cli_table_print(table, false /* bare */);
}

enum cli_exit cli_cluster_status(const struct cli_command *self, int argc, char **argv)
{
    const char *config = NULL;
    unsigned deadline_s = 0;
    bool is_json = false;
    const struct cli_option options[] = {
        {"config", CLI_TEXT, &config, "FILE", .help = CLUSTER_CONFIG_HELP},
        {"timeout", CLI_NUMBER, &deadline_s, "SECONDS", .help = CLUSTER_TIMEOUT_HELP, .min = 1, .max = 86400},
        {"json", CLI_FLAG, &is_json, NULL, .help = "print JSON"},
        {0},
    };
    const struct cli_usage usage = {options,
                                    "The leader answers if it can be reached: up and applied are what it knows. It "
                                    "needs an operator's certificate.",
                                    "--config operator.conf"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;

    struct km_client *client = NULL;
    Kmw__Reply *reply = NULL;
    if ((code = cluster_open(config, deadline_s, &client)) != CLI_OK)
        goto out;
    if ((code = cluster_ask_status(client, config, &reply)) != CLI_OK)
        goto out;
    struct cli_table *table = cli_table_new("servers", columns, sizeof(columns) / sizeof(columns[0]), is_json);
    fill(table, reply->cluster_status);
    (is_json ? print_json : print_people)(reply->cluster_status, table);
    cli_table_free(table);
out:
    if (reply != NULL)
        kmw__reply__free_unpacked(reply, NULL);
    km_client_free(client);
    return code;
}
