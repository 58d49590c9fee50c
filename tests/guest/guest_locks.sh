# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# In each of two guests: take and leave locks as the host says (agent.c).
m=/mnt
me=$(sed 's/.*share.name=\([a-z]*\).*/\1/' /proc/cmdline)

do_the_share_mounts()
{
    mount -t virtiofs "$tag" $m
}

do_the_agent_ends_when_it_is_told()
{
    agent $m "$me"
}

step the_share_mounts
step the_agent_ends_when_it_is_told
