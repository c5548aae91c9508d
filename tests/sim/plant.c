/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of planted bugs: name, the invariant it attacks, and what is switched where.
 */
#include "plant.h"

#include "../../server/raft/io.h"
#include "../../server/raft/lease.h"
#include "../../server/raft/replica_private.h"

#include <string.h>

static const struct plant {
    const char *name, *attacks;
    unsigned replica, lease, io;
    bool no_boot_wait, forgets_votes;
} plants[] = {
    {"lease-without-majority", "no stale use", 0, KM_LEASE_PLANT_NO_MAJORITY, 0, false, false},
    {"revocation-does-not-wait", "no stale use", 0, KM_LEASE_PLANT_NO_SETTLE, 0, false, false},
    {"grant-before-applied", "no stale use", 0, KM_LEASE_PLANT_NO_COVER, 0, false, false},
    {"grant-from-arrival", "no stale use", 0, KM_LEASE_PLANT_OWN_CLOCK, 0, false, false},
    {"no-boot-wait", "no stale use", 0, 0, 0, true, false},
    {"exactly-once-forgotten", "exactly once", KM_REPLICA_PLANT_NO_ORIGIN, 0, 0, false, false},
    {"snapshot-term", "it goes on (libraft's bug A)", 0, 0, KM_IO_PLANT_A, false, false},
    {"vote-forgotten", "same index, same store", 0, 0, 0, true, true},
};

static const struct plant *find(const char *name)
{
    for (size_t i = 0; name && i < sizeof(plants) / sizeof(plants[0]); i++)
        if (!strcmp(plants[i].name, name))
            return &plants[i];
    return NULL;
}

bool plant_is_known(const char *name)
{
    return find(name) != NULL;
}

void plant_list(FILE *out)
{
    for (size_t i = 0; i < sizeof(plants) / sizeof(plants[0]); i++)
        fprintf(out, "  %-30s attacks: %s\n", plants[i].name, plants[i].attacks);
}

void plant_apply(const char *name, struct km_replica *replica)
{
    const struct plant *p = find(name);
    if (p)
        km_replica_set_plants(replica, p->replica, p->lease, p->io);
}

void plant_conf(const char *name, struct km_replica_conf *conf)
{
    const struct plant *p = find(name);
    if (p && p->no_boot_wait)
        conf->skip_boot_wait = true;
}

void plant_weather(const char *name, struct sim_weather *weather)
{
    const struct plant *p = find(name);
    if (p && p->forgets_votes)
        weather->forgets_votes = true;
}
