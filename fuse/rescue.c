/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/rescue.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "fuse/async.h"
#include "fuse/pool.h"
#include "fuse/queue.h"
#include "fuse/takeover.h"
#include "virtiofsd/base/log.h"

/* Each one given up keeps its thread, its memory and the old mapping. */
#define GIVE_UP_MAX 64
/* What is left of the control process's patience after the giving up. */
#define MOVE_MS 10000

static void on_signal(int sig)
{
    (void)sig; /* it is enough that the system call returned */
}

int rescue_setup(void)
{
    struct sigaction sa = { .sa_handler = on_signal };

    sigemptyset(&sa.sa_mask);
    return sigaction(SIGUSR1, &sa, NULL) < 0 ? -errno : 0;
}

void rescue_begin(struct rescue *r, struct device *d)
{
    *r = (struct rescue){ .d = d, .begun_ns = now_ns() };
}

/* ---- who hangs ---- */

/* Is this thread at the same request as when the wait was first sampled? */
static bool hangs(const struct life_pass *p)
{
    uint32_t place = atomic_load_explicit(&p->place, memory_order_acquire);

    return (place == LIFE_INSIDE || place == LIFE_TAKEN) &&
           atomic_load_explicit(&p->count, memory_order_relaxed) == p->sample;
}

static void sample(struct life_pass *p)
{
    p->sample = atomic_load_explicit(&p->count, memory_order_relaxed);
}

static void for_each_thread(struct device *d,
                            void (*fn)(struct life_pass *p, pthread_t t))
{
    struct worker *w;

    for (uint32_t i = 0; i < d->nrings; i++) {
        if (d->queue[i])
            fn(&d->queue[i]->w->exec.pass, d->queue[i]->w->thread);
    }
    for (unsigned int i = 0; (w = pool_worker(d->pool, i)); i++)
        fn(&w->exec.pass, w->thread);
}

static void sample_thread(struct life_pass *p, pthread_t t)
{
    (void)t;
    sample(p);
}

/* Up to the interrupt: by then what others have under way has ended, and does
 * not look like progress of the one that hangs. */
static void sample_async(struct device *d)
{
    for (uint32_t i = 0; i < d->nrings; i++) {
        if (d->queue[i])
            async_sample(d->queue[i]);
    }
}

static void interrupt_thread(struct life_pass *p, pthread_t t)
{
    if (hangs(p))
        pthread_kill(t, SIGUSR1);
}

/* ---- giving up ---- */

/*
 * What a worker's hanging system call points into belongs to its job's ring,
 * which is about to let go of it: these references are never dropped.  They
 * can not change under us, for the job is in flight.
 */
static void keep_for_ever(const struct vring *v)
{
    if (v->mm)
        memmap_get(v->mm);
    if (v->log)
        dirtylog_get(v->log);
}

/* Mark those that hang; from here on they touch nothing of ours.
 * Return: how many, or -ENOSPC. */
static int mark_hanging(struct device *d, bool ring_hangs[VRING_MAX],
                        struct job *jobs[GIVE_UP_MAX])
{
    struct worker *w;
    int n = 0;

    for (uint32_t i = 0; i < d->nrings; i++) {
        struct life_pass *p = d->queue[i] ? &d->queue[i]->w->exec.pass : NULL;

        ring_hangs[i] = p && hangs(p) && life_abandon(d->life, p);
        n += ring_hangs[i];
    }
    for (unsigned int i = 0; (w = pool_worker(d->pool, i)); i++) {
        if (i >= GIVE_UP_MAX)
            break;
        jobs[i] = NULL;
        if (hangs(&w->exec.pass) && life_abandon(d->life, &w->exec.pass)) {
            jobs[i] = w->job;
            keep_for_ever(&w->job->q->ring);
            n++;
        }
    }
    d->given_up += (uint32_t)n;
    return d->given_up > GIVE_UP_MAX ? -ENOSPC : n;
}

/* From the last worker on: one that can not be replaced makes room. */
static void replace_workers(struct device *d, struct job *jobs[GIVE_UP_MAX])
{
    for (unsigned int i = GIVE_UP_MAX; i-- > 0;) {
        struct job *job = pool_worker(d->pool, i) ? jobs[i] : NULL;
        int ret;

        if (!job)
            continue;
        ret = pool_replace(d->pool, i);
        if (ret < 0)
            log_err("fuse: pool: a thread less: %s", strerror(-ret));
        job->status = SERVE_ABANDONED;
        queue_job_done(job->q, job);
    }
}

static int replace_queues(struct device *d, const bool ring_hangs[VRING_MAX])
{
    for (uint32_t i = 0; i < d->nrings; i++) {
        int ret = ring_hangs[i] ? queue_replace(d->queue[i], &d->queue[i]) : 0;

        if (ret < 0)
            return ret;
    }
    return 0;
}

/* The tables in use until now; the caller has their references. */
static int swap_maps(struct device *d, struct memmap *old[2])
{
    struct memmap *mm;
    int ret = memmap_remake(d->mm, &mm);

    if (ret < 0)
        return ret;
    pthread_mutex_lock(&d->lock);
    old[0] = d->mm;
    old[1] = d->mm_before;
    d->mm = mm;
    d->mm_before = NULL;
    pthread_mutex_unlock(&d->lock);
    atomic_fetch_add(&d->epoch, 1);
    return 0;
}

static bool all_moved(struct device *d)
{
    uint32_t epoch = atomic_load(&d->epoch);

    for (uint32_t i = 0; i < d->nrings; i++) {
        if (d->queue[i] && atomic_load_explicit(&d->queue[i]->moved,
                                                memory_order_acquire) != epoch)
            return false;
    }
    return true;
}

/* Every ring goes over to the new mapping, between two requests. */
static int wait_moved(struct device *d)
{
    struct timespec until;
    int ret = 0;

    device_wake_all(d);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MOVE_MS / 1000;
    pthread_mutex_lock(&d->lock);
    while (ret == 0 && !all_moved(d))
        ret = pthread_cond_timedwait(&d->applied, &d->lock, &until);
    pthread_mutex_unlock(&d->lock);
    return -ret;
}

/* The old maps' references are kept: a hanging system call may still use the
 * addresses, and what they lead to is ours alone now. */
static int fence(struct memmap *old[2])
{
    int ret = memmap_fence(old[0]);

    if (ret == 0 && old[1])
        ret = memmap_fence(old[1]);
    return ret;
}

/* What the kernel has under way.  Return: how many rings'. */
static int mark_lost(struct device *d, bool lost[VRING_MAX])
{
    int n = 0;

    for (uint32_t i = 0; i < d->nrings; i++) {
        lost[i] = d->queue[i] && async_hangs(d->queue[i]);
        n += lost[i];
    }
    d->given_up += (uint32_t)n;
    return n;
}

/* The rings' threads give it up before they go over to the new mapping. */
static void tell_lost(struct device *d, const bool lost[VRING_MAX])
{
    for (uint32_t i = 0; i < d->nrings; i++) {
        if (lost[i])
            atomic_store(&d->queue[i]->aio_lost, true);
    }
}

static int give_up(struct device *d)
{
    bool ring_hangs[VRING_MAX] = { false }, lost[VRING_MAX];
    struct job *jobs[GIVE_UP_MAX] = { NULL };
    struct memmap *old[2];
    int n = mark_lost(d, lost), ret = mark_hanging(d, ring_hangs, jobs);

    if (ret < 0)
        return ret;
    n += ret;

    if (n == 0)
        return 0;
    log_warn("fuse: %d request(s) hang in the host's file system: given up", n);
    ret = swap_maps(d, old);
    if (ret == 0)
        ret = replace_queues(d, ring_hangs);
    if (ret < 0)
        return ret;
    replace_workers(d, jobs);
    tell_lost(d, lost);
    ret = wait_moved(d);
    if (ret == 0)
        ret = fence(old);
    if (ret < 0)
        return ret;
    atomic_store(&d->fenced, atomic_load(&d->epoch));
    device_wake_all(d);
    return 0;
}

/* No thread changes its role meanwhile. */
static int step(struct rescue *r)
{
    int64_t waited_ms = (now_ns() - r->begun_ns) / 1000000;
    int ret;

    if (!r->sampled) {
        for_each_thread(r->d, sample_thread);
        r->sampled = true;
    }
    if (waited_ms < RESCUE_INTERRUPT_MS) {
        sample_async(r->d);
        return 0;
    }
    if (waited_ms < RESCUE_GIVE_UP_MS || r->given_up) {
        for_each_thread(r->d, interrupt_thread);
        return 0;
    }
    r->given_up = true;
    ret = give_up(r->d);
    if (ret < 0)
        log_err("fuse: hanging requests can not be given up: %s",
                strerror(-ret));
    return ret;
}

int rescue_step(struct rescue *r)
{
    int ret;

    takeover_pause(r->d->takeover);
    ret = step(r);
    takeover_resume(r->d->takeover);
    return ret;
}
