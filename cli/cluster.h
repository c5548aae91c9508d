/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking the cluster, with the words for everything that can go wrong. All functions log their own errors.
 */
#ifndef KM_CLI_CLUSTER_H
#define KM_CLI_CLUSTER_H

#include "cli.h"

#include "../common/client.h"

#define CLUSTER_CONFIG_HELP "client.conf to use; else $KEYMOOT_CONF, else /etc/keymoot/client.conf"
#define CLUSTER_TIMEOUT_HELP "how long to wait for an answer: deadline_ms of client.conf unless told"

/* Reads `config` (NULL: KEYMOOT_CONF or the standard place) and makes a client. `deadline_s` replaces the configured
 * deadlines unless 0. CLI_OK, or the code to exit with. The caller frees with km_client_free. */
enum cli_exit cluster_open(const char *config, unsigned deadline_s, struct km_client **ret);

/* Sends `request` and hands out an answer that the cluster gave without refusing. CLI_OK, or the code to exit with,
 * then with the reason in the log unless `is_quiet`. Freed with kmw__reply__free_unpacked(reply, NULL). */
enum cli_exit cluster_ask(struct km_client *client, Kmw__Request *request, bool is_quiet, Kmw__Reply **ret);

/* ClusterStatus. `ret->cluster_status` is not NULL on CLI_OK. */
enum cli_exit cluster_ask_status(struct km_client *client, bool is_quiet, Kmw__Reply **ret);

/* The server with `id` in a status, or NULL. */
const Kmw__Server *cluster_find(const Kmw__ClusterStatusReply *status, uint64_t id);

#endif
