/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/ring.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define F_NEXT     1
#define F_WRITE    2
#define F_INDIRECT 4

/* An odd place in the file: what is aligned for the guest is not for us. */
#define ODD_SHIFT 4

static void add_region(struct guest_ring *g, uint64_t gpa, uint64_t size,
                       uint64_t shift)
{
    int fd = memfd_create("guest", MFD_CLOEXEC);
    struct memmap *more = NULL;

    FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)(size + shift)) == 0);
    FUZZ_CHECK(memmap_with(g->mm, 1, gpa, size, fd, shift, &more) == 0);
    close(fd);
    memmap_put(g->mm);
    g->mm = more;
}

void ring_open(struct guest_ring *g)
{
    memset(g, 0, sizeof(*g));
    g->mm = memmap_create(1);
    FUZZ_CHECK(g->mm != NULL);
    add_region(g, RING_GPA, RING_BYTES, 0);
    add_region(g, BUF_GPA, BUF_BYTES, 0);
    add_region(g, BUF_GPA + BUF_BYTES, BUF_BYTES, 0);
    add_region(g, ODD_GPA, ODD_BYTES, ODD_SHIFT);
    add_region(g, TOP_GPA, TOP_BYTES, 0);
    ring_restart(g, 0);
}

void ring_restart(struct guest_ring *g, uint16_t base)
{
    struct vring_cfg cfg = {
        .flags = VRING_CFG_STARTED | VRING_CFG_ENABLED,
        .size = RING_SIZE,
        .desc = { RING_GPA + RING_DESC },
        .avail = { RING_GPA + RING_AVAIL },
        .used = { RING_GPA + RING_USED },
        .features = UINT64_C(1) << 28 | UINT64_C(1) << 29 | UINT64_C(1) << 32,
        .base = base,
    };

    FUZZ_CHECK(vring_cfg_check(&cfg) == 0);
    FUZZ_CHECK(vring_start(&g->v, &cfg, g->mm, NULL) == 0);
    g->avail_idx = base;
}

void ring_close(struct guest_ring *g)
{
    vring_close(&g->v);
    memmap_put(g->mm);
}

void ring_wipe(const struct guest_ring *g)
{
    for (uint32_t i = 0; i < g->mm->n; i++)
        memset(g->mm->r[i].va, 0, g->mm->r[i].size);
}

void *ring_at(const struct guest_ring *g, uint64_t gpa, uint64_t len)
{
    void *va;

    return memmap_span(g->mm, (gpa_t){ gpa }, len, &va) == 0 ? va : NULL;
}

void ring_write(const struct guest_ring *g, uint64_t gpa, const void *from,
                size_t len)
{
    const uint8_t *p = from;

    while (len > 0) {
        uint64_t got;
        void *va;

        if (memmap_piece(g->mm, (gpa_t){ gpa }, len, &va, &got) < 0)
            return;
        memcpy(va, p, got);
        gpa += got;
        p += got;
        len -= got;
    }
}

void ring_desc(const struct guest_ring *g, uint64_t table_gpa, uint32_t idx,
               struct vring_desc_raw d)
{
    ring_write(g, table_gpa + idx * sizeof(d), &d, sizeof(d));
}

void ring_put(struct guest_ring *g, const struct seg *segs, uint32_t n,
              bool indirect)
{
    uint64_t table = RING_GPA + (indirect ? RING_INDIRECT : RING_DESC);
    uint16_t *avail = ring_at(g, RING_GPA + RING_AVAIL, 4);
    uint16_t head = 0;

    FUZZ_CHECK(n > 0 && n <= (indirect ? INDIRECT_DESCS : RING_SIZE));
    for (uint32_t i = 0; i < n; i++) {
        struct vring_desc_raw d = { .addr = segs[i].gpa, .len = segs[i].len };

        if (segs[i].write)
            d.flags |= F_WRITE;
        if (i + 1 < n) {
            d.flags |= F_NEXT;
            d.next = (uint16_t)(i + 1);
        }
        ring_desc(g, table, i, d);
    }
    if (indirect)
        ring_desc(g, RING_GPA + RING_DESC, 0,
                  (struct vring_desc_raw){
                      .addr = table, .len = n * 16, .flags = F_INDIRECT });
    ring_write(g, RING_GPA + RING_AVAIL + 4 + 2 * (g->avail_idx % RING_SIZE),
               &head, sizeof(head));
    g->avail_idx++;
    atomic_store_explicit((_Atomic uint16_t *)avail + 1, g->avail_idx,
                          memory_order_release);
}
