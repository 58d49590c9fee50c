# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# A small Linux guest: Debian's cloud kernel, a busybox initramfs, QEMU.
# Sourced by contrib/quickstart and tests/guest; say() comes from packages.sh.

guest_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# In the order they depend on each other: busybox insmod looks nothing up.
GUEST_MODULES=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev
               virtio_pci fuse virtiofs)
# Kept beside these, for guests that are told to load them.
GUEST_MODULES_NFS=(netfs fscache sunrpc grace lockd nfs_acl auth_rpcgss
                   dns_resolver nfs nfsv4 nfsd)
GUEST_MODULES_MORE=(overlay "${GUEST_MODULES_NFS[@]}")
guest_modules=()
GUEST_KERNEL_PACKAGE=linux-image-cloud-amd64
GUEST_MEM_MIB=512

# guest_cache_dir BUILD_DIR: prints where downloads and images are kept.
guest_cache_dir()
{
    if [ -n "${VIRTIOFSD_GUEST_CACHE:-}" ]; then
        echo "$VIRTIOFSD_GUEST_CACHE"
    elif [ -n "${XDG_CACHE_HOME:-}" ]; then
        echo "$XDG_CACHE_HOME/virtiofsd-tests"
    else
        echo "$1/guest-cache"
    fi
}

# The package that holds the kernel which the meta package stands for now.
guest_kernel_package()
{
    LC_ALL=C apt-cache depends "$GUEST_KERNEL_PACKAGE" 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }'
}

# guest_download DIR: the kernel's .deb into DIR.
guest_download()
{
    local name

    name=$(guest_kernel_package)
    if [ -z "$name" ]; then
        say "reading the package lists (apt-get update)"
        pkg_find_root update && pkg_apt update || return 1
        name=$(guest_kernel_package)
    fi
    [ -n "$name" ] || { say "apt knows no $GUEST_KERNEL_PACKAGE"; return 1; }
    say "downloading $name (about 27 MB) for the guest"
    (cd "$1" && apt-get -q download "$name") >"$1/log" 2>&1 && return 0
    # The lists may name a version that is gone from the mirror.
    pkg_find_root update && pkg_apt update || return 1
    (cd "$1" && apt-get -q download "$(guest_kernel_package)") \
        >"$1/log" 2>&1 && return 0
    tail -n 5 "$1/log" >&2
    return 1
}

# guest_unpack DIR: of the .deb in DIR keep vmlinuz and the modules.
guest_unpack()
{
    local name files=()

    mkdir "$1/root" && dpkg-deb -x "$1"/*.deb "$1/root" || return 1
    for name in "${GUEST_MODULES[@]}" "${GUEST_MODULES_MORE[@]}"; do
        files+=(-o -name "$name.ko")
    done
    find "$1/root" -type f \( -name 'vmlinuz-*' "${files[@]}" \) \
        -exec mv -t "$1" {} +
    mv "$1"/vmlinuz-* "$1/vmlinuz" || return 1
    rm -rf "$1/root" "$1"/*.deb
    name=$(guest_missing_module "$1")
    [ -z "$name" ] || { say "the kernel has no $name.ko"; return 1; }
}

# guest_missing_module DIR: prints a module that is not there.
guest_missing_module()
{
    local name

    for name in "${GUEST_MODULES[@]}" "${GUEST_MODULES_MORE[@]}"; do
        [ -e "$1/$name.ko" ] || { echo "$name"; return; }
    done
}

# guest_kernel CACHE: makes CACHE/kernel/{vmlinuz,*.ko} unless they are there.
# It comes into being by a rename, so what is there is whole; or was, before
# another module was wanted.
guest_kernel()
{
    local new rc=1

    if [ -d "$1/kernel" ]; then
        [ -n "$(guest_missing_module "$1/kernel")" ] || return 0
        rm -rf "$1/kernel"
    fi
    mkdir -p "$1" || return 1
    new=$(mktemp -d "$1/new.XXXXXX") || return 1
    # apt-get download drops its privileges where it can write without them.
    chmod 755 "$new"
    if guest_download "$new" && guest_unpack "$new"; then
        # Another test may have been faster; either copy will do.
        mv -T "$new" "$1/kernel" 2>/dev/null
        [ -d "$1/kernel" ] && rc=0
    fi
    rm -rf "$new"
    return $rc
}

# guest_archive DIR: prints DIR as an initramfs.  The kernel unpacks archives
# that follow one another on top of each other.
guest_archive()
{
    (cd "$1" && find . -mindepth 1 | LC_ALL=C sort |
        cpio -o -H newc -R 0:0 --quiet)
}

# guest_initramfs CACHE RUN OUT [EXTRA_DIR]: the initramfs whose /init loads
# the modules, those in the array guest_modules too, and then runs the script
# RUN.
guest_initramfs()
{
    local tree name modules=("${GUEST_MODULES[@]}" "${guest_modules[@]}")

    tree=$(mktemp -d) || return 1
    mkdir "$tree"/{bin,modules,proc,sys,dev,tmp,mnt} &&
        cp "$(command -v busybox)" "$tree/bin/busybox" &&
        cp "$guest_lib/guest_init.sh" "$tree/init" &&
        cp "$2" "$tree/run.sh" && chmod 755 "$tree/init" "$tree/run.sh" &&
        echo "${modules[@]}" >"$tree/modules/order" || return 1
    for name in "${modules[@]}"; do
        cp "$1/kernel/$name.ko" "$tree/modules/" || return 1
    done
    guest_archive "$tree" >"$3" || return 1
    if [ -n "${4:-}" ]; then
        guest_archive "$4" >>"$3" || return 1
    fi
    rm -rf "$tree"
}

# /dev/kvm can be there, open well, and yet never run a guest (nested, or in
# a container): the proof is a guest that speaks.
guest_kvm_works()
{
    local dir rc=1

    [ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
    dir=$(mktemp -d) || return 1
    echo 'echo kvm-speaks' >"$dir/run.sh"
    guest_initramfs "$1" "$dir/run.sh" "$dir/initrd" &&
        timeout -k 1 10 qemu-system-x86_64 -accel kvm -cpu host -M q35 \
            -m 256 -nodefaults -no-user-config -display none -no-reboot \
            -kernel "$1/kernel/vmlinuz" -initrd "$dir/initrd" \
            -append 'console=ttyS0 panic=-1 quiet' -serial stdio \
            </dev/null 2>/dev/null | grep -q kvm-speaks && rc=0
    rm -rf "$dir"
    return $rc
}

# guest_accel CACHE: prints kvm or tcg.  The answer holds until this machine
# boots again.
guest_accel()
{
    local boot known=$1/accel

    boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) || boot=none
    boot="$boot $(id -u)"
    if [ "$(sed -n 1p "$known" 2>/dev/null)" != "$boot" ]; then
        if guest_kvm_works "$1"; then
            printf '%s\nkvm\n' "$boot" >"$known.$$"
        else
            printf '%s\ntcg\n' "$boot" >"$known.$$"
        fi
        mv "$known.$$" "$known"
    fi
    sed -n 2p "$known"
}

# guest_qemu ACCEL SOCKET TAG QUEUES: sets the array guest_qemu, a QEMU with
# one share; what it boots and its console are the caller's to add.
guest_qemu()
{
    local mem=$GUEST_MEM_MIB

    guest_qemu=(qemu-system-x86_64 -M q35 -smp 2 -m "$mem"
        -nodefaults -no-user-config -display none -monitor none
        -object "memory-backend-memfd,id=mem,size=${mem}M,share=on"
        -numa node,memdev=mem
        -chardev "socket,id=fs,path=$2"
        -device "vhost-user-fs-pci,chardev=fs,tag=$3,num-request-queues=$4")
    if [ "$1" = kvm ]; then
        guest_qemu+=(-accel kvm -cpu host)
    else
        guest_qemu+=(-accel tcg,thread=multi)
    fi
}
