/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/mman.h>

#include "virtiofsd/base/util.h"

/*
 * The request process: file calls beneath its root, its rings' eventfds,
 * threads.  No socket, no exec, no process but itself.
 */
#define THREAD_FLAGS (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define NOT_THREAD_FLAGS                                                       \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |             \
     CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE | CLONE_VFORK)
#ifdef __s390x__
#define CLONE_FLAGS_ARG 1
#else
#define CLONE_FLAGS_ARG 0
#endif

/* clang-format off */
static const struct sc_rule rules[] = {
    /* Threads, and what they do for themselves. */
    SC_ALLOW_IF("clone", SC_IS_MASK(CLONE_FLAGS_ARG,
                                    THREAD_FLAGS | NOT_THREAD_FLAGS,
                                    THREAD_FLAGS)),
    /* Its flags are in memory, where no filter sees them; on ENOSYS the C
     * library takes clone(). */
    SC_ERRNO("clone3", ENOSYS),
    SC_ALLOW("sched_setaffinity"), SC_ALLOW("sched_getparam"),
    SC_ALLOW("sched_getscheduler"), SC_ALLOW("set_tid_address"),
    /* A thread's own working directory, for xattr calls by path. */
    SC_ALLOW_IF("unshare", SC_IS_EQ(0, CLONE_FS)),
    SC_ALLOW_IF("mmap", SC_IS_MASK(2, PROT_EXEC, 0)),
    SC_ALLOW_IF("mmap2", SC_IS_MASK(2, PROT_EXEC, 0)),
    SC_ALLOW("memfd_create"), SC_ALLOW("eventfd2"), SC_ALLOW("pipe2"),
    SC_ALLOW("timerfd_create"), SC_ALLOW("timerfd_settime"),
    SC_ALLOW("timerfd_settime64"), SC_ALLOW("timerfd_gettime"),
    SC_ALLOW("epoll_create1"), SC_ALLOW("epoll_ctl"), SC_ALLOW("epoll_wait"),
    SC_ALLOW("epoll_pwait"), SC_ALLOW("epoll_pwait2"),

    /* Acting for guest users. */
    SC_ALLOW("setresuid"), SC_ALLOW("setresuid32"), SC_ALLOW("setresgid"),
    SC_ALLOW("setresgid32"), SC_ALLOW("setfsuid"), SC_ALLOW("setfsuid32"),
    SC_ALLOW("setfsgid"), SC_ALLOW("setfsgid32"), SC_ALLOW("setgroups"),
    SC_ALLOW("setgroups32"), SC_ALLOW("getresuid"), SC_ALLOW("getresgid"),
    SC_ALLOW("getgroups"), SC_ALLOW("capget"), SC_ALLOW("capset"),
    SC_ALLOW("umask"),

    /* Finding and opening. */
    SC_ALLOW("open"), SC_ALLOW("openat"), SC_ALLOW("openat2"),
    SC_ALLOW("name_to_handle_at"), SC_ALLOW("fchdir"),
    SC_ALLOW("fcntl"), SC_ALLOW("fcntl64"), SC_ALLOW("flock"),
    SC_ALLOW("stat"), SC_ALLOW("lstat"), SC_ALLOW("statx"),
    SC_ALLOW("newfstatat"), SC_ALLOW("fstatat64"), SC_ALLOW("fstatfs"),
    SC_ALLOW("fstatfs64"), SC_ALLOW("statfs"), SC_ALLOW("access"),
    SC_ALLOW("faccessat"), SC_ALLOW("faccessat2"), SC_ALLOW("readlink"),
    SC_ALLOW("readlinkat"), SC_ALLOW("getdents"), SC_ALLOW("getdents64"),
    SC_ALLOW("getcwd"),

    /* Names. */
    SC_ALLOW("mkdirat"), SC_ALLOW("mknodat"), SC_ALLOW("symlinkat"),
    SC_ALLOW("linkat"), SC_ALLOW("unlinkat"), SC_ALLOW("renameat"),
    SC_ALLOW("renameat2"),

    /* Attributes. */
    SC_ALLOW("fchmod"), SC_ALLOW("fchmodat"), SC_NEW("fchmodat2", 452),
    SC_ALLOW("fchown"), SC_ALLOW("fchown32"), SC_ALLOW("fchownat"),
    SC_ALLOW("utimensat"), SC_ALLOW("utimensat_time64"),
    SC_ALLOW("truncate"), SC_ALLOW("truncate64"), SC_ALLOW("ftruncate"),
    SC_ALLOW("ftruncate64"),
    SC_ALLOW("getxattr"), SC_ALLOW("lgetxattr"), SC_ALLOW("fgetxattr"),
    SC_ALLOW("setxattr"), SC_ALLOW("lsetxattr"), SC_ALLOW("fsetxattr"),
    SC_ALLOW("listxattr"), SC_ALLOW("llistxattr"), SC_ALLOW("flistxattr"),
    SC_ALLOW("removexattr"), SC_ALLOW("lremovexattr"),
    SC_ALLOW("fremovexattr"),
    SC_NEW("setxattrat", 463), SC_NEW("getxattrat", 464),
    SC_NEW("listxattrat", 465), SC_NEW("removexattrat", 466),

    /* What lsattr(1) and chattr(1) do, for --inode-flags; no other. */
    SC_ALLOW_IF("ioctl", SC_IS_EQ(1, FS_IOC_GETFLAGS)),
    SC_ALLOW_IF("ioctl", SC_IS_EQ(1, FS_IOC_SETFLAGS)),
    SC_ALLOW_IF("ioctl", SC_IS_EQ(1, FS_IOC_FSGETXATTR)),
    SC_ALLOW_IF("ioctl", SC_IS_EQ(1, FS_IOC_FSSETXATTR)),

    /* Data. */
    SC_ALLOW("pread64"), SC_ALLOW("pwrite64"), SC_ALLOW("preadv"),
    SC_ALLOW("preadv2"), SC_ALLOW("pwritev"), SC_ALLOW("pwritev2"),
    /* Reads with O_DIRECT, of what it has open. */
    SC_ALLOW("io_setup"), SC_ALLOW("io_submit"), SC_ALLOW("io_destroy"),
    SC_ALLOW("copy_file_range"), SC_ALLOW("fallocate"), SC_ALLOW("fsync"),
    SC_ALLOW("fdatasync"), SC_ALLOW("sync_file_range"), SC_ALLOW("syncfs"),
    SC_ALLOW("fadvise64"), SC_ALLOW("fadvise64_64"), SC_ALLOW("readahead"),
    SC_ALLOW("msync"), SC_ALLOW("splice"),
};
/* clang-format on */

const struct sc_table sc_table_fuse = { rules, ARRAY_SIZE(rules) };

/* With file handles only.  Handles are made by the kernel and kept by us: no
 * guest can name one. */
static const struct sc_rule handle_rules[] = {
    SC_ALLOW("open_by_handle_at"),
};

const struct sc_table sc_table_fuse_handles = { handle_rules,
                                                ARRAY_SIZE(handle_rules) };
