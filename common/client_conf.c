/* SPDX-License-Identifier: Apache-2.0
 *
 * client.conf: the table of its keys. Read once per C_Initialize or command. Any thread.
 */
#include "client.h"

#include "conf.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_name(const char *text, size_t len)
{
    return len > 0 && len <= KM_NAME_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-_") >= len;
}

/* name = zone host:port */
static const char *each_server(void *target, const char *name, const char *value)
{
    struct km_client_conf *conf = target;
    struct km_client_server *server = &conf->servers[conf->n_servers];
    size_t zone_len = strcspn(value, " \t");
    const char *address = value + zone_len + strspn(value + zone_len, " \t");
    const char *colon = strrchr(address, ':');
    if (conf->n_servers == KM_SERVERS_MAX)
        return "at most 32 servers";
    if (!is_name(name, strlen(name)))
        return "a server's name: 1 to 64 of a-z 0-9 . - _";
    if (!is_name(value, zone_len))
        return "<zone> <host>:<port>, the zone 1 to 64 of a-z 0-9 . - _";
    if (colon == NULL || colon == address || strlen(address) >= sizeof(server->address) || strpbrk(address, " \t") != NULL ||
        colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) || atol(colon + 1) < 1 || atol(colon + 1) > 65535)
        return "<zone> <host>:<port>";
    snprintf(server->name, sizeof(server->name), "%s", name);
    snprintf(server->zone, sizeof(server->zone), "%.*s", (int)zone_len, value);
    snprintf(server->address, sizeof(server->address), "%s", address);
    conf->n_servers++;
    return NULL;
}

#define AT(field) offsetof(struct km_client_conf, field)
static const struct km_conf_row rows[] = {
    {.section = "default", .key = "cluster", .kind = KM_CONF_STRING, .offset = AT(cluster), .is_required = true},
    {.section = "default", .key = "zone", .kind = KM_CONF_STRING, .offset = AT(zone)},
    {.section = "default", .key = "certificate", .kind = KM_CONF_PATH, .offset = AT(certificate), .is_required = true},
    {.section = "default", .key = "key", .kind = KM_CONF_PATH, .offset = AT(key), .is_required = true},
    {.section = "default", .key = "ca", .kind = KM_CONF_PATH, .offset = AT(ca), .is_required = true},
    {.section = "default", .key = "log", .kind = KM_CONF_STRING, .offset = AT(log), .init = "stderr"},
    {.section = "default", .key = "log_level", .kind = KM_CONF_CHOICE, .offset = AT(log_level), .choices = "error|warn|info|debug", .init = "warn"},
    {.section = "default", .key = "sha1_signatures", .kind = KM_CONF_BOOL, .offset = AT(sha1_signatures), .init = "no"},
    {.section = "default", .key = "deadline_ms", .kind = KM_CONF_UINT, .offset = AT(deadline_ms), .min = 100, .max = 600000, .init = "10000"},
    {.section = "default", .key = "connect_deadline_ms", .kind = KM_CONF_UINT, .offset = AT(connect_deadline_ms), .min = 10, .max = 60000, .init = "1000"},
    {.section = "default", .key = "attempt_deadline_ms", .kind = KM_CONF_UINT, .offset = AT(attempt_deadline_ms), .min = 10, .max = 600000, .init = "3000"},
    {.section = "servers", .kind = KM_CONF_SECTION, .is_required = true, .each = each_server},
    {0},
};

enum km_err km_client_conf_read(const char *path, struct km_client_conf *ret, char *ret_message, size_t message_len)
{
    struct km_client_conf conf = {0};
    enum km_err err = km_conf_read(path, rows, &conf, ret_message, message_len);
    if (err != KM_OK)
        return err;
    if (conf.n_servers == 0) {
        snprintf(ret_message, message_len, "%s: [servers] is empty: expected at least one <name> = <zone> <host>:<port>", path);
        km_client_conf_fini(&conf);
        return KM_ERR_CONF;
    }
    *ret = conf;
    return KM_OK;
}

void km_client_conf_fini(struct km_client_conf *conf)
{
    km_conf_fini(rows, conf);
    *conf = (struct km_client_conf){0};
}
