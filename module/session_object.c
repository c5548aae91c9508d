/* SPDX-License-Identifier: Apache-2.0
 *
 * Session objects without secrets. A change builds a new object, so that readers of the old one are not disturbed. No
 * state; any thread.
 */
#include "session_object.h"

#include "../common/attr.h"
#include "../common/cert.h"
#include "guard.h"
#include "local.h"

#include <stdio.h>
#include <stdlib.h>

bool km_session_object_is_ours(const Kmw__Template *template)
{
    CK_OBJECT_CLASS class = km_attr_ulong(template->attrs, template->n_attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);

    return !km_attr_bool(template->attrs, template->n_attrs, CKA_TOKEN, false) &&
           (class == CKO_DATA || class == CKO_CERTIFICATE || class == CKO_PUBLIC_KEY);
}

static bool set_bytes(ProtobufCBinaryData *to, const void *data, size_t len)
{
    uint8_t *copy = malloc(len + 1);

    if (copy == NULL)
        return false;
    if (len > 0)
        memcpy(copy, data, len);
    free(to->data);
    *to = (ProtobufCBinaryData){.len = len, .data = copy};
    return true;
}

/* Sets an attribute in a growing list, replacing the value that is there. */
static CK_RV put(Kmw__Attr ***attrs, size_t *n, CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    Kmw__Attr *attr = (Kmw__Attr *)km_attr_find(*attrs, *n, type), **grown;

    if (attr == NULL) {
        grown = reallocarray(*attrs, *n + 1, sizeof(Kmw__Attr *));
        KM_REQUIRE(grown != NULL, CKR_HOST_MEMORY);
        *attrs = grown;
        attr = malloc(sizeof(*attr));
        KM_REQUIRE(attr != NULL, CKR_HOST_MEMORY);
        kmw__attr__init(attr);
        attr->type = type;
        (*attrs)[(*n)++] = attr;
    }
    return set_bytes(&attr->value, data, len) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV put_object(Kmw__Object *object, CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    return put(&object->attrs, &object->n_attrs, type, data, len);
}

static CK_RV put_ulong(Kmw__Object *object, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    uint8_t bytes[8];

    km_attr_put_u64(bytes, value);
    return put_object(object, type, bytes, sizeof(bytes));
}

static const ProtobufCBinaryData *value_of(const Kmw__Object *object, CK_ATTRIBUTE_TYPE type)
{
    const Kmw__Attr *attr = km_attr_find(object->attrs, object->n_attrs, type);

    return attr != NULL ? &attr->value : NULL;
}

static CK_RV put_new_id(Kmw__Object *object)
{
    uint8_t id[KM_ID_LEN];
    char text[2 * KM_ID_LEN + 1];

    KM_REQUIRE(km_local_random(id, sizeof(id)), CKR_FUNCTION_FAILED);
    KM_REQUIRE(set_bytes(&object->id, id, sizeof(id)), CKR_HOST_MEMORY);
    for (size_t i = 0; i < KM_ID_LEN; i++)
        snprintf(text + 2 * i, 3, "%02x", id[i]);
    return put_object(object, CKA_UNIQUE_ID, text, 2 * KM_ID_LEN);
}

/* --- rules --- */

static bool is_same(const Kmw__Attr *a, const Kmw__Attr *b)
{
    return a != NULL && b != NULL && a->value.len == b->value.len &&
           (a->value.len == 0 || memcmp(a->value.data, b->value.data, a->value.len) == 0);
}

static CK_RV check_twice(const Kmw__Template *template)
{
    for (size_t i = 0; i < template->n_attrs; i++)
        for (size_t k = 0; k < i; k++)
            if (template->attrs[i]->type == template->attrs[k]->type)
                KM_REQUIRE(is_same(template->attrs[i], template->attrs[k]), CKR_TEMPLATE_INCONSISTENT);
    return CKR_OK;
}

/* Applies `template`, whose attributes must be allowed where one of `flags` says so. */
static CK_RV apply(Kmw__Object *object, CK_OBJECT_CLASS class, CK_KEY_TYPE key_type, const Kmw__Template *template,
                   unsigned flags, bool is_so)
{
    KM_TRY(check_twice(template));
    for (size_t i = 0; i < template->n_attrs; i++) {
        const Kmw__Attr *attr = template->attrs[i];
        const struct km_attr_row *row = km_attr_row(attr->type, class, key_type);
        bool is_true = attr->value.len == 1 && attr->value.data[0] != 0;

        KM_REQUIRE(row != NULL, CKR_ATTRIBUTE_TYPE_INVALID);
        if ((flags & KM_AF_COPY) && is_same(attr, km_attr_find(object->attrs, object->n_attrs, attr->type)))
            continue; /* programs repeat what they know in a copy's template */
        KM_REQUIRE(row->flags & flags, CKR_ATTRIBUTE_READ_ONLY);
        KM_REQUIRE(!(row->flags & KM_AF_SO) || !is_true || is_so, CKR_ATTRIBUTE_READ_ONLY);
        if (!(flags & KM_AF_CREATE) && !is_same(attr, km_attr_find(object->attrs, object->n_attrs, attr->type))) {
            KM_REQUIRE(!(row->flags & KM_AF_UP) || is_true, CKR_ATTRIBUTE_READ_ONLY);
            KM_REQUIRE(!(row->flags & KM_AF_DOWN) || !is_true, CKR_ATTRIBUTE_READ_ONLY);
        }
        KM_TRY(put_object(object, attr->type, attr->value.data, attr->value.len));
    }
    return CKR_OK;
}

static CK_RV fill(Kmw__Object *object, CK_OBJECT_CLASS class, CK_KEY_TYPE key_type)
{
    static const uint8_t zeros[8];
    const struct km_attr_row *rows;
    size_t n;

    rows = km_attr_rows(&n);
    for (size_t i = 0; i < n; i++) {
        const struct km_attr_row *row = &rows[i];
        if (km_attr_row(row->type, class, key_type) != row ||
            km_attr_find(object->attrs, object->n_attrs, row->type) != NULL)
            continue;
        KM_REQUIRE(!(row->flags & KM_AF_REQUIRED), CKR_TEMPLATE_INCOMPLETE);
        if (row->init < 0)
            continue;
        if (row->kind == KM_ATTR_BOOL)
            KM_TRY(put_object(object, row->type, &(uint8_t){row->init == 1}, 1));
        else
            KM_TRY(put_object(object, row->type, zeros, row->kind == KM_ATTR_ULONG ? 8 : 0));
    }
    return CKR_OK;
}

/* Rules over several attributes that hold for every object, new or changed. */
static CK_RV check(const Kmw__Object *object)
{
    const ProtobufCBinaryData *start = value_of(object, CKA_START_DATE), *end = value_of(object, CKA_END_DATE);

    if (start != NULL && end != NULL && start->len == sizeof(CK_DATE) && end->len == sizeof(CK_DATE))
        KM_REQUIRE(memcmp(start->data, end->data, sizeof(CK_DATE)) <= 0, CKR_TEMPLATE_INCONSISTENT);
    return CKR_OK;
}

/* What follows from a public key; refuses one that is none. */
static CK_RV complete_public_key(Kmw__Object *object)
{
    const ProtobufCBinaryData *given = value_of(object, CKA_PUBLIC_KEY_INFO);
    EVP_PKEY *key = NULL;
    uint8_t *info = NULL;
    size_t len = 0;
    CK_RV rv = km_local_public_key_of(object->attrs, object->n_attrs, &key);

    if (rv == CKR_OK)
        rv = km_local_public_key_info(key, &info, &len);
    if (rv == CKR_OK && given != NULL && given->len > 0 && (given->len != len || memcmp(given->data, info, len) != 0))
        rv = CKR_TEMPLATE_INCONSISTENT;
    if (rv == CKR_OK)
        rv = put_object(object, CKA_PUBLIC_KEY_INFO, info, len);
    if (rv == CKR_OK && km_attr_ulong(object->attrs, object->n_attrs, CKA_KEY_TYPE, KM_KEY_TYPE_ANY) == CKK_RSA)
        rv = put_ulong(object, CKA_MODULUS_BITS, (CK_ULONG)EVP_PKEY_get_bits(key));
    if (rv == CKR_OK)
        rv = put_object(object, CKA_LOCAL, &(uint8_t){0}, 1);
    if (rv == CKR_OK)
        rv = put_ulong(object, CKA_KEY_GEN_MECHANISM, CK_UNAVAILABLE_INFORMATION);
    free(info);
    EVP_PKEY_free(key);
    return rv;
}

static CK_RV complete_certificate(Kmw__Object *object, CK_CERTIFICATE_TYPE cert_type)
{
    struct km_cert cert = {
        .type = cert_type,
        .category = km_attr_ulong(object->attrs, object->n_attrs, CKA_CERTIFICATE_CATEGORY, 0),
        .value = value_of(object, CKA_VALUE),
        .url = value_of(object, CKA_URL),
        .hash_of_subject = value_of(object, CKA_HASH_OF_SUBJECT_PUBLIC_KEY),
        .hash_of_issuer = value_of(object, CKA_HASH_OF_ISSUER_PUBLIC_KEY),
        .check_value = value_of(object, CKA_CHECK_VALUE),
        .public_key_info = value_of(object, CKA_PUBLIC_KEY_INFO),
    };
    struct km_cert_facts facts;
    CK_ATTRIBUTE_TYPE type;
    const char *why;
    CK_RV rv = km_cert_check(km_local_context(), &cert, &facts, &type, &why);

    KM_TRY(rv);
    if (facts.check_value_len > 0)
        rv = put_object(object, CKA_CHECK_VALUE, facts.check_value, facts.check_value_len);
    if (rv == CKR_OK && facts.public_key_info != NULL)
        rv = put_object(object, CKA_PUBLIC_KEY_INFO, facts.public_key_info, facts.public_key_info_len);
    free(facts.public_key_info);
    return rv;
}

/* The types that choose the rows must be there before the other attributes can be looked at. */
static CK_RV check_types(CK_OBJECT_CLASS class, CK_KEY_TYPE subtype)
{
    KM_REQUIRE(class == CKO_DATA || subtype != KM_KEY_TYPE_ANY, CKR_TEMPLATE_INCOMPLETE);
    KM_REQUIRE(class != CKO_CERTIFICATE || subtype <= CKC_WTLS, CKR_ATTRIBUTE_VALUE_INVALID);
    return CKR_OK;
}

static CK_RV create(Kmw__Object *object, const Kmw__Template *template, bool is_so)
{
    CK_OBJECT_CLASS class = km_attr_ulong(template->attrs, template->n_attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
    CK_KEY_TYPE subtype = km_attr_subtype(template->attrs, template->n_attrs);

    KM_TRY(check_types(class, subtype));
    KM_TRY(apply(object, class, subtype, template, KM_AF_CREATE, is_so));
    KM_TRY(fill(object, class, subtype));
    KM_TRY(check(object));
    KM_TRY(put_new_id(object));
    object->version = 1;
    if (class == CKO_PUBLIC_KEY)
        return complete_public_key(object);
    return class == CKO_CERTIFICATE ? complete_certificate(object, subtype) : CKR_OK;
}

/* --- a copy to work on --- */

static Kmw__Object *duplicate(const Kmw__Object *object)
{
    size_t len = kmw__object__get_packed_size(object);
    uint8_t *packed = malloc(len + 1);
    Kmw__Object *copy = NULL;

    if (packed == NULL)
        return NULL;
    kmw__object__pack(object, packed);
    copy = kmw__object__unpack(NULL, len, packed);
    free(packed);
    return copy;
}

static CK_RV change(const Kmw__Object *old, const Kmw__Template *template, unsigned flags, bool is_so,
                    Kmw__Object **ret)
{
    Kmw__Object *object = duplicate(old);
    CK_RV rv;

    KM_REQUIRE(object != NULL, CKR_HOST_MEMORY);
    rv = apply(object, km_attr_ulong(old->attrs, old->n_attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION),
               km_attr_subtype(old->attrs, old->n_attrs), template, flags, is_so);
    if (rv == CKR_OK)
        rv = check(object);
    if (rv == CKR_OK)
        *ret = object;
    else
        kmw__object__free_unpacked(object, NULL);
    return rv;
}

CK_RV km_session_object_new(const Kmw__Template *template, bool is_so, Kmw__Object **ret)
{
    Kmw__Object *object = malloc(sizeof(*object));
    CK_RV rv;

    KM_REQUIRE(object != NULL, CKR_HOST_MEMORY);
    kmw__object__init(object);
    rv = create(object, template, is_so);
    if (rv == CKR_OK)
        *ret = object;
    else
        kmw__object__free_unpacked(object, NULL);
    return rv;
}

CK_RV km_session_object_copy(const Kmw__Object *source, const Kmw__Template *template, bool is_so, Kmw__Object **ret)
{
    Kmw__Object *copy = NULL;
    CK_RV rv;

    KM_REQUIRE(km_attr_bool(source->attrs, source->n_attrs, CKA_COPYABLE, true), CKR_ACTION_PROHIBITED);
    KM_TRY(change(source, template, KM_AF_SET | KM_AF_COPY, is_so, &copy));
    rv = put_new_id(copy);
    copy->version = 1;
    if (rv == CKR_OK)
        *ret = copy;
    else
        kmw__object__free_unpacked(copy, NULL);
    return rv;
}

CK_RV km_session_object_set(const Kmw__Object *old, const Kmw__Template *template, bool is_so, Kmw__Object **ret)
{
    KM_REQUIRE(km_attr_bool(old->attrs, old->n_attrs, CKA_MODIFIABLE, true), CKR_ACTION_PROHIBITED);
    KM_TRY(change(old, template, KM_AF_SET, is_so, ret));
    (*ret)->version++;
    return CKR_OK;
}

CK_RV km_session_object_template(const Kmw__Object *source, const Kmw__Template *changes, Kmw__Template **ret)
{
    CK_OBJECT_CLASS class = km_attr_ulong(source->attrs, source->n_attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
    CK_KEY_TYPE key_type = km_attr_subtype(source->attrs, source->n_attrs);
    Kmw__Template *template = NULL;
    Kmw__Object *changed = NULL;
    CK_RV rv;

    KM_TRY(km_session_object_copy(source, changes, false, &changed));
    rv = CKR_HOST_MEMORY;
    template = malloc(sizeof(*template));
    if (template == NULL)
        goto out;
    kmw__template__init(template);
    rv = CKR_OK;
    for (size_t i = 0; i < changed->n_attrs && rv == CKR_OK; i++) {
        const Kmw__Attr *attr = changed->attrs[i];
        const struct km_attr_row *row = km_attr_row(attr->type, class, key_type);
        if (row != NULL && (row->flags & KM_AF_CREATE))
            rv = put(&template->attrs, &template->n_attrs, attr->type, attr->value.data, attr->value.len);
    }
    if (rv == CKR_OK) {
        *ret = template;
        template = NULL;
    }
out:
    if (template != NULL)
        kmw__template__free_unpacked(template, NULL);
    kmw__object__free_unpacked(changed, NULL);
    return rv;
}

bool km_session_object_has(const Kmw__Object *object, const Kmw__Attr *attr)
{
    return is_same(attr, km_attr_find(object->attrs, object->n_attrs, attr->type));
}

bool km_session_object_matches(const Kmw__Object *object, const Kmw__Template *template)
{
    for (size_t i = 0; i < template->n_attrs; i++)
        if (!km_session_object_has(object, template->attrs[i]))
            return false;
    return true;
}
