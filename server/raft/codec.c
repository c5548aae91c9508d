/* SPDX-License-Identifier: Apache-2.0
 *
 * libraft's messages as bytes and back. libraft validates nothing that it receives, so every count and length is bounded here before it sees
 * them, and a configuration is walked before libraft may decode it. Invariant: encode(decode(x)) = x, and no byte string makes decode
 * allocate more than a small multiple of its own length. Any thread; no state.
 */
#include "codec.h"

#include "bytes.h"

#include <assert.h>
#include <stdlib.h>

#define ENTRY_HEAD_LEN (8 + 1 + 4)

unsigned km_codec_part(const struct raft_append_entries *args, unsigned first)
{
    size_t bytes = 0;
    unsigned n = 0;

    while (first + n < args->n_entries && n < KM_CODEC_ENTRIES_MAX) {
        const struct raft_entry *entry = &args->entries[first + n];

        if (n > 0 && (entry->type == RAFT_CHANGE || bytes + entry->buf.len > KM_CODEC_PART_MAX))
            break;
        bytes += entry->buf.len;
        n++;
    }
    return n;
}

static void put_entries(struct km_writer *w, const struct raft_append_entries *args, unsigned first, unsigned n)
{
    raft_index last = args->prev_log_index + first + n;
    bool is_last_part = first + n == args->n_entries;

    km_put_uint(w, args->term, 8);
    km_put_uint(w, args->prev_log_index + first, 8);
    km_put_uint(w, first == 0 ? args->prev_log_term : args->entries[first - 1].term, 8);
    km_put_uint(w, is_last_part || args->leader_commit < last ? args->leader_commit : last, 8);
    km_put_uint(w, n, 4);
    for (unsigned i = first; i < first + n; i++) {
        km_put_uint(w, args->entries[i].term, 8);
        km_put_uint(w, args->entries[i].type, 1);
        km_put_uint(w, args->entries[i].buf.len, 4);
    }
    for (unsigned i = first; i < first + n; i++)
        km_put(w, args->entries[i].buf.base, args->entries[i].buf.len);
}

static void put_snapshot(struct km_writer *w, const struct raft_install_snapshot *args)
{
    km_put_uint(w, args->term, 8);
    km_put_uint(w, args->last_index, 8);
    km_put_uint(w, args->last_term, 8);
    km_put_uint(w, args->conf_index, 8);
    km_put_uint(w, args->conf.n, 4);
    for (unsigned i = 0; i < args->conf.n; i++) {
        const struct raft_server *server = &args->conf.servers[i];
        size_t len = strlen(server->address);

        km_put_uint(w, server->id, 8);
        km_put_uint(w, (uint64_t)server->role, 1);
        km_put_uint(w, len, 2);
        km_put(w, server->address, len);
    }
    km_put_uint(w, args->data.len, 4);
    km_put(w, args->data.base, args->data.len);
}

static void put_message(struct km_writer *w, const struct raft_message *m, unsigned first, unsigned n)
{
    km_put_uint(w, KM_CODEC_VERSION, 1);
    km_put_uint(w, m->type, 1);
    switch (m->type) {
    case RAFT_REQUEST_VOTE:
        km_put_uint(w, m->request_vote.version, 1);
        km_put_uint(w, m->request_vote.term, 8);
        km_put_uint(w, m->request_vote.candidate_id, 8);
        km_put_uint(w, m->request_vote.last_log_index, 8);
        km_put_uint(w, m->request_vote.last_log_term, 8);
        km_put_uint(w, m->request_vote.disrupt_leader, 1);
        km_put_uint(w, m->request_vote.pre_vote, 1);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        km_put_uint(w, m->request_vote_result.version, 1);
        km_put_uint(w, m->request_vote_result.term, 8);
        km_put_uint(w, m->request_vote_result.vote_granted, 1);
        km_put_uint(w, m->request_vote_result.pre_vote, 1);
        km_put_uint(w, m->request_vote_result.features, 2);
        km_put_uint(w, m->request_vote_result.capacity, 2);
        break;
    case RAFT_APPEND_ENTRIES:
        km_put_uint(w, m->append_entries.version, 1);
        put_entries(w, &m->append_entries, first, n);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        km_put_uint(w, m->append_entries_result.version, 1);
        km_put_uint(w, m->append_entries_result.term, 8);
        km_put_uint(w, m->append_entries_result.rejected, 8);
        km_put_uint(w, m->append_entries_result.last_log_index, 8);
        km_put_uint(w, m->append_entries_result.features, 2);
        km_put_uint(w, m->append_entries_result.capacity, 2);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        km_put_uint(w, m->install_snapshot.version, 1);
        put_snapshot(w, &m->install_snapshot);
        break;
    case RAFT_TIMEOUT_NOW:
        km_put_uint(w, m->timeout_now.version, 1);
        km_put_uint(w, m->timeout_now.term, 8);
        km_put_uint(w, m->timeout_now.last_log_index, 8);
        km_put_uint(w, m->timeout_now.last_log_term, 8);
        break;
    }
}

enum km_err km_codec_encode(const struct raft_message *message, unsigned first, unsigned n, size_t reserve, uint8_t **ret, size_t *ret_len)
{
    struct km_writer w = {NULL, 0};

    if (message->type < RAFT_APPEND_ENTRIES || message->type > RAFT_TIMEOUT_NOW)
        return KM_ERR_UNSUPPORTED;
    if (message->type == RAFT_INSTALL_SNAPSHOT && message->install_snapshot.data.len > KM_CODEC_SNAPSHOT_MAX)
        return KM_ERR_TOO_LARGE;
    for (unsigned i = first; message->type == RAFT_APPEND_ENTRIES && i < first + n; i++)
        if (message->append_entries.entries[i].buf.len > KM_CODEC_ENTRY_MAX)
            return KM_ERR_TOO_LARGE;

    put_message(&w, message, first, n);
    *ret_len = reserve + w.len;
    w = (struct km_writer){malloc(*ret_len), reserve};
    if (w.data == NULL)
        return KM_ERR_NOMEM;
    put_message(&w, message, first, n);
    assert(w.len == *ret_len);
    *ret = w.data;
    return KM_OK;
}

enum km_err km_codec_check_configuration(const uint8_t *data, size_t len)
{
    struct km_reader r = {data, len, false};
    uint64_t n;

    /* libraft's own layout: format 1, number, then id, address with its NUL, role of each; padded to a multiple of 8. */
    if (km_get_uint(&r, 1) != 1)
        return KM_ERR_PROTO;
    n = km_get_bounded(&r, 8, KM_CODEC_SERVERS_MAX);
    for (uint64_t i = 0; i < n && !r.is_bad; i++) {
        const uint8_t *end;

        if (km_get_uint(&r, 8) == 0)
            return KM_ERR_PROTO;
        end = r.len > 0 ? memchr(r.data, 0, r.len) : NULL;
        if (end == NULL || (size_t)(end - r.data) > KM_CODEC_ADDRESS_MAX)
            return KM_ERR_PROTO;
        (void)km_get(&r, (size_t)(end - r.data) + 1);
        (void)km_get_bounded(&r, 1, RAFT_SPARE);
    }
    return r.is_bad || n == 0 || r.len >= 8 ? KM_ERR_PROTO : KM_OK;
}

static enum km_err get_entries(struct km_reader *r, struct raft_append_entries *args)
{
    struct km_reader heads;
    uint64_t total = 0;
    uint8_t *batch = NULL;

    args->term = km_get_uint(r, 8);
    args->prev_log_index = km_get_uint(r, 8);
    args->prev_log_term = km_get_uint(r, 8);
    args->leader_commit = km_get_uint(r, 8);
    args->n_entries = (unsigned)km_get_bounded(r, 4, KM_CODEC_ENTRIES_MAX);
    args->entries = NULL;
    if (r->is_bad || args->prev_log_index > UINT64_MAX / 2 || (args->prev_log_index == 0) != (args->prev_log_term == 0))
        return KM_ERR_PROTO;
    heads = *r;
    if (km_get(r, (size_t)args->n_entries * ENTRY_HEAD_LEN) == NULL)
        return KM_ERR_PROTO;
    for (struct km_reader h = heads; total <= r->len && h.data < r->data;) {
        (void)km_get_uint(&h, 8);
        (void)km_get_uint(&h, 1);
        total += km_get_bounded(&h, 4, KM_CODEC_ENTRY_MAX);
        if (h.is_bad)
            return KM_ERR_PROTO;
    }
    if (total != r->len)
        return KM_ERR_PROTO;
    if (args->n_entries == 0)
        return KM_OK;

    args->entries = raft_calloc(args->n_entries, sizeof(*args->entries));
    batch = raft_malloc(total + 1); /* never NULL, not even for entries without bytes: libraft frees entries[0].batch */
    if (args->entries == NULL || batch == NULL) {
        raft_free(batch);
        raft_free(args->entries);
        args->entries = NULL;
        return KM_ERR_NOMEM;
    }
    memcpy(batch, r->data, total);
    for (size_t i = 0, offset = 0; i < args->n_entries; i++) {
        struct raft_entry *entry = &args->entries[i];
        uint64_t type;

        entry->term = km_get_uint(&heads, 8);
        type = km_get_uint(&heads, 1);
        entry->buf.len = km_get_uint(&heads, 4);
        entry->buf.base = batch + offset;
        entry->batch = batch;
        offset += entry->buf.len;
        if (entry->term == 0 || entry->term > args->term || type < RAFT_COMMAND || type > RAFT_CHANGE || (type == RAFT_CHANGE && i > 0) ||
            (type == RAFT_CHANGE && km_codec_check_configuration(entry->buf.base, entry->buf.len) != KM_OK)) {
            raft_free(batch);
            raft_free(args->entries);
            args->entries = NULL;
            return KM_ERR_PROTO;
        }
        entry->type = (enum raft_entry_type)type;
    }
    (void)km_get(r, total);
    return KM_OK;
}

static enum km_err get_snapshot(struct km_reader *r, struct raft_install_snapshot *args)
{
    char address[KM_CODEC_ADDRESS_MAX + 1];
    const uint8_t *data;
    uint64_t n;

    raft_configuration_init(&args->conf);
    args->data.base = NULL;
    args->term = km_get_uint(r, 8);
    args->last_index = km_get_uint(r, 8);
    args->last_term = km_get_uint(r, 8);
    args->conf_index = km_get_uint(r, 8);
    n = km_get_bounded(r, 4, KM_CODEC_SERVERS_MAX);
    if (r->is_bad || args->last_index == 0 || args->last_index > UINT64_MAX / 2 || args->last_term == 0 || args->conf_index > args->last_index || n == 0)
        return KM_ERR_PROTO;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t id = km_get_uint(r, 8);
        int role = (int)km_get_bounded(r, 1, RAFT_SPARE);
        size_t len = km_get_bounded(r, 2, KM_CODEC_ADDRESS_MAX);
        const uint8_t *text = km_get(r, len);

        if (text == NULL || id == 0 || memchr(text, 0, len) != NULL)
            goto bad;
        memcpy(address, text, len);
        address[len] = 0;
        if (raft_configuration_add(&args->conf, id, address, role) != 0)
            goto bad;
    }
    args->data.len = km_get_bounded(r, 4, KM_CODEC_SNAPSHOT_MAX);
    data = km_get(r, args->data.len);
    if (data == NULL)
        goto bad;
    args->data.base = raft_malloc(args->data.len + 1);
    if (args->data.base == NULL)
        goto bad;
    memcpy(args->data.base, data, args->data.len);
    return KM_OK;
bad:
    raft_configuration_close(&args->conf);
    raft_configuration_init(&args->conf);
    return KM_ERR_PROTO;
}

enum km_err km_codec_decode(const uint8_t *data, size_t len, struct raft_message *ret)
{
    struct km_reader r = {data, len, false};
    struct raft_message m = {0};
    enum km_err err = KM_OK;
    uint64_t type;

    if (km_get_uint(&r, 1) != KM_CODEC_VERSION)
        return r.is_bad ? KM_ERR_PROTO : KM_ERR_VERSION;
    type = km_get_uint(&r, 1);
    if (r.is_bad || type < RAFT_APPEND_ENTRIES || type > RAFT_TIMEOUT_NOW)
        return KM_ERR_PROTO;
    m.type = (enum raft_message_type)type;
    switch (m.type) {
    case RAFT_REQUEST_VOTE:
        m.request_vote.version = (unsigned char)km_get_uint(&r, 1);
        m.request_vote.term = km_get_uint(&r, 8);
        m.request_vote.candidate_id = km_get_uint(&r, 8);
        m.request_vote.last_log_index = km_get_uint(&r, 8);
        m.request_vote.last_log_term = km_get_uint(&r, 8);
        m.request_vote.disrupt_leader = km_get_bounded(&r, 1, 1);
        m.request_vote.pre_vote = km_get_bounded(&r, 1, 1);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        m.request_vote_result.version = (unsigned char)km_get_uint(&r, 1);
        m.request_vote_result.term = km_get_uint(&r, 8);
        m.request_vote_result.vote_granted = km_get_bounded(&r, 1, 1);
        m.request_vote_result.pre_vote = km_get_bounded(&r, 1, 1);
        m.request_vote_result.features = (unsigned short)km_get_uint(&r, 2);
        m.request_vote_result.capacity = (unsigned short)km_get_uint(&r, 2);
        break;
    case RAFT_APPEND_ENTRIES:
        m.append_entries.version = (unsigned char)km_get_uint(&r, 1);
        err = get_entries(&r, &m.append_entries);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        m.append_entries_result.version = (unsigned char)km_get_uint(&r, 1);
        m.append_entries_result.term = km_get_uint(&r, 8);
        m.append_entries_result.rejected = km_get_uint(&r, 8);
        m.append_entries_result.last_log_index = km_get_uint(&r, 8);
        m.append_entries_result.features = (unsigned short)km_get_uint(&r, 2);
        m.append_entries_result.capacity = (unsigned short)km_get_uint(&r, 2);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        m.install_snapshot.version = (unsigned char)km_get_uint(&r, 1);
        err = get_snapshot(&r, &m.install_snapshot);
        break;
    case RAFT_TIMEOUT_NOW:
        m.timeout_now.version = (unsigned char)km_get_uint(&r, 1);
        m.timeout_now.term = km_get_uint(&r, 8);
        m.timeout_now.last_log_index = km_get_uint(&r, 8);
        m.timeout_now.last_log_term = km_get_uint(&r, 8);
        break;
    }
    if (err != KM_OK)
        return err;
    if (r.is_bad || r.len != 0) {
        km_codec_drop(&m);
        return KM_ERR_PROTO;
    }
    *ret = m;
    return KM_OK;
}

void km_codec_drop(struct raft_message *message)
{
    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        raft_free(message->append_entries.entries[0].batch);
        raft_free(message->append_entries.entries);
    } else if (message->type == RAFT_INSTALL_SNAPSHOT) {
        raft_configuration_close(&message->install_snapshot.conf);
        raft_free(message->install_snapshot.data.base);
    }
}
