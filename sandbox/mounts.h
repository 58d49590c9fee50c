/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SANDBOX_MOUNTS_H
#define VIRTIOFSD_SANDBOX_MOUNTS_H

/* What a role sees as its root directory. */

#include "sandbox/sandbox.h"

/**
 * mounts_enter_share() - make the share the root directory.
 * @mode:  how; SANDBOX_NONE only opens what @files asks for.
 * @files: root_fd in and out, proc_fd out.
 *
 * The working directory is the share, when that is a directory.  A share
 * that is a single file is served by its fd from an empty root.
 *
 * Context: fuse role; needs CAP_SYS_ADMIN or CAP_SYS_CHROOT as @mode says.
 * Return: 0 or -errno; told in the log.
 */
int mounts_enter_share(enum sandbox_mode mode, struct sandbox_files *files);

/**
 * mounts_enter_empty() - have an empty, read-only root directory.
 * Context: vhost role; privileges as above.
 * Return: 0 or -errno; told in the log.
 */
int mounts_enter_empty(enum sandbox_mode mode);

#endif
