#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line without a cluster: certificates, and what is said about each mistake.
. "$(dirname "$0")/../lib.sh"

keymoot=$bin/keymoot
pki=$scratch/pki

# says CODE TEXT ARGUMENT...: the command ends with CODE and says TEXT, on stderr if it failed.
says() {
    local code=$1 text=$2 rc=0
    shift 2
    "$keymoot" "$@" >"$scratch/out" 2>"$scratch/err" || rc=$?
    [ "$rc" -eq "$code" ] || { cat "$scratch/out" "$scratch/err"; fail "keymoot $* ended with $rc, expected $code"; }
    [ "$code" -ne 0 ] || cp "$scratch/out" "$scratch/said"
    [ "$code" -eq 0 ] || cp "$scratch/err" "$scratch/said"
    grep -qF -- "$text" "$scratch/said" || { cat "$scratch/said"; fail "keymoot $* does not say: $text"; }
}

every_command_explains_itself() {
    local group name
    says 0 "keymoot pki     init" --help
    says 0 "Exit codes:" help
    says 0 "keymoot cluster status" cluster --help
    says 0 "keymoot " --version
    sed -n 's/^COMMAND("\([^"]*\)", "\([^"]*\)".*/\1 \2/p' "$src/cli/commands.def" >"$scratch/commands"
    [ "$(wc -l <"$scratch/commands")" -ge 9 ]
    while read -r group name; do
        says 0 "Usage: keymoot $group $name" "$group" "$name" --help
        says 0 "Example:" "$group" "$name" --help
        says 2 "unknown option '--nonsense'; see \`keymoot $group $name --help\`" "$group" "$name" --nonsense
    done <"$scratch/commands"
}

a_wrong_command_line_ends_with_2() {
    says 2 "Usage: keymoot"
    says 2 "Usage: keymoot pki" pki
    says 2 "unknown command 'pkj'; \`keymoot --help\` lists them all" pkj init
    says 2 "unknown command 'pki make'; \`keymoot pki --help\`" pki make
    says 2 "--dir is missing" pki init --cluster prod
    says 2 "--dir needs a value: DIR" pki init --cluster prod --dir
    says 2 "--dir is empty" pki init --cluster prod --dir ''
    says 2 "--dir is given twice" pki init --cluster prod --dir a --dir=b
    says 2 "--force takes no value" pki init --force=yes
    says 2 "unexpected word 'extra'" pki init extra
    says 2 "FILE is missing" pki show
    says 2 "--days takes a number from 1 to 3650, not '0'" pki issue --dir "$pki" --role client --name n --days 0
    says 2 "not '-1'" pki issue --dir "$pki" --role client --name n --days=-1
    says 2 "not '4294967297'" pki issue --dir "$pki" --role client --name n --days 4294967297
    says 2 "'Prod' cannot be a cluster's name" pki init --dir "$pki" --cluster Prod
    says 2 "unknown role 'root': expected one of server client operator" pki issue --dir "$pki" --role root --name n
    says 2 "'h' is no address: expected HOST:PORT" cluster add --id 4 --name d --zone d --address h --peer h:1
    says 2 "'D' cannot be a name" cluster add --id 4 --name D --zone d --address h:1 --peer h:2
    says 2 "--id takes a number" cluster remove --id four
}

an_authority_issues_certificates_that_verify() {
    local role
    says 0 "authority of cluster prod" pki init --dir "$pki" --cluster prod
    [ "$(stat -c %a "$pki")" = 700 ]
    [ "$(stat -c %a "$pki/ca.key")" = 600 ]
    for role in server client operator officer auditor custodian; do
        says 0 "spiffe://prod/$role/x-$role" pki issue --dir "$pki" --role $role --name x-$role --days 90
        [ "$(stat -c %a "$pki/x-$role.key")" = 600 ]
        openssl verify -x509_strict -CAfile "$pki/ca.crt" "$pki/x-$role.crt" >/dev/null
        says 0 "spiffe://prod/$role/x-$role" pki show "$pki/x-$role.crt"
        openssl verify -purpose sslclient -CAfile "$pki/ca.crt" "$pki/x-$role.crt" >/dev/null
        [ "$(openssl x509 -in "$pki/x-$role.crt" -noout -ext subjectAltName | grep -c 'URI:')" = 1 ]
    done
    openssl verify -purpose sslserver -CAfile "$pki/ca.crt" "$pki/x-server.crt" >/dev/null
    if openssl verify -purpose sslserver -CAfile "$pki/ca.crt" "$pki/x-client.crt" >/dev/null 2>&1; then
        fail "a client's certificate is good for a server"
    fi
    says 0 "spiffe://prod/client/y" pki issue --dir "$pki" --role client --name y --out "$scratch/elsewhere"
    [ -f "$scratch/elsewhere.crt" ] && [ -f "$scratch/elsewhere.key" ] && [ ! -e "$pki/y.crt" ]
}

an_authority_cannot_speak_for_another_cluster() {
    "$keymoot" pki init --dir "$scratch/other" --cluster other >/dev/null
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$scratch/f.key" -subj /CN=f -out "$scratch/f.csr" 2>/dev/null
    printf 'subjectAltName=URI:spiffe://prod/operator/f\n' >"$scratch/f.ext"
    openssl x509 -req -in "$scratch/f.csr" -CA "$scratch/other/ca.crt" -CAkey "$scratch/other/ca.key" -extfile "$scratch/f.ext" \
        -out "$scratch/f.crt" 2>/dev/null
    if openssl verify -CAfile "$scratch/other/ca.crt" "$scratch/f.crt" >"$scratch/said" 2>&1; then
        fail "a certificate for cluster prod by the authority of cluster other verifies"
    fi
    grep -q 'permitted subtree violation' "$scratch/said"
}

nothing_is_replaced_unless_told() {
    local before
    before=$(sha256sum "$pki/ca.key" "$pki/x-client.key")
    says 1 "ca.key exists already" pki init --dir "$pki" --cluster prod
    says 1 "x-client.key exists already" pki issue --dir "$pki" --role client --name x-client
    [ "$before" = "$(sha256sum "$pki/ca.key" "$pki/x-client.key")" ]
    says 0 "spiffe" pki issue --dir "$pki" --role client --name x-client --force
    [ "$before" != "$(sha256sum "$pki/ca.key" "$pki/x-client.key")" ]
    says 2 "the authority's own files" pki issue --dir "$pki" --role client --name ca --force
    says 0 "master key" pki master-key --out "$scratch/master.key"
    says 1 "exists already and was left as it is" pki master-key --out "$scratch/master.key"
    [ "$(stat -c %a "$scratch/master.key")" = 600 ]
    grep -qxE '[0-9a-f]{64}' "$scratch/master.key"
    [ -z "$(find "$scratch" -name '*.key.??????' -o -name '*.crt.??????')" ]
}

certificates_are_shown_for_people_and_machines() {
    cat "$pki/x-server.crt" "$pki/ca.crt" >"$scratch/chain"
    says 0 "certificate authority of cluster prod" pki show "$scratch/chain"
    "$keymoot" pki show "$scratch/chain" --json | tr -d ' \n' >"$scratch/json"
    grep -q '^{"certificates":\[{"identity":"spiffe://prod/server/x-server","kind":"server",.*"kind":"authority".*\]}$' "$scratch/json"
    says 1 "cannot be read: No such file" pki show "$scratch/missing"
    says 1 "holds no certificate in PEM form" pki show "$pki/ca.key"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=plain -out "$scratch/plain" 2>/dev/null
    openssl x509 -in "$scratch/plain" -noout
    says 0 "CN=plain" pki show "$scratch/plain"
}

a_bad_authority_is_named() {
    says 1 "ca.crt cannot be read" pki issue --dir "$scratch/nowhere" --role client --name n
    cp -r "$pki" "$scratch/bad"
    chmod 644 "$scratch/bad/ca.key"
    says 1 "make it private with \`chmod 600" pki issue --dir "$scratch/bad" --role client --name n
    chmod 600 "$scratch/bad/ca.key"
    cp "$pki/x-client.key" "$scratch/bad/ca.key"
    says 1 "does not belong to" pki issue --dir "$scratch/bad" --role client --name n
    echo nonsense >"$scratch/bad/ca.crt"
    says 1 "holds no certificate in PEM form" pki issue --dir "$scratch/bad" --role client --name n
    says 1 "cannot be made" pki init --dir "$scratch/no/such/folder" --cluster prod
    says 2 "cannot be a name" pki issue --dir "$pki" --role client --name 'A b'
}

# conf LINE...: a client.conf that is good but for the lines given, which stand from line 5 on.
conf() {
    printf '%s\n' 'cluster = prod' "certificate = $pki/x-operator.crt" "key = $pki/x-operator.key" "ca = $pki/ca.crt" "$@" >"$scratch/client.conf"
}

a_mistake_in_the_configuration_is_named_by_line_and_key() {
    local f=$scratch/client.conf
    says 5 "$scratch/none.conf: cannot be read: No such file or directory" cluster status --config "$scratch/none.conf"
    KEYMOOT_CONF=$scratch/env.conf says 5 "$scratch/env.conf: cannot be read: No such file or directory; --config FILE or KEYMOOT_CONF names another file" token list
    conf 'zoom = a' '[servers]' 'a = a 127.0.0.1:7199'
    says 5 "$f:5: [default] zoom: found an unknown key, expected one of cluster, zone, certificate" cluster status --config "$f"
    conf 'deadline_ms = soon' '[servers]' 'a = a 127.0.0.1:7199'
    says 5 "$f:5: [default] deadline_ms: found \"soon\", expected a number from" cluster status --config "$f"
    conf '[servers]' 'a = 127.0.0.1'
    says 5 "$f:6: [servers] a: found \"127.0.0.1\", expected" token list --config "$f"
    conf
    says 5 "[servers]: found nothing, expected at least one" token list --config "$f"
    conf '[server]' 'a = a 127.0.0.1:7199'
    says 5 "$f:5: [server]: found an unknown section, expected one of [servers]" token list --config "$f"
    conf 'zone = $ENV::HOME' '[servers]' 'a = a 127.0.0.1:7199'
    says 5 "$f:5: [default] zone: found a variable" token list --config "$f"
    printf 'zone = a\n[servers]\na = a 127.0.0.1:7199\n' >"$f"
    says 5 "[default] cluster: found nothing, expected this key: it is required" token list --config "$f"
}

bad_certificates_in_the_configuration_are_named() {
    conf '[servers]' 'a = a 127.0.0.1:7199'
    sed -i "s|x-operator.crt|missing.crt|" "$scratch/client.conf"
    says 5 "missing.crt" cluster status --config "$scratch/client.conf"
    conf '[servers]' 'a = a 127.0.0.1:7199'
    sed -i "s|x-operator.key|x-client.key|" "$scratch/client.conf"
    says 5 "x-client.key" cluster status --config "$scratch/client.conf"
    conf '[servers]' 'a = a 127.0.0.1:7199'
    sed -i "s|cluster = prod|cluster = other|" "$scratch/client.conf"
    says 5 "prod" cluster status --config "$scratch/client.conf"
}

the_sample_is_good_as_far_as_it_can_be() {
    # Everything in it is accepted; only the certificate that it names is not there.
    cp "$src/conf/client.conf" "$scratch/sample.conf"
    says 5 "app.crt" token list --config "$scratch/sample.conf"
}

a_cluster_that_is_down_ends_with_3() {
    conf 'deadline_ms = 500' '[servers]' 'a = a 127.0.0.1:7199'
    says 3 "do the servers run" cluster status --config "$scratch/client.conf"
    says 3 "do the servers run" token list --config "$scratch/client.conf"
    says 3 "do the servers run" cluster remove --id 3 --timeout 1 --config "$scratch/client.conf"
}

cluster_init_is_the_server_programs_affair() {
    printf '#!/bin/sh\necho "$@"\nexit 42\n' >"$scratch/keymootd"
    chmod 755 "$scratch/keymootd"
    local rc=0
    KEYMOOTD=$scratch/keymootd "$keymoot" cluster init --config x.conf --join >"$scratch/said" || rc=$?
    [ "$rc" -eq 42 ]
    [ "$(cat "$scratch/said")" = "--init --config x.conf --join" ]
    KEYMOOTD=$scratch/none says 1 "from KEYMOOTD) cannot be run: No such file" cluster init --config x.conf
    cp "$keymoot" "$scratch/keymoot"
    rc=0
    "$scratch/keymoot" cluster init --config x.conf >"$scratch/said" || rc=$?
    [ "$rc" -eq 42 ] # beside the program
    mkdir "$scratch/alone"
    mv "$scratch/keymoot" "$scratch/alone/"
    rc=0
    PATH=$scratch:$PATH "$scratch/alone/keymoot" cluster init --config x.conf >"$scratch/said" || rc=$?
    [ "$rc" -eq 42 ] # in PATH
}

output_that_is_lost_is_a_failure() {
    local rc=0
    "$keymoot" --help >/dev/full 2>"$scratch/said" || rc=$?
    [ "$rc" -eq 1 ]
    grep -q "could not be written" "$scratch/said"
}

claims every_command_explains_itself a_wrong_command_line_ends_with_2 an_authority_issues_certificates_that_verify \
    an_authority_cannot_speak_for_another_cluster nothing_is_replaced_unless_told \
    certificates_are_shown_for_people_and_machines a_bad_authority_is_named \
    a_mistake_in_the_configuration_is_named_by_line_and_key bad_certificates_in_the_configuration_are_named \
    the_sample_is_good_as_far_as_it_can_be a_cluster_that_is_down_ends_with_3 \
    cluster_init_is_the_server_programs_affair output_that_is_lost_is_a_failure
