# SPDX-License-Identifier: Apache-2.0
# A development server for a test script, which sources this, calls dev_start and ends with dev_stop (a trap's first command).
# After dev_start: KEYMOOT_CONF, KEYMOOT_MODULE, KEYMOOT_TOKEN, KEYMOOT_PIN, KEYMOOT_SO_PIN, KEYMOOT_SERVER_PID. $scratch is a folder.

# dev_start NAME: NAME is what messages call the test.
dev_start() {
    : >"$scratch/out"
    "$build/keymootd" --dev --dir "$scratch/dev" >"$scratch/out" 2>"$scratch/log" &
    KEYMOOT_SERVER_PID=$!
    for _ in $(seq 300); do
        ! grep -q '^export KEYMOOT_MODULE=' "$scratch/out" || break
        kill -0 "$KEYMOOT_SERVER_PID" 2>/dev/null || { cat "$scratch/log" >&2; echo "$1: keymootd --dev ended at once" >&2; exit 1; }
        sleep 0.1
    done
    grep -q '^export KEYMOOT_MODULE=' "$scratch/out" || { cat "$scratch/log" >&2; echo "$1: keymootd --dev was not ready in 30 s" >&2; exit 1; }
    eval "$(grep '^export ' "$scratch/out")"
    read -r KEYMOOT_TOKEN KEYMOOT_PIN KEYMOOT_SO_PIN < <(sed -n 's/^# token "\([^"]*\)", user PIN \([^,]*\), SO PIN \([^,]*\),.*/\1 \2 \3/p' "$scratch/out")
    KEYMOOT_MODULE=$build/.libs/keymoot-pkcs11.so
    export KEYMOOT_TOKEN KEYMOOT_PIN KEYMOOT_SO_PIN KEYMOOT_MODULE KEYMOOT_SERVER_PID
}

# dev_stop: ends the server; 1 if a sanitizer found something in it.
dev_stop() {
    [ -n "${KEYMOOT_SERVER_PID:-}" ] || return 0
    kill -CONT "$KEYMOOT_SERVER_PID" 2>/dev/null || true
    { kill "$KEYMOOT_SERVER_PID" 2>/dev/null && wait "$KEYMOOT_SERVER_PID"; } || true
    grep -qE '(Address|Leak|Thread)Sanitizer:|runtime error:' "$scratch/log" || return 0
    grep -A 40 -m 1 -E 'WARNING: |ERROR: |runtime error:' "$scratch/log" >&2
    return 1
}

# dev_is_sanitized FILE: built with a sanitizer. (Not `ldd | grep -q`: with pipefail, a grep that has seen enough fails ldd now and then.)
dev_is_sanitized() { case $(ldd "$1") in *libasan*|*libtsan*) ;; *) return 1 ;; esac; }

# dev_foreign NAME PROGRAM: ends the test as skipped where PROGRAM, which is not ours, is missing or cannot load this build's module.
dev_foreign() {
    command -v "$2" >/dev/null || { echo "$1: skipped, no $2"; exit 77; }
    ! dev_is_sanitized "$build/.libs/keymoot-pkcs11.so" || { echo "$1: skipped, programs that are not ours do not load a module with a sanitizer"; exit 77; }
}
