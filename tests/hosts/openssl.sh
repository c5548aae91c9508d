# SPDX-License-Identifier: Apache-2.0
# openssl's command line through provider and engine.

# sign_with WAY KEY: a signature by the README's command line, checked with the public key.
sign_with() {
    local way=$1 key=$2 sig=$scratch/sig.$1
    rm -f "$sig"
    "with_$way" "$scratch/etc" bash -euc "$(snip "openssl-$way.sh" KEY="$key" OUT="$sig" FILE="$data")" &&
        openssl dgst -sha256 -verify "$scratch/$key.pub" -signature "$sig" "$data"
}

openssl_provider_signs_with_ec_rsa_and_pss() {
    needs_provider
    for key in ec rsa; do sign_with provider $key; done
    with_provider "$scratch/etc" openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sign "$(uri rsa)" -out "$scratch/sig" "$data"
    openssl dgst -sha256 -sigopt rsa_padding_mode:pss -verify "$scratch/rsa.pub" -signature "$scratch/sig" "$data"
}

openssl_provider_makes_certificates_and_decrypts() {
    needs_provider
    for key in ec rsa; do openssl verify -CAfile "$scratch/etc/$key.crt" "$scratch/etc/$key.crt"; done
    for pad in oaep pkcs1; do
        openssl pkeyutl -encrypt -pubin -inkey "$scratch/rsa.pub" -pkeyopt rsa_padding_mode:$pad -in <(echo secret message) -out "$scratch/enc"
        [ "$(with_provider "$scratch/etc" openssl pkeyutl -decrypt -inkey "$(uri rsa)" -pkeyopt rsa_padding_mode:$pad -in "$scratch/enc")" = "secret message" ] || fail "$pad"
    done
}

openssl_engine_signs_with_ec_and_rsa() {
    needs_engine
    for key in ec rsa; do sign_with engine $key; done
    with_engine "$scratch/etc" openssl req -engine pkcs11 -keyform engine -x509 -key "$(uri ec)" -subj /CN=localhost -days 30 -out "$scratch/engine.crt"
    openssl verify -CAfile "$scratch/engine.crt" "$scratch/engine.crt"
}

openssl_loses_no_signature_when_the_leader_dies() {
    needs_provider
    needs_engine
    loops_begin
    loop provider sign_with provider ec
    loop engine sign_with engine rsa
    leader_dies 10
}

claims_openssl="openssl_provider_signs_with_ec_rsa_and_pss openssl_provider_makes_certificates_and_decrypts
 openssl_engine_signs_with_ec_and_rsa openssl_loses_no_signature_when_the_leader_dies"
