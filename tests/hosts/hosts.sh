# SPDX-License-Identifier: Apache-2.0
# What the tests of host programs share. Configurations and command lines are the blocks of contrib/hosts/README.md.

data=$src/README.md
port=${KEYMOOT_TEST_PORT:-7800}
web=$((port + 90))

# snip NAME [WORD=VALUE]...: a block of the README.
snip() { local name=$1; shift; "$src/contrib/hosts/snippet" "$name" MODULE="$module" TOKEN=shared PIN="$PIN" HOST=localhost "$@"; }
# run_snip NAME [WORD=VALUE]...: runs a block of commands.
run_snip() {
    local commands
    commands=$(snip "$@")
    bash -euc "$commands"
}
uri() { echo "pkcs11:token=shared;object=$1;type=private"; }

# equip DIR USER IDENTITY: a program's folder, the README's @DIR@, for the user that starts the program.
equip() {
    local dir=$1 user=$2 who=$3 key
    rm -rf "$dir" && mkdir -p "$dir"
    cp "$scratch/c/pki/$who.crt" "$scratch/c/pki/$who.key" "$scratch/c/pki/ca.crt" "$dir"
    sed "s|^certificate = .*|certificate = $who.crt|; s|^key = .*|key = $who.key|; s|^ca = .*|ca = ca.crt|" "$scratch/c/client.conf" >"$dir/client.conf"
    echo "$PIN" >"$dir/pin"
    printf '#!/bin/sh\necho %s\n' "$PIN" >"$dir/askpass"
    snip openssl-provider.cnf DIR="$dir" >"$dir/openssl-provider.cnf"
    snip openssl-engine.cnf DIR="$dir" >"$dir/openssl-engine.cnf"
    snip environment DIR="$dir" >"$dir/environment"
    for key in ec rsa; do
        "$src/contrib/hosts/uri-pem" "$(uri $key)" >"$dir/$key.pem"
        [ ! -f "$scratch/etc/$key.crt" ] || [ "$dir" = "$scratch/etc" ] || cp "$scratch/etc/$key.crt" "$dir"
    done
    chmod 600 "$dir"/* && chmod 700 "$dir/askpass" && chmod 755 "$dir"
    chown -R "$user" "$dir"
}
# with_provider DIR COMMAND..., with_engine DIR COMMAND...: under the configuration of a program's folder.
with_provider() { local dir=$1; shift; env $(cat "$dir/environment") "$@"; }
with_engine() { local dir=$1; shift; env KEYMOOT_CONF="$dir/client.conf" OPENSSL_CONF="$dir/openssl-engine.cnf" "$@"; }
# as USER COMMAND...
as() { local user=$1; shift; runuser -u "$user" -- "$@"; }

openssl_dir() { openssl version -a | sed -n "s/^$1: \"\(.*\)\"/\1/p"; }
needs_provider() { [ -f "$(openssl_dir MODULESDIR)/pkcs11.so" ] || skip "pkcs11-provider is not installed"; }
needs_engine() { [ -f "$(openssl_dir ENGINESDIR)/pkcs11.so" ] || skip "libengine-pkcs11-openssl is not installed"; }
# needs PACKAGE PROGRAM
needs() { [ -x "$(PATH=$PATH:/usr/sbin command -v "$2")" ] || skip "$1 is not installed"; }

# https PORT CERTIFICATE: a full handshake, a request and the answer. Whether a TLS 1.3 handshake ended well at the server's
# side is known with the answer only.
https() {
    local said
    said=$(printf 'GET / HTTP/1.0\r\n\r\n' |
        timeout 15 openssl s_client -quiet -connect "127.0.0.1:$1" -CAfile "$2" -verify_return_error -verify_hostname localhost 2>&1) || true
    grep -q '^HTTP/1' <<<"$said" || { echo "$said"; return 1; }
}
# wait_for SECONDS COMMAND...
wait_for() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.1
    done
}
# stop_pid PID SIGNAL: ends a program that a test started.
stop_pid() {
    kill -"$2" "$1" 2>/dev/null || return 0
    wait_for 5 eval "! kill -0 $1" || kill -KILL "$1" 2>/dev/null || true
}

# --- calls in loops, and the leader killed in the middle of them ---

loop_pids=()
loops_begin() {
    local name
    for name in $(cluster_names "$scratch/c"); do cluster_start "$scratch/c" "$name"; done # what a failed story left dead
    cluster_wait "$scratch/c"
    rm -f "$scratch"/loop* "$scratch"/failed.* "$scratch/stop"
    loop_pids=()
    trap loops_abort EXIT
}
loops_abort() { : >"$scratch/stop"; [ ${#loop_pids[@]} -eq 0 ] || kill "${loop_pids[@]}" 2>/dev/null || true; }
# loop NAME COMMAND...: again and again until $scratch/stop exists; "good bad" in $scratch/loop.NAME.count. What a failed call said is kept.
loop() {
    local name=$1 good=0 bad=0
    shift
    (
        while [ ! -e "$scratch/stop" ]; do
            if "$@" >"$scratch/loop.$name.out" 2>&1; then
                good=$((good + 1))
            else
                bad=$((bad + 1))
                { date +%T.%N; cat "$scratch/loop.$name.out"; } >>"$scratch/failed.$name"
            fi
            echo "$good $bad" >"$scratch/loop.$name.new" && mv "$scratch/loop.$name.new" "$scratch/loop.$name.count" # whole for whoever reads
        done
    ) &
    loop_pids+=($!)
}
# own_loop COMMAND...: a program that loops and counts in the same way by itself.
own_loop() { "$@" & loop_pids+=($!); }
good_so_far() { cat "$scratch"/loop.*.count 2>/dev/null | awk '{n += $1} END {print n + 0}'; }
bad_so_far() { cat "$scratch"/loop.*.count 2>/dev/null | awk '{n += $2} END {print n + 0}'; }
has_good() { [ "$(good_so_far)" -ge "$1" ]; }
another_leads() { local now; now=$(cluster_leader "$scratch/c"); [ -n "$now" ] && [ "$now" != "$1" ]; }
show_failed() { cat "$scratch"/failed.* 2>/dev/null | sed -n 1,40p; }

# leader_dies CALLS [BROKEN]: waits for so many good calls, kills the leader with -9, waits for as many under the next one, and ends the
# loops. No call may have failed but the first BROKEN, which the test broke itself before.
leader_dies() {
    local min=$1 broken=${2:-0} before leader pid
    wait_for 40 has_good "$min" || { show_failed; fail "only $(good_so_far) calls in 40 s, wanted $min"; }
    leader=$(cluster_leader "$scratch/c")
    before=$(good_so_far)
    cluster_kill "$scratch/c" "$leader" KILL
    wait_for 20 another_leads "$leader" || fail "no other leader within 20 s: the kill did not bite"
    wait_for 40 has_good $((before + min)) || { show_failed; fail "only $(($(good_so_far) - before)) calls in 40 s after the kill"; }
    : >"$scratch/stop"
    for pid in "${loop_pids[@]}"; do wait "$pid" || { show_failed; fail "a loop ended with $?"; }; done
    trap - EXIT
    note "$before calls before the leader ($leader) was killed, $(($(good_so_far) - before)) after, $(($(bad_so_far) - broken)) failed"
    [ "$(bad_so_far)" -eq "$broken" ] || { show_failed; fail "$(($(bad_so_far) - broken)) calls failed"; }
    cluster_start "$scratch/c" "$leader"
    cluster_wait "$scratch/c"
}
