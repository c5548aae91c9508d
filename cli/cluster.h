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

/* Sends `request` and hands out an answer that the cluster gave without refusing. CLI_OK, or the code to exit with; why
 * goes to `ret_why` (CLUSTER_WHY_LEN bytes), or into the log if that is NULL. Freed with
 * kmw__reply__free_unpacked(reply, NULL). */
#define CLUSTER_WHY_LEN 512
enum cli_exit cluster_ask(struct km_client *client, Kmw__Request *request, char *ret_why, Kmw__Reply **ret);

/* ClusterStatus, logging why not: the leader's own answer if it can be had, else one from a server that is fresh, else
 * any. `config` as for cluster_open. `(*ret)->cluster_status` is not NULL on CLI_OK. */
enum cli_exit cluster_ask_status(struct km_client *client, const char *config, Kmw__Reply **ret);

/* How far a change of the members is, by a status. */
enum cluster_standing { CLUSTER_DONE, CLUSTER_PENDING, CLUSTER_NOT_BEGUN, CLUSTER_IMPOSSIBLE };
typedef enum cluster_standing (*cluster_standing_fn)(const Kmw__ClusterStatusReply *status, const void *arg);

/* Asks for a change of the members as often as it takes until it is done or `deadline_s` has passed. A server answers
 * each request within a few seconds, a lost answer may hide a success, and leaders change: so the status decides. */
enum cli_exit cluster_settle(struct km_client *client, const char *config, Kmw__Request *request, unsigned deadline_s,
                             cluster_standing_fn standing, const void *arg);
#define CLUSTER_STEP_S 8 /* for cluster_open: one request of several */

/* The server with `id` in a status, or NULL. */
const Kmw__Server *cluster_find(const Kmw__ClusterStatusReply *status, uint64_t id);

#endif
