/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/request_i.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/fd.h"

/* Requests on chains that are laid out by hand, and a file. */

#define PAGE  ((size_t)4096)
#define PAGES 1500 /* more than one system call takes */
#define HDR   (sizeof(struct fuse_in_header))
#define OUT   (sizeof(struct fuse_out_header))

static struct request r;
static uint8_t head[256], *mem; /* of the guest */
static int calls, most_iov;

/* In place of the C library's: what request.c moves payload by. */
long syscall(long nr, ...)
{
    static long (*real)(long nr, ...);
    long a[6];
    va_list ap;

    va_start(ap, nr);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    calls++;
    most_iov =
        MAX(most_iov, nr == SYS_pread64 || nr == SYS_pwrite64 ? 1 : (int)a[2]);
    return real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void setup(void)
{
    CHECK_EQ(request_init(&r), 0, "");
    /* Every other page, so that no two are neighbours. */
    mem = mmap(NULL, 2 * PAGES * PAGE, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mem != MAP_FAILED, "");
    calls = most_iov = 0;
}

static void teardown(void)
{
    request_fini(&r);
    munmap(mem, 2 * PAGES * PAGE);
}

static void readable(void *p, size_t len)
{
    r.chain.iov[r.chain.n_readable++] = (struct iovec){ p, len };
    r.chain.readable_bytes += len;
}

static void writable(void *p, size_t len)
{
    chain_writable(&r.chain)[r.chain.n_writable++] = (struct iovec){ p, len };
    r.chain.writable_bytes += len;
}

static void forget_chain(void)
{
    r.chain.n_readable = r.chain.n_writable = 0;
    r.chain.readable_bytes = r.chain.writable_bytes = 0;
}

static uint8_t *page(size_t i)
{
    return mem + 2 * i * PAGE;
}

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 31 + i / PAGE);
}

/* A file of @n pages that say where they are. */
static int make_file(size_t n)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    uint8_t buf[PAGE];

    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < PAGE; k++)
            buf[k] = byte_at(i * PAGE + k);
        CHECK_EQ(pwrite(fd, buf, PAGE, (off_t)(i * PAGE)), PAGE, "");
    }
    return fd;
}

static bool pages_are(size_t n)
{
    for (size_t i = 0; i < n * PAGE; i++)
        if (page(i / PAGE)[i % PAGE] != byte_at(i))
            return false;
    return true;
}

static const struct {
    const char *why;
    size_t pages, room, size;
    int calls, most_iov;
} reads[] = {
    { "a page", 1, PAGE, PAGE, 1, 1 },
    { "1 MiB", 256, 256 * PAGE, 256 * PAGE, 1, 256 },
    { "4 MiB", 1024, 1024 * PAGE, 1024 * PAGE, 1, 1024 },
    { "more pages than one call takes", 1500, 1500 * PAGE, 1500 * PAGE, 2,
      1024 },
    { "less than there is room for", 8, 16 * PAGE, 8 * PAGE, 1, 8 },
    { "more than there is room for", 8, 8 * PAGE, 16 * PAGE, 1, 8 },
    { "nothing", 0, PAGE, 0, 0, 0 },
};

static void a_read_is_one_system_call(void)
{
    setup();
    for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
        auto_fd fd = make_file(reads[i].pages);

        memset(mem, 0, 2 * PAGES * PAGE);
        calls = most_iov = 0;
        forget_chain();
        writable(head, OUT);
        for (size_t k = 0; k < reads[i].room / PAGE; k++)
            writable(page(k), PAGE);
        CHECK_EQ(request_read_file(&r, fd, reads[i].size, 0),
                 (ssize_t)(reads[i].pages * PAGE), reads[i].why);
        CHECK_EQ(r.in_place, reads[i].pages * PAGE, reads[i].why);
        CHECK(pages_are(reads[i].pages), reads[i].why);
        CHECK_EQ(calls, reads[i].calls, reads[i].why);
        CHECK_EQ(most_iov, reads[i].most_iov, reads[i].why);
    }
    teardown();
}

/* Where a driver puts the header and the first bytes of payload together. */
static void payload_that_touches_its_header_is_read_behind_it(void)
{
    auto_fd fd = make_file(2);

    setup();
    writable(page(0), PAGE);
    writable(page(1), OUT);
    CHECK_EQ(request_read_file(&r, fd, PAGE, 0), PAGE, "");
    CHECK_EQ(page(0)[0], 0, "the header is not touched");
    CHECK_EQ(page(0)[OUT], byte_at(0), "");
    CHECK_EQ(page(1)[OUT - 1], byte_at(PAGE - 1), "");
    CHECK_EQ(calls, 1, "");
    teardown();
}

static void a_write_is_one_system_call(void)
{
    static const size_t pages[] = { 1, 256, 1024, 1500 };

    setup();
    for (size_t i = 0; i < PAGES * PAGE; i++)
        page(i / PAGE)[i % PAGE] = byte_at(i);
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        auto_fd fd = memfd_create("file", MFD_CLOEXEC);
        struct fuse_write_in in = { .size = (uint32_t)(pages[i] * PAGE) };
        struct fuse_in_header h = { .len = (uint32_t)HDR + sizeof(in) + in.size,
                                    .opcode = FUSE_WRITE };
        uint8_t last = 0;

        calls = 0;
        forget_chain();
        memcpy(head, &h, HDR);
        memcpy(head + 100, &in, sizeof(in));
        readable(head, HDR);
        readable(head + 100, sizeof(in));
        for (size_t k = 0; k < pages[i]; k++)
            readable(page(k), PAGE);
        CHECK_EQ(request_load(&r), 0, "");
        CHECK_EQ(r.arg_len, HDR + sizeof(in), "the payload stays");
        CHECK_EQ(request_write_file(&r, fd, in.size, 0, 0), in.size, "");
        CHECK_EQ(calls, pages[i] > 1024 ? 2 : 1, "");
        CHECK_EQ(lseek(fd, 0, SEEK_END), in.size, "");
        CHECK_EQ(pread(fd, &last, 1, in.size - 1), 1, "");
        CHECK_EQ(last, byte_at(in.size - 1), "");
    }
    teardown();
}

static void a_failed_read_counts_as_nothing(void)
{
    setup();
    writable(head, OUT);
    writable(page(0), PAGE);
    CHECK_EQ(request_read_file(&r, -1, PAGE, 0), -EBADF, "");
    CHECK_EQ(r.in_place, 0, "");
    teardown();
}

/* However the driver cuts the buffers. */
static void headers_and_arguments_are_put_together(void)
{
    struct fuse_in_header h = { .len = (uint32_t)HDR + 6,
                                .opcode = FUSE_LOOKUP,
                                .unique = 7 };
    struct fuse_out_header out = { 0 };
    uint8_t whole[64], back[64];
    char text[] = "012345";

    setup();
    memcpy(whole, &h, HDR);
    memcpy(whole + HDR, "abcde", 6);
    for (size_t i = 2; i < 2 * (HDR + 6); i++) {
        size_t cut = i / 2;
        struct iovec reply[3] = { { &out, OUT }, { text, 4 }, { text + 4, 2 } };

        forget_chain();
        memcpy(page(0), whole, cut);
        memcpy(page(1), whole + cut, HDR + 6 - cut);
        readable(page(0), cut);
        readable(page(1), HDR + 6 - cut);
        writable(page(2), MIN(cut, OUT + 5));
        writable(page(3), OUT + 6 - MIN(cut, OUT + 5));
        CHECK_EQ(request_load(&r), 0, "");
        CHECK_EQ(r.hdr.unique, 7, "");
        CHECK_EQ(r.arg_len, HDR + 6, "");
        CHECK_MEM(r.arg + HDR, "abcde", 6, "");
        if (i % 2)
            request_send(&r, reply, 3);
        else
            request_reply(&r, text, 6);
        CHECK_EQ(r.used_len, OUT + 6, "");
        memcpy(back, page(2), MIN(cut, OUT + 5));
        memcpy(back + MIN(cut, OUT + 5), page(3), OUT + 6 - MIN(cut, OUT + 5));
        CHECK_MEM(back + OUT, "012345", 6, "");
        memcpy(&out, back, OUT);
        CHECK_EQ(out.unique, 7, "");
        CHECK_EQ(out.len, OUT + 6, "");
    }
    teardown();
}

static const struct {
    const char *why;
    size_t first, second;
} pieces[] = {
    { "behind the header, but not all", OUT, 3 },
    { "some with the header, though not for want of room", OUT + 2, 8 },
    { "all behind the header", OUT, 5 },
};

static void a_payload_may_be_in_pieces(void)
{
    struct fuse_out_header out;
    uint8_t back[OUT + 5];

    setup();
    r.hdr.unique = 8;
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        size_t first = pieces[i].first;
        size_t second = MIN(pieces[i].second, sizeof(back) - first);

        forget_chain();
        request_again(&r, &r.hdr);
        writable(page(0), first);
        writable(page(1), pieces[i].second);
        writable(page(2), 5);
        request_reply(&r, "12345", 5);
        memcpy(back, page(0), first);
        memcpy(back + first, page(1), second);
        memcpy(back + first + second, page(2), sizeof(back) - first - second);
        memcpy(&out, back, OUT);
        CHECK_EQ(out.len, OUT + 5, pieces[i].why);
        CHECK_EQ(out.error, 0, pieces[i].why);
        CHECK_EQ(out.unique, 8, pieces[i].why);
        CHECK_MEM(back + OUT, "12345", 5, pieces[i].why);
        memset(page(1), 0, PAGE);
    }
    teardown();
}

static void a_reply_that_has_no_room_is_an_error(void)
{
    struct fuse_out_header out;

    setup();
    r.hdr.unique = 9;
    writable(page(0), OUT + 3);
    request_reply(&r, "1234", 4);
    memcpy(&out, page(0), OUT);
    CHECK_EQ(out.error, -EIO, "");
    CHECK_EQ(out.len, OUT, "");
    CHECK_EQ(out.unique, 9, "");
    CHECK_EQ(r.used_len, OUT, "");
    request_reply(&r, "123", 3);
    CHECK_EQ(r.used_len, OUT, "the first answer counts");
    teardown();
}

static void an_old_guests_init_is_longer_by_zeros(void)
{
    struct fuse_in_header h = { .len = (uint32_t)HDR + 16,
                                .opcode = FUSE_INIT };
    const struct fuse_init_in *in;

    setup();
    memset(r.arg, 0xff, 256);
    memset(head, 1, sizeof(head));
    memcpy(head, &h, HDR);
    readable(head, HDR + 16);
    CHECK_EQ(request_load(&r), 0, "");
    in = request_args(&r, NULL);
    CHECK_EQ(in->flags, 0x01010101, "");
    CHECK_EQ(in->flags2, 0, "not what was there before");
    CHECK_EQ(in->unused[10], 0, "");
    teardown();
}

TAP_MAIN(TEST(a_read_is_one_system_call),
         TEST(payload_that_touches_its_header_is_read_behind_it),
         TEST(a_write_is_one_system_call),
         TEST(a_failed_read_counts_as_nothing),
         TEST(headers_and_arguments_are_put_together),
         TEST(a_payload_may_be_in_pieces),
         TEST(a_reply_that_has_no_room_is_an_error),
         TEST(an_old_guests_init_is_longer_by_zeros))
