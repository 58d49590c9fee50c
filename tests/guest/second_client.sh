#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A daemon serves one client: while a QEMU is connected, a second one is
# refused at once, and the first notices nothing.
. "$(dirname "$0")/lib.sh"

# A QEMU that was let in would wait for an answer until the time-out.
second_is_refused()
{
    guest_qemu "$accel" "$work/socket" "$tag" 1
    timeout -k 1 20 "${guest_qemu[@]}" -S -serial none </dev/null 2>&1
    case $? in
    1) return 0 ;;
    124 | 137) echo "it was let in" ;;
    *) echo "it ended in another way" ;;
    esac
    return 1
}

guest_test_begin
test_initramfs "$tests_guest/guest_wait.sh"
test_daemon
boot_linux "$work/console" 1 -no-reboot
check "a guest has the share" wait_marker "$work/console" "note ready"
check "a second QEMU is refused" second_is_refused
touch "$share/go"
check_guest_ends "$work/console"
mapfile -t steps < <(steps_of "$tests_guest/guest_wait.sh")
report_steps "$work/console" "${steps[@]}"
check "host: the first guest went on writing" \
    grep -q -x 'still here' "$share/after"
check_daemon_ends
finish
