#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What people run on a share: git, tar, make, sqlite; each checks itself in
# the guest, and the host looks again.  At last the guest is killed while it
# writes to a database.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/whole.sh"

programs=(git sqlite3 tar make setfattr setfacl)

# list DIR: all that tar should have brought back of it.
list()
{
    (cd "$1" && find . | LC_ALL=C sort | while read -r file; do
        stat -c '%n %F %a %h %u:%g' "$file"
        [ ! -f "$file" ] || stat -c '%s %y' "$file"
        [ -p "$file" ] || [ -L "$file" ] ||
            getfattr -d -m - "$file"
        [ ! -f "$file" ] || sha256sum "$file"
    done)
}

tar_is_whole()
{
    [ "$(stat -c %a "$share/tar/out/src/a/b/program")" = 4755 ] &&
        [ "$(getfattr --absolute-names --only-values -n user.one \
            "$share/tar/out/src/a/f")" = value ] &&
        getfacl -c -n -p "$share/tar/out/src/a" |
        grep -q -x 'default:user:20001:r-x' &&
        diff <(list "$share/tar/src") <(list "$share/tar/out/src")
}

# Each step has its time; one that failed is told later.
steps_begin()
{
    local name

    for name; do
        wait_marker "$work/console" "begin $name" || return 1
    done
    wait_marker "$work/console" "note writing"
}

kill_guest()
{
    kill -KILL "$qemu_pid"
    wait "$qemu_pid" 2>/dev/null
    return 0
}

guest_test_begin "${programs[@]}" getfattr getfacl sha256sum
guest_programs "$share/programs" "${programs[@]}"
ln -s git "$share/programs/git-upload-pack"
cat "$tests_guest/guest_programs.sh" "$tests_guest/guest_users.sh" \
    >"$work/steps.sh"
test_initramfs "$work/steps.sh"
test_daemon --posix-acl=always --xattr
boot_linux "$work/console" 2 -no-reboot
mapfile -t steps < <(steps_of "$tests_guest/guest_users.sh")
check "the guest comes to its last step" steps_begin "${steps[@]}"
check "... and is killed while it writes" kill_guest
report_steps "$work/console" "${steps[@]}"
check_daemon_ends
check "host: the clone is whole" git_is_whole "$share/two"
check "host: tar brought everything back" tar_is_whole
for name in rollback wal last; do
    check "host: the database is whole: $name" \
        database_is_whole "$share/$name.db"
done
finish
