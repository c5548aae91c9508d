/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate before PIN attempts: a list of (identity, token) pairs that have an attempt under way. Others of the same
 * pair wait, but only a few at once, since each of them holds a thread.
 */
#include "login.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAITERS_MAX 16 /* of all pairs together: far fewer than there are threads */

struct pass {
    struct pass *next;
    uint8_t token[KM_ID_LEN];
    char identity[];
};

struct km_gate {
    pthread_mutex_t lock;
    pthread_cond_t is_moved;
    struct pass *inside;
    unsigned waiters;
};

struct km_gate *km_gate_new(void)
{
    pthread_condattr_t attr;
    struct km_gate *gate = calloc(1, sizeof(*gate));
    if (!gate)
        return NULL;
    pthread_mutex_init(&gate->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&gate->is_moved, &attr);
    pthread_condattr_destroy(&attr);
    return gate;
}

void km_gate_free(struct km_gate *gate)
{
    if (!gate)
        return;
    assert(!gate->inside);
    pthread_cond_destroy(&gate->is_moved);
    pthread_mutex_destroy(&gate->lock);
    free(gate);
}

static struct pass **find(struct km_gate *gate, const char *identity, const uint8_t *token)
{
    struct pass **at = &gate->inside;
    while (*at && (memcmp((*at)->token, token, KM_ID_LEN) || strcmp((*at)->identity, identity)))
        at = &(*at)->next;
    return at;
}

enum km_err km_gate_enter(struct km_gate *gate, const char *identity, const uint8_t token[KM_ID_LEN],
                          uint64_t deadline_ms)
{
    struct timespec until = {(time_t)(deadline_ms / 1000), (long)(deadline_ms % 1000) * 1000000};
    enum km_err err = KM_OK;
    struct pass *pass = calloc(1, sizeof(*pass) + strlen(identity) + 1);
    if (!pass)
        return KM_ERR_NOMEM;
    strcpy(pass->identity, identity);
    memcpy(pass->token, token, KM_ID_LEN);
    pthread_mutex_lock(&gate->lock);
    while (!err && *find(gate, identity, token)) {
        if (gate->waiters >= WAITERS_MAX) {
            err = KM_ERR_BUSY;
            break;
        }
        gate->waiters++;
        if (pthread_cond_timedwait(&gate->is_moved, &gate->lock, &until))
            err = KM_ERR_BUSY;
        gate->waiters--;
    }
    if (!err) {
        pass->next = gate->inside;
        gate->inside = pass;
        pass = NULL;
    }
    pthread_mutex_unlock(&gate->lock);
    free(pass);
    return err;
}

void km_gate_leave(struct km_gate *gate, const char *identity, const uint8_t token[KM_ID_LEN])
{
    pthread_mutex_lock(&gate->lock);
    struct pass **at = find(gate, identity, token), *pass = *at;
    assert(pass);
    *at = pass->next;
    pthread_cond_broadcast(&gate->is_moved);
    pthread_mutex_unlock(&gate->lock);
    free(pass);
}
