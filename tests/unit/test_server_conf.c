/* SPDX-License-Identifier: Apache-2.0
 *
 * server.conf: the sample is good, and what is wrong is said with its line or key.
 */
#include "unit.h"

#include "../../server/conf.h"
#include "../../server/govern/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char good[] =
    "cluster = c\nname = a\nid = 1\nzone = z\naddress = 127.0.0.1:1\npeer_address = 127.0.0.1:2\ndata_dir = d\n"
    "certificate = a.crt\nkey = a.key\nca = ca.crt\nmaster_key = file:/m\n";

/* Reads `good` followed by `more`. */
static enum km_err read_text(const char *more, struct km_server_conf *ret, char *message, size_t len)
{
    char path[] = "/tmp/keymoot-conf.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    dprintf(fd, "%s%s", good, more);
    close(fd);
    enum km_err err = km_server_conf_read(path, ret, message, len);
    unlink(path);
    return err;
}

static void the_sample_is_good(void **state)
{
    struct km_server_conf conf;
    char message[512], path[4096];
    const char *src = getenv("srcdir");
    (void)state;
    snprintf(path, sizeof(path), "%s/conf/server.conf", src ? src : "..");
    if (km_server_conf_read(path, &conf, message, sizeof(message)))
        fail_msg("%s", message);
    assert_string_equal(conf.cluster, "example");
    assert_int_equal(conf.n_members, 3);
    assert_string_equal(conf.members[2].peer_address, "127.0.0.1:7153");
    assert_int_equal(conf.audit, KM_AUDIT_BATCHED);
    km_server_conf_fini(&conf);
}

static void members_are_in_the_order_of_their_ids(void **state)
{
    struct km_server_conf conf;
    char message[512];
    (void)state;
    assert_int_equal(read_text("[members]\n10 = x z 127.0.0.1:5 127.0.0.1:6\n2 = b z 127.0.0.1:3 127.0.0.1:4\n1 = a z "
                               "127.0.0.1:1 127.0.0.1:2\n",
                               &conf, message, sizeof(message)),
                     KM_OK);
    assert_int_equal(conf.members[0].id, 1);
    assert_int_equal(conf.members[1].id, 2);
    assert_int_equal(conf.members[2].id, 10);
    km_server_conf_fini(&conf);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text, *said;
    } mistakes[] = {
        {"colour = red\n", "colour"},
        {"audit = maybe\n", "batched"},
        {"heartbeat_ms = 200\n", "election_ms"},
        {"log = file.log\n", "absolute"},
        {"[members]\n0 = a z 127.0.0.1:1 127.0.0.1:2\n", "from 1 on"},
        {"[members]\n1 = a z 127.0.0.1:1\n", "peer host:port"},
        {"[members]\n1 = a z 127.0.0.1:1 127.0.0.1:2\n01 = b z 127.0.0.1:3 127.0.0.1:4\n", "each id once"},
        {"[members]\n1 = b z 127.0.0.1:1 127.0.0.1:2\n", "members"},
        {"[access]\napp = all\n", "create"},
        {"[lineage]\nshared = loose\n", "off, lineage or strict"},
    };
    struct km_server_conf conf;
    char message[512];
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        assert_int_equal(read_text(mistakes[i].text, &conf, message, sizeof(message)), KM_ERR_CONF);
        if (!strstr(message, mistakes[i].said))
            fail_msg("%s: %s", mistakes[i].text, message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_is_good),
        cmocka_unit_test(members_are_in_the_order_of_their_ids),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
