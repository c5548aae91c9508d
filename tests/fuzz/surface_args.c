/* SPDX-License-Identifier: Apache-2.0
 *
 * Where arguments come from. One thread.
 */
#include "surface_args.h"

#include "../../common/mech.h"

#include <stdlib.h>

#define BLOCKS 256
#define OUT_MAX 1024
#define GUARD 16
#define GUARD_BYTE 0xa5

CK_SESSION_HANDLE sessions[SESSIONS];
size_t the_session;
CK_OBJECT_HANDLE objects[OBJECTS];
CK_OBJECT_HANDLE kept[KEPT];
CK_BYTE p256[10] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

static const uint8_t *input;
static size_t input_len;

void args_begin(const uint8_t *data_, size_t len)
{
    input = data_;
    input_len = len;
}

bool args_left(void)
{
    return input_len > 0;
}

uint8_t take(void)
{
    if (input_len == 0)
        return 0;
    input_len--;
    return *input++;
}

size_t take_below(size_t n)
{
    return take() % n;
}

bool odd(void)
{
    return take() >= 248;
}

CK_ULONG take_ulong(void)
{
    static const CK_ULONG numbers[] = {0, 1, 2, 7, 8, 15, 16, 17, 32, 255, 256, 4096, 65537, HUGE, ~0UL, ~0UL - 7};
    uint8_t kind = take();

    return kind < 128 ? numbers[kind % COUNT(numbers)] : (CK_ULONG)take() << (kind % 56);
}

/* --- memory --- */

static struct block {
    uint8_t *memory;
    size_t guarded; /* writable bytes before the guard; 0: no guard */
} blocks[BLOCKS];
static size_t n_blocks;

static uint8_t *add_block(size_t len, size_t guarded)
{
    uint8_t *memory = malloc(len > 0 ? len : 1);

    assert(memory != NULL && n_blocks < BLOCKS);
    blocks[n_blocks++] = (struct block){memory, guarded};
    return memory;
}

uint8_t *bytes(size_t len)
{
    uint8_t *memory = add_block(len, 0);

    for (size_t i = 0; i < len; i++)
        memory[i] = i < 16 ? take() : (uint8_t)i;
    return memory;
}

uint8_t *writable(size_t len)
{
    uint8_t *memory = add_block(len + GUARD, len);

    memset(memory, GUARD_BYTE, len + GUARD);
    return memory;
}

bool args_are_full(void)
{
    return n_blocks > BLOCKS - 64;
}

void args_end(void)
{
    while (n_blocks > 0) {
        struct block *block = &blocks[--n_blocks];
        for (size_t i = 0; block->guarded > 0 && i < GUARD; i++)
            assert(block->memory[block->guarded + i] == GUARD_BYTE);
        free(block->memory);
    }
}

/* --- data and handles --- */

struct in data(bool can_be_huge)
{
    static const uint16_t lens[] = {0,  1,  15, 16,  16,  17,  20,  31,  32,  32,  33,
                                    48, 64, 65, 100, 128, 255, 256, 257, 300, 512, 2000};
    CK_ULONG len = lens[take_below(COUNT(lens))];

    if (!odd())
        return (struct in){bytes(len), len};
    if (can_be_huge && take() & 1)
        return (struct in){bytes(16), HUGE};
    return (struct in){NULL, take() & 1 ? 0 : take_ulong()};
}

struct out output(const struct in *over)
{
    struct out o = {NULL, 0, 0, NULL};
    uint8_t kind = take();

    if (kind < 24) { /* asks for the length, and the variable holds anything */
        o.len = o.room = take_ulong();
    } else if (kind < 48 && over != NULL && over->p != NULL && over->len < HUGE) {
        o.p = over->p;
        o.room = o.len = over->len;
    } else {
        o.room = o.len = kind % 4 == 0 ? take_below(64) : kind % 4 == 1 ? 32 : OUT_MAX;
        o.p = writable(o.room);
    }
    return o;
}

CK_ULONG *len_of(struct out *o)
{
    o->len_p = odd() ? NULL : &o->len;
    return o->len_p;
}

void check_out(CK_RV rv, const struct out *o)
{
    assert(rv != CKR_OK || o->p == NULL || o->len_p == NULL || o->len <= o->room);
}

CK_SESSION_HANDLE session(void)
{
    if (odd())
        return take_ulong();
    return sessions[odd() ? take_below(SESSIONS) : the_session];
}

CK_OBJECT_HANDLE object(void)
{
    return odd() ? take_ulong() : objects[take_below(OBJECTS)];
}

CK_OBJECT_HANDLE *keep_object(void)
{
    return odd() ? NULL : &objects[OBJECTS / 2 + take_below(OBJECTS / 2)];
}

/* --- mechanisms --- */

/* A structure with pointers into exact memory, or bytes; of any mechanism. */
static void any_parameter(CK_MECHANISM *mech)
{
    struct in a = data(true), b = data(true);
    CK_ULONG n = take_ulong();
    size_t len = 0;
    union {
        CK_GCM_PARAMS gcm;
        CK_CCM_PARAMS ccm;
        CK_AES_CTR_PARAMS ctr;
        CK_RSA_PKCS_PSS_PARAMS pss;
        CK_RSA_PKCS_OAEP_PARAMS oaep;
        CK_ECDH1_DERIVE_PARAMS ecdh;
        CK_SALSA20_CHACHA20_POLY1305_PARAMS chacha;
        CK_EDDSA_PARAMS eddsa;
        CK_HKDF_PARAMS hkdf;
        CK_KEY_DERIVATION_STRING_DATA string;
        CK_SP800_108_KDF_PARAMS kdf;
        CK_PKCS5_PBKD2_PARAMS2 pbkdf2;
        CK_ULONG number;
        CK_BYTE iv[16];
    } u;

    memset(&u, 0, sizeof(u));
#define SET(member, ...)                                                                                               \
    do {                                                                                                               \
        len = sizeof(u.member);                                                                                        \
        memcpy(&u, &(__typeof__(u.member))__VA_ARGS__, len);                                                           \
    } while (0)
    switch (take_below(15)) {
    case 0:
        return; /* none */
    case 1:
        SET(gcm, {a.p, a.len, n, b.p, b.len, take() & 1 ? 128 : take_ulong()});
        break;
    case 2:
        SET(ccm, {take_below(100), a.p, a.len, b.p, b.len, take_below(20)});
        break;
    case 3:
        SET(ctr, {take() & 1 ? 128 : n, {0}});
        break;
    case 4:
        SET(pss, {take() & 1 ? CKM_SHA256 : n, take() & 1 ? CKG_MGF1_SHA256 : n, take_ulong()});
        break;
    case 5:
        SET(oaep, {take() & 1 ? CKM_SHA256 : n, CKG_MGF1_SHA256, take_below(3), a.p, a.len});
        break;
    case 6:
        SET(ecdh, {take_below(10), a.len, a.p, b.len, b.p});
        break;
    case 7:
        SET(chacha, {a.p, a.len, b.p, b.len});
        break;
    case 8:
        SET(eddsa, {take() & 1, a.len, a.p});
        break;
    case 9:
        SET(hkdf, {take() & 1, take() & 1, CKM_SHA256, take_below(8), a.p, a.len, object(), b.p, b.len});
        break;
    case 10:
        SET(string, {a.p, a.len});
        break;
    case 11:
        SET(kdf, {CKM_SHA256_HMAC, odd() ? n : 0, NULL, odd() ? n : 0, NULL});
        break;
    case 12:
        SET(pbkdf2, {1, a.p, a.len, take_below(100), take_below(9), NULL, odd() ? n : 0, b.p, b.len});
        break;
    case 13:
        SET(number, {n});
        break;
    default:
        len = 16;
    }
#undef SET
    mech->pParameter = bytes(len);
    memcpy(mech->pParameter, &u, len);
    mech->ulParameterLen = odd() ? take_ulong() % (len + 1) : odd() ? HUGE : len;
}

CK_MECHANISM *any_mechanism(void)
{
    static CK_MECHANISM mech;
    size_t n;
    const struct km_mech *all = km_mechs(&n);

    if (odd())
        return NULL;
    mech = (CK_MECHANISM){odd() ? take_ulong() : all[(size_t)take() * n / 256].type, NULL, 0};
    if (mech.mechanism == CKM_RSA_PKCS_KEY_PAIR_GEN) /* takes too long to be drawn often */
        mech.mechanism = CKM_EC_KEY_PAIR_GEN;
    any_parameter(&mech);
    return &mech;
}

CK_MECHANISM *mostly(CK_MECHANISM given)
{
    static CK_MECHANISM mech;

    mech = given;
    return odd() ? any_mechanism() : &mech;
}

static CK_BYTE iv[16];
static CK_GCM_PARAMS gcm = {iv, 12, 96, iv, 16, 128};
static CK_CCM_PARAMS ccm = {32, iv, 12, iv, 16, 16};
static CK_AES_CTR_PARAMS ctr = {128, {0}};
static CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, 32};
static CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, iv, 16};
static CK_ULONG mac_len = 8;

static const struct recipe {
    const char *what;
    CK_MECHANISM mech;
    enum kept use, other; /* `other`: for what the public half does */
} recipes[] = {
    {"ED", {CKM_AES_CBC, iv, 16}, AES, AES},
    {"ED", {CKM_AES_CBC_PAD, iv, 16}, AES, AES},
    {"ED", {CKM_AES_ECB, NULL, 0}, AES, AES},
    {"ED", {CKM_AES_CTR, &ctr, sizeof(ctr)}, AES, AES},
    {"ED", {CKM_AES_CTS, iv, 16}, AES, AES},
    {"ED", {CKM_AES_GCM, &gcm, sizeof(gcm)}, AES, AES},
    {"ED", {CKM_AES_CCM, &ccm, sizeof(ccm)}, AES, AES},
    {"SV", {CKM_AES_CMAC, NULL, 0}, AES, AES},
    {"SV", {CKM_SHA256_HMAC, NULL, 0}, SECRET, SECRET},
    {"SV", {CKM_SHA256_HMAC_GENERAL, &mac_len, sizeof(mac_len)}, SECRET, SECRET},
    {"SV", {CKM_ECDSA, NULL, 0}, EC_PRIVATE, EC_PUBLIC},
    {"SV", {CKM_ECDSA_SHA256, NULL, 0}, EC_PRIVATE, EC_PUBLIC},
    {"SVED", {CKM_RSA_PKCS, NULL, 0}, RSA_PRIVATE, RSA_PUBLIC},
    {"SV", {CKM_SHA256_RSA_PKCS, NULL, 0}, RSA_PRIVATE, RSA_PUBLIC},
    {"SV", {CKM_SHA256_RSA_PKCS_PSS, &pss, sizeof(pss)}, RSA_PRIVATE, RSA_PUBLIC},
    {"ED", {CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep)}, RSA_PRIVATE, RSA_PUBLIC},
    {"G", {CKM_SHA256, NULL, 0}, AES, AES},
    {"G", {CKM_SHA3_512, NULL, 0}, AES, AES},
};

CK_MECHANISM *fitting(char what, CK_OBJECT_HANDLE *ret_key)
{
    static CK_MECHANISM mech;
    size_t at = take_below(COUNT(recipes));

    while (strchr(recipes[at].what, what) == NULL)
        at = (at + 1) % COUNT(recipes);
    mech = recipes[at].mech;
    *ret_key = kept[what == 'V' || what == 'E' ? recipes[at].other : recipes[at].use];
    if (odd())
        *ret_key = object();
    if (odd())
        mech.ulParameterLen = take_ulong() % (mech.ulParameterLen + 1);
    if (odd())
        any_parameter(&mech);
    return odd() ? any_mechanism() : &mech;
}

/* --- templates --- */

static const CK_ATTRIBUTE_TYPE types[] = {CKA_CLASS,
                                          CKA_TOKEN,
                                          CKA_PRIVATE,
                                          CKA_LABEL,
                                          CKA_VALUE,
                                          CKA_KEY_TYPE,
                                          CKA_ID,
                                          CKA_SENSITIVE,
                                          CKA_ENCRYPT,
                                          CKA_DECRYPT,
                                          CKA_WRAP,
                                          CKA_UNWRAP,
                                          CKA_SIGN,
                                          CKA_VERIFY,
                                          CKA_DERIVE,
                                          CKA_MODULUS,
                                          CKA_MODULUS_BITS,
                                          CKA_VALUE_LEN,
                                          CKA_PUBLIC_EXPONENT,
                                          CKA_PRIVATE_EXPONENT,
                                          CKA_EXTRACTABLE,
                                          CKA_LOCAL,
                                          CKA_MODIFIABLE,
                                          CKA_COPYABLE,
                                          CKA_DESTROYABLE,
                                          CKA_EC_PARAMS,
                                          CKA_EC_POINT,
                                          CKA_ALWAYS_AUTHENTICATE,
                                          CKA_TRUSTED,
                                          CKA_WRAP_TEMPLATE,
                                          CKA_UNWRAP_TEMPLATE,
                                          CKA_DERIVE_TEMPLATE,
                                          CKA_START_DATE,
                                          CKA_UNIQUE_ID,
                                          CKA_CHECK_VALUE,
                                          CKA_ALLOWED_MECHANISMS,
                                          CKA_PUBLIC_KEY_INFO,
                                          CKA_SUBJECT,
                                          CKA_CERTIFICATE_TYPE,
                                          CKA_APPLICATION,
                                          CKA_OBJECT_ID,
                                          CKA_VENDOR_DEFINED,
                                          CKA_WRAP_WITH_TRUSTED};

static CK_ATTRIBUTE any_attr(bool is_read, unsigned depth)
{
    CK_ATTRIBUTE a = {types[take_below(COUNT(types))], NULL, 0};
    bool is_nested = (a.type & CKF_ARRAY_ATTRIBUTE) && a.type != CKA_ALLOWED_MECHANISMS && depth > 0;
    uint8_t how = take();
    CK_ULONG len = how % 4 == 0 ? 1 : how % 4 == 1 ? 8 : take_below(64);

    if (odd()) { /* NULL, and a length */
        a.ulValueLen = is_read ? 0 : take_ulong();
    } else if (is_nested && how % 2 == 0) {
        struct attrs inner = any_attrs(is_read, depth - 1);
        a.pValue = inner.p;
        a.ulValueLen = inner.p == NULL && inner.n > 0 ? inner.n : inner.n * sizeof(CK_ATTRIBUTE);
    } else if (is_read) {
        a.pValue = writable(len);
        a.ulValueLen = len;
    } else if (odd()) {
        a.pValue = bytes(8);
        a.ulValueLen = HUGE;
    } else {
        a.pValue = bytes(len);
        a.ulValueLen = len;
        if (len == 8)
            memcpy(a.pValue, &(CK_ULONG){take_below(64)}, 8);
        if (len == 1)
            *(CK_BYTE *)a.pValue &= odd() ? 255 : 1;
    }
    return a;
}

struct attrs any_attrs(bool is_read, unsigned depth)
{
    struct attrs t = {NULL, take_below(8)};

    if (odd())
        return (struct attrs){NULL, take_ulong()};
    if (args_are_full())
        return (struct attrs){NULL, 0};
    t.p = (CK_ATTRIBUTE *)(void *)bytes(t.n * sizeof(CK_ATTRIBUTE));
    for (CK_ULONG i = 0; i < t.n; i++)
        t.p[i] = any_attr(is_read, depth);
    if (!is_read && odd() && t.n > 0)
        t.n = HUGE;
    return t;
}

struct attrs making(const CK_ATTRIBUTE *base, CK_ULONG n)
{
    struct attrs more = take() < 64 ? any_attrs(false, 2) : (struct attrs){NULL, 0}, t;

    if (more.n >= HUGE || (more.p == NULL && more.n > 0))
        return more;
    t = (struct attrs){(CK_ATTRIBUTE *)(void *)bytes((n + more.n) * sizeof(CK_ATTRIBUTE)), n + more.n};
    memcpy(t.p, base, n * sizeof(CK_ATTRIBUTE));
    if (more.n > 0)
        memcpy(t.p + n, more.p, more.n * sizeof(CK_ATTRIBUTE));
    for (CK_ULONG i = 0; i < n; i++) {
        const void *from = t.p[i].pValue;
        t.p[i].ulValueLen = odd() ? t.p[i].ulValueLen / 2 : t.p[i].ulValueLen;
        t.p[i].pValue = bytes(t.p[i].ulValueLen);
        memcpy(t.p[i].pValue, from, t.p[i].ulValueLen);
    }
    return t;
}
