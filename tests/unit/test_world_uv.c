/* SPDX-License-Identifier: Apache-2.0
 *
 * The real world: clocks run, the timer repeats until stopped, a wake-up from another thread arrives on the loop.
 */
#include "unit.h"

#include "../../server/raft/world_uv.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

static struct km_world *world;
static int ticks, wakes;
static pthread_t woken_on;

static void on_tick(void *arg)
{
    if (++*(int *)arg == 5)
        world->set_timer(world, 0, NULL, NULL);
}

static void on_wake(void *arg)
{
    woken_on = pthread_self();
    ++*(int *)arg;
}

static void *wake_from_elsewhere(void *arg)
{
    (void)arg;
    world->wake(world);
    return NULL;
}

static void timer_wake_and_clocks(void **state)
{
    (void)state;
    uv_loop_t loop;
    pthread_t thread;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(km_world_uv_new(&loop, &world), KM_OK);
    world->set_wake(world, on_wake, &wakes);

    uint64_t before = world->boottime_us(world);
    world->set_timer(world, 10, on_tick, &ticks);
    while (ticks < 5)
        uv_run(&loop, UV_RUN_ONCE);
    assert_in_range(world->boottime_us(world) - before, 45000, 5000000);
    assert_in_range(world->utc_ms(world), 1700000000000, 4000000000000);
    assert_true(world->random(world) != world->random(world));

    assert_int_equal(pthread_create(&thread, NULL, wake_from_elsewhere, NULL), 0);
    while (wakes == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(pthread_equal(woken_on, pthread_self()));
    assert_int_equal(ticks, 5);

    km_world_uv_free(world);
    km_world_uv_free(NULL);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(timer_wake_and_clocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
