/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates to heads. One pass over the template takes each attribute by its row of attr.def, one pass over the table
 * finds what is missing and fills defaults, then come the few rules that look at more than one attribute. Values are
 * bytes from outside: every one is checked before it is used. No state but the line with the reason, which is the
 * thread's own.
 */
#include "template.h"

#include "../../common/cert.h"
#include "../../common/secret.h"
#include "../hsm/head.h"
#include "../hsm/pubkey.h"
#include "lineage.h"
#include "template_rules.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GENERATED_BITS_STEP 8 /* a modulus is whole bytes */

struct building {
    Kml__Head *head;
    Kml__Attr **secrets;
    size_t n_secrets;
    enum km_template_phase phase;
    bool is_so;
    const char **ret_reason;
};

/* --- reasons -------------------------------------------------------------------------------------------------------
 */

CK_RV km_template_refuse(const char **ret_reason, CK_RV rv, CK_ATTRIBUTE_TYPE type, const char *why)
{
    static _Thread_local char line[160];
    const struct km_attr_row *rows;
    size_t n;

    rows = km_attr_rows(&n);
    snprintf(line, sizeof(line), "attribute 0x%lx %s", type, why);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].type != type)
            continue;
        snprintf(line, sizeof(line), "%s %s", rows[i].name, why);
        break;
    }
    *ret_reason = line;
    return rv;
}

static CK_RV no_memory(const char **ret_reason)
{
    *ret_reason = "out of memory";
    return CKR_HOST_MEMORY;
}

/* --- one attribute -------------------------------------------------------------------------------------------------
 */

/* The attributes of a template inside a template are checked by kind only: which object they will meet is not known
 * yet. */
static bool is_nested_valid(const ProtobufCBinaryData *value)
{
    Kmw__Template *t = kmw__template__unpack(NULL, value->len, value->data);
    bool is_valid = t != NULL && t->n_attrs <= KM_ATTRS_MAX;

    for (size_t i = 0; is_valid && i < t->n_attrs; i++) {
        const Kmw__Attr *attr = t->attrs[i];
        is_valid = km_attr_kind(attr->type) != KM_ATTR_TEMPLATE &&
                   km_attr_is_valid(attr->type, attr->value.data, attr->value.len);
    }
    if (t != NULL)
        kmw__template__free_unpacked(t, NULL);
    return is_valid;
}

bool km_template_is_valid(const struct km_attr_row *row, const ProtobufCBinaryData *value)
{
    if (!km_attr_is_valid(row->type, value->data, value->len))
        return false;
    if (row->kind == KM_ATTR_TEMPLATE)
        return is_nested_valid(value);
    return true;
}

bool km_template_is_same(const ProtobufCBinaryData *value, const Kml__Attr *attr)
{
    return attr != NULL && attr->value.len == value->len &&
           (value->len == 0 || memcmp(attr->value.data, value->data, value->len) == 0);
}

static bool append_secret(Kml__Attr ***secrets, size_t *n, CK_ATTRIBUTE_TYPE type, const ProtobufCBinaryData *value)
{
    Kml__Attr **grown = realloc(*secrets, (*n + 1) * sizeof(grown[0]));

    if (grown == NULL)
        return false;
    *secrets = grown;
    grown[*n] = km_attr_new(type, value->data, value->len);
    if (grown[*n] == NULL)
        return false;
    (*n)++;
    return true;
}

static const Kml__Attr *secret_of(const struct building *b, CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < b->n_secrets; i++)
        if (b->secrets[i]->type == type)
            return b->secrets[i];
    return NULL;
}

/* Takes one attribute of a new object's template. */
static CK_RV take_attr(struct building *b, const Kmw__Attr *attr)
{
    const struct km_attr_row *row = km_attr_row(attr->type, b->head->class_, b->head->key_type);
    bool is_created = b->phase == KM_TP_CREATE || b->head->class_ == CKO_DATA; /* CKM_HKDF_DATA derives data */
    unsigned flag = is_created ? KM_AF_CREATE : KM_AF_GENERATE;
    const Kml__Attr *there;

    if (row == NULL)
        return km_template_refuse(b->ret_reason, CKR_ATTRIBUTE_TYPE_INVALID, attr->type,
                                  "is no attribute of such an object");
    if ((row->flags & flag) == 0)
        return km_template_refuse(b->ret_reason, CKR_ATTRIBUTE_READ_ONLY, attr->type, "cannot be given here");
    if (!km_template_is_valid(row, &attr->value))
        return km_template_refuse(b->ret_reason, CKR_ATTRIBUTE_VALUE_INVALID, attr->type, "has a malformed value");
    if ((row->flags & KM_AF_SO) != 0 && attr->value.data[0] != 0 && !b->is_so)
        return km_template_refuse(b->ret_reason, CKR_ATTRIBUTE_READ_ONLY, attr->type,
                                  "can be made true by the SO only");
    there = (row->flags & KM_AF_SECRET) != 0 ? secret_of(b, attr->type) : km_head_find(b->head, attr->type);
    if (there != NULL && attr->type != CKA_CLASS && attr->type != CKA_KEY_TYPE) /* those two were read already */
        return km_template_is_same(&attr->value, there)
                   ? CKR_OK
                   : km_template_refuse(b->ret_reason, CKR_TEMPLATE_INCONSISTENT, attr->type,
                                        "is there twice, with different values");
    if ((row->flags & KM_AF_SECRET) != 0)
        return append_secret(&b->secrets, &b->n_secrets, attr->type, &attr->value) ? CKR_OK : no_memory(b->ret_reason);
    if (!km_template_is_same(&attr->value, there) && there != NULL)
        return km_template_refuse(b->ret_reason, CKR_TEMPLATE_INCONSISTENT, attr->type, "does not fit the operation");
    if (km_head_put(b->head, attr->type, attr->value.data, attr->value.len) != KM_OK)
        return no_memory(b->ret_reason);
    return CKR_OK;
}

/* Required attributes and defaults, from the table. Who asks for a wrapping key gets nothing but that, unless he asks for it: one that
 * can decrypt too wraps nothing sensitive (lineage.c). */
static CK_RV fill(struct building *b)
{
    static const uint8_t zeros[8];
    bool is_wrapping = km_head_bool(b->head, CKA_WRAP, false) || km_head_bool(b->head, CKA_UNWRAP, false);
    const struct km_attr_row *rows;
    size_t n;

    rows = km_attr_rows(&n);
    for (size_t i = 0; i < n; i++) {
        const struct km_attr_row *row = &rows[i];
        uint8_t truth = row->init == 1;
        enum km_err err = KM_OK;

        if (km_attr_row(row->type, b->head->class_, b->head->key_type) != row)
            continue;
        if (km_head_find(b->head, row->type) != NULL || secret_of(b, row->type) != NULL)
            continue;
        if (b->phase == KM_TP_CREATE && (row->flags & KM_AF_REQUIRED) != 0)
            return km_template_refuse(b->ret_reason, CKR_TEMPLATE_INCOMPLETE, row->type, "is missing");
        if (row->init < 0)
            continue;
        if (b->phase == KM_TP_UNWRAP && row->type == CKA_EXTRACTABLE) /* PKCS#11 v3.2 5.18.5 */
            truth = 1;
        if (is_wrapping && (km_lineage_role(row->type) & ~(KM_ROLE_WRAPS | KM_ROLE_UNWRAPS)) != 0)
            truth = 0;
        if (row->kind == KM_ATTR_BOOL)
            err = km_head_put(b->head, row->type, &truth, 1);
        else
            err = km_head_put(b->head, row->type, zeros, row->kind == KM_ATTR_ULONG ? 8 : 0);
        if (err != KM_OK)
            return no_memory(b->ret_reason);
    }
    return CKR_OK;
}

/* --- rules over several attributes ---------------------------------------------------------------------------------
 */

/* Holds for every head, new or changed. */
CK_RV km_template_check(const Kml__Head *head, const char **ret_reason)
{
    const Kml__Attr *start = km_head_find(head, CKA_START_DATE), *end = km_head_find(head, CKA_END_DATE);

    if (start != NULL && end != NULL && start->value.len == 8 && end->value.len == 8 &&
        memcmp(start->value.data, end->value.data, 8) > 0)
        return km_template_refuse(ret_reason, CKR_TEMPLATE_INCONSISTENT, CKA_END_DATE, "is before CKA_START_DATE");
    if (km_head_bool(head, CKA_ALWAYS_AUTHENTICATE, false) && !head->is_private)
        return km_template_refuse(ret_reason, CKR_TEMPLATE_INCONSISTENT, CKA_ALWAYS_AUTHENTICATE, "needs CKA_PRIVATE");
    return CKR_OK;
}

void km_template_read_flags(Kml__Head *head)
{
    head->is_session = !km_head_bool(head, CKA_TOKEN, false);
    head->is_private = km_head_bool(head, CKA_PRIVATE, true);
}

/* Why session secret keys are born readable: attr.def. */
static CK_RV put_origin(struct building *b, const struct km_mech *mech)
{
    Kml__Head *head = b->head;
    static const Kml__Lineage__Origin origins[] = {
        [KM_TP_CREATE] = KML__LINEAGE__ORIGIN__IMPORTED,
        [KM_TP_GENERATE] = KML__LINEAGE__ORIGIN__GENERATED,
        [KM_TP_UNWRAP] = KML__LINEAGE__ORIGIN__UNWRAPPED,
        [KM_TP_DERIVE] = KML__LINEAGE__ORIGIN__DERIVED,
    };
    bool is_generated = b->phase == KM_TP_GENERATE;
    bool is_sensitive = km_head_bool(head, CKA_SENSITIVE, !head->is_session);
    bool is_extractable = km_head_bool(head, CKA_EXTRACTABLE, head->is_session || b->phase == KM_TP_UNWRAP);
    bool has_secret = head->class_ == CKO_PRIVATE_KEY || head->class_ == CKO_SECRET_KEY;
    enum km_err err = km_head_put_bool(head, CKA_LOCAL, is_generated);

    if (err == KM_OK)
        err = km_head_put_ulong(head, CKA_KEY_GEN_MECHANISM, is_generated ? mech->type : CK_UNAVAILABLE_INFORMATION);
    if (err == KM_OK && has_secret)
        err = km_head_put_bool(head, CKA_SENSITIVE, is_sensitive);
    if (err == KM_OK && has_secret)
        err = km_head_put_bool(head, CKA_EXTRACTABLE, is_extractable);
    if (err == KM_OK && has_secret)
        err = km_head_put_bool(head, CKA_ALWAYS_SENSITIVE, is_generated && is_sensitive);
    if (err == KM_OK && has_secret)
        err = km_head_put_bool(head, CKA_NEVER_EXTRACTABLE, is_generated && !is_extractable);
    if (err == KM_OK)
        err = km_lineage_begin(head, is_generated && mech->scheme == KM_MS_PBKDF2
                                         ? KML__LINEAGE__ORIGIN__IMPORTED /* the password's owner knows it */
                                         : origins[b->phase]);
    return err == KM_OK ? CKR_OK : no_memory(b->ret_reason);
}

/* The curve or parameter set of a key pair, by name. */
static CK_RV check_domain(struct building *b)
{
    CK_ATTRIBUTE_TYPE type = km_domain_attr(b->head->key_type);
    const Kml__Attr *attr = km_head_find(b->head, type);
    CK_RV rv;

    if (b->head->key_type == CKK_RSA)
        return CKR_OK;
    if (attr == NULL)
        return km_template_refuse(b->ret_reason, CKR_TEMPLATE_INCOMPLETE, type, "is missing");
    rv = km_domain_check(b->head->key_type, attr->value.data, attr->value.len);
    return rv == CKR_OK ? CKR_OK : km_template_refuse(b->ret_reason, rv, type, "names none that can be used");
}

static CK_RV check_rsa_request(struct building *b, const struct km_mech *mech)
{
    CK_ULONG bits = km_head_ulong(b->head, CKA_MODULUS_BITS, 0);
    const Kml__Attr *exponent = km_head_find(b->head, CKA_PUBLIC_EXPONENT);
    uint64_t e = 0;

    if (bits == 0)
        return km_template_refuse(b->ret_reason, CKR_TEMPLATE_INCOMPLETE, CKA_MODULUS_BITS, "is missing");
    if (bits < mech->min || bits > mech->max || bits % GENERATED_BITS_STEP != 0)
        return km_template_refuse(b->ret_reason, CKR_KEY_SIZE_RANGE, CKA_MODULUS_BITS,
                                  "is not a size that keys are made in");
    if (exponent == NULL || exponent->value.len == 0)
        return km_head_put(b->head, CKA_PUBLIC_EXPONENT, "\x01\x00\x01", 3) == KM_OK ? CKR_OK
                                                                                     : no_memory(b->ret_reason);
    for (size_t i = 0; i < exponent->value.len; i++) {
        if (e >> 24 != 0)
            return km_template_refuse(b->ret_reason, CKR_ATTRIBUTE_VALUE_INVALID, CKA_PUBLIC_EXPONENT,
                                      "is over 32 bits");
        e = e << 8 | exponent->value.data[i];
    }
    if (e < 65537 || e % 2 == 0) /* FIPS 186-5 A.1.1 */
        return km_template_refuse(b->ret_reason, CKR_ATTRIBUTE_VALUE_INVALID, CKA_PUBLIC_EXPONENT,
                                  "is not odd and at least 65537");
    return CKR_OK;
}

static CK_RV check_secret_request(struct building *b)
{
    CK_ULONG len = km_head_ulong(b->head, CKA_VALUE_LEN, 0);
    const Kml__Attr *kcv = km_head_find(b->head, CKA_CHECK_VALUE);

    if (km_head_find(b->head, CKA_VALUE_LEN) == NULL) {
        len = km_secret_len_fixed(b->head->key_type);
        if (len == 0)
            return km_template_refuse(b->ret_reason, CKR_TEMPLATE_INCOMPLETE, CKA_VALUE_LEN, "is missing");
        if (km_head_put_ulong(b->head, CKA_VALUE_LEN, len) != KM_OK)
            return no_memory(b->ret_reason);
    }
    if (!km_secret_len_is_good(b->head->key_type, len))
        return km_template_refuse(b->ret_reason, CKR_KEY_SIZE_RANGE, CKA_VALUE_LEN, "is no length of such a key");
    if (kcv != NULL && kcv->value.len > 0)
        return km_template_refuse(b->ret_reason, CKR_ATTRIBUTE_VALUE_INVALID, CKA_CHECK_VALUE,
                                  "of a key that is yet to be made");
    return CKR_OK;
}

static CK_RV check_request(struct building *b, const struct km_mech *mech)
{
    switch (b->head->class_) {
    case CKO_PUBLIC_KEY:
        return b->head->key_type == CKK_RSA ? check_rsa_request(b, mech) : check_domain(b);
    case CKO_SECRET_KEY:
        return check_secret_request(b);
    default:
        return CKR_OK; /* a private key is what its public key's template says */
    }
}

static const ProtobufCBinaryData *value_of(const Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    const Kml__Attr *attr = km_head_find(head, type);

    return attr != NULL ? &attr->value : NULL;
}

static CK_RV complete_certificate(struct building *b)
{
    Kml__Head *head = b->head;
    struct km_cert cert = {
        .type = head->key_type,
        .category = km_head_ulong(head, CKA_CERTIFICATE_CATEGORY, 0),
        .value = value_of(head, CKA_VALUE),
        .url = value_of(head, CKA_URL),
        .hash_of_subject = value_of(head, CKA_HASH_OF_SUBJECT_PUBLIC_KEY),
        .hash_of_issuer = value_of(head, CKA_HASH_OF_ISSUER_PUBLIC_KEY),
        .check_value = value_of(head, CKA_CHECK_VALUE),
        .public_key_info = value_of(head, CKA_PUBLIC_KEY_INFO),
    };
    struct km_cert_facts facts;
    CK_ATTRIBUTE_TYPE type;
    const char *why;
    CK_RV rv = km_cert_check(NULL, &cert, &facts, &type, &why);
    enum km_err err = KM_OK;

    if (rv != CKR_OK)
        return km_template_refuse(b->ret_reason, rv, type, why);
    if (facts.check_value_len > 0)
        err = km_head_put(head, CKA_CHECK_VALUE, facts.check_value, facts.check_value_len);
    if (err == KM_OK && facts.public_key_info != NULL)
        err = km_head_put(head, CKA_PUBLIC_KEY_INFO, facts.public_key_info, facts.public_key_info_len);
    free(facts.public_key_info);
    return err == KM_OK ? CKR_OK : no_memory(b->ret_reason);
}

static CK_RV complete_created(struct building *b)
{
    CK_RV rv;

    switch (b->head->class_) {
    case CKO_CERTIFICATE:
        return complete_certificate(b);
    case CKO_PUBLIC_KEY:
        rv = check_domain(b);
        if (rv != CKR_OK)
            return rv;
        *b->ret_reason = "the public key is not a valid one";
        return km_pubkey_complete(b->head);
    case CKO_PRIVATE_KEY:
        if (b->n_secrets == 0) /* some types may have one of two */
            return km_template_refuse(b->ret_reason, CKR_TEMPLATE_INCOMPLETE, CKA_VALUE,
                                      "is missing, and the seed too");
        return check_domain(b);
    default:
        return CKR_OK;
    }
}

/* --- class and key type --------------------------------------------------------------------------------------------
 */

static bool is_key(CK_OBJECT_CLASS class)
{
    return class == CKO_PUBLIC_KEY || class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY;
}

static CK_RV read_class(const Kmw__Template *t, Kml__Head *head, const char **ret_reason)
{
    const Kmw__Attr *class = km_attr_find(t->attrs, t->n_attrs, CKA_CLASS);

    if (class == NULL)
        return km_template_refuse(ret_reason, CKR_TEMPLATE_INCOMPLETE, CKA_CLASS, "is missing");
    head->class_ = km_attr_ulong(t->attrs, t->n_attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
    if (head->class_ != CKO_DATA && head->class_ != CKO_CERTIFICATE && !is_key(head->class_))
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_VALUE_INVALID, CKA_CLASS,
                                  "is not a class of object that can be kept");
    return CKR_OK;
}

static CK_RV read_key_type(const Kmw__Template *t, Kml__Head *head, const char **ret_reason)
{
    bool is_secret = head->class_ == CKO_SECRET_KEY;
    CK_KEY_TYPE type;

    if (km_attr_find(t->attrs, t->n_attrs, CKA_KEY_TYPE) == NULL)
        return km_template_refuse(ret_reason, CKR_TEMPLATE_INCOMPLETE, CKA_KEY_TYPE, "is missing");
    type = km_attr_ulong(t->attrs, t->n_attrs, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    if (is_secret ? !km_secret_type_is_known(type) : !km_key_type_is_pair(type))
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_VALUE_INVALID, CKA_KEY_TYPE,
                                  "is not supported for this class");
    head->key_type = type;
    return CKR_OK;
}

/* Certificates have their type where keys have theirs: it chooses the rows. */
static CK_RV read_certificate_type(const Kmw__Template *t, Kml__Head *head, const char **ret_reason)
{
    if (km_attr_find(t->attrs, t->n_attrs, CKA_CERTIFICATE_TYPE) == NULL)
        return km_template_refuse(ret_reason, CKR_TEMPLATE_INCOMPLETE, CKA_CERTIFICATE_TYPE, "is missing");
    head->key_type = km_attr_ulong(t->attrs, t->n_attrs, CKA_CERTIFICATE_TYPE, CK_UNAVAILABLE_INFORMATION);
    if (head->key_type > CKC_WTLS)
        return km_template_refuse(ret_reason, CKR_ATTRIBUTE_VALUE_INVALID, CKA_CERTIFICATE_TYPE,
                                  "is none that can be kept");
    return CKR_OK;
}

static CK_RV identify(const Kmw__Template *t, struct building *b, const struct km_mech *mech, CK_OBJECT_CLASS class)
{
    Kml__Head *head = b->head;
    CK_RV rv = CKR_OK;

    if (b->phase == KM_TP_GENERATE) {
        CK_FLAGS flag = class == CKO_SECRET_KEY ? CKF_GENERATE : CKF_GENERATE_KEY_PAIR;
        assert(is_key(class) && mech != NULL);
        *b->ret_reason = "this mechanism does not generate such keys";
        if ((mech->flags & flag) == 0)
            return CKR_MECHANISM_INVALID;
        head->class_ = class;
        head->key_type = mech->key_type;
        if (mech->scheme == KM_MS_PBKDF2 && km_attr_find(t->attrs, t->n_attrs, CKA_KEY_TYPE) != NULL)
            rv = read_key_type(t, head, b->ret_reason);
    } else if (b->phase == KM_TP_DERIVE) {
        head->class_ = km_attr_ulong(t->attrs, t->n_attrs, CKA_CLASS, class);
        *b->ret_reason = "this mechanism does not derive such objects";
        if (head->class_ != class)
            return CKR_TEMPLATE_INCONSISTENT;
        head->key_type = CKK_GENERIC_SECRET;
        if (is_key(class) && km_attr_find(t->attrs, t->n_attrs, CKA_KEY_TYPE) != NULL)
            rv = read_key_type(t, head, b->ret_reason);
    } else {
        rv = read_class(t, head, b->ret_reason);
        if (rv == CKR_OK && is_key(head->class_))
            rv = read_key_type(t, head, b->ret_reason);
        if (rv == CKR_OK && head->class_ == CKO_CERTIFICATE)
            rv = read_certificate_type(t, head, b->ret_reason);
        if (rv == CKR_OK && b->phase == KM_TP_UNWRAP && head->class_ != CKO_PRIVATE_KEY &&
            head->class_ != CKO_SECRET_KEY)
            rv = km_template_refuse(b->ret_reason, CKR_TEMPLATE_INCONSISTENT, CKA_CLASS,
                                    "is not that of a key that can be wrapped");
    }
    if (rv != CKR_OK)
        return rv;
    if (km_head_put_ulong(head, CKA_CLASS, head->class_) != KM_OK ||
        (is_key(head->class_) && km_head_put_ulong(head, CKA_KEY_TYPE, head->key_type) != KM_OK))
        return no_memory(b->ret_reason);
    return CKR_OK;
}

/* --- the interface -------------------------------------------------------------------------------------------------
 */

void km_template_secrets_free(Kml__Attr **secrets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (secrets[i]->value.len > 0)
            km_wipe(secrets[i]->value.data, secrets[i]->value.len);
        kml__attr__free_unpacked(secrets[i], NULL);
    }
    free(secrets);
}

CK_RV km_template_take_secrets(Kml__Head *head, Kml__Attr ***ret, size_t *ret_n)
{
    Kml__Attr **secrets = NULL;
    size_t n = 0;

    for (size_t i = 0; i < head->n_attrs && head->is_private; i++) {
        Kml__Attr *attr = head->attrs[i];
        const struct km_attr_row *row = km_attr_row(attr->type, head->class_, head->key_type);
        if (row == NULL || (row->flags & KM_AF_SEALED) == 0 || attr->value.len == 0)
            continue;
        if (!append_secret(&secrets, &n, attr->type, &attr->value)) {
            km_template_secrets_free(secrets, n);
            return CKR_HOST_MEMORY;
        }
        km_wipe(attr->value.data, attr->value.len);
        km_head_drop(head, attr->type);
        i--;
    }
    *ret = secrets;
    *ret_n = n;
    return CKR_OK;
}

CK_RV km_template_new(const Kmw__Template *t, enum km_template_phase phase, const struct km_mech *mech,
                      CK_OBJECT_CLASS class, bool is_so, Kml__Head **ret_head, Kml__Attr ***ret_secrets,
                      size_t *ret_n_secrets, const char **ret_reason)
{
    struct building b = {.phase = phase, .is_so = is_so, .ret_reason = ret_reason};
    CK_RV rv;

    if (t->n_attrs > KM_ATTRS_MAX) {
        *ret_reason = "more attributes than a template may have";
        return CKR_ARGUMENTS_BAD;
    }
    if (km_head_new(&b.head) != KM_OK)
        return no_memory(ret_reason);
    rv = identify(t, &b, mech, class);
    for (size_t i = 0; i < t->n_attrs && rv == CKR_OK; i++)
        rv = take_attr(&b, t->attrs[i]);
    if (rv == CKR_OK)
        rv = fill(&b);
    km_template_read_flags(b.head);
    if (rv == CKR_OK && is_key(b.head->class_))
        rv = put_origin(&b, mech);
    if (rv == CKR_OK)
        rv = km_template_check(b.head, ret_reason);
    if (rv == CKR_OK)
        rv = phase == KM_TP_GENERATE ? check_request(&b, mech) : phase == KM_TP_CREATE ? complete_created(&b) : CKR_OK;
    if (rv == CKR_OK && b.n_secrets == 0)
        rv = km_template_take_secrets(b.head, &b.secrets, &b.n_secrets);
    if (rv == CKR_OK) {
        *ret_head = b.head;
        *ret_secrets = b.secrets;
        *ret_n_secrets = b.n_secrets;
        return CKR_OK;
    }
    km_template_secrets_free(b.secrets, b.n_secrets);
    kml__head__free_unpacked(b.head, NULL);
    return rv;
}
