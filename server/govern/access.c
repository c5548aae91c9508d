/* SPDX-License-Identifier: Apache-2.0
 *
 * A list of grants, one for each word of [access], searched from front to back: there are a handful of them, and a
 * request asks once. What no grant names does not exist for the client; a token's creator needs no grant.
 */
#include "access.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_MAX 32 /* bytes of CKA_LABEL of a token, PKCS#11 v3.2 3.2 */

struct grant {
    struct grant *next;
    char name[KM_NAME_MAX + 1]; /* "*": every client */
    bool may_create;
    char label[LABEL_MAX + 1]; /* "": none; "*": every token */
};

struct km_access {
    struct grant *grants;
};

struct km_access *km_access_new(void)
{
    return calloc(1, sizeof(struct km_access));
}

void km_access_free(struct km_access *access)
{
    if (!access)
        return;
    for (struct grant *g = access->grants, *next; g; g = next) {
        next = g->next;
        free(g);
    }
    free(access);
}

static bool is_name(const char *name)
{
    if (!strcmp(name, "*"))
        return true;
    size_t len = strlen(name);
    return len > 0 && len <= KM_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == len;
}

/* One word, without the blanks around it. */
static const char *add_word(struct km_access *access, const char *name, const char *word, size_t len)
{
    static const char token[] = "token:";
    const size_t prefix = sizeof(token) - 1;
    bool is_create = len == 6 && !strncmp(word, "create", 6);
    bool is_token = len > prefix && len - prefix <= LABEL_MAX && !strncmp(word, token, prefix);
    if (!is_create && !is_token)
        return "a comma-separated list of create, token:LABEL (1 to 32 bytes) and token:*";
    struct grant *g = calloc(1, sizeof(*g));
    if (!g)
        return "more memory";
    strcpy(g->name, name);
    g->may_create = is_create;
    if (is_token)
        memcpy(g->label, word + prefix, len - prefix);
    g->next = access->grants;
    access->grants = g;
    return NULL;
}

const char *km_access_add(struct km_access *access, const char *name, const char *value)
{
    if (!is_name(name))
        return "a client's name of 1 to 64 [a-z0-9.-_], or *";
    for (const char *p = value;; p++) {
        p += strspn(p, " \t");
        size_t len = strcspn(p, ","), trimmed = len;
        while (trimmed > 0 && (p[trimmed - 1] == ' ' || p[trimmed - 1] == '\t'))
            trimmed--;
        const char *expected = add_word(access, name, p, trimmed);
        if (expected)
            return expected;
        p += len;
        if (!*p)
            return NULL;
    }
}

static bool is_for(const struct grant *g, const struct km_identity *who)
{
    return !strcmp(g->name, "*") || !strcmp(g->name, who->name);
}

bool km_access_may_create(const struct km_access *access, const struct km_identity *who)
{
    if (who->role != KM_ROLE_CLIENT)
        return false;
    for (const struct grant *g = access->grants; g; g = g->next)
        if (g->may_create && is_for(g, who))
            return true;
    return false;
}

bool km_access_sees(const struct km_access *access, const struct km_identity *who, const char *label, const char *owner)
{
    if (who->role != KM_ROLE_CLIENT)
        return false;
    if (!strcmp(who->uri, owner))
        return true;
    for (const struct grant *g = access->grants; g; g = g->next)
        if (g->label[0] && is_for(g, who) && (!strcmp(g->label, "*") || !strcmp(g->label, label)))
            return true;
    return false;
}
