/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects: immutable counted records, their indexes, and the search by template. A head is kept packed; it was checked
 * to be canonical (what protobuf-c packs from what it unpacked) when it came in, so that a search can walk its bytes
 * without decoding them.
 *
 * Invariant: a record is in km_state.objects, in its class's tree of its token, and in the trees by CKA_ID and
 * CKA_LABEL if it has these attributes. Links change under the write lock; the rest of a record never changes.
 */
#include "store_bytes.h"
#include "store_state.h"
#include "../../common/attr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIND_STEP 512 /* candidates looked at under one hold of the lock: the loop thread waits that long at most */

/* --- bytes of a packed head -----------------------------------------------------------------------------------------
 */

enum { HEAD_ATTRS = 8, ATTR_TYPE = 1, ATTR_VALUE = 2, OBJECT_HEAD = 1, OBJECT_SEAL = 2 };

struct cursor {
    const uint8_t *at, *end;
};

/* One field: its number and, if it is a byte string, its bytes, or its value. */
static bool take_field(struct cursor *c, uint64_t *ret_number, struct cursor *ret_bytes, uint64_t *ret_value)
{
    uint64_t tag;
    if (!km_take_varint(&c->at, c->end, &tag) || !km_take_varint(&c->at, c->end, ret_value))
        return false;
    *ret_number = tag >> 3;
    *ret_bytes = (struct cursor){NULL, NULL};
    if ((tag & 7) == KM_WIRE_VARINT)
        return true;
    if ((tag & 7) != KM_WIRE_BYTES || *ret_value > (uint64_t)(c->end - c->at))
        return false;
    *ret_bytes = (struct cursor){c->at, c->at + *ret_value};
    c->at += *ret_value;
    return true;
}

/* The next attribute of a packed head. */
static bool take_attr(struct cursor *head, uint64_t *ret_type, struct cursor *ret_value)
{
    uint64_t number, value;
    struct cursor attr, bytes;
    do {
        if (!take_field(head, &number, &attr, &value))
            return false;
    } while (number != HEAD_ATTRS);
    *ret_type = 0; /* proto3 leaves out zeroes: CKA_CLASS */
    *ret_value = (struct cursor){NULL, NULL};
    while (attr.at < attr.end) {
        if (!take_field(&attr, &number, &bytes, &value))
            return false;
        if (number == ATTR_TYPE)
            *ret_type = value;
        else if (number == ATTR_VALUE)
            *ret_value = bytes;
    }
    return true;
}

static uint64_t hash_value(const uint8_t *data, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a; equal hashes are told apart by comparing values */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

/* --- records --------------------------------------------------------------------------------------------------------
 */

static bool attr_is_ulong(const Kml__Attr *attr, uint64_t value)
{
    uint64_t found = 0;
    if (attr->value.len != 8)
        return false;
    for (int i = 0; i < 8; i++)
        found |= (uint64_t)attr->value.data[i] << (8 * i);
    return found == value;
}

/* Why the head cannot be taken, or NULL. */
static const char *attrs_fault(const Kml__Head *head)
{
    if (head->n_attrs > KM_ATTRS_MAX)
        return "object head with too many attributes";
    for (size_t i = 0; i < head->n_attrs; i++) {
        const Kml__Attr *attr = head->attrs[i];
        if (i && head->attrs[i - 1]->type >= attr->type)
            return "object head whose attributes are not sorted";
        if (attr->value.len > KM_ATTR_VALUE_MAX)
            return "object head with an attribute that is too long";
        if (attr->type == CKA_CLASS && !attr_is_ulong(attr, head->class_))
            return "object head whose class is not its CKA_CLASS";
        if (attr->type == CKA_KEY_TYPE && !attr_is_ulong(attr, head->key_type))
            return "object head whose key type is not its CKA_KEY_TYPE";
        if (attr->type == CKA_PRIVATE && (attr->value.len != 1 || attr->value.data[0] != (head->is_private ? 1 : 0)))
            return "object head whose CKA_PRIVATE differs";
    }
    return NULL;
}

static const char *head_fault(const Kml__Head *head, const ProtobufCBinaryData *packed)
{
    if (head->id.len != KM_ID_LEN || head->token.len != KM_ID_LEN)
        return "object head without ids";
    if (head->version == 0)
        return "object head without a version";
    if (head->is_session)
        return "session objects are not stored";
    const char *fault = attrs_fault(head);
    if (fault)
        return fault;
    if (kml__head__get_packed_size(head) != packed->len)
        return "object head not in canonical form";
    uint8_t *again = km_need(packed->len);
    kml__head__pack(head, again);
    bool is_equal = memcmp(again, packed->data, packed->len) == 0;
    free(again);
    return is_equal ? NULL : "object head not in canonical form";
}

static void note_attr(struct km_record *record, const Kml__Attr *attr)
{
    if (attr->type == CKA_ID) {
        record->has_cka_id = true;
        record->cka_id_hash = hash_value(attr->value.data, attr->value.len);
    } else if (attr->type == CKA_LABEL) {
        record->has_label = true;
        record->label_hash = hash_value(attr->value.data, attr->value.len);
    }
}

/* Tag and length of a field of `len` bytes; returns how long they are. */
static size_t put_field(uint8_t *out, unsigned field, size_t len)
{
    out[0] = (uint8_t)(field << 3 | KM_WIRE_BYTES);
    return 1 + km_put_varint(out + 1, len);
}

/* A record with head and seal in the form that a snapshot has. */
static struct km_record *new_record(const ProtobufCBinaryData *head, const ProtobufCBinaryData *seal)
{
    uint8_t before[1 + 10], between[1 + 10], inner[1 + 10];
    size_t head_at = put_field(inner, OBJECT_HEAD, head->len);
    size_t seal_at = seal->len ? put_field(between, OBJECT_SEAL, seal->len) : 0;
    size_t at = put_field(before, KM_SNAPSHOT_OBJECTS, head_at + head->len + seal_at + seal->len);
    struct km_record *record = km_need(sizeof(*record) + at + head_at + head->len + seal_at + seal->len);
    memcpy(record->bytes, before, at);
    memcpy(record->bytes + at, inner, head_at);
    record->object.head = memcpy(record->bytes + at + head_at, head->data, head->len);
    record->object.head_len = head->len;
    at += head_at + head->len;
    if (seal->len) {
        memcpy(record->bytes + at, between, seal_at);
        memcpy(record->bytes + at + seal_at, seal->data, seal->len);
    }
    record->object.seal = record->bytes + at + seal_at;
    record->object.seal_len = seal->len;
    record->len = at + seal_at + seal->len;
    return record;
}

enum km_err km_record_new(const ProtobufCBinaryData *packed, const ProtobufCBinaryData *seal, struct km_record **ret,
                          uint64_t *ret_instance, const char **ret_reason)
{
    enum km_err err = KM_OK;
    struct km_record *record;
    Kml__Head *head = kml__head__unpack(&km_need_allocator, packed->len, packed->data);
    *ret = NULL;
    *ret_reason = "object head that cannot be read";
    if (!head)
        return KM_OK;
    if (km_has_unknown(&head->base)) {
        err = KM_ERR_VERSION;
        goto out;
    }
    *ret_reason = head_fault(head, packed);
    if (*ret_reason)
        goto out;
    record = new_record(packed, seal);
    memcpy(record->object.id, head->id.data, KM_ID_LEN);
    memcpy(record->object.token, head->token.data, KM_ID_LEN);
    record->object.version = head->version;
    record->object.class = head->class_;
    record->object.key_type = head->key_type;
    record->object.is_private = head->is_private;
    atomic_init(&record->refs, 1);
    atomic_init(&record->is_gone, false);
    for (size_t i = 0; i < head->n_attrs; i++)
        note_attr(record, head->attrs[i]);
    *ret_instance = head->token_instance;
    *ret = record;
out:
    kml__head__free_unpacked(head, &km_need_allocator);
    return err;
}

static struct km_record *record_of(const struct km_object *object)
{
    return (struct km_record *)((char *)(size_t)object - offsetof(struct km_record, object));
}

void km_object_unref(const struct km_object *object)
{
    if (!object)
        return;
    struct km_record *record = record_of(object);
    if (atomic_fetch_sub_explicit(&record->refs, 1, memory_order_acq_rel) == 1)
        free(record);
}

bool km_object_is_gone(const struct km_object *object)
{
    return atomic_load(&record_of(object)->is_gone);
}

void km_record_leave(struct km_state *state, struct km_record *record)
{
    atomic_store(&record->is_gone, true);
    if (!state->keeps_gone || record->object.seal_len == 0) {
        km_object_unref(&record->object);
        return;
    }
    record->by_id.left = state->gone;
    state->gone = &record->by_id;
}

/* --- indexes --------------------------------------------------------------------------------------------------------
 */

static int cmp_ids(const struct km_record *a, const struct km_record *b)
{
    return memcmp(a->object.id, b->object.id, KM_ID_LEN);
}

int km_record_cmp_id(const struct km_tree_node *a, const struct km_tree_node *b)
{
    return cmp_ids(KM_TREE_OF(a, struct km_record, by_id), KM_TREE_OF(b, struct km_record, by_id));
}

static int cmp_class(const struct km_tree_node *a, const struct km_tree_node *b)
{
    return cmp_ids(KM_TREE_OF(a, struct km_record, by_class), KM_TREE_OF(b, struct km_record, by_class));
}

static int cmp_cka_id(const struct km_tree_node *a, const struct km_tree_node *b)
{
    const struct km_record *left = KM_TREE_OF(a, struct km_record, by_cka_id);
    const struct km_record *right = KM_TREE_OF(b, struct km_record, by_cka_id);
    if (left->cka_id_hash != right->cka_id_hash)
        return left->cka_id_hash < right->cka_id_hash ? -1 : 1;
    return cmp_ids(left, right);
}

static int cmp_label(const struct km_tree_node *a, const struct km_tree_node *b)
{
    const struct km_record *left = KM_TREE_OF(a, struct km_record, by_label);
    const struct km_record *right = KM_TREE_OF(b, struct km_record, by_label);
    if (left->label_hash != right->label_hash)
        return left->label_hash < right->label_hash ? -1 : 1;
    return cmp_ids(left, right);
}

struct km_record *km_record_find(const struct km_state *state, const uint8_t *id, size_t id_len)
{
    struct km_record probe = {.object = {.version = 0}};
    if (id_len != KM_ID_LEN)
        return NULL;
    memcpy(probe.object.id, id, KM_ID_LEN);
    return KM_TREE_OF(km_tree_find(state->objects, &probe.by_id, km_record_cmp_id), struct km_record, by_id);
}

static struct km_class *class_find(const struct km_token_state *token, uint64_t class)
{
    for (size_t i = 0; i < token->n_classes; i++)
        if (token->classes[i].class == class)
            return &token->classes[i];
    return NULL;
}

static struct km_class *class_need(struct km_token_state *token, uint64_t class)
{
    struct km_class *found = class_find(token, class);
    if (found)
        return found;
    token->classes = km_need_more(token->classes, (token->n_classes + 1) * sizeof(*token->classes));
    token->classes[token->n_classes] = (struct km_class){.class = class};
    return &token->classes[token->n_classes++];
}

static void class_forget(struct km_token_state *token, struct km_class *class)
{
    *class = token->classes[--token->n_classes];
}

static struct km_sum record_sum(struct km_state *state, const struct km_record *record)
{
    km_hash_begin(state, 'O');
    km_hash_bytes(state, record->object.head, record->object.head_len);
    km_hash_bytes(state, record->object.seal, record->object.seal_len);
    return km_hash_end(state);
}

void km_record_add(struct km_state *state, struct km_token_state *token, struct km_record *record)
{
    struct km_class *class = class_need(token, record->object.class);
    struct km_sum sum = record_sum(state, record);
    km_sum_add(&state->sum, &sum);
    km_sum_add(&token->sum, &sum);
    km_tree_insert(&state->objects, &record->by_id, km_record_cmp_id);
    km_tree_insert(&class->objects, &record->by_class, cmp_class);
    class->n++;
    if (record->has_cka_id)
        km_tree_insert(&token->by_cka_id, &record->by_cka_id, cmp_cka_id);
    if (record->has_label)
        km_tree_insert(&token->by_label, &record->by_label, cmp_label);
    state->n_objects++;
    token->token.objects++;
}

void km_record_drop(struct km_state *state, struct km_token_state *token, struct km_record *record)
{
    struct km_class *class = class_find(token, record->object.class);
    struct km_sum sum = record_sum(state, record);
    assert(class);
    km_sum_sub(&state->sum, &sum);
    km_sum_sub(&token->sum, &sum);
    km_tree_remove(&state->objects, &record->by_id, km_record_cmp_id);
    km_tree_remove(&class->objects, &record->by_class, cmp_class);
    if (--class->n == 0)
        class_forget(token, class);
    if (record->has_cka_id)
        km_tree_remove(&token->by_cka_id, &record->by_cka_id, cmp_cka_id);
    if (record->has_label)
        km_tree_remove(&token->by_label, &record->by_label, cmp_label);
    state->n_objects--;
    token->token.objects--;
    km_record_leave(state, record);
}

const struct km_object *km_store_object(struct km_store *store, const uint8_t id[KM_ID_LEN])
{
    pthread_rwlock_rdlock(&store->lock);
    struct km_record *record = km_record_find(store->state, id, KM_ID_LEN);
    if (record)
        atomic_fetch_add_explicit(&record->refs, 1, memory_order_relaxed);
    pthread_rwlock_unlock(&store->lock);
    return record ? &record->object : NULL;
}

/* --- search ---------------------------------------------------------------------------------------------------------
 */

/* A search: the index that it walks (the most selective that the template names) and how far it has come. */
struct search {
    Kml__Attr *const *template;
    size_t n;
    bool with_private;
    enum { ALL, BY_CLASS, BY_LABEL, BY_CKA_ID, BY_ID } index;
    uint64_t class;
    uint8_t unique[KM_ID_LEN];
    struct km_record at; /* id and hash of the last candidate; only these are set */
    bool is_started;
};

/* CKA_UNIQUE_ID is an object's id in hexadecimal. */
static bool take_unique_id(const ProtobufCBinaryData *value, uint8_t ret[KM_ID_LEN])
{
    for (size_t i = 0; i < 2 * KM_ID_LEN && value->len == 2 * KM_ID_LEN; i++) {
        uint8_t c = value->data[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f'))
            return false;
        ret[i / 2] = (uint8_t)(ret[i / 2] << 4 | (is_digit ? c - '0' : c - 'a' + 10));
    }
    return value->len == 2 * KM_ID_LEN;
}

static void search_init(struct search *search, Kml__Attr *const *template, size_t n, bool with_private,
                        const uint8_t *after)
{
    memset(search, 0, sizeof(*search));
    search->template = template;
    search->n = n;
    search->with_private = with_private;
    if (after) {
        memcpy(search->at.object.id, after, KM_ID_LEN);
        search->is_started = true;
    }
    for (size_t i = 0; i < n; i++) {
        const ProtobufCBinaryData *value = &template[i] -> value;
        if (template[i] -> type == CKA_UNIQUE_ID && take_unique_id(value, search->unique)) {
            search->index = BY_ID;
        } else if (template[i] -> type == CKA_ID && search -> index < BY_CKA_ID) {
            search->index = BY_CKA_ID;
            search->at.cka_id_hash = hash_value(value->data, value->len);
        } else if (template[i] -> type == CKA_LABEL && search -> index < BY_LABEL) {
            search->index = BY_LABEL;
            search->at.label_hash = hash_value(value->data, value->len);
        } else if (template[i] -> type == CKA_CLASS && search -> index < BY_CLASS && value -> len == 8) {
            search->index = BY_CLASS;
            for (int byte = 0; byte < 8; byte++)
                search->class |= (uint64_t)value->data[byte] << (8 * byte);
        }
    }
}

static struct km_record *next_of_class(const struct search *search, const struct km_class *class)
{
    struct km_tree_node *node =
        class ? km_tree_above(class->objects, &search->at.by_class, !search->is_started, cmp_class) : NULL;
    return KM_TREE_OF(node, struct km_record, by_class);
}

/* Every object of the token has a class, and each class is in order: the lowest head of all. */
static struct km_record *next_of_all(const struct search *search, const struct km_token_state *token)
{
    struct km_record *best = NULL;
    for (size_t i = 0; i < token->n_classes; i++) {
        struct km_record *record = next_of_class(search, &token->classes[i]);
        if (record && (!best || cmp_ids(record, best) < 0))
            best = record;
    }
    return best;
}

/* The one object that it can be. */
static struct km_record *next_by_id(const struct search *search, const struct km_state *state,
                                    const struct km_token_state *token)
{
    struct km_record *record = search->is_started ? NULL : km_record_find(state, search->unique, KM_ID_LEN);
    return record && !memcmp(record->object.token, token->token.id, KM_ID_LEN) ? record : NULL;
}

static struct km_record *next_candidate(struct search *search, const struct km_state *state,
                                        const struct km_token_state *token)
{
    struct km_record *record = NULL;
    struct km_tree_node *node;
    switch (search->index) {
    case ALL:
        record = next_of_all(search, token);
        break;
    case BY_ID:
        record = next_by_id(search, state, token);
        break;
    case BY_CLASS:
        record = next_of_class(search, class_find(token, search->class));
        break;
    case BY_CKA_ID:
        node = km_tree_above(token->by_cka_id, &search->at.by_cka_id, !search->is_started, cmp_cka_id);
        record = KM_TREE_OF(node, struct km_record, by_cka_id);
        if (record && record->cka_id_hash != search->at.cka_id_hash)
            record = NULL;
        break;
    case BY_LABEL:
        node = km_tree_above(token->by_label, &search->at.by_label, !search->is_started, cmp_label);
        record = KM_TREE_OF(node, struct km_record, by_label);
        if (record && record->label_hash != search->at.label_hash)
            record = NULL;
        break;
    }
    if (record) {
        memcpy(search->at.object.id, record->object.id, KM_ID_LEN);
        search->is_started = true;
    }
    return record;
}

static bool has_attr(const struct km_record *record, const Kml__Attr *wanted)
{
    struct cursor head = {record->object.head, record->object.head + record->object.head_len}, value;
    uint64_t type;
    while (take_attr(&head, &type, &value)) {
        if (type > wanted->type) /* sorted */
            return false;
        if (type == wanted->type)
            return (size_t)(value.end - value.at) == wanted->value.len &&
                   (wanted->value.len == 0 || memcmp(value.at, wanted->value.data, wanted->value.len) == 0);
    }
    return false;
}

static bool matches(const struct search *search, const struct km_record *record)
{
    if (record->object.is_private && !search->with_private)
        return false;
    for (size_t i = 0; i < search->n; i++)
        if (!has_attr(record, search->template[i]))
            return false;
    return true;
}

size_t km_store_find(struct km_store *store, const uint8_t token_id[KM_ID_LEN], Kml__Attr *const *template, size_t n,
                     bool with_private, const uint8_t *after, const struct km_object **ret, size_t max, bool *ret_more)
{
    struct search search;
    struct km_record *record = NULL;
    size_t found = 0;
    search_init(&search, template, n, with_private, after);
    *ret_more = false;
    do {
        pthread_rwlock_rdlock(&store->lock);
        const struct km_token_state *token = km_token_find(store->state, token_id, KM_ID_LEN);
        unsigned steps = FIND_STEP;
        record = NULL;
        while (token && !*ret_more && steps-- && (record = next_candidate(&search, store->state, token))) {
            if (!matches(&search, record))
                continue;
            if (found == max) {
                *ret_more = true;
                break;
            }
            atomic_fetch_add_explicit(&record->refs, 1, memory_order_relaxed);
            ret[found++] = &record->object;
        }
        pthread_rwlock_unlock(&store->lock);
    } while (record && !*ret_more);
    return found;
}
