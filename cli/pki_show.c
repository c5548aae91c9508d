/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot pki show: what the certificates in a file say, read by the same code as in module and server.
 */
#include "cli.h"
#include "pki.h"

#include "../common/log.h"

#include <errno.h>
#include <libsmartcols.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

struct facts {
    char identity[KM_IDENTITY_MAX + 64], *issuer, *serial;
    char begin[32], end[32], sha256[2 * 32 + 1];
    long days_left, ignored;
    const char *kind;
    bool is_identity;
};

static void read_facts(X509 *cert, struct facts *f)
{
    struct km_identity id;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    f->is_identity = km_identity_of(cert, &id) == KM_OK;
    f->kind = X509_check_ca(cert) == 1 ? "authority" : f->is_identity ? km_role_text(id.role) : "none";
    char cluster[KM_NAME_MAX + 1] = "?";
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_organizationName, cluster, sizeof(cluster));
    if (f->is_identity)
        snprintf(f->identity, sizeof(f->identity), "%s", id.uri);
    else if (X509_check_ca(cert) == 1)
        snprintf(f->identity, sizeof(f->identity), "certificate authority of cluster %s", cluster);
    else
        snprintf(f->identity, sizeof(f->identity), "none: there is not exactly one URI spiffe://CLUSTER/ROLE/NAME");
    f->issuer = X509_NAME_oneline(X509_get_issuer_name(cert), NULL, 0);
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    f->serial = serial != NULL ? BN_bn2hex(serial) : NULL;
    BN_free(serial);
    pki_time_text(X509_get0_notBefore(cert), f->begin, &f->ignored);
    pki_time_text(X509_get0_notAfter(cert), f->end, &f->days_left);
    if (X509_digest(cert, EVP_sha256(), digest, &len) == 1) {
        for (unsigned i = 0; i < len; i++)
            snprintf(f->sha256 + 2 * i, 3, "%02x", digest[i]);
    }
}

static void free_facts(struct facts *f)
{
    OPENSSL_free(f->issuer);
    OPENSSL_free(f->serial);
}

static const struct cli_column people[] = {{"", "", SCOLS_JSON_STRING, false}, {"", "", SCOLS_JSON_STRING, false}};
static const struct cli_column machine[] = {
    {"", "identity", SCOLS_JSON_STRING, false},   {"", "kind", SCOLS_JSON_STRING, false},
    {"", "not_before", SCOLS_JSON_STRING, false}, {"", "not_after", SCOLS_JSON_STRING, false},
    {"", "days_left", SCOLS_JSON_NUMBER, false},  {"", "issuer", SCOLS_JSON_STRING, false},
    {"", "serial", SCOLS_JSON_STRING, false},     {"", "sha256", SCOLS_JSON_STRING, false},
};

static void put_pair(struct cli_table *table, const char *name, const char *value)
{
    cli_table_cell(table, "%s", name);
    cli_table_cell(table, "%s", value);
}

static void show_for_people(const struct facts *f)
{
    struct cli_table *table = cli_table_new("certificate", people, 2, false);
    char validity[128];
    if (f->days_left >= 0)
        snprintf(validity, sizeof(validity), "%s (%ld days left)", f->end, f->days_left);
    else
        snprintf(validity, sizeof(validity), "%s (expired)", f->end);
    put_pair(table, "identity", f->identity);
    put_pair(table, "valid from", f->begin);
    put_pair(table, "valid until", validity);
    put_pair(table, "issuer", f->issuer != NULL ? f->issuer : "?");
    put_pair(table, "serial", f->serial != NULL ? f->serial : "?");
    put_pair(table, "sha256", f->sha256);
    cli_table_print(table, true /* bare */);
    cli_table_free(table);
}

static void add_for_machine(struct cli_table *table, const struct facts *f)
{
    cli_table_cell(table, "%s", f->is_identity ? f->identity : "");
    cli_table_cell(table, "%s", f->kind);
    cli_table_cell(table, "%s", f->begin);
    cli_table_cell(table, "%s", f->end);
    cli_table_cell(table, "%ld", f->days_left);
    cli_table_cell(table, "%s", f->issuer != NULL ? f->issuer : "?");
    cli_table_cell(table, "%s", f->serial != NULL ? f->serial : "?");
    cli_table_cell(table, "%s", f->sha256);
}

enum cli_exit cli_pki_show(const struct cli_command *self, int argc, char **argv)
{
    const char *path = NULL;
    bool is_json = false;
    const struct cli_option options[] = {
        {NULL, CLI_TEXT, &path, "FILE", .help = "certificates in PEM form", .is_required = true},
        {"json", CLI_FLAG, &is_json, NULL, .help = "print JSON"},
        {0},
    };
    const struct cli_usage usage = {options, NULL, "pki/web-1.crt"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;

    FILE *file = fopen(path, "re");
    if (file == NULL) {
        km_log(KM_LOG_ERROR, "%s cannot be read: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    struct cli_table *table = cli_table_new("certificates", machine, sizeof(machine) / sizeof(machine[0]), is_json);
    unsigned shown = 0;
    for (X509 *cert; (cert = PEM_read_X509(file, NULL, NULL, NULL)) != NULL; X509_free(cert), shown++) {
        struct facts facts = {0};
        read_facts(cert, &facts);
        if (is_json)
            add_for_machine(table, &facts);
        else {
            if (shown > 0)
                putchar('\n');
            show_for_people(&facts);
        }
        free_facts(&facts);
    }
    bool is_end = shown > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (is_end && is_json)
        cli_table_print(table, false /* bare */);
    else if (!is_end)
        km_log(KM_LOG_ERROR, "%s holds no certificate in PEM form%s: %s", path,
               shown > 0 ? " after the ones shown" : "", pki_reason());
    ERR_clear_error();
    cli_table_free(table);
    fclose(file);
    return is_end ? CLI_OK : CLI_FAILED;
}
