/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_DIRTYLOG_H
#define VIRTIOFSD_VHOST_DIRTYLOG_H

/*
 * The front-end's dirty bitmap during live migration: one bit for each 4 KiB
 * of guest-physical memory, set by us after we wrote there.
 * Spec: vhost-user "Migration".
 */

#include <stdint.h>

#include "virtiofsd/base/util.h"

#define DIRTYLOG_PAGE 4096

struct dirtylog {
    _Atomic uint32_t refs;
    uint32_t gen; /* the generation a slot names it by */
    uint64_t bits;
    _Atomic uint8_t *map; /* shared with the front-end, which clears bits */
    void *base;
    size_t len;
};

/**
 * dirtylog_create() - map a bitmap.
 * @fd:     borrowed.
 * @offset: where it begins in @fd, bytes; a multiple of the page size.
 * @size:   bytes.
 * Return: 0; -EINVAL when it lies past the end of the file; -errno of mmap(2).
 */
int dirtylog_create(int fd, uint64_t offset, uint64_t size, uint32_t gen,
                    struct dirtylog **log);
struct dirtylog *dirtylog_get(struct dirtylog *log);
void dirtylog_put(struct dirtylog *log);

/**
 * dirtylog_mark() - @len bytes at @gpa were written.
 * Call it after the write: the front-end may copy the page the moment it has
 * read the bit.  What lies past the bitmap is not marked.
 * Context: any ring's thread.
 */
void dirtylog_mark(struct dirtylog *log, gpa_t gpa, uint64_t len);

#endif
