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

/* Return: 0 or -errno. */
int pool_create(unsigned int threads, struct life *life, struct pool **pool);

/* Hand over a job; the ring of job->q stays as it is until it is done. */
void pool_submit(struct pool *p, struct job *job);

/**
 * pool_stop() - let the workers end after what they are doing.
 * @p: freed, unless a worker is still at work after @timeout_ms.
 * Return: true when all have ended.
 */
bool pool_stop(struct pool *p, int timeout_ms);

#endif
