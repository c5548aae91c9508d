/* SPDX-License-Identifier: Apache-2.0
 *
 * A small hash table of identities that have something waiting; a row lives as long as its count is above zero, so the
 * table is bounded by the requests in the server.
 */
#include "limits.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256

struct row {
    struct row *next;
    unsigned requests;
    size_t bytes;
    char identity[];
};

struct km_limits {
    pthread_mutex_t lock;
    unsigned requests_max;
    size_t bytes_max;
    struct row *buckets[BUCKETS];
};

struct km_limits *km_limits_new(unsigned requests_max, size_t bytes_max)
{
    struct km_limits *limits = calloc(1, sizeof(*limits));
    if (!limits)
        return NULL;
    pthread_mutex_init(&limits->lock, NULL);
    limits->requests_max = requests_max;
    limits->bytes_max = bytes_max;
    return limits;
}

void km_limits_free(struct km_limits *limits)
{
    if (!limits)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct row *row = limits->buckets[i], *next; row; row = next) {
            next = row->next;
            free(row);
        }
    pthread_mutex_destroy(&limits->lock);
    free(limits);
}

static struct row **find(struct km_limits *limits, const char *identity)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *p = identity; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    struct row **at = &limits->buckets[hash % BUCKETS];
    while (*at && strcmp((*at)->identity, identity))
        at = &(*at)->next;
    return at;
}

bool km_limits_enter(struct km_limits *limits, const char *identity, size_t bytes)
{
    bool is_in = false;
    pthread_mutex_lock(&limits->lock);
    struct row **at = find(limits, identity);
    if (!*at)
        *at = calloc(1, sizeof(**at) + strlen(identity) + 1);
    struct row *row = *at;
    if (row) {
        if (row->requests == 0)
            strcpy(row->identity, identity);
        is_in = row->requests < limits->requests_max && bytes <= limits->bytes_max &&
                row->bytes <= limits->bytes_max - bytes;
        if (is_in) {
            row->requests++;
            row->bytes += bytes;
        } else if (row->requests == 0) {
            *at = row->next;
            free(row);
        }
    }
    pthread_mutex_unlock(&limits->lock);
    return is_in;
}

void km_limits_leave(struct km_limits *limits, const char *identity, size_t bytes)
{
    pthread_mutex_lock(&limits->lock);
    struct row **at = find(limits, identity);
    assert(*at && (*at)->requests > 0 && (*at)->bytes >= bytes);
    (*at)->bytes -= bytes;
    if (--(*at)->requests == 0) {
        struct row *row = *at;
        *at = row->next;
        free(row);
    }
    pthread_mutex_unlock(&limits->lock);
}
