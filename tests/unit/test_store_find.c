/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding objects: by every index and without one, in pages, with and without private objects, while others change
 * the token; and what a hundred thousand key pairs cost in time and memory.
 */
#include "store_fixture.h"
#include "../../server/raft/store_state.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const struct asker nobody = {0};

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));
    if (!f)
        return -1;
    fixture_init(f);
    rv_of(token_init(f, 1, 1, 0, nobody));
    rv_of(token_init(f, 2, 2, 0, nobody));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

/* A template in wire form, built up attribute by attribute. */
struct template
{
    Kml__Attr attrs[8], *pointers[8];
    uint8_t ulongs[8][8];
    size_t n;
};

static void want_bytes(struct template *t, uint64_t type, const void *data, size_t len)
{
    kml__attr__init(&t->attrs[t->n]);
    t->attrs[t->n].type = type;
    t->attrs[t->n].value = (ProtobufCBinaryData){len, (uint8_t *)(size_t)data};
    t->pointers[t->n] = &t->attrs[t->n];
    t->n++;
}

static void want_text(struct template *t, uint64_t type, const char *text)
{
    want_bytes(t, type, text, strlen(text));
}

static void want_ulong(struct template *t, uint64_t type, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        t->ulongs[t->n][i] = (uint8_t)(value >> (8 * i));
    want_bytes(t, type, t->ulongs[t->n], 8);
}

/* Finds all, `page` at a time, checks the order and returns how many there were; the first 64 ids go to `ret`. */
static size_t find(struct fixture *f, uint64_t token, const struct template *t, bool with_private, size_t page,
                   uint64_t ret[64])
{
    const struct km_object *objects[256];
    uint8_t after[KM_ID_LEN];
    size_t total = 0;
    bool more = true;
    while (more) {
        size_t n = km_store_find(f->store, id_of(token), t->pointers, t->n, with_private, total ? after : NULL, objects,
                                 page, &more);
        assert_true(n == page || !more);
        for (size_t i = 0; i < n; i++, total++) {
            assert_true(total == 0 || memcmp(objects[i]->id, after, KM_ID_LEN) > 0);
            memcpy(after, objects[i]->id, KM_ID_LEN);
            uint64_t id = 0;
            for (int byte = 0; byte < 8; byte++)
                id = id << 8 | objects[i]->id[byte];
            if (total < 64)
                ret[total] = id;
            km_object_unref(objects[i]);
        }
    }
    return total;
}

static const struct thing things[] = {
    {10, 1, 1, 1, CKO_PRIVATE_KEY, CKK_EC, true, "a", "web", "s"},
    {11, 1, 1, 1, CKO_PUBLIC_KEY, CKK_EC, false, "a", "web", NULL},
    {12, 1, 1, 1, CKO_PRIVATE_KEY, CKK_RSA, true, "b", "web", "s"},
    {13, 1, 1, 1, CKO_PUBLIC_KEY, CKK_RSA, false, "b", "web", NULL},
    {14, 1, 1, 1, CKO_SECRET_KEY, CKK_AES, true, NULL, "aes", "s"},
    {15, 1, 1, 1, CKO_SECRET_KEY, CKK_AES, true, "", "", "s"},
    {16, 1, 1, 1, CKO_DATA, 0, false, NULL, NULL, NULL},
    {9, 2, 1, 1, CKO_PUBLIC_KEY, CKK_EC, false, "a", "web", NULL},
};

static void objects_are_found_by_every_index(void **state)
{
    struct fixture *f = *state;
    struct template t = {.n = 0};
    uint64_t ids[64];
    assert_int_equal(rv_of(object_create(f, things, sizeof(things) / sizeof(things[0]), nobody)), CKR_OK);
    assert_int_equal(find(f, 1, &t, true, 256, ids), 7);
    assert_int_equal(find(f, 1, &t, false, 256, ids), 3);
    assert_int_equal(ids[0], 11);
    assert_int_equal(find(f, 2, &t, true, 256, ids), 1);
    assert_int_equal(find(f, 3, &t, true, 256, ids), 0);

    want_text(&t, CKA_LABEL, "web");
    assert_int_equal(find(f, 1, &t, true, 3, ids), 4);
    assert_int_equal(find(f, 1, &t, false, 256, ids), 2);
    want_ulong(&t, CKA_CLASS, CKO_PRIVATE_KEY);
    assert_int_equal(find(f, 1, &t, true, 256, ids), 2);
    assert_int_equal(find(f, 1, &t, false, 256, ids), 0);
    want_text(&t, CKA_ID, "b");
    assert_int_equal(find(f, 1, &t, true, 256, ids), 1);
    assert_int_equal(ids[0], 12);
    want_ulong(&t, CKA_KEY_TYPE, CKK_EC);
    assert_int_equal(find(f, 1, &t, true, 256, ids), 0);

    t.n = 0; /* CKA_CLASS 0 is CKO_DATA: its type and value are zeroes that protobuf leaves out */
    want_ulong(&t, CKA_CLASS, CKO_DATA);
    assert_int_equal(find(f, 1, &t, true, 256, ids), 1);
    assert_int_equal(ids[0], 16);

    t.n = 0;
    want_text(&t, CKA_ID, ""); /* an empty value is not the same as none */
    assert_int_equal(find(f, 1, &t, true, 256, ids), 1);
    assert_int_equal(ids[0], 15);

    t.n = 0; /* no index: every object is looked at */
    want_bytes(&t, CKA_PRIVATE, "\1", 1);
    assert_int_equal(find(f, 1, &t, true, 1, ids), 4);
    t.n = 0;
    want_bytes(&t, CKA_CLASS, "\3", 1); /* a value of the wrong size matches nothing */
    assert_int_equal(find(f, 1, &t, true, 256, ids), 0);
    t.n = 0;
    want_text(&t, CKA_VALUE, "s"); /* what is in the seal cannot be searched for */
    assert_int_equal(find(f, 1, &t, true, 256, ids), 0);
}

static void indexes_follow_changes(void **state)
{
    struct fixture *f = *state;
    struct template t = {.n = 0};
    struct thing thing = things[0];
    uint64_t ids[64];
    rv_of(object_create(f, things, sizeof(things) / sizeof(things[0]), nobody));
    thing.version = 2;
    thing.label = "mail";
    thing.cka_id = NULL;
    assert_int_equal(rv_of(object_replace(f, &thing, 1)), CKR_OK);
    want_text(&t, CKA_LABEL, "web");
    assert_int_equal(find(f, 1, &t, true, 256, ids), 3);
    t.n = 0;
    want_text(&t, CKA_LABEL, "mail");
    assert_int_equal(find(f, 1, &t, true, 256, ids), 1);
    t.n = 0;
    want_text(&t, CKA_ID, "a");
    assert_int_equal(find(f, 1, &t, true, 256, ids), 1);
    assert_int_equal(rv_of(object_destroy(f, 1, 11)), CKR_OK);
    assert_int_equal(find(f, 1, &t, true, 256, ids), 0);
    t.n = 0;
    want_ulong(&t, CKA_CLASS, CKO_PUBLIC_KEY);
    assert_int_equal(find(f, 1, &t, true, 256, ids), 1);
}

static void pages_go_on_where_the_last_object_was_even_if_it_is_gone(void **state)
{
    struct fixture *f = *state;
    const struct km_object *objects[8];
    struct template t = {.n = 0};
    bool more;
    rv_of(object_create(f, things, 7, nobody));
    assert_int_equal(km_store_find(f->store, id_of(1), t.pointers, 0, true, NULL, objects, 3, &more), 3);
    assert_true(more);
    for (int i = 0; i < 3; i++)
        km_object_unref(objects[i]);
    rv_of(object_destroy(f, 1, 12));
    assert_int_equal(km_store_find(f->store, id_of(1), t.pointers, 0, true, id_of(12), objects, 8, &more), 4);
    assert_false(more);
    assert_memory_equal(objects[0]->id, id_of(13), KM_ID_LEN);
    for (int i = 0; i < 4; i++)
        km_object_unref(objects[i]);
    assert_int_equal(km_store_find(f->store, id_of(1), t.pointers, 0, true, NULL, objects, 0, &more), 0);
    assert_true(more);
}

/* --- readers while the log goes on ----------------------------------------------------------------------------------
 */

struct reading {
    struct fixture *f;
    atomic_bool is_over;
    uint64_t faults, rounds; /* cmocka's asserts work on its own thread only */
};

static void *read_on(void *arg)
{
    struct reading *reading = arg;
    struct km_store *store = reading->f->store;
    struct template t = {.n = 0};
    want_text(&t, CKA_LABEL, "web");
    while (!atomic_load(&reading->is_over)) {
        const struct km_object *found[4];
        uint8_t digest[32], last[16];
        struct km_token token;
        uint64_t index, seen = km_store_index(store);
        bool more;
        size_t n = km_store_find(store, id_of(1), t.pointers, t.n, true, NULL, found, 4, &more);
        for (size_t i = 0; i < n; i++) {
            reading->faults += memcmp(found[i]->token, id_of(1), KM_ID_LEN) != 0 || found[i]->version != 1;
            reading->faults += found[i]->seal_len && found[i]->seal[0] != 's';
            km_object_unref(found[i]);
        }
        km_store_digest(store, digest, &index);
        reading->faults += index < seen;
        reading->faults += !km_store_token(store, id_of(1), &token);
        reading->faults += km_store_pin_failed(store, id_of(1), CKU_USER, ALICE, last) != 0;
        km_object_unref(km_store_object(store, id_of(11)));
        reading->rounds++;
    }
    return NULL;
}

static void readers_and_the_log_do_not_disturb_each_other(void **state)
{
    struct fixture *f = *state;
    struct reading readings[2] = {{.f = f}, {.f = f}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readings[i]), 0);
    for (int round = 0; round < 300; round++) {
        assert_int_equal(rv_of(object_create(f, things, 7, nobody)), CKR_OK);
        for (int i = 0; i < 7; i++)
            assert_int_equal(rv_of(object_destroy(f, 1, things[i].id)), CKR_OK);
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&readings[i].is_over, true);
        pthread_join(threads[i], NULL);
        assert_int_equal(readings[i].faults, 0);
        assert_true(readings[i].rounds > 0);
    }
    assert_int_equal(f->store->state->n_objects, 0);
}

/* --- size -----------------------------------------------------------------------------------------------------------
 */

/* Of this thread's own time: others may be using the machine. */
static double now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* Heads as the service makes them: about 25 attributes each. `bits` 0 is P-256, otherwise RSA. */
static size_t pack_key(uint8_t *out, uint64_t id, bool is_private, unsigned bits)
{
    static const uint64_t booleans[] = {CKA_TOKEN,
                                        CKA_SENSITIVE,
                                        CKA_ENCRYPT,
                                        CKA_DECRYPT,
                                        CKA_WRAP,
                                        CKA_UNWRAP,
                                        CKA_SIGN,
                                        CKA_SIGN_RECOVER,
                                        CKA_VERIFY,
                                        CKA_DERIVE,
                                        CKA_EXTRACTABLE,
                                        CKA_LOCAL,
                                        CKA_NEVER_EXTRACTABLE,
                                        CKA_ALWAYS_SENSITIVE,
                                        CKA_MODIFIABLE,
                                        CKA_COPYABLE,
                                        CKA_DESTROYABLE,
                                        CKA_ALWAYS_AUTHENTICATE};
    Kml__Head head = KML__HEAD__INIT;
    Kml__Attr attrs[32], *pointers[32];
    struct template t = {.n = 0};
    static uint8_t modulus[512], spki[600], yes = 1;
    char text[32];
    size_t n = 0;
    for (size_t i = 0; i < sizeof(booleans) / sizeof(booleans[0]); i++) {
        kml__attr__init(&attrs[n]);
        attrs[n].type = booleans[i];
        attrs[n++].value = (ProtobufCBinaryData){1, &yes};
    }
    snprintf(text, sizeof(text), "key-%llu", (unsigned long long)(id / 2));
    want_ulong(&t, CKA_CLASS, is_private ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY);
    want_bytes(&t, CKA_PRIVATE, is_private ? "\1" : "\0", 1);
    want_text(&t, CKA_LABEL, text);
    want_text(&t, CKA_ID, text);
    want_ulong(&t, CKA_KEY_TYPE, bits ? CKK_RSA : CKK_EC);
    if (bits)
        want_bytes(&t, CKA_MODULUS, modulus, bits / 8);
    else
        want_bytes(&t, CKA_EC_PARAMS, modulus, 10);
    want_bytes(&t, bits ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT, modulus, bits ? 3 : 67);
    if (!is_private)
        want_bytes(&t, CKA_PUBLIC_KEY_INFO, spki, bits ? bits / 8 + 38 : 91);
    for (size_t i = 0; i < t.n; i++)
        attrs[n++] = t.attrs[i];
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j > 0 && attrs[j - 1].type > attrs[j].type; j--) {
            Kml__Attr swap = attrs[j];
            attrs[j] = attrs[j - 1];
            attrs[j - 1] = swap;
        }
    for (size_t i = 0; i < n; i++)
        pointers[i] = &attrs[i];
    head.id = id_data(id * 0x9e3779b97f4a7c15u); /* spread like random ids */
    head.token = id_data(1);
    head.token_instance = 1;
    head.version = 1;
    head.class_ = is_private ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
    head.key_type = bits ? CKK_RSA : CKK_EC;
    head.is_private = is_private;
    head.attrs = pointers;
    head.n_attrs = n;
    head.owner = (char[]){ALICE};
    head.created_ms = 1700000000000;
    head.backend = (char[]){"builtin"};
    return kml__head__pack(&head, out);
}

static void create_pair(struct fixture *f, uint64_t pair, unsigned bits, size_t *head_bytes, size_t *seal_bytes)
{
    uint8_t heads[2][2048], seal[1400];
    Kml__Object objects[2], *pointers[2] = {&objects[0], &objects[1]};
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    memset(seal, 's', sizeof(seal));
    for (int i = 0; i < 2; i++) {
        kml__object__init(&objects[i]);
        objects[i].head = (ProtobufCBinaryData){pack_key(heads[i], 2 * pair + i, i == 1, bits), heads[i]};
        *head_bytes += objects[i].head.len;
    }
    objects[1].seal = (ProtobufCBinaryData){bits ? 1250 : 180, seal};
    *seal_bytes += objects[1].seal.len;
    body.objects = pointers;
    body.n_objects = 2;
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    assert_int_equal(rv_of(apply(f, &command, nobody)), CKR_OK);
}

/* Microseconds for one search for one key by label, class and id. */
static double find_us(struct fixture *f, uint64_t pairs)
{
    const struct km_object *found[4];
    bool more;
    double start = now_us();
    for (uint64_t i = 0; i < 2000; i++) {
        struct template t = {.n = 0};
        char text[32];
        snprintf(text, sizeof(text), "key-%llu", (unsigned long long)(i * 7919 % pairs));
        want_ulong(&t, CKA_CLASS, CKO_PRIVATE_KEY);
        want_text(&t, i % 2 ? CKA_ID : CKA_LABEL, text);
        assert_int_equal(km_store_find(f->store, id_of(1), t.pointers, t.n, true, NULL, found, 4, &more), 1);
        km_object_unref(found[0]);
    }
    return (now_us() - start) / 2000;
}

static void measure(struct fixture *f, const char *name, unsigned bits, uint64_t pairs)
{
    size_t head_bytes = 0, seal_bytes = 0;
    double few = 0;
    size_t before = mallinfo2().uordblks;
    double start = now_us();
    for (uint64_t i = 0; i < pairs; i++) {
        create_pair(f, i, bits, &head_bytes, &seal_bytes);
        if (i == 99)
            few = find_us(f, 100);
    }
    double create = (now_us() - start) / (double)pairs;
    double used = ((double)mallinfo2().uordblks - (double)before - (double)seal_bytes) / (double)pairs;
    double many = find_us(f, pairs);
    print_message("%s, %llu pairs: %.0f bytes per pair beside the seal (heads %.0f), create %.1f us, "
                  "find among 100: %.2f us, among all: %.2f us\n",
                  name, (unsigned long long)pairs, used, (double)head_bytes / (double)pairs, create, few, many);
#if !SANITIZED /* whose allocator does not count, and whose time is its own */
    assert_true(used <= 2048);
    assert_true(many < few * 20 + 20); /* cache misses, not a search through all */
#endif
    start = now_us();
    assert_int_equal(rv_of(token_init(f, 1, 1, 1, nobody)), CKR_OK);
    print_message("  the token initialised again: %.1f ms\n", (now_us() - start) / 1e3);
}

static void a_hundred_thousand_pairs_fit_and_are_found(void **state)
{
    measure(*state, "P-256", 0, SANITIZED ? 5000 : 100000);
}

static void rsa_pairs_fit_too(void **state)
{
    measure(*state, "RSA-2048", 2048, SANITIZED ? 2000 : 20000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(objects_are_found_by_every_index),
        TEST(indexes_follow_changes),
        TEST(pages_go_on_where_the_last_object_was_even_if_it_is_gone),
        TEST(readers_and_the_log_do_not_disturb_each_other),
        TEST(a_hundred_thousand_pairs_fit_and_are_found),
        TEST(rsa_pairs_fit_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
