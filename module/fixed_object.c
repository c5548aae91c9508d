/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects without a store. Each is known by an id that is made of its class and number, so that it keeps its handle;
 * its view is all there is of it. There are no hardware features and no validations, so a search for them finds none.
 * Any thread.
 */
#include "fixed_object.h"

#include "guard.h"
#include "offer.h"
#include "session_object.h"

#include "../common/attr.h"
#include "../common/mech.h"

#include <stdio.h>
#include <stdlib.h>

static const CK_PROFILE_ID profiles[] = {CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER};

bool km_fixed_object_is(const struct km_view *view)
{
    return view->class == CKO_PROFILE || view->class == CKO_MECHANISM;
}

static bool add(Kmw__Object *object, CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    Kmw__Attr *attr = malloc(sizeof(*attr));

    if (attr == NULL)
        return false;
    kmw__attr__init(attr);
    attr->type = type;
    attr->value.data = malloc(len > 0 ? len : 1);
    if (attr->value.data == NULL) {
        free(attr);
        return false;
    }
    memcpy(attr->value.data, data, len);
    attr->value.len = len;
    object->attrs[object->n_attrs++] = attr; /* make() has room for all */
    return true;
}

static bool add_ulong(Kmw__Object *object, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    uint8_t bytes[8];

    km_attr_put_u64(bytes, value);
    return add(object, type, bytes, sizeof(bytes));
}

static bool add_bool(Kmw__Object *object, CK_ATTRIBUTE_TYPE type, bool value)
{
    return add(object, type, &(uint8_t){value}, 1);
}

/* Profiles are storage objects, mechanisms are not. */
static bool describe(Kmw__Object *object, CK_OBJECT_CLASS class, CK_ULONG number)
{
    char unique[64];
    int len = snprintf(unique, sizeof(unique), "keymoot-profile-%lu", number);

    if (!add_ulong(object, CKA_CLASS, class))
        return false;
    if (class == CKO_MECHANISM)
        return add_ulong(object, CKA_MECHANISM_TYPE, number);
    return add_ulong(object, CKA_PROFILE_ID, number) && add_bool(object, CKA_TOKEN, true) &&
           add_bool(object, CKA_PRIVATE, false) && add(object, CKA_LABEL, "", 0) &&
           add(object, CKA_UNIQUE_ID, unique, (size_t)len) && add_bool(object, CKA_MODIFIABLE, false) &&
           add_bool(object, CKA_COPYABLE, false) && add_bool(object, CKA_DESTROYABLE, false);
}

static Kmw__Object *make(CK_OBJECT_CLASS class, CK_ULONG number)
{
    Kmw__Object *object = malloc(sizeof(*object));

    if (object == NULL)
        return NULL;
    kmw__object__init(object);
    object->version = 1;
    object->attrs = calloc(16, sizeof(Kmw__Attr *));
    object->id.data = calloc(1, KM_ID_LEN);
    object->id.len = KM_ID_LEN;
    if (object->attrs == NULL || object->id.data == NULL || !describe(object, class, number)) {
        kmw__object__free_unpacked(object, NULL);
        return NULL;
    }
    km_attr_put_u64(object->id.data, class);
    km_attr_put_u64(object->id.data + 8, number);
    return object;
}

static CK_RV find_one(struct km_token *token, struct km_find *find, CK_OBJECT_CLASS class, CK_ULONG number)
{
    Kmw__Object *object = make(class, number);
    CK_OBJECT_HANDLE handle;
    struct km_view *view;

    KM_REQUIRE(object != NULL, CKR_HOST_MEMORY);
    if (!km_session_object_matches(object, find->template)) {
        kmw__object__free_unpacked(object, NULL);
        return CKR_OK;
    }
    view = km_view_new(object, 0);
    KM_REQUIRE(view != NULL, CKR_HOST_MEMORY);
    km_lock();
    handle = km_object_put(token, KM_SESSION_FIXED, view);
    km_unlock();
    km_view_unref(view);
    KM_REQUIRE(handle != CK_INVALID_HANDLE, CKR_HOST_MEMORY);
    return km_find_add(find, handle);
}

CK_RV km_fixed_objects_find(struct km_token *token, struct km_find *find)
{
    CK_OBJECT_CLASS class =
        km_attr_ulong(find->template->attrs, find->template->n_attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
    CK_MECHANISM_INFO info;
    const struct km_mech *mechs;
    size_t n;

    if (class == CK_UNAVAILABLE_INFORMATION || class == CKO_PROFILE)
        for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
            KM_TRY(find_one(token, find, CKO_PROFILE, profiles[i]));
    if (class != CKO_MECHANISM)
        return CKR_OK;
    mechs = km_mechs(&n);
    for (size_t i = 0; i < n; i++)
        if (km_offer_info(&mechs[i], &info) == CKR_OK)
            KM_TRY(find_one(token, find, CKO_MECHANISM, mechs[i].type));
    return CKR_OK;
}
