# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC3043
# In the guest: what mounts within a share look like.  submounts.sh makes them,
# the later ones when it is told so by a file.
m=/mnt

# The trailing dot: only a look inside makes the kernel mount it.
dev()
{
    stat -c %d "$m/$1/."
}

# Wait for the host, and for names to time out.
ask_host()
{
    local left=600

    note "$1"
    until [ -e "$m/$1" ]; do
        [ $left -gt 0 ]
        left=$((left - 1))
        sleep 0.1
    done
    sleep 1.2
}

is_mounted()
{
    grep -q " $m/$1 virtiofs " /proc/mounts
}

do_the_share_mounts()
{
    mount -t virtiofs "$tag" $m
}

do_each_mount_has_its_own_device()
{
    local root

    root=$(dev .)
    [ "$(dev plain)" = "$root" ]
    [ "$(dev sub)" != "$root" ]
    [ "$(dev sub/d)" = "$(dev sub)" ]
    [ "$(dev sub/inner)" != "$(dev sub)" ]
    [ "$(dev sub/inner)" != "$root" ]
    [ "$(dev bind)" != "$root" ]
    is_mounted sub
    is_mounted sub/inner
    is_mounted bind
    refuse is_mounted plain
}

do_files_are_those_of_the_mounts()
{
    [ "$(cat $m/sub/f)" = sub ]
    [ "$(cat $m/sub/inner/f)" = inner ]
    [ "$(cat $m/bind/f)" = plain ]
    [ "$(cat $m/file)" = sub ]
    echo more >>$m/bind/f
    sleep 1.2
    [ "$(wc -l <$m/plain/f)" = 2 ]
}

do_df_shows_each_file_system()
{
    df -k $m | grep ' 3072 '
    df -k $m/sub/. | grep ' 1024 '
    df -k $m/sub/inner/. | grep ' 2048 '
}

do_find_stays_on_one_file_system()
{
    [ "$(find $m -xdev -name f)" = $m/plain/f ]
    [ "$(find $m -name f | wc -l)" = 4 ]
}

do_mount_points_are_not_removed()
{
    rmdir $m/sub 2>&1 | grep 'busy'
    rm -f $m/file 2>&1 | grep 'busy'
    ln $m/plain/f $m/sub/hard 2>&1 | grep -i 'cross-device'
}

do_a_mount_appears()
{
    [ "$(dev later)" = "$(dev .)" ]
    ask_host mounted
    [ "$(cat $m/later/f)" = later ]
    [ "$(dev later)" != "$(dev .)" ]
    is_mounted later
}

do_a_mount_vanishes()
{
    exec 3<$m/later/f
    ask_host vanished
    [ ! -e $m/later/f ]
    [ "$(dev later)" = "$(dev .)" ]
    refuse is_mounted later
    [ "$(cat <&3)" = later ]
    exec 3<&-
}

# Linux keeps the mount until it is told otherwise, and the host's with it.
do_the_host_unmounts_what_the_guest_has_left()
{
    umount $m/sub/inner
    echo 2 >/proc/sys/vm/drop_caches
    ask_host unmounted
    [ -d $m/sub/inner ]
    [ ! -e $m/sub/inner/f ]
}

do_without_the_announcement_all_is_one()
{
    local n=/unannounced

    mkdir $n
    mount -t virtiofs unannounced $n
    [ "$(stat -c %d $n/sub/.)" = "$(stat -c %d $n)" ]
    [ "$(stat -c %d $n/bind/.)" = "$(stat -c %d $n)" ]
    [ "$(cat $n/sub/f)" = sub ]
    find $n -xdev -name f | grep -q $n/sub/f
    umount $n
}

step the_share_mounts
step without_the_announcement_all_is_one
step each_mount_has_its_own_device
step files_are_those_of_the_mounts
step df_shows_each_file_system
step find_stays_on_one_file_system
step mount_points_are_not_removed
step a_mount_appears
step a_mount_vanishes
step the_host_unmounts_what_the_guest_has_left
