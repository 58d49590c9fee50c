/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/fds.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

#define TOP 40

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* In a child: what is closed there stays open here. */
static int in_child(int (*run)(const int *keep, size_t n), const int *keep,
                    size_t n)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(run(keep, n));
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Return: 0, or the number of the fd that is not as it should be. */
static int close_and_look(const int *keep, size_t n)
{
    for (int fd = 3; fd <= TOP; fd++)
        if (dup2(STDOUT_FILENO, fd) < 0)
            return 200;
    if (fds_close_except(keep, n) < 0)
        return 201;
    for (int fd = 0; fd <= TOP; fd++) {
        bool want = fd < 3;

        for (size_t i = 0; i < n; i++)
            want = want || keep[i] == fd;
        if (is_open(fd) != want)
            return fd ? fd : 202;
    }
    return 0;
}

static void all_fds_but_the_kept_ones_are_closed(void)
{
    static const struct {
        const char *why;
        int keep[4];
        size_t n;
    } rows[] = {
        { "none", { 0 }, 0 },
        { "the first", { 3 }, 1 },
        { "the last", { TOP }, 1 },
        { "out of order", { 17, 5, 9 }, 3 },
        { "neighbours", { 6, 7, 8 }, 3 },
        { "no fd at all", { -1 }, 1 },
        { "one of stdio", { 1, 4 }, 2 },
        { "twice the same", { 12, 12 }, 2 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        CHECK_EQ(in_child(close_and_look, rows[i].keep, rows[i].n), 0,
                 rows[i].why);
}

static int fill_and_look(const int *closed, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(closed[i]);
    if (fds_fill_stdio() < 0)
        return 1;
    return is_open(0) && is_open(1) && is_open(2) ? 0 : 2;
}

static void closed_stdio_is_filled(void)
{
    static const int all[] = { 0, 1, 2 }, middle[] = { 1 };

    CHECK_EQ(in_child(fill_and_look, all, 3), 0, "all three");
    CHECK_EQ(in_child(fill_and_look, middle, 1), 0, "one");
    CHECK_EQ(in_child(fill_and_look, NULL, 0), 0, "none");
}

TAP_MAIN(TEST(all_fds_but_the_kept_ones_are_closed),
         TEST(closed_stdio_is_filled))
