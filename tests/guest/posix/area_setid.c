/* SPDX-License-Identifier: BSD-3-Clause */
/* What clears the set-id bits of a file, and what does not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

/* 02644: setgid without the group's x, which says something else. */
static const mode_t modes[] = { 06777, 04766, 02776, 02766 };
static const struct bat_user *const people[] = { &root, &alice, &bob };
#define FILE_PAGE 4096

static int writes(const char *name)
{
    return write(open(name, O_WRONLY), "X", 1) == 1 ? 0 : -1;
}

static int writes_nothing(const char *name)
{
    return write(open(name, O_WRONLY), "X", 0) == 0 ? 0 : -1;
}

static int appends(const char *name)
{
    return write(open(name, O_WRONLY | O_APPEND), "X", 1) == 1 ? 0 : -1;
}

static int truncates(const char *name)
{
    return truncate(name, 1);
}

static int truncates_to_the_same(const char *name)
{
    return truncate(name, 4);
}

static int ftruncates(const char *name)
{
    return ftruncate(open(name, O_RDWR), 100);
}

static int opens_with_trunc(const char *name)
{
    return open(name, O_WRONLY | O_TRUNC) < 0 ? -1 : 0;
}

static int opens_to_write(const char *name)
{
    return open(name, O_RDWR | O_CREAT, 0644) < 0 ? -1 : 0;
}

static int reads(const char *name)
{
    char c;

    return read(open(name, O_RDONLY), &c, 1) == 1 ? 0 : -1;
}

static int allocates(const char *name)
{
    return fallocate(open(name, O_RDWR), 0, 0, FILE_PAGE * 2);
}

static int allocates_beyond(const char *name)
{
    return fallocate(open(name, O_RDWR), FALLOC_FL_KEEP_SIZE, FILE_PAGE,
                     FILE_PAGE);
}

static int punches(const char *name)
{
    return fallocate(open(name, O_RDWR),
                     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, FILE_PAGE);
}

static int maps(const char *name)
{
    int fd = open(name, O_RDWR);
    char *p = mmap(NULL, FILE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        return -1;
    p[0] = 'X';
    return msync(p, FILE_PAGE, MS_SYNC);
}

static int copies_a_range(const char *name)
{
    int in = open("source", O_RDONLY), out = open(name, O_WRONLY);

    return copy_file_range(in, NULL, out, NULL, 3, 0) == 3 ? 0 : -1;
}

static int sends_a_file(const char *name)
{
    int in = open("source", O_RDONLY), out = open(name, O_WRONLY);

    return sendfile(out, in, NULL, 3) == 3 ? 0 : -1;
}

static int chmods_the_same(const char *name)
{
    struct stat st;

    return stat(name, &st) < 0 ? -1 : chmod(name, st.st_mode & 07777);
}

static int chowns_to_the_crew(const char *name)
{
    return chown(name, (uid_t)-1, CREW);
}

static int chowns_to_nobody_new(const char *name)
{
    return chown(name, (uid_t)-1, (gid_t)-1);
}

static int chowns_to_the_same(const char *name)
{
    return chown(name, alice.uid, alice.gid);
}

static int links(const char *name)
{
    return link(name, fmt("%s-l", name));
}

static int renames(const char *name)
{
    return rename(name, fmt("%s-r", name)) == 0 &&
                   rename(fmt("%s-r", name), name) == 0
               ? 0
               : -1;
}

static int sets_times(const char *name)
{
    return utimensat(AT_FDCWD, name, NULL, 0);
}

/* Each by each of the people, on a file of alice's of each mode. */
static void each(int (*op)(const char *))
{
    need(chmod(".", 0777) == 0, "chmod");
    make("source", 0644, "source");
    for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
        for (int p = 0; p < 3; p++) {
            const char *name = fmt("%04o %s", modes[m], people[p]->name);

            make(name, 0644, "text");
            own(name, alice.uid, alice.gid);
            need(chmod(name, modes[m]) == 0, "chmod");
            if (as(people[p])) {
                int ret = op(name);

                if (ret < 0)
                    see(fmt("%s does", name), -1);
                look(name, name);
                over();
            }
        }
    }
}

#define EACH(op)                                                               \
    static void when_one_##op(void)                                            \
    {                                                                          \
        each(op);                                                              \
    }

EACH(writes)
EACH(writes_nothing)
EACH(appends)
EACH(truncates)
EACH(truncates_to_the_same)
EACH(ftruncates)
EACH(opens_with_trunc)
EACH(opens_to_write)
EACH(reads)
EACH(allocates)
EACH(allocates_beyond)
EACH(punches)
EACH(maps)
EACH(copies_a_range)
EACH(sends_a_file)
EACH(chmods_the_same)
EACH(chowns_to_the_crew)
EACH(chowns_to_nobody_new)
EACH(chowns_to_the_same)
EACH(links)
EACH(renames)
EACH(sets_times)

/* A descriptor from before the bits were set. */
static void a_descriptor_from_before(void)
{
    int fd;

    make("f", 0777, "text");
    own("f", alice.uid, alice.gid);
    fd = open("f", O_RDWR);
    need(chmod("f", 06777) == 0, "chmod");
    if (as(&bob)) {
        eq("bob writes", pwrite(fd, "x", 1, 0), 1);
        look_fd("through it", fd);
        look("by name", "f");
        over();
    }
    need(chmod("f", 06777) == 0, "chmod");
    if (as(&bob)) {
        want(0, "bob truncates", ftruncate(fd, 1));
        look_fd("is then", fd);
        over();
    }
    need(chmod("f", 06777) == 0, "chmod");
    eq("root writes", pwrite(fd, "x", 1, 0), 1);
    look_fd("keeps", fd);
}

/* Another process sees it at once. */
static void another_process_sees(void)
{
    make("f", 06777, "text");
    if (as(&root)) {
        look("before", "f");
        over();
    }
    if (as(&carol)) {
        writes("f");
        over();
    }
    look("after", "f");
    need(chmod("f", 06777) == 0, "chmod");
    look("set again", "f");
    if (as(&carol)) {
        writes("f");
        over();
    }
    look("cleared again", "f");
}

static void directories_keep_theirs(void)
{
    need(chmod(".", 0777) == 0, "chmod");
    make_dir("d", 0755);
    own("d", alice.uid, alice.gid);
    need(chmod("d", 06777) == 0, "chmod");
    if (as(&alice)) {
        want(0, "owner's chown", chown("d", (uid_t)-1, CREW));
        look("is", "d");
        over();
    }
    want(0, "root's chown", chown("d", bob.uid, bob.gid));
    look("is then", "d");
    if (as(&carol)) {
        make("d/f", 0644, "x");
        over();
    }
    look("a name in it", "d");
}

AREA(setid, CASE(when_one_writes), CASE(when_one_writes_nothing),
     CASE(when_one_appends), CASE(when_one_truncates),
     CASE(when_one_truncates_to_the_same), CASE(when_one_ftruncates),
     CASE(when_one_opens_with_trunc), CASE(when_one_opens_to_write),
     CASE(when_one_reads), CASE(when_one_allocates),
     CASE(when_one_allocates_beyond), CASE(when_one_punches),
     CASE(when_one_maps), CASE(when_one_copies_a_range),
     CASE(when_one_sends_a_file), CASE(when_one_chmods_the_same),
     CASE(when_one_chowns_to_the_crew), CASE(when_one_chowns_to_nobody_new),
     CASE(when_one_chowns_to_the_same), CASE(when_one_links),
     CASE(when_one_renames), CASE(when_one_sets_times),
     CASE(a_descriptor_from_before), CASE(another_process_sees),
     CASE(directories_keep_theirs));
