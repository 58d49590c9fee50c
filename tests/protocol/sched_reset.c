/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/sched_world.h"

#include <string.h>

/* Resets and ends under a guest that never rests. */

static const struct vm_opts three = { .queues = 3 };

static void set_up_again(struct world *w)
{
    struct vm *vm = &w->vm;

    for (unsigned int i = 0; i < vm->n; i++) {
        struct guest_queue *q = &vm->q[i];

        guest_queue_reset(q, 0);
        guest_eventfd_wait(q->kick_fd, 0);
        guest_eventfd_wait(q->call_fd, 0);
        fe_set_fd(&vm->fe, FE_SET_VRING_CALL, i, q->call_fd);
        fe_set_fd(&vm->fe, FE_SET_VRING_ERR, i, q->err_fd);
    }
    CHECK_EQ(fe_set_u64(&vm->fe, FE_SET_FEATURES, vm->fe.acked), 0, "");
    vm_rings_start(vm);
    CHECK_EQ(fc_init(&vm->q[WORLD_BUSY], 0, NULL), 0, "INIT");
    load_open(&w->l, vm, &vm->q[WORLD_BUSY]);
}

/* After a reset no ring is served, so the ring's thread itself is watched: it
 * has nothing left to do. */
static void quiet_while_it_rests(struct world *w)
{
    pid_t tid = role_thread(w->request, "vring1");
    struct quiet s;

    load_take(&w->l);
    quiet_begin(&s, &w->l);
    guest_kick(&w->vm.q[WORLD_BUSY]);
    for (int k = 0; k < 3; k++)
        world_talk(w);
    role_wait_asleep(w->request, tid);
    quiet_end(&s, &w->l);
}

static void reset(struct world *w)
{
    load_pause(&w->l);
    CHECK_EQ(fe_set(&w->vm.fe, FE_RESET_DEVICE, NULL, 0, NULL, 0, true), 0,
             "RESET_DEVICE");
    quiet_while_it_rests(w);
    load_forget(&w->l);
    set_up_again(w);
    load_resume(&w->l);
}

static void reset_round(struct world *w, int i)
{
    load_progress(&w->l, 1 + (unsigned int)i % LOAD_DEPTH);
    reset(w);
}

static void the_device_is_reset_under_load(void)
{
    world_rounds(&three, ROUNDS(400), reset_round);
}

static void status_round(struct world *w, int i)
{
    struct vm *vm = &w->vm;
    uint64_t status = 1;
    uint32_t base = 0;

    if (i % 2)
        fe_set_u64(&vm->fe, FE_SET_STATUS, 15);
    load_progress(&w->l, 1 + (unsigned int)i % LOAD_DEPTH);
    load_pause(&w->l);
    CHECK_EQ(fe_set_u64(&vm->fe, FE_SET_STATUS, 0), 0, "SET_STATUS 0");
    CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_STATUS, &status), 0, "GET_STATUS");
    CHECK_EQ(status, 0, "reads back when all is quiet");
    quiet_while_it_rests(w);
    for (unsigned int k = 0; k < vm->n; k++) {
        struct guest_queue *q = &vm->q[k];

        CHECK_EQ(fe_get_base(&vm->fe, k, &base), 0, "");
        CHECK_EQ(base, q->used->idx, "where it stopped");
        CHECK_EQ(fe_ring_start(&vm->fe, q, base), 0, "");
        CHECK_EQ(fe_ring_enable(&vm->fe, q, true), 0, "");
    }
    load_resume(&w->l);
}

/* As when a machine is paused: the guest goes on with the files it had. */
static void status_0_under_load_stops_and_loses_nothing(void)
{
    world_rounds(&three, ROUNDS(400), status_round);
}

/* A reset in the midst of all that can be in the midst of something. */
static void busy_reset_round(struct world *w, int i)
{
    struct vm *vm = &w->vm;
    struct guest_queue *q = &vm->q[WORLD_BUSY];

    load_progress(&w->l, 1 + (unsigned int)i % LOAD_DEPTH);
    load_swap_call(&w->l);
    if (i % 2)
        fe_ring_enable(&vm->fe, q, false);
    load_swap_kick(&w->l);
    if (i % 3 == 0)
        fe_ring_enable(&vm->fe, q, true);
    reset(w);
}

static void a_reset_amid_other_changes_leaves_nothing(void)
{
    world_rounds(&three, ROUNDS(300), busy_reset_round);
}

/* ---- ends ---- */

static bool begin(struct vm *vm, struct load *l)
{
    memset(l, 0, sizeof(*l));
    if (!vm_start_fuse(vm, &three) || !load_open(l, vm, &vm->q[WORLD_BUSY]))
        return false;
    load_start(l);
    return load_progress(l, 100);
}

static void a_front_end_that_leaves_under_load_ends_the_daemon_well(void)
{
    for (int i = 0; i < ROUNDS(30) && !tap_failing(); i++) {
        struct vm vm;
        struct load l;

        if (begin(&vm, &l)) {
            /* With everything in flight, idle, or in the midst of a change. */
            if (i % 4 == 1)
                load_pause(&l);
            if (i % 4 == 2)
                fe_ring_enable(&vm.fe, &vm.q[WORLD_BUSY], false);
            if (i % 4 == 3)
                send_state(&vm, FE_GET_VRING_BASE, WORLD_BUSY, 0, false);
            fe_close(&vm.fe);
            CHECK(daemon_wait_gone(vm.d), "it ends");
            load_abandon(&l);
        }
        vm_end(&vm);
    }
}

TAP_MAIN(TEST(the_device_is_reset_under_load),
         TEST(status_0_under_load_stops_and_loses_nothing),
         TEST(a_reset_amid_other_changes_leaves_nothing),
         TEST(a_front_end_that_leaves_under_load_ends_the_daemon_well))
