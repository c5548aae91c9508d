/* SPDX-License-Identifier: Apache-2.0
 *
 * The event heap, virtual time, clocks and the life of servers. What a crashed server leaves behind is never freed: a
 * run is a process.
 */
#include "env_impl.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_US = 20 * SIM_MS, WAKE_MAX_US = 30 };

/* --- randomness: splitmix64 (Steele, Lea, Flood 2014) --------------------------------------------------------- */

static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_random(struct sim *sim, uint64_t below)
{
    return below ? mix(&sim->random_state) % below : 0;
}

bool sim_chance(struct sim *sim, unsigned permille)
{
    return sim_random(sim, 1000) < permille;
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void push(struct sim *sim, struct sim_event e)
{
    if (sim->n_heap == sim->cap_heap) {
        sim->cap_heap = sim->cap_heap ? sim->cap_heap * 2 : 1024;
        sim->heap = realloc(sim->heap, sim->cap_heap * sizeof(*sim->heap));
        assert(sim->heap);
    }
    size_t i = sim->n_heap++;
    while (i > 0 && is_before(&e, &sim->heap[(i - 1) / 2])) {
        sim->heap[i] = sim->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->heap[i] = e;
}

static struct sim_event pop(struct sim *sim)
{
    struct sim_event top = sim->heap[0], last = sim->heap[--sim->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= sim->n_heap)
            break;
        if (child + 1 < sim->n_heap && is_before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!is_before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return top;
}

void sim_at(struct sim *sim, int i, uint64_t delay_us, void (*fn)(void *arg), void *arg)
{
    unsigned life = i == SIM_NOBODY ? 0 : sim->servers[i].life;
    push(sim, (struct sim_event){sim->now + delay_us, ++sim->seq, i, life, fn, arg});
}

void sim_run(struct sim *sim, uint64_t until_us)
{
    while (sim->n_heap && sim->heap[0].at <= until_us) {
        struct sim_event e = pop(sim);
        sim->now = e.at;
        if (e.server != SIM_NOBODY) {
            struct sim_server *s = &sim->servers[e.server];
            if (e.life != s->life || s->is_fatal)
                continue;
            if (s->paused_until > sim->now) { /* in the order in which they would have happened */
                e.at = s->paused_until;
                push(sim, e);
                continue;
            }
        }
        sim->hash = (sim->hash ^ (e.at * 31 + (uint64_t)(e.server + 2))) * 0x100000001b3u;
        sim->n_events++;
        e.fn(e.arg);
        if (sim->on_step)
            sim->on_step(sim, e.server);
    }
    sim->now = until_us;
}

/* --- a server's clocks and timers -------------------------------------------------------------------------------- */

static uint64_t world_boottime(struct km_world *world)
{
    struct sim_world *w = (struct sim_world *)world;
    const struct sim_server *s = &w->sim->servers[w->server];
    int64_t now = (int64_t)w->sim->now;
    return (uint64_t)(now + now * s->drift_ppm / 1000000 + s->clock_offset_us);
}

static uint64_t world_utc(struct km_world *world)
{
    struct sim_world *w = (struct sim_world *)world;
    return (uint64_t)(1800000000000 + (int64_t)w->sim->now / 1000 + w->sim->servers[w->server].utc_skew_ms);
}

static uint64_t world_random(struct km_world *world)
{
    return mix(&((struct sim_world *)world)->random_state);
}

static void on_timer(void *arg)
{
    struct sim_world *w = *(struct sim_world **)arg;
    for (size_t i = 0; i < sizeof(w->timers) / sizeof(w->timers[0]); i++) {
        if ((void *)&w->timers[i].world != arg || !w->timers[i].cb)
            continue;
        sim_at(w->sim, w->server, w->timers[i].interval_us, on_timer, arg);
        w->timers[i].cb(w->timers[i].arg);
    }
}

static void world_set_timer(struct km_world *world, unsigned interval_ms, void (*cb)(void *arg), void *arg)
{
    struct sim_world *w = (struct sim_world *)world;
    size_t at = 0;
    /* The same callback again changes its timer; an interval of 0 stops it. */
    while (at < 4 && !(w->timers[at].cb == cb && w->timers[at].arg == arg))
        at++;
    bool is_running = at < 4;
    if (!is_running && interval_ms == 0)
        return;
    for (size_t i = 0; at == 4 && i < 4; i++)
        if (!w->timers[i].cb)
            at = i;
    assert(at < 4);
    w->timers[at].cb = interval_ms ? cb : NULL;
    w->timers[at].arg = arg;
    w->timers[at].interval_us = interval_ms * SIM_MS;
    w->timers[at].world = w;
    if (interval_ms && !is_running)
        sim_at(w->sim, w->server, interval_ms * SIM_MS, on_timer, &w->timers[at].world);
}

static void on_wake(void *arg)
{
    struct sim_world *w = arg;
    w->is_woken = false;
    if (w->wake_cb)
        w->wake_cb(w->wake_arg);
}

static void world_wake(struct km_world *world)
{
    struct sim_world *w = (struct sim_world *)world;
    if (w->is_woken)
        return;
    w->is_woken = true;
    sim_at(w->sim, w->server, 1 + sim_random(w->sim, WAKE_MAX_US), on_wake, w);
}

static void world_set_wake(struct km_world *world, void (*cb)(void *arg), void *arg)
{
    struct sim_world *w = (struct sim_world *)world;
    w->wake_cb = cb;
    w->wake_arg = arg;
}

static struct sim_world *world_new(struct sim *sim, int i)
{
    struct sim_world *w = calloc(1, sizeof(*w));
    assert(w);
    w->world = (struct km_world){world_boottime, world_utc, world_random, world_set_timer, world_wake, world_set_wake};
    w->sim = sim;
    w->server = i;
    w->random_state = sim_random(sim, UINT64_MAX);
    return w;
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

static void on_fatal(void *arg, const char *why)
{
    struct sim_world *w = arg;
    sim_note(w->sim, "server %d stops: %s", w->server, why);
    w->sim->servers[w->server].is_fatal = true;
}

static void on_tick(void *arg)
{
    struct sim *sim = arg;
    sim_link_tick(sim);
    sim_at(sim, SIM_NOBODY, TICK_US, on_tick, sim);
}

struct sim *sim_new(uint64_t seed, const struct sim_weather *weather, void (*on_step)(struct sim *sim, int i))
{
    struct sim *sim = calloc(1, sizeof(*sim));
    assert(sim);
    sim->seed = sim->random_state = seed;
    sim->weather = *weather;
    sim->on_step = on_step;
    sim->hash = 0xcbf29ce484222325u;
    for (int a = 0; a < SIM_SERVERS_MAX; a++)
        for (int b = 0; b < SIM_SERVERS_MAX; b++)
            sim->conns[a][b] = (struct sim_conn){.sim = sim, .from = a, .to = b, .tail = &sim->conns[a][b].head};
    sim_at(sim, SIM_NOBODY, TICK_US, on_tick, sim);
    return sim;
}

static void bootstrap(struct sim_media *media, const struct raft_configuration *conf)
{
    struct raft_buffer buf;
    int rv = raft_configuration_encode(conf, &buf);
    assert(rv == 0);
    media->term = 1;
    media->entries = calloc(64, sizeof(*media->entries));
    assert(media->entries);
    media->cap = 64;
    media->entries[media->n++] = (struct raft_entry){.term = 1, .type = RAFT_CHANGE, .buf = buf};
}

int sim_add(struct sim *sim, const struct raft_configuration *conf)
{
    int i = sim->n++;
    assert(i < SIM_SERVERS_MAX);
    struct sim_server *s = &sim->servers[i];
    s->media.first = 1;
    if (conf)
        bootstrap(&s->media, conf);
    s->clock_offset_us = (int64_t)(1000000000 + sim_random(sim, 1000000000));
    s->utc_skew_ms = (int64_t)sim_random(sim, 4000) - 2000;
    s->drift_ppm = (int64_t)sim_random(sim, 2 * sim->weather.drift_ppm + 1) - sim->weather.drift_ppm;
    return i;
}

const char *sim_address(struct sim *sim, int i)
{
    struct sim_server *s = &sim->servers[i];
    struct km_member m = {.id = (uint64_t)i + 1, .role = RAFT_VOTER};
    snprintf(s->name, sizeof(s->name), "s%d", i + 1);
    snprintf(m.name, sizeof(m.name), "%s", s->name);
    snprintf(m.zone, sizeof(m.zone), "z%d", i + 1);
    snprintf(m.address, sizeof(m.address), "127.0.0.1:%d", 7000 + i);
    snprintf(m.peer_address, sizeof(m.peer_address), "127.0.0.1:%d", 7100 + i);
    enum km_err err = km_member_pack(&m, s->address);
    assert(err == KM_OK);
    return s->address;
}

void sim_start(struct sim *sim, int i, const struct km_replica_conf *conf)
{
    struct sim_server *s = &sim->servers[i];
    char message[256] = "";
    assert(!s->is_up);
    s->is_up = true;
    s->is_fatal = false;
    s->paused_until = 0;
    s->world = world_new(sim, i);
    s->disk = sim_disk_new(sim, i);
    s->link = sim_link_new(sim, i);
    s->store = km_store_new();
    assert(s->store);
    struct km_replica_conf c = *conf;
    c.id = (uint64_t)i + 1;
    c.self_address = sim_address(sim, i);
    enum km_err err = km_replica_start(&c, &s->world->world, sim_disk_km(s->disk), &s->link->link, s->store, on_fatal,
                                       s->world, &s->replica, message, sizeof(message));
    if (err != KM_OK)
        sim_fail(sim, "server %d does not start: %s: %s", i, km_err_text(err), message);
    sim_note(sim, "server %d started (life %u)", i, s->life);
}

void sim_crash(struct sim *sim, int i)
{
    struct sim_server *s = &sim->servers[i];
    if (!s->is_up)
        return;
    sim_note(sim, "server %d crashes", i);
    s->is_up = false;
    s->life++;
    sim_disk_crash(s->disk);
    sim_link_crash(sim, i);
    if (sim->weather.forgets_votes)
        s->media.vote = 0;
    s->replica = NULL;
    s->store = NULL;
}

void sim_pause(struct sim *sim, int i, uint64_t for_us)
{
    sim_note(sim, "server %d paused for %llu ms", i, (unsigned long long)for_us / 1000);
    sim->servers[i].paused_until = sim->now + for_us;
}

uint64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

uint64_t sim_hash(const struct sim *sim)
{
    return sim->hash;
}

uint64_t sim_events(const struct sim *sim)
{
    return sim->n_events;
}

int sim_n(const struct sim *sim)
{
    return sim->n;
}

bool sim_is_up(const struct sim *sim, int i)
{
    return sim->servers[i].is_up && !sim->servers[i].is_fatal;
}

bool sim_is_paused(const struct sim *sim, int i)
{
    return sim->servers[i].paused_until > sim->now;
}

bool sim_was_fatal(const struct sim *sim, int i)
{
    return sim->servers[i].is_fatal;
}

struct km_replica *sim_replica(struct sim *sim, int i)
{
    return sim->servers[i].replica;
}

struct km_store *sim_store(struct sim *sim, int i)
{
    return sim->servers[i].store;
}

unsigned sim_life(const struct sim *sim, int i)
{
    return sim->servers[i].life;
}

/* --- history ------------------------------------------------------------------------------------------------------ */

void sim_note(struct sim *sim, const char *format, ...)
{
    char *line = sim->notes[sim->n_notes++ % SIM_NOTES];
    int n = snprintf(line, SIM_NOTE_LEN, "%10.3f ms  ", (double)sim->now / 1000);
    va_list ap;
    va_start(ap, format);
    vsnprintf(line + n, (size_t)(SIM_NOTE_LEN - n), format, ap);
    va_end(ap);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list ap;
    for (unsigned i = sim->n_notes > SIM_NOTES ? sim->n_notes - SIM_NOTES : 0; i < sim->n_notes; i++)
        printf("    %s\n", sim->notes[i % SIM_NOTES]);
    printf("seed %llu at %.3f ms: ", (unsigned long long)sim->seed, (double)sim->now / 1000);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\nreplay: make check-sim SEED=%llu\n", (unsigned long long)sim->seed);
    fflush(stdout);
    _Exit(1);
}
