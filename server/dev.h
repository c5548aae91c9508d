/* SPDX-License-Identifier: Apache-2.0
 *
 * keymootd --dev: one server for trying and developing, in a new folder that goes when it ends. Loopback only,
 * certificates of its own cluster "dev", a token "dev" with random PINs that are printed. It takes no configuration
 * file, so nothing of a real cluster (data, members, HSMs) can get into it.
 */
#ifndef KM_SERVER_DEV_H
#define KM_SERVER_DEV_H

#include "../common/err.h"

#define KM_DEV_CLUSTER "dev"
#define KM_DEV_PIN_LEN 8

struct km_dev_options {
    const char *dir; /* new or empty; NULL: a temporary one */
    unsigned port;   /* clients'; 0: any free one */
};

/* Runs until a signal comes; returns the exit code. */
int km_dev_run(const struct km_dev_options *options);

/* Makes ca.crt, and for each of `names` ("server/dev", "client/app") name.crt and name.key, in folder `dir`. The CA's
 * key is never written. Errors: KM_ERR_CRYPTO, KM_ERR_IO. */
enum km_err km_dev_pki(const char *dir, const char *const *names, unsigned n) KM_CHECKED;

struct km_service;
/* Initialises the free slot as token "dev" for client "app" through the service. Blocks; not on the loop thread.
 * Errors: KM_ERR_TIMEOUT, KM_ERR_DENIED with `ret_message`. */
enum km_err km_dev_token(struct km_service *service, const char *so_pin, const char *pin, char *ret_message,
                         unsigned message_len) KM_CHECKED;

#endif
