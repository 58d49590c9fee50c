# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2164
# In the guest: Linux's NFS server exports the share, and Linux's NFS client
# mounts it from there, by NFS 4.2.  When the guest drops its caches, the
# server knows no file any more, and the client comes with its handles.
m=/mnt
n=/nfs
rpc=/proc/net/rpc

# Both ends keep in memory only what is in use.
forget()
{
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

do_the_share_mounts()
{
    mount -t virtiofs "$tag" $m
}

# What exportfs and mountd tell the kernel: everybody at 127.0.0.1 is
# "client"; file system 0 is the share; it is exported to them (any port, no
# check of subtrees, with a number).
do_the_server_exports_it()
{
    local until=2147483647

    ifconfig lo 127.0.0.1 up
    mount -t nfsd nfsd /proc/fs/nfsd
    echo 10 >/proc/fs/nfsd/nfsv4gracetime
    echo "nfsd 127.0.0.1 $until client" >$rpc/auth.unix.ip/channel
    echo "client $m $until $((0x2402)) 65534 65534 0" \
        >$rpc/nfsd.export/channel
    echo "client 1 \\x00000000 $until $m" >$rpc/nfsd.fh/channel
    echo '-2 -3 +4 +4.1 +4.2' >/proc/fs/nfsd/versions
    echo 'tcp 2049' >/proc/fs/nfsd/portlist
    echo 4 >/proc/fs/nfsd/threads
    [ "$(cat /proc/fs/nfsd/threads)" = 4 ]
}

do_the_client_mounts_it()
{
    mkdir $n
    mount -t nfs4 -o \
        vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1,port=2049,sec=sys \
        127.0.0.1:/ $n
    grep " $n nfs4 " /proc/mounts
}

do_the_client_finds_the_tree()
{
    (cd $m && find . | sort) >/tmp/share
    (cd $n && find . | sort) >/tmp/found
    [ "$(wc -l <"/tmp/found")" -gt 200 ]
    cmp /tmp/share /tmp/found
    (cd $m/tree && find . -type f -exec cat {} +) >/tmp/share
    (cd $n/tree && find . -type f -exec cat {} +) >/tmp/found
    cmp /tmp/share /tmp/found
    [ "$(stat -c '%f %h %u %g %s %Y' $m/tree/d1/f1)" = \
        "$(stat -c '%f %h %u %g %s %Y' $n/tree/d1/f1)" ]
}

do_the_client_writes()
{
    mkdir -p $n/new/dir
    head -c 3000000 /dev/urandom >$n/new/random
    cmp $n/new/random $m/new/random
    echo one >$n/new/dir/text
    echo two >>$n/new/dir/text
    [ "$(cat $m/new/dir/text)" = "$(printf 'one\ntwo')" ]
    echo three >>$m/new/dir/text
    ln $n/new/dir/text $n/new/hard
    ln -s dir/text $n/new/soft
    [ "$(readlink $m/new/soft)" = dir/text ]
    chmod 640 $n/new/hard
    chown 20001:20002 $n/new/hard
    [ "$(stat -c '%a %u %g %h' $m/new/dir/text)" = '640 20001 20002 2' ]
    touch -d @1000000000 $n/new/hard
    [ "$(stat -c %Y $m/new/hard)" = 1000000000 ]
    truncate -s 3 $n/new/random
    [ "$(stat -c %s $m/new/random)" = 3 ]
    mv $n/new/random $n/new/dir/moved
    [ ! -e $m/new/random ]
    [ -e $m/new/dir/moved ]
    echo x >$n/new/x
    rm $n/new/x
    [ ! -e $m/new/x ]
    mkdir $n/new/y
    rmdir $n/new/y
    [ ! -e $m/new/y ]
}

# A working directory is a handle that the server does not know of.
do_a_directory_is_found_by_its_handle()
{
    mkdir -p $n/deep/a/b/c
    echo deep >$n/deep/a/b/c/f
    cd $n/deep/a/b/c
    forget
    [ "$(ls)" = f ]
    [ "$(cat f)" = deep ]
    forget
    echo more >>f
    mkdir d
    [ "$(ls ..)" = c ]
    forget
    mv f d/f
    [ "$(cat $m/deep/a/b/c/d/f)" = "$(printf 'deep\nmore')" ]
}

# So is a file that is mounted upon another.
do_a_file_is_found_by_its_handle()
{
    echo pinned >$n/pinned
    : >/tmp/pinned
    mount --bind $n/pinned /tmp/pinned
    forget
    [ "$(stat -c %s /tmp/pinned)" = 7 ]
    forget
    [ "$(cat /tmp/pinned)" = pinned ]
    mv $m/pinned $m/elsewhere
    forget
    echo more >>/tmp/pinned
    [ "$(cat $m/elsewhere)" = "$(printf 'pinned\nmore')" ]
}

# Each directory is another handle to begin with.
do_the_client_works_while_the_server_forgets()
{
    local d

    for d in $n/tree/*; do
        forget
        cd "$d"
        forget
        cat f* >/tmp/found
        forget
        (cd "$m/${d#$n}" && cat f*) | cmp - /tmp/found
        cp f1 e/copy
        cmp e/copy e/hard
    done
}

# A handle leads to no other file than the one it was made for.
do_a_file_that_is_gone_is_stale()
{
    echo doomed >$n/doomed
    : >/tmp/doomed
    mount --bind $n/doomed /tmp/doomed
    rm $m/doomed
    echo another >$m/doomed
    forget
    refuse cat /tmp/doomed 2>/tmp/said
    cat /tmp/said
    grep -q 'Stale file handle' /tmp/said
    [ "$(cat $n/doomed)" = another ]
}

do_it_all_ends()
{
    umount /tmp/doomed
    umount /tmp/pinned
    umount $n
    echo 0 >/proc/fs/nfsd/threads
    # The paths in what was told to the server hold the share, and so does what
    # its threads still had, for a moment.
    tries=20
    date +%s >$rpc/nfsd.export/flush
    date +%s >$rpc/nfsd.fh/flush
    until umount $m; do
        tries=$((tries - 1))
        [ $tries -gt 0 ]
        sleep 1
        date +%s >$rpc/nfsd.export/flush
        date +%s >$rpc/nfsd.fh/flush
    done
}

step the_share_mounts
step the_server_exports_it
step the_client_mounts_it
step the_client_finds_the_tree
step the_client_writes
step a_directory_is_found_by_its_handle
step a_file_is_found_by_its_handle
step the_client_works_while_the_server_forgets
step a_file_that_is_gone_is_stale
step it_all_ends
