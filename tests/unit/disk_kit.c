/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk for tests; see disk_kit.h. Failures of the kit itself abort.
 */
#include "disk_kit.h"

#include "../../server/raft/disk_load.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    abort();
}

/* --- folders --- */

static char root[64];
static pid_t root_owner;

static void remove_files(const char *dir)
{
    DIR *stream = opendir(dir);
    if (!stream)
        return;
    for (struct dirent *entry; (entry = readdir(stream));) {
        char path[512];
        if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.'))
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (unlink(path) != 0)
            remove_files(path);
    }
    closedir(stream);
    rmdir(dir);
}

static void remove_root(void)
{
    if (getpid() == root_owner)
        remove_files(root);
}

static void make_root(void)
{
    const char *base = getenv("TMPDIR");
    if (root[0] != 0)
        return;
    snprintf(root, sizeof(root), "%s/km-disk-XXXXXX", base && strlen(base) < 40 ? base : "/tmp");
    if (!mkdtemp(root))
        die("mkdtemp");
    root_owner = getpid();
    atexit(remove_root);
}

const char *kit_folder(void)
{
    static char names[64][96];
    static unsigned n;
    make_root();
    if (n == 64)
        die("kit_folder: too many");
    snprintf(names[n], sizeof(names[n]), "%s/%u", root, n);
    return names[n++];
}

void kit_copy_to(const char *from, const char *to)
{
    DIR *stream = opendir(from);
    if (!stream || mkdir(to, 0700) != 0)
        die("kit_copy");
    for (struct dirent *entry; (entry = readdir(stream));) {
        char path[512];
        static char buffer[1 << 20];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", from, entry->d_name);
        int in = open(path, O_RDONLY);
        snprintf(path, sizeof(path), "%s/%s", to, entry->d_name);
        int out = open(path, O_WRONLY | O_CREAT, 0600);
        ssize_t len;
        while ((len = read(in, buffer, sizeof(buffer))) > 0)
            if (write(out, buffer, (size_t)len) != len)
                die(path);
        close(in);
        close(out);
    }
    closedir(stream);
}

const char *kit_copy(const char *from)
{
    static char names[8][96];
    static unsigned n;
    make_root();
    char *to = names[n % 8];
    if (n >= 8)
        remove_files(to);
    snprintf(to, sizeof(names[0]), "%s/copy%u", root, n++);
    kit_copy_to(from, to);
    return to;
}

/* --- randomness with a seed that can be given again --- */

uint64_t kit_random(void)
{
    static uint64_t state;
    if (state == 0) {
        const char *given = getenv("KM_TEST_SEED");
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        state = given ? strtoull(given, NULL, 10) : (uint64_t)now.tv_nsec * 2654435761u + (uint64_t)now.tv_sec;
        printf("KM_TEST_SEED=%llu\n", (unsigned long long)state);
        fflush(stdout);
    }
    state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* --- contents that follow from index and term --- */

static void fill(uint8_t *data, size_t len, uint64_t index, uint64_t term)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)((index * 31 + term * 17 + i * (7 + index % 5) + i / 251) & 0xff);
}

static bool is_filled(const uint8_t *data, size_t len, uint64_t index, uint64_t term)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != (uint8_t)((index * 31 + term * 17 + i * (7 + index % 5) + i / 251) & 0xff))
            return false;
    return true;
}

bool kit_entry_is_right(uint64_t index, const struct raft_entry *entry)
{
    return index == 1 ? entry->type == RAFT_CHANGE
                      : entry->type == RAFT_COMMAND && is_filled(entry->buf.base, entry->buf.len, index, entry->term);
}

bool kit_snapshot_is_right(const struct raft_snapshot *snapshot)
{
    return snapshot->n_bufs == 1 && snapshot->configuration.n == 3 && snapshot->configuration_index == 1 &&
           is_filled(snapshot->bufs[0].base, snapshot->bufs[0].len, snapshot->index, snapshot->term);
}

static void make_configuration(struct raft_configuration *configuration)
{
    raft_configuration_init(configuration);
    if (raft_configuration_add(configuration, 1, "a1;a;h:1;h:2", RAFT_VOTER) ||
        raft_configuration_add(configuration, 2, "a2;b;h:3;h:4", RAFT_VOTER) ||
        raft_configuration_add(configuration, KIT_ID, "a3;c;h:5;h:6", RAFT_VOTER))
        die("configuration");
}

/* --- the disk --- */

static void count_down(void *arg)
{
    --*(int *)arg;
}

static void finish(struct kit *kit)
{
    km_disk_state_free(&kit->state);
    if (kit->disk) {
        int is_open = 1;
        kit->disk->ops->close(kit->disk, count_down, &is_open);
        while (is_open)
            uv_run(&kit->loop, UV_RUN_ONCE);
        kit->disk = NULL;
    }
    uv_run(&kit->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&kit->loop) != 0)
        die("uv_loop_close");
}

static enum km_err open_only(struct kit *kit, const char *dir)
{
    memset(kit, 0, sizeof(*kit));
    kit->ack_fd = -1;
    if (uv_loop_init(&kit->loop) != 0)
        die("uv_loop_init");
    return km_disk_sqlite_open(dir, KIT_CLUSTER, KIT_ID, KIT_NAME, &kit->loop, &kit->disk, kit->message,
                               sizeof(kit->message));
}

void kit_make(const char *dir)
{
    struct kit kit;
    struct raft_configuration configuration;
    char message[KM_DISK_MESSAGE_MAX];
    make_configuration(&configuration);
    if (km_disk_provision(dir, KIT_CLUSTER, KIT_ID, KIT_NAME, message, sizeof(message)) != KM_OK)
        die(message);
    if (open_only(&kit, dir) != KM_OK)
        die(kit.message);
    if (kit.disk->ops->bootstrap(kit.disk, &configuration) != KM_OK)
        die("bootstrap");
    finish(&kit);
    raft_configuration_close(&configuration);
}

enum km_err kit_open(struct kit *kit, const char *dir)
{
    enum km_err err = open_only(kit, dir);
    err = err ? err : kit->disk->ops->load(kit->disk, &kit->state, kit->message, sizeof(kit->message));
    if (err) {
        finish(kit);
        return err;
    }
    kit->last = kit->acked = kit->state.start_index + kit->state.n_entries - 1;
    kit->term = kit->state.term;
    return KM_OK;
}

void kit_close(struct kit *kit)
{
    finish(kit);
}

void kit_wait(struct kit *kit, unsigned pending)
{
    while (kit->pending > pending)
        uv_run(&kit->loop, UV_RUN_ONCE);
}

struct ticket {
    struct kit *kit;
    char what;
    uint64_t index, term;
    struct raft_entry *entries;
    unsigned n;
    struct raft_snapshot snapshot;
    struct raft_buffer bufs[2];
    struct raft_snapshot *read;
};

static void on_done(void *arg)
{
    struct ticket *ticket = arg;
    struct kit *kit = ticket->kit;
    kit->pending--;
    if (ticket->what == 'A' && ticket->term >= kit->cut_term)
        kit->acked = ticket->index;
    if (kit->on_ack)
        kit->on_ack(kit, ticket->what, ticket->index, ticket->term);
    for (unsigned i = 0; i < ticket->n; i++)
        free(ticket->entries[i].buf.base);
    free(ticket->entries);
    if (ticket->what == 'S')
        raft_configuration_close(&ticket->snapshot.configuration);
    free(ticket->bufs[0].base);
    free(ticket->bufs[1].base);
    free(ticket);
}

void kit_append(struct kit *kit, unsigned n, size_t len)
{
    struct ticket *ticket = calloc(1, sizeof(*ticket));
    *ticket = (struct ticket){.kit = kit,
                              .what = 'A',
                              .index = kit->last + n,
                              .term = kit->term,
                              .n = n,
                              .entries = calloc(n, sizeof(struct raft_entry))};
    for (unsigned i = 0; i < n; i++) {
        struct raft_entry *entry = &ticket->entries[i];
        uint64_t index = kit->last + 1 + i;
        *entry = (struct raft_entry){
            .term = kit->term, .type = RAFT_COMMAND, .buf = {malloc(len + index % 7 + 1), len + index % 7}};
        fill(entry->buf.base, entry->buf.len, index, entry->term);
    }
    kit->pending++;
    kit->disk->ops->append(kit->disk, kit->last + 1, ticket->entries, n, on_done, ticket);
    kit->last += n;
}

void kit_truncate(struct kit *kit, uint64_t index)
{
    kit->disk->ops->truncate(kit->disk, index);
    if (index > kit->last)
        return;
    kit->last = index - 1;
    kit->acked = kit->acked < index ? kit->acked : index - 1;
    kit->cut_term = kit->term;
}

void kit_put(struct kit *kit, uint64_t index, uint64_t term, size_t len, unsigned trailing)
{
    struct ticket *ticket = calloc(1, sizeof(*ticket));
    uint8_t *data = malloc(len + 1);
    size_t half = len / 3;
    *ticket = (struct ticket){.kit = kit, .what = 'S', .index = index, .term = term};
    ticket->snapshot = (struct raft_snapshot){
        .index = index, .term = term, .configuration_index = 1, .bufs = ticket->bufs, .n_bufs = 2};
    make_configuration(&ticket->snapshot.configuration);
    fill(data, len, index, term);
    ticket->bufs[0] = (struct raft_buffer){malloc(half + 1), half};
    ticket->bufs[1] = (struct raft_buffer){malloc(len - half + 1), len - half};
    memcpy(ticket->bufs[0].base, data, half);
    memcpy(ticket->bufs[1].base, data + half, len - half);
    free(data);
    kit->pending++;
    kit->disk->ops->snapshot_put(kit->disk, trailing, &ticket->snapshot, on_done, ticket);
    if (trailing == 0)
        kit->last = index;
}

static void on_read(void *arg, struct raft_snapshot *snapshot)
{
    *(struct raft_snapshot **)arg = snapshot;
}

struct raft_snapshot *kit_get(struct kit *kit)
{
    struct raft_snapshot *snapshot = NULL;
    kit->disk->ops->snapshot_get(kit->disk, on_read, &snapshot);
    while (!snapshot)
        uv_run(&kit->loop, UV_RUN_ONCE);
    return snapshot;
}

void kit_snapshot_free(struct raft_snapshot *snapshot)
{
    km_disk_snapshot_free(snapshot);
}

void kit_digest(const struct km_disk_state *state, char ret[65])
{
    SHA256_CTX *context = malloc(sizeof(*context));
    uint64_t head[] = {state->term, state->voted_for, state->start_index, state->n_entries, state->snapshot ? 1 : 0};
    uint8_t digest[32];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    SHA256_Init(context);
    SHA256_Update(context, head, sizeof(head));
    if (state->snapshot) {
        const struct raft_snapshot *s = state->snapshot;
        uint64_t fields[] = {s->index, s->term, s->configuration_index, s->configuration.n, s->bufs[0].len};
        SHA256_Update(context, fields, sizeof(fields));
        SHA256_Update(context, s->bufs[0].base, s->bufs[0].len);
        for (unsigned i = 0; i < s->configuration.n; i++) {
            SHA256_Update(context, &s->configuration.servers[i].id, sizeof(raft_id));
            SHA256_Update(context, s->configuration.servers[i].address, strlen(s->configuration.servers[i].address));
        }
    }
    for (size_t i = 0; i < state->n_entries; i++) {
        const struct raft_entry *entry = &state->entries[i];
        uint64_t fields[] = {entry->term, entry->type, entry->buf.len};
        SHA256_Update(context, fields, sizeof(fields));
        SHA256_Update(context, entry->buf.base, entry->buf.len);
    }
    SHA256_Final(digest, context);
#pragma GCC diagnostic pop
    free(context);
    for (int i = 0; i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}
