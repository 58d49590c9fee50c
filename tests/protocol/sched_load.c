/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/sched_load.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/protocol/sched_lib.h"

#define POISON 0x77

bool load_open(struct load *l, struct vm *vm, struct guest_queue *q)
{
    uint8_t data[LOAD_BYTES];
    struct fuse_entry_out e;
    struct fuse_open_out f;
    char name[32];

    l->vm = vm;
    l->q = q;
    snprintf(name, sizeof(name), "load-%u", q->idx);
    fill_pattern(data, sizeof(data), q->idx);
    host_write(vm, name, data, sizeof(data));
    if (!CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), 0, name) ||
        !CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, 0, &f), 0, name))
        return false;
    l->node = e.nodeid;
    l->fh = f.fh;
    return true;
}

/* ---- the guest's thread; l->lock is held but for the sleep ---- */

/* Every other one is such as a pool gets, when others are under way; of a file
 * that is not open, so that it takes no time. */
static bool is_pooled(unsigned int i)
{
    return i % 2;
}

static void ask_for(struct load *l, unsigned int i)
{
    static const struct fuse_fsync_in fsync_in = { .fh = UINT64_MAX };
    struct load_slot *s = &l->slot[i];

    if (is_pooled(i)) {
        fm_init(&s->m, FUSE_FSYNC, l->node);
        fm_add(&s->m, &fsync_in, sizeof(fsync_in));
        return;
    }
    fm_init(&s->m, FUSE_READ, l->node);
    s->in = (struct fuse_read_in){ .fh = l->fh, .size = LOAD_BYTES };
    fm_add(&s->m, &s->in, sizeof(s->in));
    s->m.room = LOAD_BYTES;
}

static bool put_one(struct load *l, unsigned int i)
{
    struct load_slot *s = &l->slot[i];
    int ret;

    ask_for(l, i);
    ret = fm_put(l->q, &s->m, l->each * i);
    if (!CHECK_EQ(ret, 0, "room on the ring"))
        return false;
    s->busy = true;
    l->put++;
    return true;
}

static bool take_one(struct load *l, uint16_t head, uint32_t used)
{
    static const char *const why = "a completion of what is in flight";
    unsigned int i = 0;
    struct fm *m;
    uint8_t *want;
    bool same;

    while (i < LOAD_DEPTH && !(l->slot[i].busy && l->slot[i].m.head == head))
        i++;
    if (!CHECK(i < LOAD_DEPTH, why))
        return false;
    m = &l->slot[i].m;
    l->slot[i].busy = false;
    l->back++;
    if (is_pooled(i))
        return CHECK_EQ(fm_reply(l->q, m, used), -EBADF, "FSYNC");
    if (!CHECK_EQ(fm_reply(l->q, m, used), 0, "READ") ||
        !CHECK_EQ(m->out_len, LOAD_BYTES, "READ"))
        return false;
    want = malloc(LOAD_BYTES);
    fill_pattern(want, LOAD_BYTES, l->q->idx);
    same = memcmp(m->out, want, LOAD_BYTES) == 0;
    free(want);
    return CHECK(same, "the file's bytes");
}

static unsigned int in_flight(const struct load *l)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < LOAD_DEPTH; i++)
        n += l->slot[i].busy;
    return n;
}

/* Take all there is.  Return: false after a failed CHECK. */
static bool take_all(struct load *l, bool *any)
{
    uint16_t head;
    uint32_t used;

    *any = false;
    while (guest_take(l->q, &head, &used)) {
        *any = true;
        if (!take_one(l, head, used))
            return false;
    }
    return true;
}

/* Sleep until called or nudged.  Only a call lets it look at the ring again.
 * Return: false when neither came. */
static bool sleep_for_a_call(struct load *l)
{
    for (;;) {
        struct pollfd p[2] = { { .fd = l->q->call_fd, .events = POLLIN },
                               { .fd = l->nudge, .events = POLLIN } };
        uint64_t n;
        int got;

        pthread_mutex_unlock(&l->lock);
        got = poll(p, 2, DEADLINE_MS);
        while (atomic_load(&l->front) > 0)
            sched_yield();
        pthread_mutex_lock(&l->lock);
        if (got <= 0)
            return false;
        if (p[1].revents)
            (void)!read(l->nudge, &n, sizeof(n));
        /* By now it may have been replaced by one of the same number. */
        if (p[0].revents && p[0].fd == l->q->call_fd &&
            read(l->q->call_fd, &n, sizeof(n)) == sizeof(n))
            return true;
        if (l->want == LOAD_PAUSE || l->want == LOAD_ABANDON)
            return true;
        if (l->want == LOAD_FINISH && in_flight(l) == 0)
            return true;
    }
}

static void stand_while_paused(struct load *l)
{
    while (l->want == LOAD_PAUSE) {
        l->paused = true;
        pthread_cond_broadcast(&l->cond);
        pthread_cond_wait(&l->cond, &l->lock);
    }
    l->paused = false;
}

/* One look at the ring.  Return: false to end. */
static bool turn(struct load *l)
{
    bool any, put = false;

    if (l->want == LOAD_ABANDON)
        return false;
    if (!take_all(l, &any))
        return false;
    for (unsigned int i = 0; i < LOAD_DEPTH && l->want == LOAD_RUN; i++) {
        if (l->slot[i].busy)
            continue;
        if (!put_one(l, i))
            return false;
        put = true;
    }
    if (put)
        guest_publish(l->q);
    if (any)
        pthread_cond_broadcast(&l->cond);
    if (l->want == LOAD_FINISH && in_flight(l) == 0)
        return false;
    ask_for_a_call(l->q);
    if (!take_all(l, &any))
        return false;
    if (any || sleep_for_a_call(l))
        return true;
    CHECK(__atomic_load_n(&l->q->used->idx, __ATOMIC_SEQ_CST) == l->q->used_idx,
          "no completion comes without its call");
    CHECK(false, "no request is lost");
    return false;
}

static void *run(void *arg)
{
    struct load *l = arg;

    pthread_mutex_lock(&l->lock);
    do {
        stand_while_paused(l);
    } while (turn(l));
    /* Ended without being asked, or with something still in flight. */
    if (l->want != LOAD_ABANDON && (l->want != LOAD_FINISH || in_flight(l) > 0))
        l->failed = true;
    pthread_cond_broadcast(&l->cond);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- the test's thread ---- */

static void lock_first(struct load *l)
{
    atomic_fetch_add(&l->front, 1);
    pthread_mutex_lock(&l->lock);
    atomic_fetch_sub(&l->front, 1);
}

static void nudge(struct load *l)
{
    uint64_t one = 1;

    (void)!write(l->nudge, &one, sizeof(one));
}

void load_start(struct load *l)
{
    struct fm m;

    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->cond, NULL);
    l->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->want = LOAD_RUN;
    fm_init(&m, FUSE_READ, l->node);
    fm_add(&m, &l->slot[0].in, sizeof(l->slot[0].in));
    m.room = LOAD_BYTES;
    l->each = fm_bytes(&m);
    CHECK(guest_queue_buf(l->q, l->each * LOAD_DEPTH), "room");
    pthread_create(&l->thread, NULL, run, l);
}

static void want(struct load *l, enum load_want w)
{
    lock_first(l);
    l->want = w;
    pthread_cond_broadcast(&l->cond);
    pthread_mutex_unlock(&l->lock);
    nudge(l);
}

void load_pause(struct load *l)
{
    want(l, LOAD_PAUSE);
    lock_first(l);
    while (!l->paused && !l->failed)
        pthread_cond_wait(&l->cond, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

void load_resume(struct load *l)
{
    want(l, LOAD_RUN);
}

bool load_progress(struct load *l, uint64_t n)
{
    bool well;
    uint64_t until;

    lock_first(l);
    until = l->back + n;
    while (l->back < until && !l->failed)
        pthread_cond_wait(&l->cond, &l->lock);
    well = !l->failed;
    pthread_mutex_unlock(&l->lock);
    return well;
}

static void join(struct load *l, enum load_want w)
{
    want(l, w);
    pthread_join(l->thread, NULL);
    close(l->nudge);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->cond);
}

void load_abandon(struct load *l)
{
    join(l, LOAD_ABANDON);
}

bool load_finish(struct load *l)
{
    join(l, LOAD_FINISH);
    return CHECK(!l->failed, "the load ended well") &&
           CHECK_EQ(l->back, l->put, "each was answered once") &&
           CHECK_EQ(__atomic_load_n(&l->q->used->idx, __ATOMIC_SEQ_CST),
                    l->q->avail_idx, "so says the used ring");
}

bool load_swap_call(struct load *l)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), old;
    bool well;

    lock_first(l);
    well = CHECK_EQ(fe_set_fd(&l->vm->fe, FE_SET_VRING_CALL, l->q->idx, fd), 0,
                    "SET_VRING_CALL");
    old = l->q->call_fd;
    l->q->call_fd = fd;
    pthread_mutex_unlock(&l->lock);
    /* It sleeps on the old one, and is not to look at the ring for that. */
    nudge(l);
    close(old);
    return well;
}

bool load_swap_kick(struct load *l)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), old;
    bool well;

    lock_first(l);
    old = l->q->kick_fd;
    l->q->kick_fd = fd;
    pthread_mutex_unlock(&l->lock);
    /* Kicks from here on are in the new one, before anyone knows it. */
    well = CHECK_EQ(fe_set_fd(&l->vm->fe, FE_SET_VRING_KICK, l->q->idx, fd), 0,
                    "SET_VRING_KICK");
    close(old);
    return well;
}

bool load_take(struct load *l)
{
    bool any;

    return take_all(l, &any);
}

void load_forget(struct load *l)
{
    for (unsigned int i = 0; i < LOAD_DEPTH; i++) {
        l->put -= l->slot[i].busy;
        l->slot[i].busy = false;
    }
}

static size_t used_bytes(const struct guest_queue *q)
{
    return sizeof(struct vring_used) +
           sizeof(struct vring_used_elem) * (size_t)q->size + 2;
}

void quiet_begin(struct quiet *s, struct load *l)
{
    struct guest_queue *q = l->q;
    uint8_t *buf = guest_queue_buf(q, q->buf_size);
    size_t used = used_bytes(q);

    for (unsigned int i = 0; i < LOAD_DEPTH; i++) {
        const struct fm *m = &l->slot[i].m;

        /* Requests that wait stay whole, with the room for their replies;
         * what is free is spoilt. */
        if (!l->slot[i].busy)
            memset(buf + l->each * i, POISON, l->each);
        else
            memset(guest_at(q->mem, m->out_gpa, sizeof(m->oh) + m->room),
                   POISON, sizeof(m->oh) + m->room);
    }
    s->used_idx = q->used->idx;
    s->len = q->buf_size + used;
    s->copy = malloc(s->len);
    memcpy(s->copy, buf, q->buf_size);
    memcpy(s->copy + q->buf_size, q->used, used);
}

bool quiet_end(struct quiet *s, struct load *l)
{
    struct guest_queue *q = l->q;
    const uint8_t *buf = guest_queue_buf(q, q->buf_size);
    bool same = memcmp(s->copy, buf, q->buf_size) == 0;
    bool used = memcmp(s->copy + q->buf_size, q->used, used_bytes(q)) == 0;

    free(s->copy);
    return CHECK(same, "nothing is written to a quiet ring's buffers") &&
           CHECK(used, "nor to the ring itself") &&
           CHECK_EQ(q->used->idx, s->used_idx, "nothing comes back");
}
