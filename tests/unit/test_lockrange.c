/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/passthrough/lockrange.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

#define END ((uint64_t)INT64_MAX)

static int set(struct pt_ranges *s, uint64_t start, uint64_t end, int type)
{
    struct pt_range r = { .start = start, .end = end, .type = (uint32_t)type };
    int growth = pt_ranges_growth(s, &r), before = (int)s->n;

    CHECK_EQ(pt_ranges_reserve(s), 0, "");
    pt_ranges_set(s, &r);
    return CHECK_EQ((int)s->n - before, growth, "as it was foretold");
}

struct want {
    uint64_t start, end;
    int type;
};

static void holds(const struct pt_ranges *s, const struct want *w, size_t n,
                  const char *why)
{
    if (!CHECK_EQ(s->n, n, why))
        return;
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(s->r[i].start, w[i].start, why);
        CHECK_EQ(s->r[i].end, w[i].end, why);
        CHECK_EQ(s->r[i].type, w[i].type, why);
    }
}
#define HOLDS(s, why, ...)                                                     \
    do {                                                                       \
        static const struct want w_[] = { __VA_ARGS__ };                       \
        holds(s, w_, ARRAY_SIZE(w_), why);                                     \
    } while (0)

static void neighbours_of_one_kind_are_one(void)
{
    struct pt_ranges s = { 0 };

    set(&s, 0, 9, F_RDLCK);
    set(&s, 20, 29, F_RDLCK);
    HOLDS(&s, "apart", { 0, 9, F_RDLCK }, { 20, 29, F_RDLCK });
    set(&s, 10, 19, F_RDLCK);
    HOLDS(&s, "filled in", { 0, 29, F_RDLCK });
    set(&s, 30, END, F_WRLCK);
    HOLDS(&s, "of two kinds", { 0, 29, F_RDLCK }, { 30, END, F_WRLCK });
    set(&s, 30, END, F_RDLCK);
    HOLDS(&s, "of one kind now", { 0, END, F_RDLCK });
    set(&s, 0, END, F_UNLCK);
    CHECK_EQ(s.n, 0, "");
    pt_ranges_free(&s);
}

static void a_lock_cuts_what_it_lies_in(void)
{
    struct pt_ranges s = { 0 };

    set(&s, 0, END, F_WRLCK);
    set(&s, 5, 5, F_RDLCK);
    HOLDS(&s, "cut in three", { 0, 4, F_WRLCK }, { 5, 5, F_RDLCK },
          { 6, END, F_WRLCK });
    set(&s, 5, 5, F_UNLCK);
    HOLDS(&s, "a hole", { 0, 4, F_WRLCK }, { 6, END, F_WRLCK });
    set(&s, 2, 10, F_RDLCK);
    HOLDS(&s, "over an edge and a hole", { 0, 1, F_WRLCK }, { 2, 10, F_RDLCK },
          { 11, END, F_WRLCK });
    set(&s, 0, 0, F_UNLCK);
    set(&s, END, END, F_UNLCK);
    HOLDS(&s, "both ends", { 1, 1, F_WRLCK }, { 2, 10, F_RDLCK },
          { 11, END - 1, F_WRLCK });
    pt_ranges_free(&s);
}

#define BYTES 64

/* What the list says of each byte, and that it is as short as can be. */
static bool same(const struct pt_ranges *s, const uint8_t *want)
{
    uint8_t got[BYTES];

    memset(got, F_UNLCK, sizeof(got));
    for (uint32_t i = 0; i < s->n; i++) {
        if (i > 0 && (s->r[i].start <= s->r[i - 1].end ||
                      (s->r[i].start == s->r[i - 1].end + 1 &&
                       s->r[i].type == s->r[i - 1].type)))
            return false;
        for (uint64_t b = s->r[i].start; b <= s->r[i].end && b < BYTES; b++)
            got[b] = (uint8_t)s->r[i].type;
    }
    return memcmp(got, want, sizeof(got)) == 0;
}

static void any_order_of_locks_is_what_each_byte_had_last(void)
{
    static const int types[] = { F_RDLCK, F_WRLCK, F_UNLCK };
    struct pt_ranges s = { 0 };
    uint8_t want[BYTES];
    unsigned int seed = 7, most = 0;

    memset(want, F_UNLCK, sizeof(want));
    for (int i = 0; i < 200000; i++) {
        unsigned int a = (unsigned int)rand_r(&seed) % BYTES;
        unsigned int len = 1 + (unsigned int)rand_r(&seed) % 12;
        unsigned int b = MIN(a + len - 1, BYTES - 1u);
        int type = types[rand_r(&seed) % 3];

        set(&s, a, b, type);
        memset(want + a, type, b - a + 1);
        most = MAX(most, s.n);
        if (!CHECK(same(&s, want), "as byte by byte"))
            break;
    }
    CHECK(most > 10, "there were many at a time");
    pt_ranges_free(&s);
}

TAP_MAIN(TEST(neighbours_of_one_kind_are_one),
         TEST(a_lock_cuts_what_it_lies_in),
         TEST(any_order_of_locks_is_what_each_byte_had_last))
