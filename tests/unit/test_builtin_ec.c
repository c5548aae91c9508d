/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in back end: keys on elliptic curves, against OpenSSL and known answers.
 */
#include "builtin_kit.h"

static void ecdsa_signs_on_every_curve(void **state)
{
    static const struct {
        const char *oid;
        size_t oid_len, len;
    } curves[] = {{P256_OID, 10, 64}, {P384_OID, 7, 96},  {P521_OID, 7, 132}, {K256_OID, 7, 64},
                  {B256_OID, 11, 64}, {B384_OID, 11, 96}, {B512_OID, 11, 128}};
    (void)state;

    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
        struct call raw = {.type = CKM_ECDSA, .op = SIGN, .data = TEXT("01234567890123456789012345678901")}, sha1;
        make_ec(curves[i].oid, curves[i].oid_len, &public, &private);
        check_signature(&public, &private, CKM_ECDSA_SHA224, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA256, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA384, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA512, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA3_224, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA3_256, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA3_384, 0, 0, -1);
        check_signature(&public, &private, CKM_ECDSA_SHA3_512, 0, 0, -1);
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

/* Private key, message, signature: RFC 6979 A.2.5, A.2.6, and for secp256k1 the vector that its users agree on. */
static void ecdsa_takes_known_signatures(void **state)
{
    static const struct {
        const char *oid;
        size_t oid_len;
        CK_MECHANISM_TYPE type;
        const char *d, *message, *signature;
    } rows[] = {
        {P256_OID, 10, CKM_ECDSA_SHA256, "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721", "sample",
         "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
         "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"},
        {P384_OID, 7, CKM_ECDSA_SHA384,
         "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5", "sample",
         "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46"
         "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"},
        {K256_OID, 7, CKM_ECDSA_SHA256, "01", "Satoshi Nakamoto",
         "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
         "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Kml__Object private = KML__OBJECT__INIT, public = KML__OBJECT__INIT;
        uint8_t d[66], signature[132];
        size_t d_len = unhex(rows[i].d, d), len = unhex(rows[i].signature, signature);
        struct call c = {.type = rows[i].type, .op = VERIFY, .data = BYTES(rows[i].message, strlen(rows[i].message))};
        Kml__Head *head;
        const Kml__Attr *point;
        assert_int_equal(
            import(TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC),
                        A_BYTES(CKA_EC_PARAMS, rows[i].oid, rows[i].oid_len), A_BYTES(CKA_VALUE, d, d_len)),
                   &private),
            CKR_OK);
        head = head_of(&private);
        point = km_head_find(head, CKA_EC_POINT);
        assert_int_equal(bring_public(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC),
                                           A_BYTES(CKA_EC_PARAMS, rows[i].oid, rows[i].oid_len),
                                           A_BYTES(CKA_EC_POINT, point->value.data, point->value.len)),
                                      &public),
                         CKR_OK);
        c.signature = BYTES(signature, len);
        assert_int_equal(use_key(&public, &c), CKR_OK);
        signature[len - 1] ^= 1;
        assert_int_equal(use_key(&public, &c), CKR_SIGNATURE_INVALID);
        kml__head__free_unpacked(head, NULL);
        object_free(&private);
        object_free(&public);
    }
}

/* PKCS#11 v3.2 6.3.1: r and s of equal length, their leading zeros may be missing. */
static void a_short_ecdsa_signature_is_a_signature(void **state)
{
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
    struct call c = {.type = CKM_ECDSA, .op = SIGN, .data = TEXT("01234567890123456789012345678901")};
    uint8_t shorter[132];
    (void)state;

    make_ec(P521_OID, 7, &public, &private); /* its first octet is 0 or 1 */
    do {
        free(c.out);
        assert_int_equal(use_key(&private, &c), CKR_OK);
    } while (c.out[0] != 0 || c.out[66] != 0);
    memcpy(shorter, c.out + 1, 65);
    memcpy(shorter + 65, c.out + 67, 65);
    free(c.out);
    c.op = VERIFY;
    c.signature = BYTES(shorter, 130);
    assert_int_equal(use_key(&public, &c), CKR_OK);
    c.signature.len = 129;
    assert_int_equal(use_key(&public, &c), CKR_SIGNATURE_LEN_RANGE);
    c.signature.len = 0;
    assert_int_equal(use_key(&public, &c), CKR_SIGNATURE_LEN_RANGE);
    object_free(&public);
    object_free(&private);
}

static void keys_with_extra_bits_sign(void **state)
{
    static const char *const oids[] = {P256_OID, B384_OID, P521_OID};
    static const size_t lens[] = {10, 11, 7};
    (void)state;

    for (int i = 0; i < 3; i++) {
        Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
        make_pair(CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS, TMPL(A_BYTES(CKA_EC_PARAMS, oids[i], lens[i])), &public, &private);
        check_signature(&public, &private, CKM_ECDSA_SHA256, 0, 0, -1);
        object_free(&public);
        object_free(&private);
    }
}

/* --- Edwards and Montgomery curves --- */

struct eddsa_row {
    const char *params;
    size_t params_len;
    const char *secret, *public, *message, *context;
    bool is_prehashed;
    const char *signature;
};

static void eddsa_check(const struct eddsa_row *row, CK_RV expected)
{
    Kml__Object private = KML__OBJECT__INIT, public = KML__OBJECT__INIT;
    uint8_t secret[57], point[57], message[32], signature[114];
    size_t len = unhex(row->secret, secret), signature_len = unhex(row->signature, signature);
    struct call c = {.type = CKM_EDDSA, .op = SIGN, .data = BYTES(message, unhex(row->message, message))};

    assert_int_equal(unhex(row->public, point), len);
    if (row->context != NULL)
        c.mechanism.context = BYTES(row->context, strlen(row->context));
    c.mechanism.is_prehashed = row->is_prehashed;
    assert_int_equal(import(TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC_EDWARDS),
                                 A_BYTES(CKA_EC_PARAMS, row->params, row->params_len), A_BYTES(CKA_VALUE, secret, len)),
                            &private),
                     CKR_OK);
    assert_int_equal(
        bring_public(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC_EDWARDS),
                          A_BYTES(CKA_EC_PARAMS, row->params, row->params_len), A_BYTES(CKA_EC_POINT, point, len)),
                     &public),
        CKR_OK);
    assert_int_equal(use_key(&private, &c), expected);
    if (expected == CKR_OK) {
        assert_int_equal(c.out_len, signature_len);
        assert_memory_equal(c.out, signature, signature_len);
        free(c.out);
    }
    c.op = VERIFY;
    c.signature = BYTES(signature, signature_len);
    assert_int_equal(use_key(&public, &c), expected);
    if (expected == CKR_OK) {
        signature[7] ^= 1;
        assert_int_equal(use_key(&public, &c), CKR_SIGNATURE_INVALID);
        c.signature.len--;
        assert_int_equal(use_key(&public, &c), CKR_SIGNATURE_LEN_RANGE);
    }
    object_free(&private);
    object_free(&public);
}

#define EDWARDS25519                                                                                                   \
    "\x13\x0c"                                                                                                         \
    "edwards25519"
#define EDWARDS448                                                                                                     \
    "\x13\x0a"                                                                                                         \
    "edwards448"

/* RFC 8032 7.1 and 7.4 */
static void eddsa_gives_the_known_signatures(void **state)
{
    static const struct eddsa_row rows[] = {
        {ED25519_OID, 5, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "", NULL, false,
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
         "d25bf5f0595bbe24655141438e7a100b"},
        {EDWARDS25519, 14, "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82", NULL, false,
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
         "4a7c15e9716ed28dc027beceea1ec40a"},
        {ED448_OID, 5,
         "6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3528c8a3fcc2f044e39a3fc5b94492f8f032e7549a2"
         "0098f95b",
         "5fd7449b59b461fd2ce787ec616ad46a1da1342485a70e1f8a0ea75d80e96778edf124769b46c7061bd6783df1e50f6cd1fa1abeaf"
         "e8256180",
         "", NULL, false,
         "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f2b233f034f628281f2fd7a22ddd47d7828c59bd0a2"
         "1bfd3980ff0d2028d4b18a9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4dbb61149f05a7363268"
         "c71d95808ff2e652600"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        eddsa_check(&rows[i], CKR_OK);
}

/* RFC 8032 7.2, 7.3 and 7.4; OpenSSL has them from 3.2 on. */
static void eddsa_has_contexts_and_prehashes_where_openssl_does(void **state)
{
    static const struct eddsa_row rows[] = {
        {ED25519_OID, 5, "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
         "dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292", "f726936d19c800494e3fdaff20b276a8", "foo",
         false,
         "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a8b36950b95130022907a7fb7c4e9b2d5"
         "f6cca685a587b4b21f4b888e4e7edb0d"},
        {ED25519_OID, 5, "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
         "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf", "616263", NULL, true,
         "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aa"
         "a10b8c61e636062aaad11c2a26083406"},
        {EDWARDS448, 12,
         "c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463afbea67c5e8d2877c5e3bc397a659949ef8021e954e"
         "0a12274e",
         "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c0866aea01eb00742802b8438ea4cb82169c235160627b"
         "4c3a9480",
         "03", "foo", false,
         "d4f8f6131770dd46f40867d6fd5d5055de43541f8c5e35abbcd001b32a89f7d2151f7647f11d8ca2ae279fb842d607217fce6e042f"
         "6815ea000c85741de5c8da1144a6a1aba7f96de42505d7a7298524fda538fccbbb754f578c1cad10d54d0d5428407e85dcbc98a491"
         "55c13764e66c3c00"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        eddsa_check(&rows[i], OPENSSL_VERSION_NUMBER >= 0x30200000L ? CKR_OK : CKR_MECHANISM_PARAM_INVALID);
}

static void edwards_keys_sign_for_openssl(void **state)
{
    static const char *const oids[] = {ED25519_OID, ED448_OID};
    (void)state;

    for (int i = 0; i < 2; i++) {
        Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
        struct call c = {.type = CKM_EDDSA, .op = SIGN, .data = TEXT("attack at dawn")};
        make_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, TMPL(A_BYTES(CKA_EC_PARAMS, oids[i], 5)), &public, &private);
        assert_int_equal(use_key(&private, &c), CKR_OK);
        assert_true(openssl_verifies(&public, NULL, "attack at dawn", c.out, c.out_len, -1));
        assert_false(openssl_verifies(&public, NULL, "attack at noon", c.out, c.out_len, -1));
        free(c.out);
        c.data_is_digest = true; /* there is none */
        assert_int_equal(use_key(&private, &c), CKR_ARGUMENTS_BAD);
        object_free(&public);
        object_free(&private);
    }
}

/* Both forms of a point are taken, one is shown; the name of the curve stays the program's. */
static void a_curve_keeps_the_name_that_the_program_gave(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        CK_KEY_TYPE key_type;
        const char *params;
        size_t params_len, public_len;
    } rows[] = {
        {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, EDWARDS25519, 14, 32},
        {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, ED25519_OID, 5, 32},
        {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, "\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01", 11, 32},
        {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, EDWARDS448, 12, 57},
        {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY,
         "\x13\x0a"
         "curve25519",
         12, 32},
        {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, X25519_OID, 5, 32},
        {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, X448_OID, 5, 56},
        {CKM_EC_KEY_PAIR_GEN, CKK_EC,
         "\x13\x09"
         "secp384r1",
         11, 97},
        {CKM_EC_KEY_PAIR_GEN, CKK_EC,
         "\x13\x0f"
         "brainpoolP512r1",
         17, 129},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT, other = KML__OBJECT__INIT;
        size_t prefix = rows[i].public_len < 0x80 ? 2 : 3;
        Kml__Head *heads[2], *head;
        const Kml__Attr *point;
        make_pair(rows[i].type, TMPL(A_BYTES(CKA_EC_PARAMS, rows[i].params, rows[i].params_len)), &public, &private);
        heads[0] = head_of(&public);
        heads[1] = head_of(&private);
        for (int k = 0; k < 2; k++) {
            const Kml__Attr *params = km_head_find(heads[k], CKA_EC_PARAMS);
            assert_int_equal(params->value.len, rows[i].params_len);
            assert_memory_equal(params->value.data, rows[i].params, rows[i].params_len);
            assert_int_equal(km_head_find(heads[k], CKA_EC_POINT)->value.len, prefix + rows[i].public_len);
        }
        point = km_head_find(heads[0], CKA_EC_POINT);
        assert_int_equal(point->value.data[0], 0x04);
        assert_int_equal(point->value.data[prefix - 1], rows[i].public_len);
        assert_int_equal(bring_public(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, rows[i].key_type),
                                           A_BYTES(CKA_EC_PARAMS, rows[i].params, rows[i].params_len),
                                           A_BYTES(CKA_EC_POINT, point->value.data + prefix, rows[i].public_len)),
                                      &other),
                         CKR_OK);
        head = head_of(&other);
        assert_int_equal(km_head_find(head, CKA_EC_POINT)->value.len, point->value.len);
        assert_memory_equal(km_head_find(head, CKA_EC_POINT)->value.data, point->value.data, point->value.len);
        kml__head__free_unpacked(head, NULL);
        kml__head__free_unpacked(heads[0], NULL);
        kml__head__free_unpacked(heads[1], NULL);
        object_free(&public);
        object_free(&private);
        object_free(&other);
    }
}

/* pkcs11-tool's curve25519 is no PrintableString: the key gets the OID. */
static void a_misspelt_curve_is_written_right(void **state)
{
    Kml__Object public = KML__OBJECT__INIT, private = KML__OBJECT__INIT;
    Kml__Head *head;
    (void)state;

    make_pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
              TMPL(A_STR(CKA_EC_PARAMS, "\x13\x0b"
                                        "curve25519")),
              &public, &private);
    head = head_of(&private);
    assert_int_equal(km_head_find(head, CKA_EC_PARAMS)->value.len, 5);
    assert_memory_equal(km_head_find(head, CKA_EC_PARAMS)->value.data, X25519_OID, 5);
    kml__head__free_unpacked(head, NULL);
    object_free(&public);
    object_free(&private);
}

static void keys_on_the_wrong_curve_are_refused(void **state)
{
    static const uint8_t zeros[64] = {[31] = 1};
    Kml__Object object = KML__OBJECT__INIT;
    (void)state;

#define EDWARDS A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC_EDWARDS)
    assert_int_equal(import(TMPL(EDWARDS, A_STR(CKA_EC_PARAMS, P256_OID), A_BYTES(CKA_VALUE, zeros, 32)), &object),
                     CKR_CURVE_NOT_SUPPORTED);
    assert_int_equal(
        import(TMPL(EDWARDS, A_STR(CKA_EC_PARAMS, "\x30\x02\x01\x00"), A_BYTES(CKA_VALUE, zeros, 32)), &object),
        CKR_DOMAIN_PARAMS_INVALID);
    assert_int_equal(import(TMPL(EDWARDS, A_STR(CKA_EC_PARAMS, ED25519_OID), A_BYTES(CKA_VALUE, zeros, 31)), &object),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(import(TMPL(EDWARDS, A_STR(CKA_EC_PARAMS, ED25519_OID)), &object), CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(import(TMPL(EDWARDS, A_STR(CKA_EC_PARAMS, ED25519_OID), A_BYTES(CKA_VALUE, zeros, 32),
                                 A_BYTES(CKA_EC_POINT, zeros, 32)),
                            &object),
                     CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(bring_public(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC_MONTGOMERY),
                                       A_STR(CKA_EC_PARAMS, X25519_OID), A_BYTES(CKA_EC_POINT, zeros, 33)),
                                  &object),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(generate(TMPL(A_STR(CKA_EC_PARAMS, ED25519_OID)), CKM_EC_KEY_PAIR_GEN, CKO_PUBLIC_KEY, NULL),
                     CKR_CURVE_NOT_SUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ecdsa_signs_on_every_curve),
        cmocka_unit_test(ec_keys_are_taken_in_and_shown_again),
        cmocka_unit_test(ecdsa_takes_known_signatures),
        cmocka_unit_test(a_short_ecdsa_signature_is_a_signature),
        cmocka_unit_test(keys_with_extra_bits_sign),
        cmocka_unit_test(eddsa_gives_the_known_signatures),
        cmocka_unit_test(eddsa_has_contexts_and_prehashes_where_openssl_does),
        cmocka_unit_test(edwards_keys_sign_for_openssl),
        cmocka_unit_test(a_curve_keeps_the_name_that_the_program_gave),
        cmocka_unit_test(a_misspelt_curve_is_written_right),
        cmocka_unit_test(keys_on_the_wrong_curve_are_refused),
    };

    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
