/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../common/tls.h"
#include "pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct pki pki, other_pki;

static int setup(void **state)
{
    (void)state;
    pki_init(&pki);
    pki_init(&other_pki);
    pki_issue(&pki, "srv", "spiffe://c1/server/a", 10);
    pki_issue(&pki, "app", "spiffe://c1/client/app", 10);
    pki_issue(&pki, "old", "spiffe://c1/client/old", -1);
    pki_issue(&pki, "oldsrv", "spiffe://c1/server/a", -1);
    pki_issue(&pki, "c2app", "spiffe://c2/client/app", 10);
    pki_issue(&pki, "c2srv", "spiffe://c2/server/a", 10);
    pki_issue(&other_pki, "srv", "spiffe://c1/server/a", 10);
    pki_issue(&other_pki, "app", "spiffe://c1/client/app", 10);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_fini(&pki);
    pki_fini(&other_pki);
    return 0;
}

struct pair {
    struct km_channel *client, *server;
    enum km_err client_err, server_err;
    unsigned frames; /* sent by the client */
};

/* Runs a handshake to its end, however it ends. */
static struct pair shake(struct km_tls *client_tls, struct km_tls *server_tls, const char *expect, SSL_SESSION *resume)
{
    struct pair pair = {0};
    const uint8_t *in = NULL, *out;
    size_t in_len = 0, out_len;
    bool is_client_done = false, is_server_done = false;
    assert_int_equal(km_channel_new(client_tls, expect, resume, &pair.client), KM_OK);
    assert_int_equal(km_channel_new(server_tls, NULL, NULL, &pair.server), KM_OK);
    for (int i = 0; i < 10 && !is_client_done; i++) {
        pair.client_err = km_channel_handshake(pair.client, in, in_len, &out, &out_len, &is_client_done);
        if (is_client_done || out_len == 0)
            break;
        pair.frames++;
        enum km_err client_err = pair.client_err;
        pair.server_err = km_channel_handshake(pair.server, out, out_len, &in, &in_len, &is_server_done);
        if (client_err != KM_OK || in_len == 0)
            break;
    }
    km_tls_unref(client_tls);
    km_tls_unref(server_tls);
    return pair;
}

static void pair_free(struct pair *pair)
{
    km_channel_free(pair->client);
    km_channel_free(pair->server);
}

static struct pair good_pair(void)
{
    struct pair pair = shake(pki_tls(&pki, "app", &pki, false), pki_tls(&pki, "srv", &pki, true), "a", NULL);
    assert_int_equal(pair.client_err, KM_OK);
    assert_int_equal(pair.server_err, KM_OK);
    return pair;
}

static void send_across(struct km_channel *from, struct km_channel *to, size_t len, bool has_more)
{
    const uint8_t *frame, *data;
    size_t frame_len, data_len;
    bool more;
    uint8_t *message = malloc(len + 1);
    memset(message, 0x5a, len + 1);
    assert_int_equal(km_channel_seal(from, message, len, has_more, &frame, &frame_len), KM_OK);
    assert_true(frame_len <= KM_FRAME_MAX);
    assert_int_equal(km_channel_open(to, frame, frame_len, &data, &data_len, &more), KM_OK);
    assert_int_equal(data_len, len);
    assert_int_equal(more, has_more);
    assert_memory_equal(data, message, len);
    free(message);
}

static void two_exchanges_authenticate_both_ends(void **state)
{
    (void)state;
    struct pair pair = good_pair();
    assert_int_equal(pair.frames, 2);
    assert_string_equal(km_channel_peer(pair.client)->uri, "spiffe://c1/server/a");
    assert_string_equal(km_channel_peer(pair.server)->uri, "spiffe://c1/client/app");
    static const size_t sizes[] = {0, 1, 300, 4095, 4096, 16383, 16384, 40000, KM_PART_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        send_across(pair.client, pair.server, sizes[i], false);
        send_across(pair.server, pair.client, sizes[i], true);
    }
    pair_free(&pair);
}

static void a_resumed_connection_still_knows_who_is_there(void **state)
{
    (void)state;
    struct km_tls *server_tls = pki_tls(&pki, "srv", &pki, true);
    struct km_tls *client_tls = pki_tls(&pki, "app", &pki, false);
    struct pair first = shake(km_tls_ref(client_tls), km_tls_ref(server_tls), "a", NULL);
    SSL_SESSION *ticket = km_channel_take_session(first.client);
    assert_non_null(ticket);
    pair_free(&first);
    for (int i = 0; i < 2; i++) {
        struct pair again = shake(km_tls_ref(client_tls), km_tls_ref(server_tls), "a", ticket);
        assert_int_equal(again.client_err, KM_OK);
        assert_int_equal(again.server_err, KM_OK);
        assert_int_equal(SSL_session_reused(again.client->ssl), 1);
        assert_string_equal(km_channel_peer(again.server)->uri, "spiffe://c1/client/app");
        assert_string_equal(km_channel_peer(again.client)->uri, "spiffe://c1/server/a");
        send_across(again.client, again.server, 300, false);
        SSL_SESSION *next = km_channel_take_session(again.client);
        assert_non_null(next);
        SSL_SESSION_free(ticket);
        ticket = next;
        pair_free(&again);
    }
    /* A ticket of server a is of no use at a server that must be b. */
    struct pair wrong = shake(km_tls_ref(client_tls), km_tls_ref(server_tls), "b", ticket);
    assert_int_equal(wrong.client_err, KM_ERR_IDENTITY);
    pair_free(&wrong);
    SSL_SESSION_free(ticket);
    km_tls_unref(server_tls);
    km_tls_unref(client_tls);
}

/* The handshake fails at both ends, and the given one says why. */
static void expect_refusal(struct pair pair, bool is_by_server, const char *why)
{
    const char *reason = km_channel_reason(is_by_server ? pair.server : pair.client);
    const char *told = km_channel_reason(is_by_server ? pair.client : pair.server);
    print_message("   refused: %s; told: %s\n", reason, told);
    assert_int_not_equal(pair.client_err, KM_OK);
    assert_int_not_equal(pair.server_err, KM_OK);
    assert_null(km_channel_peer(pair.client));
    assert_null(km_channel_peer(pair.server));
    assert_non_null(strstr(reason, why));
    assert_int_not_equal(told[0], '\0');
    pair_free(&pair);
}

static void strangers_and_impostors_are_refused_with_a_reason(void **state)
{
    (void)state;
    expect_refusal(shake(pki_tls(&other_pki, "app", &pki, false), pki_tls(&pki, "srv", &pki, true), "a", NULL), true, "issuer");
    expect_refusal(shake(pki_tls(&pki, "app", &pki, false), pki_tls(&other_pki, "srv", &pki, true), "a", NULL), false, "issuer");
    expect_refusal(shake(pki_tls(&pki, "old", &pki, false), pki_tls(&pki, "srv", &pki, true), "a", NULL), true, "expired");
    expect_refusal(shake(pki_tls(&pki, "app", &pki, false), pki_tls(&pki, "oldsrv", &pki, true), "a", NULL), false, "expired");
    expect_refusal(shake(pki_tls(&pki, "app", &pki, false), pki_tls(&pki, "srv", &pki, true), "b", NULL), false, "another server");
}

/* A server end without km_tls_new's own checks: what an attacker would run with a client's certificate. */
static void a_clients_certificate_does_not_make_a_server(void **state)
{
    (void)state;
    char cert[160], key[160], message[256];
    struct km_tls *tls;
    pki_path(&pki, "app", "crt", cert);
    pki_path(&pki, "app", "key", key);
    assert_int_equal(km_tls_new("c1", cert, key, pki.ca_path, true, &tls, message, sizeof(message)), KM_ERR_IDENTITY);
    assert_non_null(strstr(message, "not a server's"));
    /* The certificate is swapped underneath: one that its key usage betrays, then one that only its role does. */
    for (int i = 0; i < 2; i++) {
        struct km_tls *rogue = pki_tls(&pki, "srv", &pki, true);
        pki.usage = i == 0 ? NULL : "";
        pki_issue(&pki, "rogue", "spiffe://c1/client/a", 10);
        pki.usage = NULL;
        pki_path(&pki, "rogue", "crt", cert);
        pki_path(&pki, "rogue", "key", key);
        assert_int_equal(SSL_CTX_use_certificate_file(rogue->ctx, cert, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(rogue->ctx, key, SSL_FILETYPE_PEM), 1);
        expect_refusal(shake(pki_tls(&pki, "app", &pki, false), rogue, "a", NULL), false, i == 0 ? "purpose" : "not a server's");
    }
}

static void another_cluster_is_refused(void **state)
{
    (void)state;
    char cert[160], key[160], message[256];
    struct km_tls *foreign;
    assert_int_equal(km_tls_new("c2", pki_path(&pki, "c2app", "crt", cert), pki_path(&pki, "c2app", "key", key), pki.ca_path, false,
                                &foreign, message, sizeof(message)), KM_OK);
    struct pair pair = shake(foreign, pki_tls(&pki, "srv", &pki, true), "a", NULL);
    assert_int_equal(pair.client_err, KM_ERR_IDENTITY);
    pair_free(&pair);
    assert_int_equal(km_tls_new("c1", cert, key, pki.ca_path, false, &foreign, message, sizeof(message)), KM_ERR_IDENTITY);
    assert_int_equal(km_tls_new("c2", pki_path(&pki, "c2srv", "crt", cert), pki_path(&pki, "c2srv", "key", key), pki.ca_path, true,
                                &foreign, message, sizeof(message)), KM_OK);
    expect_refusal(shake(pki_tls(&pki, "app", &pki, false), foreign, "a", NULL), false, "another cluster");
}

static void a_client_without_certificate_is_refused(void **state)
{
    (void)state;
    struct km_tls *naked = pki_tls(&pki, "app", &pki, false);
    SSL_CTX *bare = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(bare, SSL_VERIFY_PEER, SSL_CTX_get_verify_callback(naked->ctx));
    SSL_CTX_load_verify_file(bare, pki.ca_path);
    SSL_CTX_free(naked->ctx);
    naked->ctx = bare;
    expect_refusal(shake(naked, pki_tls(&pki, "srv", &pki, true), "a", NULL), true, "certificate");
}

static void bad_files_are_named(void **state)
{
    (void)state;
    char cert[160], key[160], other[160], message[256];
    struct km_tls *tls = NULL;
    pki_path(&pki, "app", "crt", cert);
    pki_path(&pki, "app", "key", key);
    pki_path(&pki, "srv", "key", other);
    assert_int_equal(km_tls_new("c1", "/nonexistent", key, pki.ca_path, false, &tls, message, sizeof(message)), KM_ERR_IO);
    assert_non_null(strstr(message, "/nonexistent: No such file"));
    assert_int_equal(km_tls_new("c1", key, key, pki.ca_path, false, &tls, message, sizeof(message)), KM_ERR_TLS);
    assert_int_equal(km_tls_new("c1", cert, other, pki.ca_path, false, &tls, message, sizeof(message)), KM_ERR_TLS);
    assert_non_null(strstr(message, "not the key"));
    assert_int_equal(km_tls_new("c1", cert, cert, key, false, &tls, message, sizeof(message)), KM_ERR_TLS);
    assert_int_equal(chmod(key, 0644), 0);
    assert_int_equal(km_tls_new("c1", cert, key, pki.ca_path, false, &tls, message, sizeof(message)), KM_ERR_IO);
    assert_non_null(strstr(message, "open to others"));
    assert_int_equal(chmod(key, 0600), 0);
    assert_null(tls);
}

static void garbage_is_an_error_and_nothing_else(void **state)
{
    (void)state;
    struct km_tls *tls = pki_tls(&pki, "srv", &pki, true);
    const uint8_t *out;
    size_t out_len;
    bool done;
    srand(1);
    for (int round = 0; round < 2000; round++) {
        struct km_channel *server;
        uint8_t bytes[300];
        size_t len = (size_t)rand() % sizeof(bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rand();
        if (round % 2 == 0 && len > 16) { /* get past the magic, and past the record layer */
            memcpy(bytes, "\x01KMT\x01\x16\x03\x01", 8);
            bytes[8] = (uint8_t)((len - 10) >> 8);
            bytes[9] = (uint8_t)(len - 10);
        }
        assert_int_equal(km_channel_new(tls, NULL, NULL, &server), KM_OK);
        assert_int_not_equal(km_channel_handshake(server, bytes, len, &out, &out_len, &done), KM_OK);
        assert_false(done);
        km_channel_free(server);
    }
    km_tls_unref(tls);
}

/* Frames changed, cut, doubled or swapped on the way: every one an error. */
static void a_frame_that_was_touched_is_refused(void **state)
{
    (void)state;
    for (int what = 0; what < 6; what++) {
        struct pair pair = good_pair();
        const uint8_t *frame, *data;
        size_t len, data_len;
        bool more;
        assert_int_equal(km_channel_seal(pair.client, (const uint8_t *)"hello", 5, false, &frame, &len), KM_OK);
        uint8_t *copy = malloc(2 * len);
        memcpy(copy, frame, len);
        memcpy(copy + len, frame + 1, len - 1);
        switch (what) {
        case 0:
            copy[len - 1] ^= 1;
            break;
        case 1:
            copy[0] = 3; /* DATA made MORE */
            break;
        case 2:
            len--;
            break;
        case 3:
            len = 2 * len - 1; /* the same records twice */
            break;
        case 4:
            len = 1;
            break;
        case 5:
            len = 0;
            break;
        }
        assert_int_not_equal(km_channel_open(pair.server, copy, len, &data, &data_len, &more), KM_OK);
        assert_int_not_equal(km_channel_reason(pair.server)[0], '\0');
        free(copy);
        pair_free(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_exchanges_authenticate_both_ends),
        cmocka_unit_test(a_resumed_connection_still_knows_who_is_there),
        cmocka_unit_test(strangers_and_impostors_are_refused_with_a_reason),
        cmocka_unit_test(a_clients_certificate_does_not_make_a_server),
        cmocka_unit_test(another_cluster_is_refused),
        cmocka_unit_test(a_client_without_certificate_is_refused),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(garbage_is_an_error_and_nothing_else),
        cmocka_unit_test(a_frame_that_was_touched_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
