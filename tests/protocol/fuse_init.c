/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* How a FUSE session begins, ends and begins again. */

/* INIT with a body of @len bytes; @out may come back shorter than it is. */
static int init_with(struct guest_queue *q, const struct fuse_init_in *in,
                     size_t len, struct fuse_init_out *out, size_t *out_len)
{
    struct fm m;
    int ret;

    fm_init(&m, FUSE_INIT, 0);
    fm_add(&m, in, len);
    m.room = sizeof(*out);
    ret = fm_call(q, &m);
    memset(out, 0, sizeof(*out));
    if (ret == 0)
        memcpy(out, m.out, MIN(m.out_len, sizeof(*out)));
    *out_len = ret == 0 ? m.out_len : 0;
    return ret;
}

static void every_minor_of_our_major_is_spoken(void)
{
    static const uint32_t minors[] = { 27, 31, 33, 36, 38, 41, 99 };

    for (size_t i = 0; i < ARRAY_SIZE(minors); i++) {
        struct fuse_init_in in = { .major = 7,
                                   .minor = minors[i],
                                   .max_readahead = 131072 };
        struct fuse_init_out out;
        struct vm vm;
        size_t len;

        if (vm_start(&vm, NULL)) {
            CHECK_EQ(init_with(&vm.q[1], &in, 16, &out, &len), 0, "INIT");
            CHECK_EQ(len, sizeof(out), "the reply of minors from 23 on");
            CHECK_EQ(out.major, 7, "");
            CHECK(out.minor >= 27, "");
            vm_alive(&vm, 1);
        }
        vm_end(&vm);
    }
}

static void guests_of_long_ago_are_answered(void)
{
    static const struct {
        const char *why;
        uint32_t major, minor;
        size_t len;
    } rows[] = {
        { "7.1 knows major and minor only", 7, 1, 8 },
        { "7.5", 7, 5, 16 },
        { "7.12", 7, 12, 16 },
        { "7.22", 7, 22, 16 },
        { "major 6", 6, 0, 8 },
        { "major 0", 0, 0, 16 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fuse_init_in in = { .major = rows[i].major,
                                   .minor = rows[i].minor };
        struct fuse_init_out out;
        struct vm vm;
        size_t len;

        if (vm_start(&vm, NULL)) {
            int ret = init_with(&vm.q[1], &in, rows[i].len, &out, &len);

            CHECK(ret <= 0, rows[i].why);
            CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "and a newer one served");
            vm_alive(&vm, 1);
        }
        vm_end(&vm);
    }
}

static void a_newer_major_is_told_ours(void)
{
    struct fuse_init_in in = { .major = 8, .minor = 1 };
    struct fuse_init_out out;
    struct vm vm;
    size_t len;

    if (vm_start(&vm, NULL)) {
        CHECK_EQ(init_with(&vm.q[1], &in, sizeof(in), &out, &len), 0, "");
        CHECK(len >= 8, "at least major and minor");
        CHECK_EQ(out.major, 7, "ours");
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "it tries again with ours");
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

static void only_what_the_guest_offers_is_agreed(void)
{
    struct fuse_init_out out;
    struct vm vm;

    if (vm_start(&vm, NULL)) {
        /* libfuse always says BIG_WRITES, and every guest knows it. */
        CHECK_EQ(fc_init(&vm.q[1], 0, &out), 0, "");
        CHECK_EQ(out.flags & ~(uint32_t)(FUSE_BIG_WRITES | FUSE_INIT_EXT), 0,
                 "nothing offered, nothing agreed");
        CHECK_EQ(out.flags2, 0, "");
        for (int bit = 0; bit < 64; bit++) {
            uint64_t got;

            if (bit == 30)
                continue; /* INIT_EXT itself */
            CHECK_EQ(fc_init(&vm.q[1], BIT64(bit), &out), 0, "");
            got = out.flags | (uint64_t)out.flags2 << 32;
            CHECK_EQ(got & ~(BIT64(bit) | FUSE_BIG_WRITES | FUSE_INIT_EXT), 0,
                     "one offered, no other agreed");
            vm_alive(&vm, 1);
        }
    }
    vm_end(&vm);
}

static void the_sizes_linux_wants_are_agreed(void)
{
    struct fuse_init_out out;
    struct vm vm;
    const uint32_t want = FUSE_MAX_PAGES | FUSE_BIG_WRITES | FUSE_ASYNC_READ |
                          FUSE_PARALLEL_DIROPS | FUSE_DO_READDIRPLUS |
                          FUSE_READDIRPLUS_AUTO;

    if (vm_start(&vm, NULL)) {
        CHECK_EQ(fc_init(&vm.q[1], UINT32_MAX, &out), 0, "");
        CHECK_EQ(out.flags & want, want, "");
        CHECK_EQ(out.max_write, 1 << 20, "1 MiB a request");
        CHECK_EQ(out.max_pages, 256, "in 256 pages");
        CHECK_EQ(out.time_gran, 1, "ns");
        CHECK(!(out.flags & FUSE_POSIX_LOCKS), "not offered by us");
        CHECK(!(out.flags & FUSE_WRITEBACK_CACHE), "off by default");
        CHECK(out.flags & FUSE_SUBMOUNTS, "announced by default");
    }
    vm_end(&vm);
}

static void requests_before_init_get_an_error(void)
{
    struct fuse_attr_out a;
    struct vm vm;

    if (vm_start(&vm, NULL)) {
        CHECK(fc_getattr(&vm.q[1], FC_ROOT, &a) < 0, "no session yet");
        CHECK(fc_destroy(&vm.q[1]) <= FM_EMPTY, "nothing to destroy");
        CHECK_EQ(fc_forget(&vm.q[0], FC_ROOT, 1), FM_EMPTY, "");
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "INIT");
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

static void an_init_nobody_can_answer_does_no_harm(void)
{
    struct fuse_init_in in = { .major = 7, .minor = 38 };
    struct fm m;
    struct vm vm;

    if (vm_start(&vm, NULL)) {
        fm_init(&m, FUSE_INIT, 0);
        fm_add(&m, &in, sizeof(in));
        m.no_reply = true;
        CHECK_EQ(fm_call(&vm.q[1], &m), FM_EMPTY, "one descriptor");
        fm_init(&m, FUSE_INIT, 0);
        fm_add(&m, &in, sizeof(in));
        m.room = 4;
        CHECK(fm_call(&vm.q[1], &m) < 0, "room for a header only");
        fm_init(&m, FUSE_INIT, 0);
        fm_add(&m, &in, 4);
        m.room = sizeof(struct fuse_init_out);
        CHECK(fm_call(&vm.q[1], &m) != 0, "cut short");
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "a good one");
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

/* Leave a node and a handle behind, then see that a new life has neither. */
static void next_life(struct vm *vm, bool destroy)
{
    struct guest_queue *q = &vm->q[1];
    struct fuse_entry_out e, e2;
    struct fuse_open_out f;
    struct fuse_attr_out a;
    const void *data;
    uint64_t old;
    size_t len;

    host_write(vm, "f", "text", 4);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, 0, &f), 0, "");
    old = f.fh;
    if (destroy)
        CHECK_EQ(fc_destroy(q), 0, "DESTROY");
    if (destroy)
        CHECK(fc_getattr(q, FC_ROOT, &a) < 0, "no session");
    CHECK_EQ(fc_init(q, 0, NULL), 0, "INIT");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), -ESTALE, "the node is gone");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e2), 0, "found anew");
    CHECK_EQ(fc_read(q, e2.nodeid, old, 0, 4, &data, &len), -EBADF,
             "the handle is gone");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e2.nodeid, 0, &f), 0, "");
    CHECK_EQ(fc_read(q, e2.nodeid, f.fh, 0, 4, &data, &len), 0, "a new one");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), -ESTALE, "still gone");
    CHECK_EQ(fc_read(q, e2.nodeid, old, 0, 4, &data, &len), -EBADF, "");
}

VM_TEST(a_second_init_begins_a_new_life, NULL)
{
    (void)q;
    for (int i = 0; i < 3; i++)
        next_life(vm, false);
}

VM_TEST(destroy_and_init_begin_a_new_life, NULL)
{
    (void)q;
    for (int i = 0; i < 3; i++)
        next_life(vm, true);
}

static const struct vm_opts four_queues = { .queues = 5 };

VM_TEST(all_queues_serve_the_life_that_one_began, &four_queues)
{
    struct fuse_entry_out e;

    for (int round = 0; round < 20; round++) {
        unsigned int first = 1 + (unsigned int)round % 4;

        CHECK_EQ(fc_init(&vm->q[first], 0, NULL), 0, "INIT");
        for (unsigned int i = 1; i < vm->n; i++)
            vm_alive(vm, i);
        host_write(vm, "f", "x", 1);
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "a node by one queue");
        for (unsigned int i = 1; i < vm->n; i++) {
            struct fuse_attr_out a;

            CHECK_EQ(fc_getattr(&vm->q[i], e.nodeid, &a), 0, "is known to all");
        }
    }
}

struct reader {
    pthread_t thread;
    struct guest_queue *q;
    atomic_bool stop;
    atomic_int good, stale;
};

static void *look(void *arg)
{
    struct reader *r = arg;

    while (!r->stop) {
        struct fuse_entry_out e;
        int ret = fc_lookup(r->q, FC_ROOT, "f", &e);

        if (ret == 0)
            r->good++;
        else if (ret < 0)
            r->stale++;
        else
            break;
    }
    return NULL;
}

VM_TEST(lives_change_while_other_queues_are_at_work, &four_queues)
{
    struct reader r[3];

    host_write(vm, "f", "x", 1);
    for (unsigned int i = 0; i < 3; i++) {
        r[i].q = &vm->q[2 + i];
        r[i].stop = false;
        r[i].good = r[i].stale = 0;
        pthread_create(&r[i].thread, NULL, look, &r[i]);
    }
    for (int i = 0; i < 100; i++) {
        struct fuse_entry_out e;

        CHECK_EQ(fc_init(q, 0, NULL), 0, "INIT");
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    }
    for (unsigned int i = 0; i < 3; i++) {
        r[i].stop = true;
        pthread_join(r[i].thread, NULL);
        CHECK(r[i].good > 0, "they were served too");
    }
}

TAP_MAIN(TEST(every_minor_of_our_major_is_spoken),
         TEST(guests_of_long_ago_are_answered),
         TEST(a_newer_major_is_told_ours),
         TEST(only_what_the_guest_offers_is_agreed),
         TEST(the_sizes_linux_wants_are_agreed),
         TEST(requests_before_init_get_an_error),
         TEST(an_init_nobody_can_answer_does_no_harm),
         TEST(a_second_init_begins_a_new_life),
         TEST(destroy_and_init_begin_a_new_life),
         TEST(all_queues_serve_the_life_that_one_began),
         TEST(lives_change_while_other_queues_are_at_work))
