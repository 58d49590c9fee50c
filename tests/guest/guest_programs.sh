# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2164,SC3043
# Goes before the guest scripts that work with programs of the host, from the
# share; they say themselves whether all is well.
m=/mnt
export PATH=$m/programs:/bin HOME=/tmp LD_LIBRARY_PATH=$m/programs/lib
export GIT_EXEC_PATH=$m/programs GIT_TEMPLATE_DIR='' GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b

# git_commits DIR: two commits, in DIR/one.
git_commits()
{
    local n

    git init -q -b main "$1/one"
    cd "$1/one"
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

# survives_kills NAME FILE TIMES: the writer dies in the middle of something.
survives_kills()
{
    local _

    for _ in $(seq "$3"); do
        write_to "$1" "$2"
        kill -KILL $pid
        wait $pid || true
        [ "$(sqlite3 "$1" 'pragma integrity_check;')" = ok ]
        [ "$(sqlite3 "$1" 'select n >= 100 and
            n = (select count(*) from t) from total;')" = 1 ]
    done
}
