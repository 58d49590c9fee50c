/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and writes that would hold up others of their queue. */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"

/*
 * A read that took less is not slow.  To copy takes its time too, from memory
 * to memory: a GB/s at least.
 */
static int64_t fast_ns(ssize_t bytes)
{
    return 200000 + bytes;
}

static enum pt_pace pace_of(const struct pt_handle *h)
{
    return atomic_load_explicit(&h->pace, memory_order_relaxed);
}

static void set_pace(struct pt_handle *h, enum pt_pace pace)
{
    atomic_store_explicit(&h->pace, (uint8_t)pace, memory_order_relaxed);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/*
 * The coarse clock is nearly free.  It does not see what takes less than a
 * tick of the kernel's, and now and then it sees a tick in what took nothing,
 * the more often the larger a read is: the next one is measured, then.
 */
static ssize_t read_here(struct request *r, struct pt_handle *h, size_t size,
                         off_t off)
{
    int64_t begun = clock_ns(CLOCK_MONOTONIC_COARSE);
    ssize_t got = request_read_file(r, h->fd, size, off);

    if (unlikely(clock_ns(CLOCK_MONOTONIC_COARSE) != begun) && got > 0)
        set_pace(h, PT_PACE_DOUBT);
    return got;
}

static ssize_t read_measured(struct request *r, struct pt_handle *h,
                             size_t size, off_t off)
{
    int64_t begun = clock_ns(CLOCK_MONOTONIC);
    ssize_t got = request_read_file(r, h->fd, size, off);

    if (got > 0)
        set_pace(h, clock_ns(CLOCK_MONOTONIC) - begun < fast_ns(got)
                        ? PT_PACE_FAST
                        : PT_PACE_SLOW);
    return got;
}

static ssize_t defer(struct request *r)
{
    request_defer(r);
    return PT_DEFERRED;
}

static bool is_direct(const struct pt_handle *h)
{
    return pace_of(h) >= PT_PACE_DIRECT;
}

/* What can not be begun goes to the pool. */
static ssize_t begin_read(struct request *r, struct pt_handle *h, size_t size,
                          off_t off)
{
    int ret;

    if (pace_of(h) == PT_PACE_DIRECT_WAITS)
        return defer(r);
    ret = request_begin_read(r, h->fd, size, off);
    if (likely(ret == 0))
        return PT_DEFERRED;
    if (ret == -EOPNOTSUPP)
        set_pace(h, PT_PACE_DIRECT_WAITS);
    return defer(r);
}

static ssize_t ask(struct request *r, struct pt_handle *h, size_t size,
                   off_t off)
{
    ssize_t got = request_read_cached(r, h->fd, size, off);

    if (likely(got != -EAGAIN && got != -EOPNOTSUPP))
        return got;
    if (got == -EAGAIN)
        return defer(r);
    set_pace(h, PT_PACE_FAST);
    return read_here(r, h, size, off);
}

ssize_t pt_read_paced(struct request *r, struct pt_handle *h, size_t size,
                      off_t off)
{
    bool may_defer = request_may_defer(r);

    switch (pace_of(h)) {
    case PT_PACE_ASK:
        return may_defer ? ask(r, h, size, off)
                         : request_read_file(r, h->fd, size, off);
    case PT_PACE_DIRECT:
    case PT_PACE_DIRECT_WAITS:
        return may_defer && request_is_crowded(r)
                   ? begin_read(r, h, size, off)
                   : request_read_file(r, h->fd, size, off);
    case PT_PACE_SLOW:
        return may_defer ? defer(r) : read_measured(r, h, size, off);
    case PT_PACE_DOUBT:
        return read_measured(r, h, size, off);
    case PT_PACE_FAST:
        break;
    }
    return read_here(r, h, size, off);
}

/*
 * Writes are not begun as reads are: their end takes a thread of the kernel's,
 * which where the CPUs are busy comes later than one of ours.
 */
bool pt_defer_write(struct request *r, const struct pt_handle *h)
{
    if (likely(!is_direct(h)) || !request_may_defer(r) ||
        !request_is_crowded(r))
        return false;
    request_defer(r);
    return true;
}
