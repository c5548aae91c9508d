/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits against strangers. Whoever floods the door must not keep others out: at a limit the newcomer is let in and the one who has
 * stood there longest in silence is shown out, so an honest client, who speaks at once, gets through. Any thread, one lock, no I/O.
 */
#include "gate.h"

#include "../../common/sp.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_MS 1000 /* a stranger that has spoken may be shown out too after this */

void km_gate_init(struct km_gate *gate, unsigned strangers_max, unsigned strangers_per_source)
{
    memset(gate, 0, sizeof(*gate));
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->empty, NULL);
    gate->strangers_max = strangers_max;
    gate->strangers_per_source = strangers_per_source;
}

void km_gate_fini(struct km_gate *gate)
{
    assert(gate->n_open == 0);
    pthread_cond_destroy(&gate->empty);
    pthread_mutex_destroy(&gate->lock);
}

static void watch(struct km_gate *gate, struct km_gate_conn *conn)
{
    if (conn->is_watched || conn->is_gone)
        return;
    conn->is_watched = true;
    conn->watch_next = NULL;
    conn->watch_prev = gate->newest;
    *(gate->newest != NULL ? &gate->newest->watch_next : &gate->oldest) = conn;
    gate->newest = conn;
}

static void unwatch(struct km_gate *gate, struct km_gate_conn *conn)
{
    if (!conn->is_watched)
        return;
    conn->is_watched = false;
    *(conn->watch_prev != NULL ? &conn->watch_prev->watch_next : &gate->oldest) = conn->watch_next;
    *(conn->watch_next != NULL ? &conn->watch_next->watch_prev : &gate->newest) = conn->watch_prev;
}

static void know(struct km_gate *gate, struct km_gate_conn *conn)
{
    if (conn->is_stranger)
        gate->n_strangers--;
    conn->is_stranger = false;
    unwatch(gate, conn);
}

/* Who has to go for a newcomer, from `source` or (NULL) from anywhere. */
static struct km_gate_conn *choose_victim(struct km_gate *gate, const struct km_source *source, int64_t now)
{
    struct km_gate_conn *slow = NULL;
    for (struct km_gate_conn *conn = gate->oldest; conn != NULL; conn = conn->watch_next) {
        if (!conn->is_stranger || (source != NULL && memcmp(source, &conn->source, sizeof(*source)) != 0))
            continue;
        if (!conn->has_spoken)
            return conn;
        if (slow == NULL && now - conn->born_ms > SLOW_MS)
            slow = conn;
    }
    return slow;
}

static struct km_gate_conn **find(struct km_gate *gate, uint32_t id)
{
    struct km_gate_conn **at = &gate->table[id % KM_GATE_BUCKETS];
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

bool km_gate_admit(struct km_gate *gate, struct km_gate_conn *conn, uint32_t *ret_victim)
{
    bool is_over = false, is_admitted = true;
    struct km_gate_conn *victim = NULL;
    *ret_victim = 0;
    pthread_mutex_lock(&gate->lock);
    unsigned n_same = 0;
    for (struct km_gate_conn *other = gate->oldest; other != NULL; other = other->watch_next)
        n_same += other->is_stranger && memcmp(&conn->source, &other->source, sizeof(conn->source)) == 0;
    is_over = n_same >= gate->strangers_per_source || gate->n_strangers >= gate->strangers_max;
    if (is_over) {
        victim = choose_victim(gate, n_same >= gate->strangers_per_source ? &conn->source : NULL, conn->born_ms);
        is_admitted = victim != NULL;
    }
    if (victim != NULL) {
        *ret_victim = victim->id;
        know(gate, victim); /* out of the count at once; its pipe goes a moment later */
    }
    if (is_admitted) {
        do
            conn->id = ++gate->last_id;
        while (conn->id == 0 || *find(gate, conn->id) != NULL);
        struct km_gate_conn **bucket = &gate->table[conn->id % KM_GATE_BUCKETS];
        conn->next = *bucket;
        *bucket = conn;
        conn->is_stranger = true;
        gate->n_strangers++;
        gate->n_open++;
        watch(gate, conn);
    }
    pthread_mutex_unlock(&gate->lock);
    return is_admitted;
}

struct km_gate_conn *km_gate_remove(struct km_gate *gate, uint32_t id)
{
    pthread_mutex_lock(&gate->lock);
    struct km_gate_conn **at = find(gate, id), *conn = *at;
    if (conn != NULL) {
        *at = conn->next;
        know(gate, conn);
        conn->is_gone = true; /* whoever has a message of it in work must not put it back on the list */
        if (--gate->n_open == 0)
            pthread_cond_signal(&gate->empty);
    }
    pthread_mutex_unlock(&gate->lock);
    return conn;
}

void km_gate_hear(struct km_gate *gate, struct km_gate_conn *conn)
{
    pthread_mutex_lock(&gate->lock);
    conn->has_spoken = true;
    pthread_mutex_unlock(&gate->lock);
}

void km_gate_know(struct km_gate *gate, struct km_gate_conn *conn)
{
    pthread_mutex_lock(&gate->lock);
    know(gate, conn);
    pthread_mutex_unlock(&gate->lock);
}

void km_gate_watch(struct km_gate *gate, struct km_gate_conn *conn, int64_t deadline)
{
    pthread_mutex_lock(&gate->lock);
    conn->deadline = deadline;
    if (deadline != 0)
        watch(gate, conn);
    else if (!conn->is_stranger)
        unwatch(gate, conn);
    pthread_mutex_unlock(&gate->lock);
}

size_t km_gate_expired(struct km_gate *gate, int64_t now, uint32_t *ret, size_t max, size_t *ret_strangers)
{
    size_t n = 0;
    *ret_strangers = 0;
    pthread_mutex_lock(&gate->lock);
    for (struct km_gate_conn *conn = gate->oldest, *next; conn != NULL && n < max; conn = next) {
        next = conn->watch_next;
        if (conn->deadline > now)
            continue;
        *ret_strangers += conn->is_stranger;
        ret[n++] = conn->id;
        know(gate, conn);
    }
    pthread_mutex_unlock(&gate->lock);
    return n;
}

void km_gate_close(struct km_gate *gate, uint32_t id)
{
    pthread_mutex_lock(&gate->lock);
    struct km_gate_conn *conn = *find(gate, id);
    if (conn != NULL)
        km_pipe_close(conn->pipe);
    pthread_mutex_unlock(&gate->lock);
}

void km_gate_close_all(struct km_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    for (size_t i = 0; i < KM_GATE_BUCKETS; i++)
        for (struct km_gate_conn *conn = gate->table[i]; conn != NULL; conn = conn->next)
            km_pipe_close(conn->pipe);
    while (gate->n_open > 0)
        pthread_cond_wait(&gate->empty, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

unsigned km_gate_strangers(struct km_gate *gate, unsigned *ret_open)
{
    pthread_mutex_lock(&gate->lock);
    unsigned n = gate->n_strangers;
    *ret_open = gate->n_open;
    pthread_mutex_unlock(&gate->lock);
    return n;
}
