/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_ASYNC_H
#define VIRTIOFSD_FUSE_ASYNC_H

/*
 * READ with O_DIRECT, when its ring has more to do: no thread waits for the
 * data (fuse/aio.h).
 *
 *   ring's thread            kernel                ring's thread
 *   the operation:
 *   request_begin_read() ──▸ moves data
 *   SERVE_BEGUN              wake fd ───────────▸ async_reap(): answers;
 *                                                 -EAGAIN: to the pool
 *
 * Such a request is in flight as one in the pool is: a stop and a change of
 * guest memory wait for it.  Between its two halves the ring may be taken over
 * (fuse/takeover.h); what is kept is in the job of its head, and no address in
 * guest memory: the chain is walked once more for the answer.
 *
 * Needs a pool, for those that can not be begun.
 */

#include <stdbool.h>

struct queue;

/* Answer those that have ended.  Context: the ring's thread, at no request. */
void async_reap(struct queue *q);

/**
 * async_sample(), async_hangs() - is something under way that nothing has come
 * of since the sample?
 * Context: device's main thread, the take-over paused.
 */
void async_sample(struct queue *q);
bool async_hangs(const struct queue *q);

/**
 * async_give_up() - take all that is under way as given up (fuse/rescue.h).
 * The requests are in queue.cancel then, and their ends go unseen.
 * Context: the ring's thread.
 */
void async_give_up(struct queue *q);

#endif
