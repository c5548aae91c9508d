/* SPDX-License-Identifier: Apache-2.0
 *
 * An audit event as JSON, and the counting of refusals that come too often to be written one by one.
 */
#ifndef KM_GOVERN_AUDIT_EVENT_H
#define KM_GOVERN_AUDIT_EVENT_H

#include "audit.h"

#define KM_AUDIT_BODY_MAX 3072 /* bytes of an event as JSON at most; longer texts are cut */

/* Writes `event` of server `server_id` as JSON fields without braces to `ret` (KM_AUDIT_BODY_MAX bytes); `count` > 1:
 * that many alike. Returns the length. Stateless. */
size_t km_audit_event_json(uint64_t server_id, const struct km_audit_event *event, uint64_t count, char *ret);

/* Refusals of this second, by identity, operation and outcome. The caller locks. */
#define KM_AUDIT_KINDS 64
struct km_audit_refusals {
    size_t n;
    struct {
        char who[224], operation[24], outcome[12];
        uint64_t rv, seen;
    } kinds[KM_AUDIT_KINDS]; /* the last one stands for all that found no room */
};

/* True if this refusal (of this second) is to be written out; false if it was only counted. */
bool km_audit_refusals_note(struct km_audit_refusals *refusals, const struct km_audit_event *event);

/* Hands out the i-th kind that was counted beyond what was written, as an event (borrowing from `refusals`) and a
 * count; false at the end. `i` starts at 0 and is moved on. The caller empties `refusals` afterwards by setting n to 0.
 */
bool km_audit_refusals_next(const struct km_audit_refusals *refusals, size_t *i, struct km_audit_event *ret,
                            uint64_t *ret_count);

#endif
