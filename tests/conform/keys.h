/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys and objects for the rows.
 */
#ifndef KM_TESTS_CONFORM_KEYS_H
#define KM_TESTS_CONFORM_KEYS_H

#include "conform.h"

/* The token lists the mechanism for all of `flags`; need() skips the row otherwise. */
bool has(CK_MECHANISM_TYPE type, CK_FLAGS flags);
void need(const char *name, CK_MECHANISM_TYPE type, CK_FLAGS flags);
#define NEED(type, flags) need(#type, type, flags)

/* A secret key of 32 bytes with these uses and no others; AES unless OF_GENERIC, private unless IS_PUBLIC, extractable
 * unless IS_KEPT, and a session object unless ON_TOKEN. */
#define MAY_ENCRYPT 1UL /* and decrypt */
#define MAY_SIGN 2UL    /* and verify */
#define MAY_WRAP 4UL    /* and unwrap */
#define MAY_DERIVE 8UL
#define OF_GENERIC 16UL
#define IS_SENSITIVE 32UL
#define IS_KEPT 64UL
#define IS_PUBLIC 128UL
#define ON_TOKEN 256UL
CK_OBJECT_HANDLE aes(CK_SESSION_HANDLE s, CK_ULONG usages);
/* The public or the private half of a CKK_RSA (2048; sign, encrypt) or CKK_EC (P-256; sign, derive) pair on the token;
 * the user is logged in. */
CK_OBJECT_HANDLE pair(CK_SESSION_HANDLE s, CK_KEY_TYPE type, CK_OBJECT_CLASS half);
/* A data object with label "conform" and value "value". */
CK_OBJECT_HANDLE data_object(CK_SESSION_HANDLE s, bool is_on_token, bool is_private);
/* All that the functions here have left on the token. */
void keys_destroy(CK_SESSION_HANDLE s);

#endif
