/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "virtiofsd/base/log.h"

/* @lock guards all below it; @workers is the main thread's. */
struct pool {
    unsigned int n;
    struct worker **workers;
    pthread_mutex_t lock;
    pthread_cond_t some, ended;
    struct job *first, **last;
    unsigned int running;
    bool stop;
};

static struct job *next_job(struct pool *p)
{
    struct job *job = NULL;

    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stop)
        pthread_cond_wait(&p->some, &p->lock);
    if (!p->stop) {
        job = p->first;
        p->first = job->next;
        if (!p->first)
            p->last = &p->first;
    }
    pthread_mutex_unlock(&p->lock);
    return job;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    struct job *job;

    while ((job = next_job(p))) {
        struct queue *q = job->q;
        uint32_t used_len = 0;
        int ret;

        w->job = job;
        w->exec.r.waiting = &q->waiting;
        ret = serve_request(&w->exec, &q->ring, q->idx, job->head, &used_len);
        if (ret == SERVE_ABANDONED)
            return NULL; /* another has taken its place, and the job */
        job->status = ret;
        job->used_len = used_len;
        job->later = w->exec.r.later;
        queue_job_done(q, job);
    }
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_cond_signal(&p->ended);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* A worker that could not be started is lost when its pass is registered. */
static int start_worker(struct pool *p, struct life *life, struct worker **out)
{
    struct worker *w = aligned_alloc(128, sizeof(*w));
    int ret;

    if (!w)
        return -ENOMEM;
    memset(w, 0, sizeof(*w));
    w->pool = p;
    ret = exec_init(&w->exec, life);
    if (ret < 0) {
        free(w);
        return ret;
    }
    pthread_mutex_lock(&p->lock);
    p->running++;
    pthread_mutex_unlock(&p->lock);
    ret = pthread_create(&w->thread, NULL, worker_main, w);
    if (ret == 0) {
        *out = w;
        return 0;
    }
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_mutex_unlock(&p->lock);
    return -ret;
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
    pthread_cond_init(&p->some, NULL);
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
    job->next = NULL;
    pthread_mutex_lock(&p->lock);
    *p->last = job;
    p->last = &job->next;
    pthread_cond_signal(&p->some);
    pthread_mutex_unlock(&p->lock);
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
    pthread_cond_broadcast(&p->some);
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
        exec_fini(&p->workers[i]->exec);
        free(p->workers[i]);
    }
    free(p->workers);
    free(p);
    return true;
}
