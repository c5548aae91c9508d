/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the simulated world: what env.c, env_disk.c and env_link.c share.
 */
#ifndef KM_SIM_ENV_IMPL_H
#define KM_SIM_ENV_IMPL_H

#include "env.h"

/* What a server's disk holds; survives crashes. */
struct sim_media {
    raft_term term;
    raft_id vote;
    raft_index first;           /* index of entries[0] */
    struct raft_entry *entries; /* malloc'ed payloads */
    size_t n, cap;
    bool has_snapshot;
    raft_index snapshot_index;
    raft_term snapshot_term;
    raft_index snapshot_conf_index;
    uint8_t *snapshot_conf, *snapshot_data;
    size_t snapshot_conf_len, snapshot_len;
};

struct sim_message {
    struct sim_message *next;
    uint64_t not_before;
    size_t len;
    uint8_t data[];
};

/* One direction between two servers. */
struct sim_conn {
    struct sim *sim;
    int from, to;
    bool is_up, is_blocked, is_connecting, is_pumping;
    uint64_t stalled_since; /* 0: not */
    uint64_t epoch;
    struct sim_message *head, **tail;
};

struct sim_link {
    struct km_link link;
    struct sim *sim;
    int server;
    const struct km_link_events *events;
    void *arg;
    bool is_member[SIM_SERVERS_MAX];
};

struct sim_disk;

struct sim_world {
    struct km_world world;
    struct sim *sim;
    int server;
    uint64_t random_state;
    void (*wake_cb)(void *arg);
    void *wake_arg;
    bool is_woken;
    struct {
        void (*cb)(void *arg);
        void *arg;
        uint64_t interval_us;
        struct sim_world *world;
    } timers[4];
};

struct sim_server {
    bool is_up, is_fatal;
    unsigned life;
    uint64_t paused_until;
    int64_t clock_offset_us, utc_skew_ms;
    int64_t drift_ppm;
    struct sim_media media;
    struct sim_world *world;
    struct sim_disk *disk;
    struct sim_link *link;
    struct km_store *store;
    struct km_replica *replica;
    char address[KM_MEMBER_PACKED_MAX];
    char name[16];
};

struct sim_event {
    uint64_t at, seq;
    int server;
    unsigned life;
    void (*fn)(void *arg);
    void *arg;
};

enum { SIM_NOTES = 40, SIM_NOTE_LEN = 160 };

struct sim {
    uint64_t seed, now, seq, random_state, hash, n_events;
    struct sim_weather weather;
    void (*on_step)(struct sim *sim, int i);
    struct sim_event *heap;
    size_t n_heap, cap_heap;
    struct sim_server servers[SIM_SERVERS_MAX];
    int n;
    struct sim_conn conns[SIM_SERVERS_MAX][SIM_SERVERS_MAX];
    char notes[SIM_NOTES][SIM_NOTE_LEN];
    unsigned n_notes;
};

/* A new incarnation of the disk over the server's media. */
struct sim_disk *sim_disk_new(struct sim *sim, int i);
struct km_disk *sim_disk_km(struct sim_disk *disk);
/* Power loss: a random prefix of what was queued reached the media. */
void sim_disk_crash(struct sim_disk *disk);

struct sim_link *sim_link_new(struct sim *sim, int i);
/* Breaks every connection of a server that crashed. */
void sim_link_crash(struct sim *sim, int i);
/* Each 20 ms of virtual time: connects, breaks what has stalled, goes on after a heal. */
void sim_link_tick(struct sim *sim);

#endif
