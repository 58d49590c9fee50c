/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_WORKER_H
#define VIRTIOFSD_FUSE_WORKER_H

/*
 * A thread that runs requests.  It serves a ring or belongs to the pool, and
 * may go from the one to the other (fuse/takeover.h).
 */

#include <pthread.h>
#include <semaphore.h>

#include "fuse/serve.h"

struct queue;
struct pool;

/* A request off its ring's thread, and its answer on the way back. */
struct job {
    struct queue *q;
    struct job *next;
    uint16_t head;
    bool busy;       /* off the ring; ring's thread only */
    bool begun;      /* a READ the kernel is at work on (fuse/async.h) */
    uint64_t unique; /* its number */
    bool taken;      /* made by takeover.c: to be freed */
    int status;      /* of serve_request() */
    uint32_t used_len;
    struct request_later *later; /* SERVE_DETACHED */
};

/**
 * struct worker - one thread.
 * @q:    the ring which it serves; NULL: it is of the pool.  Changed by
 *        takeover.c while the thread is idle, or can see that it was taken.
 * @head: what it is at work on as a ring's thread; its own, set before it
 *        enters the gate, good to read for whoever has taken or abandoned it.
 * @job:  the same in the pool, or when it was taken; under the pool's lock
 *        while it is idle.
 * @given: posted once for each job or ring it is given while it is idle.
 * @next_idle: the pool's.
 */
struct worker {
    struct exec exec;
    pthread_t thread;
    struct pool *pool; /* NULL: there is none */
    struct queue *q;
    uint16_t head;
    struct job *job;
    sem_t given;
    struct worker *next_idle;
};

/**
 * worker_create() - memory for one, without its thread.
 * @pool, @q: see struct worker.
 * Return: NULL without memory.
 */
struct worker *worker_create(struct life *life, struct pool *pool,
                             struct queue *q);
/* Return: 0; -errno: @w is lost, for its pass stays registered at the gate. */
int worker_start(struct worker *w);
/* After the end of its thread. */
void worker_destroy(struct worker *w);

/**
 * queue_work() - serve the ring @w->q (queue.c).
 * pool_work()  - be a worker of the pool @w->pool (pool.c).
 * Context: @w's thread.
 * Return: true: it has the other role now; false: the thread has to end.
 */
bool queue_work(struct worker *w);
bool pool_work(struct worker *w);

#endif
