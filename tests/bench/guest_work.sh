#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# guest_work.sh DIR SECONDS: what is measured, in a guest with the share on DIR
# or on the host itself.  DIR/work holds repo/ and tree.tar.  Prints lines of
# "measure NAME UNIT VALUE".

export LC_ALL=C HOME=/tmp GIT_OPTIONAL_LOCKS=0
dir=$1
seconds=$2
cd "$dir/work" || exit 1

# took NAME COMMAND...: how long it takes.
took()
{
    local name=$1 start end

    shift
    start=$(date +%s%N)
    "$@" >/dev/null || { echo "failed: $*" >&2; exit 1; }
    end=$(date +%s%N)
    echo "measure $name ms $(((end - start) / 1000000))"
}

# Only a guest of one's own may be told to forget its caches.
forget_caches()
{
    [ -z "$GUEST" ] || { sync && echo 3 >/proc/sys/vm/drop_caches; }
}

# fio's terse version 3: field 8 is IOPS read, 49 IOPS written.
run_fio()
{
    local name=$1 field=$2 out

    shift 2
    out=$(fio --name="$name" --filename=fio --size=64M --ioengine=psync \
        --direct="${GUEST:-0}" --runtime="$seconds" --time_based \
        --output-format=terse --terse-version=3 "$@") || exit 1
    echo "measure $name IOPS $(echo "$out" | tail -n 1 | cut -d';' -f"$field")"
}

run_fio fio-write-4k 49 --rw=randwrite --bs=4k
run_fio fio-read-4k 8 --rw=randread --bs=4k
run_fio fio-write-128k 49 --rw=write --bs=128k
run_fio fio-read-128k 8 --rw=read --bs=128k
rm -f fio

forget_caches
took git-status-cold git -C repo status --porcelain
# Attributes are good for a second.
sleep 1.2
took git-status-again git -C repo status --porcelain
sleep 1.2
took git-status-again git -C repo status --porcelain

mkdir out || exit 1
took untar tar -xf tree.tar -C out
forget_caches
took tar-to-null tar -cf - out
took rm-rf rm -rf out
