# SPDX-License-Identifier: Apache-2.0
# The operator's command: one file for each row of commands.def.
bin_PROGRAMS += keymoot
keymoot_SOURCES = \
	cli/cli.h cli/commands.def cli/main.c cli/options.c cli/table.c cli/file.c cli/file.h \
	cli/pki.c cli/pki.h cli/pki_init.c cli/pki_issue.c cli/pki_master_key.c cli/pki_show.c \
	cli/cluster.c cli/cluster.h cli/cluster_init.c cli/cluster_status.c cli/cluster_add.c cli/cluster_remove.c cli/token_list.c
keymoot_CFLAGS = $(AM_CFLAGS) $(SMARTCOLS_CFLAGS)
keymoot_LDADD = common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS) $(SMARTCOLS_LIBS)
EXTRA_DIST += conf/client.conf docs/cli.md
