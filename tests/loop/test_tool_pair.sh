#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Key pairs as pkcs11-tool and OpenSSL's PKCS#11 provider use them; plain openssl checks what they sign.
set -euo pipefail
src=$(cd "$(dirname "$0")/../.." && pwd)
build=${KEYMOOT_BUILD:-$src/build}
# shellcheck source=tests/dev.sh
. "$src/tests/dev.sh"
dev_foreign test_tool_pair pkcs11-tool
scratch=$(mktemp -d "${TMPDIR:-/tmp}/keymoot-tool.XXXXXX")
failed=1
clean_up() {
    dev_stop || failed=1
    rm -rf "$scratch"
    exit "$failed"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
dev_start test_tool_pair

tool() { pkcs11-tool --module "$KEYMOOT_MODULE" --login --pin "$KEYMOOT_PIN" "$@" >"$scratch/tool" 2>&1 || { cat "$scratch/tool" >&2; return 1; }; }
cd "$scratch"
head -c 3000 "$build/keymootd" >text

# openssl_takes ID ARGUMENT...: the public key as pkcs11-tool reads it, DER or PEM, and openssl dgst's arguments.
openssl_takes() {
    local id=$1
    shift
    tool --read-object --type pubkey --id "$id" --output-file pub
    openssl pkey -pubin -in pub -out pub.pem 2>err || openssl pkey -pubin -inform DER -in pub -out pub.pem
    "$@"
}

id=20
for curve in prime256v1 secp384r1 secp521r1 secp256k1 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1; do
    id=$((id + 1))
    tool --keypairgen --key-type "EC:$curve" --id "$id" --label "$curve"
    tool --sign --id "$id" --mechanism ECDSA-SHA256 --signature-format openssl --input-file text --output-file sig
    tool --verify --id "$id" --mechanism ECDSA-SHA256 --signature-format openssl --input-file text --signature-file sig
    case $curve in *384*) continue ;; esac # pkcs11-tool 0.23 does not read public keys of this length, from any module
    openssl_takes "$id" openssl dgst -sha256 -verify pub.pem -signature sig text >/dev/null
done

tool --keypairgen --key-type EC:edwards25519 --id 30 --label ed25519
tool --sign --id 30 --mechanism EDDSA --input-file text --output-file sig
tool --verify --id 30 --mechanism EDDSA --input-file text --signature-file sig
openssl_takes 30 openssl pkeyutl -verify -pubin -inkey pub.pem -rawin -in text -sigfile sig >/dev/null
tool --keypairgen --key-type EC:curve25519 --id 31 --label x25519 --usage-derive

tool --keypairgen --key-type rsa:2048 --id 40 --label rsa
openssl_takes 40 true
for hash in SHA256 SHA512 SHA3-256 SHA3-512; do
    tool --sign --id 40 --mechanism "$hash-RSA-PKCS" --input-file text --output-file sig
    openssl dgst "-$(echo "$hash" | tr A-Z a-z)" -verify pub.pem -signature sig text >/dev/null
    tool --sign --id 40 --mechanism "$hash-RSA-PKCS-PSS" --input-file text --output-file sig
    openssl dgst "-$(echo "$hash" | tr A-Z a-z)" -verify pub.pem -sigopt rsa_padding_mode:pss -signature sig text >/dev/null
done
printf 'number' >number
tool --sign --id 40 --mechanism RSA-X-509 --input-file number --output-file sig
openssl pkeyutl -verifyrecover -pubin -inkey pub.pem -pkeyopt rsa_padding_mode:none -in sig | tail -c 6 | cmp - number

# private keys from outside
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP512r1 -outform DER -out own.der
openssl pkey -in own.der -pubout -out own.pem
tool --write-object own.der --type privkey --id 50 --label own --usage-sign
tool --sign --id 50 --mechanism ECDSA-SHA512 --signature-format openssl --input-file text --output-file sig
openssl dgst -sha512 -verify own.pem -signature sig text >/dev/null

# --- the provider
modules=$(openssl version -m | cut -d'"' -f2)
if [ ! -f "$modules/pkcs11.so" ]; then
    echo "test_tool_pair: pkcs11-provider is not installed; EdDSA through it was skipped"
    failed=0
    exit
fi
sed "s,%MODULES%,$modules,;s,%MODULE%,$KEYMOOT_MODULE,;s,%PIN%,$KEYMOOT_PIN," >provider.conf <<'END'
openssl_conf = openssl_init
[openssl_init]
providers = provider_sect
[provider_sect]
default = default_sect
pkcs11 = pkcs11_sect
[default_sect]
activate = 1
[pkcs11_sect]
module = %MODULES%/pkcs11.so
pkcs11-module-path = %MODULE%
pkcs11-module-token-pin = %PIN%
activate = 1
END
with_provider() { OPENSSL_CONF=$scratch/provider.conf openssl "$@"; }
with_provider pkeyutl -sign -inkey "pkcs11:id=%30;type=private" -rawin -in text -out sig
openssl_takes 30 openssl pkeyutl -verify -pubin -inkey pub.pem -rawin -in text -sigfile sig >/dev/null
with_provider pkeyutl -verify -pubin -inkey "pkcs11:id=%30;type=public" -rawin -in text -sigfile sig >/dev/null
# genpkey makes the key in the token and then fails to write a private key, which is nobody's to write
with_provider genpkey -propquery "provider=pkcs11" -algorithm ED448 -pkeyopt "pkcs11_uri:pkcs11:object=ed448;id=%32" >/dev/null 2>&1 || true
with_provider pkey -pubin -in "pkcs11:id=%32;type=public" -out ed448.pem
with_provider pkeyutl -sign -inkey "pkcs11:id=%32;type=private" -rawin -in text -out sig
openssl pkeyutl -verify -pubin -inkey ed448.pem -rawin -in text -sigfile sig >/dev/null
failed=0
