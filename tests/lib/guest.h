/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_LIB_GUEST_H
#define VIRTIOFSD_TESTS_LIB_GUEST_H

/*
 * A guest without a machine around it: memory in memfds, and a driver of
 * split virtqueues that can also do what no driver should.
 *
 * Memory is what the device shares with us.  Addresses are guest-physical
 * (@gpa) unless they are pointers; guest_at() turns one into the other.
 *
 * A queue belongs to one thread at a time.  Different queues may be driven
 * by different threads; guest_alloc() may be called by any.
 */

#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_REGIONS_MAX 8
#define GUEST_PAGE        ((size_t)4096)

/* @uva is the address the front-end tells; it has nothing to do with @va. */
struct guest_region {
    uint64_t gpa, size, uva;
    uint64_t fd_off; /* where in @fd it begins */
    int fd;          /* memfd, ours */
    uint8_t *va;
    uint64_t used; /* bytes given out by guest_alloc(); under mem->lock */
};

struct guest_mem {
    unsigned int n;
    struct guest_region r[GUEST_REGIONS_MAX];
    pthread_mutex_t lock;
};

/**
 * guest_mem_create() - memory as a PC has it: one memfd cut in two by a hole.
 * @low:  bytes at gpa 0; the first page is never given out.
 * @high: bytes at 4 GiB, 0 for none.
 * Return: 0 or -errno.
 */
int guest_mem_create(struct guest_mem *m, uint64_t low, uint64_t high);
/* The same of huge pages: @low is a multiple of GUEST_HUGE. */
#define GUEST_HUGE       ((uint64_t)2 << 20)
#define GUEST_HUGE_MEMFD (MFD_HUGETLB | 21u << 26) /* log2 of the size */
int guest_mem_create_huge(struct guest_mem *m, uint64_t low, uint64_t high);
/* Add a region in a memfd of its own; guest_alloc() leaves it alone.
 * Return: its index or -errno. */
int guest_mem_add(struct guest_mem *m, uint64_t gpa, uint64_t size);
/* Take the last region away again. */
void guest_mem_pop(struct guest_mem *m);
void guest_mem_destroy(struct guest_mem *m);

/**
 * guest_alloc() - take memory, for good, from the last region with room.
 * @align: bytes, a power of two.
 * Return: its gpa; 0 when there is none left.
 */
uint64_t guest_alloc(struct guest_mem *m, size_t size, size_t align);
/* Return: our pointer to @gpa, or NULL when no region holds the span. */
void *guest_at(const struct guest_mem *m, uint64_t gpa, size_t len);
/* Return: what the front-end calls @gpa; 0 when no region holds it. */
uint64_t guest_uva(const struct guest_mem *m, uint64_t gpa);

/* One segment of a chain. */
struct guest_seg {
    uint64_t gpa;
    uint32_t len;
    bool write; /* the device writes it */
};

/**
 * struct guest_queue - one split virtqueue and its eventfds.
 * @buf:   memory for the requests of whoever drives the queue.
 * @lost:  a wait has run into its deadline; later ones fail at once.
 */
struct guest_queue {
    struct guest_mem *mem;
    unsigned int idx;
    uint16_t size;
    bool event_idx, indirect;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint64_t desc_gpa, avail_gpa, used_gpa;
    uint64_t indirect_gpa; /* tables, one per head, made when first needed */
    uint16_t indirect_max; /* descriptors in each */
    int kick_fd, call_fd, err_fd;
    uint16_t avail_idx;  /* published */
    uint16_t kicked_idx; /* published when the last kick was weighed */
    uint16_t used_idx;   /* taken */
    uint16_t free_head, n_free;
    uint16_t *next;   /* our own copy of the chains */
    uint64_t kicks;   /* eventfd writes */
    uint64_t calls;   /* eventfd wake-ups */
    uint64_t unique;  /* for whoever numbers requests */
    uint64_t buf_gpa; /* see guest_queue_buf() */
    size_t buf_size;
    bool lost;
};

/**
 * guest_queue_create() - lay a ring out in guest memory, with new eventfds.
 * @size: descriptors, a power of two.
 * @features: VIRTIO_RING_F_* bits acknowledged.
 * Return: 0 or -errno.
 */
int guest_queue_create(struct guest_queue *q, struct guest_mem *m,
                       unsigned int idx, uint16_t size, uint64_t features);
void guest_queue_destroy(struct guest_queue *q);
/* Forget everything on the ring and begin at @base, as after a reset. */
void guest_queue_reset(struct guest_queue *q, uint16_t base);
/* At least @size bytes of memory which this queue keeps.  NULL: none left. */
void *guest_queue_buf(struct guest_queue *q, size_t size);

/**
 * guest_add() - put a chain on the ring without telling of it.
 * @n: segments; more than one table holds is refused.
 * Return: its head, or -ENOSPC.
 */
int guest_add(struct guest_queue *q, const struct guest_seg *segs, size_t n,
              bool indirect);
/* The same without the descriptors: make @head available. */
void guest_add_head(struct guest_queue *q, uint16_t head);
/* Write descriptor @i, whatever it says.  The free list knows nothing of it:
 * guest_queue_reset() comes before the next guest_add(). */
void guest_desc(struct guest_queue *q, uint16_t i, uint64_t gpa, uint32_t len,
                uint16_t flags, uint16_t next);
/* Publish what was added, and kick when the device asked for it. */
void guest_publish(struct guest_queue *q);
/* Publish only. */
void guest_publish_quietly(struct guest_queue *q);
void guest_kick(struct guest_queue *q);

/**
 * guest_take() - take one completion if there is one.
 * @head, @len: out; @head's descriptors are free again.
 * Return: there was one.
 */
bool guest_take(struct guest_queue *q, uint16_t *head, uint32_t *len);
/**
 * guest_wait() - the same, sleeping on the call eventfd.
 * Return: 0; -ETIMEDOUT when no call came within the deadline, -EBADMSG for
 * a used element which names no chain of ours.
 */
int guest_wait(struct guest_queue *q, uint16_t *head, uint32_t *len);
/* The same, looking again and again: for rings without a call eventfd. */
int guest_spin(struct guest_queue *q, uint16_t *head, uint32_t *len);

/* Wait until an eventfd is signalled, and drain it.
 * Return: its count, 0 after @timeout_ms. */
uint64_t guest_eventfd_wait(int fd, int timeout_ms);

#endif
