/* SPDX-License-Identifier: Apache-2.0
 *
 * The world of a real server. CLOCK_BOOTTIME, since a lease must run out while the machine sleeps too.
 */
#include "world_uv.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

struct uv_world {
    struct km_world base;
    uv_timer_t timer;
    uv_async_t async;
    void (*timer_cb)(void *arg);
    void *timer_arg;
    void (*wake_cb)(void *arg);
    void *wake_arg;
    int n_open; /* handles */
};

static uint64_t read_clock(clockid_t id, uint64_t per_second)
{
    struct timespec now;
    int rv = clock_gettime(id, &now);
    assert(rv == 0);
    (void)rv;
    return (uint64_t)now.tv_sec * per_second + (uint64_t)now.tv_nsec / (1000000000 / per_second);
}

static uint64_t boottime_us(struct km_world *base)
{
    (void)base;
    return read_clock(CLOCK_BOOTTIME, 1000000);
}

static uint64_t utc_ms(struct km_world *base)
{
    (void)base;
    return read_clock(CLOCK_REALTIME, 1000);
}

static uint64_t random_u64(struct km_world *base)
{
    (void)base;
    uint64_t number;
    /* Eight bytes are never interrupted or cut once the pool is ready (getrandom(2)). */
    ssize_t n = getrandom(&number, sizeof(number), 0);
    assert(n == (ssize_t)sizeof(number));
    (void)n;
    return number;
}

static void on_timer(uv_timer_t *timer)
{
    struct uv_world *world = timer->data;
    world->timer_cb(world->timer_arg);
}

static void on_async(uv_async_t *async)
{
    struct uv_world *world = async->data;
    if (world->wake_cb)
        world->wake_cb(world->wake_arg);
}

static void set_timer(struct km_world *base, unsigned interval_ms, void (*cb)(void *arg), void *arg)
{
    struct uv_world *world = (struct uv_world *)base;
    uv_timer_stop(&world->timer);
    world->timer_cb = cb;
    world->timer_arg = arg;
    if (interval_ms == 0)
        return;
    uv_update_time(uv_handle_get_loop((uv_handle_t *)&world->timer));
    int rv = uv_timer_start(&world->timer, on_timer, interval_ms, interval_ms);
    assert(rv == 0);
    (void)rv;
}

static void set_wake(struct km_world *base, void (*cb)(void *arg), void *arg)
{
    struct uv_world *world = (struct uv_world *)base;
    world->wake_cb = cb;
    world->wake_arg = arg;
}

static void wake(struct km_world *base)
{
    uv_async_send(&((struct uv_world *)base)->async);
}

enum km_err km_world_uv_new(uv_loop_t *loop, struct km_world **ret)
{
    struct uv_world *world = calloc(1, sizeof(*world));
    if (!world)
        return KM_ERR_NOMEM;
    world->base = (struct km_world){boottime_us, utc_ms, random_u64, set_timer, wake, set_wake};
    world->timer.data = world->async.data = world;
    if (uv_async_init(loop, &world->async, on_async) != 0) {
        free(world);
        return KM_ERR_IO;
    }
    int rv = uv_timer_init(loop, &world->timer); /* never fails (libuv's manual) */
    assert(rv == 0);
    (void)rv;
    world->n_open = 2;
    *ret = &world->base;
    return KM_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_world *world = handle->data;
    if (--world->n_open == 0)
        free(world);
}

void km_world_uv_free(struct km_world *base)
{
    if (!base)
        return;
    struct uv_world *world = (struct uv_world *)base;
    uv_close((uv_handle_t *)&world->timer, on_closed);
    uv_close((uv_handle_t *)&world->async, on_closed);
}
