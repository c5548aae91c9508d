/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated disk. Requests take time and complete in order; what a crash finds in the queue is lost from a random
 * point on, as if the power had failed between two transactions. Term and vote are durable at once.
 */
#include "env_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct op {
    struct op *next;
    enum { OP_APPEND, OP_TRUNCATE, OP_PUT, OP_GET } kind;
    raft_index index;
    const struct raft_entry *entries;
    unsigned n;
    unsigned trailing;
    const struct raft_snapshot *snapshot;
    km_disk_cb cb;
    km_disk_snapshot_cb get_cb;
    void *arg;
};

struct sim_disk {
    struct km_disk disk;
    struct sim *sim;
    int server;
    struct sim_media *media;
    struct op *head, **tail;
    bool is_busy;
    km_disk_cb close_cb;
    void *close_arg;
};

static void *copy(const void *data, size_t len)
{
    void *p = malloc(len + 1);
    assert(p);
    if (len)
        memcpy(p, data, len);
    return p;
}

static void *raft_copy(const void *data, size_t len)
{
    void *p = raft_malloc(len ? len : 1);
    assert(p);
    if (len)
        memcpy(p, data, len);
    return p;
}

/* --- media ---------------------------------------------------------------------------------------------------------
 */

static void media_truncate(struct sim_media *m, raft_index index)
{
    while (m->n && m->first + m->n > index)
        free(m->entries[--m->n].buf.base);
}

static void media_append(struct sim_disk *d, const struct op *op)
{
    struct sim_media *m = d->media;
    if (op->index != m->first + m->n)
        sim_fail(d->sim, "server %d appends entry %llu where %llu is next", d->server, op->index, m->first + m->n);
    for (unsigned i = 0; i < op->n; i++) {
        if (m->n == m->cap) {
            m->cap = m->cap ? m->cap * 2 : 64;
            m->entries = realloc(m->entries, m->cap * sizeof(*m->entries));
            assert(m->entries);
        }
        m->entries[m->n] = op->entries[i];
        m->entries[m->n].batch = NULL;
        m->entries[m->n++].buf.base = copy(op->entries[i].buf.base, op->entries[i].buf.len);
    }
}

static void media_put(struct sim_media *m, const struct op *op)
{
    const struct raft_snapshot *s = op->snapshot;
    struct raft_buffer conf;
    int rv = raft_configuration_encode(&s->configuration, &conf);
    assert(rv == 0);
    free(m->snapshot_data);
    free(m->snapshot_conf);
    m->has_snapshot = true;
    m->snapshot_index = s->index;
    m->snapshot_term = s->term;
    m->snapshot_conf_index = s->configuration_index;
    m->snapshot_conf = copy(conf.base, conf.len);
    m->snapshot_conf_len = conf.len;
    raft_free(conf.base);
    m->snapshot_len = 0;
    for (unsigned i = 0; i < s->n_bufs; i++)
        m->snapshot_len += s->bufs[i].len;
    uint8_t *at = m->snapshot_data = malloc(m->snapshot_len + 1);
    assert(at);
    for (unsigned i = 0; i < s->n_bufs; i++) {
        memcpy(at, s->bufs[i].base, s->bufs[i].len);
        at += s->bufs[i].len;
    }
    if (op->trailing == 0) {
        media_truncate(m, 0);
        m->first = s->index + 1;
        return;
    }
    raft_index keep_from = s->index > op->trailing ? s->index - op->trailing + 1 : 1;
    size_t drop = keep_from > m->first ? (size_t)(keep_from - m->first) : 0;
    if (drop > m->n)
        drop = m->n;
    for (size_t i = 0; i < drop; i++)
        free(m->entries[i].buf.base);
    memmove(m->entries, m->entries + drop, (m->n - drop) * sizeof(*m->entries));
    m->n -= drop;
    m->first += drop;
}

static struct raft_snapshot *media_get(const struct sim_media *m)
{
    struct raft_snapshot *s = raft_calloc(1, sizeof(*s));
    struct raft_buffer conf = {m->snapshot_conf, m->snapshot_conf_len};
    assert(s && m->has_snapshot);
    s->index = m->snapshot_index;
    s->term = m->snapshot_term;
    s->configuration_index = m->snapshot_conf_index;
    int rv = raft_configuration_decode(&conf, &s->configuration);
    assert(rv == 0);
    s->bufs = raft_malloc(sizeof(*s->bufs));
    assert(s->bufs);
    s->n_bufs = 1;
    s->bufs[0] = (struct raft_buffer){raft_copy(m->snapshot_data, m->snapshot_len), m->snapshot_len};
    return s;
}

/* --- queue ---------------------------------------------------------------------------------------------------------
 */

static void run(struct sim_disk *d, const struct op *op)
{
    switch (op->kind) {
    case OP_APPEND:
        media_append(d, op);
        break;
    case OP_TRUNCATE:
        media_truncate(d->media, op->index);
        break;
    case OP_PUT:
        media_put(d->media, op);
        break;
    case OP_GET:
        break;
    }
}

static void next(struct sim_disk *d);

static void on_done(void *arg)
{
    struct sim_disk *d = arg;
    struct op *op = d->head;
    run(d, op);
    d->head = op->next;
    if (!d->head)
        d->tail = &d->head;
    d->is_busy = false;
    if (op->kind == OP_GET)
        op->get_cb(op->arg, media_get(d->media));
    else if (op->cb)
        op->cb(op->arg);
    free(op);
    next(d);
}

static void next(struct sim_disk *d)
{
    const struct sim_weather *w = &d->sim->weather;
    if (d->is_busy)
        return;
    if (!d->head) {
        km_disk_cb cb = d->close_cb;
        d->close_cb = NULL;
        if (cb)
            cb(d->close_arg);
        return;
    }
    d->is_busy = true;
    uint64_t us =
        d->head->kind == OP_TRUNCATE ? 1 : w->disk_min_us + sim_random(d->sim, w->disk_max_us - w->disk_min_us + 1);
    sim_at(d->sim, d->server, d->head->kind == OP_PUT ? us * 20 : us, on_done, d);
}

static void submit(struct sim_disk *d, struct op op)
{
    struct op *copied = copy(&op, sizeof(op));
    copied->next = NULL;
    *d->tail = copied;
    d->tail = &copied->next;
    next(d);
}

void sim_disk_crash(struct sim_disk *d)
{
    size_t n = 0;
    for (struct op *op = d->head; op; op = op->next)
        n++;
    n = (size_t)sim_random(d->sim, n + 1);
    for (struct op *op = d->head; op && n; op = op->next, n--)
        run(d, op);
}

/* --- struct km_disk ------------------------------------------------------------------------------------------------
 */

static enum km_err disk_load(struct km_disk *disk, struct km_disk_state *ret, char *ret_message, size_t message_len)
{
    const struct sim_media *m = ((struct sim_disk *)disk)->media;
    (void)ret_message, (void)message_len;
    *ret = (struct km_disk_state){.term = m->term, .voted_for = m->vote, .start_index = m->first, .n_entries = m->n};
    if (m->has_snapshot)
        ret->snapshot = media_get(m);
    if (m->n) {
        ret->entries = raft_malloc(m->n * sizeof(*ret->entries));
        assert(ret->entries);
    }
    for (size_t i = 0; i < m->n; i++) {
        ret->entries[i] = m->entries[i];
        ret->entries[i].buf.base = raft_copy(m->entries[i].buf.base, m->entries[i].buf.len);
    }
    return KM_OK;
}

static enum km_err disk_bootstrap(struct km_disk *disk, const struct raft_configuration *configuration)
{
    (void)disk, (void)configuration;
    return KM_ERR_EXISTS; /* sim_add does it */
}

static void disk_set_term(struct km_disk *disk, raft_term term)
{
    struct sim_media *m = ((struct sim_disk *)disk)->media;
    if (term == m->term)
        return;
    m->term = term;
    m->vote = 0;
}

static void disk_set_vote(struct km_disk *disk, raft_id server_id)
{
    ((struct sim_disk *)disk)->media->vote = server_id;
}

static void disk_append(struct km_disk *disk, raft_index first, const struct raft_entry *entries, unsigned n,
                        km_disk_cb cb, void *arg)
{
    submit((struct sim_disk *)disk,
           (struct op){.kind = OP_APPEND, .index = first, .entries = entries, .n = n, .cb = cb, .arg = arg});
}

static void disk_truncate(struct km_disk *disk, raft_index index)
{
    submit((struct sim_disk *)disk, (struct op){.kind = OP_TRUNCATE, .index = index});
}

static void disk_snapshot_put(struct km_disk *disk, unsigned trailing, const struct raft_snapshot *snapshot,
                              km_disk_cb cb, void *arg)
{
    submit((struct sim_disk *)disk,
           (struct op){.kind = OP_PUT, .trailing = trailing, .snapshot = snapshot, .cb = cb, .arg = arg});
}

static void disk_snapshot_get(struct km_disk *disk, km_disk_snapshot_cb cb, void *arg)
{
    submit((struct sim_disk *)disk, (struct op){.kind = OP_GET, .get_cb = cb, .arg = arg});
}

static unsigned short disk_capacity(struct km_disk *disk)
{
    (void)disk;
    return 65535;
}

static void disk_close(struct km_disk *disk, km_disk_cb cb, void *arg)
{
    struct sim_disk *d = (struct sim_disk *)disk;
    d->close_cb = cb;
    d->close_arg = arg;
    next(d);
}

static const struct km_disk_ops disk_ops = {
    disk_load,     disk_bootstrap,    disk_set_term,     disk_set_vote, disk_append,
    disk_truncate, disk_snapshot_put, disk_snapshot_get, disk_capacity, disk_close,
};

struct sim_disk *sim_disk_new(struct sim *sim, int i)
{
    struct sim_disk *d = calloc(1, sizeof(*d));
    assert(d);
    d->disk.ops = &disk_ops;
    d->sim = sim;
    d->server = i;
    d->media = &sim->servers[i].media;
    d->tail = &d->head;
    return d;
}

struct km_disk *sim_disk_km(struct sim_disk *disk)
{
    return &disk->disk;
}
