#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# linux.sh QUEUES: a Linux guest with two CPUs uses a share in every everyday
# way; the host looks at what came of it.
. "$(dirname "$0")/lib.sh"

queues=${1:-1}

# What the guest should see: sizes about the page and request limits.
make_host_tree()
{
    local dir n

    for dir in . a a/b/c 'with space' 'ünïcödé'; do
        mkdir -p "$1/$dir"
        for n in 0 1 4095 4096 4097 131072 2097153; do
            head -c "$n" /dev/urandom >"$1/$dir/file-$n"
        done
        chmod 751 "$1/$dir/file-1"
        ln -s file-4096 "$1/$dir/soft"
        ln "$1/$dir/file-4097" "$1/$dir/hard"
    done
}

tree_sums()
{
    (cd "$1" && find . -type f | LC_ALL=C sort |
        while read -r file; do sha256sum "$file"; done)
}

# busybox's stat, here as in the guest: the same words for the same thing.
tree_shape()
{
    (cd "$1" && find . ! -type d | LC_ALL=C sort |
        while read -r file; do busybox stat -c '%a %s %h %N' "$file"; done)
}

# same_tree DIR SUMS SHAPE: DIR is what the guest said of it.
same_tree()
{
    [ -s "$2" ] && [ -s "$3" ] || return 1
    diff <(tree_sums "$1") "$2" && diff <(tree_shape "$1") "$3"
}

# fio with all it links, and the loader to run it with.
copy_fio()
{
    local fio

    fio=$(command -v fio)
    mkdir "$1"
    cp -L "$fio" "$1/fio"
    ldd "$fio" | awk '/=> \// { print $3 }' | xargs cp -L -t "$1"
    cp -L "$(ldd "$fio" | awk '/ld-linux/ { print $1 }')" "$1/ld.so"
}

check_files()
{
    check "host: a file has the bytes the guest wrote" \
        diff <(sha256sum <"$share/files/data") "$share/files/data.sum"
    check "host: ... its mode" [ "$(stat -c %a "$share/files/data")" = 640 ]
    check "host: ... its time" [ "$(stat -c %Y "$share/files/data")" = \
        "$(date -u -d '2001-02-03 04:05:06' +%s)" ]
    check "host: a renamed file is there under its new name only" \
        test -e "$share/moved/b/to" -a ! -e "$share/moved/a"
    check "host: a rename replaces" grep -q -x new "$share/moved/over"
    check "host: removed names are gone" \
        [ -z "$(ls -A "$share/removed" 2>&1)" ]
    check "host: a hard link is the same file" \
        test "$share/links/file" -ef "$share/links/hard"
    check "host: a symbolic link has its target" \
        [ "$(readlink "$share/links/soft")" = file ]
    check "host: all names of a large directory" \
        [ "$(find "$share/many" -type f | wc -l)" = 1500 ]
}

guest_test_begin fio sha256sum
make_host_tree "$share/host-tree"
copy_fio "$share/fio"
test_initramfs "$tests_guest/guest_files.sh"
test_daemon
boot_linux "$work/console" "$queues" -no-reboot
check_guest_ends "$work/console"
mapfile -t steps < <(steps_of "$tests_guest/guest_files.sh")
report_steps "$work/console" "${steps[@]}"
check "host: the guest read the host's tree, byte for byte" \
    same_tree "$share/host-tree" "$share/host.sums" "$share/host.shape"
check "host: the host reads the guest's tree, byte for byte" \
    same_tree "$share/guest-tree" "$share/guest.sums" "$share/guest.shape"
check_files
check_daemon_ends
finish
