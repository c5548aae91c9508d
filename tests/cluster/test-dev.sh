#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# keymootd --dev: ready at once, usable from what it prints, gone without a trace; and it touches nothing that exists.
set -euo pipefail
src=$(cd "$(dirname "$0")/../.." && pwd)
build=${KEYMOOT_BUILD:-$src/build}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/keymoot-test.XXXXXX")
export TMPDIR=$scratch
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$scratch"' EXIT
die() { echo "FAILED: $*"; [ ! -f "$scratch/out" ] || cat "$scratch/out"; exit 1; }

start() {
    "$build/keymootd" --dev "$@" >"$scratch/out" 2>&1 &
    pid=$!
    for _ in $(seq 1 100); do
        ! grep -q '^export KEYMOOT_MODULE=' "$scratch/out" || return 0
        kill -0 "$pid" 2>/dev/null || die "it ended"
        sleep 0.05
    done
    die "not ready within 5 s"
}
stop() { # SIGNAL
    kill -"$1" "$pid"
    wait "$pid" || die "exit code $? after SIG$1"
    pid=
}

begun=$(date +%s%N)
start
ms=$((($(date +%s%N) - begun) / 1000000))
grep -q 'for development only' "$scratch/out" || die "does not say what it is for"
conf=$(sed -n 's/^export KEYMOOT_CONF=//p' "$scratch/out")
pin=$(sed -n 's/.*user PIN \([0-9]*\).*/\1/p' "$scratch/out")
[ -f "$conf" ] && [ ${#pin} -eq 8 ] || die "no configuration or PIN"
case $(ss -Hltn 2>/dev/null | awk '{print $4}') in *"0.0.0.0:$(sed -n 's/.*127.0.0.1:\([0-9]*\)$/\1/p' "$scratch/out")"*) die "listens beyond the loopback" ;; esac
if [ -f "$build/.libs/keymoot-pkcs11.so" ] && command -v pkcs11-tool >/dev/null; then
    asan=$(ldd "$build/.libs/keymoot-pkcs11.so" | awk '/libasan/ {print $3}') # a sanitized module needs it in the host first
    p11() { KEYMOOT_CONF=$conf ${asan:+env LD_PRELOAD=$asan ASAN_OPTIONS=detect_leaks=0:halt_on_error=0} pkcs11-tool --module "$build/.libs/keymoot-pkcs11.so" --token-label dev "$@"; }
    [ "$(p11 --list-token-slots 2>/dev/null | sed -n 's/.*token model *: *//p')" = DEV ] || die "the token's model is not DEV"
    p11 --login --pin "$pin" --keypairgen --key-type EC:prime256v1 --id 11 >/dev/null 2>&1 || die "no key pair"
    p11 --login --pin "$pin" --sign --id 11 --mechanism ECDSA-SHA256 --signature-format openssl --input-file "$0" --output-file "$scratch/sig" >/dev/null 2>&1 || die "no signature"
    p11 --read-object --type pubkey --id 11 --output-file "$scratch/pub.der" >/dev/null 2>&1
    openssl dgst -sha256 -verify "$scratch/pub.der" -keyform DER -signature "$scratch/sig" "$0" >/dev/null || die "the signature is not one"
else
    echo "skipped: signing (no module or no pkcs11-tool)"
fi
stop TERM
[ ! -e "$(dirname "$conf")" ] || die "its folder is still there"

mkdir "$scratch/full" && touch "$scratch/full/raft.db"
! "$build/keymootd" --dev --dir "$scratch/full" >/dev/null 2>&1 || die "ran in a folder with data"
[ -f "$scratch/full/raft.db" ] || die "removed what was not its own"
! "$build/keymootd" --dev --config "$conf" >/dev/null 2>&1 || die "took a real configuration"
! "$build/keymootd" --dev --init --join >/dev/null 2>&1 || die "joined"
start --dir "$scratch/new"
stop INT
[ ! -e "$scratch/new" ] || die "--dir: its folder is still there"
echo "PASS keymootd --dev (ready in $ms ms)"
