/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens: which there are, making one in the free slot, making one anew, and the registration that changes are numbered
 * under.
 */
#include "operations.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MAX 32

static uint64_t pin_flags(uint32_t failed, uint64_t low, uint64_t final, uint64_t locked)
{
    if (failed >= KM_PIN_TRIES)
        return locked;
    return failed == 0 ? 0 : failed + 1 >= KM_PIN_TRIES ? low | final : low;
}

static uint64_t flags_of(struct km_call *call, const struct km_token *token)
{
    uint8_t last[KM_ATTEMPT_LEN];
    struct km_store *store = call->service->store;
    uint64_t flags =
        CKF_RNG | CKF_LOGIN_REQUIRED | CKF_TOKEN_INITIALIZED | (token->has_user_pin ? CKF_USER_PIN_INITIALIZED : 0);
    flags |= pin_flags(km_store_pin_failed(store, token->id, CKU_USER, call->identity->uri, last),
                       CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED);
    flags |= pin_flags(km_store_pin_failed(store, token->id, CKU_SO, call->identity->uri, last), CKF_SO_PIN_COUNT_LOW,
                       CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED);
    return flags;
}

/* `token` must live as long as the call. */
static void put_info(struct km_call *call, const struct km_token *token, Kmw__TokenInfo *info)
{
    kmw__token_info__init(info);
    info->id = (ProtobufCBinaryData){KM_ID_LEN, (uint8_t *)(uintptr_t)token->id};
    info->slot = token->slot;
    info->label = (char *)(uintptr_t)token->label;
    info->serial = (char *)(uintptr_t)token->serial;
    info->model = (char *)(uintptr_t)call->service->conf.model;
    info->flags = flags_of(call, token);
    info->pin_len_min = KM_PIN_LEN_MIN;
    info->pin_len_max = KM_PIN_LEN_MAX;
    info->instance = token->instance;
    info->objects = token->objects;
}

/* All tokens; the memory is the call's. */
static enum km_flow read_tokens(struct km_call *call, struct km_token **ret, size_t *ret_n)
{
    enum km_err err = km_store_tokens(call->service->store, ret, ret_n);
    if (err)
        return km_call_err(call, err, "reading the tokens");
    return km_call_own(call, *ret, *ret_n * sizeof(**ret)) ? KM_FLOW_GO
                                                           : km_call_err(call, KM_ERR_NOMEM, "reading the tokens");
}

/* Operators see that tokens exist, but hold no keys. */
static bool is_listed(struct km_call *call, const struct km_token *token)
{
    return call->identity->role == KM_ROLE_OPERATOR ||
           km_access_sees(call->service->access, call->identity, token->label, token->owner);
}

/* The back end's mechanisms; false: out of memory. */
static bool put_mechanisms(struct km_call *call, Kmw__TokenListReply *out)
{
    struct km_backend *backend = call->service->backend;
    size_t n = 0;
    const struct km_mech *mechs = km_mechs(&n);
    Kmw__MechanismInfo **list = km_call_alloc(call, n, sizeof(*list));
    Kmw__MechanismInfo *infos = km_call_alloc(call, n, sizeof(*infos));
    CK_MECHANISM_INFO info;
    if (!list || !infos)
        return false;
    out->mechanisms = list;
    for (size_t i = 0; i < n; i++) {
        if (!backend->ops->offers(backend, &mechs[i], &info))
            continue;
        Kmw__MechanismInfo *next = &infos[out->n_mechanisms];
        kmw__mechanism_info__init(next);
        next->type = mechs[i].type;
        next->flags = info.flags;
        next->min = info.ulMinKeySize;
        next->max = info.ulMaxKeySize;
        list[out->n_mechanisms++] = next;
    }
    return true;
}

enum km_flow km_op_token_list(struct km_call *call)
{
    struct km_token *tokens = NULL;
    size_t n = 0;
    enum km_flow flow = read_tokens(call, &tokens, &n);
    if (flow != KM_FLOW_GO)
        return flow;
    Kmw__TokenListReply *out = km_call_alloc(call, 1, sizeof(*out));
    Kmw__TokenInfo **list = km_call_alloc(call, n + 1, sizeof(*list));
    Kmw__TokenInfo *infos = km_call_alloc(call, n + 1, sizeof(*infos));
    if (!out || !list || !infos)
        return km_call_err(call, KM_ERR_NOMEM, "listing the tokens");
    kmw__token_list_reply__init(out);
    out->tokens = list;
    for (size_t i = 0; i < n; i++) {
        if (!is_listed(call, &tokens[i]))
            continue;
        put_info(call, &tokens[i], &infos[out->n_tokens]);
        list[out->n_tokens] = &infos[out->n_tokens];
        out->n_tokens++;
    }
    if (km_access_may_create(call->service->access, call->identity))
        out->free_slot = km_store_free_slot(call->service->store);
    if (!put_mechanisms(call, out))
        return km_call_err(call, KM_ERR_NOMEM, "listing the mechanisms");
    call->out.result_case = KMW__REPLY__RESULT_TOKEN_LIST;
    call->out.token_list = out;
    return km_call_rv(call, CKR_OK, NULL);
}

enum km_flow km_op_client_register(struct km_call *call)
{
    Kml__ClientRegister body = KML__CLIENT_REGISTER__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    Kml__Result *result = NULL;
    Kmw__ClientRegisterReply *out = km_call_alloc(call, 1, sizeof(*out));
    if (!out)
        return km_call_err(call, KM_ERR_NOMEM, "registering");
    body.identity = (char *)(uintptr_t)call->identity->uri;
    command.body_case = KML__COMMAND__BODY_CLIENT_REGISTER;
    command.client_register = &body;
    enum km_err err = km_change_plain(call->service, &command, km_call_left_ms(call), &result);
    if (err)
        return km_call_err(call, err, "registering");
    enum km_flow flow = km_call_rv(call, result->rv, result->reason);
    if (result->rv == CKR_OK) {
        kmw__client_register_reply__init(out);
        out->session = result->session;
        out->window = KM_CLIENT_WINDOW;
        out->ttl_ms = KM_CLIENT_TTL_MS;
        call->out.result_case = KMW__REPLY__RESULT_CLIENT_REGISTER;
        call->out.client_register = out;
    }
    kml__result__free_unpacked(result, NULL);
    return flow;
}

static enum km_flow commit_init(struct km_call *call, Kml__TokenInit *body, uint64_t instance, uint64_t generation)
{
    const Kmw__TokenInit *in = call->in->token_init;
    Kml__Command command = KML__COMMAND__INIT;
    Kml__Pin so = KML__PIN__INIT;
    uint8_t verifier[32];
    struct km_pin_of of = {body->id.data, instance, CKU_SO, generation};
    enum km_err err = km_pin_verifier(call->service->backend, &of, in->so_pin.data, in->so_pin.len, verifier);
    if (err)
        return km_call_err(call, err, "making the token");
    so.verifier = (ProtobufCBinaryData){sizeof(verifier), verifier};
    so.generation = generation;
    body->so = &so;
    body->slot = in->slot;
    body->label = in->label;
    command.body_case = KML__COMMAND__BODY_TOKEN_INIT;
    command.token_init = body;
    return km_change_commit(call, &command);
}

static enum km_flow init_new(struct km_call *call)
{
    Kml__TokenInit body = KML__TOKEN_INIT__INIT;
    uint8_t id[KM_ID_LEN];
    char serial[17];
    if (!km_access_may_create(call->service->access, call->identity))
        return km_call_rv(call, CKR_SLOT_ID_INVALID, "this identity may not create tokens: server.conf [access]");
    if (RAND_bytes(id, sizeof(id)) != 1)
        return km_call_err(call, KM_ERR_CRYPTO, "making the token");
    for (size_t i = 0; i < 8; i++)
        snprintf(serial + 2 * i, 3, "%02x", id[i]);
    body.id = (ProtobufCBinaryData){sizeof(id), id};
    body.serial = serial;
    body.owner = (char *)(uintptr_t)call->identity->uri;
    return commit_init(call, &body, 1, 1);
}

/* Whoever knows the SO PIN may wipe the token; the attempt is counted under the number of this change. */
static enum km_flow init_again(struct km_call *call)
{
    Kml__TokenInit body = KML__TOKEN_INIT__INIT;
    const Kmw__Change *change = call->in->change;
    uint64_t attempt[2] = {change ? change->session : 0, change ? change->number : 0};
    const ProtobufCBinaryData attempt_id = {sizeof(attempt), (uint8_t *)attempt};
    enum km_flow flow = km_pin_prove(call, CKU_SO, &call->in->token_init->so_pin, &attempt_id);
    if (flow != KM_FLOW_GO)
        return flow;
    body.id = (ProtobufCBinaryData){KM_ID_LEN, call->token.id};
    body.serial = call->token.serial;
    body.owner = call->token.owner;
    body.expect_instance = call->token.instance;
    return commit_init(call, &body, call->token.instance + 1, call->token.so_generation + 1);
}

enum km_flow km_op_token_init(struct km_call *call)
{
    const Kmw__TokenInit *in = call->in->token_init;
    struct km_token *tokens = NULL;
    size_t n = 0;
    if (in->so_pin.len < KM_PIN_LEN_MIN || in->so_pin.len > KM_PIN_LEN_MAX)
        return km_call_rv(call, CKR_PIN_LEN_RANGE, "a PIN has 4 to 255 bytes");
    if (strlen(in->label) > LABEL_MAX)
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "a token's label has at most 32 bytes");
    enum km_flow flow = km_call_sync(call);
    if (flow == KM_FLOW_GO)
        flow = read_tokens(call, &tokens, &n);
    if (flow != KM_FLOW_GO)
        return flow;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i].slot != in->slot)
            continue;
        if (!km_access_sees(call->service->access, call->identity, tokens[i].label, tokens[i].owner))
            break;
        call->token = tokens[i];
        call->has_token = true;
        return init_again(call);
    }
    if (in->slot != km_store_free_slot(call->service->store))
        return km_call_rv(call, CKR_SLOT_ID_INVALID, "no such slot for this identity");
    return init_new(call);
}

enum km_flow km_reply_token(struct km_call *call, const Kml__Result *result)
{
    Kmw__TokenInitReply *out = km_call_alloc(call, 1, sizeof(*out));
    Kmw__TokenInfo *info = km_call_alloc(call, 1, sizeof(*info));
    if (!out || !info)
        return km_call_err(call, KM_ERR_NOMEM, "making the reply");
    call->has_token = result->n_ids == 1 && result->ids[0].len == KM_ID_LEN &&
                      km_store_token(call->service->store, result->ids[0].data, &call->token);
    if (!call->has_token)
        return km_call_err(call, KM_ERR_CORRUPT, "reading the new token");
    put_info(call, &call->token, info);
    kmw__token_init_reply__init(out);
    out->token = info;
    call->out.result_case = KMW__REPLY__RESULT_TOKEN_INIT;
    call->out.token_init = out;
    return km_call_rv(call, CKR_OK, NULL);
}
