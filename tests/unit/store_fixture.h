/* SPDX-License-Identifier: Apache-2.0
 *
 * A store and the commands that tests give it. Every helper packs a real command and applies it at the next index.
 */
#ifndef KM_TESTS_STORE_FIXTURE_H
#define KM_TESTS_STORE_FIXTURE_H

#include "unit.h"
#include "../../common/cryptoki.h"
#include "../../server/raft/store.h"

#define ALICE "spiffe://test/client/alice"
#define BOB "spiffe://test/client/bob"

struct fixture {
    struct km_store *store;
    uint64_t index, time_ms;
};

/* Who asks: all zero for nobody. `hash` is what the SHA-256 is filled with. */
struct asker {
    uint64_t session, number, acked;
    uint8_t hash;
    const char *identity;
};

void fixture_init(struct fixture *f);
void fixture_fini(struct fixture *f);

/* A 16-byte id or 32-byte hash made of `n`; static storage of the thread, eight at a time. */
uint8_t *id_of(uint64_t n);
ProtobufCBinaryData id_data(uint64_t n);
ProtobufCBinaryData hash_data(uint8_t fill);

/* Applies `command` (version and time are filled in) and returns the result, which must be there. */
Kml__Result *apply(struct fixture *f, Kml__Command *command, struct asker asker);
/* The same, expecting an error. */
enum km_err apply_error(struct fixture *f, Kml__Command *command);
/* Frees the result and returns its CK_RV. */
uint64_t rv_of(Kml__Result *result);

uint64_t client_register(struct fixture *f, const char *identity);
Kml__Result *token_init(struct fixture *f, uint64_t id, uint64_t slot, uint64_t expect_instance, struct asker asker);
Kml__Result *pin_change(struct fixture *f, uint64_t token, uint64_t user_type, uint64_t instance, uint64_t generation);
Kml__Result *pin_attempt(struct fixture *f, uint64_t token, const char *identity, uint64_t attempt, bool is_good,
                         uint64_t generation);
Kml__Result *tick(struct fixture *f);

/* An object to be created. Attributes in wire form. */
struct thing {
    uint64_t id, token, instance, version;
    uint64_t class, key_type;
    bool is_private;
    const char *cka_id, *label; /* NULL: without */
    const char *seal;           /* NULL: none */
};
/* Packs the head; freed with free. */
ProtobufCBinaryData head_of(const struct thing *thing);
Kml__Result *object_create(struct fixture *f, const struct thing *things, size_t n, struct asker asker);
Kml__Result *object_replace(struct fixture *f, const struct thing *thing, uint64_t expect_version);
Kml__Result *object_destroy(struct fixture *f, uint64_t token, uint64_t id);

/* The digest of the store; static storage. */
const uint8_t *digest_of(const struct fixture *f);

#endif
