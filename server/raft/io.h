/* SPDX-License-Identifier: Apache-2.0
 *
 * struct raft_io, libraft's view of disk, network and clock, over struct km_disk, struct km_link's messages and struct km_world. It keeps every rule
 * that libraft asks of it and keeps libraft's own bugs out (list on top of io.c).
 *
 * Thread: loop thread.
 */
#ifndef KM_RAFT_IO_H
#define KM_RAFT_IO_H

#include "disk.h"
#include "replica.h"

struct km_io;

struct km_io_events {
    /* Takes a message for `id`: malloc'ed, its first KM_PEER_HEAD_LEN bytes free for the head. `ack_term` is not 0 when it is an
     * accepted AppendEntriesResult of that term. */
    void (*send)(void *arg, uint64_t id, uint8_t *data, size_t len, raft_term ack_term);
    /* A callback of the disk went into libraft: completed requests may wait. Never called inside a raft_io method. */
    void (*after)(void *arg);
};

/* Rules that the simulator can leave out to show that it notices. */
enum km_io_plant {
    KM_IO_PLANT_A = 1,        /* InstallSnapshot with libraft's wrong last_term */
    KM_IO_PLANT_B = 2,        /* AppendEntries are not split at membership entries */
    KM_IO_PLANT_DISRUPT = 4,  /* disrupt_leader outlives the term after the TimeoutNow */
    KM_IO_PLANT_N = 16,       /* entries that were compacted away are taken again */
    KM_IO_PLANT_O = 32,       /* the commit index may go back */
    KM_IO_PLANT_Q = 64,       /* a membership entry hides that the one before it is committed */
    KM_IO_PLANT_M = 8,        /* a sole voter leads in the term that it finds */
};

/* `state` is what the disk's load found; taken, and handed to libraft by raft_start. Errors: KM_ERR_NOMEM. */
enum km_err km_io_new(struct km_world *world, struct km_disk *disk, struct km_disk_state *state, const struct km_io_events *events,
                      void *arg, struct km_io **ret) KM_CHECKED;
/* For raft_init. */
struct raft_io *km_io_raft(struct km_io *io);
void km_io_set_plants(struct km_io *io, unsigned plants);
/* After raft_close's callback, or if raft was never initialised. */
void km_io_free(struct km_io *io);

/* The heartbeat's timer: lets libraft's time go on, and starts waiting reads of snapshots. Nothing before raft_start. */
void km_io_tick(struct km_io *io);

/* Ends this server's leadership by a new term, in which it may lead again. */
void km_io_step_down(struct km_io *io);

/* A raft message from `id`, whose address in the configuration is `address`. `before` is called with the term of an AppendEntries or
 * InstallSnapshot once it is decoded and before libraft sees it. Errors: KM_ERR_PROTO, KM_ERR_VERSION, KM_ERR_NOMEM. */
enum km_err km_io_receive(struct km_io *io, uint64_t id, const char *address, const uint8_t *data, size_t len,
                          void (*before)(void *arg, raft_term term)) KM_CHECKED;

/* Entries and snapshot as libraft will take them unseen. Errors: KM_ERR_CORRUPT with the reason. */
enum km_err km_io_check_state(const struct km_disk_state *state, char *ret_message, size_t message_len) KM_CHECKED;

#endif
