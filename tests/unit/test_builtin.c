/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in back end: known answers, every mechanism there and back against OpenSSL, tampering, resealing,
 * revealing, the cache.
 */
#include "tmpl.h"

#include "../../server/hsm/backend.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <string.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

static struct km_backend *backend;

static struct km_backend *open_with(uint8_t byte)
{
    struct km_secret master = KM_SECRET_EMPTY;
    struct km_backend *b = NULL;

    assert_int_equal(km_secret_new(&master, 32), KM_OK);
    memset(master.data, byte, 32);
    assert_int_equal(km_builtin_open(&master, &b), KM_OK);
    assert_null(master.data);
    return b;
}

static void object_free(Kml__Object *object)
{
    free(object->head.data);
    free(object->seal.data);
    kml__object__init(object);
}

static Kml__Head *head_of(const Kml__Object *object)
{
    Kml__Head *head = kml__head__unpack(NULL, object->head.len, object->head.data);

    assert_non_null(head);
    return head;
}

static void make_pair(CK_MECHANISM_TYPE type, Kmw__Template *public_template, Kml__Object *public, Kml__Object *private)
{
    Kml__Head *public_head = NULL, *head = NULL;
    CK_RV rv = CKR_OK;

    assert_int_equal(generate(public_template, type, CKO_PUBLIC_KEY, &public_head), CKR_OK);
    assert_int_equal(generate(TMPL(A_STR(CKA_LABEL, "key"), A_BOOL(CKA_TOKEN, 1)), type, CKO_PRIVATE_KEY, &head),
                     CKR_OK);
    assert_int_equal(backend->ops->generate(backend, km_mech(type), public_head, head, public, private, &rv), KM_BE_OK);
    kml__head__free_unpacked(public_head, NULL);
    kml__head__free_unpacked(head, NULL);
    assert_int_equal(public->seal.len, 0);
    assert_true(private->seal.len > 49);
}

static void make_ec(const char *oid, size_t len, Kml__Object *public, Kml__Object *private)
{
    make_pair(CKM_EC_KEY_PAIR_GEN, TMPL(A_BYTES(CKA_EC_PARAMS, oid, len)), public, private);
}

static void make_rsa(CK_ULONG bits, Kml__Object *public, Kml__Object *private)
{
    make_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, TMPL(A_ULONG(CKA_MODULUS_BITS, bits)), public, private);
}

static CK_RV import(Kmw__Template *t, Kml__Object *ret)
{
    Kml__Head *head = NULL;
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    CK_RV rv = new_head(t, KM_TP_CREATE, 0, 0, &head, &secrets, &n);
    enum km_backend_result result;

    if (rv != CKR_OK)
        return rv;
    result = backend->ops->import(backend, head, secrets, n, ret, &rv);
    assert_true(result == (rv == CKR_OK ? KM_BE_OK : KM_BE_ARG));
    km_template_secrets_free(secrets, n);
    kml__head__free_unpacked(head, NULL);
    return rv;
}

struct call {
    CK_MECHANISM_TYPE type;
    Kmw__Use__Operation op;
    Kmw__Mechanism mechanism;
    ProtobufCBinaryData data, signature;
    bool data_is_digest, is_part;
    uint8_t *out;
    size_t out_len;
};

#define BYTES(p, n) ((ProtobufCBinaryData){n, (uint8_t *)(p)})
#define TEXT(s) BYTES(s, sizeof(s) - 1)
#define SIGN KMW__USE__OPERATION__SIGN
#define VERIFY KMW__USE__OPERATION__VERIFY
#define ENCRYPT KMW__USE__OPERATION__ENCRYPT
#define DECRYPT KMW__USE__OPERATION__DECRYPT

static CK_RV use_key(const Kml__Object *object, struct call *c)
{
    Kmw__Use use = KMW__USE__INIT;
    enum km_backend_result result;
    CK_RV rv = CKR_GENERAL_ERROR;

    c->mechanism.base.descriptor = &kmw__mechanism__descriptor;
    c->mechanism.type = c->type;
    use.operation = c->op;
    use.mechanism = &c->mechanism;
    use.data = c->data;
    use.signature = c->signature;
    use.data_is_digest = c->data_is_digest;
    use.is_part = c->is_part;
    c->out = NULL;
    c->out_len = 0;
    result = backend->ops->use(backend, object, km_mech(c->type), &use, &c->out, &c->out_len, &rv);
    if (result == KM_BE_BAD_RECORD)
        return CKR_DEVICE_ERROR;
    assert_true(result == (rv == CKR_OK ? KM_BE_OK : KM_BE_ARG));
    return rv;
}

static EVP_PKEY *public_of(const Kml__Object *object)
{
    Kml__Head *head = head_of(object);
    const Kml__Attr *info = km_head_find(head, CKA_PUBLIC_KEY_INFO);
    const unsigned char *p;
    EVP_PKEY *pkey;

    assert_non_null(info);
    p = info->value.data;
    pkey = d2i_PUBKEY(NULL, &p, (long)info->value.len);
    assert_non_null(pkey);
    kml__head__free_unpacked(head, NULL);
    return pkey;
}

static bool openssl_verifies(const Kml__Object *object, const char *md, const char *message, const uint8_t *sig,
                             size_t len, int pss_salt)
{
    EVP_PKEY *pkey = public_of(object);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    unsigned char *der = NULL;
    bool is_good;

    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, &pctx, md, NULL, NULL, pkey, NULL), 1);
    if (pss_salt >= 0) {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, pss_salt);
    }
    if (EVP_PKEY_is_a(pkey, "EC")) {
        ECDSA_SIG *parsed = ECDSA_SIG_new();
        ECDSA_SIG_set0(parsed, BN_bin2bn(sig, (int)len / 2, NULL), BN_bin2bn(sig + len / 2, (int)len / 2, NULL));
        len = (size_t)i2d_ECDSA_SIG(parsed, &der);
        sig = der;
        ECDSA_SIG_free(parsed);
    }
    is_good = EVP_DigestVerify(ctx, sig, len, (const unsigned char *)message, strlen(message)) == 1;
    OPENSSL_free(der);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return is_good;
}

/* Signs, checks with OpenSSL and with the back end, then with another message. */
static void check_signature(const Kml__Object *public, const Kml__Object *private, CK_MECHANISM_TYPE type,
                            CK_MECHANISM_TYPE hash, CK_ULONG mgf, int salt)
{
    struct call c = {.type = type, .op = SIGN, .data = TEXT("attack at dawn")}, v;
    uint8_t digest[64];
    size_t len = 0;

    c.mechanism.hash = hash;
    c.mechanism.mgf = mgf;
    c.mechanism.salt_len = salt > 0 ? (unsigned)salt : 0;
    assert_int_equal(use_key(private, &c), CKR_OK);
    assert_true(openssl_verifies(public, km_mech(type)->md, "attack at dawn", c.out, c.out_len, salt));
    v = c;
    v.op = VERIFY;
    v.signature = BYTES(c.out, c.out_len);
    assert_int_equal(use_key(public, &v), CKR_OK);
    v.data = TEXT("attack at noon");
    assert_int_equal(use_key(public, &v), CKR_SIGNATURE_INVALID);
    v.signature.len--;
    assert_int_equal(use_key(public, &v), CKR_SIGNATURE_LEN_RANGE);
    v.signature.len++;
    /* the same with the hash made by the client */
    assert_int_equal(EVP_Q_digest(NULL, km_mech(type)->md, NULL, "attack at dawn", 14, digest, &len), 1);
    v.data = BYTES(digest, len);
    v.data_is_digest = true;
    assert_int_equal(use_key(public, &v), CKR_OK);
    v.data.len--;
    assert_int_equal(use_key(public, &v), CKR_DATA_LEN_RANGE);
    free(c.out);
}

static void ecdsa_signs_on_every_curve(void **state)
{
    static const struct {
        const char *oid;
        size_t oid_len, len;
    } curves[] = {{P256_OID, 10, 64}, {P384_OID, 7, 96}, {P521_OID, 7, 132}};
    (void)state;

    for (int i = 0; i < 3; i++) {
        Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
        struct call raw = {.type = CKM_ECDSA, .op = SIGN, .data = TEXT("01234567890123456789012345678901")}, sha1;
        make_ec(curves[i].oid, curves[i].oid_len, &public, &private);
        check_signature(&public, &private, CKM_ECDSA_SHA224, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA256, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA384, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA512, 0, 0, -1);
        assert_int_equal(use_key(&private, &raw), CKR_OK);
        assert_int_equal(raw.out_len, curves[i].len);
        raw.op = VERIFY;
        raw.signature = BYTES(raw.out, raw.out_len);
        assert_int_equal(use_key(&public, &raw), CKR_OK);
        free(raw.signature.data);
        raw = (struct call){.type = CKM_ECDSA, .op = SIGN};
        assert_int_equal(use_key(&private, &raw), CKR_OK);
        free(raw.out);
        sha1 = (struct call){.type = CKM_ECDSA_SHA1, .op = SIGN, .data = TEXT("x")};
        assert_int_equal(use_key(&private, &sha1), CKR_MECHANISM_INVALID);
        object_free(&public);
        object_free(&private);
    }
}

static void rsa_signs_in_every_padding(void **state)
{
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
    struct call c;
    uint8_t info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
                      0x02, 0x01, 0x05, 0x00, 0x04, 0x20, 0,    0,    0,    0,    0,    0,    0,
                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0};
    (void)state;

    make_rsa(2048, &public, &private);
    check_signature(&public, &private, CKM_SHA224_RSA_PKCS, 0, 0, -1);
    check_signature(&public, &private, CKM_SHA256_RSA_PKCS, 0, 0, -1);
    check_signature(&public, &private, CKM_SHA384_RSA_PKCS, 0, 0, -1);
    check_signature(&public, &private, CKM_SHA512_RSA_PKCS, 0, 0, -1);
    check_signature(&public, &private, CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32);
    check_signature(&public, &private, CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 0);
    check_signature(&public, &private, CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384, CKG_MGF1_SHA384, 48);
    check_signature(&public, &private, CKM_SHA512_RSA_PKCS_PSS, CKM_SHA512, CKG_MGF1_SHA512, 20);
    /* a DigestInfo that the program made is the same signature as the hashing mechanism's */
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, "m", 1, info + 19, NULL), 1);
    c = (struct call){.type = CKM_RSA_PKCS, .op = SIGN, .data = BYTES(info, sizeof(info))};
    assert_int_equal(use_key(&private, &c), CKR_OK);
    assert_true(openssl_verifies(&public, "SHA256", "m", c.out, c.out_len, -1));
    free(c.out);
    c = (struct call){.type = CKM_RSA_PKCS, .op = SIGN, .data = BYTES(calloc(1, 256), 246)};
    assert_int_equal(use_key(&private, &c), CKR_DATA_LEN_RANGE);
    c.data.len = 245;
    assert_int_equal(use_key(&private, &c), CKR_OK);
    free(c.data.data);
    free(c.out);
    c = (struct call){.type = CKM_SHA256_RSA_PKCS_PSS, .op = SIGN, .data = TEXT("x")};
    c.mechanism.hash = CKM_SHA384;
    c.mechanism.mgf = CKG_MGF1_SHA384;
    assert_int_equal(use_key(&private, &c), CKR_MECHANISM_PARAM_INVALID);
    c.mechanism.hash = CKM_SHA256;
    c.mechanism.salt_len = 250;
    assert_int_equal(use_key(&private, &c), CKR_MECHANISM_PARAM_INVALID);
    c = (struct call){.type = CKM_RSA_PKCS_PSS, .op = SIGN, .data = TEXT("01234567890123456789")};
    c.mechanism.hash = CKM_SHA_1;
    c.mechanism.mgf = CKG_MGF1_SHA1;
    assert_int_equal(use_key(&private, &c), CKR_MECHANISM_PARAM_INVALID);
    c = (struct call){.type = CKM_ECDSA, .op = SIGN, .data = TEXT("x")};
    assert_int_equal(use_key(&private, &c), CKR_KEY_TYPE_INCONSISTENT);
    c = (struct call){.type = CKM_RSA_PKCS, .op = SIGN, .data = TEXT("x")};
    assert_int_equal(use_key(&public, &c), CKR_KEY_TYPE_INCONSISTENT);
    object_free(&public);
    object_free(&private);
}

static void rsa_decrypts_what_the_public_key_encrypted(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE type, hash;
        CK_ULONG mgf;
        const char *label;
        size_t most;
    } rows[] = {
        {CKM_RSA_PKCS, 0, 0, NULL, 245},
        {CKM_RSA_PKCS_OAEP, CKM_SHA_1, CKG_MGF1_SHA1, NULL, 214},
        {CKM_RSA_PKCS_OAEP, CKM_SHA256, CKG_MGF1_SHA256, NULL, 190},
        {CKM_RSA_PKCS_OAEP, CKM_SHA256, CKG_MGF1_SHA1, "label", 190},
        {CKM_RSA_PKCS_OAEP, CKM_SHA512, CKG_MGF1_SHA512, "label", 126},
    };
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
    uint8_t text[246];
    (void)state;

    memset(text, 7, sizeof(text));
    make_rsa(2048, &public, &private);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct call e = {.type = rows[i].type, .op = ENCRYPT, .data = BYTES(text, rows[i].most)}, d;
        e.mechanism.hash = rows[i].hash;
        e.mechanism.mgf = rows[i].mgf;
        if (rows[i].label != NULL)
            e.mechanism.label = BYTES(rows[i].label, strlen(rows[i].label));
        assert_int_equal(use_key(&public, &e), CKR_OK);
        d = e;
        d.op = DECRYPT;
        d.data = BYTES(e.out, e.out_len);
        for (int round = 0; round < 2; round++) { /* the second time with a kept context */
            assert_int_equal(use_key(&private, &d), CKR_OK);
            assert_int_equal(d.out_len, rows[i].most);
            assert_memory_equal(d.out, text, d.out_len);
            free(d.out);
        }
        if (rows[i].label != NULL) {
            d.mechanism.label = TEXT("other");
            assert_int_equal(use_key(&private, &d), CKR_ENCRYPTED_DATA_INVALID);
        }
        if (rows[i].type == CKM_RSA_PKCS_OAEP) {
            e.out[200] ^= 1;
            assert_int_equal(use_key(&private, &d), CKR_ENCRYPTED_DATA_INVALID);
        }
        d.data.len--;
        assert_int_equal(use_key(&private, &d), CKR_ENCRYPTED_DATA_LEN_RANGE);
        free(e.out);
        e.data.len++;
        assert_int_equal(use_key(&public, &e), CKR_DATA_LEN_RANGE);
    }
    object_free(&public);
    object_free(&private);
}

static void import_secret(CK_KEY_TYPE type, const void *value, size_t len, Kml__Object *ret)
{
    assert_int_equal(
        import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, type), A_BYTES(CKA_VALUE, value, len),
                    A_BOOL(CKA_TOKEN, 1), A_BOOL(CKA_SENSITIVE, 0), A_BOOL(CKA_EXTRACTABLE, 1)),
               ret),
        CKR_OK);
}

/* SP 800-38A F.2.1, F.5.1 */
static const uint8_t sp_key[] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
static const uint8_t sp_text[] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e,
                                  0x11, 0x73, 0x93, 0x17, 0x2a, 0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03,
                                  0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51};
static const uint8_t sp_iv[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const uint8_t sp_cbc[] = {0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2, 0x46, 0xce, 0xe9, 0x8e,
                                 0x9b, 0x12, 0xe9, 0x19, 0x7d, 0x50, 0x86, 0xcb, 0x9b, 0x50, 0x72,
                                 0x19, 0xee, 0x95, 0xdb, 0x11, 0x3a, 0x91, 0x76, 0x78, 0xb2};
static const uint8_t sp_counter[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7,
                                     0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff};
static const uint8_t sp_ctr[] = {0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3, 0x26, 0x1b, 0xef, 0x68,
                                 0x64, 0x99, 0x0d, 0xb6, 0xce, 0x98, 0x06, 0xf6, 0x6b, 0x79, 0x70,
                                 0xfd, 0xff, 0x86, 0x17, 0x18, 0x7b, 0xb9, 0xff, 0xfd, 0xff};

static void aes_gives_the_known_answers(void **state)
{
    Kml__Object key = KML__OBJECT__INIT;
    struct call c;
    (void)state;

    import_secret(CKK_AES, sp_key, sizeof(sp_key), &key);
    c = (struct call){.type = CKM_AES_CBC, .op = ENCRYPT, .data = BYTES(sp_text, 32), .mechanism.iv = BYTES(sp_iv, 16)};
    assert_int_equal(use_key(&key, &c), CKR_OK);
    assert_int_equal(c.out_len, 32);
    assert_memory_equal(c.out, sp_cbc, 32);
    free(c.out);
    c.op = DECRYPT;
    c.data = BYTES(sp_cbc, 32);
    assert_int_equal(use_key(&key, &c), CKR_OK);
    assert_int_equal(c.out_len, 32);
    assert_memory_equal(c.out, sp_text, 32);
    free(c.out);
    c.data.len = 31;
    assert_int_equal(use_key(&key, &c), CKR_ENCRYPTED_DATA_LEN_RANGE);
    c = (struct call){
        .type = CKM_AES_CTR, .op = ENCRYPT, .data = BYTES(sp_text, 31), .mechanism.iv = BYTES(sp_counter, 16)};
    c.mechanism.counter_bits = 128;
    assert_int_equal(use_key(&key, &c), CKR_OK);
    assert_int_equal(c.out_len, 31);
    assert_memory_equal(c.out, sp_ctr, 31);
    free(c.out);
    c.mechanism.counter_bits = 0;
    assert_int_equal(use_key(&key, &c), CKR_MECHANISM_PARAM_INVALID);
    object_free(&key);
}

/* The second block's counter is not the first's plus one in all 128 bits, but in the low ones. */
static void a_counter_wraps_in_its_own_bits(void **state)
{
    static const unsigned widths[] = {8, 16, 32, 64, 127, 128};
    Kml__Object key = KML__OBJECT__INIT;
    uint8_t zeros[48] = {0};
    (void)state;

    import_secret(CKK_AES, sp_key, sizeof(sp_key), &key);
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        uint8_t counter[16], wrapped[16];
        struct call c = {.type = CKM_AES_CTR, .op = ENCRYPT, .data = BYTES(zeros, 48)}, b;
        memset(counter, 0xff, 16);
        memset(wrapped, 0xff, 16);
        for (unsigned bit = 0; bit < widths[i]; bit++)
            wrapped[15 - bit / 8] &= (uint8_t) ~(1u << bit % 8);
        c.mechanism.iv = BYTES(counter, 16);
        c.mechanism.counter_bits = widths[i];
        assert_int_equal(use_key(&key, &c), CKR_OK);
        b = (struct call){
            .type = CKM_AES_CBC, .op = ENCRYPT, .data = BYTES(wrapped, 16), .mechanism.iv = BYTES(zeros, 16)};
        assert_int_equal(use_key(&key, &b), CKR_OK);
        assert_memory_equal(c.out + 16, b.out, 16);
        free(b.out);
        wrapped[15] |= 1;
        assert_int_equal(use_key(&key, &b), CKR_OK);
        assert_memory_equal(c.out + 32, b.out, 16);
        free(b.out);
        free(c.out);
    }
    object_free(&key);
}

static void cbc_pad_takes_and_gives_any_length(void **state)
{
    Kml__Object key = KML__OBJECT__INIT;
    uint8_t text[40];
    (void)state;

    memset(text, 3, sizeof(text));
    import_secret(CKK_AES, "0123456789abcdef01234567", 24, &key);
    for (size_t len = 0; len <= sizeof(text); len++) {
        struct call e = {.type = CKM_AES_CBC_PAD,
                         .op = ENCRYPT,
                         .data = BYTES(text, len),
                         .mechanism.iv = BYTES(sp_iv, 16)},
                    d;
        assert_int_equal(use_key(&key, &e), CKR_OK);
        assert_int_equal(e.out_len, len / 16 * 16 + 16);
        d = e;
        d.op = DECRYPT;
        d.data = BYTES(e.out, e.out_len);
        assert_int_equal(use_key(&key, &d), CKR_OK);
        assert_int_equal(d.out_len, len);
        assert_memory_equal(d.out, text, len);
        free(d.out);
        free(e.out);
    }
    /* parts that chain by their IV are the whole */
    struct call whole = {.type = CKM_AES_CBC_PAD,
                         .op = ENCRYPT,
                         .data = BYTES(text, 40),
                         .mechanism.iv = BYTES(sp_iv, 16)},
                part, last;
    assert_int_equal(use_key(&key, &whole), CKR_OK);
    part = whole;
    part.data.len = 32;
    part.is_part = true;
    assert_int_equal(use_key(&key, &part), CKR_OK);
    assert_int_equal(part.out_len, 32);
    assert_memory_equal(part.out, whole.out, 32);
    last = whole;
    last.data = BYTES(text + 32, 8);
    last.mechanism.iv = BYTES(part.out + 16, 16);
    assert_int_equal(use_key(&key, &last), CKR_OK);
    assert_memory_equal(last.out, whole.out + 32, 16);
    part.data.len = 31;
    free(part.out);
    assert_int_equal(use_key(&key, &part), CKR_DATA_LEN_RANGE);
    free(whole.out);
    free(last.out);
    whole = (struct call){
        .type = CKM_AES_CBC_PAD, .op = DECRYPT, .data = BYTES(text, 32), .mechanism.iv = BYTES(sp_iv, 16)};
    assert_int_equal(use_key(&key, &whole), CKR_ENCRYPTED_DATA_INVALID);
    object_free(&key);
}

static void gcm_gives_the_known_answer_and_no_text_with_a_wrong_tag(void **state)
{
    /* McGrew and Viega, test case 4 */
    static const uint8_t k[] = {0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c,
                                0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08};
    static const uint8_t iv[] = {0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88};
    static const uint8_t aad[] = {0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed,
                                  0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab, 0xad, 0xda, 0xd2};
    static const uint8_t p[] = {0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5,
                                0xaf, 0xf5, 0x26, 0x9a, 0x86, 0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda,
                                0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95,
                                0x95, 0x68, 0x09, 0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25,
                                0xb1, 0x6a, 0xed, 0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39};
    static const uint8_t tag[] = {0x5b, 0xc9, 0x4f, 0xbc, 0x32, 0x21, 0xa5, 0xdb,
                                  0x94, 0xfa, 0xe9, 0x5a, 0xe7, 0x12, 0x1a, 0x47};
    Kml__Object key = KML__OBJECT__INIT;
    struct call e = {.type = CKM_AES_GCM, .op = ENCRYPT, .data = BYTES(p, sizeof(p))}, d;
    (void)state;

    import_secret(CKK_AES, k, sizeof(k), &key);
    e.mechanism.iv = BYTES(iv, sizeof(iv));
    e.mechanism.aad = BYTES(aad, sizeof(aad));
    e.mechanism.tag_bits = 128;
    assert_int_equal(use_key(&key, &e), CKR_OK);
    assert_int_equal(e.out_len, sizeof(p) + 16);
    assert_memory_equal(e.out + sizeof(p), tag, 16);
    d = e;
    d.op = DECRYPT;
    d.data = BYTES(e.out, e.out_len);
    assert_int_equal(use_key(&key, &d), CKR_OK);
    assert_int_equal(d.out_len, sizeof(p));
    assert_memory_equal(d.out, p, sizeof(p));
    free(d.out);
    for (size_t i = 0; i < e.out_len; i += 7) {
        e.out[i] ^= 1;
        assert_int_equal(use_key(&key, &d), CKR_ENCRYPTED_DATA_INVALID);
        assert_null(d.out);
        e.out[i] ^= 1;
    }
    d.data.len = 15;
    assert_int_equal(use_key(&key, &d), CKR_ENCRYPTED_DATA_LEN_RANGE);
    d.mechanism.tag_bits = 64;
    assert_int_equal(use_key(&key, &d), CKR_MECHANISM_PARAM_INVALID);
    free(e.out);
    e.data = BYTES(NULL, 0);
    assert_int_equal(use_key(&key, &e), CKR_OK);
    assert_int_equal(e.out_len, 16);
    free(e.out);
    object_free(&key);
}

static void hmac_gives_the_known_answer(void **state)
{
    /* RFC 4231, test case 2 */
    static const uint8_t expected[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                       0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                       0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const CK_MECHANISM_TYPE all[] = {CKM_SHA_1_HMAC, CKM_SHA224_HMAC, CKM_SHA256_HMAC, CKM_SHA384_HMAC,
                                            CKM_SHA512_HMAC};
    static const size_t lens[] = {20, 28, 32, 48, 64};
    Kml__Object key = KML__OBJECT__INIT;
    struct call c;
    (void)state;

    import_secret(CKK_GENERIC_SECRET, "Jefe", 4, &key);
    for (int i = 0; i < 5; i++) {
        c = (struct call){.type = all[i], .op = SIGN, .data = TEXT("what do ya want for nothing?")};
        assert_int_equal(use_key(&key, &c), CKR_OK);
        assert_int_equal(c.out_len, lens[i]);
        if (all[i] == CKM_SHA256_HMAC)
            assert_memory_equal(c.out, expected, 32);
        c.signature = BYTES(c.out, c.out_len);
        c.op = VERIFY;
        assert_int_equal(use_key(&key, &c), CKR_OK);
        c.signature.data[3] ^= 1;
        assert_int_equal(use_key(&key, &c), CKR_SIGNATURE_INVALID);
        c.signature.len = 16;
        assert_int_equal(use_key(&key, &c), CKR_SIGNATURE_LEN_RANGE);
        free(c.signature.data);
    }
    object_free(&key);
}

/* An RSA key of OpenSSL's own, as attributes. */
struct brought {
    uint8_t n[512], e[8], d[512], p[256], q[256];
    size_t n_len, e_len, d_len, p_len, q_len;
    EVP_PKEY *pkey;
};

static size_t number(const EVP_PKEY *pkey, const char *name, uint8_t *to)
{
    BIGNUM *bn = NULL;
    size_t len;

    assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &bn), 1);
    len = (size_t)BN_bn2bin(bn, to);
    BN_free(bn);
    return len;
}

static void bring_rsa(struct brought *b, unsigned bits)
{
    b->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
    assert_non_null(b->pkey);
    b->n_len = number(b->pkey, "n", b->n);
    b->e_len = number(b->pkey, "e", b->e);
    b->d_len = number(b->pkey, "d", b->d);
    b->p_len = number(b->pkey, "rsa-factor1", b->p);
    b->q_len = number(b->pkey, "rsa-factor2", b->q);
}

#define RSA_CLASS                                                                                                      \
    A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_RSA), A_BOOL(CKA_SENSITIVE, 0),                     \
        A_BOOL(CKA_EXTRACTABLE, 1)

static void rsa_keys_are_taken_in_with_and_without_primes(void **state)
{
    struct brought b;
    struct km_secret secret = KM_SECRET_EMPTY;
    Kmw__Template *revealed;
    Kml__Object with = KML__OBJECT__INIT, without = KML__OBJECT__INIT;
    struct call c = {.type = CKM_SHA256_RSA_PKCS, .op = SIGN, .data = TEXT("m")};
    const Kmw__Attr *prime;
    (void)state;

    bring_rsa(&b, 2048);
    assert_int_equal(
        import(TMPL(RSA_CLASS, A_BYTES(CKA_MODULUS, b.n, b.n_len), A_BYTES(CKA_PUBLIC_EXPONENT, b.e, b.e_len),
                    A_BYTES(CKA_PRIVATE_EXPONENT, b.d, b.d_len), A_BYTES(CKA_PRIME_1, b.p, b.p_len),
                    A_BYTES(CKA_PRIME_2, b.q, b.q_len)),
               &with),
        CKR_OK);
    assert_int_equal(
        import(TMPL(RSA_CLASS, A_BYTES(CKA_MODULUS, b.n, b.n_len), A_BYTES(CKA_PUBLIC_EXPONENT, b.e, b.e_len),
                    A_BYTES(CKA_PRIVATE_EXPONENT, b.d, b.d_len)),
               &without),
        CKR_OK);
    assert_int_equal(use_key(&without, &c), CKR_OK);
    assert_true(openssl_verifies(&with, "SHA256", "m", c.out, c.out_len, -1));
    free(c.out);
    assert_int_equal(backend->ops->reveal(backend, &without, &secret), KM_BE_OK);
    revealed = kmw__template__unpack(NULL, secret.len, secret.data);
    assert_non_null(revealed);
    assert_int_equal(revealed->n_attrs, 6);
    prime = km_attr_find(revealed->attrs, revealed->n_attrs, CKA_PRIME_1);
    assert_true((prime->value.len == b.p_len && memcmp(prime->value.data, b.p, b.p_len) == 0) ||
                (prime->value.len == b.q_len && memcmp(prime->value.data, b.q, b.q_len) == 0));
    kmw__template__free_unpacked(revealed, NULL);
    km_secret_free(&secret);
    object_free(&with);
    object_free(&without);
    EVP_PKEY_free(b.pkey);
}

static void rsa_keys_that_do_not_fit_together_are_refused(void **state)
{
    struct brought b;
    Kml__Object object = KML__OBJECT__INIT;
    (void)state;

    bring_rsa(&b, 2048);
    b.d[100] ^= 1;
    assert_int_equal(
        import(TMPL(RSA_CLASS, A_BYTES(CKA_MODULUS, b.n, b.n_len), A_BYTES(CKA_PUBLIC_EXPONENT, b.e, b.e_len),
                    A_BYTES(CKA_PRIVATE_EXPONENT, b.d, b.d_len), A_BYTES(CKA_PRIME_1, b.p, b.p_len),
                    A_BYTES(CKA_PRIME_2, b.q, b.q_len)),
               &object),
        CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(
        import(TMPL(RSA_CLASS, A_BYTES(CKA_MODULUS, b.n, b.n_len), A_BYTES(CKA_PUBLIC_EXPONENT, b.e, b.e_len),
                    A_BYTES(CKA_PRIVATE_EXPONENT, b.d, b.d_len)),
               &object),
        CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(import(TMPL(RSA_CLASS, A_BYTES(CKA_MODULUS, b.n, 128), A_BYTES(CKA_PUBLIC_EXPONENT, b.e, b.e_len),
                                 A_BYTES(CKA_PRIVATE_EXPONENT, b.d, 128)),
                            &object),
                     CKR_KEY_SIZE_RANGE);
    assert_int_equal(
        import(TMPL(RSA_CLASS, A_BYTES(CKA_MODULUS, b.n, b.n_len), A_BYTES(CKA_PRIVATE_EXPONENT, b.d, b.d_len)),
               &object),
        CKR_TEMPLATE_INCOMPLETE);
    EVP_PKEY_free(b.pkey);
}

static void ec_keys_are_taken_in_and_shown_again(void **state)
{
    uint8_t d[32];
    struct km_secret secret = KM_SECRET_EMPTY;
    Kml__Object object = KML__OBJECT__INIT;
    struct call c = {.type = CKM_ECDSA_SHA256, .op = SIGN, .data = TEXT("m")};
    Kmw__Template *revealed;
    (void)state;

    memset(d, 0, sizeof(d));
    d[31] = 5;
    assert_int_equal(import(TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC),
                                 A_STR(CKA_EC_PARAMS, P256_OID), A_BYTES(CKA_VALUE, d, sizeof(d))),
                            &object),
                     CKR_OK);
    assert_int_equal(use_key(&object, &c), CKR_OK);
    assert_true(openssl_verifies(&object, "SHA256", "m", c.out, c.out_len, -1));
    free(c.out);
    assert_int_equal(backend->ops->reveal(backend, &object, &secret), KM_BE_OK);
    revealed = kmw__template__unpack(NULL, secret.len, secret.data);
    assert_int_equal(revealed->n_attrs, 1);
    assert_int_equal(revealed->attrs[0]->value.len, 32);
    assert_memory_equal(revealed->attrs[0]->value.data, d, 32);
    kmw__template__free_unpacked(revealed, NULL);
    km_secret_free(&secret);
    object_free(&object);
    memset(d, 0xff, sizeof(d));
    assert_int_equal(import(TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC),
                                 A_STR(CKA_EC_PARAMS, P256_OID), A_BYTES(CKA_VALUE, d, sizeof(d))),
                            &object),
                     CKR_ATTRIBUTE_VALUE_INVALID);
}

static void secret_keys_are_generated_with_their_check_value(void **state)
{
    Kml__Head *head = NULL, *made;
    Kml__Object object = KML__OBJECT__INIT;
    struct km_secret secret = KM_SECRET_EMPTY;
    uint8_t zeros[16] = {0};
    struct call c = {.type = CKM_AES_CBC, .op = ENCRYPT, .data = BYTES(zeros, 16), .mechanism.iv = BYTES(zeros, 16)};
    CK_RV rv;
    (void)state;

    assert_int_equal(generate(TMPL(A_ULONG(CKA_VALUE_LEN, 32)), CKM_AES_KEY_GEN, CKO_SECRET_KEY, &head), CKR_OK);
    assert_int_equal(backend->ops->generate(backend, km_mech(CKM_AES_KEY_GEN), NULL, head, NULL, &object, &rv),
                     KM_BE_OK);
    kml__head__free_unpacked(head, NULL);
    assert_int_equal(use_key(&object, &c), CKR_OK);
    made = head_of(&object);
    assert_string_equal(made->backend, "builtin");
    assert_int_equal(km_head_find(made, CKA_CHECK_VALUE)->value.len, 3);
    assert_memory_equal(km_head_find(made, CKA_CHECK_VALUE)->value.data, c.out, 3);
    free(c.out);
    assert_int_equal(backend->ops->reveal(backend, &object, &secret), KM_BE_OK);
    assert_true(secret.len > 32);
    km_secret_free(&secret);
    kml__head__free_unpacked(made, NULL);
    object_free(&object);
    /* what a program says of its key must be so */
    assert_int_equal(import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES),
                                 A_STR(CKA_VALUE, "0123456789abcdef"), A_ULONG(CKA_VALUE_LEN, 32)),
                            &object),
                     CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES),
                                 A_STR(CKA_VALUE, "0123456789abcdef"), A_STR(CKA_CHECK_VALUE, "abc")),
                            &object),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(
        import(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES), A_STR(CKA_VALUE, "0123456789")),
               &object),
        CKR_ATTRIBUTE_VALUE_INVALID);
}

static void no_byte_of_head_or_seal_can_change(void **state)
{
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT, bare = KML__OBJECT__INIT;
    struct call c = {.type = CKM_ECDSA, .op = SIGN, .data = TEXT("01234567890123456789012345678901")};
    struct km_backend *other = open_with(9), *first = backend;
    (void)state;

    make_ec(P256_OID, 10, &public, &private);
    assert_int_equal(use_key(&private, &c), CKR_OK); /* it is in the cache now, which must not help */
    free(c.out);
    for (size_t i = 0; i < private.seal.len; i++) {
        private.seal.data[i] ^= 0x10;
        assert_int_equal(use_key(&private, &c), CKR_DEVICE_ERROR);
        private.seal.data[i] ^= 0x10;
    }
    for (size_t i = 0; i < private.head.len; i++) {
        private.head.data[i] ^= 0x01;
        assert_int_equal(use_key(&private, &c), CKR_DEVICE_ERROR);
        private.head.data[i] ^= 0x01;
    }
    for (size_t len = 1; len < private.seal.len; len += 5) {
        Kml__Object cut = private;
        cut.seal.len = len;
        assert_int_equal(use_key(&cut, &c), CKR_DEVICE_ERROR);
    }
    bare.head = private.head; /* and a private key is never taken for a public one */
    assert_int_equal(use_key(&bare, &c), CKR_DEVICE_ERROR);
    backend = other;
    assert_int_equal(use_key(&private, &c), CKR_DEVICE_ERROR);
    backend = first;
    other->ops->close(other);
    object_free(&public);
    object_free(&private);
}

static void a_new_head_needs_and_gets_a_new_seal(void **state)
{
    Kml__Object public = KML__OBJECT__INIT, old = KML__OBJECT__INIT, new = KML__OBJECT__INIT, mixed;
    struct call c = {.type = CKM_ECDSA_SHA256, .op = SIGN, .data = TEXT("m")};
    Kmw__Template *t = TMPL(A_STR(CKA_LABEL, "renamed"));
    Kml__Head *head, *next = NULL;
    const char *reason;
    (void)state;

    make_ec(P256_OID, 10, &public, &old);
    head = head_of(&old);
    assert_int_equal(km_template_set(head, t, false, &next, &reason), CKR_OK);
    assert_int_equal(next->version, 2);
    assert_int_equal(backend->ops->reseal(backend, &old, next, &new), KM_BE_OK);
    assert_int_equal(use_key(&new, &c), CKR_OK);
    assert_true(openssl_verifies(&public, "SHA256", "m", c.out, c.out_len, -1));
    free(c.out);
    mixed = old;
    mixed.head = new.head;
    assert_int_equal(use_key(&mixed, &c), CKR_DEVICE_ERROR);
    old.seal.data[40] ^= 1;
    object_free(&new);
    assert_int_equal(backend->ops->reseal(backend, &old, next, &new), KM_BE_BAD_RECORD);
    backend->ops->forget(backend, &old);
    kmw__template__free_unpacked(t, NULL);
    kml__head__free_unpacked(head, NULL);
    kml__head__free_unpacked(next, NULL);
    object_free(&public);
    object_free(&old);
}

static void macs_depend_on_purpose_data_and_master_key(void **state)
{
    struct km_backend *same = open_with(7), *other = open_with(8);
    uint8_t a[32], b[32];
    char purpose[8];
    (void)state;

    assert_int_equal(backend->ops->mac(backend, "pin", (const uint8_t *)"1234", 4, a), KM_BE_OK);
    assert_int_equal(same->ops->mac(same, "pin", (const uint8_t *)"1234", 4, b), KM_BE_OK);
    assert_memory_equal(a, b, 32);
    assert_int_equal(backend->ops->mac(backend, "ticket", (const uint8_t *)"1234", 4, b), KM_BE_OK);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(backend->ops->mac(backend, "pin", (const uint8_t *)"1235", 4, b), KM_BE_OK);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(other->ops->mac(other, "pin", (const uint8_t *)"1234", 4, b), KM_BE_OK);
    assert_memory_not_equal(a, b, 32);
    for (int i = 0; i < 20; i++) { /* more purposes than are kept */
        snprintf(purpose, sizeof(purpose), "p%d", i);
        assert_int_equal(backend->ops->mac(backend, purpose, NULL, 0, a), KM_BE_OK);
        assert_int_equal(same->ops->mac(same, purpose, NULL, 0, b), KM_BE_OK);
        assert_memory_equal(a, b, 32);
    }
    assert_int_equal(backend->ops->random(backend, a, 32), KM_BE_OK);
    assert_int_equal(backend->ops->random(backend, b, 32), KM_BE_OK);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(backend->ops->probe(backend), KM_BE_OK);
    same->ops->close(same);
    other->ops->close(other);
}

#define THREADS 4

static void *sign_many(void *arg)
{
    const Kml__Object *object = arg;

    for (int i = 0; i < 200; i++) {
        struct call c = {.type = CKM_ECDSA_SHA256, .op = SIGN, .data = TEXT("m")};
        assert_int_equal(use_key(object, &c), CKR_OK);
        free(c.out);
        if (i % 50 == 0)
            backend->ops->forget(backend, object);
    }
    return NULL;
}

static void one_key_signs_on_many_threads(void **state)
{
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
    pthread_t threads[THREADS];
    (void)state;

    make_ec(P256_OID, 10, &public, &private);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_many, &private), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    object_free(&public);
    object_free(&private);
}

static void long_operations_are_known(void **state)
{
    static const char *const oids[] = {P256_OID, P384_OID, P521_OID};
    Kml__Head *head = NULL;
    (void)state;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(generate(TMPL(A_BYTES(CKA_EC_PARAMS, oids[i], i == 0 ? 10 : 7)), CKM_EC_KEY_PAIR_GEN,
                                  CKO_PUBLIC_KEY, &head),
                         CKR_OK);
        assert_true(km_mech_is_slow(km_mech(CKM_ECDSA), head, SIGN, 32) == (i > 0));
        kml__head__free_unpacked(head, NULL);
    }
    assert_int_equal(generate(TMPL(A_ULONG(CKA_MODULUS_BITS, 2048)), CKM_RSA_PKCS_KEY_PAIR_GEN, CKO_PUBLIC_KEY, &head),
                     CKR_OK);
    assert_true(km_mech_is_slow(km_mech(CKM_RSA_PKCS), head, DECRYPT, 256));
    assert_false(km_mech_is_slow(km_mech(CKM_RSA_PKCS), head, VERIFY, 32));
    assert_true(km_mech_is_slow(km_mech(CKM_SHA256_HMAC), head, SIGN, 1 << 20));
    kml__head__free_unpacked(head, NULL);
}

static double us_per_use(const Kml__Object *object, CK_MECHANISM_TYPE type, int rounds)
{
    struct timespec a, b;

    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < rounds; i++) {
        struct call c = {.type = type, .op = SIGN, .data = TEXT("01234567890123456789012345678901")};
        c.data_is_digest = type != CKM_ECDSA;
        assert_int_equal(use_key(object, &c), CKR_OK);
        free(c.out);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e3 / rounds;
}

/* Not a test of speed: prints what `openssl speed` can be compared with. */
static void prints_what_a_signature_costs(void **state)
{
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
    (void)state;

    make_ec(P256_OID, 10, &public, &private);
    print_message("P-256 sign: %.1f us\n", us_per_use(&private, CKM_ECDSA, 2000));
    object_free(&public);
    object_free(&private);
    make_rsa(2048, &public, &private);
    print_message("RSA-2048 sign: %.1f us\n", us_per_use(&private, CKM_SHA256_RSA_PKCS, 200));
    object_free(&public);
    object_free(&private);
}

static int set_up(void **state)
{
    (void)state;
    backend = open_with(7);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    backend->ops->close(backend);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ecdsa_signs_on_every_curve),
        cmocka_unit_test(rsa_signs_in_every_padding),
        cmocka_unit_test(rsa_decrypts_what_the_public_key_encrypted),
        cmocka_unit_test(aes_gives_the_known_answers),
        cmocka_unit_test(a_counter_wraps_in_its_own_bits),
        cmocka_unit_test(cbc_pad_takes_and_gives_any_length),
        cmocka_unit_test(gcm_gives_the_known_answer_and_no_text_with_a_wrong_tag),
        cmocka_unit_test(hmac_gives_the_known_answer),
        cmocka_unit_test(rsa_keys_are_taken_in_with_and_without_primes),
        cmocka_unit_test(rsa_keys_that_do_not_fit_together_are_refused),
        cmocka_unit_test(ec_keys_are_taken_in_and_shown_again),
        cmocka_unit_test(secret_keys_are_generated_with_their_check_value),
        cmocka_unit_test(no_byte_of_head_or_seal_can_change),
        cmocka_unit_test(a_new_head_needs_and_gets_a_new_seal),
        cmocka_unit_test(macs_depend_on_purpose_data_and_master_key),
        cmocka_unit_test(one_key_signs_on_many_threads),
        cmocka_unit_test(long_operations_are_known),
        cmocka_unit_test(prints_what_a_signature_costs),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
