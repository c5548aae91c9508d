/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in back end: keys sealed under a master key, used in memory with OpenSSL. What comes in as an object is
 * believed only after its seal was checked against its head, or found in the cache with the very same bytes. Any
 * thread, all at once; the only locks are the cache's and those of a key's idle contexts.
 */
#include "builtin.h"

#include "head.h"
#include "keycache.h"
#include "pubkey.h"
#include "seal.h"

#include <openssl/err.h>
#include <openssl/rand.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MASTER_KEY_LEN 32
#define CACHE_KEYS 4096
#define CACHE_IDLE_S 600 /* plaintext of a key that nobody uses goes */
#define PURPOSES_MAX 8
#define RANDOM_MAX 65536
#define SLOW_LEN 65536 /* bytes of data that take about as long as a private RSA operation */

struct purpose {
    char *name;
    EVP_MAC_CTX *ready; /* keyed */
};

struct builtin {
    struct km_backend base;
    struct km_secret master_key;
    struct km_crypto crypto;
    struct km_keycache *cache;
    pthread_mutex_t lock; /* of `purposes`, which are only ever added */
    struct purpose purposes[PURPOSES_MAX];
    size_t n_purposes;
};

static struct builtin *of(struct km_backend *backend)
{
    return (struct builtin *)backend;
}

static enum km_backend_result result_of(enum km_err err)
{
    switch (err) {
    case KM_OK:
        return KM_BE_OK;
    case KM_ERR_CORRUPT:
        return KM_BE_BAD_RECORD;
    case KM_ERR_NOMEM:
        return KM_BE_NO_SPACE;
    default:
        return KM_BE_GONE;
    }
}

static enum km_backend_result answer(CK_RV rv, CK_RV *ret_rv)
{
    *ret_rv = rv;
    return rv == CKR_OK ? KM_BE_OK : KM_BE_ARG;
}

/* --- sealing -------------------------------------------------------------------------------------------------------
 */

static void object_clear(Kml__Object *object)
{
    free(object->head.data);
    free(object->seal.data);
    kml__object__init(object);
}

/* Packs the head and seals `secret` (NULL: none) under it. */
static enum km_err make_object(struct builtin *b, const Kml__Head *head, const struct km_secret *secret,
                               Kml__Object *ret)
{
    Kml__Object object = KML__OBJECT__INIT;
    enum km_err err = km_head_pack(head, &object.head);

    if (err == KM_OK && secret != NULL)
        err = km_seal(&b->crypto, &b->master_key, &object.head, secret, &object.seal);
    if (err == KM_OK)
        *ret = object;
    else
        object_clear(&object);
    return err;
}

static enum km_err unseal(struct builtin *b, const Kml__Object *object, struct km_secret *ret)
{
    enum km_err err = km_unseal(&b->crypto, &b->master_key, &object->head, &object->seal, ret);

    if (err != KM_ERR_NOMEM)
        return err;
    km_keycache_age(b->cache, 0); /* locked memory may all be in the cache */
    return km_unseal(&b->crypto, &b->master_key, &object->head, &object->seal, ret);
}

static enum km_err load_sealed(struct builtin *b, const Kml__Object *object, const Kml__Head *head,
                               struct km_loaded **ret)
{
    struct km_secret secret = KM_SECRET_EMPTY;
    enum km_err err = unseal(b, object, &secret);

    if (err == KM_OK && km_key_load(head, &secret, ret) != CKR_OK)
        err = KM_ERR_CRYPTO;
    km_secret_free(&secret);
    return err;
}

/* Public keys have no seal: they are what their head says. */
static enum km_err load_public(const Kml__Head *head, struct km_loaded **ret)
{
    struct km_loaded *key = NULL;
    EVP_PKEY *pkey = NULL;

    if (head->class_ != CKO_PUBLIC_KEY || km_pubkey_load(head, &pkey) != CKR_OK)
        return KM_ERR_CORRUPT;
    key = km_loaded_new(head->class_, head->key_type);
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        return KM_ERR_NOMEM;
    }
    key->pkey = pkey;
    key->domain = km_head_domain(head);
    key->len = key->domain != NULL ? key->domain->secret_len : (size_t)EVP_PKEY_get_size(pkey);
    *ret = key;
    return KM_OK;
}

/* A reference to the key of a record. */
static enum km_err load(struct builtin *b, const Kml__Object *object, struct km_loaded **ret)
{
    struct km_loaded *key = km_keycache_get(b->cache, object);
    Kml__Head *head = NULL;
    enum km_err err;

    if (key != NULL) {
        *ret = key;
        return KM_OK;
    }
    head = kml__head__unpack(NULL, object->head.len, object->head.data);
    if (head == NULL)
        return KM_ERR_CORRUPT;
    if (object->seal.len == 0) {
        err = load_public(head, &key);
    } else {
        err = load_sealed(b, object, head, &key);
        if (err == KM_OK) {
            key->has_ancestors = head->n_ancestors > 0;
            km_keycache_put(b->cache, object, key);
        }
    }
    kml__head__free_unpacked(head, NULL);
    if (err == KM_OK)
        *ret = key;
    return err;
}

const struct km_crypto *km_builtin_crypto(struct km_backend *backend)
{
    return &of(backend)->crypto;
}

enum km_backend_result km_builtin_load(struct km_backend *backend, const Kml__Object *object, struct km_loaded **ret,
                                       CK_RV *ret_rv)
{
    enum km_err err = load(of(backend), object, ret);

    *ret_rv = km_err_rv(err);
    return result_of(err);
}

enum km_backend_result km_builtin_object(struct km_backend *backend, Kml__Head *head, const struct km_secret *secret,
                                         Kml__Object *ret, CK_RV *ret_rv)
{
    enum km_err err = km_head_string(&head->backend, backend->ops->class);

    if (err == KM_OK)
        err = make_object(of(backend), head, secret, ret);
    *ret_rv = km_err_rv(err);
    return result_of(err);
}

/* --- the interface -------------------------------------------------------------------------------------------------
 */

static enum km_backend_result builtin_generate(struct km_backend *backend, const struct km_mech *mech,
                                               Kml__Head *public_head, Kml__Head *head, Kml__Object *ret_public,
                                               Kml__Object *ret_secret, CK_RV *ret_rv)
{
    struct builtin *b = of(backend);
    struct km_secret secret = KM_SECRET_EMPTY;
    Kml__Object public_object = KML__OBJECT__INIT;
    CK_RV rv = km_key_generate(&b->crypto, mech, public_head, head, &secret);
    enum km_err err;

    if (rv != CKR_OK)
        return answer(rv, ret_rv);
    err = km_head_string(&head->backend, b->base.ops->class);
    if (err == KM_OK && public_head != NULL)
        err = make_object(b, public_head, NULL, &public_object);
    if (err == KM_OK)
        err = make_object(b, head, &secret, ret_secret);
    km_secret_free(&secret);
    if (err == KM_OK && public_head != NULL)
        *ret_public = public_object;
    else
        object_clear(&public_object);
    *ret_rv = km_err_rv(err);
    return result_of(err);
}

static enum km_backend_result builtin_import(struct km_backend *backend, Kml__Head *head, Kml__Attr *const *secrets,
                                             size_t n, Kml__Object *ret, CK_RV *ret_rv)
{
    struct builtin *b = of(backend);
    struct km_secret secret = KM_SECRET_EMPTY;
    CK_RV rv = km_key_import(&b->crypto, head, secrets, n, &secret);
    enum km_err err;

    if (rv != CKR_OK)
        return answer(rv, ret_rv);
    err = km_head_string(&head->backend, b->base.ops->class);
    if (err == KM_OK)
        err = make_object(b, head, &secret, ret);
    km_secret_free(&secret);
    *ret_rv = km_err_rv(err);
    return result_of(err);
}

static enum km_backend_result builtin_reseal(struct km_backend *backend, const Kml__Object *old, const Kml__Head *head,
                                             Kml__Object *ret)
{
    struct builtin *b = of(backend);
    struct km_secret secret = KM_SECRET_EMPTY;
    enum km_err err = unseal(b, old, &secret);

    if (err == KM_OK)
        err = make_object(b, head, &secret, ret);
    km_secret_free(&secret);
    return result_of(err);
}

static enum km_backend_result builtin_reveal(struct km_backend *backend, const Kml__Object *object,
                                             struct km_secret *ret)
{
    return result_of(unseal(of(backend), object, ret)); /* what is sealed is the template itself: keyform.c */
}

static km_use_fn *use_fn(const struct km_mech *mech, Kmw__Use__Operation operation)
{
    bool is_cipher = operation == KMW__USE__OPERATION__ENCRYPT || operation == KMW__USE__OPERATION__DECRYPT;

    switch (mech->scheme) {
    case KM_MS_NONE:
        return NULL;
    case KM_MS_PKCS1:
    case KM_MS_PSS:
    case KM_MS_OAEP:
    case KM_MS_RAW:
        return km_rsa_use;
    case KM_MS_MESSAGE:
    case KM_MS_PREHASH:
        return km_message_use;
    case KM_MS_ECDSA:
        return km_ec_use;
    default:
        return is_cipher ? km_cipher_use : km_mac_use;
    }
}

static CK_FLAGS flag_of(Kmw__Use__Operation operation)
{
    switch (operation) {
    case KMW__USE__OPERATION__SIGN:
        return CKF_SIGN;
    case KMW__USE__OPERATION__VERIFY:
        return CKF_VERIFY;
    case KMW__USE__OPERATION__ENCRYPT:
        return CKF_ENCRYPT;
    case KMW__USE__OPERATION__DECRYPT:
        return CKF_DECRYPT;
    default:
        return 0;
    }
}

CK_RV km_builtin_apply(struct km_backend *backend, struct km_loaded *key, const struct km_mech *mech,
                       const Kmw__Use *use, uint8_t **ret, size_t *ret_len)
{
    km_use_fn *fn = use_fn(mech, use->operation);

    return fn != NULL ? fn(&of(backend)->crypto, key, mech, use, ret, ret_len) : CKR_MECHANISM_INVALID;
}

static enum km_backend_result builtin_use(struct km_backend *backend, const Kml__Object *object,
                                          const struct km_mech *mech, const Kmw__Use *use, uint8_t **ret,
                                          size_t *ret_len, CK_RV *ret_rv)
{
    struct builtin *b = of(backend);
    struct km_loaded *key = NULL;
    uint8_t *out = NULL;
    size_t out_len = 0;
    bool needs_private = use->operation == KMW__USE__OPERATION__SIGN || use->operation == KMW__USE__OPERATION__DECRYPT;
    enum km_err err;
    CK_RV rv;

    if ((mech->flags & flag_of(use->operation)) == 0 || use->mechanism == NULL)
        return answer(CKR_MECHANISM_INVALID, ret_rv);
    err = load(b, object, &key);
    if (err != KM_OK) {
        *ret_rv = km_err_rv(err);
        return result_of(err);
    }
    if (!km_mech_takes(mech, key->key_type) || (needs_private && key->class == CKO_PUBLIC_KEY))
        rv = CKR_KEY_TYPE_INCONSISTENT;
    else
        rv = km_builtin_apply(backend, key, mech, use, &out, &out_len);
    km_loaded_release(key);
    if (rv == CKR_OK) {
        *ret = out;
        *ret_len = out_len;
    }
    return answer(rv, ret_rv);
}

static void builtin_forget(struct km_backend *backend, const Kml__Object *object)
{
    struct km_keycache *cache = of(backend)->cache;
    Kml__Head *head = kml__head__unpack(NULL, object->head.len, object->head.data);

    km_keycache_forget(cache, object);
    if (head != NULL && head->id.len == KM_OBJECT_ID_LEN && !head->is_session)
        km_keycache_forget_descendants(cache, head->id.data);
    if (head != NULL)
        kml__head__free_unpacked(head, NULL);
}

/* An HMAC context keyed for `purpose`; the caller frees it. */
static EVP_MAC_CTX *keyed_for(struct builtin *b, const char *purpose)
{
    uint8_t key[32];
    char info[128];
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(b->crypto.hmac[km_crypto_hash(CKM_SHA256)]);
    int len = snprintf(info, sizeof(info), "keymoot mac v1 %s", purpose);

    assert(len > 0 && (size_t)len < sizeof(info)); /* purposes are our own words */
    if (ctx != NULL && (km_seal_derive(&b->crypto, &b->master_key, "keymoot", 7, info, key, sizeof(key)) != KM_OK ||
                        EVP_MAC_init(ctx, key, sizeof(key), NULL) != 1)) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    km_wipe(key, sizeof(key));
    return ctx;
}

/* The same, from those that were made before: tickets are checked with every request. */
static EVP_MAC_CTX *ready_for(struct builtin *b, const char *purpose)
{
    EVP_MAC_CTX *ctx = NULL;
    size_t i = 0;

    pthread_mutex_lock(&b->lock);
    while (i < b->n_purposes && strcmp(b->purposes[i].name, purpose) != 0)
        i++;
    if (i == b->n_purposes && i < PURPOSES_MAX) {
        b->purposes[i].name = strdup(purpose);
        b->purposes[i].ready = b->purposes[i].name != NULL ? keyed_for(b, purpose) : NULL;
        if (b->purposes[i].ready != NULL)
            b->n_purposes++;
        else
            free(b->purposes[i].name);
    }
    if (i < b->n_purposes)
        ctx = EVP_MAC_CTX_dup(b->purposes[i].ready);
    pthread_mutex_unlock(&b->lock);
    return ctx != NULL ? ctx : keyed_for(b, purpose);
}

static enum km_backend_result builtin_mac(struct km_backend *backend, const char *purpose, const uint8_t *data,
                                          size_t len, uint8_t ret[32])
{
    EVP_MAC_CTX *ctx = ready_for(of(backend), purpose);
    size_t n = 0;
    bool is_done = ctx != NULL && (len == 0 || EVP_MAC_update(ctx, data, len) == 1) &&
                   EVP_MAC_final(ctx, ret, &n, 32) == 1 && n == 32;

    EVP_MAC_CTX_free(ctx);
    ERR_clear_error();
    return is_done ? KM_BE_OK : KM_BE_GONE;
}

static enum km_backend_result builtin_random(struct km_backend *backend, uint8_t *ret, size_t len)
{
    (void)backend;
    for (size_t done = 0; done < len;) {
        size_t n = len - done < RANDOM_MAX ? len - done : RANDOM_MAX;
        if (RAND_bytes(ret + done, (int)n) != 1) {
            ERR_clear_error();
            return KM_BE_GONE;
        }
        done += n;
    }
    return KM_BE_OK;
}

static enum km_backend_result builtin_probe(struct km_backend *backend)
{
    uint8_t mac[32];

    km_keycache_age(of(backend)->cache, CACHE_IDLE_S);
    return builtin_mac(backend, "probe", NULL, 0, mac);
}

static void builtin_close(struct km_backend *backend)
{
    struct builtin *b = of(backend);

    if (b == NULL)
        return;
    for (size_t i = 0; i < b->n_purposes; i++) {
        free(b->purposes[i].name);
        EVP_MAC_CTX_free(b->purposes[i].ready);
    }
    km_keycache_free(b->cache);
    km_crypto_close(&b->crypto);
    km_secret_free(&b->master_key);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* The table is written for this back end: what a row says is what OpenSSL does here. Hashes need no key. */
static bool builtin_offers(struct km_backend *backend, const struct km_mech *mech, CK_MECHANISM_INFO *ret)
{
    (void)backend;
    if (mech->flags & CKF_DIGEST)
        return false;
    *ret = (CK_MECHANISM_INFO){.ulMinKeySize = mech->min, .ulMaxKeySize = mech->max, .flags = mech->flags};
    return true;
}

static const struct km_backend_ops builtin_ops = {
    .class = "builtin",
    .close = builtin_close,
    .offers = builtin_offers,
    .generate = builtin_generate,
    .import = builtin_import,
    .reseal = builtin_reseal,
    .reveal = builtin_reveal,
    .use = builtin_use,
    .derive = km_builtin_derive,
    .wrap = km_builtin_wrap,
    .unwrap = km_builtin_unwrap,
    .encapsulate = km_builtin_encapsulate,
    .decapsulate = km_builtin_decapsulate,
    .forget = builtin_forget,
    .mac = builtin_mac,
    .random = builtin_random,
    .probe = builtin_probe,
};

enum km_err km_builtin_open(struct km_secret *master_key, struct km_backend **ret)
{
    struct builtin *b;
    enum km_err err;

    if (master_key->len != MASTER_KEY_LEN)
        return KM_ERR_ARG;
    b = calloc(1, sizeof(*b));
    if (b == NULL)
        return KM_ERR_NOMEM;
    b->base.ops = &builtin_ops;
    pthread_mutex_init(&b->lock, NULL);
    err = km_crypto_open(&b->crypto);
    if (err == KM_OK) {
        b->cache = km_keycache_new(CACHE_KEYS);
        err = b->cache != NULL ? KM_OK : KM_ERR_NOMEM;
    }
    if (err != KM_OK) {
        builtin_close(&b->base);
        return err;
    }
    b->master_key = km_secret_take(master_key);
    *ret = &b->base;
    return KM_OK;
}

/* P-256 and Ed25519 have fast code of their own in OpenSSL; other curves take longer than RSA-2048. */
bool km_mech_is_slow(const struct km_mech *mech, const Kml__Head *head, Kmw__Use__Operation operation, size_t data_len)
{
    bool is_private = operation == KMW__USE__OPERATION__SIGN || operation == KMW__USE__OPERATION__DECRYPT;
    const struct km_domain *domain = km_key_type_is_pair(mech->key_type) ? km_head_domain(head) : NULL;

    if (data_len > SLOW_LEN || (is_private && mech->key_type == CKK_RSA))
        return true;
    return domain != NULL && strcmp(domain->name, "prime256v1") != 0 && strcmp(domain->name, "ED25519") != 0;
}
