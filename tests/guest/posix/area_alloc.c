/* SPDX-License-Identifier: BSD-3-Clause */
/* fallocate(2) in all its modes, and what copies within the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

#define LEN 65536

static char *mem, *ref;

static int filled(const char *name)
{
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);

    if (!mem) {
        mem = malloc(LEN * 4);
        ref = malloc(LEN * 4);
    }
    need(fd >= 0 && mem && ref, name);
    memset(ref, 0, LEN * 4);
    pattern(ref, LEN, 0);
    need(write(fd, ref, LEN) == LEN, name);
    return fd;
}

/* The file is the first @len bytes of ref. */
static void compare(const char *label, int fd, long long len)
{
    ssize_t n = pread(fd, mem, LEN * 4, 0);

    tell(label, "%zd bytes%s%s", n, n == len ? "" : ", not the size wanted",
         n > 0 && memcmp(mem, ref, (size_t)n) ? ", others" : "");
}

static void plain(void)
{
    int fd = filled("f");

    see("within", fallocate(fd, 0, 1000, 2000));
    compare("is", fd, LEN);
    see("beyond", fallocate(fd, 0, LEN, 5000));
    compare("longer", fd, LEN + 5000);
    see("keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, LEN * 2, 5000));
    compare("as long", fd, LEN + 5000);
    want(EINVAL, "no length", fallocate(fd, 0, 0, 0));
    want(EINVAL, "negative", fallocate(fd, 0, -1, 10));
    want(EBADF, "read-only", fallocate(open("f", O_RDONLY), 0, 0, 10));
    see("on a directory", fallocate(open(".", O_RDONLY), 0, 0, 10));
}

static void punch(void)
{
    int fd = filled("f"), flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    see("aligned", fallocate(fd, flags, 4096, 8192));
    memset(ref + 4096, 0, 8192);
    compare("is", fd, LEN);
    see("odd", fallocate(fd, flags, 20001, 7777));
    memset(ref + 20001, 0, 7777);
    compare("is then", fd, LEN);
    see("over the end", fallocate(fd, flags, LEN - 100, 5000));
    memset(ref + LEN - 100, 0, 100);
    compare("as long", fd, LEN);
    see("without keep size", fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
    want(0, "fsync", fsync(fd));
    eq("hole", lseek(fd, 4096, SEEK_HOLE), 4096);
}

static void zero(void)
{
    int fd = filled("f");
    long ret;

    ret = see("within", fallocate(fd, FALLOC_FL_ZERO_RANGE, 100, 9000));
    if (ret == 0)
        memset(ref + 100, 0, 9000);
    compare("is", fd, LEN);
    ret = see("over the end",
              fallocate(fd, FALLOC_FL_ZERO_RANGE, LEN - 100, 200));
    if (ret == 0)
        memset(ref + LEN - 100, 0, 200);
    compare("longer", fd, ret == 0 ? LEN + 100 : LEN);
    see("keep size",
        fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, LEN, 9000));
    compare("as long", fd, ret == 0 ? LEN + 100 : LEN);
}

static void shift(void)
{
    int fd = filled("f");

    see("collapse", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096));
    tell("size", "%lld", (long long)lseek(fd, 0, SEEK_END));
    see("insert", fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 4096));
    tell("size then", "%lld", (long long)lseek(fd, 0, SEEK_END));
    see("unshare", fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, 4096));
    see("unknown", fallocate(fd, 0x8000, 0, 4096));
}

static void copy_range(void)
{
    int in = filled("in"), out = filled("out");
    off_t from = 1000, to = 30000;

    eq("copy", see("call", copy_file_range(in, &from, out, &to, 20000, 0)) < 0,
       0);
    pattern(ref + 30000, 20000, 1000);
    compare("is", out, LEN);
    eq("from", from, 21000);
    eq("to", to, 50000);
    from = LEN - 10;
    to = LEN;
    eq("over the end", copy_file_range(in, &from, out, &to, 100, 0), 10);
    pattern(ref + LEN, 10, LEN - 10);
    compare("longer", out, LEN + 10);
    eq("past the end", copy_file_range(in, &from, out, &to, 100, 0), 0);
    want(EINVAL, "flags", copy_file_range(in, NULL, out, NULL, 10, 1));
    want(EBADF, "to a read-only",
         copy_file_range(in, NULL, open("out", O_RDONLY), NULL, 10, 0));
    want(EBADF, "to append",
         copy_file_range(in, NULL, open("out", O_WRONLY | O_APPEND), NULL, 10,
                         0));
    want(EISDIR, "from a directory",
         copy_file_range(open(".", O_RDONLY), NULL, out, NULL, 10, 0));
}

static void copy_range_in_one_file(void)
{
    int fd = filled("f");
    off_t from = 0, to = 40000;

    eq("apart", copy_file_range(fd, &from, fd, &to, 10000, 0), 10000);
    pattern(ref + 40000, 10000, 0);
    compare("is", fd, LEN);
    from = 0;
    to = 100;
    want(EINVAL, "overlapping", copy_file_range(fd, &from, fd, &to, 1000, 0));
    compare("as it was", fd, LEN);
}

/* Written just before, read just after, by other descriptors. */
static void copy_range_sees_what_waits(void)
{
    int in = filled("in"), out = filled("out");
    off_t from = 0, to = 0;

    need(pwrite(in, "waiting", 7, 0) == 7, "write");
    need(pwrite(out, "dirty", 5, 100) == 5, "write");
    eq("copy", copy_file_range(in, &from, out, &to, 50, 0), 50);
    memcpy(ref, "waiting", 7);
    memcpy(ref + 100, "dirty", 5);
    compare("is", out, LEN);
    int other = open("out", O_RDONLY);

    compare("another", other, LEN);
}

static void sends(void)
{
    int in = filled("in"), out = open("out", O_CREAT | O_RDWR, 0644);
    int tube[2];
    off_t from = 10;

    eq("sendfile", sendfile(out, in, &from, 30000), 30000);
    pattern(ref, 30000, 10);
    compare("is", out, 30000);
    need(pipe(tube) == 0, "pipe");
    from = 5;
    eq("splice out", splice(in, &from, tube[1], NULL, 4096, 0), 4096);
    from = 1;
    eq("splice in", splice(tube[0], NULL, out, &from, 4096, 0), 4096);
    pattern(ref + 1, 4096, 5);
    compare("is then", out, 30000);
}

AREA(alloc, CASE(plain), CASE(punch), CASE(zero), CASE(shift), CASE(copy_range),
     CASE(copy_range_in_one_file), CASE(copy_range_sees_what_waits),
     CASE(sends));
