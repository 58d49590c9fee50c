/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_FUZZ_RING_H
#define VIRTIOFSD_TESTS_FUZZ_RING_H

/*
 * Guest memory and the driver's side of one ring in it, without a device
 * around them: for targets that call vring_*(), chain_*() and
 * serve_request() themselves.
 *
 *   RING_GPA  descriptors, avail ring, used ring, indirect tables
 *   BUF_GPA   two regions that touch, mapped apart: buffers
 *   ODD_GPA   a region whose bytes are not aligned in our address space
 *   TOP_GPA   a region near the end of the guest's address space
 */

#include "vhost/vring.h"

#define RING_GPA   UINT64_C(0x100000)
#define RING_BYTES UINT64_C(0x10000)
#define BUF_GPA    UINT64_C(0x200000)
#define BUF_BYTES  UINT64_C(0x20000) /* each of the two */
#define ODD_GPA    UINT64_C(0x300000)
#define ODD_BYTES  UINT64_C(0x1000)
#define TOP_GPA    UINT64_C(0xffffffffffff0000)
#define TOP_BYTES  UINT64_C(0x2000)

/* Where things stand in the ring's region, with the default layout. */
#define RING_SIZE      256
#define RING_DESC      UINT64_C(0)
#define RING_AVAIL     UINT64_C(0x2000)
#define RING_USED      UINT64_C(0x4000)
#define RING_INDIRECT  UINT64_C(0x8000)
#define INDIRECT_DESCS 2048

/* A buffer's part, as one descriptor. */
struct seg {
    uint64_t gpa;
    uint32_t len;
    bool write;
};

struct guest_ring {
    struct memmap *mm;
    struct vring v;
    uint16_t avail_idx;
};

/* Map the memory, with RING_SIZE entries attached at position 0. */
void ring_open(struct guest_ring *g);
/* Attach anew; driver and device start at @base. */
void ring_restart(struct guest_ring *g, uint16_t base);
void ring_close(struct guest_ring *g);
/* All memory zero. */
void ring_wipe(const struct guest_ring *g);

/* Host address of a span of one region, or NULL. */
void *ring_at(const struct guest_ring *g, uint64_t gpa, uint64_t len);
/* Copy to guest memory, over regions that touch.  What lies nowhere is
 * dropped. */
void ring_write(const struct guest_ring *g, uint64_t gpa, const void *from,
                size_t len);

void ring_desc(const struct guest_ring *g, uint64_t table_gpa, uint32_t idx,
               struct vring_desc_raw d);

/**
 * ring_put() - offer a chain, as a driver would.
 * @n: up to RING_SIZE, or INDIRECT_DESCS when @indirect.
 * The chain begins at descriptor 0: one request at a time.
 */
void ring_put(struct guest_ring *g, const struct seg *segs, uint32_t n,
              bool indirect);

#endif
