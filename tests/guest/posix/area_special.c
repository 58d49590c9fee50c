/* SPDX-License-Identifier: BSD-3-Clause */
/* Fifos, sockets, devices: names on the share, life in this kernel. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static void fifo(void)
{
    char buf[16];
    int fd, w;
    pid_t pid;

    want(0, "made", mkfifo("p", 0644));
    look("is", "p");
    want(EEXIST, "again", mkfifo("p", 0644));
    want(ENXIO, "nobody reads", open("p", O_WRONLY | O_NONBLOCK));
    fd = (int)want(0, "to read", open("p", O_RDONLY | O_NONBLOCK));
    eq("nothing yet", read(fd, buf, 16), 0);
    w = (int)want(0, "to write", open("p", O_WRONLY | O_NONBLOCK));
    eq("write", write(w, "through", 7), 7);
    bytes("read", buf, read(fd, buf, 16), "through");
    want(EAGAIN, "empty", read(fd, buf, 16));
    want(ESPIPE, "seek", lseek(fd, 0, SEEK_SET));
    want(EINVAL, "truncate", ftruncate(w, 0));
    close(fd);
    want(EPIPE, "reader gone", write(w, "x", 1));
    close(w);
    pid = begin(&carol);
    if (pid == 0) {
        fd = open("p", O_RDONLY);
        bytes("in another process", buf, read(fd, buf, 16), "hello");
        over();
    }
    w = open("p", O_WRONLY);
    need(write(w, "hello", 5) == 5, "write");
    close(w);
    await(pid);
    want(0, "renamed", rename("p", "q"));
    want(0, "linked", link("q", "r"));
    look("still", "r");
    want(0, "chmod", chmod("q", 0600));
    look("mode", "r");
    want(0, "read and write", open("q", O_RDWR | O_NONBLOCK));
    want(0, "removed", unlink("q"));
}

static struct sockaddr_un address(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    return a;
}

static void unix_socket(void)
{
    struct sockaddr_un a = address("s"), b = address("t");
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c, n;
    char buf[16];
    pid_t pid;

    want(0, "bind", bind(s, (struct sockaddr *)&a, sizeof(a)));
    look("is", "s");
    want(EADDRINUSE, "again",
         bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a,
              sizeof(a)));
    want(ENXIO, "open", open("s", O_RDWR));
    want(0, "chmod", chmod("s", 0777));
    want(0, "listen", listen(s, 1));
    pid = begin(&carol);
    if (pid == 0) {
        c = socket(AF_UNIX, SOCK_STREAM, 0);
        want(0, "connect", connect(c, (struct sockaddr *)&a, sizeof(a)));
        need(write(c, "hello", 5) == 5, "write");
        over();
    }
    n = accept(s, NULL, NULL);
    bytes("says", buf, read(n, buf, 16), "hello");
    await(pid);
    want(0, "renamed", rename("s", "t"));
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    want(0, "by its new name", connect(c, (struct sockaddr *)&b, sizeof(b)));
    close(s);
    close(c);
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    want(ECONNREFUSED, "nobody listens",
         connect(c, (struct sockaddr *)&b, sizeof(b)));
    need(chmod("t", 0) == 0, "chmod");
    if (as(&carol)) {
        c = socket(AF_UNIX, SOCK_STREAM, 0);
        want(EACCES, "may not", connect(c, (struct sockaddr *)&b, sizeof(b)));
        over();
    }
    want(0, "removed", unlink("t"));
}

static void devices(void)
{
    struct stat st;
    char c = 'x';
    int fd;

    want(0, "null", mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    look("is", "null");
    need(stat("null", &st) == 0, "stat");
    tell("number", "%u:%u", major(st.st_rdev), minor(st.st_rdev));
    fd = (int)want(0, "open", open("null", O_RDWR));
    eq("write", write(fd, "x", 1), 1);
    eq("read", read(fd, &c, 1), 0);
    want(0, "zero", mknod("zero", S_IFCHR | 0600, makedev(1, 5)));
    fd = (int)want(0, "open zero", open("zero", O_RDWR));
    eq("read zero", read(fd, &c, 1), 1);
    eq("is zero", c, 0);
    want(0, "block", mknod("blk", S_IFBLK | 0600, makedev(7, 200)));
    look("block is", "blk");
    want(0, "large numbers",
         mknod("big", S_IFCHR | 0600, makedev(4095, 1048575)));
    need(stat("big", &st) == 0, "stat");
    tell("large", "%u:%u", major(st.st_rdev), minor(st.st_rdev));
    want(0, "a whiteout", mknod("wh", S_IFCHR, 0));
    look("whiteout", "wh");
    if (as(&carol)) {
        want(EACCES, "zero as carol", open("zero", O_RDWR));
        over();
    }
    need(chmod(".", 0777) == 0, "chmod");
    if (as(&alice)) {
        want(EPERM, "device by alice",
             mknod("hers", S_IFCHR | 0666, makedev(1, 3)));
        want(EPERM, "block by alice",
             mknod("hers", S_IFBLK | 0666, makedev(7, 0)));
        see("whiteout by alice", mknod("hersw", S_IFCHR, 0));
        over();
    }
}

static void mknod_of_the_rest(void)
{
    want(0, "regular", mknod("f", S_IFREG | 0644, 0));
    look("is", "f");
    want(0, "no type", mknod("g", 0640, 0));
    look("is regular", "g");
    want(0, "fifo", mknod("p", S_IFIFO | 0600, 0));
    look("p", "p");
    want(0, "socket", mknod("s", S_IFSOCK | 0755, 0));
    look("s", "s");
    want(ENXIO, "open a dead socket", open("s", O_RDONLY));
    want(EPERM, "directory", mknod("d", S_IFDIR | 0755, 0));
    want(EINVAL, "link", mknod("l", S_IFLNK | 0777, 0));
    want(EEXIST, "again", mknod("f", S_IFREG | 0644, 0));
    umask(0);
    want(0, "all bits", mknod("all", S_IFREG | 07777, 0));
    look("all", "all");
}

static void types_in_a_listing(void)
{
    static const char types[] = "?pc?d?b?-?l?s???";
    char got[8] = "???????";
    struct dirent *e;
    DIR *d;

    make("0", 0644, "x");
    make_dir("1", 0755);
    need(symlink("x", "2") == 0 && mkfifo("3", 0644) == 0, "make");
    need(mknod("4", S_IFSOCK | 0644, 0) == 0, "mknod");
    need(mknod("5", S_IFCHR | 0644, makedev(1, 3)) == 0, "mknod");
    need(mknod("6", S_IFBLK | 0644, makedev(7, 200)) == 0, "mknod");
    d = opendir(".");
    while ((e = readdir(d))) {
        if (e->d_name[0] >= '0')
            got[e->d_name[0] - '0'] = types[e->d_type & 15];
    }
    bytes("types", got, 7, "-dlpscb");
}

AREA(special, CASE(fifo), CASE(unix_socket), CASE(devices),
     CASE(mknod_of_the_rest), CASE(types_in_a_listing));
