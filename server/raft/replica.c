/* SPDX-License-Identifier: Apache-2.0
 *
 * The replica's life and its dealings with libraft: start with the boot wait, ticks, what to do after each event, the state machine, stop.
 *
 * libraft completes requests only into a queue of its own that it does not empty for us, so km_replica_pump does, after each event and
 * never inside one. Invariants: nothing is proposed before a barrier of the own term was applied; libraft's state is compared with what was seen last
 * before any message leaves, so that a lease ends before a vote is given. Loop thread, except what replica.h marks [any].
 */
#include "replica_private.h"

#include "../../common/log.h"
#include "codec.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRANSFER_TYPE (RAFT_CHANGE + 1) /* libraft's membership.h; the only one that raft.h does not name */

uint64_t km_replica_now_us(const struct km_replica *replica)
{
    return replica->world->boottime_us(replica->world);
}

void km_replica_fatal(struct km_replica *replica, const char *why)
{
    if (replica->is_fatal)
        return;
    replica->is_fatal = true;
    km_lease_drop(&replica->lease);
    replica->on_fatal(replica->fatal_arg, why);
}

bool km_replica_is_ready(const struct km_replica *replica)
{
    return atomic_load(&replica->is_leader) || ((replica->plants & KM_REPLICA_PLANT_NO_BARRIER) && replica->seen_state == RAFT_LEADER);
}

uint64_t km_replica_leader(struct km_replica *replica)
{
    raft_id id = 0;
    const char *address = NULL;

    if (replica->is_started)
        raft_leader(&replica->raft, &id, &address);
    return id;
}

bool km_replica_is_fresh(const struct km_replica *replica)
{
    return km_lease_is_fresh(&replica->lease, km_replica_now_us(replica));
}

bool km_replica_is_leader(const struct km_replica *replica)
{
    return atomic_load(&replica->is_leader);
}

/* --- the state machine ----------------------------------------------------------------------------------------- */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct km_replica *replica = fsm->data;
    struct km_applied *applied = calloc(1, sizeof(*applied));
    enum km_err err = KM_ERR_NOMEM;
    char why[160];

    *result = NULL;
    if (applied != NULL)
        err = km_store_apply(replica->store, replica->raft.last_applied + 1, buf->base, buf->len, &applied->result);
    if (err != KM_OK) {
        snprintf(why, sizeof(why), "entry %llu of the log cannot be applied: %s", replica->raft.last_applied + 1, km_err_text(err));
        free(applied);
        km_replica_fatal(replica, why);
        return RAFT_SHUTDOWN; /* nothing is applied any more */
    }
    applied->next = replica->applied_results;
    replica->applied_results = applied;
    *result = applied;
    return 0;
}

/* The disk copies the parts on its own thread; meanwhile the store keeps them alive. */
static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct km_replica *replica = fsm->data;
    struct km_part *parts = NULL;
    size_t n = 0;
    enum km_err err;

    _Static_assert(sizeof(struct km_part) == sizeof(struct raft_buffer) && offsetof(struct km_part, len) == offsetof(struct raft_buffer, len),
                   "a part is a raft_buffer");
    /* Entries were applied in one go, a membership entry among them, and libraft has not taken note of that one yet: it would store the
     * configuration before it, and lose the change when it starts from this snapshot. It asks again at the next event. */
    if (replica->raft.configuration_uncommitted_index != 0 && replica->raft.configuration_uncommitted_index <= replica->raft.last_applied &&
        !(replica->plants & KM_REPLICA_PLANT_BUG_L))
        return RAFT_BUSY;
    err = km_store_image(replica->store, &parts, &n);
    if (err != KM_OK || n > UINT_MAX) {
        km_log(KM_LOG_WARN, "raft: no snapshot: %s", km_err_text(err));
        return RAFT_NOMEM; /* tried again at the next event */
    }
    *bufs = (struct raft_buffer *)parts;
    *n_bufs = (unsigned)n;
    return 0;
}

static int fsm_snapshot_finalize(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    (void)fsm;
    km_store_image_free((struct km_part *)*bufs, *n_bufs);
    *bufs = NULL;
    *n_bufs = 0;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct km_replica *replica = fsm->data;
    enum km_err err = km_store_restore(replica->store, buf->base, buf->len);
    char why[120];

    if (err != KM_OK) {
        snprintf(why, sizeof(why), "the snapshot cannot be restored: %s", km_err_text(err));
        km_replica_fatal(replica, why);
        return RAFT_CORRUPT;
    }
    raft_free(buf->base);
    buf->base = NULL;
    return 0;
}

/* --- after each event ------------------------------------------------------------------------------------------ */

static void drain_completed(struct km_replica *replica)
{
    void **head = replica->raft.legacy.requests;

    while (head[0] != (void *)head) {
        void **link = head[0], **next = link[0], **prev = link[1];
        struct raft_apply *req = (struct raft_apply *)((char *)link - offsetof(struct raft_apply, queue));

        prev[0] = next;
        next[1] = prev;
        switch (req->type) {
        case RAFT_COMMAND:
            req->cb(req, req->status, req->result);
            break;
        case RAFT_BARRIER:
            ((struct raft_barrier *)req)->cb((struct raft_barrier *)req, req->status);
            break;
        case RAFT_CHANGE:
            ((struct raft_change *)req)->cb((struct raft_change *)req, req->status);
            break;
        case TRANSFER_TYPE:
            ((struct raft_transfer *)req)->cb((struct raft_transfer *)req);
            break;
        default:
            assert(!"a request of a type that libraft 0.22.1 does not have");
        }
    }
    while (replica->applied_results != NULL) {
        struct km_applied *applied = replica->applied_results;

        replica->applied_results = applied->next;
        if (applied->result != NULL)
            kml__result__free_unpacked(applied->result, NULL);
        free(applied);
    }
}

static void on_barrier(struct raft_barrier *req, int status)
{
    struct km_replica *replica = req->data;

    replica->is_barrier_out = false;
    if (status != 0 || replica->raft.state != RAFT_LEADER || replica->raft.current_term != replica->barrier_term)
        return;
    km_replica_sync_lease(replica);
    km_lease_set_barrier(&replica->lease, km_replica_now_us(replica));
    atomic_store(&replica->is_leader, true);
    km_log(KM_LOG_INFO, "raft: leader of term %llu", replica->barrier_term);
}

static void start_barrier(struct km_replica *replica)
{
    if (replica->seen_state != RAFT_LEADER || replica->is_barrier_out || atomic_load(&replica->is_leader) || replica->raft.leader_state.transferee != 0)
        return;
    replica->barrier.data = replica;
    replica->barrier_term = replica->raft.current_term;
    replica->is_barrier_out = raft_barrier(&replica->raft, &replica->barrier, on_barrier) == 0; /* else at the next tick */
}

void km_replica_sync_lease(struct km_replica *replica)
{
    bool is_leader = replica->raft.state == RAFT_LEADER;

    if (replica->lease.is_leader && !is_leader)
        atomic_store(&replica->is_leader, false);
    km_lease_set_term(&replica->lease, replica->raft.current_term, is_leader, km_replica_now_us(replica));
}

/* A change of state, term, leader or configuration since the last look. */
static void look(struct km_replica *replica)
{
    struct raft *raft = &replica->raft;
    uint64_t leader = km_replica_leader(replica);

    if (raft->state != replica->seen_state || raft->current_term != replica->seen_term || leader != replica->seen_leader) {
        if (raft->state != RAFT_LEADER || raft->current_term != replica->seen_term)
            atomic_store(&replica->is_leader, false);
        km_replica_sync_lease(replica);
        if (leader != replica->seen_leader && leader != 0 && leader != replica->conf.id)
            km_log(KM_LOG_INFO, "raft: following server %llu in term %llu", (unsigned long long)leader, raft->current_term);
        replica->seen_state = raft->state;
        replica->seen_term = raft->current_term;
        replica->seen_leader = leader;
    }
    if (raft->configuration_committed_index != replica->seen_committed || raft->configuration_uncommitted_index != replica->seen_uncommitted) {
        replica->seen_committed = raft->configuration_committed_index;
        replica->seen_uncommitted = raft->configuration_uncommitted_index;
        km_replica_link_members(replica);
    }
}

static void take_inbox(struct km_replica *replica)
{
    struct km_requests taken = STAILQ_HEAD_INITIALIZER(taken);
    struct km_request *request;

    pthread_mutex_lock(&replica->lock);
    STAILQ_CONCAT(&taken, &replica->inbox);
    pthread_mutex_unlock(&replica->lock);
    while ((request = STAILQ_FIRST(&taken)) != NULL) {
        STAILQ_REMOVE_HEAD(&taken, link);
        if (request->proposal != NULL)
            km_proposals_add(replica, request->proposal);
        if (request->read != NULL)
            km_reads_add(replica, request->read);
        if (request->change != NULL)
            km_changes_add(replica, request->change);
        free(request);
    }
}

static void publish(struct km_replica *replica)
{
    struct km_replica_status status = {
        .term = replica->raft.current_term,
        .commit_index = raft_commit_index(&replica->raft),
        .applied = replica->raft.last_applied,
        .leader = km_replica_leader(replica),
    };
    const struct raft_configuration *configuration = &replica->raft.configuration;
    uint64_t now_us = km_replica_now_us(replica), recent_us = (uint64_t)replica->conf.election_ms * 1000;

    pthread_mutex_lock(&replica->lock);
    for (unsigned i = 0; i < configuration->n && status.n_members < KM_REPLICA_MEMBERS_MAX; i++) {
        struct km_member *member = &replica->status_members[status.n_members];
        const struct km_replica_peer *peer = km_replica_peer(replica, configuration->servers[i].id, false);
        bool is_self = configuration->servers[i].id == replica->conf.id;

        if (km_member_unpack(configuration->servers[i].address, member) != KM_OK)
            continue;
        member->id = configuration->servers[i].id;
        member->role = configuration->servers[i].role;
        member->is_leader = member->id == status.leader;
        member->is_up = is_self || (peer != NULL && (peer->is_up || (peer->heard_us != 0 && peer->heard_us + recent_us > now_us)));
        member->applied = is_self ? status.applied : peer != NULL ? peer->applied : 0;
        status.n_members++;
    }
    replica->status = status;
    pthread_mutex_unlock(&replica->lock);
}

void km_replica_status(struct km_replica *replica, struct km_replica_status *ret, struct km_member *ret_members, size_t max)
{
    pthread_mutex_lock(&replica->lock);
    *ret = replica->status;
    if (ret->n_members > max)
        ret->n_members = max;
    for (size_t i = 0; i < ret->n_members; i++)
        ret_members[i] = replica->status_members[i];
    pthread_mutex_unlock(&replica->lock);
    ret->applied = atomic_load(&replica->applied);
    ret->is_fresh = km_replica_is_fresh(replica);
}

static void run_phase(struct km_replica *replica);

void km_replica_pump(struct km_replica *replica)
{
    if (!replica->is_started || replica->phase == KM_CLOSING)
        return;
    drain_completed(replica);
    look(replica);
    if (replica->raft.last_applied != atomic_load(&replica->applied)) {
        atomic_store(&replica->applied, replica->raft.last_applied);
        km_lease_on_applied(&replica->lease, replica->raft.last_applied);
    }
    take_inbox(replica);
    start_barrier(replica);
    km_proposals_run(replica);
    km_reads_run(replica);
    km_changes_run(replica);
    look(replica); /* what was just proposed may have changed the configuration */
    run_phase(replica);
}

uint64_t km_replica_cluster_time_ms(const struct km_replica *replica)
{
    int64_t offsets[KM_REPLICA_PEERS_MAX + 1] = {0};
    uint64_t recent_us = km_replica_now_us(replica) - (uint64_t)replica->conf.election_ms * 1000;
    size_t n = 1;

    /* The median of the clocks of those who were heard of: one wrong clock cannot move it. */
    for (size_t i = 0; i < replica->n_peers; i++) {
        int64_t offset = replica->peers[i].clock_offset_ms;
        size_t at = n;

        if (replica->peers[i].heard_us == 0 || replica->peers[i].heard_us < recent_us)
            continue;
        for (; at > 0 && offsets[at - 1] > offset; at--)
            offsets[at] = offsets[at - 1];
        offsets[at] = offset;
        n++;
    }
    return replica->world->utc_ms(replica->world) + (uint64_t)offsets[(n - 1) / 2];
}

/* --- start ----------------------------------------------------------------------------------------------------- */

static void on_wake(void *arg)
{
    struct km_replica *replica = arg;

    km_replica_pump(replica);
}

static void io_send(void *arg, uint64_t id, uint8_t *data, size_t len, raft_term ack_term)
{
    km_replica_send(arg, id, KM_PEER_RAFT, data, len, ack_term);
}

static void io_after(void *arg)
{
    km_replica_pump(arg);
}

static const struct km_io_events io_events = {.send = io_send, .after = io_after};

static enum km_err start_raft(struct km_replica *replica, char *ret_message, size_t message_len)
{
    struct raft *raft = &replica->raft;
    int rv = raft_start(raft);

    if (rv != 0) {
        snprintf(ret_message, message_len, "raft does not start: %s %s", raft_strerror(rv), raft_errmsg(raft));
        return KM_ERR_CORRUPT;
    }
    replica->is_started = true;
    replica->seen_state = RAFT_FOLLOWER;
    atomic_store(&replica->applied, raft->last_applied);
    km_replica_link_members(replica);
    km_replica_pump(replica);
    publish(replica);
    return KM_OK;
}

static void on_tick(void *arg)
{
    struct km_replica *replica = arg;
    char message[256] = "";

    if (replica->phase == KM_CLOSING || replica->is_fatal)
        return;
    if (!replica->is_started) {
        if (km_replica_now_us(replica) >= replica->boot_end_us && start_raft(replica, message, sizeof(message)) != KM_OK)
            km_replica_fatal(replica, message);
        return;
    }
    km_io_tick(replica->io);
    km_replica_sync_lease(replica);
    km_lease_tick(&replica->lease, km_replica_now_us(replica));
    km_replica_pump(replica);
    km_replica_check_removed(replica);
    publish(replica);
}

static void free_replica(struct km_replica *replica)
{
    km_io_free(replica->io);
    pthread_mutex_destroy(&replica->lock);
    free(replica->self_address);
    free(replica->joining_peers);
    raft_configuration_close(&replica->learned);
    free(replica);
}

enum km_err km_replica_start(const struct km_replica_conf *conf, struct km_world *world, struct km_disk *disk, struct km_link *link,
                             struct km_store *store, void (*on_fatal)(void *arg, const char *why), void *arg, struct km_replica **ret,
                             char *ret_message, size_t message_len)
{
    struct km_disk_state state;
    struct km_replica *replica = NULL;
    enum km_err err;

    memset(&state, 0, sizeof(state));
    ret_message[0] = 0;
    err = disk->ops->load(disk, &state, ret_message, message_len);
    if (err != KM_OK)
        return err;
    err = km_io_check_state(&state, ret_message, message_len);
    if (err != KM_OK)
        return err; /* what was loaded is lost: the server does not go on */

    replica = calloc(1, sizeof(*replica));
    if (replica == NULL)
        return KM_ERR_NOMEM;
    pthread_mutex_init(&replica->lock, NULL);
    replica->conf = *conf;
    replica->conf.election_ms = conf->election_ms != 0 ? conf->election_ms : 300;
    replica->conf.heartbeat_ms = conf->heartbeat_ms != 0 ? conf->heartbeat_ms : 30;
    replica->conf.snapshot_threshold = conf->snapshot_threshold != 0 ? conf->snapshot_threshold : 8192;
    replica->conf.snapshot_trailing = conf->snapshot_trailing != 0 ? conf->snapshot_trailing : 8192;
    replica->self_address = strdup(conf->self_address);
    replica->joining_peers = calloc(conf->n_peers + 1, sizeof(*replica->joining_peers));
    err = KM_ERR_NOMEM;
    if (replica->self_address == NULL || replica->joining_peers == NULL)
        goto out;
    for (size_t i = 0; i < conf->n_peers; i++)
        replica->joining_peers[i] = conf->peers[i];
    replica->conf.self_address = replica->self_address;
    replica->conf.peers = replica->joining_peers;
    replica->world = world;
    replica->link = link;
    replica->store = store;
    replica->on_fatal = on_fatal;
    replica->fatal_arg = arg;
    TAILQ_INIT(&replica->proposals);
    TAILQ_INIT(&replica->reads);
    TAILQ_INIT(&replica->asked);
    TAILQ_INIT(&replica->indexed);
    TAILQ_INIT(&replica->changes);
    STAILQ_INIT(&replica->inbox);
    do
        replica->epoch = world->random(world);
    while (replica->epoch == 0);
    km_lease_init(&replica->lease, conf->id, replica->conf.election_ms);
    replica->boot_end_us = world->boottime_us(world) + (uint64_t)replica->conf.election_ms * 1000;

    err = km_io_new(world, disk, &state, &io_events, replica, &replica->io);
    if (err != KM_OK)
        goto out;
    replica->fsm = (struct raft_fsm){.version = 2,
                                     .data = replica,
                                     .apply = fsm_apply,
                                     .snapshot = fsm_snapshot,
                                     .restore = fsm_restore,
                                     .snapshot_finalize = fsm_snapshot_finalize};
    err = KM_ERR_NOMEM;
    if (raft_init(&replica->raft, km_io_raft(replica->io), &replica->fsm, conf->id, conf->self_address) != 0)
        goto out;
    replica->raft.data = replica;
    raft_set_election_timeout(&replica->raft, replica->conf.election_ms);
    raft_set_heartbeat_timeout(&replica->raft, replica->conf.heartbeat_ms);
    raft_set_install_snapshot_timeout(&replica->raft, KM_REPLICA_INSTALL_MS);
    raft_set_max_inflight_entries(&replica->raft, KM_REPLICA_INFLIGHT);
    raft_set_snapshot_threshold(&replica->raft, replica->conf.snapshot_threshold);
    raft_set_snapshot_trailing(&replica->raft, replica->conf.snapshot_trailing);
    raft_set_pre_vote(&replica->raft, true);

    link->ops->listen(link, &km_replica_link_events, replica);
    km_replica_link_members(replica);
    world->set_wake(world, on_wake, replica);
    err = conf->skip_boot_wait ? start_raft(replica, ret_message, message_len) : KM_OK;
    if (err != KM_OK)
        goto out;
    world->set_timer(world, replica->conf.heartbeat_ms, on_tick, replica);
    *ret = replica;
    return KM_OK;
out:
    free_replica(replica);
    return err;
}

/* --- stop ------------------------------------------------------------------------------------------------------ */

static void on_raft_closed(struct raft *raft)
{
    struct km_replica *replica = raft->data;
    void (*cb)(void *) = replica->stop_cb;
    void *arg = replica->stop_arg;

    free_replica(replica);
    cb(arg);
}

/* World and link outlive the replica by a little. */
static void ignore_wake(void *arg)
{
    (void)arg;
}

static void close_raft(struct km_replica *replica)
{
    struct km_request *request;

    replica->phase = KM_CLOSING;
    km_lease_drop(&replica->lease);
    atomic_store(&replica->is_leader, false);
    atomic_store(&replica->lease.fresh_until_us, 0);
    replica->world->set_timer(replica->world, 0, NULL, NULL);
    replica->world->set_wake(replica->world, ignore_wake, NULL);
    take_inbox(replica);
    while ((request = STAILQ_FIRST(&replica->inbox)) != NULL) {
        STAILQ_REMOVE_HEAD(&replica->inbox, link);
        free(request);
    }
    km_changes_fail(replica);
    km_reads_fail(replica);
    km_proposals_fail(replica);
    drain_completed(replica);
    replica->link->ops->listen(replica->link, &km_replica_deaf_events, NULL);
    raft_close(&replica->raft, on_raft_closed);
}

static void on_transfer(struct raft_transfer *req)
{
    struct km_replica *replica = req->data;

    replica->is_transfer_out = false;
}

/* Handing over: what is in libraft is let through first, since it ignores a transfer to a server that is still writing. */
static void run_phase(struct km_replica *replica)
{
    uint64_t now_us = km_replica_now_us(replica);

    if (replica->phase == KM_RUNNING || replica->phase == KM_CLOSING)
        return;
    if (replica->phase == KM_HANDING_OVER && replica->raft.state == RAFT_LEADER && now_us < replica->phase_end_us) {
        struct km_proposal *proposal;
        bool is_busy = replica->raft.last_applied < raft_last_index(&replica->raft);

        TAILQ_FOREACH(proposal, &replica->proposals, link)
            is_busy = is_busy || proposal->state == KM_PROPOSAL_SETTLING;
        if (is_busy)
            return;
        km_lease_drop(&replica->lease);
        replica->transfer.data = replica;
        replica->phase = KM_TRANSFERRING;
        replica->is_transfer_out = raft_transfer(&replica->raft, &replica->transfer, 0, on_transfer) == 0;
    }
    if (replica->phase == KM_TRANSFERRING && replica->is_transfer_out && now_us < replica->phase_end_us)
        return;
    close_raft(replica);
}

void km_replica_stop(struct km_replica *replica, void (*cb)(void *arg), void *arg)
{
    replica->stop_cb = cb;
    replica->stop_arg = arg;
    pthread_mutex_lock(&replica->lock);
    replica->is_inbox_closed = true;
    pthread_mutex_unlock(&replica->lock);
    if (!replica->is_started || replica->is_fatal || replica->raft.state != RAFT_LEADER) {
        close_raft(replica);
        return;
    }
    replica->phase = KM_HANDING_OVER;
    replica->phase_end_us = km_replica_now_us(replica) + 2000 * (uint64_t)replica->conf.election_ms;
    km_replica_pump(replica);
}

bool km_replica_post(struct km_replica *replica, struct km_request *request)
{
    bool is_open;

    pthread_mutex_lock(&replica->lock);
    is_open = !replica->is_inbox_closed;
    if (is_open)
        STAILQ_INSERT_TAIL(&replica->inbox, request, link);
    pthread_mutex_unlock(&replica->lock);
    if (is_open)
        replica->world->wake(replica->world);
    return is_open;
}

void km_replica_set_plants(struct km_replica *replica, unsigned replica_plants, unsigned lease_plants, unsigned io_plants)
{
    replica->plants = replica_plants;
    replica->lease.plants = lease_plants;
    km_io_set_plants(replica->io, io_plants);
}
