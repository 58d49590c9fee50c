#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# /init of the small guest: devices, modules, then /run.sh, then the end.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for name in $(cat /modules/order); do
    insmod "/modules/$name.ko" || echo "init: can not load $name"
done
# In this shell, process 1, so that it may switch_root.
. /run.sh
poweroff -f
