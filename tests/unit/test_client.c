/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net_kit.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <nng/nng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct kit kit;

static int setup(void **state)
{
    (void)state;
    kit_init(&kit);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_fini(&kit);
    return 0;
}

static void start_three(struct kit_server servers[3])
{
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        kit_server_start(&kit, &servers[i], names[i], kit_free_port());
}

static void stop_three(struct kit_server servers[3])
{
    for (int i = 0; i < 3; i++)
        kit_server_stop(&servers[i]);
}

static void the_own_zone_is_asked_and_others_when_it_cannot(void **state)
{
    (void)state;
    struct kit_server servers[3];
    start_three(servers);
    struct km_client *client = kit_client(&kit, "app", servers, 3);
    for (int i = 0; i < 50 && servers[0].n_calls == 0; i++) { /* a busy machine may greet later than others are raced */
        assert_int_equal(kit_random(client, 32), KM_OK);
        usleep(20000);
    }
    servers[0].n_calls = 0;
    for (int i = 0; i < 20; i++)
        assert_int_equal(kit_random(client, 32), KM_OK);
    assert_int_equal(servers[0].n_calls, 20);

    servers[0].verdict = KMW__REPLY__VERDICT__ELSEWHERE;
    assert_int_equal(kit_random(client, 32), KM_OK);
    assert_int_equal(servers[0].n_calls, 21);
    for (int i = 0; i < 10; i++)
        assert_int_equal(kit_random(client, 32), KM_OK);
    int n_calls = servers[0].n_calls;
    assert_in_range(n_calls, 21, 26); /* asked last for a moment: not each time */
    usleep(100000);
    servers[0].verdict = KMW__REPLY__VERDICT__ANSWER;
    assert_int_equal(kit_random(client, 32), KM_OK);
    assert_int_equal(servers[0].n_calls, n_calls + 1);

    for (int i = 0; i < 3; i++)
        servers[i].verdict = KMW__REPLY__VERDICT__BUSY;
    int64_t start = km_monotonic_ms();
    assert_int_equal(kit_random(client, 32), KM_ERR_TIMEOUT);
    assert_in_range(km_monotonic_ms() - start, 1900, 4000);
    assert_in_range(servers[1].n_calls, 3, 1000); /* tried again and again, but not in a busy loop */
    for (int i = 0; i < 3; i++)
        servers[i].verdict = KMW__REPLY__VERDICT__UNDECIDED;
    assert_int_equal(kit_random(client, 32), KM_ERR_UNDECIDED);
    km_client_free(client);
    stop_three(servers);
}

static void a_dead_server_costs_nothing_and_all_dead_end_at_the_deadline(void **state)
{
    (void)state;
    struct kit_server servers[3];
    start_three(servers);
    struct km_client *client = kit_client(&kit, "app", servers, 3);
    assert_int_equal(kit_random(client, 32), KM_OK);
    kit_server_stop(&servers[0]);
    for (int i = 0; i < 100; i++) {
        int64_t start = km_monotonic_ms();
        assert_int_equal(kit_random(client, 32), KM_OK);
        assert_true(km_monotonic_ms() - start < 450);
    }
    kit_server_stop(&servers[1]);
    kit_server_stop(&servers[2]);
    int64_t start = km_monotonic_ms();
    assert_int_equal(kit_random(client, 32), KM_ERR_TIMEOUT);
    assert_in_range(km_monotonic_ms() - start, 1900, 4000);
    int port = servers[2].port;
    kit_server_start(&kit, &servers[2], "c", port);
    start = km_monotonic_ms();
    assert_int_equal(kit_random(client, 32), KM_OK); /* the same client, when they are back */
    assert_true(km_monotonic_ms() - start < 1500);
    km_client_free(client);
    kit_server_stop(&servers[2]);
}

/* A stopped process: its kernel accepts connections, nobody greets. */
static void a_server_that_does_not_greet_is_raced(void **state)
{
    (void)state;
    struct kit_server servers[2];
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    memset(&servers[0], 0, sizeof(servers[0]));
    strcpy(servers[0].name, "a");
    servers[0].port = ntohs(addr.sin_port);
    kit_server_start(&kit, &servers[1], "b", kit_free_port());
    int64_t best = INT64_MAX; /* of several: the machine may be busy */
    for (int i = 0; i < 5; i++) {
        struct km_client *client = kit_client(&kit, "app", servers, 2);
        int64_t start = km_monotonic_ms();
        assert_int_equal(kit_random(client, 32), KM_OK);
        best = km_monotonic_ms() - start < best ? km_monotonic_ms() - start : best;
        km_client_free(client);
    }
    assert_in_range(best, 25, 200);
    kit_server_stop(&servers[1]);
    close(fd);
}

static void a_server_that_does_not_answer_is_left_after_the_attempts_deadline(void **state)
{
    (void)state;
    struct kit_server servers[3];
    start_three(servers);
    struct km_client *client = kit_client(&kit, "app", servers, 3);
    servers[0].delay_ms = 1500;
    int64_t start = km_monotonic_ms();
    assert_int_equal(kit_random(client, 32), KM_OK);
    assert_in_range(km_monotonic_ms() - start, 750, 1900);
    km_client_free(client);
    stop_three(servers);
}

/* The caller knows that the answer takes long: nobody else is asked to begin the same. */
static void a_request_that_takes_long_is_left_where_it_is(void **state)
{
    (void)state;
    struct kit_server servers[3];
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Random random = KMW__RANDOM__INIT;
    Kmw__Reply *reply = NULL;
    start_three(servers);
    struct km_client *client = kit_client(&kit, "app", servers, 3);
    servers[0].delay_ms = 1300; /* longer than one attempt's deadline, shorter than the call's */
    random.len = 32;
    request.op_case = KMW__REQUEST__OP_RANDOM;
    request.random = &random;
    request.deadline_ms = UINT32_MAX;
    int64_t start = km_monotonic_ms();
    assert_int_equal(km_client_call(client, &request, true, &reply), KM_OK);
    assert_in_range(km_monotonic_ms() - start, 1300, 3000);
    assert_int_equal(request.deadline_ms, UINT32_MAX);
    kmw__reply__free_unpacked(reply, NULL);
    km_client_free(client);
    stop_three(servers);
}

static int n_sockets(void)
{
    int n = 0;
    char path[300];
    struct stat st;
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
        n += stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
    }
    closedir(dir);
    return n;
}

/* Runs `what` in a child; true if it ended with 0. */
static bool in_child(struct km_client *client, int (*what)(struct km_client *))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        _exit(what(client));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        print_message("   the child's status: 0x%x\n", (unsigned)status);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int child_calls_on(struct km_client *client)
{
    int before = n_sockets();
    if (kit_random(client, 32) != KM_OK)
        return 1;
    if (n_sockets() != before) /* the inherited one closed, an own one opened */
        return 2;
    if (km_client_index(client) != 42)
        return 3;
    return 0;
}

static int child_disconnects(struct km_client *client)
{
    int before = n_sockets();
    km_client_disconnect(client);
    if (n_sockets() != before - 1)
        return 1;
    return kit_random(client, 32) == KM_OK ? 0 : 2;
}

static int child_frees(struct km_client *client)
{
    km_client_free(client);
    return 0;
}

static int child_of_child(struct km_client *client)
{
    if (kit_random(client, 32) != KM_OK)
        return 1;
    return in_child(client, child_calls_on) && kit_random(client, 32) == KM_OK ? 0 : 2;
}

static int child_without_rights(struct km_client *client)
{
    char path[160], away[200];
    pki_path(&kit.pki, "app", "key", path);
    snprintf(away, sizeof(away), "%s.away", path);
    if (rename(path, away) != 0)
        return 1;
    km_client_disconnect(client);
    int rc = kit_random(client, 32) == KM_OK ? 0 : 2;
    return rename(away, path) == 0 ? rc : 3;
}

static void a_child_goes_on_and_the_parent_is_not_disturbed(void **state)
{
    (void)state;
    static int (*const what[])(struct km_client *) = {child_calls_on, child_disconnects, child_frees, child_of_child, child_without_rights};
    struct kit_server server;
    struct km_front_counts before, after;
    kit_server_start(&kit, &server, "a", kit_free_port());
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
        assert_int_equal(kit_random(client, 32), KM_OK);
        assert_true(in_child(client, what[i]));
        km_front_counts(server.front, &before);
        assert_int_equal(kit_random(client, 32), KM_OK);
        km_front_counts(server.front, &after);
        assert_int_equal(after.accepted, before.accepted); /* on the connection it had */
        assert_int_equal(after.malformed, 0);
    }
    km_client_free(client);
    kit_server_stop(&server);
}

static atomic_bool is_over;

static void *caller(void *client)
{
    while (!atomic_load(&is_over))
        assert_int_equal(kit_random(client, 32), KM_OK);
    return NULL;
}

static int child_calls_once(struct km_client *client)
{
    return kit_random(client, 32) == KM_OK ? 0 : 1;
}

static void a_fork_at_any_moment_leaves_a_child_that_works(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* a child of a process with threads may hang in ASan's own allocator */
#endif
    pthread_t threads[4];
    struct kit_server server;
    kit_server_start(&kit, &server, "a", kit_free_port());
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    atomic_store(&is_over, false);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, caller, client);
    for (int i = 0; i < 100; i++)
        assert_true(in_child(client, child_calls_once));
    atomic_store(&is_over, true);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    km_client_free(client);
    kit_server_stop(&server);
}

static void sixteen_threads_share_a_client(void **state)
{
    (void)state;
    pthread_t threads[16];
    struct kit_server servers[3];
    struct km_front_counts counts;
    start_three(servers);
    struct km_client *client = kit_client(&kit, "app", servers, 3);
    atomic_store(&is_over, false);
    for (int i = 0; i < 16; i++)
        pthread_create(&threads[i], NULL, caller, client);
    for (int i = 0; i < 10; i++) {
        usleep(50000);
        if (i % 3 == 1)
            km_client_disconnect(client);
        servers[0].verdict = i % 2 == 0 ? KMW__REPLY__VERDICT__ELSEWHERE : KMW__REPLY__VERDICT__ANSWER;
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    km_front_counts(servers[0].front, &counts);
    assert_true(counts.accepted <= 16 * 6);
    km_client_free(client);
    stop_three(servers);
}

static void a_renewed_certificate_is_taken_and_a_broken_one_is_not(void **state)
{
    (void)state;
    struct kit_server server;
    char path[160], key[160];
    pki_issue(&kit.pki, "renew", "spiffe://c1/client/first", 10);
    kit_server_start(&kit, &server, "a", kit_free_port());
    struct km_client *client = kit_client(&kit, "renew", &server, 1);
    assert_int_equal(kit_random(client, 32), KM_OK);
    assert_string_equal(server.last_identity, "spiffe://c1/client/first");

    pki_issue(&kit.pki, "renew", "spiffe://c1/client/second", 10);
    km_client_disconnect(client);
    server.n_calls = 0;
    assert_int_equal(kit_random(client, 32), KM_OK);
    assert_string_equal(server.last_identity, "spiffe://c1/client/second");

    assert_int_equal(truncate(pki_path(&kit.pki, "renew", "crt", path), 100), 0);
    assert_int_equal(chmod(pki_path(&kit.pki, "renew", "key", key), 0644), 0);
    km_client_disconnect(client);
    server.n_calls = 0;
    assert_int_equal(kit_random(client, 32), KM_OK);
    assert_string_equal(server.last_identity, "spiffe://c1/client/second");
    km_client_free(client);
    kit_server_stop(&server);
}

static void another_servers_certificate_at_an_address_is_refused(void **state)
{
    (void)state;
    struct kit_server server;
    kit_server_start(&kit, &server, "b", kit_free_port());
    strcpy(server.name, "a"); /* as the client knows it */
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    assert_int_equal(kit_random(client, 32), KM_ERR_TLS);
    assert_int_equal(server.n_calls, 0);
    km_client_free(client);
    kit_server_stop(&server);
}

static const char good_conf[] = "cluster = c1\nzone = a\ncertificate = app.crt\nkey = app.key\nca = ca.crt\n"
                                "[servers]\na = a 127.0.0.1:7101\nb = b [::1]:7102\n";

static enum km_err read_conf(const char *text, struct km_client_conf *ret, char *message, size_t len)
{
    char path[160];
    FILE *f = fopen(pki_path(&kit.pki, "client", "conf", path), "w");
    fputs(text, f);
    fclose(f);
    return km_client_conf_read(path, ret, message, len);
}

static void client_conf_is_read_or_its_mistake_is_named(void **state)
{
    (void)state;
    struct km_client_conf conf;
    char message[512];
    assert_int_equal(read_conf(good_conf, &conf, message, sizeof(message)), KM_OK);
    assert_int_equal(conf.n_servers, 2);
    assert_string_equal(conf.servers[1].address, "[::1]:7102");
    assert_string_equal(conf.servers[1].zone, "b");
    assert_int_equal(conf.deadline_ms, 10000);
    assert_int_equal(conf.connect_deadline_ms, 1000);
    assert_int_equal(conf.attempt_deadline_ms, 3000);
    assert_string_equal(conf.log, "stderr");
    km_client_conf_fini(&conf);
    km_client_conf_fini(&conf);
    static const char *const bad[] = {
        "cluster = c1\n",
        "cluster = c1\ncertificate = x\nkey = x\nca = x\n[servers]\n",
        "cluster = c1\ncertificate = x\nkey = x\nca = x\n[servers]\na = 127.0.0.1:7101\n",
        "cluster = c1\ncertificate = x\nkey = x\nca = x\n[servers]\na = a 127.0.0.1\n",
        "cluster = c1\ncertificate = x\nkey = x\nca = x\n[servers]\na = a 127.0.0.1:99999\n",
        "cluster = c1\ncertificate = x\nkey = x\nca = x\n[servers]\nA = a 127.0.0.1:7101\n",
        "cluster = c1\ncertificate = x\nkey = x\nca = x\ncolour = red\n[servers]\na = a 127.0.0.1:7101\n",
        "cluster = c1\ncertificate = x\nkey = x\nca = x\ndeadline_ms = soon\n[servers]\na = a 127.0.0.1:7101\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        message[0] = '\0';
        assert_int_equal(read_conf(bad[i], &conf, message, sizeof(message)), KM_ERR_CONF);
        print_message("   %s\n", message);
        assert_non_null(strstr(message, "client.conf"));
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_DFL); /* as a host has it: one signal from us and this program is gone */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_own_zone_is_asked_and_others_when_it_cannot),
        cmocka_unit_test(a_dead_server_costs_nothing_and_all_dead_end_at_the_deadline),
        cmocka_unit_test(a_server_that_does_not_greet_is_raced),
        cmocka_unit_test(a_server_that_does_not_answer_is_left_after_the_attempts_deadline),
        cmocka_unit_test(a_request_that_takes_long_is_left_where_it_is),
        cmocka_unit_test(a_child_goes_on_and_the_parent_is_not_disturbed),
        cmocka_unit_test(a_fork_at_any_moment_leaves_a_child_that_works),
        cmocka_unit_test(sixteen_threads_share_a_client),
        cmocka_unit_test(a_renewed_certificate_is_taken_and_a_broken_one_is_not),
        cmocka_unit_test(another_servers_certificate_at_an_address_is_refused),
        cmocka_unit_test(client_conf_is_read_or_its_mistake_is_named),
    };
    int n_failed = cmocka_run_group_tests(tests, setup, teardown);
    if (n_failed == 0)
        nng_fini(); /* its threads would end at some time after us, and be taken for leaks */
    return n_failed;
}
