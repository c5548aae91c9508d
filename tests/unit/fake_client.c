/* SPDX-License-Identifier: Apache-2.0
 *
 * The fake token. Each reply is packed and unpacked, so that it is memory of the receiver's own, as a real one is.
 */
#include "fake_client.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

struct fake fake;

static const uint8_t aes_key[32] = "0123456789abcdef0123456789abcde";
static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static EVP_PKEY *ec;
static uint8_t ec_point[2 + 65] = {0x04, 65};

/* --- objects --- */

struct object {
    uint8_t id;
    uint64_t attrs[8][2]; /* type, value; ended by type ~0 */
};
static const struct object objects[] = {
    {1,
     {{CKA_CLASS, CKO_SECRET_KEY},
      {CKA_KEY_TYPE, CKK_AES},
      {CKA_PRIVATE, 1},
      {CKA_ENCRYPT, 1},
      {CKA_DECRYPT, 1},
      {CKA_SENSITIVE, 1},
      {~0ULL, 0}}},
    {2, {{CKA_CLASS, CKO_PUBLIC_KEY}, {CKA_KEY_TYPE, CKK_EC}, {CKA_PRIVATE, 0}, {CKA_VERIFY, 1}, {~0ULL, 0}}},
    {3,
     {{CKA_CLASS, CKO_PRIVATE_KEY},
      {CKA_KEY_TYPE, CKK_EC},
      {CKA_PRIVATE, 1},
      {CKA_SIGN, 1},
      {CKA_SENSITIVE, 1},
      {CKA_EXTRACTABLE, 0},
      {~0ULL, 0}}},
};
#define N_OBJECTS (sizeof(objects) / sizeof(objects[0]))

static void add(Kmw__Object *o, CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    Kmw__Attr *attr = calloc(1, sizeof(*attr));

    kmw__attr__init(attr);
    attr->type = type;
    attr->value.data = malloc(len + 1);
    attr->value.len = len;
    memcpy(attr->value.data, data, len);
    o->attrs = realloc(o->attrs, (o->n_attrs + 1) * sizeof(Kmw__Attr *));
    o->attrs[o->n_attrs++] = attr;
}

static Kmw__Object *make_object(const struct object *object)
{
    Kmw__Object *o = calloc(1, sizeof(*o));
    uint8_t value[8];

    kmw__object__init(o);
    o->id.data = calloc(1, 16);
    o->id.len = 16;
    o->id.data[0] = object->id;
    o->version = 1;
    add(o, CKA_TOKEN, (uint8_t[]){1}, 1);
    for (size_t i = 0; object->attrs[i][0] != ~0ULL; i++) {
        km_attr_put_u64(value, object->attrs[i][1]);
        add(o, object->attrs[i][0], value, km_attr_kind(object->attrs[i][0]) == KM_ATTR_BOOL ? 1 : 8);
    }
    if (object->id == 1) {
        add(o, CKA_LABEL, "aes", 3);
    } else {
        add(o, CKA_EC_PARAMS, p256, sizeof(p256));
        add(o, CKA_EC_POINT, ec_point, sizeof(ec_point));
    }
    return o;
}

static bool matches(const Kmw__Object *o, const Kmw__Template *t)
{
    for (size_t i = 0; t != NULL && i < t->n_attrs; i++) {
        const Kmw__Attr *a = km_attr_find(o->attrs, o->n_attrs, t->attrs[i]->type);
        if (a == NULL || a->value.len != t->attrs[i]->value.len ||
            memcmp(a->value.data, t->attrs[i]->value.data, a->value.len) != 0)
            return false;
    }
    return true;
}

static CK_RV list_objects(const Kmw__Template *t, const uint8_t *after, uint8_t id, Kmw__ObjectsReply *r)
{
    r->objects = calloc(N_OBJECTS, sizeof(Kmw__Object *));
    for (size_t i = 0; i < N_OBJECTS; i++) {
        Kmw__Object *o = make_object(&objects[i]);
        if ((id == 0 || id == objects[i].id) && (after == NULL || objects[i].id > after[0]) && matches(o, t))
            r->objects[r->n_objects++] = o;
        else
            kmw__object__free_unpacked(o, NULL);
    }
    return r->n_objects == 0 && id != 0 ? CKR_OBJECT_HANDLE_INVALID : CKR_OK;
}

/* --- keys --- */

size_t fake_aes(const char *cipher, bool encrypt, bool pad, const uint8_t iv[16], const uint8_t *in, size_t len,
                uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, m = 0;

    assert_int_equal(EVP_CipherInit_ex(ctx, EVP_get_cipherbyname(cipher), NULL, aes_key, iv, encrypt), 1);
    EVP_CIPHER_CTX_set_padding(ctx, pad);
    assert_int_equal(EVP_CipherUpdate(ctx, out, &n, in, (int)len), 1);
    assert_int_equal(EVP_CipherFinal_ex(ctx, out + n, &m), 1);
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)(n + m);
}

static size_t sign(const uint8_t *hash, size_t len, uint8_t *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(ec, NULL);
    uint8_t der[80];
    size_t der_len = sizeof(der);
    ECDSA_SIG *sig;

    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, der, &der_len, hash, len), 1);
    sig = d2i_ECDSA_SIG(NULL, &(const unsigned char *){der}, (long)der_len);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32);
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    return 64;
}

static CK_RV use(const Kmw__Use *u, Kmw__UseReply *r)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned hash_len = 0;
    bool encrypt = u->operation == KMW__USE__OPERATION__ENCRYPT;

    if (u->data.len > fake.use_len_max)
        fake.use_len_max = u->data.len;
    r->data.data = malloc(u->data.len + 80);
    switch (u->mechanism->type) {
    case CKM_AES_CBC:
        r->data.len =
            fake_aes("AES-256-CBC", encrypt, false, u->mechanism->iv.data, u->data.data, u->data.len, r->data.data);
        return CKR_OK;
    case CKM_AES_CBC_PAD:
        r->data.len = fake_aes("AES-256-CBC", encrypt, !u->is_part, u->mechanism->iv.data, u->data.data, u->data.len,
                               r->data.data);
        return CKR_OK;
    case CKM_AES_CTR:
        r->data.len =
            fake_aes("AES-256-CTR", encrypt, false, u->mechanism->iv.data, u->data.data, u->data.len, r->data.data);
        return CKR_OK;
    case CKM_ECDSA_SHA256:
        if (!u->data_is_digest)
            EVP_Digest(u->data.data, u->data.len, hash, &hash_len, EVP_sha256(), NULL);
        r->data.len =
            u->data_is_digest ? sign(u->data.data, u->data.len, r->data.data) : sign(hash, hash_len, r->data.data);
        return CKR_OK;
    case CKM_ECDSA:
        r->data.len = sign(u->data.data, u->data.len, r->data.data);
        return CKR_OK;
    default:
        return CKR_MECHANISM_INVALID;
    }
}

/* --- the token --- */

static Kmw__TokenInfo *token_info(unsigned i)
{
    Kmw__TokenInfo *t = calloc(1, sizeof(*t));

    kmw__token_info__init(t);
    t->id.data = (uint8_t *)strdup("sixteen byte id.");
    t->id.len = 16;
    t->id.data[15] += (uint8_t)i;
    t->slot = FAKE_SLOT + i * 10;
    t->label = strdup("fake");
    t->serial = strdup("0123456789abcdef");
    t->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_RNG | CKF_USER_PIN_INITIALIZED;
    return t;
}

static Kmw__LoginReply *new_ticket(void)
{
    Kmw__LoginReply *l = calloc(1, sizeof(*l));

    kmw__login_reply__init(l);
    fake.ticket++;
    l->ticket.data = malloc(8);
    l->ticket.len = 8;
    memcpy(l->ticket.data, &fake.ticket, 8);
    l->expires_ms = fake.expires_ms;
    return l;
}

static bool has_ticket(const Kmw__Request *q)
{
    return q->ticket.len == 8 && memcmp(q->ticket.data, &fake.ticket, 8) == 0;
}

static CK_RV serve(const Kmw__Request *q, Kmw__Reply *p)
{
    if (q->ticket.len > 0 && !has_ticket(q) && q->op_case != KMW__REQUEST__OP_TICKET_RENEW)
        return CKR_USER_NOT_LOGGED_IN;
    if (q->change != NULL) {
        if (q->change->session != fake.session)
            return CKR_FUNCTION_REJECTED;
        fake.last_change = *q->change;
        fake.token_version++;
        p->token_version = fake.token_version;
    }
    switch (q->op_case) {
    case KMW__REQUEST__OP_TOKEN_LIST:
        p->result_case = KMW__REPLY__RESULT_TOKEN_LIST;
        p->token_list = calloc(1, sizeof(*p->token_list));
        kmw__token_list_reply__init(p->token_list);
        p->token_list->tokens = calloc(fake.n_tokens + 1, sizeof(Kmw__TokenInfo *));
        for (unsigned i = 0; i < fake.n_tokens; i++)
            p->token_list->tokens[i] = token_info(i);
        p->token_list->n_tokens = fake.n_tokens;
        p->token_list->free_slot = FAKE_FREE_SLOT;
        p->token_list->mechanisms = calloc(4, sizeof(Kmw__MechanismInfo *));
        for (unsigned i = 0; i < fake.n_offers; i++) {
            p->token_list->mechanisms[i] = malloc(sizeof(Kmw__MechanismInfo));
            *p->token_list->mechanisms[i] = fake.offers[i];
        }
        p->token_list->n_mechanisms = fake.n_offers;
        return CKR_OK;
    case KMW__REQUEST__OP_CLIENT_REGISTER:
        p->result_case = KMW__REPLY__RESULT_CLIENT_REGISTER;
        p->client_register = calloc(1, sizeof(*p->client_register));
        kmw__client_register_reply__init(p->client_register);
        p->client_register->session = ++fake.session;
        p->client_register->window = 4;
        p->client_register->ttl_ms = 60000;
        return CKR_OK;
    case KMW__REQUEST__OP_LOGIN:
        if (q->login->pin.len != strlen(FAKE_PIN) || memcmp(q->login->pin.data, FAKE_PIN, q->login->pin.len) != 0)
            return CKR_PIN_INCORRECT;
        p->result_case = KMW__REPLY__RESULT_LOGIN;
        p->login = new_ticket();
        return CKR_OK;
    case KMW__REQUEST__OP_TICKET_RENEW:
        if (!fake.is_renewable)
            return CKR_USER_NOT_LOGGED_IN;
        p->result_case = KMW__REPLY__RESULT_LOGIN;
        p->login = new_ticket();
        return CKR_OK;
    case KMW__REQUEST__OP_OBJECT_FIND:
    case KMW__REQUEST__OP_OBJECT_GET:
        p->result_case = KMW__REPLY__RESULT_OBJECTS;
        p->objects = calloc(1, sizeof(*p->objects));
        kmw__objects_reply__init(p->objects);
        if (q->op_case == KMW__REQUEST__OP_OBJECT_GET)
            return list_objects(NULL, NULL, q->object_get->key->id.data[0], p->objects);
        return list_objects(q->object_find->template_, q->object_find->after.len ? q->object_find->after.data : NULL, 0,
                            p->objects);
    case KMW__REQUEST__OP_OBJECT_DESTROY:
        p->result_case = KMW__REPLY__RESULT_DONE;
        p->done = calloc(1, sizeof(*p->done));
        kmw__empty__init(p->done);
        return CKR_OK;
    case KMW__REQUEST__OP_USE:
        if (!has_ticket(q))
            return CKR_USER_NOT_LOGGED_IN;
        p->result_case = KMW__REPLY__RESULT_USE;
        p->use = calloc(1, sizeof(*p->use));
        kmw__use_reply__init(p->use);
        return use(q->use, p->use);
    default:
        return CKR_FUNCTION_NOT_SUPPORTED;
    }
}

/* --- the courier's interface --- */

struct km_client {
    int unused;
};
static struct km_client client;

enum km_err km_client_conf_read(const char *path, struct km_client_conf *ret, char *message, size_t len)
{
    (void)path;
    (void)message;
    (void)len;
    memset(ret, 0, sizeof(*ret));
    ret->log = (char *)"none";
    return KM_OK;
}

void km_client_conf_fini(struct km_client_conf *conf)
{
    (void)conf;
}

enum km_err km_client_new(struct km_client_conf *conf, struct km_client **ret, char *message, size_t len)
{
    (void)conf;
    (void)message;
    (void)len;
    *ret = &client;
    return KM_OK;
}

void km_client_disconnect(struct km_client *c)
{
    (void)c;
    fake.n_disconnects++;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held over a fork */

static void take_lock(void)
{
    pthread_mutex_lock(&lock);
}

static void give_lock(void)
{
    pthread_mutex_unlock(&lock);
}

static enum km_err answer(const Kmw__Request *request, Kmw__Reply **ret)
{
    Kmw__Reply *reply, *made = calloc(1, sizeof(*made));
    Kmw__Request *received;
    enum km_err err = fake.is_down ? KM_ERR_TIMEOUT : fake.failure;
    size_t len = kmw__request__get_packed_size(request);
    uint8_t *packed = malloc(len + 1);

    fake.failure = KM_OK;
    fake.n_calls++;
    fake.calls[request->op_case]++;
    kmw__request__pack(request, packed);
    received = kmw__request__unpack(NULL, len, packed);
    free(packed);
    kmw__reply__init(made);
    made->token_version = fake.token_version;
    if (err == KM_OK) {
        made->rv = fake.refusal != CKR_OK ? fake.refusal : serve(received, made);
        fake.refusal = CKR_OK;
    }
    len = kmw__reply__get_packed_size(made);
    packed = malloc(len + 1);
    kmw__reply__pack(made, packed);
    reply = kmw__reply__unpack(NULL, len, packed);
    free(packed);
    kmw__reply__free_unpacked(made, NULL);
    kmw__request__free_unpacked(received, NULL);
    if (err == KM_OK)
        *ret = reply;
    else
        kmw__reply__free_unpacked(reply, NULL);
    return err;
}

enum km_err km_client_call(struct km_client *c, Kmw__Request *request, bool is_retryable, Kmw__Reply **ret)
{
    enum km_err err;

    (void)c;
    (void)is_retryable;
    take_lock();
    err = answer(request, ret);
    give_lock();
    return err;
}

/* --- for tests --- */

void fake_start(void)
{
    size_t len = 0;

    fake = (struct fake){.expires_ms = 3600000,
                         .is_renewable = true,
                         .token_version = fake.token_version + 1, /* it never goes back */
                         .ticket = 100,
                         .n_tokens = 1,
                         .session = fake.session};
    if (ec == NULL) {
        ec = EVP_EC_gen("P-256");
        EVP_PKEY_get_octet_string_param(ec, "pub", ec_point + 2, 65, &len);
        assert_int_equal(len, 65);
        pthread_atfork(take_lock, give_lock, give_lock);
    }
    assert_int_equal(C_Initialize(NULL), CKR_OK);
}

void fake_stop(void)
{
    assert_int_equal(C_Finalize(NULL), CKR_OK);
}

CK_SESSION_HANDLE fake_open(bool is_read_write)
{
    CK_SESSION_HANDLE session = 0;

    assert_int_equal(
        C_OpenSession(FAKE_SLOT, CKF_SERIAL_SESSION | (is_read_write ? CKF_RW_SESSION : 0), NULL, NULL, &session),
        CKR_OK);
    return session;
}

void fake_login(CK_SESSION_HANDLE session)
{
    assert_int_equal(C_Login(session, CKU_USER, (CK_UTF8CHAR *)FAKE_PIN, strlen(FAKE_PIN)), CKR_OK);
}

CK_OBJECT_HANDLE fake_find(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class)
{
    CK_OBJECT_HANDLE handles[2];
    CK_ULONG n = 0;

    assert_int_equal(C_FindObjectsInit(session, &(CK_ATTRIBUTE){CKA_CLASS, &class, sizeof(class)}, 1), CKR_OK);
    assert_int_equal(C_FindObjects(session, handles, 2, &n), CKR_OK);
    assert_int_equal(C_FindObjectsFinal(session), CKR_OK);
    assert_int_equal(n, 1);
    return handles[0];
}
