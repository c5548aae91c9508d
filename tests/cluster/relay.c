/* SPDX-License-Identifier: Apache-2.0
 *
 * relay LISTEN_PORT TARGET_PORT CUT_FILE: a TCP relay on loopback that loses replies. While CUT_FILE exists, the next whole nng
 * message from the server is not forwarded: the file is removed and both sides of that connection are closed. The
 * request has reached the server and was answered by then, so this is the cut "after commit, before the reply". One thread, poll.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS_MAX = 128, GREETING = 8 };

static struct pair {
    int client, server;
    uint64_t passed; /* bytes from the server so far; the first 8 are nng's greeting */
} pairs[PAIRS_MAX];
static unsigned n_pairs;

static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Forwards what is there; false when the pair is over. */
static bool forward(struct pair *p, bool from_server, const char *cut_file)
{
    uint8_t buf[65536];
    int from = from_server ? p->server : p->client, to = from_server ? p->client : p->server;
    ssize_t n = recv(from, buf, sizeof(buf), 0);
    if (n <= 0)
        return false;
    if (from_server && p->passed >= GREETING && unlink(cut_file) == 0) {
        printf("cut\n");
        fflush(stdout);
        return false;
    }
    if (from_server)
        p->passed += (uint64_t)n;
    for (ssize_t at = 0; at < n;) {
        ssize_t m = send(to, buf + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (m <= 0)
            return false;
        at += m;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: relay LISTEN_PORT TARGET_PORT CUT_FILE\n", stderr);
        return 2;
    }
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listener, 64) != 0) {
        perror("relay: listen");
        return 1;
    }
    for (;;) {
        struct pollfd fds[1 + 2 * PAIRS_MAX] = {{.fd = n_pairs < PAIRS_MAX ? listener : -1, .events = POLLIN}};
        for (unsigned i = 0; i < n_pairs; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = pairs[i].client, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = pairs[i].server, .events = POLLIN};
        }
        unsigned n = n_pairs;
        if (poll(fds, 1 + 2 * n, -1) < 0)
            return 1;
        for (unsigned i = n; i-- > 0;) {
            bool ok = true;
            if (fds[1 + 2 * i].revents)
                ok = forward(&pairs[i], false, argv[3]);
            if (ok && fds[2 + 2 * i].revents)
                ok = forward(&pairs[i], true, argv[3]);
            if (!ok) {
                close(pairs[i].client);
                close(pairs[i].server);
                pairs[i] = pairs[--n_pairs];
            }
        }
        if (fds[0].revents) {
            int client = accept(listener, NULL, NULL);
            int server = client < 0 ? -1 : dial((uint16_t)atoi(argv[2]));
            if (server < 0) {
                if (client >= 0)
                    close(client);
                continue;
            }
            pairs[n_pairs++] = (struct pair){client, server, 0};
        }
    }
}
