/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes: each is named by (session, number), and its content by a keyed hash. What was applied once is answered from
 * its first result, whichever server is asked (design D9). Runs on threads that may wait.
 */
#include "call.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

enum km_flow km_change_hash(struct km_call *call)
{
    const ProtobufCMessage *op =
        (const ProtobufCMessage *)(const void *)call->in->token_init; /* any member of the union */
    size_t len = protobuf_c_message_get_packed_size(op), at = 1 + sizeof(uint32_t) + KM_ID_LEN;
    uint8_t *data = km_call_alloc(call, at + len, 1);
    if (!data)
        return km_call_err(call, KM_ERR_NOMEM, "hashing the request");
    uint32_t op_case = (uint32_t)call->in->op_case;
    data[0] = 'C';
    for (size_t i = 0; i < sizeof(op_case); i++)
        data[1 + i] = (uint8_t)(op_case >> (8 * i));
    if (call->in->token.len == KM_ID_LEN)
        memcpy(data + 1 + sizeof(op_case), call->in->token.data, KM_ID_LEN);
    protobuf_c_message_pack(op, data + at);
    struct km_backend *backend = call->service->backend;
    if (backend->ops->mac(backend, "pin", data, at + len, call->hash) != KM_BE_OK)
        return km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, "this server's back end is away");
    return KM_FLOW_GO;
}

/* The store's refusals have two that mean something to the exactly-once machinery and nothing to a program:
 * CKR_DEVICE_ERROR, the change's session is not good (the client is told by CKR_FUNCTION_REJECTED, see wire.proto), and
 * CKR_FUNCTION_REJECTED, the thing to change is not as the command expected. */
static enum km_flow answer(struct km_call *call, const Kml__Result *result)
{
    call->is_conflict = result->rv == CKR_FUNCTION_REJECTED;
    if (call->is_conflict)
        return km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, result->reason);
    if (result->rv == CKR_DEVICE_ERROR)
        return km_call_rv(call, CKR_FUNCTION_REJECTED, result->reason);
    return result->rv == CKR_OK ? call->row->reply(call, result) : km_call_rv(call, result->rv, result->reason);
}

/* Whether the change took something away that older grants of other servers may still let through. */
static bool does_revoke(const struct km_call *call)
{
    switch (call->in->op_case) {
    case KMW__REQUEST__OP_TOKEN_INIT:
    case KMW__REQUEST__OP_PIN_INIT:
    case KMW__REQUEST__OP_PIN_SET:
    case KMW__REQUEST__OP_OBJECT_DESTROY:
    case KMW__REQUEST__OP_OBJECT_SET:
        return true;
    default:
        return false;
    }
}

/* A first proposer that fell after the commit may not have waited for the older grants to run out. */
static enum km_flow settle(struct km_call *call)
{
    if (!does_revoke(call))
        return KM_FLOW_GO;
    enum km_err err = km_replica_settle(call->service->replica, km_call_left_ms(call));
    return err ? km_call_err(call, err == KM_ERR_TIMEOUT ? KM_ERR_UNDECIDED : err,
                             "waiting for the change to hold everywhere")
               : KM_FLOW_GO;
}

enum km_flow km_change_replay(struct km_call *call)
{
    Kml__Result *result = NULL;
    const Kmw__Change *change = call->in->change;
    if (!change)
        return KM_FLOW_GO;
    enum km_err err = km_store_result(call->service->store, change->session, change->number, call->identity->uri,
                                      call->hash, &result);
    if (err == KM_ERR_DENIED) { /* the session may be newer than this store */
        enum km_flow flow = km_call_sync(call);
        if (flow != KM_FLOW_GO)
            return flow;
        err = km_store_result(call->service->store, change->session, change->number, call->identity->uri, call->hash,
                              &result);
    }
    if (err == KM_ERR_NOT_FOUND)
        return KM_FLOW_GO;
    if (err == KM_ERR_DENIED)
        return km_call_rv(call, CKR_FUNCTION_REJECTED,
                          "this change's session is unknown or expired, or its number was used otherwise");
    if (err)
        return km_call_err(call, err, "looking up the change");
    enum km_flow flow = result->rv == CKR_OK ? settle(call) : KM_FLOW_GO;
    if (flow == KM_FLOW_GO)
        flow = answer(call, result);
    kml__result__free_unpacked(result, NULL);
    return flow;
}

/* km_replica_change takes a command of its own. */
static Kml__Command *duplicate(const Kml__Command *command)
{
    size_t len = kml__command__get_packed_size(command);
    uint8_t *packed = malloc(len ? len : 1);
    if (!packed)
        return NULL;
    kml__command__pack(command, packed);
    Kml__Command *copy = kml__command__unpack(NULL, len, packed);
    free(packed);
    return copy;
}

enum km_err km_change_plain(struct km_service *service, Kml__Command *command, unsigned deadline_ms, Kml__Result **ret)
{
    uint64_t index;
    command->version = KM_LOG_VERSION;
    Kml__Command *own = duplicate(command);
    return own ? km_replica_change(service->replica, own, deadline_ms, &index, ret) : KM_ERR_NOMEM;
}

enum km_flow km_change_commit(struct km_call *call, Kml__Command *command)
{
    const Kmw__Change *change = call->in->change;
    Kml__Origin origin = KML__ORIGIN__INIT;
    Kml__Result *result = NULL;
    if (!change || change->session == 0 || change->number == 0)
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "a change without session and number");
    origin.session = change->session;
    origin.number = change->number;
    origin.acked = change->acked;
    origin.hash = (ProtobufCBinaryData){sizeof(call->hash), call->hash};
    origin.identity = (char *)(uintptr_t)call->identity->uri;
    command->origin = &origin;
    enum km_err err = km_change_plain(call->service, command, km_call_left_ms(call), &result);
    command->origin = NULL;
    if (err)
        return km_call_err(call, err, "writing the change");
    enum km_flow flow = answer(call, result);
    kml__result__free_unpacked(result, NULL);
    return flow;
}
