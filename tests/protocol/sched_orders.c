/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/protocol/sched_lib.h"

/*
 * All orders: the ring's thread stands at each of its places, with a request
 * on the ring, while the front-end does each of the things it can do; then
 * both go on, control first or the ring first.
 */

#define EXTRA_GPA  ((uint64_t)2 << 32)
#define EXTRA_SIZE ((uint64_t)1 << 20)

struct cell {
    struct vm vm;
    struct guest_queue *q;
    struct fm m[2];
    pid_t control;
    struct hold ring, ctl;
    bool new_call; /* the guest waits for a call before it looks */
};

/* ---- what the front-end does: send only, then what its answer means ---- */

static void swap(struct cell *c, uint32_t request, bool need_reply)
{
    int *fd = request == FE_SET_VRING_KICK ? &c->q->kick_fd : &c->q->call_fd;
    int next = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    send_fd(&c->vm, request, c->q->idx, next, need_reply);
    close(*fd);
    *fd = next;
    c->new_call |= request == FE_SET_VRING_CALL;
}

static void enable(struct cell *c, bool on, bool need_reply)
{
    send_state(&c->vm, FE_SET_VRING_ENABLE, c->q->idx, on, need_reply);
}

static void send_disable(struct cell *c)
{
    enable(c, false, true);
}

static void disabled(struct cell *c)
{
    uint16_t used;

    recv_ok(&c->vm, FE_SET_VRING_ENABLE, NULL);
    used = __atomic_load_n(&c->q->used->idx, __ATOMIC_SEQ_CST);
    fe_get_u64(&c->vm.fe, FE_GET_FEATURES, &c->vm.fe.features);
    role_wait_asleep(c->ring.pid, role_thread(c->ring.pid, "vring1"));
    CHECK_EQ(__atomic_load_n(&c->q->used->idx, __ATOMIC_SEQ_CST), used,
             "quiet");
    enable(c, true, false);
}

static void send_off(struct cell *c)
{
    enable(c, false, false);
}

static void send_on(struct cell *c)
{
    enable(c, true, true);
}

static void enabled(struct cell *c)
{
    recv_ok(&c->vm, FE_SET_VRING_ENABLE, NULL);
}

static void send_kick(struct cell *c)
{
    swap(c, FE_SET_VRING_KICK, true);
}

static void kick_swapped(struct cell *c)
{
    recv_ok(&c->vm, FE_SET_VRING_KICK, NULL);
}

static void send_call(struct cell *c)
{
    swap(c, FE_SET_VRING_CALL, true);
}

static void call_swapped(struct cell *c)
{
    recv_ok(&c->vm, FE_SET_VRING_CALL, NULL);
}

static void send_call_on(struct cell *c)
{
    swap(c, FE_SET_VRING_CALL, false);
    enable(c, true, true);
}

static void send_kick_on(struct cell *c)
{
    swap(c, FE_SET_VRING_KICK, false);
    enable(c, true, true);
}

static void send_stop(struct cell *c)
{
    send_state(&c->vm, FE_GET_VRING_BASE, c->q->idx, 0, false);
}

static void restart(struct cell *c, uint32_t base)
{
    CHECK_EQ(__atomic_load_n(&c->q->used->idx, __ATOMIC_SEQ_CST), base,
             "what was taken is finished");
    CHECK_EQ(fe_ring_start(&c->vm.fe, c->q, base), 0, "");
    enable(c, true, false);
}

static void stopped(struct cell *c)
{
    struct fe_msg m;

    if (CHECK_EQ(fe_recv(&c->vm.fe, &m), 0, "an answer comes") &&
        CHECK_EQ(m.h.request, FE_GET_VRING_BASE, ""))
        restart(c, m.p.state.num);
}

static void send_status_0(struct cell *c)
{
    const uint64_t zero = 0;

    fe_send(&c->vm.fe, FE_SET_STATUS, FE_NEED_REPLY, &zero, 8, NULL, 0);
}

static void status_0(struct cell *c)
{
    uint64_t v = 1;
    uint32_t base = 0;

    recv_ok(&c->vm, FE_SET_STATUS, NULL);
    CHECK_EQ(fe_get_u64(&c->vm.fe, FE_GET_STATUS, &v), 0, "");
    CHECK_EQ(v, 0, "reads back");
    CHECK_EQ(fe_get_base(&c->vm.fe, c->q->idx, &base), 0, "");
    restart(c, base);
}

static void send_region(struct cell *c, uint32_t request)
{
    const struct guest_region *r = &c->vm.mem.r[c->vm.mem.n - 1];
    const struct {
        uint64_t pad;
        struct fe_region r;
    } p = { 0, { r->gpa, r->size, r->uva, r->fd_off } };

    fe_send(&c->vm.fe, request, FE_NEED_REPLY, &p, sizeof(p), &r->fd,
            request == FE_ADD_MEM_REG);
}

static void send_add(struct cell *c)
{
    CHECK(guest_mem_add(&c->vm.mem, EXTRA_GPA, EXTRA_SIZE) >= 0, "");
    send_region(c, FE_ADD_MEM_REG);
}

static void added(struct cell *c)
{
    recv_ok(&c->vm, FE_ADD_MEM_REG, NULL);
    CHECK_EQ(fe_remove_region(&c->vm.fe, &c->vm.mem.r[c->vm.mem.n - 1]), 0, "");
    guest_mem_pop(&c->vm.mem);
}

static void send_features(struct cell *c)
{
    const uint64_t f = c->vm.fe.acked | BIT64(FE_F_LOG_ALL);

    fe_send(&c->vm.fe, FE_SET_FEATURES, FE_NEED_REPLY, &f, 8, NULL, 0);
}

static void features_set(struct cell *c)
{
    recv_ok(&c->vm, FE_SET_FEATURES, NULL);
    CHECK_EQ(fe_set_u64(&c->vm.fe, FE_SET_FEATURES, c->vm.fe.acked), 0, "");
}

static void send_reset(struct cell *c)
{
    fe_send(&c->vm.fe, FE_RESET_DEVICE, FE_NEED_REPLY, NULL, 0, NULL, 0);
}

/* The guest has to begin anew; what was under way is not answered any more. */
static void reset(struct cell *c)
{
    struct vm *vm = &c->vm;
    uint16_t used;

    recv_ok(vm, FE_RESET_DEVICE, NULL);
    used = c->q->used->idx;
    guest_kick(c->q);
    fe_get_u64(&vm->fe, FE_GET_FEATURES, &vm->fe.features);
    role_wait_asleep(c->ring.pid, role_thread(c->ring.pid, "vring1"));
    CHECK_EQ(c->q->used->idx, used, "quiet");
    for (unsigned int i = 0; i < vm->n; i++) {
        guest_queue_reset(&vm->q[i], 0);
        guest_eventfd_wait(vm->q[i].kick_fd, 0);
        guest_eventfd_wait(vm->q[i].call_fd, 0);
        fe_set_fd(&vm->fe, FE_SET_VRING_CALL, i, vm->q[i].call_fd);
    }
    CHECK_EQ(fe_set_u64(&vm->fe, FE_SET_FEATURES, vm->fe.acked), 0, "");
    vm_rings_start(vm);
    CHECK_EQ(fc_init(c->q, 0, NULL), 0, "INIT");
    memset(c->m, 0, sizeof(c->m));
}

static const struct act {
    const char *name;
    void (*send)(struct cell *c);
    void (*more)(struct cell *c); /* lies unread while the first waits */
    void (*then)(struct cell *c);
    bool quiet; /* the answer waits for the ring */
} acts[] = {
    { "disable", send_disable, NULL, disabled, true },
    { "disable, enable", send_off, send_on, enabled, true },
    { "swap the kick", send_kick, NULL, kick_swapped, false },
    { "swap the call", send_call, NULL, call_swapped, false },
    { "disable, swap the call, enable", send_off, send_call_on, enabled, true },
    { "disable, swap the kick, enable", send_off, send_kick_on, enabled, true },
    { "stop", send_stop, NULL, stopped, true },
    { "status 0", send_status_0, NULL, status_0, true },
    { "add memory", send_add, NULL, added, true },
    { "change features", send_features, NULL, features_set, true },
    { "reset", send_reset, NULL, reset, true },
};

/* ---- a cell of the table ---- */

/* With a pool a thread that is held in a request loses its ring. */
static bool there_is(enum place place)
{
    return place != RING_IN_REQUEST || getenv("VIRTIOFSD_EXTRA_ARG");
}

/* Request 0 is on the ring, and the ring's thread stands at @place. */
static bool arrive(struct cell *c, enum place place)
{
    struct guest_queue *q = c->q;
    uint64_t v;

    /* Control has done all of the cell before: should it still wait for the
     * ring, it would never read what this one sends. */
    if (!CHECK_EQ(fe_get_u64(&c->vm.fe, FE_GET_FEATURES, &v), 0, ""))
        return false;
    guest_eventfd_wait(q->call_fd, 0);
    ask_for_a_call(q);
    /* From its sleep on, so that it is the kick which leads there. */
    if (!hold_begin(&c->ring, &c->vm, q) || !hold_at(&c->ring, RING_SLEEPS))
        return false;
    if (place == RING_SEES_WAKE) {
        send_fd(&c->vm, FE_SET_VRING_ERR, q->idx, q->err_fd, false);
        if (!hold_at(&c->ring, place))
            return false;
    }
    put_getattr(q, &c->m[0], 0);
    guest_kick(q);
    return place == RING_SLEEPS || place == RING_SEES_WAKE ||
           hold_at(&c->ring, place);
}

/* All that was put comes back, and a guest which looks only when called finds
 * it. */
static void collect(struct cell *c)
{
    if (c->new_call && c->m[0].h.opcode != 0)
        CHECK(guest_eventfd_wait(c->q->call_fd, DEADLINE_MS) > 0,
              "the new call fd is told");
    c->new_call = false;
    for (unsigned int i = 0; i < 2; i++) {
        if (c->m[i].h.opcode != 0 && !take_getattr(c->q, c->m, 2))
            return;
    }
    /* The second look finds what the first left. */
    for (unsigned int i = 0; i < 2; i++) {
        if (c->m[i].h.opcode != 0 && !take_getattr(c->q, c->m, 2))
            return;
    }
    all_answered_once(c->q);
}

static void put_second(struct cell *c)
{
    put_getattr(c->q, &c->m[1], 1);
    guest_publish(c->q);
}

/* The ring is held until control can get no further. */
static void control_first(struct cell *c, enum place place, const struct act *a,
                          bool second)
{
    if (!arrive(c, place))
        return;
    a->send(c);
    if (second)
        put_second(c);
    control_settled(&c->vm, c->control);
    if (a->quiet)
        CHECK(!answer_is_there(&c->vm), "no answer before the ring is quiet");
    if (a->more)
        a->more(c);
    hold_end(&c->ring);
    a->then(c);
    collect(c);
}

/* Control is held at @at, in the midst of it, until the ring rests. */
static void ring_first(struct cell *c, enum place place, const struct act *a,
                       enum place at)
{
    if (!arrive(c, place) || !hold_begin(&c->ctl, &c->vm, NULL))
        return;
    a->send(c);
    if (a->more)
        a->more(c);
    if (hold_at(&c->ctl, at)) {
        pid_t tid = c->ring.tid;

        hold_end(&c->ring);
        role_wait_asleep(c->ring.pid, tid);
        put_second(c);
    }
    hold_end(&c->ctl);
    hold_end(&c->ring);
    a->then(c);
    collect(c);
}

static bool begin(struct cell *c)
{
    memset(c, 0, sizeof(*c));
    if (!vm_start_fuse(&c->vm, NULL))
        return false;
    c->q = &c->vm.q[1];
    c->control = role_pid(&c->vm, ROLE_CONTROL);
    return true;
}

static void end(struct cell *c)
{
    hold_end(&c->ring);
    hold_end(&c->ctl);
    vm_end(&c->vm);
}

static void tell(enum place place, const struct act *a, enum place at)
{
    if (tap_failing())
        tap_diag("when %s: %s%s%s", place_name[place], a->name,
                 at < PLACES ? "; " : "", at < PLACES ? place_name[at] : "");
}

static void control_does_anything_while_a_ring_stands_anywhere(void)
{
    struct cell c;

    if (begin(&c)) {
        for (int i = 0; i < ROUNDS(5); i++) {
            for (unsigned int p = RING_SLEEPS; p <= RING_CALLED; p++) {
                for (size_t k = 0; k < ARRAY_SIZE(acts); k++) {
                    if (!there_is(p))
                        continue;
                    if (tap_failing())
                        goto out;
                    control_first(&c, p, &acts[k], (i + k) % 2);
                    tell(p, &acts[k], PLACES);
                }
            }
        }
    }
out:
    end(&c);
}

static void a_ring_goes_on_while_control_stands_in_the_midst(void)
{
    static const enum place at[] = { CONTROL_PUBLISHED, CONTROL_WOKE,
                                     CONTROL_SENDS };
    struct cell c;

    if (begin(&c)) {
        for (size_t n = 0; n < ARRAY_SIZE(at); n++) {
            for (unsigned int p = RING_SLEEPS; p <= RING_CALLED; p++) {
                for (size_t k = 0; k < ARRAY_SIZE(acts); k++) {
                    if (!there_is(p))
                        continue;
                    if (tap_failing())
                        goto out;
                    ring_first(&c, p, &acts[k], at[n]);
                    tell(p, &acts[k], at[n]);
                }
            }
        }
    }
out:
    end(&c);
}

TAP_MAIN(TEST(control_does_anything_while_a_ring_stands_anywhere),
         TEST(a_ring_goes_on_while_control_stands_in_the_midst))
