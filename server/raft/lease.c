/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases (design D8). Write E for the election timeout, S = 0.75 E for the span; "echo" for a member's acknowledgement that carries a
 * stamp of the leader back, in the leader's term, together with libraft's accepted result.
 *
 * Rules. (1) The leader of T holds its lease until s + S, where s is the newest of its stamps such that a majority of the voters of its latest
 * configuration echoed s or later; only once a barrier of T is applied, and never again in T after a transfer was begun. (2) A grant to
 * a member counts there once the commit index in it is applied, from the member's own stamp f that it echoes, for at most S and at most what remained of the
 * lease. (3) A revocation at index i succeeds when every grant that was given before i was committed has run out at the leader's
 * clock (receipt of f + duration + margin) or its member has applied i, and (4) not before S + margin after the leader's election.
 *
 * Claim A: while the lease of the leader L of T runs, nobody is leader of a later term. Suppose X is the first such leader, by the votes of V.
 * L's latest configuration and X's are equal or neighbours (no change is proposed before a barrier of the own term, and a configuration that is two older lacks a committed
 * entry, so its owner gets no majority), so some m in V echoed s or later. m cannot echo for T after it voted in a later term, so it heard L at s or later, and then
 * voted. If m is L: L votes only when it no longer is leader, and leaving leadership ends the lease first. Otherwise m had L as its leader, and a
 * follower that has a leader refuses votes and pre-votes without looking at their term until its own timer, at least E after it
 * last heard L, has run out: E > S, and the difference, a quarter of E, is more than clocks drift in that time. What could make m vote earlier:
 *   - a restart: replica.c lets no message in for one E after the start (boot wait), unless the server was never started before;
 *   - disrupt_leader: it is set by a server that got TimeoutNow, which L sends only after dropping its lease for all of T. libraft keeps the flag when such a candidate
 *     times out and campaigns on in later terms; io.c clears it in every term but the one after the TimeoutNow, in which L has no lease;
 *   - a message of a leader of a later term: X was the first.
 * So a leader that holds its lease has applied everything that was ever answered, and may answer reads alone.
 *
 * Claim B: grants may outlive their leader's leadership, and do: L can meet a later term in a reply (of a candidate that won its pre-votes, was cut
 * off and came back), step down, and give its own vote at once, while a third server still holds a grant of L. Then X is leader before that grant has
 * run out. This is what (4) is for. Every lease of an earlier term ends at most S after a stamp s that some voter of X echoed before it
 * voted for X, that is, before X's election; every grant ends no later than the lease it was cut from. So S + margin after X's election nothing older than
 * X's term is in use, whatever became of those who gave it. Grants of X's own term fall under (3). Hence: no use that starts after a revocation returned succeeds. Rule
 * (4) does not rest on claim A, so revocations stay safe even if a server skips its boot wait; reads do not.
 *
 * Why a grant echoes f: the member counts from when it spoke, not from when it heard, so a grant that lay in a stopped process's socket is
 * worthless when it is read.
 */
#include "lease.h"

#include <assert.h>
#include <string.h>

/* What two clocks may drift apart in a span, and what rounding adds. */
static uint64_t margin_us(const struct km_lease *lease)
{
    return lease->span_us / 64 + 1000;
}

void km_lease_init(struct km_lease *lease, uint64_t self, unsigned election_ms)
{
    memset(lease, 0, sizeof(*lease));
    lease->self = self;
    lease->span_us = (uint64_t)election_ms * 750;
}

static struct km_lease_member *find(const struct km_lease *lease, uint64_t id)
{
    for (size_t i = 0; i < lease->n_members; i++)
        if (lease->members[i].id == id)
            return (struct km_lease_member *)&lease->members[i];
    return NULL;
}

static void set_fresh_until(struct km_lease *lease, uint64_t until_us)
{
    atomic_store_explicit(&lease->fresh_until_us, until_us, memory_order_release);
}

bool km_lease_is_fresh(const struct km_lease *lease, uint64_t now_us)
{
    return now_us < atomic_load_explicit(&lease->fresh_until_us, memory_order_acquire);
}

/* When the leader's lease ends; 0: it has none. */
static uint64_t lease_end_us(const struct km_lease *lease, uint64_t now_us)
{
    uint64_t echoed[KM_LEASE_MEMBERS_MAX];
    size_t n = 0;

    if (!lease->is_leader || lease->is_dropped)
        return 0;
    for (size_t i = 0; i < lease->n_members; i++) {
        const struct km_lease_member *member = &lease->members[i];
        uint64_t value = member->id == lease->self ? now_us : member->echoed_us;
        size_t at = n;

        if (!member->is_member || !member->is_voter)
            continue;
        for (; at > 0 && echoed[at - 1] < value; at--) /* newest first */
            echoed[at] = echoed[at - 1];
        echoed[at] = value;
        n++;
    }
    if (n == 0)
        return 0;
    if (lease->plants & KM_LEASE_PLANT_NO_MAJORITY)
        return echoed[0] + lease->span_us;
    return echoed[n / 2] == 0 ? 0 : echoed[n / 2] + lease->span_us;
}

static bool has_barrier(const struct km_lease *lease)
{
    return lease->has_barrier || (lease->plants & KM_LEASE_PLANT_NO_BARRIER);
}

bool km_lease_is_leading(const struct km_lease *lease, uint64_t now_us)
{
    return has_barrier(lease) && now_us < lease_end_us(lease, now_us);
}

static void update_leader(struct km_lease *lease, uint64_t now_us)
{
    if (lease->is_leader)
        set_fresh_until(lease, has_barrier(lease) ? lease_end_us(lease, now_us) : 0);
}

void km_lease_set_members(struct km_lease *lease, const uint64_t *ids, const bool *is_voter, size_t n, uint64_t now_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < lease->n_members; i++)
        lease->members[i].is_member = lease->members[i].is_voter = false;
    for (size_t i = 0; i < n; i++) {
        struct km_lease_member *member = find(lease, ids[i]);

        if (member == NULL) {
            assert(lease->n_members < KM_LEASE_MEMBERS_MAX);
            member = &lease->members[lease->n_members++];
            memset(member, 0, sizeof(*member));
            member->id = ids[i];
        }
        member->is_member = true;
        member->is_voter = is_voter[i];
    }
    for (size_t i = 0; i < lease->n_members; i++)
        if (lease->members[i].is_member || lease->members[i].grant_end_us > now_us)
            lease->members[kept++] = lease->members[i];
    lease->n_members = kept;
    update_leader(lease, now_us);
}

void km_lease_set_term(struct km_lease *lease, uint64_t term, bool is_leader, uint64_t now_us)
{
    if (lease->term == term && lease->is_leader == is_leader)
        return;
    if (lease->is_leader || is_leader)
        set_fresh_until(lease, 0);
    if (is_leader)
        lease->elected_us = now_us;
    if (lease->term != term || is_leader) {
        for (size_t i = 0; i < lease->n_members; i++) {
            struct km_lease_member *member = &lease->members[i];

            member->echoed_us = member->stamp_us = member->received_us = 0;
            member->grant_end_us = 0;
        }
        lease->is_dropped = false;
        lease->n_pending = 0;
    }
    lease->term = term;
    lease->is_leader = is_leader;
    lease->has_barrier = false;
}

void km_lease_set_barrier(struct km_lease *lease, uint64_t now_us)
{
    lease->has_barrier = lease->is_leader;
    update_leader(lease, now_us);
}

void km_lease_drop(struct km_lease *lease)
{
    lease->is_dropped = true;
    if (lease->is_leader)
        set_fresh_until(lease, 0);
}

void km_lease_tick(struct km_lease *lease, uint64_t now_us)
{
    update_leader(lease, now_us);
}

void km_lease_on_ack(struct km_lease *lease, uint64_t id, uint64_t term, uint64_t echo_us, uint64_t their_stamp_us, uint64_t now_us)
{
    struct km_lease_member *member = find(lease, id);

    if (!lease->is_leader || term != lease->term || member == NULL || echo_us == 0 || echo_us > now_us)
        return;
    if (echo_us > member->echoed_us)
        member->echoed_us = echo_us;
    member->stamp_us = their_stamp_us;
    member->received_us = now_us;
    update_leader(lease, now_us);
}

void km_lease_forget(struct km_lease *lease, uint64_t id)
{
    struct km_lease_member *member = find(lease, id);

    if (member != NULL)
        member->echoed_us = member->stamp_us = member->received_us = member->applied = 0;
}

void km_lease_on_member_applied(struct km_lease *lease, uint64_t id, uint64_t applied)
{
    struct km_lease_member *member = find(lease, id);

    /* Not its greatest ever: a member that starts again has no grants until it gets new ones. */
    if (member != NULL)
        member->applied = applied;
}

bool km_lease_grant(struct km_lease *lease, uint64_t id, uint64_t now_us, uint64_t *ret_echo_us, uint64_t *ret_duration_us)
{
    struct km_lease_member *member = find(lease, id);
    uint64_t end_us = lease_end_us(lease, now_us), duration_us;

    if (member == NULL || !member->is_member || member->stamp_us == 0 || !has_barrier(lease) || end_us <= now_us)
        return false;
    duration_us = end_us - now_us < lease->span_us ? end_us - now_us : lease->span_us;
    if (member->received_us + duration_us <= now_us)
        return false;
    if (member->received_us + duration_us + margin_us(lease) > member->grant_end_us)
        member->grant_end_us = member->received_us + duration_us + margin_us(lease);
    *ret_echo_us = member->stamp_us;
    *ret_duration_us = duration_us;
    return true;
}

void km_lease_accept(struct km_lease *lease, uint64_t term, uint64_t their_stamp_us)
{
    if (term != lease->accepted_term || their_stamp_us > lease->accepted_us) {
        lease->accepted_term = term;
        lease->accepted_us = their_stamp_us;
    }
}

uint64_t km_lease_echo(const struct km_lease *lease, uint64_t term)
{
    return term == lease->accepted_term ? lease->accepted_us : 0;
}

void km_lease_on_grant(struct km_lease *lease, uint64_t term, uint64_t commit, uint64_t echo_us, uint64_t duration_us, uint64_t applied, uint64_t now_us)
{
    uint64_t until_us = echo_us + duration_us;
    size_t at;

    if (lease->is_leader || term != lease->term || echo_us == 0 || echo_us > now_us || duration_us > lease->span_us)
        return;
    if (lease->plants & KM_LEASE_PLANT_OWN_CLOCK)
        until_us = now_us + duration_us;
    if (until_us <= now_us)
        return;
    if (commit <= applied || (lease->plants & KM_LEASE_PLANT_NO_COVER)) {
        if (until_us > atomic_load_explicit(&lease->fresh_until_us, memory_order_relaxed))
            set_fresh_until(lease, until_us);
        return;
    }
    /* Commit indexes only grow within a term. When there is no room the newest waits in place of the one before: the oldest are
     * the first to count. */
    at = lease->n_pending < KM_LEASE_PENDING_MAX ? lease->n_pending++ : KM_LEASE_PENDING_MAX - 1;
    lease->pending[at].commit = commit;
    lease->pending[at].until_us = until_us;
}

void km_lease_on_applied(struct km_lease *lease, uint64_t applied)
{
    size_t kept = 0;

    for (size_t i = 0; i < lease->n_pending; i++) {
        if (lease->pending[i].commit > applied)
            lease->pending[kept++] = lease->pending[i];
        else if (!lease->is_leader && lease->pending[i].until_us > atomic_load_explicit(&lease->fresh_until_us, memory_order_relaxed))
            set_fresh_until(lease, lease->pending[i].until_us);
    }
    lease->n_pending = kept;
}

void km_lease_wait_init(const struct km_lease *lease, uint64_t index, uint64_t now_us, struct km_lease_wait *ret)
{
    ret->index = index;
    ret->horizon_us = lease->plants & (KM_LEASE_PLANT_NO_HORIZON | KM_LEASE_PLANT_NO_SETTLE) ? 0 : lease->elected_us + lease->span_us + margin_us(lease);
    ret->n = 0;
    for (size_t i = 0; i < lease->n_members && !(lease->plants & KM_LEASE_PLANT_NO_SETTLE); i++)
        if (lease->members[i].grant_end_us > now_us) {
            ret->grants[ret->n].id = lease->members[i].id;
            ret->grants[ret->n++].until_us = lease->members[i].grant_end_us;
        }
}

bool km_lease_wait_is_over(const struct km_lease *lease, struct km_lease_wait *wait, uint64_t now_us)
{
    size_t kept = 0;

    if (now_us < wait->horizon_us)
        return false;
    for (size_t i = 0; i < wait->n; i++) {
        const struct km_lease_member *member = find(lease, wait->grants[i].id);

        if (now_us < wait->grants[i].until_us && (member == NULL || member->applied < wait->index))
            wait->grants[kept++] = wait->grants[i];
    }
    wait->n = kept;
    return kept == 0;
}
