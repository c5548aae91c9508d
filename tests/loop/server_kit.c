/* SPDX-License-Identifier: Apache-2.0
 *
 * The server of the service's loop tests: what server.c puts together, without front door and peers. The loop runs on a
 * thread of its own.
 */
#define _GNU_SOURCE /* nftw, barriers */
#include "server_kit.h"

#include "../../server/raft/disk_sqlite.h"
#include "../../server/raft/world_uv.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct km_service *kit_service;
struct km_store *kit_store;
char kit_dir[64];
atomic_int kit_forgotten;

static struct {
    pthread_t thread;
    pthread_barrier_t barrier;
    uv_loop_t loop;
    uv_async_t stop;
    struct km_world *world;
    struct km_disk *disk;
    struct km_replica *replica;
    struct km_backend *backend;
    struct km_audit *audit;
    struct km_access *access;
} kit;

static const struct km_backend_ops *builtin;
static struct km_backend_ops counting;

static void count_forget(struct km_backend *backend, const Kml__Object *object)
{
    builtin->forget(backend, object);
    atomic_fetch_add(&kit_forgotten, 1);
}

/* --- a link to nobody ----------------------------------------------------------------------------------------------
 */

static void no_listen(struct km_link *link, const struct km_link_events *events, void *arg)
{
    (void)link, (void)events, (void)arg;
}
static void no_members(struct km_link *link, const struct km_link_member *members, size_t n)
{
    (void)link, (void)members, (void)n;
}
static void no_send(struct km_link *link, uint64_t id, uint8_t *data, size_t len)
{
    (void)link, (void)id, (void)len;
    free(data);
}
static const struct km_link_ops no_link_ops = {no_listen, no_members, no_send};
static struct km_link no_link = {&no_link_ops};

/* --- the loop thread -----------------------------------------------------------------------------------------------
 */

static void on_fatal(void *arg, const char *why)
{
    (void)arg;
    fprintf(stderr, "replica: %s\n", why);
    abort();
}

static void on_stopped(void *arg)
{
    (void)arg;
    km_world_uv_free(kit.world);
}

static void on_stop(uv_async_t *async)
{
    uv_close((uv_handle_t *)async, NULL);
    km_replica_stop(kit.replica, on_stopped, NULL);
}

static void start_replica(void)
{
    char dir[128], message[512], packed[KM_MEMBER_PACKED_MAX];
    struct raft_configuration configuration;
    const struct km_member self = {
        .id = 1, .name = "a", .zone = "a", .address = "127.0.0.1:1", .peer_address = "127.0.0.1:2"};
    snprintf(dir, sizeof(dir), "%s/raft", kit_dir);
    assert_int_equal(km_member_pack(&self, packed), KM_OK);
    assert_int_equal(km_disk_provision(dir, "loop", 1, "a", message, sizeof(message)), KM_OK);
    assert_int_equal(km_disk_sqlite_open(dir, "loop", 1, "a", &kit.loop, &kit.disk, message, sizeof(message)), KM_OK);
    raft_configuration_init(&configuration);
    assert_int_equal(raft_configuration_add(&configuration, 1, packed, RAFT_VOTER), 0);
    assert_int_equal(kit.disk->ops->bootstrap(kit.disk, &configuration), KM_OK);
    raft_configuration_close(&configuration);
    assert_int_equal(km_world_uv_new(&kit.loop, &kit.world), KM_OK);
    const struct km_replica_conf conf = {
        .id = 1, .self_address = packed, .election_ms = 300, .heartbeat_ms = 30, .skip_boot_wait = true};
    assert_int_equal(km_replica_start(&conf, kit.world, kit.disk, &no_link, kit_store, on_fatal, NULL, &kit.replica,
                                      message, sizeof(message)),
                     KM_OK);
}

static void *run(void *arg)
{
    (void)arg;
    uv_loop_init(&kit.loop);
    uv_async_init(&kit.loop, &kit.stop, on_stop);
    start_replica();
    pthread_barrier_wait(&kit.barrier);
    uv_run(&kit.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&kit.loop), 0);
    return NULL;
}

int kit_setup(void **state)
{
    struct km_secret master = KM_SECRET_EMPTY;
    char dir[128], message[512];
    const struct km_service_conf conf = {.cluster = "loop",
                                         .server_id = 1,
                                         .model = "keymoot",
                                         .workers = 2,
                                         .changers = 4,
                                         .queue_max = 64,
                                         .request_deadline_ms = 5000,
                                         .login_max_age_ms = 3600000};
    (void)state;
    strcpy(kit_dir, "/tmp/keymoot-loop.XXXXXX");
    assert_non_null(mkdtemp(kit_dir));
    kit_store = km_store_new();
    pthread_barrier_init(&kit.barrier, NULL, 2);
    pthread_create(&kit.thread, NULL, run, NULL);
    pthread_barrier_wait(&kit.barrier);
    assert_int_equal(km_secret_new(&master, 32), KM_OK);
    memset(master.data, 7, 32);
    assert_int_equal(km_builtin_open(&master, &kit.backend), KM_OK);
    builtin = kit.backend->ops;
    counting = *builtin;
    counting.forget = count_forget;
    kit.backend->ops = &counting;
    snprintf(dir, sizeof(dir), "%s/audit", kit_dir);
    assert_int_equal(km_audit_open(dir, 1, KM_AUDIT_BATCHED, &kit.audit, message, sizeof(message)), KM_OK);
    kit.access = km_access_new();
    assert_null(km_access_add(kit.access, "app", "create"));
    assert_null(km_access_add(kit.access, "friend", "token:shared"));
    assert_int_equal(km_service_new(&conf, kit_store, kit.replica, kit.backend, kit.audit, kit.access, &kit_service),
                     KM_OK);
    assert_int_equal(km_replica_sync(kit.replica, 5000), KM_OK);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int kit_teardown(void **state)
{
    (void)state;
    km_service_free(kit_service);
    uv_async_send(&kit.stop);
    pthread_join(kit.thread, NULL);
    km_audit_close(kit.audit);
    kit.backend->ops->close(kit.backend);
    km_access_free(kit.access);
    km_store_free(kit_store);
    return nftw(kit_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- asking --------------------------------------------------------------------------------------------------------
 */

static uint8_t last_request[65536];
static size_t last_len;

Kmw__Reply *ask_bytes(struct asker *a, const uint8_t *data, size_t len)
{
    uint8_t *packed;
    size_t packed_len;
    km_service_call(kit_service, &a->who, data, len, &packed, &packed_len);
    assert_non_null(packed);
    Kmw__Reply *reply = kmw__reply__unpack(NULL, packed_len, packed);
    free(packed);
    assert_non_null(reply);
    return reply;
}

Kmw__Reply *ask_again(struct asker *a)
{
    return ask_bytes(a, last_request, last_len);
}

Kmw__Reply *ask(struct asker *a, Kmw__Request *request, bool is_change)
{
    Kmw__Change change = KMW__CHANGE__INIT;
    request->version = KM_WIRE_VERSION;
    request->program = (char *)(uintptr_t) "loop";
    request->token = (ProtobufCBinaryData){sizeof(a->token), a->token};
    request->ticket = (ProtobufCBinaryData){a->ticket_len, a->ticket};
    if (is_change) {
        change.session = a->session;
        change.number = ++a->number;
        change.acked = change.number - 1;
        request->change = &change;
    }
    last_len = kmw__request__get_packed_size(request);
    assert_true(last_len <= sizeof(last_request));
    kmw__request__pack(request, last_request);
    request->change = NULL;
    return ask_again(a);
}

CK_RV rv_of(Kmw__Reply *reply)
{
    if (reply->verdict != KMW__REPLY__VERDICT__ANSWER)
        print_message("verdict %d: %s\n", reply->verdict, reply->reason);
    assert_int_equal(reply->verdict, KMW__REPLY__VERDICT__ANSWER);
    CK_RV rv = reply->rv;
    kmw__reply__free_unpacked(reply, NULL);
    return rv;
}

void asker_init(struct asker *a, const char *role_and_name)
{
    char uri[128];
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__ClientRegister body = KMW__CLIENT_REGISTER__INIT;
    memset(a, 0, sizeof(*a));
    snprintf(uri, sizeof(uri), "spiffe://loop/%s", role_and_name);
    assert_int_equal(km_identity_parse(uri, &a->who), KM_OK);
    if (a->who.role != KM_ROLE_CLIENT)
        return;
    request.op_case = KMW__REQUEST__OP_CLIENT_REGISTER;
    request.client_register = &body;
    Kmw__Reply *reply = ask(a, &request, false);
    assert_int_equal(reply->rv, CKR_OK);
    a->session = reply->client_register->session;
    kmw__reply__free_unpacked(reply, NULL);
}

static ProtobufCBinaryData text_data(const char *text)
{
    return (ProtobufCBinaryData){text ? strlen(text) : 0, (uint8_t *)(uintptr_t)text};
}

CK_RV login_attempt(struct asker *a, uint64_t user_type, const char *pin, uint8_t attempt)
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Login body = KMW__LOGIN__INIT;
    uint8_t id[16] = {attempt};
    body.user_type = user_type;
    body.pin = text_data(pin);
    body.attempt = (ProtobufCBinaryData){sizeof(id), id};
    request.op_case = KMW__REQUEST__OP_LOGIN;
    request.login = &body;
    Kmw__Reply *reply = ask(a, &request, false);
    if (reply->rv == CKR_OK) {
        assert_true(reply->login->expires_ms > 0 && reply->login->ticket.len <= sizeof(a->ticket));
        memcpy(a->ticket, reply->login->ticket.data, a->ticket_len = reply->login->ticket.len);
    }
    return rv_of(reply);
}

CK_RV login(struct asker *a, uint64_t user_type, const char *pin)
{
    static uint8_t attempt;
    return login_attempt(a, user_type, pin, ++attempt);
}

void logout(struct asker *a)
{
    a->ticket_len = 0;
}

void make_token(struct asker *a, const char *label)
{
    Kmw__Reply *reply = ask(a, req_token_init(km_store_free_slot(kit_store), SO_PIN, label), true);
    assert_int_equal(reply->rv, CKR_OK);
    memcpy(a->token, reply->token_init->token->id.data, sizeof(a->token));
    kmw__reply__free_unpacked(reply, NULL);
    assert_int_equal(login(a, CKU_SO, SO_PIN), CKR_OK);
    ASK_RV(a, req_pin_init(USER_PIN), true, CKR_OK);
    logout(a);
}

/* --- templates and requests ----------------------------------------------------------------------------------------
 */

#define TEMPLATES 4
#define ATTRS 16
static struct {
    Kmw__Template t;
    Kmw__Attr attrs[ATTRS], *list[ATTRS];
    uint8_t values[ATTRS][256];
} templates[TEMPLATES];

Kmw__Template *t_new(void)
{
    static unsigned next;
    unsigned i = next++ % TEMPLATES;
    kmw__template__init(&templates[i].t);
    templates[i].t.attrs = templates[i].list;
    return &templates[i].t;
}

void t_bytes(Kmw__Template *t, CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    unsigned i = 0;
    while (&templates[i].t != t)
        i++;
    size_t n = t->n_attrs++;
    assert_true(n < ATTRS && len <= sizeof(templates[i].values[n]));
    kmw__attr__init(&templates[i].attrs[n]);
    memcpy(templates[i].values[n], data, len);
    templates[i].attrs[n].type = type;
    templates[i].attrs[n].value = (ProtobufCBinaryData){len, templates[i].values[n]};
    templates[i].list[n] = &templates[i].attrs[n];
}

void t_bool(Kmw__Template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
    t_bytes(t, type, &(uint8_t){value}, 1);
}

void t_ulong(Kmw__Template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    uint8_t data[8];
    for (int i = 0; i < 8; i++)
        data[i] = (uint8_t)(value >> (8 * i));
    t_bytes(t, type, data, sizeof(data));
}

/* A request of one operation with its body, both static. */
#define REQUEST(OP, member, type, init)                                                                                \
    static Kmw__Request request;                                                                                       \
    static type body;                                                                                                  \
    kmw__request__init(&request);                                                                                      \
    body = (type)init;                                                                                                 \
    request.op_case = KMW__REQUEST__OP_##OP;                                                                           \
    request.member = &body

static Kmw__Key *key_of(const ProtobufCBinaryData *id, const ProtobufCBinaryData *sealed)
{
    static Kmw__Key key;
    kmw__key__init(&key);
    if (id)
        key.id = *id;
    if (sealed)
        key.sealed = *sealed;
    return &key;
}

static Kmw__Mechanism *mechanism_of(CK_MECHANISM_TYPE type)
{
    static Kmw__Mechanism mechanism;
    static uint8_t iv[16];
    kmw__mechanism__init(&mechanism);
    mechanism.type = type;
    if (type == CKM_AES_CBC_PAD)
        mechanism.iv = (ProtobufCBinaryData){sizeof(iv), iv};
    return &mechanism;
}

Kmw__Request *req_create(Kmw__Template *t)
{
    REQUEST(OBJECT_CREATE, object_create, Kmw__ObjectCreate, KMW__OBJECT_CREATE__INIT);
    body.template_ = t;
    return &request;
}

Kmw__Request *req_generate(CK_MECHANISM_TYPE mechanism, Kmw__Template *t)
{
    REQUEST(KEY_GENERATE, key_generate, Kmw__KeyGenerate, KMW__KEY_GENERATE__INIT);
    body.mechanism = mechanism_of(mechanism);
    body.template_ = t;
    return &request;
}

Kmw__Request *req_pair(Kmw__Template *public_template, Kmw__Template *private_template)
{
    REQUEST(KEY_PAIR_GENERATE, key_pair_generate, Kmw__KeyPairGenerate, KMW__KEY_PAIR_GENERATE__INIT);
    body.mechanism = mechanism_of(CKM_EC_KEY_PAIR_GEN);
    body.public_template = public_template;
    body.private_template = private_template;
    return &request;
}

Kmw__Request *req_copy(const ProtobufCBinaryData *id, const ProtobufCBinaryData *sealed, Kmw__Template *t)
{
    REQUEST(OBJECT_COPY, object_copy, Kmw__ObjectCopy, KMW__OBJECT_COPY__INIT);
    body.source = key_of(id, sealed);
    body.template_ = t;
    return &request;
}

Kmw__Request *req_set(const ProtobufCBinaryData *id, Kmw__Template *t)
{
    REQUEST(OBJECT_SET, object_set, Kmw__ObjectSet, KMW__OBJECT_SET__INIT);
    body.key = key_of(id, NULL);
    body.template_ = t;
    return &request;
}

Kmw__Request *req_get(const ProtobufCBinaryData *id, const ProtobufCBinaryData *sealed, bool with_secrets)
{
    REQUEST(OBJECT_GET, object_get, Kmw__ObjectGet, KMW__OBJECT_GET__INIT);
    body.key = key_of(id, sealed);
    body.with_secrets = with_secrets;
    return &request;
}

Kmw__Request *req_destroy(const ProtobufCBinaryData *id)
{
    REQUEST(OBJECT_DESTROY, object_destroy, Kmw__ObjectDestroy, KMW__OBJECT_DESTROY__INIT);
    body.id = *id;
    return &request;
}

Kmw__Request *req_find(Kmw__Template *t)
{
    REQUEST(OBJECT_FIND, object_find, Kmw__ObjectFind, KMW__OBJECT_FIND__INIT);
    body.template_ = t;
    return &request;
}

Kmw__Request *req_sign(const ProtobufCBinaryData *id, CK_MECHANISM_TYPE mechanism, const char *context_pin)
{
    static uint8_t digest[32] = {1, 2, 3};
    REQUEST(USE, use, Kmw__Use, KMW__USE__INIT);
    body.operation = KMW__USE__OPERATION__SIGN;
    body.key = key_of(id, NULL);
    body.mechanism = mechanism_of(mechanism);
    body.data = (ProtobufCBinaryData){sizeof(digest), digest};
    body.context_pin = text_data(context_pin);
    return &request;
}

Kmw__Request *req_crypt(Kmw__Use__Operation operation, const ProtobufCBinaryData *id, const ProtobufCBinaryData *sealed)
{
    static uint8_t block[32];
    REQUEST(USE, use, Kmw__Use, KMW__USE__INIT);
    body.operation = operation;
    body.key = key_of(id, sealed);
    body.mechanism = mechanism_of(CKM_AES_CBC_PAD);
    body.data = (ProtobufCBinaryData){sizeof(block), block};
    return &request;
}

Kmw__Request *req_token_init(uint64_t slot, const char *so_pin, const char *label)
{
    REQUEST(TOKEN_INIT, token_init, Kmw__TokenInit, KMW__TOKEN_INIT__INIT);
    body.slot = slot;
    body.so_pin = text_data(so_pin);
    body.label = (char *)(uintptr_t)label;
    return &request;
}

Kmw__Request *req_token_list(void)
{
    REQUEST(TOKEN_LIST, token_list, Kmw__TokenList, KMW__TOKEN_LIST__INIT);
    return &request;
}

Kmw__Request *req_pin_init(const char *pin)
{
    REQUEST(PIN_INIT, pin_init, Kmw__PinInit, KMW__PIN_INIT__INIT);
    body.pin = text_data(pin);
    return &request;
}

Kmw__Request *req_pin_set(uint64_t user_type, const char *old_pin, const char *new_pin, uint8_t attempt)
{
    static uint8_t id[16];
    REQUEST(PIN_SET, pin_set, Kmw__PinSet, KMW__PIN_SET__INIT);
    id[15] = attempt;
    body.user_type = user_type;
    body.old_pin = text_data(old_pin);
    body.new_pin = text_data(new_pin);
    body.attempt = (ProtobufCBinaryData){sizeof(id), id};
    return &request;
}

Kmw__Reply *make_pair(struct asker *a, const char *label)
{
    static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    Kmw__Template *public_template = t_new(), *private_template = t_new();
    t_bytes(public_template, CKA_EC_PARAMS, p256, sizeof(p256));
    t_bool(public_template, CKA_TOKEN, true);
    t_bytes(public_template, CKA_LABEL, label, strlen(label));
    t_bool(private_template, CKA_TOKEN, true);
    t_bool(private_template, CKA_SIGN, true);
    t_bytes(private_template, CKA_LABEL, label, strlen(label));
    Kmw__Reply *reply = ask(a, req_pair(public_template, private_template), true);
    assert_int_equal(reply->rv, CKR_OK);
    assert_int_equal(reply->objects->n_objects, 2);
    return reply;
}

size_t count_objects(struct asker *a)
{
    Kmw__Reply *reply = ask(a, req_find(t_new()), false);
    assert_int_equal(reply->rv, CKR_OK);
    size_t n = reply->objects->n_objects;
    kmw__reply__free_unpacked(reply, NULL);
    return n;
}
