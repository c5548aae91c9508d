/* SPDX-License-Identifier: Apache-2.0
 *
 * The one reader of identities: a URI of exactly the form spiffe://<cluster>/<role>/<name>, and certificates that hold
 * exactly one. Everything else is refused, so that two programs never read two identities out of one certificate. No
 * state; any thread.
 */
#include "identity.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define SCHEME "spiffe://"

static const char *const role_texts[] = {
#define KM_ROLE_ROW(name, text) [KM_ROLE_##name] = text,
    KM_ROLES(KM_ROLE_ROW)
#undef KM_ROLE_ROW
};
#define N_ROLES (sizeof(role_texts) / sizeof(role_texts[0]))

const char *km_role_text(enum km_role role)
{
    return (unsigned)role < N_ROLES ? role_texts[role] : "?";
}

enum km_err km_role_parse(const char *text, enum km_role *ret)
{
    for (size_t i = 0; i < N_ROLES; i++) {
        if (strcmp(text, role_texts[i]) == 0) {
            *ret = (enum km_role)i;
            return KM_OK;
        }
    }
    return KM_ERR_IDENTITY;
}

/* Takes the name at `*text` up to `end` into `ret` and moves behind `end`. */
static bool take_name(const char **text, char end, char ret[KM_NAME_MAX + 1])
{
    size_t n = 0;
    for (const char *p = *text; *p != end; p++, n++) {
        bool is_allowed = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '.' || *p == '-' || *p == '_';
        if (!is_allowed || n == KM_NAME_MAX)
            return false;
    }
    if (n == 0)
        return false;
    memcpy(ret, *text, n);
    ret[n] = '\0';
    *text += n + (end != '\0');
    return strcmp(ret, ".") != 0 && strcmp(ret, "..") != 0; /* SPIFFE-ID 2.2: no relative path segments */
}

enum km_err km_identity_parse(const char *uri, struct km_identity *ret)
{
    struct km_identity id = {0};
    char role[KM_NAME_MAX + 1];
    const char *p = uri;
    if (strlen(uri) >= sizeof(id.uri))
        return KM_ERR_IDENTITY;
    if (strncmp(p, SCHEME, strlen(SCHEME)) != 0)
        return KM_ERR_IDENTITY;
    p += strlen(SCHEME);
    if (!take_name(&p, '/', id.cluster) || !take_name(&p, '/', role) || !take_name(&p, '\0', id.name))
        return KM_ERR_IDENTITY;
    if (km_role_parse(role, &id.role) != KM_OK)
        return KM_ERR_IDENTITY;
    strcpy(id.uri, uri);
    *ret = id;
    return KM_OK;
}

static bool expiry_of(X509 *cert, long long *ret)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
        return false;
    *ret = (long long)timegm(&tm);
    return true;
}

enum km_err km_identity_of(X509 *cert, struct km_identity *ret)
{
    enum km_err err = KM_ERR_IDENTITY;
    struct km_identity id = {0};
    const ASN1_IA5STRING *uri = NULL;
    ERR_set_mark();
    GENERAL_NAMES *names =
        X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL); /* NULL for two SAN extensions too */

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        if (uri != NULL)
            goto out;
        uri = name->d.uniformResourceIdentifier;
    }
    if (uri == NULL)
        goto out;
    /* ASN.1 strings may hold NULs; what follows one must not be hidden from us. */
    int len = ASN1_STRING_length(uri);
    char text[KM_IDENTITY_MAX];
    if (len <= 0 || len >= (int)sizeof(text) || memchr(ASN1_STRING_get0_data(uri), 0, (size_t)len) != NULL)
        goto out;
    memcpy(text, ASN1_STRING_get0_data(uri), (size_t)len);
    text[len] = '\0';
    if (km_identity_parse(text, &id) != KM_OK || !expiry_of(cert, &id.not_after))
        goto out;
    *ret = id;
    err = KM_OK;
out:
    GENERAL_NAMES_free(names);
    ERR_pop_to_mark();
    return err;
}
