/* SPDX-License-Identifier: BSD-3-Clause */
/* Listings: whole, once, while names come and go, and from any place. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

#define MANY 200

static void fill(const char *dir, const char *stem, int n)
{
    for (int i = 0; i < n; i++) {
        int fd = open(fmt("%s/%s-%04d", dir, stem, i),
                      O_CREAT | O_EXCL | O_WRONLY, 0644);

        need(fd >= 0 && close(fd) == 0, "create");
    }
}

/* Counts how often each "STEM-NNNN" was listed. */
static void count(const struct dirent *e, const char *stem, int *seen, int n)
{
    size_t len = strlen(stem);

    if (strncmp(e->d_name, stem, len) == 0 && e->d_name[len] == '-') {
        int i = atoi(e->d_name + len + 1);

        if (i >= 0 && i < n)
            seen[i]++;
    }
}

static void counted(const char *label, const int *seen, int n)
{
    int missing = 0, twice = 0;

    for (int i = 0; i < n; i++) {
        missing += seen[i] == 0;
        twice += seen[i] > 1;
    }
    tell(label, "%d missing, %d more than once", missing, twice);
}

static void whole(void)
{
    static const int sizes[] = { 0, 1, 2, 100, 700 };

    for (int s = 0; s < 5; s++) {
        char dir[16];
        int seen[700] = { 0 }, dots = 0;
        struct dirent *e;
        DIR *d;

        snprintf(dir, sizeof(dir), "d%d", sizes[s]);
        make_dir(dir, 0755);
        fill(dir, "stable", sizes[s]);
        d = opendir(dir);
        need(d != NULL, "opendir");
        while ((e = readdir(d))) {
            count(e, "stable", seen, sizes[s]);
            dots += !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
        }
        closedir(d);
        counted(fmt("of %d", sizes[s]), seen, sizes[s]);
        eq("dots", dots, 2);
    }
}

static void while_names_come_and_go(void)
{
    int round = 0;
    pid_t pid;

    make_dir("d", 0755);
    fill("d", "stable", MANY);
    pid = begin(&root);
    if (pid == 0) {
        for (int i = 0; i < 100000; i++) {
            close(open(fmt("d/coming-%d", i % 300), O_CREAT | O_WRONLY, 0644));
            if (i > 150)
                unlink(fmt("d/coming-%d", (i - 150) % 300));
            rename(fmt("d/coming-%d", i % 300), fmt("d/moved-%d", i % 50));
        }
        over();
    }
    for (; round < 5; round++) {
        int seen[MANY] = { 0 };
        struct dirent *e;
        DIR *d = opendir("d");

        need(d != NULL, "opendir");
        while ((e = readdir(d)))
            count(e, "stable", seen, MANY);
        closedir(d);
        counted("stable names", seen, MANY);
    }
    kill(pid, 9);
    waitpid(pid, NULL, 0);
}

/* Removing what was just listed, as rm -r does, gets them all. */
static void removed_as_listed(void)
{
    int left, rounds = 0;

    make_dir("d", 0755);
    fill("d", "stable", MANY);
    do {
        struct dirent *e;
        DIR *d = opendir("d");

        left = 0;
        while ((e = readdir(d))) {
            if (e->d_name[0] == '.')
                continue;
            left++;
            need(unlinkat(dirfd(d), e->d_name, 0) == 0, "unlink");
        }
        closedir(d);
        rounds++;
    } while (left && rounds < 100);
    tell("rounds", "%d", rounds);
    want(0, "rmdir", rmdir("d"));
}

static void rewind_sees_what_is_new(void)
{
    int seen[20] = { 0 }, again[20] = { 0 };
    struct dirent *e;
    DIR *d;

    make_dir("d", 0755);
    fill("d", "stable", 20);
    d = opendir("d");
    while ((e = readdir(d)))
        count(e, "stable", seen, 20);
    counted("first", seen, 20);
    need(unlink("d/stable-0003") == 0, "unlink");
    make("d/new", 0644, "x");
    rewinddir(d);
    bool found = false;

    while ((e = readdir(d))) {
        count(e, "stable", again, 20);
        found |= !strcmp(e->d_name, "new");
    }
    counted("after rewinddir", again, 20);
    truth("new name", found, true);
    eq("removed name", again[3], 0);
}

static void seekdir_returns_to_its_place(void)
{
    static char names[MANY + 2][32];
    static long places[MANY + 2];
    int n = 0, wrong = 0;
    struct dirent *e;
    DIR *d;

    make_dir("d", 0755);
    fill("d", "stable", MANY);
    d = opendir("d");
    need(d != NULL, "opendir");
    for (;;) {
        places[n] = telldir(d);
        e = readdir(d);
        if (!e || n == MANY + 1)
            break;
        snprintf(names[n], sizeof(names[n]), "%.31s", e->d_name);
        n++;
    }
    eq("entries", n + 1, MANY + 2);
    for (int i = 0; i < 100; i++) {
        int at = i * 37 % n;

        seekdir(d, places[at]);
        e = readdir(d);
        wrong += !e || strcmp(e->d_name, names[at]) != 0;
    }
    eq("wrong places", wrong, 0);
    /* On from there, to the end. */
    seekdir(d, places[n / 2]);
    int rest = 0;

    while (readdir(d))
        rest++;
    eq("from the middle", rest, MANY + 2 - n / 2);
    /* Another stream of the same directory knows the place too. */
    DIR *two = opendir("d");

    seekdir(two, places[n / 3]);
    e = readdir(two);
    fact("in another stream", e && !strcmp(e->d_name, names[n / 3]));
    closedir(two);
    seekdir(d, 0);
    eq("start", telldir(d), 0);
    fact("to the start", readdir(d) != NULL);
}

/* A place that was told before names were removed around it. */
static void seekdir_after_removals(void)
{
    int seen[MANY] = { 0 }, first_half = 0;
    struct dirent *e;
    long place;
    DIR *d;

    make_dir("d", 0755);
    fill("d", "stable", MANY);
    fill("d", "going", MANY);
    d = opendir("d");
    for (int i = 0; i < MANY && (e = readdir(d)); i++) {
        count(e, "stable", seen, MANY);
        first_half++;
    }
    place = telldir(d);
    for (int i = 0; i < MANY; i++)
        need(unlink(fmt("d/going-%04d", i)) == 0, "unlink");
    seekdir(d, place);
    while ((e = readdir(d)))
        count(e, "stable", seen, MANY);
    counted("both halves", seen, MANY);
}

/* getdents64 with the smallest room there is. */
static void small_buffers(void)
{
    static const size_t rooms[] = { 24, 32, 64, 280, 512, 4096, 65536 };
    char *buf = malloc(65536);
    int fd;

    need(buf != NULL, "memory");
    make_dir("d", 0755);
    fill("d", "a-name-of-some-length-to-fill-the-room", 100);
    for (int i = 0; i < 7; i++) {
        long n, total = 0;

        fd = open("d", O_RDONLY | O_DIRECTORY);
        while ((n = syscall(SYS_getdents64, fd, buf, rooms[i])) > 0) {
            for (long at = 0; at < n; total++) {
                unsigned short len;

                memcpy(&len, buf + at + 16, sizeof(len));
                at += len;
            }
        }
        see(fmt("room of %zu ends with", rooms[i]), n);
        tell("entries", "%ld", rooms[i] > 64 ? total : -1);
        close(fd);
    }
}

static void by_two_descriptors(void)
{
    int a[100] = { 0 }, b[100] = { 0 };
    struct dirent *e;
    DIR *one, *two;

    make_dir("d", 0755);
    fill("d", "stable", 100);
    one = opendir("d");
    two = opendir("d");
    for (int i = 0; i < 300; i++) {
        e = readdir(one);
        if (e)
            count(e, "stable", a, 100);
        e = i % 2 ? readdir(two) : NULL;
        if (e)
            count(e, "stable", b, 100);
    }
    counted("one", a, 100);
    counted("other", b, 100);
}

static void of_a_removed_directory(void)
{
    struct dirent *e;
    int n = 0;
    DIR *d;

    make_dir("d", 0755);
    make("d/f", 0644, "x");
    d = opendir("d");
    need(unlink("d/f") == 0 && rmdir("d") == 0, "rmdir");
    errno = 0;
    while ((e = readdir(d)))
        n++;
    tell("entries", "%d, %s", n, errno ? err_name(errno) : "ok");
    rewinddir(d);
    for (n = 0, errno = 0; (e = readdir(d));)
        n++;
    tell("rewound", "%d, %s", n, errno ? err_name(errno) : "ok");
}

/* Names made after a listing was read are in the next, at once. */
static void the_next_listing_is_new(void)
{
    int wrong = 0;

    make_dir("d", 0755);
    for (int i = 0; i < 40; i++) {
        struct dirent *e;
        int n = 0;
        DIR *d;

        if (i % 2)
            make(fmt("d/n%d", i), 0644, "");
        else
            make_dir(fmt("d/n%d", i), 0755);
        d = opendir("d");
        while ((e = readdir(d)))
            n++;
        closedir(d);
        wrong += n != i + 3;
    }
    eq("wrong", wrong, 0);
    for (int i = 0; i < 40; i++) {
        int n = 0;
        DIR *d;

        if (i % 2)
            need(unlink(fmt("d/n%d", i)) == 0, "unlink");
        else
            need(rmdir(fmt("d/n%d", i)) == 0, "rmdir");
        d = opendir("d");
        while (readdir(d))
            n++;
        closedir(d);
        wrong += n != 41 - i;
    }
    eq("wrong while removing", wrong, 0);
}

AREA(dir, CASE(whole), CASE(while_names_come_and_go), CASE(removed_as_listed),
     CASE(rewind_sees_what_is_new), CASE(seekdir_returns_to_its_place),
     CASE(seekdir_after_removals), CASE(small_buffers),
     CASE(by_two_descriptors), CASE(of_a_removed_directory),
     CASE(the_next_listing_is_new));
