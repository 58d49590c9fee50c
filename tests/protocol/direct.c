/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/protocol/hang_lib.h"
#include "tests/protocol/sched_lib.h"

/*
 * Direct reads of a ring that has more to do: no thread waits for them.  Where
 * the host's file system can not do that they are read in the pool, and all of
 * this is to be seen as well.
 */

#define DEPTH  16
#define BYTES  ((size_t)2 * GUEST_PAGE)
#define BLOCKS 64
#define SEED   77

/* One READ: a page for headers and arguments, and pages of payload. */
struct read {
    uint64_t gpa;
    struct fuse_in_header *in;
    struct fuse_read_in *args;
    struct fuse_out_header *out;
    uint8_t *payload;
    uint64_t off;
    uint16_t head;
    bool busy;
};

struct file {
    struct fuse_entry_out e;
    struct fuse_open_out o;
    uint8_t data[BLOCKS * BYTES];
    struct read r[DEPTH];
};

static struct file file;

static bool make_read(struct guest_queue *q, struct read *r)
{
    uint8_t *p;

    r->gpa = guest_alloc(q->mem, GUEST_PAGE + BYTES, GUEST_PAGE);
    p = guest_at(q->mem, r->gpa, GUEST_PAGE + BYTES);
    if (!CHECK(p, "guest memory"))
        return false;
    r->in = (void *)p;
    r->args = (void *)(p + sizeof(*r->in));
    r->out = (void *)(p + 1024);
    r->payload = p + GUEST_PAGE;
    r->busy = false;
    return true;
}

/* A file that is open with O_DIRECT, and nothing of it in memory. */
static bool open_file(struct vm *vm, struct guest_queue *q)
{
    struct file *f = &file;
    int fd;

    fill_pattern(f->data, sizeof(f->data), SEED);
    host_write(vm, "f", f->data, sizeof(f->data));
    fd = open(daemon_path(vm->d, "f"), O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        tap_skip("no O_DIRECT on this file system");
        return false;
    }
    fsync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    for (int i = 0; i < DEPTH; i++) {
        if (!make_read(q, &f->r[i]))
            return false;
    }
    return CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &f->e), 0, "") &&
           CHECK_EQ(
               fc_open(q, FUSE_OPEN, f->e.nodeid, O_RDWR | O_DIRECT, &f->o), 0,
               "");
}

/* New data, in the host's memory alone.  The file is not cut first: ext4 would
 * begin to write it when it is closed. */
static void write_on_host(const struct vm *vm, uint32_t seed)
{
    int fd = open(daemon_path(vm->d, "f"), O_WRONLY | O_CLOEXEC);

    fill_pattern(file.data, sizeof(file.data), seed);
    CHECK_EQ(pwrite(fd, file.data, sizeof(file.data), 0), sizeof(file.data),
             "by the host");
    close(fd);
}

static void put(struct guest_queue *q, struct read *r, uint64_t off)
{
    struct guest_seg segs[] = {
        { r->gpa, sizeof(*r->in) + sizeof(*r->args), false },
        { r->gpa + 1024, sizeof(*r->out), true },
        { r->gpa + GUEST_PAGE + BYTES / 2, BYTES / 2, true },
        { r->gpa + GUEST_PAGE, BYTES / 2, true },
    };
    int head;

    *r->in = (struct fuse_in_header){
        .len = segs[0].len,
        .opcode = FUSE_READ,
        .unique = q->unique += 2,
        .nodeid = file.e.nodeid,
    };
    *r->args =
        (struct fuse_read_in){ .fh = file.o.fh, .offset = off, .size = BYTES };
    memset(r->payload, 0xee, BYTES);
    r->off = off;
    head = guest_add(q, segs, 4, true);
    CHECK(head >= 0, "it fits");
    r->head = (uint16_t)head;
    r->busy = true;
}

static struct read *read_of(uint16_t head)
{
    for (int i = 0; i < DEPTH; i++) {
        if (file.r[i].busy && file.r[i].head == head)
            return &file.r[i];
    }
    return NULL;
}

/* The payload's pages are the wrong way round in guest memory. */
static bool right(const struct read *r, size_t want)
{
    for (size_t i = 0; i < want; i++) {
        if (r->payload[(i + BYTES / 2) % BYTES] != file.data[r->off + i])
            return false;
    }
    return true;
}

/* One comes back, with @want bytes.  Return: which. */
static struct read *take(struct guest_queue *q, size_t want)
{
    struct read *r;
    uint16_t head;
    uint32_t used;

    if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "it comes back"))
        return NULL;
    r = read_of(head);
    if (!CHECK(r, "one of ours, and once"))
        return NULL;
    r->busy = false;
    CHECK_EQ(r->out->error, 0, "");
    CHECK_EQ(r->out->unique, r->in->unique, "");
    CHECK_EQ(r->out->len, sizeof(*r->out) + want, "");
    CHECK_EQ(used, r->out->len, "");
    CHECK(right(r, want), "the file's bytes");
    return r;
}

/* All of them at once: all but the last meet others. */
static void put_all(struct guest_queue *q)
{
    for (int i = 0; i < DEPTH; i++)
        put(q, &file.r[i], (uint64_t)i * BYTES);
    guest_publish(q);
}

/* The kernel has what it takes for the process @pid: its memory tells. */
static bool has_aio(pid_t pid)
{
    char path[32], line[256];
    bool found = false;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        found |= strstr(line, "[aio]") != NULL;
    if (f)
        fclose(f);
    return found;
}

static const char *const direct_args[] = { "--allow-direct-io", NULL };
#define OPTS (&(struct vm_opts){ .d = { .args = direct_args }, .queues = 3 })

VM_TEST(each_read_is_answered_once_and_right, OPTS)
{
    unsigned int next = DEPTH;

    if (!open_file(vm, q))
        return;
    CHECK(!has_aio(role_pid(vm, ROLE_REQUEST)), "nobody needs it yet");
    put_all(q);
    for (int i = 0; i < 20 * DEPTH; i++) {
        struct read *r = take(q, BYTES);

        if (!r)
            return;
        put(q, r, (uint64_t)(next++ % BLOCKS) * BYTES);
        guest_publish(q);
    }
    for (int i = 0; i < DEPTH; i++)
        take(q, BYTES);
    CHECK(has_aio(role_pid(vm, ROLE_REQUEST)), "the kernel was at work");
    vm_alive(vm, 1);
}

/* What the host's file system has to write first is not begun, but read. */
VM_TEST(what_the_host_has_just_written_is_read, OPTS)
{
    if (!open_file(vm, q))
        return;
    for (int round = 0; round < 10; round++) {
        write_on_host(vm, (uint32_t)round);
        put_all(q);
        for (int i = 0; i < DEPTH; i++)
            take(q, BYTES);
    }
}

VM_TEST(the_files_end_cuts_reads_short, OPTS)
{
    const uint64_t size = sizeof(file.data) - GUEST_PAGE;

    if (!open_file(vm, q))
        return;
    CHECK_EQ(truncate(daemon_path(vm->d, "f"), (off_t)size), 0, "");
    for (int i = 0; i < DEPTH; i++)
        put(q, &file.r[i], sizeof(file.data) - BYTES);
    guest_publish(q);
    for (int i = 0; i < DEPTH; i++)
        take(q, GUEST_PAGE);
    for (int i = 0; i < DEPTH; i++)
        put(q, &file.r[i], sizeof(file.data));
    guest_publish(q);
    for (int i = 0; i < DEPTH; i++)
        take(q, 0);
}

VM_TEST(what_is_not_aligned_is_an_error, OPTS)
{
    uint16_t head;
    uint32_t used;

    if (!open_file(vm, q))
        return;
    for (int i = 0; i < DEPTH; i++)
        put(q, &file.r[i], (uint64_t)i * BYTES + 3);
    guest_publish(q);
    for (int i = 0; i < DEPTH; i++) {
        struct read *r = NULL;

        if (CHECK_EQ(guest_wait(q, &head, &used), 0, "it comes back"))
            r = read_of(head);
        if (!CHECK(r, "one of ours"))
            return;
        r->busy = false;
        CHECK_EQ(r->out->error, -EINVAL, "as open(2) says");
        CHECK_EQ(used, sizeof(*r->out), "");
    }
}

VM_TEST(a_ring_that_stops_has_answered_all, OPTS)
{
    uint32_t base = 0;

    if (!open_file(vm, q))
        return;
    for (int round = 0; round < 50; round++) {
        put_all(q);
        if (!CHECK_EQ(fe_get_base(&vm->fe, q->idx, &base), 0, "it stops"))
            return;
        /* What it has not taken stays on the ring. */
        CHECK_EQ((uint16_t)base, q->used->idx, "all that was taken");
        CHECK_EQ(fe_ring_start(&vm->fe, q, base), 0, "");
        CHECK_EQ(fe_ring_enable(&vm->fe, q, true), 0, "");
        guest_kick(q);
        for (int i = 0; i < DEPTH; i++) {
            if (!take(q, BYTES))
                return;
        }
    }
}

/* A driver that offers a head which it has not got back. */
VM_TEST(a_head_offered_twice_breaks_only_the_ring, OPTS)
{
    if (!open_file(vm, q))
        return;
    put_all(q);
    for (int i = 0; i < DEPTH; i++)
        guest_add_head(q, file.r[i].head);
    guest_publish(q);
    vm_alive(vm, 2);
    CHECK_EQ(fe_get_base(&vm->fe, q->idx, &(uint32_t){ 0 }), 0, "it stops");
    guest_queue_reset(q, 0);
    CHECK_EQ(fe_ring_start(&vm->fe, q, 0), 0, "");
    CHECK_EQ(fe_ring_enable(&vm->fe, q, true), 0, "");
    vm_alive(vm, 1);
}

/* ---- between the two halves ---- */

/* The ring's thread, about to have the first of DEPTH reads begun. */
static bool hold_beginning(struct hold *h, struct vm *vm, struct guest_queue *q)
{
    if (!open_file(vm, q) || !hold_begin(h, vm, q))
        return false;
    put_all(q);
    return hold_at(h, RING_BEGINS);
}

VM_TEST(a_read_is_begun_when_its_ring_is_anothers, OPTS)
{
    struct hold h = { 0 };

    if (hold_beginning(&h, vm, q)) {
        for (int i = 1; i < DEPTH; i++)
            take(q, BYTES);
        vm_alive(vm, 1);
        hold_end(&h);
        take(q, BYTES);
        vm_alive(vm, 1);
    }
    hold_end(&h);
}

/*
 * Make the read about to be begun one that never ends: the kernel is told to
 * look out for something that does not happen.
 */
static bool make_endless(const struct hold *h)
{
    uint64_t at = 0;
    struct iocb cb;
    long *word = (long *)(void *)&cb;

    errno = 0;
    at = (uint64_t)ptrace(PTRACE_PEEKDATA, h->tid, h->arg[2], 0);
    for (size_t i = 0; i < sizeof(cb) / sizeof(long); i++)
        word[i] = ptrace(PTRACE_PEEKDATA, h->tid, at + i * sizeof(long), 0);
    cb.aio_lio_opcode = IOCB_CMD_POLL;
    cb.aio_fildes = cb.aio_resfd;
    cb.aio_buf = cb.aio_nbytes = 0;
    cb.aio_offset = 0;
    cb.aio_rw_flags = 0;
    for (size_t i = 0; i < sizeof(cb) / sizeof(long); i++)
        ptrace(PTRACE_POKEDATA, h->tid, at + i * sizeof(long), word[i]);
    return CHECK_EQ(errno, 0, "the thread's memory");
}

/* The disk never answers: the read is given up, the others are answered. */
VM_TEST(a_ring_stops_although_a_read_never_ends, OPTS)
{
    struct hold h = { 0 };
    struct read *r = NULL;
    uint32_t base = 0, used;
    uint16_t head;

    if (hold_beginning(&h, vm, q) && make_endless(&h)) {
        hold_end(&h);
        for (int i = 1; i < DEPTH; i++)
            take(q, BYTES);
        vm_alive(vm, 1);
        CHECK_EQ(fe_get_base(&vm->fe, q->idx, &base), 0, "the ring stops");
        CHECK_EQ((uint16_t)base, q->avail_idx, "with nothing left on it");
        if (CHECK(guest_take(q, &head, &used), "it was answered before"))
            r = read_of(head);
        if (CHECK(r, "the one that was left"))
            CHECK_EQ(r->out->error, -EINTR, "as interrupted");
        CHECK_EQ(fe_ring_start(&vm->fe, q, base), 0, "");
        CHECK_EQ(fe_ring_enable(&vm->fe, q, true), 0, "");
        put_all(q);
        for (int i = 0; i < DEPTH; i++)
            take(q, BYTES);
    }
    hold_end(&h);
}

/* All threads of the pool hang, and the ring's too: it gets a new one, which
 * knows the heads' places from before. */
static void what_is_not_begun_is_read_for_a_new_thread(void)
{
    static const char *const args[] = { "--allow-direct-io",
                                        "--thread-pool-size=2", NULL };
    struct scene s = { .fs = NULL };
    struct guest_queue *q = &s.vm.q[1];
    struct fuse_read_in in[3];
    struct fm m[3];
    uint16_t head;
    uint32_t base = 0, used;

    if (!hang_begin(&s, &(struct vm_opts){ .d = { .args = args } }))
        goto out;
    for (int i = 0; i < 3; i++) {
        hang_make_read(q, &m[i], &in[i]);
        in[i].offset = (uint64_t)i * HANGFS_BYTES;
    }
    hang_put_each(&s, q, m, 3);
    CHECK_EQ(fe_get_base(&s.vm.fe, q->idx, &base), 0, "the ring stops");
    for (int i = 0; i < 3; i++)
        CHECK(guest_take(q, &head, &used), "all were given up");
    guest_queue_reset(q, 0);
    CHECK_EQ(fe_ring_start(&s.vm.fe, q, 0), 0, "");
    CHECK_EQ(fe_ring_enable(&s.vm.fe, q, true), 0, "");
    if (!open_file(&s.vm, q))
        goto out;
    for (int round = 0; round < 10; round++) {
        write_on_host(&s.vm, (uint32_t)round);
        put_all(q);
        for (int i = 0; i < DEPTH; i++) {
            if (!take(q, BYTES))
                goto out;
        }
    }
out:
    if (s.vm.d)
        unlink(daemon_path(s.vm.d, "f"));
    hang_end(&s);
}

TAP_MAIN(TEST(each_read_is_answered_once_and_right),
         TEST(what_the_host_has_just_written_is_read),
         TEST(the_files_end_cuts_reads_short),
         TEST(what_is_not_aligned_is_an_error),
         TEST(a_ring_that_stops_has_answered_all),
         TEST(a_head_offered_twice_breaks_only_the_ring),
         TEST(a_read_is_begun_when_its_ring_is_anothers),
         TEST(a_ring_stops_although_a_read_never_ends),
         TEST(what_is_not_begun_is_read_for_a_new_thread))
