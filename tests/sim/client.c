/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients, and what they hold the cluster to. Each has one operation at a time and retries it at another server, a change under the same
 * number, until it is answered. The service's part (replay, freshness before and after a use, asking the leader before "not found") is played here as
 * server/service plays it. A thing is changed by one client at a time and used by all.
 */
#include "sim.h"

#include "../../common/cryptoki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN 1u
#define GUESSERS 64
#define GUESSES_MAX 8

enum thing_state { UNBORN, BEING_MADE, LIVE, BEING_DESTROYED, DESTROYED };
struct thing {
    enum thing_state state;
    bool is_busy;              /* a client changes it */
    uint64_t version;          /* newest that was acknowledged */
    uint64_t made_us, gone_us; /* when that was acknowledged */
    uint64_t made_index, gone_index;
};
static struct thing things[THINGS_MAX];
static unsigned n_things;

/* Identities that guess the PIN of the token: failed attempts only, so counters only grow. */
static struct {
    bool is_busy;
    uint32_t issued, acked;
    uint64_t acked_index;
} guessers[GUESSERS];

enum op_kind { OP_REGISTER, OP_TOKEN, OP_CREATE, OP_REPLACE, OP_DESTROY, OP_GUESS, OP_USE, OP_READ };
static const char *const op_names[] = {"register", "init token", "create", "replace", "destroy", "guess", "use", "read"};

struct client {
    unsigned number_of_client;
    uint64_t session, number, acked;
    enum op_kind kind;
    unsigned thing;      /* or guesser */
    uint64_t began_us;
    uint64_t version;    /* what must be seen at least: as known when the operation began */
    uint32_t guesses;
    enum thing_state thing_state;
    uint64_t last_server;
    unsigned attempt;    /* of this client, ever: answers of earlier ones are stale */
    bool is_out;
};
static struct client clients[CLIENTS];
static bool is_token_made, are_stopped;
static uint64_t token_index;

/* One attempt of one operation at one server. */
struct attempt {
    struct client *client;
    struct life *life;
    unsigned attempt;
    struct client op; /* as it was sent */
    enum km_err err;
    uint64_t rv, session, index, version, failed;
    bool was_retried, is_found;
};

static void next_op(void *arg);
static void send_op(void *arg);

static void id_bytes(uint64_t n, uint8_t id[KM_ID_LEN])
{
    memset(id, 0x5a, KM_ID_LEN);
    for (int i = 0; i < 8; i++)
        id[i] = (uint8_t)(n >> (8 * i));
}

static uint64_t thing_id(unsigned thing)
{
    return 1000 + thing;
}

/* --- commands -------------------------------------------------------------------------------------------------- */

static ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
    ProtobufCBinaryData value = {len, malloc(len + 1)};

    memcpy(value.data, data, len);
    return value;
}

static ProtobufCBinaryData id_data(uint64_t n)
{
    uint8_t id[KM_ID_LEN];

    id_bytes(n, id);
    return bytes_of(id, sizeof(id));
}

static void identity_of(const struct client *op, char ret[64])
{
    if (op->kind == OP_GUESS)
        snprintf(ret, 64, "spiffe://sim/client/g%u", op->thing);
    else
        snprintf(ret, 64, "spiffe://sim/client/c%u", op->number_of_client);
}

static void hash_of(const struct client *op, uint8_t hash[32])
{
    memset(hash, (int)(op->number & 0xff), 32);
    hash[0] = (uint8_t)op->kind;
}

static Kml__Object *object_of(const struct client *op, uint64_t version)
{
    Kml__Head head = KML__HEAD__INIT;
    Kml__Object *object = malloc(sizeof(*object));
    uint8_t id[KM_ID_LEN], token[KM_ID_LEN], packed[256];

    id_bytes(thing_id(op->thing), id);
    id_bytes(TOKEN, token);
    head.id = (ProtobufCBinaryData){KM_ID_LEN, id};
    head.token = (ProtobufCBinaryData){KM_ID_LEN, token};
    head.token_instance = 1;
    head.version = version;
    head.class_ = CKO_DATA;
    kml__object__init(object);
    object->head = bytes_of(packed, kml__head__pack(&head, packed));
    object->seal = bytes_of("sealed", 6);
    return object;
}

static Kml__Command *command_of(const struct client *op)
{
    Kml__Command *c = malloc(sizeof(*c));
    uint8_t fill[32];
    char identity[64];

    kml__command__init(c);
    c->version = KM_LOG_VERSION;
    identity_of(op, identity);
    if (op->kind != OP_REGISTER) {
        c->origin = malloc(sizeof(*c->origin));
        kml__origin__init(c->origin);
        c->origin->session = op->session;
        c->origin->number = op->number;
        c->origin->acked = op->acked;
        hash_of(op, fill);
        c->origin->hash = bytes_of(fill, 32);
        snprintf(identity, sizeof(identity), "spiffe://sim/client/c%u", op->number_of_client);
        c->origin->identity = strdup(identity);
    }
    switch (op->kind) {
    case OP_REGISTER:
        c->body_case = KML__COMMAND__BODY_CLIENT_REGISTER;
        c->client_register = malloc(sizeof(*c->client_register));
        kml__client_register__init(c->client_register);
        c->client_register->identity = strdup(identity);
        break;
    case OP_TOKEN:
        memset(fill, 0x33, sizeof(fill));
        c->body_case = KML__COMMAND__BODY_TOKEN_INIT;
        c->token_init = malloc(sizeof(*c->token_init));
        kml__token_init__init(c->token_init);
        c->token_init->id = id_data(TOKEN);
        c->token_init->slot = 1;
        c->token_init->label = strdup("sim");
        c->token_init->serial = strdup("1");
        c->token_init->owner = strdup(identity);
        c->token_init->so = malloc(sizeof(Kml__Pin));
        kml__pin__init(c->token_init->so);
        c->token_init->so->verifier = bytes_of(fill, 32);
        break;
    case OP_CREATE:
        c->body_case = KML__COMMAND__BODY_OBJECT_CREATE;
        c->object_create = malloc(sizeof(*c->object_create));
        kml__object_create__init(c->object_create);
        c->object_create->n_objects = 1;
        c->object_create->objects = malloc(sizeof(Kml__Object *));
        c->object_create->objects[0] = object_of(op, 1);
        break;
    case OP_REPLACE:
        c->body_case = KML__COMMAND__BODY_OBJECT_REPLACE;
        c->object_replace = malloc(sizeof(*c->object_replace));
        kml__object_replace__init(c->object_replace);
        c->object_replace->object = object_of(op, op->version + 1);
        c->object_replace->expect_version = op->version;
        break;
    case OP_DESTROY:
        c->body_case = KML__COMMAND__BODY_OBJECT_DESTROY;
        c->object_destroy = malloc(sizeof(*c->object_destroy));
        kml__object_destroy__init(c->object_destroy);
        c->object_destroy->token = id_data(TOKEN);
        c->object_destroy->id = id_data(thing_id(op->thing));
        break;
    case OP_GUESS:
        identity_of(op, identity);
        c->body_case = KML__COMMAND__BODY_PIN_ATTEMPT;
        c->pin_attempt = malloc(sizeof(*c->pin_attempt));
        kml__pin_attempt__init(c->pin_attempt);
        c->pin_attempt->token = id_data(TOKEN);
        c->pin_attempt->user_type = CKU_SO;
        c->pin_attempt->identity = strdup(identity);
        c->pin_attempt->attempt = id_data(1000000 + op->thing * 100 + op->guesses);
        c->pin_attempt->expect_instance = 1;
        c->pin_attempt->expect_generation = 1;
        break;
    case OP_USE:
    case OP_READ:
        abort();
    }
    return c;
}

/* --- what an answer says --------------------------------------------------------------------------------------- */

static void done(struct client *client)
{
    client->is_out = false;
    if (!are_stopped)
        at(sim.now + rnd_between(1 * MS, 40 * MS), NULL, next_op, client);
}

static void retry(struct client *client, uint64_t pause_us)
{
    client->attempt++;
    at(sim.now + pause_us, NULL, send_op, client);
}

static const char *name_of(const struct client *client)
{
    static char name[80];

    snprintf(name, sizeof(name), "client %u's %s of %u, change %llu", client->number_of_client, op_names[client->kind], client->thing,
             (unsigned long long)client->number);
    return name;
}

static void judge_change(struct client *client, const struct attempt *a)
{
    struct thing *thing = &things[client->thing];

    if (client->kind == OP_GUESS ? a->rv != CKR_PIN_INCORRECT && a->rv != CKR_PIN_LOCKED : a->rv != CKR_OK)
        fail("%s: answered with 0x%llx by server %llu: it was not done exactly once", name_of(client), (unsigned long long)a->rv,
             (unsigned long long)a->life->node->id);
    sim.changes++;
    client->acked = client->number;
    switch (client->kind) {
    case OP_REGISTER:
        client->session = a->session;
        break;
    case OP_TOKEN:
        is_token_made = true;
        token_index = a->index;
        break;
    case OP_CREATE:
        thing->state = LIVE;
        thing->version = 1;
        thing->made_us = sim.now;
        thing->made_index = a->index;
        thing->is_busy = false;
        break;
    case OP_REPLACE:
        thing->version = client->version + 1;
        thing->is_busy = false;
        break;
    case OP_DESTROY:
        thing->state = DESTROYED;
        thing->gone_us = sim.now;
        thing->gone_index = a->index;
        thing->is_busy = false;
        break;
    case OP_GUESS:
        guessers[client->thing].is_busy = false;
        guessers[client->thing].acked = client->guesses;
        guessers[client->thing].acked_index = a->index;
        break;
    default:
        break;
    }
}

static void on_answer(void *arg)
{
    struct attempt *a = arg;
    struct client *client = a->client;

    if (!client->is_out || client->attempt != a->attempt) {
        free(a);
        return;
    }
    mix((uint64_t)a->err << 32 | a->rv);
    if (a->err != KM_OK) {
        trace("%s: server %llu says %s", name_of(client), (unsigned long long)a->life->node->id, km_err_text(a->err));
        if (a->err != KM_ERR_UNDECIDED && a->err != KM_ERR_NOT_LEADER && a->err != KM_ERR_CLOSED && a->err != KM_ERR_BUSY && a->err != KM_ERR_TIMEOUT &&
            a->err != KM_ERR_NOT_FRESH)
            fail("%s: server %llu says %s", name_of(client), (unsigned long long)a->life->node->id, km_err_text(a->err));
        if (a->err == KM_ERR_NOT_FRESH)
            sim.elsewhere++;
        retry(client, rnd_between(1 * MS, 30 * MS));
    } else {
        trace("%s: server %llu says rv 0x%llx at index %llu", name_of(client), (unsigned long long)a->life->node->id, (unsigned long long)a->rv,
              (unsigned long long)a->index);
        if (client->kind < OP_USE)
            judge_change(client, a);
        done(client);
    }
    free(a);
}

static void answer(struct attempt *a, enum km_err err)
{
    a->err = err;
    at(sim.now + rnd_between(100, 1500), NULL, on_answer, a); /* the server may be gone when it arrives */
}

/* --- the service's part: changes ------------------------------------------------------------------------------- */

static void take_result(struct attempt *a, const Kml__Result *result)
{
    a->rv = result->rv;
    a->session = result->session;
    a->failed = result->failed;
}

static void on_proposed(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct attempt *a = arg;

    if (err == KM_OK) {
        take_result(a, result);
        a->index = index;
    }
    answer(a, err);
}

static void on_settled(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct attempt *a = arg;

    (void)index;
    (void)result;
    answer(a, err);
}

static bool does_revoke(enum op_kind kind)
{
    return kind == OP_TOKEN || kind == OP_REPLACE || kind == OP_DESTROY;
}

static void serve_change(struct attempt *a);

static void on_replay_read(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct attempt *a = arg;

    (void)index;
    (void)result;
    a->was_retried = true;
    if (err != KM_OK)
        answer(a, err);
    else
        serve_change(a);
}

static void serve_change(struct attempt *a)
{
    struct life *life = a->life;
    uint8_t hash[32];
    char identity[64];
    Kml__Result *result = NULL;
    enum km_err err = KM_ERR_NOT_FOUND;

    if (a->op.kind != OP_REGISTER && !sim.plants.replica) { /* a planted rule of the replica is not mended by the service */
        hash_of(&a->op, hash);
        snprintf(identity, sizeof(identity), "spiffe://sim/client/c%u", a->op.number_of_client);
        err = km_store_result(life->store, a->op.session, a->op.number, identity, hash, &result);
    }
    if (err == KM_ERR_DENIED && !a->was_retried) {
        km_replica_read(life->replica, on_replay_read, a);
        return;
    }
    if (err == KM_ERR_DENIED) {
        if (a->attempt == a->client->attempt)
            fail("%s: server %llu does not know its session or has forgotten its result", name_of(a->client), (unsigned long long)life->node->id);
        free(a);
        return;
    }
    if (err == KM_OK) {
        take_result(a, result);
        a->index = km_store_index(life->store);
        kml__result__free_unpacked(result, NULL);
        if (does_revoke(a->op.kind) && !sim.plants.no_settle_retry)
            km_settle(life->replica, on_settled, a);
        else
            answer(a, KM_OK);
        return;
    }
    km_replica_propose(life->replica, command_of(&a->op), on_proposed, a);
}

/* --- the service's part: uses ---------------------------------------------------------------------------------- */

static bool look_up(struct attempt *a)
{
    uint8_t id[KM_ID_LEN];
    const struct km_object *object;

    id_bytes(thing_id(a->op.thing), id);
    object = km_store_object(a->life->store, id);
    if (object == NULL)
        return false;
    a->version = object->version;
    km_object_unref(object);
    return true;
}

/* The answer of a use leaves the server now. */
static void judge_use(const struct attempt *a)
{
    const struct thing *thing = &things[a->op.thing];

    sim.uses++;
    if (thing->state == DESTROYED) /* not even for a request begun before: the lease is looked at when the answer leaves */
        fail("server %llu used thing %u, version %llu, for a request begun at %.3f ms; its destruction was answered at %.3f ms", (unsigned long long)a->life->node->id,
             a->op.thing, (unsigned long long)a->version, (double)a->op.began_us / 1000, (double)thing->gone_us / 1000);
    if (a->version < a->op.version)
        fail("server %llu used thing %u in version %llu for a request begun at %.3f ms, after version %llu had been answered", (unsigned long long)a->life->node->id,
             a->op.thing, (unsigned long long)a->version, (double)a->op.began_us / 1000, (unsigned long long)a->op.version);
}

static void judge_absence(const struct attempt *a)
{
    const struct thing *thing = &things[a->op.thing];

    if (a->op.thing_state == LIVE && thing->state == LIVE)
        fail("server %llu says that thing %u is not there for a request begun at %.3f ms; it was made at %.3f ms", (unsigned long long)a->life->node->id, a->op.thing,
             (double)a->op.began_us / 1000, (double)thing->made_us / 1000);
}

static void end_use(void *arg)
{
    struct attempt *a = arg;
    uint64_t version = a->version;

    if (a->life->is_stopping) {
        answer(a, KM_ERR_CLOSED);
        return;
    }
    if (!sim.plants.no_recheck && (!km_replica_is_fresh(a->life->replica) || !look_up(a) || a->version != version)) {
        answer(a, KM_ERR_NOT_FRESH);
        return;
    }
    judge_use(a);
    answer(a, KM_OK);
}

static void begin_use(struct attempt *a)
{
    at(sim.now + (chance(0.1) ? rnd_between(5 * MS, 150 * MS) : rnd_between(100, 4 * MS)), a->life, end_use, a);
}

static void on_use_read(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct attempt *a = arg;

    (void)index;
    (void)result;
    if (err != KM_OK || !km_replica_is_fresh(a->life->replica)) {
        answer(a, err != KM_OK ? err : KM_ERR_NOT_FRESH);
    } else if (look_up(a)) {
        begin_use(a);
    } else {
        judge_absence(a);
        answer(a, KM_OK);
    }
}

static void serve_use(struct attempt *a)
{
    if (!km_replica_is_fresh(a->life->replica))
        answer(a, KM_ERR_NOT_FRESH);
    else if (look_up(a))
        begin_use(a);
    else
        km_replica_read(a->life->replica, on_use_read, a);
}

/* --- the service's part: reads --------------------------------------------------------------------------------- */

static void on_read(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct attempt *a = arg;
    const struct thing *thing = &things[a->op.thing];

    (void)index;
    (void)result;
    if (err == KM_OK) {
        a->is_found = look_up(a);
        sim.reads++;
        if (!a->is_found)
            judge_absence(a);
        if (a->is_found && thing->state == DESTROYED && a->op.began_us > thing->gone_us)
            fail("server %llu still shows thing %u to a read begun at %.3f ms; its destruction was answered at %.3f ms", (unsigned long long)a->life->node->id, a->op.thing,
                 (double)a->op.began_us / 1000, (double)thing->gone_us / 1000);
        if (a->is_found && a->version < a->op.version)
            fail("server %llu shows thing %u in version %llu to a read begun at %.3f ms, after version %llu had been answered", (unsigned long long)a->life->node->id,
                 a->op.thing, (unsigned long long)a->version, (double)a->op.began_us / 1000, (unsigned long long)a->op.version);
    }
    answer(a, err);
}

static void on_arrival(void *arg)
{
    struct attempt *a = arg;

    if (a->life->is_stopping || a->life->is_fatal)
        answer(a, KM_ERR_CLOSED);
    else if (a->op.kind == OP_USE)
        serve_use(a);
    else if (a->op.kind == OP_READ)
        km_replica_read(a->life->replica, on_read, a);
    else
        serve_change(a);
}

/* --- clients --------------------------------------------------------------------------------------------------- */

static void on_impatience(void *arg)
{
    struct attempt *a = arg;

    if (a->client->is_out && a->client->attempt == a->attempt) {
        trace("%s: server %llu does not answer", name_of(a->client), (unsigned long long)a->op.session);
        retry(a->client, 0);
    }
    free(a);
}

static void send_op(void *arg)
{
    struct client *client = arg;
    struct node *node = NULL;
    struct attempt *a, *watch;

    for (int i = 0; i < 10 && (node == NULL || node->is_removed || node->id == client->last_server); i++)
        node = &sim.nodes[rnd_below(sim.n_nodes)]; /* a retry goes elsewhere */
    client->last_server = node->id;
    if (node->life == NULL || node->life->replica == NULL) {
        retry(client, node->is_removed ? 0 : rnd_between(2 * MS, 20 * MS));
        return;
    }
    a = calloc(1, sizeof(*a));
    a->client = client;
    a->life = node->life;
    a->attempt = client->attempt;
    a->op = *client;
    watch = calloc(1, sizeof(*watch));
    *watch = *a;
    watch->op.session = node->id;
    at(sim.now + rnd_between(100, 1500), a->life, on_arrival, a);
    at(sim.now + (chance(0.3) ? rnd_between(30 * MS, 300 * MS) : 1500 * MS), NULL, on_impatience, watch);
}

static int pick_thing(bool for_change)
{
    for (int i = 0; n_things > 0 && i < 20; i++) {
        unsigned back = (unsigned)rnd_below(n_things < 24 ? n_things : 24);
        unsigned thing = n_things - 1 - back;

        if (for_change ? things[thing].state == LIVE && !things[thing].is_busy : things[thing].state != UNBORN && things[thing].state != BEING_MADE)
            return (int)thing;
    }
    return -1;
}

static enum op_kind choose(struct client *client)
{
    uint64_t dice = rnd_below(100);
    int thing;

    if (client->session == 0)
        return OP_REGISTER;
    if (!is_token_made)
        return OP_TOKEN;
    if (sim.is_lull)
        dice = 38 + dice * 62 / 100;
    if (dice < 12 && n_things < THINGS_MAX) {
        client->thing = n_things++;
        things[client->thing].state = BEING_MADE;
        things[client->thing].is_busy = true;
        return OP_CREATE;
    }
    if (dice < 32 && (thing = pick_thing(true)) >= 0) {
        client->thing = (unsigned)thing;
        things[thing].is_busy = true;
        if (dice < 20) {
            things[thing].state = BEING_DESTROYED;
            return OP_DESTROY;
        }
        return OP_REPLACE;
    }
    if (dice < 38) {
        unsigned g = (unsigned)rnd_below(GUESSERS);

        if (!guessers[g].is_busy && guessers[g].issued < GUESSES_MAX) {
            guessers[g].is_busy = true;
            client->guesses = ++guessers[g].issued;
            client->thing = g;
            return OP_GUESS;
        }
    }
    thing = pick_thing(false);
    client->thing = thing >= 0 ? (unsigned)thing : 0;
    return dice < 90 ? OP_USE : OP_READ;
}

static void next_op(void *arg)
{
    struct client *client = arg;

    if (are_stopped)
        return;
    if (!is_token_made && client->number_of_client != 0) { /* the first one makes the token */
        at(sim.now + 20 * MS, NULL, next_op, client);
        return;
    }
    client->kind = choose(client);
    if ((client->kind == OP_USE || client->kind == OP_READ) && things[client->thing].state == UNBORN) {
        at(sim.now + 5 * MS, NULL, next_op, client);
        return;
    }
    if (client->kind < OP_USE && client->kind != OP_REGISTER)
        client->number++;
    client->began_us = sim.now;
    client->version = client->kind != OP_GUESS ? things[client->thing].version : 0;
    client->thing_state = client->kind != OP_GUESS ? things[client->thing].state : UNBORN;
    client->attempt++;
    client->is_out = true;
    send_op(client);
}

void clients_start(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].number_of_client = i;
        at(sim.now + 400 * MS + i * MS, NULL, next_op, &clients[i]);
    }
}

void clients_stop(void)
{
    are_stopped = true;
}

bool clients_are_idle(void)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (clients[i].is_out)
            return false;
    return true;
}

/* No acknowledged change is lost: each one is there wherever its index is. Counters never go back. */
void clients_check(struct node *node)
{
    struct km_store *store = node->life->store;
    uint64_t index = km_store_index(store);
    uint8_t token[KM_ID_LEN], id[KM_ID_LEN];
    unsigned thing, guesser;

    if (!is_token_made || index < token_index || n_things == 0)
        return;
    thing = (unsigned)(index * 7919u % n_things); /* one of them at each step; index, not chance: a check changes nothing */
    guesser = (unsigned)(index % GUESSERS);
    id_bytes(TOKEN, token);
    id_bytes(thing_id(thing), id);
    if (things[thing].state == LIVE && index >= things[thing].made_index) {
        const struct km_object *object = km_store_object(store, id);

        if (object == NULL)
            fail("server %llu, index %llu: thing %u is lost; it was acknowledged at index %llu", (unsigned long long)node->id, (unsigned long long)index, thing,
                 (unsigned long long)things[thing].made_index);
        km_object_unref(object);
    }
    if (things[thing].state == DESTROYED && index >= things[thing].gone_index) {
        const struct km_object *object = km_store_object(store, id);

        if (object != NULL)
            fail("server %llu, index %llu: thing %u is back; its destruction was acknowledged at index %llu", (unsigned long long)node->id, (unsigned long long)index, thing,
                 (unsigned long long)things[thing].gone_index);
    }
    if (guessers[guesser].acked > 0 && index >= guessers[guesser].acked_index) {
        char identity[64];
        uint8_t last[16];
        uint32_t failed;

        snprintf(identity, sizeof(identity), "spiffe://sim/client/g%u", guesser);
        failed = km_store_pin_failed(store, token, CKU_SO, identity, last);
        if (failed < guessers[guesser].acked)
            fail("server %llu, index %llu: %u failed attempts of %s, %u were acknowledged", (unsigned long long)node->id, (unsigned long long)index, failed, identity,
                 guessers[guesser].acked);
        if (failed > guessers[guesser].issued)
            fail("server %llu, index %llu: %u failed attempts of %s, only %u were made", (unsigned long long)node->id, (unsigned long long)index, failed, identity,
                 guessers[guesser].issued);
    }
}
