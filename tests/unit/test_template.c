/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of templates: defaults, what may be given when, what may change, what a key may be used for.
 */
#include "tmpl.h"

#include <string.h>

#define EC_PRIVATE                                                                                                     \
    A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC), A_STR(CKA_EC_PARAMS, P256_OID),                \
        A_STR(CKA_VALUE, "01234567890123456789012345678901")
#define AES_KEY A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES), A_STR(CKA_VALUE, "0123456789abcdef")
#define CERT                                                                                                           \
    A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_ULONG(CKA_CERTIFICATE_TYPE, CKC_X_509), A_STR(CKA_SUBJECT, "s"),            \
        A_STR(CKA_VALUE, "abc")
#define DATA A_ULONG(CKA_CLASS, CKO_DATA)
#define DAY_MS UINT64_C(86400000)
#define NOV_22_2026 (UINT64_C(1795305600) * 1000)

static bool yes(const Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    assert_non_null(km_head_find(head, type));
    return km_head_bool(head, type, false);
}

static CK_RV set(const Kml__Head *head, Kmw__Template *t, bool is_so, Kml__Head **ret)
{
    Kml__Head *changed = NULL;
    const char *reason = NULL;
    CK_RV rv = km_template_set(head, t, is_so, &changed, &reason);

    kmw__template__free_unpacked(t, NULL);
    assert_true((rv == CKR_OK) == (changed != NULL));
    assert_true(rv == CKR_OK || reason != NULL);
    if (ret != NULL)
        *ret = changed;
    else if (changed != NULL)
        kml__head__free_unpacked(changed, NULL);
    return rv;
}

static CK_RV copy(const Kml__Head *head, Kmw__Template *t, Kml__Head **ret)
{
    Kml__Head *copied = NULL;
    const char *reason = NULL;
    CK_RV rv = km_template_copy(head, t, false, &copied, &reason);

    kmw__template__free_unpacked(t, NULL);
    assert_true((rv == CKR_OK) == (copied != NULL));
    assert_true(rv == CKR_OK || reason != NULL);
    if (ret != NULL)
        *ret = copied;
    else if (copied != NULL)
        kml__head__free_unpacked(copied, NULL);
    return rv;
}

static Kml__Head *made(Kmw__Template *t, CK_MECHANISM_TYPE mech, CK_OBJECT_CLASS class)
{
    Kml__Head *head = NULL;

    assert_int_equal(generate(t, mech, class, &head), CKR_OK);
    return head;
}

static Kml__Head *created(Kmw__Template *t)
{
    Kml__Head *head = NULL;

    assert_int_equal(create(t, &head), CKR_OK);
    return head;
}

static void a_generated_private_key_is_sensitive_by_default(void **state)
{
    Kml__Head *head = made(TMPL(A_BOOL(CKA_TOKEN, 1)), CKM_EC_KEY_PAIR_GEN, CKO_PRIVATE_KEY);
    (void)state;

    assert_true(head->is_private && !head->is_session && head->version == 1 && head->id.len == 16);
    assert_true(yes(head, CKA_SENSITIVE) && yes(head, CKA_ALWAYS_SENSITIVE) && yes(head, CKA_NEVER_EXTRACTABLE));
    assert_true(!yes(head, CKA_EXTRACTABLE) && yes(head, CKA_LOCAL) && yes(head, CKA_SIGN) && !yes(head, CKA_DECRYPT));
    assert_true(!yes(head, CKA_UNWRAP) && !yes(head, CKA_DERIVE));
    assert_int_equal(km_head_ulong(head, CKA_KEY_GEN_MECHANISM, 0), CKM_EC_KEY_PAIR_GEN);
    assert_int_equal(km_head_ulong(head, CKA_CLASS, 0), CKO_PRIVATE_KEY);
    assert_int_equal(km_head_ulong(head, CKA_KEY_TYPE, 0), CKK_EC);
    assert_int_equal(km_head_find(head, CKA_UNIQUE_ID)->value.len, 32);
    assert_false(km_template_is_readable(head, CKA_VALUE));
    assert_true(km_template_is_readable(head, CKA_LABEL));
    for (size_t i = 1; i < head->n_attrs; i++)
        assert_true(head->attrs[i - 1]->type < head->attrs[i]->type);
    kml__head__free_unpacked(head, NULL);
}

static void secret_keys_are_readable_by_default_in_sessions_only(void **state)
{
    Kml__Head *session = made(TMPL(A_ULONG(CKA_VALUE_LEN, 32)), CKM_AES_KEY_GEN, CKO_SECRET_KEY);
    Kml__Head *token = made(TMPL(A_ULONG(CKA_VALUE_LEN, 32), A_BOOL(CKA_TOKEN, 1)), CKM_AES_KEY_GEN, CKO_SECRET_KEY);
    (void)state;

    assert_true(!yes(session, CKA_SENSITIVE) && yes(session, CKA_EXTRACTABLE) && !yes(session, CKA_ALWAYS_SENSITIVE));
    assert_true(km_template_is_readable(session, CKA_VALUE) && session->is_session);
    assert_true(yes(token, CKA_SENSITIVE) && !yes(token, CKA_EXTRACTABLE) && yes(token, CKA_ALWAYS_SENSITIVE));
    assert_false(km_template_is_readable(token, CKA_VALUE));
    assert_true(yes(token, CKA_ENCRYPT) && yes(token, CKA_DECRYPT) && !yes(token, CKA_SIGN) && !yes(token, CKA_WRAP));
    kml__head__free_unpacked(session, NULL);
    kml__head__free_unpacked(token, NULL);
}

static void an_imported_key_was_never_always_sensitive(void **state)
{
    Kml__Head *head = NULL;
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    (void)state;

    assert_int_equal(new_head(TMPL(EC_PRIVATE, A_BOOL(CKA_TOKEN, 1)), KM_TP_CREATE, 0, 0, &head, &secrets, &n), CKR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(secrets[0]->type, CKA_VALUE);
    assert_int_equal(secrets[0]->value.len, 32);
    assert_null(km_head_find(head, CKA_VALUE));
    assert_true(yes(head, CKA_SENSITIVE) && !yes(head, CKA_ALWAYS_SENSITIVE) && !yes(head, CKA_NEVER_EXTRACTABLE) &&
                !yes(head, CKA_LOCAL));
    assert_true(km_head_ulong(head, CKA_KEY_GEN_MECHANISM, 0) == CK_UNAVAILABLE_INFORMATION);
    km_template_secrets_free(secrets, n);
    kml__head__free_unpacked(head, NULL);
}

static void public_objects_have_their_defaults(void **state)
{
    Kml__Head *data = created(TMPL(DATA, A_STR(CKA_VALUE, "v"))), *cert = created(TMPL(CERT, A_BOOL(CKA_TOKEN, 1)));
    static const uint8_t kcv[] = {0xa9, 0x99, 0x3e}; /* SHA-1 of abc */
    (void)state;

    assert_true(!data->is_private && data->is_session && yes(data, CKA_MODIFIABLE) && yes(data, CKA_COPYABLE) &&
                yes(data, CKA_DESTROYABLE));
    assert_int_equal(km_head_find(data, CKA_LABEL)->value.len, 0);
    assert_true(!cert->is_private && !cert->is_session && !yes(cert, CKA_TRUSTED));
    assert_memory_equal(km_head_find(cert, CKA_CHECK_VALUE)->value.data, kcv, 3);
    kml__head__free_unpacked(data, NULL);
    kml__head__free_unpacked(cert, NULL);
}

static void certificates_are_of_three_kinds(void **state)
{
    Kml__Head *head =
        created(TMPL(A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_ULONG(CKA_CERTIFICATE_TYPE, CKC_X_509_ATTR_CERT),
                     A_STR(CKA_OWNER, "o"), A_STR(CKA_AC_ISSUER, "i"), A_STR(CKA_VALUE, "abc")));
    (void)state;

    assert_int_equal(head->key_type, CKC_X_509_ATTR_CERT);
    assert_int_equal(set(head, TMPL(A_STR(CKA_ATTR_TYPES, "t")), false, NULL), CKR_OK);
    assert_int_equal(set(head, TMPL(A_STR(CKA_SUBJECT, "t")), false, NULL), CKR_ATTRIBUTE_TYPE_INVALID);
    kml__head__free_unpacked(head, NULL);
    assert_int_equal(
        create(TMPL(A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_ULONG(CKA_CERTIFICATE_TYPE, CKC_X_509_ATTR_CERT),
                    A_STR(CKA_SUBJECT, "s"), A_STR(CKA_VALUE, "abc")),
               NULL),
        CKR_ATTRIBUTE_TYPE_INVALID);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_ULONG(CKA_CERTIFICATE_TYPE, CKC_WTLS),
                                 A_STR(CKA_SUBJECT, "s"), A_STR(CKA_VALUE, "abc")),
                            NULL),
                     CKR_OK);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_ULONG(CKA_CERTIFICATE_TYPE, 3)), NULL),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_STR(CKA_SUBJECT, "s")), NULL),
                     CKR_TEMPLATE_INCOMPLETE);
    /* In place of the value, a URL and two hashes */
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_ULONG(CKA_CERTIFICATE_TYPE, CKC_X_509),
                                 A_STR(CKA_SUBJECT, "s")),
                            NULL),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_ULONG(CKA_CERTIFICATE_TYPE, CKC_X_509),
                                 A_STR(CKA_SUBJECT, "s"), A_STR(CKA_URL, "u")),
                            NULL),
                     CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_CERTIFICATE), A_ULONG(CKA_CERTIFICATE_TYPE, CKC_X_509),
                                 A_STR(CKA_SUBJECT, "s"), A_STR(CKA_URL, "u"),
                                 A_STR(CKA_HASH_OF_SUBJECT_PUBLIC_KEY, "a"), A_STR(CKA_HASH_OF_ISSUER_PUBLIC_KEY, "b")),
                            NULL),
                     CKR_OK);
}

static void values_of_private_data_are_for_the_seal(void **state)
{
    Kml__Head *head = NULL, *changed = NULL;
    Kml__Attr **secrets = NULL;
    size_t n = 0;
    (void)state;

    assert_int_equal(new_head(TMPL(A_STR(CKA_VALUE, "secret"), DATA, A_BOOL(CKA_PRIVATE, 1)), KM_TP_CREATE, 0, 0, &head,
                              &secrets, &n),
                     CKR_OK);
    assert_int_equal(n, 1);
    assert_memory_equal(secrets[0]->value.data, "secret", 6);
    assert_null(km_head_find(head, CKA_VALUE));
    assert_true(km_template_is_secret(head, CKA_VALUE) && km_template_is_readable(head, CKA_VALUE));
    km_template_secrets_free(secrets, n);
    assert_int_equal(set(head, TMPL(A_STR(CKA_VALUE, "another")), false, &changed), CKR_OK);
    assert_int_equal(km_template_take_secrets(changed, &secrets, &n), CKR_OK);
    assert_int_equal(n, 1);
    assert_null(km_head_find(changed, CKA_VALUE));
    km_template_secrets_free(secrets, n);
    kml__head__free_unpacked(changed, NULL);
    assert_int_equal(set(head, TMPL(A_STR(CKA_LABEL, "l")), false, &changed), CKR_OK);
    assert_int_equal(km_template_take_secrets(changed, &secrets, &n), CKR_OK);
    assert_int_equal(n, 0);
    kml__head__free_unpacked(changed, NULL);
    kml__head__free_unpacked(head, NULL);
    head = created(TMPL(DATA, A_STR(CKA_VALUE, "open")));
    assert_int_equal(copy(head, TMPL(A_BOOL(CKA_PRIVATE, 1)), &changed), CKR_OK);
    assert_int_equal(km_template_take_secrets(changed, &secrets, &n), CKR_OK);
    assert_int_equal(n, 1);
    km_template_secrets_free(secrets, n);
    kml__head__free_unpacked(changed, NULL);
    kml__head__free_unpacked(head, NULL);
}

static void a_public_key_is_completed_and_checked(void **state)
{
    /* The generator of P-256 */
    static const uint8_t g[] = {0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5,
                                0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4,
                                0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a,
                                0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33,
                                0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
    uint8_t der[67] = {0x04, 65}, off[65];
    Kml__Head *wrapped, *bare;
    (void)state;

    memcpy(der + 2, g, 65);
    memcpy(off, g, 65);
    off[64] ^= 1;
    wrapped = created(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC), A_BOOL(CKA_DERIVE, 1),
                           A_BOOL(CKA_VERIFY, 1), A_STR(CKA_EC_PARAMS, P256_OID), A_BYTES(CKA_EC_POINT, der, 67),
                           A_BOOL(CKA_TOKEN, 0)));
    bare = created(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC),
                        A_STR(CKA_EC_PARAMS, P256_OID), A_BYTES(CKA_EC_POINT, g, 65)));
    assert_int_equal(km_head_find(wrapped, CKA_EC_POINT)->value.len, 67);
    assert_int_equal(km_head_find(bare, CKA_EC_POINT)->value.len, 67);
    assert_memory_equal(km_head_find(bare, CKA_EC_POINT)->value.data, der, 67);
    assert_true(km_head_find(bare, CKA_PUBLIC_KEY_INFO)->value.len > 67);
    kml__head__free_unpacked(wrapped, NULL);
    kml__head__free_unpacked(bare, NULL);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC),
                                 A_STR(CKA_EC_PARAMS, P256_OID), A_BYTES(CKA_EC_POINT, off, 65)),
                            NULL),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_PUBLIC_KEY), A_ULONG(CKA_KEY_TYPE, CKK_EC),
                                 A_STR(CKA_EC_PARAMS, "\x06\x01\x01"), A_BYTES(CKA_EC_POINT, g, 65)),
                            NULL),
                     CKR_CURVE_NOT_SUPPORTED);
}

static void bad_creations_are_refused_by_name(void **state)
{
    (void)state;
    assert_int_equal(create(TMPL(A_STR(CKA_LABEL, "x")), NULL), CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_MECHANISM)), NULL), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY)), NULL), CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES)), NULL),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(create(TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY), A_ULONG(CKA_KEY_TYPE, CKK_AES)), NULL),
                     CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(create(TMPL(AES_KEY, A_BOOL(CKA_LOCAL, 1)), NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(create(TMPL(AES_KEY, A_STR(CKA_UNIQUE_ID, "x")), NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(create(TMPL(AES_KEY, A_STR(CKA_MODULUS, "x")), NULL), CKR_ATTRIBUTE_TYPE_INVALID);
    assert_int_equal(create(TMPL(AES_KEY, A_STR(CKA_VENDOR_DEFINED | 1, "x")), NULL), CKR_ATTRIBUTE_TYPE_INVALID);
    assert_int_equal(create(TMPL(AES_KEY, A_BOOL(CKA_TRUSTED, 1)), NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(create(TMPL(AES_KEY, A_BOOL(CKA_TRUSTED, 0)), NULL), CKR_OK);
    assert_int_equal(create(TMPL(AES_KEY, A_STR(CKA_LABEL, "a"), A_STR(CKA_LABEL, "b")), NULL),
                     CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(create(TMPL(AES_KEY, A_STR(CKA_LABEL, "a"), A_STR(CKA_LABEL, "a")), NULL), CKR_OK);
    assert_int_equal(create(TMPL(AES_KEY, A_STR(CKA_VALUE, "0123456789abcdeF")), NULL), CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(create(TMPL(AES_KEY, A_STR(CKA_START_DATE, "20270101"), A_STR(CKA_END_DATE, "20261231")), NULL),
                     CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(create(TMPL(EC_PRIVATE, A_BOOL(CKA_PRIVATE, 0), A_BOOL(CKA_ALWAYS_AUTHENTICATE, 1)), NULL),
                     CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(create(TMPL(CERT, A_STR(CKA_CHECK_VALUE, "xyz")), NULL), CKR_ATTRIBUTE_VALUE_INVALID);
}

static void bad_requests_to_generate_are_refused_by_name(void **state)
{
    (void)state;
    assert_int_equal(generate(TMPL(A_STR(CKA_LABEL, "x")), CKM_EC_KEY_PAIR_GEN, CKO_PUBLIC_KEY, NULL),
                     CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(generate(TMPL(A_STR(CKA_EC_PARAMS, "\x06\x01\x01")), CKM_EC_KEY_PAIR_GEN, CKO_PUBLIC_KEY, NULL),
                     CKR_CURVE_NOT_SUPPORTED);
    assert_int_equal(generate(TMPL(A_STR(CKA_LABEL, "x")), CKM_RSA_PKCS_KEY_PAIR_GEN, CKO_PUBLIC_KEY, NULL),
                     CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(generate(TMPL(A_ULONG(CKA_MODULUS_BITS, 1024)), CKM_RSA_PKCS_KEY_PAIR_GEN, CKO_PUBLIC_KEY, NULL),
                     CKR_KEY_SIZE_RANGE);
    assert_int_equal(generate(TMPL(A_ULONG(CKA_MODULUS_BITS, 2048), A_STR(CKA_PUBLIC_EXPONENT, "\x03")),
                              CKM_RSA_PKCS_KEY_PAIR_GEN, CKO_PUBLIC_KEY, NULL),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(generate(TMPL(A_ULONG(CKA_MODULUS_BITS, 2048), A_STR(CKA_PUBLIC_EXPONENT, "\x01\x00\x01")),
                              CKM_RSA_PKCS_KEY_PAIR_GEN, CKO_PUBLIC_KEY, NULL),
                     CKR_OK);
    assert_int_equal(generate(TMPL(A_STR(CKA_LABEL, "x")), CKM_AES_KEY_GEN, CKO_SECRET_KEY, NULL),
                     CKR_TEMPLATE_INCOMPLETE);
    assert_int_equal(generate(TMPL(A_ULONG(CKA_VALUE_LEN, 20)), CKM_AES_KEY_GEN, CKO_SECRET_KEY, NULL),
                     CKR_KEY_SIZE_RANGE);
    assert_int_equal(generate(TMPL(A_ULONG(CKA_VALUE_LEN, 20)), CKM_GENERIC_SECRET_KEY_GEN, CKO_SECRET_KEY, NULL),
                     CKR_OK);
    assert_int_equal(generate(TMPL(A_ULONG(CKA_VALUE_LEN, 513)), CKM_GENERIC_SECRET_KEY_GEN, CKO_SECRET_KEY, NULL),
                     CKR_KEY_SIZE_RANGE);
    assert_int_equal(generate(TMPL(A_STR(CKA_VALUE, "0123456789abcdef")), CKM_AES_KEY_GEN, CKO_SECRET_KEY, NULL),
                     CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(
        generate(TMPL(A_ULONG(CKA_CLASS, CKO_DATA), A_ULONG(CKA_VALUE_LEN, 32)), CKM_AES_KEY_GEN, CKO_SECRET_KEY, NULL),
        CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(generate(TMPL(A_ULONG(CKA_KEY_TYPE, CKK_GENERIC_SECRET), A_ULONG(CKA_VALUE_LEN, 32)),
                              CKM_AES_KEY_GEN, CKO_SECRET_KEY, NULL),
                     CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(generate(TMPL(A_ULONG(CKA_VALUE_LEN, 32)), CKM_ECDSA, CKO_SECRET_KEY, NULL),
                     CKR_MECHANISM_INVALID);
}

static void attributes_narrow_and_never_widen(void **state)
{
    Kml__Head *head = created(TMPL(AES_KEY, A_BOOL(CKA_SENSITIVE, 0), A_BOOL(CKA_EXTRACTABLE, 1))), *hard = NULL;
    (void)state;

    assert_int_equal(
        set(head,
            TMPL(A_BOOL(CKA_SENSITIVE, 1), A_BOOL(CKA_EXTRACTABLE, 0), A_BOOL(CKA_DECRYPT, 0), A_STR(CKA_LABEL, "n")),
            false, &hard),
        CKR_OK);
    assert_int_equal(hard->version, 2);
    assert_memory_equal(hard->id.data, head->id.data, 16);
    assert_true(!yes(hard, CKA_ALWAYS_SENSITIVE));
    assert_int_equal(set(hard, TMPL(A_BOOL(CKA_SENSITIVE, 0)), false, NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(set(hard, TMPL(A_BOOL(CKA_EXTRACTABLE, 1)), false, NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(set(hard, TMPL(A_BOOL(CKA_DECRYPT, 1)), false, NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(set(hard, TMPL(A_BOOL(CKA_WRAP, 1)), false, NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(copy(hard, TMPL(A_BOOL(CKA_SENSITIVE, 0)), NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(copy(hard, TMPL(A_BOOL(CKA_EXTRACTABLE, 1)), NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(copy(hard, TMPL(A_BOOL(CKA_PRIVATE, 0)), NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(set(hard, TMPL(A_BOOL(CKA_TRUSTED, 1)), false, NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(set(hard, TMPL(A_BOOL(CKA_TRUSTED, 1)), true, NULL), CKR_OK);
    kml__head__free_unpacked(head, NULL);
    kml__head__free_unpacked(hard, NULL);
}

static void what_is_not_for_changing_is_refused(void **state)
{
    Kml__Head *head = created(TMPL(AES_KEY)),
              *fixed =
                  created(TMPL(DATA, A_BOOL(CKA_MODIFIABLE, 0), A_BOOL(CKA_COPYABLE, 0), A_BOOL(CKA_DESTROYABLE, 0)));
    const char *reason = NULL;
    (void)state;

    assert_int_equal(set(head, TMPL(A_BOOL(CKA_TOKEN, 1)), false, NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(set(head, TMPL(A_STR(CKA_VALUE, "0123456789abcdef")), false, NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(set(head, TMPL(A_ULONG(CKA_CLASS, CKO_SECRET_KEY)), false, NULL), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(set(head, TMPL(A_STR(CKA_MODULUS, "x")), false, NULL), CKR_ATTRIBUTE_TYPE_INVALID);
    assert_int_equal(set(head, TMPL(A_STR(CKA_LABEL, "a"), A_STR(CKA_LABEL, "b")), false, NULL),
                     CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(set(fixed, TMPL(A_STR(CKA_LABEL, "x")), false, NULL), CKR_ACTION_PROHIBITED);
    assert_int_equal(copy(fixed, TMPL(A_STR(CKA_LABEL, "x")), NULL), CKR_ACTION_PROHIBITED);
    assert_int_equal(km_template_destroy(fixed, &reason), CKR_ACTION_PROHIBITED);
    assert_int_equal(km_template_destroy(head, &reason), CKR_OK);
    kml__head__free_unpacked(head, NULL);
    kml__head__free_unpacked(fixed, NULL);
}

static void copies_are_new_objects(void **state)
{
    Kml__Head *session = created(TMPL(EC_PRIVATE)), *token = NULL, *again = NULL;
    Kmw__Template empty = KMW__TEMPLATE__INIT;
    const char *reason;
    (void)state;

    session->login_epoch = 5;
    assert_int_equal(copy(session, TMPL(A_BOOL(CKA_TOKEN, 1), A_STR(CKA_ID, "1")), &token),
                     CKR_OK); /* Java's keytool */
    assert_true(!token->is_session && token->login_epoch == 0 && token->version == 1);
    assert_memory_not_equal(token->id.data, session->id.data, 16);
    assert_memory_not_equal(km_head_find(token, CKA_UNIQUE_ID)->value.data,
                            km_head_find(session, CKA_UNIQUE_ID)->value.data, 32);
    assert_int_equal(km_template_copy(token, &empty, false, &again, &reason), CKR_OK);
    assert_true(!again->is_session);
    kml__head__free_unpacked(again, NULL);
    assert_int_equal(copy(token, TMPL(A_BOOL(CKA_TOKEN, 0)), NULL),
                     CKR_ACTION_PROHIBITED); /* the provider's key cache */
    assert_int_equal(copy(session, TMPL(A_BOOL(CKA_TOKEN, 0)), NULL), CKR_OK);
    assert_int_equal(copy(session, TMPL(A_ULONG(CKA_CLASS, CKO_PRIVATE_KEY)), NULL), CKR_OK);
    kml__head__free_unpacked(session, NULL);
    kml__head__free_unpacked(token, NULL);
    token = created(TMPL(AES_KEY, A_BOOL(CKA_TOKEN, 1), A_BOOL(CKA_SENSITIVE, 0), A_BOOL(CKA_EXTRACTABLE, 1)));
    assert_int_equal(copy(token, TMPL(A_BOOL(CKA_TOKEN, 0)), NULL), CKR_OK);
    kml__head__free_unpacked(token, NULL);
    token = created(TMPL(AES_KEY, A_BOOL(CKA_TOKEN, 1), A_BOOL(CKA_SENSITIVE, 0), A_BOOL(CKA_EXTRACTABLE, 0)));
    assert_int_equal(copy(token, TMPL(A_BOOL(CKA_TOKEN, 0)), NULL), CKR_ACTION_PROHIBITED);
    kml__head__free_unpacked(token, NULL);
    token = created(TMPL(CERT, A_BOOL(CKA_TOKEN, 1)));
    assert_int_equal(copy(token, TMPL(A_BOOL(CKA_TOKEN, 0)), NULL), CKR_OK);
    kml__head__free_unpacked(token, NULL);
}

static CK_RV may(const Kml__Head *head, CK_MECHANISM_TYPE type, Kmw__Use__Operation op, uint64_t now)
{
    const char *reason = NULL;
    CK_RV rv = km_template_may_use(head, km_mech(type), op, now, &reason);

    assert_true(rv == CKR_OK || reason != NULL);
    return rv;
}

static void a_key_is_used_only_for_what_it_is_for(void **state)
{
    CK_ULONG allowed[] = {CKM_ECDSA, CKM_ECDSA_SHA256};
    Kml__Head *ec = created(TMPL(EC_PRIVATE, A_BYTES(CKA_ALLOWED_MECHANISMS, allowed, sizeof(allowed))));
    Kml__Head *aes = created(TMPL(AES_KEY, A_BOOL(CKA_DECRYPT, 0))), *rsa = NULL;
    uint64_t now = NOV_22_2026;
    (void)state;

    rsa = made(TMPL(A_ULONG(CKA_MODULUS_BITS, 2048)), CKM_RSA_PKCS_KEY_PAIR_GEN, CKO_PUBLIC_KEY);
    assert_int_equal(may(ec, CKM_ECDSA, KMW__USE__OPERATION__SIGN, now), CKR_OK);
    assert_int_equal(may(ec, CKM_ECDSA_SHA384, KMW__USE__OPERATION__SIGN, now), CKR_MECHANISM_INVALID);
    assert_int_equal(may(ec, CKM_ECDSA, KMW__USE__OPERATION__VERIFY, now), CKR_KEY_TYPE_INCONSISTENT);
    assert_int_equal(may(ec, CKM_ECDSA, KMW__USE__OPERATION__ENCRYPT, now), CKR_MECHANISM_INVALID);
    assert_int_equal(may(ec, CKM_RSA_PKCS, KMW__USE__OPERATION__SIGN, now), CKR_KEY_TYPE_INCONSISTENT);
    assert_int_equal(may(ec, CKM_ECDSA_SHA1, KMW__USE__OPERATION__SIGN, now), CKR_MECHANISM_INVALID);
    assert_int_equal(may(aes, CKM_AES_GCM, KMW__USE__OPERATION__ENCRYPT, now), CKR_OK);
    assert_int_equal(may(aes, CKM_AES_GCM, KMW__USE__OPERATION__DECRYPT, now), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_int_equal(may(rsa, CKM_RSA_PKCS, KMW__USE__OPERATION__ENCRYPT, now), CKR_OK);
    assert_int_equal(may(rsa, CKM_RSA_PKCS, KMW__USE__OPERATION__SIGN, now), CKR_KEY_TYPE_INCONSISTENT);
    assert_int_equal(may(rsa, CKM_RSA_PKCS, (Kmw__Use__Operation)77, now), CKR_MECHANISM_INVALID);
    kml__head__free_unpacked(ec, NULL);
    kml__head__free_unpacked(aes, NULL);
    kml__head__free_unpacked(rsa, NULL);
}

static void dates_bound_what_is_made(void **state)
{
    Kml__Head *aes = created(TMPL(AES_KEY, A_STR(CKA_START_DATE, "20261122"), A_STR(CKA_END_DATE, "20261123")));
    (void)state;

    assert_int_equal(may(aes, CKM_AES_GCM, KMW__USE__OPERATION__ENCRYPT, NOV_22_2026 - 1),
                     CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_int_equal(may(aes, CKM_AES_GCM, KMW__USE__OPERATION__ENCRYPT, NOV_22_2026), CKR_OK);
    assert_int_equal(may(aes, CKM_AES_GCM, KMW__USE__OPERATION__ENCRYPT, NOV_22_2026 + 2 * DAY_MS - 1), CKR_OK);
    assert_int_equal(may(aes, CKM_AES_GCM, KMW__USE__OPERATION__ENCRYPT, NOV_22_2026 + 2 * DAY_MS),
                     CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_int_equal(may(aes, CKM_AES_GCM, KMW__USE__OPERATION__DECRYPT, NOV_22_2026 + 2 * DAY_MS), CKR_OK);
    kml__head__free_unpacked(aes, NULL);
}

static void reasons_name_the_attribute(void **state)
{
    Kmw__Template *t = TMPL(AES_KEY, A_BOOL(CKA_LOCAL, 1));
    Kml__Head *head = NULL;
    Kml__Attr **secrets = NULL;
    const char *reason = NULL;
    size_t n = 0;
    (void)state;

    assert_int_equal(km_template_new(t, KM_TP_CREATE, NULL, 0, false, &head, &secrets, &n, &reason),
                     CKR_ATTRIBUTE_READ_ONLY);
    assert_string_equal(reason, "CKA_LOCAL cannot be given here");
    kmw__template__free_unpacked(t, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_generated_private_key_is_sensitive_by_default),
        cmocka_unit_test(secret_keys_are_readable_by_default_in_sessions_only),
        cmocka_unit_test(an_imported_key_was_never_always_sensitive),
        cmocka_unit_test(public_objects_have_their_defaults),
        cmocka_unit_test(certificates_are_of_three_kinds),
        cmocka_unit_test(values_of_private_data_are_for_the_seal),
        cmocka_unit_test(a_public_key_is_completed_and_checked),
        cmocka_unit_test(bad_creations_are_refused_by_name),
        cmocka_unit_test(bad_requests_to_generate_are_refused_by_name),
        cmocka_unit_test(attributes_narrow_and_never_widen),
        cmocka_unit_test(what_is_not_for_changing_is_refused),
        cmocka_unit_test(copies_are_new_objects),
        cmocka_unit_test(a_key_is_used_only_for_what_it_is_for),
        cmocka_unit_test(dates_bound_what_is_made),
        cmocka_unit_test(reasons_name_the_attribute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
