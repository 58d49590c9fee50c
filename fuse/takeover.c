/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/takeover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuse/pool.h"
#include "fuse/queue.h"
#include "virtiofsd/base/log.h"

#define TICK_NS 2000000
/* With nothing to see for so long it sleeps. */
#define IDLE_TICKS 50

/* What a ring's thread was at, at the last look. */
struct seen {
    const struct worker *w;
    uint64_t count;
    bool inside;
};

/**
 * struct takeover
 * @lock: guards all below it, queue.w and the pool's list of workers.
 */
struct takeover {
    struct device *d;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool paused, stop;
    struct seen seen[VRING_MAX];
};

/*
 * Model (tests/model/kick.pml): takeover; TAKE_BLINDLY.
 *
 * The request may be a later one than was seen; it is taken as well as that
 * one.  What its thread did to @q comes before it entered the gate, and what
 * the new one does comes after.
 */
static bool take_by(struct takeover *t, struct queue *q, struct worker *w,
                    struct job *job)
{
    struct worker *stuck = q->w;

    if (!life_take(&stuck->exec.pass))
        return false;
    job->q = q;
    job->head = stuck->head;
    job->taken = true;
    stuck->job = job;
    stuck->q = NULL;
    q->w = w;
    pool_swap(t->d->pool, w, stuck, q);
    return true;
}

static void take(struct takeover *t, struct queue *q)
{
    struct worker *w = pool_take_idle(t->d->pool);
    struct job *job;

    if (!w)
        return;
    job = calloc(1, sizeof(*job));
    if (job && take_by(t, q, w, job))
        return;
    free(job);
    pool_give_back(t->d->pool, w);
}

/* Return: it has served something since, or is about to. */
static bool look_at(struct takeover *t, struct queue *q, struct seen *s)
{
    const struct life_pass *p = &q->w->exec.pass;
    bool inside =
        atomic_load_explicit(&p->place, memory_order_seq_cst) == LIFE_INSIDE;
    uint64_t count = atomic_load_explicit(&p->count, memory_order_relaxed);
    bool same = s->w == q->w && s->count == count;
    bool stuck = same && inside && s->inside;

    *s = (struct seen){ q->w, count, inside };
    if (unlikely(stuck))
        take(t, q);
    return inside || !same;
}

static bool look(struct takeover *t)
{
    bool busy = t->paused;

    for (uint32_t i = 0; i < VRING_MAX && !t->paused; i++) {
        if (t->d->queue[i])
            busy |= look_at(t, t->d->queue[i], &t->seen[i]);
    }
    return busy;
}

/* Somebody has entered the gate. */
static void wake_up(void *arg)
{
    struct takeover *t = arg;

    pthread_mutex_lock(&t->lock);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

static void rest(struct takeover *t)
{
    life_rest(t->d->life);
    /* Who entered before that is seen here. */
    if (look(t))
        life_rest_over(t->d->life);
    while (life_rests(t->d->life) && !t->stop)
        pthread_cond_wait(&t->wake, &t->lock);
}

static void wait_tick(struct takeover *t)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&t->wake, &t->lock, &until);
}

static void *takeover_main(void *arg)
{
    struct takeover *t = arg;
    int idle = 0;

    pthread_setname_np(pthread_self(), "takeover");
    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        idle = look(t) ? 0 : idle + 1;
        if (idle > IDLE_TICKS) {
            rest(t);
            idle = 0;
        }
        if (!t->stop)
            wait_tick(t);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

int takeover_start(struct device *d, struct takeover **out)
{
    struct takeover *t = calloc(1, sizeof(*t));
    pthread_condattr_t attr;
    int ret;

    if (!t)
        return -ENOMEM;
    t->d = d;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &attr);
    pthread_condattr_destroy(&attr);
    life_watch(d->life, wake_up, t);
    ret = pthread_create(&t->thread, NULL, takeover_main, t);
    if (ret) {
        free(t);
        return -ret;
    }
    *out = t;
    return 0;
}

void takeover_stop(struct takeover *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
}

void takeover_destroy(struct takeover *t)
{
    if (!t)
        return;
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void set_paused(struct takeover *t, bool paused)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->paused = paused;
    pthread_mutex_unlock(&t->lock);
}

void takeover_pause(struct takeover *t)
{
    set_paused(t, true);
}

void takeover_resume(struct takeover *t)
{
    set_paused(t, false);
}

void takeover_settle(struct takeover *t)
{
    pthread_mutex_lock(&t->lock);
    pthread_mutex_unlock(&t->lock);
}
