/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/aio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x8
#endif

enum aio_state {
    AIO_UNTRIED,
    AIO_READY,
    AIO_REFUSED, /* for good */
};

/* What the kernel keeps at the address which is the context's number; read
 * there by libaio and others, and so part of its interface.  @head is ours. */
struct ended {
    uint32_t id, nr;
    _Atomic uint32_t head, tail;
    uint32_t magic, compat, incompat, header_bytes;
    struct io_event ev[];
};
#define ENDED_MAGIC 0xa10a10a1u

static struct ended *ended_of(aio_context_t ctx)
{
    return (struct ended *)(uintptr_t)ctx;
}

static long sys_destroy(aio_context_t ctx)
{
    return syscall(SYS_io_destroy, ctx);
}

struct aio *aio_create(int wake_fd)
{
    struct aio *a = calloc(1, sizeof(*a));

    if (a)
        a->wake_fd = wake_fd;
    return a;
}

void aio_destroy(struct aio *a)
{
    if (!a)
        return;
    if (atomic_load(&a->state) == AIO_READY)
        sys_destroy(atomic_load(&a->ctx));
    free(a);
}

/* Not once another thread has had more luck: its reads are to be found. */
static int refuse(struct aio *a, const char *what)
{
    uint32_t untried = AIO_UNTRIED;

    if (!atomic_compare_exchange_strong(&a->state, &untried, AIO_REFUSED))
        return -EAGAIN;
    log_info("fuse: no asynchronous I/O: %s; O_DIRECT goes by the thread pool",
             what);
    return -EOPNOTSUPP;
}

/* Two threads may be at it when a ring was taken over: one context stays. */
static int make_ready(struct aio *a)
{
    aio_context_t ctx = 0, none = 0;
    const struct ended *e;

    if (syscall(SYS_io_setup, (long)AIO_MAX, &ctx) < 0)
        return refuse(a, strerror(errno));
    e = ended_of(ctx);
    if (e->magic != ENDED_MAGIC || e->incompat || e->nr <= AIO_MAX) {
        sys_destroy(ctx);
        return refuse(a, "this kernel keeps it elsewhere");
    }
    if (!atomic_compare_exchange_strong(&a->ctx, &none, ctx))
        sys_destroy(ctx);
    atomic_store_explicit(&a->state, AIO_READY, memory_order_release);
    return 0;
}

static int submit(const struct aio *a, struct iocb *cb)
{
    aio_context_t ctx = atomic_load_explicit(&a->ctx, memory_order_relaxed);

    return syscall(SYS_io_submit, ctx, 1L, &cb) == 1 ? 0 : -errno;
}

int aio_begin_read(struct aio *a, int fd, const struct iovec *iov, uint32_t n,
                   int64_t off, uint64_t data)
{
    struct iocb cb = {
        .aio_data = data,
        .aio_lio_opcode = IOCB_CMD_PREADV,
        .aio_fildes = (uint32_t)fd,
        .aio_buf = (uintptr_t)iov,
        .aio_nbytes = n,
        .aio_offset = off,
        .aio_rw_flags = RWF_NOWAIT,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)a->wake_fd,
    };
    uint32_t state = atomic_load_explicit(&a->state, memory_order_acquire);
    int ret = 0;

    if (unlikely(state != AIO_READY))
        ret = state == AIO_REFUSED ? -EOPNOTSUPP : make_ready(a);
    if (ret < 0)
        return ret;
    if (atomic_fetch_add_explicit(&a->out, 1, memory_order_relaxed) >= AIO_MAX)
        ret = -EAGAIN;
    else
        ret = submit(a, &cb);
    if (ret < 0)
        atomic_fetch_sub_explicit(&a->out, 1, memory_order_relaxed);
    return ret;
}

/* Acquire: the event that was put before @tail. */
bool aio_has_ended(const struct aio *a)
{
    const struct ended *e;

    if (atomic_load_explicit(&a->state, memory_order_acquire) != AIO_READY)
        return false;
    e = ended_of(atomic_load_explicit(&a->ctx, memory_order_relaxed));
    return atomic_load_explicit(&e->head, memory_order_relaxed) !=
           atomic_load_explicit(&e->tail, memory_order_acquire);
}

bool aio_take(struct aio *a, struct io_event *ev)
{
    struct ended *e;
    uint32_t head;

    if (!aio_has_ended(a))
        return false;
    e = ended_of(atomic_load_explicit(&a->ctx, memory_order_relaxed));
    head = atomic_load_explicit(&e->head, memory_order_relaxed);
    *ev = e->ev[head];
    /* Release: the kernel may use the place again once it sees this. */
    atomic_store_explicit(&e->head, (head + 1) % e->nr, memory_order_release);
    atomic_fetch_sub_explicit(&a->out, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&a->taken, 1, memory_order_relaxed);
    return true;
}
