/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects: create, copy, destroy, set, get, find (PKCS#11 v3.2 5.7). What may stand in a template is template.h's
 * business; here it is decided where the object lives: in the log, or sealed in the client's hands.
 */
#include "call.h"
#include "lineage.h"
#include "operations.h"
#include "template.h"
#include "template_rules.h"

#include "../../common/attr.h"
#include "../../common/client.h"
#include "../hsm/head.h"

#include <stdlib.h>
#include <string.h>

#define CONFLICTS_MAX 5 /* times that a change of an object is tried against others who change it too */

/* A private object is the user's; without a login nobody makes one. */
static enum km_flow check_may_write(struct km_call *call, const Kml__Head *head)
{
    if (head->is_private && !km_call_is_user(call))
        return km_call_rv(call, CKR_USER_NOT_LOGGED_IN, "private objects need a user's login");
    return KM_FLOW_GO;
}

/* Answers with an object that lives in the client's hands. */
static enum km_flow reply_sealed(struct km_call *call, const Kml__Head *head, const Kml__Object *object)
{
    ProtobufCBinaryData sealed;
    enum km_flow flow = km_seal_pack(call, object, &sealed);
    if (flow == KM_FLOW_GO)
        flow = km_reply_objects(call, 1);
    if (flow == KM_FLOW_GO)
        flow = km_reply_object(call, head, &sealed, NULL);
    return flow == KM_FLOW_GO ? km_call_rv(call, CKR_OK, NULL) : flow;
}

static enum km_flow commit_create(struct km_call *call, Kml__Object *object)
{
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.n_objects = 1;
    body.objects = &object;
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    return km_change_commit(call, &command);
}

/* Gives an object without secret content the form that the log holds: its packed head. */
static enum km_flow pack_plain(struct km_call *call, const Kml__Head *head, Kml__Object *ret)
{
    enum km_err err = km_head_pack(head, &ret->head);
    if (err)
        return km_call_err(call, err, "making the object");
    return km_call_own(call, ret->head.data, ret->head.len) ? KM_FLOW_GO
                                                            : km_call_err(call, KM_ERR_NOMEM, "making the object");
}

/* An object that a back end made; its memory becomes the call's. */
static enum km_flow take_object(struct km_call *call, const Kml__Object *object)
{
    bool has_head = km_call_own(call, object->head.data, object->head.len);
    bool has_seal = km_call_own(call, object->seal.data, object->seal.len);
    return has_head && has_seal ? KM_FLOW_GO : km_call_err(call, KM_ERR_NOMEM, "making the object");
}

static enum km_flow import(struct km_call *call, Kml__Head *head, Kml__Attr *const *secrets, size_t n, Kml__Object *ret)
{
    struct km_backend *backend = call->service->backend;
    CK_RV rv = CKR_OK;
    enum km_backend_result result = backend->ops->import(backend, head, secrets, n, ret, &rv);
    return result == KM_BE_OK ? take_object(call, ret) : km_call_backend(call, result, rv, true);
}

static enum km_flow create(struct km_call *call, Kml__Head *head, Kml__Attr *const *secrets, size_t n)
{
    Kml__Object object = KML__OBJECT__INIT;
    const char *reason = NULL;
    enum km_flow flow = check_may_write(call, head);
    CK_RV rv = km_lineage_may_be(km_levels_of(call->service->conf.levels, call->token.label), head, &reason);
    if (flow == KM_FLOW_GO && rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    if (flow == KM_FLOW_GO && head->is_session && n == 0)
        return km_call_rv(call, CKR_TEMPLATE_INCONSISTENT, "session objects without a secret stay in the module");
    if (flow == KM_FLOW_GO)
        flow = km_head_complete(call, head, NULL);
    if (flow == KM_FLOW_GO)
        flow = n > 0 ? import(call, head, secrets, n, &object) : pack_plain(call, head, &object);
    if (flow != KM_FLOW_GO)
        return flow;
    call->audit_object = head->id.data;
    return head->is_session ? reply_sealed(call, head, &object) : commit_create(call, &object);
}

enum km_flow km_op_object_create(struct km_call *call)
{
    Kml__Head *head = NULL;
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    const char *reason = NULL;
    if (!call->in->object_create->template_)
        return km_call_rv(call, CKR_TEMPLATE_INCOMPLETE, "no template");
    CK_RV rv = km_template_new(call->in->object_create->template_, KM_TP_CREATE, NULL, 0, km_call_is_so(call), &head,
                               &secrets, &n, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    enum km_flow flow = km_call_own_head(call, head) ? create(call, head, secrets, n)
                                                     : km_call_err(call, KM_ERR_NOMEM, "making the object");
    km_template_secrets_free(secrets, n);
    return flow;
}

/* The object under a changed head: sealed anew if it has a seal, or if its value has to be in one now. */
static enum km_flow rehead(struct km_call *call, const struct km_held *old, Kml__Head *head, Kml__Object *ret)
{
    struct km_backend *backend = call->service->backend;
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    bool is_value_plain;
    if (km_template_take_secrets(head, &secrets, &n) != CKR_OK)
        return km_call_err(call, KM_ERR_NOMEM, "changing the object");
    if (n > 0) {
        enum km_flow flow = import(call, head, secrets, n, ret);
        km_template_secrets_free(secrets, n);
        return flow;
    }
    is_value_plain =
        head->class_ == CKO_DATA && km_head_find(head, CKA_VALUE) != NULL; /* set empty: the old seal goes */
    if (old->object.seal.len == 0 || is_value_plain)
        return pack_plain(call, head, ret);
    enum km_backend_result result = backend->ops->reseal(backend, &old->object, head, ret);
    return result == KM_BE_OK ? take_object(call, ret) : km_call_backend(call, result, CKR_OK, old->stored != NULL);
}

static const Kmw__Template *or_empty(const Kmw__Template *template)
{
    static const Kmw__Template empty = KMW__TEMPLATE__INIT;
    return template ? template : &empty;
}

enum km_flow km_op_object_copy(struct km_call *call)
{
    struct km_held source;
    Kml__Head *head = NULL;
    Kml__Object object = KML__OBJECT__INIT;
    const char *reason = NULL;
    enum km_flow flow = km_held_get(call, call->in->object_copy->source, CKR_OBJECT_HANDLE_INVALID, &source);
    if (flow != KM_FLOW_GO)
        return flow;
    CK_RV rv =
        km_template_copy(source.head, or_empty(call->in->object_copy->template_), km_call_is_so(call), &head, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    if (!km_call_own_head(call, head))
        return km_call_err(call, KM_ERR_NOMEM, "copying the object");
    if (head->is_session && source.object.seal.len == 0)
        return km_call_rv(call, CKR_TEMPLATE_INCONSISTENT, "session objects without a secret stay in the module");
    flow = check_may_write(call, head);
    if (flow == KM_FLOW_GO)
        flow = km_head_complete(call, head, &source);
    if (flow == KM_FLOW_GO)
        flow = rehead(call, &source, head, &object);
    if (flow != KM_FLOW_GO)
        return flow;
    call->audit_object = head->id.data;
    return head->is_session ? reply_sealed(call, head, &object) : commit_create(call, &object);
}

enum km_flow km_op_object_destroy(struct km_call *call)
{
    struct km_held held;
    Kmw__Key key = KMW__KEY__INIT;
    Kml__ObjectDestroy body = KML__OBJECT_DESTROY__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    const char *reason = NULL;
    key.id = call->in->object_destroy->id;
    enum km_flow flow = km_held_get(call, &key, CKR_OBJECT_HANDLE_INVALID, &held);
    if (flow != KM_FLOW_GO)
        return flow;
    CK_RV rv = km_template_destroy(held.head, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    body.token = (ProtobufCBinaryData){KM_ID_LEN, call->token.id};
    body.id = key.id;
    command.body_case = KML__COMMAND__BODY_OBJECT_DESTROY;
    command.object_destroy = &body;
    return km_change_commit(call, &command);
}

enum km_flow km_reply_destroyed(struct km_call *call, const Kml__Result *result)
{
    (void)result;
    return km_call_done(call);
}

/* One try against the object as it is now. */
static enum km_flow set_once(struct km_call *call)
{
    struct km_held held;
    Kml__Head *head = NULL;
    Kml__Object object = KML__OBJECT__INIT;
    Kml__ObjectReplace body = KML__OBJECT_REPLACE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    const char *reason = NULL;
    enum km_flow flow = km_held_get(call, call->in->object_set->key, CKR_OBJECT_HANDLE_INVALID, &held);
    if (flow != KM_FLOW_GO)
        return flow;
    CK_RV rv =
        km_template_set(held.head, or_empty(call->in->object_set->template_), km_call_is_so(call), &head, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, rv, reason);
    if (!km_call_own_head(call, head))
        return km_call_err(call, KM_ERR_NOMEM, "changing the object");
    flow = check_may_write(call, head);
    if (flow == KM_FLOW_GO)
        flow = rehead(call, &held, head, &object);
    if (flow != KM_FLOW_GO)
        return flow;
    if (head->is_session)
        return reply_sealed(call, head, &object);
    body.object = &object;
    body.expect_version = held.head->version;
    command.body_case = KML__COMMAND__BODY_OBJECT_REPLACE;
    command.object_replace = &body;
    return km_change_commit(call, &command);
}

enum km_flow km_op_object_set(struct km_call *call)
{
    enum km_flow flow = set_once(call);
    for (int i = 1; i < CONFLICTS_MAX && flow == KM_FLOW_ANSWER && call->is_conflict; i++)
        flow = set_once(call);
    return flow;
}

/* Secret attributes as far as the key lets them out; `*ret` NULL when there are none. */
static enum km_flow reveal(struct km_call *call, const struct km_held *held, Kmw__Template **ret)
{
    struct km_backend *backend = call->service->backend;
    struct km_secret packed = KM_SECRET_EMPTY;
    CK_ATTRIBUTE_TYPE probe =
        held->head->class_ == CKO_PRIVATE_KEY && held->head->key_type == CKK_RSA ? CKA_PRIVATE_EXPONENT : CKA_VALUE;
    *ret = NULL;
    if (held->object.seal.len == 0 || !km_template_is_readable(held->head, probe))
        return KM_FLOW_GO;
    enum km_backend_result result = backend->ops->reveal(backend, &held->object, &packed);
    if (result != KM_BE_OK)
        return km_call_backend(call, result, CKR_OK, held->stored != NULL);
    *ret = kmw__template__unpack(&call->arena.allocator, packed.len, packed.data);
    km_secret_free(&packed);
    return *ret ? KM_FLOW_GO : km_call_err(call, KM_ERR_NOMEM, "reading the object");
}

enum km_flow km_op_object_get(struct km_call *call)
{
    struct km_held *held = km_call_alloc(call, 1, sizeof(*held));
    Kmw__Template *secrets = NULL;
    if (!held)
        return km_call_err(call, KM_ERR_NOMEM, "reading the object");
    enum km_flow flow = km_held_get(call, call->in->object_get->key, CKR_OBJECT_HANDLE_INVALID, held);
    if (flow == KM_FLOW_GO && call->in->object_get->with_secrets) {
        call->is_audited = true;
        flow = reveal(call, held, &secrets);
        call->used = held;
    }
    if (flow == KM_FLOW_GO)
        flow = km_reply_objects(call, 1);
    if (flow == KM_FLOW_GO)
        flow = km_reply_object(call, held->head, NULL, secrets);
    return flow == KM_FLOW_GO ? km_call_rv(call, CKR_OK, NULL) : flow;
}

/* The template in the store's own type; values are borrowed. */
static Kml__Attr **store_template(struct km_call *call, const Kmw__Template *t)
{
    Kml__Attr **list = km_call_alloc(call, t->n_attrs + 1, sizeof(*list));
    Kml__Attr *attrs = km_call_alloc(call, t->n_attrs + 1, sizeof(*attrs));
    if (!list || !attrs)
        return NULL;
    for (size_t i = 0; i < t->n_attrs; i++) {
        kml__attr__init(&attrs[i]);
        attrs[i].type = t->attrs[i]->type;
        attrs[i].value = t->attrs[i]->value;
        list[i] = &attrs[i];
    }
    return list;
}

/* --- finding ------------------------------------------------------------------------------------------------------
 */

struct finding {
    Kml__Attr **attrs; /* the template in the store's own type; values are borrowed */
    size_t n, max;
    const uint8_t *after;
    const struct km_object *found[KM_FIND_PAGE_MAX];
    size_t n_found;
    bool has_more;
};

static void find_stored(struct km_call *call, struct finding *f)
{
    f->n_found = km_store_find(call->service->store, call->token.id, f->attrs, f->n, km_call_is_user(call), f->after,
                               f->found, f->max, &f->has_more);
}

/* Whether the object has the value. That of private data is in the seal. */
static bool has_value(struct km_call *call, const struct km_object *object, const ProtobufCBinaryData *value)
{
    struct km_backend *backend = call->service->backend;
    Kml__Object record = KML__OBJECT__INIT;
    struct km_secret packed = KM_SECRET_EMPTY;
    Kml__Head *head = km_head_unpack(call, object->head, object->head_len);
    const Kml__Attr *plain = head ? km_head_find(head, CKA_VALUE) : NULL;
    if (!head || plain || object->class != CKO_DATA || object->seal_len == 0)
        return plain && km_template_is_same(value, plain);
    record.head = (ProtobufCBinaryData){object->head_len, (uint8_t *)(uintptr_t)object->head};
    record.seal = (ProtobufCBinaryData){object->seal_len, (uint8_t *)(uintptr_t)object->seal};
    if (backend->ops->reveal(backend, &record, &packed) != KM_BE_OK)
        return false;
    Kmw__Template *t = kmw__template__unpack(&call->arena.allocator, packed.len, packed.data);
    const Kmw__Attr *sealed = t ? km_attr_find(t->attrs, t->n_attrs, CKA_VALUE) : NULL;
    bool is_same = sealed && sealed->value.len == value->len && !memcmp(sealed->value.data, value->data, value->len);
    km_secret_free(&packed);
    return is_same;
}

/* The store cannot look into seals, so it finds by the other attributes, and the values are compared here. */
static void find_by_value(struct km_call *call, struct finding *f, const ProtobufCBinaryData *value)
{
    struct finding page = {.attrs = f->attrs, .n = f->n, .max = KM_FIND_PAGE_MAX, .after = f->after, .has_more = true};
    uint8_t last[KM_ID_LEN];
    while (page.has_more && !f->has_more) {
        find_stored(call, &page);
        for (size_t i = 0; i < page.n_found; i++) {
            memcpy(last, page.found[i]->id, KM_ID_LEN);
            bool is_one = !f->has_more && has_value(call, page.found[i], value);
            f->has_more |= is_one && f->n_found == f->max;
            if (is_one && !f->has_more)
                f->found[f->n_found++] = page.found[i];
            else
                km_object_unref(page.found[i]);
        }
        page.after = last;
    }
}

static enum km_flow reply_found(struct km_call *call, const struct km_object **found, size_t n)
{
    enum km_flow flow = km_reply_objects(call, n);
    for (size_t i = 0; i < n; i++) {
        Kml__Head *head = NULL;
        if (!km_call_keep(call, found[i]))
            flow = flow == KM_FLOW_GO ? km_call_err(call, KM_ERR_NOMEM, "finding objects") : flow;
        else if (flow == KM_FLOW_GO && !(head = km_head_unpack(call, found[i]->head, found[i]->head_len)))
            flow = km_call_err(call, KM_ERR_NOMEM, "finding objects");
        if (flow == KM_FLOW_GO)
            flow = km_reply_object(call, head, NULL, NULL);
    }
    return flow;
}

/* True if objects with a sealed value may be meant: then the value is taken out of the template. */
static bool take_value(struct finding *f, ProtobufCBinaryData *ret)
{
    size_t at = f->n;
    for (size_t i = 0; i < f->n; i++) {
        const ProtobufCBinaryData *value = &f->attrs[i]->value;
        if (f->attrs[i]->type == CKA_CLASS && (value->len != 8 || km_attr_get_u64(value->data) != CKO_DATA))
            return false;
        if (f->attrs[i]->type == CKA_VALUE)
            at = i;
    }
    if (at == f->n || f->attrs[at]->value.len == 0)
        return false;
    *ret = f->attrs[at]->value;
    f->attrs[at] = f->attrs[--f->n];
    return true;
}

enum km_flow km_op_object_find(struct km_call *call)
{
    const Kmw__ObjectFind *in = call->in->object_find;
    const Kmw__Template *template = or_empty(in->template_);
    ProtobufCBinaryData value;
    struct finding f = {.max = in->max > 0 && in->max < KM_FIND_PAGE_MAX ? in->max : KM_FIND_PAGE_MAX};
    if (template->n_attrs > KM_ATTRS_MAX || (in->after.len != 0 && in->after.len != KM_ID_LEN))
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "too many attributes, or a malformed place to go on from");
    f.attrs = store_template(call, template);
    f.n = template->n_attrs;
    f.after = in->after.len ? in->after.data : NULL;
    if (!f.attrs)
        return km_call_err(call, KM_ERR_NOMEM, "finding objects");
    if (km_call_is_user(call) && take_value(&f, &value))
        find_by_value(call, &f, &value);
    else
        find_stored(call, &f);
    enum km_flow flow = reply_found(call, f.found, f.n_found);
    if (flow != KM_FLOW_GO)
        return flow;
    call->out.objects->more = f.has_more;
    return km_call_rv(call, CKR_OK, NULL);
}
