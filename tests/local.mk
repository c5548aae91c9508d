# SPDX-License-Identifier: Apache-2.0
# Tests. unit_<name> programs are cmocka programs of one file each; a row per folder below.
unit_programs =
unit_libs = server/libkmserver.la common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS) $(RAFT_LIBS) $(UV_LIBS) $(SQLITE_LIBS) $(NNG_LIBS) $(SYSTEMD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += $(unit_programs)
TESTS += $(unit_programs)
