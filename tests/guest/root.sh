#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The share is the guest's root file system: its init and every program come
# from there.
. "$(dirname "$0")/lib.sh"

make_root()
{
    local name

    mkdir -p "$share"/{bin,sbin,proc,sys,dev,tmp,root,var}
    cp "$(command -v busybox)" "$share/bin/busybox"
    for name in $(busybox --list); do
        [ -e "$share/bin/$name" ] || ln -s busybox "$share/bin/$name"
    done
    { echo '#!/bin/sh'
      cat "$tests_guest/guest_step.sh" "$tests_guest/guest_root_init.sh"
    } >"$share/sbin/init"
    chmod 755 "$share/sbin/init"
}

guest_test_begin
make_root
test_initramfs "$tests_guest/guest_root.sh"
test_daemon
boot_linux "$work/console" 1 -no-reboot
check_guest_ends "$work/console"
mapfile -t steps < <(steps_of "$tests_guest/guest_root.sh"
    steps_of "$tests_guest/guest_root_init.sh")
report_steps "$work/console" "${steps[@]}"
check "host: the guest read its programs byte for byte" \
    diff <(sha256sum <"$share/bin/busybox" | cut -d' ' -f1) \
    <(cut -d' ' -f1 "$share/root/busybox.sum")
check "host: the guest's log is in the share" \
    grep -q 'Linux version' "$share/var/log/deep/dmesg"
check "host: nothing was written while read-only" \
    test -e "$share/var/accepted" -a ! -e "$share/var/refused"
check_daemon_ends
finish
