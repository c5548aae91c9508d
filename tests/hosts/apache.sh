# SPDX-License-Identifier: Apache-2.0
# Apache httpd, which always answers from forks of a fork, through a graceful restart and a killed leader.

# apache_start WAY
apache_start() {
    local way=$1 d=$scratch/apache
    apache_stop
    rm -rf "$d" && mkdir -p "$d/htdocs" && chmod 711 "$scratch" && chmod 755 "$d"
    echo keymoot >"$d/htdocs/index.html"
    {
        cat <<END
ServerRoot $d
ServerName localhost
PidFile $d/httpd.pid
ErrorLog $d/error.log
Mutex file:$d default
User www-data
Group www-data
Listen 127.0.0.1:$((web + 2))
Listen 127.0.0.1:$((web + 3))
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
StartServers 2
DocumentRoot $d/htdocs
SSLSessionCache none
SSLSessionTickets off
END
        snip "apache-$way.conf" KEY=ec DIR="$scratch/etc" LISTEN="127.0.0.1:$((web + 2))"
        snip "apache-$way.conf" KEY=rsa DIR="$scratch/etc" LISTEN="127.0.0.1:$((web + 3))" | grep -v '^SSLCryptoDevice'
    } >"$d/httpd.conf"
    "with_$way" "$scratch/etc" /usr/sbin/apache2 -f "$d/httpd.conf" -k start >"$d/start.log" 2>&1 || { cat "$d/start.log" "$d/error.log"; fail "Apache did not start"; }
    wait_for 15 apache_answers || { apache_answers; cat "$d/error.log" >&2; fail "Apache did not answer within 15 s"; }
}
apache_stop() { [ ! -s "$scratch/apache/httpd.pid" ] || stop_pid "$(cat "$scratch/apache/httpd.pid")" TERM; }
apache_answers() { https $((web + 2)) "$scratch/etc/ec.crt" && https $((web + 3)) "$scratch/etc/rsa.crt"; }

# apache_story WAY
apache_story() {
    apache_start "$1"
    kill -USR1 "$(cat "$scratch/apache/httpd.pid")" # graceful
    sleep 1
    loops_begin
    loop one apache_answers
    loop two apache_answers
    leader_dies 30
    apache_stop
    ! grep -E 'Segmentation|exit signal' "$scratch/apache/error.log" || fail "a process of Apache crashed"
}

apache_with_the_provider_loses_no_request() { needs apache2-bin apache2; needs_provider; apache_story provider; }
apache_with_the_engine_loses_no_request() { needs apache2-bin apache2; needs_engine; apache_story engine; }

claims_apache="apache_with_the_provider_loses_no_request apache_with_the_engine_loses_no_request"
