/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/aio.h"
#include "fuse/async.h"
#include "fuse/events.h"
#include "fuse/pool.h"
#include "fuse/takeover.h"
#include "vhost/guard.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/probes.h"
#include "virtiofsd/base/sys.h"

void queue_call(struct queue *q)
{
    uint64_t one = 1;

    if (q->fd[RING_FD_CALL] < 0)
        return; /* the driver polls */
    /* EAGAIN: the counter is full, so the front-end is told already. */
    if (sys_write(q->fd[RING_FD_CALL], &one, sizeof(one)) < 0 &&
        errno != EAGAIN)
        log_limited(LOG_LEVEL_WARN, "fuse: ring %u: call fd: %s", q->idx,
                    strerror(errno));
    queue_count(&q->run->calls);
}

void queue_notify(struct queue *q)
{
    if (vring_should_notify(&q->ring))
        queue_call(q);
}

void queue_break(struct queue *q, int reason)
{
    uint64_t one = 1;

    if (q->broken)
        return;
    q->broken = true;
    q->live = false;
    log_err("fuse: ring %u: broken by the guest at %u: %s; it rests until the "
            "next start",
            q->idx, q->ring.last_avail, strerror(-reason));
    atomic_store_explicit(&q->run->flags, VRING_RUN_BROKEN,
                          memory_order_relaxed);
    PROBE2(ring_stop, q->idx, reason);
    if (q->fd[RING_FD_ERR] >= 0 &&
        write(q->fd[RING_FD_ERR], &one, sizeof(one)) < 0)
        log_debug("fuse: ring %u: err fd: %s", q->idx, strerror(errno));
    events_ring_broken(q->dev->events, q->idx, reason);
}

static void set_in_flight(struct queue *q, uint32_t n)
{
    q->in_flight = n;
    atomic_store_explicit(&q->run->in_flight, n, memory_order_relaxed);
}

/* Model (tests/model/kick.pml): push. */
void queue_complete(struct queue *q, uint16_t head, int status,
                    uint32_t used_len)
{
    set_in_flight(q, q->in_flight - 1);
    if (status < 0)
        queue_break(q, status);
    else if (!q->broken && vring_is_open(&q->ring))
        vring_push(&q->ring, head, used_len);
}

void queue_wake(struct queue *q)
{
    uint64_t one = 1;

    /* EAGAIN means the counter is full: it is awake. */
    if (sys_write(q->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_err("fuse: ring %u: wake fd: %s", q->idx, strerror(errno));
}

struct queue *queue_lock_heir(struct queue *q)
{
    pthread_mutex_lock(&q->done_lock);
    while (q->heir) {
        struct queue *heir = q->heir;

        pthread_mutex_unlock(&q->done_lock);
        q = heir;
        pthread_mutex_lock(&q->done_lock);
    }
    return q;
}

/* Model (tests/model/kick.pml): worker. */
void queue_job_done(struct queue *q, struct job *job)
{
    bool first;

    q = queue_lock_heir(q);
    job->next = atomic_load_explicit(&q->done, memory_order_relaxed);
    first = !job->next;
    atomic_store_explicit(&q->done, job, memory_order_relaxed);
    pthread_mutex_unlock(&q->done_lock);
    /* The thread takes all of the list; one wake is enough for it. */
    if (first)
        queue_wake(q);
}

void queue_cancel(struct queue *q, uint16_t head)
{
    if (q->n_cancel < QUEUE_CANCEL_MAX)
        q->cancel[q->n_cancel++] = head;
    else
        queue_complete(q, head, -ENOSPC, 0);
}

/* A job of the pool has come to its end, one way or another. */
static void end_job(struct queue *q, struct job *job)
{
    job->busy = false;
    if (job->status == SERVE_DETACHED) {
        set_in_flight(q, q->in_flight - 1);
        later_adopt(q, job->head, job->later);
    } else if (job->status == SERVE_ABANDONED) {
        queue_cancel(q, job->head);
    } else {
        queue_complete(q, job->head, job->status, job->used_len);
    }
}

/* Model (tests/model/kick.pml): reap. */
static void reap_jobs(struct queue *q)
{
    struct job *job;

    /* Who puts one there after this look wakes the thread. */
    if (!atomic_load_explicit(&q->done, memory_order_relaxed))
        return;
    pthread_mutex_lock(&q->done_lock);
    job = atomic_exchange_explicit(&q->done, NULL, memory_order_relaxed);
    pthread_mutex_unlock(&q->done_lock);
    while (job) {
        struct job *next = job->next;

        end_job(q, job);
        if (job->taken)
            free(job);
        job = next;
    }
    if (vring_is_open(&q->ring))
        queue_notify(q);
}

/* Asked after every request. */
static inline bool has_work_away(const struct queue *q)
{
    return atomic_load_explicit(&q->done, memory_order_relaxed) ||
           (q->aio && aio_is_busy(q->aio)) || q->later.n > 0;
}

/* Jobs first: one may have been detached, and be done already. */
void queue_reap(struct queue *q)
{
    if (likely(!has_work_away(q)))
        return;
    reap_jobs(q);
    async_reap(q);
    later_reap(q);
}

/* @job's place may be older than the queue, see queue_replace(). */
void queue_hand_over(struct queue *q, struct job *job)
{
    job->q = q;
    pool_submit(q->dev->pool, job);
}

static void serve_pooled(struct queue *q, uint16_t head)
{
    struct job *job = &q->jobs[head];

    if (job->busy) {
        /* The driver offers a head again that it has not got back. */
        set_in_flight(q, q->in_flight - 1);
        queue_break(q, -EBUSY);
        return;
    }
    job->busy = true;
    queue_hand_over(q, job);
}

/* What a ring's thread does next. */
enum turn {
    TURN_AGAIN, /* look at the slot and the ring */
    TURN_SLEEP,
    TURN_TAKEN, /* the ring has another thread */
    TURN_GONE,  /* given up; nothing may be touched any more */
};

/*
 * The ring has another thread by now, and all of @q is its; the request has
 * become a job like those of the pool.
 *
 * Model (tests/model/kick.pml): request; TAKEN_PUSHES.
 */
static enum turn serve_taken(struct queue *q, struct worker *w, int ret,
                             uint32_t used_len)
{
    struct job *job;

    w->exec.pass.taken = false;
    takeover_settle(q->dev->takeover);
    job = w->job;
    /* Before the ring can be seen to be done with the request. */
    pthread_setname_np(pthread_self(), POOL_THREAD_NAME);
    w->exec.r.may_defer = false;
    if (ret == SERVE_DEFERRED)
        ret = serve_request(&w->exec, &q->ring, q->idx, job->head, &used_len);
    if (ret == SERVE_ABANDONED)
        return TURN_GONE;
    if (ret == SERVE_BEGUN) {
        free(job); /* its end is found by its head */
        return TURN_TAKEN;
    }
    job->status = ret;
    job->used_len = used_len;
    job->later = w->exec.r.later;
    queue_job_done(q, job);
    return TURN_TAKEN;
}

static enum turn serve_head(struct queue *q, struct worker *w, uint16_t head)
{
    uint32_t used_len = 0;
    int ret;

    w->head = head;
    w->exec.r.job = q->aio ? &q->jobs[head] : NULL;
    w->exec.r.crowded = q->in_flight > 1 || vring_has_seen_more(&q->ring);
    ret = serve_request(&w->exec, &q->ring, q->idx, head, &used_len);
    if (unlikely(ret == SERVE_ABANDONED))
        return TURN_GONE;
    if (unlikely(w->exec.pass.taken))
        return serve_taken(q, w, ret, used_len);
    if (ret == SERVE_DEFERRED) {
        serve_pooled(q, head);
        return TURN_AGAIN;
    }
    if (ret == SERVE_BEGUN)
        return TURN_AGAIN;
    if (ret == SERVE_DETACHED) {
        set_in_flight(q, q->in_flight - 1);
        later_adopt(q, head, w->exec.r.later);
        return TURN_AGAIN;
    }
    queue_complete(q, head, ret, used_len);
    if (ret == 0)
        queue_notify(q);
    return TURN_AGAIN;
}

/* The front-end took guest memory away while we used it. */
static void memory_lost(struct queue *q)
{
    log_limited(LOG_LEVEL_ERROR,
                "fuse: ring %u: guest memory is gone: the front-end has cut "
                "short a file it shared; the device fails",
                q->idx);
    q->broken = true;
    q->live = false;
    events_failed(q->dev->events);
}

/*
 * Take requests until the ring is empty and the thread may sleep, or the slot
 * has changed.
 *
 * Model (tests/model/kick.pml): serve.
 */
static enum turn queue_serve(struct queue *q, struct worker *w)
{
    vring_disarm(&q->ring);
    for (;;) {
        enum turn turn;
        uint16_t head;
        int ret;

        /* Before every pop: control may have stopped the ring meanwhile, and
         * this is what tells. */
        if (queue_is_stale(q))
            return TURN_AGAIN;
        ret = vring_pop(&q->ring, &head);
        if (ret < 0) {
            queue_break(q, ret);
            return TURN_SLEEP;
        }
        if (ret == 0) {
            if (!queue_ran_dry(q))
                return TURN_SLEEP;
            queue_reap(q); /* what the pool has done may have ended a poll */
            if (!q->live)
                return TURN_SLEEP;
            continue;
        }
        PROBE3(req_pop, q->idx, head, q->ring.last_avail);
        set_in_flight(q, q->in_flight + 1);
        atomic_store_explicit(&q->run->last_avail, q->ring.last_avail,
                              memory_order_relaxed);
        queue_count(&q->run->requests);
        turn = serve_head(q, w, head);
        if (unlikely(turn != TURN_AGAIN))
            return turn;
        if (unlikely(guard_lost()))
            return TURN_SLEEP;
        queue_reap(q);
        if (!q->live)
            return TURN_SLEEP;
    }
}

static void take_role(struct queue *q, struct worker *w)
{
    char name[16];

    snprintf(name, sizeof(name), "vring%u", q->idx);
    pthread_setname_np(pthread_self(), name);
    w->exec.r.waiting = &q->waiting;
    w->exec.r.may_defer = q->dev->pool != NULL;
    w->exec.r.aio = q->aio;
}

/* Model (tests/model/kick.pml): ring_thread; NO_RESCAN. */
bool queue_work(struct worker *w)
{
    struct queue *q = w->q;
    struct device *d = q->dev;

    take_role(q, w);
    while (!atomic_load_explicit(&d->stopping, memory_order_acquire)) {
        bool readable = queue_refresh(q);
        enum turn turn = TURN_SLEEP;

        queue_reap(q);
        if (readable && q->live)
            turn = queue_serve(q, w);
        if (turn == TURN_AGAIN)
            continue;
        if (turn != TURN_SLEEP)
            return turn == TURN_TAKEN;
        if (unlikely(guard_lost()))
            memory_lost(q);
        /* The wake that told of the end may be used up by now, see
         * wait_wake(). */
        if (!atomic_load_explicit(&d->stopping, memory_order_acquire))
            queue_sleep(q, readable);
    }
    device_tell_ended(d);
    return false;
}

/* Everything but the thread. */
static struct queue *queue_alloc(struct device *d, uint32_t idx)
{
    struct queue *q = aligned_alloc(128, sizeof(*q));

    if (!q)
        return NULL;
    memset(q, 0, sizeof(*q));
    q->dev = d;
    q->idx = idx;
    q->slot = &d->cfg->slot[idx];
    q->run = &d->run->ring[idx];
    q->wake_fd = d->wake_fd[idx];
    q->epoch = atomic_load(&d->epoch);
    atomic_init(&q->moved, q->epoch);
    for (int i = 0; i < RING_FD_KINDS; i++)
        q->fd[i] = -1;
    pthread_mutex_init(&q->done_lock, NULL);
    q->w = worker_create(d->life, d->pool, q);
    if (!q->w) {
        free(q);
        return NULL;
    }
    return q;
}

/* On failure @q is lost: its pass stays registered at the gate. */
static int queue_run(struct queue *q)
{
    int ret = worker_start(q->w);

    if (ret < 0)
        log_err("fuse: ring %u: no thread: %s", q->idx, strerror(-ret));
    return ret;
}

int queue_create(struct device *d, uint32_t idx, struct queue **out)
{
    struct queue *q = queue_alloc(d, idx);
    int ret;

    if (!q)
        return -ENOMEM;
    if (d->pool)
        q->aio = aio_create(q->wake_fd); /* without memory: without */
    life_use_ring(d->life, idx);
    ret = queue_run(q);
    if (ret == 0)
        *out = q;
    return ret;
}

/* What the pool and the kernel are at work on, and what waits, comes to the new
 * queue. */
static void inherit_work(struct queue *q, struct queue *old)
{
    q->jobs = old->jobs;
    q->njobs = old->njobs;
    q->aio = old->aio;
    q->in_flight = old->in_flight;
    memcpy(q->cancel, old->cancel, sizeof(q->cancel));
    q->n_cancel = old->n_cancel;
    pthread_mutex_lock(&old->done_lock);
    atomic_init(&q->done, atomic_exchange_explicit(&old->done, NULL,
                                                   memory_order_relaxed));
    later_inherit(q, old);
    old->heir = q;
    pthread_mutex_unlock(&old->done_lock);
}

/*
 * @old's thread stored what is read here before it entered the gate, and will
 * not touch it again.
 */
int queue_replace(struct queue *old, struct queue **out)
{
    struct queue *q = queue_alloc(old->dev, old->idx);
    int ret;

    if (!q)
        return -ENOMEM;
    q->seq = old->seq;
    q->cfg = old->cfg;
    q->broken = old->broken;
    q->kick_dead = old->kick_dead;
    q->untold = old->untold;
    q->start_gen = old->start_gen;
    for (int i = 0; i < RING_FD_KINDS; i++) {
        q->fd[i] = take_fd(&old->fd[i]);
        q->fd_gen[i] = old->fd_gen[i];
    }
    q->ring = old->ring;
    q->ring.mm = NULL; /* the old one keeps its references */
    q->ring.log = NULL;
    q->epoch = old->epoch;
    atomic_init(&q->moved, q->epoch);
    inherit_work(q, old);
    q->cancel[q->n_cancel++] = old->w->head;
    pthread_detach(old->w->thread); /* nobody will wait for it */
    ret = queue_run(q);
    if (ret == 0)
        *out = q;
    return ret;
}

/* The device has ended before they were put back. */
static void free_taken(struct queue *q)
{
    struct job *job = atomic_load_explicit(&q->done, memory_order_relaxed);

    while (job) {
        struct job *next = job->next;

        if (job->taken)
            free(job);
        job = next;
    }
}

void queue_destroy(struct queue *q)
{
    if (!q)
        return;
    pthread_join(q->w->thread, NULL);
    vring_close(&q->ring);
    for (int i = 0; i < RING_FD_KINDS; i++)
        fd_close(&q->fd[i]);
    worker_destroy(q->w);
    aio_destroy(q->aio);
    free_taken(q);
    later_free(q);
    pthread_mutex_destroy(&q->done_lock);
    free(q->jobs);
    free(q);
}
