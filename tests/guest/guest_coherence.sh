# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC3043
# In the guest: one tree through a mount of each cache mode, before and after
# the host has changed it.  What must be seen "soon" is waited for; what may
# not be seen yet is looked at once.
m=/mnt
waits=600 # tenths of a second, never reached but by a failure
all='mode size time gone replaced moved erased list link text'

# view MODE ITEM: what the guest sees of it now.
view()
{
    cd "$m/$1"
    case $2 in
    mode) stat -c %a mode ;;
    size) stat -c %s size ;;
    time) stat -c %Y time ;;
    gone) [ -e gone ] && echo there || echo gone ;;
    new) [ -e new ] && echo there || echo gone ;;
    replaced | moved/inner | erased/inner) cat "$2" ;;
    moved | erased) view "$1" "$2/inner" ;;
    list) echo list/* ;;
    link) readlink link ;;
    text) head -c 3 text ;;
    held) held "$1" ;;
    esac
}

# The next bytes of the file that is held open.
held()
{
    case $1 in
    never) head3 <&3 ;;
    auto) head3 <&4 ;;
    half) head3 <&5 ;;
    metadata) head3 <&6 ;;
    always) head3 <&7 ;;
    kept) head3 <&8 ;;
    gathered) head3 <&9 ;;
    esac
}

head3()
{
    dd bs=3 count=1 2>/dev/null
}

old()
{
    case $1 in
    mode) echo 600 ;;
    size) echo 5 ;;
    time) echo 1000000000 ;;
    gone) echo there ;;
    new) echo gone ;;
    list) echo list/one ;;
    text | held) echo aaa ;;
    *) echo old ;;
    esac
}

new()
{
    case $1 in
    mode) echo 640 ;;
    size) echo 10 ;;
    time) echo 1100000000 ;;
    gone) echo gone ;;
    new) echo there ;;
    list) echo list/one list/two ;;
    text | held) echo bbb ;;
    *) echo new ;;
    esac
}

# is old|new MODE ITEM...
is()
{
    local age=$1 mode=$2 item seen

    { set +x; } 2>/dev/null
    shift 2
    for item; do
        seen=$(view "$mode" "$item" 2>&1) || seen="error: $seen"
        if [ "$seen" != "$("$age" "$item")" ]; then
            echo "$mode: $item: not $age: $seen"
            return 1
        fi
    done
}

# soon MODE ITEM...: the old until the new is seen, and nothing else, least of
# all an error.
soon()
{
    local mode=$1 item seen left=$waits

    { set +x; } 2>/dev/null
    shift
    for item; do
        while seen=$(view "$mode" "$item" 2>&1) || seen="error: $seen"
            [ "$seen" != "$(new "$item")" ]; do
            # The old directory was emptied: for a moment it has no "inner".
            case $item:$seen in
            erased:*'No such file'*) ;;
            *) [ "$seen" = "$(old "$item")" ] ||
                { echo "$mode: $item: neither: $seen"; return 1; } ;;
            esac
            [ "$left" -gt 0 ] || { echo "$mode: $item: $seen"; return 1; }
            left=$((left - 1))
            sleep 0.1
        done
    done
}

do_every_mode_mounts()
{
    local mode

    mkdir $m/never
    mount -t virtiofs "$tag" $m/never
    for mode in auto half metadata always kept absent short gathered; do
        mkdir $m/$mode
        mount -t virtiofs $mode $m/$mode
    done
}

do_everything_is_seen_as_it_was()
{
    local mode

    for mode in never auto half metadata always kept absent short gathered; do
        # shellcheck disable=SC2086
        is old $mode $all new
        cat $m/$mode/text >/dev/null
    done
    for mode in never auto half metadata always kept gathered; do
        is old $mode held
    done
}

# The signal comes through the share as well.
do_the_host_changes_it()
{
    local left=$waits

    { set +x; } 2>/dev/null
    until [ -e $m/never/go ]; do
        [ "$left" -gt 0 ]
        left=$((left - 1))
        sleep 0.1
    done
}

# What was listed is not among it: reading a directory voids its access time,
# so the next stat(2) asks for all attributes and finds the list to be old.
do_always_sees_nothing_of_it()
{
    is old always mode size time gone replaced moved erased link text held
}

do_metadata_sees_contents_only()
{
    is old metadata mode size time gone replaced moved erased link
    is new metadata text held
}

do_absence_is_kept_when_asked_for()
{
    is old absent new
    is new absent list text
}

do_never_sees_it_at_once()
{
    # shellcheck disable=SC2086
    is new never $all new held
}

do_new_names_are_seen_at_once_in_every_mode()
{
    local mode

    for mode in auto half metadata always kept gathered; do
        is new $mode new
    done
}

do_auto_sees_lists_and_opened_files_at_once()
{
    local mode

    for mode in auto half; do
        is new $mode list text
    done
}

do_auto_sees_the_rest_soon()
{
    local mode

    for mode in auto half; do
        # shellcheck disable=SC2086
        soon $mode $all held
    done
}

do_a_timeout_makes_always_see_it_soon()
{
    # shellcheck disable=SC2086
    soon kept $all held
}

# The mode, which it sees, came with the same answers.
do_writeback_trusts_in_its_own_sizes_and_times()
{
    is new gathered list text
    soon gathered mode gone replaced moved erased link
    is old gathered size time held
    [ "$(cat $m/gathered/size)" = 1234 ]
    [ "$(stat -c %s $m/never/size)" = 10 ]
}

# hold_open NAME TEXT: somebody writes it, and has the file open until told.
# Whoever closes it, if only a child that ends, sends what was written.
hold_open()
{
    {
        echo "$2"
        read -r _ </tmp/until
    } >$m/gathered/"$1" &
    until [ "$(stat -c %s $m/gathered/"$1" || true)" = $((${#2} + 1)) ]; do
        sleep 0.1
    done
}

let_go()
{
    echo >/tmp/until
    wait
}

# The share that caches nothing shows what the host has.  Without a time of its
# own, and a part of the memory to fill, the guest sends nothing by itself.
do_writeback_sends_it_later()
{
    local device

    echo 0 >/proc/sys/vm/dirty_writeback_centisecs
    device=$(awk '$5 == "/mnt/gathered" { print $3 }' /proc/self/mountinfo)
    echo 100 >"/sys/class/bdi/$device/max_ratio"
    echo 50 >"/sys/class/bdi/$device/min_ratio"
    mkfifo /tmp/until
    hold_open later first
    [ "$(stat -c %s $m/never/later)" = 0 ]
    let_go
    [ "$(cat $m/never/later)" = first ]
}

do_what_both_write_ends_up_with_either()
{
    hold_open both ours
    echo host >$m/never/both
    [ "$(cat $m/never/both)" = host ]
    let_go
    case $(cat $m/never/both) in
    ours | host) ;;
    *) false ;;
    esac
    [ "$(cat $m/gathered/both)" = "$(cat $m/never/both)" ]
}

do_absence_ends_with_its_timeout()
{
    soon short new
}

do_a_guest_that_forgets_sees_it()
{
    echo 3 >/proc/sys/vm/drop_caches
    for mode in metadata always gathered; do
        # shellcheck disable=SC2086
        soon $mode $all
    done
    soon absent new
}

do_the_guest_sees_its_own_changes_at_once()
{
    local mode

    for mode in never auto half metadata always kept gathered; do
        cd $m/$mode
        echo first >from-$mode
        [ "$(cat from-$mode)" = first ]
        echo by the guest >from-$mode.tmp
        mv from-$mode.tmp from-$mode
        [ "$(cat from-$mode)" = 'by the guest' ]
        [ "$(stat -c %s from-$mode)" = 13 ]
        mkdir dir-$mode
        : >dir-$mode/one
        [ "$(echo dir-$mode/*)" = dir-$mode/one ]
        : >dir-$mode/two
        [ "$(echo dir-$mode/*)" = "dir-$mode/one dir-$mode/two" ]
        rm -r dir-$mode
        [ ! -e dir-$mode ]
    done
    sync
}

step every_mode_mounts
exec 3<$m/never/held 4<$m/auto/held 5<$m/half/held
exec 6<$m/metadata/held 7<$m/always/held 8<$m/kept/held 9<$m/gathered/held
step everything_is_seen_as_it_was
note seen
step the_host_changes_it
step always_sees_nothing_of_it
step metadata_sees_contents_only
step absence_is_kept_when_asked_for
step never_sees_it_at_once
step new_names_are_seen_at_once_in_every_mode
step auto_sees_lists_and_opened_files_at_once
step auto_sees_the_rest_soon
step a_timeout_makes_always_see_it_soon
step writeback_trusts_in_its_own_sizes_and_times
step writeback_sends_it_later
step what_both_write_ends_up_with_either
step absence_ends_with_its_timeout
step a_guest_that_forgets_sees_it
step the_guest_sees_its_own_changes_at_once
