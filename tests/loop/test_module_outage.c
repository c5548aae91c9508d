/* SPDX-License-Identifier: Apache-2.0
 *
 * The only server stops answering and comes back: KEYMOOT_SERVER_PID names it, KEYMOOT_CONF has a short deadline.
 */
#include "loop.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 1500 /* tests/loop/run */

static CK_MECHANISM ecdsa = {CKM_ECDSA_SHA256, NULL, 0};

/* Whether every thread of `pid` stands still. */
static bool is_stopped(const char *pid)
{
    char path[300], line[300];
    struct dirent *entry;
    bool is_still = true;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%s/task", pid);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        FILE *file;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%s/task/%.20s/stat", pid, entry->d_name);
        file = fopen(path, "r");
        if (file == NULL || fgets(line, sizeof(line), file) == NULL || strstr(line, ") T ") == NULL)
            is_still = false;
        if (file != NULL)
            fclose(file);
    }
    closedir(dir);
    return is_still;
}

static void signal_server(int signal_number)
{
    const char *pid = getenv("KEYMOOT_SERVER_PID");

    if (pid == NULL)
        skip();
    assert_int_equal(kill((pid_t)atol(pid), signal_number), 0);
    while (signal_number == SIGSTOP && !is_stopped(pid))
        usleep(1000); /* the signal has reached one thread; the others may answer yet */
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE key)
{
    CK_BYTE out[64];
    CK_ULONG n = sizeof(out);
    CK_RV rv = F->C_SignInit(s, &ecdsa, key);

    return rv != CKR_OK ? rv : F->C_Sign(s, BYTES("text"), out, &n);
}

static void an_outage_is_an_error_in_time_and_loses_nothing(void **state)
{
    CK_SESSION_HANDLE s = loop_login();
    CK_OBJECT_HANDLE public, private;
    CK_SESSION_INFO info;
    CK_RV rv;
    long start;
    (void)state;

    loop_ec_pair(s, "outage", true, &public, &private);
    assert_int_equal(sign(s, private), CKR_OK);
    signal_server(SIGSTOP);
    start = now_ms();
    rv = sign(s, private);
    start = now_ms() - start;
    signal_server(SIGCONT);
    assert_int_equal(rv, CKR_DEVICE_ERROR);
    assert_in_range(start, 1, DEADLINE_MS + 1000);
    OK(C_GetSessionInfo(s, &info));
    assert_int_equal(info.state, CKS_RW_USER_FUNCTIONS);
    assert_int_equal(sign(s, private), CKR_OK); /* the same session, login and handle */
    OK(C_DestroyObject(s, private));
    OK(C_DestroyObject(s, public));
}

/* What is decided here needs no server. */
static void an_outage_stops_only_what_needs_a_server(void **state)
{
    CK_SESSION_HANDLE s = loop_open(0), t = 0;
    CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
    CK_BYTE hash[32];
    CK_ULONG n = sizeof(hash);
    CK_RV opened, digested, random;
    (void)state;

    signal_server(SIGSTOP);
    opened = F->C_OpenSession(loop_slot, CKF_SERIAL_SESSION, NULL, NULL, &t);
    digested = F->C_DigestInit(s, &sha256);
    if (digested == CKR_OK)
        digested = F->C_Digest(s, BYTES("text"), hash, &n);
    random = F->C_GenerateRandom(s, hash, 8);
    signal_server(SIGCONT);
    assert_int_equal(opened, CKR_OK);
    assert_int_equal(digested, CKR_OK);
    assert_int_equal(random, CKR_DEVICE_ERROR);
    OK(C_GenerateRandom(s, hash, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outage_is_an_error_in_time_and_loses_nothing),
        cmocka_unit_test(an_outage_stops_only_what_needs_a_server),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
