/* SPDX-License-Identifier: Apache-2.0
 *
 * The development server: makes a folder, certificates, configuration files, a data folder and a token, runs, and
 * removes it all. Main thread, but for the making of the token.
 */
#define _GNU_SOURCE /* nftw */
#include "dev.h"

#include "../common/log.h"
#include "server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_MAX_S 20

struct dev {
    char dir[2048], conf_path[PATH_MAX];
    unsigned port, peer_port;
    char so_pin[KM_DEV_PIN_LEN + 1], pin[KM_DEV_PIN_LEN + 1];
    uv_loop_t loop;
    uv_signal_t terminate, interrupt;
    uv_work_t making;
    struct km_server_conf conf;
    struct km_server *server;
    enum km_err token_err;
    char message[KM_SERVER_MESSAGE_MAX];
    bool has_token, is_stopping, is_failed;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "keymootd --dev: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

/* --- the folder -----------------------------------------------------------------------------------------------------
 */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Everything in it was made by this process. */
static void remove_dir(struct dev *dev)
{
    if (nftw(dev->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS))
        fail(dev->dir, "could not be removed wholly");
}

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;
    if (!dir)
        return false;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n == 2; /* . and .. */
}

static int make_dir(struct dev *dev, const char *asked)
{
    const char *temporary = getenv("TMPDIR");
    if (!asked) {
        snprintf(dev->dir, sizeof(dev->dir), "%s/keymoot-dev.XXXXXX", temporary && *temporary ? temporary : "/tmp");
        return mkdtemp(dev->dir) ? 0 : fail(dev->dir, strerror(errno));
    }
    if (mkdir(asked, 0700) && errno != EEXIST)
        return fail(asked, strerror(errno));
    if (!is_empty(asked))
        return fail(asked, "is not empty; a development server works in a new folder only, never in one with data");
    char full[PATH_MAX];
    if (!realpath(asked, full) || strlen(full) >= sizeof(dev->dir))
        return fail(asked, "path too long");
    strcpy(dev->dir, full);
    return 0;
}

/* A port of the loopback that is free now. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_ok = fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 &&
                 getsockname(fd, (struct sockaddr *)&address, &len) == 0;
    if (fd >= 0)
        close(fd);
    return is_ok ? ntohs(address.sin_port) : 0;
}

static bool write_file(struct dev *dev, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool write_file(struct dev *dev, const char *name, const char *format, ...)
{
    char path[PATH_MAX];
    va_list args;
    snprintf(path, sizeof(path), "%s/%s", dev->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    va_start(args, format);
    bool is_ok = vdprintf(fd, format, args) > 0;
    va_end(args);
    return close(fd) == 0 && is_ok;
}

static bool write_client(struct dev *dev, const char *name, const char *who)
{
    return write_file(dev, name,
                      "# keymootd --dev made this; it goes when the server ends.\ncluster = " KM_DEV_CLUSTER
                      "\nzone = dev\n"
                      "certificate = %s.crt\nkey = %s.key\nca = ca.crt\n[servers]\ndev = dev 127.0.0.1:%u\n",
                      who, who, dev->port);
}

static bool write_all(struct dev *dev)
{
    uint8_t master[32], pins[2][KM_DEV_PIN_LEN];
    char hex[65];
    if (RAND_priv_bytes(master, sizeof(master)) != 1 || RAND_bytes(pins[0], sizeof(pins)) != 1)
        return false;
    for (size_t i = 0; i < sizeof(master); i++)
        snprintf(hex + 2 * i, 3, "%02x", master[i]);
    for (size_t i = 0; i < KM_DEV_PIN_LEN; i++) {
        dev->so_pin[i] = (char)('0' + pins[0][i] % 10);
        dev->pin[i] = (char)('0' + pins[1][i] % 10);
    }
    bool is_ok = write_file(dev, "master.key", "%s\n", hex) && write_client(dev, "client.conf", "app") &&
                 write_client(dev, "operator.conf", "ops") &&
                 write_file(dev, "server.conf",
                            "cluster = " KM_DEV_CLUSTER
                            "\nname = dev\nid = 1\nzone = dev\naddress = 127.0.0.1:%u\npeer_address = 127.0.0.1:%u\n"
                            "data_dir = data\ncertificate = dev.crt\nkey = dev.key\nca = ca.crt\nmaster_key = "
                            "file:%s/master.key\nlog_level = warn\n"
                            "[members]\n1 = dev dev 127.0.0.1:%u 127.0.0.1:%u\n[access]\napp = create, token:*\n",
                            dev->port, dev->peer_port, dev->dir, dev->port, dev->peer_port);
    km_wipe(master, sizeof(master));
    km_wipe(hex, sizeof(hex));
    snprintf(dev->conf_path, sizeof(dev->conf_path), "%s/server.conf", dev->dir);
    return is_ok;
}

/* --- running ---------------------------------------------------------------------------------------------------------
 */

/* Beside the build's programs, or where `make install` puts it. */
static void find_module(char ret[PATH_MAX])
{
    static const char *const places[] = {".libs/keymoot-pkcs11.so", "../.libs/keymoot-pkcs11.so",
                                         "../lib/keymoot-pkcs11.so", "../lib/keymoot/keymoot-pkcs11.so",
                                         "../lib/pkcs11/keymoot-pkcs11.so"};
    char self[PATH_MAX], path[2 * PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    const char *folder = dirname(self);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, places[i]);
        if (realpath(path, ret))
            return;
    }
    strcpy(ret, "keymoot-pkcs11.so");
}

static void print_banner(struct dev *dev)
{
    char module[PATH_MAX];
    find_module(module);
    printf("# keymoot development server, for development only: token, keys and certificates go when it ends.\n"
           "# token \"dev\", user PIN %s, SO PIN %s, at 127.0.0.1:%u\n"
           "export KEYMOOT_CONF=%s/client.conf\n"
           "export KEYMOOT_MODULE=%s\n",
           dev->pin, dev->so_pin, dev->port, dev->dir, module);
    fflush(stdout);
}

static void stop(struct dev *dev)
{
    dev->is_stopping = true;
    if (dev->server && dev->has_token) /* the maker of the token uses the service; on_token stops afterwards */
        km_server_stop(dev->server);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    (void)signal;
    alarm(STOP_MAX_S);
    stop(handle->data);
}

static void on_stopped(void *arg, bool is_failed)
{
    struct dev *dev = arg;
    dev->server = NULL;
    dev->is_failed |= is_failed;
    uv_close((uv_handle_t *)&dev->terminate, NULL);
    uv_close((uv_handle_t *)&dev->interrupt, NULL);
}

static void make_token(uv_work_t *work)
{
    struct dev *dev = work->data;
    dev->token_err =
        km_dev_token(km_server_service(dev->server), dev->so_pin, dev->pin, dev->message, sizeof(dev->message));
}

static void on_token(uv_work_t *work, int status)
{
    struct dev *dev = work->data;
    (void)status;
    dev->has_token = true;
    if (dev->token_err) {
        fail("the token cannot be made", dev->message);
        dev->is_failed = true;
        stop(dev);
    } else if (dev->is_stopping) {
        stop(dev);
    } else {
        print_banner(dev);
    }
}

static void watch(struct dev *dev, uv_signal_t *handle, int signal)
{
    uv_signal_init(&dev->loop, handle);
    handle->data = dev;
    uv_signal_start(handle, on_signal, signal);
}

static int serve(struct dev *dev)
{
    enum km_err err = km_server_conf_read(dev->conf_path, &dev->conf, dev->message, sizeof(dev->message));
    if (err)
        return fail("configuration", dev->message);
    dev->conf.model = "DEV";
    if (km_log_open("keymootd", "stderr", KM_LOG_WARN))
        return fail("log", "cannot be opened");
    uv_loop_init(&dev->loop);
    err = km_server_provision(&dev->conf, false /* join */, &dev->loop, dev->message, sizeof(dev->message));
    if (!err)
        err = km_server_start(&dev->conf, &dev->loop, true /* first start */, on_stopped, dev, &dev->server,
                              dev->message, sizeof(dev->message));
    if (!err) {
        watch(dev, &dev->terminate, SIGTERM);
        watch(dev, &dev->interrupt, SIGINT);
        dev->making.data = dev;
        uv_queue_work(&dev->loop, &dev->making, make_token, on_token);
        uv_run(&dev->loop, UV_RUN_DEFAULT);
    }
    uv_run(&dev->loop, UV_RUN_DEFAULT);
    uv_loop_close(&dev->loop);
    km_server_conf_fini(&dev->conf);
    if (err)
        return fail("cannot start", dev->message);
    return dev->is_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int km_dev_run(const struct km_dev_options *options)
{
    static struct dev dev;
    static const char *const names[] = {"server/dev", "client/app", "operator/ops"};
    signal(SIGPIPE, SIG_IGN);
    dev.port = options->port ? options->port : free_port();
    dev.peer_port = free_port();
    if (!dev.port || !dev.peer_port)
        return fail("127.0.0.1", "no free port");
    if (make_dir(&dev, options->dir))
        return EXIT_FAILURE;
    int code;
    if (km_dev_pki(dev.dir, names, sizeof(names) / sizeof(names[0])))
        code = fail(dev.dir, "certificates cannot be made");
    else if (!write_all(&dev))
        code = fail(dev.dir, strerror(errno));
    else
        code = serve(&dev);
    km_wipe(dev.pin, sizeof(dev.pin));
    km_wipe(dev.so_pin, sizeof(dev.so_pin));
    remove_dir(&dev);
    return code;
}
