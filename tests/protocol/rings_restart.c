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

TAP_MAIN(TEST(a_start_that_is_stopped_at_once_keeps_its_base))
