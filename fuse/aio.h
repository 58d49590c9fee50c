/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_AIO_H
#define VIRTIOFSD_FUSE_AIO_H

/*
 * Linux's native asynchronous I/O, as much of it as is needed: reads with
 * O_DIRECT, begun by one system call and ended by none.
 *
 * What has ended is found in memory that the kernel shares with us, and told
 * by an eventfd.  Neither is bound to the thread that began it, so whoever
 * serves the ring now takes it in.  A request is begun only if that needs no
 * waiting (RWF_NOWAIT): file systems that can not promise it (FUSE, network)
 * are refused, so what is under way here is with a disk.
 *
 * The kernel has its own references to the file and to the pages of memory, and
 * its own copy of the spans.  They may go as soon as the request has begun.
 */

#include <linux/aio_abi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* Requests under way at a time; more than that have to find another way. */
#define AIO_MAX 64

/**
 * struct aio - what one ring has under way.
 * @ctx:  the kernel's, made when first needed: it counts against
 *        fs.aio-max-nr, of which a host with many guests has little.
 * @state: enum aio_state of @ctx.
 * @out:  begun and not yet taken in.
 * @taken: ends taken in, by the ring's thread: progress can be told.
 */
struct aio {
    _Atomic aio_context_t ctx;
    _Atomic uint32_t state;
    _Atomic uint32_t out;
    _Atomic uint64_t taken;
    int wake_fd;
};

/**
 * aio_create() - costs the kernel nothing yet.
 * @wake_fd: eventfd, borrowed; written at each end.
 * Return: NULL without memory.
 */
struct aio *aio_create(int wake_fd);

/* Waits for what is under way.  Context: no thread uses it any more. */
void aio_destroy(struct aio *a);

/**
 * aio_begin_read() - begin a read.
 * @iov, @n: at most IOV_MAX spans, the caller's.
 * @off:  file offset, bytes.
 * @data: what tells its end from others'.
 * Context: any thread.
 * Return: 0: its end will be found; -EAGAIN: too many are under way;
 * -EOPNOTSUPP: this file takes waiting for, or the kernel does not do it at
 * all; other -errno.  In each of these cases nothing was begun.
 */
int aio_begin_read(struct aio *a, int fd, const struct iovec *iov, uint32_t n,
                   int64_t off, uint64_t data);

/**
 * aio_take() - the next one that has ended.
 * @ev: out, @ev->data as given, @ev->res in bytes or -errno; -EAGAIN: nothing
 *      was done, for it takes waiting for.
 * Context: the ring's thread.
 * Return: false when there is none.
 */
bool aio_take(struct aio *a, struct io_event *ev);

static inline bool aio_is_busy(const struct aio *a)
{
    return atomic_load_explicit(&a->out, memory_order_relaxed) > 0;
}

/* Has one ended?  Context: the ring's thread. */
bool aio_has_ended(const struct aio *a);

#endif
