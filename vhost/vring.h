/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_VRING_H
#define VIRTIOFSD_VHOST_VRING_H

/*
 * The device's side of one split virtqueue: take heads off the avail ring, put
 * them on the used ring, suppress and send notifications as the driver asks.
 *
 * Everything here lies in memory which the guest can write at any time.  Our
 * own positions are kept in struct vring and never read back from there.
 *
 * Context: request process; one thread a ring, no locks.
 * Spec: virtio 1.2 "Split Virtqueues".
 */

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost/dirtylog.h"
#include "vhost/memmap.h"
#include "vhost/vring_shared.h"

struct vring_desc_raw {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

struct vring_used_elem_raw {
    uint32_t id;
    uint32_t len;
};

struct vring {
    const struct vring_desc_raw *desc; /* guest memory, @size entries */
    uint16_t *avail;                   /* flags, idx, ring[size], used_event */
    uint16_t *used;                    /* flags, idx, elems, avail_event */
    uint32_t size;
    uint16_t last_avail; /* next avail index to take */
    uint16_t seen_avail; /* avail index as last read */
    uint16_t used_idx;   /* next used index to fill */
    uint16_t signalled;  /* used index at the last notification decision */
    bool signalled_valid;
    bool event_idx, indirect, notify_on_empty;
    struct memmap *mm;    /* a reference */
    struct dirtylog *log; /* a reference, or NULL: nothing is logged */
    bool log_used;        /* used-ring writes are logged, at: */
    gpa_t used_gpa;
};

/**
 * vring_start() - attach to the ring which a slot describes, at its base.
 * @cfg: checked by vring_cfg_check().
 * @mm:  the table @cfg names; a reference of our own is taken.
 * @log: the dirty log @cfg names, or NULL.
 * The used index goes on where the ring's own stands: after a stop and a
 * start the driver expects it to continue.
 * Return: 0; -EFAULT when a part does not lie in one region (@v is closed).
 */
int vring_start(struct vring *v, const struct vring_cfg *cfg, struct memmap *mm,
                struct dirtylog *log);

/**
 * vring_remap() - the same ring under another table, log or feature set.
 * Positions stay.  Nothing may be in flight.
 * Return: 0; -EFAULT (@v is closed).
 */
int vring_remap(struct vring *v, const struct vring_cfg *cfg, struct memmap *mm,
                struct dirtylog *log);

/* Let go of the ring; its memory is not touched again. */
void vring_close(struct vring *v);

static inline bool vring_is_open(const struct vring *v)
{
    return v->mm != NULL;
}

/**
 * vring_pop() - take the next head.
 * @head: out, index of a descriptor, < size.
 * Return: 1; 0 when the ring is empty; -EINVAL when the driver's index or head
 * is impossible: the ring is broken.
 */
int vring_pop(struct vring *v, uint16_t *head);

/* Was there another head to take at the last look into guest memory? */
static inline bool vring_has_seen_more(const struct vring *v)
{
    return v->seen_avail != v->last_avail;
}

/* Is there a head to take?  One load; vring_pop() decides. */
static inline bool vring_has_more(const struct vring *v)
{
    const _Atomic uint16_t *idx = (const _Atomic uint16_t *)(v->avail + 1);

    return v->seen_avail != v->last_avail ||
           le16toh(atomic_load_explicit(idx, memory_order_relaxed)) !=
               v->last_avail;
}

/**
 * vring_push() - give a head back.
 * @len: bytes written into the chain, from its first writable byte on.
 * Visible to the driver when this returns; see vring_should_notify().
 */
void vring_push(struct vring *v, uint16_t head, uint32_t len);

/**
 * vring_should_notify() - does the driver want to hear of what was pushed
 * since the last call?
 */
bool vring_should_notify(struct vring *v);

/* While we look at the ring anyway, kicks are not needed. */
void vring_disarm(struct vring *v);
/**
 * vring_arm() - ask for a kick with the next head.
 * Return: true when heads came meanwhile: do not sleep.
 */
bool vring_arm(struct vring *v);

#endif
