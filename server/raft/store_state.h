/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the store, shared by the store_*.c files and command.c and by nobody else.
 *
 * Memory: the state machine allocates with km_need, which ends the process when there is none: going on without a
 * change that the other servers made would make this one differ from them for good.
 */
#ifndef KM_RAFT_STORE_STATE_H
#define KM_RAFT_STORE_STATE_H

#include "store.h"
#include "store_tree.h"
#include "../../common/cryptoki.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

#define KM_DIGEST_LEN 32
#define KM_VERIFIER_LEN 32
#define KM_ATTEMPT_LEN 16
#define KM_STORE_IDENTITY_MAX (sizeof(((struct km_token *)0)->owner) - 1) /* bytes without the end */
#define KM_OBJECTS_PER_COMMAND 64
#define KM_TOKENS_MAX 4096
#define KM_AUDIT_HEADS_MAX 1024 /* servers that ever reported, in all */

/* The sum modulo 2^256 of the SHA-256 of every record: order does not matter, adding and taking away is one hash. */
struct km_sum {
    uint64_t word[4];
};

/* An object in the store: what readers see, its links in the indexes, then head and seal as they stand in a snapshot. */
struct km_record {
    struct km_object object;
    atomic_uint refs;
    atomic_bool is_gone;
    bool has_cka_id, has_label;
    uint64_t cka_id_hash, label_hash;
    struct km_tree_node by_id;     /* km_state.objects; its `left` links those in km_state.gone */
    struct km_tree_node by_class;  /* km_token_state.classes[] */
    struct km_tree_node by_cka_id; /* km_token_state.by_cka_id */
    struct km_tree_node by_label;
    size_t len;
    uint8_t bytes[]; /* a field `objects` of kml.Snapshot */
};

struct km_class {
    uint64_t class;
    struct km_tree_node *objects;
    size_t n;
};

struct km_attempts {
    struct km_tree_node node;
    char *identity;
    uint64_t user_type;
    uint32_t failed;
    uint8_t last[KM_ATTEMPT_LEN];
};

struct km_token_state {
    struct km_tree_node by_id, by_slot;
    struct km_token token;
    struct km_tree_node *attempts;
    struct km_class *classes;
    size_t n_classes;
    struct km_tree_node *by_cka_id, *by_label;
    struct km_sum sum; /* of its objects and attempts, so that initialising it again need not hash them */
};

struct km_client_result {
    uint64_t number;
    uint8_t hash[KM_DIGEST_LEN];
    size_t len;
    uint8_t packed[]; /* kml.Result */
};

/* An identity with registered clients. */
struct km_holder {
    struct km_tree_node node;
    struct km_tree_node *idle;
    size_t n;
    char *identity;
};

struct km_client {
    struct km_tree_node by_session;
    struct km_tree_node by_idle;        /* (last_ms, session): the longest idle first */
    struct km_tree_node by_holder_idle; /* the same within one identity */
    struct km_holder *holder;
    uint64_t session, last_ms;
    uint64_t floor;                    /* numbers up to here are acknowledged or fell out of the window */
    struct km_client_result **results; /* by number */
    size_t n, cap;
    struct km_sum sum; /* of its record and results */
};

struct km_audit_head {
    uint64_t server, sequence;
    uint8_t hash[KM_DIGEST_LEN];
};

struct km_state {
    uint64_t index, time_ms, next_slot;
    uint32_t feature_level;
    struct km_tree_node *tokens, *slots;
    size_t n_tokens;
    struct km_tree_node *objects;
    size_t n_objects;
    struct km_tree_node *gone; /* records that somebody wants to hear of (keeps_gone) */
    bool keeps_gone;
    struct km_tree_node *clients, *idle, *holders;
    size_t n_clients;
    struct km_audit_head *audit_heads; /* by server */
    size_t n_audit_heads;
    struct km_sum sum;
    EVP_MD *sha256;
    EVP_MD_CTX *hash;
};

/* What a handler answered; becomes a kml.Result. `reason` is a literal. */
struct km_outcome {
    uint64_t rv;
    const char *reason;
    uint8_t ids[KM_OBJECTS_PER_COMMAND][KM_ID_LEN];
    size_t n_ids;
    uint64_t session;
    uint32_t failed;
    ProtobufCBinaryData companion; /* borrowed from the command */
};

/* --- store_state.c: memory, lifetime, digest ---------------------------------------------------------------------- */

/* `size` zeroed bytes, freed with free; ends the process when there are none. */
void *km_need(size_t size);
/* `old` grown to `size` bytes; likewise. */
void *km_need_more(void *old, size_t size);
char *km_need_text(const char *text);
/* The same for protobuf-c, so that "malformed" and "out of memory" cannot be mixed up. Results can be freed with NULL.
 */
extern ProtobufCAllocator km_need_allocator;

struct km_state *km_state_new(void);
void km_state_free(struct km_state *state);
/* Digest of the whole state; any thread that holds the read lock. */
void km_state_digest(const struct km_state *state, uint8_t ret[KM_DIGEST_LEN]);

void km_hash_begin(struct km_state *state, char kind);
void km_hash_u64(struct km_state *state, uint64_t value);
void km_hash_bytes(struct km_state *state, const void *data, size_t len);
void km_hash_text(struct km_state *state, const char *text);
struct km_sum km_hash_end(struct km_state *state);
void km_sum_add(struct km_sum *sum, const struct km_sum *term);
void km_sum_sub(struct km_sum *sum, const struct km_sum *term);

/* True if `message` or a message inside it has fields that this program does not know. */
bool km_has_unknown(const ProtobufCMessage *message);
/* True if `text` has 1 to `len_max` bytes. */
bool km_text_fits(const char *text, size_t len_max);

/* --- store_token.c ------------------------------------------------------------------------------------------------ */

struct km_token_state *km_token_find(const struct km_state *state, const uint8_t *id, size_t id_len);
/* Adds a token (taken) whose id and slot are new. */
void km_token_add(struct km_state *state, struct km_token_state *token);
/* The token's own record leaves the digest before it is changed and enters it again afterwards. */
void km_token_hash_out(struct km_state *state, const struct km_token_state *token);
void km_token_hash_in(struct km_state *state, const struct km_token_state *token);
/* The first attempts at the PIN of `user_type`, by identity, or NULL. */
struct km_attempts *km_attempts_first(const struct km_token_state *token, uint64_t user_type);
struct km_attempts *km_attempts_find(const struct km_token_state *token, const char *identity, uint64_t user_type);
/* Adds attempts (taken) that are new, or takes them out and frees them. */
void km_attempts_add(struct km_state *state, struct km_token_state *token, struct km_attempts *attempts);
void km_attempts_drop(struct km_state *state, struct km_token_state *token, struct km_attempts *attempts);
/* Frees a token that is in no tree, without touching objects that are in the state's. */
void km_token_free(struct km_token_state *token);
/* Removes every object and every attempt. */
void km_token_clear(struct km_state *state, struct km_token_state *token);

/* --- store_object.c ----------------------------------------------------------------------------------------------- */

/* Checks a head and makes a record of head and seal. `*ret` NULL with `*ret_reason` when it is refused. Errors:
 * KM_ERR_VERSION when the head has unknown fields. The caller frees with km_object_unref(&(*ret)->object). */
enum km_err km_record_new(const ProtobufCBinaryData *head, const ProtobufCBinaryData *seal, struct km_record **ret,
                          uint64_t *ret_instance, const char **ret_reason) KM_CHECKED;
struct km_record *km_record_find(const struct km_state *state, const uint8_t *id, size_t id_len);
/* Adds a record (taken) with a new id, or removes one and gives up the store's reference. */
void km_record_add(struct km_state *state, struct km_token_state *token, struct km_record *record);
void km_record_drop(struct km_state *state, struct km_token_state *token, struct km_record *record);
/* Gives up the store's reference to a record that is in no tree any more. */
void km_record_leave(struct km_state *state, struct km_record *record);
int km_record_cmp_id(const struct km_tree_node *a, const struct km_tree_node *b);

/* --- store_client.c ----------------------------------------------------------------------------------------------- */

enum km_verdict { KM_CLIENT_NEW, KM_CLIENT_DONE, KM_CLIENT_REFUSED };

struct km_client *km_client_find(const struct km_state *state, uint64_t session);
/* What is to be done with change `number` of `session`: execute it, answer with `*ret_result` again, or refuse it for
 * `*ret_reason`. */
enum km_verdict km_client_judge(const struct km_state *state, uint64_t session, uint64_t number, const char *identity,
                                const uint8_t *hash, size_t hash_len, struct km_client_result **ret_result,
                                const char **ret_reason);
/* A new client of `identity`; others make room. */
struct km_client *km_client_add(struct km_state *state, uint64_t session, const char *identity);
void km_client_drop(struct km_state *state, struct km_client *client);
/* The client was heard from now and has all answers up to `acked`. */
void km_client_touch(struct km_state *state, struct km_client *client, uint64_t acked);
/* Keeps a packed result; the oldest one makes room. */
void km_client_keep(struct km_state *state, struct km_client *client, uint64_t number, const uint8_t *hash,
                    const uint8_t *packed, size_t len);
/* Drops the clients that have been idle for longer than KM_CLIENT_TTL_MS. */
void km_client_expire(struct km_state *state);
/* A client as it stood in a snapshot. False if the state cannot have held it. */
bool km_client_restore(struct km_state *state, const Kml__Client *client);
void km_client_free_all(struct km_state *state);

/* --- command.c, command_*.c: one handler per row of command.def
 * ----------------------------------------------------------------- */

#define KM_COMMAND(NAME, member, type, level)                                                                          \
    enum km_err km_apply_##member(struct km_state *state, const Kml__##type *body, struct km_outcome *ret) KM_CHECKED;
#include "command.def"
#undef KM_COMMAND

/* A server's audit head enters the state, in the place of its last one. False if there are too many servers. */
bool km_audit_put(struct km_state *state, uint64_t server, uint64_t sequence, const uint8_t hash[KM_DIGEST_LEN]);

/* Applies one decoded command to the state. */
enum km_err km_command_apply(struct km_state *state, uint64_t index, const Kml__Command *command,
                             Kml__Result **ret) KM_CHECKED;

/* Sets the refusal and returns KM_OK: a refused command is applied like any other. */
enum km_err km_refuse(struct km_outcome *outcome, uint64_t rv, const char *reason) KM_CHECKED;
/* Checks that the token is there and at `instance`; NULL with the refusal otherwise. */
struct km_token_state *km_expect_token(const struct km_state *state, const ProtobufCBinaryData *id, uint64_t instance,
                                       struct km_outcome *ret);
void km_outcome_add_id(struct km_outcome *outcome, const uint8_t id[KM_ID_LEN]);

/* --- store_snapshot.c, store_restore.c -----------------------------------------------------------------------------
 */

enum km_err km_snapshot_encode(struct km_state *state, struct km_part **ret, size_t *ret_n) KM_CHECKED;
enum km_err km_snapshot_decode(const uint8_t *data, size_t len, struct km_state **ret) KM_CHECKED;

/* --- store.c -------------------------------------------------------------------------------------------------------
 */

struct km_store {
    pthread_rwlock_t lock; /* writers first: the loop thread must not wait for a stream of readers */
    struct km_state *state;
    _Atomic uint64_t index, time_ms, next_slot;
    _Atomic uint32_t feature_level;
    void (*on_gone)(void *arg); /* with its argument under the lock */
    void *on_gone_arg;
};

#endif
