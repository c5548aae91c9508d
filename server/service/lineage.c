/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a sensitive key does not become known. Call a key a KEK if it was generated here, was sensitive from the first
 * moment and never could do anything but wrap and unwrap; of a pair both halves count together.
 *
 *  1. A sensitive key leaves under a KEK only, which is at least as strong as it, or under a public key that the SO
 * vouches for (CKA_TRUSTED). So nobody outside knows the wrapping key, and no decryption with it can be asked for.
 *  2. A KEK itself does not leave. So its value is in no key with other attributes.
 *  3. A KEK wraps and unwraps only by mechanisms that authenticate, with IVs that the caller does not choose: without
 * padding oracles (Bardou et al., CRYPTO 2012), cut or spliced blobs, and key streams that come twice. RSA-OAEP and
 * RSA_AES_KEY_WRAP do not mix under one pair: the former would unwrap the latter's temporary key.
 *  4. What a KEK unwraps is sensitive, whatever the template says, and no wrapping key unless the KEK's own
 * CKA_UNWRAP_TEMPLATE says so. What was unwrapped, imported or derived is never a KEK: somebody may know it.
 *  5. Derivations that keep a key's bytes give keys as guarded as it is, and take it whole: from a part of a key that
 * is used with a MAC or has a CKA_CHECK_VALUE, the part can be guessed. Others are one-way.
 *
 * Level off leaves the standard's own rules. No state; any thread.
 */
#include "lineage.h"

#include "../../common/attr.h"
#include "../hsm/pubkey.h"
#include "template.h"

#include <stdlib.h>

#define KEY_ROLES (KM_ROLE_WRAPS | KM_ROLE_UNWRAPS)
#define STRONGEST 256
#define TAG_BITS_MIN 96 /* SP 800-38D 5.2.1.2; what is shorter can be forged in time, and then cut */

static const struct {
    CK_ATTRIBUTE_TYPE type;
    uint32_t bit;
    unsigned kind; /* roles of one kind are one role at level strict */
} roles[] = {
    {CKA_ENCRYPT, KM_ROLE_ENCRYPTS, 0},
    {CKA_DECRYPT, KM_ROLE_DECRYPTS, 0},
    {CKA_SIGN, KM_ROLE_SIGNS, 1},
    {CKA_SIGN_RECOVER, KM_ROLE_SIGNS, 1},
    {CKA_VERIFY, KM_ROLE_VERIFIES, 1},
    {CKA_VERIFY_RECOVER, KM_ROLE_VERIFIES, 1},
    {CKA_WRAP, KM_ROLE_WRAPS, 2},
    {CKA_UNWRAP, KM_ROLE_UNWRAPS, 2},
    {CKA_DERIVE, KM_ROLE_DERIVES, 3},
    {CKA_ENCAPSULATE, KM_ROLE_ENCAPSULATES, 4},
    {CKA_DECAPSULATE, KM_ROLE_DECAPSULATES, 4},
};
#define ROLES (sizeof(roles) / sizeof(roles[0]))

uint32_t km_lineage_role(CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < ROLES; i++)
        if (roles[i].type == type)
            return roles[i].bit;
    return 0;
}

static uint32_t roles_of(const Kml__Head *head)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < ROLES; i++)
        if (km_head_bool(head, roles[i].type, false))
            bits |= roles[i].bit;
    return bits;
}

/* --- birth ---------------------------------------------------------------------------------------------------------
 */

/* Data roles, unless CKA_UNWRAP_TEMPLATE says otherwise. */
static enum km_err read_unwrap_template(const Kml__Head *head, uint32_t *ret)
{
    const Kml__Attr *attr = km_head_find(head, CKA_UNWRAP_TEMPLATE);
    Kmw__Template *t;

    *ret = ~(uint32_t)KEY_ROLES;
    if (attr == NULL)
        return KM_OK;
    t = kmw__template__unpack(NULL, attr->value.len, attr->value.data);
    if (t == NULL)
        return KM_ERR_NOMEM; /* its form was checked */
    for (size_t i = 0; i < t->n_attrs; i++) {
        uint32_t bit = km_lineage_role(t->attrs[i]->type);
        bool is_true = t->attrs[i]->value.len == 1 && t->attrs[i]->value.data[0] != 0;
        *ret = is_true ? *ret | bit : *ret & ~bit;
    }
    kmw__template__free_unpacked(t, NULL);
    return KM_OK;
}

static bool allows_oaep(const Kml__Head *head)
{
    const Kml__Attr *list = km_head_find(head, CKA_ALLOWED_MECHANISMS);

    if (list == NULL || list->value.len == 0)
        return true;
    for (size_t i = 0; i + 8 <= list->value.len; i += 8)
        if (km_attr_get_u64(list->value.data + i) == CKM_RSA_PKCS_OAEP)
            return true;
    return false;
}

enum km_err km_lineage_begin(Kml__Head *head, Kml__Lineage__Origin origin)
{
    Kml__Lineage *lineage = head->lineage != NULL ? head->lineage : malloc(sizeof(*lineage));

    if (lineage == NULL)
        return KM_ERR_NOMEM;
    kml__lineage__init(lineage);
    head->lineage = lineage;
    lineage->origin = origin;
    lineage->roles = roles_of(head);
    lineage->was_sensitive = km_head_bool(head, CKA_SENSITIVE, false);
    lineage->may_unwrap_oaep = allows_oaep(head);
    return read_unwrap_template(head, &lineage->unwrap_roles);
}

/* With a public key anybody can encrypt, and check signatures: that it may do so here says nothing. */
void km_lineage_pair(Kml__Head *public_head, Kml__Head *head)
{
    Kml__Lineage *pair = head->lineage, *other = public_head->lineage;

    pair->roles |= other->roles & (KM_ROLE_WRAPS | KM_ROLE_ENCAPSULATES);
    other->roles = pair->roles;
    other->was_sensitive = pair->was_sensitive;
    other->unwrap_roles = pair->unwrap_roles;
    other->may_unwrap_oaep = pair->may_unwrap_oaep;
}

CK_RV km_lineage_may_be(enum km_level level, const Kml__Head *head, const char **ret_reason)
{
    uint32_t mine = roles_of(head);
    unsigned kinds = 0;

    if (level < KM_LEVEL_STRICT || head->class_ == CKO_PUBLIC_KEY)
        return CKR_OK;
    for (size_t i = 0; i < ROLES; i++)
        if ((mine & roles[i].bit) != 0)
            kinds |= 1u << roles[i].kind;
    if ((kinds & (kinds - 1)) == 0)
        return CKR_OK;
    *ret_reason = "keys of this token have one role: encrypting, signing, wrapping, deriving or encapsulating";
    return CKR_TEMPLATE_INCONSISTENT;
}

/* --- strength ------------------------------------------------------------------------------------------------------
 */

static unsigned rsa_strength(const Kml__Head *head)
{
    static const struct {
        size_t bytes;
        unsigned strength;
    } table[] = {{1024, 200}, {768, 176}, {512, 152}, {384, 128}, {256, 112}};
    const Kml__Attr *modulus = km_head_find(head, CKA_MODULUS);

    for (size_t i = 0; modulus != NULL && i < sizeof(table) / sizeof(table[0]); i++)
        if (modulus->value.len >= table[i].bytes)
            return table[i].strength;
    return 0;
}

unsigned km_lineage_strength(const Kml__Head *head)
{
    const struct km_domain *domain;
    size_t bits;

    if (head->class_ != CKO_SECRET_KEY && head->key_type == CKK_RSA)
        return rsa_strength(head);
    if (head->class_ == CKO_SECRET_KEY) {
        bits = km_head_ulong(head, CKA_VALUE_LEN, 0) * 8;
    } else {
        domain = km_head_domain(head);
        /* Of lattice keys the sets 1, 2, 3 are as strong as AES with 128, 192, 256 bits. */
        bits = domain == NULL     ? 0
               : domain->set == 0 ? (domain->bits + 1) / 2
               : domain->set <= 3 ? 64 + 64 * domain->set
                                  : STRONGEST;
    }
    return bits < STRONGEST ? (unsigned)bits : STRONGEST;
}

/* --- wrapping ------------------------------------------------------------------------------------------------------
 */

static bool is_kek(const Kml__Head *head)
{
    const Kml__Lineage *lineage = head->lineage;

    return lineage != NULL && lineage->origin == KML__LINEAGE__ORIGIN__GENERATED && lineage->was_sensitive &&
           (lineage->roles & KEY_ROLES) != 0 && (lineage->roles & ~(uint32_t)KEY_ROLES) == 0;
}

/* Rule 3. `param` is the caller's. */
static bool is_sound(const struct km_mech *mech, const Kmw__Mechanism *param, bool is_wrap)
{
    switch (mech->scheme) {
    case KM_MS_KW:
    case KM_MS_KWP:
        return param->iv.len == 0;
    case KM_MS_OAEP:
    case KM_MS_RSA_AES_WRAP:
        return true;
    case KM_MS_GCM:
    case KM_MS_CCM:
        return (param->makes_iv || !is_wrap) && param->tag_bits >= TAG_BITS_MIN;
    default:
        return false;
    }
}

/* Rules 1 to 3 for a sensitive key. */
static CK_RV check_separation(enum km_level level, const Kml__Head *with, const Kml__Head *key,
                              const struct km_mech *mech, const char **ret_reason)
{
    bool is_vouched_for = with->class_ == CKO_PUBLIC_KEY && km_head_bool(with, CKA_TRUSTED, false);
    unsigned needed = km_lineage_strength(key), strength = km_lineage_strength(with);

    if (is_kek(key)) {
        *ret_reason = "a key that wraps others is not wrapped itself";
        return CKR_KEY_NOT_WRAPPABLE;
    }
    if (is_vouched_for)
        return CKR_OK;
    if (!is_kek(with)) {
        *ret_reason =
            "a sensitive key is wrapped only by a key that was generated here, sensitive, for nothing but wrapping";
        return CKR_KEY_NOT_WRAPPABLE;
    }
    if (needed == 0 || strength < needed) {
        *ret_reason = "the wrapping key is weaker than the key";
        return CKR_KEY_NOT_WRAPPABLE;
    }
    if (mech->scheme == KM_MS_RSA_AES_WRAP && with->lineage->may_unwrap_oaep) {
        *ret_reason = "the wrapping pair's private key may unwrap by CKM_RSA_PKCS_OAEP too (CKA_ALLOWED_MECHANISMS)";
        return CKR_KEY_NOT_WRAPPABLE;
    }
    if (level == KM_LEVEL_STRICT && key->lineage != NULL &&
        (with->lineage->unwrap_roles & ~key->lineage->roles & ((1u << 9) - 1)) != 0) {
        *ret_reason = "the wrapping key's CKA_UNWRAP_TEMPLATE leaves an unwrapped key roles that this key never had";
        return CKR_KEY_NOT_WRAPPABLE;
    }
    return CKR_OK;
}

static CK_RV check_wrap_template(const Kml__Head *with, const Kml__Head *key, const char **ret_reason)
{
    const Kml__Attr *attr = km_head_find(with, CKA_WRAP_TEMPLATE);
    Kmw__Template *t = attr != NULL ? kmw__template__unpack(NULL, attr->value.len, attr->value.data) : NULL;
    bool is_match;

    if (attr == NULL)
        return CKR_OK;
    *ret_reason = "out of memory";
    if (t == NULL)
        return CKR_HOST_MEMORY;
    is_match = km_template_matches(key, t);
    kmw__template__free_unpacked(t, NULL);
    *ret_reason = "the key does not match the wrapping key's CKA_WRAP_TEMPLATE";
    return is_match ? CKR_OK : CKR_KEY_HANDLE_INVALID; /* PKCS#11 v3.2 5.18.4 */
}

CK_RV km_lineage_may_wrap(enum km_level level, const Kml__Head *with, const Kml__Head *key, const struct km_mech *mech,
                          const Kmw__Mechanism *param, const char **ret_reason)
{
    if (key->class_ != CKO_PRIVATE_KEY && key->class_ != CKO_SECRET_KEY) {
        *ret_reason = "only private and secret keys are wrapped";
        return CKR_KEY_NOT_WRAPPABLE;
    }
    if (!km_head_bool(key, CKA_EXTRACTABLE, false)) {
        *ret_reason = "the key's CKA_EXTRACTABLE is false";
        return CKR_KEY_UNEXTRACTABLE;
    }
    if (km_head_bool(key, CKA_WRAP_WITH_TRUSTED, false) && !km_head_bool(with, CKA_TRUSTED, false)) {
        *ret_reason = "the key wants a wrapping key with CKA_TRUSTED";
        return CKR_KEY_NOT_WRAPPABLE;
    }
    if (level > KM_LEVEL_OFF && is_kek(with) && !is_sound(mech, param, true /* wrap */)) {
        *ret_reason =
            "a key that wraps sensitive keys does so only by mechanisms that authenticate, with the token's IVs";
        return CKR_KEY_NOT_WRAPPABLE;
    }
    if (level > KM_LEVEL_OFF && km_head_bool(key, CKA_SENSITIVE, true)) {
        CK_RV rv = check_separation(level, with, key, mech, ret_reason);
        if (rv != CKR_OK)
            return rv;
    }
    return check_wrap_template(with, key, ret_reason);
}

CK_RV km_lineage_may_unwrap(enum km_level level, const Kml__Head *with, const struct km_mech *mech,
                            const Kmw__Mechanism *param, const char **ret_reason)
{
    if (level == KM_LEVEL_OFF || !is_kek(with) || is_sound(mech, param, false /* wrap */))
        return CKR_OK;
    *ret_reason = "a key that wraps sensitive keys unwraps only by mechanisms that authenticate";
    return CKR_KEY_FUNCTION_NOT_PERMITTED;
}

CK_RV km_lineage_become(enum km_level level, const Kml__Head *with, bool is_open, Kml__Head *head,
                        const char **ret_reason)
{
    uint32_t allowed;

    if (level == KM_LEVEL_OFF || !is_kek(with))
        return CKR_OK;
    *ret_reason = "out of memory";
    if (is_open && km_head_put_bool(head, CKA_SENSITIVE, true) != KM_OK)
        return CKR_HOST_MEMORY;
    if (!km_head_bool(head, CKA_SENSITIVE, false)) {
        *ret_reason = "what a key that wraps sensitive keys unwraps must be sensitive";
        return CKR_TEMPLATE_INCONSISTENT;
    }
    allowed = with->lineage->unwrap_roles;
    if ((roles_of(head) & ~allowed & (level == KM_LEVEL_STRICT ? ~0u : KEY_ROLES)) != 0) {
        *ret_reason = "the unwrapping key's CKA_UNWRAP_TEMPLATE does not give the new key this role";
        return CKR_TEMPLATE_INCONSISTENT;
    }
    return CKR_OK;
}

/* --- deriving ------------------------------------------------------------------------------------------------------
 */

/* The result has bytes of the base in it. */
static bool keeps_bytes(const struct km_mech *mech)
{
    switch (mech->scheme) {
    case KM_MS_CONCAT_KEY:
    case KM_MS_CONCAT_DATA:
    case KM_MS_DATA_CONCAT:
    case KM_MS_XOR:
    case KM_MS_EXTRACT:
        return true;
    default:
        return false;
    }
}

static bool is_sensitive(const Kml__Head *head)
{
    return head != NULL && km_head_bool(head, CKA_SENSITIVE, true);
}

static bool is_unextractable(const Kml__Head *head)
{
    return head != NULL && !km_head_bool(head, CKA_EXTRACTABLE, false);
}

bool km_lineage_wants_whole(enum km_level level, const Kml__Head *base, const Kml__Head *other,
                            const struct km_mech *mech)
{
    return level > KM_LEVEL_OFF && keeps_bytes(mech) &&
           (is_sensitive(base) || is_unextractable(base) || is_sensitive(other) || is_unextractable(other));
}

static bool has_always(const Kml__Head *base, const Kml__Head *other, CK_ATTRIBUTE_TYPE type)
{
    return km_head_bool(base, type, false) && (other == NULL || km_head_bool(other, type, false));
}

CK_RV km_lineage_derive(enum km_level level, const Kml__Head *base, const Kml__Head *other, const struct km_mech *mech,
                        Kml__Head *head, const char **ret_reason)
{
    bool must_be_sensitive =
        (keeps_bytes(mech) || level == KM_LEVEL_STRICT) && (is_sensitive(base) || is_sensitive(other));
    bool must_stay = keeps_bytes(mech) && (is_unextractable(base) || is_unextractable(other));
    bool sensitive = km_head_bool(head, CKA_SENSITIVE, false), extractable = km_head_bool(head, CKA_EXTRACTABLE, true);

    if (mech->scheme == KM_MS_EXTRACT && km_lineage_wants_whole(level, base, other, mech)) {
        *ret_reason = "a part of a sensitive key could be guessed";
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    }
    if (head->class_ != CKO_SECRET_KEY) {
        *ret_reason = "what is derived from a sensitive key here must be sensitive, which data cannot be";
        return must_be_sensitive ? CKR_KEY_FUNCTION_NOT_PERMITTED : CKR_OK;
    }
    sensitive |= must_be_sensitive;
    extractable &= !must_stay;
    if (km_head_put_bool(head, CKA_SENSITIVE, sensitive) == KM_OK &&
        km_head_put_bool(head, CKA_EXTRACTABLE, extractable) == KM_OK &&
        km_head_put_bool(head, CKA_ALWAYS_SENSITIVE, sensitive && has_always(base, other, CKA_ALWAYS_SENSITIVE)) ==
            KM_OK &&
        km_head_put_bool(head, CKA_NEVER_EXTRACTABLE, !extractable && has_always(base, other, CKA_NEVER_EXTRACTABLE)) ==
            KM_OK)
        return CKR_OK;
    *ret_reason = "out of memory";
    return CKR_HOST_MEMORY;
}
