# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC3043
# In the guest: the battery on one share after the other, each a device of
# its own.  Nothing is judged here: battery.sh compares with the host.
. /battery/settings

for name in hardlinks symlinks regular fifos; do
    eval "value=\$protected_$name"
    # shellcheck disable=SC2154
    echo "$value" >/proc/sys/fs/protected_$name
done
uname -r >/tmp/kernel

posix()
{
    local area

    mkdir -p "/mnt/$1"
    mount -t virtiofs "$1" "/mnt/$1"
    cp /tmp/kernel "/mnt/$1/kernel"
    mkdir "/mnt/$1/posix"
    chmod 755 "/mnt/$1/posix"
    for area in $(/battery/posix_battery -l | cut -d. -f1 | uniq); do
        note "$1: $area"
        /battery/posix_battery "/mnt/$1/posix" "$area." >>"/tmp/$1.posix"
    done
    cp "/tmp/$1.posix" "/mnt/$1/posix.out"
    rmdir "/mnt/$1/posix"
}

# Its copy in memory is the judge here.
random()
{
    local seed

    mkdir "/mnt/$1/random"
    for seed in 1 2; do
        note "$1: random $seed"
        /battery/random_io -s $seed -n 500 "/mnt/$1/random"
    done
    rmdir "/mnt/$1/random"
    umount "/mnt/$1"
}

# All at once: a share that waits for its host leaves the processors to the
# others.
# shellcheck disable=SC2154
for mode in $modes; do
    eval "do_posix_$mode() { posix $mode; }"
    eval "do_random_$mode() { random $mode; }"
    { step "posix_$mode"; step "random_$mode"; } &
done
wait
