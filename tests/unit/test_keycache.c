/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of loaded keys: only the same bytes hit, the oldest go first, users keep what they hold.
 */
#include "unit.h"

#include "../../server/hsm/keycache.h"
#include "../../server/hsm/seal.h"

#include <string.h>

#define SEAL_LEN (KM_SEAL_OVERHEAD + 8)

struct record {
    uint8_t head[4], seal[SEAL_LEN];
    Kml__Object object;
};

static Kml__Object *record(struct record *r, unsigned number)
{
    memset(r, 0, sizeof(*r));
    memcpy(r->head, &number, sizeof(number));
    memcpy(r->seal + 1, &number, sizeof(number));
    kml__object__init(&r->object);
    r->object.head = (ProtobufCBinaryData){sizeof(r->head), r->head};
    r->object.seal = (ProtobufCBinaryData){sizeof(r->seal), r->seal};
    return &r->object;
}

static void put(struct km_keycache *cache, unsigned number, bool is_secret)
{
    struct km_loaded *key = km_loaded_new(CKO_SECRET_KEY, CKK_AES);
    struct record r;

    assert_non_null(key);
    if (is_secret)
        assert_int_equal(km_secret_new(&key->raw, 16), KM_OK);
    km_keycache_put(cache, record(&r, number), key);
    km_loaded_release(key);
}

static bool has(struct km_keycache *cache, unsigned number)
{
    struct record r;
    struct km_loaded *key = km_keycache_get(cache, record(&r, number));

    km_loaded_release(key);
    return key != NULL;
}

static void only_the_same_bytes_hit(void **state)
{
    struct km_keycache *cache = km_keycache_new(64);
    struct record r;
    (void)state;

    put(cache, 1, false);
    assert_true(has(cache, 1));
    assert_false(has(cache, 2));
    record(&r, 1)->head.data[0] ^= 1;
    assert_null(km_keycache_get(cache, &r.object));
    record(&r, 1)->seal.data[SEAL_LEN - 1] ^= 1;
    assert_null(km_keycache_get(cache, &r.object));
    record(&r, 1)->seal.len--;
    assert_null(km_keycache_get(cache, &r.object));
    record(&r, 1)->seal.len = 0;
    assert_null(km_keycache_get(cache, &r.object));
    km_keycache_free(cache);
}

static void the_oldest_go_first(void **state)
{
    struct km_keycache *cache = km_keycache_new(4 * 16);
    (void)state;

    for (unsigned i = 0; i < 4; i++)
        put(cache, 16 * i, false); /* one shard */
    assert_true(has(cache, 0));
    put(cache, 16 * 4, false);
    assert_true(has(cache, 0));
    assert_false(has(cache, 16));
    assert_int_equal(km_keycache_count(cache), 4);
    put(cache, 16 * 4, false); /* the same again is not kept twice */
    assert_int_equal(km_keycache_count(cache), 4);
    km_keycache_free(cache);
}

static void locked_memory_is_not_hoarded(void **state)
{
    struct km_keycache *cache = km_keycache_new(16 * 16);
    (void)state;

    for (unsigned i = 0; i < 10; i++)
        put(cache, 16 * i, true);
    assert_int_equal(km_keycache_count(cache), 2);
    put(cache, 16 * 20, false);
    assert_true(has(cache, 16 * 9) && has(cache, 16 * 8) && has(cache, 16 * 20));
    km_keycache_free(cache);
}

/* A session key made from the object whose id is full of `ancestor`. */
static void put_descendant(struct km_keycache *cache, unsigned number, uint8_t ancestor)
{
    struct km_loaded *key = km_loaded_new(CKO_SECRET_KEY, CKK_AES);
    uint8_t id[16], packed[64];
    ProtobufCBinaryData ancestors = {sizeof(id), id};
    Kml__Head head = KML__HEAD__INIT;
    struct record r;

    memset(id, ancestor, sizeof(id));
    head.is_session = true;
    head.n_ancestors = 1;
    head.ancestors = &ancestors;
    record(&r, number)->head = (ProtobufCBinaryData){kml__head__pack(&head, packed), packed};
    key->has_ancestors = true;
    km_keycache_put(cache, &r.object, key);
    km_loaded_release(key);
}

static void descendants_go_with_their_ancestor(void **state)
{
    struct km_keycache *cache = km_keycache_new(64);
    uint8_t id[16];
    (void)state;

    memset(id, 7, sizeof(id));
    put(cache, 1, true);
    put_descendant(cache, 2, 7);
    put_descendant(cache, 3, 8);
    put_descendant(cache, 4, 7);
    km_keycache_forget_descendants(cache, id);
    assert_int_equal(km_keycache_count(cache), 2);
    assert_true(has(cache, 1));
    memset(id, 8, sizeof(id));
    km_keycache_forget_descendants(cache, id);
    assert_int_equal(km_keycache_count(cache), 1);
    km_keycache_free(cache);
}

static void what_is_held_outlives_its_place(void **state)
{
    struct km_keycache *cache = km_keycache_new(64);
    struct km_loaded *key;
    struct record r;
    (void)state;

    put(cache, 1, true);
    key = km_keycache_get(cache, record(&r, 1));
    assert_non_null(key);
    km_keycache_forget(cache, &r.object);
    km_keycache_forget(cache, &r.object);
    assert_false(has(cache, 1));
    assert_int_equal(key->raw.len, 16);
    put(cache, 2, false);
    km_keycache_age(cache, 100);
    assert_true(has(cache, 2));
    km_keycache_free(cache);
    assert_int_equal(key->raw.data[15], 0);
    km_loaded_release(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_same_bytes_hit),
        cmocka_unit_test(the_oldest_go_first),
        cmocka_unit_test(locked_memory_is_not_hoarded),
        cmocka_unit_test(descendants_go_with_their_ancestor),
        cmocka_unit_test(what_is_held_outlives_its_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
