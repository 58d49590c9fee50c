/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Memory that comes and goes, many queues at once, and the dirty log. */

#define EXTRA_GPA  ((uint64_t)2 << 32)
#define EXTRA_SIZE ((uint64_t)4 << 20)

struct worker {
    pthread_t thread;
    struct guest_queue *q;
    atomic_bool stop;
    atomic_int done;
    int rounds; /* 0: until told to stop */
};

/* Make, write, read, compare and remove a file of one's own. */
static bool one_file(struct guest_queue *q, const char *name, uint32_t seed)
{
    uint8_t data[3000];
    struct fuse_entry_out e;
    struct fuse_open_out f;
    const void *back = NULL;
    size_t len = 0;
    uint32_t n = 0;

    fill_pattern(data, sizeof(data), seed);
    return CHECK_EQ(fc_create(q, NULL, FC_ROOT, name, 2, 0600, &e, &f), 0,
                    name) &&
           CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, data, sizeof(data), &n), 0,
                    name) &&
           CHECK_EQ(n, sizeof(data), name) &&
           CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 4096, &back, &len), 0,
                    name) &&
           CHECK_EQ(len, sizeof(data), name) &&
           CHECK_MEM(back, data, sizeof(data), name) &&
           CHECK_EQ(fc_release(q, FUSE_RELEASE, e.nodeid, f.fh), 0, name) &&
           CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, name), 0, name) &&
           CHECK_EQ(fc_forget(q, e.nodeid, 1), FM_EMPTY, name);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    char name[32];
    int i = 0;

    snprintf(name, sizeof(name), "file-of-%u", w->q->idx);
    while (!w->stop && (w->rounds == 0 || i < w->rounds)) {
        if (!one_file(w->q, name, w->q->idx + (uint32_t)i))
            break;
        w->done = ++i;
    }
    return NULL;
}

static void start_worker(struct worker *w, struct guest_queue *q, int rounds)
{
    w->q = q;
    w->rounds = rounds;
    w->stop = false;
    w->done = 0;
    pthread_create(&w->thread, NULL, work, w);
}

static int stop_worker(struct worker *w)
{
    w->stop = true;
    pthread_join(w->thread, NULL);
    return w->done;
}

static void sixty_four_queues_are_served_at_once(void)
{
    struct vm_opts o = { .queues = 65, .size = 64 };
    struct worker *w = calloc(65, sizeof(*w));
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        for (unsigned int i = 1; i < vm.n; i++)
            start_worker(&w[i], &vm.q[i], 20);
        for (unsigned int i = 1; i < vm.n; i++) {
            pthread_join(w[i].thread, NULL);
            CHECK_EQ(w[i].done, 20, "every queue did all of its work");
        }
    }
    free(w);
    vm_end(&vm);
}

/* A request whose reply goes to @gpa; returns as fm_call(), or -EPIPE when
 * the ring broke. */
static int getattr_into(struct vm *vm, struct guest_queue *q, uint64_t gpa)
{
    const uint32_t len =
        sizeof(struct fuse_out_header) + sizeof(struct fuse_attr_out);
    struct fuse_in_header *h = guest_queue_buf(q, 4096);
    struct guest_seg segs[2] = { { q->buf_gpa, 56, false },
                                 { gpa, len, true } };
    struct fuse_out_header *oh;
    uint16_t head;
    uint32_t used;

    memset(h, 0, 56);
    *h = (struct fuse_in_header){
        .len = 56, .opcode = FUSE_GETATTR, .unique = 12345, .nodeid = FC_ROOT
    };
    CHECK(guest_add(q, segs, 2, false) >= 0, "");
    guest_publish(q);
    for (int left = DEADLINE_MS; left > 0; left -= 10) {
        if (guest_take(q, &head, &used)) {
            oh = guest_at(&vm->mem, gpa, len);
            CHECK_EQ(used, len, "");
            return oh->error;
        }
        if (guest_eventfd_wait(q->err_fd, 10) > 0)
            return -EPIPE;
    }
    return FM_LOST;
}

static void regions_come_and_go_under_load(void)
{
    struct vm_opts o = { .queues = 3 };
    struct worker w = { 0 };
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        start_worker(&w, &vm.q[2], 0);
        for (int i = 0; i < 60; i++) {
            int at = guest_mem_add(&vm.mem, EXTRA_GPA, EXTRA_SIZE);

            CHECK_EQ(fe_add_region(&vm.fe, &vm.mem.r[at]), 0, "ADD_MEM_REG");
            CHECK_EQ(getattr_into(&vm, &vm.q[1], EXTRA_GPA + 4000), 0,
                     "new memory is there");
            CHECK_EQ(fe_remove_region(&vm.fe, &vm.mem.r[at]), 0, "REM_MEM_REG");
            guest_mem_pop(&vm.mem);
            vm_alive(&vm, 1);
        }
        CHECK_EQ(getattr_into(&vm, &vm.q[1], EXTRA_GPA + 4000), -EPIPE,
                 "memory taken away breaks a ring that names it");
        CHECK(stop_worker(&w) > 0, "the other ring did its work meanwhile");
    }
    vm_end(&vm);
}

/* The same memory told of again and again, as QEMU does on every change. */
static void memory_tables_are_replaced_under_load(void)
{
    struct vm_opts o = { .queues = 3,
                         .proto = VM_PROTO & ~BIT64(FE_PF_MEM_SLOTS) };
    struct worker w = { 0 };
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        start_worker(&w, &vm.q[2], 0);
        for (int i = 0; i < 60; i++) {
            int at = guest_mem_add(&vm.mem, EXTRA_GPA, EXTRA_SIZE);

            CHECK_EQ(fe_mem_table(&vm.fe, &vm.mem), 0, "one more");
            CHECK_EQ(getattr_into(&vm, &vm.q[1], EXTRA_GPA + 8), 0, "");
            guest_mem_pop(&vm.mem);
            CHECK_EQ(fe_mem_table(&vm.fe, &vm.mem), 0, "one less");
            vm_alive(&vm, 1);
            (void)at;
        }
        CHECK(stop_worker(&w) > 0, "the other ring did its work meanwhile");
    }
    vm_end(&vm);
}

static void unmapped_memory_may_be_freed_at_once(void)
{
    struct vm vm;

    /* Truncated right after the answer: a late access would be SIGBUS. */
    if (vm_start_fuse(&vm, NULL)) {
        for (int i = 0; i < 30; i++) {
            int at = guest_mem_add(&vm.mem, EXTRA_GPA, EXTRA_SIZE);

            CHECK_EQ(fe_add_region(&vm.fe, &vm.mem.r[at]), 0, "");
            CHECK_EQ(getattr_into(&vm, &vm.q[1], EXTRA_GPA), 0, "");
            CHECK_EQ(fe_remove_region(&vm.fe, &vm.mem.r[at]), 0, "");
            CHECK_EQ(ftruncate(vm.mem.r[at].fd, 0), 0, "");
            guest_mem_pop(&vm.mem);
            vm_alive(&vm, 1);
        }
    }
    vm_end(&vm);
}

/* ---- the dirty log: a bit for each page of 4096 bytes ---- */

#define LOG_OFFSET ((uint64_t)4096)

struct dirty {
    uint8_t *bits;
    size_t bytes;
    int fd;
};

static bool log_start(struct vm *vm, struct dirty *d)
{
    const struct guest_region *last = &vm->mem.r[vm->mem.n - 1];
    uint64_t f = vm->fe.acked | BIT64(FE_F_LOG_ALL);
    struct fe_log log;
    struct fe_msg m;

    d->bytes = (last->gpa + last->size) / GUEST_PAGE / 8;
    d->fd = memfd_create("log", MFD_CLOEXEC);
    if (ftruncate(d->fd, (off_t)(LOG_OFFSET + d->bytes)) < 0)
        return false;
    d->bits = mmap(NULL, d->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd,
                   LOG_OFFSET);
    log = (struct fe_log){ d->bytes, LOG_OFFSET };
    return CHECK_EQ(fe_send(&vm->fe, FE_SET_LOG_BASE, 0, &log, sizeof(log),
                            &d->fd, 1),
                    0, "SET_LOG_BASE") &&
           CHECK_EQ(fe_recv(&vm->fe, &m), 0, "its reply") &&
           CHECK_EQ(fe_set_u64(&vm->fe, FE_SET_FEATURES, f), 0, "LOG_ALL");
}

static void log_end(struct dirty *d)
{
    munmap(d->bits, d->bytes);
    close(d->fd);
}

static bool is_dirty(const struct dirty *d, uint64_t gpa)
{
    uint64_t page = gpa / GUEST_PAGE;

    return __atomic_load_n(&d->bits[page / 8], __ATOMIC_ACQUIRE) &
           (1u << (page % 8));
}

static size_t count_dirty(const struct dirty *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->bytes; i++)
        n += (size_t)__builtin_popcount(d->bits[i]);
    return n;
}

/* A change of features is in force once a later message is answered. */
static void talk_once(struct vm *vm)
{
    uint64_t v;

    CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_FEATURES, &v), 0, "");
}

#define READ_BYTES 20000u

/* Read the file; return the pages its reply touched, and where it began. */
static size_t read_and_count(struct guest_queue *q,
                             const struct fuse_entry_out *e,
                             const struct fuse_open_out *f, uint64_t *gpa)
{
    struct fuse_read_in in = { .fh = f->fh, .size = READ_BYTES };
    struct fm m;

    fm_init(&m, FUSE_READ, e->nodeid);
    fm_add(&m, &in, sizeof(in));
    m.room = READ_BYTES + 3 * GUEST_PAGE; /* more room than there is data */
    CHECK_EQ(fm_call(q, &m), 0, "READ");
    CHECK_EQ(m.out_len, READ_BYTES, "READ");
    *gpa = m.out_gpa;
    return (m.out_gpa % GUEST_PAGE + m.used_len + GUEST_PAGE - 1) / GUEST_PAGE;
}

/* Where the next completion will be written. */
static uint64_t used_elem_gpa(const struct guest_queue *q)
{
    return q->used_gpa + offsetof(struct vring_used, ring) +
           sizeof(struct vring_used_elem) * (q->used_idx & (q->size - 1));
}

static void what_is_written_is_logged_and_no_more(void)
{
    struct vm_opts o = { .size = 1024 };
    uint8_t *data = calloc(1, READ_BYTES);
    struct dirty d = { 0 };
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct vm vm;

    if (vm_start_fuse(&vm, &o) &&
        CHECK_EQ(fc_create(&vm.q[1], NULL, FC_ROOT, "f", 2, 0644, &e, &f), 0,
                 "") &&
        log_start(&vm, &d)) {
        struct guest_queue *q = &vm.q[1];
        uint64_t gpa = 0, elem;
        size_t pages;

        host_write(&vm, "f", data, READ_BYTES);
        talk_once(&vm);
        pages = read_and_count(q, &e, &f, &gpa);
        for (size_t i = 0; i < pages; i++)
            CHECK(is_dirty(&d, gpa + i * GUEST_PAGE), "payload is logged");
        CHECK_EQ(count_dirty(&d), pages, "and no page besides");

        /* Now the ring too. */
        CHECK_EQ(fe_ring_addr(&vm.fe, q, 1, q->used_gpa), 0, "F_LOG");
        talk_once(&vm);
        while (used_elem_gpa(q) / GUEST_PAGE == q->used_gpa / GUEST_PAGE &&
               vm_alive(&vm, 1))
            ; /* until its element is on another page than its index */
        elem = used_elem_gpa(q);
        memset(d.bits, 0, d.bytes);
        read_and_count(q, &e, &f, &gpa);
        CHECK(is_dirty(&d, q->used_gpa), "the used index is logged");
        CHECK(is_dirty(&d, elem), "the used element is logged");

        /* And nothing any more. */
        CHECK_EQ(fe_ring_addr(&vm.fe, q, 0, 0), 0, "");
        CHECK_EQ(fe_set_u64(&vm.fe, FE_SET_FEATURES, vm.fe.acked), 0, "");
        talk_once(&vm);
        memset(d.bits, 0, d.bytes);
        read_and_count(q, &e, &f, &gpa);
        CHECK_EQ(count_dirty(&d), 0, "logging is off");
        log_end(&d);
    }
    free(data);
    vm_end(&vm);
}

/* A log too small for the memory: what it does not hold is not written
 * anywhere else. */
static void a_log_too_short_does_no_harm(void)
{
    struct dirty d = { 0 };
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        uint64_t f = vm.fe.acked | BIT64(FE_F_LOG_ALL);
        struct fe_log log = { 1, 0 };
        struct fe_msg m;

        d.fd = memfd_create("log", MFD_CLOEXEC);
        CHECK_EQ(ftruncate(d.fd, 4096), 0, "");
        fe_send(&vm.fe, FE_SET_LOG_BASE, 0, &log, sizeof(log), &d.fd, 1);
        CHECK_EQ(fe_recv(&vm.fe, &m), 0, "");
        CHECK_EQ(fe_set_u64(&vm.fe, FE_SET_FEATURES, f), 0, "");
        CHECK_EQ(fe_ring_addr(&vm.fe, &vm.q[1], 1, (uint64_t)1 << 50), 0, "");
        for (int i = 0; i < 10; i++)
            vm_alive(&vm, 1);
        close(d.fd);
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(sixty_four_queues_are_served_at_once),
         TEST(regions_come_and_go_under_load),
         TEST(memory_tables_are_replaced_under_load),
         TEST(unmapped_memory_may_be_freed_at_once),
         TEST(what_is_written_is_logged_and_no_more),
         TEST(a_log_too_short_does_no_harm))
