/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of domain parameters and the ways to find a row. Module and server ask here, so that a curve is added in
 * one place. Constant; any thread.
 */
#include "domain.h"

#include "attr.h"

#include <openssl/core_names.h>
#include <string.h>

#define TAG_OID 0x06
#define TAG_PRINTABLE 0x13

static const struct km_domain table[] = {
#define KM_DOMAIN(type, name, set, bits, secret, public, signature, seed, oid, other, names)                           \
    {type,                                                                                                             \
     name,                                                                                                             \
     set,                                                                                                              \
     bits,                                                                                                             \
     secret,                                                                                                           \
     public,                                                                                                           \
     signature,                                                                                                        \
     seed,                                                                                                             \
     (const uint8_t *)(oid),                                                                                           \
     sizeof(oid) - 1,                                                                                                  \
     (const uint8_t *)(other),                                                                                         \
     sizeof(other) - 1,                                                                                                \
     names},
#include "domain.def"
#undef KM_DOMAIN
};
#define DOMAINS (sizeof(table) / sizeof(table[0]))

bool km_key_type_is_pair(CK_KEY_TYPE key_type)
{
    for (size_t i = 0; i < DOMAINS; i++)
        if (table[i].key_type == key_type)
            return true;
    return key_type == CKK_RSA;
}

static bool is_curve(CK_KEY_TYPE key_type)
{
    return key_type == CKK_EC || key_type == CKK_EC_EDWARDS || key_type == CKK_EC_MONTGOMERY;
}

CK_ATTRIBUTE_TYPE km_domain_attr(CK_KEY_TYPE key_type)
{
    if (key_type == CKK_RSA)
        return CK_UNAVAILABLE_INFORMATION;
    return is_curve(key_type) ? CKA_EC_PARAMS : CKA_PARAMETER_SET;
}

CK_ATTRIBUTE_TYPE km_public_attr(CK_KEY_TYPE key_type)
{
    if (key_type == CKK_RSA)
        return CKA_MODULUS;
    return is_curve(key_type) ? CKA_EC_POINT : CKA_VALUE;
}

bool km_domain_is_named(const uint8_t *value, size_t len)
{
    return len > 2 && (value[0] == TAG_OID || value[0] == TAG_PRINTABLE) && value[1] < 0x80 && len == 2u + value[1];
}

/* Whether the words in `names` have the PrintableString `value`. */
static bool has_name(const char *names, const uint8_t *value, size_t len)
{
    if (!km_domain_is_named(value, len) || value[0] != TAG_PRINTABLE)
        return false;
    for (const char *at = names; *at != '\0';) {
        size_t n = strcspn(at, " ");
        if (n == len - 2 && memcmp(at, value + 2, n) == 0)
            return true;
        at += n + strspn(at + n, " ");
    }
    return false;
}

static bool is_same(const uint8_t *oid, size_t oid_len, const uint8_t *value, size_t len)
{
    return len > 0 && oid_len == len && memcmp(oid, value, len) == 0; /* a curve without another OID has no bytes */
}

const struct km_domain *km_domain_by(CK_KEY_TYPE key_type, const uint8_t *value, size_t len)
{
    if (!is_curve(key_type) && len != 8)
        return NULL;
    for (size_t i = 0; i < DOMAINS; i++) {
        const struct km_domain *d = &table[i];
        if (d->key_type != key_type)
            continue;
        if (d->set != 0 ? km_attr_get_u64(value) == d->set
                        : is_same(d->oid, d->oid_len, value, len) || is_same(d->other, d->other_len, value, len) ||
                              has_name(d->curve_names, value, len))
            return d;
    }
    return NULL;
}

const struct km_domain *km_domain_of(CK_KEY_TYPE key_type, const struct km_attr_source *from)
{
    const ProtobufCBinaryData *value = key_type == CKK_RSA ? NULL : from->get(from->object, km_domain_attr(key_type));

    return value != NULL ? km_domain_by(key_type, value->data, value->len) : NULL;
}

CK_RV km_domain_check(CK_KEY_TYPE key_type, const uint8_t *value, size_t len)
{
    if (km_domain_by(key_type, value, len) != NULL)
        return CKR_OK;
    if (!is_curve(key_type))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    return km_domain_is_named(value, len) ? CKR_CURVE_NOT_SUPPORTED : CKR_DOMAIN_PARAMS_INVALID;
}

const struct km_domain *km_domain_of_pkey(const EVP_PKEY *pkey)
{
    char group[64] = "";
    size_t len;
    bool is_ec = EVP_PKEY_is_a(pkey, "EC");

    if (is_ec && EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), &len) != 1)
        return NULL;
    for (size_t i = 0; i < DOMAINS; i++) {
        const struct km_domain *d = &table[i];
        if (is_ec ? d->key_type == CKK_EC && strcmp(d->name, group) == 0
                  : d->key_type != CKK_EC && EVP_PKEY_is_a(pkey, d->name))
            return d;
    }
    return NULL;
}
