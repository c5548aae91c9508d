/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue between the loop thread and the storage thread, and the storage thread's order of work:
 *
 *     loop thread                     storage thread
 *     append, truncate, put, get  ->  queue: everything in it up to a snapshot = one transaction
 *     set_term, set_vote (waits)  ->  call:  next transaction
 *     callbacks, in order         <-  done   (uv_async)
 *
 * Between two transactions of the queue a snapshot that is being written or read, and the removal of what older
 * snapshots left, each advance by one step, so that appends never wait for megabytes. A snapshot that is being
 * installed (trailing 0) replaces the log: the queue waits until it is complete.
 *
 * A term or vote may overtake appends in the queue: it only promises more, earlier.
 */
#include "disk_sqlite.h"

#include "../../common/log.h"
#include "disk_load.h"
#include "disk_writer.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GROUP_BYTES_MAX (8u * 1024 * 1024) /* what one transaction takes of the queue */

enum op { APPEND, TRUNCATE, PUT, GET };

struct request {
    struct request *next;
    enum op op;
    raft_index index;
    const struct raft_entry *entries;
    unsigned n; /* entries, or trailing */
    const struct raft_snapshot *snapshot;
    struct raft_snapshot *read_snapshot;
    km_disk_cb cb;
    km_disk_snapshot_cb snapshot_cb;
    void *arg;
};

struct list {
    struct request *head, **tail;
};

/* What the loop thread waits for; at most one. */
struct call {
    enum { LOAD, BOOTSTRAP, VOTE } kind;
    raft_term term;
    raft_id vote;
    const struct raft_configuration *configuration;
    struct km_disk_state *state;
    char *message;
    size_t message_len;
    enum km_err err;
    bool is_done;
};

struct sqlite_disk {
    struct km_disk base;
    /* Loop thread. */
    uv_async_t async;
    pthread_t thread;
    raft_term term;
    raft_id vote;
    bool is_loaded, is_closing;
    km_disk_cb close_cb;
    void *close_arg;
    /* Both, under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t work, answer;
    struct list queue, done;
    struct call *call;
    bool is_quitting, is_finished;
    atomic_ushort capacity;
    /* Storage thread. */
    struct km_disk_writer writer;
    struct list gets;    /* reads of the snapshot that wait for their turn */
    struct request *put; /* the snapshot that is being written */
};

static void list_init(struct list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

static void list_push(struct list *list, struct request *request)
{
    request->next = NULL;
    *list->tail = request;
    list->tail = &request->next;
}

static struct request *list_pop(struct list *list)
{
    struct request *request = list->head;
    list->head = request->next;
    if (!list->head)
        list->tail = &list->head;
    return request;
}

static void list_move(struct list *from, struct list *to)
{
    if (!from->head)
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    list_init(from);
}

/* --- storage thread --- */

static void answer_call(struct sqlite_disk *disk, struct call *call)
{
    struct km_disk_writer *writer = &disk->writer;
    enum km_err err = KM_OK;
    switch (call->kind) {
    case LOAD:
        err = km_disk_writer_load(writer, call->state, call->message, call->message_len);
        break;
    case BOOTSTRAP:
        err = km_disk_writer_bootstrap(writer, call->configuration);
        break;
    case VOTE:
        km_disk_writer_begin(writer);
        km_disk_writer_set_vote(writer, call->term, call->vote);
        km_disk_writer_commit(writer, true /* mark synced */);
        break;
    }
    pthread_mutex_lock(&disk->lock);
    call->err = err;
    call->is_done = true;
    disk->call = NULL;
    pthread_cond_signal(&disk->answer);
    pthread_mutex_unlock(&disk->lock);
}

/* Can the queue's head be begun? Under the lock. */
static bool queue_is_ready(const struct sqlite_disk *disk)
{
    const struct request *head = disk->queue.head;
    if (!head)
        return false;
    if (disk->put && disk->put->n == 0 /* installing */)
        return false;
    return head->op != PUT || !disk->put;
}

/* Takes appends and truncations up to the next snapshot or the limit; a snapshot only when it is first. Under the lock.
 */
static void take_group(struct sqlite_disk *disk, struct list *group)
{
    size_t bytes = 0;
    while (queue_is_ready(disk) && bytes < GROUP_BYTES_MAX) {
        struct request *head = disk->queue.head;
        if (head->op == PUT && group->head)
            return;
        list_pop(&disk->queue);
        if (head->op == GET) {
            list_push(&disk->gets, head);
            continue;
        }
        if (head->op == PUT) {
            disk->put = head;
            return;
        }
        list_push(group, head);
        for (unsigned i = 0; head->op == APPEND && i < head->n; i++)
            bytes += head->entries[i].buf.len;
    }
}

static void write_group(struct sqlite_disk *disk, struct list *group)
{
    struct km_disk_writer *writer = &disk->writer;
    km_disk_writer_begin(writer);
    for (const struct request *request = group->head; request; request = request->next)
        if (request->op == APPEND)
            km_disk_writer_append(writer, request->index, request->entries, request->n);
        else
            km_disk_writer_truncate(writer, request->index);
    km_disk_writer_commit(writer, false);
}

static void complete(struct sqlite_disk *disk, struct list *requests)
{
    if (!requests->head)
        return;
    pthread_mutex_lock(&disk->lock);
    list_move(requests, &disk->done);
    pthread_mutex_unlock(&disk->lock);
    uv_async_send(&disk->async);
}

static void advance_put(struct sqlite_disk *disk, struct list *finished)
{
    if (!disk->put)
        return;
    if (!disk->writer.put.snapshot)
        km_disk_writer_put_start(&disk->writer, disk->put->snapshot, disk->put->n);
    if (!km_disk_writer_put_step(&disk->writer))
        return;
    list_push(finished, disk->put);
    disk->put = NULL;
}

static void advance_get(struct sqlite_disk *disk, struct list *finished)
{
    if (!disk->gets.head)
        return;
    if (!disk->writer.get.snapshot)
        km_disk_writer_get_start(&disk->writer);
    struct raft_snapshot *snapshot = km_disk_writer_get_step(&disk->writer);
    if (!snapshot)
        return;
    struct request *request = list_pop(&disk->gets);
    request->read_snapshot = snapshot;
    list_push(finished, request);
}

/* Waits for work, at most a second: then the mark may want its sync. Under the lock. */
static void wait_for_work(struct sqlite_disk *disk)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    while (!disk->call && !queue_is_ready(disk) && !disk->is_quitting)
        if (pthread_cond_timedwait(&disk->work, &disk->lock, &until) != 0)
            return;
}

static void *storage_main(void *arg)
{
    struct sqlite_disk *disk = arg;
    struct km_disk_writer *writer = &disk->writer;
    for (;;) {
        struct list group;
        list_init(&group);
        pthread_mutex_lock(&disk->lock);
        bool is_busy = disk->put || disk->gets.head || writer->is_collecting;
        if (!is_busy)
            wait_for_work(disk);
        struct call *call = disk->call;
        take_group(disk, &group);
        bool is_last = disk->is_quitting && !disk->queue.head && !group.head && !call && !disk->put && !disk->gets.head;
        pthread_mutex_unlock(&disk->lock);
        if (is_last)
            break;

        if (call)
            answer_call(disk, call);
        if (group.head)
            write_group(disk, &group);
        complete(disk, &group);
        advance_put(disk, &group);
        advance_get(disk, &group);
        complete(disk, &group);
        if (writer->is_collecting)
            km_disk_writer_collect(writer);
        km_disk_writer_rest(writer);
        atomic_store_explicit(&disk->capacity, km_disk_writer_capacity(writer), memory_order_relaxed);
    }
    km_disk_writer_close(writer);
    pthread_mutex_lock(&disk->lock);
    disk->is_finished = true;
    pthread_mutex_unlock(&disk->lock);
    uv_async_send(&disk->async);
    return NULL;
}

/* --- loop thread --- */

static void on_closed(uv_handle_t *handle)
{
    struct sqlite_disk *disk = handle->data;
    km_disk_cb cb = disk->close_cb;
    void *arg = disk->close_arg;
    pthread_mutex_destroy(&disk->lock);
    pthread_cond_destroy(&disk->work);
    pthread_cond_destroy(&disk->answer);
    free(disk);
    if (cb)
        cb(arg);
}

static void on_async(uv_async_t *async)
{
    struct sqlite_disk *disk = async->data;
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&disk->lock);
    list_move(&disk->done, &done);
    bool is_finished = disk->is_finished;
    pthread_mutex_unlock(&disk->lock);
    while (done.head) {
        struct request *request = list_pop(&done);
        if (request->op == GET)
            request->snapshot_cb(request->arg, request->read_snapshot);
        else if (request->cb)
            request->cb(request->arg);
        free(request);
    }
    if (!is_finished)
        return;
    pthread_join(disk->thread, NULL);
    uv_close((uv_handle_t *)&disk->async, on_closed);
}

static struct sqlite_disk *from_base(struct km_disk *base)
{
    return (struct sqlite_disk *)base;
}

static enum km_err ask(struct sqlite_disk *disk, struct call *call)
{
    pthread_mutex_lock(&disk->lock);
    assert(!disk->call && !disk->is_quitting);
    disk->call = call;
    pthread_cond_signal(&disk->work);
    while (!call->is_done)
        pthread_cond_wait(&disk->answer, &disk->lock);
    pthread_mutex_unlock(&disk->lock);
    return call->err;
}

static enum km_err load(struct km_disk *base, struct km_disk_state *ret, char *ret_message, size_t message_len)
{
    struct sqlite_disk *disk = from_base(base);
    struct call call = {.kind = LOAD, .state = ret, .message = ret_message, .message_len = message_len};
    assert(!disk->is_loaded && !disk->is_closing);
    enum km_err err = ask(disk, &call);
    if (err)
        return err;
    disk->term = ret->term;
    disk->vote = ret->voted_for;
    disk->is_loaded = true;
    return KM_OK;
}

static enum km_err bootstrap(struct km_disk *base, const struct raft_configuration *configuration)
{
    struct sqlite_disk *disk = from_base(base);
    struct call call = {.kind = BOOTSTRAP, .configuration = configuration};
    assert(!disk->is_closing);
    enum km_err err = ask(disk, &call);
    if (!err)
        disk->term = 1;
    return err;
}

static void set_vote_in(struct sqlite_disk *disk, raft_term term, raft_id vote)
{
    struct call call = {.kind = VOTE, .term = term, .vote = vote};
    assert(disk->is_loaded && !disk->is_closing);
    enum km_err err = ask(disk, &call);
    assert(err == KM_OK);
    (void)err;
    disk->term = term;
    disk->vote = vote;
}

static void set_term(struct km_disk *base, raft_term term)
{
    struct sqlite_disk *disk = from_base(base);
    assert(term >= disk->term);
    /* libraft sets the current term again with every vote it grants; clearing the vote then would forget it. */
    if (term != disk->term)
        set_vote_in(disk, term, 0);
}

static void set_vote(struct km_disk *base, raft_id server_id)
{
    struct sqlite_disk *disk = from_base(base);
    assert(disk->vote == 0 || disk->vote == server_id); /* one vote in a term */
    if (server_id != disk->vote)
        set_vote_in(disk, disk->term, server_id);
}

static void submit(struct km_disk *base, const struct request *filled)
{
    struct sqlite_disk *disk = from_base(base);
    assert(disk->is_loaded && !disk->is_closing);
    struct request *request = malloc(sizeof(*request));
    if (!request)
        km_disk_stop_process(disk->writer.dir, "request", km_err_text(KM_ERR_NOMEM));
    *request = *filled;
    pthread_mutex_lock(&disk->lock);
    bool was_empty = !disk->queue.head;
    list_push(&disk->queue, request);
    if (was_empty)
        pthread_cond_signal(&disk->work);
    pthread_mutex_unlock(&disk->lock);
}

static void append(struct km_disk *base, raft_index first, const struct raft_entry *entries, unsigned n, km_disk_cb cb,
                   void *arg)
{
    submit(base, &(struct request){.op = APPEND, .index = first, .entries = entries, .n = n, .cb = cb, .arg = arg});
}

static void truncate_from(struct km_disk *base, raft_index index)
{
    submit(base, &(struct request){.op = TRUNCATE, .index = index});
}

static void snapshot_put(struct km_disk *base, unsigned trailing, const struct raft_snapshot *snapshot, km_disk_cb cb,
                         void *arg)
{
    submit(base, &(struct request){.op = PUT, .n = trailing, .snapshot = snapshot, .cb = cb, .arg = arg});
}

static void snapshot_get(struct km_disk *base, km_disk_snapshot_cb cb, void *arg)
{
    submit(base, &(struct request){.op = GET, .snapshot_cb = cb, .arg = arg});
}

static unsigned short capacity(struct km_disk *base)
{
    return atomic_load_explicit(&from_base(base)->capacity, memory_order_relaxed);
}

static void close_disk(struct km_disk *base, km_disk_cb cb, void *arg)
{
    struct sqlite_disk *disk = from_base(base);
    assert(!disk->is_closing);
    disk->is_closing = true;
    disk->close_cb = cb;
    disk->close_arg = arg;
    pthread_mutex_lock(&disk->lock);
    disk->is_quitting = true;
    pthread_cond_signal(&disk->work);
    pthread_mutex_unlock(&disk->lock);
}

static const struct km_disk_ops ops = {
    .load = load,
    .bootstrap = bootstrap,
    .set_term = set_term,
    .set_vote = set_vote,
    .append = append,
    .truncate = truncate_from,
    .snapshot_put = snapshot_put,
    .snapshot_get = snapshot_get,
    .capacity = capacity,
    .close = close_disk,
};

/* A thread that no signal is delivered to: those are the loop thread's. */
static bool start_thread(struct sqlite_disk *disk)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_ok = pthread_create(&disk->thread, NULL, storage_main, disk) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return is_ok;
}

static void free_unstarted(uv_handle_t *handle)
{
    free(handle->data);
}

enum km_err km_disk_sqlite_open(const char *dir, const char *cluster, uint64_t server_id, const char *name,
                                uv_loop_t *loop, struct km_disk **ret, char *ret_message, size_t message_len)
{
    struct sqlite_disk *disk = calloc(1, sizeof(*disk));
    if (!disk) {
        snprintf(ret_message, message_len, "%s", km_err_text(KM_ERR_NOMEM));
        return KM_ERR_NOMEM;
    }
    enum km_err err = km_disk_writer_open(dir, cluster, server_id, name, &disk->writer, ret_message, message_len);
    if (err) {
        free(disk);
        return err;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&disk->lock, NULL);
    pthread_cond_init(&disk->work, &monotonic);
    pthread_cond_init(&disk->answer, NULL);
    pthread_condattr_destroy(&monotonic);
    list_init(&disk->queue);
    list_init(&disk->done);
    list_init(&disk->gets);
    disk->base.ops = &ops;
    disk->async.data = disk;
    atomic_store(&disk->capacity, km_disk_writer_capacity(&disk->writer));
    if (uv_async_init(loop, &disk->async, on_async) != 0) {
        snprintf(ret_message, message_len, "uv_async_init failed");
        km_disk_writer_close(&disk->writer);
        free(disk);
        return KM_ERR_IO;
    }
    if (!start_thread(disk)) {
        snprintf(ret_message, message_len, "starting the storage thread failed");
        km_disk_writer_close(&disk->writer);
        uv_close((uv_handle_t *)&disk->async, free_unstarted);
        return KM_ERR_NOMEM;
    }
    *ret = &disk->base;
    return KM_OK;
}
