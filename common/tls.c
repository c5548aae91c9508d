/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates and trust of one side of a channel, read once and immutable from then on, so that they outlive chroot,
 * fork and a change of user. Nothing here is global: a host process may have its own OpenSSL beside ours. Any thread.
 */
#include "tls.h"

#include "log.h"
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEY_FILE_MAX (64 * 1024)
#define CHAIN_MAX 8   /* certificates in a chain file */
#define VERIFY_DEPTH 4
#define CIPHERS "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"

/* What a caller wants to be told; filled by fail(). */
struct message {
    char *text;
    size_t len;
};

static enum km_err fail(struct message message, enum km_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum km_err fail(struct message message, enum km_err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message.text, message.len, format, args);
    va_end(args);
    return err;
}

static const char *last_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text != NULL ? text : "unreadable";
}

/* Never ask a terminal for a passphrase: it is the host's. */
static int no_passphrase(char *buf, int size, int is_write, void *arg)
{
    (void)buf, (void)size, (void)is_write, (void)arg;
    return 0;
}

/* --- the frame BIO */

static int frame_write(BIO *bio, const char *data, size_t len, size_t *ret_written)
{
    struct km_frame_io *io = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (len > SIZE_MAX / 4 || io->out_len + len > io->out_cap) {
        size_t cap = len > SIZE_MAX / 4 ? 0 : io->out_len + len + 512;
        uint8_t *out = cap == 0 ? NULL : realloc(io->out, cap);
        if (out == NULL)
            return 0;
        io->out = out;
        io->out_cap = cap;
    }
    memcpy(io->out + io->out_len, data, len);
    io->out_len += len;
    *ret_written = len;
    return 1;
}

static int frame_read(BIO *bio, char *data, size_t len, size_t *ret_read)
{
    struct km_frame_io *io = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (io->in_len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t n = len < io->in_len ? len : io->in_len;
    memcpy(data, io->in, n);
    io->in += n;
    io->in_len -= n;
    *ret_read = n;
    return 1;
}

static long frame_ctrl(BIO *bio, int command, long number, void *arg)
{
    (void)bio, (void)number, (void)arg;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *frame_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_TYPE_MEM, "keymoot frame");
    if (method == NULL)
        return NULL;
    if (BIO_meth_set_write_ex(method, frame_write) != 1 || BIO_meth_set_read_ex(method, frame_read) != 1 ||
        BIO_meth_set_ctrl(method, frame_ctrl) != 1) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

/* --- checks during the handshake */

static int verify_cb(int is_ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct km_channel *channel = SSL_get_app_data(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    struct km_identity shown;
    if (leaf != NULL && km_identity_of(leaf, &shown) == KM_OK)
        memcpy(channel->shown, shown.uri, sizeof(channel->shown));
    if (!is_ok) {
        int code = X509_STORE_CTX_get_error(store);
        snprintf(channel->reason, sizeof(channel->reason), "certificate of %s: %s",
                 channel->shown[0] != '\0' ? channel->shown : "nobody known", X509_verify_cert_error_string(code));
        return 0;
    }
    if (X509_STORE_CTX_get_error_depth(store) > 0)
        return 1;
    if (km_channel_accept(channel, leaf) == KM_OK)
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* Keeps the newest ticket; its owner is the channel then. */
static int ticket_cb(SSL *ssl, SSL_SESSION *session)
{
    struct km_channel *channel = SSL_get_app_data(ssl);
    SSL_SESSION_free(channel->ticket);
    channel->ticket = session;
    return 1;
}

/* --- reading files */

static enum km_err read_certificates(SSL_CTX *ctx, const char *path, X509 **ret_leaf, struct message message)
{
    enum km_err err = KM_OK;
    X509 *leaf = NULL, *next = NULL;
    BIO *file = BIO_new_file(path, "re");
    if (file == NULL)
        return fail(message, KM_ERR_IO, "%s: %s", path, strerror(errno));
    leaf = PEM_read_bio_X509_AUX(file, NULL, no_passphrase, NULL);
    if (leaf == NULL || SSL_CTX_use_certificate(ctx, leaf) != 1) {
        err = fail(message, KM_ERR_TLS, "%s: no usable certificate: %s", path, last_reason());
        goto out;
    }
    for (int n = 1; (next = PEM_read_bio_X509(file, NULL, no_passphrase, NULL)) != NULL; n++) {
        if (n == CHAIN_MAX || SSL_CTX_add0_chain_cert(ctx, next) != 1) {
            X509_free(next);
            err = fail(message, KM_ERR_TLS, "%s: more than %d certificates, or one that cannot be used", path, CHAIN_MAX);
            goto out;
        }
    }
    *ret_leaf = leaf;
    leaf = NULL;
out:
    X509_free(leaf);
    BIO_free(file);
    return err;
}

/* The file's bytes, in memory made for secrets. */
static enum km_err read_secret(const char *path, struct km_secret *ret, struct message message)
{
    enum km_err err;
    struct stat st;
    struct km_secret bytes = KM_SECRET_EMPTY;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail(message, KM_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > KEY_FILE_MAX) {
        err = fail(message, KM_ERR_IO, "%s: not a file of 1 to %d bytes", path, KEY_FILE_MAX);
        goto out;
    }
    if (st.st_mode & S_IRWXO) {
        err = fail(message, KM_ERR_IO, "%s: open to others (mode %04o): chmod o= it", path, st.st_mode & 07777u);
        goto out;
    }
    err = km_secret_new(&bytes, (size_t)st.st_size);
    if (err != KM_OK) {
        err = fail(message, err, "%s: no locked memory for the key (see ulimit -l)", path);
        goto out;
    }
    size_t have = 0;
    for (ssize_t n; have < bytes.len; have += (size_t)n) {
        n = read(fd, bytes.data + have, bytes.len - have);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0) {
            err = fail(message, KM_ERR_IO, "%s: %s", path, n < 0 ? strerror(errno) : "shrank while it was read");
            goto out;
        }
    }
    *ret = km_secret_take(&bytes);
out:
    km_secret_free(&bytes);
    close(fd);
    return err;
}

static enum km_err read_key(SSL_CTX *ctx, const char *path, struct message message)
{
    struct km_secret bytes = KM_SECRET_EMPTY;
    EVP_PKEY *key = NULL;
    BIO *bio = NULL;
    enum km_err err = read_secret(path, &bytes, message);
    if (err != KM_OK)
        return err;
    bio = BIO_new_mem_buf(bytes.data, (int)bytes.len);
    key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (key == NULL)
        err = fail(message, KM_ERR_TLS, "%s: no private key in PEM without a passphrase: %s", path, last_reason());
    else if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        err = fail(message, KM_ERR_TLS, "%s: is not the key of the certificate", path);
    EVP_PKEY_free(key);
    BIO_free(bio);
    km_secret_free(&bytes);
    return err;
}

static enum km_err read_trust(SSL_CTX *ctx, const char *path, bool is_server, struct message message)
{
    enum km_err err = KM_OK;
    X509 *ca = NULL;
    int n = 0;
    BIO *file = BIO_new_file(path, "re");
    if (file == NULL)
        return fail(message, KM_ERR_IO, "%s: %s", path, strerror(errno));
    while ((ca = PEM_read_bio_X509(file, NULL, no_passphrase, NULL)) != NULL) {
        n++;
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) != 1 ||
            (is_server && SSL_CTX_add_client_CA(ctx, ca) != 1))
            err = fail(message, KM_ERR_TLS, "%s: certificate %d cannot be used: %s", path, n, last_reason());
        X509_free(ca);
    }
    if (n == 0)
        err = fail(message, KM_ERR_TLS, "%s: no certificate in it", path);
    BIO_free(file);
    return err;
}

/* --- the context */

/* Post-quantum key exchange first where this OpenSSL knows it; '*' marks the shares that a client sends at once (3.5), so that
 * an older server need not ask again. */
static bool set_groups(SSL_CTX *ctx)
{
    static const char *const lists[] = {"*X25519MLKEM768:*X25519:P-256:P-384", "X25519MLKEM768:X25519:P-256:P-384",
                                        "X25519:P-256:P-384"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (SSL_CTX_set1_groups_list(ctx, lists[i]) == 1)
            return true;
        ERR_clear_error();
    }
    return false;
}

static SSL_CTX *new_context(bool is_server)
{
    static const unsigned char id_context[] = "keymoot";
    SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (ctx == NULL)
        return NULL;
    bool is_set = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
                  SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 && SSL_CTX_set_ciphersuites(ctx, CIPHERS) == 1 &&
                  set_groups(ctx) && SSL_CTX_set_session_id_context(ctx, id_context, sizeof(id_context) - 1) == 1;
    if (!is_set) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify_cb);
    SSL_CTX_set_verify_depth(ctx, VERIFY_DEPTH);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_CLEANSE_PLAINTEXT /* PINs and keys come by */);
    SSL_CTX_set_timeout(ctx, KM_CHANNEL_AGE_MAX_S);
    if (is_server) {
        /* Tickets hold all that resumption needs; nothing is cached here. Idle connections give their buffers back. */
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(ctx, 1);
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    } else {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, ticket_cb);
    }
    return ctx;
}

static enum km_err check_self(struct km_tls *tls, X509 *leaf, const char *path, struct message message)
{
    if (km_identity_of(leaf, &tls->self) != KM_OK)
        return fail(message, KM_ERR_IDENTITY, "%s: not exactly one URI spiffe://<cluster>/<role>/<name> in it", path);
    if (strcmp(tls->self.cluster, tls->cluster) != 0)
        return fail(message, KM_ERR_IDENTITY, "%s: is for cluster %s, not %s", path, tls->self.cluster, tls->cluster);
    if (tls->is_server && tls->self.role != KM_ROLE_SERVER)
        return fail(message, KM_ERR_IDENTITY, "%s: a %s's certificate, not a server's", path, km_role_text(tls->self.role));
    if (tls->self.not_after < (long long)time(NULL))
        km_log(KM_LOG_WARN, "%s: expired; others will refuse it", path);
    return KM_OK;
}

enum km_err km_tls_new(const char *cluster, const char *cert_path, const char *key_path, const char *ca_path,
                       bool is_server, struct km_tls **ret, char *ret_message, size_t message_len)
{
    struct message message = {ret_message, message_len};
    enum km_err err;
    X509 *leaf = NULL;
    struct km_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return fail(message, KM_ERR_NOMEM, "out of memory");
    atomic_init(&tls->refs, 1);
    tls->is_server = is_server;
    ERR_clear_error();
    if ((size_t)snprintf(tls->cluster, sizeof(tls->cluster), "%s", cluster) >= sizeof(tls->cluster)) {
        err = fail(message, KM_ERR_IDENTITY, "name of the cluster longer than %d bytes", KM_NAME_MAX);
        goto out;
    }
    tls->ctx = new_context(is_server);
    tls->bio = frame_method();
    if (tls->ctx == NULL || tls->bio == NULL) {
        err = fail(message, KM_ERR_TLS, "OpenSSL cannot be set up for TLS 1.3: %s", last_reason());
        goto out;
    }
    err = read_certificates(tls->ctx, cert_path, &leaf, message);
    if (err != KM_OK)
        goto out;
    err = check_self(tls, leaf, cert_path, message);
    if (err != KM_OK)
        goto out;
    err = read_key(tls->ctx, key_path, message);
    if (err != KM_OK)
        goto out;
    err = read_trust(tls->ctx, ca_path, is_server, message);
    if (err != KM_OK)
        goto out;
    *ret = tls;
    tls = NULL;
out:
    X509_free(leaf);
    km_tls_unref(tls);
    ERR_clear_error();
    return err;
}

struct km_tls *km_tls_ref(struct km_tls *tls)
{
    atomic_fetch_add(&tls->refs, 1);
    return tls;
}

void km_tls_unref(struct km_tls *tls)
{
    if (tls == NULL || atomic_fetch_sub(&tls->refs, 1) != 1)
        return;
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->bio);
    free(tls);
}

const struct km_identity *km_tls_self(const struct km_tls *tls)
{
    return &tls->self;
}
