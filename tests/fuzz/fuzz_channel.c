/* SPDX-License-Identifier: Apache-2.0
 *
 * The channel before anybody is authenticated: what a stranger's frames do to a server, and a false server's to a
 * client. The input is a byte (which end) and frames, each after its length in two bytes. Without a private key of this
 * cluster no handshake may ever be done.
 */
#include "fuzz.h"

#include "../unit/pki.h"

#include <stdlib.h>
#include <string.h>

#define FRAMES_MAX 8

static struct pki pki;
static struct km_tls *server_tls, *client_tls;

static void make_world(void)
{
    if (server_tls != NULL)
        return;
    pki_init(&pki);
    pki_issue(&pki, "a", "spiffe://c1/server/a", 10);
    pki_issue(&pki, "app", "spiffe://c1/client/app", 10);
    server_tls = pki_tls(&pki, "a", &pki, true);
    client_tls = pki_tls(&pki, "app", &pki, false);
    pki_fini(&pki); /* the files; what was read stays */
}

static size_t put_frame(uint8_t *out, size_t at, const uint8_t *frame, size_t len)
{
    out[at] = (uint8_t)(len >> 8);
    out[at + 1] = (uint8_t)len;
    memcpy(out + at + 2, frame, len);
    return at + 2 + len;
}

/* A genuine handshake, as each of the two ends hears it. */
void fuzz_seeds(void (*add)(const void *data, size_t len))
{
    static uint8_t to_server[65536], to_client[65536];
    size_t server_len = 1, client_len = 1;
    struct km_channel *client, *server;
    const uint8_t *in = NULL, *out;
    size_t in_len = 0, out_len;
    bool is_client_done = false, is_server_done = false;
    make_world();
    to_server[0] = 0;
    to_client[0] = 1;
    assert(km_channel_new(client_tls, "a", NULL, &client) == KM_OK &&
           km_channel_new(server_tls, NULL, NULL, &server) == KM_OK);
    for (int i = 0; i < 10 && !is_client_done; i++) {
        assert(km_channel_handshake(client, in, in_len, &out, &out_len, &is_client_done) == KM_OK);
        if (out_len == 0)
            break;
        server_len = put_frame(to_server, server_len, out, out_len);
        add(to_server, server_len);
        assert(km_channel_handshake(server, out, out_len, &in, &in_len, &is_server_done) == KM_OK);
        client_len = put_frame(to_client, client_len, in, in_len);
        add(to_client, client_len);
    }
    assert(is_client_done && is_server_done);
    km_channel_free(client);
    km_channel_free(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    make_world();
    if (len == 0)
        return 0;
    bool is_client = data[0] & 1, is_done = false;
    struct km_channel *channel;
    const uint8_t *out;
    size_t out_len = 0, at = 1;
    assert(km_channel_new(is_client ? client_tls : server_tls, is_client ? "a" : NULL, NULL, &channel) == KM_OK);
    enum km_err err = is_client ? km_channel_handshake(channel, NULL, 0, &out, &out_len, &is_done) : KM_OK;
    for (int i = 0; i < FRAMES_MAX && err == KM_OK && len - at >= 2; i++) {
        size_t frame_len = (size_t)data[at] << 8 | data[at + 1];
        at += 2;
        frame_len = frame_len < len - at ? frame_len : len - at;
        err = km_channel_handshake(channel, data + at, frame_len, &out, &out_len, &is_done);
        assert(!is_done && out_len <= KM_FRAME_MAX);
        at += frame_len;
    }
    assert(err == KM_OK || km_channel_reason(channel)[0] != '\0');
    assert(km_channel_peer(channel) == NULL);
    km_channel_free(channel);
    return 0;
}
