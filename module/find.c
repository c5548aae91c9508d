/* SPDX-License-Identifier: Apache-2.0
 *
 * Searching (PKCS#11 v2.40 5.7): session objects first, then the token's, fetched in pages as the program asks for
 * them, so that a search costs what it hands out and not what the token holds. The pages bring the attributes along.
 * Aliases of token keys come last: a program that looks for its key by label is to get the key, and not the copy that
 * OpenSSL's provider made and may destroy. Under the session's lock.
 */
#include "fixed_object.h"
#include "guard.h"
#include "remote.h"
#include "session_object.h"

#include "../common/attr.h"

#include <stdlib.h>

#define PAGE_FIRST 16 /* most searches look for one object */

void km_find_end(struct km_find *find)
{
    if (find->template != NULL)
        kmw__template__free_unpacked(find->template, NULL);
    free(find->handles);
    *find = (struct km_find){0};
}

bool km_find_has_given(const struct km_find *find, CK_OBJECT_HANDLE handle)
{
    for (size_t i = 0; find->is_active && i < find->n_given; i++)
        if (find->handles[i] == handle)
            return true;
    return false;
}

CK_RV km_find_add(struct km_find *find, CK_OBJECT_HANDLE handle)
{
    CK_OBJECT_HANDLE *grown;

    if (find->n_handles % 64 == 0) {
        grown = reallocarray(find->handles, find->n_handles + 64, sizeof(CK_OBJECT_HANDLE));
        KM_REQUIRE(grown != NULL, CKR_HOST_MEMORY);
        find->handles = grown;
    }
    find->handles[find->n_handles++] = handle;
    return CKR_OK;
}

struct collecting {
    struct km_find *find;
    bool is_user, wants_aliases;
    CK_RV rv;
};

/* Under km_lock. */
static void collect(struct km_object *object, void *arg)
{
    struct collecting *c = arg;

    if (c->rv != CKR_OK || (object->is_private && !c->is_user) || object->view->is_alias != c->wants_aliases)
        return;
    if (km_session_object_matches(object->view->object, c->find->template))
        c->rv = km_find_add(c->find, object->handle);
}

static int compare_handles(const void *a, const void *b)
{
    CK_OBJECT_HANDLE x = *(const CK_OBJECT_HANDLE *)a, y = *(const CK_OBJECT_HANDLE *)b;

    return x < y ? -1 : x > y;
}

static CK_RV add_session_objects(struct km_session *session, bool are_aliases)
{
    struct km_find *find = &session->find;
    struct collecting c = {.find = find, .wants_aliases = are_aliases, .rv = CKR_OK};
    size_t first = find->n_handles;

    km_lock();
    c.is_user = session->token->login.user == CKU_USER;
    km_object_each_of_session(session->token, collect, &c);
    km_unlock();
    if (find->n_handles > first + 1)
        qsort(find->handles + first, find->n_handles - first, sizeof(CK_OBJECT_HANDLE), compare_handles);
    return c.rv;
}

static CK_RV add_aliases(struct km_session *session)
{
    session->find.has_aliases = true;
    return add_session_objects(session, true /* aliases */);
}

static CK_RV begin(struct km_session *session, const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
    struct km_find *find = &session->find;
    const Kmw__Attr *place;
    bool is_on_token;
    CK_RV rv;

    find->template = km_template_from_ck(attrs, n, &rv);
    if (find->template == NULL)
        return rv;
    place = km_attr_find(find->template->attrs, find->template->n_attrs, CKA_TOKEN);
    is_on_token = place != NULL && place->value.data[0] != 0;
    find->has_more_remote = place == NULL || is_on_token;
    find->page = PAGE_FIRST;
    find->has_aliases = is_on_token;
    KM_TRY(km_fixed_objects_find(session->token, find));
    return is_on_token ? CKR_OK : add_session_objects(session, false /* aliases */);
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE *pTemplate, CK_ULONG ulCount)
{
    KM_SESSION(session, hSession);
    CK_RV rv;

    KM_REQUIRE(pTemplate != NULL || ulCount == 0, CKR_ARGUMENTS_BAD);
    KM_REQUIRE(!session->find.is_active, CKR_OPERATION_ACTIVE);
    rv = begin(session, pTemplate, ulCount);
    if (rv == CKR_OK)
        session->find.is_active = true;
    else
        km_find_end(&session->find);
    return rv;
}

/* Handles for one page of objects; the last one's id begins the next page. */
static CK_RV take_page(struct km_session *session, Kmw__Reply *reply)
{
    struct km_find *find = &session->find;
    Kmw__ObjectsReply *page = reply->objects;

    for (size_t i = 0; i < page->n_objects; i++) {
        Kmw__Object *object = page->objects[i];
        struct km_view *view;
        CK_OBJECT_HANDLE handle;

        KM_REQUIRE(object->id.len == KM_ID_LEN, CKR_DEVICE_ERROR);
        memcpy(find->after, object->id.data, KM_ID_LEN);
        find->has_after = true;
        page->objects[i] = NULL;
        view = km_view_new(object, reply->token_version);
        KM_REQUIRE(view != NULL, CKR_HOST_MEMORY);
        km_lock();
        handle = km_object_put(session->token, 0, view);
        km_unlock();
        km_view_unref(view);
        KM_REQUIRE(handle != CK_INVALID_HANDLE, CKR_HOST_MEMORY);
        KM_TRY(km_find_add(find, handle));
    }
    find->has_more_remote = page->more && page->n_objects > 0;
    return CKR_OK;
}

static CK_RV fetch(struct km_session *session)
{
    struct km_find *find = &session->find;
    Kmw__ObjectFind op = KMW__OBJECT_FIND__INIT;
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__Reply *reply = NULL;
    CK_RV rv;

    op.template_ = find->template;
    op.after = km_bytes(find->after, find->has_after ? KM_ID_LEN : 0);
    op.max = find->page;
    request.op_case = KMW__REQUEST__OP_OBJECT_FIND;
    request.object_find = &op;
    KM_TRY(km_remote_call(session->token, &request, KM_CALL_READ, KMW__REPLY__RESULT_OBJECTS, &reply));
    find->n_handles = find->n_given = 0; /* all of them were handed out */
    rv = take_page(session, reply);
    km_reply_free(reply);
    if (find->page < KM_FIND_PAGE_MAX)
        find->page *= 2;
    return rv;
}

CK_RV C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                    CK_ULONG_PTR pulObjectCount)
{
    KM_SESSION(session, hSession);
    struct km_find *find = &session->find;
    CK_RV rv = CKR_OK;
    CK_ULONG n = 0;

    KM_REQUIRE(find->is_active, CKR_OPERATION_NOT_INITIALIZED);
    KM_REQUIRE(pulObjectCount != NULL && (phObject != NULL || ulMaxObjectCount == 0), CKR_ARGUMENTS_BAD);
    while (n < ulMaxObjectCount) {
        if (find->n_given == find->n_handles) {
            if (!find->has_more_remote && find->has_aliases)
                break;
            rv = find->has_more_remote ? fetch(session) : add_aliases(session);
            if (rv != CKR_OK) /* the search stays active: the next call may find a server again */
                break;
            continue;
        }
        phObject[n++] = find->handles[find->n_given++];
    }
    *pulObjectCount = n;
    return n > 0 ? CKR_OK : rv;
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE hSession)
{
    KM_SESSION(session, hSession);
    KM_REQUIRE(session->find.is_active, CKR_OPERATION_NOT_INITIALIZED);
    km_find_end(&session->find);
    return CKR_OK;
}
