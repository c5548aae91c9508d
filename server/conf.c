/* SPDX-License-Identifier: Apache-2.0
 *
 * server.conf: the table of its keys, and the few rules that look at more than one of them. Read at the start and again
 * on SIGHUP. Main thread.
 */
#include "conf.h"

#include "../common/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER_FORM "<name> <zone> <client host:port> <peer host:port>"

static bool is_name(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= KM_NAME_MAX && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == len;
}

static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    return colon && colon != text && strlen(text) < 256 && !strpbrk(text, " \t;") && colon[1] &&
           strspn(colon + 1, "0123456789") == strlen(colon + 1) && atol(colon + 1) >= 1 && atol(colon + 1) <= 65535;
}

/* id = name zone host:port host:port */
static const char *each_member(void *target, const char *name, const char *value)
{
    struct km_server_conf *conf = target;
    struct km_member member = {.role = RAFT_VOTER};
    char *end, excess;
    if (conf->n_members == KM_SERVERS_MAX)
        return "at most 32 servers";
    member.id = strtoull(name, &end, 10);
    if (member.id == 0 || *end || strspn(name, "0123456789") != strlen(name))
        return "a server's id: a number from 1 on";
    if (sscanf(value, "%64s %64s %255s %255s %c", member.name, member.zone, member.address, member.peer_address,
               &excess) != 4)
        return MEMBER_FORM;
    if (!is_name(member.name) || !is_name(member.zone) || !is_address(member.address) ||
        !is_address(member.peer_address))
        return MEMBER_FORM;
    size_t at = 0;
    while (at < conf->n_members && conf->members[at].id < member.id)
        at++;
    if (at < conf->n_members && conf->members[at].id == member.id)
        return "each id once";
    memmove(&conf->members[at + 1], &conf->members[at], (conf->n_members++ - at) * sizeof(member));
    conf->members[at] = member;
    return NULL;
}

static const char *each_access(void *target, const char *name, const char *value)
{
    return km_access_add(((struct km_server_conf *)target)->access, name, value);
}

static const char *each_lineage(void *target, const char *name, const char *value)
{
    return km_levels_add(((struct km_server_conf *)target)->levels, name, value);
}

#define AT(field) offsetof(struct km_server_conf, field)
#define TEXT(name)                                                                                                     \
    {                                                                                                                  \
        .section = "default", .key = #name, .kind = KM_CONF_STRING, .offset = AT(name), .is_required = true            \
    }
#define PATH(name)                                                                                                     \
    {                                                                                                                  \
        .section = "default", .key = #name, .kind = KM_CONF_PATH, .offset = AT(name), .is_required = true              \
    }
#define NUMBER(name, low, high, text)                                                                                  \
    {                                                                                                                  \
        .section = "default", .key = #name, .kind = KM_CONF_UINT, .offset = AT(name), .min = low, .max = high,         \
        .init = text                                                                                                   \
    }
static const struct km_conf_row rows[] = {
    TEXT(cluster),
    TEXT(name),
    {.section = "default",
     .key = "id",
     .kind = KM_CONF_UINT,
     .offset = AT(id),
     .is_required = true,
     .min = 1,
     .max = 0x7fffffff},
    TEXT(zone),
    TEXT(address),
    TEXT(peer_address),
    PATH(data_dir),
    PATH(certificate),
    PATH(key),
    PATH(ca),
    TEXT(master_key),
    {.section = "default", .key = "log", .kind = KM_CONF_STRING, .offset = AT(log), .init = "stderr"},
    {.section = "default",
     .key = "log_level",
     .kind = KM_CONF_CHOICE,
     .offset = AT(log_level),
     .choices = "error|warn|info|debug",
     .init = "info"},
    {.section = "default",
     .key = "audit",
     .kind = KM_CONF_CHOICE,
     .offset = AT(audit),
     .choices = "batched|each",
     .init = "batched"},
    NUMBER(election_ms, 100, 10000, "300"),
    NUMBER(heartbeat_ms, 10, 2000, "30"),
    NUMBER(workers, 0, 1024, "0"),
    NUMBER(changers, 4, 1024, "64"),
    NUMBER(queue_max, 16, 1000000, "4096"),
    NUMBER(request_deadline_ms, 100, 60000, "5000"),
    NUMBER(login_max_age_min, 1, 14400, "720"),
    {.section = "default", .key = "sha1_signatures", .kind = KM_CONF_BOOL, .offset = AT(sha1_signatures), .init = "no"},
    NUMBER(connections_max, 1, 1000000, "65536"),
    NUMBER(strangers_max, 1, 65536, "256"),
    NUMBER(strangers_per_source, 1, 65536, "32"),
    NUMBER(handshake_ms, 100, 60000, "5000"),
    {.section = "members", .kind = KM_CONF_SECTION, .each = each_member},
    {.section = "access", .kind = KM_CONF_SECTION, .each = each_access},
    {.section = "lineage", .kind = KM_CONF_SECTION, .each = each_lineage},
    {0},
};

/* NULL, or the key that does not fit and, in `ret_expected`, what would. */
static const char *check(const struct km_server_conf *conf, const char **ret_expected)
{
    *ret_expected = "1 to 64 of a-z 0-9 . - _";
    if (!is_name(conf->cluster))
        return "cluster";
    if (!is_name(conf->name))
        return "name";
    if (!is_name(conf->zone))
        return "zone";
    *ret_expected = "<host>:<port>";
    if (!is_address(conf->address))
        return "address";
    if (!is_address(conf->peer_address))
        return "peer_address";
    *ret_expected = "another address than `address`";
    if (!strcmp(conf->address, conf->peer_address))
        return "peer_address";
    *ret_expected = "stderr, syslog, none or an absolute file name";
    if (strcmp(conf->log, "stderr") && strcmp(conf->log, "syslog") && strcmp(conf->log, "none") && conf->log[0] != '/')
        return "log";
    *ret_expected = "at most a third of election_ms";
    if (conf->heartbeat_ms * 3 > conf->election_ms)
        return "heartbeat_ms";
    *ret_expected = "this server's line under [members] to say the same as name, zone, address and peer_address";
    for (size_t i = 0; i < conf->n_members; i++) {
        const struct km_member *m = &conf->members[i];
        bool is_same = !strcmp(m->name, conf->name) && !strcmp(m->zone, conf->zone) &&
                       !strcmp(m->address, conf->address) && !strcmp(m->peer_address, conf->peer_address);
        if ((m->id == conf->id) != is_same)
            return "members";
    }
    return NULL;
}

enum km_err km_server_conf_read(const char *path, struct km_server_conf *ret, char *ret_message, size_t message_len)
{
    const char *expected;
    struct km_server_conf *conf = calloc(1, sizeof(*conf));
    enum km_err err = KM_ERR_NOMEM;
    snprintf(ret_message, message_len, "%s", km_err_text(err));
    if (!conf || !(conf->access = km_access_new()) || !(conf->levels = km_levels_new()))
        goto out;
    err = km_conf_read(path, rows, conf, ret_message, message_len);
    if (err)
        goto out;
    const char *key = check(conf, &expected);
    if (key) {
        snprintf(ret_message, message_len, "%s: %s: expected %s", path, key, expected);
        err = KM_ERR_CONF;
        km_conf_fini(rows, conf);
        goto out;
    }
    conf->model = "keymoot";
    *ret = *conf;
    conf->access = NULL;
    conf->levels = NULL;
out:
    if (conf) {
        km_access_free(conf->access);
        km_levels_free(conf->levels);
    }
    free(conf);
    return err;
}

void km_server_conf_fini(struct km_server_conf *conf)
{
    km_conf_fini(rows, conf);
    km_access_free(conf->access);
    km_levels_free(conf->levels);
    memset(conf, 0, sizeof(*conf));
}
