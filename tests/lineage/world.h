/* SPDX-License-Identifier: Apache-2.0
 *
 * What the attacker of tests/lineage has: handles, values, blobs, and what he can compute without the token. A value is
 * named by where it came from (two handles of one key have one value), so that the search knows which keys fit which
 * blobs without knowing them.
 */
#ifndef KM_TESTS_LINEAGE_WORLD_H
#define KM_TESTS_LINEAGE_WORLD_H

#include "../../common/cryptoki.h"

#include <openssl/evp.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VALUES_MAX 4096
#define OBJECTS_MAX 8192
#define BLOBS_MAX 16384
#define STEPS_MAX 65536
#define BYTES_MAX 2560

/* Roles, as bits */
enum { E = 1, D = 2, W = 4, U = 8, V = 16 /* derive */, S = 32 /* sign */ };
#define DATA (E | D)
#define ALL (E | D | W | U | V | S)

struct step {
    char text[120];
    int from[2]; /* steps that it builds on, or -1 */
    int depth;
};
struct value {
    char name[160];
    bool is_known, is_secret, is_part; /* is_part: a few bytes of the secret key and nothing else that is unknown */
    bool can_decrypt, can_encrypt;     /* single blocks, through the token */
    uint8_t bytes[64];
    size_t len;
    int step; /* by which it became known, or can be used */
    int decrypt_step, encrypt_step;
};
struct object {
    CK_OBJECT_HANDLE handle;
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;
    CK_ULONG len;
    int value, step, round;
    unsigned roles;
    bool is_sensitive, is_extractable;
    char birth; /* G, C, U, D; copies have their original's */
    bool is_pair, is_copy, was_read, was_injected;
};
struct blob {
    int with, content; /* values; content -1: nothing that is known of */
    CK_MECHANISM_TYPE mech;
    uint8_t bytes[BYTES_MAX];
    size_t len;
    int step, round;
    bool was_opened;
    unsigned tried; /* oracles, as bits: 1 decrypts, 2 encrypts */
};

extern CK_FUNCTION_LIST *F;
extern CK_SESSION_HANDLE session;
extern struct step steps[STEPS_MAX];
extern struct value values[VALUES_MAX];
extern struct object objects[OBJECTS_MAX];
extern struct blob blobs[BLOBS_MAX];
extern int n_steps, n_values, n_objects, n_blobs, n_leaks, round_now;
extern long n_calls;

/* A step of a route. `a`, `b`: steps before it, or -1. */
int step_add(int a, int b, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The value of that name, made if it is new. */
int value_get(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Reads what the handle's attributes say and remembers it, unless one like it is there already. NULL: it was. */
struct object *object_add(CK_OBJECT_HANDLE handle, int value, char birth, int step);
/* A wrapped key, unless there is one of this content under this key by this mechanism. */
struct blob *blob_add(int with, int content, CK_MECHANISM_TYPE mech, const uint8_t *bytes, size_t len, int step);

/* The attacker sees these bytes: is the secret key in them? `of`: the value that they are, or -1. */
void learn(const uint8_t *bytes, size_t len, int of, int step);
/* Says so when the secret key is found, with the route. */
void leak(int step, const char *how);

/* The reference by which the secret key is recognised: its encryption of a block of zeros. */
void secret_set(const uint8_t zeros_encrypted[16]);
bool is_secret(const uint8_t key[16]);

/* One AES block through whatever oracle this value has: 0: nothing. */
typedef bool block_fn(void *arg, const uint8_t in[16], uint8_t out[16]);
/* RFC 3394 and 5649 with a block cipher of any kind. Lengths in bytes; 0: it does not come out. */
size_t kw_open(block_fn *decrypt, void *arg, const uint8_t *in, size_t len, uint8_t *out);
size_t kw_seal(block_fn *encrypt, void *arg, const uint8_t *in, size_t len, uint8_t *out);
/* With a known key. */
block_fn known_decrypt, known_encrypt; /* arg: struct value */

#define NONCE "0123456789ab" /* of GCM and CCM, and the first bytes of CBC's IV */
extern uint8_t iv[16];
/* The mechanism with the parameters that the attacker uses. Static memory. */
CK_MECHANISM *mechanism(CK_MECHANISM_TYPE type);
const char *mech_name(CK_MECHANISM_TYPE type);
const char *roles_name(unsigned roles);

/* --- stage.c: what a search begins with ----------------------------------------------------------------------------
 */

enum { OPEN, SENSITIVE, UNSAID };
struct wish {
    CK_KEY_TYPE type;
    unsigned roles;
    int sensitive;
    CK_ULONG len; /* 0: not said */
    bool is_evil; /* with a CKA_UNWRAP_TEMPLATE that gives everything away */
};
/* The attributes, `*len` is CKA_VALUE_LEN's place; room for 16. */
CK_ULONG write_template(const struct wish *w, CK_ATTRIBUTE *t, CK_ULONG *len);
/* Loads the module and logs in to the token. Ends the program when that fails; so does make_secret. */
void log_in(const char *path, const char *label, char *pin);
/* The key that must not become known: AES-128, sensitive, extractable. */
void make_secret(void);
/* Keys of every kind: generated, imported, pairs. */
void make_keys(void);
/* C_Encrypt or C_Decrypt. */
bool crypt_with(const struct object *o, CK_MECHANISM_TYPE type, bool encrypts, const uint8_t *in, size_t len,
                uint8_t *out, CK_ULONG *out_len);

extern CK_BBOOL yes, no;
extern CK_OBJECT_CLASS secret_class;
extern CK_KEY_TYPE generic;
extern const uint8_t my_key[16]; /* known to the attacker */
extern EVP_PKEY *my_pair;

#endif
