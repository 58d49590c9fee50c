/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuse/queue.h"
#include "virtiofsd/base/log.h"

/**
 * struct pool
 * @workers, @n: the main thread's and, under takeover.lock, takeover.c's.
 * @idle:  who waits for a job, the last one first: its caches are warm.
 * @first, @last: jobs, when nobody is idle.
 * @lock:  guards all but @workers and @n.
 */
struct pool {
    unsigned int n;
    struct worker **workers;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct worker *idle;
    struct job *first, **last;
    unsigned int running;
    bool stop;
};

static struct job *next_job_locked(struct pool *p)
{
    struct job *job = p->first;

    if (job) {
        p->first = job->next;
        if (!p->first)
            p->last = &p->first;
    }
    return job;
}

static void add_idle_locked(struct pool *p, struct worker *w)
{
    w->next_idle = p->idle;
    p->idle = w;
}

/* Wait for a job or a ring.  Return: false when the pool stops. */
static bool wait_for_work(struct pool *p, struct worker *w)
{
    bool idle;

    pthread_mutex_lock(&p->lock);
    w->job = p->stop ? NULL : next_job_locked(p);
    idle = !w->job && !p->stop;
    if (idle)
        add_idle_locked(p, w);
    pthread_mutex_unlock(&p->lock);
    /* No condition variable: its waiters wake to wait for the lock. */
    while (idle && sem_wait(&w->given) < 0)
        ; /* a signal (fuse/rescue.c) */
    return w->job || w->q;
}

/* Return: false when it was given up meanwhile. */
static bool run_job(struct worker *w)
{
    struct job *job = w->job;
    struct queue *q = job->q;
    uint32_t used_len = 0;
    int ret;

    w->exec.r.waiting = &q->waiting;
    ret = serve_request(&w->exec, &q->ring, q->idx, job->head, &used_len);
    if (ret == SERVE_ABANDONED)
        return false; /* another has taken its place, and the job */
    job->status = ret;
    job->used_len = used_len;
    job->later = w->exec.r.later;
    queue_job_done(q, job);
    return true;
}

bool pool_work(struct worker *w)
{
    struct pool *p = w->pool;

    pthread_setname_np(pthread_self(), POOL_THREAD_NAME);
    w->exec.r.may_defer = false;
    while (wait_for_work(p, w)) {
        if (w->q)
            return true;
        if (!run_job(w))
            return false;
    }
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_cond_signal(&p->ended);
    pthread_mutex_unlock(&p->lock);
    return false;
}

static int start_worker(struct pool *p, struct life *life, struct worker **out)
{
    struct worker *w = worker_create(life, p, NULL);
    int ret;

    if (!w)
        return -ENOMEM;
    pthread_mutex_lock(&p->lock);
    p->running++;
    pthread_mutex_unlock(&p->lock);
    ret = worker_start(w);
    if (ret == 0) {
        *out = w;
        return 0;
    }
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_mutex_unlock(&p->lock);
    return ret;
}

int pool_create(unsigned int threads, struct life *life, struct pool **pool)
{
    struct pool *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->workers = calloc(threads, sizeof(*p->workers));
    if (!p->workers) {
        free(p);
        return -ENOMEM;
    }
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->ended, NULL);
    for (p->n = 0; p->n < threads; p->n++) {
        int ret = start_worker(p, life, &p->workers[p->n]);

        if (ret < 0 && p->n == 0) {
            free(p->workers);
            free(p);
            return ret;
        }
        if (ret < 0) {
            log_warn("fuse: thread pool: %u of %u threads: %s", p->n, threads,
                     strerror(-ret));
            break;
        }
    }
    *pool = p;
    return 0;
}

struct worker *pool_worker(struct pool *p, unsigned int i)
{
    return p && i < p->n ? p->workers[i] : NULL;
}

int pool_replace(struct pool *p, unsigned int i)
{
    struct life *life = p->workers[i]->exec.life;
    int ret;

    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_mutex_unlock(&p->lock);
    pthread_detach(p->workers[i]->thread); /* nobody will wait for it */
    ret = start_worker(p, life, &p->workers[i]);
    if (ret == 0)
        return 0;
    p->workers[i] = p->workers[--p->n];
    return ret;
}

void pool_submit(struct pool *p, struct job *job)
{
    struct worker *w;

    job->next = NULL;
    pthread_mutex_lock(&p->lock);
    w = p->idle;
    if (w) {
        p->idle = w->next_idle;
        w->job = job;
    } else {
        *p->last = job;
        p->last = &job->next;
    }
    pthread_mutex_unlock(&p->lock);
    if (w)
        sem_post(&w->given);
}

struct worker *pool_take_idle(struct pool *p)
{
    struct worker *w;

    pthread_mutex_lock(&p->lock);
    w = p->idle;
    if (w)
        p->idle = w->next_idle;
    pthread_mutex_unlock(&p->lock);
    return w;
}

void pool_give_back(struct pool *p, struct worker *w)
{
    pthread_mutex_lock(&p->lock);
    w->job = next_job_locked(p);
    if (w->job)
        sem_post(&w->given);
    else
        add_idle_locked(p, w);
    pthread_mutex_unlock(&p->lock);
}

void pool_swap(struct pool *p, struct worker *out, struct worker *in,
               struct queue *q)
{
    for (unsigned int i = 0; i < p->n; i++) {
        if (p->workers[i] == out)
            p->workers[i] = in;
    }
    out->q = q;
    sem_post(&out->given);
}

bool pool_stop(struct pool *p, int timeout_ms)
{
    struct timespec until;
    int ret = 0;
    bool all;

    if (!p)
        return true;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    for (unsigned int i = 0; i < p->n; i++)
        sem_post(&p->workers[i]->given);
    while (p->running > 0 && ret == 0)
        ret = pthread_cond_timedwait(&p->ended, &p->lock, &until);
    all = p->running == 0;
    pthread_mutex_unlock(&p->lock);
    for (unsigned int i = 0; !all && i < p->n; i++)
        pthread_detach(p->workers[i]->thread);
    if (!all)
        return false;
    for (unsigned int i = 0; i < p->n; i++) {
        pthread_join(p->workers[i]->thread, NULL);
        worker_destroy(p->workers[i]);
    }
    free(p->workers);
    free(p);
    return true;
}
