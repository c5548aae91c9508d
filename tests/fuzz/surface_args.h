/* SPDX-License-Identifier: Apache-2.0
 *
 * Arguments of calls, drawn from the input. One draw in thirty is a hostile one, so that most calls get far.
 */
#ifndef KM_TESTS_FUZZ_SURFACE_ARGS_H
#define KM_TESTS_FUZZ_SURFACE_ARGS_H

#include "surface.h"

#include <stdbool.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SESSIONS 6
#define OBJECTS 24
#define HUGE (1UL << 40) /* more than anything may be: to be seen before it is read */

/* The input of this run. */
void args_begin(const uint8_t *data, size_t len);
bool args_left(void);

uint8_t take(void);
size_t take_below(size_t n);
CK_ULONG take_ulong(void);
bool odd(void);

/* Memory for one call: exactly as long as it is told, so that a sanitizer sees one byte too many, or with guard bytes
 * behind it. */
uint8_t *bytes(size_t len);
uint8_t *writable(size_t len);
bool args_are_full(void); /* there is no more memory for this call's arguments */
/* Ends a call's arguments; aborts if a guard was written. */
void args_end(void);

struct in {
    CK_BYTE *p;
    CK_ULONG len;
};
/* Data: exact, empty, NULL, NULL with a length; `can_be_huge`: the function has a maximum that it must see before it
 * reads. */
struct in data(bool can_be_huge);

struct out {
    CK_BYTE *p;
    CK_ULONG len, room, *len_p;
};
/* Room for output, or none to ask for the length, or over the input. */
struct out output(const struct in *over);
/* The pointer to `o->len`, sometimes NULL; `o` must stay where it is. */
CK_ULONG *len_of(struct out *o);
/* Aborts if a successful call says that it wrote more than there was room for. */
void check_out(CK_RV rv, const struct out *o);

/* Handles: what the run has, or any number. */
extern CK_SESSION_HANDLE sessions[SESSIONS];
extern size_t the_session; /* that the calls of this run mostly use */
extern CK_OBJECT_HANDLE objects[OBJECTS];
CK_SESSION_HANDLE session(void);
CK_OBJECT_HANDLE object(void);
CK_OBJECT_HANDLE *keep_object(void); /* where a new one goes; sometimes NULL */

/* Keys that are always there, and mechanisms that go with them. `what`: E, D, S, V or G for a digest. */
enum kept { AES, SECRET, EC_PUBLIC, EC_PRIVATE, RSA_PUBLIC, RSA_PRIVATE, KEPT };
extern CK_OBJECT_HANDLE kept[KEPT];
CK_MECHANISM *fitting(char what, CK_OBJECT_HANDLE *ret_key);
/* Any mechanism with any parameter; sometimes NULL. */
CK_MECHANISM *any_mechanism(void);
/* This one, or any. */
CK_MECHANISM *mostly(CK_MECHANISM mech);

struct attrs {
    CK_ATTRIBUTE *p;
    CK_ULONG n;
};
/* Any template; `is_read`: values are room to write into. */
struct attrs any_attrs(bool is_read, unsigned depth);
/* This one in exact memory, sometimes with more attributes or other lengths. */
struct attrs making(const CK_ATTRIBUTE *base, CK_ULONG n);
#define MAKING(base) making(base, COUNT(base))

extern CK_BYTE p256[10];

/* Calls of the functions of 3.0 and 3.2 (surface_later.c): 20 alone, 4 kinds of messages in order, 16 others. */
CK_RV call_message(unsigned which);
CK_RV call_messages(unsigned which);
CK_RV call_later(unsigned which, CK_OBJECT_HANDLE wrapping);

#endif
