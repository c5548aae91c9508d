/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../common/sp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A listening socket of ours on a free port. */
static int listener(int *ret_port)
{
    struct sockaddr_in addr = loopback(0);
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

static enum km_err connect_to(struct km_sp *sp, int port)
{
    struct sockaddr_in addr = loopback(port);
    int64_t deadline = km_monotonic_ms() + 2000;
    enum km_err err = km_sp_dial(sp, (struct sockaddr *)&addr, sizeof(addr));
    while (err == KM_OK && sp->state != KM_SP_OPEN) {
        struct pollfd fd = {sp->fd, km_sp_events(sp), 0};
        if (km_monotonic_ms() > deadline)
            return KM_ERR_TIMEOUT;
        poll(&fd, 1, 100);
        if (fd.revents != 0)
            err = km_sp_advance(sp);
    }
    return err;
}

/* Genuine nng, cooked mode: doubles every byte string it gets. */
static void *doubler(void *arg)
{
    nng_socket *rep = arg;
    nng_msg *msg;
    while (nng_recvmsg(*rep, &msg, 0) == 0) {
        size_t len = nng_msg_len(msg);
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, nng_msg_body(msg), len);
        nng_msg_append(msg, copy, len);
        free(copy);
        if (nng_sendmsg(*rep, msg, 0) != 0)
            nng_msg_free(msg);
    }
    return NULL;
}

static void we_speak_to_genuine_nng(void **state)
{
    (void)state;
    nng_socket rep;
    nng_listener l;
    pthread_t thread;
    int port;
    assert_int_equal(nng_rep0_open(&rep), 0);
    assert_int_equal(nng_listen(rep, "tcp://127.0.0.1:0", &l, 0), 0);
    assert_int_equal(nng_listener_get_int(l, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    pthread_create(&thread, NULL, doubler, &rep);
    struct km_sp sp;
    assert_int_equal(connect_to(&sp, port), KM_OK);
    static const size_t sizes[] = {0, 1, 300, 5000, 65535, 1000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *bytes = malloc(sizes[i] + 1);
        const uint8_t *reply;
        size_t len;
        bool is_sent;
        memset(bytes, (int)i, sizes[i] + 1);
        assert_int_equal(km_sp_exchange(&sp, bytes, sizes[i], 4000000, km_monotonic_ms() + 5000, &reply, &len, &is_sent), KM_OK);
        assert_int_equal(len, 2 * sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(reply + sizes[i], bytes, sizes[i]) == 0);
        free(bytes);
    }
    const uint8_t *reply;
    size_t len;
    bool is_sent;
    assert_int_equal(km_sp_exchange(&sp, (const uint8_t *)"hello", 5, 9, km_monotonic_ms() + 5000, &reply, &len, &is_sent), KM_ERR_PROTO);
    km_sp_close(&sp);
    nng_close(rep);
    pthread_join(thread, NULL);
}

static void read_fully(int fd, uint8_t *buf, size_t len)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = read(fd, buf + have, len - have);
        assert_true(n > 0);
        have += (size_t)n;
    }
}

/* The other direction: what a genuine nng REQ socket sends is what sp.c sends. */
static void genuine_nng_sends_what_we_send(void **state)
{
    (void)state;
    uint8_t genuine[2][8 + 12 + 3];
    int port, fd = listener(&port);
    for (int ours = 0; ours < 2; ours++) {
        nng_socket req = NNG_SOCKET_INITIALIZER;
        struct km_sp sp = KM_SP_CLOSED;
        struct sockaddr_in addr = loopback(port);
        nng_msg *msg = NULL;
        char url[64];
        snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", port);
        if (ours) {
            assert_int_equal(km_sp_dial(&sp, (struct sockaddr *)&addr, sizeof(addr)), KM_OK);
        } else {
            assert_int_equal(nng_req0_open(&req), 0);
            assert_int_equal(nng_dial(req, url, NULL, NNG_FLAG_NONBLOCK), 0);
        }
        int conn = accept(fd, NULL, NULL);
        assert_true(conn >= 0);
        static const uint8_t greeting[] = {0, 'S', 'P', 0, 0, KM_SP_PROTO_REP, 0, 0};
        assert_int_equal(write(conn, greeting, sizeof(greeting)), sizeof(greeting));
        if (ours) {
            const uint8_t *reply;
            size_t len;
            bool is_sent = false;
            for (int i = 0; i < 100 && sp.state != KM_SP_OPEN; i++) {
                struct pollfd p = {sp.fd, km_sp_events(&sp), 0};
                poll(&p, 1, 100);
                assert_int_equal(km_sp_advance(&sp), KM_OK);
            }
            assert_int_equal(km_sp_exchange(&sp, (const uint8_t *)"abc", 3, 100, km_monotonic_ms() + 50, &reply, &len, &is_sent), KM_ERR_TIMEOUT);
            assert_true(is_sent);
        } else {
            nng_msg_alloc(&msg, 0);
            nng_msg_append(msg, "abc", 3);
            assert_int_equal(nng_sendmsg(req, msg, 0), 0);
        }
        read_fully(conn, genuine[ours], sizeof(genuine[ours]));
        assert_true(genuine[ours][16] & 0x80); /* the request id, the only bytes that may differ */
        memset(genuine[ours] + 16, 0, 4);
        if (!ours)
            nng_close(req); /* first: it would dial again */
        close(conn);
        km_sp_close(&sp);
    }
    assert_memory_equal(genuine[0], genuine[1], sizeof(genuine[0]));
    close(fd);
}

struct script {
    int fd;
    const uint8_t *bytes;
    size_t len;
};

static void *play(void *arg)
{
    struct script *script = arg;
    uint8_t sink[64];
    int conn = accept(script->fd, NULL, NULL);
    assert_int_equal(write(conn, script->bytes, script->len), script->len);
    while (read(conn, sink, sizeof(sink)) > 0)
        ;
    close(conn);
    return NULL;
}

static void a_wrong_or_silent_server_is_an_error_within_the_deadline(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        enum km_err connecting, exchanging;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n", 26, KM_ERR_PROTO, 0},
        {"\0SP\0\0\x30\0\0", 8, KM_ERR_PROTO, 0},                             /* a REQ like us */
        {"\0SP\0\0\x31\0", 7, KM_ERR_TIMEOUT, 0},                              /* cut short */
        {"\0SP\0\0\x31\0\0", 8, KM_OK, KM_ERR_TIMEOUT},                        /* greets, then nothing */
        {"\0SP\0\0\x31\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16, KM_OK, KM_ERR_PROTO},
        {"\0SP\0\0\x31\0\0\0\0\0\0\0\0\0\3abc", 19, KM_OK, KM_ERR_PROTO},      /* no room for an id */
        {"\0SP\0\0\x31\0\0\0\0\0\0\0\0\0\4\x80\0\0\0", 20, KM_OK, KM_ERR_PROTO}, /* an answer to nothing we asked */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int port;
        struct script script = {listener(&port), (const uint8_t *)cases[i].bytes, cases[i].len};
        pthread_t thread;
        pthread_create(&thread, NULL, play, &script);
        struct km_sp sp;
        enum km_err err = connect_to(&sp, port);
        assert_int_equal(err, cases[i].connecting);
        if (err == KM_OK) {
            const uint8_t *reply;
            size_t len;
            bool is_sent;
            int64_t start = km_monotonic_ms();
            assert_int_equal(km_sp_exchange(&sp, (const uint8_t *)"x", 1, 1000, start + 200, &reply, &len, &is_sent), cases[i].exchanging);
            assert_true(km_monotonic_ms() - start < 400);
        }
        km_sp_close(&sp);
        pthread_join(thread, NULL);
        close(script.fd);
    }
}

static void nobody_there_is_a_net_error(void **state)
{
    (void)state;
    int port, fd = listener(&port);
    close(fd);
    struct km_sp sp;
    assert_int_equal(connect_to(&sp, port), KM_ERR_NET);
    assert_int_not_equal(sp.sys_errno, 0);
    km_sp_close(&sp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(we_speak_to_genuine_nng),
        cmocka_unit_test(genuine_nng_sends_what_we_send),
        cmocka_unit_test(a_wrong_or_silent_server_is_an_error_within_the_deadline),
        cmocka_unit_test(nobody_there_is_a_net_error),
    };
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (n_failed == 0)
        nng_fini(); /* its threads would end at some time after us, and be taken for leaks */
    return n_failed;
}
