/* SPDX-License-Identifier: Apache-2.0
 *
 * The replica and the other servers: who they are, what arrives from them, what the head of each message says. A message is believed
 * only if version and election settings are this server's and it is newer than all before it. Loop thread.
 */
#include "replica_private.h"

#include "../../common/log.h"
#include "codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPLAIN_PAUSE_US 60000000 /* between two lines in the log about one peer */

/* --- members --------------------------------------------------------------------------------------------------- */

enum km_err km_member_pack(const struct km_member *member, char *ret)
{
    const char *parts[] = {member->name, member->zone, member->address, member->peer_address};

    for (size_t i = 0; i < 4; i++)
        if (parts[i][0] == 0 || strchr(parts[i], ';') != NULL)
            return KM_ERR_ARG;
    snprintf(ret, KM_MEMBER_PACKED_MAX, "%s;%s;%s;%s", parts[0], parts[1], parts[2], parts[3]);
    return KM_OK;
}

enum km_err km_member_unpack(const char *packed, struct km_member *ret)
{
    struct km_member member;
    char *parts[] = {member.name, member.zone, member.address, member.peer_address};
    const size_t sizes[] = {sizeof(member.name), sizeof(member.zone), sizeof(member.address), sizeof(member.peer_address)};

    memset(&member, 0, sizeof(member));
    for (size_t i = 0; i < 4; i++) {
        size_t len = strcspn(packed, ";");

        if (len == 0 || len >= sizes[i] || (packed[len] == ';') != (i < 3))
            return KM_ERR_ARG;
        memcpy(parts[i], packed, len);
        packed += len + 1;
    }
    *ret = member;
    return KM_OK;
}

struct km_replica_peer *km_replica_peer(struct km_replica *replica, uint64_t id, bool may_add)
{
    struct km_replica_peer *peer;

    for (size_t i = 0; i < replica->n_peers; i++)
        if (replica->peers[i].id == id)
            return &replica->peers[i];
    if (!may_add || replica->n_peers == KM_REPLICA_PEERS_MAX)
        return NULL;
    peer = &replica->peers[replica->n_peers++];
    memset(peer, 0, sizeof(*peer));
    peer->id = id;
    return peer;
}

static bool configuration_has(const struct raft_configuration *configuration, uint64_t id)
{
    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].id == id)
            return true;
    return false;
}

static void name_peers(struct km_replica *replica, const struct raft_configuration *configuration)
{
    for (unsigned i = 0; i < configuration->n && i < KM_REPLICA_MEMBERS_MAX; i++) {
        const struct raft_server *server = &configuration->servers[i];
        struct km_replica_peer *peer = server->id != replica->conf.id ? km_replica_peer(replica, server->id, true) : NULL;

        if (peer == NULL)
            continue;
        snprintf(peer->address, sizeof(peer->address), "%s", server->address);
        peer->farewell_until_us = 0;
    }
}

void km_replica_link_members(struct km_replica *replica)
{
    const struct raft_configuration *configuration = &replica->raft.configuration;
    struct km_member members[KM_REPLICA_PEERS_MAX];
    struct km_link_member linked[KM_REPLICA_PEERS_MAX];
    uint64_t ids[KM_LEASE_MEMBERS_MAX], now_us = km_replica_now_us(replica);
    bool is_voter[KM_LEASE_MEMBERS_MAX], is_member = configuration_has(configuration, replica->conf.id);
    size_t n = 0, kept = 0;

    if (replica->learned_index != 0 && replica->raft.configuration_committed_index >= replica->learned_index) {
        raft_configuration_close(&replica->learned);
        raft_configuration_init(&replica->learned);
        replica->learned_index = 0;
    }

    for (unsigned i = 0; i < configuration->n && i < KM_REPLICA_MEMBERS_MAX; i++) {
        ids[n] = configuration->servers[i].id;
        is_voter[n++] = configuration->servers[i].role == RAFT_VOTER;
    }
    km_lease_set_members(&replica->lease, ids, is_voter, n, now_us);

    /* Those of the last committed configuration too: a change that was never committed must not shut its members out. */
    n = 0;
    if (!(replica->plants & KM_REPLICA_PLANT_SHUT_OUT))
        name_peers(replica, &replica->raft.configuration_committed);
    name_peers(replica, &replica->learned);
    name_peers(replica, configuration);
    /* Those who are gone stay for their farewell; a server that is not a member yet keeps those it was told of. */
    for (size_t i = 0; i < replica->n_peers; i++)
        if (configuration_has(configuration, replica->peers[i].id) || configuration_has(&replica->learned, replica->peers[i].id) ||
            replica->peers[i].farewell_until_us > now_us || !is_member ||
            (configuration_has(&replica->raft.configuration_committed, replica->peers[i].id) && !(replica->plants & KM_REPLICA_PLANT_SHUT_OUT)))
            replica->peers[kept++] = replica->peers[i];
    replica->n_peers = kept;

    for (size_t i = 0; i < replica->conf.n_peers && !is_member && n < KM_REPLICA_PEERS_MAX; i++)
        if (replica->conf.peers[i].id != replica->conf.id && !configuration_has(configuration, replica->conf.peers[i].id)) {
            members[n] = replica->conf.peers[i];
            linked[n] = (struct km_link_member){members[n].id, members[n].name, members[n].peer_address};
            n++;
        }
    for (size_t i = 0; i < replica->n_peers && n < KM_REPLICA_PEERS_MAX; i++)
        if (replica->peers[i].address[0] != 0 && km_member_unpack(replica->peers[i].address, &members[n]) == KM_OK) {
            linked[n] = (struct km_link_member){replica->peers[i].id, members[n].name, members[n].peer_address};
            n++;
        }
    if (n > 0 || configuration->n > 0)
        replica->link->ops->set_members(replica->link, linked, n);
}

void km_replica_check_removed(struct km_replica *replica)
{
    const struct raft *raft = &replica->raft;

    if (raft->configuration_committed_index == 0 || raft->configuration_uncommitted_index != 0)
        return;
    /* Absent from a committed configuration after it was in one. Before that, a joining server reads of times without it. */
    if (configuration_has(&raft->configuration, replica->conf.id))
        replica->was_member = true;
    else if (replica->was_member && replica->phase == KM_RUNNING && TAILQ_EMPTY(&replica->changes))
        km_replica_fatal(replica, "this server was removed from the cluster");
}

/* --- sending --------------------------------------------------------------------------------------------------- */

/* If libraft follows the sender of the message it was just given, that message renewed its election timer. */
static void note_accepted(struct km_replica *replica)
{
    const struct raft *raft = &replica->raft;

    if (replica->incoming.is_set && raft->state == RAFT_FOLLOWER && raft->current_term == replica->incoming.term &&
        raft->follower_state.current_leader.id == replica->incoming.id)
        km_lease_accept(&replica->lease, replica->incoming.term, replica->incoming.stamp_us);
}

void km_replica_send(struct km_replica *replica, uint64_t id, enum km_peer_kind kind, uint8_t *data, size_t len, raft_term ack_term)
{
    struct km_replica_peer *peer = km_replica_peer(replica, id, true);
    uint64_t now_us = km_replica_now_us(replica);
    struct km_peer_head head = {
        .kind = kind,
        .election_ms = replica->conf.election_ms,
        .heartbeat_ms = replica->conf.heartbeat_ms,
        .epoch = replica->epoch,
        .stamp_us = now_us,
        .utc_ms = replica->world->utc_ms(replica->world),
        .term = replica->raft.current_term,
        .applied = atomic_load(&replica->applied),
        .configuration = replica->raft.configuration_committed_index,
    };

    if (peer == NULL) {
        free(data);
        return;
    }
    head.sequence = ++peer->sequence;
    km_replica_sync_lease(replica); /* before a vote can leave */
    if (ack_term != 0 && ack_term == head.term) {
        note_accepted(replica);
        head.echo_us = km_lease_echo(&replica->lease, ack_term);
    }
    if (km_lease_grant(&replica->lease, id, now_us, &head.grant_echo_us, &head.grant_us)) {
        head.grant_commit = replica->raft.commit_index;
        head.grant_epoch = km_peer_order_epoch(&peer->order);
    }
    km_peer_head_encode(&head, data);
    replica->link->ops->send(replica->link, id, data, len);
}

void km_replica_note(struct km_replica *replica, uint64_t id, enum km_peer_kind kind, const struct km_peer_note *note)
{
    size_t len = 0;
    uint8_t *data = km_peer_note_encode(note, &len);

    if (data != NULL) /* else as if the network had lost it */
        km_replica_send(replica, id, kind, data, len, 0);
}

/* --- receiving ------------------------------------------------------------------------------------------------- */

static void complain(struct km_replica *replica, struct km_replica_peer *peer, const char *what)
{
    uint64_t now_us = km_replica_now_us(replica);

    if (peer->complained_us != 0 && now_us < peer->complained_us + COMPLAIN_PAUSE_US)
        return;
    peer->complained_us = now_us;
    km_log(KM_LOG_WARN, "raft: message of server %llu refused: %s", (unsigned long long)peer->id, what);
}

void km_replica_before(void *arg, raft_term term)
{
    struct km_replica *replica = arg;

    replica->incoming.term = term;
    replica->incoming.is_set = true;
}

static void on_goodbye(struct km_replica *replica, const struct km_peer_note *note)
{
    if (note->index > replica->raft.configuration_committed_index)
        km_replica_fatal(replica, "this server was removed from the cluster");
}

/* A server that was away while members were replaced does not let the new ones in, and may never hear the leader. So whoever sees that
 * it knows less sends what it knows; that changes nothing but who is let in. */
static void tell_members(struct km_replica *replica, struct km_replica_peer *peer, uint64_t now_us)
{
    struct km_peer_note note = {.index = replica->raft.configuration_committed_index};
    struct raft_buffer buf;

    if ((peer->told_us != 0 && now_us < peer->told_us + 1000 * (uint64_t)replica->conf.election_ms) || replica->raft.configuration_committed.n == 0 ||
        (replica->plants & KM_REPLICA_PLANT_NO_GOSSIP))
        return;
    peer->told_us = now_us;
    if (raft_configuration_encode(&replica->raft.configuration_committed, &buf) != 0)
        return;
    note.bytes = buf.base;
    note.len = buf.len;
    km_replica_note(replica, peer->id, KM_PEER_MEMBERS, &note);
    raft_free(buf.base);
}

static void on_members(struct km_replica *replica, const struct km_peer_note *note)
{
    struct raft_buffer buf = {(void *)(uintptr_t)note->bytes, note->len};
    struct raft_configuration learned;

    if (note->index <= replica->raft.configuration_committed_index || note->index <= replica->learned_index ||
        km_codec_check_configuration(note->bytes, note->len) != KM_OK || raft_configuration_decode(&buf, &learned) != 0)
        return;
    raft_configuration_close(&replica->learned);
    replica->learned = learned;
    replica->learned_index = note->index;
    km_replica_link_members(replica);
}

static void on_note(struct km_replica *replica, struct km_replica_peer *peer, enum km_peer_kind kind, const uint8_t *body, size_t len)
{
    static void (*const handlers[])(struct km_replica *, uint64_t, const struct km_peer_note *) = {
        [KM_PEER_READ_ASK] = km_reads_on_ask,
        [KM_PEER_READ_ANSWER] = km_reads_on_answer,
        [KM_PEER_PROPOSE] = km_proposals_on_ask,
        [KM_PEER_PROPOSE_ANSWER] = km_proposals_on_answer,
        [KM_PEER_MEMBER] = km_changes_on_ask,
        [KM_PEER_MEMBER_ANSWER] = km_changes_on_answer,
    };
    struct km_peer_note note;

    if (km_peer_note_decode(body, len, &note) != KM_OK)
        complain(replica, peer, "malformed");
    else if (kind == KM_PEER_GOODBYE)
        on_goodbye(replica, &note);
    else if (kind == KM_PEER_MEMBERS)
        on_members(replica, &note);
    else
        handlers[kind](replica, peer->id, &note);
}

static void on_message(void *arg, uint64_t id, const uint8_t *data, size_t len)
{
    struct km_replica *replica = arg;
    struct km_replica_peer *peer = km_replica_peer(replica, id, true);
    struct km_peer_head head;
    uint64_t now_us = km_replica_now_us(replica), epoch;
    enum km_err err;

    if (!replica->is_started || replica->phase == KM_CLOSING || replica->is_fatal || peer == NULL || id == replica->conf.id)
        return; /* boot wait: as if the network had lost it */
    err = km_peer_head_decode(data, len, &head);
    if (err != KM_OK) {
        complain(replica, peer, km_err_text(err));
        return;
    }
    if (head.election_ms != replica->conf.election_ms || head.heartbeat_ms != replica->conf.heartbeat_ms) {
        complain(replica, peer, "its election timeout or heartbeat differs");
        return;
    }
    epoch = km_peer_order_epoch(&peer->order);
    if (!km_peer_order_accept(&peer->order, &head, now_us, 500 * (uint64_t)replica->conf.election_ms))
        return;
    if (head.epoch != epoch)
        km_lease_forget(&replica->lease, id);
    peer->heard_us = now_us;
    peer->clock_offset_ms = (int64_t)(head.utc_ms - replica->world->utc_ms(replica->world));
    peer->applied = head.applied;

    if (head.kind == KM_PEER_RAFT) {
        replica->incoming.id = id;
        replica->incoming.stamp_us = head.stamp_us;
        err = km_io_receive(replica->io, id, peer->address, data + KM_PEER_HEAD_LEN, len - KM_PEER_HEAD_LEN, km_replica_before);
        note_accepted(replica);
        replica->incoming.is_set = false;
        if (err != KM_OK)
            complain(replica, peer, km_err_text(err));
    }
    if (head.configuration < replica->raft.configuration_committed_index)
        tell_members(replica, peer, now_us);
    km_replica_sync_lease(replica);
    km_lease_on_member_applied(&replica->lease, id, head.applied);
    km_lease_on_ack(&replica->lease, id, head.term, head.echo_us, head.stamp_us, now_us);
    km_replica_pump(replica);
    if (head.grant_echo_us != 0 && head.grant_epoch == replica->epoch && km_replica_leader(replica) == id)
        km_lease_on_grant(&replica->lease, head.term, head.grant_commit, head.grant_echo_us, head.grant_us, replica->raft.last_applied,
                          km_replica_now_us(replica));
    if (head.kind != KM_PEER_RAFT) {
        peer = km_replica_peer(replica, id, true);
        if (peer != NULL)
            on_note(replica, peer, head.kind, data + KM_PEER_HEAD_LEN, len - KM_PEER_HEAD_LEN);
        km_replica_pump(replica);
    }
}

static void on_state(void *arg, uint64_t id, bool is_up)
{
    struct km_replica *replica = arg;
    struct km_replica_peer *peer = km_replica_peer(replica, id, false);

    if (peer != NULL)
        peer->is_up = is_up;
}

static void ignore_message(void *arg, uint64_t id, const uint8_t *data, size_t len)
{
    (void)arg;
    (void)id;
    (void)data;
    (void)len;
}

static void ignore_state(void *arg, uint64_t id, bool is_up)
{
    (void)arg;
    (void)id;
    (void)is_up;
}

const struct km_link_events km_replica_link_events = {.on_message = on_message, .on_state = on_state};
const struct km_link_events km_replica_deaf_events = {.on_message = ignore_message, .on_state = ignore_state};
