/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may do what: modes, several users, groups, sticky directories. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static const struct bat_user *const people[] = { &root, &alice, &bob, &carol };
#define N_PEOPLE 4

/* alice's, of the crew: bob has the group's bits, carol the others'. */
static void file_matrix(void)
{
    static const mode_t modes[] = { 0000, 0400, 0200, 0040, 0020, 0004,
                                    0002, 0600, 0640, 0664, 0606, 0066,
                                    0700, 0750, 0755, 0711, 0070, 0007 };

    for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
        const char *name = fmt("%04o", modes[m]);

        make(name, modes[m], "#!/bin/true\n");
        own(name, alice.uid, CREW);
        for (int p = 0; p < N_PEOPLE; p++) {
            if (as(people[p])) {
                char got[4] = "---";

                if (open(name, O_RDONLY) >= 0)
                    got[0] = 'r';
                if (open(name, O_WRONLY) >= 0)
                    got[1] = 'w';
                if (access(name, X_OK) == 0)
                    got[2] = 'x';
                tell(fmt("%s %s", name, people[p]->name), "%s", got);
                over();
            }
        }
    }
}

/* List, search, make a name, remove a name. */
static void directory_matrix(void)
{
    static const mode_t modes[] = { 0000, 0700, 0755, 0711, 0733, 0744, 0766,
                                    0770, 0775, 0007, 0070, 0300, 0500, 0777 };

    for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
        const char *name = fmt("%04o", modes[m]);

        make_dir(name, 0700);
        make(fmt("%s/f", name), 0666, "x");
        own(name, alice.uid, CREW);
        need(chmod(name, modes[m]) == 0, "chmod");
        for (int p = 0; p < N_PEOPLE; p++) {
            if (as(people[p])) {
                char got[5] = "----";
                struct stat st;

                if (opendir(name))
                    got[0] = 'l';
                if (stat(fmt("%s/f", name), &st) == 0)
                    got[1] = 's';
                if (mkdir(fmt("%s/n", name), 0755) == 0)
                    got[2] = 'm';
                if (rmdir(fmt("%s/n", name)) == 0)
                    got[3] = 'r';
                tell(fmt("%s %s", name, people[p]->name), "%s", got);
                over();
            }
        }
    }
}

/* Only the supplementary group lets alice in. */
static void supplementary_group(void)
{
    make_dir("d", 0770);
    own("d", 0, CREW);
    make("rw", 0660, "text");
    own("rw", 0, CREW);
    make("ro", 0640, "text");
    own("ro", 0, CREW);
    make("d/old", 0660, "text");
    own("d/old", 0, CREW);
    if (as(&alice)) {
        want(0, "open to write", open("rw", O_RDWR));
        want(0, "open to read", open("ro", O_RDONLY));
        want(EACCES, "not to write", open("ro", O_WRONLY));
        want(0, "truncate", truncate("rw", 1));
        want(0, "create", open("d/f", O_CREAT | O_EXCL | O_RDWR, 0664));
        look("hers", "d/f");
        want(0, "create without excl", open("d/f2", O_CREAT | O_RDWR, 0664));
        want(0, "mkdir", mkdir("d/sub", 0755));
        look("directory", "d/sub");
        want(0, "mkfifo", mkfifo("d/fifo", 0644));
        look("fifo", "d/fifo");
        want(0, "mknod", mknod("d/node", S_IFREG | 0644, 0));
        want(0, "symlink", symlink("f", "d/link"));
        look("symlink", "d/link");
        want(0, "link", link("d/f", "d/hard"));
        want(0, "link what she may write", link("d/old", "d/hard2"));
        want(0, "rename", rename("d/f", "d/g"));
        want(0, "replace", rename("d/g", "d/old"));
        want(0, "unlink", unlink("d/hard"));
        want(0, "rmdir", rmdir("d/sub"));
        see("tmpfile", open("d", O_TMPFILE | O_RDWR, 0600));
        want(0, "list", opendir("d") ? 0 : -1);
        over();
    }
    if (as(&carol)) {
        want(EACCES, "carol creates", open("d/c", O_CREAT | O_RDWR, 0644));
        want(EACCES, "carol looks", access("d/old", F_OK));
        want(EACCES, "carol makes a directory", mkdir("d/c", 0755));
        want(EACCES, "carol reads", open("ro", O_RDONLY));
        over();
    }
}

static void setgid_directory(void)
{
    make_dir("d", 0755);
    own("d", 0, CREW);
    need(chmod("d", 02777) == 0, "chmod");
    for (int p = 0; p < N_PEOPLE; p++) {
        if (as(people[p])) {
            const char *who = people[p]->name;

            umask(0);
            close(open(fmt("d/f-%s", who), O_CREAT | O_RDWR, 0644));
            look(fmt("file of %s", who), fmt("d/f-%s", who));
            close(open(fmt("d/s-%s", who), O_CREAT | O_RDWR, 02755));
            look(fmt("setgid file of %s", who), fmt("d/s-%s", who));
            close(open(fmt("d/m-%s", who), O_CREAT | O_RDWR, 02644));
            look(fmt("setgid, not x, of %s", who), fmt("d/m-%s", who));
            want(0, "mknod", mknod(fmt("d/n-%s", who), S_IFREG | 02775, 0));
            look(fmt("made by mknod by %s", who), fmt("d/n-%s", who));
            want(0, "mkdir", mkdir(fmt("d/d-%s", who), 0755));
            look(fmt("directory of %s", who), fmt("d/d-%s", who));
            want(0, "mkdir below", mkdir(fmt("d/d-%s/e", who), 0700));
            look(fmt("directory below of %s", who), fmt("d/d-%s/e", who));
            want(0, "symlink", symlink("x", fmt("d/l-%s", who)));
            look(fmt("symlink of %s", who), fmt("d/l-%s", who));
            want(0, "mkfifo", mkfifo(fmt("d/p-%s", who), 0644));
            look(fmt("fifo of %s", who), fmt("d/p-%s", who));
            over();
        }
    }
}

static void sticky_setup(void)
{
    make_dir("d", 0755);
    make("d/f", 0666, "text");
    own("d/f", alice.uid, alice.gid);
    make("d/g", 0666, "text");
    own("d/g", alice.uid, alice.gid);
    make("d/bobs", 0666, "bob");
    own("d/bobs", bob.uid, bob.gid);
    make_dir("d/sub", 0777);
    own("d/sub", alice.uid, alice.gid);
    make_dir("out", 0777);
    own("d", carol.uid, carol.gid);
    need(chmod("d", 01777) == 0, "chmod");
}

static void sticky_directory(void)
{
    sticky_setup();
    if (as(&bob)) {
        want(EPERM, "unlink", unlink("d/f"));
        want(EPERM, "rename", rename("d/f", "d/h"));
        want(EPERM, "rename out", rename("d/f", "out/h"));
        want(EPERM, "rename over", rename("d/bobs", "d/f"));
        want(EPERM, "rmdir", rmdir("d/sub"));
        want(EPERM, "rename the directory", rename("d/sub", "d/sub2"));
        want(0, "write", open("d/f", O_RDWR));
        want(0, "his own", rename("d/bobs", "d/bobs2"));
        want(0, "new", open("d/new", O_CREAT | O_RDWR, 0644));
        want(0, "unlink it", unlink("d/new"));
        over();
    }
    if (as(&alice)) {
        want(0, "her own", rename("d/f", "d/h"));
        want(0, "over her own", rename("d/h", "d/g"));
        want(0, "rmdir her own", rmdir("d/sub"));
        over();
    }
    if (as(&carol)) {
        want(0, "the directory's owner", unlink("d/g"));
        over();
    }
    want(0, "root", unlink("d/bobs2"));
}

/* The parts of the tree that one may see through, but not read. */
static void no_search(void)
{
    make_dir("d", 0755);
    make_dir("d/e", 0755);
    make("d/e/f", 0666, "text");
    need(chmod("d", 0600) == 0, "chmod");
    if (as(&bob)) {
        struct stat st;

        want(EACCES, "stat", stat("d/e/f", &st));
        want(EACCES, "open", open("d/e/f", O_RDONLY));
        want(EACCES, "missing name", stat("d/none", &st));
        want(EACCES, "unlink", unlink("d/e"));
        want(EACCES, "rename", rename("d/e", "e"));
        want(EACCES, "chdir", chdir("d"));
        want(EACCES, "readdir", opendir("d") ? 0 : -1);
        want(EACCES, "readlink", readlink("d/l", (char *)&st, 1));
        over();
    }
}

/* What was cached while one might look is closed when one may not. */
static void the_mode_takes_back(void)
{
    make_dir("d", 0755);
    make("d/f", 0644, "text");
    if (as(&bob)) {
        want(0, "open before", open("d/f", O_RDONLY));
        over();
    }
    need(chmod("d", 0700) == 0, "chmod");
    if (as(&bob)) {
        want(EACCES, "open after", open("d/f", O_RDONLY));
        over();
    }
    need(chmod("d", 0755) == 0 && chmod("d/f", 0600) == 0, "chmod");
    if (as(&bob)) {
        want(EACCES, "a file's mode", open("d/f", O_RDONLY));
        over();
    }
    need(chown("d/f", bob.uid, 0) == 0, "chown");
    if (as(&bob)) {
        want(0, "its owner", open("d/f", O_RDONLY));
        over();
    }
}

/* A descriptor is a permission of its own. */
static void a_descriptor_from_root(void)
{
    int fd, dir;

    make("f", 0600, "text");
    make_dir("d", 0700);
    make("d/in", 0644, "in");
    fd = open("f", O_RDWR);
    dir = open("d", O_RDONLY | O_DIRECTORY);
    if (as(&carol)) {
        char c;

        eq("read", pread(fd, &c, 1, 0), 1);
        eq("write", pwrite(fd, "T", 1, 0), 1);
        want(0, "ftruncate", ftruncate(fd, 3));
        want(0, "fsync", fsync(fd));
        want(EPERM, "fchmod", fchmod(fd, 0666));
        want(EPERM, "fchown", fchown(fd, carol.uid, carol.gid));
        want(EACCES, "openat", openat(dir, "in", O_RDONLY));
        want(0, "readdir", fdopendir(dir) ? 0 : -1);
        want(EACCES, "fchdir", fchdir(dir));
        look_fd("fstat", fd);
        over();
    }
    content("holds", "f", "Tex");
}

AREA(perm, CASE(file_matrix), CASE(directory_matrix), CASE(supplementary_group),
     CASE(setgid_directory), CASE(sticky_directory), CASE(no_search),
     CASE(the_mode_takes_back), CASE(a_descriptor_from_root));
