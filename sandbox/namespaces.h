/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SANDBOX_NAMESPACES_H
#define VIRTIOFSD_SANDBOX_NAMESPACES_H

/*
 * Namespaces are made by clone(2), before exec, so that a role is the first
 * process of its pid namespace; id maps are written by the supervisor.
 */

#include <stddef.h>
#include <sys/types.h>

#include "sandbox/sandbox.h"

/**
 * namespaces_check() - can this sandbox be built by this user?
 * @err: out, what is wrong and what to do, for the user; @errlen bytes.
 * Return: 0 or -EINVAL.
 */
int namespaces_check(const struct sandbox_opts *opts, char *err, size_t errlen);

/* The CLONE_NEW* flags a role is made with; 0 outside of namespace mode. */
int namespaces_flags(const struct sandbox_opts *opts);

/**
 * namespaces_write_maps() - give a role cloned with CLONE_NEWUSER its ids.
 * @pid: the role, which waits to be told that its map is there.
 *
 * Only the fuse role acts for guest users and gets the maps of the command
 * line; the vhost role gets our own id and no other.  A map of more than our
 * own id needs newuidmap and newgidmap in PATH.
 *
 * Context: supervisor, before it gives up its privileges.
 * Return: 0 or -errno; told in the log.
 */
int namespaces_write_maps(pid_t pid, enum sandbox_role role,
                          const struct sandbox_opts *opts);

/**
 * namespaces_become_root() - keep the capabilities across the exec to come.
 * Becomes id 0 of the user namespace where the map has one; else raises the
 * ambient set.
 * Context: a role between clone and exec: async-signal-safe calls only.
 * Return: 0 or -errno.
 */
int namespaces_become_root(void);

#endif
