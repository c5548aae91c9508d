/* SPDX-License-Identifier: Apache-2.0
 *
 * The state as bytes and back. A snapshot is "KMSNAP" and one packed kml.Snapshot. It is written and read record by
 * record, never as one tree of messages, because it may hold hundreds of thousands of objects; what comes out is what
 * protobuf-c would have packed: fields in order, each list in the order of its key, so equal states give equal bytes.
 *
 * Restoring checks every record as if it were a command, builds a state of its own, and compares its digest with the one in
 * the snapshot. Loop thread.
 */
#include "store_state.h"

#include <stdlib.h>
#include <string.h>

static const char magic[6] = {'K', 'M', 'S', 'N', 'A', 'P'};

/* Field numbers of log.proto that are written or read here one by one. */
enum snapshot_field { VERSION = 1, INDEX, TIME_MS, FEATURE, NEXT_SLOT, TOKENS, OBJECTS, CLIENTS, AUDIT_HEADS, DIGEST };
enum { OBJECT_HEAD = 1, OBJECT_SEAL = 2, CLIENT_RESULTS = 5, CLIENT_RESULT_RESULT = 3 };
enum { WIRE_VARINT = 0, WIRE_BYTES = 2, TAG_MAX = 10 + 1 };

/* --- writing -------------------------------------------------------------------------------------------------------- */

struct writer {
    uint8_t *data;
    size_t len, cap;
    bool has_failed;
    struct km_state *state;
};

/* `len` more bytes at the end, or NULL. */
static uint8_t *room(struct writer *w, size_t len)
{
    if (!w->has_failed && w->cap - w->len < len) {
        size_t cap = (w->len + len) * 3 / 2 + 256;
        uint8_t *data = realloc(w->data, cap);
        w->has_failed = !data;
        if (data) {
            w->data = data;
            w->cap = cap;
        }
    }
    if (w->has_failed)
        return NULL;
    w->len += len;
    return w->data + w->len - len;
}

static size_t varint(uint8_t out[10], uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

static void put(struct writer *w, const void *data, size_t len)
{
    uint8_t *out = room(w, len);
    if (out && len)
        memcpy(out, data, len);
}

/* Tag and length of a field of `len` bytes that the caller puts next. */
static void put_tag(struct writer *w, unsigned field, size_t len)
{
    uint8_t head[TAG_MAX] = {(uint8_t)(field << 3 | WIRE_BYTES)};
    put(w, head, 1 + varint(head + 1, len));
}

static void put_bytes(struct writer *w, unsigned field, const void *data, size_t len)
{
    put_tag(w, field, len);
    put(w, data, len);
}

static size_t bytes_size(size_t len)
{
    uint8_t scratch[10];
    return len ? 1 + varint(scratch, len) + len : 0;
}

/* A small message as a field. */
static void put_message(struct writer *w, unsigned field, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    put_tag(w, field, len);
    uint8_t *out = room(w, len);
    if (out)
        protobuf_c_message_pack(message, out);
}

static void put_scalars(struct writer *w)
{
    Kml__Snapshot scalars = KML__SNAPSHOT__INIT;
    scalars.version = KM_SNAPSHOT_VERSION;
    scalars.index = w->state->index;
    scalars.time_ms = w->state->time_ms;
    scalars.feature_level = w->state->feature_level;
    scalars.next_slot = w->state->next_slot;
    uint8_t *out = room(w, kml__snapshot__get_packed_size(&scalars));
    if (out)
        kml__snapshot__pack(&scalars, out);
}

struct attempts_list {
    Kml__Attempts *messages, **pointers;
    size_t n;
};

static void count_node(void *arg, struct km_tree_node *node)
{
    (void)node;
    ++*(size_t *)arg;
}

static void list_attempts(void *arg, struct km_tree_node *node)
{
    struct attempts_list *list = arg;
    struct km_attempts *attempts = KM_TREE_OF(node, struct km_attempts, node);
    Kml__Attempts *message = &list->messages[list->n];
    kml__attempts__init(message);
    message->identity = attempts->identity;
    message->user_type = attempts->user_type;
    message->failed = attempts->failed;
    message->last_attempt = (ProtobufCBinaryData){KM_ATTEMPT_LEN, attempts->last};
    list->pointers[list->n++] = message;
}

static void put_token(void *arg, struct km_tree_node *node)
{
    struct writer *w = arg;
    struct km_token_state *state = KM_TREE_OF(node, struct km_token_state, by_slot);
    struct km_token *token = &state->token;
    Kml__Token message = KML__TOKEN__INIT;
    Kml__Pin so = KML__PIN__INIT, user = KML__PIN__INIT;
    struct attempts_list list = {NULL, NULL, 0};
    size_t n = 0;
    km_tree_each(state->attempts, count_node, &n);
    list.messages = calloc(n + 1, sizeof(*list.messages));
    list.pointers = calloc(n + 1, sizeof(*list.pointers));
    if (!list.messages || !list.pointers) {
        w->has_failed = true;
        goto out;
    }
    km_tree_each(state->attempts, list_attempts, &list);
    message.id = (ProtobufCBinaryData){KM_ID_LEN, token->id};
    message.slot = token->slot;
    message.label = token->label;
    message.serial = token->serial;
    message.instance = token->instance;
    message.owner = token->owner;
    so.verifier = (ProtobufCBinaryData){KM_VERIFIER_LEN, token->so_verifier};
    so.generation = token->so_generation;
    message.so = &so;
    user.verifier = (ProtobufCBinaryData){token->has_user_pin ? KM_VERIFIER_LEN : 0, token->user_verifier};
    user.generation = token->user_generation;
    message.user = &user;
    message.n_attempts = list.n;
    message.attempts = list.pointers;
    message.version = token->version;
    put_message(w, TOKENS, &message.base);
out:
    free(list.messages);
    free(list.pointers);
}

static void put_object(void *arg, struct km_tree_node *node)
{
    struct writer *w = arg;
    const struct km_object *object = &KM_TREE_OF(node, struct km_record, by_id)->object;
    put_tag(w, OBJECTS, bytes_size(object->head_len) + bytes_size(object->seal_len));
    put_bytes(w, OBJECT_HEAD, object->head, object->head_len);
    if (object->seal_len)
        put_bytes(w, OBJECT_SEAL, object->seal, object->seal_len);
}

/* All of a Client but its results, which come last. */
static Kml__Client client_message(const struct km_client *client)
{
    Kml__Client message = KML__CLIENT__INIT;
    message.session = client->session;
    message.identity = client->holder->identity;
    message.last_ms = client->last_ms;
    message.acked = client->floor;
    return message;
}

static Kml__ClientResult result_message(const struct km_client_result *result)
{
    Kml__ClientResult message = KML__CLIENT_RESULT__INIT;
    message.number = result->number;
    message.hash = (ProtobufCBinaryData){sizeof(result->hash), (uint8_t *)(size_t)result->hash};
    return message;
}

/* The size of a nested ClientResult, whose Result is there even if it packs to nothing. */
static size_t result_size(const struct km_client_result *result)
{
    const Kml__ClientResult message = result_message(result);
    uint8_t scratch[10];
    return kml__client_result__get_packed_size(&message) + 1 + varint(scratch, result->len) + result->len;
}

static void put_client(void *arg, struct km_tree_node *node)
{
    struct writer *w = arg;
    const struct km_client *client = KM_TREE_OF(node, struct km_client, by_session);
    const Kml__Client message = client_message(client);
    size_t own = kml__client__get_packed_size(&message), len = own;
    uint8_t *out;
    for (size_t i = 0; i < client->n; i++)
        len += bytes_size(result_size(client->results[i]));
    put_tag(w, CLIENTS, len);
    if ((out = room(w, own)))
        kml__client__pack(&message, out);
    for (size_t i = 0; i < client->n; i++) {
        const Kml__ClientResult result = result_message(client->results[i]);
        put_tag(w, CLIENT_RESULTS, result_size(client->results[i]));
        if ((out = room(w, kml__client_result__get_packed_size(&result))))
            kml__client_result__pack(&result, out);
        put_bytes(w, CLIENT_RESULT_RESULT, client->results[i]->packed, client->results[i]->len);
    }
}

static void put_audit_heads(struct writer *w)
{
    for (size_t i = 0; i < w->state->n_audit_heads; i++) {
        struct km_audit_head *head = &w->state->audit_heads[i];
        Kml__AuditHead message = KML__AUDIT_HEAD__INIT;
        message.server = head->server;
        message.sequence = head->sequence;
        message.hash = (ProtobufCBinaryData){sizeof(head->hash), head->hash};
        put_message(w, AUDIT_HEADS, &message.base);
    }
}

enum km_err km_snapshot_encode(struct km_state *state, uint8_t **ret, size_t *ret_len)
{
    struct writer w = {.state = state};
    uint8_t digest[KM_DIGEST_LEN];
    km_state_digest(state, digest);
    put(&w, magic, sizeof(magic));
    put_scalars(&w);
    km_tree_each(state->slots, put_token, &w);
    km_tree_each(state->objects, put_object, &w);
    km_tree_each(state->clients, put_client, &w);
    put_audit_heads(&w);
    put_bytes(&w, DIGEST, digest, sizeof(digest));
    if (w.has_failed) {
        free(w.data);
        return KM_ERR_NOMEM;
    }
    *ret = w.data;
    *ret_len = w.len;
    return KM_OK;
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

struct reader {
    struct km_state *state;
    uint64_t version;
    uint8_t object_id[KM_ID_LEN]; /* of the last object: they come in order */
    uint64_t session, server, slot;
    uint8_t digest[KM_DIGEST_LEN];
    bool has_digest;
};

static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

/* Unpacks one record with the function of its type; KM_ERR_VERSION if it has fields that this program does not know. */
static enum km_err unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t len,
                          ProtobufCMessage **ret)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &km_need_allocator, len, data);
    if (!message)
        return KM_ERR_CORRUPT;
    if (km_has_unknown(message)) {
        protobuf_c_message_free_unpacked(message, &km_need_allocator);
        return KM_ERR_VERSION;
    }
    *ret = message;
    return KM_OK;
}

static bool take_text(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);
    if (len >= size)
        return false;
    memcpy(to, from, len);
    return true;
}

static bool take_attempts(struct km_state *state, struct km_token_state *token, const Kml__Attempts *from)
{
    if (!km_text_fits(from->identity, KM_STORE_IDENTITY_MAX) || from->last_attempt.len != KM_ATTEMPT_LEN)
        return false;
    if (from->failed == 0 || from->failed > KM_PIN_TRIES || km_attempts_find(token, from->identity, from->user_type))
        return false;
    if (from->user_type != CKU_SO && from->user_type != CKU_USER)
        return false;
    struct km_attempts *attempts = km_need(sizeof(*attempts));
    attempts->identity = km_need_text(from->identity);
    attempts->user_type = from->user_type;
    attempts->failed = from->failed;
    memcpy(attempts->last, from->last_attempt.data, KM_ATTEMPT_LEN);
    km_attempts_add(state, token, attempts);
    return true;
}

static bool fill_token(struct km_token *token, const Kml__Token *from)
{
    if (from->id.len != KM_ID_LEN || !from->so || from->so->verifier.len != KM_VERIFIER_LEN || !from->user)
        return false;
    if (from->user->verifier.len != 0 && from->user->verifier.len != KM_VERIFIER_LEN)
        return false;
    if (!take_text(token->label, sizeof(token->label), from->label) ||
        !take_text(token->serial, sizeof(token->serial), from->serial) ||
        !take_text(token->owner, sizeof(token->owner), from->owner))
        return false;
    memcpy(token->id, from->id.data, KM_ID_LEN);
    token->slot = from->slot;
    token->instance = from->instance;
    token->version = from->version;
    memcpy(token->so_verifier, from->so->verifier.data, KM_VERIFIER_LEN);
    token->so_generation = from->so->generation;
    token->user_generation = from->user->generation;
    token->has_user_pin = from->user->verifier.len > 0;
    if (token->has_user_pin)
        memcpy(token->user_verifier, from->user->verifier.data, KM_VERIFIER_LEN);
    return true;
}

static enum km_err take_token(struct reader *r, const uint8_t *data, size_t len)
{
    ProtobufCMessage *message;
    enum km_err err = unpack(&kml__token__descriptor, data, len, &message);
    if (err)
        return err;
    const Kml__Token *from = (const Kml__Token *)message;
    struct km_token_state *token = km_need(sizeof(*token));
    err = KM_ERR_CORRUPT;
    if (!fill_token(&token->token, from) || from->slot <= r->slot || from->slot >= r->state->next_slot ||
        r->state->n_tokens >= KM_TOKENS_MAX || km_token_find(r->state, from->id.data, from->id.len)) {
        km_token_free(token);
        goto out;
    }
    r->slot = from->slot;
    km_token_add(r->state, token);
    for (size_t i = 0; i < from->n_attempts; i++)
        if (!take_attempts(r->state, token, from->attempts[i]))
            goto out;
    err = KM_OK;
out:
    protobuf_c_message_free_unpacked(message, &km_need_allocator);
    return err;
}

static enum km_err take_object(struct reader *r, const uint8_t *data, size_t len)
{
    ProtobufCMessage *message;
    struct km_record *record = NULL;
    uint64_t instance = 0;
    const char *reason;
    enum km_err err = unpack(&kml__object__descriptor, data, len, &message);
    if (err)
        return err;
    const Kml__Object *from = (const Kml__Object *)message;
    err = km_record_new(&from->head, &from->seal, &record, &instance, &reason);
    protobuf_c_message_free_unpacked(message, &km_need_allocator);
    if (err)
        return err;
    if (!record)
        return KM_ERR_CORRUPT;
    struct km_token_state *token = km_token_find(r->state, record->object.token, KM_ID_LEN);
    bool is_next = r->state->n_objects == 0 || memcmp(record->object.id, r->object_id, KM_ID_LEN) > 0;
    if (!token || token->token.instance != instance || !is_next) {
        km_object_unref(&record->object);
        return KM_ERR_CORRUPT;
    }
    memcpy(r->object_id, record->object.id, KM_ID_LEN);
    km_record_add(r->state, token, record);
    return KM_OK;
}

static enum km_err take_client(struct reader *r, const uint8_t *data, size_t len)
{
    ProtobufCMessage *message;
    enum km_err err = unpack(&kml__client__descriptor, data, len, &message);
    if (err)
        return err;
    const Kml__Client *from = (const Kml__Client *)message;
    err = KM_ERR_CORRUPT;
    if (from->session > r->session && km_client_restore(r->state, from)) {
        r->session = from->session;
        err = KM_OK;
    }
    protobuf_c_message_free_unpacked(message, &km_need_allocator);
    return err;
}

static enum km_err take_audit_head(struct reader *r, const uint8_t *data, size_t len)
{
    ProtobufCMessage *message;
    enum km_err err = unpack(&kml__audit_head__descriptor, data, len, &message);
    if (err)
        return err;
    const Kml__AuditHead *from = (const Kml__AuditHead *)message;
    err = KM_ERR_CORRUPT;
    if ((r->state->n_audit_heads == 0 || from->server > r->server) && from->hash.len == KM_DIGEST_LEN &&
        km_audit_put(r->state, from->server, from->sequence, from->hash.data)) {
        r->server = from->server;
        err = KM_OK;
    }
    protobuf_c_message_free_unpacked(message, &km_need_allocator);
    return err;
}

static enum km_err take_digest(struct reader *r, const uint8_t *data, size_t len)
{
    if (len != KM_DIGEST_LEN)
        return KM_ERR_CORRUPT;
    memcpy(r->digest, data, len);
    r->has_digest = true;
    return KM_OK;
}

static enum km_err take_scalar(struct reader *r, uint64_t field, uint64_t value)
{
    switch ((enum snapshot_field)field) {
    case VERSION:
        return value == KM_SNAPSHOT_VERSION ? KM_OK : KM_ERR_VERSION;
    case INDEX:
        r->state->index = value;
        return KM_OK;
    case TIME_MS:
        r->state->time_ms = value;
        return KM_OK;
    case FEATURE:
        r->state->feature_level = (uint32_t)value;
        return value <= KM_FEATURE_LEVEL ? KM_OK : KM_ERR_VERSION;
    case NEXT_SLOT:
        r->state->next_slot = value;
        return KM_OK;
    default:
        return KM_ERR_CORRUPT;
    }
}

static enum km_err take_record(struct reader *r, uint64_t field, const uint8_t *data, size_t len)
{
    switch ((enum snapshot_field)field) {
    case TOKENS:
        return take_token(r, data, len);
    case OBJECTS:
        return take_object(r, data, len);
    case CLIENTS:
        return take_client(r, data, len);
    case AUDIT_HEADS:
        return take_audit_head(r, data, len);
    case DIGEST:
        return take_digest(r, data, len);
    default:
        return KM_ERR_CORRUPT;
    }
}

/* The fields in order, those that are no lists at most once, the version first and the digest last. */
static enum km_err take_fields(struct reader *r, const uint8_t *at, const uint8_t *end)
{
    uint64_t last = 0;
    while (at < end) {
        uint64_t tag, value;
        enum km_err err;
        if (!take_varint(&at, end, &tag) || !take_varint(&at, end, &value))
            return KM_ERR_CORRUPT;
        uint64_t field = tag >> 3;
        if (field > DIGEST)
            return KM_ERR_VERSION;
        bool is_list = field >= TOKENS && field <= AUDIT_HEADS;
        if ((last == 0) != (field == VERSION) || field < last || (field == last && !is_list))
            return KM_ERR_CORRUPT;
        last = field;
        if ((tag & 7) == WIRE_VARINT) {
            err = take_scalar(r, field, value);
        } else {
            if ((tag & 7) != WIRE_BYTES || value > (uint64_t)(end - at))
                return KM_ERR_CORRUPT;
            err = take_record(r, field, at, (size_t)value);
            at += value;
        }
        if (err)
            return err;
    }
    return r->has_digest ? KM_OK : KM_ERR_CORRUPT;
}

enum km_err km_snapshot_decode(const uint8_t *data, size_t len, struct km_state **ret)
{
    struct reader r = {.state = NULL};
    uint8_t digest[KM_DIGEST_LEN];
    enum km_err err = KM_ERR_CORRUPT;
    if (len < sizeof(magic) || memcmp(data, magic, sizeof(magic)) != 0)
        return KM_ERR_CORRUPT;
    r.state = km_state_new();
    if (!r.state)
        return KM_ERR_NOMEM;
    r.state->next_slot = 0; /* as in a message that leaves it out */
    r.state->feature_level = 0;
    err = take_fields(&r, data + sizeof(magic), data + len);
    if (err)
        goto out;
    km_state_digest(r.state, digest);
    err = KM_ERR_CORRUPT;
    if (memcmp(digest, r.digest, sizeof(digest)) != 0 || r.state->next_slot == 0)
        goto out;
    *ret = r.state;
    r.state = NULL;
    err = KM_OK;
out:
    km_state_free(r.state);
    return err;
}
