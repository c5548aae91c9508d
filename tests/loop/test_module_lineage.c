/* SPDX-License-Identifier: Apache-2.0
 *
 * The known attacks on the separation of keys, each by name, and what lineage lets through (server/service/lineage.c
 * has the rules; tests/lineage looks for attacks that nobody has a name for). The token has the level `lineage`.
 */
#include "loop.h"

#include <dlfcn.h>
#include <stdlib.h>

static CK_SESSION_HANDLE s;
static CK_FUNCTION_LIST_3_2 *N;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY, public_class = CKO_PUBLIC_KEY;
static CK_KEY_TYPE aes = CKK_AES, generic = CKK_GENERIC_SECRET, rsa = CKK_RSA;
static CK_MECHANISM kw = {CKM_AES_KEY_WRAP, NULL, 0}, kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int setup(void **state)
{
    CK_RV (*get)(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS);
    CK_INTERFACE *interface = NULL;
    int rv = loop_setup(state);

    *(void **)&get = dlsym(dlopen(getenv("KEYMOOT_MODULE"), RTLD_NOW | RTLD_NOLOAD), "C_GetInterface");
    assert_int_equal(get((CK_UTF8CHAR *)"PKCS 11", &(CK_VERSION){3, 2}, &interface, 0), CKR_OK);
    N = interface->pFunctionList;
    s = loop_login();
    return rv;
}

/* An AES key with these attributes besides CKA_SENSITIVE. */
static CK_OBJECT_HANDLE key_of(CK_ULONG len, CK_BBOOL sensitive, const CK_ATTRIBUTE *more, CK_ULONG n)
{
    CK_MECHANISM gen = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE t[16] = {{CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_SENSITIVE, &sensitive, 1}};
    CK_OBJECT_HANDLE key = 0;

    if (n > 0)
        memcpy(t + 2, more, n * sizeof(*more));
    OK(C_GenerateKey(s, &gen, t, 2 + n, &key));
    return key;
}

#define KEY(len, sensitive, ...)                                                                                       \
    key_of(len, sensitive, (CK_ATTRIBUTE[]){__VA_ARGS__}, sizeof((CK_ATTRIBUTE[]){__VA_ARGS__}) / sizeof(CK_ATTRIBUTE))

/* What is to stay secret, but may leave under another key. */
static CK_OBJECT_HANDLE secret(CK_ULONG len)
{
    return KEY(len, true, {CKA_EXTRACTABLE, &yes, 1}, {CKA_DERIVE, &yes, 1});
}

static CK_OBJECT_HANDLE wrapping_key(CK_ULONG len)
{
    return KEY(len, true, {CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}, {CKA_EXTRACTABLE, &yes, 1});
}

static CK_RV wrap(CK_MECHANISM *m, CK_OBJECT_HANDLE with, CK_OBJECT_HANDLE key)
{
    CK_BYTE out[4096];
    CK_ULONG n = sizeof(out);

    return F->C_WrapKey(s, m, with, key, out, &n);
}

static void a_key_that_could_do_something_else_wraps_no_secret(void **state)
{
    static const CK_ATTRIBUTE_TYPE others[] = {CKA_DECRYPT, CKA_ENCRYPT, CKA_SIGN, CKA_VERIFY, CKA_DERIVE};
    CK_OBJECT_HANDLE key = secret(32), open = KEY(32, false, {CKA_EXTRACTABLE, &yes, 1});
    (void)state;

    for (size_t i = 0; i < COUNT(others); i++) {
        CK_OBJECT_HANDLE with = KEY(32, true, {CKA_WRAP, &yes, 1}, {others[i], &yes, 1}), copy = 0;
        CK_ATTRIBUTE narrow[] = {{others[i], &no, 1}};
        assert_int_equal(wrap(&kw, with, key), CKR_KEY_NOT_WRAPPABLE);
        assert_int_equal(wrap(&kw, with, open), CKR_OK); /* it works, but for no secret */
        OK(C_SetAttributeValue(s, with, narrow, 1));     /* giving the role up makes it no better */
        assert_int_equal(wrap(&kw, with, key), CKR_KEY_NOT_WRAPPABLE);
        OK(C_CopyObject(s, with, narrow, 1, &copy));
        assert_int_equal(wrap(&kw, copy, key), CKR_KEY_NOT_WRAPPABLE);
    }
    assert_int_equal(wrap(&kw, KEY(32, true, {CKA_WRAP, &yes, 1}), key), CKR_OK);
}

static void a_key_that_somebody_may_know_wraps_no_secret(void **state)
{
    CK_BYTE value[32] = "0123456789abcdef0123456789abcde", n[256], e[] = {1, 0, 1};
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)},
                        {CKA_KEY_TYPE, &aes, sizeof(aes)},
                        {CKA_VALUE, value, 32},
                        {CKA_SENSITIVE, &yes, 1},
                        {CKA_WRAP, &yes, 1}};
    CK_ATTRIBUTE p[] = {{CKA_CLASS, &public_class, sizeof(public_class)},
                        {CKA_KEY_TYPE, &rsa, sizeof(rsa)},
                        {CKA_MODULUS, n, sizeof(n)},
                        {CKA_PUBLIC_EXPONENT, e, sizeof(e)},
                        {CKA_WRAP, &yes, 1}};
    CK_ULONG len = 32;
    CK_ATTRIBUTE derived[] = {{CKA_KEY_TYPE, &aes, sizeof(aes)},
                              {CKA_VALUE_LEN, &len, sizeof(len)},
                              {CKA_SENSITIVE, &yes, 1},
                              {CKA_WRAP, &yes, 1},
                              {CKA_EXTRACTABLE, &yes, 1}};
    CK_MECHANISM hash = {CKM_SHA256_KEY_DERIVATION, NULL, 0},
                 oaep = {CKM_RSA_PKCS_OAEP,
                         &(CK_RSA_PKCS_OAEP_PARAMS){CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, NULL, 0},
                         sizeof(CK_RSA_PKCS_OAEP_PARAMS)};
    CK_OBJECT_HANDLE key = secret(16), with = 0, base = KEY(32, true, {CKA_DERIVE, &yes, 1});
    (void)state;

    OK(C_CreateObject(s, t, 5, &with));
    assert_int_equal(wrap(&kw, with, key), CKR_KEY_NOT_WRAPPABLE);
    memset(n, 0xc3, sizeof(n)); /* odd, and big enough */
    OK(C_CreateObject(s, p, 5, &with));
    assert_int_equal(wrap(&oaep, with, key), CKR_KEY_NOT_WRAPPABLE);
    OK(C_DeriveKey(s, &hash, base, derived, 5, &with));
    assert_int_equal(wrap(&kw, with, key), CKR_KEY_NOT_WRAPPABLE);
    assert_int_equal(wrap(&kw, KEY(32, false, {CKA_WRAP, &yes, 1}), key), CKR_KEY_NOT_WRAPPABLE);
    with = KEY(32, false, {CKA_WRAP, &yes, 1}); /* readable for a moment is readable */
    OK(C_SetAttributeValue(s, with, &(CK_ATTRIBUTE){CKA_SENSITIVE, &yes, 1}, 1));
    assert_int_equal(wrap(&kw, with, key), CKR_KEY_NOT_WRAPPABLE);
}

static void a_weaker_key_wraps_no_secret_and_a_wrapping_key_is_not_wrapped(void **state)
{
    (void)state;

    assert_int_equal(wrap(&kw, wrapping_key(16), secret(16)), CKR_OK);
    assert_int_equal(wrap(&kw, wrapping_key(16), secret(24)), CKR_KEY_NOT_WRAPPABLE);
    assert_int_equal(wrap(&kw, wrapping_key(24), secret(32)), CKR_KEY_NOT_WRAPPABLE);
    assert_int_equal(wrap(&kw, wrapping_key(32), wrapping_key(32)), CKR_KEY_NOT_WRAPPABLE);
    assert_int_equal(wrap(&kw, wrapping_key(32), KEY(32, true, {CKA_EXTRACTABLE, &no, 1})), CKR_KEY_UNEXTRACTABLE);
}

static void a_wrapped_key_comes_back_as_a_secret_only(void **state)
{
    CK_OBJECT_HANDLE with = wrapping_key(32), key = secret(32), again = 0;
    CK_ATTRIBUTE t[] = {
        {CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_SENSITIVE, &no, 1}};
    CK_ATTRIBUTE role[] = {t[0], t[1], {CKA_WRAP, &yes, 1}};
    CK_BYTE blob[64];
    CK_ULONG n = sizeof(blob);
    (void)state;

    OK(C_WrapKey(s, &kw, with, key, blob, &n));
    RV(C_UnwrapKey(s, &kw, with, blob, n, t, 3, &again), CKR_TEMPLATE_INCONSISTENT);
    RV(C_UnwrapKey(s, &kw, with, blob, n, role, 3, &again), CKR_TEMPLATE_INCONSISTENT);
    role[2].type = CKA_UNWRAP;
    RV(C_UnwrapKey(s, &kw, with, blob, n, role, 3, &again), CKR_TEMPLATE_INCONSISTENT);
    OK(C_UnwrapKey(s, &kw, with, blob, n, t, 2, &again));
    RV(C_GetAttributeValue(s, again, &(CK_ATTRIBUTE){CKA_VALUE, blob, sizeof(blob)}, 1), CKR_ATTRIBUTE_SENSITIVE);
    assert_int_equal(wrap(&kw, with, again), CKR_OK);
}

static void wrapping_keys_work_by_mechanisms_that_authenticate(void **state)
{
    CK_GCM_PARAMS gcm = {(CK_BYTE *)"0123456789ab", 12, 96, NULL, 0, 128};
    CK_MECHANISM unsound[] = {{CKM_AES_ECB, NULL, 0},
                              {CKM_AES_CBC, (CK_BYTE[16]){0}, 16},
                              {CKM_AES_CBC_PAD, (CK_BYTE[16]){0}, 16},
                              {CKM_AES_KEY_WRAP_PKCS7, NULL, 0},
                              {CKM_AES_KEY_WRAP, (CK_BYTE *)"8 bytes!", 8},
                              {CKM_AES_GCM, &gcm, sizeof(gcm)}};
    CK_OBJECT_HANDLE with = wrapping_key(32), key = secret(32), open = KEY(32, false, {CKA_EXTRACTABLE, &yes, 1}),
                     again = 0;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_KEY_TYPE, &aes, sizeof(aes)}};
    CK_BYTE blob[64];
    CK_ULONG n = sizeof(blob);
    (void)state;

    OK(C_WrapKey(s, &kw, with, key, blob, &n));
    for (size_t i = 0; i < COUNT(unsound); i++) {
        assert_int_equal(wrap(&unsound[i], with, key), CKR_KEY_NOT_WRAPPABLE);
        assert_int_equal(wrap(&unsound[i], with, open),
                         CKR_KEY_NOT_WRAPPABLE); /* or its answers would tell of others */
        if (unsound[i].mechanism != CKM_AES_GCM)
            RV(C_UnwrapKey(s, &unsound[i], with, blob, n, t, 2, &again), CKR_KEY_FUNCTION_NOT_PERMITTED);
    }
}

static void authenticated_wrapping_makes_its_own_iv(void **state)
{
    CK_BYTE iv[2][12] = {{0}}, blob[2][64], nonce[13] = {0};
    CK_GCM_WRAP_PARAMS gcm = {iv[0], 12, 0, CKG_GENERATE_RANDOM, NULL, 0, 128};
    CK_CCM_WRAP_PARAMS ccm = {0, nonce, 13, 0, CKG_GENERATE, NULL, 0, 16};
    CK_MECHANISM m = {CKM_AES_GCM, &gcm, sizeof(gcm)}, c = {CKM_AES_CCM, &ccm, sizeof(ccm)};
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_KEY_TYPE, &aes, sizeof(aes)}};
    CK_OBJECT_HANDLE with = wrapping_key(32), key = secret(32), again = 0;
    CK_ULONG n[2] = {64, 64};
    (void)state;

    for (int i = 0; i < 2; i++) {
        gcm.pIv = iv[i];
        assert_int_equal(N->C_WrapKeyAuthenticated(s, &m, with, key, (CK_BYTE *)"for A", 5, NULL, &n[i]), CKR_OK);
        assert_int_equal(n[i], 48);
        assert_int_equal(N->C_WrapKeyAuthenticated(s, &m, with, key, (CK_BYTE *)"for A", 5, blob[i], &n[i]), CKR_OK);
    }
    assert_memory_not_equal(iv[0], iv[1], 12);
    assert_int_equal(N->C_UnwrapKeyAuthenticated(s, &m, with, blob[1], n[1], t, 2, (CK_BYTE *)"for A", 5, &again),
                     CKR_OK);
    assert_int_equal(N->C_UnwrapKeyAuthenticated(s, &m, with, blob[1], n[1], t, 2, (CK_BYTE *)"for B", 5, &again),
                     CKR_WRAPPED_KEY_INVALID);
    assert_int_equal(N->C_UnwrapKeyAuthenticated(s, &m, with, blob[0], n[0], t, 2, (CK_BYTE *)"for A", 5, &again),
                     CKR_WRAPPED_KEY_INVALID);
    gcm.ivGenerator = CKG_NO_GENERATE;
    assert_int_equal(N->C_WrapKeyAuthenticated(s, &m, with, key, NULL, 0, blob[0], &n[0]), CKR_KEY_NOT_WRAPPABLE);
    gcm.ivGenerator = CKG_GENERATE_COUNTER; /* nobody counts */
    assert_int_equal(N->C_WrapKeyAuthenticated(s, &m, with, key, NULL, 0, blob[0], &n[0]), CKR_MECHANISM_PARAM_INVALID);
    n[0] = 64;
    assert_int_equal(N->C_WrapKeyAuthenticated(s, &c, with, key, (CK_BYTE *)"aad", 3, blob[0], &n[0]), CKR_OK);
    assert_int_equal(N->C_UnwrapKeyAuthenticated(s, &c, with, blob[0], n[0], t, 2, (CK_BYTE *)"aad", 3, &again),
                     CKR_OK);
    assert_int_equal(N->C_WrapKeyAuthenticated(s, &kw, with, key, NULL, 0, blob[0], &n[0]), CKR_MECHANISM_INVALID);
}

static void templates_of_wrapping_keys_are_obeyed(void **state)
{
    CK_ATTRIBUTE only_aes[] = {{CKA_KEY_TYPE, &aes, sizeof(aes)}};
    CK_ATTRIBUTE imposed[] = {{CKA_ENCRYPT, &yes, 1}, {CKA_DECRYPT, &no, 1}, {CKA_EXTRACTABLE, &no, 1}};
    CK_OBJECT_HANDLE with =
        KEY(32, true, {CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}, {CKA_WRAP_TEMPLATE, only_aes, sizeof(only_aes)},
            {CKA_UNWRAP_TEMPLATE, imposed, sizeof(imposed)});
    CK_MECHANISM gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ULONG len = 32, n = 64;
    CK_ATTRIBUTE g[] = {{CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_EXTRACTABLE, &yes, 1}};
    CK_ATTRIBUTE t[] = {
        {CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_KEY_TYPE, &aes, sizeof(aes)}, {CKA_DECRYPT, &yes, 1}};
    CK_BBOOL decrypts = 1, extractable = 1;
    CK_ATTRIBUTE get[] = {{CKA_DECRYPT, &decrypts, 1}, {CKA_EXTRACTABLE, &extractable, 1}};
    CK_OBJECT_HANDLE other = 0, again = 0;
    CK_BYTE blob[64];
    (void)state;

    OK(C_GenerateKey(s, &gen, g, 2, &other));
    assert_int_equal(wrap(&kw, with, other), CKR_KEY_HANDLE_INVALID);
    OK(C_WrapKey(s, &kw, with, secret(32), blob, &n));
    RV(C_UnwrapKey(s, &kw, with, blob, n, t, 3, &again), CKR_TEMPLATE_INCONSISTENT);
    OK(C_UnwrapKey(s, &kw, with, blob, n, t, 2, &again));
    OK(C_GetAttributeValue(s, again, get, 2));
    assert_false(decrypts || extractable);
}

static void a_derive_template_is_obeyed(void **state)
{
    CK_ATTRIBUTE imposed[] = {{CKA_SENSITIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}};
    CK_OBJECT_HANDLE base = KEY(32, true, {CKA_DERIVE, &yes, 1}, {CKA_DERIVE_TEMPLATE, imposed, sizeof(imposed)}),
                     key = 0;
    CK_MECHANISM m = {CKM_SHA256_KEY_DERIVATION, NULL, 0};
    CK_ATTRIBUTE t[] = {{CKA_SENSITIVE, &no, 1}};
    CK_BBOOL sensitive = 0;
    (void)state;

    RV(C_DeriveKey(s, &m, base, t, 1, &key), CKR_TEMPLATE_INCONSISTENT);
    OK(C_DeriveKey(s, &m, base, NULL, 0, &key));
    OK(C_GetAttributeValue(s, key, &(CK_ATTRIBUTE){CKA_SENSITIVE, &sensitive, 1}, 1));
    assert_true(sensitive);
}

static void no_part_of_a_secret_can_be_derived(void **state)
{
    CK_OBJECT_HANDLE base = secret(32), key = 0;
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE *)"0123456789abcdef0123456789abcdef", 32}, one = {(CK_BYTE *)"x", 1};
    CK_EXTRACT_PARAMS bit = 0;
    CK_ULONG len = 1;
    CK_ATTRIBUTE t[] = {{CKA_KEY_TYPE, &generic, sizeof(generic)},
                        {CKA_SENSITIVE, &no, 1},
                        {CKA_EXTRACTABLE, &yes, 1},
                        {CKA_VALUE_LEN, &len, sizeof(len)}};
    CK_MECHANISM xor = {CKM_XOR_BASE_AND_DATA, &data, sizeof(data)},
                 xor_one = {CKM_XOR_BASE_AND_DATA, &one, sizeof(one)},
                 after = {CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof(data)},
                 before = {CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof(data)},
                 extract = {CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof(bit)};
    CK_BBOOL sensitive = 0;
    CK_ATTRIBUTE get = {CKA_SENSITIVE, &sensitive, 1};
    (void)state;

    RV(C_DeriveKey(s, &extract, base, t, 4, &key), CKR_KEY_FUNCTION_NOT_PERMITTED);
    RV(C_DeriveKey(s, &before, base, t, 4, &key), CKR_KEY_SIZE_RANGE);
    len = 33; /* the data and one byte more */
    RV(C_DeriveKey(s, &after, base, t, 4, &key), CKR_KEY_SIZE_RANGE);
    RV(C_DeriveKey(s, &xor_one, base, t, 3, &key), CKR_KEY_SIZE_RANGE);
    OK(C_DeriveKey(s, &xor, base, t, 3, &key)); /* as secret as its base, whatever the template says */
    OK(C_GetAttributeValue(s, key, &get, 1));
    assert_true(sensitive);
    RV(C_DeriveKey(s,
                   &(CK_MECHANISM){CKM_CONCATENATE_BASE_AND_KEY, &(CK_OBJECT_HANDLE){999999}, sizeof(CK_OBJECT_HANDLE)},
                   base, t, 3, &key),
       CKR_KEY_HANDLE_INVALID);
}

static void pairs_wrap_secrets_too(void **state)
{
    CK_MECHANISM_TYPE only[] = {CKM_RSA_AES_KEY_WRAP};
    CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, NULL, 0};
    CK_RSA_AES_KEY_WRAP_PARAMS both = {256, &oaep};
    CK_MECHANISM gen = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0}, by_oaep = {CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep)},
                 by_both = {CKM_RSA_AES_KEY_WRAP, &both, sizeof(both)}, by_pkcs1 = {CKM_RSA_PKCS, NULL, 0};
    CK_ULONG bits = 3072;
    CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)}, {CKA_WRAP, &yes, 1}, {CKA_TOKEN, &yes, 1}};
    CK_ATTRIBUTE private[] = {{CKA_UNWRAP, &yes, 1},
                              {CKA_TOKEN, &yes, 1},
                              {CKA_SENSITIVE, &yes, 1},
                              {CKA_ALLOWED_MECHANISMS, only, sizeof(only)}};
    CK_OBJECT_HANDLE pub, key, pub2, key2, secret16 = secret(16);
    (void)state;

    OK(C_GenerateKeyPair(s, &gen, public, 3, private, 3, &pub, &key));
    assert_int_equal(wrap(&by_oaep, pub, secret16), CKR_OK);
    assert_int_equal(wrap(&by_oaep, pub, secret(32)), CKR_KEY_NOT_WRAPPABLE); /* weaker */
    assert_int_equal(wrap(&by_both, pub, secret16), CKR_KEY_NOT_WRAPPABLE);   /* OAEP would unwrap the key in between */
    assert_int_equal(wrap(&by_pkcs1, pub, secret16), CKR_KEY_NOT_WRAPPABLE);
    OK(C_GenerateKeyPair(s, &gen, public, 3, private, 4, &pub2, &key2));
    assert_int_equal(wrap(&by_both, pub2, secret16), CKR_OK);

    OK(C_DestroyObject(s, key));
    OK(C_DestroyObject(s, key2));
    OK(C_Logout(s)); /* the SO vouches for a key, wherever it came from */
    OK(C_Login(s, CKU_SO, BYTES(getenv("KEYMOOT_SO_PIN"))));
    OK(C_SetAttributeValue(s, pub, &(CK_ATTRIBUTE){CKA_TRUSTED, &yes, 1}, 1));
    OK(C_Logout(s));
    OK(C_Login(s, CKU_USER, loop_pin(), loop_pin_len()));
    RV(C_SetAttributeValue(s, pub2, &(CK_ATTRIBUTE){CKA_TRUSTED, &yes, 1}, 1), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(wrap(&by_oaep, pub, secret(32)), CKR_OK);
    assert_int_equal(wrap(&by_oaep, pub, KEY(16, true, {CKA_EXTRACTABLE, &yes, 1}, {CKA_WRAP_WITH_TRUSTED, &yes, 1})),
                     CKR_OK);
    assert_int_equal(
        wrap(&kw, wrapping_key(32), KEY(16, true, {CKA_EXTRACTABLE, &yes, 1}, {CKA_WRAP_WITH_TRUSTED, &yes, 1})),
        CKR_KEY_NOT_WRAPPABLE);
    OK(C_DestroyObject(s, pub));
    OK(C_DestroyObject(s, pub2));
}

static void what_was_unwrapped_dies_with_its_key(void **state)
{
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    CK_OBJECT_HANDLE with = KEY(32, true, {CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}, {CKA_TOKEN, &yes, 1}), again = 0;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &secret_class, sizeof(secret_class)}, {CKA_KEY_TYPE, &aes, sizeof(aes)}};
    CK_BYTE blob[64], block[16] = {0};
    CK_ULONG n = sizeof(blob), m = 16;
    (void)state;

    OK(C_WrapKey(s, &kwp, with, secret(32), blob, &n));
    OK(C_UnwrapKey(s, &kwp, with, blob, n, t, 2, &again));
    OK(C_EncryptInit(s, &ecb, again));
    OK(C_Encrypt(s, block, 16, block, &m));
    OK(C_DestroyObject(s, with));
    m = 16;
    OK(C_EncryptInit(s, &ecb, again));
    RV(C_Encrypt(s, block, 16, block, &m), CKR_KEY_HANDLE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_could_do_something_else_wraps_no_secret),
        cmocka_unit_test(a_key_that_somebody_may_know_wraps_no_secret),
        cmocka_unit_test(a_weaker_key_wraps_no_secret_and_a_wrapping_key_is_not_wrapped),
        cmocka_unit_test(a_wrapped_key_comes_back_as_a_secret_only),
        cmocka_unit_test(wrapping_keys_work_by_mechanisms_that_authenticate),
        cmocka_unit_test(authenticated_wrapping_makes_its_own_iv),
        cmocka_unit_test(templates_of_wrapping_keys_are_obeyed),
        cmocka_unit_test(a_derive_template_is_obeyed),
        cmocka_unit_test(no_part_of_a_secret_can_be_derived),
        cmocka_unit_test(pairs_wrap_secrets_too),
        cmocka_unit_test(what_was_unwrapped_dies_with_its_key),
    };
    return cmocka_run_group_tests(tests, setup, loop_teardown);
}
