/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes: the table attr.def says for each what its value is, which classes have it, its default and who may set
 * it when (PKCS#11 v3.2, section 4). Module and server read the same rows. Values here are in wire form: CK_ULONG = 8 bytes little
 * endian, CK_BBOOL = 1 byte 0/1, template = packed kmw.Template.
 */
#ifndef KM_COMMON_ATTR_H
#define KM_COMMON_ATTR_H

#include "cryptoki.h"
#include "err.h"
#include "wire.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_ATTRS_MAX 128           /* attributes in one template */
#define KM_ATTR_VALUE_MAX 65536    /* bytes of one value */

enum km_attr_kind { KM_ATTR_BOOL, KM_ATTR_ULONG, KM_ATTR_BYTES, KM_ATTR_DATE, KM_ATTR_TEMPLATE, KM_ATTR_MECHANISMS };

/* Where an attribute may be given or changed, and what it is. */
enum km_attr_flag {
    KM_AF_CREATE = 1 << 0,   /* in C_CreateObject's template */
    KM_AF_GENERATE = 1 << 1, /* in C_GenerateKey(Pair)'s template */
    KM_AF_SET = 1 << 2,      /* C_SetAttributeValue and C_CopyObject may change it */
    KM_AF_COPY = 1 << 3,     /* C_CopyObject may change it, C_SetAttributeValue may not */
    KM_AF_SECRET = 1 << 4,   /* not revealed if CKA_SENSITIVE or not CKA_EXTRACTABLE; lives in the seal */
    KM_AF_UP = 1 << 5,       /* a boolean that goes from false to true only */
    KM_AF_DOWN = 1 << 6,     /* a boolean that goes from true to false only */
    KM_AF_SO = 1 << 7,       /* only the SO may make it true */
    KM_AF_REQUIRED = 1 << 8, /* must be in C_CreateObject's template (CKA_CLASS and CKA_KEY_TYPE, too, need not be in C_GenerateKey's) */
    KM_AF_SEALED = 1 << 9,   /* of a private object: lives in the seal, but is revealed to who is logged in */
};

/* Classes as a mask, for the rows */
enum km_attr_class {
    KM_AC_DATA = 1 << 0,
    KM_AC_CERT = 1 << 1,
    KM_AC_PUBLIC = 1 << 2,
    KM_AC_PRIVATE = 1 << 3,
    KM_AC_SECRET = 1 << 4,
    KM_AC_KEY = KM_AC_PUBLIC | KM_AC_PRIVATE | KM_AC_SECRET,
    KM_AC_PROFILE = 1 << 5,
    KM_AC_MECHANISM = 1 << 6,
    KM_AC_ALL = KM_AC_DATA | KM_AC_CERT | KM_AC_KEY,
};

struct km_attr_row {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    enum km_attr_kind kind;
    unsigned classes;       /* enum km_attr_class */
    CK_KEY_TYPE key_type;   /* or KM_KEY_TYPE_ANY; of certificates the CKC_ type */
    unsigned flags;         /* enum km_attr_flag */
    int init;               /* KM_ATTR_BOOL: default 0, 1 or -1 (none: computed); others: 0 empty value, -1 absent */
};
#define KM_KEY_TYPE_ANY (~0UL)

/* The row for `type` in objects of `class` and `key_type` (certificates: CKC_ type), or NULL if such objects have no such attribute. */
const struct km_attr_row *km_attr_row(CK_ATTRIBUTE_TYPE type, CK_OBJECT_CLASS class, CK_KEY_TYPE key_type);
/* The kind of `type` in any class; KM_ATTR_BYTES for types that the table does not know. */
enum km_attr_kind km_attr_kind(CK_ATTRIBUTE_TYPE type);
/* All rows, for those who walk them. */
const struct km_attr_row *km_attr_rows(size_t *ret_n);

/* True if `value` has the form that its kind asks for (length, 0 or 1, a day of the calendar); for bytes from outside. Nested templates are
 * not walked. */
bool km_attr_is_valid(CK_ATTRIBUTE_TYPE type, const uint8_t *value, size_t len);
/* A CK_ULONG in wire form, 8 bytes little endian. */
uint64_t km_attr_get_u64(const uint8_t *p);
void km_attr_put_u64(uint8_t *p, uint64_t v);

/* Readers over a list of wire attributes. */
const Kmw__Attr *km_attr_find(Kmw__Attr *const *attrs, size_t n, CK_ATTRIBUTE_TYPE type);
bool km_attr_bool(Kmw__Attr *const *attrs, size_t n, CK_ATTRIBUTE_TYPE type, bool absent);
CK_ULONG km_attr_ulong(Kmw__Attr *const *attrs, size_t n, CK_ATTRIBUTE_TYPE type, CK_ULONG absent);

/* The type that chooses an object's rows besides its class: CKA_KEY_TYPE of keys, CKA_CERTIFICATE_TYPE of certificates, or
 * KM_KEY_TYPE_ANY. */
CK_KEY_TYPE km_attr_subtype(Kmw__Attr *const *attrs, size_t n);

/* Whether `now_ms` (UTC) is within values of CKA_START_DATE and CKA_END_DATE (NULL or empty: no bound): the first moment of the one
 * day to the last of the other. What was made may be verified and decrypted after the end: then `does_end_count` is false. */
bool km_attr_is_within(const ProtobufCBinaryData *start, const ProtobufCBinaryData *end, uint64_t now_ms, bool does_end_count);

/* CK_ATTRIBUTE array (a program's memory, in any alignment) to a wire template, for requests. Checks lengths by kind; nested templates are walked.
 * Nested ones come out sorted by type. Errors in `*ret_rv`: CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_VALUE_INVALID, CKR_HOST_MEMORY. The
 * caller frees with kmw__template__free_unpacked(t, NULL). */
Kmw__Template *km_template_from_ck(const CK_ATTRIBUTE *attrs, CK_ULONG n, CK_RV *ret_rv);

/* Writes a wire value into a program's CK_ATTRIBUTE by the rules of C_GetAttributeValue (size query, buffer too small,
 * nested templates). Returns CKR_OK, CKR_BUFFER_TOO_SMALL or CKR_ATTRIBUTE_VALUE_INVALID. */
CK_RV km_attr_to_ck(const Kmw__Attr *attr, CK_ATTRIBUTE *out);

#endif
