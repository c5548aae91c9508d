/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects as requests name them and as replies carry them. A token object comes out of the store; a session object
 * comes sealed in the request, and is believed only as far as its seal was proved: every deed with its secret goes
 * through the back end, which checks head and seal together. What it names besides (login, token instance, ancestors)
 * must all still hold.
 */
#include "call.h"

#include "../hsm/head.h"
#include "template.h"

#include <stdlib.h>
#include <string.h>

#define SESSION_OBJECT_AGE_MS                                                                                          \
    (7ull * 24 * 3600 * 1000) /* a sealed blob that was kept longer than any program's session */
#define ANCESTORS_MAX 16

Kml__Head *km_head_unpack(struct km_call *call, const uint8_t *data, size_t len)
{
    return kml__head__unpack(&call->arena.allocator, len, data);
}

static enum km_flow hold_stored(struct km_call *call, const struct km_object *object, struct km_held *ret)
{
    if (!km_call_keep(call, object))
        return km_call_err(call, KM_ERR_NOMEM, "reading the object");
    ret->stored = object;
    kml__object__init(&ret->object);
    ret->object.head = (ProtobufCBinaryData){object->head_len, (uint8_t *)(uintptr_t)object->head};
    ret->object.seal = (ProtobufCBinaryData){object->seal_len, (uint8_t *)(uintptr_t)object->seal};
    ret->head = km_head_unpack(call, object->head, object->head_len);
    return ret->head ? KM_FLOW_GO : km_call_err(call, KM_ERR_NOMEM, "reading the object");
}

/* A reference to what the store has under `id`, if it belongs to this token and this login may see it. */
static const struct km_object *visible(struct km_call *call, const uint8_t *id)
{
    const struct km_object *object = km_store_object(call->service->store, id);
    if (!object)
        return NULL;
    if (!memcmp(object->token, call->token.id, KM_ID_LEN) && (!object->is_private || km_call_is_user(call)))
        return object;
    km_object_unref(object);
    return NULL;
}

static enum km_flow get_stored(struct km_call *call, const ProtobufCBinaryData *id, CK_RV missing, struct km_held *ret)
{
    if (id->len != KM_ID_LEN)
        return km_call_rv(call, missing, "not an object's id");
    for (bool is_synced = false;; is_synced = true) {
        const struct km_object *object = visible(call, id->data);
        if (object)
            return hold_stored(call, object, ret);
        if (is_synced)
            return km_call_rv(call, missing, "there is no such object, or this login may not see it");
        enum km_flow flow = km_call_sync(call);
        if (flow != KM_FLOW_GO)
            return flow;
    }
}

/* There, and what it may do is what it was then. */
static bool is_ancestor_good(struct km_call *call, const ProtobufCBinaryData *id, uint64_t revised)
{
    const struct km_object *object = id->len == KM_ID_LEN ? km_store_object(call->service->store, id->data) : NULL;
    Kml__Head *head = object ? km_head_unpack(call, object->head, object->head_len) : NULL;
    bool is_good = head && head->revised == revised;
    if (object)
        km_object_unref(object);
    return is_good;
}

/* NULL, or why this session object is no longer good for anything here. */
static const char *check_session(struct km_call *call, const Kml__Head *head)
{
    if (!head->is_session || head->id.len != KM_ID_LEN || head->token.len != KM_ID_LEN)
        return "not a session object";
    if (memcmp(head->token.data, call->token.id, KM_ID_LEN) || head->token_instance != call->token.instance)
        return "the session object belongs to another token, or to one that was initialised again";
    if (strcmp(head->owner, call->identity->uri))
        return "the session object is another identity's";
    if (head->is_private && (!km_call_is_user(call) || head->login_epoch != call->ticket.epoch))
        return "the session object belongs to another login";
    if (km_utc_ms() >= head->expires_ms)
        return "the session object has expired";
    if (head->n_ancestors != head->n_ancestors_revised)
        return "not a session object";
    for (size_t i = 0; i < head->n_ancestors; i++)
        if (!is_ancestor_good(call, &head->ancestors[i], head->ancestors_revised[i]))
            return "a key that the session object was made from is gone, or may do less";
    return NULL;
}

static enum km_flow get_sealed(struct km_call *call, const ProtobufCBinaryData *sealed, CK_RV missing,
                               struct km_held *ret)
{
    Kml__Object *object = kml__object__unpack(&call->arena.allocator, sealed->len, sealed->data);
    Kml__Head *head = object ? km_head_unpack(call, object->head.data, object->head.len) : NULL;
    if (!head)
        return km_call_rv(call, missing, "not a sealed session object");
    const char *why = check_session(call, head);
    if (why)
        return km_call_rv(call, missing, why);
    *ret = (struct km_held){.object = *object, .head = head};
    return KM_FLOW_GO;
}

/* A public session object of the client's: whoever sends it knows it, so it has no lineage but that. */
static enum km_flow get_presented(struct km_call *call, const Kmw__Template *t, CK_RV missing, struct km_held *ret)
{
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    const char *reason = NULL;
    CK_RV rv = km_template_new(t, KM_TP_CREATE, NULL, 0, false, &ret->head, &secrets, &n, &reason);
    if (rv != CKR_OK)
        return km_call_rv(call, missing, reason);
    km_template_secrets_free(secrets, n);
    if (!km_call_own_head(call, ret->head))
        return km_call_err(call, KM_ERR_NOMEM, "reading the object");
    if (ret->head->class_ != CKO_PUBLIC_KEY || !ret->head->is_session)
        return km_call_rv(call, missing, "not a public session object");
    kml__object__init(&ret->object);
    enum km_err err = km_head_pack(ret->head, &ret->object.head);
    if (err || !km_call_own(call, ret->object.head.data, ret->object.head.len))
        return km_call_err(call, KM_ERR_NOMEM, "reading the object");
    return KM_FLOW_GO;
}

enum km_flow km_held_get_public(struct km_call *call, const Kmw__Key *key, CK_RV missing, struct km_held *ret)
{
    if (!key || !key->public_key)
        return km_held_get(call, key, missing, ret);
    memset(ret, 0, sizeof(*ret));
    return get_presented(call, key->public_key, missing, ret);
}

enum km_flow km_held_get(struct km_call *call, const Kmw__Key *key, CK_RV missing, struct km_held *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (!key)
        return km_call_rv(call, CKR_ARGUMENTS_BAD, "the request names no object");
    enum km_flow flow =
        key->sealed.len > 0 ? get_sealed(call, &key->sealed, missing, ret) : get_stored(call, &key->id, missing, ret);
    if (flow == KM_FLOW_GO)
        call->audit_object = ret->head->id.data;
    return flow;
}

const char *km_held_check(struct km_call *call, const struct km_held *held, CK_RV *ret_rv)
{
    *ret_rv = CKR_KEY_HANDLE_INVALID;
    if (!held->stored)
        return check_session(call, held->head);
    const struct km_object *now = km_store_object(call->service->store, held->stored->id);
    if (!now)
        return "the object was destroyed meanwhile";
    bool is_same = now->version == held->stored->version;
    km_object_unref(now);
    if (is_same)
        return NULL;
    *ret_rv = CKR_OK;
    return "the object was changed meanwhile";
}

static enum km_err add_ancestor(Kml__Head *head, const ProtobufCBinaryData *id, uint64_t revised)
{
    size_t n = head->n_ancestors;
    for (size_t i = 0; i < n; i++)
        if (head->ancestors[i].len == id->len && !memcmp(head->ancestors[i].data, id->data, id->len))
            return KM_OK;
    if (n >= ANCESTORS_MAX)
        return KM_ERR_ARG;
    ProtobufCBinaryData *more = realloc(head->ancestors, (n + 1) * sizeof(*more));
    if (!more)
        return KM_ERR_NOMEM;
    head->ancestors = more;
    uint64_t *numbers = realloc(head->ancestors_revised, (n + 1) * sizeof(*numbers));
    if (!numbers)
        return KM_ERR_NOMEM;
    head->ancestors_revised = numbers;
    more[n] = (ProtobufCBinaryData){0, NULL};
    numbers[n] = revised;
    enum km_err err = km_head_bytes(&more[n], id->data, id->len);
    if (!err)
        head->n_ancestors = head->n_ancestors_revised = n + 1;
    return err;
}

enum km_flow km_head_descend(struct km_call *call, Kml__Head *head, const struct km_held *from)
{
    enum km_err err = KM_OK;
    if (!head->is_session)
        return KM_FLOW_GO;
    if (from->stored)
        err = add_ancestor(head, &from->head->id, from->head->revised);
    for (size_t i = 0; i < from->head->n_ancestors && !from->stored && !err; i++)
        err = add_ancestor(head, &from->head->ancestors[i], from->head->ancestors_revised[i]);
    if (err == KM_ERR_ARG)
        return km_call_rv(call, CKR_FUNCTION_FAILED, "made from too many keys");
    return err ? km_call_err(call, err, "making the object") : KM_FLOW_GO;
}

enum km_flow km_head_complete(struct km_call *call, Kml__Head *head, const struct km_held *from)
{
    const struct km_backend_ops *ops = call->service->backend->ops;
    enum km_err err = km_head_bytes(&head->token, call->token.id, KM_ID_LEN);
    if (!err)
        err = km_head_string(&head->owner, call->identity->uri);
    if (!err)
        err = km_head_string(&head->backend, ops->class);
    if (err)
        return km_call_err(call, err, "making the object");
    head->token_instance = call->token.instance;
    head->created_ms = km_store_time_ms(call->service->store);
    if (!head->is_session)
        return KM_FLOW_GO;
    head->login_epoch = head->is_private ? call->ticket.epoch : 0;
    head->expires_ms = km_utc_ms() + SESSION_OBJECT_AGE_MS;
    if (!from || !from->stored)
        return KM_FLOW_GO; /* a copy of a session object has its ancestors already */
    return km_head_descend(call, head, from);
}

enum km_flow km_seal_pack(struct km_call *call, const Kml__Object *object, ProtobufCBinaryData *ret)
{
    ret->len = kml__object__get_packed_size(object);
    ret->data = km_call_alloc(call, ret->len, 1);
    if (!ret->data)
        return km_call_err(call, KM_ERR_NOMEM, "making the object");
    kml__object__pack(object, ret->data);
    return KM_FLOW_GO;
}

/* --- replies -------------------------------------------------------------------------------------------------------
 */

enum km_flow km_reply_objects(struct km_call *call, size_t n)
{
    Kmw__ObjectsReply *reply = km_call_alloc(call, 1, sizeof(*reply));
    Kmw__Object **objects = km_call_alloc(call, n ? n : 1, sizeof(*objects));
    if (!reply || !objects)
        return km_call_err(call, KM_ERR_NOMEM, "making the reply");
    kmw__objects_reply__init(reply);
    reply->objects = objects;
    call->out.result_case = KMW__REPLY__RESULT_OBJECTS;
    call->out.objects = reply;
    return KM_FLOW_GO;
}

enum km_flow km_reply_object(struct km_call *call, const Kml__Head *head, const ProtobufCBinaryData *sealed,
                             const Kmw__Template *secrets)
{
    size_t n_secrets = secrets ? secrets->n_attrs : 0, n = head->n_attrs + n_secrets;
    Kmw__Object *object = km_call_alloc(call, 1, sizeof(*object));
    Kmw__Attr **list = km_call_alloc(call, n ? n : 1, sizeof(*list));
    Kmw__Attr *attrs = km_call_alloc(call, n ? n : 1, sizeof(*attrs));
    if (!object || !list || !attrs)
        return km_call_err(call, KM_ERR_NOMEM, "making the reply");
    kmw__object__init(object);
    object->id = head->id;
    object->version = head->version;
    object->attrs = list;
    object->n_attrs = n;
    for (size_t i = 0; i < n; i++) {
        kmw__attr__init(&attrs[i]);
        list[i] = &attrs[i];
        attrs[i].type = i < head->n_attrs ? head->attrs[i]->type : secrets->attrs[i - head->n_attrs]->type;
        attrs[i].value = i < head->n_attrs ? head->attrs[i]->value : secrets->attrs[i - head->n_attrs]->value;
    }
    if (sealed)
        object->sealed = *sealed;
    call->out.objects->objects[call->out.objects->n_objects++] = object;
    return KM_FLOW_GO;
}

enum km_flow km_reply_stored(struct km_call *call, const ProtobufCBinaryData *id)
{
    const struct km_object *object = id->len == KM_ID_LEN ? km_store_object(call->service->store, id->data) : NULL;
    struct km_held held = {0};
    if (!object)
        return KM_FLOW_GO;
    enum km_flow flow = hold_stored(call, object, &held);
    if (flow == KM_FLOW_GO)
        flow = km_reply_object(call, held.head, NULL, NULL);
    if (flow == KM_FLOW_GO)
        call->audit_object = held.head->id.data;
    return flow;
}

enum km_flow km_reply_result(struct km_call *call, const Kml__Result *result)
{
    enum km_flow flow = km_reply_objects(call, result->n_ids);
    for (size_t i = 0; i < result->n_ids && flow == KM_FLOW_GO; i++)
        flow = km_reply_stored(call, &result->ids[i]);
    return flow == KM_FLOW_GO ? km_call_rv(call, CKR_OK, NULL) : flow;
}
