/* SPDX-License-Identifier: Apache-2.0
 *
 * The steward: what a server does by itself. As soon as objects leave the store it has the back end wipe their keys; once a
 * second it asks the back end whether it is there, has the audit
 * log's head committed, and, where this server leads, moves the cluster's time on in idle times, so that forgotten
 * clients expire. A thread of its own, so that a back end that hangs delays nothing but these.
 */
#include "call.h"

#include "../../common/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PERIOD_MS 1000
#define CHANGE_MS 2000 /* how long one of its own commands may take before it is left to itself */
#define TICK_MS 60000

struct km_steward {
    struct km_service *service;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop, has_gone;
    uint64_t head_sequence;   /* of the last audit head that was committed */
    uint64_t index, index_ms; /* when the log last moved */
};

static bool run_command(struct km_steward *steward, Kml__Command *command)
{
    Kml__Result *result = NULL;
    if (km_change_plain(steward->service, command, CHANGE_MS, &result))
        return false;
    kml__result__free_unpacked(result, NULL);
    return true;
}

static void probe(struct km_steward *steward)
{
    struct km_service *service = steward->service;
    bool is_ok = service->backend->ops->probe(service->backend) == KM_BE_OK;
    if (is_ok != atomic_exchange(&service->is_backend_ok, is_ok))
        km_log(is_ok ? KM_LOG_WARN : KM_LOG_ERROR,
               is_ok ? "back end is there again" : "back end is away: this server uses no keys");
}

static void commit_head(struct km_steward *steward)
{
    Kml__AuditHead body = KML__AUDIT_HEAD__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    uint8_t hash[KM_AUDIT_HASH_LEN];
    uint64_t sequence;
    km_audit_head(steward->service->audit, &sequence, hash);
    if (sequence == 0 || sequence == steward->head_sequence)
        return;
    body.server = steward->service->conf.server_id;
    body.sequence = sequence;
    body.hash = (ProtobufCBinaryData){sizeof(hash), hash};
    command.body_case = KML__COMMAND__BODY_AUDIT_HEAD;
    command.audit_head = &body;
    if (run_command(steward, &command))
        steward->head_sequence = sequence;
}

static void tick(struct km_steward *steward)
{
    Kml__Tick body = KML__TICK__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    uint64_t index = km_store_index(steward->service->store), now = km_now_ms();
    if (index != steward->index) {
        steward->index = index;
        steward->index_ms = now;
    }
    if (now < steward->index_ms + TICK_MS || !km_replica_is_leader(steward->service->replica))
        return;
    command.body_case = KML__COMMAND__BODY_TICK;
    command.tick = &body;
    run_command(steward, &command);
}

/* On the loop thread, under the store's lock. */
static void on_gone(void *arg)
{
    struct km_steward *steward = arg;
    pthread_mutex_lock(&steward->lock);
    steward->has_gone = true;
    pthread_cond_signal(&steward->wake);
    pthread_mutex_unlock(&steward->lock);
}

static void forget_gone(struct km_steward *steward)
{
    const struct km_object *objects[64];
    size_t n;
    while ((n = km_store_take_gone(steward->service->store, objects, sizeof(objects) / sizeof(objects[0]))) > 0) {
        for (size_t i = 0; i < n; i++) {
            km_forget_gone(steward->service, objects[i]);
            km_object_unref(objects[i]);
        }
    }
}

/* Until `ms` (CLOCK_MONOTONIC), or until there is something to do. False: stop. */
static bool wait_until(struct km_steward *steward, uint64_t ms)
{
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    int rc = 0;
    pthread_mutex_lock(&steward->lock);
    while (!steward->stop && !steward->has_gone && rc == 0)
        rc = pthread_cond_timedwait(&steward->wake, &steward->lock, &t);
    steward->has_gone = false;
    bool goes_on = !steward->stop;
    pthread_mutex_unlock(&steward->lock);
    return goes_on;
}

static void *run(void *arg)
{
    struct km_steward *steward = arg;
    uint64_t next_ms = 0;
    do {
        forget_gone(steward);
        if (km_now_ms() < next_ms)
            continue;
        probe(steward);
        commit_head(steward);
        tick(steward);
        next_ms = km_now_ms() + PERIOD_MS;
    } while (wait_until(steward, next_ms));
    return NULL;
}

enum km_err km_steward_start(struct km_service *service, struct km_steward **ret)
{
    pthread_condattr_t attr;
    struct km_steward *steward = calloc(1, sizeof(*steward));
    if (!steward)
        return KM_ERR_NOMEM;
    steward->service = service;
    steward->index_ms = km_now_ms();
    pthread_mutex_init(&steward->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&steward->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&steward->thread, NULL, run, steward)) {
        free(steward);
        return KM_ERR_NOMEM;
    }
    km_store_watch_gone(service->store, on_gone, steward);
    *ret = steward;
    return KM_OK;
}

void km_steward_stop(struct km_steward *steward)
{
    if (!steward)
        return;
    km_store_watch_gone(steward->service->store, NULL, NULL);
    pthread_mutex_lock(&steward->lock);
    steward->stop = true;
    pthread_cond_signal(&steward->wake);
    pthread_mutex_unlock(&steward->lock);
    pthread_join(steward->thread, NULL);
    pthread_cond_destroy(&steward->wake);
    pthread_mutex_destroy(&steward->lock);
    free(steward);
}
