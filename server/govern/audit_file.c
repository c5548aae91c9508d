/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines and files of the audit log. The hash of a record covers its whole line up to the hash itself, and so the hash
 * of the record before: who changes, drops or inserts one must rewrite all that follow, and the heads that Raft
 * committed do not fit any more.
 */
#include "audit_file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char hash_field[] = ",\"hash\":\"";
#define HASH_FIELD (sizeof(hash_field) - 1)
#define HEX (2 * KM_AUDIT_HASH_LEN)
#define TAIL (HASH_FIELD + HEX + 3) /* ,"hash":"...<64>..."}\n */

static void to_hex(const uint8_t *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
}

size_t km_audit_line(struct km_audit_chain *chain, const char *body, size_t body_len, char *line)
{
    char prev[HEX + 1] = {0};
    to_hex(chain->hash, sizeof(chain->hash), prev);
    int head = snprintf(line, KM_AUDIT_LINE_MAX, "{\"seq\":%" PRIu64 ",\"prev\":\"%s\",", chain->sequence + 1, prev);
    assert(head > 0 && (size_t)head + body_len + TAIL <= KM_AUDIT_LINE_MAX);
    size_t len = (size_t)head;
    memcpy(line + len, body, body_len);
    len += body_len;
    SHA256((const unsigned char *)line, len, chain->hash);
    chain->sequence++;
    memcpy(line + len, hash_field, HASH_FIELD);
    to_hex(chain->hash, sizeof(chain->hash), line + len + HASH_FIELD);
    memcpy(line + len + HASH_FIELD + HEX, "\"}\n", 3);
    return len + TAIL;
}

/* NULL, or what is wrong with `line` as the record after `chain`. */
static const char *check_line(const char *line, size_t len, const struct km_audit_chain *chain, bool is_first_known,
                              struct km_audit_chain *ret)
{
    char hex[HEX + 1] = {0};
    uint64_t sequence;
    int at = 0;
    if (len < TAIL || memcmp(line + len - 3, "\"}\n", 3) || memcmp(line + len - TAIL, hash_field, HASH_FIELD))
        return "not a whole record";
    if (sscanf(line, "{\"seq\":%" SCNu64 ",\"prev\":\"%64[0-9a-f]\",%n", &sequence, hex, &at) != 2 || at == 0)
        return "not a record";
    if (is_first_known && sequence != chain->sequence + 1)
        return "the number does not follow the one before";
    char expected[HEX + 1] = {0};
    to_hex(chain->hash, sizeof(chain->hash), expected);
    if (is_first_known && strcmp(hex, expected))
        return "the record before it is not the one that it names";
    ret->sequence = sequence;
    SHA256((const unsigned char *)line, len - TAIL, ret->hash);
    to_hex(ret->hash, sizeof(ret->hash), expected);
    if (memcmp(expected, line + len - 3 - HEX, HEX))
        return "its hash does not fit its content";
    return NULL;
}

bool km_audit_follow(FILE *file, struct km_audit_chain *chain, bool is_first_known, long *ret_good, char *ret_message,
                     size_t message_len)
{
    char line[KM_AUDIT_LINE_MAX + 1];
    *ret_good = 0;
    while (fgets(line, sizeof(line), file)) {
        struct km_audit_chain next;
        size_t len = strlen(line); /* a zero byte ends the line early, which is then not whole */
        const char *wrong = check_line(line, len, chain, is_first_known, &next);
        if (wrong) {
            snprintf(ret_message, message_len, "record %" PRIu64 ": %s", chain->sequence + 1, wrong);
            return false;
        }
        *chain = next;
        is_first_known = true;
        *ret_good += (long)len;
    }
    if (ferror(file)) {
        snprintf(ret_message, message_len, "cannot be read: %s", strerror(errno));
        return false;
    }
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum km_err km_audit_files(const char *dir, uint64_t **ret, size_t *ret_n)
{
    enum km_err err = KM_OK;
    uint64_t *files = NULL;
    size_t n = 0;
    DIR *d = opendir(dir);
    if (!d)
        return KM_ERR_IO;
    for (struct dirent *e; (e = readdir(d));) {
        uint64_t first;
        int end = 0;
        if (sscanf(e->d_name, "%20" SCNu64 ".jsonl%n", &first, &end) != 1 || end == 0 || e->d_name[end])
            continue;
        uint64_t *more = realloc(files, (n + 1) * sizeof(*files));
        if (!more) {
            err = KM_ERR_NOMEM;
            goto out;
        }
        files = more;
        files[n++] = first;
    }
    if (n > 0)
        qsort(files, n, sizeof(*files), by_number);
    *ret = files;
    *ret_n = n;
    files = NULL;
out:
    free(files);
    closedir(d);
    return err;
}

void km_audit_file_name(const char *dir, uint64_t first, char *ret, size_t ret_len)
{
    snprintf(ret, ret_len, "%s/%020" PRIu64 ".jsonl", dir, first);
}

enum km_err km_audit_verify(const char *dir, uint64_t *ret_sequence, uint8_t ret_hash[KM_AUDIT_HASH_LEN],
                            char *ret_message, size_t message_len)
{
    struct km_audit_chain chain = {0};
    uint64_t *files = NULL;
    size_t n = 0;
    FILE *file = NULL;
    char path[4096], why[256];
    long good;
    enum km_err err = km_audit_files(dir, &files, &n);
    if (err) {
        snprintf(ret_message, message_len, "%s: %s", dir, strerror(errno));
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        km_audit_file_name(dir, files[i], path, sizeof(path));
        file = fopen(path, "re");
        if (!file) {
            snprintf(ret_message, message_len, "%s: %s", path, strerror(errno));
            err = KM_ERR_IO;
            goto out;
        }
        bool is_ok = files[i] == chain.sequence + 1;
        snprintf(why, sizeof(why), "the records before it are missing");
        if (!is_ok || !km_audit_follow(file, &chain, true /* first known */, &good, why, sizeof(why))) {
            snprintf(ret_message, message_len, "%s: %s", path, why);
            err = KM_ERR_CORRUPT;
            goto out;
        }
        fclose(file);
        file = NULL;
    }
    *ret_sequence = chain.sequence;
    memcpy(ret_hash, chain.hash, sizeof(chain.hash));
out:
    if (file)
        fclose(file);
    free(files);
    return err;
}
