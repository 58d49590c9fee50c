# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC3043
# In the guest: the everyday calls on a share, and data compared by checksum.
# What is left behind is looked at from the host by linux.sh.
m=/mnt

do_the_share_mounts()
{
    mount -t virtiofs "$tag" $m
    grep -q "^$tag $m virtiofs " /proc/mounts
    df $m
}

# The sums are of what the guest reads; the host compares them with its own.
tree_sums()
{
    cd "$1"
    find . -type f | LC_ALL=C sort | while read -r file; do
        sha256sum "$file"
    done
}

tree_shape()
{
    cd "$1"
    find . ! -type d | LC_ALL=C sort | while read -r file; do
        stat -c '%a %s %h %N' "$file"
    done
}

do_the_hosts_tree_reads()
{
    tree_sums $m/host-tree >/tmp/host.sums
    tree_shape $m/host-tree >/tmp/host.shape
    cp /tmp/host.sums /tmp/host.shape $m/
    # Again, from the host and not from this page cache.
    echo 3 >/proc/sys/vm/drop_caches
    tree_sums $m/host-tree | cmp - /tmp/host.sums
}

do_files_are_created_read_and_written()
{
    mkdir $m/files
    cd $m/files
    echo one >text
    [ "$(cat text)" = one ]
    echo two >>text
    [ "$(wc -l <text)" = 2 ]
    : >empty
    [ ! -s empty ]
    dd if=/dev/urandom of=/tmp/data bs=4097 count=300
    cp /tmp/data data
    cmp /tmp/data data
    # A write in the middle leaves what is around it.
    printf 'MIDDLE' | dd of=data bs=1 seek=500000 conv=notrunc
    printf 'MIDDLE' | dd of=/tmp/data bs=1 seek=500000 conv=notrunc
    cmp /tmp/data data
    sha256sum </tmp/data >data.sum
    truncate -s 1000 text
    [ "$(stat -c %s text)" = 1000 ]
    dd if=/dev/zero of=sparse bs=1 count=1 seek=10M
    [ "$(stat -c %s sparse)" = 10485761 ]
    chmod 640 data
    [ "$(stat -c %a data)" = 640 ]
    touch -d '2001-02-03 04:05:06' data
    [ "$(stat -c %Y data)" = "$(date -d '2001-02-03 04:05:06' +%s)" ]
}

do_errors_are_the_right_ones()
{
    cd $m/files
    cat absent 2>&1 | grep -q 'No such file'
    mkdir $m/files 2>&1 | grep -q 'File exists'
    rmdir $m/files 2>&1 | grep -q 'not empty'
    cat text/below 2>&1 | grep -q 'Not a directory'
    touch "$(printf '%256s' x | tr ' ' x)" 2>&1 | grep -q 'name too long'
}

do_names_are_moved()
{
    mkdir -p $m/moved/a $m/moved/b
    cd $m/moved
    echo moved >a/from
    mv a/from b/to
    [ ! -e a/from ]
    [ "$(cat b/to)" = moved ]
    echo old >over
    echo new >over.tmp
    mv over.tmp over
    [ "$(cat over)" = new ]
    mv a c
    [ -d c ]
    [ ! -e a ]
}

do_names_are_removed()
{
    mkdir $m/removed
    cd $m/removed
    echo x >file
    # An open file outlives its name.
    exec 3<file
    rm file
    [ ! -e file ]
    [ "$(cat <&3)" = x ]
    exec 3<&-
    mkdir -p dir/dir/dir
    rm -r dir
    [ -z "$(ls -A .)" ]
}

do_links_are_made()
{
    mkdir $m/links
    cd $m/links
    echo linked >file
    ln file hard
    [ "$(stat -c %h file)" = 2 ]
    [ "$(stat -c %i file)" = "$(stat -c %i hard)" ]
    echo more >>hard
    [ "$(wc -l <file)" = 2 ]
    ln -s file soft
    [ "$(readlink soft)" = file ]
    [ "$(wc -l <soft)" = 2 ]
    ln -s nowhere dangling
    mkfifo fifo
    [ -p fifo ]
}

do_a_large_directory_lists_whole()
{
    local i=0

    mkdir $m/many
    cd $m/many
    while [ $i -lt 1500 ]; do
        : >"a-name-of-some-length-$i"
        i=$((i + 1))
    done
    [ "$(ls | wc -l)" = 1500 ]
    [ "$(ls | sort -u | wc -l)" = 1500 ]
    echo 3 >/proc/sys/vm/drop_caches
    [ "$(find . -type f | wc -l)" = 1500 ]
}

do_the_guest_writes_a_tree()
{
    local dir n

    mkdir /tmp/tree
    cd /tmp/tree
    for dir in . a a/b 'with space' 'ünïcödé'; do
        mkdir -p "$dir"
        for n in 0 1 511 4095 4096 4097 65537 1048577; do
            head -c $n /dev/urandom >"$dir/file-$n"
        done
        chmod 600 "$dir/file-1"
        ln -s file-1 "$dir/soft"
        ln "$dir/file-511" "$dir/hard"
    done
    tree_sums /tmp/tree >/tmp/guest.sums
    tree_shape /tmp/tree >/tmp/guest.shape
    cp -a /tmp/tree $m/guest-tree
    cp /tmp/guest.sums /tmp/guest.shape $m/
    tree_sums $m/guest-tree | cmp - /tmp/guest.sums
}

do_many_write_at_once()
{
    local n pids=

    mkdir $m/at-once
    for n in 1 2 3 4 5 6 7 8; do
        (
            head -c 3000000 /dev/urandom >/tmp/at-once.$n
            cp /tmp/at-once.$n $m/at-once/$n
            cmp /tmp/at-once.$n $m/at-once/$n
        ) &
        pids="$pids $!"
    done
    for n in $pids; do
        wait "$n"
    done
    echo 3 >/proc/sys/vm/drop_caches
    for n in 1 2 3 4 5 6 7 8; do
        cmp /tmp/at-once.$n $m/at-once/$n
        rm /tmp/at-once.$n
    done
}

# fio comes with the host's libraries, through the share: a program of some
# size that is mapped and run from it.
do_fio_verifies()
{
    mkdir $m/fio-data
    $m/fio/ld.so --library-path $m/fio $m/fio/fio \
        --directory=$m/fio-data --thread --ioengine=psync --size=4m \
        --verify=crc32c --verify_fatal=1 --do_verify=1 --output=/tmp/fio.out \
        --name=random --rw=randwrite --bsrange=512-128k --bs_unaligned \
        --name=direct --rw=randwrite --bs=4k --direct=1 \
        --name=sequential --rw=write --bs=1m --fsync_on_close=1 --numjobs=2 ||
        { cat /tmp/fio.out; false; }
    grep -c 'err= 0' /tmp/fio.out
    refuse grep 'err= *[1-9]' /tmp/fio.out
}

do_the_share_mounts_again()
{
    echo kept >$m/kept
    sync
    umount $m
    refuse grep " $m " /proc/mounts
    mount -t virtiofs "$tag" $m
    [ "$(cat $m/kept)" = kept ]
    tree_sums $m/guest-tree | cmp - /tmp/guest.sums
    sync
    umount $m
}

step the_share_mounts
step the_hosts_tree_reads
step files_are_created_read_and_written
step errors_are_the_right_ones
step names_are_moved
step names_are_removed
step links_are_made
step a_large_directory_lists_whole
step the_guest_writes_a_tree
step many_write_at_once
step fio_verifies
step the_share_mounts_again
