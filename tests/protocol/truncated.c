/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A front-end that cuts short the memory it shared, while it is in use. */

#define EXTRA_GPA  ((uint64_t)2 << 32)
#define EXTRA_SIZE ((uint64_t)1 << 20)

static void cut(struct vm *vm)
{
    for (unsigned int i = 0; i < vm->mem.n; i++)
        CHECK_EQ(ftruncate(vm->mem.r[i].fd, 0), 0, "cut");
}

/* The connection ends, with a line that says why, and the daemon after it:
 * by itself, not by a signal, and all of it (daemon_end() sees to that). */
static void ends_well(struct vm *vm)
{
    CHECK_EQ(fe_wait_closed(&vm->fe), 0, "the connection ends");
    CHECK(daemon_wait_log(vm->d, "guest memory is gone"), "said so");
    CHECK(!daemon_log_has(vm->d, "SIGBUS"), "not by the signal");
    CHECK(!daemon_log_has(vm->d, "Bus error"), "not by the signal");
    fe_close(&vm->fe);
    daemon_end(vm->d, END_NONZERO);
    vm->d = NULL;
}

static void rings_that_vanish_end_the_connection(void)
{
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        cut(&vm);
        guest_kick(&vm.q[1]);
        ends_well(&vm);
    }
    vm_end(&vm);
}

/* The ring stays; the memory which a reply should go to does not. */
static void buffers_that_vanish_end_the_connection(void)
{
    static const struct fuse_getattr_in in;
    struct guest_seg segs[2];
    struct fuse_in_header *h;
    struct vm vm;

    if (vm_start_fuse(&vm, NULL) &&
        CHECK(guest_mem_add(&vm.mem, EXTRA_GPA, EXTRA_SIZE) > 0, "")) {
        struct guest_region *extra = &vm.mem.r[vm.mem.n - 1];
        struct guest_queue *q = &vm.q[1];
        uint64_t at = guest_alloc(&vm.mem, 4096, 4096);

        CHECK_EQ(fe_add_region(&vm.fe, extra), 0, "");
        h = guest_at(&vm.mem, at, 4096);
        *h = (struct fuse_in_header){
            .len = sizeof(*h) + sizeof(in),
            .opcode = FUSE_GETATTR,
            .unique = 1,
            .nodeid = FC_ROOT,
        };
        memcpy(h + 1, &in, sizeof(in));
        segs[0] = (struct guest_seg){ at, h->len, false };
        segs[1] = (struct guest_seg){ extra->gpa, 4096, true };
        CHECK(guest_add(q, segs, 2, false) >= 0, "");
        CHECK_EQ(ftruncate(extra->fd, 0), 0, "cut");
        guest_publish(q);
        guest_kick(q);
        ends_well(&vm);
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(rings_that_vanish_end_the_connection),
         TEST(buffers_that_vanish_end_the_connection))
