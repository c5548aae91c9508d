/* SPDX-License-Identifier: Apache-2.0
 *
 * The module as a program loads it: tests through the function list only, against the server that the environment names
 * (KEYMOOT_MODULE, KEYMOOT_CONF, KEYMOOT_TOKEN, KEYMOOT_PIN, KEYMOOT_SO_PIN: tests/loop/run, or eval
 * "$(contrib/quickstart env)").
 */
#ifndef KM_TESTS_LOOP_H
#define KM_TESTS_LOOP_H

#include "../unit/unit.h"

#include "../../common/cryptoki.h"

#include <openssl/evp.h>
#include <string.h>

extern CK_FUNCTION_LIST *F;
extern CK_SLOT_ID loop_slot;

/* C_... through the list must answer `rv`. */
#define RV(call, rv) assert_int_equal(F->call, rv)
#define OK(call) RV(call, CKR_OK)

#define BYTES(text) (CK_BYTE *)(text), strlen(text)

/* Loads the module and initialises it; finds the slot of $KEYMOOT_TOKEN. Group setup and teardown of cmocka. */
int loop_setup(void **state);
int loop_teardown(void **state);

CK_SESSION_HANDLE loop_open(CK_FLAGS more);
/* A new read-write session, and the user logged in. */
CK_SESSION_HANDLE loop_login(void);
CK_UTF8CHAR *loop_pin(void);
CK_ULONG loop_pin_len(void);

/* Key pairs and keys; `on_token` false: session objects. */
void loop_ec_pair(CK_SESSION_HANDLE s, const char *label, bool on_token, CK_OBJECT_HANDLE *ret_public,
                  CK_OBJECT_HANDLE *ret_private);
void loop_rsa_pair(CK_SESSION_HANDLE s, const char *label, bool on_token, CK_OBJECT_HANDLE *ret_public,
                   CK_OBJECT_HANDLE *ret_private);
CK_OBJECT_HANDLE loop_aes(CK_SESSION_HANDLE s, const char *label, bool on_token);
/* The key in CKA_PUBLIC_KEY_INFO. */
EVP_PKEY *loop_exported(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE public);
/* Verifies like any program would; `md` NULL: none; `salt_len` >= 0: PSS. */
bool loop_is_good(EVP_PKEY *key, const char *md, int salt_len, const CK_BYTE *data, size_t len,
                  const CK_BYTE *signature, size_t signature_len);
/* Signs and verifies in one call and in parts, with size queries; OpenSSL checks the signatures. */
void loop_sign_both_ways(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE public, CK_OBJECT_HANDLE private,
                         const char *md, int salt_len, size_t expected_len);
/* How many objects have this label. */
CK_ULONG loop_count(CK_SESSION_HANDLE s, const char *label);

#endif
