# SPDX-License-Identifier: Apache-2.0
# OpenSSH: a client that loads the module, an agent that holds its keys, and a host key in the cluster through another agent.
ssh_port=$((web + 5))
ssh=$scratch/ssh

# unit NAME KEY: the values of a key in a unit file of the README.
unit() { snip "$1" DIR="$ssh/etc" | sed -n "s/^$2=//p"; }

# ssh_start: host key agent, as its unit would start it, and sshd.
ssh_start() {
    ssh_stop
    chmod 711 "$scratch"
    equip "$ssh/etc" root other
    mkdir -p /run/sshd
    KEYMOOT_CONF=$ssh/etc/client.conf run_snip ssh-public-keys.sh >"$ssh/public-keys"
    grep '^ecdsa' "$ssh/public-keys" >"$ssh/etc/hostkey.pub"
    grep '^ssh-rsa' "$ssh/public-keys" >"$ssh/authorized_keys"
    cat "$ssh/public-keys" >>"$ssh/authorized_keys"
    chmod 600 "$ssh/etc/hostkey.pub"
    echo "[127.0.0.1]:$ssh_port $(cat "$ssh/etc/hostkey.pub")" >"$ssh/known_hosts"
    printf '%s\n' "$(unit keymoot-hostkey.service Environment)" >"$ssh/agent.env"
    env $(cat "$ssh/agent.env") $(unit keymoot-hostkey.service ExecStart) >"$ssh/agent.log" 2>&1 &
    echo $! >"$ssh/agent.pid"
    timeout 20 env $(cat "$ssh/agent.env") bash -c "$(unit keymoot-hostkey.service ExecStartPost)" >>"$ssh/agent.log" 2>&1 || { cat "$ssh/agent.log"; fail "the agent did not take the host key"; }
    {
        snip sshd_config DIR="$ssh/etc"
        cat <<END
Port $ssh_port
ListenAddress 127.0.0.1
PidFile $ssh/sshd.pid
AuthorizedKeysFile $ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 100
END
    } >"$ssh/sshd_config"
    /usr/sbin/sshd -D -e -f "$ssh/sshd_config" 2>"$ssh/sshd.log" &
    {
        snip ssh_config HOST=cluster | sed 's/^Host .*/Host module/'
        cat <<END
Host *
    HostName 127.0.0.1
    Port $ssh_port
    User root
    UserKnownHostsFile $ssh/known_hosts
    StrictHostKeyChecking yes
    PreferredAuthentications publickey
END
    } >"$ssh/ssh_config"
}
ssh_stop() {
    [ ! -s "$ssh/sshd.pid" ] || stop_pid "$(cat "$ssh/sshd.pid")" TERM
    [ ! -s "$ssh/agent.pid" ] || stop_pid "$(cat "$ssh/agent.pid")" TERM
    [ ! -s "$ssh/user-agent.pid" ] || stop_pid "$(cat "$ssh/user-agent.pid")" TERM
    rm -f "$ssh"/*.pid
}
# ssh_to HOST: module (the client loads it) or agent.
ssh_to() {
    [ "$(timeout 20 env KEYMOOT_CONF="$scratch/etc/client.conf" SSH_ASKPASS="$scratch/etc/askpass" SSH_ASKPASS_REQUIRE=force \
        SSH_AUTH_SOCK="$([ "$1" = module ] || echo "$ssh/user-agent.sock")" ssh -F "$ssh/ssh_config" "$1" echo hello)" = hello ]
}

openssh_client_and_host_key_lose_no_connection() {
    needs openssh-server sshd
    needs openssh-client ssh
    ssh_start
    wait_for 10 ssh_to module || { ssh_to module || true; cat "$ssh/sshd.log" "$ssh/agent.log"; fail "no connection"; }
    loops_begin
    loop one ssh_to module
    loop two ssh_to module
    leader_dies 10
}

openssh_agent_signs_with_each_key_and_loses_no_connection() {
    needs openssh-server sshd
    needs openssh-client ssh-agent
    local agent=(env KEYMOOT_CONF="$scratch/etc/client.conf" SSH_ASKPASS="$scratch/etc/askpass" SSH_ASKPASS_REQUIRE=force SSH_AUTH_SOCK="$ssh/user-agent.sock")
    [ -s "$ssh/agent.pid" ] || ssh_start
    rm -f "$ssh/user-agent.sock"
    "${agent[@]}" ssh-agent -D -P "$module" -a "$ssh/user-agent.sock" >/dev/null 2>&1 &
    echo $! >"$ssh/user-agent.pid"
    wait_for 5 test -S "$ssh/user-agent.sock"
    "${agent[@]}" bash -euc "$(snip ssh-add.sh)" </dev/null
    "${agent[@]}" ssh-add -l | grep ECDSA >/dev/null
    for key in ecdsa ssh-rsa; do
        grep "^$key" "$ssh/public-keys" >"$ssh/key.pub"
        "${agent[@]}" ssh-add -T "$ssh/key.pub" || fail "the agent does not sign with $key"
    done
    loops_begin
    loop one ssh_to agent
    loop two "${agent[@]}" ssh-add -T "$ssh/key.pub"
    leader_dies 10
    "${agent[@]}" ssh-add -e "$module"
    ! "${agent[@]}" ssh-add -T "$ssh/key.pub" 2>/dev/null || fail "the agent signs with a module that was removed"
}

claims_openssh="openssh_client_and_host_key_lose_no_connection openssh_agent_signs_with_each_key_and_loses_no_connection"
