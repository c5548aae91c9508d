# SPDX-License-Identifier: Apache-2.0
# OpenSC's own tests of a module, as packaged.

# tool_says TEXT NAME [WORD=VALUE]...: a command line of the README succeeds and says so.
tool_says() {
    local text=$1
    shift
    run_snip "$@" >"$scratch/tool.out" 2>&1 || { cat "$scratch/tool.out"; fail "$1 failed" || return 1; }
    grep -q "$text" "$scratch/tool.out" || { cat "$scratch/tool.out"; fail "$1 did not say '$text'" || return 1; }
    ! grep -iE '^ *ERR|failed' "$scratch/tool.out" || { cat "$scratch/tool.out"; fail "$1 complains"; }
}

pkcs11_tool_test_finds_no_errors() {
    tool_says 'No errors' pkcs11-tool-test.sh
    grep -q 'all 4 signature functions seem to work' "$scratch/tool.out" || { cat "$scratch/tool.out"; fail "it did not sign"; }
}
# It signs with SHA-1, which the servers of this test allow (run) and a program must ask for.
pkcs11_tool_test_ec_is_content() {
    ! run_snip pkcs11-tool-test-ec.sh ID=7d >"$scratch/tool.out" 2>&1 || fail "SHA-1 signs without being asked for"
    grep -q 'C_SignInit failed: rv = CKR_MECHANISM_INVALID' "$scratch/tool.out"
    sed 's/^cluster = /sha1_signatures = yes\n&/' "$scratch/c/client.conf" >"$scratch/c/sha1.conf"
    KEYMOOT_CONF=$scratch/c/sha1.conf tool_says '==> OK' pkcs11-tool-test-ec.sh ID=7e
}
pkcs11_tool_test_fork_is_content() {
    run_snip pkcs11-tool-test-fork.sh >"$scratch/tool.out" 2>&1 || { cat "$scratch/tool.out"; fail "--test-fork failed"; }
    grep -q 'C_Initialize in forked child' "$scratch/tool.out"
    ! grep -E 'CKR_[A-Z]' "$scratch/tool.out" || fail "--test-fork complains"
}
# Four threads that initialise (IL), ask for info (GI), slots (SL) and the first token (T0), beside the main thread's test.
pkcs11_tool_test_threads_end_well() {
    tool_says 'No errors' pkcs11-tool-test-threads.sh
    [ "$(grep -c 'C_GetSlotList returned CKR_OK' "$scratch/tool.out")" -eq 8 ] || { cat "$scratch/tool.out"; fail "not every thread listed slots"; }
    ! grep -E 'Unknown test|returned CKR_' "$scratch/tool.out" | grep -vE 'CKR_OK|CKR_CRYPTOKI_ALREADY_INITIALIZED' || fail "a thread's call failed"
}
pkcs11_tool_loses_no_call_when_the_leader_dies() {
    loops_begin
    loop one tool_says 'No errors' pkcs11-tool-test.sh
    leader_dies 5
}

claims_pkcs11_tool="pkcs11_tool_test_finds_no_errors pkcs11_tool_test_ec_is_content pkcs11_tool_test_fork_is_content
 pkcs11_tool_test_threads_end_well pkcs11_tool_loses_no_call_when_the_leader_dies"
