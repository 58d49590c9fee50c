/* SPDX-License-Identifier: BSD-3-Clause */
#include <sched.h>

#include "tests/protocol/locks_lib.h"
#include "tests/protocol/sched_lib.h"

/*
 * FORGETs in a stream are served without a kick for each: the ring's thread
 * naps with the ring unarmed.  What comes meanwhile must not be lost, and when
 * the stream has ended a kick must count again.
 */

#define NO_EVENT_IDX (VM_RING_FEATURES & ~BIT64(FE_F_EVENT_IDX))
#define SLOTS        16
#define SLOT_BYTES   (2 * GUEST_PAGE) /* of fm_bytes() */

struct stream {
    struct guest_queue *q;
    uint64_t sent, kicked;
    int64_t until;
};

static bool stream_begin(struct stream *s, struct guest_queue *q)
{
    *s = (struct stream){ .q = q,
                          .until = now_ns() + (int64_t)DEADLINE_MS * 1000000 };
    return CHECK(guest_queue_buf(q, SLOTS * SLOT_BYTES), "room for requests");
}

/* Take what has come back; wait for it while more than @left are out. */
static bool take_down_to(struct guest_queue *q, uint16_t left)
{
    uint16_t head;
    uint32_t len;

    while ((uint16_t)(q->avail_idx - q->used_idx) > left) {
        if (!CHECK_EQ(guest_spin(q, &head, &len), 0, "it comes back"))
            return false;
    }
    return true;
}

/* One more, told of as a driver does.  Return: it was not to be kicked. */
static bool forget_one(struct stream *s)
{
    struct fuse_forget_in in = { .nlookup = 1 };
    uint64_t before = s->q->kicks;
    struct fm m;

    fm_init(&m, FUSE_FORGET, 4711); /* no such node: nothing else to do */
    fm_add(&m, &in, sizeof(in));
    m.no_reply = true;
    CHECK(fm_bytes(&m) <= SLOT_BYTES, "one does not reach into the next");
    take_down_to(s->q, SLOTS - 2);
    CHECK_EQ(fm_put(s->q, &m, s->sent % SLOTS * SLOT_BYTES), 0, "it fits");
    guest_publish(s->q);
    s->sent++;
    s->kicked += s->q->kicks - before;
    return s->q->kicks == before;
}

/* Go on until @n have not wanted a kick. */
static bool stream_on(struct stream *s, uint64_t n)
{
    n += s->sent - s->kicked;
    while (s->sent - s->kicked < n && !tap_failing()) {
        forget_one(s);
        if (!CHECK(now_ns() < s->until, "kicks are spared"))
            return false;
    }
    return !tap_failing();
}

/* Would the next request be kicked? */
static bool wants_kick(const struct guest_queue *q)
{
    const uint16_t *event = (const uint16_t *)&q->used->ring[q->size];

    if (!q->event_idx)
        return !(__atomic_load_n(&q->used->flags, __ATOMIC_SEQ_CST) &
                 VRING_USED_F_NO_NOTIFY);
    return __atomic_load_n(event, __ATOMIC_SEQ_CST) == q->avail_idx;
}

static bool comes_to_rest(struct guest_queue *q)
{
    int64_t until = now_ns() + (int64_t)DEADLINE_MS * 1000000;

    while (!wants_kick(q)) {
        if (!CHECK(now_ns() < until, "a ring without a stream wants kicks"))
            return false;
        sched_yield();
    }
    return true;
}

static void streams_with(uint64_t features)
{
    struct vm_opts o = { .features = features };
    struct stream s;
    struct vm vm;

    if (vm_start_fuse(&vm, &o) && stream_begin(&s, &vm.q[VM_HIPRIO])) {
        for (int i = 0; i < 20 && stream_on(&s, 50); i++) {
            take_down_to(s.q, 0);
            comes_to_rest(s.q);
            forget_one(&s);
            take_down_to(s.q, 0);
        }
        vm_alive(&vm, VM_REQ);
    }
    vm_end(&vm);
}

static void a_stream_spares_kicks_and_loses_nothing(void)
{
    streams_with(VM_RING_FEATURES);
}

static void so_it_does_where_kicks_are_suppressed_by_flag(void)
{
    streams_with(NO_EVENT_IDX);
}

/* Each is sent to a thread that sleeps: what is not kicked then has met a nap,
 * not a thread at work. */
static void a_thread_that_naps_is_not_kicked(void)
{
    struct stream s;
    struct vm vm;

    if (vm_start_fuse(&vm, NULL) && stream_begin(&s, &vm.q[VM_HIPRIO])) {
        pid_t pid = role_pid(&vm, ROLE_REQUEST);
        pid_t tid = role_thread(pid, "vring0");

        while (s.sent - s.kicked < 5 && !tap_failing()) {
            if (!role_wait_asleep(pid, tid))
                break;
            forget_one(&s);
            take_down_to(s.q, 0);
            CHECK(now_ns() < s.until, "it naps");
        }
    }
    vm_end(&vm);
}

static void a_small_ring_in_a_stream_is_never_stuck(void)
{
    struct vm_opts o = { .size = 4 };
    struct stream s;
    struct vm vm;

    if (vm_start_fuse(&vm, &o) && stream_begin(&s, &vm.q[VM_HIPRIO])) {
        for (int i = 0; i < 2000 && !tap_failing(); i++) {
            take_down_to(s.q, 1);
            forget_one(&s);
        }
        take_down_to(s.q, 0);
        comes_to_rest(s.q);
    }
    vm_end(&vm);
}

/* Stopped wherever it is in a stream, and started again. */
static void a_stop_in_a_stream_is_answered_and_loses_nothing(void)
{
    struct stream s;
    struct vm vm;

    if (vm_start_fuse(&vm, NULL) && stream_begin(&s, &vm.q[VM_HIPRIO])) {
        for (int i = 0; i < 50 && stream_on(&s, 1); i++) {
            uint32_t base = 0;

            CHECK_EQ(fe_ring_stop(&vm.fe, s.q, &base), 0, "it stops");
            CHECK_EQ(__atomic_load_n(&s.q->used->idx, __ATOMIC_SEQ_CST),
                     (uint16_t)base, "nothing is in flight");
            CHECK_EQ(fe_ring_start(&vm.fe, s.q, base), 0, "");
            CHECK_EQ(fe_ring_enable(&vm.fe, s.q, true), 0, "");
            take_down_to(s.q, 0);
        }
    }
    vm_end(&vm);
}

/* INTERRUPT has the same queue, and its sender waits for the effect. */
static void an_interrupt_in_a_stream_needs_no_kick(void)
{
    const uint64_t holder = 1, waiter = 2;
    struct lk_file held, wanted;
    struct stream s;
    struct lk_wait w;
    struct vm vm;

    if (!vm_start_fuse(&vm, &lk_on) || !lk_slots(&vm.q[VM_REQ], 2) ||
        !stream_begin(&s, &vm.q[VM_HIPRIO]) ||
        !lk_create(&vm.q[VM_REQ], "f", &held) ||
        !lk_open(&vm.q[VM_REQ], "f", O_RDWR, &wanted))
        goto out;
    CHECK_EQ(lk_set(&vm.q[VM_REQ], &held, holder, F_WRLCK, 0, LK_END), 0, "");
    for (int i = 0; i < 20 && !tap_failing(); i++) {
        struct fuse_interrupt_in in;
        struct fm m;

        lk_wait_put(&w, &vm.q[VM_REQ], 1, &wanted, waiter, F_WRLCK, 0);
        lk_blocked(&vm, "f", 1);
        in.unique = w.m.h.unique;
        fm_init(&m, FUSE_INTERRUPT, 0);
        fm_add(&m, &in, sizeof(in));
        m.no_reply = true;
        stream_on(&s, 1);
        take_down_to(s.q, SLOTS - 2);
        CHECK_EQ(fm_put(s.q, &m, s.sent++ % SLOTS * SLOT_BYTES), 0, "");
        guest_publish(s.q);
        CHECK_EQ(lk_wait_take(&w), -EINTR, "it is interrupted");
        take_down_to(s.q, 0);
    }
out:
    vm_end(&vm);
}

TAP_MAIN(TEST(a_stream_spares_kicks_and_loses_nothing),
         TEST(so_it_does_where_kicks_are_suppressed_by_flag),
         TEST(a_thread_that_naps_is_not_kicked),
         TEST(a_small_ring_in_a_stream_is_never_stuck),
         TEST(a_stop_in_a_stream_is_answered_and_loses_nothing),
         TEST(an_interrupt_in_a_stream_needs_no_kick))
