#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# keymootd from the outside: what it says when it cannot start, readiness, reload, a clean stop.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
port=$((test_port + 30))
c=$scratch/c
conf=$c/a/server.conf
test_clean_up() { [ -z "${notify_pid:-}" ] || kill "$notify_pid" 2>/dev/null || true; }

# refused CODE TEXT ARGUMENT...: keymootd ends with that code and one line that has TEXT.
refused() {
    local code=$1 text=$2 rc=0
    shift 2
    timeout 10 "$bin/keymootd" "$@" >"$scratch/said" 2>&1 || rc=$?
    [ "$rc" = "$code" ] || fail "exit code $rc, not $code: $(cat "$scratch/said")"
    grep -q -- "$text" "$scratch/said" || fail "does not say '$text': $(cat "$scratch/said")"
}
with() { sed "$1" "$conf" >"$scratch/changed.conf"; }

wrong_options_and_configurations_are_named() {
    refused 2 'usage' --nonsense
    refused 2 '--config' --check
    refused 78 'no/such' --config /no/such/file
    refused 0 'good' --config "$conf" --check
    with 's/^zone = .*/colour = red/'
    refused 78 'colour' --config "$scratch/changed.conf" --check
    with '/^ca = /d'
    refused 78 'ca' --config "$scratch/changed.conf"
    with 's/^id = .*/id = 7/'
    refused 78 'members' --config "$scratch/changed.conf" --init
}

a_server_that_cannot_start_says_why() {
    with "s|^data_dir = .*|data_dir = $scratch/none|; s/^log = .*/log = stderr/"
    refused 1 '--init' --config "$scratch/changed.conf"
    with "s|/pki/a\.|/pki/app.|; s/^log = .*/log = stderr/"
    refused 1 'not a server' --config "$scratch/changed.conf"
    with "s|^master_key = .*|master_key = file:$scratch/none|; s/^log = .*/log = stderr/"
    refused 1 "$scratch/none" --config "$scratch/changed.conf"
    refused 1 'already' --config "$conf" --init
    cluster_start "$c" a
    cluster_wait "$c" 10
    with 's/^log = .*/log = stderr/'
    refused 1 'in use' --config "$scratch/changed.conf"
    cluster_kill "$c" a TERM
}

readiness_reload_and_stop_are_told() {
    perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die; $| = 1; while (1) { $s->recv(my $m, 4096); print "$m\n" }' \
        "$scratch/notify" >"$scratch/told" &
    notify_pid=$!
    for _ in $(seq 1 50); do [ ! -S "$scratch/notify" ] || break; sleep 0.05; done
    NOTIFY_SOCKET=$scratch/notify cluster_start "$c" a
    cluster_wait "$c" 10
    grep -qx 'READY=1' "$scratch/told" || fail "not told that it is ready"
    cp "$c/pki/a.crt" "$scratch/a.crt"
    echo junk >"$c/pki/a.crt"
    kill -HUP "$(cluster_pid "$c" a)"
    for _ in $(seq 1 50); do ! grep -q 'going on as before' "$c/a/log" || break; sleep 0.05; done
    grep -q 'reload: .*a.crt' "$c/a/log" || fail "a broken certificate is not named"
    cluster_wait "$c" 5
    cp "$scratch/a.crt" "$c/pki/a.crt"
    sed -i 's/^log_level = .*/log_level = debug/' "$conf"
    kill -HUP "$(cluster_pid "$c" a)"
    for _ in $(seq 1 50); do ! grep -q 'read again' "$c/a/log" || break; sleep 0.05; done
    grep -q 'read again' "$c/a/log" || fail "good certificates were not taken"
    kill -TERM "$(cluster_pid "$c" a)"
    for _ in $(seq 1 100); do cluster_is_up "$c" a || break; sleep 0.05; done
    ! cluster_is_up "$c" a || fail "did not stop"
    grep -qx 'STOPPING=1' "$scratch/told" || fail "not told that it stops"
    tail -n 1 "$c/a/log" | grep -q 'stopped$' || fail "did not stop cleanly"
    kill "$notify_pid"
}

cluster_make "$c" 1 "$port" >/dev/null
claims wrong_options_and_configurations_are_named a_server_that_cannot_start_says_why readiness_reload_and_stop_are_told
