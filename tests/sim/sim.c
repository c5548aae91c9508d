/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's program: runs seeds, each in a process of its own, and says which failed. A failed seed is run again with its trace.
 */
#include "sim.h"

#include "../../common/log.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct plants plants_table[] = {
#define PLANT(name, ...) {name, __VA_ARGS__},
#include "plants.def"
#undef PLANT
};
#define N_PLANTS (sizeof(plants_table) / sizeof(plants_table[0]))

static uint64_t run_us = 14000 * MS, heal_us = 8000 * MS;

static void on_heal(void *arg)
{
    (void)arg;
    sim.is_healed = true;
    faults_heal();
}

static void on_still(void *arg)
{
    (void)arg;
    clients_stop();
}

static void run(uint64_t seed, const struct plants *plants, const char *scene, bool is_traced)
{
    unsigned n_nodes = seed % 11 == 5 ? 1 : seed % 3 == 0 ? 5 : 3;

    memset(&sim, 0, sizeof(sim));
    sim.seed = seed;
    sim.rng = seed * 0x2545f4914f6cdd1du + 1;
    sim.hash = 0xcbf29ce484222325u;
    sim.is_traced = is_traced;
    sim.scene = scene;
    if (plants != NULL)
        sim.plants = *plants;
    sim.loss = 0.002;
    sim.delay_max_us = 1500;
    sim.election_ms = 300;
    sim.heartbeat_ms = 30;
    sim.threshold = 60 + (unsigned)rnd_below(200);
    sim.trailing = 10 + (unsigned)rnd_below(100);
    sim.end_us = run_us + heal_us;
    if (scene != NULL && !scene_prepare(scene, &n_nodes))
        fail("there is no scene named %s", scene);
    cluster_make(n_nodes);
    clients_start();
    faults_start();
    at(run_us, NULL, on_heal, NULL);
    at(run_us + 2000 * MS, NULL, faults_retire, NULL);
    at(sim.end_us - 4500 * MS, NULL, on_still, NULL);
    while (run_next())
        ;
    sim.now = sim.end_us;
    check_end();
}

struct outcome {
    bool is_ok;
    uint64_t hash, events, uses, changes, reads, elsewhere, elections, crashes, installs;
};

static struct outcome run_apart(uint64_t seed, const struct plants *plants, const char *scene, bool is_traced, bool is_quiet)
{
    struct outcome outcome = {0};
    int pipes[2], status = 0;
    pid_t pid;

    fflush(stdout);
    if (pipe(pipes) != 0 || (pid = fork()) < 0) {
        perror("sim");
        exit(2);
    }
    if (pid == 0) {
        close(pipes[0]);
        if (is_quiet && freopen("/dev/null", "w", stdout) == NULL)
            _exit(2);
        alarm(120);
        run(seed, plants, scene, is_traced);
        outcome = (struct outcome){true, sim.hash, sim.n_events, sim.uses, sim.changes, sim.reads, sim.elsewhere, sim.elections, sim.crashes, sim.installs};
        if (write(pipes[1], &outcome, sizeof(outcome)) != (ssize_t)sizeof(outcome))
            _exit(2);
        _exit(0);
    }
    close(pipes[1]);
    if (read(pipes[0], &outcome, sizeof(outcome)) != (ssize_t)sizeof(outcome))
        memset(&outcome, 0, sizeof(outcome));
    close(pipes[0]);
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status) && !is_quiet)
        printf("seed %llu: ended by signal %d\n", (unsigned long long)seed, WTERMSIG(status));
    outcome.is_ok = outcome.is_ok && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return outcome;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seed N | --seeds N] [--first N] [--plant NAME|all] [--scene NAME] [--seconds N] [--trace]\nplants:");
    for (size_t i = 0; i < N_PLANTS; i++)
        fprintf(stderr, " %s", plants_table[i].name);
    fprintf(stderr, "\n");
    return 2;
}

/* True if one of the seeds notices the planted fault. */
static bool is_noticed(const struct plants *plants, uint64_t first, unsigned seeds)
{
    for (uint64_t seed = first; seed < first + seeds; seed++)
        if (!run_apart(seed, plants, plants->scene, false, true).is_ok && run_apart(seed, NULL, plants->scene, false, true).is_ok) {
            printf("planted %-16s noticed by seed %llu: ", plants->name, (unsigned long long)seed);
            fflush(stdout);
            run_apart(seed, plants, plants->scene, false, false);
            return true;
        }
    printf("planted %-16s NOT noticed by %u seeds\n", plants->name, seeds);
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", 1, NULL, 's'}, {"seeds", 1, NULL, 'n'}, {"first", 1, NULL, 'f'}, {"plant", 1, NULL, 'p'},
                                            {"scene", 1, NULL, 'c'}, {"seconds", 1, NULL, 't'}, {"trace", 0, NULL, 'v'}, {NULL, 0, NULL, 0}};
    uint64_t first = 1;
    unsigned seeds = 100, failed = 0;
    const char *plant = NULL, *scene = NULL;
    const struct plants *plants = NULL;
    struct outcome total = {0};
    bool is_traced = false, is_counted = false;
    int c;

    if (km_log_open("sim", "none", KM_LOG_ERROR) != KM_OK)
        return 2;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            first = strtoull(optarg, NULL, 10);
            seeds = 1;
            is_counted = true;
            break;
        case 'n':
            seeds = (unsigned)strtoul(optarg, NULL, 10);
            is_counted = true;
            break;
        case 'f':
            first = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            plant = optarg;
            break;
        case 'c':
            scene = optarg;
            break;
        case 't':
            run_us = strtoull(optarg, NULL, 10) * 1000 * MS;
            break;
        case 'v':
            is_traced = true;
            break;
        default:
            return usage();
        }
    }
    if (plant != NULL && !is_counted)
        seeds = 500;
    if (plant != NULL && strcmp(plant, "all") == 0) {
        for (size_t i = 0; i < N_PLANTS; i++)
            failed += !is_noticed(&plants_table[i], first, seeds);
        printf("%zu planted faults, %u not noticed\n", N_PLANTS, failed);
        return failed != 0;
    }
    for (size_t i = 0; plant != NULL && i < N_PLANTS; i++)
        if (strcmp(plant, plants_table[i].name) == 0)
            plants = &plants_table[i];
    if (plant != NULL && plants == NULL)
        return usage();
    if (plants != NULL && seeds > 1)
        return !is_noticed(plants, first, seeds);
    if (plants != NULL && scene == NULL)
        scene = plants->scene;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct outcome outcome = run_apart(seed, plants, scene, is_traced, false);

        if (seed == first && outcome.is_ok && run_apart(seed, plants, scene, false, true).hash != outcome.hash) {
            printf("seed %llu: two runs differ: the simulator is not deterministic\n", (unsigned long long)seed);
            outcome.is_ok = false;
        }
        if (!outcome.is_ok) {
            failed++;
            if (!is_traced)
                run_apart(seed, plants, scene, true, false);
            if (scene != NULL)
                printf("replay: tests/sim/sim --scene %s --seed %llu --trace\n", scene, (unsigned long long)seed);
            else
                printf("replay: make check-sim SEED=%llu\n", (unsigned long long)seed);
        }
        total.events += outcome.events;
        total.uses += outcome.uses;
        total.changes += outcome.changes;
        total.reads += outcome.reads;
        total.elsewhere += outcome.elsewhere;
        total.elections += outcome.elections;
        total.crashes += outcome.crashes;
        total.installs += outcome.installs;
        if (seeds == 1)
            printf("seed %llu: hash %016llx\n", (unsigned long long)seed, (unsigned long long)outcome.hash);
    }
    printf("%u seeds, %u failed; %llu events, %llu changes, %llu uses, %llu reads, %llu sent elsewhere, %llu elections, %llu crashes, %llu snapshots installed\n", seeds, failed,
           (unsigned long long)total.events, (unsigned long long)total.changes, (unsigned long long)total.uses, (unsigned long long)total.reads,
           (unsigned long long)total.elsewhere, (unsigned long long)total.elections, (unsigned long long)total.crashes, (unsigned long long)total.installs);
    return failed != 0;
}
