/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates: what a program asks an object to be, checked against attr.def and turned into the object's head
 * (PKCS#11 v3.2, section 4). All rules about who may set which attribute when are here and in the table.
 *
 * Heads made here are malloc'ed throughout; the caller frees them with kml__head__free_unpacked(head, NULL). `*ret_reason` is set to a
 * static line for the client's log when the answer is not CKR_OK. No state; any thread.
 */
#ifndef KM_SERVICE_TEMPLATE_H
#define KM_SERVICE_TEMPLATE_H

#include "../../common/attr.h"
#include "../../common/mech.h"
#include "../../common/wire.pb-c.h"
#include "../raft/log.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum km_template_phase { KM_TP_CREATE, KM_TP_GENERATE, KM_TP_UNWRAP, KM_TP_DERIVE };

/* Makes the head of a new object: attributes of the template, defaults, CKA_UNIQUE_ID and a random id, version 1. Secret attributes go to
 * `*ret_secrets` (for backend import; free with km_template_secrets_free; NULL and 0 when there are none: such an object needs no seal).
 * `mech` and `class` are for KM_TP_GENERATE and KM_TP_DERIVE (what is derived if `t` does not say otherwise); others take the class from `t`. Attributes that follow from the key are added by the back end; those of
 * a public key that is created are added here. The caller fills token, token_instance, owner, created_ms, backend, and for
 * sessions login_epoch, expires_ms, ancestors. Errors: CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID,
 * CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_READ_ONLY, CKR_CURVE_NOT_SUPPORTED, CKR_KEY_SIZE_RANGE, CKR_HOST_MEMORY. */
CK_RV km_template_new(const Kmw__Template *t, enum km_template_phase phase, const struct km_mech *mech,
                      CK_OBJECT_CLASS class, bool is_so, Kml__Head **ret_head, Kml__Attr ***ret_secrets,
                      size_t *ret_n_secrets, const char **ret_reason);
/* Wipes and frees; NULL is fine. */
void km_template_secrets_free(Kml__Attr **secrets, size_t n);

/* Moves the value of private data that a change or a copy put into the head out of it, for backend import under that head; NULL and 0
 * when there is none: the old seal stays good, unless the value was set empty (then it stands in the head). CKR_HOST_MEMORY. */
CK_RV km_template_take_secrets(Kml__Head *head, Kml__Attr ***ret, size_t *ret_n);

/* The head of a copy: fresh id, version 1, changed as `t` says (PKCS#11 v3.2 5.7.2); an empty template is fine. The seal is made by
 * backend reseal. A session copy of a sensitive or unextractable token key is CKR_ACTION_PROHIBITED (design D5). Ancestors: the caller. */
CK_RV km_template_copy(const Kml__Head *old, const Kmw__Template *t, bool is_so, Kml__Head **ret_head,
                       const char **ret_reason);
/* The head after C_SetAttributeValue: same id, version + 1. An object with a seal must be resealed. */
CK_RV km_template_set(const Kml__Head *old, const Kmw__Template *t, bool is_so, Kml__Head **ret_head,
                      const char **ret_reason);
/* May C_DestroyObject? CKR_OK or CKR_ACTION_PROHIBITED. */
CK_RV km_template_destroy(const Kml__Head *old, const char **ret_reason);

/* May this key do this now: class and CKA_SIGN ..., CKA_ALLOWED_MECHANISMS, key type, mechanism's flags, CKA_START_DATE and CKA_END_DATE (`now_ms`:
 * cluster time, UTC; the dates bound making signatures and ciphertext, old ones may still be verified and decrypted after the end). Errors:
 * CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_TYPE_INCONSISTENT, CKR_MECHANISM_INVALID. */
CK_RV km_template_may_use(const Kml__Head *head, const struct km_mech *mech, Kmw__Use__Operation op, uint64_t now_ms,
                          const char **ret_reason);

/* The same for what makes a key from a key: `flag` is CKF_WRAP, CKF_UNWRAP, CKF_DERIVE, CKF_ENCAPSULATE or CKF_DECAPSULATE. */
CK_RV km_template_may_make(const Kml__Head *head, const struct km_mech *mech, CK_FLAGS flag, uint64_t now_ms,
                           const char **ret_reason);
/* True if the object has every attribute of `t` with the same value, by the rules of C_FindObjects. */
bool km_template_matches(const Kml__Head *head, const Kmw__Template *t);

/* False for secret attributes of a sensitive or unextractable key. True says nothing about whether the object has the attribute. */
bool km_template_is_readable(const Kml__Head *head, CK_ATTRIBUTE_TYPE type);
/* True if objects like this one have `type` and its value lives in the seal (backend reveal shows it). */
bool km_template_is_secret(const Kml__Head *head, CK_ATTRIBUTE_TYPE type);

#endif
