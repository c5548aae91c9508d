/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong: at random, or as a scene that leads straight to one rule.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static bool are_healed;

static unsigned index_of(const struct node *node)
{
    return (unsigned)(node - sim.nodes);
}

static struct node *pick(bool is_up)
{
    for (int i = 0; i < 20; i++) {
        struct node *node = &sim.nodes[rnd_below(sim.n_nodes)];

        if (!node->is_removed && (node->life != NULL) == is_up && (!is_up || node->life->replica != NULL))
            return node;
    }
    return NULL;
}

static void boot_later(void *arg)
{
    struct node *node = arg;

    if (node->life == NULL && !node->is_removed)
        server_boot(node, false);
}

static void crash(struct node *node, uint64_t down_us)
{
    if (node == NULL || node->life == NULL)
        return;
    server_crash(node, chance(0.3));
    at(sim.now + down_us, NULL, boot_later, node);
}

static void mend(void *arg)
{
    (void)arg;
    if (are_healed)
        return;
    trace("the network is whole again");
    memset(sim.cut, 0, sizeof(sim.cut));
}

static void calm(void *arg)
{
    (void)arg;
    sim.loss = 0.002;
    sim.delay_max_us = 1500;
}

static void isolate(const struct node *node, bool is_in, bool is_out)
{
    trace("server %llu: cut off%s%s", (unsigned long long)node->id, is_in ? " in" : "", is_out ? " out" : "");
    for (unsigned i = 0; i < sim.n_nodes; i++) {
        if (&sim.nodes[i] == node)
            continue;
        if (is_in)
            net_cut(i, index_of(node), true);
        if (is_out)
            net_cut(index_of(node), i, true);
    }
}

/* --- members --------------------------------------------------------------------------------------------------- */

static bool is_changing;

/* What an operator does with a removed server, if it has not stopped by itself. */
static void retire(void *arg)
{
    struct node *node = arg;

    node->is_removed = true;
    server_crash(node, false);
}

static void on_changed(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct node *node = arg;

    (void)index;
    (void)result;
    is_changing = false;
    if (err == KM_OK && node->is_leaving)
        at(sim.now + 1000 * MS, NULL, retire, node);
    trace("change of member %llu: %s", (unsigned long long)node->id, km_err_text(err));
}

static void change_members(void)
{
    struct node *at_node = pick(true), *node;
    const struct raft_configuration *configuration;

    if (at_node == NULL || is_changing || at_node->life->is_stopping || at_node->paused_until > sim.now || !at_node->life->replica->is_started)
        return;
    configuration = &at_node->life->replica->raft.configuration;
    if (configuration->n > 2 && (configuration->n > 4 || chance(0.5) || sim.n_nodes == NODES_MAX)) {
        node = node_by_id(configuration->servers[rnd_below(configuration->n)].id);
        is_changing = true;
        node->is_leaving = true;
        trace("member %llu is to go, asked at %llu", (unsigned long long)node->id, (unsigned long long)at_node->id);
        km_member_remove(at_node->life->replica, node->id, 4000, on_changed, node);
    } else if ((node = node_new()) != NULL) {
        server_boot(node, true);
        is_changing = true;
        trace("member %llu is to come, asked at %llu", (unsigned long long)node->id, (unsigned long long)at_node->id);
        km_member_add(at_node->life->replica, node->id, node->address, 6000, on_changed, node);
    }
}

/* --- at random ------------------------------------------------------------------------------------------------- */

static void next_fault(void *arg)
{
    struct node *node, *leader = leader_node();

    (void)arg;
    if (are_healed)
        return;
    at(sim.now + rnd_between(100 * MS, 1800 * MS), NULL, next_fault, NULL);
    switch (rnd_below(14)) {
    case 0:
        crash(pick(true), rnd_between(20 * MS, 2500 * MS));
        break;
    case 1:
    case 2:
        crash(leader, rnd_between(20 * MS, 2000 * MS));
        break;
    case 3:
        node = chance(0.6) && leader != NULL ? leader : pick(true);
        if (node != NULL)
            server_pause(node, rnd_between(50 * MS, 1500 * MS));
        break;
    case 4:
        node = chance(0.5) && leader != NULL ? leader : pick(true);
        if (node != NULL)
            isolate(node, true, true);
        at(sim.now + rnd_between(50 * MS, 2500 * MS), NULL, mend, NULL);
        break;
    case 5:
        node = chance(0.5) && leader != NULL ? leader : pick(true);
        if (node != NULL)
            isolate(node, chance(0.5), chance(0.5));
        at(sim.now + rnd_between(50 * MS, 2000 * MS), NULL, mend, NULL);
        break;
    case 6: /* one link, one way or both */
        for (unsigned a = (unsigned)rnd_below(sim.n_nodes), b = (unsigned)rnd_below(sim.n_nodes), once = 0; a != b && once == 0; once++) {
            net_cut(a, b, true);
            net_cut(b, a, chance(0.5));
            trace("link %u-%u is cut", a + 1, b + 1);
        }
        at(sim.now + rnd_between(100 * MS, 2500 * MS), NULL, mend, NULL);
        break;
    case 7:
        for (int i = 0; i < 4; i++)
            net_reset((unsigned)rnd_below(sim.n_nodes), (unsigned)rnd_below(sim.n_nodes));
        break;
    case 8:
        sim.loss = 0.05;
        sim.delay_max_us = 40 * MS;
        at(sim.now + rnd_between(200 * MS, 1500 * MS), NULL, calm, NULL);
        break;
    case 9:
        node = pick(true);
        if (node != NULL)
            node->disk_slow_until = sim.now + rnd_between(100 * MS, 1500 * MS);
        break;
    case 10:
        node = chance(0.6) && leader != NULL ? leader : pick(true);
        if (node != NULL) {
            server_stop(node);
            at(sim.now + rnd_between(900 * MS, 2500 * MS), NULL, boot_later, node);
        }
        break;
    case 11:
        if (chance(0.15)) { /* the power goes everywhere */
            for (unsigned i = 0; i < sim.n_nodes; i++)
                crash(&sim.nodes[i], rnd_between(20 * MS, 600 * MS));
        }
        break;
    default:
        change_members();
        break;
    }
}

void faults_start(void)
{
    if (sim.scene == NULL)
        at(sim.now + 600 * MS, NULL, next_fault, NULL);
}

void faults_heal(void)
{
    are_healed = true;
    trace("everything is healed");
    net_heal();
    for (unsigned i = 0; i < sim.n_nodes; i++) {
        sim.nodes[i].disk_slow_until = 0;
        sim.nodes[i].paused_until = 0;
        if (sim.nodes[i].life == NULL && !sim.nodes[i].is_removed)
            server_boot(&sim.nodes[i], false);
    }
}

/* Servers of which it is not known whether they were added or removed: whoever is no member is switched off. */
void faults_retire(void *arg)
{
    const struct node *leader = leader_node();
    const struct raft_configuration *configuration;
    bool is_member;

    (void)arg;
    if (leader == NULL)
        return;
    configuration = &leader->life->replica->raft.configuration;
    for (unsigned i = 0; i < sim.n_nodes; i++) {
        is_member = false;
        for (unsigned k = 0; k < configuration->n; k++)
            is_member = is_member || configuration->servers[k].id == sim.nodes[i].id;
        if (!is_member)
            retire(&sim.nodes[i]);
    }
}

/* --- scenes ---------------------------------------------------------------------------------------------------- */

static struct node *follower(const struct node *leader, const struct node *other)
{
    for (int i = 0; i < 40; i++) {
        struct node *node = &sim.nodes[rnd_below(sim.n_nodes)];

        if (node->life != NULL && node != leader && node != other && !node->is_removed && node->life->replica->is_started)
            return node;
    }
    return NULL;
}

static void end_lull(void *arg)
{
    (void)arg;
    sim.is_lull = false;
}

static void lull(uint64_t us)
{
    sim.is_lull = true;
    at(sim.now + us, NULL, end_lull, NULL);
}

/* A follower with a grant is cut off in the moment in which the leader hands over: the grant outlives the leadership that gave it. */
static void handover(struct node *leader)
{
    struct node *cut = follower(leader, NULL);

    if (cut == NULL)
        return;
    isolate(cut, true, true);
    at(sim.now + 400 * MS, NULL, mend, NULL);
    if (chance(0.7)) {
        server_stop(leader);
        at(sim.now + 1300 * MS, NULL, boot_later, leader);
    }
}

static void restart_at_once(void *arg)
{
    struct node *node = arg;

    if (node->life == NULL)
        return;
    server_crash(node, false);
    if (!node->is_removed)
        server_boot(node, false);
}

static void isolate_now(void *arg)
{
    if (!are_healed) /* nobody would mend it */
        isolate(arg, true, true);
}

static void isolate_at(struct node *node, uint64_t in_us)
{
    at(sim.now + in_us, NULL, isolate_now, node);
}

void faults_on_vote(struct node *node)
{
    if (sim.scene != NULL && strcmp(sim.scene, "elections") == 0 && !are_healed && chance(0.6))
        at(sim.now + rnd_between(0, 2 * MS), NULL, restart_at_once, node);
}

/* A candidate that only a follower can hear; the follower forgets in a restart that it has a leader. */
static void restart(struct node *leader)
{
    struct node *candidate = follower(leader, NULL), *other = follower(leader, candidate);

    if (candidate == NULL || other == NULL)
        return;
    lull(1200 * MS);
    net_cut(index_of(leader), index_of(candidate), true);
    net_cut(index_of(candidate), index_of(leader), true);
    for (unsigned i = 0; i < 6; i++)
        at(sim.now + 450 * MS + i * rnd_between(60 * MS, 110 * MS), NULL, restart_at_once, other);
    at(sim.now + 1150 * MS, NULL, mend, NULL);
}

/* Whoever gave a vote starts again at once, on a slow network: the next candidate of the same term asks it too. */
static void elections(struct node *leader)
{
    sim.delay_max_us = 60 * MS;
    lull(2000 * MS);
    crash(leader, rnd_between(500 * MS, 900 * MS));
}

/* A follower is stopped, and cut off before it goes on: what lies in its socket is all it hears. */
static void stopped(struct node *leader)
{
    struct node *node = follower(leader, NULL);

    if (node == NULL)
        return;
    server_pause(node, 420 * MS);
    isolate_at(node, 60 * MS);
    at(sim.now + 900 * MS, NULL, mend, NULL);
}

/* Short logs, and a server that falls behind them and meets the same entries twice. */
static void snapshots(struct node *leader)
{
    struct node *lagging = follower(leader, NULL);

    if (lagging == NULL)
        return;
    if (chance(0.5))
        crash(lagging, rnd_between(100 * MS, 900 * MS));
    else
        isolate(lagging, true, chance(0.7));
    leader->disk_slow_until = sim.now + rnd_between(0, 600 * MS);
    lagging->disk_slow_until = sim.now + rnd_between(0, 1500 * MS);
    if (chance(0.4))
        change_members();
    for (int i = 0; i < 3; i++)
        net_reset(index_of(leader), index_of(lagging));
    at(sim.now + rnd_between(100 * MS, 800 * MS), NULL, mend, NULL);
}

static void change_now(void *arg)
{
    (void)arg;
    if (!are_healed)
        change_members();
}

/* A server is away while others come and go. */
static void replaced(struct node *leader)
{
    crash(follower(leader, NULL), 2600 * MS);
    for (unsigned i = 0; i < 5; i++)
        at(sim.now + (100 + i * 450) * MS, NULL, change_now, NULL);
}

/* A server joins just before the first snapshot, over a slow network: it is sent the log's beginning twice, and compacts it in between. */
static void joining(struct node *leader)
{
    raft_index last = raft_last_index(&leader->life->replica->raft);

    if (sim.n_nodes == 3 && last + 12 > sim.threshold && last < sim.threshold) {
        sim.delay_max_us = 45 * MS;
        change_members();
    }
}

static const struct scene {
    const char *name;
    void (*run)(struct node *leader);
    unsigned n_nodes, pause_ms;
} scenes[] = {
    {"handover", handover, 5, 1900},
    {"restart", restart, 3, 2200},
    {"elections", elections, 5, 2500},
    {"stopped", stopped, 3, 1500},
    {"snapshots", snapshots, 3, 700},
    {"replaced", replaced, 3, 3600},
    {"joining", joining, 3, 20},
};

static const struct scene *scene_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(scenes) / sizeof(scenes[0]); i++)
        if (strcmp(scenes[i].name, name) == 0)
            return &scenes[i];
    return NULL;
}

static void next_scene(void *arg)
{
    const struct scene *scene = scene_of(sim.scene);
    struct node *leader = leader_node();

    (void)arg;
    if (are_healed)
        return;
    at(sim.now + scene->pause_ms * MS + rnd_below(scene->pause_ms > 300 ? 300 * MS : 20 * MS), NULL, next_scene, NULL);
    if (leader != NULL && leader->life->replica != NULL)
        scene->run(leader);
}

bool scene_prepare(const char *name, unsigned *n_nodes)
{
    const struct scene *scene = scene_of(name);

    if (scene == NULL)
        return false;
    *n_nodes = scene->n_nodes;
    if (scene->run == snapshots) {
        sim.threshold = 6 + (unsigned)rnd_below(20);
        sim.trailing = 1 + (unsigned)rnd_below(12);
    }
    if (scene->run == joining) {
        sim.threshold = 40 + (unsigned)rnd_below(80);
        sim.trailing = 1 + (unsigned)rnd_below(20);
    }
    at(sim.now + 700 * MS, NULL, next_scene, NULL);
    return true;
}
