/* SPDX-License-Identifier: Apache-2.0
 *
 * The objects that describe a token, the same for all of them: profiles that keymoot conforms to (PKCS#11 v3.2 4.13)
 * and mechanisms (4.12). They are made here when a search asks for them; no server knows them, and nobody changes them.
 */
#ifndef KM_MODULE_FIXED_OBJECT_H
#define KM_MODULE_FIXED_OBJECT_H

#include "handle.h"

/* Appends the handles of those that `find->template` describes. Mechanisms are found only if it names their class.
 * Without locks. CKR_HOST_MEMORY. */
CK_RV km_fixed_objects_find(struct km_token *token, struct km_find *find);

/* Whether `view` shows one of them. */
bool km_fixed_object_is(const struct km_view *view);

#endif
