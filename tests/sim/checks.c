/* SPDX-License-Identifier: Apache-2.0
 *
 * The invariants: equal digests at equal index, PIN counters that never rewind, and at the end nothing lost, nothing
 * twice, everybody equal.
 */
#include "checks.h"
#include "clients.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct seen {
        uint64_t index;
        uint8_t digest[32];
    } * table; /* by index % size */
    size_t size;
    uint64_t seen_index[SIM_SERVERS_MAX];
    unsigned seen_life[SIM_SERVERS_MAX];
    uint64_t pin_index;
    uint32_t pin_failed;
} checks;

void checks_begin(void)
{
    memset(&checks, 0, sizeof(checks));
    checks.size = 1 << 16;
    checks.table = calloc(checks.size, sizeof(*checks.table));
    assert(checks.table);
}

void checks_step(struct sim *sim, int i)
{
    struct km_store *store = sim_store(sim, i);
    uint64_t index = km_store_index(store);
    uint8_t digest[32], token[KM_ID_LEN], attempt[16];
    if (checks.seen_life[i] == sim_life(sim, i) && index < checks.seen_index[i])
        sim_fail(sim, "server %d went back from index %llu to %llu", i, (unsigned long long)checks.seen_index[i],
                 (unsigned long long)index);
    if (index == 0 || (checks.seen_index[i] == index && checks.seen_life[i] == sim_life(sim, i)))
        return;
    checks.seen_life[i] = sim_life(sim, i);
    checks.seen_index[i] = index;
    km_store_digest(store, digest, &index);
    struct seen *s = &checks.table[index % checks.size];
    if (s->index == index && memcmp(s->digest, digest, sizeof(digest)) != 0)
        sim_fail(sim, "server %d has another store than others at index %llu", i, (unsigned long long)index);
    s->index = index;
    memcpy(s->digest, digest, sizeof(digest));
    if (!clients_have_token(token))
        return;
    uint32_t failed = km_store_pin_failed(store, token, 1, "spiffe://sim/client/guesser", attempt);
    if (index >= checks.pin_index ? failed < checks.pin_failed : failed > checks.pin_failed)
        sim_fail(sim, "PIN counter rewound: %u at index %llu on server %d, %u at index %llu", failed,
                 (unsigned long long)index, i, checks.pin_failed, (unsigned long long)checks.pin_index);
    if (index >= checks.pin_index) {
        checks.pin_index = index;
        checks.pin_failed = failed;
    }
}

/* How many objects of server `i` carry `label`. */
static size_t count_label(struct sim *sim, int i, const char *label)
{
    uint8_t token[KM_ID_LEN];
    const struct km_object *found[4];
    bool has_more;
    Kml__Attr attr = KML__ATTR__INIT, *attrs = &attr;
    attr.type = 3; /* CKA_LABEL */
    attr.value = (ProtobufCBinaryData){strlen(label), (uint8_t *)(size_t)label};
    if (!clients_have_token(token))
        return 0;
    size_t n = km_store_find(sim_store(sim, i), token, &attrs, 1, true, NULL, found, 4, &has_more);
    for (size_t k = 0; k < n; k++)
        km_object_unref(found[k]);
    return n;
}

void checks_end(struct sim *sim)
{
    const struct sim_object *objects;
    size_t n = clients_objects(&objects);
    uint64_t first_index = 0, index;
    uint8_t first_digest[32], digest[32];
    unsigned alive = 0;
    if (clients_pending())
        sim_fail(sim, "%u changes still unanswered long after all faults were healed", clients_pending());
    if (clients_done() < 50)
        sim_fail(sim, "only %llu changes in the whole run: it shows nothing", (unsigned long long)clients_done());
    for (int i = 0; i < sim_n(sim); i++) {
        if (!sim_is_up(sim, i))
            sim_fail(sim, "server %d is down at the end", i);
        km_store_digest(sim_store(sim, i), digest, &index);
        if (alive++ == 0) {
            first_index = index;
            memcpy(first_digest, digest, sizeof(digest));
        }
        if (index != first_index || memcmp(digest, first_digest, sizeof(digest)) != 0)
            sim_fail(sim, "server %d is at index %llu, server 0 at %llu, long after all faults were healed", i,
                     (unsigned long long)index, (unsigned long long)first_index);
        if (!km_replica_is_fresh(sim_replica(sim, i)))
            sim_fail(sim, "server %d is not fresh long after all faults were healed", i);
    }
    for (size_t k = 0; k < n; k++) {
        const struct sim_object *o = &objects[k];
        size_t found = count_label(sim, 0, o->label);
        if (found > 1)
            sim_fail(sim, "change %s was made %zu times", o->label, found);
        if (o->created_at && !o->destroy_asked_at && found != 1)
            sim_fail(sim, "acknowledged creation %s is lost", o->label);
        if (o->destroyed_at && found != 0)
            sim_fail(sim, "destroyed object %s is back", o->label);
        if (found == 1 && o->version > 1) {
            const struct km_object *object = km_store_object(sim_store(sim, 0), o->id);
            if (!object || object->version < o->version)
                sim_fail(sim, "acknowledged version %llu of %s is lost", (unsigned long long)o->version, o->label);
            km_object_unref(object);
        }
    }
}
