/* SPDX-License-Identifier: Apache-2.0 */
#include "net_kit.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void kit_init(struct kit *kit)
{
    pki_init(&kit->pki);
    pki_init(&kit->foreign);
    pki_issue(&kit->pki, "a", "spiffe://c1/server/a", 10);
    pki_issue(&kit->pki, "b", "spiffe://c1/server/b", 10);
    pki_issue(&kit->pki, "c", "spiffe://c1/server/c", 10);
    pki_issue(&kit->pki, "app", "spiffe://c1/client/app", 10);
    pki_issue(&kit->pki, "old", "spiffe://c1/client/old", -1);
    pki_issue(&kit->foreign, "foreign", "spiffe://c1/client/app", 10);
}

void kit_fini(struct kit *kit)
{
    pki_fini(&kit->pki);
    pki_fini(&kit->foreign);
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int kit_free_port(void)
{
    struct sockaddr_in addr = loopback(0);
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
    assert(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
    close(fd);
    return ntohs(addr.sin_port);
}

/* --- server */

struct late {
    struct kit_server *server;
    struct km_front_request *request;
    uint8_t *data;
    size_t len;
};

static void reply_to(struct kit_server *server, struct km_front_request *request, const uint8_t *data, size_t len)
{
    Kmw__Request *in = kmw__request__unpack(NULL, len, data);
    Kmw__Reply out = KMW__REPLY__INIT;
    Kmw__RandomReply random = KMW__RANDOM_REPLY__INIT;
    Kmw__UseReply use = KMW__USE_REPLY__INIT;
    uint8_t *bytes = NULL;
    out.version = KM_WIRE_VERSION;
    out.verdict = (Kmw__Reply__Verdict)atomic_load(&server->verdict);
    out.index = server->index;
    out.reason = (char *)(uintptr_t)"as the test wants it";
    if (in != NULL && in->op_case == KMW__REQUEST__OP_RANDOM) {
        bytes = malloc(in->random->len);
        memset(bytes, 0x5a, in->random->len);
        random.data = (ProtobufCBinaryData){in->random->len, bytes};
        out.result_case = KMW__REPLY__RESULT_RANDOM;
        out.random = &random;
    } else if (in != NULL && in->op_case == KMW__REQUEST__OP_USE) {
        use.data = in->use->data;
        out.result_case = KMW__REPLY__RESULT_USE;
        out.use = &use;
    }
    size_t out_len = kmw__reply__get_packed_size(&out);
    uint8_t *packed = malloc(out_len);
    kmw__reply__pack(&out, packed);
    km_front_reply(request, packed, out_len);
    free(packed);
    free(bytes);
    if (in != NULL)
        kmw__request__free_unpacked(in, NULL);
}

static void *reply_late(void *arg)
{
    struct late *late = arg;
    usleep((useconds_t)atomic_load(&late->server->delay_ms) * 1000);
    reply_to(late->server, late->request, late->data, late->len);
    atomic_fetch_sub(&late->server->n_late, 1);
    free(late->data);
    free(late);
    return NULL;
}

static void on_request(void *arg, struct km_front_request *request, const struct km_identity *identity, const uint8_t *data, size_t len)
{
    struct kit_server *server = arg;
    if (atomic_fetch_add(&server->n_calls, 1) == 0)
        strcpy(server->last_identity, identity->uri);
    if (atomic_load(&server->delay_ms) == 0) {
        reply_to(server, request, data, len);
        return;
    }
    struct late *late = malloc(sizeof(*late));
    pthread_t thread;
    *late = (struct late){server, request, malloc(len), len};
    memcpy(late->data, data, len);
    atomic_fetch_add(&server->n_late, 1);
    pthread_create(&thread, NULL, reply_late, late);
    pthread_detach(thread);
}

void kit_server_start(struct kit *kit, struct kit_server *server, const char *name, int port)
{
    char address[32], message[256] = "";
    memset(server, 0, sizeof(*server));
    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    snprintf(server->name, sizeof(server->name), "%s", name);
    server->port = port;
    server->index = 42;
    struct km_front_conf conf = {
        .address = address,
        .handshake_ms = 1000,
        .strangers_max = 64,
        .strangers_per_source = 32,
        .connections_max = 1000,
    };
    struct km_tls *tls = pki_tls(&kit->pki, name, &kit->pki, true);
    enum km_err err = km_front_open(&conf, tls, on_request, server, &server->front, message, sizeof(message));
    if (err != KM_OK)
        fprintf(stderr, "%s\n", message);
    assert(err == KM_OK);
    km_tls_unref(tls);
}

void kit_server_stop(struct kit_server *server)
{
    km_front_close(server->front);
    server->front = NULL;
    while (atomic_load(&server->n_late) > 0) /* they answer into the void */
        usleep(1000);
}

/* --- client */

struct km_client *kit_client(struct kit *kit, const char *who, struct kit_server *servers, size_t n)
{
    char cert[160], key[160], message[256] = "";
    struct pki *pki = strcmp(who, "foreign") == 0 ? &kit->foreign : &kit->pki;
    struct km_client *client = NULL;
    struct km_client_conf conf = {
        .cluster = strdup("c1"),
        .certificate = strdup(pki_path(pki, who, "crt", cert)),
        .key = strdup(pki_path(pki, who, "key", key)),
        .ca = strdup(kit->pki.ca_path),
        .zone = strdup("a"),
        .deadline_ms = 2000,
        .connect_deadline_ms = 500,
        .attempt_deadline_ms = 800,
        .n_servers = n,
    };
    for (size_t i = 0; i < n; i++) {
        snprintf(conf.servers[i].name, sizeof(conf.servers[i].name), "%s", servers[i].name);
        snprintf(conf.servers[i].zone, sizeof(conf.servers[i].zone), "%s", servers[i].name);
        snprintf(conf.servers[i].address, sizeof(conf.servers[i].address), "127.0.0.1:%d", servers[i].port);
    }
    enum km_err err = km_client_new(&conf, &client, message, sizeof(message));
    if (err != KM_OK)
        fprintf(stderr, "%s\n", message);
    assert(err == KM_OK);
    return client;
}

enum km_err kit_random(struct km_client *client, size_t len)
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Random random = KMW__RANDOM__INIT;
    Kmw__Reply *reply = NULL;
    random.len = (uint32_t)len;
    request.op_case = KMW__REQUEST__OP_RANDOM;
    request.random = &random;
    enum km_err err = km_client_call(client, &request, true, &reply);
    if (err != KM_OK)
        return err;
    assert(reply->result_case == KMW__REPLY__RESULT_RANDOM && reply->random->data.len == len);
    for (size_t i = 0; i < len; i++)
        assert(reply->random->data.data[i] == 0x5a);
    kmw__reply__free_unpacked(reply, NULL);
    return KM_OK;
}

enum km_err kit_echo(struct km_client *client, size_t len)
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Use use = KMW__USE__INIT;
    Kmw__Reply *reply = NULL;
    uint8_t *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    use.data = (ProtobufCBinaryData){len, bytes};
    request.op_case = KMW__REQUEST__OP_USE;
    request.use = &use;
    enum km_err err = km_client_call(client, &request, true, &reply);
    if (err == KM_OK) {
        assert(reply->result_case == KMW__REPLY__RESULT_USE && reply->use->data.len == len);
        assert(memcmp(reply->use->data.data, bytes, len) == 0);
        kmw__reply__free_unpacked(reply, NULL);
    }
    free(bytes);
    return err;
}

/* --- connections to misuse */

int kit_connect(int port, bool is_other_source)
{
    struct sockaddr_in addr = loopback(port), source = loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (is_other_source)
        source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    assert(bind(fd, (struct sockaddr *)&source, sizeof(source)) == 0);
    assert(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
    return fd;
}

void kit_raw_open(struct kit *kit, struct kit_raw *raw, const char *who, const char *server, int port)
{
    struct sockaddr_in addr = loopback(port);
    const uint8_t *in = NULL, *out;
    size_t in_len = 0, out_len;
    bool is_done = false, is_sent;
    struct km_tls *tls = pki_tls(&kit->pki, who, &kit->pki, false);
    raw->id = 1000;
    assert(km_sp_dial(&raw->sp, (struct sockaddr *)&addr, sizeof(addr)) == KM_OK);
    while (raw->sp.state != KM_SP_OPEN) {
        struct pollfd fd = {raw->sp.fd, km_sp_events(&raw->sp), 0};
        poll(&fd, 1, 1000);
        assert(km_sp_advance(&raw->sp) == KM_OK);
    }
    assert(km_channel_new(tls, server, NULL, &raw->channel) == KM_OK);
    km_tls_unref(tls);
    for (;;) {
        assert(km_channel_handshake(raw->channel, in, in_len, &out, &out_len, &is_done) == KM_OK);
        if (is_done)
            break;
        assert(km_sp_exchange(&raw->sp, out, out_len, KM_FRAME_MAX, km_monotonic_ms() + 2000, &in, &in_len, &is_sent) == KM_OK);
    }
}

void kit_raw_send(struct kit_raw *raw, const char *data, size_t len)
{
    const uint8_t *frame;
    size_t frame_len;
    uint8_t head[12] = {0};
    assert(km_channel_seal(raw->channel, (const uint8_t *)data, len, false, &frame, &frame_len) == KM_OK);
    head[6] = (uint8_t)((frame_len + 4) >> 8);
    head[7] = (uint8_t)(frame_len + 4);
    head[8] = 0x80;
    head[11] = (uint8_t)++raw->id;
    assert(send(raw->sp.fd, head, sizeof(head), MSG_NOSIGNAL) == (ssize_t)sizeof(head));
    assert(send(raw->sp.fd, frame, frame_len, MSG_NOSIGNAL) == (ssize_t)frame_len);
}

bool kit_raw_is_closed(struct kit_raw *raw, int within_ms)
{
    int64_t deadline = km_monotonic_ms() + within_ms;
    uint8_t sink[1000];
    for (;;) {
        struct pollfd fd = {raw->sp.fd, POLLIN, 0};
        int64_t left = deadline - km_monotonic_ms();
        if (left <= 0 || poll(&fd, 1, (int)left) == 0)
            return false;
        if (recv(raw->sp.fd, sink, sizeof(sink), 0) <= 0)
            return true;
    }
}

void kit_raw_close(struct kit_raw *raw)
{
    km_sp_close(&raw->sp);
    km_channel_free(raw->channel);
}
