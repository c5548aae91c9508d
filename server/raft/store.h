/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: the replicated state. Commands come in by km_store_apply in log order and change it; everything else reads. It is
 * deterministic (design D10): no clock, no randomness, no I/O; the same log gives the same store, byte for byte.
 *
 * Threads: apply, snapshot and restore on the loop thread only. Readers on any thread: each reader function takes the read lock itself
 * and returns counted references to immutable records, so nobody holds a lock while doing cryptography.
 */
#ifndef KM_RAFT_STORE_H
#define KM_RAFT_STORE_H

#include "../../common/err.h"
#include "log.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_LOG_VERSION 1
#define KM_SNAPSHOT_VERSION 1
#define KM_FEATURE_LEVEL 1           /* highest that this program knows */
#define KM_ID_LEN 16
#define KM_CLIENT_WINDOW 64          /* results kept per registered client */
#define KM_CLIENTS_MAX 65536         /* registered clients in all */
#define KM_CLIENTS_PER_IDENTITY 8192 /* the longest idle one of the identity makes room */
#define KM_CLIENT_TTL_MS (60u * 60 * 1000)
#define KM_PIN_TRIES 10              /* failed attempts of one identity at one PIN before it is locked out */
#define KM_COMMAND_MAX (1024u * 1024) /* bytes of one packed command at most */

/* One immutable version of an object. */
struct km_object {
    uint8_t id[KM_ID_LEN];
    uint8_t token[KM_ID_LEN];
    uint64_t version;
    uint64_t class, key_type;
    bool is_private;
    const uint8_t *head; /* packed kml.Head, the seal's associated data */
    size_t head_len;
    const uint8_t *seal;
    size_t seal_len;
    /* private: reference count, index links */
};

/* What the store says of a token; a copy, plain memory. */
struct km_token {
    uint8_t id[KM_ID_LEN];
    uint64_t slot, instance, version, objects;
    char label[33];
    char serial[17];
    char owner[224];
    uint8_t so_verifier[32], user_verifier[32];
    bool has_user_pin;
    uint64_t so_generation, user_generation;
};

struct km_store;

/* An empty store; NULL when out of memory. */
struct km_store *km_store_new(void);
void km_store_free(struct km_store *store);

/* Applies the command in `data` (packed kml.Command) as log entry `index` and hands out what it answered
 * (freed by the caller with kml__result__free_unpacked(result, NULL); never NULL on success). A command that is refused (wrong version,
 * PIN locked, unknown client ...) is a success here whose result carries the refusal as CK_RV.
 * What a result's rv says: CKR_OK; CKR_PIN_INCORRECT (a failed PinAttempt that was counted, or had been) or CKR_PIN_LOCKED, with `failed`;
 * CKR_FUNCTION_REJECTED (something was changed meanwhile: instance, generation, version, id); CKR_TOKEN_NOT_PRESENT; CKR_SLOT_ID_INVALID (the free slot was
 * taken meanwhile); CKR_OBJECT_HANDLE_INVALID; CKR_DEVICE_ERROR (the origin: unknown or expired client, number outside the
 * window, another hash; not executed); CKR_ARGUMENTS_BAD and others for malformed bodies (a bug of the proposer). A ClientRegister carries no origin.
 * Errors (the server must stop): KM_ERR_VERSION (unknown kind, version above the feature level), KM_ERR_CORRUPT (not a command, index not above the last one). */
enum km_err km_store_apply(struct km_store *store, uint64_t index, const uint8_t *data, size_t len, Kml__Result **ret) KM_CHECKED;

/* Packs everything (malloc'ed, freed by the caller), beginning with the magic "KMSNAP" so that no other reader takes it
 * for compressed data. Errors: KM_ERR_NOMEM. */
enum km_err km_store_snapshot(struct km_store *store, uint8_t **ret, size_t *ret_len) KM_CHECKED;

/* A run of bytes, as libraft's raft_buffer. */
struct km_part {
    void *base;
    size_t len;
};
/* The same bytes in parts, malloc'ed: one before the objects, one for each, one after them. Objects are referenced and not copied, so
 * the loop thread is busy for a moment only, however many there are. Errors: KM_ERR_NOMEM. */
enum km_err km_store_image(struct km_store *store, struct km_part **ret, size_t *ret_n) KM_CHECKED;
/* Any thread. */
void km_store_image_free(struct km_part *parts, size_t n);

/* Replaces everything by a snapshot, or leaves the store as it was. Errors: KM_ERR_CORRUPT (also when the digest differs), KM_ERR_VERSION, KM_ERR_NOMEM. */
enum km_err km_store_restore(struct km_store *store, const uint8_t *data, size_t len) KM_CHECKED;

/* SHA-256 over the whole state; equal on all servers at equal index. Kept up incrementally or computed on demand; any thread. */
void km_store_digest(struct km_store *store, uint8_t ret[32], uint64_t *ret_index);

/* --- readers, any thread ------------------------------------------------------------------------------------- */

uint64_t km_store_index(const struct km_store *store);       /* last applied; lock-free */
uint64_t km_store_time_ms(const struct km_store *store);     /* cluster time of the last command */
uint32_t km_store_feature_level(const struct km_store *store);
uint64_t km_store_free_slot(const struct km_store *store);

/* The token; false if there is none. */
bool km_store_token(struct km_store *store, const uint8_t id[KM_ID_LEN], struct km_token *ret);
/* Copies of all tokens in slot order, malloc'ed, freed by the caller; `*ret` NULL and 0 when there are none. */
enum km_err km_store_tokens(struct km_store *store, struct km_token **ret, size_t *ret_n) KM_CHECKED;
/* Failed attempts of `identity` at the PIN of `user_type`, and the id of the last counted one (zeroes if none). */
uint32_t km_store_pin_failed(struct km_store *store, const uint8_t token[KM_ID_LEN], uint64_t user_type,
                             const char *identity, uint8_t ret_last_attempt[16]);

/* A reference to the newest version, or NULL. */
const struct km_object *km_store_object(struct km_store *store, const uint8_t id[KM_ID_LEN]);
void km_object_unref(const struct km_object *object);
/* True once this version has left the store: destroyed, replaced, its token initialised, another state restored. */
bool km_object_is_gone(const struct km_object *object);

/* Has sealed objects that leave the store kept until km_store_take_gone takes them, so that whoever has their key in memory can wipe
 * it, and `cb` called when there are new ones: on the loop thread under the store's lock, so it may only wake somebody. NULL ends both. */
void km_store_watch_gone(struct km_store *store, void (*cb)(void *arg), void *arg);
/* References to at most `max` of them, each handed out once. */
size_t km_store_take_gone(struct km_store *store, const struct km_object **ret, size_t max);

/* Finds objects of a token that carry every attribute of `template` with that very value, in a stable order, using the indexes on
 * id, label and class. `after` (NULL: from the start) is the last id of the page before. At most `max` references go to
 * `ret`; private ones only if `with_private`. Secret attributes match nothing. */
size_t km_store_find(struct km_store *store, const uint8_t token[KM_ID_LEN], Kml__Attr *const *template, size_t n,
                     bool with_private, const uint8_t *after, const struct km_object **ret, size_t max, bool *ret_more);

/* The first result of the change `session`/`number` if it was applied: KM_OK and the result (caller frees), KM_ERR_NOT_FOUND if not
 * applied yet (go and propose), KM_ERR_DENIED if the session is unknown, expired or another identity's, or the number is below the window or the hash
 * differs (never execute). */
enum km_err km_store_result(struct km_store *store, uint64_t session, uint64_t number, const char *identity,
                            const uint8_t hash[32], Kml__Result **ret) KM_CHECKED;

#endif
