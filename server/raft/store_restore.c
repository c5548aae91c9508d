/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot back into a state. Every record is checked as if it came in a command, in the order of its key, into a
 * state of its own, whose digest must be the one in the snapshot; only then does it take the old one's place. Fields
 * that this program does not know make it stop rather than forget them (design D10). Loop thread.
 */
#include "store_bytes.h"
#include "store_state.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    struct km_state *state;
    uint64_t version;
    uint8_t object_id[KM_ID_LEN]; /* of the last object: they come in order */
    uint64_t session, server, slot;
    uint8_t digest[KM_DIGEST_LEN];
    bool has_digest;
};

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
    switch ((enum km_snapshot_field)field) {
    case KM_SNAPSHOT_VERSION_FIELD:
        return value == KM_SNAPSHOT_VERSION ? KM_OK : KM_ERR_VERSION;
    case KM_SNAPSHOT_INDEX:
        r->state->index = value;
        return KM_OK;
    case KM_SNAPSHOT_TIME_MS:
        r->state->time_ms = value;
        return KM_OK;
    case KM_SNAPSHOT_FEATURE:
        r->state->feature_level = (uint32_t)value;
        return value <= KM_FEATURE_LEVEL ? KM_OK : KM_ERR_VERSION;
    case KM_SNAPSHOT_NEXT_SLOT:
        r->state->next_slot = value;
        return KM_OK;
    default:
        return KM_ERR_CORRUPT;
    }
}

static enum km_err take_record(struct reader *r, uint64_t field, const uint8_t *data, size_t len)
{
    switch ((enum km_snapshot_field)field) {
    case KM_SNAPSHOT_TOKENS:
        return take_token(r, data, len);
    case KM_SNAPSHOT_OBJECTS:
        return take_object(r, data, len);
    case KM_SNAPSHOT_CLIENTS:
        return take_client(r, data, len);
    case KM_SNAPSHOT_AUDIT_HEADS:
        return take_audit_head(r, data, len);
    case KM_SNAPSHOT_DIGEST:
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
        if (!km_take_varint(&at, end, &tag) || !km_take_varint(&at, end, &value))
            return KM_ERR_CORRUPT;
        uint64_t field = tag >> 3;
        if (field > KM_SNAPSHOT_DIGEST)
            return KM_ERR_VERSION;
        bool is_list = field >= KM_SNAPSHOT_TOKENS && field <= KM_SNAPSHOT_AUDIT_HEADS;
        if ((last == 0) != (field == KM_SNAPSHOT_VERSION_FIELD) || field < last || (field == last && !is_list))
            return KM_ERR_CORRUPT;
        last = field;
        if ((tag & 7) == KM_WIRE_VARINT) {
            err = take_scalar(r, field, value);
        } else {
            if ((tag & 7) != KM_WIRE_BYTES || value > (uint64_t)(end - at))
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
    if (len < sizeof(km_snapshot_magic) || memcmp(data, km_snapshot_magic, sizeof(km_snapshot_magic)) != 0)
        return KM_ERR_CORRUPT;
    r.state = km_state_new();
    if (!r.state)
        return KM_ERR_NOMEM;
    r.state->next_slot = 0; /* as in a message that leaves it out */
    r.state->feature_level = 0;
    err = take_fields(&r, data + sizeof(km_snapshot_magic), data + len);
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
