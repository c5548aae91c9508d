/* SPDX-License-Identifier: Apache-2.0
 *
 * Handlers for objects. Every check comes before the first change, so that a command with several objects happens
 * wholly or not at all. Loop thread, under the store's write lock.
 */
#include "store_state.h"

#include <string.h>

/* The token that the record belongs to, if it may be stored there; NULL with the refusal otherwise. */
static struct km_token_state *expect_home(const struct km_state *state, const struct km_record *record,
                                          uint64_t instance, struct km_outcome *ret)
{
    const ProtobufCBinaryData id = {KM_ID_LEN, (uint8_t *)(size_t)record->object.token};
    return km_expect_token(state, &id, instance, ret);
}

struct creation {
    struct km_record *records[KM_OBJECTS_PER_COMMAND];
    struct km_token_state *tokens[KM_OBJECTS_PER_COMMAND];
    size_t n;
};

static bool is_new(const struct km_state *state, const struct creation *creation, const uint8_t *id)
{
    for (size_t i = 0; i + 1 < creation->n; i++)
        if (memcmp(creation->records[i]->object.id, id, KM_ID_LEN) == 0)
            return false;
    return !km_record_find(state, id, KM_ID_LEN);
}

static enum km_err create_prepare(const struct km_state *state, const Kml__Object *object, struct creation *creation,
                                  struct km_outcome *ret)
{
    struct km_record *record;
    const char *reason;
    uint64_t instance;
    enum km_err err = km_record_new(&object->head, &object->seal, &record, &instance, &reason);
    if (err)
        return err;
    if (!record)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, reason);
    creation->records[creation->n++] = record;
    if (record->object.version != 1)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, "new object whose version is not 1");
    if (!is_new(state, creation, record->object.id))
        return km_refuse(ret, CKR_FUNCTION_REJECTED, "object id is not new");
    creation->tokens[creation->n - 1] = expect_home(state, record, instance, ret);
    return KM_OK;
}

static void object_changed(struct km_state *state, struct km_token_state *token, const uint8_t *id,
                           struct km_outcome *ret)
{
    km_token_hash_out(state, token);
    token->token.version++;
    km_token_hash_in(state, token);
    km_outcome_add_id(ret, id);
}

enum km_err km_apply_object_create(struct km_state *state, const Kml__ObjectCreate *body, struct km_outcome *ret)
{
    struct creation creation = {.n = 0};
    enum km_err err = KM_OK;
    if (body->n_objects == 0 || body->n_objects > KM_OBJECTS_PER_COMMAND)
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "no object, or too many at once");
    for (size_t i = 0; i < body->n_objects && !err && ret->rv == CKR_OK; i++)
        err = create_prepare(state, body->objects[i], &creation, ret);
    if (err || ret->rv != CKR_OK) {
        for (size_t i = 0; i < creation.n; i++)
            km_object_unref(&creation.records[i]->object);
        return err;
    }
    for (size_t i = 0; i < creation.n; i++) {
        km_record_add(state, creation.tokens[i], creation.records[i]);
        object_changed(state, creation.tokens[i], creation.records[i]->object.id, ret);
    }
    ret->companion = body->companion;
    return KM_OK;
}

/* Checks the new version against the one that is there. */
static enum km_err replace_check(const struct km_object *old, const struct km_object *object, uint64_t expect_version,
                                 struct km_outcome *ret)
{
    if (old->version != expect_version || object->version != expect_version + 1)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, "object was changed meanwhile");
    if (memcmp(old->token, object->token, KM_ID_LEN) != 0)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, "object belongs to another token");
    if (old->class != object->class || old->key_type != object->key_type)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, "class and key type of an object never change");
    return KM_OK;
}

enum km_err km_apply_object_replace(struct km_state *state, const Kml__ObjectReplace *body, struct km_outcome *ret)
{
    struct km_record *record = NULL;
    struct km_token_state *token = NULL;
    const char *reason;
    uint64_t instance;
    if (!body->object)
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "no object");
    enum km_err err = km_record_new(&body->object->head, &body->object->seal, &record, &instance, &reason);
    if (err)
        return err;
    if (!record)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, reason);
    struct km_record *old = km_record_find(state, record->object.id, KM_ID_LEN);
    if (!old)
        err = km_refuse(ret, CKR_OBJECT_HANDLE_INVALID, "no such object");
    else
        err = replace_check(&old->object, &record->object, body->expect_version, ret);
    if (!err && ret->rv == CKR_OK)
        token = expect_home(state, record, instance, ret);
    if (!token) {
        km_object_unref(&record->object);
        return err;
    }
    km_record_drop(state, token, old);
    km_record_add(state, token, record);
    object_changed(state, token, record->object.id, ret);
    return KM_OK;
}

enum km_err km_apply_object_destroy(struct km_state *state, const Kml__ObjectDestroy *body, struct km_outcome *ret)
{
    struct km_token_state *token = km_token_find(state, body->token.data, body->token.len);
    struct km_record *record = km_record_find(state, body->id.data, body->id.len);
    if (!token || !record || memcmp(record->object.token, token->token.id, KM_ID_LEN) != 0)
        return km_refuse(ret, CKR_OBJECT_HANDLE_INVALID, "no such object");
    km_record_drop(state, token, record);
    object_changed(state, token, body->id.data, ret);
    return KM_OK;
}
