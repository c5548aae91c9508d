/* SPDX-License-Identifier: Apache-2.0
 *
 * keymootd: one key server. Reads its configuration, starts the server on the main thread's loop, and turns signals
 * into a clean stop or a reload. Everything that goes wrong at the start is one line that says what to do.
 */
#include "conf.h"
#include "dev.h"
#include "net/hangup.h"
#include "server.h"

#include "../common/log.h"
#include "../common/mech.h"

#include <config.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define STOP_MAX_S 20 /* a stop that takes longer ends in SIGALRM */

enum { EXIT_USAGE = 2, EXIT_CONF = 78 /* EX_CONFIG */ };

struct daemon {
    const char *conf_path;
    struct km_server_conf conf;
    struct km_server *server;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt, hangup;
    bool is_stopping;
    int exit_code;
};

static const char usage[] =
    "usage: keymootd --config FILE [--check | --init [--join]]\n"
    "       keymootd --dev [--dir DIR] [--port N]\n"
    "\n"
    "  --config FILE   runs the server that FILE (server.conf) describes\n"
    "  --check         only reads the configuration and says whether it is good\n"
    "  --init          makes the server's data folder: it founds the cluster together with the others\n"
    "                  that FILE names under [members], or, with --join, waits to be added to a running one\n"
    "  --dev           one server for trying and developing: loopback only, throw-away certificates and token,\n"
    "                  everything gone when it ends; --dir: in this new folder, --port: at this port\n"
    "  --version, --help\n"
    "\n"
    "Signals: TERM and INT stop cleanly, HUP reads certificates and log level again.\n"
    "Exit codes: 0 stopped, 1 failed, 2 wrong options, 70 the disk failed, 78 wrong configuration.\n";

static void on_stopped(void *arg, bool is_failed)
{
    struct daemon *daemon = arg;
    daemon->server = NULL;
    if (is_failed)
        daemon->exit_code = EXIT_FAILURE;
    uv_close((uv_handle_t *)&daemon->terminate, NULL);
    uv_close((uv_handle_t *)&daemon->interrupt, NULL);
    uv_close((uv_handle_t *)&daemon->hangup, NULL);
}

static void on_terminate(uv_signal_t *handle, int signal)
{
    struct daemon *daemon = handle->data;
    if (daemon->is_stopping)
        return;
    daemon->is_stopping = true;
    km_log(KM_LOG_INFO, "stopping (%s)", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    sd_notify(0, "STOPPING=1");
    alarm(STOP_MAX_S);
    if (daemon->server)
        km_server_stop(daemon->server);
}

/* The rest of the configuration stays as it was at the start; what cannot be taken over is said. */
static void on_hangup(uv_signal_t *handle, int signal)
{
    struct daemon *daemon = handle->data;
    char message[KM_SERVER_MESSAGE_MAX];
    struct km_server_conf conf;
    (void)signal;
    if (daemon->is_stopping || !daemon->server)
        return;
    sd_notify(0, "RELOADING=1");
    enum km_err err = km_server_conf_read(daemon->conf_path, &conf, message, sizeof(message));
    if (!err) {
        km_log_set_level((enum km_log_level)conf.log_level);
        km_server_conf_fini(&conf);
        err = km_server_reload(daemon->server, message, sizeof(message));
    }
    if (err)
        km_log(KM_LOG_ERROR, "reload: %s; going on as before", message);
    else
        km_log(KM_LOG_INFO, "certificates and log level were read again");
    sd_notify(0, "READY=1");
}

static void watch(struct daemon *daemon, uv_signal_t *handle, uv_signal_cb cb, int signal)
{
    uv_signal_init(&daemon->loop, handle);
    handle->data = daemon;
    uv_signal_start(handle, cb, signal);
}

/* Keys are plaintext in here while they are used: no core file, no debugger or /proc/PID/mem of another user's process. */
static void hide_memory(void)
{
    static const struct rlimit none = {0, 0};
    if (prctl(PR_SET_DUMPABLE, 0) || setrlimit(RLIMIT_CORE, &none))
        fprintf(stderr, "keymootd: this process cannot be kept from leaving a core file\n");
}

static void raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
}

static int run(struct daemon *daemon)
{
    char message[KM_SERVER_MESSAGE_MAX] = "";
    const struct km_server_conf *conf = &daemon->conf;
    enum km_err err = km_log_open("keymootd", conf->log, (enum km_log_level)conf->log_level);
    if (err) {
        fprintf(stderr, "keymootd: %s: log: %s\n", daemon->conf_path, km_err_text(err));
        return EXIT_CONF;
    }
    raise_limits();
    uv_loop_init(&daemon->loop);
    err = km_server_start(conf, &daemon->loop, false /* first start */, on_stopped, daemon, &daemon->server, message,
                          sizeof(message));
    if (err) {
        km_log(KM_LOG_ERROR, "cannot start: %s", message);
        if (strcmp(conf->log, "stderr"))
            fprintf(stderr, "keymootd: cannot start: %s\n", message);
        return err == KM_ERR_CONF ? EXIT_CONF : EXIT_FAILURE;
    }
    watch(daemon, &daemon->terminate, on_terminate, SIGTERM);
    watch(daemon, &daemon->interrupt, on_terminate, SIGINT);
    watch(daemon, &daemon->hangup, on_hangup, SIGHUP);
    km_log(KM_LOG_INFO, "server %u (%s) of cluster %s listens at %s, for other servers at %s", conf->id, conf->name,
           conf->cluster, conf->address, conf->peer_address);
    sd_notify(0, "READY=1");
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    uv_loop_close(&daemon->loop);
    km_log(KM_LOG_INFO, "stopped");
    return daemon->exit_code;
}

static int init(struct daemon *daemon, bool is_join)
{
    char message[KM_SERVER_MESSAGE_MAX] = "";
    uv_loop_init(&daemon->loop);
    enum km_err err = km_server_provision(&daemon->conf, is_join, &daemon->loop, message, sizeof(message));
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    uv_loop_close(&daemon->loop);
    if (err) {
        fprintf(stderr, "keymootd: %s\n", message);
        return err == KM_ERR_CONF ? EXIT_CONF : EXIT_FAILURE;
    }
    if (is_join)
        printf("%s: made for server %u (%s); start it, then run `keymoot cluster add`\n", daemon->conf.data_dir,
               daemon->conf.id, daemon->conf.name);
    else
        printf("%s: made for server %u (%s), one of the %zu that found cluster %s\n", daemon->conf.data_dir,
               daemon->conf.id, daemon->conf.name, daemon->conf.n_members, daemon->conf.cluster);
    return EXIT_SUCCESS;
}

static int misused(const char *why)
{
    fprintf(stderr, "keymootd: %s\n%s", why, usage);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    enum { CONFIG = 1, CHECK, INIT, JOIN, DEV, DIR, PORT, VERSION_, HELP };
    static const struct option options[] = {
        {"config", required_argument, NULL, CONFIG},
        {"check", no_argument, NULL, CHECK},
        {"init", no_argument, NULL, INIT},
        {"join", no_argument, NULL, JOIN},
        {"dev", no_argument, NULL, DEV},
        {"dir", required_argument, NULL, DIR},
        {"port", required_argument, NULL, PORT},
        {"version", no_argument, NULL, VERSION_},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    static struct daemon daemon;
    struct km_dev_options dev = {0};
    bool is_check = false, is_init = false, is_join = false, is_dev = false;
    char message[KM_SERVER_MESSAGE_MAX] = "", *end;
    hide_memory();
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case CONFIG:
            daemon.conf_path = optarg;
            break;
        case CHECK:
            is_check = true;
            break;
        case INIT:
            is_init = true;
            break;
        case JOIN:
            is_join = true;
            break;
        case DEV:
            is_dev = true;
            break;
        case DIR:
            dev.dir = optarg;
            break;
        case PORT:
            dev.port = (unsigned)strtoul(optarg, &end, 10);
            if (*end || dev.port < 1 || dev.port > 65535)
                return misused("--port: expected a number from 1 to 65535");
            break;
        case VERSION_:
            puts(PACKAGE_STRING);
            return EXIT_SUCCESS;
        case HELP:
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc)
        return misused("no arguments but options");
    if (is_dev)
        return daemon.conf_path || is_init || is_join || is_check
                   ? misused("--dev makes its own configuration and joins nothing")
                   : km_dev_run(&dev);
    if (!daemon.conf_path || dev.dir || dev.port)
        return misused(daemon.conf_path ? "--dir and --port are for --dev" : "--config FILE or --dev is needed");
    if ((is_join && !is_init) || (is_check && is_init))
        return misused(is_check ? "--check and --init do not go together" : "--join is for --init");
    enum km_err err = km_server_conf_read(daemon.conf_path, &daemon.conf, message, sizeof(message));
    if (err) {
        fprintf(stderr, "keymootd: %s\n", message);
        return EXIT_CONF;
    }
    if (daemon.conf.sha1_signatures)
        km_mech_allow_sha1_signatures();
    int code = EXIT_SUCCESS;
    if (is_check)
        printf("%s: good\n", daemon.conf_path);
    else
        code = is_init ? init(&daemon, is_join) : run(&daemon);
    km_server_conf_fini(&daemon.conf);
    if (km_hangup_is_stuck()) { /* nng still runs: nothing of ours may be taken down beneath it */
        fflush(NULL);
        _exit(code);
    }
    return code;
}
