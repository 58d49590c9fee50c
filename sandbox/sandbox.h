/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SANDBOX_SANDBOX_H
#define VIRTIOFSD_SANDBOX_SANDBOX_H

/*
 * How each role is locked in.  sandbox_enter() is the one entry a role calls;
 * what must happen before exec (namespaces, id maps) is in namespaces.h.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum sandbox_mode {
    SANDBOX_NAMESPACE, /* mount, pid, net namespaces and pivot_root; a user
                          namespace too when not root */
    SANDBOX_CHROOT,    /* root only */
    SANDBOX_NONE,      /* no file-system or namespace isolation */
};

enum seccomp_mode {
    SECCOMP_KILL, /* name the system call in the log, then die */
    SECCOMP_LOG,  /* let it pass, the kernel's audit log names it */
    SECCOMP_TRAP, /* SIGSYS with its default action: a core to look at */
    SECCOMP_NONE,
};

enum sandbox_role {
    SANDBOX_ROLE_SUPERVISOR,
    SANDBOX_ROLE_VHOST,
    SANDBOX_ROLE_FUSE,
};

#define SANDBOX_MAX_IDMAPS  16
#define SANDBOX_MODCAPS_MAX 256

/* One line of uid_map/gid_map: ids inside the user namespace and outside. */
struct sandbox_idmap {
    uint32_t inside, outside, count;
};

/* Plain data: part of the message that starts a role. */
struct sandbox_opts {
    enum sandbox_mode mode;
    enum seccomp_mode seccomp;
    char modcaps[SANDBOX_MODCAPS_MAX]; /* "+dac_read_search:-mknod" or "" */
    bool file_handles;     /* the fuse role may open files by their handles */
    uint32_t n_uid, n_gid; /* 0: the default mapping */
    struct sandbox_idmap uid[SANDBOX_MAX_IDMAPS];
    struct sandbox_idmap gid[SANDBOX_MAX_IDMAPS];
};

/* What a role holds while it is locked in, and what it gets in exchange. */
struct sandbox_files {
    int root_fd; /* fuse: in, the share, O_PATH; out, the same place seen
                    from inside.  Others: -1 */
    int proc_fd; /* fuse: out, O_PATH of our own /proc/self/fd; owned by the
                    caller.  Others: -1 */
    int log_fd;  /* where a refused system call is named; borrowed */
    int dir_fd;  /* supervisor: where its socket and pid file will have to be
                    removed, or -1; borrowed */
};

/**
 * sandbox_enter() - lock the calling process in, for good.
 * @role:  what the process is; picks root, capabilities and filter.
 * @opts:  borrowed.
 * @rlimit_nofile: fuse: -1 the default, 0 leave it, else the limit.
 * @files: in and out, see there.
 *
 * A role calls this in the namespaces it was cloned into (spawn.c), the
 * fuse role with the share as its working directory: a directory fd opened
 * before the clone belongs to the parent's mount namespace and can not be
 * bind mounted here, the working directory was moved along by the kernel.
 * What failed has been logged.
 *
 * Context: any process, once, before it has a second thread and before it
 * has read a byte from a guest or a front-end.
 * Return: 0 or -errno; after a failure the process may only exit.
 */
int sandbox_enter(enum sandbox_role role, const struct sandbox_opts *opts,
                  int64_t rlimit_nofile, struct sandbox_files *files);

/* "vhost", "fuse" or "virtiofsd": how log lines call the role. */
const char *sandbox_role_name(enum sandbox_role role);

#endif
