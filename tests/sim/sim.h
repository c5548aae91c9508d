/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator: 3 or 5 servers in one process, with the real codec, raft_io, peer messages, leases, replica and store, on a simulated disk,
 * network and clock, from one seed. What happens is a queue of events in simulated time; nothing else makes time pass, so the same seed gives the same run.
 *
 * One run is one process (sim.c forks): a crashed server's memory is simply left behind.
 */
#ifndef KM_TESTS_SIM_H
#define KM_TESTS_SIM_H

#include "../../server/raft/replica_private.h"

#include <stdbool.h>
#include <stdint.h>

#define MS 1000u
#define NODES_MAX 9
#define THINGS_MAX 4096
#define CLIENTS 5

/* Rules left out on purpose, to show that the checks notice (plants.def). */
struct plants {
    const char *name;
    const char *scene; /* that leads to it; NULL: any weather does */
    unsigned replica, lease, io;
    bool forget_vote;   /* a crash forgets the vote of the current term */
    bool no_boot_wait;
    bool no_sync;       /* the disk answers before it has written */
    bool no_recheck;    /* a use is not checked again before its answer leaves */
    bool no_settle_retry; /* a revocation's retry is answered from its kept result at once */
};

struct node;

/* One life of a server. */
struct life {
    struct node *node;
    bool is_over;
    struct km_world world;
    struct km_disk disk;
    struct km_link link;
    struct km_store *store;
    struct km_replica *replica;
    void (*timer_cb)(void *arg);
    void *timer_arg;
    unsigned timer_ms, timer_generation;
    void (*wake_cb)(void *arg);
    void *wake_arg;
    bool is_wake_out;
    const struct km_link_events *events;
    void *events_arg;
    uint64_t linked[NODES_MAX];
    size_t n_linked;
    bool is_stopping;
    bool is_fatal;
};

struct disk_entry {
    raft_term term;
    enum raft_entry_type type;
    size_t len;
    uint8_t *data;
};
struct disk_op;
struct node {
    uint64_t id;
    bool is_used, is_leaving, is_removed;
    char address[128];
    struct life *life; /* NULL: down */
    unsigned lives;
    uint64_t paused_until;
    /* clock: local = base + rate * time */
    uint64_t clock_base;
    int64_t clock_ppm;
    int64_t utc_skew_ms;
    /* disk: what is durable */
    raft_term term;
    raft_id vote;
    raft_index start;
    struct disk_entry *entries;
    size_t n_entries, cap_entries;
    struct raft_snapshot snapshot; /* bufs[0] in snapshot_buf; index 0: none */
    struct raft_buffer snapshot_buf;
    struct disk_op *ops, **ops_tail;
    uint64_t disk_free_at, disk_slow_until;
    uint64_t checked_index;
    raft_index checked_commit;
};

struct sim {
    uint64_t seed, rng, now, sequence, hash, end_us;
    uint64_t n_events;
    unsigned n_nodes;
    struct node nodes[NODES_MAX];
    bool cut[NODES_MAX][NODES_MAX];
    double loss;
    uint64_t delay_max_us;
    struct plants plants;
    const char *scene;
    bool is_traced, is_healed;
    bool is_lull; /* clients change nothing */
    unsigned election_ms, heartbeat_ms, threshold, trailing;
    /* what was seen */
    uint64_t uses, changes, reads, elsewhere, elections, crashes, installs;
};
extern struct sim sim;

/* env.c: randomness, time, trace */
uint64_t rnd(void);
uint64_t rnd_below(uint64_t n);
bool chance(double p);
uint64_t rnd_between(uint64_t low, uint64_t high);
void mix(uint64_t value);
void mix_bytes(const void *data, size_t len);
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Calls fn(arg) at `at`; with a life, only while that lasts, and not while its node is paused. */
void at(uint64_t at_us, struct life *life, void (*fn)(void *arg), void *arg);
bool run_next(void);
uint64_t local_us(const struct node *node);

/* disk.c */
extern const struct km_disk_ops sim_disk_ops;
void disk_bootstrap(struct node *node, const struct raft_configuration *configuration);
void disk_crash(struct node *node);

/* net.c */
extern const struct km_link_ops sim_link_ops;
void net_cut(unsigned from, unsigned to, bool is_cut);
void net_reset(unsigned a, unsigned b);
void net_heal(void);

/* server.c */
struct node *node_by_id(uint64_t id);
void server_boot(struct node *node, bool is_first);
void server_crash(struct node *node, bool is_reboot);
void server_stop(struct node *node);
void server_pause(struct node *node, uint64_t us);
struct node *leader_node(void);
struct node *node_new(void);
void cluster_make(unsigned n);

/* client.c */
void clients_start(void);
bool clients_are_idle(void);
void clients_check(struct node *node);
void clients_stop(void);

/* check.c */
void check_node(struct node *node);
/* An entry becomes durable: equal index and term, equal entry, on all servers and for ever. */
void check_entry(const struct node *node, raft_index index, const struct raft_entry *entry);
void check_leases(void);
void check_end(void);

/* fault.c */
void faults_start(void);
void faults_heal(void);
void faults_retire(void *arg);
void faults_on_vote(struct node *node);
/* Sets the stage for a scene; false if there is none of that name. */
bool scene_prepare(const char *name, unsigned *n_nodes);

#endif
