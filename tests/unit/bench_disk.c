/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast the disk is, by hand: make tests/unit/bench_disk && tests/unit/bench_disk. Needs space below $TMPDIR (/tmp);
 * a tmpfs there measures nothing.
 */
#include "disk_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sent[1 << 20], took[1 << 20];
static unsigned n_took;

static void note(struct kit *kit, char what, uint64_t index, uint64_t term)
{
    (void)kit, (void)term;
    if (what == 'A')
        took[n_took++] = now_us() - sent[index % (1 << 20)];
}

/* Made once: filling 40 MB on the loop thread would be what is measured. */
static struct raft_snapshot snapshot = {.n_bufs = 1};
static struct raft_buffer content;
static bool is_putting;

static void put_done(void *arg)
{
    (void)arg;
    is_putting = false;
}

static void put(struct kit *kit, size_t len)
{
    content.len = len;
    snapshot.bufs = &content;
    snapshot.index = kit->acked;
    snapshot.term = kit->term;
    snapshot.configuration_index = 1;
    is_putting = true;
    kit->disk->ops->snapshot_put(kit->disk, 8192, &snapshot, put_done, NULL);
}

/* `outstanding` requests of `n` entries in flight, for `seconds`; a snapshot of `snapshot` bytes each time it is due.
 */
static void measure(const char *dir, unsigned outstanding, unsigned n, size_t len, double seconds, size_t snapshot_len)
{
    struct kit kit;
    if (kit_open(&kit, dir) != KM_OK)
        abort();
    kit.on_ack = note;
    n_took = 0;
    unsigned n_puts = 0;
    uint64_t first = kit.last, put_at = kit.last;
    double began = now_us(), end = began + seconds * 1e6, now;
    while ((now = now_us()) < end && n_took < (1 << 20) - 1000) {
        sent[(kit.last + n) % (1 << 20)] = now;
        kit_append(&kit, n, len);
        if (kit.acked - put_at > 20000 && !is_putting) {
            put_at = kit.acked;
            put(&kit, snapshot_len);
            n_puts++;
        }
        kit_wait(&kit, outstanding - 1);
    }
    kit_wait(&kit, 0);
    while (is_putting)
        uv_run(&kit.loop, UV_RUN_ONCE);
    double all = (now_us() - began) / 1e6;
    qsort(took, n_took, sizeof(took[0]), compare);
    printf("%3u outstanding x %2u entries x %4zu bytes, %2u snapshots of %8zu: %7.0f requests/s %8.0f entries/s; us "
           "p50 %.0f p99 "
           "%.0f max %.0f\n",
           outstanding, n, len, n_puts, snapshot_len, n_took / all, (double)(kit.last - first) / all, took[n_took / 2],
           took[n_took / 100 * 99], took[n_took - 1]);
    kit_close(&kit);
}

int main(void)
{
    const char *dir = kit_folder();
    kit_make(dir);
    content.base = calloc(1, 40000000);
    raft_configuration_init(&snapshot.configuration);
    if (!content.base || raft_configuration_add(&snapshot.configuration, 1, "one", RAFT_VOTER) != 0)
        abort();
    for (int round = 0; round < 2; round++) {
        measure(dir, 1, 1, 64, 3, 1000);
        measure(dir, 64, 1, 64, 3, 1000);
        measure(dir, 64, 16, 64, 3, 1000);
        measure(dir, 64, 1, 1024, 3, 1000);
        measure(dir, 1, 4, 64, 4, 40000000);
        measure(dir, 64, 1, 64, 4, 40000000);
    }
    struct kit kit;
    if (kit_open(&kit, dir) != KM_OK)
        abort();
    double began = now_us();
    for (unsigned i = 0; i < 1000; i++) {
        kit.disk->ops->set_term(kit.disk, ++kit.term);
        kit.disk->ops->set_vote(kit.disk, 1);
    }
    printf("set_term + set_vote: %.0f us\n", (now_us() - began) / 1000);
    kit_close(&kit);
    began = now_us();
    if (kit_open(&kit, dir) != KM_OK)
        abort();
    printf("start with a snapshot of %zu bytes and %zu entries: %.0f ms\n", kit.state.snapshot->bufs[0].len,
           kit.state.n_entries, (now_us() - began) / 1000);
    kit_close(&kit);
    raft_configuration_close(&snapshot.configuration);
    free(content.base);
    return 0;
}
