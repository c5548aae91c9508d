/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated world: virtual time, and for each server a disk, a link and a clock behind the very interfaces that the
 * real ones implement (disk.h, link.h, struct km_world of replica.h). Everything that happens is an event in one heap,
 * and every choice comes from one seed, so a seed is a run. One thread.
 */
#ifndef KM_SIM_ENV_H
#define KM_SIM_ENV_H

#include "../../server/raft/replica.h"

#include <stdio.h>

#define SIM_SERVERS_MAX 8
#define SIM_MS 1000u /* virtual time is in microseconds */
#define SIM_NOBODY (-1)

struct sim;
struct sim_server;

/* How rough the world is. */
struct sim_weather {
    unsigned delay_min_us, delay_max_us; /* of a message */
    unsigned disk_min_us, disk_max_us;   /* of a write */
    unsigned late_permille;              /* messages of a broken connection that arrive all the same, late */
    unsigned drift_ppm;                  /* clocks run up to so much fast or slow */
    bool forgets_votes;                  /* planted: a crash loses term and vote */
};

/* `on_step` is called after each event of server `i` (SIM_NOBODY: none). */
struct sim *sim_new(uint64_t seed, const struct sim_weather *weather, void (*on_step)(struct sim *sim, int i));

uint64_t sim_now(const struct sim *sim);
uint64_t sim_hash(const struct sim *sim); /* of all events so far: equal for equal seeds */
uint64_t sim_events(const struct sim *sim);
uint64_t sim_random(struct sim *sim, uint64_t below);
bool sim_chance(struct sim *sim, unsigned permille);

/* Calls fn(arg) after `delay_us`. An event of server `i` waits while it is paused, and never happens if it crashed
 * meanwhile. */
void sim_at(struct sim *sim, int i, uint64_t delay_us, void (*fn)(void *arg), void *arg);

/* Runs until `until_us`. */
void sim_run(struct sim *sim, uint64_t until_us);

/* Adds a server whose disk is bootstrapped with `conf` (NULL: it joins). Ids are index + 1. Returns its index. */
int sim_add(struct sim *sim, const struct raft_configuration *conf);
int sim_n(const struct sim *sim);

/* Starts a server from its disk with `conf`. A start that fails is the run's failure. */
void sim_start(struct sim *sim, int i, const struct km_replica_conf *conf);
/* kill -9, or power loss: what the disk had not finished may or may not be there. */
void sim_crash(struct sim *sim, int i);
/* SIGSTOP for a while: time goes on, events wait. */
void sim_pause(struct sim *sim, int i, uint64_t for_us);
/* Messages from `a` to `b` do not pass while blocked; held ones arrive if it heals before the connection breaks. */
void sim_block(struct sim *sim, int a, int b, bool blocked);
/* Breaks the connection from `a` to `b`. */
void sim_reset(struct sim *sim, int a, int b);

bool sim_is_up(const struct sim *sim, int i); /* started, not crashed; maybe paused */
bool sim_is_paused(const struct sim *sim, int i);
bool sim_was_fatal(const struct sim *sim, int i); /* on_fatal was called: the server has stopped itself */
struct km_replica *sim_replica(struct sim *sim, int i);
struct km_store *sim_store(struct sim *sim, int i);
unsigned sim_life(const struct sim *sim, int i); /* grows with each crash */

/* The address string of server `i` in configurations. */
const char *sim_address(struct sim *sim, int i);

/* Ends the run: prints what is wrong with the seed and the time, exits 1. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
/* A line of history; the last ones are shown by sim_fail. */
void sim_note(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
