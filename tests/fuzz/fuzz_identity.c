/* SPDX-License-Identifier: Apache-2.0
 *
 * Identities: as a URI, and in a certificate of which an attacker chose every byte. What is accepted spells back to the
 * same bytes.
 */
#include "fuzz.h"

#include "../../common/identity.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const struct km_identity *id, const char *uri)
{
    char again[KM_IDENTITY_MAX + 1];
    snprintf(again, sizeof(again), "spiffe://%s/%s/%s", id->cluster, km_role_text(id->role), id->name);
    assert(strcmp(again, uri) == 0 && strcmp(id->uri, uri) == 0);
}

static void add_certificate(void (*add)(const void *data, size_t len), const char *san)
{
    X509 *cert = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, san);
    unsigned char *der = NULL;
    assert(cert != NULL && key != NULL && ext != NULL);
    assert(X509_set_version(cert, X509_VERSION_3) == 1 && X509_set_pubkey(cert, key) == 1 &&
           X509_add_ext(cert, ext, -1) == 1);
    assert(X509_gmtime_adj(X509_getm_notBefore(cert), 0) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(cert), 3600) != NULL);
    assert(X509_sign(cert, key, EVP_sha256()) > 0);
    int len = i2d_X509(cert, &der);
    assert(len > 0);
    add(der, (size_t)len);
    OPENSSL_free(der);
    X509_EXTENSION_free(ext);
    EVP_PKEY_free(key);
    X509_free(cert);
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
    static const char *const uris[] = {"spiffe://prod/server/a", "spiffe://c.example/custodian/x_1-y",
                                       "spiffe://c/client/..", "spiffe:///client/n", "http://c/client/n"};
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++)
        add(uris[i], strlen(uris[i]));
    add_certificate(add, "URI:spiffe://prod/server/a");
    add_certificate(add, "URI:spiffe://prod/server/a,URI:spiffe://prod/server/b");
    add_certificate(add, "DNS:a.example,email:a@example,IP:127.0.0.1,URI:spiffe://prod/client/a");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct km_identity id;
    char *text = malloc(len + 1);
    assert(text != NULL);
    memcpy(text, data, len);
    text[len] = '\0';
    if (km_identity_parse(text, &id) == KM_OK)
        check(&id, text);
    free(text);

    const unsigned char *der = data;
    X509 *cert = d2i_X509(NULL, &der, (long)len);
    if (cert != NULL && km_identity_of(cert, &id) == KM_OK)
        check(&id, id.uri);
    X509_free(cert);
    return 0;
}
