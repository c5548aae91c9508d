/* SPDX-License-Identifier: Apache-2.0
 *
 * The module as the client of a server that lies inside the authenticated channel: answers are real ones with bytes
 * changed, with other attributes, lengths, counts and codes, or older answers to other questions. Nothing crashes or
 * leaks, and no success is one that wrote too much or handed out no handle (surface.c looks at each).
 */
#include "surface.h"

#include "../../common/attr.h"

#include <stdlib.h>
#include <string.h>

#define OLD_MAX 32

static uint64_t state;
static struct {
    uint8_t *packed;
    size_t len;
} old[OLD_MAX];

static size_t below(size_t n)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return n == 0 ? 0 : (size_t)((state * 0x2545f4914f6cdd1dULL) >> 33) % n;
}

static uint64_t odd_number(void)
{
    static const uint64_t odd[] = {0,         1, 2, 255, 256, 65536, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX / 2,
                                   UINT64_MAX};

    return odd[below(sizeof(odd) / sizeof(odd[0]))];
}

static void odd_bytes(ProtobufCBinaryData *b)
{
    static const size_t lens[] = {0, 1, 7, 8, 9, 15, 16, 17, 64, 300, 70000};
    size_t len = lens[below(sizeof(lens) / sizeof(lens[0]))];
    uint8_t *data = calloc(1, len + 1);

    assert(data != NULL);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i < b->len ? b->data[i] : below(256));
    free(b->data);
    *b = (ProtobufCBinaryData){len, data};
}

static void change_object(Kmw__Object *object)
{
    size_t at = below(object->n_attrs);

    switch (below(8)) {
    case 0:
        odd_bytes(&object->id);
        break;
    case 1:
        odd_bytes(&object->sealed);
        break;
    case 2:
        object->version = odd_number();
        break;
    case 3: /* one attribute less */
        if (object->n_attrs == 0)
            break;
        kmw__attr__free_unpacked(object->attrs[at], NULL);
        object->attrs[at] = object->attrs[--object->n_attrs];
        break;
    case 4:
        if (object->n_attrs > 0)
            object->attrs[at]->type = below(2) ? odd_number() : object->attrs[below(object->n_attrs)]->type;
        break;
    default: /* another class, key type, length, truth */
        if (object->n_attrs > 0)
            odd_bytes(&object->attrs[at]->value);
    }
}

static void change_reply(Kmw__Reply *reply)
{
    Kmw__ObjectsReply *objects = reply->result_case == KMW__REPLY__RESULT_OBJECTS ? reply->objects : NULL;

    switch (below(8)) {
    case 0:
        reply->rv = below(2) ? CKR_OK : odd_number();
        break;
    case 1:
        reply->token_version = odd_number();
        break;
    case 2:
        reply->verdict = (Kmw__Reply__Verdict)below(5);
        break;
    case 3:
        if (objects != NULL)
            objects->more = !objects->more;
        break;
    case 4: /* one object less */
        if (objects != NULL && objects->n_objects > 0)
            kmw__object__free_unpacked(objects->objects[--objects->n_objects], NULL);
        break;
    default:
        if (objects != NULL && objects->n_objects > 0)
            change_object(objects->objects[below(objects->n_objects)]);
        else if (reply->result_case == KMW__REPLY__RESULT_USE)
            odd_bytes(&reply->use->data);
        else if (reply->result_case == KMW__REPLY__RESULT_LOGIN)
            below(2) ? odd_bytes(&reply->login->ticket) : (void)(reply->login->expires_ms = odd_number());
        else if (reply->result_case == KMW__REPLY__RESULT_TOKEN_LIST && reply->token_list->n_tokens > 0)
            below(2) ? odd_bytes(&reply->token_list->tokens[0]->id)
                     : (void)(reply->token_list->tokens[0]->slot = odd_number());
        else if (reply->result_case == KMW__REPLY__RESULT_CLIENT_REGISTER)
            reply->client_register->window = (uint32_t)odd_number();
    }
}

static void tamper(uint8_t **packed, size_t *len)
{
    size_t at = below(OLD_MAX), kind = below(16);
    Kmw__Reply *reply;

    if (kind < 8) /* most are honest, so that something comes of the calls */
        return;
    if (kind == 8 && old[at].packed != NULL) { /* an answer to another question */
        free(*packed);
        *packed = malloc(old[at].len + 1);
        assert(*packed != NULL);
        memcpy(*packed, old[at].packed, *len = old[at].len);
        return;
    }
    if (kind == 9 && *len <= 65536) {
        free(old[at].packed);
        old[at].packed = malloc(*len + 1);
        assert(old[at].packed != NULL);
        memcpy(old[at].packed, *packed, old[at].len = *len);
        return;
    }
    if (kind == 10 && *len > 0) {
        (*packed)[below(*len)] ^= (uint8_t)(1u << below(8));
        return;
    }
    reply = kmw__reply__unpack(NULL, *len, *packed);
    if (reply == NULL)
        return;
    change_reply(reply);
    *len = kmw__reply__get_packed_size(reply);
    free(*packed);
    *packed = malloc(*len + 1);
    assert(*packed != NULL);
    kmw__reply__pack(reply, *packed);
    kmw__reply__free_unpacked(reply, NULL);
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
    surface_seeds(add);
}

static void forget_old(void)
{
    for (size_t i = 0; i < OLD_MAX; i++)
        free(old[i].packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (surface_tampers == NULL) {
        surface_start();
        atexit(forget_old);
    }
    state = 0x9e3779b97f4a7c15ULL; /* of the input alone, so that a run comes back */
    for (size_t i = 0; i < len; i++)
        state = (state ^ data[i]) * 0x100000001b3ULL;
    state |= 1;
    surface_tampers = tamper;
    surface_run(data, len);
    return 0;
}
