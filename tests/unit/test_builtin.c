/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in back end: tampering, resealing, macs, threads, and what takes long.
 */
#include "builtin_kit.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

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
    static const struct {
        CK_MECHANISM_TYPE make, use;
        const char *oid;
        size_t oid_len;
        bool is_slow;
    } rows[] = {
        {CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, P256_OID, 10, false},
        {CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, P384_OID, 7, true},
        {CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, P521_OID, 7, true},
        {CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, K256_OID, 7, true},
        {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA, ED25519_OID, 5, false},
        {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA, ED448_OID, 5, true},
    };
    Kml__Head *head = NULL;
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(
            generate(TMPL(A_BYTES(CKA_EC_PARAMS, rows[i].oid, rows[i].oid_len)), rows[i].make, CKO_PUBLIC_KEY, &head),
            CKR_OK);
        assert_true(km_mech_is_slow(km_mech(rows[i].use), head, SIGN, 32) == rows[i].is_slow);
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
        c.data_is_digest = km_mech(type)->md != NULL;
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
    make_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, TMPL(A_STR(CKA_EC_PARAMS, ED25519_OID)), &public, &private);
    print_message("Ed25519 sign: %.1f us\n", us_per_use(&private, CKM_EDDSA, 1000));
    object_free(&public);
    object_free(&private);
    make_rsa(2048, &public, &private);
    print_message("RSA-2048 sign: %.1f us\n", us_per_use(&private, CKM_SHA256_RSA_PKCS, 200));
    object_free(&public);
    object_free(&private);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_byte_of_head_or_seal_can_change),
        cmocka_unit_test(a_new_head_needs_and_gets_a_new_seal),
        cmocka_unit_test(macs_depend_on_purpose_data_and_master_key),
        cmocka_unit_test(one_key_signs_on_many_threads),
        cmocka_unit_test(long_operations_are_known),
        cmocka_unit_test(prints_what_a_signature_costs),
    };

    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
