/* SPDX-License-Identifier: Apache-2.0
 *
 * Identities: the one form that is read, and all that is refused, from text and from certificates.
 */
#include "../../common/identity.h"

#include "unit.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static void each_role_is_read(void **state)
{
    (void)state;
    const enum km_role roles[] = {KM_ROLE_SERVER,  KM_ROLE_CLIENT,  KM_ROLE_OPERATOR,
                                  KM_ROLE_OFFICER, KM_ROLE_AUDITOR, KM_ROLE_CUSTODIAN};
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        char uri[128];
        struct km_identity id;
        snprintf(uri, sizeof(uri), "spiffe://prod.example/%s/web-1_a", km_role_text(roles[i]));
        assert_int_equal(km_identity_parse(uri, &id), KM_OK);
        assert_int_equal(id.role, roles[i]);
        assert_string_equal(id.cluster, "prod.example");
        assert_string_equal(id.name, "web-1_a");
        assert_string_equal(id.uri, uri);
        assert_int_equal(id.not_after, 0);
    }
}

static void every_other_form_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "spiffe://",
        "spiffe://c",
        "spiffe://c/client",
        "spiffe://c/client/",
        "spiffe:///client/n",
        "spiffe://c//n",
        "spiffe://c/client/n/",
        "spiffe://c/client/n/m",
        "spiffe://c/root/n",
        "spiffe://c/CLIENT/n",
        "spiffe://c/client/N",
        "SPIFFE://c/client/n",
        "http://c/client/n",
        "spiffe:/c/client/n",
        " spiffe://c/client/n",
        "spiffe://c/client/n ",
        "spiffe://c/client/n?x",
        "spiffe://c/client/n%2f",
        "spiffe://u@c/client/n",
        "spiffe://c:1/client/n",
        "spiffe://c/client/..",
        "spiffe://./client/n",
        "spiffe://c/client/a\nb",
        "spiffe://c/client/\xc3\xa4",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct km_identity id = {.name = "untouched"};
        assert_int_equal(km_identity_parse(bad[i], &id), KM_ERR_IDENTITY);
        assert_string_equal(id.name, "untouched");
    }
}

static void names_have_a_longest(void **state)
{
    (void)state;
    char name[KM_NAME_MAX + 2], uri[512];
    struct km_identity id;
    memset(name, 'n', KM_NAME_MAX);
    name[KM_NAME_MAX] = '\0';
    snprintf(uri, sizeof(uri), "spiffe://%s/custodian/%s", name, name);
    assert_int_equal(km_identity_parse(uri, &id), KM_OK);
    assert_string_equal(id.name, name);
    strcat(name, "n");
    snprintf(uri, sizeof(uri), "spiffe://c/client/%s", name);
    assert_int_equal(km_identity_parse(uri, &id), KM_ERR_IDENTITY);
}

/* A self-signed certificate with the subject alternative names `san` (OpenSSL's syntax), or none. */
static X509 *make_cert(const char *san)
{
    X509 *cert = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(cert);
    assert_non_null(key);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), 1700000000));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), 1900000000));
    if (san != NULL) {
        X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, san);
        assert_non_null(ext);
        assert_int_equal(X509_add_ext(cert, ext, -1), 1);
        X509_EXTENSION_free(ext);
    }
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    EVP_PKEY_free(key);
    return cert;
}

static enum km_err identity_with(const char *san, struct km_identity *ret)
{
    X509 *cert = make_cert(san);
    enum km_err err = km_identity_of(cert, ret);
    X509_free(cert);
    return err;
}

static void a_certificate_with_one_uri_has_an_identity(void **state)
{
    (void)state;
    struct km_identity id;
    assert_int_equal(identity_with("URI:spiffe://c/server/a", &id), KM_OK);
    assert_int_equal(id.role, KM_ROLE_SERVER);
    assert_string_equal(id.name, "a");
    assert_true(id.not_after == 1900000000);
    assert_int_equal(identity_with("DNS:host.example,URI:spiffe://c/server/b", &id), KM_OK);
    assert_string_equal(id.name, "b");
}

static void a_certificate_with_none_or_two_has_not(void **state)
{
    (void)state;
    struct km_identity id;
    assert_int_equal(identity_with(NULL, &id), KM_ERR_IDENTITY);
    assert_int_equal(identity_with("DNS:spiffe", &id), KM_ERR_IDENTITY);
    assert_int_equal(identity_with("URI:spiffe://c/client/a,URI:spiffe://c/client/b", &id), KM_ERR_IDENTITY);
    assert_int_equal(identity_with("URI:spiffe://c/client/a,URI:http://example/", &id), KM_ERR_IDENTITY);
    assert_int_equal(identity_with("URI:http://example/", &id), KM_ERR_IDENTITY);
}

static void two_extensions_are_no_identity(void **state)
{
    (void)state;
    struct km_identity id;
    X509 *cert = make_cert("URI:spiffe://c/client/a");
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, "URI:spiffe://c/client/b");
    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    assert_int_equal(km_identity_of(cert, &id), KM_ERR_IDENTITY);
    X509_EXTENSION_free(ext);
    X509_free(cert);
}

static void a_hidden_nul_is_no_identity(void **state)
{
    (void)state;
    struct km_identity id;
    X509 *cert = make_cert(NULL);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    assert_int_equal(ASN1_STRING_set(text, "spiffe://c/client/a\0b", 21), 1);
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    assert_int_equal(sk_GENERAL_NAME_push(names, name), 1);
    assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT), 1);
    assert_int_equal(km_identity_of(cert, &id), KM_ERR_IDENTITY);
    GENERAL_NAMES_free(names);
    X509_free(cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_role_is_read),
        cmocka_unit_test(every_other_form_is_refused),
        cmocka_unit_test(names_have_a_longest),
        cmocka_unit_test(a_certificate_with_one_uri_has_an_identity),
        cmocka_unit_test(a_certificate_with_none_or_two_has_not),
        cmocka_unit_test(two_extensions_are_no_identity),
        cmocka_unit_test(a_hidden_nul_is_no_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
