#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# UEFI firmware as the guest: the shell runs startup.nsh from the share,
# reads and writes there, resets the machine three times and powers off.
# The firmware enables a queue and kicks it in the next instruction: a daemon
# that drops a kick which overtakes the message hangs here.
. "$(dirname "$0")/lib.sh"

ovmf=/usr/share/OVMF

make_share()
{
    sed 's/$/\r/' "$tests_guest/uefi_startup.nsh" >"$share/startup.nsh"
    printf 'the host says hello\r\n' >"$share/host.txt"
    head -c 100001 /dev/urandom >"$share/data.bin"
    mkdir "$share/dir"
    printf 'below\r\n' >"$share/dir/file.txt"
    echo x >"$share/remove.txt"
}

# The firmware's settings live in the copy, and so does the boot order.
boot_firmware()
{
    cp "$ovmf/OVMF_VARS_4M.fd" "$work/vars.fd"
    guest_qemu "$accel" "$work/socket" "$tag" 1
    boot_qemu "$work/console" -net none -boot menu=off \
        -drive "if=pflash,unit=0,format=raw,readonly=on,\
file=$ovmf/OVMF_CODE_4M.fd" \
        -drive "if=pflash,unit=1,format=raw,file=$work/vars.fd"
}

# The shell's echo writes UCS-2, little endian, with a byte order mark.
is_ucs2()
{
    diff <(printf '%s\r\n' "$2" | iconv -t UTF-16LE |
        { printf '\377\376'; cat; } | od -c) <(od -c <"$1")
}

console_has()
{
    markers "$work/console" | grep -q -x -F "@@ $1"
}

guest_test_begin iconv
for file in OVMF_CODE_4M.fd OVMF_VARS_4M.fd; do
    [ -r "$ovmf/$file" ] || skip_all "no $ovmf/$file here"
done
make_share
test_daemon
boot_firmware
check_guest_ends "$work/console"
for n in 1 2 3 4; do
    check "boot $n runs startup.nsh from the share" console_has "note boot $n"
    check "host: boot $n left its mark, in UCS-2" \
        is_ucs2 "$share/boot$n.txt" "boot $n"
done
check "the shell prints the host's file" \
    grep -a -q 'the host says hello' "$work/console"
check "the shell ends each part of its script" console_has "ok files"
check "host: a copied file has its bytes" \
    cmp "$share/data.bin" "$share/copy.bin"
check "host: ... and so after more boots" \
    cmp "$share/data.bin" "$share/copy4.bin"
check "host: ASCII output has its bytes" \
    diff <(printf 'plain\r\n') "$share/plain.txt"
check "host: a new directory holds a copy" \
    cmp "$share/dir/file.txt" "$share/newdir/file.txt"
check "host: a renamed file has its new name only" \
    test -e "$share/renamed.bin" -a ! -e "$share/rename.bin"
check "host: a removed file is gone" test ! -e "$share/remove.txt"
[ "$tap_failed" -eq 0 ] || show_logs "$work/console"
check_daemon_ends
finish
