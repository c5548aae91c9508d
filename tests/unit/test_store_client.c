/* SPDX-License-Identifier: Apache-2.0
 *
 * Exactly once (design D9): retries get the first result, whatever cannot be told apart from a retry is refused, and a
 * client that was forgotten cannot do anything any more.
 */
#include "store_fixture.h"
#include "../../server/raft/store_state.h"

#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));
    if (!f)
        return -1;
    fixture_init(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

/* A change that shows whether it was executed: each one makes a token in the next slot. */
static Kml__Result *change(struct fixture *f, struct asker asker)
{
    return token_init(f, 1000 + f->index, km_store_free_slot(f->store), 0, asker);
}

static uint64_t tokens(struct fixture *f)
{
    return km_store_free_slot(f->store) - 1;
}

static enum km_err result_of(struct fixture *f, uint64_t session, uint64_t number, const char *identity, uint8_t hash)
{
    Kml__Result *result = NULL;
    enum km_err err = km_store_result(f->store, session, number, identity, hash_data(hash).data, &result);
    assert_true((err == KM_OK) == (result != NULL));
    if (result)
        kml__result__free_unpacked(result, NULL);
    return err;
}

static void a_retry_gets_the_first_result(void **state)
{
    struct fixture *f = *state;
    struct asker asker = {client_register(f, ALICE), 1, 0, 0xaa, ALICE};
    assert_int_equal(result_of(f, asker.session, 1, ALICE, 0xaa), KM_ERR_NOT_FOUND);
    Kml__Result *first = change(f, asker);
    Kml__Result *second = change(f, asker);
    assert_int_equal(tokens(f), 1);
    assert_int_equal(first->rv, CKR_OK);
    assert_int_equal(second->rv, CKR_OK);
    assert_int_equal(second->n_ids, 1);
    assert_memory_equal(first->ids[0].data, second->ids[0].data, KM_ID_LEN);
    kml__result__free_unpacked(first, NULL);
    kml__result__free_unpacked(second, NULL);
    assert_int_equal(result_of(f, asker.session, 1, ALICE, 0xaa), KM_OK);
    assert_int_equal(result_of(f, asker.session, 1, ALICE, 0xab), KM_ERR_DENIED);
    assert_int_equal(result_of(f, asker.session, 1, BOB, 0xaa), KM_ERR_DENIED);
    assert_int_equal(result_of(f, asker.session + 1, 1, ALICE, 0xaa), KM_ERR_DENIED);
}

static void a_refusal_is_a_first_result_too(void **state)
{
    struct fixture *f = *state;
    struct asker asker = {client_register(f, ALICE), 1, 0, 0xaa, ALICE};
    assert_int_equal(rv_of(token_init(f, 1, 2 /* not the free slot */, 0, asker)), CKR_SLOT_ID_INVALID);
    rv_of(change(f, (struct asker){0})); /* now slot 2 is free */
    assert_int_equal(rv_of(token_init(f, 1, 2, 0, asker)), CKR_SLOT_ID_INVALID);
    assert_int_equal(tokens(f), 1);
}

static void a_number_is_used_once(void **state)
{
    struct fixture *f = *state;
    struct asker asker = {client_register(f, ALICE), 1, 0, 0xaa, ALICE};
    assert_int_equal(rv_of(change(f, asker)), CKR_OK);
    asker.hash = 0xab;
    assert_int_equal(rv_of(change(f, asker)), CKR_DEVICE_ERROR);
    assert_int_equal(tokens(f), 1);
}

static void strangers_are_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t session = client_register(f, ALICE);
    assert_int_equal(rv_of(change(f, (struct asker){session + 1, 1, 0, 1, ALICE})), CKR_DEVICE_ERROR);
    assert_int_equal(rv_of(change(f, (struct asker){session, 1, 0, 1, BOB})), CKR_DEVICE_ERROR);
    assert_int_equal(rv_of(change(f, (struct asker){0, 1, 0, 1, ALICE})), CKR_DEVICE_ERROR);
    assert_int_equal(rv_of(change(f, (struct asker){session, 0 /* numbers start at 1 */, 0, 1, ALICE})),
                     CKR_DEVICE_ERROR);
    assert_int_equal(tokens(f), 0);
    /* another's request does not acknowledge this client's results either */
    assert_int_equal(rv_of(change(f, (struct asker){session, 1, 0, 1, ALICE})), CKR_OK);
    assert_int_equal(rv_of(change(f, (struct asker){session, 2, 1, 1, BOB})), CKR_DEVICE_ERROR);
    assert_int_equal(result_of(f, session, 1, ALICE, 1), KM_OK);
}

static void a_change_without_a_hash_is_refused(void **state)
{
    struct fixture *f = *state;
    Kml__Origin origin = KML__ORIGIN__INIT;
    Kml__Tick body = KML__TICK__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    origin.session = client_register(f, ALICE);
    origin.number = 1;
    origin.identity = (char[]){ALICE};
    command.origin = &origin;
    command.body_case = KML__COMMAND__BODY_TICK;
    command.tick = &body;
    assert_int_equal(rv_of(apply(f, &command, (struct asker){0})), CKR_DEVICE_ERROR);
}

static void acknowledged_results_go_and_their_numbers_stay_used(void **state)
{
    struct fixture *f = *state;
    struct asker asker = {client_register(f, ALICE), 0, 0, 0xaa, ALICE};
    for (asker.number = 1; asker.number <= 5; asker.number++)
        assert_int_equal(rv_of(change(f, asker)), CKR_OK);
    asker.number = 6;
    asker.acked = 3;
    assert_int_equal(rv_of(change(f, asker)), CKR_OK);
    assert_int_equal(tokens(f), 6);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(rv_of(change(f, (struct asker){asker.session, i, 0, 0xaa, ALICE})), CKR_DEVICE_ERROR);
        assert_int_equal(result_of(f, asker.session, i, ALICE, 0xaa), KM_ERR_DENIED);
    }
    for (uint64_t i = 4; i <= 6; i++)
        assert_int_equal(result_of(f, asker.session, i, ALICE, 0xaa), KM_OK);
    /* a number that was skipped and acknowledged is not executed later */
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 9, 8, 0xaa, ALICE})), CKR_OK);
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 7, 0, 0xaa, ALICE})), CKR_DEVICE_ERROR);
    /* acknowledging a change in the request that makes it makes no sense */
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 10, 10, 0xaa, ALICE})), CKR_DEVICE_ERROR);
    assert_int_equal(tokens(f), 7);
}

static void the_window_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct asker asker = {client_register(f, ALICE), 0, 0, 0xaa, ALICE};
    for (asker.number = 2; asker.number <= KM_CLIENT_WINDOW + 1; asker.number++)
        assert_int_equal(rv_of(change(f, asker)), CKR_OK);
    assert_int_equal(tokens(f), KM_CLIENT_WINDOW);
    /* the window is full: number 1 would lose its own result at once */
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 1, 0, 0xaa, ALICE})), CKR_DEVICE_ERROR);
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 1000, 0, 0xaa, ALICE})), CKR_OK);
    assert_int_equal(km_client_find(f->store->state, asker.session)->floor, 2);
    assert_int_equal(result_of(f, asker.session, 2, ALICE, 0xaa), KM_ERR_DENIED);
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 2, 0, 0xaa, ALICE})), CKR_DEVICE_ERROR);
    assert_int_equal(result_of(f, asker.session, 3, ALICE, 0xaa), KM_OK);
    assert_int_equal(result_of(f, asker.session, 1000, ALICE, 0xaa), KM_OK);
    assert_int_equal(tokens(f), KM_CLIENT_WINDOW + 1);
    /* threads of one process finish in any order */
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 500, 0, 0xaa, ALICE})), CKR_OK);
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 400, 0, 0xaa, ALICE})), CKR_OK);
    assert_int_equal(rv_of(change(f, (struct asker){asker.session, 500, 0, 0xaa, ALICE})), CKR_OK);
    assert_int_equal(tokens(f), KM_CLIENT_WINDOW + 3);
}

static void an_idle_client_expires(void **state)
{
    struct fixture *f = *state;
    uint64_t idle = client_register(f, ALICE), busy = client_register(f, ALICE);
    assert_int_equal(rv_of(change(f, (struct asker){idle, 1, 0, 1, ALICE})), CKR_OK);
    f->time_ms += KM_CLIENT_TTL_MS / 2;
    assert_int_equal(rv_of(change(f, (struct asker){busy, 1, 0, 1, ALICE})), CKR_OK);
    f->time_ms += KM_CLIENT_TTL_MS / 2;
    rv_of(tick(f)); /* exactly at its limit */
    assert_int_equal(result_of(f, idle, 1, ALICE, 1), KM_OK);
    f->time_ms++;
    rv_of(tick(f));
    assert_int_equal(result_of(f, idle, 1, ALICE, 1), KM_ERR_DENIED);
    assert_int_equal(result_of(f, busy, 1, ALICE, 1), KM_OK);
    assert_int_equal(rv_of(change(f, (struct asker){idle, 1, 0, 1, ALICE})), CKR_DEVICE_ERROR);
    assert_int_equal(rv_of(change(f, (struct asker){idle, 2, 0, 1, ALICE})), CKR_DEVICE_ERROR);
    assert_int_equal(tokens(f), 2);
    f->time_ms += 2 * KM_CLIENT_TTL_MS; /* the command that brings the time finds itself expired */
    assert_int_equal(rv_of(change(f, (struct asker){busy, 2, 0, 1, ALICE})), CKR_DEVICE_ERROR);
    assert_int_equal(f->store->state->n_clients, 0);
    assert_null(f->store->state->holders);
}

static void the_longest_idle_client_of_an_identity_makes_room(void **state)
{
    struct fixture *f = *state;
    uint64_t bob = client_register(f, BOB), first = client_register(f, ALICE), second = client_register(f, ALICE);
    for (unsigned i = 2; i < KM_CLIENTS_PER_IDENTITY; i++) {
        f->time_ms += i % 16 == 0;
        client_register(f, ALICE);
    }
    f->time_ms++;
    assert_int_equal(rv_of(change(f, (struct asker){first, 1, 0, 1, ALICE})), CKR_OK); /* no longer the longest idle */
    assert_int_equal(f->store->state->n_clients, KM_CLIENTS_PER_IDENTITY + 1);
    client_register(f, ALICE);
    assert_int_equal(f->store->state->n_clients, KM_CLIENTS_PER_IDENTITY + 1);
    assert_int_equal(result_of(f, second, 1, ALICE, 1), KM_ERR_DENIED);
    assert_int_equal(result_of(f, first, 1, ALICE, 1), KM_OK);
    assert_int_equal(result_of(f, bob, 1, BOB, 1), KM_ERR_NOT_FOUND); /* others are not touched */
}

static void the_table_of_clients_is_bounded(void **state)
{
    struct fixture *f = *state;
    uint64_t first = 0, last = 0;
    for (unsigned i = 0; i < KM_CLIENTS_MAX; i++) {
        char identity[64];
        snprintf(identity, sizeof(identity), "spiffe://test/client/c%u", i / 4096);
        last = client_register(f, identity);
        first = first ? first : last;
    }
    assert_int_equal(f->store->state->n_clients, KM_CLIENTS_MAX);
    uint64_t again = client_register(f, "spiffe://test/client/c15"); /* gives up its own */
    assert_int_equal(result_of(f, again, 1, "spiffe://test/client/c15", 1), KM_ERR_NOT_FOUND);
    assert_int_equal(result_of(f, first, 1, "spiffe://test/client/c0", 1), KM_ERR_NOT_FOUND);
    uint64_t other = client_register(f, BOB); /* has none to give up */
    assert_int_equal(result_of(f, other, 1, BOB, 1), KM_ERR_NOT_FOUND);
    assert_int_equal(result_of(f, first, 1, "spiffe://test/client/c0", 1), KM_ERR_DENIED);
    assert_int_equal(f->store->state->n_clients, KM_CLIENTS_MAX);
}

static void registration_needs_an_identity(void **state)
{
    struct fixture *f = *state;
    Kml__ClientRegister body = KML__CLIENT_REGISTER__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    char text[300];
    command.body_case = KML__COMMAND__BODY_CLIENT_REGISTER;
    command.client_register = &body;
    assert_int_equal(rv_of(apply(f, &command, (struct asker){0})), CKR_ARGUMENTS_BAD);
    memset(text, 'x', sizeof(text));
    text[224] = 0;
    body.identity = text;
    assert_int_equal(rv_of(apply(f, &command, (struct asker){0})), CKR_ARGUMENTS_BAD);
    text[223] = 0;
    assert_int_equal(rv_of(apply(f, &command, (struct asker){0})), CKR_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_retry_gets_the_first_result),
        TEST(a_refusal_is_a_first_result_too),
        TEST(a_number_is_used_once),
        TEST(strangers_are_refused),
        TEST(a_change_without_a_hash_is_refused),
        TEST(acknowledged_results_go_and_their_numbers_stay_used),
        TEST(the_window_is_bounded),
        TEST(an_idle_client_expires),
        TEST(the_longest_idle_client_of_an_identity_makes_room),
        TEST(the_table_of_clients_is_bounded),
        TEST(registration_needs_an_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
