/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/later.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/queue.h"
#include "fuse/request_i.h"
#include "virtiofsd/base/log.h"

#define LATER_ADOPTED 1u
#define LATER_DONE    2u

/**
 * struct request_later - one request that is answered later.
 * @state: LATER_*; whoever brings the second of the two puts it on the list.
 * @err:   set before LATER_DONE.
 * @descs: of the ring's table, taken up by its chain; in @counted.
 * @epoch: queue.later.epoch when it was adopted: another means the ring was
 *         started anew and knows nothing of it.
 */
struct request_later {
    struct request_later *next;
    struct queue *q;
    struct waiting *counted;
    uint64_t unique;
    uint32_t opcode, descs, epoch;
    uint16_t head;
    int err;
    _Atomic uint32_t state;
};

struct request_later *request_detach(struct request *r)
{
    struct waiting *w = r->waiting;
    struct request_later *l;

    if (!w || r->later)
        return NULL;
    l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->descs = r->chain.n_descs;
    if (atomic_fetch_add_explicit(&w->used, l->descs, memory_order_relaxed) +
            l->descs >
        w->room) {
        atomic_fetch_sub_explicit(&w->used, l->descs, memory_order_relaxed);
        free(l);
        return NULL;
    }
    l->counted = w;
    l->unique = r->hdr.unique;
    l->opcode = r->hdr.opcode;
    r->later = l;
    return l;
}

void request_undetach(struct request *r, struct request_later *l)
{
    atomic_fetch_sub_explicit(&r->waiting->used, l->descs,
                              memory_order_relaxed);
    r->later = NULL;
    free(l);
}

/* On the list, and on the thread's mind.  Model (tests/model/kick.pml):
 * grant. */
static void post(struct queue *q, struct request_later *l)
{
    bool first;

    q = queue_lock_heir(q);
    first = !q->later.done;
    l->next = q->later.done;
    q->later.done = l;
    pthread_mutex_unlock(&q->done_lock);
    if (first)
        queue_wake(q);
}

void request_later_done(struct request_later *l, int err)
{
    l->err = err;
    /* Both: @q and @head before ADOPTED, @err before DONE. */
    if (atomic_fetch_or_explicit(&l->state, LATER_DONE, memory_order_acq_rel) &
        LATER_ADOPTED)
        post(l->q, l);
}

static void make_ready(struct queue *q, struct request_later *l)
{
    l->next = q->later.ready;
    q->later.ready = l;
}

void later_adopt(struct queue *q, uint16_t head, struct request_later *l)
{
    /* Taken in when another queue had the ring. */
    if (unlikely(l->counted != &q->waiting))
        atomic_fetch_add_explicit(&q->waiting.used, l->descs,
                                  memory_order_relaxed);
    l->q = q;
    l->head = head;
    l->epoch = q->later.epoch;
    q->later.n++;
    q->later.n_valid++;
    if (atomic_fetch_or_explicit(&l->state, LATER_ADOPTED,
                                 memory_order_acq_rel) &
        LATER_DONE)
        make_ready(q, l);
}

static void take_done(struct queue *q)
{
    struct request_later *l;

    pthread_mutex_lock(&q->done_lock);
    l = q->later.done;
    q->later.done = NULL;
    pthread_mutex_unlock(&q->done_lock);
    while (l) {
        struct request_later *next = l->next;

        make_ready(q, l);
        l = next;
    }
}

static void answer(struct queue *q, const struct request_later *l)
{
    struct fuse_in_header hdr = { .unique = l->unique, .opcode = l->opcode };
    uint32_t used_len = 0;
    int ret =
        serve_later(&q->w->exec, &q->ring, l->head, &hdr, l->err, &used_len);

    q->later.n_valid--;
    atomic_fetch_sub_explicit(&q->waiting.used, l->descs, memory_order_relaxed);
    if (ret < 0)
        queue_break(q, ret);
    else
        vring_push(&q->ring, l->head, used_len);
}

/* Model (tests/model/kick.pml): reap. */
void later_reap(struct queue *q)
{
    struct request_later *keep = NULL;
    bool any = false;

    if (q->later.n == 0)
        return;
    take_done(q);
    while (q->later.ready) {
        struct request_later *l = q->later.ready;
        bool valid = l->epoch == q->later.epoch;

        q->later.ready = l->next;
        if (valid && !q->live) {
            l->next = keep;
            keep = l;
            continue;
        }
        if (valid)
            answer(q, l);
        any |= valid;
        q->later.n--;
        free(l);
    }
    q->later.ready = keep;
    if (any && q->live)
        queue_notify(q);
}

void later_started(struct queue *q, uint16_t was)
{
    uint16_t owed = (uint16_t)(q->ring.last_avail - q->ring.used_idx);

    q->waiting.room = q->ring.size / 2;
    if (q->later.n_valid == 0 ||
        (q->ring.last_avail == was && owed == q->later.n_valid))
        return;
    log_info(
        "fuse: ring %u: begins anew; %u requests that waited are forgotten",
        q->idx, q->later.n_valid);
    q->later.epoch++;
    q->later.n_valid = 0;
    atomic_store_explicit(&q->waiting.used, 0, memory_order_relaxed);
}

void later_inherit(struct queue *q, struct queue *old)
{
    q->waiting.room = old->waiting.room;
    atomic_init(&q->waiting.used, atomic_load(&old->waiting.used));
    q->later = old->later;
    old->later.ready = NULL;
    old->later.done = NULL;
}

static void free_list(struct request_later *l)
{
    while (l) {
        struct request_later *next = l->next;

        free(l);
        l = next;
    }
}

void later_free(struct queue *q)
{
    free_list(q->later.ready);
    free_list(q->later.done);
}
