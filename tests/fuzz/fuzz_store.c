/* SPDX-License-Identifier: Apache-2.0
 *
 * The store under bytes that nobody meant: commands and snapshots, mutated by a generator with a seed, for some
 * seconds. It must never crash, what is malformed must leave it as it was, and what was accepted must go through a
 * snapshot unchanged. Usage: fuzz_store [seconds [seed]]. Prints the seed; the same seed gives the same run.
 */
#include "../unit/store_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CORPUS_MAX 64
#define BYTES_MAX 65536

struct bytes {
    uint8_t *data;
    size_t len;
};

static uint64_t seed;
static struct bytes corpus[CORPUS_MAX];
static size_t n_corpus;

static uint64_t roll(uint64_t below)
{
    seed += 0x9e3779b97f4a7c15u;
    uint64_t x = seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (x ^ (x >> 31)) % below;
}

static void broken(const char *what)
{
    fprintf(stderr, "fuzz_store: %s\n", what);
    abort();
}

static void *need(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        broken("out of memory");
    return p;
}

static void keep(const void *data, size_t len)
{
    if (n_corpus == CORPUS_MAX)
        broken("corpus is full");
    corpus[n_corpus].data = need(len);
    memcpy(corpus[n_corpus].data, data, len);
    corpus[n_corpus++].len = len;
}

static void keep_command(Kml__Command *command)
{
    command->version = KM_LOG_VERSION;
    command->time_ms = 1000 + n_corpus;
    uint8_t *packed = need(kml__command__get_packed_size(command));
    keep(packed, kml__command__pack(command, packed));
    free(packed);
}

/* --- a corpus of good commands --------------------------------------------------------------------------------------
 */

#define KEEP(NAME, member, body)                                                                                       \
    do {                                                                                                               \
        Kml__Command kept = KML__COMMAND__INIT;                                                                        \
        kept.body_case = KML__COMMAND__BODY_##NAME;                                                                    \
        kept.member = (body);                                                                                          \
        keep_command(&kept);                                                                                           \
    } while (0)

static void keep_tokens(void)
{
    Kml__ClientRegister client = KML__CLIENT_REGISTER__INIT;
    client.identity = (char[]){ALICE};
    KEEP(CLIENT_REGISTER, client_register, &client);
    for (uint64_t i = 1; i <= 3; i++) {
        Kml__TokenInit token = KML__TOKEN_INIT__INIT;
        Kml__Pin so = KML__PIN__INIT;
        so.verifier = hash_data(1);
        token.id = id_data(i);
        token.slot = i;
        token.label = (char[]){"label"};
        token.serial = (char[]){"serial"};
        token.owner = (char[]){ALICE};
        token.so = &so;
        KEEP(TOKEN_INIT, token_init, &token);
        token.expect_instance = 1;
        if (i == 3)
            KEEP(TOKEN_INIT, token_init, &token);
    }
    Kml__PinChange pin = KML__PIN_CHANGE__INIT;
    pin.token = id_data(1);
    pin.user_type = CKU_USER;
    pin.verifier = hash_data(2);
    pin.expect_instance = 1;
    KEEP(PIN_CHANGE, pin_change, &pin);
    Kml__PinAttempt attempt = KML__PIN_ATTEMPT__INIT;
    attempt.token = id_data(1);
    attempt.user_type = CKU_USER;
    attempt.identity = (char[]){BOB};
    attempt.attempt = id_data(9);
    attempt.expect_instance = 1;
    attempt.expect_generation = 1;
    KEEP(PIN_ATTEMPT, pin_attempt, &attempt);
    attempt.is_good = true;
    KEEP(PIN_ATTEMPT, pin_attempt, &attempt);
}

static void keep_objects(void)
{
    struct thing thing = {.token = 1,
                          .instance = 1,
                          .class = CKO_SECRET_KEY,
                          .key_type = CKK_AES,
                          .is_private = true,
                          .cka_id = "id",
                          .label = "label"};
    Kml__Object objects[2], *pointers[2] = {&objects[0], &objects[1]};
    Kml__ObjectCreate create = KML__OBJECT_CREATE__INIT;
    Kml__ObjectReplace replace = KML__OBJECT_REPLACE__INIT;
    Kml__ObjectDestroy destroy = KML__OBJECT_DESTROY__INIT;
    for (uint64_t i = 0; i < 2; i++) {
        kml__object__init(&objects[i]);
        thing.id = 100 + i;
        thing.version = 1;
        objects[i].head = head_of(&thing);
        objects[i].seal = hash_data(3);
    }
    create.objects = pointers;
    create.n_objects = 2;
    KEEP(OBJECT_CREATE, object_create, &create);
    free(objects[0].head.data);
    free(objects[1].head.data);
    thing.version = 2;
    objects[1].head = head_of(&thing);
    replace.object = &objects[1];
    replace.expect_version = 1;
    KEEP(OBJECT_REPLACE, object_replace, &replace);
    free(objects[1].head.data);
    destroy.token = id_data(1);
    destroy.id = id_data(100);
    KEEP(OBJECT_DESTROY, object_destroy, &destroy);
}

static void keep_rest(void)
{
    Kml__FeatureLevel level = KML__FEATURE_LEVEL__INIT;
    Kml__AuditHead head = KML__AUDIT_HEAD__INIT;
    Kml__Tick tick_body = KML__TICK__INIT;
    Kml__Origin origin = KML__ORIGIN__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    level.level = KM_FEATURE_LEVEL;
    KEEP(FEATURE_LEVEL, feature_level, &level);
    head.server = 1;
    head.sequence = 7;
    head.hash = hash_data(4);
    KEEP(AUDIT_HEAD, audit_head, &head);
    KEEP(TICK, tick, &tick_body);
    origin.session = 1;
    origin.identity = (char[]){ALICE};
    origin.hash = hash_data(5);
    command.origin = &origin;
    command.body_case = KML__COMMAND__BODY_TICK;
    command.tick = &tick_body;
    for (origin.number = 1; origin.number <= 6; origin.number++)
        keep_command(&command);
    origin.acked = 3;
    keep_command(&command);
}

/* --- mutation -------------------------------------------------------------------------------------------------------
 */

static void mutate_once(uint8_t *data, size_t *len)
{
    static const uint8_t edges[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x0a, 0x08, 16, 17, 32};
    size_t at = *len ? roll(*len) : 0, n = 1 + roll(16);
    switch (roll(7)) {
    case 0: /* a bit */
        if (*len)
            data[at] ^= (uint8_t)(1 << roll(8));
        break;
    case 1: /* a byte that decoders care for */
        if (*len)
            data[at] = edges[roll(sizeof(edges))];
        break;
    case 2: /* bytes out */
        n = n < *len - at ? n : *len - at;
        memmove(data + at, data + at + n, *len - at - n);
        *len -= n;
        break;
    case 3: /* bytes in */
        if (*len + n > BYTES_MAX)
            break;
        memmove(data + at + n, data + at, *len - at);
        for (size_t i = 0; i < n; i++)
            data[at + i] = (uint8_t)roll(256);
        *len += n;
        break;
    case 4: /* a piece of itself again */
        n = n < *len - at ? n : *len - at;
        if (*len + n > BYTES_MAX)
            break;
        memmove(data + at + n, data + at, *len - at);
        *len += n;
        break;
    case 5: { /* a piece of another one: protobuf merges what comes twice */
        const struct bytes *other = &corpus[roll(n_corpus)];
        n = roll(other->len + 1);
        if (*len + n > BYTES_MAX)
            break;
        memcpy(data + *len, other->data + (other->len - n), n);
        *len += n;
        break;
    }
    default: /* cut */
        if (roll(8) == 0)
            *len = at;
    }
}

static size_t mutate(uint8_t *out, const uint8_t *data, size_t len)
{
    if (len > BYTES_MAX)
        len = BYTES_MAX;
    memcpy(out, data, len);
    for (uint64_t n = roll(4); n > 0; n--)
        mutate_once(out, &len);
    return len;
}

/* --- the store ------------------------------------------------------------------------------------------------------
 */

static struct {
    uint64_t applied, refused, errors, restored, rejected;
} counts;

static void digest(struct km_store *store, uint8_t ret[32])
{
    uint64_t index;
    km_store_digest(store, ret, &index);
}

static void one_command(struct km_store *store, const uint8_t *data, size_t len)
{
    Kml__Result *result = NULL;
    uint8_t before[32], after[32];
    /* as it would lie in the log: a buffer of its own, so that a read beyond its end is seen */
    uint8_t *exact = need(len);
    memcpy(exact, data, len);
    digest(store, before);
    enum km_err err = km_store_apply(store, km_store_index(store) + 1, exact, len, &result);
    digest(store, after);
    free(exact);
    if (err && result)
        broken("an error with a result");
    if (!err && !result)
        broken("success without a result");
    /* KM_ERR_VERSION may come after time has moved on; the server stops then */
    if (err && err != KM_ERR_VERSION && memcmp(before, after, sizeof(before)) != 0)
        broken("an error that changed the store");
    counts.errors += err != KM_OK;
    counts.applied += !err && result->rv == CKR_OK;
    counts.refused += !err && result->rv != CKR_OK;
    if (result)
        kml__result__free_unpacked(result, NULL);
}

/* What is in the store must be what its digest says, which a restore finds out. */
static void through_snapshot(struct km_store *store)
{
    uint8_t *data, *scratch = need(BYTES_MAX), before[32], after[32];
    size_t len;
    digest(store, before);
    if (km_store_snapshot(store, &data, &len))
        broken("no snapshot");
    for (int i = 0; i < 200; i++) {
        size_t mutated = mutate(scratch, data, len);
        bool is_same = mutated == len && memcmp(scratch, data, len) == 0;
        uint8_t *exact = need(mutated);
        memcpy(exact, scratch, mutated);
        enum km_err err = km_store_restore(store, exact, mutated);
        free(exact);
        if (!err && !is_same)
            broken("a damaged snapshot was taken");
        if (err && is_same)
            broken("a good snapshot was refused");
        counts.restored += !err;
        counts.rejected += err != KM_OK;
        digest(store, after);
        if (memcmp(before, after, sizeof(before)) != 0)
            broken("a snapshot changed the store");
    }
    if (km_store_restore(store, data, len))
        broken("its own snapshot was refused");
    free(data);
    free(scratch);
}

static void one_log(void)
{
    uint8_t *scratch = need(BYTES_MAX);
    struct km_store *store = km_store_new();
    if (!store)
        broken("out of memory");
    for (int i = 0; i < 400; i++) {
        /* mostly in the order in which they make sense, so that the store fills */
        const struct bytes *from = &corpus[roll(2) ? (size_t)i % n_corpus : roll(n_corpus)];
        bool is_good = roll(3) == 0;
        size_t len = is_good ? from->len : mutate(scratch, from->data, from->len);
        one_command(store, is_good ? from->data : scratch, len);
    }
    through_snapshot(store);
    km_store_free(store);
    free(scratch);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 3;
    seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    struct timespec start, now;
    uint64_t logs = 0;
    printf("fuzz_store: seed %" PRIu64 "\n", seed);
    fflush(stdout);
    keep_tokens();
    keep_objects();
    keep_rest();
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        one_log();
        logs++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
    printf("%" PRIu64 " logs: %" PRIu64 " commands applied, %" PRIu64 " refused, %" PRIu64 " errors; %" PRIu64
           " snapshots restored, %" PRIu64 " rejected\n",
           logs, counts.applied, counts.refused, counts.errors, counts.restored, counts.rejected);
    for (size_t i = 0; i < n_corpus; i++)
        free(corpus[i].data);
    if (counts.applied == 0 || counts.refused == 0 || counts.errors == 0 || counts.rejected == 0)
        broken("a kind of outcome never came: the harness does not reach the store");
    return 0;
}
