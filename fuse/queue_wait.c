/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "fuse/queue.h"
#include "virtiofsd/base/log.h"

/* A ring without a kick fd is looked at this often. */
#define POLL_NS 1000000
/* How soon to look again at a slot whose writer got stuck. */
#define RETRY_NS 10000000
/* A nap: no longer than an INTERRUPT may wait, and no shorter than pays. */
#define NAP_MAX_NS 200000
#define NAP_MIN_NS 25000

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

/* Model (tests/model/kick.pml): ran_dry; NAP_FOR_EVER. */
bool queue_ran_dry(struct queue *q)
{
    if (q->idx == QUEUE_HIPRIO) {
        q->pace.nap_ns = nap_ns(q);
        if (q->pace.nap_ns > 0)
            return false;
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
    got = read(kick, &count, sizeof(count));
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

    if (ppoll(p, 2, ts.tv_nsec > 0 ? &ts : NULL, NULL) <= 0)
        return;
    /* The wake counter is cleared before the slot is looked at, so that a
     * publish after the look wakes us again. */
    if (p[0].revents && read(q->wake_fd, &count, sizeof(count)) < 0 &&
        errno != EAGAIN && errno != EINTR)
        log_limited(LOG_LEVEL_ERROR, "fuse: ring %u: wake fd: %s", q->idx,
                    strerror(errno));
    if (p[1].revents)
        drain_kick(q, kick);
}
