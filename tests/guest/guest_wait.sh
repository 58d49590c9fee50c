# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# In the guest: hold the share until the host says go.
m=/mnt

do_the_share_mounts()
{
    mount -t virtiofs "$tag" $m
}

do_the_share_still_works()
{
    echo 'still here' >$m/after
    [ "$(cat $m/after)" = 'still here' ]
}

step the_share_mounts
note ready
until [ -e $m/go ]; do
    sleep 1
done
step the_share_still_works
sync
