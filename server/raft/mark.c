/* SPDX-License-Identifier: Apache-2.0
 *
 * The mark file: two slots, each in a page of its own and smaller than a sector, written in turn, so that one is whole
 * whatever happens to the other. Layout in PROTOCOL.md, "Disk". Used by the storage thread after the start.
 */
#include "mark.h"

#include "crc32c.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOT_DISTANCE 4096
#define FORMAT_VERSION 1

static const char magic[8] = "KMMARK\r\n";

struct slot {
    char magic[8];
    uint32_t version;
    uint32_t reserved;
    uint8_t instance[KM_MARK_INSTANCE_LEN];
    uint64_t sequence, term, vote, last, last_term;
    uint32_t crc; /* over all before */
    uint32_t end;
};
_Static_assert(sizeof(struct slot) == 80 && offsetof(struct slot, crc) == 72, "no holes");

static bool write_slot(int fd, uint64_t sequence, const struct km_mark_state *state)
{
    struct slot slot = {
        .version = htole32(FORMAT_VERSION),
        .sequence = htole64(sequence),
        .term = htole64(state->term),
        .vote = htole64(state->vote),
        .last = htole64(state->last),
        .last_term = htole64(state->last_term),
    };
    memcpy(slot.magic, magic, sizeof(magic));
    memcpy(slot.instance, state->instance, sizeof(slot.instance));
    slot.crc = htole32(km_crc32c(0, &slot, offsetof(struct slot, crc)));
    ssize_t n;
    do
        n = pwrite(fd, &slot, sizeof(slot), (off_t)(sequence % 2 * SLOT_DISTANCE));
    while (n < 0 && errno == EINTR);
    if (n >= 0 && n != (ssize_t)sizeof(slot))
        errno = ENOSPC;
    return n == (ssize_t)sizeof(slot);
}

enum km_err km_mark_create(int dir_fd, const struct km_mark_state *state)
{
    int fd = openat(dir_fd, KM_MARK_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return KM_ERR_IO;
    bool is_ok =
        ftruncate(fd, 2 * SLOT_DISTANCE) == 0 && write_slot(fd, 0, state) && write_slot(fd, 1, state) && fsync(fd) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return is_ok ? KM_OK : KM_ERR_IO;
}

enum km_err km_mark_open(int dir_fd, struct km_mark *ret, char *ret_message, size_t message_len)
{
    enum km_err err = KM_ERR_CORRUPT;
    struct km_mark mark = {.fd = openat(dir_fd, KM_MARK_FILE, O_RDWR | O_CLOEXEC)};
    if (mark.fd < 0 && errno == ENOENT) {
        snprintf(ret_message, message_len,
                 "mark: file missing: votes and entries may be missing too; rebuild this server under a new id");
        return KM_ERR_CORRUPT;
    }
    if (mark.fd < 0) {
        snprintf(ret_message, message_len, "mark: %s", strerror(errno));
        return KM_ERR_IO;
    }
    bool is_newer = false;
    int n_readable = 0;
    for (int i = 0; i < 2; i++) {
        struct slot slot;
        ssize_t n = pread(mark.fd, &slot, sizeof(slot), i * SLOT_DISTANCE);
        if (n < 0) {
            snprintf(ret_message, message_len, "mark: reading: %s", strerror(errno));
            err = KM_ERR_IO;
            goto out;
        }
        if (n != (ssize_t)sizeof(slot) || memcmp(slot.magic, magic, sizeof(magic)) != 0 ||
            le32toh(slot.crc) != km_crc32c(0, &slot, offsetof(struct slot, crc)) ||
            le64toh(slot.sequence) % 2 != (uint64_t)i)
            continue;
        if (le32toh(slot.version) != FORMAT_VERSION) {
            is_newer = true;
            continue;
        }
        if (n_readable++ > 0 && le64toh(slot.sequence) < mark.sequence)
            continue;
        mark.sequence = le64toh(slot.sequence);
        memcpy(mark.state.instance, slot.instance, sizeof(slot.instance));
        mark.state.term = le64toh(slot.term);
        mark.state.vote = le64toh(slot.vote);
        mark.state.last = le64toh(slot.last);
        mark.state.last_term = le64toh(slot.last_term);
    }
    if (is_newer) {
        snprintf(ret_message, message_len, "mark: written by a newer keymoot");
        err = KM_ERR_VERSION;
    } else if (n_readable == 0) {
        snprintf(ret_message, message_len,
                 "mark: checksum differs in both slots: the file is damaged; rebuild this server under a new id");
    } else {
        mark.is_damaged = n_readable < 2;
        *ret = mark;
        return KM_OK;
    }
out:
    close(mark.fd);
    return err;
}

enum km_err km_mark_write(struct km_mark *mark, const struct km_mark_state *state, bool is_synced)
{
    if (!write_slot(mark->fd, mark->sequence + 1, state))
        return KM_ERR_IO;
    mark->sequence++;
    mark->state = *state;
    mark->is_dirty = true;
    return is_synced ? km_mark_sync(mark) : KM_OK;
}

enum km_err km_mark_lower(struct km_mark *mark, uint64_t last, uint64_t last_term)
{
    struct km_mark_state state = mark->state;
    state.last = last;
    state.last_term = last_term;
    /* Synced one after the other: a power cut may tear one slot, never both. */
    enum km_err err = km_mark_write(mark, &state, true);
    return err ? err : km_mark_write(mark, &state, true);
}

enum km_err km_mark_sync(struct km_mark *mark)
{
    if (fdatasync(mark->fd) != 0)
        return KM_ERR_IO;
    mark->is_dirty = false;
    return KM_OK;
}

enum km_err km_mark_check_vote(const struct km_mark *mark, const uint8_t instance[KM_MARK_INSTANCE_LEN], uint64_t term,
                               uint64_t vote, char *ret_message, size_t message_len)
{
    const struct km_mark_state *state = &mark->state;
    if (memcmp(state->instance, instance, KM_MARK_INSTANCE_LEN) != 0) {
        snprintf(ret_message, message_len, "mark: belongs to another data folder than raft.db and identity do");
        return KM_ERR_CORRUPT;
    }
    if (term < state->term) {
        snprintf(ret_message, message_len,
                 "raft.db: term went back from %llu (mark) to %llu: the end of the log is lost or the file is old; "
                 "rebuild this server under a new id",
                 (unsigned long long)state->term, (unsigned long long)term);
        return KM_ERR_CORRUPT;
    }
    if (term == state->term && state->vote != 0 && vote != state->vote) {
        snprintf(ret_message, message_len,
                 "raft.db: the vote of term %llu is %llu, the mark says %llu: the end of the log is lost or the file "
                 "is old; rebuild this server under a new id",
                 (unsigned long long)term, (unsigned long long)vote, (unsigned long long)state->vote);
        return KM_ERR_CORRUPT;
    }
    return KM_OK;
}

void km_mark_close(struct km_mark *mark)
{
    if (mark->fd >= 0)
        close(mark->fd);
    mark->fd = -1;
}
