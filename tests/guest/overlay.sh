#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The share as the layers of an overlay in a Linux guest, and file handles of
# it, which an overlay and an NFS server make.
. "$(dirname "$0")/lib.sh"

make_layers()
{
    local n

    mkdir -p "$share"/lower/{many,dir} "$share"/{user,trusted}/{upper,work}
    for n in {1..30}; do
        echo "$n" >"$share/lower/many/$n"
    done
    for n in file gone moved; do
        echo "$n" >"$share/lower/$n"
    done
    echo lower >"$share/lower/file"
    echo below >"$share/lower/dir/below"
    head -c 300000 /dev/urandom >"$share/lower/data"
    cp "$(command -v busybox)" "$share/lower/busybox"
}

# A whiteout is a character device of number 0.
is_whiteout()
{
    [ "$(stat -c '%F %t:%T' "$1")" = 'character special file 0:0' ]
}

guest_test_begin getfattr
[ -x "${VIRTIOFSD_GUEST_HANDLES:-}" ] || skip_all "no program for handles"
make_layers
guest_modules=(overlay)
mkdir -p "$work/extra/bin"
cp "$VIRTIOFSD_GUEST_HANDLES" "$work/extra/bin/handles"
test_initramfs "$tests_guest/guest_overlay.sh" "$work/extra"
test_daemon --xattr --xattrmap ":map:trusted.:user.virtiofs.:"
first=$daemon_pid
daemon_start "$VIRTIOFSD_BINARY" "$share" "$work/socket2" "$work/daemon2.log" \
    --nfs-export || tap "not ok" "a second virtiofsd starts"
second=$daemon_pid
daemon_pid=$first
boot_linux "$work/console" 1 -no-reboot \
    -chardev "socket,id=fs2,path=$work/socket2" \
    -device "vhost-user-fs-pci,chardev=fs2,tag=again"
check_guest_ends "$work/console"
mapfile -t steps < <(steps_of "$tests_guest/guest_overlay.sh")
report_steps "$work/console" "${steps[@]}"
upper=$share/user/upper
for name in gone moved dir; do
    check "host: $name is whited out" is_whiteout "$upper/$name"
done
check "host: a directory made anew is opaque" \
    getfattr --only-values -n user.overlay.opaque "$upper/many"
check "host: a renamed directory was not copied" \
    [ "$(getfattr --absolute-names --only-values -n user.virtiofs.trusted.overlay.redirect \
        "$share/trusted/upper/dir-away")" = dir ]
check "host: a file whose mode was changed was not copied" \
    getfattr -n user.virtiofs.trusted.overlay.metacopy \
    "$share/trusted/upper/data"
check "host: a changed file was copied up" grep -q -x more "$upper/file"
check "host: ... with its link" test "$upper/file" -ef "$upper/hard"
check "host: what was not changed was not" test ! -e "$upper/busybox"
check_daemon_ends
daemon_pid=$second
check_daemon_ends
finish
