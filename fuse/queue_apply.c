/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "fuse/async.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/probes.h"

static bool served(const struct vring_cfg *c)
{
    uint32_t both = VRING_CFG_STARTED | VRING_CFG_ENABLED;

    return (c->flags & both) == both;
}

/*
 * Would requests taken under @old be answered wrongly under @now?
 *
 * Model (tests/model/kick.pml): voids_now.
 */
static bool voids_in_flight(const struct vring_cfg *old,
                            const struct vring_cfg *now)
{
    if (served(old) && !served(now))
        return true;
    return old->start_gen != now->start_gen || old->mem_gen != now->mem_gen ||
           old->log_gen != now->log_gen || old->features != now->features ||
           old->size != now->size || old->desc.v != now->desc.v ||
           old->avail.v != now->avail.v || old->used.v != now->used.v ||
           old->log.v != now->log.v ||
           ((old->flags ^ now->flags) & VRING_CFG_LOG);
}

/*
 * Fds the front-end gave us may block where it likes; a full call counter or
 * a kick drained by someone else must not stop the ring's thread.
 */
static void take_one(struct queue *q, enum ring_fd kind, uint32_t gen)
{
    fd_close(&q->fd[kind]);
    q->fd_gen[kind] = gen;
    if (gen == 0)
        return;
    q->fd[kind] = device_take_fd(q->dev, q->idx, kind, gen);
    if (q->fd[kind] >= 0) {
        int fl = fcntl(q->fd[kind], F_GETFL);

        if (fl >= 0)
            (void)fcntl(q->fd[kind], F_SETFL, fl | O_NONBLOCK);
    }
}

/* Return: true when the call fd is another one now. */
static bool take_fds(struct queue *q, const struct vring_cfg *cfg)
{
    bool call = cfg->call_gen != q->fd_gen[RING_FD_CALL];

    if (cfg->kick_gen != q->fd_gen[RING_FD_KICK]) {
        take_one(q, RING_FD_KICK, cfg->kick_gen);
        q->kick_dead = false;
    }
    if (call)
        take_one(q, RING_FD_CALL, cfg->call_gen);
    if (cfg->err_gen != q->fd_gen[RING_FD_ERR])
        take_one(q, RING_FD_ERR, cfg->err_gen);
    return call;
}

/* A place for each head the ring can hold, while the pool is in use. */
static int make_jobs(struct queue *q, uint32_t size)
{
    struct job *jobs;

    if (!q->dev->pool || size <= q->njobs)
        return 0;
    jobs = calloc(size, sizeof(*jobs));
    if (!jobs)
        return -ENOMEM;
    for (uint32_t i = 0; i < size; i++) {
        jobs[i].q = q;
        jobs[i].head = (uint16_t)i;
    }
    free(q->jobs);
    q->jobs = jobs;
    q->njobs = size;
    return 0;
}

/* Attach to the ring, anew or as it was.  Nothing is in flight. */
static void attach(struct queue *q, const struct vring_cfg *cfg)
{
    bool fresh = cfg->start_gen != q->start_gen;
    uint16_t was = q->ring.last_avail;
    struct memmap *mm = device_take_mm(q->dev, cfg->mem_gen);
    struct dirtylog *log = NULL;
    int ret;

    if (!mm) {
        /* A newer table came after this snapshot; its publish follows. */
        vring_close(&q->ring);
        if (fresh)
            q->ring.last_avail = (uint16_t)cfg->base;
        return;
    }
    if (cfg->log_gen)
        log = device_take_log(q->dev, cfg->log_gen);
    if (fresh) {
        q->broken = false;
        q->start_gen = cfg->start_gen;
    }
    /* Also without a start: control's word on the size is not enough. */
    ret = make_jobs(q, cfg->size);
    if (ret == 0 && fresh)
        ret = vring_start(&q->ring, cfg, mm, log);
    else if (ret == 0)
        ret = vring_remap(&q->ring, cfg, mm, log);
    memmap_put(mm);
    dirtylog_put(log);
    if (ret == 0 && fresh)
        later_started(q, was);
    if (ret < 0)
        queue_break(q, ret);
}

/* A start may have come and gone between two looks at the slot: then the ring
 * stands where that start put it. */
static void detach(struct queue *q, const struct vring_cfg *cfg)
{
    vring_close(&q->ring);
    if (cfg->start_gen != q->start_gen) {
        q->start_gen = cfg->start_gen;
        q->ring.last_avail = (uint16_t)cfg->base;
    }
}

static void tell_run(struct queue *q)
{
    uint32_t flags =
        (q->live ? VRING_RUN_LIVE : 0) | (q->broken ? VRING_RUN_BROKEN : 0);

    atomic_store_explicit(&q->run->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&q->run->last_avail, q->ring.last_avail,
                          memory_order_relaxed);
    atomic_store_explicit(&q->run->in_flight, q->in_flight,
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&q->run->generations, 1, memory_order_relaxed);
    /* Release: last_avail and all we wrote to the ring before it. */
    atomic_store_explicit(&q->run->applied_seq, q->seq, memory_order_release);
}

/*
 * The old call fd may have been signalled when nobody looked at it any more,
 * before a stop or a disable even; a needless interrupt is cheap, a lost one
 * is for ever.
 */
static void tell_new_call(struct queue *q)
{
    if (!q->untold || !q->live)
        return;
    q->untold = false;
    queue_call(q);
}

/* Model (tests/model/kick.pml): apply. */
static void apply(struct queue *q, const struct vring_cfg *cfg, uint64_t seq)
{
    q->untold |= take_fds(q, cfg);
    if (!(cfg->flags & VRING_CFG_STARTED))
        detach(q, cfg);
    else if (!vring_is_open(&q->ring) || voids_in_flight(&q->cfg, cfg))
        attach(q, cfg); /* else the pool may be reading the ring */
    q->cfg = *cfg;
    q->seq = seq;
    q->live = served(cfg) && !q->broken && vring_is_open(&q->ring);
    PROBE3(cfg_read, q->idx, seq, cfg->flags);
    log_debug("fuse: ring %u: slot %llu: flags 0x%x, %s at %u", q->idx,
              (unsigned long long)seq, cfg->flags, q->live ? "live" : "idle",
              q->ring.last_avail);
    tell_new_call(q);
    tell_run(q);
    device_tell_applied(q->dev);
}

/* Sleep until something may have come: a finished job, a slot, an epoch. */
static void wait_wake(struct queue *q)
{
    struct pollfd p = { .fd = q->wake_fd, .events = POLLIN };
    uint64_t count;

    if (ppoll(&p, 1, NULL, NULL) <= 0)
        return;
    if (read(q->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN &&
        errno != EINTR)
        log_limited(LOG_LEVEL_ERROR, "fuse: ring %u: wake fd: %s", q->idx,
                    strerror(errno));
}

/*
 * Requests whose threads were given up are answered once the fence is up:
 * before it, the hanging system call could still write where the guest, told
 * of the end, puts something else.
 */
static void answer_cancelled(struct queue *q)
{
    if (q->n_cancel == 0 ||
        atomic_load_explicit(&q->dev->fenced, memory_order_acquire) != q->epoch)
        return;
    while (q->n_cancel > 0) {
        uint16_t head = q->cancel[--q->n_cancel];
        uint32_t used_len = 0;
        int ret = 0;

        if (vring_is_open(&q->ring))
            ret = serve_cancelled(&q->w->exec, &q->ring, head, &used_len);
        queue_complete(q, head, ret, used_len);
    }
    if (vring_is_open(&q->ring))
        queue_notify(q);
}

/* Go over to the newest mapping of the same memory.  Only what was given up
 * is in flight. */
static void move_map(struct queue *q, uint32_t epoch)
{
    if ((q->cfg.flags & VRING_CFG_STARTED) && q->cfg.start_gen == q->start_gen)
        attach(q, &q->cfg);
    q->live = served(&q->cfg) && !q->broken && vring_is_open(&q->ring);
    q->epoch = epoch;
    atomic_store_explicit(&q->moved, epoch, memory_order_release);
    device_tell_applied(q->dev);
}

/* Return: true when the ring is on the newest mapping. */
static bool follow_epoch(struct queue *q)
{
    uint32_t epoch = atomic_load_explicit(&q->dev->epoch, memory_order_acquire);

    if (epoch == q->epoch)
        return true;
    if (q->in_flight > q->n_cancel)
        return false; /* the pool still works on the old one */
    move_map(q, epoch);
    return true;
}

/*
 * Let what is in flight come to its end: the pool's requests are answered
 * where they were asked, and nothing new is taken meanwhile.
 * Return: false when the device is stopping.
 *
 * Model (tests/model/kick.pml): wait_in_flight; WAIT_BEFORE_REAP,
 * NO_WAIT_IN_FLIGHT.
 */
static bool wait_in_flight(struct queue *q)
{
    for (;;) {
        /* First: the wake that told of a finished job may be the one that
         * told of the slot, and is used up. */
        queue_reap(q);
        if (atomic_exchange(&q->aio_lost, false))
            async_give_up(q);
        if (follow_epoch(q))
            answer_cancelled(q);
        if (q->in_flight == 0)
            return true;
        if (atomic_load(&q->dev->stopping))
            return false;
        wait_wake(q);
    }
}

/* What the slot says now, made possible.  Return: false when it could not be
 * read. */
static bool read_slot(struct queue *q, struct vring_cfg *cfg, uint64_t *seq)
{
    if (vring_slot_read(q->slot, cfg, seq) < 0) {
        log_limited(LOG_LEVEL_WARN,
                    "fuse: ring %u: its slot is being written without end",
                    q->idx);
        return false;
    }
    if (vring_cfg_check(cfg) < 0) {
        log_limited(LOG_LEVEL_ERROR,
                    "fuse: ring %u: impossible configuration (flags 0x%x, "
                    "size %u), taken as stopped",
                    q->idx, cfg->flags, cfg->size);
        cfg->flags = 0;
    }
    return true;
}

/* Model (tests/model/kick.pml): refresh. */
bool queue_refresh(struct queue *q)
{
    for (;;) {
        struct vring_cfg cfg;
        uint64_t seq;

        if (!follow_epoch(q)) {
            if (!wait_in_flight(q))
                return false;
            continue;
        }
        answer_cancelled(q);
        if (!vring_slot_changed(q->slot, q->seq))
            return true;
        if (!read_slot(q, &cfg, &seq))
            return false;
        if (q->in_flight > 0 && voids_in_flight(&q->cfg, &cfg)) {
            if (!wait_in_flight(q))
                return false;
            continue; /* the slot may have changed again */
        }
        apply(q, &cfg, seq);
    }
}
