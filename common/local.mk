# SPDX-License-Identifier: Apache-2.0
# What both sides speak. Compiled as position-independent code, since the module links it too.
noinst_LTLIBRARIES += common/libkmcommon.la
common_libkmcommon_la_SOURCES = \
	common/attr.h common/channel.h common/client.h common/conf.h common/cryptoki.h common/cryptoki_funcs.def \
	common/cryptoki_const.h common/cryptoki_mech.h common/cryptoki_params.h \
	common/attr.c common/attr.def common/cert.c common/cert.h common/mech.c common/mech.def common/hash.def common/symmetric.c common/symmetric.h \
	common/symmetric_aead.c common/symmetric_aes.c common/symmetric_ctr.c common/symmetric_wrap.c \
	common/domain.c common/domain.def common/domain.h \
	common/pubkey.c common/pubkey.h common/signature.c common/signature.h \
	common/channel.c common/client.c common/client_conf.c common/nest.c common/nest.h common/pool.c common/pool.h \
	common/forks.c common/forks.h common/sp.c common/sp.h common/tls.c common/tls.h \
	common/conf.c common/identity.c common/log.c common/secret.c \
	common/err.c common/err.h common/identity.h common/log.h common/mech.h common/secret.h
nodist_common_libkmcommon_la_SOURCES = common/wire.pb-c.c common/wire.pb-c.h
common_libkmcommon_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
BUILT_SOURCES += common/wire.pb-c.c common/wire.pb-c.h
CLEANFILES += common/wire.pb-c.c common/wire.pb-c.h
EXTRA_DIST += common/wire.proto
