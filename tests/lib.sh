# SPDX-License-Identifier: Apache-2.0
# What the shell tests share: where the build is, a scratch folder, a cluster, and the counting of claims.
# A test file is a list of functions named as claims; `claims NAME...` runs them, prints PASS/FAIL/SKIP lines and the totals.

src=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${KEYMOOT_BUILD:-${abs_top_builddir:-$src/build}}
bin=$build
module=$build/.libs/keymoot-pkcs11.so
bench=$build/tests/bench/keymoot-bench
# Ports from here on: each test has its offset, each build its hundred unless KEYMOOT_TEST_PORT says which.
#   tests/cluster/run 0 (1-9, 21-29, 51-59), tests/cli/test_members.sh 10, test-daemon.sh 30, tests/lineage/run 40 (41, 91), tests/loop/run 45, test-dev.sh 46
test_port=${KEYMOOT_TEST_PORT:-$((7700 + $(echo "$build" | cksum | cut -d' ' -f1) % 200 * 100))}
# A module that is built with ASan needs its runtime in the host before everything else; the host's own leaks and errors are
# not ours (pkcs11-tool 0.23 reads freed memory when it shows a public key); the module is built to stop at its own.
host_preload=$(ldd "$module" 2>/dev/null | awk '/libasan/ {print $3}')
# shellcheck source=contrib/cluster.sh
. "$src/contrib/cluster.sh"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/keymoot-test.XXXXXX")
PIN=24681357 SO_PIN=13572468
passed=0 failed=0 skipped=0

# sanitizer_says FILE...: what sanitizers found in servers that wrote these; nothing: false. Not memory that nng allocated for itself: 1.5
# now and then loses a dialer that is closed while it connects.
sanitizer_says() {
    awk '/(Direct|Indirect) leak of/ { block = $0 "\n"; next }
        block != "" && / #[01] / { block = block $0 "\n"; if (/ #1 /) { if (!/libnng\.so/) { printf "%s", block; found = 1 } block = "" } next }
        /ERROR: LeakSanitizer:/ || /byte\(s\) leaked in/ { next }
        /(Address|Leak|Thread)Sanitizer:|runtime error:/ { found = 1; lines = 40 }
        lines > 0 { print; lines-- }
        END { exit !found }' "$@" /dev/null
}

clean_up() {
    local rc=$?
    set +e
    [ ! -f "$scratch/c/size" ] || cluster_stop "$scratch/c"
    type test_clean_up >/dev/null 2>&1 && test_clean_up
    if [ -f "$scratch/c/size" ] && sanitizer_says "$scratch"/c/*/out; then
        echo "FAIL a server's sanitizer found something"
        failed=$((failed + 1)) rc=1
    fi
    if [ "$failed" -gt 0 ] || [ $rc -ne 0 ]; then
        for log in "$scratch"/c/*/log; do [ ! -f "$log" ] || { echo "--- $log"; tail -n 40 "$log"; }; done
        [ -z "${KEYMOOT_KEEP:-}" ] || { echo "kept: $scratch"; exit $rc; }
    fi
    rm -rf "$scratch"
    exit $rc
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# host PROGRAM...: a program that is not ours and loads the module.
host() {
    [ -n "$host_preload" ] || { "$@"; return; }
    LD_PRELOAD=$host_preload ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0:halt_on_error=0 "$@"
}

note() { printf '    %s\n' "$*"; }
fail() { printf '    FAILED: %s\n' "$*"; return 1; }
skip() { printf '    skipped: %s\n' "$*"; return 77; }

claims() {
    local claim rc start
    for claim in "$@"; do
        start=$(date +%s)
        rc=0
        # A subshell, so that `exit` and settings in a claim stay there; not in a condition, so that set -e works in it.
        set +e
        (set -e; "$claim")
        rc=$?
        set -e
        case $rc in
        0) passed=$((passed + 1)); echo "PASS $claim ($(($(date +%s) - start)) s)" ;;
        77) skipped=$((skipped + 1)); echo "SKIP $claim" ;;
        *) failed=$((failed + 1)); echo "FAIL $claim" ;;
        esac
    done
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}

p11() { KEYMOOT_CONF=${KEYMOOT_CONF:-$scratch/c/client.conf} host pkcs11-tool --module "$module" "$@"; }
p11_user() { p11 --token-label shared --login --pin "$PIN" "$@"; }

# free_slot: the id of the uninitialised slot, as pkcs11-tool prints it.
free_slot() { p11 --list-slots 2>/dev/null | sed -n '/^Slot/{s/.*(\(0x[0-9a-f]*\)).*/\1/;h};/uninitialized/{g;p;q}'; }

# new_cluster N BASEPORT: a running cluster with the token "shared" in $scratch/c.
new_cluster() {
    cluster_make "$scratch/c" "$1" "$2"
    local name
    for name in $(cluster_names "$scratch/c"); do cluster_start "$scratch/c" "$name"; done
    cluster_wait "$scratch/c" 30
    export KEYMOOT_CONF=$scratch/c/client.conf
    p11 --slot "$(free_slot)" --init-token --label shared --so-pin "$SO_PIN" >/dev/null
    p11 --token-label shared --login --login-type so --so-pin "$SO_PIN" --init-pin --new-pin "$PIN" >/dev/null
}

# json FIELD: the number or string of a field of the one-line JSON on standard input.
json() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" | head -1; }

# load_start OP THREADS SECONDS: keymoot-bench in the background; load_end waits for it and leaves its JSON in $load.
# Not for $(...): a subshell cannot wait for its parent's child, and would take a running load for a failed one.
load_start() {
    "$bench" --module "$module" --token shared --pin "$PIN" --op "$1" --threads "$2" --seconds "$3" --name keymoot \
        >"$scratch/load.json" 2>"$scratch/load.progress" &
    load_pid=$!
}
load_calls() { sed -n 's/^progress //p' "$scratch/load.progress" | tail -1; }
# load_wait_rate CALLS: waits until at least that many calls were made, so that what follows hits running load.
load_wait_rate() {
    local i
    for i in $(seq 1 100); do
        [ "$(load_calls || true)" ] && [ "$(load_calls)" -ge "$1" ] && return 0
        kill -0 "$load_pid" 2>/dev/null || return 1
        sleep 0.1
    done
    fail "the load made only $(load_calls) calls in 10 s, wanted $1"
}
load_end() {
    wait "$load_pid" || { grep -av ^progress "$scratch/load.progress"; fail "the load did not run"; return 1; }
    load=$(cat "$scratch/load.json")
}
