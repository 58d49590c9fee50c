/* SPDX-License-Identifier: BSD-3-Clause */
/* open(2): each flag, alone and where flags meet. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static void creates(void)
{
    make_dir("d", 0755);
    need(symlink("target", "dangling") == 0, "symlink");
    need(symlink("d", "to-dir") == 0, "symlink");
    want(0, "new", open("new", O_CREAT | O_RDWR, 0644));
    look("new is", "new");
    want(0, "again", open("new", O_CREAT | O_RDWR, 0600));
    look("its mode stays", "new");
    want(EISDIR, "a directory", open("d", O_CREAT | O_RDONLY, 0644));
    want(EISDIR, "slash", open("slash/", O_CREAT | O_WRONLY, 0644));
    want(0, "dangling link", open("dangling", O_CREAT | O_RDWR, 0644));
    look("its target", "target");
    want(ELOOP, "nofollow link",
         open("dangling", O_CREAT | O_RDWR | O_NOFOLLOW, 0644));
    want(ENOENT, "no parent", open("none/f", O_CREAT | O_RDWR, 0644));
    want(ENOTDIR, "parent is a file", open("new/f", O_CREAT | O_RDWR, 0644));
}

static void excl(void)
{
    make("f", 0644, "text");
    make_dir("d", 0755);
    need(symlink("target", "dangling") == 0, "symlink");
    need(symlink("f", "good") == 0, "symlink");
    want(EEXIST, "file", open("f", O_CREAT | O_EXCL | O_RDWR, 0644));
    want(EEXIST, "directory", open("d", O_CREAT | O_EXCL | O_RDWR, 0644));
    want(EEXIST, "link", open("good", O_CREAT | O_EXCL | O_RDWR, 0644));
    want(EEXIST, "dangling", open("dangling", O_CREAT | O_EXCL | O_RDWR, 0644));
    want(EEXIST, "and trunc",
         open("f", O_CREAT | O_EXCL | O_TRUNC | O_RDWR, 0644));
    content("not truncated", "f", "text");
    want(0, "new", open("new", O_CREAT | O_EXCL | O_RDWR, 0600));
    want(0, "unlinked", unlink("new"));
    want(0, "new again", open("new", O_CREAT | O_EXCL | O_RDWR, 0640));
    look("is", "new");
}

static void only_one_wins_excl(void)
{
    pid_t pid[8];
    int won = 0;

    make_dir("won", 0777);
    for (int i = 0; i < 8; i++) {
        pid[i] = begin(&root);
        if (pid[i] == 0) {
            for (int n = 0; n < 20; n++) {
                if (open(fmt("f%d", n), O_CREAT | O_EXCL | O_RDWR, 0644) >= 0)
                    close(open(fmt("won/%d.%d", n, i), O_CREAT, 0644));
            }
            over();
        }
    }
    for (int i = 0; i < 8; i++)
        await(pid[i]);
    for (int i = 0; i < 8; i++) {
        for (int n = 0; n < 20; n++)
            won += access(fmt("won/%d.%d", n, i), F_OK) == 0;
    }
    eq("winners", won, 20);
}

static void access_modes(void)
{
    char c = 'x';
    int fd;

    make("f", 0644, "text");
    make_dir("d", 0755);
    fd = open("f", O_WRONLY);
    want(EBADF, "read a write-only", read(fd, &c, 1));
    want(EBADF, "pread a write-only", pread(fd, &c, 1, 0));
    fd = open("f", O_RDONLY);
    want(EBADF, "write a read-only", write(fd, &c, 1));
    want(EINVAL, "ftruncate a read-only", ftruncate(fd, 0));
    fd = open("f", O_ACCMODE);
    want(EBADF, "read with mode 3", read(fd, &c, 1));
    want(EBADF, "write with mode 3", write(fd, &c, 1));
    want(EISDIR, "write a directory", open("d", O_WRONLY));
    want(EISDIR, "read and write a directory", open("d", O_RDWR));
    fd = open("d", O_RDONLY);
    want(EISDIR, "read from a directory", read(fd, &c, 1));
    want(EBADF, "write to a directory", write(fd, &c, 1));
    want(ENOENT, "empty name", open("", O_RDONLY));
    want(ENOTDIR, "file as directory", open("f/", O_RDONLY));
    want(ENOTDIR, "below a file", open("f/x", O_RDONLY));
    want(ENOTDIR, "dot of a file", open("f/.", O_RDONLY));
    want(ENOENT, "below nothing", open("none/../f", O_RDONLY));
}

static void truncates(void)
{
    make("f", 0644, "some text");
    make("g", 0644, "some text");
    want(0, "write", open("f", O_WRONLY | O_TRUNC));
    look("is", "f");
    see("read-only", open("g", O_RDONLY | O_TRUNC));
    look("is then", "g");
    make("h", 0444, "text");
    if (as(&carol)) {
        want(EACCES, "others may not", open("h", O_RDONLY | O_TRUNC));
        want(EACCES, "nor write", open("h", O_WRONLY | O_TRUNC));
        over();
    }
    content("left alone", "h", "text");
    want(0, "create too", open("h", O_CREAT | O_TRUNC | O_WRONLY, 0600));
    look("empty, mode kept", "h");
}

static void append(void)
{
    char buf[32];
    int fd, other;

    make("f", 0644, "one ");
    fd = open("f", O_RDWR | O_APPEND);
    need(fd >= 0, "open");
    eq("begins at", lseek(fd, 0, SEEK_CUR), 0);
    eq("reads", read(fd, buf, 2), 2);
    want(0, "write", write(fd, "two ", 4));
    eq("then at", lseek(fd, 0, SEEK_CUR), 8);
    eq("pwrite", pwrite(fd, "three ", 6, 0), 6);
    eq("position stays", lseek(fd, 0, SEEK_CUR), 8);
    content("all at the end", "f", "one two three ");
    other = open("f", O_WRONLY | O_APPEND);
    want(0, "another writes", write(other, "four ", 5));
    want(0, "the first again", write(fd, "five ", 5));
    content("in order", "f", "one two three four five ");
    want(0, "append off", fcntl(fd, F_SETFL, 0));
    eq("pwrite at 0", pwrite(fd, "ONE", 3, 0), 3);
    want(0, "append on", fcntl(fd, F_SETFL, O_APPEND));
    eq("pwrite at 0 again", pwrite(fd, "six", 3, 0), 3);
    truth("flag is told", fcntl(fd, F_GETFL) & O_APPEND, true);
    content("done", "f", "ONE two three four five six");
    want(0, "truncate", ftruncate(fd, 4));
    want(0, "write after", write(other, "end", 3));
    content("at the new end", "f", "ONE end");
}

static void nofollow(void)
{
    char buf[32];
    int fd;

    make("f", 0644, "text");
    make_dir("d", 0755);
    need(symlink("f", "l") == 0 && symlink("d", "ld") == 0, "symlink");
    want(ELOOP, "link", open("l", O_RDONLY | O_NOFOLLOW));
    want(0, "file", open("f", O_RDONLY | O_NOFOLLOW));
    want(ENOTDIR, "link to a directory",
         open("ld", O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
    fd = (int)want(0, "path of a link", open("l", O_PATH | O_NOFOLLOW));
    look_fd("is", fd);
    bytes("readlinkat", buf, readlinkat(fd, "", buf, sizeof(buf)), "f");
    want(0, "a link on the way is no matter",
         openat(AT_FDCWD, "ld/.", O_RDONLY | O_NOFOLLOW));
}

static void directory(void)
{
    int fd;

    make("f", 0644, "text");
    make_dir("d", 0755);
    need(symlink("f", "l") == 0 && symlink("d", "ld") == 0, "symlink");
    want(ENOTDIR, "file", open("f", O_RDONLY | O_DIRECTORY));
    want(ENOTDIR, "link to a file", open("l", O_RDONLY | O_DIRECTORY));
    fd = (int)want(0, "link to one", open("ld", O_RDONLY | O_DIRECTORY));
    want(0, "fsync", fsync(fd));
    want(0, "fdatasync", fdatasync(fd));
    want(0, "fchmod", fchmod(fd, 0711));
    want(0, "fchdir", fchdir(fd));
    look("mode", ".");
    want(ENOENT, "missing", open("none", O_RDONLY | O_DIRECTORY));
    see("mmap's protections", openat(fd, "..", O_RDONLY | O_DIRECTORY));
    see("lseek to the end", lseek(fd, 0, SEEK_END));
    want(0, "lseek to 0", lseek(fd, 0, SEEK_SET));
    want(EINVAL, "ftruncate", ftruncate(fd, 0));
}

static void tmpfile_flag(void)
{
    char path[64];
    int fd;

    make_dir("d", 0755);
    want(EINVAL, "read-only", open("d", O_TMPFILE | O_RDONLY, 0600));
    fd = (int)see("made", open("d", O_TMPFILE | O_RDWR, 0640));
    if (fd < 0)
        return;
    look_fd("is", fd);
    want(0, "write", write(fd, "nameless", 8));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    want(0, "named",
         linkat(AT_FDCWD, path, AT_FDCWD, "d/name", AT_SYMLINK_FOLLOW));
    look("is then", "d/name");
    content("holds", "d/name", "nameless");
    want(EEXIST, "named so again",
         linkat(AT_FDCWD, path, AT_FDCWD, "d/name", AT_SYMLINK_FOLLOW));
    fd = (int)want(0, "never to be named",
                   open("d", O_TMPFILE | O_EXCL | O_RDWR, 0600));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    want(ENOENT, "naming it",
         linkat(AT_FDCWD, path, AT_FDCWD, "d/other", AT_SYMLINK_FOLLOW));
    want(ENOTDIR, "in a file", open("d/name", O_TMPFILE | O_RDWR, 0600));
    if (as(&carol)) {
        want(EACCES, "where one may not write",
             open("d", O_TMPFILE | O_RDWR, 0600));
        over();
    }
    need(chmod("d", 03777) == 0 && chown("d", 0, CREW) == 0, "chmod");
    need(chmod("d", 03777) == 0, "chmod");
    if (as(&carol)) {
        umask(027);
        fd = (int)want(0, "of carol", open("d", O_TMPFILE | O_RDWR, 0666));
        look_fd("hers", fd);
        over();
    }
}

static void path_only(void)
{
    char c, path[64];
    int fd, dir;

    make("f", 0644, "text");
    make_dir("d", 0755);
    fd = (int)want(0, "file", open("f", O_PATH));
    want(EBADF, "read", read(fd, &c, 1));
    want(EBADF, "write", write(fd, &c, 1));
    want(EBADF, "fchmod", fchmod(fd, 0600));
    want(EBADF, "fsync", fsync(fd));
    look_fd("fstat", fd);
    want(0, "unlinked", unlink("f"));
    look_fd("fstat then", fd);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    want(0, "opened through /proc", open(path, O_RDWR));
    dir = (int)want(0, "directory", open("d", O_PATH | O_DIRECTORY));
    want(0, "openat", openat(dir, "new", O_CREAT | O_RDWR, 0644));
    want(0, "fchdir", fchdir(dir));
    look("there", "new");
    make("secret", 0000, "x");
    if (as(&carol)) {
        want(0, "of what one may not read", open("secret", O_PATH));
        over();
    }
}

static void direct(void)
{
    void *buf = NULL;
    char *page;
    int fd;

    need(posix_memalign(&buf, 4096, 16384) == 0, "memory");
    page = buf;
    make("f", 0644, "");
    fd = (int)see("open", open("f", O_RDWR | O_DIRECT));
    if (fd < 0)
        return;
    truth("flag is told", fcntl(fd, F_GETFL) & O_DIRECT, true);
    pattern(page, 8192, 0);
    eq("aligned write", pwrite(fd, page, 8192, 4096), 8192);
    memset(page, 0, 16384);
    eq("aligned read", pread(fd, page, 16384, 0), 12288);
    truth("hole before", page[0] == 0 && page[4095] == 0, true);
    truth("same bytes", is_pattern(page + 4096, 8192, 0), true);
    eq("read at the end", pread(fd, page, 4096, 12288), 0);
    see("unaligned offset", pread(fd, page, 4096, 100));
    see("unaligned length", pread(fd, page, 100, 0));
    see("unaligned memory", pread(fd, page + 1, 4096, 0));
    close(fd);
    fd = open("f", O_RDWR);
    want(0, "set by fcntl", fcntl(fd, F_SETFL, O_DIRECT));
    eq("write then", pwrite(fd, page, 4096, 0), 4096);
    want(0, "cleared by fcntl", fcntl(fd, F_SETFL, 0));
    eq("buffered write", pwrite(fd, "buffered", 8, 4096), 8);
    close(fd);
    fd = open("f", O_RDONLY | O_DIRECT);
    eq("direct read", pread(fd, page, 4096, 4096), 4096);
    bytes("sees the buffered write", page, 8, "buffered");
    see("append", open("f", O_WRONLY | O_DIRECT | O_APPEND));
}

static void noatime(void)
{
    make("f", 0666, "text");
    own("f", alice.uid, alice.gid);
    if (as(&alice)) {
        want(0, "the owner", open("f", O_RDONLY | O_NOATIME));
        over();
    }
    if (as(&bob)) {
        want(EPERM, "others", open("f", O_RDONLY | O_NOATIME));
        over();
    }
    want(0, "root", open("f", O_RDONLY | O_NOATIME));
}

static void sync_flags(void)
{
    static const int flags[] = { O_SYNC, O_DSYNC, O_SYNC | O_APPEND };

    for (int i = 0; i < 3; i++) {
        int fd = open(fmt("f%d", i), O_CREAT | O_RDWR | flags[i], 0644);

        want(0, fmt("open %d", i), fd);
        eq(fmt("write %d", i), write(fd, "synchronous", 11), 11);
        truth(fmt("flag %d is told", i),
              (fcntl(fd, F_GETFL) & flags[i]) == flags[i], true);
        content(fmt("text %d", i), fmt("f%d", i), "synchronous");
    }
}

static void modes(void)
{
    static const mode_t masks[] = { 0, 022, 027, 077, 0777, 0111 };
    static const mode_t bits[] = { 0666, 0777, 07777, 0, 0400, 01644 };

    for (size_t m = 0; m < 6; m++) {
        for (size_t b = 0; b < 6; b++) {
            const char *name = fmt("%03o-%04o", masks[m], bits[b]);

            umask(masks[m]);
            close(open(name, O_CREAT | O_WRONLY | O_EXCL, bits[b]));
            look(name, name);
        }
    }
}

static void a_mode_that_forbids_it_all(void)
{
    static const mode_t bits[] = { 0, 0400, 0200, 0444 };
    char c;

    need(chmod(".", 0777) == 0, "chmod");
    if (as(&alice)) {
        for (size_t i = 0; i < 4; i++) {
            const char *name = fmt("f%04o", bits[i]);
            int fd = open(name, O_CREAT | O_EXCL | O_RDWR, bits[i]);

            want(0, fmt("made %04o", bits[i]), fd);
            eq("written", write(fd, "text", 4), 4);
            eq("read", pread(fd, &c, 1, 1), 1);
            want(0, "truncated", ftruncate(fd, 2));
            want(0, "synced", fsync(fd));
            want(0, "closed", close(fd));
            see("opened again to read", open(name, O_RDONLY));
            see("opened again to write", open(name, O_WRONLY));
            look("is", name);
        }
        over();
    }
}

static void open_outlives_the_mode(void)
{
    need(chmod(".", 0777) == 0, "chmod");
    if (as(&alice)) {
        char buf[16];
        int fd;

        make("f", 0600, "text");
        fd = open("f", O_RDWR);
        want(0, "chmod 0", chmod("f", 0));
        eq("reads", pread(fd, buf, 16, 0), 4);
        eq("writes", pwrite(fd, "TEXT", 4, 0), 4);
        want(0, "truncates", ftruncate(fd, 3));
        want(0, "fchmod", fchmod(fd, 0400));
        want(EACCES, "no new open", open("f", O_RDWR));
        content("holds", "f", "TEX");
        over();
    }
}

static void links_on_the_way(void)
{
    need(symlink("b", "a") == 0 && symlink("a", "b") == 0, "symlink");
    want(ELOOP, "a loop", open("a", O_RDONLY));
    want(ELOOP, "creating through it", open("a", O_CREAT | O_RDWR, 0644));
    need(symlink(".", "self") == 0, "symlink");
    make("f", 0644, "text");
    want(0, "through itself", open("self/self/self/f", O_RDONLY));
    need(symlink("f", "c0") == 0, "symlink");
    for (int i = 1; i < 45; i++)
        need(symlink(fmt("c%d", i - 1), fmt("c%d", i)) == 0, "symlink");
    want(0, "a chain of 40", open("c39", O_RDONLY));
    want(ELOOP, "a chain of 41", open("c40", O_RDONLY));
}

static void one_offset_for_two(void)
{
    char buf[8];
    int fd, two;

    make("f", 0644, "0123456789");
    fd = open("f", O_RDWR);
    two = dup(fd);
    eq("read", read(fd, buf, 4), 4);
    eq("the other's position", lseek(two, 0, SEEK_CUR), 4);
    if (as(&root)) {
        bytes("in a child", buf, read(two, buf, 3), "456");
        over();
    }
    bytes("afterwards", buf, read(fd, buf, 3), "789");
    eq("end", read(fd, buf, 3), 0);
    want(EINVAL, "seek before the start", lseek(fd, -1, SEEK_SET));
    eq("seek past the end", lseek(fd, 100, SEEK_END), 110);
    eq("read there", read(fd, buf, 3), 0);
    look("no longer for it", "f");
}

AREA(open, CASE(creates), CASE(excl), CASE(only_one_wins_excl),
     CASE(access_modes), CASE(truncates), CASE(append), CASE(nofollow),
     CASE(directory), CASE(tmpfile_flag), CASE(path_only), CASE(direct),
     CASE(noatime), CASE(sync_flags), CASE(modes),
     CASE(a_mode_that_forbids_it_all), CASE(open_outlives_the_mode),
     CASE(links_on_the_way), CASE(one_offset_for_two));
