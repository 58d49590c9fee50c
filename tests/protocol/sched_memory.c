/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/sched_world.h"

#include <string.h>

/* Guest memory that comes and goes under a guest that never rests. */

#define POISON 0x66
#define INTO   8 /* requests that answer into the memory to be taken away */
#define ANSWER (sizeof(struct fuse_out_header) + LOAD_BYTES)

static const struct vm_opts slots = { .queues = 3 };
static const struct vm_opts table = {
    .queues = 3,
    .proto = VM_PROTO & ~BIT64(FE_PF_MEM_SLOTS),
};
/* Nobody tells when a change has been made. */
static const struct vm_opts unanswered = {
    .queues = 3,
    .proto = VM_PROTO & ~BIT64(FE_PF_REPLY_ACK),
};

static const struct guest_region *more_memory(struct world *w)
{
    int at = guest_mem_add(&w->vm.mem, EXTRA_GPA, EXTRA_SIZE);

    CHECK(at >= 0, "memory");
    return &w->vm.mem.r[at];
}

/* What was taken away is unmapped when that is answered. */
static void maps_as_before(struct world *w, int i)
{
    struct usage u;

    if (i % 20 == 0 && role_usage(w->request, &u))
        CHECK_EQ(u.guest_maps, w->before[1].guest_maps, "it is unmapped");
}

static void slot_round(struct world *w, int i)
{
    const struct guest_region *r = more_memory(w);

    CHECK_EQ(fe_add_region(&w->vm.fe, r), 0, "ADD_MEM_REG");
    if (i % 20 == 0)
        world_control_maps_nothing(w);
    CHECK_EQ(fe_remove_region(&w->vm.fe, r), 0, "REM_MEM_REG");
    guest_mem_pop(&w->vm.mem);
    maps_as_before(w, i);
}

static void regions_are_added_and_removed_under_load(void)
{
    world_rounds(&slots, ROUNDS(1500), slot_round);
}

static void unanswered_round(struct world *w, int i)
{
    const struct guest_region *r = more_memory(w);

    CHECK_EQ(fe_add_region(&w->vm.fe, r), 0, "ADD_MEM_REG");
    CHECK_EQ(fe_remove_region(&w->vm.fe, r), 0, "REM_MEM_REG");
    guest_mem_pop(&w->vm.mem);
    if (i % 20 == 0)
        world_talk(w);
    maps_as_before(w, i);
}

static void so_are_they_when_nobody_waits_for_it(void)
{
    world_rounds(&unanswered, ROUNDS(1500), unanswered_round);
}

static void table_round(struct world *w, int i)
{
    if (i % 3 == 0)
        CHECK_EQ(fe_mem_table(&w->vm.fe, &w->vm.mem), 0, "the same again");
    more_memory(w);
    CHECK_EQ(fe_mem_table(&w->vm.fe, &w->vm.mem), 0, "one more");
    if (i % 20 == 0)
        world_control_maps_nothing(w);
    guest_mem_pop(&w->vm.mem);
    CHECK_EQ(fe_mem_table(&w->vm.fe, &w->vm.mem), 0, "one less");
    maps_as_before(w, i);
}

static void tables_are_replaced_under_load(void)
{
    world_rounds(&table, ROUNDS(1000), table_round);
}

/* The ring's own memory is taken away and comes back: the ring stops and goes
 * on by itself, at its place. */
static void gone_round(struct world *w, int i)
{
    const struct guest_mem none = { .n = 0 };
    struct quiet s;

    load_progress(&w->l, 1 + (unsigned int)i % LOAD_DEPTH);
    load_pause(&w->l);
    CHECK_EQ(fe_mem_table(&w->vm.fe, &none), 0, "no memory at all");
    load_take(&w->l);
    quiet_begin(&s, &w->l);
    guest_kick(&w->vm.q[WORLD_BUSY]);
    for (int k = 0; k < 3; k++)
        world_talk(w);
    if (i % 20 == 0) {
        struct usage u;

        if (role_usage(w->request, &u))
            CHECK_EQ(u.guest_maps, 0, "none is mapped");
    }
    quiet_end(&s, &w->l);
    CHECK_EQ(fe_mem_table(&w->vm.fe, &w->vm.mem), 0, "all of it");
    load_resume(&w->l);
}

static void all_memory_goes_away_and_comes_back(void)
{
    world_rounds(&table, ROUNDS(300), gone_round);
}

/* Requests whose answers go into @r, as many as there is room for. */
static void ask_into(struct world *w, const struct guest_region *r,
                     uint64_t node, uint64_t fh)
{
    struct guest_queue *q = &w->vm.q[WORLD_OTHER];
    struct {
        struct fuse_in_header h;
        struct fuse_read_in in;
    } *req = guest_queue_buf(q, sizeof(*req) * INTO);

    for (unsigned int i = 0; i < INTO; i++) {
        const struct guest_seg segs[2] = {
            { q->buf_gpa + i * sizeof(*req), sizeof(*req), false },
            { r->gpa + i * 2 * LOAD_BYTES, ANSWER, true },
        };

        memset(&req[i], 0, sizeof(req[i]));
        req[i].h.len = sizeof(*req);
        req[i].h.opcode = FUSE_READ;
        req[i].h.unique = i + 1;
        req[i].h.nodeid = node;
        req[i].in.fh = fh;
        req[i].in.size = LOAD_BYTES;
        CHECK(guest_add(q, segs, 2, false) >= 0, "room");
    }
    guest_publish(q);
}

/* In memory that was taken away nothing may change from the answer on, also
 * when requests under way had named it. */
static void into_round(struct world *w, int i)
{
    struct guest_queue *q = &w->vm.q[WORLD_OTHER];
    const struct guest_region *r = more_memory(w);
    uint32_t base;
    bool same = true;

    CHECK_EQ(fe_add_region(&w->vm.fe, r), 0, "ADD_MEM_REG");
    ask_into(w, r, w->l.node, w->l.fh);
    if (i % 3)
        world_talk(w);
    CHECK_EQ(fe_remove_region(&w->vm.fe, r), 0, "REM_MEM_REG");
    memset(r->va, POISON, INTO * 2 * LOAD_BYTES);
    load_progress(&w->l, LOAD_DEPTH);
    for (size_t k = 0; k < INTO * 2 * LOAD_BYTES; k++)
        same = same && r->va[k] == POISON;
    CHECK(same, "nothing is written to memory which was taken away");
    CHECK((uint16_t)(q->used->idx - q->used_idx) <= INTO, "once at most");
    guest_mem_pop(&w->vm.mem);

    /* Those that came too late have broken the ring. */
    CHECK_EQ(fe_ring_stop(&w->vm.fe, q, &base), 0, "");
    guest_queue_reset(q, 0);
    guest_eventfd_wait(q->err_fd, 0);
    CHECK_EQ(fe_ring_start(&w->vm.fe, q, 0), 0, "");
    CHECK_EQ(fe_ring_enable(&w->vm.fe, q, true), 0, "");
    vm_alive(&w->vm, WORLD_OTHER);
}

static void nothing_is_written_to_memory_taken_away(void)
{
    world_rounds(&slots, ROUNDS(300), into_round);
}

TAP_MAIN(TEST(regions_are_added_and_removed_under_load),
         TEST(so_are_they_when_nobody_waits_for_it),
         TEST(tables_are_replaced_under_load),
         TEST(all_memory_goes_away_and_comes_back),
         TEST(nothing_is_written_to_memory_taken_away))
