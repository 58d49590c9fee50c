/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <unistd.h>

#include "tests/protocol/locks_lib.h"

/* Locks on the host, taken and given up without waiting. */

#define ALL_FLAGS ((uint64_t)0x00000000ffffffff & ~(uint64_t)FUSE_INIT_EXT)
#define LOCKS     ((uint32_t)(FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS))

static void they_are_on_offer_only_when_asked_for(void)
{
    static const char *const flock_only[] = { "--flock", NULL };
    static const char *const old_way[] = { "-o", "posix_lock", NULL };
    static const char *const on_and_off[] = { "-o", "flock,posix_lock",
                                              "--no-flock", "--no-posix-lock",
                                              NULL };
    static const struct {
        const char *why;
        const char *const *args;
        uint32_t want;
        int record, flock;
    } rows[] = {
        { "by default they are the guest's", NULL, 0, -ENOSYS, -ENOSYS },
        { "flock alone", flock_only, FUSE_FLOCK_LOCKS, -ENOSYS, 0 },
        { "record locks alone", old_way, FUSE_POSIX_LOCKS, 0, -ENOSYS },
        { "the last word counts", on_and_off, 0, -ENOSYS, -ENOSYS },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm_opts o = { .d = { .args = rows[i].args } };
        struct fuse_init_out out = { 0 };
        struct fuse_open_out ro;
        struct lk_file f;
        struct vm vm;

        if (vm_start(&vm, &o) &&
            CHECK_EQ(fc_init(&vm.q[1], ALL_FLAGS, &out), 0, rows[i].why) &&
            lk_create(&vm.q[1], "f", &f)) {
            CHECK_EQ(out.flags & LOCKS, rows[i].want, rows[i].why);
            CHECK_EQ(fc_open(&vm.q[1], FUSE_OPEN, f.node, O_RDONLY, &ro), 0,
                     "");
            CHECK_EQ(!(ro.open_flags & FOPEN_NOFLUSH),
                     !!(rows[i].want & FUSE_POSIX_LOCKS),
                     "a close that ends locks is told");
            CHECK_EQ(lk_set(&vm.q[1], &f, 1, F_WRLCK, 0, 9), rows[i].record,
                     rows[i].why);
            CHECK_EQ(lk_flock(&vm.q[1], &f, F_WRLCK), rows[i].flock,
                     rows[i].why);
        }
        vm_end(&vm);
    }
}

VM_TEST(two_owners_of_one_guest_exclude_each_other, &lk_on)
{
    struct lk_file f, g;

    if (!lk_create(q, "f", &f) || !lk_open(q, "f", O_RDWR, &g))
        return;
    CHECK_EQ(lk_set(q, &f, 1, F_WRLCK, 0, 99), 0, "");
    CHECK_EQ(lk_set(q, &f, 2, F_WRLCK, 50, 50), -EAGAIN, "the same handle");
    CHECK_EQ(lk_set(q, &g, 2, F_RDLCK, 99, 200), -EAGAIN, "another handle");
    CHECK_EQ(lk_set(q, &g, 2, F_RDLCK, 100, 200), 0, "beside it");
    CHECK_EQ(lk_set(q, &f, 3, F_RDLCK, 150, LK_END), 0, "readers share");
    CHECK_EQ(lk_set(q, &f, 1, F_UNLCK, 40, 59), 0, "a hole");
    CHECK_EQ(lk_set(q, &f, 2, F_WRLCK, 40, 59), 0, "is free");
    CHECK_EQ(lk_set(q, &f, 2, F_WRLCK, 39, 39), -EAGAIN, "below it");
    CHECK_EQ(lk_set(q, &f, 2, F_WRLCK, 60, 60), -EAGAIN, "above it");
    CHECK_EQ(lk_set(q, &f, 1, F_RDLCK, 0, 9), 0, "a part is read only");
    CHECK_EQ(lk_set(q, &f, 2, F_RDLCK, 0, 9), 0, "and shared");
    CHECK_STR(lk_host_sees(vm, "f", 0, 9), "r", "the host sees them");
    CHECK_STR(lk_host_sees(vm, "f", 10, 39), "w", "");
    CHECK_STR(lk_host_sees(vm, "f", 150, LK_END), "r", "to the end");
    CHECK_EQ(lk_set(q, &f, 9, F_UNLCK, 0, LK_END), 0, "who holds nothing");
    for (uint64_t owner = 1; owner <= 3; owner++)
        CHECK_EQ(lk_set(q, &f, owner, F_UNLCK, 0, LK_END), 0, "");
    CHECK_STR(lk_host_sees(vm, "f", 0, LK_END), "", "all are gone");
}

VM_TEST(who_asks_is_told_which_process_holds_it, &lk_on)
{
    struct fuse_file_lock l;
    struct flock fl = { .l_type = F_WRLCK, .l_start = 500, .l_len = 10 };
    struct lk_file f;
    int fd;

    if (!lk_create(q, "f", &f))
        return;
    CHECK_EQ(lk_get(q, &f, 2, 0, LK_END, &l), 0, "");
    CHECK_EQ(l.type, F_UNLCK, "nothing yet");
    CHECK_EQ(lk_set(q, &f, 1, F_RDLCK, 10, 19), 0, "");
    CHECK_EQ(lk_get(q, &f, 2, 0, LK_END, &l), 0, "");
    CHECK_EQ(l.type, F_RDLCK, "");
    CHECK_EQ(l.start, 10, "");
    CHECK_EQ(l.end, 19, "");
    CHECK_EQ(l.pid, 1001, "a process of the guest's");
    CHECK_EQ(lk_get(q, &f, 1, 0, LK_END, &l), 0, "");
    CHECK_EQ(l.type, F_UNLCK, "one's own is not in the way");
    CHECK_EQ(lk_set(q, &f, 1, F_WRLCK, 100, LK_END), 0, "");
    CHECK_EQ(lk_get(q, &f, 2, 90, 200, &l), 0, "");
    CHECK_EQ(l.end, LK_END, "to the end of the file");
    CHECK_EQ(lk_set(q, &f, 1, F_UNLCK, 0, LK_END), 0, "");
    fd = open(daemon_path(vm->d, "f"), O_RDWR | O_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_SETLK, &fl), 0, "a process of the host");
    CHECK_EQ(lk_get(q, &f, 1, 0, LK_END, &l), 0, "");
    CHECK_EQ(l.type, F_WRLCK, "");
    CHECK_EQ(l.start, 500, "");
    CHECK_EQ(l.pid, 0, "is none that the guest knows");
    CHECK_EQ(lk_set(q, &f, 1, F_RDLCK, 505, 505), -EAGAIN, "");
    close(fd);
    CHECK_EQ(lk_set(q, &f, 1, F_RDLCK, 505, 505), 0, "");
}

VM_TEST(a_lock_wants_a_file_opened_for_it, &lk_on)
{
    struct lk_file rw, ro, wo, bad;

    if (!lk_create(q, "f", &rw) || !lk_open(q, "f", O_RDONLY, &ro) ||
        !lk_open(q, "f", O_WRONLY, &wo))
        return;
    CHECK_EQ(lk_set(q, &ro, 1, F_WRLCK, 0, 9), -EBADF, "");
    CHECK_EQ(lk_set(q, &wo, 1, F_RDLCK, 0, 9), -EBADF, "");
    bad = (struct lk_file){ rw.node, rw.fh + 100 };
    CHECK_EQ(lk_set(q, &bad, 1, F_RDLCK, 0, 9), -EBADF, "a forged handle");
    CHECK_EQ(lk_flock(q, &bad, F_RDLCK), -EBADF, "");
    /* What was locked by a reader's file stays so when a writer's is used. */
    CHECK_EQ(lk_set(q, &ro, 1, F_RDLCK, 0, 9), 0, "");
    CHECK_EQ(lk_set(q, &ro, 1, F_RDLCK, 20, 29), 0, "");
    CHECK_EQ(lk_set(q, &rw, 1, F_WRLCK, 5, 24), 0, "over what it holds");
    CHECK_STR(lk_host_sees(vm, "f", 0, 4), "r", "");
    CHECK_STR(lk_host_sees(vm, "f", 5, 24), "w", "");
    CHECK_STR(lk_host_sees(vm, "f", 25, 29), "r", "");
    CHECK_EQ(lk_set(q, &wo, 2, F_WRLCK, 100, 109), 0, "");
    CHECK_EQ(lk_set(q, &ro, 2, F_RDLCK, 105, 120), 0, "");
    CHECK_STR(lk_host_sees(vm, "f", 100, 104), "w", "");
    CHECK_STR(lk_host_sees(vm, "f", 105, 120), "r", "");
}

VM_TEST(flock_belongs_to_the_open_file, &lk_on)
{
    struct lk_file f, g;

    if (!lk_create(q, "f", &f) || !lk_open(q, "f", O_RDONLY, &g))
        return;
    CHECK_EQ(lk_flock(q, &f, F_WRLCK), 0, "");
    CHECK_EQ(lk_flock(q, &g, F_RDLCK), -EAGAIN, "");
    CHECK(!lk_host_can_flock(vm, "f"), "the host neither");
    CHECK_EQ(lk_flock(q, &f, F_RDLCK), 0, "down to shared");
    CHECK_EQ(lk_flock(q, &g, F_RDLCK), 0, "");
    CHECK_EQ(lk_set(q, &f, 1, F_WRLCK, 0, LK_END), 0,
             "the two kinds have nothing to do with each other");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, f.node, f.fh), 0, "");
    CHECK(!lk_host_can_flock(vm, "f"), "one is left");
    CHECK_EQ(lk_flock(q, &g, F_UNLCK), 0, "");
    CHECK(lk_host_can_flock(vm, "f"), "");
}

VM_TEST(closing_ends_the_locks_of_the_process_that_closes, &lk_on)
{
    struct lk_file f, g;
    size_t fds;

    if (!lk_create(q, "f", &f) || !lk_open(q, "f", O_RDWR, &g))
        return;
    fds = lk_count_fds(vm);
    CHECK_EQ(lk_set(q, &f, 1, F_WRLCK, 0, 9), 0, "");
    CHECK_EQ(lk_set(q, &f, 2, F_WRLCK, 10, 19), 0, "");
    CHECK_EQ(lk_flush(q, &g, 1), 0, "any file of it that the process closes");
    CHECK_STR(lk_host_sees(vm, "f", 0, 9), "", "");
    CHECK_STR(lk_host_sees(vm, "f", 10, 19), "w", "another's stay");
    /* What a guest locks for an open file (F_OFD_SETLK) sees no FLUSH. */
    CHECK_EQ(lk_set(q, &g, 3, F_WRLCK, 20, 29), 0, "");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, f.node, f.fh), 0, "");
    CHECK_STR(lk_host_sees(vm, "f", 10, 19), "", "gone with its file");
    CHECK_STR(lk_host_sees(vm, "f", 20, 29), "w", "another's stay");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, g.node, g.fh), 0, "");
    CHECK_STR(lk_host_sees(vm, "f", 20, 29), "", "");
    lk_fds_are(vm, fds - 2);
}

/* ---- two guests ---- */

struct pair {
    struct vm a, b;
    struct lk_file fa, fb;
};

static bool pair_begin(struct pair *p)
{
    struct vm_opts o = lk_on;

    p->b.fe.fd = -1;
    p->b.d = NULL;
    p->b.n = 0;
    p->b.mem.n = 0;
    if (!vm_start_fuse(&p->a, &lk_on))
        return false;
    o.d.share = daemon_share(p->a.d);
    return vm_start_fuse(&p->b, &o) && lk_create(&p->a.q[1], "f", &p->fa) &&
           lk_open(&p->b.q[1], "f", O_RDWR, &p->fb);
}

/* Guest A holds a record lock and a flock, of which B is told. */
static void take_both(struct pair *p)
{
    struct fuse_file_lock l;

    CHECK_EQ(lk_set(&p->a.q[1], &p->fa, 1, F_WRLCK, 0, 9), 0, "");
    CHECK_EQ(lk_flock(&p->a.q[1], &p->fa, F_WRLCK), 0, "");
    CHECK_EQ(lk_set(&p->b.q[1], &p->fb, 1, F_WRLCK, 9, 9), -EAGAIN,
             "the same owner number is another owner there");
    CHECK_EQ(lk_flock(&p->b.q[1], &p->fb, F_WRLCK), -EAGAIN, "");
    CHECK_EQ(lk_get(&p->b.q[1], &p->fb, 1, 0, LK_END, &l), 0, "");
    CHECK_EQ(l.type, F_WRLCK, "");
    CHECK_EQ(l.pid, 0, "no process of B's");
}

static void b_is_free(struct pair *p)
{
    CHECK_EQ(lk_set(&p->b.q[1], &p->fb, 1, F_WRLCK, 9, 9), 0, "");
    CHECK_EQ(lk_flock(&p->b.q[1], &p->fb, F_WRLCK), 0, "");
    CHECK_EQ(lk_set(&p->b.q[1], &p->fb, 1, F_UNLCK, 9, 9), 0, "");
    CHECK_EQ(lk_flock(&p->b.q[1], &p->fb, F_UNLCK), 0, "");
}

static void every_end_of_a_guest_frees_its_locks_for_others(void)
{
    struct pair p;
    size_t fds;

    if (!pair_begin(&p))
        goto out;
    b_is_free(&p);
    take_both(&p);
    CHECK_EQ(fc_init(&p.a.q[1], 0, NULL), 0, "it boots again");
    b_is_free(&p);
    fds = lk_count_fds(&p.a);

    if (!lk_open(&p.a.q[1], "f", O_RDWR, &p.fa))
        goto out;
    take_both(&p);
    CHECK_EQ(fc_destroy(&p.a.q[1]), 0, "it unmounts");
    b_is_free(&p);
    CHECK_EQ(fc_init(&p.a.q[1], 0, NULL), 0, "");
    lk_fds_are(&p.a, fds);

    if (!lk_open(&p.a.q[1], "f", O_RDWR, &p.fa))
        goto out;
    take_both(&p);
    CHECK_EQ(fe_set(&p.a.fe, FE_RESET_DEVICE, NULL, 0, NULL, 0, true), 0,
             "its device is reset");
    b_is_free(&p);

    if (!lk_set_up_again(&p.a) || !lk_open(&p.a.q[1], "f", O_RDWR, &p.fa))
        goto out;
    take_both(&p);
    fe_close(&p.a.fe);
    CHECK(daemon_wait_gone(p.a.d), "its machine is gone");
    b_is_free(&p);
out:
    vm_end(&p.b);
    vm_end(&p.a);
}

TAP_MAIN(TEST(they_are_on_offer_only_when_asked_for),
         TEST(two_owners_of_one_guest_exclude_each_other),
         TEST(who_asks_is_told_which_process_holds_it),
         TEST(a_lock_wants_a_file_opened_for_it),
         TEST(flock_belongs_to_the_open_file),
         TEST(closing_ends_the_locks_of_the_process_that_closes),
         TEST(every_end_of_a_guest_frees_its_locks_for_others))
