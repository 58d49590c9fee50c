/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/memtable.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/tap.h"

static struct memtable_region region(uint64_t gpa, uint64_t uva, uint64_t size)
{
    return (
        struct memtable_region){ .gpa = { gpa }, .uva = { uva }, .size = size };
}

/* Two regions that touch, one apart: guest-physical sorted, uva reversed. */
static void three(struct memtable *t)
{
    struct memtable_region r[] = {
        region(0x100000, 0x7000, 0x1000),
        region(0x1000, 0x9000, 0x1000),
        region(0x2000, 0x8000, 0x1000),
    };

    t->n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(r); i++)
        CHECK_EQ(memtable_add(t, &r[i], NULL), 0, "set-up");
}

static const struct {
    const char *why;
    uint64_t gpa, uva, size, offset;
    int want;
} adds[] = {
    { "between two regions", 0x3000, 0, 0x1000, 0, 0 },
    { "before all", 0x0, 0, 0x1000, 0, 0 },
    { "zero size", 0x8000, 0, 0, 0, -EINVAL },
    { "wraps guest memory", UINT64_MAX - 0xfff, 0, 0x2000, 0, -EINVAL },
    { "wraps the front-end's memory", 0x8000, UINT64_MAX, 0x1000, 0, -EINVAL },
    { "ends past any file", 0x8000, 0, 0x1000, INT64_MAX, -EINVAL },
    { "file offset wraps", 0x8000, 0, 0x1000, UINT64_MAX, -EINVAL },
    { "the same region again", 0x1000, 0x9000, 0x1000, 0, -EEXIST },
    { "overlaps the one below by a byte", 0x1fff, 0, 1, 0, -EEXIST },
    { "overlaps the one above by a byte", 0xfff, 0, 2, 0, -EEXIST },
    { "covers all", 0x0, 0, 0x200000, 0, -EEXIST },
    { "lies within one", 0x100800, 0, 0x10, 0, -EEXIST },
};

static void memtable_add_refuses_what_can_not_be(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(adds); i++) {
        struct memtable t, was;
        struct memtable_region r =
            region(adds[i].gpa, adds[i].uva, adds[i].size);

        memset(&t, 0, sizeof(t));
        three(&t);
        was = t;
        r.mmap_offset = adds[i].offset;
        CHECK_EQ(memtable_add(&t, &r, NULL), adds[i].want, adds[i].why);
        if (adds[i].want < 0)
            CHECK(memcmp(&t, &was, sizeof(t)) == 0, adds[i].why);
    }
}

static void memtable_add_keeps_the_rows_sorted_and_tells_the_row(void)
{
    struct memtable t;
    struct memtable_region r = region(0x50000, 0, 0x1000);
    uint32_t idx = 99;

    three(&t);
    CHECK_EQ(memtable_add(&t, &r, &idx), 0, "");
    CHECK_EQ(idx, 2, "after the two that touch");
    CHECK_EQ(t.n, 4, "");
    for (uint32_t i = 1; i < t.n; i++)
        CHECK(t.r[i - 1].gpa.v < t.r[i].gpa.v, "sorted");
}

static void memtable_add_stops_at_509(void)
{
    static struct memtable t;
    struct memtable_region r;

    t.n = 0;
    for (uint32_t i = 0; i < MEMTABLE_MAX; i++) {
        /* Downwards: each goes in front of all others. */
        r = region((uint64_t)(MEMTABLE_MAX - i) << 20, 0, 0x1000);
        if (!CHECK_EQ(memtable_add(&t, &r, NULL), 0, "below the limit"))
            return;
    }
    r = region(0, 0, 0x1000);
    CHECK_EQ(memtable_add(&t, &r, NULL), -ENOSPC, "the 510th");
    CHECK_EQ(memtable_find(&t, (gpa_t){ 509ull << 20 }, 1), 508, "the last");
}

static const struct {
    const char *why;
    uint64_t gpa, uva, size;
    int want;
} removes[] = {
    { "exact", 0x2000, 0x8000, 0x1000, 0 },
    { "another size", 0x2000, 0x8000, 0x800, -ENOENT },
    { "another front-end address", 0x2000, 0x8001, 0x1000, -ENOENT },
    { "an address within", 0x2800, 0x8800, 0x800, -ENOENT },
    { "below all", 0x0, 0x0, 0x1000, -ENOENT },
};

static void memtable_remove_takes_the_exact_region_only(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(removes); i++) {
        struct memtable t;
        struct memtable_region r =
            region(removes[i].gpa, removes[i].uva, removes[i].size);
        uint32_t idx = 99;

        three(&t);
        r.mmap_offset = 0x123000; /* is not looked at */
        CHECK_EQ(memtable_remove(&t, &r, &idx), removes[i].want,
                 removes[i].why);
        CHECK_EQ(t.n, removes[i].want ? 3 : 2, removes[i].why);
        CHECK_EQ(idx, removes[i].want ? 99 : 1, removes[i].why);
    }
}

static const struct {
    const char *why;
    uint64_t gpa, len;
    int want;
} finds[] = {
    { "first byte", 0x1000, 1, 0 },
    { "last byte", 0x1fff, 1, 0 },
    { "a whole region", 0x2000, 0x1000, 1 },
    { "the one apart", 0x100010, 0x10, 2 },
    { "empty span", 0x1000, 0, -EFAULT },
    { "crosses touching regions", 0x1ff0, 0x20, -EFAULT },
    { "a byte too long", 0x2000, 0x1001, -EFAULT },
    { "below all", 0xfff, 1, -EFAULT },
    { "in the gap", 0x3000, 1, -EFAULT },
    { "above all", 0x101000, 1, -EFAULT },
    { "wraps the address space", 0x1800, UINT64_MAX, -EFAULT },
    { "at the end of the address space", UINT64_MAX, 2, -EFAULT },
};

static void memtable_find_refuses_what_no_region_holds(void)
{
    struct memtable t;

    three(&t);
    for (size_t i = 0; i < ARRAY_SIZE(finds); i++)
        CHECK_EQ(memtable_find(&t, (gpa_t){ finds[i].gpa }, finds[i].len),
                 finds[i].want, finds[i].why);
    t.n = 0;
    CHECK_EQ(memtable_find(&t, (gpa_t){ 0x1000 }, 1), -EFAULT, "empty table");
}

static const struct {
    const char *why;
    uint64_t uva, len, gpa;
    int want;
} moves[] = {
    { "begin of a region", 0x9000, 0x10, 0x1000, 0 },
    { "within", 0x8123, 1, 0x2123, 0 },
    { "last byte", 0x7fff, 1, 0x100fff, 0 },
    { "crosses regions that touch in uva only", 0x7ff0, 0x20, 0, -EFAULT },
    { "nowhere", 0x100000, 1, 0, -EFAULT },
    { "empty", 0x9000, 0, 0, -EFAULT },
    { "wraps", 0x9000, UINT64_MAX - 8, 0, -EFAULT },
};

static void memtable_translates_both_ways(void)
{
    struct memtable t;

    three(&t);
    for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
        gpa_t gpa = { 0 };
        uva_t uva = { 0 };

        CHECK_EQ(memtable_uva_to_gpa(&t, (uva_t){ moves[i].uva }, moves[i].len,
                                     &gpa),
                 moves[i].want, moves[i].why);
        CHECK_EQ(gpa.v, moves[i].gpa, moves[i].why);
        if (moves[i].want < 0)
            continue;
        CHECK_EQ(memtable_gpa_to_uva(&t, gpa, moves[i].len, &uva), 0,
                 moves[i].why);
        CHECK_EQ(uva.v, moves[i].uva, moves[i].why);
    }
}

TAP_MAIN(TEST(memtable_add_refuses_what_can_not_be),
         TEST(memtable_add_keeps_the_rows_sorted_and_tells_the_row),
         TEST(memtable_add_stops_at_509),
         TEST(memtable_remove_takes_the_exact_region_only),
         TEST(memtable_find_refuses_what_no_region_holds),
         TEST(memtable_translates_both_ways))
