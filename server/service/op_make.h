/* SPDX-License-Identifier: Apache-2.0
 *
 * What C_DeriveKey, C_UnwrapKey, C_EncapsulateKey and C_DecapsulateKey share: a new head under the rules of the key
 * that it comes from, and the new objects' way to the log or back to the client.
 */
#ifndef KM_SERVICE_OP_MAKE_H
#define KM_SERVICE_OP_MAKE_H

#include "lineage.h"
#include "operations.h"
#include "template.h"

/* The row of the mechanism that the request names, if it does what `flag` says. CKR_MECHANISM_INVALID. */
enum km_flow km_make_mech(struct km_call *call, const Kmw__Mechanism *asked, CK_FLAGS flag, const struct km_mech **ret);
/* The key that the request names, if its attributes let it do what `flag` says now. One that wants its PIN with each
 * use is refused. */
enum km_flow km_make_source(struct km_call *call, const Kmw__Key *key, CK_RV missing, const struct km_mech *mech,
                            CK_FLAGS flag, struct km_held *ret);
/* Once the back end has answered: is the second key of the operation still what it was? The dispatcher looks after the
 * first. `invalid`: the answer if it is gone. */
enum km_flow km_make_check(struct km_call *call, const struct km_held *held, CK_RV invalid);
/* How strictly this token keeps keys apart. */
enum km_level km_make_level(const struct km_call *call);
/* The head of a new object: the request's template with that of `imposed`, an attribute of the source
 * (CKA_UNWRAP_TEMPLATE ...), or 0. The head is the call's. CKR_TEMPLATE_INCONSISTENT where the two contradict. */
enum km_flow km_make_head(struct km_call *call, const Kmw__Template *t, const struct km_held *source,
                          CK_ATTRIBUTE_TYPE imposed, enum km_template_phase phase, const struct km_mech *mech,
                          CK_OBJECT_CLASS class, Kml__Head **ret);
/* Takes what a back end made (the memory becomes the call's) to where it lives, and answers. All are token objects, or
 * all session objects. */
enum km_flow km_make_answer(struct km_call *call, Kml__Head *const *heads, Kml__Object *objects, size_t n);
/* The memory of an object that a back end made becomes the call's. */
enum km_flow km_make_own(struct km_call *call, const Kml__Object *object);

#endif
