/* SPDX-License-Identifier: Apache-2.0
 *
 * C_GetAttributeValue and C_SetAttributeValue (PKCS#11 v2.40 5.7). Reads dominate what programs do with a module,
 * mostly each attribute twice, so they are answered from the object's view while its token is known not to have changed
 * (handle.h). Secrets are never kept.
 */
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

    return km_attr_bool(attrs, n, CKA_SENSITIVE, true) || !km_attr_bool(attrs, n, CKA_EXTRACTABLE, false);
}

static const struct km_attr_row *row_of(const struct km_view *view, CK_ATTRIBUTE_TYPE type)
{
    return km_attr_row(type, view->class, view->key_type);
}

static bool is_secret(const struct km_view *view, CK_ATTRIBUTE_TYPE type)
{
    const struct km_attr_row *row = row_of(view, type);

    return row != NULL && (row->flags & KM_AF_SECRET);
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

/* With the secrets of a key that is neither sensitive nor unextractable: fetched for this call and wiped. */
static CK_RV give_with_secrets(struct km_session *session, const struct km_view *view, CK_ATTRIBUTE *template,
                               CK_ULONG count)
{
    Kmw__Key key = km_remote_key(view);
    Kmw__ObjectGet op = KMW__OBJECT_GET__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    Kmw__Object *object;
    CK_RV rv = CKR_DEVICE_ERROR;

    op.key = &key;
    op.with_secrets = true;
    request.op_case = KMW__REQUEST__OP_OBJECT_GET;
    request.object_get = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_READ, KMW__REPLY__RESULT_OBJECTS, &reply));
    if (reply->objects->n_objects == 1) {
        object = reply->objects->objects[0];
        rv = give_all(view, object->attrs, object->n_attrs, template, count);
        for (size_t i = 0; i < object->n_attrs; i++)
            if (is_secret(view, object->attrs[i]->type))
                km_wipe(object->attrs[i]->value.data, object->attrs[i]->value.len);
    }
    km_reply_free(reply);
    return rv;
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE *pTemplate,
                          CK_ULONG ulCount)
{
    KM_SESSION(session, hSession);
    struct km_view *view = NULL;
    bool wants_secrets = false;
    CK_RV rv;

    KM_REQUIRE(pTemplate != NULL || ulCount == 0, CKR_ARGUMENTS_BAD);
    KM_TRY(km_remote_view(session, hObject, false /* stale */, &view));
    for (CK_ULONG i = 0; i < ulCount; i++)
        wants_secrets |= is_secret(view, pTemplate[i].type);
    if (wants_secrets && !is_guarded(view))
        rv = give_with_secrets(session, view, pTemplate, ulCount);
    else
        rv = give_all(view, view->object->attrs, view->object->n_attrs, pTemplate, ulCount);
    km_view_unref(view);
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
    *ret = km_view_new(changed, 0);
    return *ret != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV set(struct km_session *session, CK_OBJECT_HANDLE handle, const struct km_view *view,
                 Kmw__Template *template)
{
    bool has_secret = view->class == CKO_PRIVATE_KEY || view->class == CKO_SECRET_KEY;
    struct km_view *changed = NULL;
    struct km_object *object;

    KM_TRY(km_object_may_write(session, view->is_token));
    KM_TRY(view->is_token || has_secret ? set_remote(session, view, template, &changed)
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
