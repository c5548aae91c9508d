/* SPDX-License-Identifier: Apache-2.0
 *
 * Front doors and clients in one process: a server whose handler answers Random with that many bytes and Use with the data it got.
 */
#ifndef KM_TESTS_NET_KIT_H
#define KM_TESTS_NET_KIT_H

#include "../../common/client.h"
#include "../../common/sp.h"
#include "../../server/net/front.h"
#include "pki.h"

#include <pthread.h>
#include <stdatomic.h>

struct kit {
    struct pki pki, foreign; /* the cluster's CA, and somebody else's */
};
void kit_init(struct kit *kit);
void kit_fini(struct kit *kit);

struct kit_server {
    struct km_front *front;
    int port;
    char name[16];
    atomic_int delay_ms;  /* > 0: answers that much later, on another thread */
    atomic_int verdict;   /* Kmw__Reply__Verdict of the answers to come */
    atomic_int n_calls;
    atomic_int n_late;    /* threads that have yet to answer */
    uint64_t index;
    char last_identity[KM_IDENTITY_MAX];
};
int kit_free_port(void);
void kit_server_start(struct kit *kit, struct kit_server *server, const char *name, int port);
void kit_server_stop(struct kit_server *server);

/* A client with the certificate `who` for `n` servers; deadlines: call 2000 ms, connect 500 ms, attempt 800 ms. */
struct km_client *kit_client(struct kit *kit, const char *who, struct kit_server *servers, size_t n);
/* Calls that check what comes back. */
enum km_err kit_random(struct km_client *client, size_t len);
enum km_err kit_echo(struct km_client *client, size_t len);

/* A TCP connection from 127.0.0.1, or 127.0.0.2. */
int kit_connect(int port, bool is_other_source);

/* An authenticated connection to misuse. */
struct kit_raw {
    struct km_sp sp;
    struct km_channel *channel;
    uint32_t id;
};
void kit_raw_open(struct kit *kit, struct kit_raw *raw, const char *who, const char *server, int port);
void kit_raw_send(struct kit_raw *raw, const char *data, size_t len);
bool kit_raw_is_closed(struct kit_raw *raw, int within_ms);
void kit_raw_close(struct kit_raw *raw);

#endif
