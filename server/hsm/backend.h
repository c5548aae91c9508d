/* SPDX-License-Identifier: Apache-2.0
 *
 * What does cryptography with keys: the only place where key material is plaintext (design D11). A dozen functions; the built-in
 * implementation is builtin.c (OpenSSL); HSMs through their PKCS#11 library come behind the same interface.
 *
 * Threads: all functions on any thread, also at once. A call may take as long as the HSM takes.
 */
#ifndef KM_HSM_BACKEND_H
#define KM_HSM_BACKEND_H

#include "../../common/mech.h"
#include "../../common/secret.h"
#include "../../common/wire.pb-c.h"
#include "../raft/log.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a call came to; the service decides from it (facts: HSMs, error codes -> action). */
enum km_backend_result {
    KM_BE_OK,
    KM_BE_ARG,          /* the caller's input: `rv` says which (CKR_DATA_LEN_RANGE, CKR_SIGNATURE_INVALID, ...) */
    KM_BE_UNSUPPORTED,  /* this back end cannot do that with this key */
    KM_BE_BAD_RECORD,   /* the seal does not fit its head: tampered, or another key */
    KM_BE_GONE,         /* the back end is away; the server leaves key use */
    KM_BE_NO_SPACE,
};

struct km_backend;

/* One C_DeriveKey. */
struct km_derivation {
    const Kml__Object *base, *other; /* `base` NULL: from a password (PBKDF2). `other`: a second key, or the one that is the salt; NULL: none */
    const struct km_mech *mech;
    const Kmw__Mechanism *param;
    bool is_whole;      /* refuse a result that has not every byte of the base in it */
    size_t data_len;    /* a data object's wish, which it has no attribute for; 0: none */
};

/* A new key as it comes out of a back end: attributes that follow from the key (CKA_MODULUS, CKA_EC_POINT, CKA_VALUE_LEN, CKA_PUBLIC_KEY_INFO, CKA_CHECK_VALUE ...) are
 * added to the heads by the back end, then each head is packed and sealed. */
struct km_backend_ops {
    const char *class; /* "builtin" */
    void (*close)(struct km_backend *backend);

    /* Makes a key pair or a secret key. `public_head` (NULL for secret keys) and `head` come with the template's attributes
     * and go out completed; `ret_object[0]` is the public key (no seal) and `ret_object[1]` the private or secret one. */
    enum km_backend_result (*generate)(struct km_backend *backend, const struct km_mech *mech, Kml__Head *public_head,
                                       Kml__Head *head, Kml__Object *ret_public, Kml__Object *ret_secret, CK_RV *ret_rv);
    /* Takes in a key, or private data, whose secret attributes (wire attributes CKA_VALUE, CKA_PRIVATE_EXPONENT ...) are in `secrets`; they are wiped by the caller. */
    enum km_backend_result (*import)(struct km_backend *backend, Kml__Head *head, Kml__Attr *const *secrets, size_t n,
                                     Kml__Object *ret, CK_RV *ret_rv);
    /* The same secret under a changed head (new version, other attributes). */
    enum km_backend_result (*reseal)(struct km_backend *backend, const Kml__Object *old, const Kml__Head *head, Kml__Object *ret);
    /* Secret attributes in the clear, for objects whose attributes allow it; the caller checked that. Values in `ret` are packed kmw.Template bytes. */
    enum km_backend_result (*reveal)(struct km_backend *backend, const Kml__Object *object, struct km_secret *ret);

    /* What it does with a mechanism: CKF_... of `mech->flags`, and the sizes of keys. False: nothing. */
    bool (*offers)(struct km_backend *backend, const struct km_mech *mech, CK_MECHANISM_INFO *ret);

    /* Uses a key. `object` identifies and proves it; loaded keys are cached by (id, version, hash of seal). `data_is_digest`, `is_part` as in wire.proto.
     * The result (malloc'ed, wiped and freed by the caller with km_wipe and free) is the signature, or text. VERIFY: KM_BE_ARG with CKR_SIGNATURE_INVALID when it is not. */
    enum km_backend_result (*use)(struct km_backend *backend, const Kml__Object *object, const struct km_mech *mech,
                                  const Kmw__Use *use, uint8_t **ret, size_t *ret_len, CK_RV *ret_rv);

    /* Keys from keys. Heads come with the template's attributes and go out completed, as from `generate`; attributes were checked by the caller.
     * derive: one object for each head; a data object's (CKM_HKDF_DATA) has its value in the head and no seal. */
    enum km_backend_result (*derive)(struct km_backend *backend, const struct km_derivation *derivation, Kml__Head *const *heads,
                                     size_t n, Kml__Object *ret, CK_RV *ret_rv);
    /* `ret` (malloc'ed, the caller's): the wrapped key; an IV that was asked for (makes_iv) in front of it. */
    enum km_backend_result (*wrap)(struct km_backend *backend, const Kml__Object *with, const Kml__Object *key, const struct km_mech *mech,
                                   const Kmw__Mechanism *param, uint8_t **ret, size_t *ret_len, CK_RV *ret_rv);
    enum km_backend_result (*unwrap)(struct km_backend *backend, const Kml__Object *with, const struct km_mech *mech,
                                     const Kmw__Mechanism *param, const ProtobufCBinaryData *wrapped, Kml__Head *head,
                                     Kml__Object *ret, CK_RV *ret_rv);
    enum km_backend_result (*encapsulate)(struct km_backend *backend, const Kml__Object *public_key, const struct km_mech *mech,
                                          const Kmw__Mechanism *param, Kml__Head *head, Kml__Object *ret,
                                          uint8_t **ret_ciphertext, size_t *ret_len, CK_RV *ret_rv);
    enum km_backend_result (*decapsulate)(struct km_backend *backend, const Kml__Object *private_key, const struct km_mech *mech,
                                          const Kmw__Mechanism *param, const ProtobufCBinaryData *ciphertext, Kml__Head *head,
                                          Kml__Object *ret, CK_RV *ret_rv);

    /* Drops what is kept in memory of an object that was destroyed or replaced (`object` as it was), and of session objects that were
     * made from it; unknown ones are fine. */
    void (*forget)(struct km_backend *backend, const Kml__Object *object);

    /* HMAC-SHA-256 of `data` under a key that only back ends of this cluster hold, one for each purpose ("pin", "ticket"). */
    enum km_backend_result (*mac)(struct km_backend *backend, const char *purpose, const uint8_t *data, size_t len, uint8_t ret[32]);
    enum km_backend_result (*random)(struct km_backend *backend, uint8_t *ret, size_t len);
    /* KM_BE_OK while the back end can be used; called once a second. */
    enum km_backend_result (*probe)(struct km_backend *backend);
};
struct km_backend {
    const struct km_backend_ops *ops;
};

/* How long a use takes with such a key: long ones go to workers instead of being done in the network callback. */
bool km_mech_is_slow(const struct km_mech *mech, const Kml__Head *head, Kmw__Use__Operation operation, size_t data_len);

/* The built-in back end. `master_key` is 32 bytes, taken. AES-256-GCM with a key derived per seal: HKDF-SHA-256 (master key, fresh 256-bit salt), head as associated data.
 * Errors: KM_ERR_NOMEM, KM_ERR_CRYPTO. */
enum km_err km_builtin_open(struct km_secret *master_key, struct km_backend **ret) KM_CHECKED;

/* Reads the master key: "file:/path" (64 hex digits, not readable by others), "credential:NAME" (systemd, in $CREDENTIALS_DIRECTORY) or
 * "passphrase-file:/path" (scrypt). Errors: KM_ERR_CONF, KM_ERR_IO with `ret_message`. */
enum km_err km_master_key_read(const char *source, const char *cluster, struct km_secret *ret, char *ret_message, size_t message_len) KM_CHECKED;

#endif
