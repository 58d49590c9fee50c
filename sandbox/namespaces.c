/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

/* "newuidmap PID" and three numbers a line of the map. */
#define MAP_ARGS (2 + 3 * SANDBOX_MAX_IDMAPS)

int namespaces_check(const struct sandbox_opts *opts, char *err, size_t errlen)
{
    bool maps = opts->n_uid || opts->n_gid;

    if (opts->mode == SANDBOX_CHROOT && geteuid() != 0) {
        snprintf(err, errlen,
                 "--sandbox chroot needs root; as an ordinary user take "
                 "--sandbox namespace or none");
        return -EINVAL;
    }
    if (maps && opts->mode != SANDBOX_NAMESPACE) {
        snprintf(err, errlen,
                 "--uid-map and --gid-map need --sandbox namespace");
        return -EINVAL;
    }
    if (maps && geteuid() == 0) {
        snprintf(err, errlen,
                 "--uid-map and --gid-map are for ordinary users; as root "
                 "take --translate-uid and --translate-gid");
        return -EINVAL;
    }
    return 0;
}

int namespaces_flags(const struct sandbox_opts *opts)
{
    int flags =
        CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

    if (opts->mode != SANDBOX_NAMESPACE)
        return 0;
    return geteuid() == 0 ? flags : flags | CLONE_NEWUSER;
}

static int write_proc(pid_t pid, const char *file, const char *text)
{
    char path[64];
    ssize_t len = (ssize_t)strlen(text);
    auto_fd fd = -1;
    int ret = 0;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        ret = errno ? -errno : -EIO;
    if (ret < 0)
        log_err("sandbox: %s: %s", path, strerror(-ret));
    return ret;
}

/* Runs a set-user-id helper, hence before no_new_privs. */
static int run_helper(char *const argv[])
{
    sigset_t none;
    int status;
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid == 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execvp(argv[0], argv);
        _exit(errno == ENOENT ? 127 : 126);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        log_err("sandbox: %s is not in PATH; more than our own id can not be "
                "mapped without it (Debian: package uidmap)",
                argv[0]);
    else
        log_err("sandbox: %s refused the map; does a range in /etc/sub%s "
                "hold it?",
                argv[0], strcmp(argv[0], "newuidmap") == 0 ? "uid" : "gid");
    return -EPERM;
}

static int map_by_helper(pid_t pid, const char *helper,
                         const struct sandbox_idmap *map, uint32_t n)
{
    char text[MAP_ARGS][12];
    char *argv[MAP_ARGS + 1];
    int argc = 0;

    argv[argc++] = (char *)helper;
    snprintf(text[argc], sizeof(text[argc]), "%d", (int)pid);
    argv[argc] = text[argc];
    argc++;
    for (uint32_t i = 0; i < n && i < SANDBOX_MAX_IDMAPS; i++) {
        const uint32_t v[] = { map[i].inside, map[i].outside, map[i].count };

        for (size_t k = 0; k < ARRAY_SIZE(v); k++) {
            snprintf(text[argc], sizeof(text[argc]), "%u", v[k]);
            argv[argc] = text[argc];
            argc++;
        }
    }
    argv[argc] = NULL;
    return run_helper(argv);
}

/* One of the two maps: by ourselves when it holds our own id only.  Without a
 * map our id is the same inside, so that the guest sees on our files whom they
 * belong to, as it does with the other sandboxes. */
static int write_map(pid_t pid, bool gid, const struct sandbox_idmap *map,
                     uint32_t n)
{
    uint32_t own = gid ? getegid() : geteuid();
    struct sandbox_idmap dflt = { .inside = own, .outside = own, .count = 1 };
    char line[64];
    int ret;

    if (n == 0) {
        map = &dflt;
        n = 1;
    }
    if (n > 1 || map->count != 1 || map->outside != own)
        return map_by_helper(pid, gid ? "newgidmap" : "newuidmap", map, n);
    if (gid) {
        /* Else a process could drop a group that a file denies access to:
         * the kernel's condition for mapping a group by oneself. */
        ret = write_proc(pid, "setgroups", "deny");
        if (ret < 0)
            return ret;
    }
    snprintf(line, sizeof(line), "%u %u 1\n", map->inside, map->outside);
    return write_proc(pid, gid ? "gid_map" : "uid_map", line);
}

int namespaces_write_maps(pid_t pid, enum sandbox_role role,
                          const struct sandbox_opts *opts)
{
    bool fuse = role == SANDBOX_ROLE_FUSE;
    int ret = write_map(pid, true, opts->gid, fuse ? opts->n_gid : 0);

    if (ret < 0)
        return ret;
    return write_map(pid, false, opts->uid, fuse ? opts->n_uid : 0);
}

/* Inheritable := permitted, then ambient := inheritable. */
static int raise_ambient(void)
{
    struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &hdr, data) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        data[i].inheritable = data[i].permitted;
    if (syscall(SYS_capset, &hdr, data) < 0)
        return -errno;
    for (unsigned long cap = 0; cap < 64; cap++)
        if (data[cap / 32].permitted & (1U << (cap % 32)) &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return -errno;
    return 0;
}

int namespaces_become_root(void)
{
    /* The raw calls: glibc's wrappers want to tell threads we do not have,
     * in a process made by clone(2). */
    if (syscall(SYS_setresgid, 0, 0, 0) < 0 && errno != EINVAL)
        return -errno;
    if (syscall(SYS_setresuid, 0, 0, 0) == 0)
        return 0;
    /* The user's map has no id 0. */
    return errno == EINVAL ? raise_ambient() : -errno;
}
