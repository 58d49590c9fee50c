# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What battery.sh and contrib/uml-battery share: the modes, and how what was
# said in one is compared with the host.

# What the daemon is told in each mode.
declare -A mode_args=(
    [plain]=""
    [auto]="--cache=auto --xattr --posix-acl"
    [metadata]="--cache=metadata --xattr"
    [never]="--cache=never --xattr --allow-direct-io"
    [always]="--cache=always --xattr --writeback"
)
# shellcheck disable=SC2034
default_modes=(auto never always)

# mode_compare MODE HOST GUEST KERNEL [ARGUMENT...]: of compare.py.
mode_compare()
{
    local mode=$1 host=$2 guest=$3 kernel=$4 arg words=()

    shift 4
    # The words that rows may ask for.
    for arg in "mode=$mode" ${mode_args[$mode]}; do
        words+=(-w "${arg#--}")
    done
    # shellcheck disable=SC2154
    python3 "$posix/compare.py" "$host" "$guest" -k "$kernel" \
        -e "$posix/differences" "${words[@]}" "$@"
}
