/* SPDX-License-Identifier: Apache-2.0
 *
 * What finding one key among many costs a program: time, and messages to servers, which are counted by standing between
 * the module and the C library.
 *   lookup MODULE TOKEN PIN PAIRS      (the pairs are those of tests/bench/fill)
 * Prints one line of JSON; ends with 1 when a search costs more than one round trip or does not find its key.
 */
#define _GNU_SOURCE
#include "../../common/cryptoki.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 500
#define STARTS 7

static CK_FUNCTION_LIST *F;
static CK_SESSION_HANDLE session;
static unsigned messages;

/* The module's own calls end here, since a program's symbols come before the C library's. */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    messages++;
    return syscall(SYS_sendmsg, fd, msg, flags);
}

static void need(CK_RV rv, const char *what)
{
    if (rv == CKR_OK)
        return;
    fprintf(stderr, "lookup: %s: 0x%lx\n", what, rv);
    exit(1);
}

static double now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static CK_ULONG find(CK_ATTRIBUTE *template, CK_ULONG n)
{
    CK_OBJECT_HANDLE found[4];
    CK_ULONG count = 0;

    need(F->C_FindObjectsInit(session, template, n), "C_FindObjectsInit");
    need(F->C_FindObjects(session, found, 4, &count), "C_FindObjects");
    need(F->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    return count;
}

static CK_ULONG find_number(unsigned number, bool by_label, bool is_private)
{
    CK_BYTE id[4] = {(CK_BYTE)(number >> 24), (CK_BYTE)(number >> 16), (CK_BYTE)(number >> 8), (CK_BYTE)number};
    CK_OBJECT_CLASS class = is_private ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
    char label[32];
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {by_label ? CKA_LABEL : CKA_ID, by_label ? (void *)label : id,
                                by_label ? (CK_ULONG)snprintf(label, sizeof(label), "key %u", number) : sizeof(id)}};

    return find(template, 2);
}

static void start(const char *token, const char *pin)
{
    CK_SLOT_ID slots[64];
    CK_ULONG n = 64;
    CK_TOKEN_INFO info;

    need(F->C_Initialize(NULL), "C_Initialize");
    need(F->C_GetSlotList(CK_TRUE, slots, &n), "C_GetSlotList");
    for (CK_ULONG i = 0; i < n && session == 0; i++) {
        need(F->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
        if (strncmp((char *)info.label, token, strlen(token)) == 0)
            need(F->C_OpenSession(slots[i], CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
    }
    need(session != 0 ? CKR_OK : CKR_TOKEN_NOT_PRESENT, token);
    need(F->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)), "C_Login");
}

int main(int argc, char **argv)
{
    static double finds[4][ROUNDS], starts[STARTS];
    static const char *const names[] = {"id", "label", "id_private", "missing"};
    CK_RV (*get)(CK_FUNCTION_LIST **);
    unsigned pairs = argc == 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0, worst = 0;
    void *library = argc == 5 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    double begun;

    need(library != NULL ? CKR_OK : CKR_ARGUMENTS_BAD, "lookup MODULE TOKEN PIN PAIRS");
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    need(get(&F), "C_GetFunctionList");
    srand(1);
    for (int i = 0; i < STARTS; i++) {
        session = 0;
        begun = now_ms();
        start(argv[2], argv[3]);
        need(find_number((unsigned)rand() % pairs, true, true) == 1 ? CKR_OK : CKR_OBJECT_HANDLE_INVALID,
             "a key by label");
        starts[i] = now_ms() - begun;
        if (i + 1 < STARTS)
            need(F->C_Finalize(NULL), "C_Finalize");
    }
    for (int i = 0; i < ROUNDS; i++) {
        for (int kind = 0; kind < 4; kind++) {
            unsigned number = kind == 3 ? pairs + (unsigned)i : (unsigned)rand() % pairs, before = messages;
            begun = now_ms();
            need(find_number(number, kind == 1, kind == 2) == (kind == 3 ? 0 : 1) ? CKR_OK : CKR_OBJECT_HANDLE_INVALID,
                 names[kind]);
            finds[kind][i] = now_ms() - begun;
            worst = messages - before > worst ? messages - before : worst;
        }
    }
    qsort(starts, STARTS, sizeof(double), compare);
    printf("{\"pairs\":%u,\"start_ms\":%.2f,\"start_max_ms\":%.2f,\"messages_per_find\":%u", pairs, starts[STARTS / 2],
           starts[STARTS - 1], worst);
    for (int kind = 0; kind < 4; kind++) {
        qsort(finds[kind], ROUNDS, sizeof(double), compare);
        printf(",\"%s_p50_ms\":%.3f,\"%s_p99_ms\":%.3f", names[kind], finds[kind][ROUNDS / 2], names[kind],
               finds[kind][ROUNDS * 99 / 100]);
    }
    printf("}\n");
    return worst == 1 ? 0 : 1;
}
