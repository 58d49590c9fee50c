#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One directory, served in every cache mode at once; the host changes it under
# a guest that has seen all of it, and the guest tells what it sees then.
. "$(dirname "$0")/lib.sh"

# NAME ARGUMENT...: the share of lib.sh's own is "never".
modes=(
    "auto --cache=auto"
    "half --cache=auto --timeout=0.5"
    "metadata --cache=metadata"
    "always --cache=always"
    "kept --cache=always --timeout=0.5"
    "absent --cache=auto --negative-timeout=86400"
    "short --cache=auto --negative-timeout=1"
    "gathered --cache=auto --writeback"
)

letters()
{
    head -c 4000 /dev/zero | tr '\0' "$1"
}

# What the guest sees first; guest_coherence.sh has the same in words.
make_tree()
{
    cd "$share" || exit 1
    echo 1234 >mode && chmod 600 mode
    echo 1234 >size
    echo 1234 >time && touch -d @1000000000 time
    echo 1234 >gone
    echo old >replaced
    mkdir moved erased list
    echo old >moved/inner
    echo old >erased/inner
    : >list/one
    ln -s old link
    letters a >text
    letters a >held
    echo 1234 >both
    cd "$OLDPWD" || exit 1
}

change_tree()
{
    cd "$share" || return 1
    chmod 640 mode
    echo 5678 >>size
    touch -d @1100000000 time
    rm gone
    echo new >replaced.tmp && mv replaced.tmp replaced
    mkdir moved.tmp && echo new >moved.tmp/inner
    mv -T --exchange moved moved.tmp 2>/dev/null ||
        { mv moved moved.old && mv moved.tmp moved; }
    rm -r erased && mkdir erased && echo new >erased/inner
    : >list/two
    ln -s new link.tmp && mv -T link.tmp link
    echo 1234 >new
    # In place, the size as it was: only the time tells.
    letters b | dd of=text bs=4000 iflag=fullblock conv=notrunc status=none
    letters b | dd of=held bs=4000 iflag=fullblock conv=notrunc status=none
    : >go
    cd "$OLDPWD" || return 1
}

# start_modes: a daemon for each, and the QEMU arguments of its device.
start_modes()
{
    local line name args

    test_daemon --cache=never
    daemons=("$daemon_pid")
    for line in "${modes[@]}"; do
        read -r name args <<<"$line"
        # shellcheck disable=SC2086
        daemon_start "$VIRTIOFSD_BINARY" "$share" "$work/$name.sock" \
            "$work/daemon.$name.log" $args || skip_all "no daemon: $name"
        daemons+=("$daemon_pid")
        qemu_pids+=("$daemon_pid") # for cleanup()
        devices+=(-chardev "socket,id=$name,path=$work/$name.sock"
            -device "vhost-user-fs-pci,chardev=$name,tag=$name")
    done
    qemu_pids+=("${daemons[0]}")
}

guest_test_begin
make_tree
test_initramfs "$tests_guest/guest_coherence.sh"
devices=()
start_modes
boot_linux "$work/console" 1 -no-reboot "${devices[@]}"
check "the guest has seen it all" wait_marker "$work/console" "note seen"
check "host: everything changes" change_tree
check_guest_ends "$work/console"
mapfile -t steps < <(steps_of "$tests_guest/guest_coherence.sh")
report_steps "$work/console" "${steps[@]}"
for mode in never auto half metadata always kept gathered; do
    check "host: sees what the guest wrote with $mode" \
        [ "$(cat "$share/from-$mode")" = "by the guest" ]
done
for daemon_pid in "${daemons[@]}"; do
    check_daemon_ends
done
daemon_pid=
finish
