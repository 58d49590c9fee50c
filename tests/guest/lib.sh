# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What every guest test shares: TAP, one daemon, one or more QEMUs, and the
# guest's console as the witness.
#
# The guest prints one marker line an event:
#     @@ begin NAME    a step starts
#     @@ ok NAME       ... and ended well
#     @@ not ok NAME   ... or not
#     @@ note TEXT     anything else that shows it is alive
# Every marker restarts the step's time-out, so a hang is told by its name.

PROGRAM=$(basename "$0" .sh)
tests_guest=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_root=$(cd "$tests_guest/../.." && pwd)
# shellcheck source=contrib/lib/packages.sh
. "$source_root/contrib/lib/packages.sh"
# shellcheck source=contrib/lib/daemon.sh
. "$source_root/contrib/lib/daemon.sh"
# shellcheck source=contrib/lib/guest.sh
. "$source_root/contrib/lib/guest.sh"

step_timeout=${VIRTIOFSD_GUEST_STEP_TIMEOUT:-90} # seconds
# Less than meson's, which would end this shell before it can show anything.
guest_timeout=270
tag=share
tap_count=0
tap_failed=0
qemu_pids=()
daemon_pid=

tap()
{
    tap_count=$((tap_count + 1))
    [ "$1" = ok ] || tap_failed=$((tap_failed + 1))
    printf '%s %d - %s\n' "$1" "$tap_count" "$2"
}

diag()
{
    printf '# %s\n' "$*"
}

# check NAME COMMAND...: one TAP line; what the command says is shown when
# it fails.  It runs in this shell, whose children it may wait for.
check()
{
    local name=$1

    shift
    if "$@" >"$work/check.out" 2>&1; then
        tap ok "$name"
    else
        tap "not ok" "$name"
        diag "failed: $*"
        tail -n 20 "$work/check.out" | sed 's/^/#   /'
    fi
}

# Nothing can run here.  A machine that must run everything calls it wrong.
skip_all()
{
    if [ "${VIRTIOFSD_MUST_RUN:-}" = 1 ]; then
        echo "1..1"
        echo "not ok 1 - can not run here: $*"
        exit 1
    fi
    echo "1..0 # SKIP $*"
    exit 0
}

finish()
{
    echo "1..$tap_count"
    [ "$tap_failed" -eq 0 ]
    exit
}

cleanup()
{
    local pid

    trap - EXIT
    for pid in "${qemu_pids[@]}"; do
        end_process "$pid"
    done
    end_process "$daemon_pid"
    [ -z "${work:-}" ] || rm -rf "$work"
}

# guest_test_begin COMMAND...: needs these commands on the host.
guest_test_begin()
{
    local name

    [ -x "${VIRTIOFSD_BINARY:-}" ] || skip_all "VIRTIOFSD_BINARY is not set"
    for name in qemu-system-x86_64 busybox cpio "$@"; do
        command -v "$name" >/dev/null || skip_all "no $name here"
    done
    trap cleanup EXIT
    trap 'exit 1' INT TERM HUP
    work=$(mktemp -d) || exit 1
    cache=$(guest_cache_dir "${VIRTIOFSD_BUILD_ROOT:-$source_root/build}")
    guest_kernel "$cache" || skip_all "no kernel for the guest"
    accel=$(guest_accel "$cache")
    diag "accelerator: $accel"
    share=$work/share
    mkdir "$share"
    chmod 755 "$share"
}

# test_daemon [ARGUMENT...]: starts virtiofsd on the share.
test_daemon()
{
    if ! daemon_start "$VIRTIOFSD_BINARY" "$share" "$work/socket" \
        "$work/daemon.log" "$@"; then
        tap "not ok" "virtiofsd starts"
        show_log "$work/daemon.log"
        finish
    fi
}

# guest_programs DIR NAME...: the host's programs and what they link, the
# loader too, into a directory of the share; the guest has nothing else.
guest_programs()
{
    local dir=$1 name

    shift
    mkdir -p "$dir/lib"
    for name; do
        name=$(command -v "$name")
        cp -L "$name" "$dir"
        ldd "$name" | grep -o '/[^ ]*' | xargs cp -L -t "$dir/lib"
    done
}

# test_initramfs SCRIPT [EXTRA_DIR]: the steps, after the step helper.
test_initramfs()
{
    cat "$tests_guest/guest_step.sh" "$1" >"$work/run.sh"
    guest_initramfs "$cache" "$work/run.sh" "$work/initrd" "${2:-}" ||
        skip_all "no initramfs could be made"
}

# boot_linux CONSOLE QUEUES [QEMU_ARGUMENT...]: sets qemu_pid.
boot_linux()
{
    local console=$1 queues=$2

    shift 2
    guest_qemu "$accel" "$work/socket" "$tag" "$queues"
    boot_qemu "$console" -kernel "$cache/kernel/vmlinuz" \
        -initrd "$work/initrd" "$@" \
        -append "console=ttyS0 panic=-1 loglevel=4 share.queues=$queues"
}

boot_qemu()
{
    local console=$1

    shift
    : >"$console"
    "${guest_qemu[@]}" "$@" -serial "file:$console" \
        </dev/null >"$console.qemu" 2>&1 &
    qemu_pid=$!
    qemu_pids+=("$qemu_pid")
}

markers()
{
    tr -d '\r' <"$1" | grep -a -o '@@ .*' || true
}

# wait_marker CONSOLE TEXT: until the guest has said so, or was silent too
# long.
wait_marker()
{
    local left=$((step_timeout * 5))

    until markers "$1" | grep -q -x -F "@@ $2"; do
        kill -0 "$qemu_pid" 2>/dev/null || return 1
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.2
    done
}

# wait_guest CONSOLE: until QEMU ends; false when the guest hangs in a step
# or QEMU fails.
wait_guest()
{
    local seen=-1 now left=0

    while kill -0 "$qemu_pid" 2>/dev/null; do
        now=$(markers "$1" | wc -l)
        if [ "$now" -ne "$seen" ]; then
            seen=$now
            left=$((step_timeout * 5))
        fi
        if [ "$left" -eq 0 ] || [ "$SECONDS" -ge "$guest_timeout" ]; then
            echo "given up after $SECONDS s; the last marker:" \
                "$(markers "$1" | tail -n 1)"
            end_process "$qemu_pid"
            return 1
        fi
        left=$((left - 1))
        sleep 0.2
    done
    wait "$qemu_pid"
}

show_log()
{
    diag "--- the last lines of ${1##*/}"
    tail -n "${2:-40}" "$1" 2>/dev/null | tr -d '\r' | tr -c '\n -~' '?' |
        sed 's/^/#   /'
}

show_logs()
{
    show_log "$1"
    show_log "$1.qemu" 10
    show_log "$work/daemon.log" 20
}

# report_steps CONSOLE NAME...: a TAP line for each step that should have
# run, and the console when one did not do well.
report_steps()
{
    local console=$1 name before=$tap_failed

    shift
    for name; do
        if markers "$console" | grep -q -x -F "@@ ok $name"; then
            tap ok "guest: $name"
        else
            tap "not ok" "guest: $name"
        fi
    done
    [ "$tap_failed" -eq "$before" ] || show_logs "$console"
}

# The names of the steps in a guest script, in order.
steps_of()
{
    sed -n 's/^step \([a-z0-9_]*\)$/\1/p' "$1"
}

# check_guest_ends CONSOLE: QEMU powers off by itself and well.
check_guest_ends()
{
    local before=$tap_failed

    check "the guest powers off" wait_guest "$1"
    [ "$tap_failed" -eq "$before" ] || show_logs "$1"
}

# check_daemon_ends: a daemon lives as long as its client, and says 0.
check_daemon_ends()
{
    local before=$tap_failed

    check "virtiofsd ends by itself when its client is gone" \
        wait_gone "$daemon_pid" 10
    [ "$tap_failed" -ne "$before" ] ||
        check "... with exit status 0" wait "$daemon_pid"
    [ "$tap_failed" -eq "$before" ] || show_log "$work/daemon.log" 20
}
