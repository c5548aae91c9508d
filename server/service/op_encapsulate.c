/* SPDX-License-Identifier: Apache-2.0
 *
 * C_EncapsulateKey and C_DecapsulateKey (PKCS#11 v3.2 5.18.8, 5.18.9).
 */
#include "op_make.h"

#include "../hsm/head.h"

enum km_flow km_op_key_encapsulate(struct km_call *call)
{
    const Kmw__KeyEncapsulate *in = call->in->key_encapsulate;
    struct km_backend *backend = call->service->backend;
    struct km_held *with = km_call_alloc(call, 1, sizeof(*with));
    const struct km_mech *mech;
    Kml__Head *head = NULL;
    Kml__Object object = KML__OBJECT__INIT;
    ProtobufCBinaryData sealed;
    uint8_t *ciphertext = NULL;
    size_t len = 0;
    CK_RV rv = CKR_OK;
    if (!with)
        return km_call_err(call, KM_ERR_NOMEM, "encapsulating");
    enum km_flow flow = km_make_mech(call, in->mechanism, CKF_ENCAPSULATE, &mech);
    if (flow == KM_FLOW_GO)
        flow = km_make_source(call, in->public_key, CKR_KEY_HANDLE_INVALID, mech, CKF_ENCAPSULATE, with);
    if (flow == KM_FLOW_GO)
        flow = km_make_head(call, in->template_, with, CKA_ENCAPSULATE_TEMPLATE, KM_TP_DERIVE, mech, CKO_SECRET_KEY,
                            &head);
    if (flow != KM_FLOW_GO)
        return flow;
    if (!head->is_session)
        return km_call_rv(call, CKR_TEMPLATE_INCONSISTENT, "encapsulated keys are session objects first");
    call->used = with->stored ? with : NULL;
    enum km_backend_result result =
        backend->ops->encapsulate(backend, &with->object, mech, in->mechanism, head, &object, &ciphertext, &len, &rv);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, rv, with->stored != NULL);
    bool is_ours = km_call_own(call, ciphertext, len);
    flow = km_make_own(call, &object);
    if (flow == KM_FLOW_GO && !is_ours)
        flow = km_call_err(call, KM_ERR_NOMEM, "encapsulating");
    if (flow == KM_FLOW_GO)
        flow = km_seal_pack(call, &object, &sealed);
    if (flow == KM_FLOW_GO)
        flow = km_reply_objects(call, 1);
    if (flow == KM_FLOW_GO)
        flow = km_reply_object(call, head, &sealed, NULL);
    if (flow != KM_FLOW_GO)
        return flow;
    call->out.objects->ciphertext = (ProtobufCBinaryData){len, ciphertext};
    call->audit_object = head->id.data;
    return km_call_rv(call, CKR_OK, NULL);
}

enum km_flow km_op_key_decapsulate(struct km_call *call)
{
    const Kmw__KeyDecapsulate *in = call->in->key_decapsulate;
    struct km_backend *backend = call->service->backend;
    struct km_held *with = km_call_alloc(call, 1, sizeof(*with));
    const struct km_mech *mech;
    Kml__Head *head = NULL;
    Kml__Object object = KML__OBJECT__INIT;
    CK_RV rv = CKR_OK;
    if (!with)
        return km_call_err(call, KM_ERR_NOMEM, "decapsulating");
    enum km_flow flow = km_make_mech(call, in->mechanism, CKF_DECAPSULATE, &mech);
    if (flow == KM_FLOW_GO)
        flow = km_make_source(call, in->private_key, CKR_KEY_HANDLE_INVALID, mech, CKF_DECAPSULATE, with);
    if (flow == KM_FLOW_GO)
        flow = km_make_head(call, in->template_, with, CKA_DECAPSULATE_TEMPLATE, KM_TP_DERIVE, mech, CKO_SECRET_KEY,
                            &head);
    if (flow != KM_FLOW_GO)
        return flow;
    call->used = with;
    enum km_backend_result result =
        backend->ops->decapsulate(backend, &with->object, mech, in->mechanism, &in->ciphertext, head, &object, &rv);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, rv, with->stored != NULL);
    return km_make_answer(call, &head, &object, 1);
}
