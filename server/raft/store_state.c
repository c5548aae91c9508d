/* SPDX-License-Identifier: Apache-2.0
 *
 * Lifetime, memory and digest of the state. The digest is a sum modulo 2^256 over the SHA-256 of every record, so a
 * change costs one hash for what went and one for what came however many keys there are. It is there to find servers
 * that differ by a bug or a damaged disk; it is no defence against somebody who may choose the records.
 */
#include "store_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *out_of_memory(void)
{
    fprintf(stderr, "keymootd: out of memory while applying the log; stopping, so that this server cannot differ from "
                    "the others\n");
    abort();
}

void *km_need(size_t size)
{
    void *p = calloc(1, size);
    return p ? p : out_of_memory();
}

void *km_need_more(void *old, size_t size)
{
    void *p = realloc(old, size);
    return p ? p : out_of_memory();
}

char *km_need_text(const char *text)
{
    char *p = strdup(text);
    return p ? p : out_of_memory();
}

static void *need_alloc(void *arg, size_t size)
{
    (void)arg;
    void *p = malloc(size ? size : 1);
    return p ? p : out_of_memory();
}

static void need_free(void *arg, void *p)
{
    (void)arg;
    free(p);
}

ProtobufCAllocator km_need_allocator = {.alloc = need_alloc, .free = need_free};

struct km_state *km_state_new(void)
{
    struct km_state *state = calloc(1, sizeof(*state));
    if (!state)
        return NULL;
    state->feature_level = 1;
    state->next_slot = 1; /* 0 means "none" on the wire */
    state->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    state->hash = EVP_MD_CTX_new();
    if (!state->sha256 || !state->hash) {
        km_state_free(state);
        return NULL;
    }
    return state;
}

static void free_token(void *arg, struct km_tree_node *node)
{
    (void)arg;
    km_token_free(KM_TREE_OF(node, struct km_token_state, by_id));
}

static void free_record(void *arg, struct km_tree_node *node)
{
    (void)arg;
    km_object_unref(&KM_TREE_OF(node, struct km_record, by_id)->object);
}

void km_state_free(struct km_state *state)
{
    if (!state)
        return;
    km_tree_drain(&state->objects, free_record, NULL);
    for (struct km_tree_node *node = state->gone, *next; node; node = next) {
        next = node->left;
        free_record(NULL, node);
    }
    km_tree_drain(&state->tokens, free_token, NULL);
    km_client_free_all(state);
    free(state->audit_heads);
    EVP_MD_CTX_free(state->hash);
    EVP_MD_free(state->sha256);
    free(state);
}

static void need_crypto(int ok)
{
    if (ok == 1)
        return;
    fprintf(stderr, "keymootd: SHA-256 failed while applying the log; stopping\n");
    abort();
}

static void put_u64(uint8_t out[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

void km_hash_begin(struct km_state *state, char kind)
{
    need_crypto(EVP_DigestInit_ex2(state->hash, state->sha256, NULL));
    need_crypto(EVP_DigestUpdate(state->hash, &kind, 1));
}

void km_hash_u64(struct km_state *state, uint64_t value)
{
    uint8_t bytes[8];
    put_u64(bytes, value);
    need_crypto(EVP_DigestUpdate(state->hash, bytes, sizeof(bytes)));
}

void km_hash_bytes(struct km_state *state, const void *data, size_t len)
{
    km_hash_u64(state, len);
    need_crypto(EVP_DigestUpdate(state->hash, data, len));
}

void km_hash_text(struct km_state *state, const char *text)
{
    km_hash_bytes(state, text, strlen(text));
}

struct km_sum km_hash_end(struct km_state *state)
{
    uint8_t bytes[KM_DIGEST_LEN];
    struct km_sum sum = {{0}};
    need_crypto(EVP_DigestFinal_ex(state->hash, bytes, NULL));
    for (size_t i = 0; i < sizeof(bytes); i++)
        sum.word[i / 8] |= (uint64_t)bytes[i] << (8 * (i % 8));
    return sum;
}

void km_sum_add(struct km_sum *sum, const struct km_sum *term)
{
    unsigned __int128 carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (unsigned __int128)sum->word[i] + term->word[i];
        sum->word[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

void km_sum_sub(struct km_sum *sum, const struct km_sum *term)
{
    uint64_t borrow = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t low = sum->word[i] - term->word[i];
        uint64_t next = (sum->word[i] < term->word[i]) | (low < borrow);
        sum->word[i] = low - borrow;
        borrow = next;
    }
}

void km_state_digest(const struct km_state *state, uint8_t ret[KM_DIGEST_LEN])
{
    static const char magic[8] = "KMSTORE";
    uint8_t bytes[8 + 8 * 8];
    const uint64_t words[8] = {state->index,       state->time_ms,     state->feature_level, state->next_slot,
                               state->sum.word[0], state->sum.word[1], state->sum.word[2],   state->sum.word[3]};
    memcpy(bytes, magic, sizeof(magic));
    for (int i = 0; i < 8; i++)
        put_u64(bytes + 8 + 8 * i, words[i]);
    /* state->hash belongs to the loop thread, this may be any other */
    need_crypto(EVP_Digest(bytes, sizeof(bytes), ret, NULL, state->sha256, NULL));
}

static bool member_has_unknown(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;
    const void *member = base + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n = *(const size_t *)(base + field->quantifier_offset);
        ProtobufCMessage *const *messages = *(ProtobufCMessage *const *const *)member;
        for (size_t i = 0; i < n; i++)
            if (km_has_unknown(messages[i]))
                return true;
        return false;
    }
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
        *(const uint32_t *)(base + field->quantifier_offset) != field->id)
        return false;
    const ProtobufCMessage *inner = *(ProtobufCMessage *const *)member;
    return inner && km_has_unknown(inner);
}

bool km_has_unknown(const ProtobufCMessage *message)
{
    if (message->n_unknown_fields)
        return true;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && member_has_unknown(message, field))
            return true;
    }
    return false;
}

bool km_text_fits(const char *text, size_t len_max)
{
    size_t len = strlen(text);
    return len > 0 && len <= len_max;
}
