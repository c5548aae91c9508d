/* SPDX-License-Identifier: Apache-2.0
 *
 * Who a certificate speaks for: exactly one URI SAN, spiffe://<cluster>/<role>/<name>. CN is never used.
 */
#ifndef KM_COMMON_IDENTITY_H
#define KM_COMMON_IDENTITY_H

#include "err.h"

#include <openssl/x509.h>

#define KM_NAME_MAX 64      /* bytes of a cluster's, role's or member's name, without the end */
#define KM_IDENTITY_MAX 224 /* bytes of a whole URI, with the end */

/* role, its word in the URI */
#define KM_ROLES(X) X(SERVER, "server") X(CLIENT, "client") X(OPERATOR, "operator") X(OFFICER, "officer") X(AUDITOR, "auditor") X(CUSTODIAN, "custodian")
enum km_role {
#define KM_ROLE_ROW(name, text) KM_ROLE_##name,
    KM_ROLES(KM_ROLE_ROW)
#undef KM_ROLE_ROW
};

struct km_identity {
    char cluster[KM_NAME_MAX + 1];
    enum km_role role;
    char name[KM_NAME_MAX + 1];
    char uri[KM_IDENTITY_MAX]; /* the whole, as it stands in the certificate */
    long long not_after;       /* seconds since 1970; 0 when it did not come from a certificate */
};

/* Reads `uri`. Names are 1 to KM_NAME_MAX of [a-z0-9.-_]. Errors: KM_ERR_IDENTITY. */
enum km_err km_identity_parse(const char *uri, struct km_identity *ret) KM_CHECKED;

/* Reads the identity in `cert`. Errors: KM_ERR_IDENTITY when there is not exactly one URI SAN of the right form. */
enum km_err km_identity_of(X509 *cert, struct km_identity *ret) KM_CHECKED;

/* The role's word ("client"); static storage. */
const char *km_role_text(enum km_role role);

/* The role that `text` names. Errors: KM_ERR_IDENTITY. */
enum km_err km_role_parse(const char *text, enum km_role *ret) KM_CHECKED;

#endif
