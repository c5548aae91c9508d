/* SPDX-License-Identifier: Apache-2.0
 *
 * Dispatch: one table, one order. Who asks, whether the time is over, whether this server is fresh (one that is not
 * sends the client elsewhere at once), what the client has seen already, token, ticket, then the operation; afterwards
 * audit, freshness and key state again, and only then the reply. A step that would have to wait sends the call to a
 * thread that may, where all of it is done again.
 */
#include "call.h"
#include "operations.h"

#include "../../common/client.h"

#include <string.h>
#include <time.h>

#define CLIENT (1u << KM_ROLE_CLIENT)
#define OPERATOR (1u << KM_ROLE_OPERATOR)
static const struct km_op_row rows[] = {
#define KM_OP(op, name, run, reply, roles, kind, needs_token, ticket, is_audited)                                      \
    {KMW__REQUEST__OP_##op, name, run, reply, roles, KM_KIND_##kind, needs_token, KM_TICKET_##ticket, is_audited},
#include "dispatch.def"
#undef KM_OP
};
static const struct km_op_row unknown = {.name = "unknown"};

bool km_dispatch_decode(struct km_call *call, const uint8_t *data, size_t len)
{
    call->row = &unknown;
    call->in = kmw__request__unpack(&call->arena.allocator, len, data);
    if (!call->in) {
        km_call_rv(call, CKR_DEVICE_ERROR, "malformed request");
        return false;
    }
    if (call->in->version != KM_WIRE_VERSION) {
        km_call_rv(call, CKR_DEVICE_ERROR, "this server does not know the request's protocol version");
        return false;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].op == call->in->op_case)
            call->row = &rows[i];
    if (call->row == &unknown) {
        km_call_rv(call, CKR_FUNCTION_NOT_SUPPORTED, "this server does not know the operation");
        return false;
    }
    unsigned max = call->service->conf.request_deadline_ms, asked = call->in->deadline_ms;
    call->deadline_ms = km_now_ms() + (asked > 0 && asked < max ? asked : max);
    call->is_audited = call->row->is_audited;
    call->audit_operation = call->row->name;
    return true;
}

static enum km_flow check_identity(struct km_call *call)
{
    const struct km_identity *who = call->identity;
    if (strcmp(who->cluster, call->service->conf.cluster))
        return km_call_rv(call, CKR_DEVICE_ERROR, "the certificate is another cluster's");
    if (who->not_after != 0 && (long long)time(NULL) > who->not_after)
        return km_call_rv(call, CKR_DEVICE_ERROR, "the client's certificate has expired");
    if (!(call->row->roles & (1u << who->role))) {
        char reason[KM_REASON_MAX];
        snprintf(reason, sizeof(reason), "%s is not for a certificate of role %s", call->row->name,
                 km_role_text(who->role));
        return km_call_rv(call, CKR_FUNCTION_REJECTED, reason);
    }
    return KM_FLOW_GO;
}

/* The client must not see an older state than it has seen elsewhere. */
static enum km_flow reach_index(struct km_call *call)
{
    if (call->in->min_index <= km_store_index(call->service->store))
        return KM_FLOW_GO;
    if (call->patience < KM_PATIENCE_WAIT)
        return KM_FLOW_WAIT;
    enum km_err err = km_replica_wait(call->service->replica, call->in->min_index, km_call_left_ms(call));
    return err ? km_call_err(call, err, "waiting for what the client has seen elsewhere") : KM_FLOW_GO;
}

static enum km_flow check_service(struct km_call *call)
{
    struct km_service *service = call->service;
    if (call->row->kind == KM_KIND_LOCAL)
        return KM_FLOW_GO;
    if (!km_replica_is_fresh(service->replica))
        return km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, "this server may be out of date");
    if (call->is_audited && !km_audit_is_ok(service->audit))
        return km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, "this server cannot write its audit log");
    if (call->is_audited && !service->is_backend_ok)
        return km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, "this server's back end is away");
    return KM_FLOW_GO;
}

/* What this kind of operation must have before it looks at anything. */
static enum km_flow prepare(struct km_call *call)
{
    bool may_wait =
        call->row->kind == KM_KIND_READ || call->row->kind == KM_KIND_WAIT || call->row->kind == KM_KIND_CHANGE;
    if (call->patience < KM_PATIENCE_WAIT && (may_wait || (call->is_audited && km_audit_is_each(call->service->audit))))
        return KM_FLOW_WAIT;
    return call->row->kind == KM_KIND_READ ? km_call_sync(call) : KM_FLOW_GO;
}

static enum km_flow find_token(struct km_call *call)
{
    return call->row->needs_token ? km_call_find_token(call) : KM_FLOW_GO;
}

static enum km_flow check_ticket(struct km_call *call)
{
    return call->row->ticket != KM_TICKET_NONE ? km_call_check_ticket(call) : KM_FLOW_GO;
}

/* A change that was done already is answered before its ticket or key is looked at: both may be gone by then, and it
 * was this change that took them. */
static enum km_flow replay(struct km_call *call)
{
    if (call->row->kind != KM_KIND_CHANGE)
        return KM_FLOW_GO;
    enum km_flow flow = km_change_hash(call);
    return flow == KM_FLOW_GO ? km_change_replay(call) : flow;
}

enum km_flow km_dispatch(struct km_call *call)
{
    static enum km_flow (*const steps[])(struct km_call * call) = {check_identity, check_service, reach_index, prepare,
                                                                   find_token,     replay,        check_ticket};
    if (km_now_ms() >= call->deadline_ms)
        return km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, "waited too long for a thread");
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        enum km_flow flow = steps[i](call);
        if (flow != KM_FLOW_GO)
            return flow;
    }
    return call->row->run(call);
}

/* --- afterwards --------------------------------------------------------------------------------------------------- */

static const char *outcome_text(Kmw__Reply__Verdict verdict)
{
    switch (verdict) {
    case KMW__REPLY__VERDICT__ANSWER:
        return "answer";
    case KMW__REPLY__VERDICT__UNDECIDED:
        return "undecided";
    case KMW__REPLY__VERDICT__BUSY:
        return "busy";
    default:
        return "elsewhere";
    }
}

static void audit(struct km_call *call)
{
    if (!call->is_audited || !call->in)
        return;
    const Kmw__Change *change = call->in->change;
    struct km_audit_event event = {
        .utc_ms = km_utc_ms(),
        .who = call->identity->uri,
        .program = call->in->program,
        .uid = call->in->uid,
        .operation = call->audit_operation,
        .token = call->has_token ? call->token.id : NULL,
        .user = call->has_ticket ? call->ticket.user_type == CKU_SO ? "so" : "user" : NULL,
        .object = call->audit_object,
        .mechanism = call->audit_mechanism,
        .session = change ? change->session : 0,
        .number = change ? change->number : 0,
        .outcome = outcome_text(call->out.verdict),
        .rv = call->out.rv,
        .reason = call->reason,
    };
    enum km_err err = km_audit_write(call->service->audit, &event);
    if (!err || call->out.verdict != KMW__REPLY__VERDICT__ANSWER || call->out.rv != CKR_OK)
        return;
    if (call->row->kind == KM_KIND_CHANGE &&
        call->in->change) /* it is done: the client asks again and gets the first result, audited there */
        km_call_verdict(call, KMW__REPLY__VERDICT__UNDECIDED, "done, but this server cannot write its audit log");
    else
        km_call_err(call, err == KM_ERR_BUSY ? KM_ERR_BUSY : KM_ERR_CLOSED, "writing the audit log");
}

/* Nothing that was revoked while the back end worked leaves this server. */
static void check_again(struct km_call *call)
{
    bool is_ahead;
    CK_RV rv = CKR_KEY_HANDLE_INVALID;
    const char *why = call->used ? km_held_check(call, call->used, &rv) : NULL;
    if (why && !call->used->stored) /* its ancestor may have been forgotten before this key was loaded */
        call->service->backend->ops->forget(call->service->backend, &call->used->object);
    if (!km_replica_is_fresh(call->service->replica))
        km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, "this server may be out of date");
    else if (!call->has_token || call->row->kind == KM_KIND_WAIT)
        return;
    else if (call->has_ticket &&
             km_ticket_check(&call->ticket, &call->token, call->identity->uri, km_utc_ms(), &is_ahead))
        km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "the login ended meanwhile");
    else if (why && rv == CKR_OK)
        km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, why);
    else if (why)
        km_call_rv(call, rv, why);
}

void km_dispatch_finish(struct km_call *call)
{
    bool is_change = call->row->kind == KM_KIND_CHANGE && call->in && call->in->change, is_local = call->row->kind == KM_KIND_LOCAL;
    audit(call);
    if (call->has_token)
        call->has_token = km_store_token(call->service->store, call->token.id, &call->token);
    bool is_success = call->out.verdict == KMW__REPLY__VERDICT__ANSWER && call->out.rv == CKR_OK;
    if (is_success && call->in && !is_local && !is_change)
        check_again(call);
    call->out.version = KM_WIRE_VERSION;
    call->out.index = km_store_index(call->service->store);
    call->out.token_version = call->has_token ? call->token.version : 0;
}
