/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of a server in the order in which they stand on each other. Stopping goes the other way round: the front
 * door and the service first, on a thread of their own since requests in work still need the loop; then the replica,
 * which hands leadership over; then what it stood on.
 */
#include "server.h"

#include "../common/log.h"
#include "govern/audit.h"
#include "net/peers.h"
#include "raft/disk_sqlite.h"
#include "raft/world_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_MAX 3600

struct km_server {
    const struct km_server_conf *conf;
    uv_loop_t *loop;
    struct km_tls *server_tls, *client_tls;
    struct km_backend *backend;
    struct km_audit *audit;
    struct km_store *store;
    struct km_world *world;
    struct km_disk *disk;
    struct km_link *link;
    struct km_replica *replica;
    struct km_service *service;
    struct km_front *front;
    uv_async_t fatal;
    uv_work_t closing;
    atomic_bool is_failed;
    bool is_stopping;
    void (*on_stopped)(void *arg, bool is_failed);
    void *arg;
};

static void part_of(const struct km_server_conf *conf, const char *part, char ret[DIR_MAX + 16])
{
    snprintf(ret, DIR_MAX + 16, "%.*s/%s", DIR_MAX, conf->data_dir, part);
}

/* --- provisioning ---------------------------------------------------------------------------------------------- */

static void on_disk_closed(void *arg)
{
    *(bool *)arg = true;
}

static enum km_err found_cluster(const struct km_server_conf *conf, struct km_disk *disk)
{
    struct raft_configuration configuration;
    char packed[KM_MEMBER_PACKED_MAX];
    enum km_err err = KM_OK;
    raft_configuration_init(&configuration);
    for (size_t i = 0; i < conf->n_members && !err; i++) {
        err = km_member_pack(&conf->members[i], packed);
        if (!err && raft_configuration_add(&configuration, conf->members[i].id, packed, RAFT_VOTER))
            err = KM_ERR_NOMEM;
    }
    if (!err)
        err = disk->ops->bootstrap(disk, &configuration);
    raft_configuration_close(&configuration);
    return err;
}

static bool is_member(const struct km_server_conf *conf)
{
    for (size_t i = 0; i < conf->n_members; i++)
        if (conf->members[i].id == conf->id)
            return true;
    return false;
}

enum km_err km_server_provision(const struct km_server_conf *conf, bool is_join, uv_loop_t *loop, char *ret_message,
                                size_t message_len)
{
    char dir[DIR_MAX + 16];
    struct km_disk *disk = NULL;
    bool is_closed = false;
    if (!is_join && !is_member(conf)) {
        snprintf(ret_message, message_len, "id %u is not under [members]: to join a running cluster use --join",
                 conf->id);
        return KM_ERR_CONF;
    }
    if (mkdir(conf->data_dir, 0700) && errno != EEXIST) {
        snprintf(ret_message, message_len, "%s: %s", conf->data_dir, strerror(errno));
        return KM_ERR_IO;
    }
    part_of(conf, "raft", dir);
    enum km_err err = km_disk_provision(dir, conf->cluster, conf->id, conf->name, ret_message, message_len);
    if (err || is_join)
        return err;
    err = km_disk_sqlite_open(dir, conf->cluster, conf->id, conf->name, loop, &disk, ret_message, message_len);
    if (err)
        return err;
    err = found_cluster(conf, disk);
    if (err)
        snprintf(ret_message, message_len, "%s: the cluster's first members cannot be written: %s", dir,
                 km_err_text(err));
    disk->ops->close(disk, on_disk_closed, &is_closed);
    while (!is_closed)
        uv_run(loop, UV_RUN_ONCE);
    return err;
}

/* --- stopping ---------------------------------------------------------------------------------------------------- */

static void on_all_closed(uv_handle_t *handle)
{
    struct km_server *server = handle->data;
    void (*on_stopped)(void *arg, bool is_failed) = server->on_stopped;
    void *arg = server->arg;
    bool is_failed = server->is_failed;
    free(server);
    if (on_stopped)
        on_stopped(arg, is_failed);
}

static void close_rest(void *arg)
{
    struct km_server *server = arg;
    server->link = NULL;
    km_audit_close(server->audit);
    if (server->backend)
        server->backend->ops->close(server->backend);
    km_store_free(server->store);
    km_world_uv_free(server->world);
    if (server->client_tls)
        km_tls_unref(server->client_tls);
    if (server->server_tls)
        km_tls_unref(server->server_tls);
    uv_close((uv_handle_t *)&server->fatal, on_all_closed);
}

static void close_link(void *arg)
{
    struct km_server *server = arg;
    server->replica = NULL;
    server->disk = NULL; /* the replica closed it */
    if (server->link)
        km_peers_close(server->link, close_rest, server);
    else
        close_rest(server);
}

static void close_disk(struct km_server *server)
{
    if (server->disk)
        server->disk->ops->close(server->disk, close_link, server);
    else
        close_link(server);
}

static void close_service(uv_work_t *work)
{
    struct km_server *server = work->data;
    if (server->front)
        km_front_close(server->front);
    km_service_free(server->service);
}

static void on_service_closed(uv_work_t *work, int status)
{
    struct km_server *server = work->data;
    (void)status;
    server->front = NULL;
    server->service = NULL;
    if (server->replica)
        km_replica_stop(server->replica, close_link, server);
    else
        close_disk(server);
}

void km_server_stop(struct km_server *server)
{
    if (server->is_stopping)
        return;
    server->is_stopping = true;
    server->closing.data = server;
    if (uv_queue_work(server->loop, &server->closing, close_service, on_service_closed)) {
        km_log(KM_LOG_ERROR, "stopping: no thread");
        abort();
    }
}

static void on_fatal_async(uv_async_t *async)
{
    km_server_stop(async->data);
}

static void on_fatal(void *arg, const char *why)
{
    struct km_server *server = arg;
    km_log(KM_LOG_ERROR, "this server must stop: %s", why);
    server->is_failed = true;
    uv_async_send(&server->fatal);
}

/* --- starting ---------------------------------------------------------------------------------------------------- */

struct message {
    char *text;
    size_t len;
};

static enum km_err start_tls(const struct km_server_conf *conf, struct km_tls **ret_server, struct km_tls **ret_client,
                             struct message m)
{
    struct km_identity self;
    struct km_tls *server = NULL, *client = NULL;
    enum km_err err =
        km_tls_new(conf->cluster, conf->certificate, conf->key, conf->ca, true /* server */, &server, m.text, m.len);
    if (!err)
        err = km_tls_new(conf->cluster, conf->certificate, conf->key, conf->ca, false /* client */, &client, m.text,
                         m.len);
    if (err)
        goto out;
    self = *km_tls_self(server);
    if (self.role != KM_ROLE_SERVER || strcmp(self.name, conf->name)) {
        snprintf(m.text, m.len, "%s: is the certificate of %s, expected spiffe://%s/server/%s", conf->certificate,
                 self.uri, conf->cluster, conf->name);
        err = KM_ERR_IDENTITY;
        goto out;
    }
    *ret_server = server;
    *ret_client = client;
    server = client = NULL;
out:
    if (server)
        km_tls_unref(server);
    if (client)
        km_tls_unref(client);
    return err;
}

static enum km_err start_backend(struct km_server *server, struct message m)
{
    struct km_secret master = KM_SECRET_EMPTY;
    enum km_err err = km_master_key_read(server->conf->master_key, server->conf->cluster, &master, m.text, m.len);
    if (err)
        return err;
    err = km_builtin_open(&master, &server->backend);
    if (err)
        snprintf(m.text, m.len, "the built-in back end cannot start: %s", km_err_text(err));
    km_secret_free(&master);
    return err;
}

static enum km_err start_state(struct km_server *server, struct message m)
{
    const struct km_server_conf *conf = server->conf;
    char dir[DIR_MAX + 16];
    part_of(conf, "raft", dir);
    enum km_err err =
        km_disk_sqlite_open(dir, conf->cluster, conf->id, conf->name, server->loop, &server->disk, m.text, m.len);
    if (err)
        return err;
    part_of(conf, "audit", dir);
    err = km_audit_open(dir, conf->id, (enum km_audit_class)conf->audit, &server->audit, m.text, m.len);
    if (err)
        return err;
    server->store = km_store_new();
    err = server->store ? km_world_uv_new(server->loop, &server->world) : KM_ERR_NOMEM;
    if (err)
        snprintf(m.text, m.len, "%s", km_err_text(err));
    return err;
}

static enum km_err start_replica(struct km_server *server, bool is_first_start, struct message m)
{
    const struct km_server_conf *conf = server->conf;
    struct km_member self = {.id = conf->id};
    char packed[KM_MEMBER_PACKED_MAX];
    snprintf(self.name, sizeof(self.name), "%s", conf->name);
    snprintf(self.zone, sizeof(self.zone), "%s", conf->zone);
    snprintf(self.address, sizeof(self.address), "%s", conf->address);
    snprintf(self.peer_address, sizeof(self.peer_address), "%s", conf->peer_address);
    enum km_err err = km_member_pack(&self, packed);
    if (err) {
        snprintf(m.text, m.len, "name, zone or addresses are too long");
        return err;
    }
    err = km_peers_open(server->loop, conf->id, conf->peer_address, server->server_tls, server->client_tls,
                        &server->link, m.text, m.len);
    if (err)
        return err;
    struct km_replica_conf replica = {.id = conf->id,
                                      .self_address = packed,
                                      .election_ms = conf->election_ms,
                                      .heartbeat_ms = conf->heartbeat_ms,
                                      .snapshot_threshold = 8192,
                                      .snapshot_trailing = 8192,
                                      .skip_boot_wait = is_first_start,
                                      .peers = conf->members,
                                      .n_peers = conf->n_members};
    return km_replica_start(&replica, server->world, server->disk, server->link, server->store, on_fatal, server,
                            &server->replica, m.text, m.len);
}

static enum km_err start_service(struct km_server *server, struct message m)
{
    const struct km_server_conf *conf = server->conf;
    unsigned cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    struct km_service_conf service = {.cluster = conf->cluster,
                                      .server_id = conf->id,
                                      .model = conf->model,
                                      .workers = conf->workers ? conf->workers : cores + 2,
                                      .changers = conf->changers,
                                      .queue_max = conf->queue_max,
                                      .request_deadline_ms = conf->request_deadline_ms,
                                      .login_max_age_ms = conf->login_max_age_min * 60000,
                                      .levels = conf->levels};
    struct km_front_conf front = {.address = conf->address,
                                  .handshake_ms = conf->handshake_ms,
                                  .strangers_max = conf->strangers_max,
                                  .strangers_per_source = conf->strangers_per_source,
                                  .connections_max = conf->connections_max};
    enum km_err err = km_service_new(&service, server->store, server->replica, server->backend, server->audit,
                                     conf->access, &server->service);
    if (err) {
        snprintf(m.text, m.len, "the service cannot start: %s", km_err_text(err));
        return err;
    }
    return km_front_open(&front, server->server_tls, km_service_on_request, server->service, &server->front, m.text,
                         m.len);
}

static void on_given_up(void *arg, bool is_failed)
{
    (void)is_failed;
    *(bool *)arg = true;
}

enum km_err km_server_start(const struct km_server_conf *conf, uv_loop_t *loop, bool is_first_start,
                            void (*on_stopped)(void *arg, bool is_failed), void *arg, struct km_server **ret,
                            char *ret_message, size_t message_len)
{
    struct message m = {ret_message, message_len};
    struct km_server *server = calloc(1, sizeof(*server));
    bool is_gone = false;
    if (!server || uv_async_init(loop, &server->fatal, on_fatal_async)) {
        free(server);
        snprintf(ret_message, message_len, "%s", km_err_text(KM_ERR_NOMEM));
        return KM_ERR_NOMEM;
    }
    server->conf = conf;
    server->loop = loop;
    server->fatal.data = server;
    enum km_err err = start_tls(conf, &server->server_tls, &server->client_tls, m);
    if (!err)
        err = start_backend(server, m);
    if (!err)
        err = start_state(server, m);
    if (!err)
        err = start_replica(server, is_first_start, m);
    if (!err)
        err = start_service(server, m);
    if (!err) {
        server->on_stopped = on_stopped;
        server->arg = arg;
        *ret = server;
        return KM_OK;
    }
    server->on_stopped = on_given_up;
    server->arg = &is_gone;
    km_server_stop(server);
    while (!is_gone)
        uv_run(loop, UV_RUN_ONCE);
    return err;
}

enum km_err km_server_reload(struct km_server *server, char *ret_message, size_t message_len)
{
    struct message m = {ret_message, message_len};
    struct km_tls *server_tls = NULL, *client_tls = NULL;
    enum km_err err = start_tls(server->conf, &server_tls, &client_tls, m);
    if (err)
        return err;
    km_front_set_tls(server->front, server_tls);
    km_peers_set_tls(server->link, server_tls, client_tls);
    km_tls_unref(server->server_tls);
    km_tls_unref(server->client_tls);
    server->server_tls = server_tls;
    server->client_tls = client_tls;
    return KM_OK;
}

struct km_service *km_server_service(struct km_server *server)
{
    return server->service;
}
