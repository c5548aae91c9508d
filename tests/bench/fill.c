/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts many key pairs on a token of a server that is not running: one is made by the real back end, and each of them is
 * that one sealed anew under a head of its own; all go through the real store, and the whole is written as the server's
 * snapshot. For tests of what a token with a hundred thousand keys costs.
 *   fill SERVER.CONF TOKEN-LABEL PAIRS
 * Pair i has the label "key i" and as CKA_ID the number in four bytes, most significant first.
 */
#include "../../common/attr.h"
#include "../../server/conf.h"
#include "../../server/hsm/backend.h"
#include "../../server/hsm/head.h"
#include "../../server/raft/disk_sqlite.h"
#include "../../server/raft/store.h"
#include "../../server/service/template.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PER_COMMAND 32 /* pairs */
#define THREADS 2

static struct km_backend *backend;
static struct km_store *store;
static struct km_token token;
static uint64_t store_index;

static void need(bool is_good, const char *what)
{
    if (is_good)
        return;
    fprintf(stderr, "fill: %s\n", what);
    exit(1);
}

/* --- keys --- */

static Kml__Head *make_head(CK_OBJECT_CLASS class)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE attrs[] = {{CKA_TOKEN, &yes, 1},
                            {class == CKO_PUBLIC_KEY ? CKA_VERIFY : CKA_SIGN, &yes, 1},
                            {CKA_EC_PARAMS, p256, sizeof(p256)}};
    Kml__Attr **secrets = NULL;
    Kml__Head *head = NULL;
    const char *reason = "";
    size_t n = 0;
    CK_RV rv = CKR_OK;
    Kmw__Template *t = km_template_from_ck(attrs, class == CKO_PUBLIC_KEY ? 3 : 2, &rv);

    need(t != NULL, "no template");
    rv = km_template_new(t, KM_TP_GENERATE, km_mech(CKM_EC_KEY_PAIR_GEN), class, false, &head, &secrets, &n, &reason);
    need(rv == CKR_OK, reason);
    kmw__template__free_unpacked(t, NULL);
    need(km_head_bytes(&head->token, token.id, KM_ID_LEN) == KM_OK &&
             km_head_string(&head->owner, token.owner) == KM_OK,
         "out of memory");
    head->token_instance = token.instance;
    head->created_ms = km_store_time_ms(store);
    return head;
}

static Kml__Head *first_public, *first_private;
static Kml__Object first_objects[2];

static void make_first(void)
{
    CK_RV rv;

    first_public = make_head(CKO_PUBLIC_KEY);
    first_private = make_head(CKO_PRIVATE_KEY);
    for (int i = 0; i < 2; i++)
        kml__object__init(&first_objects[i]);
    need(backend->ops->generate(backend, km_mech(CKM_EC_KEY_PAIR_GEN), first_public, first_private, &first_objects[0],
                                &first_objects[1], &rv) == KM_BE_OK,
         "the back end makes no key");
}

static Kml__Head *another(const Kml__Head *first, unsigned number)
{
    CK_BYTE id[4] = {(CK_BYTE)(number >> 24), (CK_BYTE)(number >> 16), (CK_BYTE)(number >> 8), (CK_BYTE)number};
    Kml__Head *head = NULL;
    char label[32];
    int len = snprintf(label, sizeof(label), "key %u", number);

    need(km_head_dup(first, &head) == KM_OK && km_head_fresh_id(head) == KM_OK &&
             km_head_put(head, CKA_LABEL, label, (size_t)len) == KM_OK &&
             km_head_put(head, CKA_ID, id, sizeof(id)) == KM_OK,
         "out of memory");
    return head;
}

/* Pairs first .. first + n - 1 as one packed command. */
static uint8_t *make_command(unsigned first, unsigned n, size_t *ret_len)
{
    Kml__Object objects[2 * PER_COMMAND], *list[2 * PER_COMMAND];
    Kml__ObjectCreate body = KML__OBJECT_CREATE__INIT;
    Kml__Command command = KML__COMMAND__INIT;
    uint8_t *packed;

    for (unsigned i = 0; i < n; i++) {
        Kml__Head *public = another(first_public, first + i), *private = another(first_private, first + i);
        for (unsigned k = 0; k < 2; k++) {
            list[2 * i + k] = &objects[2 * i + k];
            kml__object__init(list[2 * i + k]);
        }
        need(km_head_pack(public, &objects[2 * i].head) == KM_OK, "out of memory");
        need(backend->ops->reseal(backend, &first_objects[1], private, list[2 * i + 1]) == KM_BE_OK,
             "the back end does not seal");
        kml__head__free_unpacked(public, NULL);
        kml__head__free_unpacked(private, NULL);
    }
    body.n_objects = 2 * n;
    body.objects = list;
    command.version = KM_LOG_VERSION;
    command.time_ms = km_store_time_ms(store);
    command.body_case = KML__COMMAND__BODY_OBJECT_CREATE;
    command.object_create = &body;
    *ret_len = kml__command__get_packed_size(&command);
    packed = malloc(*ret_len);
    need(packed != NULL, "out of memory");
    kml__command__pack(&command, packed);
    for (unsigned i = 0; i < 2 * n; i++) {
        free(objects[i].head.data);
        free(objects[i].seal.data);
    }
    return packed;
}

static void apply(const uint8_t *data, size_t len)
{
    Kml__Result *result = NULL;

    need(km_store_apply(store, ++store_index, data, len, &result) == KM_OK, "the store does not take the command");
    need(result->rv == CKR_OK, result->reason);
    kml__result__free_unpacked(result, NULL);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned next, pairs;

static void *work(void *arg)
{
    (void)arg;
    for (;;) {
        unsigned first, n;
        uint8_t *packed;
        size_t len;
        pthread_mutex_lock(&lock);
        first = next;
        n = pairs - first < PER_COMMAND ? pairs - first : PER_COMMAND;
        next += n;
        pthread_mutex_unlock(&lock);
        if (n == 0)
            return NULL;
        packed = make_command(first, n, &len);
        pthread_mutex_lock(&lock);
        apply(packed, len);
        pthread_mutex_unlock(&lock);
        free(packed);
    }
}

/* --- the server's disk --- */

static void find_token(const char *label)
{
    struct km_token *tokens = NULL;
    size_t n = 0;

    need(km_store_tokens(store, &tokens, &n) == KM_OK, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (strcmp(tokens[i].label, label) == 0)
            token = tokens[i];
    free(tokens);
    need(token.instance != 0, "there is no such token");
}

/* What the disk holds into the store, and the configuration that holds at its end. */
static void replay(const struct km_disk_state *state, struct raft_configuration *ret, raft_index *ret_index)
{
    raft_configuration_init(ret);
    if (state->snapshot != NULL) {
        need(km_store_restore(store, state->snapshot->bufs[0].base, state->snapshot->bufs[0].len) == KM_OK,
             "the snapshot cannot be restored");
        *ret = state->snapshot->configuration;
        *ret_index = state->snapshot->configuration_index;
    }
    for (size_t i = 0; i < state->n_entries; i++) {
        const struct raft_entry *entry = &state->entries[i];
        Kml__Result *result = NULL;
        raft_index at = state->start_index + i;
        if (state->snapshot != NULL && at <= state->snapshot->index)
            continue;
        if (entry->type == RAFT_CHANGE) {
            need(raft_configuration_decode(&entry->buf, ret) == 0, "the configuration cannot be read");
            *ret_index = at;
        } else if (entry->type == RAFT_COMMAND) {
            need(km_store_apply(store, at, entry->buf.base, entry->buf.len, &result) == KM_OK,
                 "an entry cannot be applied");
            kml__result__free_unpacked(result, NULL);
        }
        store_index = at;
    }
}

static void set(void *arg)
{
    *(bool *)arg = true;
}

static void wait_for(bool *is_done, uv_loop_t *loop)
{
    while (!*is_done)
        uv_run(loop, UV_RUN_ONCE);
}

static void write_snapshot(struct km_disk *disk, uv_loop_t *loop, raft_term term,
                           struct raft_configuration *configuration, raft_index configuration_index)
{
    struct raft_buffer buf;
    struct raft_snapshot snapshot = {.index = store_index,
                                     .term = term,
                                     .configuration = *configuration,
                                     .configuration_index = configuration_index,
                                     .bufs = &buf,
                                     .n_bufs = 1};
    bool is_put = false;
    uint8_t *data;
    size_t len;

    need(km_store_snapshot(store, &data, &len) == KM_OK, "out of memory");
    buf = (struct raft_buffer){.base = data, .len = len};
    disk->ops->snapshot_put(disk, 0, &snapshot, set, &is_put);
    wait_for(&is_put, loop);
    printf("{\"snapshot_bytes\":%zu,\"objects\":%llu}\n", len, (unsigned long long)token.objects + 2ull * pairs);
    free(data);
}

int main(int argc, char **argv)
{
    struct km_server_conf conf;
    struct km_secret master = KM_SECRET_EMPTY;
    struct km_disk_state state;
    struct km_disk *disk = NULL;
    struct raft_configuration configuration;
    raft_index configuration_index = 0;
    uv_loop_t *loop = uv_default_loop();
    char message[KM_DISK_MESSAGE_MAX] = "", dir[4096];
    pthread_t threads[THREADS];
    bool is_closed = false;

    need(argc == 4, "fill SERVER.CONF TOKEN-LABEL PAIRS");
    need(km_server_conf_read(argv[1], &conf, message, sizeof(message)) == KM_OK, message);
    need(km_master_key_read(conf.master_key, conf.cluster, &master, message, sizeof(message)) == KM_OK, message);
    need(km_builtin_open(&master, &backend) == KM_OK, "the back end does not open");
    store = km_store_new();
    need(store != NULL, "out of memory");
    snprintf(dir, sizeof(dir), "%s/raft", conf.data_dir);
    need(km_disk_sqlite_open(dir, conf.cluster, conf.id, conf.name, loop, &disk, message, sizeof(message)) == KM_OK,
         message);
    need(disk->ops->load(disk, &state, message, sizeof(message)) == KM_OK, message);
    replay(&state, &configuration, &configuration_index);
    find_token(argv[2]);
    pairs = (unsigned)strtoul(argv[3], NULL, 10);
    make_first();
    for (int i = 0; i < THREADS; i++)
        need(pthread_create(&threads[i], NULL, work, NULL) == 0, "no thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    write_snapshot(disk, loop, state.term, &configuration, configuration_index);
    disk->ops->close(disk, set, &is_closed);
    wait_for(&is_closed, loop);
    return 0;
}
