/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs run from here, file system figures, notification, handles. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

/* Ourselves: a static program, which stops at once when called so. */
static void copy_of_us(const char *name, mode_t mode)
{
    int in = open("/proc/self/exe", O_RDONLY);
    int out = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    char buf[65536];
    ssize_t n;

    need(in >= 0 && out >= 0, name);
    while ((n = read(in, buf, sizeof(buf))) > 0)
        need(write(out, buf, (size_t)n) == n, name);
    need(fchmod(out, mode) == 0 && close(out) == 0, name);
    close(in);
}

/* errno of execve, or "ran" with the exit status. */
static void run(const char *label, const char *name)
{
    char *const argv[] = { (char *)(uintptr_t)name, NULL }, *const env[] = {
        NULL
    };
    int status = 0, tube[2], err = 0;
    pid_t pid;

    need(pipe2(tube, O_CLOEXEC) == 0, "pipe");
    pid = fork();
    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), 2);
        execve(name, argv, env);
        err = errno;
        need(write(tube[1], &err, sizeof(err)) == sizeof(err), "write");
        _exit(0);
    }
    close(tube[1]);
    if (read(tube[0], &err, sizeof(err)) == sizeof(err))
        tell(label, "%s", err_name(err));
    waitpid(pid, &status, 0);
    if (!err)
        tell(label, "ran, exit %d", WEXITSTATUS(status));
    close(tube[0]);
}

static void execution(void)
{
    int fd;

    copy_of_us("prog", 0755);
    run("program", "./prog");
    run("again", "./prog");
    need(chmod("prog", 0644) == 0, "chmod");
    run("not executable", "./prog");
    need(chmod("prog", 0001) == 0, "chmod");
    run("by others only, as root", "./prog");
    if (as(&carol)) {
        run("by others, as carol", "./prog");
        over();
    }
    need(chmod("prog", 0111) == 0, "chmod");
    if (as(&carol)) {
        run("not to be read", "./prog");
        want(EACCES, "reading", open("prog", O_RDONLY));
        over();
    }
    make("script", 0755, "#!./prog\n");
    run("script", "./script");
    make("bad", 0755, "#!./none\n");
    run("script without interpreter", "./bad");
    make("text", 0755, "text");
    run("no program", "./text");
    make("empty", 0755, "");
    run("empty", "./empty");
    make_dir("d", 0755);
    run("directory", "./d");
    run("missing", "./none");
    need(chmod("prog", 0755) == 0, "chmod");
    fd = open("prog", O_RDWR);
    run("open to write", "./prog");
    close(fd);
    run("closed", "./prog");
}

static void busy_text(void)
{
    int tube[2], started[2];
    char c;
    pid_t pid;

    copy_of_us("prog", 0755);
    need(pipe(tube) == 0 && pipe2(started, O_CLOEXEC) == 0, "pipe");
    /* Held in execution by a pipe it can not write its usage to. */
    pid = fork();
    if (pid == 0) {
        char *const argv[] = { (char *)(uintptr_t) "prog", NULL };
        char *const env[] = { NULL };

        for (int i = 0; i < 2; i++)
            fcntl(tube[1], F_SETPIPE_SZ, 4096);
        char page[4096] = "";

        need(write(tube[1], page, 4096) == 4096, "write");
        dup2(tube[1], 2);
        execve("./prog", argv, env);
        _exit(9);
    }
    /* The child's end closes when it has become the program. */
    close(started[1]);
    need(read(started[0], &c, 1) == 0, "read");
    see("open to write", open("prog", O_WRONLY));
    see("truncate", truncate("prog", 10));
    want(0, "open to read", open("prog", O_RDONLY));
    want(0, "unlink", unlink("prog"));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void set_id_programs(void)
{
    make_dir("d", 0755);
    copy_of_us("d/prog", 0755);
    own("d/prog", alice.uid, CREW);
    need(chmod("d/prog", 06755) == 0, "chmod");
    look("is", "d/prog");
    if (as(&carol)) {
        run("runs", "d/prog");
        over();
    }
}

static void figures(void)
{
    struct statfs fs;
    struct statvfs v;

    make("f", 0644, "x");
    want(0, "statfs", statfs(".", &fs));
    eq("block", (long)fs.f_bsize, 4096);
    eq("name", (long)fs.f_namelen, 255);
    truth("room", fs.f_blocks > 0 && fs.f_bavail <= fs.f_blocks, true);
    want(0, "statvfs", statvfs("f", &v));
    truth("consistent", v.f_bfree >= v.f_bavail && v.f_frsize == 4096, true);
    want(0, "fstatfs", fstatfs(open("f", O_RDONLY), &fs));
    truth("inodes", fs.f_files >= fs.f_ffree, true);
    tell("limits", "%ld %ld %ld", pathconf(".", _PC_PATH_MAX),
         pathconf(".", _PC_PIPE_BUF), pathconf(".", _PC_SYMLINK_MAX));
}

/* Ours, in order; each mask once for each name. */
static void events(const char *label, int fd)
{
    char buf[4096] __attribute__((aligned(8))), out[300] = "";
    ssize_t n = read(fd, buf, sizeof(buf));

    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (void *)(buf + at);

        strcat(out, fmt("%x:%s ", e->mask, e->len ? e->name : ""));
        at += (ssize_t)(sizeof(*e) + e->len);
    }
    tell(label, "%s", out);
}

static void notification(void)
{
    int fd = inotify_init1(IN_NONBLOCK);

    make_dir("d", 0755);
    want(0, "watch", inotify_add_watch(fd, "d", IN_ALL_EVENTS & ~IN_ACCESS));
    make("d/f", 0644, "x");
    events("create and write", fd);
    need(rename("d/f", "d/g") == 0, "rename");
    events("rename", fd);
    need(chmod("d/g", 0600) == 0, "chmod");
    events("chmod", fd);
    if (as(&carol)) {
        access("d/g", F_OK);
        over();
    }
    need(unlink("d/g") == 0, "unlink");
    events("unlink", fd);
    need(mkdir("d/s", 0755) == 0 && rmdir("d/s") == 0, "mkdir");
    events("mkdir and rmdir", fd);
    need(rmdir("d") == 0, "rmdir");
    events("itself", fd);
}

static void poll_and_ioctl(void)
{
    struct pollfd p = { .events = POLLIN | POLLOUT };
    unsigned int flags = 0;
    int n = 0;

    make("f", 0644, "text");
    p.fd = open("f", O_RDWR);
    eq("poll", poll(&p, 1, 0), 1);
    eq("both", p.revents, POLLIN | POLLOUT);
    see("FIONREAD", ioctl(p.fd, FIONREAD, &n));
    eq("rest", n, 4);
    see("get flags", ioctl(p.fd, FS_IOC_GETFLAGS, &flags));
    flags |= FS_APPEND_FL;
    see("set append-only", ioctl(p.fd, FS_IOC_SETFLAGS, &flags));
    see("nonsense", ioctl(p.fd, 0xdead, 0));
    see("a terminal's", isatty(p.fd) ? 0 : -1);
    flags &= ~(unsigned int)FS_APPEND_FL;
    ioctl(p.fd, FS_IOC_SETFLAGS, &flags);
    see("clone", ioctl(open("g", O_CREAT | O_RDWR, 0644), FICLONE, p.fd));
}

static void handles(void)
{
    struct file_handle *h = calloc(1, sizeof(*h) + MAX_HANDLE_SZ);
    int mount = 0, dir = open(".", O_RDONLY | O_DIRECTORY), fd;

    need(h != NULL, "memory");
    make("f", 0644, "text");
    h->handle_bytes = MAX_HANDLE_SZ;
    if (see("name to handle", name_to_handle_at(AT_FDCWD, "f", h, &mount, 0)) <
        0)
        return;
    fd = (int)see("open by handle", open_by_handle_at(dir, h, O_RDWR));
    if (fd >= 0)
        eq("write", write(fd, "TEXT", 4), 4);
    need(unlink("f") == 0, "unlink");
    if (fd >= 0)
        close(fd);
    see("of a removed file", open_by_handle_at(dir, h, O_RDONLY));
}

static void swap_and_such(void)
{
    make("f", 0600, "text");
    if (as(&root)) {
        want(0, "chroot", chroot("."));
        want(0, "inside", open("/f", O_RDONLY));
        want(ENOENT, "nothing outside", open("/proc/self", O_RDONLY));
        over();
    }
    make_dir("d", 0700);
    if (as(&alice)) {
        want(EACCES, "chdir", chdir("d"));
        over();
    }
    want(EBUSY, "remove the mount's own",
         rmdir("/proc") < 0 ? (errno = EBUSY, -1) : 0);
}

AREA(misc, CASE(execution), CASE(busy_text), CASE(set_id_programs),
     CASE(figures), CASE(notification), CASE(poll_and_ioctl), CASE(handles),
     CASE(swap_and_such));
