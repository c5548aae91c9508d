/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens and the failed attempts at their PINs: the trees they live in and their part of the digest. What a command may
 * do to them is decided in command_token.c. Loop thread, under the store's write lock.
 */
#include "store_state.h"

#include <stdlib.h>
#include <string.h>

static int cmp_id(const struct km_tree_node *a, const struct km_tree_node *b)
{
    return memcmp(KM_TREE_OF(a, struct km_token_state, by_id)->token.id,
                  KM_TREE_OF(b, struct km_token_state, by_id)->token.id, KM_ID_LEN);
}

static int cmp_slot(const struct km_tree_node *a, const struct km_tree_node *b)
{
    uint64_t left = KM_TREE_OF(a, struct km_token_state, by_slot)->token.slot;
    uint64_t right = KM_TREE_OF(b, struct km_token_state, by_slot)->token.slot;
    return (left > right) - (left < right);
}

static int cmp_attempts(const struct km_tree_node *a, const struct km_tree_node *b)
{
    const struct km_attempts *left = KM_TREE_OF(a, struct km_attempts, node);
    const struct km_attempts *right = KM_TREE_OF(b, struct km_attempts, node);
    if (left->user_type != right->user_type)
        return left->user_type < right->user_type ? -1 : 1;
    return strcmp(left->identity, right->identity);
}

struct km_token_state *km_token_find(const struct km_state *state, const uint8_t *id, size_t id_len)
{
    struct km_token_state probe = {.n_classes = 0};
    if (id_len != KM_ID_LEN)
        return NULL;
    memcpy(probe.token.id, id, KM_ID_LEN);
    return KM_TREE_OF(km_tree_find(state->tokens, &probe.by_id, cmp_id), struct km_token_state, by_id);
}

static struct km_sum token_sum(struct km_state *state, const struct km_token *token)
{
    km_hash_begin(state, 'T');
    km_hash_bytes(state, token->id, sizeof(token->id));
    km_hash_u64(state, token->slot);
    km_hash_text(state, token->label);
    km_hash_text(state, token->serial);
    km_hash_u64(state, token->instance);
    km_hash_text(state, token->owner);
    km_hash_bytes(state, token->so_verifier, sizeof(token->so_verifier));
    km_hash_u64(state, token->so_generation);
    km_hash_bytes(state, token->user_verifier, token->has_user_pin ? sizeof(token->user_verifier) : 0);
    km_hash_u64(state, token->user_generation);
    km_hash_u64(state, token->version);
    return km_hash_end(state);
}

static struct km_sum attempts_sum(struct km_state *state, const struct km_token_state *token,
                                  const struct km_attempts *attempts)
{
    km_hash_begin(state, 'P');
    km_hash_bytes(state, token->token.id, sizeof(token->token.id));
    km_hash_text(state, attempts->identity);
    km_hash_u64(state, attempts->user_type);
    km_hash_u64(state, attempts->failed);
    km_hash_bytes(state, attempts->last, sizeof(attempts->last));
    return km_hash_end(state);
}

void km_token_hash_out(struct km_state *state, const struct km_token_state *token)
{
    struct km_sum sum = token_sum(state, &token->token);
    km_sum_sub(&state->sum, &sum);
}

void km_token_hash_in(struct km_state *state, const struct km_token_state *token)
{
    struct km_sum sum = token_sum(state, &token->token);
    km_sum_add(&state->sum, &sum);
}

void km_token_add(struct km_state *state, struct km_token_state *token)
{
    km_tree_insert(&state->tokens, &token->by_id, cmp_id);
    km_tree_insert(&state->slots, &token->by_slot, cmp_slot);
    state->n_tokens++;
    km_token_hash_in(state, token);
}

struct km_attempts *km_attempts_find(const struct km_token_state *token, const char *identity, uint64_t user_type)
{
    const struct km_attempts probe = {.identity = (char *)(size_t)identity, .user_type = user_type};
    return KM_TREE_OF(km_tree_find(token->attempts, &probe.node, cmp_attempts), struct km_attempts, node);
}

struct km_attempts *km_attempts_first(const struct km_token_state *token, uint64_t user_type)
{
    const struct km_attempts probe = {.identity = (char[]){""}, .user_type = user_type};
    struct km_tree_node *node = km_tree_above(token->attempts, &probe.node, true /* inclusive */, cmp_attempts);
    struct km_attempts *attempts = KM_TREE_OF(node, struct km_attempts, node);
    return attempts && attempts->user_type == user_type ? attempts : NULL;
}

void km_attempts_add(struct km_state *state, struct km_token_state *token, struct km_attempts *attempts)
{
    struct km_sum sum = attempts_sum(state, token, attempts);
    km_sum_add(&state->sum, &sum);
    km_sum_add(&token->sum, &sum);
    km_tree_insert(&token->attempts, &attempts->node, cmp_attempts);
}

static void free_attempts(void *arg, struct km_tree_node *node)
{
    (void)arg;
    struct km_attempts *attempts = KM_TREE_OF(node, struct km_attempts, node);
    free(attempts->identity);
    free(attempts);
}

void km_attempts_drop(struct km_state *state, struct km_token_state *token, struct km_attempts *attempts)
{
    struct km_sum sum = attempts_sum(state, token, attempts);
    km_sum_sub(&state->sum, &sum);
    km_sum_sub(&token->sum, &sum);
    km_tree_remove(&token->attempts, &attempts->node, cmp_attempts);
    free_attempts(NULL, &attempts->node);
}

void km_token_free(struct km_token_state *token)
{
    if (!token)
        return;
    km_tree_drain(&token->attempts, free_attempts, NULL);
    free(token->classes);
    free(token);
}

static void forget_record(void *arg, struct km_tree_node *node)
{
    struct km_state *state = arg;
    struct km_record *record = KM_TREE_OF(node, struct km_record, by_class);
    km_tree_remove(&state->objects, &record->by_id, km_record_cmp_id);
    state->n_objects--;
    km_record_leave(state, record);
}

void km_token_clear(struct km_state *state, struct km_token_state *token)
{
    km_sum_sub(&state->sum, &token->sum);
    token->sum = (struct km_sum){{0}};
    km_tree_drain(&token->attempts, free_attempts, NULL);
    token->by_cka_id = NULL;
    token->by_label = NULL;
    for (size_t i = 0; i < token->n_classes; i++)
        km_tree_drain(&token->classes[i].objects, forget_record, state);
    free(token->classes);
    token->classes = NULL;
    token->n_classes = 0;
    token->token.objects = 0;
}
