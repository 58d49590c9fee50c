/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "tests/protocol/locks_lib.h"

/* What the front-end may do to a ring on which a request waits for a lock. */

#define HOLDER 1
#define WAITER 2

struct scene {
    struct vm vm;
    struct guest_queue *q;
    struct lk_file f;
    struct lk_wait w;
};

/* A request waits on the first request queue for what another owner has. */
static bool scene_begin(struct scene *s)
{
    s->q = &s->vm.q[VM_REQ];
    if (!vm_start_fuse(&s->vm, &lk_on) || !lk_slots(s->q, 4) ||
        !lk_create(s->q, "f", &s->f))
        return false;
    CHECK_EQ(lk_set(s->q, &s->f, HOLDER, F_WRLCK, 0, LK_END), 0, "");
    lk_wait_put(&s->w, s->q, 1, &s->f, WAITER, F_WRLCK, 0);
    return lk_blocked(&s->vm, "f", 1);
}

/* By another ring. */
static void let_go(struct scene *s)
{
    CHECK_EQ(lk_set(&s->vm.q[2], &s->f, HOLDER, F_UNLCK, 0, LK_END), 0, "");
}

/* All that the device may write of this ring and of the request. */
struct picture {
    uint16_t used_idx;
    uint8_t reply[sizeof(struct fuse_out_header)];
    uint64_t calls;
};

static struct picture take_picture(struct scene *s)
{
    struct picture p = { .used_idx = s->q->used->idx };

    memcpy(p.reply, guest_at(&s->vm.mem, s->w.m.out_gpa, sizeof(p.reply)),
           sizeof(p.reply));
    p.calls = guest_eventfd_wait(s->q->call_fd, 0);
    return p;
}

/* The lock is granted, and nothing is written as long as the ring rests. */
static void granted_in_silence(struct scene *s)
{
    struct picture before = take_picture(s), after;

    let_go(s);
    for (int i = 0; i < DEADLINE_MS; i++) {
        if (*lk_host_sees(&s->vm, "f", 0, LK_END))
            break;
        usleep(1000);
    }
    CHECK_STR(lk_host_sees(&s->vm, "f", 0, LK_END), "w", "it is granted");
    vm_alive(&s->vm, 2);
    after = take_picture(s);
    CHECK_EQ(after.used_idx, before.used_idx, "the ring");
    CHECK_MEM(after.reply, before.reply, sizeof(before.reply), "the reply");
    CHECK_EQ(after.calls, 0, "and nobody is called");
}

static void a_stop_does_not_wait_and_a_start_goes_on(void)
{
    struct scene s;

    if (scene_begin(&s)) {
        uint32_t base = 0;

        CHECK_EQ(fe_ring_stop(&s.vm.fe, s.q, &base), 0, "stop");
        CHECK_EQ(base, s.q->avail_idx, "all was taken");
        granted_in_silence(&s);
        CHECK_EQ(fe_ring_start(&s.vm.fe, s.q, base), 0, "start");
        lk_wait_none(s.q);
        CHECK_EQ(fe_ring_enable(&s.vm.fe, s.q, true), 0, "enable");
        CHECK_EQ(lk_wait_take(&s.w), 0, "the answer is here");
        vm_alive(&s.vm, VM_REQ);
    }
    vm_end(&s.vm);
}

static void a_machine_that_was_paused_is_granted_it_later(void)
{
    struct scene s;

    if (scene_begin(&s)) {
        for (int i = 0; i < 3; i++) {
            uint32_t base = 0;

            CHECK_EQ(fe_ring_stop(&s.vm.fe, s.q, &base), 0, "stop");
            CHECK_EQ(fe_ring_start(&s.vm.fe, s.q, base), 0, "start");
            CHECK_EQ(fe_ring_enable(&s.vm.fe, s.q, true), 0, "enable");
            vm_alive(&s.vm, VM_REQ);
        }
        lk_blocked(&s.vm, "f", 1);
        let_go(&s);
        CHECK_EQ(lk_wait_take(&s.w), 0, "granted");
    }
    vm_end(&s.vm);
}

static void a_disabled_ring_keeps_the_answer(void)
{
    struct scene s;

    if (scene_begin(&s)) {
        CHECK_EQ(fe_ring_enable(&s.vm.fe, s.q, false), 0, "disable");
        /* Its acknowledgement says that the ring rests. */
        CHECK_EQ(fe_set_state(&s.vm.fe, FE_SET_VRING_ENABLE, s.q->idx, 0), 0,
                 "");
        vm_alive(&s.vm, 2);
        granted_in_silence(&s);
        CHECK_EQ(fe_ring_enable(&s.vm.fe, s.q, true), 0, "enable");
        CHECK_EQ(lk_wait_take(&s.w), 0, "the answer is here");
    }
    vm_end(&s.vm);
}

/* A machine that was reset sets its ring up anew and knows nothing of it. */
static void a_ring_begun_anew_gets_no_old_answer(void)
{
    static const char *const when[] = { "granted before", "granted after" };

    for (size_t i = 0; i < ARRAY_SIZE(when); i++) {
        struct scene s;

        if (scene_begin(&s)) {
            uint32_t base = 0;

            CHECK_EQ(fe_ring_stop(&s.vm.fe, s.q, &base), 0, "stop");
            if (i == 0)
                granted_in_silence(&s);
            guest_queue_reset(s.q, 0);
            CHECK_EQ(fe_ring_start(&s.vm.fe, s.q, 0), 0, "start");
            CHECK_EQ(fe_ring_enable(&s.vm.fe, s.q, true), 0, "enable");
            vm_alive(&s.vm, VM_REQ);
            if (i == 1)
                let_go(&s);
            for (int k = 0; k < 50; k++)
                vm_alive(&s.vm, VM_REQ);
            lk_wait_none(s.q);
            CHECK(daemon_wait_log(s.vm.d, "forgotten"), when[i]);
            CHECK_EQ(fc_init(s.q, 0, NULL), 0, "it boots");
            CHECK_STR(lk_host_sees(&s.vm, "f", 0, LK_END), "", "nothing stays");
            vm_alive(&s.vm, VM_REQ);
            lk_wait_none(s.q);
        }
        vm_end(&s.vm);
    }
}

static void a_device_reset_ends_it(void)
{
    struct scene s;

    if (scene_begin(&s)) {
        CHECK_EQ(fe_set(&s.vm.fe, FE_RESET_DEVICE, NULL, 0, NULL, 0, true), 0,
                 "it does not wait for the lock");
        CHECK_STR(lk_host_sees(&s.vm, "f", 0, LK_END), "", "nothing stays");
        lk_blocked(&s.vm, "f", 0);
        if (lk_set_up_again(&s.vm)) {
            vm_alive(&s.vm, VM_REQ);
            lk_wait_none(s.q);
        }
    }
    vm_end(&s.vm);
}

/* Memory comes and goes while it waits; then all of it is mapped anew. */
static void guest_memory_changes_under_it(void)
{
    struct scene s;

    if (scene_begin(&s)) {
        struct frontend *fe = &s.vm.fe;
        int r = guest_mem_add(&s.vm.mem, (uint64_t)8 << 30, 1 << 20);

        CHECK(r >= 0, "more memory");
        fe->ack_all = true;
        CHECK_EQ(fe_add_region(fe, &s.vm.mem.r[r]), 0, "it comes");
        CHECK_EQ(fe_remove_region(fe, &s.vm.mem.r[r]), 0, "it goes");
        guest_mem_pop(&s.vm.mem);
        CHECK_EQ(fe_mem_table(fe, &s.vm.mem), 0, "all of it anew");
        fe->ack_all = false;
        lk_wait_none(s.q);
        lk_blocked(&s.vm, "f", 1);
        let_go(&s);
        CHECK_EQ(lk_wait_take(&s.w), 0, "answered in the new table");
    }
    vm_end(&s.vm);
}

static void memory_that_held_the_request_is_gone(void)
{
    struct scene s;

    if (scene_begin(&s)) {
        struct guest_queue *q = s.q;
        uint16_t head = s.w.m.head;

        /* The guest puts its descriptor where there is no memory. */
        guest_desc(q, head, (uint64_t)1 << 40, 16, VRING_DESC_F_WRITE, 0);
        let_go(&s);
        CHECK(daemon_wait_log(s.vm.d, "broken by the guest"),
              "told in the log");
        vm_alive(&s.vm, 2);
        lk_wait_none(q);
    }
    vm_end(&s.vm);
}

/* ---- stops and grants that meet at any moment ---- */

#define ROUNDS 300

struct host {
    const struct vm *vm;
    int fd;
    unsigned int us;
};

static void *host_lets_go(void *arg)
{
    struct host *h = arg;

    usleep(h->us);
    flock(h->fd, LOCK_UN);
    return NULL;
}

/* Stop and start again, @n times, with an eye on what may not be written. */
static void pause_machine(struct scene *s, int n)
{
    while (n-- > 0) {
        struct picture before, after;
        uint32_t base = 0;

        CHECK_EQ(fe_get_base(&s->vm.fe, s->q->idx, &base), 0, "stop");
        CHECK((uint16_t)(s->q->avail_idx - base) <= 1, "it was taken or not");
        before = take_picture(s);
        usleep(100);
        after = take_picture(s);
        CHECK_EQ(after.used_idx, before.used_idx, "quiet");
        CHECK_MEM(after.reply, before.reply, sizeof(before.reply), "quiet");
        CHECK_EQ(fe_ring_start(&s->vm.fe, s->q, base), 0, "start");
    }
}

static void a_grant_at_any_moment_of_a_pause_is_not_lost(void)
{
    struct scene s = { .q = &s.vm.q[VM_REQ] };
    struct host h = { .vm = &s.vm };

    if (vm_start_fuse(&s.vm, &lk_on) && lk_slots(s.q, 4) &&
        lk_create(s.q, "f", &s.f)) {
        h.fd = open(daemon_path(s.vm.d, "f"), O_RDWR | O_CLOEXEC);
        for (int i = 0; i < ROUNDS && !s.q->lost && !tap_failing(); i++) {
            pthread_t t;
            uint16_t head;
            uint32_t used;
            int n = 0;

            CHECK_EQ(flock(h.fd, LOCK_EX), 0, "");
            h.us = (unsigned int)(i * 37 % 1500);
            pthread_create(&t, NULL, host_lets_go, &h);
            lk_wait_put(&s.w, s.q, 1, &s.f, WAITER, F_WRLCK, FUSE_LK_FLOCK);
            pause_machine(&s, 3);
            pthread_join(t, NULL);
            /* The call may have come before a stop. */
            while (!guest_take(s.q, &head, &used) && n++ < DEADLINE_MS)
                usleep(1000);
            if (!CHECK(n < DEADLINE_MS, "answered in the end"))
                break;
            CHECK_EQ(fm_reply(s.q, &s.w.m, used), 0, "granted");
            CHECK_EQ(lk_flock(&s.vm.q[2], &s.f, F_UNLCK), 0, "");
        }
        close(h.fd);
    }
    vm_end(&s.vm);
}

TAP_MAIN(TEST(a_stop_does_not_wait_and_a_start_goes_on),
         TEST(a_machine_that_was_paused_is_granted_it_later),
         TEST(a_disabled_ring_keeps_the_answer),
         TEST(a_ring_begun_anew_gets_no_old_answer),
         TEST(a_device_reset_ends_it), TEST(guest_memory_changes_under_it),
         TEST(memory_that_held_the_request_is_gone),
         TEST(a_grant_at_any_moment_of_a_pause_is_not_lost))
