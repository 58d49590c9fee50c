#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A guest exports the share by NFS and is its own client.
. "$(dirname "$0")/lib.sh"

guest_modules=("${GUEST_MODULES_NFS[@]}")

make_tree()
{
    local d f

    for d in $(seq 10); do
        mkdir -p "$share/tree/d$d/e"
        for f in $(seq 20); do
            seq "$f" $((f * d * 20)) >"$share/tree/d$d/f$f"
        done
        ln "$share/tree/d$d/f1" "$share/tree/d$d/e/hard"
        ln -s ../f2 "$share/tree/d$d/e/soft"
    done
}

client_wrote()
{
    [ "$(cat "$share/new/hard")" = $'one\ntwo\nthree' ] &&
        [ "$(stat -c '%a %u %g' "$share/new/dir/text")" = \
            '640 20001 20002' ] &&
        [ "$(cat "$share/deep/a/b/c/d/f")" = $'deep\nmore' ] &&
        [ "$(cat "$share/elsewhere")" = $'pinned\nmore' ]
}

guest_test_begin
[ "$(id -u)" = 0 ] || skip_all "needs root for owners"
make_tree
test_initramfs "$tests_guest/guest_nfs.sh"
test_daemon --nfs-export
boot_linux "$work/console" 2 -no-reboot
check_guest_ends "$work/console"
mapfile -t steps < <(steps_of "$tests_guest/guest_nfs.sh")
report_steps "$work/console" "${steps[@]}"
check "host: what the client wrote is there" client_wrote
check_daemon_ends
finish
