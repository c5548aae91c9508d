/* SPDX-License-Identifier: Apache-2.0
 *
 * Bulk data under session keys that are neither sensitive nor unextractable: the round trip would cost many times what
 * the cipher does, and protects nothing, since the program may read such a key. Three things stay as they are with a
 * server: the key works only while a server has confirmed it within the last second (its seal, which dies with a PIN
 * change, a revocation or an ancestor), only while its object is there (destroyed, closed session, logout), and only in
 * its dates. The value stays with the object's view and is wiped with it.
 */
#include "bulk.h"

#include "../common/attr.h"
#include "../common/symmetric.h"
#include "guard.h"
#include "local.h"
#include "remote.h"

#include <string.h>

static bool has_date(const struct km_view *view, CK_ATTRIBUTE_TYPE type)
{
    const Kmw__Attr *date = km_attr_find(view->object->attrs, view->object->n_attrs, type);

    return date != NULL && date->value.len > 0;
}

static bool is_readable_session_key(const struct km_view *view)
{
    Kmw__Attr **attrs = view->object->attrs;
    size_t n = view->object->n_attrs;

    return view->class == CKO_SECRET_KEY && !view->is_token && view->object->sealed.len > 0 &&
           !km_attr_bool(attrs, n, CKA_SENSITIVE, true) && km_attr_bool(attrs, n, CKA_EXTRACTABLE, false) &&
           !has_date(view, CKA_START_DATE) && !has_date(view, CKA_END_DATE);
}

/* The object that the operation began with is still that; a login that ends takes its private ones along. Under
 * km_lock. */
static bool is_there(const struct km_session *session, const struct km_view *view)
{
    const struct km_object *object = km_object_by_id(session->token, view->object->id.data);

    return object != NULL && object->view == view;
}

/* One reading of the seal, which the server checks whole. `*ret` stays NULL if there is no locked memory for the value.
 */
static CK_RV fetch(struct km_session *session, struct km_view *view, const struct km_secret **ret)
{
    struct km_secret value = KM_SECRET_EMPTY;
    int64_t asked_ms = km_boot_ms();
    Kmw__Reply *reply = NULL;
    const Kmw__Attr *attr;
    CK_RV rv = km_remote_reveal(session, view, &reply);

    KM_REQUIRE(rv != CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID);
    KM_TRY(rv);
    attr = km_attr_find(reply->objects->objects[0]->attrs, reply->objects->objects[0]->n_attrs, CKA_VALUE);
    if (attr != NULL && attr->value.len > 0 && km_secret_new(&value, attr->value.len) == KM_OK)
        memcpy(value.data, attr->value.data, attr->value.len);
    km_reply_free_secret(reply);
    km_lock();
    if (view->value.data == NULL) /* a key's value never changes: who reads it needs no lock */
        view->value = km_secret_take(&value);
    if (view->value.data != NULL && is_there(session, view)) {
        view->value_ms = asked_ms;
        *ret = &view->value;
    }
    km_unlock();
    km_secret_free(&value);
    return CKR_OK;
}

CK_RV km_bulk_key(struct km_session *session, struct km_operation *op, size_t len, const struct km_secret **ret)
{
    struct km_view *view = op->key;
    bool may_compute;

    *ret = NULL;
    if (op->public_key != NULL || op->needs_pin || !is_readable_session_key(view))
        return CKR_OK;
    km_lock();
    may_compute = is_there(session, view);
    if (may_compute && view->value.data != NULL && km_boot_ms() - view->value_ms < KM_BULK_FRESH_MS)
        *ret = &view->value;
    km_unlock();
    if (!may_compute || *ret != NULL || len < KM_BULK_MIN)
        return CKR_OK;
    return fetch(session, view, ret);
}

CK_RV km_bulk_crypt(const struct km_operation *op, const struct km_secret *key, const uint8_t *in, size_t len,
                    bool is_part, uint8_t *out, size_t *ret_len)
{
    struct km_symmetric_job job = {.algorithms = km_local_symmetric(),
                                   .mech = op->mech,
                                   .m = op->param,
                                   .key = key->data,
                                   .key_len = key->len,
                                   .in = in,
                                   .len = len,
                                   .is_encrypt = op->kind == KM_OP_ENCRYPT,
                                   .is_part = is_part,
                                   .out = out};
    CK_RV rv;

    KM_REQUIRE(job.algorithms != NULL, CKR_HOST_MEMORY);
    rv = km_symmetric_run(&job);
    if (rv != CKR_OK)
        km_wipe(out, job.out_len);
    *ret_len = job.out_len;
    return rv;
}
