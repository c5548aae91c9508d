/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../server/net/gate.h"

#include <string.h>

static struct km_gate gate;
static struct km_gate_conn conns[8];

static struct km_gate_conn *come(uint32_t id, uint8_t source, int64_t now, uint32_t *ret_victim)
{
    struct km_gate_conn *conn = &conns[id];
    memset(conn, 0, sizeof(*conn));
    conn->source.bytes[0] = source;
    conn->born_ms = now;
    conn->deadline = now + 5000;
    return km_gate_admit(&gate, conn, ret_victim) ? conn : NULL;
}

static void at_a_limit_the_longest_silent_stranger_goes(void **state)
{
    (void)state;
    uint32_t victim;
    unsigned n_open;
    km_gate_init(&gate, 3, 2);
    assert_non_null(come(1, 1, 0, &victim));
    assert_non_null(come(2, 1, 1, &victim));
    assert_int_equal(victim, 0);
    km_gate_hear(&gate, &conns[1]);
    assert_non_null(come(3, 1, 2, &victim)); /* the third of its source: 2 has said nothing */
    assert_int_equal(victim, conns[2].id);
    km_gate_hear(&gate, &conns[3]);
    assert_null(come(4, 1, 3, &victim)); /* all are busy shaking hands: the newcomer goes */
    assert_int_equal(victim, 0);
    assert_non_null(come(5, 2, 4, &victim));
    assert_non_null(come(6, 3, 5, &victim)); /* the fourth in all */
    assert_int_equal(victim, conns[5].id);
    assert_int_equal(km_gate_strangers(&gate, &n_open), 3);
    assert_int_equal(n_open, 5); /* the pipes shown out are still to end */
    for (int i = 1; i < 7; i++)
        (void)km_gate_remove(&gate, conns[i].id);
    km_gate_fini(&gate);
}

/* A message of a pipe can be in work when the pipe goes. What that work does must not put it back. */
static void a_pipe_that_is_gone_is_not_watched_again(void **state)
{
    (void)state;
    uint32_t victim, late[8];
    size_t n_strangers;
    km_gate_init(&gate, 3, 2);
    struct km_gate_conn *conn = come(1, 1, 0, &victim);
    assert_ptr_equal(km_gate_remove(&gate, 1), conn);
    km_gate_watch(&gate, conn, 100);
    assert_int_equal(km_gate_expired(&gate, 200, late, 8, &n_strangers), 0);
    assert_null(gate.oldest);
    assert_null(km_gate_remove(&gate, 1));
    km_gate_fini(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_a_limit_the_longest_silent_stranger_goes),
        cmocka_unit_test(a_pipe_that_is_gone_is_not_watched_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
