/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_POOL_H
#define VIRTIOFSD_FUSE_POOL_H

/*
 * Threads that run requests so that a slow one does not hold up its ring
 * (--thread-pool-size).  They never touch a ring: the finished job goes back
 * to the ring's thread.
 *
 * Lock order: takeover.lock, the pool's lock, then nothing.
 */

#include "fuse/worker.h"

#define POOL_THREAD_NAME "pool"

/* Return: 0 or -errno. */
int pool_create(unsigned int threads, struct life *life, struct pool **pool);

/* Hand over a job; the ring of job->q stays as it is until it is done. */
void pool_submit(struct pool *p, struct job *job);

/* The @i-th worker, NULL when there are no more.
 * Context: main thread, or under takeover.lock. */
struct worker *pool_worker(struct pool *p, unsigned int i);

/**
 * pool_take_idle() - keep a worker from getting jobs.
 * Return: the worker; NULL when none is idle.
 * Then either pool_give_back() or pool_swap() follows.
 * Context: under takeover.lock.
 */
struct worker *pool_take_idle(struct pool *p);
void pool_give_back(struct pool *p, struct worker *w);

/**
 * pool_swap() - @in takes the place of @out, which serves the ring @q now.
 * @out: from pool_take_idle(); woken.
 * @in:  at work on its own job.
 */
void pool_swap(struct pool *p, struct worker *out, struct worker *in,
               struct queue *q);

/**
 * pool_replace() - a new thread in the place of a worker given up.
 * The old one stays as it is, for good, and its job is the caller's.
 * Context: main thread, the take-over paused.
 * Return: 0; -errno: the pool has a thread less.
 */
int pool_replace(struct pool *p, unsigned int i);

/**
 * pool_stop() - let the workers end after what they are doing.
 * @p: freed, unless a worker is still at work after @timeout_ms.
 * Return: true when all have ended.
 */
bool pool_stop(struct pool *p, int timeout_ms);

#endif
