/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of the built-in back end share: a back end, keys, one use of a key, OpenSSL as the judge.
 */
#ifndef KM_TESTS_BUILTIN_KIT_H
#define KM_TESTS_BUILTIN_KIT_H

#include "tmpl.h"

#include "../../server/hsm/backend.h"

#include <openssl/evp.h>
#include <string.h>

extern struct km_backend *backend;

struct call {
    CK_MECHANISM_TYPE type;
    Kmw__Use__Operation op;
    Kmw__Mechanism mechanism;
    ProtobufCBinaryData data, signature;
    bool data_is_digest, is_part;
    uint8_t *out;
    size_t out_len;
};

#define BYTES(p, n) ((ProtobufCBinaryData){n, (uint8_t *)(p)})
#define TEXT(s) BYTES(s, sizeof(s) - 1)
#define SIGN KMW__USE__OPERATION__SIGN
#define VERIFY KMW__USE__OPERATION__VERIFY
#define ENCRYPT KMW__USE__OPERATION__ENCRYPT
#define DECRYPT KMW__USE__OPERATION__DECRYPT

/* A back end whose master key is 32 times `byte`. */
struct km_backend *open_with(uint8_t byte);
/* Frees what is in the object. */
void object_free(Kml__Object *object);
/* The head of a record; freed by the caller. */
Kml__Head *head_of(const Kml__Object *object);
/* Generates a key pair of the public template; the private key is a token object. */
void make_pair(CK_MECHANISM_TYPE type, Kmw__Template *public_template, Kml__Object *public, Kml__Object *private);
void make_ec(const char *oid, size_t len, Kml__Object *public, Kml__Object *private);
void make_rsa(CK_ULONG bits, Kml__Object *public, Kml__Object *private);
/* C_CreateObject with a secret; frees the template. */
CK_RV import(Kmw__Template *t, Kml__Object *ret);
/* One use; `out` is the caller's to free. CKR_DEVICE_ERROR: the record is bad. */
CK_RV use_key(const Kml__Object *object, struct call *c);
/* The key of CKA_PUBLIC_KEY_INFO. */
EVP_PKEY *public_of(const Kml__Object *object);
/* Whether plain OpenSSL takes the signature; `md` NULL: none, `pss_salt` -1: no PSS. */
bool openssl_verifies(const Kml__Object *object, const char *md, const char *message, const uint8_t *sig, size_t len,
                      int pss_salt);
/* Signs, checks with OpenSSL and with the back end, then with another message. */
void check_signature(const Kml__Object *public, const Kml__Object *private, CK_MECHANISM_TYPE type,
                     CK_MECHANISM_TYPE hash, CK_ULONG mgf, int salt);
/* C_CreateObject of a public key; frees the template. */
CK_RV bring_public(Kmw__Template *t, Kml__Object *ret);
/* The bytes of a hexadecimal number into `to`; returns how many. */
size_t unhex(const char *hex, uint8_t *to);
/* Group fixtures: `backend` with master key 7. */
int kit_set_up(void **state);
int kit_tear_down(void **state);

#endif
