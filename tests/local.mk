# SPDX-License-Identifier: Apache-2.0
# Tests. Each unit program is a cmocka program of one file; one block for each folder under test.
unit_libs = server/libkmserver.la common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS) $(RAFT_LIBS) $(UV_LIBS) $(SQLITE_LIBS) $(NNG_LIBS) $(SYSTEMD_LIBS) $(CMOCKA_LIBS)
unit_programs =

# --- tables, server/hsm, server/service/template: keys and what is said about them
if HAVE_CMOCKA
unit_programs += tests/unit/test_attr tests/unit/test_mech tests/unit/test_template tests/unit/test_builtin \
	tests/unit/test_builtin_ec tests/unit/test_builtin_pqc tests/unit/test_builtin_rsa tests/unit/test_builtin_secret tests/unit/test_builtin_symmetric \
	tests/unit/test_keycache tests/unit/test_master_key
endif
tests_unit_test_attr_SOURCES = tests/unit/test_attr.c tests/unit/unit.h
tests_unit_test_attr_LDADD = $(unit_libs)
tests_unit_test_mech_SOURCES = tests/unit/test_mech.c tests/unit/unit.h
tests_unit_test_mech_LDADD = $(unit_libs)
tests_unit_test_template_SOURCES = tests/unit/test_template.c tests/unit/tmpl.h
tests_unit_test_template_LDADD = $(unit_libs)
builtin_kit = tests/unit/builtin_kit.c tests/unit/builtin_kit.h tests/unit/tmpl.h
tests_unit_test_builtin_SOURCES = tests/unit/test_builtin.c $(builtin_kit)
tests_unit_test_builtin_LDADD = $(unit_libs)
tests_unit_test_builtin_ec_SOURCES = tests/unit/test_builtin_ec.c $(builtin_kit)
tests_unit_test_builtin_ec_LDADD = $(unit_libs)
tests_unit_test_builtin_pqc_SOURCES = tests/unit/test_builtin_pqc.c $(builtin_kit)
tests_unit_test_builtin_pqc_LDADD = $(unit_libs)
tests_unit_test_builtin_rsa_SOURCES = tests/unit/test_builtin_rsa.c $(builtin_kit)
tests_unit_test_builtin_rsa_LDADD = $(unit_libs)
tests_unit_test_builtin_secret_SOURCES = tests/unit/test_builtin_secret.c $(builtin_kit)
tests_unit_test_builtin_secret_LDADD = $(unit_libs)
tests_unit_test_builtin_symmetric_SOURCES = tests/unit/test_builtin_symmetric.c $(builtin_kit)
tests_unit_test_builtin_symmetric_LDADD = $(unit_libs)
tests_unit_test_keycache_SOURCES = tests/unit/test_keycache.c tests/unit/unit.h
tests_unit_test_keycache_LDADD = $(unit_libs)
tests_unit_test_master_key_SOURCES = tests/unit/test_master_key.c tests/unit/unit.h
tests_unit_test_master_key_LDADD = $(unit_libs)
check_PROGRAMS += tests/fuzz/fuzz_template
TESTS += tests/fuzz/fuzz_template
tests_fuzz_fuzz_template_SOURCES = tests/fuzz/fuzz_template.c
tests_fuzz_fuzz_template_LDADD = $(unit_libs)

# --- common/: needs no server
dist_check_SCRIPTS += tests/unit/cryptoki-headers
TESTS += tests/unit/cryptoki-headers
common_libs = common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS) $(CMOCKA_LIBS)
if HAVE_CMOCKA
unit_programs += tests/unit/test_secret tests/unit/test_log tests/unit/test_conf tests/unit/test_identity
endif
tests_unit_test_secret_SOURCES = tests/unit/test_secret.c tests/unit/unit.h
tests_unit_test_secret_LDADD = $(common_libs)
tests_unit_test_log_SOURCES = tests/unit/test_log.c
tests_unit_test_log_LDADD = $(common_libs)
tests_unit_test_conf_SOURCES = tests/unit/test_conf.c
tests_unit_test_conf_LDADD = $(common_libs)
tests_unit_test_identity_SOURCES = tests/unit/test_identity.c
tests_unit_test_identity_LDADD = $(common_libs)

# --- fuzz: a harness for each decoder, on mutated seeds for a few seconds
fuzz_programs = tests/fuzz/fuzz_conf tests/fuzz/fuzz_identity tests/fuzz/fuzz_wire tests/fuzz/fuzz_channel
fuzz_libs = common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS)
tests_fuzz_fuzz_conf_SOURCES = tests/fuzz/fuzz_conf.c tests/fuzz/fuzz_main.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_conf_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_identity_SOURCES = tests/fuzz/fuzz_identity.c tests/fuzz/fuzz_main.c
tests_fuzz_fuzz_identity_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_wire_SOURCES = tests/fuzz/fuzz_wire.c tests/fuzz/fuzz_main.c
tests_fuzz_fuzz_wire_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_channel_SOURCES = tests/fuzz/fuzz_channel.c tests/fuzz/fuzz_main.c tests/unit/pki.c tests/unit/pki.h
tests_fuzz_fuzz_channel_LDADD = $(fuzz_libs)
check_PROGRAMS += $(fuzz_programs)
TESTS += $(fuzz_programs)

# --- the command line: without a cluster, and with a running one
TESTS += tests/cli/test_cli.sh tests/cli/test_members.sh
dist_check_SCRIPTS += tests/cli/test_cli.sh tests/cli/test_members.sh

# --- server/raft/: the store
store_libs = server/libkmserver.la common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS) $(CMOCKA_LIBS) -lpthread
if HAVE_CMOCKA
unit_programs += tests/unit/test_store tests/unit/test_store_client tests/unit/test_store_find tests/unit/test_store_memory tests/unit/test_store_snapshot tests/fuzz/fuzz_store
endif
tests_unit_test_store_SOURCES = tests/unit/test_store.c tests/unit/store_fixture.c tests/unit/store_fixture.h
tests_unit_test_store_LDADD = $(store_libs)
tests_fuzz_fuzz_store_SOURCES = tests/fuzz/fuzz_store.c tests/unit/store_fixture.c
tests_fuzz_fuzz_store_LDADD = $(store_libs)
tests_unit_test_store_client_SOURCES = tests/unit/test_store_client.c tests/unit/store_fixture.c
tests_unit_test_store_client_LDADD = $(store_libs)
tests_unit_test_store_find_SOURCES = tests/unit/test_store_find.c tests/unit/store_fixture.c
tests_unit_test_store_find_LDADD = $(store_libs)
tests_unit_test_store_memory_SOURCES = tests/unit/test_store_memory.c tests/unit/store_fixture.c
tests_unit_test_store_memory_LDADD = $(store_libs)
tests_unit_test_store_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc,--wrap=realloc
tests_unit_test_store_snapshot_SOURCES = tests/unit/test_store_snapshot.c tests/unit/store_fixture.c
tests_unit_test_store_snapshot_LDADD = $(store_libs)

# --- server/raft: the disk
if HAVE_CMOCKA
unit_programs += tests/unit/test_mark tests/unit/test_disk tests/unit/test_disk_damage tests/unit/test_disk_crash \
	tests/unit/test_world_uv
endif
disk_kit = tests/unit/disk_kit.c tests/unit/disk_kit.h tests/unit/unit.h
tests_unit_test_mark_SOURCES = tests/unit/test_mark.c $(disk_kit)
tests_unit_test_mark_LDADD = $(unit_libs)
tests_unit_test_disk_SOURCES = tests/unit/test_disk.c $(disk_kit)
tests_unit_test_disk_LDADD = $(unit_libs)
tests_unit_test_disk_damage_SOURCES = tests/unit/test_disk_damage.c $(disk_kit)
tests_unit_test_disk_damage_LDADD = $(unit_libs)
tests_unit_test_disk_crash_SOURCES = tests/unit/test_disk_crash.c $(disk_kit)
tests_unit_test_disk_crash_LDADD = $(unit_libs)
EXTRA_PROGRAMS += tests/unit/bench_disk
tests_unit_bench_disk_SOURCES = tests/unit/bench_disk.c $(disk_kit)
tests_unit_bench_disk_LDADD = $(unit_libs)
tests_unit_test_world_uv_SOURCES = tests/unit/test_world_uv.c tests/unit/unit.h
tests_unit_test_world_uv_LDADD = $(unit_libs)

# --- server/raft: messages between servers, leases
if HAVE_CMOCKA
unit_programs += tests/unit/test_codec tests/unit/test_lease
endif
tests_unit_test_codec_SOURCES = tests/unit/test_codec.c
tests_unit_test_codec_LDADD = $(unit_libs)
tests_unit_test_lease_SOURCES = tests/unit/test_lease.c
tests_unit_test_lease_LDADD = $(unit_libs)

# --- module/: against a courier without a network
module_libs = module/libkmmodule.la common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS) $(CMOCKA_LIBS) -lpthread
if HAVE_CMOCKA
unit_programs += tests/unit/test_handle tests/unit/test_operation tests/unit/test_remote tests/unit/test_surface
endif
tests_unit_test_handle_SOURCES = tests/unit/test_handle.c tests/unit/fake_client.c tests/unit/fake_client.h
tests_unit_test_handle_LDADD = $(module_libs)
tests_unit_test_operation_SOURCES = tests/unit/test_operation.c tests/unit/fake_client.c
tests_unit_test_operation_LDADD = $(module_libs)
tests_unit_test_surface_SOURCES = tests/unit/test_surface.c tests/unit/fake_client.c
tests_unit_test_surface_LDADD = $(module_libs)
tests_unit_test_remote_SOURCES = tests/unit/test_remote.c tests/unit/fake_client.c
tests_unit_test_remote_LDADD = $(module_libs)

# --- common/ and server/net/: the path between them
net_libs = server/libkmserver.la common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS) $(UV_LIBS) $(NNG_LIBS) $(CMOCKA_LIBS) -lpthread
if HAVE_CMOCKA
unit_programs += tests/unit/test_channel tests/unit/test_sp tests/unit/test_front tests/unit/test_client tests/unit/test_peers tests/unit/test_gate
endif
tests_unit_test_channel_SOURCES = tests/unit/test_channel.c tests/unit/pki.c tests/unit/pki.h
tests_unit_test_channel_LDADD = $(net_libs)
net_kit = tests/unit/net_kit.c tests/unit/net_kit.h tests/unit/pki.c tests/unit/pki.h
tests_unit_test_front_SOURCES = tests/unit/test_front.c $(net_kit)
tests_unit_test_front_LDADD = $(net_libs)
tests_unit_test_client_SOURCES = tests/unit/test_client.c $(net_kit)
tests_unit_test_client_LDADD = $(net_libs)
tests_unit_test_gate_SOURCES = tests/unit/test_gate.c
tests_unit_test_gate_LDADD = $(net_libs)
tests_unit_test_peers_SOURCES = tests/unit/test_peers.c $(net_kit)
tests_unit_test_peers_LDADD = $(net_libs)
tests_unit_test_sp_SOURCES = tests/unit/test_sp.c
tests_unit_test_sp_LDADD = $(net_libs)

# --- server/service: operations over a real replica in this process; server/govern
if HAVE_CMOCKA
unit_programs += tests/loop/test_service_token tests/loop/test_service_object tests/unit/test_audit tests/unit/test_login \
	tests/unit/test_access tests/unit/test_server_conf
endif
server_kit = tests/loop/server_kit.c tests/loop/server_kit.h tests/unit/unit.h
tests_loop_test_service_token_SOURCES = tests/loop/test_service_token.c $(server_kit)
tests_loop_test_service_token_LDADD = $(unit_libs)
tests_loop_test_service_object_SOURCES = tests/loop/test_service_object.c $(server_kit)
tests_loop_test_service_object_LDADD = $(unit_libs)
tests_unit_test_audit_SOURCES = tests/unit/test_audit.c tests/unit/unit.h
tests_unit_test_audit_LDADD = $(unit_libs)
tests_unit_test_login_SOURCES = tests/unit/test_login.c tests/unit/unit.h
tests_unit_test_login_LDADD = $(unit_libs)
tests_unit_test_access_SOURCES = tests/unit/test_access.c tests/unit/unit.h
tests_unit_test_access_LDADD = $(unit_libs)
tests_unit_test_server_conf_SOURCES = tests/unit/test_server_conf.c tests/unit/unit.h
tests_unit_test_server_conf_LDADD = $(unit_libs)

EXTRA_PROGRAMS += tests/bench/net-echo
tests_bench_net_echo_SOURCES = tests/bench/net-echo.c $(net_kit)
tests_bench_net_echo_LDADD = $(net_libs)

check_PROGRAMS += $(unit_programs)
TESTS += $(unit_programs)

# --- module/: as a program loads it. tests/loop/run starts a server for the programs; exports looks at the file
loop_kit = tests/loop/loop.c tests/loop/loop.h
loop_libs = $(CRYPTO_LIBS) $(CMOCKA_LIBS) -ldl -lpthread
if HAVE_CMOCKA
check_PROGRAMS += tests/loop/test_module tests/loop/test_module_use tests/loop/test_module_derive tests/loop/test_module_wrap tests/loop/test_module_pair \
	tests/loop/test_module_fork tests/loop/test_module_outage tests/loop/test_module_surface
endif
tests_loop_test_module_SOURCES = tests/loop/test_module.c $(loop_kit)
tests_loop_test_module_LDADD = $(loop_libs)
if HAVE_CMOCKA
check_PROGRAMS += tests/loop/test_module_cipher tests/loop/test_module_mac tests/loop/test_module_bulk
endif
tests_loop_test_module_bulk_SOURCES = tests/loop/test_module_bulk.c $(loop_kit)
tests_loop_test_module_bulk_LDADD = $(loop_libs)
tests_loop_test_module_mac_SOURCES = tests/loop/test_module_mac.c $(loop_kit)
tests_loop_test_module_mac_LDADD = $(loop_libs)
tests_loop_test_module_cipher_SOURCES = tests/loop/test_module_cipher.c $(loop_kit)
tests_loop_test_module_cipher_LDADD = $(loop_libs)
tests_loop_test_module_use_SOURCES = tests/loop/test_module_use.c $(loop_kit)
tests_loop_test_module_use_LDADD = $(loop_libs)
tests_loop_test_module_pair_SOURCES = tests/loop/test_module_pair.c $(loop_kit)
tests_loop_test_module_pair_LDADD = $(loop_libs)
if HAVE_CMOCKA
check_PROGRAMS += tests/loop/test_module_lineage
endif
tests_loop_test_module_lineage_SOURCES = tests/loop/test_module_lineage.c $(loop_kit)
tests_loop_test_module_lineage_LDADD = $(loop_libs)
tests_loop_test_module_derive_SOURCES = tests/loop/test_module_derive.c $(loop_kit)
tests_loop_test_module_derive_LDADD = $(loop_libs)
tests_loop_test_module_wrap_SOURCES = tests/loop/test_module_wrap.c $(loop_kit)
tests_loop_test_module_wrap_LDADD = $(loop_libs)
tests_loop_test_module_fork_SOURCES = tests/loop/test_module_fork.c $(loop_kit)
tests_loop_test_module_fork_LDADD = $(loop_libs)
tests_loop_test_module_outage_SOURCES = tests/loop/test_module_outage.c $(loop_kit)
tests_loop_test_module_outage_LDADD = $(loop_libs)
tests_loop_test_module_surface_SOURCES = tests/loop/test_module_surface.c $(loop_kit)
tests_loop_test_module_surface_LDADD = $(loop_libs)
dist_check_SCRIPTS += tests/loop/exports tests/loop/run tests/loop/test_tool_pair.sh tests/loop/test_tool_secret.sh
TESTS += tests/loop/exports tests/loop/run tests/loop/test_tool_pair.sh tests/loop/test_tool_secret.sh

# --- lineage: an attacker's search for calls that make a sensitive key known
check_PROGRAMS += tests/lineage/explore
tests_lineage_explore_SOURCES = tests/lineage/explore.c tests/lineage/stage.c tests/lineage/world.c tests/lineage/world.h
tests_lineage_explore_LDADD = $(CRYPTO_LIBS) -ldl
dist_check_SCRIPTS += tests/lineage/run
TESTS += tests/lineage/run

# --- programs that the shell tests use: built by `make`, so that a test can be run by hand at once
noinst_PROGRAMS += tests/bench/keymoot-bench tests/cluster/relay tests/cluster/lost_reply tests/cluster/stranger
tests_bench_keymoot_bench_SOURCES = tests/bench/keymoot-bench.c
tests_bench_keymoot_bench_LDADD = -lpthread -ldl
tests_cluster_relay_SOURCES = tests/cluster/relay.c
tests_cluster_stranger_SOURCES = tests/cluster/stranger.c
tests_cluster_lost_reply_SOURCES = tests/cluster/lost_reply.c
tests_cluster_lost_reply_LDADD = -ldl

# --- the simulator: whole clusters in one process, from seeds; members that come and go, power losses, stops, lossy links
noinst_PROGRAMS += tests/sim/sim
tests_sim_sim_SOURCES = tests/sim/check.c tests/sim/client.c tests/sim/disk.c tests/sim/env.c tests/sim/fault.c tests/sim/net.c \
	tests/sim/plants.def tests/sim/server.c tests/sim/sim.c tests/sim/sim.h
tests_sim_sim_LDADD = $(unit_libs)
dist_check_SCRIPTS += tests/sim/hundred-seeds
TESTS += tests/sim/hundred-seeds
# make check-sim SEED=n replays one seed with its trace; without SEED, SEEDS (1000) of them
.PHONY: check-sim check-sim-planted
check-sim: all
	tests/sim/sim $(if $(SEED),--seed $(SEED) --trace,--seeds $(or $(SEEDS),1000))
# each planted fault must be noticed
check-sim-planted: all
	tests/sim/sim --plant $(or $(PLANT),all)

# --- keymootd --dev, from outside
dist_check_SCRIPTS += tests/cluster/test-dev.sh tests/cluster/test-daemon.sh
TESTS += tests/cluster/test-dev.sh tests/cluster/test-daemon.sh

# --- suites of their own
AM_TESTS_ENVIRONMENT = $(if $(FUZZ_SECONDS),FUZZ_SECONDS='$(FUZZ_SECONDS)'; export FUZZ_SECONDS;) KEYMOOT_BUILD='$(abs_top_builddir)'; export KEYMOOT_BUILD; CC='$(CC)'; export CC; \
	LSAN_OPTIONS="suppressions=$(abs_srcdir)/tests/lsan.supp print_suppressions=0 $$LSAN_OPTIONS"; export LSAN_OPTIONS; \
	TSAN_OPTIONS="suppressions=$(abs_srcdir)/tests/tsan.supp $$TSAN_OPTIONS"; export TSAN_OPTIONS; \
	UBSAN_OPTIONS="print_stacktrace=1 $$UBSAN_OPTIONS"; export UBSAN_OPTIONS;
EXTRA_DIST += tests/lsan.supp tests/tsan.supp
dist_check_SCRIPTS += tests/cluster/short
TESTS += tests/cluster/short

# --- what has threads, in a build with --enable-sanitize=thread
.PHONY: check-tsan
if HAVE_CMOCKA
tsan_tests = tests/unit/test_keycache tests/unit/test_builtin tests/unit/test_secret tests/unit/test_log \
	tests/unit/test_store_find tests/unit/test_disk tests/unit/test_world_uv tests/unit/test_audit \
	tests/unit/test_front tests/unit/test_client tests/unit/test_peers tests/unit/test_sp tests/unit/test_handle \
	tests/unit/test_remote tests/loop/test_service_token tests/loop/test_service_object tests/loop/run
endif
check-tsan:
	$(MAKE) check TESTS='$(tsan_tests)'
.PHONY: check-hosts check-cluster bench
check-hosts: all
	KEYMOOT_BUILD='$(abs_top_builddir)' $(srcdir)/tests/hosts/run
check-cluster: all
	KEYMOOT_BUILD='$(abs_top_builddir)' $(srcdir)/tests/cluster/run all
bench: all
	KEYMOOT_BUILD='$(abs_top_builddir)' $(srcdir)/tests/bench/run

EXTRA_DIST += tests/lib.sh tests/run tests/bench/run tests/cluster/run tests/hosts/run tests/hosts/hosts.sh \
	tests/hosts/openssl.sh tests/hosts/nginx.sh tests/hosts/apache.sh tests/hosts/postgresql.sh tests/hosts/openssh.sh tests/hosts/java.sh \
	tests/hosts/Host.java tests/hosts/pkcs11-tool.sh tests/hosts/gnutls.sh contrib/hosts/README.md contrib/hosts/snippet contrib/hosts/uri-pem \
	contrib/cluster.sh contrib/quickstart

# --- the standard's functions, row by row, against any module; tests/conform/run has keymoot and SoftHSMv2
noinst_PROGRAMS += tests/conform/conform
tests_conform_conform_SOURCES = tests/conform/conform.c tests/conform/conform.h tests/conform/names.c tests/conform/stage.c \
	tests/conform/keys.c tests/conform/keys.h tests/conform/rows_every.c tests/conform/rows_general.c tests/conform/rows_session.c \
	tests/conform/rows_fork.c tests/conform/rows_object.c tests/conform/rows_family.c tests/conform/rows_mechanism.c tests/conform/rows_key.c \
	tests/conform/every.h tests/conform/rows_interface.c tests/conform/rows_message.c tests/conform/rows_latest.c
tests_conform_conform_LDADD = -ldl -lpthread
# known answers, from Debian's python3-cryptography-vectors
noinst_PROGRAMS += tests/conform/kat
tests_conform_kat_SOURCES = tests/conform/kat.c tests/conform/kat.h tests/conform/kat.def tests/conform/kat_read.c tests/conform/kat_cipher.c \
	tests/conform/kat_sign.c tests/conform/kat_derive.c tests/conform/names.c tests/conform/stage.c tests/conform/keys.c
tests_conform_kat_LDADD = -ldl -lpthread
tests/conform/names.$(OBJEXT): tests/conform/rv.inc
tests/conform/rv.inc: common/cryptoki_const.h
	$(AM_V_GEN)mkdir -p tests/conform && sed -n 's/^#define \(CKR_[A-Z0-9_]*\) .*/NAME(\1)/p' $(srcdir)/common/cryptoki_const.h >$@
CLEANFILES += tests/conform/rv.inc
dist_check_SCRIPTS += tests/conform/run
.PHONY: check-kat
check-kat: all
	KEYMOOT_BUILD='$(abs_top_builddir)' KAT_EACH=0 $(srcdir)/tests/conform/run kat
EXTRA_DIST += tests/dev.sh tests/conform/softhsm.known tests/conform/keymoot.known \
	tests/conform/vectors/aes-cbc-pad.txt tests/conform/vectors/aes-cts.txt tests/conform/vectors/ecdsa-sha3.txt \
	tests/conform/vectors/hmac-sha3-224.txt tests/conform/vectors/hmac-sha3-256.txt tests/conform/vectors/hmac-sha3-384.txt tests/conform/vectors/hmac-sha3-512.txt tests/conform/vectors/hmac-sha512-224.txt tests/conform/vectors/hmac-sha512-256.txt tests/conform/vectors/pbkdf2.txt tests/conform/vectors/rsa-pkcs-sha3.txt tests/conform/vectors/rsa-pss-sha3.txt
TESTS += tests/conform/run

# --- objects through the module
if HAVE_CMOCKA
check_PROGRAMS += tests/loop/test_module_attr tests/loop/test_module_object
endif
tests_loop_test_module_attr_SOURCES = tests/loop/test_module_attr.c tests/loop/attr_rules.def $(loop_kit)
tests_loop_test_module_attr_LDADD = $(loop_libs)
tests_loop_test_module_object_SOURCES = tests/loop/test_module_object.c $(loop_kit)
tests_loop_test_module_object_LDADD = $(loop_libs)

# --- the module's whole surface under any calls, before an honest server and before one that lies; strangers on its socket
surface = tests/fuzz/surface.c tests/fuzz/surface.h tests/fuzz/surface_args.c tests/fuzz/surface_args.h tests/fuzz/surface_later.c tests/fuzz/surface_wire.c tests/fuzz/fuzz_main.c tests/fuzz/fuzz.h $(server_kit)
surface_libs = module/libkmmodule.la $(unit_libs)
surface_programs = tests/fuzz/fuzz_sp
if HAVE_CMOCKA
surface_programs += tests/fuzz/fuzz_module tests/fuzz/fuzz_hostile
endif
tests_fuzz_fuzz_module_SOURCES = tests/fuzz/fuzz_module.c $(surface)
tests_fuzz_fuzz_module_LDADD = $(surface_libs)
tests_fuzz_fuzz_hostile_SOURCES = tests/fuzz/fuzz_hostile.c $(surface)
tests_fuzz_fuzz_hostile_LDADD = $(surface_libs)
tests_fuzz_fuzz_sp_SOURCES = tests/fuzz/fuzz_sp.c tests/fuzz/fuzz_main.c
tests_fuzz_fuzz_sp_LDADD = $(fuzz_libs)
tests/fuzz/surface.$(OBJEXT): tests/conform/rv.inc
check_PROGRAMS += $(surface_programs)
TESTS += $(surface_programs)
# a minute each
.PHONY: check-fuzz
check-fuzz:
	$(MAKE) check TESTS='tests/fuzz/fuzz_module tests/fuzz/fuzz_hostile' FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60)

# --- a token with a hundred thousand keys: `make check-keys`, KEYS of them
noinst_PROGRAMS += tests/bench/fill tests/bench/lookup
tests_bench_fill_SOURCES = tests/bench/fill.c
tests_bench_fill_LDADD = $(unit_libs)
tests_bench_lookup_SOURCES = tests/bench/lookup.c
tests_bench_lookup_LDFLAGS = -rdynamic
tests_bench_lookup_LDADD = -ldl
.PHONY: check-keys
check-keys: all
	KEYMOOT_BUILD='$(abs_top_builddir)' $(srcdir)/tests/bench/keys
EXTRA_DIST += tests/bench/keys
