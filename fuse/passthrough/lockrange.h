/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_LOCKRANGE_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_LOCKRANGE_H

/*
 * The record locks which one owner holds on one file, as the host's kernel
 * keeps them: sorted, no two overlap, neighbours of one type are one.  The
 * kernel tells nobody what an open file has locked; who has to count it, or
 * to carry it over to another open file, keeps a list.
 *
 * Plain data and arithmetic; no locks.
 */

#include <stdint.h>

/* Bytes @start to @end, both of them included. */
struct pt_range {
    uint64_t start, end;
    uint32_t type; /* F_RDLCK, F_WRLCK; F_UNLCK only as what is asked for */
    uint32_t pad;
};

/* All zero is an empty list. */
struct pt_ranges {
    struct pt_range *r;
    uint32_t n, room;
};

/**
 * pt_ranges_growth() - how many more the list holds after pt_ranges_set().
 * Return: -n to 2.
 */
int pt_ranges_growth(const struct pt_ranges *s, const struct pt_range *want);

/* Memory for the next pt_ranges_set().  Return: 0 or -ENOMEM. */
int pt_ranges_reserve(struct pt_ranges *s);

/**
 * pt_ranges_set() - lock or unlock, as fcntl(2) does.
 * Cannot fail after pt_ranges_reserve().
 */
void pt_ranges_set(struct pt_ranges *s, const struct pt_range *want);

void pt_ranges_free(struct pt_ranges *s);

#endif
