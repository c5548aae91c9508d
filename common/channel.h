/* SPDX-License-Identifier: Apache-2.0
 *
 * The TLS 1.3 channel inside nng messages (design D2): one TLS connection per nng pipe over memory BIOs. This file
 * knows nothing of sockets: it turns plaintext into the payload of the next message and back, so the blocking client,
 * the server's listener, the peers and the tests use the same code. Frames are described in PROTOCOL.md.
 *
 * Frame (the SP payload after the REQ id): 1 byte kind, then TLS records.
 *   KM_FRAME_HANDSHAKE  either direction until the handshake is done; the first one of a client starts with the magic
 *                       "KMT" and the frame version
 *   KM_FRAME_DATA       one whole protobuf message, or its last part
 *   KM_FRAME_MORE       a part of a message that goes on; answered by an empty KM_FRAME_DATA ("go on")
 * so that no nng message is ever larger than KM_FRAME_MAX, before or after authentication. The plaintext of DATA and MORE frames
 * starts with the kind once more, which makes it authentic.
 *
 * A channel is used by one thread at a time.
 */
#ifndef KM_COMMON_CHANNEL_H
#define KM_COMMON_CHANNEL_H

#include "identity.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_FRAME_VERSION 1
#define KM_FRAME_MAX (64u * 1024)              /* bytes of one nng message's body at most, kind byte included */
#define KM_PART_MAX (60u * 1024)               /* plaintext bytes in one frame at most */
#define KM_MESSAGE_MAX (68u * 1024 * 1024)     /* plaintext bytes of one authenticated message at most */
#define KM_CHANNEL_AGE_MAX_S 3600              /* no connection lives longer */

/* Certificates and trust of one side. Immutable once made: SIGHUP makes a new one. Reference counted. */
struct km_tls;

/* Reads certificate chain, private key (PEM; the key must not be readable by others) and trusted CA. `cluster` is the
 * only cluster whose identities are accepted. `is_server` tells which side's role this end plays in handshakes.
 * TLS 1.3 only; X25519MLKEM768 is preferred where OpenSSL has it; both sides present certificates.
 * Errors: KM_ERR_IO, KM_ERR_TLS, KM_ERR_IDENTITY; `ret_message` says which file and why. The caller frees with km_tls_unref. */
enum km_err km_tls_new(const char *cluster, const char *cert_path, const char *key_path, const char *ca_path,
                       bool is_server, struct km_tls **ret, char *ret_message, size_t message_len) KM_CHECKED;
struct km_tls *km_tls_ref(struct km_tls *tls);
void km_tls_unref(struct km_tls *tls);

/* The identity of this end's own certificate; borrowed. */
const struct km_identity *km_tls_self(const struct km_tls *tls);

struct km_channel;

/* A new channel on `tls` (referenced). A client passes `expect_server`, the name that the server's certificate must
 * carry (role server, same cluster), and may pass a `resume` session; a server passes NULL for both.
 * The caller frees with km_channel_free. */
enum km_err km_channel_new(struct km_tls *tls, const char *expect_server, SSL_SESSION *resume,
                           struct km_channel **ret) KM_CHECKED;
void km_channel_free(struct km_channel *channel);

/* Feeds the frame `in` (NULL, 0: nothing yet, the client's first step) to the handshake and returns the frame to send, if
 * any (`*ret_len` 0: none). `*ret_frame` is borrowed until the next call. `*ret_done` tells that both ends have authenticated each
 * other: at a server with its last frame to send, at a client once the server's answer to its own last frame is in (nothing to send then).
 * Errors: KM_ERR_TLS, KM_ERR_IDENTITY, KM_ERR_PROTO, KM_ERR_VERSION; km_channel_reason says why. `*ret_len` > 0 on failure: an alert
 * that tells the other end why, to be sent before closing. */
enum km_err km_channel_handshake(struct km_channel *channel, const uint8_t *in, size_t in_len,
                                 const uint8_t **ret_frame, size_t *ret_len, bool *ret_done) KM_CHECKED;

/* Encrypts `len` bytes (at most KM_PART_MAX) of a message into one frame; `has_more` when the message goes on. `*ret_frame` is
 * borrowed until the next call. */
enum km_err km_channel_seal(struct km_channel *channel, const uint8_t *data, size_t len, bool has_more,
                            const uint8_t **ret_frame, size_t *ret_len) KM_CHECKED;

/* Decrypts one frame into a part of a message, borrowed until the next call. Errors: KM_ERR_PROTO, KM_ERR_TLS. */
enum km_err km_channel_open(struct km_channel *channel, const uint8_t *frame, size_t frame_len,
                            const uint8_t **ret_data, size_t *ret_len, bool *ret_has_more) KM_CHECKED;

/* The authenticated other end; NULL before the handshake is done. Borrowed. */
const struct km_identity *km_channel_peer(const struct km_channel *channel);

/* The other end as far as it is known, also after a refused handshake ("" if unknown), and why the last call failed. */
const char *km_channel_reason(const struct km_channel *channel);

/* The newest resumption ticket received, or NULL; the caller frees with SSL_SESSION_free. Client side. */
SSL_SESSION *km_channel_take_session(struct km_channel *channel);

#endif
