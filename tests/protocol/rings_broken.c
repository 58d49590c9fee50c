/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <string.h>

/*
 * What a guest may write into a ring without ending anything but that ring:
 * its err eventfd is signalled, the other rings go on, and GET_VRING_BASE and
 * a new start heal it.
 */

#define BUF   0x1000u /* in low memory, ours */
#define HOLE  ((uint64_t)0xc0000000)
#define NEXT  VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIR VRING_DESC_F_INDIRECT

struct fault {
    const char *why;
    struct vring_desc d[3]; /* descriptors 0 to 2 of the ring */
    uint16_t head;
    struct vring_desc table[3]; /* at TABLE */
    uint16_t idx_jump;          /* avail index goes ahead by so much more */
};

/* Guest memory set aside for indirect tables; filled in at run time. */
#define TABLE ((uint64_t)0x2000)

/* clang-format off */
static const struct fault faults[] = {
    { "a descriptor that follows itself",
      { { BUF, 64, NEXT, 0 } } },
    { "a loop of two",
      { { BUF, 40, NEXT, 1 }, { BUF, 64, NEXT, 0 } } },
    { "a loop behind the reply",
      { { BUF, 40, NEXT, 1 }, { BUF, 64, NEXT | WRITE, 1 } } },
    { "a loop of empty descriptors",
      { { BUF, 0, NEXT, 1 }, { BUF, 0, NEXT, 0 } } },
    { "next beyond the ring",
      { { BUF, 40, NEXT, 128 } } },
    { "next is the largest number",
      { { BUF, 40, NEXT, 65535 } } },
    { "a head beyond the ring", { { 0 } }, 128 },
    { "the largest head", { { 0 } }, 65535 },
    { "readable after writable",
      { { BUF, 40, NEXT, 1 }, { BUF, 64, NEXT | WRITE, 2 },
        { BUF, 64, 0, 0 } } },
    { "in the hole of memory",
      { { HOLE, 56, NEXT, 1 }, { BUF, 200, WRITE, 0 } } },
    { "beyond all memory",
      { { (uint64_t)1 << 50, 56, NEXT, 1 }, { BUF, 200, WRITE, 0 } } },
    { "across the end of a region",
      { { (16 << 20) - 8, 56, NEXT, 1 }, { BUF, 200, WRITE, 0 } } },
    { "wraps the address space",
      { { UINT64_MAX - 8, 56, NEXT, 1 }, { BUF, 200, WRITE, 0 } } },
    { "4 GiB long",
      { { BUF, UINT32_MAX, NEXT, 1 }, { BUF, 200, WRITE, 0 } } },
    { "a reply into the hole",
      { { BUF, 56, NEXT, 1 }, { HOLE, 200, WRITE, 0 } } },
    { "an indirect table of no whole descriptors",
      { { TABLE, 24, INDIR, 0 } } },
    { "an empty indirect table",
      { { TABLE, 0, INDIR, 0 } } },
    { "an indirect table in the hole",
      { { HOLE, 32, INDIR, 0 } } },
    { "an indirect table across the end of a region",
      { { (16 << 20) - 16, 32, INDIR, 0 } } },
    { "an indirect table of 4 GiB",
      { { TABLE, UINT32_MAX - 15, INDIR, 0 } } },
    { "indirect and next at once",
      { { TABLE, 32, INDIR | NEXT, 1 }, { BUF, 200, WRITE, 0 } }, 0,
      { { BUF, 56, NEXT, 1 }, { BUF, 200, WRITE, 0 } } },
    { "indirect in indirect",
      { { TABLE, 32, INDIR, 0 } }, 0,
      { { TABLE, 32, INDIR, 0 } } },
    { "a loop in an indirect table",
      { { TABLE, 32, INDIR, 0 } }, 0,
      { { BUF, 56, NEXT, 1 }, { BUF, 64, NEXT | WRITE, 0 } } },
    { "next beyond an indirect table",
      { { TABLE, 32, INDIR, 0 } }, 0,
      { { BUF, 56, NEXT, 2 }, { BUF, 64, WRITE, 0 } } },
    { "readable after writable in an indirect table",
      { { TABLE, 48, INDIR, 0 } }, 0,
      { { BUF, 40, NEXT, 1 }, { BUF, 64, NEXT | WRITE, 2 },
        { BUF, 64, 0, 0 } } },
    { "more available than the ring holds",
      { { BUF, 56, NEXT, 1 }, { BUF, 200, WRITE, 0 } }, .idx_jump = 200 },
    { "an avail index from far away",
      { { BUF, 56, NEXT, 1 }, { BUF, 200, WRITE, 0 } }, .idx_jump = 32768 },
};
/* clang-format on */

static void commit_fault(struct vm *vm, struct guest_queue *q,
                         const struct fault *f)
{
    for (uint16_t i = 0; i < ARRAY_SIZE(f->d); i++)
        q->desc[i] = f->d[i];
    memcpy(guest_at(&vm->mem, TABLE, sizeof(f->table)), f->table,
           sizeof(f->table));
    guest_add_head(q, f->head);
    q->avail_idx = (uint16_t)(q->avail_idx + f->idx_jump);
    guest_publish_quietly(q);
    guest_kick(q);
}

static bool restart(struct vm *vm, struct guest_queue *q)
{
    uint32_t base;

    if (!CHECK_EQ(fe_ring_stop(&vm->fe, q, &base), 0, "a broken ring stops"))
        return false;
    guest_queue_reset(q, 0);
    return CHECK_EQ(fe_ring_start(&vm->fe, q, 0), 0, "and starts") &&
           CHECK_EQ(fe_ring_enable(&vm->fe, q, true), 0, "and is enabled");
}

static void break_ring(struct vm *vm, unsigned int i)
{
    struct guest_queue *q = &vm->q[i];

    for (size_t k = 0; k < ARRAY_SIZE(faults); k++) {
        commit_fault(vm, q, &faults[k]);
        CHECK(guest_eventfd_wait(q->err_fd, DEADLINE_MS) > 0, faults[k].why);
        /* Neither the kick nor a second look can wake it. */
        guest_kick(q);
        vm_alive(vm, 2);
        if (!restart(vm, q) || !(i == 0 || vm_alive(vm, i))) {
            tap_diag("at: %s", faults[k].why);
            return;
        }
    }
}

static void a_bad_chain_breaks_its_ring_only(void)
{
    struct vm_opts o = { .queues = 3 };
    struct vm vm;

    if (vm_start_fuse(&vm, &o))
        break_ring(&vm, 1);
    vm_end(&vm);
}

static void a_bad_chain_breaks_hiprio_only(void)
{
    struct vm_opts o = { .queues = 3 };
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        break_ring(&vm, 0);
        CHECK_EQ(fc_forget(&vm.q[0], 4711, 1), FM_EMPTY, "hiprio serves");
    }
    vm_end(&vm);
}

static void indirect_chains_need_their_feature(void)
{
    struct vm_opts o = { .queues = 3,
                         .features = VM_RING_FEATURES & ~BIT64(FE_F_INDIRECT) };
    static const struct fault f = { "indirect, not negotiated",
                                    { { TABLE, 32, INDIR, 0 } },
                                    0,
                                    { { BUF, 56, NEXT, 1 },
                                      { BUF, 200, WRITE, 0 } },
                                    0 };
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        commit_fault(&vm, &vm.q[1], &f);
        CHECK(guest_eventfd_wait(vm.q[1].err_fd, DEADLINE_MS) > 0, f.why);
        vm_alive(&vm, 2);
    }
    vm_end(&vm);
}

/* Nobody has said where to tell of it. */
static void a_ring_may_break_without_an_err_fd(void)
{
    struct vm_opts o = { .queues = 3 };
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        CHECK_EQ(fe_set_fd(&vm.fe, FE_SET_VRING_ERR, 1, -1), 0, "");
        commit_fault(&vm, &vm.q[1], &faults[0]);
        CHECK(daemon_wait_log(vm.d, "broken"), "it is logged");
        vm_alive(&vm, 2);
        restart(&vm, &vm.q[1]);
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

/* As many words as there are ways to be wrong: nothing but the ring breaks,
 * and it can always be started again. */
static void rings_full_of_noise_break_or_answer(void)
{
    struct vm_opts o = { .queues = 3 };
    struct vm vm;
    uint32_t seed = 12345;

    if (!vm_start_fuse(&vm, &o))
        goto out;
    for (int round = 0; round < 200; round++) {
        struct guest_queue *q = &vm.q[1];
        uint8_t *p = (uint8_t *)q->desc;

        for (size_t i = 0; i < q->size * sizeof(*q->desc); i++) {
            seed = seed * 1664525 + 1013904223;
            /* Mostly small numbers: those pass the first checks. */
            p[i] = (seed >> 24) % 5 ? (uint8_t)((seed >> 16) & 3)
                                    : (uint8_t)(seed >> 16);
        }
        for (uint16_t i = 0; i < 16; i++)
            guest_add_head(q, (uint16_t)((seed >> i) & 127));
        guest_publish_quietly(q);
        guest_kick(q);
        vm_alive(&vm, 2);
        if (!restart(&vm, q) || !vm_alive(&vm, 1))
            break;
    }
out:
    vm_end(&vm);
}

TAP_MAIN(TEST(a_bad_chain_breaks_its_ring_only),
         TEST(a_bad_chain_breaks_hiprio_only),
         TEST(indirect_chains_need_their_feature),
         TEST(a_ring_may_break_without_an_err_fd),
         TEST(rings_full_of_noise_break_or_answer))
