/* SPDX-License-Identifier: Apache-2.0
 *
 * The fork gate: a count of the threads inside, and a flag that keeps them out. Entering and leaving cost one atomic
 * operation each; the mutex is for those who must wait. No rwlock: its owner is a thread's number, which changes in the
 * child. Invariant: n_inside is 0 between hold and release, since who counts itself in looks at the flag afterwards,
 * and the holder looks at the count after raising the flag.
 */
#include "forks.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

static atomic_uint n_inside;
static atomic_bool is_closed;
static pthread_t holder; /* while is_closed */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static __thread bool is_inside, is_waiting;

static void tell(void)
{
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void count_out(void)
{
    if (atomic_fetch_sub(&n_inside, 1) == 1 && is_closed)
        tell();
}

/* False: it is this thread that forks, and another library's fork handler calls the module in the middle of it. */
static bool wait_until_open(void)
{
    bool is_other = true;

    pthread_mutex_lock(&lock);
    while (is_closed && (is_other = !pthread_equal(holder, pthread_self())))
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return is_other;
}

void km_forks_enter(void)
{
    for (;;) {
        atomic_fetch_add(&n_inside, 1);
        is_inside = !is_closed;
        if (is_inside)
            return;
        count_out();
        if (!wait_until_open())
            return;
    }
}

void km_forks_leave(void)
{
    if (is_inside)
        count_out();
    is_inside = false;
}

void km_forks_wait(void)
{
    if (!is_inside)
        return;
    km_forks_leave();
    is_waiting = true;
}

void km_forks_resume(void)
{
    int kept = errno;

    if (is_waiting)
        km_forks_enter();
    is_waiting = false;
    errno = kept;
}

void km_forks_hold(void)
{
    pthread_mutex_lock(&lock);
    while (is_closed) /* another thread forks, too */
        pthread_cond_wait(&changed, &lock);
    holder = pthread_self();
    is_closed = true;
    while (n_inside > 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

void km_forks_release(void)
{
    is_closed = false;
    tell();
}

void km_forks_reset(void)
{
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    n_inside = 0;
    is_closed = false;
    is_inside = is_waiting = false;
}
