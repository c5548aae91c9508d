/* SPDX-License-Identifier: Apache-2.0
 *
 * The SQLite disk when nothing goes wrong: what is written is read back, in order; provisioning, bootstrap, votes,
 * snapshots.
 */
#include "unit.h"

#include "disk_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char message[KM_DISK_MESSAGE_MAX];

static void reopen(struct kit *kit, const char *dir)
{
    kit_close(kit);
    if (kit_open(kit, dir) != KM_OK)
        fail_msg("%s", kit->message);
}

static void assert_log(const struct kit *kit, uint64_t first, uint64_t last)
{
    assert_int_equal(kit->state.start_index, first);
    assert_int_equal(kit->state.start_index + kit->state.n_entries - 1, last);
    for (size_t i = 0; i < kit->state.n_entries; i++)
        assert_true(kit_entry_is_right(first + i, &kit->state.entries[i]));
}

static void a_new_folder_is_pristine_and_bootstraps_once(void **state)
{
    (void)state;
    struct kit kit;
    struct stat folder;
    struct raft_configuration configuration;
    const char *dir = kit_folder();
    assert_int_equal(km_disk_provision(dir, KIT_CLUSTER, KIT_ID, KIT_NAME, message, sizeof(message)), KM_OK);
    assert_int_equal(stat(dir, &folder), 0);
    assert_int_equal(folder.st_mode & 07777, 0700);
    assert_int_equal(km_disk_provision(dir, KIT_CLUSTER, KIT_ID, KIT_NAME, message, sizeof(message)), KM_ERR_EXISTS);

    assert_int_equal(kit_open(&kit, dir), KM_OK);
    assert_int_equal(kit.state.term, 0);
    assert_int_equal(kit.state.start_index, 1);
    assert_int_equal(kit.state.n_entries, 0);
    assert_null(kit.state.snapshot);
    assert_true(kit.disk->ops->capacity(kit.disk) > 0);
    kit_close(&kit);

    raft_configuration_init(&configuration);
    assert_int_equal(raft_configuration_add(&configuration, 1, "one", RAFT_VOTER), 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(kit_open(&kit, dir), KM_OK);
        assert_int_equal(kit.disk->ops->bootstrap(kit.disk, &configuration), round == 0 ? KM_OK : KM_ERR_EXISTS);
        assert_int_equal(kit.disk->ops->bootstrap(kit.disk, &configuration), KM_ERR_EXISTS);
        reopen(&kit, dir);
        assert_int_equal(kit.state.term, 1);
        assert_int_equal(kit.state.voted_for, 0);
        assert_int_equal(kit.state.n_entries, 1);
        assert_int_equal(kit.state.entries[0].type, RAFT_CHANGE);
        assert_int_equal(kit.state.entries[0].term, 1);
        assert_null(kit.state.entries[0].batch);
        kit_close(&kit);
    }
    raft_configuration_close(&configuration);
}

static void a_server_with_a_term_is_not_bootstrapped(void **state)
{
    (void)state;
    struct kit kit;
    struct raft_configuration configuration;
    const char *dir = kit_folder();
    assert_int_equal(km_disk_provision(dir, KIT_CLUSTER, KIT_ID, KIT_NAME, message, sizeof(message)), KM_OK);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    kit.disk->ops->set_term(kit.disk, 4); /* it joined and heard a leader */
    raft_configuration_init(&configuration);
    assert_int_equal(raft_configuration_add(&configuration, 1, "one", RAFT_VOTER), 0);
    assert_int_equal(kit.disk->ops->bootstrap(kit.disk, &configuration), KM_ERR_EXISTS);
    reopen(&kit, dir);
    assert_int_equal(kit.state.term, 4);
    kit_close(&kit);
    raft_configuration_close(&configuration);
}

static void bad_provisioning_is_refused_by_name(void **state)
{
    (void)state;
    const char *dir = kit_folder();
    char path[200], long_name[80];
    memset(long_name, 'x', sizeof(long_name));
    long_name[65] = 0;
    const struct {
        const char *cluster;
        uint64_t id;
        const char *name;
    } bad[] = {{"", 1, "a"}, {"c", 0, "a"}, {"c", 1, ""}, {"c d", 1, "a"}, {"c", 1, "a\nstate x"}, {"c", 1, long_name}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(km_disk_provision(dir, bad[i].cluster, bad[i].id, bad[i].name, message, sizeof(message)),
                         KM_ERR_ARG);
    assert_int_equal(access(dir, F_OK), -1);

    assert_int_equal(mkdir(dir, 0755), 0);
    snprintf(path, sizeof(path), "%s/precious", dir);
    fclose(fopen(path, "w"));
    assert_int_equal(km_disk_provision(dir, "c", 1, "a", message, sizeof(message)), KM_ERR_EXISTS);
    assert_non_null(strstr(message, "precious"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(km_disk_provision(dir, "c", 1, "a", message, sizeof(message)), KM_OK);
    snprintf(path, sizeof(path), "%s/no/such", dir);
    assert_int_equal(km_disk_provision(path, "c", 1, "a", message, sizeof(message)), KM_ERR_IO);
}

static void another_servers_folder_is_refused(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct km_disk *disk = NULL;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(uv_loop_init(&loop), 0);
    const struct {
        const char *cluster;
        uint64_t id;
        const char *name;
    } other[] = {{"other", KIT_ID, KIT_NAME}, {KIT_CLUSTER, 2, KIT_NAME}, {KIT_CLUSTER, KIT_ID, "a2"}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(km_disk_sqlite_open(dir, other[i].cluster, other[i].id, other[i].name, &loop, &disk, message,
                                             sizeof(message)),
                         KM_ERR_CONF);
        assert_non_null(strstr(message, "belongs to server 3 (a3) of cluster moot"));
    }
    assert_int_equal(
        km_disk_sqlite_open("/no/such/folder", KIT_CLUSTER, KIT_ID, KIT_NAME, &loop, &disk, message, sizeof(message)),
        KM_ERR_NOT_FOUND);
    assert_null(disk);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void a_folder_in_use_is_refused(void **state)
{
    (void)state;
    struct kit kit, second;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    assert_int_equal(kit_open(&second, dir), KM_ERR_BUSY);
    assert_non_null(strstr(second.message, "in use"));
    kit_close(&kit);
    assert_int_equal(kit_open(&second, dir), KM_OK);
    kit_close(&second);
}

static void entries_are_read_back_as_written(void **state)
{
    (void)state;
    struct kit kit;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    kit.disk->ops->set_term(kit.disk, kit.term = 2);
    for (int i = 0; i < 40; i++)
        kit_append(&kit, 1 + (unsigned)i % 5, (size_t)i * 40);
    kit_append(&kit, 1, 3 * 1024 * 1024);
    kit_wait(&kit, 0);
    reopen(&kit, dir);
    assert_log(&kit, 1, 1 + 8 * 15 + 1);
    kit_truncate(&kit, 60);
    kit.disk->ops->set_term(kit.disk, kit.term = 3);
    kit_append(&kit, 10, 8);
    kit_truncate(&kit, 1000); /* beyond the end: nothing */
    kit_append(&kit, 1, 0);
    kit_wait(&kit, 0);
    reopen(&kit, dir);
    assert_log(&kit, 1, 70);
    assert_int_equal(kit.state.entries[58].term, 2);
    assert_int_equal(kit.state.entries[59].term, 3);
    kit_close(&kit);
}

static char order[64];
static void note_order(struct kit *kit, char what, uint64_t index, uint64_t term)
{
    (void)kit, (void)term;
    size_t n = strlen(order);
    order[n] = what == 'S' ? 'S' : (char)('0' + index % 10);
    order[n + 1] = 0;
}

static void callbacks_come_in_order_also_for_entries_that_were_cut(void **state)
{
    (void)state;
    struct kit kit;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    kit.on_ack = note_order;
    order[0] = 0;
    kit_append(&kit, 1, 10); /* 2 */
    kit_append(&kit, 2, 10); /* 4 */
    kit_append(&kit, 1, 10); /* 5 */
    kit_truncate(&kit, 3);
    kit_append(&kit, 1, 10);        /* 3 */
    kit_append(&kit, 5, 10);        /* 8 */
    assert_string_equal(order, ""); /* never inside the request */
    kit_wait(&kit, 0);
    assert_string_equal(order, "24538");

    /* An installed snapshot completes between what came before and what comes after. */
    order[0] = 0;
    kit_append(&kit, 1, 10); /* 9 */
    kit_put(&kit, 20, 1, 3 * 1024 * 1024, 0);
    kit_append(&kit, 1, 10); /* 21 */
    kit_append(&kit, 1, 10); /* 22 */
    kit_wait(&kit, 0);
    assert_string_equal(order, "9S12");

    /* An own one lets appends overtake (unless this thread sleeps between the two requests). */
    bool has_overtaken = false;
    for (int i = 0; i < 50 && !has_overtaken; i++) {
        order[0] = 0;
        kit_put(&kit, kit.last, 1, 8 * 1024 * 1024, 100);
        kit_append(&kit, 1, 10);
        kit_wait(&kit, 0);
        assert_int_equal(strlen(order), 2);
        has_overtaken = order[1] == 'S';
    }
    assert_true(has_overtaken);
    uint64_t last = kit.last;
    reopen(&kit, dir);
    assert_log(&kit, 21, last);
    assert_int_equal(kit.state.snapshot->index, last - 1);
    kit_close(&kit);
}

static void the_same_term_again_keeps_the_vote_and_a_new_one_clears_it(void **state)
{
    (void)state;
    struct kit kit;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    kit.disk->ops->set_term(kit.disk, 5);
    kit.disk->ops->set_vote(kit.disk, 2);
    kit.disk->ops->set_term(kit.disk, 5);
    reopen(&kit, dir);
    assert_int_equal(kit.state.term, 5);
    assert_int_equal(kit.state.voted_for, 2);
    kit.disk->ops->set_term(kit.disk, 5);
    kit.disk->ops->set_vote(kit.disk, 2);
    reopen(&kit, dir);
    assert_int_equal(kit.state.voted_for, 2);
    kit.disk->ops->set_term(kit.disk, 6);
    reopen(&kit, dir);
    assert_int_equal(kit.state.term, 6);
    assert_int_equal(kit.state.voted_for, 0);
    kit.disk->ops->set_vote(kit.disk, UINT64_MAX); /* an id of any size */
    reopen(&kit, dir);
    assert_true(kit.state.voted_for == UINT64_MAX);
    kit_close(&kit);
}

static void own_snapshots_keep_trailing_entries(void **state)
{
    (void)state;
    struct kit kit;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    kit_append(&kit, 999, 50);
    const struct {
        uint64_t index;
        size_t len;
        unsigned trailing;
        uint64_t first;
    } cases[] = {{100, 0, 200, 1},
                 {500, 10, 100, 401},
                 {900, 3000001, 10, 891},
                 {900, 262144, 5000, 891},
                 {950, 524288, 1, 950}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kit_put(&kit, cases[i].index, 1, cases[i].len, cases[i].trailing);
        kit_wait(&kit, 0);
        struct raft_snapshot *snapshot = kit_get(&kit);
        assert_int_equal(snapshot->index, cases[i].index);
        assert_true(kit_snapshot_is_right(snapshot));
        kit_snapshot_free(snapshot);
        reopen(&kit, dir);
        assert_log(&kit, cases[i].first, 1000);
        assert_int_equal(kit.state.snapshot->index, cases[i].index);
        assert_int_equal(kit.state.snapshot->bufs[0].len, cases[i].len);
        assert_true(kit_snapshot_is_right(kit.state.snapshot));
    }
    kit_close(&kit);
}

static void installed_snapshots_replace_the_log(void **state)
{
    (void)state;
    struct kit kit;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    kit_append(&kit, 99, 50);
    kit.disk->ops->set_term(kit.disk, kit.term = 3);
    kit_put(&kit, 5000, 3, 700000, 0); /* far ahead */
    kit_wait(&kit, 0);
    reopen(&kit, dir);
    assert_log(&kit, 5001, 5000);
    assert_int_equal(kit.state.snapshot->index, 5000);
    kit_append(&kit, 1500, 50);
    kit_put(&kit, 5600, 3, 700000, 0); /* behind the log's end, which goes */
    kit_append(&kit, 3, 50);
    kit_wait(&kit, 0);
    reopen(&kit, dir);
    assert_log(&kit, 5601, 5603);
    kit_truncate(&kit, 5601); /* all that is left */
    kit_wait(&kit, 0);
    reopen(&kit, dir);
    assert_log(&kit, 5601, 5600);
    assert_true(kit_snapshot_is_right(kit.state.snapshot));
    kit_close(&kit);
}

static void reading_a_snapshot_while_the_next_is_written_gives_a_whole_one(void **state)
{
    (void)state;
    struct kit kit;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    kit_append(&kit, 99, 50);
    kit_put(&kit, 50, 1, 5000000, 10);
    kit_wait(&kit, 0);
    for (uint64_t index = 60; index < 64; index++) {
        kit_put(&kit, index, 1, 3000000, 10);
        struct raft_snapshot *snapshot = kit_get(&kit);
        assert_true(kit_snapshot_is_right(snapshot));
        assert_in_range(snapshot->index, 50, index);
        kit_snapshot_free(snapshot);
    }
    kit_wait(&kit, 0);
    kit_close(&kit);
}

static void closing_completes_what_was_queued(void **state)
{
    (void)state;
    struct kit kit;
    const char *dir = kit_folder();
    kit_make(dir);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    for (int i = 0; i < 100; i++)
        kit_append(&kit, 10, 100);
    kit_put(&kit, 500, 1, 2000000, 100);
    kit_append(&kit, 10, 100);
    kit_close(&kit);
    assert_int_equal(kit.pending, 0);
    assert_int_equal(kit_open(&kit, dir), KM_OK);
    assert_log(&kit, 401, 1011);
    kit_close(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_folder_is_pristine_and_bootstraps_once),
        cmocka_unit_test(a_server_with_a_term_is_not_bootstrapped),
        cmocka_unit_test(bad_provisioning_is_refused_by_name),
        cmocka_unit_test(another_servers_folder_is_refused),
        cmocka_unit_test(a_folder_in_use_is_refused),
        cmocka_unit_test(entries_are_read_back_as_written),
        cmocka_unit_test(callbacks_come_in_order_also_for_entries_that_were_cut),
        cmocka_unit_test(the_same_term_again_keeps_the_vote_and_a_new_one_clears_it),
        cmocka_unit_test(own_snapshots_keep_trailing_entries),
        cmocka_unit_test(installed_snapshots_replace_the_log),
        cmocka_unit_test(reading_a_snapshot_while_the_next_is_written_gives_a_whole_one),
        cmocka_unit_test(closing_completes_what_was_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
