/* SPDX-License-Identifier: Apache-2.0
 *
 * What the path costs: p50 and p99 of a 300-byte echo, client to front door and back, in one process, beside the same through a
 * bare blocking TLS 1.3 socket. Not a test: prints, claims nothing.  net-echo [ROUNDS]
 */
#include "../unit/net_kit.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LEN 300

static struct kit kit;

static double now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double report(const char *what, double *us, int n)
{
    qsort(us, (size_t)n, sizeof(us[0]), compare);
    printf("%-12s p50 %7.1f us  p99 %7.1f us\n", what, us[n / 2], us[n * 99 / 100]);
    return us[n / 2];
}

static SSL *tls_on(int fd, const char *who, bool is_server)
{
    char path[160];
    const int on = 1;
    SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    assert(SSL_CTX_use_certificate_file(ctx, pki_path(&kit.pki, who, "crt", path), SSL_FILETYPE_PEM) == 1);
    assert(SSL_CTX_use_PrivateKey_file(ctx, pki_path(&kit.pki, who, "key", path), SSL_FILETYPE_PEM) == 1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    assert((is_server ? SSL_accept(ssl) : SSL_connect(ssl)) == 1);
    return ssl;
}

static void *bare_server(void *arg)
{
    char bytes[LEN];
    int fd = accept(*(int *)arg, NULL, NULL);
    SSL *ssl = tls_on(fd, "a", true);
    for (int n; (n = SSL_read(ssl, bytes, LEN)) > 0;)
        SSL_write(ssl, bytes, n);
    return NULL;
}

static void bare(double *us, int rounds)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    pthread_t thread;
    char bytes[LEN] = {0};
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    assert(bind(listener, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(listener, 1) == 0);
    assert(getsockname(listener, (struct sockaddr *)&addr, &len) == 0);
    pthread_create(&thread, NULL, bare_server, &listener);
    assert(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
    SSL *ssl = tls_on(fd, "app", false);
    for (int i = 0; i < rounds; i++) {
        double start = now_us();
        assert(SSL_write(ssl, bytes, LEN) == LEN && SSL_read(ssl, bytes, LEN) == LEN);
        us[i] = now_us() - start;
    }
    shutdown(fd, SHUT_RDWR);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20000;
    double *us = calloc((size_t)rounds, sizeof(*us));
    struct kit_server server;
    kit_init(&kit);
    kit_server_start(&kit, &server, "a", kit_free_port());
    struct km_client *client = kit_client(&kit, "app", &server, 1);
    for (int i = -1000; i < rounds; i++) {
        double start = now_us();
        enum km_err err = kit_echo(client, LEN);
        assert(err == KM_OK);
        if (i >= 0)
            us[i] = now_us() - start;
    }
    double ours = report("client-front", us, rounds);
    bare(us, rounds);
    double theirs = report("bare TLS", us, rounds);
    printf("ratio of p50 %.2f\n", ours / theirs);
    km_client_free(client);
    kit_server_stop(&server);
    kit_fini(&kit);
    free(us);
    return 0;
}
