/* SPDX-License-Identifier: Apache-2.0
 *
 * The store's face: the lock between the loop thread, which applies, and everybody else, who reads. A command is
 * decoded before the lock is taken, and what readers get are copies or counted references, so neither side waits long.
 *
 * Invariant: `index` is published after the change it names, so whoever reads an index and then asks finds at least
 * that much.
 */
#include "store_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void publish(struct km_store *store)
{
    atomic_store_explicit(&store->time_ms, store->state->time_ms, memory_order_relaxed);
    atomic_store_explicit(&store->next_slot, store->state->next_slot, memory_order_relaxed);
    atomic_store_explicit(&store->feature_level, store->state->feature_level, memory_order_relaxed);
    atomic_store_explicit(&store->index, store->state->index, memory_order_release);
}

/* With the lock, after something was changed. */
static void tell_gone(struct km_store *store)
{
    if (store->on_gone && store->state->gone)
        store->on_gone(store->on_gone_arg);
}

static int lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    int rc = pthread_rwlockattr_init(&attr);
    if (rc)
        return rc;
    rc = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    if (!rc)
        rc = pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return rc;
}

struct km_store *km_store_new(void)
{
    struct km_store *store = calloc(1, sizeof(*store));
    if (!store)
        return NULL;
    store->state = km_state_new();
    if (!store->state || lock_init(&store->lock)) {
        km_state_free(store->state);
        free(store);
        return NULL;
    }
    publish(store);
    return store;
}

void km_store_free(struct km_store *store)
{
    if (!store)
        return;
    km_state_free(store->state);
    pthread_rwlock_destroy(&store->lock);
    free(store);
}

enum km_err km_store_apply(struct km_store *store, uint64_t index, const uint8_t *data, size_t len, Kml__Result **ret)
{
    if (index <= store->state->index || len > KM_COMMAND_MAX)
        return KM_ERR_CORRUPT;
    Kml__Command *command = kml__command__unpack(&km_need_allocator, len, data);
    if (!command)
        return KM_ERR_CORRUPT;
    enum km_err err = KM_ERR_VERSION;
    if (command->version != KM_LOG_VERSION || km_has_unknown(&command->base))
        goto out;
    err = KM_ERR_CORRUPT;
    if (command->body_case == KML__COMMAND__BODY__NOT_SET)
        goto out;
    pthread_rwlock_wrlock(&store->lock);
    err = km_command_apply(store->state, index, command, ret);
    publish(store);
    tell_gone(store);
    pthread_rwlock_unlock(&store->lock);
out:
    kml__command__free_unpacked(command, &km_need_allocator);
    return err;
}

enum km_err km_store_image(struct km_store *store, struct km_part **ret, size_t *ret_n)
{
    return km_snapshot_encode(store->state, ret, ret_n); /* only this thread changes the state */
}

enum km_err km_store_snapshot(struct km_store *store, uint8_t **ret, size_t *ret_len)
{
    struct km_part *parts;
    size_t n, len = 0;
    enum km_err err = km_store_image(store, &parts, &n);
    if (err)
        return err;
    for (size_t i = 0; i < n; i++)
        len += parts[i].len;
    uint8_t *data = malloc(len);
    for (size_t i = 0, at = 0; data && i < n; at += parts[i++].len)
        memcpy(data + at, parts[i].base, parts[i].len);
    km_store_image_free(parts, n);
    if (!data)
        return KM_ERR_NOMEM;
    *ret = data;
    *ret_len = len;
    return KM_OK;
}

static void leave(void *arg, struct km_tree_node *node)
{
    km_record_leave(arg, KM_TREE_OF(node, struct km_record, by_id));
}

enum km_err km_store_restore(struct km_store *store, const uint8_t *data, size_t len)
{
    struct km_state *state;
    enum km_err err = km_snapshot_decode(data, len, &state);
    if (err)
        return err;
    pthread_rwlock_wrlock(&store->lock);
    struct km_state *old = store->state;
    store->state = state;
    state->keeps_gone = old->keeps_gone;
    state->gone = old->gone;
    old->gone = NULL;
    km_tree_drain(&old->objects, leave, state); /* also those that are in the new state: loaded again at their next use */
    publish(store);
    tell_gone(store);
    pthread_rwlock_unlock(&store->lock);
    km_state_free(old);
    return KM_OK;
}

void km_store_watch_gone(struct km_store *store, void (*cb)(void *arg), void *arg)
{
    pthread_rwlock_wrlock(&store->lock);
    store->on_gone = cb;
    store->on_gone_arg = arg;
    store->state->keeps_gone = cb != NULL;
    pthread_rwlock_unlock(&store->lock);
}

size_t km_store_take_gone(struct km_store *store, const struct km_object **ret, size_t max)
{
    size_t n = 0;
    pthread_rwlock_wrlock(&store->lock);
    for (; n < max && store->state->gone; n++) {
        struct km_record *record = KM_TREE_OF(store->state->gone, struct km_record, by_id);
        store->state->gone = record->by_id.left;
        ret[n] = &record->object;
    }
    pthread_rwlock_unlock(&store->lock);
    return n;
}

void km_store_digest(struct km_store *store, uint8_t ret[32], uint64_t *ret_index)
{
    pthread_rwlock_rdlock(&store->lock);
    km_state_digest(store->state, ret);
    *ret_index = store->state->index;
    pthread_rwlock_unlock(&store->lock);
}

uint64_t km_store_index(const struct km_store *store)
{
    return atomic_load_explicit(&store->index, memory_order_acquire);
}

uint64_t km_store_time_ms(const struct km_store *store)
{
    return atomic_load_explicit(&store->time_ms, memory_order_relaxed);
}

uint32_t km_store_feature_level(const struct km_store *store)
{
    return atomic_load_explicit(&store->feature_level, memory_order_relaxed);
}

uint64_t km_store_free_slot(const struct km_store *store)
{
    return atomic_load_explicit(&store->next_slot, memory_order_relaxed);
}

bool km_store_token(struct km_store *store, const uint8_t id[KM_ID_LEN], struct km_token *ret)
{
    pthread_rwlock_rdlock(&store->lock);
    const struct km_token_state *token = km_token_find(store->state, id, KM_ID_LEN);
    if (token)
        *ret = token->token;
    pthread_rwlock_unlock(&store->lock);
    return token != NULL;
}

struct copies {
    struct km_token *tokens;
    size_t n;
};

static void copy_token(void *arg, struct km_tree_node *node)
{
    struct copies *copies = arg;
    copies->tokens[copies->n++] = KM_TREE_OF(node, struct km_token_state, by_slot)->token;
}

enum km_err km_store_tokens(struct km_store *store, struct km_token **ret, size_t *ret_n)
{
    struct copies copies = {NULL, 0};
    enum km_err err = KM_OK;
    pthread_rwlock_rdlock(&store->lock);
    if (store->state->n_tokens) {
        copies.tokens = calloc(store->state->n_tokens, sizeof(*copies.tokens));
        if (copies.tokens)
            km_tree_each(store->state->slots, copy_token, &copies);
        else
            err = KM_ERR_NOMEM;
    }
    pthread_rwlock_unlock(&store->lock);
    if (err)
        return err;
    *ret = copies.tokens;
    *ret_n = copies.n;
    return KM_OK;
}

uint32_t km_store_pin_failed(struct km_store *store, const uint8_t token_id[KM_ID_LEN], uint64_t user_type,
                             const char *identity, uint8_t ret_last_attempt[16])
{
    const struct km_attempts *attempts = NULL;
    uint32_t failed = 0;
    memset(ret_last_attempt, 0, KM_ATTEMPT_LEN);
    pthread_rwlock_rdlock(&store->lock);
    const struct km_token_state *token = km_token_find(store->state, token_id, KM_ID_LEN);
    if (token)
        attempts = km_attempts_find(token, identity, user_type);
    if (attempts) {
        failed = attempts->failed;
        memcpy(ret_last_attempt, attempts->last, KM_ATTEMPT_LEN);
    }
    pthread_rwlock_unlock(&store->lock);
    return failed;
}

enum km_err km_store_result(struct km_store *store, uint64_t session, uint64_t number, const char *identity,
                            const uint8_t hash[32], Kml__Result **ret)
{
    struct km_client_result *first = NULL;
    const char *reason;
    enum km_err err = KM_ERR_DENIED;
    Kml__Result *result = NULL;
    pthread_rwlock_rdlock(&store->lock);
    switch (km_client_judge(store->state, session, number, identity, hash, KM_DIGEST_LEN, &first, &reason)) {
    case KM_CLIENT_NEW:
        err = KM_ERR_NOT_FOUND;
        break;
    case KM_CLIENT_DONE:
        result = kml__result__unpack(NULL, first->len, first->packed);
        err = result ? KM_OK : KM_ERR_NOMEM;
        break;
    case KM_CLIENT_REFUSED:
        break;
    }
    pthread_rwlock_unlock(&store->lock);
    if (!err)
        *ret = result;
    return err;
}
