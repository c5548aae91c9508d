/* SPDX-License-Identifier: Apache-2.0
 *
 * The waiting forms, for workers. A waiter is shared by the worker and the callback; whoever comes last frees it, so a worker that gives up at
 * its deadline leaves nothing behind. Never on the loop thread.
 */
#include "replica_private.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_done, is_given_up;
    enum km_err err;
    uint64_t index;
    Kml__Result *result;
};

static struct waiter *waiter_new(void)
{
    struct waiter *w = calloc(1, sizeof(*w));
    pthread_condattr_t attr;

    if (w == NULL)
        return NULL;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
    return w;
}

static void waiter_free(struct waiter *w)
{
    if (w->result != NULL)
        kml__result__free_unpacked(w->result, NULL);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static Kml__Result *copy_of(const Kml__Result *result)
{
    size_t len = kml__result__get_packed_size(result);
    uint8_t *packed = malloc(len + 1);
    Kml__Result *copy = NULL;

    if (packed != NULL) {
        kml__result__pack(result, packed);
        copy = kml__result__unpack(NULL, len, packed);
    }
    free(packed);
    return copy;
}

static void on_done(void *arg, enum km_err err, uint64_t index, const Kml__Result *result)
{
    struct waiter *w = arg;
    bool is_given_up;

    pthread_mutex_lock(&w->lock);
    w->err = err;
    w->index = index;
    if (result != NULL && !w->is_given_up) {
        w->result = copy_of(result);
        if (w->result == NULL)
            w->err = KM_ERR_UNDECIDED;
    }
    w->is_done = true;
    is_given_up = w->is_given_up;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    if (is_given_up)
        waiter_free(w);
}

/* Waits; on `late` the waiter is the callback's. */
static enum km_err wait_for(struct waiter *w, unsigned deadline_ms, enum km_err late, uint64_t *ret_index, Kml__Result **ret)
{
    struct timespec end;
    enum km_err err;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += deadline_ms / 1000;
    end.tv_nsec += (long)(deadline_ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    pthread_mutex_lock(&w->lock);
    while (!w->is_done && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&w->cond, &w->lock, &end);
    if (!w->is_done) {
        w->is_given_up = true;
        pthread_mutex_unlock(&w->lock);
        return late;
    }
    pthread_mutex_unlock(&w->lock);
    err = w->err;
    if (err == KM_OK && ret_index != NULL)
        *ret_index = w->index;
    if (err == KM_OK && ret != NULL) {
        *ret = w->result;
        w->result = NULL;
    }
    waiter_free(w);
    return err;
}

enum km_err km_replica_change(struct km_replica *replica, Kml__Command *command, unsigned deadline_ms, uint64_t *ret_index, Kml__Result **ret)
{
    struct waiter *w = waiter_new();

    if (w == NULL) {
        kml__command__free_unpacked(command, NULL);
        return KM_ERR_NOMEM;
    }
    km_replica_propose(replica, command, on_done, w);
    return wait_for(w, deadline_ms, KM_ERR_UNDECIDED, ret_index, ret);
}

enum km_err km_replica_sync(struct km_replica *replica, unsigned deadline_ms)
{
    struct waiter *w = waiter_new();

    if (w == NULL)
        return KM_ERR_NOMEM;
    km_replica_read(replica, on_done, w);
    return wait_for(w, deadline_ms, KM_ERR_TIMEOUT, NULL, NULL);
}

enum km_err km_replica_settle(struct km_replica *replica, unsigned deadline_ms)
{
    struct waiter *w = waiter_new();

    if (w == NULL)
        return KM_ERR_NOMEM;
    km_settle(replica, on_done, w);
    return wait_for(w, deadline_ms, KM_ERR_TIMEOUT, NULL, NULL);
}

enum km_err km_replica_wait(struct km_replica *replica, uint64_t index, unsigned deadline_ms)
{
    struct waiter *w;

    if (atomic_load(&replica->applied) >= index)
        return KM_OK;
    w = waiter_new();
    if (w == NULL)
        return KM_ERR_NOMEM;
    km_read_index(replica, index, on_done, w);
    return wait_for(w, deadline_ms, KM_ERR_TIMEOUT, NULL, NULL);
}

enum km_err km_replica_add(struct km_replica *replica, const struct km_member *member, unsigned deadline_ms)
{
    char packed[KM_MEMBER_PACKED_MAX];
    enum km_err err = km_member_pack(member, packed);
    struct waiter *w;

    if (err != KM_OK)
        return err;
    if (member->id == 0)
        return KM_ERR_ARG;
    w = waiter_new();
    if (w == NULL)
        return KM_ERR_NOMEM;
    km_member_add(replica, member->id, packed, deadline_ms, on_done, w);
    return wait_for(w, deadline_ms, KM_ERR_TIMEOUT, NULL, NULL);
}

enum km_err km_replica_remove(struct km_replica *replica, uint64_t id, unsigned deadline_ms)
{
    struct waiter *w;

    if (id == 0)
        return KM_ERR_ARG;
    w = waiter_new();
    if (w == NULL)
        return KM_ERR_NOMEM;
    km_member_remove(replica, id, deadline_ms, on_done, w);
    return wait_for(w, deadline_ms, KM_ERR_TIMEOUT, NULL, NULL);
}
