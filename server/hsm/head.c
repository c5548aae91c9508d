/* SPDX-License-Identifier: Apache-2.0
 *
 * Heads in memory. protobuf-c leaves building messages to its users; here it is done once, so that every head can be
 * freed by kml__head__free_unpacked and packs to the same bytes on every server. No state; any thread.
 */
#include "head.h"

#include "../../common/attr.h"

#include <openssl/rand.h>

#include <stdlib.h>
#include <string.h>

enum km_err km_head_bytes(ProtobufCBinaryData *field, const void *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL)
        return KM_ERR_NOMEM;
    if (len > 0)
        memcpy(copy, data, len);
    free(field->data);
    field->data = copy;
    field->len = len;
    return KM_OK;
}

enum km_err km_head_string(char **field, const char *value)
{
    char *copy = strdup(value);

    if (copy == NULL)
        return KM_ERR_NOMEM;
    if (*field != protobuf_c_empty_string)
        free(*field);
    *field = copy;
    return KM_OK;
}

enum km_err km_head_fresh_id(Kml__Head *head)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t id[KM_OBJECT_ID_LEN];
    char hex[2 * KM_OBJECT_ID_LEN];
    enum km_err err;

    if (RAND_bytes(id, sizeof(id)) != 1)
        return KM_ERR_CRYPTO;
    for (size_t i = 0; i < sizeof(id); i++) {
        hex[2 * i] = digits[id[i] >> 4];
        hex[2 * i + 1] = digits[id[i] & 15];
    }
    err = km_head_bytes(&head->id, id, sizeof(id));
    if (err == KM_OK)
        err = km_head_put(head, CKA_UNIQUE_ID, hex, sizeof(hex));
    return err;
}

enum km_err km_head_new(Kml__Head **ret)
{
    Kml__Head *head = malloc(sizeof(*head));
    enum km_err err;

    if (head == NULL)
        return KM_ERR_NOMEM;
    kml__head__init(head);
    head->version = 1;
    err = km_head_fresh_id(head);
    if (err != KM_OK) {
        kml__head__free_unpacked(head, NULL);
        return err;
    }
    *ret = head;
    return KM_OK;
}

enum km_err km_head_pack(const Kml__Head *head, ProtobufCBinaryData *ret)
{
    size_t len = kml__head__get_packed_size(head);
    uint8_t *data = malloc(len > 0 ? len : 1);

    if (data == NULL)
        return KM_ERR_NOMEM;
    kml__head__pack(head, data);
    ret->data = data;
    ret->len = len;
    return KM_OK;
}

enum km_err km_head_dup(const Kml__Head *head, Kml__Head **ret)
{
    ProtobufCBinaryData packed = {0, NULL};
    Kml__Head *copy = NULL;

    if (km_head_pack(head, &packed) != KM_OK)
        return KM_ERR_NOMEM;
    copy = kml__head__unpack(NULL, packed.len, packed.data);
    free(packed.data);
    if (copy == NULL)
        return KM_ERR_NOMEM;
    *ret = copy;
    return KM_OK;
}

/* Where `type` is, or would have to be put in. */
static size_t place_of(const Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    size_t low = 0, high = head->n_attrs;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (head->attrs[middle]->type < type)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const Kml__Attr *km_head_find(const Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    size_t i = place_of(head, type);

    return i < head->n_attrs && head->attrs[i]->type == type ? head->attrs[i] : NULL;
}

bool km_head_bool(const Kml__Head *head, CK_ATTRIBUTE_TYPE type, bool absent)
{
    const Kml__Attr *attr = km_head_find(head, type);

    return attr != NULL && attr->value.len == 1 ? attr->value.data[0] != 0 : absent;
}

CK_ULONG km_head_ulong(const Kml__Head *head, CK_ATTRIBUTE_TYPE type, CK_ULONG absent)
{
    const Kml__Attr *attr = km_head_find(head, type);

    return attr != NULL && attr->value.len == 8 ? km_attr_get_u64(attr->value.data) : absent;
}

Kml__Attr *km_attr_new(CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    Kml__Attr *attr = malloc(sizeof(*attr));

    if (attr == NULL)
        return NULL;
    kml__attr__init(attr);
    attr->type = type;
    if (km_head_bytes(&attr->value, value, len) == KM_OK)
        return attr;
    free(attr);
    return NULL;
}

enum km_err km_head_put(Kml__Head *head, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    size_t i = place_of(head, type);
    Kml__Attr **grown, *attr;

    if (i < head->n_attrs && head->attrs[i]->type == type)
        return km_head_bytes(&head->attrs[i]->value, value, len);
    attr = km_attr_new(type, value, len);
    if (attr == NULL)
        return KM_ERR_NOMEM;
    grown = realloc(head->attrs, (head->n_attrs + 1) * sizeof(head->attrs[0]));
    if (grown == NULL) {
        kml__attr__free_unpacked(attr, NULL);
        return KM_ERR_NOMEM;
    }
    memmove(grown + i + 1, grown + i, (head->n_attrs - i) * sizeof(grown[0]));
    grown[i] = attr;
    head->attrs = grown;
    head->n_attrs++;
    return KM_OK;
}

enum km_err km_head_put_bool(Kml__Head *head, CK_ATTRIBUTE_TYPE type, bool value)
{
    uint8_t byte = value;

    return km_head_put(head, type, &byte, 1);
}

enum km_err km_head_put_ulong(Kml__Head *head, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    uint8_t bytes[8];

    km_attr_put_u64(bytes, value);
    return km_head_put(head, type, bytes, sizeof(bytes));
}

void km_head_drop(Kml__Head *head, CK_ATTRIBUTE_TYPE type)
{
    size_t i = place_of(head, type);

    if (i == head->n_attrs || head->attrs[i]->type != type)
        return;
    kml__attr__free_unpacked(head->attrs[i], NULL);
    head->n_attrs--;
    memmove(head->attrs + i, head->attrs + i + 1, (head->n_attrs - i) * sizeof(head->attrs[0]));
}
