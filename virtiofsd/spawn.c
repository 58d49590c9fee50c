/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/namespaces.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"
#include "virtiofsd/boot.h"

#define CLONE_STACK (256 * 1024)
#define ENV_MAX     64

/* What the child needs between clone and exec; it allocates nothing. */
struct child {
    int link_fd;
    int parent_fd; /* the supervisor's end of the link */
    int exe_fd;
    int null_fd;
    bool user_ns;
    char role_arg[24];
    char *env[ENV_MAX];
};

static int fail(const char *what)
{
    int ret = -errno;

    log_err("start: %s: %s", what, strerror(-ret));
    return ret;
}

/* 0, 1, 2 and BOOT_FD; all else is close-on-exec or closed by the role. */
static int place_fds(const struct child *c)
{
    int null_fd = fcntl(c->null_fd, F_DUPFD_CLOEXEC, BOOT_FD + 1);
    int exe_fd = fcntl(c->exe_fd, F_DUPFD_CLOEXEC, BOOT_FD + 1);
    int link_fd = fcntl(c->link_fd, F_DUPFD_CLOEXEC, BOOT_FD + 1);
    /* A sanitizer's report goes to stderr. */
#ifdef SANITIZER_FILTER
    const int last = STDOUT_FILENO;
#else
    const int last = STDERR_FILENO;
#endif

    if (null_fd < 0 || exe_fd < 0 || link_fd < 0)
        return -1;
    for (int fd = 0; fd <= last; fd++)
        if (dup2(null_fd, fd) < 0)
            return -1;
    return dup2(link_fd, BOOT_FD) < 0 ? -1 : exe_fd;
}

/*
 * Between clone and exec: async-signal-safe calls only.  The process dies
 * with the supervisor from the first line on; had the supervisor died before
 * it, the link is at end of file once our copy of its end is closed.
 */
static int child_main(void *arg)
{
    struct child *c = arg;
    char *argv[] = { (char *)"virtiofsd", c->role_arg, NULL };
    sigset_t none;
    int exe_fd;

    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    close(c->parent_fd);
    if (link_recv(c->link_fd, LINK_GO, NULL) < 0)
        _exit(1);
    if (c->user_ns && namespaces_become_root() < 0)
        _exit(1);
    /* A change of ids has cleared it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    exe_fd = place_fds(c);
    if (exe_fd < 0)
        _exit(1);
    fexecve(exe_fd, argv, c->env);
    _exit(1);
}

/* A secret in the environment is none of a role's business. */
static void pick_env(char **out)
{
    static const char *const keep[] = {
        "LD_",    "GLIBC_TUNABLES=", "MALLOC_", "ASAN_",
        "UBSAN_", "TSAN_",           "LSAN_",   "LLVM_PROFILE_FILE="
    };
    size_t n = 0;

    for (char **e = environ; e && *e && n < ENV_MAX - 1; e++)
        for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
            if (strncmp(*e, keep[i], strlen(keep[i])) == 0) {
                out[n++] = *e;
                break;
            }
    out[n] = NULL;
}

static int clone_child(struct child *c, int flags, pid_t *pid)
{
    char *stack = mmap(NULL, CLONE_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (stack == MAP_FAILED)
        return fail("mmap");
    *pid = clone(child_main, stack + CLONE_STACK, flags | SIGCHLD, c);
    if (*pid < 0) {
        int ret = -errno;

        *pid = 0;
        munmap(stack, CLONE_STACK);
        log_err("start: can not make %s: %s%s",
                flags ? "namespaces" : "a process", strerror(-ret),
                flags & CLONE_NEWUSER
                    ? "; are user namespaces forbidden (sysctl "
                      "user.max_user_namespaces)?  --sandbox none does without"
                : flags ? "; --sandbox chroot or none does without"
                        : "");
        return ret;
    }
    munmap(stack, CLONE_STACK);
    return 0;
}

static int make_links(struct role_proc *p, int *child_end)
{
    int link[2], log[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0)
        return fail("socketpair");
    p->link_fd = link[0];
    *child_end = link[1];
    if (pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
        return fail("pipe");
    p->log_fd = log[0];
    p->log_write_fd = log[1];
    return 0;
}

static int open_all(struct child *c)
{
    c->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (c->null_fd < 0)
        return fail("/dev/null");
    /* The file we run, whatever may stand under its name by now. */
    c->exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    return c->exe_fd < 0 ? fail("/proc/self/exe (is /proc mounted?)") : 0;
}

/* The kernel moves a working directory, and only that, along into a new
 * mount namespace: it is set before the clone. */
static int enter_cwd(int cwd_fd)
{
    if (cwd_fd >= 0 && fchdir(cwd_fd) == 0)
        return 0;
    if (cwd_fd >= 0 && errno != ENOTDIR)
        return fail("chdir to the shared directory");
    return chdir("/") < 0 ? fail("chdir /") : 0;
}

int spawn_role(struct role_proc *p, const struct sandbox_opts *opts, int cwd_fd)
{
    int flags = namespaces_flags(opts);
    struct child c = { .link_fd = -1,
                       .exe_fd = -1,
                       .null_fd = -1,
                       .user_ns = flags & CLONE_NEWUSER };
    int ret;

    snprintf(c.role_arg, sizeof(c.role_arg), "--role=%s",
             sandbox_role_name(p->role));
    pick_env(c.env);
    ret = make_links(p, &c.link_fd);
    c.parent_fd = p->link_fd;
    if (ret == 0)
        ret = open_all(&c);
    if (ret == 0)
        ret = enter_cwd(cwd_fd);
    if (ret == 0)
        ret = clone_child(&c, flags, &p->pid);
    if (ret == 0 && c.user_ns)
        ret = namespaces_write_maps(p->pid, p->role, opts);
    if (ret == 0)
        ret = link_send(p->link_fd, LINK_GO, -1);
    fd_close(&c.link_fd);
    fd_close(&c.exe_fd);
    fd_close(&c.null_fd);
    return ret;
}

void spawn_release(struct role_proc *p)
{
    fd_close(&p->link_fd);
    fd_close(&p->log_fd);
    fd_close(&p->log_write_fd);
}
