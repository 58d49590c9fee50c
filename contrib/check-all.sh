#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# All that is checked before a release: each compiler with each kind of
# build, the sanitizers under clang too, and then tests/run, which runs every
# suite and its own sanitizer builds under the default compiler.
#
# Usage: contrib/check-all.sh [--quick]     (--quick: without tests/run)

set -u
cd "$(dirname "$0")/.." || exit 1
failed=()

# one NAME CC MESON_OPTION...: build, then the suites that need no guest.
one()
{
    local dir=build-check-$1 cc=$2 name=$1

    shift 2
    echo "== $name"
    if [ -e "$dir/build.ninja" ]; then
        set -- --reconfigure "$@"
    fi
    if ! CC=$cc meson setup -Dwerror=true "$@" "$dir" >/dev/null ||
        ! ninja -C "$dir" --quiet ||
        ! meson test -C "$dir" --no-rebuild --print-errorlogs \
            --suite unit --suite protocol; then
        failed+=("$name")
    fi
}

for cc in gcc clang; do
    command -v "$cc" >/dev/null || { failed+=("$cc: missing"); continue; }
    one "$cc-debug" "$cc" --buildtype=debug
    one "$cc-release" "$cc" --buildtype=release
done

# clang links a sanitizer's symbols at run time: -Wl,-z,defs would refuse.
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
if command -v clang >/dev/null; then
    one clang-asan clang -Db_sanitize=address,undefined -Db_lundef=false
    one clang-tsan clang -Db_sanitize=thread -Db_lundef=false
fi

if [ "${1:-}" != --quick ]; then
    echo "== tests/run"
    tests/run || failed+=("tests/run")
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
echo "all checks passed"
