/* SPDX-License-Identifier: Apache-2.0
 *
 * lease.c: three servers, 300 ms election timeout (span 225 ms), server 1 leads term 5 unless said otherwise.
 */
#include "../../server/raft/lease.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#define MS 1000u
#define SPAN (225 * MS)
#define T0 (10000 * MS)

static const uint64_t three[] = {1, 2, 3};
static const bool voters[] = {true, true, true};

static struct km_lease lease;

static void lead(bool with_barrier)
{
    km_lease_init(&lease, 1, 300);
    km_lease_set_members(&lease, three, voters, 3, T0);
    km_lease_set_term(&lease, 5, true, T0);
    if (with_barrier)
        km_lease_set_barrier(&lease, T0);
}

static void follow(void)
{
    km_lease_init(&lease, 2, 300);
    km_lease_set_members(&lease, three, voters, 3, T0);
    km_lease_set_term(&lease, 5, false, T0);
}

static void a_lease_runs_from_the_stamp_that_a_majority_echoed(void **state)
{
    (void)state;
    lead(true);
    assert_false(km_lease_is_fresh(&lease, T0));
    km_lease_on_ack(&lease, 2, 5, T0 + 1 * MS, 77, T0 + 20 * MS);
    assert_true(km_lease_is_fresh(&lease, T0 + 20 * MS));
    assert_true(km_lease_is_fresh(&lease, T0 + 1 * MS + SPAN - 1)); /* from the sending, not from the echo's arrival */
    assert_false(km_lease_is_fresh(&lease, T0 + 1 * MS + SPAN));
}

static void of_five_two_echoes_are_needed(void **state)
{
    const uint64_t five[] = {1, 2, 3, 4, 5};
    const bool all[] = {true, true, true, true, true};

    (void)state;
    lead(true);
    km_lease_set_members(&lease, five, all, 5, T0);
    km_lease_on_ack(&lease, 2, 5, T0 + 9 * MS, 77, T0 + 10 * MS);
    assert_false(km_lease_is_fresh(&lease, T0 + 10 * MS));
    km_lease_on_ack(&lease, 5, 5, T0 + 4 * MS, 77, T0 + 10 * MS);
    assert_true(km_lease_is_fresh(&lease, T0 + 10 * MS));
    assert_false(km_lease_is_fresh(&lease, T0 + 4 * MS + SPAN));
}

static void a_standby_does_not_count(void **state)
{
    const bool two_voters[] = {true, true, false};

    (void)state;
    lead(true);
    km_lease_set_members(&lease, three, two_voters, 3, T0);
    km_lease_on_ack(&lease, 3, 5, T0 + 9 * MS, 77, T0 + 10 * MS);
    assert_false(km_lease_is_fresh(&lease, T0 + 10 * MS));
    km_lease_on_ack(&lease, 2, 5, T0 + 9 * MS, 77, T0 + 10 * MS);
    assert_true(km_lease_is_fresh(&lease, T0 + 10 * MS));
}

static void echoes_of_another_term_and_from_the_future_are_ignored(void **state)
{
    (void)state;
    lead(true);
    km_lease_on_ack(&lease, 2, 4, T0, 77, T0 + 1);
    km_lease_on_ack(&lease, 2, 5, T0 + 100, 77, T0 + 1);
    km_lease_on_ack(&lease, 9, 5, T0, 77, T0 + 1);
    assert_false(km_lease_is_fresh(&lease, T0 + 1));
}

static void without_its_barrier_a_leader_is_not_fresh_and_grants_nothing(void **state)
{
    uint64_t echo, duration;

    (void)state;
    lead(false);
    km_lease_on_ack(&lease, 2, 5, T0, 77, T0 + 1);
    assert_false(km_lease_is_fresh(&lease, T0 + 1));
    assert_false(km_lease_grant(&lease, 2, T0 + 1, &echo, &duration));
    km_lease_set_barrier(&lease, T0 + 2);
    assert_true(km_lease_is_fresh(&lease, T0 + 2));
    assert_true(km_lease_grant(&lease, 2, T0 + 2, &echo, &duration));
}

static void a_sole_voter_is_always_fresh_while_it_ticks(void **state)
{
    const uint64_t one[] = {1};

    (void)state;
    lead(true);
    km_lease_set_members(&lease, one, voters, 1, T0);
    km_lease_tick(&lease, T0 + 5000 * MS);
    assert_true(km_lease_is_fresh(&lease, T0 + 5001 * MS));
    assert_false(km_lease_is_fresh(&lease, T0 + 5000 * MS + SPAN)); /* stopped, and not looked since */
}

static void leaving_leadership_or_dropping_ends_the_lease_at_once(void **state)
{
    uint64_t echo, duration;

    (void)state;
    lead(true);
    km_lease_on_ack(&lease, 2, 5, T0, 77, T0 + 1);
    km_lease_set_term(&lease, 5, false, T0 + 2);
    assert_false(km_lease_is_fresh(&lease, T0 + 2));
    lead(true);
    km_lease_on_ack(&lease, 2, 5, T0, 77, T0 + 1);
    km_lease_drop(&lease);
    assert_false(km_lease_is_fresh(&lease, T0 + 2));
    km_lease_on_ack(&lease, 2, 5, T0 + 2, 78, T0 + 3);
    km_lease_tick(&lease, T0 + 3);
    assert_false(km_lease_is_fresh(&lease, T0 + 3)); /* for the rest of the term */
    assert_false(km_lease_grant(&lease, 2, T0 + 3, &echo, &duration));
}

static void a_grant_is_no_longer_than_what_remains_of_the_lease(void **state)
{
    uint64_t echo, duration;

    (void)state;
    lead(true);
    km_lease_on_ack(&lease, 2, 5, T0, 77, T0 + 20 * MS);
    assert_true(km_lease_grant(&lease, 2, T0 + 60 * MS, &echo, &duration));
    assert_int_equal(echo, 77);
    assert_int_equal(duration, SPAN - 60 * MS);
    assert_false(km_lease_grant(&lease, 3, T0 + 60 * MS, &echo, &duration)); /* never heard of */
    assert_false(km_lease_grant(&lease, 2, T0 + SPAN, &echo, &duration));
}

static void a_grant_runs_from_the_members_own_stamp(void **state)
{
    (void)state;
    follow();
    km_lease_on_grant(&lease, 5, 10, T0, SPAN, 10, T0 + 100 * MS);
    assert_true(km_lease_is_fresh(&lease, T0 + 100 * MS));
    assert_false(km_lease_is_fresh(&lease, T0 + SPAN));
    follow();
    km_lease_on_grant(&lease, 5, 10, T0, SPAN, 10, T0 + SPAN + 1); /* it lay in a stopped process's socket */
    assert_false(km_lease_is_fresh(&lease, T0 + SPAN + 1));
}

static void a_grant_counts_once_its_index_is_applied(void **state)
{
    (void)state;
    follow();
    km_lease_on_grant(&lease, 5, 11, T0, SPAN, 10, T0 + 1);
    assert_false(km_lease_is_fresh(&lease, T0 + 1));
    km_lease_on_applied(&lease, 10);
    assert_false(km_lease_is_fresh(&lease, T0 + 1));
    km_lease_on_applied(&lease, 11);
    assert_true(km_lease_is_fresh(&lease, T0 + 1));
    for (unsigned i = 0; i < 3 * KM_LEASE_PENDING_MAX; i++) /* under load the first to count is not lost for the newest */
        km_lease_on_grant(&lease, 5, 20 + i, T0 + i, SPAN, 11, T0 + 100);
    km_lease_on_applied(&lease, 20);
    assert_int_equal(lease.n_pending, KM_LEASE_PENDING_MAX - 1);
}

static void grants_of_another_term_the_future_or_too_long_are_ignored(void **state)
{
    (void)state;
    follow();
    km_lease_on_grant(&lease, 4, 1, T0, SPAN, 10, T0 + 1);
    km_lease_on_grant(&lease, 5, 1, T0 + 2, SPAN, 10, T0 + 1);
    km_lease_on_grant(&lease, 5, 1, T0, SPAN + 1, 10, T0 + 1);
    km_lease_on_grant(&lease, 5, 1, 0, SPAN, 10, T0 + 1);
    assert_false(km_lease_is_fresh(&lease, T0 + 1));
}

static void a_member_echoes_the_newest_stamp_of_the_term_only(void **state)
{
    (void)state;
    follow();
    assert_int_equal(km_lease_echo(&lease, 5), 0);
    km_lease_accept(&lease, 5, 100);
    km_lease_accept(&lease, 5, 90);
    assert_int_equal(km_lease_echo(&lease, 5), 100);
    assert_int_equal(km_lease_echo(&lease, 6), 0);
    km_lease_accept(&lease, 6, 50); /* another server's clock */
    assert_int_equal(km_lease_echo(&lease, 6), 50);
}

static void a_revocation_waits_for_older_grants(void **state)
{
    struct km_lease_wait wait;
    uint64_t now = T0 + 1000 * MS, echo, duration;

    (void)state;
    lead(true);
    km_lease_on_ack(&lease, 2, 5, now, 77, now);
    assert_true(km_lease_grant(&lease, 2, now, &echo, &duration));
    km_lease_wait_init(&lease, 50, now, &wait);
    assert_false(km_lease_wait_is_over(&lease, &wait, now + SPAN)); /* clocks drift: a margin more */
    assert_true(km_lease_wait_is_over(&lease, &wait, now + SPAN + SPAN / 64 + 1 * MS));

    km_lease_wait_init(&lease, 50, now, &wait);
    km_lease_on_member_applied(&lease, 2, 49);
    assert_false(km_lease_wait_is_over(&lease, &wait, now + 1));
    km_lease_on_member_applied(&lease, 2, 50);
    assert_true(km_lease_wait_is_over(&lease, &wait, now + 1));
}

static void a_revocation_waits_for_removed_members_too(void **state)
{
    struct km_lease_wait wait;
    uint64_t now = T0 + 1000 * MS, echo, duration;

    (void)state;
    lead(true);
    km_lease_on_ack(&lease, 3, 5, now, 77, now);
    assert_true(km_lease_grant(&lease, 3, now, &echo, &duration));
    km_lease_set_members(&lease, three, voters, 2, now + 1);
    assert_false(km_lease_grant(&lease, 3, now + 1, &echo, &duration));
    km_lease_wait_init(&lease, 50, now + 1, &wait);
    assert_false(km_lease_wait_is_over(&lease, &wait, now + 2));
    assert_true(km_lease_wait_is_over(&lease, &wait, now + 2 * SPAN));
}

static void a_new_leader_lets_its_predecessors_grants_run_out(void **state)
{
    struct km_lease_wait wait;

    (void)state;
    lead(true);
    km_lease_wait_init(&lease, 50, T0 + 1, &wait);
    assert_int_equal(wait.n, 0);
    assert_false(km_lease_wait_is_over(&lease, &wait, T0 + SPAN));
    assert_true(km_lease_wait_is_over(&lease, &wait, T0 + SPAN + SPAN / 64 + 1 * MS));
}

static void a_members_new_life_gets_no_grant_on_an_old_stamp(void **state)
{
    uint64_t echo, duration;

    (void)state;
    lead(true);
    km_lease_on_ack(&lease, 2, 5, T0, 77, T0 + 1);
    assert_true(km_lease_grant(&lease, 2, T0 + 2, &echo, &duration));
    km_lease_forget(&lease, 2);
    assert_false(km_lease_grant(&lease, 2, T0 + 3, &echo, &duration));
    assert_true(lease.members[1].grant_end_us > T0 + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_runs_from_the_stamp_that_a_majority_echoed),
        cmocka_unit_test(of_five_two_echoes_are_needed),
        cmocka_unit_test(a_standby_does_not_count),
        cmocka_unit_test(echoes_of_another_term_and_from_the_future_are_ignored),
        cmocka_unit_test(without_its_barrier_a_leader_is_not_fresh_and_grants_nothing),
        cmocka_unit_test(a_sole_voter_is_always_fresh_while_it_ticks),
        cmocka_unit_test(leaving_leadership_or_dropping_ends_the_lease_at_once),
        cmocka_unit_test(a_grant_is_no_longer_than_what_remains_of_the_lease),
        cmocka_unit_test(a_grant_runs_from_the_members_own_stamp),
        cmocka_unit_test(a_grant_counts_once_its_index_is_applied),
        cmocka_unit_test(grants_of_another_term_the_future_or_too_long_are_ignored),
        cmocka_unit_test(a_member_echoes_the_newest_stamp_of_the_term_only),
        cmocka_unit_test(a_revocation_waits_for_older_grants),
        cmocka_unit_test(a_revocation_waits_for_removed_members_too),
        cmocka_unit_test(a_new_leader_lets_its_predecessors_grants_run_out),
        cmocka_unit_test(a_members_new_life_gets_no_grant_on_an_old_stamp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
