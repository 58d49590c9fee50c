/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * Capabilities of files under a name that --xattrmap has given them: the
 * host's kernel knows nothing of these, so changing a file takes them away
 * only if we do.
 */

#define CAPS "user.virtiofs.security.capability"

static const char *const map_args[] = { "--xattrmap=:map::user.virtiofs.:",
                                        NULL };
static const struct vm_opts with_map = { .d = { .args = map_args } };

static struct fuse_entry_out e;
static struct fuse_open_out f, src;

static int do_write(struct guest_queue *q)
{
    uint32_t n;

    return fc_write(q, e.nodeid, f.fh, 0, "x", 1, &n);
}

static int set(struct guest_queue *q, struct fuse_setattr_in in)
{
    struct fuse_attr_out a;

    return fc_setattr(q, e.nodeid, &in, &a);
}

static int do_truncate(struct guest_queue *q)
{
    return set(q, (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 1 });
}

static int do_truncate_by_handle(struct guest_queue *q)
{
    return set(q, (struct fuse_setattr_in){
                      .valid = FATTR_SIZE | FATTR_FH, .size = 1, .fh = f.fh });
}

static int do_chown(struct guest_queue *q)
{
    return set(
        q, (struct fuse_setattr_in){ .valid = FATTR_GID, .gid = getegid() });
}

static int do_chmod(struct guest_queue *q)
{
    return set(q, (struct fuse_setattr_in){ .valid = FATTR_MODE,
                                            .mode = S_IFREG | 0755 });
}

static int do_open(struct guest_queue *q)
{
    struct fuse_open_out o;

    return fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY | O_TRUNC, &o);
}

static int do_open_only(struct guest_queue *q)
{
    struct fuse_open_out o;

    return fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY, &o);
}

static int do_create(struct guest_queue *q)
{
    struct fuse_entry_out ce;
    struct fuse_open_out o;

    return fc_create(q, NULL, FC_ROOT, "f", O_WRONLY | O_TRUNC, 0755, &ce, &o);
}

static int do_fallocate(struct guest_queue *q)
{
    struct fuse_fallocate_in in = { .fh = f.fh, .length = 4096 };

    return fc_simple(q, FUSE_FALLOCATE, e.nodeid, &in, sizeof(in));
}

static int do_copy(struct guest_queue *q)
{
    struct fuse_copy_file_range_in in = {
        .fh_in = src.fh, .nodeid_out = e.nodeid, .fh_out = f.fh, .len = 4
    };
    struct fm m;

    fm_init(&m, FUSE_COPY_FILE_RANGE, e.nodeid);
    fm_add(&m, &in, sizeof(in));
    m.room = sizeof(struct fuse_write_out);
    return fm_call(q, &m);
}

static const struct {
    const char *why;
    int (*act)(struct guest_queue *q);
    bool goes;
} acts[] = {
    { "write", do_write, true },
    { "truncate", do_truncate, true },
    { "truncate by handle", do_truncate_by_handle, true },
    { "chown", do_chown, true },
    { "open with O_TRUNC", do_open, true },
    { "create over it", do_create, true },
    { "fallocate", do_fallocate, true },
    { "copy to it", do_copy, true },
    { "chmod", do_chmod, false },
    { "open to write", do_open_only, false },
};

/* @agreed: HANDLE_KILLPRIV_V2 is. */
static void change_in_all_ways(uint64_t flags, bool agreed)
{
    struct fuse_init_out out;
    struct fuse_entry_out s;
    struct vm vm;

    if (vm_start(&vm, &with_map)) {
        struct guest_queue *q = &vm.q[VM_REQ];
        const char *path = daemon_path(vm.d, "f");

        host_write(&vm, "f", "data", 4);
        CHECK_EQ(fc_init(q, flags, &out), 0, "INIT");
        CHECK_EQ(!!(out.flags & FUSE_HANDLE_KILLPRIV_V2), agreed, "");
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
        CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &f), 0, "");
        host_write(&vm, "src", "data", 4);
        CHECK_EQ(fc_lookup(q, FC_ROOT, "src", &s), 0, "");
        CHECK_EQ(fc_open(q, FUSE_OPEN, s.nodeid, O_RDONLY, &src), 0, "");
        for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
            CHECK_EQ(acts[i].act(q), 0, "without any");
            if (setxattr(path, CAPS, "v", 1, 0) < 0) {
                tap_skip("no xattrs on this file system");
                break;
            }
            CHECK_EQ(acts[i].act(q), 0, acts[i].why);
            CHECK_EQ(getxattr(path, CAPS, NULL, 0) < 0, acts[i].goes && agreed,
                     acts[i].why);
        }
    }
    vm_end(&vm);
}

static void a_change_takes_renamed_capabilities_away(void)
{
    change_in_all_ways(FUSE_HANDLE_KILLPRIV_V2, true);
}

/* Return: the file system has such a flag, and it is as wanted. */
static bool append_only(const char *path, bool on)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), flags = 0;
    bool ok = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;

    flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
    ok = ok && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
    close(fd);
    return ok;
}

/* Its attributes can not be changed, which is no reason to refuse a write. */
static void an_append_only_file_is_appended_to(void)
{
    struct fuse_init_out out;
    struct vm vm;

    if (vm_start(&vm, &with_map)) {
        struct guest_queue *q = &vm.q[VM_REQ];
        const char *path = daemon_path(vm.d, "f");

        host_write(&vm, "f", "", 0);
        CHECK_EQ(fc_init(q, FUSE_HANDLE_KILLPRIV_V2, &out), 0, "INIT");
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
        if (append_only(path, true)) {
            CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY | O_APPEND, &f),
                     0, "");
            CHECK_EQ(do_write(q), 0, "nothing to take away");
            CHECK(append_only(path, false), "");
            CHECK_EQ(setxattr(path, CAPS, "v", 1, 0), 0, "");
            CHECK(append_only(path, true), "");
            CHECK_EQ(do_write(q), -EPERM, "what should go can not go");
            CHECK(append_only(path, false), "");
        } else {
            tap_diag("no append-only files on this file system");
        }
    }
    vm_end(&vm);
}

static void a_guest_that_does_so_itself_is_left_to_it(void)
{
    change_in_all_ways(0, false);
}

TAP_MAIN(TEST(a_change_takes_renamed_capabilities_away),
         TEST(an_append_only_file_is_appended_to),
         TEST(a_guest_that_does_so_itself_is_left_to_it))
