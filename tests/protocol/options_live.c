/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* What options change in the replies a guest gets. */

#define ARGS(...)                                                              \
    &(struct vm_opts)                                                          \
    {                                                                          \
        .d = {.args = (const char *const[]){ __VA_ARGS__, NULL } }             \
    }

VM_TEST(nothing_is_changed_when_read_only, ARGS("--readonly"))
{
    struct fuse_entry_out e, d, x;
    struct fuse_open_out f;
    struct fuse_attr_out a;
    struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 0600 };
    const void *data;
    size_t len;

    host_write(vm, "f", "text", 4);
    CHECK_EQ(mkdir(daemon_path(vm->d, "d"), 0755), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "d", &d), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &f), 0, "");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 4, &data, &len), 0, "");
    CHECK_EQ(len, 4, "reading works");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY, &f), -EROFS, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &f), -EROFS, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_TRUNC, &f), -EROFS, "");
    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "n", 2, 0644, &x, &f), -EROFS, "");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "n", 0755, &x), -EROFS, "");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "n", S_IFREG, 0, &x), -EROFS, "");
    CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, "n", "t", &x), -EROFS, "");
    CHECK_EQ(fc_link(q, e.nodeid, FC_ROOT, "n", &x), -EROFS, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "f"), -EROFS, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "d"), -EROFS, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "f", FC_ROOT, "g", 0), -EROFS, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "f", FC_ROOT, "g", 1), -EROFS, "");
    CHECK_EQ(fc_setattr(q, e.nodeid, &sa, &a), -EROFS, "");
    sa.valid = FATTR_SIZE;
    CHECK_EQ(fc_setattr(q, e.nodeid, &sa, &a), -EROFS, "");
}

static const struct {
    const char *arg;
    uint64_t valid;
    uint32_t file, dir;
    bool plus;
} modes[] = {
    { "--cache=auto", 1, 0, 0, true },
    { "--cache=always", 86400, FOPEN_KEEP_CACHE,
      FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR, true },
    { "--cache=metadata", 86400, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES,
      FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR, true },
    { "--cache=never", 0, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0,
      false },
};

static void cache_modes_set_timeouts_and_open_flags(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct fuse_init_out init;
        struct fuse_entry_out e;
        struct fuse_open_out f;
        struct fuse_attr_out a;
        struct vm vm;
        struct guest_queue *q = &vm.q[1];

        if (vm_start(&vm, ARGS(modes[i].arg))) {
            host_write(&vm, "f", "", 0);
            CHECK_EQ(fc_init(q, UINT32_MAX, &init), 0, "");
            CHECK_EQ(!!(init.flags & FUSE_DO_READDIRPLUS), modes[i].plus,
                     modes[i].arg);
            CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
            CHECK_EQ(e.entry_valid, modes[i].valid, modes[i].arg);
            CHECK_EQ(e.attr_valid, modes[i].valid, modes[i].arg);
            CHECK_EQ(fc_getattr(q, FC_ROOT, &a), 0, "");
            CHECK_EQ(a.attr_valid, modes[i].valid, modes[i].arg);
            CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, 0, &f), 0, "");
            CHECK_EQ(f.open_flags, modes[i].file | FOPEN_NOFLUSH, modes[i].arg);
            CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "");
            CHECK_EQ(f.open_flags, modes[i].dir, modes[i].arg);
            CHECK_EQ(fc_create(q, NULL, FC_ROOT, "c", 2, 0644, &e, &f), 0, "");
            CHECK_EQ(f.open_flags, modes[i].file, modes[i].arg);
        }
        vm_end(&vm);
    }
}

static uint32_t agreed(struct vm *vm)
{
    struct fuse_init_out out = { 0 };

    CHECK_EQ(fc_init(&vm->q[1], UINT32_MAX, &out), 0, "INIT");
    return out.flags;
}

VM_TEST(readdirplus_can_be_turned_off, ARGS("--no-readdirplus"))
{
    (void)q;
    CHECK(!(agreed(vm) & (FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO)), "");
}

/* A guest that writes back reads what it opened for writing, and knows
 * itself where the end is. */
VM_TEST(writeback_opens_for_reading_too, ARGS("--writeback"))
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    const void *data;
    char got[8];
    uint32_t n;
    size_t len;

    CHECK(agreed(vm) & FUSE_WRITEBACK_CACHE, "agreed");
    host_write(vm, "f", "text", 4);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY | O_APPEND, &f), 0, "");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 4, &data, &len), 0, "O_WRONLY");
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, "T", 1, &n), 0, "");
    CHECK_EQ(host_read(vm, "f", got, 8), 4, "O_APPEND");
    CHECK_MEM(got, "Text", 4, "");
}

/* What a guest has yet to write is no hole: it must not ask us. */
VM_TEST(writeback_tells_nothing_of_holes, ARGS("--writeback"))
{
    struct fuse_lseek_in s = { .whence = SEEK_DATA };
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct fm m;

    CHECK(agreed(vm) & FUSE_WRITEBACK_CACHE, "agreed");
    host_write(vm, "f", "text", 4);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &f), 0, "");
    s.fh = f.fh;
    fm_init(&m, FUSE_LSEEK, e.nodeid);
    fm_add(&m, &s, sizeof(s));
    m.room = sizeof(struct fuse_lseek_out);
    CHECK_EQ(fm_call(q, &m), -ENOSYS, "");
    s.fh = f.fh + 1;
    CHECK_EQ(fm_call(q, &m), -EBADF, "a handle that is none");
}

/* Does a role have a file open with this flag? */
static bool open_with(const struct vm *vm, unsigned int flag)
{
    pid_t pids[16];
    size_t n = daemon_roles(vm->d, pids, ARRAY_SIZE(pids));
    bool found = false;

    for (size_t i = 0; i < n; i++) {
        for (int fd = 0; fd < 300; fd++) {
            char path[64], line[256];
            unsigned int flags;
            FILE *f;

            snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pids[i],
                     fd);
            f = fopen(path, "re");
            while (f && fgets(line, sizeof(line), f)) {
                if (sscanf(line, "flags: %o", &flags) == 1 && (flags & flag) &&
                    !(flags & O_PATH))
                    found = true;
            }
            if (f)
                fclose(f);
        }
    }
    return found;
}

static bool opens_direct(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    int fd;

    host_write(vm, "f", "", 0);
    fd = open(daemon_path(vm->d, "f"), O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        tap_skip("no O_DIRECT on this file system");
        return false;
    }
    close(fd);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    return CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR | O_DIRECT, &f), 0,
                    "");
}

VM_TEST(direct_io_reaches_the_host_when_allowed, ARGS("--allow-direct-io"))
{
    if (needs_root() && opens_direct(vm, q))
        CHECK(open_with(vm, O_DIRECT), "");
}

VM_TEST(direct_io_does_not_reach_the_host_by_default, NULL)
{
    if (needs_root() && opens_direct(vm, q))
        CHECK(!open_with(vm, O_DIRECT), "");
}

/* ---- submounts ---- */

static uint32_t flags_of(struct guest_queue *q, const char *name)
{
    struct fuse_entry_out e = { 0 };

    CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), 0, name);
    return e.attr.flags;
}

/* The same by READDIRPLUS. */
static uint32_t listed_flags_of(struct guest_queue *q, const char *name)
{
    struct fuse_entry_out e = { 0 };

    fc_listed(q, FC_ROOT, name, &e);
    return e.attr.flags;
}

static void submounts(const char *arg, bool announced)
{
    char dir[] = "/tmp/vfsd-mounts-XXXXXX", sub[64];
    struct vm_opts o = *ARGS(arg);
    struct vm vm;

    if (!needs_root())
        return;
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        !mkdtemp(dir)) {
        tap_skip("no mount namespace to be had");
        return;
    }
    snprintf(sub, sizeof(sub), "%s/sub", dir);
    mkdir(sub, 0755);
    CHECK_EQ(mount("tmpfs", sub, "tmpfs", 0, "size=1m"), 0, "a submount");
    o.d.share = dir;
    if (vm_start(&vm, &o)) {
        uint32_t on = announced ? FUSE_ATTR_SUBMOUNT : 0;

        host_write(&vm, "plain", "", 0);
        CHECK_EQ(fc_init(&vm.q[1], FUSE_SUBMOUNTS, NULL), 0, "");
        CHECK_EQ(flags_of(&vm.q[1], "sub"), on, "the mount point");
        CHECK_EQ(listed_flags_of(&vm.q[1], "sub"), on, "the mount point");
        CHECK_EQ(flags_of(&vm.q[1], "plain"), 0, "a file");
        CHECK_EQ(listed_flags_of(&vm.q[1], "plain"), 0, "a file");
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "");
        CHECK_EQ(flags_of(&vm.q[1], "sub"), 0, "the guest knows no flags");
        unlink(daemon_path(vm.d, "plain"));
    }
    vm_end(&vm);
    CHECK_EQ(umount2(sub, MNT_DETACH), 0, "");
    rmdir(sub);
    rmdir(dir);
}

static void submounts_are_announced(void)
{
    submounts("--announce-submounts", true);
}

static void submounts_are_not_announced_when_told_so(void)
{
    submounts("--no-announce-submounts", false);
}

/* ---- descriptors ---- */

/* A guest that holds more files than we may open is told so, and is served
 * again once it has forgotten some. */
VM_TEST(a_guest_that_uses_up_the_descriptors_gets_an_error,
        ARGS("--rlimit-nofile=128", "--inode-file-handles=never"))
{
    struct fuse_entry_out e[256];
    int n = 0, ret = 0;
    char name[16];

    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        host_write(vm, name, "", 0);
    }
    for (; n < 256 && ret == 0; n++) {
        snprintf(name, sizeof(name), "f%d", n);
        ret = fc_lookup(q, FC_ROOT, name, &e[n]);
    }
    CHECK_EQ(ret, -ENFILE, "while we have some left");
    vm_alive(vm, VM_REQ);
    for (int i = 0; i < n - 1; i++)
        CHECK_EQ(fc_forget(q, e[i].nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f255", &e[0]), 0, "served again");
}

/* ---- ids ---- */

static uint32_t host_owner(const struct vm *vm, const char *name)
{
    struct stat st = { 0 };

    CHECK_EQ(lstat(daemon_path(vm->d, name), &st), 0, name);
    return st.st_uid;
}

static const struct vm_opts *const mapped =
    ARGS("--translate-uid=map:1000:5000:10", "--translate-gid=map:0:600:1");

VM_TEST(mapped_ids_are_translated_both_ways, mapped)
{
    struct fuse_entry_out e;
    struct fuse_attr_out a;
    struct fuse_setattr_in in = { .valid = FATTR_UID, .uid = 1002 };

    if (!needs_root())
        return;
    CHECK_EQ(chmod(daemon_share(vm->d), 0777), 0, "");
    CHECK_EQ(fc_mkdir(q, &(struct fc_who){ 1003, 0 }, FC_ROOT, "d", 0755, &e),
             0, "");
    CHECK_EQ(e.attr.uid, 1003, "what the guest sees");
    CHECK_EQ(e.attr.gid, 0, "");
    CHECK_EQ(host_owner(vm, "d"), 5003, "what the host sees");
    CHECK_EQ(fc_setattr(q, e.nodeid, &in, &a), 0, "");
    CHECK_EQ(a.attr.uid, 1002, "");
    CHECK_EQ(host_owner(vm, "d"), 5002, "");
}

static const struct vm_opts *const squashed =
    ARGS("--translate-uid=squash-guest:0:107:4294967295",
         "--translate-gid=squash-guest:0:107:4294967295");

VM_TEST(squashed_ids_make_all_files_one_users, squashed)
{
    struct fuse_entry_out e;

    if (!needs_root())
        return;
    CHECK_EQ(chmod(daemon_share(vm->d), 0777), 0, "");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "r", 0755, &e), 0, "");
    CHECK_EQ(host_owner(vm, "r"), 107, "root's");
    CHECK_EQ(
        fc_mkdir(q, &(struct fc_who){ 1000, 1000 }, FC_ROOT, "u", 0755, &e), 0,
        "");
    CHECK_EQ(host_owner(vm, "u"), 107, "a user's");
}

VM_TEST(forbidden_ids_get_eperm, ARGS("--translate-uid=forbid-guest:1000:5"))
{
    struct fuse_entry_out e;

    if (!needs_root())
        return;
    CHECK_EQ(chmod(daemon_share(vm->d), 0777), 0, "");
    CHECK_EQ(fc_mkdir(q, &(struct fc_who){ 1000, 0 }, FC_ROOT, "x", 0755, &e),
             -EPERM, "");
    CHECK_EQ(fc_mkdir(q, &(struct fc_who){ 1005, 0 }, FC_ROOT, "x", 0755, &e),
             0, "beside them");
}

TAP_MAIN(TEST(a_guest_that_uses_up_the_descriptors_gets_an_error),
         TEST(nothing_is_changed_when_read_only),
         TEST(cache_modes_set_timeouts_and_open_flags),
         TEST(readdirplus_can_be_turned_off),
         TEST(writeback_opens_for_reading_too),
         TEST(writeback_tells_nothing_of_holes),
         TEST(direct_io_reaches_the_host_when_allowed),
         TEST(direct_io_does_not_reach_the_host_by_default),
         TEST(submounts_are_announced),
         TEST(submounts_are_not_announced_when_told_so),
         TEST(mapped_ids_are_translated_both_ways),
         TEST(squashed_ids_make_all_files_one_users),
         TEST(forbidden_ids_get_eperm))
