/* SPDX-License-Identifier: Apache-2.0
 *
 * Same log, same store, byte for byte (design D10): snapshots and digests of stores that took different ways to the
 * same index are equal, and a snapshot with any bit flipped is refused.
 */
#include "store_fixture.h"
#include "../../server/raft/store_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const people[] = {ALICE, BOB, "spiffe://test/operator/carol"};

/* One store's way through the log: a second store gets the same commands. */
struct random_log {
    struct fixture f;
    uint64_t seed;
    uint64_t sessions[16];
    const char *owners[16];
    uint64_t numbers[16];
    unsigned n_sessions;
};

static uint64_t roll(struct random_log *log, uint64_t below)
{
    log->seed += 0x9e3779b97f4a7c15u;
    uint64_t x = log->seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (x ^ (x >> 31)) % below;
}

static struct asker some_asker(struct random_log *log)
{
    if (log->n_sessions == 0 || roll(log, 4) == 0)
        return (struct asker){0};
    unsigned i = (unsigned)roll(log, log->n_sessions);
    uint64_t number = log->numbers[i] += roll(log, 4) ? 1 : 0; /* now and then a retry */
    uint64_t acked = roll(log, 3) || number < 9 ? 0 : number - roll(log, 9);
    return (struct asker){log->sessions[i], number, acked, roll(log, 9) ? 1 : 2, log->owners[i]};
}

static struct thing some_thing(struct random_log *log, uint64_t version)
{
    static const char *const words[] = {NULL, "", "a", "b", "a long word that fills more than one block of the hash"};
    return (struct thing){.id = 100 + roll(log, 40),
                          .token = 1 + roll(log, 3),
                          .instance = 1 + roll(log, 2),
                          .version = version,
                          .class = roll(log, 5),
                          .key_type = roll(log, 2),
                          .is_private = roll(log, 2) == 0,
                          .cka_id = words[roll(log, 5)],
                          .label = words[roll(log, 5)],
                          .seal = words[roll(log, 5)]};
}

static void some_registration(struct random_log *log)
{
    unsigned i = log->n_sessions < 16 ? log->n_sessions++ : (unsigned)roll(log, 16);
    log->owners[i] = people[roll(log, 3)];
    log->numbers[i] = 0;
    log->sessions[i] = client_register(&log->f, log->owners[i]);
}

static void some_object_command(struct random_log *log, struct asker asker)
{
    struct thing things[2] = {some_thing(log, 1), some_thing(log, 1)};
    uint64_t kind = roll(log, 4);
    if (kind == 0) {
        rv_of(object_destroy(&log->f, things[0].token, things[0].id));
    } else if (kind == 1) {
        things[0].version = 2 + roll(log, 2);
        rv_of(object_replace(&log->f, &things[0], things[0].version - 1));
    } else {
        rv_of(object_create(&log->f, things, 1 + roll(log, 2), asker));
    }
}

static void audit(struct random_log *log)
{
    Kml__AuditHead body = KML__AUDIT_HEAD__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    body.server = roll(log, 5);
    body.sequence = roll(log, 1000);
    body.hash = hash_data((uint8_t)body.sequence);
    command.body_case = KML__COMMAND__BODY_AUDIT_HEAD;
    command.audit_head = &body;
    rv_of(apply(&log->f, &command, some_asker(log)));
}

/* The next command of the log. What it is depends on the seed alone, except for session numbers, which are indexes. */
static void step(struct random_log *log)
{
    struct fixture *f = &log->f;
    struct asker asker = some_asker(log);
    f->time_ms += roll(log, 100) == 0 ? KM_CLIENT_TTL_MS / 3 : roll(log, 50);
    f->time_ms -= roll(log, 20); /* a leader whose clock is behind */
    switch (roll(log, 10)) {
    case 0:
        some_registration(log);
        break;
    case 1:
        rv_of(token_init(f, 1 + roll(log, 4), 1 + roll(log, 4), roll(log, 20) ? 0 : 1, asker));
        break;
    case 2:
        rv_of(pin_change(f, 1 + roll(log, 3), roll(log, 2), 1, roll(log, 3)));
        break;
    case 3:
    case 4:
        rv_of(pin_attempt(f, 1 + roll(log, 3), people[roll(log, 3)], roll(log, 30), roll(log, 5) == 0, roll(log, 3)));
        break;
    case 5:
        audit(log);
        break;
    default:
        some_object_command(log, asker);
    }
}

static struct random_log *log_new(uint64_t seed)
{
    struct random_log *log = calloc(1, sizeof(*log));
    assert_non_null(log);
    fixture_init(&log->f);
    log->seed = seed;
    return log;
}

static void log_free(struct random_log *log)
{
    fixture_fini(&log->f);
    free(log);
}

/* Takes the store through a snapshot: into a fresh one, or into itself. */
static void through_snapshot(struct random_log *log, bool into_fresh)
{
    uint8_t *data;
    size_t len;
    assert_int_equal(km_store_snapshot(log->f.store, &data, &len), KM_OK);
    if (into_fresh) {
        km_store_free(log->f.store);
        log->f.store = km_store_new();
    }
    assert_int_equal(km_store_restore(log->f.store, data, len), KM_OK);
    free(data);
}

static void assert_equal_stores(struct fixture *a, struct fixture *b)
{
    uint8_t *left, *right;
    size_t left_len, right_len;
    assert_memory_equal(digest_of(a), digest_of(b), 32);
    assert_int_equal(km_store_snapshot(a->store, &left, &left_len), KM_OK);
    assert_int_equal(km_store_snapshot(b->store, &right, &right_len), KM_OK);
    assert_int_equal(left_len, right_len);
    assert_memory_equal(left, right, left_len);
    assert_int_equal(km_store_free_slot(a->store), km_store_free_slot(b->store));
    assert_int_equal(km_store_time_ms(a->store), km_store_time_ms(b->store));
    free(left);
    free(right);
}

static void the_same_log_gives_the_same_bytes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct random_log *a = log_new(seed), *b = log_new(seed);
        uint8_t before[32] = {0};
        unsigned same = 0;
        for (int i = 0; i < 500; i++) {
            step(a);
            step(b);
            assert_memory_equal(digest_of(&a->f), digest_of(&b->f), 32);
            same += memcmp(before, digest_of(&a->f), 32) == 0;
            memcpy(before, digest_of(&a->f), 32);
        }
        assert_int_equal(same, 0); /* the index is part of it */
        assert_equal_stores(&a->f, &b->f);
        log_free(a);
        log_free(b);
    }
}

static void snapshots_on_the_way_change_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct random_log *a = log_new(seed), *b = log_new(seed);
        for (int i = 0; i < 600; i++) {
            step(a);
            step(b);
            if (i % 97 == 96)
                through_snapshot(b, i % 2);
            assert_memory_equal(digest_of(&a->f), digest_of(&b->f), 32);
        }
        assert_equal_stores(&a->f, &b->f);
        assert_true(a->f.store->state->n_objects > 0);
        assert_true(a->f.store->state->n_clients > 0);
        log_free(a);
        log_free(b);
    }
}

static void an_incremental_digest_is_the_digest_of_what_is_there(void **state)
{
    (void)state;
    struct random_log *log = log_new(77);
    for (int i = 0; i < 2000; i++) {
        step(log);
        uint8_t before[32];
        memcpy(before, digest_of(&log->f), 32);
        if (i % 50 == 0)
            through_snapshot(log, true); /* which sums up every record anew and compares */
        assert_memory_equal(before, digest_of(&log->f), 32);
    }
    log_free(log);
}

static void an_empty_store_survives_a_snapshot(void **state)
{
    (void)state;
    struct random_log *a = log_new(1), *b = log_new(1);
    through_snapshot(b, true);
    assert_equal_stores(&a->f, &b->f);
    assert_int_equal(km_store_free_slot(b->f.store), 1);
    assert_int_equal(km_store_feature_level(b->f.store), 1);
    log_free(a);
    log_free(b);
}

static void a_snapshot_is_the_message_that_protobuf_would_pack(void **state)
{
    (void)state;
    struct random_log *log = log_new(5);
    uint8_t *data, *again;
    size_t len;
    for (int i = 0; i < 500; i++)
        step(log);
    assert_int_equal(km_store_snapshot(log->f.store, &data, &len), KM_OK);
    assert_memory_equal(data, "KMSNAP", 6);
    Kml__Snapshot *snapshot = kml__snapshot__unpack(NULL, len - 6, data + 6);
    assert_non_null(snapshot);
    assert_int_equal(snapshot->version, KM_SNAPSHOT_VERSION);
    assert_int_equal(snapshot->index, log->f.index);
    assert_int_equal(snapshot->n_objects, log->f.store->state->n_objects);
    assert_int_equal(snapshot->n_clients, log->f.store->state->n_clients);
    assert_int_equal(snapshot->n_tokens, log->f.store->state->n_tokens);
    again = malloc(len);
    assert_int_equal(kml__snapshot__pack(snapshot, again), len - 6);
    assert_memory_equal(data + 6, again, len - 6);
    kml__snapshot__free_unpacked(snapshot, NULL);
    free(again);
    free(data);
    log_free(log);
}

/* --- damage ---------------------------------------------------------------------------------------------------------
 */

static void any_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct random_log *log = log_new(9), *target = log_new(1);
    uint8_t *data;
    size_t len;
    const struct km_state *inside = log->f.store->state;
    for (int i = 0; i < 120 || !inside->n_objects || !inside->n_clients || !inside->n_tokens || !inside->n_audit_heads;
         i++)
        step(log); /* until there is something of everything */
    for (int i = 0; i < 10; i++)
        step(target);
    uint8_t before[32];
    memcpy(before, digest_of(&target->f), 32);
    assert_int_equal(km_store_snapshot(log->f.store, &data, &len), KM_OK);
    for (size_t bit = 0; bit < len * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_int_not_equal(km_store_restore(target->f.store, data, len), KM_OK);
        data[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    print_message("%zu bytes, %zu bits flipped, all refused\n", len, len * 8);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_not_equal(km_store_restore(target->f.store, data, cut), KM_OK);
    assert_memory_equal(before, digest_of(&target->f), 32); /* left as it was */
    assert_int_equal(km_store_restore(target->f.store, data, len), KM_OK);
    assert_equal_stores(&log->f, &target->f);
    free(data);
    log_free(log);
    log_free(target);
}

/* Packs a snapshot that was tampered with, under a digest that fits its scalars if nothing else is in it. */
static enum km_err restore_message(Kml__Snapshot *snapshot)
{
    struct random_log *log = log_new(1);
    size_t len = kml__snapshot__get_packed_size(snapshot);
    uint8_t *data = malloc(len + 6);
    memcpy(data, "KMSNAP", 6);
    kml__snapshot__pack(snapshot, data + 6);
    enum km_err err = km_store_restore(log->f.store, data, len + 6);
    free(data);
    log_free(log);
    return err;
}

static void snapshots_from_the_future_and_nonsense_are_refused(void **state)
{
    (void)state;
    struct random_log *log = log_new(3);
    uint8_t *data;
    size_t len;
    for (int i = 0; i < 300; i++)
        step(log);
    assert_int_equal(km_store_snapshot(log->f.store, &data, &len), KM_OK);
    Kml__Snapshot *snapshot = kml__snapshot__unpack(NULL, len - 6, data + 6);
    assert_int_equal(restore_message(snapshot), KM_OK);
    uint8_t *twice = malloc(len + 3);
    assert_true(data[8] == 0x10 && data[9] >= 0x80 && data[10] < 0x80); /* the index in three bytes */
    memcpy(twice, data, 11);
    memcpy(twice + 11, data + 8, len - 8); /* said twice */
    assert_int_equal(km_store_restore(log->f.store, twice, len + 3), KM_ERR_CORRUPT);
    free(twice);
    snapshot->version = KM_SNAPSHOT_VERSION + 1;
    assert_int_equal(restore_message(snapshot), KM_ERR_VERSION);
    snapshot->version = KM_SNAPSHOT_VERSION;
    snapshot->feature_level = KM_FEATURE_LEVEL + 1;
    assert_int_equal(restore_message(snapshot), KM_ERR_VERSION);
    snapshot->feature_level = KM_FEATURE_LEVEL;
    snapshot->index++;
    assert_int_equal(restore_message(snapshot), KM_ERR_CORRUPT);
    snapshot->index--;
    Kml__Object *swap = snapshot->objects[0];
    snapshot->objects[0] = snapshot->objects[1];
    snapshot->objects[1] = swap;
    assert_int_equal(restore_message(snapshot), KM_ERR_CORRUPT);
    snapshot->objects[1] = snapshot->objects[0];
    snapshot->objects[0] = swap;
    snapshot->n_clients--; /* one client forgotten */
    assert_int_equal(restore_message(snapshot), KM_ERR_CORRUPT);
    snapshot->n_clients++;
    size_t n_tokens = snapshot->n_tokens;
    snapshot->n_tokens = 0; /* objects without a home */
    assert_int_equal(restore_message(snapshot), KM_ERR_CORRUPT);
    snapshot->n_tokens = n_tokens;
    snapshot->digest.len = 31;
    assert_int_equal(restore_message(snapshot), KM_ERR_CORRUPT);
    snapshot->digest.len = 32;
    assert_int_equal(restore_message(snapshot), KM_OK);
    kml__snapshot__free_unpacked(snapshot, NULL);
    free(data);
    log_free(log);
}

static void clients_keep_their_window_through_a_snapshot(void **state)
{
    (void)state;
    struct random_log *log = log_new(1);
    struct fixture *f = &log->f;
    struct asker asker = {client_register(f, ALICE), 1, 0, 1, ALICE};
    assert_int_equal(rv_of(token_init(f, 1, 1, 0, asker)), CKR_OK);
    asker.number = 2;
    assert_int_equal(rv_of(token_init(f, 2, 9, 0, asker)), CKR_SLOT_ID_INVALID);
    through_snapshot(log, true);
    assert_int_equal(rv_of(token_init(f, 2, 2, 0, asker)), CKR_SLOT_ID_INVALID);
    asker.number = 1;
    assert_int_equal(rv_of(token_init(f, 2, 2, 0, asker)), CKR_OK); /* the first result, not a second token */
    assert_int_equal(km_store_free_slot(f->store), 2);
    asker.hash = 2;
    assert_int_equal(rv_of(token_init(f, 2, 2, 0, asker)), CKR_DEVICE_ERROR);
    log_free(log);
}

static double now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void a_large_snapshot_takes_this_long(void **state)
{
    (void)state;
    struct random_log *log = log_new(1);
    struct km_part *parts;
    uint8_t *data;
    size_t len, n_parts;
    rv_of(token_init(&log->f, 1, 1, 0, (struct asker){0}));
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const uint64_t n = 10000;
#else
    const uint64_t n = 200000;
#endif
    for (uint64_t i = 0; i < n; i += 50) {
        struct thing things[50];
        for (uint64_t j = 0; j < 50; j++)
            things[j] = (struct thing){.id = (i + j) * 0x9e3779b97f4a7c15u,
                                       .token = 1,
                                       .instance = 1,
                                       .version = 1,
                                       .class = 2 + j % 2,
                                       .cka_id = "id",
                                       .label = "label",
                                       .seal = "sealed"};
        assert_int_equal(rv_of(object_create(&log->f, things, 50, (struct asker){0})), CKR_OK);
    }
    double start = now_ms();
    assert_int_equal(km_store_image(log->f.store, &parts, &n_parts), KM_OK);
    double image = now_ms();
    km_store_image_free(parts, n_parts);
    double image_freed = now_ms();
    assert_int_equal(km_store_snapshot(log->f.store, &data, &len), KM_OK);
    double packed = now_ms();
    assert_int_equal(km_store_restore(log->f.store, data, len), KM_OK);
    print_message("%llu objects, %zu bytes: image %.0f ms and %.0f ms to let go, snapshot %.0f ms, restore %.0f ms\n",
                  (unsigned long long)n, len, image - start, image_freed - image, packed - image_freed,
                  now_ms() - packed);
    free(data);
    log_free(log);
}

/* The disk writes an image on its own thread while the store goes on: objects are replaced and destroyed meanwhile. */
static void an_image_stays_what_it_was(void **state)
{
    struct random_log *log = log_new(7);
    struct km_part *parts;
    uint8_t *data, *joined;
    size_t n, len, at = 0;
    (void)state;

    for (int i = 0; i < 2000; i++)
        step(log);
    assert_int_equal(km_store_snapshot(log->f.store, &data, &len), KM_OK);
    assert_int_equal(km_store_image(log->f.store, &parts, &n), KM_OK);
    assert_true(n > 10);
    for (int i = 0; i < 2000; i++)
        step(log);
    km_store_free(log->f.store);
    joined = malloc(len);
    for (size_t i = 0; i < n; at += parts[i++].len) {
        assert_true(at + parts[i].len <= len);
        memcpy(joined + at, parts[i].base, parts[i].len);
    }
    assert_int_equal(at, len);
    assert_memory_equal(joined, data, len);
    km_store_image_free(parts, n);
    log->f.store = km_store_new();
    assert_int_equal(km_store_restore(log->f.store, joined, len), KM_OK);
    free(joined);
    free(data);
    log_free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_log_gives_the_same_bytes),
        cmocka_unit_test(snapshots_on_the_way_change_nothing),
        cmocka_unit_test(an_incremental_digest_is_the_digest_of_what_is_there),
        cmocka_unit_test(an_empty_store_survives_a_snapshot),
        cmocka_unit_test(a_snapshot_is_the_message_that_protobuf_would_pack),
        cmocka_unit_test(any_flipped_bit_is_noticed),
        cmocka_unit_test(snapshots_from_the_future_and_nonsense_are_refused),
        cmocka_unit_test(clients_keep_their_window_through_a_snapshot),
        cmocka_unit_test(an_image_stays_what_it_was),
        cmocka_unit_test(a_large_snapshot_takes_this_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
