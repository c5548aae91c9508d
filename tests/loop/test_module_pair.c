/* SPDX-License-Identifier: Apache-2.0
 *
 * Key pairs of every kind through the module: made, taken in, used, against the program's own OpenSSL.
 */
#include "loop.h"

#include <dlfcn.h>
#include <openssl/rsa.h>
#include <stdlib.h>

static CK_SESSION_HANDLE s;
static CK_FUNCTION_LIST_3_2 *N;

static int setup(void **state)
{
    int rv = loop_setup(state);
    CK_RV (*get)(CK_UTF8CHAR * name, CK_VERSION * version, CK_INTERFACE * *ret, CK_FLAGS flags);
    CK_VERSION version = {3, 2};
    CK_INTERFACE *interface;

    *(void **)&get = dlsym(dlopen(getenv("KEYMOOT_MODULE"), RTLD_NOW | RTLD_NOLOAD), "C_GetInterface");
    assert_int_equal(get(NULL, &version, &interface, 0), CKR_OK);
    N = interface->pFunctionList;
    s = loop_login();
    return rv;
}

static CK_ATTRIBUTE bytes_attr(CK_ATTRIBUTE_TYPE type, const char *value, size_t len)
{
    return (CK_ATTRIBUTE){type, (void *)(uintptr_t)value, len};
}

static void make_pair(CK_MECHANISM_TYPE type, const char *params, size_t len, CK_OBJECT_HANDLE *public,
                      CK_OBJECT_HANDLE *private)
{
    CK_MECHANISM gen = {type, NULL, 0};
    CK_ATTRIBUTE attr = bytes_attr(CKA_EC_PARAMS, params, len);

    OK(C_GenerateKeyPair(s, &gen, &attr, 1, NULL, 0, public, private));
}

static CK_ULONG get_len(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_ATTRIBUTE get = {type, NULL, 0};

    OK(C_GetAttributeValue(s, object, &get, 1));
    return get.ulValueLen;
}

static void destroy_pair(CK_OBJECT_HANDLE public, CK_OBJECT_HANDLE private)
{
    OK(C_DestroyObject(s, public));
    OK(C_DestroyObject(s, private));
}

/* --- elliptic curves --- */

#define ED25519 "\x06\x03\x2b\x65\x70"
#define EDWARDS25519                                                                                                   \
    "\x13\x0c"                                                                                                         \
    "edwards25519"
#define ED448 "\x06\x03\x2b\x65\x71"
#define X25519 "\x06\x03\x2b\x65\x6e"
#define X448 "\x06\x03\x2b\x65\x6f"

static void ecdsa_signs_on_every_curve_with_every_hash(void **state)
{
    static const struct {
        const char *params;
        size_t params_len, signature_len;
    } curves[] = {
        {"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10, 64},
        {"\x06\x05\x2b\x81\x04\x00\x22", 7, 96},
        {"\x06\x05\x2b\x81\x04\x00\x23", 7, 132},
        {"\x06\x05\x2b\x81\x04\x00\x0a", 7, 64},
        {"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x07", 11, 64},
        {"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0b", 11, 96},
        {"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0d", 11, 128},
        {"\x13\x05"
         "P-256",
         7, 64},
        {"\x13\x09"
         "secp256k1",
         11, 64},
    };
    static const struct {
        CK_MECHANISM_TYPE type;
        const char *md;
    } hashes[] = {
        {CKM_ECDSA_SHA224, "SHA224"},     {CKM_ECDSA_SHA256, "SHA256"},     {CKM_ECDSA_SHA384, "SHA384"},
        {CKM_ECDSA_SHA512, "SHA512"},     {CKM_ECDSA_SHA3_224, "SHA3-224"}, {CKM_ECDSA_SHA3_256, "SHA3-256"},
        {CKM_ECDSA_SHA3_384, "SHA3-384"}, {CKM_ECDSA_SHA3_512, "SHA3-512"},
    };
    CK_OBJECT_HANDLE public, private;
    (void)state;

    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        make_pair(i % 2 ? CKM_EC_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS, curves[i].params,
                  curves[i].params_len, &public, &private);
        for (size_t k = 0; k < sizeof(hashes) / sizeof(hashes[0]); k++)
            loop_sign_both_ways(s, &(CK_MECHANISM){hashes[k].type, NULL, 0}, public, private, hashes[k].md, -1,
                                curves[i].signature_len);
        destroy_pair(public, private);
    }
}

static void eddsa_signs(void **state)
{
    static const struct {
        const char *params;
        size_t params_len, signature_len;
    } rows[] = {{ED25519, 5, 64}, {EDWARDS25519, 14, 64}, {ED448, 5, 114}};
    CK_EDDSA_PARAMS none = {CK_FALSE, 0, NULL}, context = {CK_FALSE, 3, (CK_BYTE *)(uintptr_t) "foo"},
                    prehash = {CK_TRUE, 0, NULL},
                    bad[] = {{2, 0, NULL}, {CK_FALSE, 256, (CK_BYTE *)(uintptr_t) "x"}, {CK_FALSE, 1, NULL}};
    CK_MECHANISM plain = {CKM_EDDSA, NULL, 0}, with_none = {CKM_EDDSA, &none, sizeof(none)},
                 with_context = {CKM_EDDSA, &context, sizeof(context)},
                 with_prehash = {CKM_EDDSA, &prehash, sizeof(prehash)};
    CK_RV variant = OPENSSL_VERSION_NUMBER >= 0x30200000L ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
    CK_OBJECT_HANDLE public, private;
    CK_BYTE signature[114];
    CK_ULONG len;
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        make_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, rows[i].params, rows[i].params_len, &public, &private);
        loop_sign_both_ways(s, &plain, public, private, NULL, -1, rows[i].signature_len);
        loop_sign_both_ways(s, &with_none, public, private, NULL, -1, rows[i].signature_len);
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
            RV(C_SignInit(s, &(CK_MECHANISM){CKM_EDDSA, &bad[k], sizeof(bad[k])}, private),
               CKR_MECHANISM_PARAM_INVALID);
        RV(C_SignInit(s, &(CK_MECHANISM){CKM_EDDSA, &none, 3}, private), CKR_MECHANISM_PARAM_INVALID);
        RV(C_SignInit(s, &(CK_MECHANISM){CKM_ECDSA, NULL, 0}, private), CKR_KEY_TYPE_INCONSISTENT);
        RV(C_VerifyInit(s, &with_prehash, public), variant);
        RV(C_SignInit(s, &with_context, private), variant);
        if (variant == CKR_OK) {
            RV(C_Verify(s, BYTES("m"), signature, rows[i].signature_len), CKR_SIGNATURE_INVALID);
            len = sizeof(signature);
            OK(C_Sign(s, BYTES("m"), signature, &len));
            OK(C_VerifyInit(s, &with_context, public));
            OK(C_Verify(s, BYTES("m"), signature, len));
            OK(C_VerifyInit(s, &plain, public));
            RV(C_Verify(s, BYTES("m"), signature, len), CKR_SIGNATURE_INVALID);
        }
        destroy_pair(public, private);
    }
}

/* The message of an Ed25519 signature travels whole: over a mebibyte in parts. */
static void eddsa_takes_long_messages_in_parts(void **state)
{
    size_t len = 3 * 1024 * 1024 + 17;
    CK_BYTE *message = malloc(len), signature[64];
    CK_ULONG n = sizeof(signature);
    CK_MECHANISM m = {CKM_EDDSA, NULL, 0};
    CK_OBJECT_HANDLE public, private;
    EVP_PKEY *key;
    (void)state;

    assert_non_null(message);
    memset(message, 0x5a, len);
    make_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, ED25519, 5, &public, &private);
    OK(C_SignInit(s, &m, private));
    for (size_t at = 0; at < len; at += 100000)
        OK(C_SignUpdate(s, message + at, len - at < 100000 ? len - at : 100000));
    OK(C_SignFinal(s, signature, &n));
    key = loop_exported(s, public);
    assert_true(loop_is_good(key, NULL, -1, message, len, signature, n));
    EVP_PKEY_free(key);
    destroy_pair(public, private);
    free(message);
}

static void an_edwards_key_is_taken_in(void **state)
{
    static CK_BYTE seed[32] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
                               0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
                               0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60},
                   point[32] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
                                0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
                                0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
    CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
    CK_KEY_TYPE type = CKK_EC_EDWARDS;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_MECHANISM m = {CKM_EDDSA, NULL, 0};

    (void)state;
    for (int on_token = 0; on_token < 2; on_token++) {
        CK_ATTRIBUTE private_template[] = {
            {CKA_CLASS, &classes[0], sizeof(classes[0])},
            {CKA_KEY_TYPE, &type, sizeof(type)},
            bytes_attr(CKA_EC_PARAMS, ED25519, 5),
            {CKA_VALUE, seed, sizeof(seed)},
            {CKA_TOKEN, on_token ? &yes : &no, 1},
            {CKA_SENSITIVE, &no, 1},
            {CKA_EXTRACTABLE, &yes, 1},
        };
        CK_ATTRIBUTE public_template[] = {
            {CKA_CLASS, &classes[1], sizeof(classes[1])}, {CKA_KEY_TYPE, &type, sizeof(type)},
            bytes_attr(CKA_EC_PARAMS, ED25519, 5),        {CKA_EC_POINT, point, sizeof(point)},
            {CKA_TOKEN, on_token ? &yes : &no, 1},
        };
        CK_OBJECT_HANDLE private, public;
        CK_BYTE value[32], signature[64];
        CK_ATTRIBUTE get = {CKA_VALUE, value, sizeof(value)};
        CK_ULONG len = sizeof(signature);
        OK(C_CreateObject(s, private_template, 7, &private));
        OK(C_CreateObject(s, public_template, 5, &public));
        OK(C_SignInit(s, &m, private));
        OK(C_Sign(s, NULL, 0, signature, &len));
        assert_int_equal(signature[0], 0xe5); /* RFC 8032 7.1, test 1 */
        assert_int_equal(signature[63], 0x0b);
        OK(C_VerifyInit(s, &m, public));
        OK(C_Verify(s, NULL, 0, signature, len));
        OK(C_GetAttributeValue(s, private, &get, 1));
        assert_memory_equal(value, seed, 32);
        destroy_pair(public, private);
    }
}

static void montgomery_keys_derive_only(void **state)
{
    static const struct {
        const char *params;
        size_t point_len;
    } rows[] = {{X25519, 34}, {X448, 58}};
    CK_OBJECT_HANDLE public, private;
    (void)state;

    for (int i = 0; i < 2; i++) {
        CK_BBOOL can_derive = CK_FALSE, can_sign = CK_TRUE;
        CK_ATTRIBUTE get[] = {{CKA_DERIVE, &can_derive, 1}, {CKA_SIGN, &can_sign, 1}};
        EVP_PKEY *key;
        make_pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, rows[i].params, 5, &public, &private);
        OK(C_GetAttributeValue(s, private, get, 2));
        assert_true(can_derive && !can_sign);
        assert_int_equal(get_len(public, CKA_EC_POINT), rows[i].point_len);
        key = loop_exported(s, public);
        assert_true(EVP_PKEY_is_a(key, i == 0 ? "X25519" : "X448"));
        EVP_PKEY_free(key);
        RV(C_SignInit(s, &(CK_MECHANISM){CKM_EDDSA, NULL, 0}, private), CKR_KEY_TYPE_INCONSISTENT);
        destroy_pair(public, private);
    }
}

/* --- RSA --- */

static void rsa_signs_with_sha3(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE pkcs1, pss, hash;
        CK_RSA_PKCS_MGF_TYPE mgf;
        const char *md;
        int salt;
    } rows[] = {
        {CKM_SHA3_224_RSA_PKCS, CKM_SHA3_224_RSA_PKCS_PSS, CKM_SHA3_224, CKG_MGF1_SHA3_224, "SHA3-224", 28},
        {CKM_SHA3_256_RSA_PKCS, CKM_SHA3_256_RSA_PKCS_PSS, CKM_SHA3_256, CKG_MGF1_SHA3_256, "SHA3-256", 32},
        {CKM_SHA3_384_RSA_PKCS, CKM_SHA3_384_RSA_PKCS_PSS, CKM_SHA3_384, CKG_MGF1_SHA3_384, "SHA3-384", 48},
        {CKM_SHA3_512_RSA_PKCS, CKM_SHA3_512_RSA_PKCS_PSS, CKM_SHA3_512, CKG_MGF1_SHA3_512, "SHA3-512", 64},
    };
    CK_OBJECT_HANDLE public, private;
    (void)state;

    loop_rsa_pair(s, "sha3", false, &public, &private);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CK_RSA_PKCS_PSS_PARAMS pss = {rows[i].hash, rows[i].mgf, (CK_ULONG)rows[i].salt};
        loop_sign_both_ways(s, &(CK_MECHANISM){rows[i].pkcs1, NULL, 0}, public, private, rows[i].md, -1, 256);
        loop_sign_both_ways(s, &(CK_MECHANISM){rows[i].pss, &pss, sizeof(pss)}, public, private, rows[i].md,
                            rows[i].salt, 256);
    }
    destroy_pair(public, private);
}

static void rsa_raw_and_oaep_go_there_and_back(void **state)
{
    CK_RSA_PKCS_OAEP_PARAMS sha3 = {CKM_SHA3_256, CKG_MGF1_SHA3_256, CKZ_DATA_SPECIFIED, NULL, 0},
                            mixed = {CKM_SHA512_256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, (CK_BYTE *)(uintptr_t) "l",
                                     1},
                            none = {CKM_SHA256, 77, CKZ_DATA_SPECIFIED, NULL, 0};
    CK_MECHANISM raw = {CKM_RSA_X_509, NULL, 0},
                 oaep[] = {{CKM_RSA_PKCS_OAEP, &sha3, sizeof(sha3)}, {CKM_RSA_PKCS_OAEP, &mixed, sizeof(mixed)}},
                 bad = {CKM_RSA_PKCS_OAEP, &none, sizeof(none)};
    CK_OBJECT_HANDLE public, private;
    CK_BYTE block[256], text[257], huge[256];
    CK_ULONG n = sizeof(block), m = sizeof(text);
    (void)state;

    loop_rsa_pair(s, "raw", false, &public, &private);
    memset(huge, 0xff, sizeof(huge));
    OK(C_EncryptInit(s, &raw, public));
    OK(C_Encrypt(s, BYTES("text"), block, &n));
    assert_int_equal(n, 256);
    OK(C_DecryptInit(s, &raw, private));
    OK(C_Decrypt(s, block, n, text, &m));
    assert_int_equal(m, 256);
    assert_memory_equal(text + 252, "text", 4);
    assert_int_equal(text[251], 0);
    OK(C_EncryptInit(s, &raw, public));
    n = sizeof(block);
    RV(C_Encrypt(s, huge, 256, block, &n), CKR_DATA_INVALID);
    OK(C_SignInit(s, &raw, private));
    n = sizeof(block);
    OK(C_Sign(s, BYTES("number"), block, &n));
    OK(C_VerifyInit(s, &raw, public));
    OK(C_Verify(s, BYTES("number"), block, n));
    OK(C_VerifyInit(s, &raw, public));
    RV(C_Verify(s, BYTES("numbed"), block, n), CKR_SIGNATURE_INVALID);
    for (int i = 0; i < 2; i++) {
        n = sizeof(block);
        m = sizeof(text);
        OK(C_EncryptInit(s, &oaep[i], public));
        OK(C_Encrypt(s, BYTES("text"), block, &n));
        OK(C_DecryptInit(s, &oaep[i], private));
        OK(C_Decrypt(s, block, n, text, &m));
        assert_int_equal(m, 4);
        assert_memory_equal(text, "text", 4);
    }
    RV(C_EncryptInit(s, &bad, public), CKR_MECHANISM_PARAM_INVALID);
    destroy_pair(public, private);
}

/* --- lattices and hashes --- */

static const CK_MECHANISM_TYPE pqc[] = {CKM_ML_KEM_KEY_PAIR_GEN, CKM_ML_DSA_KEY_PAIR_GEN, CKM_ML_DSA,
                                        CKM_SLH_DSA_KEY_PAIR_GEN, CKM_HASH_SLH_DSA};

static void mechanisms_are_there_or_not_as_openssl_has_them(void **state)
{
    CK_MECHANISM_INFO info;
    (void)state;

    for (size_t i = 0; i < sizeof(pqc) / sizeof(pqc[0]); i++)
        RV(C_GetMechanismInfo(loop_slot, pqc[i], &info),
           OPENSSL_VERSION_NUMBER >= 0x30500000L ? CKR_OK : CKR_MECHANISM_INVALID);
}

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
static void make_set(CK_MECHANISM_TYPE type, CK_ULONG set, bool on_token, CK_OBJECT_HANDLE *public,
                     CK_OBJECT_HANDLE *private)
{
    CK_MECHANISM gen = {type, NULL, 0};
    CK_BBOOL token = on_token;
    CK_ATTRIBUTE attrs[] = {{CKA_TOKEN, &token, 1}, {CKA_PARAMETER_SET, &set, sizeof(set)}};

    OK(C_GenerateKeyPair(s, &gen, attrs, 2, attrs, 1, public, private));
}

static void ml_dsa_and_slh_dsa_sign(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE generate, pure, hash, sha512, shake;
        CK_ULONG set;
        size_t public_len, signature_len;
    } rows[] = {
        {CKM_ML_DSA_KEY_PAIR_GEN, CKM_ML_DSA, CKM_HASH_ML_DSA, CKM_HASH_ML_DSA_SHA512, CKM_HASH_ML_DSA_SHAKE256,
         CKP_ML_DSA_44, 1312, 2420},
        {CKM_ML_DSA_KEY_PAIR_GEN, CKM_ML_DSA, CKM_HASH_ML_DSA, CKM_HASH_ML_DSA_SHA512, CKM_HASH_ML_DSA_SHAKE256,
         CKP_ML_DSA_65, 1952, 3309},
        {CKM_ML_DSA_KEY_PAIR_GEN, CKM_ML_DSA, CKM_HASH_ML_DSA, CKM_HASH_ML_DSA_SHA512, CKM_HASH_ML_DSA_SHAKE256,
         CKP_ML_DSA_87, 2592, 4627},
        {CKM_SLH_DSA_KEY_PAIR_GEN, CKM_SLH_DSA, CKM_HASH_SLH_DSA, CKM_HASH_SLH_DSA_SHA512, CKM_HASH_SLH_DSA_SHAKE256,
         CKP_SLH_DSA_SHA2_128F, 32, 17088},
        {CKM_SLH_DSA_KEY_PAIR_GEN, CKM_SLH_DSA, CKM_HASH_SLH_DSA, CKM_HASH_SLH_DSA_SHA512, CKM_HASH_SLH_DSA_SHAKE256,
         CKP_SLH_DSA_SHAKE_256F, 64, 49856},
    };
    CK_SIGN_ADDITIONAL_CONTEXT context = {CKH_HEDGE_REQUIRED, (CK_BYTE *)(uintptr_t) "ctx", 3},
                               bad[] = {{3, NULL, 0}, {0, (CK_BYTE *)(uintptr_t) "x", 256}, {0, NULL, 1}};
    CK_HASH_SIGN_ADDITIONAL_CONTEXT by_hash = {CKH_DETERMINISTIC_REQUIRED, NULL, 0, CKM_SHA512};
    CK_BYTE digest[64], *signature = malloc(49856);
    (void)state;

    assert_int_equal(EVP_Q_digest(NULL, "SHA512", NULL, "message", 7, digest, NULL), 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CK_MECHANISM pure = {rows[i].pure, NULL, 0}, in_context = {rows[i].pure, &context, sizeof(context)},
                     sha512 = {rows[i].sha512, NULL, 0}, shake = {rows[i].shake, &context, sizeof(context)},
                     hash = {rows[i].hash, &by_hash, sizeof(by_hash)};
        CK_OBJECT_HANDLE public, private;
        CK_ULONG n = rows[i].signature_len;
        make_set(rows[i].generate, rows[i].set, i % 2, &public, &private);
        assert_int_equal(get_len(public, CKA_VALUE), rows[i].public_len);
        loop_sign_both_ways(s, &pure, public, private, NULL, -1, rows[i].signature_len);
        OK(C_SignInit(s, &in_context, private));
        OK(C_Sign(s, BYTES("message"), signature, &n));
        OK(C_VerifyInit(s, &in_context, public));
        OK(C_Verify(s, BYTES("message"), signature, n));
        OK(C_VerifyInit(s, &pure, public));
        RV(C_Verify(s, BYTES("message"), signature, n), CKR_SIGNATURE_INVALID);
        /* the program's hash and the one that is made on the way are the same */
        OK(C_SignInit(s, &hash, private));
        OK(C_Sign(s, digest, 64, signature, &n));
        OK(C_VerifyInit(s, &sha512, public));
        OK(C_VerifyUpdate(s, BYTES("mess")));
        OK(C_VerifyUpdate(s, BYTES("age")));
        OK(C_VerifyFinal(s, signature, n));
        OK(C_VerifyInit(s, &pure, public));
        RV(C_Verify(s, BYTES("message"), signature, n), CKR_SIGNATURE_INVALID);
        OK(C_SignInit(s, &hash, private));
        RV(C_Sign(s, digest, 63, signature, &n), CKR_DATA_LEN_RANGE);
        OK(C_SignInit(s, &shake, private));
        OK(C_SignUpdate(s, BYTES("message")));
        OK(C_SignFinal(s, signature, &n));
        OK(C_VerifyInit(s, &shake, public));
        OK(C_Verify(s, BYTES("message"), signature, n));
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
            RV(C_SignInit(s, &(CK_MECHANISM){rows[i].pure, &bad[k], sizeof(bad[k])}, private),
               CKR_MECHANISM_PARAM_INVALID);
        by_hash.hash = CKM_SHA_1;
        RV(C_SignInit(s, &hash, private), CKR_MECHANISM_PARAM_INVALID);
        by_hash.hash = CKM_SHA512;
        RV(C_SignInit(s, &(CK_MECHANISM){rows[i].hash, NULL, 0}, private), CKR_MECHANISM_PARAM_INVALID);
        destroy_pair(public, private);
    }
    free(signature);
}

/* The slowest signature of all, seconds of computing, is waited for. */
static void the_slowest_signature_comes(void **state)
{
    CK_MECHANISM m = {CKM_SLH_DSA, NULL, 0};
    CK_OBJECT_HANDLE public, private;
    CK_BYTE *signature = malloc(29792);
    CK_ULONG n = 29792;
    (void)state;

    make_set(CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHAKE_256S, true, &public, &private);
    OK(C_SignInit(s, &m, private));
    OK(C_Sign(s, BYTES("m"), signature, &n));
    OK(C_VerifyInit(s, &m, public));
    OK(C_Verify(s, BYTES("m"), signature, n));
    destroy_pair(public, private);
    free(signature);
}

/* Both sides have the same secret, and OpenSSL's own decapsulation too. */
static void ml_kem_agrees_on_a_key(void **state)
{
    static const struct {
        CK_ULONG set;
        size_t ciphertext_len;
        const char *name;
    } rows[] = {{CKP_ML_KEM_512, 768, "ML-KEM-512"},
                {CKP_ML_KEM_768, 1088, "ML-KEM-768"},
                {CKP_ML_KEM_1024, 1568, "ML-KEM-1024"}};
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
    CK_MECHANISM m = {CKM_ML_KEM, NULL, 0}, gen = {CKM_ML_KEM_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE secret[] = {{CKA_CLASS, &class, sizeof(class)},
                             {CKA_KEY_TYPE, &generic, sizeof(generic)},
                             {CKA_SENSITIVE, &no, 1},
                             {CKA_EXTRACTABLE, &yes, 1}},
                 open[] = {{CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}};
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        CK_ULONG set = rows[i].set, n = 0;
        CK_ATTRIBUTE set_attr = {CKA_PARAMETER_SET, &set, sizeof(set)};
        CK_OBJECT_HANDLE public, private, sent, received;
        CK_BYTE ciphertext[1568], values[3][32], seed[64];
        CK_ATTRIBUTE get_seed = {CKA_SEED, seed, sizeof(seed)};
        OK(C_GenerateKeyPair(s, &gen, &set_attr, 1, open, 2, &public, &private));
        assert_int_equal(N->C_EncapsulateKey(s, &m, public, secret, 4, NULL, &n, &sent), CKR_OK);
        assert_int_equal(n, rows[i].ciphertext_len);
        assert_int_equal(N->C_EncapsulateKey(s, &m, public, secret, 4, ciphertext, &n, &sent), CKR_OK);
        assert_int_equal(N->C_DecapsulateKey(s, &m, private, secret, 4, ciphertext, n, &received), CKR_OK);
        for (int k = 0; k < 2; k++) {
            CK_ATTRIBUTE get = {CKA_VALUE, values[k], 32};
            OK(C_GetAttributeValue(s, k == 0 ? sent : received, &get, 1));
            assert_int_equal(get.ulValueLen, 32);
        }
        assert_memory_equal(values[0], values[1], 32);
        OK(C_GetAttributeValue(s, private, &get_seed, 1));
        OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string("seed", seed, 64), OSSL_PARAM_construct_end()};
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, rows[i].name, NULL);
        EVP_PKEY *key = NULL;
        size_t len = 32;
        assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
        assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
        EVP_PKEY_CTX_free(ctx);
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        assert_int_equal(EVP_PKEY_decapsulate_init(ctx, NULL), 1);
        assert_int_equal(EVP_PKEY_decapsulate(ctx, values[2], &len, ciphertext, n), 1);
        assert_memory_equal(values[0], values[2], 32);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(key);
        destroy_pair(public, private);
        OK(C_DestroyObject(s, sent));
        OK(C_DestroyObject(s, received));
    }
}

/* What was shown of a key that may be shown is that key again. */
static void lattice_keys_are_taken_in(void **state)
{
    static const struct {
        CK_KEY_TYPE type;
        CK_MECHANISM_TYPE generate;
        CK_ULONG set;
        CK_ULONG seed_len, secret_len;
    } rows[] = {{CKK_ML_DSA, CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_65, 32, 4032},
                {CKK_ML_KEM, CKM_ML_KEM_KEY_PAIR_GEN, CKP_ML_KEM_768, 64, 2400}};
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_BYTE seed[64], value[4032], info[2][2048];
    (void)state;

    for (int i = 0; i < 2; i++) {
        CK_MECHANISM gen = {rows[i].generate, NULL, 0};
        CK_ULONG set = rows[i].set;
        CK_KEY_TYPE type = rows[i].type;
        CK_ATTRIBUTE set_attr = {CKA_PARAMETER_SET, &set, sizeof(set)},
                     open[] = {{CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}},
                     get[] = {{CKA_SEED, seed, sizeof(seed)},
                              {CKA_VALUE, value, sizeof(value)},
                              {CKA_PUBLIC_KEY_INFO, info[0], sizeof(info[0])}};
        CK_OBJECT_HANDLE public, private, again;
        OK(C_GenerateKeyPair(s, &gen, &set_attr, 1, open, 2, &public, &private));
        OK(C_GetAttributeValue(s, private, get, 3));
        assert_int_equal(get[0].ulValueLen, rows[i].seed_len);
        assert_int_equal(get[1].ulValueLen, rows[i].secret_len);
        for (int with = 1; with < 4; with++) {
            CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                                       {CKA_KEY_TYPE, &type, sizeof(type)},
                                       set_attr,
                                       with & 1 ? get[0] : get[1],
                                       with == 3 ? get[1] : set_attr};
            CK_ATTRIBUTE get_info = {CKA_PUBLIC_KEY_INFO, info[1], sizeof(info[1])};
            OK(C_CreateObject(s, template, 5, &again));
            OK(C_GetAttributeValue(s, again, &get_info, 1));
            assert_int_equal(get_info.ulValueLen, get[2].ulValueLen);
            assert_memory_equal(info[0], info[1], get_info.ulValueLen);
            OK(C_DestroyObject(s, again));
        }
        destroy_pair(public, private);
    }
}
#endif

/* --- halves --- */

/* CKA_TOKEN of the two keys of a pair may differ. */
static void one_half_may_be_on_the_token(void **state)
{
    CK_MECHANISM gen = {CKM_EC_EDWARDS_KEY_PAIR_GEN, NULL, 0}, m = {CKM_EDDSA, NULL, 0};
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG before, n = 64;
    CK_BYTE signature[64];
    (void)state;

    for (int is_private_stored = 0; is_private_stored < 2; is_private_stored++) {
        CK_ATTRIBUTE public_template[] = {bytes_attr(CKA_EC_PARAMS, ED25519, 5),
                                          {CKA_TOKEN, is_private_stored ? &no : &yes, 1},
                                          bytes_attr(CKA_LABEL, "half", 4)};
        CK_ATTRIBUTE private_template[] = {{CKA_TOKEN, is_private_stored ? &yes : &no, 1},
                                           bytes_attr(CKA_LABEL, "half", 4)};
        CK_OBJECT_HANDLE public, private;
        CK_BBOOL public_on = 2, private_on = 2;
        CK_ATTRIBUTE get_public = {CKA_TOKEN, &public_on, 1}, get_private = {CKA_TOKEN, &private_on, 1};
        CK_SESSION_HANDLE other;
        before = loop_count(s, "half");
        other = loop_open(CKF_RW_SESSION);
        OK(C_GenerateKeyPair(other, &gen, public_template, 3, private_template, 2, &public, &private));
        OK(C_GetAttributeValue(other, public, &get_public, 1));
        OK(C_GetAttributeValue(other, private, &get_private, 1));
        assert_int_equal(public_on, !is_private_stored);
        assert_int_equal(private_on, is_private_stored);
        OK(C_SignInit(other, &m, private));
        OK(C_Sign(other, BYTES("m"), signature, &n));
        OK(C_VerifyInit(other, &m, public));
        OK(C_Verify(other, BYTES("m"), signature, n));
        assert_int_equal(loop_count(s, "half"), before + 2);
        OK(C_CloseSession(other)); /* the half that was the session's goes */
        assert_int_equal(loop_count(s, "half"), before + 1);
        OK(C_DestroyObject(s, is_private_stored ? private : public));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ecdsa_signs_on_every_curve_with_every_hash),
        cmocka_unit_test(eddsa_signs),
        cmocka_unit_test(eddsa_takes_long_messages_in_parts),
        cmocka_unit_test(an_edwards_key_is_taken_in),
        cmocka_unit_test(montgomery_keys_derive_only),
        cmocka_unit_test(rsa_signs_with_sha3),
        cmocka_unit_test(rsa_raw_and_oaep_go_there_and_back),
        cmocka_unit_test(mechanisms_are_there_or_not_as_openssl_has_them),
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
        cmocka_unit_test(ml_dsa_and_slh_dsa_sign),
        cmocka_unit_test(the_slowest_signature_comes),
        cmocka_unit_test(ml_kem_agrees_on_a_key),
        cmocka_unit_test(lattice_keys_are_taken_in),
#endif
        cmocka_unit_test(one_half_may_be_on_the_token),
    };

    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
