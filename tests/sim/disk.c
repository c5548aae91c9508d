/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated disk: what is durable lives in the node, what is under way in a FIFO queue. A crash makes a random part of the queue's head durable
 * and loses the rest, without a callback, as a real one may. Own snapshots and reads of snapshots run beside the queue, as disk.h allows.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum op_kind { OP_APPEND, OP_TRUNCATE, OP_INSTALL };

struct disk_op {
    struct disk_op *next;
    enum op_kind kind;
    struct life *life;
    raft_index index;
    const struct raft_entry *entries;
    unsigned n;
    const struct raft_snapshot *snapshot;
    unsigned trailing;
    km_disk_cb cb;
    km_disk_snapshot_cb get_cb;
    void *arg;
    bool is_early; /* planted: answered before it is written */
};

static struct life *life_of(struct km_disk *disk)
{
    return (struct life *)((char *)disk - offsetof(struct life, disk));
}

static void *copy(const void *data, size_t len)
{
    void *to = raft_malloc(len + 1);

    if (to == NULL)
        abort();
    if (len > 0)
        memcpy(to, data, len);
    return to;
}

static void cut_entries(struct node *node, raft_index from)
{
    while (node->n_entries > 0 && node->start + node->n_entries - 1 >= from)
        raft_free(node->entries[--node->n_entries].data);
    if (node->n_entries == 0 && node->start > from)
        node->start = from;
}

static void configuration_copy(const struct raft_configuration *from, struct raft_configuration *to)
{
    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n; i++)
        if (raft_configuration_add(to, from->servers[i].id, from->servers[i].address, from->servers[i].role) != 0)
            abort();
}

static void put_snapshot(struct node *node, const struct raft_snapshot *snapshot, unsigned trailing)
{
    size_t len = 0;
    uint8_t *data;

    if (trailing > 0 && node->snapshot.index >= snapshot->index)
        return;
    for (size_t i = 0; trailing > 0 && i < node->n_entries; i++)
        if (node->entries[i].type == RAFT_CHANGE && node->start + i > snapshot->configuration_index && node->start + i <= snapshot->index)
            fail("server %llu: its snapshot at %llu has the configuration of %llu and lost that of %llu", (unsigned long long)node->id, snapshot->index,
                 snapshot->configuration_index, node->start + i);
    for (unsigned i = 0; i < snapshot->n_bufs; i++)
        len += snapshot->bufs[i].len;
    data = copy(NULL, 0);
    data = raft_realloc(data, len + 1);
    len = 0;
    for (unsigned i = 0; i < snapshot->n_bufs; i++) {
        memcpy(data + len, snapshot->bufs[i].base, snapshot->bufs[i].len);
        len += snapshot->bufs[i].len;
    }
    if (node->snapshot.index != 0) {
        raft_free(node->snapshot_buf.base);
        raft_configuration_close(&node->snapshot.configuration);
    }
    node->snapshot.index = snapshot->index;
    node->snapshot.term = snapshot->term;
    node->snapshot.configuration_index = snapshot->configuration_index;
    configuration_copy(&snapshot->configuration, &node->snapshot.configuration);
    node->snapshot_buf = (struct raft_buffer){data, len};
    if (trailing == 0) {
        sim.installs++;
        cut_entries(node, 0);
        node->start = snapshot->index + 1;
        return;
    }
    while (node->n_entries > 0 && node->start + trailing <= snapshot->index) {
        raft_free(node->entries[0].data);
        memmove(node->entries, node->entries + 1, --node->n_entries * sizeof(node->entries[0]));
        node->start++;
    }
}

static void make_durable(struct node *node, const struct disk_op *op)
{
    switch (op->kind) {
    case OP_APPEND:
        cut_entries(node, op->index);
        if (node->n_entries == 0)
            node->start = op->index;
        if (node->start + node->n_entries != op->index)
            fail("server %llu: append at %llu leaves a hole after %llu", (unsigned long long)node->id, op->index, node->start + node->n_entries - 1);
        for (unsigned i = 0; i < op->n; i++) {
            check_entry(node, op->index + i, &op->entries[i]);
            if (node->n_entries == node->cap_entries) {
                node->cap_entries = node->cap_entries ? 2 * node->cap_entries : 256;
                node->entries = realloc(node->entries, node->cap_entries * sizeof(node->entries[0]));
            }
            node->entries[node->n_entries++] =
                (struct disk_entry){op->entries[i].term, op->entries[i].type, op->entries[i].buf.len, copy(op->entries[i].buf.base, op->entries[i].buf.len)};
        }
        break;
    case OP_TRUNCATE:
        cut_entries(node, op->index);
        break;
    case OP_INSTALL:
        put_snapshot(node, op->snapshot, 0);
        break;
    }
}

static struct disk_op *pop_op(struct node *node)
{
    struct disk_op *op = node->ops;

    node->ops = op->next;
    if (node->ops == NULL)
        node->ops_tail = &node->ops;
    return op;
}

static void on_done(void *arg)
{
    struct life *life = arg;
    struct disk_op *op = pop_op(life->node);

    make_durable(life->node, op);
    if (op->cb != NULL && !op->is_early)
        op->cb(op->arg);
    free(op);
}

static void on_early(void *arg)
{
    struct disk_op *op = arg;

    op->cb(op->arg);
}

static uint64_t latency(struct node *node)
{
    if (sim.now < node->disk_slow_until)
        return rnd_between(10 * MS, 80 * MS);
    return chance(0.01) ? rnd_between(2 * MS, 40 * MS) : rnd_between(50, 1500);
}

static void enqueue(struct life *life, struct disk_op op)
{
    struct node *node = life->node;
    struct disk_op *own = malloc(sizeof(*own));

    *own = op;
    own->next = NULL;
    own->life = life;
    if (node->disk_free_at < sim.now)
        node->disk_free_at = sim.now;
    node->disk_free_at += op.kind == OP_TRUNCATE ? 20 : latency(node);
    if (sim.plants.no_sync && op.kind == OP_APPEND) { /* answered at once, written 30 ms later, the entries copied as a page cache would */
        struct raft_entry *copies = calloc(op.n, sizeof(*copies));

        for (unsigned i = 0; i < op.n; i++) {
            copies[i] = op.entries[i];
            copies[i].buf.base = copy(op.entries[i].buf.base, op.entries[i].buf.len);
        }
        own->entries = copies;
        own->is_early = true;
        at(sim.now + 50, life, on_early, own);
        node->disk_free_at += 30 * MS;
    }
    *node->ops_tail = own;
    node->ops_tail = &own->next;
    at(node->disk_free_at, life, on_done, life);
}

static enum km_err disk_load(struct km_disk *disk, struct km_disk_state *ret, char *message, size_t message_len)
{
    struct node *node = life_of(disk)->node;

    (void)message;
    (void)message_len;
    memset(ret, 0, sizeof(*ret));
    ret->term = node->term;
    ret->voted_for = node->vote;
    ret->start_index = node->start;
    ret->n_entries = node->n_entries;
    if (node->snapshot.index != 0) {
        ret->snapshot = raft_calloc(1, sizeof(*ret->snapshot));
        *ret->snapshot = node->snapshot;
        configuration_copy(&node->snapshot.configuration, &ret->snapshot->configuration);
        ret->snapshot->bufs = raft_calloc(1, sizeof(struct raft_buffer));
        ret->snapshot->bufs[0] = (struct raft_buffer){copy(node->snapshot_buf.base, node->snapshot_buf.len), node->snapshot_buf.len};
        ret->snapshot->n_bufs = 1;
    }
    if (node->n_entries > 0)
        ret->entries = raft_calloc(node->n_entries, sizeof(*ret->entries));
    for (size_t i = 0; i < node->n_entries; i++)
        ret->entries[i] = (struct raft_entry){
            .term = node->entries[i].term, .type = node->entries[i].type, .buf = {copy(node->entries[i].data, node->entries[i].len), node->entries[i].len}};
    return KM_OK;
}

static enum km_err disk_bootstrap_op(struct km_disk *disk, const struct raft_configuration *configuration)
{
    (void)disk;
    (void)configuration;
    return KM_ERR_EXISTS;
}

void disk_bootstrap(struct node *node, const struct raft_configuration *configuration)
{
    struct raft_buffer buf;
    struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE};
    struct disk_op op = {.kind = OP_APPEND, .index = 1, .entries = &entry, .n = 1};

    if (raft_configuration_encode(configuration, &buf) != 0)
        abort();
    entry.buf = buf;
    make_durable(node, &op);
    node->term = 1;
    raft_free(buf.base);
}

/* Durable by itself: what is queued before it may still be lost, which is worse than a real disk's order and must do no harm either. */
static void disk_set_term(struct km_disk *disk, raft_term term)
{
    struct node *node = life_of(disk)->node;

    if (term == node->term)
        return;
    trace("server %llu: term %llu", (unsigned long long)node->id, term);
    node->term = term;
    node->vote = 0;
}

static void disk_set_vote(struct km_disk *disk, raft_id id)
{
    struct node *node = life_of(disk)->node;

    trace("server %llu: votes for %llu in term %llu", (unsigned long long)node->id, id, node->term);
    node->vote = id;
    if (id != 0 && id != node->id)
        faults_on_vote(node);
}

static void disk_append(struct km_disk *disk, raft_index first, const struct raft_entry *entries, unsigned n, km_disk_cb cb, void *arg)
{
    enqueue(life_of(disk), (struct disk_op){.kind = OP_APPEND, .index = first, .entries = entries, .n = n, .cb = cb, .arg = arg});
}

static void disk_truncate(struct km_disk *disk, raft_index index)
{
    enqueue(life_of(disk), (struct disk_op){.kind = OP_TRUNCATE, .index = index});
}

static void on_own_snapshot(void *arg)
{
    struct disk_op *op = arg;

    put_snapshot(op->life->node, op->snapshot, op->trailing);
    op->cb(op->arg);
    free(op);
}

static void disk_snapshot_put(struct km_disk *disk, unsigned trailing, const struct raft_snapshot *snapshot, km_disk_cb cb, void *arg)
{
    struct life *life = life_of(disk);
    struct disk_op *op;

    if (trailing == 0) {
        enqueue(life, (struct disk_op){.kind = OP_INSTALL, .snapshot = snapshot, .cb = cb, .arg = arg});
        return;
    }
    op = malloc(sizeof(*op));
    *op = (struct disk_op){.life = life, .snapshot = snapshot, .trailing = trailing, .cb = cb, .arg = arg};
    if (life->node->disk_free_at > sim.now) /* it may be late, but overtakes no append that came before it */
        at(life->node->disk_free_at + rnd_between(1 * MS, 150 * MS), life, on_own_snapshot, op);
    else
        at(sim.now + rnd_between(1 * MS, 150 * MS), life, on_own_snapshot, op);
}

static void on_get(void *arg)
{
    struct disk_op *op = arg;
    struct node *node = op->life->node;
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof(*snapshot));

    if (node->snapshot.index == 0)
        fail("server %llu reads a snapshot that it never took", (unsigned long long)node->id);
    *snapshot = node->snapshot;
    configuration_copy(&node->snapshot.configuration, &snapshot->configuration);
    snapshot->bufs = raft_calloc(1, sizeof(struct raft_buffer));
    snapshot->bufs[0] = (struct raft_buffer){copy(node->snapshot_buf.base, node->snapshot_buf.len), node->snapshot_buf.len};
    snapshot->n_bufs = 1;
    op->get_cb(op->arg, snapshot);
    free(op);
}

static void disk_snapshot_get(struct km_disk *disk, km_disk_snapshot_cb cb, void *arg)
{
    struct disk_op *op = malloc(sizeof(*op));

    *op = (struct disk_op){.life = life_of(disk), .get_cb = cb, .arg = arg};
    at(sim.now + rnd_between(1 * MS, 100 * MS), op->life, on_get, op);
}

static unsigned short disk_capacity(struct km_disk *disk)
{
    (void)disk;
    return 65535;
}

struct closing {
    struct life *life;
    km_disk_cb cb;
    void *arg;
};

static void on_close(void *arg)
{
    struct closing *closing = arg;

    closing->cb(closing->arg);
    free(closing);
}

static void disk_close(struct km_disk *disk, km_disk_cb cb, void *arg)
{
    struct closing *closing = malloc(sizeof(*closing));
    struct life *life = life_of(disk);
    uint64_t end = life->node->disk_free_at > sim.now ? life->node->disk_free_at : sim.now;

    *closing = (struct closing){life, cb, arg};
    at(end + 200 * MS, life, on_close, closing); /* after every snapshot under way */
}

void disk_crash(struct node *node)
{
    unsigned kept = 0;

    while (node->ops != NULL && chance(0.5)) {
        struct disk_op *op = pop_op(node);

        make_durable(node, op);
        free(op);
        kept++;
    }
    trace("server %llu: %u writes under way became durable, the others are lost", (unsigned long long)node->id, kept);
    node->ops = NULL;
    node->ops_tail = &node->ops;
    node->disk_free_at = 0;
    if (sim.plants.forget_vote)
        node->vote = 0;
}

const struct km_disk_ops sim_disk_ops = {
    .load = disk_load,
    .bootstrap = disk_bootstrap_op,
    .set_term = disk_set_term,
    .set_vote = disk_set_vote,
    .append = disk_append,
    .truncate = disk_truncate,
    .snapshot_put = disk_snapshot_put,
    .snapshot_get = disk_snapshot_get,
    .capacity = disk_capacity,
    .close = disk_close,
};
