/* SPDX-License-Identifier: Apache-2.0
 *
 * The envelope of every message between servers. A link gives whole messages in order per connection, but messages of an old
 * connection may come after those of a newer one; the order check drops them, since libraft's progress tracking breaks on stale rejects.
 * Any thread; no state but the caller's.
 */
#include "peer.h"

#include "bytes.h"

#include <assert.h>
#include <stdlib.h>

#define MAGIC 0x4b /* 'K' */
#define ERR_LAST KM_ERR_CLOSED

void km_peer_head_encode(const struct km_peer_head *head, uint8_t *ret)
{
    struct km_writer w = {ret, 0};

    km_put_uint(&w, MAGIC, 1);
    km_put_uint(&w, KM_PEER_VERSION, 1);
    km_put_uint(&w, head->kind, 2);
    km_put_uint(&w, 0, 4);
    km_put_uint(&w, head->election_ms, 4);
    km_put_uint(&w, head->heartbeat_ms, 4);
    km_put_uint(&w, head->epoch, 8);
    km_put_uint(&w, head->sequence, 8);
    km_put_uint(&w, head->stamp_us, 8);
    km_put_uint(&w, head->utc_ms, 8);
    km_put_uint(&w, head->term, 8);
    km_put_uint(&w, head->applied, 8);
    km_put_uint(&w, head->configuration, 8);
    km_put_uint(&w, head->echo_us, 8);
    km_put_uint(&w, head->grant_commit, 8);
    km_put_uint(&w, head->grant_echo_us, 8);
    km_put_uint(&w, head->grant_us, 8);
    km_put_uint(&w, head->grant_epoch, 8);
    assert(w.len == KM_PEER_HEAD_LEN);
}

enum km_err km_peer_head_decode(const uint8_t *data, size_t len, struct km_peer_head *ret)
{
    struct km_reader r = {data, len, false};
    struct km_peer_head head;
    uint64_t version, kind;

    if (km_get_uint(&r, 1) != MAGIC)
        return KM_ERR_PROTO;
    version = km_get_uint(&r, 1);
    if (r.is_bad)
        return KM_ERR_PROTO;
    if (version != KM_PEER_VERSION)
        return KM_ERR_VERSION;
    kind = km_get_uint(&r, 2);
    (void)km_get_uint(&r, 4);
    head.election_ms = (uint32_t)km_get_uint(&r, 4);
    head.heartbeat_ms = (uint32_t)km_get_uint(&r, 4);
    head.epoch = km_get_uint(&r, 8);
    head.sequence = km_get_uint(&r, 8);
    head.stamp_us = km_get_uint(&r, 8);
    head.utc_ms = km_get_uint(&r, 8);
    head.term = km_get_uint(&r, 8);
    head.applied = km_get_uint(&r, 8);
    head.configuration = km_get_uint(&r, 8);
    head.echo_us = km_get_uint(&r, 8);
    head.grant_commit = km_get_uint(&r, 8);
    head.grant_echo_us = km_get_uint(&r, 8);
    head.grant_us = km_get_uint(&r, 8);
    head.grant_epoch = km_get_uint(&r, 8);
    if (r.is_bad || kind < KM_PEER_RAFT || kind > KM_PEER_GOODBYE)
        return KM_ERR_PROTO;
    head.kind = (enum km_peer_kind)kind;
    *ret = head;
    return KM_OK;
}

uint64_t km_peer_order_epoch(const struct km_peer_order *order)
{
    return order->lives[order->current].epoch;
}

bool km_peer_order_accept(struct km_peer_order *order, const struct km_peer_head *head, uint64_t now_us, uint64_t silence_us)
{
    unsigned at = order->current, oldest = (order->current + 1) % KM_PEER_LIVES;

    if (head->epoch == 0)
        return false;
    for (unsigned i = 0; i < KM_PEER_LIVES; i++) {
        if (order->lives[i].epoch == head->epoch)
            at = i;
        if (i != order->current && order->lives[i].heard_us < order->lives[oldest].heard_us)
            oldest = i;
    }
    if (order->lives[at].epoch != head->epoch && order->lives[at].epoch != 0) { /* never heard of */
        at = oldest;
        if (now_us < order->lives[order->current].heard_us + silence_us)
            return false;
        order->lives[at].sequence = 0;
    }
    if (at != order->current && now_us < order->lives[order->current].heard_us + silence_us)
        return false;
    if (head->sequence <= order->lives[at].sequence)
        return false;
    order->lives[at].epoch = head->epoch;
    order->lives[at].sequence = head->sequence;
    order->lives[at].heard_us = now_us;
    order->current = at;
    return true;
}

uint8_t *km_peer_note_encode(const struct km_peer_note *note, size_t *ret_len)
{
    size_t len = KM_PEER_HEAD_LEN + 8 + 4 + 4 + 8 + 4 + note->len;
    struct km_writer w = {malloc(len), KM_PEER_HEAD_LEN};

    if (w.data == NULL)
        return NULL;
    km_put_uint(&w, note->id, 8);
    km_put_uint(&w, note->err, 4);
    km_put_uint(&w, note->code, 4);
    km_put_uint(&w, note->index, 8);
    km_put_uint(&w, note->len, 4);
    km_put(&w, note->bytes, note->len);
    assert(w.len == len);
    *ret_len = len;
    return w.data;
}

enum km_err km_peer_note_decode(const uint8_t *data, size_t len, struct km_peer_note *ret)
{
    struct km_reader r = {data, len, false};
    struct km_peer_note note;

    note.id = km_get_uint(&r, 8);
    note.err = (enum km_err)km_get_bounded(&r, 4, ERR_LAST);
    note.code = (uint32_t)km_get_uint(&r, 4);
    note.index = km_get_uint(&r, 8);
    note.len = km_get_uint(&r, 4);
    note.bytes = km_get(&r, note.len);
    if (r.is_bad || r.len != 0)
        return KM_ERR_PROTO;
    *ret = note;
    return KM_OK;
}
