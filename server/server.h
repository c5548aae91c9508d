/* SPDX-License-Identifier: Apache-2.0
 *
 * One key server: disk, peers, replica, store, back end, audit, service and front door, put together and taken apart in
 * order. All functions on the loop thread.
 */
#ifndef KM_SERVER_SERVER_H
#define KM_SERVER_SERVER_H

#include "conf.h"
#include "service/service.h"

#include <uv.h>

#define KM_SERVER_MESSAGE_MAX 1024

/* Makes the data folder of `conf`. With `is_join` the server waits to be added to a running cluster; otherwise it
 * founds the cluster together with the others under [members]. Errors, with `ret_message`: KM_ERR_CONF (not among the
 * members), KM_ERR_EXISTS, KM_ERR_IO ... */
enum km_err km_server_provision(const struct km_server_conf *conf, bool is_join, uv_loop_t *loop, char *ret_message,
                                size_t message_len) KM_CHECKED;

struct km_server;

/* Starts everything. `conf` is borrowed as long as the server lives. `is_first_start`: just provisioned by this
 * process. `on_stopped` is called on the loop when all is down, after km_server_stop or after an error that ends the
 * server (then `is_failed`); the server is gone by then. Errors, with `ret_message`: those of the parts; nothing is
 * left running. */
enum km_err km_server_start(const struct km_server_conf *conf, uv_loop_t *loop, bool is_first_start,
                            void (*on_stopped)(void *arg, bool is_failed), void *arg, struct km_server **ret,
                            char *ret_message, size_t message_len) KM_CHECKED;

/* Stops accepting, answers what is in work, hands leadership over, closes. */
void km_server_stop(struct km_server *server);

/* New connections use the certificates that now stand in the files. Errors, with `ret_message`: as km_tls_new; the old
 * ones stay. */
enum km_err km_server_reload(struct km_server *server, char *ret_message, size_t message_len) KM_CHECKED;

/* For --dev: the service, borrowed. */
struct km_service *km_server_service(struct km_server *server);

#endif
