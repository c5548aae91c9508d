/* SPDX-License-Identifier: Apache-2.0
 *
 * Proposals: from a caller here or a member that forwarded them, through libraft at the leader, back to who asked. A proposal is answered
 * exactly once, and never with an error that says "not done" once libraft or the leader had it: then it is UNDECIDED, and a retry
 * with the same origin gets the first result. Commands that revoke are answered only when no older grant is left (lease.h).
 */
#include "replica_private.h"

#include "../../common/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void km_proposal_free(struct km_proposal *proposal)
{
    if (proposal == NULL)
        return;
    if (proposal->command != NULL)
        kml__command__free_unpacked(proposal->command, NULL);
    if (proposal->result != NULL)
        kml__result__free_unpacked(proposal->result, NULL);
    free(proposal->wait);
    free(proposal);
}

static void answer_asker(struct km_proposal *p, enum km_err err)
{
    struct km_peer_note note = {.id = p->asker_id, .err = err, .index = p->index};
    uint8_t *packed = NULL;

    if (err == KM_OK) {
        note.len = kml__result__get_packed_size(p->result);
        packed = malloc(note.len + 1);
        if (packed == NULL)
            note = (struct km_peer_note){.id = p->asker_id, .err = KM_ERR_UNDECIDED};
        else
            kml__result__pack(p->result, packed);
        note.bytes = packed;
    }
    km_replica_note(p->replica, p->asker, KM_PEER_PROPOSE_ANSWER, &note);
    free(packed);
}

/* Answers and frees. The callback may ask for more: that goes through the inbox. */
static void finish(struct km_proposal *p, enum km_err err)
{
    struct km_replica *replica = p->replica;

    TAILQ_REMOVE(&replica->proposals, p, link);
    replica->n_proposals--;
    if (p->asker != 0)
        answer_asker(p, err);
    else
        p->cb(p->arg, err, err == KM_OK ? p->index : 0, err == KM_OK ? p->result : NULL);
    km_proposal_free(p);
}

void km_proposals_add(struct km_replica *replica, struct km_proposal *p)
{
    p->replica = replica;
    p->state = KM_PROPOSAL_WAITING;
    p->deadline_us = km_replica_now_us(replica) + KM_REPLICA_WAIT_MS * 1000;
    TAILQ_INSERT_TAIL(&replica->proposals, p, link);
    if (++replica->n_proposals > KM_REPLICA_PROPOSALS_MAX)
        finish(p, KM_ERR_BUSY);
}

static bool does_revoke(const Kml__Command *command)
{
    return command->body_case == KML__COMMAND__BODY_TOKEN_INIT || command->body_case == KML__COMMAND__BODY_PIN_CHANGE ||
           command->body_case == KML__COMMAND__BODY_OBJECT_REPLACE || command->body_case == KML__COMMAND__BODY_OBJECT_DESTROY;
}

/* --- at the leader --------------------------------------------------------------------------------------------- */

static void nudge(struct km_replica *replica);

static void on_nudged(struct raft_barrier *req, int status)
{
    struct km_replica *replica = req->data;

    replica->is_nudge_out = false;
    if (status == 0 && replica->wants_nudge)
        nudge(replica);
}

/* The others learn of a commit index with the next entry or the next heartbeat. Where somebody waits for them to apply it, an empty
 * entry spares him the heartbeat: a destruction took 60 ms, and takes 5. One at a time, so a busy log pays little. */
static void nudge(struct km_replica *replica)
{
    replica->wants_nudge = replica->is_nudge_out;
    if (replica->is_nudge_out || replica->phase != KM_RUNNING || replica->raft.state != RAFT_LEADER)
        return;
    replica->nudge.data = replica;
    replica->is_nudge_out = raft_barrier(&replica->raft, &replica->nudge, on_nudged) == 0;
}

static void on_applied(struct raft_apply *req, int status, void *result)
{
    struct km_proposal *p = req->data;
    struct km_replica *replica = p->replica;
    struct km_applied *applied = result;

    if (status != 0) {
        finish(p, KM_ERR_UNDECIDED);
        return;
    }
    assert(applied != NULL && applied->result != NULL);
    p->index = req->index;
    p->result = applied->result;
    applied->result = NULL;
    bool does_settle = p->does_settle || does_revoke(p->command);
    if (does_settle || p->asker != 0)
        nudge(replica);
    if (!does_settle) {
        finish(p, KM_OK);
        return;
    }
    p->wait = malloc(sizeof(*p->wait));
    if (p->wait == NULL || replica->raft.state != RAFT_LEADER) {
        finish(p, KM_ERR_UNDECIDED); /* done, but maybe not everywhere: a retry waits for that */
        return;
    }
    km_replica_sync_lease(replica);
    km_lease_wait_init(&replica->lease, p->index, km_replica_now_us(replica), p->wait);
    p->term = replica->raft.current_term;
    p->state = KM_PROPOSAL_SETTLING;
}

static void propose(struct km_proposal *p)
{
    struct km_replica *replica = p->replica;
    struct raft_buffer buf;
    int rv;

    p->command->version = KM_LOG_VERSION;
    p->command->time_ms = km_replica_cluster_time_ms(replica);
    if ((replica->plants & KM_REPLICA_PLANT_NO_ORIGIN) && p->command->origin != NULL) {
        kml__origin__free_unpacked(p->command->origin, NULL);
        p->command->origin = NULL;
    }
    buf.len = kml__command__get_packed_size(p->command);
    if (buf.len > KM_COMMAND_MAX) {
        finish(p, KM_ERR_TOO_LARGE);
        return;
    }
    buf.base = raft_malloc(buf.len);
    if (buf.base == NULL) {
        finish(p, KM_ERR_NOMEM);
        return;
    }
    kml__command__pack(p->command, buf.base);
    p->apply.data = p;
    p->state = KM_PROPOSAL_IN_RAFT;
    rv = raft_apply(&replica->raft, &p->apply, &buf, 1, on_applied);
    if (rv == 0)
        return;
    if (rv == RAFT_NOTLEADER || rv == RAFT_NOSPACE)
        raft_free(buf.base); /* libraft freed it, or may have, in every other case */
    if (rv == RAFT_NOTLEADER)
        p->state = KM_PROPOSAL_WAITING;
    else
        finish(p, rv == RAFT_NOSPACE ? KM_ERR_FULL : KM_ERR_UNDECIDED);
}

/* --- at a follower --------------------------------------------------------------------------------------------- */

static void forward(struct km_proposal *p, uint64_t leader)
{
    struct km_replica *replica = p->replica;
    size_t len = kml__command__get_packed_size(p->command);
    uint8_t *packed = len <= KM_COMMAND_MAX ? malloc(len + 1) : NULL;
    struct km_peer_note note = {.id = ++replica->next_id, .code = p->does_settle, .bytes = packed, .len = len};

    if (packed == NULL) {
        finish(p, len <= KM_COMMAND_MAX ? KM_ERR_NOMEM : KM_ERR_TOO_LARGE);
        return;
    }
    kml__command__pack(p->command, packed);
    p->forward_id = note.id;
    p->leader = leader;
    p->term = replica->raft.current_term;
    p->state = KM_PROPOSAL_FORWARDED;
    km_replica_note(replica, leader, KM_PEER_PROPOSE, &note);
    free(packed);
}

void km_proposals_on_answer(struct km_replica *replica, uint64_t from, const struct km_peer_note *note)
{
    struct km_proposal *p;

    TAILQ_FOREACH(p, &replica->proposals, link)
        if (p->state == KM_PROPOSAL_FORWARDED && p->forward_id == note->id && p->leader == from)
            break;
    if (p == NULL)
        return;
    if (note->err == KM_ERR_NOT_LEADER || note->err == KM_ERR_CLOSED) { /* surely not proposed: ask the next leader */
        p->state = KM_PROPOSAL_WAITING;
        p->retry_us = km_replica_now_us(replica) + 1000 * (uint64_t)replica->conf.heartbeat_ms;
        return;
    }
    if (note->err != KM_OK) {
        finish(p, note->err);
        return;
    }
    p->result = kml__result__unpack(NULL, note->len, note->bytes);
    if (p->result == NULL) {
        finish(p, KM_ERR_UNDECIDED);
        return;
    }
    p->index = note->index;
    p->state = KM_PROPOSAL_APPLYING;
}

void km_proposals_on_ask(struct km_replica *replica, uint64_t from, const struct km_peer_note *note)
{
    struct km_peer_note refusal = {.id = note->id, .err = KM_ERR_NOMEM};
    struct km_proposal *p = NULL;

    if (replica->raft.state != RAFT_LEADER || replica->phase != KM_RUNNING) {
        refusal.err = KM_ERR_NOT_LEADER;
        goto refuse;
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        goto refuse;
    p->command = kml__command__unpack(NULL, note->len, note->bytes);
    refusal.err = KM_ERR_PROTO;
    if (p->command == NULL)
        goto refuse;
    p->asker = from;
    p->asker_id = note->id;
    p->does_settle = note->code == 1;
    km_proposals_add(replica, p);
    return;
refuse:
    free(p);
    km_replica_note(replica, from, KM_PEER_PROPOSE_ANSWER, &refusal);
}

/* --- all of them ----------------------------------------------------------------------------------------------- */

static void run(struct km_proposal *p, uint64_t now_us)
{
    struct km_replica *replica = p->replica;
    uint64_t leader = km_replica_leader(replica);
    bool is_late = now_us >= p->deadline_us;

    switch (p->state) {
    case KM_PROPOSAL_WAITING:
        if (is_late || (p->asker != 0 && replica->raft.state != RAFT_LEADER))
            finish(p, KM_ERR_NOT_LEADER);
        else if (now_us >= p->retry_us && replica->raft.state == RAFT_LEADER && km_replica_is_ready(replica) && replica->phase == KM_RUNNING)
            propose(p);
        else if (now_us >= p->retry_us && leader != 0 && leader != replica->conf.id)
            forward(p, leader);
        break;
    case KM_PROPOSAL_IN_RAFT:
        break;
    case KM_PROPOSAL_FORWARDED:
        if (is_late || leader != p->leader || replica->raft.current_term != p->term)
            finish(p, KM_ERR_UNDECIDED);
        break;
    case KM_PROPOSAL_SETTLING:
        if (replica->raft.state != RAFT_LEADER || replica->raft.current_term != p->term)
            finish(p, KM_ERR_UNDECIDED); /* grants of other leaders are not known here */
        else if (km_lease_wait_is_over(&replica->lease, p->wait, now_us))
            finish(p, KM_OK);
        break;
    case KM_PROPOSAL_APPLYING:
        if (replica->raft.last_applied >= p->index)
            finish(p, KM_OK);
        else if (is_late)
            finish(p, KM_ERR_UNDECIDED);
        break;
    }
}

void km_proposals_run(struct km_replica *replica)
{
    struct km_proposal *p, *next;
    uint64_t now_us;

    if (TAILQ_EMPTY(&replica->proposals))
        return;
    now_us = km_replica_now_us(replica);
    for (p = TAILQ_FIRST(&replica->proposals); p != NULL; p = next) {
        next = TAILQ_NEXT(p, link);
        run(p, now_us);
    }
}

void km_proposals_fail(struct km_replica *replica)
{
    struct km_proposal *p, *next;

    for (p = TAILQ_FIRST(&replica->proposals); p != NULL; p = next) {
        next = TAILQ_NEXT(p, link);
        if (p->state != KM_PROPOSAL_IN_RAFT) /* those libraft fails when it closes */
            finish(p, p->state == KM_PROPOSAL_WAITING ? KM_ERR_CLOSED : KM_ERR_UNDECIDED);
    }
}

static void post(struct km_replica *replica, Kml__Command *command, bool does_settle, km_propose_cb cb, void *arg)
{
    struct km_request *request = calloc(1, sizeof(*request));
    struct km_proposal *p = calloc(1, sizeof(*p));

    if (request == NULL || p == NULL || command == NULL) {
        free(request);
        free(p);
        if (command != NULL)
            kml__command__free_unpacked(command, NULL);
        cb(arg, KM_ERR_NOMEM, 0, NULL);
        return;
    }
    p->command = command;
    p->does_settle = does_settle;
    p->cb = cb;
    p->arg = arg;
    request->proposal = p;
    if (km_replica_post(replica, request))
        return;
    km_proposal_free(p);
    free(request);
    cb(arg, KM_ERR_CLOSED, 0, NULL);
}

void km_replica_propose(struct km_replica *replica, Kml__Command *command, km_propose_cb cb, void *arg)
{
    post(replica, command, false, cb, arg);
}

void km_settle(struct km_replica *replica, km_propose_cb cb, void *arg)
{
    Kml__Command *command = malloc(sizeof(*command));
    Kml__Tick *tick = malloc(sizeof(*tick));

    if (command == NULL || tick == NULL) {
        free(command);
        free(tick);
        cb(arg, KM_ERR_NOMEM, 0, NULL);
        return;
    }
    kml__command__init(command);
    kml__tick__init(tick);
    command->version = KM_LOG_VERSION;
    command->body_case = KML__COMMAND__BODY_TICK;
    command->tick = tick;
    post(replica, command, true, cb, arg);
}
