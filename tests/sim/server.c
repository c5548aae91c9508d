/* SPDX-License-Identifier: Apache-2.0
 *
 * Servers: their worlds, and how they start, crash, stop and pause.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct life *life_of(struct km_world *world)
{
    return (struct life *)((char *)world - offsetof(struct life, world));
}

/* --- world ----------------------------------------------------------------------------------------------------- */

static uint64_t world_boottime_us(struct km_world *world)
{
    return local_us(life_of(world)->node);
}

static uint64_t world_utc_ms(struct km_world *world)
{
    return 1700000000000u + sim.now / 1000 + (uint64_t)life_of(world)->node->utc_skew_ms;
}

static uint64_t world_random(struct km_world *world)
{
    (void)world;
    return rnd();
}

struct timer {
    struct life *life;
    unsigned generation;
};

static void on_timer(void *arg)
{
    struct timer *timer = arg;
    struct life *life = timer->life;

    if (timer->generation != life->timer_generation) {
        free(timer);
        return;
    }
    at(sim.now + life->timer_ms * MS + rnd_below(300), life, on_timer, timer);
    life->timer_cb(life->timer_arg);
}

static void world_set_timer(struct km_world *world, unsigned interval_ms, void (*cb)(void *arg), void *arg)
{
    struct life *life = life_of(world);
    struct timer *timer;

    life->timer_generation++;
    life->timer_ms = interval_ms;
    life->timer_cb = cb;
    life->timer_arg = arg;
    if (interval_ms == 0)
        return;
    timer = malloc(sizeof(*timer));
    *timer = (struct timer){life, life->timer_generation};
    at(sim.now + interval_ms * MS, life, on_timer, timer);
}

static void on_wake(void *arg)
{
    struct life *life = arg;

    life->is_wake_out = false;
    if (life->wake_cb != NULL)
        life->wake_cb(life->wake_arg);
}

static void world_wake(struct km_world *world)
{
    struct life *life = life_of(world);

    if (life->is_wake_out)
        return;
    life->is_wake_out = true;
    at(sim.now + rnd_between(5, 60), life, on_wake, life);
}

static void world_set_wake(struct km_world *world, void (*cb)(void *arg), void *arg)
{
    life_of(world)->wake_cb = cb;
    life_of(world)->wake_arg = arg;
}

/* --- servers --------------------------------------------------------------------------------------------------- */

struct node *node_by_id(uint64_t id)
{
    for (unsigned i = 0; i < sim.n_nodes; i++)
        if (sim.nodes[i].id == id)
            return &sim.nodes[i];
    return NULL;
}

struct node *node_new(void)
{
    struct node *node;
    struct km_member member;

    if (sim.n_nodes == NODES_MAX)
        return NULL;
    node = &sim.nodes[sim.n_nodes++];
    memset(node, 0, sizeof(*node));
    node->id = sim.n_nodes;
    node->is_used = true;
    node->start = 1;
    node->ops_tail = &node->ops;
    node->clock_base = rnd_between(1000 * MS, 100000000 * (uint64_t)MS);
    node->clock_ppm = (int64_t)rnd_below(10001) - 5000; /* half a percent: ten times what crystals do */
    node->utc_skew_ms = (int64_t)rnd_below(4001) - 2000;
    memset(&member, 0, sizeof(member));
    snprintf(member.name, sizeof(member.name), "s%u", sim.n_nodes);
    snprintf(member.zone, sizeof(member.zone), "z%u", sim.n_nodes);
    snprintf(member.address, sizeof(member.address), "h%u:1", sim.n_nodes);
    snprintf(member.peer_address, sizeof(member.peer_address), "h%u:2", sim.n_nodes);
    if (km_member_pack(&member, node->address) != KM_OK)
        abort();
    return node;
}

static void on_fatal(void *arg, const char *why)
{
    struct life *life = arg;

    trace("server %llu: fatal: %s", (unsigned long long)life->node->id, why);
    life->is_fatal = true;
    if (strstr(why, "removed") == NULL)
        fail("server %llu: fatal: %s", (unsigned long long)life->node->id, why);
}

void server_boot(struct node *node, bool is_first)
{
    struct life *life = calloc(1, sizeof(*life));
    struct km_member peers[NODES_MAX];
    struct km_replica_conf conf = {
        .id = node->id,
        .self_address = node->address,
        .election_ms = sim.election_ms,
        .heartbeat_ms = sim.heartbeat_ms,
        .snapshot_threshold = sim.threshold,
        .snapshot_trailing = sim.trailing,
        .skip_boot_wait = is_first || sim.plants.no_boot_wait,
        .peers = peers,
    };
    char message[256];

    for (unsigned i = 0; i < sim.n_nodes; i++) {
        if (km_member_unpack(sim.nodes[i].address, &peers[i]) != KM_OK)
            abort();
        peers[i].id = sim.nodes[i].id;
    }
    conf.n_peers = sim.n_nodes;
    life->node = node;
    life->world = (struct km_world){world_boottime_us, world_utc_ms, world_random, world_set_timer, world_wake, world_set_wake};
    life->disk.ops = &sim_disk_ops;
    life->link.ops = &sim_link_ops;
    life->store = km_store_new();
    node->life = life;
    node->lives++;
    node->checked_index = 0;
    node->checked_commit = 0;
    trace("server %llu: starts, term %llu, log %llu..%llu, snapshot %llu", (unsigned long long)node->id, node->term, node->start,
          node->start + node->n_entries - 1, node->snapshot.index);
    if (km_replica_start(&conf, &life->world, &life->disk, &life->link, life->store, on_fatal, life, &life->replica, message, sizeof(message)) != KM_OK)
        fail("server %llu does not start: %s", (unsigned long long)node->id, message);
    km_replica_set_plants(life->replica, sim.plants.replica, sim.plants.lease, sim.plants.io);
}

void server_crash(struct node *node, bool is_reboot)
{
    if (node->life == NULL)
        return;
    trace("server %llu: crashes%s", (unsigned long long)node->id, is_reboot ? " with its machine" : "");
    sim.crashes++;
    node->life->is_over = true;
    node->life = NULL;
    node->paused_until = 0;
    disk_crash(node);
    if (is_reboot) /* the clock begins anew */
        node->clock_base = rnd_between(1000 * MS, 4000 * MS) - sim.now - (uint64_t)((int64_t)sim.now * node->clock_ppm / 1000000);
    for (unsigned i = 0; i < sim.n_nodes; i++)
        net_reset((unsigned)(node - sim.nodes), i);
}

static void on_stopped(void *arg)
{
    struct life *life = arg;

    trace("server %llu: stopped", (unsigned long long)life->node->id);
    life->is_over = true;
    if (life->node->life == life) {
        life->node->life = NULL;
        for (unsigned i = 0; i < sim.n_nodes; i++)
            net_reset((unsigned)(life->node - sim.nodes), i);
    }
    km_store_free(life->store);
    life->store = NULL;
}

void server_stop(struct node *node)
{
    struct life *life = node->life;

    if (life == NULL || life->is_stopping)
        return;
    trace("server %llu: told to stop", (unsigned long long)node->id);
    life->is_stopping = true;
    km_replica_stop(life->replica, on_stopped, life);
}

void server_pause(struct node *node, uint64_t us)
{
    if (node->life == NULL)
        return;
    trace("server %llu: pauses for %llu ms", (unsigned long long)node->id, (unsigned long long)us / 1000);
    node->paused_until = sim.now + us;
}

struct node *leader_node(void)
{
    struct node *best = NULL;

    for (unsigned i = 0; i < sim.n_nodes; i++) {
        struct node *node = &sim.nodes[i];

        if (node->life != NULL && node->life->replica != NULL && !node->life->is_stopping && node->life->replica->is_started &&
            node->life->replica->raft.state == RAFT_LEADER && (best == NULL || node->term > best->term))
            best = node;
    }
    return best;
}

void cluster_make(unsigned n)
{
    struct raft_configuration configuration;

    raft_configuration_init(&configuration);
    for (unsigned i = 0; i < n; i++) {
        struct node *node = node_new();

        if (raft_configuration_add(&configuration, node->id, node->address, RAFT_VOTER) != 0)
            abort();
    }
    for (unsigned i = 0; i < n; i++) {
        disk_bootstrap(&sim.nodes[i], &configuration);
        server_boot(&sim.nodes[i], true);
    }
    raft_configuration_close(&configuration);
}
