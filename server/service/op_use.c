/* SPDX-License-Identifier: Apache-2.0
 *
 * Using a key: the operation that programs wait for. Quick ones run in the network callback; what computes long goes to
 * a worker; a key that is not known here yet, or a PIN that travels with the use, needs a thread that may wait.
 */
#include "operations.h"
#include "template.h"

#include "../hsm/head.h"

#define RANDOM_MAX (64u * 1024) /* bytes of one request */

static const char *const names[] = {
    [KMW__USE__OPERATION__SIGN] = "use.sign",
    [KMW__USE__OPERATION__VERIFY] = "use.verify",
    [KMW__USE__OPERATION__ENCRYPT] = "use.encrypt",
    [KMW__USE__OPERATION__DECRYPT] = "use.decrypt",
    [KMW__USE__OPERATION__SIGN_RECOVER] = "use.sign-recover",
};

enum km_flow km_prove_context(struct km_call *call, const Kml__Head *head, const ProtobufCBinaryData *pin)
{
    static const ProtobufCBinaryData no_attempt;
    if (!km_head_bool(head, CKA_ALWAYS_AUTHENTICATE, false))
        return KM_FLOW_GO;
    if (pin->len == 0)
        return km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "this key wants the PIN with each use");
    return km_pin_prove(call, CKU_USER, pin, &no_attempt);
}

enum km_flow km_reply_bytes(struct km_call *call, uint8_t *data, size_t len)
{
    Kmw__UseReply *out = km_call_alloc(call, 1, sizeof(*out));
    if (!km_call_own(call, data, len) || !out)
        return km_call_err(call, KM_ERR_NOMEM, "making the reply");
    kmw__use_reply__init(out);
    out->data = (ProtobufCBinaryData){len, data};
    call->out.result_case = KMW__REPLY__RESULT_USE;
    call->out.use = out;
    return km_call_rv(call, CKR_OK, NULL);
}

enum km_flow km_op_use(struct km_call *call)
{
    const Kmw__Use *use = call->in->use;
    struct km_backend *backend = call->service->backend;
    const struct km_mech *mech = use->mechanism ? km_mech(use->mechanism->type) : NULL;
    struct km_held *held = km_call_alloc(call, 1, sizeof(*held));
    const char *reason = NULL;
    uint8_t *data = NULL;
    size_t len = 0;
    CK_RV rv = CKR_OK;
    if (!held)
        return km_call_err(call, KM_ERR_NOMEM, "using the key");
    if (!mech || (unsigned)use->operation >= sizeof(names) / sizeof(names[0]))
        return km_call_rv(call, CKR_MECHANISM_INVALID, "no such mechanism or operation");
    call->audit_operation = names[use->operation];
    call->audit_mechanism = mech->name;
    enum km_flow flow = km_held_get(call, use->key, CKR_KEY_HANDLE_INVALID, held);
    if (flow != KM_FLOW_GO)
        return flow;
    rv = km_template_may_use(held->head, mech, use->operation, km_utc_ms(), &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    flow = km_prove_context(call, held->head, &use->context_pin);
    if (flow != KM_FLOW_GO)
        return flow;
    /* The key's owner permits it by another attribute; what is computed is the same. */
    Kmw__Use deed = *use;
    if (use->operation == KMW__USE__OPERATION__SIGN_RECOVER)
        deed.operation = KMW__USE__OPERATION__SIGN;
    if (call->patience < KM_PATIENCE_COMPUTE && km_mech_is_slow(mech, held->head, deed.operation, deed.data.len))
        return KM_FLOW_COMPUTE;
    call->used = held;
    enum km_backend_result result = backend->ops->use(backend, &held->object, mech, &deed, &data, &len, &rv);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, rv, held->stored != NULL);
    return km_reply_bytes(call, data, len);
}

enum km_flow km_op_random(struct km_call *call)
{
    struct km_backend *backend = call->service->backend;
    size_t len = call->in->random->len;
    Kmw__RandomReply *out = km_call_alloc(call, 1, sizeof(*out));
    uint8_t *data = len <= RANDOM_MAX ? km_call_alloc(call, len, 1) : NULL;
    if (len > RANDOM_MAX)
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "more random bytes than one request may ask for");
    if (!out || !data)
        return km_call_err(call, KM_ERR_NOMEM, "making random bytes");
    enum km_backend_result result = backend->ops->random(backend, data, len);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, CKR_OK, true);
    kmw__random_reply__init(out);
    out->data = (ProtobufCBinaryData){len, data};
    call->out.result_case = KMW__REPLY__RESULT_RANDOM;
    call->out.random = out;
    return km_call_rv(call, CKR_OK, NULL);
}
