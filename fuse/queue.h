/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_QUEUE_H
#define VIRTIOFSD_FUSE_QUEUE_H

/*
 * One virtqueue and its thread, the only one that touches the ring.
 *
 * The ring's state is two bits of its slot, started and enabled
 * (vhost-user "Starting and stopping rings"), and one of our own, broken:
 *
 *   started  enabled  broken | the thread
 *   no       -        -      | holds no guest memory, waits on the wake fd
 *   yes      no       -      | holds the ring, leaves kicks uncounted, waits
 *   yes      yes      no     | live: serves; waits on wake and kick fd
 *   yes      yes      yes    | as if disabled, until the next start
 *
 * The kick fd is drained in one place, drain_kick(), and only while the slot,
 * read again after the kick was seen, says live (invariant 1).
 */

#include "fuse/device_i.h"
#include "fuse/later.h"
#include "fuse/worker.h"
#include "vhost/vring.h"

/**
 * struct later_list - a ring's requests that wait (fuse/later.h).
 * @n, @n_valid: adopted and not yet freed; those that this start knows of.
 * @epoch: counts starts that forgot what waited.
 * @ready: done; to be answered when the ring is live.
 * @done:  done, not yet seen by the ring's thread; under @done_lock.
 */
struct later_list {
    uint32_t n, n_valid, epoch;
    struct request_later *ready;
    struct request_later *done;
};

/* The queue that carries FORGET and INTERRUPT.
 * Spec: virtio 1.2 "File System Device", "Virtqueues". */
#define QUEUE_HIPRIO 0

/**
 * struct queue_pace - when a ring's thread sleeps, and how (queue_wait.c).
 * @seen:     last_avail when the ring was last found empty.
 * @nap_ns:   > 0: the ring is not armed, and the next sleep is this long.
 * @served_ns: when the ring was last found empty after requests.
 * @skip, @skipped: how many sleeps to go without polling before the next try,
 *            and how many have been.
 * Context: the ring's thread.
 */
struct queue_pace {
    uint16_t seen;
    int64_t nap_ns, served_ns;
    uint32_t skip, skipped;
};

/* Requests of one ring that may hang at a time and still be given up. */
#define QUEUE_CANCEL_MAX 128

/**
 * struct queue
 * @seq:      slot seq of @cfg, what the thread acts upon.
 * @fd, @fd_gen: kick, call and err eventfds and the generations they are.
 * @untold:   the call fd is new and has not been signalled yet.
 * @in_flight: taken off the ring and not put back yet, but for those that
 *            wait: somebody is at work on them.
 * @waiting, @later: requests that wait.
 * @w:        the thread; another one after a take-over (fuse/takeover.h).
 * @cancel:   heads whose threads were given up (fuse/rescue.h): in flight
 *            still, to be answered once guest memory is fenced.
 * @epoch:    device.epoch whose mapping of guest memory the ring uses.
 * @moved:    the same, for the main thread to see.
 * @jobs:     one for each descriptor, when there is a pool.
 * @done:     jobs that the pool has finished; a stack, changed under
 *            @done_lock.
 * @aio:    what the kernel has under way (fuse/async.h); NULL: nothing ever.
 * @aio_sample: see async_sample(); the main thread's.
 * @aio_lost: set by the main thread: all that is under way is to be given up.
 * @heir:     the queue that has taken this one's place; under @done_lock.
 * All but @done, @heir, @done_lock, @waiting and where it says so: the ring's
 * thread only.
 */
struct queue {
    struct device *dev;
    uint32_t idx;
    struct worker *w;
    const struct vring_slot *slot;
    struct vring_run *run;
    int wake_fd;

    uint64_t seq;
    struct vring_cfg cfg;
    bool live, broken, kick_dead, untold;
    uint32_t start_gen;
    int fd[RING_FD_KINDS];
    uint32_t fd_gen[RING_FD_KINDS];
    struct vring ring;
    struct queue_pace pace;
    uint32_t in_flight;
    uint16_t cancel[QUEUE_CANCEL_MAX];
    uint32_t n_cancel;
    uint32_t epoch;
    _Atomic uint32_t moved;
    struct waiting waiting;
    struct later_list later;
    struct job *jobs;
    uint32_t njobs;
    struct aio *aio;
    uint64_t aio_sample;
    _Atomic bool aio_lost;

    _Alignas(128) pthread_mutex_t done_lock;
    struct job *_Atomic done;
    struct queue *heir;
};

/**
 * queue_create() - make a queue and start its thread.
 * Context: device's main thread.
 * Return: 0 or -errno.
 */
int queue_create(struct device *d, uint32_t idx, struct queue **q);

/**
 * queue_replace() - a new thread for the ring of a queue given up.
 * @old: its thread was abandoned; it stays as it is, for good.
 * The new one takes over where the old one was, the hanging request cancelled.
 * Context: device's main thread.
 * Return: 0 or -errno.
 */
int queue_replace(struct queue *old, struct queue **q);

/* Free a queue whose thread has ended. */
void queue_destroy(struct queue *q);

/* Leave @job, which is in flight, to the pool.  Context: the ring's thread. */
void queue_hand_over(struct queue *q, struct job *job);

/* A pool worker has finished @job. */
void queue_job_done(struct queue *q, struct job *job);

/* queue_apply.c: act upon what the slot says now.
 * Return: true when the thread may serve if live; false when the slot could
 * not be read: do nothing with the ring until it can. */
bool queue_refresh(struct queue *q);

/* Anything to act upon before the next request?  A guest that keeps its ring
 * full would hold off a stop for ever.  Three loads. */
static inline bool queue_is_stale(const struct queue *q)
{
    return vring_slot_changed(q->slot, q->seq) ||
           atomic_load_explicit(&q->dev->stopping, memory_order_relaxed) ||
           atomic_load_explicit(&q->dev->epoch, memory_order_acquire) !=
               q->epoch;
}

/* Statistics have one writer: no locked instruction is needed. */
static inline void queue_count(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/**
 * queue_ran_dry() - the ring is empty: how to wait for more?
 * queue_wait.c.  Either kicks are wanted from here on, or the coming
 * queue_sleep() ends by itself.
 * Return: true when there is more to do at once; false: queue_sleep() is next.
 */
bool queue_ran_dry(struct queue *q);

/**
 * queue_sleep() - sleep until there may be something to do.
 * @readable: the slot could be read.
 */
void queue_sleep(struct queue *q, bool readable);

/* One request less in flight: put back as answered, or what broke the ring. */
void queue_complete(struct queue *q, uint16_t head, int status,
                    uint32_t used_len);

/* One in flight, at @head, was given up: it is answered with EINTR later. */
void queue_cancel(struct queue *q, uint16_t head);

/* The guest broke the ring: -@reason says how. */
void queue_break(struct queue *q, int reason);

/* The queue in @q's place now, its done_lock taken. */
struct queue *queue_lock_heir(struct queue *q);

/* Wake the ring's thread. */
void queue_wake(struct queue *q);

/* Put finished jobs back on the ring, and answer what need wait no more. */
void queue_reap(struct queue *q);

/* Write the call fd when the driver wants to hear. */
void queue_notify(struct queue *q);
/* Write it in any case. */
void queue_call(struct queue *q);

#endif
