/* SPDX-License-Identifier: Apache-2.0
 *
 * The state as bytes: "KMSNAP" and one packed kml.Snapshot. It is written record by record, never as one tree of
 * messages, because it may hold hundreds of thousands of objects; these are only referenced, and whoever writes the
 * snapshot copies them. What comes out is what protobuf-c would have packed: fields in order, each list in the order of
 * its key, so equal states give equal bytes. Loop thread.
 */
#include "store_bytes.h"
#include "store_state.h"

#include <stdlib.h>
#include <string.h>

/* Field numbers of log.proto that are written here one by one. */
enum { CLIENT_RESULTS = 5, CLIENT_RESULT_RESULT = 3, TAG_MAX = 10 + 1 };

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

static void put(struct writer *w, const void *data, size_t len)
{
    uint8_t *out = room(w, len);
    if (out && len)
        memcpy(out, data, len);
}

/* Tag and length of a field of `len` bytes that the caller puts next. */
static void put_tag(struct writer *w, unsigned field, size_t len)
{
    uint8_t head[TAG_MAX] = {(uint8_t)(field << 3 | KM_WIRE_BYTES)};
    put(w, head, 1 + km_put_varint(head + 1, len));
}

static void put_bytes(struct writer *w, unsigned field, const void *data, size_t len)
{
    put_tag(w, field, len);
    put(w, data, len);
}

static size_t bytes_size(size_t len)
{
    uint8_t scratch[10];
    return len ? 1 + km_put_varint(scratch, len) + len : 0;
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
    put_message(w, KM_SNAPSHOT_TOKENS, &message.base);
out:
    free(list.messages);
    free(list.pointers);
}

struct part_list {
    struct km_part *parts;
    size_t n;
};

/* A record keeps its bytes in the snapshot's form: store_object.c. */
static void add_object(void *arg, struct km_tree_node *node)
{
    struct part_list *list = arg;
    struct km_record *record = KM_TREE_OF(node, struct km_record, by_id);
    atomic_fetch_add_explicit(&record->refs, 1, memory_order_relaxed);
    list->parts[list->n++] = (struct km_part){record->bytes, record->len};
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
    return kml__client_result__get_packed_size(&message) + 1 + km_put_varint(scratch, result->len) + result->len;
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
    put_tag(w, KM_SNAPSHOT_CLIENTS, len);
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
        put_message(w, KM_SNAPSHOT_AUDIT_HEADS, &message.base);
    }
}

void km_store_image_free(struct km_part *parts, size_t n)
{
    for (size_t i = 1; i + 1 < n; i++) {
        struct km_record *record = (struct km_record *)((char *)parts[i].base - offsetof(struct km_record, bytes));
        km_object_unref(&record->object);
    }
    if (n > 0) {
        free(parts[0].base);
        free(parts[n - 1].base);
    }
    free(parts);
}

enum km_err km_snapshot_encode(struct km_state *state, struct km_part **ret, size_t *ret_n)
{
    struct writer before = {.state = state}, after = {.state = state};
    struct part_list list = {calloc(state->n_objects + 2, sizeof(struct km_part)), 1};
    uint8_t digest[KM_DIGEST_LEN];
    km_state_digest(state, digest);
    put(&before, km_snapshot_magic, sizeof(km_snapshot_magic));
    put_scalars(&before);
    km_tree_each(state->slots, put_token, &before);
    km_tree_each(state->clients, put_client, &after);
    put_audit_heads(&after);
    put_bytes(&after, KM_SNAPSHOT_DIGEST, digest, sizeof(digest));
    if (!list.parts || before.has_failed || after.has_failed) {
        free(list.parts);
        free(before.data);
        free(after.data);
        return KM_ERR_NOMEM;
    }
    list.parts[0] = (struct km_part){before.data, before.len};
    km_tree_each(state->objects, add_object, &list);
    list.parts[list.n++] = (struct km_part){after.data, after.len};
    *ret = list.parts;
    *ret_n = list.n;
    return KM_OK;
}
