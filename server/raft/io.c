/* SPDX-License-Identifier: Apache-2.0
 *
 * struct raft_io over disk, link and world. libraft (0.22.1, built without asserts) trusts its io wholly, and has bugs of its own that
 * only the io can keep out:
 *   A  an InstallSnapshot whose snapshot is newer than the leader meant carries the wrong last_term   -> patched in send
 *   B  a RAFT_CHANGE that is not the first entry of an AppendEntries is noted at the wrong index        -> split in send (codec.c), refused by decode
 *   C  an InstallSnapshot during an own snapshot: NULL dereference                                    -> held until the own one is written
 *   D  reordered results corrupt the leader's progress                                               -> FIFO links (peer.c)
 *   E  InstallSnapshot storms                                                                        -> one snapshot read a second, one sent to each
 *   F  an election timeout of 150 ms set after a heartbeat of 15 ms becomes 450                         -> replica.c sets the heartbeat last
 *   G  a dropped InstallSnapshot is not sent again for 30 s                                           -> held, not dropped (C); timeout 2 s (replica.c)
 *   H  a candidate that was told to disrupt the leader goes on to disrupt later ones                  -> flag cleared in send
 *   I  a late RequestVoteResult bumps the term of a follower or leader                                -> dropped unless candidate
 *   K  barrier entries carry 8 bytes of uninitialised heap                                            -> zeroed in append
 *   L  an own snapshot between two membership entries that were applied in one go has an old configuration -> refused in replica.c
 *   M  a sole voter elects itself without a new term, also after a restart or when the leader before it was removed: two
 *      leaders in one term                                                                           -> a new term before: io_load, renew_sole_term
 *   N  entries from index 1 that this server has compacted away meanwhile are appended again at its end -> receive cuts off what the
 *      snapshot covers
 *   O  an AppendEntries that ends before the follower's commit index moves that back: a snapshot then holds more than its
 *      index says                                                                                   -> leader_commit capped in receive
 *   P  a server that is not in its own latest configuration refuses votes, so a leader that removes itself can leave two voters
 *      without a majority                                                                           -> replica_member.c hands over first
 *   Q  a follower that learns in one message that a membership entry is committed and what the next one is never notes the first
 *      as committed: a rollback or a snapshot brings back an older configuration                    -> receive gives it the commit index first
 * A failed write never comes back here: the disk ends the process. Invariant: no method returns an error once raft_start returned, and no
 * callback of the disk runs inside a method. Loop thread.
 */
#include "io.h"

#include "../../common/log.h"
#include "codec.h"
#include "peer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GETS_MAX 8                           /* reads of the snapshot that wait; more are answered with a void one */
#define GET_PAUSE_US 1000000                 /* between two reads of the snapshot */
#define VOID_INDEX ((raft_index)1 << 62)     /* index of the snapshot that send throws away */

struct io_append {
    struct km_io *io;
    struct raft_io_append *req;
};
struct io_put {
    struct km_io *io;
    struct raft_io_snapshot_put *req;
    bool is_own;
};

struct km_io {
    struct raft_io raft_io;
    struct km_world *world;
    struct km_disk *disk;
    struct km_disk_state state;
    const struct km_io_events *events;
    void *arg;
    unsigned plants;
    raft_id id;
    raft_term term;
    raft_term sole_term;         /* taken to lead as the only voter */
    raft_index next_index;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb close;
    bool is_closing;
    unsigned own_puts;           /* own snapshots being written */
    bool has_held;
    struct raft_message held;    /* InstallSnapshot that waits for them; its address is `held_address` */
    char held_address[KM_CODEC_ADDRESS_MAX + 1];
    raft_term receiving_term;    /* of the AppendEntries or InstallSnapshot that libraft is looking at; 0: none */
    raft_term disrupt_term;      /* the only term in which this server may disrupt a leader */
    struct raft_io_snapshot_get *gets[GETS_MAX];
    size_t n_gets;
    bool is_getting;
    uint64_t last_get_us;
    struct {
        uint64_t id, us;
    } sent[GETS_MAX];            /* to whom a snapshot was sent last */
    raft_index got_index;        /* of the snapshot that was read last */
    raft_term got_term;
};

/* Memory for a few words; a server without it cannot keep its promises to libraft. */
static void *must(void *memory)
{
    if (memory == NULL) {
        km_log(KM_LOG_ERROR, "raft: out of memory");
        abort();
    }
    return memory;
}

static struct km_io *self(struct raft_io *io)
{
    return io->impl;
}

static struct raft *raft_of(struct km_io *io)
{
    return io->raft_io.data;
}

/* --- storage --------------------------------------------------------------------------------------------------- */

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)address;
    self(io)->id = id;
    return 0;
}

/* The only voter of the configuration is this server. */
static bool is_sole_voter(const struct km_io *io, const struct raft_configuration *configuration)
{
    unsigned voters = 0;
    bool is_self = false;

    for (unsigned i = 0; i < configuration->n; i++) {
        voters += configuration->servers[i].role == RAFT_VOTER;
        is_self = is_self || (configuration->servers[i].role == RAFT_VOTER && configuration->servers[i].id == io->id);
    }
    return is_self && voters == 1;
}

static bool starts_as_sole_voter(const struct km_io *io)
{
    const struct km_disk_state *state = &io->state;
    struct raft_configuration configuration;
    bool is_sole;

    for (size_t i = state->n_entries; i-- > 0;) {
        if (state->entries[i].type != RAFT_CHANGE || (state->snapshot != NULL && state->start_index + i <= state->snapshot->configuration_index))
            continue;
        if (raft_configuration_decode(&state->entries[i].buf, &configuration) != 0)
            must(NULL);
        is_sole = is_sole_voter(io, &configuration);
        raft_configuration_close(&configuration);
        return is_sole;
    }
    return state->snapshot != NULL && is_sole_voter(io, &state->snapshot->configuration);
}

/* A follower that became the only voter will elect itself: it gets a new term first. A refused request for its vote is what makes libraft
 * take one. */
static void renew_sole_term(struct km_io *io)
{
    struct raft *raft = raft_of(io);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE, .server_id = io->id, .server_address = ""};

    if (raft->state != RAFT_FOLLOWER || raft->current_term == io->sole_term || !is_sole_voter(io, &raft->configuration) || (io->plants & KM_IO_PLANT_M))
        return;
    io->sole_term = raft->current_term + 1;
    m.request_vote = (struct raft_request_vote){.version = 2, .term = io->sole_term, .candidate_id = io->id, .disrupt_leader = true};
    io->recv(&io->raft_io, &m); /* the refusal goes to this server itself: send drops it */
}

static int io_load(struct raft_io *raft_io, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
                   raft_index *start_index, struct raft_entry *entries[], size_t *n_entries)
{
    struct km_io *io = self(raft_io);

    if (starts_as_sole_voter(io) && !(io->plants & KM_IO_PLANT_M)) {
        io->state.term++;
        io->state.voted_for = 0;
        io->disk->ops->set_term(io->disk, io->state.term);
        io->sole_term = io->state.term;
    }
    *term = io->term = io->state.term;
    *voted_for = io->state.voted_for;
    *snapshot = io->state.snapshot;
    *start_index = io->state.start_index;
    *entries = io->state.entries;
    *n_entries = io->state.n_entries;
    io->next_index = io->state.start_index + io->state.n_entries;
    memset(&io->state, 0, sizeof(io->state));
    return 0;
}

static int io_start(struct raft_io *raft_io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct km_io *io = self(raft_io);

    (void)msecs; /* replica.c ticks in this rhythm */
    io->tick = tick;
    io->recv = recv;
    return 0;
}

static int io_bootstrap(struct raft_io *raft_io, const struct raft_configuration *configuration)
{
    (void)raft_io;
    (void)configuration;
    return RAFT_CANTBOOTSTRAP; /* provisioning writes the first entry through the disk */
}

static int io_recover(struct raft_io *raft_io, const struct raft_configuration *configuration)
{
    (void)raft_io;
    (void)configuration;
    return RAFT_INVALID;
}

static int io_set_term(struct raft_io *raft_io, raft_term term)
{
    struct km_io *io = self(raft_io);

    if (term == io->term) /* libraft sets the term again with each vote; that must not forget one already sent */
        return 0;
    io->term = term;
    io->disk->ops->set_term(io->disk, term);
    return 0;
}

static int io_set_vote(struct raft_io *raft_io, raft_id server_id)
{
    struct km_io *io = self(raft_io);

    io->disk->ops->set_vote(io->disk, server_id);
    return 0;
}

static void on_append(void *arg)
{
    struct io_append *append = arg;
    struct km_io *io = append->io;

    append->req->cb(append->req, io->is_closing ? RAFT_CANCELED : 0);
    free(append);
    if (!io->is_closing)
        io->events->after(io->arg);
}

static int io_append(struct raft_io *raft_io, struct raft_io_append *req, const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct km_io *io = self(raft_io);
    struct io_append *append = must(malloc(sizeof(*append)));

    for (unsigned i = 0; i < n; i++)
        if (entries[i].type == RAFT_BARRIER)
            memset(entries[i].buf.base, 0, entries[i].buf.len);
    req->cb = cb;
    *append = (struct io_append){io, req};
    io->disk->ops->append(io->disk, io->next_index, entries, n, on_append, append);
    io->next_index += n;
    return 0;
}

static int io_truncate(struct raft_io *raft_io, raft_index index)
{
    struct km_io *io = self(raft_io);

    if (index < io->next_index) { /* libraft truncates before every append, mostly nothing */
        io->disk->ops->truncate(io->disk, index);
        io->next_index = index;
    }
    return 0;
}

/* --- snapshots ------------------------------------------------------------------------------------------------- */

static void deliver_held(struct km_io *io)
{
    if (!io->has_held)
        return;
    io->has_held = false;
    if (io->is_closing || io->recv == NULL || raft_of(io)->snapshot.installing) {
        km_codec_drop(&io->held);
        return;
    }
    io->held.server_address = io->held_address;
    io->receiving_term = io->held.install_snapshot.term;
    io->recv(&io->raft_io, &io->held);
    io->receiving_term = 0;
}

static void on_put(void *arg)
{
    struct io_put *put = arg;
    struct km_io *io = put->io;

    put->req->cb(put->req, io->is_closing ? RAFT_CANCELED : 0);
    if (put->is_own) {
        assert(io->own_puts > 0);
        io->own_puts--;
    }
    free(put);
    if (io->own_puts == 0)
        deliver_held(io);
    if (!io->is_closing)
        io->events->after(io->arg);
}

static int io_snapshot_put(struct raft_io *raft_io, unsigned trailing, struct raft_io_snapshot_put *req, const struct raft_snapshot *snapshot,
                           raft_io_snapshot_put_cb cb)
{
    struct km_io *io = self(raft_io);
    struct io_put *put = must(malloc(sizeof(*put)));

    req->cb = cb;
    *put = (struct io_put){io, req, trailing > 0};
    if (trailing > 0)
        io->own_puts++;
    else
        io->next_index = snapshot->index + 1;
    io->disk->ops->snapshot_put(io->disk, trailing, snapshot, on_put, put);
    return 0;
}

/* Completes a read of the snapshot without one: libraft's only way out that frees everything is a message that send throws away. */
static void complete_void(struct raft_io_snapshot_get *req)
{
    struct raft_snapshot *snapshot = must(raft_calloc(1, sizeof(*snapshot)));

    snapshot->index = VOID_INDEX;
    snapshot->bufs = must(raft_calloc(1, sizeof(*snapshot->bufs)));
    snapshot->n_bufs = 1;
    req->cb(req, snapshot, 0);
}

static struct raft_snapshot *copy_snapshot(const struct raft_snapshot *snapshot)
{
    struct raft_snapshot *copy = must(raft_malloc(sizeof(*copy)));

    *copy = *snapshot;
    raft_configuration_init(&copy->configuration);
    for (unsigned i = 0; i < snapshot->configuration.n; i++) {
        const struct raft_server *server = &snapshot->configuration.servers[i];

        if (raft_configuration_add(&copy->configuration, server->id, server->address, server->role) != 0)
            must(NULL);
    }
    copy->bufs = must(raft_malloc(sizeof(*copy->bufs)));
    copy->bufs[0].len = snapshot->bufs[0].len;
    copy->bufs[0].base = must(raft_malloc(snapshot->bufs[0].len + 1));
    memcpy(copy->bufs[0].base, snapshot->bufs[0].base, snapshot->bufs[0].len);
    return copy;
}

/* One read serves everyone who waits: libraft does not say for whom it asks, and asks many times for the same server. */
static void on_get(void *arg, struct raft_snapshot *snapshot)
{
    struct km_io *io = arg;
    struct raft_io_snapshot_get *gets[GETS_MAX];
    size_t n = io->n_gets;

    io->is_getting = false;
    io->n_gets = 0;
    io->got_index = snapshot->index;
    io->got_term = snapshot->term;
    memcpy(gets, io->gets, n * sizeof(gets[0]));
    for (size_t i = 0; i < n; i++) {
        struct raft_snapshot *own = i + 1 < n ? copy_snapshot(snapshot) : snapshot;

        gets[i]->cb(gets[i], own, 0); /* sends it, or does not if that server was sent one a moment ago */
    }
    if (!io->is_closing)
        io->events->after(io->arg);
}

static void start_get(struct km_io *io)
{
    uint64_t now_us = io->world->boottime_us(io->world);

    if (io->n_gets == 0 || io->is_getting || io->is_closing || (io->last_get_us != 0 && now_us < io->last_get_us + GET_PAUSE_US))
        return;
    io->is_getting = true;
    io->last_get_us = now_us;
    io->disk->ops->snapshot_get(io->disk, on_get, io);
}

static int io_snapshot_get(struct raft_io *raft_io, struct raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb)
{
    struct km_io *io = self(raft_io);

    req->cb = cb;
    if (io->n_gets == GETS_MAX) {
        complete_void(req);
        return 0;
    }
    io->gets[io->n_gets++] = req;
    start_get(io);
    return 0;
}

/* True if `id` was not sent a snapshot a moment ago; then it counts as sent one now. */
static bool may_send_snapshot(struct km_io *io, uint64_t id)
{
    uint64_t now_us = io->world->boottime_us(io->world);
    size_t slot = 0;

    for (size_t i = 0; i < GETS_MAX; i++) {
        if (io->sent[i].id == id && io->sent[i].us + GET_PAUSE_US > now_us)
            return false;
        if (io->sent[i].id == id || io->sent[i].us < io->sent[slot].us)
            slot = i;
        if (io->sent[i].id == id)
            break;
    }
    io->sent[slot].id = id;
    io->sent[slot].us = now_us;
    return true;
}

/* --- messages -------------------------------------------------------------------------------------------------- */

static void send_part(struct km_io *io, const struct raft_message *message, unsigned first, unsigned n, raft_term ack_term)
{
    uint8_t *data = NULL;
    size_t len = 0;
    enum km_err err = km_codec_encode(message, first, n, KM_PEER_HEAD_LEN, &data, &len);

    if (err != KM_OK) { /* lost, as on a network; libraft sends again */
        km_log(KM_LOG_WARN, "raft: cannot send message of type %d to server %llu: %s", message->type, message->server_id, km_err_text(err));
        return;
    }
    io->events->send(io->arg, message->server_id, data, len, ack_term);
}

static int io_send(struct raft_io *raft_io, struct raft_io_send *req, const struct raft_message *message, raft_io_send_cb cb)
{
    struct km_io *io = self(raft_io);
    struct raft_message m = *message;
    unsigned first = 0, n;

    if (io->is_closing || m.server_id == io->id)
        goto out;
    switch (m.type) {
    case RAFT_APPEND_ENTRIES:
        do {
            n = io->plants & KM_IO_PLANT_B ? m.append_entries.n_entries : km_codec_part(&m.append_entries, first);
            send_part(io, &m, first, n, 0);
            first += n;
        } while (first < m.append_entries.n_entries);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        if (io->receiving_term != 0 && m.append_entries_result.term > io->receiving_term)
            m.append_entries_result.last_log_index = 0; /* not set by libraft when it rejects an old term: stack bytes */
        send_part(io, &m, 0, 0, m.append_entries_result.rejected == 0 ? m.append_entries_result.term : 0);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        if (m.install_snapshot.last_index == VOID_INDEX || !may_send_snapshot(io, m.server_id))
            break;
        if (m.install_snapshot.last_index == io->got_index && !(io->plants & KM_IO_PLANT_A))
            m.install_snapshot.last_term = io->got_term;
        send_part(io, &m, 0, 0, 0);
        break;
    case RAFT_REQUEST_VOTE:
        if (m.request_vote.term != io->disrupt_term && !(io->plants & KM_IO_PLANT_DISRUPT))
            m.request_vote.disrupt_leader = false;
        send_part(io, &m, 0, 0, 0);
        break;
    default:
        send_part(io, &m, 0, 0, 0);
    }
out:
    req->cb = cb;
    cb(req, 0);
    return 0;
}

/* What this server's snapshot covers is committed, hence the same in every leader's log: the message is taken to begin behind it. */
static void skip_compacted(struct km_io *io, struct raft_append_entries *args)
{
    const struct raft_trail *trail = &raft_of(io)->trail;
    raft_index covered = trail->snapshot.index;
    unsigned n;

    if (args->prev_log_index >= covered || args->prev_log_index > trail->offset || (io->plants & KM_IO_PLANT_N))
        return;
    n = covered - args->prev_log_index < args->n_entries ? (unsigned)(covered - args->prev_log_index) : args->n_entries;
    args->prev_log_index = covered;
    args->prev_log_term = trail->snapshot.term;
    args->n_entries -= n;
    if (args->n_entries > 0) {
        memmove(args->entries, args->entries + n, args->n_entries * sizeof(*args->entries)); /* each knows the batch */
    } else if (n > 0) {
        raft_free(args->entries[0].batch);
        raft_free(args->entries);
        args->entries = NULL;
    }
}

static void keep_commit_index(struct km_io *io, struct raft_append_entries *args)
{
    raft_index commit = raft_of(io)->commit_index;

    if (args->prev_log_index + args->n_entries < commit && args->leader_commit > commit && !(io->plants & KM_IO_PLANT_O))
        args->leader_commit = commit;
}

/* A leader proposes a membership entry only when the one before it is committed, so the commit index that comes with it covers that one. */
static void commit_before_change(struct km_io *io, const struct raft_message *message)
{
    struct raft_message m = *message;

    if (m.append_entries.n_entries == 0 || m.append_entries.entries[0].type != RAFT_CHANGE || m.append_entries.prev_log_index == 0 ||
        (io->plants & KM_IO_PLANT_Q))
        return;
    m.append_entries.entries = NULL;
    m.append_entries.n_entries = 0;
    keep_commit_index(io, &m.append_entries);
    io->recv(&io->raft_io, &m);
}

enum km_err km_io_receive(struct km_io *io, uint64_t id, const char *address, const uint8_t *data, size_t len,
                          void (*before)(void *arg, raft_term term))
{
    struct raft_message m;
    enum km_err err;

    if (io->recv == NULL || io->is_closing) /* not started yet (boot wait): lost, as on a network */
        return KM_OK;
    err = km_codec_decode(data, len, &m);
    if (err != KM_OK)
        return err;
    m.server_id = id;
    m.server_address = address;

    switch (m.type) {
    case RAFT_APPEND_ENTRIES:
        skip_compacted(io, &m.append_entries);
        keep_commit_index(io, &m.append_entries);
        io->receiving_term = m.append_entries.term;
        before(io->arg, m.append_entries.term);
        commit_before_change(io, &m);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        if (raft_of(io)->snapshot.installing) { /* libraft would leak it */
            km_codec_drop(&m);
            return KM_OK;
        }
        if (io->own_puts > 0) {
            if (io->has_held)
                km_codec_drop(&io->held);
            io->held = m;
            io->has_held = true;
            snprintf(io->held_address, sizeof(io->held_address), "%s", address);
            return KM_OK;
        }
        io->receiving_term = m.install_snapshot.term;
        before(io->arg, m.install_snapshot.term);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        if (raft_state(raft_of(io)) != RAFT_CANDIDATE)
            return KM_OK;
        break;
    case RAFT_TIMEOUT_NOW:
        io->disrupt_term = m.timeout_now.term + 1;
        break;
    default:
        break;
    }
    io->recv(&io->raft_io, &m);
    io->receiving_term = 0;
    return KM_OK;
}

/* --- clock, life ----------------------------------------------------------------------------------------------- */

static raft_time io_time(struct raft_io *raft_io)
{
    struct km_io *io = self(raft_io);

    return io->world->boottime_us(io->world) / 1000; /* read anew for each message: a stale time would shorten election timers */
}

static int io_random(struct raft_io *raft_io, int min, int max)
{
    struct km_io *io = self(raft_io);

    return min + (int)(io->world->random(io->world) % (uint64_t)((int64_t)max - min + 1));
}

static void on_closed(void *arg)
{
    struct km_io *io = arg;

    io->close(&io->raft_io);
}

static void io_close(struct raft_io *raft_io, raft_io_close_cb cb)
{
    struct km_io *io = self(raft_io);

    io->is_closing = true;
    io->close = cb;
    while (io->n_gets > 0 && !io->is_getting) /* else the read that is under way completes them */
        complete_void(io->gets[--io->n_gets]);
    if (io->has_held)
        km_codec_drop(&io->held);
    io->has_held = false;
    io->disk->ops->close(io->disk, on_closed, io);
}

void km_io_tick(struct km_io *io)
{
    if (io->tick == NULL || io->is_closing)
        return;
    io->raft_io.capacity = io->disk->ops->capacity(io->disk);
    start_get(io);
    renew_sole_term(io);
    io->tick(&io->raft_io);
}

/* libraft has no call for it: it is what a reply from a later term does. */
void km_io_step_down(struct km_io *io)
{
    struct raft *raft = raft_of(io);
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = io->id, .server_address = ""};

    if (raft->state != RAFT_LEADER || io->is_closing)
        return;
    m.append_entries_result = (struct raft_append_entries_result){.version = 1, .term = raft->current_term + 1};
    io->recv(&io->raft_io, &m);
}

struct raft_io *km_io_raft(struct km_io *io)
{
    return &io->raft_io;
}

void km_io_set_plants(struct km_io *io, unsigned plants)
{
    io->plants = plants;
}

enum km_err km_io_new(struct km_world *world, struct km_disk *disk, struct km_disk_state *state, const struct km_io_events *events,
                      void *arg, struct km_io **ret)
{
    struct km_io *io = calloc(1, sizeof(*io));

    if (io == NULL)
        return KM_ERR_NOMEM;
    io->world = world;
    io->disk = disk;
    io->state = *state;
    memset(state, 0, sizeof(*state));
    io->events = events;
    io->arg = arg;
    io->raft_io = (struct raft_io){
        .version = 2,
        .capacity = disk->ops->capacity(disk),
        .impl = io,
        .init = io_init,
        .close = io_close,
        .load = io_load,
        .start = io_start,
        .bootstrap = io_bootstrap,
        .recover = io_recover,
        .set_term = io_set_term,
        .set_vote = io_set_vote,
        .send = io_send,
        .append = io_append,
        .truncate = io_truncate,
        .snapshot_put = io_snapshot_put,
        .snapshot_get = io_snapshot_get,
        .time = io_time,
        .random = io_random,
    };
    *ret = io;
    return KM_OK;
}

void km_io_free(struct km_io *io)
{
    if (io == NULL)
        return;
    for (size_t i = 0; i < io->state.n_entries; i++)
        raft_free(io->state.entries[i].buf.base);
    raft_free(io->state.entries);
    if (io->state.snapshot != NULL) {
        raft_configuration_close(&io->state.snapshot->configuration);
        raft_free(io->state.snapshot->bufs[0].base);
        raft_free(io->state.snapshot->bufs);
        raft_free(io->state.snapshot);
    }
    free(io);
}

enum km_err km_io_check_state(const struct km_disk_state *state, char *ret_message, size_t message_len)
{
    const struct raft_snapshot *snapshot = state->snapshot;
    raft_index last = state->start_index + state->n_entries - 1;
    raft_term term = 0;

    if (state->start_index == 0 || (snapshot == NULL && state->start_index != 1) || (snapshot != NULL && state->start_index > snapshot->index + 1) ||
        (snapshot != NULL && last < snapshot->index)) {
        snprintf(ret_message, message_len, "log and snapshot do not join");
        return KM_ERR_CORRUPT;
    }
    if (state->term == 0 && (state->voted_for != 0 || snapshot != NULL || state->n_entries != 0)) {
        snprintf(ret_message, message_len, "entries or a vote without a term");
        return KM_ERR_CORRUPT;
    }
    if (snapshot != NULL && (snapshot->index == 0 || snapshot->term == 0 || snapshot->term > state->term || snapshot->n_bufs != 1 || snapshot->configuration.n == 0)) {
        snprintf(ret_message, message_len, "the snapshot's description is damaged");
        return KM_ERR_CORRUPT;
    }
    for (size_t i = 0; i < state->n_entries; i++) {
        const struct raft_entry *entry = &state->entries[i];
        bool is_first = snapshot == NULL && i == 0;

        if (entry->term < term || entry->term == 0 || entry->term > state->term || entry->type < RAFT_COMMAND || entry->type > RAFT_CHANGE ||
            (is_first && entry->type != RAFT_CHANGE) ||
            (entry->type == RAFT_CHANGE && km_codec_check_configuration(entry->buf.base, entry->buf.len) != KM_OK)) {
            snprintf(ret_message, message_len, "entry %llu is damaged", state->start_index + i);
            return KM_ERR_CORRUPT;
        }
        term = entry->term;
    }
    return KM_OK;
}
