/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The control plane against rings that carry requests. */

/* Put a GETATTR on the ring and kick, whatever the device says. */
static void put_one(struct guest_queue *q, struct fm *m)
{
    static const struct fuse_getattr_in in;

    fm_init(m, FUSE_GETATTR, FC_ROOT);
    fm_add(m, &in, sizeof(in));
    m->room = sizeof(struct fuse_attr_out);
    if (!guest_queue_buf(q, fm_bytes(m)))
        return;
    CHECK_EQ(fm_put(q, m, 0), 0, "it fits");
    guest_publish_quietly(q);
}

static void take_one(struct guest_queue *q, struct fm *m, const char *why)
{
    uint16_t head;
    uint32_t used;

    if (CHECK_EQ(guest_wait(q, &head, &used), 0, why))
        CHECK_EQ(fm_reply(q, m, used), 0, why);
}

static void talk(struct vm *vm, int n)
{
    uint64_t v;

    while (n-- > 0)
        CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_FEATURES, &v), 0, "");
}

/*
 * The guest kicks before the front-end's ENABLE has been read: the request
 * has to be served after it.  How far the back-end has come with the kick
 * when ENABLE arrives differs from round to round.
 */
static void a_kick_before_enable_is_not_lost(void)
{
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, NULL)) {
        struct guest_queue *q = &vm.q[1];

        for (int round = 0; round < 300 && !q->lost; round++) {
            CHECK_EQ(fe_ring_enable(&vm.fe, q, false), 0, "");
            if (round % 2)
                talk(&vm, 1);
            put_one(q, &m);
            guest_kick(q);
            talk(&vm, round % 4);
            CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
            take_one(q, &m, "kicked while disabled");
        }
    }
    vm_end(&vm);
}

static void a_kick_before_the_start_is_not_lost(void)
{
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, NULL)) {
        struct guest_queue *q = &vm.q[1];
        uint32_t base = 0;

        for (int round = 0; round < 100 && !q->lost; round++) {
            CHECK_EQ(fe_ring_stop(&vm.fe, q, &base), 0, "");
            CHECK_EQ(base, q->avail_idx, "all of before is done");
            put_one(q, &m);
            /* Every other round has no kick at all. */
            if (round % 2)
                guest_kick(q);
            CHECK_EQ(fe_ring_start(&vm.fe, q, base), 0, "");
            talk(&vm, round % 3);
            CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
            take_one(q, &m, "there before the start");
        }
    }
    vm_end(&vm);
}

static void a_disabled_ring_is_left_alone(void)
{
    struct vm_opts o = { .queues = 3 };
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];

        for (int round = 0; round < 20; round++) {
            vm.fe.ack_all = true;
            CHECK_EQ(fe_ring_enable(&vm.fe, q, false), 0, "");
            put_one(q, &m);
            guest_kick(q);
            for (int i = 0; i < 5; i++)
                vm_alive(&vm, 2);
            CHECK_EQ(q->used->idx, q->used_idx, "nothing came back");
            /* Half of the kicks stay where they are, the other half we take
             * away: it is served as it is enabled all the same. */
            if (round % 2)
                CHECK(guest_eventfd_wait(q->kick_fd, 0) > 0,
                      "the kick is left alone too");
            CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
            take_one(q, &m, "served when enabled");
        }
    }
    vm_end(&vm);
}

static void a_ring_without_a_kick_fd_is_polled(void)
{
    struct vm_opts o = { .no_start = true };
    struct vm vm;
    struct fm m;

    if (vm_start(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];
        int fd = q->kick_fd;

        q->kick_fd = -1;
        CHECK_EQ(fe_ring_start(&vm.fe, q, 0), 0, "");
        CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
        CHECK_EQ(fc_init(q, 0, NULL), 0, "INIT");
        for (int i = 0; i < 20; i++) {
            put_one(q, &m);
            take_one(q, &m, "without a kick");
        }
        q->kick_fd = fd;
        CHECK_EQ(fe_set_fd(&vm.fe, FE_SET_VRING_KICK, 1, fd), 0, "");
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

static void a_ring_without_a_call_fd_is_served(void)
{
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, NULL)) {
        struct guest_queue *q = &vm.q[1];

        CHECK_EQ(fe_set_fd(&vm.fe, FE_SET_VRING_CALL, 1, -1), 0, "");
        for (int i = 0; i < 20; i++) {
            uint16_t head;
            uint32_t used;

            put_one(q, &m);
            guest_kick(q);
            if (CHECK_EQ(guest_spin(q, &head, &used), 0, "not called"))
                CHECK_EQ(fm_reply(q, &m, used), 0, "");
        }
        CHECK_EQ(fe_set_fd(&vm.fe, FE_SET_VRING_CALL, 1, q->call_fd), 0, "");
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

/* A kick written to the old eventfd just before the new one arrives still
 * counts: the request is on the ring. */
static void kick_and_call_fds_are_swapped_in_a_running_ring(void)
{
    struct vm vm;
    struct fm m;

    if (vm_start_fuse(&vm, NULL)) {
        struct guest_queue *q = &vm.q[1];

        for (int round = 0; round < 100 && !q->lost; round++) {
            int kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
            int call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

            CHECK_EQ(fe_set_fd(&vm.fe, FE_SET_VRING_CALL, 1, call), 0, "");
            /* From the reply on, calls come on the new one. */
            talk(&vm, 1);
            close(q->call_fd);
            q->call_fd = call;
            put_one(q, &m);
            if (round % 2)
                guest_kick(q);
            CHECK_EQ(fe_set_fd(&vm.fe, FE_SET_VRING_KICK, 1, kick), 0, "");
            close(q->kick_fd);
            q->kick_fd = kick;
            if (round % 4 == 0)
                guest_kick(q);
            take_one(q, &m, "served across the swap");
        }
    }
    vm_end(&vm);
}

static void the_base_counts_what_was_taken(void)
{
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        struct guest_queue *q = &vm.q[1];
        uint32_t base = 0;

        for (uint32_t n = 0; n < 40; n += 7) {
            for (uint32_t i = 0; i < n; i++)
                vm_alive(&vm, 1);
            CHECK_EQ(fe_ring_stop(&vm.fe, q, &base), 0, "");
            CHECK_EQ(base, q->avail_idx, "");
            CHECK_EQ(base, q->used->idx, "");
            CHECK_EQ(fe_get_base(&vm.fe, 1, &base), 0, "asked again");
            CHECK_EQ(base, q->avail_idx, "the same");
            CHECK_EQ(fe_ring_start(&vm.fe, q, base), 0, "");
            CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
        }
    }
    vm_end(&vm);
}

static void a_ring_never_started_has_base_0(void)
{
    struct vm_opts o = { .no_start = true };
    struct vm vm;
    uint32_t base = 9;

    if (vm_start(&vm, &o)) {
        CHECK_EQ(fe_get_base(&vm.fe, 64, &base), 0, "the last of them");
        CHECK_EQ(base, 0, "");
        CHECK_EQ(fe_set_state(&vm.fe, FE_SET_VRING_BASE, 3, 1234), 0, "");
        CHECK_EQ(fe_get_base(&vm.fe, 3, &base), 0, "");
        CHECK_EQ(base, 1234, "as it was set");
    }
    vm_end(&vm);
}

#define BIG   (1u << 20)
#define DEPTH 16

static bool put_reads(struct guest_queue *q, struct fm *m,
                      struct fuse_read_in *in, const struct fuse_entry_out *e)
{
    for (size_t i = 0; i < DEPTH; i++) {
        fm_init(&m[i], FUSE_READ, e->nodeid);
        fm_add(&m[i], in, sizeof(*in));
        m[i].room = BIG;
        if (!guest_queue_buf(q, fm_bytes(&m[i]) * DEPTH) ||
            !CHECK_EQ(fm_put(q, &m[i], fm_bytes(&m[i]) * i), 0, "it fits"))
            return false;
    }
    return true;
}

/* All the guest memory a ring's requests may write is filled, and has to stay
 * as it is while the other rings are at work. */
static void stays_quiet(struct vm *vm, struct guest_queue *q)
{
    uint8_t *buf = guest_queue_buf(q, q->buf_size);
    uint16_t used = q->used->idx;
    bool same = true;

    memset(buf, 0x77, q->buf_size);
    for (int i = 0; i < 10; i++)
        vm_alive(vm, 2);
    for (size_t i = 0; i < q->buf_size; i++)
        same = same && buf[i] == 0x77;
    CHECK(same, "guest memory stays as it is");
    CHECK_EQ(q->used->idx, used, "so does the used ring");
}

static void quiet_after(bool stop)
{
    struct vm_opts o = { .queues = 3 };
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct fm m[DEPTH];
    struct vm vm;
    char *data = calloc(1, BIG);

    if (vm_start_fuse(&vm, &o) &&
        CHECK_EQ(fc_create(&vm.q[1], NULL, FC_ROOT, "f", 2, 0644, &e, &f), 0,
                 "")) {
        struct guest_queue *q = &vm.q[1];
        struct fuse_read_in in = { .fh = f.fh, .size = BIG };

        host_write(&vm, "f", data, BIG);
        vm.fe.ack_all = true;
        for (int round = 0; round < 10; round++) {
            uint32_t base = 0;

            if (!put_reads(q, m, &in, &e))
                break;
            guest_publish(q);
            talk(&vm, round % 3);
            if (!stop) {
                CHECK_EQ(fe_ring_enable(&vm.fe, q, false), 0, "");
                stays_quiet(&vm, q);
            }
            CHECK_EQ(fe_ring_stop(&vm.fe, q, &base), 0, "");
            CHECK_EQ((uint16_t)base, q->used->idx,
                     "what was taken was finished");
            stays_quiet(&vm, q);
            guest_queue_reset(q, 0);
            CHECK_EQ(fe_ring_start(&vm.fe, q, 0), 0, "");
            CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
            vm_alive(&vm, 1);
        }
    }
    free(data);
    vm_end(&vm);
}

static void nothing_is_written_after_the_stop(void)
{
    quiet_after(true);
}

static void nothing_is_written_after_a_disable(void)
{
    quiet_after(false);
}

static void rings_restart_at_another_size_and_place(void)
{
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        uint32_t base;

        for (uint16_t size = 4; size <= 1024; size *= 4) {
            struct guest_queue q;

            CHECK_EQ(fe_ring_stop(&vm.fe, &vm.q[1], &base), 0, "");
            guest_queue_create(&q, &vm.mem, 1, size, vm.features);
            guest_queue_destroy(&vm.q[1]);
            vm.q[1] = q;
            fe_set_fd(&vm.fe, FE_SET_VRING_CALL, 1, q.call_fd);
            CHECK_EQ(fe_ring_start(&vm.fe, &vm.q[1], 0), 0, "");
            CHECK_EQ(fe_ring_enable(&vm.fe, &vm.q[1], true), 0, "");
            vm_alive(&vm, 1);
        }
    }
    vm_end(&vm);
}

static void a_guests_reset_begins_a_new_life(void)
{
    struct fuse_entry_out e;
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        for (int i = 0; i < 5; i++) {
            char name[8] = { 'd', (char)('0' + i), 0 };
            struct fuse_attr_out a;

            CHECK_EQ(fc_mkdir(&vm.q[1], NULL, FC_ROOT, name, 0755, &e), 0, "");
            vm_rings_stop(&vm);
            vm_rings_start(&vm);
            CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "INIT");
            CHECK_EQ(fc_getattr(&vm.q[1], e.nodeid, &a), -ESTALE,
                     "nodes of before are gone");
            vm_alive(&vm, 1);
        }
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(a_kick_before_enable_is_not_lost),
         TEST(a_kick_before_the_start_is_not_lost),
         TEST(a_disabled_ring_is_left_alone),
         TEST(a_ring_without_a_kick_fd_is_polled),
         TEST(a_ring_without_a_call_fd_is_served),
         TEST(kick_and_call_fds_are_swapped_in_a_running_ring),
         TEST(the_base_counts_what_was_taken),
         TEST(a_ring_never_started_has_base_0),
         TEST(nothing_is_written_after_the_stop),
         TEST(nothing_is_written_after_a_disable),
         TEST(rings_restart_at_another_size_and_place),
         TEST(a_guests_reset_begins_a_new_life))
