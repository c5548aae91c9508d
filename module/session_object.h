/* SPDX-License-Identifier: Apache-2.0
 *
 * Session objects without secrets (public keys, certificates, data): they never leave the module (design D5), so the
 * rules of attr.def are applied here for them as the servers apply them for the others. No locks, no round trips.
 */
#ifndef KM_MODULE_SESSION_OBJECT_H
#define KM_MODULE_SESSION_OBJECT_H

#include "handle.h"

/* Whether the module keeps an object that `template` describes: not on the token, and nothing secret in it. */
bool km_session_object_is_ours(const Kmw__Template *template);

/* C_CreateObject. The caller frees with kmw__object__free_unpacked. CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT,
 * CKR_ATTRIBUTE_... */
CK_RV km_session_object_new(const Kmw__Template *template, bool is_so, Kmw__Object **ret);

/* C_CopyObject of any object without secrets into a session object; another id. */
CK_RV km_session_object_copy(const Kmw__Object *source, const Kmw__Template *template, bool is_so, Kmw__Object **ret);

/* C_SetAttributeValue: the changed object under the same id. */
CK_RV km_session_object_set(const Kmw__Object *old, const Kmw__Template *template, bool is_so, Kmw__Object **ret);

/* The template with which C_CreateObject makes `source` changed by `changes`; for a copy on the token. */
CK_RV km_session_object_template(const Kmw__Object *source, const Kmw__Template *changes, Kmw__Template **ret);

/* Whether the object has exactly this attribute. */
bool km_session_object_has(const Kmw__Object *object, const Kmw__Attr *attr);
/* Whether an object has every attribute of `template` with that value. */
bool km_session_object_matches(const Kmw__Object *object, const Kmw__Template *template);

#endif
