# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC3045
# What contrib/quickstart's guest does.  Words of the kernel's command line
# with a dot in them stay out of its way: quickstart.x=y.
word()
{
    tr ' ' '\n' </proc/cmdline | sed -n "s/^quickstart\.$1=//p"
}

demo()
{
    mkdir -p /share
    echo
    echo "guest: Linux $(uname -r) is up after $(cut -d' ' -f1 /proc/uptime) s"
    if ! mount -t virtiofs quickstart /share; then
        echo "guest: mounting the share failed"
        return 1
    fi
    echo "guest: the share is mounted on /share:"
    df -h /share
    ls -la /share | head -n 30

    file=$(word file)
    if echo "written by Linux $(uname -r) in the guest" >"/share/$file"; then
        echo "guest: wrote /share/$file"
    else
        echo "guest: could not write /share/$file"
    fi
    sync

    if [ "$(word shell)" = 1 ]; then
        stty -F /dev/ttyS0 rows "$(word rows)" cols "$(word cols)" 2>/dev/null
        echo "guest: a shell in /share; 'exit' or Ctrl-D ends the guest"
        cd /share || return 1
        PS1='guest:\w# ' setsid cttyhack sh
        cd /
    fi
    umount /share
    echo "guest: powering off"
}

demo
