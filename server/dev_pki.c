/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates for --dev: an authority that lives for a few milliseconds and signs one certificate each for the server,
 * a program and an operator. Its key is never written, so the trust domain cannot grow.
 */
#include "dev.h"

#include "../common/identity.h"

#include <fcntl.h>
#include <stdbool.h>
#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAYS 30
#define BACKDATE_S 300

struct extension {
    int nid;
    const char *value;
};

static X509 *issue(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key, const char *name, const struct extension *extensions)
{
    X509 *cert = X509_new(), *issuer = ca ? ca : cert;
    BIGNUM *serial = BN_new();
    X509V3_CTX ctx;
    bool is_ok = cert && serial && X509_set_version(cert, X509_VERSION_3) &&
                 BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
                 BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) &&
                 X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "O", MBSTRING_ASC,
                                            (const unsigned char *)KM_DEV_CLUSTER, -1, -1, 0) &&
                 X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                            (const unsigned char *)name, -1, -1, 0) &&
                 X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) &&
                 X509_time_adj_ex(X509_getm_notAfter(cert), DAYS, 0, NULL) &&
                 X509_set_issuer_name(cert, X509_get_subject_name(issuer)) && X509_set_pubkey(cert, key);
    for (const struct extension *e = extensions; is_ok && e->nid; e++) {
        X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
        X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &ctx, e->nid, e->value);
        is_ok = extension && X509_add_ext(cert, extension, -1);
        X509_EXTENSION_free(extension);
    }
    is_ok = is_ok && X509_sign(cert, ca_key, EVP_sha256()) > 0;
    BN_free(serial);
    if (is_ok)
        return cert;
    X509_free(cert);
    return NULL;
}

static FILE *create(const char *dir, const char *name, const char *suffix, mode_t mode)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.%s", dir, name, suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file && fd >= 0)
        close(fd);
    return file;
}

static bool write_cert(const char *dir, const char *name, X509 *cert)
{
    FILE *file = create(dir, name, "crt", 0644);
    bool is_ok = file && PEM_write_X509(file, cert);
    return (!file || fclose(file) == 0) && is_ok;
}

static bool write_key(const char *dir, const char *name, EVP_PKEY *key)
{
    FILE *file = create(dir, name, "key", 0600);
    bool is_ok = file && PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    return (!file || fclose(file) == 0) && is_ok;
}

/* `name` is "role/name". */
static enum km_err issue_member(const char *dir, X509 *ca, EVP_PKEY *ca_key, const char *name)
{
    char san[KM_IDENTITY_MAX + 8];
    const char *base = strchr(name, '/') + 1;
    snprintf(san, sizeof(san), "URI:spiffe://%s/%s", KM_DEV_CLUSTER, name);
    const struct extension extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, strncmp(name, "server/", 7) ? "clientAuth" : "serverAuth,clientAuth"},
        {NID_subject_alt_name, san},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
        {0, NULL}};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? issue(ca, ca_key, key, base, extensions) : NULL;
    enum km_err err = KM_ERR_CRYPTO;
    if (cert)
        err = write_cert(dir, base, cert) && write_key(dir, base, key) ? KM_OK : KM_ERR_IO;
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

enum km_err km_dev_pki(const char *dir, const char *const *names, unsigned n)
{
    static const struct extension extensions[] = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                                  {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                                  {NID_subject_key_identifier, "hash"},
                                                  {0, NULL}};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *ca = key ? issue(NULL, key, key, "development CA", extensions) : NULL;
    enum km_err err = !ca ? KM_ERR_CRYPTO : write_cert(dir, "ca", ca) ? KM_OK : KM_ERR_IO;
    for (unsigned i = 0; i < n && !err; i++)
        err = issue_member(dir, ca, key, names[i]);
    X509_free(ca);
    EVP_PKEY_free(key);
    return err;
}
