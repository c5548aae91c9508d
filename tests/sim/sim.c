/* SPDX-License-Identifier: Apache-2.0
 *
 * sim [--seed N] [--seeds FROM COUNT] [--seconds S] [--servers N] [--plant NAME]: runs whole clusters in the simulated
 * world, with clients that change and use objects while servers crash, pause and are cut off, and checks at each step:
 *
 *   same index, same store     digests of stores at equal index are equal
 *   nothing acknowledged lost  at the end every server has what was acknowledged
 *   exactly once               no change of a client is found twice, whatever was retried where
 *   no stale use               no use that starts after a destruction returned succeeds, on any server
 *   reads are current          a read finds what was acknowledged before it started
 *   PIN counters never rewind  failed attempts never decrease with the index
 *   it goes on                 after all faults are healed, changes succeed everywhere within seconds
 *
 * One process for each seed; a failure prints its seed and the last events. --plant leaves a rule out, to show that it
 * is noticed.
 */
#include "checks.h"
#include "clients.h"
#include "env.h"
#include "plant.h"

#include "../../common/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FAULT_MIN_MS = 150, FAULT_MAX_MS = 1500, HEAL_MS = 15000 };

static struct {
    uint64_t seed, first, count;
    unsigned seconds, servers;
    const char *plant;
} opt = {.first = 1, .count = 1, .seconds = 20, .servers = 0};

static struct {
    struct sim *sim;
    struct km_replica_conf conf;
    bool is_calm;
    unsigned crashes, pauses, partitions, resets, late_kills;
} run;

/* --- faults --------------------------------------------------------------------------------------------------------
 */

static void on_restart(void *arg)
{
    int i = (int)(intptr_t)arg;
    struct km_replica_conf conf = run.conf;
    if (sim_is_up(run.sim, i) || run.is_calm)
        return;
    conf.skip_boot_wait = false;
    plant_conf(opt.plant, &conf);
    sim_start(run.sim, i, &conf);
    plant_apply(opt.plant, sim_replica(run.sim, i));
}

static void on_heal(void *arg)
{
    uintptr_t pair = (uintptr_t)arg;
    sim_block(run.sim, (int)(pair / SIM_SERVERS_MAX), (int)(pair % SIM_SERVERS_MAX), false);
}

static void cut(int a, int b, uint64_t for_us)
{
    sim_block(run.sim, a, b, true);
    sim_at(run.sim, SIM_NOBODY, for_us, on_heal, (void *)(uintptr_t)(a * SIM_SERVERS_MAX + b));
}

/* The leader is the more interesting victim. */
static int victim(void)
{
    int n = sim_n(run.sim);
    for (int i = 0; i < n && sim_chance(run.sim, 600); i++)
        if (sim_is_up(run.sim, i) && km_replica_is_leader(sim_replica(run.sim, i)))
            return i;
    return (int)sim_random(run.sim, (uint64_t)n);
}

static unsigned n_down(void)
{
    unsigned n = 0;
    for (int i = 0; i < sim_n(run.sim); i++)
        n += !sim_is_up(run.sim, i);
    return n;
}

static void on_fault(void *arg)
{
    struct sim *sim = run.sim;
    int v = victim(), n = sim_n(sim);
    uint64_t for_us = (30 + sim_random(sim, 2500)) * SIM_MS;
    (void)arg;
    if (run.is_calm)
        return;
    switch (sim_random(sim, 6)) {
    case 0: /* a quorum stays most of the time, not always */
        if (n_down() * 2 + 2 < (unsigned)n || sim_chance(sim, 100)) {
            sim_crash(sim, v);
            sim_at(sim, SIM_NOBODY, for_us, on_restart, (void *)(intptr_t)v);
            run.crashes++;
        }
        break;
    case 1:
        sim_pause(sim, v, for_us / 2);
        run.pauses++;
        break;
    case 2: /* alone */
        sim_note(sim, "server %d is cut off for %llu ms", v, (unsigned long long)for_us / 1000);
        for (int i = 0; i < n; i++)
            if (i != v) {
                cut(v, i, for_us);
                cut(i, v, for_us);
            }
        run.partitions++;
        break;
    case 3: { /* one way */
        int other = (v + 1 + (int)sim_random(sim, (uint64_t)n - 1)) % n;
        sim_note(sim, "nothing passes from %d to %d for %llu ms", v, other, (unsigned long long)for_us / 1000);
        cut(v, other, for_us);
        run.partitions++;
        break;
    }
    case 4:
        sim_reset(sim, v, (v + 1 + (int)sim_random(sim, (uint64_t)n - 1)) % n);
        run.resets++;
        break;
    case 5: /* dies and is back at once: must not vote as if it had heard nothing */
        if (n_down() == 0) {
            sim_crash(sim, v);
            sim_at(sim, SIM_NOBODY, 1 + sim_random(sim, 5 * SIM_MS), on_restart, (void *)(intptr_t)v);
            run.crashes++;
        }
        break;
    }
    sim_at(sim, SIM_NOBODY, (FAULT_MIN_MS + sim_random(sim, FAULT_MAX_MS - FAULT_MIN_MS)) * SIM_MS, on_fault, NULL);
}

/* --- a run ---------------------------------------------------------------------------------------------------------
 */

static void on_step(struct sim *sim, int i)
{
    if (i != SIM_NOBODY && sim_is_up(sim, i))
        checks_step(sim, i);
}

static void calm(void)
{
    run.is_calm = true;
    for (int a = 0; a < sim_n(run.sim); a++)
        for (int b = 0; b < sim_n(run.sim); b++)
            sim_block(run.sim, a, b, false);
    run.is_calm = false;
    for (int i = 0; i < sim_n(run.sim); i++)
        on_restart((void *)(intptr_t)i);
    run.is_calm = true;
}

static uint64_t run_seed(uint64_t seed, bool is_verbose)
{
    struct sim_weather weather = {.delay_min_us = 50,
                                  .delay_max_us = 3000,
                                  .disk_min_us = 50,
                                  .disk_max_us = 4000,
                                  .late_permille = 200,
                                  .drift_ppm = 200};
    struct raft_configuration members;
    unsigned n = opt.servers ? opt.servers : (seed % 3 == 0 ? 5 : 3);
    if (seed % 4 == 1) /* small snapshots, so that lagging servers are sent one */
        run.conf.snapshot_threshold = 64, run.conf.snapshot_trailing = 32;
    plant_weather(opt.plant, &weather);
    run.sim = sim_new(seed, &weather, on_step);
    raft_configuration_init(&members);
    for (unsigned i = 0; i < n; i++) {
        int rv = raft_configuration_add(&members, i + 1, sim_address(run.sim, (int)i), RAFT_VOTER);
        assert(rv == 0);
    }
    for (unsigned i = 0; i < n; i++)
        sim_add(run.sim, &members);
    raft_configuration_close(&members);
    checks_begin();
    for (unsigned i = 0; i < n; i++) {
        struct km_replica_conf conf = run.conf;
        conf.skip_boot_wait = true;
        sim_start(run.sim, (int)i, &conf);
        plant_apply(opt.plant, sim_replica(run.sim, (int)i));
    }
    clients_begin(run.sim);
    sim_at(run.sim, SIM_NOBODY, 1500 * SIM_MS, on_fault, NULL);
    sim_run(run.sim, opt.seconds * 1000ull * SIM_MS);
    calm();
    clients_quiet(run.sim); /* finish what is under way */
    sim_run(run.sim, sim_now(run.sim) + HEAL_MS * SIM_MS);
    checks_end(run.sim);
    if (is_verbose)
        printf(
            "seed %llu: %u servers, %u crashes, %u pauses, %u partitions, %u resets; %s; %llu events, hash %016llx\n",
            (unsigned long long)seed, n, run.crashes, run.pauses, run.partitions, run.resets, clients_summary(),
            (unsigned long long)sim_events(run.sim), (unsigned long long)sim_hash(run.sim));
    return sim_hash(run.sim);
}

/* Each seed in a process of its own; true if it passed. */
static bool fork_seed(uint64_t seed, bool is_verbose, uint64_t *ret_hash)
{
    int pipes[2], status;
    uint64_t hash = 0;
    fflush(stdout);
    if (pipe(pipes) != 0)
        exit(1);
    pid_t pid = fork();
    if (pid == 0) {
        close(pipes[0]);
        hash = run_seed(seed, is_verbose);
        fflush(stdout);
        if (write(pipes[1], &hash, sizeof(hash)) != sizeof(hash))
            _Exit(1);
        _Exit(0);
    }
    close(pipes[1]);
    if (pid < 0 || read(pipes[0], &hash, sizeof(hash)) != sizeof(hash))
        hash = 0;
    close(pipes[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        exit(1);
    if (ret_hash)
        *ret_hash = hash;
    if (WIFSIGNALED(status))
        printf("seed %llu: killed by signal %d\nreplay: make check-sim SEED=%llu\n", (unsigned long long)seed,
               WTERMSIG(status), (unsigned long long)seed);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void usage(FILE *out)
{
    fputs("usage: sim [--seed N | --seeds FIRST COUNT] [--seconds S] [--servers N] [--plant NAME]\n"
          "Simulates clusters from seeds and checks the promises. --plant leaves a rule out; then a failure is the "
          "success:\n",
          out);
    plant_list(out);
}

int main(int argc, char **argv)
{
    bool is_one = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            opt.first = strtoull(argv[++i], NULL, 10), opt.count = 1, is_one = true;
        else if (!strcmp(argv[i], "--seeds") && i + 2 < argc)
            opt.first = strtoull(argv[i + 1], NULL, 10), opt.count = strtoull(argv[i + 2], NULL, 10), i += 2;
        else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
            opt.seconds = (unsigned)atoi(argv[++i]);
        else if (!strcmp(argv[i], "--servers") && i + 1 < argc)
            opt.servers = (unsigned)atoi(argv[++i]);
        else if (!strcmp(argv[i], "--plant") && i + 1 < argc && plant_is_known(argv[i + 1]))
            opt.plant = argv[++i];
        else {
            usage(!strcmp(argv[i], "--help") ? stdout : stderr);
            return !strcmp(argv[i], "--help") ? 0 : 2;
        }
    }
    if (opt.servers > SIM_SERVERS_MAX - 1 || opt.seconds < 3 || opt.seconds > 3600) {
        usage(stderr);
        return 2;
    }
    run.conf = (struct km_replica_conf){
        .election_ms = 300, .heartbeat_ms = 30, .snapshot_threshold = 8192, .snapshot_trailing = 8192};
    uint64_t passed = 0, failed = 0, hash, again;
    enum km_err err = km_log_open("sim", is_one ? "stderr" : "none", KM_LOG_INFO);
    assert(err == KM_OK);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t seed = opt.first; seed < opt.first + opt.count; seed++) {
        bool ok = fork_seed(seed, is_one, &hash);
        if (ok && seed == opt.first && !opt.plant) { /* the same seed must be the same run */
            ok = fork_seed(seed, false, &again) && again == hash;
            if (!ok)
                printf("seed %llu: two runs differ: something besides the seed decides\n", (unsigned long long)seed);
        }
        passed += ok;
        failed += !ok;
        if (opt.plant && failed) {
            clock_gettime(CLOCK_MONOTONIC, &end);
            printf("planted %s: found by seed %llu (the failure above is the proof)\n", opt.plant,
                   (unsigned long long)seed);
            return 0;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double real = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    printf("%llu simulated seconds in %.1f s (%.0f x)\n",
           (unsigned long long)(opt.count * (opt.seconds + HEAL_MS / 1000)), real,
           (double)(opt.count * (opt.seconds + HEAL_MS / 1000)) / real);
    if (opt.plant) {
        printf("planted %s: NOT found by %llu seeds\n", opt.plant, (unsigned long long)opt.count);
        return 1;
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)failed);
    return failed != 0;
}
