/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool: one lock, one queue. Work that waits is bounded by queue_max, so a server that is asked for more than it
 * can do says so at once instead of answering everybody too late.
 */
#define _GNU_SOURCE /* pthread_setname_np */
#include "pool.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define STACK_BYTES (512u * 1024)

struct km_pool {
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct km_work *first, **last;
    unsigned queued, queue_max, n_threads;
    bool is_closing;
    void (*run)(struct km_work *work);
    pthread_t threads[];
};

static void *work_on(void *arg)
{
    struct km_pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->first && !pool->is_closing)
            pthread_cond_wait(&pool->has_work, &pool->lock);
        struct km_work *work = pool->first;
        if (!work)
            break;
        pool->first = work->next;
        if (!pool->first)
            pool->last = &pool->first;
        pool->queued--;
        pthread_mutex_unlock(&pool->lock);
        pool->run(work);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are the main thread's. */
static bool start_thread(struct km_pool *pool, const char *name, pthread_attr_t *attr)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool is_ok = pthread_create(&pool->threads[pool->n_threads], attr, work_on, pool) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (is_ok)
        pthread_setname_np(pool->threads[pool->n_threads++], name);
    return is_ok;
}

enum km_err km_pool_new(const char *name, unsigned threads, unsigned queue_max, void (*run)(struct km_work *work),
                        struct km_pool **ret)
{
    pthread_attr_t attr;
    struct km_pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));
    if (!pool)
        return KM_ERR_NOMEM;
    assert(threads > 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->has_work, NULL);
    pool->last = &pool->first;
    pool->queue_max = queue_max;
    pool->run = run;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    bool is_ok = true;
    for (unsigned i = 0; i < threads && is_ok; i++)
        is_ok = start_thread(pool, name, &attr);
    pthread_attr_destroy(&attr);
    if (!is_ok) {
        km_pool_close(pool);
        return KM_ERR_NOMEM;
    }
    *ret = pool;
    return KM_OK;
}

bool km_pool_put(struct km_pool *pool, struct km_work *work)
{
    pthread_mutex_lock(&pool->lock);
    bool is_in = !pool->is_closing && pool->queued < pool->queue_max;
    if (is_in) {
        work->next = NULL;
        *pool->last = work;
        pool->last = &work->next;
        pool->queued++;
        pthread_cond_signal(&pool->has_work);
    }
    pthread_mutex_unlock(&pool->lock);
    return is_in;
}

void km_pool_close(struct km_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->is_closing = true;
    pthread_cond_broadcast(&pool->has_work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->has_work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
