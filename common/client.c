/* SPDX-License-Identifier: Apache-2.0
 *
 * One call: the same packed request to one server after another until one has answered it, or the deadline has passed.
 * A server that answers "elsewhere" or "busy" has not done it, one that breaks off may have; either way the request names its change, so that
 * asking again is harmless. Thread: any, no lock here; a forked child may go on with what it inherited (pool.h).
 */
#define _GNU_SOURCE /* program_invocation_short_name */
#include "client.h"

#include "forks.h"
#include "log.h"
#include "pool.h"
#include "secret.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_FIRST_MS 5  /* after a round in which no server helped; doubles */
#define PAUSE_MAX_MS 50
#define ELSEWHERE_MS 50   /* a server that is not fresh is asked last for so long */
#define PROGRAM_MAX 64

enum { N_FILES = 3 }; /* certificate, key, CA */

struct km_client {
    struct km_client_conf conf;
    struct km_pool *pool;
    _Atomic uint64_t index;
    char program[PROGRAM_MAX];
    struct stat stamps[N_FILES]; /* of the files that pool's certificates came from */
};

/* --- life */

static const char *file_of(const struct km_client_conf *conf, int i)
{
    return i == 0 ? conf->certificate : i == 1 ? conf->key : conf->ca;
}

static bool stamp(const struct km_client_conf *conf, struct stat stamps[N_FILES])
{
    memset(stamps, 0, N_FILES * sizeof(stamps[0]));
    for (int i = 0; i < N_FILES; i++) {
        if (stat(file_of(conf, i), &stamps[i]) != 0)
            return false;
    }
    return true;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

enum km_err km_client_new(struct km_client_conf *conf, struct km_client **ret, char *ret_message, size_t message_len)
{
    struct km_tls *tls = NULL;
    enum km_err err;
    /* In a host process nothing of ours may run at its exit, and its openssl.cnf is not about us. */
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1) {
        snprintf(ret_message, message_len, "OpenSSL cannot be initialised");
        return KM_ERR_TLS;
    }
    struct km_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        snprintf(ret_message, message_len, "out of memory");
        return KM_ERR_NOMEM;
    }
    (void)stamp(conf, client->stamps);
    err = km_tls_new(conf->cluster, conf->certificate, conf->key, conf->ca, false /* is_server */, &tls, ret_message, message_len);
    if (err != KM_OK)
        goto out;
    client->conf = *conf; /* the pool borrows it there; taken over at the end, so that a failure leaves the caller's alone */
    err = km_pool_new(&client->conf, tls, &client->pool);
    if (err != KM_OK) {
        snprintf(ret_message, message_len, "out of memory");
        goto out;
    }
    snprintf(client->program, sizeof(client->program), "%s", program_invocation_short_name);
    *conf = (struct km_client_conf){0};
    *ret = client;
    client = NULL;
out:
    km_tls_unref(tls);
    free(client);
    return err;
}

/* Takes renewed certificates if they can be read; a process that gave up its rights goes on with the old ones. */
static void renew(struct km_client *client)
{
    struct stat stamps[N_FILES];
    char message[256];
    struct km_tls *tls;
    const struct km_client_conf *conf = &client->conf;
    bool is_renewed = false;
    if (!stamp(conf, stamps))
        return;
    for (int i = 0; i < N_FILES; i++)
        is_renewed |= !is_same_file(&stamps[i], &client->stamps[i]);
    if (!is_renewed)
        return;
    if (km_tls_new(conf->cluster, conf->certificate, conf->key, conf->ca, false /* is_server */, &tls, message, sizeof(message)) != KM_OK) {
        km_log(KM_LOG_DEBUG, "renewed certificates are not taken: %s", message);
        return;
    }
    memcpy(client->stamps, stamps, sizeof(stamps));
    km_pool_set_tls(client->pool, tls);
    km_tls_unref(tls);
}

void km_client_disconnect(struct km_client *client)
{
    km_pool_clear(client->pool, -1 /* all servers */);
    renew(client);
}

void km_client_free(struct km_client *client)
{
    if (client == NULL)
        return;
    km_pool_free(client->pool);
    km_client_conf_fini(&client->conf);
    free(client);
}

uint64_t km_client_index(const struct km_client *client)
{
    return atomic_load_explicit(&client->index, memory_order_relaxed);
}

static void raise_index(struct km_client *client, uint64_t index)
{
    uint64_t seen = km_client_index(client);
    while (seen < index && !atomic_compare_exchange_weak(&client->index, &seen, index))
        ;
}

/* --- one exchange with one server */

struct call {
    struct km_client *client;
    uint8_t *bytes; /* the packed request; may hold a PIN, wiped when done */
    size_t len;
    int64_t deadline;
    unsigned attempt_ms;
    bool is_retryable;
    bool is_change;
    bool may_be_done; /* a server may have taken it without our knowing the outcome */
    struct km_tries tries;
};

/* One server that hangs must not eat the whole call: there is time for another, unless the caller knows that one is
 * busy for long. */
static unsigned attempt_ms(const struct km_client_conf *conf, unsigned wanted_ms)
{
    if (wanted_ms > 0)
        return wanted_ms < conf->deadline_ms ? wanted_ms : conf->deadline_ms;
    unsigned share = conf->deadline_ms / 2;
    return conf->attempt_deadline_ms < share ? conf->attempt_deadline_ms : share;
}

static enum km_err exchange(struct call *call, struct km_conn *conn, const uint8_t *part, size_t len, bool has_more,
                            const uint8_t **ret, size_t *ret_len, bool *ret_has_more, bool *ret_is_sent)
{
    const uint8_t *frame, *reply;
    size_t frame_len, reply_len;
    int64_t deadline = km_monotonic_ms() + call->attempt_ms;
    enum km_err err = km_channel_seal(conn->channel, part, len, has_more, &frame, &frame_len);
    if (err != KM_OK)
        return err;
    err = km_sp_exchange(&conn->sp, frame, frame_len, KM_FRAME_MAX, deadline < call->deadline ? deadline : call->deadline,
                         &reply, &reply_len, ret_is_sent);
    if (err != KM_OK)
        return err;
    return km_channel_open(conn->channel, reply, reply_len, ret, ret_len, ret_has_more);
}

/* Sends all parts of the request. The reply's first part comes back. `*ret_is_sent`: the last part may have arrived. */
static enum km_err send_request(struct call *call, struct km_conn *conn, const uint8_t **ret, size_t *ret_len,
                                bool *ret_has_more, bool *ret_is_sent)
{
    bool is_part_sent;
    for (size_t at = 0; call->len - at > KM_PART_MAX; at += KM_PART_MAX) {
        enum km_err err = exchange(call, conn, call->bytes + at, KM_PART_MAX, true /* has_more */, ret, ret_len, ret_has_more, &is_part_sent);
        if (err != KM_OK)
            return err;
        if (*ret_len != 0 || *ret_has_more)
            return KM_ERR_PROTO;
    }
    size_t last = call->len <= KM_PART_MAX ? 0 : (call->len - 1) / KM_PART_MAX * KM_PART_MAX;
    return exchange(call, conn, call->bytes + last, call->len - last, false, ret, ret_len, ret_has_more, ret_is_sent);
}

static enum km_err unpack(const uint8_t *data, size_t len, Kmw__Reply **ret)
{
    Kmw__Reply *reply = kmw__reply__unpack(NULL, len, data);
    if (reply == NULL)
        return KM_ERR_PROTO;
    if (reply->version != KM_WIRE_VERSION) {
        kmw__reply__free_unpacked(reply, NULL);
        return KM_ERR_VERSION;
    }
    *ret = reply;
    return KM_OK;
}

static enum km_err talk(struct call *call, struct km_conn *conn, Kmw__Reply **ret, bool *ret_is_sent)
{
    const uint8_t *part;
    size_t part_len, len = 0, cap = 0;
    uint8_t *whole = NULL;
    bool has_more, is_sent;
    enum km_err err = send_request(call, conn, &part, &part_len, &has_more, ret_is_sent);
    if (err != KM_OK)
        return err;
    if (!has_more)
        return unpack(part, part_len, ret);
    for (;;) {
        if (part_len == 0 || len + part_len > KM_MESSAGE_MAX) {
            err = KM_ERR_PROTO;
            goto out;
        }
        if (len + part_len > cap) { /* no realloc: it would leave a copy behind that nobody wipes */
            cap = 2 * (len + part_len) + KM_PART_MAX;
            uint8_t *more = malloc(cap);
            if (more == NULL) {
                err = KM_ERR_NOMEM;
                goto out;
            }
            if (len > 0) {
                memcpy(more, whole, len);
                km_wipe(whole, len);
            }
            free(whole);
            whole = more;
        }
        memcpy(whole + len, part, part_len);
        len += part_len;
        if (!has_more)
            break;
        err = exchange(call, conn, NULL, 0, false, &part, &part_len, &has_more, &is_sent);
        if (err != KM_OK)
            goto out;
    }
    err = unpack(whole, len, ret);
out:
    if (len > 0)
        km_wipe(whole, len);
    free(whole);
    return err;
}

/* --- going from server to server */

enum outcome { ANSWERED, GO_ON, GIVE_UP };

static const char *why_broken(const struct km_conn *conn, enum km_err err)
{
    if (err == KM_ERR_NET)
        return conn->sp.sys_errno != 0 ? strerror(conn->sp.sys_errno) : "connection closed";
    if (err == KM_ERR_TLS)
        return km_channel_reason(conn->channel);
    return km_err_text(err);
}

/* What the server made of it; takes `reply` unless ANSWERED. */
static enum outcome judge(struct call *call, unsigned server, Kmw__Reply *reply)
{
    struct km_pool *pool = call->client->pool;
    enum outcome outcome = GO_ON;
    raise_index(call->client, reply->index);
    switch ((int)reply->verdict) {
    case KMW__REPLY__VERDICT__ANSWER:
        km_pool_praise(pool, server);
        return ANSWERED;
    case KMW__REPLY__VERDICT__UNDECIDED:
        call->may_be_done = true;
        km_tries_note(&call->tries, server, KM_ERR_UNDECIDED, "undecided: %s", reply->reason);
        outcome = call->is_retryable ? GO_ON : GIVE_UP;
        break;
    case KMW__REPLY__VERDICT__BUSY:
        km_tries_note(&call->tries, server, KM_ERR_BUSY, "busy: %s", reply->reason);
        break;
    case KMW__REPLY__VERDICT__ELSEWHERE:
        km_tries_note(&call->tries, server, KM_ERR_NOT_FRESH, "sent us elsewhere: %s", reply->reason);
        km_pool_avoid(pool, server, ELSEWHERE_MS);
        break;
    default:
        km_tries_note(&call->tries, server, KM_ERR_PROTO, "unknown verdict %d", (int)reply->verdict);
        break;
    }
    kmw__reply__free_unpacked(reply, NULL);
    return outcome;
}

/* One attempt on `conn`, which is used up or given back. `*ret_is_broken`: it broke without an answer. */
static enum outcome ask(struct call *call, struct km_conn *conn, Kmw__Reply **ret, bool *ret_is_broken)
{
    struct km_pool *pool = call->client->pool;
    unsigned server = conn->server;
    Kmw__Reply *reply = NULL;
    bool is_sent = false;
    enum km_err err = talk(call, conn, &reply, &is_sent);
    *ret_is_broken = err == KM_ERR_NET || err == KM_ERR_TLS;
    if (err == KM_OK) {
        km_pool_put(pool, conn);
        enum outcome outcome = judge(call, server, reply);
        if (outcome == ANSWERED)
            *ret = reply;
        return outcome;
    }
    km_tries_note(&call->tries, server, err, "%s", why_broken(conn, err));
    km_pool_drop(pool, conn);
    if (!*ret_is_broken)
        km_pool_avoid(pool, server, 0);
    if (is_sent && (call->is_change || !call->is_retryable))
        call->may_be_done = true;
    return is_sent && !call->is_retryable ? GIVE_UP : GO_ON;
}

/* Asks `server`: on an idle connection, and if that turns out to be dead, at once on a new one. `second` may win the
 * race; `*ret_asked` tells who was asked in the end. */
static enum outcome visit(struct call *call, unsigned server, int second, unsigned *ret_asked, Kmw__Reply **ret)
{
    struct km_client *client = call->client;
    bool is_broken;
    *ret_asked = server;
    struct km_conn *conn = km_pool_take(client->pool, server);
    if (conn != NULL) {
        if (!call->is_retryable && !km_sp_is_quiet(&conn->sp)) {
            km_pool_drop(client->pool, conn);
        } else {
            enum outcome outcome = ask(call, conn, ret, &is_broken);
            if (outcome != GO_ON || !is_broken)
                return outcome;
        }
        km_pool_clear(client->pool, (int)server); /* restarted: the other idle ones are as dead */
    }
    int64_t deadline = km_monotonic_ms() + client->conf.connect_deadline_ms;
    if (deadline > call->deadline)
        deadline = call->deadline;
    if (km_pool_dial(client->pool, server, second, deadline, &call->tries, &conn) != KM_OK)
        return GO_ON;
    *ret_asked = conn->server;
    enum outcome outcome = ask(call, conn, ret, &is_broken);
    if (outcome == GO_ON && is_broken)
        km_pool_avoid(client->pool, *ret_asked, 0);
    return outcome;
}

/* Every server once. */
static enum outcome go_round(struct call *call, Kmw__Reply **ret)
{
    size_t n = call->client->conf.n_servers;
    unsigned order[KM_SERVERS_MAX], asked;
    uint32_t done = 0;
    km_pool_order(call->client->pool, order);
    for (size_t k = 0; k < n; k++) {
        if (done & (1u << order[k]))
            continue;
        int second = k + 1 < n && !(done & (1u << order[k + 1])) ? (int)order[k + 1] : -1;
        done |= 1u << order[k];
        enum outcome outcome = visit(call, order[k], second, &asked, ret);
        done |= 1u << asked;
        if (outcome != GO_ON || km_monotonic_ms() >= call->deadline)
            return outcome;
    }
    return GO_ON;
}

/* True if each server refused us, or we it, for a reason that waiting does not mend. */
static bool is_hopeless(const struct call *call)
{
    for (size_t i = 0; i < call->client->conf.n_servers; i++) {
        enum km_err err = call->tries.err[i];
        if (call->tries.n[i] == 0 || (err != KM_ERR_TLS && err != KM_ERR_IDENTITY && err != KM_ERR_VERSION))
            return false;
    }
    return true;
}

static void pause_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    km_forks_wait();
    if (ms > 0)
        (void)nanosleep(&left, NULL); /* a signal of the host's cuts it short, no harm */
    km_forks_resume();
}

static const char *name_of(const Kmw__Request *request)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&kmw__request__descriptor, (unsigned)request->op_case);
    return field != NULL ? field->name : "?";
}

static void log_tries(enum km_log_level level, const struct call *call, const Kmw__Request *request, const char *what)
{
    char line[1024];
    size_t at = 0;
    line[0] = '\0';
    for (size_t i = 0; i < call->client->conf.n_servers && at < sizeof(line) - 1; i++) {
        const struct km_client_server *server = &call->client->conf.servers[i];
        if (call->tries.n[i] == 0)
            continue;
        int n = snprintf(line + at, sizeof(line) - at, "%s%s (%s): %s, %u tries", at > 0 ? "; " : "", server->name, server->address,
                         call->tries.why[i], call->tries.n[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    km_log(level, "%s: %s: %s", name_of(request), what, line);
}

static enum km_err pack(struct call *call, Kmw__Request *request)
{
    struct km_client *client = call->client;
    char *program = request->program;
    uint32_t wanted_ms = request->deadline_ms;
    request->version = KM_WIRE_VERSION;
    request->min_index = km_client_index(client);
    request->deadline_ms = call->attempt_ms = attempt_ms(&client->conf, wanted_ms);
    request->program = client->program;
    request->uid = (uint32_t)getuid();
    call->len = kmw__request__get_packed_size(request);
    call->bytes = call->len > KM_MESSAGE_MAX ? NULL : malloc(call->len);
    if (call->bytes != NULL)
        kmw__request__pack(request, call->bytes);
    request->program = program; /* ours is not the caller's to free */
    request->deadline_ms = wanted_ms;
    if (call->len > KM_MESSAGE_MAX)
        return KM_ERR_TOO_LARGE;
    return call->bytes == NULL ? KM_ERR_NOMEM : KM_OK;
}

enum km_err km_client_call(struct km_client *client, Kmw__Request *request, bool is_retryable, Kmw__Reply **ret)
{
    struct call call = {.client = client, .is_retryable = is_retryable, .is_change = request->change != NULL};
    enum outcome outcome;
    Kmw__Reply *reply = NULL;
    enum km_err err = pack(&call, request);
    if (err != KM_OK)
        return err;
    call.deadline = km_monotonic_ms() + client->conf.deadline_ms;
    for (int64_t pause = PAUSE_FIRST_MS;; pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS) {
        outcome = go_round(&call, &reply);
        if (outcome != GO_ON || is_hopeless(&call))
            break;
        int64_t left = call.deadline - km_monotonic_ms();
        if (left <= 0)
            break;
        pause_ms(pause < left ? pause : left);
    }
    km_wipe(call.bytes, call.len);
    free(call.bytes);
    if (outcome == ANSWERED) {
        for (size_t i = 0; i < client->conf.n_servers; i++) {
            if (call.tries.n[i] > 0) {
                log_tries(KM_LOG_INFO, &call, request, "answered, but not at once");
                break;
            }
        }
        *ret = reply;
        return KM_OK;
    }
    log_tries(KM_LOG_ERROR, &call, request, call.may_be_done ? "outcome unknown" : "no server answered");
    if (call.may_be_done)
        return KM_ERR_UNDECIDED;
    return is_hopeless(&call) ? KM_ERR_TLS : km_monotonic_ms() >= call.deadline ? KM_ERR_TIMEOUT : KM_ERR_NET;
}
