/* SPDX-License-Identifier: Apache-2.0
 *
 * What the operations share: answers, memory that ends with the call, token and ticket of the request. Each answer is
 * made in one place, so that the same trouble always looks the same to a client.
 */
#include "call.h"

#include "../../common/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t km_now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

uint64_t km_utc_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

unsigned km_call_left_ms(const struct km_call *call)
{
    uint64_t now = km_now_ms();
    return now < call->deadline_ms ? (unsigned)(call->deadline_ms - now) : 1;
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

static enum km_flow answer(struct km_call *call, Kmw__Reply__Verdict verdict, CK_RV rv, const char *reason)
{
    snprintf(call->reason, sizeof(call->reason), "%s", reason ? reason : "");
    call->out.verdict = verdict;
    call->out.rv = rv;
    call->out.reason = call->reason;
    if (rv != CKR_OK || verdict != KMW__REPLY__VERDICT__ANSWER)
        call->out.result_case = KMW__REPLY__RESULT__NOT_SET;
    return KM_FLOW_ANSWER;
}

enum km_flow km_call_rv(struct km_call *call, CK_RV rv, const char *reason)
{
    return answer(call, KMW__REPLY__VERDICT__ANSWER, rv, reason);
}

enum km_flow km_call_verdict(struct km_call *call, Kmw__Reply__Verdict verdict, const char *reason)
{
    return answer(call, verdict, verdict == KMW__REPLY__VERDICT__ANSWER ? CKR_OK : CKR_DEVICE_ERROR, reason);
}

enum km_flow km_call_err(struct km_call *call, enum km_err err, const char *what)
{
    char reason[KM_REASON_MAX];
    snprintf(reason, sizeof(reason), "%s: %s", what, km_err_text(err));
    switch (err) {
    case KM_ERR_UNDECIDED:
        return km_call_verdict(call, KMW__REPLY__VERDICT__UNDECIDED, reason);
    case KM_ERR_BUSY:
        return km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, reason);
    case KM_ERR_NOT_LEADER:
    case KM_ERR_NOT_FRESH:
    case KM_ERR_CLOSED:
    case KM_ERR_TIMEOUT:
        return km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, reason);
    default:
        return km_call_rv(call, km_err_rv(err), reason);
    }
}

enum km_flow km_call_backend(struct km_call *call, enum km_backend_result result, CK_RV rv, bool is_stored)
{
    switch (result) {
    case KM_BE_ARG:
        return km_call_rv(call, rv, rv == CKR_SIGNATURE_INVALID ? NULL : "the back end refuses the input");
    case KM_BE_UNSUPPORTED:
        return km_call_rv(call, rv != CKR_OK ? rv : CKR_MECHANISM_INVALID, "the back end cannot do that");
    case KM_BE_BAD_RECORD:
        if (!is_stored)
            return km_call_rv(call, CKR_KEY_HANDLE_INVALID, "the session object's seal does not fit");
        km_log(KM_LOG_ERROR, "%s: a stored key's seal does not fit its record, or the master key is another one",
               call->row->name);
        return km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, "this server cannot open the key");
    case KM_BE_NO_SPACE:
        return km_call_rv(call, CKR_DEVICE_MEMORY, "the back end is full");
    default:
        return km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, "this server's back end is away");
    }
}

enum km_flow km_call_done(struct km_call *call)
{
    static Kmw__Empty empty = KMW__EMPTY__INIT;
    call->out.result_case = KMW__REPLY__RESULT_DONE;
    call->out.done = &empty;
    return km_call_rv(call, CKR_OK, NULL);
}

enum km_flow km_call_sync(struct km_call *call)
{
    if (call->patience < KM_PATIENCE_WAIT)
        return KM_FLOW_WAIT;
    enum km_err err = km_replica_sync(call->service->replica, km_call_left_ms(call));
    return err ? km_call_err(call, err == KM_ERR_UNDECIDED ? KM_ERR_TIMEOUT : err, "asking the leader") : KM_FLOW_GO;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

struct km_cleanup {
    struct km_cleanup *next;
    enum { FREE_BYTES, FREE_HEAD, UNREF_OBJECT } kind;
    void *data;
    size_t len;
};

void *km_call_alloc(struct km_call *call, size_t n, size_t size)
{
    return km_arena_array(&call->arena, n, size);
}

void km_forget_gone(struct km_service *service, const struct km_object *object)
{
    Kml__Object gone = KML__OBJECT__INIT;
    gone.head = (ProtobufCBinaryData){object->head_len, (uint8_t *)(uintptr_t)object->head};
    gone.seal = (ProtobufCBinaryData){object->seal_len, (uint8_t *)(uintptr_t)object->seal};
    service->backend->ops->forget(service->backend, &gone);
}

static void clean(const struct km_call *call, int kind, void *data, size_t len)
{
    if (kind == FREE_HEAD) {
        kml__head__free_unpacked(data, NULL);
    } else if (kind == UNREF_OBJECT) {
        const struct km_object *object = data;
        if (object->seal_len > 0 && km_object_is_gone(object)) /* perhaps the steward was here before its key was loaded */
            km_forget_gone(call->service, object);
        km_object_unref(object);
    } else if (data) {
        km_wipe(data, len);
        free(data);
    }
}

static bool add_cleanup(struct km_call *call, int kind, void *data, size_t len)
{
    struct km_cleanup *c = km_call_alloc(call, 1, sizeof(*c));
    if (!c) {
        clean(call, kind, data, len);
        return false;
    }
    *c = (struct km_cleanup){call->cleanups, kind, data, len};
    call->cleanups = c;
    return true;
}

bool km_call_own(struct km_call *call, void *data, size_t len)
{
    return add_cleanup(call, FREE_BYTES, data, len);
}

bool km_call_own_head(struct km_call *call, Kml__Head *head)
{
    return add_cleanup(call, FREE_HEAD, head, 0);
}

bool km_call_keep(struct km_call *call, const struct km_object *object)
{
    return add_cleanup(call, UNREF_OBJECT, (void *)(uintptr_t)object, 0);
}

void km_call_clean(struct km_call *call)
{
    for (struct km_cleanup *c = call->cleanups; c; c = c->next)
        clean(call, c->kind, c->data, c->len);
    call->cleanups = NULL;
}

/* --- token and ticket --------------------------------------------------------------------------------------------- */

bool km_call_is_user(const struct km_call *call)
{
    return call->has_ticket && call->ticket.user_type == CKU_USER;
}

bool km_call_is_so(const struct km_call *call)
{
    return call->has_ticket && call->ticket.user_type == CKU_SO;
}

enum km_flow km_call_find_token(struct km_call *call)
{
    const ProtobufCBinaryData *id = &call->in->token;
    if (id->len != KM_ID_LEN)
        return km_call_rv(call, CKR_TOKEN_NOT_PRESENT, "the request names no token");
    for (bool is_synced = false;; is_synced = true) {
        call->has_token = km_store_token(call->service->store, id->data, &call->token) &&
                          km_access_sees(call->service->access, call->identity, call->token.label, call->token.owner);
        if (call->has_token)
            return KM_FLOW_GO;
        if (is_synced)
            return km_call_rv(call, CKR_TOKEN_NOT_PRESENT, "there is no such token for this identity");
        enum km_flow flow = km_call_sync(call);
        if (flow != KM_FLOW_GO)
            return flow;
    }
}

enum km_flow km_call_check_ticket(struct km_call *call)
{
    const ProtobufCBinaryData *data = &call->in->ticket;
    if (data->len == 0)
        return call->row->ticket == KM_TICKET_SO ? km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "the SO is not logged in")
                                                 : KM_FLOW_GO;
    enum km_err err = km_ticket_open(call->service->backend, data->data, data->len, &call->ticket);
    if (err == KM_ERR_DENIED)
        return km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "the ticket is not one of this cluster's");
    if (err)
        return km_call_verdict(call, KMW__REPLY__VERDICT__ELSEWHERE, "this server's back end is away");
    for (bool is_synced = false;; is_synced = true) {
        bool is_ahead;
        const char *why = km_ticket_check(&call->ticket, &call->token, call->identity->uri, km_utc_ms(), &is_ahead);
        if (!why)
            break;
        if (!is_ahead || is_synced)
            return km_call_rv(call, CKR_USER_NOT_LOGGED_IN, why);
        enum km_flow flow = km_call_sync(call);
        if (flow != KM_FLOW_GO)
            return flow;
        if (!km_store_token(call->service->store, call->token.id, &call->token))
            return km_call_rv(call, CKR_TOKEN_NOT_PRESENT, "the token is gone");
    }
    if (call->row->ticket == KM_TICKET_SO && call->ticket.user_type != CKU_SO)
        return km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "only the SO may do that");
    call->has_ticket = true;
    return KM_FLOW_GO;
}
