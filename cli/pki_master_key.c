/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot pki master-key: 32 random bytes as hexadecimal digits, under which the built-in back end seals every key.
 */
#include "cli.h"
#include "file.h"

#include "../common/log.h"
#include "../common/secret.h"

#include <openssl/rand.h>
#include <string.h>

#define MASTER_KEY_LEN 32

static enum km_err write_key(const char *path)
{
    static const char digits[] = "0123456789abcdef";
    struct km_secret key = KM_SECRET_EMPTY, text = KM_SECRET_EMPTY;
    enum km_err err;
    if ((err = km_secret_new(&key, MASTER_KEY_LEN)) != KM_OK ||
        (err = km_secret_new(&text, 2 * MASTER_KEY_LEN + 1)) != KM_OK) {
        km_log(KM_LOG_ERROR, "%s: is there locked memory left (ulimit -l)?", km_err_text(err));
        goto out;
    }
    if (RAND_priv_bytes(key.data, MASTER_KEY_LEN) != 1) {
        km_log(KM_LOG_ERROR, "OpenSSL gives no random bytes");
        err = KM_ERR_CRYPTO;
        goto out;
    }
    for (size_t i = 0; i < MASTER_KEY_LEN; i++) {
        text.data[2 * i] = (uint8_t)digits[key.data[i] >> 4];
        text.data[2 * i + 1] = (uint8_t)digits[key.data[i] & 15];
    }
    text.data[2 * MASTER_KEY_LEN] = '\n';
    err = cli_file_write(path, 0600, text.data, text.len, false /* forced */);
out:
    km_secret_free(&key);
    km_secret_free(&text);
    return err;
}

enum cli_exit cli_pki_master_key(const struct cli_command *self, int argc, char **argv)
{
    const char *out = NULL;
    const struct cli_option options[] = {
        {"out", CLI_TEXT, &out, "FILE", .help = "file to write; an old one is never replaced", .is_required = true},
        {0},
    };
    const struct cli_usage usage = {options,
                                    "All servers of a cluster have the same one (server.conf: master_key = "
                                    "file:/path). Whoever has it and a server's data\n"
                                    "has the keys; whoever loses it has lost them.",
                                    "--out /etc/keymoot/master.key"};
    enum cli_exit code = cli_parse(self, &usage, argc, argv);
    if (code != CLI_GO)
        return code;
    /* There is no --force: replacing a master key in use would lose every key that it sealed. */
    if (write_key(out) != KM_OK)
        return CLI_FAILED;
    printf("master key: %s (keep it secret, and a copy of it in a safe place)\n", out);
    return CLI_OK;
}
