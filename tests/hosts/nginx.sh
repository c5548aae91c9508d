# SPDX-License-Identifier: Apache-2.0
# nginx: master and workers, as a daemon and not, through a reload, a killed worker and a killed leader.
nginx_pid=

# nginx_start WAY DAEMON
nginx_start() {
    local way=$1 d=$scratch/nginx words=(DIR="$scratch/etc")
    nginx_stop # what a failed story left running
    rm -rf "$d" && mkdir -p "$d/tmp" && chmod 711 "$scratch" "$d"
    {
        snip nginx-main.conf
        cat <<END
daemon $2; master_process on; worker_processes 2; user www-data;
pid $d/nginx.pid; error_log $d/error.log info;
events { worker_connections 512; }
http { access_log off; client_body_temp_path $d/tmp/b; proxy_temp_path $d/tmp/p; fastcgi_temp_path $d/tmp/f; uwsgi_temp_path $d/tmp/u; scgi_temp_path $d/tmp/s;
 ssl_session_cache off; ssl_session_tickets off; ssl_protocols TLSv1.2 TLSv1.3;
END
        snip "nginx-$way.conf" KEY=ec LISTEN="127.0.0.1:$web" "${words[@]}"
        snip "nginx-$way.conf" KEY=rsa LISTEN="127.0.0.1:$((web + 1))" "${words[@]}"
        echo "}"
    } >"$d/nginx.conf"
    "with_$way" "$scratch/etc" nginx -c "$d/nginx.conf" -e "$d/error.log" 2>"$d/start.log" &
    wait_for 15 https "$web" "$scratch/etc/ec.crt" || { cat "$d/start.log" "$d/error.log" >&2; fail "nginx did not answer within 15 s"; }
    nginx_pid=$(cat "$d/nginx.pid")
}
nginx_stop() { [ ! -s "$scratch/nginx/nginx.pid" ] || stop_pid "$(cat "$scratch/nginx/nginx.pid")" QUIT; }

# nginx_handshakes: one full handshake with each key. The request behind it does not count: a worker that a reload ends closes connections whose
# request it has not read yet, with a key in a file too. What a handshake lacks at the server's end is in its error log.
nginx_handshakes() {
    local key at=$web
    for key in ec rsa; do
        printf 'GET / HTTP/1.0\r\n\r\n' | timeout 15 openssl s_client -brief -connect "127.0.0.1:$at" -CAfile "$scratch/etc/$key.crt" -verify_return_error 2>&1 |
            tee /dev/stderr | awk '/CONNECTION ESTABLISHED/ {up = 1} /Verification: OK/ {ok = 1} END {exit !(up && ok)}' || return 1
        at=$((web + 1))
    done
}

# nginx_story WAY DAEMON
nginx_story() {
    local broken
    nginx_start "$@"
    https $((web + 1)) "$scratch/etc/rsa.crt"
    loops_begin
    loop one nginx_handshakes
    loop two nginx_handshakes
    wait_for 20 has_good 10
    kill -HUP "$nginx_pid"
    wait_for 20 has_good 30
    [ "$(bad_so_far)" -eq 0 ] || { show_failed; fail "$(bad_so_far) calls failed by the reload"; }
    kill -KILL "$(pgrep -o -P "$nginx_pid")"
    wait_for 20 has_good 50
    # A worker's death breaks the connections that it held, at most one of each loop: those are nginx's.
    broken=$(bad_so_far)
    [ "$broken" -le 2 ] || { show_failed; fail "$broken calls failed by a killed worker"; }
    leader_dies 60 "$broken"
    nginx_stop
    ! grep -qE 'SSL_do_handshake\(\) failed' "$scratch/nginx/error.log" || { grep SSL_do_handshake "$scratch/nginx/error.log"; fail "a handshake failed at the server's end"; }
    ! grep -qE 'signal 11|exited on signal (6|11)|core dumped' "$scratch/nginx/error.log" || { grep signal "$scratch/nginx/error.log"; fail "a process of nginx crashed"; }
}

nginx_with_the_provider_loses_no_handshake() { needs nginx-light nginx; needs_provider; nginx_story provider off; }
# With the provider's own default: each worker makes a session copy of its key.
nginx_as_a_daemon_with_a_key_cache_loses_no_handshake() {
    needs nginx-light nginx
    needs_provider
    sed -i.orig '/^pkcs11-module-cache-keys/d' "$scratch/etc/openssl-provider.cnf"
    trap 'mv "$scratch/etc/openssl-provider.cnf.orig" "$scratch/etc/openssl-provider.cnf"' EXIT
    (set -e; nginx_story provider on)
}
nginx_with_the_engine_loses_no_handshake() { needs nginx-light nginx; needs_engine; nginx_story engine off; }

claims_nginx="nginx_with_the_provider_loses_no_handshake nginx_as_a_daemon_with_a_key_cache_loses_no_handshake
 nginx_with_the_engine_loses_no_handshake"
