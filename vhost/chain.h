/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_CHAIN_H
#define VIRTIOFSD_VHOST_CHAIN_H

/*
 * One descriptor chain, walked once: readable buffers, then writable ones, as
 * spans of host memory.  Neighbours that touch are merged, so that a payload
 * of contiguous pages is one iovec.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "vhost/vring.h"

/* Descriptors a chain may hold in all, its indirect table included. */
#define CHAIN_MAX_DESCS VRING_SIZE_MAX

/**
 * struct chain - a walked chain; spans are borrowed from the ring's map.
 * @iov:    @n_readable spans the device reads, then @n_writable it writes.
 * @gpa:    guest-physical address of each writable span's first byte, at the
 *          same index; filled in only when the ring is logged.
 * Storage: chain_init() once per executing thread.
 */
struct chain {
    struct iovec *iov;
    uint64_t *gpa;
    uint32_t n_readable, n_writable;
    uint64_t readable_bytes, writable_bytes;
    uint32_t n_descs;     /* of the ring's own table */
    uint32_t region;      /* of the table, where the last walk ended: a guess */
    struct dirtylog *log; /* the ring's, borrowed; NULL: nothing is logged */
};

/* Memory for the longest chain; pages never touched cost nothing.
 * Return: 0 or -ENOMEM. */
int chain_init(struct chain *c);
void chain_fini(struct chain *c);

/**
 * chain_walk() - follow a chain from @head.
 * @v: an open ring; only its addresses, size and feature bits are read, so
 *     another thread than the ring's own may walk while the ring stays open.
 * Every descriptor is copied before it is looked at.  Zero-length buffers are
 * skipped.
 * Spec: virtio 1.2 "The Virtqueue Descriptor Table", "Indirect Descriptors".
 * Return: 0, or what is wrong with the chain (the ring is broken): -ELOOP more
 * descriptors than the table holds, -EFAULT memory outside the table,
 * -EINVAL an index or flag that may not be, or a readable buffer behind a
 * writable one, -E2BIG too many spans.
 */
int chain_walk(struct chain *c, const struct vring *v, uint16_t head);

static inline struct iovec *chain_writable(const struct chain *c)
{
    return c->iov + c->n_readable;
}

/**
 * chain_flat() - find bytes that lie in one span.
 * @iov, @n: the readable or writable spans.
 * @off, @len: which bytes, from their start.
 * Looks at the first two spans only, where Linux puts headers and arguments.
 * Return: where they are, or NULL.
 */
static inline uint8_t *chain_flat(const struct iovec *iov, uint32_t n,
                                  uint64_t off, size_t len)
{
    if (n > 1 && off >= iov->iov_len) {
        off -= iov->iov_len;
        iov++;
    }
    if (n == 0 || off > iov->iov_len || len > iov->iov_len - off)
        return NULL;
    return (uint8_t *)iov->iov_base + off;
}

size_t chain_read_spans(const struct chain *c, uint64_t off, void *to,
                        size_t len);
size_t chain_write_spans(const struct chain *c, uint64_t off, const void *from,
                         size_t len);

/**
 * chain_read() - copy from the readable part.
 * @off: bytes from its start. Return: bytes copied; fewer at its end.
 */
static inline size_t chain_read(const struct chain *c, uint64_t off, void *to,
                                size_t len)
{
    const uint8_t *p = chain_flat(c->iov, c->n_readable, off, len);

    if (unlikely(!p))
        return chain_read_spans(c, off, to, len);
    memcpy(to, p, len);
    /* The guest can write there all the time.  A compiler that sees the copy
     * and its use could go back for a value to where it came from. */
    __asm__ __volatile__("" : : : "memory");
    return len;
}

/* Copy into the writable part; the same rules.  Not logged: chain_log(). */
static inline size_t chain_write(const struct chain *c, uint64_t off,
                                 const void *from, size_t len)
{
    uint8_t *p = chain_flat(chain_writable(c), c->n_writable, off, len);

    if (unlikely(!p))
        return chain_write_spans(c, off, from, len);
    memcpy(p, from, len);
    return len;
}

/**
 * chain_rest() - the spans behind the first @off bytes.
 * @iov: the readable or writable spans, @n of them.
 * @n:   in and out, how many.
 * Return: the spans, borrowed; NULL when none begins exactly there.
 */
const struct iovec *chain_rest(const struct iovec *iov, uint32_t *n,
                               uint64_t off);

/**
 * chain_iov() - a part of the readable or writable spans as an iovec array.
 * @iov, @n: the spans to take from.
 * @off, @len: the part, bytes.
 * @out, @max: where to put them.
 * Return: number filled in; they may hold less than @len when @max is short.
 */
int chain_iov(const struct iovec *iov, uint32_t n, uint64_t off, uint64_t len,
              struct iovec *out, int max);

void chain_log_spans(const struct chain *c, uint64_t len);

/* Mark the first @len bytes of the writable part in the dirty log. */
static inline void chain_log(const struct chain *c, uint64_t len)
{
    if (unlikely(c->log))
        chain_log_spans(c, len);
}

#endif
