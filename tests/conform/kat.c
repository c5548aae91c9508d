/* SPDX-License-Identifier: Apache-2.0
 *
 * Known answers as a program: each file of kat.def through the module's C_* functions. A mechanism that the token does
 * not list skips its file; vectors that cannot apply (a key of 1024 bits, say) are counted by reason.
 */
#include "kat.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define REASONS_MAX 16

CK_SESSION_HANDLE kat_session;

static const struct kat_file files[] = {
#define KAT(path, format, last, run, mechanism, extra) {path, format, last, run, mechanism, #mechanism, extra},
#include "kat.def"
#undef KAT
};

static const char usage[] = "usage: kat --module PATH (--token LABEL | --slot N) --pin PIN --so-pin PIN [--vectors "
                            "FOLDER] [--own FOLDER] [--each N]\n"
                            "           [--only TEXT] [--quiet]\n"
                            "  --each N        N vectors of each file, evenly chosen; without it, all\n"
                            "  --only TEXT     only files whose path or mechanism contains TEXT\n";

struct run {
    const struct kat_file *file;
    size_t each, total, seen, passed, failed, skipped;
    struct {
        char why[120];
        size_t n;
    } reasons[REASONS_MAX];
    size_t n_reasons;
};
static struct run now;
static const struct vector *the_vector;

static CK_RV run_vector(void)
{
    now.file->run(the_vector, now.file);
    return CKR_OK;
}

/* Vectors that say nothing about this mechanism, so that a sample is not made of them. */
static bool applies(const struct vector *v)
{
    const char *curve = kat_text(v, "curve"), *tag = kat_text(v, "Tag"), *aad = kat_text(v, "AAD"),
               *text = kat_text(v, "PT");

    if (now.file->run == kat_ecdsa)
        return curve != NULL && (strncmp(curve, "P-256", 5) == 0 || strncmp(curve, "P-384", 5) == 0 ||
                                 strncmp(curve, "P-521", 5) == 0 || strncmp(curve, "K-256", 5) == 0);
    if (now.file->run == kat_gmac)
        return tag != NULL && strlen(tag) == 32 && aad != NULL && aad[0] != '\0' && text != NULL && text[0] == '\0';
    return true;
}

static void count_vector(const struct vector *v, void *unused)
{
    (void)unused;
    now.total += applies(v);
}

static void note_reason(const char *why)
{
    size_t i = 0;

    while (i < now.n_reasons && strcmp(now.reasons[i].why, why) != 0)
        i++;
    if (i == REASONS_MAX)
        return;
    if (i == now.n_reasons)
        snprintf(now.reasons[now.n_reasons++].why, sizeof(now.reasons[0].why), "%s", why);
    now.reasons[i].n++;
}

static void try_vector(const struct vector *v, void *unused)
{
    static const struct row row = {.function = "vector", .when = "", .provoke = run_vector};
    size_t half = now.total / 2; /* the middle of each stretch, and the last one, which has the longest key */
    struct result result;
    size_t index;

    (void)unused;
    if (!applies(v))
        return;
    index = now.seen++;
    if (now.each != 0 && now.total > now.each && index + 1 != now.total &&
        ((index + 1) * now.each + half) / now.total == (index * now.each + half) / now.total)
        return;
    the_vector = v;
    kat_session = open_rw();
    stage_try(&row, &result);
    kat_forget();
    (void)F->C_CloseSession(kat_session);
    switch (result.outcome) {
    case ROW_PASSED:
        now.passed++;
        break;
    case ROW_SKIPPED:
        now.skipped++;
        note_reason(result.note);
        break;
    default:
        now.failed++;
        printf("FAIL %s, vector %zu: %s%s%s\n", now.file->path, v->index, result.note,
               result.got == CKR_OK ? "" : " = ", result.got == CKR_OK ? "" : rv_name(result.got));
    }
}

/* Returns whether the file was tried. */
static bool run_file(const struct kat_file *file, const char *folder, const char *own, size_t each)
{
    CK_MECHANISM_INFO info;
    char path[4096];

    now = (struct run){.file = file, .each = each};
    if (strncmp(file->path, "own/", 4) == 0)
        snprintf(path, sizeof(path), "%s/%s", own, file->path + 4);
    else
        snprintf(path, sizeof(path), "%s/%s", folder, file->path);
    if (F->C_GetMechanismInfo(the_slot, file->mechanism, &info) != CKR_OK) {
        if (!kat_read(path, file, count_vector, NULL))
            printf("SKIP %s: no such file\n", file->path);
        else
            printf("SKIP %s: no %s (%zu vectors)\n", file->path, file->mechanism_name, now.total);
        return false;
    }
    if (!kat_read(path, file, count_vector, NULL)) {
        printf("SKIP %s: no such file\n", file->path);
        return false;
    }
    (void)kat_read(path, file, try_vector, NULL);
    return true;
}

static void print_file(bool is_quiet)
{
    const char *word = now.failed > 0 ? "FAIL" : now.passed > 0 ? "PASS" : "SKIP";

    if (is_quiet && now.failed == 0 && now.passed > 0)
        return;
    printf("%s %s: %zu passed, %zu failed, %zu not for this token, of %zu", word, now.file->path, now.passed,
           now.failed, now.skipped, now.total);
    for (size_t i = 0; i < now.n_reasons; i++)
        printf("%s%zu %s", i == 0 ? " (" : ", ", now.reasons[i].n, now.reasons[i].why);
    printf("%s\n", now.n_reasons > 0 ? ")" : "");
}

int main(int argc, char **argv)
{
    enum { MODULE, TOKEN, SLOT, PIN, SO_PIN, VECTORS, OWN, EACH, ONLY, QUIET };
    static const struct option names[] = {
        {"module", 1, NULL, MODULE}, {"token", 1, NULL, TOKEN},     {"slot", 1, NULL, SLOT}, {"pin", 1, NULL, PIN},
        {"so-pin", 1, NULL, SO_PIN}, {"vectors", 1, NULL, VECTORS}, {"own", 1, NULL, OWN},   {"each", 1, NULL, EACH},
        {"only", 1, NULL, ONLY},     {"quiet", 0, NULL, QUIET},     {NULL, 0, NULL, 0}};
    struct subject s = {0};
    const char *folder = "/usr/lib/python3/dist-packages/cryptography_vectors", *own = "tests/conform/vectors",
               *only = "";
    size_t each = 0, passed = 0, failed = 0, skipped = 0, none = 0, vectors = 0;
    bool is_quiet = false;

    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case MODULE:
            s.module = optarg;
            break;
        case TOKEN:
            s.token = optarg;
            break;
        case SLOT:
            s.slot = optarg;
            break;
        case PIN:
            s.user_pin = optarg;
            break;
        case SO_PIN:
            s.so_pin = optarg;
            break;
        case VECTORS:
            folder = optarg;
            break;
        case OWN:
            own = optarg;
            break;
        case EACH:
            each = strtoul(optarg, NULL, 10);
            break;
        case ONLY:
            only = optarg;
            break;
        case QUIET:
            is_quiet = true;
            break;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (s.module == NULL || s.user_pin == NULL || (s.token == NULL && s.slot == NULL)) {
        fputs(usage, stderr);
        return 2;
    }
    stage_open(&s);
    (void)open_user(); /* keeps the login while each vector's session comes and goes with its objects */
    for (size_t i = 0; i < LEN(files); i++) {
        if (strstr(files[i].path, only) == NULL && strstr(files[i].mechanism_name, only) == NULL)
            continue;
        if (!run_file(&files[i], folder, own, each)) {
            skipped++;
            continue;
        }
        print_file(is_quiet);
        vectors += now.passed + now.failed;
        none += now.skipped;
        passed += now.failed == 0 && now.passed > 0;
        failed += now.failed > 0;
        skipped += now.failed == 0 && now.passed == 0;
    }
    stage_close();
    printf("%zu vectors, %zu not for this token; files: %zu passed, %zu failed, %zu skipped\n", vectors, none, passed,
           failed, skipped);
    return failed == 0 && passed > 0 ? 0 : 1;
}
