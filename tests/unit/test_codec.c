/* SPDX-License-Identifier: Apache-2.0
 *
 * codec.c and peer.c: what goes in comes out, every cut or trailing byte and every number out of bounds is refused, and a membership entry is always
 * the first of its message.
 */
#include "../../server/raft/codec.h"
#include "../../server/raft/peer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define N_KINDS 7

static struct raft_buffer configuration_bytes(void)
{
    struct raft_configuration conf;
    struct raft_buffer buf;

    raft_configuration_init(&conf);
    assert_int_equal(raft_configuration_add(&conf, 1, "a;z;h:1;h:2", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_add(&conf, 2, "b;z;h:3;h:4", RAFT_STANDBY), 0);
    assert_int_equal(raft_configuration_encode(&conf, &buf), 0);
    raft_configuration_close(&conf);
    return buf;
}

static struct raft_entry entries[4];

/* One message of each kind; 6: an AppendEntries without entries. */
static void make(int kind, struct raft_message *m)
{
    static uint8_t one[] = "one", three[] = "three";
    struct raft_buffer conf = configuration_bytes();

    memset(m, 0, sizeof(*m));
    m->type = kind == 6 ? RAFT_APPEND_ENTRIES : (enum raft_message_type)(kind + 1);
    entries[0] = (struct raft_entry){.term = 3, .type = RAFT_CHANGE, .buf = conf};
    entries[1] = (struct raft_entry){.term = 3, .type = RAFT_COMMAND, .buf = {one, sizeof(one)}};
    entries[2] = (struct raft_entry){.term = 4, .type = RAFT_BARRIER, .buf = {NULL, 0}};
    entries[3] = (struct raft_entry){.term = 5, .type = RAFT_COMMAND, .buf = {three, sizeof(three)}};
    switch (m->type) {
    case RAFT_APPEND_ENTRIES:
        m->append_entries = (struct raft_append_entries){.version = 1, .term = 5, .prev_log_index = 9, .prev_log_term = 2, .leader_commit = 11};
        m->append_entries.entries = kind == 6 ? NULL : entries;
        m->append_entries.n_entries = kind == 6 ? 0 : 4;
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        m->append_entries_result = (struct raft_append_entries_result){1, 7, 8, 9, 10, 11};
        break;
    case RAFT_REQUEST_VOTE:
        m->request_vote = (struct raft_request_vote){1, 5, 2, 3, 4, true, false};
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        m->request_vote_result = (struct raft_request_vote_result){1, 5, true, true, 6, 7};
        break;
    case RAFT_INSTALL_SNAPSHOT:
        m->install_snapshot = (struct raft_install_snapshot){.version = 1, .term = 5, .last_index = 8, .last_term = 3, .conf_index = 2};
        assert_int_equal(raft_configuration_decode(&conf, &m->install_snapshot.conf), 0);
        m->install_snapshot.data = (struct raft_buffer){three, sizeof(three)};
        break;
    case RAFT_TIMEOUT_NOW:
        m->timeout_now = (struct raft_timeout_now){1, 5, 6, 7};
        break;
    }
}

static void unmake(struct raft_message *m)
{
    raft_free(entries[0].buf.base);
    if (m->type == RAFT_INSTALL_SNAPSHOT)
        raft_configuration_close(&m->install_snapshot.conf);
}

static uint8_t *encode(const struct raft_message *m, size_t *len)
{
    unsigned n = m->type == RAFT_APPEND_ENTRIES ? m->append_entries.n_entries : 0;
    uint8_t *data = NULL;

    assert_int_equal(km_codec_encode(m, 0, n, 0, &data, len), KM_OK);
    return data;
}

static void every_message_comes_back_as_it_was(void **state)
{
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct raft_message m, back;
        uint8_t *first, *second;
        size_t first_len, second_len;

        make(kind, &m);
        first = encode(&m, &first_len);
        assert_int_equal(km_codec_decode(first, first_len, &back), KM_OK);
        assert_int_equal(back.type, m.type);
        second = encode(&back, &second_len);
        assert_int_equal(first_len, second_len);
        assert_memory_equal(first, second, first_len);
        km_codec_drop(&back);
        unmake(&m);
        free(first);
        free(second);
    }
}

static void every_truncation_and_trailing_byte_is_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct raft_message m, back;
        size_t len;
        uint8_t *data, *copy;

        make(kind, &m);
        data = encode(&m, &len);
        for (size_t cut = 0; cut < len; cut++) {
            copy = malloc(cut + 1); /* exact, so that a sanitizer sees reads past the end */
            memcpy(copy, data, cut);
            assert_int_equal(km_codec_decode(copy, cut, &back), KM_ERR_PROTO);
            free(copy);
        }
        copy = calloc(1, len + 1);
        memcpy(copy, data, len);
        assert_int_equal(km_codec_decode(copy, len + 1, &back), KM_ERR_PROTO);
        free(copy);
        unmake(&m);
        free(data);
    }
}

static void flipped_bytes_never_crash(void **state)
{
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct raft_message m, back;
        size_t len;
        uint8_t *data;

        make(kind, &m);
        data = encode(&m, &len);
        for (size_t at = 0; at < len; at++) {
            for (unsigned value = 0; value < 256; value++) {
                uint8_t was = data[at];

                data[at] = (uint8_t)value;
                if (km_codec_decode(data, len, &back) == KM_OK)
                    km_codec_drop(&back);
                data[at] = was;
            }
        }
        unmake(&m);
        free(data);
    }
}

static void counts_beyond_the_bounds_are_refused_before_memory_is_taken(void **state)
{
    struct raft_message m, back;
    size_t len;
    uint8_t *data;

    (void)state;
    make(0, &m);
    data = encode(&m, &len);
    memset(data + 3 + 32, 0xff, 4); /* number of entries */
    assert_int_equal(km_codec_decode(data, len, &back), KM_ERR_PROTO);
    unmake(&m);
    free(data);
    make(4, &m);
    data = encode(&m, &len);
    memset(data + 3 + 32, 0xff, 4); /* number of servers */
    assert_int_equal(km_codec_decode(data, len, &back), KM_ERR_PROTO);
    data[0] = KM_CODEC_VERSION + 1;
    assert_int_equal(km_codec_decode(data, len, &back), KM_ERR_VERSION);
    unmake(&m);
    free(data);
}

static void a_membership_entry_is_the_first_of_its_message(void **state)
{
    struct raft_message m, back;
    struct raft_append_entries *args = &m.append_entries;
    struct raft_entry swapped;
    uint8_t *data;
    size_t len;

    (void)state;
    make(0, &m);
    swapped = entries[0];
    entries[0] = entries[1]; /* now: command, change, barrier, command */
    entries[1] = swapped;
    entries[0].term = 2;
    args->leader_commit = 12;
    assert_int_equal(km_codec_part(args, 0), 1);
    assert_int_equal(km_codec_part(args, 1), 3);

    assert_int_equal(km_codec_encode(&m, 0, 1, 0, &data, &len), KM_OK);
    assert_int_equal(km_codec_decode(data, len, &back), KM_OK);
    assert_int_equal(back.append_entries.n_entries, 1);
    assert_int_equal(back.append_entries.prev_log_index, 9);
    assert_int_equal(back.append_entries.leader_commit, 10); /* capped: it says nothing of entries that are not in it */
    km_codec_drop(&back);
    free(data);

    assert_int_equal(km_codec_encode(&m, 1, 3, 0, &data, &len), KM_OK);
    assert_int_equal(km_codec_decode(data, len, &back), KM_OK);
    assert_int_equal(back.append_entries.n_entries, 3);
    assert_int_equal(back.append_entries.prev_log_index, 10);
    assert_int_equal(back.append_entries.prev_log_term, 2);
    assert_int_equal(back.append_entries.leader_commit, 12);
    assert_int_equal(back.append_entries.entries[0].type, RAFT_CHANGE);
    km_codec_drop(&back);
    free(data);

    data = encode(&m, &len); /* all in one: refused */
    assert_int_equal(km_codec_decode(data, len, &back), KM_ERR_PROTO);
    free(data);
    raft_free(entries[1].buf.base);
}

static void large_appends_are_split_by_bytes(void **state)
{
    static uint8_t bytes[600 * 1024];
    struct raft_entry big[3];
    struct raft_append_entries args = {.entries = big, .n_entries = 3};

    (void)state;
    for (int i = 0; i < 3; i++)
        big[i] = (struct raft_entry){.term = 1, .type = RAFT_COMMAND, .buf = {bytes, sizeof(bytes)}};
    assert_int_equal(km_codec_part(&args, 0), 1);
    big[1].buf.len = 10;
    assert_int_equal(km_codec_part(&args, 0), 2);
    assert_int_equal(km_codec_part(&args, 2), 1);
}

static void damaged_configurations_never_reach_libraft(void **state)
{
    struct raft_buffer buf = configuration_bytes();
    uint8_t *data = buf.base;

    (void)state;
    assert_int_equal(km_codec_check_configuration(data, buf.len), KM_OK);
    for (size_t len = 0; len + 8 < buf.len; len++)
        assert_int_equal(km_codec_check_configuration(data, len), KM_ERR_PROTO);
    data[1] = 200;
    assert_int_equal(km_codec_check_configuration(data, buf.len), KM_ERR_PROTO);
    raft_free(buf.base);
}

static void heads_and_notes_come_back_and_cuts_are_refused(void **state)
{
    struct km_peer_head head = {.kind = KM_PEER_PROPOSE, .election_ms = 300, .heartbeat_ms = 30, .epoch = 1, .sequence = 2, .stamp_us = 3, .utc_ms = 4, .term = 5,
                                .applied = 6, .echo_us = 7, .grant_commit = 8, .grant_echo_us = 9, .grant_us = 10, .grant_epoch = 11}, back;
    struct km_peer_note note = {.id = 1, .err = KM_ERR_BUSY, .code = 2, .index = 3, .bytes = (const uint8_t *)"xyz", .len = 3}, got;
    uint8_t bytes[KM_PEER_HEAD_LEN], *data;
    size_t len;

    (void)state;
    memset(&back, 0, sizeof(back));
    km_peer_head_encode(&head, bytes);
    assert_int_equal(km_peer_head_decode(bytes, sizeof(bytes), &back), KM_OK);
    assert_int_equal(back.grant_epoch, 11);
    assert_int_equal(back.term, 5);
    assert_int_equal(back.kind, KM_PEER_PROPOSE);
    for (size_t cut = 0; cut < sizeof(bytes); cut++)
        assert_int_equal(km_peer_head_decode(bytes, cut, &back), KM_ERR_PROTO);
    bytes[1]++;
    assert_int_equal(km_peer_head_decode(bytes, sizeof(bytes), &back), KM_ERR_VERSION);

    data = km_peer_note_encode(&note, &len);
    assert_non_null(data);
    assert_int_equal(km_peer_note_decode(data + KM_PEER_HEAD_LEN, len - KM_PEER_HEAD_LEN, &got), KM_OK);
    assert_int_equal(got.err, KM_ERR_BUSY);
    assert_int_equal(got.len, 3);
    for (size_t cut = 0; cut < len - KM_PEER_HEAD_LEN; cut++)
        assert_int_equal(km_peer_note_decode(data + KM_PEER_HEAD_LEN, cut, &got), KM_ERR_PROTO);
    free(data);
}

static bool accept_one(struct km_peer_order *order, uint64_t epoch, uint64_t sequence, uint64_t now_us)
{
    struct km_peer_head head = {.epoch = epoch, .sequence = sequence};

    return km_peer_order_accept(order, &head, now_us, 150000 /* silence */);
}

static void old_messages_are_dropped(void **state)
{
    struct km_peer_order order = {0};

    (void)state;
    assert_true(accept_one(&order, 7, 5, 1000));
    assert_false(accept_one(&order, 7, 5, 1000)); /* a duplicate */
    assert_true(accept_one(&order, 7, 9, 1000));  /* lost ones between are no harm */
    assert_false(accept_one(&order, 7, 8, 1000));
    assert_false(accept_one(&order, 0, 10, 1000));
}

static void a_new_life_takes_over_once_the_old_one_is_silent(void **state)
{
    struct km_peer_order order = {0};

    (void)state;
    assert_true(accept_one(&order, 7, 5, 1000));
    assert_false(accept_one(&order, 8, 1, 100000));
    assert_true(accept_one(&order, 8, 1, 151000));
    assert_int_equal(km_peer_order_epoch(&order), 8);
    assert_false(accept_one(&order, 7, 6, 152000)); /* a late message of its earlier life */
}

static void a_late_message_of_an_unknown_life_does_not_shut_out_the_present_one(void **state)
{
    struct km_peer_order order = {0};

    (void)state;
    assert_true(accept_one(&order, 8, 5, 1000));
    assert_false(accept_one(&order, 7, 900, 2000));
    assert_true(accept_one(&order, 7, 901, 400000)); /* the present one was cut off a while */
    assert_false(accept_one(&order, 8, 6, 400001));
    assert_true(accept_one(&order, 8, 7, 600000));
    assert_false(accept_one(&order, 7, 901, 900000)); /* and no message counts twice */
    for (uint64_t epoch = 20; epoch < 30; epoch++)    /* many lives */
        assert_true(accept_one(&order, epoch, 1, epoch * 1000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_as_it_was),
        cmocka_unit_test(every_truncation_and_trailing_byte_is_refused),
        cmocka_unit_test(flipped_bytes_never_crash),
        cmocka_unit_test(counts_beyond_the_bounds_are_refused_before_memory_is_taken),
        cmocka_unit_test(a_membership_entry_is_the_first_of_its_message),
        cmocka_unit_test(large_appends_are_split_by_bytes),
        cmocka_unit_test(damaged_configurations_never_reach_libraft),
        cmocka_unit_test(heads_and_notes_come_back_and_cuts_are_refused),
        cmocka_unit_test(old_messages_are_dropped),
        cmocka_unit_test(a_new_life_takes_over_once_the_old_one_is_silent),
        cmocka_unit_test(a_late_message_of_an_unknown_life_does_not_shut_out_the_present_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
