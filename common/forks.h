/* SPDX-License-Identifier: Apache-2.0
 *
 * fork() waits for threads that are inside this library, but never for a network: else a child could inherit a lock of
 * OpenSSL's (its random generator's, its tables') in the hands of a thread that it does not have, and hang in its first
 * handshake.
 *
 * A thread is inside between enter and leave; around whatever may block it steps out (wait, resume). Only the module
 * does any of this: where nobody entered (the CLI, tests) all of it is a comparison. Any thread.
 */
#ifndef KM_COMMON_FORKS_H
#define KM_COMMON_FORKS_H

/* This thread is inside, until leave. Not recursive. */
void km_forks_enter(void);
void km_forks_leave(void);

/* This thread is about to block: on a socket, a sleep, a lock that is held while others block. No effect if it is not
 * inside. */
void km_forks_wait(void);
/* And goes on, once no fork is under way. errno is kept. */
void km_forks_resume(void);

/* For pthread_atfork: waits until nobody is inside and keeps everybody out; lets them in again; and in a child, or what
 * turned out to be one, forgets the threads that it does not have. */
void km_forks_hold(void);
void km_forks_release(void);
void km_forks_reset(void);

#endif
