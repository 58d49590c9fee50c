/* SPDX-License-Identifier: BSD-3-Clause */
/* Links of both kinds, and what is left when names are removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static void hard(void)
{
    struct stat a, b;

    make("f", 0644, "text");
    make_dir("d", 0755);
    want(0, "link", link("f", "g"));
    look("one", "f");
    look("other", "g");
    need(stat("f", &a) == 0 && stat("g", &b) == 0, "stat");
    truth("same inode", a.st_ino == b.st_ino && a.st_dev == b.st_dev, true);
    want(0, "in a directory", link("f", "d/h"));
    look("three", "f");
    want(0, "chmod", chmod("d/h", 0600));
    look("seen by all", "g");
    need(truncate("g", 2) == 0, "truncate");
    content("one content", "f", "te");
    want(EEXIST, "onto a name", link("f", "g"));
    want(EEXIST, "onto a directory", link("f", "d"));
    want(EPERM, "a directory", link("d", "e"));
    want(ENOENT, "missing", link("none", "x"));
    want(ENOENT, "into nothing", link("f", "none/x"));
    want(ENOTDIR, "below a file", link("f", "g/x"));
    want(0, "unlink", unlink("f"));
    look("two left", "g");
    want(0, "unlink another", unlink("d/h"));
    look("one left", "g");
    want(ENOENT, "twice", unlink("f"));
}

static void hard_of_a_link(void)
{
    make("f", 0644, "text");
    need(symlink("f", "soft") == 0, "symlink");
    want(0, "of the link itself", link("soft", "l"));
    look("is", "l");
    look("two of them", "soft");
    want(0, "of what it names",
         linkat(AT_FDCWD, "soft", AT_FDCWD, "g", AT_SYMLINK_FOLLOW));
    look("is then", "g");
    need(mkfifo("p", 0644) == 0, "mkfifo");
    want(0, "of a fifo", link("p", "q"));
    look("fifo", "q");
}

static void many_links(void)
{
    struct stat st;
    int n;

    make("f", 0644, "x");
    for (n = 0; n < 300; n++) {
        if (link("f", fmt("l%d", n)) < 0)
            break;
    }
    need(stat("f", &st) == 0, "stat");
    eq("made", n, 300);
    eq("counted", (long long)st.st_nlink, 301);
    for (n = 0; n < 300; n += 2)
        need(unlink(fmt("l%d", n)) == 0, "unlink");
    need(stat("l1", &st) == 0, "stat");
    eq("half", (long long)st.st_nlink, 151);
}

static void protected_links(void)
{
    make("f", 0600, "secret");
    make("w", 0666, "text");
    make("s", 06777, "x");
    make_dir("t", 0755);
    need(chmod(".", 0777) == 0 && chmod("t", 01777) == 0, "chmod");
    if (as(&carol)) {
        see("of what one may not write", link("f", "a"));
        see("of what one may write", link("w", "b"));
        see("of what has set-id bits", link("s", "c"));
        need(symlink("../w", "t/hers") == 0, "symlink");
        over();
    }
    if (as(&bob)) {
        see("a stranger's link in a sticky directory",
            open("t/hers", O_RDONLY));
        over();
    }
}

static void soft(void)
{
    char buf[64], *p;
    char text[4200];

    make("f", 0644, "text");
    want(0, "made", symlink("f", "l"));
    look("is", "l");
    bytes("names", buf, readlink("l", buf, 64), "f");
    bytes("cut", buf, readlink("l", buf, 1), "f");
    want(EINVAL, "no room", readlink("l", buf, 0));
    want(EINVAL, "of a file", readlink("f", buf, 64));
    want(EEXIST, "over a name", symlink("x", "f"));
    want(EEXIST, "over a link", symlink("x", "l"));
    want(ENOENT, "empty target", symlink("", "e"));
    want(0, "nonsense target", symlink("//\001\377 x/", "n"));
    bytes("kept", buf, readlink("n", buf, 64), "//\001\377 x/");
    memset(text, 'x', sizeof(text));
    text[4095] = '\0';
    for (p = text + 200; p < text + 4095; p += 200)
        *p = '/';
    want(0, "a target of 4095", symlink(text, "long"));
    look("long", "long");
    p = text + 4095;
    *p = 'y';
    text[4096] = '\0';
    want(ENAMETOOLONG, "a target of 4096", symlink(text, "longer"));
    for (int n = 50; n < 70; n++) {
        text[n] = '\0';
        want(0, fmt("target of %d", n), symlink(text, fmt("t%d", n)));
        eq("length", readlink(fmt("t%d", n), buf, 64), n < 64 ? n : 64);
        text[n] = 'x';
    }
}

static void slashes(void)
{
    struct stat st;

    make("f", 0644, "text");
    make_dir("d", 0755);
    need(symlink("d", "ld") == 0 && symlink("f", "lf") == 0, "symlink");
    need(symlink("none", "dangling") == 0, "symlink");
    want(0, "link to a directory/", lstat("ld/", &st));
    truth("is the directory", S_ISDIR(st.st_mode), true);
    want(ENOTDIR, "link to a file/", lstat("lf/", &st));
    want(ENOENT, "dangling/", lstat("dangling/", &st));
    want(ENOENT, "mkdir dangling/", mkdir("dangling2/x", 0755));
    want(EEXIST, "mkdir over dangling/", mkdir("dangling/", 0755));
    want(ENOTDIR, "rmdir ld/", rmdir("ld/"));
    want(ENOTDIR, "unlink lf/", unlink("lf/"));
    want(ENOTDIR, "unlink f/", unlink("f/"));
    want(0, "unlink lf", unlink("lf"));
    look("target stays", "f");
    want(ENOTDIR, "rmdir link", rmdir("ld"));
    want(0, "mkdir n/", mkdir("n/", 0755));
    want(0, "rmdir n/", rmdir("n/"));
    want(ENOENT, "symlink x/", symlink("t", "x/"));
}

static void removal(void)
{
    make_dir("d", 0755);
    make("d/f", 0644, "x");
    want(EISDIR, "unlink a directory", unlink("d"));
    want(ENOTEMPTY, "rmdir a full one", rmdir("d"));
    want(ENOTDIR, "rmdir a file", rmdir("d/f"));
    want(EINVAL, "rmdir dot", rmdir("d/."));
    want(ENOTEMPTY, "rmdir dot dot", rmdir("d/.."));
    want(ENOENT, "rmdir nothing", rmdir("none"));
    want(0, "unlink", unlink("d/f"));
    want(0, "rmdir", rmdir("d"));
    look("links here", ".");
    make_dir("a", 0755);
    make_dir("a/b", 0755);
    look("a parent's links", "a");
    want(0, "rmdir b", rmdir("a/b"));
    look("one less", "a");
}

static void open_but_removed(void)
{
    char buf[4096];
    struct stat st;
    int fd, two;

    make("f", 0644, "text");
    fd = open("f", O_RDWR);
    want(0, "unlink", unlink("f"));
    look_fd("is", fd);
    bytes("reads", buf, pread(fd, buf, 16, 0), "text");
    memset(buf, 'y', sizeof(buf));
    for (int i = 0; i < 40; i++)
        need(pwrite(fd, buf, 4096, i * 4096) == 4096, "write");
    want(0, "fsync", fsync(fd));
    want(0, "ftruncate", ftruncate(fd, 7));
    want(0, "fchmod", fchmod(fd, 0600));
    want(0, "fchown", fchown(fd, alice.uid, alice.gid));
    want(0, "futimens", futimens(fd, NULL));
    look_fd("then", fd);
    want(ENOENT, "its name", stat("f", &st));
    two = open(fmt("/proc/self/fd/%d", fd), O_RDWR);
    want(0, "opened again", two);
    bytes("reads too", buf, pread(two, buf, 16, 0), "yyyyyyy");
    make("f", 0644, "another");
    content("a new one of the name", "f", "another");
    bytes("not the old one", buf, pread(fd, buf, 16, 0), "yyyyyyy");
    see("a name again", linkat(AT_FDCWD, fmt("/proc/self/fd/%d", fd), AT_FDCWD,
                               "again", AT_SYMLINK_FOLLOW));
    if (as(&root)) {
        bytes("in a child", buf, pread(fd, buf, 16, 0), "yyyyyyy");
        over();
    }
}

static void a_removed_directory(void)
{
    struct stat st;
    int dir;

    make_dir("d", 0755);
    dir = open("d", O_RDONLY | O_DIRECTORY);
    need(chdir("d") == 0, "chdir");
    want(0, "rmdir", rmdir("../d"));
    want(ENOENT, "create", open("f", O_CREAT | O_RDWR, 0644));
    want(ENOENT, "mkdir", mkdir("e", 0755));
    want(ENOENT, "symlink", symlink("x", "l"));
    want(ENOENT, "mkfifo", mkfifo("p", 0644));
    want(ENOENT, "link",
         link("/proc/self/cmdline", "p") < 0 && errno == EXDEV
             ? (errno = ENOENT, -1)
             : -1);
    want(ENOENT, "stat a name", stat("f", &st));
    look("dot", ".");
    look_fd("descriptor", dir);
    want(ENOENT, "openat", openat(dir, "f", O_CREAT | O_RDWR, 0644));
    want(0, "dot dot", stat("..", &st));
    want(0, "out again", chdir(".."));
    look("parent", ".");
}

static void at_a_descriptor(void)
{
    int d;

    make_dir("d", 0755);
    d = open("d", O_RDONLY | O_DIRECTORY);
    want(0, "mkdirat", mkdirat(d, "sub", 0755));
    want(0, "symlinkat", symlinkat("t", d, "l"));
    want(0, "openat", openat(d, "f", O_CREAT | O_RDWR, 0644));
    want(0, "linkat", linkat(d, "f", d, "g", 0));
    want(0, "renameat", renameat(d, "g", d, "h"));
    want(0, "mkfifoat", mkfifoat(d, "p", 0644));
    want(0, "unlinkat", unlinkat(d, "h", 0));
    want(EISDIR, "unlinkat a directory", unlinkat(d, "sub", 0));
    want(0, "unlinkat with rmdir", unlinkat(d, "sub", AT_REMOVEDIR));
    want(ENOTDIR, "rmdir of a file", unlinkat(d, "f", AT_REMOVEDIR));
    want(ENOTDIR, "below a file descriptor",
         openat(open("d/f", O_RDONLY), "x", O_RDONLY));
    want(EBADF, "bad descriptor", openat(999, "x", O_RDONLY));
}

AREA(link, CASE(hard), CASE(hard_of_a_link), CASE(many_links),
     CASE(protected_links), CASE(soft), CASE(slashes), CASE(removal),
     CASE(open_but_removed), CASE(a_removed_directory), CASE(at_a_descriptor));
