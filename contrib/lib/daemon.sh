# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Start and stop one virtiofsd.  Processes are ended by their id only.

# wait_gone PID SECONDS: true when the child PID has ended in time.
wait_gone()
{
    local left=$(($2 * 10))

    while kill -0 "$1" 2>/dev/null; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.1
    done
}

# end_process PID: asks first, then insists.  An empty PID is no process.
end_process()
{
    [ -n "${1:-}" ] || return 0
    kill "$1" 2>/dev/null || return 0
    wait_gone "$1" 5 || kill -KILL "$1" 2>/dev/null
    wait "$1" 2>/dev/null
    return 0
}

# daemon_start BINARY SHARE SOCKET LOG [ARGUMENT...]
# Sets daemon_pid.  Looks for the socket's name and never connects: a daemon
# serves one client in its life, and the probe would be that one.
daemon_start()
{
    local binary=$1 share=$2 socket=$3 log=$4 left=300

    shift 4
    "$binary" --socket-path="$socket" --shared-dir="$share" "$@" \
        </dev/null >"$log" 2>&1 &
    daemon_pid=$!
    while [ ! -S "$socket" ]; do
        kill -0 "$daemon_pid" 2>/dev/null || return 1
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.1
    done
}
