/* SPDX-License-Identifier: Apache-2.0
 *
 * C_DeriveKey (PKCS#11 v3.2 5.18.6). The new key dies with the one that it came from, unless it lives on the token;
 * what it may be is lineage.c's to say.
 */
#include "op_make.h"

#include "../hsm/head.h"

#define KEYS_MAX 16 /* that one SP 800-108 derivation makes */

/* CKM_HKDF_DATA: how many bytes of data, which has no attribute for that, comes as CKA_VALUE_LEN all the same. */
static enum km_flow take_data_len(struct km_call *call, Kmw__Template *t, size_t *ret)
{
    const Kmw__Attr *len = km_attr_find(t->attrs, t->n_attrs, CKA_VALUE_LEN);
    size_t n = 0;
    if (!len)
        return KM_FLOW_GO;
    if (len->value.len != 8 || km_attr_get_u64(len->value.data) > KM_ATTR_VALUE_MAX)
        return km_call_rv(call, CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE_LEN has a malformed value");
    *ret = km_attr_get_u64(len->value.data);
    for (size_t i = 0; i < t->n_attrs; i++)
        if (t->attrs[i]->type != CKA_VALUE_LEN)
            t->attrs[n++] = t->attrs[i];
    t->n_attrs = n;
    return KM_FLOW_GO;
}

/* The heads of all keys that are asked for. */
static enum km_flow make_heads(struct km_call *call, const struct km_derivation *d, const struct km_held *base,
                               const struct km_held *other, Kml__Head **heads, size_t *ret_data_len)
{
    static Kmw__Template none = KMW__TEMPLATE__INIT;
    const Kmw__KeyDerive *in = call->in->key_derive;
    CK_OBJECT_CLASS class = d->mech->type == CKM_HKDF_DATA ? CKO_DATA : CKO_SECRET_KEY;
    enum km_level level = km_make_level(call);
    enum km_flow flow = KM_FLOW_GO;
    for (size_t i = 0; i < in->n_templates && flow == KM_FLOW_GO; i++) {
        Kmw__Template *t = in->templates[i] ? in->templates[i] : &none;
        const char *reason = NULL;
        if (class == CKO_DATA)
            flow = take_data_len(call, t, ret_data_len);
        if (flow == KM_FLOW_GO)
            flow = km_make_head(call, t, base, CKA_DERIVE_TEMPLATE, KM_TP_DERIVE, d->mech, class, &heads[i]);
        if (flow == KM_FLOW_GO && other)
            flow = km_head_descend(call, heads[i], other);
        if (flow != KM_FLOW_GO)
            return flow;
        CK_RV rv = km_lineage_derive(level, base->head, other ? other->head : NULL, d->mech, heads[i], &reason);
        if (rv != CKR_OK)
            return km_call_rv(call, rv, reason);
        if (heads[i]->is_session != heads[0]->is_session)
            return km_call_rv(call, CKR_TEMPLATE_INCONSISTENT,
                              "the keys must be token objects, or all session objects");
    }
    return flow;
}

/* The second key may do what the first one may: be derived from. */
static enum km_flow get_other(struct km_call *call, const struct km_mech *mech, const Kmw__Key *key,
                              struct km_held **ret)
{
    const char *reason = NULL;
    if (!key)
        return KM_FLOW_GO;
    *ret = km_call_alloc(call, 1, sizeof(**ret));
    if (!*ret)
        return km_call_err(call, KM_ERR_NOMEM, "deriving");
    const uint8_t *audited = call->audit_object;
    enum km_flow flow = km_held_get(call, key, CKR_KEY_HANDLE_INVALID, *ret);
    if (flow != KM_FLOW_GO)
        return flow;
    call->audit_object = audited;
    CK_RV rv = km_template_may_make((*ret)->head, mech, CKF_DERIVE, km_utc_ms(), &reason);
    return rv == CKR_OK ? KM_FLOW_GO : km_call_rv(call, rv, reason);
}

enum km_flow km_op_key_derive(struct km_call *call)
{
    const Kmw__KeyDerive *in = call->in->key_derive;
    struct km_backend *backend = call->service->backend;
    struct km_held *base = km_call_alloc(call, 1, sizeof(*base)), *other = NULL;
    Kml__Head *heads[KEYS_MAX] = {NULL};
    Kml__Object objects[KEYS_MAX];
    struct km_derivation d = {.param = in->mechanism};
    CK_RV rv = CKR_OK;
    if (!base)
        return km_call_err(call, KM_ERR_NOMEM, "deriving");
    enum km_flow flow = km_make_mech(call, in->mechanism, CKF_DERIVE, &d.mech);
    if (flow != KM_FLOW_GO)
        return flow;
    bool has_several = d.mech->param == KM_MP_SP800 || d.mech->param == KM_MP_SP800_FEEDBACK;
    if (in->n_templates == 0 || in->n_templates > (has_several ? KEYS_MAX : 1))
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "not as many templates as this mechanism makes keys");
    flow = km_make_source(call, in->base_key, CKR_KEY_HANDLE_INVALID, d.mech, CKF_DERIVE, base);
    call->used = base;
    if (flow == KM_FLOW_GO)
        flow = get_other(call, d.mech, in->mechanism->other, &other);
    if (flow == KM_FLOW_GO)
        flow = make_heads(call, &d, base, other, heads, &d.data_len);
    if (flow != KM_FLOW_GO)
        return flow;
    d.base = &base->object;
    d.other = other ? &other->object : NULL;
    d.is_whole = km_lineage_wants_whole(km_make_level(call), base->head, other ? other->head : NULL, d.mech);
    enum km_backend_result result = backend->ops->derive(backend, &d, heads, in->n_templates, objects, &rv);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, rv, base->stored != NULL);
    flow = km_make_answer(call, heads, objects, in->n_templates);
    enum km_flow check =
        other && heads[0]->is_session ? km_make_check(call, other, CKR_KEY_HANDLE_INVALID) : KM_FLOW_GO;
    return check == KM_FLOW_GO ? flow : check;
}
