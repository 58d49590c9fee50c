/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * READs and WRITEs of megabytes, in pages none of which is the next one's
 * neighbour: a descriptor each, as in a guest whose memory is in use.
 */

#define SEGS_MAX 2048

/* @n pages, the last one first, and a page before them for what is not
 * payload. */
struct big {
    uint64_t gpa;
    size_t n;
    struct fuse_in_header *in;
    uint8_t *args;
    struct fuse_out_header *out;
    uint8_t *reply;
    struct guest_seg seg[SEGS_MAX];
    size_t nsegs;
};

static void add(struct big *b, size_t off, size_t len, bool write)
{
    b->seg[b->nsegs++] =
        (struct guest_seg){ b->gpa + off, (uint32_t)len, write };
}

static uint64_t page_at(const struct big *b, size_t i)
{
    return GUEST_PAGE * (b->n - i);
}

static void add_pages(struct big *b, bool write)
{
    for (size_t i = 0; i < b->n; i++)
        add(b, page_at(b, i), GUEST_PAGE, write);
}

static bool begin(struct guest_queue *q, struct big *b, uint32_t op,
                  uint64_t node, const void *args, size_t len)
{
    uint8_t *p = guest_at(q->mem, b->gpa, GUEST_PAGE);

    b->in = (void *)p;
    b->args = p + 64;
    b->out = (void *)(p + 1024);
    b->reply = p + 1088;
    b->nsegs = 0;
    *b->in = (struct fuse_in_header){
        .len = (uint32_t)(sizeof(*b->in) + len),
        .opcode = op,
        .unique = q->unique += 2,
        .nodeid = node,
    };
    memcpy(b->args, args, len);
    add(b, 0, sizeof(*b->in), false);
    add(b, 64, len, false);
    return p != NULL;
}

/* Return: payload bytes of the reply, or -errno. */
static int64_t run(struct guest_queue *q, const struct big *b, bool indirect)
{
    uint16_t head;
    uint32_t used = 0;

    if (!CHECK(guest_add(q, b->seg, b->nsegs, indirect) >= 0, "it fits"))
        return -ENOSPC;
    guest_publish(q);
    if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "it comes back"))
        return -EIO;
    CHECK_EQ(b->out->len, used, "");
    CHECK_EQ(b->out->unique, b->in->unique, "");
    return b->out->error ? b->out->error : (int64_t)(used - sizeof(*b->out));
}

static int64_t write_big(struct guest_queue *q, struct big *b, uint64_t node,
                         uint64_t fh, const uint8_t *data, bool indirect)
{
    struct fuse_write_in w = { .fh = fh,
                               .size = (uint32_t)(b->n * GUEST_PAGE) };
    struct fuse_write_out done;
    int64_t ret;

    begin(q, b, FUSE_WRITE, node, &w, sizeof(w));
    b->in->len += w.size;
    for (size_t i = 0; i < b->n; i++)
        memcpy(guest_at(q->mem, b->gpa + page_at(b, i), GUEST_PAGE),
               data + i * GUEST_PAGE, GUEST_PAGE);
    add_pages(b, false);
    add(b, 1024, sizeof(*b->out), true);
    add(b, 1088, sizeof(done), true);
    ret = run(q, b, indirect);
    if (ret < 0)
        return ret;
    memcpy(&done, b->reply, sizeof(done));
    return done.size;
}

static int64_t read_big(struct guest_queue *q, struct big *b, uint64_t node,
                        uint64_t fh, uint8_t *data, bool indirect)
{
    struct fuse_read_in r = { .fh = fh, .size = (uint32_t)(b->n * GUEST_PAGE) };
    int64_t ret;

    begin(q, b, FUSE_READ, node, &r, sizeof(r));
    add(b, 1024, sizeof(*b->out), true);
    add_pages(b, true);
    memset(guest_at(q->mem, b->gpa + GUEST_PAGE, r.size), 0, r.size);
    ret = run(q, b, indirect);
    for (size_t i = 0; i < b->n; i++)
        memcpy(data + i * GUEST_PAGE,
               guest_at(q->mem, b->gpa + page_at(b, i), GUEST_PAGE),
               GUEST_PAGE);
    return ret;
}

/* There and back, in @n pages. */
static void in_pages(struct vm *vm, struct guest_queue *q, size_t n,
                     bool indirect)
{
    int64_t bytes = (int64_t)(n * GUEST_PAGE);
    uint8_t *want = malloc((size_t)bytes), *got = malloc((size_t)bytes);
    struct big *b = calloc(1, sizeof(*b));
    struct fuse_entry_out e;
    struct fuse_open_out f;

    b->n = n;
    b->gpa = guest_alloc(q->mem, (size_t)bytes + GUEST_PAGE, GUEST_PAGE);
    q->indirect_max = SEGS_MAX;
    fill_pattern(want, (size_t)bytes, (uint32_t)n);
    if (CHECK(b->gpa != 0, "guest memory") &&
        CHECK_EQ(
            fc_create(q, NULL, FC_ROOT, "big", O_RDWR | O_TRUNC, 0644, &e, &f),
            0, "")) {
        CHECK_EQ(write_big(q, b, e.nodeid, f.fh, want, indirect), bytes,
                 "WRITE");
        CHECK_EQ(host_read(vm, "big", got, (size_t)bytes), bytes, "");
        CHECK_MEM(got, want, (size_t)bytes, "what the host has");
        CHECK_EQ(read_big(q, b, e.nodeid, f.fh, got, indirect), bytes, "READ");
        CHECK_MEM(got, want, (size_t)bytes, "what the guest reads");
    }
    free(want);
    free(got);
    free(b);
}

static const struct vm_opts indirect = { .size = 128, .mem_high = 96 << 20 };
static const struct vm_opts direct = { .size = 2048, .mem_high = 96 << 20 };

VM_TEST(one_mib_goes_through_in_scattered_pages, &indirect)
{
    in_pages(vm, q, 256, true);
}

/* As many as one system call takes. */
VM_TEST(four_mib_go_through_in_scattered_pages, &indirect)
{
    in_pages(vm, q, 1024, true);
}

VM_TEST(and_without_indirect_tables, &direct)
{
    in_pages(vm, q, 1024, false);
}

VM_TEST(more_pages_than_a_system_call_takes_are_no_trouble, &indirect)
{
    in_pages(vm, q, 1025, true);
    in_pages(vm, q, 2040, true);
}

#define OVERCOMMIT "/proc/sys/vm/nr_overcommit_hugepages"
/* The last of its pages is used in part. */
#define HUGE_HIGH (((uint64_t)24 << 20) - 65536)

static bool huge_pages_can_be_had(void)
{
    int fd = memfd_create("huge", MFD_CLOEXEC | GUEST_HUGE_MEMFD);
    size_t len = 24 * GUEST_HUGE;
    void *p = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)len) == 0)
        p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        munmap(p, len);
    if (fd >= 0)
        close(fd);
    return p != MAP_FAILED;
}

/* How many the kernel may make when asked.  Return: as before, or -1. */
static long let_be_made(long n)
{
    FILE *f = fopen(OVERCOMMIT, "r+");
    long old = -1;

    if (!f)
        return -1;
    if (fscanf(f, "%ld", &old) == 1) {
        rewind(f);
        fprintf(f, "%ld\n", n);
    }
    return fclose(f) == 0 ? old : -1;
}

/* Return: how often guest memory is mapped by the daemon. */
static int mappings(const struct daemon *d)
{
    pid_t pids[4];
    size_t n = daemon_roles(d, pids, 4);
    int found = 0;

    for (size_t i = 0; i < n; i++) {
        char path[32], line[512];
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/maps", (int)pids[i]);
        f = fopen(path, "re");
        while (f && fgets(line, sizeof(line), f))
            found += strstr(line, "/memfd:guest") != NULL;
        if (f)
            fclose(f);
    }
    return found;
}

/* These are mapped, and unmapped, as wholes. */
static void on_huge_pages(void)
{
    static const struct vm_opts opts = { .mem_high = HUGE_HIGH, .huge = true };
    struct vm vm;

    if (vm_start_fuse(&vm, &opts)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        in_pages(&vm, q, 1024, true);
        CHECK_EQ(mappings(vm.d), 2, "a mapping a region");
        if (vm_rings_stop(&vm) &&
            CHECK_EQ(fe_remove_region(&vm.fe, &vm.mem.r[1]), 0, "away") &&
            CHECK_EQ(mappings(vm.d), 1, "it is not mapped any more") &&
            CHECK_EQ(fe_add_region(&vm.fe, &vm.mem.r[1]), 0, "and back") &&
            vm_rings_start(&vm)) {
            CHECK_EQ(fc_init(q, 0, NULL), 0, "");
            in_pages(&vm, q, 256, true);
        }
    }
    vm_end(&vm);
}

static void guest_memory_can_be_of_huge_pages(void)
{
    long before = -1;

    if (!huge_pages_can_be_had())
        before = let_be_made(48);
    if (huge_pages_can_be_had())
        on_huge_pages();
    else
        tap_skip("no huge pages, and " OVERCOMMIT " is not ours to raise");
    if (before >= 0)
        let_be_made(before);
}

TAP_MAIN(TEST(one_mib_goes_through_in_scattered_pages),
         TEST(four_mib_go_through_in_scattered_pages),
         TEST(and_without_indirect_tables),
         TEST(more_pages_than_a_system_call_takes_are_no_trouble),
         TEST(guest_memory_can_be_of_huge_pages))
