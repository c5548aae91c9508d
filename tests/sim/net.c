/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated network: one connection for each ordered pair of servers, FIFO, with delay, loss, one-way cuts and resets. After a reset some
 * messages of the old connection still arrive, late, between those of the new one, and some arrive twice: what link.h allows.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct message {
    struct node *from, *to;
    struct life *receiver;
    unsigned connection;
    bool is_late;
    uint64_t arrives_us; /* in the receiver's socket, where it may lie while that is paused */
    size_t len;
    uint8_t *data;
};

static struct {
    unsigned number; /* grows with each reset */
    uint64_t last_us;
} connections[NODES_MAX][NODES_MAX];

static struct life *life_of(struct km_link *link)
{
    return (struct life *)((char *)link - offsetof(struct life, link));
}

static unsigned index_of(const struct node *node)
{
    return (unsigned)(node - sim.nodes);
}

static bool knows(const struct life *life, uint64_t id)
{
    for (size_t i = 0; i < life->n_linked; i++)
        if (life->linked[i] == id)
            return true;
    return false;
}

static void link_listen(struct km_link *link, const struct km_link_events *events, void *arg)
{
    life_of(link)->events = events;
    life_of(link)->events_arg = arg;
}

static void link_set_members(struct km_link *link, const struct km_link_member *members, size_t n)
{
    struct life *life = life_of(link);

    life->n_linked = 0;
    for (size_t i = 0; i < n && i < NODES_MAX; i++)
        life->linked[life->n_linked++] = members[i].id;
}

static void deliver(void *arg);

static void on_late(void *arg)
{
    struct message *m = arg;

    m->is_late = true;
    deliver(m);
}

static void deliver(void *arg)
{
    struct message *m = arg;
    unsigned from = index_of(m->from), to = index_of(m->to);

    if (m->connection != connections[from][to].number && !m->is_late) {
        if (chance(0.3)) {
            m->arrives_us = sim.now + rnd_between(1 * MS, 60 * MS);
            at(m->arrives_us, m->receiver, on_late, m);
            return;
        }
    } else if ((!sim.cut[from][to] || m->arrives_us < sim.now) && knows(m->receiver, m->from->id)) {
        mix(m->from->id << 8 | m->to->id);
        m->receiver->events->on_message(m->receiver->events_arg, m->from->id, m->data, m->len);
    }
    free(m->data);
    free(m);
}

static void send_copy(struct node *from, struct node *to, const uint8_t *data, size_t len, uint64_t extra_us)
{
    unsigned f = index_of(from), t = index_of(to);
    struct message *m = malloc(sizeof(*m));
    uint64_t when = sim.now + rnd_between(100, sim.delay_max_us) + len / 50 + extra_us; /* 50 bytes a microsecond */

    if (chance(0.005))
        when += rnd_between(5 * MS, 60 * MS);
    if (when < connections[f][t].last_us)
        when = connections[f][t].last_us;
    connections[f][t].last_us = when;
    *m = (struct message){from, to, to->life, connections[f][t].number, false, when, len, malloc(len)};
    memcpy(m->data, data, len);
    at(when, m->receiver, deliver, m);
}

static void link_send(struct km_link *link, uint64_t id, uint8_t *data, size_t len)
{
    struct life *life = life_of(link);
    struct node *to = node_by_id(id);

    mix_bytes(data, len < 256 ? len : 256);
    if (to != NULL && to->life != NULL && knows(life, id) && !sim.cut[index_of(life->node)][index_of(to)] && !chance(sim.loss)) {
        send_copy(life->node, to, data, len, 0);
        if (chance(sim.loss / 2))
            send_copy(life->node, to, data, len, 20);
    }
    free(data);
}

void net_cut(unsigned from, unsigned to, bool is_cut)
{
    sim.cut[from][to] = is_cut;
}

static void tell(struct node *node, uint64_t id, bool is_up)
{
    if (node->life != NULL && node->life->events != NULL && node->paused_until <= sim.now)
        node->life->events->on_state(node->life->events_arg, id, is_up);
}

void net_reset(unsigned a, unsigned b)
{
    connections[a][b].number++;
    connections[b][a].number++;
    connections[a][b].last_us = connections[b][a].last_us = 0;
    tell(&sim.nodes[a], sim.nodes[b].id, false);
    tell(&sim.nodes[a], sim.nodes[b].id, true);
}

void net_heal(void)
{
    memset(sim.cut, 0, sizeof(sim.cut));
    sim.loss = 0;
    sim.delay_max_us = 1500;
}

const struct km_link_ops sim_link_ops = {.listen = link_listen, .set_members = link_set_members, .send = link_send};
