# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC3043
# In the guest: the share holds the layers of an overlay.  What ends up in the
# upper layer is looked at from the host by overlay.sh.
m=/mnt
o=/overlay

do_the_share_mounts()
{
    mount -t virtiofs "$tag" $m
    mkdir $o
    # The first files met get the first numbers.
    handles make $m/lower/file /tmp/first
}

# mount_overlay UPPER OPTION: all layers on the share.
mount_overlay()
{
    dmesg -c >/dev/null
    mount -t overlay "$1" $o -o \
        "lowerdir=$m/lower,upperdir=$m/$1/upper,workdir=$m/$1/work,$2"
    dmesg
    # This kernel's FUSE has no O_TMPFILE yet, which overlayfs does without.
    refuse sh -c "dmesg | grep overlayfs: | grep -v tmpfile"
}

change_the_tree()
{
    cd $o
    [ "$(cat file)" = lower ]
    [ "$(find . -type f | wc -l)" = 36 ]
    echo new >new
    echo more >>file
    chmod 600 data
    cmp data $m/lower/data
    rm gone
    rm -r many
    [ ! -e many/1 ]
    mkdir many
    echo back >many/back
    [ "$(ls many)" = back ]
    mv moved moved-away
    [ "$(cat moved-away)" = moved ]
    [ ! -e moved ]
    mv dir dir-away
    [ "$(cat dir-away/below)" = below ]
    ln file hard
    echo linked >>hard
    [ "$(tail -n 1 file)" = linked ]
    [ "$(stat -c %h file)" = 2 ]
    ln -s file soft
    [ "$(head -n 1 soft)" = lower ]
    mkfifo fifo
    cp busybox busybox-run
    [ "$(./busybox-run echo ran)" = ran ]
    dd if=/dev/urandom of=big bs=64k count=40
    sha256sum <big >big.sum
    cd /
}

see_the_changes()
{
    cd $o
    [ "$(cat file)" = "$(printf 'lower\nmore\nlinked')" ]
    [ "$(cat new)" = new ]
    [ "$(stat -c %a data)" = 600 ]
    [ ! -e gone ]
    [ ! -e moved ]
    [ "$(cat moved-away)" = moved ]
    [ "$(ls many)" = back ]
    [ ! -e dir ]
    [ "$(cat dir-away/below)" = below ]
    [ -p fifo ]
    [ "$(./busybox-run echo ran)" = ran ]
    [ "$(sha256sum <big)" = "$(cat big.sum)" ]
    ls -1 | sort >/tmp/names
    [ "$(cat /tmp/names | tr '\n' ' ')" = "big big.sum busybox busybox-run data dir-away\
 fifo file hard many moved-away new soft " ]
    cd /
}

do_an_overlay_with_user_attributes_is_used()
{
    mount_overlay user userxattr
    change_the_tree
    see_the_changes
}

do_it_is_the_same_after_a_remount()
{
    umount $o
    umount $m
    mount -t virtiofs "$tag" $m
    mount_overlay user userxattr
    see_the_changes
    umount $o
}

# By --xattrmap these are other ones on the host.
do_an_overlay_with_trusted_attributes_is_used()
{
    mount_overlay trusted redirect_dir=on,metacopy=on
    change_the_tree
    see_the_changes
    umount $o
    mount_overlay trusted redirect_dir=on,metacopy=on
    see_the_changes
    umount $o
}

do_the_lower_layer_is_as_it_was()
{
    [ "$(cat $m/lower/file)" = lower ]
    [ -e $m/lower/gone ]
    [ "$(find $m/lower -type f | wc -l)" = 36 ]
}

do_only_the_lower_layers_are_on_the_share()
{
    mkdir /layers
    mount -t tmpfs tmpfs /layers
    mkdir /layers/upper /layers/work
    mount -t overlay lower $o -o \
        "lowerdir=$m/user/upper:$m/lower,upperdir=/layers/upper,workdir=/layers/work,userxattr"
    see_the_changes
    rm $o/new
    echo other >$o/many/back
    [ "$(cat $o/many/back)" = other ]
    umount $o
    [ "$(cat $m/user/upper/many/back)" = back ]
}

# Handles as an NFS server makes them.
do_handles_find_files_while_the_guest_knows_them()
{
    cd $m/lower
    handles make file /tmp/handle-file
    handles make dir /tmp/handle-dir
    [ "$(handles open $m /tmp/handle-file)" = lower ]
    [ "$(handles open $m /tmp/handle-dir)" = $m/lower/dir ]
}

# Another daemon numbers its files from the start again, as one does after the
# machine was off: a handle from before must not find what has its number now.
do_handles_of_another_life_find_nothing()
{
    mkdir /again
    mount -t virtiofs again /again
    [ "$(wc -c </again/lower/data)" = 300000 ]
    [ "$(cat /again/lower/file)" = lower ]
    handles open /again /tmp/first >/tmp/found || true
    grep 'Stale file handle' /tmp/found
}

# With --nfs-export, and the guest's own knowledge of the files dropped; a
# directory has to be found by its parents.
do_handles_outlive_the_cache()
{
    mkdir -p /again/deep/er
    echo deep >/again/deep/er/file
    handles make /again/deep/er/file /tmp/handle-file
    handles make /again/deep/er /tmp/handle-dir
    sync
    echo 3 >/proc/sys/vm/drop_caches
    [ "$(handles open /again /tmp/handle-dir)" = /again/deep/er ]
    echo 3 >/proc/sys/vm/drop_caches
    [ "$(handles open /again /tmp/handle-file)" = deep ]
    rm -r /again/deep
    echo 3 >/proc/sys/vm/drop_caches
    handles open /again /tmp/handle-file >/tmp/found || true
    grep 'Stale file handle' /tmp/found
}

# Without it they do not.
do_handles_are_stale_once_the_guest_has_forgotten()
{
    echo 3 >/proc/sys/vm/drop_caches
    handles open $m /tmp/first >/tmp/found || true
    grep 'Stale file handle' /tmp/found
}

step the_share_mounts
step an_overlay_with_user_attributes_is_used
step it_is_the_same_after_a_remount
step an_overlay_with_trusted_attributes_is_used
step the_lower_layer_is_as_it_was
step only_the_lower_layers_are_on_the_share
step handles_find_files_while_the_guest_knows_them
step handles_are_stale_once_the_guest_has_forgotten
step handles_of_another_life_find_nothing
step handles_outlive_the_cache
sync
