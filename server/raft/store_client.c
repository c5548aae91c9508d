/* SPDX-License-Identifier: Apache-2.0
 *
 * Registered clients and the results of their changes: what makes a change happen exactly once (Raft dissertation 6.3,
 * design D9). Loop thread, under the store's write lock; km_client_judge under the read lock too.
 *
 * Invariant: a number at or below `floor` has been acknowledged or fell out of the window and is never executed
 * (again); above it, exactly the numbers in `results` were executed. Order of idleness is (last_ms, session), which
 * follows from the state alone, so that a restored store evicts the same clients.
 */
#include "store_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int cmp_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int cmp_session(const struct km_tree_node *a, const struct km_tree_node *b)
{
    return cmp_u64(KM_TREE_OF(a, struct km_client, by_session)->session,
                   KM_TREE_OF(b, struct km_client, by_session)->session);
}

static int cmp_idleness(const struct km_client *a, const struct km_client *b)
{
    int order = cmp_u64(a->last_ms, b->last_ms);
    return order ? order : cmp_u64(a->session, b->session);
}

static int cmp_idle(const struct km_tree_node *a, const struct km_tree_node *b)
{
    return cmp_idleness(KM_TREE_OF(a, struct km_client, by_idle), KM_TREE_OF(b, struct km_client, by_idle));
}

static int cmp_holder_idle(const struct km_tree_node *a, const struct km_tree_node *b)
{
    return cmp_idleness(KM_TREE_OF(a, struct km_client, by_holder_idle),
                        KM_TREE_OF(b, struct km_client, by_holder_idle));
}

static int cmp_holder(const struct km_tree_node *a, const struct km_tree_node *b)
{
    return strcmp(KM_TREE_OF(a, struct km_holder, node)->identity, KM_TREE_OF(b, struct km_holder, node)->identity);
}

/* --- digest ---------------------------------------------------------------------------------------------------------
 */

static struct km_sum client_sum(struct km_state *state, const struct km_client *client)
{
    km_hash_begin(state, 'C');
    km_hash_u64(state, client->session);
    km_hash_text(state, client->holder->identity);
    km_hash_u64(state, client->last_ms);
    km_hash_u64(state, client->floor);
    return km_hash_end(state);
}

static struct km_sum result_sum(struct km_state *state, const struct km_client *client,
                                const struct km_client_result *result)
{
    km_hash_begin(state, 'R');
    km_hash_u64(state, client->session);
    km_hash_u64(state, result->number);
    km_hash_bytes(state, result->hash, sizeof(result->hash));
    km_hash_bytes(state, result->packed, result->len);
    return km_hash_end(state);
}

static void digest_add(struct km_state *state, struct km_client *client, struct km_sum sum)
{
    km_sum_add(&state->sum, &sum);
    km_sum_add(&client->sum, &sum);
}

static void digest_sub(struct km_state *state, struct km_client *client, struct km_sum sum)
{
    km_sum_sub(&state->sum, &sum);
    km_sum_sub(&client->sum, &sum);
}

/* --- clients --------------------------------------------------------------------------------------------------------
 */

struct km_client *km_client_find(const struct km_state *state, uint64_t session)
{
    const struct km_client probe = {.session = session};
    return KM_TREE_OF(km_tree_find(state->clients, &probe.by_session, cmp_session), struct km_client, by_session);
}

static struct km_holder *holder_find(const struct km_state *state, const char *identity)
{
    const struct km_holder probe = {.identity = (char *)(size_t)identity};
    return KM_TREE_OF(km_tree_find(state->holders, &probe.node, cmp_holder), struct km_holder, node);
}

static struct km_holder *holder_need(struct km_state *state, const char *identity)
{
    struct km_holder *holder = holder_find(state, identity);
    if (holder)
        return holder;
    holder = km_need(sizeof(*holder));
    holder->identity = km_need_text(identity);
    km_tree_insert(&state->holders, &holder->node, cmp_holder);
    return holder;
}

static void holder_free(struct km_holder *holder)
{
    free(holder->identity);
    free(holder);
}

static void idle_insert(struct km_state *state, struct km_client *client)
{
    km_tree_insert(&state->idle, &client->by_idle, cmp_idle);
    km_tree_insert(&client->holder->idle, &client->by_holder_idle, cmp_holder_idle);
}

static void idle_remove(struct km_state *state, struct km_client *client)
{
    km_tree_remove(&state->idle, &client->by_idle, cmp_idle);
    km_tree_remove(&client->holder->idle, &client->by_holder_idle, cmp_holder_idle);
}

static struct km_client *client_insert(struct km_state *state, uint64_t session, const char *identity, uint64_t last_ms,
                                       uint64_t floor)
{
    struct km_client *client = km_need(sizeof(*client));
    client->holder = holder_need(state, identity);
    client->holder->n++;
    client->session = session;
    client->last_ms = last_ms;
    client->floor = floor;
    km_tree_insert(&state->clients, &client->by_session, cmp_session);
    idle_insert(state, client);
    state->n_clients++;
    digest_add(state, client, client_sum(state, client));
    return client;
}

static struct km_client *longest_idle(struct km_tree_node *idle)
{
    return KM_TREE_OF(km_tree_first(idle), struct km_client, by_idle);
}

static struct km_client *longest_idle_of(const struct km_holder *holder)
{
    return KM_TREE_OF(km_tree_first(holder->idle), struct km_client, by_holder_idle);
}

/* An identity over its own limit, or one that finds the table full, gives up its own longest idle client; only one that
 * has none takes another's place. */
struct km_client *km_client_add(struct km_state *state, uint64_t session, const char *identity)
{
    const struct km_holder *holder = holder_find(state, identity);
    if (holder && (holder->n >= KM_CLIENTS_PER_IDENTITY || state->n_clients >= KM_CLIENTS_MAX))
        km_client_drop(state, longest_idle_of(holder));
    else if (state->n_clients >= KM_CLIENTS_MAX)
        km_client_drop(state, longest_idle(state->idle));
    return client_insert(state, session, identity, state->time_ms, 0 /* floor */);
}

static void client_free(struct km_client *client)
{
    for (size_t i = 0; i < client->n; i++)
        free(client->results[i]);
    free(client->results);
    free(client);
}

void km_client_drop(struct km_state *state, struct km_client *client)
{
    struct km_holder *holder = client->holder;
    km_sum_sub(&state->sum, &client->sum);
    km_tree_remove(&state->clients, &client->by_session, cmp_session);
    idle_remove(state, client);
    state->n_clients--;
    client_free(client);
    if (--holder->n > 0)
        return;
    km_tree_remove(&state->holders, &holder->node, cmp_holder);
    holder_free(holder);
}

void km_client_expire(struct km_state *state)
{
    struct km_client *client;
    while ((client = longest_idle(state->idle)) && state->time_ms - client->last_ms > KM_CLIENT_TTL_MS)
        km_client_drop(state, client);
}

static void free_client(void *arg, struct km_tree_node *node)
{
    (void)arg;
    client_free(KM_TREE_OF(node, struct km_client, by_session));
}

static void free_holder(void *arg, struct km_tree_node *node)
{
    (void)arg;
    holder_free(KM_TREE_OF(node, struct km_holder, node));
}

void km_client_free_all(struct km_state *state)
{
    km_tree_drain(&state->clients, free_client, NULL);
    km_tree_drain(&state->holders, free_holder, NULL);
    state->idle = NULL;
    state->n_clients = 0;
}

/* --- results --------------------------------------------------------------------------------------------------------
 */

/* The position of the first result whose number is at least `number`. */
static size_t result_position(const struct km_client *client, uint64_t number)
{
    size_t i = client->n; /* the newest numbers are asked for most */
    while (i > 0 && client->results[i - 1]->number >= number)
        i--;
    return i;
}

static void drop_results(struct km_state *state, struct km_client *client, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        digest_sub(state, client, result_sum(state, client, client->results[i]));
        free(client->results[i]);
    }
    client->n -= n;
    memmove(client->results, client->results + n, client->n * sizeof(client->results[0]));
}

static void set_floor(struct km_state *state, struct km_client *client, uint64_t floor)
{
    digest_sub(state, client, client_sum(state, client));
    client->floor = floor;
    digest_add(state, client, client_sum(state, client));
}

void km_client_touch(struct km_state *state, struct km_client *client, uint64_t acked)
{
    if (client->last_ms != state->time_ms) {
        digest_sub(state, client, client_sum(state, client));
        idle_remove(state, client);
        client->last_ms = state->time_ms;
        idle_insert(state, client);
        digest_add(state, client, client_sum(state, client));
    }
    if (acked <= client->floor)
        return;
    size_t n = 0;
    while (n < client->n && client->results[n]->number <= acked)
        n++;
    if (n)
        drop_results(state, client, n);
    set_floor(state, client, acked);
}

enum km_verdict km_client_judge(const struct km_state *state, uint64_t session, uint64_t number, const char *identity,
                                const uint8_t *hash, size_t hash_len, struct km_client_result **ret_result,
                                const char **ret_reason)
{
    const struct km_client *client = km_client_find(state, session);
    *ret_reason = "client not registered, or registration expired";
    if (!client || strcmp(client->holder->identity, identity) != 0)
        return KM_CLIENT_REFUSED;
    *ret_reason = "change without a hash of its request";
    if (hash_len != KM_DIGEST_LEN)
        return KM_CLIENT_REFUSED;
    *ret_reason = "change acknowledged already or older than the window of kept results";
    if (number <= client->floor)
        return KM_CLIENT_REFUSED;
    size_t i = result_position(client, number);
    if (i < client->n && client->results[i]->number == number) {
        *ret_reason = "number of this change was used for another one";
        if (memcmp(client->results[i]->hash, hash, KM_DIGEST_LEN) != 0)
            return KM_CLIENT_REFUSED;
        *ret_result = client->results[i];
        return KM_CLIENT_DONE;
    }
    if (client->n >= KM_CLIENT_WINDOW && i == 0) /* its own result would be the one to go */
        return KM_CLIENT_REFUSED;
    return KM_CLIENT_NEW;
}

static struct km_client_result **result_room(struct km_client *client, uint64_t number)
{
    if (client->n == client->cap) {
        client->cap = client->cap ? client->cap * 2 : 1;
        client->results = km_need_more(client->results, client->cap * sizeof(client->results[0]));
    }
    size_t i = result_position(client, number);
    memmove(client->results + i + 1, client->results + i, (client->n - i) * sizeof(client->results[0]));
    client->n++;
    return &client->results[i];
}

void km_client_keep(struct km_state *state, struct km_client *client, uint64_t number, const uint8_t *hash,
                    const uint8_t *packed, size_t len)
{
    struct km_client_result *result = km_need(sizeof(*result) + len);
    result->number = number;
    result->len = len;
    memcpy(result->hash, hash, sizeof(result->hash));
    memcpy(result->packed, packed, len);
    if (client->n >= KM_CLIENT_WINDOW) {
        uint64_t oldest = client->results[0]->number;
        assert(oldest < number);
        drop_results(state, client, 1);
        set_floor(state, client, oldest);
    }
    *result_room(client, number) = result;
    digest_add(state, client, result_sum(state, client, result));
}

static bool restore_result(struct km_state *state, struct km_client *client, const Kml__ClientResult *from,
                           uint64_t above)
{
    if (from->number <= above || from->hash.len != KM_DIGEST_LEN || !from->result)
        return false;
    size_t len = kml__result__get_packed_size(from->result);
    uint8_t *packed = km_need(len ? len : 1);
    kml__result__pack(from->result, packed);
    km_client_keep(state, client, from->number, from->hash.data, packed, len);
    free(packed);
    return true;
}

bool km_client_restore(struct km_state *state, const Kml__Client *from)
{
    const struct km_holder *holder = holder_find(state, from->identity);
    if (from->last_ms > state->time_ms || from->session == 0 || from->session > state->index)
        return false;
    if (!km_text_fits(from->identity, KM_STORE_IDENTITY_MAX) || from->n_results > KM_CLIENT_WINDOW)
        return false;
    if (state->n_clients >= KM_CLIENTS_MAX || (holder && holder->n >= KM_CLIENTS_PER_IDENTITY))
        return false;
    if (km_client_find(state, from->session))
        return false;
    struct km_client *client = client_insert(state, from->session, from->identity, from->last_ms, from->acked);
    uint64_t above = from->acked;
    for (size_t i = 0; i < from->n_results; i++) {
        if (!restore_result(state, client, from->results[i], above))
            return false;
        above = from->results[i]->number;
    }
    return true;
}
