/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/*
 * Holds locks in a guest, and on the host, for locks.sh.
 *
 *     agent DIR NAME
 *
 * The commands are the files DIR/NAME.1, DIR/NAME.2, ...; the answer to each
 * is a line "@@ note NAME.1 ANSWER": granted, refused, done or an error.
 *
 *     flock ex|sh|un try|wait               of the file DIR/lock
 *     range ex|sh|un START LENGTH try|wait  of it, by fcntl()
 *     count flock|range N                   add one to DIR/count, N times,
 *                                           each time under such a lock
 *     quit
 */

static int lock_fd = -1;
static char word[5][32];

static bool is(int at, const char *what)
{
    return strcmp(word[at], what) == 0;
}

static int take_flock(const char *how, bool wait)
{
    int op = strcmp(how, "ex") == 0   ? LOCK_EX
             : strcmp(how, "sh") == 0 ? LOCK_SH
                                      : LOCK_UN;

    return flock(lock_fd, wait ? op : op | LOCK_NB);
}

static int take_range(const char *how, long start, long len, bool wait)
{
    struct flock fl = {
        .l_type = strcmp(how, "ex") == 0   ? F_WRLCK
                  : strcmp(how, "sh") == 0 ? F_RDLCK
                                           : F_UNLCK,
        .l_whence = SEEK_SET,
        .l_start = start,
        .l_len = len,
    };

    return fcntl(lock_fd, wait ? F_SETLKW : F_SETLK, &fl);
}

static const char *verdict(int ret)
{
    if (ret == 0)
        return "granted";
    return errno == EAGAIN || errno == EACCES ? "refused" : strerror(errno);
}

/* Opened anew each time: that is when a guest looks for what others wrote. */
static int add_one(const char *path)
{
    uint64_t n = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int ret = -1;

    if (fd < 0)
        return -1;
    if (pread(fd, &n, sizeof(n), 0) == (ssize_t)sizeof(n)) {
        n++;
        if (pwrite(fd, &n, sizeof(n), 0) == (ssize_t)sizeof(n))
            ret = 0;
    }
    return close(fd) < 0 ? -1 : ret;
}

static const char *count(const char *path, bool by_flock, long times)
{
    while (times-- > 0) {
        if (by_flock ? take_flock("ex", true) : take_range("ex", 0, 0, true))
            return strerror(errno);
        if (add_one(path) < 0)
            return strerror(errno);
        if (by_flock ? take_flock("un", true) : take_range("un", 0, 0, true))
            return strerror(errno);
    }
    return "done";
}

static const char *obey(const char *counter)
{
    if (is(0, "flock"))
        return verdict(take_flock(word[1], is(2, "wait")));
    if (is(0, "range"))
        return verdict(
            take_range(word[1], atol(word[2]), atol(word[3]), is(4, "wait")));
    if (is(0, "count"))
        return count(counter, is(1, "flock"), atol(word[2]));
    return is(0, "quit") ? "done" : "what?";
}

/* It comes into being by a rename, so what is there is whole. */
static void next_command(const char *path)
{
    FILE *f;

    while (!(f = fopen(path, "re")))
        usleep(20000);
    memset(word, 0, sizeof(word));
    if (fscanf(f, "%31s %31s %31s %31s %31s", word[0], word[1], word[2],
               word[3], word[4]) < 1)
        memset(word, 0, sizeof(word));
    fclose(f);
}

int main(int argc, char **argv)
{
    char path[256], counter[256];

    if (argc != 3)
        return 2;
    snprintf(path, sizeof(path), "%s/lock", argv[1]);
    snprintf(counter, sizeof(counter), "%s/count", argv[1]);
    lock_fd = open(path, O_RDWR | O_CLOEXEC);
    if (lock_fd < 0) {
        perror(path);
        return 1;
    }
    for (int n = 1; !is(0, "quit"); n++) {
        snprintf(path, sizeof(path), "%s/%s.%d", argv[1], argv[2], n);
        next_command(path);
        printf("@@ note %s.%d %s\n", argv[2], n, obey(counter));
        fflush(stdout);
    }
    return 0;
}
