/* SPDX-License-Identifier: Apache-2.0
 *
 * Access: which client may initialise the free slot and which tokens it sees, from server.conf's [access] section.
 * Filled while the configuration is read, immutable afterwards; then any thread.
 */
#ifndef KM_GOVERN_ACCESS_H
#define KM_GOVERN_ACCESS_H

#include "../../common/identity.h"

#include <stdbool.h>

struct km_access;

/* An empty list: nobody creates tokens, and each sees only its own. NULL when out of memory. */
struct km_access *km_access_new(void);
void km_access_free(struct km_access *access);

/* Takes in one line of [access]: `name` is a client's name or "*" (every client), `value` a comma-separated list of
 * "create" and "token:LABEL" ("token:*": every token). Returns NULL, or what was expected instead (static text). */
const char *km_access_add(struct km_access *access, const char *name, const char *value);

/* True if `who` may initialise the free slot. Only clients can. */
bool km_access_may_create(const struct km_access *access, const struct km_identity *who);

/* True if the token `label`, initialised by the identity `owner`, exists for the client `who`. */
bool km_access_sees(const struct km_access *access, const struct km_identity *who, const char *label,
                    const char *owner);

#endif
