/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_SCHED_LOAD_H
#define VIRTIOFSD_TESTS_PROTOCOL_SCHED_LOAD_H

/*
 * A guest that keeps a ring busy from a thread of its own while the test
 * plays the front-end: several requests in flight, each completion looked
 * over and replaced by the next request, asleep on the call eventfd in
 * between.
 *
 * It is a strict guest.  It looks at the ring only when the call eventfd of
 * that moment tells it to (or when it has just been there), kicks only when
 * the device asks for it, and counts what it puts and what it gets.
 *
 * Context: load_*() from the test's main thread; the ring belongs to the
 * load's thread unless that is paused.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/protocol/vm.h"

#define LOAD_DEPTH 8
#define LOAD_BYTES 8192u /* of a READ */

enum load_want { LOAD_RUN, LOAD_PAUSE, LOAD_FINISH, LOAD_ABANDON };

struct load_slot {
    struct fm m;
    bool busy;
    struct fuse_read_in in;
};

/**
 * struct load
 * @lock:   guards all that both threads use: @want, @paused and the queue's
 *          eventfds.  The thread holds it while it touches them.
 * @front:  how many wait for @lock on the test's side; the load, which takes
 *          it again and again, lets them go first.
 * @nudge:  eventfd: look at @want, or at a new call eventfd.
 * @put, @back: requests made available, answered; the thread's while it runs.
 * @failed: a request or its notification was lost.
 */
struct load {
    struct vm *vm;
    struct guest_queue *q;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    atomic_int front;
    enum load_want want;
    bool paused, failed;
    int nudge;
    uint64_t node, fh;
    size_t each; /* bytes of guest memory a slot has */
    struct load_slot slot[LOAD_DEPTH];
    uint64_t put, back;
};

/* Make the file which @q's requests read, and open it.  The ring is live. */
bool load_open(struct load *l, struct vm *vm, struct guest_queue *q);
/* Begin, after load_open(). */
void load_start(struct load *l);
/* The guest stands still, with what is in flight in flight. */
void load_pause(struct load *l);
void load_resume(struct load *l);
/* Wait until @n more requests have been answered.  The load runs. */
bool load_progress(struct load *l, uint64_t n);
/* Ask for nothing more, wait for all that is in flight, end the thread, and
 * see that each was answered exactly once. */
bool load_finish(struct load *l);

/* End the thread whatever is in flight: nobody will answer any more. */
void load_abandon(struct load *l);

/* New eventfds for a ring in use: told to the back-end; the guest uses none
 * but the new one from then on. */
bool load_swap_call(struct load *l);
bool load_swap_kick(struct load *l);

/* ---- while it is paused ---- */

/* Take what has come. */
bool load_take(struct load *l);
/* Forget what is in flight, as after a device's reset. */
void load_forget(struct load *l);

/**
 * struct quiet - guest memory as it was when a ring became quiet.
 * quiet_begin() spoils every byte the device might still write, so that even
 * the same bytes once more are seen; quiet_end() compares.
 */
struct quiet {
    uint8_t *copy;
    size_t len;
    uint16_t used_idx;
};
void quiet_begin(struct quiet *s, struct load *l);
bool quiet_end(struct quiet *s, struct load *l);

#endif
