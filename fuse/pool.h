/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_POOL_H
#define VIRTIOFSD_FUSE_POOL_H

/*
 * Threads that run requests so that a slow one does not hold up its ring
 * (--thread-pool-size).  They never touch a ring: the finished job goes back
 * to the ring's thread.
 */

#include "fuse/queue.h"

struct pool;

/**
 * struct worker - one thread of the pool.
 * @job: what it is at work on; written by its thread before it enters the
 *       gate, good to read for whoever has abandoned it there.
 */
struct worker {
    struct exec exec;
    struct pool *pool;
    struct job *job;
    pthread_t thread;
};

/* Return: 0 or -errno. */
int pool_create(unsigned int threads, struct life *life, struct pool **pool);

/* Hand over a job; the ring of job->q stays as it is until it is done. */
void pool_submit(struct pool *p, struct job *job);

/* The @i-th worker, NULL when there are no more.  Context: main thread. */
struct worker *pool_worker(struct pool *p, unsigned int i);

/**
 * pool_replace() - a new thread in the place of a worker given up.
 * The old one stays as it is, for good, and its job is the caller's.
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
