/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/lockrange.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* @piece takes the place of the ranges from @first to before @last. */
struct plan {
    uint32_t first, last;
    struct pt_range piece[3];
    uint32_t n;
};

static uint32_t first_reaching(const struct pt_ranges *s, uint64_t start)
{
    uint32_t lo = 0, hi = s->n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (s->r[mid].end < start)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Does @b begin where @a ends, and are they of one kind? */
static int joins(const struct pt_range *a, const struct pt_range *b)
{
    return a->type == b->type && b->start != 0 && a->end == b->start - 1;
}

static struct plan make_plan(const struct pt_ranges *s,
                             const struct pt_range *want)
{
    struct pt_range new = *want, right = { .type = F_UNLCK };
    struct plan p = { .first = first_reaching(s, want->start) };

    if (p.first > 0 && joins(&s->r[p.first - 1], want))
        p.first--;
    p.last = p.first;
    while (p.last < s->n && s->r[p.last].start <= want->end)
        p.last++;
    if (p.last < s->n && joins(want, &s->r[p.last]))
        p.last++;
    if (p.first < p.last) {
        const struct pt_range *l = &s->r[p.first], *r = &s->r[p.last - 1];

        if (l->start < want->start && l->type == want->type) {
            new.start = l->start;
        } else if (l->start < want->start) {
            p.piece[p.n] = *l;
            p.piece[p.n++].end = want->start - 1;
        }
        if (r->end > want->end && r->type == want->type) {
            new.end = r->end;
        } else if (r->end > want->end) {
            right = *r;
            right.start = want->end + 1;
        }
    }
    if (want->type != F_UNLCK)
        p.piece[p.n++] = new;
    if (right.type != F_UNLCK)
        p.piece[p.n++] = right;
    return p;
}

int pt_ranges_growth(const struct pt_ranges *s, const struct pt_range *want)
{
    struct plan p = make_plan(s, want);

    return (int)p.n - (int)(p.last - p.first);
}

int pt_ranges_reserve(struct pt_ranges *s)
{
    uint32_t room = s->room ? 2 * s->room : 4;
    struct pt_range *r;

    if (s->n + 2 <= s->room)
        return 0;
    r = realloc(s->r, room * sizeof(*r));
    if (!r)
        return -ENOMEM;
    s->r = r;
    s->room = room;
    return 0;
}

void pt_ranges_set(struct pt_ranges *s, const struct pt_range *want)
{
    struct plan p = make_plan(s, want);

    if (s->n > p.last)
        memmove(&s->r[p.first + p.n], &s->r[p.last],
                (s->n - p.last) * sizeof(*s->r));
    if (p.n > 0)
        memcpy(&s->r[p.first], p.piece, p.n * sizeof(*s->r));
    s->n = s->n - (p.last - p.first) + p.n;
}

void pt_ranges_free(struct pt_ranges *s)
{
    free(s->r);
    *s = (struct pt_ranges){ 0 };
}
