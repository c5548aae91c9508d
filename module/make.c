/* SPDX-License-Identifier: Apache-2.0
 *
 * What the functions that make keys from keys share.
 */
#include "make.h"

#include "guard.h"
#include "object.h"
#include "remote.h"
#include "session_object.h"

#include "../common/attr.h"

CK_RV km_maker_mech(const CK_MECHANISM *mechanism, CK_FLAGS flag, const struct km_mech **ret)
{
    const struct km_mech *mech;

    KM_REQUIRE(mechanism != NULL, CKR_ARGUMENTS_BAD);
    mech = km_mech(mechanism->mechanism);
    KM_REQUIRE(mech != NULL && (mech->flags & flag), CKR_MECHANISM_INVALID);
    *ret = mech;
    return CKR_OK;
}

CK_RV km_make_key_init(struct km_session *session, CK_OBJECT_HANDLE handle, CK_RV invalid, CK_ATTRIBUTE_TYPE needs,
                       struct km_make_key *ret)
{
    static const Kmw__Template unchanged = KMW__TEMPLATE__INIT;
    CK_RV rv = km_remote_view(session, handle, true /* stale: a server checks again */, &ret->view);

    KM_REQUIRE(rv != CKR_OBJECT_HANDLE_INVALID, invalid);
    KM_TRY(rv);
    KM_REQUIRE(ret->view->key_type != KM_KEY_TYPE_ANY, invalid);
    /* What a session copy of a sensitive key gave up, the servers do not know: they see the key itself. */
    if (ret->view->is_alias && !km_attr_bool(ret->view->object->attrs, ret->view->object->n_attrs, needs, false))
        return needs == CKA_EXTRACTABLE ? CKR_KEY_UNEXTRACTABLE : CKR_KEY_FUNCTION_NOT_PERMITTED;
    ret->key = km_remote_key(ret->view);
    if (ret->view->is_token || ret->view->class != CKO_PUBLIC_KEY)
        return CKR_OK;
    KM_TRY(km_session_object_template(ret->view->object, &unchanged, &ret->attributes));
    ret->key.public_key = ret->attributes;
    return CKR_OK;
}

void km_make_key_fini(struct km_make_key *key)
{
    if (key->attributes != NULL)
        kmw__template__free_unpacked(key->attributes, NULL);
    km_view_unref(key->view);
}

CK_RV km_make_place(const struct km_session *session, const Kmw__Template *template, bool *ret_is_on_token)
{
    *ret_is_on_token = km_attr_bool(template->attrs, template->n_attrs, CKA_TOKEN, false);
    return km_object_may_write(session, *ret_is_on_token);
}

CK_RV km_make_call(struct km_session *session, Kmw__Request *request, bool is_on_token, CK_RV invalid, size_t n,
                   CK_OBJECT_HANDLE *const *ret)
{
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    for (size_t i = 0; i < n && n > 1; i++) /* PKCS#11 v3.2 6.42.9: nobody should take a key for made that was not */
        *ret[i] = CK_INVALID_HANDLE;
    rv = km_remote_call(session->token, request, is_on_token ? KM_CALL_CHANGE : KM_CALL_READ,
                        KMW__REPLY__RESULT_OBJECTS, &reply);
    if (rv == CKR_OK)
        rv = km_remote_objects(session, reply, n, ret);
    km_reply_free(reply);
    return rv == CKR_OBJECT_HANDLE_INVALID ? invalid : rv;
}
