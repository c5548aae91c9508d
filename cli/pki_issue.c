/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot pki issue: a certificate whose one URI SAN is the identity, and its key.
 */
#include "cli.h"
#include "pki.h"

#include "../common/log.h"

#include <string.h>
#include <time.h>

#define ROLES_ROW(name, text) text " "
#define ROLES_TEXT KM_ROLES(ROLES_ROW)

static enum km_err issue(const struct pki_ca *ca, const struct km_identity *id, unsigned days, const char *cert_path,
                         const char *key_path, bool is_forced)
{
    char san[KM_IDENTITY_MAX + 8];
    snprintf(san, sizeof(san), "URI:%s", id->uri);
    const struct pki_extension extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, id->role == KM_ROLE_SERVER ? "serverAuth,clientAuth" : "clientAuth"},
        {NID_subject_alt_name, san},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
        {0, NULL},
    };
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    enum km_err err;
    if ((err = pki_key_new(&key)) != KM_OK)
        goto out;
    if ((err = pki_cert_new(ca, key, ca->cluster, id->name, days, extensions, &cert)) != KM_OK)
        goto out;
    if ((err = pki_pair_write(cert_path, cert, key_path, key, is_forced)) != KM_OK)
        goto out;
    char until[32];
    long left;
    pki_time_text(X509_get0_notAfter(cert), until, &left);
    printf("%s until %s: %s, %s (keep it secret)\n", id->uri, until, cert_path, key_path);
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

/* A certificate that outlives its authority would stop working on a day that nobody expects. */
static bool is_within(const struct pki_ca *ca, unsigned days)
{
    char until[32];
    long left;
    pki_time_text(X509_get0_notAfter(ca->cert), until, &left);
    if ((long)days <= left)
        return true;
    if (left > 0)
        km_log(KM_LOG_ERROR, "the authority ends on %s: give --days %ld or fewer, or make a new authority", until,
               left);
    else
        km_log(KM_LOG_ERROR, "the authority ended on %s: make a new one with `keymoot pki init`", until);
    return false;
}

enum cli_exit cli_pki_issue(const struct cli_command *self, int argc, char **argv)
{
    const char *dir = NULL, *role_text = NULL, *name = NULL, *out = NULL;
    unsigned days = PKI_DAYS;
    bool is_forced = false;
    const struct cli_option options[] = {
        {"dir", CLI_TEXT, &dir, "DIR", .help = "folder of the authority (`keymoot pki init`)", .is_required = true},
        {"role", CLI_TEXT, &role_text, "ROLE", .help = "one of " ROLES_TEXT, .is_required = true},
        {"name", CLI_TEXT, &name, "NAME", .help = "whom it speaks for: up to 64 of a-z 0-9 . - _", .is_required = true},
        {"days", CLI_NUMBER, &days, "DAYS", .help = "how long it is valid: 365 unless told", .min = 1,
         .max = PKI_CA_DAYS},
        {"out", CLI_TEXT, &out, "PREFIX", .help = "writes PREFIX.crt and PREFIX.key instead of DIR/NAME.crt and .key"},
        {"force", CLI_FLAG, &is_forced, NULL, .help = "replace old files"},
        {0},
    };
    const struct cli_usage usage = {options, NULL, "--dir pki --role client --name web-1 --days 90"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;

    enum km_role role;
    if (km_role_parse(role_text, &role) != KM_OK) {
        km_log(KM_LOG_ERROR, "unknown role '%s': expected one of " ROLES_TEXT, role_text);
        return CLI_USAGE;
    }
    struct pki_ca ca = {0};
    struct km_identity id;
    char uri[KM_IDENTITY_MAX], base[PKI_PATH_MAX], cert_path[PKI_PATH_MAX], key_path[PKI_PATH_MAX];
    code = CLI_FAILED;
    if (pki_ca_read(dir, &ca) != KM_OK)
        goto out;
    if (snprintf(uri, sizeof(uri), "spiffe://%s/%s/%s", ca.cluster, role_text, name) >= (int)sizeof(uri) ||
        km_identity_parse(uri, &id) != KM_OK) {
        km_log(KM_LOG_ERROR, "'%s' cannot be a name: expected 1 to %d of a-z 0-9 . - _", name, KM_NAME_MAX);
        code = CLI_USAGE;
        goto out;
    }
    if (out == NULL && strcmp(name, "ca") == 0) {
        km_log(KM_LOG_ERROR, "ca.crt and ca.key are the authority's own files: choose another name or --out");
        code = CLI_USAGE;
        goto out;
    }
    snprintf(base, sizeof(base), "%s/%s", dir, name);
    if (snprintf(cert_path, sizeof(cert_path), "%s.crt", out != NULL ? out : base) >= (int)sizeof(cert_path) ||
        snprintf(key_path, sizeof(key_path), "%s.key", out != NULL ? out : base) >= (int)sizeof(key_path)) {
        km_log(KM_LOG_ERROR, "%s: name too long", out != NULL ? out : base);
        goto out;
    }
    if (!is_within(&ca, days))
        goto out;
    if (issue(&ca, &id, days, cert_path, key_path, is_forced) == KM_OK)
        code = CLI_OK;
out:
    pki_ca_fini(&ca);
    return code;
}
