/* SPDX-License-Identifier: Apache-2.0
 *
 * Handlers for tokens, their PINs, registered clients and the cluster's own records. The PIN itself never comes here:
 * a verifier is an HMAC under a key that only back ends hold (design D13). Loop thread, under the write lock.
 */
#include "store_state.h"

#include <assert.h>
#include <string.h>

struct km_token_state *km_expect_token(const struct km_state *state, const ProtobufCBinaryData *id, uint64_t instance,
                                       struct km_outcome *ret)
{
    struct km_token_state *token = km_token_find(state, id->data, id->len);
    enum km_err err = KM_OK;
    if (!token)
        err = km_refuse(ret, CKR_TOKEN_NOT_PRESENT, "no such token");
    else if (token->token.instance != instance)
        err = km_refuse(ret, CKR_FUNCTION_REJECTED, "token was initialised meanwhile");
    else
        return token;
    assert(err == KM_OK);
    return NULL;
}

enum km_err km_apply_client_register(struct km_state *state, const Kml__ClientRegister *body, struct km_outcome *ret)
{
    if (!km_text_fits(body->identity, KM_STORE_IDENTITY_MAX))
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "identity empty or too long");
    /* the index of the entry is a number that no other client has or will have */
    ret->session = km_client_add(state, state->index, body->identity)->session;
    return KM_OK;
}

static void set_text(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);
    assert(len < size);
    memset(to, 0, size);
    memcpy(to, from, len);
}

static enum km_err token_create(struct km_state *state, const Kml__TokenInit *body, struct km_outcome *ret)
{
    if (body->slot != state->next_slot)
        return km_refuse(ret, CKR_SLOT_ID_INVALID, "slot is no longer the free one");
    if (body->id.len != KM_ID_LEN || km_token_find(state, body->id.data, body->id.len))
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "token id is not new");
    if (!km_text_fits(body->serial, sizeof(((struct km_token *)0)->serial) - 1))
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "serial number empty or too long");
    if (state->n_tokens >= KM_TOKENS_MAX)
        return km_refuse(ret, CKR_DEVICE_MEMORY, "too many tokens");
    struct km_token_state *token = km_need(sizeof(*token));
    memcpy(token->token.id, body->id.data, KM_ID_LEN);
    token->token.slot = state->next_slot++;
    token->token.instance = 1;
    token->token.version = 1;
    token->token.so_generation = 1;
    memcpy(token->token.so_verifier, body->so->verifier.data, KM_VERIFIER_LEN);
    set_text(token->token.label, sizeof(token->token.label), body->label);
    set_text(token->token.serial, sizeof(token->token.serial), body->serial);
    set_text(token->token.owner, sizeof(token->token.owner), body->owner);
    km_token_add(state, token);
    km_outcome_add_id(ret, token->token.id);
    return KM_OK;
}

/* The token keeps id, slot and serial number; everything in it goes. */
static enum km_err token_init_again(struct km_state *state, const Kml__TokenInit *body, struct km_outcome *ret)
{
    struct km_token_state *token = km_expect_token(state, &body->id, body->expect_instance, ret);
    if (!token)
        return KM_OK;
    if (body->slot != token->token.slot)
        return km_refuse(ret, CKR_SLOT_ID_INVALID, "token is in another slot");
    if (body->so->generation != 0 && body->so->generation != token->token.so_generation + 1)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, "SO PIN was changed meanwhile");
    km_token_hash_out(state, token);
    km_token_clear(state, token);
    token->token.instance++;
    token->token.version++;
    token->token.so_generation++;
    token->token.user_generation++;
    token->token.has_user_pin = false;
    memset(token->token.user_verifier, 0, sizeof(token->token.user_verifier));
    memcpy(token->token.so_verifier, body->so->verifier.data, KM_VERIFIER_LEN);
    set_text(token->token.label, sizeof(token->token.label), body->label);
    set_text(token->token.owner, sizeof(token->token.owner), body->owner);
    km_token_hash_in(state, token);
    km_outcome_add_id(ret, token->token.id);
    return KM_OK;
}

enum km_err km_apply_token_init(struct km_state *state, const Kml__TokenInit *body, struct km_outcome *ret)
{
    if (!body->so || body->so->verifier.len != KM_VERIFIER_LEN)
        return km_refuse(ret, CKR_PIN_INVALID, "SO PIN without a verifier");
    if (strlen(body->label) > sizeof(((struct km_token *)0)->label) - 1)
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "label too long");
    if (!km_text_fits(body->owner, KM_STORE_IDENTITY_MAX))
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "owner empty or too long");
    return body->expect_instance == 0 ? token_create(state, body, ret) : token_init_again(state, body, ret);
}

static void forget_attempts(struct km_state *state, struct km_token_state *token, uint64_t user_type)
{
    struct km_attempts *attempts;
    while ((attempts = km_attempts_first(token, user_type)))
        km_attempts_drop(state, token, attempts);
}

/* The PIN of `user_type`, as the token stands; NULL with the refusal otherwise. */
static uint64_t *expect_generation(struct km_token_state *token, uint64_t user_type, uint64_t generation,
                                   struct km_outcome *ret)
{
    uint64_t *found = NULL;
    enum km_err err = KM_OK;
    if (user_type == CKU_SO)
        found = &token->token.so_generation;
    else if (user_type == CKU_USER)
        found = &token->token.user_generation;
    if (!found)
        err = km_refuse(ret, CKR_USER_TYPE_INVALID, "no PIN of this user type");
    else if (*found != generation)
        err = km_refuse(ret, CKR_FUNCTION_REJECTED, "PIN was changed meanwhile");
    else
        return found;
    assert(err == KM_OK);
    return NULL;
}

enum km_err km_apply_pin_change(struct km_state *state, const Kml__PinChange *body, struct km_outcome *ret)
{
    struct km_token_state *token = km_expect_token(state, &body->token, body->expect_instance, ret);
    if (!token)
        return KM_OK;
    uint64_t *generation = expect_generation(token, body->user_type, body->expect_generation, ret);
    if (!generation)
        return KM_OK;
    if (body->verifier.len != KM_VERIFIER_LEN)
        return km_refuse(ret, CKR_PIN_INVALID, "PIN without a verifier");
    km_token_hash_out(state, token);
    bool is_user = body->user_type == CKU_USER;
    memcpy(is_user ? token->token.user_verifier : token->token.so_verifier, body->verifier.data, KM_VERIFIER_LEN);
    token->token.has_user_pin |= is_user;
    token->token.version++;
    ++*generation;
    km_token_hash_in(state, token);
    forget_attempts(state, token, body->user_type);
    km_outcome_add_id(ret, token->token.id);
    return KM_OK;
}

static void token_changed(struct km_state *state, struct km_token_state *token)
{
    km_token_hash_out(state, token);
    token->token.version++;
    km_token_hash_in(state, token);
}

/* Puts `failed` attempts, the last of them `last`, in the place of what was counted before (`old`, may be NULL). */
static void attempts_replace(struct km_state *state, struct km_token_state *token, const Kml__PinAttempt *body,
                             struct km_attempts *old, uint32_t failed)
{
    struct km_attempts *attempts = km_need(sizeof(*attempts));
    attempts->identity = km_need_text(body->identity);
    attempts->user_type = body->user_type;
    attempts->failed = failed;
    memcpy(attempts->last, body->attempt.data, KM_ATTEMPT_LEN);
    if (old)
        km_attempts_drop(state, token, old);
    km_attempts_add(state, token, attempts);
    token_changed(state, token);
}

static enum km_err attempt_failed(struct km_outcome *ret)
{
    if (ret->failed >= KM_PIN_TRIES)
        return km_refuse(ret, CKR_PIN_LOCKED, "PIN locked for this identity after too many failed attempts");
    return km_refuse(ret, CKR_PIN_INCORRECT, "PIN incorrect");
}

enum km_err km_apply_pin_attempt(struct km_state *state, const Kml__PinAttempt *body, struct km_outcome *ret)
{
    struct km_token_state *token = km_expect_token(state, &body->token, body->expect_instance, ret);
    if (!token || !expect_generation(token, body->user_type, body->expect_generation, ret))
        return KM_OK;
    if (body->attempt.len != KM_ATTEMPT_LEN)
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "PIN attempt without an id");
    if (!km_text_fits(body->identity, KM_STORE_IDENTITY_MAX))
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "identity empty or too long");
    struct km_attempts *old = km_attempts_find(token, body->identity, body->user_type);
    ret->failed = old ? old->failed : 0;
    if (ret->failed >= KM_PIN_TRIES) /* a good PIN does not open the lock either */
        return attempt_failed(ret);
    if (old && memcmp(old->last, body->attempt.data, KM_ATTEMPT_LEN) == 0 && !body->is_good)
        return attempt_failed(ret); /* counted before */
    if (!body->is_good) {
        attempts_replace(state, token, body, old, ++ret->failed);
        return attempt_failed(ret);
    }
    ret->failed = 0;
    if (old) {
        km_attempts_drop(state, token, old);
        token_changed(state, token);
    }
    return KM_OK;
}

enum km_err km_apply_feature_level(struct km_state *state, const Kml__FeatureLevel *body, struct km_outcome *ret)
{
    if (body->level > KM_FEATURE_LEVEL)
        return KM_ERR_VERSION;
    if (body->level < state->feature_level)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, "feature level never falls");
    state->feature_level = body->level;
    return KM_OK;
}

static struct km_sum audit_sum(struct km_state *state, const struct km_audit_head *head)
{
    km_hash_begin(state, 'A');
    km_hash_u64(state, head->server);
    km_hash_u64(state, head->sequence);
    km_hash_bytes(state, head->hash, sizeof(head->hash));
    return km_hash_end(state);
}

/* The server's head, or where a new one belongs. */
static size_t audit_position(const struct km_state *state, uint64_t server)
{
    size_t i = 0;
    while (i < state->n_audit_heads && state->audit_heads[i].server < server)
        i++;
    return i;
}

static void audit_room(struct km_state *state, size_t i)
{
    size_t size = sizeof(state->audit_heads[0]);
    state->audit_heads = km_need_more(state->audit_heads, (state->n_audit_heads + 1) * size);
    memmove(state->audit_heads + i + 1, state->audit_heads + i, (state->n_audit_heads++ - i) * size);
}

static bool is_audited(const struct km_state *state, size_t i, uint64_t server)
{
    return i < state->n_audit_heads && state->audit_heads[i].server == server;
}

bool km_audit_put(struct km_state *state, uint64_t server, uint64_t sequence, const uint8_t hash[KM_DIGEST_LEN])
{
    size_t i = audit_position(state, server);
    struct km_sum sum;
    if (is_audited(state, i, server)) {
        sum = audit_sum(state, &state->audit_heads[i]);
        km_sum_sub(&state->sum, &sum);
    } else if (state->n_audit_heads < KM_AUDIT_HEADS_MAX) {
        audit_room(state, i);
    } else {
        return false;
    }
    state->audit_heads[i].server = server;
    state->audit_heads[i].sequence = sequence;
    memcpy(state->audit_heads[i].hash, hash, KM_DIGEST_LEN);
    sum = audit_sum(state, &state->audit_heads[i]);
    km_sum_add(&state->sum, &sum);
    return true;
}

enum km_err km_apply_audit_head(struct km_state *state, const Kml__AuditHead *body, struct km_outcome *ret)
{
    size_t i = audit_position(state, body->server);
    if (body->hash.len != KM_DIGEST_LEN)
        return km_refuse(ret, CKR_ARGUMENTS_BAD, "audit head without a hash");
    if (is_audited(state, i, body->server) && body->sequence <= state->audit_heads[i].sequence)
        return km_refuse(ret, CKR_FUNCTION_REJECTED, "audit head is not newer than the last one");
    if (!km_audit_put(state, body->server, body->sequence, body->hash.data))
        return km_refuse(ret, CKR_DEVICE_MEMORY, "too many servers with audit heads");
    return KM_OK;
}

enum km_err km_apply_tick(struct km_state *state, const Kml__Tick *body, struct km_outcome *ret)
{
    (void)state, (void)body, (void)ret; /* time has moved on already */
    return KM_OK;
}
