#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# storm.sh SCENE: the case this program was made for, again and again, while
# its processes are held up.  A guest enables a queue by one way and kicks it
# by another; whichever is late, no request may be lost.
#
#   uefi      firmware that resets twenty times; each role stopped and
#             continued at random
#   pinned    the same, with QEMU and all of virtiofsd on one processor and
#             the control process last in line
#   linux     a guest that boots again with four request queues; roles stopped
#   handover  firmware that starts a kernel from the same share, three times
. "$(dirname "$0")/lib.sh"

scene=$1
ovmf=/usr/share/OVMF
guest_timeout=900
harass_pid=

# The roles that live now.
roles()
{
    pgrep -P "$daemon_pid"
}

# Stop a role, any, for a moment, any; go on until told to end.
harass()
{
    local pids pid stopped=

    trap 'kill -CONT $stopped 2>/dev/null; exit 0' TERM
    while kill -0 "$daemon_pid" 2>/dev/null; do
        mapfile -t pids < <(roles)
        [ "${#pids[@]}" -gt 0 ] || break
        pid=${pids[RANDOM % ${#pids[@]}]}
        stopped=$pid
        kill -STOP "$pid" 2>/dev/null
        sleep "0.0$((RANDOM % 90 + 10))"
        kill -CONT "$pid" 2>/dev/null
        stopped=
        echo >>"$work/stops"
        sleep "0.0$((RANDOM % 50))"
    done
}

harass_begin()
{
    : >"$work/stops"
    harass &
    harass_pid=$!
}

harass_end()
{
    kill "$harass_pid" 2>/dev/null
    wait "$harass_pid" 2>/dev/null
    # shellcheck disable=SC2046
    kill -CONT $(roles) 2>/dev/null
    diag "roles were stopped $(wc -l <"$work/stops") times"
}

# startup_nsh N: a script for the shell that leaves a mark each boot, resets,
# and powers off at the Nth.  The shell can not count, so each boot has its
# own branch, the last one first.
startup_nsh()
{
    local n

    printf '@echo -off\nfs0:\ncd \\\n'
    for ((n = $1; n > 1; n--)); do
        printf 'if exist boot%d.txt then\n' $((n - 1))
        printf '  echo "@@ note boot %d"\n' "$n"
        printf '  cp -q data.bin copy.bin\n'
        printf '  echo "boot %d" > boot%d.txt\n' "$n" "$n"
        if [ "$n" -eq "$1" ]; then
            printf '  reset -s\nendif\n'
        else
            printf '  reset\nendif\n'
        fi
    done
    printf 'echo "@@ note boot 1"\necho "boot 1" > boot1.txt\nreset\n'
}

boot_firmware()
{
    cp "$ovmf/OVMF_VARS_4M.fd" "$work/vars.fd"
    guest_qemu "$accel" "$work/socket" "$tag" "$1"
    boot_qemu "$work/console" -net none -boot menu=off \
        -drive "if=pflash,unit=0,format=raw,readonly=on,\
file=$ovmf/OVMF_CODE_4M.fd" \
        -drive "if=pflash,unit=1,format=raw,file=$work/vars.fd"
}

need_firmware()
{
    local file

    for file in OVMF_CODE_4M.fd OVMF_VARS_4M.fd; do
        [ -r "$ovmf/$file" ] || skip_all "no $ovmf/$file here"
    done
}

marks()
{
    # The array's length is the answer.
    local found=("$share"/boot*.txt)

    [ "${#found[@]}" -eq "$1" ]
}

storm_uefi()
{
    need_firmware
    head -c 50001 /dev/urandom >"$share/data.bin"
    startup_nsh 20 | sed 's/$/\r/' >"$share/startup.nsh"
    test_daemon
    harass_begin
    boot_firmware 1
    check_guest_ends "$work/console"
    harass_end
    check "all twenty boots left their mark" marks 20
    check "the last copy is whole" cmp "$share/data.bin" "$share/copy.bin"
    check "roles were stopped meanwhile" [ "$(wc -l <"$work/stops")" -gt 20 ]
}

storm_pinned()
{
    local pid

    need_firmware
    head -c 50001 /dev/urandom >"$share/data.bin"
    startup_nsh 4 | sed 's/$/\r/' >"$share/startup.nsh"
    test_daemon
    for pid in "$daemon_pid" $(roles); do
        taskset -a -p -c 0 "$pid" >/dev/null
        case $(cat "/proc/$pid/comm") in
        *vhost*) renice -n 19 -p "$pid" >/dev/null ;;
        esac
    done
    boot_firmware 1
    taskset -a -p -c 0 "$qemu_pid" >/dev/null
    check_guest_ends "$work/console"
    check "all four boots left their mark" marks 4
    check "the last copy is whole" cmp "$share/data.bin" "$share/copy.bin"
}

storm_linux()
{
    local n

    test_initramfs <(sed 's/^last=4$/last=12/' "$tests_guest/guest_reboot.sh")
    test_daemon
    harass_begin
    boot_linux "$work/console" 4
    check_guest_ends "$work/console"
    harass_end
    for n in 1 6 12; do
        check "boot $n mounts the share" \
            grep -a -q "@@ note boot $n" "$work/console"
    done
    check "no boot failed" \
        [ "$(grep -a -c '@@ not ok' "$work/console")" = 0 ]
    check "the share counts twelve boots" grep -q -x 12 "$share/boots"
    check "roles were stopped meanwhile" [ "$(wc -l <"$work/stops")" -gt 20 ]
}

# The firmware reads kernel and initramfs from the share, the kernel mounts
# the same share by the same device: two lives, one connection.
storm_handover()
{
    need_firmware
    test_initramfs <(sed 's/^last=4$/last=3/' "$tests_guest/guest_reboot.sh")
    cp "$cache/kernel/vmlinuz" "$share/vmlinuz.efi"
    cp "$work/initrd" "$share/initrd"
    printf '@echo -off\r\nfs0:\r\necho "@@ note firmware"\r\n' \
        >"$share/startup.nsh"
    printf 'vmlinuz.efi initrd=\\initrd console=ttyS0 %s\r\n' \
        'panic=-1 loglevel=4 share.queues=1' >>"$share/startup.nsh"
    test_daemon
    boot_firmware 1
    check_guest_ends "$work/console"
    check "the firmware ran three times" \
        [ "$(markers "$work/console" | grep -c -x '@@ note firmware')" = 3 ]
    check "the kernel counted three boots" grep -q -x 3 "$share/boots"
    check "no boot failed" \
        [ "$(grep -a -c '@@ not ok' "$work/console")" = 0 ]
}

guest_test_begin taskset pgrep
case $scene in
uefi | pinned | linux | handover) ;;
*) skip_all "no scene of that name: $scene" ;;
esac
trap 'harass_end >/dev/null 2>&1; cleanup' EXIT
"storm_$scene"
[ "$tap_failed" -eq 0 ] || show_logs "$work/console"
check_daemon_ends
finish
