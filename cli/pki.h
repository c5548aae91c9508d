/* SPDX-License-Identifier: Apache-2.0
 *
 * A certificate authority in a folder (ca.crt, ca.key) and what it issues. Keys are EC P-256. All functions log their
 * own errors.
 */
#ifndef KM_CLI_PKI_H
#define KM_CLI_PKI_H

#include "../common/identity.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>

#define PKI_CA_DAYS 3650
#define PKI_DAYS 365
#define PKI_PATH_MAX 4096

struct pki_ca {
    X509 *cert;
    EVP_PKEY *key;
    char cluster[KM_NAME_MAX + 1]; /* the organisation in the certificate's subject */
};

/* Reads DIR/ca.crt and DIR/ca.key and checks that they belong together. Freed by pki_ca_fini. */
enum km_err pki_ca_read(const char *dir, struct pki_ca *ret) KM_CHECKED;
void pki_ca_fini(struct pki_ca *ca);

struct pki_extension {
    int nid;
    const char *value; /* OpenSSL's syntax */
};

/* A new key; freed by EVP_PKEY_free. */
enum km_err pki_key_new(EVP_PKEY **ret) KM_CHECKED;

/* A certificate for `key`, CN `name` in organisation `cluster`, signed by `ca`, or by itself if `ca` is NULL.
 * `extensions` end with nid 0. Freed by X509_free. */
enum km_err pki_cert_new(const struct pki_ca *ca, EVP_PKEY *key, const char *cluster, const char *name, unsigned days,
                         const struct pki_extension *extensions, X509 **ret) KM_CHECKED;

/* Writes both, the key with mode 0600. Without `is_forced` nothing is replaced. */
enum km_err pki_pair_write(const char *cert_path, X509 *cert, const char *key_path, EVP_PKEY *key,
                           bool is_forced) KM_CHECKED;

/* DIR/NAME.SUFFIX into `ret`. */
enum km_err pki_path(char ret[PKI_PATH_MAX], const char *dir, const char *name, const char *suffix) KM_CHECKED;

/* `time` as "2027-01-31T12:00:00Z" and the whole days from now until then (negative: past). */
void pki_time_text(const ASN1_TIME *time, char ret[32], long *ret_days);

/* Why OpenSSL's last call failed; empties its queue. */
const char *pki_reason(void);

#endif
