/* SPDX-License-Identifier: Apache-2.0
 *
 * The operations: dispatch (dispatch.def: operation -> handler, who may ask, whether it uses, reads or changes) checks identity, ticket, freshness and limits,
 * calls the handler, audits, checks freshness again, and answers. Uses run in the network's callback or on a worker; changes always on a worker.
 */
#ifndef KM_SERVICE_SERVICE_H
#define KM_SERVICE_SERVICE_H

#include "../../common/identity.h"
#include "../hsm/backend.h"
#include "../net/front.h"
#include "../raft/replica.h"

struct km_service;
struct km_audit;
struct km_access;
struct km_levels;

struct km_service_conf {
    const char *cluster;
    uint64_t server_id;
    const char *model;              /* of every token: "keymoot", or "DEV" */
    unsigned workers;               /* threads for slow uses: number of cores + 2 */
    unsigned changers;              /* threads that wait for the log: 64 */
    unsigned queue_max;             /* waiting requests before BUSY: 4096 */
    unsigned request_deadline_ms;   /* 5000 */
    unsigned login_max_age_ms;      /* tickets: 12 h */
    const struct km_levels *levels; /* how strictly tokens keep keys apart; NULL: the default */
};

enum km_err km_service_new(const struct km_service_conf *conf, struct km_store *store, struct km_replica *replica,
                           struct km_backend *backend, struct km_audit *audit, const struct km_access *access,
                           struct km_service **ret) KM_CHECKED;
/* Waits for requests in work. */
void km_service_free(struct km_service *service);

/* A km_front_handler with a struct km_service as `arg`. */
void km_service_on_request(void *service, struct km_front_request *request, const struct km_identity *identity, const uint8_t *data, size_t len);

/* The same without a network, for the loop tests: decodes, runs, and returns the packed reply (malloc'ed). Blocks. */
void km_service_call(struct km_service *service, const struct km_identity *identity, const uint8_t *data, size_t len,
                     uint8_t **ret, size_t *ret_len);

#endif
