/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/vring.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Offsets in u16 units within the avail and the used ring. */
#define RING_FLAGS 0
#define RING_IDX   1
#define RING_ELEMS 2

#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY     1

#define F_NOTIFY_ON_EMPTY 24
#define F_INDIRECT_DESC   28
#define F_EVENT_IDX       29

/* Both rings carry their event index behind the last element. */
static uint64_t avail_bytes(uint32_t size)
{
    return 2 * (RING_ELEMS + (uint64_t)size + 1);
}

static uint64_t used_bytes(uint32_t size)
{
    return 2 * RING_ELEMS +
           sizeof(struct vring_used_elem_raw) * (uint64_t)size + 2;
}

static uint16_t load16(const uint16_t *p, memory_order order)
{
    return le16toh(atomic_load_explicit((const _Atomic uint16_t *)p, order));
}

static void store16(uint16_t *p, uint16_t v, memory_order order)
{
    atomic_store_explicit((_Atomic uint16_t *)p, htole16(v), order);
}

static uint16_t *avail_event(struct vring *v)
{
    return v->used + RING_ELEMS + 4 * (size_t)v->size;
}

static uint16_t *used_event(struct vring *v)
{
    return v->avail + RING_ELEMS + v->size;
}

static struct vring_used_elem_raw *used_elem(struct vring *v, uint16_t idx)
{
    return (struct vring_used_elem_raw *)(v->used + RING_ELEMS) +
           (idx & (v->size - 1));
}

/* @off: of the bytes written, within the used ring. */
static void log_used(struct vring *v, size_t off, size_t len)
{
    if (unlikely(v->log && v->log_used))
        dirtylog_mark(v->log, (gpa_t){ v->used_gpa.v + off }, len);
}

/*
 * A region may begin anywhere in its file, so that a guest-physical address
 * is aligned says nothing of ours yet.
 */
static bool part_at(const struct memmap *mm, gpa_t gpa, uint64_t len,
                    uintptr_t align, void **va)
{
    return memmap_span(mm, gpa, len, va) == 0 && (uintptr_t)*va % align == 0;
}

static bool has(const struct vring_cfg *cfg, int bit)
{
    return cfg->features >> bit & 1;
}

int vring_remap(struct vring *v, const struct vring_cfg *cfg, struct memmap *mm,
                struct dirtylog *log)
{
    struct memmap *old_mm = v->mm;
    struct dirtylog *old_log = v->log;
    void *desc, *avail, *used;
    int ret = 0;

    if (!part_at(mm, cfg->desc,
                 sizeof(struct vring_desc_raw) * (uint64_t)cfg->size, 16,
                 &desc) ||
        !part_at(mm, cfg->avail, avail_bytes(cfg->size), 2, &avail) ||
        !part_at(mm, cfg->used, used_bytes(cfg->size), 4, &used)) {
        ret = -EFAULT;
        v->mm = NULL;
        v->log = NULL;
        goto drop;
    }
    v->desc = desc;
    v->avail = avail;
    v->used = used;
    v->size = cfg->size;
    v->event_idx = has(cfg, F_EVENT_IDX);
    v->indirect = has(cfg, F_INDIRECT_DESC);
    v->notify_on_empty = has(cfg, F_NOTIFY_ON_EMPTY);
    v->mm = memmap_get(mm);
    v->log = log ? dirtylog_get(log) : NULL;
    v->log_used = cfg->flags & VRING_CFG_LOG;
    v->used_gpa = cfg->log;
drop:
    /* After the new references: the old table may be the new one. */
    memmap_put(old_mm);
    dirtylog_put(old_log);
    return ret;
}

int vring_start(struct vring *v, const struct vring_cfg *cfg, struct memmap *mm,
                struct dirtylog *log)
{
    int ret = vring_remap(v, cfg, mm, log);

    if (ret < 0)
        return ret;
    v->last_avail = (uint16_t)cfg->base;
    v->seen_avail = v->last_avail;
    v->used_idx = load16(v->used + RING_IDX, memory_order_relaxed);
    v->signalled_valid = false;
    return 0;
}

void vring_close(struct vring *v)
{
    memmap_put(v->mm);
    dirtylog_put(v->log);
    v->mm = NULL;
    v->log = NULL;
}

int vring_pop(struct vring *v, uint16_t *head)
{
    uint16_t h;

    if (v->seen_avail == v->last_avail) {
        /* Acquire: pairs with the driver's barrier before it raises idx; the
         * ring entry and the descriptors are read after. */
        uint16_t idx = load16(v->avail + RING_IDX, memory_order_acquire);

        if ((uint16_t)(idx - v->last_avail) > v->size)
            return -EINVAL;
        v->seen_avail = idx;
        if (idx == v->last_avail)
            return 0;
    }
    h = load16(v->avail + RING_ELEMS + (v->last_avail & (v->size - 1)),
               memory_order_relaxed);
    if (h >= v->size)
        return -EINVAL;
    v->last_avail++;
    *head = h;
    return 1;
}

void vring_push(struct vring *v, uint16_t head, uint32_t len)
{
    struct vring_used_elem_raw *e = used_elem(v, v->used_idx);

    WRITE_ONCE(e->id, htole32(head));
    WRITE_ONCE(e->len, htole32(len));
    log_used(v, (size_t)((uint8_t *)e - (uint8_t *)v->used), sizeof(*e));
    /* Release: pairs with the driver's barrier after it reads idx; the element
     * and the data before it are visible first. */
    store16(v->used + RING_IDX, ++v->used_idx, memory_order_release);
    log_used(v, 2 * RING_IDX, 2);
}

bool vring_should_notify(struct vring *v)
{
    uint16_t old = v->signalled, now = v->used_idx, event;
    bool valid = v->signalled_valid;

    /* The used index is stored before the driver's wish is read; pairs with
     * the driver's barrier between its wish and its look at the used index.
     * Without it both could miss each other and the guest would sleep. */
    atomic_thread_fence(memory_order_seq_cst);
    v->signalled = now;
    v->signalled_valid = true;
    if (v->notify_on_empty &&
        load16(v->avail + RING_IDX, memory_order_relaxed) == v->last_avail)
        return true;
    if (!v->event_idx)
        return !(load16(v->avail + RING_FLAGS, memory_order_relaxed) &
                 AVAIL_F_NO_INTERRUPT);
    event = load16(used_event(v), memory_order_relaxed);
    /* Spec: virtio "Used Buffer Notification Suppression". */
    return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* Model (tests/model/kick.pml): disarm. */
void vring_disarm(struct vring *v)
{
    if (v->event_idx)
        return; /* an old avail_event suppresses by itself */
    store16(v->used + RING_FLAGS, USED_F_NO_NOTIFY, memory_order_relaxed);
    log_used(v, 2 * RING_FLAGS, 2);
}

/* Model (tests/model/kick.pml): arm; ARM_NO_RECHECK, ARM_NO_BARRIER. */
bool vring_arm(struct vring *v)
{
    if (v->event_idx) {
        store16(avail_event(v), v->last_avail, memory_order_relaxed);
        log_used(v, (size_t)((uint8_t *)avail_event(v) - (uint8_t *)v->used),
                 2);
    } else {
        store16(v->used + RING_FLAGS, 0, memory_order_relaxed);
        log_used(v, 2 * RING_FLAGS, 2);
    }
    /* Pairs with the driver's barrier between its avail index and its look at
     * our wish: one of the two sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    return load16(v->avail + RING_IDX, memory_order_relaxed) != v->last_avail;
}
