/* SPDX-License-Identifier: Apache-2.0
 *
 * The attribute table, and the way between a program's CK_ATTRIBUTE array and wire attributes. Values from a program
 * are checked here by kind and nowhere else on the module's side; the server checks again, since it does not trust
 * modules. No state; any thread.
 */
#include "attr.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NESTING_MAX 2 /* a template in a template; no deeper */

static const struct km_attr_row table[] = {
#define KM_ATTR(type, kind, classes, key_type, flags, init)                                                            \
    {type, #type, KM_ATTR_##kind, KM_AC_##classes, key_type, flags, init},
#include "attr.def"
#undef KM_ATTR
};

static unsigned class_mask(CK_OBJECT_CLASS class)
{
    switch (class) {
    case CKO_DATA:
        return KM_AC_DATA;
    case CKO_CERTIFICATE:
        return KM_AC_CERT;
    case CKO_PUBLIC_KEY:
        return KM_AC_PUBLIC;
    case CKO_PRIVATE_KEY:
        return KM_AC_PRIVATE;
    case CKO_SECRET_KEY:
        return KM_AC_SECRET;
    case CKO_PROFILE:
        return KM_AC_PROFILE;
    case CKO_MECHANISM:
        return KM_AC_MECHANISM;
    default:
        return 0;
    }
}

const struct km_attr_row *km_attr_row(CK_ATTRIBUTE_TYPE type, CK_OBJECT_CLASS class, CK_KEY_TYPE key_type)
{
    unsigned mask = class_mask(class);

    for (size_t i = 0; i < COUNT(table); i++) {
        const struct km_attr_row *row = &table[i];
        if (row->type == type && (row->classes & mask) != 0 &&
            (row->key_type == KM_KEY_TYPE_ANY || row->key_type == key_type))
            return row;
    }
    return NULL;
}

enum km_attr_kind km_attr_kind(CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < COUNT(table); i++)
        if (table[i].type == type)
            return table[i].kind;
    return KM_ATTR_BYTES;
}

const struct km_attr_row *km_attr_rows(size_t *ret_n)
{
    *ret_n = COUNT(table);
    return table;
}

uint64_t km_attr_get_u64(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

void km_attr_put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

const Kmw__Attr *km_attr_find(Kmw__Attr *const *attrs, size_t n, CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < n; i++)
        if (attrs[i]->type == type)
            return attrs[i];
    return NULL;
}

bool km_attr_bool(Kmw__Attr *const *attrs, size_t n, CK_ATTRIBUTE_TYPE type, bool absent)
{
    const Kmw__Attr *attr = km_attr_find(attrs, n, type);

    return attr != NULL && attr->value.len == 1 ? attr->value.data[0] != 0 : absent;
}

CK_ULONG km_attr_ulong(Kmw__Attr *const *attrs, size_t n, CK_ATTRIBUTE_TYPE type, CK_ULONG absent)
{
    const Kmw__Attr *attr = km_attr_find(attrs, n, type);

    return attr != NULL && attr->value.len == 8 ? km_attr_get_u64(attr->value.data) : absent;
}

CK_KEY_TYPE km_attr_subtype(Kmw__Attr *const *attrs, size_t n)
{
    bool is_cert = km_attr_ulong(attrs, n, CKA_CLASS, CK_UNAVAILABLE_INFORMATION) == CKO_CERTIFICATE;

    return km_attr_ulong(attrs, n, is_cert ? CKA_CERTIFICATE_TYPE : CKA_KEY_TYPE, KM_KEY_TYPE_ANY);
}

static int number(const uint8_t *digits, int n)
{
    int v = 0;

    for (int i = 0; i < n; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return -1;
        v = v * 10 + digits[i] - '0';
    }
    return v;
}

/* CK_DATE: YYYYMMDD. */
static bool is_day(const uint8_t *date)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = number(date, 4), month = number(date + 4, 2), day = number(date + 6, 2);
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && is_leap);
}

bool km_attr_is_within(const ProtobufCBinaryData *start, const ProtobufCBinaryData *end, uint64_t now_ms,
                       bool does_end_count)
{
    bool has_start = start != NULL && start->len == sizeof(CK_DATE);
    bool has_end = does_end_count && end != NULL && end->len == sizeof(CK_DATE);
    time_t now = (time_t)(now_ms / 1000);
    char today[32];
    struct tm tm;

    if (!has_start && !has_end)
        return true;
    if (gmtime_r(&now, &tm) == NULL || strftime(today, sizeof(today), "%Y%m%d", &tm) != sizeof(CK_DATE))
        return false;
    return (!has_start || memcmp(today, start->data, sizeof(CK_DATE)) >= 0) &&
           (!has_end || memcmp(today, end->data, sizeof(CK_DATE)) <= 0);
}

bool km_attr_is_valid(CK_ATTRIBUTE_TYPE type, const uint8_t *value, size_t len)
{
    if (len > KM_ATTR_VALUE_MAX)
        return false;
    switch (km_attr_kind(type)) {
    case KM_ATTR_BOOL:
        return len == 1 && value[0] <= 1;
    case KM_ATTR_ULONG:
        return len == 8;
    case KM_ATTR_DATE:
        return len == 0 || (len == sizeof(CK_DATE) && is_day(value));
    case KM_ATTR_MECHANISMS:
        return len % 8 == 0;
    case KM_ATTR_TEMPLATE:
    case KM_ATTR_BYTES:
        return true;
    }
    return false;
}

/* --- from a program's memory ---------------------------------------------------------------------------------------
 */

static Kmw__Template *template_from_ck(const void *attrs, CK_ULONG n, int depth, CK_RV *ret_rv);

/* Programs pass arrays in any alignment. */
static CK_ATTRIBUTE entry_at(const void *attrs, CK_ULONG i)
{
    CK_ATTRIBUTE entry;

    memcpy(&entry, (const uint8_t *)attrs + i * sizeof(entry), sizeof(entry));
    return entry;
}

static int compare_types(const void *a, const void *b)
{
    uint64_t x = (*(Kmw__Attr *const *)a)->type, y = (*(Kmw__Attr *const *)b)->type;

    return x < y ? -1 : x > y;
}

/* Gives `value` room for `len` bytes. */
static uint8_t *make_room(ProtobufCBinaryData *value, size_t len)
{
    value->data = malloc(len > 0 ? len : 1);
    value->len = value->data != NULL ? len : 0;
    return value->data;
}

static CK_RV bool_from_ck(const CK_ATTRIBUTE *in, ProtobufCBinaryData *value)
{
    if (in->ulValueLen != sizeof(CK_BBOOL) || *(const CK_BBOOL *)in->pValue > 1)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (make_room(value, 1) == NULL)
        return CKR_HOST_MEMORY;
    value->data[0] = *(const CK_BBOOL *)in->pValue;
    return CKR_OK;
}

static CK_RV ulongs_from_ck(const CK_ATTRIBUTE *in, ProtobufCBinaryData *value)
{
    size_t n = in->ulValueLen / sizeof(CK_ULONG);

    if (in->ulValueLen % sizeof(CK_ULONG) != 0)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (make_room(value, 8 * n) == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; i < n; i++) {
        CK_ULONG v;
        memcpy(&v, (const uint8_t *)in->pValue + i * sizeof(v), sizeof(v)); /* programs pass unaligned arrays */
        km_attr_put_u64(value->data + 8 * i, v);
    }
    return CKR_OK;
}

static CK_RV nested_from_ck(const CK_ATTRIBUTE *in, int depth, ProtobufCBinaryData *value)
{
    Kmw__Template *t;
    CK_RV rv = CKR_OK;

    if (in->ulValueLen % sizeof(CK_ATTRIBUTE) != 0 || depth == NESTING_MAX)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    t = template_from_ck(in->pValue, in->ulValueLen / sizeof(CK_ATTRIBUTE), depth + 1, &rv);
    if (t == NULL)
        return rv;
    if (t->n_attrs > 1) /* the same attributes are the same value, in whatever order they came */
        qsort(t->attrs, t->n_attrs, sizeof(t->attrs[0]), compare_types);
    if (make_room(value, kmw__template__get_packed_size(t)) == NULL)
        rv = CKR_HOST_MEMORY;
    else
        kmw__template__pack(t, value->data);
    kmw__template__free_unpacked(t, NULL);
    return rv;
}

static CK_RV bytes_from_ck(const CK_ATTRIBUTE *in, ProtobufCBinaryData *value)
{
    if (make_room(value, in->ulValueLen) == NULL)
        return CKR_HOST_MEMORY;
    if (in->ulValueLen > 0)
        memcpy(value->data, in->pValue, in->ulValueLen);
    return CKR_OK;
}

static CK_RV attr_from_ck(const CK_ATTRIBUTE *in, int depth, Kmw__Attr *out)
{
    CK_RV rv = CKR_OK;

    if (in->ulValueLen == CK_UNAVAILABLE_INFORMATION || in->ulValueLen > KM_ATTR_VALUE_MAX)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (in->pValue == NULL && in->ulValueLen > 0)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    out->type = in->type;
    switch (km_attr_kind(in->type)) {
    case KM_ATTR_BOOL:
        rv = bool_from_ck(in, &out->value);
        break;
    case KM_ATTR_ULONG:
        rv = in->ulValueLen == sizeof(CK_ULONG) ? ulongs_from_ck(in, &out->value) : CKR_ATTRIBUTE_VALUE_INVALID;
        break;
    case KM_ATTR_MECHANISMS:
        rv = ulongs_from_ck(in, &out->value);
        break;
    case KM_ATTR_TEMPLATE:
        rv = nested_from_ck(in, depth, &out->value);
        break;
    case KM_ATTR_DATE:
    case KM_ATTR_BYTES:
        rv = bytes_from_ck(in, &out->value);
        break;
    }
    if (rv == CKR_OK && !km_attr_is_valid(in->type, out->value.data, out->value.len))
        rv = CKR_ATTRIBUTE_VALUE_INVALID;
    return rv;
}

static Kmw__Template *template_from_ck(const void *attrs, CK_ULONG n, int depth, CK_RV *ret_rv)
{
    Kmw__Template *t = NULL;
    CK_RV rv = CKR_OK;

    if ((attrs == NULL && n > 0) || n > KM_ATTRS_MAX) {
        *ret_rv = CKR_ARGUMENTS_BAD;
        return NULL;
    }
    t = malloc(sizeof(*t));
    if (t == NULL) {
        *ret_rv = CKR_HOST_MEMORY;
        return NULL;
    }
    kmw__template__init(t);
    t->attrs = calloc(n > 0 ? n : 1, sizeof(t->attrs[0]));
    if (t->attrs == NULL)
        rv = CKR_HOST_MEMORY;
    for (CK_ULONG i = 0; i < n && rv == CKR_OK; i++) {
        CK_ATTRIBUTE in = entry_at(attrs, i);
        Kmw__Attr *attr = malloc(sizeof(*attr));
        if (attr == NULL) {
            rv = CKR_HOST_MEMORY;
            break;
        }
        kmw__attr__init(attr);
        t->attrs[t->n_attrs++] = attr;
        rv = attr_from_ck(&in, depth, attr);
    }
    if (rv != CKR_OK) {
        kmw__template__free_unpacked(t, NULL);
        *ret_rv = rv;
        return NULL;
    }
    return t;
}

Kmw__Template *km_template_from_ck(const CK_ATTRIBUTE *attrs, CK_ULONG n, CK_RV *ret_rv)
{
    return template_from_ck(attrs, n, 1, ret_rv);
}

/* --- into a program's memory ---------------------------------------------------------------------------------------
 */

/* True when `out` has room; otherwise `*ret_rv` is what to answer (CKR_OK for a size query). */
static bool has_room(CK_ATTRIBUTE *out, size_t len, CK_RV *ret_rv)
{
    *ret_rv = CKR_OK;
    if (out->pValue == NULL) {
        out->ulValueLen = len;
        return false;
    }
    if (out->ulValueLen < len ||
        out->ulValueLen == CK_UNAVAILABLE_INFORMATION) { /* what an earlier call left there is no room */
        out->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        *ret_rv = CKR_BUFFER_TOO_SMALL;
        return false;
    }
    out->ulValueLen = len;
    return true;
}

static CK_RV ulongs_to_ck(const ProtobufCBinaryData *value, CK_ATTRIBUTE *out)
{
    size_t n = value->len / 8;
    CK_RV rv;

    if (!has_room(out, n * sizeof(CK_ULONG), &rv))
        return rv;
    for (size_t i = 0; i < n; i++) {
        CK_ULONG v = km_attr_get_u64(value->data + 8 * i);
        memcpy((uint8_t *)out->pValue + i * sizeof(v), &v, sizeof(v));
    }
    return CKR_OK;
}

/* The program's elements may carry buffers of their own; NULL in one asks for its size (PKCS#11 v3.2 5.7.5). All are
 * read before the first is written: a buffer may lie in the array. */
static CK_RV nested_to_ck(const ProtobufCBinaryData *value, CK_ATTRIBUTE *out)
{
    Kmw__Template *t = kmw__template__unpack(NULL, value->len, value->data);
    CK_ATTRIBUTE elements[KM_ATTRS_MAX];
    CK_RV rv, one;

    if (t == NULL || t->n_attrs > KM_ATTRS_MAX) {
        rv = CKR_ATTRIBUTE_VALUE_INVALID;
        goto out;
    }
    if (!has_room(out, t->n_attrs * sizeof(CK_ATTRIBUTE), &rv))
        goto out;
    memcpy(elements, out->pValue, t->n_attrs * sizeof(CK_ATTRIBUTE));
    for (size_t i = 0; i < t->n_attrs; i++) {
        elements[i].type = t->attrs[i]->type;
        one = km_attr_to_ck(t->attrs[i], &elements[i]);
        if (one != CKR_OK)
            rv = one;
    }
    memcpy(out->pValue, elements, t->n_attrs * sizeof(CK_ATTRIBUTE));
out:
    if (t != NULL)
        kmw__template__free_unpacked(t, NULL);
    return rv;
}

CK_RV km_attr_to_ck(const Kmw__Attr *attr, CK_ATTRIBUTE *out)
{
    CK_RV rv;

    if (!km_attr_is_valid(attr->type, attr->value.data, attr->value.len)) {
        out->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    switch (km_attr_kind(attr->type)) {
    case KM_ATTR_ULONG:
    case KM_ATTR_MECHANISMS:
        return ulongs_to_ck(&attr->value, out);
    case KM_ATTR_TEMPLATE:
        return nested_to_ck(&attr->value, out);
    case KM_ATTR_BOOL:
    case KM_ATTR_DATE:
    case KM_ATTR_BYTES:
        if (has_room(out, attr->value.len, &rv) && attr->value.len > 0)
            memcpy(out->pValue, attr->value.data, attr->value.len);
        return rv;
    }
    return CKR_ATTRIBUTE_VALUE_INVALID;
}
