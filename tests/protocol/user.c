/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/protocol/vm.h"

/* Try in a child of that user. */
static bool user_can(bool userns)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        if (setgroups(0, NULL) < 0 ||
            setresgid(USER_ID, USER_ID, USER_ID) < 0 ||
            setresuid(USER_ID, USER_ID, USER_ID) < 0 ||
            access(getenv("VIRTIOFSD_BINARY"), X_OK) < 0)
            _exit(1);
        /* Not unshare(2): a sanitizer's thread would be in the way. */
        if (userns &&
            syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) < 0)
            _exit(2);
        _exit(0);
    }
    if (pid > 0)
        waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static char copy_dir[] = "/tmp/vfsd-program-XXXXXX", copy_path[64];
static pid_t copied_by;

static void remove_copy(void)
{
    if (copied_by != getpid())
        return;
    unlink(copy_path);
    rmdir(copy_dir);
}

static void make_reachable(void)
{
    const char *from = getenv("VIRTIOFSD_BINARY");
    char buf[65536];
    ssize_t n = 0;
    int in, out;

    if (copy_path[0] || user_can(false) || !from || !mkdtemp(copy_dir))
        return;
    snprintf(copy_path, sizeof(copy_path), "%s/virtiofsd", copy_dir);
    copied_by = getpid();
    atexit(remove_copy);
    in = open(from, O_RDONLY | O_CLOEXEC);
    out = open(copy_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    while ((n = read(in, buf, sizeof(buf))) > 0 && write(out, buf, n) == n)
        ;
    CHECK_EQ(n, 0, "copied");
    CHECK_EQ(fchmod(out, 0755), 0, "");
    CHECK_EQ(chmod(copy_dir, 0755), 0, "");
    close(in);
    close(out);
    setenv("VIRTIOFSD_BINARY", copy_path, 1);
}

bool user_ready(bool userns)
{
    if (!needs_root())
        return false;
    make_reachable();
    if (user_can(userns))
        return true;
    tap_skip(userns ? "no user namespace, or the program is out of reach"
                    : "another user can not run the program from here");
    return false;
}

/* Put @text in the place of @path, in this mount namespace. */
static int put_over(const char *path, const char *text)
{
    char name[] = "/tmp/vfsd-etc-XXXXXX";
    ssize_t len = (ssize_t)strlen(text);
    int fd = mkstemp(name), ret = 0;

    if (fd < 0)
        return -errno;
    if (write(fd, text, (size_t)len) != len || fchmod(fd, 0644) < 0 ||
        mount(name, path, NULL, MS_BIND, NULL) < 0)
        ret = -errno;
    unlink(name);
    close(fd);
    return ret;
}

int user_etc(bool range)
{
    char ids[64] = "", passwd[128];
    int ret;

    snprintf(passwd, sizeof(passwd),
             "root:x:0:0::/:/bin/sh\nvfsduser:x:%d:%d::/:/bin/sh\n", USER_ID,
             USER_ID);
    if (range)
        snprintf(ids, sizeof(ids), "vfsduser:%d:%d\n", USER_SUBIDS, USER_SUB_N);
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -errno;
    ret = put_over("/etc/passwd", passwd);
    if (ret == 0)
        ret = put_over("/etc/subuid", ids);
    if (ret == 0)
        ret = put_over("/etc/subgid", ids);
    return ret;
}

void user_in_child(void (*body)(void))
{
    int status = -1;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        body();
        fflush(stdout);
        _exit(tap_failing() ? 1 : 0);
    }
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child's part");
}

int user_forbid_userns(void)
{
    const uint32_t flags = offsetof(struct seccomp_data, args[0]);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
        /* The low half: all architectures that run this are little-endian. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, flags),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = { ARRAY_SIZE(code), code };

    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0 ? -errno : 0;
}
