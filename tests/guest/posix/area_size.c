/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes: truncation, holes, the ends of files and of limits. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static long long size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? -1 : (long long)st.st_size;
}

static bool zeros(const void *p, size_t n)
{
    const char *c = p;

    for (size_t i = 0; i < n; i++) {
        if (c[i])
            return false;
    }
    return true;
}

static void up_and_down(void)
{
    static const long sizes[] = { 0,    1,    100,   4095,  4096,
                                  4097, 8192, 65535, 65536, 131073 };
    char *buf = malloc(140000), *ref = malloc(140000);

    need(buf && ref, "memory");
    memset(ref, 0, 140000);
    pattern(ref, 5000, 0);
    int fd = open("f", O_CREAT | O_RDWR, 0644);
    eq("write", pwrite(fd, ref, 5000, 0), 5000);
    for (int i = 0; i < 10; i++) {
        want(0, fmt("ftruncate %ld", sizes[i]), ftruncate(fd, sizes[i]));
        if (sizes[i] < 5000)
            memset(ref + sizes[i], 0, (size_t)(140000 - sizes[i]));
        eq("size", size_of("f"), sizes[i]);
        eq("read", pread(fd, buf, 140000, 0), sizes[i]);
        truth("bytes", memcmp(buf, ref, (size_t)sizes[i]) == 0, true);
        eq("write one", pwrite(fd, "x", 1, sizes[i] / 2), 1);
        ref[sizes[i] / 2] = 'x';
        if (sizes[i] == 0) {
            want(0, "and back", ftruncate(fd, 0));
            ref[0] = 0;
        }
    }
    /* What was cut off does not come back. */
    pattern(ref, 4096, 0);
    need(pwrite(fd, ref, 4096, 0) == 4096, "write");
    want(0, "cut", truncate("f", 10));
    want(0, "grow", truncate("f", 4096));
    eq("read all", pread(fd, buf, 4096, 0), 4096);
    truth("head", is_pattern(buf, 10, 0), true);
    truth("zeros after", zeros(buf + 10, 4086), true);
}

static void past_the_end(void)
{
    char buf[64];
    int fd = open("f", O_CREAT | O_RDWR, 0644);

    eq("write at 10000", pwrite(fd, "end", 3, 10000), 3);
    eq("size", size_of("f"), 10003);
    eq("read in the hole", pread(fd, buf, 64, 5000), 64);
    truth("zeros", zeros(buf, 64), true);
    eq("read over the end", pread(fd, buf, 64, 9999), 4);
    bytes("is", buf, 4, NULL);
    eq("read past", pread(fd, buf, 64, 20000), 0);
    want(EINVAL, "negative offset", pread(fd, buf, 1, -1));
    want(EINVAL, "negative write", pwrite(fd, buf, 1, -1));
    want(EINVAL, "negative size", ftruncate(fd, -1));
}

static void large_offsets(void)
{
    static const off_t at[] = { 0x7fffffffLL, 0x80000000LL, 0xffffffffLL,
                                0x100000000LL, 0xfffffff000LL };
    char buf[8];
    int fd = open("f", O_CREAT | O_RDWR, 0644);

    for (int i = 0; i < 5; i++) {
        eq(fmt("write at %llx", (long long)at[i]),
           pwrite(fd, "large", 5, at[i]), 5);
        bytes("read", buf, pread(fd, buf, 5, at[i]), "large");
    }
    eq("size", size_of("f"), 0xfffffff005LL);
    want(0, "truncate", ftruncate(fd, 0x100000002LL));
    bytes("cut", buf, pread(fd, buf, 5, 0x100000000LL), "la");
    see("the largest", ftruncate(fd, LLONG_MAX));
    see("seek to the largest", lseek(fd, LLONG_MAX, SEEK_SET));
    see("read at the largest", pread(fd, buf, 1, LLONG_MAX - 1));
}

static void file_size_limit(void)
{
    make("f", 0644, "");
    if (as(&root)) {
        struct rlimit lim = { 5000, 5000 };
        char page[4096];
        int fd = open("f", O_RDWR);

        signal(SIGXFSZ, SIG_IGN);
        need(setrlimit(RLIMIT_FSIZE, &lim) == 0, "setrlimit");
        memset(page, 'x', sizeof(page));
        eq("first", write(fd, page, 4096), 4096);
        eq("short", write(fd, page, 4096), 904);
        want(EFBIG, "none", write(fd, page, 1));
        want(EFBIG, "truncate", ftruncate(fd, 5001));
        want(0, "to the limit", ftruncate(fd, 5000));
        see("fallocate", fallocate(fd, 0, 0, 6000));
        over();
    }
    if (as(&root)) {
        struct rlimit lim = { 10, 10 };
        int fd = open("f", O_RDWR | O_APPEND);

        need(setrlimit(RLIMIT_FSIZE, &lim) == 0, "setrlimit");
        see("the signal", write(fd, "x", 1));
        over();
    }
    eq("size", size_of("f"), 5000);
}

static void holes(void)
{
    int fd = open("f", O_CREAT | O_RDWR, 0644);
    struct stat st;
    char page[4096];

    memset(page, 'x', sizeof(page));
    need(ftruncate(fd, 1 << 20) == 0, "ftruncate");
    need(pwrite(fd, page, 4096, 65536) == 4096, "write");
    need(pwrite(fd, page, 4096, 524288) == 4096, "write");
    /* What was written a moment ago is no hole. */
    truth("fresh data", lseek(fd, 524288, SEEK_DATA) == 524288, true);
    want(0, "fsync", fsync(fd));
    eq("data from 0", lseek(fd, 0, SEEK_DATA), 65536);
    eq("hole from 0", lseek(fd, 0, SEEK_HOLE), 0);
    eq("hole after the data", lseek(fd, 65536, SEEK_HOLE), 69632);
    eq("within the data", lseek(fd, 66000, SEEK_DATA), 66000);
    eq("next data", lseek(fd, 70000, SEEK_DATA), 524288);
    eq("last hole", lseek(fd, 524288, SEEK_HOLE), 528384);
    want(ENXIO, "no more data", lseek(fd, 600000, SEEK_DATA));
    want(ENXIO, "data past the end", lseek(fd, 1 << 20, SEEK_DATA));
    want(ENXIO, "hole past the end", lseek(fd, 1 << 20, SEEK_HOLE));
    see("a bad whence", lseek(fd, 0, 77));
    eq("position stays", lseek(fd, 0, SEEK_CUR), 524288 + 4096);
    need(fstat(fd, &st) == 0, "stat");
    truth("few blocks", st.st_blocks < 1024, true);
    make("full", 0644, "text");
    fd = open("full", O_RDONLY);
    eq("hole of a full file", lseek(fd, 0, SEEK_HOLE), 4);
    eq("its data", lseek(fd, 2, SEEK_DATA), 2);
}

/* Many pieces at once, and in one go as at single places. */
static void vectors(void)
{
    struct iovec iov[1025] = { 0 };
    /* An address that is nobody's, and that no compiler knows. */
    void *volatile bad = (void *)8;
    char *mem = malloc(1024 * 7), *back = malloc(1024 * 7);
    int fd = open("f", O_CREAT | O_RDWR, 0644);

    need(mem && back, "memory");
    pattern(mem, 1024 * 7, 0);
    for (int i = 0; i < 1024; i++)
        iov[i] = (struct iovec){ mem + i * 7, 7 };
    eq("writev", writev(fd, iov, 1024), 1024 * 7);
    for (int i = 0; i < 1024; i++)
        iov[i] = (struct iovec){ back + i * 7, 7 };
    eq("preadv", preadv(fd, iov, 1024, 0), 1024 * 7);
    truth("the same", is_pattern(back, 1024 * 7, 0), true);
    want(EINVAL, "too many", preadv(fd, iov, 1025, 0));
    iov[0].iov_len = 0;
    eq("an empty one", preadv(fd, iov, 2, 0), 7);
    eq("none", preadv(fd, iov, 0, 0), 0);
    want(EFAULT, "bad memory", write(fd, bad, 10));
    want(EFAULT, "bad memory to read to", pread(fd, bad, 10, 0));
    eq("RWF_APPEND", pwritev2(fd, iov + 1, 1, 0, RWF_APPEND), 7);
    eq("size", size_of("f"), 1024 * 7 + 7);
    see("RWF_DSYNC", pwritev2(fd, iov + 1, 1, 0, RWF_DSYNC));
    see("RWF_HIPRI", preadv2(fd, iov + 1, 1, 0, RWF_HIPRI));
    see("RWF_NOWAIT, cached or not",
        preadv2(fd, iov + 1, 1, 0, RWF_NOWAIT) < 0 && errno != EAGAIN ? -1 : 0);
}

static void big_pieces(void)
{
    static const size_t lens[] = { 131072, 1 << 20, (1 << 20) + 1, 5000001 };
    char *mem = malloc(5000001), *back = malloc(5000001);

    need(mem && back, "memory");
    pattern(mem, 5000001, 0);
    for (int i = 0; i < 4; i++) {
        int fd = open("f", O_CREAT | O_RDWR | O_TRUNC, 0644);

        eq(fmt("write %zu", lens[i]), write(fd, mem, lens[i]),
           (long long)lens[i]);
        memset(back, 0, 5000001);
        eq("read", pread(fd, back, 5000001, 0), (long long)lens[i]);
        truth("the same", !memcmp(mem, back, lens[i]), true);
        close(fd);
        fd = open("f", O_RDONLY);
        memset(back, 0, 5000001);
        eq("opened anew", pread(fd, back, 5000001, 0), (long long)lens[i]);
        truth("the same then", !memcmp(mem, back, lens[i]), true);
        close(fd);
    }
}

static void advice_and_sync(void)
{
    int fd = open("f", O_CREAT | O_RDWR, 0644), ro;

    need(write(fd, "text", 4) == 4, "write");
    want(0, "fsync", fsync(fd));
    want(0, "fdatasync", fdatasync(fd));
    want(0, "syncfs", syncfs(fd));
    want(0, "sync_file_range",
         sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    want(0, "advice", posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    want(0, "readahead", readahead(fd, 0, 4096));
    ro = open("f", O_RDONLY);
    want(0, "fsync of a read-only", fsync(ro));
    eq("posix_fallocate", posix_fallocate(fd, 0, 10000), 0);
    eq("size", size_of("f"), 10000);
    eq("on a read-only", posix_fallocate(ro, 0, 10), EBADF);
}

/* What one writes, another descriptor and another process read at once. */
static void seen_at_once(void)
{
    char buf[16];
    int fd, ro;

    make("f", 0644, "old text");
    fd = open("f", O_RDWR);
    ro = open("f", O_RDONLY);
    bytes("before", buf, pread(ro, buf, 16, 0), "old text");
    need(pwrite(fd, "NEW", 3, 0) == 3, "write");
    bytes("after", buf, pread(ro, buf, 16, 0), "NEW text");
    if (as(&carol)) {
        content("another process", "f", "NEW text");
        over();
    }
    if (as(&root)) {
        int w = open("f", O_WRONLY | O_APPEND);

        need(write(w, " more", 5) == 5, "write");
        over();
    }
    bytes("what it wrote", buf, pread(ro, buf, 16, 0), "NEW text more");
    eq("size", size_of("f"), 13);
    need(truncate("f", 3) == 0, "truncate");
    bytes("truncated", buf, pread(ro, buf, 16, 0), "NEW");
}

AREA(size, CASE(up_and_down), CASE(past_the_end), CASE(large_offsets),
     CASE(file_size_limit), CASE(holes), CASE(vectors), CASE(big_pieces),
     CASE(advice_and_sync), CASE(seen_at_once));
