/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of handles. Sessions hang in a chain per bucket; objects in two: by handle and by (token, id), so that an
 * object that is found twice keeps its handle. A session that is open and idle, of which a program may have a hundred
 * thousand, costs no more than its entry: the state of operations is lent to it while it has some. Invariant: a handle
 * is never given twice. Everything under km_lock except what handle.h says.
 */
#include "handle.h"

#include "../common/attr.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_MAX 64 /* blocks of operations kept for the next session that needs one */

static struct {
    struct km_session **buckets;
    size_t n_buckets, n;
    CK_SESSION_HANDLE last;
    struct km_operation *spare[SPARE_MAX];
    size_t n_spare;
} sessions;

static struct {
    struct km_object **by_handle, **by_id;
    struct km_object *newest; /* of those with a session */
    size_t n_buckets, n, n_views;
    CK_OBJECT_HANDLE last;
} objects;

/* --- views --- */

struct km_view *km_view_new(Kmw__Object *object, uint64_t token_version)
{
    struct km_view *view = calloc(1, sizeof(*view));

    if (view == NULL) {
        kmw__object__free_unpacked(object, NULL);
        return NULL;
    }
    view->refs = 1;
    view->object = object;
    view->class = km_attr_ulong(object->attrs, object->n_attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
    view->key_type = km_attr_subtype(object->attrs, object->n_attrs);
    view->is_token = km_attr_bool(object->attrs, object->n_attrs, CKA_TOKEN, false);
    view->is_private = km_attr_bool(object->attrs, object->n_attrs, CKA_PRIVATE, false);
    view->token_version = token_version;
    view->read_ms = km_boot_ms();
    return view;
}

struct km_view *km_view_new_alias(Kmw__Object *object, const struct km_view *origin)
{
    struct km_view *view = km_view_new(object, 0);

    if (view == NULL)
        return NULL;
    view->is_alias = true;
    memcpy(view->origin, origin->is_alias ? origin->origin : origin->object->id.data, KM_ID_LEN);
    return view;
}

struct km_view *km_view_ref(struct km_view *view)
{
    if (view != NULL)
        __atomic_add_fetch(&view->refs, 1, __ATOMIC_RELAXED);
    return view;
}

void km_view_unref(struct km_view *view)
{
    if (view == NULL || __atomic_sub_fetch(&view->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    kmw__object__free_unpacked(view->object, NULL);
    km_secret_free(&view->value);
    free(view);
}

/* --- objects --- */

static size_t id_hash(const struct km_token *token, const uint8_t *id)
{
    uint64_t hash = 0xcbf29ce484222325u ^ token->slot; /* FNV-1a */

    for (size_t i = 0; i < KM_ID_LEN; i++)
        hash = (hash ^ id[i]) * 0x100000001b3u;
    return (size_t)(hash ^ hash >> 32) & (objects.n_buckets - 1);
}

static size_t handle_hash(CK_OBJECT_HANDLE handle)
{
    return handle & (objects.n_buckets - 1);
}

static void chain(struct km_object *object)
{
    struct km_object **by_handle = &objects.by_handle[handle_hash(object->handle)];
    struct km_object **by_id = &objects.by_id[id_hash(object->token, object->id)];

    object->next_handle = *by_handle;
    *by_handle = object;
    object->next_id = *by_id;
    *by_id = object;
}

/* Room for one more object. */
static bool grow(void)
{
    size_t old_n = objects.n_buckets, n = old_n == 0 ? 64 : old_n * 2;
    struct km_object **old = objects.by_handle, **by_handle, **by_id;

    if (objects.n < old_n)
        return true;
    by_handle = calloc(n, sizeof(struct km_object *));
    by_id = calloc(n, sizeof(struct km_object *));
    if (by_handle == NULL || by_id == NULL) {
        free(by_handle);
        free(by_id);
        return old_n != 0; /* longer chains will do */
    }
    free(objects.by_id);
    objects.by_handle = by_handle;
    objects.by_id = by_id;
    objects.n_buckets = n;
    for (size_t i = 0; i < old_n; i++) {
        for (struct km_object *object = old[i], *next; object != NULL; object = next) {
            next = object->next_handle;
            chain(object);
        }
    }
    free(old);
    return true;
}

struct km_object *km_object_get(CK_OBJECT_HANDLE handle)
{
    struct km_object *object = objects.n_buckets == 0 ? NULL : objects.by_handle[handle_hash(handle)];

    while (object != NULL && object->handle != handle)
        object = object->next_handle;
    return object;
}

struct km_object *km_object_by_id(const struct km_token *token, const uint8_t id[KM_ID_LEN])
{
    struct km_object *object = objects.n_buckets == 0 ? NULL : objects.by_id[id_hash(token, id)];

    while (object != NULL && (object->token != token || memcmp(object->id, id, KM_ID_LEN) != 0))
        object = object->next_id;
    return object;
}

static void forget_views(void)
{
    for (size_t i = 0; i < objects.n_buckets; i++) {
        for (struct km_object *object = objects.by_handle[i]; object != NULL; object = object->next_handle) {
            if (object->session != 0 || object->view == NULL)
                continue;
            km_view_unref(object->view);
            object->view = NULL;
        }
    }
    objects.n_views = 0;
}

void km_object_set_view(struct km_object *object, struct km_view *view)
{
    bool is_counted = object->session == 0;

    if (is_counted && object->view != NULL)
        objects.n_views--;
    km_view_unref(object->view);
    object->view = NULL;
    if (is_counted && view != NULL && ++objects.n_views > KM_VIEWS_MAX) {
        forget_views(); /* all: a walk over many objects reads each once, right after finding it */
        objects.n_views = 1;
    }
    object->view = km_view_ref(view);
    if (view != NULL)
        object->is_private = view->is_private;
}

CK_OBJECT_HANDLE km_object_put(struct km_token *token, CK_SESSION_HANDLE session, struct km_view *view)
{
    struct km_object *object = km_object_by_id(token, view->object->id.data);

    if (object == NULL) {
        if (!grow())
            return CK_INVALID_HANDLE;
        object = calloc(1, sizeof(*object));
        if (object == NULL)
            return CK_INVALID_HANDLE;
        object->handle = ++objects.last;
        object->token = token;
        object->session = session;
        memcpy(object->id, view->object->id.data, KM_ID_LEN);
        chain(object);
        objects.n++;
        if (session != 0) {
            object->older = objects.newest;
            if (objects.newest != NULL)
                objects.newest->newer = object;
            objects.newest = object;
        }
    }
    km_object_set_view(object, view);
    return object->handle;
}

void km_object_drop(struct km_object *object)
{
    struct km_object **link = &objects.by_handle[handle_hash(object->handle)];

    while (*link != object)
        link = &(*link)->next_handle;
    *link = object->next_handle;
    link = &objects.by_id[id_hash(object->token, object->id)];
    while (*link != object)
        link = &(*link)->next_id;
    *link = object->next_id;
    if (object->session != 0) {
        *(object->newer != NULL ? &object->newer->older : &objects.newest) = object->older;
        if (object->older != NULL)
            object->older->newer = object->newer;
    }
    objects.n--;
    km_object_set_view(object, NULL);
    free(object);
}

void km_object_drop_if(bool (*matches)(const struct km_object *object, const void *arg), const void *arg)
{
    for (size_t i = 0; i < objects.n_buckets; i++) {
        for (struct km_object *object = objects.by_handle[i], *next; object != NULL; object = next) {
            next = object->next_handle;
            if (matches(object, arg))
                km_object_drop(object);
        }
    }
}

void km_object_each_of_session(const struct km_token *token, void (*each)(struct km_object *object, void *arg),
                               void *arg)
{
    for (struct km_object *object = objects.newest; object != NULL; object = object->older)
        if (object->session != KM_SESSION_FIXED && object->token == token)
            each(object, arg);
}

/* --- sessions --- */

static struct km_session **bucket_of(CK_SESSION_HANDLE handle)
{
    return &sessions.buckets[handle & (sessions.n_buckets - 1)];
}

/* Room for one more session. */
static bool grow_sessions(void)
{
    size_t old_n = sessions.n_buckets, n = old_n == 0 ? 64 : old_n * 2;
    struct km_session **old = sessions.buckets, **buckets;

    if (sessions.n < old_n)
        return true;
    buckets = calloc(n, sizeof(struct km_session *));
    if (buckets == NULL)
        return old_n != 0; /* longer chains will do */
    sessions.buckets = buckets;
    sessions.n_buckets = n;
    for (size_t i = 0; i < old_n; i++) {
        for (struct km_session *session = old[i], *next; session != NULL; session = next) {
            next = session->next;
            session->next = *bucket_of(session->handle);
            *bucket_of(session->handle) = session;
        }
    }
    free(old);
    return true;
}

/* Lends the session its operations, all of them inactive. */
static bool equip(struct km_session *session)
{
    if (session->operations != NULL)
        return true;
    if (sessions.n_spare > 0) {
        session->operations = sessions.spare[--sessions.n_spare];
        return true;
    }
    session->operations = calloc(KM_OPERATIONS, sizeof(struct km_operation));
    for (int i = 0; i < KM_OPERATIONS && session->operations != NULL; i++)
        session->operations[i].kind = i;
    return session->operations != NULL;
}

/* Takes them back if none is active. */
static void strip(struct km_session *session)
{
    for (int i = 0; i < KM_OPERATIONS && session->operations != NULL; i++)
        if (session->operations[i].is_active)
            return;
    if (session->operations != NULL && sessions.n_spare < SPARE_MAX)
        sessions.spare[sessions.n_spare++] = session->operations;
    else
        free(session->operations);
    session->operations = NULL;
}

struct km_session *km_session_new(struct km_token *token, CK_FLAGS flags)
{
    struct km_session *session = grow_sessions() ? calloc(1, sizeof(*session)) : NULL, **bucket;

    if (session == NULL)
        return NULL;
    session->handle = ++sessions.last;
    session->token = token;
    session->flags = flags;
    pthread_mutex_init(&session->lock, NULL);
    bucket = bucket_of(session->handle);
    session->next = *bucket;
    *bucket = session;
    sessions.n++;
    token->n_sessions++;
    if (flags & CKF_RW_SESSION)
        token->n_read_write++;
    return session;
}

struct km_session *km_session_get(CK_SESSION_HANDLE handle)
{
    struct km_session *session = sessions.n_buckets == 0 ? NULL : *bucket_of(handle);

    while (session != NULL && session->handle != handle)
        session = session->next;
    return session;
}

static void free_session(struct km_session *session)
{
    for (int i = 0; i < KM_OPERATIONS && session->operations != NULL; i++)
        km_operation_end(&session->operations[i]);
    strip(session);
    km_find_end(&session->find);
    km_view_unref(session->sized);
    pthread_mutex_destroy(&session->lock);
    free(session);
}

static void drop_of_session(CK_SESSION_HANDLE session)
{
    for (struct km_object *object = objects.newest, *older; object != NULL; object = older) {
        older = object->older;
        if (object->session == session)
            km_object_drop(object);
    }
}

void km_session_close(struct km_session *session)
{
    struct km_session **link = bucket_of(session->handle);

    while (*link != session)
        link = &(*link)->next;
    *link = session->next;
    sessions.n--;
    session->is_closed = true;
    if (session->has_objects)
        drop_of_session(session->handle);
    km_token_session_ended(session->token, session->flags & CKF_RW_SESSION);
    if (session->refs == 0)
        free_session(session);
}

void km_session_close_all(const struct km_token *token)
{
    for (size_t i = 0; i < sessions.n_buckets; i++) {
        for (struct km_session *session = sessions.buckets[i], *next; session != NULL; session = next) {
            next = session->next;
            if (token == NULL || session->token == token)
                km_session_close(session);
        }
    }
}

CK_RV km_session_enter(CK_SESSION_HANDLE handle, struct km_session **ret)
{
    struct km_session *session;
    bool is_equipped;

    km_lock();
    session = km_session_get(handle);
    is_equipped = session != NULL && equip(session);
    if (is_equipped)
        session->refs++;
    km_unlock();
    if (!is_equipped)
        return session == NULL ? CKR_SESSION_HANDLE_INVALID : CKR_HOST_MEMORY;
    km_lock_outside(&session->lock);
    session->is_busy = true;
    *ret = session;
    if (!session->is_closed)
        return CKR_OK;
    km_session_leave(ret);
    *ret = NULL;
    return CKR_SESSION_HANDLE_INVALID;
}

void km_session_leave(struct km_session **ref)
{
    struct km_session *session = *ref;

    if (session == NULL)
        return;
    session->is_busy = false;
    pthread_mutex_unlock(&session->lock);
    km_lock();
    if (--session->refs == 0) {
        if (session->is_closed)
            free_session(session);
        else
            strip(session);
    }
    km_unlock();
}

void km_handles_after_fork(void)
{
    sessions.n_spare = 0;
    for (size_t i = 0; i < sessions.n_buckets; i++) {
        for (struct km_session *session = sessions.buckets[i]; session != NULL; session = session->next) {
            session->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
            session->refs = 0;
            if (!session->is_busy)
                continue;
            /* Another thread was in the middle of it and is not in this process: nothing in there can be freed. */
            session->operations = NULL;
            session->sized = NULL;
            memset(&session->find, 0, sizeof(session->find));
            session->is_busy = false;
        }
    }
}

CK_STATE km_session_state(const struct km_session *session)
{
    bool is_read_write = session->flags & CKF_RW_SESSION;

    switch (session->token->login.user) {
    case CKU_SO:
        return CKS_RW_SO_FUNCTIONS;
    case CKU_USER:
        return is_read_write ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
    default:
        return is_read_write ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
    }
}
