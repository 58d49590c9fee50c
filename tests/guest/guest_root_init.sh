# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# In the guest: /sbin/init on the share.  Every program it runs is mapped
# from the share, and its working files are there too.
do_the_root_is_virtiofs()
{
    grep -q "^$tag / virtiofs " /proc/mounts
}

do_programs_run_from_the_root()
{
    /bin/busybox sha256sum /bin/busybox >/root/busybox.sum
    for n in 1 2 3 4 5 6 7 8; do
        /bin/busybox true
        /bin/busybox uname -r >/root/release
    done
    echo 'echo by-a-script' >/root/script
    chmod 755 /root/script
    [ "$(/root/script)" = by-a-script ]
}

do_the_root_takes_files()
{
    mkdir -p /var/log/deep
    dmesg >/var/log/deep/dmesg
    [ -s /var/log/deep/dmesg ]
    mount -t tmpfs tmpfs /tmp
    echo over >/tmp/file
    umount /tmp
    [ ! -e /tmp/file ]
}

do_the_root_goes_read_only()
{
    sync
    mount -o remount,ro /
    refuse touch /var/refused
    mount -o remount,rw /
    touch /var/accepted
}

export PATH=/bin HOME=/root LC_ALL=C
step the_root_is_virtiofs
step programs_run_from_the_root
step the_root_takes_files
step the_root_goes_read_only
sync
poweroff -f
