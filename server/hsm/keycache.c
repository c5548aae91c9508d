/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of loaded keys: a hash table and a list from newest to oldest in each shard. Keys in use are kept alive by
 * their reference when they are dropped here. Invariant: a key is in the table exactly if it is in the list.
 */
#include "keycache.h"

#include "head.h"
#include "seal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHARDS 16
#define SECRET_SHARE 8

struct shard {
    pthread_mutex_t lock;
    struct km_loaded **buckets;
    struct km_loaded *newest, *oldest;
    size_t n, n_secret, n_with_ancestors;
};

struct km_keycache {
    struct shard shards[SHARDS];
    size_t n_buckets; /* per shard, a power of two */
    size_t capacity;  /* per shard */
};

static time_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return ts.tv_sec;
}

static uint32_t hash_of(const Kml__Object *object)
{
    uint32_t hash;

    memcpy(&hash, object->seal.data + 1, sizeof(hash)); /* of the salt, which is random */
    return hash;
}

static bool is_keyed(const Kml__Object *object)
{
    return object->seal.len > KM_SEAL_OVERHEAD;
}

static bool is_same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static struct shard *shard_of(struct km_keycache *cache, uint32_t hash)
{
    return &cache->shards[hash % SHARDS];
}

static struct km_loaded **bucket_of(struct km_keycache *cache, struct shard *shard, uint32_t hash)
{
    return &shard->buckets[hash / SHARDS & (cache->n_buckets - 1)];
}

static void list_remove(struct shard *shard, struct km_loaded *key)
{
    *(key->newer != NULL ? &key->newer->older : &shard->newest) = key->older;
    *(key->older != NULL ? &key->older->newer : &shard->oldest) = key->newer;
    key->newer = key->older = NULL;
}

static void list_push(struct shard *shard, struct km_loaded *key)
{
    key->older = shard->newest;
    key->newer = NULL;
    *(shard->newest != NULL ? &shard->newest->newer : &shard->oldest) = key;
    shard->newest = key;
}

static struct km_loaded *find(struct km_keycache *cache, struct shard *shard, uint32_t hash, const Kml__Object *object)
{
    struct km_loaded *key = *bucket_of(cache, shard, hash);

    while (key != NULL && !(is_same(&key->record.seal, &object->seal) && is_same(&key->record.head, &object->head)))
        key = key->next;
    return key;
}

/* Under the shard's lock. */
static void drop(struct km_keycache *cache, struct shard *shard, struct km_loaded *key)
{
    struct km_loaded **link = bucket_of(cache, shard, hash_of(&key->record));

    while (*link != key)
        link = &(*link)->next;
    *link = key->next;
    key->next = NULL;
    list_remove(shard, key);
    shard->n--;
    shard->n_secret -= key->raw.data != NULL;
    shard->n_with_ancestors -= key->has_ancestors;
    km_loaded_release(key);
}

struct km_keycache *km_keycache_new(size_t capacity)
{
    struct km_keycache *cache = calloc(1, sizeof(*cache));

    if (cache == NULL)
        return NULL;
    cache->capacity = capacity / SHARDS > 0 ? capacity / SHARDS : 1;
    cache->n_buckets = 1;
    while (cache->n_buckets < cache->capacity)
        cache->n_buckets *= 2;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&cache->shards[i].lock, NULL);
        cache->shards[i].buckets = calloc(cache->n_buckets, sizeof(cache->shards[i].buckets[0]));
        if (cache->shards[i].buckets != NULL)
            continue;
        km_keycache_free(cache);
        return NULL;
    }
    return cache;
}

void km_keycache_free(struct km_keycache *cache)
{
    if (cache == NULL)
        return;
    km_keycache_age(cache, 0);
    for (int i = 0; i < SHARDS; i++) {
        free(cache->shards[i].buckets);
        pthread_mutex_destroy(&cache->shards[i].lock);
    }
    free(cache);
}

struct km_loaded *km_keycache_get(struct km_keycache *cache, const Kml__Object *object)
{
    struct km_loaded *key;
    struct shard *shard;
    uint32_t hash;

    if (!is_keyed(object))
        return NULL;
    hash = hash_of(object);
    shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    key = find(cache, shard, hash, object);
    if (key != NULL) {
        if (shard->newest != key) {
            list_remove(shard, key);
            list_push(shard, key);
        }
        key->used = now();
        atomic_fetch_add(&key->refs, 1);
    }
    pthread_mutex_unlock(&shard->lock);
    return key;
}

/* Copies, so that the key carries its proof with it. */
static bool remember(struct km_loaded *key, const Kml__Object *object)
{
    uint8_t *head = malloc(object->head.len), *seal = malloc(object->seal.len);

    if (head == NULL || seal == NULL) {
        free(head);
        free(seal);
        return false;
    }
    memcpy(head, object->head.data, object->head.len);
    memcpy(seal, object->seal.data, object->seal.len);
    key->record.head = (ProtobufCBinaryData){object->head.len, head};
    key->record.seal = (ProtobufCBinaryData){object->seal.len, seal};
    return true;
}

static void make_room(struct km_keycache *cache, struct shard *shard)
{
    size_t secret_max = cache->capacity / SECRET_SHARE > 0 ? cache->capacity / SECRET_SHARE : 1;

    while (shard->n > cache->capacity)
        drop(cache, shard, shard->oldest);
    while (shard->n_secret > secret_max) {
        struct km_loaded *key = shard->oldest;
        while (key->raw.data == NULL)
            key = key->newer;
        drop(cache, shard, key);
    }
}

void km_keycache_put(struct km_keycache *cache, const Kml__Object *object, struct km_loaded *key)
{
    struct km_loaded **bucket;
    struct shard *shard;
    uint32_t hash;

    if (!is_keyed(object) || !remember(key, object))
        return;
    hash = hash_of(object);
    shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    if (find(cache, shard, hash, object) == NULL) { /* another thread may have loaded it at the same time */
        bucket = bucket_of(cache, shard, hash);
        key->next = *bucket;
        *bucket = key;
        list_push(shard, key);
        key->used = now();
        atomic_fetch_add(&key->refs, 1);
        shard->n++;
        shard->n_secret += key->raw.data != NULL;
        shard->n_with_ancestors += key->has_ancestors;
        make_room(cache, shard);
    }
    pthread_mutex_unlock(&shard->lock);
}

void km_keycache_forget(struct km_keycache *cache, const Kml__Object *object)
{
    struct km_loaded *key;
    struct shard *shard;
    uint32_t hash;

    if (!is_keyed(object))
        return;
    hash = hash_of(object);
    shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    key = find(cache, shard, hash, object);
    if (key != NULL)
        drop(cache, shard, key);
    pthread_mutex_unlock(&shard->lock);
}

static bool descends_from(const struct km_loaded *key, const uint8_t *id)
{
    Kml__Head *head = kml__head__unpack(NULL, key->record.head.len, key->record.head.data);
    bool does = head == NULL; /* without memory to look, better one too many */

    for (size_t i = 0; head != NULL && i < head->n_ancestors; i++)
        does |=
            head->ancestors[i].len == KM_OBJECT_ID_LEN && memcmp(head->ancestors[i].data, id, KM_OBJECT_ID_LEN) == 0;
    if (head != NULL)
        kml__head__free_unpacked(head, NULL);
    return does;
}

void km_keycache_forget_descendants(struct km_keycache *cache, const uint8_t *id)
{
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        for (struct km_loaded *key = shard->n_with_ancestors > 0 ? shard->newest : NULL, *older; key != NULL;
             key = older) {
            older = key->older;
            if (key->has_ancestors && descends_from(key, id))
                drop(cache, shard, key);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

void km_keycache_age(struct km_keycache *cache, unsigned seconds)
{
    time_t limit = now() - (time_t)seconds;

    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        while (shard->oldest != NULL && (seconds == 0 || shard->oldest->used < limit))
            drop(cache, shard, shard->oldest);
        pthread_mutex_unlock(&shard->lock);
    }
}

size_t km_keycache_count(struct km_keycache *cache)
{
    size_t n = 0;

    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&cache->shards[i].lock);
        n += cache->shards[i].n;
        pthread_mutex_unlock(&cache->shards[i].lock);
    }
    return n;
}
