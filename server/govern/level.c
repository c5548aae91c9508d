/* SPDX-License-Identifier: Apache-2.0
 *
 * A list of labels and their levels, searched from front to back: there are a handful.
 */
#include "level.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_MAX 32 /* bytes of a token's label, PKCS#11 v3.2 3.2 */

struct line {
    struct line *next;
    char label[LABEL_MAX + 1];
    enum km_level level;
};

struct km_levels {
    struct line *lines;
    enum km_level otherwise;
};

struct km_levels *km_levels_new(void)
{
    struct km_levels *levels = calloc(1, sizeof(*levels));
    if (levels)
        levels->otherwise = KM_LEVEL_LINEAGE;
    return levels;
}

void km_levels_free(struct km_levels *levels)
{
    if (!levels)
        return;
    for (struct line *l = levels->lines, *next; l; l = next) {
        next = l->next;
        free(l);
    }
    free(levels);
}

const char *km_levels_add(struct km_levels *levels, const char *label, const char *value)
{
    static const char *const words[] = {
        [KM_LEVEL_OFF] = "off", [KM_LEVEL_LINEAGE] = "lineage", [KM_LEVEL_STRICT] = "strict"};
    int level = KM_LEVEL_STRICT;
    while (level >= 0 && strcmp(words[level], value))
        level--;
    if (level < 0)
        return "off, lineage or strict";
    if (strlen(label) > LABEL_MAX)
        return "a token's label of at most 32 bytes, or default";
    if (!strcmp(label, "default")) {
        levels->otherwise = level;
        return NULL;
    }
    struct line *l = calloc(1, sizeof(*l));
    if (!l)
        return "more memory";
    strcpy(l->label, label);
    l->level = level;
    l->next = levels->lines;
    levels->lines = l;
    return NULL;
}

enum km_level km_levels_of(const struct km_levels *levels, const char *label)
{
    if (!levels)
        return KM_LEVEL_LINEAGE;
    for (const struct line *l = levels->lines; l; l = l->next)
        if (!strcmp(l->label, label))
            return l->level;
    return levels->otherwise;
}
