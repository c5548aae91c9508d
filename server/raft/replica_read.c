/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads: what the store says is at least as new as the moment of the question, once the leader's commit index of a later moment is applied here.
 * A leader that holds its lease answers alone; other servers ask it, one question at a time for all reads that came before it was sent.
 */
#include "replica_private.h"

#include <stdlib.h>

static void finish(struct km_replica *replica, struct km_reads *list, struct km_read *read, enum km_err err)
{
    TAILQ_REMOVE(list, read, link);
    replica->n_reads--;
    read->cb(read->arg, err, err == KM_OK ? read->index : 0, NULL);
    free(read);
}

static void move_all(struct km_reads *from, struct km_reads *to, uint64_t index)
{
    struct km_read *read;

    while ((read = TAILQ_FIRST(from)) != NULL) {
        TAILQ_REMOVE(from, read, link);
        read->index = index;
        TAILQ_INSERT_TAIL(to, read, link);
    }
}

void km_reads_add(struct km_replica *replica, struct km_read *read)
{
    struct km_reads *list = read->index != 0 ? &replica->indexed : &replica->reads;

    if (read->deadline_us == 0)
        read->deadline_us = km_replica_now_us(replica) + KM_REPLICA_WAIT_MS * 1000;
    TAILQ_INSERT_TAIL(list, read, link);
    if (++replica->n_reads > KM_REPLICA_READS_MAX)
        finish(replica, list, read, KM_ERR_BUSY);
}

/* True if this server's commit index now is the cluster's. */
static bool may_answer(struct km_replica *replica)
{
    if (replica->raft.state != RAFT_LEADER || !km_replica_is_ready(replica))
        return false;
    return km_lease_is_leading(&replica->lease, km_replica_now_us(replica)) || (replica->plants & KM_REPLICA_PLANT_STALE_READ);
}

static void answer(struct km_replica *replica, uint64_t to, uint64_t id, enum km_err err)
{
    struct km_peer_note note = {.id = id, .err = err, .index = err == KM_OK ? replica->raft.commit_index : 0};

    km_replica_note(replica, to, KM_PEER_READ_ANSWER, &note);
}

void km_reads_on_ask(struct km_replica *replica, uint64_t from, const struct km_peer_note *note)
{
    struct km_replica_peer *peer = km_replica_peer(replica, from, true);

    if (peer == NULL || replica->raft.state != RAFT_LEADER)
        answer(replica, from, note->id, KM_ERR_NOT_LEADER);
    else if (may_answer(replica))
        answer(replica, from, note->id, KM_OK);
    else
        peer->read_ask = note->id; /* until the lease comes or the leadership goes */
}

void km_reads_on_answer(struct km_replica *replica, uint64_t from, const struct km_peer_note *note)
{
    if (replica->ask_id == 0 || note->id != replica->ask_id || from != replica->ask_leader)
        return;
    replica->ask_id = 0;
    if (note->err == KM_OK && note->index != 0)
        move_all(&replica->asked, &replica->indexed, note->index);
    else
        move_all(&replica->asked, &replica->reads, 0);
}

static void fire_applied(struct km_replica *replica)
{
    struct km_read *read, *next;

    for (read = TAILQ_FIRST(&replica->indexed); read != NULL; read = next) {
        next = TAILQ_NEXT(read, link);
        if (read->index <= replica->raft.last_applied)
            finish(replica, &replica->indexed, read, KM_OK);
    }
}

static void fire_late(struct km_replica *replica, struct km_reads *list, uint64_t now_us, enum km_err err)
{
    struct km_read *read, *next;

    for (read = TAILQ_FIRST(list); read != NULL; read = next) {
        next = TAILQ_NEXT(read, link);
        if (now_us >= read->deadline_us)
            finish(replica, list, read, err);
    }
}

void km_reads_run(struct km_replica *replica)
{
    uint64_t leader = km_replica_leader(replica), now_us;

    for (size_t i = 0; i < replica->n_peers; i++) {
        struct km_replica_peer *peer = &replica->peers[i];

        if (peer->read_ask == 0)
            continue;
        if (replica->raft.state != RAFT_LEADER)
            answer(replica, peer->id, peer->read_ask, KM_ERR_NOT_LEADER);
        else if (may_answer(replica))
            answer(replica, peer->id, peer->read_ask, KM_OK);
        else
            continue;
        peer->read_ask = 0;
    }
    if (replica->n_reads == 0)
        return;

    now_us = km_replica_now_us(replica);
    if (replica->ask_id != 0 && (leader != replica->ask_leader || now_us >= replica->ask_deadline_us)) {
        replica->ask_id = 0; /* lost, or its server is not the leader any more: ask anew */
        move_all(&replica->asked, &replica->reads, 0);
    }
    if (!TAILQ_EMPTY(&replica->reads) && may_answer(replica))
        move_all(&replica->reads, &replica->indexed, replica->raft.commit_index);
    if (!TAILQ_EMPTY(&replica->reads) && replica->ask_id == 0 && leader != 0 && leader != replica->conf.id) {
        struct km_peer_note note = {.id = ++replica->next_id};

        replica->ask_id = note.id;
        replica->ask_leader = leader;
        replica->ask_deadline_us = now_us + 1000 * (uint64_t)replica->conf.election_ms;
        move_all(&replica->reads, &replica->asked, 0);
        km_replica_note(replica, leader, KM_PEER_READ_ASK, &note);
    }
    fire_applied(replica);
    fire_late(replica, &replica->reads, now_us, KM_ERR_NOT_LEADER);
    fire_late(replica, &replica->asked, now_us, KM_ERR_TIMEOUT);
    fire_late(replica, &replica->indexed, now_us, KM_ERR_TIMEOUT);
}

void km_reads_fail(struct km_replica *replica)
{
    struct km_reads *const lists[] = {&replica->reads, &replica->asked, &replica->indexed};

    for (size_t i = 0; i < 3; i++)
        while (!TAILQ_EMPTY(lists[i]))
            finish(replica, lists[i], TAILQ_FIRST(lists[i]), KM_ERR_CLOSED);
}

static void post_read(struct km_replica *replica, uint64_t index, km_propose_cb cb, void *arg)
{
    struct km_request *request = calloc(1, sizeof(*request));
    struct km_read *read = calloc(1, sizeof(*read));

    if (request == NULL || read == NULL) {
        free(request);
        free(read);
        cb(arg, KM_ERR_NOMEM, 0, NULL);
        return;
    }
    read->index = index;
    read->cb = cb;
    read->arg = arg;
    request->read = read;
    if (km_replica_post(replica, request))
        return;
    free(request);
    free(read);
    cb(arg, KM_ERR_CLOSED, 0, NULL);
}

void km_replica_read(struct km_replica *replica, km_propose_cb cb, void *arg)
{
    post_read(replica, 0, cb, arg);
}

void km_read_index(struct km_replica *replica, uint64_t index, km_propose_cb cb, void *arg)
{
    post_read(replica, index, cb, arg);
}
