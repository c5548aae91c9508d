/* SPDX-License-Identifier: Apache-2.0
 *
 * The operations' entry points, one for each row of dispatch.def. Each looks at call->in, does its work and fills
 * call->out.
 */
#ifndef KM_SERVICE_OPERATIONS_H
#define KM_SERVICE_OPERATIONS_H

#include "call.h"

/* tokens: op_token.c */
enum km_flow km_op_token_list(struct km_call *call);
enum km_flow km_op_client_register(struct km_call *call);
enum km_flow km_op_token_init(struct km_call *call);
enum km_flow km_reply_token(struct km_call *call, const Kml__Result *result);

/* login: op_login.c */
enum km_flow km_op_login(struct km_call *call);
enum km_flow km_op_ticket_renew(struct km_call *call);
enum km_flow km_op_pin_init(struct km_call *call);
enum km_flow km_op_pin_set(struct km_call *call);
enum km_flow km_reply_pin(struct km_call *call, const Kml__Result *result);

/* objects: op_object.c */
enum km_flow km_op_object_create(struct km_call *call);
enum km_flow km_op_object_copy(struct km_call *call);
enum km_flow km_op_object_destroy(struct km_call *call);
enum km_flow km_reply_destroyed(struct km_call *call, const Kml__Result *result);
enum km_flow km_op_object_set(struct km_call *call);
enum km_flow km_op_object_get(struct km_call *call);
enum km_flow km_op_object_find(struct km_call *call);

/* keys: op_key.c, op_use.c */
enum km_flow km_op_key_generate(struct km_call *call);
enum km_flow km_op_key_pair_generate(struct km_call *call);
enum km_flow km_reply_pair(struct km_call *call, const Kml__Result *result);
enum km_flow km_op_use(struct km_call *call);
enum km_flow km_op_random(struct km_call *call);

/* CKA_ALWAYS_AUTHENTICATE: the PIN comes with each use (PKCS#11 v3.2 5.6.8, CKU_CONTEXT_SPECIFIC). KM_FLOW_GO: it did, or need not. */
enum km_flow km_prove_context(struct km_call *call, const Kml__Head *head, const ProtobufCBinaryData *pin);
/* A UseReply; `data` is malloc'ed and becomes the call's. */
enum km_flow km_reply_bytes(struct km_call *call, uint8_t *data, size_t len);

/* keys from keys: op_derive.c, op_wrap.c, op_encapsulate.c */
enum km_flow km_op_key_derive(struct km_call *call);
enum km_flow km_op_key_wrap(struct km_call *call);
enum km_flow km_op_key_unwrap(struct km_call *call);
enum km_flow km_op_key_encapsulate(struct km_call *call);
enum km_flow km_op_key_decapsulate(struct km_call *call);

/* administration: op_admin.c */
enum km_flow km_op_cluster_status(struct km_call *call);
enum km_flow km_op_cluster_add(struct km_call *call);
enum km_flow km_op_cluster_remove(struct km_call *call);

#endif
