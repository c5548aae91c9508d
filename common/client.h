/* SPDX-License-Identifier: Apache-2.0
 *
 * The courier: hands one request to one of the configured servers and brings the reply, going elsewhere when a server is
 * down, not fresh or busy. It has no threads (design D1): a calling thread takes an idle connection or opens
 * one, writes, reads, and puts it back. Used by the module (blocking SP sockets, own code) and by the CLI.
 *
 * Fork: a child notices the new pid at its first call, closes what it inherited without writing to it, and keeps
 * configuration, certificate, key and what is known about dead servers.
 */
#ifndef KM_COMMON_CLIENT_H
#define KM_COMMON_CLIENT_H

#include "channel.h"
#include "wire.pb-c.h"

#define KM_WIRE_VERSION 1
#define KM_FIND_PAGE_MAX 256
#define KM_SERVERS_MAX 32

/* client.conf, see conf/client.conf */
struct km_client_server {
    char name[KM_NAME_MAX + 1];
    char zone[KM_NAME_MAX + 1];
    char address[256]; /* host:port */
};
struct km_client_conf {
    char *cluster, *zone;
    char *certificate, *key, *ca;
    char *log;
    int log_level;
    bool sha1_signatures;         /* km_mech_allow_sha1_signatures */
    unsigned deadline_ms;         /* of a whole call: default 10000 */
    unsigned connect_deadline_ms; /* of one attempt: default 1000 */
    unsigned attempt_deadline_ms; /* of one request at one server: default 3000; half of deadline_ms at most */
    struct km_client_server servers[KM_SERVERS_MAX];
    size_t n_servers;
};

/* Reads client.conf. Errors as km_conf_read. Free with km_client_conf_fini. */
enum km_err km_client_conf_read(const char *path, struct km_client_conf *ret, char *ret_message, size_t message_len) KM_CHECKED;
void km_client_conf_fini(struct km_client_conf *conf);

struct km_client;

/* A client for `conf` (whose strings it takes over on success). Reads certificates and key now, connects lazily.
 * Thread-safe afterwards. Errors: as km_tls_new. */
enum km_err km_client_new(struct km_client_conf *conf, struct km_client **ret, char *ret_message, size_t message_len) KM_CHECKED;

/* Closes every connection (C_Finalize); the client stays usable and reconnects on the next call. Reads renewed certificates
 * where they can be read. */
void km_client_disconnect(struct km_client *client);
void km_client_free(struct km_client *client);

/* Sends `request` and returns the server's reply (freed by the caller with kmw__reply__free_unpacked(reply, NULL)).
 * Fills version, min_index, program and uid; the caller fills the rest. `request->deadline_ms` is how long one server
 * may take; 0: as configured. Verdicts ELSEWHERE, BUSY and UNDECIDED and broken connections are handled here: the
 * request goes to another server, the same bytes with the same Change, until it is answered or conf.deadline_ms has
 * passed. `is_retryable` false: a request that must not be repeated once a server may have taken it (there are none
 * today but the caller decides). Errors: KM_ERR_TIMEOUT, KM_ERR_NET, KM_ERR_TLS, KM_ERR_UNDECIDED, KM_ERR_TOO_LARGE,
 * KM_ERR_NOMEM; one line in the log says which servers were tried and why each failed. */
enum km_err km_client_call(struct km_client *client, Kmw__Request *request, bool is_retryable, Kmw__Reply **ret) KM_CHECKED;

/* The highest log index seen so far. */
uint64_t km_client_index(const struct km_client *client);

#endif
