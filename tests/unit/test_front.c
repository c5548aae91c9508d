/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE (1u << 20) /* within the client's two seconds */
#else
#define LARGE (8u << 20)
#endif

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

static void a_request_is_answered_with_the_callers_identity(void **state)
{
    (void)state;
    struct kit_server server;
    kit_server_start(&kit, &server, "a", kit_free_port());
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    assert_int_equal(kit_random(client, 32), KM_OK);
    assert_string_equal(server.last_identity, "spiffe://c1/client/app");
    assert_int_equal(km_client_index(client), server.index);
    struct km_front_counts counts;
    km_front_counts(server.front, &counts);
    assert_int_equal(counts.authenticated, 1);
    assert_int_equal(counts.requests, 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(kit_random(client, 32), KM_OK);
    km_front_counts(server.front, &counts);
    assert_int_equal(counts.accepted, 1);
    km_client_free(client);
    kit_server_stop(&server);
}

static void messages_of_any_size_cross_in_both_directions(void **state)
{
    (void)state;
    struct kit_server server;
    static const size_t sizes[] = {1, 4096, KM_PART_MAX - 100, KM_PART_MAX, KM_PART_MAX + 1, 3 * KM_PART_MAX, LARGE};
    kit_server_start(&kit, &server, "a", kit_free_port());
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(kit_random(client, sizes[i]), KM_OK);
        assert_int_equal(kit_echo(client, sizes[i]), KM_OK);
    }
    assert_int_equal(kit_echo(client, KM_MESSAGE_MAX + 1), KM_ERR_TOO_LARGE);
    assert_int_equal(kit_random(client, 5), KM_OK);
    km_client_free(client);
    kit_server_stop(&server);
}

static void an_answer_may_come_later_from_another_thread(void **state)
{
    (void)state;
    struct kit_server server;
    kit_server_start(&kit, &server, "a", kit_free_port());
    server.delay_ms = 100;
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    assert_int_equal(kit_random(client, 32), KM_OK);
    km_client_free(client);
    kit_server_stop(&server);
}

/* nng's own REQ socket shakes hands and is answered, through a reply that is longer than what a socket takes at once. */
static void genuine_nng_is_served(void **state)
{
    (void)state;
    enum { LEN = 50000 };
    struct kit_server server;
    struct km_channel *channel;
    nng_socket req;
    nng_msg *msg = NULL;
    char url[64];
    const uint8_t *in = NULL, *out;
    size_t in_len = 0, out_len;
    bool is_done = false, has_more;
    kit_server_start(&kit, &server, "a", kit_free_port());
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", server.port);
    assert_int_equal(nng_req0_open(&req), 0);
    assert_int_equal(nng_socket_set_ms(req, NNG_OPT_RECVTIMEO, 5000), 0);
    assert_int_equal(nng_dial(req, url, NULL, 0), 0);
    struct km_tls *tls = pki_tls(&kit.pki, "app", &kit.pki, false);
    assert_int_equal(km_channel_new(tls, "a", NULL, &channel), KM_OK);
    km_tls_unref(tls);
    for (;;) {
        assert_int_equal(km_channel_handshake(channel, in, in_len, &out, &out_len, &is_done), KM_OK);
        if (is_done)
            break;
        nng_msg_free(msg);
        assert_int_equal(nng_msg_alloc(&msg, 0), 0);
        assert_int_equal(nng_msg_append(msg, out, out_len), 0);
        assert_int_equal(nng_sendmsg(req, msg, 0), 0);
        assert_int_equal(nng_recvmsg(req, &msg, 0), 0);
        in = nng_msg_body(msg);
        in_len = nng_msg_len(msg);
    }
    nng_msg_free(msg);
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Random random = KMW__RANDOM__INIT;
    uint8_t packed[64];
    random.len = LEN;
    request.op_case = KMW__REQUEST__OP_RANDOM;
    request.random = &random;
    assert_int_equal(km_channel_seal(channel, packed, kmw__request__pack(&request, packed), false, &out, &out_len), KM_OK);
    assert_int_equal(nng_msg_alloc(&msg, 0), 0);
    assert_int_equal(nng_msg_append(msg, out, out_len), 0);
    assert_int_equal(nng_sendmsg(req, msg, 0), 0);
    assert_int_equal(nng_recvmsg(req, &msg, 0), 0);
    assert_int_equal(km_channel_open(channel, nng_msg_body(msg), nng_msg_len(msg), &in, &in_len, &has_more), KM_OK);
    assert_true(in_len > LEN && in_len < LEN + 64);
    nng_msg_free(msg);
    km_channel_free(channel);
    nng_close(req);
    kit_server_stop(&server);
}

/* What a stranger may write at a port; the connection must be closed, and nothing else happen. */
static void expect_closed(const struct kit_server *server, const void *bytes, size_t len, int within_ms)
{
    int fd = kit_connect(server->port, 0);
    uint8_t sink[4096];
    int64_t start = km_monotonic_ms();
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
    struct timeval tv = {.tv_sec = within_ms / 1000 + 1};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    ssize_t n;
    while ((n = recv(fd, sink, sizeof(sink), 0)) > 0)
        ;
    if (n < 0)
        assert_int_equal(errno, ECONNRESET);
    assert_true(km_monotonic_ms() - start <= within_ms);
    close(fd);
}

#define GREETING "\0SP\0\0\x30\0\0"

static void garbage_at_the_port_closes_that_connection_only(void **state)
{
    (void)state;
    struct kit_server server;
    kit_server_start(&kit, &server, "a", kit_free_port());
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    assert_int_equal(kit_random(client, 32), KM_OK);
    expect_closed(&server, "GET / HTTP/1.1\r\n\r\n", 18, 1000);
    expect_closed(&server, GREETING "\0\0\0\0\0\1\1\1", 16, 1000);                         /* oversized */
    expect_closed(&server, GREETING "\xff\xff\xff\xff\xff\xff\xff\xff", 16, 1000);
    expect_closed(&server, GREETING "\0\0\0\0\0\0\0\2xx", 18, 1000);                      /* no request id */
    expect_closed(&server, GREETING "\0\0\0\0\0\0\0\5\x80\0\0\1\1", 21, 1000);            /* an empty handshake */
    expect_closed(&server, GREETING "\0\0\0\0\0\0\0\x0d\x80\0\0\1\1KMT\1oops", 29, 1000);
    expect_closed(&server, GREETING "\0\0\0\0\0\0\0\x0d\x80\0\0\1\1KMT\x02oops", 29, 1000); /* a frame version to come */
    expect_closed(&server, GREETING "\0\0\0\0\0\0\0\x09\x80\0\0\1\2data", 25, 1000);      /* data before the handshake */
    expect_closed(&server, GREETING "\0\0\0\0\0\0\xff\xff\x80\0\0\1\1KMT", 24, 1500);      /* cut short: the deadline ends it */
    assert_int_equal(kit_random(client, 32), KM_OK);
    struct km_front_counts counts;
    km_front_counts(server.front, &counts);
    assert_int_equal(counts.malformed, 8);
    assert_int_equal(counts.timed_out, 1);
    assert_int_equal(counts.authenticated, 1);
    km_client_free(client);
    kit_server_stop(&server);
}

static void a_second_message_before_the_answer_closes_the_pipe(void **state)
{
    (void)state;
    struct kit_server server;
    struct km_front_counts counts;
    kit_server_start(&kit, &server, "a", kit_free_port());
    /* before the handshake: many first messages in one write */
    uint8_t bytes[8 + 50 * 21];
    memcpy(bytes, GREETING, 8);
    for (int i = 0; i < 50; i++)
        memcpy(bytes + 8 + 21 * i, "\0\0\0\0\0\0\0\x0d\x80\0\0\1\1KMT\1oops", 21);
    expect_closed(&server, bytes, sizeof(bytes), 1000);
    /* after it, while the first is in work, and together with it */
    server.delay_ms = 300;
    struct kit_raw raw;
    for (uint64_t i = 0; i < 2; i++) {
        kit_raw_open(&kit, &raw, "app", "a", server.port);
        kit_raw_send(&raw, "first", 5);
        do
            km_front_counts(server.front, &counts);
        while (i == 0 && counts.requests == 0);
        kit_raw_send(&raw, "second", 6);
        assert_true(kit_raw_is_closed(&raw, 200));
        kit_raw_close(&raw);
        for (int64_t end = km_monotonic_ms() + 1000; counts.malformed < i + 2 && km_monotonic_ms() < end;)
            km_front_counts(server.front, &counts); /* the other end sees the connection go before it is counted */
        assert_true(counts.requests >= 1 && counts.requests <= i + 1);
        assert_int_equal(counts.malformed, i + 2);
    }
    server.delay_ms = 0;
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    assert_int_equal(kit_random(client, 32), KM_OK);
    km_client_free(client);
    kit_server_stop(&server);
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* From the same address as the honest client, and with a header that promises a big message. */
static void a_thousand_silent_connections_disturb_nobody(void **state)
{
    (void)state;
    enum { N = 1000 };
    static int fds[N];
    struct kit_server server;
    struct km_front_counts counts;
    struct rlimit limit = {8192, 8192}, old;
    getrlimit(RLIMIT_NOFILE, &old);
    if (limit.rlim_max > old.rlim_max)
        limit = (struct rlimit){old.rlim_max, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &limit);
    kit_server_start(&kit, &server, "a", kit_free_port());
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    assert_int_equal(kit_random(client, 32), KM_OK);
    long before = resident_kib(), peak = 0;
    unsigned worst = 0;
    for (int i = 0; i < N; i++) {
        fds[i] = kit_connect(server.port, i % 3 == 0);
        if (i % 2 == 0)
            assert_int_equal(send(fds[i], GREETING "\0\0\0\0\0\0\xff\xff", 16, MSG_NOSIGNAL), 16);
        else
            assert_int_equal(send(fds[i], GREETING, 8, MSG_NOSIGNAL), 8);
        if (i % 50 == 0) {
            struct km_client *fresh = kit_client(&kit, "app", &server, 1);
            int64_t start = km_monotonic_ms();
            assert_int_equal(kit_random(fresh, 32), KM_OK); /* a new one gets in */
            assert_int_equal(kit_random(client, 32), KM_OK); /* one that is in stays in */
            assert_true(km_monotonic_ms() - start < 500);
            km_client_free(fresh);
            km_front_counts(server.front, &counts);
            worst = counts.strangers_now > worst ? (unsigned)counts.strangers_now : worst;
            peak = resident_kib() > peak ? resident_kib() : peak;
        }
    }
    print_message("   at most %u strangers at once, %ld KiB more memory, %llu shown out\n", worst, peak - before,
                  (unsigned long long)counts.refused_limit);
    assert_true(worst <= 64);
#ifndef __SANITIZE_ADDRESS__ /* whose quarantine keeps what was freed */
    assert_true(peak - before < 32 * 1024);
#endif
    int64_t start = km_monotonic_ms();
    for (int i = 0; i < N; i++) {
        uint8_t byte[64];
        struct timeval tv = {.tv_sec = 3};
        setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
        while (recv(fds[i], byte, sizeof(byte), 0) > 0)
            ;
        close(fds[i]);
    }
    assert_true(km_monotonic_ms() - start < 2500); /* the handshake's deadline here is 1 s */
    km_front_counts(server.front, &counts);
    assert_int_equal(counts.strangers_now, 0);
    assert_true(counts.timed_out + counts.refused_limit >= N);
    assert_int_equal(kit_random(client, 32), KM_OK);
    km_client_free(client);
    kit_server_stop(&server);
    setrlimit(RLIMIT_NOFILE, &old);
}

static void a_stranger_is_told_why_and_counted(void **state)
{
    (void)state;
    struct kit_server server;
    struct km_front_counts counts;
    kit_server_start(&kit, &server, "a", kit_free_port());
    static const char *const who[] = {"foreign", "old"};
    for (int i = 0; i < 2; i++) {
        struct km_client *client = kit_client(&kit, who[i], &server, 1);
        int64_t start = km_monotonic_ms();
        assert_int_equal(kit_random(client, 32), KM_ERR_TLS);
        assert_true(km_monotonic_ms() - start < 1000); /* no use in trying until the deadline */
        km_client_free(client);
    }
    km_front_counts(server.front, &counts);
    assert_int_equal(counts.refused_tls, 2);
    assert_int_equal(counts.authenticated, 0);
    kit_server_stop(&server);
}

static void a_restarted_server_is_not_noticed(void **state)
{
    (void)state;
    struct kit_server server;
    int port = kit_free_port();
    kit_server_start(&kit, &server, "a", port);
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kit_random(client, 32), KM_OK);
        kit_server_stop(&server);
        kit_server_start(&kit, &server, "a", port);
        int64_t start = km_monotonic_ms();
        assert_int_equal(kit_random(client, 32), KM_OK);
        assert_true(km_monotonic_ms() - start < 1000);
    }
    km_client_free(client);
    kit_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered_with_the_callers_identity),
        cmocka_unit_test(messages_of_any_size_cross_in_both_directions),
        cmocka_unit_test(an_answer_may_come_later_from_another_thread),
        cmocka_unit_test(genuine_nng_is_served),
        cmocka_unit_test(garbage_at_the_port_closes_that_connection_only),
        cmocka_unit_test(a_second_message_before_the_answer_closes_the_pipe),
        cmocka_unit_test(a_thousand_silent_connections_disturb_nobody),
        cmocka_unit_test(a_stranger_is_told_why_and_counted),
        cmocka_unit_test(a_restarted_server_is_not_noticed),
    };
    int n_failed = cmocka_run_group_tests(tests, setup, teardown);
    if (n_failed == 0)
        nng_fini(); /* its threads would end at some time after us, and be taken for leaks */
    return n_failed;
}
