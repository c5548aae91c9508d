/* SPDX-License-Identifier: Apache-2.0
 *
 * server.conf, see conf/server.conf.
 */
#ifndef KM_SERVER_CONF_H
#define KM_SERVER_CONF_H

#include "../common/client.h"
#include "govern/access.h"
#include "govern/level.h"
#include "raft/replica.h"

struct km_server_conf {
    char *cluster, *name, *zone, *address, *peer_address;
    char *data_dir;
    char *certificate, *key, *ca, *master_key;
    char *log;
    unsigned id;
    int log_level; /* enum km_log_level */
    int audit;     /* enum km_audit_class */
    unsigned election_ms, heartbeat_ms;
    unsigned workers; /* 0: number of cores + 2 */
    unsigned changers, queue_max;
    unsigned request_deadline_ms;
    unsigned login_max_age_min;
    bool sha1_signatures; /* km_mech_allow_sha1_signatures */
    unsigned connections_max, strangers_max, strangers_per_source, handshake_ms;
    struct km_member members[KM_SERVERS_MAX]; /* those that found the cluster, by id */
    size_t n_members;
    const char *model;            /* not from the file: "keymoot", or "DEV" with --dev */
    struct km_access *access; /* never NULL */
    struct km_levels *levels; /* never NULL */
};

/* Reads `path`. On failure `ret` holds nothing and `ret_message` says file, line, key and what was expected. Errors:
 * KM_ERR_CONF, KM_ERR_IO, KM_ERR_NOMEM. Free with km_server_conf_fini. */
enum km_err km_server_conf_read(const char *path, struct km_server_conf *ret, char *ret_message,
                                size_t message_len) KM_CHECKED;
void km_server_conf_fini(struct km_server_conf *conf);

#endif
