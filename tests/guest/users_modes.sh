#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# git and sqlite on shares of the cache modes that users.sh has not; each
# checks itself in the guest, and the host looks again.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/whole.sh"

# NAME ARGUMENT...
modes=(
    "never --cache=never"
    "metadata --cache=metadata"
    "always --cache=always"
    "gathered --cache=always --writeback"
)
programs=(git sqlite3)
daemon_pids=()

# The steps of a mode.
mode_steps()
{
    printf "$1_%s\n" git_works sqlite_survives_a_kill
    case $1 in
    never | metadata) echo "$1_sqlite_says_that_it_has_none" ;;
    *) echo "$1_sqlite_has_a_write_ahead_log" ;;
    esac
}

start_modes()
{
    local line name args

    for line in "${modes[@]}"; do
        read -r name args <<<"$line"
        mkdir "$work/share-$name"
        # shellcheck disable=SC2086
        daemon_start "$VIRTIOFSD_BINARY" "$work/share-$name" \
            "$work/$name.sock" "$work/daemon.$name.log" $args ||
            skip_all "no daemon: $name"
        daemon_pids+=("$daemon_pid")
        qemu_pids+=("$daemon_pid") # for cleanup()
        devices+=(-chardev "socket,id=$name,path=$work/$name.sock"
            -device "vhost-user-fs-pci,chardev=$name,tag=$name")
    done
}

guest_test_begin "${programs[@]}"
guest_programs "$share/programs" "${programs[@]}"
ln -s git "$share/programs/git-upload-pack"
cat "$tests_guest/guest_programs.sh" "$tests_guest/guest_users_modes.sh" \
    >"$work/steps.sh"
test_initramfs "$work/steps.sh"
devices=()
start_modes
test_daemon --cache=always
boot_linux "$work/console" 1 -no-reboot "${devices[@]}"
check_guest_ends "$work/console"
mapfile -t steps < <(for line in "${modes[@]}"; do
    mode_steps "${line%% *}"
done)
report_steps "$work/console" the_shares_mount "${steps[@]}"
check_daemon_ends
for daemon_pid in "${daemon_pids[@]}"; do
    check_daemon_ends
done
daemon_pid=
for line in "${modes[@]}"; do
    name=${line%% *}
    check "host: the clone is whole: $name" \
        git_is_whole "$work/share-$name/two"
    check "host: the database is whole: $name" \
        database_is_whole "$work/share-$name/rollback.db"
done
finish
