#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Mounts within the share, as a Linux guest sees them; some come and go while
# it runs.  A second share of the same tree does not announce them.

# Mounts of this test's own, which end with it.
if [ -z "${SUBMOUNTS_NAMESPACE:-}" ] && [ "$(id -u)" = 0 ]; then
    SUBMOUNTS_NAMESPACE=1 exec unshare -m --propagation private "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"

# The share passes mounts on to other namespaces, as those of a host do.
make_mounts()
{
    mount -t tmpfs -o size=3m none "$share" || skip_all "nothing can be mounted"
    mount --make-shared "$share"
    mkdir "$share"/{plain,bind,sub,later}
    echo plain >"$share/plain/f"
    echo covered >"$share/file"
    mount -t tmpfs -o size=1m none "$share/sub"
    mkdir "$share/sub"/{d,inner}
    echo sub >"$share/sub/f"
    mount -t tmpfs -o size=2m none "$share/sub/inner"
    echo inner >"$share/sub/inner/f"
    mount --bind "$share/plain" "$share/bind"
    mount --bind "$share/sub/f" "$share/file"
}

# Else the temporary directory could not be removed.
end_mounts()
{
    umount -R -l "$share"
    cleanup
}

mount_later()
{
    mount -t tmpfs none "$share/later" && echo later >"$share/later/f"
}

# Who uses it keeps it from being unmounted, but not from being taken away.
take_later_away()
{
    if umount "$share/later"; then
        echo "it was not busy"
        return 1
    fi
    umount -l "$share/later"
}

# asked NAME COMMAND...: what the guest asks for by its note NAME.
asked()
{
    local name=$1

    shift
    wait_marker "$work/console" "note $name" && "$@" && touch "$share/$name"
}

guest_test_begin unshare mount
[ "$(id -u)" = 0 ] || skip_all "needs root to mount"
make_mounts
trap end_mounts EXIT
test_initramfs "$tests_guest/guest_submounts.sh"
test_daemon
first=$daemon_pid
daemon_start "$VIRTIOFSD_BINARY" "$share" "$work/socket2" "$work/daemon2.log" \
    --no-announce-submounts || tap "not ok" "a second virtiofsd starts"
second=$daemon_pid
daemon_pid=$first
boot_linux "$work/console" 1 -no-reboot \
    -chardev "socket,id=fs2,path=$work/socket2" \
    -device "vhost-user-fs-pci,chardev=fs2,tag=unannounced"
check "host: a file system is mounted under way" asked mounted mount_later
check "host: it is busy, and is taken away" asked vanished take_later_away
check "host: what the guest has left is unmounted" \
    asked unmounted umount "$share/sub/inner"
check_guest_ends "$work/console"
mapfile -t steps < <(steps_of "$tests_guest/guest_submounts.sh")
report_steps "$work/console" "${steps[@]}"
check_daemon_ends
daemon_pid=$second
check_daemon_ends
finish
