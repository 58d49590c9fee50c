# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# In the guest: count this boot in the share, then boot again without taking
# leave: no umount, no FUSE DESTROY.
m=/mnt
last=4

do_boot()
{
    mount -t virtiofs "$tag" $m
    boots=$(($(cat $m/boots 2>/dev/null || echo 0) + 1))
    # What the boot before left is whole.
    [ $boots = 1 ] || sha256sum -c $m/sums
    head -c 300000 /dev/urandom >$m/data.$boots
    sha256sum $m/data.* >$m/sums
    echo $boots >$m/boots
    : >/tmp/counted
    sync
    # Nodes and handles of this life stay open when it ends.
    sleep 1000 <$m/data.$boots &
}

step boot
boots=$(cat $m/boots)
note "boot $boots"
# A boot that failed has not counted itself: it must be the last.
if [ "$boots" -lt $last ] && [ -e /tmp/counted ]; then
    reboot -f
fi
poweroff -f
