/* SPDX-License-Identifier: Apache-2.0
 *
 * The service: takes requests from the network, works on each as far as the thread may go, hands it on to a pool if
 * that is not far enough, and sends the reply. Invariant: each call is answered exactly once and then freed, with
 * everything in it wiped.
 */
#include "call.h"

#include "../../common/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IDENTITY_REQUESTS_MAX 1024              /* waiting requests of one identity: a quarter of the queue */
#define IDENTITY_BYTES_MAX (256u * 1024 * 1024) /* and their bytes (design D4) */

static struct km_call *call_new(struct km_service *service, const struct km_identity *identity, size_t len)
{
    struct km_call *call = malloc(sizeof(*call));
    if (!call)
        return NULL;
    memset(call, 0, offsetof(struct km_call, arena));
    km_arena_init(&call->arena);
    kmw__reply__init(&call->out);
    call->service = service;
    call->identity = identity;
    call->request_len = len;
    return call;
}

static void call_free(struct km_call *call)
{
    km_call_clean(call);
    km_arena_fini(&call->arena);
    free(call);
}

/* The reply as bytes; the memory is the call's, in its arena or, if large, malloc'ed by it. */
static bool pack_reply(struct km_call *call)
{
    call->packed_len = kmw__reply__get_packed_size(&call->out);
    call->packed = km_call_alloc(call, call->packed_len, 1);
    if (!call->packed)
        return false;
    kmw__reply__pack(&call->out, call->packed);
    return true;
}

static void send_reply(struct km_call *call)
{
    if (!pack_reply(call)) { /* only a large reply finds no memory; the client gets a small one */
        km_call_rv(call, CKR_HOST_MEMORY, "no memory for the reply");
        if (!pack_reply(call))
            call->packed_len = 0;
    }
    km_front_reply(call->request, call->packed, call->packed_len);
}

static void answer(struct km_call *call)
{
    km_dispatch_finish(call);
    if (call->is_counted)
        km_limits_leave(call->service->limits, call->identity->uri, call->request_len);
    send_reply(call);
    call_free(call);
}

/* Tries again from the start: what the first try left goes, the decoded request stays. */
static void reset(struct km_call *call)
{
    km_call_clean(call);
    kmw__reply__init(&call->out);
    call->has_token = call->has_ticket = call->is_conflict = false;
    call->is_audited = call->row->is_audited;
    call->used = NULL;
    call->audit_object = NULL;
}

static void hand_on(struct km_call *call, enum km_flow flow)
{
    struct km_service *service = call->service;
    reset(call);
    if (!call->is_counted)
        call->is_counted = km_limits_enter(service->limits, call->identity->uri, call->request_len);
    if (!call->is_counted)
        km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, "this identity has too many requests waiting here");
    else if (km_pool_put(flow == KM_FLOW_COMPUTE ? service->workers : service->changers, &call->work))
        return;
    else
        km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, "too many requests wait here");
    answer(call);
}

static void go_on(struct km_call *call, enum km_patience patience)
{
    call->patience = patience;
    enum km_flow flow = km_dispatch(call);
    assert(flow != KM_FLOW_GO);
    if (flow == KM_FLOW_ANSWER)
        answer(call);
    else
        hand_on(call, flow);
}

static void work(struct km_work *work)
{
    go_on((struct km_call *)(void *)work, KM_PATIENCE_COMPUTE);
}

static void work_and_wait(struct km_work *work)
{
    go_on((struct km_call *)(void *)work, KM_PATIENCE_WAIT);
}

void km_service_on_request(void *arg, struct km_front_request *request, const struct km_identity *identity,
                           const uint8_t *data, size_t len)
{
    struct km_service *service = arg;
    struct km_call *call = call_new(service, identity, len);
    if (!call) {
        km_front_reply(request, NULL, 0); /* an empty reply is no Reply of any version: the client goes elsewhere */
        return;
    }
    call->request = request;
    if (km_dispatch_decode(call, data, len))
        go_on(call, KM_PATIENCE_NONE);
    else
        answer(call);
}

void km_service_call(struct km_service *service, const struct km_identity *identity, const uint8_t *data, size_t len,
                     uint8_t **ret, size_t *ret_len)
{
    struct km_call *call = call_new(service, identity, len);
    *ret = NULL;
    *ret_len = 0;
    if (!call)
        return;
    if (km_dispatch_decode(call, data, len)) {
        call->patience = KM_PATIENCE_WAIT;
        enum km_flow flow = km_dispatch(call);
        assert(flow == KM_FLOW_ANSWER);
    }
    km_dispatch_finish(call);
    if (pack_reply(call) && (*ret = malloc(call->packed_len ? call->packed_len : 1))) {
        memcpy(*ret, call->packed, call->packed_len);
        *ret_len = call->packed_len;
    }
    call_free(call);
}

enum km_err km_service_new(const struct km_service_conf *conf, struct km_store *store, struct km_replica *replica,
                           struct km_backend *backend, struct km_audit *audit, const struct km_access *access,
                           struct km_service **ret)
{
    enum km_err err = KM_ERR_NOMEM;
    struct km_service *service = calloc(1, sizeof(*service));
    if (!service)
        return KM_ERR_NOMEM;
    service->conf = *conf;
    service->store = store;
    service->replica = replica;
    service->backend = backend;
    service->audit = audit;
    service->access = access;
    service->is_backend_ok = true;
    service->limits = km_limits_new(IDENTITY_REQUESTS_MAX, IDENTITY_BYTES_MAX);
    service->gate = km_gate_new();
    if (!service->limits || !service->gate)
        goto out;
    err = km_pool_new("km-worker", conf->workers, conf->queue_max, work, &service->workers);
    if (!err)
        err = km_pool_new("km-changer", conf->changers, conf->queue_max, work_and_wait, &service->changers);
    if (!err)
        err = km_steward_start(service, &service->steward);
    if (err)
        goto out;
    *ret = service;
    service = NULL;
out:
    if (service)
        km_service_free(service);
    return err;
}

void km_service_free(struct km_service *service)
{
    if (!service)
        return;
    km_steward_stop(service->steward);
    km_pool_close(service->workers);
    km_pool_close(service->changers);
    km_gate_free(service->gate);
    km_limits_free(service->limits);
    free(service);
}
