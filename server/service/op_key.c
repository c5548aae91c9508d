/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys come into being: C_GenerateKey and C_GenerateKeyPair. The back end makes and seals them before the proposal, so
 * that the log carries the finished objects and every server has the same (design D10).
 */
#include "lineage.h"
#include "operations.h"
#include "template.h"

#include "../hsm/head.h"

/* What both halves of a template need: rules, owner, token. The head becomes the call's. */
static enum km_flow make_head(struct km_call *call, const Kmw__Template *t, const struct km_mech *mech,
                              CK_OBJECT_CLASS class, Kml__Head **ret)
{
    static const Kmw__Template empty = KMW__TEMPLATE__INIT;
    Kml__Head *head = NULL;
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    const char *reason = NULL;
    CK_RV rv =
        km_template_new(t ? t : &empty, KM_TP_GENERATE, mech, class, km_call_is_so(call), &head, &secrets, &n, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    km_template_secrets_free(secrets, n);
    if (!km_call_own_head(call, head))
        return km_call_err(call, KM_ERR_NOMEM, "making the key");
    if (head->is_private && !km_call_is_user(call))
        return km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "private objects need a user's login");
    rv = km_lineage_may_be(km_levels_of(call->service->conf.levels, call->token.label), head, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    *ret = head;
    return km_head_complete(call, head, NULL);
}

static enum km_flow generate(struct km_call *call, const struct km_mech *mech, Kml__Head *public_head, Kml__Head *head,
                             Kml__Object *ret_public, Kml__Object *ret_secret)
{
    struct km_backend *backend = call->service->backend;
    CK_RV rv = CKR_OK;
    enum km_backend_result result =
        backend->ops->generate(backend, mech, public_head, head, ret_public, ret_secret, &rv);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, rv, true);
    bool is_ours = km_call_own(call, ret_secret->head.data, ret_secret->head.len);
    is_ours &= km_call_own(call, ret_secret->seal.data, ret_secret->seal.len);
    is_ours &= !public_head || km_call_own(call, ret_public->head.data, ret_public->head.len);
    call->audit_object = head->id.data;
    return is_ours ? KM_FLOW_GO : km_call_err(call, KM_ERR_NOMEM, "making the key");
}

static enum km_flow commit(struct km_call *call, Kml__Object *first, Kml__Object *second)
{
    Kml__Object *objects[] = {first, second};
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.n_objects = second ? 2 : 1;
    body.objects = objects;
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    return km_change_commit(call, &command);
}

static enum km_flow find_mech(struct km_call *call, const Kmw__Mechanism *asked, CK_FLAGS flag,
                              const struct km_mech **ret)
{
    *ret = asked ? km_mech(asked->type) : NULL;
    if (!*ret || !((*ret)->flags & flag))
        return km_call_rv(call, CKR_MECHANISM_INVALID, "no mechanism that makes such keys");
    call->audit_mechanism = (*ret)->name;
    return KM_FLOW_GO;
}

/* CKM_PKCS5_PBKD2 generates a key that whoever knows the password can make again. */
static enum km_flow make_from_password(struct km_call *call, const struct km_mech *mech, Kml__Head *head,
                                       Kml__Object *ret)
{
    struct km_backend *backend = call->service->backend;
    struct km_derivation d = {.mech = mech, .param = call->in->key_generate->mechanism};
    CK_RV rv = CKR_OK;
    enum km_backend_result result = backend->ops->derive(backend, &d, &head, 1, ret, &rv);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, rv, true);
    bool is_ours = km_call_own(call, ret->head.data, ret->head.len);
    is_ours &= km_call_own(call, ret->seal.data, ret->seal.len);
    call->audit_object = head->id.data;
    return is_ours ? KM_FLOW_GO : km_call_err(call, KM_ERR_NOMEM, "making the key");
}

enum km_flow km_op_key_generate(struct km_call *call)
{
    const Kmw__KeyGenerate *in = call->in->key_generate;
    const struct km_mech *mech;
    Kml__Head *head = NULL;
    Kml__Object object = KML__OBJECT__INIT;
    ProtobufCBinaryData sealed;
    enum km_flow flow = find_mech(call, in->mechanism, CKF_GENERATE, &mech);
    if (flow == KM_FLOW_GO)
        flow = make_head(call, in->template_, mech, CKO_SECRET_KEY, &head);
    if (flow == KM_FLOW_GO)
        flow = mech->scheme == KM_MS_PBKDF2 ? make_from_password(call, mech, head, &object)
                                            : generate(call, mech, NULL, head, NULL, &object);
    if (flow == KM_FLOW_GO && !head->is_session)
        return commit(call, &object, NULL);
    if (flow == KM_FLOW_GO)
        flow = km_seal_pack(call, &object, &sealed);
    if (flow == KM_FLOW_GO)
        flow = km_reply_objects(call, 1);
    if (flow == KM_FLOW_GO)
        flow = km_reply_object(call, head, &sealed, NULL);
    return flow == KM_FLOW_GO ? km_call_rv(call, CKR_OK, NULL) : flow;
}

/* One half goes to the log; the other one, which the client keeps, goes with it for the answer only, so that a retry
 * gets the same key. */
static enum km_flow commit_half(struct km_call *call, Kml__Object *stored, const Kml__Object *companion)
{
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    enum km_flow flow = km_seal_pack(call, companion, &body.companion);
    if (flow != KM_FLOW_GO)
        return flow;
    body.n_objects = 1;
    body.objects = &stored;
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    return km_change_commit(call, &command);
}

/* The answer with both halves, the public key first, when one of them is a session object. */
static enum km_flow reply_halves(struct km_call *call, const Kml__Result *result)
{
    ProtobufCBinaryData sealed;
    Kml__Object *object = kml__object__unpack(&call->arena.allocator, result->companion.len, result->companion.data);
    Kml__Head *head = object ? km_head_unpack(call, object->head.data, object->head.len) : NULL;
    if (!head || result->n_ids != 1)
        return km_call_err(call, KM_ERR_NOMEM, "reading the key pair");
    enum km_flow flow = km_seal_pack(call, object, &sealed);
    if (flow == KM_FLOW_GO)
        flow = km_reply_objects(call, 2);
    if (flow == KM_FLOW_GO && head->class_ == CKO_PUBLIC_KEY)
        flow = km_reply_object(call, head, NULL, NULL);
    if (flow == KM_FLOW_GO)
        flow = km_reply_stored(call, &result->ids[0]);
    if (flow == KM_FLOW_GO && head->class_ == CKO_PRIVATE_KEY)
        flow = km_reply_object(call, head, &sealed, NULL);
    return flow == KM_FLOW_GO ? km_call_rv(call, CKR_OK, NULL) : flow;
}

enum km_flow km_reply_pair(struct km_call *call, const Kml__Result *result)
{
    return result->companion.len > 0 ? reply_halves(call, result) : km_reply_result(call, result);
}

enum km_flow km_op_key_pair_generate(struct km_call *call)
{
    const Kmw__KeyPairGenerate *in = call->in->key_pair_generate;
    const struct km_mech *mech;
    Kml__Head *public_head = NULL, *head = NULL;
    Kml__Object public_object = KML__OBJECT__INIT, object = KML__OBJECT__INIT;
    ProtobufCBinaryData sealed;
    enum km_flow flow = find_mech(call, in->mechanism, CKF_GENERATE_KEY_PAIR, &mech);
    if (flow == KM_FLOW_GO)
        flow = make_head(call, in->public_template, mech, CKO_PUBLIC_KEY, &public_head);
    if (flow == KM_FLOW_GO)
        flow = make_head(call, in->private_template, mech, CKO_PRIVATE_KEY, &head);
    if (flow == KM_FLOW_GO) {
        km_lineage_pair(public_head, head);
        flow = generate(call, mech, public_head, head, &public_object, &object);
    }
    if (flow == KM_FLOW_GO && public_head->is_session != head->is_session)
        return head->is_session ? commit_half(call, &public_object, &object)
                                : commit_half(call, &object, &public_object);
    if (flow == KM_FLOW_GO && !head->is_session)
        return commit(call, &public_object, &object);
    if (flow == KM_FLOW_GO)
        flow = km_seal_pack(call, &object, &sealed);
    if (flow == KM_FLOW_GO)
        flow = km_reply_objects(call, 2);
    if (flow == KM_FLOW_GO)
        flow = km_reply_object(call, public_head, NULL, NULL);
    if (flow == KM_FLOW_GO)
        flow = km_reply_object(call, head, &sealed, NULL);
    return flow == KM_FLOW_GO ? km_call_rv(call, CKR_OK, NULL) : flow;
}
