/* SPDX-License-Identifier: Apache-2.0
 *
 * libraft's messages as bytes and back. The sender's id and address are not among them: they come from the authenticated channel.
 * PROTOCOL.md, "Between servers", has the layout.
 */
#ifndef KM_RAFT_CODEC_H
#define KM_RAFT_CODEC_H

#include "../../common/err.h"

#include <raft.h>
#include <stddef.h>
#include <stdint.h>

#define KM_CODEC_VERSION 1
#define KM_CODEC_ENTRIES_MAX 4096u                /* in one AppendEntries */
#define KM_CODEC_ENTRY_MAX (2u * 1024 * 1024)     /* bytes of one entry: above KM_COMMAND_MAX and any configuration */
#define KM_CODEC_PART_MAX (1024u * 1024)          /* bytes of entries after which an AppendEntries is split */
#define KM_CODEC_SERVERS_MAX 64u                  /* in one configuration */
#define KM_CODEC_ADDRESS_MAX 1024u                /* bytes of one packed address */
#define KM_CODEC_SNAPSHOT_MAX (1000u * 1024 * 1024)

/* How many of the entries of an AppendEntries, from `first` on, go into one message: a RAFT_CHANGE is always the first of
 * its message (libraft notes its index as that of the first new one otherwise), and the bytes stay near KM_CODEC_PART_MAX. */
unsigned km_codec_part(const struct raft_append_entries *args, unsigned first);

/* Encodes `message`, of an AppendEntries the `n` entries from `first` on as if they had been sent alone: prev_log_* are those of the entry before and
 * leader_commit is capped at the part's last entry unless it is the last part. `*ret` is malloc'ed and begins with `reserve` bytes of room for an envelope.
 * Errors: KM_ERR_NOMEM, KM_ERR_TOO_LARGE, KM_ERR_UNSUPPORTED (a kind that this program does not know). */
enum km_err km_codec_encode(const struct raft_message *message, unsigned first, unsigned n, size_t reserve, uint8_t **ret, size_t *ret_len) KM_CHECKED;

/* Decodes wholly, then hands out: memory in the form that libraft takes over on receive (one raft_malloc'ed batch per
 * AppendEntries). server_id and server_address are left 0. Errors: KM_ERR_PROTO (also a RAFT_CHANGE that is not first), KM_ERR_VERSION, KM_ERR_NOMEM. */
enum km_err km_codec_decode(const uint8_t *data, size_t len, struct raft_message *ret) KM_CHECKED;

/* Frees what decode allocated, for a message that libraft never saw. */
void km_codec_drop(struct raft_message *message);

/* KM_OK if libraft may decode this entry of type RAFT_CHANGE: it checks no bounds itself. Errors: KM_ERR_PROTO. */
enum km_err km_codec_check_configuration(const uint8_t *data, size_t len) KM_CHECKED;

#endif
