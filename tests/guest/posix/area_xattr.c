/* SPDX-License-Identifier: BSD-3-Clause */
/* Extended attributes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

/* The names of @path in order, each followed by a space. */
static void names(const char *label, const char *path)
{
    char list[4096], out[700] = "", *at[32];
    ssize_t len = llistxattr(path, list, sizeof(list));
    int n = 0;

    if (len < 0) {
        see(label, -1);
        return;
    }
    for (char *p = list; p < list + len && n < 32; p += strlen(p) + 1) {
        int i = n++;

        /* A host's own labels are no part of the case. */
        if (!strncmp(p, "security.selinux", 16)) {
            n--;
            continue;
        }
        for (; i > 0 && strcmp(at[i - 1], p) > 0; i--)
            at[i] = at[i - 1];
        at[i] = p;
    }
    for (int i = 0; i < n; i++) {
        strncat(out, at[i], 60);
        strcat(out, " ");
    }
    tell(label, "%s", out);
}

static void user(void)
{
    char buf[64];
    int fd;

    make("f", 0644, "text");
    if (see("set", setxattr("f", "user.one", "value", 5, 0)) < 0)
        return;
    bytes("get", buf, getxattr("f", "user.one", buf, 64), "value");
    eq("length", getxattr("f", "user.one", NULL, 0), 5);
    want(ERANGE, "no room", getxattr("f", "user.one", buf, 3));
    want(ENODATA, "missing", getxattr("f", "user.two", buf, 64));
    want(0, "replace", setxattr("f", "user.one", "other", 5, XATTR_REPLACE));
    want(EEXIST, "create", setxattr("f", "user.one", "x", 1, XATTR_CREATE));
    want(ENODATA, "replace a missing",
         setxattr("f", "user.two", "x", 1, XATTR_REPLACE));
    want(0, "create a missing", setxattr("f", "user.two", "", 0, XATTR_CREATE));
    eq("empty", getxattr("f", "user.two", buf, 64), 0);
    want(EINVAL, "flags", setxattr("f", "user.x", "x", 1, 4));
    names("names", "f");
    want(ERANGE, "list without room", listxattr("f", buf, 3));
    fd = open("f", O_RDONLY);
    want(0, "fsetxattr", fsetxattr(fd, "user.three", "\0\1\377", 3, 0));
    bytes("fgetxattr", buf, fgetxattr(fd, "user.three", buf, 64), NULL);
    want(0, "remove", removexattr("f", "user.one"));
    want(ENODATA, "twice", removexattr("f", "user.one"));
    want(0, "fremovexattr", fremovexattr(fd, "user.two"));
    names("left", "f");
    need(rename("f", "g") == 0, "rename");
    names("after a rename", "g");
    want(0, "unlink", unlink("g"));
    bytes("unlinked", buf, fgetxattr(fd, "user.three", buf, 64), NULL);
    want(ENOENT, "missing file", setxattr("none", "user.x", "x", 1, 0));
}

static void limits(void)
{
    char *value = malloc(70000), *back = malloc(70000);
    char name[300];

    need(value && back, "memory");
    pattern(value, 70000, 0);
    make("f", 0644, "text");
    memset(name, 'n', sizeof(name));
    memcpy(name, "user.", 5);
    name[255] = '\0';
    if (see("name of 255", setxattr("f", name, "x", 1, 0)) < 0)
        return;
    name[255] = 'n';
    name[256] = '\0';
    want(ERANGE, "name of 256", setxattr("f", name, "x", 1, 0));
    see("no name", setxattr("f", "user.", "x", 1, 0));
    see("empty", setxattr("f", "", "x", 1, 0));
    see("no class", setxattr("f", "one", "x", 1, 0));
    see("unknown class", setxattr("f", "other.one", "x", 1, 0));
    see("2000 bytes", setxattr("f", "user.v", value, 2000, 0));
    eq("back", getxattr("f", "user.v", back, 70000), 2000);
    truth("the same", is_pattern(back, 2000, 0), true);
    see("40000 bytes", setxattr("f", "user.w", value, 40000, 0));
    see("65536 bytes", setxattr("f", "user.w", value, 65536, 0));
    want(E2BIG, "65537 bytes", setxattr("f", "user.w", value, 65537, 0));
    want(0, "remove", removexattr("f", "user.v"));
}

static void kinds_of_file(void)
{
    make_dir("d", 0755);
    make("f", 0644, "x");
    need(symlink("f", "l") == 0 && mkfifo("p", 0644) == 0, "make");
    see("directory", setxattr("d", "user.x", "x", 1, 0));
    names("of it", "d");
    see("through a link", setxattr("l", "user.x", "x", 1, 0));
    names("of its target", "f");
    see("a link", lsetxattr("l", "user.x", "x", 1, 0));
    see("get of a link", lgetxattr("l", "user.x", NULL, 0));
    names("link", "l");
    see("a fifo", setxattr("p", "user.x", "x", 1, 0));
    see("get of a fifo", getxattr("p", "user.x", NULL, 0));
    names("fifo", "p");
    see("trusted of a fifo", setxattr("p", "trusted.x", "x", 1, 0));
    see("trusted of a link", lsetxattr("l", "trusted.x", "x", 1, 0));
    need(chmod("d", 01777) == 0, "chmod");
    if (as(&carol)) {
        see("sticky directory of another", setxattr("d", "user.y", "x", 1, 0));
        over();
    }
}

static void who_may(void)
{
    make("f", 0640, "text");
    own("f", alice.uid, CREW);
    if (see("set", setxattr("f", "user.x", "x", 1, 0)) < 0)
        return;
    if (as(&alice)) {
        want(0, "owner", setxattr("f", "user.y", "y", 1, 0));
        want(EPERM, "trusted", setxattr("f", "trusted.y", "y", 1, 0));
        see("get trusted", getxattr("f", "trusted.y", NULL, 0));
        see("security", setxattr("f", "security.y", "y", 1, 0));
        over();
    }
    if (as(&bob)) {
        want(EACCES, "reader sets", setxattr("f", "user.y", "y", 1, 0));
        want(0, "reader gets", getxattr("f", "user.x", NULL, 0));
        want(EACCES, "reader removes", removexattr("f", "user.x"));
        names("reader lists", "f");
        over();
    }
    if (as(&carol)) {
        want(EACCES, "other gets", getxattr("f", "user.x", NULL, 0));
        names("other lists", "f");
        over();
    }
    see("root sets trusted", setxattr("f", "trusted.t", "t", 1, 0));
    names("root lists", "f");
    if (as(&alice)) {
        names("the owner lists", "f");
        over();
    }
    see("root sets security", setxattr("f", "security.z", "z", 1, 0));
    see("root sets system", setxattr("f", "system.z", "z", 1, 0));
}

/* cap_net_raw+ep, as setcap(8) writes it. */
static const unsigned char caps[20] = { 1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0,
                                        0, 0, 0, 0, 0, 0,    0, 0, 0, 0 };

static void capabilities(void)
{
    make("f", 0777, "text");
    if (see("set", setxattr("f", "security.capability", caps, 20, 0)) < 0)
        return;
    see("get", getxattr("f", "security.capability", NULL, 0));
    if (as(&carol)) {
        close(open("f", O_RDONLY));
        see("after a read", getxattr("f", "security.capability", NULL, 0));
        need(write(open("f", O_WRONLY), "x", 1) == 1, "write");
        see("after a write", getxattr("f", "security.capability", NULL, 0));
        over();
    }
    see("set again", setxattr("f", "security.capability", caps, 20, 0));
    need(truncate("f", 1) == 0, "truncate");
    see("after a truncate", getxattr("f", "security.capability", NULL, 0));
    see("and again", setxattr("f", "security.capability", caps, 20, 0));
    need(chown("f", alice.uid, alice.gid) == 0, "chown");
    see("after a chown", getxattr("f", "security.capability", NULL, 0));
    see("once more", setxattr("f", "security.capability", caps, 20, 0));
    need(write(open("f", O_WRONLY), "x", 1) == 1, "write");
    see("after root's write", getxattr("f", "security.capability", NULL, 0));
    if (as(&alice)) {
        see("by alice", setxattr("f", "security.capability", caps, 20, 0));
        over();
    }
}

static void changes_ctime(void)
{
    struct stat a, b;

    make("f", 0644, "text");
    need(stat("f", &a) == 0, "stat");
    moment();
    if (see("set", setxattr("f", "user.x", "x", 1, 0)) < 0)
        return;
    need(stat("f", &b) == 0, "stat");
    truth("ctime moves", a.st_ctim.tv_nsec != b.st_ctim.tv_nsec, true);
    truth("mtime stays", a.st_mtim.tv_nsec == b.st_mtim.tv_nsec, true);
}

AREA(xattr, CASE(user), CASE(limits), CASE(kinds_of_file), CASE(who_may),
     CASE(capabilities), CASE(changes_ctime));
