# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC3043
# In the guest: stress-ng, a stressor at a time, in a directory of the share.
m=/mnt
export PATH=$m/programs:/bin LD_LIBRARY_PATH=$m/programs/lib

do_the_share_mounts()
{
    mount -t virtiofs "$tag" $m
    mkdir /lib64 /dev/shm
    ln -s $m/programs/lib/ld-linux-x86-64.so.2 /lib64/
    mount -t tmpfs none /dev/shm
    # What fanotify watches.
    ln -s /proc/self/mounts /etc/mtab
    mkdir $m/stress
}

complaints()
{
    grep -E 'stress-ng: (fail|error|warn):|skipping' /tmp/log || true
}

# operations NAME: how many there were, of all workers.
operations()
{
    awk -v name="$1" '$2 == "metrc:" && $4 == name { print $5; exit }' /tmp/log
}

# The time-out is no aim, but some plan by it.
do_stressor()
{
    local options="$more" complaint='' status=0

    case $more in
    *!*)
        options=${more%%!*}
        complaint=${more#*! }
        ;;
    esac
    # shellcheck disable=SC2086
    stress-ng "--$name" "$workers" "--$name-ops" "$ops" --verify \
        --metrics-brief --temp-path $m/stress --timeout 200 $options \
        >/tmp/log 2>&1 </dev/null || status=$?
    cat /tmp/log
    [ $status -eq 0 ]
    if [ -z "$complaint" ]; then
        [ -z "$(complaints)" ]
        [ "$(operations "$name")" -ge "$ops" ]
    else
        [ -n "$(complaints)" ]
        [ -z "$(complaints | grep -v -F "$complaint")" ]
    fi
    # It removes what it made.
    [ -z "$(ls -A $m/stress)" ]
}

step the_share_mounts
while read -r name workers ops more; do
    step=stressor_$(echo "$name" | tr - _)
    eval "do_$step() { do_stressor; }"
    step "$step"
    # Whatever became of it, the next one begins with nothing.
    rm -rf $m/stress/*
done </stress/stressors
