/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot token list: the tokens as this identity sees them, which is also what its programs see as slots.
 */
#include "cluster.h"

#include "../common/cryptoki.h"
#include "../common/log.h"

#include <inttypes.h>
#include <libsmartcols.h>

static const struct cli_column columns[] = {
    {"SLOT", "slot", SCOLS_JSON_NUMBER, true},          {"LABEL", "label", SCOLS_JSON_STRING, false},
    {"SERIAL", "serial", SCOLS_JSON_STRING, false},     {"OBJECTS", "objects", SCOLS_JSON_NUMBER, true},
    {"USER PIN", "user_pin", SCOLS_JSON_STRING, false}, {"SO PIN", "so_pin", SCOLS_JSON_STRING, false},
    {"INSTANCE", "instance", SCOLS_JSON_NUMBER, true},
};

static const char *pin_state(uint64_t flags, CK_FLAGS locked, CK_FLAGS final_try, CK_FLAGS low, bool is_set)
{
    return !is_set             ? "not set"
           : flags & locked    ? "locked"
           : flags & final_try ? "one try left"
           : flags & low       ? "wrong tries"
                               : "set";
}

static void fill(struct cli_table *table, const Kmw__TokenListReply *list)
{
    for (size_t i = 0; i < list->n_tokens; i++) {
        const Kmw__TokenInfo *t = list->tokens[i];
        cli_table_cell(table, "%" PRIu64, t->slot);
        cli_table_cell(table, "%s", t->label);
        cli_table_cell(table, "%s", t->serial);
        cli_table_cell(table, "%" PRIu64, t->objects);
        cli_table_cell(table, "%s",
                       pin_state(t->flags, CKF_USER_PIN_LOCKED, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_COUNT_LOW,
                                 (t->flags & CKF_USER_PIN_INITIALIZED) != 0));
        cli_table_cell(table, "%s",
                       pin_state(t->flags, CKF_SO_PIN_LOCKED, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_COUNT_LOW, true));
        cli_table_cell(table, "%" PRIu64, t->instance);
    }
}

static void print_json(const Kmw__TokenListReply *list, struct cli_table *table)
{
    printf("{\n   \"free_slot\": ");
    if (list->free_slot != 0)
        printf("%" PRIu64, list->free_slot);
    else
        printf("null");
    if (list->n_tokens > 0) {
        printf(",\n");
        cli_table_print_member(table);
        printf("\n}\n");
    } else
        printf(",\n   \"tokens\": []\n}\n");
}

static void print_people(const Kmw__TokenListReply *list, struct cli_table *table)
{
    if (list->n_tokens > 0)
        cli_table_print(table, false /* bare */);
    else
        printf("no token that this identity may see\n");
    if (list->free_slot != 0)
        printf("\nThis identity may make a token in slot %" PRIu64
               " (C_InitToken; pkcs11-tool --init-token --slot %" PRIu64 ").\n",
               list->free_slot, list->free_slot);
}

enum cli_exit cli_token_list(const struct cli_command *self, int argc, char **argv)
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
    const struct cli_usage usage = {options, NULL, "--config client.conf"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;

    Kmw__TokenList list = KMW__TOKEN_LIST__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    request.op_case = KMW__REQUEST__OP_TOKEN_LIST;
    request.token_list = &list;
    struct km_client *client = NULL;
    Kmw__Reply *reply = NULL;
    if ((code = cluster_open(config, deadline_s, &client)) != CLI_OK)
        return code;
    if ((code = cluster_ask(client, &request, NULL, &reply)) != CLI_OK)
        goto out;
    if (reply->result_case != KMW__REPLY__RESULT_TOKEN_LIST || reply->token_list == NULL) {
        km_log(KM_LOG_ERROR, "the server's answer is not the one to this question: is it another version?");
        code = CLI_FAILED;
        goto out;
    }
    struct cli_table *table = cli_table_new("tokens", columns, sizeof(columns) / sizeof(columns[0]), is_json);
    fill(table, reply->token_list);
    (is_json ? print_json : print_people)(reply->token_list, table);
    cli_table_free(table);
out:
    if (reply != NULL)
        kmw__reply__free_unpacked(reply, NULL);
    km_client_free(client);
    return code;
}
