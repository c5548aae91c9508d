/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold at every step: one leader a term, equal stores at equal index, and no leader of a later term while a lease runs.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TERMS_MAX 65536

static const struct life *leaders[TERMS_MAX]; /* lives are never freed */
static uint8_t (*digests)[32];
static uint8_t *has_digest;
static size_t n_digests;

static void check_digest(struct node *node, uint64_t index)
{
    uint8_t digest[32];
    uint64_t at_index;

    km_store_digest(node->life->store, digest, &at_index);
    mix_bytes(digest, 8);
    if (index >= n_digests) {
        size_t n = 2 * index + 4096;

        digests = realloc(digests, n * sizeof(*digests));
        has_digest = realloc(has_digest, n);
        memset(has_digest + n_digests, 0, n - n_digests);
        n_digests = n;
    }
    if (!has_digest[index]) {
        memcpy(digests[index], digest, 32);
        has_digest[index] = 1;
    } else if (memcmp(digests[index], digest, 32) != 0) {
        fail("server %llu: its store at index %llu is another than an earlier one at that index", (unsigned long long)node->id, (unsigned long long)index);
    }
}

#define SEEN_MAX (1u << 18)

void check_entry(const struct node *node, raft_index index, const struct raft_entry *entry)
{
    static struct seen {
        raft_index index;
        raft_term term;
        uint64_t hash;
    } *seen;
    uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t)entry->type;
    size_t at = (index * 31 + entry->term) % SEEN_MAX;

    if (node->n_entries > 0 && node->entries[node->n_entries - 1].term > entry->term)
        fail("server %llu: entry %llu of term %llu comes after one of term %llu", (unsigned long long)node->id, index, entry->term, node->entries[node->n_entries - 1].term);
    if (sim.plants.no_sync)
        return;
    if (seen == NULL)
        seen = calloc(SEEN_MAX, sizeof(*seen));
    for (size_t i = 0; i < entry->buf.len; i++)
        hash = (hash ^ ((const uint8_t *)entry->buf.base)[i]) * 0x100000001b3u;
    while (seen[at].index != 0 && (seen[at].index != index || seen[at].term != entry->term))
        at = (at + 1) % SEEN_MAX;
    if (seen[at].index != 0 && seen[at].hash != hash)
        fail("server %llu: its entry %llu of term %llu is another than an earlier one of that index and term", (unsigned long long)node->id, index, entry->term);
    seen[at] = (struct seen){index, entry->term, hash};
}

void check_node(struct node *node)
{
    struct life *life = node->life;
    const struct raft *raft;
    uint64_t index;

    if (life == NULL || life->replica == NULL || life->store == NULL)
        return;
    if (life->is_fatal) { /* removed: its supervisor leaves it stopped */
        node->is_removed = true;
        server_crash(node, false);
        return;
    }
    if (!life->replica->is_started)
        return;
    raft = &life->replica->raft;
    if (raft->state == RAFT_LEADER && raft->current_term < TERMS_MAX && !raft->legacy.closing) {
        if (leaders[raft->current_term] == NULL) {
            leaders[raft->current_term] = life;
            sim.elections++;
            trace("server %llu: leader of term %llu", (unsigned long long)node->id, raft->current_term);
        } else if (leaders[raft->current_term] != life) {
            fail("servers %llu and %llu both lead term %llu, or one does again after a restart", (unsigned long long)leaders[raft->current_term]->node->id,
                 (unsigned long long)node->id, raft->current_term);
        }
    }
    if (raft->commit_index < node->checked_commit)
        fail("server %llu: its commit index went back from %llu to %llu", (unsigned long long)node->id, node->checked_commit, raft->commit_index);
    node->checked_commit = raft->commit_index;
    if (raft->state == RAFT_LEADER && life->replica->is_changing && !life->replica->lease.has_barrier)
        fail("server %llu: changes members before a barrier of its term %llu", (unsigned long long)node->id, raft->current_term);
    index = km_store_index(life->store);
    if (index != node->checked_index) {
        if (index < node->checked_index)
            fail("server %llu: its store went back from %llu to %llu", (unsigned long long)node->id, (unsigned long long)node->checked_index, (unsigned long long)index);
        node->checked_index = index;
        check_digest(node, index);
        clients_check(node);
    }
}

/* Claim A of lease.c. A paused leader's lease runs on by its clock. */
void check_leases(void)
{
    const struct node *holder = NULL;
    raft_term newest = 0;

    for (unsigned i = 0; i < sim.n_nodes; i++) {
        const struct life *life = sim.nodes[i].life;

        if (life == NULL || life->replica == NULL || !life->replica->is_started || life->replica->raft.legacy.closing)
            continue;
        if (life->replica->raft.state == RAFT_LEADER && life->replica->raft.current_term > newest)
            newest = life->replica->raft.current_term;
        if (life->replica->lease.is_leader && km_lease_is_leading(&life->replica->lease, local_us(&sim.nodes[i])) &&
            (holder == NULL || life->replica->lease.term < holder->life->replica->lease.term))
            holder = &sim.nodes[i];
    }
    if (holder != NULL && holder->life->replica->lease.term < newest)
        fail("server %llu holds a lease in term %llu while there is a leader of term %llu", (unsigned long long)holder->id,
             (unsigned long long)holder->life->replica->lease.term, newest);
}

static void show(const struct node *node)
{
    const struct raft *raft;
    char text[200];
    int n = 0;

    if (node->life == NULL || node->life->replica == NULL)
        return;
    raft = &node->life->replica->raft;
    for (unsigned i = 0; i < raft->configuration.n && n < 180; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, " %llu/%d", raft->configuration.servers[i].id, raft->configuration.servers[i].role);
    trace("server %llu: state %d, term %llu, log to %llu, commit %llu, applied %llu, configuration%s (committed %llu, uncommitted %llu), links to %zu", (unsigned long long)node->id,
          raft->state, raft->current_term, raft->trail.snapshot.index, raft->commit_index, raft->last_applied, n > 0 ? text : " none",
          raft->configuration_committed_index, raft->configuration_uncommitted_index, node->life->n_linked);
}

/* Healed for seconds: everyone who is a member is level with the leader. */
void check_end(void)
{
    const struct node *leader = leader_node();
    const struct raft_configuration *configuration;

    for (unsigned i = 0; i < sim.n_nodes; i++)
        show(&sim.nodes[i]);
    if (leader == NULL)
        fail("no leader at the end, seconds after everything was healed");
    configuration = &leader->life->replica->raft.configuration;
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct node *node = node_by_id(configuration->servers[i].id);

        if (node->life == NULL || configuration->servers[i].role == RAFT_SPARE)
            continue;
        if (km_store_index(node->life->store) + 50 < km_store_index(leader->life->store))
            fail("server %llu is at index %llu, the leader at %llu, seconds after everything was healed", (unsigned long long)node->id,
                 (unsigned long long)km_store_index(node->life->store), (unsigned long long)km_store_index(leader->life->store));
        if (node->life->replica->raft.configuration.n != configuration->n)
            fail("server %llu knows %u members, the leader %u", (unsigned long long)node->id, node->life->replica->raft.configuration.n, configuration->n);
        if (!km_replica_is_fresh(node->life->replica))
            fail("server %llu is not fresh, seconds after everything was healed", (unsigned long long)node->id);
    }
    if (!clients_are_idle())
        fail("a client's change was never answered");
}
