/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SPAWN_H
#define VIRTIOFSD_SPAWN_H

/* Making a role's process: clone into namespaces, then exec of ourselves. */

#include <stdbool.h>
#include <sys/types.h>

#include "sandbox/sandbox.h"

/* A role as the supervisor sees it.  Owner: supervisor. */
struct role_proc {
    enum sandbox_role role;
    pid_t pid;        /* 0: not started, or reaped */
    int link_fd;      /* our end; -1: none */
    int log_fd;       /* read end, non-blocking; -1: none, or at end of file */
    int log_write_fd; /* the role's end, until it has been sent */
    bool ready;
    int status; /* as waitpid() has it, when pid is 0 again */
};
#define ROLE_PROC_INIT(r)                                                      \
    {                                                                          \
        .role = (r), .link_fd = -1, .log_fd = -1, .log_write_fd = -1           \
    }

/**
 * spawn_role() - start a role and take it as far as its boot message.
 * @p:      role filled in; the rest is set here, released by spawn_release().
 * @opts:   borrowed.
 * @cwd_fd: directory to start in: the share for the fuse role, see
 *          sandbox_enter(); -1: "/".
 *
 * The child gets stdio on /dev/null, our environment without what is not
 * the dynamic linker's or a sanitizer's, and no other fd than the link.
 *
 * Context: supervisor, before it is sandboxed; single-threaded.
 * Return: 0 or -errno; told in the log.
 */
int spawn_role(struct role_proc *p, const struct sandbox_opts *opts,
               int cwd_fd);

/* Close our ends.  A role that still runs takes that as a wish to end. */
void spawn_release(struct role_proc *p);

#endif
