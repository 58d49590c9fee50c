/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "tests/protocol/sched_lib.h"

/*
 * Kicks against the slot: each order of "the guest kicks", "control
 * publishes" and "the ring's thread looks", made by holding one of the two.
 */

/* Wait until the ring's thread has nothing to do any more. */
static bool ring_rests(struct vm *vm, unsigned int idx)
{
    pid_t pid = role_pid(vm, ROLE_REQUEST);
    char comm[16];

    snprintf(comm, sizeof(comm), "vring%u", idx);
    return role_wait_asleep(pid, role_thread(pid, comm));
}

/* A disabled ring that was kicked: nobody has drained the kick, nobody has
 * served the request. */
static bool left_alone(struct vm *vm, struct guest_queue *q)
{
    return vm_alive(vm, 2) && ring_rests(vm, q->idx) &&
           CHECK(eventfd_count(q->kick_fd) > 0, "the kick is not drained") &&
           CHECK_EQ(__atomic_load_n(&q->used->idx, __ATOMIC_SEQ_CST),
                    q->used_idx, "nothing is served");
}

static bool disable(struct vm *vm, struct guest_queue *q)
{
    uint64_t v;

    return CHECK_EQ(fe_ring_enable(&vm->fe, q, false), 0, "disable") &&
           CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_FEATURES, &v), 0, "");
}

/* Empty the kick: the disabled ring has left in it what it did not see. */
static void forget_kicks(struct guest_queue *q)
{
    guest_eventfd_wait(q->kick_fd, 0);
}

/* The case which hung a firmware: ENABLE is sent, the kick follows at once,
 * and the ring's thread sees the kick before control has read ENABLE. */
static void a_kick_that_overtakes_enable_waits_for_it(void)
{
    struct vm_opts o = { .queues = 3 };
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];
        pid_t control = role_pid(&vm, ROLE_CONTROL);

        for (int i = 0; i < ROUNDS(300) && !tap_failing(); i++) {
            disable(&vm, q);
            forget_kicks(q);
            if (!role_stop(control))
                break;
            if (i % 2)
                send_state(&vm, FE_SET_VRING_ENABLE, q->idx, 1, false);
            put_getattr(q, &m, 0);
            guest_kick(q);
            if (i % 2 == 0)
                send_state(&vm, FE_SET_VRING_ENABLE, q->idx, 1, false);
            left_alone(&vm, q);
            role_cont(control);
            take_getattr(q, &m, 1);
            all_answered_once(q);
        }
    }
    vm_end(&vm);
}

/* The same with the kick written at each step that control makes. */
static void a_kick_at_any_step_of_enable_is_served_once(void)
{
    static const enum place places[] = { CONTROL_SEES, CONTROL_PUBLISHED,
                                         CONTROL_WOKE, CONTROL_SENDS };
    struct vm_opts o = { .queues = 3 };
    struct hold h = { 0 };
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];

        for (int i = 0; i < ROUNDS(40) && !tap_failing(); i++) {
            enum place at = places[(size_t)i % ARRAY_SIZE(places)];

            disable(&vm, q);
            forget_kicks(q);
            if (!hold_begin(&h, &vm, NULL))
                break;
            send_state(&vm, FE_SET_VRING_ENABLE, q->idx, 1, true);
            hold_at(&h, at);
            put_getattr(q, &m, 0);
            guest_kick(q);
            /* Published and not woken: the thread may look or not. */
            if (at == CONTROL_SEES)
                left_alone(&vm, q);
            if (at == CONTROL_WOKE || at == CONTROL_SENDS)
                CHECK(take_getattr(q, &m, 1), "served ahead of the answer");
            hold_end(&h);
            recv_ok(&vm, FE_SET_VRING_ENABLE, NULL);
            if (at == CONTROL_SEES || at == CONTROL_PUBLISHED)
                take_getattr(q, &m, 1);
            all_answered_once(q);
        }
    }
    hold_end(&h);
    vm_end(&vm);
}

/*
 * The thread saw the kick while the ring was live, and stands before it looks
 * at the slot again.  Then the ring is disabled: the thread must find that
 * out and leave the kick alone.
 */
static void a_kick_seen_before_a_disable_is_left_until_enable(void)
{
    struct vm_opts o = { .queues = 3 };
    struct hold h = { 0 };
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];
        pid_t control = role_pid(&vm, ROLE_CONTROL);

        for (int i = 0; i < ROUNDS(100) && !tap_failing(); i++) {
            /* From its sleep: before that it might still look at the ring
             * for the last time, and find this without a kick. */
            if (!hold_begin(&h, &vm, q) || !hold_at(&h, RING_SLEEPS))
                break;
            put_getattr(q, &m, 0);
            guest_kick(q);
            hold_at(&h, RING_SEES_KICK);
            send_state(&vm, FE_SET_VRING_ENABLE, q->idx, 0, true);
            control_settled(&vm, control);
            CHECK(!answer_is_there(&vm), "no answer before the ring is quiet");
            hold_end(&h);
            recv_ok(&vm, FE_SET_VRING_ENABLE, NULL);
            left_alone(&vm, q);
            CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
            take_getattr(q, &m, 1);
            all_answered_once(q);
        }
    }
    hold_end(&h);
    vm_end(&vm);
}

/* Off and on again while the thread stands: it may see only the last. */
static void a_disable_and_enable_unseen_loses_nothing(void)
{
    static const enum place places[] = { RING_SLEEPS, RING_SEES_KICK,
                                         RING_DRAINS, RING_DRAINED,
                                         RING_IN_REQUEST };
    struct hold h = { 0 };
    struct vm vm;
    struct fm m[2];

    if (vm_start_fuse(&vm, NULL)) {
        struct guest_queue *q = &vm.q[1];
        pid_t control = role_pid(&vm, ROLE_CONTROL);

        for (int i = 0; i < ROUNDS(50) && !tap_failing(); i++) {
            enum place at = places[(size_t)i % ARRAY_SIZE(places)];

            if (!hold_begin(&h, &vm, q))
                break;
            if (at == RING_SLEEPS) {
                hold_at(&h, at);
                put_getattr(q, &m[0], 0);
                guest_kick(q);
            } else {
                put_getattr(q, &m[0], 0);
                guest_kick(q);
                hold_at(&h, at);
            }
            send_state(&vm, FE_SET_VRING_ENABLE, q->idx, 0, false);
            /* Control waits for the ring; what follows lies unread. */
            control_settled(&vm, control);
            send_state(&vm, FE_SET_VRING_ENABLE, q->idx, 1, true);
            put_getattr(q, &m[1], 1);
            if (i % 3)
                guest_kick(q);
            hold_end(&h);
            recv_ok(&vm, FE_SET_VRING_ENABLE, NULL);
            take_getattr(q, m, 2);
            take_getattr(q, m, 2);
            all_answered_once(q);
        }
    }
    hold_end(&h);
    vm_end(&vm);
}

/* Kicks alone, many rounds: nothing is held, the two race as they like. */
static void enable_and_kick_race_thousands_of_times(void)
{
    struct vm_opts o = { .queues = 3 };
    struct vm vm;
    struct fm m[2];

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];

        for (int i = 0; i < ROUNDS(5000) && !tap_failing(); i++) {
            /* enable, kick, disable, enable: the kick anywhere among them,
             * and a second one. */
            fe_ring_enable(&vm.fe, q, false);
            put_getattr(q, &m[0], 0);
            if (i & 1)
                guest_kick(q);
            fe_ring_enable(&vm.fe, q, true);
            if (!(i & 1))
                guest_kick(q);
            if (i & 2)
                fe_ring_enable(&vm.fe, q, false);
            put_getattr(q, &m[1], 1);
            guest_kick(q);
            fe_ring_enable(&vm.fe, q, true);
            take_getattr(q, m, 2);
            take_getattr(q, m, 2);
            all_answered_once(q);
        }
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(a_kick_that_overtakes_enable_waits_for_it),
         TEST(a_kick_at_any_step_of_enable_is_served_once),
         TEST(a_kick_seen_before_a_disable_is_left_until_enable),
         TEST(a_disable_and_enable_unseen_loses_nothing),
         TEST(enable_and_kick_race_thousands_of_times))
