/* SPDX-License-Identifier: Apache-2.0
 *
 * Throw-away certificates for tests, in a temporary folder that pki_fini removes.
 */
#ifndef KM_TESTS_PKI_H
#define KM_TESTS_PKI_H

#include "../../common/channel.h"

struct pki {
    char dir[64];
    EVP_PKEY *ca_key;
    X509 *ca;
    char ca_path[128];
    long serial;
    const char *usage; /* extended key usage of what is issued next, "" for none; NULL: what its role needs */
};

void pki_init(struct pki *pki);
void pki_fini(struct pki *pki);

/* Writes <name>.crt and <name>.key: a certificate for `uri`, valid until `days` from now (negative: expired). */
void pki_issue(struct pki *pki, const char *file, const char *uri, int days);
const char *pki_path(struct pki *pki, const char *file, const char *suffix, char buf[160]);

/* A km_tls from those files, trusting `trust`'s CA; asserts that it works. */
struct km_tls *pki_tls(struct pki *pki, const char *file, struct pki *trust, bool is_server);

#endif
