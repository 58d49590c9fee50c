/* SPDX-License-Identifier: BSD-3-Clause */
/* Names: their lengths, their bytes, and paths deeper than a path can say. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static char *long_name(size_t n, char c)
{
    static char buf[2][5000];
    static int turn;

    turn = !turn;
    memset(buf[turn], c, n);
    buf[turn][n] = '\0';
    return buf[turn];
}

static int names_listed(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    need(d != NULL, "opendir");
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void lengths(void)
{
    struct stat st;

    for (size_t n = 253; n <= 257; n++) {
        int err = n <= 255 ? 0 : ENAMETOOLONG;
        const char *a = long_name(n, 'a'), *b = long_name(n, 'b');

        want(err, fmt("create %zu", n), open(a, O_CREAT | O_RDWR, 0644));
        want(err, "stat", stat(a, &st));
        want(err, "rename", rename(a, b));
        want(err, "link", link(b, long_name(n, 'c')));
        want(err, "symlink", symlink("x", long_name(n, 'd')));
        want(err, "mkdir", mkdir(long_name(n, 'e'), 0755));
        want(err, "mkfifo", mkfifo(long_name(n, 'f'), 0644));
        want(err, "rmdir", rmdir(long_name(n, 'e')));
        want(err, "unlink", unlink(long_name(n, 'f')));
    }
    eq("listed", names_listed("."), 9);
    want(ENAMETOOLONG, "4096", open(long_name(4096, 'a'), O_RDONLY));
    make("x", 0644, "x");
    want(ENAMETOOLONG, "rename to 256", rename("x", long_name(256, 'y')));
    eq("pathconf", pathconf(".", _PC_NAME_MAX), 255);
}

/* Every byte but two may stand in a name. */
static void every_byte(void)
{
    int made = 0, found = 0;
    char name[4] = "x?y";
    struct dirent *e;
    DIR *d;

    make_dir("d", 0755);
    need(chdir("d") == 0, "chdir");
    for (int c = 1; c < 256; c++) {
        int fd;

        if (c == '/')
            continue;
        name[1] = (char)c;
        fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0644);
        made += fd >= 0 && write(fd, name, 3) == 3;
        close(fd);
    }
    eq("made", made, 254);
    d = opendir(".");
    while ((e = readdir(d))) {
        char text[4] = "";
        int fd;

        if (e->d_name[0] != 'x')
            continue;
        fd = open(e->d_name, O_RDONLY);
        if (read(fd, text, 4) == 3 && memcmp(text, e->d_name, 3) == 0)
            found++;
        close(fd);
    }
    eq("found with their own bytes", found, 254);
}

static void strange(void)
{
    static const char *const names[] = { "...",
                                         " ",
                                         "-",
                                         "\n",
                                         "a\nb",
                                         "\\",
                                         "\xff\xfe",
                                         "\xc3",
                                         "\xc3\xa9",
                                         "*",
                                         "?",
                                         "..a",
                                         "\xf0\x9f\x98\x80",
                                         "NUL",
                                         ".fuse_hidden0001",
                                         ".nfs0001",
                                         "CON:",
                                         "~",
                                         "#x#",
                                         "\x7f",
                                         "\x1b[0m" };
    struct stat st;
    size_t n = sizeof(names) / sizeof(names[0]);

    for (size_t i = 0; i < n; i++) {
        want(0, fmt("create %zu", i),
             open(names[i], O_CREAT | O_EXCL | O_RDWR, 0644));
        want(0, "stat", stat(names[i], &st));
    }
    eq("listed", names_listed("."), (long long)n);
    /* Cases and normal forms are names of their own. */
    want(0, "A", open("A", O_CREAT | O_EXCL, 0644));
    want(0, "a", open("a", O_CREAT | O_EXCL, 0644));
    want(0, "composed", open("\xc3\xbc", O_CREAT | O_EXCL, 0644));
    want(0, "decomposed", open("u\xcc\x88", O_CREAT | O_EXCL, 0644));
    for (size_t i = 0; i < n; i++)
        want(0, fmt("unlink %zu", i), unlink(names[i]));
    eq("left", names_listed("."), 4);
}

static void paths(void)
{
    char *path = malloc(PATH_MAX + 10);
    struct stat st;
    size_t n = 0;

    need(path != NULL, "memory");
    make("f", 0644, "text");
    while (n < PATH_MAX - 3)
        n += (size_t)(stpcpy(path + n, "./") - (path + n));
    path[PATH_MAX - 2] = 'f';
    path[PATH_MAX - 1] = '\0';
    eq("length", (long long)strlen(path), PATH_MAX - 1);
    want(0, "the longest path", stat(path, &st));
    path[PATH_MAX - 1] = 'f';
    path[PATH_MAX] = '\0';
    want(ENAMETOOLONG, "one more", stat(path, &st));
    want(0, "many slashes", stat(".///////////f", &st));
    want(0, "up and down", stat("./.././name.paths/f", &st));
}

/* 20 levels of 255 bytes: no path names the last one. */
static void deep(void)
{
    char *cwd, *name = long_name(255, 'd');
    struct stat st;

    for (int i = 0; i < 20; i++) {
        need(mkdir(name, 0755) == 0, "mkdir");
        need(chdir(name) == 0, "chdir");
    }
    make("deepest", 0644, "text");
    content("content", "deepest", "text");
    look("is", "deepest");
    want(0, "rename", rename("deepest", "renamed"));
    want(0, "up", stat("../..", &st));
    cwd = getcwd(NULL, 0);
    fact("getcwd", cwd != NULL);
    make_dir("sub", 0755);
    want(0, "a directory there", rmdir("sub"));
    for (int i = 0; i < 20; i++)
        need(chdir("..") == 0, "chdir");
    want(0, "back", stat(name, &st));
    cwd = getcwd(NULL, 0);
    truth("getcwd here", cwd && strstr(cwd, "name.deep"), true);
}

static void dots(void)
{
    struct stat a, b;

    make_dir("d", 0755);
    make_dir("d/e", 0755);
    need(stat(".", &a) == 0 && stat("d/..", &b) == 0, "stat");
    truth("dot dot is the parent", a.st_ino == b.st_ino, true);
    need(stat("d/e/../..", &b) == 0, "stat");
    truth("twice", a.st_ino == b.st_ino, true);
    want(EEXIST, "mkdir dot", mkdir(".", 0755));
    want(EEXIST, "mkdir dot dot", mkdir("..", 0755));
    want(EEXIST, "mkdir d/..", mkdir("d/..", 0755));
    want(EISDIR, "creat dot", open(".", O_CREAT | O_RDWR, 0644));
    want(EISDIR, "unlink dot dot", unlink(".."));
    want(0, "rename and look", rename("d/e", "e"));
    need(stat("e/..", &b) == 0, "stat");
    truth("its new parent", a.st_ino == b.st_ino, true);
}

/* Inode numbers say what is the same file, and stay. */
static void inode_numbers(void)
{
    struct stat a, b;
    struct dirent *e;
    DIR *d;

    make("f", 0644, "x");
    need(stat("f", &a) == 0, "stat");
    need(rename("f", "g") == 0 && chmod("g", 0600) == 0, "rename");
    need(stat("g", &b) == 0, "stat");
    truth("stays after a rename", a.st_ino == b.st_ino, true);
    d = opendir(".");
    while ((e = readdir(d))) {
        if (!strcmp(e->d_name, "g")) {
            truth("readdir says the same", e->d_ino == a.st_ino, true);
            eq("and the type", e->d_type, DT_REG);
        }
    }
    make("h", 0644, "y");
    need(stat("h", &b) == 0, "stat");
    truth("another file's is another", a.st_ino != b.st_ino, true);
    truth("one device", a.st_dev == b.st_dev, true);
    if (as(&carol)) {
        need(stat("g", &b) == 0, "stat");
        truth("the same for another process", a.st_ino == b.st_ino, true);
        over();
    }
}

AREA(name, CASE(lengths), CASE(every_byte), CASE(strange), CASE(paths),
     CASE(deep), CASE(dots), CASE(inode_numbers));
