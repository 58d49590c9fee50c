#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# live.sh TARGET CORPUS SECONDS: fuzz for a while, leaving the corpus as it
# is.  An input that crashes is printed, for whoever has only the log.

set -eu
target=$1 corpus=$2 seconds=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/found"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}"
dict=$corpus/../../$(basename "$target").dict
set -- -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$work/crash-"
[ ! -e "$dict" ] || set -- "$@" -dict="$dict"
if "$target" "$@" "$work/found" "$corpus" >"$work/log" 2>&1; then
    grep -E '^(stat::number_of_executed_units|#[0-9]+.*DONE)' "$work/log"
    exit 0
fi
tail -n 100 "$work/log"
for f in "$work"/crash-*; do
    [ -e "$f" ] || continue
    echo "the input, in base64:"
    base64 "$f"
done
exit 1
