/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place where the command talks to a cluster. The client itself logs which servers it tried and why each
 * failed; here that becomes an exit code and advice.
 */
#include "cluster.h"

#include "../common/cryptoki.h"
#include "../common/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STANDARD_CONFIG "/etc/keymoot/client.conf"
#define MESSAGE_LEN 1024

static const struct {
    CK_RV rv;
    enum cli_exit code;
    const char *name, *advice;
} refusals[] = {
    {CKR_ACTION_PROHIBITED, CLI_REFUSED, "CKR_ACTION_PROHIBITED",
     "; use an identity that may (operators: `keymoot pki issue --role operator`)"},
    {CKR_ARGUMENTS_BAD, CLI_REFUSED, "CKR_ARGUMENTS_BAD", ""},
    {CKR_FUNCTION_NOT_SUPPORTED, CLI_REFUSED, "CKR_FUNCTION_NOT_SUPPORTED", "; is the server older than this command?"},
    {CKR_FUNCTION_FAILED, CLI_REFUSED, "CKR_FUNCTION_FAILED", ""},
    {CKR_DEVICE_ERROR, CLI_UNREACHABLE, "CKR_DEVICE_ERROR", "; `keymoot cluster status` shows the servers"},
    {CKR_GENERAL_ERROR, CLI_REFUSED, "CKR_GENERAL_ERROR", ""},
};

static const struct {
    enum km_err err;
    enum cli_exit code;
    const char *advice;
} failures[] = {
    {KM_ERR_TIMEOUT, CLI_UNREACHABLE, "do the servers run, and are the addresses under [servers] right?"},
    {KM_ERR_NET, CLI_UNREACHABLE, "do the servers run, and are the addresses under [servers] right?"},
    {KM_ERR_NOT_LEADER, CLI_UNREACHABLE, "do most of the servers run, and do they reach each other?"},
    {KM_ERR_UNDECIDED, CLI_UNREACHABLE, "it may still happen; look at `keymoot cluster status` before another try"},
    {KM_ERR_TLS, CLI_FAILED, "`keymoot pki show` tells what the certificate, and the ca, say and until when"},
    {KM_ERR_IDENTITY, CLI_FAILED,
     "are these the servers of this cluster? `keymoot pki show` tells what a certificate says"},
};

static const char *find_config(const char *config)
{
    const char *named = getenv("KEYMOOT_CONF");
    if (config != NULL)
        return config;
    return named != NULL && named[0] != '\0' ? named : STANDARD_CONFIG;
}

enum cli_exit cluster_open(const char *config, unsigned deadline_s, struct km_client **ret)
{
    struct km_client_conf conf;
    char message[MESSAGE_LEN] = "";
    const char *path = find_config(config);
    if (km_client_conf_read(path, &conf, message, sizeof(message)) != KM_OK) {
        km_log(KM_LOG_ERROR, "%s%s", message,
               config != NULL ? "" : "; --config FILE or KEYMOOT_CONF names another file");
        return CLI_CONF;
    }
    if (deadline_s != 0)
        conf.deadline_ms = conf.attempt_deadline_ms = deadline_s * 1000;
    if (km_client_new(&conf, ret, message, sizeof(message)) != KM_OK) {
        km_log(KM_LOG_ERROR, "%s: %s", path, message);
        km_client_conf_fini(&conf);
        return CLI_CONF;
    }
    return CLI_OK;
}

/* To the caller's buffer, or to the log. */
__attribute__((format(printf, 2, 3))) static void explain(char *ret_why, const char *format, ...)
{
    char why[CLUSTER_WHY_LEN];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    if (ret_why != NULL)
        memcpy(ret_why, why, sizeof(why));
    else
        km_log(KM_LOG_ERROR, "%s", why);
}

static enum cli_exit report_failure(enum km_err err, char *ret_why)
{
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        if (failures[i].err != err)
            continue;
        explain(ret_why, "the cluster did not answer: %s; %s", km_err_text(err), failures[i].advice);
        return failures[i].code;
    }
    explain(ret_why, "the cluster could not be asked: %s", km_err_text(err));
    return CLI_FAILED;
}

static enum cli_exit report_refusal(const Kmw__Reply *reply, char *ret_why)
{
    char name[32];
    const char *advice = "";
    enum cli_exit code = CLI_REFUSED;
    snprintf(name, sizeof(name), "CKR 0x%lx", (unsigned long)reply->rv);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (refusals[i].rv == reply->rv) {
            snprintf(name, sizeof(name), "%s", refusals[i].name);
            advice = refusals[i].advice;
            code = refusals[i].code;
        }
    }
    explain(ret_why, "the cluster %s: %.300s (%s)%s", code == CLI_REFUSED ? "refused" : "could not",
            reply->reason[0] != '\0' ? reply->reason : "no reason given", name, advice);
    return code;
}

enum cli_exit cluster_ask(struct km_client *client, Kmw__Request *request, char *ret_why, Kmw__Reply **ret)
{
    Kmw__Reply *reply = NULL;
    enum km_err err = km_client_call(client, request, true /* retryable */, &reply);
    if (err != KM_OK)
        return report_failure(err, ret_why);
    if (reply->rv != CKR_OK) {
        enum cli_exit code = report_refusal(reply, ret_why);
        kmw__reply__free_unpacked(reply, NULL);
        return code;
    }
    *ret = reply;
    return CLI_OK;
}

enum cli_exit cluster_ask_status(struct km_client *client, Kmw__Reply **ret)
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__ClusterStatus status = KMW__CLUSTER_STATUS__INIT;
    Kmw__Reply *reply = NULL;
    request.op_case = KMW__REQUEST__OP_CLUSTER_STATUS;
    request.cluster_status = &status;
    enum cli_exit code = cluster_ask(client, &request, NULL, &reply);
    if (code != CLI_OK)
        return code;
    if (reply->result_case != KMW__REPLY__RESULT_CLUSTER_STATUS || reply->cluster_status == NULL) {
        km_log(KM_LOG_ERROR, "the server's answer is not the one to this question: is it another version?");
        kmw__reply__free_unpacked(reply, NULL);
        return CLI_FAILED;
    }
    *ret = reply;
    return CLI_OK;
}

static enum cli_exit ask_standing(struct km_client *client, cluster_standing_fn standing, const void *arg,
                                  enum cluster_standing *ret)
{
    Kmw__Reply *reply = NULL;
    enum cli_exit code = cluster_ask_status(client, &reply);
    if (code != CLI_OK)
        return code;
    *ret = standing(reply->cluster_status, arg);
    kmw__reply__free_unpacked(reply, NULL);
    return CLI_OK;
}

static time_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

enum cli_exit cluster_settle(struct km_client *client, Kmw__Request *request, unsigned deadline_s,
                             cluster_standing_fn standing, const void *arg)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
    const time_t end = now_s() + (time_t)deadline_s;
    enum cluster_standing now;
    for (;;) {
        char why[CLUSTER_WHY_LEN];
        Kmw__Reply *reply = NULL;
        enum cli_exit asked = cluster_ask(client, request, why, &reply);
        if (asked == CLI_OK) {
            kmw__reply__free_unpacked(reply, NULL);
            return CLI_OK;
        }
        enum cli_exit code = ask_standing(client, standing, arg, &now);
        if (code != CLI_OK)
            return code;
        if (now == CLUSTER_DONE)
            return CLI_OK;
        /* A refusal of what has begun only says that it is not done yet; of what has not, it is meant. */
        bool is_final = asked != CLI_UNREACHABLE && now != CLUSTER_PENDING;
        if (is_final || now == CLUSTER_IMPOSSIBLE || now_s() >= end) {
            km_log(KM_LOG_ERROR, "%s", why);
            return asked;
        }
        nanosleep(&pause, NULL);
    }
}

const Kmw__Server *cluster_find(const Kmw__ClusterStatusReply *status, uint64_t id)
{
    for (size_t i = 0; i < status->n_servers; i++) {
        if (status->servers[i]->id == id)
            return status->servers[i];
    }
    return NULL;
}
