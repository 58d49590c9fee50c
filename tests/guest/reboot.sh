#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A guest that boots again and again inside the same QEMU: the daemon and its
# connection live on, the guest's FUSE session starts anew each time.
. "$(dirname "$0")/lib.sh"

guest_test_begin
test_initramfs "$tests_guest/guest_reboot.sh"
test_daemon
boot_linux "$work/console" 1
check_guest_ends "$work/console"
for n in 1 2 3 4; do
    check "boot $n mounts the share" \
        grep -a -q "@@ note boot $n" "$work/console"
done
check "no boot failed" [ "$(grep -a -c '@@ not ok' "$work/console")" = 0 ]
check "the share counts four boots" grep -q -x 4 "$share/boots"
check "every boot's data is whole" \
    bash -c "cd '$share' && sed 's#/mnt/##' sums | sha256sum -c --quiet"
[ "$tap_failed" -eq 0 ] || show_logs "$work/console"
check_daemon_ends
finish
