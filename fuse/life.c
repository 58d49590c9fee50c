/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/life.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuse/extra.h"
#include "virtiofsd/base/log.h"

/* Header and arguments of an INIT as libfuse gets to see it. */
#define INIT_BYTES (sizeof(struct fuse_in_header) + sizeof(struct fuse_init_in))

/* struct life, @closed: something is to be done on entering. */
#define GATE_CLOSED 1u
#define GATE_RESTS  2u /* see life_rest() */

/**
 * struct life
 * @closed:   GATE_*; that it is closed is written under @lock.
 * @lock:     held as long as the gate is closed.
 * @begun:    an INIT was accepted; @init holds it for the sessions to come,
 *            @agreed the flags of its answer.
 * @session:  one a ring; changed with the gate closed, read inside it.
 * @in_use:   rings with a thread.
 * @hung:     rings on whose session an abandoned thread still is; set before
 *            the thread is marked, read with the gate closed.
 */
struct life {
    _Alignas(128) _Atomic uint32_t closed;
    _Alignas(128) pthread_mutex_t lock;
    void (*wake)(void *arg);
    void *wake_arg;
    struct life_pass *passes;
    struct pt_fs *fs;
    bool begun;
    uint64_t agreed;
    uint8_t init[INIT_BYTES];
    bool in_use[VRING_MAX];
    struct fuse_session *session[VRING_MAX];
    _Atomic bool hung[VRING_MAX];
};

struct life *life_create(struct pt_fs *fs)
{
    struct life *l = aligned_alloc(128, sizeof(*l));

    if (!l)
        return NULL;
    memset(l, 0, sizeof(*l));
    pthread_mutex_init(&l->lock, NULL);
    l->fs = fs;
    return l;
}

struct pt_fs *life_fs(const struct life *l)
{
    return l->fs;
}

static void drop_sessions(struct life *l)
{
    for (size_t i = 0; i < ARRAY_SIZE(l->session); i++) {
        /* A thread that hangs in it will come back to it, if ever. */
        if (!atomic_exchange(&l->hung[i], false))
            session_destroy(l->session[i]);
        l->session[i] = NULL;
    }
}

void life_destroy(struct life *l)
{
    if (!l)
        return;
    drop_sessions(l);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void life_register(struct life *l, struct life_pass *pass)
{
    atomic_init(&pass->place, LIFE_OUTSIDE);
    pthread_mutex_lock(&l->lock);
    pass->next = l->passes;
    l->passes = pass;
    pthread_mutex_unlock(&l->lock);
}

void life_use_ring(struct life *l, uint32_t ring)
{
    pthread_mutex_lock(&l->lock);
    l->in_use[ring] = true;
    pthread_mutex_unlock(&l->lock);
}

static bool is_inside(const struct life_pass *p)
{
    uint32_t place = atomic_load_explicit(&p->place, memory_order_seq_cst);

    return place == LIFE_INSIDE || place == LIFE_TAKEN;
}

/*
 * Close the gate and wait until nobody is inside.  Requests do not signal
 * that they left, so that leaving costs them nothing; this waits by looking,
 * which is fit for what happens once in a guest's boot.
 */
static void gate_close(struct life *l)
{
    pthread_mutex_lock(&l->lock);
    /* seq_cst: pairs with life_enter(); either we see its mark or it sees
     * ours. */
    atomic_fetch_or_explicit(&l->closed, GATE_CLOSED, memory_order_seq_cst);
    for (struct life_pass *p = l->passes; p; p = p->next) {
        struct timespec nap = { .tv_nsec = 20000 };

        while (is_inside(p)) {
            nanosleep(&nap, NULL);
            if (nap.tv_nsec < 1000000)
                nap.tv_nsec *= 2;
        }
    }
}

static void gate_open(struct life *l)
{
    atomic_fetch_and_explicit(&l->closed, ~GATE_CLOSED, memory_order_seq_cst);
    pthread_mutex_unlock(&l->lock);
}

/*
 * Open a session for @ring and tell it the life's INIT; its answer goes
 * nowhere, the guest has had one.  The gate is closed.
 */
static void join_ring(struct life *l, struct request *r, uint32_t ring)
{
    struct fuse_session *se;
    int ret = session_create(l->fs, &se);

    if (ret < 0) {
        log_limited(LOG_LEVEL_ERROR, "fuse: ring %u: no session: %s", ring,
                    strerror(-ret));
        return;
    }
    memcpy(r->arg, l->init, INIT_BYTES);
    r->arg_len = INIT_BYTES;
    r->discard = true;
    r->replied = false;
    session_process(se, r);
    l->session[ring] = se;
}

/* A ring that came into use after the INIT.  Its thread has no request yet to
 * borrow, so it brings one along. */
static void join_late(struct life *l, uint32_t ring)
{
    struct request r;

    if (request_init(&r) < 0) {
        log_limited(LOG_LEVEL_ERROR, "fuse: ring %u: out of memory", ring);
        return;
    }
    gate_close(l);
    if (l->begun && !l->session[ring])
        join_ring(l, &r, ring);
    gate_open(l);
    request_fini(&r);
}

bool life_leave(struct life_pass *pass)
{
    uint32_t was = LIFE_INSIDE;

    /* Release: what the request did comes before the next life. */
    if (likely(atomic_compare_exchange_strong_explicit(
            &pass->place, &was, LIFE_OUTSIDE, memory_order_release,
            memory_order_relaxed)))
        return true;
    if (was != LIFE_TAKEN)
        return false;
    pass->taken = true;
    return atomic_compare_exchange_strong_explicit(
        &pass->place, &was, LIFE_OUTSIDE, memory_order_release,
        memory_order_relaxed);
}

bool life_take(struct life_pass *pass)
{
    uint32_t was = LIFE_INSIDE;

    /* Acquire: pairs with life_enter(). */
    return atomic_compare_exchange_strong_explicit(
        &pass->place, &was, LIFE_TAKEN, memory_order_acq_rel,
        memory_order_relaxed);
}

void life_watch(struct life *l, void (*wake)(void *arg), void *arg)
{
    l->wake = wake;
    l->wake_arg = arg;
}

void life_rest(struct life *l)
{
    /* seq_cst: as gate_close(): whoever is not seen inside sees this. */
    atomic_fetch_or_explicit(&l->closed, GATE_RESTS, memory_order_seq_cst);
}

void life_rest_over(struct life *l)
{
    atomic_fetch_and_explicit(&l->closed, ~GATE_RESTS, memory_order_relaxed);
}

bool life_rests(const struct life *l)
{
    return atomic_load_explicit(&l->closed, memory_order_relaxed) & GATE_RESTS;
}

/* Inside the gate.  Return: it is open. */
static bool look_again(struct life *l)
{
    uint32_t was = atomic_fetch_and_explicit(&l->closed, ~GATE_RESTS,
                                             memory_order_seq_cst);

    if (was & GATE_RESTS)
        l->wake(l->wake_arg);
    return !(was & GATE_CLOSED);
}

static inline void announce(struct life_pass *pass, uint32_t ring)
{
    atomic_store_explicit(&pass->ring, ring, memory_order_relaxed);
    atomic_store_explicit(
        &pass->count,
        atomic_load_explicit(&pass->count, memory_order_relaxed) + 1,
        memory_order_relaxed);
    atomic_store_explicit(&pass->place, LIFE_INSIDE, memory_order_seq_cst);
}

/* Announced already; the gate was closed, or the ring has no session. */
static __attribute__((noinline)) struct fuse_session *
enter_slowly(struct life *l, struct life_pass *pass, uint32_t ring,
             uint64_t *agreed)
{
    for (bool joined = false;; announce(pass, ring)) {
        if (look_again(l)) {
            struct fuse_session *se = l->session[ring];
            bool begun = l->begun;

            *agreed = l->agreed;
            if (se)
                return se;
            if (!life_leave(pass) || !begun || joined)
                return NULL;
            join_late(l, ring);
            joined = true;
        } else {
            if (!life_leave(pass))
                return NULL;
            /* Whoever closed the gate holds the lock until it is open again. */
            pthread_mutex_lock(&l->lock);
            pthread_mutex_unlock(&l->lock);
        }
    }
}

struct fuse_session *life_enter(struct life *l, struct life_pass *pass,
                                uint32_t ring, uint64_t *agreed)
{
    announce(pass, ring);
    if (likely(!atomic_load_explicit(&l->closed, memory_order_seq_cst) &&
               l->session[ring])) {
        *agreed = l->agreed;
        return l->session[ring];
    }
    return enter_slowly(l, pass, ring, agreed);
}

bool life_abandon(struct life *l, struct life_pass *pass)
{
    uint32_t ring = atomic_load_explicit(&pass->ring, memory_order_relaxed);
    uint32_t was = LIFE_INSIDE, taken = LIFE_TAKEN;

    /* First, so that whoever passes the gate after the mark knows of it.
     * Should the thread have left, a session is kept for nothing. */
    atomic_store(&l->hung[ring], true);
    return atomic_compare_exchange_strong(&pass->place, &was, LIFE_ABANDONED) ||
           atomic_compare_exchange_strong(&pass->place, &taken, LIFE_ABANDONED);
}

/* The gate is closed. */
static void end_locked(struct life *l)
{
    l->begun = false;
    l->agreed = 0;
    pt_set_agreed(l->fs, 0);
    drop_sessions(l);
    pt_fs_reset(l->fs);
}

void life_end(struct life *l)
{
    gate_close(l);
    end_locked(l);
    gate_open(l);
}

/* The gate is closed; the old life is over. */
static void begin_locked(struct life *l, struct request *r, uint32_t ring)
{
    struct fuse_init_in in;
    struct fuse_session *se;
    int ret = 0;

    memcpy(&in, r->arg + sizeof(struct fuse_in_header), sizeof(in));
    if (in.major == FUSE_KERNEL_VERSION)
        ret = pt_check_offer(l->fs, extra_offered(r));
    if (ret == 0) {
        ret = session_create(l->fs, &se);
        if (ret < 0)
            log_err("fuse: INIT: no session: %s", strerror(-ret));
    }
    if (ret < 0) {
        request_send_error(r, -ret);
        return;
    }
    r->agree = pt_agree(l->fs, extra_offered(r));
    extra_mask_init(r);
    memcpy(l->init, r->arg, INIT_BYTES);
    session_process(se, r);
    /* After a newer major than ours the guest says INIT once more. */
    if (!r->replied || r->error != 0 || in.major != FUSE_KERNEL_VERSION) {
        session_destroy(se);
        return;
    }
    l->session[ring] = se;
    l->agreed = r->agreed;
    pt_set_agreed(l->fs, r->agreed);
    l->begun = true;
    log_info("fuse: INIT: the guest speaks FUSE %u.%u", in.major, in.minor);
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        if (l->in_use[i] && i != ring)
            join_ring(l, r, i);
    }
}

void life_begin(struct life *l, struct request *r, uint32_t ring)
{
    int ret = extra_check_init(r);

    if (ret < 0) {
        request_send_error(r, -ret);
        return;
    }
    gate_close(l);
    end_locked(l);
    begin_locked(l, r, ring);
    gate_open(l);
}
