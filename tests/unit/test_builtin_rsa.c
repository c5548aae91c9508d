/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in back end: RSA against OpenSSL, and RSA keys from outside.
 */
#include "builtin_kit.h"

#include <openssl/bn.h>

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
    check_signature(&public, &private, CKM_SHA3_224_RSA_PKCS, 0, 0, -1);
    check_signature(&public, &private, CKM_SHA3_256_RSA_PKCS, 0, 0, -1);
    check_signature(&public, &private, CKM_SHA3_384_RSA_PKCS, 0, 0, -1);
    check_signature(&public, &private, CKM_SHA3_512_RSA_PKCS, 0, 0, -1);
    check_signature(&public, &private, CKM_SHA3_224_RSA_PKCS_PSS, CKM_SHA3_224, CKG_MGF1_SHA3_224, 28);
    check_signature(&public, &private, CKM_SHA3_256_RSA_PKCS_PSS, CKM_SHA3_256, CKG_MGF1_SHA3_256, 32);
    check_signature(&public, &private, CKM_SHA3_384_RSA_PKCS_PSS, CKM_SHA3_384, CKG_MGF1_SHA3_384, 48);
    check_signature(&public, &private, CKM_SHA3_512_RSA_PKCS_PSS, CKM_SHA3_512, CKG_MGF1_SHA3_512, 64);
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
        {CKM_RSA_PKCS_OAEP, CKM_SHA3_256, CKG_MGF1_SHA3_256, NULL, 190},
        {CKM_RSA_PKCS_OAEP, CKM_SHA3_512, CKG_MGF1_SHA3_224, "label", 126},
        {CKM_RSA_PKCS_OAEP, CKM_SHA512_256, CKG_MGF1_SHA256, "label", 190},
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

/* CKM_RSA_X_509 is the bare power, so a padding made here is one that OpenSSL takes, and the other way round. */
static void rsa_raw_is_the_bare_power(void **state)
{
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
    uint8_t block[256] = {0x00, 0x01};
    static const uint8_t info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                   0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    struct call c = {.type = CKM_RSA_X_509, .op = SIGN, .data = BYTES(block, 256)}, v;
    (void)state;

    make_rsa(2048, &public, &private);
    memset(block + 2, 0xff, sizeof(block) - 2);
    block[256 - 32 - sizeof(info) - 1] = 0;
    memcpy(block + 256 - 32 - sizeof(info), info, sizeof(info));
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, "m", 1, block + 256 - 32, NULL), 1);
    assert_int_equal(use_key(&private, &c), CKR_OK);
    assert_true(openssl_verifies(&public, "SHA256", "m", c.out, c.out_len, -1));
    v = c;
    v.op = VERIFY;
    v.signature = BYTES(c.out, c.out_len);
    assert_int_equal(use_key(&public, &v), CKR_OK);
    v.data = BYTES(block + 1, 255); /* zeros in front are not part of a number */
    assert_int_equal(use_key(&public, &v), CKR_OK);
    block[255] ^= 1;
    assert_int_equal(use_key(&public, &v), CKR_SIGNATURE_INVALID);
    free(c.out);
    c.data = BYTES("\x05", 1);
    c.op = ENCRYPT;
    assert_int_equal(use_key(&public, &c), CKR_OK);
    v = c;
    v.op = DECRYPT;
    v.data = BYTES(c.out, c.out_len);
    assert_int_equal(use_key(&private, &v), CKR_OK);
    assert_int_equal(v.out_len, 256);
    assert_int_equal(v.out[255], 5);
    assert_int_equal(v.out[254], 0);
    free(c.out);
    free(v.out);
    memset(block, 0xff, sizeof(block)); /* more than any modulus of that length */
    c.data = BYTES(block, 256);
    assert_int_equal(use_key(&public, &c), CKR_DATA_INVALID);
    c.op = SIGN;
    assert_int_equal(use_key(&private, &c), CKR_DATA_INVALID);
    v.data = c.data;
    assert_int_equal(use_key(&private, &v), CKR_ENCRYPTED_DATA_INVALID);
    c.data = BYTES(calloc(1, 257), 257);
    assert_int_equal(use_key(&private, &c), CKR_DATA_LEN_RANGE);
    free(c.data.data);
    object_free(&public);
    object_free(&private);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rsa_signs_in_every_padding),
        cmocka_unit_test(rsa_decrypts_what_the_public_key_encrypted),
        cmocka_unit_test(rsa_raw_is_the_bare_power),
        cmocka_unit_test(rsa_keys_are_taken_in_with_and_without_primes),
        cmocka_unit_test(rsa_keys_that_do_not_fit_together_are_refused),
    };

    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
