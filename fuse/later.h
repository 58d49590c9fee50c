/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_LATER_H
#define VIRTIOFSD_FUSE_LATER_H

/*
 * Requests that are answered later: a lock that waits for its turn.
 *
 * request_detach() takes the request off its executing thread.  What is kept
 * of it is its head and its number, no address in guest memory.  The ring's
 * thread adopts it, and from then on it waits: nobody is at work on it, so
 * neither a stop nor a change of guest memory waits for it.  When its result
 * is there it comes to the ring's thread, which reads the chain once more and
 * answers; while the ring is not live the result stays where it is.
 *
 * A start that goes on where the ring stood (its base and its used index say
 * so) finds the requests still waiting: a machine was paused.  Any other start
 * begins with an empty ring, and they are forgotten.
 *
 *            ring's thread          any thread
 *   detached ── adopt ──▸ waiting ── done ──▸ on the list ── reap ─▸ used ring
 *       └────── done ──▸ ready ── adopt ──────────┘
 */

#include <stdatomic.h>
#include <stdint.h>

#include "fuse/request.h"

struct queue;
struct request_later;

/**
 * struct waiting - the descriptors which one ring's waiting requests take up.
 * @used: any executing thread adds, the ring's takes off.
 * @room: half of the ring; the rest is for those who make them wait no more.
 */
struct waiting {
    _Atomic uint32_t used;
    uint32_t room;
};

/* The ring's thread: queue_reap() of what is waiting (queue.h). */

/**
 * later_adopt() - @l waits on @q from now on, and is no longer at work on.
 * @head: of its chain.
 */
void later_adopt(struct queue *q, uint16_t head, struct request_later *l);

/* Answer those that are done, if the ring is live. */
void later_reap(struct queue *q);

/**
 * later_started() - the ring was started.
 * Those that wait stay when it goes on where it stood, at @was, and are
 * forgotten when not.
 */
void later_started(struct queue *q, uint16_t was);

/* A new queue takes over what waits on @old (fuse/rescue.h).
 * Context: under @old's done_lock. */
void later_inherit(struct queue *q, struct queue *old);

/* Nothing is done any more: free what is left. */
void later_free(struct queue *q);

#endif
