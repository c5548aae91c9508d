/* SPDX-License-Identifier: Apache-2.0
 *
 * Object management (PKCS#11 v2.40 5.7) but reading and changing attributes: attribute.c. Objects with a secret or a
 * place on the token are the servers'; the rest is session_object.c's.
 */
#include "object.h"

#include "fixed_object.h"
#include "guard.h"
#include "login.h"
#include "remote.h"
#include "session_object.h"

#include "../common/attr.h"

CK_RV km_object_may_write(const struct km_session *session, bool is_on_token)
{
    KM_REQUIRE(!is_on_token || (session->flags & CKF_RW_SESSION), CKR_SESSION_READ_ONLY);
    return CKR_OK;
}

/* Gives the module's own new object a handle; takes over `object`. `origin` is the key that it is an alias of, or NULL.
 */
static CK_RV keep(struct km_session *session, Kmw__Object *object, const struct km_view *origin, CK_OBJECT_HANDLE *ret)
{
    struct km_view *view = origin != NULL ? km_view_new_alias(object, origin) : km_view_new(object, 0);

    KM_REQUIRE(view != NULL, CKR_HOST_MEMORY);
    if (view->is_private && km_login_user(session->token) != CKU_USER) {
        km_view_unref(view);
        return CKR_USER_NOT_LOGGED_IN;
    }
    km_lock();
    session->has_objects = true;
    *ret = km_object_put(session->token, session->handle, view);
    km_unlock();
    km_view_unref(view);
    return *ret != CK_INVALID_HANDLE ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV create_remote(struct km_session *session, Kmw__Template *template, CK_OBJECT_HANDLE *ret)
{
    bool is_on_token = km_attr_bool(template->attrs, template->n_attrs, CKA_TOKEN, false);
    Kmw__ObjectCreate op = KMW__OBJECT_CREATE__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    KM_TRY(km_object_may_write(session, is_on_token));
    op.template_ = template;
    request.op_case = KMW__REQUEST__OP_OBJECT_CREATE;
    request.object_create = &op;
    KM_TRY(km_remote_call(session->token, &request, is_on_token ? KM_CALL_CHANGE : KM_CALL_READ,
                          KMW__REPLY__RESULT_OBJECTS, &reply));
    rv = km_remote_objects(session, reply, 1, &ret);
    km_reply_free(reply);
    return rv;
}

CK_RV C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE *pTemplate, CK_ULONG ulCount,
                     CK_OBJECT_HANDLE_PTR phObject)
{
    KM_SESSION(session, hSession);
    Kmw__Template *template;
    Kmw__Object *object = NULL;
    CK_RV rv = CKR_OK;

    KM_REQUIRE(phObject != NULL, CKR_ARGUMENTS_BAD);
    template = km_template_from_ck(pTemplate, ulCount, &rv);
    if (template == NULL)
        return rv;
    if (km_session_object_is_ours(template)) {
        rv = km_session_object_new(template, km_login_user(session->token) == CKU_SO, &object);
        if (rv == CKR_OK)
            rv = keep(session, object, NULL, phObject);
    } else {
        rv = create_remote(session, template, phObject);
    }
    kmw__template__free_unpacked(template, NULL);
    return rv;
}

/* --- copies --- */

static CK_RV copy_remote(struct km_session *session, const struct km_view *source, Kmw__Template *template,
                         bool is_on_token, CK_OBJECT_HANDLE *ret)
{
    Kmw__Key key = km_remote_key(source);
    Kmw__ObjectCopy op = KMW__OBJECT_COPY__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    op.source = &key;
    op.template_ = template;
    request.op_case = KMW__REQUEST__OP_OBJECT_COPY;
    request.object_copy = &op;
    KM_TRY(km_remote_call(session->token, &request, is_on_token ? KM_CALL_CHANGE : KM_CALL_READ,
                          KMW__REPLY__RESULT_OBJECTS, &reply));
    rv = km_remote_objects(session, reply, 1, &ret);
    km_reply_free(reply);
    return rv;
}

static CK_RV copy_ours_to_token(struct km_session *session, const struct km_view *source, const Kmw__Template *template,
                                CK_OBJECT_HANDLE *ret)
{
    Kmw__Template *whole = NULL;
    CK_RV rv;

    KM_TRY(km_session_object_template(source->object, template, &whole));
    rv = create_remote(session, whole, ret);
    kmw__template__free_unpacked(whole, NULL);
    return rv;
}

/* Into a session object of the module's own. The value of private data on the token is in its seal. */
static CK_RV copy_to_ours(struct km_session *session, const struct km_view *source, const Kmw__Template *template,
                          CK_OBJECT_HANDLE *ret)
{
    bool is_sealed = source->is_token && source->is_private && source->class == CKO_DATA;
    bool is_so = km_login_user(session->token) == CKU_SO;
    Kmw__Object *object = NULL;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    if (is_sealed)
        KM_TRY(km_remote_reveal(session, source, &reply));
    rv = km_session_object_copy(is_sealed ? reply->objects->objects[0] : source->object, template, is_so, &object);
    if (reply != NULL)
        km_reply_free_secret(reply);
    return rv == CKR_OK ? keep(session, object, NULL, ret) : rv;
}

/* A session copy of a sensitive token key is an alias: a handle and attributes of its own, while each use names the key
 * itself. So no copy outlives the key's revocation (design D5), no secret travels, and none is made. OpenSSL's provider
 * asks for such a copy in every process; a refusal stays in OpenSSL's error queue there, and the first TLS handshake of
 * the process fails of it. What would make the copy another key than the original is refused. */
static CK_RV copy_as_alias(struct km_session *session, const struct km_view *source, Kmw__Template *template,
                           CK_OBJECT_HANDLE *ret)
{
    Kmw__Object *object = NULL;

    for (size_t i = 0; i < template->n_attrs; i++) {
        const Kmw__Attr *attr = template->attrs[i];
        KM_REQUIRE(attr->type == CKA_TOKEN || attr->type == CKA_LABEL || attr->type == CKA_ID ||
                       km_session_object_has(source->object, attr),
                   CKR_ACTION_PROHIBITED);
    }
    KM_TRY(km_session_object_copy(source->object, template, km_login_user(session->token) == CKU_SO, &object));
    return keep(session, object, source, ret);
}

static CK_RV copy(struct km_session *session, const struct km_view *source, Kmw__Template *template,
                  CK_OBJECT_HANDLE *ret)
{
    Kmw__Attr **attrs = source->object->attrs;
    size_t n = source->object->n_attrs;
    bool is_on_token = km_attr_bool(template->attrs, template->n_attrs, CKA_TOKEN, source->is_token);
    bool has_secret = source->class == CKO_PRIVATE_KEY || source->class == CKO_SECRET_KEY;

    KM_REQUIRE(!km_fixed_object_is(source), CKR_ACTION_PROHIBITED);
    KM_TRY(km_object_may_write(session, is_on_token));
    if (has_secret && !is_on_token &&
        (source->is_alias || (source->is_token && km_attr_bool(attrs, n, CKA_SENSITIVE, true))))
        return copy_as_alias(session, source, template, ret);
    if (has_secret || (source->is_token && is_on_token))
        return copy_remote(session, source, template, is_on_token, ret);
    if (is_on_token)
        return copy_ours_to_token(session, source, template, ret);
    return copy_to_ours(session, source, template, ret);
}

CK_RV C_CopyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE *pTemplate, CK_ULONG ulCount,
                   CK_OBJECT_HANDLE_PTR phNewObject)
{
    KM_SESSION(session, hSession);
    struct km_view *source = NULL;
    Kmw__Template *template;
    CK_RV rv;

    KM_REQUIRE(phNewObject != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(km_remote_view(session, hObject, true /* stale: a server checks again */, &source));
    template = km_template_from_ck(pTemplate, ulCount, &rv);
    if (template != NULL) {
        rv = copy(session, source, template, phNewObject);
        kmw__template__free_unpacked(template, NULL);
    }
    km_view_unref(source);
    return rv;
}

/* --- destroying, size --- */

static CK_RV destroy_remote(struct km_session *session, const struct km_view *view)
{
    Kmw__ObjectDestroy op = KMW__OBJECT_DESTROY__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;

    KM_TRY(km_object_may_write(session, true));
    op.id = view->object->id;
    request.op_case = KMW__REQUEST__OP_OBJECT_DESTROY;
    request.object_destroy = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_CHANGE, KMW__REPLY__RESULT_DONE, &reply));
    km_reply_free(reply);
    return CKR_OK;
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject)
{
    KM_SESSION(session, hSession);
    struct km_view *view = NULL;
    struct km_object *object;
    CK_RV rv = CKR_OK;

    KM_TRY(km_remote_view(session, hObject, true /* stale: a server checks again */, &view));
    if (view->is_token && !km_fixed_object_is(view))
        rv = destroy_remote(session, view);
    else if (!km_attr_bool(view->object->attrs, view->object->n_attrs, CKA_DESTROYABLE, true))
        rv = CKR_ACTION_PROHIBITED;
    km_view_unref(view);
    if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID)
        return rv;
    km_lock();
    object = km_object_get(hObject);
    if (object != NULL)
        km_object_drop(object);
    km_unlock();
    return rv;
}

CK_RV C_GetObjectSize(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ULONG_PTR pulSize)
{
    KM_SESSION(session, hSession);
    struct km_view *view = NULL;

    KM_REQUIRE(pulSize != NULL, CKR_ARGUMENTS_BAD);
    KM_TRY(km_remote_view(session, hObject, false /* stale */, &view));
    *pulSize = kmw__object__get_packed_size(view->object);
    km_view_unref(view);
    return CKR_OK;
}
