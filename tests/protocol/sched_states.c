/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/protocol/sched_lib.h"

/*
 * Ring states as vhost-user "Ring states" has them: what a ring may lack, and
 * what it then does.
 */

static const struct vm_opts not_started = { .queues = 3, .no_start = true };

static bool talk(struct vm *vm)
{
    uint64_t v;

    return CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_FEATURES, &v), 0, "");
}

static bool start_other(struct vm *vm)
{
    return CHECK_EQ(fe_ring_start(&vm->fe, &vm->q[2], 0), 0, "") &&
           CHECK_EQ(fe_ring_enable(&vm->fe, &vm->q[2], true), 0, "") &&
           CHECK_EQ(fc_init(&vm->q[2], 0, NULL), 0, "INIT");
}

/* Everything but the kick fd. */
static void set_up(struct vm *vm, struct guest_queue *q)
{
    CHECK_EQ(fe_set_state(&vm->fe, FE_SET_VRING_NUM, q->idx, q->size), 0, "");
    CHECK_EQ(fe_set_state(&vm->fe, FE_SET_VRING_BASE, q->idx, 0), 0, "");
    CHECK_EQ(fe_ring_addr(&vm->fe, q, 0, 0), 0, "");
}

/* Nothing on ring @q moves while the rest of the daemon works. */
static void nothing_moves(struct vm *vm, struct guest_queue *q)
{
    talk(vm);
    for (int i = 0; i < 3; i++)
        vm_alive(vm, 2);
    CHECK_EQ(__atomic_load_n(&q->used->idx, __ATOMIC_SEQ_CST), q->used_idx,
             "nothing is served");
}

/* What it was told last has been acted upon: its thread sleeps. */
static void ring_rests(struct vm *vm)
{
    pid_t pid = role_pid(vm, ROLE_REQUEST);

    talk(vm);
    role_wait_asleep(pid, role_thread(pid, "vring1"));
}

static void a_ring_enabled_before_its_kick_starts_with_it(void)
{
    for (int with_fd = 0; with_fd < 2; with_fd++) {
        struct vm vm;
        struct fm m;

        if (vm_start(&vm, &not_started) && start_other(&vm)) {
            struct guest_queue *q = &vm.q[1];

            CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "enable");
            set_up(&vm, q);
            put_getattr(q, &m, 0);
            guest_kick(q);
            nothing_moves(&vm, q);
            CHECK_EQ(eventfd_count(q->kick_fd), 1, "nobody knows it");
            fe_set_fd(&vm.fe, FE_SET_VRING_KICK, 1, with_fd ? q->kick_fd : -1);
            take_getattr(q, &m, 1);
            if (with_fd)
                vm_alive(&vm, 1);
        }
        vm_end(&vm);
    }
}

static void a_polled_ring_may_get_a_kick_fd_and_lose_it_again(void)
{
    struct vm vm;
    struct fm m;

    if (vm_start(&vm, &not_started) && start_other(&vm)) {
        struct guest_queue *q = &vm.q[1];

        set_up(&vm, q);
        CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
        for (int i = 0; i < ROUNDS(100) && !tap_failing(); i++) {
            fe_set_fd(&vm.fe, FE_SET_VRING_KICK, 1, -1);
            put_getattr(q, &m, 0); /* and no kick */
            if (i % 2)
                take_getattr(q, &m, 1);
            /* Long after the look that each change brings. */
            for (int k = 0; i % 4 == 1 && k < 3; k++) {
                ring_rests(&vm);
                put_getattr(q, &m, 0);
                take_getattr(q, &m, 1);
            }
            fe_set_fd(&vm.fe, FE_SET_VRING_KICK, 1, q->kick_fd);
            if (i % 2 == 0)
                take_getattr(q, &m, 1);
            vm_alive(&vm, 1);
        }
        guest_eventfd_wait(q->kick_fd, 0);
        /* Disabled it is not polled. */
        fe_set_fd(&vm.fe, FE_SET_VRING_KICK, 1, -1);
        CHECK_EQ(fe_ring_enable(&vm.fe, q, false), 0, "");
        talk(&vm);
        put_getattr(q, &m, 0);
        nothing_moves(&vm, q);
        CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
        take_getattr(q, &m, 1);
    }
    vm_end(&vm);
}

/* Requests finished while there was no call fd are told when there is one. */
static void a_call_fd_that_comes_late_tells_what_is_done(void)
{
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, NULL)) {
        struct guest_queue *q = &vm.q[1];

        for (int i = 0; i < ROUNDS(200) && !tap_failing(); i++) {
            uint16_t head;
            uint32_t used;

            fe_set_fd(&vm.fe, FE_SET_VRING_CALL, 1, -1);
            talk(&vm);
            guest_eventfd_wait(q->call_fd, 0);
            ask_for_a_call(q);
            put_getattr(q, &m, 0);
            guest_kick(q);
            if (i % 2) {
                CHECK_EQ(guest_spin(q, &head, &used), 0, "not called");
                CHECK_EQ(fm_reply(q, &m, used), 0, "");
            }
            fe_set_fd(&vm.fe, FE_SET_VRING_CALL, 1, q->call_fd);
            CHECK(guest_eventfd_wait(q->call_fd, DEADLINE_MS) > 0,
                  "called, now that it can be");
            if (i % 2 == 0)
                take_getattr(q, &m, 1);
            all_answered_once(q);
        }
    }
    vm_end(&vm);
}

static void a_started_ring_is_not_served_until_enabled(void)
{
    struct vm vm;
    struct fm m;

    if (vm_start(&vm, &not_started) && start_other(&vm)) {
        struct guest_queue *q = &vm.q[1];
        uint32_t base = 1;

        put_getattr(q, &m, 0);
        guest_kick(q);
        CHECK_EQ(fe_ring_start(&vm.fe, q, 0), 0, "started");
        nothing_moves(&vm, q);
        CHECK_EQ(eventfd_count(q->kick_fd), 1, "the kick is kept");
        CHECK_EQ(fe_get_base(&vm.fe, 1, &base), 0, "");
        CHECK_EQ(base, 0, "nothing was taken");
        CHECK_EQ(fe_ring_start(&vm.fe, q, 0), 0, "");
        nothing_moves(&vm, q);
        CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
        take_getattr(q, &m, 1);
        all_answered_once(q);
    }
    vm_end(&vm);
}

static void kicks_with_nothing_on_the_ring_are_only_drained_when_live(void)
{
    struct vm vm;
    struct fm m;

    if (vm_start(&vm, &not_started) && start_other(&vm)) {
        struct guest_queue *q = &vm.q[1];

        for (int i = 0; i < 5; i++)
            guest_kick(q);
        CHECK_EQ(fe_ring_start(&vm.fe, q, 0), 0, "");
        nothing_moves(&vm, q);
        CHECK_EQ(eventfd_count(q->kick_fd), 5, "as it was");
        CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
        for (int i = 0; i < ROUNDS(100); i++) {
            guest_kick(q);
            if (i % 3 == 0)
                vm_alive(&vm, 1);
        }
        put_getattr(q, &m, 0);
        guest_kick(q);
        take_getattr(q, &m, 1);
        all_answered_once(q);
    }
    vm_end(&vm);
}

/* Break ring @q: a head which the ring does not have. */
static void break_ring(struct guest_queue *q)
{
    guest_add_head(q, q->size);
    guest_publish_quietly(q);
    guest_kick(q);
}

static bool start_anew(struct vm *vm, struct guest_queue *q)
{
    uint32_t base;

    CHECK_EQ(fe_ring_stop(&vm->fe, q, &base), 0, "");
    guest_queue_reset(q, 0);
    guest_eventfd_wait(q->kick_fd, 0);
    CHECK_EQ(fe_ring_start(&vm->fe, q, 0), 0, "");
    CHECK_EQ(fe_ring_enable(&vm->fe, q, true), 0, "");
    return vm_alive(vm, q->idx);
}

static void the_err_fd_of_the_moment_tells_that_a_ring_broke(void)
{
    struct vm_opts o = { .queues = 3 };
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];

        for (int i = 0; i < ROUNDS(50) && !tap_failing(); i++) {
            int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

            fe_set_fd(&vm.fe, FE_SET_VRING_ERR, 1, fd);
            talk(&vm);
            close(q->err_fd);
            q->err_fd = fd;
            break_ring(q);
            CHECK(guest_eventfd_wait(fd, DEADLINE_MS) > 0, "it tells");
            /* A broken ring is left alone, whatever it is told, until its
             * next start. */
            guest_kick(q);
            fe_ring_enable(&vm.fe, q, false);
            fe_ring_enable(&vm.fe, q, true);
            fe_set_fd(&vm.fe, FE_SET_VRING_KICK, 1, q->kick_fd);
            nothing_moves(&vm, q);
            CHECK_EQ(eventfd_count(fd), 0, "told once");
            start_anew(&vm, q);
        }
    }
    vm_end(&vm);
}

/* Without PROTOCOL_FEATURES there is no SET_VRING_ENABLE to wait for. */
static void without_protocol_features_a_kick_is_all_it_takes(void)
{
    struct vm_opts o = {
        .queues = 3,
        .features = VM_RING_FEATURES & ~BIT64(FE_F_PROTOCOL_FEATURES),
        .no_start = true,
    };
    struct vm vm;
    struct fm m;

    if (vm_start(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];
        uint32_t base = 0;

        CHECK_EQ(fe_ring_start(&vm.fe, q, 0), 0, "");
        CHECK_EQ(fc_init(q, 0, NULL), 0, "INIT");
        for (int i = 0; i < ROUNDS(200) && !tap_failing(); i++) {
            put_getattr(q, &m, 0);
            if (i % 2)
                guest_kick(q);
            CHECK_EQ(fe_get_base(&vm.fe, 1, &base), 0, "");
            if (i % 3 == 0)
                put_getattr(q, &m, 0);
            CHECK_EQ(fe_ring_start(&vm.fe, q, base), 0, "");
            /* Before or after the stop, as it came; twice when put twice. */
            while (q->used_idx != q->avail_idx) {
                uint16_t head;
                uint32_t used;

                if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "served"))
                    break;
            }
            all_answered_once(q);
        }
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(a_ring_enabled_before_its_kick_starts_with_it),
         TEST(a_polled_ring_may_get_a_kick_fd_and_lose_it_again),
         TEST(a_call_fd_that_comes_late_tells_what_is_done),
         TEST(a_started_ring_is_not_served_until_enabled),
         TEST(kicks_with_nothing_on_the_ring_are_only_drained_when_live),
         TEST(the_err_fd_of_the_moment_tells_that_a_ring_broke),
         TEST(without_protocol_features_a_kick_is_all_it_takes))
