/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/sched_world.h"

/* The control plane's rings, round after round, under a guest that never
 * rests. */

static const struct vm_opts three = { .queues = 3 };

/* ---- enable and disable ---- */

static void enable_round(struct world *w, int i)
{
    struct guest_queue *q = &w->vm.q[WORLD_BUSY];

    w->vm.fe.ack_all = i % 3 == 0;
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, false), 0, "");
    if (i % 4 == 0)
        world_talk(w);
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, true), 0, "");
    if (i % 5 == 0)
        CHECK_EQ(fe_ring_enable(&w->vm.fe, q, true), 0, "once more");
    w->vm.fe.ack_all = false;
}

static void rings_are_enabled_and_disabled_under_load(void)
{
    world_rounds(&three, ROUNDS(2000), enable_round);
}

static void disabled_round(struct world *w, int i)
{
    struct guest_queue *q = &w->vm.q[WORLD_BUSY];
    struct quiet s;

    load_progress(&w->l, 1 + (unsigned int)i % LOAD_DEPTH);
    load_pause(&w->l);
    w->vm.fe.ack_all = true;
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, false), 0, "");
    w->vm.fe.ack_all = false;
    load_take(&w->l);
    quiet_begin(&s, &w->l);
    guest_kick(q);
    vm_alive(&w->vm, WORLD_OTHER);
    quiet_end(&s, &w->l);
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, true), 0, "");
    load_resume(&w->l);
}

static void a_disabled_ring_is_quiet_from_the_answer_on(void)
{
    world_rounds(&three, ROUNDS(500), disabled_round);
}

/* ---- stop and start ---- */

static void stop_round(struct world *w, int i)
{
    struct guest_queue *q = &w->vm.q[WORLD_BUSY];
    struct quiet s;
    uint32_t base = 0;

    load_progress(&w->l, 1 + (unsigned int)i % LOAD_DEPTH);
    load_pause(&w->l);
    if (i % 2)
        CHECK_EQ(fe_ring_stop(&w->vm.fe, q, &base), 0, "disable, stop");
    else
        CHECK_EQ(fe_get_base(&w->vm.fe, q->idx, &base), 0, "stop");
    CHECK_EQ(__atomic_load_n(&q->used->idx, __ATOMIC_SEQ_CST), base,
             "what was taken is finished when the stop is answered");
    load_take(&w->l);
    quiet_begin(&s, &w->l);
    guest_kick(q);
    vm_alive(&w->vm, WORLD_OTHER);
    quiet_end(&s, &w->l);
    CHECK_EQ(fe_ring_start(&w->vm.fe, q, base), 0, "start");
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, true), 0, "");
    load_resume(&w->l);
}

static void rings_stop_and_start_at_their_base_under_load(void)
{
    world_rounds(&three, ROUNDS(500), stop_round);
}

/* The guest goes on putting requests while its ring is stopped, as one whose
 * machine is not paused does. */
static void stop_unseen_round(struct world *w, int i)
{
    struct guest_queue *q = &w->vm.q[WORLD_BUSY];
    uint32_t base = 0;

    if (i % 3 == 0)
        fe_ring_enable(&w->vm.fe, q, false);
    CHECK_EQ(fe_get_base(&w->vm.fe, q->idx, &base), 0, "stop");
    CHECK_EQ(fe_ring_start(&w->vm.fe, q, base), 0, "start");
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, true), 0, "");
}

static void a_guest_that_goes_on_through_stops_loses_nothing(void)
{
    world_rounds(&three, ROUNDS(2000), stop_unseen_round);
}

/* ---- eventfds ---- */

static void kick_round(struct world *w, int i)
{
    load_swap_kick(&w->l);
    if (i % 7 == 0)
        world_talk(w);
}

static void kick_fds_are_swapped_under_load(void)
{
    world_rounds(&three, ROUNDS(3000), kick_round);
}

static void call_round(struct world *w, int i)
{
    load_swap_call(&w->l);
    if (i % 7 == 0)
        world_talk(w);
}

static void no_call_is_lost_when_call_fds_are_swapped_under_load(void)
{
    world_rounds(&three, ROUNDS(2000), call_round);
}

/* Swapped while the ring is disabled: requests finished at the disable were
 * told on an eventfd that nobody looks at any more. */
static void call_disabled_round(struct world *w, int i)
{
    struct guest_queue *q = &w->vm.q[WORLD_BUSY];

    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, false), 0, "");
    load_swap_call(&w->l);
    if (i % 3 == 0)
        world_talk(w);
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, true), 0, "");
}

static void no_call_is_lost_when_call_fds_are_swapped_while_disabled(void)
{
    world_rounds(&three, ROUNDS(2000), call_disabled_round);
}

/* The same around a stop: told before it, used after the next start. */
static void call_stopped_round(struct world *w, int i)
{
    struct guest_queue *q = &w->vm.q[WORLD_BUSY];
    uint32_t base = 0;

    if (i % 2)
        load_swap_call(&w->l);
    if (i % 3)
        CHECK_EQ(fe_ring_enable(&w->vm.fe, q, false), 0, "");
    CHECK_EQ(fe_get_base(&w->vm.fe, q->idx, &base), 0, "stop");
    if (i % 2 == 0)
        load_swap_call(&w->l);
    CHECK_EQ(fe_ring_start(&w->vm.fe, q, base), 0, "start");
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, true), 0, "");
}

static void nor_when_they_are_swapped_around_a_stop(void)
{
    world_rounds(&three, ROUNDS(1000), call_stopped_round);
}

static void everything_round(struct world *w, int i)
{
    struct guest_queue *q = &w->vm.q[WORLD_BUSY];

    if (i % 2)
        load_swap_kick(&w->l);
    if (i % 3)
        load_swap_call(&w->l);
    if (i % 5 == 0)
        fe_ring_enable(&w->vm.fe, q, false);
    load_swap_kick(&w->l);
    if (i % 5 == 0)
        fe_ring_enable(&w->vm.fe, q, true);
    if (i % 4 == 0)
        fe_set_fd(&w->vm.fe, FE_SET_VRING_ERR, q->idx, q->err_fd);
    if (i % 6 == 0)
        fe_ring_addr(&w->vm.fe, q, 0, 0);
}

static void everything_is_swapped_at_once_under_load(void)
{
    world_rounds(&three, ROUNDS(2000), everything_round);
}

TAP_MAIN(TEST(rings_are_enabled_and_disabled_under_load),
         TEST(a_disabled_ring_is_quiet_from_the_answer_on),
         TEST(rings_stop_and_start_at_their_base_under_load),
         TEST(a_guest_that_goes_on_through_stops_loses_nothing),
         TEST(kick_fds_are_swapped_under_load),
         TEST(no_call_is_lost_when_call_fds_are_swapped_under_load),
         TEST(no_call_is_lost_when_call_fds_are_swapped_while_disabled),
         TEST(nor_when_they_are_swapped_around_a_stop),
         TEST(everything_is_swapped_at_once_under_load))
