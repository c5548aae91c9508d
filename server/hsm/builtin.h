/* SPDX-License-Identifier: Apache-2.0
 *
 * What the built-in back end's files share: builtin.c has the keys, builtin_make.c makes keys from keys. Nobody outside
 * server/hsm includes this.
 */
#ifndef KM_HSM_BUILTIN_H
#define KM_HSM_BUILTIN_H

#include "backend.h"
#include "crypto.h"

/* The algorithms of an open built-in back end. */
const struct km_crypto *km_builtin_crypto(struct km_backend *backend);
/* A reference to the key of a record (km_loaded_release). */
enum km_backend_result km_builtin_load(struct km_backend *backend, const Kml__Object *object, struct km_loaded **ret,
                                       CK_RV *ret_rv);
/* Names the back end in the head, packs it and seals `secret` (NULL: none) under it. */
enum km_backend_result km_builtin_object(struct km_backend *backend, Kml__Head *head, const struct km_secret *secret,
                                         Kml__Object *ret, CK_RV *ret_rv);
/* One operation with a loaded key; the result is the caller's to wipe and free. */
CK_RV km_builtin_apply(struct km_backend *backend, struct km_loaded *key, const struct km_mech *mech,
                       const Kmw__Use *use, uint8_t **ret, size_t *ret_len);

/* builtin_make.c: rows of struct km_backend_ops. */
enum km_backend_result km_builtin_derive(struct km_backend *backend, const struct km_derivation *derivation,
                                         Kml__Head *const *heads, size_t n, Kml__Object *ret, CK_RV *ret_rv);
enum km_backend_result km_builtin_wrap(struct km_backend *backend, const Kml__Object *with, const Kml__Object *key,
                                       const struct km_mech *mech, const Kmw__Mechanism *param, uint8_t **ret,
                                       size_t *ret_len, CK_RV *ret_rv);
enum km_backend_result km_builtin_unwrap(struct km_backend *backend, const Kml__Object *with,
                                         const struct km_mech *mech, const Kmw__Mechanism *param,
                                         const ProtobufCBinaryData *wrapped, Kml__Head *head, Kml__Object *ret,
                                         CK_RV *ret_rv);
enum km_backend_result km_builtin_encapsulate(struct km_backend *backend, const Kml__Object *public_key,
                                              const struct km_mech *mech, const Kmw__Mechanism *param, Kml__Head *head,
                                              Kml__Object *ret, uint8_t **ret_ciphertext, size_t *ret_len,
                                              CK_RV *ret_rv);
enum km_backend_result km_builtin_decapsulate(struct km_backend *backend, const Kml__Object *private_key,
                                              const struct km_mech *mech, const Kmw__Mechanism *param,
                                              const ProtobufCBinaryData *ciphertext, Kml__Head *head, Kml__Object *ret,
                                              CK_RV *ret_rv);

#endif
