/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated network: one connection for each direction, in order like TCP. A blocked direction holds its messages;
 * if it heals soon they arrive late, if not the connection breaks and they are lost, or (late_permille) arrive after
 * the next connection is up, which the replica must recognise.
 */
#include "env_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { STALL_MAX_US = 2000 * SIM_MS, CONNECT_MAX_US = 120 * SIM_MS };

static struct sim_link *link_of(struct sim *sim, int i)
{
    return sim->servers[i].is_up ? sim->servers[i].link : NULL;
}

static uint64_t delay(struct sim *sim)
{
    return sim->weather.delay_min_us + sim_random(sim, sim->weather.delay_max_us - sim->weather.delay_min_us + 1);
}

/* --- delivery ------------------------------------------------------------------------------------------------------
 */

static void pump(struct sim_conn *c);

static void on_arrival(void *arg)
{
    struct sim_conn *c = arg;
    struct sim_message *m = c->head;
    struct sim_link *to = link_of(c->sim, c->to);
    c->is_pumping = false;
    if (!c->is_up || !m)
        return;
    if (c->is_blocked) {
        c->stalled_since = c->stalled_since ? c->stalled_since : c->sim->now;
        return;
    }
    if (m->not_before <= c->sim->now) {
        c->head = m->next;
        if (!c->head)
            c->tail = &c->head;
        if (to && to->events && to->is_member[c->from])
            to->events->on_message(to->arg, (uint64_t)c->from + 1, m->data, m->len);
        free(m);
    }
    pump(c);
}

static void pump(struct sim_conn *c)
{
    if (c->is_pumping || !c->head || !c->is_up)
        return;
    c->is_pumping = true;
    uint64_t now = c->sim->now;
    sim_at(c->sim, c->to, c->head->not_before > now ? c->head->not_before - now : 0, on_arrival, c);
}

struct late {
    struct sim_conn *conn;
    struct sim_message *message;
};

static void on_late(void *arg)
{
    struct late *l = arg;
    struct sim_link *to = link_of(l->conn->sim, l->conn->to);
    if (to && to->events && to->is_member[l->conn->from])
        to->events->on_message(to->arg, (uint64_t)l->conn->from + 1, l->message->data, l->message->len);
    free(l->message);
    free(l);
}

/* --- connections ---------------------------------------------------------------------------------------------------
 */

static void break_conn(struct sim_conn *c)
{
    struct sim *sim = c->sim;
    bool was_up = c->is_up;
    c->is_up = false;
    c->is_pumping = false;
    c->stalled_since = 0;
    c->epoch++;
    for (struct sim_message *m = c->head, *after; m; m = after) {
        after = m->next;
        if (sim->servers[c->to].is_up && sim_chance(sim, sim->weather.late_permille)) {
            struct late *l = malloc(sizeof(*l));
            assert(l);
            *l = (struct late){c, m};
            sim_at(sim, c->to, sim_random(sim, 400 * SIM_MS), on_late, l);
        } else {
            free(m);
        }
    }
    c->head = NULL;
    c->tail = &c->head;
    struct sim_link *from = link_of(sim, c->from);
    if (was_up && from && from->events && sim_is_up(sim, c->from))
        from->events->on_state(from->arg, (uint64_t)c->to + 1, false);
}

static void on_connect(void *arg)
{
    struct sim_conn *c = arg;
    struct sim_link *from = link_of(c->sim, c->from), *to = link_of(c->sim, c->to);
    c->is_connecting = false;
    if (c->is_up || c->is_blocked || !from || !to || !from->is_member[c->to] || !to->is_member[c->from])
        return;
    c->is_up = true;
    from->events->on_state(from->arg, (uint64_t)c->to + 1, true);
}

void sim_link_tick(struct sim *sim)
{
    for (int a = 0; a < sim->n; a++)
        for (int b = 0; b < sim->n; b++) {
            struct sim_conn *c = &sim->conns[a][b];
            struct sim_link *from = link_of(sim, a);
            if (a == b || !from)
                continue;
            if (c->is_up && (!from->is_member[b] || (c->stalled_since && sim->now - c->stalled_since > STALL_MAX_US)))
                break_conn(c);
            else if (c->is_up && !c->is_blocked && c->head && !c->is_pumping) {
                c->stalled_since = 0;
                pump(c);
            }
            /* The other direction must pass too, or no handshake ends. */
            if (!c->is_up && !c->is_connecting && from->is_member[b] && !c->is_blocked &&
                !sim->conns[b][a].is_blocked && link_of(sim, b)) {
                c->is_connecting = true;
                sim_at(sim, a, sim_random(sim, CONNECT_MAX_US), on_connect, c);
            }
        }
}

void sim_link_crash(struct sim *sim, int i)
{
    for (int j = 0; j < sim->n; j++) {
        if (j == i)
            continue;
        break_conn(&sim->conns[i][j]);
        break_conn(&sim->conns[j][i]);
        sim->conns[i][j].is_connecting = sim->conns[j][i].is_connecting = false;
    }
}

void sim_block(struct sim *sim, int a, int b, bool blocked)
{
    sim->conns[a][b].is_blocked = blocked;
}

void sim_reset(struct sim *sim, int a, int b)
{
    break_conn(&sim->conns[a][b]);
}

/* --- struct km_link -------------------------------------------------------------------------------------------------
 */

static void link_listen(struct km_link *link, const struct km_link_events *events, void *arg)
{
    struct sim_link *l = (struct sim_link *)link;
    l->events = events;
    l->arg = arg;
}

static void link_set_members(struct km_link *link, const struct km_link_member *members, size_t n)
{
    struct sim_link *l = (struct sim_link *)link;
    memset(l->is_member, 0, sizeof(l->is_member));
    for (size_t i = 0; i < n; i++)
        if (members[i].id >= 1 && members[i].id <= SIM_SERVERS_MAX)
            l->is_member[members[i].id - 1] = true;
}

static void link_send(struct km_link *link, uint64_t id, uint8_t *data, size_t len)
{
    struct sim_link *l = (struct sim_link *)link;
    struct sim_conn *c = &l->sim->conns[l->server][id - 1];
    if (c->is_up && id != (uint64_t)l->server + 1) {
        struct sim_message *m = malloc(sizeof(*m) + len);
        assert(m);
        *m = (struct sim_message){.not_before = l->sim->now + delay(l->sim), .len = len};
        memcpy(m->data, data, len);
        *c->tail = m;
        c->tail = &m->next;
        pump(c);
    }
    free(data);
}

static const struct km_link_ops link_ops = {link_listen, link_set_members, link_send};

struct sim_link *sim_link_new(struct sim *sim, int i)
{
    struct sim_link *l = calloc(1, sizeof(*l));
    assert(l);
    l->link.ops = &link_ops;
    l->sim = sim;
    l->server = i;
    return l;
}
