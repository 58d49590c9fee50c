# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2164,SC3043
# In the guest, after guest_programs.sh: git and sqlite in shares of other
# modes than "auto".
modes='never metadata always gathered'

do_the_shares_mount()
{
    local mode

    mount -t virtiofs "$tag" $m
    mkdir /lib64 /modes
    ln -s $m/programs/lib/ld-linux-x86-64.so.2 /lib64/
    for mode in $modes; do
        mkdir /modes/$mode
        mount -t virtiofs $mode /modes/$mode
    done
}

git_works()
{
    git_commits "$d"
    cd "$d"
    git clone -q --no-local one two
    diff -r one/d1 two/d1
    cd two
    git fsck --full --strict
    [ -z "$(git status --porcelain)" ]
}

sqlite_survives_a_kill()
{
    database "$d/rollback.db" delete
    survives_kills "$d/rollback.db" "$d/rollback.db" 1
}

sqlite_has_a_write_ahead_log()
{
    database "$d/wal.db" wal
    sleep 1000 | sqlite3 "$d/wal.db" -cmd 'select n from total;' &
    until [ -e "$d/wal.db-wal" ]; do
        sleep 0.05
    done
    survives_kills "$d/wal.db" "$d/wal.db-wal" 1
}

# Its index is a shared mapping.
sqlite_says_that_it_has_none()
{
    refuse sqlite3 "$d/wal.db" 'pragma journal_mode = wal;
        create table t(s text);' 2>/tmp/said
    cat /tmp/said
    grep -q 'disk I/O error' /tmp/said
}

step the_shares_mount
for mode in $modes; do
    d=/modes/$mode
    case $mode in
    never | metadata) wal=sqlite_says_that_it_has_none ;;
    *) wal=sqlite_has_a_write_ahead_log ;;
    esac
    for name in git_works sqlite_survives_a_kill $wal; do
        eval "do_${mode}_$name() { $name; }"
        step "${mode}_$name"
    done
done
