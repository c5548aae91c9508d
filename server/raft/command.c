/* SPDX-License-Identifier: Apache-2.0
 *
 * Applying commands: time, exactly-once, then the handler of the kind (command.def). Everything here is a function of
 * the state and the command (design D10). A handler decides first and changes afterwards, so a refused command has
 * changed nothing but time and the client that asked. Loop thread, under the store's write lock.
 */
#include "store_state.h"

#include <stdlib.h>
#include <string.h>

#define KM_COMMAND(NAME, member, type, level)                                                                          \
    static enum km_err run_##member(struct km_state *state, const Kml__Command *command, struct km_outcome *ret)       \
    {                                                                                                                  \
        return km_apply_##member(state, command->member, ret);                                                         \
    }
#include "command.def"
#undef KM_COMMAND

struct row {
    Kml__Command__BodyCase body;
    uint32_t level;
    enum km_err (*run)(struct km_state *state, const Kml__Command *command, struct km_outcome *ret);
};

static const struct row rows[] = {
#define KM_COMMAND(NAME, member, type, level) {KML__COMMAND__BODY_##NAME, level, run_##member},
#include "command.def"
#undef KM_COMMAND
};

static const struct row *row_of(const Kml__Command *command)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].body == command->body_case)
            return &rows[i];
    return NULL;
}

enum km_err km_refuse(struct km_outcome *outcome, uint64_t rv, const char *reason)
{
    outcome->rv = rv;
    outcome->reason = reason;
    return KM_OK;
}

void km_outcome_add_id(struct km_outcome *outcome, const uint8_t id[KM_ID_LEN])
{
    memcpy(outcome->ids[outcome->n_ids++], id, KM_ID_LEN);
}

static Kml__Result *result_new(const struct km_outcome *outcome)
{
    Kml__Result *result = km_need(sizeof(*result));
    kml__result__init(result);
    result->rv = outcome->rv;
    result->session = outcome->session;
    result->failed = outcome->failed;
    if (outcome->reason)
        result->reason = km_need_text(outcome->reason);
    if (outcome->n_ids)
        result->ids = km_need(outcome->n_ids * sizeof(result->ids[0]));
    for (; result->n_ids < outcome->n_ids; result->n_ids++) {
        ProtobufCBinaryData *id = &result->ids[result->n_ids];
        id->data = km_need(KM_ID_LEN);
        id->len = KM_ID_LEN;
        memcpy(id->data, outcome->ids[result->n_ids], KM_ID_LEN);
    }
    if (outcome->companion.len > 0) {
        result->companion.data = km_need(outcome->companion.len);
        result->companion.len = outcome->companion.len;
        memcpy(result->companion.data, outcome->companion.data, outcome->companion.len);
    }
    return result;
}

static Kml__Result *result_refused(const char *reason)
{
    struct km_outcome outcome = {.rv = CKR_DEVICE_ERROR, .reason = reason};
    return result_new(&outcome);
}

static void keep_result(struct km_state *state, const Kml__Origin *origin, const Kml__Result *result)
{
    struct km_client *client = km_client_find(state, origin->session);
    if (!client) /* its own command made it go */
        return;
    size_t len = kml__result__get_packed_size(result);
    uint8_t *packed = km_need(len + 1);
    kml__result__pack(result, packed);
    km_client_keep(state, client, origin->number, origin->hash.data, packed, len);
    free(packed);
}

/* True if the command is answered without being executed. */
static bool is_answered(struct km_state *state, const Kml__Origin *origin, Kml__Result **ret)
{
    struct km_client_result *first = NULL;
    const char *reason = NULL;
    struct km_client *client = km_client_find(state, origin->session);
    if (client && strcmp(client->holder->identity, origin->identity) == 0)
        km_client_touch(state, client, origin->acked);
    switch (km_client_judge(state, origin->session, origin->number, origin->identity, origin->hash.data,
                            origin->hash.len, &first, &reason)) {
    case KM_CLIENT_NEW:
        return false;
    case KM_CLIENT_DONE:
        *ret = kml__result__unpack(&km_need_allocator, first->len, first->packed);
        return true;
    case KM_CLIENT_REFUSED:
        break;
    }
    *ret = result_refused(reason);
    return true;
}

enum km_err km_command_apply(struct km_state *state, uint64_t index, const Kml__Command *command, Kml__Result **ret)
{
    struct km_outcome outcome = {.rv = CKR_OK};
    const struct row *row = row_of(command);
    if (!row || row->level > state->feature_level)
        return KM_ERR_VERSION;
    state->index = index;
    if (command->time_ms > state->time_ms)
        state->time_ms = command->time_ms;
    km_client_expire(state);
    if (command->origin && is_answered(state, command->origin, ret))
        return KM_OK;
    enum km_err err = row->run(state, command, &outcome);
    if (err)
        return err;
    *ret = result_new(&outcome);
    /* CKR_FUNCTION_REJECTED: the thing to change was not as the command expected it. Nothing was done, so nothing is kept, and
     * the same change may be proposed again against what is there now. */
    if (command->origin && outcome.rv != CKR_FUNCTION_REJECTED)
        keep_result(state, command->origin, *ret);
    return KM_OK;
}
