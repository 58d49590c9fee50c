/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/guest.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/daemon.h"
#include "virtiofsd/base/util.h"

#define HIGH_GPA ((uint64_t)1 << 32)
/* Any number will do, as long as it is not an address of ours. */
#define UVA_BASE ((uint64_t)0x7e0000000000)

/* Descriptors of one indirect table: a 1 MiB request in pages, and more. */
#define INDIRECT_MAX 1024

/* No descriptor has this number: the largest ring has 32768. */
#define CHAIN_END UINT16_MAX

/* Regions change under the lock; who looks for an address without it finds
 * those which were there before its thread began. */
static unsigned int regions(const struct guest_mem *m)
{
    return __atomic_load_n(&m->n, __ATOMIC_ACQUIRE);
}

static int add_region(struct guest_mem *m, int fd, uint64_t fd_off,
                      uint64_t gpa, uint64_t size, uint64_t used)
{
    unsigned int n = regions(m);
    struct guest_region *r = &m->r[n];
    void *va;

    if (m->n == GUEST_REGIONS_MAX)
        return -ENOSPC;
    va =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)fd_off);
    if (va == MAP_FAILED)
        return -errno;
    pthread_mutex_lock(&m->lock);
    *r = (struct guest_region){
        .gpa = gpa,
        .size = size,
        .uva = UVA_BASE + gpa,
        .fd_off = fd_off,
        .fd = fd,
        .va = va,
        .used = used,
    };
    __atomic_store_n(&m->n, n + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&m->lock);
    return (int)n;
}

static int mem_create(struct guest_mem *m, uint64_t low, uint64_t high,
                      unsigned int flags)
{
    uint64_t unit = flags ? GUEST_HUGE : GUEST_PAGE;
    int fd = memfd_create("guest", MFD_CLOEXEC | flags), fd2, ret;
    uint64_t size = (low + high + unit - 1) & ~(unit - 1);

    memset(m, 0, sizeof(*m));
    pthread_mutex_init(&m->lock, NULL);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return -errno;
    ret = add_region(m, fd, 0, 0, low, GUEST_PAGE);
    if (ret < 0 || high == 0)
        return ret;
    fd2 = dup(fd);
    return fd2 < 0 ? -errno
                   : MIN(add_region(m, fd2, low, HIGH_GPA, high, 0), 0);
}

int guest_mem_create(struct guest_mem *m, uint64_t low, uint64_t high)
{
    return mem_create(m, low, high, 0);
}

int guest_mem_create_huge(struct guest_mem *m, uint64_t low, uint64_t high)
{
    /* Such a file is of whole pages; a region need not be. */
    return mem_create(m, low, high, GUEST_HUGE_MEMFD);
}

int guest_mem_add(struct guest_mem *m, uint64_t gpa, uint64_t size)
{
    int fd = memfd_create("guest-more", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return -errno;
    return add_region(m, fd, 0, gpa, size, size);
}

void guest_mem_pop(struct guest_mem *m)
{
    struct guest_region *r;

    pthread_mutex_lock(&m->lock);
    r = &m->r[m->n - 1];
    munmap(r->va, r->size);
    close(r->fd);
    __atomic_store_n(&m->n, m->n - 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&m->lock);
}

void guest_mem_destroy(struct guest_mem *m)
{
    while (m->n > 0)
        guest_mem_pop(m);
    pthread_mutex_destroy(&m->lock);
}

static uint64_t alloc_in(struct guest_region *r, size_t size, size_t align)
{
    uint64_t at = (r->used + align - 1) & ~(uint64_t)(align - 1);

    if (at > r->size || size > r->size - at)
        return 0;
    r->used = at + size;
    return r->gpa + at;
}

uint64_t guest_alloc(struct guest_mem *m, size_t size, size_t align)
{
    uint64_t gpa = 0;

    pthread_mutex_lock(&m->lock);
    for (unsigned int i = m->n; i > 0 && !gpa; i--)
        gpa = alloc_in(&m->r[i - 1], size, align);
    pthread_mutex_unlock(&m->lock);
    return gpa;
}

static const struct guest_region *region_of(const struct guest_mem *m,
                                            uint64_t gpa, size_t len)
{
    for (unsigned int i = 0, n = regions(m); i < n; i++) {
        const struct guest_region *r = &m->r[i];

        if (gpa >= r->gpa && gpa - r->gpa <= r->size &&
            len <= r->size - (gpa - r->gpa))
            return r;
    }
    return NULL;
}

void *guest_at(const struct guest_mem *m, uint64_t gpa, size_t len)
{
    const struct guest_region *r = region_of(m, gpa, len);

    return r ? r->va + (gpa - r->gpa) : NULL;
}

uint64_t guest_uva(const struct guest_mem *m, uint64_t gpa)
{
    const struct guest_region *r = region_of(m, gpa, 1);

    return r ? r->uva + (gpa - r->gpa) : 0;
}

static size_t avail_bytes(uint16_t size)
{
    return sizeof(struct vring_avail) + 2 * (size_t)size + 2;
}

static size_t used_bytes(uint16_t size)
{
    return sizeof(struct vring_used) +
           sizeof(struct vring_used_elem) * (size_t)size + 2;
}

/* Where the two sides say at which index they want to hear of news. */
static uint16_t *used_event(struct guest_queue *q)
{
    return (uint16_t *)&q->avail->ring[q->size];
}

static uint16_t *avail_event(struct guest_queue *q)
{
    return (uint16_t *)&q->used->ring[q->size];
}

int guest_queue_create(struct guest_queue *q, struct guest_mem *m,
                       unsigned int idx, uint16_t size, uint64_t features)
{
    size_t ds = sizeof(struct vring_desc) * (size_t)size;

    memset(q, 0, sizeof(*q));
    q->mem = m;
    q->idx = idx;
    q->size = size;
    q->event_idx = features & (1ull << VIRTIO_RING_F_EVENT_IDX);
    q->indirect = features & (1ull << VIRTIO_RING_F_INDIRECT_DESC);
    q->indirect_max = INDIRECT_MAX;
    q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->next = calloc(size, sizeof(*q->next));
    q->desc_gpa = guest_alloc(m, ds, 16);
    q->avail_gpa = guest_alloc(m, avail_bytes(size), 2);
    q->used_gpa = guest_alloc(m, used_bytes(size), 4);
    if (!q->desc_gpa || !q->avail_gpa || !q->used_gpa || !q->next)
        return -ENOMEM;
    q->desc = guest_at(m, q->desc_gpa, ds);
    q->avail = guest_at(m, q->avail_gpa, avail_bytes(size));
    q->used = guest_at(m, q->used_gpa, used_bytes(size));
    guest_queue_reset(q, 0);
    return 0;
}

void guest_queue_destroy(struct guest_queue *q)
{
    if (!q->next)
        return;
    close(q->kick_fd);
    close(q->call_fd);
    close(q->err_fd);
    free(q->next);
    memset(q, 0, sizeof(*q));
}

void guest_queue_reset(struct guest_queue *q, uint16_t base)
{
    memset(q->avail, 0, avail_bytes(q->size));
    memset(q->used, 0, used_bytes(q->size));
    q->avail_idx = q->kicked_idx = q->used_idx = base;
    q->avail->idx = q->used->idx = base;
    *used_event(q) = base;
    *avail_event(q) = base;
    q->free_head = 0;
    q->n_free = q->size;
    for (uint16_t i = 0; i < q->size; i++)
        q->next[i] = (uint16_t)(i + 1);
    q->next[q->size - 1] = CHAIN_END;
    q->lost = false;
}

void *guest_queue_buf(struct guest_queue *q, size_t size)
{
    if (size > q->buf_size) {
        q->buf_gpa = guest_alloc(q->mem, size, GUEST_PAGE);
        q->buf_size = q->buf_gpa ? size : 0;
    }
    return q->buf_gpa ? guest_at(q->mem, q->buf_gpa, size) : NULL;
}

void guest_desc(struct guest_queue *q, uint16_t i, uint64_t gpa, uint32_t len,
                uint16_t flags, uint16_t next)
{
    q->desc[i] = (struct vring_desc){ gpa, len, flags, next };
}

static uint16_t seg_flags(const struct guest_seg *s, bool last)
{
    return (uint16_t)((s->write ? VRING_DESC_F_WRITE : 0) |
                      (last ? 0 : VRING_DESC_F_NEXT));
}

static int add_indirect(struct guest_queue *q, const struct guest_seg *segs,
                        size_t n)
{
    size_t bytes = q->indirect_max * sizeof(struct vring_desc);
    uint16_t head = q->free_head;
    struct vring_desc *t;
    uint64_t gpa;

    if (n > q->indirect_max || q->n_free == 0)
        return -ENOSPC;
    if (!q->indirect_gpa)
        q->indirect_gpa = guest_alloc(q->mem, bytes * q->size, 16);
    if (!q->indirect_gpa)
        return -ENOSPC;
    gpa = q->indirect_gpa + head * bytes;
    t = guest_at(q->mem, gpa, bytes);
    for (size_t i = 0; i < n; i++) {
        t[i] = (struct vring_desc){ segs[i].gpa, segs[i].len,
                                    seg_flags(&segs[i], i + 1 == n),
                                    (uint16_t)(i + 1) };
    }
    q->free_head = q->next[head];
    q->next[head] = CHAIN_END;
    q->n_free--;
    guest_desc(q, head, gpa, (uint32_t)(n * sizeof(*t)), VRING_DESC_F_INDIRECT,
               0);
    return head;
}

void guest_add_head(struct guest_queue *q, uint16_t head)
{
    q->avail->ring[q->avail_idx & (q->size - 1)] = head;
    q->avail_idx++;
}

int guest_add(struct guest_queue *q, const struct guest_seg *segs, size_t n,
              bool indirect)
{
    uint16_t head = q->free_head, i = head, last = head;

    if (indirect) {
        int ret = add_indirect(q, segs, n);

        if (ret >= 0)
            guest_add_head(q, (uint16_t)ret);
        return ret;
    }
    if (n == 0 || n > q->n_free)
        return -ENOSPC;
    for (size_t k = 0; k < n; k++) {
        guest_desc(q, i, segs[k].gpa, segs[k].len,
                   seg_flags(&segs[k], k + 1 == n), q->next[i]);
        last = i;
        i = q->next[i];
    }
    q->free_head = i;
    q->next[last] = CHAIN_END;
    q->n_free = (uint16_t)(q->n_free - n);
    guest_add_head(q, head);
    return head;
}

/*
 * Each side stores its index and then reads the other's wish, or the other
 * way round: sequentially consistent on all four words, or both could miss
 * each other.  Not by fences, which ThreadSanitizer does not know.
 */
void guest_publish_quietly(struct guest_queue *q)
{
    __atomic_store_n(&q->avail->idx, q->avail_idx, __ATOMIC_SEQ_CST);
}

void guest_kick(struct guest_queue *q)
{
    uint64_t one = 1;

    q->kicked_idx = q->avail_idx;
    q->kicks++;
    (void)!write(q->kick_fd, &one, sizeof(one));
}

void guest_publish(struct guest_queue *q)
{
    bool wanted;

    guest_publish_quietly(q);
    if (q->event_idx) {
        wanted =
            vring_need_event(__atomic_load_n(avail_event(q), __ATOMIC_SEQ_CST),
                             q->avail_idx, q->kicked_idx);
    } else {
        wanted = !(__atomic_load_n(&q->used->flags, __ATOMIC_SEQ_CST) &
                   VRING_USED_F_NO_NOTIFY);
    }
    if (wanted)
        guest_kick(q);
    q->kicked_idx = q->avail_idx;
}

/* Return: 1 taken, 0 none, -EBADMSG for an element that is not ours. */
static int take(struct guest_queue *q, uint16_t *head, uint32_t *len)
{
    struct vring_used_elem *e;
    uint32_t id;
    uint16_t i;

    if (__atomic_load_n(&q->used->idx, __ATOMIC_SEQ_CST) == q->used_idx)
        return 0;
    e = &q->used->ring[q->used_idx & (q->size - 1)];
    id = e->id;
    *len = e->len;
    if (id >= q->size)
        return -EBADMSG;
    *head = (uint16_t)id;
    q->used_idx++;
    for (i = *head; q->next[i] != CHAIN_END && q->n_free < q->size;
         i = q->next[i])
        q->n_free++;
    q->next[i] = q->free_head;
    q->free_head = *head;
    q->n_free++;
    return 1;
}

bool guest_take(struct guest_queue *q, uint16_t *head, uint32_t *len)
{
    return take(q, head, len) == 1;
}

uint64_t guest_eventfd_wait(int fd, int timeout_ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t n = 0;

    if (poll(&p, 1, timeout_ms) != 1 || read(fd, &n, sizeof(n)) != 8)
        return 0;
    return n;
}

/* Ask for a call at the next completion, then look once more. */
static int arm_and_take(struct guest_queue *q, uint16_t *head, uint32_t *len)
{
    if (q->event_idx) {
        __atomic_store_n(used_event(q), q->used_idx, __ATOMIC_SEQ_CST);
    }
    return take(q, head, len);
}

int guest_wait(struct guest_queue *q, uint16_t *head, uint32_t *len)
{
    while (!q->lost) {
        int got = take(q, head, len);

        if (got == 0)
            got = arm_and_take(q, head, len);
        if (got != 0)
            return got < 0 ? got : 0;
        /* A completion without its call is as bad as none: a guest sleeps
         * on it for ever. */
        if (guest_eventfd_wait(q->call_fd, DEADLINE_MS) > 0)
            q->calls++;
        else
            q->lost = true;
    }
    return -ETIMEDOUT;
}

int guest_spin(struct guest_queue *q, uint16_t *head, uint32_t *len)
{
    int64_t until = now_ns() + (int64_t)DEADLINE_MS * 1000000;
    int got;

    while ((got = take(q, head, len)) == 0 && now_ns() < until)
        sched_yield();
    return got == 1 ? 0 : got < 0 ? got : -ETIMEDOUT;
}
