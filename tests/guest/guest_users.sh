# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2164,SC3043
# In the guest, after guest_programs.sh: what people do with them, all in the
# mode "auto".

# Not busybox's, which its shell prefers.
tar()
{
    $m/programs/tar "$@"
}

do_the_share_mounts()
{
    mount -t virtiofs "$tag" $m
    mkdir /lib64
    ln -s $m/programs/lib/ld-linux-x86-64.so.2 /lib64/
}

do_git_commits()
{
    git_commits $m
}

do_git_clones_and_checks()
{
    cd $m
    git clone -q --no-local one two
    diff -r one/d1 two/d1
    cd two
    git fsck --full --strict
    git gc -q
    git fsck --full
    git checkout -q HEAD~1
    git checkout -q main
    [ -z "$(git status --porcelain)" ]
}

do_tar_brings_everything_back()
{
    mkdir -p $m/tar/src/a/b $m/tar/out
    cd $m/tar
    seq 1000 >src/a/f
    truncate -s 2M src/sparse
    printf x | dd of=src/sparse bs=1 seek=1M conv=notrunc
    ln src/a/f src/hard
    ln -s a/f src/soft
    mkfifo src/fifo
    cp src/a/f src/a/b/program
    chown 20001:20002 src/a/b/program
    chmod 4755 src/a/b/program
    touch -d '2001-02-03 04:05:06' src/a/f
    setfattr -n user.one -v value src/a/f
    setfacl -m u:20003:rwx,d:u:20001:r-x src/a
    tar --xattrs --acls --sparse -cf t.tar src
    tar --xattrs --acls -xpf t.tar -C out
    tar --xattrs --acls -df t.tar -C out
}

do_make_makes_what_is_old()
{
    local n

    mkdir $m/make
    cd $m/make
    for n in 1 2 3 4 5 6; do
        echo $n >$n.c
    done
    cat >Makefile <<'MAKE'
all: 1.o 2.o 3.o 4.o 5.o 6.o
	cat $^ >$@
%.o: %.c
	cp $< $@
	echo $@ >>log
MAKE
    make -j4
    [ "$(tr -d '\n' <all)" = 123456 ]
    make -q
    touch 3.c
    refuse make -q
    make -j4
    make -q
    [ "$(wc -l <log)" = 7 ]
}

do_sqlite_survives_kills()
{
    database $m/rollback.db delete
    survives_kills $m/rollback.db $m/rollback.db 3
}

do_sqlite_survives_kills_with_a_write_ahead_log()
{
    database $m/wal.db wal
    # It stays, and grows, while someone has the database open.
    sleep 1000 | sqlite3 $m/wal.db -cmd 'select n from total;' &
    until [ -e $m/wal.db-wal ]; do
        sleep 0.05
    done
    survives_kills $m/wal.db $m/wal.db-wal 3
}

step the_share_mounts
step git_commits
step git_clones_and_checks
step tar_brings_everything_back
step make_makes_what_is_old
step sqlite_survives_kills
step sqlite_survives_kills_with_a_write_ahead_log
database $m/last.db delete
write_to $m/last.db $m/last.db
note writing
wait
