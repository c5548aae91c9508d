/* SPDX-License-Identifier: Apache-2.0
 *
 * Object heads in memory: building, reading, copying. Everything is malloc'ed, so that kml__head__free_unpacked(head, NULL) frees it.
 * Attributes stay sorted by type, so equal heads pack to equal bytes. No state; any thread.
 */
#ifndef KM_HSM_HEAD_H
#define KM_HSM_HEAD_H

#include "../../common/cryptoki.h"
#include "../../common/err.h"
#include "../raft/log.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_OBJECT_ID_LEN 16

/* An empty head with a fresh random id, version 1. Errors: KM_ERR_NOMEM, KM_ERR_CRYPTO (no randomness). */
enum km_err km_head_new(Kml__Head **ret) KM_CHECKED;
/* A deep copy. Errors: KM_ERR_NOMEM. */
enum km_err km_head_dup(const Kml__Head *head, Kml__Head **ret) KM_CHECKED;
/* Gives `head` a fresh random id and CKA_UNIQUE_ID (the id in hex). Errors: KM_ERR_NOMEM, KM_ERR_CRYPTO. */
enum km_err km_head_fresh_id(Kml__Head *head) KM_CHECKED;
/* Replaces a malloc'ed bytes field (token, ...) by a copy of `data`. Errors: KM_ERR_NOMEM. */
enum km_err km_head_bytes(ProtobufCBinaryData *field, const void *data, size_t len) KM_CHECKED;
/* Replaces a malloc'ed string field (owner, backend) by a copy. Errors: KM_ERR_NOMEM. */
enum km_err km_head_string(char **field, const char *value) KM_CHECKED;
/* Packs into malloc'ed memory. Errors: KM_ERR_NOMEM. */
enum km_err km_head_pack(const Kml__Head *head, ProtobufCBinaryData *ret) KM_CHECKED;

/* The attribute, borrowed, or NULL. */
const Kml__Attr *km_head_find(const Kml__Head *head, CK_ATTRIBUTE_TYPE type);
bool km_head_bool(const Kml__Head *head, CK_ATTRIBUTE_TYPE type, bool absent);
CK_ULONG km_head_ulong(const Kml__Head *head, CK_ATTRIBUTE_TYPE type, CK_ULONG absent);

/* Adds or replaces an attribute, keeping the order. Errors: KM_ERR_NOMEM (head unchanged). */
enum km_err km_head_put(Kml__Head *head, CK_ATTRIBUTE_TYPE type, const void *value, size_t len) KM_CHECKED;
enum km_err km_head_put_bool(Kml__Head *head, CK_ATTRIBUTE_TYPE type, bool value) KM_CHECKED;
enum km_err km_head_put_ulong(Kml__Head *head, CK_ATTRIBUTE_TYPE type, CK_ULONG value) KM_CHECKED;
/* Takes the attribute away, if it is there. */
void km_head_drop(Kml__Head *head, CK_ATTRIBUTE_TYPE type);

/* One attribute of its own, malloc'ed (kml__attr__free_unpacked), or NULL when memory is short. */
Kml__Attr *km_attr_new(CK_ATTRIBUTE_TYPE type, const void *value, size_t len);

#endif
