/* SPDX-License-Identifier: Apache-2.0
 *
 * The clients of a simulated cluster: each makes changes with exactly-once origins, retries what is undecided or
 * unanswered at another server, uses objects where a server says that it is fresh, reads, and guesses PINs.
 */
#ifndef KM_SIM_CLIENTS_H
#define KM_SIM_CLIENTS_H

#include "env.h"

void clients_begin(struct sim *sim);
/* No new operations from now on; those under way are retried until they are answered. */
void clients_quiet(struct sim *sim);
const char *clients_summary(void);

/* What clients know, for the checks at the end. */
struct sim_object {
    uint8_t id[KM_ID_LEN];
    char label[32];            /* "c<client>-<number of the change>": says which change made it */
    uint64_t created_at;       /* when the creation was acknowledged; 0: not */
    uint64_t destroy_asked_at; /* when its destruction was first asked for; 0: not */
    uint64_t destroyed_at;     /* when the destruction was acknowledged; 0: not */
    uint64_t version;          /* newest acknowledged */
};
size_t clients_objects(const struct sim_object **ret);
/* Changes that were asked for and not answered; must be 0 at the end. */
unsigned clients_pending(void);
bool clients_have_token(uint8_t ret[KM_ID_LEN]);
uint64_t clients_done(void);

#endif
