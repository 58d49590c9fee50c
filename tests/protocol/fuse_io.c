/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Open files: what goes in and out is held against the host byte by byte. */

#define MIB (1u << 20)

/* A file of the guest's making, open for both. */
static bool make(struct guest_queue *q, const char *name,
                 struct fuse_entry_out *e, struct fuse_open_out *f)
{
    return CHECK_EQ(fc_create(q, NULL, FC_ROOT, name, O_RDWR, 0644, e, f), 0,
                    name);
}

static off_t host_size(const struct vm *vm, const char *name)
{
    struct stat st = { 0 };

    CHECK_EQ(lstat(daemon_path(vm->d, name), &st), 0, name);
    return st.st_size;
}

VM_TEST(small_writes_and_reads_are_exact, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    uint8_t want[10000], got[10001];
    const void *data;
    uint32_t n, at = 0;
    size_t len;

    fill_pattern(want, sizeof(want), 1);
    if (!make(q, "f", &e, &f))
        return;
    same_as_host(vm, &e.attr, "f");
    for (uint32_t size = 1; at + size <= sizeof(want); size += 37) {
        CHECK_EQ(fc_write(q, e.nodeid, f.fh, at, want + at, size, &n), 0, "");
        CHECK_EQ(n, size, "");
        at += size;
    }
    CHECK_EQ(host_read(vm, "f", got, sizeof(got)), at, "");
    CHECK_MEM(got, want, at, "what the host has");
    for (uint32_t off = 0; off < at; off += 977) {
        uint32_t size = MIN(500u, at - off);

        CHECK_EQ(fc_read(q, e.nodeid, f.fh, off, size, &data, &len), 0, "");
        if (CHECK_EQ(len, size, ""))
            CHECK_MEM(data, want + off, size, "what the guest reads");
    }
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, at - 3, 100, &data, &len), 0, "");
    CHECK_EQ(len, 3, "short at the end");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, at, 100, &data, &len), 0, "");
    CHECK_EQ(len, 0, "nothing behind it");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, (uint64_t)1 << 60, 9, &data, &len), 0,
             "");
    CHECK_EQ(len, 0, "nor far away");
    CHECK(fc_read(q, e.nodeid, f.fh, UINT64_MAX, 9, &data, &len) < 0,
          "a negative offset");
    CHECK(fc_write(q, e.nodeid, f.fh, UINT64_MAX, "x", 1, &n) < 0, "");
}

static const struct vm_opts big_ring = { .size = 1024 };

static void one_mib(struct vm *vm, struct guest_queue *q, bool indirect,
                    size_t skew)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    uint8_t *want = malloc(MIB), *got = malloc(MIB);
    struct fm m;

    fill_pattern(want, MIB, indirect ? 5 : 6);
    if (CHECK_EQ(
            fc_create(q, NULL, FC_ROOT, "big", O_RDWR | O_TRUNC, 0644, &e, &f),
            0, "")) {
        struct fuse_write_in w = { .fh = f.fh, .size = MIB };
        struct fuse_read_in r = { .fh = f.fh, .size = MIB };

        fm_init(&m, FUSE_WRITE, e.nodeid);
        fm_add(&m, &w, sizeof(w));
        fm_add(&m, want, MIB);
        m.room = sizeof(struct fuse_write_out);
        m.in_seg = m.out_seg = 4096;
        m.indirect = indirect;
        m.skew = skew;
        CHECK_EQ(fm_call(q, &m), 0, "WRITE");
        CHECK_EQ(host_read(vm, "big", got, MIB), MIB, "");
        CHECK_MEM(got, want, MIB, "what the host has");
        fm_init(&m, FUSE_READ, e.nodeid);
        fm_add(&m, &r, sizeof(r));
        m.room = MIB;
        m.in_seg = m.out_seg = 4096;
        m.indirect = indirect;
        m.skew = skew;
        CHECK_EQ(fm_call(q, &m), 0, "READ");
        if (CHECK_EQ(m.out_len, MIB, ""))
            CHECK_MEM(m.out, want, MIB, "what the guest reads");
    }
    free(want);
    free(got);
}

VM_TEST(one_mib_goes_through_in_pages, &big_ring)
{
    one_mib(vm, q, false, 0);
    one_mib(vm, q, true, 0);
    one_mib(vm, q, false, 100);
    one_mib(vm, q, true, 4000);
}

VM_TEST(a_read_is_no_longer_than_its_room, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    uint8_t data[5000];
    static const size_t rooms[] = { 0, 1, 100, 4095 };

    fill_pattern(data, sizeof(data), 3);
    host_write(vm, "f", data, sizeof(data));
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &f), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
        struct fuse_read_in in = { .fh = f.fh, .size = 4096 };
        struct fm m;
        int ret;

        fm_init(&m, FUSE_READ, e.nodeid);
        fm_add(&m, &in, sizeof(in));
        m.room = rooms[i];
        ret = fm_call(q, &m);
        CHECK(ret <= 0, "answered, with less or with an error");
        if (ret == 0)
            CHECK_MEM(m.out, data, m.out_len, "and nothing wrong in it");
        /* As much as a number can say; the room is what counts. */
        in.size = UINT32_MAX;
        CHECK(fm_call(q, &m) <= 0, "4 GiB asked for");
    }
}

VM_TEST(holes_are_found_and_made, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct fuse_lseek_in s = { 0 };
    struct fuse_lseek_out so = { 0 };
    struct fuse_fallocate_in fa = { 0 };
    uint32_t n;
    struct fm m;

    if (!make(q, "f", &e, &f))
        return;
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, MIB, "end", 3, &n), 0, "");
    CHECK_EQ(host_size(vm, "f"), MIB + 3, "");
    s.fh = f.fh;
    s.whence = SEEK_DATA;
    fm_init(&m, FUSE_LSEEK, e.nodeid);
    fm_add(&m, &s, sizeof(s));
    m.room = sizeof(so);
    CHECK_EQ(fm_call(q, &m), 0, "SEEK_DATA");
    if (CHECK_EQ(m.out_len, sizeof(so), ""))
        memcpy(&so, m.out, sizeof(so));
    CHECK_EQ(so.offset, MIB, "behind the hole");
    s.whence = SEEK_HOLE;
    CHECK_EQ(fm_call(q, &m), 0, "SEEK_HOLE");
    memcpy(&so, m.out, sizeof(so));
    CHECK_EQ(so.offset, 0, "in the hole");
    s.offset = 2 * MIB;
    CHECK_EQ(fm_call(q, &m), -ENXIO, "beyond the end");

    fa.fh = f.fh;
    fa.offset = MIB;
    fa.length = MIB;
    CHECK_EQ(fc_simple(q, FUSE_FALLOCATE, e.nodeid, &fa, sizeof(fa)), 0, "");
    CHECK_EQ(host_size(vm, "f"), 2 * MIB, "longer");
    fa.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    CHECK_EQ(fc_simple(q, FUSE_FALLOCATE, e.nodeid, &fa, sizeof(fa)), 0, "");
    s.offset = 0;
    s.whence = SEEK_DATA;
    CHECK_EQ(fm_call(q, &m), -ENXIO, "all is a hole");
    fa.length = UINT64_MAX;
    CHECK(fc_simple(q, FUSE_FALLOCATE, e.nodeid, &fa, sizeof(fa)) < 0, "");
}

VM_TEST(ranges_are_copied_between_files, NULL)
{
    struct fuse_entry_out a, b;
    struct fuse_open_out fa, fb;
    struct fuse_copy_file_range_in in = { 0 };
    uint8_t want[9000], got[9000];
    struct fuse_write_out out = { 0 };
    uint32_t n;
    struct fm m;

    fill_pattern(want, sizeof(want), 9);
    if (!make(q, "a", &a, &fa) || !make(q, "b", &b, &fb))
        return;
    fc_write(q, a.nodeid, fa.fh, 0, want, sizeof(want), &n);
    in.fh_in = fa.fh;
    in.off_in = 1000;
    in.nodeid_out = b.nodeid;
    in.fh_out = fb.fh;
    in.off_out = 0;
    in.len = 8000;
    fm_init(&m, FUSE_COPY_FILE_RANGE, a.nodeid);
    fm_add(&m, &in, sizeof(in));
    m.room = sizeof(out);
    CHECK_EQ(fm_call(q, &m), 0, "");
    if (CHECK_EQ(m.out_len, sizeof(out), ""))
        memcpy(&out, m.out, sizeof(out));
    CHECK_EQ(out.size, 8000, "");
    CHECK_EQ(host_read(vm, "b", got, sizeof(got)), 8000, "");
    CHECK_MEM(got, want + 1000, 8000, "");
    in.fh_out = fb.fh ^ 0x10001;
    CHECK_EQ(fm_call(q, &m), -EBADF, "a handle that is none");
}

VM_TEST(open_files_are_flushed_synced_and_released, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct fuse_flush_in fl = { 0 };
    struct fuse_fsync_in fs = { 0 };
    const void *data;
    uint32_t n;
    size_t len;

    (void)vm;
    if (!make(q, "f", &e, &f))
        return;
    fl.fh = fs.fh = f.fh;
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, "abc", 3, &n), 0, "");
    CHECK_EQ(fc_simple(q, FUSE_FLUSH, e.nodeid, &fl, sizeof(fl)), 0, "");
    CHECK_EQ(fc_simple(q, FUSE_FSYNC, e.nodeid, &fs, sizeof(fs)), 0, "");
    fs.fsync_flags = FUSE_FSYNC_FDATASYNC;
    CHECK_EQ(fc_simple(q, FUSE_FSYNC, e.nodeid, &fs, sizeof(fs)), 0, "");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, e.nodeid, f.fh), 0, "");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 3, &data, &len), -EBADF, "gone");
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, "x", 1, &n), -EBADF, "");
    CHECK_EQ(fc_simple(q, FUSE_FLUSH, e.nodeid, &fl, sizeof(fl)), -EBADF, "");
    CHECK_EQ(fc_simple(q, FUSE_FSYNC, e.nodeid, &fs, sizeof(fs)), -EBADF, "");
    CHECK(fc_release(q, FUSE_RELEASE, e.nodeid, f.fh) <= 0, "once more");
}

VM_TEST(open_flags_mean_what_they_say, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    const void *data;
    uint32_t n;
    size_t len;

    host_write(vm, "f", "text", 4);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &f), 0, "");
    CHECK_EQ(f.open_flags, FOPEN_NOFLUSH, "cache=auto has no others");
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, "x", 1, &n), -EBADF, "O_RDONLY");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY, &f), 0, "");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 4, &data, &len), -EBADF, "O_WRONLY");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY | O_TRUNC, &f), 0, "");
    CHECK_EQ(host_size(vm, "f"), 0, "O_TRUNC");
    /* O_DIRECT goes, or this would need an aligned buffer. */
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR | O_DIRECT, &f), 0, "");
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 3, "xyz", 3, &n), 0, "O_DIRECT");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR | O_CREAT | O_EXCL, &f), 0,
             "neither is the host's business");
    CHECK_EQ(fc_open(q, FUSE_OPEN, FC_ROOT, O_RDWR, &f), -EISDIR, "");
    CHECK(fc_open(q, FUSE_OPENDIR, e.nodeid, 0, &f) == -ENOTDIR, "");
}

VM_TEST(create_takes_existing_files_and_refuses_the_rest, NULL)
{
    struct fuse_entry_out e, d;
    struct fuse_open_out f;

    host_write(vm, "f", "text", 4);
    CHECK_EQ(symlink("f", daemon_path(vm->d, "l")), 0, "");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &d), 0, "");
    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "f", O_RDWR, 0600, &e, &f), 0, "");
    CHECK_EQ(e.attr.mode & 0777, 0644, "the mode of before");
    CHECK_EQ(host_size(vm, "f"), 4, "the bytes of before");
    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "f", O_RDWR | O_EXCL, 0600, &e, &f),
             -EEXIST, "O_EXCL");
    CHECK(fc_create(q, NULL, FC_ROOT, "l", O_RDWR, 0600, &e, &f) < 0,
          "a symlink is not followed");
    CHECK(fc_create(q, NULL, FC_ROOT, "d", O_RDWR, 0600, &e, &f) < 0,
          "a directory");
    CHECK(fc_create(q, NULL, e.nodeid ^ 0x7000, "x", O_RDWR, 0600, &e, &f) < 0,
          "in a node that is none");
}

/* Return: bytes written, or -errno. */
static int write_with(struct guest_queue *q, uint64_t node, uint64_t fh,
                      uint32_t flags, uint32_t write_flags, uint64_t off,
                      const char *text)
{
    struct fuse_write_in in = { .fh = fh,
                                .offset = off,
                                .flags = flags,
                                .write_flags = write_flags,
                                .size = (uint32_t)strlen(text) };
    struct fuse_write_out out = { 0 };
    struct fm m;
    int ret;

    fm_init(&m, FUSE_WRITE, node);
    fm_add(&m, &in, sizeof(in));
    fm_add(&m, text, in.size);
    m.room = sizeof(out);
    ret = fm_call(q, &m);
    if (ret < 0)
        return ret;
    memcpy(&out, m.out, sizeof(out));
    return (int)out.size;
}

/* An open says it too, but what counts comes with each WRITE. */
VM_TEST(append_goes_to_the_end, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    char got[8];

    host_write(vm, "f", "abc", 3);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY | O_APPEND, &f), 0, "");
    CHECK_EQ(write_with(q, e.nodeid, f.fh, O_APPEND, 0, 0, "def"), 3, "");
    CHECK_EQ(host_read(vm, "f", got, 8), 6, "not at 0");
    CHECK_MEM(got, "abcdef", 6, "");
    host_write(vm, "f", "a", 1);
    CHECK_EQ(write_with(q, e.nodeid, f.fh, O_APPEND, 0, 6, "xyz"), 3, "");
    CHECK_EQ(host_read(vm, "f", got, 8), 4, "at the host's end");
    CHECK_MEM(got, "axyz", 4, "");
    /* The flag was taken off the descriptor. */
    CHECK_EQ(write_with(q, e.nodeid, f.fh, 0, 0, 1, "BC"), 2, "");
    /* A page of a mapping has its place. */
    CHECK_EQ(write_with(q, e.nodeid, f.fh, O_APPEND, FUSE_WRITE_CACHE, 3, "D"),
             1, "");
    CHECK_EQ(host_read(vm, "f", got, 8), 4, "");
    CHECK_MEM(got, "aBCD", 4, "");
}

TAP_MAIN(TEST(small_writes_and_reads_are_exact),
         TEST(one_mib_goes_through_in_pages),
         TEST(a_read_is_no_longer_than_its_room),
         TEST(holes_are_found_and_made), TEST(ranges_are_copied_between_files),
         TEST(open_files_are_flushed_synced_and_released),
         TEST(open_flags_mean_what_they_say),
         TEST(create_takes_existing_files_and_refuses_the_rest),
         TEST(append_goes_to_the_end))
