/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates made and read with OpenSSL. Private keys pass through OpenSSL's secure heap (main.c) on their way into a
 * file.
 */
#include "pki.h"

#include "cli.h"
#include "file.h"

#include "../common/log.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BACKDATE_S 300 /* clocks of two machines differ a little */
#define SERIAL_BITS 127

const char *pki_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return reason != NULL ? reason : "no reason given";
}

enum km_err pki_path(char ret[PKI_PATH_MAX], const char *dir, const char *name, const char *suffix)
{
    if (snprintf(ret, PKI_PATH_MAX, "%s/%s%s", dir, name, suffix) < PKI_PATH_MAX)
        return KM_OK;
    km_log(KM_LOG_ERROR, "%s: name too long", dir);
    return KM_ERR_ARG;
}

void pki_time_text(const ASN1_TIME *time, char ret[32], long *ret_days)
{
    struct tm tm = {0};
    int days = 0, seconds = 0;
    snprintf(ret, 32, "?");
    if (ASN1_TIME_to_tm(time, &tm) == 1)
        strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    (void)ASN1_TIME_diff(&days, &seconds, NULL, time);
    *ret_days = seconds < 0 ? days - 1 : days;
}

static FILE *open_pem(const char *path, bool is_private)
{
    struct stat st;
    FILE *file = fopen(path, "re");
    if (file == NULL || fstat(fileno(file), &st) != 0) {
        km_log(KM_LOG_ERROR, "%s cannot be read: %s%s", path, strerror(errno),
               errno == ENOENT ? "; `keymoot pki init` makes a new authority" : "");
        if (file != NULL)
            fclose(file);
        return NULL;
    }
    if (is_private && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        km_log(KM_LOG_ERROR, "%s is open to others than its owner; make it private with `chmod 600 %s`", path, path);
        fclose(file);
        return NULL;
    }
    return file;
}

static enum km_err read_ca(const char *cert_path, const char *key_path, struct pki_ca *ca)
{
    FILE *cert_file = open_pem(cert_path, false), *key_file = cert_file != NULL ? open_pem(key_path, true) : NULL;
    enum km_err err = KM_ERR_IO;
    if (cert_file == NULL || key_file == NULL)
        goto out;
    err = KM_ERR_CRYPTO;
    if ((ca->cert = PEM_read_X509(cert_file, NULL, NULL, NULL)) == NULL) {
        km_log(KM_LOG_ERROR, "%s holds no certificate in PEM form: %s", cert_path, pki_reason());
        goto out;
    }
    if ((ca->key = PEM_read_PrivateKey(key_file, NULL, NULL, (char *)"")) == NULL) {
        km_log(KM_LOG_ERROR, "%s holds no private key in PEM form without a passphrase: %s", key_path, pki_reason());
        goto out;
    }
    if (X509_check_private_key(ca->cert, ca->key) != 1) {
        km_log(KM_LOG_ERROR, "%s does not belong to %s", key_path, cert_path);
        ERR_clear_error();
        goto out;
    }
    if (X509_check_ca(ca->cert) != 1 || X509_NAME_get_text_by_NID(X509_get_subject_name(ca->cert), NID_organizationName,
                                                                  ca->cluster, sizeof(ca->cluster)) <= 0) {
        km_log(KM_LOG_ERROR, "%s is no certificate authority made by `keymoot pki init`", cert_path);
        goto out;
    }
    err = KM_OK;
out:
    if (cert_file != NULL)
        fclose(cert_file);
    if (key_file != NULL)
        fclose(key_file);
    return err;
}

enum km_err pki_ca_read(const char *dir, struct pki_ca *ret)
{
    char cert_path[PKI_PATH_MAX], key_path[PKI_PATH_MAX];
    struct pki_ca ca = {0};
    enum km_err err;
    if ((err = pki_path(cert_path, dir, "ca", ".crt")) != KM_OK ||
        (err = pki_path(key_path, dir, "ca", ".key")) != KM_OK)
        return err;
    if ((err = read_ca(cert_path, key_path, &ca)) != KM_OK) {
        pki_ca_fini(&ca);
        return err;
    }
    *ret = ca;
    return KM_OK;
}

void pki_ca_fini(struct pki_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    *ca = (struct pki_ca){0};
}

enum km_err pki_key_new(EVP_PKEY **ret)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (key == NULL) {
        km_log(KM_LOG_ERROR, "no key could be made: %s", pki_reason());
        return KM_ERR_CRYPTO;
    }
    *ret = key;
    return KM_OK;
}

static bool set_serial(X509 *cert)
{
    BIGNUM *serial = BN_new();
    bool is_set = serial != NULL && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                  BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL;
    BN_free(serial);
    return is_set;
}

static bool set_subject(X509 *cert, const char *cluster, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    return X509_NAME_add_entry_by_NID(subject, NID_organizationName, MBSTRING_UTF8, (const unsigned char *)cluster, -1,
                                      -1, 0) == 1 &&
           X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) ==
               1;
}

static bool set_extensions(X509 *cert, X509 *issuer, const struct pki_extension *extensions)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    for (const struct pki_extension *e = extensions; e->nid != 0; e++) {
        X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, &ctx, e->nid, e->value);
        bool is_added = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
        X509_EXTENSION_free(ext);
        if (!is_added)
            return false;
    }
    return true;
}

enum km_err pki_cert_new(const struct pki_ca *ca, EVP_PKEY *key, const char *cluster, const char *name, unsigned days,
                         const struct pki_extension *extensions, X509 **ret)
{
    enum km_err err = KM_ERR_CRYPTO;
    X509 *cert = X509_new();
    if (cert == NULL)
        goto out;
    X509 *issuer = ca != NULL ? ca->cert : cert;
    if (X509_set_version(cert, X509_VERSION_3) != 1 || !set_serial(cert) || !set_subject(cert, cluster, name))
        goto out;
    if (X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) == NULL ||
        X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, NULL) == NULL)
        goto out;
    if (X509_set_issuer_name(cert, X509_get_subject_name(issuer)) != 1 || X509_set_pubkey(cert, key) != 1)
        goto out;
    if (!set_extensions(cert, issuer, extensions) || X509_sign(cert, ca != NULL ? ca->key : key, EVP_sha256()) <= 0)
        goto out;
    *ret = cert;
    cert = NULL;
    err = KM_OK;
out:
    if (err != KM_OK)
        km_log(KM_LOG_ERROR, "the certificate could not be made: %s", pki_reason());
    X509_free(cert);
    return err;
}

enum km_err pki_pair_write(const char *cert_path, X509 *cert, const char *key_path, EVP_PKEY *key, bool is_forced)
{
    enum km_err err = KM_ERR_CRYPTO;
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_secmem());
    char *cert_pem, *key_pem;
    long cert_len, key_len;
    if (cert_bio == NULL || key_bio == NULL || PEM_write_bio_X509(cert_bio, cert) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        km_log(KM_LOG_ERROR, "%s cannot be encoded: %s", cert_path, pki_reason());
        goto out;
    }
    cert_len = BIO_get_mem_data(cert_bio, &cert_pem);
    key_len = BIO_get_mem_data(key_bio, &key_pem);
    if (!is_forced && ((err = cli_file_absent(key_path)) != KM_OK || (err = cli_file_absent(cert_path)) != KM_OK))
        goto out;
    if ((err = cli_file_write(key_path, 0600, key_pem, (size_t)key_len, is_forced)) != KM_OK)
        goto out;
    err = cli_file_write(cert_path, 0644, cert_pem, (size_t)cert_len, is_forced);
    if (err != KM_OK && !is_forced)
        unlink(key_path); /* a key without its certificate would only be in the way of the next try */
out:
    BIO_free(cert_bio);
    BIO_free(key_bio);
    return err;
}
