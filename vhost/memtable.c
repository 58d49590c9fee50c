/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/memtable.h"

#include <errno.h>
#include <string.h>

/* Index of the first row that begins above @gpa. */
static uint32_t upper_bound(const struct memtable *t, uint64_t gpa)
{
    uint32_t lo = 0, hi = t->n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (t->r[mid].gpa.v <= gpa)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Does [start, start + size) lie within [rstart, rstart + rsize)? */
static bool holds(uint64_t rstart, uint64_t rsize, uint64_t start, uint64_t len)
{
    /* Differences, not sums: nothing here can wrap once start >= rstart. */
    return len != 0 && start >= rstart && start - rstart < rsize &&
           len <= rsize - (start - rstart);
}

static int region_check(const struct memtable_region *r)
{
    uint64_t end;

    if (r->size == 0)
        return -EINVAL;
    /* The last byte may be the last of the address space, but then the end
     * is not a number any more; no machine needs that byte. */
    if (__builtin_add_overflow(r->gpa.v, r->size, &end) ||
        __builtin_add_overflow(r->uva.v, r->size, &end))
        return -EINVAL;
    if (__builtin_add_overflow(r->mmap_offset, r->size, &end) ||
        end > INT64_MAX)
        return -EINVAL;
    return 0;
}

int memtable_add(struct memtable *t, const struct memtable_region *r,
                 uint32_t *idx)
{
    uint32_t i;
    int ret = region_check(r);

    if (ret < 0)
        return ret;
    if (t->n >= MEMTABLE_MAX)
        return -ENOSPC;
    i = upper_bound(t, r->gpa.v);
    if (i > 0 && r->gpa.v - t->r[i - 1].gpa.v < t->r[i - 1].size)
        return -EEXIST;
    if (i < t->n && t->r[i].gpa.v - r->gpa.v < r->size)
        return -EEXIST;
    memmove(&t->r[i + 1], &t->r[i], (t->n - i) * sizeof(t->r[0]));
    t->r[i] = *r;
    t->n++;
    if (idx)
        *idx = i;
    return 0;
}

int memtable_remove(struct memtable *t, const struct memtable_region *r,
                    uint32_t *idx)
{
    uint32_t i = upper_bound(t, r->gpa.v);
    const struct memtable_region *have;

    if (i == 0)
        return -ENOENT;
    have = &t->r[--i];
    if (have->gpa.v != r->gpa.v || have->uva.v != r->uva.v ||
        have->size != r->size)
        return -ENOENT;
    t->n--;
    memmove(&t->r[i], &t->r[i + 1], (t->n - i) * sizeof(t->r[0]));
    if (idx)
        *idx = i;
    return 0;
}

int memtable_find(const struct memtable *t, gpa_t gpa, uint64_t len)
{
    uint32_t i = upper_bound(t, gpa.v);

    if (i == 0)
        return -EFAULT;
    i--;
    if (!holds(t->r[i].gpa.v, t->r[i].size, gpa.v, len))
        return -EFAULT;
    return (int)i;
}

int memtable_uva_to_gpa(const struct memtable *t, uva_t uva, uint64_t len,
                        gpa_t *gpa)
{
    /* Not sorted by uva; a few ring parts per start do not need it to be. */
    for (uint32_t i = 0; i < t->n; i++) {
        const struct memtable_region *r = &t->r[i];

        if (!holds(r->uva.v, r->size, uva.v, len))
            continue;
        gpa->v = r->gpa.v + (uva.v - r->uva.v);
        return 0;
    }
    return -EFAULT;
}

int memtable_gpa_to_uva(const struct memtable *t, gpa_t gpa, uint64_t len,
                        uva_t *uva)
{
    int i = memtable_find(t, gpa, len);

    if (i < 0)
        return i;
    uva->v = t->r[i].uva.v + (gpa.v - t->r[i].gpa.v);
    return 0;
}
