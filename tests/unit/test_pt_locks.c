/* SPDX-License-Identifier: BSD-3-Clause */
/* Locks on the host: owners, those that wait, and how many there may be. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "tests/lib/tap.h"
#include "tests/unit/mock_request.h"
#include "virtiofsd/base/log.h"

#define ROOT FUSE_ROOT_ID
#define END  ((uint64_t)INT64_MAX)

static struct mock m;
static uint64_t node, fh;

static void on_signal(int sig)
{
    (void)sig;
}

static bool start(void)
{
    struct sigaction sa = { .sa_handler = on_signal };
    struct pt_opts opts = mock_opts();

    sigaction(SIGUSR1, &sa, NULL);
    log_set_level(LOG_LEVEL_OFF);
    opts.flock = opts.posix_lock = true;
    return CHECK(mock_start(&m, &opts), "a share to test on") &&
           CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &node, &fh), 0,
                    "");
}

static int lk(struct request *r, uint32_t opcode, uint64_t owner, int type,
              uint64_t begin, uint64_t end, uint32_t flags)
{
    struct fuse_lk_in in = {
        .fh = fh,
        .owner = owner,
        .lk = { .start = begin, .end = end, .type = (uint32_t)type },
        .lk_flags = flags,
    };

    return mock_send(m.se, r, opcode, node, &in, sizeof(in));
}

static int set(uint64_t owner, int type, uint64_t begin, uint64_t end)
{
    return lk(m.r, FUSE_SETLK, owner, type, begin, end, 0);
}

static void an_owner_lives_as_long_as_it_holds_something(void)
{
    struct fuse_flush_in flush = { .lock_owner = 2 };

    if (!start())
        return;
    CHECK_EQ(set(1, F_UNLCK, 0, END), 0, "");
    CHECK_EQ(mock_count(&m).lock_owners, 0, "unlocking makes none");
    CHECK_EQ(set(1, F_WRLCK, 0, 9), 0, "");
    CHECK_EQ(set(2, F_WRLCK, 5, 5), -EAGAIN, "");
    CHECK_EQ(mock_count(&m).lock_owners, 1, "who got nothing is none");
    CHECK_EQ(set(2, F_WRLCK, 10, 19), 0, "");
    CHECK_EQ(mock_count(&m).lock_owners, 2, "");
    CHECK_EQ(set(1, F_UNLCK, 0, 4), 0, "");
    CHECK_EQ(mock_count(&m).lock_owners, 2, "a part is left");
    CHECK_EQ(set(1, F_UNLCK, 5, 9), 0, "");
    CHECK_EQ(mock_count(&m).lock_owners, 1, "");
    flush.fh = fh;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_FLUSH, node, &flush, sizeof(flush)), 0,
             "");
    CHECK_EQ(mock_count(&m).lock_owners, 0, "");
    CHECK_EQ(set(1, F_WRLCK, 0, 9), 0, "");
    pt_fs_reset(m.fs);
    CHECK_EQ(mock_count(&m).lock_owners, 0, "a new life");
    CHECK_EQ(set(1, F_WRLCK, 0, 9), -EBADF, "knows no file of the old one");
    mock_stop(&m);
}

static void there_are_so_many_owners_and_no_more(void)
{
    static struct pt_owner *o[PT_LOCK_OWNERS_MAX];
    struct pt_owner *more;
    struct pt_owners *t;
    unsigned int n = 0;

    if (!start())
        return;
    t = &m.fs->locks.owners;
    while (n < PT_LOCK_OWNERS_MAX &&
           pt_owner_get(t, 1 + n / 64, n % 64, true, &o[n]) == 0)
        n++;
    CHECK_EQ(n, PT_LOCK_OWNERS_MAX, "so many");
    CHECK_EQ(pt_owner_get(t, 1, 64, true, &more), -ENOLCK, "and no more");
    CHECK_EQ(pt_owner_get(t, 1, 63, true, &more), 0, "but for those there");
    pt_owner_put(t, more);
    pt_owner_put(t, o[0]);
    CHECK_EQ(pt_owner_get(t, 1, 64, true, &o[0]), 0, "one went");
    for (unsigned int i = 0; i < n; i++)
        pt_owner_put(t, o[i]);
    CHECK_EQ(pt_owners_count(t), 0, "");
    mock_stop(&m);
}

static void there_are_so_many_ranges_and_no_more(void)
{
    struct pt_owners *t;
    int64_t n;

    if (!start())
        return;
    t = &m.fs->locks.owners;
    CHECK_EQ(set(1, F_WRLCK, 0, 100), 0, "");
    CHECK_EQ(set(1, F_UNLCK, 50, 50), 0, "");
    CHECK_EQ(t->n_ranges, 2, "");
    CHECK_EQ(set(2, F_WRLCK, 0, 0), -EAGAIN, "");
    CHECK_EQ(t->n_ranges, 2, "what failed is not counted");
    /* As if the rest were others'. */
    t->n_ranges = PT_LOCK_RANGES_MAX - 1;
    CHECK_EQ(set(1, F_UNLCK, 20, 20), 0, "one more by a hole");
    CHECK_EQ(set(1, F_UNLCK, 30, 30), -ENOLCK, "and no more");
    CHECK_EQ(set(2, F_WRLCK, 200, 200), -ENOLCK, "");
    CHECK_EQ(set(1, F_UNLCK, 60, 100), 0, "as many as before");
    CHECK_EQ(set(1, F_UNLCK, 51, 59), 0, "one less");
    CHECK_EQ(set(2, F_WRLCK, 200, 200), 0, "there is room for one");
    n = t->n_ranges;
    CHECK_EQ(n, PT_LOCK_RANGES_MAX, "");
    CHECK_EQ(set(1, F_UNLCK, 0, END), 0, "");
    CHECK_EQ(set(2, F_UNLCK, 0, END), 0, "");
    CHECK_EQ(t->n_ranges, n - 3, "all are given back");
    t->n_ranges = 0;
    mock_stop(&m);
}

static int host_flock(int op)
{
    static int fd = -1;

    if (fd < 0)
        fd = open(mock_path(&m, "f"), O_RDWR | O_CLOEXEC);
    if (op >= 0)
        return flock(fd, op);
    close(fd);
    return fd = -1;
}

static void who_can_not_be_detached_gets_an_error(void)
{
    if (!start())
        return;
    CHECK_EQ(set(1, F_WRLCK, 0, 9), 0, "");
    CHECK_EQ(host_flock(LOCK_EX), 0, "");
    m.r->may_not_detach = true;
    CHECK_EQ(lk(m.r, FUSE_SETLKW, 2, F_WRLCK, 0, 9, 0), -ENOLCK, "");
    CHECK_EQ(lk(m.r, FUSE_SETLKW, 2, F_WRLCK, 0, 9, FUSE_LK_FLOCK), -ENOLCK,
             "");
    m.r->may_not_detach = false;
    CHECK_EQ(mock_count(&m).lock_waits, 0, "");
    CHECK_EQ(mock_count(&m).lock_owners, 1, "");
    host_flock(-1);
    mock_stop(&m);
}

static void a_wait_is_answered_once_and_interrupted_by_number(void)
{
    static const uint32_t flags[] = { 0, FUSE_LK_FLOCK };
    struct request *other = mock_request_new();

    if (!start())
        return;
    for (size_t i = 0; i < 2; i++) {
        CHECK_EQ(set(1, F_WRLCK, 0, 9), 0, "");
        CHECK_EQ(host_flock(LOCK_EX), 0, "");
        m.r->unique = 40 + i;
        CHECK_EQ(lk(m.r, FUSE_SETLKW, 2, F_WRLCK, 0, 9, flags[i]), 1,
                 "no answer yet");
        CHECK(m.r->detached, "");
        CHECK_EQ(mock_count(&m).lock_waits, 1, "");
        pt_fs_interrupt(m.fs, 999);
        CHECK(!m.r->later_done, "another number");
        pt_fs_interrupt(m.fs, 40 + i);
        CHECK_EQ(mock_wait_later(m.r), -EINTR, "");
        pt_fs_interrupt(m.fs, 50 + i);
        m.r->unique = 50 + i;
        CHECK_EQ(lk(m.r, FUSE_SETLKW, 2, F_WRLCK, 0, 9, flags[i]), -EINTR,
                 "interrupted before it came");
        m.r->unique = 60 + i;
        CHECK_EQ(lk(m.r, FUSE_SETLKW, 2, F_WRLCK, 0, 9, flags[i]), 1, "");
        CHECK_EQ(lk(other, FUSE_SETLK, 1, F_UNLCK, 0, 9, 0), 0, "");
        host_flock(-1);
        CHECK_EQ(mock_wait_later(m.r), 0, "granted");
        CHECK_EQ(set(2, F_UNLCK, 0, 9), 0, "");
        CHECK_EQ(lk(m.r, FUSE_SETLK, 2, F_UNLCK, 0, END, FUSE_LK_FLOCK), 0, "");
    }
    mock_request_free(other);
    mock_stop(&m);
}

/* Many waits, each cut off at once, wherever it is by then. */
static void no_interrupt_is_lost(void)
{
    if (!start())
        return;
    CHECK_EQ(host_flock(LOCK_EX), 0, "");
    for (uint64_t i = 1; i <= 2000 && !tap_failing(); i++) {
        m.r->unique = i;
        CHECK_EQ(lk(m.r, FUSE_SETLKW, 2, F_WRLCK, 0, 9, FUSE_LK_FLOCK), 1, "");
        pt_fs_interrupt(m.fs, i);
        CHECK_EQ(mock_wait_later(m.r), -EINTR, "");
    }
    host_flock(-1);
    mock_stop(&m);
}

static _Atomic int naps, ended;

/* The first signal finds the thread before the call that it is to end. */
static int block_deaf(struct pt_wait *w)
{
    struct timespec nap = { .tv_sec = 30 };

    (void)w;
    for (int i = 0; i < 2; i++) {
        atomic_fetch_add(&naps, 1);
        if (nanosleep(&nap, NULL) == 0)
            return 0; /* nobody came */
    }
    return -EINTR;
}

static void end_deaf(struct pt_wait *w, int ret)
{
    (void)w;
    atomic_store(&ended, ret ? -ret : -1);
}

static void a_signal_that_came_too_early_is_repeated(void)
{
    struct pt_wait w = { .unique = 5, .block = block_deaf, .end = end_deaf };

    if (!start())
        return;
    CHECK_EQ(pt_waits_start(&m.fs->locks.waits, &w), 0, "");
    while (atomic_load(&naps) == 0)
        usleep(100);
    usleep(1000); /* asleep, as a rule; if not, the test proves less */
    pt_fs_interrupt(m.fs, 5);
    while (atomic_load(&ended) == 0)
        usleep(100);
    CHECK_EQ(atomic_load(&ended), EINTR, "the second one ended it");
    CHECK_EQ(atomic_load(&naps), 2, "");
    mock_stop(&m);
}

static void a_new_life_ends_all_waits(void)
{
    struct request *r[20];

    if (!start())
        return;
    CHECK_EQ(set(1, F_WRLCK, 0, 9), 0, "");
    for (uint64_t i = 0; i < 20; i++) {
        r[i] = mock_request_new();
        r[i]->unique = 100 + i;
        CHECK_EQ(lk(r[i], FUSE_SETLKW, 2 + i, F_WRLCK, 0, 9, 0), 1, "");
    }
    CHECK_EQ(mock_count(&m).lock_waits, 20, "");
    pt_fs_reset(m.fs);
    CHECK_EQ(mock_count(&m).lock_waits, 0, "");
    CHECK_EQ(mock_count(&m).lock_owners, 0, "");
    for (int i = 0; i < 20; i++) {
        CHECK(r[i]->later_done, "answered by then");
        CHECK_EQ(r[i]->later_err, -EINTR, "");
        mock_request_free(r[i]);
    }
    mock_stop(&m);
}

TAP_MAIN(TEST(an_owner_lives_as_long_as_it_holds_something),
         TEST(there_are_so_many_owners_and_no_more),
         TEST(there_are_so_many_ranges_and_no_more),
         TEST(who_can_not_be_detached_gets_an_error),
         TEST(a_wait_is_answered_once_and_interrupted_by_number),
         TEST(no_interrupt_is_lost),
         TEST(a_signal_that_came_too_early_is_repeated),
         TEST(a_new_life_ends_all_waits))
