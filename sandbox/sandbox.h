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
    uint32_t n_uid, n_gid;             /* 0: the default mapping */
    struct sandbox_idmap uid[SANDBOX_MAX_IDMAPS];
    struct sandbox_idmap gid[SANDBOX_MAX_IDMAPS];
};

#endif
