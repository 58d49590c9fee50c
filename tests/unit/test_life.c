/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/life.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/extra.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"

/* The gate and the sessions behind it, on a real (empty) tree.  Requests are
 * laid straight into the request's spans; there is no ring. */

static char dir[] = "/tmp/virtiofsd-life-XXXXXX";
static struct pt_opts opts = { .announce_submounts = true };
static struct pt_fs *fs;
static struct life *life;

/* One executing thread's things, with room for a request and its answer. */
struct caller {
    struct life_pass pass;
    struct request r;
    uint8_t in[256], out[256];
};

static void caller_init(struct caller *c)
{
    CHECK_EQ(request_init(&c->r), 0, "");
    life_register(life, &c->pass);
}

/* Lay @len bytes behind a header and load the request. */
static void ask(struct caller *c, uint32_t opcode, uint64_t nodeid,
                const void *body, size_t len)
{
    struct fuse_in_header h = {
        .len = (uint32_t)(sizeof(h) + len),
        .opcode = opcode,
        .nodeid = nodeid,
        .unique = 77,
    };

    memcpy(c->in, &h, sizeof(h));
    memcpy(c->in + sizeof(h), body, len);
    memset(c->out, 0, sizeof(c->out));
    c->r.chain.iov[0] = (struct iovec){ c->in, h.len };
    c->r.chain.iov[1] = (struct iovec){ c->out, sizeof(c->out) };
    c->r.chain.n_readable = c->r.chain.n_writable = 1;
    c->r.chain.readable_bytes = h.len;
    c->r.chain.writable_bytes = sizeof(c->out);
    c->r.chain.log = NULL;
    CHECK_EQ(request_load(&c->r), 0, "load");
}

static const struct fuse_out_header *answer(const struct caller *c)
{
    return (const struct fuse_out_header *)c->out;
}

static const struct fuse_init_out *init_out(const struct caller *c)
{
    return (const struct fuse_init_out *)(c->out +
                                          sizeof(struct fuse_out_header));
}

static void say_init(struct caller *c, uint32_t ring, uint32_t major,
                     uint32_t minor, uint32_t flags)
{
    struct fuse_init_in in = {
        .major = major,
        .minor = minor,
        .flags = flags,
        .max_readahead = 65536,
    };

    ask(c, FUSE_INIT, 0, &in, sizeof(in));
    life_begin(life, &c->r, ring);
}

/* STATFS of the root, by libfuse. Return: the reply's error, or 1 when there is
 * no session to ask. */
static int ask_root(struct caller *c, uint32_t ring)
{
    struct fuse_session *se;
    uint64_t flags;

    ask(c, FUSE_STATFS, FUSE_ROOT_ID, "", 0);
    se = life_enter(life, &c->pass, ring, &flags);
    if (!se)
        return 1;
    session_process(se, &c->r);
    life_leave(&c->pass);
    return answer(c)->error;
}

static int root_fd = -1, proc_fd = -1;

static void setup(void)
{
    root_fd = open(dir, O_PATH | O_CLOEXEC);
    proc_fd = open("/proc/self/fd", O_PATH | O_CLOEXEC);
    CHECK_EQ(pt_fs_create(&opts, root_fd, proc_fd, &fs), 0, "");
    life = life_create(fs);
}

static void teardown(void)
{
    life_destroy(life);
    pt_fs_destroy(fs);
    fd_close(&root_fd);
    fd_close(&proc_fd);
}

static void nothing_is_served_before_init(void)
{
    struct caller c;

    setup();
    caller_init(&c);
    CHECK_EQ(ask_root(&c, 1), 1, "no session");
    request_fini(&c.r);
    teardown();
}

static void init_on_one_ring_opens_all(void)
{
    struct caller c;

    setup();
    caller_init(&c);
    life_use_ring(life, 2);
    say_init(&c, 1, 7, 31, 0);
    CHECK_EQ(answer(&c)->error, 0, "accepted");
    CHECK_EQ(answer(&c)->unique, 77, "the guest's own number");
    CHECK_EQ(init_out(&c)->major, 7, "");
    CHECK_EQ(ask_root(&c, 1), 0, "the ring of the INIT");
    CHECK_EQ(ask_root(&c, 2), 0, "a ring in use");
    CHECK_EQ(ask_root(&c, 64), 0, "a ring that came later");
    request_fini(&c.r);
    teardown();
}

static void init_flags_are_what_both_know(void)
{
    struct caller c;

    setup();
    caller_init(&c);
    say_init(&c, 1, 7, 38, UINT32_MAX);
    CHECK_EQ(answer(&c)->error, 0, "");
    CHECK(init_out(&c)->flags & (1u << 27), "SUBMOUNTS, offered");
    CHECK(!(init_out(&c)->flags & (1u << 29)), "SETXATTR_EXT, not ours");
    CHECK(!(init_out(&c)->flags & FUSE_POSIX_LOCKS), "locks, not ours");
    CHECK(init_out(&c)->flags & FUSE_MAX_PAGES, "");
    CHECK(init_out(&c)->flags & FUSE_PARALLEL_DIROPS, "");
    CHECK_EQ(init_out(&c)->max_pages, 256, "1 MiB");
    CHECK_EQ(init_out(&c)->max_write, 1 << 20, "");
    say_init(&c, 1, 7, 41, UINT32_MAX);
    CHECK_EQ(init_out(&c)->max_pages, 1024, "4 MiB, where they can be had");
    CHECK_EQ(init_out(&c)->max_write, 4 << 20, "");
    say_init(&c, 1, 7, 41, UINT32_MAX & ~(uint32_t)FUSE_MAX_PAGES);
    CHECK_EQ(init_out(&c)->max_pages, 0, "not offered");
    CHECK(init_out(&c)->max_write <= 1 << 20, "");
    say_init(&c, 1, 7, 38, FUSE_MAX_PAGES);
    CHECK(!(init_out(&c)->flags & (1u << 27)), "SUBMOUNTS, not offered");
    CHECK(!(init_out(&c)->flags & FUSE_PARALLEL_DIROPS), "not offered either");
    request_fini(&c.r);
    teardown();
}

/* A libfuse of tomorrow could agree to what we do not speak. */
static void flags_that_are_not_ours_are_hidden_from_libfuse(void)
{
    struct fuse_init_in in = { .major = 7, .minor = 40 }, *seen;
    struct caller c;

    setup();
    caller_init(&c);
    memset(&in.flags, 0xff, sizeof(in) - offsetof(struct fuse_init_in, flags));
    ask(&c, FUSE_INIT, 0, &in, sizeof(in));
    extra_mask_init(&c.r);
    seen = (struct fuse_init_in *)(c.r.arg + sizeof(struct fuse_in_header));
    CHECK_EQ(seen->minor, 40, "the version stays");
    CHECK(seen->flags & FUSE_MAX_PAGES, "ours stays");
    CHECK(!(seen->flags & (1u << 30)), "INIT_EXT");
    CHECK(!(seen->flags & (1u << 29)), "SETXATTR_EXT");
    CHECK(!(seen->flags & FUSE_POSIX_ACL), "POSIX_ACL");
    for (size_t i = offsetof(struct fuse_init_in, flags) + 4; i < sizeof(in);
         i++)
        CHECK_EQ(((uint8_t *)seen)[i], 0, "nothing behind the flags");
    request_fini(&c.r);
    teardown();
}

static void old_guests_are_refused_and_newer_ones_told(void)
{
    struct caller c;

    setup();
    caller_init(&c);
    say_init(&c, 1, 7, 26, 0);
    CHECK_EQ(answer(&c)->error, -EPROTO, "before virtio-fs");
    say_init(&c, 1, 6, 40, 0);
    CHECK_EQ(answer(&c)->error, -EPROTO, "another major");
    CHECK_EQ(ask_root(&c, 1), 1, "no life came of it");
    say_init(&c, 1, 8, 0, 0);
    CHECK_EQ(answer(&c)->error, 0, "told what we speak");
    CHECK_EQ(init_out(&c)->major, 7, "");
    CHECK_EQ(ask_root(&c, 1), 1, "it has to say INIT again");
    say_init(&c, 1, 7, 31, 0);
    CHECK_EQ(ask_root(&c, 1), 0, "now");
    request_fini(&c.r);
    teardown();
}

static void a_new_life_finds_nothing_of_the_old(void)
{
    struct pt_fs_counts n;
    struct caller c;
    uint64_t flags;
    auto_fd f = -1;

    setup();
    f = openat(root_fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(f >= 0, "create");
    caller_init(&c);
    for (int i = 0; i < 3; i++) {
        say_init(&c, 1, 7, 31, 0);
        pt_fs_count(fs, &n);
        CHECK_EQ(n.nodes, 1, "the root only");
        ask(&c, FUSE_LOOKUP, FUSE_ROOT_ID, "file", 5);
        CHECK(life_enter(life, &c.pass, 1, &flags), "");
        CHECK_EQ(pt_raw_op(FUSE_LOOKUP)(fs, &c.r), 0, "lookup");
        life_leave(&c.pass);
        CHECK_EQ(answer(&c)->error, 0, "");
        pt_fs_count(fs, &n);
        CHECK_EQ(n.nodes, 2, "");
    }
    life_end(life);
    pt_fs_count(fs, &n);
    CHECK_EQ(n.nodes, 1, "after DESTROY or reset");
    CHECK_EQ(ask_root(&c, 1), 1, "and no session");
    unlinkat(root_fd, "file", 0);
    request_fini(&c.r);
    teardown();
}

/* Threads that ask while lives come and go. */
#define THREADS 3
#define LIVES   200
static _Atomic int stop_asking;
static _Atomic int answered, unserved;

static void *asker(void *arg)
{
    struct caller *c = calloc(1, sizeof(*c) + 128);
    uint32_t ring = (uint32_t)(uintptr_t)arg;
    struct caller *a = (struct caller *)(((uintptr_t)c + 127) & ~127ul);

    caller_init(a);
    while (!atomic_load(&stop_asking)) {
        int got = ask_root(a, ring);

        if (got == 0)
            atomic_fetch_add(&answered, 1);
        else if (got == 1)
            atomic_fetch_add(&unserved, 1);
        else
            CHECK_EQ(got, 0, "neither served nor without a life");
    }
    /* The pass stays known to the gate until the life is destroyed. */
    request_fini(&a->r);
    return c;
}

static void requests_and_changes_of_life_do_not_meet(void)
{
    pthread_t t[THREADS];
    void *mem[THREADS];
    struct caller c;
    int before;

    setup();
    caller_init(&c);
    atomic_store(&stop_asking, 0);
    atomic_store(&answered, 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, asker, (void *)(2 + i % 2));
    for (int i = 0; i < LIVES; i++) {
        say_init(&c, 1, 7, 31, 0);
        CHECK_EQ(answer(&c)->error, 0, "INIT");
        before = atomic_load(&answered);
        /* Each life serves somebody, so the askers really are at it. */
        while (atomic_load(&answered) < before + 5)
            usleep(10);
        if (i % 3 == 0)
            life_end(life);
    }
    atomic_store(&stop_asking, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], &mem[i]);
    tap_diag("%d answered, %d without a life", atomic_load(&answered),
             atomic_load(&unserved));
    CHECK(atomic_load(&answered) >= 5 * LIVES, "work was done");
    request_fini(&c.r);
    teardown();
    for (int i = 0; i < THREADS; i++)
        free(mem[i]);
}

static _Atomic bool life_ended;

static void *end_life(void *arg)
{
    (void)arg;
    life_end(life);
    atomic_store(&life_ended, true);
    return NULL;
}

/* Without its ring it is still inside. */
static void a_life_waits_for_a_thread_that_lost_its_ring(void)
{
    struct fuse_session *left;
    struct caller c;
    uint64_t flags;
    pthread_t t;

    setup();
    caller_init(&c);
    say_init(&c, 1, 7, 31, 0);
    CHECK(!life_take(&c.pass), "outside there is nothing to take");
    CHECK(life_enter(life, &c.pass, 1, &flags), "");
    CHECK(life_take(&c.pass), "");
    CHECK(!life_take(&c.pass), "once");
    atomic_store(&life_ended, false);
    pthread_create(&t, NULL, end_life, NULL);
    usleep(20000);
    CHECK(!atomic_load(&life_ended), "the life goes on");
    CHECK(life_leave(&c.pass), "it was not abandoned");
    CHECK(c.pass.taken, "and knows what happened");
    pthread_join(t, NULL);
    c.pass.taken = false;
    say_init(&c, 1, 7, 31, 0);
    CHECK(life_enter(life, &c.pass, 1, &flags), "");
    CHECK(life_leave(&c.pass) && !c.pass.taken, "nobody took anything");
    left = life_enter(life, &c.pass, 1, &flags);
    CHECK(life_take(&c.pass) && life_abandon(life, &c.pass), "both");
    CHECK(!life_leave(&c.pass), "given up is given up");
    request_fini(&c.r);
    teardown();
    /* The life leaves it to a thread that hangs in it; none does. */
    session_destroy(left);
}

/* A ring that came into use after the INIT, and its thread. */
struct late {
    struct caller c;
    uint32_t ring;
    pthread_t thread;
    int got;
};

static void *ask_late(void *arg)
{
    struct late *l = arg;

    l->got = ask_root(&l->c, l->ring);
    return NULL;
}

/* It has found out that it has no session, or that the gate is closed. */
static void start_late(struct late *l, uint32_t ring)
{
    const struct life_pass *p = &l->c.pass;

    l->ring = ring;
    l->got = -1;
    pthread_create(&l->thread, NULL, ask_late, l);
    while (atomic_load(&p->count) == 0 || atomic_load(&p->place) != 0)
        usleep(10);
    usleep(2000);
}

static void rings_that_come_late_at_once_are_all_served(void)
{
    static struct late late[3];
    struct caller c;
    uint64_t flags;

    setup();
    caller_init(&c);
    for (size_t i = 0; i < ARRAY_SIZE(late); i++)
        caller_init(&late[i].c); /* not while the gate is closed */
    say_init(&c, 1, 7, 31, 0);
    CHECK(life_enter(life, &c.pass, 1, &flags), "");
    for (uint32_t i = 0; i < ARRAY_SIZE(late); i++)
        start_late(&late[i], 5 + i);
    life_leave(&c.pass);
    for (uint32_t i = 0; i < ARRAY_SIZE(late); i++) {
        pthread_join(late[i].thread, NULL);
        CHECK_EQ(late[i].got, 0, "served");
        request_fini(&late[i].c.r);
    }
    request_fini(&c.r);
    teardown();
}

static void count_wake(void *arg)
{
    ++*(int *)arg;
}

static void who_rests_is_told_of_the_next_that_enters(void)
{
    struct caller c;
    int wakes = 0;

    setup();
    life_watch(life, count_wake, &wakes);
    caller_init(&c);
    say_init(&c, 1, 7, 31, 0);
    CHECK_EQ(ask_root(&c, 1), 0, "");
    CHECK_EQ(wakes, 0, "nobody rests");
    life_rest(life);
    CHECK(life_rests(life), "");
    CHECK_EQ(ask_root(&c, 1), 0, "served all the same");
    CHECK(!life_rests(life), "");
    CHECK_EQ(ask_root(&c, 1), 0, "");
    CHECK_EQ(wakes, 1, "once");
    life_rest(life);
    life_rest_over(life);
    CHECK_EQ(ask_root(&c, 1), 0, "");
    CHECK_EQ(wakes, 1, "changed its mind");
    request_fini(&c.r);
    teardown();
}

static void in_its_own_directory(void)
{
    CHECK(mkdtemp(dir) != NULL, "a directory to serve");
    session_log_setup();
    log_set_level(LOG_LEVEL_OFF);
}

static void which_is_gone_in_the_end(void)
{
    CHECK_EQ(rmdir(dir), 0, "nothing left in it");
}

TAP_MAIN(TEST(in_its_own_directory), TEST(nothing_is_served_before_init),
         TEST(init_on_one_ring_opens_all), TEST(init_flags_are_what_both_know),
         TEST(flags_that_are_not_ours_are_hidden_from_libfuse),
         TEST(old_guests_are_refused_and_newer_ones_told),
         TEST(a_new_life_finds_nothing_of_the_old),
         TEST(requests_and_changes_of_life_do_not_meet),
         TEST(a_life_waits_for_a_thread_that_lost_its_ring),
         TEST(rings_that_come_late_at_once_are_all_served),
         TEST(who_rests_is_told_of_the_next_that_enters),
         TEST(which_is_gone_in_the_end))
