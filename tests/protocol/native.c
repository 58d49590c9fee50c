/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/native.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static bool become(const struct native_who *who, const char *dir)
{
    /* First, while all directories above can still be passed. */
    if (chdir(dir) < 0 || setgroups(who->n_groups, who->groups) < 0 ||
        setresgid(who->gid, who->gid, who->gid) < 0 ||
        setresuid(who->uid, who->uid, who->uid) < 0)
        return false;
    umask(who->umask);
    return true;
}

int native_run(const struct native_who *who, const char *dir,
               int (*fn)(const void *), const void *arg)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(become(who, dir) ? -fn(arg) : ECHILD);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -ECHILD;
    return -WEXITSTATUS(status);
}

static void tell_attribute(const char *path, const char *name, char *to,
                           size_t room)
{
    uint8_t v[128];
    ssize_t n = lgetxattr(path, name, v, sizeof(v));

    to[0] = '\0';
    for (ssize_t i = 0; i < n && room > 3; i++, room -= 2, to += 2)
        snprintf(to, room, "%02x", v[i]);
}

const char *native_tell(const char *path)
{
    static char text[4][1024];
    static unsigned int turn;
    char *to = text[turn++ % 4], caps[260], access[260], inherit[260];
    struct stat st;

    if (lstat(path, &st) < 0) {
        snprintf(to, sizeof(text[0]), "%s", strerror(errno));
        return to;
    }
    tell_attribute(path, "security.capability", caps, sizeof(caps));
    tell_attribute(path, "system.posix_acl_access", access, sizeof(access));
    tell_attribute(path, "system.posix_acl_default", inherit, sizeof(inherit));
    snprintf(to, sizeof(text[0]),
             "mode %06o uid %u gid %u size %lld caps %s acl %s default %s",
             st.st_mode, st.st_uid, st.st_gid,
             S_ISREG(st.st_mode) ? (long long)st.st_size : 0, caps, access,
             inherit);
    return to;
}

bool native_set_caps(const char *path)
{
    struct vfs_cap_data caps = {
        .magic_etc = VFS_CAP_REVISION_2,
        .data[0].permitted = 1u << CAP_NET_RAW,
    };

    return setxattr(path, "security.capability", &caps, sizeof(caps), 0) == 0;
}
