/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_LOCKWAIT_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_LOCKWAIT_H

/*
 * Threads that wait for locks, one for each that has to, so that the host's
 * kernel says whose turn it is.  They begin when first needed, stay for a
 * little while when done, and there are no more than PT_WAITS_MAX.
 *
 * A wait is ended by a signal.  It may come a moment before the thread is in
 * its system call, and be lost on it; so a thread of its own repeats it for
 * as long as one that was cancelled still waits.
 *
 * Locks: waits.lock, never held over a call that waits.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PT_WAITS_MAX 256
/* Who hangs longer in the host's file system is left behind. */
#define PT_WAITS_END_MS 5000
/* INTERRUPTs remembered that came before the request they name. */
#define PT_WAITS_EARLY 16

enum pt_wait_cancel {
    PT_WAIT_ON = 0,
    PT_WAIT_INTERRUPTED, /* unless it was granted this moment */
    PT_WAIT_GONE,        /* its file or its life is over: hold nothing */
};

/**
 * struct pt_wait - one wait.
 * @unique: of the guest's request, for INTERRUPT.
 * @fh:     of the guest's file, for RELEASE.
 * @block:  wait; -EINTR after a signal, upon which it is called again unless
 *          the wait was cancelled.  In the waiting thread.
 * @end:    the result, once; the wait is the callee's again.
 * The rest is lockwait.c's.
 */
struct pt_wait {
    uint64_t unique, fh;
    int (*block)(struct pt_wait *w);
    void (*end)(struct pt_wait *w, int ret);

    struct pt_wait *next;
    _Atomic int cancel; /* enum pt_wait_cancel; only ever grows */
    bool running;
    pthread_t thread;
};

/**
 * struct pt_waits
 * @all: every wait not yet at its end, the newest first; those not @running
 *       have no thread yet.
 * @n:   of them, and of those that @end is being called for.
 */
struct pt_waits {
    pthread_mutex_t lock;
    pthread_cond_t some;  /* a wait for an idle thread, or @stop */
    pthread_cond_t fewer; /* waits or threads */
    struct pt_wait *all;
    uint32_t n, idle, threads, unserved;
    bool stop, nagging;
    uint64_t early[PT_WAITS_EARLY];
    uint32_t next_early;
};

void pt_waits_init(struct pt_waits *s);

/**
 * pt_waits_start() - let a thread wait.
 * @w: the fields that are the caller's are set; lives until its @end.
 * Return: 0; -ENOLCK: too many wait; -EINTR: an INTERRUPT was here already;
 * -errno: no thread is to be had.  On failure @end is not called.
 */
int pt_waits_start(struct pt_waits *s, struct pt_wait *w);

/* INTERRUPT of the guest's. */
void pt_waits_interrupt(struct pt_waits *s, uint64_t unique);
/* RELEASE of the guest's. */
void pt_waits_release(struct pt_waits *s, uint64_t fh);

/**
 * pt_waits_end() - end them all.
 * Return: false when some hang for longer than PT_WAITS_END_MS; they end when
 * they can.
 */
bool pt_waits_end(struct pt_waits *s);

/* The threads too.  Return: as pt_waits_end(); then @s has to stay. */
bool pt_waits_fini(struct pt_waits *s);

uint32_t pt_waits_count(struct pt_waits *s);

#endif
