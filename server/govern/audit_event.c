/* SPDX-License-Identifier: Apache-2.0
 *
 * Events to JSON. What comes from clients (program, reason) is cut and escaped, so that a line stays one line and valid
 * JSON whatever they send.
 */
#include "audit_event.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 256 /* bytes of one text that are kept */
#define ID_LEN 16

struct out {
    char *at, *end;
};

static void put(struct out *out, const char *text, size_t len)
{
    if (len > (size_t)(out->end - out->at))
        len = (size_t)(out->end - out->at); /* cannot happen with the bounds above; a cut line would still be chained */
    memcpy(out->at, text, len);
    out->at += len;
}

static void put_name(struct out *out, const char *name)
{
    put(out, ",\"", 2);
    put(out, name, strlen(name));
    put(out, "\":", 2);
}

static void put_number(struct out *out, const char *name, uint64_t value)
{
    char text[24];
    put_name(out, name);
    put(out, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, value));
}

static void put_text(struct out *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    put_name(out, name);
    put(out, "\"", 1);
    for (size_t i = 0; value[i] && i < TEXT_MAX; i++) {
        unsigned char c = (unsigned char)value[i];
        char text[8];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            put(out, &value[i], 1);
        else
            put(out, text, (size_t)snprintf(text, sizeof(text), "\\u%04x", c));
    }
    put(out, "\"", 1);
}

static void put_id(struct out *out, const char *name, const uint8_t *id)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * ID_LEN + 1] = {0};
    if (!id)
        return;
    for (size_t i = 0; i < ID_LEN; i++) {
        hex[2 * i] = digits[id[i] >> 4];
        hex[2 * i + 1] = digits[id[i] & 15];
    }
    put_text(out, name, hex);
}

size_t km_audit_event_json(uint64_t server_id, const struct km_audit_event *event, uint64_t count, char *ret)
{
    struct out out = {ret, ret + KM_AUDIT_BODY_MAX};
    char text[40];
    put(&out, text, (size_t)snprintf(text, sizeof(text), "\"server\":%" PRIu64, server_id));
    put_number(&out, "ms", event->utc_ms);
    put_text(&out, "op", event->operation);
    put_text(&out, "who", event->who);
    put_text(&out, "user", event->user);
    put_text(&out, "program", event->program);
    if (event->program)
        put_number(&out, "uid", event->uid);
    put_id(&out, "token", event->token);
    put_id(&out, "object", event->object);
    put_text(&out, "mechanism", event->mechanism);
    if (event->session) {
        put_number(&out, "session", event->session);
        put_number(&out, "number", event->number);
    }
    put_text(&out, "outcome", event->outcome);
    put_number(&out, "rv", event->rv);
    put_text(&out, "reason", event->reason);
    if (count > 1)
        put_number(&out, "count", count);
    return (size_t)(out.at - ret);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

bool km_audit_refusals_note(struct km_audit_refusals *refusals, const struct km_audit_event *event)
{
    size_t i;
    for (i = 0; i < refusals->n; i++)
        if (refusals->kinds[i].rv == event->rv && !strcmp(refusals->kinds[i].who, or_empty(event->who)) &&
            !strcmp(refusals->kinds[i].operation, or_empty(event->operation)) &&
            !strcmp(refusals->kinds[i].outcome, or_empty(event->outcome)))
            break;
    if (i == refusals->n) {
        bool is_full = i >= KM_AUDIT_KINDS - 1;
        if (is_full)
            i = KM_AUDIT_KINDS - 1;
        if (i == refusals->n) {
            memset(&refusals->kinds[i], 0, sizeof(refusals->kinds[i]));
            refusals->n = i + 1;
            snprintf(refusals->kinds[i].who, sizeof(refusals->kinds[i].who), "%s",
                     is_full ? "many" : or_empty(event->who));
            snprintf(refusals->kinds[i].operation, sizeof(refusals->kinds[i].operation), "%s",
                     is_full ? "many" : or_empty(event->operation));
            snprintf(refusals->kinds[i].outcome, sizeof(refusals->kinds[i].outcome), "%s",
                     is_full ? "many" : or_empty(event->outcome));
            refusals->kinds[i].rv = is_full ? 0 : event->rv;
        }
    }
    return ++refusals->kinds[i].seen <= KM_AUDIT_DENIALS_PER_S;
}

bool km_audit_refusals_next(const struct km_audit_refusals *refusals, size_t *i, struct km_audit_event *ret,
                            uint64_t *ret_count)
{
    while (*i < refusals->n && refusals->kinds[*i].seen <= KM_AUDIT_DENIALS_PER_S)
        ++*i;
    if (*i >= refusals->n)
        return false;
    *ret = (struct km_audit_event){.who = refusals->kinds[*i].who,
                                   .operation = refusals->kinds[*i].operation,
                                   .outcome = refusals->kinds[*i].outcome,
                                   .rv = refusals->kinds[*i].rv};
    *ret_count = refusals->kinds[*i].seen - KM_AUDIT_DENIALS_PER_S;
    ++*i;
    return true;
}
