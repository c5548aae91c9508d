/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole server without a network in the test's process: disk, replica (a single voter), store, built-in back end,
 * audit, service. Requests go in through km_service_call and come out as replies.
 */
#ifndef KM_TESTS_SERVER_KIT_H
#define KM_TESTS_SERVER_KIT_H

#include "../unit/unit.h"

#include <stdatomic.h>

#include "../../common/attr.h"
#include "../../common/client.h"
#include "../../server/govern/access.h"
#include "../../server/govern/audit.h"
#include "../../server/service/service.h"

#include <string.h>

#define SO_PIN "so-pin-1"
#define USER_PIN "user-pin-1"

/* One for the program. Group setup and teardown of cmocka. */
extern struct km_service *kit_service;
extern struct km_store *kit_store;
extern char kit_dir[64];
extern atomic_int kit_forgotten; /* keys that the back end was told to forget */
int kit_setup(void **state);
int kit_teardown(void **state);

/* Who asks, and what a module would remember. */
struct asker {
    struct km_identity who;
    uint64_t session, number;
    uint8_t token[16];
    uint8_t ticket[512];
    size_t ticket_len;
};

/* `uri`: "client/app" ... of the kit's cluster. Registers clients. */
void asker_init(struct asker *a, const char *role_and_name);

/* Asks with the asker's token and ticket; `is_change`: under the next number. The reply is the caller's; the packed
 * request stays for ask_again. */
Kmw__Reply *ask(struct asker *a, Kmw__Request *request, bool is_change);
/* The same bytes once more, as after a lost reply. */
Kmw__Reply *ask_again(struct asker *a);
/* Any bytes. */
Kmw__Reply *ask_bytes(struct asker *a, const uint8_t *data, size_t len);
/* Frees the reply and returns its CK_RV; it must be an answer. */
CK_RV rv_of(Kmw__Reply *reply);
#define ASK_RV(a, request, is_change, rv) assert_int_equal(rv_of(ask(a, request, is_change)), rv)

/* A new token in the free slot, with SO and user PIN; the asker is not logged in. */
void make_token(struct asker *a, const char *label);
/* CKR of a login; keeps the ticket. */
CK_RV login(struct asker *a, uint64_t user_type, const char *pin);
CK_RV login_attempt(struct asker *a, uint64_t user_type, const char *pin, uint8_t attempt);
void logout(struct asker *a);

/* Templates, up to 16 attributes; memory of the thread, four at a time. */
Kmw__Template *t_new(void);
void t_bool(Kmw__Template *t, CK_ATTRIBUTE_TYPE type, bool value);
void t_ulong(Kmw__Template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
void t_bytes(Kmw__Template *t, CK_ATTRIBUTE_TYPE type, const void *data, size_t len);

/* Requests, complete but for what ask fills in; static, valid until the next of its kind. */
Kmw__Request *req_create(Kmw__Template *t);
Kmw__Request *req_generate(CK_MECHANISM_TYPE mechanism, Kmw__Template *t);
Kmw__Request *req_pair(Kmw__Template *public_template, Kmw__Template *private_template);
Kmw__Request *req_copy(const ProtobufCBinaryData *id, const ProtobufCBinaryData *sealed, Kmw__Template *t);
Kmw__Request *req_set(const ProtobufCBinaryData *id, Kmw__Template *t);
Kmw__Request *req_get(const ProtobufCBinaryData *id, const ProtobufCBinaryData *sealed, bool with_secrets);
Kmw__Request *req_destroy(const ProtobufCBinaryData *id);
Kmw__Request *req_find(Kmw__Template *t);
Kmw__Request *req_sign(const ProtobufCBinaryData *id, CK_MECHANISM_TYPE mechanism, const char *context_pin);
Kmw__Request *req_crypt(Kmw__Use__Operation operation, const ProtobufCBinaryData *id,
                        const ProtobufCBinaryData *sealed);
Kmw__Request *req_token_init(uint64_t slot, const char *so_pin, const char *label);
Kmw__Request *req_token_list(void);
Kmw__Request *req_pin_init(const char *pin);
Kmw__Request *req_pin_set(uint64_t user_type, const char *old_pin, const char *new_pin, uint8_t attempt);

/* A P-256 pair on the token; the reply has the public key first. */
Kmw__Reply *make_pair(struct asker *a, const char *label);
/* How many objects this asker finds. */
size_t count_objects(struct asker *a);

#endif
