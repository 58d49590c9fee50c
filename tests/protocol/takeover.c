/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/protocol/hang_lib.h"

/* Rings whose threads get stuck in requests that no policy knows to be slow:
 * they go on with other threads. */

#define DEPTH 8

static uint64_t seed = 1;

static unsigned int pick(unsigned int n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned int)(seed >> 33) % n;
}

static void take_lookup(struct guest_queue *q, struct fm *m)
{
    uint16_t head;
    uint32_t used;

    if (CHECK_EQ(guest_wait(q, &head, &used), 0, "the LOOKUP comes back") &&
        CHECK_EQ(head, m->head, "itself"))
        CHECK_EQ(fm_reply(q, m, used), -ENOENT, "as it was answered");
}

static void a_slow_request_lets_others_of_its_queue_pass(void)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fm m;

    if (hang_begin(&s, &(struct vm_opts){ 0 })) {
        for (int i = 0; i < 5; i++) {
            hang_make_lookup(q, &m, "slow");
            /* Also when nothing was going on, and nobody was looking. */
            usleep(i % 2 ? 300000 : 0);
            hang_put(&s, q, &m);
            for (int k = 0; k < 10; k++)
                vm_alive(&s.vm, 1);
            hangfs_answer_slow(s.fs);
            take_lookup(q, &m);
        }
    }
    hang_end(&s);
}

/* One more than there are threads for: then the ring waits, and recovers. */
static void as_many_as_there_are_threads_may_be_stuck(void)
{
    static const char *const args[] = { "--thread-pool-size=3", NULL };
    static const char *const names[] = { "slow0", "slow1", "slow2", "slow3" };
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fm m[4];
    uint16_t head;
    uint32_t used;

    if (hang_begin(&s, &(struct vm_opts){ .d = { .args = args } })) {
        for (int i = 0; i < 4; i++)
            hang_make_lookup(q, &m[i], names[i]);
        hang_put_each(&s, q, m, 4);
        vm_alive(&s.vm, 2);
        CHECK(!guest_take(q, &head, &used), "none is answered");
        hangfs_answer_slow(s.fs);
        for (int i = 0; i < 4; i++)
            CHECK_EQ(guest_wait(q, &head, &used), 0, "all are");
        CHECK(!guest_take(q, &head, &used), "and no more");
        vm_alive(&s.vm, 1);
    }
    hang_end(&s);
}

/* A thread that was taken hangs for good; it is given up as one of the pool. */
static void a_ring_stops_although_a_taken_thread_hangs(void)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fuse_read_in in;
    struct fm m;
    uint16_t head;
    uint32_t base = 0, used;

    if (hang_begin(&s, &(struct vm_opts){ 0 })) {
        hang_make_read(q, &m, &in);
        hang_put(&s, q, &m);
        vm_alive(&s.vm, 1);
        CHECK_EQ(fe_get_base(&s.vm.fe, q->idx, &base), 0, "the ring stops");
        CHECK_EQ(base, q->avail_idx, "with nothing left on it");
        if (CHECK(guest_take(q, &head, &used), "it was answered before"))
            CHECK_EQ(fm_reply(q, &m, used), -EINTR, "as interrupted");
        guest_queue_reset(q, 0);
        CHECK_EQ(fe_ring_start(&s.vm.fe, q, 0), 0, "");
        CHECK_EQ(fe_ring_enable(&s.vm.fe, q, true), 0, "");
        vm_alive(&s.vm, 1);
    }
    hang_end(&s);
}

/* ---- around the tick ---- */

struct slot {
    struct fm m;
    bool busy;
    int want;
};

static void put_any(struct guest_queue *q, struct slot *s, size_t at,
                    uint64_t dir)
{
    static const struct fuse_getattr_in getattr;
    static const struct fuse_fsync_in fsync_in = { .fh = UINT64_MAX };
    char name[24];

    switch (pick(4)) {
    case 0:
        snprintf(name, sizeof(name), "nap-%u-%u", pick(6000), pick(100000));
        fm_init(&s->m, FUSE_LOOKUP, dir);
        fm_add_name(&s->m, name);
        s->want = -ENOENT;
        break;
    case 1:
        fm_init(&s->m, FUSE_FSYNC, dir);
        fm_add(&s->m, &fsync_in, sizeof(fsync_in));
        s->want = -EBADF;
        break;
    default:
        fm_init(&s->m, FUSE_GETATTR, FC_ROOT);
        fm_add(&s->m, &getattr, sizeof(getattr));
        s->want = 0;
        break;
    }
    s->m.room = 4096;
    s->busy = CHECK_EQ(fm_put(q, &s->m, HANG_SLOT + at), 0, "room");
}

static bool take_any(struct guest_queue *q, struct slot *s)
{
    uint16_t head;
    uint32_t used;
    int i = 0;

    if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "no request is lost"))
        return false;
    while (i < DEPTH && !(s[i].busy && s[i].m.head == head))
        i++;
    if (!CHECK(i < DEPTH, "none is answered twice"))
        return false;
    s[i].busy = false;
    return CHECK_EQ(fm_reply(q, &s[i].m, used), s[i].want, "its answer");
}

/* Stop it with whatever is in flight, which comes back before. */
static bool stop_and_start(struct scene *s, struct guest_queue *q,
                           struct slot *slots)
{
    uint32_t base = 0;

    if (!CHECK_EQ(fe_get_base(&s->vm.fe, q->idx, &base), 0, "stop"))
        return false;
    while (q->used_idx != (uint16_t)base) {
        if (!take_any(q, slots))
            return false;
    }
    /* What was not taken off yet is put once more. */
    for (int i = 0; i < DEPTH; i++)
        slots[i].busy = false;
    guest_queue_reset(q, 0);
    return CHECK_EQ(fe_ring_start(&s->vm.fe, q, 0), 0, "start");
}

static void each_is_answered_once_however_long_it_takes(void)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct slot slots[DEPTH] = { 0 };
    struct fuse_entry_out e;
    int taken = 0;

    seed = (uint64_t)now_ns();
    tap_diag("seed %llu", (unsigned long long)seed);
    if (!hang_begin(&s, &(struct vm_opts){ 0 }))
        goto out;
    CHECK_EQ(fc_lookup(q, FC_ROOT, "hang", &e), 0, "");
    CHECK(guest_queue_buf(q, HANG_SLOT + DEPTH * 32768) != NULL, "");
    for (int i = 0; i < 4000 && !tap_failing(); i++) {
        for (unsigned int k = 0; k < DEPTH; k++) {
            if (!slots[k].busy)
                put_any(q, &slots[k], (size_t)k * 32768, e.nodeid);
        }
        guest_publish(q);
        if (!take_any(q, slots))
            break;
        taken++;
        if (pick(200) == 0 && !stop_and_start(&s, q, slots))
            break;
    }
    CHECK_EQ(taken, 4000, "all of them");
out:
    hang_end(&s);
}

TAP_MAIN(TEST(a_slow_request_lets_others_of_its_queue_pass),
         TEST(as_many_as_there_are_threads_may_be_stuck),
         TEST(a_ring_stops_although_a_taken_thread_hangs),
         TEST(each_is_answered_once_however_long_it_takes))
