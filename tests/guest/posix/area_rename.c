/* SPDX-License-Identifier: BSD-3-Clause */
/* rename(2), renameat2(2): what meets what. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static long with_flags(const char *from, const char *to, unsigned int flags)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static const char *const names[] = { "file",     "empty",   "full", "link",
                                     "dangling", "dirlink", "fifo", "none" };
#define N_KINDS 8

/* DIR/NAME of that kind, and what it stands on. */
static void kind(const char *dir, int which)
{
    const char *path = fmt("%s/%s", dir, names[which]);

    switch (which) {
    case 0:
        make(path, 0644, "file");
        break;
    case 1:
    case 2:
        make_dir(path, 0755);
        if (which == 2)
            make(fmt("%s/in", path), 0644, "in");
        break;
    case 3:
    case 4:
    case 5:
        need(symlink(which == 3   ? "file"
                     : which == 4 ? "none"
                                  : "full",
                     path) == 0,
             "symlink");
        break;
    case 6:
        need(mkfifo(path, 0644) == 0, "mkfifo");
        break;
    default:
        break;
    }
}

static void everything_over_everything(void)
{
    make_dir("a", 0755);
    make_dir("b", 0755);
    for (int a = 0; a < N_KINDS; a++) {
        for (int b = 0; b < N_KINDS; b++) {
            const char *from = fmt("a/%s", names[a]);
            const char *to = fmt("b/%s", names[b]);

            kind("a", a);
            kind("b", b);
            see(fmt("%s over %s", names[a], names[b]), rename(from, to));
            look("from", from);
            look("to", to);
            need(rename("a", fmt("a%d%d", a, b)) == 0, "rename");
            need(rename("b", fmt("b%d%d", a, b)) == 0, "rename");
            make_dir("a", 0755);
            make_dir("b", 0755);
        }
    }
}

static void exchanges(void)
{
    make_dir("a", 0755);
    make_dir("b", 0755);
    for (int a = 0; a < N_KINDS; a++) {
        for (int b = a; b < N_KINDS; b++) {
            const char *from = fmt("a/%s", names[a]);
            const char *to = fmt("b/%s", names[b]);

            kind("a", a);
            kind("b", b);
            see(fmt("%s with %s", names[a], names[b]),
                with_flags(from, to, RENAME_EXCHANGE));
            look("one", from);
            look("other", to);
            need(rename("a", fmt("a%d%d", a, b)) == 0, "rename");
            need(rename("b", fmt("b%d%d", a, b)) == 0, "rename");
            make_dir("a", 0755);
            make_dir("b", 0755);
        }
    }
}

static void no_replace(void)
{
    make_dir("d", 0755);
    for (int b = 0; b < N_KINDS; b++)
        kind("d", b);
    for (int b = 0; b < N_KINDS; b++) {
        make("d/new", 0644, "new");
        want(b == 7 ? 0 : EEXIST, fmt("over %s", names[b]),
             with_flags("d/new", fmt("d/%s", names[b]), RENAME_NOREPLACE));
    }
    content("a link's target", "d/link", "file");
    want(EEXIST, "onto itself",
         with_flags("d/file", "d/file", RENAME_NOREPLACE));
    want(EINVAL, "and exchange",
         with_flags("d/file", "d/fifo", RENAME_NOREPLACE | RENAME_EXCHANGE));
    want(EINVAL, "unknown flag", with_flags("d/file", "d/x", 0x100));
}

static void whiteout(void)
{
    make_dir("d", 0755);
    kind("d", 0);
    if (see("whiteout", with_flags("d/file", "d/moved", RENAME_WHITEOUT)) < 0)
        return;
    look("moved", "d/moved");
    look("in its place", "d/file");
    want(0, "removed", unlink("d/file"));
}

static void the_same_file(void)
{
    make("f", 0644, "text");
    need(link("f", "hard") == 0, "link");
    want(0, "onto itself", rename("f", "f"));
    want(0, "onto another name of it", rename("f", "hard"));
    look("both stay", "f");
    look("other", "hard");
    want(0, "exchange", with_flags("f", "hard", RENAME_EXCHANGE));
    look("after the exchange", "f");
    make_dir("d", 0755);
    want(0, "directory onto itself", rename("d", "d"));
    want(0, "by another path", rename("f", "./f"));
    want(0, "into a directory", rename("hard", "d/hard"));
    want(0, "onto the other there", rename("f", "d/hard"));
    look("first stays", "f");
}

static void directories(void)
{
    make_dir("a", 0755);
    make_dir("a/b", 0755);
    make_dir("a/b/c", 0755);
    make_dir("e", 0755);
    make("f", 0644, "x");
    want(EINVAL, "into itself", rename("a", "a/x"));
    want(EINVAL, "into what is below", rename("a", "a/b/c/x"));
    want(ENOTEMPTY, "onto a parent", rename("a/b/c", "a"));
    want(ENOTEMPTY, "onto a full one", rename("e", "a"));
    want(0, "onto an empty one", rename("a/b", "e"));
    look("parent lost a link", "a");
    look("took its place", "e");
    look("what was below", "e/c");
    want(0, "up", rename("e/c", "c"));
    look("here", ".");
    want(EBUSY, "dot", rename("c/.", "x"));
    want(EBUSY, "dot dot", rename("c/..", "x"));
    see("to dot", rename("c", "."));
    want(ENOTDIR, "file onto a slash", rename("f", "x/"));
    want(0, "directory onto a slash", rename("c", "x/"));
    want(0, "directory with slashes", rename("x/", "y/"));
    want(ENOTDIR, "file with a slash", rename("f/", "x"));
    want(ENOENT, "missing", rename("none", "x"));
    want(ENOENT, "to a missing parent", rename("f", "none/x"));
    want(ENOENT, "empty name", rename("", "x"));
    want(ENOENT, "to an empty name", rename("f", ""));
}

/* What is open, or one's own directory, goes along. */
static void what_is_open_goes_along(void)
{
    char buf[16];
    struct stat st, was;
    int fd, dir;

    make_dir("a", 0755);
    make("a/f", 0644, "text");
    fd = open("a/f", O_RDWR);
    dir = open("a", O_RDONLY | O_DIRECTORY);
    need(fstat(fd, &was) == 0, "stat");
    want(0, "file", rename("a/f", "a/g"));
    bytes("reads", buf, pread(fd, buf, 16, 0), "text");
    eq("writes", pwrite(fd, "TEXT", 4, 0), 4);
    content("by its new name", "a/g", "TEXT");
    want(0, "directory", rename("a", "b"));
    want(0, "openat", openat(dir, "g", O_RDONLY));
    want(ENOENT, "the old path", stat("a/g", &st));
    want(0, "the new path", stat("b/g", &st));
    truth("the same file", st.st_ino == was.st_ino, true);
    make("over", 0644, "over");
    fd = open("over", O_RDWR);
    want(0, "over an open file", rename("b/g", "over"));
    bytes("it reads still", buf, pread(fd, buf, 16, 0), "over");
    look_fd("has no name", fd);
    eq("writes", pwrite(fd, "OVER", 4, 0), 4);
    content("the new one", "over", "TEXT");
    need(chdir("b") == 0, "chdir");
    want(0, "own directory", rename("../b", "../c"));
    want(0, "a name here", open("new", O_CREAT | O_RDWR, 0644));
    want(0, "seen there", access("../c/new", F_OK));
    want(0, "dot dot", access("../over", F_OK));
}

static void two_at_once(void)
{
    pid_t one, two;
    int lost = 0;

    make_dir("a", 0755);
    make_dir("b", 0755);
    make("a/f", 0644, "text");
    one = begin(&root);
    if (one == 0) {
        for (int i = 0; i < 200; i++)
            rename("a/f", "b/f");
        over();
    }
    two = begin(&root);
    if (two == 0) {
        for (int i = 0; i < 200; i++)
            rename("b/f", "a/f");
        over();
    }
    for (int i = 0; i < 100; i++) {
        /* In either, or moved between the two looks: never in both. */
        int fd = open("a/f", O_RDONLY);

        if (fd < 0 && errno != ENOENT)
            lost++;
        close(fd);
    }
    await(one);
    await(two);
    eq("other errors", lost, 0);
    eq("there once", (access("a/f", F_OK) == 0) + (access("b/f", F_OK) == 0),
       1);
}

/* A name is replaced in one step: it is never missing. */
static void a_replaced_name_is_never_missing(void)
{
    int missing = 0, odd = 0;
    pid_t pid;

    make("f", 0644, "text");
    pid = begin(&root);
    if (pid == 0) {
        for (int i = 0; i < 100; i++) {
            make("tmp", 0644, "text");
            need(rename("tmp", "f") == 0, "rename");
        }
        over();
    }
    for (int i = 0; i < 100; i++) {
        int fd = open("f", O_RDONLY);
        char buf[8];

        if (fd < 0)
            missing++;
        else if (read(fd, buf, 8) != 4)
            odd++;
        close(fd);
    }
    await(pid);
    eq("missing", missing, 0);
    eq("not whole", odd, 0);
}

AREA(rename, CASE(everything_over_everything), CASE(exchanges),
     CASE(no_replace), CASE(whiteout), CASE(the_same_file), CASE(directories),
     CASE(what_is_open_goes_along), CASE(two_at_once),
     CASE(a_replaced_name_is_never_missing));
