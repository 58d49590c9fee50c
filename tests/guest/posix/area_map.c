/* SPDX-License-Identifier: BSD-3-Clause */
/* Mapped files: shared, private, past the end, and beside read and write. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

#define PAGE 4096
static sigjmp_buf out;

static void caught(int sig)
{
    siglongjmp(out, sig);
}

/* "SIGBUS", or "none" when the byte can be touched. */
static void touch(const char *label, volatile char *p, bool write_it)
{
    int sig;

    signal(SIGBUS, caught);
    signal(SIGSEGV, caught);
    sig = sigsetjmp(out, 1);
    if (sig) {
        tell(label, "SIG%s", sigabbrev_np(sig));
        return;
    }
    if (write_it)
        *p = 'w';
    else
        (void)*p;
    tell(label, "none");
}

/* A descriptor of a file of @n pages, which hold the pattern. */
static int pages(const char *name, int n)
{
    char buf[PAGE];
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);

    for (int i = 0; i < n; i++) {
        pattern(buf, PAGE, (uint64_t)i * PAGE);
        need(pwrite(fd, buf, PAGE, i * PAGE) == PAGE, name);
    }
    return fd;
}

static void shared(void)
{
    int fd = pages("f", 4);
    char buf[16];
    char *p;

    p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (see("mmap", p == MAP_FAILED ? -1 : 0) < 0)
        return;
    truth("has the file's bytes", is_pattern(p, 4 * PAGE, 0), true);
    memcpy(p + PAGE, "mapped", 6);
    bytes("read sees it", buf, pread(fd, buf, 6, PAGE), "mapped");
    eq("write", pwrite(fd, "WRITTEN", 7, 2 * PAGE), 7);
    bytes("the map sees it", p + 2 * PAGE, 7, "WRITTEN");
    want(0, "msync", msync(p, 4 * PAGE, MS_SYNC));
    want(0, "msync later", msync(p, 4 * PAGE, MS_ASYNC));
    memcpy(p, "last", 4);
    want(0, "closed", close(fd));
    memcpy(p + 10, "more", 4);
    want(0, "munmap", munmap(p, 4 * PAGE));
    fd = open("f", O_RDONLY);
    bytes("opened anew", buf, pread(fd, buf, 4, 0), "last");
    bytes("after the close", buf, pread(fd, buf, 4, 10), "more");
    bytes("and before", buf, pread(fd, buf, 6, PAGE), "mapped");
}

static void between_processes(void)
{
    int fd = pages("f", 1);
    char *p;

    p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (see("mmap", p == MAP_FAILED ? -1 : 0) < 0)
        return;
    if (as(&root)) {
        int own_fd = open("f", O_RDWR);
        char *q =
            mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, own_fd, 0);

        need(q != MAP_FAILED, "mmap");
        memcpy(q, "child", 5);
        truth("its write is in ours", memcmp(p, "child", 5) == 0, true);
        over();
    }
    bytes("seen here", p, 5, "child");
    content("and by read", "f", NULL);
}

static void private(void)
{
    int fd = pages("f", 2);
    char buf[16];
    char *p;

    p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (want(0, "mmap", p == MAP_FAILED ? -1 : 0) < 0)
        return;
    truth("has the file's bytes", is_pattern(p, 2 * PAGE, 0), true);
    memcpy(p, "mine", 4);
    need(pread(fd, buf, 4, 0) == 4, "read");
    truth("the file keeps its own", is_pattern(buf, 4, 0), true);
    eq("write elsewhere", pwrite(fd, "theirs", 6, PAGE), 6);
    bytes("an untouched page follows", p + PAGE, 6, NULL);
    bytes("a touched one does not", p, 4, "mine");
    close(fd);
    fd = open("f", O_RDONLY);
    p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    want(0, "writable of a read-only", p == MAP_FAILED ? -1 : 0);
    p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    want(0, "to run", p == MAP_FAILED ? -1 : 0);
}

static void protections(void)
{
    int ro, wo;

    pages("f", 1);
    ro = open("f", O_RDONLY);
    wo = open("f", O_WRONLY);
    want(EACCES, "shared write of a read-only",
         mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) ==
                 MAP_FAILED
             ? -1
             : 0);
    want(EACCES, "anything of a write-only",
         mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0) == MAP_FAILED ? -1
                                                                       : 0);
    see("shared read of a read-only",
        mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0);
    want(ENODEV, "a directory",
         mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, open(".", O_RDONLY), 0) ==
                 MAP_FAILED
             ? -1
             : 0);
    want(EINVAL, "odd offset",
         mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ro, 5) == MAP_FAILED ? -1
                                                                       : 0);
}

static void past_the_end(void)
{
    int fd = pages("f", 1);
    char *p;

    need(ftruncate(fd, PAGE + 100) == 0, "ftruncate");
    p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (see("mmap", p == MAP_FAILED ? -1 : 0) < 0)
        return;
    touch("within", p + PAGE + 99, true);
    touch("rest of the last page", p + PAGE + 2000, true);
    touch("the next page", p + 2 * PAGE, false);
    want(0, "grow", ftruncate(fd, 3 * PAGE));
    touch("then", p + 2 * PAGE, true);
    want(0, "shrink", ftruncate(fd, 100));
    touch("and not again", p + 2 * PAGE, false);
    touch("nor", p + PAGE, false);
    touch("the first", p, false);
    /* What stood past the end is not in the file when it grows. */
    want(0, "write past the end", (p[200] = 'x', 0));
    want(0, "grow again", ftruncate(fd, PAGE));
    eq("zero", p[200], 0);
    if (as(&root)) {
        touch("in another process", p, false);
        over();
    }
}

static void of_a_removed_file(void)
{
    int fd = pages("f", 2);
    char *p;

    p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (see("mmap", p == MAP_FAILED ? -1 : 0) < 0)
        return;
    want(0, "unlink", unlink("f"));
    want(0, "close", close(fd));
    truth("still there", is_pattern(p, 2 * PAGE, 0), true);
    p[0] = 'x';
    want(0, "msync", msync(p, 2 * PAGE, MS_SYNC));
    want(0, "remap",
         mremap(p, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
}

/* Pages go to their place, through whatever descriptor. */
static void of_an_append_descriptor(void)
{
    int fd = pages("f", 2), app;
    struct stat st;
    char buf[16];
    char *p;

    need(close(fd) == 0, "close");
    app = open("f", O_RDWR | O_APPEND);
    p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, app, 0);
    if (see("mmap", p == MAP_FAILED ? -1 : 0) < 0)
        return;
    memcpy(p, "mapped", 6);
    want(0, "msync", msync(p, 2 * PAGE, MS_SYNC));
    need(fstat(app, &st) == 0, "stat");
    eq("size", st.st_size, 2 * PAGE);
    munmap(p, 2 * PAGE);
    close(app);
    fd = open("f", O_RDONLY);
    need(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
    bytes("in its place", buf, pread(fd, buf, 6, 0), "mapped");
    need(fstat(fd, &st) == 0, "stat");
    eq("size then", st.st_size, 2 * PAGE);
}

/* A page that a read brings in while its file is mapped elsewhere. */
static void beside_read_and_write(void)
{
    int fd = pages("f", 8), wrong = 0;
    char buf[PAGE];
    char *p;

    p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (see("mmap", p == MAP_FAILED ? -1 : 0) < 0)
        return;
    for (int i = 0; i < 200; i++) {
        int at = i * 1237 % (7 * PAGE);

        memset(buf, 'a' + i % 26, 500);
        if (i % 2) {
            memcpy(p + at, buf, 500);
            wrong += pread(fd, buf + 1000, 500, at) != 500 ||
                     memcmp(buf, buf + 1000, 500) != 0;
        } else {
            wrong += pwrite(fd, buf, 500, at) != 500 ||
                     memcmp(buf, p + at, 500) != 0;
        }
    }
    eq("wrong", wrong, 0);
    want(0, "msync", msync(p, 8 * PAGE, MS_SYNC));
    memcpy(buf, p + 5 * PAGE, PAGE);
    want(0, "advice", madvise(p, 8 * PAGE, MADV_DONTNEED));
    truth("comes back", memcmp(buf, p + 5 * PAGE, PAGE) == 0, true);
}

AREA(map, CASE(shared), CASE(between_processes), CASE(private),
     CASE(protections), CASE(past_the_end), CASE(of_a_removed_file),
     CASE(of_an_append_descriptor), CASE(beside_read_and_write));
