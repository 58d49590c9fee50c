/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fuse/proto.h"

/* Operations that libfuse 3.14 does not know, and what INIT says of them. */

static const char *const readonly[] = { "--readonly", NULL };
static const char *const flags_on[] = { "--inode-flags", NULL };
static const char *const mmap_on[] = { "--allow-mmap", "--cache=never", NULL };
static const char *const half_second[] = { "--timeout=2.5", NULL };

static int statx_call(struct guest_queue *q, uint64_t node,
                      struct proto_statx_out *out)
{
    struct proto_statx_in in = { .sx_mask = STATX_BASIC_STATS | STATX_BTIME };
    struct fm m;
    int ret;

    fm_init(&m, PROTO_STATX, node);
    fm_add(&m, &in, sizeof(in));
    m.room = sizeof(*out);
    ret = fm_call(q, &m);
    if (ret == 0 && CHECK_EQ(m.out_len, sizeof(*out), "a whole answer"))
        memcpy(out, m.out, sizeof(*out));
    return ret;
}

static void same_time(const struct proto_sx_time *got,
                      const struct statx_timestamp *want, const char *why)
{
    CHECK_EQ(got->tv_sec, want->tv_sec, why);
    CHECK_EQ(got->tv_nsec, want->tv_nsec, why);
}

static const struct vm_opts timed = { .d.args = half_second };

VM_TEST(statx_tells_what_the_host_says, &timed)
{
    static const char *const names[] = { "file", "fifo", "link", "dir" };
    struct proto_statx_out out;
    struct fuse_entry_out e;
    struct statx sx;

    host_write(vm, "file", "0123456789", 10);
    CHECK_EQ(mkfifo(daemon_path(vm->d, "fifo"), 0640), 0, "");
    CHECK_EQ(symlink("file", daemon_path(vm->d, "link")), 0, "");
    CHECK_EQ(mkdir(daemon_path(vm->d, "dir"), 0711), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct timespec t[2] = { { 1000, 1 }, { 2000, 2 } };
        const char *n = names[i];

        CHECK_EQ(
            utimensat(AT_FDCWD, daemon_path(vm->d, n), t, AT_SYMLINK_NOFOLLOW),
            0, "times that are not its birth's");
        CHECK_EQ(statx(AT_FDCWD, daemon_path(vm->d, n), AT_SYMLINK_NOFOLLOW,
                       STATX_BASIC_STATS | STATX_BTIME, &sx),
                 0, n);
        CHECK_EQ(fc_lookup(q, FC_ROOT, n, &e), 0, n);
        if (!CHECK_EQ(statx_call(q, e.nodeid, &out), 0, n))
            return;
        CHECK_EQ(out.stat.mask, sx.stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
                 n);
        CHECK_EQ(out.stat.mode, sx.stx_mode, n);
        CHECK_EQ(out.stat.size, sx.stx_size, n);
        CHECK_EQ(out.stat.ino, sx.stx_ino, n);
        CHECK_EQ(out.stat.nlink, sx.stx_nlink, n);
        CHECK_EQ(out.stat.blocks, sx.stx_blocks, n);
        CHECK_EQ(out.stat.blksize, sx.stx_blksize, n);
        CHECK_EQ(out.stat.uid, sx.stx_uid, n);
        CHECK_EQ(out.stat.gid, sx.stx_gid, n);
        CHECK_EQ(makedev(out.stat.dev_major, out.stat.dev_minor),
                 makedev(sx.stx_dev_major, sx.stx_dev_minor), n);
        same_time(&out.stat.atime, &sx.stx_atime, "atime");
        same_time(&out.stat.btime, &sx.stx_btime, "birth");
        same_time(&out.stat.mtime, &sx.stx_mtime, "mtime");
        same_time(&out.stat.ctime, &sx.stx_ctime, "ctime");
        CHECK_EQ(out.attr_valid, 2, "--timeout, the whole");
        CHECK_EQ(out.attr_valid_nsec, 500000000, "and the part");
    }
    CHECK_EQ(statx_call(q, e.nodeid + 1, &out), -ESTALE, "no such node");
}

static const struct fc_who somebody = { 1234, 4321 };

static int tmpfile_call(struct guest_queue *q, uint64_t dir, uint32_t flags,
                        struct fuse_entry_out *e, struct fuse_open_out *o)
{
    struct fuse_create_in in = {
        .flags = O_TMPFILE | flags,
        .mode = S_IFREG | 0640,
    };
    struct fm m;
    int ret;

    fm_init(&m, PROTO_TMPFILE, dir);
    m.h.uid = getuid() ? 0 : somebody.uid;
    m.h.gid = getuid() ? 0 : somebody.gid;
    fm_add(&m, &in, sizeof(in));
    fm_add_name(&m, "/"); /* as Linux calls it */
    m.room = sizeof(*e) + sizeof(*o);
    ret = fm_call(q, &m);
    if (ret == 0 && CHECK_EQ(m.out_len, m.room, "entry and handle")) {
        memcpy(e, m.out, sizeof(*e));
        memcpy(o, m.out + sizeof(*e), sizeof(*o));
    }
    return ret;
}

VM_TEST(unnamed_files_can_be_given_a_name, NULL)
{
    struct fuse_entry_out e, e2, dir;
    struct fuse_open_out o;
    struct fuse_attr_out a;
    char back[8];
    uint32_t n;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0777, &dir), 0, "");
    CHECK_EQ(chmod(daemon_path(vm->d, "d"), 0777), 0, "");
    CHECK_EQ(tmpfile_call(q, dir.nodeid, O_RDWR, &e, &o), 0, "");
    CHECK_EQ(e.attr.nlink, 0, "no name");
    CHECK_EQ(e.attr.mode, S_IFREG | 0640, "");
    if (getuid() == 0) {
        CHECK_EQ(e.attr.uid, somebody.uid, "its maker's");
        CHECK_EQ(e.attr.gid, somebody.gid, "");
    }
    CHECK_EQ(fc_write(q, e.nodeid, o.fh, 0, "content", 7, &n), 0, "");
    CHECK_EQ(rmdir(daemon_path(vm->d, "d")), 0, "nothing is in there");
    CHECK_EQ(fc_link(q, e.nodeid, FC_ROOT, "named", &e2), 0, "");
    CHECK_EQ(e2.nodeid, e.nodeid, "the same file");
    CHECK_EQ(e2.attr.nlink, 1, "");
    CHECK_EQ(host_read(vm, "named", back, sizeof(back)), 7, "");
    CHECK_MEM(back, "content", 7, "");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, e.nodeid, o.fh), 0, "");

    CHECK_EQ(tmpfile_call(q, FC_ROOT, O_RDWR | O_EXCL, &e, &o), 0, "O_EXCL");
    CHECK_EQ(fc_link(q, e.nodeid, FC_ROOT, "never", &e2), -ENOENT,
             "may not be given a name");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), 0, "open without a name");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, e.nodeid, o.fh), 0, "");
    CHECK_EQ(tmpfile_call(q, FC_ROOT, O_RDONLY, &e, &o), -EINVAL,
             "to be written, or what for?");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "named", &e), 0, "");
    CHECK_EQ(tmpfile_call(q, e.nodeid, O_RDWR, &e, &o), -ENOTDIR, "in a file");
}

static int copy_64(struct guest_queue *q, uint64_t in_node, uint64_t in_fh,
                   uint64_t out_node, uint64_t out_fh, uint64_t len,
                   uint64_t *copied)
{
    struct fuse_copy_file_range_in in = {
        .fh_in = in_fh,
        .off_in = 1000,
        .nodeid_out = out_node,
        .fh_out = out_fh,
        .off_out = 3,
        .len = len,
    };
    struct fm m;
    int ret;

    fm_init(&m, PROTO_COPY_FILE_RANGE_64, in_node);
    fm_add(&m, &in, sizeof(in));
    m.room = sizeof(struct proto_copy_file_range_out);
    ret = fm_call(q, &m);
    if (ret == 0)
        memcpy(copied, m.out, sizeof(*copied));
    return ret;
}

VM_TEST(ranges_are_copied_and_counted_in_64_bits, NULL)
{
    static uint8_t data[100000], back[100000];
    struct fuse_entry_out a, b;
    struct fuse_open_out fa, fb;
    uint64_t n = 0;

    fill_pattern(data, sizeof(data), 5);
    host_write(vm, "a", data, sizeof(data));
    host_write(vm, "b", "", 0);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "a", &a), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "b", &b), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, a.nodeid, O_RDONLY, &fa), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, b.nodeid, O_RDWR, &fb), 0, "");
    CHECK_EQ(copy_64(q, a.nodeid, fa.fh, b.nodeid, fb.fh, 1ull << 40, &n), 0,
             "all there is");
    CHECK_EQ(n, sizeof(data) - 1000, "");
    CHECK_EQ(host_read(vm, "b", back, sizeof(back)), n + 3, "");
    CHECK_MEM(back + 3, data + 1000, (size_t)n, "");
    CHECK_EQ(copy_64(q, a.nodeid, ~fa.fh, b.nodeid, fb.fh, 1, &n), -EBADF, "");
    CHECK_EQ(copy_64(q, a.nodeid, fa.fh, b.nodeid, ~fb.fh, 1, &n), -EBADF, "");
    CHECK_EQ(copy_64(q, b.nodeid, fb.fh, a.nodeid, fa.fh, 1, &n), -EBADF,
             "opened to read");
}

VM_TEST(syncfs_is_answered, NULL)
{
    struct proto_syncfs_in in = { 0 };
    struct fuse_entry_out e;

    host_write(vm, "f", "x", 1);
    CHECK_EQ(symlink("f", daemon_path(vm->d, "l")), 0, "");
    CHECK_EQ(fc_simple(q, PROTO_SYNCFS, FC_ROOT, &in, sizeof(in)), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_simple(q, PROTO_SYNCFS, e.nodeid, &in, sizeof(in)), 0,
             "a file is in a file system, too");
    CHECK_EQ(fc_simple(q, PROTO_SYNCFS, e.nodeid + 1, &in, sizeof(in)), -ESTALE,
             "no such node");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "l", &e), 0, "");
    CHECK_EQ(fc_simple(q, PROTO_SYNCFS, e.nodeid, &in, sizeof(in)), -ELOOP,
             "nothing to open");
}

static const struct vm_opts no_changes = { .d.args = readonly };

VM_TEST(a_readonly_share_refuses_the_newer_changes_too, &no_changes)
{
    struct proto_syncfs_in in = { 0 };
    struct proto_statx_out out;
    struct fuse_entry_out e;
    struct fuse_open_out o;
    uint64_t n;

    (void)vm;
    CHECK_EQ(tmpfile_call(q, FC_ROOT, O_RDWR, &e, &o), -EROFS, "");
    CHECK_EQ(copy_64(q, FC_ROOT, 1, FC_ROOT, 1, 1, &n), -EROFS, "");
    CHECK_EQ(fc_simple(q, PROTO_SYNCFS, FC_ROOT, &in, sizeof(in)), 0, "");
    CHECK_EQ(statx_call(q, FC_ROOT, &out), 0, "");
}

/* @in, @out: what is set, what is got; either may be NULL. */
static int ioctl_call(struct guest_queue *q, uint64_t node, uint64_t fh,
                      bool dir, unsigned long cmd, const void *in, void *out,
                      uint32_t len)
{
    struct fuse_ioctl_in io = {
        .fh = fh,
        .flags = dir ? FUSE_IOCTL_DIR : 0,
        .cmd = (uint32_t)cmd,
        .in_size = in ? len : 0,
        .out_size = out ? len : 0,
    };
    struct fm m;
    int ret;

    fm_init(&m, FUSE_IOCTL, node);
    fm_add(&m, &io, sizeof(io));
    if (in)
        fm_add(&m, in, len);
    m.room = sizeof(struct fuse_ioctl_out) + (out ? len : 0);
    ret = fm_call(q, &m);
    if (ret == 0 && out &&
        CHECK_EQ(m.out_len, sizeof(struct fuse_ioctl_out) + len, "whole"))
        memcpy(out, m.out + sizeof(struct fuse_ioctl_out), len);
    return ret;
}

/* The same on the host's side. */
static int host_ioctl(const struct vm *vm, const char *name, unsigned long cmd,
                      void *arg)
{
    int fd = open(daemon_path(vm->d, name), O_RDONLY | O_NONBLOCK), ret;

    if (!CHECK(fd >= 0, name))
        return -EBADF;
    ret = ioctl(fd, cmd, arg) < 0 ? -errno : 0;
    close(fd);
    return ret;
}

static void flags_of(struct vm *vm, struct guest_queue *q, const char *name,
                     bool dir)
{
    struct fsxattr want_x = { 0 }, got_x = { 0 };
    unsigned int got = 0, set, left = 0;
    unsigned long want = 0;
    struct fuse_entry_out e;
    struct fuse_open_out o;
    int ret;

    CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), 0, name);
    CHECK_EQ(fc_open(q, dir ? FUSE_OPENDIR : FUSE_OPEN, e.nodeid, O_RDONLY, &o),
             0, name);
    ret = host_ioctl(vm, name, FS_IOC_GETFLAGS, &want);
    CHECK_EQ(ioctl_call(q, e.nodeid, o.fh, dir, FS_IOC_GETFLAGS, NULL, &got, 4),
             ret, "as the host says");
    CHECK_EQ(got, (unsigned int)want, name);
    CHECK_EQ(ioctl_call(q, e.nodeid, o.fh, dir, FS_IOC_GETFLAGS, NULL, &got, 3),
             -EINVAL, "no room");
    if (ret == 0) {
        set = got | FS_NODUMP_FL;
        CHECK_EQ(
            ioctl_call(q, e.nodeid, o.fh, dir, FS_IOC_SETFLAGS, &set, NULL, 4),
            0, name);
        CHECK_EQ(host_ioctl(vm, name, FS_IOC_GETFLAGS, &left), 0, name);
        CHECK_EQ(left, set, "the host sees it");
    }
    CHECK_EQ(ioctl_call(q, e.nodeid, o.fh, dir, FS_IOC_SETFLAGS, &set, NULL, 2),
             -EINVAL, "too short");
    ret = host_ioctl(vm, name, FS_IOC_FSGETXATTR, &want_x);
    CHECK_EQ(ioctl_call(q, e.nodeid, o.fh, dir, FS_IOC_FSGETXATTR, NULL, &got_x,
                        sizeof(got_x)),
             ret, "as the host says");
    CHECK_MEM(&got_x, &want_x, sizeof(got_x), name);
    CHECK_EQ(
        ioctl_call(q, e.nodeid, ~o.fh, dir, FS_IOC_GETFLAGS, NULL, &got, 4),
        -EBADF, "no such handle");
    CHECK_EQ(
        ioctl_call(q, e.nodeid, o.fh, !dir, FS_IOC_GETFLAGS, NULL, &got, 4),
        -EBADF, "of the other kind");
    CHECK_EQ(
        ioctl_call(q, e.nodeid, o.fh, dir, FS_IOC_GETVERSION, &set, NULL, 4),
        -ENOTTY, "no other ioctl");
}

static const struct vm_opts with_flags = { .d.args = flags_on };

VM_TEST(inode_flags_pass_when_asked_for, &with_flags)
{
    host_write(vm, "f", "x", 1);
    CHECK_EQ(mkdir(daemon_path(vm->d, "d"), 0755), 0, "");
    flags_of(vm, q, "f", false);
    flags_of(vm, q, "d", true);
}

VM_TEST(no_ioctl_is_made_unasked, NULL)
{
    struct fuse_ioctl_in lie = { .cmd = (uint32_t)FS_IOC_SETFLAGS,
                                 .in_size = 4096 };
    struct fuse_entry_out e;
    struct fuse_open_out o;
    unsigned int got;

    host_write(vm, "f", "x", 1);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &o), 0, "");
    CHECK_EQ(
        ioctl_call(q, e.nodeid, o.fh, false, FS_IOC_GETFLAGS, NULL, &got, 4),
        -ENOSYS, "");
    lie.fh = o.fh;
    CHECK_EQ(fc_simple(q, FUSE_IOCTL, e.nodeid, &lie, sizeof(lie)), -EINVAL,
             "argument that is not there");
}

static uint64_t agreed_to(struct guest_queue *q, uint64_t offer)
{
    struct fuse_init_out out = { 0 };

    CHECK_EQ(fc_init(q, offer, &out), 0, "");
    return proto_init_flags(out.flags, out.flags2);
}

VM_TEST(init_agrees_to_newer_flags_only_when_offered, NULL)
{
    uint64_t all = agreed_to(q, UINT64_MAX);

    (void)vm;
    CHECK(all & PROTO_ALLOW_IDMAP, "idmapped mounts of the share");
    CHECK(all & FUSE_SUBMOUNTS, "");
    CHECK(!(all & PROTO_DIRECT_IO_ALLOW_MMAP), "not asked for");
    CHECK(!(all & (1ull << 37)), "PASSTHROUGH, which is no virtio matter");
    CHECK(!(all & (1ull << 41)), "OVER_IO_URING, neither");
    CHECK_EQ(agreed_to(q, 0) & (FUSE_SUBMOUNTS | PROTO_ALLOW_IDMAP), 0,
             "a guest that knows none of it");
    CHECK(!(agreed_to(q, FUSE_SUBMOUNTS) & PROTO_ALLOW_IDMAP), "");
}

static const struct vm_opts with_mmap = { .d.args = mmap_on };

VM_TEST(shared_mappings_without_a_cache_are_agreed_when_asked_for, &with_mmap)
{
    (void)vm;
    CHECK(agreed_to(q, UINT64_MAX) & PROTO_DIRECT_IO_ALLOW_MMAP, "");
    CHECK(!(agreed_to(q, FUSE_SUBMOUNTS) & PROTO_DIRECT_IO_ALLOW_MMAP),
          "not offered");
}

VM_TEST(a_rename_can_leave_a_whiteout, NULL)
{
    struct stat st;

    if (!needs_root())
        return;
    host_write(vm, "upper", "x", 1);
    CHECK_EQ(fc_rename(q, FC_ROOT, "upper", FC_ROOT, "moved", RENAME_WHITEOUT),
             0, "");
    CHECK_EQ(lstat(daemon_path(vm->d, "moved"), &st), 0, "");
    CHECK_EQ(lstat(daemon_path(vm->d, "upper"), &st), 0, "");
    CHECK(S_ISCHR(st.st_mode) && st.st_rdev == 0, "a device 0:0");
}

TAP_MAIN(TEST(statx_tells_what_the_host_says),
         TEST(unnamed_files_can_be_given_a_name),
         TEST(ranges_are_copied_and_counted_in_64_bits),
         TEST(syncfs_is_answered),
         TEST(a_readonly_share_refuses_the_newer_changes_too),
         TEST(inode_flags_pass_when_asked_for), TEST(no_ioctl_is_made_unasked),
         TEST(init_agrees_to_newer_flags_only_when_offered),
         TEST(shared_mappings_without_a_cache_are_agreed_when_asked_for),
         TEST(a_rename_can_leave_a_whiteout))
