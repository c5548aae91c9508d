# SPDX-License-Identifier: Apache-2.0
# Shell functions that make and drive a keymoot cluster on loopback, for the quickstart, the tests and the bench.
# Source it with $bin (folder of keymoot and keymootd) and $module (keymoot-pkcs11.so) set. A cluster lives in one
# folder: pki/, client.conf, operator.conf and a folder for each server with server.conf, data/, log and pid.

cluster_die() { echo "cluster: $*" >&2; return 1; }
cluster_name() { echo "$1" | tr 123456789 abcdefghi; }

# cluster_server_conf DIR N_TOTAL I BASEPORT: writes server I's configuration. Client ports are BASEPORT+i, peers' BASEPORT+50+i.
cluster_server_conf() {
    local dir=$1 total=$2 i=$3 port=$4 name j
    name=$(cluster_name "$i")
    mkdir -p "$dir/$name"
    {
        echo "cluster = quickstart"
        echo "id = $i"
        echo "name = $name"
        echo "zone = $name"
        echo "address = 127.0.0.1:$((port + i))"
        echo "peer_address = 127.0.0.1:$((port + 50 + i))"
        echo "data_dir = $dir/$name/data"
        echo "certificate = $dir/pki/$name.crt"
        echo "key = $dir/pki/$name.key"
        echo "ca = $dir/pki/ca.crt"
        echo "master_key = file:$dir/pki/master.key"
        echo "log = $dir/$name/log"
        echo "log_level = ${cluster_log_level:-info}"
        [ -z "${cluster_extra:-}" ] || printf '%s\n' "$cluster_extra"
        echo "[members]"
        for j in $(seq 1 "$total"); do
            echo "$j = $(cluster_name "$j") $(cluster_name "$j") 127.0.0.1:$((port + j)) 127.0.0.1:$((port + 50 + j))"
        done
        echo "[access]"
        echo "app = create"
        echo "other = token:shared"
    } >"$dir/$name/server.conf"
}

# cluster_client_conf DIR N_TOTAL BASEPORT IDENTITY FILE
cluster_client_conf() {
    local dir=$1 total=$2 port=$3 who=$4 file=$5 j
    {
        echo "cluster = quickstart"
        echo "zone = a"
        echo "certificate = $dir/pki/$who.crt"
        echo "key = $dir/pki/$who.key"
        echo "ca = $dir/pki/ca.crt"
        [ -z "${cluster_client_extra:-}" ] || printf '%s\n' "$cluster_client_extra"
        echo "[servers]"
        for j in $(seq 1 "$total"); do
            echo "$(cluster_name "$j") = $(cluster_name "$j") 127.0.0.1:$((port + j))"
        done
    } >"$file"
}

# cluster_make DIR N BASEPORT: certificates, configuration and empty data folders of an N-server cluster.
cluster_make() {
    local dir=$1 n=$2 port=$3 i name
    mkdir -p "$dir"
    "$bin/keymoot" pki init --dir "$dir/pki" --cluster quickstart >/dev/null || return 1
    "$bin/keymoot" pki master-key --out "$dir/pki/master.key" >/dev/null || return 1
    for i in $(seq 1 "$n"); do
        name=$(cluster_name "$i")
        "$bin/keymoot" pki issue --dir "$dir/pki" --role server --name "$name" >/dev/null || return 1
        cluster_server_conf "$dir" "$n" "$i" "$port"
        "$bin/keymoot" cluster init --config "$dir/$name/server.conf" >/dev/null || return 1
    done
    "$bin/keymoot" pki issue --dir "$dir/pki" --role client --name app >/dev/null || return 1
    "$bin/keymoot" pki issue --dir "$dir/pki" --role client --name other >/dev/null || return 1
    "$bin/keymoot" pki issue --dir "$dir/pki" --role operator --name ops >/dev/null || return 1
    cluster_client_conf "$dir" "$n" "$port" app "$dir/client.conf"
    cluster_client_conf "$dir" "$n" "$port" ops "$dir/operator.conf"
    echo "$n" >"$dir/size"
}

# cluster_start DIR NAME: starts one server and remembers its pid.
cluster_start() {
    local dir=$1 name=$2
    ! cluster_is_up "$dir" "$name" || return 0
    # A session of its own, so that it outlives the terminal, and not the shell's child to report on.
    setsid "$bin/keymootd" --config "$dir/$name/server.conf" </dev/null >>"$dir/$name/out" 2>&1 &
    echo $! >"$dir/$name/pid"
    disown
}

# cluster_pid DIR NAME: its pid if it runs and is a keymootd.
cluster_pid() {
    local pid
    pid=$(cat "$1/$2/pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && grep -q keymootd "/proc/$pid/cmdline" 2>/dev/null && [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" != Z ] && echo "$pid"
}
cluster_is_up() { cluster_pid "$1" "$2" >/dev/null; }
cluster_names() { local i; for i in $(seq 1 "$(cat "$1/size")"); do cluster_name "$i"; done; }

cluster_status() { "$bin/keymoot" cluster status --config "$1/operator.conf" --json 2>/dev/null; }

# cluster_leader DIR: the leader's name, or nothing.
cluster_leader() {
    cluster_status "$1" | tr -d ' \n' | tr '{' '\n' | sed -n '/"leader":true/s/.*"name":"\([^"]*\)".*/\1/p' | head -1
}

# cluster_wait DIR [SECONDS]: waits until a leader answers.
cluster_wait() {
    local end=$(($(date +%s) + ${2:-20}))
    while [ "$(date +%s)" -le "$end" ]; do
        [ -z "$(cluster_leader "$1")" ] || return 0
        sleep 0.1
    done
    cluster_die "no leader within ${2:-20} s; see $1/*/log"
}

# cluster_kill DIR NAME SIGNAL: to that server only; returns once it is gone (KILL, TERM).
cluster_kill() {
    local pid i
    pid=$(cluster_pid "$1" "$2") || return 0
    kill -"$3" "$pid"
    case $3 in
    KILL | TERM)
        for i in $(seq 1 100); do
            cluster_is_up "$1" "$2" || return 0
            sleep 0.1
        done
        cluster_die "server $2 (pid $pid) did not end within 10 s of $3"
        ;;
    esac
}

# cluster_stop DIR: all servers, cleanly; what does not end is killed.
cluster_stop() {
    local name pids="" pid
    for name in $(cluster_names "$1"); do
        pid=$(cluster_pid "$1" "$name") && { kill -CONT "$pid"; kill -TERM "$pid"; }
    done
    for name in $(cluster_names "$1"); do
        cluster_kill "$1" "$name" TERM 2>/dev/null || cluster_kill "$1" "$name" KILL
    done
}
