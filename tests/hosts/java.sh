# SPDX-License-Identifier: Apache-2.0
# Java's SunPKCS11: keytool, and Host.java, which holds the block Keys.java of the README.
java=$scratch/java

# keytool_with COMMAND...: against the token, as keytool.sh of the README names it
keytool_with() { keytool "$@" -keystore NONE -storetype PKCS11 -storepass "$PIN" -addprovider SunPKCS11 -providerArg "$java/java.cfg"; }

java_prepare() {
    [ ! -f "$java/Host.class" ] || return 0
    mkdir -p "$java"
    snip java.cfg >"$java/java.cfg"
    snip Keys.java >"$java/Keys.java"
    sed "/README: Keys.java/r $java/Keys.java" "$src/tests/hosts/Host.java" >"$java/Host.java"
    javac -d "$java" "$java/Host.java"
}
java_run() { java -XX:TieredStopAtLevel=1 -cp "$java" Host "$java/java.cfg" "$PIN" "$@"; }

keytool_makes_lists_certifies_imports_and_deletes() {
    needs default-jdk-headless keytool
    java_prepare
    run_snip keytool.sh DIR="$java" KEY=java-ec ALGORITHM=EC SIZE="-groupname secp256r1"
    run_snip keytool.sh DIR="$java" KEY=java-rsa ALGORITHM=RSA SIZE="-keysize 2048"
    keytool_with -genseckey -alias java-aes -keyalg AES -keysize 256
    for key in java-ec java-rsa; do
        keytool_with -certreq -alias $key -file "$java/request"
        openssl req -in "$java/request" -verify -noout
    done
    run_snip keytool.sh DIR="$java" KEY=java-signed ALGORITHM=EC SIZE="-groupname secp384r1"
    keytool_with -certreq -alias java-signed -file "$java/request"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$java/ca.key" -subj /CN=CA -days 2 -out "$java/ca.crt" 2>/dev/null
    openssl x509 -req -in "$java/request" -CA "$java/ca.crt" -CAkey "$java/ca.key" -CAcreateserial -days 2 -out "$java/signed.crt" 2>/dev/null
    cat "$java/ca.crt" >>"$java/signed.crt"
    keytool_with -importcert -noprompt -alias java-signed -file "$java/signed.crt"
    keytool_with -list >"$java/list"
    for entry in "java-ec, PrivateKeyEntry" "java-rsa, PrivateKeyEntry" "java-aes, SecretKeyEntry" "java-signed, PrivateKeyEntry"; do
        grep -q "^$entry" "$java/list" || { cat "$java/list"; fail "no '$entry' in the list"; }
    done
    keytool_with -list -v -alias java-signed | grep 'Issuer: CN=CA' >/dev/null || fail "the new certificate is not there"
    keytool_with -delete -alias java-signed
    ! keytool_with -list | grep java-signed >/dev/null || fail "java-signed was not deleted"
}

java_uses_keys_of_every_kind() {
    needs default-jdk-headless java
    java_prepare
    java_run once >"$java/once" 2>&1 || { cat "$java/once"; fail "Host once"; }
    note "$(grep -c '^ok ' "$java/once") uses"
}

java_loses_no_signature_and_no_handshake_when_the_leader_dies() {
    needs default-jdk-headless java
    java_prepare
    loops_begin
    own_loop java_run loop "$scratch/loop.java.count" "$scratch/failed.java" "$scratch/stop" 2>"$java/server.err"
    leader_dies 30
    [ ! -s "$java/server.err" ] || { cat "$java/server.err"; fail "a handshake failed at the server's side"; }
}

claims_java="keytool_makes_lists_certifies_imports_and_deletes java_uses_keys_of_every_kind java_loses_no_signature_and_no_handshake_when_the_leader_dies"
