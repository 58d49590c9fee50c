/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_MEMTABLE_H
#define VIRTIOFSD_VHOST_MEMTABLE_H

/*
 * Pure arithmetic on a table of guest memory regions.  No fd, no mapping, no
 * allocation: a table is plain data, copied by assignment.  The control
 * process keeps one to translate front-end addresses; the request process
 * keeps one beside its mappings and leaves uva 0 throughout.
 *
 * The rows are sorted by gpa and never overlap there.  An index found in one
 * table stays valid until the next add or remove; a caller with an array of
 * its own beside the table moves its rows in step, by the index given out.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtiofsd/base/util.h"

/* What GET_MAX_MEM_SLOTS answers; QEMU's own limit for such a back-end. */
#define MEMTABLE_MAX 509

struct memtable_region {
    gpa_t gpa;            /* first byte, guest-physical */
    uva_t uva;            /* the same byte in the front-end's address space */
    uint64_t size;        /* bytes, never 0 */
    uint64_t mmap_offset; /* where the region begins in its fd, bytes */
};

struct memtable {
    uint32_t n;
    struct memtable_region r[MEMTABLE_MAX];
};

/**
 * memtable_add() - put a region in its place.
 * @r:   copied.
 * @idx: out, may be NULL: the new row; rows from there on moved up by one.
 *
 * Overlap is looked for in guest-physical addresses only: front-end addresses
 * belong to the front-end, and the request process has none.
 *
 * Return: 0; -EINVAL for a region that is empty, wraps an address space or
 * ends past what a file can hold; -EEXIST when it overlaps a region of the
 * table; -ENOSPC when the table is full.  On failure nothing has changed.
 */
int memtable_add(struct memtable *t, const struct memtable_region *r,
                 uint32_t *idx);

/**
 * memtable_remove() - take out the region with exactly this gpa, uva and size.
 * @r:   its mmap_offset is not looked at.
 * @idx: out, may be NULL: the row that was; rows above moved down by one.
 * Spec: vhost-user "Single memory region description", "REM_MEM_REG".
 * Return: 0, or -ENOENT.
 */
int memtable_remove(struct memtable *t, const struct memtable_region *r,
                    uint32_t *idx);

/**
 * memtable_find() - which region holds a whole guest-physical span?
 * @len: bytes; zero is refused, an empty span lies nowhere.
 * A span that crosses into a touching region is refused: adjacent in guest
 * memory does not mean adjacent in anybody's mapping.
 * Return: the row (>= 0), or -EFAULT.
 */
int memtable_find(const struct memtable *t, gpa_t gpa, uint64_t len);

/**
 * memtable_uva_to_gpa() - translate a front-end span, as a whole.
 * @gpa: out; untouched on failure.
 * Return: 0, or -EFAULT when no single region holds the span.
 */
int memtable_uva_to_gpa(const struct memtable *t, uva_t uva, uint64_t len,
                        gpa_t *gpa);
/* The other way. */
int memtable_gpa_to_uva(const struct memtable *t, gpa_t gpa, uint64_t len,
                        uva_t *uva);

#endif
