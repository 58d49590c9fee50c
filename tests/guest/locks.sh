#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Two guests and the host lock one file of a share, each guest through a
# daemon of its own; then one of the guests is killed.
. "$(dirname "$0")/lib.sh"

declare -A commands=([one]=0 [two]=0 [host]=0) qemu=() daemon=()

# start_guest NAME [ARGUMENT...]
start_guest()
{
    local name=$1

    shift
    daemon_start "$VIRTIOFSD_BINARY" "$share" "$work/$name.sock" \
        "$work/$name.daemon.log" "$@" || skip_all "no daemon for $name"
    qemu_pids+=("$daemon_pid") # for cleanup()
    daemon[$name]=$daemon_pid
    guest_qemu "$accel" "$work/$name.sock" "$tag" 1
    boot_qemu "$work/$name" -kernel "$cache/kernel/vmlinuz" \
        -initrd "$work/initrd" -no-reboot \
        -append "console=ttyS0 panic=-1 loglevel=4 share.name=$name"
    qemu[$name]=$qemu_pid
}

start_host()
{
    "$VIRTIOFSD_GUEST_AGENT" "$share" host >"$work/host" 2>&1 &
    qemu[host]=$!
    qemu_pids+=("${qemu[host]}")
}

# order NAME COMMAND...: without waiting for the answer.
order()
{
    local name=$1 n=$((commands[$1] + 1))

    shift
    commands[$name]=$n
    echo "$*" >"$share/tmp" && mv "$share/tmp" "$share/$name.$n"
}

# The answer to the last order, or nothing yet.
answered()
{
    markers "$work/$1" | sed -n "s/^@@ note $1\.${commands[$1]} //p"
}

# answers NAME ANSWER: to the last order; waits for it.
answers()
{
    local left=$((step_timeout * 20)) said

    while said=$(answered "$1") && [ -z "$said" ]; do
        kill -0 "${qemu[$1]}" && [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.05
    done
    echo "$1 answered: $said"
    [ "$said" = "$2" ]
}

# ask ANSWER NAME COMMAND...
ask()
{
    local answer=$1 name=$2

    shift
    order "$@"
    answers "$name" "$answer"
}

still_waits()
{
    local said

    said=$(answered "$1")
    [ -z "$said" ] || { echo "$1 answered: $said"; return 1; }
}

# hand_over WHAT...: the lock WHAT goes from one to the other.  None is ever
# converted: flock() need not do that in one step.
hand_over()
{
    local kind=$1 where=("${@:2}")

    check "$*: one has it" ask granted one "$kind" ex "${where[@]}" try
    check "$*: two is refused" ask refused two "$kind" ex "${where[@]}" try
    check "$*: ... also to share it" \
        ask refused two "$kind" sh "${where[@]}" try
    check "$*: the host is refused" \
        ask refused host "$kind" ex "${where[@]}" try
    check "$*: one leaves it" ask granted one "$kind" un "${where[@]}" try
    check "$*: one shares it" ask granted one "$kind" sh "${where[@]}" try
    check "$*: ... with the host" ask granted host "$kind" sh "${where[@]}" try
    order two "$kind" ex "${where[@]}" wait
    check "$*: one leaves it again" \
        ask granted one "$kind" un "${where[@]}" try
    check "$*: two waits, for the host" still_waits two
    check "$*: the host leaves it" ask granted host "$kind" un "${where[@]}" try
    check "$*: two has it" answers two granted
    check "$*: one is refused now" \
        ask refused one "$kind" ex "${where[@]}" try
    check "$*: the host is, too" ask refused host "$kind" sh "${where[@]}" try
    check "$*: two leaves it" ask granted two "$kind" un "${where[@]}" try
}

ranges_are_of_bytes()
{
    ask granted one range ex 0 100 try &&
        ask granted two range ex 100 100 try &&
        ask refused two range ex 99 1 try &&
        ask granted one range un 50 50 try &&
        ask granted two range ex 99 1 try &&
        ask refused host range sh 49 1 try &&
        ask granted host range ex 50 49 try &&
        ask granted one range un 0 0 try &&
        ask granted two range un 0 0 try &&
        ask granted host range un 0 0 try
}

# count_together KIND: nothing is lost when all add up at once.
count_together()
{
    local name total

    head -c 8 /dev/zero >"$share/count"
    for name in one two host; do
        order "$name" count "$1" 50
    done
    for name in one two host; do
        answers "$name" "done" || return 1
    done
    total=$(od -A n -t d8 "$share/count")
    echo "counted:$total"
    [ "$((total))" -eq 150 ]
}

kill_one()
{
    kill -KILL "${qemu[one]}"
    wait "${qemu[one]}" 2>/dev/null
    return 0
}

guest_test_begin
[ -x "${VIRTIOFSD_GUEST_AGENT:-}" ] || skip_all "no program for the guests"
echo content >"$share/lock"
mkdir -p "$work/extra/bin"
cp "$VIRTIOFSD_GUEST_AGENT" "$work/extra/bin/agent"
test_initramfs "$tests_guest/guest_locks.sh" "$work/extra"
start_guest one --flock --posix-lock
start_guest two --flock --posix-lock
start_host
hand_over flock
hand_over range 10 20
check "ranges are of bytes" ranges_are_of_bytes
check "three count under flock()" count_together flock
check "three count under fcntl()" count_together range
check "one has a range" ask granted one range ex 0 10 try
check "... and all of the file" ask granted one flock ex try
order two range ex 5 10 wait
check "the host is refused" ask refused host flock ex try
check "two waits" still_waits two
check "one is killed" kill_one
check "two has the range" answers two granted
check "... and all of the file" ask granted two flock ex wait
check "the host is still refused" ask refused host range ex 0 10 try
order two quit
order host quit
check "the host's agent ends" wait "${qemu[host]}"
qemu_pid=${qemu[two]}
check_guest_ends "$work/two"
mapfile -t steps < <(steps_of "$tests_guest/guest_locks.sh")
report_steps "$work/two" "${steps[@]}"
for name in one two; do
    daemon_pid=${daemon[$name]}
    check_daemon_ends
done
daemon_pid=
finish
