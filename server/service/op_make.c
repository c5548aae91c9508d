/* SPDX-License-Identifier: Apache-2.0
 *
 * New keys from old ones, the steps that all of those operations have. What is checked about the source before the back
 * end works is checked again before anything leaves: by the dispatcher for answers without a change, here for those
 * that go to the log.
 */
#include "op_make.h"

#include "../hsm/head.h"

enum km_level km_make_level(const struct km_call *call)
{
    return km_levels_of(call->service->conf.levels, call->token.label);
}

enum km_flow km_make_mech(struct km_call *call, const Kmw__Mechanism *asked, CK_FLAGS flag, const struct km_mech **ret)
{
    *ret = asked ? km_mech(asked->type) : NULL;
    if (!*ret || !((*ret)->flags & flag))
        return km_call_rv(call, CKR_MECHANISM_INVALID, "no mechanism that does this");
    call->audit_mechanism = (*ret)->name;
    return KM_FLOW_GO;
}

enum km_flow km_make_source(struct km_call *call, const Kmw__Key *key, CK_RV missing, const struct km_mech *mech,
                            CK_FLAGS flag, struct km_held *ret)
{
    static const ProtobufCBinaryData no_pin; /* C_Login has no way to bring one here */
    bool is_public = flag == CKF_WRAP || flag == CKF_ENCAPSULATE;
    const char *reason = NULL;
    enum km_flow flow = is_public ? km_held_get_public(call, key, missing, ret) : km_held_get(call, key, missing, ret);
    if (flow != KM_FLOW_GO)
        return flow;
    CK_RV rv = km_template_may_make(ret->head, mech, flag, km_utc_ms(), &reason);
    if (rv == CKR_KEY_TYPE_INCONSISTENT && flag == CKF_WRAP)
        rv = CKR_WRAPPING_KEY_TYPE_INCONSISTENT;
    if (rv == CKR_KEY_TYPE_INCONSISTENT && flag == CKF_UNWRAP)
        rv = CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT;
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    return km_prove_context(call, ret->head, &no_pin);
}

enum km_flow km_make_check(struct km_call *call, const struct km_held *held, CK_RV invalid)
{
    bool is_presented = !held->stored && held->object.seal.len == 0; /* a public key of the client's own */
    CK_RV rv = invalid;
    const char *why = is_presented ? NULL : km_held_check(call, held, &rv);
    if (!why)
        return KM_FLOW_GO;
    return rv == CKR_OK ? km_call_verdict(call, KMW__REPLY__VERDICT__BUSY, why) : km_call_rv(call, invalid, why);
}

/* Both templates in one; what is in both must be the same, which km_template_new sees to. */
static enum km_flow merge(struct km_call *call, const Kmw__Template *t, const Kml__Attr *imposed, Kmw__Template *ret)
{
    Kmw__Template *more = NULL;
    if (imposed && imposed->value.len > 0) {
        more = kmw__template__unpack(&call->arena.allocator, imposed->value.len, imposed->value.data);
        if (!more)
            return km_call_err(call, KM_ERR_NOMEM, "making the key");
    }
    size_t n = t ? t->n_attrs : 0, n_more = more ? more->n_attrs : 0;
    if (n > KM_ATTRS_MAX)
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "more attributes than a template may have");
    ret->attrs = km_call_alloc(call, n + n_more + 1, sizeof(*ret->attrs));
    if (!ret->attrs)
        return km_call_err(call, KM_ERR_NOMEM, "making the key");
    for (size_t i = 0; i < n; i++)
        ret->attrs[ret->n_attrs++] = t->attrs[i];
    for (size_t i = 0; i < n_more; i++) {
        const Kmw__Attr *there = t ? km_attr_find(t->attrs, n, more->attrs[i]->type) : NULL;
        if (!there && ret->n_attrs < KM_ATTRS_MAX)
            ret->attrs[ret->n_attrs++] = more->attrs[i];
        else if (!there || there->value.len != more->attrs[i]->value.len ||
                 (there->value.len && memcmp(there->value.data, more->attrs[i]->value.data, there->value.len)))
            return km_call_rv(call, CKR_TEMPLATE_INCONSISTENT, "the template contradicts the one that the key imposes");
    }
    return KM_FLOW_GO;
}

enum km_flow km_make_head(struct km_call *call, const Kmw__Template *t, const struct km_held *source,
                          CK_ATTRIBUTE_TYPE imposed, enum km_template_phase phase, const struct km_mech *mech,
                          CK_OBJECT_CLASS class, Kml__Head **ret)
{
    Kmw__Template whole = KMW__TEMPLATE__INIT;
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    const char *reason = NULL;
    Kml__Head *head = NULL;
    enum km_flow flow = merge(call, t, imposed ? km_head_find(source->head, imposed) : NULL, &whole);
    if (flow != KM_FLOW_GO)
        return flow;
    CK_RV rv = km_template_new(&whole, phase, mech, class, km_call_is_so(call), &head, &secrets, &n, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    km_template_secrets_free(secrets, n);
    if (!km_call_own_head(call, head))
        return km_call_err(call, KM_ERR_NOMEM, "making the key");
    const Kml__Attr *value = head->class_ == CKO_DATA ? km_head_find(head, CKA_VALUE) : NULL;
    if (n > 0 || (value && value->value.len > 0)) /* a key's cannot be given at all */
        return km_call_rv(call, CKR_TEMPLATE_INCONSISTENT, "the value is what the operation makes");
    if (head->is_private && !km_call_is_user(call))
        return km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "private objects need a user's login");
    rv = km_lineage_may_be(km_make_level(call), head, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    *ret = head;
    flow = km_head_complete(call, head, NULL);
    return flow == KM_FLOW_GO && source ? km_head_descend(call, head, source) : flow;
}

enum km_flow km_make_own(struct km_call *call, const Kml__Object *object)
{
    bool has_head = km_call_own(call, object->head.data, object->head.len);
    bool has_seal = km_call_own(call, object->seal.data, object->seal.len);
    return has_head && has_seal ? KM_FLOW_GO : km_call_err(call, KM_ERR_NOMEM, "making the key");
}

static enum km_flow commit(struct km_call *call, Kml__Object *objects, size_t n)
{
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    enum km_flow flow = km_make_check(call, call->used, CKR_KEY_HANDLE_INVALID);
    if (flow != KM_FLOW_GO)
        return flow;
    body.objects = km_call_alloc(call, n, sizeof(*body.objects));
    if (!body.objects)
        return km_call_err(call, KM_ERR_NOMEM, "making the key");
    for (size_t i = 0; i < n; i++)
        body.objects[i] = &objects[i];
    body.n_objects = n;
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    return km_change_commit(call, &command);
}

enum km_flow km_make_answer(struct km_call *call, Kml__Head *const *heads, Kml__Object *objects, size_t n)
{
    enum km_flow flow = KM_FLOW_GO;
    for (size_t i = 0; i < n; i++) /* all of them, also if one fails: else they leak */
        if (km_make_own(call, &objects[i]) != KM_FLOW_GO)
            flow = KM_FLOW_ANSWER;
    if (flow != KM_FLOW_GO)
        return flow;
    call->audit_object = heads[0]->id.data;
    if (!heads[0]->is_session)
        return commit(call, objects, n);
    flow = km_reply_objects(call, n);
    for (size_t i = 0; i < n && flow == KM_FLOW_GO; i++) {
        ProtobufCBinaryData sealed = {0, NULL};
        if (objects[i].seal.len > 0)
            flow = km_seal_pack(call, &objects[i], &sealed);
        if (flow == KM_FLOW_GO)
            flow = km_reply_object(call, heads[i], sealed.len > 0 ? &sealed : NULL, NULL);
    }
    return flow == KM_FLOW_GO ? km_call_rv(call, CKR_OK, NULL) : flow;
}
