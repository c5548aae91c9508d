/* SPDX-License-Identifier: Apache-2.0
 *
 * Membership: add (spare, then standby, then voter) and remove, at the leader or forwarded to it, one at a time. Each step is begun from what the
 * configuration says now, so that an add that was cut short is taken up where it stopped. Loop thread, but for post.
 */
#include "replica_private.h"

#include "../../common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGE_MS 60000 /* at the leader, for one that another server forwarded */
#define RETRY_US 100000

static void finish(struct km_member_change *c, enum km_err err)
{
    struct km_replica *replica = c->replica;

    TAILQ_REMOVE(&replica->changes, c, link);
    if (c->asker != 0) {
        struct km_peer_note note = {.id = c->asker_id, .err = err};

        km_replica_note(replica, c->asker, KM_PEER_MEMBER_ANSWER, &note);
    } else {
        c->cb(c->arg, err, 0, NULL);
    }
    free(c->wait);
    free(c);
}

void km_changes_add(struct km_replica *replica, struct km_member_change *c)
{
    bool is_first = TAILQ_EMPTY(&replica->changes);

    c->replica = replica;
    c->stage = KM_STAGE_WAITING;
    if (c->deadline_us == 0)
        c->deadline_us = km_replica_now_us(replica) + CHANGE_MS * 1000;
    TAILQ_INSERT_TAIL(&replica->changes, c, link);
    if (!is_first)
        finish(c, KM_ERR_BUSY);
}

/* --- at the leader --------------------------------------------------------------------------------------------- */

static const struct raft_server *find(const struct km_replica *replica, uint64_t id)
{
    const struct raft_configuration *configuration = &replica->raft.configuration;

    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].id == id)
            return &configuration->servers[i];
    return NULL;
}

/* A certificate name stands for one member. */
static bool is_name_taken(const struct km_replica *replica, const char *packed)
{
    const struct raft_configuration *configuration = &replica->raft.configuration;
    size_t len = strcspn(packed, ";") + 1;

    for (unsigned i = 0; i < configuration->n; i++)
        if (strncmp(configuration->servers[i].address, packed, len) == 0)
            return true;
    return false;
}

static void on_changed(struct raft_change *req, int status)
{
    struct km_member_change *c = req->data;
    struct km_replica *replica = c->replica;
    uint64_t now_us = km_replica_now_us(replica);

    replica->is_changing = false;
    c->stage = KM_STAGE_WAITING;
    if (status == RAFT_NOCONNECTION) { /* it does not catch up; tried again until the deadline */
        c->retry_us = now_us + RETRY_US;
    } else if (status != 0) {
        finish(c, KM_ERR_UNDECIDED);
    } else if (c->operation == KM_MEMBER_REMOVE) {
        struct km_replica_peer *peer = km_replica_peer(replica, c->id, false);

        if (peer != NULL) {
            peer->farewell_until_us = now_us + KM_REPLICA_FAREWELL_MS * 1000;
            peer->farewell_index = replica->raft.configuration_committed_index;
        }
        c->wait = malloc(sizeof(*c->wait));
        if (c->wait == NULL) {
            finish(c, KM_ERR_UNDECIDED);
            return;
        }
        km_lease_wait_init(&replica->lease, replica->raft.configuration_committed_index, now_us, c->wait);
        c->stage = KM_STAGE_SETTLING;
    }
}

static void on_left(struct raft_transfer *req)
{
    (void)req; /* whoever leads now, km_changes_run goes on from there */
}

/* This server leads and is to be removed: the next leader does that. A handover that fails ends in a new term all the same, since the
 * lease is gone for the rest of this one. */
static void leave(struct km_member_change *c, uint64_t now_us)
{
    struct km_replica *replica = c->replica;
    struct raft *raft = &replica->raft;

    c->retry_us = now_us + RETRY_US;
    if (replica->leaving_term != raft->current_term) {
        if (raft->transfer != NULL)
            return;
        km_lease_drop(&replica->lease);
        replica->leaving.data = replica;
        replica->leaving_term = raft->current_term;
        if (raft_transfer(raft, &replica->leaving, 0, on_left) != 0) {
            km_io_step_down(replica->io);
            finish(c, KM_ERR_DENIED); /* the only voter */
        }
    } else if (raft->leader_state.transferee == 0) {
        km_io_step_down(replica->io);
    }
}

static void step(struct km_member_change *c, uint64_t now_us)
{
    struct km_replica *replica = c->replica;
    struct raft *raft = &replica->raft;
    const struct raft_server *server = find(replica, c->id);
    bool is_begun = c->term != 0;
    int rv;

    if (replica->is_changing || raft->configuration_uncommitted_index != 0) {
        c->retry_us = now_us + RETRY_US;
        return;
    }
    if (c->operation == KM_MEMBER_REMOVE && c->id == replica->conf.id && server != NULL) {
        leave(c, now_us); /* one that was forwarded is answered NOT_LEADER then, and asked of the next leader */
        return;
    }
    c->change.data = c;
    c->term = raft->current_term;
    if (c->operation == KM_MEMBER_REMOVE) {
        if (server == NULL) {
            finish(c, KM_ERR_NOT_FOUND);
            return;
        }
        rv = raft_remove(raft, &c->change, c->id, on_changed);
    } else if (server == NULL) {
        if (is_name_taken(replica, c->address) || raft->configuration.n >= KM_REPLICA_MEMBERS_MAX) {
            finish(c, is_name_taken(replica, c->address) ? KM_ERR_EXISTS : KM_ERR_BUSY);
            return;
        }
        rv = raft_add(raft, &c->change, c->id, c->address, on_changed);
    } else if (server->role == RAFT_VOTER || strcmp(server->address, c->address) != 0) {
        finish(c, is_begun && strcmp(server->address, c->address) == 0 ? KM_OK : KM_ERR_EXISTS);
        return;
    } else {
        rv = raft_assign(raft, &c->change, c->id, server->role == RAFT_SPARE ? RAFT_STANDBY : RAFT_VOTER, on_changed);
    }
    if (rv == 0) {
        c->stage = KM_STAGE_CHANGING;
        replica->is_changing = true;
        return;
    }
    if (raft->legacy.change == &c->change) /* raft_assign leaves it there when it fails late */
        raft->legacy.change = NULL;
    if (rv == RAFT_DUPLICATEID || rv == RAFT_DUPLICATEADDRESS)
        finish(c, KM_ERR_EXISTS);
    else if (rv == RAFT_NOSPACE)
        finish(c, KM_ERR_FULL);
    else
        c->retry_us = now_us + RETRY_US;
}

void km_changes_on_ask(struct km_replica *replica, uint64_t from, const struct km_peer_note *note)
{
    struct km_peer_note refusal = {.id = note->id, .err = KM_ERR_NOMEM};
    struct km_member_change *c = NULL;
    struct km_member member;

    refusal.err = KM_ERR_NOT_LEADER;
    if (replica->raft.state != RAFT_LEADER || replica->phase != KM_RUNNING)
        goto refuse;
    refusal.err = KM_ERR_ARG;
    if ((note->code != KM_MEMBER_ADD && note->code != KM_MEMBER_REMOVE) || note->len >= KM_MEMBER_PACKED_MAX || note->index == 0)
        goto refuse;
    c = calloc(1, sizeof(*c));
    refusal.err = KM_ERR_NOMEM;
    if (c == NULL)
        goto refuse;
    memcpy(c->address, note->bytes, note->len);
    refusal.err = KM_ERR_ARG;
    if (note->code == KM_MEMBER_ADD && km_member_unpack(c->address, &member) != KM_OK)
        goto refuse;
    c->operation = (enum km_member_operation)note->code;
    c->id = note->index;
    c->asker = from;
    c->asker_id = note->id;
    km_changes_add(replica, c);
    return;
refuse:
    free(c);
    km_replica_note(replica, from, KM_PEER_MEMBER_ANSWER, &refusal);
}

static void say_goodbye(struct km_replica *replica, uint64_t now_us)
{
    for (size_t i = 0; i < replica->n_peers; i++) {
        struct km_replica_peer *peer = &replica->peers[i];
        struct km_peer_note note = {.index = peer->farewell_index};

        if (peer->farewell_until_us == 0)
            continue;
        if (now_us >= peer->farewell_until_us) {
            peer->farewell_until_us = 0;
            km_replica_link_members(replica); /* moves the peers: the others have their turn at the next look */
            return;
        }
        km_replica_note(replica, peer->id, KM_PEER_GOODBYE, &note);
    }
}

/* --- at a follower --------------------------------------------------------------------------------------------- */

static void forward(struct km_member_change *c, uint64_t leader)
{
    struct km_replica *replica = c->replica;
    struct km_peer_note note = {.id = ++replica->next_id, .code = c->operation, .index = c->id, .bytes = (const uint8_t *)c->address, .len = strlen(c->address)};

    c->forward_id = note.id;
    c->leader = leader;
    c->term = replica->raft.current_term;
    c->stage = KM_STAGE_FORWARDED;
    km_replica_note(replica, leader, KM_PEER_MEMBER, &note);
}

void km_changes_on_answer(struct km_replica *replica, uint64_t from, const struct km_peer_note *note)
{
    struct km_member_change *c = TAILQ_FIRST(&replica->changes);

    if (c == NULL || c->stage != KM_STAGE_FORWARDED || c->forward_id != note->id || c->leader != from)
        return;
    if (note->err == KM_ERR_NOT_LEADER) {
        c->stage = KM_STAGE_WAITING;
        c->term = 0;
        c->retry_us = km_replica_now_us(replica) + RETRY_US;
        return;
    }
    finish(c, note->err);
}

/* --- all of them ----------------------------------------------------------------------------------------------- */

void km_changes_run(struct km_replica *replica)
{
    struct km_member_change *c = TAILQ_FIRST(&replica->changes);
    uint64_t now_us = km_replica_now_us(replica), leader = km_replica_leader(replica);
    bool is_leader = replica->raft.state == RAFT_LEADER;

    say_goodbye(replica, now_us);
    if (c == NULL)
        return;
    switch (c->stage) {
    case KM_STAGE_WAITING:
        if (now_us >= c->deadline_us)
            finish(c, c->term != 0 ? KM_ERR_TIMEOUT : KM_ERR_NOT_LEADER);
        else if (c->term != 0 && !is_leader)
            finish(c, KM_ERR_UNDECIDED);
        else if (now_us < c->retry_us || replica->phase != KM_RUNNING)
            break;
        else if (is_leader && (km_replica_is_ready(replica) || replica->leaving_term == replica->raft.current_term))
            step(c, now_us);
        else if (leader != 0 && leader != replica->conf.id && c->asker == 0)
            forward(c, leader);
        else if (c->asker != 0 && !is_leader)
            finish(c, KM_ERR_NOT_LEADER);
        break;
    case KM_STAGE_FORWARDED:
        if (now_us >= c->deadline_us || leader != c->leader || replica->raft.current_term != c->term)
            finish(c, KM_ERR_UNDECIDED);
        break;
    case KM_STAGE_CHANGING:
        break; /* libraft answers, at the latest when the leadership is lost */
    case KM_STAGE_SETTLING:
        if (km_lease_wait_is_over(&replica->lease, c->wait, now_us))
            finish(c, KM_OK);
        break;
    }
}

void km_changes_fail(struct km_replica *replica)
{
    struct km_member_change *c = TAILQ_FIRST(&replica->changes);

    if (c != NULL && c->stage != KM_STAGE_CHANGING)
        finish(c, c->stage == KM_STAGE_WAITING && c->term == 0 ? KM_ERR_CLOSED : KM_ERR_UNDECIDED);
}

static void post_change(struct km_replica *replica, enum km_member_operation operation, uint64_t id, const char *address, unsigned deadline_ms,
                        km_propose_cb cb, void *arg)
{
    struct km_request *request = calloc(1, sizeof(*request));
    struct km_member_change *c = calloc(1, sizeof(*c));

    if (request == NULL || c == NULL) {
        free(request);
        free(c);
        cb(arg, KM_ERR_NOMEM, 0, NULL);
        return;
    }
    c->operation = operation;
    c->id = id;
    snprintf(c->address, sizeof(c->address), "%s", address);
    c->deadline_us = km_replica_now_us(replica) + 1000 * (uint64_t)deadline_ms;
    c->cb = cb;
    c->arg = arg;
    request->change = c;
    if (km_replica_post(replica, request))
        return;
    free(request);
    free(c);
    cb(arg, KM_ERR_CLOSED, 0, NULL);
}

void km_member_add(struct km_replica *replica, uint64_t id, const char *address, unsigned deadline_ms, km_propose_cb cb, void *arg)
{
    post_change(replica, KM_MEMBER_ADD, id, address, deadline_ms, cb, arg);
}

void km_member_remove(struct km_replica *replica, uint64_t id, unsigned deadline_ms, km_propose_cb cb, void *arg)
{
    post_change(replica, KM_MEMBER_REMOVE, id, "", deadline_ms, cb, arg);
}
