#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# battery.sh MODE...: the battery of tests/guest/posix runs on the host's
# file system and in a guest on shares of the same file system, one a mode.
# What it says must be the same, but for the rows of posix/differences.
. "$(dirname "$0")/lib.sh"

posix=$tests_guest/posix
# shellcheck source=tests/guest/battery_modes.sh
. "$tests_guest/battery_modes.sh"
guest_timeout=800
step_timeout=${VIRTIOFSD_GUEST_STEP_TIMEOUT:-240}
daemon_pids=()

end_daemons()
{
    local pid

    for pid in "${daemon_pids[@]}"; do
        end_process "$pid"
    done
    cleanup
}

# start_mode MODE: a daemon, its share, and the device for QEMU.
start_mode()
{
    local mode=$1

    mkdir "$work/share-$mode"
    chmod 755 "$work/share-$mode"
    # shellcheck disable=SC2086
    if ! daemon_start "$VIRTIOFSD_BINARY" "$work/share-$mode" \
        "$work/socket-$mode" "$work/daemon-$mode.log" ${mode_args[$mode]}; then
        tap "not ok" "virtiofsd starts for $mode"
        show_log "$work/daemon-$mode.log"
        finish
    fi
    daemon_pids+=("$daemon_pid")
    # The first is the device that boot_linux makes anyway.
    if [ ! -e "$work/socket" ]; then
        ln -s "socket-$mode" "$work/socket"
        tag=$mode
        return
    fi
    devices+=(-chardev "socket,id=$mode,path=$work/socket-$mode"
        -device "vhost-user-fs-pci,chardev=$mode,tag=$mode")
}

# What goes into the initramfs: the program, and what the host is set to.
make_extra()
{
    local name

    mkdir -p "$work/extra/battery"
    cp "$VIRTIOFSD_POSIX_BATTERY" "$VIRTIOFSD_RANDOM_IO" \
        "$work/extra/battery/" || skip_all "no program for the guest"
    {
        echo "modes='${modes[*]}'"
        for name in hardlinks symlinks regular fifos; do
            echo "protected_$name=$(cat /proc/sys/fs/protected_$name)"
        done
    } >"$work/extra/battery/settings"
}

on_the_host()
{
    mkdir "$work/host"
    chmod 755 "$work" "$work/host"
    "$VIRTIOFSD_POSIX_BATTERY" "$work/host" >"$work/host.out"
}

compare_mode()
{
    mode_compare "$1" "$work/host.out" "$work/share-$1/posix.out" \
        "$(cat "$work/share-$1/kernel")"
}

modes=("$@")
[ ${#modes[@]} -gt 0 ] || modes=("${default_modes[@]}")
[ -x "${VIRTIOFSD_POSIX_BATTERY:-}" ] ||
    skip_all "VIRTIOFSD_POSIX_BATTERY is not set"
[ "$(id -u)" -eq 0 ] || skip_all "the battery needs root"
guest_test_begin python3
trap end_daemons EXIT
make_extra
test_initramfs "$tests_guest/guest_battery.sh" "$work/extra"
devices=()
for mode in "${modes[@]}"; do
    start_mode "$mode"
done
daemon_pid=
boot_linux "$work/console" 1 -no-reboot "${devices[@]}"
check "the battery runs on the host" on_the_host
check_guest_ends "$work/console"
mapfile -t steps < <(for mode in "${modes[@]}"; do
    printf 'posix_%s\nrandom_%s\n' "$mode" "$mode"
done)
report_steps "$work/console" "${steps[@]}"
for mode in "${modes[@]}"; do
    check "$mode: the share is as the host's file system" compare_mode "$mode"
    [ -z "${BATTERY_KEEP:-}" ] ||
        cp "$work/share-$mode/posix.out" "$BATTERY_KEEP/$mode.out"
done
[ -z "${BATTERY_KEEP:-}" ] || cp "$work/host.out" "$BATTERY_KEEP/"
for daemon_pid in "${daemon_pids[@]}"; do
    check_daemon_ends
done
daemon_pid=
finish
