/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <stdlib.h>
#include <string.h>

/* What a well-behaved driver may do with a ring. */

#define NO_EVENT_IDX (VM_RING_FEATURES & ~BIT64(FE_F_EVENT_IDX))

/* Put @n GETATTRs on the ring with one kick, take them back in any order. */
static bool batch(struct vm *vm, struct guest_queue *q, size_t n)
{
    struct fuse_getattr_in in = { 0 };
    struct fm *m = calloc(n, sizeof(*m));
    size_t each = 0, put = 0, back = 0;

    (void)vm;
    for (size_t i = 0; i < n; i++) {
        fm_init(&m[i], FUSE_GETATTR, FC_ROOT);
        fm_add(&m[i], &in, sizeof(in));
        m[i].room = sizeof(struct fuse_attr_out);
        m[i].in_seg = sizeof(m[i].h) + sizeof(in);
        m[i].out_seg = 4096;
        each = fm_bytes(&m[i]);
    }
    if (!CHECK(guest_queue_buf(q, each * n), "room for the requests"))
        goto out;
    while (put < n && fm_put(q, &m[put], put * each) == 0)
        put++;
    CHECK(put > 0, "at least one fits");
    guest_publish(q);
    while (back < put) {
        uint16_t head;
        uint32_t used;
        size_t i = 0;

        if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "all come back"))
            break;
        while (i < put && m[i].head != head)
            i++;
        if (!CHECK(i < put, "a head that was ours"))
            break;
        CHECK_EQ(fm_reply(q, &m[i], used), 0, "GETATTR");
        m[i].head = UINT16_MAX;
        back++;
    }
out:
    free(m);
    return back == put;
}

static void ring_of(uint16_t size, uint64_t features)
{
    struct vm_opts o = { .size = size,
                         .features = features,
                         .mem_high = (uint64_t)256 << 20,
                         .no_start = true };
    /* Shortly before the indexes wrap, wherever the ring does. */
    const uint16_t base = 65536 - 20;
    struct vm vm;

    if (vm_start(&vm, &o)) {
        guest_queue_reset(&vm.q[1], base);
        CHECK_EQ(fe_ring_start(&vm.fe, &vm.q[0], 0), 0, "");
        CHECK_EQ(fe_ring_start(&vm.fe, &vm.q[1], base), 0, "");
        CHECK_EQ(fe_ring_enable(&vm.fe, &vm.q[1], true), 0, "");
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "INIT");
        for (int i = 0; i < 50 && vm_alive(&vm, 1); i++)
            ;
        for (int i = 0; i < 3; i++)
            batch(&vm, &vm.q[1], MIN(size / 2, 512));
    }
    vm_end(&vm);
}

static void rings_of_every_size_wrap_around(void)
{
    for (uint32_t size = 4; size <= 32768; size *= 2)
        ring_of((uint16_t)size, VM_RING_FEATURES);
}

static void rings_without_event_idx_wrap_around(void)
{
    ring_of(4, NO_EVENT_IDX);
    ring_of(128, NO_EVENT_IDX);
    ring_of(32768, NO_EVENT_IDX);
}

/* There is room for a chain of two only in an indirect table. */
static void the_smallest_rings_serve_indirect_chains(void)
{
    for (uint16_t size = 1; size <= 2; size++) {
        struct vm_opts o = { .size = size };
        struct fuse_getattr_in in = { 0 };
        struct vm vm;

        if (vm_start(&vm, &o)) {
            struct fuse_init_in init = { .major = 7, .minor = 31 };
            struct fm m;

            fm_init(&m, FUSE_INIT, 0);
            fm_add(&m, &init, sizeof(init));
            m.room = sizeof(struct fuse_init_out);
            m.indirect = true;
            CHECK_EQ(fm_call(&vm.q[1], &m), 0, "INIT");
            for (int i = 0; i < 10; i++) {
                fm_init(&m, FUSE_GETATTR, FC_ROOT);
                fm_add(&m, &in, sizeof(in));
                m.room = sizeof(struct fuse_attr_out);
                m.indirect = true;
                CHECK_EQ(fm_call(&vm.q[1], &m), 0, "GETATTR");
            }
        }
        vm_end(&vm);
    }
}

static const struct {
    const char *why;
    size_t in_seg, out_seg, skew;
} shapes[] = {
    { "as Linux does", 0, 0, 0 },
    { "one segment each", 1 << 20, 1 << 20, 0 },
    { "off a page's start", 0, 0, 17 },
    { "header in 1-byte segments", 1, 16, 0 },
    { "reply in 1-byte segments", 40, 1, 0 },
    { "all in 1-byte segments", 1, 1, 3 },
    { "headers cut in the middle", 7, 11, 5 },
    { "pages", 4096, 4096, 0 },
    { "pages across pages", 4096, 4096, 2048 },
};

#define SHAPE_BYTES 400

static void one_shape(struct vm *vm, size_t i, bool indirect,
                      const struct fuse_entry_out *e, uint64_t fh)
{
    uint8_t data[SHAPE_BYTES], back[SHAPE_BYTES];
    struct fuse_write_in w = { .fh = fh, .size = SHAPE_BYTES };
    struct fuse_read_in r = { .fh = fh, .size = SHAPE_BYTES };
    struct fm m;

    fill_pattern(data, sizeof(data), (uint32_t)i * 2 + indirect);
    fm_init(&m, FUSE_WRITE, e->nodeid);
    fm_add(&m, &w, sizeof(w));
    fm_add(&m, data, sizeof(data));
    m.room = sizeof(struct fuse_write_out);
    m.in_seg = shapes[i].in_seg;
    m.out_seg = shapes[i].out_seg;
    m.skew = shapes[i].skew;
    m.indirect = indirect;
    CHECK_EQ(fm_call(&vm->q[1], &m), 0, shapes[i].why);
    CHECK_EQ(host_read(vm, "f", back, sizeof(back)), sizeof(back), "");
    CHECK_MEM(back, data, sizeof(data), shapes[i].why);

    fm_init(&m, FUSE_READ, e->nodeid);
    fm_add(&m, &r, sizeof(r));
    m.room = SHAPE_BYTES;
    m.in_seg = shapes[i].in_seg;
    m.out_seg = shapes[i].out_seg;
    m.skew = shapes[i].skew;
    m.indirect = indirect;
    if (CHECK_EQ(fm_call(&vm->q[1], &m), 0, shapes[i].why) &&
        CHECK_EQ(m.out_len, SHAPE_BYTES, shapes[i].why))
        CHECK_MEM(m.out, data, sizeof(data), shapes[i].why);
}

static void chains_of_every_shape_carry_their_bytes(void)
{
    struct vm_opts o = { .size = 1024 };
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        CHECK_EQ(fc_create(&vm.q[1], NULL, FC_ROOT, "f", 2, 0644, &e, &f), 0,
                 "CREATE");
        for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
            one_shape(&vm, i, false, &e, f.fh);
            one_shape(&vm, i, true, &e, f.fh);
        }
    }
    vm_end(&vm);
}

/* Wait without being called. */
static void take_quietly(struct guest_queue *q, size_t n)
{
    uint16_t head;
    uint32_t used;

    while (n-- > 0)
        CHECK_EQ(guest_spin(q, &head, &used), 0, "it comes back");
}

static bool put_getattrs(struct guest_queue *q, size_t n)
{
    static const struct fuse_getattr_in in;

    for (size_t i = 0; i < n; i++) {
        struct fm m;

        fm_init(&m, FUSE_GETATTR, FC_ROOT);
        fm_add(&m, &in, sizeof(in));
        m.room = sizeof(struct fuse_attr_out);
        if (!guest_queue_buf(q, fm_bytes(&m) * n) ||
            !CHECK_EQ(fm_put(q, &m, fm_bytes(&m) * i), 0, "it fits"))
            return false;
    }
    return true;
}

/* After the ring is stopped no call can follow, so what is in the eventfd is
 * all there was. */
static uint64_t calls_until_stopped(struct vm *vm)
{
    uint32_t base;

    CHECK_EQ(fe_ring_stop(&vm->fe, &vm->q[1], &base), 0, "it stops");
    return guest_eventfd_wait(vm->q[1].call_fd, 0);
}

static void no_call_comes_before_the_index_asked_for(void)
{
    for (int want = 0; want < 2; want++) {
        struct vm vm;

        if (vm_start_fuse(&vm, NULL) && put_getattrs(&vm.q[1], 10)) {
            struct guest_queue *q = &vm.q[1];
            uint16_t *event = (uint16_t *)&q->avail->ring[q->size];

            guest_eventfd_wait(q->call_fd, 0);
            /* The tenth from here, or one long past. */
            *event = (uint16_t)(want ? q->used_idx + 9 : q->used_idx - 1);
            guest_publish(q);
            take_quietly(q, 10);
            if (want)
                CHECK(guest_eventfd_wait(q->call_fd, DEADLINE_MS) > 0,
                      "the tenth calls");
            else
                CHECK_EQ(calls_until_stopped(&vm), 0, "nobody asked");
        }
        vm_end(&vm);
    }
}

static void no_call_comes_when_the_flag_says_so(void)
{
    struct vm_opts o = { .features = NO_EVENT_IDX };
    struct vm vm;

    if (vm_start_fuse(&vm, &o) && put_getattrs(&vm.q[1], 10)) {
        struct guest_queue *q = &vm.q[1];

        guest_eventfd_wait(q->call_fd, 0);
        q->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
        guest_publish(q);
        take_quietly(q, 10);
        CHECK_EQ(calls_until_stopped(&vm), 0, "no call is wanted");
    }
    vm_end(&vm);
}

/* Eight in flight, each replaced as it comes back, kicks only where asked. */
static void pipeline(uint64_t features, size_t total)
{
    struct vm_opts o = { .features = features };
    size_t put = 8, back = 0;
    struct vm vm;

    if (vm_start_fuse(&vm, &o) && put_getattrs(&vm.q[1], 8)) {
        struct guest_queue *q = &vm.q[1];
        size_t slot_of[128] = { 0 };
        struct fm m;

        guest_publish(q);
        for (uint16_t i = 0; i < 8; i++)
            slot_of[q->avail->ring[(q->avail_idx - 8 + i) % q->size]] = i;
        while (back < put) {
            static const struct fuse_getattr_in in;
            uint16_t head;
            uint32_t used;
            size_t slot;

            if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "none is lost"))
                break;
            back++;
            if (put == total)
                continue;
            slot = slot_of[head];
            fm_init(&m, FUSE_GETATTR, FC_ROOT);
            fm_add(&m, &in, sizeof(in));
            m.room = sizeof(struct fuse_attr_out);
            CHECK_EQ(fm_put(q, &m, fm_bytes(&m) * slot), 0, "");
            slot_of[m.head] = slot;
            guest_publish(q);
            put++;
        }
        CHECK_EQ(back, total, "all came back");
    }
    vm_end(&vm);
}

static void no_request_is_lost_between_kick_and_sleep(void)
{
    pipeline(VM_RING_FEATURES, 20000);
    pipeline(NO_EVENT_IDX, 20000);
}

static bool put_at(struct guest_queue *q, size_t slot)
{
    static const struct fuse_getattr_in in;
    struct fm m;

    fm_init(&m, FUSE_GETATTR, FC_ROOT);
    fm_add(&m, &in, sizeof(in));
    m.room = sizeof(struct fuse_attr_out);
    return guest_queue_buf(q, fm_bytes(&m) * 2) &&
           CHECK_EQ(fm_put(q, &m, fm_bytes(&m) * slot), 0, "it fits");
}

/*
 * The guest looks at the used ring without a rest and has its next request
 * ready, so that it comes just as the device is about to sleep: a little
 * later in each round, to meet every step on that way.
 */
static void a_guest_that_never_sleeps_is_never_forgotten(void)
{
    static const uint64_t features[] = { VM_RING_FEATURES, NO_EVENT_IDX };

    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        struct vm_opts o = { .features = features[i] };
        struct vm vm;

        if (vm_start_fuse(&vm, &o) && put_at(&vm.q[1], 0)) {
            for (uint32_t n = 1; n < 50000; n++) {
                uint16_t head;
                uint32_t used;

                guest_publish(&vm.q[1]);
                if (!put_at(&vm.q[1], n % 2) ||
                    !CHECK_EQ(guest_spin(&vm.q[1], &head, &used), 0,
                              "it comes back"))
                    break;
                for (volatile uint32_t k = 0; k < n % 128; k++)
                    ;
            }
        }
        vm_end(&vm);
    }
}

/* A guest with nothing to say may kick all the same, QEMU's does at start. */
static void kicks_with_nothing_on_the_ring_do_no_harm(void)
{
    struct vm vm;

    if (vm_start(&vm, NULL)) {
        for (int i = 0; i < 100; i++) {
            guest_kick(&vm.q[0]);
            guest_kick(&vm.q[1]);
        }
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "INIT");
        vm_alive(&vm, 1);
        CHECK_EQ(fc_forget(&vm.q[0], 77, 1), FM_EMPTY, "hiprio");
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(rings_of_every_size_wrap_around),
         TEST(rings_without_event_idx_wrap_around),
         TEST(the_smallest_rings_serve_indirect_chains),
         TEST(chains_of_every_shape_carry_their_bytes),
         TEST(no_call_comes_before_the_index_asked_for),
         TEST(no_call_comes_when_the_flag_says_so),
         TEST(no_request_is_lost_between_kick_and_sleep),
         TEST(a_guest_that_never_sleeps_is_never_forgotten),
         TEST(kicks_with_nothing_on_the_ring_do_no_harm))
