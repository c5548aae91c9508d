# SPDX-License-Identifier: Apache-2.0
# PostgreSQL: each connection is a process that starts the module anew and signs once; the client's key is in the cluster too.
pg_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
pg_port=$((web + 4))
pg=$scratch/postgresql

pg_ctl() { as postgres env $(snip postgresql-environment DIR="$pg/etc" | sed "s/ = '\(.*\)'/=\1/") "$pg_bin/pg_ctl" -D "$pg/data" -w -s -l "$pg/log" "$@"; }

# pg_start: a database of the user postgres, made once.
pg_start() {
    if [ ! -d "$pg/data" ]; then
        mkdir -p "$pg" && chmod 711 "$scratch" && chown postgres "$pg"
        equip "$pg/etc" postgres other
        cp "$scratch/etc/rsa.crt" "$pg/etc/clients.crt" # the client's certificate signed itself
        chown postgres "$pg/etc/clients.crt"
        as postgres "$pg_bin/initdb" -D "$pg/data" -A trust --no-sync >/dev/null
        {
            echo "listen_addresses = '127.0.0.1'"
            echo "port = $pg_port"
            echo "unix_socket_directories = '$pg'"
            echo "fsync = off"
            snip postgresql.conf DIR="$pg/etc" KEY=ec
        } >>"$pg/data/postgresql.conf"
        snip pg_hba.conf CLIENTS=127.0.0.1/32 >"$pg/data/pg_hba.conf"
        snip pg_ident.conf CLIENT_NAME=localhost CLIENT_USER=postgres >"$pg/data/pg_ident.conf"
    fi
    if ! pg_ctl status >/dev/null 2>&1; then
        pg_ctl start || { cat "$pg/log"; fail "PostgreSQL did not start"; }
    fi
}
pg_stop() { [ ! -s "$pg/data/postmaster.pid" ] || pg_ctl -m immediate stop || true; }

# pg_ask WAY: a connection with both keys in the cluster.
pg_ask() {
    local way=$1 dir=$scratch/etc answer
    answer=$(PGSERVICEFILE=$dir/pg_service.conf PGCONNECT_TIMEOUT=15 "with_$way" "$dir" \
        psql service=keymoot -Atc "select version, client_dn from pg_stat_ssl where pid = pg_backend_pid()")
    [ "$answer" = "TLSv1.3|/CN=localhost" ] || { echo "answer: $answer"; return 1; }
}

# postgresql_story WAY SERVICE_FILE
postgresql_story() {
    snip "$2" DIR="$scratch/etc" KEY=rsa PORT=$pg_port CLIENT_USER=postgres >"$scratch/etc/pg_service.conf"
    cp "$scratch/etc/ec.crt" "$scratch/etc/server-ca.crt" # the server's certificate signed itself
    pg_start
    wait_for 10 pg_ask "$1" || pg_ask "$1" || { tail -20 "$pg/log"; fail "no connection"; }
    pg_ctl reload
    loops_begin
    loop one pg_ask "$1"
    loop two pg_ask "$1"
    leader_dies 20
    ! grep -E 'could not accept SSL|was terminated by signal' "$pg/log" || fail "a connection failed at the server's end"
}

postgresql_and_a_client_with_the_provider_lose_no_connection() { needs postgresql "$pg_bin/postgres"; needs_provider; postgresql_story provider pg_service.conf; }
a_postgresql_client_with_the_engine_loses_no_connection() { needs postgresql "$pg_bin/postgres"; needs_provider; needs_engine; postgresql_story engine pg_service-engine.conf; }

claims_postgresql="postgresql_and_a_client_with_the_provider_lose_no_connection a_postgresql_client_with_the_engine_loses_no_connection"
