/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_VRING_SHARED_H
#define VIRTIOFSD_VHOST_VRING_SHARED_H

/*
 * The two shared pages.
 *
 * cfg: written by the control process only.  One slot per vring under a
 *      seqlock: what the front-end wants of that ring.
 * run: written by the request process only.  One row per vring: how far the
 *      ring's thread has come.
 *
 * Each page is a memfd made by its writer, which maps it writable and then
 * seals it (F_SEAL_FUTURE_WRITE and the size seals) before the fd is handed
 * on: whoever gets the fd can only ever map it read-only.  The writer makes
 * its own page because a mapping does not survive exec and no writable one
 * can be made after the seal.
 *
 * A snapshot is whole, not true: the reader checks what it read
 * (vring_cfg_check()) as it would check the guest.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/base/util.h"

/* The hiprio queue and up to 64 request queues. */
#define VRING_MAX      65
#define VRING_SIZE_MAX 32768

enum vring_cfg_flag {
    VRING_CFG_STARTED = 1 << 0, /* kicked off by SET_VRING_KICK */
    VRING_CFG_ENABLED = 1 << 1, /* SET_VRING_ENABLE, or no PROTOCOL_FEATURES */
    VRING_CFG_LOG = 1 << 2,     /* VHOST_VRING_F_LOG: log used-ring writes */
    VRING_CFG_POLL = 1 << 3,    /* kick fd absent by the no-fd bit: poll */
};

/*
 * What control wants of one vring.  Writer: control process; readers take a
 * copy with vring_slot_read().  Whole u64 words, no holes.
 *
 * The *_gen numbers name things handed over before on the command channel
 * (RING_IPC.md): a slot names generation N only after the request process has
 * acknowledged N.  0 is "none".
 */
struct vring_cfg {
    uint32_t flags;          /* enum vring_cfg_flag */
    uint32_t size;           /* descriptors, a power of two */
    gpa_t desc, avail, used; /* ring parts, guest-physical */
    gpa_t log;          /* where used-ring writes are logged, guest-physical */
    uint64_t features;  /* virtio feature bits acknowledged by the driver */
    uint32_t start_gen; /* counts starts: a new number means begin at @base */
    uint32_t base;      /* next avail index at start, 0..65535 */
    uint32_t mem_gen;   /* memory table the addresses belong to */
    uint32_t kick_gen;
    uint32_t call_gen;
    uint32_t err_gen;
    uint32_t log_gen;   /* dirty log, 0 when logging is off */
    uint32_t reset_gen; /* counts device resets: FUSE state of before is void */
};
#define VRING_CFG_WORDS (sizeof(struct vring_cfg) / sizeof(uint64_t))

/*
 * seq counts publishes by two; odd while a publish is under way.  One slot
 * fills two cache lines of its own, the count and the flags in the first.
 */
struct vring_slot {
    _Alignas(128) _Atomic uint64_t seq;
    _Atomic uint64_t word[VRING_CFG_WORDS];
};

struct cfg_page {
    uint64_t magic;
    uint32_t version;
    uint32_t nslots;
    struct vring_slot slot[VRING_MAX];
};

enum vring_run_flag {
    VRING_RUN_LIVE = 1 << 0,   /* the thread is serving the ring */
    VRING_RUN_BROKEN = 1 << 1, /* the guest broke the ring; until next start */
};

/* How one ring's thread stands.  Writer: that thread, request process. */
struct vring_run {
    _Alignas(128) _Atomic uint64_t applied_seq; /* slot seq acted upon */
    _Atomic uint32_t flags;                     /* enum vring_run_flag */
    _Atomic uint32_t last_avail;                /* next avail index to take */
    _Atomic uint32_t in_flight;                 /* popped, not yet pushed */
    _Atomic uint32_t generations;               /* distinct snapshots applied */
    _Atomic uint64_t requests;                  /* popped since start */
    _Atomic uint64_t kicks;                     /* kick fd drained */
    _Atomic uint64_t calls;                     /* call fd written */
};

struct run_page {
    uint64_t magic;
    uint32_t version;
    uint32_t nslots;
    struct vring_run ring[VRING_MAX];
};

/**
 * cfg_page_create() - make, map writable and seal the cfg page.
 * @page: out, the writable mapping; lives until the process ends.
 * @fd:   out, sealed memfd for the reader; owned by the caller.
 * Context: control process, at start.
 * Return: 0 or -errno.
 */
int cfg_page_create(struct cfg_page **page, int *fd);
/**
 * cfg_page_open() - map the other side's page read-only.
 * @fd:   borrowed.
 * @page: out, read-only mapping; lives until the process ends.
 * Return: 0; -EPERM when a seal is missing (the writer could still shrink
 * it under us), -EINVAL on a wrong size, magic, version or slot count.
 */
int cfg_page_open(int fd, const struct cfg_page **page);

/* The same for the run page: created by the request process. */
int run_page_create(struct run_page **page, int *fd);
int run_page_open(int fd, const struct run_page **page);

/**
 * vring_slot_publish() - replace a slot's content.
 * Writer side of the seqlock; one writer a slot.
 * Context: control process, its one thread.
 * Return: the slot's new (even) seq.
 */
uint64_t vring_slot_publish(struct vring_slot *s, const struct vring_cfg *cfg);

/**
 * vring_slot_read() - copy one vring's configuration out of the shared page.
 * @cfg: out; unspecified on failure.
 * @seq: out, the seq the copy belongs to.
 * Bounded: the writer is another process and may die with seq left odd.
 * Context: any process that maps the page; lock-free.
 * Return: 0; -EAGAIN when no whole copy could be had: keep the old one.
 */
int vring_slot_read(const struct vring_slot *s, struct vring_cfg *cfg,
                    uint64_t *seq);

/* One acquire load: has anything been published since @seq was read? */
static inline bool vring_slot_changed(const struct vring_slot *s, uint64_t seq)
{
    return atomic_load_explicit(&s->seq, memory_order_acquire) != seq;
}

/**
 * vring_cfg_check() - is a snapshot of possible shape?
 * Checks flags, a power-of-two size up to VRING_SIZE_MAX, base, and the
 * alignment of the ring parts (16, 2, 4).  Whether the addresses lie in guest
 * memory is for memmap_span().  A ring that is not started need not have
 * addresses.
 * Spec: virtio "Virtqueues", alignment of the parts of a split virtqueue.
 * Return: 0 or -EINVAL.
 */
int vring_cfg_check(const struct vring_cfg *cfg);

#endif
