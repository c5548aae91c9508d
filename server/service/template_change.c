/* SPDX-License-Identifier: Apache-2.0
 *
 * What an object that exists may become, and what it may be used for: copying, C_SetAttributeValue, destroying, using,
 * reading. Attributes narrow and never widen (design D12): the one-way flags of attr.def are enforced for copies too,
 * or a copy would be the way round. No state but the line with the reason, which is the thread's own.
 */
#include "template.h"

#include "../hsm/head.h"
#include "template_rules.h"

#include <stdlib.h>
#include <string.h>

static bool has_secret(const Kml__Head *head)
{
    return head->class_ == CKO_PRIVATE_KEY || head->class_ == CKO_SECRET_KEY;
}

static bool is_guarded(const Kml__Head *head)
{
    return has_secret(head) && (km_head_bool(head, CKA_SENSITIVE, true) || !km_head_bool(head, CKA_EXTRACTABLE, false));
}

static CK_RV change_attr(Kml__Head *head, const Kmw__Attr *attr, unsigned allowed, bool is_so, const char **ret_reason)
{
    const struct km_attr_row *row = km_attr_row(attr->type, head->class_, head->key_type);
    const Kml__Attr *there = km_head_find(head, attr->type);

    if (row == NULL)
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_TYPE_INVALID, attr->type,
                                  "is no attribute of such an object");
    if ((row->flags & KM_AF_SECRET) != 0)
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_READ_ONLY, attr->type, "cannot be changed");
    if (!km_template_is_valid(row, &attr->value))
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_VALUE_INVALID, attr->type, "has a malformed value");
    if (km_template_is_same(&attr->value, there) && ((allowed & KM_AF_COPY) != 0 || (row->flags & allowed) != 0))
        return CKR_OK; /* programs repeat what they know in a copy's template */
    if ((row->flags & allowed) == 0)
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_READ_ONLY, attr->type, "cannot be changed");
    if ((row->flags & KM_AF_UP) != 0 && attr->value.data[0] == 0)
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_READ_ONLY, attr->type, "cannot go back to false");
    if ((row->flags & KM_AF_DOWN) != 0 && attr->value.data[0] != 0)
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_READ_ONLY, attr->type, "cannot go back to true");
    if ((row->flags & KM_AF_SO) != 0 && attr->value.data[0] != 0 && !is_so)
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_READ_ONLY, attr->type, "can be made true by the SO only");
    if (km_head_put(head, attr->type, attr->value.data, attr->value.len) != KM_OK) {
        *ret_reason = "out of memory";
        return CKR_HOST_MEMORY;
    }
    return CKR_OK;
}

/* Two values for one attribute in one template would make its order matter. */
static CK_RV check_twice(const Kmw__Template *t, const char **ret_reason)
{
    if (t->n_attrs > KM_ATTRS_MAX) {
        *ret_reason = "more attributes than a template may have";
        return CKR_ARGUMENTS_BAD;
    }
    for (size_t i = 0; i < t->n_attrs; i++)
        for (size_t j = 0; j < i; j++)
            if (t->attrs[i]->type == t->attrs[j]->type &&
                (t->attrs[i]->value.len != t->attrs[j]->value.len ||
                 (t->attrs[i]->value.len > 0 &&
                  memcmp(t->attrs[i]->value.data, t->attrs[j]->value.data, t->attrs[i]->value.len) != 0)))
                return km_template_refuse(ret_reason, CKR_TEMPLATE_INCONSISTENT, t->attrs[i]->type,
                                          "is there twice, with different values");
    return CKR_OK;
}

static CK_RV change(const Kml__Head *old, const Kmw__Template *t, unsigned allowed, bool is_so, Kml__Head **ret_head,
                    const char **ret_reason)
{
    Kml__Head *head = NULL;
    CK_RV rv = check_twice(t, ret_reason);

    if (rv != CKR_OK)
        return rv;
    if (km_head_dup(old, &head) != KM_OK) {
        *ret_reason = "out of memory";
        return CKR_HOST_MEMORY;
    }
    for (size_t i = 0; i < t->n_attrs && rv == CKR_OK; i++)
        rv = change_attr(head, t->attrs[i], allowed, is_so, ret_reason);
    km_template_read_flags(head);
    if (rv == CKR_OK)
        rv = km_template_check(head, ret_reason);
    if (rv != CKR_OK) {
        kml__head__free_unpacked(head, NULL);
        return rv;
    }
    *ret_head = head;
    return CKR_OK;
}

CK_RV km_template_copy(const Kml__Head *old, const Kmw__Template *t, bool is_so, Kml__Head **ret_head,
                       const char **ret_reason)
{
    Kml__Head *head = NULL;
    CK_RV rv;

    if (!km_head_bool(old, CKA_COPYABLE, true)) {
        *ret_reason = "the object's CKA_COPYABLE is false";
        return CKR_ACTION_PROHIBITED;
    }
    rv = change(old, t, KM_AF_SET | KM_AF_COPY, is_so, &head, ret_reason);
    if (rv != CKR_OK)
        return rv;
    if (!old->is_session && head->is_session && is_guarded(old)) {
        kml__head__free_unpacked(head, NULL);
        *ret_reason = "a session copy of a sensitive token key would outlive its revocation";
        return CKR_ACTION_PROHIBITED;
    }
    if (km_head_fresh_id(head) != KM_OK) {
        kml__head__free_unpacked(head, NULL);
        *ret_reason = "no memory or no random bytes";
        return CKR_HOST_MEMORY;
    }
    head->version = 1;
    head->revised = 0;
    if (!head->is_session) { /* from now on it has a life of its own */
        head->login_epoch = head->expires_ms = 0;
        for (size_t i = 0; i < head->n_ancestors; i++)
            free(head->ancestors[i].data);
        free(head->ancestors);
        free(head->ancestors_revised);
        head->ancestors = NULL;
        head->ancestors_revised = NULL;
        head->n_ancestors = head->n_ancestors_revised = 0;
    }
    *ret_head = head;
    return CKR_OK;
}

/* Attributes that say what an object is called, not what it may do. */
static bool is_name(CK_ATTRIBUTE_TYPE type)
{
    return type == CKA_LABEL || type == CKA_ID || type == CKA_SUBJECT;
}

CK_RV km_template_set(const Kml__Head *old, const Kmw__Template *t, bool is_so, Kml__Head **ret_head,
                      const char **ret_reason)
{
    CK_RV rv;

    if (!km_head_bool(old, CKA_MODIFIABLE, true)) {
        *ret_reason = "the object's CKA_MODIFIABLE is false";
        return CKR_ACTION_PROHIBITED;
    }
    rv = change(old, t, KM_AF_SET, is_so, ret_head, ret_reason);
    if (rv != CKR_OK)
        return rv;
    (*ret_head)->version = old->version + 1;
    for (size_t i = 0; i < t->n_attrs; i++)
        if (!is_name(t->attrs[i]->type) && !km_template_is_same(&t->attrs[i]->value, km_head_find(old, t->attrs[i]->type)))
            (*ret_head)->revised = (*ret_head)->version;
    return CKR_OK;
}

CK_RV km_template_destroy(const Kml__Head *old, const char **ret_reason)
{
    if (km_head_bool(old, CKA_DESTROYABLE, true))
        return CKR_OK;
    *ret_reason = "the object's CKA_DESTROYABLE is false";
    return CKR_ACTION_PROHIBITED;
}

/* --- use -----------------------------------------------------------------------------------------------------------
 */

static const struct {
    CK_FLAGS flag;               /* of the mechanism */
    CK_ATTRIBUTE_TYPE attribute; /* of the key */
    CK_OBJECT_CLASS class;       /* with key pairs; secret keys do all */
} uses[] = {
    [KMW__USE__OPERATION__SIGN] = {CKF_SIGN, CKA_SIGN, CKO_PRIVATE_KEY},
    [KMW__USE__OPERATION__VERIFY] = {CKF_VERIFY, CKA_VERIFY, CKO_PUBLIC_KEY},
    [KMW__USE__OPERATION__ENCRYPT] = {CKF_ENCRYPT, CKA_ENCRYPT, CKO_PUBLIC_KEY},
    [KMW__USE__OPERATION__DECRYPT] = {CKF_DECRYPT, CKA_DECRYPT, CKO_PRIVATE_KEY},
    [KMW__USE__OPERATION__SIGN_RECOVER] = {CKF_SIGN_RECOVER, CKA_SIGN_RECOVER, CKO_PRIVATE_KEY},
};

static bool is_allowed_mechanism(const Kml__Head *head, const struct km_mech *mech)
{
    const Kml__Attr *list = km_head_find(head, CKA_ALLOWED_MECHANISMS);

    if (list == NULL || list->value.len == 0)
        return true;
    for (size_t i = 0; i + 8 <= list->value.len; i += 8)
        if (km_attr_get_u64(list->value.data + i) == mech->type)
            return true;
    return false;
}

static const ProtobufCBinaryData *date_of(const Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    const Kml__Attr *attr = km_head_find(head, type);

    return attr != NULL ? &attr->value : NULL;
}

/* What the key says about itself. */
static CK_RV check_use(const Kml__Head *head, const struct km_mech *mech, CK_ATTRIBUTE_TYPE attribute, bool makes_new,
                       uint64_t now_ms, const char **ret_reason)
{
    if (!km_head_bool(head, attribute, false)) {
        *ret_reason = "the key's attributes do not permit this use";
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    }
    if (!is_allowed_mechanism(head, mech)) {
        *ret_reason = "the mechanism is not in the key's CKA_ALLOWED_MECHANISMS";
        return CKR_MECHANISM_INVALID;
    }
    if (!km_attr_is_within(date_of(head, CKA_START_DATE), date_of(head, CKA_END_DATE), now_ms, makes_new)) {
        *ret_reason = "today is not within the key's CKA_START_DATE and CKA_END_DATE";
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    }
    return CKR_OK;
}

CK_RV km_template_may_use(const Kml__Head *head, const struct km_mech *mech, Kmw__Use__Operation op, uint64_t now_ms,
                          const char **ret_reason)
{
    bool makes_new = op != KMW__USE__OPERATION__VERIFY && op != KMW__USE__OPERATION__DECRYPT;

    if ((unsigned)op >= sizeof(uses) / sizeof(uses[0]) || (mech->flags & uses[op].flag) == 0) {
        *ret_reason = "the mechanism is not for this operation";
        return CKR_MECHANISM_INVALID;
    }
    if (!km_mech_takes(mech, head->key_type) || (head->class_ != uses[op].class && head->class_ != CKO_SECRET_KEY)) {
        *ret_reason = "the mechanism is not for such a key";
        return CKR_KEY_TYPE_INCONSISTENT;
    }
    return check_use(head, mech, uses[op].attribute, makes_new, now_ms, ret_reason);
}

/* Keys that make keys. Which of a pair: the public one wraps and encapsulates. */
static const struct {
    CK_FLAGS flag;
    CK_ATTRIBUTE_TYPE attribute;
    CK_OBJECT_CLASS class;
    bool makes_new; /* CKA_END_DATE counts */
} makers[] = {
    {CKF_WRAP, CKA_WRAP, CKO_PUBLIC_KEY, true},
    {CKF_UNWRAP, CKA_UNWRAP, CKO_PRIVATE_KEY, false},
    {CKF_DERIVE, CKA_DERIVE, CKO_PRIVATE_KEY, true},
    {CKF_ENCAPSULATE, CKA_ENCAPSULATE, CKO_PUBLIC_KEY, true},
    {CKF_DECAPSULATE, CKA_DECAPSULATE, CKO_PRIVATE_KEY, false},
};

CK_RV km_template_may_make(const Kml__Head *head, const struct km_mech *mech, CK_FLAGS flag, uint64_t now_ms,
                           const char **ret_reason)
{
    size_t i = 0;

    while (i < sizeof(makers) / sizeof(makers[0]) && makers[i].flag != flag)
        i++;
    if (i == sizeof(makers) / sizeof(makers[0]) || (mech->flags & flag) == 0) {
        *ret_reason = "the mechanism is not for this operation";
        return CKR_MECHANISM_INVALID;
    }
    if ((mech->key_type != KM_KEY_TYPE_ANY && !km_mech_takes(mech, head->key_type)) ||
        (head->class_ != makers[i].class && head->class_ != CKO_SECRET_KEY)) {
        *ret_reason = "the mechanism is not for such a key";
        return CKR_KEY_TYPE_INCONSISTENT;
    }
    return check_use(head, mech, makers[i].attribute, makers[i].makes_new, now_ms, ret_reason);
}

bool km_template_matches(const Kml__Head *head, const Kmw__Template *t)
{
    for (size_t i = 0; i < t->n_attrs; i++)
        if (!km_template_is_same(&t->attrs[i]->value, km_head_find(head, t->attrs[i]->type)))
            return false;
    return true;
}

bool km_template_is_secret(const Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    const struct km_attr_row *row = km_attr_row(type, head->class_, head->key_type);

    return row != NULL && (row->flags & (KM_AF_SECRET | (head->is_private ? KM_AF_SEALED : 0))) != 0;
}

bool km_template_is_readable(const Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    return !km_template_is_secret(head, type) || !is_guarded(head);
}
