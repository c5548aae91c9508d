# SPDX-License-Identifier: Apache-2.0
# Pages that are made from the code's tables.
noinst_PROGRAMS += docs/print-mechanisms
docs_print_mechanisms_SOURCES = docs/print-mechanisms.c
dist_check_SCRIPTS += docs/check
TESTS += docs/check
EXTRA_DIST += docs/mechanisms.md
.PHONY: docs
docs: docs/print-mechanisms
	docs/print-mechanisms >$(srcdir)/docs/mechanisms.md
