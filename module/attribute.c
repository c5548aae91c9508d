/* SPDX-License-Identifier: Apache-2.0
 *
 * C_GetAttributeValue and C_SetAttributeValue (PKCS#11 v2.40 5.7). Reads dominate what programs do with a module,
 * mostly each attribute twice, first its length and then its value. The rule: what can change is asked for anew by each
 * reading, so that no program sees an older value than another one has set before; a value read after its length, and
 * what is read of an object that the session's search has just handed out, is the same reading. What can not change is
 * answered from what is kept, and is at worst the attribute of an object that was destroyed a moment ago. Secrets are
 * never kept for it.
 */
#include "fixed_object.h"
#include "guard.h"
#include "login.h"
#include "object.h"
#include "remote.h"
#include "session_object.h"

#include "../common/attr.h"

static bool is_guarded(const struct km_view *view)
{
    Kmw__Attr **attrs = view->object->attrs;
    size_t n = view->object->n_attrs;

    return (view->class == CKO_PRIVATE_KEY || view->class == CKO_SECRET_KEY) &&
           (km_attr_bool(attrs, n, CKA_SENSITIVE, true) || !km_attr_bool(attrs, n, CKA_EXTRACTABLE, false));
}

static bool is_secret(const struct km_view *view, CK_ATTRIBUTE_TYPE type)
{
    const struct km_attr_row *row = km_attr_row(type, view->class, view->key_type);

    return row != NULL && (row->flags & (KM_AF_SECRET | (view->is_private ? KM_AF_SEALED : 0)));
}

/* It is in the seal, and may be seen. */
static bool is_to_reveal(const struct km_view *view, CK_ATTRIBUTE_TYPE type)
{
    return is_secret(view, type) && !is_guarded(view) &&
           km_attr_find(view->object->attrs, view->object->n_attrs, type) == NULL;
}

static bool can_change(const struct km_view *view, CK_ATTRIBUTE_TYPE type)
{
    const struct km_attr_row *row = km_attr_row(type, view->class, view->key_type);

    return row != NULL && (row->flags & KM_AF_SET);
}

/* One entry of the program's template from `attrs`. */
static CK_RV give(const struct km_view *view, Kmw__Attr *const *attrs, size_t n, CK_ATTRIBUTE *entry)
{
    const Kmw__Attr *attr = km_attr_find(attrs, n, entry->type);
    CK_RV rv = CKR_ATTRIBUTE_TYPE_INVALID;

    if (is_secret(view, entry->type) && is_guarded(view))
        rv = CKR_ATTRIBUTE_SENSITIVE;
    else if (attr != NULL)
        return km_attr_to_ck(attr, entry);
    entry->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return rv;
}

/* All entries are filled as far as they can be; the first refusal is the answer. */
static CK_RV give_all(const struct km_view *view, Kmw__Attr *const *attrs, size_t n, CK_ATTRIBUTE *template,
                      CK_ULONG count)
{
    CK_RV rv = CKR_OK, one;

    for (CK_ULONG i = 0; i < count; i++) {
        one = give(view, attrs, n, &template[i]);
        if (rv == CKR_OK)
            rv = one;
    }
    return rv;
}

/* With what is in the seal of an object whose seal may be read: fetched for this call and wiped. */
static CK_RV give_with_secrets(struct km_session *session, const struct km_view *view, CK_ATTRIBUTE *template,
                               CK_ULONG count)
{
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    KM_TRY(km_remote_reveal(session, view, &reply));
    rv = give_all(view, reply->objects->objects[0]->attrs, reply->objects->objects[0]->n_attrs, template, count);
    km_reply_free_secret(reply);
    return rv;
}

CK_RV km_object_secret_value(struct km_session *session, CK_OBJECT_HANDLE handle, struct km_buffer *ret)
{
    const Kmw__Attr *value;
    struct km_view *view = NULL;
    Kmw__Reply *reply = NULL;
    CK_RV rv = km_remote_view(session, handle, false /* stale */, &view);

    KM_REQUIRE(rv != CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID);
    KM_TRY(rv);
    rv = CKR_KEY_INDIGESTIBLE;
    if (view->class == CKO_SECRET_KEY && !is_guarded(view))
        rv = km_remote_reveal(session, view, &reply);
    km_view_unref(view);
    KM_TRY(rv);
    value = km_attr_find(reply->objects->objects[0]->attrs, reply->objects->objects[0]->n_attrs, CKA_VALUE);
    rv = value == NULL ? CKR_KEY_INDIGESTIBLE : km_buffer_add(ret, value->value.data, value->value.len, SIZE_MAX);
    km_reply_free_secret(reply);
    return rv;
}

/* Whether this call goes on with a reading that began with `view`. Under km_lock. */
static bool is_continued(const struct km_session *session, const struct km_object *object, bool wants_values)
{
    const struct km_view *view = object->view;

    return view != NULL && view->token_version == session->token->version &&
           km_boot_ms() - view->read_ms < KM_VIEW_FRESH_MS &&
           ((wants_values && view == session->sized) || km_find_has_given(&session->find, object->handle));
}

/* The object as this reading is to see it. `template` has no more than sizes to tell where `wants_values` is false. */
static CK_RV read_object(struct km_session *session, CK_OBJECT_HANDLE handle, const CK_ATTRIBUTE *template,
                         CK_ULONG count, bool wants_values, struct km_view **ret)
{
    bool is_same = false, is_exact = false;
    struct km_object *object;

    km_lock();
    object = km_object_get(handle);
    if (object != NULL && object->token == session->token && object->session == 0)
        is_same = is_continued(session, object, wants_values);
    km_unlock();
    KM_TRY(km_remote_read(session, handle, false, ret));
    for (CK_ULONG i = 0; i < count; i++)
        is_exact |= can_change(*ret, template[i].type) && !is_to_reveal(*ret, template[i].type);
    if (is_same || !is_exact || !(*ret)->is_token)
        return CKR_OK;
    km_view_unref(*ret);
    *ret = NULL;
    return km_remote_read(session, handle, true /* exact */, ret);
}

static CK_RV get(struct km_session *session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct km_view *view = NULL;
    bool wants_secrets = false, wants_values = false;
    CK_RV rv;

    for (CK_ULONG i = 0; i < count; i++)
        wants_values |= template[i].pValue != NULL;
    KM_TRY(read_object(session, handle, template, count, wants_values, &view));
    for (CK_ULONG i = 0; i < count; i++)
        wants_secrets |= is_to_reveal(view, template[i].type);
    if (wants_secrets)
        rv = give_with_secrets(session, view, template, count);
    else
        rv = give_all(view, view->object->attrs, view->object->n_attrs, template, count);
    km_view_unref(session->sized);
    session->sized = wants_values ? NULL : km_view_ref(view);
    km_view_unref(view);
    return rv;
}

/* The program's array may lie anywhere, also under the buffers that it names: it is read whole before anything is
 * written. */
CK_RV C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE *pTemplate,
                          CK_ULONG ulCount)
{
    KM_SESSION(session, hSession);
    CK_ATTRIBUTE template[KM_ATTRS_MAX];
    CK_RV rv;

    KM_REQUIRE(pTemplate != NULL || ulCount == 0, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(ulCount <= KM_ATTRS_MAX, CKR_ARGUMENTS_BAD);
    if (ulCount > 0)
        memcpy(template, (const void *)pTemplate, ulCount * sizeof(template[0]));
    rv = get(session, hObject, template, ulCount);
    if (ulCount > 0)
        memcpy((void *)pTemplate, template, ulCount * sizeof(template[0]));
    return rv;
}

/* --- setting --- */

static CK_RV set_remote(struct km_session *session, const struct km_view *view, Kmw__Template *template,
                        struct km_view **ret)
{
    Kmw__Key key = km_remote_key(view);
    Kmw__ObjectSet op = KMW__OBJECT_SET__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;

    op.key = &key;
    op.template_ = template;
    request.op_case = KMW__REQUEST__OP_OBJECT_SET;
    request.object_set = &op;
    KM_TRY(km_remote_call(session->token, &request, view->is_token ? KM_CALL_CHANGE : KM_CALL_READ,
                          KMW__REPLY__RESULT_OBJECTS, &reply));
    if (reply->objects->n_objects == 1 && reply->objects->objects[0]->id.len == KM_ID_LEN) {
        *ret = km_view_new(reply->objects->objects[0], reply->token_version);
        reply->objects->objects[0] = NULL;
    }
    km_reply_free(reply);
    return *ret != NULL ? CKR_OK : CKR_DEVICE_ERROR;
}

static CK_RV set_ours(struct km_session *session, const struct km_view *view, const Kmw__Template *template,
                      struct km_view **ret)
{
    Kmw__Object *changed = NULL;

    KM_TRY(km_session_object_set(view->object, template, km_login_user(session->token) == CKU_SO, &changed));
    *ret = view->is_alias ? km_view_new_alias(changed, view) : km_view_new(changed, 0);
    return *ret != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV set(struct km_session *session, CK_OBJECT_HANDLE handle, const struct km_view *view,
                 Kmw__Template *template)
{
    bool has_secret = view->class == CKO_PRIVATE_KEY || view->class == CKO_SECRET_KEY;
    struct km_view *changed = NULL;
    struct km_object *object;

    KM_REQUIRE(!km_fixed_object_is(view), CKR_ACTION_PROHIBITED);
    KM_TRY(km_object_may_write(session, view->is_token));
    KM_TRY(view->is_token || (has_secret && !view->is_alias) ? set_remote(session, view, template, &changed)
                                                             : set_ours(session, view, template, &changed));
    km_lock();
    object = km_object_get(handle);
    if (object != NULL)
        km_object_set_view(object, changed);
    km_unlock();
    km_view_unref(changed);
    return CKR_OK;
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE *pTemplate,
                          CK_ULONG ulCount)
{
    KM_SESSION(session, hSession);
    struct km_view *view = NULL;
    Kmw__Template *template;
    CK_RV rv;

    KM_REQUIRE(pTemplate != NULL && ulCount > 0, CKR_ARGUMENTS_BAD);
    KM_TRY(km_remote_view(session, hObject, true /* stale: a server checks again */, &view));
    template = km_template_from_ck(pTemplate, ulCount, &rv);
    if (template != NULL) {
        rv = set(session, hObject, view, template);
        kmw__template__free_unpacked(template, NULL);
    }
    km_view_unref(view);
    return rv;
}
