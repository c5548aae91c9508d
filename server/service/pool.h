/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded pool of workers: a fixed number of threads, a queue with a limit. Any thread puts, closing is the owner's.
 */
#ifndef KM_SERVICE_POOL_H
#define KM_SERVICE_POOL_H

#include "../../common/err.h"

#include <stdbool.h>

struct km_pool;

/* What is put in; lives inside the caller's structure. */
struct km_work {
    struct km_work *next;
};

/* `threads` threads named `name` that call `run` for each piece of work, first in first out. Errors: KM_ERR_NOMEM. */
enum km_err km_pool_new(const char *name, unsigned threads, unsigned queue_max, void (*run)(struct km_work *work),
                        struct km_pool **ret) KM_CHECKED;
/* False when the queue is full or the pool is closing; the work stays the caller's. */
bool km_pool_put(struct km_pool *pool, struct km_work *work);
/* Finishes what is queued, ends the threads, frees. NULL is fine. */
void km_pool_close(struct km_pool *pool);

#endif
