/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates at random against km_template_new, _copy, _set and _may_use: nothing may crash, leak (under ASan) or break
 * what every head promises. The generator is seeded: `fuzz_template [seed [milliseconds]]`; a failure prints the seed
 * of its round, which is then the first.
 */
#include "../../common/attr.h"
#include "../../server/hsm/head.h"
#include "../../server/service/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t seed;

static uint32_t next(uint32_t below) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * UINT64_C(2685821657736338717)) >> 33) % below;
}

#define CHECK(claim)                                                                                                   \
    do {                                                                                                               \
        if (!(claim)) {                                                                                                \
            fprintf(stderr, "fuzz_template: %s does not hold, seed %llu\n", #claim, (unsigned long long)round_seed);   \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint64_t round_seed;

static const uint8_t oids[3][10] = {{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07},
                                    {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22},
                                    {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23}};

static size_t likely_ulong(CK_ATTRIBUTE_TYPE type, uint8_t *to)
{
    static const CK_ULONG types[] = {CKK_RSA, CKK_EC, CKK_AES, CKK_GENERIC_SECRET, 99},
                          sizes[] = {16, 32, 2048, 4096, 20};

    km_attr_put_u64(to, type == CKA_CLASS ? next(6) : type == CKA_KEY_TYPE ? types[next(5)] : sizes[next(5)]);
    return 8;
}

/* Values that are mostly of the right form, so that the rules behind the form are reached. */
static size_t value_for(CK_ATTRIBUTE_TYPE type, uint8_t *to)
{
    if (next(12) == 0) { /* nonsense */
        size_t len = next(40);
        for (size_t i = 0; i < len; i++)
            to[i] = (uint8_t)next(256);
        return len;
    }
    switch (km_attr_kind(type)) {
    case KM_ATTR_BOOL:
        to[0] = (uint8_t)next(2);
        return 1;
    case KM_ATTR_ULONG:
        return likely_ulong(type, to);
    case KM_ATTR_DATE:
        memcpy(to, next(2) ? "20261122" : "20301231", 8);
        return next(3) ? 8 : 0;
    case KM_ATTR_MECHANISMS:
        for (size_t i = 0; i < 3; i++)
            km_attr_put_u64(to + 8 * i, next(0x1100));
        return 8 * (size_t)next(4);
    case KM_ATTR_TEMPLATE:
        memcpy(to, "\x0a\x06\x08\x83\x02\x12\x01\x01", 8);
        return next(4) ? 0 : 8;
    default:
        break;
    }
    if (type == CKA_EC_PARAMS) {
        uint32_t i = next(3);
        memcpy(to, oids[i], 10);
        return i == 0 ? 10 : 7;
    }
    for (size_t i = 0; i < 300; i++)
        to[i] = (uint8_t)next(256);
    to[0] = type == CKA_EC_POINT ? 4 : to[0];
    return type == CKA_EC_POINT ? 65 : type == CKA_MODULUS ? 256 : type == CKA_PUBLIC_EXPONENT ? 3 : next(300);
}

static CK_ATTRIBUTE_TYPE some_type(void)
{
    const struct km_attr_row *rows;
    size_t n;

    rows = km_attr_rows(&n);
    return next(50) == 0 ? next(0x700) : rows[next((uint32_t)n)].type;
}

static Kmw__Attr *attr_new(CK_ATTRIBUTE_TYPE type)
{
    uint8_t value[512];
    size_t len = value_for(type, value);
    Kmw__Attr *attr = malloc(sizeof(*attr));

    kmw__attr__init(attr);
    attr->type = type;
    attr->value.data = malloc(len + 1);
    attr->value.len = len;
    memcpy(attr->value.data, value, len);
    return attr;
}

/* Some attributes, and often those that a class needs. */
static Kmw__Template *template_new(bool is_creation)
{
    static const CK_ATTRIBUTE_TYPE needed[] = {CKA_CLASS,     CKA_KEY_TYPE,  CKA_VALUE,
                                               CKA_EC_PARAMS, CKA_VALUE_LEN, CKA_MODULUS_BITS};
    Kmw__Template *t = malloc(sizeof(*t));
    size_t n = next(1 + next(is_creation ? 8 : 4)), n_needed = is_creation ? 2 + next(3) : next(2) ? 4 + next(3) : 0;

    kmw__template__init(t);
    t->attrs = calloc(n + 8, sizeof(t->attrs[0]));
    for (size_t i = is_creation ? 0 : 3; i < n_needed && i < 6; i++)
        t->attrs[t->n_attrs++] = attr_new(needed[i]);
    for (size_t i = 0; i < n; i++)
        t->attrs[t->n_attrs++] = attr_new(some_type());
    return t;
}

static void check_promises(const Kml__Head *head)
{
    bool has_secret = head->class_ == CKO_PRIVATE_KEY || head->class_ == CKO_SECRET_KEY;

    CHECK(head->id.len == KM_OBJECT_ID_LEN);
    CHECK(km_head_ulong(head, CKA_CLASS, 99) == head->class_);
    CHECK(head->is_session == !km_head_bool(head, CKA_TOKEN, true));
    CHECK(head->is_private == km_head_bool(head, CKA_PRIVATE, !head->is_private));
    for (size_t i = 0; i < head->n_attrs; i++) {
        const Kml__Attr *attr = head->attrs[i];
        const struct km_attr_row *row = km_attr_row(attr->type, head->class_, head->key_type);
        CHECK(i == 0 || head->attrs[i - 1]->type < attr->type);
        CHECK(row != NULL && (row->flags & KM_AF_SECRET) == 0);
        CHECK(km_attr_is_valid(attr->type, attr->value.data, attr->value.len));
    }
    if (has_secret) {
        CHECK(km_head_find(head, CKA_SENSITIVE) != NULL && km_head_find(head, CKA_EXTRACTABLE) != NULL);
        CHECK(!km_head_bool(head, CKA_ALWAYS_SENSITIVE, true) || km_head_bool(head, CKA_SENSITIVE, false));
        CHECK(!km_head_bool(head, CKA_NEVER_EXTRACTABLE, true) || !km_head_bool(head, CKA_EXTRACTABLE, true));
    }
    CHECK(!km_head_bool(head, CKA_TRUSTED, false));
}

/* No one-way attribute went the wrong way. */
static void check_narrower(const Kml__Head *old, const Kml__Head *new)
{
    for (size_t i = 0; i < old->n_attrs; i++) {
        CK_ATTRIBUTE_TYPE type = old->attrs[i]->type;
        const struct km_attr_row *row = km_attr_row(type, old->class_, old->key_type);
        bool was = km_head_bool(old, type, false), is = km_head_bool(new, type, false);
        CHECK((row->flags & KM_AF_UP) == 0 || !was || is);
        CHECK((row->flags & KM_AF_DOWN) == 0 || was || !is);
        CHECK((row->flags & (KM_AF_SET | KM_AF_COPY)) != 0 || type == CKA_UNIQUE_ID || was == is);
    }
}

static void change(const Kml__Head *head, bool is_copy)
{
    Kmw__Template *t = template_new(false);
    Kml__Head *changed = NULL;
    const char *reason = NULL;
    CK_RV rv = is_copy ? km_template_copy(head, t, false, &changed, &reason)
                       : km_template_set(head, t, false, &changed, &reason);

    if (rv == CKR_OK) {
        check_promises(changed);
        check_narrower(head, changed);
        if (is_copy && !head->is_session && changed->is_session &&
            (head->class_ == CKO_PRIVATE_KEY || head->class_ == CKO_SECRET_KEY))
            CHECK(!km_head_bool(head, CKA_SENSITIVE, true) && km_head_bool(head, CKA_EXTRACTABLE, false));
        kml__head__free_unpacked(changed, NULL);
    } else {
        CHECK(changed == NULL && reason != NULL);
    }
    kmw__template__free_unpacked(t, NULL);
}

static bool one_round(void)
{
    static const CK_MECHANISM_TYPE mechs[] = {CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_EC_KEY_PAIR_GEN, CKM_AES_KEY_GEN,
                                              CKM_GENERIC_SECRET_KEY_GEN};
    bool is_creation = next(2);
    const struct km_mech *mech = km_mech(mechs[next(4)]), *used;
    const struct km_mech *all;
    Kmw__Template *t = template_new(is_creation);
    Kml__Head *head = NULL;
    Kml__Attr **secrets = NULL;
    const char *reason = NULL;
    size_t n = 0, n_mechs;
    CK_RV rv = km_template_new(t, is_creation ? KM_TP_CREATE : KM_TP_GENERATE, mech, CKO_PUBLIC_KEY + next(3), false,
                               &head, &secrets, &n, &reason);

    all = km_mechs(&n_mechs);
    used = &all[next((uint32_t)n_mechs)];
    kmw__template__free_unpacked(t, NULL);
    if (rv != CKR_OK) {
        CHECK(head == NULL && secrets == NULL && reason != NULL);
        return false;
    }
    check_promises(head);
    CHECK(n == 0 || head->class_ == CKO_PRIVATE_KEY || head->class_ == CKO_SECRET_KEY);
    km_template_may_use(head, used, (Kmw__Use__Operation)next(5), (uint64_t)next(1u << 31) * 1000, &reason);
    for (int i = 0; i < 4; i++)
        change(head, i % 2);
    km_template_secrets_free(secrets, n);
    kml__head__free_unpacked(head, NULL);
    return true;
}

int main(int argc, char **argv)
{
    uint64_t start = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, rounds = 0, taken = 0;
    long milliseconds = argc > 2 ? strtol(argv[2], NULL, 0) : 2000;
    struct timespec begin, now;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        for (int i = 0; i < 100; i++, rounds++) {
            round_seed = start + rounds;
            seed = round_seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
            taken += one_round();
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < milliseconds);
    printf("%llu templates from seed %llu, %llu made an object\n", (unsigned long long)rounds,
           (unsigned long long)start, (unsigned long long)taken);
    return taken > rounds / 100 ? 0 : 1; /* else the generator misses the point */
}
