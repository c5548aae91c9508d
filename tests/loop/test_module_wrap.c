/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys out under other keys, and in again.
 */
#include "loop.h"

static CK_SESSION_HANDLE s;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY, private_class = CKO_PRIVATE_KEY;
static CK_KEY_TYPE aes = CKK_AES, ec = CKK_EC;

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

/* --- wrapping --- */

/* A key that is made for nothing but wrapping. */
static CK_OBJECT_HANDLE wrapping_key(CK_ULONG len, CK_ATTRIBUTE *more, CK_ULONG n_more)
{
    CK_MECHANISM gen = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE t[8] = {
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}, {CKA_SENSITIVE, &yes, 1}};
    CK_OBJECT_HANDLE key = 0;

    for (CK_ULONG i = 0; i < n_more; i++)
        t[4 + i] = more[i];
    OK(C_GenerateKey(s, &gen, t, 4 + n_more, &key));
    return key;
}

static CK_OBJECT_HANDLE aes_key(CK_BBOOL sensitive, CK_ULONG len)
{
    CK_MECHANISM gen = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_SENSITIVE, &sensitive, 1}, {CKA_EXTRACTABLE, &yes, 1}};
    CK_OBJECT_HANDLE key = 0;

    OK(C_GenerateKey(s, &gen, t, 3, &key));
    return key;
}

/* Both keys encrypt alike. */
static void assert_same(CK_OBJECT_HANDLE one, CK_OBJECT_HANDLE two)
{
    CK_MECHANISM cbc = {CKM_AES_CBC, (CK_BYTE[16]){0}, 16};
    CK_BYTE a[16], b[16];
    CK_ULONG n = 16;

    OK(C_EncryptInit(s, &cbc, one));
    OK(C_Encrypt(s, (CK_BYTE *)"0123456789abcdef", 16, a, &n));
    OK(C_EncryptInit(s, &cbc, two));
    OK(C_Encrypt(s, (CK_BYTE *)"0123456789abcdef", 16, b, &n));
    assert_memory_equal(a, b, 16);
}

/* Out and in again, with size query and a buffer that is too small. */
static CK_OBJECT_HANDLE round_trip(CK_MECHANISM *m, CK_OBJECT_HANDLE with, CK_OBJECT_HANDLE back, CK_OBJECT_HANDLE key,
                                   CK_ATTRIBUTE *t, CK_ULONG n_t)
{
    CK_BYTE wrapped[4096];
    CK_ULONG asked = 0, n;
    CK_OBJECT_HANDLE again = 0;

    OK(C_WrapKey(s, m, with, key, NULL, &asked));
    n = asked - 1;
    RV(C_WrapKey(s, m, with, key, wrapped, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(n, asked);
    OK(C_WrapKey(s, m, with, key, wrapped, &n));
    assert_int_equal(n, asked);
    OK(C_UnwrapKey(s, m, back, wrapped, n, t, n_t, &again));
    wrapped[n - 1] ^= 1;
    /* The first three do not notice; OpenSSL from 3.2 takes a damaged PKCS#1 block for random bytes (implicit rejection). */
    if (m->mechanism != CKM_AES_CBC && m->mechanism != CKM_AES_ECB && m->mechanism != CKM_AES_CBC_PAD && m->mechanism != CKM_RSA_PKCS)
        RV(C_UnwrapKey(s, m, back, wrapped, n, t, n_t, &again), CKR_WRAPPED_KEY_INVALID);
    return again;
}

static void aes_wraps_by_every_mechanism(void **state)
{
    CK_GCM_PARAMS gcm = {(CK_BYTE *)"0123456789ab", 12, 96, (CK_BYTE *)"aad", 3, 128};
    CK_CCM_PARAMS ccm = {0, (CK_BYTE *)"0123456789ab", 12, NULL, 0, 16};
    CK_MECHANISM m[] = {{CKM_AES_KEY_WRAP, NULL, 0},
                        {CKM_AES_KEY_WRAP, (CK_BYTE *)"12345678", 8},
                        {CKM_AES_KEY_WRAP_KWP, NULL, 0},
                        {CKM_AES_KEY_WRAP_PAD, NULL, 0},
                        {CKM_AES_KEY_WRAP_PKCS7, NULL, 0},
                        {CKM_AES_ECB, NULL, 0},
                        {CKM_AES_CBC, (CK_BYTE *)"0123456789abcdef", 16},
                        {CKM_AES_CBC_PAD, (CK_BYTE *)"0123456789abcdef", 16},
                        {CKM_AES_GCM, &gcm, sizeof(gcm)},
                        {CKM_AES_CCM, &ccm, sizeof(ccm)}};
    CK_ULONG len = 24;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                        {CKA_KEY_TYPE, &aes, sizeof(aes)},
                        {CKA_VALUE_LEN, &len, sizeof(len)}};
    CK_MECHANISM gen = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG with_len = 32;
    CK_ATTRIBUTE all[] = {{CKA_VALUE_LEN, &with_len, sizeof(with_len)},
                          {CKA_WRAP, &yes, 1},
                          {CKA_UNWRAP, &yes, 1},
                          {CKA_ENCRYPT, &yes, 1},
                          {CKA_DECRYPT, &yes, 1}};
    CK_OBJECT_HANDLE with = 0, key = aes_key(false, 24);
    (void)state;

    OK(C_GenerateKey(s, &gen, all, 5, &with)); /* every flag set: works for keys that are no secret */
    for (size_t i = 0; i < COUNT(m); i++)
        assert_same(key, round_trip(&m[i], with, with, key, t, 3));
    /* whole keys only, where padding is not the program's */
    len = 16;
    CK_BYTE wrapped[64];
    CK_ULONG n = sizeof(wrapped);
    CK_OBJECT_HANDLE again = 0;
    OK(C_WrapKey(s, &m[0], with, key, wrapped, &n));
    RV(C_UnwrapKey(s, &m[0], with, wrapped, n, t, 3, &again), CKR_TEMPLATE_INCONSISTENT);
    RV(C_UnwrapKey(s, &m[0], with, wrapped, n - 1, t, 2, &again), CKR_WRAPPED_KEY_LEN_RANGE);
    RV(C_UnwrapKey(s, &m[0], with, wrapped, n, t, 1, &again), CKR_TEMPLATE_INCOMPLETE);
    RV(C_UnwrapKey(s, &m[0], 999999, wrapped, n, t, 2, &again), CKR_UNWRAPPING_KEY_HANDLE_INVALID);
    RV(C_UnwrapKey(s, &m[0], key, wrapped, n, t, 2, &again), CKR_KEY_FUNCTION_NOT_PERMITTED);
    RV(C_WrapKey(s, &m[0], 999999, key, wrapped, &n), CKR_WRAPPING_KEY_HANDLE_INVALID);
    RV(C_WrapKey(s, &m[0], with, 999999, wrapped, &n), CKR_KEY_HANDLE_INVALID);
    n = sizeof(wrapped);
    RV(C_WrapKey(s, &m[0], with, known(CKK_GENERIC_SECRET, "twelve bytes", 12), wrapped, &n), CKR_KEY_SIZE_RANGE);
}

static void sensitive_keys_go_under_wrapping_keys(void **state)
{
    CK_MECHANISM kw = {CKM_AES_KEY_WRAP, NULL, 0}, kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_KEY_TYPE, &aes, sizeof(aes)}};
    CK_OBJECT_HANDLE with = wrapping_key(32, NULL, 0), key = aes_key(true, 32), again;
    CK_BBOOL sensitive = 0, always = 1, never = 1, extractable = 0, local = 1;
    CK_ATTRIBUTE get[] = {{CKA_SENSITIVE, &sensitive, 1},
                          {CKA_ALWAYS_SENSITIVE, &always, 1},
                          {CKA_NEVER_EXTRACTABLE, &never, 1},
                          {CKA_EXTRACTABLE, &extractable, 1},
                          {CKA_LOCAL, &local, 1}};
    (void)state;

    again = round_trip(&kw, with, with, key, t, 2);
    assert_same(key, again);
    OK(C_GetAttributeValue(s, again, get, 5));
    assert_true(sensitive && extractable && !always && !never && !local);
    assert_same(key, round_trip(&kwp, with, with, key, t, 2));
}

static void private_keys_travel_as_pkcs8(void **state)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_MECHANISM gen = {CKM_EC_KEY_PAIR_GEN, NULL, 0}, rsa_gen = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0}, ecdsa = {CKM_ECDSA_SHA256, NULL, 0},
                 pkcs1 = {CKM_SHA256_RSA_PKCS, NULL, 0};
    CK_ULONG bits = 2048, n = 512;
    CK_KEY_TYPE rsa = CKK_RSA;
    CK_ATTRIBUTE public[] = {{CKA_EC_PARAMS, p256, sizeof(p256)}},
                 rsa_public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)}};
    CK_ATTRIBUTE private[] = {{CKA_EXTRACTABLE, &yes, 1}, {CKA_SIGN, &yes, 1}, {CKA_SENSITIVE, &yes, 1}};
    CK_ATTRIBUTE t[] = {
        {CKA_CLASS, &private_class, sizeof(private_class)}, {CKA_KEY_TYPE, &ec, sizeof(ec)}, {CKA_SIGN, &yes, 1}};
    CK_OBJECT_HANDLE with = wrapping_key(32, NULL, 0), pub, key, again;
    CK_BYTE signature[512];
    (void)state;

    OK(C_GenerateKeyPair(s, &gen, public, 1, private, 3, &pub, &key));
    again = round_trip(&kwp, with, with, key, t, 3);
    OK(C_SignInit(s, &ecdsa, again));
    OK(C_Sign(s, BYTES("text"), signature, &n));
    OK(C_VerifyInit(s, &ecdsa, pub));
    OK(C_Verify(s, BYTES("text"), signature, n));
    CK_BYTE wrapped[4096];
    CK_ULONG len = sizeof(wrapped);
    OK(C_WrapKey(s, &kwp, with, key, wrapped, &len));
    t[1].pValue = &rsa; /* not what it is */
    RV(C_UnwrapKey(s, &kwp, with, wrapped, len, t, 3, &again), CKR_WRAPPED_KEY_INVALID);

    OK(C_GenerateKeyPair(s, &rsa_gen, rsa_public, 1, private, 3, &pub, &key));
    again = round_trip(&kwp, with, with, key, t, 3);
    n = sizeof(signature);
    OK(C_SignInit(s, &pkcs1, again));
    OK(C_Sign(s, BYTES("text"), signature, &n));
    OK(C_VerifyInit(s, &pkcs1, pub));
    OK(C_Verify(s, BYTES("text"), signature, n));
}

static void rsa_wraps(void **state)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, NULL, 0};
    CK_RSA_AES_KEY_WRAP_PARAMS both = {256, &oaep};
    CK_MECHANISM gen = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_MECHANISM m[] = {
        {CKM_RSA_PKCS, NULL, 0}, {CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep)}, {CKM_RSA_AES_KEY_WRAP, &both, sizeof(both)}};
    CK_ULONG bits = 2048;
    CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)}, {CKA_WRAP, &yes, 1}};
    CK_ATTRIBUTE private[] = {{CKA_UNWRAP, &yes, 1}, {CKA_DECRYPT, &yes, 1}};
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_KEY_TYPE, &aes, sizeof(aes)}};
    CK_OBJECT_HANDLE pub, key, secret = aes_key(false, 32);
    (void)state;

    OK(C_GenerateKeyPair(s, &gen, public, 2, private, 2, &pub,
                         &key)); /* session objects: the public one never left the module */
    for (size_t i = 0; i < COUNT(m); i++)
        assert_same(secret, round_trip(&m[i], pub, key, secret, t, 2));
    CK_BYTE wrapped[1024];
    CK_ULONG n = sizeof(wrapped);
    RV(C_WrapKey(s, &m[0], key, secret, wrapped, &n), CKR_WRAPPING_KEY_TYPE_INCONSISTENT);
    RV(C_WrapKey(s, &m[0], pub, known(CKK_GENERIC_SECRET, wrapped, 246), wrapped, &n), CKR_KEY_SIZE_RANGE);
    both.ulAESKeyBits = 100;
    RV(C_WrapKey(s, &m[2], pub, secret, wrapped, &n), CKR_MECHANISM_PARAM_INVALID);
}

/* A session copy of a sensitive key is the key itself, but what it gave up counts for it. */
static void a_session_copy_that_gave_something_up_has_given_it_up(void **state)
{
    CK_MECHANISM gen = {CKM_AES_KEY_GEN, NULL, 0}, kw = {CKM_AES_KEY_WRAP, NULL, 0},
                 hash = {CKM_SHA256_KEY_DERIVATION, NULL, 0};
    CK_ULONG len = 32, n = 64;
    CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &len, sizeof(len)},
                        {CKA_SENSITIVE, &yes, 1},
                        {CKA_EXTRACTABLE, &yes, 1},
                        {CKA_TOKEN, &yes, 1},
                        {CKA_DERIVE, &yes, 1}};
    CK_ATTRIBUTE less[] = {{CKA_TOKEN, &no, 1}, {CKA_EXTRACTABLE, &no, 1}, {CKA_DERIVE, &no, 1}};
    CK_OBJECT_HANDLE key = 0, copy = 0, with = wrapping_key(32, NULL, 0), derived = 0;
    CK_BYTE wrapped[64];
    (void)state;

    OK(C_GenerateKey(s, &gen, t, 5, &key));
    OK(C_CopyObject(s, key, less, 1, &copy));
    OK(C_WrapKey(s, &kw, with, copy, wrapped, &n));
    OK(C_DeriveKey(s, &hash, copy, NULL, 0, &derived));
    OK(C_SetAttributeValue(s, copy, less + 1, 2));
    RV(C_WrapKey(s, &kw, with, copy, wrapped, &n), CKR_KEY_UNEXTRACTABLE);
    RV(C_DeriveKey(s, &hash, copy, NULL, 0, &derived), CKR_KEY_FUNCTION_NOT_PERMITTED);
    OK(C_DestroyObject(s, key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aes_wraps_by_every_mechanism),
        cmocka_unit_test(sensitive_keys_go_under_wrapping_keys),
        cmocka_unit_test(private_keys_travel_as_pkcs8),
        cmocka_unit_test(rsa_wraps),
        cmocka_unit_test(a_session_copy_that_gave_something_up_has_given_it_up),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
