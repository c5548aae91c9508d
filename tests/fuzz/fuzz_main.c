/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain driver. With arguments: runs each file, or each file in a folder, once (a corpus, a crash to look at).
 * Without: the harness's own seeds, then mutations of them from a fixed generator, so that a failure comes back: SEED=n
 * RUNS=n repeat another one, FUZZ_SECONDS=n goes on for so long. The last input is kept in fuzz-<program>.last when the program dies.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SEEDS_MAX 64
#define INPUT_MAX (256 * 1024)
#define RUNS_DEFAULT 100000
#define SECONDS_MAX 3 /* on a slow machine fewer runs are enough */

static struct seed {
    uint8_t *data;
    size_t len;
} seeds[SEEDS_MAX];
static size_t n_seeds;
static uint8_t input[INPUT_MAX];
static size_t input_len;
static uint64_t state;
static char last_path[256];

static void keep_input(int sig)
{
    int fd = open(last_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0 && write(fd, input, input_len) == (ssize_t)input_len)
        close(fd);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void add_seed(const void *data, size_t len)
{
    assert(n_seeds < SEEDS_MAX && len <= INPUT_MAX);
    seeds[n_seeds].data = malloc(len + 1);
    assert(seeds[n_seeds].data != NULL);
    if (len > 0)
        memcpy(seeds[n_seeds].data, data, len);
    seeds[n_seeds++].len = len;
}

static uint64_t draw(void) /* xorshift64* */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dULL;
}

static size_t below(size_t n)
{
    return n == 0 ? 0 : (size_t)(draw() % n);
}

static void mutate_once(void)
{
    static const uint8_t bytes[] = {0, 1, 0x7f, 0x80, 0xff, '\n', '=', '[', ']', '\\', '#', '$', '"', '/', ' '};
    size_t at = below(input_len), n = 1 + below(16);
    switch (draw() % 7) {
    case 0: /* flip a bit */
        if (input_len > 0)
            input[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1: /* a byte that means something somewhere */
        if (input_len > 0)
            input[at] = bytes[below(sizeof(bytes))];
        break;
    case 2: /* cut the end */
        input_len = at;
        break;
    case 3: /* take some away */
        n = n < input_len - at ? n : input_len - at;
        memmove(input + at, input + at + n, input_len - at - n);
        input_len -= n;
        break;
    case 4: /* put some in */
        if (input_len + n > INPUT_MAX)
            break;
        memmove(input + at + n, input + at, input_len - at);
        for (size_t i = 0; i < n; i++)
            input[at + i] = (uint8_t)draw();
        input_len += n;
        break;
    case 5: /* double some */
        n = n < input_len - at ? n : input_len - at;
        if (input_len + n > INPUT_MAX)
            break;
        memmove(input + at + n, input + at, input_len - at);
        input_len += n;
        break;
    default: { /* go on as another seed does */
        const struct seed *other = &seeds[below(n_seeds)];
        size_t from = below(other->len), len = other->len - from;
        len = len < INPUT_MAX - at ? len : INPUT_MAX - at;
        memcpy(input + at, other->data + from, len);
        input_len = at + len;
    }
    }
}

/* A copy of exactly the input's length, so that the sanitizer sees a read behind its end. */
static void run_input(void)
{
    uint8_t *exact = malloc(input_len > 0 ? input_len : 1);
    assert(exact != NULL);
    memcpy(exact, input, input_len);
    assert(LLVMFuzzerTestOneInput(exact, input_len) == 0);
    free(exact);
}

static void run_path(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        FILE *file = fopen(path, "re");
        if (file == NULL) {
            perror(path);
            exit(1);
        }
        input_len = fread(input, 1, INPUT_MAX, file);
        fclose(file);
        run_input();
        return;
    }
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        char inside[4096];
        if (e->d_name[0] != '.' && snprintf(inside, sizeof(inside), "%s/%s", path, e->d_name) < (int)sizeof(inside))
            run_path(inside);
    }
    closedir(folder);
}

static unsigned long from_environment(const char *name, unsigned long absent)
{
    const char *text = getenv(name);
    return text != NULL ? strtoul(text, NULL, 0) : absent;
}

int main(int argc, char **argv)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    const char *program = strrchr(argv[0], '/');
    snprintf(last_path, sizeof(last_path), "%.100s.last", program != NULL ? program + 1 : argv[0]);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        signal(fatal[i], keep_input);
    for (int i = 1; i < argc; i++)
        run_path(argv[i]);
    if (argc > 1)
        return 0;

    fuzz_seeds(add_seed);
    for (size_t i = 0; i < n_seeds; i++) {
        memcpy(input, seeds[i].data, input_len = seeds[i].len);
        run_input();
    }
    unsigned long runs = from_environment("RUNS", RUNS_DEFAULT), done = 0;
    unsigned long seed = from_environment("SEED", 1);
    unsigned long seconds = from_environment("FUZZ_SECONDS", 0);
    runs = seconds > 0 ? ULONG_MAX : runs;
    time_t end = getenv("RUNS") != NULL && seconds == 0 ? 0 : time(NULL) + (time_t)(seconds > 0 ? seconds : SECONDS_MAX);
    for (; done < runs && (end == 0 || done % 64 != 0 || time(NULL) < end); done++) {
        state = (seed << 32) + done + 1; /* each run by itself, so that one can be repeated */
        for (int i = 0; i < 4; i++)
            (void)draw();
        const struct seed *from = &seeds[below(n_seeds)];
        memcpy(input, from->data, input_len = from->len);
        for (size_t i = 1 + below(8); i > 0; i--)
            mutate_once();
        run_input();
    }
    printf("%s: %zu seeds, %lu mutations of them (SEED=%lu), nothing broke\n", argv[0], n_seeds, done, seed);
    for (size_t i = 0; i < n_seeds; i++)
        free(seeds[i].data);
    return 0;
}
