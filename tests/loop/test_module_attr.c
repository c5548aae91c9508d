/* SPDX-License-Identifier: Apache-2.0
 *
 * Every attribute of every kind of object in every phase of its life, on the token and in the session, by the rules of
 * attr_rules.def; and that no row of attr.def is without one.
 */
#include "loop.h"

#include "../../common/attr.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

enum kind {
    DATA = 1 << 0,
    X509_CERT = 1 << 1,
    ATTR_CERT = 1 << 2,
    WTLS = 1 << 3,
    RSA_PUBLIC = 1 << 4,
    EC_PUBLIC = 1 << 5,
    RSA_PRIVATE = 1 << 6,
    EC_PRIVATE = 1 << 7,
    AES = 1 << 8,
    GENERIC = 1 << 9,
    CERTS = X509_CERT | ATTR_CERT | WTLS,
    PUBLICS = RSA_PUBLIC | EC_PUBLIC,
    PRIVATES = RSA_PRIVATE | EC_PRIVATE,
    SECRETS = AES | GENERIC,
    KEYS = PUBLICS | PRIVATES | SECRETS,
    EVERY = DATA | CERTS | KEYS,
};
#define KINDS 10

static const struct rule {
    unsigned kinds;
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    char init, create, generate, set, copy;
} rules[] = {
#define RULE(kinds, type, init, create, generate, set, copy)                                                           \
    {kinds, type, #type, #init[0], #create[0], #generate[0], #set[0], #copy[0]},
#include "attr_rules.def"
#undef RULE
};
#define N_RULES (sizeof(rules) / sizeof(rules[0]))

static const struct row {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    enum km_attr_kind kind;
    unsigned classes;
    CK_KEY_TYPE subtype;
} rows[] = {
#define KM_ATTR(type, kind, classes, key_type, flags, init) {type, #type, KM_ATTR_##kind, KM_AC_##classes, key_type},
#include "../../common/attr.def"
#undef KM_ATTR
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static const struct {
    const char *name;
    unsigned class; /* enum km_attr_class */
    CK_OBJECT_CLASS cko;
    CK_ULONG subtype;
} kinds[KINDS] = {
    {"data", KM_AC_DATA, CKO_DATA, 0},
    {"X.509 certificate", KM_AC_CERT, CKO_CERTIFICATE, CKC_X_509},
    {"attribute certificate", KM_AC_CERT, CKO_CERTIFICATE, CKC_X_509_ATTR_CERT},
    {"WTLS certificate", KM_AC_CERT, CKO_CERTIFICATE, CKC_WTLS},
    {"RSA public key", KM_AC_PUBLIC, CKO_PUBLIC_KEY, CKK_RSA},
    {"EC public key", KM_AC_PUBLIC, CKO_PUBLIC_KEY, CKK_EC},
    {"RSA private key", KM_AC_PRIVATE, CKO_PRIVATE_KEY, CKK_RSA},
    {"EC private key", KM_AC_PRIVATE, CKO_PRIVATE_KEY, CKK_EC},
    {"AES key", KM_AC_SECRET, CKO_SECRET_KEY, CKK_AES},
    {"generic secret", KM_AC_SECRET, CKO_SECRET_KEY, CKK_GENERIC_SECRET},
};

static CK_SESSION_HANDLE s;
static CK_BBOOL is_token; /* where this round makes its objects */
static const struct rule *trying;
static int kind_now;

static void expect(CK_RV rv, CK_RV expected, const char *phase)
{
    if (rv != expected)
        fail_msg("%s of a %s %s, %s: 0x%lx instead of 0x%lx", trying->name, is_token ? "token" : "session",
                 kinds[kind_now].name, phase, rv, expected);
}

/* --- objects --- */

#define ATTRS_MAX 16
struct template
{
    CK_ATTRIBUTE attrs[ATTRS_MAX];
    CK_ULONG n;
};

static void put(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
    assert_true(t->n < ATTRS_MAX);
    t->attrs[t->n++] = (CK_ATTRIBUTE){type, (void *)value, len};
}

static void drop(struct template *t, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < t->n; i++)
        if (t->attrs[i].type == type)
            t->attrs[i] = t->attrs[--t->n];
}

static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static CK_BYTE scalar[32] = {[31] = 5}, point[67] = {0x04, 65};
static struct {
    CK_BYTE n[512], e[8], d[512];
    CK_ULONG n_len, e_len, d_len;
} rsa;

static CK_ULONG bytes_of(const EVP_PKEY *key, const char *name, CK_BYTE *to)
{
    BIGNUM *bn = NULL;
    int len;

    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &bn), 1);
    len = BN_bn2bin(bn, to);
    BN_free(bn);
    return (CK_ULONG)len;
}

static void make_numbers(void)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    CK_OBJECT_HANDLE h = 0;
    CK_ATTRIBUTE get = {CKA_EC_POINT, point, sizeof(point)};
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC;
    CK_ATTRIBUTE ec[] = {{CKA_CLASS, &class, sizeof(class)},
                         {CKA_KEY_TYPE, &type, sizeof(type)},
                         {CKA_EC_PARAMS, p256, sizeof(p256)},
                         {CKA_VALUE, scalar, sizeof(scalar)}};

    rsa.n_len = bytes_of(key, OSSL_PKEY_PARAM_RSA_N, rsa.n);
    rsa.e_len = bytes_of(key, OSSL_PKEY_PARAM_RSA_E, rsa.e);
    rsa.d_len = bytes_of(key, OSSL_PKEY_PARAM_RSA_D, rsa.d);
    EVP_PKEY_free(key);
    OK(C_CreateObject(s, ec, 4, &h));
    OK(C_GetAttributeValue(s, h, &get, 1));
    assert_int_equal(get.ulValueLen, 67);
}

/* What C_CreateObject needs for an object of this kind, and no more. */
static struct template base(int kind)
{
    struct template t = {.n = 0};

    put(&t, CKA_CLASS, &kinds[kind].cko, sizeof(CK_ULONG));
    put(&t, CKA_TOKEN, &is_token, 1);
    switch (1u << kind) {
    case DATA:
        return t;
    case ATTR_CERT:
        put(&t, CKA_OWNER, "owner", 5);
        break;
    case X509_CERT:
    case WTLS:
        put(&t, CKA_SUBJECT, "subject", 7);
        break;
    case RSA_PUBLIC:
    case RSA_PRIVATE:
        put(&t, CKA_MODULUS, rsa.n, rsa.n_len);
        put(&t, CKA_PUBLIC_EXPONENT, rsa.e, rsa.e_len);
        break;
    case EC_PUBLIC:
    case EC_PRIVATE:
        put(&t, CKA_EC_PARAMS, p256, sizeof(p256));
        break;
    default:
        put(&t, CKA_VALUE, "0123456789abcdef", 16);
    }
    if ((1u << kind) & CERTS)
        put(&t, CKA_VALUE, "certificate", 11);
    put(&t, (1u << kind) & CERTS ? CKA_CERTIFICATE_TYPE : CKA_KEY_TYPE, &kinds[kind].subtype, sizeof(CK_ULONG));
    if (1u << kind == RSA_PRIVATE)
        put(&t, CKA_PRIVATE_EXPONENT, rsa.d, rsa.d_len);
    if (1u << kind == EC_PRIVATE)
        put(&t, CKA_VALUE, scalar, sizeof(scalar));
    if (1u << kind == EC_PUBLIC)
        put(&t, CKA_EC_POINT, point, sizeof(point));
    return t;
}

static CK_RV create(struct template *t, CK_OBJECT_HANDLE *ret)
{
    return F->C_CreateObject(s, t->attrs, t->n, ret);
}

static CK_RV generate(int kind, struct template *public, struct template *private, CK_OBJECT_HANDLE *ret)
{
    bool is_public = (1u << kind) & PUBLICS;
    CK_MECHANISM m = {kinds[kind].subtype == CKK_RSA   ? CKM_RSA_PKCS_KEY_PAIR_GEN
                      : kinds[kind].subtype == CKK_EC  ? CKM_EC_KEY_PAIR_GEN
                      : kinds[kind].subtype == CKK_AES ? CKM_AES_KEY_GEN
                                                       : CKM_GENERIC_SECRET_KEY_GEN,
                      NULL, 0};
    CK_OBJECT_HANDLE other;

    if ((1u << kind) & SECRETS)
        return F->C_GenerateKey(s, &m, private->attrs, private->n, ret);
    return F->C_GenerateKeyPair(s, &m, public->attrs, public->n, private->attrs, private->n, is_public ? ret : &other,
                                is_public ? &other : ret);
}

/* --- values --- */

static enum km_attr_kind form(CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (rows[i].type == type)
            return rows[i].kind;
    fail_msg("attribute 0x%lx is not in attr.def", type);
    return KM_ATTR_BYTES;
}

/* A value of the right form that is not the default one. */
static CK_ATTRIBUTE sample(CK_ATTRIBUTE_TYPE type)
{
    static CK_BBOOL yes = CK_TRUE;
    static CK_ULONG number = 0x55; /* nothing's default */
    static CK_MECHANISM_TYPE mechanisms[] = {CKM_ECDSA, CKM_AES_GCM};
    static CK_ATTRIBUTE nested[] = {{CKA_LABEL, "inner", 5}, {CKA_EXTRACTABLE, &yes, 1}};

    switch (form(type)) {
    case KM_ATTR_BOOL:
        return (CK_ATTRIBUTE){type, &yes, 1};
    case KM_ATTR_ULONG:
        return (CK_ATTRIBUTE){type, &number, sizeof(number)};
    case KM_ATTR_DATE:
        return (CK_ATTRIBUTE){type, type == CKA_START_DATE ? "20240229" : "20991231", 8};
    case KM_ATTR_TEMPLATE:
        return (CK_ATTRIBUTE){type, nested, sizeof(nested)};
    case KM_ATTR_MECHANISMS:
        return (CK_ATTRIBUTE){type, mechanisms, sizeof(mechanisms)};
    case KM_ATTR_BYTES:
        break;
    }
    return (CK_ATTRIBUTE){type, "sample", 6};
}

static CK_ATTRIBUTE truth(CK_ATTRIBUTE_TYPE type, bool value)
{
    static CK_BBOOL values[] = {CK_FALSE, CK_TRUE};

    return (CK_ATTRIBUTE){type, &values[value], 1};
}

static bool read_bool(CK_OBJECT_HANDLE h, const char *phase)
{
    CK_BBOOL value = 2;
    CK_ATTRIBUTE get = {trying->type, &value, 1};

    expect(F->C_GetAttributeValue(s, h, &get, 1), CKR_OK, phase);
    assert_true(value <= 1);
    return value;
}

/* The object has the value, by the rules for lengths, types inside and values. */
static void must_have(CK_OBJECT_HANDLE h, const CK_ATTRIBUTE *wanted, const char *phase)
{
    CK_BYTE buffer[64], inner[2][8];
    CK_ATTRIBUTE get = {wanted->type, NULL, 0}, elements[2] = {{0, NULL, 0}, {0, NULL, 0}};

    expect(F->C_GetAttributeValue(s, h, &get, 1), CKR_OK, phase);
    if (get.ulValueLen != wanted->ulValueLen)
        fail_msg("%s of a %s: %lu bytes instead of %lu", trying->name, kinds[kind_now].name, get.ulValueLen,
                 wanted->ulValueLen);
    if (form(wanted->type) != KM_ATTR_TEMPLATE) {
        get.pValue = buffer;
        get.ulValueLen = sizeof(buffer);
        expect(F->C_GetAttributeValue(s, h, &get, 1), CKR_OK, phase);
        assert_memory_equal(buffer, wanted->pValue, wanted->ulValueLen);
        return;
    }
    get.pValue = elements;
    expect(F->C_GetAttributeValue(s, h, &get, 1), CKR_OK, phase);
    assert_true(elements[0].type == CKA_LABEL && elements[0].ulValueLen == 5);
    assert_true(elements[1].type == CKA_EXTRACTABLE && elements[1].ulValueLen == 1);
    elements[0].pValue = inner[0];
    elements[1].pValue = inner[1];
    expect(F->C_GetAttributeValue(s, h, &get, 1), CKR_OK, phase);
    assert_memory_equal(inner[0], "inner", 5);
    assert_int_equal(inner[1][0], CK_TRUE);
    elements[0].ulValueLen = 4;
    expect(F->C_GetAttributeValue(s, h, &get, 1), CKR_BUFFER_TOO_SMALL, phase);
    get.ulValueLen = sizeof(CK_ATTRIBUTE);
    expect(F->C_GetAttributeValue(s, h, &get, 1), CKR_BUFFER_TOO_SMALL, phase);
    assert_true(get.ulValueLen == CK_UNAVAILABLE_INFORMATION);
}

/* --- phases --- */

static void try_default(CK_OBJECT_HANDLE h)
{
    CK_BYTE buffer[1024];
    CK_ATTRIBUTE get = {trying->type, buffer, sizeof(buffer)};
    CK_RV rv;

    if (trying->init == 'X')
        return;
    rv = F->C_GetAttributeValue(s, h, &get, 1);
    if (trying->init == 'A' || trying->init == 'H') {
        expect(rv, trying->init == 'A' ? CKR_ATTRIBUTE_TYPE_INVALID : CKR_ATTRIBUTE_SENSITIVE, "default");
        assert_true(get.ulValueLen == CK_UNAVAILABLE_INFORMATION);
        return;
    }
    expect(rv, CKR_OK, "default");
    if (trying->init == 'F' || trying->init == 'T') {
        if (get.ulValueLen != 1 || buffer[0] != (trying->init == 'T'))
            fail_msg("%s of a %s is not %c by default", trying->name, kinds[kind_now].name, trying->init);
        return;
    }
    if (trying->init == 'C' && get.ulValueLen == 0)
        fail_msg("%s of a %s is empty", trying->name, kinds[kind_now].name);
    for (CK_ULONG i = 0; trying->init == 'E' && i < get.ulValueLen; i++)
        if (buffer[i] != 0)
            fail_msg("%s of a %s is not empty by default", trying->name, kinds[kind_now].name);
}

/* `rv` of making a new object with `given`, whose handle is `h` if there is one. */
static void judge_new(char code, CK_RV rv, CK_OBJECT_HANDLE h, const CK_ATTRIBUTE *given, const char *phase)
{
    switch (code) {
    case 'Y':
        expect(rv, CKR_OK, phase);
        must_have(h, given, phase);
        break;
    case 'N':
    case 'S':
        expect(rv, CKR_ATTRIBUTE_READ_ONLY, phase);
        break;
    case 'M':
        expect(rv, CKR_ATTRIBUTE_VALUE_INVALID, phase);
        break;
    case 'I':
        expect(rv, CKR_TEMPLATE_INCONSISTENT, phase);
        break;
    case 'R':
        expect(rv, CKR_TEMPLATE_INCOMPLETE, phase);
        break;
    default:
        fail_msg("no rule %c", code);
    }
}

static void try_create(int kind)
{
    struct template t = base(kind);
    CK_ATTRIBUTE given = sample(trying->type);
    CK_OBJECT_HANDLE h = 0;
    CK_RV rv;

    if (trying->create == 'X')
        return;
    drop(&t, trying->type);
    if (trying->create != 'R')
        put(&t, given.type, given.pValue, given.ulValueLen);
    rv = create(&t, &h);
    judge_new(trying->create, rv, h, &given, "C_CreateObject");
    if (trying->create == 'S' || (trying->create == 'Y' && form(trying->type) == KM_ATTR_BOOL)) {
        given = truth(trying->type, false);
        t.attrs[t.n - 1] = given;
        expect(create(&t, &h), CKR_OK, "C_CreateObject with false");
        must_have(h, &given, "C_CreateObject with false");
    }
}

static void try_generate(int kind)
{
    struct template public = {.n = 0}, private = {.n = 0}, *mine = (1u << kind) & PUBLICS ? &public : &private;
    CK_ATTRIBUTE given = sample(trying->type);
    CK_ULONG bits = 2048, len = 16;
    CK_OBJECT_HANDLE h = 0;
    CK_RV rv;

    if (trying->generate == 'X' || !((1u << kind) & KEYS) ||
        (kinds[kind].subtype == CKK_RSA && trying->generate == 'Y')) /* takes long */
        return;
    put(&public, CKA_TOKEN, &is_token, 1);
    put(&private, CKA_TOKEN, &is_token, 1);
    put(&public, kinds[kind].subtype == CKK_RSA ? CKA_MODULUS_BITS : CKA_EC_PARAMS,
        kinds[kind].subtype == CKK_RSA ? (void *)&bits : p256,
        kinds[kind].subtype == CKK_RSA ? sizeof(bits) : sizeof(p256));
    if ((1u << kind) & SECRETS)
        put(&private, CKA_VALUE_LEN, &len, sizeof(len));
    drop(mine, trying->type);
    if (trying->generate != 'R')
        put(mine, given.type, given.pValue, given.ulValueLen);
    rv = generate(kind, &public, &private, &h);
    judge_new(trying->generate, rv, h, &given, "C_GenerateKey");
}

/* An object in which the attribute can change: as made by default, or with `start`. */
static CK_OBJECT_HANDLE subject(int kind, const CK_ATTRIBUTE *start)
{
    struct template t = base(kind);
    CK_OBJECT_HANDLE h = 0;

    if (start != NULL) {
        drop(&t, start->type);
        put(&t, start->type, start->pValue, start->ulValueLen);
    }
    expect(create(&t, &h), CKR_OK, "an object to change");
    return h;
}

typedef CK_RV change_fn(CK_OBJECT_HANDLE *h, const CK_ATTRIBUTE *to);

static CK_RV set(CK_OBJECT_HANDLE *h, const CK_ATTRIBUTE *to)
{
    return F->C_SetAttributeValue(s, *h, (CK_ATTRIBUTE *)to, 1);
}

static CK_RV copy(CK_OBJECT_HANDLE *h, const CK_ATTRIBUTE *to)
{
    return F->C_CopyObject(s, *h, (CK_ATTRIBUTE *)to, 1, h);
}

static void try_change(int kind, char code, change_fn *change, const char *phase)
{
    bool is_bool = form(trying->type) == KM_ATTR_BOOL, is_up = code == 'U' || code == 'S';
    CK_ATTRIBUTE to = sample(trying->type), back = truth(trying->type, !is_up);
    CK_OBJECT_HANDLE h;

    if (code == 'X')
        return;
    if (code == 'U' || code == 'D') {
        h = subject(kind, &back);
        to = truth(trying->type, is_up);
        expect(change(&h, &back), CKR_OK, phase); /* what it is already */
        expect(change(&h, &to), CKR_OK, phase);
        must_have(h, &to, phase);
        expect(change(&h, &back), CKR_ATTRIBUTE_READ_ONLY, "back");
        return;
    }
    h = subject(kind, NULL);
    if (is_bool && code != 'S')
        to = truth(trying->type, !read_bool(h, phase));
    expect(change(&h, &to), code == 'Y' ? CKR_OK : CKR_ATTRIBUTE_READ_ONLY, phase);
    if (code == 'Y')
        must_have(h, &to, phase);
}

/* --- tests --- */

static void no_attribute_is_without_a_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            bool is_ruled = !(rows[i].classes & kinds[kind].class) ||
                            (rows[i].subtype != KM_KEY_TYPE_ANY && rows[i].subtype != kinds[kind].subtype);
            for (size_t k = 0; k < N_RULES; k++)
                is_ruled |= rules[k].type == rows[i].type && (rules[k].kinds & 1u << kind);
            if (!is_ruled)
                fail_msg("tests/loop/attr_rules.def has no rule for %s of a %s", rows[i].name, kinds[kind].name);
        }
    }
}

static void every_rule_holds(bool on_token)
{
    CK_OBJECT_HANDLE h;

    is_token = on_token;
    for (kind_now = 0; kind_now < KINDS; kind_now++) {
        trying = &rules[0];
        h = subject(kind_now, NULL);
        for (trying = rules; trying < rules + N_RULES; trying++) {
            if (!(trying->kinds & 1u << kind_now))
                continue;
            try_default(h);
            if (1u << kind_now == RSA_PRIVATE && (trying->kinds & EC_PRIVATE)) /* RSA takes long: EC stands for it */
                continue;
            try_create(kind_now);
            try_generate(kind_now);
            try_change(kind_now, trying->set, set, "C_SetAttributeValue");
            try_change(kind_now, trying->copy, copy, "C_CopyObject");
        }
    }
}

static void every_rule_holds_on_the_token(void **state)
{
    (void)state;
    every_rule_holds(true);
}

static void every_rule_holds_in_the_session(void **state)
{
    (void)state;
    every_rule_holds(false);
}

static CK_BBOOL trusted(CK_OBJECT_HANDLE h)
{
    CK_BBOOL value = 2;
    CK_ATTRIBUTE get = {CKA_TRUSTED, &value, 1};

    OK(C_GetAttributeValue(s, h, &get, 1));
    return value;
}

static void only_the_so_trusts(void **state)
{
    CK_ATTRIBUTE yes = truth(CKA_TRUSTED, true), no = truth(CKA_TRUSTED, false);
    const char *so_pin = getenv("KEYMOOT_SO_PIN");
    CK_OBJECT_HANDLE made[2], later[2];
    (void)state;

    if (so_pin == NULL)
        skip();
    is_token = CK_TRUE;
    for (int i = 0; i < 2; i++) {
        struct template t = base(i == 0 ? 1 : 5);
        OK(C_CreateObject(s, t.attrs, t.n, &later[i]));
        RV(C_SetAttributeValue(s, later[i], &yes, 1), CKR_ATTRIBUTE_READ_ONLY);
    }
    OK(C_Logout(s));
    OK(C_Login(s, CKU_SO, (CK_UTF8CHAR *)so_pin, strlen(so_pin)));
    for (int i = 0; i < 2; i++) {
        struct template t = base(i == 0 ? 1 : 5);
        put(&t, CKA_TRUSTED, yes.pValue, 1);
        OK(C_CreateObject(s, t.attrs, t.n, &made[i]));
        OK(C_SetAttributeValue(s, later[i], &yes, 1));
    }
    OK(C_Logout(s));
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    for (int i = 0; i < 2; i++) {
        assert_true(trusted(made[i]) && trusted(later[i]));
        OK(C_SetAttributeValue(s, made[i], &no, 1)); /* to trust less is anybody's */
        RV(C_SetAttributeValue(s, made[i], &yes, 1), CKR_ATTRIBUTE_READ_ONLY);
    }
}

static int setup(void **state)
{
    int rv = loop_setup(state);

    s = loop_login();
    make_numbers();
    return rv;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_attribute_is_without_a_rule),
        cmocka_unit_test(every_rule_holds_in_the_session),
        cmocka_unit_test(every_rule_holds_on_the_token),
        cmocka_unit_test(only_the_so_trusts),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
