/* SPDX-License-Identifier: Apache-2.0
 *
 * One TLS 1.3 connection whose records travel in frames, without a socket. Two invariants: nothing is believed that TLS
 * does not protect (the kind byte in front of a frame is repeated inside it, so nobody on the way can cut a message short or join
 * two), and a frame is whole records, all of them used up. One thread at a time; the caller locks.
 */
#include "tls.h"

#include "secret.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Frames, in Wireshark's eyes: kind, then (first frame of a client) magic and version, then TLS records. */
enum kind { KM_FRAME_HANDSHAKE = 1, KM_FRAME_DATA = 2, KM_FRAME_MORE = 3 };
static const uint8_t magic[] = {'K', 'M', 'T', KM_FRAME_VERSION};

#define RECORD_HEAD 5u                  /* type, version, length */
#define RECORD_MAX (16384u + 256u)      /* RFC 8446 5.2 */
#define PLAIN_KEPT 4096u                /* bytes of buffer that an idle channel keeps */
#define SMALL_PART_MAX 2048u            /* sealed from the stack */

static enum km_err refuse(struct km_channel *channel, enum km_err err, const char *why)
{
    channel->state = KM_CH_FAILED;
    snprintf(channel->reason, sizeof(channel->reason), "%s%s%s", channel->shown, channel->shown[0] != '\0' ? ": " : "", why);
    return err;
}

/* OpenSSL said no, maybe because verify_cb told it so; then the reason stands already. */
static enum km_err refuse_tls(struct km_channel *channel, const char *what)
{
    enum km_err err = channel->state == KM_CH_FAILED ? KM_ERR_IDENTITY : KM_ERR_TLS;
    unsigned long code = ERR_peek_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    channel->state = KM_CH_FAILED;
    if (channel->reason[0] == '\0')
        snprintf(channel->reason, sizeof(channel->reason), "%s%s%s: %s", channel->shown,
                 channel->shown[0] != '\0' ? ": " : "", what, text != NULL ? text : "closed by the other end");
    ERR_clear_error();
    return err;
}

enum km_err km_channel_accept(struct km_channel *channel, X509 *cert)
{
    struct km_identity id;
    if (cert == NULL)
        return refuse(channel, KM_ERR_IDENTITY, "no certificate");
    if (km_identity_of(cert, &id) != KM_OK)
        return refuse(channel, KM_ERR_IDENTITY, "certificate without exactly one URI spiffe://<cluster>/<role>/<name>");
    memcpy(channel->shown, id.uri, sizeof(channel->shown));
    if (strcmp(id.cluster, channel->tls->cluster) != 0)
        return refuse(channel, KM_ERR_IDENTITY, "certificate of another cluster");
    if (id.not_after < (long long)time(NULL))
        return refuse(channel, KM_ERR_IDENTITY, "certificate has expired");
    if (!channel->tls->is_server && id.role != KM_ROLE_SERVER)
        return refuse(channel, KM_ERR_IDENTITY, "not a server's certificate");
    if (!channel->tls->is_server && strcmp(id.name, channel->expect) != 0)
        return refuse(channel, KM_ERR_IDENTITY, "certificate of another server than the one asked for");
    channel->peer = id;
    return KM_OK;
}

enum km_err km_channel_new(struct km_tls *tls, const char *expect_server, SSL_SESSION *resume, struct km_channel **ret)
{
    assert((expect_server == NULL) == tls->is_server);
    BIO *bio = NULL;
    struct km_channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return KM_ERR_NOMEM;
    channel->tls = km_tls_ref(tls);
    if (expect_server != NULL)
        snprintf(channel->expect, sizeof(channel->expect), "%s", expect_server);
    ERR_clear_error();
    channel->ssl = SSL_new(tls->ctx);
    bio = BIO_new(tls->bio);
    if (channel->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        km_channel_free(channel);
        ERR_clear_error();
        return KM_ERR_NOMEM;
    }
    BIO_set_data(bio, &channel->io);
    BIO_set_init(bio, 1);
    SSL_set_bio(channel->ssl, bio, bio);
    SSL_set_app_data(channel->ssl, channel);
    if (tls->is_server)
        SSL_set_accept_state(channel->ssl);
    else
        SSL_set_connect_state(channel->ssl);
    if (resume != NULL && SSL_set_session(channel->ssl, resume) != 1)
        ERR_clear_error(); /* a full handshake will do */
    *ret = channel;
    return KM_OK;
}

static void wipe_plain(struct km_channel *channel)
{
    if (channel->plain_len > 0)
        km_wipe(channel->plain, channel->plain_len);
    channel->plain_len = 0;
    if (channel->plain_cap > PLAIN_KEPT) {
        free(channel->plain);
        channel->plain = NULL;
        channel->plain_cap = 0;
    }
}

void km_channel_free(struct km_channel *channel)
{
    if (channel == NULL)
        return;
    /* No close_notify is sent; without this OpenSSL would take the session for a broken one and spoil its ticket. */
    if (channel->ssl != NULL)
        SSL_set_shutdown(channel->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(channel->ssl);
    SSL_SESSION_free(channel->ticket);
    wipe_plain(channel);
    free(channel->plain);
    free(channel->io.out);
    km_tls_unref(channel->tls);
    free(channel);
}

/* Starts the frame that goes out next. */
static enum km_err begin_frame(struct km_channel *channel, enum kind kind)
{
    struct km_frame_io *io = &channel->io;
    if (io->out_cap > PLAIN_KEPT && io->out_len <= PLAIN_KEPT) {
        free(io->out);
        io->out = NULL;
        io->out_cap = 0;
    }
    if (io->out_cap == 0) {
        io->out = malloc(1024);
        if (io->out == NULL)
            return KM_ERR_NOMEM;
        io->out_cap = 1024;
    }
    io->out[0] = (uint8_t)kind;
    io->out_len = 1;
    return KM_OK;
}

/* True if `data` is whole TLS records and nothing else. */
static bool are_records(const uint8_t *data, size_t len)
{
    while (len > 0) {
        if (len < RECORD_HEAD)
            return false;
        size_t record = (size_t)data[3] << 8 | data[4];
        if (record == 0 || record > RECORD_MAX || len - RECORD_HEAD < record)
            return false;
        data += RECORD_HEAD + record;
        len -= RECORD_HEAD + record;
    }
    return true;
}

/* Points the BIO at the records of a frame of the handshake. */
static enum km_err take_handshake(struct km_channel *channel, const uint8_t *in, size_t in_len)
{
    if (in_len < 1 || in_len > KM_FRAME_MAX || in[0] != KM_FRAME_HANDSHAKE)
        return refuse(channel, KM_ERR_PROTO, "not a handshake frame");
    in++, in_len--;
    if (channel->tls->is_server && !channel->is_begun) {
        if (in_len < sizeof(magic) || memcmp(in, magic, sizeof(magic) - 1) != 0)
            return refuse(channel, KM_ERR_PROTO, "not a keymoot client");
        if (in[sizeof(magic) - 1] != KM_FRAME_VERSION)
            return refuse(channel, KM_ERR_VERSION, "client speaks another version of frames");
        in += sizeof(magic), in_len -= sizeof(magic);
    }
    if (!are_records(in, in_len))
        return refuse(channel, KM_ERR_PROTO, "broken TLS records");
    channel->io.in = in;
    channel->io.in_len = in_len;
    return KM_OK;
}

/* One step of OpenSSL's handshake; what it wrote is in io.out also when it failed (an alert). */
static enum km_err step(struct km_channel *channel, bool *ret_done)
{
    int n = SSL_do_handshake(channel->ssl);
    if (n == 1) {
        X509 *cert = SSL_get1_peer_certificate(channel->ssl);
        enum km_err err = km_channel_accept(channel, cert);
        X509_free(cert);
        if (err != KM_OK)
            return err;
        if (channel->io.in_len > 0)
            return refuse(channel, KM_ERR_PROTO, "more than the handshake in its frame");
        /* A client does not know yet whether it was let in: the server's answer to its last flight tells. */
        channel->state = channel->tls->is_server ? KM_CH_OPEN : KM_CH_CONFIRM;
        *ret_done = channel->tls->is_server;
        return KM_OK;
    }
    if (SSL_get_error(channel->ssl, n) != SSL_ERROR_WANT_READ)
        return refuse_tls(channel, "TLS handshake failed");
    if (channel->io.in_len > 0 || channel->io.out_len <= 1)
        return refuse(channel, KM_ERR_PROTO, "incomplete TLS flight");
    return KM_OK;
}

/* The client's last step: the server's tickets, or its refusal. */
static enum km_err confirm(struct km_channel *channel, bool *ret_done)
{
    uint8_t byte;
    size_t n;
    if (SSL_read_ex(channel->ssl, &byte, 1, &n) == 1)
        return refuse(channel, KM_ERR_PROTO, "data inside the handshake");
    if (SSL_get_error(channel->ssl, 0) != SSL_ERROR_WANT_READ)
        return refuse_tls(channel, "the server refused our certificate");
    channel->state = KM_CH_OPEN;
    channel->io.out_len = 0;
    *ret_done = true;
    return KM_OK;
}

enum km_err km_channel_handshake(struct km_channel *channel, const uint8_t *in, size_t in_len,
                                 const uint8_t **ret_frame, size_t *ret_len, bool *ret_done)
{
    enum km_err err;
    bool is_first_of_client = !channel->tls->is_server && !channel->is_begun;
    *ret_len = 0;
    *ret_done = false;
    if (channel->state != KM_CH_HANDSHAKE && channel->state != KM_CH_CONFIRM)
        return KM_ERR_PROTO;
    assert(is_first_of_client == (in == NULL));
    ERR_clear_error();
    err = begin_frame(channel, KM_FRAME_HANDSHAKE);
    if (err != KM_OK)
        return err;
    if (is_first_of_client) {
        memcpy(channel->io.out + 1, magic, sizeof(magic));
        channel->io.out_len += sizeof(magic);
    } else {
        err = take_handshake(channel, in, in_len);
        if (err != KM_OK)
            return err;
    }
    channel->is_begun = true;
    err = channel->state == KM_CH_CONFIRM ? confirm(channel, ret_done) : step(channel, ret_done);
    channel->io.in = NULL;
    channel->io.in_len = 0;
    if (err == KM_OK && channel->io.out_len > KM_FRAME_MAX)
        err = refuse(channel, KM_ERR_PROTO, "certificate chain too long for a frame");
    if (err != KM_OK && (channel->io.out_len <= 1 || channel->io.out_len > KM_FRAME_MAX))
        return err;
    *ret_frame = channel->io.out;
    *ret_len = channel->io.out_len;
    return err;
}

static enum km_err reserve_plain(struct km_channel *channel, size_t size)
{
    if (size <= channel->plain_cap)
        return KM_OK;
    uint8_t *plain = malloc(size);
    if (plain == NULL)
        return KM_ERR_NOMEM;
    free(channel->plain); /* wiped already */
    channel->plain = plain;
    channel->plain_cap = size;
    return KM_OK;
}

enum km_err km_channel_seal(struct km_channel *channel, const uint8_t *data, size_t len, bool has_more,
                            const uint8_t **ret_frame, size_t *ret_len)
{
    assert(len <= KM_PART_MAX);
    enum kind kind = has_more ? KM_FRAME_MORE : KM_FRAME_DATA;
    uint8_t small[1 + SMALL_PART_MAX], *plain = small;
    size_t written;
    if (channel->state != KM_CH_OPEN)
        return KM_ERR_TLS;
    enum km_err err = begin_frame(channel, kind);
    if (err != KM_OK)
        return err;
    if (len > SMALL_PART_MAX) {
        plain = malloc(1 + len);
        if (plain == NULL)
            return KM_ERR_NOMEM;
    }
    plain[0] = (uint8_t)kind;
    if (len > 0)
        memcpy(plain + 1, data, len); /* not into channel->plain: `data` may be the message just opened */
    ERR_clear_error();
    if (SSL_write_ex(channel->ssl, plain, 1 + len, &written) != 1)
        err = refuse_tls(channel, "cannot encrypt");
    km_wipe(plain, 1 + len);
    if (plain != small)
        free(plain);
    if (err != KM_OK)
        return err;
    *ret_frame = channel->io.out;
    *ret_len = channel->io.out_len;
    return KM_OK;
}

/* Decrypts all of io.in into `plain`. */
static enum km_err decrypt(struct km_channel *channel, size_t frame_len)
{
    wipe_plain(channel);
    enum km_err err = reserve_plain(channel, frame_len); /* what is inside is always shorter */
    if (err != KM_OK)
        return err;
    ERR_clear_error();
    for (;;) {
        size_t n;
        if (SSL_read_ex(channel->ssl, channel->plain + channel->plain_len, channel->plain_cap - channel->plain_len, &n) == 1) {
            channel->plain_len += n;
            if (channel->io.in_len == 0 && SSL_pending(channel->ssl) == 0)
                return KM_OK;
            continue;
        }
        if (SSL_get_error(channel->ssl, 0) == SSL_ERROR_WANT_READ && channel->io.in_len == 0)
            return KM_OK;
        return refuse_tls(channel, "message refused");
    }
}

enum km_err km_channel_open(struct km_channel *channel, const uint8_t *frame, size_t frame_len, const uint8_t **ret_data,
                            size_t *ret_len, bool *ret_has_more)
{
    if (channel->state != KM_CH_OPEN)
        return KM_ERR_PROTO;
    if (frame_len < 1 || frame_len > KM_FRAME_MAX || (frame[0] != KM_FRAME_DATA && frame[0] != KM_FRAME_MORE))
        return refuse(channel, KM_ERR_PROTO, "not a data frame");
    if (!are_records(frame + 1, frame_len - 1))
        return refuse(channel, KM_ERR_PROTO, "broken TLS records");
    channel->io.in = frame + 1;
    channel->io.in_len = frame_len - 1;
    enum km_err err = decrypt(channel, frame_len);
    channel->io.in = NULL;
    channel->io.in_len = 0;
    if (err != KM_OK)
        return err;
    if (channel->plain_len < 1 || channel->plain[0] != frame[0])
        return refuse(channel, KM_ERR_PROTO, "frame kind was changed on the way");
    *ret_data = channel->plain + 1;
    *ret_len = channel->plain_len - 1;
    *ret_has_more = frame[0] == KM_FRAME_MORE;
    return KM_OK;
}

const struct km_identity *km_channel_peer(const struct km_channel *channel)
{
    return channel->state == KM_CH_OPEN ? &channel->peer : NULL;
}

const char *km_channel_reason(const struct km_channel *channel)
{
    return channel->reason[0] != '\0' ? channel->reason : channel->shown;
}

SSL_SESSION *km_channel_take_session(struct km_channel *channel)
{
    SSL_SESSION *session = channel->ticket;
    channel->ticket = NULL;
    return session;
}
