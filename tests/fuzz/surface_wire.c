/* SPDX-License-Identifier: Apache-2.0
 *
 * The courier's interface without a network: requests go to the service of server_kit.c and come back packed, as they
 * would over a connection, so that a harness can lay hands on them.
 */
#include "surface.h"

#include "../loop/server_kit.h"

#include <stdlib.h>

struct km_client {
    int unused;
};
static struct km_client client;
static struct km_identity who;
surface_tamper *surface_tampers;

enum km_err km_client_conf_read(const char *path, struct km_client_conf *ret, char *message, size_t len)
{
    (void)path, (void)message, (void)len;
    memset(ret, 0, sizeof(*ret));
    ret->log = (char *)(uintptr_t) "none";
    return KM_OK;
}

void km_client_conf_fini(struct km_client_conf *conf)
{
    (void)conf;
}

enum km_err km_client_new(struct km_client_conf *conf, struct km_client **ret, char *message, size_t len)
{
    (void)conf, (void)message, (void)len;
    if (who.name[0] == '\0')
        assert(km_identity_parse("spiffe://loop/client/app", &who) == KM_OK);
    *ret = &client;
    return KM_OK;
}

void km_client_disconnect(struct km_client *c)
{
    (void)c;
}

enum km_err km_client_call(struct km_client *c, Kmw__Request *request, bool is_retryable, Kmw__Reply **ret)
{
    size_t len, reply_len;
    uint8_t *packed, *reply;

    (void)c, (void)is_retryable;
    request->version = KM_WIRE_VERSION;
    request->program = (char *)(uintptr_t) "fuzz";
    len = kmw__request__get_packed_size(request);
    if (len > KM_MESSAGE_MAX)
        return KM_ERR_TOO_LARGE;
    packed = malloc(len + 1);
    assert(packed != NULL);
    kmw__request__pack(request, packed);
    km_service_call(kit_service, &who, packed, len, &reply, &reply_len);
    free(packed);
    assert(reply != NULL);
    if (surface_tampers != NULL)
        surface_tampers(&reply, &reply_len);
    *ret = kmw__reply__unpack(NULL, reply_len, reply);
    free(reply);
    if (*ret == NULL)
        return KM_ERR_PROTO;
    if ((*ret)->verdict == KMW__REPLY__VERDICT__ANSWER)
        return KM_OK;
    kmw__reply__free_unpacked(*ret, NULL); /* the courier keeps these to itself */
    *ret = NULL;
    return KM_ERR_TIMEOUT;
}
