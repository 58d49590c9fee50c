/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/protocol/hangfs.h"
#include "tests/protocol/vm.h"

/* Rings that are stopped while the host's file system does not answer. */

struct scene {
    char dir[32], sub[64];
    struct hangfs *fs;
    struct vm vm;
    pid_t fuse; /* the request process */
};

/* The process below the daemon that has most threads. */
static size_t count_threads(pid_t pid)
{
    char path[64];
    size_t n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static bool begin(struct scene *s, const struct vm_opts *opts)
{
    struct vm_opts o = *opts;
    pid_t pids[8];
    size_t n;

    strcpy(s->dir, "/tmp/vfsd-hang-XXXXXX");
    if (!needs_root())
        return false;
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        !mkdtemp(s->dir)) {
        tap_skip("no mount namespace to be had");
        return false;
    }
    snprintf(s->sub, sizeof(s->sub), "%s/hang", s->dir);
    mkdir(s->sub, 0755);
    s->fs = hangfs_mount(s->sub);
    if (!s->fs) {
        tap_skip("no FUSE to be had");
        return false;
    }
    o.queues = 3;
    o.d.share = s->dir;
    if (!vm_start_fuse(&s->vm, &o))
        return false;
    n = daemon_roles(s->vm.d, pids, 8);
    s->fuse = -1;
    for (size_t i = 0; i < n && i < 8; i++) {
        if (s->fuse < 0 || count_threads(pids[i]) > count_threads(s->fuse))
            s->fuse = pids[i];
    }
    return CHECK(s->fuse > 0, "the request process");
}

static void end(struct scene *s)
{
    if (!s->fs)
        return;
    /* First: a process that hangs in it can not even be killed. */
    hangfs_end(s->fs);
    vm_end(&s->vm);
    rmdir(s->sub);
    CHECK_EQ(rmdir(s->dir), 0, "nothing else in it");
}

/* Behind what the requests of vm_alive() use. */
#define HANG_SLOT ((size_t)64 << 10)

/* Put @m on the ring; return when it hangs in the file system. */
static void put_hanging(struct scene *s, struct guest_queue *q, struct fm *m)
{
    if (!CHECK(guest_queue_buf(q, HANG_SLOT + fm_bytes(m)) != NULL,
               "guest memory"))
        return;
    CHECK_EQ(fm_put(q, m, HANG_SLOT), 0, "it fits");
    guest_publish(q);
    guest_kick(q);
    CHECK(hangfs_wait_asked(s->fs), "it hangs");
}

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

/* A READ of the file that hangs; @in is the caller's. */
static void make_read(struct guest_queue *q, struct fm *m,
                      struct fuse_read_in *in)
{
    struct fuse_entry_out e;
    struct fuse_open_out o;

    CHECK_EQ(fc_walk(q, "hang/file", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &o), 0, "");
    *in = (struct fuse_read_in){ .fh = o.fh, .size = HANGFS_BYTES };
    fm_init(m, FUSE_READ, e.nodeid);
    fm_add(m, in, sizeof(*in));
    m->room = in->size;
}

/* A file whose reads take so long is slow. */
#define LONG_US 50000

static void take_read(struct guest_queue *q, struct fm *m)
{
    uint16_t head;
    uint32_t used;

    if (CHECK_EQ(guest_wait(q, &head, &used), 0, "the READ comes back"))
        CHECK_EQ(fm_reply(q, m, used), 0, "well");
}

/* One READ takes long: the file is known to be slow, the pool reads it. */
static void show_slow(struct scene *s, struct guest_queue *q, struct fm *m,
                      struct fuse_read_in *in)
{
    put_hanging(s, q, m);
    usleep(LONG_US);
    hangfs_answer(s->fs, 0x11);
    take_read(q, m);
    in->offset += HANGFS_BYTES;
}

static void a_slow_read_lets_others_of_its_queue_pass(void)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fuse_read_in in;
    struct fm m;

    if (!begin(&s, &(struct vm_opts){ 0 }))
        goto out;
    make_read(q, &m, &in);
    show_slow(&s, q, &m, &in);
    for (int i = 0; i < 3; i++) {
        put_hanging(&s, q, &m);
        for (int k = 0; k < 10; k++)
            vm_alive(&s.vm, 1);
        usleep(LONG_US);
        hangfs_answer(s.fs, 0x22);
        take_read(q, &m);
        in.offset += HANGFS_BYTES;
    }
out:
    end(&s);
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

    if (!begin(&s, opts))
        goto out;
    before = count_threads(s.fuse);
    make_read(q, &m, &in);
    if (in_pool)
        show_slow(&s, q, &m, &in);
    put_hanging(&s, q, &m);
    stop(&s, q, &m);
    CHECK_EQ(count_threads(s.fuse), before + 1, "one hangs, one is new");

    reply = guest_at(&s.vm.mem, m.out_gpa, sizeof(m.oh) + in.size);
    memset(reply, 0x5a, sizeof(m.oh) + in.size);
    hangfs_answer(s.fs, 0xee);
    for (int i = 0; i < DEADLINE_MS && count_threads(s.fuse) != before; i++)
        usleep(1000);
    CHECK_EQ(count_threads(s.fuse), before, "the old thread came to its end");
    for (size_t i = 0; i < sizeof(m.oh) + in.size; i++) {
        if (!CHECK_EQ(reply[i], 0x5a, "guest memory was left alone"))
            break;
    }
    start_again(&s, q);
out:
    end(&s);
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

    if (!begin(&s, &(struct vm_opts){ 0 }))
        goto out;
    before = count_threads(s.fuse);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "hang", &e), 0, "");
    fm_init(&m, FUSE_LOOKUP, e.nodeid);
    fm_add_name(&m, "slow");
    m.room = sizeof(e);
    put_hanging(&s, q, &m);
    stop(&s, q, &m);
    CHECK_EQ(count_threads(s.fuse), before, "no thread was given up");
    start_again(&s, q);
out:
    end(&s);
}

/* A guest that reboots does not wait for the files of its life before. */
static void a_new_life_begins_although_closing_hangs(void)
{
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fuse_entry_out e;
    struct fuse_open_out o;

    if (!begin(&s, &(struct vm_opts){ 0 }))
        goto out;
    CHECK_EQ(fc_walk(q, "hang/file", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &o), 0, "");
    hangfs_hang_flush(s.fs);
    CHECK_EQ(fc_init(q, 0, NULL), 0, "INIT");
    CHECK(daemon_wait_log(s.vm.d, "going on without"), "it did hang");
    vm_alive(&s.vm, 1);
out:
    end(&s);
}

TAP_MAIN(TEST(a_slow_read_lets_others_of_its_queue_pass),
         TEST(a_ring_stops_although_its_thread_hangs),
         TEST(a_ring_stops_although_the_pool_hangs),
         TEST(what_can_be_interrupted_is),
         TEST(a_new_life_begins_although_closing_hangs))
