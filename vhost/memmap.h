/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_MEMMAP_H
#define VIRTIOFSD_VHOST_MEMMAP_H

/*
 * Guest memory as the request process maps it.
 *
 * A map is immutable once made: a change of the memory table makes a new map
 * which shares the mappings that stay.  Maps and mappings are counted; the
 * last reference unmaps.  The guest can write every byte at any time: read a
 * value once into a local, check the local, use the local.
 */

#include <stddef.h>
#include <stdint.h>

#include "virtiofsd/base/util.h"

#define MEMMAP_MAX_REGIONS 509 /* what GET_MAX_MEM_SLOTS answers */

/* One mmap of the front-end's; shared by the maps that hold its region. */
struct memmapping {
    _Atomic uint32_t refs;
    void *base;
    size_t len;
    uint64_t offset; /* of @base in @fd, bytes */
    int fd;          /* a copy of our own, for memmap_remake() */
};

/* Sorted by gpa, without overlap.  Immutable. */
struct memregion {
    uint64_t gpa, size; /* bytes */
    uint8_t *va;        /* host address of gpa */
    struct memmapping *mapping;
};

struct memmap {
    _Atomic uint32_t refs;
    uint32_t gen; /* the generation a slot names it by */
    uint32_t n;
    struct memregion r[];
};

/* Does all of a span lie in @r?  An empty one lies nowhere. */
static inline bool memregion_holds(const struct memregion *r, uint64_t gpa,
                                   uint64_t len)
{
    uint64_t left = r->gpa + r->size - gpa;

    /* Of a byte outside this wraps to more than the region has. */
    return left <= r->size && len - 1 < left;
}

/**
 * memmap_create() - a map that holds nothing.
 * Return: the map with one reference, or NULL without memory.
 */
struct memmap *memmap_create(uint32_t gen);

/**
 * memmap_with() - a new map: all that @old holds and one region more.
 * @old:    borrowed, unchanged.
 * @gpa, @size: the region, bytes.
 * @fd:     memory to map; borrowed, may be closed after.
 * @offset: where the region begins in @fd, bytes.
 * @map:    out, one reference.
 * Context: request process, main thread.
 * Return: 0; -EINVAL for an empty or wrapping region or one that lies past
 * the end of the file (a load there would be SIGBUS), -EEXIST for an overlap,
 * -ENOSPC when the table is full, -errno of mmap(2).
 */
int memmap_with(const struct memmap *old, uint32_t gen, uint64_t gpa,
                uint64_t size, int fd, uint64_t offset, struct memmap **map);

/**
 * memmap_without() - a new map: @old less the region at @gpa of @size bytes.
 * Return: 0 or -ENOENT, -ENOMEM.
 */
int memmap_without(const struct memmap *old, uint32_t gen, uint64_t gpa,
                   uint64_t size, struct memmap **map);

/**
 * memmap_remake() - the same table at other host addresses.
 * @map: out, one reference; same generation, nothing shared with @old.
 * Return: 0 or -errno; the table is not changed.
 */
int memmap_remake(const struct memmap *old, struct memmap **map);

/**
 * memmap_fence() - cut a table off from the guest.
 * Every address of it stays valid and becomes private memory of ours.  A
 * system call that still holds such an address writes where nobody looks.
 * Not for pages pinned already by direct I/O: those reach the guest.
 * Context: nobody serves requests from @mm any more.
 * Return: 0 or -errno: then the guest may still be written to.
 */
int memmap_fence(struct memmap *mm);

struct memmap *memmap_get(struct memmap *mm);
/* Drop a reference; NULL is fine. */
void memmap_put(struct memmap *mm);

/**
 * memmap_span() - turn a guest-physical span into host memory.
 * @mm:   the caller holds a reference for as long as it uses the result.
 * @addr: first byte, guest-physical.
 * @len:  bytes; zero is refused, an empty span has no address.
 * @va:   out, borrowed from @mm.
 * A span that crosses two regions is refused even when they touch: adjacent
 * in guest memory does not mean adjacent in ours.
 * Return: 0 or -EFAULT.
 */
int memmap_span(const struct memmap *mm, gpa_t addr, uint64_t len, void **va);

/* Return: the region that holds this byte, or NULL. */
const struct memregion *memmap_find(const struct memmap *mm, gpa_t addr);

/**
 * memmap_piece() - the first part of a span that lies in one region.
 * @got: out, bytes of the span that are contiguous from @va; 1..@len.
 * For buffers, which a guest may lay over two regions that touch.
 * Return: 0 or -EFAULT.
 */
int memmap_piece(const struct memmap *mm, gpa_t addr, uint64_t len, void **va,
                 uint64_t *got);

#endif
