/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <string.h>

/* What ended one virtiofs server or another, by name.  Here each costs the
 * guest an answer at most: the same ring serves on. */

/* One chain by hand; what its element came back with, or -1. */
static int64_t give(struct guest_queue *q, const struct guest_seg *segs,
                    size_t n)
{
    uint16_t head;
    uint32_t used = 0;

    if (!CHECK(guest_add(q, segs, n, false) >= 0, "it fits"))
        return -1;
    guest_publish(q);
    if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "it comes back"))
        return -1;
    return used;
}

static uint64_t header_at(struct vm *vm, uint32_t opcode, uint32_t len)
{
    uint64_t gpa = guest_alloc(&vm->mem, 4096, 4096);
    struct fuse_in_header *h = guest_at(&vm->mem, gpa, 4096);

    memset(h, 0, 4096);
    *h = (struct fuse_in_header){
        .len = len,
        .opcode = opcode,
        .unique = 4711,
        .nodeid = FC_ROOT,
    };
    return gpa;
}

VM_TEST(a_request_shorter_than_its_header, NULL)
{
    uint64_t at = header_at(vm, FUSE_GETATTR, 56);
    struct guest_seg segs[] = { { at, 39, false }, { at + 2048, 512, true } };

    CHECK_EQ(give(q, segs, 2), 0, "length 0");
    vm_alive(vm, VM_REQ);
}

VM_TEST(a_reply_buffer_too_small, NULL)
{
    uint64_t at = header_at(vm, FUSE_GETATTR, 56);
    struct guest_seg segs[] = { { at, 56, false }, { at + 2048, 16, true } };
    const struct fuse_out_header *out = guest_at(&vm->mem, at + 2048, 16);

    CHECK_EQ(give(q, segs, 2), 16, "room for an error: an error");
    CHECK(out->error < 0, "an error");
    CHECK_EQ(out->unique, 4711, "of this request");
    segs[1].len = 15;
    CHECK_EQ(give(q, segs, 2), 0, "no room for a header: length 0");
    CHECK_EQ(give(q, segs, 1), 0, "no room at all: length 0");
    vm_alive(vm, VM_REQ);
}

VM_TEST(a_zero_length_chain, NULL)
{
    uint64_t at = header_at(vm, FUSE_GETATTR, 56);
    struct guest_seg segs[] = { { at, 0, false }, { at + 2048, 0, true } };

    CHECK_EQ(give(q, segs, 2), 0, "two empty buffers");
    CHECK_EQ(give(q, segs, 1), 0, "one");
    CHECK_EQ(give(q, segs + 1, 1), 0, "one, writable");
    vm_alive(vm, VM_REQ);
}

VM_TEST(an_init_of_one_descriptor, NULL)
{
    uint64_t at =
        header_at(vm, FUSE_INIT,
                  sizeof(struct fuse_in_header) + sizeof(struct fuse_init_in));
    struct fuse_init_in *in =
        guest_at(&vm->mem, at + sizeof(struct fuse_in_header), sizeof(*in));
    struct guest_seg one = { at, 40 + sizeof(*in), false };

    *in = (struct fuse_init_in){ .major = 7, .minor = 31 };
    CHECK_EQ(give(q, &one, 1), 0, "nowhere to answer to: length 0");
    CHECK_EQ(fc_init(q, 0, NULL), 0, "and INIT is said again");
    vm_alive(vm, VM_REQ);
}

static const struct vm_opts two_queues = { .queues = 3 };

VM_TEST(a_second_request_queue_started, &two_queues)
{
    (void)q;
    vm_alive(vm, 2);
    vm_alive(vm, VM_REQ);
    vm_alive(vm, 2);
}

TAP_MAIN(TEST(a_request_shorter_than_its_header),
         TEST(a_reply_buffer_too_small), TEST(a_zero_length_chain),
         TEST(an_init_of_one_descriptor), TEST(a_second_request_queue_started))
