/* SPDX-License-Identifier: Apache-2.0
 *
 * C_WrapKey and C_UnwrapKey, also those with authentication (PKCS#11 v3.2 5.18.4 to 5.18.7). Which key may go out under
 * which other one, and what may come in again, is lineage.c's to say.
 */
#include "op_make.h"

#include "../hsm/head.h"

enum km_flow km_op_key_wrap(struct km_call *call)
{
    const Kmw__KeyWrap *in = call->in->key_wrap;
    struct km_backend *backend = call->service->backend;
    struct km_held *with = km_call_alloc(call, 1, sizeof(*with)), *key = km_call_alloc(call, 1, sizeof(*key));
    const struct km_mech *mech;
    const char *reason = NULL;
    uint8_t *data = NULL;
    size_t len = 0;
    CK_RV rv = CKR_OK;
    if (!with || !key)
        return km_call_err(call, KM_ERR_NOMEM, "wrapping");
    enum km_flow flow = km_make_mech(call, in->mechanism, CKF_WRAP, &mech);
    if (flow == KM_FLOW_GO)
        flow = km_make_source(call, in->wrapping_key, CKR_WRAPPING_KEY_HANDLE_INVALID, mech, CKF_WRAP, with);
    if (flow == KM_FLOW_GO)
        flow = km_held_get(call, in->key, CKR_KEY_HANDLE_INVALID, key);
    if (flow != KM_FLOW_GO)
        return flow;
    rv = km_lineage_may_wrap(km_make_level(call), with->head, key->head, mech, in->mechanism, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    call->used = key;
    enum km_backend_result result =
        backend->ops->wrap(backend, &with->object, &key->object, mech, in->mechanism, &data, &len, &rv);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, rv, key->stored != NULL);
    flow = km_reply_bytes(call, data, len);
    enum km_flow check = km_make_check(call, with, CKR_WRAPPING_KEY_HANDLE_INVALID);
    return check == KM_FLOW_GO ? flow : check;
}

enum km_flow km_op_key_unwrap(struct km_call *call)
{
    const Kmw__KeyUnwrap *in = call->in->key_unwrap;
    struct km_backend *backend = call->service->backend;
    struct km_held *with = km_call_alloc(call, 1, sizeof(*with));
    enum km_level level = km_make_level(call);
    const struct km_mech *mech;
    const char *reason = NULL;
    Kml__Head *head = NULL;
    Kml__Object object = KML__OBJECT__INIT;
    CK_RV rv = CKR_OK;
    if (!with)
        return km_call_err(call, KM_ERR_NOMEM, "unwrapping");
    enum km_flow flow = km_make_mech(call, in->mechanism, CKF_UNWRAP, &mech);
    if (flow == KM_FLOW_GO)
        flow = km_make_source(call, in->unwrapping_key, CKR_UNWRAPPING_KEY_HANDLE_INVALID, mech, CKF_UNWRAP, with);
    if (flow != KM_FLOW_GO)
        return flow;
    rv = km_lineage_may_unwrap(level, with->head, mech, in->mechanism, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    flow = km_make_head(call, in->template_, with, CKA_UNWRAP_TEMPLATE, KM_TP_UNWRAP, mech, 0, &head);
    if (flow != KM_FLOW_GO)
        return flow;
    bool is_open = !in->template_ || !km_attr_find(in->template_->attrs, in->template_->n_attrs, CKA_SENSITIVE);
    rv = km_lineage_become(level, with->head, is_open, head, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    call->used = with;
    enum km_backend_result result =
        backend->ops->unwrap(backend, &with->object, mech, in->mechanism, &in->wrapped, head, &object, &rv);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, rv, with->stored != NULL);
    return km_make_answer(call, &head, &object, 1);
}
