/* SPDX-License-Identifier: Apache-2.0
 *
 * The replica: libraft with our raft_io under it and the store on top. It proposes, knows whether it is fresh (leases,
 * design D8), forwards proposals to the leader, and manages members.
 *
 * Threads: it owns the loop thread's work. Functions marked [any] may be called on any thread; the others on the loop thread only. Blocking
 * functions [worker] must not be called on the loop thread nor in an nng callback.
 */
#ifndef KM_RAFT_REPLICA_H
#define KM_RAFT_REPLICA_H

#include "disk.h"
#include "link.h"
#include "store.h"

struct km_replica;

/* What surrounds a replica; real (uv, CLOCK_BOOTTIME, getrandom) or simulated. */
struct km_world {
    uint64_t (*boottime_us)(struct km_world *world); /* this machine's monotonic clock that counts suspension */
    uint64_t (*utc_ms)(struct km_world *world);
    uint64_t (*random)(struct km_world *world);
    /* Calls `cb` every `interval_ms` on the loop thread until stopped (interval 0). */
    void (*set_timer)(struct km_world *world, unsigned interval_ms, void (*cb)(void *arg), void *arg);
    /* Has `cb` called soon on the loop thread, from any thread (uv_async). Calls may be merged. */
    void (*wake)(struct km_world *world);
    void (*set_wake)(struct km_world *world, void (*cb)(void *arg), void *arg);
};

struct km_replica_conf {
    uint64_t id;
    const char *self_address;       /* see km_member_pack */
    unsigned election_ms;           /* default 300; the same on all servers, checked at connect */
    unsigned heartbeat_ms;          /* default 30 */
    unsigned snapshot_threshold;    /* entries; default 8192 */
    unsigned snapshot_trailing;     /* entries; default 8192 */
    bool skip_boot_wait;            /* the first start after a bootstrap: no vote was ever given */
    const struct km_member *peers;  /* a server that joins: whom to let in until it finds itself in a configuration */
    size_t n_peers;
};

/* A member as libraft's address string carries it: "name;zone;client host:port;peer host:port". */
struct km_member {
    uint64_t id;
    char name[65], zone[65], address[256], peer_address[256];
    int role; /* RAFT_VOTER, RAFT_STANDBY, RAFT_SPARE */
    bool is_leader, is_up;
    uint64_t applied;
};
/* Errors: KM_ERR_ARG when a part is empty, too long or has a ';'. `ret` has room for KM_MEMBER_PACKED_MAX bytes. */
#define KM_MEMBER_PACKED_MAX 700
enum km_err km_member_pack(const struct km_member *member, char *ret) KM_CHECKED;
enum km_err km_member_unpack(const char *packed, struct km_member *ret) KM_CHECKED;

/* Loads the disk and starts. The replica borrows world, disk, link and store until km_replica_stop's callback.
 * `on_fatal` is called (any thread) when the server must stop: unknown command, removed from the cluster.
 * Errors: KM_ERR_CORRUPT, KM_ERR_NOMEM with `ret_message`. */
enum km_err km_replica_start(const struct km_replica_conf *conf, struct km_world *world, struct km_disk *disk,
                             struct km_link *link, struct km_store *store, void (*on_fatal)(void *arg, const char *why),
                             void *arg, struct km_replica **ret, char *ret_message, size_t message_len) KM_CHECKED;

/* Hands leadership over first if this server leads and others are up (bounded by two election timeouts), fails what waits
 * with KM_ERR_CLOSED, closes the disk, then calls `cb`, after which the replica is gone. */
void km_replica_stop(struct km_replica *replica, void (*cb)(void *arg), void *arg);

/* [any] True while this server knows that its store has everything that any server has answered for: lease (leader) or grant
 * (others) valid now and covered by the applied index. A few loads, no lock. Check it again before a result leaves. */
bool km_replica_is_fresh(const struct km_replica *replica);
/* [any] True if this server is the leader with a barrier of its own term committed. */
bool km_replica_is_leader(const struct km_replica *replica);

typedef void (*km_propose_cb)(void *arg, enum km_err err, uint64_t index, const Kml__Result *result);

/* [any] Proposes `command` (packed kml.Command without time, which the leader fills; malloc'ed, taken) here or, through the link, at the leader. `cb` runs on the loop thread once it
 * is applied *here*, and for commands that revoke (destroy, replace, PIN change, token init) once every older grant has been superseded
 * or has run out. KM_ERR_NOT_LEADER/CLOSED/BUSY: surely not proposed. KM_ERR_UNDECIDED: may still happen. */
void km_replica_propose(struct km_replica *replica, Kml__Command *command, km_propose_cb cb, void *arg);

/* [worker] The same, waiting until `deadline_ms` from now (then KM_ERR_UNDECIDED). The result is the caller's to free. */
enum km_err km_replica_change(struct km_replica *replica, Kml__Command *command, unsigned deadline_ms, uint64_t *ret_index,
                              Kml__Result **ret) KM_CHECKED;

/* [worker] Waits until nothing that was revoked before this call can be used anywhere. Needed when a revoking command is not proposed but answered
 * from its kept result (km_store_result): its first proposer may have fallen before the older grants ran out. Errors: KM_ERR_TIMEOUT, KM_ERR_UNDECIDED,
 * KM_ERR_NOT_LEADER, KM_ERR_BUSY, KM_ERR_CLOSED: not known. */
enum km_err km_replica_settle(struct km_replica *replica, unsigned deadline_ms) KM_CHECKED;

/* [any] Asks the leader for its commit index (batched with others that ask) and calls `cb` on the loop thread once that much is applied here: what the store
 * says then is at least as new as the moment of this call. cb's result is NULL. */
void km_replica_read(struct km_replica *replica, km_propose_cb cb, void *arg);
/* [worker] The same, waiting. Errors: KM_ERR_NOT_LEADER, KM_ERR_TIMEOUT, KM_ERR_CLOSED. */
enum km_err km_replica_sync(struct km_replica *replica, unsigned deadline_ms) KM_CHECKED;
/* [worker] Waits until `index` is applied here. Errors: KM_ERR_TIMEOUT, KM_ERR_CLOSED. */
enum km_err km_replica_wait(struct km_replica *replica, uint64_t index, unsigned deadline_ms) KM_CHECKED;

/* [worker] Members. add: joins as spare, catches up as standby, becomes a voter. Forwarded to the leader when this is not it. Only after the leader's own barrier.
 * Errors: KM_ERR_EXISTS, KM_ERR_NOT_FOUND, KM_ERR_NOT_LEADER, KM_ERR_BUSY (another change is under way), KM_ERR_TIMEOUT. */
enum km_err km_replica_add(struct km_replica *replica, const struct km_member *member, unsigned deadline_ms) KM_CHECKED;
enum km_err km_replica_remove(struct km_replica *replica, uint64_t id, unsigned deadline_ms) KM_CHECKED;

/* [any] What this server knows. `ret_members` has room for `max`. */
struct km_replica_status {
    uint64_t term, commit_index, applied, leader;
    bool is_fresh;
    size_t n_members;
};
void km_replica_status(struct km_replica *replica, struct km_replica_status *ret, struct km_member *ret_members, size_t max);

#endif
