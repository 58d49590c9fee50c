/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/protocol/hang_lib.h"

/* Rings that are stopped while the host's file system does not answer. */

/* Stop the ring on which @m hangs: @m comes back with EINTR, and first. */
static void stop(struct scene *s, struct guest_queue *q, struct fm *m)
{
    uint16_t head;
    uint32_t base = 0, used;

    vm_alive(&s->vm, 2);
    CHECK_EQ(fe_get_base(&s->vm.fe, q->idx, &base), 0, "the ring stops");
    CHECK_EQ(base, q->avail_idx, "with nothing left on it");
    if (CHECK(guest_take(q, &head, &used), "the request was answered before"))
        CHECK_EQ(fm_reply(q, m, used), -EINTR, "as interrupted");
    CHECK(!guest_take(q, &head, &used), "once");
}

static void start_again(struct scene *s, struct guest_queue *q)
{
    guest_queue_reset(q, 0);
    CHECK_EQ(fe_ring_start(&s->vm.fe, q, 0), 0, "");
    CHECK_EQ(fe_ring_enable(&s->vm.fe, q, true), 0, "");
    vm_alive(&s->vm, 1);
    vm_alive(&s->vm, 2);
}

/* A file whose reads take so long is slow. */
#define LONG_US 50000

/* One READ takes long: the file is known to be slow, the pool reads it. */
static void show_slow(struct scene *s, struct guest_queue *q, struct fm *m,
                      struct fuse_read_in *in)
{
    hang_put(s, q, m);
    usleep(LONG_US);
    hangfs_answer(s->fs, 0x11);
    hang_take_read(q, m);
    in->offset += HANGFS_BYTES;
}

static void a_slow_read_lets_others_of_its_queue_pass(void)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fuse_read_in in;
    struct fm m;

    if (!hang_begin(&s, &(struct vm_opts){ 0 }))
        goto out;
    hang_make_read(q, &m, &in);
    show_slow(&s, q, &m, &in);
    for (int i = 0; i < 3; i++) {
        hang_put(&s, q, &m);
        for (int k = 0; k < 10; k++)
            vm_alive(&s.vm, 1);
        usleep(LONG_US);
        hangfs_answer(s.fs, 0x22);
        hang_take_read(q, &m);
        in.offset += HANGFS_BYTES;
    }
out:
    hang_end(&s);
}

/* A READ hangs for good: its thread is given up, and when the answer comes
 * after all not a byte of it reaches the guest. */
static void give_up(const struct vm_opts *opts, bool in_pool)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fuse_read_in in;
    struct fm m;
    size_t before;
    uint8_t *reply;

    if (!hang_begin(&s, opts))
        goto out;
    before = hang_threads(s.fuse);
    hang_make_read(q, &m, &in);
    if (in_pool)
        show_slow(&s, q, &m, &in);
    hang_put(&s, q, &m);
    stop(&s, q, &m);
    CHECK_EQ(hang_threads(s.fuse), before + 1, "one hangs, one is new");

    reply = guest_at(&s.vm.mem, m.out_gpa, sizeof(m.oh) + in.size);
    memset(reply, 0x5a, sizeof(m.oh) + in.size);
    hangfs_answer(s.fs, 0xee);
    for (int i = 0; i < DEADLINE_MS && hang_threads(s.fuse) != before; i++)
        usleep(1000);
    CHECK_EQ(hang_threads(s.fuse), before, "the old thread came to its end");
    for (size_t i = 0; i < sizeof(m.oh) + in.size; i++) {
        if (!CHECK_EQ(reply[i], 0x5a, "guest memory was left alone"))
            break;
    }
    start_again(&s, q);
out:
    hang_end(&s);
}

static void a_ring_stops_although_its_thread_hangs(void)
{
    static const char *const args[] = { "--thread-pool-size=0", NULL };

    give_up(&(struct vm_opts){ .d = { .args = args } }, false);
}

static void a_ring_stops_although_the_pool_hangs(void)
{
    static const char *const args[] = { "--thread-pool-size=2", NULL };

    give_up(&(struct vm_opts){ .d = { .args = args } }, true);
}

static void what_can_be_interrupted_is(void)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fuse_entry_out e;
    struct fm m;
    size_t before;

    if (!hang_begin(&s, &(struct vm_opts){ 0 }))
        goto out;
    before = hang_threads(s.fuse);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "hang", &e), 0, "");
    fm_init(&m, FUSE_LOOKUP, e.nodeid);
    fm_add_name(&m, "slow");
    m.room = sizeof(e);
    hang_put(&s, q, &m);
    stop(&s, q, &m);
    CHECK_EQ(hang_threads(s.fuse), before, "no thread was given up");
    start_again(&s, q);
out:
    hang_end(&s);
}

/* A guest that reboots does not wait for the files of its life before. */
static void a_new_life_begins_although_closing_hangs(void)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fuse_entry_out e;
    struct fuse_open_out o;

    if (!hang_begin(&s, &(struct vm_opts){ 0 }))
        goto out;
    CHECK_EQ(fc_walk(q, "hang/file", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &o), 0, "");
    hangfs_hang_flush(s.fs);
    CHECK_EQ(fc_init(q, 0, NULL), 0, "INIT");
    CHECK(daemon_wait_log(s.vm.d, "going on without"), "it did hang");
    vm_alive(&s.vm, 1);
out:
    hang_end(&s);
}

TAP_MAIN(TEST(a_slow_read_lets_others_of_its_queue_pass),
         TEST(a_ring_stops_although_its_thread_hangs),
         TEST(a_ring_stops_although_the_pool_hangs),
         TEST(what_can_be_interrupted_is),
         TEST(a_new_life_begins_although_closing_hangs))
