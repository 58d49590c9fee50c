/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * random_io: every operation that changes or shows a file, in any order, and
 * a copy in memory that knows what must come out.  One seed is one run, on
 * any file system; what a file system does not support is left out and told.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_LEN   (256 * 1024)
#define MAX_PIECE (64 * 1024)
#define PAGE      4096
#define LOG_LINES 80

/* Process-wide: the program is one run over one file. */
static char *want, *got;
static size_t size;
static int fd = -1;
static char name[64] = "file";
static unsigned int names;
static uint64_t seed, state;
static unsigned long n_op;
static bool use_direct = true;
static bool mapped; /* written through a mapping, and no fsync since */
static char trail[LOG_LINES][120];
static unsigned long trail_n;

/* xorshift64*: the same numbers everywhere. */
static uint64_t random_number(uint64_t below)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 0x2545f4914f6cdd1dULL >> 16) % below;
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    char *line = trail[trail_n++ % LOG_LINES];
    int n = snprintf(line, sizeof(trail[0]), "%lu: size %zu: ", n_op, size);
    va_list ap;

    va_start(ap, format);
    vsnprintf(line + n, sizeof(trail[0]) - (size_t)n, format, ap);
    va_end(ap);
}

static void fail(const char *what) __attribute__((noreturn));
static void fail(const char *what)
{
    unsigned long from = trail_n > LOG_LINES ? trail_n - LOG_LINES : 0;
    int err = errno;

    printf("random_io: seed %llu, operation %lu: %s (%s)\n",
           (unsigned long long)seed, n_op, what, strerror(err));
    for (unsigned long i = from; i < trail_n; i++)
        printf("    %s\n", trail[i % LOG_LINES]);
    fflush(stdout);
    _exit(1);
}

/* errno says that there is no such operation here. */
static bool unsupported(void)
{
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV;
}

static void compare(const char *what, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (got[i] != want[at + i]) {
            char text[160];
            size_t end = i;

            while (end < n && got[end] != want[at + end])
                end++;
            snprintf(text, sizeof(text),
                     "%s: bytes 0x%zx to 0x%zx: first 0x%02x, wanted 0x%02x",
                     what, at + i, at + end - 1, (unsigned char)got[i],
                     (unsigned char)want[at + i]);
            errno = 0;
            fail(text);
        }
    }
}

static void check_size(const char *what)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || (size_t)st.st_size != size) {
        printf("size %lld, wanted %zu\n", (long long)st.st_size, size);
        fail(what);
    }
    if (stat(name, &st) < 0 || (size_t)st.st_size != size)
        fail("the size by name");
}

/* Somewhere, often at the edge of a page. */
static size_t place(size_t below)
{
    size_t at = random_number(below + 1);

    if (random_number(3) == 0)
        at = at / PAGE * PAGE;
    if (random_number(8) == 0 && at > 0)
        at--;
    return at;
}

/* A piece of the file's room: offset and length, length at least 1. */
static void piece(size_t below, size_t *at, size_t *n)
{
    *at = place(below - 1);
    *n = 1 + random_number(random_number(4) ? PAGE * 2 : MAX_PIECE);
    if (*n > below - *at)
        *n = below - *at;
}

static void fresh(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)random_number(256);
}

static void grown(size_t end)
{
    if (end > size)
        size = end;
}

static int do_read(void)
{
    size_t at, n;
    ssize_t ret;

    piece(MAX_LEN, &at, &n);
    note("read %zu+%zu", at, n);
    ret = pread(fd, got, n, (off_t)at);
    if (at >= size)
        n = 0;
    else if (n > size - at)
        n = size - at;
    if (ret != (ssize_t)n)
        fail("read: length");
    compare("read", at, n);
    return 0;
}

static int do_write(void)
{
    size_t at, n;

    piece(MAX_LEN, &at, &n);
    note("write %zu+%zu", at, n);
    fresh(want + at, n);
    if (pwrite(fd, want + at, n, (off_t)at) != (ssize_t)n)
        fail("write");
    grown(at + n);
    return 0;
}

static int do_writev(void)
{
    struct iovec iov[7];
    size_t at, n, done = 0;

    piece(MAX_LEN, &at, &n);
    note("writev %zu+%zu", at, n);
    fresh(want + at, n);
    for (int i = 0; i < 7; i++) {
        size_t part = i == 6 ? n - done : random_number(n - done + 1);

        iov[i] = (struct iovec){ want + at + done, part };
        done += part;
    }
    if (pwritev(fd, iov, 7, (off_t)at) != (ssize_t)n)
        fail("writev");
    grown(at + n);
    return 0;
}

static int do_append(void)
{
    size_t n = 1 + random_number(PAGE);
    int other;

    if (size + n > MAX_LEN)
        return 0;
    note("append %zu", n);
    other = open(name, O_WRONLY | O_APPEND);
    fresh(want + size, n);
    if (other < 0 || write(other, want + size, n) != (ssize_t)n ||
        close(other) < 0)
        fail("append");
    size += n;
    return 0;
}

static int do_truncate(void)
{
    size_t n = place(random_number(4) ? MAX_LEN : size);
    bool by_name = random_number(2);

    note("truncate to %zu%s", n, by_name ? " by name" : "");
    if ((by_name ? truncate(name, (off_t)n) : ftruncate(fd, (off_t)n)) < 0)
        fail("truncate");
    if (n < size)
        memset(want + n, 0, size - n);
    size = n;
    return 0;
}

static int do_map_read(void)
{
    size_t at, n;
    char *p;

    if (size == 0)
        return 0;
    piece(size, &at, &n);
    note("map read %zu+%zu", at, n);
    p = mmap(NULL, n + at % PAGE, PROT_READ, MAP_SHARED, fd,
             (off_t)(at - at % PAGE));
    if (p == MAP_FAILED)
        return unsupported() ? -1 : (fail("mmap to read"), 0);
    memcpy(got, p + at % PAGE, n);
    munmap(p, n + at % PAGE);
    compare("map read", at, n);
    return 0;
}

static int do_map_write(void)
{
    size_t at, n;
    char *p;

    if (size == 0)
        return 0;
    piece(size, &at, &n);
    note("map write %zu+%zu", at, n);
    p = mmap(NULL, n + at % PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
             (off_t)(at - at % PAGE));
    if (p == MAP_FAILED)
        return unsupported() ? -1 : (fail("mmap to write"), 0);
    mapped = true;
    fresh(want + at, n);
    memcpy(p + at % PAGE, want + at, n);
    if (random_number(3) == 0 && msync(p, n + at % PAGE, MS_SYNC) < 0)
        fail("msync");
    munmap(p, n + at % PAGE);
    return 0;
}

static int fall(const char *what, int mode, bool zeros, bool grows)
{
    size_t at, n;

    piece(MAX_LEN, &at, &n);
    note("%s %zu+%zu", what, at, n);
    if (fallocate(fd, mode, (off_t)at, (off_t)n) < 0)
        return unsupported() ? -1 : (fail(what), 0);
    if (zeros)
        memset(want + at, 0, n);
    if (grows)
        grown(at + n);
    return 0;
}

static int do_allocate(void)
{
    return fall("allocate", 0, false, true);
}

static int do_allocate_keep(void)
{
    return fall("allocate, keep size", FALLOC_FL_KEEP_SIZE, false, false);
}

static int do_punch(void)
{
    return fall("punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, true,
                false);
}

static int do_zero(void)
{
    return fall("zero", FALLOC_FL_ZERO_RANGE, true, true);
}

static int do_zero_keep(void)
{
    return fall("zero, keep size", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                true, false);
}

static int do_copy(void)
{
    size_t from, to, n, done = 0;

    if (size < 2)
        return 0;
    piece(size, &from, &n);
    to = place(MAX_LEN - n);
    if (to + n > from && from + n > to)
        return 0;
    note("copy %zu+%zu to %zu", from, n, to);
    while (done < n) {
        off_t in = (off_t)(from + done), out = (off_t)(to + done);
        ssize_t ret = copy_file_range(fd, &in, fd, &out, n - done, 0);

        if (ret < 0 && unsupported())
            return -1;
        if (ret <= 0)
            fail("copy_file_range");
        done += (size_t)ret;
    }
    memmove(want + to, want + from, n);
    grown(to + n);
    return 0;
}

static int do_send(void)
{
    size_t at, n;
    off_t from;
    int out;

    if (size == 0)
        return 0;
    piece(size, &at, &n);
    note("sendfile %zu+%zu", at, n);
    out = open("sent", O_CREAT | O_RDWR | O_TRUNC, 0600);
    from = (off_t)at;
    if (out < 0 || sendfile(out, fd, &from, n) != (ssize_t)n ||
        pread(out, got, n, 0) != (ssize_t)n)
        fail("sendfile");
    close(out);
    compare("sendfile", at, n);
    return 0;
}

static int do_sync(void)
{
    note("sync");
    if ((random_number(2) ? fsync(fd) : fdatasync(fd)) < 0)
        fail("sync");
    return 0;
}

/* What comes next comes from the server, if all was told to it. */
static int do_forget(void)
{
    note("sync and forget");
    if (fsync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        fail("forget");
    return 0;
}

static int do_reopen(void)
{
    note("close and open");
    if (close(fd) < 0)
        fail("close");
    fd = open(name, O_RDWR);
    if (fd < 0)
        fail("open");
    return 0;
}

static int do_rename(void)
{
    char to[sizeof(name)];

    snprintf(to, sizeof(to), "file-%u", ++names);
    note("rename to %s", to);
    if (rename(name, to) < 0)
        fail("rename");
    strcpy(name, to);
    return 0;
}

/* The open file lives on under its second name. */
static int do_link(void)
{
    char to[sizeof(name)];

    snprintf(to, sizeof(to), "link-%u", ++names);
    note("link as %s, unlink", to);
    if (link(name, to) < 0 || unlink(name) < 0)
        fail("link");
    strcpy(name, to);
    return 0;
}

/* Whole pages, past the page cache, by a descriptor of their own. */
static int direct(bool write_it)
{
    size_t at = random_number(MAX_LEN / PAGE) * PAGE;
    size_t n = (1 + random_number(8)) * PAGE;
    int other;
    ssize_t ret;

    if (n > MAX_LEN - at)
        n = MAX_LEN - at;
    note("direct %s %zu+%zu", write_it ? "write" : "read", at, n);
    other = open(name, O_RDWR | O_DIRECT);
    if (other < 0)
        return -1;
    if (write_it) {
        fresh(want + at, n);
        ret = pwrite(other, want + at, n, (off_t)at);
        if (ret != (ssize_t)n)
            fail("direct write");
        grown(at + n);
    } else {
        ret = pread(other, got, n, (off_t)at);
        n = at >= size ? 0 : n < size - at ? n : size - at;
        if (ret != (ssize_t)n)
            fail("direct read: length");
        compare("direct read", at, n);
    }
    close(other);
    return 0;
}

static int do_direct_read(void)
{
    return use_direct ? direct(false) : 0;
}

static int do_direct_write(void)
{
    return use_direct ? direct(true) : 0;
}

/* Between here and the data it tells of there are only zeros. */
static int do_seek(void)
{
    size_t at = place(size);
    off_t data;

    /* A page that was written through a mapping is new to FUSE in a guest
     * until then: that is its kernel's matter, see DIFFERENCES.md. */
    if (mapped && fsync(fd) < 0)
        fail("fsync");
    mapped = false;
    data = lseek(fd, (off_t)at, SEEK_DATA);
    note("seek data from %zu: %lld", at, (long long)data);
    if (data < 0 && errno == ENXIO)
        data = (off_t)size;
    if (data < (off_t)at && at < size)
        fail("seek data");
    for (size_t i = at; i < (size_t)data && i < size; i++) {
        if (want[i])
            fail("seek data skips what is not zero");
    }
    return 0;
}

static int do_compare_all(void)
{
    note("compare");
    if (pread(fd, got, MAX_LEN, 0) != (ssize_t)size)
        fail("length of all");
    compare("all", 0, size);
    return 0;
}

static struct op {
    const char *name;
    int (*run)(void);
    unsigned int weight;
} ops[] = {
    { "read", do_read, 20 },
    { "write", do_write, 20 },
    { "writev", do_writev, 5 },
    { "append", do_append, 5 },
    { "truncate", do_truncate, 8 },
    { "map read", do_map_read, 10 },
    { "map write", do_map_write, 10 },
    { "allocate", do_allocate, 2 },
    { "allocate keep", do_allocate_keep, 2 },
    { "punch", do_punch, 5 },
    { "zero", do_zero, 4 },
    { "zero keep", do_zero_keep, 2 },
    { "copy_file_range", do_copy, 6 },
    { "sendfile", do_send, 2 },
    { "sync", do_sync, 2 },
    { "forget", do_forget, 4 },
    { "reopen", do_reopen, 4 },
    { "rename", do_rename, 2 },
    { "link", do_link, 2 },
    { "direct read", do_direct_read, 4 },
    { "direct write", do_direct_write, 4 },
    { "seek", do_seek, 3 },
    { "compare all", do_compare_all, 2 },
};
#define N_OPS (sizeof(ops) / sizeof(ops[0]))

static void one(void)
{
    uint64_t total = 0, pick;
    size_t i;

    for (i = 0; i < N_OPS; i++)
        total += ops[i].weight;
    pick = random_number(total);
    for (i = 0; pick >= ops[i].weight; i++)
        pick -= ops[i].weight;
    if (ops[i].run() < 0) {
        printf("random_io: not here: %s (%s)\n", ops[i].name, strerror(errno));
        ops[i].weight = 0;
    }
    check_size("size");
}

int main(int argc, char **argv)
{
    unsigned long n = 2000;
    void *a, *b;
    int opt;

    seed = 1;
    while ((opt = getopt(argc, argv, "s:n:D")) != -1) {
        if (opt == 's')
            seed = strtoull(optarg, NULL, 0);
        else if (opt == 'n')
            n = strtoul(optarg, NULL, 0);
        else if (opt == 'D')
            use_direct = false;
        else
            optind = argc;
    }
    if (optind != argc - 1 || chdir(argv[optind]) < 0) {
        fputs("usage: random_io [-s SEED] [-n OPERATIONS] [-D] DIR\n"
              "  -D  no direct I/O\n",
              stderr);
        return 2;
    }
    state = seed * 0x9e3779b97f4a7c15ULL + 1;
    if (posix_memalign(&a, PAGE, MAX_LEN) || posix_memalign(&b, PAGE, MAX_LEN))
        fail("memory");
    want = memset(a, 0, MAX_LEN);
    got = memset(b, 0, MAX_LEN);
    fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd < 0)
        fail("create");
    for (n_op = 1; n_op <= n; n_op++)
        one();
    do_reopen();
    do_compare_all();
    unlink(name);
    unlink("sent");
    printf("random_io: seed %llu: %lu operations, all as wanted\n",
           (unsigned long long)seed, n);
    return 0;
}
