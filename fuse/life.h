/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_LIFE_H
#define VIRTIOFSD_FUSE_LIFE_H

/*
 * A FUSE life: from one INIT to DESTROY, to a device reset or to the next
 * INIT (a guest that reboots says no farewell).  A new life finds no node, no
 * handle and no session of the one before.
 *
 * The gate: a request runs between life_enter() and life_leave().  Whoever
 * changes lives closes the gate and waits until nothing runs.  Passing it
 * costs a store and a load of words which no other ring writes to.
 *
 * Lock order: the life's lock is the only one, and nobody inside the gate
 * takes it.
 */

#include <stdatomic.h>

#include "fuse/session.h"
#include "vhost/vring_shared.h"

struct life;

enum life_place {
    LIFE_OUTSIDE,
    LIFE_INSIDE,
    LIFE_TAKEN,     /* inside, and without its ring: see life_take() */
    LIFE_ABANDONED, /* see life_abandon(); never left again */
};

/**
 * struct life_pass - an executing thread's place at the gate.
 * One a thread, registered once, never freed while the life exists.
 * @place: enum life_place; the owner enters and leaves, takeover.c takes,
 *         rescue.c abandons.
 * @count: requests begun, by the owner: who stands still can be told.
 * @ring:  of the request inside.
 * @sample: a @count of before; rescue.c only.
 * @taken: found so on leaving; the owner only, who clears it.
 */
struct life_pass {
    _Alignas(128) _Atomic uint32_t place;
    _Atomic uint32_t ring;
    _Atomic uint64_t count;
    uint64_t sample;
    bool taken;
    struct life_pass *next;
};

/**
 * life_create()
 * @fs:   borrowed.
 * Return: the life, without a guest yet; NULL without memory.
 */
struct life *life_create(struct pt_fs *fs);
/* The file system which it serves. */
struct pt_fs *life_fs(const struct life *l);
/* Context: no executing thread is left. */
void life_destroy(struct life *l);

/* Context: before the thread's first request. */
void life_register(struct life *l, struct life_pass *pass);
/* The ring is in use: an INIT on another ring opens a session for it too. */
void life_use_ring(struct life *l, uint32_t ring);

/**
 * life_enter() - pass the gate with a request for @ring.
 * @agreed: out, INIT flags of this life.
 * Waits while lives change.
 * Return: the ring's session, inside the gate until life_leave(); NULL when
 * the guest has not said INIT (then outside), or when the thread was
 * abandoned while it came in (life_is_abandoned()).
 */
struct fuse_session *life_enter(struct life *l, struct life_pass *pass,
                                uint32_t ring, uint64_t *agreed);
/**
 * life_leave()
 * Return: false when the thread was abandoned meanwhile: its ring, its request
 * and all it holds belong to others now, and it has to end.
 */
bool life_leave(struct life_pass *pass);

static inline bool life_is_abandoned(const struct life_pass *pass)
{
    return atomic_load_explicit(&pass->place, memory_order_relaxed) ==
           LIFE_ABANDONED;
}

/**
 * life_take() - tell a thread inside the gate that its ring is another's now.
 * It learns of it when it leaves: @pass->taken.  All that it did before it
 * entered can be seen afterwards.
 * Context: any thread but that one.
 * Return: false when it is not inside any more.
 */
bool life_take(struct life_pass *pass);

/**
 * life_watch() - have @wake called when somebody enters the gate.
 * life_rest() asks for it, once; the call comes from the thread that enters.
 * life_rests(): no call has been due yet.
 * Entering is otherwise not slower for it.
 * Context: life_watch(): before the first request.  All others: one thread.
 */
void life_watch(struct life *l, void (*wake)(void *arg), void *arg);
void life_rest(struct life *l);
void life_rest_over(struct life *l);
bool life_rests(const struct life *l);

/**
 * life_abandon() - give up a thread that hangs inside the gate.
 * The gate no longer waits for it; its session is never freed.
 * Context: any thread but the one given up.
 * Return: false when it has left in time after all.
 */
bool life_abandon(struct life *l, struct life_pass *pass);

/**
 * life_begin() - serve an INIT: end the old life and begin a new one.
 * @r: valid; answered when this returns.
 * Context: an executing thread, outside the gate.
 */
void life_begin(struct life *l, struct request *r, uint32_t ring);

/* End the life: DESTROY, device reset.  Context: outside the gate. */
void life_end(struct life *l);

#endif
