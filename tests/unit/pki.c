/* SPDX-License-Identifier: Apache-2.0
 *
 * A certificate authority in a temporary folder, made with OpenSSL calls.
 */
#include "pki.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert(ext != NULL);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static X509 *make(struct pki *pki, EVP_PKEY *key, const char *cn, int days)
{
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++pki->serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3 * 86400L);
    X509_gmtime_adj(X509_getm_notAfter(cert), days * 86400L);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(pki->ca != NULL ? pki->ca : cert));
    return cert;
}

static void write_pem(const char *path, X509 *cert, EVP_PKEY *key)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    FILE *f = fdopen(fd, "w");
    assert(f != NULL);
    if (cert != NULL)
        PEM_write_X509(f, cert);
    if (key != NULL)
        PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

void pki_init(struct pki *pki)
{
    *pki = (struct pki){0};
    strcpy(pki->dir, "/tmp/km-pki.XXXXXX");
    assert(mkdtemp(pki->dir) != NULL);
    pki->ca_key = EVP_EC_gen("P-256");
    X509 *ca = make(pki, pki->ca_key, pki->dir, 30);
    extend(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
    extend(ca, ca, NID_key_usage, "critical,keyCertSign");
    X509_sign(ca, pki->ca_key, EVP_sha256());
    pki->ca = ca;
    snprintf(pki->ca_path, sizeof(pki->ca_path), "%s/ca.crt", pki->dir);
    write_pem(pki->ca_path, ca, NULL);
}

void pki_fini(struct pki *pki)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", pki->dir);
    assert(system(command) == 0);
    X509_free(pki->ca);
    EVP_PKEY_free(pki->ca_key);
}

const char *pki_path(struct pki *pki, const char *file, const char *suffix, char buf[160])
{
    snprintf(buf, 160, "%s/%s.%s", pki->dir, file, suffix);
    return buf;
}

void pki_issue(struct pki *pki, const char *file, const char *uri, int days)
{
    char path[160], san[300];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make(pki, key, file, days);
    snprintf(san, sizeof(san), "URI:%s", uri);
    extend(cert, pki->ca, NID_subject_alt_name, san);
    const char *usage = pki->usage != NULL ? pki->usage : strstr(uri, "/server/") != NULL ? "serverAuth,clientAuth" : "clientAuth";
    if (usage[0] != '\0')
        extend(cert, pki->ca, NID_ext_key_usage, usage);
    X509_sign(cert, pki->ca_key, EVP_sha256());
    write_pem(pki_path(pki, file, "crt", path), cert, NULL);
    write_pem(pki_path(pki, file, "key", path), NULL, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct km_tls *pki_tls(struct pki *pki, const char *file, struct pki *trust, bool is_server)
{
    char cert[160], key[160], message[256] = "";
    struct km_tls *tls = NULL;
    enum km_err err = km_tls_new("c1", pki_path(pki, file, "crt", cert), pki_path(pki, file, "key", key), trust->ca_path,
                                 is_server, &tls, message, sizeof(message));
    if (err != KM_OK)
        fprintf(stderr, "%s\n", message);
    assert(err == KM_OK);
    return tls;
}
