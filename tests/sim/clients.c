/* SPDX-License-Identifier: Apache-2.0
 *
 * Simulated clients. A change is tried at a server; if that server dies, says UNDECIDED or does not answer in time, the
 * same session and number are tried elsewhere, with freshly made contents, as the real service would make another key
 * for a retry: only the first may stand.
 */
#include "clients.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_CLIENTS = 5,
    OBJECTS_MAX = 20000,
    PATIENCE_MS = 700, /* for one attempt */
    THINK_MAX_MS = 25,
    USE_MAX_MS = 40, /* of a back end */
};

enum kind { REGISTER, TOKEN_INIT, CREATE, REPLACE, DESTROY, GUESS };

struct client {
    int me;
    uint64_t session, number, acked;
    bool is_busy;
    enum kind kind;
    unsigned attempt; /* of all, so that a late answer to an old attempt is known */
    int server;
    size_t object; /* index in objects */
    uint8_t hash[32], guess[16];
    uint64_t expect_version;
};

static struct {
    struct sim *sim;
    struct client clients[N_CLIENTS];
    struct sim_object objects[OBJECTS_MAX];
    size_t n_objects;
    bool has_token, is_quiet;
    uint8_t token[KM_ID_LEN];
    uint64_t done, uses, refused_uses, reads, retries, undecided, denied;
    char summary[200];
} c;

static void begin_operation(void *arg);
static void attempt(struct client *me);

/* --- commands ------------------------------------------------------------------------------------------------------
 */

static ProtobufCBinaryData bytes(const void *data, size_t len)
{
    uint8_t *p = malloc(len + 1);
    assert(p);
    memcpy(p, data, len);
    return (ProtobufCBinaryData){len, p};
}

static char *text(const char *s)
{
    char *p = strdup(s);
    assert(p);
    return p;
}

static void fill_random(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)sim_random(c.sim, 256);
}

static Kml__Attr *attr_of(uint64_t type, const void *data, size_t len)
{
    Kml__Attr *a = malloc(sizeof(*a));
    assert(a);
    kml__attr__init(a);
    a->type = type;
    a->value = bytes(data, len);
    return a;
}

static Kml__Object *object_of(const struct sim_object *o, const uint8_t id[KM_ID_LEN], uint64_t version)
{
    Kml__Head head = KML__HEAD__INIT;
    uint8_t class[8] = {0}, packed[1024]; /* CKO_DATA */
    Kml__Attr *attrs[] = {attr_of(0 /* CKA_CLASS */, class, 8), attr_of(3 /* CKA_LABEL */, o->label, strlen(o->label))};
    head.id = (ProtobufCBinaryData){KM_ID_LEN, (uint8_t *)(size_t)id};
    head.token = (ProtobufCBinaryData){KM_ID_LEN, c.token};
    head.token_instance = 1;
    head.version = version;
    head.attrs = attrs;
    head.n_attrs = 2;
    head.owner = "spiffe://sim/client/app";
    head.backend = "builtin";
    size_t len = kml__head__pack(&head, packed);
    kml__attr__free_unpacked(attrs[0], NULL);
    kml__attr__free_unpacked(attrs[1], NULL);
    Kml__Object *object = malloc(sizeof(*object));
    assert(object);
    kml__object__init(object);
    object->head = bytes(packed, len);
    object->seal = bytes("seal", 4);
    return object;
}

#define NEW(type, var, init)                                                                                           \
    type *var = malloc(sizeof(*var));                                                                                  \
    assert(var);                                                                                                       \
    init(var)

static Kml__Command *command_of(struct client *me)
{
    NEW(Kml__Command, cmd, kml__command__init);
    cmd->version = KM_LOG_VERSION;
    if (me->kind != REGISTER && me->kind != GUESS) {
        NEW(Kml__Origin, origin, kml__origin__init);
        origin->session = me->session;
        origin->number = me->number;
        origin->acked = me->acked;
        origin->hash = bytes(me->hash, 32);
        origin->identity = text("spiffe://sim/client/app");
        cmd->origin = origin;
    }
    struct sim_object *o = &c.objects[me->object];
    switch (me->kind) {
    case REGISTER: {
        NEW(Kml__ClientRegister, body, kml__client_register__init);
        body->identity = text("spiffe://sim/client/app");
        cmd->body_case = KML__COMMAND__BODY_CLIENT_REGISTER;
        cmd->client_register = body;
        break;
    }
    case TOKEN_INIT: {
        NEW(Kml__TokenInit, body, kml__token_init__init);
        uint8_t id[KM_ID_LEN], verifier[32] = {1};
        NEW(Kml__Pin, so, kml__pin__init);
        fill_random(id, sizeof(id));
        so->verifier = bytes(verifier, 32);
        body->id = bytes(id, sizeof(id));
        body->slot = 1;
        body->label = text("sim");
        body->serial = text("0123456789abcdef");
        body->owner = text("spiffe://sim/client/app");
        body->so = so;
        cmd->body_case = KML__COMMAND__BODY_TOKEN_INIT;
        cmd->token_init = body;
        break;
    }
    case CREATE: {
        NEW(Kml__ObjectCreate, body, kml__object_create__init);
        uint8_t id[KM_ID_LEN];
        fill_random(id, sizeof(id)); /* another one in each attempt */
        body->objects = malloc(sizeof(*body->objects));
        assert(body->objects);
        body->objects[0] = object_of(o, id, 1);
        body->n_objects = 1;
        cmd->body_case = KML__COMMAND__BODY_OBJECT_CREATE;
        cmd->object_create = body;
        break;
    }
    case REPLACE: {
        NEW(Kml__ObjectReplace, body, kml__object_replace__init);
        body->object = object_of(o, o->id, me->expect_version + 1);
        body->expect_version = me->expect_version;
        cmd->body_case = KML__COMMAND__BODY_OBJECT_REPLACE;
        cmd->object_replace = body;
        break;
    }
    case DESTROY: {
        NEW(Kml__ObjectDestroy, body, kml__object_destroy__init);
        body->token = bytes(c.token, KM_ID_LEN);
        body->id = bytes(o->id, KM_ID_LEN);
        cmd->body_case = KML__COMMAND__BODY_OBJECT_DESTROY;
        cmd->object_destroy = body;
        break;
    }
    case GUESS: {
        NEW(Kml__PinAttempt, body, kml__pin_attempt__init);
        body->token = bytes(c.token, KM_ID_LEN);
        body->user_type = 1;
        body->identity = text("spiffe://sim/client/guesser");
        body->attempt = bytes(me->guess, 16);
        body->expect_instance = 1;
        cmd->body_case = KML__COMMAND__BODY_PIN_ATTEMPT;
        cmd->pin_attempt = body;
        break;
    }
    }
    return cmd;
}

/* --- attempts ------------------------------------------------------------------------------------------------------
 */

struct ticket {
    struct client *client;
    unsigned attempt;
    unsigned life;
    int server;
};

static void retry(void *arg)
{
    struct ticket *t = arg;
    struct client *me = t->client;
    if (me->is_busy && me->attempt == t->attempt) {
        c.retries++;
        attempt(me);
    }
    free(t);
}

static void retry_later(struct client *me, uint64_t us)
{
    struct ticket *t = malloc(sizeof(*t));
    assert(t);
    *t = (struct ticket){me, me->attempt, 0, 0};
    sim_at(c.sim, SIM_NOBODY, us, retry, t);
}

static void next_operation(struct client *me)
{
    me->is_busy = false;
    sim_at(c.sim, SIM_NOBODY, sim_random(c.sim, THINK_MAX_MS * SIM_MS), begin_operation, me);
}

static void answered(struct client *me, const Kml__Result *result)
{
    struct sim_object *o = &c.objects[me->object];
    uint64_t now = sim_now(c.sim);
    if (result->rv != 0 && me->kind != GUESS && me->kind != REPLACE && me->kind != DESTROY) {
        if (me->session &&
            me->kind != REGISTER) { /* the session is gone: its outcome stays unknown, go on under a new one */
            sim_note(c.sim, "client %d: change %llu refused: %s", me->me, (unsigned long long)me->number,
                     result->reason);
            c.denied++;
        }
        me->session = 0;
        next_operation(me);
        return;
    }
    switch (me->kind) {
    case REGISTER:
        me->session = result->session;
        me->number = me->acked = 0;
        break;
    case TOKEN_INIT:
        c.has_token = true;
        assert(result->n_ids == 1);
        memcpy(c.token, result->ids[0].data, KM_ID_LEN);
        break;
    case CREATE:
        if (result->n_ids != 1 || result->ids[0].len != KM_ID_LEN)
            sim_fail(c.sim, "creation %s was answered without an id", o->label);
        memcpy(o->id, result->ids[0].data, KM_ID_LEN);
        o->created_at = now;
        o->version = 1;
        break;
    case REPLACE:
        if (result->rv == 0)
            o->version = me->expect_version + 1;
        else if (!o->destroy_asked_at) /* nobody else changes it: a retry must get the first result */
            sim_fail(c.sim, "client %d: replacing %s version %llu was refused: %s", me->me, o->label,
                     (unsigned long long)me->expect_version, result->reason);
        break;
    case DESTROY:
        if (result->rv == 0) {
            o->destroyed_at = now;
            sim_note(c.sim, "%s destroyed (client %d, server %d)", o->label, me->me, me->server);
        } else {
            sim_fail(c.sim, "client %d: destroying %s was refused: %s", me->me, o->label, result->reason);
        }
        break;
    case GUESS:
        break;
    }
    if (me->kind != REGISTER && me->kind != GUESS)
        me->acked = me->number;
    c.done++;
    next_operation(me);
}

static void on_answer(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct ticket *t = arg;
    struct client *me = t->client;
    bool is_current = me->is_busy && me->attempt == t->attempt;
    (void)index;
    free(t);
    if (!is_current)
        return;
    if (err == KM_OK) {
        assert(result);
        answered(me, result);
        return;
    }
    c.undecided += err == KM_ERR_UNDECIDED;
    retry_later(me, 2 * SIM_MS + sim_random(c.sim, 60 * SIM_MS));
}

static void attempt(struct client *me)
{
    me->attempt++;
    me->server = (int)sim_random(c.sim, (uint64_t)sim_n(c.sim));
    if (!sim_is_up(c.sim, me->server) || sim_is_paused(c.sim, me->server)) {
        retry_later(me, 5 * SIM_MS + sim_random(c.sim, 50 * SIM_MS));
        return;
    }
    struct ticket *t = malloc(sizeof(*t));
    assert(t);
    *t = (struct ticket){me, me->attempt, sim_life(c.sim, me->server), me->server};
    retry_later(me, PATIENCE_MS * SIM_MS); /* it may die, or its answer may be lost */
    km_replica_propose(sim_replica(c.sim, me->server), command_of(me), on_answer, t);
}

static size_t pick_object(bool (*suits)(const struct sim_object *o, int client), int client)
{
    for (int tries = 0; c.n_objects && tries < 8; tries++) {
        size_t back = c.n_objects > 60 && sim_chance(c.sim, 800) ? 60 : c.n_objects;
        size_t i = c.n_objects - 1 - (size_t)sim_random(c.sim, back);
        if (suits(&c.objects[i], client))
            return i;
    }
    return OBJECTS_MAX;
}

/* Each client changes its own objects only, so that a refusal can only come from a retry that was not recognised. */
static bool is_mine_alive(const struct sim_object *o, int client)
{
    return o->created_at && !o->destroy_asked_at && o->label[1] == '0' + client;
}

static void begin_operation(void *arg)
{
    struct client *me = arg;
    uint64_t dice = sim_random(c.sim, 100);
    if (c.is_quiet || me->is_busy)
        return;
    if (!c.has_token && me->me != 0) {
        sim_at(c.sim, SIM_NOBODY, 20 * SIM_MS, begin_operation, me);
        return;
    }
    me->object = 0;
    if (!me->session)
        me->kind = REGISTER;
    else if (!c.has_token)
        me->kind = TOKEN_INIT;
    else if (dice < 4)
        me->kind = GUESS;
    else if (dice < 35 && (me->object = pick_object(is_mine_alive, me->me)) != OBJECTS_MAX)
        me->kind = dice < 15 ? REPLACE : DESTROY;
    else if (c.n_objects < OBJECTS_MAX)
        me->kind = CREATE;
    else
        return;
    if (me->kind != REGISTER && me->kind != GUESS) {
        me->number++;
        fill_random(me->hash, sizeof(me->hash));
    }
    if (me->kind == CREATE) {
        me->object = c.n_objects++;
        struct sim_object *o = &c.objects[me->object];
        snprintf(o->label, sizeof(o->label), "c%d-%llu-%llu", me->me, (unsigned long long)me->session,
                 (unsigned long long)me->number);
    } else if (me->kind == REPLACE) {
        me->expect_version = c.objects[me->object].version;
    } else if (me->kind == DESTROY) {
        c.objects[me->object].destroy_asked_at = sim_now(c.sim);
    } else if (me->kind == GUESS) {
        fill_random(me->guess, sizeof(me->guess));
    }
    me->is_busy = true;
    attempt(me);
}

/* --- uses and reads -------------------------------------------------------------------------------------------------
 */

struct use {
    uint64_t started_at;
    size_t object;
    int server;
};

static bool can_use(int server, const struct sim_object *o)
{
    const struct km_object *object;
    if (!km_replica_is_fresh(sim_replica(c.sim, server)))
        return false;
    object = km_store_object(sim_store(c.sim, server), o->id);
    km_object_unref(object);
    return object != NULL;
}

/* The back end has answered: state and lease are looked at again before the result leaves. */
static void on_used(void *arg)
{
    struct use *u = arg;
    const struct sim_object *o = &c.objects[u->object];
    if (!can_use(u->server, o))
        c.refused_uses++;
    else if (o->destroyed_at && o->destroyed_at < u->started_at)
        sim_fail(c.sim, "%s was used on server %d: destroyed at %.3f ms, the use began at %.3f ms", o->label, u->server,
                 (double)o->destroyed_at / 1000, (double)u->started_at / 1000);
    else
        c.uses++;
    free(u);
}

static bool exists_or_did(const struct sim_object *o, int client)
{
    (void)client;
    return o->created_at != 0;
}

static void on_use(void *arg)
{
    size_t i = pick_object(exists_or_did, 0);
    int server = (int)sim_random(c.sim, (uint64_t)sim_n(c.sim));
    (void)arg;
    if (c.is_quiet)
        return;
    sim_at(c.sim, SIM_NOBODY, 200 + sim_random(c.sim, 2 * SIM_MS), on_use, NULL);
    /* A request that reaches a paused server starts when it was sent, and is worked on when the server wakes. */
    if (i == OBJECTS_MAX || !sim_is_up(c.sim, server))
        return;
    struct use *u = malloc(sizeof(*u));
    assert(u);
    *u = (struct use){sim_now(c.sim), i, server};
    if (!sim_is_paused(c.sim, server) && !can_use(server, &c.objects[i])) {
        c.refused_uses++;
        free(u);
        return;
    }
    sim_at(c.sim, server, sim_chance(c.sim, 700) ? 1 : sim_random(c.sim, USE_MAX_MS * SIM_MS), on_used, u);
}

struct reading {
    uint64_t started_at;
    size_t object;
    int server;
    unsigned life;
};

static void on_read(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct reading *r = arg;
    const struct sim_object *o = &c.objects[r->object];
    (void)index, (void)result;
    if (err == KM_OK) {
        const struct km_object *object = km_store_object(sim_store(c.sim, r->server), o->id);
        c.reads++;
        if (!object && o->created_at && o->created_at < r->started_at && !o->destroy_asked_at)
            sim_fail(c.sim, "a read on server %d does not find %s, acknowledged before it began", r->server, o->label);
        if (object && o->destroyed_at && o->destroyed_at < r->started_at)
            sim_fail(c.sim, "a read on server %d finds %s, destroyed before it began", r->server, o->label);
        km_object_unref(object);
    }
    free(r);
}

static void on_reader(void *arg)
{
    size_t i = pick_object(exists_or_did, 0);
    int server = (int)sim_random(c.sim, (uint64_t)sim_n(c.sim));
    (void)arg;
    if (c.is_quiet)
        return;
    sim_at(c.sim, SIM_NOBODY, sim_random(c.sim, 20 * SIM_MS), on_reader, NULL);
    if (i == OBJECTS_MAX || !sim_is_up(c.sim, server) || sim_is_paused(c.sim, server))
        return;
    struct reading *r = malloc(sizeof(*r));
    assert(r);
    *r = (struct reading){sim_now(c.sim), i, server, sim_life(c.sim, server)};
    km_replica_read(sim_replica(c.sim, server), on_read, r);
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

void clients_begin(struct sim *sim)
{
    c.sim = sim;
    for (int i = 0; i < N_CLIENTS; i++) {
        c.clients[i].me = i;
        sim_at(sim, SIM_NOBODY, 100 * SIM_MS + sim_random(sim, 10 * SIM_MS), begin_operation, &c.clients[i]);
    }
    sim_at(sim, SIM_NOBODY, 800 * SIM_MS, on_use, NULL);
    sim_at(sim, SIM_NOBODY, 800 * SIM_MS, on_reader, NULL);
}

void clients_quiet(struct sim *sim)
{
    (void)sim;
    c.is_quiet = true;
}

size_t clients_objects(const struct sim_object **ret)
{
    *ret = c.objects;
    return c.n_objects;
}

unsigned clients_pending(void)
{
    unsigned n = 0;
    for (int i = 0; i < N_CLIENTS; i++)
        n += c.clients[i].is_busy;
    return n;
}

bool clients_have_token(uint8_t ret[KM_ID_LEN])
{
    memcpy(ret, c.token, KM_ID_LEN);
    return c.has_token;
}

uint64_t clients_done(void)
{
    return c.done;
}

const char *clients_summary(void)
{
    snprintf(c.summary, sizeof(c.summary),
             "%llu changes (%llu retries, %llu undecided, %llu sessions lost), %llu uses (%llu refused), %llu reads",
             (unsigned long long)c.done, (unsigned long long)c.retries, (unsigned long long)c.undecided,
             (unsigned long long)c.denied, (unsigned long long)c.uses, (unsigned long long)c.refused_uses,
             (unsigned long long)c.reads);
    return c.summary;
}
