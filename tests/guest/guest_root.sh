# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# In the guest: the share becomes the root file system.
do_the_share_mounts_as_root()
{
    mkdir /newroot
    mount -t virtiofs "$tag" /newroot
}

step the_share_mounts_as_root
mount --move /proc /newroot/proc
mount --move /sys /newroot/sys
mount --move /dev /newroot/dev
exec switch_root /newroot /sbin/init
