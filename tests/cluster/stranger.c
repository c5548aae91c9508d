/* SPDX-License-Identifier: Apache-2.0
 *
 * stranger PORT KIND [COUNT]: an unauthenticated client that behaves badly at a server's front door, and says what the server did.
 *   silent     COUNT connections that never send a byte
 *   greeted    COUNT connections that speak nng's greeting and then fall silent
 *   garbage    COUNT connections that send random bytes
 *   oversized  COUNT connections that announce a message of 1 TiB and begin to send it
 *   truncated  COUNT connections that send half a message and close
 *   pipelined  COUNT connections that send ten requests at once before any handshake
 * Waits until the server has closed every connection that it took (or 15 s) and prints how many it closed and how long the longest
 * stood open (counted from its own connect: a full backlog makes a thousand connects take seconds).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { COUNT_MAX = 4000, PATIENCE_S = 15 };

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};

static void put(int fd, const void *data, size_t len)
{
    if (send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EPIPE && errno != ECONNRESET)
        perror("send");
}

static void put_message(int fd, uint64_t announced, const uint8_t *body, size_t len)
{
    uint8_t head[8];
    for (int i = 0; i < 8; i++)
        head[i] = (uint8_t)(announced >> (56 - 8 * i));
    put(fd, head, sizeof(head));
    put(fd, body, len);
}

static void misbehave(int fd, const char *kind, unsigned seed)
{
    uint8_t junk[4096];
    for (size_t i = 0; i < sizeof(junk); i++)
        junk[i] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
    if (!strcmp(kind, "silent"))
        return;
    if (!strcmp(kind, "garbage")) {
        put(fd, junk, sizeof(junk));
        return;
    }
    put(fd, greeting, sizeof(greeting));
    junk[0] |= 0x80; /* a request id that nng accepts */
    if (!strcmp(kind, "oversized"))
        put_message(fd, 1ull << 40, junk, sizeof(junk));
    else if (!strcmp(kind, "truncated"))
        put_message(fd, sizeof(junk), junk, sizeof(junk) / 2);
    else if (!strcmp(kind, "pipelined"))
        for (int i = 0; i < 10; i++)
            put_message(fd, 64, junk, 64);
    if (!strcmp(kind, "truncated"))
        shutdown(fd, SHUT_WR);
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"silent", "greeted", "garbage", "oversized", "truncated", "pipelined"};
    bool known = false;
    int count = argc > 3 ? atoi(argv[3]) : 1;
    for (size_t i = 0; argc > 2 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        known |= !strcmp(argv[2], kinds[i]);
    if (!known || count < 1 || count > COUNT_MAX) {
        fputs("usage: stranger PORT silent|greeted|garbage|oversized|truncated|pipelined [COUNT]\n", stderr);
        return 2;
    }
    struct rlimit files = {COUNT_MAX + 64, COUNT_MAX + 64};
    setrlimit(RLIMIT_NOFILE, &files);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pollfd *fds = calloc((size_t)count, sizeof(*fds));
    double *opened = calloc((size_t)count, sizeof(*opened));
    int open_now = 0, refused = 0;
    if (fds == NULL || opened == NULL)
        return 2;
    for (int i = 0; i < count; i++) {
        fds[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        fds[i].events = POLLIN;
        if (fds[i].fd < 0 || connect(fds[i].fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
            refused++;
            if (fds[i].fd >= 0)
                close(fds[i].fd);
            fds[i].fd = -1;
            continue;
        }
        open_now++;
        opened[i] = now_s();
        misbehave(fds[i].fd, argv[2], (unsigned)i + 1);
    }
    int taken = open_now;
    double start = now_s(), longest = 0;
    while (open_now > 0 && now_s() - start < PATIENCE_S) {
        poll(fds, (nfds_t)count, 200);
        for (int i = 0; i < count; i++) {
            uint8_t buf[512];
            if (fds[i].fd < 0 || !(fds[i].revents & (POLLIN | POLLHUP | POLLERR)))
                continue;
            ssize_t n = recv(fds[i].fd, buf, sizeof(buf), MSG_DONTWAIT);
            if (n > 0 || (n < 0 && errno == EAGAIN))
                continue; /* nng's greeting */
            close(fds[i].fd);
            fds[i].fd = -1;
            open_now--;
            if (now_s() - opened[i] > longest)
                longest = now_s() - opened[i];
        }
    }
    printf("{\"kind\":\"%s\",\"connections\":%d,\"refused\":%d,\"closed\":%d,\"left\":%d,\"longest_open_s\":%.1f}\n", argv[2], taken,
           refused, taken - open_now, open_now, longest);
    free(fds);
    free(opened);
    return open_now != 0;
}
