/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases: what a server knows of its own freshness (design D8). Pure arithmetic on stamps; replica.c feeds it. The rules and the proof that
 * they suffice are on top of lease.c.
 *
 * Threads: km_lease_is_fresh on any thread; everything else on the loop thread. All times in microseconds of this server's CLOCK_BOOTTIME
 * unless an argument is called theirs.
 */
#ifndef KM_RAFT_LEASE_H
#define KM_RAFT_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_LEASE_MEMBERS_MAX 64
#define KM_LEASE_PENDING_MAX 16

struct km_lease_member {
    uint64_t id;
    bool is_member, is_voter;
    uint64_t echoed_us;      /* newest of our stamps that it echoed in this term */
    uint64_t stamp_us;       /* its own stamp on that acknowledgement (theirs) */
    uint64_t received_us;    /* when that arrived */
    uint64_t applied;        /* what it said it had applied */
    uint64_t grant_end_us;   /* end of the longest grant it was given in this term, by our clock, with margin */
};

struct km_lease {
    _Atomic uint64_t fresh_until_us; /* the only field that other threads read */
    uint64_t self, span_us;
    uint64_t term;
    bool is_leader, has_barrier, is_dropped;
    uint64_t elected_us;
    struct km_lease_member members[KM_LEASE_MEMBERS_MAX]; /* of the latest configuration, and gone ones whose grants may run */
    size_t n_members;
    uint64_t accepted_term, accepted_us;                  /* newest stamp of the leader of that term (theirs) */
    struct {
        uint64_t commit, until_us;
    } pending[KM_LEASE_PENDING_MAX]; /* grants whose commit index is not applied yet, by commit index */
    size_t n_pending;
    unsigned plants; /* simulator only: rules left out on purpose (enum km_lease_plant) */
};

/* Rules that the simulator can leave out to show that it notices. */
enum km_lease_plant {
    KM_LEASE_PLANT_NO_MAJORITY = 1,  /* the lease runs from any one echo */
    KM_LEASE_PLANT_NO_SETTLE = 2,    /* a revocation does not wait for older grants */
    KM_LEASE_PLANT_NO_HORIZON = 4,   /* a new leader does not wait for grants of its predecessors */
    KM_LEASE_PLANT_NO_COVER = 8,     /* a grant counts before its commit index is applied */
    KM_LEASE_PLANT_NO_BARRIER = 16,  /* the lease counts before a barrier of the own term */
    KM_LEASE_PLANT_OWN_CLOCK = 32,   /* a grant runs from its arrival, not from the stamp it echoes */
};

void km_lease_init(struct km_lease *lease, uint64_t self, unsigned election_ms);

/* The voters and others of the latest configuration, committed or not. */
void km_lease_set_members(struct km_lease *lease, const uint64_t *ids, const bool *is_voter, size_t n, uint64_t now_us);

/* This server is in `term`, as leader or not. Leaving leadership ends the lease at once. */
void km_lease_set_term(struct km_lease *lease, uint64_t term, bool is_leader, uint64_t now_us);
/* Leader: a barrier of this term is committed and applied. */
void km_lease_set_barrier(struct km_lease *lease, uint64_t now_us);
/* Leader: no lease and no grants for the rest of this term (before a leadership transfer). */
void km_lease_drop(struct km_lease *lease);
/* Leader: time went on; a sole voter's lease is renewed by this alone. */
void km_lease_tick(struct km_lease *lease, uint64_t now_us);

/* Leader: member `id` in `term` acknowledged our stamp `echo_us` with its own stamp `their_stamp_us`. */
void km_lease_on_ack(struct km_lease *lease, uint64_t id, uint64_t term, uint64_t echo_us, uint64_t their_stamp_us, uint64_t now_us);
/* Member `id` started anew: stamps of its earlier life are worth nothing. Grants that it was given still count as given. */
void km_lease_forget(struct km_lease *lease, uint64_t id);
/* Leader: member `id` says that it has applied this much. */
void km_lease_on_member_applied(struct km_lease *lease, uint64_t id, uint64_t applied);
/* Leader: a grant for `id` at commit index `commit`, remembered as given. False if there is nothing to grant. */
bool km_lease_grant(struct km_lease *lease, uint64_t id, uint64_t now_us, uint64_t *ret_echo_us, uint64_t *ret_duration_us);
/* True if the leader's own lease runs and its barrier is done. */
bool km_lease_is_leading(const struct km_lease *lease, uint64_t now_us);

/* Member: a message of the leader of `term` was accepted, stamped `their_stamp_us`. */
void km_lease_accept(struct km_lease *lease, uint64_t term, uint64_t their_stamp_us);
/* Member: the stamp to echo in an acknowledgement of `term`; 0: none. */
uint64_t km_lease_echo(const struct km_lease *lease, uint64_t term);
/* Member: a grant from the leader of `term`. */
void km_lease_on_grant(struct km_lease *lease, uint64_t term, uint64_t commit, uint64_t echo_us, uint64_t duration_us, uint64_t applied, uint64_t now_us);
/* This much is applied here. */
void km_lease_on_applied(struct km_lease *lease, uint64_t applied);

/* [any thread] */
bool km_lease_is_fresh(const struct km_lease *lease, uint64_t now_us);

/* What a revocation has to wait for: taken when the command is committed, so that later grants carry its index. */
struct km_lease_wait {
    uint64_t index, horizon_us;
    size_t n;
    struct {
        uint64_t id, until_us;
    } grants[KM_LEASE_MEMBERS_MAX];
};
void km_lease_wait_init(const struct km_lease *lease, uint64_t index, uint64_t now_us, struct km_lease_wait *ret);
/* True once no grant older than the command can still be used. */
bool km_lease_wait_is_over(const struct km_lease *lease, struct km_lease_wait *wait, uint64_t now_us);

#endif
