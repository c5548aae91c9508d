/* SPDX-License-Identifier: Apache-2.0
 *
 * Rate-limited log lines about strangers, and who a stranger is. Any thread.
 */
#include "quiet.h"

#include "../../common/sp.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void km_quiet_init(struct km_quiet *quiet)
{
    *quiet = (struct km_quiet){0};
    pthread_mutex_init(&quiet->lock, NULL);
}

void km_quiet_fini(struct km_quiet *quiet)
{
    km_quiet_flush(quiet);
    pthread_mutex_destroy(&quiet->lock);
}

/* Starts a new second if it is time; returns what the old one held back. */
static unsigned turn(struct km_quiet *quiet)
{
    int64_t second = km_monotonic_ms() / 1000;
    if (second == quiet->second)
        return 0;
    unsigned held = quiet->n_held;
    quiet->second = second;
    quiet->n_lines = quiet->n_held = 0;
    return held;
}

static void say_held(unsigned held)
{
    if (held > 0)
        km_log(KM_LOG_WARN, "and %u more refusals of this kind within a second", held);
}

void km_quiet_log(struct km_quiet *quiet, enum km_log_level level, const char *format, ...)
{
    char line[512];
    va_list args;
    pthread_mutex_lock(&quiet->lock);
    unsigned held = turn(quiet);
    bool is_said = quiet->n_lines < KM_QUIET_LINES;
    if (is_said)
        quiet->n_lines++;
    else
        quiet->n_held++;
    pthread_mutex_unlock(&quiet->lock);
    say_held(held);
    if (!is_said)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    km_log(level, "%s", line);
}

void km_quiet_flush(struct km_quiet *quiet)
{
    pthread_mutex_lock(&quiet->lock);
    unsigned held = turn(quiet);
    pthread_mutex_unlock(&quiet->lock);
    say_held(held);
}

void km_source_of_address(const nng_sockaddr *address, struct km_source *ret, char ret_text[KM_SOURCE_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    *ret = (struct km_source){{0}};
    snprintf(ret_text, KM_SOURCE_TEXT_MAX, "unknown address");
    if (address->s_family == NNG_AF_INET) {
        ret->bytes[0] = 4;
        memcpy(ret->bytes + 1, &address->s_in.sa_addr, 4);
        inet_ntop(AF_INET, &address->s_in.sa_addr, host, sizeof(host));
        snprintf(ret_text, KM_SOURCE_TEXT_MAX, "%s:%u", host, (unsigned)ntohs(address->s_in.sa_port));
    } else if (address->s_family == NNG_AF_INET6) {
        ret->bytes[0] = 6;
        memcpy(ret->bytes + 1, address->s_in6.sa_addr, 8);
        inet_ntop(AF_INET6, address->s_in6.sa_addr, host, sizeof(host));
        snprintf(ret_text, KM_SOURCE_TEXT_MAX, "[%s]:%u", host, (unsigned)ntohs(address->s_in6.sa_port));
    }
}

void km_source_of(nng_pipe pipe, struct km_source *ret, char ret_text[KM_SOURCE_TEXT_MAX])
{
    nng_sockaddr address = {0};
    (void)nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &address); /* unknown: the family says so */
    km_source_of_address(&address, ret, ret_text);
}
