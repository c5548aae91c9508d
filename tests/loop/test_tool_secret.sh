#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Secret keys as pkcs11-tool uses them, cross-checked by plain openssl in both directions.
set -euo pipefail
src=$(cd "$(dirname "$0")/../.." && pwd)
build=${KEYMOOT_BUILD:-$src/build}
# shellcheck source=tests/dev.sh
. "$src/tests/dev.sh"
dev_foreign test_tool_secret pkcs11-tool
scratch=$(mktemp -d "${TMPDIR:-/tmp}/keymoot-tool.XXXXXX")
failed=1
clean_up() {
    dev_stop || failed=1
    rm -rf "$scratch"
    exit "$failed"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
dev_start test_tool_secret

key=603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4 iv=000102030405060708090a0b0c0d0e0f
tool() { pkcs11-tool --module "$KEYMOOT_MODULE" --login --pin "$KEYMOOT_PIN" "$@" >"$scratch/tool" 2>&1 || { cat "$scratch/tool" >&2; return 1; }; }
same() { cmp "$1" "$2" || { echo "test_tool_secret: $3 differs" >&2; exit 1; }; }

cd "$scratch"
printf '%s' "$key" | tr a-f A-F | sed 's/../\\x&/g' | xargs -0 printf '%b' >key
head -c 100000 "$build/keymootd" >text
head -c 99984 text >blocks
tool --write-object key --type secrkey --key-type AES:32 --id 01 --label bulk --usage-decrypt --extractable
crypt() { # MECHANISM CIPHER TEXT [IV]
    tool --encrypt --id 01 -m "$1" --input-file "$3" --output-file there ${4:+--iv "$4"}
    openssl enc "-$2" -K "$key" ${4:+-iv "$4"} ${nopad:+-nopad} -in "$3" -out expected
    same there expected "$1, encrypted,"
    tool --decrypt --id 01 -m "$1" --input-file expected --output-file back ${4:+--iv "$4"}
    same back "$3" "$1, decrypted,"
}
nopad='' crypt AES-CBC-PAD aes-256-cbc text "$iv"
nopad=1 crypt AES-CBC aes-256-cbc blocks "$iv"
nopad=1 crypt AES-ECB aes-256-ecb blocks

# pkcs11-tool brings no generic secrets; it makes them, and shows what may be seen.
tool --keygen --key-type GENERIC:32 --id 02 --label mac --usage-sign --extractable
tool --read-object --type secrkey --id 02 --output-file mac
mac() { # MECHANISM HASH
    tool --sign --id 02 -m "$1" --input-file text --output-file there
    openssl dgst -"$2" -mac HMAC -macopt "hexkey:$(od -An -v -tx1 mac | tr -d ' \n')" -binary -out expected text
    same there expected "$1"
}
mac SHA-1-HMAC sha1
mac SHA256-HMAC sha256
mac SHA384-HMAC sha384
mac SHA512-HMAC sha512
failed=0
