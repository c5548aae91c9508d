/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifiers, tickets and the gate before attempts, over the built-in back end.
 */
#include "unit.h"

#include "../../server/govern/login.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

static struct km_backend *backend;
static const uint8_t token[KM_ID_LEN] = {9}, other_token[KM_ID_LEN] = {8};

static int setup(void **state)
{
    struct km_secret master = KM_SECRET_EMPTY;
    (void)state;
    if (km_secret_new(&master, 32))
        return -1;
    memset(master.data, 3, 32);
    return km_builtin_open(&master, &backend) == KM_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    backend->ops->close(backend);
    return 0;
}

static void verifiers_differ_in_everything_they_are_bound_to(void **state)
{
    const struct km_pin_of of[] = {{token, 1, CKU_USER, 1},
                                   {token, 1, CKU_USER, 2},
                                   {token, 2, CKU_USER, 1},
                                   {token, 1, CKU_SO, 1},
                                   {other_token, 1, CKU_USER, 1}};
    uint8_t verifiers[5][32], same[32], pin[KM_PIN_LEN_MAX + 1] = {0};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(km_pin_verifier(backend, &of[i], (const uint8_t *)"1234", 4, verifiers[i]), KM_OK);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(verifiers[i], verifiers[j], 32);
    }
    assert_int_equal(km_pin_verifier(backend, &of[0], (const uint8_t *)"1234", 4, same), KM_OK);
    assert_memory_equal(same, verifiers[0], 32);
    assert_int_equal(km_pin_verifier(backend, &of[0], (const uint8_t *)"1234\0", 5, same), KM_OK);
    assert_memory_not_equal(same, verifiers[0], 32);
    assert_int_equal(km_pin_verifier(backend, &of[0], pin, KM_PIN_LEN_MAX, same), KM_OK);
    assert_int_equal(km_pin_verifier(backend, &of[0], pin, KM_PIN_LEN_MAX + 1, same), KM_ERR_TOO_LARGE);
}

static void a_ticket_comes_back_as_it_went(void **state)
{
    struct km_ticket ticket = {.instance = 2,
                               .generation = 3,
                               .user_type = CKU_USER,
                               .issued_ms = 5,
                               .expires_ms = 1000,
                               .epoch = 77,
                               .identity = "spiffe://c/client/app"},
                     back;
    struct km_token now = {.instance = 2, .user_generation = 3, .has_user_pin = true};
    uint8_t data[KM_TICKET_MAX];
    size_t len;
    bool is_ahead;
    (void)state;
    memcpy(ticket.token, token, KM_ID_LEN);
    memcpy(now.id, token, KM_ID_LEN);
    assert_int_equal(km_ticket_mint(backend, &ticket, data, &len), KM_OK);
    assert_int_equal(km_ticket_open(backend, data, len, &back), KM_OK);
    assert_memory_equal(&back, &ticket, sizeof(ticket));
    for (size_t i = 0; i < len; i++) {
        data[i] ^= 1;
        assert_int_equal(km_ticket_open(backend, data, len, &back), KM_ERR_DENIED);
        data[i] ^= 1;
    }
    for (size_t i = 0; i < len; i++)
        assert_int_equal(km_ticket_open(backend, data, i, &back), KM_ERR_DENIED);
    assert_null(km_ticket_check(&ticket, &now, ticket.identity, 999, &is_ahead));
    assert_non_null(km_ticket_check(&ticket, &now, ticket.identity, 1000, &is_ahead));
    assert_non_null(km_ticket_check(&ticket, &now, "spiffe://c/client/other", 999, &is_ahead));
    now.user_generation = 4;
    assert_non_null(km_ticket_check(&ticket, &now, ticket.identity, 999, &is_ahead));
    assert_false(is_ahead);
    now.user_generation = 2;
    assert_non_null(km_ticket_check(&ticket, &now, ticket.identity, 999, &is_ahead));
    assert_true(is_ahead);
}

static uint64_t in_ms(unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + ms;
}

static void *leave(void *gate)
{
    km_gate_leave(gate, "a", token);
    return NULL;
}

static void one_attempt_at_a_time(void **state)
{
    struct km_gate *gate = km_gate_new();
    pthread_t thread;
    (void)state;
    assert_int_equal(km_gate_enter(gate, "a", token, in_ms(0)), KM_OK);
    assert_int_equal(km_gate_enter(gate, "a", token, in_ms(20)), KM_ERR_BUSY);
    assert_int_equal(km_gate_enter(gate, "b", token, in_ms(0)), KM_OK);
    assert_int_equal(km_gate_enter(gate, "a", other_token, in_ms(0)), KM_OK);
    pthread_create(&thread, NULL, leave, gate);
    assert_int_equal(km_gate_enter(gate, "a", token, in_ms(10000)), KM_OK);
    pthread_join(thread, NULL);
    km_gate_leave(gate, "a", token);
    km_gate_leave(gate, "b", token);
    km_gate_leave(gate, "a", other_token);
    km_gate_free(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verifiers_differ_in_everything_they_are_bound_to),
        cmocka_unit_test(a_ticket_comes_back_as_it_went),
        cmocka_unit_test(one_attempt_at_a_time),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
