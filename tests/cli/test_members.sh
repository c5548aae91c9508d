#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line with a running cluster: status, tokens, and servers that come and go.
. "$(dirname "$0")/../lib.sh"

port=$((test_port + 10))
keymoot=$bin/keymoot
c=$scratch/c

# says CODE TEXT ARGUMENT...: the command, as operator, ends with CODE and says TEXT.
says() {
    local code=$1 text=$2 rc=0
    shift 2
    "$keymoot" "$@" --config "${who:-$c/operator.conf}" >"$scratch/said" 2>&1 || rc=$?
    [ "$rc" -eq "$code" ] || { cat "$scratch/said"; fail "keymoot $* ended with $rc, expected $code"; }
    grep -qF -- "$text" "$scratch/said" || { cat "$scratch/said"; fail "keymoot $* does not say: $text"; }
}

# member NAME FIELD: of a server, from the status.
member() { cluster_status "$c" | tr -d ' \n' | tr '{' '\n' | grep "\"name\":\"$1\"" | json "$2"; }

# wait_member NAME FIELD VALUE
wait_member() {
    local i
    for i in $(seq 1 100); do
        [ "$(member "$1" "$2")" != "$3" ] || return 0
        sleep 0.1
    done
    cluster_status "$c"
    fail "$2 of server $1 is not $3 after 10 s"
}

the_status_names_every_server_and_the_leader() {
    says 0 "cluster quickstart, leader $(cluster_leader "$c")," cluster status
    grep -q 'ID NAME ZONE ROLE  *LEADER UP  *APPLIED ADDRESS  *PEER ADDRESS' "$scratch/said"
    grep -qE "^ 2 b +b +voter +(yes|no) +yes +[0-9]+ 127.0.0.1:$((port + 2)) +127.0.0.1:$((port + 52))$" "$scratch/said"
    cluster_status "$c" >"$scratch/json"
    [ "$(tr -d ' \n' <"$scratch/json" | grep -oE '"role":"voter"' | wc -l)" = 3 ]
    [ "$(tr -d ' \n' <"$scratch/json" | grep -oE '"leader":true' | wc -l)" = 1 ]
    tr -d ' \n' <"$scratch/json" | grep -qE '^\{"cluster":"quickstart","term":[0-9]+,"commit_index":[0-9]+,"leader_id":[123],"answered_by":[123],"fresh":true,"feature_level":[0-9]+,"digest":"[0-9a-f]{64}","servers":\[\{"id":1,.*\}\]\}$'
}

administration_is_for_operators() {
    who=$c/client.conf says 4 "pki issue --role operator" cluster status
    who=$c/client.conf says 4 "pki issue --role operator" cluster add --id 4 --name d --zone d --address 127.0.0.1:1 --peer 127.0.0.1:2
    who=$c/client.conf says 4 "pki issue --role operator" cluster remove --id 3
}

tokens_are_listed_as_programs_see_them() {
    who=$c/client.conf says 0 "make a token in slot" token list
    who=$c/client.conf says 0 '"tokens": []' token list --json
}

a_server_joins_and_repeating_it_does_no_harm() {
    local d="--id 4 --name d --zone d --address 127.0.0.1:$((port + 4)) --peer 127.0.0.1:$((port + 54))"
    "$keymoot" pki issue --dir "$c/pki" --role server --name d >/dev/null
    cluster_server_conf "$c" 3 4 "$port"
    "$keymoot" cluster init --join --config "$c/d/server.conf" >/dev/null
    if "$keymoot" cluster init --join --config "$c/d/server.conf" >"$scratch/said" 2>&1; then fail "a data folder was made twice"; fi
    echo 4 >"$c/size"
    cluster_start "$c" d
    # shellcheck disable=SC2086
    says 0 "server d (4) is a voter" cluster add $d
    # shellcheck disable=SC2086
    says 0 "server d (4) is a voter" cluster add $d
    wait_member d up true
    [ "$(member d role)" = voter ]
    says 4 "a member already" cluster add --id 4 --name e --zone d --address 127.0.0.1:1 --peer 127.0.0.1:2
}

a_follower_and_then_the_leader_leave() {
    local leader follower
    says 4 "the cluster has no server 9" cluster remove --id 9
    leader=$(cluster_leader "$c")
    follower=$([ "$leader" = a ] && echo b || echo a)
    says 0 "is no member any more" cluster remove --id "$(member "$follower" id)"
    [ -z "$(member "$follower" id)" ]
    says 0 "is no member any more" cluster remove --id "$(member "$leader" id)"
    cluster_wait "$c" 20
    [ -z "$(member "$leader" id)" ]
    [ "$(cluster_status "$c" | grep -c '"role": "voter"')" = 2 ]
}

cluster_make "$c" 3 "$port"
for name in $(cluster_names "$c"); do cluster_start "$c" "$name"; done
cluster_wait "$c" 30
for name in $(cluster_names "$c"); do wait_member "$name" up true; done
claims the_status_names_every_server_and_the_leader administration_is_for_operators \
    tokens_are_listed_as_programs_see_them a_server_joins_and_repeating_it_does_no_harm \
    a_follower_and_then_the_leader_leave
