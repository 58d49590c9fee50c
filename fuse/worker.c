/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/worker.h"

#include <stdlib.h>
#include <string.h>

/* The operations build replies in the request's scratch, not on the stack. */
#define STACK_BYTES ((size_t)512 << 10)

struct worker *worker_create(struct life *life, struct pool *pool,
                             struct queue *q)
{
    struct worker *w = aligned_alloc(128, sizeof(*w));

    if (!w)
        return NULL;
    memset(w, 0, sizeof(*w));
    if (exec_init(&w->exec, life) < 0) {
        free(w);
        return NULL;
    }
    w->pool = pool;
    w->q = q;
    sem_init(&w->given, 0, 0);
    return w;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    while (w->q ? queue_work(w) : pool_work(w))
        ;
    return NULL;
}

int worker_start(struct worker *w)
{
    pthread_attr_t attr;
    int ret;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    ret = pthread_create(&w->thread, &attr, worker_main, w);
    pthread_attr_destroy(&attr);
    return -ret;
}

void worker_destroy(struct worker *w)
{
    sem_destroy(&w->given);
    exec_fini(&w->exec);
    free(w);
}
