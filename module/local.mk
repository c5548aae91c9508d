# SPDX-License-Identifier: Apache-2.0
# keymoot-pkcs11.so: no threads, no shared libraries but libc (design D1, D3). The objects are a library of their own, so that the unit tests
# link the same ones; hence --exclude-libs by name (ALL would hide our own archive, C_* and all).
noinst_LTLIBRARIES += module/libkmmodule.la
module_libkmmodule_la_SOURCES = \
	module/attribute.c module/bulk.c module/bulk.h module/cipher.c module/cipher.h module/crypt.c module/digest.c module/digest.h module/dual.c module/event.c module/find.c module/fixed_object.c module/fixed_object.h \
	module/general.c module/guard.h module/handle.c module/handle.h module/keygen.c module/local.c module/local.h \
	module/login.c module/login.h module/mechanism.c module/object.c module/object.h module/offer.c module/offer.h module/operation.c module/operation.h module/parallel.c \
	module/process.c module/process.h module/random.c module/remote.c module/remote.h module/session.c \
	module/session_object.c module/session_object.h module/sign.c module/sign.h module/slot.c module/state.c module/text.h module/token.c module/verify.c module/message.c module/message.h module/message_param.c module/message_sign.c
# keys from keys
module_libkmmodule_la_SOURCES += module/derive.c module/encapsulate.c module/make.c module/make.h module/mechanism.h \
	module/mechanism_make.c module/wrap.c

pkglib_LTLIBRARIES += keymoot-pkcs11.la
keymoot_pkcs11_la_SOURCES =
keymoot_pkcs11_la_LIBADD = module/libkmmodule.la common/libkmcommon.la $(MODULE_LIBS)
keymoot_pkcs11_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared \
	-Wl,--version-script=$(top_srcdir)/module/keymoot-pkcs11.map -Wl,--exclude-libs,libssl.a:libcrypto.a:libprotobuf-c.a -Wl,-z,nodelete -Wl,-z,defs
keymoot_pkcs11_la_DEPENDENCIES = module/libkmmodule.la common/libkmcommon.la module/keymoot-pkcs11.map
EXTRA_DIST += module/keymoot-pkcs11.map
