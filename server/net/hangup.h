/* SPDX-License-Identifier: Apache-2.0
 *
 * Ending a connection of nng's from our side. nng before 1.6 must not do it: if nng_pipe_close meets the arrival of a
 * message's head, the pipe's receive operation never ends, the one thread that buries pipes waits for it forever, and every
 * connection after that keeps its descriptor (nng's pull request 1636; Debian 12 has 1.5.2). So there we shut the socket
 * for reading, beneath nng, which then finds the end of the stream and closes by itself.
 */
#ifndef KM_NET_HANGUP_H
#define KM_NET_HANGUP_H

#include <nng/nng.h>
#include <stdbool.h>

/* The descriptor of a TCP pipe, or -1: not needed with this nng, or not found. It is nng's and stays open until
 * NNG_PIPE_EV_REM_POST, where km_hangup_forget gives it back. Any thread. */
int km_hangup_find(nng_pipe pipe);
void km_hangup_forget(int fd);

/* Shuts `fd` for reading, or, `is_hard`, wholly: for one that goes on sending, when nothing is on its way to it. False if `fd`
 * is -1: then nng_pipe_close is the way. */
bool km_hangup(int fd, bool is_hard);

/* nng_close, after the connections that km_hangup_find knows were shut and had up to `ms` to end; but not for longer than `ms` again:
 * false if it goes on in a thread of its own, perhaps forever. Then what nng's callbacks use must not be freed. */
bool km_hangup_socket(nng_socket socket, unsigned ms);

/* True once km_hangup_socket returned false: the process had better end with _exit. */
bool km_hangup_is_stuck(void);

#endif
