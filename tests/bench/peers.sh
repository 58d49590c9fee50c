# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The other virtio-fs daemons: found on the machine, or downloaded and unpacked
# into a directory of our own.  Nothing is installed, and apt's own lists and
# sources are left alone.  Sourced by tests/bench/run and tests/bench/guest.
#
#   peers_find DIR     sets peer_c and peer_rust, arrays of the words which
#                      start each; empty when there is none to be had
#
#   BENCH_C, BENCH_RUST  use these programs instead

peer_c=()
peer_rust=()

# What Rust's program is linked with, beside libc.
PEER_RUST_PACKAGES=(virtiofsd libc6 libcap-ng0 libgcc-s1 libseccomp2)

# peers_apt DIR COMMAND...: apt with lists and sources of its own.
peers_apt()
{
    local dir=$1

    shift
    apt-get -q -o Dir::Etc::SourceList="$dir/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$dir/lists" \
        -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o APT::Default-Release= "$@"
}

# peers_download DIR SUITE PACKAGE...: unpacks them into DIR/root.
peers_download()
{
    local dir=$1 suite=$2 deb
    local mirror=${BENCH_MIRROR:-http://deb.debian.org/debian}
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg

    shift 2
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/deb" \
        "$dir/root" || return 1
    echo "deb [signed-by=$keys] $mirror $suite main" >"$dir/sources.list"
    say "downloading $* from Debian $suite into $dir"
    peers_apt "$dir" update >"$dir/log" 2>&1 &&
        (cd "$dir/deb" && peers_apt "$dir" download "$@") >>"$dir/log" 2>&1 || {
        tail -n 5 "$dir/log" >&2
        return 1
    }
    for deb in "$dir"/deb/*.deb; do
        dpkg-deb -x "$deb" "$dir/root" || return 1
    done
}

peers_find_c()
{
    local try

    for try in "${BENCH_C:-}" /usr/lib/qemu/virtiofsd \
        "$1/c/root/usr/lib/qemu/virtiofsd"; do
        [ -x "$try" ] && peer_c=("$try") && return 0
    done
    peers_download "$1/c" bookworm qemu-system-common || return 1
    try=$1/c/root/usr/lib/qemu/virtiofsd
    [ -x "$try" ] && peer_c=("$try")
}

peers_find_rust()
{
    local root=$1/rust/root lib ld

    if [ -n "${BENCH_RUST:-}" ]; then
        # More than one word, when it needs a loader.
        read -r -a peer_rust <<<"$BENCH_RUST"
        return 0
    fi
    [ -x "$root/usr/libexec/virtiofsd" ] ||
        peers_download "$1/rust" sid "${PEER_RUST_PACKAGES[@]}" || return 1
    [ -x "$root/usr/libexec/virtiofsd" ] || return 1
    lib=$(find "$root" -name libc.so.6 -printf '%h\n' | head -n 1)
    ld=$(find "$root" -name 'ld-linux-*.so.*' | head -n 1)
    [ -n "$lib" ] && [ -n "$ld" ] || return 1
    # Its libc is newer than the system's, so it goes with its own loader.
    peer_rust=("$ld" --library-path "$lib" "$root/usr/libexec/virtiofsd")
}

peers_find()
{
    peers_find_c "$1" || say "no C virtiofsd to be had"
    peers_find_rust "$1" || say "no Rust virtiofsd to be had"
}
