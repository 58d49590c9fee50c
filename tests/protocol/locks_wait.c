/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "tests/protocol/locks_lib.h"

/* Requests that wait for locks, and what may happen to them meanwhile. */

#define HOLDER 1
#define WAITER 2

static const struct {
    const char *name;
    uint32_t lk_flags;
} kinds[] = { { "record", 0 }, { "flock", FUSE_LK_FLOCK } };

/* A lock that is held by one file, and wanted by another. */
struct scene {
    struct vm vm;
    struct guest_queue *q;
    struct lk_file held, wanted;
    uint32_t lk_flags;
    struct lk_wait w;
};

/* Return: true when the request waits; else scene_end() is still due. */
static bool scene_begin(struct scene *s, size_t kind)
{
    s->lk_flags = kinds[kind].lk_flags;
    s->q = &s->vm.q[VM_REQ];
    if (!vm_start_fuse(&s->vm, &lk_on) || !lk_slots(s->q, 4) ||
        !lk_create(s->q, "f", &s->held) ||
        !lk_open(s->q, "f", O_RDWR, &s->wanted))
        return false;
    CHECK_EQ(s->lk_flags ? lk_flock(s->q, &s->held, F_WRLCK)
                         : lk_set(s->q, &s->held, HOLDER, F_WRLCK, 0, LK_END),
             0, "the one takes it");
    lk_wait_put(&s->w, s->q, 1, &s->wanted, WAITER, F_WRLCK, s->lk_flags);
    return lk_blocked(&s->vm, "f", 1);
}

/* The holder lets go, by another ring, so that it can while the first is
 * stopped. */
static void let_go(struct scene *s)
{
    struct guest_queue *other = &s->vm.q[2];

    CHECK_EQ(s->lk_flags ? lk_flock(other, &s->held, F_UNLCK)
                         : lk_set(other, &s->held, HOLDER, F_UNLCK, 0, LK_END),
             0, "it lets go");
}

static void is_held(struct scene *s)
{
    if (s->lk_flags)
        CHECK(!lk_host_can_flock(&s->vm, "f"), "somebody has it");
    else
        CHECK_STR(lk_host_sees(&s->vm, "f", 0, LK_END), "w", "somebody has it");
}

static void is_free(struct scene *s)
{
    CHECK(lk_host_can_flock(&s->vm, "f"), "nobody has it");
    CHECK_STR(lk_host_sees(&s->vm, "f", 0, LK_END), "", "nobody has it");
}

#define FOR_EACH_KIND(s)                                                       \
    for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++, vm_end(&(s).vm))   \
        if (scene_begin(&(s), kind))

static void the_ring_goes_on_and_the_lock_is_granted_in_the_end(void)
{
    struct scene s;

    FOR_EACH_KIND(s)
    {
        for (int i = 0; i < 20; i++)
            vm_alive(&s.vm, VM_REQ);
        vm_alive(&s.vm, VM_HIPRIO);
        let_go(&s);
        CHECK_EQ(lk_wait_take(&s.w), 0, kinds[kind].name);
        is_held(&s);
        CHECK_EQ(fc_release(s.q, FUSE_RELEASE, s.wanted.node, s.wanted.fh), 0,
                 "");
        is_free(&s);
    }
}

static void others_make_it_wait_and_let_it_go(void)
{
    struct vm_opts o = lk_on;
    struct vm a, b = { .fe.fd = -1 };
    struct lk_file fa, fb;
    struct lk_wait w;

    if (!vm_start_fuse(&a, &lk_on))
        goto out;
    o.d.share = daemon_share(a.d);
    if (!vm_start_fuse(&b, &o) || !lk_slots(&b.q[1], 2) ||
        !lk_create(&a.q[1], "f", &fa) || !lk_open(&b.q[1], "f", O_RDWR, &fb))
        goto out;
    for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
        uint32_t fl = kinds[kind].lk_flags;
        int fd = open(daemon_path(a.d, "f"), O_RDWR | O_CLOEXEC);
        struct flock all = { .l_type = F_WRLCK };

        /* Another guest. */
        CHECK_EQ(fl ? lk_flock(&a.q[1], &fa, F_WRLCK)
                    : lk_set(&a.q[1], &fa, WAITER, F_WRLCK, 5, 5),
                 0, "");
        lk_wait_put(&w, &b.q[1], 1, &fb, WAITER, F_WRLCK, fl);
        lk_blocked(&a, "f", 1);
        CHECK_EQ(fl ? lk_flock(&a.q[1], &fa, F_UNLCK)
                    : lk_set(&a.q[1], &fa, WAITER, F_UNLCK, 5, 5),
                 0, "");
        CHECK_EQ(lk_wait_take(&w), 0, "another guest let go");
        CHECK_EQ(fl ? lk_flock(&b.q[1], &fb, F_UNLCK)
                    : lk_set(&b.q[1], &fb, WAITER, F_UNLCK, 0, LK_END),
                 0, "");

        /* A process of the host. */
        CHECK_EQ(fl ? flock(fd, LOCK_EX) : fcntl(fd, F_SETLK, &all), 0, "");
        lk_wait_put(&w, &b.q[1], 1, &fb, WAITER, F_WRLCK, fl);
        lk_blocked(&a, "f", 1);
        lk_wait_none(&b.q[1]);
        close(fd);
        CHECK_EQ(lk_wait_take(&w), 0, "the host let go");
        CHECK_EQ(fl ? lk_flock(&b.q[1], &fb, F_UNLCK)
                    : lk_set(&b.q[1], &fb, WAITER, F_UNLCK, 0, LK_END),
                 0, "");
    }
out:
    vm_end(&b);
    vm_end(&a);
}

static int interrupt(struct guest_queue *q, uint64_t unique)
{
    struct fuse_interrupt_in in = { .unique = unique };

    return fc_simple(q, FUSE_INTERRUPT, 0, &in, sizeof(in));
}

static void an_interrupt_ends_it(void)
{
    struct scene s;

    FOR_EACH_KIND(s)
    {
        CHECK_EQ(interrupt(&s.vm.q[VM_HIPRIO], s.w.m.h.unique + 1000), 0,
                 "of another request");
        vm_alive(&s.vm, 2);
        lk_wait_none(s.q);
        CHECK_EQ(interrupt(&s.vm.q[VM_HIPRIO], s.w.m.h.unique), 0, "");
        CHECK_EQ(lk_wait_take(&s.w), -EINTR, kinds[kind].name);
        lk_blocked(&s.vm, "f", 0);
        /* It may come before the request it names, by another ring. */
        CHECK_EQ(interrupt(&s.vm.q[VM_HIPRIO], s.q->unique + 2), 0, "");
        lk_wait_put(&s.w, s.q, 1, &s.wanted, WAITER, F_WRLCK, s.lk_flags);
        CHECK_EQ(lk_wait_take(&s.w), -EINTR, "early");
        let_go(&s);
        is_free(&s);
    }
}

static void closing_its_file_ends_it_and_no_other_close_does(void)
{
    struct scene s;

    FOR_EACH_KIND(s)
    {
        struct lk_file third;

        CHECK(lk_open(s.q, "f", O_RDWR, &third), "");
        CHECK_EQ(lk_flush(s.q, &third, WAITER), 0, "");
        CHECK_EQ(fc_release(s.q, FUSE_RELEASE, third.node, third.fh), 0, "");
        lk_wait_none(s.q);
        CHECK_EQ(
            fc_release(&s.vm.q[2], FUSE_RELEASE, s.wanted.node, s.wanted.fh), 0,
            "");
        CHECK_EQ(lk_wait_take(&s.w), -EINTR, kinds[kind].name);
        let_go(&s);
        is_free(&s);
    }
}

/* The holder's close lets it go as well as its unlocking does. */
static void closing_the_holder_grants_it(void)
{
    struct scene s;

    FOR_EACH_KIND(s)
    {
        if (!s.lk_flags)
            CHECK_EQ(lk_flush(&s.vm.q[2], &s.held, HOLDER), 0, "");
        else
            CHECK_EQ(
                fc_release(&s.vm.q[2], FUSE_RELEASE, s.held.node, s.held.fh), 0,
                "");
        CHECK_EQ(lk_wait_take(&s.w), 0, kinds[kind].name);
    }
}

static void a_new_life_ends_it_and_all_locks(void)
{
    struct scene s;

    FOR_EACH_KIND(s)
    {
        size_t fds = lk_count_fds(&s.vm);

        if (kind == 0)
            CHECK_EQ(fc_init(&s.vm.q[2], 0, NULL), 0, "INIT");
        else
            CHECK_EQ(fc_destroy(&s.vm.q[2]), 0, "DESTROY");
        is_free(&s);
        CHECK_EQ(lk_wait_take(&s.w), -EINTR, kinds[kind].name);
        CHECK_EQ(fc_init(s.q, 0, NULL), 0, "INIT");
        vm_alive(&s.vm, VM_REQ);
        CHECK(lk_count_fds(&s.vm) < fds, "what was open is closed");
    }
}

static void the_end_of_the_machine_ends_it(void)
{
    struct scene s;

    FOR_EACH_KIND(s)
    {
        fe_close(&s.vm.fe);
        CHECK(daemon_wait_gone(s.vm.d), "it does not wait for the lock");
        is_free(&s);
    }
}

static void so_many_wait_and_no_more(void)
{
    static const struct {
        const char *why;
        uint64_t features;
        uint16_t size;
        unsigned int n;
    } rows[] = {
        { "half of the ring, three descriptors each",
          VM_RING_FEATURES & ~BIT64(FE_F_INDIRECT), 64, 10 },
        { "half of the ring, one descriptor each", VM_RING_FEATURES, 64, 32 },
        { "in all", VM_RING_FEATURES, 1024, 256 },
    };
    static struct lk_wait w[257], more;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm_opts o = lk_on;
        struct lk_file f;
        struct vm vm;

        o.features = rows[i].features;
        o.size = rows[i].size;
        if (vm_start_fuse(&vm, &o) && lk_slots(&vm.q[1], 300) &&
            lk_create(&vm.q[1], "f", &f)) {
            unsigned int n = rows[i].n;

            CHECK_EQ(lk_set(&vm.q[2], &f, HOLDER, F_WRLCK, 0, LK_END), 0, "");
            for (unsigned int k = 0; k < n; k++)
                lk_wait_put(&w[k], &vm.q[1], 1 + k, &f, WAITER + k, F_RDLCK, 0);
            lk_blocked(&vm, "f", n);
            lk_wait_put(&more, &vm.q[1], 1 + n, &f, WAITER + n, F_RDLCK, 0);
            CHECK_EQ(lk_wait_take(&more), -ENOLCK, rows[i].why);
            vm_alive(&vm, VM_REQ);
            CHECK_EQ(lk_set(&vm.q[2], &f, HOLDER, F_UNLCK, 0, LK_END), 0, "");
            for (unsigned int k = 0; k < n; k++) {
                uint16_t head;
                uint32_t used;

                if (!CHECK_EQ(guest_wait(&vm.q[1], &head, &used), 0, "all"))
                    break;
            }
            lk_wait_put(&more, &vm.q[1], 1, &f, WAITER + n, F_RDLCK, 0);
            CHECK_EQ(lk_wait_take(&more), 0, "and there is room again");
        }
        vm_end(&vm);
    }
}

/* ---- two guests in each other's way ---- */

#define ROUNDS 300

struct racer {
    struct vm vm;
    struct lk_file f;
    uint32_t lk_flags;
    int *inside; /* how many are where one may be */
    unsigned int met;
    pthread_t t;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct guest_queue *q = &r->vm.q[1];

    for (int i = 0; i < ROUNDS && !q->lost; i++) {
        struct lk_wait w;
        int was;

        lk_wait_put(&w, q, 1, &r->f, WAITER, F_WRLCK, r->lk_flags);
        CHECK_EQ(lk_wait_take(&w), 0, "granted");
        was = __atomic_fetch_add(r->inside, 1, __ATOMIC_SEQ_CST);
        CHECK_EQ(was, 0, "to one at a time");
        if (i % 16 == 0)
            usleep(1000); /* the other one has to wait */
        __atomic_fetch_sub(r->inside, 1, __ATOMIC_SEQ_CST);
        CHECK_EQ(r->lk_flags ? lk_flock(q, &r->f, F_UNLCK)
                             : lk_set(q, &r->f, WAITER, F_UNLCK, 0, LK_END),
                 0, "");
        r->met++;
    }
    return NULL;
}

static void one_guest_at_a_time_has_it(void)
{
    for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
        struct racer r[2] = { { .vm.fe.fd = -1 }, { .vm.fe.fd = -1 } };
        struct vm_opts o = lk_on;
        bool begun = true;
        int inside = 0;

        for (int i = 0; i < 2 && begun; i++) {
            if (i > 0)
                o.d.share = daemon_share(r[0].vm.d);
            r[i].inside = &inside;
            r[i].lk_flags = kinds[kind].lk_flags;
            begun = vm_start_fuse(&r[i].vm, &o) && lk_slots(&r[i].vm.q[1], 2) &&
                    (i == 0 ? lk_create(&r[i].vm.q[1], "f", &r[i].f)
                            : lk_open(&r[i].vm.q[1], "f", O_RDWR, &r[i].f));
        }
        for (int i = 0; i < 2 && begun; i++)
            pthread_create(&r[i].t, NULL, race, &r[i]);
        for (int i = 0; i < 2 && begun; i++) {
            pthread_join(r[i].t, NULL);
            CHECK_EQ(r[i].met, ROUNDS, "all rounds");
        }
        vm_end(&r[1].vm);
        vm_end(&r[0].vm);
    }
}

TAP_MAIN(TEST(the_ring_goes_on_and_the_lock_is_granted_in_the_end),
         TEST(others_make_it_wait_and_let_it_go), TEST(an_interrupt_ends_it),
         TEST(closing_its_file_ends_it_and_no_other_close_does),
         TEST(closing_the_holder_grants_it),
         TEST(a_new_life_ends_it_and_all_locks),
         TEST(the_end_of_the_machine_ends_it), TEST(so_many_wait_and_no_more),
         TEST(one_guest_at_a_time_has_it))
