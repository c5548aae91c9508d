# SPDX-License-Identifier: Apache-2.0
# keymoot-pkcs11.so: no threads, no shared libraries but libc (design D1, D3).
EXTRA_DIST += module/keymoot-pkcs11.map
