# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2164,SC3043
# In the guest: programs of the host, from the share, work on the share and
# say themselves whether all is well.
m=/mnt
export PATH=$m/programs:/bin HOME=/tmp LD_LIBRARY_PATH=$m/programs/lib
export GIT_EXEC_PATH=$m/programs GIT_TEMPLATE_DIR='' GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b

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
    local n

    git init -q -b main $m/one
    cd $m/one
    for n in $(seq 40); do
        mkdir -p d$((n % 7))
        seq "$n" $((n * 30)) >d$((n % 7))/f"$n"
    done
    head -c 200000 /dev/urandom >random
    ln -s d1 link
    chmod 755 d1/f1
    git add -A
    git commit -q -m first
    [ -z "$(git status --porcelain)" ]
    echo more >>d1/f1
    [ "$(git status --porcelain)" = ' M d1/f1' ]
    git commit -q -a -m second
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

# Forever: a hundred rows and their sum, in one transaction each.
transactions()
{
    yes "begin; with recursive c(n) as
        (select 1 union all select n + 1 from c where n < 100)
        insert into t select hex(randomblob(50)) from c;
        update total set n = n + 100; commit;"
}

# database NAME JOURNAL_MODE
database()
{
    sqlite3 "$1" "pragma journal_mode = $2;" | grep -q -x "$2"
    sqlite3 "$1" 'create table t(s text); create table total(n int);
        insert into total values(0);'
}

# write_to NAME FILE: sets pid; returns when FILE has grown by 50 kB.
write_to()
{
    local size

    size=$(stat -c %s "$2" || echo 0)
    transactions | sqlite3 -bail "$1" &
    pid=$!
    until [ "$(stat -c %s "$2" || echo 0)" -gt $((size + 50000)) ]; do
        kill -0 $pid || return 1
        sleep 0.05
    done
}

# The writer dies in the middle of something, three times.
survives_kills()
{
    local _

    for _ in 1 2 3; do
        write_to "$1" "$2"
        kill -KILL $pid
        wait $pid || true
        [ "$(sqlite3 "$1" 'pragma integrity_check;')" = ok ]
        [ "$(sqlite3 "$1" 'select n >= 100 and
            n = (select count(*) from t) from total;')" = 1 ]
    done
}

do_sqlite_survives_kills()
{
    database $m/rollback.db delete
    survives_kills $m/rollback.db $m/rollback.db
}

do_sqlite_survives_kills_with_a_write_ahead_log()
{
    database $m/wal.db wal
    # It stays, and grows, while someone has the database open.
    sleep 1000 | sqlite3 $m/wal.db -cmd 'select n from total;' &
    until [ -e $m/wal.db-wal ]; do
        sleep 0.05
    done
    survives_kills $m/wal.db $m/wal.db-wal
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
