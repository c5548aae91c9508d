# SPDX-License-Identifier: Apache-2.0
# Configurations of host programs (OpenSSL's provider and engine), used by the tests in this folder.

# provider_conf FILE
provider_conf() {
    cat >"$1" <<END
openssl_conf = openssl_init
[openssl_init]
providers = provider_sect
[provider_sect]
default = default_sect
pkcs11 = pkcs11_sect
[default_sect]
activate = 1
[pkcs11_sect]
module = $(openssl_dir MODULESDIR)/pkcs11.so
pkcs11-module-path = $module
pkcs11-module-token-pin = $PIN
activate = 1
[req]
distinguished_name = dn
[dn]
END
}

# engine_conf FILE
engine_conf() {
    cat >"$1" <<END
openssl_conf = openssl_init
[openssl_init]
engines = engine_section
[engine_section]
pkcs11 = pkcs11_section
[pkcs11_section]
engine_id = pkcs11
dynamic_path = $(openssl_dir ENGINESDIR)/pkcs11.so
MODULE_PATH = $module
PIN = $PIN
init = 1
[req]
distinguished_name = dn
[dn]
END
}

openssl_dir() { openssl version -a | sed -n "s/^$1: \"\(.*\)\"/\1/p"; }
hex() { printf '%s' "$1" | od -An -tx1 | tr -d ' \n'; }
der_len() { if [ "$1" -lt 128 ]; then printf '%02x' "$1"; else printf '81%02x' "$1"; fi; }

# uri_pem URI FILE: the PEM file by which programs that know only files find a key in the provider.
uri_pem() {
    local desc="PKCS#11 Provider URI v1.0" body
    body="1a$(der_len ${#desc})$(hex "$desc")0c$(der_len ${#1})$(hex "$1")"
    body="30$(der_len $((${#body} / 2)))$body"
    {
        echo "-----BEGIN PKCS#11 PROVIDER URI-----"
        printf '%b' "$(echo "$body" | sed 's/../\\x&/g')" | base64 -w 64
        echo "-----END PKCS#11 PROVIDER URI-----"
    } >"$2"
}

has_provider() { [ -f "$(openssl_dir MODULESDIR)/pkcs11.so" ]; }
has_engine() { [ -f "$(openssl_dir ENGINESDIR)/pkcs11.so" ]; }

# prov / eng: openssl under either configuration.
prov() { OPENSSL_CONF=$scratch/prov.cnf openssl "$@"; }
eng() { OPENSSL_CONF=$scratch/eng.cnf openssl "$@"; }
