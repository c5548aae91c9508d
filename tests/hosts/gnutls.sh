# SPDX-License-Identifier: Apache-2.0
# GnuTLS, which finds the module through p11-kit's list. The list of a user who is not root lies where XDG_CONFIG_HOME says.
gnutls_port=$((web + 6))
gnutls=$scratch/gnutls

# gnutls_as COMMAND...: as www-data, in whose list the module is.
gnutls_as() {
    as www-data env XDG_CONFIG_HOME="$gnutls/config" HOME="$gnutls" KEYMOOT_CONF="$gnutls/etc/client.conf" GNUTLS_PIN="$PIN" timeout 30 "$@"
}
gnutls_prepare() {
    [ ! -d "$gnutls" ] || return 0
    chmod 711 "$scratch"
    mkdir -p "$gnutls/config/pkcs11/modules"
    snip keymoot.module >"$gnutls/config/pkcs11/modules/keymoot.module"
    equip "$gnutls/etc" www-data other
    printf 'cn = localhost\ndns_name = localhost\nexpiration_days = 30\ntls_www_server\nsigning_key\n' >"$gnutls/etc/template"
    chown -R www-data "$gnutls"
}
gnutls_stop() { [ ! -s "$gnutls/pid" ] || stop_pid "$(cat "$gnutls/pid")" TERM; }

# gnutls_does NAME [WORD=VALUE]...
gnutls_does() { local commands; commands=$(snip "$@"); gnutls_as bash -euc "$commands"; }

p11tool_lists_makes_and_exports() {
    needs gnutls-bin p11tool
    gnutls_prepare
    gnutls_does p11tool.sh >"$gnutls/list" 2>&1 || { cat "$gnutls/list"; fail "p11tool --list-all"; }
    for what in 'Label: ec' 'Label: rsa' 'Private key (EC/ECDSA' 'CKA_NEVER_EXTRACTABLE'; do grep -q "$what" "$gnutls/list" || { cat "$gnutls/list"; fail "no $what in the list"; }; done
    gnutls_as p11tool --login --generate-privkey=rsa --bits=2048 --label=gnutls --batch "pkcs11:token=shared" >/dev/null
    gnutls_as p11tool --login --export-pubkey --batch "pkcs11:token=shared;object=gnutls;type=private" | openssl pkey -pubin -noout
    gnutls_as p11tool --login --test-sign --batch "pkcs11:token=shared;object=gnutls;type=private"
    gnutls_as p11tool --login --delete --batch "pkcs11:token=shared;object=gnutls" >/dev/null
    gnutls_does certtool.sh KEY=ec DIR="$gnutls/etc" 2>"$gnutls/certtool" || { cat "$gnutls/certtool"; fail "certtool"; }
    openssl verify -CAfile "$gnutls/etc/ec.crt" "$gnutls/etc/ec.crt"
}

gnutls_server_loses_no_handshake_when_the_leader_dies() {
    needs gnutls-bin gnutls-serv
    gnutls_prepare
    local commands
    commands=$(snip gnutls-serv.sh PORT=$gnutls_port KEY=ec DIR="$gnutls/etc")
    as www-data env XDG_CONFIG_HOME="$gnutls/config" HOME="$gnutls" KEYMOOT_CONF="$gnutls/etc/client.conf" GNUTLS_PIN="$PIN" \
        bash -euc "echo \$\$ >$gnutls/pid; exec ${commands}" >"$gnutls/log" 2>&1 &
    wait_for 10 https $gnutls_port "$gnutls/etc/ec.crt" || { cat "$gnutls/log"; fail "gnutls-serv did not answer"; }
    loops_begin
    loop one https $gnutls_port "$gnutls/etc/ec.crt"
    loop two https $gnutls_port "$gnutls/etc/ec.crt"
    leader_dies 40
    gnutls_stop
}

claims_gnutls="p11tool_lists_makes_and_exports gnutls_server_loses_no_handshake_when_the_leader_dies"
