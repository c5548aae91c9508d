/* SPDX-License-Identifier: Apache-2.0
 *
 * keymoot-bench: a PKCS#11 load generator for any module. Threads call one operation for a given time, each on its own
 * session; the program prints latency, throughput, CPU time, errors and the longest stall as one line of JSON, so that
 * scripts can put two modules beside each other. It knows nothing of keymoot.
 *
 * Errors are counted by CK_RV, never hidden; a thread goes on after an error, as a server would.
 */
#include "../../common/cryptoki.h"

#include <dlfcn.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 256, SAMPLES_MAX = 1 << 20, RVS_MAX = 8, GCM_LEN = 16384 };

static struct {
    const char *module, *token, *pin, *op, *name, *acked, *verify;
    unsigned threads;
    double seconds;
    bool setup;
} opt = {.op = "ecdsa", .threads = 1, .seconds = 3};

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static atomic_bool stop;
static atomic_uint_fast64_t total_calls;

struct op;
struct worker {
    pthread_t thread;
    const struct op *op;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    uint32_t *samples; /* ns / 10 */
    size_t n_samples;
    uint64_t calls, errors;
    uint64_t longest_ns;
    CK_RV rvs[RVS_MAX];
    uint64_t rv_counts[RVS_MAX];
    CK_BYTE buffer[GCM_LEN + 64];
};

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void die(const char *what, CK_RV rv)
{
    fprintf(stderr, "keymoot-bench: %s: CKR 0x%lx\n", what, rv);
    exit(1);
}

/* --- operations ------------------------------------------------------------------------------------------------ */

static CK_BYTE digest[32] = {1, 2, 3, 4, 5, 6, 7, 8};
static CK_BYTE digest_info[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                  0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20, 1};

static CK_RV sign(struct worker *w, CK_MECHANISM_TYPE type, CK_BYTE *data, CK_ULONG len)
{
    CK_MECHANISM mech = {type, NULL, 0};
    CK_ULONG out = sizeof(w->buffer);
    CK_RV rv = p11->C_SignInit(w->session, &mech, w->key);
    return rv == CKR_OK ? p11->C_Sign(w->session, data, len, w->buffer, &out) : rv;
}

static CK_RV run_ecdsa(struct worker *w)
{
    return sign(w, CKM_ECDSA, digest, sizeof(digest));
}

static CK_RV run_rsa(struct worker *w)
{
    return sign(w, CKM_RSA_PKCS, digest_info, sizeof(digest_info));
}

static CK_RV run_gcm(struct worker *w)
{
    static CK_BYTE plain[GCM_LEN];
    CK_BYTE iv[12];
    CK_GCM_PARAMS params = {iv, sizeof(iv), sizeof(iv) * 8, NULL, 0, 128};
    CK_MECHANISM mech = {CKM_AES_GCM, &params, sizeof(params)};
    CK_ULONG out = sizeof(w->buffer);
    memcpy(iv, &w->calls, 8);
    memcpy(iv + 8, &w->session, 4);
    CK_RV rv = p11->C_EncryptInit(w->session, &mech, w->key);
    return rv == CKR_OK ? p11->C_Encrypt(w->session, plain, sizeof(plain), w->buffer, &out) : rv;
}

/* A change: makes and destroys an AES key on the token. */
static CK_RV run_change(struct worker *w)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32;
    CK_MECHANISM mech = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE t[] = {{CKA_TOKEN, &yes, 1}, {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_SENSITIVE, &yes, 1}};
    CK_OBJECT_HANDLE key;
    CK_RV rv = p11->C_GenerateKey(w->session, &mech, t, 3, &key);
    return rv == CKR_OK ? p11->C_DestroyObject(w->session, key) : rv;
}

/* A change that stays: makes an AES key with a label of its own and, once it is acknowledged, writes the label to --acked. */
static FILE *acked;
static CK_RV run_keep(struct worker *w)
{
    char label[64];
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32;
    CK_MECHANISM mech = {CKM_AES_KEY_GEN, NULL, 0};
    int n = snprintf(label, sizeof(label), "keep-%ld-%lx-%" PRIu64, (long)getpid(), w->session, w->calls);
    CK_ATTRIBUTE t[] = {{CKA_TOKEN, &yes, 1}, {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_SENSITIVE, &yes, 1}, {CKA_LABEL, label, (CK_ULONG)n}};
    CK_OBJECT_HANDLE key;
    CK_RV rv = p11->C_GenerateKey(w->session, &mech, t, 4, &key);
    if (acked && fprintf(acked, "%s %lx\n", label, rv) < 0)
        die("writing the acknowledgements", CKR_GENERAL_ERROR);
    return rv;
}

/* Counts the keys that stand under each label of --verify: exactly one where the call was acknowledged, one or none where it was not. */
static int verify(CK_SESSION_HANDLE session)
{
    FILE *in = fopen(opt.verify, "r");
    char label[64];
    CK_RV answered;
    unsigned long n_acked = 0, lost = 0, doubled = 0;
    if (!in) {
        perror(opt.verify);
        return 1;
    }
    while (fscanf(in, "%63s %lx", label, &answered) == 2) {
        CK_ATTRIBUTE t = {CKA_LABEL, label, strlen(label)};
        CK_OBJECT_HANDLE found[4];
        CK_ULONG n = 0;
        CK_RV rv = p11->C_FindObjectsInit(session, &t, 1);
        if (rv != CKR_OK || (rv = p11->C_FindObjects(session, found, 4, &n)) != CKR_OK)
            die("C_FindObjects", rv);
        p11->C_FindObjectsFinal(session);
        n_acked += answered == CKR_OK;
        lost += answered == CKR_OK && n == 0;
        doubled += n > 1;
    }
    fclose(in);
    printf("{\"acknowledged\":%lu,\"lost\":%lu,\"doubled\":%lu}\n", n_acked, lost, doubled);
    return lost || doubled || !n_acked;
}

static CK_RV find_key(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label, CK_OBJECT_HANDLE *ret);

static CK_RV run_find(struct worker *w)
{
    return find_key(w->session, CKO_PRIVATE_KEY, "bench-ecdsa", &w->key);
}

static CK_RV run_random(struct worker *w)
{
    return p11->C_GenerateRandom(w->session, w->buffer, 32);
}

/* C_Initialize + login + find, as a short-lived process pays it. One thread only. */
static CK_RV run_start(struct worker *w)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_RV rv;
    p11->C_Finalize(NULL);
    if ((rv = p11->C_Initialize(&args)) != CKR_OK ||
        (rv = p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &w->session)) != CKR_OK ||
        (rv = p11->C_Login(w->session, CKU_USER, (CK_BYTE *)opt.pin, strlen(opt.pin))) != CKR_OK)
        return rv;
    return find_key(w->session, CKO_PRIVATE_KEY, "bench-ecdsa", &w->key);
}

static const struct op {
    const char *name;
    CK_RV (*run)(struct worker *w);
    const char *key; /* label of the key it works with; NULL: none */
    CK_OBJECT_CLASS class;
    bool is_rw;
} ops[] = {
    {"ecdsa", run_ecdsa, "bench-ecdsa", CKO_PRIVATE_KEY, false}, {"rsa", run_rsa, "bench-rsa", CKO_PRIVATE_KEY, false},
    {"gcm", run_gcm, "bench-aes", CKO_SECRET_KEY, false},        {"change", run_change, NULL, 0, true},
    {"keep", run_keep, NULL, 0, true},
    {"find", run_find, NULL, 0, false},                          {"random", run_random, NULL, 0, false},
    {"start", run_start, NULL, 0, false},
};

/* --- token ----------------------------------------------------------------------------------------------------- */

static void find_slot(void)
{
    CK_ULONG n = 0;
    CK_RV rv = p11->C_GetSlotList(CK_TRUE, NULL, &n);
    CK_SLOT_ID *slots = calloc(n + 16, sizeof(*slots));
    n += 16;
    if (rv != CKR_OK || (rv = p11->C_GetSlotList(CK_TRUE, slots, &n)) != CKR_OK)
        die("C_GetSlotList", rv);
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;
        size_t len = strlen(opt.token);
        if (p11->C_GetTokenInfo(slots[i], &info) != CKR_OK || len > sizeof(info.label) || memcmp(info.label, opt.token, len))
            continue;
        while (len < sizeof(info.label) && info.label[len] == ' ')
            len++;
        if (len == sizeof(info.label)) {
            slot = slots[i];
            free(slots);
            return;
        }
    }
    fprintf(stderr, "keymoot-bench: no token labelled '%s' in %s\n", opt.token, opt.module);
    exit(1);
}

static CK_RV find_key(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label, CK_OBJECT_HANDLE *ret)
{
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, (void *)label, strlen(label)}};
    CK_ULONG n = 0;
    CK_RV rv = p11->C_FindObjectsInit(session, t, 2);
    if (rv != CKR_OK)
        return rv;
    rv = p11->C_FindObjects(session, ret, 1, &n);
    p11->C_FindObjectsFinal(session);
    return rv != CKR_OK ? rv : n == 1 ? CKR_OK : CKR_KEY_HANDLE_INVALID;
}

/* Makes the keys that the operations use, where they are missing. */
static void make_keys(void)
{
    CK_SESSION_HANDLE s;
    CK_OBJECT_HANDLE h, h2;
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG bits = 2048, aes_len = 32;
    CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_BYTE id_ec[] = {0xbe, 1}, id_rsa[] = {0xbe, 2}, id_aes[] = {0xbe, 3};
    CK_MECHANISM ec = {CKM_EC_KEY_PAIR_GEN, NULL, 0}, rsa = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0}, aes = {CKM_AES_KEY_GEN, NULL, 0};
    CK_RV rv = p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s);
    if (rv != CKR_OK)
        die("C_OpenSession", rv);
    if (find_key(s, CKO_PRIVATE_KEY, "bench-ecdsa", &h) != CKR_OK) {
        CK_ATTRIBUTE pub[] = {{CKA_TOKEN, &yes, 1}, {CKA_EC_PARAMS, p256, sizeof(p256)}, {CKA_VERIFY, &yes, 1}, {CKA_LABEL, "bench-ecdsa", 11}, {CKA_ID, id_ec, 2}};
        CK_ATTRIBUTE priv[] = {{CKA_TOKEN, &yes, 1}, {CKA_SIGN, &yes, 1}, {CKA_SENSITIVE, &yes, 1}, {CKA_PRIVATE, &yes, 1}, {CKA_LABEL, "bench-ecdsa", 11}, {CKA_ID, id_ec, 2}};
        if ((rv = p11->C_GenerateKeyPair(s, &ec, pub, 5, priv, 6, &h2, &h)) != CKR_OK)
            die("generating the P-256 key pair", rv);
    }
    if (find_key(s, CKO_PRIVATE_KEY, "bench-rsa", &h) != CKR_OK) {
        CK_BYTE e[] = {1, 0, 1};
        CK_ATTRIBUTE pub[] = {{CKA_TOKEN, &yes, 1}, {CKA_MODULUS_BITS, &bits, sizeof(bits)}, {CKA_PUBLIC_EXPONENT, e, 3}, {CKA_VERIFY, &yes, 1}, {CKA_LABEL, "bench-rsa", 9}, {CKA_ID, id_rsa, 2}};
        CK_ATTRIBUTE priv[] = {{CKA_TOKEN, &yes, 1}, {CKA_SIGN, &yes, 1}, {CKA_SENSITIVE, &yes, 1}, {CKA_PRIVATE, &yes, 1}, {CKA_LABEL, "bench-rsa", 9}, {CKA_ID, id_rsa, 2}};
        if ((rv = p11->C_GenerateKeyPair(s, &rsa, pub, 6, priv, 6, &h2, &h)) != CKR_OK)
            die("generating the RSA-2048 key pair", rv);
    }
    if (find_key(s, CKO_SECRET_KEY, "bench-aes", &h) != CKR_OK) {
        CK_ATTRIBUTE t[] = {{CKA_TOKEN, &yes, 1}, {CKA_VALUE_LEN, &aes_len, sizeof(aes_len)}, {CKA_ENCRYPT, &yes, 1}, {CKA_DECRYPT, &yes, 1}, {CKA_SENSITIVE, &yes, 1}, {CKA_LABEL, "bench-aes", 9}, {CKA_ID, id_aes, 2}};
        if ((rv = p11->C_GenerateKey(s, &aes, t, 7, &h)) != CKR_OK)
            die("generating the AES key", rv);
    }
    p11->C_CloseSession(s);
}

/* --- load ------------------------------------------------------------------------------------------------------ */

static void count_error(struct worker *w, CK_RV rv)
{
    w->errors++;
    for (int i = 0; i < RVS_MAX; i++) {
        if (w->rv_counts[i] == 0)
            w->rvs[i] = rv;
        if (w->rvs[i] == rv) {
            w->rv_counts[i]++;
            return;
        }
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t start = now_ns();
        CK_RV rv = w->op->run(w);
        uint64_t took = now_ns() - start;
        if (rv != CKR_OK)
            count_error(w, rv);
        if (took > w->longest_ns)
            w->longest_ns = took;
        w->samples[w->n_samples++ % SAMPLES_MAX] = (uint32_t)(took / 10 > UINT32_MAX ? UINT32_MAX : took / 10);
        w->calls++;
        atomic_fetch_add_explicit(&total_calls, 1, memory_order_relaxed);
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void report(struct worker *workers, double seconds, double cpu)
{
    size_t n = 0, at = 0;
    uint64_t calls = 0, errors = 0, longest = 0;
    for (unsigned i = 0; i < opt.threads; i++) {
        n += workers[i].n_samples < SAMPLES_MAX ? workers[i].n_samples : SAMPLES_MAX;
        calls += workers[i].calls;
        errors += workers[i].errors;
        longest = workers[i].longest_ns > longest ? workers[i].longest_ns : longest;
    }
    uint32_t *all = malloc((n + 1) * sizeof(*all));
    if (!all)
        die("memory", CKR_HOST_MEMORY);
    for (unsigned i = 0; i < opt.threads; i++) {
        size_t m = workers[i].n_samples < SAMPLES_MAX ? workers[i].n_samples : SAMPLES_MAX;
        memcpy(all + at, workers[i].samples, m * sizeof(*all));
        at += m;
    }
    qsort(all, n, sizeof(*all), by_value);
    printf("{\"name\":\"%s\",\"op\":\"%s\",\"threads\":%u,\"seconds\":%.3f,\"calls\":%" PRIu64 ",\"per_s\":%.1f,\"p50_us\":%.2f,"
           "\"p99_us\":%.2f,\"longest_ms\":%.2f,\"cpu_s\":%.3f,\"errors\":%" PRIu64 ",\"error_codes\":{",
           opt.name ? opt.name : opt.module, opt.op, opt.threads, seconds, calls, (double)calls / seconds,
           n ? all[n / 2] / 100.0 : 0, n ? all[n * 99 / 100] / 100.0 : 0, (double)longest / 1e6, cpu, errors);
    bool first = true;
    for (unsigned i = 0; i < opt.threads; i++)
        for (int j = 0; j < RVS_MAX && workers[i].rv_counts[j]; j++, first = false)
            printf("%s\"t%u:0x%lx\":%" PRIu64, first ? "" : ",", i, workers[i].rvs[j], workers[i].rv_counts[j]);
    printf("}}\n");
    free(all);
}

static const struct op *find_op(const char *name)
{
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (!strcmp(ops[i].name, name))
            return &ops[i];
    fprintf(stderr, "keymoot-bench: unknown operation '%s'; there are: ", name);
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        fprintf(stderr, "%s%s", i ? ", " : "", ops[i].name);
    fputc('\n', stderr);
    exit(2);
}

static void usage(FILE *out)
{
    fputs("usage: keymoot-bench --module FILE --token LABEL --pin PIN [--op NAME] [--threads N] [--seconds S]\n"
          "                     [--name TEXT] [--setup] [--acked FILE] [--verify FILE]\n"
          "Calls one operation of a PKCS#11 module from N threads and prints latency, throughput and errors as JSON.\n"
          "  --op NAME     ecdsa, rsa, gcm, change, keep, find, random, start (default ecdsa)\n"
          "  --acked FILE  keep: the label of each key and what its call answered\n"
          "  --verify FILE checks the keys of such a file: none lost, none twice; and ends\n"
          "  --setup       makes the keys bench-ecdsa, bench-rsa and bench-aes on the token where missing, and ends\n"
          "  --name TEXT   what the result is called\n"
          "While it runs, a line 'progress CALLS' goes to standard error each 100 ms.\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"module", 1, 0, 'm'}, {"token", 1, 0, 't'}, {"pin", 1, 0, 'p'},   {"op", 1, 0, 'o'},    {"threads", 1, 0, 'n'},
        {"seconds", 1, 0, 's'}, {"name", 1, 0, 'N'},  {"setup", 0, 0, 'S'}, {"help", 0, 0, 'h'},
        {"acked", 1, 0, 'a'},  {"verify", 1, 0, 'V'}, {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'm': opt.module = optarg; break;
        case 't': opt.token = optarg; break;
        case 'p': opt.pin = optarg; break;
        case 'o': opt.op = optarg; break;
        case 'n': opt.threads = (unsigned)atoi(optarg); break;
        case 's': opt.seconds = atof(optarg); break;
        case 'N': opt.name = optarg; break;
        case 'S': opt.setup = true; break;
        case 'a': opt.acked = optarg; break;
        case 'V': opt.verify = optarg; break;
        case 'h': usage(stdout); return 0;
        default: usage(stderr); return 2;
        }
    }
    if (!opt.module || !opt.token || !opt.pin || !opt.threads || opt.threads > THREADS_MAX || opt.seconds <= 0 || opt.seconds > 3600) {
        usage(stderr);
        return 2;
    }
    const struct op *op = find_op(opt.op);
    void *so = dlopen(opt.module, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(CK_FUNCTION_LIST_PTR_PTR) = NULL;
    if (so)
        *(void **)&get = dlsym(so, "C_GetFunctionList");
    if (!get) {
        fprintf(stderr, "keymoot-bench: %s: %s\n", opt.module, dlerror());
        return 1;
    }
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_SESSION_HANDLE login;
    CK_RV rv = get(&p11);
    if (rv != CKR_OK || (rv = p11->C_Initialize(&args)) != CKR_OK)
        die("C_Initialize", rv);
    find_slot();
    if ((rv = p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &login)) != CKR_OK)
        die("C_OpenSession", rv);
    if ((rv = p11->C_Login(login, CKU_USER, (CK_BYTE *)opt.pin, strlen(opt.pin))) != CKR_OK)
        die("C_Login", rv);
    if (opt.setup) {
        make_keys();
        p11->C_Finalize(NULL);
        return 0;
    }
    if (opt.verify)
        return verify(login);
    if (opt.acked && !(acked = fopen(opt.acked, "a"))) {
        perror(opt.acked);
        return 1;
    }
    struct worker *workers = calloc(opt.threads, sizeof(*workers));
    for (unsigned i = 0; i < opt.threads; i++) {
        struct worker *w = &workers[i];
        w->op = op;
        w->samples = malloc(SAMPLES_MAX * sizeof(*w->samples));
        if (!w->samples)
            die("memory", CKR_HOST_MEMORY);
        if ((rv = p11->C_OpenSession(slot, CKF_SERIAL_SESSION | (op->is_rw ? CKF_RW_SESSION : 0), NULL, NULL, &w->session)) != CKR_OK)
            die("C_OpenSession", rv);
        if (op->key && (rv = find_key(w->session, op->class, op->key, &w->key)) != CKR_OK)
            die("finding the key (run with --setup first)", rv);
    }
    double cpu = cpu_s();
    uint64_t start = now_ns();
    for (unsigned i = 0; i < opt.threads; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("pthread_create", CKR_HOST_MEMORY);
    while ((double)(now_ns() - start) / 1e9 < opt.seconds) {
        nanosleep(&(struct timespec){0, 100000000}, NULL);
        fprintf(stderr, "progress %" PRIu64 "\n", (uint64_t)atomic_load(&total_calls));
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < opt.threads; i++)
        pthread_join(workers[i].thread, NULL);
    if (acked && fclose(acked) != 0)
        die("writing the acknowledgements", CKR_GENERAL_ERROR);
    report(workers, (double)(now_ns() - start) / 1e9, cpu_s() - cpu);
    p11->C_Finalize(NULL);
    for (unsigned i = 0; i < opt.threads; i++)
        free(workers[i].samples);
    free(workers);
    return 0;
}
