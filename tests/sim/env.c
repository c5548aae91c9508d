/* SPDX-License-Identifier: Apache-2.0
 *
 * Time, chance and the trace of a run: a heap of events ordered by (time, number), one random generator, one running hash.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct sim sim;

struct event {
    uint64_t at, number;
    struct life *life;
    void (*fn)(void *arg);
    void *arg;
};
static struct event *heap;
static size_t n_heap, cap_heap;

#define TRACE_LINES 200000
static char (*lines)[200];
static unsigned n_lines;

uint64_t rnd(void)
{
    uint64_t z = (sim.rng += 0x9e3779b97f4a7c15u); /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rnd_below(uint64_t n)
{
    return n == 0 ? 0 : rnd() % n;
}

uint64_t rnd_between(uint64_t low, uint64_t high)
{
    return low + rnd_below(high - low + 1);
}

bool chance(double p)
{
    return (double)(rnd() >> 11) / (double)(1ull << 53) < p;
}

void mix(uint64_t value)
{
    sim.hash = (sim.hash ^ value) * 0x100000001b3u;
    sim.hash ^= sim.hash >> 29;
}

void mix_bytes(const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        sim.hash = (sim.hash ^ bytes[i]) * 0x100000001b3u;
}

void trace(const char *format, ...)
{
    va_list args;
    int n;

    if (!sim.is_traced)
        return;
    if (lines == NULL)
        lines = calloc(TRACE_LINES, 200);
    n = snprintf(lines[n_lines % TRACE_LINES], 200, "%10.3f ms  ", (double)sim.now / 1000);
    va_start(args, format);
    vsnprintf(lines[n_lines % TRACE_LINES] + n, 200 - (size_t)n, format, args);
    va_end(args);
    n_lines++;
}

void fail(const char *format, ...)
{
    va_list args;

    if (sim.is_traced)
        for (unsigned i = n_lines > TRACE_LINES ? n_lines - TRACE_LINES : 0; i < n_lines; i++)
            printf("  %s\n", lines[i % TRACE_LINES]);
    printf("seed %llu, %.3f ms: ", (unsigned long long)sim.seed, (double)sim.now / 1000);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    _exit(3);
}

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void push(struct event event)
{
    size_t i = n_heap++;

    if (n_heap > cap_heap) {
        cap_heap = cap_heap ? 2 * cap_heap : 1024;
        heap = realloc(heap, cap_heap * sizeof(*heap));
        if (heap == NULL)
            abort();
    }
    for (; i > 0 && is_before(&event, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = event;
}

static struct event pop(void)
{
    struct event first = heap[0], last = heap[--n_heap];
    size_t i = 0, child;

    for (; (child = 2 * i + 1) < n_heap; i = child) {
        if (child + 1 < n_heap && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &last))
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return first;
}

void at(uint64_t at_us, struct life *life, void (*fn)(void *arg), void *arg)
{
    push((struct event){at_us < sim.now ? sim.now : at_us, ++sim.sequence, life, fn, arg});
}

bool run_next(void)
{
    struct event event;

    if (n_heap == 0 || heap[0].at > sim.end_us)
        return false;
    event = pop();
    sim.now = event.at;
    if (event.life != NULL && event.life->is_over)
        return true;
    if (event.life != NULL && event.life->node->paused_until > sim.now) {
        event.at = event.life->node->paused_until; /* keeps its number: the order stays */
        push(event);
        return true;
    }
    sim.n_events++;
    mix(sim.now);
    mix(event.number);
    event.fn(event.arg);
    if (event.life != NULL && !event.life->is_over)
        check_node(event.life->node);
    check_leases();
    return true;
}

uint64_t local_us(const struct node *node)
{
    return node->clock_base + sim.now + (uint64_t)((int64_t)sim.now * node->clock_ppm / 1000000);
}
