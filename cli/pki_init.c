/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot pki init: a certificate authority for one cluster. Name constraints bind it to that cluster, so that its
 * certificates are worth nothing in another one.
 */
#include "cli.h"
#include "file.h"
#include "pki.h"

#include "../common/log.h"

#include <string.h>

static enum km_err make(const char *dir, const char *cluster, const char *cert_path, const char *key_path,
                        bool is_forced)
{
    char constraint[KM_NAME_MAX + 32];
    snprintf(constraint, sizeof(constraint), "critical,permitted;URI:%s", cluster);
    const struct pki_extension extensions[] = {
        {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
        {NID_key_usage, "critical,keyCertSign,cRLSign"},
        {NID_subject_key_identifier, "hash"},
        {NID_name_constraints, constraint},
        {0, NULL},
    };
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    enum km_err err;
    if ((err = cli_folder_make(dir)) != KM_OK)
        goto out;
    if ((err = pki_key_new(&key)) != KM_OK)
        goto out;
    if ((err = pki_cert_new(NULL, key, cluster, "keymoot CA", PKI_CA_DAYS, extensions, &cert)) != KM_OK)
        goto out;
    err = pki_pair_write(cert_path, cert, key_path, key, is_forced);
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

enum cli_exit cli_pki_init(const struct cli_command *self, int argc, char **argv)
{
    const char *dir = NULL, *cluster = NULL;
    bool is_forced = false;
    const struct cli_option options[] = {
        {"dir", CLI_TEXT, &dir, "DIR", .help = "folder for ca.crt and ca.key; made if it is not there",
         .is_required = true},
        {"cluster", CLI_TEXT, &cluster, "NAME", .help = "the cluster's name: up to 64 of a-z 0-9 . - _",
         .is_required = true},
        {"force", CLI_FLAG, &is_forced, NULL, .help = "replace an old authority: all that it issued becomes worthless"},
        {0},
    };
    const struct cli_usage usage = {
        options, "The authority is valid for ten years. Keep ca.key where neither servers nor programs can read it.",
        "--dir pki --cluster prod"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;

    char uri[KM_IDENTITY_MAX], cert_path[PKI_PATH_MAX], key_path[PKI_PATH_MAX];
    struct km_identity id;
    if (snprintf(uri, sizeof(uri), "spiffe://%s/server/a", cluster) >= (int)sizeof(uri) ||
        km_identity_parse(uri, &id) != KM_OK) {
        km_log(KM_LOG_ERROR, "'%s' cannot be a cluster's name: expected 1 to %d of a-z 0-9 . - _", cluster,
               KM_NAME_MAX);
        return CLI_USAGE;
    }
    if (pki_path(cert_path, dir, "ca", ".crt") != KM_OK || pki_path(key_path, dir, "ca", ".key") != KM_OK)
        return CLI_USAGE;
    if (make(dir, cluster, cert_path, key_path, is_forced) != KM_OK)
        return CLI_FAILED;
    printf("authority of cluster %s: %s (give it to everyone), %s (keep it secret)\n", cluster, cert_path, key_path);
    return CLI_OK;
}
