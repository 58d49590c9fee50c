/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/memmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost/guard.h"

static struct memmap *map_alloc(uint32_t gen, uint32_t n)
{
    struct memmap *mm =
        calloc(1, sizeof(*mm) + (size_t)n * sizeof(struct memregion));

    if (!mm)
        return NULL;
    atomic_init(&mm->refs, 1);
    mm->gen = gen;
    mm->n = n;
    return mm;
}

struct memmap *memmap_create(uint32_t gen)
{
    return map_alloc(gen, 0);
}

static void mapping_put(struct memmapping *m)
{
    /* acq_rel: the last user's accesses come before the unmap. */
    if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    guard_remove(m->base);
    munmap(m->base, m->len);
    close(m->fd);
    free(m);
}

struct memmap *memmap_get(struct memmap *mm)
{
    atomic_fetch_add_explicit(&mm->refs, 1, memory_order_relaxed);
    return mm;
}

void memmap_put(struct memmap *mm)
{
    if (!mm)
        return;
    if (atomic_fetch_sub_explicit(&mm->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < mm->n; i++)
        mapping_put(mm->r[i].mapping);
    free(mm);
}

/* @offset and @len are whole units of what the file maps in. */
static struct memmapping *mapping_map(int fd, uint64_t offset, size_t len,
                                      int *err)
{
    struct memmapping *m = calloc(1, sizeof(*m));

    if (!m) {
        *err = -ENOMEM;
        return NULL;
    }
    m->len = len;
    m->offset = offset;
    m->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (m->fd < 0) {
        *err = -errno;
        goto fail_alloc;
    }
    m->base = mmap(NULL, len, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);
    if (m->base == MAP_FAILED) {
        *err = -errno;
        goto fail_fd;
    }
    /* A core dump of ours should not hold the guest's secrets. */
    (void)madvise(m->base, len, MADV_DONTDUMP);
    guard_add(m->base, len);
    atomic_init(&m->refs, 1);
    return m;

fail_fd:
    close(m->fd);
fail_alloc:
    free(m);
    return NULL;
}

/*
 * Map a span of @fd.  The offset is rounded down and the length up to what
 * the file maps in: a huge page, where the memory is made of them, and
 * munmap() wants the whole of it.
 */
static int mapping_make(int fd, uint64_t offset, uint64_t size,
                        struct memmapping **out, uint8_t **va)
{
    uint64_t end, unit = (uint64_t)sysconf(_SC_PAGESIZE), lead, len;
    struct memmapping *m;
    struct stat st;
    int ret;

    if (__builtin_add_overflow(offset, size, &end) || end > INT64_MAX)
        return -EINVAL;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode)) {
        if ((uint64_t)st.st_size < end)
            return -EINVAL; /* past the end of file a load is SIGBUS for us */
        if (is_power_of_2((uint64_t)st.st_blksize))
            unit = MAX(unit, (uint64_t)st.st_blksize);
    } else if (!S_ISCHR(st.st_mode)) {
        return -EINVAL;
    }
    lead = offset & (unit - 1);
    if (__builtin_add_overflow(size, lead + unit - 1, &len))
        return -EINVAL;
    len &= ~(unit - 1);

    m = mapping_map(fd, offset - lead, len, &ret);
    if (!m)
        return ret;
    *out = m;
    *va = (uint8_t *)m->base + lead;
    return 0;
}

/* Where a region that begins at @gpa stands, or would stand, in the table. */
static uint32_t find_slot(const struct memmap *mm, uint64_t gpa)
{
    uint32_t lo = 0, hi = mm->n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (mm->r[mid].gpa < gpa)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Copy @n regions from @from on, each with a reference of its own. */
static void copy_regions(struct memregion *to, const struct memregion *from,
                         uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to[i] = from[i];
        atomic_fetch_add_explicit(&to[i].mapping->refs, 1,
                                  memory_order_relaxed);
    }
}

int memmap_with(const struct memmap *old, uint32_t gen, uint64_t gpa,
                uint64_t size, int fd, uint64_t offset, struct memmap **map)
{
    struct memmapping *mapping = NULL;
    struct memmap *mm;
    uint64_t end;
    uint32_t at;
    uint8_t *va = NULL;
    int ret;

    if (size == 0 || __builtin_add_overflow(gpa, size, &end))
        return -EINVAL;
    if (old->n >= MEMMAP_MAX_REGIONS)
        return -ENOSPC;
    at = find_slot(old, gpa);
    if (at < old->n && old->r[at].gpa < end)
        return -EEXIST;
    if (at > 0 && old->r[at - 1].gpa + old->r[at - 1].size > gpa)
        return -EEXIST;
    ret = mapping_make(fd, offset, size, &mapping, &va);
    if (ret < 0)
        return ret;
    mm = map_alloc(gen, old->n + 1);
    if (!mm) {
        mapping_put(mapping);
        return -ENOMEM;
    }
    copy_regions(mm->r, old->r, at);
    mm->r[at] = (struct memregion){ gpa, size, va, mapping };
    copy_regions(mm->r + at + 1, old->r + at, old->n - at);
    *map = mm;
    return 0;
}

int memmap_without(const struct memmap *old, uint32_t gen, uint64_t gpa,
                   uint64_t size, struct memmap **map)
{
    uint32_t at = find_slot(old, gpa);
    struct memmap *mm;

    if (at >= old->n || old->r[at].gpa != gpa || old->r[at].size != size)
        return -ENOENT;
    mm = map_alloc(gen, old->n - 1);
    if (!mm)
        return -ENOMEM;
    copy_regions(mm->r, old->r, at);
    copy_regions(mm->r + at, old->r + at + 1, old->n - at - 1);
    *map = mm;
    return 0;
}

int memmap_remake(const struct memmap *old, struct memmap **map)
{
    struct memmap *mm = map_alloc(old->gen, old->n);
    int ret;

    if (!mm)
        return -ENOMEM;
    for (uint32_t i = 0; i < old->n; i++) {
        const struct memregion *r = &old->r[i];
        const struct memmapping *m = r->mapping;

        mm->r[i] = *r;
        mm->r[i].mapping = mapping_map(m->fd, m->offset, m->len, &ret);
        if (!mm->r[i].mapping) {
            mm->n = i;
            memmap_put(mm);
            return ret;
        }
        mm->r[i].va = (uint8_t *)mm->r[i].mapping->base +
                      (r->va - (const uint8_t *)m->base);
    }
    *map = mm;
    return 0;
}

int memmap_fence(struct memmap *mm)
{
    for (uint32_t i = 0; i < mm->n; i++) {
        const struct memmapping *m = mm->r[i].mapping;

        if (mmap(m->base, m->len, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                 0) == MAP_FAILED)
            return -errno;
    }
    return 0;
}

const struct memregion *memmap_find(const struct memmap *mm, gpa_t addr)
{
    uint32_t lo = 0, hi = mm->n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct memregion *r = &mm->r[mid];

        if (addr.v < r->gpa)
            hi = mid;
        else if (addr.v - r->gpa >= r->size)
            lo = mid + 1;
        else
            return r;
    }
    return NULL;
}

int memmap_piece(const struct memmap *mm, gpa_t addr, uint64_t len, void **va,
                 uint64_t *got)
{
    const struct memregion *r = memmap_find(mm, addr);
    uint64_t off;

    if (!r || len == 0)
        return -EFAULT;
    off = addr.v - r->gpa;
    *va = r->va + off;
    *got = MIN(len, r->size - off);
    return 0;
}

int memmap_span(const struct memmap *mm, gpa_t addr, uint64_t len, void **va)
{
    uint64_t got;
    void *p;

    if (memmap_piece(mm, addr, len, &p, &got) < 0 || got != len)
        return -EFAULT;
    *va = p;
    return 0;
}
