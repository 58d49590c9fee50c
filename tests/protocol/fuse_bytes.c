/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/proto.h"

/*
 * Answers, to the byte: what is not the file's or one of the daemon's numbers
 * is said here in full, and there is nothing else in a reply.
 */

static const char *const times[] = { "--attr-timeout=3.25",
                                     "--entry-timeout=2.5",
                                     "--negative-timeout=1.125",
                                     "--allow-direct-io",
                                     "--xattr",
                                     NULL };
static const struct vm_opts timed = { .d.args = times };

/* The oldest minor that is spoken, some between, one of tomorrow. */
static const uint32_t minors[] = { 27, 31, 32, 36, 41, 99 };

static void begin_life(struct guest_queue *q, uint32_t minor)
{
    struct fuse_init_in in = { .major = 7, .minor = minor };
    struct fm m;

    fm_init(&m, FUSE_INIT, 0);
    fm_add(&m, &in, sizeof(in));
    m.room = sizeof(struct fuse_init_out);
    CHECK_EQ(fm_call(q, &m), 0, "INIT");
}

/* A request of arguments, or a name, or both, with much room. */
static int send(struct guest_queue *q, struct fm *m, uint32_t op, uint64_t node,
                const void *in, size_t len, const char *name)
{
    fm_init(m, op, node);
    if (len)
        fm_add(m, in, len);
    if (name)
        fm_add_name(m, name);
    m->room = 4096;
    return fm_call(q, m);
}

static bool is_reply(const struct fm *m, const void *want, size_t len,
                     const char *why)
{
    return CHECK_EQ(m->out_len, len, why) && CHECK_MEM(m->out, want, len, why);
}

static struct fuse_attr attr_of(const struct vm *vm, const char *name)
{
    struct stat st = { 0 };

    CHECK_EQ(lstat(daemon_path(vm->d, name), &st), 0, name);
    return (struct fuse_attr){
        .ino = st.st_ino,
        .size = (uint64_t)st.st_size,
        .blocks = (uint64_t)st.st_blocks,
        .atime = (uint64_t)st.st_atim.tv_sec,
        .mtime = (uint64_t)st.st_mtim.tv_sec,
        .ctime = (uint64_t)st.st_ctim.tv_sec,
        .atimensec = (uint32_t)st.st_atim.tv_nsec,
        .mtimensec = (uint32_t)st.st_mtim.tv_nsec,
        .ctimensec = (uint32_t)st.st_ctim.tv_nsec,
        .mode = st.st_mode,
        .nlink = (uint32_t)st.st_nlink,
        .uid = st.st_uid,
        .gid = st.st_gid,
        .rdev = (uint32_t)st.st_rdev,
        .blksize = (uint32_t)st.st_blksize,
    };
}

/* @e: node and generation are the daemon's own. */
static struct fuse_entry_out entry_of(const struct vm *vm, const char *name,
                                      const struct fuse_entry_out *e)
{
    CHECK(e->nodeid != 0, name);
    return (struct fuse_entry_out){
        .nodeid = e->nodeid,
        .generation = e->generation,
        .entry_valid = 2,
        .entry_valid_nsec = 500000000,
        .attr_valid = 3,
        .attr_valid_nsec = 250000000,
        .attr = attr_of(vm, name),
    };
}

static struct fuse_attr_out attr_out_of(const struct vm *vm, const char *name)
{
    return (struct fuse_attr_out){
        .attr_valid = 3,
        .attr_valid_nsec = 250000000,
        .attr = attr_of(vm, name),
    };
}

/* Return: the node of a reply that is an entry and nothing else. */
static uint64_t is_entry(const struct vm *vm, const struct fm *m,
                         const char *name)
{
    struct fuse_entry_out want, got;

    memcpy(&got, m->out, sizeof(got));
    want = entry_of(vm, name, &got);
    is_reply(m, &want, sizeof(want), name);
    return got.nodeid;
}

static uint64_t look_up(struct vm *vm, struct guest_queue *q, const char *name)
{
    struct fm m;

    CHECK_EQ(send(q, &m, FUSE_LOOKUP, FC_ROOT, NULL, 0, name), 0, name);
    return is_entry(vm, &m, name);
}

static void is_attr(struct vm *vm, struct guest_queue *q, uint64_t node,
                    const char *name)
{
    struct fuse_setattr_in set = { .valid = 0 };
    struct fuse_getattr_in get = { 0 };
    struct fuse_attr_out want;
    struct fm m;

    CHECK_EQ(send(q, &m, FUSE_GETATTR, node, &get, sizeof(get), NULL), 0, name);
    want = attr_out_of(vm, name);
    is_reply(&m, &want, sizeof(want), "GETATTR");
    CHECK_EQ(send(q, &m, FUSE_SETATTR, node, &set, sizeof(set), NULL), 0, name);
    is_reply(&m, &want, sizeof(want), "SETATTR");
}

static void entries_and_attributes(struct vm *vm, struct guest_queue *q)
{
    static const char *const names[] = { "f", "fifo", "link", "d", "dev" };
    const struct fuse_entry_out none = { .entry_valid = 1,
                                         .entry_valid_nsec = 125000000 };
    struct fm m;

    for (size_t i = 0; i < ARRAY_SIZE(names) - (geteuid() != 0); i++) {
        uint64_t node = look_up(vm, q, names[i]);

        CHECK_EQ(look_up(vm, q, names[i]), node, "known by now");
        is_attr(vm, q, node, names[i]);
    }
    CHECK_EQ(send(q, &m, FUSE_LOOKUP, FC_ROOT, NULL, 0, "nothing"), 0, "");
    is_reply(&m, &none, sizeof(none), "there is none");
}

static void made_things(struct vm *vm, struct guest_queue *q)
{
    struct fuse_mkdir_in mkdir_in = { .mode = 0750 };
    struct fuse_mknod_in mknod_in = { .mode = S_IFREG | 0640 };
    struct fuse_link_in link_in = { .oldnodeid = look_up(vm, q, "f") };
    struct fuse_create_in create_in = { .flags = O_RDWR, .mode = 0600 };
    struct {
        struct fuse_entry_out e;
        struct fuse_open_out o;
    } got, want;
    struct fm m;

    CHECK_EQ(
        send(q, &m, FUSE_MKDIR, FC_ROOT, &mkdir_in, sizeof(mkdir_in), "made_d"),
        0, "");
    is_entry(vm, &m, "made_d");
    CHECK_EQ(
        send(q, &m, FUSE_MKNOD, FC_ROOT, &mknod_in, sizeof(mknod_in), "made_n"),
        0, "");
    is_entry(vm, &m, "made_n");
    CHECK_EQ(send(q, &m, FUSE_SYMLINK, FC_ROOT, "made_s", 7, "target"), 0, "");
    is_entry(vm, &m, "made_s");
    CHECK_EQ(
        send(q, &m, FUSE_LINK, FC_ROOT, &link_in, sizeof(link_in), "made_l"), 0,
        "");
    CHECK_EQ(is_entry(vm, &m, "made_l"), link_in.oldnodeid, "one file");
    CHECK_EQ(send(q, &m, FUSE_CREATE, FC_ROOT, &create_in, sizeof(create_in),
                  "made_c"),
             0, "");
    memcpy(&got, m.out, sizeof(got));
    memset(&want, 0, sizeof(want));
    want.e = entry_of(vm, "made_c", &got.e);
    want.o.fh = got.o.fh;
    is_reply(&m, &want, sizeof(want), "CREATE");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, got.e.nodeid, got.o.fh), 0, "");
}

/* Return: the handle of a reply that is an opening and nothing else. */
static uint64_t open_as(struct guest_queue *q, uint32_t op, uint64_t node,
                        uint32_t flags, uint32_t open_flags)
{
    struct fuse_open_in in = { .flags = flags };
    struct fuse_open_out want = { .open_flags = open_flags };
    struct fm m;

    CHECK_EQ(send(q, &m, op, node, &in, sizeof(in), NULL), 0, "open");
    memcpy(&want.fh, m.out, sizeof(want.fh));
    is_reply(&m, &want, sizeof(want), "open");
    return want.fh;
}

static void has_no_payload(struct guest_queue *q, uint32_t op, uint64_t node,
                           const void *in, size_t len)
{
    struct fm m;

    CHECK_EQ(send(q, &m, op, node, in, len, NULL), 0, "");
    CHECK_EQ(m.out_len, 0, "a header");
}

static void open_files(struct vm *vm, struct guest_queue *q)
{
    uint64_t node = look_up(vm, q, "f");
    uint64_t fh = open_as(q, FUSE_OPEN, node, O_RDWR, 0);
    struct fuse_release_in release = { .fh = fh };
    struct fuse_flush_in flush = { .fh = fh };
    struct fuse_fsync_in sync = { .fh = fh };
    struct fuse_read_in rd = { .fh = fh, .offset = 2, .size = 100 };
    struct fuse_write_in wr = { .fh = fh, .offset = 8, .size = 4 };
    const struct fuse_write_out wrote = { .size = 4 };
    struct fm m;

    fm_init(&m, FUSE_WRITE, node);
    fm_add(&m, &wr, sizeof(wr));
    fm_add(&m, "8-11", 4);
    m.room = 4096;
    CHECK_EQ(fm_call(q, &m), 0, "");
    is_reply(&m, &wrote, sizeof(wrote), "WRITE");
    CHECK_EQ(send(q, &m, FUSE_READ, node, &rd, sizeof(rd), NULL), 0, "");
    is_reply(&m, "2345678-11", 10, "READ, to the end");
    rd.offset = 12;
    has_no_payload(q, FUSE_READ, node, &rd, sizeof(rd));
    has_no_payload(q, FUSE_FLUSH, node, &flush, sizeof(flush));
    has_no_payload(q, FUSE_FSYNC, node, &sync, sizeof(sync));
    sync.fsync_flags = FUSE_FSYNC_FDATASYNC;
    has_no_payload(q, FUSE_FSYNC, node, &sync, sizeof(sync));
    has_no_payload(q, FUSE_RELEASE, node, &release, sizeof(release));
    release.fh = open_as(q, FUSE_OPEN, node, O_RDONLY, FOPEN_NOFLUSH);
    has_no_payload(q, FUSE_RELEASE, node, &release, sizeof(release));
    release.fh = open_as(q, FUSE_OPEN, node, O_RDWR | O_TRUNC, 0);
    has_no_payload(q, FUSE_RELEASE, node, &release, sizeof(release));
    is_attr(vm, q, node, "f");
    host_write(vm, "f", "01234567", 8);
}

static void changed_attributes(struct vm *vm, struct guest_queue *q)
{
    uint64_t node = look_up(vm, q, "f");
    struct fuse_setattr_in in = {
        .valid = FATTR_MODE | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME,
        .mode = 0604,
        .size = 8,
        .atime = 1,
        .atimensec = 2,
        .mtime = 1000000003,
        .mtimensec = 4,
    };
    struct fuse_attr_out want;
    struct fm m;

    CHECK_EQ(send(q, &m, FUSE_SETATTR, node, &in, sizeof(in), NULL), 0, "");
    want = attr_out_of(vm, "f");
    is_reply(&m, &want, sizeof(want), "SETATTR");
    CHECK_EQ(want.attr.mode & 07777, 0604, "");
    CHECK_EQ(want.attr.atime, 1, "");
    CHECK_EQ(want.attr.atimensec, 2, "");
    CHECK_EQ(want.attr.mtime, 1000000003, "");
    CHECK_EQ(want.attr.mtimensec, 4, "");
}

static void moved_names(struct vm *vm, struct guest_queue *q)
{
    struct {
        struct fuse_rename_in in;
        char names[6];
    } one = { { FC_ROOT }, "f\0mv" };
    struct {
        struct fuse_rename2_in in;
        char names[6];
    } two = { { .newdir = FC_ROOT }, "mv\0f" };
    struct fm m;

    has_no_payload(q, FUSE_RENAME, FC_ROOT, &one, sizeof(one.in) + 5);
    look_up(vm, q, "mv");
    has_no_payload(q, FUSE_RENAME2, FC_ROOT, &two, sizeof(two.in) + 5);
    two.in.flags = RENAME_NOREPLACE;
    memcpy(two.names, "f\0d", 4);
    CHECK_EQ(send(q, &m, FUSE_RENAME2, FC_ROOT, &two, sizeof(two.in) + 4, NULL),
             -EEXIST, "the flags are seen");
    look_up(vm, q, "f");
}

static void told_of_files(struct vm *vm, struct guest_queue *q)
{
    struct fuse_access_in access = { .mask = R_OK };
    struct fuse_statfs_out fs = { 0 };
    struct statvfs sv;
    struct fm m;

    has_no_payload(q, FUSE_ACCESS, look_up(vm, q, "f"), &access,
                   sizeof(access));
    CHECK_EQ(send(q, &m, FUSE_READLINK, look_up(vm, q, "link"), NULL, 0, NULL),
             0, "");
    is_reply(&m, "f", 1, "READLINK");
    CHECK_EQ(send(q, &m, FUSE_STATFS, FC_ROOT, NULL, 0, NULL), 0, "");
    CHECK_EQ(statvfs(daemon_path(vm->d, "."), &sv), 0, "");
    memcpy(&fs, m.out, MIN(m.out_len, sizeof(fs)));
    /* Others write to this file system too. */
    fs.st.blocks = sv.f_blocks;
    fs.st.files = sv.f_files;
    fs.st.bsize = (uint32_t)sv.f_bsize;
    fs.st.frsize = (uint32_t)sv.f_frsize;
    fs.st.namelen = (uint32_t)sv.f_namemax;
    fs.st.padding = 0;
    memset(fs.st.spare, 0, sizeof(fs.st.spare));
    CHECK(fs.st.bfree <= fs.st.blocks && fs.st.bavail <= fs.st.bfree, "");
    CHECK(fs.st.ffree <= fs.st.files, "");
    is_reply(&m, &fs, sizeof(fs), "STATFS");
}

static void extended_attributes(struct vm *vm, struct guest_queue *q)
{
    struct {
        struct fuse_getxattr_in in;
        char name[8];
    } get = { { 0 }, "user.ab" };
    struct {
        uint32_t size, flags;
        char name_and_value[11];
    } set = { 3, XATTR_CREATE, "user.ab\0xyz" };
    struct fuse_getxattr_out len = { .size = 3 };
    uint64_t node = look_up(vm, q, "f");
    struct fm m;

    has_no_payload(q, FUSE_SETXATTR, node, &set, 8 + 11);
    CHECK_EQ(send(q, &m, FUSE_GETXATTR, node, &get, sizeof(get), NULL), 0, "");
    is_reply(&m, &len, sizeof(len), "how long the value is");
    len.size = 8;
    CHECK_EQ(send(q, &m, FUSE_LISTXATTR, node, &get, sizeof(get.in), NULL), 0,
             "");
    is_reply(&m, &len, sizeof(len), "how long the list is");
    get.in.size = 8;
    CHECK_EQ(send(q, &m, FUSE_GETXATTR, node, &get, sizeof(get), NULL), 0, "");
    is_reply(&m, "xyz", 3, "GETXATTR");
    CHECK_EQ(send(q, &m, FUSE_LISTXATTR, node, &get, sizeof(get.in), NULL), 0,
             "");
    is_reply(&m, "user.ab", 8, "LISTXATTR");
    has_no_payload(q, FUSE_REMOVEXATTR, node, "user.ab", 8);
    has_no_payload(q, FUSE_LISTXATTR, node, &get, sizeof(get.in));
}

static bool has_xattrs(const struct vm *vm)
{
    return getxattr(daemon_path(vm->d, "f"), "user.a", NULL, 0) >= 0 ||
           errno == ENODATA;
}

/* One entry of a listing of "d", which holds one file; @at holds its place in
 * the directory.  Return: its length. */
static size_t is_listed(struct vm *vm, const uint8_t *at, bool plus)
{
    size_t head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    union {
        struct fuse_direntplus e;
        char room[FUSE_NAME_OFFSET_DIRENTPLUS + 64];
    } want = { .room = { 0 } };
    struct fuse_dirent *d = &want.e.dirent;
    struct fuse_entry_out e;
    struct fuse_attr a;
    const char *path;
    size_t len;

    memcpy(d, at + head - FUSE_NAME_OFFSET, FUSE_NAME_OFFSET);
    CHECK(d->namelen < 32, "");
    memcpy(d->name, at + head, d->namelen);
    len = FUSE_DIRENT_ALIGN(head + d->namelen);
    path = strcmp(d->name, ".") == 0    ? "d"
           : strcmp(d->name, "..") == 0 ? "."
                                        : "d/a file";
    CHECK(d->name[0] == '.' || strcmp(d->name, "a file") == 0, d->name);
    a = attr_of(vm, path);
    d->ino = a.ino;
    d->type = a.mode >> 12;
    memcpy(&e, at, sizeof(e));
    if (d->name[0] != '.')
        want.e.entry_out = entry_of(vm, path, &e);
    else
        want.e.entry_out.attr =
            (struct fuse_attr){ .ino = a.ino, .mode = a.mode & S_IFMT };
    CHECK_MEM(at, (const uint8_t *)&want + (plus ? 0 : sizeof(e)), len, path);
    return len;
}

static void listings(struct vm *vm, struct guest_queue *q, bool plus)
{
    uint64_t node = look_up(vm, q, "d");
    uint64_t fh = open_as(q, FUSE_OPENDIR, node, O_RDONLY, 0);
    struct fuse_read_in in = { .fh = fh, .size = 4096 };
    struct fuse_release_in release = { .fh = fh };
    struct fuse_fsync_in sync = { .fh = fh };
    uint32_t op = plus ? FUSE_READDIRPLUS : FUSE_READDIR;
    const struct fuse_dirent *d;
    size_t at = 0;
    int n = 0;
    struct fm m;

    CHECK_EQ(send(q, &m, op, node, &in, sizeof(in), NULL), 0, "");
    for (; at < m.out_len; n++) {
        d = (const void *)(m.out + at +
                           (plus ? sizeof(struct fuse_entry_out) : 0));
        in.offset = d->off;
        at += is_listed(vm, m.out + at, plus);
    }
    CHECK_EQ(at, m.out_len, "whole entries");
    CHECK_EQ(n, 3, "dots and a file");
    has_no_payload(q, op, node, &in, sizeof(in));
    has_no_payload(q, FUSE_FSYNCDIR, node, &sync, sizeof(sync));
    has_no_payload(q, FUSE_RELEASEDIR, node, &release, sizeof(release));
}

VM_TEST(answers_are_the_same_to_the_byte_for_every_minor, &timed)
{
    host_write(vm, "f", "01234567", 8);
    CHECK_EQ(mkfifo(daemon_path(vm->d, "fifo"), 0640), 0, "");
    CHECK_EQ(symlink("f", daemon_path(vm->d, "link")), 0, "");
    CHECK_EQ(mkdir(daemon_path(vm->d, "d"), 0711), 0, "");
    host_write(vm, "d/a file", "x", 1);
    if (geteuid() == 0)
        CHECK_EQ(mknod(daemon_path(vm->d, "dev"), S_IFCHR | 0600,
                       makedev(0xabc, 0x12345)),
                 0, "both halves of the minor number");
    for (size_t i = 0; i < ARRAY_SIZE(minors); i++) {
        static const char *const made[] = { "made_n", "made_s", "made_l",
                                            "made_c" };

        begin_life(q, minors[i]);
        entries_and_attributes(vm, q);
        made_things(vm, q);
        open_files(vm, q);
        changed_attributes(vm, q);
        moved_names(vm, q);
        told_of_files(vm, q);
        if (has_xattrs(vm))
            extended_attributes(vm, q);
        listings(vm, q, false);
        listings(vm, q, true);
        for (size_t k = 0; k < ARRAY_SIZE(made); k++)
            has_no_payload(q, FUSE_UNLINK, FC_ROOT, made[k],
                           strlen(made[k]) + 1);
        has_no_payload(q, FUSE_RMDIR, FC_ROOT, "made_d", 7);
    }
}

static const char *const uncached[] = { "--cache=never", "--allow-direct-io",
                                        NULL };
static const char *const cached[] = { "--cache=always", NULL };
static const char *const locked[] = { "--posix-lock", NULL };

static void opening_says(const char *const *args, uint32_t flags, uint32_t rdwr,
                         uint32_t rdonly, uint32_t dir)
{
    const struct vm_opts o = { .d.args = args };
    struct fuse_entry_out e;
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        CHECK_EQ(fc_init(q, FUSE_POSIX_LOCKS, NULL), 0, "");
        host_write(&vm, "f", "x", 1);
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
        open_as(q, FUSE_OPEN, e.nodeid, O_RDWR | flags, rdwr);
        open_as(q, FUSE_OPEN, e.nodeid, O_RDONLY, rdonly);
        open_as(q, FUSE_OPENDIR, FC_ROOT, O_RDONLY, dir);
    }
    vm_end(&vm);
}

#define DIRECT (FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES)

static void an_opening_says_how_to_cache(void)
{
    opening_says(NULL, 0, 0, FOPEN_NOFLUSH, 0);
    opening_says(uncached, 0, DIRECT, DIRECT | FOPEN_NOFLUSH, 0);
    opening_says(times, O_DIRECT, DIRECT, FOPEN_NOFLUSH, 0);
    opening_says(cached, 0, FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE | FOPEN_NOFLUSH,
                 FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR);
    opening_says(locked, 0, 0, 0, 0);
}

TAP_MAIN(TEST(answers_are_the_same_to_the_byte_for_every_minor),
         TEST(an_opening_says_how_to_cache))
