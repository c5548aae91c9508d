/* SPDX-License-Identifier: Apache-2.0
 *
 * Handles: numbers that a program holds, for sessions and objects. A number is given once in the life of a process,
 * also over C_Finalize and fork, so that a stale handle is invalid and never means another thing. All functions run
 * under km_lock unless they say otherwise.
 */
#ifndef KM_MODULE_HANDLE_H
#define KM_MODULE_HANDLE_H

#include "operation.h"
#include "process.h"

#include <pthread.h>

#define KM_VIEWS_MAX 4096     /* token objects whose attributes are kept */
#define KM_VIEW_FRESH_MS 1000 /* how long a token's version, or that an object is there, counts as confirmed */

/* An object as it was read: immutable (but for `value`), counted, readable without a lock. */
struct km_view {
    unsigned refs; /* atomic */
    Kmw__Object *object;
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE key_type; /* of certificates CKC_...; KM_KEY_TYPE_ANY: neither */
    bool is_token, is_private;
    uint64_t token_version;
    int64_t read_ms;           /* when a server told it, km_boot_ms */
    bool is_alias;             /* a session copy of a sensitive token key: object.c */
    uint8_t origin[KM_ID_LEN]; /* that key's id */
    struct km_secret value;    /* of a readable session key in use, set once under km_lock: bulk.c */
    int64_t value_ms;          /* when a server confirmed it last; under km_lock */
};

/* Takes over `object` (also on failure). NULL: out of memory. Any thread, no lock; so are ref and unref (NULL is fine).
 */
struct km_view *km_view_new(Kmw__Object *object, uint64_t token_version);
/* The same for an alias of `origin`, which is the token key or an alias itself. */
struct km_view *km_view_new_alias(Kmw__Object *object, const struct km_view *origin);
struct km_view *km_view_ref(struct km_view *view);
void km_view_unref(struct km_view *view);

#define KM_SESSION_FIXED (~0UL) /* the session of objects that every token has (fixed_object.h) */

struct km_object {
    CK_OBJECT_HANDLE handle;
    struct km_token *token;
    CK_SESSION_HANDLE session; /* that made a session object; 0: a token object */
    uint8_t id[KM_ID_LEN];
    struct km_view *view; /* token objects: NULL when not kept; session objects: the object itself */
    bool is_private;
    struct km_object *next_handle, *next_id; /* chains of the tables */
    struct km_object *newer, *older;         /* the list of those with a session */
};

/* The handle of a token or session object, made if this object has none yet; its view becomes `view` (referenced). 0:
 * out of memory. */
CK_OBJECT_HANDLE km_object_put(struct km_token *token, CK_SESSION_HANDLE session, struct km_view *view);
/* NULL: no such object. */
struct km_object *km_object_get(CK_OBJECT_HANDLE handle);
struct km_object *km_object_by_id(const struct km_token *token, const uint8_t id[KM_ID_LEN]);
void km_object_set_view(struct km_object *object, struct km_view *view);
void km_object_drop(struct km_object *object);
/* Drops each object for which `matches` is true. */
void km_object_drop_if(bool (*matches)(const struct km_object *object, const void *arg), const void *arg);
/* Calls `each` for each session object of `token`, without the fixed ones. */
void km_object_each_of_session(const struct km_token *token, void (*each)(struct km_object *object, void *arg),
                               void *arg);

/* A search in progress (find.c). */
struct km_find {
    bool is_active, has_more_remote, has_aliases; /* the aliases were added: the last of all */
    Kmw__Template *template;
    CK_OBJECT_HANDLE *handles; /* found and not yet handed out */
    size_t n_handles, n_given;
    uint8_t after[KM_ID_LEN];
    bool has_after;
    uint32_t page;
};
void km_find_end(struct km_find *find);
/* One more handle to hand out. CKR_HOST_MEMORY. */
CK_RV km_find_add(struct km_find *find, CK_OBJECT_HANDLE handle);
/* Whether the search has handed out `handle` from the page that it holds. */
bool km_find_has_given(const struct km_find *find, CK_OBJECT_HANDLE handle);

struct km_session {
    CK_SESSION_HANDLE handle;
    struct km_token *token;
    CK_FLAGS flags;
    pthread_mutex_t lock;            /* one call at a time works in a session */
    bool is_busy;                    /* `lock` is held: what a forked child must not trust */
    bool is_closed, has_objects;     /* under km_lock */
    unsigned refs;                   /* calls that hold it, under km_lock */
    struct km_operation *operations; /* KM_OPERATIONS; NULL while nobody is inside and none is active */
    struct km_find find;
    struct km_view *sized; /* whose sizes the program asked for last: attribute.c */
    struct km_session *next;
};

/* A new session, counted in its token. NULL: out of memory. */
struct km_session *km_session_new(struct km_token *token, CK_FLAGS flags);
/* Takes the session out of the table and destroys its objects; it is freed when the last call has left it. */
void km_session_close(struct km_session *session);
struct km_session *km_session_get(CK_SESSION_HANDLE handle);
void km_session_close_all(const struct km_token *token /* NULL: of every token */);

/* For guard.h, inside and without locks: finds the session and locks it; and back. */
CK_RV km_session_enter(CK_SESSION_HANDLE handle, struct km_session **ret);
void km_session_leave(struct km_session **session);

/* In a child, before anything else: locks anew, unfinished operations of other threads forgotten. */
void km_handles_after_fork(void);

/* The state CKS_... that `session` is in. */
CK_STATE km_session_state(const struct km_session *session);

#endif
