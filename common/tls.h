/* SPDX-License-Identifier: Apache-2.0
 *
 * What channel.c and tls.c know of each other: the certificates and trust of one side, and the BIO through which
 * OpenSSL reads one frame and writes the next.
 */
#ifndef KM_COMMON_TLS_H
#define KM_COMMON_TLS_H

#include "channel.h"

#include <stdatomic.h>

#define KM_REASON_MAX 384

struct km_tls {
    atomic_int refs;
    SSL_CTX *ctx;
    BIO_METHOD *bio; /* here and not static: nothing global in a host process */
    char cluster[KM_NAME_MAX + 1];
    struct km_identity self;
    bool is_server;
};

/* One frame coming in, borrowed, and one going out, owned. */
struct km_frame_io {
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len, out_cap;
};

struct km_channel {
    struct km_tls *tls;
    SSL *ssl;
    struct km_frame_io io;
    enum { KM_CH_HANDSHAKE, KM_CH_CONFIRM, KM_CH_OPEN, KM_CH_FAILED } state;
    bool is_begun;
    uint8_t *plain; /* the part opened last; wiped by the next km_channel_open */
    size_t plain_len, plain_cap;
    SSL_SESSION *ticket;
    struct km_identity peer;
    char expect[KM_NAME_MAX + 1]; /* client: the server's name */
    char shown[KM_IDENTITY_MAX];  /* what the other end's certificate says, believed or not; for messages only */
    char reason[KM_REASON_MAX];
};

/* Says in channel->reason why this certificate will not do for the other end; NULL if it does. Used while the handshake verifies it
 * and again once it is done, since a resumed session verifies nothing. */
enum km_err km_channel_accept(struct km_channel *channel, X509 *cert);

#endif
