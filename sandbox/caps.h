/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SANDBOX_CAPS_H
#define VIRTIOFSD_SANDBOX_CAPS_H

/* Capabilities and supplementary groups. */

#include <stddef.h>

#include "sandbox/sandbox.h"

/**
 * caps_check_modcaps() - is a --modcaps value well formed?
 * @spec: "+dac_read_search:-mknod" or "".
 * @err:  out, what is wrong, for the user; @errlen bytes.
 * Return: 0 or -EINVAL.
 */
int caps_check_modcaps(const char *spec, char *err, size_t errlen);

/**
 * caps_enter() - keep a role's capabilities and give up all others.
 * @dir_fd: supervisor: directory it must be able to write to at exit, or -1.
 *
 * fuse keeps what acting for guest users takes (the table in caps.c) and, with
 * file handles, CAP_DAC_READ_SEARCH, as changed by --modcaps; the others keep
 * none.  A capability which we do not
 * have to begin with is no error: an ordinary user has none.  The bounding
 * set is cut where CAP_SETPCAP allows, the supplementary groups are dropped
 * where CAP_SETGID allows.
 *
 * Return: 0 or -errno; told in the log.
 */
int caps_enter(enum sandbox_role role, const struct sandbox_opts *opts,
               int dir_fd);

#endif
