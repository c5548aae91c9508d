/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the replica share: its state, and who calls whom. replica.c is life and libraft; replica_peer.c talks to other servers;
 * replica_propose.c, replica_read.c and replica_member.c are the three things one can ask of it; replica_wait.c waits for them on workers' threads.
 *
 * Everything here belongs to the loop thread, except the inbox, the status and the atomics.
 */
#ifndef KM_RAFT_REPLICA_PRIVATE_H
#define KM_RAFT_REPLICA_PRIVATE_H

#include "io.h"
#include "lease.h"
#include "peer.h"
#include "replica.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define KM_REPLICA_MEMBERS_MAX 32
#define KM_REPLICA_PEERS_MAX 64          /* members, and removed ones that are told so */
#define KM_REPLICA_PROPOSALS_MAX 4096    /* in work; more are BUSY */
#define KM_REPLICA_READS_MAX 65536
#define KM_REPLICA_WAIT_MS 5000          /* for a leader, or for its answer */
#define KM_REPLICA_FAREWELL_MS 2000      /* how long a removed member is told that it is */
#define KM_REPLICA_INFLIGHT 256
#define KM_REPLICA_INSTALL_MS 2000

_Static_assert(RAFT_VERSION_NUMBER == 2201, "the request queue's layout and the bugs kept out by io.c were checked for libraft 0.22.1 only");

/* Where a proposal is. */
enum km_proposal_state {
    KM_PROPOSAL_WAITING,   /* for a leader, or for its barrier */
    KM_PROPOSAL_IN_RAFT,   /* libraft has it */
    KM_PROPOSAL_FORWARDED, /* the leader has it */
    KM_PROPOSAL_SETTLING,  /* applied; older grants must run out or be superseded */
    KM_PROPOSAL_APPLYING,  /* the leader answered; this server has not applied it yet */
};
struct km_proposal {
    TAILQ_ENTRY(km_proposal) link;
    enum km_proposal_state state;
    struct km_replica *replica;
    struct raft_apply apply;
    Kml__Command *command;
    bool does_settle;                 /* wait for older grants whatever the command is */
    uint64_t deadline_us, retry_us;
    km_propose_cb cb;                 /* asked here, or ... */
    void *arg;
    uint64_t asker, asker_id;         /* ... by that member under that number */
    uint64_t forward_id, leader, term; /* to whom it was forwarded */
    uint64_t index;
    Kml__Result *result;
    struct km_lease_wait *wait;
};
TAILQ_HEAD(km_proposals, km_proposal);

/* A read, or a wait for an index. */
struct km_read {
    TAILQ_ENTRY(km_read) link;
    uint64_t index; /* 0: the leader's commit index is not known yet */
    uint64_t deadline_us;
    km_propose_cb cb;
    void *arg;
};
TAILQ_HEAD(km_reads, km_read);

enum km_member_operation { KM_MEMBER_ADD = 1, KM_MEMBER_REMOVE };
enum km_member_stage { KM_STAGE_WAITING, KM_STAGE_FORWARDED, KM_STAGE_CHANGING, KM_STAGE_SETTLING };
struct km_member_change {
    TAILQ_ENTRY(km_member_change) link;
    enum km_member_operation operation;
    enum km_member_stage stage;
    struct km_replica *replica;
    struct raft_change change;
    uint64_t id;
    char address[KM_MEMBER_PACKED_MAX];
    uint64_t deadline_us, retry_us;
    km_propose_cb cb;
    void *arg;
    uint64_t asker, asker_id;
    uint64_t forward_id, leader, term;
    struct km_lease_wait *wait;
};
TAILQ_HEAD(km_member_changes, km_member_change);

struct km_replica_peer {
    uint64_t id;
    struct km_peer_order order;
    uint64_t sequence;         /* of the last message sent to it */
    uint64_t heard_us;
    bool is_up;
    int64_t clock_offset_ms;   /* its wall clock minus ours */
    uint64_t applied;
    uint64_t read_ask;         /* its read that waits for our lease; 0: none */
    uint64_t farewell_until_us, farewell_index; /* it was removed */
    char address[KM_MEMBER_PACKED_MAX];
    uint64_t complained_us, told_us;
};

/* What an entry answered, until the callbacks of its event have run. */
struct km_applied {
    struct km_applied *next;
    Kml__Result *result;
};

/* Something that another thread asked for. */
struct km_request {
    STAILQ_ENTRY(km_request) link;
    struct km_proposal *proposal;
    struct km_read *read;
    struct km_member_change *change;
};
STAILQ_HEAD(km_requests, km_request);

struct km_replica {
    struct km_replica_conf conf;
    char *self_address;
    struct km_member *joining_peers;
    struct km_world *world;
    struct km_link *link;
    struct km_store *store;
    void (*on_fatal)(void *arg, const char *why);
    void *fatal_arg;
    bool is_fatal;

    struct km_io *io;
    struct raft raft;
    struct raft_fsm fsm;
    bool is_started;                /* raft_start was called: the boot wait is over */
    uint64_t boot_end_us;
    struct km_applied *applied_results;

    struct km_lease lease;
    _Atomic uint64_t applied;
    _Atomic bool is_leader;         /* with a barrier of its own term applied */
    uint64_t epoch;                 /* of this start */
    uint64_t next_id;               /* of questions to the leader */

    int seen_state;                 /* what libraft said at the last look */
    raft_term seen_term;
    uint64_t seen_leader;
    raft_index seen_committed, seen_uncommitted;
    bool was_member;
    struct raft_barrier barrier;
    bool is_barrier_out;
    raft_term barrier_term;
    struct raft_barrier nudge;      /* see nudge in replica_propose.c */
    bool is_nudge_out, wants_nudge;

    struct km_replica_peer peers[KM_REPLICA_PEERS_MAX];
    size_t n_peers;
    struct raft_configuration learned; /* newer than ours, as another member told us: its servers are let in */
    uint64_t learned_index;
    struct {
        bool is_set;
        uint64_t id, stamp_us;
        raft_term term;
    } incoming;                     /* the leader's message that libraft is looking at */

    struct km_proposals proposals;
    size_t n_proposals;
    struct km_reads reads;          /* not asked yet */
    struct km_reads asked;          /* in the question `ask_id` */
    struct km_reads indexed;        /* wait for an index to be applied */
    size_t n_reads;
    uint64_t ask_id, ask_leader, ask_deadline_us;
    struct km_member_changes changes;
    bool is_changing;               /* libraft has a membership change of ours */
    raft_term leaving_term;         /* in which leadership is being handed over, to be removed by the next leader */
    struct raft_transfer leaving;

    enum { KM_RUNNING, KM_HANDING_OVER, KM_TRANSFERRING, KM_CLOSING } phase;
    uint64_t phase_end_us;
    struct raft_transfer transfer;
    bool is_transfer_out;
    void (*stop_cb)(void *arg);
    void *stop_arg;

    pthread_mutex_t lock;           /* inbox, status */
    struct km_requests inbox;
    bool is_inbox_closed;
    struct km_replica_status status;
    struct km_member status_members[KM_REPLICA_MEMBERS_MAX];

    unsigned plants;                /* simulator only (enum km_replica_plant) */
};

/* Rules that the simulator can leave out to show that it notices. */
enum km_replica_plant {
    KM_REPLICA_PLANT_NO_ORIGIN = 1,   /* exactly-once is forgotten */
    KM_REPLICA_PLANT_NO_BARRIER = 2,  /* proposals and reads before the own term's barrier */
    KM_REPLICA_PLANT_STALE_READ = 4,  /* reads answered by a leader without a lease */
    KM_REPLICA_PLANT_BUG_L = 8,       /* own snapshots whenever libraft wants one (bug L of io.c) */
    KM_REPLICA_PLANT_SHUT_OUT = 16,   /* members of the last committed configuration are shut out by a change that is not committed */
    KM_REPLICA_PLANT_NO_GOSSIP = 32,  /* a server that missed changes is not told of newer members */
};
void km_replica_set_plants(struct km_replica *replica, unsigned replica_plants, unsigned lease_plants, unsigned io_plants);

/* replica.c */
uint64_t km_replica_now_us(const struct km_replica *replica);
void km_replica_fatal(struct km_replica *replica, const char *why);
/* After every event that went into libraft: completed requests, changes of state, what waits. */
void km_replica_pump(struct km_replica *replica);
/* Tells the lease what libraft's state is now; before anything is sent. */
void km_replica_sync_lease(struct km_replica *replica);
/* True for the leader once its barrier is applied. */
bool km_replica_is_ready(const struct km_replica *replica);
/* The known leader; 0: none. */
uint64_t km_replica_leader(struct km_replica *replica);
uint64_t km_replica_cluster_time_ms(const struct km_replica *replica);
/* Posts to the loop; false once the replica is stopping. */
bool km_replica_post(struct km_replica *replica, struct km_request *request);

/* replica_peer.c */
struct km_replica_peer *km_replica_peer(struct km_replica *replica, uint64_t id, bool may_add);
void km_replica_link_members(struct km_replica *replica);
/* Ends a server that finds itself removed. */
void km_replica_check_removed(struct km_replica *replica);
void km_replica_send(struct km_replica *replica, uint64_t id, enum km_peer_kind kind, uint8_t *data, size_t len, raft_term ack_term);
void km_replica_note(struct km_replica *replica, uint64_t id, enum km_peer_kind kind, const struct km_peer_note *note);
void km_replica_before(void *replica, raft_term term);
extern const struct km_link_events km_replica_link_events, km_replica_deaf_events;

/* replica_propose.c */
void km_proposals_add(struct km_replica *replica, struct km_proposal *proposal);
void km_proposals_run(struct km_replica *replica);
void km_proposals_fail(struct km_replica *replica);
void km_proposals_on_ask(struct km_replica *replica, uint64_t from, const struct km_peer_note *note);
void km_proposals_on_answer(struct km_replica *replica, uint64_t from, const struct km_peer_note *note);
void km_settle(struct km_replica *replica, km_propose_cb cb, void *arg); /* [any] see km_replica_settle */
void km_proposal_free(struct km_proposal *proposal);

/* replica_read.c */
void km_read_index(struct km_replica *replica, uint64_t index, km_propose_cb cb, void *arg); /* [any] */
void km_reads_add(struct km_replica *replica, struct km_read *read);
void km_reads_run(struct km_replica *replica);
void km_reads_fail(struct km_replica *replica);
void km_reads_on_ask(struct km_replica *replica, uint64_t from, const struct km_peer_note *note);
void km_reads_on_answer(struct km_replica *replica, uint64_t from, const struct km_peer_note *note);

/* replica_member.c */
void km_member_add(struct km_replica *replica, uint64_t id, const char *address, unsigned deadline_ms, km_propose_cb cb, void *arg); /* [any] */
void km_member_remove(struct km_replica *replica, uint64_t id, unsigned deadline_ms, km_propose_cb cb, void *arg);                 /* [any] */
void km_changes_add(struct km_replica *replica, struct km_member_change *change);
void km_changes_run(struct km_replica *replica);
void km_changes_fail(struct km_replica *replica);
void km_changes_on_ask(struct km_replica *replica, uint64_t from, const struct km_peer_note *note);
void km_changes_on_answer(struct km_replica *replica, uint64_t from, const struct km_peer_note *note);

#endif
