/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sandbox/caps.h"
#include "sandbox/mounts.h"
#include "sandbox/rlimits.h"
#include "sandbox/seccomp.h"
#include "virtiofsd/base/log.h"

const char *sandbox_role_name(enum sandbox_role role)
{
    switch (role) {
    case SANDBOX_ROLE_SUPERVISOR:
        return "virtiofsd";
    case SANDBOX_ROLE_VHOST:
        return "vhost";
    case SANDBOX_ROLE_FUSE:
        return "fuse";
    }
    return "?";
}

/* The supervisor was not cloned into namespaces.  It has no use for a
 * network; an ordinary user can not leave it without a user namespace, in
 * which our files would not look like ours any more, so there the filter
 * (no socket but AF_UNIX) has to do. */
static void leave_network(const struct sandbox_opts *opts)
{
    if (opts->mode != SANDBOX_NAMESPACE || geteuid() != 0)
        return;
    if (unshare(CLONE_NEWNET) < 0)
        log_debug("sandbox: own network namespace: %s", strerror(errno));
}

static int enter_root(enum sandbox_role role, const struct sandbox_opts *opts,
                      struct sandbox_files *files)
{
    switch (role) {
    case SANDBOX_ROLE_SUPERVISOR:
        leave_network(opts);
        return 0;
    case SANDBOX_ROLE_VHOST:
        return mounts_enter_empty(opts->mode);
    case SANDBOX_ROLE_FUSE:
        return mounts_enter_share(opts->mode, files);
    }
    return -EINVAL;
}

/*
 * The order is the design.  Limits first: the default one is read from
 * /proc, and raising it takes a capability.  Mounts next, while we still may
 * mount.  Then capabilities go, then the way back to them (no_new_privs),
 * and last the system calls that all of this took.
 */
int sandbox_enter(enum sandbox_role role, const struct sandbox_opts *opts,
                  int64_t rlimit_nofile, struct sandbox_files *files)
{
    int ret = 0;

    if (role == SANDBOX_ROLE_FUSE)
        ret = rlimits_set_nofile(rlimit_nofile);
    if (ret < 0)
        return ret;
    /* In trap mode a core is what was asked for. */
    if (opts->seccomp != SECCOMP_TRAP)
        rlimits_no_core();
    ret = enter_root(role, opts, files);
    if (ret < 0)
        return ret;
    ret = caps_enter(role, opts, files->dir_fd);
    if (ret < 0)
        return ret;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        ret = -errno;
        log_err("sandbox: no_new_privs: %s", strerror(-ret));
        return ret;
    }
    /* Holds the front-end's socket and the fds of guest memory for a moment
     * each: nobody of our uid may attach to it.  The fuse role can not have
     * this: its /proc/self/fd would belong to root, and be closed to it. */
    if (role == SANDBOX_ROLE_VHOST)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return seccomp_enter(role, opts, files->log_fd);
}
