/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"

#define PID_TRIES 16

static int fail(const char *what, const char *name)
{
    int ret = -errno;

    log_err("socket: %s: %s: %s", name, what, strerror(-ret));
    return ret;
}

/* Fills in dir_fd, name and pid_name. */
static int split_path(struct listener *l, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
    size_t dirlen = slash ? (size_t)(slash - path) + 1 : 0;

    if (strlen(path) >= sizeof(dir)) {
        log_err("socket: %s: a socket's path may have %zu bytes at most; "
                "take a shorter or a relative one",
                path, sizeof(dir) - 1);
        return -ENAMETOOLONG;
    }
    if (*name == '\0') {
        log_err("socket: \"%s\": no name of a socket", path);
        return -EINVAL;
    }
    snprintf(l->name, sizeof(l->name), "%s", name);
    snprintf(l->pid_name, sizeof(l->pid_name), "%s.pid", name);
    snprintf(dir, sizeof(dir), "%.*s", (int)dirlen, path);
    l->dir_fd = open(dirlen ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return l->dir_fd < 0 ? fail("directory", path) : 0;
}

static void tell_holder(int fd, const char *path)
{
    char text[24] = "";

    if (pread(fd, text, sizeof(text) - 1, 0) < 0)
        text[0] = '\0';
    log_err("socket: %s: already in use by pid %ld", path,
            strtol(text, NULL, 10));
}

/* Is the file we locked still the one under that name?  The daemon before us
 * may have removed it between our open and our lock. */
static bool is_current(struct listener *l, int fd)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 &&
           fstatat(l->dir_fd, l->pid_name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int lock_pid_file(struct listener *l, const char *path)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    for (int try = 0; try < PID_TRIES; try++) {
        auto_fd fd = openat(
            l->dir_fd, l->pid_name,
            O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

        if (fd < 0)
            return fail("pid file", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno != EWOULDBLOCK)
                return fail("lock of the pid file", path);
            tell_holder(fd, path);
            return -EBUSY;
        }
        if (!is_current(l, fd))
            continue;
        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
            return fail("write of the pid file", path);
        l->pid_fd = take_fd(&fd);
        return 0;
    }
    errno = EAGAIN;
    return fail("pid file", path);
}

/* What a daemon that was killed left behind may be replaced, nothing else. */
static bool is_free(struct listener *l, const char *name)
{
    struct stat st;

    return fstatat(l->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
           S_ISSOCK(st.st_mode);
}

static int check_old(struct listener *l, const char *path)
{
    if (is_free(l, l->name))
        return 0;
    log_err("socket: %s: there is something there which is no socket; "
            "it is not removed",
            path);
    return -EEXIST;
}

/* Whoever may write to the socket may speak to us. */
static int bind_socket(int fd, const struct sockaddr_un *sun, bool group)
{
    mode_t old = umask(group ? 0007 : 0077);
    int ret = 0;

    if (bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0)
        ret = fail("bind", sun->sun_path);
    umask(old);
    return ret;
}

static int find_group(const char *name, gid_t *gid)
{
    struct group *g;

    errno = 0;
    g = getgrnam(name);
    if (!g) {
        log_err("socket: no group \"%s\" on this system", name);
        return errno ? -errno : -ENOENT;
    }
    *gid = g->gr_gid;
    return 0;
}

/* Make the socket under @name, ready for a client. */
static int listen_as(struct listener *l, const struct sockaddr_un *sun,
                     const char *name, const gid_t *gid)
{
    struct stat st;

    if (fstatat(l->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail("stat", sun->sun_path);
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    if (gid &&
        fchownat(l->dir_fd, name, (uid_t)-1, *gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fail("change of its group", sun->sun_path);
    return listen(l->fd, 1) < 0 ? fail("listen", sun->sun_path) : 0;
}

/*
 * A launcher may wait for the name to appear and connect at once, so the name
 * appears last: the socket is made as "NAME~" and renamed when it listens,
 * also over one that was left behind.  Where that other name can not be had,
 * the socket is made under its own.
 */
static int bind_and_listen(struct listener *l, const char *path,
                           const gid_t *gid)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    char name[sizeof(l->name) + 1];
    const char *suffix = "~";
    int ret;

    snprintf(name, sizeof(name), "%s~", l->name);
    if (strlen(path) + 1 >= sizeof(sun.sun_path) || !is_free(l, name)) {
        suffix = "";
        name[strlen(l->name)] = '\0';
    }
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s%s", path, suffix);
    if (unlinkat(l->dir_fd, name, 0) < 0 && errno != ENOENT)
        return fail("removal of the old socket", sun.sun_path);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return fail("socket", path);
    ret = bind_socket(l->fd, &sun, gid);
    if (ret < 0)
        return ret;
    ret = listen_as(l, &sun, name, gid);
    if (ret == 0 && renameat(l->dir_fd, name, l->dir_fd, l->name) < 0)
        ret = fail("rename", sun.sun_path);
    if (ret < 0)
        (void)unlinkat(l->dir_fd, name, 0);
    l->have_socket = ret == 0;
    return ret;
}

int listener_make(struct listener *l, const char *path, const char *group)
{
    gid_t gid = (gid_t)-1;
    int ret;

    ret = split_path(l, path);
    if (ret == 0 && group)
        ret = find_group(group, &gid);
    if (ret == 0)
        ret = lock_pid_file(l, path);
    if (ret == 0)
        ret = check_old(l, path);
    if (ret == 0)
        ret = bind_and_listen(l, path, group ? &gid : NULL);
    if (ret < 0)
        listener_close(l);
    return ret;
}

static bool sockopt_is(int fd, int option, int want)
{
    socklen_t len = sizeof(int);
    int got;

    return getsockopt(fd, SOL_SOCKET, option, &got, &len) == 0 && got == want;
}

int listener_adopt(struct listener *l, int fd)
{
    l->fd = fd;
    if (!sockopt_is(fd, SO_DOMAIN, AF_UNIX) ||
        !sockopt_is(fd, SO_TYPE, SOCK_STREAM) ||
        !sockopt_is(fd, SO_ACCEPTCONN, 1)) {
        log_err("socket: --fd=%d: not a listening Unix stream socket", fd);
        listener_close(l);
        return -EINVAL;
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        int ret = fail("fcntl", "--fd");

        listener_close(l);
        return ret;
    }
    return 0;
}

int listener_accept(struct listener *l, int *client)
{
    *client = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    if (*client < 0) {
        if (errno == EINTR || errno == ECONNABORTED)
            return -EAGAIN;
        return errno == EAGAIN ? -EAGAIN : fail("accept", "listener");
    }
    /* The launcher may hold a copy of the fd: closing ours would leave the
     * socket listening, and a second front-end waiting for ever. */
    shutdown(l->fd, SHUT_RDWR);
    fd_close(&l->fd);
    return 0;
}

void listener_close(struct listener *l)
{
    struct stat st;

    fd_close(&l->fd);
    if (l->have_socket &&
        fstatat(l->dir_fd, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == l->dev && st.st_ino == l->ino &&
        unlinkat(l->dir_fd, l->name, 0) < 0)
        log_warn("socket: can not remove %s: %s", l->name, strerror(errno));
    l->have_socket = false;
    /* Before the lock goes: else a successor's file might be removed. */
    if (l->pid_fd >= 0 && unlinkat(l->dir_fd, l->pid_name, 0) < 0)
        log_warn("socket: can not remove %s: %s", l->pid_name, strerror(errno));
    fd_close(&l->pid_fd);
    fd_close(&l->dir_fd);
}
