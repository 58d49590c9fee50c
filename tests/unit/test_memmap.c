/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "vhost/memmap.h"
#include "virtiofsd/base/fd.h"

#define PAGE 0x1000

/* A file of @pages pages, each filled with its number. */
static int make_file(unsigned int pages)
{
    uint8_t page[PAGE];
    int fd = memfd_create("guest", MFD_CLOEXEC);

    for (unsigned int i = 0; i < pages; i++) {
        memset(page, (int)i, sizeof(page));
        CHECK_EQ(write(fd, page, sizeof(page)), PAGE, "fill");
    }
    return fd;
}

/* Two regions that touch at 0x3000, the second one from page 0 of the file. */
static struct memmap *two_regions(int fd)
{
    struct memmap *none = memmap_create(1), *one = NULL, *two = NULL;

    CHECK_EQ(memmap_with(none, 2, 0x1000, 0x2000, fd, 2 * PAGE, &one), 0, "");
    CHECK_EQ(memmap_with(one, 3, 0x3000, 0x2000, fd, 0, &two), 0, "");
    memmap_put(none);
    memmap_put(one);
    return two;
}

static const struct {
    const char *why;
    uint64_t gpa, len;
    int want;
} spans[] = {
    { "first byte", 0x1000, 1, 0 },
    { "last byte", 0x4fff, 1, 0 },
    { "a whole region", 0x1000, 0x2000, 0 },
    { "empty", 0x1000, 0, -EFAULT },
    { "before all", 0xfff, 1, -EFAULT },
    { "behind all", 0x5000, 1, -EFAULT },
    { "crosses touching regions", 0x2ff0, 0x20, -EFAULT },
    { "runs out of the last", 0x4ff0, 0x20, -EFAULT },
    { "wraps the address space", UINT64_MAX, 2, -EFAULT },
    { "length wraps", 0x1000, UINT64_MAX, -EFAULT },
};

static void memmap_span_refuses_what_no_region_holds(void)
{
    auto_fd fd = make_file(4);
    struct memmap *two = two_regions(fd);

    for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
        void *va = NULL;
        int got = memmap_span(two, (gpa_t){ spans[i].gpa }, spans[i].len, &va);

        CHECK_EQ(got, spans[i].want, spans[i].why);
        CHECK_EQ(va != NULL, got == 0, spans[i].why);
    }
    memmap_put(two);
}

static void memmap_shows_the_files_bytes_at_the_regions_offset(void)
{
    auto_fd fd = make_file(4);
    struct memmap *two = two_regions(fd), *odd = NULL;
    void *va = NULL;

    CHECK_EQ(memmap_span(two, (gpa_t){ 0x2000 }, 1, &va), 0, "");
    CHECK_EQ(*(uint8_t *)va, 3, "second page of the first region");
    CHECK_EQ(memmap_span(two, (gpa_t){ 0x4fff }, 1, &va), 0, "");
    CHECK_EQ(*(uint8_t *)va, 1, "last page of the second region");
    memmap_put(two);

    /* A region may begin within a page of its file. */
    CHECK_EQ(pwrite(fd, "\x77", 1, PAGE + 0x10), 1, "");
    two = memmap_create(1);
    CHECK_EQ(memmap_with(two, 2, 0, 0x20, fd, PAGE + 0x10, &odd), 0, "");
    CHECK_EQ(memmap_span(odd, (gpa_t){ 0 }, 0x20, &va), 0, "");
    CHECK_EQ(*(uint8_t *)va, 0x77, "its first byte");
    memmap_put(two);
    memmap_put(odd);
}

static void memmap_piece_goes_on_into_a_region_that_touches(void)
{
    auto_fd fd = make_file(4);
    struct memmap *two = two_regions(fd);
    uint64_t got = 0;
    void *va = NULL;

    CHECK_EQ(memmap_piece(two, (gpa_t){ 0x2ff0 }, 0x20, &va, &got), 0, "");
    CHECK_EQ(got, 0x10, "up to the end of the first");
    CHECK_EQ(memmap_piece(two, (gpa_t){ 0x3000 }, 0x10, &va, &got), 0, "");
    CHECK_EQ(got, 0x10, "the rest");
    memmap_put(two);
}

static const struct {
    const char *why;
    uint64_t gpa, size, offset;
    int want;
} bad[] = {
    { "empty", 0x10000, 0, 0, -EINVAL },
    { "wraps", UINT64_MAX - 0xfff, 0x2000, 0, -EINVAL },
    { "past the end of the file", 0x10000, 0x5000, 0, -EINVAL },
    { "offset past the end", 0x10000, 0x1000, 4 * PAGE, -EINVAL },
    { "offset wraps", 0x10000, 0x1000, UINT64_MAX, -EINVAL },
    { "overlaps the first's end", 0x2000, 0x1000, 0, -EEXIST },
    { "overlaps the second's start", 0x4000, 0x2000, 0, -EEXIST },
    { "holds both", 0, 0x4000, 0, -EEXIST },
    { "the same again", 0x1000, 0x2000, 0, -EEXIST },
};

static void memmap_refuses_impossible_regions(void)
{
    auto_fd fd = make_file(4);
    struct memmap *two = two_regions(fd);

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct memmap *more = NULL;

        CHECK_EQ(memmap_with(two, 4, bad[i].gpa, bad[i].size, fd, bad[i].offset,
                             &more),
                 bad[i].want, bad[i].why);
        CHECK(more == NULL, bad[i].why);
    }
    CHECK_EQ(two->n, 2, "unchanged");
    memmap_put(two);
}

static void memmap_refuses_what_is_not_memory(void)
{
    struct memmap *none = memmap_create(1), *more = NULL;
    int pipe_fd[2];

    CHECK_EQ(pipe(pipe_fd), 0, "");
    CHECK_EQ(memmap_with(none, 2, 0, PAGE, pipe_fd[0], 0, &more), -EINVAL,
             "a pipe");
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    memmap_put(none);
}

static bool is_mapped(const void *va)
{
    unsigned char vec;
    uintptr_t page = (uintptr_t)va & ~(uintptr_t)(PAGE - 1);

    return mincore((void *)page, 1, &vec) == 0;
}

static void memmap_unmaps_with_the_last_reference_only(void)
{
    auto_fd fd = make_file(4);
    struct memmap *two = two_regions(fd), *one = NULL;
    void *kept = NULL, *gone = NULL;

    CHECK_EQ(memmap_span(two, (gpa_t){ 0x1000 }, 1, &gone), 0, "");
    CHECK_EQ(memmap_span(two, (gpa_t){ 0x3000 }, 1, &kept), 0, "");
    CHECK_EQ(memmap_without(two, 4, 0x1000, 0x1000, &one), -ENOENT,
             "another size is another region");
    CHECK_EQ(memmap_without(two, 4, 0x1000, 0x2000, &one), 0, "");
    CHECK_EQ(one->n, 1, "");
    CHECK(is_mapped(gone), "the old table still holds it");
    memmap_put(two);
    CHECK(!is_mapped(gone), "nobody holds it");
    CHECK(is_mapped(kept), "the new table holds it");
    memmap_put(one);
    CHECK(!is_mapped(kept), "nobody holds it");
}

static void memmap_holds_509_regions_and_no_more(void)
{
    auto_fd fd = make_file(1);
    struct memmap *mm = memmap_create(0), *more = NULL;

    for (uint64_t i = 0; i < MEMMAP_MAX_REGIONS; i++) {
        /* From the middle outwards, so that all kinds of insertion occur. */
        uint64_t at = i % 2 ? 0x1000000 + i * PAGE : 0x1000000 - i * PAGE;

        if (!CHECK_EQ(memmap_with(mm, (uint32_t)i, at, PAGE, fd, 0, &more), 0,
                      "room"))
            break;
        memmap_put(mm);
        mm = more;
    }
    CHECK_EQ(memmap_with(mm, 1, 0, PAGE, fd, 0, &more), -ENOSPC, "full");
    for (uint32_t i = 1; i < mm->n; i++)
        CHECK(mm->r[i - 1].gpa < mm->r[i].gpa, "sorted");
    for (uint32_t i = 0; i < mm->n; i++) {
        void *va;

        CHECK_EQ(memmap_span(mm, (gpa_t){ mm->r[i].gpa }, PAGE, &va), 0,
                 "found");
    }
    memmap_put(mm);
}

TAP_MAIN(TEST(memmap_span_refuses_what_no_region_holds),
         TEST(memmap_shows_the_files_bytes_at_the_regions_offset),
         TEST(memmap_piece_goes_on_into_a_region_that_touches),
         TEST(memmap_refuses_impossible_regions),
         TEST(memmap_refuses_what_is_not_memory),
         TEST(memmap_unmaps_with_the_last_reference_only),
         TEST(memmap_holds_509_regions_and_no_more))
