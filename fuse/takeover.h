/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_TAKEOVER_H
#define VIRTIOFSD_FUSE_TAKEOVER_H

/*
 * A ring whose thread has got stuck in a request gets another.
 *
 * No policy (fuse/policy.h) knows beforehand what will take its time: a LOOKUP
 * on a network mount, a write that is throttled, a close.  So a thread of its
 * own looks at the rings every other millisecond.  One that stands in the same
 * request at two looks loses its ring to an idle thread of the pool, and takes
 * that one's place; its request becomes a job of the pool.
 *
 *   ring's thread T           this thread           idle worker W
 *   enters the gate
 *     ... stuck ...    ── sees it twice
 *                      ── INSIDE ─▸ TAKEN
 *                      ── queue.w = W, T in the pool ──▸ serves the ring
 *   leaves: was taken
 *   queue_job_done()
 *   is of the pool
 *
 * That word, life_pass.place, is what rescues and changes of lives look at
 * too, so that all this costs a request nothing.  Without an idle thread the
 * ring waits.  When no ring has served anything for a while the thread sleeps,
 * until somebody enters the gate.
 *
 * Context: rings' threads and the main thread; @t NULL means there is none.
 */

struct device;
struct takeover;

/* Context: before the first ring.  Return: 0 or -errno. */
int takeover_start(struct device *d, struct takeover **t);
void takeover_stop(struct takeover *t);
/* When no thread is left that could enter the gate or was taken. */
void takeover_destroy(struct takeover *t);

/* Between the two no thread changes its role. Not nested. */
void takeover_pause(struct takeover *t);
void takeover_resume(struct takeover *t);

/* The thread's ring was taken: wait until that is done. */
void takeover_settle(struct takeover *t);

#endif
