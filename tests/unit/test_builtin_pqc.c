/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in back end: ML-KEM, ML-DSA and SLH-DSA where OpenSSL has them; elsewhere they are not there at all.
 */
#include "builtin_kit.h"

#include "../../common/domain.h"

#include <openssl/core_names.h>

#if OPENSSL_VERSION_NUMBER < 0x30500000L
static void an_older_openssl_has_none_of_it(void **state)
{
    static const CK_MECHANISM_TYPE types[] = {
        CKM_ML_KEM_KEY_PAIR_GEN, CKM_ML_DSA_KEY_PAIR_GEN, CKM_ML_DSA, CKM_HASH_ML_DSA, CKM_SLH_DSA,
        CKM_HASH_SLH_DSA_SHA256};
    static const CK_KEY_TYPE key_types[] = {CKK_ML_KEM, CKK_ML_DSA, CKK_SLH_DSA};
    Kml__Object object = KML__OBJECT__INIT;
    (void)state;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        assert_null(km_mech(types[i]));
    for (size_t i = 0; i < sizeof(key_types) / sizeof(key_types[0]); i++) {
        assert_false(km_key_type_is_pair(key_types[i]));
        assert_int_equal(bring_public(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, key_types[i]),
                                           A_ULONG(CKA_PARAMETER_SET, 1), A_STR(CKA_VALUE, "x")),
                                      &object),
                         CKR_ATTRIBUTE_VALUE_INVALID);
    }
}
#else

struct row {
    CK_KEY_TYPE key_type;
    CK_MECHANISM_TYPE generate;
    CK_ULONG set;
    const char *name;
};
static const struct row rows[] = {
    {CKK_ML_KEM, CKM_ML_KEM_KEY_PAIR_GEN, CKP_ML_KEM_512, "ML-KEM-512"},
    {CKK_ML_KEM, CKM_ML_KEM_KEY_PAIR_GEN, CKP_ML_KEM_768, "ML-KEM-768"},
    {CKK_ML_KEM, CKM_ML_KEM_KEY_PAIR_GEN, CKP_ML_KEM_1024, "ML-KEM-1024"},
    {CKK_ML_DSA, CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_44, "ML-DSA-44"},
    {CKK_ML_DSA, CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_65, "ML-DSA-65"},
    {CKK_ML_DSA, CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_87, "ML-DSA-87"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHA2_128S, "SLH-DSA-SHA2-128s"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHAKE_128S, "SLH-DSA-SHAKE-128s"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHA2_128F, "SLH-DSA-SHA2-128f"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHAKE_128F, "SLH-DSA-SHAKE-128f"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHA2_192S, "SLH-DSA-SHA2-192s"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHAKE_192S, "SLH-DSA-SHAKE-192s"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHA2_192F, "SLH-DSA-SHA2-192f"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHAKE_192F, "SLH-DSA-SHAKE-192f"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHA2_256S, "SLH-DSA-SHA2-256s"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHAKE_256S, "SLH-DSA-SHAKE-256s"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHA2_256F, "SLH-DSA-SHA2-256f"},
    {CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, CKP_SLH_DSA_SHAKE_256F, "SLH-DSA-SHAKE-256f"},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void make(const struct row *row, Kml__Object *public, Kml__Object *private)
{
    make_pair(row->generate, TMPL(A_ULONG(CKA_PARAMETER_SET, row->set)), public, private);
}

static Kmw__Template *reveal(const Kml__Object *object)
{
    struct km_secret secret = KM_SECRET_EMPTY;
    Kmw__Template *t;

    assert_int_equal(backend->ops->reveal(backend, object, &secret), KM_BE_OK);
    t = kmw__template__unpack(NULL, secret.len, secret.data);
    assert_non_null(t);
    km_secret_free(&secret);
    return t;
}

/* Every length of the table is OpenSSL's, every parameter set the standard's, and what goes out comes in again. */
static void every_parameter_set_makes_keys_that_come_in_again(void **state)
{
    (void)state;

    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT, again = KML__OBJECT__INIT;
        Kml__Head *head, *private_head, *again_head;
        Kmw__Template *secrets;
        const Kmw__Attr *value, *seed;
        const Kml__Attr *info;
        const struct km_domain *domain;
        EVP_PKEY *pkey;
        make(row, &public, &private);
        pkey = public_of(&public);
        assert_true(EVP_PKEY_is_a(pkey, row->name));
        domain = km_domain_of_pkey(pkey);
        assert_int_equal(domain->set, row->set);
        if (domain->signature_len > 0)
            assert_int_equal(EVP_PKEY_get_size(pkey), domain->signature_len);
        EVP_PKEY_free(pkey);
        head = head_of(&public);
        private_head = head_of(&private);
        assert_int_equal(km_head_find(head, CKA_VALUE)->value.len, domain->public_len);
        assert_int_equal(km_head_ulong(private_head, CKA_PARAMETER_SET, 0), row->set);
        assert_null(km_head_find(private_head, CKA_VALUE));
        secrets = reveal(&private);
        value = km_attr_find(secrets->attrs, secrets->n_attrs, CKA_VALUE);
        seed = km_attr_find(secrets->attrs, secrets->n_attrs, CKA_SEED);
        assert_int_equal(value->value.len, domain->secret_len);
        assert_int_equal(seed != NULL ? seed->value.len : 0, domain->seed_len);
        for (int with_seed = 0; with_seed < (seed != NULL ? 3 : 1); with_seed++) {
            CK_ATTRIBUTE both[] = {A_BYTES(CKA_VALUE, value->value.data, value->value.len),
                                   A_BYTES(CKA_SEED, seed != NULL ? seed->value.data : NULL, domain->seed_len)};
            Kmw__Template *t;
            if (with_seed == 0)
                t = TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, row->key_type),
                         A_ULONG(CKA_PARAMETER_SET, row->set), both[0]);
            else if (with_seed == 1)
                t = TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, row->key_type),
                         A_ULONG(CKA_PARAMETER_SET, row->set), both[0], both[1]);
            else
                t = TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, row->key_type),
                         A_ULONG(CKA_PARAMETER_SET, row->set), both[1]);
            assert_int_equal(import(t, &again), CKR_OK);
            again_head = head_of(&again);
            info = km_head_find(again_head, CKA_PUBLIC_KEY_INFO);
            assert_true(
                km_head_find(head, CKA_PUBLIC_KEY_INFO)->value.len == info->value.len &&
                memcmp(km_head_find(head, CKA_PUBLIC_KEY_INFO)->value.data, info->value.data, info->value.len) == 0);
            kml__head__free_unpacked(again_head, NULL);
            object_free(&again);
        }
        kmw__template__free_unpacked(secrets, NULL);
        kml__head__free_unpacked(head, NULL);
        kml__head__free_unpacked(private_head, NULL);
        object_free(&public);
        object_free(&private);
    }
}

static void keys_that_do_not_fit_together_are_refused(void **state)
{
    static const uint8_t zeros[4896];
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT, object = KML__OBJECT__INIT;
    Kmw__Template *secrets;
    (void)state;

#define ML_DSA A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_ML_DSA)
    make(&rows[3], &public, &private);
    secrets = reveal(&private);
    assert_int_equal(secrets->attrs[0]->type, CKA_SEED);
    secrets->attrs[0]->value.data[0] ^= 1;
    assert_int_equal(import(TMPL(ML_DSA, A_ULONG(CKA_PARAMETER_SET, CKP_ML_DSA_44),
                                 A_BYTES(CKA_SEED, secrets->attrs[0]->value.data, 32),
                                 A_BYTES(CKA_VALUE, secrets->attrs[1]->value.data, 2560)),
                            &object),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    kmw__template__free_unpacked(secrets, NULL);
    assert_int_equal(import(TMPL(ML_DSA, A_ULONG(CKA_PARAMETER_SET, CKP_ML_DSA_44)), &object), CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(import(TMPL(ML_DSA, A_BYTES(CKA_SEED, zeros, 32)), &object), CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(import(TMPL(ML_DSA, A_ULONG(CKA_PARAMETER_SET, 4), A_BYTES(CKA_SEED, zeros, 32)), &object),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(
        import(TMPL(ML_DSA, A_ULONG(CKA_PARAMETER_SET, CKP_ML_DSA_44), A_BYTES(CKA_SEED, zeros, 31)), &object),
        CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(
        import(TMPL(ML_DSA, A_ULONG(CKA_PARAMETER_SET, CKP_ML_DSA_44), A_BYTES(CKA_VALUE, zeros, 4896)), &object),
        CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(bring_public(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, CKK_ML_KEM),
                                       A_ULONG(CKA_PARAMETER_SET, CKP_ML_KEM_512), A_BYTES(CKA_VALUE, zeros, 801)),
                                  &object),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(generate(TMPL(A_STR(CKA_LABEL, "none")), CKM_SLH_DSA_KEY_PAIR_GEN, CKO_PUBLIC_KEY, NULL),
                     CKR_TEMPLATE_INCOMPLETE);
    object_free(&public);
    object_free(&private);
}

/* OpenSSL's judgement, with a context; `encoding` 0: `message` is what algorithm 2 or 4 of FIPS 204 made of it. */
static bool is_good(const Kml__Object *public, const void *message, size_t len, const char *context, int encoding,
                    const uint8_t *signature, size_t signature_len)
{
    EVP_PKEY *pkey = public_of(public);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_MESSAGE_ENCODING, &encoding),
                           OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING,
                                                             (void *)(uintptr_t)context, strlen(context)),
                           OSSL_PARAM_construct_end()};
    bool is_good;

    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, pkey, params), 1);
    is_good = EVP_DigestVerify(ctx, signature, signature_len, message, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return is_good;
}

static void check_pure(const struct row *row, CK_MECHANISM_TYPE type)
{
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
    struct call c = {.type = type, .op = SIGN, .data = TEXT("attack at dawn")}, v;
    uint8_t *first;

    make(row, &public, &private);
    assert_int_equal(use_key(&private, &c), CKR_OK);
    assert_true(is_good(&public, "attack at dawn", 14, "", 1, c.out, c.out_len));
    v = c;
    v.op = VERIFY;
    v.signature = BYTES(c.out, c.out_len);
    assert_int_equal(use_key(&public, &v), CKR_OK);
    v.mechanism.context = TEXT("ctx");
    assert_int_equal(use_key(&public, &v), CKR_SIGNATURE_INVALID);
    v.mechanism.context.len = 256;
    assert_int_equal(use_key(&public, &v), CKR_MECHANISM_PARAM_INVALID);
    first = c.out;
    c.mechanism.context = TEXT("ctx");
    c.mechanism.hedge = CKH_DETERMINISTIC_REQUIRED;
    assert_int_equal(use_key(&private, &c), CKR_OK);
    assert_true(is_good(&public, "attack at dawn", 14, "ctx", 1, c.out, c.out_len));
    v.mechanism.context = TEXT("ctx");
    v.signature = BYTES(c.out, c.out_len);
    assert_int_equal(use_key(&public, &v), CKR_OK);
    v.signature.len--;
    assert_int_equal(use_key(&public, &v), CKR_SIGNATURE_LEN_RANGE);
    free(first);
    first = c.out;
    assert_int_equal(use_key(&private, &c), CKR_OK); /* deterministic */
    assert_memory_equal(first, c.out, c.out_len);
    free(c.out);
    c.mechanism.hedge = CKH_HEDGE_REQUIRED;
    assert_int_equal(use_key(&private, &c), CKR_OK);
    assert_memory_not_equal(first, c.out, c.out_len);
    free(c.out);
    free(first);
    c.mechanism.hedge = 3;
    assert_int_equal(use_key(&private, &c), CKR_MECHANISM_PARAM_INVALID);
    object_free(&public);
    object_free(&private);
}

static void ml_dsa_and_slh_dsa_sign_for_openssl(void **state)
{
    (void)state;

    for (size_t i = 3; i < 6; i++)
        check_pure(&rows[i], CKM_ML_DSA);
    check_pure(&rows[8], CKM_SLH_DSA);
    check_pure(&rows[9], CKM_SLH_DSA);
}

/* The message that HashML-DSA signs (FIPS 204 algorithm 4), made here by hand. */
static size_t marked(const char *md, uint8_t oid, size_t hash_len, const char *context, const char *message,
                     uint8_t *ret)
{
    size_t n = strlen(context);
    EVP_MD *fetched = EVP_MD_fetch(NULL, md, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    ret[0] = 1;
    ret[1] = (uint8_t)n;
    memcpy(ret + 2, context, n);
    memcpy(ret + 2 + n, "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02", 10);
    ret[12 + n] = oid;
    assert_int_equal(EVP_DigestInit_ex2(ctx, fetched, NULL), 1);
    assert_int_equal(EVP_DigestUpdate(ctx, message, strlen(message)), 1);
    if (strncmp(md, "SHAKE", 5) == 0)
        assert_int_equal(EVP_DigestFinalXOF(ctx, ret + 13 + n, hash_len), 1);
    else
        assert_int_equal(EVP_DigestFinal_ex(ctx, ret + 13 + n, NULL), 1);
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(fetched);
    return 13 + n + hash_len;
}

static void prehashed_signatures_are_of_the_marked_hash(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE ml, slh;
        const char *md;
        uint8_t oid;
        size_t len;
    } hashes[] = {
        {CKM_HASH_ML_DSA_SHA224, CKM_HASH_SLH_DSA_SHA224, "SHA224", 4, 28},
        {CKM_HASH_ML_DSA_SHA256, CKM_HASH_SLH_DSA_SHA256, "SHA256", 1, 32},
        {CKM_HASH_ML_DSA_SHA384, CKM_HASH_SLH_DSA_SHA384, "SHA384", 2, 48},
        {CKM_HASH_ML_DSA_SHA512, CKM_HASH_SLH_DSA_SHA512, "SHA512", 3, 64},
        {CKM_HASH_ML_DSA_SHA3_224, CKM_HASH_SLH_DSA_SHA3_224, "SHA3-224", 7, 28},
        {CKM_HASH_ML_DSA_SHA3_256, CKM_HASH_SLH_DSA_SHA3_256, "SHA3-256", 8, 32},
        {CKM_HASH_ML_DSA_SHA3_384, CKM_HASH_SLH_DSA_SHA3_384, "SHA3-384", 9, 48},
        {CKM_HASH_ML_DSA_SHA3_512, CKM_HASH_SLH_DSA_SHA3_512, "SHA3-512", 10, 64},
        {CKM_HASH_ML_DSA_SHAKE128, CKM_HASH_SLH_DSA_SHAKE128, "SHAKE128", 11, 32},
        {CKM_HASH_ML_DSA_SHAKE256, CKM_HASH_SLH_DSA_SHAKE256, "SHAKE256", 12, 64},
    };
    (void)state;

    for (int is_slh = 0; is_slh < 2; is_slh++) {
        Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
        struct call c;
        uint8_t message[400];
        make(&rows[is_slh ? 8 : 4], &public, &private);
        for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
            size_t len = marked(hashes[i].md, hashes[i].oid, hashes[i].len, "ctx", "m", message);
            c = (struct call){.type = is_slh ? hashes[i].slh : hashes[i].ml, .op = SIGN, .data = TEXT("m")};
            c.mechanism.context = TEXT("ctx");
            assert_int_equal(use_key(&private, &c), CKR_OK);
            assert_true(is_good(&public, message, len, "", 0, c.out, c.out_len));
            c.op = VERIFY;
            c.signature = BYTES(c.out, c.out_len);
            assert_int_equal(use_key(&public, &c), CKR_OK);
            c.data = TEXT("n");
            assert_int_equal(use_key(&public, &c), CKR_SIGNATURE_INVALID);
            free(c.signature.data);
        }
        /* the hash in the program's hands */
        c = (struct call){.type = is_slh ? CKM_HASH_SLH_DSA : CKM_HASH_ML_DSA, .op = SIGN};
        c.data = BYTES(message + 13, 64);
        c.mechanism.hash = CKM_SHA512;
        assert_int_equal(use_key(&private, &c), CKR_OK);
        marked("SHA512", 3, 64, "", "m", message);
        c.op = VERIFY;
        c.signature = BYTES(c.out, c.out_len);
        assert_int_equal(use_key(&public, &c), CKR_SIGNATURE_INVALID); /* another hash stands there now */
        free(c.signature.data);
        c.op = SIGN;
        assert_int_equal(use_key(&private, &c), CKR_OK);
        assert_true(is_good(&public, message, 77, "", 0, c.out, c.out_len));
        free(c.out);
        c.data.len = 63;
        assert_int_equal(use_key(&private, &c), CKR_DATA_LEN_RANGE);
        c.mechanism.hash = CKM_SHA_1;
        assert_int_equal(use_key(&private, &c), CKR_MECHANISM_PARAM_INVALID);
        c.mechanism.hash = 0;
        assert_int_equal(use_key(&private, &c), CKR_MECHANISM_PARAM_INVALID);
        object_free(&public);
        object_free(&private);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if OPENSSL_VERSION_NUMBER < 0x30500000L
        cmocka_unit_test(an_older_openssl_has_none_of_it),
#else
        cmocka_unit_test(every_parameter_set_makes_keys_that_come_in_again),
        cmocka_unit_test(keys_that_do_not_fit_together_are_refused),
        cmocka_unit_test(ml_dsa_and_slh_dsa_sign_for_openssl),
        cmocka_unit_test(prehashed_signatures_are_of_the_marked_hash),
#endif
    };

    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
