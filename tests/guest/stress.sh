#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# stress.sh [NAME]...: stress-ng's stressors of file systems, with --verify, one
# after the other in a directory of the share; all that the table "stressors"
# has, or these.
. "$(dirname "$0")/lib.sh"

guest_timeout=800
step_timeout=${VIRTIOFSD_GUEST_STEP_TIMEOUT:-240}

# The rows of these names.
rows()
{
    local name

    for name in "${@:-[a-z][a-z0-9-]*}"; do
        grep -x "$name .*" "$tests_guest/stressors" || return 1
    done
}

left_nothing()
{
    [ -d "$share/stress" ] && [ -z "$(ls -A "$share/stress")" ]
}

guest_test_begin stress-ng
guest_programs "$share/programs" stress-ng
mkdir -p "$work/extra/etc" "$work/extra/stress"
rows "$@" >"$work/extra/stress/stressors" ||
    { diag "no such stressor"; exit 1; }
test_initramfs "$tests_guest/guest_stress.sh" "$work/extra"
test_daemon --xattr --posix-acl=always --inode-flags --flock --posix-lock
boot_linux "$work/console" 2 -no-reboot
check_guest_ends "$work/console"
mapfile -t steps < <(sed 's/^\([^ ]*\) .*/stressor_\1/' \
    "$work/extra/stress/stressors" | tr - _)
report_steps "$work/console" the_share_mounts "${steps[@]}"
[ -z "${STRESS_KEEP:-}" ] || cp "$work/console" "$STRESS_KEEP"
check "host: the stressors have left nothing" left_nothing
check_daemon_ends
finish
