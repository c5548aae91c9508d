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
#define ONE_DEADLINE_MS 1000 /* for a server that is asked although another one has answered */

static const struct {
    CK_RV rv;
    enum cli_exit code;
    const char *name, *advice;
} refusals[] = {
    {CKR_FUNCTION_REJECTED, CLI_REFUSED, "CKR_FUNCTION_REJECTED",
     "; use an identity that may (`keymoot pki issue --role operator` makes an operator's)"},
    {CKR_ACTION_PROHIBITED, CLI_REFUSED, "CKR_ACTION_PROHIBITED", ""},
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

static enum cli_exit read_conf(const char *config, struct km_client_conf *ret)
{
    char message[MESSAGE_LEN] = "";
    if (km_client_conf_read(find_config(config), ret, message, sizeof(message)) == KM_OK)
        return CLI_OK;
    km_log(KM_LOG_ERROR, "%s%s", message, config != NULL ? "" : "; --config FILE or KEYMOOT_CONF names another file");
    return CLI_CONF;
}

/* Takes `conf`, also on failure. */
static enum cli_exit open_conf(const char *config, struct km_client_conf *conf, struct km_client **ret)
{
    char message[MESSAGE_LEN] = "";
    if (km_client_new(conf, ret, message, sizeof(message)) == KM_OK)
        return CLI_OK;
    km_log(KM_LOG_ERROR, "%s: %s", find_config(config), message);
    km_client_conf_fini(conf);
    return CLI_CONF;
}

enum cli_exit cluster_open(const char *config, unsigned deadline_s, struct km_client **ret)
{
    struct km_client_conf conf;
    enum cli_exit code = read_conf(config, &conf);
    if (code != CLI_OK)
        return code;
    if (deadline_s != 0)
        conf.deadline_ms = conf.attempt_deadline_ms = deadline_s * 1000;
    return open_conf(config, &conf, ret);
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

static enum cli_exit ask_status_once(struct km_client *client, char *ret_why, Kmw__Reply **ret)
{
    Kmw__Request request = KMW__REQUEST__INIT;
    Kmw__ClusterStatus status = KMW__CLUSTER_STATUS__INIT;
    Kmw__Reply *reply = NULL;
    request.op_case = KMW__REQUEST__OP_CLUSTER_STATUS;
    request.cluster_status = &status;
    enum cli_exit code = cluster_ask(client, &request, ret_why, &reply);
    if (code != CLI_OK)
        return code;
    if (reply->result_case != KMW__REPLY__RESULT_CLUSTER_STATUS || reply->cluster_status == NULL) {
        explain(ret_why, "the server's answer is not the one to this question: is it another version?");
        kmw__reply__free_unpacked(reply, NULL);
        return CLI_FAILED;
    }
    *ret = reply;
    return CLI_OK;
}

/* Who knows more: the leader hears from everybody; a server that is not fresh may have been removed long ago. */
static int rank(const Kmw__ClusterStatusReply *status)
{
    return !status->is_fresh ? 0 : status->answered_by != status->leader ? 1 : 2;
}

/* Asks server `i` of the configuration alone, and keeps its answer if it is worth more. */
static void ask_one(const struct km_client_conf *template, const char *config, size_t i, Kmw__Reply **best)
{
    struct km_client_conf conf;
    struct km_client *client = NULL;
    Kmw__Reply *reply = NULL;
    char why[CLUSTER_WHY_LEN];
    if (read_conf(config, &conf) != CLI_OK)
        return;
    conf.servers[0] = template->servers[i];
    conf.n_servers = 1;
    conf.deadline_ms = conf.connect_deadline_ms = conf.attempt_deadline_ms = ONE_DEADLINE_MS;
    if (open_conf(config, &conf, &client) != CLI_OK)
        return;
    if (ask_status_once(client, why, &reply) == CLI_OK && rank(reply->cluster_status) > rank((*best)->cluster_status)) {
        Kmw__Reply *worse = *best;
        *best = reply;
        reply = worse;
    }
    if (reply != NULL)
        kmw__reply__free_unpacked(reply, NULL);
    km_client_free(client);
}

enum cli_exit cluster_ask_status(struct km_client *client, const char *config, Kmw__Reply **ret)
{
    struct km_client_conf conf;
    Kmw__Reply *best = NULL;
    enum cli_exit code = ask_status_once(client, NULL, &best);
    if (code != CLI_OK)
        return code;
    if (rank(best->cluster_status) < 2 && read_conf(config, &conf) == CLI_OK) {
        for (size_t i = 0; i < conf.n_servers && rank(best->cluster_status) < 2; i++) {
            const Kmw__Server *leader = cluster_find(best->cluster_status, best->cluster_status->leader);
            bool is_leader = leader != NULL && strcmp(leader->name, conf.servers[i].name) == 0;
            if (is_leader || rank(best->cluster_status) == 0)
                ask_one(&conf, config, i, &best);
        }
        km_client_conf_fini(&conf);
    }
    *ret = best;
    return CLI_OK;
}

static enum cli_exit ask_standing(struct km_client *client, const char *config, cluster_standing_fn standing,
                                  const void *arg, enum cluster_standing *ret)
{
    Kmw__Reply *reply = NULL;
    enum cli_exit code = cluster_ask_status(client, config, &reply);
    if (code != CLI_OK)
        return code;
    *ret = reply->cluster_status->is_fresh ? standing(reply->cluster_status, arg) : CLUSTER_PENDING;
    kmw__reply__free_unpacked(reply, NULL);
    return CLI_OK;
}

static time_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

enum cli_exit cluster_settle(struct km_client *client, const char *config, Kmw__Request *request, unsigned deadline_s,
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
        enum cli_exit code = ask_standing(client, config, standing, arg, &now);
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
