/* SPDX-License-Identifier: Apache-2.0
 *
 * The suite as a program: chooses rows, runs them in child processes against one module or two, and prints. The parent
 * never loads a module; results come back through shared memory, so that a crash loses nothing but its row.
 */
#include "conform.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROW_SECONDS_MAX 30

extern const struct row *const __start_conform_rows[], *const __stop_conform_rows[];

static const struct row **rows;
static size_t n_rows;

static const char usage[] =
    "usage: conform --module PATH [--token LABEL | --slot N] --pin PIN --so-pin PIN [--only TEXT]... [--quiet]\n"
    "               [--known FILE | --write-known FILE]\n"
    "               [--against --module PATH [--token LABEL | --slot N] --pin PIN --so-pin PIN [--all]]\n"
    "       conform --list [--only TEXT]...\n"
    "  --only TEXT     only rows whose text contains TEXT (\"C_Sign\", \"CKR_ARGUMENTS_BAD\", \"twice\")\n"
    "  --quiet         print only what did not pass\n"
    "  --known FILE    rows that this module is known to answer otherwise (as --write-known writes them) count as "
    "passed\n"
    "  --against ...   a second module: its answers beside the first one's where they differ, with --all everywhere\n";

/* --- running --- */

static void work(const struct subject *subject, struct result *results, size_t first)
{
    stage_open(subject);
    for (size_t i = first; i < n_rows; i++) {
        alarm(ROW_SECONDS_MAX);
        stage_run(rows[i], &results[i]);
    }
    alarm(ROW_SECONDS_MAX);
    stage_close();
    exit(0);
}

static size_t first_not_run(const struct result *results)
{
    size_t i = 0;

    while (i < n_rows && results[i].outcome != ROW_NOT_RUN)
        i++;
    return i;
}

/* All rows; a worker that dies is followed by another one that starts behind the row that killed it. */
static bool run(const struct subject *subject, struct result *results)
{
    for (;;) {
        size_t first = first_not_run(results);
        pid_t pid = fork();
        int status = 0;

        if (pid == 0)
            work(subject, results, first);
        if (pid < 0) {
            perror("conform: fork");
            return false;
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        size_t at = first_not_run(results);
        if (at == n_rows) {
            if (status != 0)
                fprintf(stderr, "conform: all rows ran, but the process that ran them ended badly (%d)\n", status);
            return status == 0;
        }
        if (!WIFSIGNALED(status) && at == first) {
            fprintf(stderr, "conform: %s could not be tested\n", subject->module);
            return false;
        }
        results[at].outcome = ROW_FAILED;
        results[at].got = CKR_GENERAL_ERROR;
        snprintf(results[at].note, sizeof(results[at].note), "%s",
                 !WIFSIGNALED(status)          ? "the process ended"
                 : WTERMSIG(status) == SIGALRM ? "hung"
                                               : strsignal(WTERMSIG(status)));
    }
}

/* --- printing --- */

static void row_text(const struct row *row, char *text, size_t len)
{
    char want[64];

    snprintf(want, sizeof(want), "%s", rv_name(row->want));
    if (row->also != row->want) {
        strncat(want, "|", sizeof(want) - strlen(want) - 1);
        strncat(want, rv_name(row->also), sizeof(want) - strlen(want) - 1);
    }
    snprintf(text, len, "%s %s: %s", row->function, want, row->when);
}

static const char *answer_text(const struct result *r, char *text, size_t len)
{
    if (r->outcome == ROW_SKIPPED)
        snprintf(text, len, "(%s)", r->note);
    else if (r->note[0] != '\0')
        snprintf(text, len, "%s%s%s", r->note, r->got == CKR_OK ? "" : " = ", r->got == CKR_OK ? "" : rv_name(r->got));
    else
        snprintf(text, len, "%s", rv_name(r->got));
    return text;
}

/* Whether `known` tells of it: lines of a row's text, a tab, the answer, and perhaps a tab and the reason. */
static bool is_known(FILE *known, const char *row, const char *answer)
{
    char line[600], want[600];
    size_t len;
    bool is_found = false;

    if (known == NULL)
        return false;
    len = (size_t)snprintf(want, sizeof(want), "%s\t%s", row, answer);
    rewind(known);
    while (!is_found && fgets(line, sizeof(line), known) != NULL)
        is_found = strncmp(line, want, len) == 0 && (line[len] == '\n' || line[len] == '\t');
    return is_found;
}

static int report(const struct result *results, bool is_quiet, FILE *known, FILE *write_known)
{
    static const char *const words[] = {"FAIL", "PASS", "FAIL", "SKIP"};
    unsigned n[4] = {0}, n_known = 0;
    char text[256], answer[256];

    for (size_t i = 0; i < n_rows; i++) {
        const struct result *r = &results[i];
        enum outcome outcome = r->outcome;

        row_text(rows[i], text, sizeof(text));
        answer_text(r, answer, sizeof(answer));
        if (outcome == ROW_FAILED && write_known != NULL)
            fprintf(write_known, "%s\t%s\n", text, answer);
        if (outcome == ROW_FAILED && is_known(known, text, answer)) {
            n_known++;
            outcome = ROW_PASSED;
        }
        n[outcome]++;
        if (is_quiet && outcome == ROW_PASSED)
            continue;
        if (r->outcome == ROW_PASSED)
            printf("PASS %s\n", text);
        else
            printf("%s %s -> %s\n", outcome == r->outcome ? words[outcome] : "KNOWN", text, answer);
    }
    if (n_known > 0)
        printf("%u of the passed answer otherwise than the standard, as known\n", n_known);
    printf("%u passed, %u failed, %u skipped\n", n[ROW_PASSED], n[ROW_FAILED], n[ROW_SKIPPED]);
    return n[ROW_FAILED] == 0 && n[ROW_PASSED] > 0 ? 0 : 1;
}

static int compare(const struct result *a, const struct result *b, bool is_all)
{
    char text[256], ours[256], theirs[256];
    unsigned differ = 0;

    printf("%-80s %-40s %s\n", "row", "first", "second");
    for (size_t i = 0; i < n_rows; i++) {
        bool is_same = a[i].outcome == b[i].outcome && (a[i].outcome != ROW_FAILED || a[i].got == b[i].got);

        if (is_same && !is_all)
            continue;
        differ += !is_same;
        row_text(rows[i], text, sizeof(text));
        printf("%s %-78s %-40s %s\n", is_same ? " " : "!", text, answer_text(&a[i], ours, sizeof(ours)),
               answer_text(&b[i], theirs, sizeof(theirs)));
    }
    printf("%zu rows, %u differ\n", n_rows, differ);
    return 0;
}

/* --- options --- */

#define ONLY_MAX 16
struct options {
    struct subject subjects[2];
    unsigned n_subjects, n_only;
    const char *only[ONLY_MAX];
    bool is_list, is_quiet, is_all;
    const char *known, *write_known;
};

static void read_options(int argc, char **argv, struct options *o)
{
    enum { MODULE, TOKEN, SLOT, PIN, SO_PIN, ONLY, LIST, QUIET, ALL, AGAINST, KNOWN, WRITE_KNOWN };
    static const struct option names[] = {
        {"module", 1, NULL, MODULE}, {"token", 1, NULL, TOKEN},     {"slot", 1, NULL, SLOT},
        {"pin", 1, NULL, PIN},       {"so-pin", 1, NULL, SO_PIN},   {"only", 1, NULL, ONLY},
        {"list", 0, NULL, LIST},     {"quiet", 0, NULL, QUIET},     {"all", 0, NULL, ALL},
        {"known", 1, NULL, KNOWN},   {"against", 0, NULL, AGAINST}, {"write-known", 1, NULL, WRITE_KNOWN},
        {NULL, 0, NULL, 0}};
    bool is_bad = false;

    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        struct subject *s = &o->subjects[o->n_subjects];
        switch (c) {
        case MODULE:
            s->module = optarg;
            break;
        case TOKEN:
            s->token = optarg;
            break;
        case SLOT:
            s->slot = optarg;
            break;
        case PIN:
            s->user_pin = optarg;
            break;
        case SO_PIN:
            s->so_pin = optarg;
            break;
        case ONLY:
            is_bad |= o->n_only == ONLY_MAX;
            if (!is_bad)
                o->only[o->n_only++] = optarg;
            break;
        case LIST:
            o->is_list = true;
            break;
        case QUIET:
            o->is_quiet = true;
            break;
        case ALL:
            o->is_all = true;
            break;
        case KNOWN:
            o->known = optarg;
            break;
        case WRITE_KNOWN:
            o->write_known = optarg;
            break;
        case AGAINST:
            is_bad |= o->n_subjects++ == 1;
            o->n_subjects = 1;
            break;
        default:
            is_bad = true;
        }
    }
    o->n_subjects++;
    for (unsigned i = 0; i < o->n_subjects && !o->is_list; i++)
        is_bad |= o->subjects[i].module == NULL || o->subjects[i].user_pin == NULL || o->subjects[i].so_pin == NULL ||
                  (o->subjects[i].token == NULL && o->subjects[i].slot == NULL);
    if (is_bad || optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
}

/* The linker keeps the files apart, the compiler not the order in them. */
static int by_place(const void *a, const void *b)
{
    const struct row *left = *(const struct row *const *)a, *right = *(const struct row *const *)b;
    int files = strcmp(left->file, right->file);

    return files != 0 ? files : left->order - right->order;
}

static void choose_rows(const struct options *o)
{
    size_t n = (size_t)(__stop_conform_rows - __start_conform_rows);
    char text[256];

    rows = calloc(n, sizeof(struct row *));
    if (rows == NULL)
        exit(2);
    for (size_t i = 0; i < n; i++) {
        bool is_chosen = o->n_only == 0;

        row_text(__start_conform_rows[i], text, sizeof(text));
        for (unsigned k = 0; k < o->n_only; k++)
            is_chosen |= strstr(text, o->only[k]) != NULL;
        if (is_chosen)
            rows[n_rows++] = __start_conform_rows[i];
    }
    qsort(rows, n_rows, sizeof(struct row *), by_place);
}

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = path == NULL ? NULL : fopen(path, mode);

    if (path != NULL && file == NULL) {
        perror(path);
        exit(2);
    }
    return file;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct result *results[2] = {NULL, NULL};
    char text[256];
    bool is_whole = true;
    int rc;

    read_options(argc, argv, &o);
    choose_rows(&o);
    if (o.is_list) {
        for (size_t i = 0; i < n_rows; i++) {
            row_text(rows[i], text, sizeof(text));
            puts(text);
        }
        return 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < o.n_subjects; i++) {
        results[i] =
            mmap(NULL, (n_rows + 1) * sizeof(struct result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (results[i] == MAP_FAILED)
            return 2;
        is_whole &= run(&o.subjects[i], results[i]);
    }
    if (o.n_subjects == 2) {
        rc = compare(results[0], results[1], o.is_all);
    } else {
        FILE *known = open_file(o.known, "re"), *write_known = open_file(o.write_known, "we");
        rc = report(results[0], o.is_quiet, known, write_known);
        if (write_known != NULL && fclose(write_known) != 0)
            rc = 2;
        if (known != NULL)
            fclose(known);
    }
    free(rows);
    return is_whole ? rc : 1;
}
