# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Debian packages: which are missing, and their installation.  Sourced by
# contrib/quickstart, tests/run and contrib/uml-try.
#
#   pkg_need WHY NAME...   note packages that a purpose needs
#   pkg_install            install what is missing of all that was noted
#
# Nothing here needs more than bash, dpkg and apt: the machine may be one
# that was installed a minute ago.

PKG_BUILD=(gcc libc6-dev meson ninja-build pkg-config libfuse3-dev
           libseccomp-dev libcap-ng-dev)
PKG_GUEST=(qemu-system-x86 busybox-static cpio)

pkg_names=()
pkg_reasons=()

say()
{
    printf '%s: %s\n' "${PROGRAM:-virtiofsd}" "$*" >&2
}

pkg_is_installed()
{
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

pkg_need()
{
    local why=$1 name missing=()

    shift
    # Not a Debian: what is missing will be told by what misses it.
    command -v dpkg-query >/dev/null || return 0
    for name; do
        case " ${pkg_names[*]} " in *" $name "*) continue ;; esac
        pkg_is_installed "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    pkg_names+=("${missing[@]}")
    pkg_reasons+=("${missing[*]} ($why)")
}

# apt's own words, cut to what shows that it is moving.
pkg_apt()
{
    local out
    local apt=(apt-get -y -q --no-install-recommends
               -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)

    out=$(mktemp) || return 1
    "${pkg_root[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive \
        "${apt[@]}" "$@" </dev/null 2>&1 | tee "$out" |
        sed -u -n -E '/^(Get:|Need to get|Setting up|E: )/s/^/    /p' >&2
    if [ "${PIPESTATUS[0]}" -ne 0 ]; then
        say "apt-get $1 failed; its last lines:"
        tail -n 15 "$out" | sed 's/^/    /' >&2
        rm -f "$out"
        return 1
    fi
    rm -f "$out"
}

# Lists may be missing (a fresh machine), or too old to hold a name.
pkg_all_known()
{
    local name

    for name; do
        apt-cache show --no-all-versions "$name" >/dev/null 2>&1 || return 1
    done
}

# Sets pkg_root, the words before apt-get; or says what a person must do.
pkg_find_root()
{
    pkg_root=()
    [ "$(id -u)" -eq 0 ] && return 0
    if command -v sudo >/dev/null; then
        pkg_root=(sudo)
        return 0
    fi
    say "not root, and sudo is not here; as root, run:"
    printf '    apt-get install -y --no-install-recommends %s\n' "$*" >&2
    return 1
}

pkg_install()
{
    local why

    [ ${#pkg_names[@]} -gt 0 ] || return 0
    why=$(printf '%s, ' "${pkg_reasons[@]}")
    say "installing ${why%, } with apt-get"
    pkg_find_root "${pkg_names[@]}" || return 1
    if ! pkg_all_known "${pkg_names[@]}"; then
        say "reading the package lists (apt-get update)"
        pkg_apt update || return 1
    fi
    # A list that is a few days old can name files that are gone by now.
    if ! pkg_apt install "${pkg_names[@]}"; then
        say "trying once more with fresh package lists"
        pkg_apt update && pkg_apt install "${pkg_names[@]}" || return 1
    fi
    pkg_names=()
    pkg_reasons=()
}
