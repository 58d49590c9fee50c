/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "vhost/chain.h"
#include "virtiofsd/base/fd.h"

/* Guest memory: 64 KiB at 0x10000, and 64 KiB right behind it from another
 * place of the file.  The ring's parts begin at 0x10000. */
#define BASE      0x10000
#define HALF      0x10000
#define RING_SIZE 8
#define N         1 /* NEXT */
#define W         2 /* WRITE */
#define I         4 /* INDIRECT */

static struct memmap *mm;
static struct vring ring;
static struct chain chain;
static uint8_t *low;

static void setup(void)
{
    auto_fd fd = memfd_create("guest", MFD_CLOEXEC);
    struct memmap *none = memmap_create(0), *one;
    struct vring_cfg cfg = {
        .flags = VRING_CFG_STARTED | VRING_CFG_ENABLED,
        .size = RING_SIZE,
        .desc = { BASE },
        .avail = { BASE + 0x400 },
        .used = { BASE + 0x800 },
        .features = UINT64_C(1) << 28,
        .start_gen = 1,
        .mem_gen = 2,
    };
    void *va;

    CHECK_EQ(ftruncate(fd, 3 * HALF), 0, "");
    CHECK_EQ(memmap_with(none, 1, BASE, HALF, fd, 2 * HALF, &one), 0, "");
    CHECK_EQ(memmap_with(one, 2, BASE + HALF, HALF, fd, 0, &mm), 0, "");
    memmap_put(none);
    memmap_put(one);
    memset(&ring, 0, sizeof(ring));
    CHECK_EQ(vring_start(&ring, &cfg, mm, NULL), 0, "");
    CHECK_EQ(chain_init(&chain), 0, "");
    CHECK_EQ(memmap_span(mm, (gpa_t){ BASE }, HALF, &va), 0, "");
    low = va;
}

static void teardown(void)
{
    vring_close(&ring);
    chain_fini(&chain);
    memmap_put(mm);
}

static void put_desc(size_t byte_off, unsigned int i, uint64_t addr,
                     uint32_t len, uint16_t flags, uint16_t next)
{
    struct vring_desc_raw d = { addr, len, flags, next };

    memcpy(low + byte_off + i * sizeof(d), &d, sizeof(d));
}

#define DESC(i, addr, len, flags, next) put_desc(0, i, addr, len, flags, next)
#define TABLE                           0x2000
#define INDIRECT(i, addr, len, flags, next)                                    \
    put_desc(TABLE, i, addr, len, flags, next)

static void a_chain_splits_into_readable_and_writable(void)
{
    setup();
    DESC(3, BASE + 0x3000, 40, N, 5);
    DESC(5, BASE + 0x4000, 1, N, 0);
    DESC(0, BASE + 0x5000, 16, N | W, 7);
    DESC(7, BASE + 0x6000, 100, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 3), 0, "");
    CHECK_EQ(chain.n_readable, 2, "");
    CHECK_EQ(chain.n_writable, 2, "");
    CHECK_EQ(chain.readable_bytes, 41, "");
    CHECK_EQ(chain.writable_bytes, 116, "");
    CHECK(chain.iov[0].iov_base == low + 0x3000, "first span");
    CHECK(chain_writable(&chain)[1].iov_base == low + 0x6000, "last span");
    teardown();
}

static void touching_buffers_are_one_span(void)
{
    setup();
    DESC(0, BASE + 0x3000, 0x1000, N, 1);
    DESC(1, BASE + 0x4000, 0x1000, N, 2);
    DESC(2, BASE + 0x5000, 0x800, N | W, 3);
    DESC(3, BASE + 0x5800, 0x800, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 0), 0, "");
    CHECK_EQ(chain.n_readable, 1, "two pages in a row");
    CHECK_EQ(chain.n_writable, 1, "never merged with what is readable");
    CHECK_EQ(chain.iov[0].iov_len, 0x2000, "");
    CHECK_EQ(chain_writable(&chain)->iov_len, 0x1000, "");
    teardown();
}

static void a_buffer_over_two_regions_is_two_spans(void)
{
    setup();
    DESC(0, BASE + HALF - 16, 32, 0, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 0), 0, "");
    CHECK_EQ(chain.n_readable, 2, "");
    CHECK_EQ(chain.readable_bytes, 32, "");
    teardown();
}

/* The region of the last buffer is where the next is looked for first. */
static void buffers_are_found_in_any_region(void)
{
    struct memmap *low_only;
    void *high;

    setup();
    CHECK_EQ(memmap_span(mm, (gpa_t){ BASE + HALF }, HALF, &high), 0, "");
    DESC(0, BASE + HALF, 0x10, N, 1);
    DESC(1, BASE + HALF - 0x10, 0x10, N, 2);
    DESC(2, BASE + HALF + 0x30, 0x10, N, 3);
    DESC(3, BASE + 2 * HALF - 1, 1, W, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(chain_walk(&chain, &ring, 0), 0, "");
        CHECK_EQ(chain.n_readable, 3, "");
        CHECK(chain.iov[0].iov_base == high, "high");
        CHECK(chain.iov[1].iov_base == low + HALF - 0x10, "low");
        CHECK(chain.iov[2].iov_base == (uint8_t *)high + 0x30, "high again");
        CHECK(chain_writable(&chain)->iov_base == (uint8_t *)high + HALF - 1,
              "its last byte");
    }
    /* What it remembers of one table says nothing about the next. */
    CHECK_EQ(memmap_without(mm, 3, BASE + HALF, HALF, &low_only), 0, "");
    memmap_put(ring.mm);
    ring.mm = low_only;
    CHECK_EQ(chain_walk(&chain, &ring, 3), -EFAULT, "the region is gone");
    DESC(3, BASE + HALF - 1, 1, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 3), 0, "the other is not");
    DESC(3, BASE + HALF - 1, 2, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 3), -EFAULT, "a byte too long");
    DESC(3, BASE - 1, 1, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 3), -EFAULT, "just below");
    teardown();
}

/* As many descriptors as there can be, none of which touches the next. */
static void more_spans_than_there_is_room_for_break_the_ring(void)
{
    enum { MAX = VRING_SIZE_MAX, TABLES = 2 * MAX * 16, DATA = BASE + TABLES };
    auto_fd fd = memfd_create("guest", MFD_CLOEXEC);
    struct memmap *none = memmap_create(0), *big;
    struct vring_desc_raw *d;
    struct vring v = { .size = MAX, .indirect = true };
    struct chain c;
    void *va;

    CHECK_EQ(ftruncate(fd, TABLES + 0x1000), 0, "");
    CHECK_EQ(memmap_with(none, 1, BASE, TABLES + 0x1000, fd, 0, &big), 0, "");
    CHECK_EQ(memmap_span(big, (gpa_t){ BASE }, TABLES, &va), 0, "");
    CHECK_EQ(chain_init(&c), 0, "");
    v.desc = d = va;
    v.mm = big;
    for (uint32_t i = 0; i < 2 * MAX; i++)
        d[i] = (struct vring_desc_raw){ DATA + 2 * (i & 7), 1, N,
                                        (uint16_t)((i & (MAX - 1)) + 1) };
    d[MAX - 1] = (struct vring_desc_raw){ BASE + MAX * 16, MAX * 16, I, 0 };
    d[2 * MAX - 1].flags = 0;
    CHECK_EQ(chain_walk(&c, &v, MAX - 1), 0, "a table full");
    CHECK_EQ(c.n_readable, MAX, "");
    CHECK_EQ(chain_walk(&c, &v, MAX - 600), -E2BIG, "two tables full");
    d[2 * MAX - 1].flags = N;
    d[2 * MAX - 1].next = 0;
    CHECK_EQ(chain_walk(&c, &v, MAX - 1), -ELOOP, "round and round");
    memmap_put(none);
    memmap_put(big);
    chain_fini(&c);
}

static void empty_buffers_are_skipped(void)
{
    setup();
    DESC(0, 0, 0, N, 1);
    DESC(1, BASE + 0x3000, 8, N, 2);
    DESC(2, BASE + 0x4000, 0, N, 3);
    DESC(3, 0, 0, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 0), 0, "");
    CHECK_EQ(chain.n_readable, 1, "");
    CHECK_EQ(chain.n_writable, 0, "");
    teardown();
}

static void an_indirect_table_takes_the_chains_place(void)
{
    setup();
    DESC(1, BASE + 0x3000, 4, N, 2);
    DESC(2, BASE + TABLE, 3 * 16, I, 0);
    INDIRECT(0, BASE + 0x3100, 8, N, 2);
    INDIRECT(2, BASE + 0x3200, 16, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 1), 0, "direct, then indirect");
    CHECK_EQ(chain.readable_bytes, 12, "");
    CHECK_EQ(chain.writable_bytes, 16, "");
    teardown();
}

static void an_indirect_table_may_begin_at_any_byte(void)
{
    setup();
    DESC(0, BASE + TABLE + 1, 16, I, 0);
    put_desc(TABLE + 1, 0, BASE + 0x3000, 24, 0, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 0), 0, "");
    CHECK_EQ(chain.readable_bytes, 24, "");
    teardown();
}

static const struct {
    const char *why;
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } d[3], ind[2];
    int want;
} broken[] = {
    { "a loop", { { BASE, 1, N, 1 }, { BASE, 1, N, 0 } }, { { 0 } }, -ELOOP },
    { "a loop of one", { { BASE, 1, N, 0 } }, { { 0 } }, -ELOOP },
    { "next past the table", { { BASE, 1, N, 8 } }, { { 0 } }, -EINVAL },
    { "readable behind writable",
      { { BASE, 1, N | W, 1 }, { BASE, 1, 0, 0 } },
      { { 0 } },
      -EINVAL },
    { "readable behind an empty writable",
      { { BASE, 0, N | W, 1 }, { BASE, 1, 0, 0 } },
      { { 0 } },
      -EINVAL },
    { "memory nobody has", { { 0x1000, 1, 0, 0 } }, { { 0 } }, -EFAULT },
    { "runs out of memory",
      { { BASE + 2 * HALF - 1, 2, 0, 0 } },
      { { 0 } },
      -EFAULT },
    { "wraps", { { UINT64_MAX, 2, 0, 0 } }, { { 0 } }, -EFAULT },
    { "indirect and next",
      { { BASE + TABLE, 16, I | N, 1 } },
      { { 0 } },
      -EINVAL },
    { "an empty indirect table",
      { { BASE + TABLE, 0, I, 0 } },
      { { 0 } },
      -EINVAL },
    { "half a descriptor", { { BASE + TABLE, 24, I, 0 } }, { { 0 } }, -EINVAL },
    { "an indirect table outside",
      { { 0x1000, 16, I, 0 } },
      { { 0 } },
      -EFAULT },
    { "an endless indirect table",
      { { BASE + TABLE, 0xfffffff0, I, 0 } },
      { { 0 } },
      -E2BIG },
    { "indirect within indirect",
      { { BASE + TABLE, 32, I, 0 } },
      { { BASE + TABLE, 16, I, 0 } },
      -EINVAL },
    { "a loop within indirect",
      { { BASE + TABLE, 32, I, 0 } },
      { { BASE, 1, N, 1 }, { BASE, 1, N, 0 } },
      -ELOOP },
    { "next past the indirect table",
      { { BASE + TABLE, 32, I, 0 } },
      { { BASE, 1, N, 2 } },
      -EINVAL },
};

static void a_bad_chain_is_told_by_what_is_wrong(void)
{
    setup();
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        for (unsigned int k = 0; k < 3; k++)
            DESC(k, broken[i].d[k].addr, broken[i].d[k].len,
                 broken[i].d[k].flags, broken[i].d[k].next);
        for (unsigned int k = 0; k < 2; k++)
            INDIRECT(k, broken[i].ind[k].addr, broken[i].ind[k].len,
                     broken[i].ind[k].flags, broken[i].ind[k].next);
        CHECK_EQ(chain_walk(&chain, &ring, 0), broken[i].want, broken[i].why);
    }
    ring.indirect = false;
    DESC(0, BASE + TABLE, 16, I, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 0), -EINVAL, "indirect not negotiated");
    teardown();
}

/* Descriptors of a chain long enough to be taken a row at a time; half of them
 * readable. */
#define LONG 24

static const struct {
    const char *why;
    uint64_t addr;
    uint32_t len;
    int next; /* behind its own place; 0: to itself */
    uint16_t clear, set;
} oddities[] = {
    { "as all others", BASE + 0x3000, 16, 1, 0, 0 },
    { "empty", BASE + 0x3000, 0, 1, 0, 0 },
    { "empty, nowhere", 0, 0, 1, 0, 0 },
    { "touches the one before", BASE + 0x4000 - 16, 16, 1, 0, 0 },
    { "up to the region's end", BASE + HALF - 16, 16, 1, 0, 0 },
    { "over the region's end", BASE + HALF - 15, 16, 1, 0, 0 },
    { "in the other region", BASE + HALF, 16, 1, 0, 0 },
    { "below all memory", BASE - 1, 16, 1, 0, 0 },
    { "past all memory", BASE + 2 * HALF - 15, 16, 1, 0, 0 },
    { "longer than all memory", BASE + 0x3000, UINT32_MAX, 1, 0, 0 },
    { "wraps", UINT64_MAX, 16, 1, 0, 0 },
    { "leaves one out", BASE + 0x3000, 16, 2, 0, 0 },
    { "goes back", BASE + 0x3000, 16, -1, 0, 0 },
    { "leads to itself", BASE + 0x3000, 16, 0, 0, 0 },
    { "leads past the table", BASE + 0x3000, 16, LONG, 0, 0 },
    { "is the last", BASE + 0x3000, 16, 1, N, 0 },
    { "is not the last", BASE + 0x3000, 16, 1, 0, N },
    { "is writable", BASE + 0x3000, 16, 1, 0, W },
    { "is readable", BASE + 0x3000, 16, 1, W, 0 },
    { "has a flag nobody knows", BASE + 0x3000, 16, 1, 0, 8 },
};

/* Pieces that do not touch, and at @at one that is odd. */
static void put_long(size_t byte_off, unsigned int at, size_t odd)
{
    for (unsigned int i = 0; i < LONG; i++) {
        unsigned int flags = (i < LONG / 2 ? 0 : W) | (i < LONG - 1 ? N : 0);

        put_desc(byte_off, i, BASE + 0x4000 + 32 * (i - at), 16,
                 (uint16_t)flags, (uint16_t)(i + 1));
        if (i == at)
            put_desc(
                byte_off, i, oddities[odd].addr, oddities[odd].len,
                (uint16_t)((flags & ~oddities[odd].clear) | oddities[odd].set),
                (uint16_t)((int)i + oddities[odd].next));
    }
}

/* Wherever the odd one is, and whatever: as one after the other it is. */
static void a_row_in_a_table_is_no_other_chain(void)
{
    struct chain row;

    setup();
    CHECK_EQ(chain_init(&row), 0, "");
    ring.size = LONG;
    for (size_t odd = 0; odd < ARRAY_SIZE(oddities); odd++) {
        for (unsigned int at = 0; at < LONG; at++) {
            const char *why = oddities[odd].why;
            int want, n;

            put_long(0, at, odd);
            want = chain_walk(&chain, &ring, 0);
            put_long(TABLE, at, odd);
            DESC(0, BASE + TABLE, LONG * 16, I, 0);
            CHECK_EQ(chain_walk(&row, &ring, 0), want, why);
            if (want < 0)
                continue;
            n = (int)(chain.n_readable + chain.n_writable);
            CHECK_EQ(row.n_readable, chain.n_readable, why);
            CHECK_EQ(row.n_writable, chain.n_writable, why);
            CHECK_EQ(row.readable_bytes, chain.readable_bytes, why);
            CHECK_EQ(row.writable_bytes, chain.writable_bytes, why);
            CHECK_MEM(row.iov, chain.iov, (size_t)n * sizeof(*row.iov), why);
        }
    }
    chain_fini(&row);
    teardown();
}

/* Who leaves some out has more left than the table has. */
static void a_row_ends_with_its_table(void)
{
    enum { PAGE = 4096, FREE = PAGE - LONG * 16 };
    struct memmap *page = calloc(1, sizeof(*page) + sizeof(page->r[0]));
    uint8_t *va = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vring_desc_raw *d = (struct vring_desc_raw *)(va + FREE);

    setup();
    CHECK(page && va != MAP_FAILED, "");
    CHECK_EQ(mprotect(va + PAGE, PAGE, PROT_NONE), 0, "");
    page->n = 1;
    page->r[0] = (struct memregion){ .gpa = BASE, .size = PAGE, .va = va };
    for (unsigned int i = 0; i < LONG; i++)
        d[i] = (struct vring_desc_raw){ BASE, 16, N, (uint16_t)(i + 1) };
    d[0].next = 5;
    DESC(0, BASE + FREE, LONG * 16, I, 0);
    memmap_put(ring.mm);
    ring.mm = page;
    CHECK_EQ(chain_walk(&chain, &ring, 0), -EINVAL, "nothing behind it");
    ring.mm = NULL;
    munmap(va, 2 * PAGE);
    free(page);
    teardown();
}

static void copies_cross_spans_and_stop_at_the_end(void)
{
    uint8_t buf[64];

    setup();
    for (int i = 0; i < 40; i++)
        low[0x3000 + 2 * i] = (uint8_t)i;
    DESC(0, BASE + 0x3000, 1, N, 1);
    DESC(1, BASE + 0x3002, 1, N, 2);
    DESC(2, BASE + 0x3004, 1, N, 3);
    DESC(3, BASE + 0x4000, 1, N | W, 4);
    DESC(4, BASE + 0x4002, 2, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 0), 0, "");
    CHECK_EQ(chain_read(&chain, 0, buf, 64), 3, "no more than there is");
    CHECK_MEM(buf, "\0\1\2", 3, "in order");
    CHECK_EQ(chain_read(&chain, 2, buf, 64), 1, "from an offset");
    CHECK_EQ(buf[0], 2, "");
    CHECK_EQ(chain_read(&chain, 3, buf, 64), 0, "nothing behind the end");
    CHECK_EQ(chain_write(&chain, 0, "abcdef", 6), 3, "room for three");
    CHECK_EQ(low[0x4000], 'a', "");
    CHECK_EQ(low[0x4001], 0, "the gap is not ours");
    CHECK_EQ(low[0x4003], 'c', "");

    memcpy(low + 0x3000, "abcdefgh", 8);
    DESC(0, BASE + 0x3000, 3, N, 1);
    DESC(1, BASE + 0x3004, 3, 0, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 0), 0, "");
    CHECK_EQ(chain_read(&chain, 1, buf, 64), 5, "from within the first span");
    CHECK_MEM(buf, "bcefg", 5, "the second from its start");
    teardown();
}

static void a_part_of_the_spans_is_an_iovec(void)
{
    struct iovec in[3] = { { low, 10 }, { low + 100, 10 }, { low + 200, 10 } };
    struct iovec out[3];

    CHECK_EQ(chain_iov(in, 3, 5, 10, out, 3), 2, "end of one, start of next");
    CHECK(out[0].iov_base == low + 5 && out[0].iov_len == 5, "");
    CHECK(out[1].iov_base == low + 100 && out[1].iov_len == 5, "");
    CHECK_EQ(chain_iov(in, 3, 10, 100, out, 1), 1, "as many as there is room");
    CHECK(out[0].iov_base == low + 100 && out[0].iov_len == 10, "");
    CHECK_EQ(chain_iov(in, 3, 30, 1, out, 3), 0, "behind the end");
}

static void spans_behind_a_header_are_taken_as_they_are(void)
{
    struct iovec in[3] = { { low, 16 }, { low + 100, 10 }, { low + 200, 10 } };
    uint32_t n = 3;

    CHECK(chain_rest(in, &n, 16) == in + 1 && n == 2, "behind the first");
    n = 3;
    CHECK(chain_rest(in, &n, 26) == in + 2 && n == 1, "behind two");
    n = 3;
    CHECK(chain_rest(in, &n, 0) == in && n == 3, "all");
    n = 3;
    CHECK(chain_rest(in, &n, 15) == NULL, "within one");
    n = 3;
    CHECK(chain_rest(in, &n, 37) == NULL, "past the end");
    n = 3;
    CHECK(chain_rest(in, &n, 36) && n == 0, "at the end");
}

static void what_is_written_is_logged_page_by_page(void)
{
    auto_fd fd = memfd_create("log", MFD_CLOEXEC);
    struct dirtylog *log = NULL;
    uint8_t bits[8] = { 0 };

    setup();
    CHECK_EQ(ftruncate(fd, 4096), 0, "");
    CHECK_EQ(dirtylog_create(fd, 0, 100, 1, &log), 0, "");
    ring.log = log;
    DESC(0, BASE + 0x3000, 16, N, 1);
    DESC(1, BASE + 0x4ff0, 0x20, N | W, 2);
    DESC(2, BASE + 0x8ff0, 0x1000, W, 0);
    CHECK_EQ(chain_walk(&chain, &ring, 0), 0, "");
    chain_log(&chain, 0x21);
    CHECK_EQ(pread(fd, bits, sizeof(bits), 0), 8, "");
    CHECK_EQ(bits[BASE / 4096 / 8], 0x30, "pages 4 and 5 of the first eight");
    CHECK_EQ(bits[BASE / 4096 / 8 + 1], 0x01, "one byte of page 8");
    dirtylog_mark(log, (gpa_t){ UINT64_MAX - 1 }, 2);
    dirtylog_mark(log, (gpa_t){ UINT64_MAX }, 2);
    dirtylog_mark(log, (gpa_t){ 100ull * 8 * 4096 }, 1);
    CHECK_EQ(pread(fd, bits, sizeof(bits), 100), 8, "");
    CHECK_EQ(bits[0], 0, "past the bitmap is not marked");
    ring.log = NULL;
    dirtylog_put(log);
    teardown();
}

TAP_MAIN(TEST(a_chain_splits_into_readable_and_writable),
         TEST(touching_buffers_are_one_span),
         TEST(a_buffer_over_two_regions_is_two_spans),
         TEST(buffers_are_found_in_any_region),
         TEST(more_spans_than_there_is_room_for_break_the_ring),
         TEST(empty_buffers_are_skipped),
         TEST(an_indirect_table_takes_the_chains_place),
         TEST(an_indirect_table_may_begin_at_any_byte),
         TEST(a_bad_chain_is_told_by_what_is_wrong),
         TEST(a_row_in_a_table_is_no_other_chain),
         TEST(a_row_ends_with_its_table),
         TEST(copies_cross_spans_and_stop_at_the_end),
         TEST(a_part_of_the_spans_is_an_iovec),
         TEST(spans_behind_a_header_are_taken_as_they_are),
         TEST(what_is_written_is_logged_page_by_page))
