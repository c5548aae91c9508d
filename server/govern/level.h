/* SPDX-License-Identifier: Apache-2.0
 *
 * How strictly a token keeps its keys apart (design D12), from server.conf's [lineage] section: a line for each token
 * by its label and one for "default". Filled while the configuration is read, immutable afterwards; then any thread.
 */
#ifndef KM_GOVERN_LEVEL_H
#define KM_GOVERN_LEVEL_H

enum km_level {
    KM_LEVEL_OFF,     /* the standard's attributes and no more, as most tokens do */
    KM_LEVEL_LINEAGE, /* a sensitive key leaves only under a key that was made for that */
    KM_LEVEL_STRICT,  /* and each key has one role */
};

struct km_levels;

/* An empty list: every token at KM_LEVEL_LINEAGE. NULL when out of memory. */
struct km_levels *km_levels_new(void);
void km_levels_free(struct km_levels *levels);
/* Takes in one line. Returns NULL, or what was expected instead (static text). */
const char *km_levels_add(struct km_levels *levels, const char *label, const char *value);
/* The level of the token `label`. `levels` NULL: KM_LEVEL_LINEAGE. */
enum km_level km_levels_of(const struct km_levels *levels, const char *label);

#endif
