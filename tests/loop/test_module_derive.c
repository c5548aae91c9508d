/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys from keys: derived ones against OpenSSL's own answer, wrapped ones out and in again, and what a key leaves
 * behind when the one that it came from is gone.
 */
#include "loop.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/x509.h>
#include <stdlib.h>

static CK_SESSION_HANDLE s;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY, data_class = CKO_DATA;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET, aes = CKK_AES;

static int setup(void **state)
{
    int rv = loop_setup(state);

    s = loop_login();
    return rv;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A secret key that the program knows. */
static CK_OBJECT_HANDLE known(CK_KEY_TYPE type, const void *value, CK_ULONG len)
{
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                        {CKA_KEY_TYPE, &type, sizeof(type)},
                        {CKA_VALUE, (void *)value, len},
                        {CKA_DERIVE, &yes, 1},
                        {CKA_SENSITIVE, &no, 1},
                        {CKA_EXTRACTABLE, &yes, 1}};
    CK_OBJECT_HANDLE key = 0;

    OK(C_CreateObject(s, t, COUNT(t), &key));
    return key;
}

static void assert_value(CK_OBJECT_HANDLE key, const void *expected, CK_ULONG len)
{
    CK_BYTE value[1024];
    CK_ATTRIBUTE get = {CKA_VALUE, value, sizeof(value)};

    OK(C_GetAttributeValue(s, key, &get, 1));
    assert_int_equal(get.ulValueLen, len);
    assert_memory_equal(value, expected, len);
}

/* Derives a readable key of `len` bytes (0: not said). */
static CK_RV derive(CK_MECHANISM_TYPE type, const void *param, CK_ULONG param_len, CK_OBJECT_HANDLE base, CK_ULONG len,
                    CK_OBJECT_HANDLE *ret)
{
    CK_MECHANISM m = {type, (void *)param, param_len};
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                        {CKA_KEY_TYPE, &generic, sizeof(generic)},
                        {CKA_SENSITIVE, &no, 1},
                        {CKA_EXTRACTABLE, &yes, 1},
                        {CKA_VALUE_LEN, &len, sizeof(len)}};

    return F->C_DeriveKey(s, &m, base, t, len > 0 ? 5 : 4, ret);
}

/* --- agreement --- */

static CK_OBJECT_HANDLE agreement_pair(const char *curve, CK_BBOOL on_token, EVP_PKEY **ret_public)
{
    static const struct {
        const char *name;
        CK_BYTE oid[10];
        CK_ULONG len;
    } curves[] = {{"P-256", {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, 10},
                  {"P-384", {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, 7},
                  {"P-521", {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23}, 7}};
    size_t i = strcmp(curve, "P-256") == 0 ? 0 : strcmp(curve, "P-384") == 0 ? 1 : 2;
    CK_MECHANISM gen = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_EC_PARAMS, (void *)curves[i].oid, curves[i].len}, {CKA_TOKEN, &on_token, 1}};
    CK_ATTRIBUTE private[] = {{CKA_DERIVE, &yes, 1}, {CKA_TOKEN, &on_token, 1}};
    CK_OBJECT_HANDLE pub = 0, key = 0;
    CK_BYTE info[512];
    CK_ATTRIBUTE get = {CKA_PUBLIC_KEY_INFO, info, sizeof(info)};

    OK(C_GenerateKeyPair(s, &gen, public, 2, private, 2, &pub, &key));
    OK(C_GetAttributeValue(s, pub, &get, 1));
    *ret_public = d2i_PUBKEY(NULL, &(const unsigned char *){info}, (long)get.ulValueLen);
    assert_non_null(*ret_public);
    OK(C_DestroyObject(s, pub));
    return key;
}

/* Our private key with the module's public key. */
static size_t openssl_agree(EVP_PKEY *mine, EVP_PKEY *theirs, CK_BYTE *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(mine, NULL);
    size_t len = 128;

    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, theirs), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, out, &len), 1);
    EVP_PKEY_CTX_free(ctx);
    return len;
}

static void x963(const char *md, const CK_BYTE *z, size_t z_len, const char *info, CK_BYTE *out, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "X963KDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", (char *)md, 0),
                           OSSL_PARAM_construct_octet_string("secret", (void *)z, z_len),
                           OSSL_PARAM_construct_octet_string("info", (void *)info, strlen(info)),
                           OSSL_PARAM_construct_end()};

    assert_int_equal(EVP_KDF_derive(ctx, out, len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

static void ecdh_agrees_with_openssl(void **state)
{
    static const char *const curves[] = {"P-256", "P-384", "P-521"};
    static const struct {
        CK_EC_KDF_TYPE kdf;
        const char *md;
    } kdfs[] = {{CKD_SHA1_KDF, "SHA1"},         {CKD_SHA224_KDF, "SHA224"},     {CKD_SHA256_KDF, "SHA256"},
                {CKD_SHA384_KDF, "SHA384"},     {CKD_SHA512_KDF, "SHA512"},     {CKD_SHA3_224_KDF, "SHA3-224"},
                {CKD_SHA3_256_KDF, "SHA3-256"}, {CKD_SHA3_384_KDF, "SHA3-384"}, {CKD_SHA3_512_KDF, "SHA3-512"}};
    (void)state;

    for (size_t i = 0; i < COUNT(curves); i++) {
        EVP_PKEY *theirs, *mine = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[i]);
        CK_OBJECT_HANDLE key = agreement_pair(curves[i], false, &theirs), secret;
        CK_BYTE z[128], expected[200], der[160] = {0x04};
        unsigned char *point = NULL;
        size_t z_len = openssl_agree(mine, theirs, z), point_len = EVP_PKEY_get1_encoded_public_key(mine, &point);
        CK_ECDH1_DERIVE_PARAMS p = {CKD_NULL, 0, NULL, point_len, point};
        size_t head = point_len < 128 ? 2 : 3;

        OK(C_GetAttributeValue(s, key, &(CK_ATTRIBUTE){CKA_DERIVE, &yes, 1}, 1));
        assert_int_equal(derive(CKM_ECDH1_DERIVE, &p, sizeof(p), key, 0, &secret), CKR_OK);
        assert_value(secret, z, z_len);
        assert_int_equal(derive(CKM_ECDH1_COFACTOR_DERIVE, &p, sizeof(p), key, 16, &secret), CKR_OK);
        assert_value(secret, z + z_len - 16, 16); /* the leading bytes go */
        assert_int_equal(derive(CKM_ECDH1_DERIVE, &p, sizeof(p), key, z_len + 1, &secret), CKR_KEY_SIZE_RANGE);
        der[1] = head == 2 ? (CK_BYTE)point_len : 0x81;
        der[head - 1] = (CK_BYTE)point_len;
        memcpy(der + head, point, point_len);
        p.pPublicData = der;
        p.ulPublicDataLen = head + point_len;
        assert_int_equal(derive(CKM_ECDH1_DERIVE, &p, sizeof(p), key, 0, &secret), CKR_OK);
        assert_value(secret, z, z_len);
        for (size_t k = 0; k < COUNT(kdfs); k++) {
            p = (CK_ECDH1_DERIVE_PARAMS){kdfs[k].kdf, 6, (CK_BYTE *)"shared", point_len, point};
            assert_int_equal(derive(CKM_ECDH1_DERIVE, &p, sizeof(p), key, 100, &secret), CKR_OK);
            x963(kdfs[k].md, z, z_len, "shared", expected, 100);
            assert_value(secret, expected, 100);
        }
        point[point_len - 1] ^= 1; /* not on the curve */
        p.kdf = CKD_SHA256_KDF;
        assert_int_equal(derive(CKM_ECDH1_DERIVE, &p, sizeof(p), key, 0, &secret), CKR_MECHANISM_PARAM_INVALID);
        p.kdf = CKD_CPDIVERSIFY_KDF;
        assert_int_equal(derive(CKM_ECDH1_DERIVE, &p, sizeof(p), key, 0, &secret), CKR_MECHANISM_PARAM_INVALID);
        OPENSSL_free(point);
        EVP_PKEY_free(mine);
        EVP_PKEY_free(theirs);
    }
}

/* What SunPKCS11 and pkcs11-provider do: an AES or generic key from an agreement, then used. */
static void a_derived_key_works_and_dies_with_its_base(void **state)
{
    EVP_PKEY *theirs, *mine = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    CK_OBJECT_HANDLE base = agreement_pair("P-256", true, &theirs), key = 0, kept = 0;
    unsigned char *point = NULL;
    CK_ULONG point_len = EVP_PKEY_get1_encoded_public_key(mine, &point), len = 32, n = 64;
    CK_ECDH1_DERIVE_PARAMS p = {CKD_SHA256_KDF, 0, NULL, point_len, point};
    CK_MECHANISM m = {CKM_ECDH1_DERIVE, &p, sizeof(p)}, cbc = {CKM_AES_CBC, (CK_BYTE[16]){0}, 16};
    CK_ATTRIBUTE t[] = {{CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_TOKEN, &no, 1}};
    CK_BYTE text[64] = {0}, label[] = "another name";
    CK_ATTRIBUTE rename = {CKA_LABEL, label, sizeof(label) - 1}, narrow = {CKA_SIGN, &no, 1};
    (void)state;

    OK(C_DeriveKey(s, &m, base, t, 3, &key));
    t[2].pValue = &yes;
    OK(C_DeriveKey(s, &m, base, t, 3, &kept));
    OK(C_EncryptInit(s, &cbc, key));
    OK(C_Encrypt(s, text, 64, text, &n));
    OK(C_SetAttributeValue(s, base, &rename, 1));
    n = 64;
    OK(C_EncryptInit(s, &cbc, key)); /* a name is only a name */
    OK(C_Encrypt(s, text, 64, text, &n));
    OK(C_SetAttributeValue(s, base, &narrow, 1));
    n = 64;
    OK(C_EncryptInit(s, &cbc, key));
    RV(C_Encrypt(s, text, 64, text, &n), CKR_KEY_HANDLE_INVALID);
    t[2].pValue = &no;
    OK(C_DeriveKey(s, &m, base, t, 3, &key));
    OK(C_DestroyObject(s, base));
    n = 64;
    OK(C_EncryptInit(s, &cbc, key));
    RV(C_Encrypt(s, text, 64, text, &n), CKR_KEY_HANDLE_INVALID);
    n = 64;
    OK(C_EncryptInit(s, &cbc, kept)); /* what is on the token lives by itself */
    OK(C_Encrypt(s, text, 64, text, &n));
    OK(C_DestroyObject(s, kept));
    OPENSSL_free(point);
    EVP_PKEY_free(mine);
    EVP_PKEY_free(theirs);
}

static void agreement_says_what_is_wrong(void **state)
{
    CK_OBJECT_HANDLE secret = known(CKK_GENERIC_SECRET, "0123456789abcdef", 16), key = 0;
    EVP_PKEY *theirs;
    CK_OBJECT_HANDLE base = agreement_pair("P-256", false, &theirs);
    CK_ECDH1_DERIVE_PARAMS p = {CKD_NULL, 0, NULL, 65, (CK_BYTE[65]){4}};
    CK_MECHANISM m = {CKM_ECDH1_DERIVE, &p, sizeof(p)};
    (void)state;

    RV(C_DeriveKey(s, NULL, base, NULL, 0, &key), CKR_ARGUMENTS_BAD);
    RV(C_DeriveKey(s, &m, base, NULL, 1, &key), CKR_ARGUMENTS_BAD);
    RV(C_DeriveKey(s, &m, base, NULL, 0, NULL), CKR_ARGUMENTS_BAD);
    RV(C_DeriveKey(s, &(CK_MECHANISM){CKM_AES_CBC, NULL, 0}, base, NULL, 0, &key), CKR_MECHANISM_INVALID);
    RV(C_DeriveKey(s, &(CK_MECHANISM){CKM_ECDH1_DERIVE, &p, 3}, base, NULL, 0, &key), CKR_MECHANISM_PARAM_INVALID);
    RV(C_DeriveKey(s, &m, 999999, NULL, 0, &key), CKR_KEY_HANDLE_INVALID);
    RV(C_DeriveKey(s, &m, secret, NULL, 0, &key), CKR_KEY_TYPE_INCONSISTENT);
    RV(C_DeriveKey(s, &m, base, NULL, 0, &key), CKR_MECHANISM_PARAM_INVALID); /* no point */
    p.pPublicData = NULL;
    RV(C_DeriveKey(s, &m, base, NULL, 0, &key), CKR_MECHANISM_PARAM_INVALID);
    EVP_PKEY_free(theirs);
}

/* --- other derivations --- */

static void hkdf_derives_keys_and_data(void **state)
{
    /* RFC 5869, test case 1 */
    static const CK_BYTE okm[] = {0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36,
                                  0x2f, 0x2a, 0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56,
                                  0xec, 0xc4, 0xc5, 0xbf, 0x34, 0x00, 0x72, 0x08, 0xd5, 0xb8, 0x87, 0x18, 0x58, 0x65};
    static const CK_BYTE prk[] = {0x07, 0x77, 0x09, 0x36, 0x2c, 0x2e, 0x32, 0xdf, 0x0d, 0xdc, 0x3f,
                                  0x0d, 0xc4, 0x7b, 0xba, 0x63, 0x90, 0xb6, 0xc7, 0x3b, 0xb5, 0x0f,
                                  0x9c, 0x31, 0x22, 0xec, 0x84, 0x4a, 0xd7, 0xc2, 0xb3, 0xe5};
    CK_BYTE ikm[22], salt[13], info[10];
    CK_HKDF_PARAMS p = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_DATA, salt, 13, 0, info, 10};
    CK_MECHANISM to_data = {CKM_HKDF_DATA, &p, sizeof(p)}, gen = {CKM_HKDF_KEY_GEN, NULL, 0};
    CK_ULONG len = 42, value_len = 32;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_VALUE_LEN, &len, sizeof(len)}};
    CK_ATTRIBUTE g[] = {{CKA_VALUE_LEN, &value_len, sizeof(value_len)}, {CKA_DERIVE, &yes, 1}};
    CK_OBJECT_HANDLE base, key, middle;
    (void)state;

    memset(ikm, 0x0b, sizeof(ikm));
    for (size_t i = 0; i < 13; i++)
        salt[i] = (CK_BYTE)i;
    for (size_t i = 0; i < 10; i++)
        info[i] = (CK_BYTE)(0xf0 + i);
    base = known(CKK_HKDF, ikm, sizeof(ikm));
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), base, 42, &key), CKR_OK);
    assert_value(key, okm, 42);
    OK(C_DeriveKey(s, &to_data, base, t, 2, &key));
    assert_value(key, okm, 42);
    for (int is_private = 0; is_private < 2; is_private++) { /* on the token: sealed there, if it is private */
        CK_BBOOL private = (CK_BBOOL)is_private;
        CK_ATTRIBUTE kept[] = {t[0], t[1], {CKA_TOKEN, &yes, 1}, {CKA_PRIVATE, &private, 1}};
        OK(C_DeriveKey(s, &to_data, base, kept, 4, &key));
        assert_value(key, okm, 42);
        OK(C_DestroyObject(s, key));
    }
    RV(C_DeriveKey(s, &to_data, base, (CK_ATTRIBUTE[]){t[0], {CKA_VALUE, (void *)okm, 42}}, 2, &key),
       CKR_TEMPLATE_INCONSISTENT);
    p.ulSaltType = CKF_HKDF_SALT_KEY;
    p.hSaltKey = known(CKK_GENERIC_SECRET, salt, 13);
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), base, 42, &key), CKR_OK);
    assert_value(key, okm, 42);
    p.bExpand = CK_FALSE;
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), base, 0, &key), CKR_OK);
    assert_value(key, prk, 32);
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), base, 20, &middle), CKR_OK);
    assert_value(middle, prk, 20);
    middle = known(CKK_HKDF, prk, 32);
    p.bExpand = CK_TRUE;
    p.bExtract = CK_FALSE;
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), middle, 42, &key), CKR_OK);
    assert_value(key, okm, 42);
    p.bExpand = CK_FALSE;
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), middle, 42, &key), CKR_MECHANISM_PARAM_INVALID);
    p.bExtract = CK_TRUE;
    p.prfHashMechanism = CKM_AES_CBC;
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), base, 0, &key), CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), base, 16, &key), CKR_MECHANISM_PARAM_INVALID);
    OK(C_GenerateKey(s, &gen, g, 2, &key));
    p.prfHashMechanism = CKM_SHA3_256;
    assert_int_equal(derive(CKM_HKDF_DERIVE, &p, sizeof(p), key, 0, &middle), CKR_OK);
}

/* The three modes by hand: HMAC-SHA-256 with the counter in front, or behind what came before. */
static void prf(const char *key, const CK_BYTE *data, size_t len, CK_BYTE out[32])
{
    size_t n = 32;

    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, strlen(key), data, len, out, 32, &n));
}

static void sp800_108_makes_several_keys(void **state)
{
    CK_SP800_108_COUNTER_FORMAT counter = {CK_FALSE, 32};
    CK_SP800_108_DKM_LENGTH_FORMAT length = {CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, CK_FALSE, 32};
    CK_PRF_DATA_PARAM parts[] = {{CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof(counter)},
                                 {CK_SP800_108_BYTE_ARRAY, (void *)"label", 5},
                                 {CK_SP800_108_DKM_LENGTH, &length, sizeof(length)}};
    CK_PRF_DATA_PARAM chained[] = {{CK_SP800_108_ITERATION_VARIABLE, NULL, 0},
                                   {CK_SP800_108_COUNTER, &counter, sizeof(counter)},
                                   {CK_SP800_108_BYTE_ARRAY, (void *)"label", 5}};
    CK_ULONG second_len = 24;
    CK_OBJECT_HANDLE second = 0, key = 0, base = known(CKK_GENERIC_SECRET, "base key", 8);
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                        {CKA_KEY_TYPE, &aes, sizeof(aes)},
                        {CKA_VALUE_LEN, &second_len, sizeof(second_len)},
                        {CKA_SENSITIVE, &no, 1},
                        {CKA_EXTRACTABLE, &yes, 1}};
    CK_DERIVED_KEY more = {t, 5, &second};
    CK_SP800_108_KDF_PARAMS p = {CKM_SHA256_HMAC, 3, parts, 1, &more};
    CK_SP800_108_FEEDBACK_KDF_PARAMS f = {CKM_SHA256_HMAC, 3, chained, 4, (CK_BYTE *)"init", 0, NULL};
    CK_BYTE in[64], out[64], a[64];
    (void)state;

    assert_int_equal(derive(CKM_SP800_108_COUNTER_KDF, &p, sizeof(p), base, 16, &key), CKR_OK);
    prf("base key", (const CK_BYTE *)"\0\0\0\1label\0\0\1\x40", 13, out); /* 320 bits */
    prf("base key", (const CK_BYTE *)"\0\0\0\2label\0\0\1\x40", 13, out + 32);
    assert_value(key, out, 16);
    assert_value(second, out + 16, 24);

    assert_int_equal(derive(CKM_SP800_108_FEEDBACK_KDF, &f, sizeof(f), base, 40, &key), CKR_OK);
    prf("base key", (const CK_BYTE *)"init\0\0\0\1label", 13, out);
    memcpy(in, out, 32);
    memcpy(in + 32, "\0\0\0\2label", 9);
    prf("base key", in, 41, out + 32);
    assert_value(key, out, 40);

    p = (CK_SP800_108_KDF_PARAMS){CKM_SHA256_HMAC, 3, chained, 0, NULL};
    assert_int_equal(derive(CKM_SP800_108_DOUBLE_PIPELINE_KDF, &p, sizeof(p), base, 40, &key), CKR_OK);
    prf("base key", (const CK_BYTE *)"label", 5, a);
    memcpy(in, a, 32);
    memcpy(in + 32, "\0\0\0\1label", 9);
    prf("base key", in, 41, out);
    prf("base key", a, 32, a);
    memcpy(in, a, 32);
    memcpy(in + 32, "\0\0\0\2label", 9);
    prf("base key", in, 41, out + 32);
    assert_value(key, out, 40);

    p = (CK_SP800_108_KDF_PARAMS){CKM_SHA256_HMAC, 1, parts + 1, 0, NULL}; /* no counter */
    assert_int_equal(derive(CKM_SP800_108_COUNTER_KDF, &p, sizeof(p), base, 16, &key), CKR_MECHANISM_PARAM_INVALID);
    p = (CK_SP800_108_KDF_PARAMS){CKM_SHA256, 3, parts, 0, NULL}; /* no PRF */
    assert_int_equal(derive(CKM_SP800_108_COUNTER_KDF, &p, sizeof(p), base, 16, &key), CKR_MECHANISM_PARAM_INVALID);
    p = (CK_SP800_108_KDF_PARAMS){CKM_SHA256_HMAC, 3, parts, 0, NULL};
    assert_int_equal(derive(CKM_SP800_108_COUNTER_KDF, &p, sizeof(p), base, 0, &key), CKR_TEMPLATE_INCOMPLETE);
    p.prfType = CKM_AES_CMAC;
    assert_int_equal(derive(CKM_SP800_108_COUNTER_KDF, &p, sizeof(p), base, 16, &key), CKR_MECHANISM_PARAM_INVALID);
    assert_int_equal(derive(CKM_SP800_108_COUNTER_KDF, &p, sizeof(p), known(CKK_AES, "0123456789abcdef", 16), 16, &key),
                     CKR_OK);
}

static void passwords_become_keys(void **state)
{
    CK_ULONG len = 20, password_len = 8;
    /* RFC 6070, two iterations */
    static const CK_BYTE expected[] = {0xea, 0x6c, 0x01, 0x4d, 0xc7, 0x2d, 0x6f, 0x8c, 0xcd, 0x1e,
                                       0xd9, 0x2a, 0xce, 0x1d, 0x41, 0xf0, 0xd8, 0xde, 0x89, 0x57};
    CK_PKCS5_PBKD2_PARAMS2 p = {CKZ_SALT_SPECIFIED,        "salt", 4, 2, CKP_PKCS5_PBKD2_HMAC_SHA1, NULL, 0,
                                (CK_UTF8CHAR *)"password", 8};
    CK_PKCS5_PBKD2_PARAMS old = {CKZ_SALT_SPECIFIED,        "salt",       4, 2, CKP_PKCS5_PBKD2_HMAC_SHA1, NULL, 0,
                                 (CK_UTF8CHAR *)"password", &password_len};
    CK_MECHANISM m = {CKM_PKCS5_PBKD2, &p, sizeof(p)};
    CK_ATTRIBUTE t[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)},
                        {CKA_VALUE_LEN, &len, sizeof(len)},
                        {CKA_SENSITIVE, &no, 1},
                        {CKA_EXTRACTABLE, &yes, 1}};
    CK_OBJECT_HANDLE key = 0;
    (void)state;

    OK(C_GenerateKey(s, &m, t, 4, &key));
    assert_value(key, expected, 20);
    m.pParameter = &old;
    OK(C_GenerateKey(s, &m, t, 4, &key));
    assert_value(key, expected, 20);
    t[0].pValue = &aes;
    len = 16;
    OK(C_GenerateKey(s, &m, t, 4, &key));
    assert_value(key, expected, 16);
    len = 17;
    RV(C_GenerateKey(s, &m, t, 4, &key), CKR_KEY_SIZE_RANGE);
    old.iterations = 0;
    RV(C_GenerateKey(s, &m, t, 4, &key), CKR_MECHANISM_PARAM_INVALID);
}

static void simple_derivations_do_what_they_say(void **state)
{
    CK_OBJECT_HANDLE base = known(CKK_GENERIC_SECRET, "0123456789abcdef", 16), key = 0;
    CK_OBJECT_HANDLE other = known(CKK_GENERIC_SECRET, "XYZ", 3), block = known(CKK_AES, "0123456789abcdef", 16);
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE *)"data", 4},
                                  blocks = {(CK_BYTE *)"0123456789ABCDEF0123456789ABCDEF", 32};
    CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc = {{1, 2, 3}, blocks.pData, 32};
    CK_EXTRACT_PARAMS bit = 4;
    CK_BYTE expected[64];
    size_t len = 64;
    (void)state;

    assert_int_equal(derive(CKM_CONCATENATE_BASE_AND_KEY, &other, sizeof(other), base, 0, &key), CKR_OK);
    assert_value(key, "0123456789abcdefXYZ", 19);
    assert_int_equal(derive(CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof(data), base, 18, &key), CKR_OK);
    assert_value(key, "0123456789abcdefda", 18);
    assert_int_equal(derive(CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof(data), base, 0, &key), CKR_OK);
    assert_value(key, "data0123456789abcdef", 20);
    assert_int_equal(derive(CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof(data), base, 21, &key), CKR_KEY_SIZE_RANGE);
    assert_int_equal(derive(CKM_XOR_BASE_AND_DATA, &data, sizeof(data), base, 0, &key), CKR_OK);
    assert_value(key, "TPFR", 4);
    assert_int_equal(derive(CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof(bit), base, 2, &key), CKR_OK);
    assert_value(key, "\x03\x13", 2);
    bit = 120; /* wraps */
    assert_int_equal(derive(CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof(bit), base, 3, &key), CKR_OK);
    assert_value(key, "f01", 3);
    bit = 128;
    assert_int_equal(derive(CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof(bit), base, 3, &key), CKR_MECHANISM_PARAM_INVALID);
    assert_int_equal(derive(CKM_SHA256_KEY_DERIVATION, NULL, 0, base, 0, &key), CKR_OK);
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, "0123456789abcdef", 16, expected, &len), 1);
    assert_value(key, expected, 32);
    assert_int_equal(derive(CKM_SHA3_384_KEY_DERIVATION, NULL, 0, base, 10, &key), CKR_OK);
    assert_int_equal(EVP_Q_digest(NULL, "SHA3-384", NULL, "0123456789abcdef", 16, expected, &len), 1);
    assert_value(key, expected, 10);
    assert_int_equal(derive(CKM_SHAKE_128_KEY_DERIVATION, NULL, 0, base, 0, &key), CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(derive(CKM_SHAKE_256_KEY_DERIVATION, NULL, 0, base, 64, &key), CKR_OK);

    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, (const CK_BYTE *)"0123456789abcdef", NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, expected, &n, blocks.pData, 32), 1);
    assert_int_equal(derive(CKM_AES_ECB_ENCRYPT_DATA, &blocks, sizeof(blocks), block, 0, &key), CKR_OK);
    assert_value(key, expected, 32);
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_cbc(), NULL, (const CK_BYTE *)"0123456789abcdef", cbc.iv), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, expected, &n, blocks.pData, 32), 1);
    assert_int_equal(derive(CKM_AES_CBC_ENCRYPT_DATA, &cbc, sizeof(cbc), block, 24, &key), CKR_OK);
    assert_value(key, expected, 24);
    EVP_CIPHER_CTX_free(ctx);
    assert_int_equal(derive(CKM_AES_ECB_ENCRYPT_DATA, &data, sizeof(data), block, 0, &key),
                     CKR_MECHANISM_PARAM_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ecdh_agrees_with_openssl),
        cmocka_unit_test(a_derived_key_works_and_dies_with_its_base),
        cmocka_unit_test(agreement_says_what_is_wrong),
        cmocka_unit_test(hkdf_derives_keys_and_data),
        cmocka_unit_test(sp800_108_makes_several_keys),
        cmocka_unit_test(passwords_become_keys),
        cmocka_unit_test(simple_derivations_do_what_they_say),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
