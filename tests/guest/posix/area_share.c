/* SPDX-License-Identifier: BSD-3-Clause */
/* Two processes at one file: nothing is lost, nothing is mixed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

#define WRITERS 4
#define RECORDS 60

/* Each record is whole, and each writer's come in its own order. */
static void check_records(const char *name, size_t len)
{
    int next[WRITERS] = { 0 }, total = 0, torn = 0, disorder = 0;
    char rec[512], ref[512];
    int fd = open(name, O_RDONLY);

    while (read(fd, rec, len) == (ssize_t)len) {
        int who = rec[0] - '0', n = atoi(rec + 2);

        total++;
        if (who < 0 || who >= WRITERS) {
            torn++;
            continue;
        }
        memset(ref, 'a' + who, len);
        snprintf(ref, len, "%d %06d", who, n);
        torn += memcmp(rec, ref, len) != 0;
        disorder += n != next[who]++;
    }
    eq("records", total, WRITERS * RECORDS);
    eq("torn", torn, 0);
    eq("out of order", disorder, 0);
}

static void append_with(int flags, size_t len)
{
    pid_t pid[WRITERS];

    make("f", 0644, "");
    for (int who = 0; who < WRITERS; who++) {
        pid[who] = begin(&root);
        if (pid[who] == 0) {
            int fd = open("f", O_WRONLY | O_APPEND | flags);
            char rec[512];

            memset(rec, 'a' + who, len);
            for (int n = 0; n < RECORDS; n++) {
                snprintf(rec, len, "%d %06d", who, n);
                need(write(fd, rec, len) == (ssize_t)len, "write");
            }
            over();
        }
    }
    for (int who = 0; who < WRITERS; who++)
        await(pid[who]);
    check_records("f", len);
}

static void append_small(void)
{
    append_with(0, 20);
}

static void append_odd(void)
{
    append_with(0, 511);
}

static void append_sync(void)
{
    append_with(O_DSYNC, 100);
}

/* One offset: a record each, at places that nobody shares. */
static void one_descriptor_for_all(void)
{
    pid_t pid[WRITERS];
    int fd = open("f", O_CREAT | O_WRONLY, 0644);

    for (int who = 0; who < WRITERS; who++) {
        pid[who] = begin(&root);
        if (pid[who] == 0) {
            char rec[100];

            memset(rec, 'a' + who, sizeof(rec));
            for (int n = 0; n < RECORDS; n++) {
                snprintf(rec, sizeof(rec), "%d %06d", who, n);
                need(write(fd, rec, sizeof(rec)) == 100, "write");
            }
            over();
        }
    }
    for (int who = 0; who < WRITERS; who++)
        await(pid[who]);
    check_records("f", 100);
}

static void interleaved_pages(void)
{
    pid_t pid[WRITERS];
    char *mem = malloc(100000);
    int fd = open("f", O_CREAT | O_RDWR, 0644);

    need(mem != NULL, "memory");
    for (int who = 0; who < WRITERS; who++) {
        pid[who] = begin(&root);
        if (pid[who] == 0) {
            int own_fd = open("f", O_WRONLY);
            char piece[1000];

            for (int n = who; n < 100; n += WRITERS) {
                pattern(piece, 1000, (uint64_t)n * 1000);
                need(pwrite(own_fd, piece, 1000, n * 1000) == 1000, "write");
            }
            over();
        }
    }
    for (int who = 0; who < WRITERS; who++)
        await(pid[who]);
    eq("read", pread(fd, mem, 100000, 0), 100000);
    truth("all there", is_pattern(mem, 100000, 0), true);
}

/* A reader of a file that grows never sees what was not written. */
static void a_reader_behind_a_writer(void)
{
    char buf[4096];
    uint64_t at = 0;
    int wrong = 0, fd;
    pid_t pid;

    make("f", 0644, "");
    pid = begin(&root);
    if (pid == 0) {
        int w = open("f", O_WRONLY);

        for (int n = 0; n < 100; n++) {
            pattern(buf, 777, (uint64_t)n * 777);
            need(write(w, buf, 777) == 777, "write");
        }
        over();
    }
    fd = open("f", O_RDONLY);
    for (int i = 0; i < 200000 && at < 100 * 777; i++) {
        ssize_t n = read(fd, buf, sizeof(buf));

        if (n < 0) {
            see("read", -1);
            break;
        }
        wrong += !is_pattern(buf, (size_t)n, at);
        at += (uint64_t)n;
        if (n == 0)
            usleep(100);
    }
    await(pid);
    eq("read", (long long)at, 100 * 777);
    eq("wrong", wrong, 0);
}

static void truncated_under_a_reader(void)
{
    char buf[8192];
    int fd;

    memset(buf, 'x', sizeof(buf));
    fd = open("f", O_CREAT | O_RDWR, 0644);
    need(write(fd, buf, 8192) == 8192, "write");
    eq("read", pread(fd, buf, 8192, 0), 8192);
    if (as(&root)) {
        need(truncate("f", 100) == 0, "truncate");
        over();
    }
    eq("then", pread(fd, buf, 8192, 0), 100);
    if (as(&root)) {
        need(truncate("f", 8192) == 0, "truncate");
        over();
    }
    eq("and then", pread(fd, buf, 8192, 0), 8192);
    eq("zeros", buf[100] | buf[4096] | buf[8191], 0);
    eq("kept", buf[99], 'x');
}

static void created_by_others_is_seen(void)
{
    struct stat st;

    want(ENOENT, "not yet", stat("f", &st));
    if (as(&root)) {
        make("f", 0644, "x");
        make_dir("d", 0755);
        over();
    }
    want(0, "at once", stat("f", &st));
    want(0, "in its directory", open("d/g", O_CREAT | O_RDWR, 0644));
    if (as(&root)) {
        need(unlink("f") == 0 && unlink("d/g") == 0, "unlink");
        over();
    }
    want(ENOENT, "gone at once", stat("f", &st));
    want(0, "empty again", rmdir("d"));
}

static void many_make_and_remove(void)
{
    pid_t pid[WRITERS];
    int left = 0;

    for (int who = 0; who < WRITERS; who++) {
        pid[who] = begin(&root);
        if (pid[who] == 0) {
            for (int n = 0; n < 30; n++) {
                make(fmt("w%d-%d", who, n), 0644, "text");
                need(rename(fmt("w%d-%d", who, n), fmt("r%d-%d", who, n)) == 0,
                     "rename");
                if (n % 3)
                    need(unlink(fmt("r%d-%d", who, n)) == 0, "unlink");
            }
            over();
        }
    }
    for (int who = 0; who < WRITERS; who++)
        await(pid[who]);
    for (int who = 0; who < WRITERS; who++) {
        for (int n = 0; n < 30; n++)
            left += access(fmt("r%d-%d", who, n), F_OK) == 0;
    }
    eq("left", left, WRITERS * 10);
}

/* All of them want the same directories, and remove them too. */
static void mkdir_against_rmdir(void)
{
    pid_t pid[WRITERS];

    for (int who = 0; who < WRITERS; who++) {
        pid[who] = begin(&root);
        if (pid[who] == 0) {
            int odd = 0;

            for (int n = 0; n < 40; n++) {
                if (mkdir("d", 0755) < 0 && errno != EEXIST)
                    odd++;
                int fd = open("d/f", O_CREAT | O_RDWR, 0644);

                if (fd < 0 && errno != ENOENT)
                    odd++;
                close(fd);
                if (unlink("d/f") < 0 && errno != ENOENT)
                    odd++;
                if (rmdir("d") < 0 && errno != ENOENT && errno != ENOTEMPTY)
                    odd++;
            }
            if (odd)
                tell("other errors", "%d", odd);
            over();
        }
    }
    for (int who = 0; who < WRITERS; who++)
        await(pid[who]);
    rmdir("d");
    want(ENOENT, "gone", access("d", F_OK));
}

AREA(share, CASE(append_small), CASE(append_odd), CASE(append_sync),
     CASE(one_descriptor_for_all), CASE(interleaved_pages),
     CASE(a_reader_behind_a_writer), CASE(truncated_under_a_reader),
     CASE(created_by_others_is_seen), CASE(many_make_and_remove),
     CASE(mkdir_against_rmdir));
