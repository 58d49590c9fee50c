/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

/* Starts and stops that follow each other faster than threads look. */

/*
 * The ring's thread may see the start, or only the stop behind it; either way
 * the ring stands where the start put it.
 */
static void a_start_that_is_stopped_at_once_keeps_its_base(void)
{
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        struct guest_queue *q = &vm.q[1];
        uint32_t base = 0;

        CHECK_EQ(fe_ring_stop(&vm.fe, q, &base), 0, "");
        for (uint32_t round = 1; round <= 2000; round++) {
            uint32_t want = round * 7919 % 65536;

            if (round % 50 == 0)
                want = 0;
            guest_queue_reset(q, (uint16_t)want);
            if (!CHECK_EQ(fe_ring_start(&vm.fe, q, want), 0, "start") ||
                !CHECK_EQ(fe_get_base(&vm.fe, q->idx, &base), 0, "stop") ||
                !CHECK_EQ(base, want, "where it was put"))
                break;
        }
        guest_queue_reset(q, 0);
        CHECK_EQ(fe_ring_start(&vm.fe, q, 0), 0, "");
        CHECK_EQ(fe_ring_enable(&vm.fe, q, true), 0, "");
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

/* Put @n FSYNCs on the ring and kick once: where there are several the pool
 * gets them.  Of a file that is not open, so they take no time. */
static void put_many(struct guest_queue *q, unsigned int n)
{
    static const struct fuse_fsync_in in = { .fh = UINT64_MAX };
    struct fm m;

    for (unsigned int i = 0; i < n; i++) {
        fm_init(&m, FUSE_FSYNC, FC_ROOT);
        fm_add(&m, &in, sizeof(in));
        CHECK_EQ(fm_put(q, &m, i * 2 * GUEST_PAGE), 0, "it fits");
    }
    guest_publish_quietly(q);
    guest_kick(q);
}

/*
 * A stop meets a pool that is just finishing: the finished job and the new
 * slot come with one wake, and the thread has to see both.  (It once slept on
 * with the finished job in its list.)
 */
static void a_stop_under_load_waits_for_the_pool_and_no_longer(void)
{
    static const char *const args[] = { "--thread-pool-size=2", NULL };
    static const struct vm_opts o = { .d = { .args = args } };
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[1];

        CHECK(guest_queue_buf(q, 16 * 2 * GUEST_PAGE) != NULL, "");
        for (int round = 0; round < 3000 && !q->lost; round++) {
            uint16_t head, taken = 0;
            uint32_t used, base = 0;

            put_many(q, 1 + (unsigned int)round % 8);
            if (!CHECK_EQ(fe_get_base(&vm.fe, q->idx, &base), 0, "stop"))
                break;
            while (guest_take(q, &head, &used))
                taken++;
            CHECK_EQ((uint16_t)base, q->used_idx, "what was taken is done");
            CHECK(taken <= 8, "and nothing twice");
            guest_queue_reset(q, 0);
            CHECK_EQ(fe_ring_start(&vm.fe, q, 0), 0, "");
        }
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(a_start_that_is_stopped_at_once_keeps_its_base),
         TEST(a_stop_under_load_waits_for_the_pool_and_no_longer))
