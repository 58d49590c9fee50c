/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sandbox/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/util.h"

/* Bare calls, with arguments that would do little harm if they worked. */
#define CALL(...) syscall(__VA_ARGS__)

static long p_socket_inet(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static long p_socket_unix(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
}

static long p_connect(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_connect, -1, NULL, 0);
}

static long p_execve(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_execve, "/bin/true", NULL, NULL);
}

static long p_execveat(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_execveat, -1, "", NULL, NULL, AT_EMPTY_PATH);
}

static long p_ptrace(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_ptrace, PTRACE_ATTACH, 1, 0, 0);
}

static long p_mount(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_mount, "none", "/", "tmpfs", 0, NULL);
}

static long p_chroot(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_chroot, "/");
}

static long p_unshare_user(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_unshare, CLONE_NEWUSER);
}

static long p_unshare_fs(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_unshare, CLONE_FS);
}

static long p_setns(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_setns, -1, 0);
}

static long p_kill(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_kill, getpid(), 0);
}

/* Another process's number; the own one is for abort(). */
static long p_tgkill_other(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_tgkill, getpid() + 1, getpid() + 1, 0);
}

static long p_tgkill_own(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_tgkill, getpid(), gettid(), 0);
}

static long p_fork(const struct probe_ctx *c, const char *a)
{
    long pid = CALL(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

    (void)c, (void)a;
    if (pid == 0)
        _exit(0);
    return pid;
}

/* Arguments that the kernel itself would refuse with EINVAL. */
static long p_clone3(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_clone3, NULL, 0);
}

static void *thread_main(void *arg)
{
    return arg;
}

static long p_thread(const struct probe_ctx *c, const char *a)
{
    pthread_t t;
    int err = pthread_create(&t, NULL, thread_main, NULL);

    (void)c, (void)a;
    if (err) {
        errno = err;
        return -1;
    }
    return pthread_join(t, NULL);
}

static long p_mmap_exec(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == -1
               ? -1
               : 0;
}

static long p_mprotect_exec(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_mprotect, NULL, 0, PROT_READ | PROT_EXEC);
}

/* As guest memory would be mapped: shared, and large. */
static long p_map_guest(const struct probe_ctx *c, const char *a)
{
    const size_t size = 1 << 20;
    auto_fd fd = memfd_create("guest", MFD_CLOEXEC);

    (void)c, (void)a;
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return -1;
    return CALL(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                0) == -1
               ? -1
               : 0;
}

static long p_map_page(const struct probe_ctx *c, const char *a)
{
    const size_t size = 32 * 1024;
    auto_fd fd = memfd_create("page", MFD_CLOEXEC);

    (void)c, (void)a;
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return -1;
    return CALL(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                0) == -1
               ? -1
               : 0;
}

static long p_bpf(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_bpf, 0, NULL, 0);
}

static long p_io_uring(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_io_uring_setup, 0, NULL);
}

static long p_open_handle(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_open_by_handle_at, -1, NULL, 0);
}

static long p_setrlimit(const struct probe_ctx *c, const char *a)
{
    struct rlimit lim = { 64, 64 };

    (void)c, (void)a;
    return CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, &lim, NULL);
}

static long p_prctl_dumpable(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long p_ioctl(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return CALL(SYS_ioctl, -1, 0, 0);
}

static long p_foreign_abi(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
#ifdef __x86_64__
    return CALL(0x40000000 + SYS_getpid); /* x32 */
#else
    errno = ENOSYS;
    return -1;
#endif
}

static long p_open(const struct probe_ctx *c, const char *a)
{
    long fd = CALL(SYS_openat, AT_FDCWD, a, O_RDONLY | O_CLOEXEC, 0);

    (void)c;
    if (fd >= 0)
        close((int)fd);
    return fd;
}

static long open_beneath(int dir, const char *path)
{
    long fd = CALL(SYS_openat, dir, path, O_RDONLY | O_CLOEXEC, 0);

    if (fd >= 0)
        close((int)fd);
    return fd;
}

static long p_open_root(const struct probe_ctx *c, const char *a)
{
    return open_beneath(c->root_fd, a);
}

static long p_open_proc(const struct probe_ctx *c, const char *a)
{
    return open_beneath(c->proc_fd, a);
}

/* The way by which passthrough opens what it holds an O_PATH fd of. */
static long p_reopen(const struct probe_ctx *c, const char *a)
{
    auto_fd path = openat(c->root_fd, a, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char name[16];

    if (path < 0)
        return -1;
    snprintf(name, sizeof(name), "%d", path);
    return open_beneath(c->proc_fd, name);
}

/* Creates a file beneath the root. */
static long p_create(const struct probe_ctx *c, const char *a)
{
    long fd = CALL(SYS_openat, c->root_fd, a,
                   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd >= 0)
        close((int)fd);
    return fd;
}

/* "INO of /", to tell which directory it is. */
static long p_root_ino(const struct probe_ctx *c, const char *a)
{
    struct stat st;

    (void)c, (void)a;
    return stat("/", &st) < 0 ? -1 : (long)st.st_ino;
}

/* How many names there are in the root directory. */
static long p_count_root(const struct probe_ctx *c, const char *a)
{
    DIR *d = opendir("/");
    long n = 0;

    (void)c, (void)a;
    if (!d)
        return -1;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            n++;
    closedir(d);
    return n;
}

static long p_getpid(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return getpid();
}

static long p_getuid(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    return getuid();
}

static long p_setuid(const struct probe_ctx *c, const char *a)
{
    uid_t uid = (uid_t)strtoul(a, NULL, 10);
    long ret = CALL(SYS_setresuid, -1, uid, -1);

    (void)c;
    if (ret == 0 && CALL(SYS_setresuid, -1, 0, -1) < 0)
        return -1;
    return ret;
}

static long p_nofile(const struct probe_ctx *c, const char *a)
{
    struct rlimit lim;

    (void)c, (void)a;
    return getrlimit(RLIMIT_NOFILE, &lim) < 0 ? -1 : (long)lim.rlim_cur;
}

static long p_crash(const struct probe_ctx *c, const char *a)
{
    (void)c, (void)a;
    signal(SIGSEGV, SIG_DFL);
    return raise(SIGSEGV);
}

static long p_exit(const struct probe_ctx *c, const char *a)
{
    (void)c;
    _exit(atoi(a));
}

static const struct {
    const char *name;
    long (*run)(const struct probe_ctx *c, const char *arg);
} probes[] = {
    { "socket-inet", p_socket_inet },
    { "socket-unix", p_socket_unix },
    { "connect", p_connect },
    { "execve", p_execve },
    { "execveat", p_execveat },
    { "ptrace", p_ptrace },
    { "mount", p_mount },
    { "chroot", p_chroot },
    { "unshare-user", p_unshare_user },
    { "unshare-fs", p_unshare_fs },
    { "setns", p_setns },
    { "kill", p_kill },
    { "tgkill-other", p_tgkill_other },
    { "tgkill-own", p_tgkill_own },
    { "fork", p_fork },
    { "clone3", p_clone3 },
    { "thread", p_thread },
    { "mmap-exec", p_mmap_exec },
    { "mprotect-exec", p_mprotect_exec },
    { "map-guest", p_map_guest },
    { "map-page", p_map_page },
    { "bpf", p_bpf },
    { "io-uring", p_io_uring },
    { "open-by-handle", p_open_handle },
    { "setrlimit", p_setrlimit },
    { "prctl-dumpable", p_prctl_dumpable },
    { "ioctl", p_ioctl },
    { "foreign-abi", p_foreign_abi },
    { "open", p_open },
    { "open-root", p_open_root },
    { "open-proc", p_open_proc },
    { "reopen", p_reopen },
    { "create", p_create },
    { "root-ino", p_root_ino },
    { "count-root", p_count_root },
    { "getpid", p_getpid },
    { "getuid", p_getuid },
    { "setuid", p_setuid },
    { "nofile", p_nofile },
    { "crash", p_crash },
    { "exit", p_exit },
};

void probe_run(const char *what, const struct probe_ctx *ctx, char *out,
               size_t len)
{
    size_t n = strcspn(what, " ");
    const char *arg = what[n] ? what + n + 1 : "";

    for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
        long got;

        if (strlen(probes[i].name) != n ||
            strncmp(probes[i].name, what, n) != 0)
            continue;
        errno = 0;
        got = probes[i].run(ctx, arg);
        if (got < 0)
            snprintf(out, len, "errno %d\n", errno);
        else
            snprintf(out, len, "ok %ld\n", got);
        return;
    }
    snprintf(out, len, "no such probe\n");
}
