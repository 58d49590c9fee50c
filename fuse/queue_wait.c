/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "fuse/aio.h"
#include "fuse/queue.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/sys.h"

/* A ring without a kick fd is looked at this often. */
#define POLL_NS 1000000
/* How soon to look again at a slot whose writer got stuck. */
#define RETRY_NS 10000000
/* A nap: no longer than an INTERRUPT may wait, and no shorter than pays. */
#define NAP_MAX_NS 200000
#define NAP_MIN_NS 25000
/* Polling: looks at the ring for each at the clock; sleeps between two tries
 * where it fails. */
#define LOOKS    16
#define SKIP_MAX 63u

/*
 * FORGETs come in streams, from a guest that wants no answer.  A kick for each
 * is an exit of its virtual machine, and a wake of our thread in the midst of
 * the requests of others.  So once they come so close together that one more
 * is to be expected within a nap, the ring stays unarmed for as long, and what
 * has come is served together.
 *
 * Return: the nap's length; 0: the ring is to be armed.
 */
static int64_t nap_ns(struct queue *q)
{
    struct queue_pace *p = &q->pace;
    uint16_t n = (uint16_t)(q->ring.last_avail - p->seen);
    bool napped = p->nap_ns > 0;
    int64_t now, gap;

    p->seen = q->ring.last_avail;
    if (n == 0)
        return 0; /* an empty nap ends the stream */
    now = now_ns();
    gap = now - p->served_ns;
    p->served_ns = now;
    if (!napped)
        return gap < NAP_MAX_NS && n <= q->ring.size / 2 ? NAP_MAX_NS : 0;
    /* A driver that finds its ring full tries again after a millisecond. */
    if (n > q->ring.size / 2)
        return p->nap_ns / 2 < NAP_MIN_NS ? 0 : p->nap_ns / 2;
    return n > q->ring.size / 8 ? p->nap_ns : MIN(p->nap_ns * 2, NAP_MAX_NS);
}

/* Has something come?  Looks some times, for half a microsecond or a few. */
static bool look(struct queue *q)
{
    for (int i = 0; i < LOOKS; i++) {
        if (vring_has_more(&q->ring))
            return true;
        cpu_relax();
    }
    return queue_is_stale(q) ||
           atomic_load_explicit(&q->done, memory_order_relaxed) ||
           (q->aio && aio_has_ended(q->aio));
}

/* For as long as is permitted, if enough others are not at it already. */
static bool look_on(struct queue *q)
{
    struct device *d = q->dev;
    bool found = false;

    if (atomic_fetch_add_explicit(&d->pollers, 1, memory_order_relaxed) <
        d->pollers_max) {
        int64_t until = now_ns() + d->poll_ns;

        do
            found = look(q);
        while (!found && now_ns() < until);
    }
    atomic_fetch_sub_explicit(&d->pollers, 1, memory_order_relaxed);
    return found;
}

/*
 * Look at the ring for as long as dev->poll_ns before it is armed.  A request
 * that comes meanwhile costs neither its driver a kick nor us a sleep.
 *
 * It is done for as long as it mostly succeeds: each time in vain doubles the
 * sleeps that are gone into without, and each success halves them.  So a ring
 * that has little to do is hardly ever polled, and an idle one never.  A
 * change of the slot and what the pool has done end it at once, a lock that was
 * granted is seen when the time is up.
 *
 * Return: true when there is something to do.
 */
static bool poll_ring(struct queue *q)
{
    struct queue_pace *p = &q->pace;
    bool found;

    if (q->dev->poll_ns == 0)
        return false;
    if (p->skipped < p->skip) {
        p->skipped++;
        return false;
    }
    p->skipped = 0;
    /* Before the clock is asked: most of what comes comes at once. */
    found = look(q) || look_on(q);
    if (!found)
        p->skip = MIN(2 * p->skip + 1, SKIP_MAX);
    else if (vring_has_more(&q->ring))
        p->skip /= 2;
    return found;
}

/* Model (tests/model/kick.pml): ran_dry; NAP_FOR_EVER, POLL_UNARMED,
 * POLL_BLIND. */
bool queue_ran_dry(struct queue *q)
{
    if (q->idx == QUEUE_HIPRIO) {
        q->pace.nap_ns = nap_ns(q);
        if (q->pace.nap_ns > 0)
            return false;
    } else if (poll_ring(q)) {
        return true;
    }
    if (!vring_arm(&q->ring))
        return false;
    vring_disarm(&q->ring);
    return true;
}

/*
 * The one place that drains the kick fd.  @kick was seen readable; the slot is
 * read again first, and unless it says live the counter stays as it is.
 *
 * Model (tests/model/kick.pml): drain_kick; DRAIN_BEFORE_CHECK.
 */
static void drain_kick(struct queue *q, int kick)
{
    uint64_t count;
    ssize_t got;

    if (!queue_refresh(q) || !q->live || q->fd[RING_FD_KICK] != kick)
        return;
    got = sys_read(kick, &count, sizeof(count));
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        log_err("fuse: ring %u: kick fd: %s; the ring is polled", q->idx,
                got < 0 ? strerror(errno) : "end of file");
        q->kick_dead = true;
        return;
    }
    queue_count(&q->run->kicks);
}

/* How long a sleep may last; 0: for good. */
static int64_t sleep_ns(const struct queue *q, bool readable)
{
    if (!readable)
        return RETRY_NS;
    if (!q->live)
        return 0;
    if (q->pace.nap_ns > 0)
        return q->pace.nap_ns;
    return q->kick_dead || (q->cfg.flags & VRING_CFG_POLL) ? POLL_NS : 0;
}

/* Model (tests/model/kick.pml): end_sleep. */
void queue_sleep(struct queue *q, bool readable)
{
    struct timespec ts = { .tv_nsec = sleep_ns(q, readable) };
    bool armed = q->live && readable && !q->kick_dead && q->pace.nap_ns == 0;
    int kick = armed ? q->fd[RING_FD_KICK] : -1;
    struct pollfd p[2] = {
        { .fd = q->wake_fd, .events = POLLIN },
        { .fd = kick, .events = POLLIN },
    };
    uint64_t count;

    if (sys_ppoll(p, 2, ts.tv_nsec > 0 ? &ts : NULL) <= 0)
        return;
    /* The wake counter is cleared before the slot is looked at, so that a
     * publish after the look wakes us again. */
    if (p[0].revents && sys_read(q->wake_fd, &count, sizeof(count)) < 0 &&
        errno != EAGAIN && errno != EINTR)
        log_limited(LOG_LEVEL_ERROR, "fuse: ring %u: wake fd: %s", q->idx,
                    strerror(errno));
    if (p[1].revents)
        drain_kick(q, kick);
}
